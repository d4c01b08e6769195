//! How the rounds of a course lie in time: when each begins and ends, and when each of its pings is due.

use std::time::Duration;

use siphasher::sip::SipHasher24;

use super::Course;
use crate::probe::clock::{Clocks, Monotonic, Now};
use crate::probe::open_round::{OpenRound, Slot};
use crate::round::{Fault, Ping};
use crate::time::{Step, UnixTime};

impl Course {
    /// Opens the round that is running now; what was due before is unknown, by `fault`. Where that is all of it, the next
    /// round is the first.
    pub(in crate::probe) fn join(&mut self, now: Now, clocks: &Clocks, fault: Fault) {
        self.open(self.step.boundary_before(clocks.wall(now.monotonic).into()), clocks);
        self.pass_over(now.monotonic, fault);
        if self.rounds.back().is_some_and(|round| round.due == round.slots.len()) {
            self.rounds.pop_back();
        }
    }

    /// Lays the rounds out anew after the wall clock was set. No two rounds may have the same boundaries, so a clock that
    /// was set back by less than a step makes the round longer; by more, there is no way but to begin anew.
    pub(in crate::probe) fn realign(&mut self, now: Now, clocks: &Clocks, fault: Fault) {
        let wall = UnixTime::from(clocks.wall(now.monotonic));
        let newest_start = self.next_start.minus(self.step.duration());
        let newest = self.rounds.back_mut();
        if wall >= self.next_start {
            if let Some(newest) = newest {
                newest.cut(now.monotonic, fault);
            }
            self.join(now, clocks, fault);
        } else if wall > newest_start.minus(self.step.duration()) {
            if let Some(newest) = newest {
                newest.began = clocks.monotonic(newest.start.into());
                newest.ends = clocks.monotonic(newest.end.into());
                self.pass_over(now.monotonic, fault);
            }
        } else {
            self.rounds.pop_back();
            self.join(now, clocks, fault);
        }
    }

    /// When the next ping is due, in the open round or in the next one.
    pub(super) fn next_due(&self, clocks: &Clocks) -> Monotonic {
        match self.rounds.back() {
            Some(round) if round.due < round.slots.len() => self.due(round, round.due),
            _ => clocks.monotonic(self.next_start.into()).plus(self.phase),
        }
    }

    /// When the ping at `place` of a round is due.
    pub(super) fn due(&self, round: &OpenRound, place: usize) -> Monotonic {
        round.began.plus(self.phase).plus(spread(self.step, place as u32, self.pings))
    }

    pub(super) fn open(&mut self, start: UnixTime, clocks: &Clocks) {
        let end = start.plus(self.step.duration());
        self.rounds.push_back(OpenRound {
            start,
            end,
            began: clocks.monotonic(start.into()),
            ends: clocks.monotonic(end.into()),
            address: self.address,
            first: self.next_ping,
            slots: vec![Slot::NotDue; usize::from(self.pings)],
            due: 0,
            settled: 0,
            unsettled: usize::from(self.pings),
            newest_loss: None,
            says: None,
        });
        self.next_ping = self.next_ping.wrapping_add(u32::from(self.pings));
        self.next_start = end;
    }

    /// Declares the pings of the newest round that were due before `now` unknown.
    pub(super) fn pass_over(&mut self, now: Monotonic, fault: Fault) {
        while let Some(round) = self.rounds.back()
            && round.due < round.slots.len()
            && self.due(round, round.due) < now
            && let Some(round) = self.rounds.back_mut()
        {
            round.due += 1;
            round.settle(round.due - 1, Ping::Unknown(fault));
        }
    }
}

/// How long after the first ping of a round the ping at `place` is due.
pub(super) fn spread(step: Step, place: u32, pings: u16) -> Duration {
    // At most 2^16 times 136 years, which a duration holds.
    step.duration() * place / u32::from(pings)
}

/// Where in a ping's share of the step a target's pings lie. Its name decides, so targets are spread against each other
/// and keep their places when the monitor starts anew.
pub(super) fn phase(name: &str, step: Step, pings: u16) -> Duration {
    let hash = SipHasher24::new().hash(name.as_bytes());
    let share = spread(step, 1, pings).as_nanos() as u64;
    Duration::from_nanos(((u128::from(hash) * u128::from(share)) >> 64) as u64)
}
