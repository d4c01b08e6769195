//! What came in and did not count, by kind; and how often the log hears of anything that others can cause.

use std::fmt;
use std::time::Duration;

use tracing::debug;

use super::clock::Monotonic;

/// Why a packet did not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ignored {
    /// Its ping had been answered.
    Duplicate,
    /// It came after the timeout.
    Late,
    /// Another address answered than was asked.
    WrongSource,
    /// Checksum, sequence or payload are not what they were.
    Damaged,
    /// It has another length than its request.
    Length,
    /// It carries our identifier, and not our secret.
    Forged,
    /// Its stamp contradicts the clocks.
    Impossible,
    /// It belongs to another program.
    Foreign,
}

impl Ignored {
    const ALL: [Self; 8] = [
        Self::Duplicate,
        Self::Late,
        Self::WrongSource,
        Self::Damaged,
        Self::Length,
        Self::Forged,
        Self::Impossible,
        Self::Foreign,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Duplicate => "duplicate",
            Self::Late => "late",
            Self::WrongSource => "from another address",
            Self::Damaged => "damaged",
            Self::Length => "of another length",
            Self::Forged => "forged",
            Self::Impossible => "with impossible stamps",
            Self::Foreign => "of other programs",
        }
    }
}

/// How many packets did not count since the start, by kind.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    counts: [u64; Ignored::ALL.len()],
    throttle: Throttle,
}

impl Tally {
    /// Counts one packet, and says now and then how many there have been.
    pub(super) fn count(&mut self, ignored: Ignored, now: Monotonic) {
        self.counts[ignored as usize] += 1;
        // Those of others are no news, and may be many.
        if ignored != Ignored::Foreign && self.throttle.allows(now).is_some() {
            debug!("replies that did not count so far: {self}");
        }
    }

    /// The kind of which there is more than there was, for tests.
    #[cfg(test)]
    pub(super) fn since(&self, before: &Self) -> Option<Ignored> {
        Ignored::ALL.into_iter().find(|kind| self.counts[*kind as usize] > before.counts[*kind as usize])
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for (kind, count) in Ignored::ALL.iter().zip(self.counts).filter(|(_, count)| *count > 0) {
            write!(f, "{}{count} {}", if first { "" } else { ", " }, kind.name())?;
            first = false;
        }
        Ok(())
    }
}

/// Lets a few lines through in each span of time.
#[derive(Clone, Debug, Default)]
pub(super) struct Throttle {
    span: Option<Monotonic>,
    passed: u32,
    held_back: u64,
}

impl Throttle {
    /// Whether one more line may be logged now; if so, how many were held back since the last one.
    pub(super) fn allows(&mut self, now: Monotonic) -> Option<u64> {
        if self.span.is_none_or(|begun| now.since(begun) >= SPAN) {
            self.span = Some(now);
            self.passed = 0;
        }
        if self.passed >= LINES {
            self.held_back += 1;
            return None;
        }
        self.passed += 1;
        Some(std::mem::take(&mut self.held_back))
    }
}

const SPAN: Duration = Duration::from_secs(10);
const LINES: u32 = 10;

#[cfg(test)]
mod tests {
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

    #[test]
    fn the_tally_names_what_there_was() {
        let mut tally = Tally::default();
        for kind in [Ignored::Late, Ignored::Forged, Ignored::Late] {
            tally.count(kind, Monotonic(0));
        }
        assert_eq!(tally.to_string(), "2 late, 1 forged");
    }
}
