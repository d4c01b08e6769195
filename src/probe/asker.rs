//! Sends single echoes and tells what becomes of each: what [`mod@super::look`] and [`mod@super::trace`] have in common. Whose
//! packet it is, is decided here as in [`super::judge`]; what it means, by them.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};

use super::clock::{self, Monotonic, Now};
use super::flights::{Flights, Verdict};
use super::icmp::{Family, Reason, Secret};
use super::proof::{Asked, Defect, Evidence, Flaw};
use super::socket::{
    Backlog, EchoSocket, Identity, Inbox, NoRoute, Origin, Packet, Report, Reports, Route, SocketKind,
    Sockets, Wanted,
};
use super::{Bell, EchoSettings, Error, random, wake};
use crate::round::{Fault, Rtt};

/// See the module.
pub(super) struct Asker {
    sockets: Sockets,
    inbox: Inbox,
    reports: Reports,
    flights: Flights,
    /// What was pushed and is not yet sent.
    waiting: HashMap<u64, Asked>,
    /// What each socket has failed to hear so far.
    ears: Vec<Ear>,
}

/// What is known of one socket's receive buffer.
#[derive(Default)]
struct Ear {
    /// How many packets it had had no room for when that was last asked.
    drops: u32,
    /// Whether much piled up in it since.
    swamped: bool,
}

/// Whom an echo goes to, and how.
pub(super) struct Addressee {
    to: SocketAddr,
    asked: Asked,
    /// None where there is no socket for it.
    route: Option<Route>,
}

/// What became of an echo, or something that came in about one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Its reply.
    Answered {
        number: u64,
        from: IpAddr,
        rtt: Rtt,
        /// Hops that the reply had left, where the kernel says so.
        ttl: Option<u8>,
        /// The length of the ICMP message.
        bytes: usize,
    },
    /// No reply came in time.
    Overdue { number: u64 },
    /// Nothing can be said about the network.
    Unknown { number: u64, fault: Fault },
    /// An ICMP error quotes it. It is waited for all the same.
    Refused {
        number: u64,
        reason: Reason,
        from: IpAddr,
        /// How long after the echo it came, unless the clock was set.
        rtt: Option<Rtt>,
    },
    /// A reply that does not count.
    Odd {
        /// To which echo, where it can be believed.
        number: Option<u64>,
        odd: Odd,
        from: IpAddr,
        rtt: Option<Rtt>,
    },
}

/// Why a reply does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Odd {
    /// Its ping had been answered.
    Duplicate,
    /// It came after the timeout.
    Late,
    /// Checksum, sequence or payload are not what they were.
    Damaged,
    /// Another address answered than was asked.
    WrongSource,
    /// It has another length than its request.
    Truncated,
    /// It looks like ours, and does not carry our secret.
    Forged,
    /// It is ours by all but its identifier, which somebody on the way rewrote. Only RAW sockets hear such.
    Identifier,
}

impl Odd {
    /// Every kind, in the order in which they are told.
    pub const ALL: [Self; 7] = [
        Self::Duplicate,
        Self::Late,
        Self::Damaged,
        Self::WrongSource,
        Self::Truncated,
        Self::Forged,
        Self::Identifier,
    ];
}

