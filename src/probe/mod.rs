//! Pings: ICMP echoes over raw or datagram sockets, spread over each target's step, gathered into rounds.
//!
//! ```text
//! mod       the door
//! worker    the thread: waits, listens, sends
//! post      echoes out, packets and reports in; drops: what there was no room for (pure)
//! judge     whose packet is it; proof: whether it is the reply to an echo of ours (pure)
//! resolve   names in the background; dns: the thread that asks
//! schedule  what is due, and what became of it (pure); course: the same for one target; meter: how much may leave;
//!           blame: what our own side did to it
//! socket    the kernel's side, with its differences
//! icmp      the wire format (pure)
//! tally     what did not count; clock: the clocks
//! uplink    whether it is us: gateways, routes, carriers
//! wake      how the thread sleeps, and is woken
//!
//! look      one look at some targets; trace: the path to one
//! asker     what these two have in common; flights: which echoes are under way (pure)
//! ```

mod asker;
mod blame;
mod clock;
mod course;
mod drops;
mod flights;
pub mod icmp;
mod judge;
#[cfg(test)]
mod logged;
mod look;
mod meter;
mod open_round;
mod post;
pub mod proof;
mod resolve;
mod schedule;
mod socket;
mod tally;
mod trace;
mod uplink;
mod wake;
mod worker;

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

pub use self::asker::{Odd, keep_spares, open_ahead, open_spares};
use self::icmp::{Family, Secret};
pub use self::look::{LookEvent, LookSettings, LookTarget, Looked, OddReplies, Refusals, Stop, look};
pub use self::resolve::lookup::{NotFound, addresses, names};
use self::socket::{Backlog, Identity, Sockets, Wanted};
pub use self::socket::{ReceiveBuffer, Refused, SocketKind, SocketKinds, Stamps, control};
pub use self::tally::{Counts, Ignored};
pub use self::trace::{Hop, HopAnswer, Path, PathEnd, TraceSettings, trace, trace_all};
#[cfg(target_os = "linux")]
pub use self::uplink::netlink;
pub use self::uplink::{Anchors, Cut, Gateway, TELLS_GATEWAYS, Uplink, VERDICT, WaysOut, ways_out};
use self::wake::Event;
use self::worker::Worker;
use crate::round::{Fault, Round, Target};
use crate::time::Step;

/// What the prober is told: whom to ping, and how.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Every target, each with its own rhythm.
    pub targets: Vec<TargetSettings>,
    /// How the echoes of all of them leave.
    pub pace: Pace,
    /// How long the address of a name is believed before it is looked up again.
    pub resolve_every: Duration,
    /// Who tells an outage of our own uplink from one of the targets.
    pub anchors: Anchors,
    /// Those that answered an earlier prober.
    pub known_anchors: Vec<IpAddr>,
}

/// How the echoes of all targets leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Echoes that fall due within this time are sent together: fewer system calls and wake-ups, and the kernel's
    /// stamps keep the round trips exact.
    pub collect: Duration,
    /// No more echoes a second than this.
    pub packets_per_sec: u32,
    /// No more echoes under way at once than this.
    pub in_flight: u32,
}

impl Pace {
    /// The same for these targets. Where so many echoes are due that they would make long bunches, each shorter: the
    /// last of a bunch waits in the device's queue behind the others, and by its stamps that is the network's time.
    fn in_bunches(self, targets: &[TargetSettings]) -> Self {
        let bunch =
            Duration::try_from_secs_f64(f64::from(BUNCH) / usual_rate(targets)).unwrap_or(Duration::MAX);
        Self { collect: self.collect.min(bunch), ..self }
    }
}

/// How many echoes of these targets are due in a second.
fn usual_rate(targets: &[TargetSettings]) -> f64 {
    targets.iter().map(|it| f64::from(it.pings) / it.step.duration().as_secs_f64()).sum()
}

impl Default for Pace {
    fn default() -> Self {
        Self { collect: Duration::from_millis(10), packets_per_sec: 100_000, in_flight: 1_000_000 }
    }
}

