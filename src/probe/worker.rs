//! The prober's thread: waits for packets and for the time, listens, sends, hands over rounds. Everything that it decides
//! is decided in [`Schedule`] and [`Judge`].
//!
//! The kernel stamps what leaves and what comes in, so nothing has to be read the moment it is there. While echoes fall due
//! within each collect span, the thread wakes for those only, and reads on the way what the last ones brought. With less to
//! do it wakes for packets, and at most once in a span when they are many.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Sender, TrySendError};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};
use tracing::warn;

use super::clock::{self, Monotonic, Now};
use super::icmp::Secret;
use super::judge::Judge;
use super::post::{Post, Waiting, look};
use super::resolve::Names;
use super::schedule::{Action, Schedule};
use super::socket::{MOST_SOCKETS, Sockets, Stamps};
use super::tally::{Counts, Throttle};
use super::uplink::Uplink;
use super::uplink::watch::Watch;
use super::{Bell, Pace, Settings, wake};
use crate::round::Round;

/// What the thread owns.
pub(super) struct Worker {
    post: Post,
    judge: Judge,
    schedule: Schedule,
    names: Names,
    watch: Watch,
    rounds: Sender<Round>,
    changes: Sender<Uplink>,
    bell: Arc<Bell>,
    pace: Pace,
    /// When packets last woke the thread, and whether they do so all the time.
    woken: Monotonic,
    busy: bool,
    throttle: Throttle,
    held_throttle: Throttle,
}

/// What ended a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Woken {
    /// It was time, or the bell rang.
    ByTime,
    /// Something came in.
    ByPackets,
}

/// The other end of the rounds is gone.
struct Gone;

impl Worker {
    /// A worker that has joined the rounds that are running now.
    pub(super) fn new(
        settings: &Settings,
        sockets: Sockets,
        secret: Secret,
        (rounds, changes): (Sender<Round>, Sender<Uplink>),
        bell: Arc<Bell>,
    ) -> io::Result<Self> {
        let now = clock::now();
        let Settings { targets, pace, resolve_every, anchors, known_anchors } = settings;
        let pace = pace.in_bunches(targets);
        let (kinds, by_kernel) = (sockets.kinds(), sockets.stamps() == Stamps::Kernel);
        let ring = Arc::clone(&bell);
        let names = Names::new(targets, *resolve_every, kinds, now.monotonic, move || ring.ring())?;
        let ring = Arc::clone(&bell);
        Ok(Self {
            watch: Watch::new(targets, anchors, move || ring.ring()),
            post: Post::new(targets, sockets),
            judge: Judge::new(targets, secret, by_kernel),
            schedule: Schedule::new(targets, &pace, known_anchors, now),
            names,
            rounds,
            changes,
            bell,
            pace,
            woken: Monotonic::LONG_AGO,
            busy: false,
            throttle: Throttle::default(),
            held_throttle: Throttle::rare(),
        })
    }

    /// What did not count, and will not.
    pub(super) fn counts(&self) -> Arc<Counts> {
        Arc::clone(self.judge.counts())
    }

    /// Pings until the bell says to stop, or nobody takes the rounds any more.
    pub(super) fn run(mut self) {
        let mut until = clock::now().monotonic;
        while !self.bell.is_stopped() {
            self.sleep(until);
            let now = look(&mut self.schedule);
            self.bell.count_turn();
            let late = now.monotonic.since(until);
            if late > HELD_UP {
                warn!("the prober was held up for {:.1} s", late.as_secs_f64());
            }
            self.listen(now);
            let now = now.monotonic;
            while let Some((target, address)) = self.names.take_address(now) {
                self.schedule.set_address(target, address);
                self.judge.set_address(target, address);
                self.watch.set_address(target, address);
            }
            while let Some(lay) = self.watch.take() {
                self.schedule.lay(&lay, now);
            }
            let Ok(next) = self.work(now) else { return };
            until = next.min(self.names.poll(now));
        }
    }

    /// Sleeps until then, or until there is a reason to look at what came in.
    fn sleep(&mut self, until: Monotonic) {
        let now = clock::now().monotonic;
        if until.since(now) <= self.pace.collect {
            self.wait(until, false);
            return;
        }
        let rested = self.woken.plus(self.pace.collect);
        let woken = if self.busy && now < rested {
            self.wait(rested.min(until), false);
            self.busy = self.waiting() != NOTHING;
            if self.busy { Woken::ByPackets } else { Woken::ByTime }
        } else {
            self.wait(until, true)
        };
        if woken == Woken::ByPackets {
            let now = clock::now().monotonic;
            self.busy |= now.since(self.woken) < 2 * self.pace.collect;
            self.woken = now;
        }
    }

