//! Whose fault it is that a ping was not answered: what our own side is known to have done to the pings of a target. Part
//! of the schedule, and as pure.

use super::clock::Monotonic;
use super::icmp::Family;
use crate::round::Fault;

/// When each family's receive buffer was last found to have overflowed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Overflowed {
    v4: Monotonic,
    v6: Monotonic,
}

impl Overflowed {
    /// As it is before any was found.
    pub(super) const NEVER: Self = Self { v4: Monotonic::LONG_AGO, v6: Monotonic::LONG_AGO };

    /// A family's buffer was found to have overflowed.
    pub(super) fn note(&mut self, family: Family, now: Monotonic) {
        match family {
            Family::V4 => self.v4 = now,
            Family::V6 => self.v6 = now,
        }
    }

    /// True when a ping that was sent at `sent` was under way at an overflow.
    pub(super) fn since(&self, sent: Monotonic, family: Family) -> bool {
        match family {
            Family::V4 => sent <= self.v4,
            Family::V6 => sent <= self.v6,
        }
    }
}

/// What happened to the echoes of one target on this machine.
#[derive(Default)]
pub(super) struct OwnSide {
    /// When one was last refused, and why.
    broke: Option<(Monotonic, Fault)>,
    /// The number of the interface by which they leave for a gateway, where they do.
    gateway: Option<u32>,
    /// Whether the kernel has stamped any since they leave by it.
    stamps: bool,
    /// Whether somebody has said since the last stamp that a host on the way is unreachable.
    nobody: bool,
}

impl OwnSide {
    /// From now on they leave for a gateway by this interface, or for none.
    pub(super) fn lay(&mut self, gateway: Option<u32>) {
        self.stamps &= gateway == self.gateway;
        self.gateway = gateway;
    }

    /// One left, says the kernel.
    pub(super) fn stamped(&mut self) {
        (self.stamps, self.nobody) = (true, false);
    }

    /// A host on the way is unreachable: they may have waited for a gateway that is dead, which the kernel says some
    /// seconds later.
    pub(super) fn found_nobody(&mut self) {
        self.nobody = true;
    }

    /// One was refused.
    pub(super) fn refused(&mut self, fault: Fault, now: Monotonic) {
        self.broke = Some((now, fault));
    }

    /// Why one was refused after another was sent, if one was: it may have taken that along.
    pub(super) fn broke_since(&self, sent: Monotonic) -> Option<Fault> {
        self.broke.filter(|(at, _)| sent <= *at).map(|(_, fault)| fault)
    }

    /// Whether one that has no stamp when its time is over never left. That tells nothing where none has any. Nor does it
    /// of a host on a network of ours: one that is dead is not asked at all, since nobody says where it is. A gateway that
    /// is dead is an outage of the line, and for who has no anchors the targets' losses are all that tells it.
    pub(super) fn held_back(&self, is_stamped: bool) -> bool {
        !is_stamped && self.stamps && !self.nobody && self.gateway.is_some()
    }
}
