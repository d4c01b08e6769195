//! Alerts: rounds in, events out. Judges the round itself, before the archive consolidates it.

pub mod pattern;
pub mod rule;

use std::sync::Arc;
use std::time::Duration;

use self::rule::Rule;
use crate::round::{Rtt, Target};
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

/// Something a person must be told about a target.
#[derive(Clone, Debug)]
pub struct Event {
    /// Which target.
    pub target: Arc<Target>,
    /// The name of the rule that speaks: `down`, `threshold`, or a name of the settings.
    pub rule: String,
    /// The rule as it was written, for people: `median > 100ms`, `no ping answered`.
    pub condition: String,
    /// What happened.
    pub kind: EventKind,
    /// The end of the first round of the trouble.
    pub since: UnixTime,
    /// The end of the round that decided it.
    pub at: UnixTime,
    /// The rounds of the trouble so far, known ones only.
    pub rounds: u32,
    /// The median of the round that decided it; `None` when no ping of it was answered.
    pub median: Option<Rtt>,
    /// The greatest median while the trouble lasted.
    pub worst_median: Option<Rtt>,
    /// The share of lost pings in the round that decided it.
    pub loss_ratio: f64,
    /// The greatest share of lost pings in a round while the trouble lasted.
    pub worst_loss_ratio: f64,
}

/// What happened to an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// It began.
    Raised,
    /// It goes on, and the time of its `repeat` has passed again.
    Repeated,
    /// It is over; it lasted so long.
    Cleared {
        /// From the first bad round's end to the last bad round's end, at least one step.
        lasted: Duration,
    },
}
