//! One round of pings to one target: what was asked, what came back, and what that means in numbers.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::UnixTime;

/// What is pinged: the name people know it by, and the host name or address that is asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Target {
    /// Its unique name, `fra/core1`; also the path of its archive under the data folder.
    pub name: String,
    /// A host name or a literal address.
    pub host: String,
}

/// A round trip time, in whole nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Rtt(Duration);

impl Rtt {
    /// The round trip time that lasted `duration`.
    pub const fn new(duration: Duration) -> Self {
        Self(duration)
    }

    /// The round trip time of `secs` seconds, as archives hold it; `None` for NaN, negative and absurd numbers.
    pub fn from_secs_f64(secs: f64) -> Option<Self> {
        Duration::try_from_secs_f64(secs).ok().map(Self)
    }

    /// How long it lasted.
    pub const fn duration(self) -> Duration {
        self.0
    }

    /// In seconds, as archives hold it.
    pub const fn as_secs_f64(self) -> f64 {
        self.0.as_secs_f64()
    }

    /// In milliseconds, as people read it.
    pub fn as_millis_f64(self) -> f64 {
        self.0.as_nanos() as f64 / 1e6
    }
}

impl std::fmt::Display for Rtt {
    /// Three significant digits from 1 ms up (`58.3 ms`), two decimals below (`0.05 ms`); seconds from 10 s up.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ms = self.as_millis_f64();
        let shown = match ms {
            ms if ms < 0.0995 => format!("{ms:.3} ms"),
            ms if ms < 9.995 => format!("{ms:.2} ms"),
            ms if ms < 99.95 => format!("{ms:.1} ms"),
            ms if ms < 9_999.5 => format!("{ms:.0} ms"),
            ms => format!("{:.1} s", ms / 1000.0),
        };
        f.pad(&shown)
    }
}

/// Why a ping says nothing about the network: our own side failed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Fault {
    /// The monitor was not running when it was due.
    #[error("the monitor was not yet running")]
    NotRunning,
    /// The monitor was held up (stopped, asleep) when it was due, or others had to leave before it, by our own pace, until
    /// its time was past.
    #[error("it was held up here until its time was past")]
    HeldUp,
    /// The target's name has no address.
    #[error("the name does not resolve")]
    NoAddress,
    /// This machine has no socket for the address's family.
    #[error("no socket for this address family")]
    NoSocket,
    /// The kernel refused to send it, with this `errno`.
    #[error("{}", refused(*.0))]
    Send(i32),
    /// The kernel refused to hand over what came in while it was under way, with this `errno`.
    #[error("cannot receive: {}", std::io::Error::from_raw_os_error(*.0))]
    Receive(i32),
    /// The kernel took it, and it never left: nobody but the missing stamp says so.
    #[error("it did not leave this machine: a firewall, or a full queue")]
    NeverLeft,
    /// Our own receive buffer overflowed while it was under way.
    #[error("our receive buffer overflowed")]
    Overflow,
    /// The wall clock, which the kernel stamps with, was set while it was under way.
    #[error("the clock was set while it was under way")]
    ClockSet,
    /// Our own uplink was down: it would have been lost whoever was asked.
    #[error("our own uplink was down")]
    Offline,
}

/// Why the kernel sends nothing, for people.
fn refused(errno: i32) -> String {
    if errno == libc::EPERM {
        return "a firewall of this machine refuses".to_owned();
    }
    let error = std::io::Error::from_raw_os_error(errno).to_string();
    format!("cannot send: {}", error.split(" (os error").next().unwrap_or_default())
}

/// What became of one ping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ping {
    /// The reply came in time.
    Answered(Rtt),
    /// No reply came in time.
    Lost,
    /// It tells nothing about the network.
    Unknown(Fault),
}

/// Why pings were not answered, by somebody on the way; its `Display` is the line for people: `host unreachable, says
/// 192.0.2.1`. Anybody who sees the pings can say so, and it settles nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Says {
    /// What: `host unreachable`.
    pub reason: String,
    /// Who.
    pub from: IpAddr,
}

