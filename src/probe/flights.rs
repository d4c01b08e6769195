//! The echoes of one look or one trace: which are under way, and what became of the others, so that a reply that comes
//! twice, late, from elsewhere or from nobody's hand is known for what it is. Pure: it is told the time.
//!
//! The monitor has [`super::schedule`] for this, which knows rounds and keeps nothing per packet; here a few targets are
//! asked for once, and every packet is of interest to somebody who watches.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use super::clock::{Clocks, Monotonic, Now, Wall};
use super::icmp::{Family, Secret};
use super::proof::Asked;
use crate::round::{Fault, Rtt};

/// See the module.
pub(super) struct Flights {
    secret: Secret,
    timeout: Duration,
    flights: HashMap<u64, Flight>,
    /// When each is overdue; all have the same timeout, so it is the order they were sent in.
    deadlines: VecDeque<(Monotonic, u64)>,
    /// Those that are over, oldest first.
    over: VecDeque<u64>,
    clocks: Clocks,
    /// When the clocks last moved against each other.
    moved: Monotonic,
    /// What our own side last failed at in hearing each family.
    deaf: [Option<Trouble>; 2],
    /// And in sending to an address.
    broken: HashMap<IpAddr, Trouble>,
}

/// A failure of our own side: of what was sent before, it cannot be said that nobody answers.
#[derive(Clone, Copy, Debug)]
struct Trouble {
    at: Monotonic,
    fault: Fault,
}

/// One echo.
#[derive(Clone, Copy, Debug)]
struct Flight {
    asked: Asked,
    sent: Monotonic,
    /// By the kernel's stamp where there is one, else read before it was sent.
    left: Wall,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    UnderWay,
    Answered,
    Overdue,
    /// Nothing can be said of it any more.
    SetAside,
}

/// What a reply is that carries the number of an echo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The one that was waited for.
    Answered(Rtt),
    /// One more than was asked for.
    Duplicate,
    /// It took longer than the timeout; how long, where that is still known.
    Late(Option<Rtt>),
    /// The stamps contradict each other: a clock was set in between.
    Impossible,
}

impl Flights {
    /// None yet; a reply may take `timeout`.
    pub(super) fn new(secret: Secret, timeout: Duration, now: Now) -> Self {
        Self {
            secret,
            timeout,
            flights: HashMap::new(),
            deadlines: VecDeque::new(),
            over: VecDeque::new(),
            clocks: Clocks::new(now),
            moved: Monotonic::LONG_AGO,
            deaf: [None; 2],
            broken: HashMap::new(),
        }
    }

    /// What proves replies to be ours.
    pub(super) fn secret(&self) -> &Secret {
        &self.secret
    }

    /// What proves the reply to echo `number` to be ours.
    pub(super) fn tag(&self, number: u64, to: IpAddr) -> u64 {
        self.secret.tag(number, to)
    }

    /// Echo `number` is about to leave.
    pub(super) fn sent(&mut self, number: u64, asked: Asked, (sent, left): (Monotonic, Wall)) {
        let flight = Flight { asked, sent, left, state: State::UnderWay };
        self.flights.insert(number, flight);
        self.deadlines.push_back((sent.plus(self.timeout), number));
    }

    /// The kernel says when echo `number` left.
    pub(super) fn stamped(&mut self, number: u64, left: Wall) {
        if let Some(flight) = self.flights.get_mut(&number).filter(|it| it.state == State::UnderWay) {
            flight.left = left;
        }
    }

    /// True while a reply to `number` is waited for.
    pub(super) fn is_under_way(&self, number: u64) -> bool {
        self.flights.get(&number).is_some_and(|flight| flight.state == State::UnderWay)
    }

    /// What echo `number` asked, unless it was forgotten.
    pub(super) fn asked(&self, number: u64) -> Option<Asked> {
        self.flights.get(&number).map(|flight| flight.asked)
    }

    /// Takes a proven reply to echo `number`, which came at `stamp` by the kernel's clock, if it says so, else just before
    /// `now`.
    pub(super) fn reply(&mut self, number: u64, stamp: Option<Wall>, now: Now) -> Verdict {
        // So old that it was forgotten.
        let Some(flight) = self.flights.get(&number) else { return Verdict::Late(None) };
        match (flight.state, self.took(number, stamp, now)) {
            (State::Answered, _) => Verdict::Duplicate,
            (State::SetAside, _) => Verdict::Late(None),
            (State::Overdue, took) => Verdict::Late(took),
            (State::UnderWay, Some(rtt)) if rtt.duration() > self.timeout => {
                self.end(number, State::Overdue);
                Verdict::Late(Some(rtt))
            }
            (State::UnderWay, Some(rtt)) => {
                self.end(number, State::Answered);
                Verdict::Answered(rtt)
            }
            (State::UnderWay, None) => {
                self.end(number, State::SetAside);
                Verdict::Impossible
            }
        }
    }

