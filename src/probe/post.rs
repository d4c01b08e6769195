//! Echoes out, packets and reports in: the sockets, with what each call needs, on behalf of schedule and judge.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use tracing::{debug, warn};

use super::clock::{self, Now, Wall};
use super::course::{Number, Request};
use super::drops::Drops;
use super::icmp::Family;
use super::judge::{Judge, Trouble};
use super::schedule::{Jump, Schedule};
use super::socket::{
    BATCH, EchoSocket, Handed, Inbox, MOST_SOCKETS, Origin, Report, Reports, Route, Sockets,
};
use super::tally::Throttle;
use super::{EchoSettings, TargetSettings};
use crate::round::Fault;

/// The sockets and their buffers, and how each target's echoes leave.
pub(super) struct Post {
    sockets: Sockets,
    ears: Ears,
    /// Targets with the same settings, which most are, share one.
    ways: Vec<Way>,
    /// For each target the place of its way.
    places: Vec<u32>,
    /// That of the anchors, which are no targets.
    anchors: Way,
    /// For each socket what it had no room for.
    drops: Vec<Drops>,
}

/// What hearing takes.
struct Ears {
    inbox: Inbox,
    reports: Reports,
    throttle: Throttle,
    /// Whether everything was heard and nothing sent since: then no error queue has to be emptied before a send.
    fresh: bool,
}

/// The routes of the same settings in both families, where they are known.
struct Way {
    settings: EchoSettings,
    v4: Option<Route>,
    v6: Option<Route>,
}

/// What waits in a socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Waiting {
    /// Packets.
    pub(super) packets: bool,
    /// Stamps of what was sent, and errors.
    pub(super) reports: bool,
}

impl Post {
    /// For `targets`, by these sockets.
    pub(super) fn new(targets: &[TargetSettings], sockets: Sockets) -> Self {
        let mut ways = Vec::new();
        let mut known: HashMap<&EchoSettings, u32> = HashMap::new();
        let places = targets.iter().map(|TargetSettings { echo, .. }| {
            *known.entry(echo).or_insert_with(|| {
                ways.push(Way { settings: echo.clone(), v4: None, v6: None });
                ways.len() as u32 - 1
            })
        });
        let places = places.collect();
        let longest = targets.iter().map(|it| it.echo.payload).max().unwrap_or(0);
        Self {
            ears: Ears {
                inbox: Inbox::new(longest),
                reports: Reports::new(),
                throttle: Throttle::default(),
                fresh: false,
            },
            drops: sockets
                .iter()
                .map(|socket| Drops::new(socket.drops().unwrap_or(0), socket.origin().counts_damaged()))
                .collect(),
            sockets,
            ways,
            places,
            anchors: Way { settings: EchoSettings::of_anchors(), v4: None, v6: None },
        }
    }

    /// Each socket to be waited for, in an order that stays; at most [`MOST_SOCKETS`].
    pub(super) fn sockets(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.sockets.iter().map(AsFd::as_fd).take(MOST_SOCKETS)
    }

    /// Puts an echo with those that leave together by [`Post::send`].
    pub(super) fn push(&mut self, request: Request, judge: &mut Judge, schedule: &mut Schedule) {
        let Request { number, to } = request;
        let family = Family::of(to.ip());
        let way = way_of(&mut self.ways, &self.places, &mut self.anchors, number);
        let EchoSettings { dont_fragment, source, .. } = way.settings;
        let Some(socket) = self.sockets.of(family, dont_fragment, source) else {
            return schedule.failed(number, Fault::NoSocket, clock::now().monotonic);
        };
        let route = match way.route(socket.origin()) {
            Ok(route) => route,
            Err(errno) => return fail(number, errno, judge, schedule),
        };
        let tag = judge.tag(number, to.ip());
        if !socket.push(number.into(), tag, to, route) {
            let refused = send_from(socket, &mut self.ears, judge, schedule);
            let pushed = socket.push(number.into(), tag, to, route);
            debug_assert!(pushed, "it was just emptied");
            self.look_up_again(refused);
        }
    }

    /// Sends all that was pushed.
    pub(super) fn send(&mut self, judge: &mut Judge, schedule: &mut Schedule) {
        let Self { sockets, ears, .. } = self;
        let refused = sockets.iter_mut().filter_map(|socket| send_from(socket, ears, judge, schedule)).last();
        self.look_up_again(refused);
    }

