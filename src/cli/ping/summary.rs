//! The figures at the end: a table for people, or a JSON object a line for programs.

use std::net::SocketAddr;

use latmon::probe::{Looked, NotFound, Odd};
use latmon::round::{Fault, Ping, Round, Rtt};
use serde::Serialize;

/// A row for each target, and beneath it what was odd, of at most `columns`. `parted` sets it off from lines above.
pub(super) fn table(looked: &[Looked], columns: usize, parted: bool) -> String {
    if looked.is_empty() {
        return String::new();
    }
    let width = looked.iter().map(|it| label(it).chars().count()).max().unwrap_or(0);
    // A name that leaves no room for the figures has a line to itself.
    let room = columns.saturating_sub(FIGURES);
    let column = if width <= room { width.max(HEADING.len()) } else { room.min(LEAST_COLUMN) };
    let mut text = if parted { "\n".to_owned() } else { String::new() };
    text.push_str(&format!(
        "{:<column$} {:>4} {:>4} {:>5} {}\n",
        HEADING,
        "sent",
        "recv",
        "loss",
        ["min", "median", "avg", "p95", "p99", "max", "jitter"].map(|head| format!("{head:>6}")).join(" ")
    ));
    for it in looked {
        let round = &it.round;
        let mut name = label(it);
        if name.chars().count() > column {
            text.push_str(&format!("{name}\n"));
            name.clear();
        }
        let loss = round.loss_ratio().map_or_else(|| "-".to_owned(), percent);
        let (sent, received) = (round.pings().len(), round.sorted().len());
        let times = figures(round).map(|time| format!("{:>6}", time.map_or_else(|| "-".to_owned(), millis)));
        text.push_str(&format!("{name:<column$} {sent:>4} {received:>4} {loss:>5} {}\n", times.join(" ")));
        for remark in remarks(it) {
            text.push_str(&format!("  {remark}\n"));
        }
    }
    text
}

/// Minimum, median, mean, percentiles, maximum, and the jitter of RFC 3550.
fn figures(round: &Round) -> [Option<Rtt>; 7] {
    [
        round.min(),
        round.median(),
        round.mean(),
        round.percentile(95.0),
        round.percentile(99.0),
        round.max(),
        round.interarrival_jitter(),
    ]
}

/// `fra.example.org (192.0.2.1)`, or the address alone where that was typed.
fn label(looked: &Looked) -> String {
    let host = &looked.round.target().host;
    match looked.round.address().map(|address| address.to_string()) {
        Some(address) if address != *host => format!("{host} ({address})"),
        _ => host.clone(),
    }
}

/// A share of less than one half percent is not none.
fn percent(ratio: f64) -> String {
    match ratio * 100.0 {
        small if small > 0.0 && small < 0.95 => format!("{small:.1}%"),
        much if much > 99.0 && much < 100.0 => format!("{:.1}%", (much * 10.0).floor() / 10.0),
        whole => format!("{whole:.0}%"),
    }
}

/// To the microsecond below 10 ms, and to four digits above.
fn millis(rtt: Rtt) -> String {
    match rtt.as_millis_f64() {
        ms if ms < 9.995 => format!("{ms:.3}"),
        ms if ms < 99.95 => format!("{ms:.2}"),
        ms if ms < 999.5 => format!("{ms:.1}"),
        ms => format!("{ms:.0}"),
    }
}

/// What is to be said of a target besides its figures.
fn remarks(looked: &Looked) -> Vec<String> {
    let mut remarks = Vec::new();
    let odd: Vec<String> = Odd::ALL
        .iter()
        .filter_map(|odd| match looked.odd.of(*odd) {
            0 => None,
            count => Some(format!("{count} {}", words(*odd))),
        })
        .collect();
    if !odd.is_empty() {
        remarks.push(format!("did not count: {}", odd.join(", ")));
    }
    for refusals in &looked.refusals {
        remarks.push(format!("{} x {}, says {}", refusals.count, refusals.reason, refusals.from));
    }
    for (fault, count) in faults(&looked.round) {
        remarks.push(format!("{count} unknown: {fault}"));
    }
    match looked.left_out {
        0 => {}
        1 => remarks.push("1 more under way".to_owned()),
        more => remarks.push(format!("{more} more from the first that was under way on")),
    }
    remarks
}

fn words(odd: Odd) -> &'static str {
    match odd {
        Odd::Duplicate => "duplicate",
        Odd::Late => "late",
        Odd::Damaged => "damaged",
        Odd::WrongSource => "from another address",
        Odd::Truncated => "of another length",
        Odd::Forged => "forged",
        Odd::Identifier => "with another identifier",
    }
}