/// How one target is pinged.
#[derive(Clone, Debug)]
pub struct TargetSettings {
    /// Who.
    pub target: Arc<Target>,
    /// The length of a round.
    pub step: Step,
    /// How many echoes a round has, spread evenly over the step.
    pub pings: u16,
    /// How long a reply may take; a later one is lost.
    pub timeout: Duration,
    /// The family of the address that is asked, where the name has both; `None` leaves that to the resolver.
    pub family: Option<Family>,
    /// What its echoes look like, and where they leave.
    pub echo: EchoSettings,
}

/// What the echoes of one target look like, and where they leave.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EchoSettings {
    /// Bytes of payload, from [`EchoSettings::LEAST_PAYLOAD`] to [`EchoSettings::MOST_PAYLOAD`].
    pub payload: u16,
    /// Time to live, or hop limit; `None` is the system's.
    pub ttl: Option<u8>,
    /// The differentiated services code point, 0 to 63.
    pub dscp: u8,
    /// Whether routers may not fragment it (and this machine does not).
    pub dont_fragment: bool,
    /// The address it leaves from; `None` is the system's choice.
    pub source: Option<IpAddr>,
    /// The interface it leaves by; `None` is the routing table's choice.
    pub interface: Option<String>,
    /// Whether another address than the one that was asked may answer, as with multicast and anycast.
    pub any_source: bool,
}

impl EchoSettings {
    /// The number and the tag that prove a reply to be ours, and the mark by which the kernel knows it.
    pub const LEAST_PAYLOAD: u16 = icmp::LEAST_PAYLOAD;
    /// What fits into an IPv4 packet behind both headers.
    pub const MOST_PAYLOAD: u16 = icmp::MOST_PAYLOAD;

    /// Those of anchors: no longer than any target's, which buffers have room for.
    fn of_anchors() -> Self {
        Self { payload: Self::LEAST_PAYLOAD, ..Self::default() }
    }
}

impl Default for EchoSettings {
    fn default() -> Self {
        Self {
            payload: 56,
            ttl: None,
            dscp: 0,
            dont_fragment: false,
            source: None,
            interface: None,
            any_source: false,
        }
    }
}

/// Why there is no prober.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A privilege is missing.
    #[error("no permission to ping ({why}): {}", permission(program))]
    Forbidden {
        /// What the kernel said.
        why: Refused,
        /// The path of this program.
        program: String,
    },
    /// This machine has no ICMP sockets, and no privilege would help.
    #[error("cannot open a socket to ping with (IPv4: {v4}; IPv6: {v6})")]
    NoSocket {
        /// Why not for IPv4.
        v4: Refused,
        /// Why not for IPv6.
        v6: Refused,
    },
    /// A round without pings.
    #[error("{target}: a round needs at least one ping")]
    NoPings {
        /// Whose.
        target: String,
    },
    /// A timeout that no reply, or any, would meet.
    #[error(
        "{target}: the timeout must be more than nothing and at most {MOST_OPEN_STEPS} steps, not {timeout:?}"
    )]
    Timeout {
        /// Whose.
        target: String,
        /// The timeout.
        timeout: Duration,
    },
    /// A payload that cannot prove its reply to be ours, or that fits into no packet.
    #[error(
        "{target}: the payload must have from {} to {} bytes, not {payload}",
        EchoSettings::LEAST_PAYLOAD,
        EchoSettings::MOST_PAYLOAD
    )]
    Payload {
        /// Whose.
        target: String,
        /// Its bytes.
        payload: u16,
    },
    /// Addresses that are believed for no time: names would be looked up without a pause.
    #[error("a looked up address must be believed for more than no time")]
    NoBelief,
    /// Echoes cannot leave as the settings want it.
    #[error("cannot ask {to}: {why}")]
    Unroutable {
        /// Whom.
        to: IpAddr,
        /// Why not.
        why: String,
    },
    /// Our own machine sent none of the echoes.
    #[error("cannot ask {to}: {fault}")]
    NotSent {
        /// Whom.
        to: IpAddr,
        /// Why not.
        fault: Fault,
    },
    /// The kernel refused something else.
    #[error("cannot {operation}: {error}")]
    System {
        /// What was tried.
        operation: &'static str,
        /// What the kernel said.
        error: io::Error,
    },
}

