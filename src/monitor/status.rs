//! How everything stands: a board that the loop keeps up to date round by round, and the snapshot of it that
//! `latmon status` shows. What a round costs here does not grow with the number of targets.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::Settings;
use crate::alert::{OpenAlert, TargetState, Trouble};
use crate::mail::{Mailer, Outbox};
use crate::probe::{self, Counts, Prober, Uplink};
use crate::round::{Fault, Round, Rtt, Says, Target};
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

#[derive(Clone, Debug)]
struct Entry {
    target: Arc<Target>,
    state: TargetState,
    since: Option<UnixTime>,
    newest: Option<Newest>,
    /// Who says why pings of the newest round were lost, and what.
    says: Option<Says>,
    /// The last address there was.
    address: Option<IpAddr>,
}

/// What is kept of the newest round.
#[derive(Clone, Copy, Debug)]
struct Newest {
    end: UnixTime,
    median: Option<Rtt>,
    loss_ratio: Option<f64>,
    is_scarcely_known: bool,
    is_down: bool,
    fault: Option<Fault>,
    unknown: usize,
    pings: usize,
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
        let last_round = entry.newest?.end;
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
            last_round: targets.iter().filter_map(|entry| Some(entry.newest?.end.secs())).max(),
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

impl Entry {
    fn new(target: &Arc<Target>) -> Self {
        Self {
            target: Arc::clone(target),
            state: TargetState::Waiting,
            since: None,
            newest: None,
            says: None,
            address: None,
        }
    }

    fn enter(&mut self, round: &Round, state: &TargetState) {
        let newest = Newest {
            end: round.end(),
            median: round.median(),
            loss_ratio: round.loss_ratio(),
            is_scarcely_known: round.is_scarcely_known(),
            is_down: round.is_down(),
            fault: round.fault(),
            unknown: round.pings().len() - round.known(),
            pings: round.pings().len(),
        };
        let before = self.word();
        self.state.clone_from(state);
        self.newest = Some(newest);
        // Nearly always nobody says anything, or the same as before.
        if self.says.as_ref() != round.says() {
            self.says = round.says().cloned();
        }
        self.address = round.address().or(self.address);
        self.since = match state {
            TargetState::Alerting(open) => Self::worst(open).map(|worst| worst.since),
            TargetState::Unknown { since } => Some(*since),
            TargetState::Ok | TargetState::Waiting if before == self.word() => self.since,
            TargetState::Ok | TargetState::Waiting => Some(round.end()),
        };
    }

    /// The open alert that tells most: an outage before a slow line, a slow line before a lossy one.
    fn worst(open: &[OpenAlert]) -> Option<&OpenAlert> {
        open.iter().min_by_key(|open| State::from(open.rule.judge.trouble()))
    }

    fn word(&self) -> State {
        match &self.state {
            TargetState::Alerting(open) => {
                Self::worst(open).map_or(State::Ok, |worst| worst.rule.judge.trouble().into())
            }
            TargetState::Unknown { .. } => State::Unknown,
            TargetState::Waiting if self.newest.is_none() => State::Waiting,
            // A target that no rule watches waits for ever, as far as the alerts know.
            TargetState::Ok | TargetState::Waiting => match self.newest {
                Some(newest) if newest.is_scarcely_known => State::Unknown,
                Some(newest) if newest.is_down => State::Silent,
                _ => State::Ok,
            },
        }
    }

    fn status(&self) -> TargetStatus {
        let alerts = match &self.state {
            TargetState::Alerting(open) => open.iter().map(|open| open.rule.name.clone()).collect(),
            _ => Vec::new(),
        };
        TargetStatus {
            target: self.target.name.clone(),
            host: self.target.host.clone(),
            address: self.address,
            state: self.word(),
            since: self.since.map(UnixTime::secs),
            last_round: self.newest.map(|newest| newest.end.secs()),
            median_us: self
                .newest
                .and_then(|newest| newest.median)
                .map(|median| median.duration().as_nanos() as f64 / 1e3),
            loss: self.newest.and_then(|newest| newest.loss_ratio),
            alerts,
            reason: self.reason(),
            muted: None,
            ignored: Ignored::default(),
        }
    }