impl Asker {
    /// Opens sockets for such echoes, of which so many may be under way at once. A reply may take `timeout`.
    pub(super) fn open<'a>(
        echoes: impl Iterator<Item = &'a EchoSettings> + Clone,
        in_flight: u32,
        timeout: Duration,
    ) -> Result<Self, Error> {
        let payload = echoes.clone().map(|echo| echo.payload).max().unwrap_or(EchoSettings::LEAST_PAYLOAD);
        let backlog = Backlog { echoes: in_flight, payload };
        let ahead = AHEAD.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (sockets, secret) = match ahead {
            Some((mut sockets, secret)) => {
                let room = sockets.make_room(backlog);
                room.map_err(|error| Error::System { operation: "make room for replies", error })?;
                (sockets, secret)
            }
            None => open_now(echoes, backlog)?,
        };
        // One that was opened long ago has heard others.
        let ear = |socket: &EchoSocket| Ear { drops: socket.drops().unwrap_or(0), swamped: false };
        Ok(Self {
            ears: sockets.iter().map(ear).collect(),
            sockets,
            inbox: Inbox::new(payload),
            reports: Reports::new(),
            flights: Flights::new(secret, timeout, clock::now()),
            waiting: HashMap::new(),
        })
    }

    /// Works out how such echoes to `to` are to leave.
    pub(super) fn addressee(&mut self, to: SocketAddr, echo: &EchoSettings) -> Result<Addressee, NoRoute> {
        let socket = self.sockets.of(Family::of(to.ip()), echo.dont_fragment, echo.source);
        let route = socket.map(|socket| Route::new(echo, socket.origin())).transpose()?;
        let asked = Asked { to: to.ip(), any_source: echo.any_source, payload: echo.payload };
        Ok(Addressee { to, asked, route })
    }

    /// Puts an echo with those that [`Asker::flush`] sends; each has a number of its own.
    pub(super) fn push(&mut self, number: u64, addressee: &Addressee, heard: &mut Vec<Heard>) {
        let Addressee { to, asked, route } = addressee;
        let tag = self.flights.tag(number, asked.to);
        let sockets = &mut self.sockets;
        let route = route.as_ref();
        let socket =
            route.and_then(|route| sockets.of(Family::of(asked.to), route.dont_fragment(), route.source()));
        let (Some(socket), Some(route)) = (socket, route) else {
            return heard.push(Heard::Unknown { number, fault: Fault::NoSocket });
        };
        self.waiting.insert(number, *asked);
        if !socket.push(number, tag, *to, route) {
            Self::send(socket, &mut self.waiting, &mut self.flights, heard);
            let pushed = socket.push(number, tag, *to, route);
            debug_assert!(pushed, "there is room once all were sent");
        }
    }

    /// Sends what was pushed.
    pub(super) fn flush(&mut self, heard: &mut Vec<Heard>) {
        if self.waiting.is_empty() {
            return;
        }
        // An error that waits there would be told to one of these.
        self.take_reports(heard);
        for socket in self.sockets.iter_mut() {
            Self::send(socket, &mut self.waiting, &mut self.flights, heard);
        }
    }

    fn send(
        socket: &mut EchoSocket,
        waiting: &mut HashMap<u64, Asked>,
        flights: &mut Flights,
        heard: &mut Vec<Heard>,
    ) {
        socket.send(|number, outcome| {
            let Some(asked) = waiting.remove(&number) else { return };
            match outcome {
                Ok(handed) => flights.sent(number, asked, (handed.monotonic, handed.wall)),
                Err(errno) => {
                    let fault = Fault::Send(errno);
                    flights.broken(asked.to, fault, clock::now().monotonic);
                    heard.push(Heard::Unknown { number, fault });
                }
            }
        });
    }

    /// When an echo that is under way will be overdue; never, when none is under way.
    pub(super) fn next_deadline(&mut self) -> Monotonic {
        self.flights.next_deadline()
    }

    /// Waits until something comes in, it is `until`, or `stop` rings; tells what came in and what is overdue.
    pub(super) fn wait(
        &mut self,
        until: Monotonic,
        stop: Option<&Bell>,
        heard: &mut Vec<Heard>,
    ) -> Result<(), Error> {
        self.sleep(until, stop)?;
        // What comes in from now on is not read for sure; what was due to come before is.
        let before = clock::now().monotonic;
        for place in 0..self.sockets.iter().count() {
            self.receive(place, heard);
        }
        if self.flights.next_deadline() <= before {
            self.note_drops();
        }
        while let Some((number, excuse)) = self.flights.take_overdue(before) {
            heard.push(match excuse {
                None => Heard::Overdue { number },
                Some(fault) => Heard::Unknown { number, fault },
            });
        }
        Ok(())
    }

    /// Asks whether a receive buffer overflowed, before anything is said to be lost.
    fn note_drops(&mut self) {
        for (socket, ear) in self.sockets.iter().zip(&mut self.ears) {
            let Origin { family, kind, .. } = socket.origin();
            // A RAW socket of IPv6 counts damaged packets the same way, but a buffer overflows only where much piled up.
            let is_told = (family, kind) != (Family::V6, SocketKind::Raw) || std::mem::take(&mut ear.swamped);
            if is_told
                && let Ok(drops) = socket.drops()
                && std::mem::replace(&mut ear.drops, drops) != drops
            {
                self.flights.deaf(family, Fault::Overflow, clock::now().monotonic);
            }
        }
    }

    fn sleep(&self, until: Monotonic, stop: Option<&Bell>) -> Result<(), Error> {
        let sockets = self.sockets.iter().map(AsFd::as_fd);
        let mut fds: Vec<PollFd<'_>> = sockets
            .chain(stop.map(|bell| bell.event.as_fd()))
            .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
            .collect();
        match wake::poll(&mut fds, until.since(clock::now().monotonic)) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(Error::System { operation: "wait for packets", error: errno.into() }),
        }
    }

    /// Takes what waits in one of the sockets.
    fn receive(&mut self, place: usize, heard: &mut Vec<Heard>) {
        for batch in 1..=MOST_BATCHES {
            let Some(socket) = self.sockets.iter_mut().nth(place) else { return };
            let origin = socket.origin();
            let emptied = match socket.receive(&mut self.inbox) {
                Ok(emptied) => emptied,
                // Errors about echoes may be many, and have an end.
                Err(_) if batch < MOST_BATCHES => continue,
                Err(error) => {
                    let fault = Fault::Receive(error.raw_os_error().unwrap_or(libc::EIO));
                    return self.flights.deaf(origin.family, fault, clock::now().monotonic);
                }
            };
            // The stamps of the echoes that these answer are there by now.
            self.take_reports(heard);
            let now = self.look(heard);
            let Self { inbox, flights, .. } = self;
            heard.extend(inbox.packets().filter_map(|packet| weigh(&packet, origin, flights, now)));
            if emptied {
                return;
            }
            self.ears[place].swamped = true;
        }
    }

    /// Takes what the error queues tell: when echoes left, and what routers say of them.
    fn take_reports(&mut self, heard: &mut Vec<Heard>) {
        let now = self.look(heard);
        let Self { sockets, reports, flights, .. } = self;
        for socket in sockets.iter_mut() {
            for _ in 0..MOST_BATCHES {
                let emptied = socket.take_reports(reports, |report| match report {
                    Report::Sent { number, at } => flights.stamped(number, at),
                    Report::Icmp { reason, from, to, quote, at } => {
                        let Some(number) = flights.quoted(to, quote.sequence, quote.secrets) else { return };
                        let rtt = flights.took(number, at, now);
                        heard.push(Heard::Refused { number, reason, from, rtt });
                    }
                });
                // What cannot be read there settles no echo: replies do, and the timeout.
                if emptied.unwrap_or(true) {
                    break;
                }
            }
        }
    }

    /// Reads the clocks. Where one was set or the machine slept, what is under way is set aside.
    fn look(&mut self, heard: &mut Vec<Heard>) -> Now {
        let now = clock::now();
        if let Some(fault) = self.flights.observe(now) {
            while let Some(number) = self.flights.set_aside() {
                heard.push(Heard::Unknown { number, fault });
            }
        }
        now
    }
}

