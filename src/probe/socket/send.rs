//! Echoes on their way out: gathered, then handed to the kernel together.

use std::net::SocketAddr;
use std::os::fd::AsFd;

use super::calls::{self, BATCH, Outgoing};
use super::control::{Messages, NAME_LEN, name_of, space};
use super::route::Route;
use super::{EchoSocket, Stamps};
use crate::probe::clock::{self, Monotonic, Wall};
use crate::probe::icmp::{Echo, Family, HEAD_LEN};

/// The clocks right before an echo was handed to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::probe) struct Handed {
    /// The monotonic one.
    pub(in crate::probe) monotonic: Monotonic,
    /// The wall clock, of which the kernel's own stamp is later and better, where there is one.
    pub(in crate::probe) wall: Wall,
}

/// The echoes that wait to be sent together, and which number each key stands for.
pub(super) struct Outbox {
    echoes: Vec<Waiting>,
    pub(super) keys: Option<Keys>,
}

struct Waiting {
    number: u64,
    head: [u8; HEAD_LEN],
    padding: &'static [u8],
    name: [u8; NAME_LEN],
    name_len: usize,
    control: Messages<MESSAGES_LEN>,
}

impl EchoSocket {
    /// Puts an echo with those that wait for [`EchoSocket::send`]; false, and it is not there, when no more have room.
    #[must_use]
    pub(in crate::probe) fn push(&mut self, number: u64, tag: u64, to: SocketAddr, route: &Route) -> bool {
        let Outbox { echoes, keys } = &mut self.outbox;
        if echoes.len() >= BATCH {
            return false;
        }
        let (family, identity) = (self.origin.family, self.origin.identity);
        debug_assert_eq!((family, self.origin.dont_fragment), (Family::of(to.ip()), route.dont_fragment()));
        let echo = Echo {
            identifier: identity.identifier,
            number,
            tag,
            mark: identity.mark,
            payload: route.payload,
        };
        let mut control = Messages::EMPTY;
        if let Some(keys) = keys {
            control.push(libc::SOL_SOCKET, SCM_TS_OPT_ID, &keys.key_for(number).to_ne_bytes());
        }
        control.append(route.control.as_bytes());
        let (name, name_len) = name_of(to);
        let head = echo.request_head(family, &route.padding);
        echoes.push(Waiting { number, head, padding: route.padding.bytes(), name, name_len, control });
        true
    }

    /// True when nothing was pushed since the last [`EchoSocket::send`].
    pub(in crate::probe) fn is_idle(&self) -> bool {
        self.outbox.echoes.is_empty()
    }

    /// Sends what was pushed, and tells of each number when it was handed over, or the `errno` with which the kernel
    /// refused it; one that is refused holds up no other.
    ///
    /// A socket that hears ICMP errors tells of them in the next call too, whatever that is about: a send that fails is
    /// tried again before it is that send's own failure. The error queue should be empty before, see
    /// [`EchoSocket::take_reports`].
    ///
    /// What goes out is not known from this alone: no one tells of a packet that the device's own queue drops while its
    /// cable is pulled, or of any that it drops for a datagram socket of IPv6. Such an echo never gets a stamp.
    pub(in crate::probe) fn send(&mut self, mut outcome: impl FnMut(u64, Result<Handed, i32>)) {
        // A stamp of ours is only as good as it is close to its packet.
        let most = match self.stamps() {
            Stamps::Kernel => BATCH,
            Stamps::User => 1,
        };
        let call = |echoes: &[Waiting]| calls::send(self.socket.as_fd(), echoes.iter().map(Waiting::message));
        hand_over(&self.outbox.echoes, most, call, |echo, handed| outcome(echo.number, handed));
        self.outbox.echoes.clear();
    }
}

/// Hands over echoes by calls that take so many at most, and say how many went out or why the first did not.
fn hand_over<T>(
    mut left: &[T],
    most: usize,
    mut call: impl FnMut(&[T]) -> Result<usize, i32>,
    mut outcome: impl FnMut(&T, Result<Handed, i32>),
) {
    let mut failures = 0;
    while let Some((first, others)) = left.split_first() {
        let (monotonic, wall) = clock::stamp();
        let asked = left.len().min(most);
        match call(&left[..asked]) {
            Ok(sent) if sent > 0 => {
                let (gone, kept) = left.split_at(sent.min(asked));
                gone.iter().for_each(|echo| outcome(echo, Ok(Handed { monotonic, wall })));
                left = kept;
                // Who is now the first has failed, unless all went out; the kernel says no more of it.
                failures = u32::from(sent < asked);
            }
            failed => {
                let errno = failed.err().unwrap_or(libc::EIO);
                failures += 1;
                if failures > retries(errno) {
                    outcome(first, Err(errno));
                    left = others;
                    failures = 0;
                }
            }
        }
    }
}

