//! One look at some targets, now: `latmon ping`. Every target is asked `count` times, each time `interval` after the
//! last, and all that comes back is told as it comes. Nothing is recorded.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::asker::{Addressee, Asker, Heard, Odd};
use super::clock::{self, Monotonic};
use super::icmp::Reason;
use super::{Bell, EchoSettings, Error};
use crate::round::{Fault, Ping, Round, Rtt, Target};
use crate::time::UnixTime;

/// Whom to look at, and how.
#[derive(Clone, Debug)]
pub struct LookSettings {
    /// Every target; one may be there twice.
    pub targets: Vec<LookTarget>,
    /// How often each is asked, 1 to [`LookSettings::MOST_PINGS`].
    pub count: u32,
    /// How long after one echo the next leaves to the same target; longer where [`LookSettings::gap`] asks for that.
    pub interval: Duration,
    /// How long after an echo to one target that to the next one leaves, at least.
    pub gap: Duration,
    /// How long a reply may take.
    pub timeout: Duration,
}

impl LookSettings {
    /// The most pings to one target: more than a week's at one a second, and a bound on what is kept of them.
    pub const MOST_PINGS: u32 = 1_000_000;

    /// How many echoes can be under way at once.
    fn in_flight(&self) -> u32 {
        let of_each = self.timeout.as_nanos() / self.interval.as_nanos().max(1) + 1;
        let of_all = of_each.min(self.count.into()).saturating_mul(self.targets.len() as u128);
        of_all.try_into().unwrap_or(u32::MAX)
    }
}

/// One target of a look.
#[derive(Clone, Debug)]
pub struct LookTarget {
    /// Who, as people call it.
    pub target: Arc<Target>,
    /// The address that is asked; its port means nothing.
    pub address: SocketAddr,
    /// What its echoes look like.
    pub echo: EchoSettings,
}

/// Something that happened to a target's pings, as it happened. `ping` counts from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookEvent {
    /// The reply came in time.
    Answered {
        /// To which ping.
        ping: u32,
        /// From where: for a multicast address one of many.
        from: IpAddr,
        /// How long it took.
        rtt: Rtt,
        /// The time to live or hop limit that was left, where the kernel says so.
        ttl: Option<u8>,
        /// How long the ICMP message is.
        bytes: usize,
    },
    /// No reply came in time.
    Lost {
        /// Which ping.
        ping: u32,
    },
    /// Our own side failed it.
    Unknown {
        /// Which ping.
        ping: u32,
        /// How.
        fault: Fault,
    },
    /// Somebody on the way says that it did not arrive. The ping is waited for all the same: this may be forged.
    Refused {
        /// Which ping.
        ping: u32,
        /// What it says.
        reason: Reason,
        /// Who says it.
        from: IpAddr,
    },
    /// A reply that does not count.
    Odd {
        /// To which ping, where that can be told.
        ping: Option<u32>,
        /// Why not.
        odd: Odd,
        /// From where.
        from: IpAddr,
        /// How long it took, for one that is late.
        rtt: Option<Rtt>,
    },
}

/// What became of one target's pings.
#[derive(Clone, Debug)]
pub struct Looked {
    /// The pings, in the order they left, up to the first that was still under way when it was stopped.
    pub round: Round,
    /// How many more had left: that one and those behind it, answered or not.
    pub left_out: u32,
    /// The replies that did not count.
    pub odd: OddReplies,
    /// The ICMP errors about its pings.
    pub refusals: Vec<Refusals>,
}

/// How many replies did not count, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OddReplies([u64; Odd::ALL.len()]);

impl OddReplies {
    /// How many of this kind.
    pub fn of(&self, odd: Odd) -> u64 {
        self.0[odd as usize]
    }
}

/// The ICMP errors of one kind from one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusals {
    /// What they say.
    pub reason: Reason,
    /// Who says it.
    pub from: IpAddr,
    /// How many there were.
    pub count: u64,
}

