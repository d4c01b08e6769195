//! How exact round trips are: what the prober records, and what fping prints, against what the network itself logged for
//! the very same packets.
//!
//!     cargo bench --bench accuracy
//!
//! The network is a TUN device in a namespace of its own. Behind it a thread that spins answers every echo half a
//! millisecond after it read it, and notes both times. What a pinger says beyond the time between them is its error.
//! Where the thread itself was not running when a packet came or left, its own times are as wrong as it was late: it sees
//! that by its clock, which it reads all the time, and such echoes are counted apart: `p99 of all` has them too.
//! Needs root and fping. Two rows have eight busy loops beside them on the machine. Exit code 1 where a goal is missed.

#[path = "../tests/support/net/namespace.rs"]
#[allow(dead_code, unreachable_pub, reason = "a part of the tests' network")]
mod namespace;

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use latmon::probe::{Anchors, EchoSettings, Pace, Prober, RESOLVE_EVERY, Settings, TargetSettings};
use latmon::round::{Fault, Ping, Round, Rtt, Target};
use latmon::time::Step;

const TARGETS: usize = 1000;
const PINGS: usize = 20;
/// Short enough for fping to print microseconds: it has three digits.
const DELAY: Duration = Duration::from_micros(500);
const BUSY_LOOPS: usize = 8;

