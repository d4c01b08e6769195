//! What a receive buffer had no room for, by the kernel's count. Pure.
//!
//! The count is of all times, and that of a RAW socket of IPv6 has packets in it that came in damaged: those are the
//! network's doing. So it is asked for right after a buffer was full, when what is new is what did not fit, and once in a
//! while for nothing but to know what was there before.

use std::time::Duration;

use super::clock::Monotonic;

/// What is known of one socket's count.
pub(super) struct Drops {
    /// What it said last.
    seen: u32,
    /// When it is to be asked again.
    due: Monotonic,
    /// Whether damaged packets are in it.
    has_damaged: bool,
}

impl Drops {
    /// Of a socket that has dropped so many before it is used.
    pub(super) fn new(before: u32, has_damaged: bool) -> Self {
        Self { seen: before, due: Monotonic::LONG_AGO, has_damaged }
    }

    /// How many packets there was no room for since this was last asked, as far as that is known; `was_full` says whether
    /// there was much in the buffer. Only then, and once a second, is the kernel asked for its count.
    pub(super) fn new_ones(
        &mut self,
        was_full: bool,
        now: Monotonic,
        count: impl FnOnce() -> Option<u32>,
    ) -> u32 {
        if !was_full && now < self.due {
            return 0;
        }
        let Some(count) = count() else { return 0 };
        self.due = now.plus(EVERY);
        let new = count.wrapping_sub(std::mem::replace(&mut self.seen, count));
        if was_full || !self.has_damaged { new } else { 0 }
    }
}

/// What is damaged within this time before a buffer was full passes for dropped.
const EVERY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    const DAMAGED: bool = true;
    const FULL: bool = true;

    fn at(ms: i64) -> Monotonic {
        Monotonic(ms * 1_000_000)
    }

    #[test]
    fn what_was_damaged_in_quiet_times_excuses_nothing() {
        let mut drops = Drops::new(70, DAMAGED);
        assert_eq!(drops.new_ones(!FULL, at(0), || Some(75)), 0);
        assert_eq!(drops.new_ones(!FULL, at(1_000), || Some(900)), 0);
        assert_eq!(drops.new_ones(FULL, at(1_001), || Some(900)), 0, "nothing is new");
        assert_eq!(drops.new_ones(FULL, at(1_002), || Some(907)), 7);
        assert_eq!(drops.new_ones(FULL, at(1_003), || Some(907)), 0);
    }

    #[test]
    fn what_was_dropped_before_is_not_new() {
        assert_eq!(Drops::new(u32::MAX - 1, DAMAGED).new_ones(FULL, at(0), || Some(3)), 5, "it wraps");
        assert_eq!(Drops::new(9, !DAMAGED).new_ones(!FULL, at(0), || Some(9)), 0);
    }

    #[test]
    fn where_nothing_else_is_counted_a_quiet_time_tells_it_too() {
        let mut drops = Drops::new(0, !DAMAGED);
        assert_eq!(drops.new_ones(!FULL, at(0), || Some(0)), 0);
        assert_eq!(drops.new_ones(!FULL, at(1_000), || Some(4)), 4);
    }

    #[test]
    fn in_quiet_times_the_kernel_is_asked_once_a_second() {
        let (mut drops, mut asked) = (Drops::new(0, !DAMAGED), 0);
        for ms in 0..10_000 {
            drops.new_ones(!FULL, at(ms), || {
                asked += 1;
                Some(0)
            });
        }
        assert_eq!(asked, 10);
        assert_eq!(drops.new_ones(FULL, at(10_000), || None), 0, "nobody tells");
    }
}
