//! When each ping is due, what became of it, and when a round is done. Pure: it is told the time and what was heard.
//!
//! A round of a target lies between two boundaries of its step on the wall clock, and its pings are spread evenly over
//! it, behind a phase that the target's name decides. Everything else runs on the monotonic clock, to which a boundary
//! is converted when its round is opened.
//!
//! All targets hang on one heap by the time of their next event. An entry may be early, since answers make timeouts
//! pointless; what is on top is checked before anybody is woken for it, and then whatever falls due within the pace's
//! `collect` is left to the same wake-up. So a packet costs no search, no allocation and no wake-up of its own.
//!
//! Where more is due than the pace lets out, or than is usual because we were held up, targets queue up and leave in the
//! order they were due.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::blame::Overflowed;
use super::clock::{Clocks, Monotonic, Now, Wall};
use super::course::{Circumstances, Course, Event, Number, Quoted, Request, Verdict};
use super::icmp::{Family, Reason};
use super::meter::Meter;
use super::uplink::Uplink;
use super::uplink::line::{Chore, Line, News};
use super::uplink::ways::Lay;
use super::{Pace, TargetSettings, usual_rate};
use crate::round::{Fault, Round};

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Send this echo, then tell of it by [`Schedule::sent`] or [`Schedule::failed`].
    Send(Request),
    /// A ping is about to be lost: hand in what the sockets hold, then say so by [`Schedule::heard`].
    Listen,
    /// Many rounds are done: take them, before there are more.
    HandOver,
    /// Nothing until then, unless a reply comes.
    Wait(Monotonic),
}

/// How the clocks moved against each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Jump {
    /// The wall clock was set by so many nanoseconds, forward or back.
    Set(i64),
    /// The machine slept so long.
    Slept(Duration),
}

/// See the module.
pub(super) struct Schedule {
    courses: Vec<Course>,
    /// For each target the time of its next event, or an earlier one. An entry that is not its target's
    /// [`Course::scheduled`] was overtaken by an earlier one, and is passed over.
    agenda: BinaryHeap<Reverse<(Monotonic, u32)>>,
    /// Targets with a ping that is due and has to wait, in the order they began to.
    held: VecDeque<u32>,
    /// Whether any had to, by what the settings allow, since that was last asked.
    was_held: bool,
    finished: VecDeque<(u32, Round)>,
    collect: Duration,
    meter: Meter,
    in_flight: u32,
    clocks: Clocks,
    heard: Monotonic,
    overflowed: Overflowed,
    /// Our own uplink.
    line: Line,
}

impl Schedule {
    /// The schedule of `targets`, which joins the rounds that are running now; `known` are anchors that answered before.
    pub(super) fn new(targets: &[TargetSettings], pace: &Pace, known: &[IpAddr], now: Now) -> Self {
        let clocks = Clocks::new(now);
        let mut courses: Vec<Course> =
            targets.iter().zip(0..).map(|(it, index)| Course::new(it, index)).collect();
        for course in &mut courses {
            course.join(now, &clocks, Fault::NotRunning);
        }
        let mut schedule = Self {
            courses,
            agenda: BinaryHeap::with_capacity(targets.len()),
            held: VecDeque::new(),
            was_held: false,
            finished: VecDeque::new(),
            collect: pace.collect,
            meter: Meter::new(pace, usual_rate(targets)),
            in_flight: 0,
            clocks,
            heard: Monotonic::LONG_AGO,
            overflowed: Overflowed::NEVER,
            line: Line::new(now.monotonic, known.to_vec()),
        };
        schedule.call_all(now.monotonic);
        schedule
    }

    /// What is to be done at `now`. To be asked until it says to wait.
    pub(super) fn poll(&mut self, now: Monotonic) -> Action {
        loop {
            if self.finished.len() >= MANY_ROUNDS {
                return Action::HandOver;
            }
            if self.line.next() <= now
                && let Some(action) = self.poll_line(now)
            {
                return action;
            }
            let room = self.meter.has_room(now, self.in_flight);
            let action = match self.held.front() {
                Some(&index) if room => self.poll_held(index, now),
                held => {
                    let room = room && held.is_none();
                    self.poll_agenda(now, room)
                }
            };
            if let Some(action) = action {
                return action;
            }
        }
    }

    /// The echo leaves, and this was read right before.
    pub(super) fn sent(&mut self, number: Number, at: Wall) {
        if let Some(course) = self.courses.get_mut(number.target as usize) {
            course.sent(number.ping, at);
        }
    }

    /// The kernel says when the echo left. To be told before its reply is handed in.
    pub(super) fn stamped(&mut self, number: Number, at: Wall) {
        if let Some(course) = self.courses.get_mut(number.target as usize) {
            course.stamped(number.ping, at);
        }
    }