/// Opens sockets for such echoes, with a secret of their own.
fn open_now<'a>(
    echoes: impl Iterator<Item = &'a EchoSettings>,
    backlog: Backlog,
) -> Result<(Sockets, Secret), Error> {
    let secret = Secret::new(random()?);
    let identity = Identity { identifier: u16::from_ne_bytes(random()?), mark: secret.mark() };
    let wanted = Wanted::of(echoes, identity, backlog);
    let sockets = match Sockets::open(&wanted) {
        Ok(sockets) => sockets,
        Err(refused) => adopt_spares(&wanted).ok_or_else(|| Error::no_socket(refused))?,
    };
    Ok((sockets, secret))
}

/// What the next look or trace of this process is to use, and by what its echoes are known.
static AHEAD: Mutex<Option<(Sockets, Secret)>> = Mutex::new(None);

/// Opens the sockets of the next look or trace, which is to ask by such echoes only, while this process still has the
/// privilege. Where that is refused, the look or the trace says so.
pub fn open_ahead(echo: &EchoSettings) {
    let backlog = Backlog { echoes: SPARE_ECHOES, payload: echo.payload };
    *AHEAD.lock().unwrap_or_else(PoisonError::into_inner) = open_now(std::iter::once(echo), backlog).ok();
}

/// RAW sockets that lie ready for when this process, which has the privilege no more, is to ask once in a while.
static SPARES: Mutex<Vec<OwnedFd>> = Mutex::new(Vec::new());

/// Opens them, as far as that is allowed, to be kept by another process of this run.
pub fn open_spares() -> Vec<OwnedFd> {
    let Ok(random) = random() else { return Vec::new() };
    let wanted = Wanted {
        identity: Identity { identifier: 0, mark: u32::from_ne_bytes(random) },
        kind: Some(SocketKind::Raw),
        dont_fragment: false,
        v6_sources: Vec::new(),
        backlog: Backlog { echoes: SPARE_ECHOES, payload: EchoSettings::MOST_PAYLOAD },
    };
    // What they would hear bears that mark, and nobody sends such.
    Sockets::open(&wanted).map_or_else(|_| Vec::new(), Sockets::into_descriptors)
}