/// Sockets to ping with. They are opened apart from the prober that uses them, since that takes a privilege which a process
/// gives up before it starts its first thread.
pub struct OpenSockets {
    sockets: Sockets,
    /// By which their echoes are known to be ours.
    secret: Secret,
}

impl OpenSockets {
    /// Opens what the targets of `settings` need, which are checked first; each family that this machine allows.
    pub fn open(settings: &Settings) -> Result<Self, Error> {
        settings.check()?;
        let secret = Secret::new(random()?);
        let identity = Identity { identifier: u16::from_ne_bytes(random()?), mark: secret.mark() };
        let sockets = Sockets::open(&settings.wanted(identity)).map_err(Error::no_socket)?;
        Ok(Self { sockets, secret })
    }

    /// Takes over what [`OpenSockets::into_descriptors`] gave in another process, for the same settings. Echoes that
    /// are still under way for that process are not taken for ours.
    pub fn adopt(descriptors: Vec<OwnedFd>, settings: &Settings) -> Result<Self, Error> {
        settings.check()?;
        let secret = Secret::new(random()?);
        let identity = Identity { identifier: u16::from_ne_bytes(random()?), mark: secret.mark() };
        let sockets = Sockets::adopt(descriptors, &settings.wanted(identity))
            .map_err(|error| Error::System { operation: "take over the sockets", error })?;
        Ok(Self { sockets, secret })
    }

    /// The sockets alone, for another process of the same settings to adopt.
    pub fn into_descriptors(self) -> Vec<OwnedFd> {
        self.sockets.into_descriptors()
    }

    /// Which there are; for people: `raw, IPv4 IPv6`.
    pub fn kinds(&self) -> SocketKinds {
        self.sockets.kinds()
    }

    /// Who stamps what is sent; for people: `kernel stamps`.
    pub fn stamps(&self) -> Stamps {
        self.sockets.stamps()
    }

    /// Where replies wait while this program is held up.
    pub fn receive_buffer(&self) -> ReceiveBuffer {
        self.sockets.receive_buffer()
    }
}

impl fmt::Debug for OpenSockets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenSockets").field("kinds", &self.kinds()).finish_non_exhaustive()
    }
}

/// The running prober: a thread that pings, and hands over rounds. It ends when this is dropped or stopped, or when the
/// other end of the rounds is.
#[derive(Debug)]
pub struct Prober {
    thread: Option<JoinHandle<()>>,
    bell: Arc<Bell>,
    kinds: SocketKinds,
    stamps: Stamps,
    counts: Arc<Counts>,
    uplink: Receiver<Uplink>,
    /// How often the thread had gone round when that was last asked.
    seen_turns: AtomicU64,
}

impl Prober {
    /// Opens the sockets and starts the thread, as [`Prober::start_on`] does.
    pub fn start(settings: Settings, rounds: Sender<Round>) -> Result<Self, Error> {
        let sockets = OpenSockets::open(&settings)?;
        Self::start_on(sockets, settings, rounds)
    }

    /// Starts the thread on `sockets`, which were opened for `settings`; where more echoes are to be under way by now, their
    /// buffers grow as far as this process still may let them. A round that is done goes into `rounds`, unless
    /// that is full: then it is counted and logged, and gone, since a pinger must not wait. Rounds of the same step end
    /// together: there should be room for one of every target. The thread drops `rounds` when it ends.
    pub fn start_on(
        OpenSockets { mut sockets, secret }: OpenSockets,
        settings: Settings,
        rounds: Sender<Round>,
    ) -> Result<Self, Error> {
        settings.check()?;
        let (kinds, stamps) = (sockets.kinds(), sockets.stamps());
        let system = |operation| move |error| Error::System { operation, error };
        sockets.make_room(settings.backlog()).map_err(system("size the receive buffers"))?;
        let bell = Arc::new(Bell::new().map_err(system("make an event"))?);
        // Who does not take one change hears of the next one that still matters.
        let (changes, uplink) = bounded(1);
        let worker = Worker::new(&settings, sockets, secret, (rounds, changes), Arc::clone(&bell))
            .map_err(system("start a thread for names"))?;
        let counts = worker.counts();
        let thread = thread::Builder::new()
            .name("latmon-probe".to_owned())
            .spawn(move || worker.run())
            .map_err(system("start the prober's thread"))?;
        let seen_turns = AtomicU64::new(0);
        Ok(Self { thread: Some(thread), bell, kinds, stamps, counts, uplink, seen_turns })
    }