/// Ends a look from another thread.
#[derive(Clone, Debug)]
pub struct Stop(pub(super) Arc<Bell>);

impl Stop {
    /// Not yet given.
    pub fn new() -> Result<Self, Error> {
        let bell = Bell::new().map_err(|error| Error::System { operation: "make an event", error })?;
        Ok(Self(Arc::new(bell)))
    }

    /// Ends the look: what is under way is not waited for.
    pub fn stop(&self) {
        self.0.stop();
    }
}

/// Looks, and returns what became of each target's pings, in the order of the settings. Everything that happens is told
/// at once, with the target's place in the settings.
pub fn look(
    settings: &LookSettings,
    stop: &Stop,
    tell: &mut dyn FnMut(usize, LookEvent),
) -> Result<Vec<Looked>, Error> {
    if settings.targets.is_empty() {
        return Ok(Vec::new());
    }
    let mut asker =
        Asker::open(settings.targets.iter().map(|it| &it.echo), settings.in_flight(), settings.timeout)?;
    // One that cannot be asked is no reason not to ask the others.
    let addressees = settings.targets.iter().map(|it| asker.addressee(it.address, &it.echo));
    let addressees: Vec<Result<Addressee, Fault>> =
        addressees.map(|it| it.map_err(|why| Fault::Send(why.errno()))).collect();
    let now = clock::now();
    let mut rhythm = Rhythm::new(settings, now.monotonic);
    let mut sheet = Sheet::new(settings);
    let mut heard = Vec::new();
    loop {
        let due = clock::now().monotonic;
        while let Some(Due { ping, target }) = rhythm.take(due) {
            sheet.sent(target, ping);
            let number = number(target, ping);
            match &addressees[target] {
                Ok(addressee) => asker.push(number, addressee, &mut heard),
                Err(fault) => heard.push(Heard::Unknown { number, fault: *fault }),
            }
        }
        asker.flush(&mut heard);
        let until = rhythm.next().min(asker.next_deadline());
        if heard.is_empty() && until < Monotonic::NEVER {
            asker.wait(until, Some(&stop.0), &mut heard)?;
        }
        for heard in heard.drain(..) {
            if let Some((target, event)) = sheet.enter(heard) {
                tell(target, event);
            }
        }
        if stop.0.is_stopped() || until == Monotonic::NEVER {
            return Ok(sheet.close(now.wall.into(), clock::now().wall.into()));
        }
    }
}

/// Target and ping in one number, whose lowest bits are the sequence on the wire. They count from 1, as ping's do.
fn number(target: usize, ping: u32) -> u64 {
    (target as u64) << 32 | u64::from(ping + 1)
}

fn target_and_ping(number: u64) -> (usize, u32) {
    ((number >> 32) as usize, (number as u32).wrapping_sub(1))
}

/// When which echo is due: round after round through the targets.
struct Rhythm {
    targets: usize,
    count: u32,
    gap: Duration,
    period: Duration,
    next: Due,
    round_begins: Monotonic,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Due {
    ping: u32,
    target: usize,
}

impl Rhythm {
    fn new(settings: &LookSettings, now: Monotonic) -> Self {
        let targets = settings.targets.len();
        let whole = settings.gap.saturating_mul(u32::try_from(targets).unwrap_or(u32::MAX));
        Self {
            targets,
            count: settings.count,
            gap: settings.gap,
            period: settings.interval.max(whole),
            next: Due { ping: 0, target: 0 },
            round_begins: now,
        }
    }

    /// When the next echo is due; never, after the last one.
    fn next(&self) -> Monotonic {
        if self.next.ping >= self.count || self.targets == 0 {
            return Monotonic::NEVER;
        }
        self.round_begins.plus(self.gap.saturating_mul(self.next.target as u32))
    }

