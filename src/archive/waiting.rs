//! Rounds that wait for their archives, since another program held the lock when they were to be stored: who pipes a dump
//! into a pager has it for as long as they read.

use std::collections::HashMap;

use crate::round::Round;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// By the target's name, oldest first.
    rounds: HashMap<String, Vec<Round>>,
    count: usize,
}

impl Waiting {
    /// Takes those of the targets that `rounds` are of, each target's in their order.
    pub(super) fn take_for(&mut self, rounds: &[Round]) -> Vec<Round> {
        if self.count == 0 {
            return Vec::new();
        }
        let taken: Vec<Round> =
            rounds.iter().filter_map(|round| self.rounds.remove(&round.target().name)).flatten().collect();
        self.count -= taken.len();
        taken
    }

    /// Takes all of them, each target's in their order.
    pub(super) fn take_all(&mut self) -> Vec<Round> {
        self.count = 0;
        std::mem::take(&mut self.rounds).into_values().flatten().collect()
    }

    /// Puts one behind those of its target; false where there is no room for more.
    pub(super) fn add(&mut self, round: &Round) -> bool {
        if self.count == MOST {
            return false;
        }
        self.count += 1;
        self.rounds.entry(round.target().name.clone()).or_default().push(round.clone());
        true
    }
}

/// So many at most wait: ten rounds of ten thousand targets, some 50 megabytes.
const MOST: usize = 100_000;