    /// The echo did not go out.
    pub(super) fn failed(&mut self, number: Number, fault: Fault, now: Monotonic) {
        if Line::is_anchors(number) {
            return self.line.failed(number, fault);
        }
        self.settle(number, now, |course, _| course.failed(number.ping, fault, now));
    }

    /// Somebody on the way says why the ping of a target that he quotes was not answered; true where it is of an open round.
    pub(super) fn says(&mut self, target: u32, quoted: Quoted, reason: Reason, from: IpAddr) -> bool {
        self.courses.get_mut(target as usize).is_some_and(|course| course.says(quoted, reason, from))
    }

    /// Everything that came in until `until` has been handed in.
    pub(super) fn heard(&mut self, until: Monotonic) {
        self.heard = until;
    }

    /// A receive buffer was found to have overflowed some time before `now`: what is under way may have been answered.
    pub(super) fn overflowed(&mut self, family: Family, now: Monotonic) {
        self.overflowed.note(family, now);
        self.line.give_up();
    }

    /// A reply came that proved to be ours, with the kernel's stamp if it has one; `now` was read after it was received,
    /// and has been through [`Schedule::observe`].
    pub(super) fn on_reply(
        &mut self,
        number: Number,
        from: IpAddr,
        stamp: Option<Wall>,
        now: Now,
    ) -> Verdict {
        let clocks = self.clocks;
        let at = stamp.map_or(now.monotonic, |stamp| clocks.monotonic(stamp).min(now.monotonic));
        if Line::is_anchors(number) {
            return self.line.on_reply(number, from, at);
        }
        self.settle(number, now.monotonic, |course, line| {
            let (verdict, sent) = course.on_reply(number.ping, from, stamp, now.wall);
            if matches!(verdict, Verdict::Answered { .. } | Verdict::Late) {
                line.heard(course.reach, at, sent.map(|sent| clocks.monotonic(sent)));
            }
            verdict
        })
        .unwrap_or(Verdict::Late)
    }

    /// Whom a ping asked, while its round is open.
    pub(super) fn asked(&self, number: Number) -> Option<IpAddr> {
        if Line::is_anchors(number) {
            return self.line.asked(number);
        }
        self.courses.get(number.target as usize)?.asked(number.ping)
    }

    /// The address of a target, from its next round on; from now on where it had none.
    pub(super) fn set_address(&mut self, target: u32, address: SocketAddr) {
        if let Some(course) = self.courses.get_mut(target as usize) {
            course.set_address(address);
        }
    }

    /// From now on the targets are so far, and these are the anchors.
    pub(super) fn lay(&mut self, lay: &Lay, now: Monotonic) {
        for ((course, reach), gateway) in self.courses.iter_mut().zip(&lay.reaches).zip(&lay.gateways) {
            course.lay(*reach, *gateway);
        }
        self.line.lay(&lay.anchors, lay.cut.clone(), now);
    }

    /// A change of our own uplink that people are to be told.
    pub(super) fn take_news(&mut self) -> Option<News> {
        self.line.take_news()
    }

    /// Nobody took it: it comes again, if it is still of any use.
    pub(super) fn put_back(&mut self, news: News) {
        self.line.put_back(news);
    }

    /// The same by the wall clock.
    pub(super) fn told(&self, news: &News) -> Uplink {
        let time = |at: &Monotonic| self.clocks.wall(*at).into();
        match news {
            News::Offline { since, why } => Uplink::Offline { since: time(since), why: why.clone() },
            News::Online { since, at } => Uplink::Online { since: since.as_ref().map(time), at: time(at) },
            News::Anchors(anchors) => Uplink::Anchors(anchors.clone()),
        }
    }

    /// Compares the clocks. Pings under way when they moved against each other are unknown, since their stamps cannot be
    /// compared; when they moved far, the rounds are laid out anew on the boundaries as they lie now.
    pub(super) fn observe(&mut self, now: Now) -> Option<Jump> {
        let clocks = Clocks::new(now);
        let moved = clocks.offset.saturating_sub(self.clocks.offset);
        let slept = clocks.asleep.saturating_sub(self.clocks.asleep);
        let jump = if slept > FAR {
            Jump::Slept(slept)
        } else if moved.unsigned_abs() > STILL.as_nanos() as u64 {
            Jump::Set(moved)
        } else {
            return None;
        };
        let fault = match jump {
            Jump::Set(_) => Fault::ClockSet,
            Jump::Slept(_) => Fault::HeldUp,
        };
        self.clocks = clocks;
        for course in &mut self.courses {
            course.give_up(fault);
            if moved.unsigned_abs() > FAR.as_nanos() as u64 {
                course.realign(now, &clocks, fault);
            }
        }
        self.in_flight = 0;
        self.line.give_up();
        self.call_all(now.monotonic);
        Some(jump)
    }

    /// Whether an echo had to wait, since this was last asked, because the settings allow no more.
    pub(super) fn was_held(&mut self) -> bool {
        std::mem::take(&mut self.was_held)
    }

