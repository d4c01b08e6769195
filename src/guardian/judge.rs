//! When a monitor hangs, and when one that died is started again. Pure: the time is told.

use std::time::Duration;

/// How long a monitor has not shown a beat. Time in which the guardian was not looking itself (it was stopped, or the
/// machine slept or was out of breath) counts as one look: it says nothing about the monitor.
#[derive(Debug)]
pub(super) struct Silence {
    patience: Duration,
    silent: Duration,
    looked: Duration,
}

impl Silence {
    /// A monitor that is ready `now`, on a clock that stands still while the machine sleeps.
    pub(super) fn new(patience: Duration, now: Duration) -> Self {
        Self { patience, silent: Duration::ZERO, looked: now }
    }

    /// How often it must be looked at.
    pub(super) fn look_every(&self) -> Duration {
        (self.patience / 10).clamp(Duration::from_millis(500), Duration::from_secs(10))
    }

    /// There was a beat.
    pub(super) fn beat(&mut self, now: Duration) {
        self.silent = Duration::ZERO;
        self.looked = now;
    }

    /// How long it has been silent, once that is longer than it may be.
    pub(super) fn hangs(&mut self, now: Duration) -> Option<Duration> {
        self.silent += now.saturating_sub(self.looked).min(2 * self.look_every());
        self.looked = now;
        (self.silent >= self.patience).then_some(self.silent)
    }
}

/// How long it is waited before a monitor that died is started again.
#[derive(Debug, Default)]
pub(super) struct Pauses {
    next: Option<Duration>,
}

impl Pauses {
    /// The pause after a monitor that ran so long: one second, then twice as long each time; from the beginning after one
    /// that ran well.
    pub(super) fn after(&mut self, ran: Duration) -> Duration {
        let pause = self.next.filter(|_| ran < RAN_WELL).unwrap_or(FIRST_PAUSE);
        self.next = Some((pause * 2).min(LONGEST_PAUSE));
        pause
    }
}

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
const RAN_WELL: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn silence_is_a_hang_after_its_patience() {
        let mut silence = Silence::new(secs(10), secs(100));
        assert_eq!((101..110).find_map(|now| silence.hangs(secs(now))), None);
        silence.beat(secs(110));
        assert_eq!((111..130).find(|now| silence.hangs(secs(*now)).is_some()), Some(120));
    }

    #[test]
    fn what_the_guardian_slept_is_no_silence_of_the_monitor() {
        let mut silence = Silence::new(secs(10), secs(0));
        for hour in 1..5 {
            assert_eq!(silence.hangs(secs(3600 * hour)), None, "both were stopped for an hour");
        }
        assert!(silence.hangs(secs(20_000)).is_some(), "in the end it is a hang");
        silence = Silence::new(secs(180), secs(0));
        assert_eq!(silence.look_every(), secs(10));
    }

    #[test]
    fn pauses_grow_and_begin_anew_after_a_good_run() {
        let mut pauses = Pauses::default();
        let row: Vec<u64> = (0..11).map(|_| pauses.after(secs(5)).as_secs()).collect();
        assert_eq!(row, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(pauses.after(secs(3600)), secs(1));
        assert_eq!(pauses.after(secs(3599)), secs(2));
    }
}
