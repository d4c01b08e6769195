//! Primary data points: from the growth between two readings to one value per step. Pure arithmetic.
//!
//! The order of the operations is part of the format: another order gives other last bits.

use crate::rrd::layout::{f64_at, pdp_prep, put, put_f64, u64_at};
use crate::rrd::number::UNKNOWN;
use crate::time::{Step, UnixTime};

/// A primary data point that is still open.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pdp {
    /// Its seconds that are unknown.
    pub unknown_secs: u64,
    /// Value times seconds so far; NaN while nothing is known.
    pub value: f64,
}

/// The time between two updates, cut where steps end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Timing {
    /// All of it, in seconds.
    pub(super) interval: f64,
    /// Up to the last end of a step in it.
    pre: f64,
    /// Behind that.
    post: f64,
    /// How many steps ended.
    pub(super) elapsed: u64,
    /// The number of the step that was open, counted from the epoch.
    pub(super) first_pdp: u64,
}

impl Timing {
    /// The time from `last` to `now`, which is later; neither lies before 1970.
    pub(super) fn between(last: UnixTime, now: UnixTime, step: Step) -> Self {
        let step = i64::from(step.secs());
        let micros = |time: UnixTime| f64::from(time.subsec_micros());
        let interval = (now.secs() - last.secs()) as f64 + (micros(now) - micros(last)) / 1e6;
        let (first_pdp, last_pdp) = (last.secs() / step, now.secs() / step);
        let (pre, post) = if last_pdp > first_pdp {
            let ended_at = last_pdp * step;
            let pre = (ended_at - last.secs()) as f64 - micros(last) / 1e6;
            (pre, (now.secs() - ended_at) as f64 + micros(now) / 1e6)
        } else {
            (interval, 0.0)
        };
        Self { interval, pre, post, elapsed: (last_pdp - first_pdp) as u64, first_pdp: first_pdp as u64 }
    }

    /// In a gap the partly filled first step is closed on its own, so that what was known of it is not smeared over the
    /// gap: the seconds of that part, and the times of both parts.
    pub(super) fn split(&self, step: Step) -> Option<(f64, Self, Self)> {
        if self.elapsed <= 1 {
            return None;
        }
        let whole_secs = self.pre.trunc() as u64 % u64::from(step.secs());
        if whole_secs == 0 {
            return None;
        }
        let secs = whole_secs as f64;
        let first = Self { interval: secs, pre: secs, post: 0.0, elapsed: 1, first_pdp: self.first_pdp };
        let rest = Self {
            interval: self.interval - secs,
            pre: self.pre - secs,
            post: self.post,
            elapsed: self.elapsed - 1,
            first_pdp: self.first_pdp + 1,
        };
        Some((secs, first, rest))
    }
}

/// The step that is open since an update at a whole second: what most updates end, and then their times are known without a
/// division.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OpenStep {
    last_secs: i64,
    number: i64,
    ends_at: i64,
    step: Step,
}

impl OpenStep {
    /// The one that is open after an update at `last`; `None` where that is no whole second.
    pub(super) fn new(last: UnixTime, step: Step) -> Option<Self> {
        let secs = i64::from(step.secs());
        let number = last.secs() / secs;
        let open = Self { last_secs: last.secs(), number, ends_at: (number + 1) * secs, step };
        (last.subsec_micros() == 0).then_some(open)
    }

    /// The time until `now`, and the step that is open then, where this step and no other ends in it.
    pub(super) fn end(self, now: i64) -> Option<(Timing, Self)> {
        let next_ends_at = self.ends_at + i64::from(self.step.secs());
        if !(self.ends_at..next_ends_at).contains(&now) {
            return None;
        }
        let timing = Timing {
            interval: (now - self.last_secs) as f64,
            pre: (self.ends_at - self.last_secs) as f64,
            post: (now - self.ends_at) as f64,
            elapsed: 1,
            first_pdp: self.number as u64,
        };
        Some((timing, Self { last_secs: now, number: self.number + 1, ends_at: next_ends_at, ..self }))
    }
}

impl Pdp {
    /// That of a new file: nothing is known of the seconds before its start.
    pub(super) fn new(start: UnixTime, step: Step) -> Self {
        let unknown_secs = start.secs().rem_euclid(i64::from(step.secs()));
        Self { unknown_secs: unknown_secs.unsigned_abs(), value: UNKNOWN }
    }