    /// How long after echo `number` left this packet came, where both are known.
    pub(super) fn took(&self, number: u64, stamp: Option<Wall>, now: Now) -> Option<Rtt> {
        let flight = self.flights.get(&number).filter(|flight| flight.sent > self.moved)?;
        let took = match stamp {
            Some(stamp) => stamp.since(flight.left)?,
            None => now.monotonic.since(flight.sent),
        };
        Some(Rtt::new(took))
    }

    /// Compares the clocks. Where one was set or the machine slept, nothing can be said any more of what is under way, which
    /// is to be set aside: tells why.
    pub(super) fn observe(&mut self, now: Now) -> Option<Fault> {
        let clocks = Clocks::new(now);
        let before = std::mem::replace(&mut self.clocks, clocks);
        let slept = clocks.asleep.saturating_sub(before.asleep) > STILL;
        let moved = clocks.offset.abs_diff(before.offset) > STILL.as_nanos() as u64;
        if !slept && !moved {
            return None;
        }
        self.moved = now.monotonic;
        Some(if slept { Fault::HeldUp } else { Fault::ClockSet })
    }

    /// Some replies that came in before `at` could not be taken.
    pub(super) fn deaf(&mut self, family: Family, fault: Fault, at: Monotonic) {
        self.deaf[family as usize] = Some(Trouble { at, fault });
    }

    /// An echo to this address could not be sent. What broke may have taken those under way along.
    pub(super) fn broken(&mut self, to: IpAddr, fault: Fault, at: Monotonic) {
        self.broken.insert(to, Trouble { at, fault });
    }

    /// What our own side failed at while echo `number` was under way.
    fn excuse(&self, number: u64) -> Option<Fault> {
        let Flight { asked: Asked { to, .. }, sent, .. } = self.flights.get(&number)?;
        let mut troubles = self.deaf[Family::of(*to) as usize].iter().chain(self.broken.get(to));
        troubles.find(|trouble| *sent <= trouble.at).map(|trouble| trouble.fault)
    }

    /// The echo that an ICMP error quotes: by number and tag, where it quotes so much, else by the address and the
    /// lowest bits of the number, of those under way the newest.
    pub(super) fn quoted(&self, to: IpAddr, sequence: u16, secrets: Option<(u64, u64)>) -> Option<u64> {
        if let Some((number, tag)) = secrets {
            let known = self.flights.get(&number).is_some_and(|flight| flight.asked.to == to);
            return (known && tag == self.secret.tag(number, to)).then_some(number);
        }
        let fits = |number: &u64| {
            *number as u16 == sequence && self.flights.get(number).is_some_and(|flight| flight.asked.to == to)
        };
        self.deadlines.iter().rev().map(|(_, number)| *number).find(fits)
    }

    /// The next echo whose time is over, and what excuses that. Everything that came in until `now` must have been handed
    /// in before.
    pub(super) fn take_overdue(&mut self, now: Monotonic) -> Option<(u64, Option<Fault>)> {
        while self.next_deadline() <= now {
            let (_, number) = self.deadlines.pop_front()?;
            if self.is_under_way(number) {
                let excuse = self.excuse(number);
                self.end(number, State::Overdue);
                return Some((number, excuse));
            }
        }
        None
    }

    /// When the next echo that is under way is overdue; never, when none is.
    pub(super) fn next_deadline(&mut self) -> Monotonic {
        while let Some((at, number)) = self.deadlines.front().copied() {
            if self.is_under_way(number) {
                return at;
            }
            self.deadlines.pop_front();
        }
        Monotonic::NEVER
    }

    /// Sets aside an echo that is under way, and returns it: the clocks cannot tell any more how long it takes.
    pub(super) fn set_aside(&mut self) -> Option<u64> {
        while let Some((_, number)) = self.deadlines.pop_front() {
            if self.is_under_way(number) {
                self.end(number, State::SetAside);
                return Some(number);
            }
        }
        None
    }

