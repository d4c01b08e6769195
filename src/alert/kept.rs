//! What the judges know, to be written down and read again: a restart neither raises twice nor forgets what is open.
//!
//! Kept is what the rounds so far leave open: alerts, and bad rounds that are not enough yet. Of a target that is well
//! nothing is.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::pattern::Values;
use super::tally::Stretch;
use super::{Alerts, Judge, Open, Watch};

/// How one rule stands on one target, between two rounds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeptAlert {
    /// The target's name.
    pub target: String,
    /// The rule's name.
    pub rule: String,
    /// What the rule says. Where it says something else by now, its rounds are counted anew.
    says: String,
    judged: u64,
    raise: VecDeque<Stretch>,
    clear: VecDeque<Stretch>,
    open: Option<Open>,
    values: Option<Values>,
}

impl Alerts {
    /// All that must outlast this process.
    pub fn kept(&self) -> Vec<KeptAlert> {
        let watches =
            self.targets.iter().flat_map(|(name, it)| it.watches.iter().map(move |watch| (name, watch)));
        let mut kept: Vec<KeptAlert> =
            watches.filter(|(_, watch)| !watch.is_idle()).map(|(name, watch)| watch.kept(name)).collect();
        kept.sort_unstable_by(|one, other| (&one.target, &one.rule).cmp(&(&other.target, &other.rule)));
        kept
    }

    /// Goes on where `kept` ended. What is of no target and rule of today is dropped: returns the open ones of these, as
    /// `TARGET: RULE`.
    pub fn resume(&mut self, kept: Vec<KeptAlert>) -> Vec<String> {
        let mut dropped = Vec::new();
        for alert in kept {
            let watched = self.targets.get_mut(&alert.target);
            let watch = watched
                .and_then(|watched| watched.watches.iter_mut().find(|watch| watch.rule.name == alert.rule));
            match watch {
                Some(watch) => watch.resume(alert),
                None if alert.open.is_some() => dropped.push(format!("{}: {}", alert.target, alert.rule)),
                None => {}
            }
        }
        dropped
    }

    /// Whether this rule judges this target.
    pub fn is_watched(&self, target: &str, rule: &str) -> bool {
        let watched = self.targets.get(target);
        watched.is_some_and(|watched| watched.watches.iter().any(|watch| watch.rule.name == rule))
    }

    /// Whether this alert is open.
    pub fn is_open(&self, target: &str, rule: &str) -> bool {
        let watched = self.targets.get(target);
        let mut watches = watched.iter().flat_map(|watched| &watched.watches);
        watches.any(|watch| watch.rule.name == rule && watch.open.is_some())
    }

    /// Whether something is to be kept that was not when this was last asked, or the other way round.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }
}

impl Watch {
    /// Nothing is open, and nothing counts.
    pub(super) fn is_idle(&self) -> bool {
        self.open.is_none() && self.raise.hits.is_empty()
    }

    fn kept(&self, target: &str) -> KeptAlert {
        let is_pattern = matches!(self.rule.judge, Judge::Pattern(_));
        KeptAlert {
            target: target.to_owned(),
            rule: self.rule.name.clone(),
            says: self.says(),
            judged: self.judged,
            raise: self.raise.hits.clone(),
            clear: self.clear.hits.clone(),
            open: self.open,
            values: is_pattern.then(|| self.values.clone()),
        }
    }

    fn resume(&mut self, kept: KeptAlert) {
        let open = kept.open.filter(|open| open.trouble.is_sound(kept.judged));
        let hits = |hits: &VecDeque<Stretch>| {
            let is_ordered = hits.iter().zip(hits.iter().skip(1)).all(|(one, next)| one.is_before(next));
            is_ordered && hits.iter().all(|hit| hit.is_sound(kept.judged))
        };
        let is_sound = kept.judged <= MOST_JUDGED && hits(&kept.raise) && hits(&kept.clear);
        if !is_sound || kept.says != self.says() {
            // An open alert stays open: its reader waits for its end.
            self.open = open.map(Open::anew);
            self.judged = u64::from(self.open.is_some());
            return;
        }
        self.judged = kept.judged;
        self.open = open;
        self.raise.take_back(kept.raise);
        self.clear.take_back(kept.clear);
        if let (Judge::Pattern(pattern), Some(values)) = (&self.rule.judge, kept.values)
            && values.fits(pattern)
        {
            self.values = values;
        }
    }

    fn says(&self) -> String {
        format!("{}, {}, {}, {}", self.rule.judge, self.rule.raise, self.rule.clear, self.step)
    }
}

impl Open {
    /// With the numbers of its rounds begun anew.
    fn anew(mut self) -> Self {
        self.trouble.renumber();
        self
    }
}

/// More rounds than any monitor judges: a second each, for ever.
const MOST_JUDGED: u64 = 1 << 53;