    /// Why it stands so.
    fn reason(&self) -> Option<String> {
        let newest = self.newest?;
        if newest.unknown == newest.pings
            && let Some(fault) = newest.fault
        {
            return Some(match (fault, self.address) {
                (Fault::NoAddress, Some(last)) => format!("{fault}, last {last}"),
                _ => fault.to_string(),
            });
        }
        let says = self.says.as_ref().map(Says::to_string);
        match (&self.state, self.word()) {
            (TargetState::Alerting(_), State::Unknown) if newest.unknown == 0 => {
                Some("is measured again, not yet for long enough".to_owned())
            }
            (_, State::Down) if !newest.is_down => Some("answers again, not yet for long enough".to_owned()),
            (TargetState::Alerting(open), State::Slow | State::Lossy) => {
                let rule = Self::worst(open).map(|worst| worst.rule.judge.to_string());
                let told: Vec<String> = rule.into_iter().chain(says).collect();
                Some(told.join("; "))
            }
            (_, State::Silent) => Some(says.unwrap_or_else(|| "and no alert watches for that".to_owned())),
            _ => {
                // The pings before the start are no trouble, as long as enough is known without them.
                let counts = |fault: &Fault| *fault != Fault::NotRunning || newest.is_scarcely_known;
                let own = newest.fault.filter(counts);
                let own = own.map(|fault| format!("{} of {} pings: {fault}", newest.unknown, newest.pings));
                let told: Vec<String> = says.into_iter().chain(own).collect();
                (!told.is_empty()).then(|| told.join("; "))
            }
        }
    }
}

impl From<Trouble> for State {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Down => Self::Down,
            Trouble::Slow => Self::Slow,
            Trouble::Lossy => Self::Lossy,
            Trouble::Unknown => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::alert::rule::{Judge, Rule};
    use crate::alert::{self, Alerts, TargetRules};
    use crate::round::Ping;
    use crate::time::Step;

    const STEP: Step = Step::new(60).unwrap();

    /// An entry, and the alerts that watch it by these rules; each round makes it a minute later.
    struct Desk {
        entry: Entry,
        alerts: Alerts,
        minute: i64,
    }

    impl Desk {
        fn new(rules: Vec<Rule>) -> Self {
            let target = Arc::new(Target { name: "t".into(), host: "t.example".into() });
            let rules = TargetRules {
                target: Arc::clone(&target),
                step: STEP,
                rules: rules.into_iter().map(Arc::new).collect(),
            };
            Self {
                entry: Entry::new(&target),
                alerts: Alerts::new(&alert::Settings { targets: vec![rules] }),
                minute: 0,
            }
        }

        fn round(&mut self, address: Option<&str>, pings: Vec<Ping>) -> TargetStatus {
            self.enter(address, pings, None)
        }

        fn said(&mut self, pings: Vec<Ping>, says: Says) -> TargetStatus {
            self.enter(Some("192.0.2.1"), pings, Some(says))
        }

        fn enter(&mut self, address: Option<&str>, pings: Vec<Ping>, says: Option<Says>) -> TargetStatus {
            let start = UnixTime::from_secs(self.minute * 60);
            self.minute += 1;
            let address = address.map(|address| address.parse().unwrap());
            let target = Arc::clone(&self.entry.target);
            let round =
                Round::new(target, address, start, start.plus(STEP.duration()), pings).with_says(says);
            self.alerts.observe(&round, alert::Past::default());
            self.entry.enter(&round, &self.alerts.state("t").unwrap());
            self.entry.status()
        }
    }

    fn millis(ms: u64) -> Ping {
        Ping::Answered(Rtt::new(Duration::from_millis(ms)))
    }

    #[test]
    fn an_outage_is_told_from_its_first_round_until_the_alert_is_over() {
        let mut desk = Desk::new(vec![Rule::threshold(Rtt::new(Duration::from_millis(50))), Rule::down()]);
        assert_eq!((desk.entry.status().state, desk.entry.status().since), (State::Waiting, None));
        let well = desk.round(Some("192.0.2.1"), vec![millis(5), millis(7)]);
        assert_eq!((well.state, well.since, well.reason), (State::Ok, Some(60), None));
        assert_eq!((well.median_us, well.loss), (Some(7000.0), Some(0.0)));
        assert_eq!(desk.round(Some("192.0.2.1"), vec![millis(5)]).since, Some(60), "well since then");

        let down = desk.round(Some("192.0.2.1"), vec![Ping::Lost, Ping::Lost]);
        assert_eq!((down.state, down.since, down.loss), (State::Down, Some(180), Some(1.0)));
        assert_eq!(down.alerts, ["down"]);
        // Unknown rounds leave it as it is, and tell why nothing is known now.
        let blind = desk.round(None, vec![Ping::Unknown(Fault::Send(libc::ENETUNREACH)); 2]);
        assert_eq!((blind.state, blind.since, blind.loss), (State::Down, Some(180), None));
        assert!(blind.reason.unwrap().contains("cannot send"));

        let slow = desk.round(Some("192.0.2.1"), vec![millis(80), Ping::Lost]);
        assert_eq!((slow.state, slow.alerts), (State::Down, vec!["threshold".to_owned(), "down".to_owned()]));
        assert_eq!(slow.reason.as_deref(), Some("answers again, not yet for long enough"));
        for _ in 0..2 {
            desk.round(Some("192.0.2.1"), vec![millis(80)]);
        }
        let slow = desk.entry.status();
        assert_eq!((slow.state, slow.reason.as_deref()), (State::Slow, Some("median > 50ms")));
    }

