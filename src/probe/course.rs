//! One target's course: its open rounds, and what became of each of their pings. Part of the schedule, and as pure.

mod layout;

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use self::layout::{phase, spread};
use super::TargetSettings;
use super::blame::{Overflowed, OwnSide};
use super::clock::{Clocks, Monotonic, Wall};
use super::icmp::{Family, Reason};
use super::open_round::{OpenRound, Slot};
use super::uplink::line::{Line, Reach};
use crate::round::{Fault, Ping, Round, Rtt, Target};
use crate::time::{Step, UnixTime};

/// One target's course.
pub(super) struct Course {
    /// The time of its entry on the agenda.
    pub(super) scheduled: Monotonic,
    /// True while a ping of it is due and others have to leave, or to be answered, before it may.
    pub(super) held: bool,
    /// How many of its pings are under way.
    pub(super) in_flight: u32,
    /// How far it is.
    pub(super) reach: Reach,
    /// Until when the newest ping could be answered that it lost after it had answered the one before, until somebody takes
    /// note of it.
    pub(super) missed: Option<Monotonic>,
    /// Whether the last ping of which that is known was answered; true before there is one.
    answers: bool,
    any_source: bool,
    pings: u16,
    index: u32,
    target: Arc<Target>,
    step: Step,
    timeout: Duration,
    phase: Duration,
    address: Option<SocketAddr>,
    /// Oldest first. Only the last one may have pings that are not due yet.
    rounds: VecDeque<OpenRound>,
    /// The boundary at which the next round begins.
    next_start: UnixTime,
    next_ping: u32,
    own_side: OwnSide,
}

/// What holds for all courses while one of them is looked at.
#[derive(Clone, Copy)]
pub(super) struct Circumstances<'a> {
    pub(super) now: Monotonic,
    /// Until when everything that came in was handed in.
    pub(super) heard: Monotonic,
    pub(super) clocks: &'a Clocks,
    pub(super) overflowed: Overflowed,
    pub(super) line: &'a Line,
    /// Whether one more echo may leave.
    pub(super) room: bool,
    /// How long a ping that is due may be left to be sent with others.
    pub(super) collect: Duration,
}

/// What a course wants next.
pub(super) enum Event {
    /// This echo is due.
    Send(Request),
    /// An echo is due and there is no room for it. Nothing else before this time.
    Held(Monotonic),
    /// A ping is about to be lost, but not all that came in was heard.
    Listen,
    /// Nothing before this time.
    None(Monotonic),
}

/// An echo to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// Which ping it is.
    pub(super) number: Number,
    /// Whom it asks.
    pub(super) to: SocketAddr,
}

/// Which ping of all: the target's place in the settings, and a count of its pings, which wraps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Number {
    /// The target's place in the settings.
    pub(super) target: u32,
    /// Which of its pings.
    pub(super) ping: u32,
}

/// What an ICMP error quotes of the ping that it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quoted {
    /// All of it.
    Ping(u32),
    /// The sequence of its echo alone, which others may have too: the lowest bits.
    Sequence(u16),
}

impl From<Number> for u64 {
    fn from(number: Number) -> Self {
        Self::from(number.target) << 32 | Self::from(number.ping)
    }
}

impl From<u64> for Number {
    fn from(number: u64) -> Self {
        Self { target: (number >> 32) as u32, ping: number as u32 }
    }
}

/// What a reply turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The first in time: it counts. Whether the round trip was measured from the kernel's stamp.
    Answered {
        /// False where the kernel's stamp of the echo never came, and our own had to do.
        by_kernel: bool,
    },
    /// Its ping was answered before.
    Duplicate,
    /// Its ping is settled, or its round is gone.
    Late,
    /// Another address was asked.
    WrongSource,
    /// Its ping was never sent.
    Unasked,
    /// Its stamp contradicts the clocks: the ping is unknown.
    Impossible,
}