    /// The next echo, if it is due. Whoever was held up for a whole period goes on from now, without a bunch of echoes
    /// to catch up.
    fn take(&mut self, now: Monotonic) -> Option<Due> {
        let at = self.next();
        if at > now {
            return None;
        }
        let late = now.since(at);
        if late >= self.period {
            self.round_begins = self.round_begins.plus(late);
        }
        let due = self.next;
        self.next.target += 1;
        if self.next.target == self.targets {
            self.next = Due { ping: due.ping + 1, target: 0 };
            self.round_begins = self.round_begins.plus(self.period);
        }
        Some(due)
    }
}

/// What became of every ping so far.
struct Sheet<'a> {
    settings: &'a LookSettings,
    lanes: Vec<Lane>,
}

#[derive(Default)]
struct Lane {
    /// `None` while it is under way.
    pings: Vec<Option<Ping>>,
    odd: OddReplies,
    refusals: Vec<Refusals>,
}

impl<'a> Sheet<'a> {
    fn new(settings: &'a LookSettings) -> Self {
        Self { settings, lanes: settings.targets.iter().map(|_| Lane::default()).collect() }
    }

    fn sent(&mut self, target: usize, ping: u32) {
        let pings = &mut self.lanes[target].pings;
        debug_assert_eq!(pings.len(), ping as usize, "they leave in order");
        pings.push(None);
    }

    /// Enters what was heard; tells what it means, and for whom. `None` for what belongs to no target.
    fn enter(&mut self, heard: Heard) -> Option<(usize, LookEvent)> {
        match heard {
            Heard::Answered { number, from, rtt, ttl, bytes } => {
                let (target, ping) = self.settle(number, Ping::Answered(rtt))?;
                Some((target, LookEvent::Answered { ping, from, rtt, ttl, bytes }))
            }
            Heard::Overdue { number } => {
                let (target, ping) = self.settle(number, Ping::Lost)?;
                Some((target, LookEvent::Lost { ping }))
            }
            Heard::Unknown { number, fault } => {
                let (target, ping) = self.settle(number, Ping::Unknown(fault))?;
                if let Fault::Send(_) = fault {
                    self.lanes[target].excuse_before(ping, fault);
                }
                Some((target, LookEvent::Unknown { ping, fault }))
            }
            Heard::Refused { number, reason, from, .. } => {
                let (target, ping) = target_and_ping(number);
                self.lanes.get_mut(target)?.refused(reason, from);
                Some((target, LookEvent::Refused { ping, reason, from }))
            }
            Heard::Odd { number, odd, from, rtt } => {
                let (target, ping) = match number.map(target_and_ping) {
                    Some((target, ping)) => (target, Some(ping)),
                    // Nothing in it can be believed but where it came from.
                    None => (self.settings.targets.iter().position(|it| it.address.ip() == from)?, None),
                };
                self.lanes.get_mut(target)?.odd.0[odd as usize] += 1;
                // A late reply came in time for nothing: where nobody has said so yet its ping is lost.
                if odd == Odd::Late
                    && let Some(number) = number
                {
                    self.settle(number, Ping::Lost);
                }
                Some((target, LookEvent::Odd { ping, odd, from, rtt }))
            }
        }
    }

    /// Notes what became of a ping; `None` where there is no such ping, or that was known.
    fn settle(&mut self, number: u64, outcome: Ping) -> Option<(usize, u32)> {
        let (target, ping) = target_and_ping(number);
        let slot = self.lanes.get_mut(target)?.pings.get_mut(ping as usize)?;
        if slot.is_some() {
            return None;
        }
        *slot = Some(outcome);
        Some((target, ping))
    }

    fn close(self, begun: UnixTime, ended: UnixTime) -> Vec<Looked> {
        let looked = |(it, lane): (&LookTarget, Lane)| {
            let pings: Vec<Ping> = lane.pings.iter().map_while(|ping| *ping).collect();
            Looked {
                // A bounded number of pings: it fits.
                left_out: (lane.pings.len() - pings.len()) as u32,
                round: Round::new(Arc::clone(&it.target), Some(it.address.ip()), begun, ended, pings),
                odd: lane.odd,
                refusals: lane.refusals,
            }
        };
        self.settings.targets.iter().zip(self.lanes).map(looked).collect()
    }
}