    /// Hands in everything that waits in the sockets and came in until `until`, which was read before.
    pub(super) fn hear(
        &mut self,
        waiting: [Waiting; MOST_SOCKETS],
        until: Now,
        judge: &mut Judge,
        schedule: &mut Schedule,
    ) {
        let Self { sockets, ears, drops, .. } = self;
        ears.fresh = true;
        for ((socket, waiting), drops) in sockets.iter_mut().zip(waiting).zip(drops) {
            match waiting {
                Waiting { packets: true, .. } => ears.take_packets(socket, until.wall, judge, schedule),
                Waiting { reports: true, .. } => ears.take_reports(socket, judge, schedule),
                Waiting { .. } => {}
            }
            let was_full = socket.was_full();
            let dropped = drops.new_ones(was_full, until.monotonic, || socket.drops().ok());
            if dropped > 0 {
                let (now, family) = (clock::now().monotonic, socket.origin().family);
                schedule.overflowed(family, now);
                judge.counts().count_dropped(dropped);
                if ears.throttle.allows(now).is_some() {
                    warn!("the {family} receive buffer overflowed, {dropped} packets are gone");
                }
            }
        }
    }

    /// An interface that went away and comes back has another index.
    fn look_up_again(&mut self, refused: Option<Number>) {
        if let Some(number) = refused {
            let way = way_of(&mut self.ways, &self.places, &mut self.anchors, number);
            (way.v4, way.v6) = (None, None);
        }
    }
}

/// How the echo of that number leaves.
fn way_of<'a>(ways: &'a mut [Way], places: &[u32], anchors: &'a mut Way, number: Number) -> &'a mut Way {
    places.get(number.target as usize).and_then(|place| ways.get_mut(*place as usize)).unwrap_or(anchors)
}

impl Way {
    fn route(&mut self, origin: Origin) -> Result<&Route, i32> {
        let known = match origin.family {
            Family::V4 => &mut self.v4,
            Family::V6 => &mut self.v6,
        };
        if known.is_none() {
            let route = Route::new(&self.settings, origin).map_err(|why| why.errno())?;
            *known = Some(route);
        }
        known.as_ref().ok_or(libc::EIO)
    }
}

/// Sends what was pushed to a socket; returns an echo whose interface is not there any more, if there was one.
fn send_from(
    socket: &mut EchoSocket,
    ears: &mut Ears,
    judge: &mut Judge,
    schedule: &mut Schedule,
) -> Option<Number> {
    if socket.is_idle() {
        return None;
    }
    if !std::mem::take(&mut ears.fresh) {
        ears.take_reports(socket, judge, schedule);
    }
    let mut gone = None;
    socket.send(|number, handed| {
        let number = Number::from(number);
        match handed {
            Ok(Handed { wall, .. }) => schedule.sent(number, wall),
            Err(errno) => {
                fail(number, errno, judge, schedule);
                if errno == libc::ENODEV {
                    gone = Some(number);
                }
            }
        }
    });
    gone
}

fn fail(number: Number, errno: i32, judge: &mut Judge, schedule: &mut Schedule) {
    let now = clock::now().monotonic;
    schedule.failed(number, Fault::Send(errno), now);
    judge.tell(number.target, Trouble::Send(errno), now);
}

impl Ears {
    /// Takes the packets that wait in a socket and came before `until`, with the reports.
    fn take_packets(
        &mut self,
        socket: &mut EchoSocket,
        until: Wall,
        judge: &mut Judge,
        schedule: &mut Schedule,
    ) {
        let origin = socket.origin();
        let until = until.plus(UNORDERED);
        for _ in 0..MOST_BATCHES {
            let emptied = socket.receive(&mut self.inbox);
            // The stamp of an echo is there before its reply: taken after the packets, the reports have it.
            self.take_reports(socket, judge, schedule);
            // Read after the packets came, before they are judged: their stamps must be of this clock.
            let now = look(schedule);
            let mut newest = None;
            for packet in self.inbox.packets() {
                judge.take(packet, origin, schedule, now);
                newest = packet.stamp;
            }
            match emptied {
                // However many come in meanwhile, they end here: they lie in the order in which they came. One without a
                // stamp does not tell.
                Ok(emptied) if emptied || newest.is_some_and(|newest| newest > until) => break,
                Ok(_) => {}
                Err(error) => {
                    if self.throttle.allows(now.monotonic).is_some() {
                        warn!("cannot receive {} packets: {error}", origin.family);
                    }
                    break;
                }
            }
        }
    }

    /// Takes everything that the error queue of a socket tells.
    fn take_reports(&mut self, socket: &mut EchoSocket, judge: &mut Judge, schedule: &mut Schedule) {
        for _ in 0..MOST_BATCHES {
            let now = clock::now();
            let emptied = socket.take_reports(&mut self.reports, |report| match report {
                Report::Sent { number, at } => schedule.stamped(number.into(), at),
                Report::Icmp { reason, from, to, quote, .. } => {
                    judge.take_error(reason, from, to, quote, schedule, now);
                }
            });
            match emptied {
                Ok(false) => {}
                Ok(true) => return,
                Err(error) => {
                    debug!("cannot read the error queue: {error}");
                    return;
                }
            }
        }
    }
}

