//! When each ping is due, what became of it, and when a round is done. Pure: it is told the time and what was heard.
//!
//! A round of a target lies between two boundaries of its step on the wall clock, and its pings are spread evenly over
//! it, behind a phase that the target's name decides. Everything else runs on the monotonic clock, to which a boundary
//! is converted when its round is opened.
//!
//! All targets hang on one heap by the time of their next event. An entry may be early, since answers make timeouts
//! pointless; what is on top is checked before anybody is woken for it. So a packet costs no search, no allocation and
//! no wake-up beside its own.

use std::cmp::Reverse;
use std::collections::binary_heap::PeekMut;
use std::collections::{BinaryHeap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::TargetSettings;
use super::clock::{Clocks, Monotonic, Now, Wall};
use super::course::{Course, Event, Number, Overflowed, Request, Verdict};
use super::icmp::Family;
use crate::round::{Fault, Round};

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Send this echo, then tell of it by [`Schedule::sent`] or [`Schedule::failed`].
    Send(Request),
    /// A ping is about to be lost: hand in what the sockets hold, then say so by [`Schedule::heard`].
    Listen,
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
    finished: VecDeque<(u32, Round)>,
    clocks: Clocks,
    heard: Monotonic,
    overflowed: Overflowed,
}

impl Schedule {
    /// The schedule of `targets`, which joins the rounds that are running now.
    pub(super) fn new(targets: &[TargetSettings], now: Now) -> Self {
        let clocks = Clocks::new(now);
        let mut courses: Vec<Course> =
            targets.iter().zip(0..).map(|(it, index)| Course::new(it, index)).collect();
        for course in &mut courses {
            course.join(now, &clocks, Fault::NotRunning);
        }
        let mut schedule = Self {
            courses,
            agenda: BinaryHeap::with_capacity(targets.len()),
            finished: VecDeque::new(),
            clocks,
            heard: Monotonic::LONG_AGO,
            overflowed: Overflowed::NEVER,
        };
        schedule.call_all(now.monotonic);
        schedule
    }

    /// What is to be done at `now`. To be asked until it says to wait.
    pub(super) fn poll(&mut self, now: Monotonic) -> Action {
        while let Some(mut top) = self.agenda.peek_mut() {
            let Reverse((at, index)) = *top;
            let course = &mut self.courses[index as usize];
            if at != course.scheduled {
                PeekMut::pop(top);
                continue;
            }
            match course.advance(now, self.heard, &self.clocks, self.overflowed, &mut self.finished) {
                Event::Send(request) => return Action::Send(request),
                Event::Listen => return Action::Listen,
                Event::None(next) if next == at => return Action::Wait(at),
                Event::None(next) => {
                    course.scheduled = next;
                    *top = Reverse((next, index));
                }
            }
        }
        Action::Wait(Monotonic::NEVER)
    }

    /// The echo went out at this time by both clocks, read right before.
    pub(super) fn sent(&mut self, number: Number, monotonic: Monotonic, wall: Wall) {
        if let Some(course) = self.courses.get_mut(number.target as usize) {
            course.sent(number.ping, monotonic, wall);
        }
    }

    /// The kernel's own stamp of an echo, better than that of [`Schedule::sent`].
    pub(super) fn stamped(&mut self, number: Number, at: Wall) {
        if let Some(course) = self.courses.get_mut(number.target as usize) {
            course.stamped(number.ping, at);
        }
    }

    /// The echo did not go out.
    pub(super) fn failed(&mut self, number: Number, fault: Fault, now: Monotonic) {
        self.settle(number, now, |course| course.failed(number.ping, fault));
    }

    /// Everything that came in until `until` has been handed in.
    pub(super) fn heard(&mut self, until: Monotonic) {
        self.heard = until;
    }

    /// A receive buffer was found to have overflowed some time before `now`: what is under way may have been answered.
    pub(super) fn overflowed(&mut self, family: Family, now: Monotonic) {
        self.overflowed.note(family, now);
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
        self.settle(number, now.monotonic, |course| course.on_reply(number.ping, from, stamp, now))
            .unwrap_or(Verdict::Late)
    }

    /// Whom a ping asked, while its round is open.
    pub(super) fn asked(&self, number: Number) -> Option<IpAddr> {
        self.courses.get(number.target as usize)?.asked(number.ping)
    }

    /// The address of a target, from its next round on; from now on where it had none.
    pub(super) fn set_address(&mut self, target: u32, address: SocketAddr) {
        if let Some(course) = self.courses.get_mut(target as usize) {
            course.set_address(address);
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
        self.call_all(now.monotonic);
        Some(jump)
    }

    /// The next round that is done, and its target's place in the settings.
    pub(super) fn take_round(&mut self) -> Option<(u32, Round)> {
        self.finished.pop_front()
    }

    /// Does something to a course that may settle a ping. The last ping of a round brings the round's end forward, or
    /// finishes it at once.
    fn settle<T>(
        &mut self,
        number: Number,
        now: Monotonic,
        with: impl FnOnce(&mut Course) -> T,
    ) -> Option<T> {
        let course = self.courses.get_mut(number.target as usize)?;
        let outcome = with(course);
        let next = course.finish(now, &mut self.finished);
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

/// The wall clock and the monotonic one are slewed together, so their difference moves only when the wall clock is set.
/// Below this it is the uncertainty of reading both, and of no account for a round trip.
const STILL: Duration = Duration::from_millis(1);
/// When the wall clock was set by more than this the rounds are laid out anew at once; by less, the next round begins so
/// much earlier or later. Every time daemon steps only above this (ntpd 128 ms, timesyncd 400 ms) and slews below.
const FAR: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests;
