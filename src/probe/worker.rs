//! The prober's thread: waits for packets and for the time, listens, sends, hands over rounds. Everything that it decides
//! is decided in [`Schedule`] and [`Judge`].

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Sender, TrySendError};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use tracing::{debug, warn};

use super::clock::{self, Monotonic, Now};
use super::course::{Number, Request};
use super::icmp::{Family, Secret};
use super::judge::{Judge, Trouble};
use super::resolve::Names;
use super::schedule::{Action, Jump, Schedule};
use super::socket::{BATCH, EchoSocket, Handed, Inbox, NoRoute, Report, Reports, Route, Sockets};
use super::tally::Throttle;
use super::{Bell, EchoSettings, TargetSettings};
use crate::round::{Fault, Round, Target};

/// What the thread owns.
pub(super) struct Worker {
    sockets: Sockets,
    inbox: Inbox,
    reports: Reports,
    echoes: Vec<EchoSettings>,
    routes: Vec<Option<(Family, Route)>>,
    judge: Judge,
    schedule: Schedule,
    names: Names,
    rounds: Sender<Round>,
    bell: Arc<Bell>,
    v4_drops: u32,
    v6_drops: u32,
    dropped_rounds: u64,
    throttle: Throttle,
}

/// Which sockets have something to read, in the order of [`Sockets::iter`].
type Readable = [bool; 4];

/// The other end of the rounds is gone.
struct Gone;

impl Worker {
    /// A worker that has joined the rounds that are running now.
    pub(super) fn new(
        settings: &[TargetSettings],
        resolve_every: Duration,
        sockets: Sockets,
        secret: Secret,
        rounds: Sender<Round>,
        bell: Arc<Bell>,
    ) -> io::Result<Self> {
        let now = clock::now();
        let targets: Vec<Arc<Target>> = settings.iter().map(|it| Arc::clone(&it.target)).collect();
        let kinds = sockets.kinds();
        let ring = Arc::clone(&bell);
        let names = Names::new(settings, resolve_every, kinds, now.monotonic, move || ring.ring())?;
        let echoes: Vec<EchoSettings> = settings.iter().map(|it| it.echo.clone()).collect();
        let payloads: Vec<u16> = echoes.iter().map(|it| it.payload).collect();
        Ok(Self {
            sockets,
            inbox: Inbox::new(payloads.iter().copied().max().unwrap_or(0)),
            reports: Reports::new(),
            routes: vec![None; echoes.len()],
            echoes,
            judge: Judge::new(targets, payloads, secret),
            schedule: Schedule::new(settings, now),
            names,
            rounds,
            bell,
            v4_drops: 0,
            v6_drops: 0,
            dropped_rounds: 0,
            throttle: Throttle::default(),
        })
    }

    /// Pings until the bell says to stop, or nobody takes the rounds any more.
    pub(super) fn run(mut self) {
        let mut until = clock::now().monotonic;
        while !self.bell.is_stopped() {
            let readable = self.wait(until);
            self.hear(readable);
            let now = self.look();
            let late = now.monotonic.since(until);
            if late > HELD_UP {
                warn!("the prober was held up for {:.1} s", late.as_secs_f64());
            }
            while let Some((target, address)) = self.names.take_address(now.monotonic) {
                self.schedule.set_address(target, address);
                self.judge.set_address(target, address);
            }
            until = self.work(now.monotonic);
            if let Err(Gone) = self.hand_over(now.monotonic) {
                return;
            }
            until = until.min(self.names.poll(now.monotonic));
        }
    }

