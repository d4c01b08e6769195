//! `latmon trace`: the path to a target, with loss and median per hop.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use clap::Args as ClapArgs;
use latmon::probe::{self, Hop, Path, PathEnd, TraceSettings};
use latmon::time::{Unit, parse_duration};
use serde::Serialize;

use super::family::FamilyArgs;
use super::{Exit, Failure, output, unprivileged};

#[derive(ClapArgs)]
pub(super) struct Args {
    /// A host name or an address
    target: String,
    /// How many echoes each hop is asked; routers that answer only some of them limit what they answer
    #[arg(short, long, value_name = "COUNT", default_value_t = TraceSettings::default().echoes,
        value_parser = clap::value_parser!(u8).range(1..=i64::from(TraceSettings::MOST_ECHOES)))]
    count: u8,
    /// The longest path
    #[arg(short = 'm', long, value_name = "HOPS", default_value_t = TraceSettings::default().hops,
        value_parser = clap::value_parser!(u8).range(1..=i64::from(TraceSettings::MOST_HOPS)))]
    hops: u8,
    /// How long an answer may take, in seconds, or as 800ms
    #[arg(short = 'W', long, value_name = "DURATION", default_value = "1s", value_parser = timeout)]
    timeout: Duration,
    /// Only addresses, without names of the routers
    #[arg(short, long)]
    numeric: bool,
    #[command(flatten)]
    family: FamilyArgs,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    let host = &args.target;
    let settings = TraceSettings {
        hops: args.hops,
        echoes: args.count,
        timeout: args.timeout,
        ..TraceSettings::default()
    };
    unprivileged::open_sockets(&settings.echo)?;
    let found =
        probe::addresses(std::slice::from_ref(host), args.family.wanted(), LOOKUP_PATIENCE, None).remove(0);
    let address = found.map_err(|why| Failure::failed(format!("{host}: {why}")))?;
    let path = probe::trace(address, &settings).map_err(Failure::failed)?;
    let names = if args.numeric { Names::default() } else { Names::of(&path) };
    let text = if args.json { json(host, &path, &names) } else { text(host, &path, &names) };
    let printed = output::print(&text);
    Ok(if path.end == PathEnd::Reached { printed } else { Exit::Failed })
}

/// What the addresses on a path are called, where that is known.
#[derive(Default)]
struct Names(HashMap<IpAddr, String>);

impl Names {
    fn of(path: &Path) -> Self {
        let mut addresses: Vec<IpAddr> = path.hops.iter().flat_map(Hop::addresses).collect();
        addresses.sort_unstable();
        addresses.dedup();
        let names = probe::names(&addresses, NAMES_PATIENCE);
        let known = addresses.into_iter().zip(names).filter_map(|(address, name)| Some((address, name?)));
        Self(known.collect())
    }

    /// `core1.example.org (192.0.2.1)`, or the address alone.
    fn with(&self, address: IpAddr) -> String {
        match self.0.get(&address) {
            Some(name) => format!("{name} ({address})"),
            None => address.to_string(),
        }
    }
}

/// A line for each hop, and one that says how the path ends unless that is at the target.
fn text(host: &str, path: &Path, names: &Names) -> String {
    let target = match path.target.to_string() {
        address if address == host => address,
        address => format!("{host} ({address})"),
    };
    let mut text = format!("path to {target}\n");
    if !path.hops.is_empty() {
        text.push_str("hop  loss    median  from\n");
    }
    for hop in &path.hops {
        let mut from = hop.addresses().into_iter().map(|address| names.with(address));
        let (loss, median) = match (hop.loss_ratio(), hop.median()) {
            (Some(ratio), Some(median)) => (format!("{:.0}%", ratio * 100.0), median.to_string()),
            _ => ("-".to_owned(), "-".to_owned()),
        };
        let first = from.next().unwrap_or_else(|| "*".to_owned());
        text.push_str(&format!("{:>3} {loss:>5} {median:>9}  {first}\n", hop.distance));
        for other in from {
            text.push_str(&format!("{:21}{other}\n", ""));
        }
    }
    text.push_str(&ending(&path.end, &target, path.hops.len()));
    text
}

