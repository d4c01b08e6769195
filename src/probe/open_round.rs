//! A round that is not handed over yet, ping by ping. Part of the schedule, and as pure.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::clock::{Monotonic, Wall};
use super::icmp::Reason;
use crate::round::{Fault, Ping, Round, Says, Target};
use crate::time::UnixTime;

/// A round that is not handed over yet.
pub(super) struct OpenRound {
    /// Its boundaries.
    pub(super) start: UnixTime,
    pub(super) end: UnixTime,
    /// The same on the monotonic clock.
    pub(super) began: Monotonic,
    pub(super) ends: Monotonic,
    /// Whom its pings ask.
    pub(super) address: Option<SocketAddr>,
    /// The count of its first ping; the others follow, and may wrap.
    pub(super) first: u32,
    /// What became of each ping.
    pub(super) slots: Vec<Slot>,
    /// How many of its pings have been due.
    pub(super) due: usize,
    /// All before this one are settled.
    pub(super) settled: usize,
    /// How many are not.
    pub(super) unsettled: usize,
    /// When the newest of its lost pings was sent.
    pub(super) newest_loss: Option<Monotonic>,
    /// What somebody on the way said of its pings last.
    pub(super) says: Option<(Reason, IpAddr)>,
}

/// What became of a ping so far. There are millions of these: a test holds it to 16 bytes. That a ping under way has one
/// stamp only is enough, since the wall clock and the monotonic one go together until the schedule
/// gives up what is under way.
#[derive(Clone, Copy)]
pub(super) enum Slot {
    /// Its time has not come.
    NotDue,
    /// It was handed to the kernel right after.
    Sent(Wall),
    /// It left, says the kernel.
    Left(Wall),
    /// It was sent then, and no reply came in time: it is lost, unless that was our own uplink's doing.
    Lost(Monotonic),
    /// This is its result.
    Settled(Ping),
}

impl Slot {
    /// When it went out, while it is under way.
    pub(super) fn stamp(self) -> Option<Wall> {
        match self {
            Self::Sent(at) | Self::Left(at) => Some(at),
            Self::NotDue | Self::Lost(_) | Self::Settled(_) => None,
        }
    }
}

impl OpenRound {
    /// Where a ping stands in it, by its count.
    pub(super) fn place(&self, ping: u32) -> Option<usize> {
        let place = ping.wrapping_sub(self.first) as usize;
        (place < self.slots.len()).then_some(place)
    }

    /// Whether an echo with this sequence, the lowest bits of its ping's count, was sent in it and not answered.
    pub(super) fn misses(&self, sequence: u16) -> bool {
        let place = usize::from(sequence.wrapping_sub(self.first as u16));
        self.slots[..self.due].get(place).is_some_and(|slot| match slot {
            Slot::Sent(_) | Slot::Left(_) | Slot::Lost(_) | Slot::Settled(Ping::Lost) => true,
            Slot::NotDue | Slot::Settled(Ping::Answered(_) | Ping::Unknown(_)) => false,
        })
    }

    /// Notes the result of a ping that had none.
    pub(super) fn settle(&mut self, place: usize, ping: Ping) {
        self.slots[place] = Slot::Settled(ping);
        self.unsettled -= 1;
    }

    /// Notes that no reply came in time to a ping that was sent then.
    pub(super) fn lose(&mut self, place: usize, sent: Monotonic) {
        self.slots[place] = Slot::Lost(sent);
        self.unsettled -= 1;
        self.newest_loss = self.newest_loss.max(Some(sent));
    }

    /// Declares those of its lost pings unknown that `took` says were lost by our own uplink.
    pub(super) fn excuse(&mut self, took: impl Fn(Monotonic) -> bool) {
        if self.newest_loss.is_none() {
            return;
        }
        self.newest_loss = None;
        for slot in &mut self.slots {
            if let Slot::Lost(sent) = *slot {
                if took(sent) {
                    *slot = Slot::Settled(Ping::Unknown(Fault::Offline));
                } else {
                    self.newest_loss = self.newest_loss.max(Some(sent));
                }
            }
        }
    }

    /// The first ping that is under way, and when it went out.
    pub(super) fn first_waiting(&mut self) -> Option<(usize, Wall)> {
        while self.settled < self.due {
            if let Some(stamp) = self.slots[self.settled].stamp() {
                return Some((self.settled, stamp));
            }
            self.settled += 1;
        }
        None
    }

    /// Ends it before its time.
    pub(super) fn cut(&mut self, now: Monotonic, fault: Fault) {
        self.ends = now;
        for place in self.due..self.slots.len() {
            self.settle(place, Ping::Unknown(fault));
        }
        self.due = self.slots.len();
    }

    /// What is handed over.
    pub(super) fn close(self, target: Arc<Target>) -> Round {
        let pings = self
            .slots
            .into_iter()
            .filter_map(|slot| match slot {
                Slot::Settled(ping) => Some(ping),
                Slot::Lost(_) => Some(Ping::Lost),
                Slot::NotDue | Slot::Sent(_) | Slot::Left(_) => None,
            })
            .collect();
        let says = self.says.map(|(reason, from)| Says { reason: reason.to_string(), from });
        Round::new(target, self.address.map(|address| address.ip()), self.start, self.end, pings)
            .with_says(says)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of 100,000 targets with 20 pings each there are two million.
    #[test]
    fn a_ping_takes_sixteen_bytes() {
        assert_eq!((size_of::<Slot>(), size_of::<Ping>()), (16, 16));
    }
}