    /// Waits until a packet comes, the bell rings, or it is `until`; tells which sockets have something.
    fn wait(&self, until: Monotonic) -> Readable {
        let timeout = until.since(clock::now().monotonic);
        let mut fds = [(); 5].map(|()| PollFd::new(self.bell.event.as_fd(), PollFlags::POLLIN));
        let mut used = 1;
        for (fd, socket) in fds[1..].iter_mut().zip(self.sockets.iter()) {
            *fd = PollFd::new(socket.as_fd(), PollFlags::POLLIN);
            used += 1;
        }
        match ppoll(&mut fds[..used], Some(TimeSpec::from_duration(timeout)), None) {
            Ok(0) | Err(Errno::EINTR) => return [false; 4],
            Ok(_) => {}
            Err(errno) => panic!("ppoll on our own descriptors failed: {errno}"),
        }
        let has = |fd: &PollFd<'_>| fd.revents().is_some_and(|events| !events.is_empty());
        if has(&fds[0]) {
            self.bell.hush();
        }
        let mut readable = [false; 4];
        for (fd, readable) in fds[1..used].iter().zip(&mut readable) {
            *readable = has(fd);
        }
        readable
    }

    /// Reads the clocks, and sees to it that they still agree.
    fn look(&mut self) -> Now {
        look(&mut self.schedule)
    }

    /// Takes everything that waits in those sockets.
    fn hear(&mut self, readable: Readable) {
        let Self { sockets, inbox, reports, judge, schedule, v4_drops, v6_drops, throttle, .. } = self;
        for (socket, _) in sockets.iter_mut().zip(readable).filter(|(_, readable)| *readable) {
            let origin = socket.origin();
            let mut swamped = false;
            for _ in 0..MOST_BATCHES {
                let emptied = socket.receive(inbox);
                // Taken after the packets: the stamp of an echo is there before its reply.
                take_reports(socket, reports, judge, schedule);
                // Read after the packets came, before they are judged: their stamps must be of this clock.
                let now = look(schedule);
                for packet in inbox.packets() {
                    judge.take(packet, origin, schedule, now);
                }
                match emptied {
                    Ok(true) => break,
                    Ok(false) => swamped = true,
                    Err(error) => {
                        if throttle.allows(now.monotonic).is_some() {
                            warn!("cannot receive {} packets: {error}", origin.family);
                        }
                        break;
                    }
                }
            }
            // Only where packets have piled up can the buffer have been too small.
            let seen = match origin.family {
                Family::V4 => &mut *v4_drops,
                Family::V6 => &mut *v6_drops,
            };
            let dropped = if swamped { new_drops(socket, seen) } else { 0 };
            if dropped > 0 {
                let now = clock::now().monotonic;
                schedule.overflowed(origin.family, now);
                if throttle.allows(now).is_some() {
                    warn!("the {} receive buffer overflowed, {dropped} packets are gone", origin.family);
                }
            }
        }
    }

    /// Does all that is due, and returns when the next thing is.
    fn work(&mut self, now: Monotonic) -> Monotonic {
        loop {
            match self.schedule.poll(now) {
                Action::Send(request) => self.push(request),
                Action::Listen => {
                    self.send();
                    let until = self.look().monotonic;
                    self.hear([true; 4]);
                    self.schedule.heard(until);
                }
                Action::Wait(until) => {
                    self.send();
                    return until;
                }
            }
        }
    }

    /// Puts an echo with those that are sent together.
    fn push(&mut self, Request { number, to }: Request) {
        let tag = self.judge.tag(number, to.ip());
        let (target, family) = (number.target as usize, Family::of(to.ip()));
        let settings = &self.echoes[target];
        let Some(socket) = self.sockets.of(family, settings.dont_fragment) else {
            return self.schedule.failed(number, Fault::NoSocket, clock::now().monotonic);
        };
        let route = match &mut self.routes[target] {
            Some((known, route)) if *known == family => route,
            unknown => match Route::new(settings, socket.origin()) {
                Ok(route) => &mut unknown.insert((family, route)).1,
                Err(why) => {
                    let errno = match why {
                        NoRoute::Interface { errno, .. } => errno as i32,
                        NoRoute::Source { .. } | NoRoute::DatagramSource { .. } => libc::EAFNOSUPPORT,
                    };
                    return fail(&mut self.schedule, &mut self.judge, number, errno);
                }
            },
        };
        if !socket.push(number.into(), tag, to, route) {
            take_reports(socket, &mut self.reports, &mut self.judge, &mut self.schedule);
            send(socket, &mut self.schedule, &mut self.judge);
            let pushed = socket.push(number.into(), tag, to, route);
            debug_assert!(pushed, "it was just emptied");
        }
    }

