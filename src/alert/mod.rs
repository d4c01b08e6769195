//! Alerts: rounds in, events out. Judges the round itself, before the archive consolidates it.
//!
//! Nothing here reads a clock or a file: the time is what the rounds' own stamps say.

pub mod desk;
pub mod hours;
mod kept;
pub mod notice;
pub mod pattern;
pub mod rule;
mod tally;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::desk::Desk;
pub use self::kept::KeptAlert;
pub use self::notice::{Notice, Story};
use self::pattern::Values;
pub use self::rule::{Severity, Trouble};

use self::rule::{Judge, Rule};
use self::tally::{Stretch, Tally};
use crate::round::{Round, Rtt, Target};
use crate::time::{Step, UnixTime};

/// Which rules hold for whom.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Every target that is judged.
    pub targets: Vec<TargetRules>,
}

/// The rules that hold for one target.
#[derive(Clone, Debug)]
pub struct TargetRules {
    /// Whose rounds.
    pub target: Arc<Target>,
    /// The length of its rounds, which a window written as a time is counted in.
    pub step: Step,
    /// Its rules; where [`Rule::down`] is among them, it speaks for rounds without any reply.
    pub rules: Vec<Arc<Rule>>,
}

/// What is known of a target's past when a round of it is judged. Whoever keeps the past tells it; what no rule of the
/// target asks for may be left out.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Past {
    /// The median that is usual at this hour; `None` where too little is known.
    pub usual: Option<Rtt>,
    /// Whether the archive's forecast finds the round, and those before it, too far off; `None` where nothing is
    /// forecast, or the rounds do not tell.
    pub aberrant: Option<bool>,
}

/// Judges every round of every target, and remembers which alerts are open.
///
/// - A round is good, bad, or says nothing to a rule. Rounds that say nothing are passed over as if they had never been:
///   they neither count nor break a run. A round of which too little is known ([`Round::is_scarcely_known`]) says nothing
///   to any rule but those that compare what is unknown. Rounds that overlap with an outage of our own uplink say nothing
///   to these: one notice tells of it, and not one for each target.
/// - An alert is raised when its `raise` window holds enough bad rounds, and over when its `clear` window holds enough
///   good ones. Each window counts from the last change: no round is used twice.
/// - No reply at all crosses every upper limit of latency, and of loss. But one outage is one alert: while a target has a
///   rule that judges [`Judge::Down`], a round without any reply says nothing to those limits as long as their alert is
///   not open. An open one it keeps open, since a line that answers nothing has become neither fast nor whole.
/// - A pattern's alert is raised with the first round that matches and over with the first that does not.
/// - A comparison with the usual, and a forecast, say nothing of rounds for which [`Past`] does not know it.
/// - An open alert is told again with the first bad round after each `repeat`. When the clock is set back, the waiting
///   begins anew.
#[derive(Clone, Debug)]
pub struct Alerts {
    targets: HashMap<String, Watched>,
    /// The newest outage of our own uplink.
    outage: Option<Outage>,
    /// What outlasts this process is not what it was when that was last asked.
    changed: bool,
}

impl Alerts {
    /// No round seen, no alert open.
    pub fn new(settings: &Settings) -> Self {
        let watched = |rules: &TargetRules| (rules.target.name.clone(), Watched::new(rules));
        Self { targets: settings.targets.iter().map(watched).collect(), outage: None, changed: false }
    }

    /// Judges the next `round` of its target, of whose `past` that much is known. What it returns is in the order of the
    /// target's rules, and nearly always empty, for which nothing is allocated.
    pub fn observe(&mut self, round: &Round, past: Past) -> Vec<Event> {
        match self.targets.get_mut(&round.target().name) {
            Some(watched) => {
                let was_idle = watched.watches.iter().all(Watch::is_idle);
                let is_offline = self.outage.is_some_and(|outage| outage.overlaps(round));
                let events = watched.observe(round, past, is_offline);
                self.changed |= !was_idle || !watched.watches.iter().all(Watch::is_idle);
                events
            }
            None => Vec::new(),
        }
    }

    /// Our own uplink has gone: the last reply was heard at `since`.
    pub fn offline(&mut self, since: UnixTime) {
        self.outage = Some(Outage { since, until: None });
    }

    /// Our own uplink works again, since `at`.
    pub fn online(&mut self, at: UnixTime) {
        if let Some(outage) = &mut self.outage {
            outage.until.get_or_insert(at);
        }
    }

    /// How the target of this name stands; `None` where it is not watched.
    pub fn state(&self, target: &str) -> Option<TargetState> {
        self.targets.get(target).map(Watched::state)
    }
}