/// Reads the clocks, sees to it that they still agree, and says so if one of them was set.
pub(super) fn look(schedule: &mut Schedule) -> Now {
    let now = clock::now();
    if let Some(jump) = schedule.observe(now) {
        say(jump);
    }
    now
}

fn say(jump: Jump) {
    match jump {
        Jump::Slept(slept) => warn!("the machine slept for {:.1} s", slept.as_secs_f64()),
        Jump::Set(by) => warn!("the clock was set by {:+.3} s", by as f64 / 1e9),
    }
}

/// A bound on how long a flood of packets without stamps, or of ICMP errors, can keep the thread from all else; a million
/// stamps are within it.
const MOST_BATCHES: usize = (1 << 20) / BATCH;

/// By how much packets that came in by several processors may lie out of order.
const UNORDERED: Duration = Duration::from_millis(1);

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};
    use std::sync::Arc;

    use nix::sys::socket::{TimestampingFlag, setsockopt, sockopt};

    use super::*;
    use crate::probe::logged::logged;
    use crate::probe::schedule::Action;
    use crate::probe::{Anchors, OpenSockets, Pace, RESOLVE_EVERY, Settings};
    use crate::round::{Round, Target};
    use crate::time::Step;

    /// The kernel stamps what comes in some time after the first socket wants it, and other systems by their own rules. After a
    /// stall all that waits is read all the same, and not one inbox of it: the rest would be lost.
    #[test]
    fn replies_without_stamps_are_all_heard() {
        const COUNT: u32 = 5 * BATCH as u32;
        const TIMEOUT: Duration = Duration::from_secs(60);
        let target = |n| TargetSettings {
            target: Arc::new(Target { name: format!("{n}"), host: "127.0.0.1".to_owned() }),
            step: Step::new(1).unwrap(),
            pings: 1,
            timeout: TIMEOUT,
            family: None,
            echo: EchoSettings::default(),
        };
        let settings = Settings {
            targets: (0..COUNT).map(target).collect(),
            pace: Pace::default(),
            resolve_every: RESOLVE_EVERY,
            anchors: Anchors::default(),
            known_anchors: Vec::new(),
        };
        let OpenSockets { sockets, secret } = OpenSockets::open(&settings).expect("this test needs root");
        for socket in sockets.iter() {
            // Echoes go on to name their stamps, and nobody is told any.
            let keyed = TimestampingFlag::SOF_TIMESTAMPING_TX_SOFTWARE
                | TimestampingFlag::SOF_TIMESTAMPING_OPT_ID
                | TimestampingFlag::SOF_TIMESTAMPING_OPT_TSONLY;
            setsockopt(socket, sockopt::Timestamping, &keyed).unwrap();
        }
        let begun = clock::now();
        let mut schedule = Schedule::new(&settings.targets, &settings.pace, &[], begun);
        let mut judge = Judge::new(&settings.targets, secret, false);
        let mut post = Post::new(&settings.targets, sockets);
        for n in 0..COUNT {
            schedule.set_address(n, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        }
        let (mut sent, mut now) = (0, begun.monotonic);
        while sent < COUNT {
            while let Action::Send(request) = schedule.poll(now) {
                post.push(request, &mut judge, &mut schedule);
                sent += 1;
            }
            post.send(&mut judge, &mut schedule);
            std::thread::sleep(Duration::from_millis(5));
            now = clock::now().monotonic;
        }
        post.hear(
            [Waiting { packets: true, reports: true }; MOST_SOCKETS],
            clock::now(),
            &mut judge,
            &mut schedule,
        );
        // What was not heard by now is lost then.
        let over = now.plus(2 * TIMEOUT);
        schedule.heard(over);
        while !matches!(schedule.poll(over), Action::Wait(_)) {}
        let rounds: Vec<Round> =
            std::iter::from_fn(|| schedule.take_round()).map(|(_, round)| round).collect();
        let (lost, known) =
            rounds.iter().fold((0, 0), |(lost, known), it| (lost + it.lost(), known + it.known()));
        assert_eq!((lost, known), (0, sent as usize));
    }

    #[test]
    fn a_clock_that_was_set_and_a_machine_that_slept_are_told() {
        let now = clock::now();
        let ago = Now { wall: Wall(now.wall.0 - 3_600_000_000_000), ..now };
        let mut schedule = Schedule::new(&[], &Pace::default(), &[], ago);
        let log = logged(|| {
            look(&mut schedule);
            look(&mut schedule);
        });
        assert_eq!(log.matches("the clock was set by +3600.").count(), 1, "{log}");
        let log = logged(|| {
            say(Jump::Set(-1_500_000_000));
            say(Jump::Slept(Duration::from_millis(90_210)));
        });
        assert!(log.contains("the clock was set by -1.500 s"), "{log}");
        assert!(log.contains("the machine slept for 90.2 s"), "{log}");
    }
}