    /// Which sockets it uses; for people: `raw, IPv4 IPv6`.
    pub fn sockets(&self) -> SocketKinds {
        self.kinds
    }

    /// Who stamps what is sent; for people: `kernel stamps`.
    pub fn stamps(&self) -> Stamps {
        self.stamps
    }

    /// What came in and did not count so far, of each target by its place in the settings, and in all. It stays readable
    /// when the prober is gone.
    pub fn counts(&self) -> &Arc<Counts> {
        &self.counts
    }

    /// The changes of our own uplink, in turn: it is well at first.
    pub fn uplink(&self) -> &Receiver<Uplink> {
        &self.uplink
    }

    /// Whether the thread went round since this was last asked; wakes it, so that it has reason to before the next time.
    pub fn is_moving(&self) -> bool {
        let turns = self.bell.turns.load(Ordering::Relaxed);
        self.bell.ring();
        self.seen_turns.swap(turns, Ordering::Relaxed) != turns
    }

    /// Ends the thread and waits for that, which takes no longer than what it is just doing. The error is what the thread
    /// panicked with, if it did. Rounds that are not done are dropped.
    pub fn stop(mut self) -> thread::Result<()> {
        self.end()
    }

    fn end(&mut self) -> thread::Result<()> {
        self.bell.stop();
        self.thread.take().map_or(Ok(()), JoinHandle::join)
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        // Who wants to know about a panic asks `stop`.
        let _ = self.end();
    }
}

impl Settings {
    fn wanted(&self, identity: Identity) -> Wanted {
        Wanted::of(self.targets.iter().map(|it| &it.echo), identity, self.backlog())
    }

    /// What may wait for its timeout, and for a while in which this program is held up.
    fn backlog(&self) -> Backlog {
        let echoes = |it: &TargetSettings| {
            f64::from(it.pings) * (it.timeout + HELD_UP).as_secs_f64() / it.step.duration().as_secs_f64()
        };
        let payload = self.targets.iter().map(|it| it.echo.payload).max().unwrap_or(0);
        let echoes = self.targets.iter().map(echoes).sum::<f64>().min(f64::from(self.pace.in_flight));
        Backlog { echoes: echoes as u32, payload }
    }

    fn check(&self) -> Result<(), Error> {
        if self.resolve_every.is_zero() {
            return Err(Error::NoBelief);
        }
        for TargetSettings { target, step, pings, timeout, echo, .. } in &self.targets {
            let target = || target.name.clone();
            if *pings == 0 {
                return Err(Error::NoPings { target: target() });
            }
            if timeout.is_zero() || *timeout > step.duration() * MOST_OPEN_STEPS {
                return Err(Error::Timeout { target: target(), timeout: *timeout });
            }
            if !(EchoSettings::LEAST_PAYLOAD..=EchoSettings::MOST_PAYLOAD).contains(&echo.payload) {
                return Err(Error::Payload { target: target(), payload: echo.payload });
            }
        }
        Ok(())
    }
}

impl Error {
    fn no_socket([v4, v6]: [Refused; 2]) -> Self {
        let program = || std::env::current_exe().map_or("latmon".into(), |path| path.display().to_string());
        match (v4.is_forbidden(), v6.is_forbidden()) {
            (true, _) => Self::Forbidden { why: v4, program: program() },
            (_, true) => Self::Forbidden { why: v6, program: program() },
            (false, false) => Self::NoSocket { v4, v6 },
        }
    }
}

/// How this program gets the permission to ping.
fn permission(program: &str) -> String {
    if cfg!(target_os = "linux") {
        format!(
            "run `setcap cap_net_raw+ep {program}` (or run it as root, or with AmbientCapabilities=CAP_NET_RAW in its \
             unit), or `sysctl -w net.ipv4.ping_group_range=\"0 2147483647\"`"
        )
    } else {
        format!("run {program} as root; `user` in latmon.toml says who it becomes once it has its sockets")
    }
}

fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| Error::System {
        operation: "get random bytes",
        error: io::Error::from_raw_os_error(error.raw_os_error().unwrap_or(libc::EIO)),
    })?;
    Ok(bytes)
}

/// Wakes the thread, and tells it to stop.
#[derive(Debug)]
struct Bell {
    event: Event,
    stopped: AtomicBool,
    /// How often the thread has gone round.
    turns: AtomicU64,
}

impl Bell {
    fn new() -> io::Result<Self> {
        Ok(Self { event: Event::new()?, stopped: AtomicBool::new(false), turns: AtomicU64::new(0) })
    }

    /// Wakes the thread.
    fn ring(&self) {
        self.event.set();
    }

    fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.ring();
    }

    fn hush(&self) {
        self.event.clear();
    }

    /// The thread has looked at its clock once more.
    fn count_turn(&self) {
        self.turns.fetch_add(1, Ordering::Relaxed);
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }
}

/// Enough echoes to share a system call and a wake-up.
const BUNCH: u32 = 50;

/// How long the address of a name is believed, unless the settings say otherwise.
pub const RESOLVE_EVERY: Duration = Duration::from_secs(300);

/// How long this program may be held up without losing a reply.
const HELD_UP: Duration = Duration::from_secs(2);

/// The longest timeout, in steps: it bounds how many rounds of a target are open at once.
const MOST_OPEN_STEPS: u32 = 60;

#[cfg(test)]
mod tests {
    use super::*;

    fn targets(count: u32, step: u32, pings: u16) -> Vec<TargetSettings> {
        let target = |index| TargetSettings {
            target: Arc::new(Target { name: format!("t{index}"), host: "192.0.2.1".to_owned() }),
            step: Step::new(step).unwrap(),
            pings,
            timeout: Duration::from_secs(1),
            family: None,
            echo: EchoSettings::default(),
        };
        (0..count).map(target).collect()
    }

    /// Each of these would make the prober wait for ever, never wait, or take every reply for a forgery.
    #[test]
    fn settings_that_no_prober_can_follow_are_refused() {
        type Change = fn(&mut Settings);
        let complaint = |change: Change| {
            let mut settings = Settings {
                targets: targets(2, 60, 20),
                pace: Pace::default(),
                resolve_every: RESOLVE_EVERY,
                anchors: Anchors::Gateways,
                known_anchors: Vec::new(),
            };
            change(&mut settings);
            settings.check().err().map(|error| error.to_string())
        };
        assert_eq!(complaint(|_| {}), None);
        assert_eq!(complaint(|it| it.targets[1].echo.payload = icmp::LEAST_PAYLOAD), None);
        let cases: [(Change, &str); 6] = [
            (|it| it.targets[1].pings = 0, "t1: a round needs at least one ping"),
            (|it| it.targets[1].timeout = Duration::ZERO, "t1: the timeout must be more than nothing"),
            (|it| it.targets[0].timeout = Duration::from_secs(3601), "and at most 60 steps, not 3601s"),
            (|it| it.targets[1].echo.payload = icmp::LEAST_PAYLOAD - 1, "t1: the payload must have from "),
            (|it| it.targets[0].echo.payload = u16::MAX, "to 65507 bytes, not 65535"),
            (|it| it.resolve_every = Duration::ZERO, "must be believed for more than no time"),
        ];
        for (change, wanted) in cases {
            let told = complaint(change).unwrap_or_default();
            assert!(told.contains(wanted), "{told}: {wanted}");
        }
    }

    #[test]
    fn many_echoes_leave_in_short_bunches() {
        let collected = |targets: &[TargetSettings]| Pace::default().in_bunches(targets).collect;
        assert_eq!(collected(&targets(1000, 20, 20)), Duration::from_millis(10), "10 of 1,000 a second");
        assert_eq!(collected(&targets(1000, 1, 20)), Duration::from_micros(2500), "50 of 20,000 a second");
        assert_eq!(collected(&[]), Duration::from_millis(10));
    }
}