    /// Sends all that was pushed.
    fn send(&mut self) {
        let Self { sockets, reports, judge, schedule, .. } = self;
        for socket in sockets.iter_mut() {
            take_reports(socket, reports, judge, schedule);
            send(socket, schedule, judge);
        }
    }

    /// Hands over the rounds that are done.
    fn hand_over(&mut self, now: Monotonic) -> Result<(), Gone> {
        while let Some((target, round)) = self.schedule.take_round() {
            if round.is_down() {
                self.names.doubt(target, now);
            }
            match self.rounds.try_send(round) {
                Ok(()) => {}
                Err(TrySendError::Disconnected(_)) => return Err(Gone),
                Err(TrySendError::Full(round)) => {
                    self.dropped_rounds += 1;
                    if self.throttle.allows(now).is_some() {
                        let (name, dropped) = (&round.target().name, self.dropped_rounds);
                        warn!("{name}: a round is dropped, the monitor does not keep up ({dropped} so far)");
                    }
                }
            }
        }
        Ok(())
    }
}

/// Sends what was pushed to a socket.
fn send(socket: &mut EchoSocket, schedule: &mut Schedule, judge: &mut Judge) {
    socket.send(|number, handed| match handed {
        Ok(Handed { monotonic, wall }) => schedule.sent(number.into(), monotonic, wall),
        Err(errno) => fail(schedule, judge, number.into(), errno),
    });
}

fn fail(schedule: &mut Schedule, judge: &mut Judge, number: Number, errno: i32) {
    let now = clock::now().monotonic;
    schedule.failed(number, Fault::Send(errno), now);
    judge.tell(number.target, Trouble::Send(errno), now);
}

/// Takes everything that the error queue of a socket tells.
fn take_reports(socket: &mut EchoSocket, reports: &mut Reports, judge: &mut Judge, schedule: &mut Schedule) {
    let now = clock::now();
    for _ in 0..MOST_BATCHES {
        let emptied = socket.take_reports(reports, |report| match report {
            Report::Sent { number, at } => schedule.stamped(number.into(), at),
            Report::Icmp { reason, from, to, quote, .. } => judge.take_error(reason, from, to, quote, now),
        });
        match emptied {
            Ok(false) => {}
            Ok(true) => return,
            Err(error) => return debug!("cannot read the error queue: {error}"),
        }
    }
}

/// Reads the clocks, and says so if one of them was set.
fn look(schedule: &mut Schedule) -> Now {
    let now = clock::now();
    match schedule.observe(now) {
        Some(Jump::Slept(slept)) => warn!("the machine slept for {:.1} s", slept.as_secs_f64()),
        Some(Jump::Set(by)) => warn!("the clock was set by {:+.3} s", by as f64 / 1e9),
        None => {}
    }
    now
}

/// How many packets a socket has dropped since that was last asked. The kernel counts damaged packets of IPv6 the same
/// way, so only a socket that was found swamped is asked.
fn new_drops(socket: &EchoSocket, seen: &mut u32) -> u32 {
    let Ok(count) = socket.drops() else { return 0 };
    count.wrapping_sub(std::mem::replace(seen, count))
}

/// A wake-up later than this is worth a line.
const HELD_UP: Duration = Duration::from_secs(1);

/// More packets than a receive buffer holds (the kernel counts at least 512 bytes for the smallest, of 8 MiB), and a
/// bound on how long a flood can keep the thread from sending.
const MOST_BATCHES: usize = 16_384 / BATCH;
