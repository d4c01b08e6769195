//! How many echoes may leave: a bound on those that leave in a second, and on those under way. Pure.

use std::time::Duration;

use super::Pace;
use super::clock::Monotonic;

/// Counts what leaves against what may.
pub(super) struct Meter {
    /// The share of a second that each echo takes up.
    nanos_each: i64,
    /// How far ahead of its share a bunch may run: what was collected leaves at once.
    ahead: Duration,
    /// Up to when the echoes that left have used up their shares.
    used_until: Monotonic,
    most_in_flight: u32,
}

impl Meter {
    /// A meter of that pace.
    pub(super) fn new(pace: &Pace) -> Self {
        Self {
            nanos_each: 1_000_000_000 / i64::from(pace.packets_per_sec.max(1)),
            ahead: pace.collect.max(LEAST_AHEAD),
            used_until: Monotonic::LONG_AGO,
            most_in_flight: pace.in_flight.max(1),
        }
    }

    /// Whether one more may leave while so many are under way.
    pub(super) fn has_room(&self, now: Monotonic, in_flight: u32) -> bool {
        in_flight < self.most_in_flight && self.used_until < now.plus(self.ahead)
    }

    /// One left.
    pub(super) fn count(&mut self, now: Monotonic) {
        let from = self.used_until.max(now);
        self.used_until = Monotonic(from.0.saturating_add(self.nanos_each));
    }

    /// When a whole bunch may leave again, as far as that is a matter of time; never, where it is not.
    pub(super) fn next(&self, in_flight: u32) -> Monotonic {
        if in_flight < self.most_in_flight { self.used_until } else { Monotonic::NEVER }
    }
}

/// Timers are not finer than this by much, and a rate that no timer can keep needs bunches.
const LEAST_AHEAD: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::clock::nanos;

    /// Sends as much as it may whenever it may, for `run`; returns when each left.
    fn sent(pace: Pace, run: Duration) -> Vec<i64> {
        let mut meter = Meter::new(&pace);
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
            let times = sent(pace, Duration::from_secs(4));
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
    fn what_was_not_used_is_not_saved_up() {
        let mut meter = Meter::new(&Pace { packets_per_sec: 1_000, ..Pace::default() });
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
        let meter = Meter::new(&Pace { in_flight: 3, ..Pace::default() });
        assert!(meter.has_room(Monotonic(0), 2) && !meter.has_room(Monotonic(0), 3));
        assert_eq!(meter.next(3), Monotonic::NEVER, "only a reply or a timeout makes room");
    }
}
