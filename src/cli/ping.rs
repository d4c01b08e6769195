//! `latmon ping`: one look at some targets, now.

mod fping;
mod live;
mod summary;

use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clap::Args as ClapArgs;
use latmon::probe::{self, EchoSettings, LookSettings, LookTarget, Looked, Stop};
use latmon::round::Target;
use latmon::time::{Unit, parse_duration};

pub(super) use self::fping::run as run_as_fping;
use super::family::FamilyArgs;
use super::run::stop_signals;
use super::{Exit, Failure, output, unprivileged};

#[derive(ClapArgs)]
pub(super) struct Args {
    /// Host names or addresses
    #[arg(required = true, value_name = "TARGET")]
    targets: Vec<String>,
    /// How often each is asked, at most 1000000 times [default: until Ctrl-C on a terminal, or that often; else 5 times]
    #[arg(short, long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=i64::from(LookSettings::MOST_PINGS)))]
    count: Option<u32>,
    /// From one ping to the next, in seconds, or as 200ms; at least 1 ms for each target
    #[arg(short, long, value_name = "DURATION", default_value = "1s", value_parser = interval)]
    interval: Duration,
    /// How long a reply may take, in seconds, or as 800ms; a later one is lost
    #[arg(short = 'W', long, value_name = "DURATION", default_value = "1.5s", value_parser = interval)]
    timeout: Duration,
    /// Bytes of payload
    #[arg(short, long, value_name = "BYTES", default_value_t = 56,
        value_parser = clap::value_parser!(u16).range(i64::from(EchoSettings::LEAST_PAYLOAD)..=i64::from(EchoSettings::MOST_PAYLOAD)))]
    size: u16,
    /// Hops that an echo may take [default: the system's]
    #[arg(short, long, value_name = "HOPS", value_parser = clap::value_parser!(u8).range(1..))]
    ttl: Option<u8>,
    #[command(flatten)]
    family: FamilyArgs,
    /// No line per reply, only the figures at the end
    #[arg(short, long)]
    quiet: bool,
    /// Print one JSON object a line for each target, and nothing else
    #[arg(long)]
    json: bool,
    /// Take fping's options instead and print the lines of its -C COUNT, for SmokePing's FPing probe; must come
    /// first: latmon ping --fping --help
    #[arg(long)]
    fping: bool,
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    if args.fping {
        return Err(Failure::usage("--fping must come first: latmon ping --fping -C COUNT -q TARGET..."));
    }
    let echo = EchoSettings { payload: args.size, ttl: args.ttl, ..EchoSettings::default() };
    unprivileged::open_sockets(&echo)?;
    let stop = stop_on_signals()?;
    let found = probe::addresses(&args.targets, args.family.wanted(), LOOKUP_PATIENCE, Some(&stop));
    let mut reachable = Vec::new();
    for (host, found) in args.targets.iter().zip(&found) {
        match found {
            Ok(address) => reachable.push(target(host, *address, echo.clone())),
            Err(why) => output::error_line(&format!("{host}: {why}")),
        }
    }
    let terminal = io::stdout().is_terminal();
    let settings = LookSettings {
        targets: reachable,
        count: args.count.unwrap_or(if terminal && !args.json {
            LookSettings::MOST_PINGS
        } else {
            UNWATCHED
        }),
        interval: args.interval,
        gap: GAP,
        timeout: args.timeout,
    };
    let mut live = live::Lines::new(&settings, terminal && !args.quiet && !args.json);
    let looked = probe::look(&settings, &stop, &mut |target, event| {
        // A reader that went away (`latmon ping host | head`) has seen enough.
        if live.show(target, &event).is_err() {
            stop.stop();
        }
    })
    .map_err(Failure::failed)?;
    let text = match args.json {
        true => summary::json(&args.targets, &found, &looked, settings.count),
        false => summary::table(&looked, columns(terminal), live.is_shown()),
    };
    let printed = output::print(&text);
    let all_answered = looked.len() == args.targets.len() && looked.iter().all(has_answered);
    Ok(if all_answered { printed } else { Exit::Failed })
}

/// How wide a line may be.
fn columns(terminal: bool) -> usize {
    let size = if terminal { terminal_size::terminal_size() } else { None };
    size.map_or(80, |(width, _)| usize::from(width.0))
}

fn has_answered(looked: &Looked) -> bool {
    !looked.round.sorted().is_empty()
}

fn target(host: &str, address: SocketAddr, echo: EchoSettings) -> LookTarget {
    let target = Arc::new(Target { name: host.to_owned(), host: host.to_owned() });
    // A group has many members, and none of them answers from the group's address.
    LookTarget { target, address, echo: EchoSettings { any_source: address.ip().is_multicast(), ..echo } }
}

fn interval(text: &str) -> Result<Duration, &'static str> {
    const LIMITS: std::ops::RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(3600);
    parse_duration(text, Some(Unit::Secs))
        .ok()
        .filter(|duration| LIMITS.contains(duration))
        .ok_or("write seconds from 0.001 to 3600, or a duration as 200ms or 5m")
}

/// A look that Ctrl-C, SIGTERM and a closed terminal end; a second one ends the program at once.
pub(super) fn stop_on_signals() -> Result<Stop, Failure> {
    let cannot =
        |error: &dyn std::fmt::Display| Failure::failed(format!("cannot watch for signals: {error}"));
    let signals = stop_signals().map_err(|error| cannot(&error))?;
    let stop = Stop::new().map_err(Failure::failed)?;
    let end = stop.clone();
    std::thread::Builder::new()
        .name("stop".into())
        .spawn(move || {
            if signals.recv().is_ok() {
                end.stop();
            }
        })
        .map_err(|error| cannot(&error))?;
    Ok(stop)
}

/// How often a target is asked where nobody watches.
const UNWATCHED: u32 = 5;

/// Between the echoes to different targets, so that a thousand of them do not queue behind each other.
const GAP: Duration = Duration::from_millis(1);

/// How long a name may take to resolve.
const LOOKUP_PATIENCE: Duration = Duration::from_secs(5);