impl Course {
    /// The course of the target at place `index` of the settings. It has no round before [`Course::join`].
    pub(super) fn new(settings: &TargetSettings, index: u32) -> Self {
        Self {
            scheduled: Monotonic::NEVER,
            held: false,
            in_flight: 0,
            reach: Reach::Own,
            missed: None,
            answers: true,
            any_source: settings.echo.any_source,
            pings: settings.pings,
            index,
            target: Arc::clone(&settings.target),
            step: settings.step,
            timeout: settings.timeout,
            phase: phase(&settings.target.name, settings.step, settings.pings),
            address: None,
            rounds: VecDeque::new(),
            next_start: UnixTime::from_secs(0),
            next_ping: 0,
            own_side: OwnSide::default(),
        }
    }

    /// Does what time alone decides until an echo is due: declares losses, hands over rounds, opens rounds.
    pub(super) fn advance(
        &mut self,
        it_is: Circumstances<'_>,
        finished: &mut VecDeque<(u32, Round)>,
    ) -> Event {
        let Circumstances { now, heard, clocks, line, .. } = it_is;
        loop {
            let deadline =
                self.first_waiting(clocks).map_or(Monotonic::NEVER, |(_, sent)| sent.plus(self.timeout));
            if deadline <= now {
                if deadline > heard {
                    return Event::Listen;
                }
                self.lose_first(it_is);
                continue;
            }
            let end = self.finish(now, line, finished);
            let due = self.next_due(clocks);
            if due > now {
                return Event::None(deadline.min(end).min(due));
            }
            match self.take_due(due, it_is) {
                Due::Send(request) => return Event::Send(request),
                Due::Held => {
                    let too_late = due.plus(self.patience(true, it_is.collect));
                    return Event::Held(deadline.min(end).min(too_late));
                }
                Due::Settled => {}
            }
        }
    }

    /// The echo leaves, and this was read right before.
    pub(super) fn sent(&mut self, ping: u32, at: Wall) {
        if let Some((round, place)) = self.find(ping)
            && let Slot::Sent(stamp) = &mut round.slots[place]
        {
            *stamp = at;
        }
    }

    /// The kernel says when the echo left.
    pub(super) fn stamped(&mut self, ping: u32, at: Wall) {
        if let Some((round, place)) = self.find(ping)
            && let Slot::Sent(sent) = round.slots[place]
            && at.plus(SLACK) >= sent
        {
            round.slots[place] = Slot::Left(at);
            self.own_side.stamped();
        }
    }

    /// The echo did not go out. What broke may have taken those under way along, and the one before may have been
    /// declared lost already, if it was sent not much earlier. One that was answered too late was not taken.
    pub(super) fn failed(&mut self, ping: u32, fault: Fault, now: Monotonic) {
        let Some((round, place)) = self.find(ping) else { return };
        if round.slots[place].stamp().is_none() {
            return;
        }
        round.settle(place, Ping::Unknown(fault));
        self.in_flight -= 1;
        self.own_side.refused(fault, now);
        let reach = self.timeout + UNNOTICED;
        if let Some((round, place)) = self.find(ping.wrapping_sub(1))
            && let Slot::Lost(sent) = round.slots[place]
            && now.since(sent) <= reach
        {
            round.slots[place] = Slot::Settled(Ping::Unknown(fault));
        }
    }

    /// Somebody on the way says why the ping that he quotes was not answered; true where it is of an open round.
    pub(super) fn says(&mut self, quoted: Quoted, reason: Reason, from: IpAddr) -> bool {
        if reason.is_host_unreachable() {
            self.own_side.found_nobody();
        }
        let round = match quoted {
            Quoted::Ping(ping) => self.find(ping).map(|(round, _)| round),
            Quoted::Sequence(sequence) => self.rounds.iter_mut().find(|round| round.misses(sequence)),
        };
        round.map(|round| round.says = Some((reason, from))).is_some()
    }

