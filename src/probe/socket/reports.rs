//! What is told of echoes that were sent: when each left, and which ICMP errors came back. Linux tells it by an error queue
//! (`queue`); elsewhere ICMP errors come among the packets and are sorted out (`sorted`), and nobody tells when an echo left.

#[cfg(target_os = "linux")]
mod queue;
#[cfg(any(not(target_os = "linux"), test))]
mod sorted;

use std::net::IpAddr;

use super::Identity;
use crate::probe::clock::Wall;
use crate::probe::icmp::{Quote, Reason};

#[cfg(target_os = "linux")]
pub(in crate::probe) use self::queue::Reports;
#[cfg(not(target_os = "linux"))]
pub(super) use self::sorted::error_in;
#[cfg(not(target_os = "linux"))]
pub(in crate::probe) use super::system::Reports;

/// Something to know of an echo that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::probe) enum Report {
    /// It left this machine, as far as the kernel's software knows.
    #[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "only Linux tells"))]
    Sent {
        /// Which it is.
        number: u64,
        /// When.
        at: Wall,
    },
    /// Somebody says that it did not arrive.
    Icmp {
        /// Why.
        reason: Reason,
        /// Who says so.
        from: IpAddr,
        /// Where it was to go.
        to: IpAddr,
        /// What he quotes of it. Nothing proves that it is ours but its tag, if that is there.
        quote: Quote,
        /// When this came in.
        at: Option<Wall>,
    },
}

impl Identity {
    /// True for a request of ours, as far as it is quoted: all RAW sockets hear of each other's.
    fn is_in(&self, quote: &Quote) -> bool {
        quote.identifier == self.identifier || quote.mark == Some(self.mark)
    }
}