/// Our own uplink was down.
#[derive(Clone, Copy, Debug)]
struct Outage {
    since: UnixTime,
    /// `None` while it lasts.
    until: Option<UnixTime>,
}

impl Outage {
    fn overlaps(self, round: &Round) -> bool {
        self.since < round.end() && self.until.is_none_or(|until| round.start() < until)
    }
}

/// How a target stands after its newest round.
#[derive(Clone, Debug, PartialEq)]
pub enum TargetState {
    /// It has not had a round yet.
    Waiting,
    /// No alert is open, and too little is known of the newest round to say anything about the network.
    Unknown {
        /// The end of the first of such rounds in succession.
        since: UnixTime,
    },
    /// No alert is open.
    Ok,
    /// These alerts are open, in the order of the target's rules; also while its rounds are unknown.
    Alerting(Vec<OpenAlert>),
}

/// An alert that was raised and is not over.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenAlert {
    /// Its rule.
    pub rule: Arc<Rule>,
    /// The end of the first round of the trouble.
    pub since: UnixTime,
}

/// Something a person must be told about a target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Which target.
    pub target: Arc<Target>,
    /// The address that was asked in the round that decided it, where there was one.
    pub address: Option<IpAddr>,
    /// The name of the rule that speaks: `down`, `threshold`, or a name of the settings.
    pub rule: String,
    /// The rule as it was written, for people: `median > 100ms`, `no ping answered`.
    pub condition: String,
    /// What the line suffers, or suffered, from.
    pub trouble: Trouble,
    /// How much it matters.
    pub severity: Severity,
    /// Who is told, as the rule says it; empty for everybody.
    pub to: Vec<String>,
    /// What happened.
    pub kind: EventKind,
    /// The end of the first round of the trouble: the first bad one in the window that raised it.
    pub since: UnixTime,
    /// The end of the round that decided it.
    pub at: UnixTime,
    /// The rounds from the first bad one to the last bad one so far, those left out that said nothing to the rule.
    pub rounds: u32,
    /// The median of the round that decided it; `None` when no ping of it was answered.
    pub median: Option<Rtt>,
    /// The greatest median of the bad rounds so far; `None` when no ping of theirs was answered.
    pub worst_median: Option<Rtt>,
    /// The median that is usual at the hour of that round, where it was known when the round was judged: it is when a
    /// rule of the target asks for it.
    pub usual: Option<Rtt>,
    /// The share of lost pings in the round that decided it.
    pub loss_ratio: f64,
    /// The greatest share of lost pings of the bad rounds so far.
    pub worst_loss_ratio: f64,
    /// Why pings of that round were not answered, by somebody on the way: `host unreachable, says 192.0.2.1`.
    pub says: Option<String>,
    /// What of that round tells nothing about the network; `None` where all of it does.
    #[serde(default)]
    pub unknown: Option<Unknown>,
}

/// Pings that tell nothing about the network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Unknown {
    /// Their share of the round, over 0 to 1.
    pub ratio: f64,
    /// Why most of them are: `the name does not resolve`.
    pub why: String,
}

impl Unknown {
    fn of(round: &Round) -> Option<Self> {
        let pings = round.pings().len();
        let ratio = (pings - round.known()) as f64 / pings as f64;
        round.fault().map(|fault| Self { ratio, why: fault.to_string() })
    }
}

/// What happened to an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventKind {
    /// It began.
    Raised,
    /// It goes on, and the time of its `repeat` has passed again.
    Repeated,
    /// It is over; it lasted so long.
    Cleared {
        /// From the first bad round's start to the last bad round's end, at least one step.
        lasted: Duration,
    },
}

/// A target and its rules.
#[derive(Clone, Debug)]
struct Watched {
    watches: Vec<Watch>,
    /// One of the rules tells of rounds without any reply.
    tells_down: bool,
    newest: Newest,
}

/// What the newest round was.
#[derive(Clone, Copy, Debug)]
enum Newest {
    None,
    Unknown { since: UnixTime },
    Known,
}

impl Watched {
    fn new(rules: &TargetRules) -> Self {
        Self {
            watches: rules.rules.iter().map(|rule| Watch::new(rule, rules.step)).collect(),
            tells_down: rules.rules.iter().any(|rule| rule.judge == Judge::Down),
            newest: Newest::None,
        }
    }

    fn observe(&mut self, round: &Round, past: Past, is_offline: bool) -> Vec<Event> {
        let is_known = !round.is_scarcely_known();
        self.newest = match self.newest {
            _ if is_known => Newest::Known,
            Newest::Unknown { since } => Newest::Unknown { since },
            Newest::None | Newest::Known => Newest::Unknown { since: round.end() },
        };
        let tells_down = self.tells_down;
        let says_nothing = |rule: &Rule| if rule.is_about_the_unknown() { is_offline } else { !is_known };
        let told = self.watches.iter_mut().filter(|watch| !says_nothing(&watch.rule));
        told.filter_map(|watch| watch.observe(round, past, tells_down)).collect()
    }