/// The reasons of the unknown pings, and how many have each.
fn faults(round: &Round) -> Vec<(Fault, u64)> {
    let mut faults: Vec<(Fault, u64)> = Vec::new();
    for ping in round.pings() {
        let Ping::Unknown(fault) = ping else { continue };
        match faults.iter_mut().find(|(known, _)| known == fault) {
            Some((_, count)) => *count += 1,
            None => faults.push((*fault, 1)),
        }
    }
    faults
}

/// One object a line for each target, in the order they were typed; one whose name did not resolve has no address,
/// and as many unknown pings as the others were sent, or the `count` that was asked for where there are no others.
pub(super) fn json(
    hosts: &[String],
    found: &[Result<SocketAddr, NotFound>],
    looked: &[Looked],
    count: u32,
) -> String {
    let unsent = looked.iter().map(|it| it.round.pings().len()).max().unwrap_or(count as usize);
    let mut looked = looked.iter();
    let mut text = String::new();
    for (host, found) in hosts.iter().zip(found) {
        let line = match found {
            Ok(_) => Line::of(looked.next().expect("whoever has an address was looked at")),
            Err(why) => Line::unsent(host, why, unsent),
        };
        text.push_str(&serde_json::to_string(&line).expect("numbers and strings have a form in JSON"));
        text.push('\n');
    }
    text
}

#[derive(Default, Serialize)]
struct Line<'a> {
    target: &'a str,
    address: Option<String>,
    sent: usize,
    received: usize,
    lost: usize,
    unknown: usize,
    rtt_us: Vec<Option<f64>>,
    min_us: Option<f64>,
    median_us: Option<f64>,
    mean_us: Option<f64>,
    p95_us: Option<f64>,
    p99_us: Option<f64>,
    max_us: Option<f64>,
    jitter_us: Option<f64>,
    duplicates: u64,
    late: u64,
    damaged: u64,
    wrong_source: u64,
    truncated: u64,
    forged: u64,
    wrong_identifier: u64,
    errors: Vec<ErrorLine>,
}

/// An ICMP error, or a reason of our own, which is from nobody.
#[derive(Serialize)]
struct ErrorLine {
    kind: String,
    from: Option<String>,
    count: u64,
}

impl<'a> Line<'a> {
    /// Of a host that has no address.
    fn unsent(host: &'a str, why: &NotFound, pings: usize) -> Self {
        let error = ErrorLine { kind: why.to_string(), from: None, count: pings as u64 };
        Self {
            target: host,
            sent: pings,
            unknown: pings,
            rtt_us: vec![None; pings],
            errors: vec![error],
            ..Self::default()
        }
    }

    fn of(looked: &'a Looked) -> Self {
        let round = &looked.round;
        let [min_us, median_us, mean_us, p95_us, p99_us, max_us, jitter_us] =
            figures(round).map(|time| time.map(micros));
        let rtt = |ping: &Ping| match ping {
            Ping::Answered(rtt) => Some(micros(*rtt)),
            Ping::Lost | Ping::Unknown(_) => None,
        };
        let said = looked.refusals.iter().map(|it| ErrorLine {
            kind: it.reason.to_string(),
            from: Some(it.from.to_string()),
            count: it.count,
        });
        let own = faults(round).into_iter().map(|(fault, count)| ErrorLine {
            kind: fault.to_string(),
            from: None,
            count,
        });
        Self {
            target: &round.target().host,
            address: round.address().map(|address| address.to_string()),
            sent: round.pings().len(),
            received: round.sorted().len(),
            lost: round.lost(),
            unknown: round.pings().len() - round.known(),
            rtt_us: round.pings().iter().map(rtt).collect(),
            min_us,
            median_us,
            mean_us,
            p95_us,
            p99_us,
            max_us,
            jitter_us,
            duplicates: looked.odd.of(Odd::Duplicate),
            late: looked.odd.of(Odd::Late),
            damaged: looked.odd.of(Odd::Damaged),
            wrong_source: looked.odd.of(Odd::WrongSource),
            truncated: looked.odd.of(Odd::Truncated),
            forged: looked.odd.of(Odd::Forged),
            wrong_identifier: looked.odd.of(Odd::Identifier),
            errors: said.chain(own).collect(),
        }
    }
}

fn micros(rtt: Rtt) -> f64 {
    rtt.duration().as_nanos() as f64 / 1e3
}

const HEADING: &str = "times in ms";
/// Where no name fits beside the figures, they still stand where those of most addresses would be.
const LEAST_COLUMN: usize = 15;
/// What the figures take.
const FIGURES: usize = 65;
