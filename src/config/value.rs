//! Single values: from a text to what it means, or to the words that say how it must be written.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::alert::Severity;
use crate::mail::{Address, Tls};
use crate::round::Rtt;
use crate::time::{Step, Unit, parse_duration};

use super::echo::Families;

/// How a value must be written.
pub(super) type Wanted = &'static str;

pub(super) fn step(text: &str) -> Result<Step, Wanted> {
    parse_duration(text, Some(Unit::Secs))
        .ok()
        .filter(|duration| *duration <= LONGEST_STEP)
        .and_then(Step::from_duration)
        .ok_or("write whole seconds from 1s to 1d, as 60s or 5m")
}

// The most pings in the shortest step are still one millisecond apart.
pub(super) fn pings(text: &str) -> Result<u16, Wanted> {
    let count = whole_number(text).and_then(|count| u16::try_from(count).ok());
    count.filter(|count| (1..=MOST_PINGS).contains(count)).ok_or("write a whole number from 1 to 1000")
}

pub(super) fn timeout(text: &str) -> Result<Duration, Wanted> {
    parse_duration(text, Some(Unit::Secs))
        .ok()
        .filter(|duration| (SHORTEST_TIMEOUT..=LONGEST_TIMEOUT).contains(duration))
        .ok_or("write a duration from 10ms to 60s, as 1.5s")
}

pub(super) fn threshold(text: &str) -> Result<Rtt, Wanted> {
    parse_duration(text, Some(Unit::Millis))
        .ok()
        .filter(|duration| !duration.is_zero())
        .map(Rtt::new)
        .ok_or("write a duration over 0, as 100ms")
}

/// `None` for `never`.
pub(super) fn repeat(text: &str) -> Result<Option<Duration>, Wanted> {
    if text.trim() == "never" {
        return Ok(None);
    }
    parse_duration(text, None)
        .ok()
        .filter(|duration| *duration >= SHORTEST_REPEAT)
        .map(Some)
        .ok_or("write a duration from 1m on, as 24h, or never")
}

pub(super) fn settle(text: &str) -> Result<Duration, Wanted> {
    parse_duration(text, Some(Unit::Secs))
        .ok()
        .filter(|duration| *duration <= LONGEST_SETTLE)
        .ok_or("write a duration from 0s to 10m, as 10s")
}

pub(super) fn severity(text: &str) -> Result<Severity, Wanted> {
    match text {
        "info" => Ok(Severity::Info),
        "warning" => Ok(Severity::Warning),
        "critical" => Ok(Severity::Critical),
        _ => Err("write info, warning or critical"),
    }
}

/// A host name or a literal address. What cannot be either is refused here, so that a slip (a port, a URL, half an
/// address) is told at the start and not as a name that never resolves.
pub(super) fn host(text: &str) -> Result<String, Wanted> {
    let text = text.trim();
    let good = if text.contains(':') {
        let address = text.split_once('%').map_or(text, |(address, _zone)| address);
        address.parse::<Ipv6Addr>().is_ok() && text.bytes().all(|b| b.is_ascii_graphic())
    } else {
        let labels: Vec<&str> = text.strip_suffix('.').unwrap_or(text).split('.').collect();
        let numeric = labels.last().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        labels.iter().all(|part| label(part)) && (!numeric || text.parse::<Ipv4Addr>().is_ok())
    };
    if good && text.len() <= LONGEST_HOST {
        Ok(text.to_owned())
    } else if is_network(text) {
        Err(NO_NETWORK)
    } else {
        Err("write a host name or an address, as 192.0.2.1")
    }
}

/// An address and a slash: nobody means a name by that.
fn is_network(text: &str) -> bool {
    text.split_once('/').is_some_and(|(address, _)| address.trim().parse::<IpAddr>().is_ok())
}

pub(super) fn server(text: &str) -> Result<String, Wanted> {
    host(text).map_err(|_| "write the server's name or address alone; its port is a setting of its own")
}