    #[test]
    fn an_address_is_kept_when_the_name_has_none_any_more() {
        let mut desk = Desk::new(vec![Rule::down()]);
        let faults = || vec![Ping::Unknown(Fault::NoAddress); 2];
        assert_eq!(desk.round(None, faults()).reason.as_deref(), Some("the name does not resolve"));
        desk.round(Some("192.0.2.7"), vec![millis(5)]);
        let lost = desk.round(None, faults());
        assert_eq!((lost.state, lost.since), (State::Unknown, Some(180)));
        assert_eq!(lost.reason.as_deref(), Some("the name does not resolve, last 192.0.2.7"));
    }

    #[test]
    fn what_is_unknown_may_have_an_alert_of_its_own() {
        let rule = Rule {
            name: "blind".into(),
            judge: Judge::when("unknown >= 50%").unwrap(),
            clear: Rule::DEFAULT_CLEAR,
            ..Rule::down()
        };
        let mut desk = Desk::new(vec![rule]);
        let blind = desk.round(None, vec![Ping::Unknown(Fault::NoAddress); 2]);
        assert_eq!((blind.state, blind.alerts), (State::Unknown, vec!["blind".to_owned()]));
        assert_eq!(blind.reason.as_deref(), Some("the name does not resolve"));
        let back = desk.round(Some("192.0.2.1"), vec![millis(5); 2]);
        assert_eq!((back.state, back.since), (State::Unknown, Some(60)));
        assert_eq!(back.reason.as_deref(), Some("is measured again, not yet for long enough"));
        for _ in 0..2 {
            desk.round(Some("192.0.2.1"), vec![millis(5); 2]);
        }
        assert_eq!(desk.entry.status().state, State::Ok);
    }

    #[test]
    fn a_target_without_alerts_is_not_called_well_while_it_is_silent() {
        let mut desk = Desk::new(Vec::new());
        assert_eq!(desk.round(Some("192.0.2.1"), vec![millis(5)]).state, State::Ok);
        let silent = desk.round(Some("192.0.2.1"), vec![Ping::Lost]);
        assert_eq!((silent.state, silent.since), (State::Silent, Some(120)));
        assert!(!silent.state.is_alerting());
        assert_eq!(desk.round(None, vec![Ping::Unknown(Fault::HeldUp)]).state, State::Unknown);
    }

    /// The pings before the start are nobody's trouble; others that are missing are told beside what is known.
    #[test]
    fn what_our_own_side_failed_in_part_is_told() {
        let mut desk = Desk::new(vec![Rule::down()]);
        let first = desk.round(Some("192.0.2.1"), vec![Ping::Unknown(Fault::NotRunning), millis(5)]);
        assert_eq!((first.state, first.reason), (State::Ok, None));
        let partly = desk.round(Some("192.0.2.1"), vec![Ping::Unknown(Fault::Overflow), millis(5)]);
        assert_eq!(partly.reason.as_deref(), Some("1 of 2 pings: our receive buffer overflowed"));
        // Both our own side and somebody on the way may have something to say.
        let says = Says { reason: "host unreachable".into(), from: "192.0.2.254".parse().unwrap() };
        let both = desk.said(vec![Ping::Unknown(Fault::Overflow), Ping::Lost, millis(5)], says);
        assert_eq!(
            both.reason.as_deref(),
            Some("host unreachable, says 192.0.2.254; 1 of 3 pings: our receive buffer overflowed")
        );
        // One lost ping, when nothing is known of the others, is no outage.
        let late = || [vec![Ping::Unknown(Fault::NotRunning); 19], vec![Ping::Lost]].concat();
        for mut desk in [Desk::new(vec![Rule::down()]), Desk::new(Vec::new())] {
            let first = desk.round(Some("192.0.2.1"), late());
            assert_eq!(first.state, State::Unknown);
            assert_eq!(first.reason.as_deref(), Some("19 of 20 pings: the monitor was not yet running"));
        }
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
            exit: super::super::Exit::default(),
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