fn main() -> ExitCode {
    let _namespace = namespace::Namespace::enter();
    println!("{TARGETS} targets x {PINGS} pings, errors in microseconds\n");
    println!("| Pinger | Packets/s | Counted | Lost | Unknown | p50 | p90 | p99 | p99 of all |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    let slow = latmon(20, host_v4, "latmon");
    let rows = [("latmon", host_v4 as fn(usize) -> IpAddr), ("latmon, IPv6", host_v6)];
    let mut fast: Vec<Errors> = rows.iter().map(|(name, host)| latmon(1, *host, name)).collect();
    namespace::write_sysctl("net/ipv4/ping_group_range", "0 2147483647");
    fast.extend(rows.map(|(name, host)| latmon(1, host, &format!("{name}, datagram socket"))));
    namespace::write_sysctl("net/ipv4/ping_group_range", "1 0");
    let other = fping("fping");
    let busy = Busy::start();
    let slow_beside = latmon(20, host_v4, "latmon, 8 busy loops");
    fping("fping, 8 busy loops");
    drop(busy);

    println!();
    let ours = || fast.iter().chain([&slow]);
    let all = [
        goal("p50 below 15", ours().all(|row| row.at(0.5) < 15.0)),
        goal("p99 below 100", ours().all(|row| row.at(0.99) < 100.0)),
        goal(
            "at fping's rate no worse than fping",
            slow.at(0.5) <= other.at(0.5) && slow.at(0.99) <= other.at(0.99),
        ),
        goal(
            "p99 beside busy loops within 150 of that without",
            slow_beside.at(0.99) <= slow.at(0.99) + 150.0,
        ),
        goal("no reply lost by us", ours().chain([&slow_beside]).all(|row| row.lost + row.spoilt == 0)),
    ];
    if all.contains(&false) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn goal(what: &str, is_met: bool) -> bool {
    println!("{what}: {}", if is_met { "met" } else { "missed" });
    is_met
}

/// Pings by the prober, a round of `PINGS` in `step_secs`, and prints the errors of the first whole round.
fn latmon(step_secs: u32, host: impl Fn(usize) -> IpAddr, name: &str) -> Errors {
    let network = Network::start();
    let (sender, rounds) = crossbeam_channel::bounded(4 * TARGETS);
    let prober =
        Prober::start(settings(step_secs, host), sender).expect("this bench needs root, for its sockets");
    let mut found: HashMap<IpAddr, Vec<Round>> = HashMap::new();
    // The first round of each is one that had begun.
    while found.len() < TARGETS || found.values().any(|rounds| rounds.len() < 2) {
        let patience = Duration::from_secs(3 * u64::from(step_secs) + 5);
        let round = rounds.recv_timeout(patience).expect("a round in each step");
        found.entry(round.address().expect("a literal address")).or_default().push(round);
    }
    prober.stop().expect("the prober's thread does not panic");
    let mut log = network.stop();
    let mut errors = Errors::default();
    for (address, rounds) in found {
        let mut logged = log.remove(&address).unwrap_or_default().into_iter();
        for (number, round) in rounds.iter().take(2).enumerate() {
            for ping in round.pings() {
                // What was sent was logged, whatever became of it then.
                let network = was_sent(*ping).then(|| logged.next()).flatten();
                if number == 1 {
                    errors.add(*ping, network);
                }
            }
        }
    }
    errors.print(name, TARGETS * PINGS / step_secs as usize);
    errors
}

fn settings(step_secs: u32, host: impl Fn(usize) -> IpAddr) -> Settings {
    let targets = (0..TARGETS).map(|index| TargetSettings {
        target: Arc::new(Target { name: format!("t{index}"), host: host(index).to_string() }),
        step: Step::new(step_secs).expect("not zero"),
        pings: PINGS as u16,
        timeout: Duration::from_millis(900),
        family: None,
        echo: EchoSettings::default(),
    });
    Settings {
        targets: targets.collect(),
        pace: Pace::default(),
        resolve_every: RESOLVE_EVERY,
        anchors: Anchors::default(),
        known_anchors: Vec::new(),
    }
}

fn was_sent(ping: Ping) -> bool {
    !matches!(ping, Ping::Unknown(fault) if !matches!(fault, Fault::ClockSet | Fault::Overflow))
}

/// Pings by fping, a packet each millisecond.
fn fping(name: &str) -> Errors {
    let network = Network::start();
    let output = Command::new("fping")
        .args(["-q", "-C", &PINGS.to_string(), "-p", "1000", "-i", "1", "-B1", "-r1", "-t", "900"])
        .args((0..TARGETS).map(|index| host_v4(index).to_string()))
        .output()
        .expect("fping runs (apt-get install fping)");
    let mut log = network.stop();
    let mut errors = Errors::default();
    for line in String::from_utf8_lossy(&output.stderr).lines() {
        let Some((host, times)) = line.split_once(" : ") else { continue };
        let Ok(address) = host.trim().parse::<IpAddr>() else { continue };
        let mut logged = log.remove(&address).unwrap_or_default().into_iter();
        for time in times.split_whitespace() {
            let rtt = time.parse::<f64>().ok().map(|ms| Rtt::new(Duration::from_secs_f64(ms / 1e3)));
            errors.add(rtt.map_or(Ping::Lost, Ping::Answered), logged.next());
        }
    }
    errors.print(name, 1000);
    errors
}

fn host_v4(index: usize) -> IpAddr {
    Ipv4Addr::from(Ipv4Addr::new(198, 18, 1, 0).to_bits() + index as u32).into()
}

fn host_v6(index: usize) -> IpAddr {
    Ipv6Addr::new(0xfd00, 0, 0, 1, 0, 0, 0, index as u16).into()
}

/// By how much round trips exceed the network's part of them.
#[derive(Default)]
struct Errors {
    /// Those that count, in microseconds, and all; sorted when they are printed.
    micros: Vec<f64>,
    all: Vec<f64>,
    lost: usize,
    unknown: usize,
    /// Of the unknown ones those that were sent, and that our own side let fall.
    spoilt: usize,
}

impl Errors {
    fn add(&mut self, ping: Ping, network: Option<Logged>) {
        match (ping, network) {
            (Ping::Lost, _) => self.lost += 1,
            (Ping::Unknown(_), _) => {
                self.unknown += 1;
                self.spoilt += usize::from(was_sent(ping));
            }
            (Ping::Answered(rtt), Some(Logged { delay: Some(delay), gap })) => {
                let error = (rtt.duration().as_secs_f64() - delay.as_secs_f64()) * 1e6;
                self.all.push(error);
                // Else the network's own thread did not run when the packet came or was to leave.
                if gap <= STALL {
                    self.micros.push(error);
                }
            }
            (Ping::Answered(_), _) => {}
        }
    }

    fn print(&mut self, name: &str, rate: usize) {
        self.micros.sort_by(f64::total_cmp);
        self.all.sort_by(f64::total_cmp);
        let (count, lost, unknown) = (self.micros.len(), self.lost, self.unknown);
        let [p50, p90, p99] = [0.5, 0.9, 0.99].map(|share| self.at(share));
        let of_all = percentile(&self.all, 0.99);
        println!(
            "| {name} | {rate} | {count} | {lost} | {unknown} | {p50:.1} | {p90:.1} | {p99:.1} | {of_all:.1} |"
        );
    }

    /// The error that this share of those that count is below.
    fn at(&self, share: f64) -> f64 {
        percentile(&self.micros, share)
    }
}

/// Of sorted numbers; not a number, where there are none, and then no goal is met.
fn percentile(sorted: &[f64], share: f64) -> f64 {
    sorted.get((sorted.len() as f64 * share) as usize).copied().unwrap_or(f64::NAN)
}

/// What the network knows of one echo.
#[derive(Clone, Copy)]
struct Logged {
    /// From reading it to writing its reply; `None` where it was not answered before the end.
    delay: Option<Duration>,
    /// The longest that the thread was held up while the packet may have waited for it.
    gap: Duration,
}

/// The network: one thread that reads, waits, writes.
struct Network {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<HashMap<IpAddr, Vec<Logged>>>,
}

impl Network {
    fn start() -> Self {
        let tun = namespace::open_tun("far0");
        namespace::ip_batch(
            "link set lo up\nlink set far0 up txqueuelen 10000\naddr add 198.19.0.1/15 dev far0\n\
             addr add fd00:ffff::1:1/8 dev far0 nodad\n",
        );
        namespace::wait_for_ipv6(&["fd00:ffff::1:1".parse().expect("an address")]);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("network".to_owned())
            .spawn(move || {
                namespace::hurry();
                serve(tun, &stopped)
            })
            .expect("a thread");
        Self { stop, thread }
    }

    /// What was logged for each address, in the order it came.
    fn stop(self) -> HashMap<IpAddr, Vec<Logged>> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the network's thread does not panic")
    }
}

/// One echo that waits for its reply.
struct Waiting {
    read: Instant,
    gap: Duration,
    packet: Vec<u8>,
}

/// Around a longer pause between two looks at its clock the network's times say nothing.
const STALL: Duration = Duration::from_micros(20);

fn serve(mut tun: File, stop: &AtomicBool) -> HashMap<IpAddr, Vec<Logged>> {
    let mut log: HashMap<IpAddr, Vec<Logged>> = HashMap::new();
    let mut places: VecDeque<(Waiting, IpAddr, usize)> = VecDeque::new();
    let mut buffer = [0; 2048];
    // The longest pause since nothing waited to be read.
    let (mut before, mut gap) = (Instant::now(), Duration::ZERO);
    while !stop.load(Ordering::Relaxed) {
        let now = Instant::now();
        gap = gap.max(now - before);
        before = now;
        match tun.read(&mut buffer) {
            Ok(length) => {
                let read = Instant::now();
                let Some((packet, address)) = reply(&buffer[..length]) else { continue };
                let gap = gap.max(read - now);
                let entries = log.entry(address).or_default();
                places.push_back((Waiting { read, gap, packet }, address, entries.len()));
                entries.push(Logged { delay: None, gap });
            }
            // Only then, since a reply that waits is as late as the log says, and a request is not.
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                gap = Duration::ZERO;
                if let Some((waiting, address, place)) =
                    places.pop_front_if(|it| it.0.read.elapsed() >= DELAY)
                {
                    let left = Instant::now();
                    if tun.write(&waiting.packet).is_ok() {
                        let entries = log.get_mut(&address).expect("it was logged when it was read");
                        // The packet has its stamp somewhere in the middle of the call.
                        let gap = waiting.gap.max(left.elapsed());
                        entries[place] = Logged { delay: Some(left - waiting.read), gap };
                    }
                }
            }
            Err(error) => panic!("reading from the TUN device: {error}"),
        }
    }
    log
}

