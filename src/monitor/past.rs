//! What is known of targets' pasts when their rounds are judged: asked of the archives, kept for an hour.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::Settings;
use crate::alert::Past;
use crate::archive;
use crate::round::{Round, Rtt};
use crate::time::UnixTime;

/// No longer than this are archives read in one turn of the loop: when an hour begins, every target asks anew. Until its
/// turn comes, a target has what was usual in the hour before.
const READING: Duration = Duration::from_millis(20);

/// What targets ask for, and what they were told.
#[derive(Debug)]
pub(super) struct Pasts {
    data_dir: PathBuf,
    /// The targets with a rule that asks.
    targets: HashMap<String, Usual>,
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
    pub(super) fn new(settings: &Settings) -> Self {
        let asking = settings
            .alert
            .targets
            .iter()
            .filter(|target| target.rules.iter().any(|rule| rule.asks_for_the_usual()));
        Self {
            data_dir: settings.archive.data_dir.clone(),
            targets: asking.map(|target| (target.target.name.clone(), Usual::default())).collect(),
            read: Duration::ZERO,
            said_unknown: false,
        }
    }

    /// A turn of the loop begins.
    pub(super) fn begin_turn(&mut self) {
        self.read = Duration::ZERO;
    }

    /// What is known of the past of a round that was recorded.
    pub(super) fn of(&mut self, round: &Round) -> Past {
        Past { usual: self.usual(round), aberrant: None }
    }

    fn usual(&mut self, round: &Round) -> Option<Rtt> {
        let name = &round.target().name;
        let kept = self.targets.get_mut(name)?;
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
