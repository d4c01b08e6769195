//! How many echoes may leave: a bound on those that leave in a second, and on those under way. Pure.
//!
//! Beside what the settings allow there is a bound on catching up: what fell due while the monitor was held up leaves at
//! twice the usual rate, and never in one burst. What is due in its time stays far below it.

use std::time::Duration;

use super::clock::{Monotonic, nanos};
use super::{BUNCH, Pace};

/// Counts what leaves against what may.
pub(super) struct Meter {
    /// What the settings allow.
    allowed: Rate,
    /// What is not unusual.
    usual: Rate,
    most_in_flight: u32,
}

/// Echoes in a time.
struct Rate {
    /// The share of a second that each echo takes up.
    nanos_each: i64,
    /// How far ahead of its share a bunch may run: what was collected leaves at once.
    ahead: Duration,
    /// Up to when the echoes that left have used up their shares.
    used_until: Monotonic,
    /// How long to wait where there is no room, so that more than one can leave then.
    pause: Duration,
}

impl Meter {
    /// A meter of that pace, for targets of which so many echoes are due in a second.
    pub(super) fn new(pace: &Pace, usual_rate: f64) -> Self {
        let pause = pace.collect.max(LEAST_AHEAD);
        let allowed = 1_000_000_000 / i64::from(pace.packets_per_sec.max(1));
        let usual = (1e9 / (CATCHING_UP * usual_rate.max(LEAST_RATE))).max(1.0) as i64;
        // What a pause lets out has to fit in.
        let bunch = pause.max(2 * BUNCH * Duration::from_nanos(usual.unsigned_abs()));
        Self {
            allowed: Rate::new(allowed, pause, pause),
            usual: Rate::new(usual, bunch, pause),
            most_in_flight: pace.in_flight.max(1),
        }
    }

    /// Whether one more may leave while so many are under way.
    pub(super) fn has_room(&self, now: Monotonic, in_flight: u32) -> bool {
        !self.is_exhausted(now, in_flight) && self.usual.has_room(now)
    }

    /// Whether it is the settings that allow no more.
    pub(super) fn is_exhausted(&self, now: Monotonic, in_flight: u32) -> bool {
        in_flight >= self.most_in_flight || !self.allowed.has_room(now)
    }

    /// One left.
    pub(super) fn count(&mut self, now: Monotonic) {
        self.allowed.count(now);
        self.usual.count(now);
    }

    /// When some may leave again, as far as that is a matter of time; never, where it is not.
    pub(super) fn next(&self, in_flight: u32) -> Monotonic {
        if in_flight < self.most_in_flight {
            self.allowed.next().max(self.usual.next())
        } else {
            Monotonic::NEVER
        }
    }
}

impl Rate {
    fn new(nanos_each: i64, ahead: Duration, pause: Duration) -> Self {
        Self { nanos_each, ahead, used_until: Monotonic::LONG_AGO, pause }
    }

    fn has_room(&self, now: Monotonic) -> bool {
        self.used_until < now.plus(self.ahead)
    }

    fn count(&mut self, now: Monotonic) {
        let from = self.used_until.max(now);
        self.used_until = Monotonic(from.0.saturating_add(self.nanos_each));
    }

    /// When there was room for long enough to let out a bunch.
    fn next(&self) -> Monotonic {
        Monotonic(self.used_until.0.saturating_sub(nanos(self.ahead))).plus(self.pause)
    }
}

/// Timers are not finer than this by much, and a rate that no timer can keep needs bunches.
const LEAST_AHEAD: Duration = Duration::from_millis(1);
/// How much faster than usual echoes leave while they catch up.
const CATCHING_UP: f64 = 2.0;
/// Echoes in a second that are never too many.
const LEAST_RATE: f64 = 1.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::clock::nanos;

    /// More than any pace here allows.
    const MANY: f64 = 1e7;

    /// Sends as much as it may whenever it may, for `run`; returns when each left.
    fn sent(pace: Pace, usual_rate: f64, run: Duration) -> Vec<i64> {
        let mut meter = Meter::new(&pace, usual_rate);
        let (mut now, mut sent) = (Monotonic(5), Vec::new());
        while now.0 < nanos(run) {
            while meter.has_room(now, 0) {
                meter.count(now);
                sent.push(now.0);
            }
            let next = meter.next(0);
            assert!(next > now, "nothing to wait for");
            now = next;
        }
        sent
    }

    #[test]
    fn no_second_has_more_than_its_share_and_one_bunch() {
        for (packets_per_sec, collect) in
            [(1, 10), (7, 0), (1_000, 10), (6_553, 1), (100_000, 10), (500, 1_000)]
        {
            let pace = Pace { packets_per_sec, collect: Duration::from_millis(collect), ..Pace::default() };
            let times = sent(pace, MANY, Duration::from_secs(4));
            let (rate, bunch) =
                (packets_per_sec as usize, packets_per_sec as usize * collect.max(1) as usize / 1_000);
            assert!(times.len() >= 4 * rate - 1, "{pace:?}: {} in 4 s", times.len());
            // So many in a row take a second at least.
            for row in times.windows(rate + bunch + 2) {
                assert!(row[rate + bunch + 1] - row[0] >= 1_000_000_000, "{pace:?}: more in a second");
            }
        }
    }

    #[test]
    fn what_is_more_than_usual_leaves_at_twice_the_usual_rate_behind_one_bunch() {
        for (rate, collect) in [(20, 10), (500, 10), (3_333, 10), (20_000, 2), (20_000, 0)] {
            let pace = Pace { collect: Duration::from_millis(collect), ..Pace::default() };
            let times = sent(pace, f64::from(rate), Duration::from_secs(2));
            let least = 2 * 2 * rate as usize;
            assert!(times.len() + 1 >= least, "{rate}: {} in 2 s", times.len());
            for span in [1, 10, 100, 1_000] {
                let most = 2 * BUNCH as usize + 2 * rate as usize * span / 1_000 + 1;
                for row in times.windows(most + 1) {
                    assert!(row[most] - row[0] >= span as i64 * 1_000_000, "{rate}: more in {span} ms");
                }
            }
        }
    }

    #[test]
    fn what_is_more_than_usual_is_not_more_than_is_allowed() {
        let mut meter = Meter::new(&Pace::default(), 10.0);
        let now = Monotonic(5);
        (0..100).for_each(|_| meter.count(now));
        assert!(!meter.has_room(now, 0) && !meter.is_exhausted(now, 0));
        assert!(meter.is_exhausted(now, u32::MAX));
        // Nobody to ping is no reason to divide by zero.
        assert!(Meter::new(&Pace::default(), 0.0).has_room(now, 0));
    }

    #[test]
    fn what_was_not_used_is_not_saved_up() {
        let mut meter = Meter::new(&Pace { packets_per_sec: 1_000, ..Pace::default() }, MANY);
        for second in [0, 3_600] {
            let now = Monotonic(second * 1_000_000_000);
            let bunch = (0..100).take_while(|_| {
                let room = meter.has_room(now, 0);
                meter.count(now);
                room
            });
            assert_eq!(bunch.count(), 10, "what falls due in 10 ms");
        }
    }

    #[test]
    fn those_under_way_are_bounded_too() {
        let meter = Meter::new(&Pace { in_flight: 3, ..Pace::default() }, MANY);
        assert!(meter.has_room(Monotonic(0), 2) && !meter.has_room(Monotonic(0), 3));
        assert_eq!(meter.next(3), Monotonic::NEVER, "only a reply or a timeout makes room");
    }
}
