//! Who is pinged, how, and by which rules each is judged.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::alert::pattern::Op;
use crate::alert::rule::{Comparison, Judge, Measure, Rule};
use crate::archive;
use crate::round::{Rtt, Target};
use crate::time::Step;

use super::error::{Error, one_line};
use super::file::{File, Preferences};
use super::origin::{Origin, Setting};
use super::{TargetConfig, value};

/// More would not fit into the day of a prober on one core.
pub(super) const MOST_TARGETS: usize = 100_000;

/// A target that was named, and what was said of it where it was named.
#[derive(Clone)]
pub(super) struct Candidate {
    pub(super) name: String,
    pub(super) host: String,
    pub(super) origin: Origin,
    pub(super) own: Preferences,
}

impl Candidate {
    /// A target that only its host is known of.
    pub(super) fn bare(name: &str, host: &str, origin: &Origin) -> Result<Self, Error> {
        let name = name.to_owned();
        if let Some(fault) = value::name_fault(&name) {
            return Err(Error::Name { at: origin.clone(), name: one_line(&name), fault });
        }
        Ok(Self { name, host: host.to_owned(), origin: origin.clone(), own: Preferences::default() })
    }
}

/// What the command line and the environment say for every target.
pub(super) struct Overrides {
    pub(super) step: Option<Setting<Step>>,
    pub(super) pings: Option<Setting<u16>>,
    pub(super) threshold: Option<Setting<Rtt>>,
}

/// Refuses two targets of one name, or of one archive.
pub(super) fn check_distinct(targets: &[Candidate]) -> Result<(), Error> {
    let mut by_file: HashMap<PathBuf, &Candidate> = HashMap::with_capacity(targets.len());
    for target in targets {
        match by_file.entry(archive::file_name(&target.name)) {
            Entry::Vacant(free) => {
                free.insert(target);
            }
            Entry::Occupied(taken) => return Err(same(taken.get(), target)),
        }
    }
    Ok(())
}

fn same(first: &Candidate, second: &Candidate) -> Error {
    let (at, name) = (second.origin.clone(), one_line(&second.name));
    if first.name == second.name {
        Error::NamedTwice { at, kind: "target", name, first: first.origin.clone() }
    } else {
        let (name, other) = (name.into(), one_line(&first.name).into());
        Error::SameArchive { at, name, other, first: first.origin.clone() }
    }
}

/// Every target with the settings that hold for it.
pub(super) fn resolve(
    candidates: Vec<Candidate>,
    overrides: &Overrides,
    file: Option<&File>,
) -> Vec<TargetConfig> {
    let resolver = Resolver {
        overrides,
        file,
        down: Setting::default(Arc::new(Rule::down())),
        threshold: overrides.threshold.clone().map(|limit| limit.map(Rule::threshold).map(Arc::new)),
    };
    candidates.into_iter().map(|candidate| resolver.target(candidate)).collect()
}

struct Resolver<'a> {
    overrides: &'a Overrides,
    file: Option<&'a File>,
    down: Setting<Arc<Rule>>,
    threshold: Option<Setting<Arc<Rule>>>,
}

impl Resolver<'_> {
    fn target(&self, Candidate { name, host, origin, own }: Candidate) -> TargetConfig {
        let said = match self.file {
            Some(file) => own.over(&file.defaults),
            None => own,
        };
        let alerts = self.rules(&said);
        TargetConfig {
            target: Arc::new(Target { name, host }),
            origin,
            step: self.overrides.step.clone().or(said.step).unwrap_or(Setting::default(DEFAULT_STEP)),
            pings: self.overrides.pings.clone().or(said.pings).unwrap_or(Setting::default(DEFAULT_PINGS)),
            timeout: said.timeout.unwrap_or(Setting::default(DEFAULT_TIMEOUT)),
            limit: limit(&alerts.value),
            alerts,
        }
    }

    /// `down` and the threshold watch every target that does not say `alerts = []`.
    fn rules(&self, said: &Preferences) -> Setting<Vec<Setting<Arc<Rule>>>> {
        let (names, origin) = match &said.alerts {
            Some(list) if list.value.is_empty() => {
                return Setting { value: Vec::new(), origin: list.origin.clone() };
            }
            Some(list) => (&*list.value, list.origin.clone()),
            None => (&[][..], Origin::Default),
        };
        let mut rules = vec![self.down.clone()];
        rules.extend(self.threshold.clone());
        let alerts = self.file.map(|file| &file.alerts);
        for name in names {
            // `down` stands first already, and every other name was found in the file when it was read.
            let Some(rule) = alerts.and_then(|alerts| alerts.get(&name.value)) else { continue };
            if !rules.iter().any(|known| Arc::ptr_eq(&known.value, &rule.value)) {
                rules.push(rule.clone());
            }
        }
        Setting { value: rules, origin }
    }
}

/// The line to draw in a target's picture: the limit of the first rule that watches for a median above one.
fn limit(rules: &[Setting<Arc<Rule>>]) -> Option<Rtt> {
    rules.iter().find_map(|rule| match rule.value.judge {
        Judge::Compare(Comparison::Latency {
            measure: Measure::Median,
            op: Op::Greater | Op::GreaterOrEqual,
            limit,
        }) => Some(limit),
        Judge::Compare(_) | Judge::Down | Judge::Pattern(_) => None,
    })
}

const DEFAULT_STEP: Step = match Step::new(60) {
    Some(step) => step,
    None => unreachable!(),
};
const DEFAULT_PINGS: u16 = 20;
const DEFAULT_TIMEOUT: Duration = Duration::from_millis(1500);
