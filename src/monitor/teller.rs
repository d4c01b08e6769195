//! The way from an event to a message that is safe: the desk decides what is told, the state keeps that until the
//! composer has put it into the outbox.

use std::time::{Duration, SystemTime};

use crossbeam_channel::Receiver;
use tracing::{error, info, warn};

use super::composer::Composer;
use super::letter;
use super::state::{State, Store};
use crate::alert::{Desk, Event, EventKind};
use crate::mail::{self, Message};
use crate::probe::Uplink;
use crate::time::UnixTime;

/// Decides what is told, and remembers what is not yet safe.
pub(super) struct Teller {
    desk: Desk,
    state: State,
    store: Store,
    composer: Composer,
    /// The state could not be written the last time, which was said.
    is_failing: bool,
}

impl Teller {
    /// Goes on where `state` ended: what is pending in it is composed now.
    pub(super) fn start(state: State, store: Store, composer: Composer) -> Self {
        for notice in &state.pending {
            // A composer that is gone has panicked, and that ends the run.
            let _ = composer.send(notice.clone());
        }
        let mut teller = Self { desk: Desk::default(), state, store, composer, is_failing: false };
        teller.save();
        teller
    }

    /// Takes an event; what comes of it is told by [`Teller::tell_due`].
    pub(super) fn take(&mut self, event: Event, now: UnixTime) {
        announce(&event);
        self.desk.take(event, now);
    }

    /// Takes a change of our own uplink.
    pub(super) fn take_uplink(&mut self, change: &Uplink) {
        match change {
            Uplink::Offline { since, why } => warn!("this monitor is offline since {}: {why}", clock(*since)),
            Uplink::Online { since: Some(since), at } => {
                info!("online again at {}, offline since {}", clock(*at), clock(*since))
            }
            Uplink::Online { since: None, .. } | Uplink::Anchors(_) => {}
        }
    }

    /// Hands what is due to the composer; false when that is gone.
    #[must_use]
    pub(super) fn tell_due(&mut self, now: UnixTime) -> bool {
        let due = self.desk.due(now);
        if due.is_empty() {
            return true;
        }
        self.state.pending.extend(due.iter().cloned());
        self.save();
        due.into_iter().all(|notice| self.composer.send(notice))
    }

    /// When [`Teller::tell_due`] has something to do without any further event.
    pub(super) fn next_due(&self) -> Option<UnixTime> {
        self.desk.next_due()
    }

    /// Tells the keys of notices whose messages lie in the outbox.
    pub(super) fn kept(&self) -> &Receiver<String> {
        self.composer.kept()
    }

    /// The message of the notice `key` lies in the outbox, and so do those that the composer told meanwhile.
    pub(super) fn is_kept(&mut self, key: String) {
        let keys: Vec<String> = std::iter::once(key).chain(self.composer.kept().try_iter()).collect();
        self.state.pending.retain(|notice| !keys.contains(&notice.key));
        self.save();
    }

    /// Keeps for the next run that this one was alive `now`; not more often than that one needs to know.
    pub(super) fn is_alive(&mut self, now: UnixTime) {
        let is_news = |alive: UnixTime| now.since(alive).is_none_or(|since| since >= SIGN_OF_LIFE);
        if self.state.run.alive.is_none_or(is_news) {
            self.state.run.alive = Some(now);
            self.save();
        }
    }

    /// Composes what still waits, and then `last`; without one the end is told already, or by somebody else later.
    pub(super) fn finish(mut self, last: Option<&Message>, is_told: bool) -> Result<(), mail::Error> {
        let kept = self.composer.kept().clone();
        let finished = self.composer.finish(last);
        let keys: Vec<String> = kept.try_iter().collect();
        self.state.pending.retain(|notice| !keys.contains(&notice.key));
        if finished.is_ok() && is_told {
            self.state.run.ended = Some(UnixTime::from(SystemTime::now()));
        }
        save(&self.store, &self.state, &mut self.is_failing);
        finished
    }

    fn save(&mut self) {
        save(&self.store, &self.state, &mut self.is_failing);
    }
}

/// A disk that refuses is said once; the monitor goes on with what it knows.
fn save(store: &Store, state: &State, is_failing: &mut bool) {
    match store.save(state) {
        Ok(()) if std::mem::take(is_failing) => info!("the state is kept again"),
        Ok(()) => {}
        Err(error) if !std::mem::replace(is_failing, true) => {
            error!("{error}: a restart will not know which alerts were told");
        }
        Err(_) => {}
    }
}

/// How often a running monitor says in its state that it runs.
const SIGN_OF_LIFE: Duration = Duration::from_secs(60);

fn clock(at: UnixTime) -> impl std::fmt::Display {
    at.local().civil.format("%Y-%m-%d %H:%M:%S").to_string()
}

/// Tells the log.
fn announce(event: &Event) {
    let line = letter::log_line(event);
    match event.kind {
        EventKind::Raised | EventKind::Repeated => warn!("{line}"),
        EventKind::Cleared { .. } => info!("{line}"),
    }
}