    /// The next round that is done, and its target's place in the settings.
    pub(super) fn take_round(&mut self) -> Option<(u32, Round)> {
        self.finished.pop_front()
    }

    /// Asks the anchors; when that says that our own uplink is down, all targets are looked at anew.
    fn poll_line(&mut self, now: Monotonic) -> Option<Action> {
        let chore = self.line.poll(now, self.heard);
        if self.line.has_begun() {
            self.courses.iter_mut().for_each(|course| course.excuse(&self.line));
            self.call_all(now);
        }
        chore.map(|chore| match chore {
            Chore::Send(request) => Action::Send(request),
            Chore::Listen => Action::Listen,
        })
    }

    /// Looks at the target that has waited longest, which there is room for now.
    fn poll_held(&mut self, index: u32, now: Monotonic) -> Option<Action> {
        let (action, next) = match self.advance(index, now, true) {
            Event::Listen => return Some(Action::Listen),
            Event::Send(request) => (Some(Action::Send(request)), now),
            Event::None(next) | Event::Held(next) => (None, next),
        };
        self.held.pop_front();
        let course = &mut self.courses[index as usize];
        course.held = false;
        if next < course.scheduled {
            course.scheduled = next;
            self.agenda.push(Reverse((next, index)));
        }
        action
    }

    /// Looks at the target whose event is next, even where that is not yet due: it may be pointless by now.
    fn poll_agenda(&mut self, now: Monotonic, room: bool) -> Option<Action> {
        let Some(Reverse((at, index))) = self.agenda.peek().copied() else {
            return Some(self.wait(Monotonic::NEVER));
        };
        if at != self.courses[index as usize].scheduled {
            self.agenda.pop();
            return None;
        }
        let next = match self.advance(index, now, room) {
            Event::Send(request) => return Some(Action::Send(request)),
            Event::Listen => return Some(Action::Listen),
            Event::None(next) => next,
            Event::Held(next) => {
                let course = &mut self.courses[index as usize];
                if !std::mem::replace(&mut course.held, true) {
                    self.held.push_back(index);
                    self.was_held |= self.meter.is_exhausted(now, self.in_flight);
                }
                next
            }
        };
        if next == at {
            return Some(self.wait(at));
        }
        self.courses[index as usize].scheduled = next;
        if let Some(mut top) = self.agenda.peek_mut() {
            *top = Reverse((next, index));
        }
        None
    }

    fn wait(&self, next: Monotonic) -> Action {
        let room = if self.held.is_empty() { Monotonic::NEVER } else { self.meter.next(self.in_flight) };
        Action::Wait(next.min(self.line.next()).plus(self.collect).min(room))
    }

    fn advance(&mut self, index: u32, now: Monotonic, room: bool) -> Event {
        let it_is = Circumstances {
            now,
            heard: self.heard,
            clocks: &self.clocks,
            overflowed: self.overflowed,
            line: &self.line,
            room,
            collect: self.collect,
        };
        let course = &mut self.courses[index as usize];
        let others = self.in_flight - course.in_flight;
        let event = course.advance(it_is, &mut self.finished);
        self.in_flight = others + course.in_flight;
        if let Some(over) = course.missed.take() {
            self.line.missed(over);
        }
        if let Event::Send(_) = event {
            self.meter.count(now);
        }
        event
    }

    /// Does something to a course that may settle a ping. The last ping of a round brings the round's end forward, or
    /// finishes it at once.
    fn settle<T>(
        &mut self,
        number: Number,
        now: Monotonic,
        with: impl FnOnce(&mut Course, &mut Line) -> T,
    ) -> Option<T> {
        let course = self.courses.get_mut(number.target as usize)?;
        let others = self.in_flight - course.in_flight;
        let outcome = with(course, &mut self.line);
        self.in_flight = others + course.in_flight;
        let next = course.finish(now, &self.line, &mut self.finished);
        if next < course.scheduled {
            course.scheduled = next;
            self.agenda.push(Reverse((next, number.target)));
        }
        Some(outcome)
    }

    /// Puts every target on the agenda for now.
    fn call_all(&mut self, now: Monotonic) {
        self.agenda.clear();
        for (course, index) in self.courses.iter_mut().zip(0..) {
            course.scheduled = now;
            self.agenda.push(Reverse((now, index)));
        }
    }
}

/// So many finished rounds are handed over before anything else is done.
const MANY_ROUNDS: usize = 1_024;
/// The wall clock and the monotonic one are slewed together, so their difference moves only when the wall clock is set.
/// Below this it is the uncertainty of reading both, and of no account for a round trip.
const STILL: Duration = Duration::from_millis(1);
/// When the wall clock was set by more than this the rounds are laid out anew at once; by less, the next round begins so
/// much earlier or later. Every time daemon steps only above this (ntpd 128 ms, timesyncd 400 ms) and slews below.
const FAR: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests;
