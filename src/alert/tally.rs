//! Counting rounds within a window.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::rule::Window;
use crate::round::{Round, Rtt};
use crate::time::{Step, UnixTime};

/// Rounds of one kind, from the first to the last, and the worst of their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Stretch {
    /// The end of the first round.
    pub(super) since: UnixTime,
    /// The greatest median of them.
    pub(super) worst_median: Option<Rtt>,
    /// The greatest share of lost pings of them.
    pub(super) worst_loss_ratio: f64,
    start: UnixTime,
    until: UnixTime,
    first: u64,
    last: u64,
}

impl Stretch {
    /// A single round, the `number`th that the rule has judged.
    pub(super) fn new(round: &Round, number: u64) -> Self {
        Self {
            since: round.end(),
            worst_median: round.median(),
            worst_loss_ratio: round.loss_ratio().unwrap_or(0.0),
            start: round.start(),
            until: round.end(),
            first: number,
            last: number,
        }
    }

    /// Reaches over `later` too, and over the rounds between.
    pub(super) fn join(&mut self, later: &Self) {
        self.worst_median = self.worst_median.max(later.worst_median);
        self.worst_loss_ratio = self.worst_loss_ratio.max(later.worst_loss_ratio);
        self.until = later.until;
        self.last = later.last;
    }

    /// How many rounds were judged in it, those between its own included.
    pub(super) fn rounds(&self) -> u64 {
        self.last - self.first + 1
    }

    /// Whether it can be one of `judged` rounds.
    pub(super) fn is_sound(&self, judged: u64) -> bool {
        let is_share = (0.0..=1.0).contains(&self.worst_loss_ratio);
        (1..=self.last).contains(&self.first) && self.last <= judged && is_share
    }

    /// Whether it ended before `later` began.
    pub(super) fn is_before(&self, later: &Self) -> bool {
        self.last < later.first
    }

    /// It becomes a single round, the first that was judged.
    pub(super) fn renumber(&mut self) {
        (self.first, self.last) = (1, 1);
    }

    /// From the first round's start to the last one's end; at least one `step`, also where the clock was set back.
    pub(super) fn lasted(&self, step: Step) -> Duration {
        self.until.since(self.start).unwrap_or(Duration::ZERO).max(step.duration())
    }
}

/// Counts hits until a window has enough of them.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    need: u64,
    of: u64,
    /// The hits among the last `of` rounds, oldest first. Where all of them must hit, one stretch holds the whole run, so
    /// that a window of a week needs no room.
    pub(super) hits: VecDeque<Stretch>,
}

impl Tally {
    pub(super) fn new(window: Window, step: Step) -> Self {
        let (need, of) = match window {
            Window::Rounds { bad, of } => (u64::from(bad.clamp(1, of.max(1))), u64::from(of.max(1))),
            Window::Span(span) => {
                let rounds = span.as_nanos().div_ceil(step.duration().as_nanos()).max(1);
                let rounds = u64::try_from(rounds).unwrap_or(u64::MAX);
                (rounds, rounds)
            }
        };
        Self { need, of, hits: VecDeque::new() }
    }

    /// Goes on with what was counted before, as far as it counts.
    pub(super) fn take_back(&mut self, mut hits: VecDeque<Stretch>) {
        let most = if self.need == self.of { 1 } else { self.of };
        let over = hits.len().saturating_sub(usize::try_from(most).unwrap_or(usize::MAX));
        hits.drain(..over);
        self.hits = hits;
    }

    /// Counts the `number`th round, a hit or not. When that makes enough, returns them all and begins anew.
    pub(super) fn count(&mut self, number: u64, hit: Option<Stretch>) -> Option<Stretch> {
        if self.need == self.of {
            match (hit, self.hits.back_mut()) {
                (Some(hit), Some(run)) => run.join(&hit),
                (Some(hit), None) => self.hits.push_back(hit),
                (None, _) => self.hits.clear(),
            }
        } else {
            while self.hits.front().is_some_and(|oldest| number - oldest.first >= self.of) {
                self.hits.pop_front();
            }
            self.hits.extend(hit);
        }
        if self.hits.iter().map(Stretch::rounds).sum::<u64>() < self.need {
            return None;
        }
        self.hits.drain(..).reduce(|mut all, later| {
            all.join(&later);
            all
        })
    }
}