/// Keeps what [`open_spares`] gave: a look and a trace use it where they may open none. One of
/// them at a time hears its replies.
pub fn keep_spares(descriptors: Vec<OwnedFd>) {
    *SPARES.lock().unwrap_or_else(PoisonError::into_inner) = descriptors;
}

fn adopt_spares(wanted: &Wanted) -> Option<Sockets> {
    let spares = SPARES.lock().unwrap_or_else(PoisonError::into_inner);
    let copies = spares.iter().map(OwnedFd::try_clone).collect::<std::io::Result<Vec<_>>>().ok()?;
    Sockets::adopt(copies, wanted).ok()
}

/// Whose packet it is, and what is wrong with it; `None` for those of other programs.
fn weigh(packet: &Packet<'_>, origin: Origin, flights: &mut Flights, now: Now) -> Option<Heard> {
    let from = packet.from;
    let proven = Evidence::new(packet, &origin).and_then(|evidence| {
        let number = evidence.prove(flights.secret(), |number| flights.asked(number))?;
        Ok((number, evidence.message.len()))
    });
    let (number, bytes) = match proven {
        Ok(proven) => proven,
        Err(Flaw { defect, number }) => {
            return Some(Heard::Odd { number, odd: odd(defect)?, from, rtt: None });
        }
    };
    let odd = |odd, rtt| Some(Heard::Odd { number: Some(number), odd, from, rtt });
    match flights.reply(number, packet.stamp, now) {
        Verdict::Answered(rtt) => Some(Heard::Answered { number, from, rtt, ttl: packet.ttl, bytes }),
        Verdict::Duplicate => odd(Odd::Duplicate, None),
        Verdict::Late(rtt) => odd(Odd::Late, rtt),
        Verdict::Impossible => Some(Heard::Unknown { number, fault: Fault::ClockSet }),
    }
}

fn odd(defect: Defect) -> Option<Odd> {
    Some(match defect {
        Defect::Foreign => return None,
        Defect::Truncated => Odd::Truncated,
        Defect::Damaged => Odd::Damaged,
        Defect::Forged => Odd::Forged,
        Defect::Identifier => Odd::Identifier,
        Defect::WrongSource => Odd::WrongSource,
    })
}

/// A trace asks no more at once.
const SPARE_ECHOES: u32 = 1000;

/// A bound on how long a flood can keep us from sending.
const MOST_BATCHES: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::clock::Wall;
    use crate::probe::icmp::{Echo, Padding};

    const THEM: [u8; 16] = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];

    /// ICMPv6, whose checksum is the kernel's affair.
    #[test]
    fn a_reply_that_anything_is_wrong_with_leaves_its_echo_under_way() {
        let (secret, to) = (Secret::new([7; 16]), IpAddr::from(THEM));
        let identity = Identity { identifier: 0x4c4d, mark: secret.mark() };
        let origin = Origin {
            family: Family::V6,
            kind: SocketKind::Raw,
            dont_fragment: false,
            source: None,
            takes_control: true,
            identity,
        };
        let now = Now { monotonic: Monotonic(0), wall: Wall(0), asleep: Duration::ZERO };
        let tag = secret.tag(1, to);
        let mut flights = Flights::new(secret, Duration::from_secs(1), now);
        flights.sent(1, Asked { to, any_source: false, payload: 56 }, (now.monotonic, now.wall));
        let Identity { identifier, mark } = identity;
        let echo = Echo { identifier, number: 1, tag, mark, payload: 56 };
        let padding = Padding::new(56);
        let mut reply = [&echo.request_head(Family::V6, &padding), padding.bytes()].concat();
        reply[0] = Family::V6.echo_reply();
        let mut hear = |bytes: &[u8]| {
            let packet = Packet { from: to, bytes, truncated: false, stamp: None, ttl: None };
            weigh(&packet, origin, &mut flights, now)
        };
        let mut changed = |offset: usize| {
            let mut reply = reply.clone();
            reply[offset] ^= 1;
            hear(&reply)
        };
        let odd = |number, odd| Some(Heard::Odd { number, odd, from: to, rtt: None });
        assert_eq!(changed(5), odd(Some(1), Odd::Identifier), "somebody rewrote it");
        assert_eq!(changed(27), odd(Some(1), Odd::Damaged), "the mark");
        assert_eq!(changed(20), odd(None, Odd::Forged), "its number cannot be believed");
        assert_eq!(changed(0), None, "it is no reply");
        assert!(matches!(hear(&reply), Some(Heard::Answered { number: 1, bytes: 64, .. })));
    }
}
