//! What is told of alerts, and what is not: `[alerts]`, `[maintenance.NAME]`, and who lies behind whom.

use std::collections::HashMap;
use std::time::Duration;

use crate::alert::desk::Settings as Desk;
use crate::alert::desk::quiet::{Maintenance, When, means};
use crate::time::{UnixTime, parse_point};

use super::document::Entry;
use super::echo::Families;
use super::error::{Error, nearest, one_line, sentence};
use super::origin::Setting;
use super::{TargetConfig, value};

/// How notices are made of alerts, and who said so.
#[derive(Clone, Debug)]
pub struct TellingConfig {
    /// How long changes are gathered before they are told.
    pub settle: Setting<Duration>,
    /// The most notices in an hour for the same readers.
    pub max_per_hour: Setting<u32>,
    /// When work is planned.
    pub maintenance: Vec<Setting<Maintenance>>,
}

impl Default for TellingConfig {
    fn default() -> Self {
        Self {
            settle: Setting::default(Desk::DEFAULT_SETTLE),
            max_per_hour: Setting::default(Desk::DEFAULT_MAX_PER_HOUR),
            maintenance: Vec::new(),
        }
    }
}

impl TellingConfig {
    /// Reads `[alerts]`.
    pub(super) fn read(&mut self, entry: &Entry<'_>) -> Result<(), Error> {
        let section = entry.table(&KEYS, || "in [alerts]".to_owned())?;
        if let Some(entry) = section.get("settle") {
            self.settle = entry.parsed_number(value::settle, "a duration")?;
        }
        if let Some(entry) = section.get("max_per_hour") {
            self.max_per_hour = entry.whole(1, MOST_PER_HOUR)?;
        }
        Ok(())
    }

    /// Reads a `[maintenance.NAME]`.
    pub(super) fn add_maintenance(&mut self, entry: &Entry<'_>) -> Result<(), Error> {
        let planned = Setting { value: maintenance(entry)?, origin: entry.at.clone() };
        if let Some(first) = self.maintenance.iter().find(|first| first.value.name == planned.value.name) {
            return Err(Error::NamedTwice {
                at: planned.origin,
                kind: "maintenance",
                name: one_line(&planned.value.name),
                first: first.origin.clone(),
            });
        }
        self.maintenance.push(planned);
        Ok(())
    }

    /// For those who make notices.
    pub(super) fn desk(&self, targets: &[TargetConfig]) -> Desk {
        let rules = targets.iter().flat_map(|target| &target.alerts.value);
        Desk {
            settle: self.settle.value,
            max_per_hour: self.max_per_hour.value,
            targets: targets.iter().map(TargetConfig::place).collect(),
            maintenance: self.maintenance.iter().map(|planned| planned.value.clone()).collect(),
            hours: rules
                .filter_map(|rule| Some((rule.value.name.clone(), rule.value.hours.clone()?)))
                .collect(),
        }
    }

    /// Refuses times of work on targets that nobody has.
    pub(super) fn check<'a>(&self, targets: impl Iterator<Item = &'a str> + Clone) -> Result<(), Error> {
        for planned in &self.maintenance {
            for name in &planned.value.targets {
                if !targets.clone().any(|target| means(name, target)) {
                    return Err(Error::UnknownTarget {
                        at: planned.origin.clone(),
                        section: format!("[maintenance.{}]", one_line(&planned.value.name)),
                        name: one_line(name),
                    });
                }
            }
        }
        Ok(())
    }
}

fn maintenance(entry: &Entry<'_>) -> Result<Maintenance, Error> {
    let name = entry.key;
    let fault = |fault| Error::Maintenance { at: entry.at.clone(), name: one_line(name), fault };
    if name.is_empty() || name.len() > LONGEST_NAME || name.chars().any(char::is_control) {
        return Err(fault("needs a name of 1 to 60 bytes without control characters"));
    }
    let section = entry.table(&MAINTENANCE_KEYS, || format!("in [maintenance.{}]", one_line(name)))?;
    let when = match (section.get("when"), section.get("from"), section.get("until")) {
        (Some(when), None, None) => {
            When::Weekly(when.text()?.parse().map_err(|error: crate::alert::hours::HoursError| {
                Error::Rule { at: when.at.clone(), key: "when", reason: sentence(&error.to_string()) }
            })?)
        }
        (None, Some(from), Some(until)) => {
            let (from, until) = (point(&from, "from")?, point(&until, "until")?);
            if until <= from {
                return Err(fault("ends before it begins"));
            }
            When::Once { from, until }
        }
        (None, None, None) => return Err(fault("has neither 'when' nor 'from' and 'until'")),
        (None, ..) => return Err(fault("has only one of 'from' and 'until'")),
        (Some(_), ..) => return Err(fault("has 'when' and also 'from' or 'until': keep one kind")),
    };
    let targets = match section.get("targets") {
        Some(entry) => entry.texts()?.into_iter().map(|name| name.value.to_owned()).collect(),
        None => Vec::new(),
    };
    if targets.is_empty() {
        return Err(fault("has no 'targets': write names, groups or patterns, or [\"all\"]"));
    }
    let reason = section.get("reason").map(|entry| entry.text().map(one_line)).transpose()?;
    Ok(Maintenance { name: name.to_owned(), when, targets, reason: reason.unwrap_or_default() })
}