/// The reply to an echo request, and who was asked.
fn reply(request: &[u8]) -> Option<(Vec<u8>, IpAddr)> {
    match request.first()? >> 4 {
        4 if request.get(9) == Some(&1) => {
            let asked: [u8; 4] = request.get(16..20)?.try_into().ok()?;
            let header = usize::from(request[0] & 15) * 4;
            Some((answer(request, header, 12..16, (8, 0))?, asked.into()))
        }
        6 if request.get(6) == Some(&58) => {
            let asked: [u8; 16] = request.get(24..40)?.try_into().ok()?;
            Some((answer(request, 40, 8..24, (128, 129))?, asked.into()))
        }
        _ => None,
    }
}

/// The packet with the address at `source` and the one behind it exchanged, and the type of the message behind the header
/// changed.
fn answer(request: &[u8], header: usize, source: Range<usize>, (asks, answers): (u8, u8)) -> Option<Vec<u8>> {
    let mut packet = request.to_vec();
    let length = source.len();
    packet.get_mut(source.start..source.end + length)?.rotate_left(length);
    let message = packet.get_mut(header..).filter(|it| it.len() >= 8 && it[0] == asks)?;
    message[0] = answers;
    // The sum changes by as much as the type did (RFC 1624, equation 3); the addresses change places in it.
    let sum = !u16::from_be_bytes([message[2], message[3]]);
    let more = u32::from(sum) + u32::from(!(u16::from(asks) << 8)) + (u32::from(answers) << 8);
    let folded = (more & 0xffff) + (more >> 16);
    let folded = !(((folded & 0xffff) + (folded >> 16)) as u16);
    message[2..4].copy_from_slice(&folded.to_be_bytes());
    Some(packet)
}

/// Threads that do nothing, and that all the time.
struct Busy {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Busy {
    fn start() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let spin = |stop: Arc<AtomicBool>| std::thread::spawn(move || while !stop.load(Ordering::Relaxed) {});
        let threads = (0..BUSY_LOOPS).map(|_| spin(Arc::clone(&stop))).collect();
        Self { stop, threads }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