    /// Waits until then, until the bell rings, or until something comes in where that is wanted.
    fn wait(&self, until: Monotonic, wake_for_packets: bool) -> Woken {
        let timeout = until.since(clock::now().monotonic);
        let mut fds =
            [(); 1 + MOST_SOCKETS].map(|()| PollFd::new(self.bell.event.as_fd(), PollFlags::POLLIN));
        let mut used = 1;
        if wake_for_packets {
            for (fd, socket) in fds[1..].iter_mut().zip(self.post.sockets()) {
                *fd = PollFd::new(socket, PollFlags::POLLIN);
                used += 1;
            }
        }
        let ready = poll(&mut fds[..used], timeout);
        if fds[0].any() == Some(true) {
            self.bell.hush();
            return Woken::ByTime;
        }
        if ready { Woken::ByPackets } else { Woken::ByTime }
    }

    /// What waits in each socket.
    fn waiting(&self) -> [Waiting; MOST_SOCKETS] {
        let mut fds = [(); MOST_SOCKETS].map(|()| PollFd::new(self.bell.event.as_fd(), PollFlags::POLLIN));
        let mut used = 0;
        for (fd, socket) in fds.iter_mut().zip(self.post.sockets()) {
            *fd = PollFd::new(socket, PollFlags::POLLIN);
            used += 1;
        }
        let mut waiting = NOTHING;
        if poll(&mut fds[..used], Duration::ZERO) {
            for (fd, waiting) in fds[..used].iter().zip(&mut waiting) {
                let events = fd.revents().unwrap_or(PollFlags::empty());
                waiting.packets = events.contains(PollFlags::POLLIN);
                waiting.reports = !events.is_empty();
            }
        }
        waiting
    }

    /// Hands in everything that came in until `now`, which was read before.
    fn listen(&mut self, now: Now) {
        let waiting = self.waiting();
        self.post.hear(waiting, now, &mut self.judge, &mut self.schedule);
        self.schedule.heard(now.monotonic);
    }

    /// Does all that is due, and returns when the next thing is.
    fn work(&mut self, now: Monotonic) -> Result<Monotonic, Gone> {
        let mut sent = false;
        loop {
            match self.schedule.poll(now) {
                Action::Send(request) => {
                    self.post.push(request, &mut self.judge, &mut self.schedule);
                    sent = true;
                }
                Action::Listen => {
                    let until = look(&mut self.schedule);
                    self.listen(until);
                }
                Action::HandOver => self.hand_over(now)?,
                Action::Wait(until) => {
                    if !std::mem::take(&mut sent) {
                        self.hand_over(now)?;
                        return Ok(until);
                    }
                    self.post.send(&mut self.judge, &mut self.schedule);
                    if until.since(now) > self.pace.collect {
                        // The stamps are there already, and would wake us at once.
                        let until = look(&mut self.schedule);
                        self.listen(until);
                    }
                }
            }
        }
    }

    /// Hands over the rounds that are done and the news of our own uplink, and says so where the pace held echoes back.
    fn hand_over(&mut self, now: Monotonic) -> Result<(), Gone> {
        if self.schedule.was_held() && self.held_throttle.allows(now).is_some() {
            let Pace { packets_per_sec, in_flight, .. } = self.pace;
            warn!(
                "pings leave late, or not in their time: more are due than {packets_per_sec} packets a second, or \
                 {in_flight} under way, allow"
            );
        }
        if let Some(news) = self.schedule.take_news()
            && self.changes.try_send(self.schedule.told(&news)).is_err()
        {
            self.schedule.put_back(news);
        }
        self.judge.tell_rest(now);
        while let Some((target, round)) = self.schedule.take_round() {
            if round.sorted().is_empty() {
                self.names.doubt(target, now);
            }
            match self.rounds.try_send(round) {
                Ok(()) => {}
                Err(TrySendError::Disconnected(_)) => return Err(Gone),
                Err(TrySendError::Full(round)) => {
                    let dropped = self.judge.counts().count_round();
                    if self.throttle.allows(now).is_some() {
                        let name = &round.target().name;
                        warn!("{name}: a round is dropped, the monitor does not keep up ({dropped} so far)");
                    }
                }
            }
        }
        Ok(())
    }
}

/// True when any of our own descriptors has something.
fn poll(fds: &mut [PollFd<'_>], timeout: Duration) -> bool {
    match wake::poll(fds, timeout) {
        Ok(ready) => ready > 0,
        Err(Errno::EINTR) => false,
        Err(errno) => panic!("poll on our own descriptors failed: {errno}"),
    }
}

const NOTHING: [Waiting; MOST_SOCKETS] = [Waiting { packets: false, reports: false }; MOST_SOCKETS];

/// A wake-up later than this is worth a line.
const HELD_UP: Duration = Duration::from_secs(1);
