//! What came in and did not count, by kind; and how often the log hears of anything that others can cause.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tracing::info;

use super::clock::Monotonic;

/// Why a packet did not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ignored {
    /// Its ping had been answered.
    Duplicate,
    /// It came after the timeout.
    Late,
    /// Another address answered than was asked.
    WrongSource,
    /// It is ours by all but its identifier, which somebody on the way rewrote. Only RAW sockets hear such.
    Identifier,
    /// Checksum, sequence or payload are not what they were.
    Damaged,
    /// It has another length than its request.
    Truncated,
    /// It carries our identifier, and not our secret.
    Forged,
    /// Its stamp contradicts the clocks.
    Impossible,
    /// It belongs to another program.
    Foreign,
}

impl Ignored {
    /// Every kind, in the order in which people are told.
    pub const ALL: [Self; 9] = [
        Self::Duplicate,
        Self::Late,
        Self::WrongSource,
        Self::Identifier,
        Self::Damaged,
        Self::Truncated,
        Self::Forged,
        Self::Impossible,
        Self::Foreign,
    ];

    /// For people, behind a number: `late`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Duplicate => "duplicate",
            Self::Late => "late",
            Self::WrongSource => "from another address",
            Self::Identifier => "with another identifier",
            Self::Damaged => "damaged",
            Self::Truncated => "of another length",
            Self::Forged => "forged",
            Self::Impossible => "with impossible stamps",
            Self::Foreign => "of other programs",
        }
    }
}

/// What did not count since the prober started. It is shared with whoever shows it, and costs the prober no wait: a
/// number that is read beside others may be a packet ahead of them.
#[derive(Debug)]
pub struct Counts {
    total: [AtomicU64; Ignored::ALL.len()],
    targets: Box<[[AtomicU32; Ignored::ALL.len()]]>,
    unstamped: AtomicU64,
    dropped: AtomicU64,
    rounds: AtomicU64,
}

impl Counts {
    /// Nothing yet, of so many targets.
    pub(super) fn new(targets: usize) -> Self {
        Self {
            total: Default::default(),
            targets: (0..targets).map(|_| Default::default()).collect(),
            unstamped: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            rounds: AtomicU64::new(0),
        }
    }

    /// How many packets of a kind there were in all.
    pub fn total(&self, kind: Ignored) -> u64 {
        self.total[kind as usize].load(Ordering::Relaxed)
    }

    /// How many there were of the target at this place of the settings, as far as it is known whose they were; wraps.
    pub fn of(&self, target: usize, kind: Ignored) -> u32 {
        self.targets.get(target).map_or(0, |counts| counts[kind as usize].load(Ordering::Relaxed))
    }

    /// How many pings were answered whose departure the kernel had not stamped, so that our own, earlier stamp counted.
    pub fn unstamped(&self) -> u64 {
        self.unstamped.load(Ordering::Relaxed)
    }

    /// How many packets our own receive buffer had no room for.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// How many rounds were dropped because nobody took them in time.
    pub fn rounds_dropped(&self) -> u64 {
        self.rounds.load(Ordering::Relaxed)
    }

    /// Counts a round that was dropped, and returns how many there have been.
    pub(super) fn count_round(&self) -> u64 {
        add(&self.rounds, 1);
        self.rounds_dropped()
    }

    pub(super) fn count_unstamped(&self) {
        add(&self.unstamped, 1);
    }

    pub(super) fn count_dropped(&self, packets: u32) {
        add(&self.dropped, packets.into());
    }

    fn count(&self, target: Option<u32>, kind: Ignored) {
        add(&self.total[kind as usize], 1);
        if let Some(counts) = target.and_then(|target| self.targets.get(target as usize)) {
            let count = &counts[kind as usize];
            count.store(count.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        }
    }
}

/// Only the prober's thread writes, so no two additions can meet.
fn add(count: &AtomicU64, more: u64) {
    count.store(count.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for kind in Ignored::ALL.into_iter().filter(|kind| self.total(*kind) > 0) {
            write!(f, "{}{} {}", if first { "" } else { ", " }, self.total(kind), kind.name())?;
            first = false;
        }
        Ok(())
    }
}

/// Counts, and now and then tells the log how many there have been.
pub(super) struct Tally {
    pub(super) counts: Arc<Counts>,
    throttle: Throttle,
}

impl Tally {
    /// Nothing yet, of so many targets.
    pub(super) fn new(targets: usize) -> Self {
        Self { counts: Arc::new(Counts::new(targets)), throttle: Throttle::rare() }
    }

