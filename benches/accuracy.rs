//! How exact round trips are: what the prober records, and what fping prints, against what the network itself logged for
//! the very same packets.
//!
//!     cargo bench --bench accuracy
//!
//! The network is a TUN device in a namespace of its own. Behind it a thread that spins answers every echo half a
//! millisecond after it read it, and notes both times. What a pinger says beyond the time between them is its error.
//! Where the thread itself was not running when a packet came or left, its own times are as wrong as it was late: it sees
//! that by its clock, which it reads all the time, and such echoes are counted apart.
//! Needs root and fping. The second table is the same with eight busy loops on the machine.

#[path = "../tests/support/net/namespace.rs"]
#[allow(dead_code, unreachable_pub, reason = "a part of the tests' network")]
mod namespace;

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use latmon::probe::{Anchors, EchoSettings, Pace, Prober, RESOLVE_EVERY, Settings, TargetSettings};
use latmon::round::{Ping, Round, Target};
use latmon::time::Step;

const TARGETS: usize = 1000;
const PINGS: usize = 20;
/// Short enough for fping to print microseconds: it has three digits.
const DELAY: Duration = Duration::from_micros(500);
const BUSY_LOOPS: usize = 8;

fn main() {
    let _namespace = namespace::Namespace::enter();
    println!("{TARGETS} targets x {PINGS} pings, errors in microseconds\n");
    println!("| pinger | packets/s | pings | lost | p50 | p90 | p99 | largest |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    latmon(20, "latmon");
    latmon(1, "latmon");
    fping("fping");
    let busy = Busy::start();
    latmon(20, "latmon, 8 busy loops");
    fping("fping, 8 busy loops");
    drop(busy);
}

/// Pings by the prober, a round of `PINGS` in `step_secs`, and prints the errors of the first whole round.
fn latmon(step_secs: u32, name: &str) {
    let network = Network::start();
    let targets = (0..TARGETS).map(|index| TargetSettings {
        target: Arc::new(Target { name: format!("t{index}"), host: host(index).to_string() }),
        step: Step::new(step_secs).expect("not zero"),
        pings: PINGS as u16,
        timeout: Duration::from_millis(900),
        family: None,
        echo: EchoSettings::default(),
    });
    let settings = Settings {
        targets: targets.collect(),
        pace: Pace::default(),
        resolve_every: RESOLVE_EVERY,
        anchors: Anchors::default(),
        known_anchors: Vec::new(),
    };
    let (sender, rounds) = crossbeam_channel::bounded(4 * TARGETS);
    let prober = Prober::start(settings, sender).expect("this bench needs root, for its sockets");
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
                let rtt = match ping {
                    Ping::Unknown(_) => continue,
                    Ping::Lost => None,
                    Ping::Answered(rtt) => Some(rtt.duration()),
                };
                let network = logged.next();
                if number == 1 {
                    errors.add(rtt, network);
                }
            }
        }
    }
    errors.print(name, TARGETS * PINGS / step_secs as usize);
}

/// Pings by fping, a packet each millisecond.
fn fping(name: &str) {
    let network = Network::start();
    let hosts = (0..TARGETS).map(|index| host(index).to_string());
    let output = Command::new("fping")
        .args(["-q", "-C", &PINGS.to_string(), "-p", "1000", "-i", "1", "-B1", "-r1", "-t", "900"])
        .args(hosts)
        .output()
        .expect("fping runs (apt-get install fping)");
    let mut log = network.stop();
    let mut errors = Errors::default();
    for line in String::from_utf8_lossy(&output.stderr).lines() {
        let Some((host, times)) = line.split_once(" : ") else { continue };
        let Ok(address) = host.trim().parse::<IpAddr>() else { continue };
        let mut logged = log.remove(&address).unwrap_or_default().into_iter();
        for time in times.split_whitespace() {
            let rtt = time.parse::<f64>().ok().map(|ms| Duration::from_secs_f64(ms / 1e3));
            errors.add(rtt, logged.next());
        }
    }
    errors.print(name, 1000);
}

fn host(index: usize) -> Ipv4Addr {
    Ipv4Addr::from(Ipv4Addr::new(198, 18, 1, 0).to_bits() + index as u32)
}

/// By how much round trips exceed the network's part of them.
#[derive(Default)]
struct Errors {
    micros: Vec<f64>,
    lost: usize,
    /// The network's own thread did not run when the packet came or was to leave, so its times are worth nothing.
    unlogged: usize,
}

impl Errors {
    fn add(&mut self, rtt: Option<Duration>, network: Option<Logged>) {
        match (rtt, network) {
            (None, _) => self.lost += 1,
            (Some(rtt), Some(Logged { delay: Some(delay), gap })) => {
                let error = (rtt.as_secs_f64() - delay.as_secs_f64()) * 1e6;
                if gap <= STALL { self.micros.push(error) } else { self.unlogged += 1 }
            }
            (Some(_), _) => self.unlogged += 1,
        }
    }

    fn print(mut self, name: &str, rate: usize) {
        self.micros.sort_by(f64::total_cmp);
        let count = self.micros.len();
        let at = |share: f64| self.micros.get((count as f64 * share) as usize).copied().unwrap_or(f64::NAN);
        println!(
            "| {name} | {rate} | {count} | {} | {:.1} | {:.1} | {:.1} | {:.1} |",
            self.lost,
            at(0.5),
            at(0.9),
            at(0.99),
            self.micros.last().copied().unwrap_or(f64::NAN)
        );
        if self.unlogged > 0 {
            println!(
                "  (the network's own thread was held up for {} more, which do not count)",
                self.unlogged
            );
        }
    }
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
            "link set lo up\nlink set far0 up txqueuelen 10000\naddr add 198.19.0.1/15 dev far0\n",
        );
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

/// The reply to an echo request over IPv4, and who was asked.
fn reply(request: &[u8]) -> Option<(Vec<u8>, IpAddr)> {
    let header = usize::from(request.first()? & 15) * 4;
    let is_request = request[0] >> 4 == 4 && request.get(9) == Some(&1) && request.get(header) == Some(&8);
    if !is_request || request.len() < header + 8 {
        return None;
    }
    let mut packet = request.to_vec();
    let asked: [u8; 4] = request[16..20].try_into().ok()?;
    packet[16..20].copy_from_slice(&request[12..16]);
    packet[12..16].copy_from_slice(&asked);
    packet[header] = 0;
    // The sum loses the 8 that the type lost (RFC 1624, equation 3).
    let sum = u16::from_be_bytes([packet[header + 2], packet[header + 3]]);
    let more = u32::from(!sum) + u32::from(!0x0800_u16);
    let folded = !(((more & 0xffff) + (more >> 16)) as u16);
    packet[header + 2..header + 4].copy_from_slice(&folded.to_be_bytes());
    Some((packet, IpAddr::V4(asked.into())))
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
