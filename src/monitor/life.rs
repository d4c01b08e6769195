//! What a run and whoever watches over it say to each other.

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, tick};

use super::{End, Settings, ends};
use crate::mail::{Courier, Mailer};
use crate::probe::Prober;
use crate::time::UnixTime;

/// What a run says of its own end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// What names the run in its exit mail: the same mail, whoever writes it. `None` is when it started.
    pub run: Option<UnixTime>,
    /// Whether an end that it was told to make is mailed.
    pub told: bool,
    /// Whether one by a fault of its own is; somebody who watches over the run may do that in its place.
    pub panicked: bool,
}

impl Default for Exit {
    fn default() -> Self {
        Self { run: None, told: true, panicked: true }
    }
}

/// What a run is told from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// To stop, by what this names: `SIGTERM`.
    Stop(String),
    /// Whoever watched over it is gone.
    Orphaned,
    /// Another process put mails into the outbox.
    MailsWait,
}

/// What a run tells whoever watches over it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Life {
    /// Sockets, archives and threads are there.
    Ready {
        /// In a few words.
        what: String,
        /// Without a beat for so long it hangs.
        patience: Duration,
        /// Ends of runs before it are kept to be told later.
        has_untold: bool,
    },
    /// The loop and the prober go round.
    Beat,
    /// It was told to stop, and does.
    Stopping,
}

/// What the loop hears of, and tells, besides rounds.
pub(super) struct Outside<'a> {
    pub(super) orders: &'a Receiver<Order>,
    /// When it is to show that it goes round.
    pub(super) beats: Receiver<Instant>,
    prober: &'a Prober,
    mailer: &'a Mailer,
    courier: &'a Courier,
    tell: &'a dyn Fn(Life),
}

impl<'a> Outside<'a> {
    /// From here on there will be beats.
    pub(super) fn new(
        settings: &Settings,
        orders: &'a Receiver<Order>,
        prober: &'a Prober,
        (mailer, courier): (&'a Mailer, &'a Courier),
        tell: &'a dyn Fn(Life),
    ) -> Self {
        tell(Life::ready(settings));
        let beats = tick((patience(settings) / BEATS).min(RAREST_BEAT));
        Self { orders, beats, prober, mailer, courier, tell }
    }

    /// Shows that the loop goes round; not where the prober does not.
    pub(super) fn beat(&self) {
        if self.prober.is_moving() {
            (self.tell)(Life::Beat);
        }
    }

    /// What an order ends; `None` where the loop goes on.
    pub(super) fn follow(&self, order: Order) -> Option<End> {
        match order {
            Order::Stop(what) => Some(End::Told(what)),
            Order::Orphaned => Some(End::Orphaned),
            Order::MailsWait => {
                self.mailer.wake();
                self.courier.hurry();
                None
            }
        }
    }
}

/// Without a beat for so long the run hangs: three rounds, and never less than a busy machine may take for nothing at all.
fn patience(settings: &Settings) -> Duration {
    let steps = settings.probe.targets.iter().map(|target| target.step.duration());
    (3 * steps.min().unwrap_or_default()).clamp(LEAST_PATIENCE, MOST_PATIENCE)
}

impl Life {
    fn ready(settings: &Settings) -> Self {
        let targets = settings.probe.targets.len();
        let what = format!("watches {targets} target{}", if targets == 1 { "" } else { "s" });
        let has_untold = ends::has_untold(&settings.archive.data_dir);
        Self::Ready { what, patience: patience(settings), has_untold }
    }
}

const LEAST_PATIENCE: Duration = Duration::from_secs(10);
const MOST_PATIENCE: Duration = Duration::from_secs(15 * 60);
const RAREST_BEAT: Duration = Duration::from_secs(10);
/// So many beats may be missed.
const BEATS: u32 = 8;