/// Hosts with commas between them.
pub(super) fn hosts(text: &str) -> Result<Vec<String>, Wanted> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    parts.map(host).collect::<Result<_, _>>().map_err(|wanted| match wanted {
        NO_NETWORK => NO_NETWORK,
        _ => "write host names or addresses with commas between them, as 192.0.2.1,2001:db8::1",
    })
}

pub(super) fn address(text: &str) -> Result<Address, Wanted> {
    text.parse().map_err(|_| "write a mail address, as name@example.org")
}

/// Mail addresses with commas between them.
pub(super) fn addresses(text: &str) -> Result<Vec<Address>, Wanted> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    match parts.map(address).collect::<Result<Vec<_>, _>>() {
        Ok(addresses) if !addresses.is_empty() => Ok(addresses),
        _ => Err("write mail addresses with commas between them, as a@example.org,b@example.org"),
    }
}

pub(super) fn port(text: &str) -> Result<u16, Wanted> {
    let port = whole_number(text).and_then(|port| u16::try_from(port).ok());
    port.filter(|port| *port > 0).ok_or("write a number from 1 to 65535, as 465")
}

pub(super) fn tls(text: &str) -> Result<Tls, Wanted> {
    match text {
        "implicit" => Ok(Tls::Implicit),
        "starttls" => Ok(Tls::StartTls),
        "none" => Ok(Tls::None),
        _ => Err("write implicit, starttls or none"),
    }
}

pub(super) fn command_timeout(text: &str) -> Result<Duration, Wanted> {
    parse_duration(text, Some(Unit::Secs))
        .ok()
        .filter(|duration| (SHORTEST_COMMAND..=LONGEST_COMMAND).contains(duration))
        .ok_or("write a duration from 1s to 10m, as 30s")
}

/// Whether every end of a monitor is mailed, or only what was not planned.
pub(super) fn exit(text: &str) -> Result<bool, Wanted> {
    match text {
        "always" => Ok(true),
        "unplanned" => Ok(false),
        _ => Err("write always or unplanned"),
    }
}

pub(super) fn not_empty(text: &str) -> Result<String, Wanted> {
    if text.trim().is_empty() { Err("write a text that is not empty") } else { Ok(text.to_owned()) }
}

/// A code point of RFC 2474 and its successors, by its number or its name.
pub(super) fn dscp(text: &str) -> Result<u8, Wanted> {
    let text = text.trim();
    let number = whole_number(text).and_then(|number| u8::try_from(number).ok());
    number
        .or_else(|| dscp_names().find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|(_, number)| number))
        .filter(|number| *number <= MOST_DSCP)
        .ok_or("write a number from 0 to 63, or EF, VOICE-ADMIT, LE, CS0 to CS7, or AF11 to AF43")
}

/// The names of code points.
pub(super) fn dscp_names() -> impl Iterator<Item = (String, u8)> {
    let selectors = (0..8).map(|class| (format!("CS{class}"), class * 8));
    let assured =
        (1..5).flat_map(|class| (1..4).map(move |drop| (format!("AF{class}{drop}"), class * 8 + drop * 2)));
    let single = [("EF", 46), ("VOICE-ADMIT", 44), ("LE", 1)].map(|(name, number)| (name.to_owned(), number));
    selectors.chain(assured).chain(single)
}

/// An address of this machine to send from.
pub(super) fn source(text: &str) -> Result<IpAddr, Wanted> {
    let address = text.trim().parse::<IpAddr>().ok().map(|address| address.to_canonical());
    address
        .filter(|address| !address.is_unspecified() && !address.is_multicast())
        .ok_or("write an address of this machine, as 192.0.2.1")
}

/// Whoever has an address of one link only is found by the routes, with the link.
pub(super) fn anchor(text: &str) -> Result<IpAddr, Wanted> {
    let address = text.trim().parse::<IpAddr>().ok().map(|address| address.to_canonical());
    let of_link = |address: &IpAddr| matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
    address
        .filter(|it| !it.is_unspecified() && !it.is_multicast() && !it.is_loopback() && !of_link(it))
        .ok_or("write the address of a machine that answers as long as there is a way out, as 192.0.2.1")
}

