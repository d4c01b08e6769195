//! Who is pinged, how, and by which rules each is judged.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::alert::pattern::Op;
use crate::alert::rule::{Comparison, Judge, Measure, Rule};
use crate::archive;
use crate::probe::icmp::Family;
use crate::round::{Rtt, Target};
use crate::time::Step;

use super::echo::{EchoConfig, EchoPreferences};
use super::error::{Error, one_line};
use super::file::{File, Preferences};
use super::origin::{Origin, Setting};
use super::{TargetConfig, value};

/// More would not fit into the day of a prober on one core.
pub(super) const MOST_TARGETS: usize = 100_000;

/// A target that was named, and all that is said of it where it was named and in `[defaults]`.
pub(super) struct Candidate {
    name: String,
    host: String,
    family: Option<Family>,
    origin: Origin,
    /// Shared by all of a table or a list that say no more.
    said: Arc<Preferences>,
}

impl Candidate {
    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

/// The targets that were named so far, in their order.
#[derive(Default)]
pub(super) struct Candidates(Vec<Candidate>);

impl Candidates {
    /// Adds the target called `name` of which `said` is said: two, where both families are asked.
    pub(super) fn add(
        &mut self,
        name: &str,
        host: &str,
        origin: &Origin,
        said: &Arc<Preferences>,
    ) -> Result<(), Error> {
        let targets = match &said.echo {
            Some(echo) => echo.targets_of(host, name, origin)?,
            None => &[("", None)],
        };
        for (suffix, family) in targets {
            let name = format!("{name}{suffix}");
            if let Some(fault) = value::name_fault(&name) {
                return Err(Error::Name { at: origin.clone(), name: one_line(&name), fault });
            }
            if self.0.len() == MOST_TARGETS {
                return Err(Error::TooManyTargets { at: origin.clone(), max: MOST_TARGETS });
            }
            let (host, origin, said) = (host.to_owned(), origin.clone(), Arc::clone(said));
            self.0.push(Candidate { name, host, family: *family, origin, said });
        }
        Ok(())
    }

    /// All of them; two of one name, or of one archive, are refused.
    pub(super) fn distinct(self) -> Result<Vec<Candidate>, Error> {
        let mut by_file: HashMap<PathBuf, &Candidate> = HashMap::with_capacity(self.0.len());
        for target in &self.0 {
            match by_file.entry(archive::file_name(&target.name)) {
                Entry::Vacant(free) => {
                    free.insert(target);
                }
                Entry::Occupied(taken) => return Err(same(taken.get(), target)),
            }
        }
        Ok(self.0)
    }
}

/// What the command line and the environment say for every target.
pub(super) struct Overrides {
    pub(super) step: Option<Setting<Step>>,
    pub(super) pings: Option<Setting<u16>>,
    pub(super) threshold: Option<Setting<Rtt>>,
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
    let mut echoes = Echoes::default();
    let resolve = |candidate: Candidate| {
        let echo = echoes.of(candidate.said.echo.as_ref(), &candidate.host);
        resolver.target(candidate, echo)
    };
    candidates.into_iter().map(resolve).collect()
}

/// What echoes look like, made once for the targets in a row that share what is said.
#[derive(Default)]
struct Echoes {
    unsaid: Option<Arc<EchoConfig>>,
    /// With and without a choice of families.
    last: [Option<(Arc<EchoPreferences>, Arc<EchoConfig>)>; 2],
}

impl Echoes {
    fn of(&mut self, said: Option<&Arc<EchoPreferences>>, host: &str) -> Arc<EchoConfig> {
        let Some(said) = said else {
            return Arc::clone(self.unsaid.get_or_insert_with(EchoConfig::said_by_nobody));
        };
        let family = said.holding_for(host);
        let last = &mut self.last[usize::from(family.is_some())];
        if let Some((known, echo)) = last
            && Arc::ptr_eq(known, said)
        {
            return Arc::clone(echo);
        }
        let echo = Arc::new(EchoConfig::new(said, family));
        *last = Some((Arc::clone(said), Arc::clone(&echo)));
        echo
    }
}

struct Resolver<'a> {
    overrides: &'a Overrides,
    file: Option<&'a File>,
    down: Setting<Arc<Rule>>,
    threshold: Option<Setting<Arc<Rule>>>,
}

impl Resolver<'_> {
    fn target(&self, candidate: Candidate, echo: Arc<EchoConfig>) -> TargetConfig {
        let Candidate { name, host, family, origin, said } = candidate;
        let alerts = self.rules(&said);
        TargetConfig {
            target: Arc::new(Target { name, host }),
            origin,
            step: self
                .overrides
                .step
                .clone()
                .or_else(|| said.step.clone())
                .unwrap_or(Setting::default(DEFAULT_STEP)),
            pings: self
                .overrides
                .pings
                .clone()
                .or_else(|| said.pings.clone())
                .unwrap_or(Setting::default(DEFAULT_PINGS)),
            timeout: said.timeout.clone().unwrap_or(Setting::default(DEFAULT_TIMEOUT)),
            parent: said.parent.clone(),
            family,
            echo,
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
        Judge::Compare(_) | Judge::Down | Judge::Aberrant | Judge::Pattern(_) => None,
    })
}

const DEFAULT_STEP: Step = match Step::new(60) {
    Some(step) => step,
    None => unreachable!(),
};
const DEFAULT_PINGS: u16 = 20;
const DEFAULT_TIMEOUT: Duration = Duration::from_millis(1500);