    fn state(&self) -> TargetState {
        let open: Vec<OpenAlert> = self.watches.iter().filter_map(Watch::open_alert).collect();
        match self.newest {
            _ if !open.is_empty() => TargetState::Alerting(open),
            Newest::None => TargetState::Waiting,
            Newest::Unknown { since } => TargetState::Unknown { since },
            Newest::Known => TargetState::Ok,
        }
    }
}

/// One rule at work on one target.
#[derive(Clone, Debug)]
struct Watch {
    rule: Arc<Rule>,
    step: Step,
    /// How many rounds it has judged good or bad.
    judged: u64,
    raise: Tally,
    clear: Tally,
    values: Values,
    open: Option<Open>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Open {
    /// From the first bad round to the last one.
    trouble: Stretch,
    /// When it was last told.
    told: UnixTime,
}

impl Watch {
    fn new(rule: &Arc<Rule>, step: Step) -> Self {
        let (raise, clear) = match rule.judge {
            Judge::Down | Judge::Compare(_) | Judge::Aberrant => (rule.raise, rule.clear),
            Judge::Pattern(_) => (Rule::AT_ONCE, Rule::AT_ONCE),
        };
        Self {
            rule: Arc::clone(rule),
            step,
            judged: 0,
            raise: Tally::new(raise, step),
            clear: Tally::new(clear, step),
            values: Values::new(),
            open: None,
        }
    }

    /// Judges a `round` of which the rule has what it needs.
    fn observe(&mut self, round: &Round, past: Past, tells_down: bool) -> Option<Event> {
        let bad = self.is_bad(round, past, tells_down)?;
        self.judged += 1;
        let here = Stretch::new(round, self.judged);
        let (kind, trouble) = match &mut self.open {
            None => {
                let trouble = self.raise.count(self.judged, bad.then_some(here))?;
                self.open = Some(Open { trouble, told: round.end() });
                (EventKind::Raised, trouble)
            }
            Some(open) if bad => {
                open.trouble.join(&here);
                self.clear.count(self.judged, None);
                open.is_due(self.rule.repeat?, round.end()).then_some((EventKind::Repeated, open.trouble))?
            }
            Some(Open { trouble, .. }) => {
                let trouble = *trouble;
                self.clear.count(self.judged, Some(here))?;
                self.open = None;
                (EventKind::Cleared { lasted: trouble.lasted(self.step) }, trouble)
            }
        };
        Some(Event {
            target: Arc::clone(round.target()),
            address: round.address(),
            rule: self.rule.name.clone(),
            condition: self.rule.judge.to_string(),
            trouble: self.rule.judge.trouble(),
            severity: self.rule.severity,
            to: self.rule.to.clone(),
            kind,
            since: trouble.since,
            at: round.end(),
            rounds: u32::try_from(trouble.rounds()).unwrap_or(u32::MAX),
            median: round.median(),
            worst_median: trouble.worst_median,
            usual: past.usual,
            loss_ratio: here.worst_loss_ratio,
            worst_loss_ratio: trouble.worst_loss_ratio,
            says: round.says().map(ToString::to_string),
            unknown: Unknown::of(round),
        })
    }

    /// `None` when the round says nothing to this rule.
    fn is_bad(&mut self, round: &Round, past: Past, tells_down: bool) -> Option<bool> {
        let bad = match &self.rule.judge {
            Judge::Down => return Some(round.is_down()),
            Judge::Pattern(pattern) => return Some(self.values.matches_after(pattern, round)),
            Judge::Compare(comparison) => comparison.is_bad(round, past)?,
            Judge::Aberrant => past.aberrant?,
        };
        let is_down = round.is_down() && !self.rule.is_about_the_unknown();
        let is_told = bad && is_down && tells_down && self.open.is_none();
        (!is_told).then_some(bad)
    }

    fn open_alert(&self) -> Option<OpenAlert> {
        self.open.map(|open| OpenAlert { rule: Arc::clone(&self.rule), since: open.trouble.since })
    }
}

impl Open {
    /// Whether it must be told again `now`, which is then noted as the time it was told.
    fn is_due(&mut self, repeat: Duration, now: UnixTime) -> bool {
        let waited = now.since(self.told);
        let is_due = waited.is_some_and(|waited| waited >= repeat);
        if is_due || waited.is_none() {
            self.told = now;
        }
        is_due
    }
}

#[cfg(test)]
mod tests;