/// How the path ends, as a line; nothing where that is at the target.
fn ending(end: &PathEnd, target: &str, hops: usize) -> String {
    match end {
        PathEnd::Reached => String::new(),
        PathEnd::Refused(reason) => format!("{target} was not reached: {reason}, says hop {hops}\n"),
        PathEnd::Silent(last) if hops + 1 == usize::from(*last) => {
            format!("{target} was not reached: no answer from hop {last}\n")
        }
        PathEnd::Silent(last) if hops < usize::from(*last) => {
            format!("{target} was not reached: no answer from hops {} to {last}\n", hops + 1)
        }
        PathEnd::Silent(last) => format!("{target} was not reached within {last} hops\n"),
    }
}

fn json(host: &str, path: &Path, names: &Names) -> String {
    let reason = match path.end {
        PathEnd::Refused(reason) => Some(reason.to_string()),
        PathEnd::Reached | PathEnd::Silent(_) => None,
    };
    let hops = path.hops.iter().map(|hop| HopLine::of(hop, names)).collect();
    let line = Line {
        target: host,
        address: path.target.to_string(),
        reached: path.end == PathEnd::Reached,
        reason,
        hops,
    };
    let mut text = serde_json::to_string(&line).expect("numbers and strings have a form in JSON");
    text.push('\n');
    text
}

#[derive(Serialize)]
struct Line<'a> {
    target: &'a str,
    address: String,
    reached: bool,
    /// What the last hop says, where it is not the target.
    reason: Option<String>,
    hops: Vec<HopLine>,
}

#[derive(Serialize)]
struct HopLine {
    hop: u8,
    sent: u16,
    received: usize,
    loss_ratio: Option<f64>,
    median_us: Option<f64>,
    answers: Vec<AnswerLine>,
}

#[derive(Serialize)]
struct AnswerLine {
    address: String,
    name: Option<String>,
    rtt_us: f64,
    /// What it says; null for the target's reply.
    says: Option<String>,
}

impl HopLine {
    fn of(hop: &Hop, names: &Names) -> Self {
        let micros = |rtt: latmon::round::Rtt| rtt.duration().as_nanos() as f64 / 1e3;
        let answers = hop.answers.iter().map(|answer| AnswerLine {
            address: answer.from.to_string(),
            name: names.0.get(&answer.from).cloned(),
            rtt_us: micros(answer.rtt),
            says: answer.says.map(|says| says.to_string()),
        });
        Self {
            hop: hop.distance,
            sent: hop.sent,
            received: hop.answers.len(),
            loss_ratio: hop.loss_ratio(),
            median_us: hop.median().map(micros),
            answers: answers.collect(),
        }
    }
}

fn timeout(text: &str) -> Result<Duration, &'static str> {
    const LIMITS: std::ops::RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(60);
    parse_duration(text, Some(Unit::Secs))
        .ok()
        .filter(|duration| LIMITS.contains(duration))
        .ok_or("write seconds from 0.001 to 60, or a duration as 800ms")
}

/// How long the target's name may take to resolve.
const LOOKUP_PATIENCE: Duration = Duration::from_secs(5);

/// How long the routers' names may take, which are an ornament.
const NAMES_PATIENCE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use latmon::probe::icmp::Family;

    #[test]
    fn the_end_is_told_in_words() {
        let told = |end, hops| ending(&end, "fra (192.0.2.9)", hops);
        assert_eq!(told(PathEnd::Reached, 4), "");
        let prohibited = probe::icmp::Reason { family: Family::V4, kind: 3, code: 13 };
        assert_eq!(
            told(PathEnd::Refused(prohibited), 2),
            "fra (192.0.2.9) was not reached: administratively prohibited, says hop 2\n"
        );
        assert_eq!(
            told(PathEnd::Silent(30), 4),
            "fra (192.0.2.9) was not reached: no answer from hops 5 to 30\n"
        );
        assert_eq!(told(PathEnd::Silent(5), 4), "fra (192.0.2.9) was not reached: no answer from hop 5\n");
        assert_eq!(told(PathEnd::Silent(4), 4), "fra (192.0.2.9) was not reached within 4 hops\n");
    }
}