    /// See [`super::schedule::Schedule::on_reply`]; also when the ping was sent, if it is answered by this.
    pub(super) fn on_reply(
        &mut self,
        ping: u32,
        from: IpAddr,
        received: Option<Wall>,
        now: Wall,
    ) -> (Verdict, Option<Wall>) {
        let (timeout, any_source) = (self.timeout, self.any_source);
        let Some((round, place)) = self.find(ping) else { return (Verdict::Late, None) };
        if !any_source && round.address.is_none_or(|address| address.ip() != from) {
            return (Verdict::WrongSource, None);
        }
        let (stamp, by_kernel) = match round.slots[place] {
            Slot::NotDue => return (Verdict::Unasked, None),
            Slot::Settled(Ping::Answered(_)) => return (Verdict::Duplicate, None),
            Slot::Lost(_) | Slot::Settled(Ping::Lost | Ping::Unknown(_)) => return (Verdict::Late, None),
            Slot::Sent(stamp) => (stamp, false),
            Slot::Left(stamp) => (stamp, true),
        };
        let rtt = match received {
            Some(received) => received.since(stamp).filter(|_| received <= now.plus(SLACK)),
            None => now.since(stamp),
        };
        let (ping, verdict) = match rtt {
            None => (Ping::Unknown(Fault::ClockSet), Verdict::Impossible),
            Some(rtt) if rtt > timeout => (Ping::Lost, Verdict::Late),
            Some(rtt) => (Ping::Answered(Rtt::new(rtt)), Verdict::Answered { by_kernel }),
        };
        round.settle(place, ping);
        self.in_flight -= 1;
        let sent = matches!(verdict, Verdict::Answered { .. }).then_some(stamp);
        self.answers |= sent.is_some();
        (verdict, sent)
    }

    /// Whom a ping asked, while its round is open.
    pub(super) fn asked(&self, ping: u32) -> Option<IpAddr> {
        let round = self.rounds.iter().find(|round| round.place(ping).is_some())?;
        round.address.map(|address| address.ip())
    }

    /// From now on it is so far, behind a gateway that is reached by the interface of this number, or behind none.
    pub(super) fn lay(&mut self, reach: Reach, gateway: Option<u32>) {
        self.reach = reach;
        self.own_side.lay(gateway);
    }

    /// The address for the next round, and for the open one where that has none.
    pub(super) fn set_address(&mut self, address: SocketAddr) {
        self.address = Some(address);
        if let Some(newest) = self.rounds.back_mut() {
            newest.address.get_or_insert(address);
        }
    }

    /// Declares the pings under way unknown.
    pub(super) fn give_up(&mut self, fault: Fault) {
        for round in &mut self.rounds {
            for place in round.settled..round.due {
                if round.slots[place].stamp().is_some() {
                    round.settle(place, Ping::Unknown(fault));
                }
            }
        }
        self.in_flight = 0;
    }

    /// An outage of our own uplink has come out: what it took is no loss.
    pub(super) fn excuse(&mut self, line: &Line) {
        for round in &mut self.rounds {
            round.excuse(|sent| line.took(self.reach, sent, self.timeout));
        }
    }

    /// Hands over the rounds that are done, in their order; returns when the first one left ends, if that is all it
    /// waits for. One with losses also waits until it is clear that those are not our own uplink's.
    pub(super) fn finish(
        &mut self,
        now: Monotonic,
        line: &Line,
        finished: &mut VecDeque<(u32, Round)>,
    ) -> Monotonic {
        while let Some(front) = self.rounds.front() {
            if front.unsettled > 0 {
                return Monotonic::NEVER;
            }
            if front.ends > now {
                return front.ends;
            }
            let undecided =
                front.newest_loss.and_then(|sent| line.undecided(self.reach, sent, self.timeout, now));
            if let Some(until) = undecided {
                return until;
            }
            if let Some(round) = self.rounds.pop_front() {
                finished.push_back((self.index, round.close(Arc::clone(&self.target))));
            }
        }
        Monotonic::NEVER
    }

    /// Lets the count of pings wrap in the next round.
    #[cfg(test)]
    pub(super) fn wrap_soon(&mut self) {
        self.next_ping = 0u32.wrapping_sub(u32::from(self.pings) / 2);
    }