    /// Counts one packet, of that target if it is known.
    pub(super) fn count(&mut self, target: Option<u32>, kind: Ignored, now: Monotonic) {
        self.counts.count(target, kind);
        // Those of others are no news, and may be many.
        if kind != Ignored::Foreign && self.throttle.allows(now).is_some() {
            self.tell();
        }
    }

    /// Tells what was held back, once its time is over: behind a burst nothing else may come for long. To be asked now and
    /// then.
    pub(super) fn tell_rest(&mut self, now: Monotonic) {
        if self.throttle.is_owing(now) && self.throttle.allows(now).is_some() {
            self.tell();
        }
    }

    fn tell(&self) {
        info!("replies that did not count so far: {}", self.counts);
    }
}

/// Lets a few lines through in each span of time.
#[derive(Clone, Debug)]
pub(super) struct Throttle {
    lines: u32,
    span: Duration,
    begun: Option<Monotonic>,
    passed: u32,
    held_back: u64,
}

impl Default for Throttle {
    /// For what tells of one target or one event each.
    fn default() -> Self {
        Self { lines: 10, span: Duration::from_secs(10), begun: None, passed: 0, held_back: 0 }
    }
}

impl Throttle {
    /// For what says the same again.
    pub(super) fn rare() -> Self {
        Self { lines: 1, span: Duration::from_secs(600), ..Self::default() }
    }

    /// Whether lines were held back, and one more would pass now.
    pub(super) fn is_owing(&self, now: Monotonic) -> bool {
        self.held_back > 0 && self.begun.is_none_or(|begun| now.since(begun) >= self.span)
    }

    /// Whether one more line may be logged now; if so, how many were held back since the last one.
    pub(super) fn allows(&mut self, now: Monotonic) -> Option<u64> {
        if self.begun.is_none_or(|begun| now.since(begun) >= self.span) {
            self.begun = Some(now);
            self.passed = 0;
        }
        if self.passed >= self.lines {
            self.held_back += 1;
            return None;
        }
        self.passed += 1;
        Some(std::mem::take(&mut self.held_back))
    }
}

#[cfg(test)]
mod tests {
    use super::super::logged::logged;
    use super::*;

    #[test]
    fn the_log_gets_ten_lines_in_ten_seconds_and_the_number_held_back() {
        let mut throttle = Throttle::default();
        let at = |ms| Monotonic(0).plus(Duration::from_millis(ms));
        let passed = (0..100).filter(|i| throttle.allows(at(i * 10)).is_some()).count();
        assert_eq!(passed, 10);
        assert_eq!(throttle.allows(at(9_999)), None);
        assert_eq!(throttle.allows(at(10_000)), Some(91));
        assert_eq!(throttle.allows(at(10_001)), Some(0));
    }

    /// Nothing may come behind a burst for hours, and the log would know of its first packet alone.
    #[test]
    fn what_was_held_back_is_told_when_its_time_is_over() {
        let (mut tally, at) = (Tally::new(1), |secs| Monotonic(0).plus(Duration::from_secs(secs)));
        let log = logged(|| {
            tally.tell_rest(at(0));
            for _ in 0..4 {
                tally.count(None, Ignored::Forged, at(1));
            }
            for secs in [2, 600, 601, 602, 9999] {
                tally.tell_rest(at(secs));
            }
        });
        let lines: Vec<&str> =
            log.lines().filter_map(|line| line.split_once("so far: ")).map(|(_, it)| it).collect();
        assert_eq!(lines, ["1 forged", "4 forged"]);
    }

    #[test]
    fn counts_are_kept_by_kind_and_target() {
        let mut tally = Tally::new(2);
        for (target, kind) in [
            (Some(1), Ignored::Late),
            (None, Ignored::Forged),
            (Some(0), Ignored::Late),
            (Some(1), Ignored::Late),
            (Some(7), Ignored::Late),
        ] {
            tally.count(target, kind, Monotonic(0));
        }
        let counts = tally.counts;
        assert_eq!(counts.to_string(), "4 late, 1 forged");
        assert_eq!([0, 1, 7].map(|target| counts.of(target, Ignored::Late)), [1, 2, 0]);
        assert_eq!((counts.total(Ignored::Forged), counts.of(1, Ignored::Forged)), (1, 0));
    }
}