    fn end(&mut self, number: u64, state: State) {
        if let Some(flight) = self.flights.get_mut(&number) {
            flight.state = state;
            self.over.push_back(number);
        }
        if self.over.len() > MOST_REMEMBERED {
            let oldest = self.over.pop_front();
            oldest.and_then(|number| self.flights.remove(&number));
        }
    }
}

/// How many echoes are remembered that are over: what a hundred targets have in ten minutes.
const MOST_REMEMBERED: usize = 65_536;

/// Clocks that move less than this against each other between two looks are only being trimmed.
const STILL: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_millis(500);

    fn them() -> IpAddr {
        "198.18.0.2".parse().unwrap()
    }

    fn other() -> IpAddr {
        "198.18.0.3".parse().unwrap()
    }

    fn ms(ms: i64) -> i64 {
        ms * 1_000_000
    }

    fn at(millis: i64) -> Now {
        let clocks = (Monotonic(ms(millis)), Wall(ms(1_000_000 + millis)));
        Now { monotonic: clocks.0, wall: clocks.1, asleep: Duration::ZERO }
    }

    /// Echoes 1 to `count` to [`them`], sent one each 100 ms from zero on.
    fn flights(count: u64) -> Flights {
        let mut flights = Flights::new(Secret::new([7; 16]), TIMEOUT, at(0));
        for number in 1..=count {
            let now = at(100 * (number as i64 - 1));
            flights.sent(number, asked(), (now.monotonic, now.wall));
        }
        flights
    }

    fn asked() -> Asked {
        Asked { to: them(), any_source: false, payload: 56 }
    }

    fn rtt(millis: u64) -> Rtt {
        Rtt::new(Duration::from_millis(millis))
    }

    #[test]
    fn a_reply_counts_once_and_by_the_stamps_of_the_kernel() {
        let mut flights = flights(1);
        flights.stamped(1, Wall(at(2).wall.0));
        assert_eq!(flights.reply(1, Some(at(32).wall), at(480)), Verdict::Answered(rtt(30)));
        assert_eq!(flights.reply(1, Some(at(33).wall), at(481)), Verdict::Duplicate);
        assert_eq!(flights.take_overdue(at(9_000).monotonic), None);
        assert_eq!(flights.next_deadline(), Monotonic::NEVER);
    }

    #[test]
    fn without_stamps_the_clocks_of_the_program_count() {
        let mut flights = flights(1);
        assert_eq!(flights.reply(1, None, at(31)), Verdict::Answered(rtt(31)));
    }

    #[test]
    fn overdue_echoes_come_in_order_and_their_replies_are_late() {
        let mut flights = flights(3);
        assert_eq!(flights.next_deadline(), at(500).monotonic);
        assert_eq!(flights.take_overdue(at(499).monotonic), None);
        let overdue = |flights: &mut Flights, millis| flights.take_overdue(at(millis).monotonic);
        assert_eq!(
            (overdue(&mut flights, 650), overdue(&mut flights, 650)),
            (Some((1, None)), Some((2, None)))
        );
        assert_eq!(overdue(&mut flights, 650), None);
        assert_eq!(flights.next_deadline(), at(700).monotonic);
        assert_eq!(flights.reply(1, Some(at(800).wall), at(800)), Verdict::Late(Some(rtt(800))));
    }

    /// Whoever was stopped for a while finds in the buffer what came in time, and what came too late.
    #[test]
    fn the_stamp_decides_what_is_late_and_not_when_it_is_read() {
        let mut flights = flights(2);
        let read = at(30_000);
        assert_eq!(flights.reply(1, Some(at(40).wall), read), Verdict::Answered(rtt(40)));
        assert_eq!(flights.reply(2, Some(at(601).wall), read), Verdict::Late(Some(rtt(501))));
        assert_eq!(flights.take_overdue(read.monotonic), None, "both are settled");
    }

    #[test]
    fn a_clock_that_was_set_makes_no_round_trip() {
        let mut flights = flights(2);
        assert_eq!(flights.reply(1, Some(Wall(0)), at(10)), Verdict::Impossible);
        assert_eq!((flights.set_aside(), flights.set_aside()), (Some(2), None));
        assert_eq!(flights.reply(2, None, at(120)), Verdict::Late(None));
    }

    #[test]
    fn what_was_under_way_when_a_clock_was_set_or_the_machine_slept_is_set_aside() {
        const HOUR: i64 = 3_600_000;
        let asleep = |millis: i64| Now { asleep: Duration::from_millis(50), ..at(millis) };
        let set = |millis: i64, by: i64| Now { wall: at(millis + by).wall, ..at(millis) };
        for (later, by, fault) in [
            (set(610, HOUR), HOUR, Fault::ClockSet),
            (set(610, -HOUR), -HOUR, Fault::ClockSet),
            (asleep(610), 0, Fault::HeldUp),
        ] {
            let mut flights = flights(3);
            assert_eq!(flights.observe(at(600)), None);
            assert_eq!(flights.take_overdue(at(600).monotonic), Some((1, None)));
            assert_eq!(flights.observe(later), Some(fault));
            assert_eq!(flights.observe(later), None, "it is told once");
            assert_eq!(
                [flights.set_aside(), flights.set_aside(), flights.set_aside()],
                [Some(2), Some(3), None]
            );
            for number in 1..=3 {
                let stamp = Some(at(620 + by).wall);
                assert_eq!(flights.reply(number, stamp, set(620, by)), Verdict::Late(None), "{number}");
                assert_eq!(flights.took(number, stamp, set(620, by)), None, "nor does an error of it");
            }
            assert_eq!(flights.take_overdue(at(9_000).monotonic), None, "none is lost");
            flights.sent(4, asked(), (at(630).monotonic, set(630, by).wall));
            let reply = flights.reply(4, Some(set(640, by).wall), set(650, by));
            assert_eq!(reply, Verdict::Answered(rtt(10)), "life goes on");
        }
    }

    #[test]
    fn clocks_that_are_trimmed_disturb_nothing() {
        let mut flights = flights(1);
        for millis in 1..500 {
            let trimmed = Wall(at(millis).wall.0 + millis * 500_000);
            assert_eq!(flights.observe(Now { wall: trimmed, ..at(millis) }), None);
        }
    }

    #[test]
    fn what_our_own_side_may_have_lost_is_no_loss() {
        let send = Fault::Send(libc::ENETUNREACH);
        let overdue = |flights: &mut Flights| -> Vec<Option<Fault>> {
            std::iter::from_fn(|| flights.take_overdue(at(9_000).monotonic))
                .map(|(_, excuse)| excuse)
                .collect()
        };
        let mut swamped = flights(3);
        swamped.deaf(Family::V6, Fault::Overflow, at(900).monotonic);
        swamped.deaf(Family::V4, Fault::Overflow, at(150).monotonic);
        assert_eq!(overdue(&mut swamped), [Some(Fault::Overflow), Some(Fault::Overflow), None]);
        let mut broken = flights(3);
        broken.broken(other(), Fault::Send(libc::EPERM), at(900).monotonic);
        broken.broken(them(), send, at(120).monotonic);
        assert_eq!(overdue(&mut broken), [Some(send), Some(send), None], "what was sent later has no excuse");
        let mut answered = flights(1);
        answered.broken(them(), send, at(120).monotonic);
        assert_eq!(answered.reply(1, None, at(130)), Verdict::Answered(rtt(130)), "it was not lost");
    }

    #[test]
    fn errors_are_matched_to_the_echo_they_quote() {
        let flights = flights(3);
        let tag = flights.tag(2, them());
        assert_eq!(flights.quoted(them(), 2, Some((2, tag))), Some(2));
        assert_eq!(flights.quoted(them(), 2, Some((2, tag ^ 1))), None, "forged");
        assert_eq!(flights.quoted(other(), 2, Some((2, tag))), None, "quotes another address");
        assert_eq!(flights.quoted(them(), 3, None), Some(3), "a router that quotes eight bytes");
        assert_eq!(flights.quoted(them(), 4, None), None);
        assert_eq!(flights.took(2, Some(at(140).wall), at(150)), Some(rtt(40)));
    }

    #[test]
    fn what_is_over_is_forgotten_some_time() {
        let mut flights = flights(0);
        let all = MOST_REMEMBERED as u64 + 10;
        for number in 0..all {
            flights.sent(number, asked(), (at(0).monotonic, at(0).wall));
            flights.reply(number, None, at(1));
        }
        assert_eq!(flights.flights.len(), MOST_REMEMBERED);
        assert_eq!(flights.reply(0, None, at(2)), Verdict::Late(None));
        assert!(flights.deadlines.len() as u64 <= all);
        flights.next_deadline();
        assert!(flights.deadlines.is_empty());
    }
}
