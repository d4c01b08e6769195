//! What people said should not be told: mutes, and times of planned work.

use std::fmt;

use glob::Pattern;
use serde::{Deserialize, Serialize};

use super::super::hours::Hours;
use super::minute_after;
use crate::time::UnixTime;

/// The name that means every target.
pub const ALL: &str = "all";

/// Nothing is told of some targets for a while. While it holds, what comes and goes is not told at all; what is open when it
/// ends is told then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mute {
    /// Whom: a target, a group, a pattern as `fra/*`, or [`ALL`].
    pub name: String,
    /// Since when.
    pub since: UnixTime,
    /// Until when.
    pub until: UnixTime,
    /// Who wants it.
    pub by: String,
    /// What for; empty where nobody said.
    pub reason: String,
}

/// Work that is planned: as a mute that comes by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Maintenance {
    /// Its name in the settings.
    pub name: String,
    /// When.
    pub when: When,
    /// Whom, each as in [`Mute::name`].
    pub targets: Vec<String>,
    /// What for.
    pub reason: String,
}

/// When work is planned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum When {
    /// Every week.
    Weekly(Hours),
    /// Once.
    Once {
        /// From then on.
        from: UnixTime,
        /// Before then.
        until: UnixTime,
    },
}

/// All that holds notices back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quiet {
    /// What people have muted.
    pub mutes: Vec<Mute>,
    /// What the settings plan.
    pub maintenance: Vec<Maintenance>,
}

/// Why nothing is told of a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Muted {
    /// Until when, as far as that is known.
    pub until: Option<UnixTime>,
    /// Who wants it; `maintenance` and its name where the settings do.
    pub by: String,
    /// What for; empty where nobody said.
    pub reason: String,
}

/// More mutes than anybody keeps an eye on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there are {max} mutes already: take some back with latmon unmute", max = Mute::MOST)]
pub struct TooMany;

impl Mute {
    /// The most that there may be at a time.
    pub const MOST: usize = 1000;

    /// Whether it holds for `target` at `now`.
    pub fn holds(&self, target: &str, now: UnixTime) -> bool {
        now < self.until && means(&self.name, target)
    }
}

impl Maintenance {
    /// Whether it holds for `target` at `now`.
    pub fn holds(&self, target: &str, now: UnixTime) -> bool {
        self.is_on(now) && self.targets.iter().any(|name| means(name, target))
    }

    fn is_on(&self, now: UnixTime) -> bool {
        match &self.when {
            When::Weekly(hours) => hours.contains(now),
            When::Once { from, until } => (*from..*until).contains(&now),
        }
    }

    /// When the time that holds `now` is over; `None` where that is not soon.
    fn ends(&self, now: UnixTime) -> Option<UnixTime> {
        match &self.when {
            When::Weekly(_) => {
                let minutes =
                    std::iter::successors(Some(minute_after(now)), |minute| Some(minute_after(*minute)));
                minutes.take(LOOK_AHEAD).find(|minute| !self.is_on(*minute))
            }
            When::Once { until, .. } => Some(*until),
        }
    }
}

impl Quiet {
    /// Who wants nothing to be told of `target` at `now`, where somebody does: a person before the settings.
    pub fn of(&self, target: &str, now: UnixTime) -> Option<Muted> {
        let mute = self.mutes.iter().filter(|mute| mute.holds(target, now)).max_by_key(|mute| mute.until);
        let planned = || {
            let planned = self.maintenance.iter().find(|planned| planned.holds(target, now))?;
            let by = format!("maintenance {}", planned.name);
            Some(Muted { until: planned.ends(now), by, reason: planned.reason.clone() })
        };
        match mute {
            Some(mute) => {
                Some(Muted { until: Some(mute.until), by: mute.by.clone(), reason: mute.reason.clone() })
            }
            None => planned(),
        }
    }
}

/// Whether people who say `name` mean `target`: itself, the group it is of, a pattern that it matches, or all.
pub fn means(name: &str, target: &str) -> bool {
    let rest = target.strip_prefix(name);
    name == ALL
        || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        || (name.contains(['*', '?', '[']) && Pattern::new(name).is_ok_and(|pattern| pattern.matches(target)))
}

/// Adds a mute, in place of one of its name.
pub fn add(mutes: &mut Vec<Mute>, mute: Mute) -> Result<(), TooMany> {
    match mutes.iter().position(|known| known.name == mute.name) {
        Some(place) => mutes[place] = mute,
        None if mutes.len() >= Mute::MOST => return Err(TooMany),
        None => mutes.push(mute),
    }
    Ok(())
}

/// Takes the mutes of this name away, or all; returns how many there were.
pub fn remove(mutes: &mut Vec<Mute>, name: &str) -> usize {
    let before = mutes.len();
    mutes.retain(|mute| name != ALL && mute.name != name);
    before - mutes.len()
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = |at: &UnixTime| at.local().civil.format("%Y-%m-%d %H:%M").to_string();
        match self {
            Self::Weekly(hours) => hours.fmt(f),
            Self::Once { from, until } => write!(f, "{} to {}", time(from), time(until)),
        }
    }
}

/// A week, in minutes.
const LOOK_AHEAD: usize = 7 * 24 * 60;
