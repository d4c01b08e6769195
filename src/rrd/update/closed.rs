//! Steps that ended, and that the archives have not taken yet.

use crate::rrd::pdp::Timing;

/// Steps that ended together, in one update.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended {
    /// The number of the first.
    pub(super) first_pdp: u64,
    /// How many there are.
    pub(super) elapsed: u64,
    /// Where they end, in seconds.
    pub(super) until: u64,
    /// How many data points there were before theirs.
    pdps: usize,
}

/// The steps, and their primary data points.
#[derive(Debug, Default)]
pub(super) struct Closed {
    ended: Vec<Ended>,
    /// One for each data source and each entry of `ended`; behind them those of steps that are being closed.
    pdps: Vec<f64>,
}

/// As many data points as a processor keeps close at hand.
const FULL: usize = 1 << 10;

impl Closed {
    pub(super) fn is_full(&self) -> bool {
        self.pdps.len() >= FULL
    }

    /// Adds a data point of the steps that are being closed.
    pub(super) fn push(&mut self, pdp: f64) {
        self.pdps.push(pdp);
    }

    /// The data points of the steps that are being closed.
    pub(super) fn open_pdps(&self) -> &[f64] {
        let start = self.ended.last().map_or(0, |ended| ended.pdps);
        &self.pdps[start..]
    }

    /// All data points of these steps are there.
    pub(super) fn end(&mut self, timing: &Timing, until: u64) {
        let Timing { first_pdp, elapsed, .. } = *timing;
        self.ended.push(Ended { first_pdp, elapsed, until, pdps: self.pdps.len() });
    }

    /// Whether more than one step ended in the last update; single steps follow each other.
    pub(super) fn ends_with_many(&self) -> bool {
        self.ended.last().is_some_and(|ended| ended.elapsed > 1)
    }

    pub(super) fn ended(&self) -> &[Ended] {
        &self.ended
    }

    /// The data points of all steps, one data source beside the other.
    pub(super) fn pdps(&self) -> &[f64] {
        &self.pdps
    }

    /// Forgets all but the first `len`.
    pub(super) fn truncate(&mut self, len: usize) {
        self.ended.truncate(len);
        self.pdps.truncate(self.ended.last().map_or(0, |ended| ended.pdps));
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.truncate(0);
    }
}