/// How often an echo is tried again that fails like that. What may be an error that somebody sends us for another echo may be
/// the next one too: they come as fast as their echoes went.
fn retries(errno: i32) -> u32 {
    match errno {
        libc::EHOSTUNREACH
        | libc::ENETUNREACH
        | libc::ECONNREFUSED
        | libc::EHOSTDOWN
        | libc::ENOPROTOOPT
        | libc::EOPNOTSUPP
        | libc::EPROTO
        | libc::EMSGSIZE
        | libc::EACCES => MOST_RETRIES,
        _ => 1,
    }
}

impl Outbox {
    /// An empty one; with `stamped` its echoes carry a key by which the kernel names them in their stamps, of which so
    /// many can be outstanding.
    pub(super) fn new(stamped: Option<u32>) -> Self {
        Self { echoes: Vec::with_capacity(BATCH), keys: stamped.map(Keys::new) }
    }
}

impl Waiting {
    fn message(&self) -> Outgoing<'_> {
        Outgoing {
            name: &self.name[..self.name_len],
            parts: [&self.head, self.padding],
            control: self.control.as_bytes(),
        }
    }
}

/// Which number the kernel means by a key of 32 bits: the numbers of the newest keys.
pub(super) struct Keys {
    next: u32,
    numbers: Box<[u64]>,
}

impl Keys {
    /// None yet; so many can be outstanding.
    pub(super) fn new(outstanding: u32) -> Self {
        let places = outstanding.clamp(LEAST_KEYS, MOST_KEYS).next_power_of_two();
        Self { next: 0, numbers: vec![0; places as usize].into() }
    }

    /// The next key, which stands for `number`.
    pub(super) fn key_for(&mut self, number: u64) -> u32 {
        let key = self.next;
        let place = self.place(key);
        self.numbers[place] = number;
        self.next = key.wrapping_add(1);
        key
    }

    /// What a key stands for, unless that is too long ago.
    #[cfg(any(target_os = "linux", test))]
    pub(super) fn number(&self, key: u32) -> Option<u64> {
        let age = self.next.wrapping_sub(key) as usize;
        (1..=self.numbers.len()).contains(&age).then(|| self.numbers[self.place(key)])
    }

    #[cfg(test)]
    pub(super) fn wrap_soon(&mut self) {
        self.next = u32::MAX - 500;
    }

    /// The number of places divides that of keys, so this goes round where they do.
    fn place(&self, key: u32) -> usize {
        key as usize & (self.numbers.len() - 1)
    }
}

/// asm-generic/socket.h, from Linux 6.13 on; its data is the key.
pub(super) const SCM_TS_OPT_ID: libc::c_int = 81;

/// Room for the key, and for what a route says: hops, traffic class, origin.
pub(super) const MESSAGES_LEN: usize = space(4) + space(4) + space(4) + space(20);

/// Of a thousand echoes a second that are all refused, an error meets one send in a hundred, and five meet one never.
const MOST_RETRIES: u32 = 4;
const LEAST_KEYS: u32 = 1024;
const MOST_KEYS: u32 = 1 << 18;

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of five echoes where the kernel says this to each call, and then that all went out.
    fn told(said: &[Result<usize, i32>]) -> Vec<Option<i32>> {
        let (mut said, mut told) = (said.iter(), Vec::new());
        hand_over(
            &[0, 1, 2, 3, 4],
            3,
            |echoes| said.next().copied().unwrap_or(Ok(echoes.len())),
            |echo, handed| {
                assert_eq!(*echo, told.len(), "in turn, and once");
                told.push(handed.err());
            },
        );
        assert_eq!(said.next(), None, "it gave up early");
        told
    }

    #[test]
    fn errors_that_others_sent_for_are_not_blamed_on_an_echo() {
        let other = Err(libc::EHOSTUNREACH);
        assert_eq!(told(&[other, other, Err(libc::ECONNREFUSED), other]), [None; 5]);
        assert_eq!(told(&[Ok(1), other, other, other, Ok(1), other, other, other]), [None; 5]);
        assert_eq!(told(&[Err(libc::ENOBUFS)]), [None; 5]);
    }

    #[test]
    fn what_fails_each_time_is_an_echoes_own_failure_and_holds_up_no_other() {
        for (errno, calls) in
            [(libc::EHOSTUNREACH, 5), (libc::EACCES, 5), (libc::ENOBUFS, 2), (libc::EPERM, 2)]
        {
            let failed = Some(errno);
            assert_eq!(told(&vec![Err(errno); calls]), [failed, None, None, None, None]);
            // One call fewer, where the kernel stopped before it without a word.
            let behind_others = [&[Ok(2)][..], &vec![Err(errno); calls - 1]].concat();
            assert_eq!(told(&behind_others), [None, None, failed, None, None]);
        }
    }
}
