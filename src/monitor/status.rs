//! How everything stands: a board that the loop keeps up to date round by round, and the snapshot of it that
//! `latmon status` shows. What a round costs here does not grow with the number of targets.

mod entry;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use self::entry::Entry;
use super::Settings;
use crate::alert::TargetState;
use crate::mail::{Mailer, Outbox};
use crate::probe::{self, Counts, Prober, Uplink};
use crate::round::{Round, Target};
use crate::time::UnixTime;

/// A running monitor at one moment. Points in time are seconds since 1970.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The version of the program.
    pub version: String,
    /// The process.
    pub pid: u32,
    /// When it started.
    pub started: i64,
    /// The end of the newest round of any target; `None` before the first.
    pub last_round: Option<i64>,
    /// No round has come for two steps: it runs, and measures nothing.
    pub stale: bool,
    /// Which sockets it pings through, and who stamps what is sent: `raw, IPv4 IPv6, kernel stamps`.
    pub sockets: String,
    /// Rounds that are missing because the disk, or this machine, did not keep up.
    pub rounds_dropped: u64,
    /// Packets that our own receive buffer had no room for: their pings are unknown.
    pub packets_dropped: u64,
    /// Answered pings whose departure the kernel did not stamp though it stamps others: our own, earlier stamp counted.
    #[serde(default)]
    pub unstamped: u64,
    /// Replies that did not count, of all targets.
    pub ignored: Ignored,
    /// Our own uplink, while it is down.
    #[serde(default)]
    pub uplink: Option<Outage>,
    /// Mails that the server does not have yet.
    pub mails: Mails,
    /// Every target, in the order of the settings.
    pub targets: Vec<TargetStatus>,
}

/// Our own uplink is down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outage {
    /// When somebody beyond it last answered.
    pub since: i64,
    /// How that is known: `192.0.2.1 does not answer`.
    pub why: String,
}

/// Mails that wait.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mails {
    /// How many.
    pub waiting: usize,
    /// When the oldest of them was decided on.
    pub since: Option<i64>,
    /// What held them up last: `smtp.example.org:465: timed out at the connection`.
    pub why: Option<String>,
}

/// How many replies did not count since the start, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ignored {
    /// Their ping had been answered.
    pub duplicates: u64,
    /// They came after the timeout.
    pub late: u64,
    /// Checksum, sequence or payload were not what they had been.
    pub damaged: u64,
    /// Another address answered than was asked.
    pub wrong_source: u64,
    /// Somebody on the way rewrote their identifier.
    pub wrong_identifier: u64,
    /// They had another length than their request.
    pub truncated: u64,
    /// They had our identifier, and not our secret.
    pub forged: u64,
    /// Their stamps contradicted the clocks.
    pub impossible: u64,
}

impl Mails {
    /// Says also why the other ways wait, where any does.
    pub(super) fn add_troubles(&mut self, troubles: Vec<(String, String)>) {
        for (way, trouble) in troubles {
            let trouble = format!("{way}: {trouble}");
            self.why = Some(self.why.take().map_or(trouble.clone(), |why| format!("{why}; {trouble}")));
        }
    }
}

/// How a target stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// An alert says that it does not answer.
    Down,
    /// An alert says that its latency is not as it should be.
    Slow,
    /// An alert says that it loses too much.
    Lossy,
    /// Too little is known of the newest round to say anything about the network, or an alert says that too much was
    /// unknown.
    Unknown,
    /// The newest round was not answered, and no alert of the target says so.
    Silent,
    /// There was no round of it yet.
    Waiting,
    /// No alert is open.
    Ok,
}

impl State {
    /// True where an alert is open.
    pub fn is_alerting(self) -> bool {
        matches!(self, Self::Down | Self::Slow | Self::Lossy)
    }
}

/// One target at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TargetStatus {
    /// Its name.
    pub target: String,
    /// The host name or address that the settings say.
    pub host: String,
    /// The address that was last asked.
    pub address: Option<IpAddr>,
    /// How it stands.
    pub state: State,
    /// Since when; for an alert the end of the first bad round.
    pub since: Option<i64>,
    /// The end of its newest round.
    pub last_round: Option<i64>,
    /// The median of that round, in microseconds; `None` where no ping was answered.
    pub median_us: Option<f64>,
    /// The share of lost pings in that round, 0 to 1; `None` where nothing is known.
    pub loss: Option<f64>,
    /// The names of the open alerts.
    pub alerts: Vec<String>,
    /// What is known of the reason, in a few words.
    pub reason: Option<String>,
    /// Nothing is told of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub muted: Option<MutedStatus>,
    /// Replies that did not count.
    pub ignored: Ignored,
}

