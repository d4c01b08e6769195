//! What is known of targets' pasts when their rounds are judged, asked of the archives. What is usual is kept for an hour.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tracing::{info, warn};

use crate::alert::rule::Rule;
use crate::alert::{self, Past};
use crate::archive::{self, Archives};
use crate::round::{Round, Rtt};
use crate::time::UnixTime;

/// No longer than this are archives read in one turn of the loop: when an hour begins, every target asks anew. Until its
/// turn comes, a target has what was usual in the hour before.
const READING: Duration = Duration::from_millis(20);

/// What targets ask for, and what they were told.
#[derive(Debug)]
pub(super) struct Pasts {
    data_dir: PathBuf,
    /// The targets with a rule that asks what is usual.
    usual: HashMap<String, Usual>,
    /// Those with a rule that asks for a forecast.
    forecast: HashSet<String>,
    /// How long archives were read in this turn.
    read: Duration,
    said_unknown: bool,
}

/// What is usual for one target.
#[derive(Debug, Default)]
struct Usual {
    /// The beginning of the hour it was asked for.
    hour: Option<UnixTime>,
    median: Option<Rtt>,
    /// The last answer was an error, which was said.
    failed: bool,
}

impl Pasts {
    pub(super) fn new(settings: &alert::Settings, data_dir: &Path) -> Self {
        let asking = |asks: fn(&Rule) -> bool| {
            let targets = settings.targets.iter();
            let asking = targets.filter(move |target| target.rules.iter().any(|rule| asks(rule)));
            asking.map(|target| target.target.name.clone())
        };
        Self {
            data_dir: data_dir.to_owned(),
            usual: asking(Rule::asks_for_the_usual).map(|name| (name, Usual::default())).collect(),
            forecast: asking(Rule::asks_for_a_forecast).collect(),
            read: Duration::ZERO,
            said_unknown: false,
        }
    }

    /// A turn of the loop begins.
    pub(super) fn begin_turn(&mut self) {
        self.read = Duration::ZERO;
    }

    /// What is known of the past of a round that was recorded.
    pub(super) fn of(&mut self, round: &Round, archives: &mut Archives) -> Past {
        let name = &round.target().name;
        let forecast = self.forecast.contains(name);
        // A file that cannot be read cannot be recorded in either, which is told.
        let aberrant = forecast.then(|| archives.is_aberrant(name, round.end()).ok().flatten()).flatten();
        Past { usual: self.usual(round), aberrant }
    }

    fn usual(&mut self, round: &Round) -> Option<Rtt> {
        let name = &round.target().name;
        let kept = self.usual.get_mut(name)?;
        let hour = round.start().local_hour(0).map(|(begins, _)| begins);
        if (kept.hour == hour && hour.is_some()) || self.read >= READING {
            return kept.median;
        }
        let began = Instant::now();
        match archive::usual(&archive::path(&self.data_dir, name), round.start()) {
            Ok(median) => (kept.median, kept.failed) = (median, false),
            Err(error) => {
                if !std::mem::replace(&mut kept.failed, true) {
                    warn!("{name}: what is usual cannot be read: {error}");
                }
                kept.median = None;
            }
        }
        kept.hour = hour;
        self.read += began.elapsed();
        if kept.median.is_none() && !kept.failed && !std::mem::replace(&mut self.said_unknown, true) {
            info!(
                "{name}: too little is known to be usual: rules that compare with it say nothing, here or for others"
            );
        }
        kept.median
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use crate::alert::TargetRules;
    use crate::alert::rule::Judge;
    use crate::archive::{TargetSettings, Wanted};
    use crate::round::{Ping, Target};
    use crate::time::Step;

    const STEP: Step = Step::new(300).expect("300 is not 0");
    /// The 25th of November 2026, 12:34 UTC.
    const NOW: UnixTime = UnixTime::from_secs(1_795_610_040);

    fn round(target: &Arc<Target>, start: UnixTime) -> Round {
        let answered = Ping::Answered(Rtt::new(Duration::from_millis(40)));
        Round::new(Arc::clone(target), None, start, start.plus(STEP.duration()), vec![answered])
    }

    #[test]
    fn the_archive_is_asked_once_an_hour_and_only_for_who_asks() {
        let dir = tempfile::tempdir().unwrap();
        let [asks, other] =
            ["asks", "other"].map(|name| Arc::new(Target { name: name.into(), host: "::1".into() }));
        let (step, pings) = (Wanted::Default(STEP), Wanted::Default(1));
        let archive = archive::Settings {
            data_dir: dir.path().to_owned(),
            targets: vec![TargetSettings { target: Arc::clone(&asks), step, pings, forecast: false }],
        };
        let start = STEP.boundary_before(NOW.minus(Duration::from_secs(3 * 86_400)));
        let mut archives = Archives::open(&archive, start).unwrap();
        let rounds: Vec<Round> =
            (0..3 * 288).map(|number| round(&asks, start.plus(STEP.duration() * number))).collect();
        archives.record(&rounds);

        let against = Judge::when("median > 3 x usual").unwrap();
        let rules = |target: &Arc<Target>, judge| TargetRules {
            target: Arc::clone(target),
            step: STEP,
            rules: vec![Arc::new(Rule { judge, ..Rule::down() })],
        };
        let settings = alert::Settings { targets: vec![rules(&asks, against), rules(&other, Judge::Down)] };
        let mut pasts = Pasts::new(&settings, dir.path());
        let mut usual_at = |target, minutes: u64| {
            pasts.begin_turn();
            let round = round(target, NOW.plus(Duration::from_secs(60 * minutes)));
            let usual = pasts.of(&round, &mut archives).usual;
            usual.map(|usual| usual.as_millis_f64().round())
        };
        assert_eq!(usual_at(&other, 0), None);
        assert_eq!(usual_at(&asks, 0), Some(40.0));
        // What was kept for the hour needs no file; the next hour, which begins within sixty minutes, does.
        std::fs::remove_file(archive::path(dir.path(), "asks")).unwrap();
        assert_eq!(usual_at(&asks, 5), Some(40.0));
        assert_eq!(usual_at(&asks, 60), None);
    }
}
