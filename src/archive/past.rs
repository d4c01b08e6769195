//! What archives tell of targets' pasts when their rounds are judged. What is usual is kept for an hour.

use tracing::{info, warn};

use super::{Archives, Asked, Entry, Error, usual};
use crate::round::{Round, Rtt};
use crate::rrd;
use crate::time::UnixTime;

/// What is known of the past when a round is judged; of what nobody asked for, nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Known {
    /// The median that is usual at the hour of the round; see [`usual`](usual()).
    pub usual: Option<Rtt>,
    /// What the forecast says of the round: whether it, and those before it, were too far off too often. `None` where it
    /// does not tell, or the round is not stored.
    pub aberrant: Option<bool>,
}

/// So many archives are read for what is usual in one turn, about half a millisecond each: when an hour begins, every
/// target asks anew. Until its own turn comes, a target has what was usual in the hour before.
const READS: u32 = 16;

/// How far the archives are in reading what is usual.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// How often since rounds were recorded last.
    reads: u32,
    said_unknown: bool,
}

impl Reading {
    pub(super) fn begin_turn(&mut self) {
        self.reads = 0;
    }
}

/// What is usual for one target.
#[derive(Debug, Default)]
pub(super) struct Usual {
    /// The beginning of the hour it was read for.
    hour: Option<UnixTime>,
    median: Option<Rtt>,
    /// It could not be read, and that was said.
    failed: bool,
}

impl Archives {
    /// What is known of the past of `round`, which was recorded.
    pub fn known(&mut self, round: &Round) -> Known {
        let Self { targets, files, reading, .. } = self;
        let Some(entry) = targets.get_mut(&round.target().name) else { return Known::default() };
        let Asked { usual, forecast } = entry.settings.asked;
        Known {
            usual: usual.then(|| entry.usual(round, reading)).flatten(),
            // A file that cannot be read cannot be recorded in either, which is told.
            aberrant: forecast.then(|| entry.is_aberrant(files, round.end()).ok().flatten()).flatten(),
        }
    }
}

impl Entry {
    fn usual(&mut self, round: &Round, reading: &mut Reading) -> Option<Rtt> {
        let (name, kept) = (&round.target().name, &mut self.usual);
        let hour = round.start().local_hour(0).map(|(begins, _)| begins);
        if (kept.hour == hour && hour.is_some()) || reading.reads == READS {
            return kept.median;
        }
        reading.reads += 1;
        kept.hour = hour;
        match usual::usual(&self.file, round.start()) {
            Ok(median) => (kept.median, kept.failed) = (median, false),
            Err(error) => {
                kept.median = None;
                if !std::mem::replace(&mut kept.failed, true) {
                    warn!("{name}: what is usual cannot be read: {error}");
                }
            }
        }
        if kept.median.is_none() && !kept.failed && !std::mem::replace(&mut reading.said_unknown, true) {
            info!(
                "{name}: less than a day of rounds is known, too little for what is usual: until it is more, here or for \
                 others, rules that compare with it say nothing"
            );
        }
        kept.median
    }

    fn is_aberrant(&self, files: &mut rrd::Set, at: UnixTime) -> Result<Option<bool>, Error> {
        let Some(open) = &self.open else { return Ok(None) };
        let failed = Error::of_file(&self.file);
        let view = files.file(&self.file).and_then(rrd::File::view).map_err(failed)?;
        let said = open.is_aberrant(&view, at).map_err(failed)?;
        view.finish().map_err(failed)?;
        Ok(said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::time::Duration;

    use crate::archive::{Settings, TargetSettings, Wanted, path};
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
    fn an_archive_is_read_once_an_hour_and_only_for_who_asks() {
        let dir = tempfile::tempdir().unwrap();
        let target = |name: &str| Arc::new(Target { name: name.into(), host: "::1".into() });
        let [asks, other] = ["asks", "other"].map(target);
        let settings = |target: &Arc<Target>, usual| TargetSettings {
            target: Arc::clone(target),
            step: Wanted::Default(STEP),
            pings: Wanted::Default(1),
            asked: Asked { usual, forecast: false },
        };
        let targets = vec![settings(&asks, true), settings(&other, false)];
        let start = STEP.boundary_before(NOW.minus(Duration::from_secs(3 * 86_400)));
        let mut archives =
            Archives::open(&Settings { data_dir: dir.path().to_owned(), targets }, start).unwrap();
        let rounds: Vec<Round> = (0..3 * 288)
            .map(|number| start.plus(STEP.duration() * number))
            .flat_map(|start| [round(&asks, start), round(&other, start)])
            .collect();
        archives.record(&rounds);
        let mut usual_at = |target, minutes: u64| {
            archives.record(&[]);
            let known = archives.known(&round(target, NOW.plus(Duration::from_secs(60 * minutes))));
            known.usual.map(|usual| usual.as_millis_f64().round())
        };
        assert_eq!(usual_at(&other, 0), None);
        assert_eq!(usual_at(&asks, 0), Some(40.0));
        // What is kept for the hour needs no file; the next hour, which begins within sixty minutes, does.
        std::fs::remove_file(path(dir.path(), "asks")).unwrap();
        assert_eq!(usual_at(&asks, 5), Some(40.0));
        assert_eq!(usual_at(&asks, 60), None);
    }
}