/// Why nothing is told of a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MutedStatus {
    /// Until when, where that is known.
    pub until: Option<i64>,
    /// Who wants it.
    pub by: String,
    /// What for; empty where nobody said.
    pub reason: String,
}

/// How a target stands, in a word.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    pub(super) target: Arc<Target>,
    pub(super) state: State,
}

/// How a target is by its newest round.
#[derive(Clone, Copy, Debug)]
pub(super) struct Health {
    pub(super) state: State,
    /// Since when.
    pub(super) since: Option<UnixTime>,
    /// The end of that round.
    pub(super) last_round: UnixTime,
    /// The last address there was.
    pub(super) address: Option<IpAddr>,
}

/// What is known of every target, brought up to date round by round.
#[derive(Debug)]
pub(super) struct Board {
    started: UnixTime,
    sockets: String,
    /// By the targets' places, as the board's own.
    counts: Arc<Counts>,
    /// Without mail settings mails wait for those.
    is_mailed: bool,
    /// So long after the newest round came in, another one should have.
    patience: Duration,
    places: HashMap<Arc<Target>, usize>,
    known: Mutex<Known>,
}

#[derive(Debug)]
struct Known {
    /// When the newest round came in; at first, when the board was made.
    heard: Instant,
    uplink: Option<Outage>,
    targets: Vec<Entry>,
}

impl Board {
    /// A board for the targets of `settings`, which has heard of none yet.
    pub(super) fn new(settings: &Settings, prober: &Prober, started: UnixTime, now: Instant) -> Self {
        let targets = &settings.probe.targets;
        let patience = targets.iter().map(|target| target.step.duration() * 2 + target.timeout).min();
        Self {
            started,
            sockets: format!("{}, {}", prober.sockets(), prober.stamps()),
            counts: Arc::clone(prober.counts()),
            is_mailed: settings.mail.is_some(),
            patience: patience.map_or(Duration::MAX, |it| it + probe::VERDICT),
            places: targets.iter().enumerate().map(|(place, it)| (Arc::clone(&it.target), place)).collect(),
            known: Mutex::new(Known {
                heard: now,
                uplink: None,
                targets: targets.iter().map(|it| Entry::new(&it.target)).collect(),
            }),
        }
    }

    /// Takes a round that came in `now`, and how its target stands after it.
    pub(super) fn enter(&self, round: &Round, state: &TargetState, now: Instant) {
        let Some(place) = self.places.get(round.target()).copied() else { return };
        let mut known = self.known();
        known.heard = now;
        known.targets[place].enter(round, state);
    }

    /// Takes a change of our own uplink.
    pub(super) fn enter_uplink(&self, change: &Uplink) {
        let outage = match change {
            Uplink::Offline { since, why } => Some(Outage { since: since.secs(), why: why.to_string() }),
            Uplink::Online { .. } => None,
            Uplink::Anchors(_) => return,
        };
        self.known().uplink = outage;
    }

    /// How a target is; `None` before its first round.
    pub(super) fn health(&self, target: &Arc<Target>) -> Option<Health> {
        let place = *self.places.get(target)?;
        let known = self.known();
        let entry = &known.targets[place];
        let last_round = entry.last_round()?;
        Some(Health { state: entry.word(), since: entry.since, last_round, address: entry.address })
    }

    /// How every target stands.
    pub(super) fn standings(&self) -> Vec<Standing> {
        let known = self.known();
        let standing = |entry: &Entry| Standing { target: Arc::clone(&entry.target), state: entry.word() };
        known.targets.iter().map(standing).collect()
    }