/// What the kernel takes for a name of an interface.
pub(super) fn interface(text: &str) -> Result<String, Wanted> {
    let good = (1..=LONGEST_INTERFACE).contains(&text.len())
        && !matches!(text, "." | "..")
        && !text.chars().any(|c| c == '/' || c == ':' || c.is_whitespace() || c.is_control());
    if good { Ok(text.to_owned()) } else { Err("write the name of an interface, as eth0") }
}

pub(super) fn family(text: &str) -> Result<Families, Wanted> {
    match text {
        "any" => Ok(Families::Any),
        "ipv4" => Ok(Families::V4),
        "ipv6" => Ok(Families::V6),
        "both" => Ok(Families::Both),
        _ => Err("write ipv4, ipv6, both or any"),
    }
}

pub(super) fn collect(text: &str) -> Result<Duration, Wanted> {
    parse_duration(text, Some(Unit::Millis))
        .ok()
        .filter(|duration| *duration <= LONGEST_COLLECT)
        .ok_or("write a duration from 0 to 1s, as 10ms")
}

pub(super) fn resolve_every(text: &str) -> Result<Duration, Wanted> {
    parse_duration(text, Some(Unit::Secs))
        .ok()
        .filter(|duration| (SHORTEST_RESOLVE..=LONGEST_RESOLVE).contains(duration))
        .ok_or("write a duration from 10s to 1d, as 5m")
}

/// What keeps `name` from naming a target's archive below the data folder, if anything.
pub(super) fn name_fault(name: &str) -> Option<&'static str> {
    let parts = || name.split('/');
    let folders = || parts().rev().skip(1);
    if name.is_empty() {
        Some("it is empty")
    } else if name.len() > LONGEST_NAME {
        Some("it is longer than 200 bytes")
    } else if name.chars().any(char::is_control) {
        Some("it has a control character")
    } else if parts().any(str::is_empty) {
        Some("'/' stands only between its parts")
    } else if parts().any(|part| part == "." || part == "..") {
        Some("no part of it may be '.' or '..'")
    } else if parts().next().is_some_and(|first| TAKEN.contains(&first)) {
        Some("latmon's own files have this name")
    } else if folders().any(|folder| folder.ends_with(".rrd")) {
        Some("only its last part may end in .rrd")
    } else {
        None
    }
}

/// Digits only: `u64::from_str` would let a plus sign pass.
pub(super) fn whole_number(text: &str) -> Option<u64> {
    let text = text.trim();
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

const LONGEST_STEP: Duration = Duration::from_secs(86_400);
const MOST_PINGS: u16 = 1000;
const SHORTEST_TIMEOUT: Duration = Duration::from_millis(10);
const LONGEST_TIMEOUT: Duration = Duration::from_secs(60);
const SHORTEST_COMMAND: Duration = Duration::from_secs(1);
const LONGEST_COMMAND: Duration = Duration::from_secs(600);
const LONGEST_SETTLE: Duration = Duration::from_secs(600);
const SHORTEST_REPEAT: Duration = Duration::from_secs(60);
const NO_NETWORK: Wanted =
    "this is a network: name it in the settings file, as lab = { cidr = \"192.0.2.0/28\" } under [targets]";
const LONGEST_COLLECT: Duration = Duration::from_secs(1);
const SHORTEST_RESOLVE: Duration = Duration::from_secs(10);
const LONGEST_RESOLVE: Duration = Duration::from_secs(86_400);
const MOST_DSCP: u8 = 63;
/// The kernel's IFNAMSIZ, without the zero at the end.
const LONGEST_INTERFACE: usize = 15;
const LONGEST_HOST: usize = 253;
/// With `.rrd` and what temporary files add, a part stays within the 255 bytes of a file's name.
const LONGEST_NAME: usize = 200;
/// What lies in a data folder beside the archives.
const TAKEN: [&str; 6] = ["outbox", "sent", "journal", "state.json", "control.sock", "latmon.lock"];