impl Lane {
    /// A ping could not be sent: what broke may have taken the one before along, which may have been declared lost already.
    fn excuse_before(&mut self, ping: u32, fault: Fault) {
        if let Some(slot @ Some(Ping::Lost)) =
            (ping as usize).checked_sub(1).and_then(|before| self.pings.get_mut(before))
        {
            *slot = Some(Ping::Unknown(fault));
        }
    }

    fn refused(&mut self, reason: Reason, from: IpAddr) {
        if let Some(known) =
            self.refusals.iter_mut().find(|known| (known.reason, known.from) == (reason, from))
        {
            known.count += 1;
        } else if self.refusals.len() < MOST_REFUSERS {
            self.refusals.push(Refusals { reason, from, count: 1 });
        }
    }
}

/// So many kinds of ICMP errors, and who says them, are kept of one target: whoever forges them without end must not
/// fill the memory.
const MOST_REFUSERS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::icmp::Family;

    fn settings(targets: usize, count: u32, interval_ms: u64, gap_ms: u64) -> LookSettings {
        let target = |number: usize| LookTarget {
            target: Arc::new(Target { name: format!("t{number}"), host: format!("198.18.0.{number}") }),
            address: SocketAddr::new(address(number), 0),
            echo: EchoSettings::default(),
        };
        LookSettings {
            targets: (1..=targets).map(target).collect(),
            count,
            interval: Duration::from_millis(interval_ms),
            gap: Duration::from_millis(gap_ms),
            timeout: Duration::from_millis(500),
        }
    }

    fn address(number: usize) -> IpAddr {
        IpAddr::from([198, 18, 0, number as u8])
    }

    fn at(ms: u64) -> Monotonic {
        Monotonic(0).plus(Duration::from_millis(ms))
    }

    /// What a rhythm asks for that is woken when it wants to be: milliseconds, ping, target.
    fn beats(settings: &LookSettings) -> Vec<(i64, u32, usize)> {
        let mut rhythm = Rhythm::new(settings, at(0));
        let mut beats = Vec::new();
        while rhythm.next() < Monotonic::NEVER {
            let now = rhythm.next();
            while let Some(Due { ping, target }) = rhythm.take(now) {
                beats.push((now.0 / 1_000_000, ping, target));
            }
        }
        beats
    }

    #[test]
    fn targets_follow_each_other_and_pings_keep_their_interval() {
        assert_eq!(
            beats(&settings(3, 2, 1000, 10)),
            [(0, 0, 0), (10, 0, 1), (20, 0, 2), (1000, 1, 0), (1010, 1, 1), (1020, 1, 2)]
        );
        assert_eq!(
            beats(&settings(3, 2, 20, 10)),
            [(0, 0, 0), (10, 0, 1), (20, 0, 2), (30, 1, 0), (40, 1, 1), (50, 1, 2)],
            "the gap comes first"
        );
        assert_eq!(beats(&settings(2, 1, 5, 0)), [(0, 0, 0), (0, 0, 1)]);
        assert_eq!(beats(&settings(0, 1, 5, 0)), []);
    }

    #[test]
    fn whoever_was_held_up_does_not_catch_up() {
        let settings = settings(1, 100, 1000, 0);
        let mut rhythm = Rhythm::new(&settings, at(0));
        assert!(rhythm.take(at(0)).is_some());
        assert_eq!(rhythm.next(), at(1000));
        assert!(rhythm.take(at(1_300)).is_some(), "a little late");
        assert_eq!(rhythm.next(), at(2000), "keeps the beat");
        assert!(rhythm.take(at(60_000)).is_some());
        assert!(rhythm.take(at(60_000)).is_none());
        assert_eq!(rhythm.next(), at(61_000));
    }

    fn rtt(ms: u64) -> Rtt {
        Rtt::new(Duration::from_millis(ms))
    }

    #[test]
    fn everything_heard_is_entered_once() {
        let settings = settings(2, 9, 1000, 0);
        let mut sheet = Sheet::new(&settings);
        for ping in 0..4 {
            sheet.sent(0, ping);
            sheet.sent(1, ping);
        }
        let unreachable = Reason { family: Family::V4, kind: 3, code: 1 };
        let answered = |target, ping, ms| Heard::Answered {
            number: number(target, ping),
            from: address(target + 1),
            rtt: rtt(ms),
            ttl: Some(64),
            bytes: 64,
        };
        let odd = |number, odd, from| Heard::Odd { number, odd, from, rtt: None };
        let events = [
            answered(0, 0, 7),
            odd(Some(number(0, 0)), Odd::Duplicate, address(1)),
            Heard::Overdue { number: number(0, 1) },
            odd(Some(number(0, 1)), Odd::Late, address(1)),
            odd(Some(number(0, 2)), Odd::Late, address(1)),
            odd(None, Odd::Damaged, address(2)),
            odd(None, Odd::Forged, address(77)),
            Heard::Refused { number: number(1, 0), reason: unreachable, from: address(9), rtt: None },
            Heard::Refused { number: number(1, 1), reason: unreachable, from: address(9), rtt: None },
            Heard::Unknown { number: number(1, 2), fault: Fault::ClockSet },
            Heard::Overdue { number: number(1, 0) },
        ];
        let told: Vec<Option<usize>> =
            events.iter().map(|heard| sheet.enter(*heard).map(|(target, _)| target)).collect();
        assert_eq!(told[6], None, "it is nobody's");
        assert_eq!(told.iter().flatten().count(), events.len() - 1);
        let looked = sheet.close(UnixTime::from_secs(0), UnixTime::from_secs(9));
        let [first, second] = &looked[..] else { panic!("two targets") };
        assert_eq!(first.round.pings(), [Ping::Answered(rtt(7)), Ping::Lost, Ping::Lost]);
        assert_eq!(first.left_out, 1);
        assert_eq!([Odd::Duplicate, Odd::Late, Odd::Damaged].map(|odd| first.odd.of(odd)), [1, 2, 0]);
        assert_eq!(second.round.pings(), [Ping::Lost], "each in its place: the second is still under way");
        assert_eq!((second.left_out, second.odd.of(Odd::Damaged)), (3, 1));
        assert_eq!(second.refusals, [Refusals { reason: unreachable, from: address(9), count: 2 }]);
    }

    #[test]
    fn a_ping_that_was_lost_right_before_one_that_did_not_leave_is_excused() {
        let settings = settings(1, 9, 1000, 0);
        let mut sheet = Sheet::new(&settings);
        (0..4).for_each(|ping| sheet.sent(0, ping));
        let fault = Fault::Send(libc::ENETUNREACH);
        for heard in [
            Heard::Overdue { number: number(0, 0) },
            Heard::Overdue { number: number(0, 1) },
            Heard::Unknown { number: number(0, 2), fault },
            Heard::Unknown { number: number(0, 3), fault },
        ] {
            assert!(sheet.enter(heard).is_some());
        }
        let looked = sheet.close(UnixTime::from_secs(0), UnixTime::from_secs(9));
        let unknown = Ping::Unknown(fault);
        assert_eq!(looked[0].round.pings(), [Ping::Lost, unknown, unknown, unknown]);
    }

    #[test]
    fn the_bound_of_what_is_under_way_knows_the_timeout() {
        assert_eq!(settings(3, 9, 1000, 0).in_flight(), 3);
        assert_eq!(settings(3, 9, 100, 0).in_flight(), 18);
        assert_eq!(settings(3, 2, 100, 0).in_flight(), 6);
    }
}