impl std::fmt::Display for Says {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, says {}", self.reason, self.from)
    }
}

/// One round: the pings of one target between two boundaries of its step. Made once, moved once, then only lent.
#[derive(Clone, Debug)]
pub struct Round {
    target: Arc<Target>,
    address: Option<IpAddr>,
    start: UnixTime,
    end: UnixTime,
    pings: Vec<Ping>,
    sorted: Vec<Rtt>,
    says: Option<Box<Says>>,
}

impl Round {
    /// A round of `pings`, in the order they were due, between the boundaries `start` and `end`.
    pub fn new(
        target: Arc<Target>,
        address: Option<IpAddr>,
        start: UnixTime,
        end: UnixTime,
        pings: Vec<Ping>,
    ) -> Self {
        let mut sorted: Vec<Rtt> = pings
            .iter()
            .filter_map(|ping| match ping {
                Ping::Answered(rtt) => Some(*rtt),
                Ping::Lost | Ping::Unknown(_) => None,
            })
            .collect();
        sorted.sort_unstable();
        Self { target, address, start, end, pings, sorted, says: None }
    }

    /// The same with what somebody on the way said of its pings, which explains a loss and nothing else.
    pub fn with_says(mut self, says: Option<Says>) -> Self {
        self.says = says.filter(|_| self.lost() > 0).map(Box::new);
        self
    }

    /// Who was asked.
    pub fn target(&self) -> &Arc<Target> {
        &self.target
    }

    /// The address that was asked, where there was one.
    pub fn address(&self) -> Option<IpAddr> {
        self.address
    }

    /// The boundary of the step at which it began.
    pub fn start(&self) -> UnixTime {
        self.start
    }

    /// The boundary of the step that ends it, and the time stamp of its row in the archive.
    pub fn end(&self) -> UnixTime {
        self.end
    }

    /// Every ping, in the order they were due.
    pub fn pings(&self) -> &[Ping] {
        &self.pings
    }

    /// The round trip times of the answered pings, shortest first.
    pub fn sorted(&self) -> &[Rtt] {
        &self.sorted
    }

    /// How many pings no reply came to.
    pub fn lost(&self) -> usize {
        self.pings.iter().filter(|ping| matches!(ping, Ping::Lost)).count()
    }

    /// How many pings tell something about the network: the answered and the lost ones.
    pub fn known(&self) -> usize {
        self.sorted.len() + self.lost()
    }

    /// True when no ping tells anything.
    pub fn is_unknown(&self) -> bool {
        self.known() == 0
    }

    /// True when nothing is known of it, or less than a quarter of its pings: too little to judge the line by. Such a
    /// round is no outage, and neither counts for an alert nor breaks its run. A start late in a step, or a stall, leaves
    /// one ping of twenty; were those judged, one ping lost in a hundred would be one target in a hundred that is down.
    pub fn is_scarcely_known(&self) -> bool {
        self.is_unknown() || self.known() * 4 < self.pings.len()
    }

    /// True when every ping that tells something was lost.
    pub fn is_down(&self) -> bool {
        !self.is_unknown() && self.sorted.is_empty()
    }

    /// The share of lost pings among the known ones, 0 to 1; `None` for an unknown round.
    pub fn loss_ratio(&self) -> Option<f64> {
        (!self.is_unknown()).then(|| self.lost() as f64 / self.known() as f64)
    }

    /// The upper median of the answered pings, `sorted[n / 2]`, as SmokePing takes it; `None` when none was answered.
    pub fn median(&self) -> Option<Rtt> {
        self.sorted.get(self.sorted.len() / 2).copied()
    }

    /// The shortest round trip.
    pub fn min(&self) -> Option<Rtt> {
        self.sorted.first().copied()
    }

    /// The longest round trip.
    pub fn max(&self) -> Option<Rtt> {
        self.sorted.last().copied()
    }

