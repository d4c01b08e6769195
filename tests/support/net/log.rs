//! What the far end saw and did.

use std::net::IpAddr;
use std::time::{Duration, Instant, SystemTime};

use super::wire::Form;

/// One echo request, and what became of it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// When the far end read it, by the steady clock.
    pub at: Instant,
    /// The same, by the wall clock.
    pub wall: SystemTime,
    /// Who asked.
    pub source: IpAddr,
    /// Who was asked.
    pub destination: IpAddr,
    /// The identifier in the request.
    pub identifier: u16,
    /// The sequence number in the request.
    pub sequence: u16,
    /// The hops the request still had to live, as it left us.
    pub ttl: u8,
    /// The byte of the IP header with the differentiated services code point.
    pub traffic_class: u8,
    /// Whether it must not be fragmented; IPv6 has no word for that.
    pub dont_fragment: bool,
    /// What follows the echo header.
    pub payload: Vec<u8>,
    /// What was decided.
    pub what: What,
    /// What is to be sent for it, in the order of sending.
    pub replies: Vec<Reply>,
}

/// What the far end decides about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// It is answered after the host's usual delay.
    Answered,
    /// It is answered, but after the delay for late ones.
    Late,
    /// It gets a reply that is not as it should be.
    Spoiled,
    /// An ICMP error says that it did not arrive.
    Refused,
    /// It is lost on the way.
    Lost,
    /// The host is silent.
    Silent,
    /// There is no host at this address.
    Nobody,
    /// Its checksum is wrong: any host would drop it.
    Malformed,
}

/// One packet for a request.
#[derive(Clone, Debug)]
pub struct Reply {
    /// What kind of packet.
    pub form: Form,
    /// When it is to leave, counted from the moment the request was read.
    pub due: Duration,
    /// When it left, counted the same way; `None` while it waits, or when the device would not take it.
    pub sent: Option<Duration>,
}

impl Entry {
    /// How long after the request the first honest reply left, where one did.
    pub fn delay(&self) -> Option<Duration> {
        self.replies.iter().filter(|reply| reply.form == Form::True).find_map(|reply| reply.sent)
    }

    /// True when nothing is waiting to be sent for it.
    pub(super) fn is_settled(&self) -> bool {
        self.replies.iter().all(|reply| reply.sent.is_some())
    }
}