/// A date and time.
fn point(entry: &Entry<'_>, key: &'static str) -> Result<UnixTime, Error> {
    let text = entry.text_or_time()?;
    // A time without a date, or a duration, would mean another one at every start.
    let has_date = text.trim().get(..5).is_some_and(|year| year.ends_with('-'));
    let parsed = parse_point(&text, UnixTime::from_secs(0));
    match parsed {
        Ok(time) if has_date => Ok(time),
        Err(error) if has_date => {
            Err(Error::Rule { at: entry.at.clone(), key, reason: sentence(&error.to_string()) })
        }
        _ => Err(Error::value(&entry.at, key, &text, "write a date and time, as 2026-11-22 02:00")),
    }
}

/// Finds the target that each one's parent is. In a group that lies behind one of its own, that one does not.
pub(super) fn resolve_parents(targets: &mut [TargetConfig]) -> Result<(), Error> {
    if targets.iter().all(|target| target.parent.is_none()) {
        return Ok(());
    }
    let places: HashMap<String, usize> =
        targets.iter().enumerate().map(|(place, target)| (target.target.name.clone(), place)).collect();
    let mut parents: Vec<Option<usize>> = vec![None; targets.len()];
    for (place, target) in targets.iter().enumerate() {
        let Some(parent) = &target.parent else { continue };
        let Some(found) = named(&places, target, &parent.value) else {
            let known = places.keys().map(String::as_str);
            let hint = match nearest(&parent.value, known) {
                Some(near) => format!("did you mean '{}'?", one_line(near)),
                None => "no target of this name is there".to_owned(),
            };
            let at = parent.origin.clone();
            return Err(Error::UnknownParent { at, name: one_line(&parent.value), hint });
        };
        parents[place] = (found != place).then_some(found);
    }
    if let Some(place) = in_a_circle(&parents) {
        let mut names = one_line(&targets[place].target.name);
        let mut next = parents[place];
        for _ in 0..MOST_SHOWN {
            let Some(at) = next else { break };
            names = format!("{names} behind {}", one_line(&targets[at].target.name));
            next = parents[at].filter(|_| at != place);
        }
        let at = targets[place].parent.as_ref().map_or(&targets[place].origin, |parent| &parent.origin);
        return Err(Error::ParentCircle { at: at.clone(), names });
    }
    for (place, parent) in parents.into_iter().enumerate() {
        let name = parent.map(|parent| targets[parent].target.name.clone());
        let said = targets[place].parent.take();
        targets[place].parent = said.zip(name).map(|(said, name)| said.map(|_| name));
    }
    Ok(())
}

/// The target that is called `parent`; where that is two, for each family one, the one of the same family.
fn named(places: &HashMap<String, usize>, target: &TargetConfig, parent: &str) -> Option<usize> {
    let of_family = || {
        let own = matches!(target.echo.family.value, Families::Both) && target.target.name.ends_with("-v6");
        let (first, second) = if own { ("-v6", "-v4") } else { ("-v4", "-v6") };
        [first, second].into_iter().find_map(|family| places.get(&format!("{parent}{family}")))
    };
    places.get(parent).or_else(of_family).copied()
}

/// The first that lies behind itself.
fn in_a_circle(parents: &[Option<usize>]) -> Option<usize> {
    // In which walk each was seen, counted from 1.
    let mut seen = vec![0; parents.len()];
    for start in 0..parents.len() {
        let mut place = start;
        while seen[place] == 0 {
            seen[place] = start + 1;
            match parents[place] {
                Some(parent) => place = parent,
                None => break,
            }
        }
        if seen[place] == start + 1 && parents[place].is_some() {
            return Some(place);
        }
    }
    None
}

const KEYS: [&str; 2] = ["settle", "max_per_hour"];
const MAINTENANCE_KEYS: [&str; 5] = ["when", "from", "until", "targets", "reason"];
const MOST_PER_HOUR: u32 = 1000;
const LONGEST_NAME: usize = 60;
const MOST_SHOWN: usize = 10;
