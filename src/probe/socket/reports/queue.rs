//! What the error queue tells: when each echo left, and which ICMP errors came back.
//!
//! ICMP errors are heard here, on both kinds of socket. A datagram socket has no other way. A RAW one could take them for
//! packets, but has to have its error queue open all the same: without it the kernel does not tell of echoes that its own
//! full queue dropped (ENOBUFS), and they would pass for lost.

use std::io;
use std::os::fd::AsFd;

use super::Report;
use crate::probe::clock::Wall;
use crate::probe::icmp::{Quote, Reason, field};
use crate::probe::socket::calls::{BATCH, Queue};
use crate::probe::socket::control::{ExtendedError, Said, address_in};
use crate::probe::socket::receive::{Filled, Rooms};
use crate::probe::socket::{EchoSocket, Origin, SocketKind};

/// Room for the reports of one system call.
pub(in crate::probe) struct Reports(Rooms);

impl Reports {
    /// An empty one.
    pub(in crate::probe) fn new() -> Self {
        Self(Rooms::new(REPORT_LEN, BATCH))
    }
}

impl EchoSocket {
    /// Takes as many reports as wait, and at most as many as one system call can; true when none is left.
    pub(in crate::probe) fn take_reports(
        &mut self,
        reports: &mut Reports,
        each: impl FnMut(Report),
    ) -> io::Result<bool> {
        reports.0.fill(self.socket.as_fd(), Queue::Errors)?;
        let filled = reports.0.filled();
        filled.filter_map(|message| self.report(&message)).for_each(each);
        self.taken += self.stamp_room * reports.0.len();
        if reports.0.len() == 0 {
            // An error that nobody takes would wake us for ever. It is one that the queue told of, or no echo's.
            self.socket.take_error()?;
        }
        Ok(!reports.0.is_full())
    }

    fn report(&self, message: &Filled<'_>) -> Option<Report> {
        let said = Said::new(message.control);
        let (error, at) = (said.error?, said.stamp.map(Wall));
        match error.origin {
            libc::SO_EE_ORIGIN_TIMESTAMPING if error.info == SCM_TSTAMP_SND => {
                let number = match &self.outbox.keys {
                    Some(keys) => keys.number(error.data)?,
                    None => number_in(message.bytes, self.origin)?,
                };
                Some(Report::Sent { number, at: at? })
            }
            libc::SO_EE_ORIGIN_ICMP | libc::SO_EE_ORIGIN_ICMP6 if self.origin.hears_errors() => {
                self.icmp(&error, message, at)
            }
            // What an own limit refused, the send was told.
            _ => None,
        }
    }

    fn icmp(&self, error: &ExtendedError, message: &Filled<'_>, at: Option<Wall>) -> Option<Report> {
        let Origin { family, identity, .. } = self.origin;
        let quote = Quote::new(family, message.bytes).filter(|quote| identity.is_in(quote))?;
        let reason = Reason { family, kind: error.kind, code: error.code };
        Some(Report::Icmp { reason, from: error.offender?, to: address_in(message.name)?, quote, at })
    }
}

impl Origin {
    /// The kernel offers each ICMP error to all RAW sockets of a family, of which one is enough.
    fn hears_errors(&self) -> bool {
        self.kind == SocketKind::Datagram || !self.dont_fragment
    }
}

/// The number of an echo that lies somewhere behind the headers of its link and of IP, in a packet that comes back from
/// the device.
fn number_in(packet: &[u8], Origin { family, identity, .. }: Origin) -> Option<u64> {
    let ours = |bytes: &&[u8]| {
        Quote::new(family, bytes).is_some_and(|quote| {
            quote.identifier == identity.identifier
                && quote.mark == Some(identity.mark)
                && quote.secrets.is_some_and(|(number, _)| quote.sequence == number as u16)
        })
    };
    let echo = (0..packet.len()).map(|start| &packet[start..]).find(ours)?;
    Quote::new(family, echo)?.secrets.map(|(number, _)| number)
}

/// linux/errqueue.h: the stamp of a packet that was passed to its device.
const SCM_TSTAMP_SND: u32 = 0;

/// Room for the headers of a link and of IP, and for what an echo begins with.
const REPORT_LEN: usize = 64 + 60 + field::PADDING;
