//! What the prober costs: pings addresses that this machine answers for in whole rounds and prints one line of what that
//! took. Run by `benches/prober`, which gives it a network namespace of its own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crossbeam_channel::bounded;
use latmon::probe::{Anchors, EchoSettings, Ignored, Pace, Prober, RESOLVE_EVERY, Settings, TargetSettings};
use latmon::round::{Ping, Round, Target};
use latmon::time::Step;
use nix::sys::resource::{UsageWho, getrusage};

/// What is to be done: so many targets, with so many pings in each step of so many seconds, for so many rounds; over IPv6
/// where that is said, and with all targets due at the same moments where that is.
struct Work {
    targets: u32,
    pings: u16,
    step: u32,
    collect: Duration,
    rounds: usize,
    v6: bool,
    at_once: bool,
}

fn main() {
    let Some(work) = arguments() else {
        eprintln!("usage: prober TARGETS PINGS STEP_SECONDS COLLECT_MILLISECONDS ROUNDS [v6] [at-once]");
        std::process::exit(2);
    };
    let (sender, rounds) = bounded(2 * work.targets as usize + 16);
    let settings = work.settings();
    // A round that is joined in its middle is no whole one: begin right before a boundary.
    std::thread::sleep(work.to_boundary().saturating_sub(LEAD));
    let prober = Prober::start(settings, sender).expect("this needs root, and a namespace with lo up");
    let mut seen = Seen::default();
    while seen.whole < work.rounds * work.targets as usize {
        let round = rounds.recv().expect("the prober runs");
        seen.take(&round, work.pings);
    }
    let counts = Arc::clone(prober.counts());
    let kinds = prober.sockets();
    let stamps = prober.stamps();
    prober.stop().expect("no panic");
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("every Unix has it");
    let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    let (user, system) = (seconds(usage.user_time()), seconds(usage.system_time()));
    let ignored: u64 = Ignored::ALL.iter().map(|kind| counts.total(*kind)).sum();
    println!(
        "echoes={} lost={} unknown={} user={user:.3} system={system:.3} per_echo_us={:.2} switches={} peak_mb={:.1} \
         p50_us={:.1} p99_us={:.1} ignored={ignored} unstamped={} sockets=\"{kinds}, {stamps}\"",
        seen.answered + seen.lost,
        seen.lost,
        seen.unknown,
        (user + system) * 1e6 / (seen.answered + seen.lost) as f64,
        usage.voluntary_context_switches(),
        peak_mb(),
        seen.percentile(50),
        seen.percentile(99),
        counts.unstamped(),
    );
}

fn arguments() -> Option<Work> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let numbers: Vec<u32> = words.iter().filter_map(|word| word.parse().ok()).collect();
    let [targets, pings, step, collect, rounds] = numbers[..] else { return None };
    let says = |what: &str| words.iter().any(|word| word == what);
    let pings = u16::try_from(pings).ok()?;
    Some(Work {
        targets,
        pings,
        step,
        collect: Duration::from_millis(collect.into()),
        rounds: rounds as usize,
        v6: says("v6"),
        at_once: says("at-once"),
    })
}

impl Work {
    fn settings(&self) -> Settings {
        let target = |index: u32| {
            // From 127.0.1.1 on, or from fd00::1:0 on.
            let host: IpAddr = if self.v6 {
                Ipv6Addr::from_bits((0xfd00 << 112) + 0x1_0000 + u128::from(index)).into()
            } else {
                Ipv4Addr::from_bits(0x7f00_0101 + index).into()
            };
            let host = host.to_string();
            // A target's name decides when its pings are due.
            let name = if self.at_once { "loopback".to_owned() } else { format!("loopback/{host}") };
            TargetSettings {
                target: Arc::new(Target { name, host }),
                step: Step::new(self.step).expect("not zero"),
                pings: self.pings,
                timeout: Duration::from_secs(1).min(Duration::from_secs(self.step.into())),
                family: None,
                echo: EchoSettings::default(),
            }
        };
        let pace = Pace { collect: self.collect, packets_per_sec: 10_000_000, ..Pace::default() };
        Settings {
            targets: (0..self.targets).map(target).collect(),
            pace,
            resolve_every: RESOLVE_EVERY,
            anchors: Anchors::default(),
            known_anchors: Vec::new(),
        }
    }

    fn to_boundary(&self) -> Duration {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        let step = Duration::from_secs(self.step.into());
        step - Duration::from_nanos((now.as_nanos() % step.as_nanos()) as u64)
    }
}

/// What became of the pings.
struct Seen {
    whole: usize,
    answered: u64,
    lost: u64,
    unknown: u64,
    /// How many round trips took so many tenths of a microsecond; the last has all longer ones.
    tenths: Vec<u32>,
}

impl Default for Seen {
    fn default() -> Self {
        Self { whole: 0, answered: 0, lost: 0, unknown: 0, tenths: vec![0; 100_000] }
    }
}

impl Seen {
    fn take(&mut self, round: &Round, pings: u16) {
        let known = round.known() as u64;
        self.lost += round.lost() as u64;
        self.answered += known - round.lost() as u64;
        if round.fault() != Some(latmon::round::Fault::NotRunning) {
            self.whole += 1;
            self.unknown += u64::from(pings) - known;
        }
        for ping in round.pings() {
            if let Ping::Answered(rtt) = ping {
                let tenth = (rtt.duration().as_nanos() / 100) as usize;
                self.tenths[tenth.min(99_999)] += 1;
            }
        }
    }

    fn percentile(&self, percent: u64) -> f64 {
        let mut left = self.answered * percent / 100;
        let place = self.tenths.iter().position(|count| {
            let enough = u64::from(*count) > left;
            left = left.saturating_sub((*count).into());
            enough
        });
        place.unwrap_or(0) as f64 / 10.0
    }
}

/// The most memory that was ever in use.
fn peak_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc is mounted");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux has it");
    line.trim().trim_end_matches(" kB").parse::<f64>().expect("a number") / 1024.0
}

/// How long before a boundary the prober starts.
const LEAD: Duration = Duration::from_millis(300);