    /// The `percent`th percentile of the answered pings by the nearest-rank method: the smallest round trip that at
    /// least that share of them does not exceed.
    pub fn percentile(&self, percent: f64) -> Option<Rtt> {
        // Multiplied first: 28 % of 25 are 7, but 0.28 x 25 is a little more in binary.
        let rank = (percent.clamp(0.0, 100.0) * self.sorted.len() as f64 / 100.0).ceil() as usize;
        self.sorted.get(rank.saturating_sub(1)).copied()
    }

    /// The mean of the answered pings.
    pub fn mean(&self) -> Option<Rtt> {
        let sum: u128 = self.sorted.iter().map(|rtt| rtt.0.as_nanos()).sum();
        let mean = sum.checked_div(self.sorted.len() as u128)?;
        u64::try_from(mean).ok().map(|nanos| Rtt(Duration::from_nanos(nanos)))
    }

    /// The mean difference between the round trips of pings that follow each other and were both answered; `None` where
    /// no two were. It is what a rule on `jitter` compares: every pair has the same weight, so that it says the same of
    /// rounds of any length, unlike [`Round::interarrival_jitter`].
    pub fn jitter(&self) -> Option<Rtt> {
        let mut differences = 0u32;
        let mut sum = Duration::ZERO;
        for pair in self.pings.windows(2) {
            if let [Ping::Answered(Rtt(one)), Ping::Answered(Rtt(next))] = pair {
                differences += 1;
                sum += one.abs_diff(*next);
            }
        }
        (differences > 0).then(|| Rtt(sum / differences))
    }

    /// Why its lost pings were not answered, by who said so last, where somebody did.
    pub fn says(&self) -> Option<&Says> {
        self.says.as_deref()
    }

    /// The interarrival jitter of RFC 3550 (section 6.4.1): from zero on, each answered ping moves it by a sixteenth
    /// of the way to the difference between its round trip and that of the answered one before it, lost ones in
    /// between or not; `None` where fewer than two were answered.
    ///
    /// It is the figure that telephony knows. It is a running estimate for long streams: the newest pings count most,
    /// and as it starts from zero it has come only 72 % of its way after twenty, where [`Round::jitter`] has all of it.
    pub fn interarrival_jitter(&self) -> Option<Rtt> {
        let mut answered = self.pings.iter().filter_map(|ping| match ping {
            Ping::Answered(Rtt(time)) => Some(*time),
            Ping::Lost | Ping::Unknown(_) => None,
        });
        let mut before = answered.next()?;
        let mut jitter = None;
        for time in answered {
            let difference = time.abs_diff(before).as_secs_f64();
            let so_far = jitter.unwrap_or(0.0);
            jitter = Some(so_far + (difference - so_far) / 16.0);
            before = time;
        }
        jitter.and_then(Rtt::from_secs_f64)
    }

