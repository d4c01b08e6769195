//! Sends single echoes and tells what becomes of each: what [`mod@super::look`] and [`mod@super::trace`] have in common. Whose
//! packet it is, is decided here as in [`super::judge`]; what it means, by them.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};

use super::clock::{self, Clocks, Monotonic, Now};
use super::flights::{Asked, Flights, Verdict};
use super::icmp::{Family, Kind, Malformed, Message, Reason, Secret};
use super::socket::{
    Backlog, EchoSocket, Identity, Inbox, Origin, Packet, Report, Reports, Route, SocketKind, Sockets, Wanted,
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
    clocks: Clocks,
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
}

impl Odd {
    /// Every kind, in the order in which they are told.
    pub const ALL: [Self; 6] =
        [Self::Duplicate, Self::Late, Self::Damaged, Self::WrongSource, Self::Truncated, Self::Forged];
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
        Ok(Self {
            sockets,
            inbox: Inbox::new(payload),
            reports: Reports::new(),
            flights: Flights::new(secret, timeout),
            waiting: HashMap::new(),
            clocks: Clocks::new(clock::now()),
        })
    }

    /// Works out how such echoes to `to` are to leave.
    pub(super) fn addressee(&mut self, to: SocketAddr, echo: &EchoSettings) -> Result<Addressee, Error> {
        let socket = self.sockets.of(Family::of(to.ip()), echo.dont_fragment, echo.source);
        let route = socket.map(|socket| Route::new(echo, socket.origin())).transpose();
        let route = route.map_err(|error| Error::Unroutable { to: to.ip(), why: error.to_string() })?;
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
    pub(super) fn flush(&mut self, heard: &mut Vec<Heard>) -> Result<(), Error> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        // An error that waits there would be told to one of these.
        self.take_reports(heard)?;
        for socket in self.sockets.iter_mut() {
            Self::send(socket, &mut self.waiting, &mut self.flights, heard);
        }
        Ok(())
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
                Err(errno) => heard.push(Heard::Unknown { number, fault: Fault::Send(errno) }),
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
            self.receive(place, heard)?;
        }
        while let Some(number) = self.flights.take_overdue(before) {
            heard.push(Heard::Overdue { number });
        }
        Ok(())
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
    fn receive(&mut self, place: usize, heard: &mut Vec<Heard>) -> Result<(), Error> {
        for _ in 0..MOST_BATCHES {
            let Some(socket) = self.sockets.iter_mut().nth(place) else { return Ok(()) };
            let origin = socket.origin();
            let emptied = socket
                .receive(&mut self.inbox)
                .map_err(|error| Error::System { operation: "receive packets", error })?;
            // The stamps of the echoes that these answer are there by now.
            self.take_reports(heard)?;
            let now = self.look(heard);
            let Self { inbox, flights, .. } = self;
            heard.extend(inbox.packets().filter_map(|packet| weigh(&packet, origin, flights, now)));
            if emptied {
                break;
            }
        }
        Ok(())
    }

    /// Takes what the error queues tell: when echoes left, and what routers say of them.
    fn take_reports(&mut self, heard: &mut Vec<Heard>) -> Result<(), Error> {
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
                match emptied {
                    Ok(true) => break,
                    Ok(false) => {}
                    Err(error) => return Err(Error::System { operation: "read the error queue", error }),
                }
            }
        }
        Ok(())
    }

    /// Reads the clocks. Where one was set or the machine slept, what is under way is set aside.
    fn look(&mut self, heard: &mut Vec<Heard>) -> Now {
        let now = clock::now();
        let clocks = Clocks::new(now);
        let slept = clocks.asleep.saturating_sub(self.clocks.asleep) > STILL;
        let moved = clocks.offset.abs_diff(self.clocks.offset) > STILL.as_nanos() as u64;
        self.clocks = clocks;
        if slept || moved {
            let fault = if slept { Fault::HeldUp } else { Fault::ClockSet };
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
    let odd = |odd| Some(Heard::Odd { number: None, odd, from, rtt: None });
    let bytes = origin.message_in(packet.bytes).ok()?;
    let message = Message::new(origin.family, bytes).ok()?;
    let Identity { identifier, mark } = origin.identity;
    let is_ours = message.identifier() == identifier || message.mark() == Some(mark);
    if message.kind() != Kind::EchoReply || !is_ours {
        return None;
    }
    if packet.truncated {
        return odd(Odd::Truncated);
    }
    if !message.checksum_is_right() {
        return odd(Odd::Damaged);
    }
    let echo = match message.echo() {
        Ok(echo) => echo,
        Err(Malformed::Length { .. } | Malformed::Header { .. }) => return odd(Odd::Truncated),
        Err(_) => return odd(Odd::Damaged),
    };
    let number = echo.number;
    let odd = |odd, rtt| Some(Heard::Odd { number: Some(number), odd, from, rtt });
    match flights.reply(echo, from, packet.stamp, now) {
        Verdict::Answered(rtt) => {
            Some(Heard::Answered { number, from, rtt, ttl: packet.ttl, bytes: bytes.len() })
        }
        Verdict::Duplicate => odd(Odd::Duplicate, None),
        Verdict::Late(rtt) => odd(Odd::Late, rtt),
        Verdict::WrongSource => odd(Odd::WrongSource, None),
        Verdict::Truncated => odd(Odd::Truncated, None),
        // Its number cannot be believed.
        Verdict::Forged => Some(Heard::Odd { number: None, odd: Odd::Forged, from, rtt: None }),
        Verdict::Impossible => Some(Heard::Unknown { number, fault: Fault::ClockSet }),
    }
}

/// A trace asks no more at once.
const SPARE_ECHOES: u32 = 1000;

/// A bound on how long a flood can keep us from sending.
const MOST_BATCHES: usize = 1024;

/// Clocks that move less than this against each other between two looks are only being trimmed.
const STILL: Duration = Duration::from_millis(1);