    /// Takes the ping that is due: opens its round where that is still to be done, and gives the echo to send unless its
    /// time is past, there is nowhere to send it, or no room.
    fn take_due(&mut self, due: Monotonic, it_is: Circumstances<'_>) -> Due {
        let Circumstances { now, clocks, room, collect, .. } = it_is;
        let held_up = now.since(due) >= self.patience(self.held, collect);
        let index = self.index;
        let Some(round) = self.rounds.back_mut().filter(|round| round.due < round.slots.len()) else {
            // Rounds that were missed as a whole are not made up for.
            let running = self.step.boundary_before(clocks.wall(now).into());
            self.open(self.next_start.max(running), clocks);
            return Due::Settled;
        };
        let to = match round.address {
            _ if held_up => Err(Fault::HeldUp),
            None => Err(Fault::NoAddress),
            Some(_) if !room => return Due::Held,
            Some(to) => Ok(to),
        };
        let place = round.due;
        round.due += 1;
        match to {
            Err(fault) => {
                round.settle(place, Ping::Unknown(fault));
                Due::Settled
            }
            Ok(to) => {
                round.slots[place] = Slot::Sent(clocks.wall(now));
                self.in_flight += 1;
                let ping = round.first.wrapping_add(place as u32);
                Due::Send(Request { number: Number { target: index, ping }, to })
            }
        }
    }

    /// How late a ping is past sending: when the target's next one is due, so that no more than one of it is made up for.
    /// Where the monitor was held up, it is a second at the most; where others had to leave before it, it has all its share.
    /// Less than [`LEAST_PATIENCE`] a busy machine takes to wake us.
    fn patience(&self, held: bool, collect: Duration) -> Duration {
        let share = spread(self.step, 1, self.pings);
        let longest = if held { share } else { share.min(SHORT_STALL) };
        longest.max(LEAST_PATIENCE).max(2 * collect)
    }

    /// The ping that has waited longest, and when it was sent: they are sent in order and all wait equally long.
    fn first_waiting(&mut self, clocks: &Clocks) -> Option<((usize, usize), Monotonic)> {
        self.rounds.iter_mut().enumerate().find_map(|(index, round)| {
            let (place, stamp) = round.first_waiting()?;
            Some(((index, place), clocks.monotonic(stamp)))
        })
    }

    fn lose_first(&mut self, it_is: Circumstances<'_>) {
        let Some(((index, place), sent)) = self.first_waiting(it_is.clocks) else { return };
        let round = &mut self.rounds[index];
        let swamped = round.address.is_some_and(|to| it_is.overflowed.since(sent, Family::of(to.ip())));
        let held_back = self.own_side.held_back(matches!(round.slots[place], Slot::Left(_)));
        self.in_flight -= 1;
        let fault = swamped
            .then_some(Fault::Overflow)
            .or_else(|| self.own_side.broke_since(sent))
            .or_else(|| it_is.line.took(self.reach, sent, self.timeout).then_some(Fault::Offline));
        match fault.or(held_back.then_some(Fault::NeverLeft)) {
            Some(fault) => round.settle(place, Ping::Unknown(fault)),
            None => round.lose(place, sent),
        }
        // A gateway that nobody answers for holds echoes back too.
        if fault.is_none() && std::mem::take(&mut self.answers) && self.reach == Reach::Far {
            self.missed = Some(sent.plus(self.timeout));
        }
    }

    fn find(&mut self, ping: u32) -> Option<(&mut OpenRound, usize)> {
        self.rounds.iter_mut().find_map(|round| {
            let place = round.place(ping)?;
            Some((round, place))
        })
    }
}

/// What became of a ping that is due.
enum Due {
    /// It is to be sent.
    Send(Request),
    /// It has to wait.
    Held,
    /// Its time is past, or there is nobody to send it to; or its round was only just opened.
    Settled,
}

/// How late a ping may be sent where the monitor was held up, and for how long that hides no ping of a busy target.
const SHORT_STALL: Duration = Duration::from_secs(1);
const LEAST_PATIENCE: Duration = Duration::from_millis(100);

/// For how long a network that is gone still takes echoes: who manages an interface gives its carrier some seconds to come
/// back (NetworkManager four) before it takes the routes away. One that is lost earlier was lost without that.
const UNNOTICED: Duration = Duration::from_secs(5);

/// By how much a stamp may lie ahead of another that was read before it: what the clocks may move unnoticed.
const SLACK: Duration = Duration::from_millis(1);