    /// The reason most of the unknown pings share, where there is one.
    pub fn fault(&self) -> Option<Fault> {
        let faults = || {
            self.pings.iter().filter_map(|ping| match ping {
                Ping::Unknown(fault) => Some(*fault),
                Ping::Answered(_) | Ping::Lost => None,
            })
        };
        faults().max_by_key(|candidate| faults().filter(|fault| fault == candidate).count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn round(pings: Vec<Ping>) -> Round {
        let target = Arc::new(Target { name: "t".into(), host: "192.0.2.1".into() });
        Round::new(target, None, UnixTime::from_secs(0), UnixTime::from_secs(60), pings)
    }

    fn millis(ms: u64) -> Rtt {
        Rtt::new(Duration::from_millis(ms))
    }

    #[test]
    fn the_median_is_the_upper_one() {
        let answered = |ms| Ping::Answered(millis(ms));
        assert_eq!(round(vec![answered(4), answered(1), answered(3), answered(2)]).median(), Some(millis(3)));
        assert_eq!(round(vec![answered(9), Ping::Lost, answered(1)]).median(), Some(millis(9)));
        assert_eq!(round(vec![Ping::Lost]).median(), None);
    }

    #[test]
    fn a_dead_line_is_down_and_our_own_faults_are_unknown() {
        let down = round(vec![Ping::Lost, Ping::Lost, Ping::Unknown(Fault::Send(libc::ENOBUFS))]);
        assert!(down.is_down() && !down.is_unknown());
        assert_eq!(down.loss_ratio(), Some(1.0));
        let unknown = round(vec![Ping::Unknown(Fault::NoAddress); 3]);
        assert!(unknown.is_unknown() && !unknown.is_down());
        assert_eq!((unknown.loss_ratio(), unknown.fault()), (None, Some(Fault::NoAddress)));
    }

    #[test]
    fn less_than_a_quarter_of_the_pings_is_too_little_to_judge_by() {
        for (pings, least) in [(1, 1), (2, 1), (3, 1), (4, 1), (5, 2), (8, 2), (9, 3), (20, 5)] {
            for known in 0..=pings {
                let unknown = vec![Ping::Unknown(Fault::NotRunning); pings - known];
                let partly = round([unknown, vec![Ping::Lost; known]].concat());
                assert_eq!(partly.is_scarcely_known(), known < least, "{known} of {pings}");
            }
        }
        assert!(round(Vec::new()).is_scarcely_known());
    }

    #[test]
    fn a_refusal_of_the_kernel_is_told_in_words() {
        assert_eq!(Fault::Send(libc::ENETUNREACH).to_string(), "cannot send: Network is unreachable");
        assert_eq!(Fault::Send(libc::EPERM).to_string(), "a firewall of this machine refuses");
    }

    #[test]
    fn jitter_is_the_mean_step_between_neighbours() {
        let answered = |ms| Ping::Answered(millis(ms));
        let both = round(vec![answered(10), answered(14), answered(12), Ping::Lost, answered(90)]);
        assert_eq!(both.jitter(), Some(millis(3)));
        assert_eq!(round(vec![answered(10), Ping::Lost, answered(90)]).jitter(), None);
    }

    #[test]
    fn interarrival_jitter_moves_by_sixteenths_and_passes_over_lost_pings() {
        let answered = |ms| Ping::Answered(millis(ms));
        let shown = |pings| round(pings).interarrival_jitter().map(|jitter| jitter.as_millis_f64());
        assert_eq!(shown(vec![answered(10), answered(26)]), Some(1.0), "16 ms / 16");
        assert_eq!(shown(vec![answered(10), answered(26), answered(10)]), Some(1.9375), "1 + (16 - 1) / 16");
        assert_eq!(shown(vec![answered(10), Ping::Lost, answered(26)]), Some(1.0));
        assert_eq!(shown(vec![Ping::Lost, answered(10), Ping::Lost]), None, "there is no difference");
        // Differences of 10 ms for ever: it comes near to them, and what is left shrinks by 15/16 each time.
        let long = round((0..21).map(|i| answered(10 + 10 * (i % 2))).collect());
        let wanted = 10.0 * (1.0 - (15.0f64 / 16.0).powi(20));
        let found = long.interarrival_jitter().unwrap().as_millis_f64();
        assert!((found - wanted).abs() < 1e-6, "{found} is not {wanted}");
        assert_eq!(long.jitter(), Some(millis(10)));
    }

    /// 0.28 x 25 is a little more than 7 in binary, and once took the eighth.
    #[test]
    fn a_share_that_is_a_whole_rank_takes_that_rank() {
        let twenty_five = round((1..=25).map(|ms| Ping::Answered(millis(ms))).collect());
        assert_eq!(twenty_five.percentile(28.0), Some(millis(7)));
        assert_eq!(
            (twenty_five.percentile(0.0), twenty_five.percentile(100.0)),
            (Some(millis(1)), Some(millis(25)))
        );
    }

    #[test]
    fn round_trips_are_shown_to_three_digits() {
        let shown = |micros| Rtt::new(Duration::from_micros(micros)).to_string();
        assert_eq!(
            [12, 58, 940, 1_234, 58_321, 99_960, 182_400, 12_345_678].map(shown),
            ["0.012 ms", "0.058 ms", "0.94 ms", "1.23 ms", "58.3 ms", "100 ms", "182 ms", "12.3 s"]
        );
    }

    proptest! {
        /// The nearest-rank percentile against its definition, counted naively.
        #[test]
        fn percentiles_agree_with_their_definition(times in prop::collection::vec(0u64..1000, 1..40), percent in 1u32..=100) {
            let found = round(times.iter().map(|ms| Ping::Answered(millis(*ms))).collect());
            let found = found.percentile(f64::from(percent)).unwrap();
            let share = |limit: Rtt| times.iter().filter(|ms| millis(**ms) <= limit).count() * 100;
            let wanted = percent as usize * times.len();
            prop_assert!(share(found) >= wanted);
            let smaller = times.iter().map(|ms| millis(*ms)).filter(|rtt| *rtt < found).max();
            prop_assert!(smaller.is_none_or(|smaller| share(smaller) < wanted));
        }

        #[test]
        fn every_ping_is_counted_once(kinds in prop::collection::vec(0u8..3, 0..40)) {
            let pings: Vec<Ping> = kinds.iter().map(|kind| match kind {
                0 => Ping::Answered(millis(5)),
                1 => Ping::Lost,
                _ => Ping::Unknown(Fault::HeldUp),
            }).collect();
            let round = round(pings);
            let unknown = kinds.iter().filter(|kind| **kind == 2).count();
            prop_assert_eq!(round.known() + unknown, kinds.len());
            prop_assert_eq!(round.loss_ratio().is_none(), round.is_unknown());
        }

        /// Every figure against one that is computed the plain way, from a list of optional times in milliseconds.
        #[test]
        fn the_figures_are_those_of_a_naive_model(times in prop::collection::vec(prop::option::weighted(0.8, 1u64..2000), 0..60)) {
            let round = round(times.iter().map(|time| time.map_or(Ping::Lost, |ms| Ping::Answered(millis(ms)))).collect());
            let mut answered: Vec<u64> = times.iter().flatten().copied().collect();
            let differences: Vec<f64> = answered.windows(2).map(|two| two[0].abs_diff(two[1]) as f64).collect();
            let near = |found: Option<Rtt>, wanted: Option<f64>| match (found, wanted) {
                (Some(found), Some(wanted)) => (found.as_millis_f64() - wanted).abs() < 1e-5,
                (found, wanted) => found.is_none() && wanted.is_none(),
            };
            // The n-th difference from the end has been shrunk n times since it was added.
            let shrunk = |(n, difference): (usize, &f64)| difference / 16.0 * (15.0f64 / 16.0).powi(n as i32);
            let smoothed = differences.iter().rev().enumerate().map(shrunk).sum::<f64>();
            prop_assert!(near(round.interarrival_jitter(), (!differences.is_empty()).then_some(smoothed)));
            let neighbours: Vec<f64> = times.windows(2)
                .filter_map(|two| Some(two[0]?.abs_diff(two[1]?) as f64))
                .collect();
            let mean_of = |values: &[f64]| (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64);
            prop_assert!(near(round.jitter(), mean_of(&neighbours)));
            let floats: Vec<f64> = answered.iter().map(|ms| *ms as f64).collect();
            prop_assert!(near(round.mean(), mean_of(&floats)));
            answered.sort();
            prop_assert_eq!(round.median(), answered.get(answered.len() / 2).map(|ms| millis(*ms)));
            prop_assert_eq!(round.min(), answered.first().map(|ms| millis(*ms)));
            prop_assert_eq!(round.max(), answered.last().map(|ms| millis(*ms)));
            prop_assert_eq!(round.max(), round.percentile(100.0));
            let lost = times.iter().filter(|time| time.is_none()).count();
            prop_assert_eq!(round.loss_ratio(), (!times.is_empty()).then(|| lost as f64 / times.len() as f64));
        }
    }
}
