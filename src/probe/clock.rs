//! The clocks. The monotonic one drives the schedule and the timeouts; the wall clock is what the kernel stamps packets
//! with and what rounds are named by; the time asleep tells a suspended machine from a clock that was set.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use crate::time::UnixTime;

/// A point on the monotonic clock, which no one can set and which stands still while the machine sleeps: nanoseconds
/// since an origin of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Monotonic(pub(super) i64);

impl Monotonic {
    /// A point that never comes.
    pub(super) const NEVER: Self = Self(i64::MAX);

    /// A point before all others.
    pub(super) const LONG_AGO: Self = Self(i64::MIN);

    /// The point `duration` later.
    pub(super) fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(nanos(duration)))
    }

    /// How long after `earlier` this is; nothing when it is before it.
    pub(super) fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// A point on the wall clock: nanoseconds since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Wall(pub(super) i64);

impl Wall {
    /// The point `duration` later.
    pub(super) fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(nanos(duration)))
    }

    /// How long after `earlier` this is; `None` when it is before it.
    pub(super) fn since(self, earlier: Self) -> Option<Duration> {
        self.0.checked_sub(earlier.0).and_then(|nanos| u64::try_from(nanos).ok()).map(Duration::from_nanos)
    }
}

impl From<Wall> for UnixTime {
    fn from(wall: Wall) -> Self {
        Self::from_micros(wall.0.div_euclid(1000))
    }
}

impl From<UnixTime> for Wall {
    fn from(time: UnixTime) -> Self {
        Self(time.micros().saturating_mul(1000))
    }
}

/// All clocks, read together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Now {
    /// The monotonic clock.
    pub(super) monotonic: Monotonic,
    /// The wall clock.
    pub(super) wall: Wall,
    /// How long the machine has slept since it booted.
    pub(super) asleep: Duration,
}

/// How the clocks stood to each other when they were last compared.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clocks {
    /// The wall clock minus the monotonic one, in nanoseconds.
    pub(super) offset: i64,
    /// How long the machine had slept.
    pub(super) asleep: Duration,
}

impl Clocks {
    /// As they stand now.
    pub(super) fn new(now: Now) -> Self {
        Self { offset: now.wall.0.saturating_sub(now.monotonic.0), asleep: now.asleep }
    }

    /// When a point of the wall clock is, was or will be, unless it is set.
    pub(super) fn monotonic(&self, time: Wall) -> Monotonic {
        Monotonic(time.0.saturating_sub(self.offset))
    }

    /// What the wall clock shows at a point of the monotonic one.
    pub(super) fn wall(&self, at: Monotonic) -> Wall {
        Wall(at.0.saturating_add(self.offset))
    }
}

/// Reads all clocks. They are read one after the other, and whoever is interrupted in between must not take that for a
/// clock that was set: of a few readings the tightest counts.
pub(super) fn now() -> Now {
    let mut best = reading();
    for _ in 1..READINGS {
        if best.0 <= TIGHT_NANOS {
            break;
        }
        let other = reading();
        if other.0 < best.0 {
            best = other;
        }
    }
    best.1
}

/// The two clocks that an echo is stamped with, right before it is sent.
pub(super) fn stamp() -> (Monotonic, Wall) {
    let monotonic = read(MONOTONIC);
    (Monotonic(monotonic), Wall(read(ClockId::CLOCK_REALTIME)))
}

/// One reading, and how many nanoseconds it took.
fn reading() -> (i64, Now) {
    let monotonic = read(MONOTONIC);
    let wall = read(ClockId::CLOCK_REALTIME);
    let boot = read(SINCE_BOOT);
    let took = read(MONOTONIC) - monotonic;
    let asleep = Duration::from_nanos(u64::try_from(boot - monotonic).unwrap_or(0));
    (took, Now { monotonic: Monotonic(monotonic), wall: Wall(wall), asleep })
}

fn read(clock: ClockId) -> i64 {
    let time = clock_gettime(clock)
        .expect("every system that this compiles for has these clocks; Linux since 2.6.39");
    time.tv_sec().saturating_mul(1_000_000_000).saturating_add(time.tv_nsec())
}

/// `duration` in nanoseconds, for at most 292 years.
pub(super) fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// The clock that stands still while the machine sleeps.
#[cfg(not(target_vendor = "apple"))]
const MONOTONIC: ClockId = ClockId::CLOCK_MONOTONIC;
/// The same, but it goes on meanwhile. FreeBSD's does not: there a machine that slept looks like a clock that was set.
#[cfg(not(any(target_vendor = "apple", target_os = "netbsd")))]
const SINCE_BOOT: ClockId = ClockId::CLOCK_BOOTTIME;
/// NetBSD has none, and it is as on FreeBSD.
#[cfg(target_os = "netbsd")]
const SINCE_BOOT: ClockId = MONOTONIC;

/// What Apple calls monotonic goes on while the machine sleeps.
#[cfg(target_vendor = "apple")]
const MONOTONIC: ClockId = ClockId::from_raw(libc::CLOCK_UPTIME_RAW);
#[cfg(target_vendor = "apple")]
const SINCE_BOOT: ClockId = ClockId::from_raw(libc::CLOCK_MONOTONIC_RAW);

const READINGS: u32 = 5;
/// Four clock readings take about 0.2 µs when nothing interrupts them.
const TIGHT_NANOS: i64 = 20_000;