    /// Adds the growth of a time in which no step ended.
    pub(super) fn accumulate(self, growth: f64, timing: &Timing) -> Self {
        if growth.is_nan() {
            let unknown_secs = self.unknown_secs.saturating_add(timing.interval as u64);
            return Self { unknown_secs, ..self };
        }
        // Not "zero plus": that would lose the sign of a negative zero.
        Self { value: if self.value.is_nan() { growth } else { self.value + growth }, ..self }
    }

    /// Closes the steps that ended: the one value of all of them, and the data point that is open now.
    pub(super) fn close(self, growth: f64, timing: &Timing, step: Step, heartbeat: u64) -> (f64, Self) {
        let (unknown_tail, value) = if growth.is_nan() {
            (timing.pre, self.value)
        } else {
            (0.0, or_zero(self.value) + growth / timing.interval * timing.pre)
        };
        // A step is unknown when more than half of it is, not counting what is unknown of the closing piece itself.
        let step_secs = u64::from(step.secs());
        let pdp = if timing.interval > heartbeat as f64 || self.unknown_secs > step_secs / 2 {
            UNKNOWN
        } else {
            value / ((timing.elapsed * step_secs - self.unknown_secs) as f64 - unknown_tail)
        };
        let open = if growth.is_nan() {
            Self { unknown_secs: timing.post as u64, value: UNKNOWN }
        } else {
            Self { unknown_secs: 0, value: growth / timing.interval * timing.post }
        };
        (pdp, open)
    }

    pub(super) fn read(prep: &[u8]) -> Self {
        Self { unknown_secs: u64_at(prep, pdp_prep::UNKNOWN_SECS), value: f64_at(prep, pdp_prep::VALUE) }
    }

    pub(super) fn write(self, prep: &mut [u8]) {
        put(prep, pdp_prep::UNKNOWN_SECS, self.unknown_secs.to_le_bytes());
        put_f64(prep, pdp_prep::VALUE, self.value);
    }
}

pub(super) fn or_zero(value: f64) -> f64 {
    if value.is_nan() { 0.0 } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Step = Step::new(300).expect("300 is not 0");

    fn timing(last: i64, now: i64) -> Timing {
        Timing::between(UnixTime::from_secs(last), UnixTime::from_secs(now), STEP)
    }

    /// Half a step of unknown seconds kills it only when an earlier update noted them.
    #[test]
    fn unknown_seconds_of_the_closing_piece_do_not_count() {
        let pdp = Pdp { unknown_secs: 0, value: UNKNOWN }.accumulate(50.0, &timing(300, 310));
        let (value, open) = pdp.close(UNKNOWN, &timing(310, 600), STEP, 1000);
        assert_eq!(value, 5.0);
        assert_eq!(open.unknown_secs, 0);
        let pdp = Pdp { unknown_secs: 0, value: UNKNOWN }.accumulate(UNKNOWN, &timing(300, 460));
        let (value, _) = pdp.close(700.0, &timing(460, 600), STEP, 1000);
        assert!(value.is_nan());
    }

    #[test]
    fn a_step_that_ends_is_timed_as_between_two_updates() {
        for (last, now) in
            (0..610).step_by(5).flat_map(|last| (last + 1..last + 650).step_by(3).map(move |now| (last, now)))
        {
            let timing = timing(last, now);
            let (last, now) = (UnixTime::from_secs(last), UnixTime::from_secs(now));
            let ended = OpenStep::new(last, STEP).unwrap().end(now.secs());
            let expected = (timing.elapsed == 1).then(|| (timing, OpenStep::new(now, STEP).unwrap()));
            assert_eq!(ended, expected, "{last:?} {now:?}");
        }
        assert_eq!(OpenStep::new(UnixTime::from_micros(1), STEP), None);
    }

    #[test]
    fn a_gap_is_split_behind_its_first_step() {
        let gap = timing(400, 1300);
        assert_eq!((gap.elapsed, gap.first_pdp, gap.interval), (3, 1, 900.0));
        let (secs, first, rest) = gap.split(STEP).unwrap();
        assert_eq!((secs, first.elapsed, first.first_pdp), (200.0, 1, 1));
        assert_eq!((rest.elapsed, rest.first_pdp, rest.interval), (2, 2, 700.0));
        assert_eq!(timing(600, 1300).split(STEP), None);
        assert_eq!(timing(400, 700).split(STEP), None);
    }
}