    /// A snapshot, with what waits in the outbox.
    pub(super) fn status(&self, outbox: &Outbox, mailer: &Mailer, now: Instant) -> Status {
        // Copied first: the loop must not wait until it is put into words.
        let (heard, uplink, targets) = {
            let known = self.known();
            (known.heard, known.uplink.clone(), known.targets.clone())
        };
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            started: self.started.secs(),
            last_round: targets.iter().filter_map(Entry::last_round).max().map(UnixTime::secs),
            stale: now.duration_since(heard) >= self.patience,
            sockets: self.sockets.clone(),
            rounds_dropped: self.counts.rounds_dropped(),
            packets_dropped: self.counts.dropped(),
            unstamped: self.counts.unstamped(),
            ignored: Ignored::count(|kind| self.counts.total(kind)),
            uplink,
            mails: self.mails(outbox, mailer),
            targets: targets.iter().enumerate().map(|(place, entry)| self.target(place, entry)).collect(),
        }
    }

    fn target(&self, place: usize, entry: &Entry) -> TargetStatus {
        let ignored = Ignored::count(|kind| self.counts.of(place, kind).into());
        TargetStatus { ignored, ..entry.status() }
    }

    fn mails(&self, outbox: &Outbox, mailer: &Mailer) -> Mails {
        match outbox.all() {
            Ok(waiting) => Mails {
                waiting: waiting.len(),
                since: waiting.first().map(|first| first.since.secs()),
                why: match outbox.trouble() {
                    Some(trouble) => Some(trouble),
                    None if self.is_mailed => mailer.trouble(),
                    None => Some("no mail settings".to_owned()),
                },
            },
            Err(error) => Mails { why: Some(error.to_string()), ..Mails::default() },
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // An entry is one round's or the next one's wherever a panic may have struck.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ignored {
    fn count(of: impl Fn(probe::Ignored) -> u64) -> Self {
        use probe::Ignored as Kind;
        Self {
            duplicates: of(Kind::Duplicate),
            late: of(Kind::Late),
            damaged: of(Kind::Damaged),
            wrong_source: of(Kind::WrongSource),
            wrong_identifier: of(Kind::Identifier),
            truncated: of(Kind::Truncated),
            forged: of(Kind::Forged),
            impossible: of(Kind::Impossible),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::alert;
    use crate::round::{Ping, Rtt};
    use crate::time::Step;

    const STEP: Step = Step::new(60).unwrap();

    fn millis(ms: u64) -> Ping {
        Ping::Answered(Rtt::new(Duration::from_millis(ms)))
    }

    /// A monitor that runs and measures nothing is no well one.
    #[test]
    fn two_steps_without_a_round_are_stale() {
        let dir = tempfile::tempdir().unwrap();
        let target = Arc::new(Target { name: "t".into(), host: "127.0.0.1".into() });
        let settings = Settings {
            desk: crate::alert::desk::Settings::default(),
            host: "here".into(),
            archive: crate::archive::Settings { data_dir: dir.path().to_owned(), targets: Vec::new() },
            probe: probe::Settings {
                targets: vec![probe::TargetSettings {
                    target: Arc::clone(&target),
                    step: STEP,
                    pings: 1,
                    timeout: Duration::from_secs(1),
                    family: None,
                    echo: probe::EchoSettings::default(),
                }],
                pace: probe::Pace::default(),
                resolve_every: probe::RESOLVE_EVERY,
                anchors: probe::Anchors::default(),
                known_anchors: Vec::new(),
            },
            alert: alert::Settings { targets: Vec::new() },
            mail: None,
            ways: Vec::new(),
            limits: HashMap::new(),
            exit: crate::monitor::Exit::default(),
        };
        let (rounds_in, _rounds) = crossbeam_channel::bounded(1);
        let prober = Prober::start(settings.probe.clone(), rounds_in).expect("lib tests run as root");
        let outbox = Outbox::open(dir.path()).unwrap();
        let mailer = Mailer::start(outbox.clone(), None).unwrap();
        let start = Instant::now();
        let board = Board::new(&settings, &prober, UnixTime::from_secs(0), start);
        let after = |secs| board.status(&outbox, &mailer, start + Duration::from_secs(secs));
        assert!(
            !after(125).stale && after(126).stale,
            "two steps, and the time that replies and the verdict have"
        );
        assert_eq!((after(0).last_round, after(0).targets[0].state), (None, State::Waiting));

        let ends = (UnixTime::from_secs(0), UnixTime::from_secs(60));
        let round = Round::new(target, None, ends.0, ends.1, vec![millis(5)]);
        board.enter(&round, &TargetState::Ok, start + Duration::from_secs(100));
        assert!(!after(225).stale && after(226).stale);
        assert_eq!((after(0).last_round, after(0).targets[0].state), (Some(60), State::Ok));
    }
}
