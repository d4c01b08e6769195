//! The sockets, the names and the gateway.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use latmon::config::Config;
use latmon::probe::icmp::Family;
use latmon::probe::{
    self, EchoSettings, LookSettings, LookTarget, OpenSockets, ReceiveBuffer, SocketKind, SocketKinds,
    Stamps, Stop, TargetSettings,
};
use latmon::round::{Rtt, Target};

use super::{Bytes, Finding, Patient};

/// Which sockets there are, whether an echo to this machine itself comes back, and how much may wait in them.
pub(super) fn sockets(patient: &Patient) -> Vec<Finding> {
    let about = "sockets";
    match OpenSockets::open(&patient.config.probe) {
        Ok(sockets) => vec![
            judge_sockets(
                sockets.kinds(),
                sockets.stamps(),
                patient.me.is_root(),
                &ask(Ipv4Addr::LOCALHOST.into()),
            ),
            judge_buffer(sockets.receive_buffer()),
        ],
        Err(error) => vec![Finding::fail(about, format!("as {}: {error}", patient.me.name))],
    }
}

fn judge_sockets(kinds: SocketKinds, stamps: Stamps, is_root: bool, loopback: &Answer) -> Finding {
    let about = "sockets";
    let by = match [kinds.v4, kinds.v6].into_iter().flatten().next() {
        Some(SocketKind::Raw) if is_root => "you are root",
        Some(SocketKind::Raw) => "cap_net_raw",
        Some(SocketKind::Datagram) | None => "net.ipv4.ping_group_range",
    };
    let text = format!("{kinds} ({by}), {stamps}");
    match loopback {
        Answer::Came(_) if kinds.v6.is_none() => {
            Finding::warn(about, format!("{text}: targets with only an IPv6 address stay unknown"))
        }
        Answer::Came(floor) => Finding::ok(about, format!("{text}, own floor {floor} on loopback")),
        _ if kinds.v4.is_none() => {
            Finding::warn(about, format!("{text}: targets with only an IPv4 address stay unknown"))
        }
        Answer::None => {
            Finding::fail(about, format!("{text}, and 127.0.0.1 does not answer: does a firewall drop ICMP?"))
        }
        Answer::Unknown(why) => Finding::fail(about, format!("{text}, and {why}: is lo up?")),
    }
}

/// Whether what comes while the machine is busy elsewhere has room to wait.
fn judge_buffer(ReceiveBuffer { wanted, held }: ReceiveBuffer) -> Finding {
    let about = "buffer";
    let (there, needed) = (Bytes(held as u64), Bytes(wanted as u64));
    if held >= wanted {
        return Finding::ok(about, format!("{there} for replies that wait, {needed} needed"));
    }
    // The kernel gives twice what it is asked for, and counts its own headers on it.
    let limit = wanted.div_ceil(2);
    Finding::warn(
        about,
        format!(
            "{there} for replies that wait, {needed} needed when this machine is held up: sysctl -w \
             net.core.rmem_max={limit}"
        ),
    )
}

/// Whether every name of the settings resolves.
pub(super) fn names(patient: &Patient) -> Finding {
    let about = "names";
    let servers = name_servers();
    let shown = match servers.as_slice() {
        [] => "no name server in /etc/resolv.conf".to_owned(),
        servers => format!("name server {}", servers.join(", ")),
    };
    let (mut asked, mut bad) = (0, Vec::new());
    for (family, names) in names_of(&patient.config).into_values() {
        let names: Vec<String> = names.into_iter().take(MOST_NAMES).collect();
        let found = probe::addresses(&names, family, PATIENCE);
        asked += names.len();
        bad.extend(names.into_iter().zip(found).filter_map(|(name, found)| Some((name, found.err()?))));
    }
    let hint = if servers.is_empty() { "name one there" } else { "check their spelling, and the server" };
    match bad.as_slice() {
        [] if asked == 0 => Finding::ok(about, format!("the settings have none to resolve; {shown}")),
        [] if asked == 1 => Finding::ok(about, format!("the one of the settings resolves; {shown}")),
        [] => Finding::ok(about, format!("all {asked} resolve; {shown}")),
        [(name, why), ..] => {
            let more = match bad.len() - 1 {
                0 => String::new(),
                more => format!(", and {more} more of {asked}"),
            };
            let text = format!("{name} {why}{more}; {shown}: {hint}");
            // One may be misspelt. Without any there is no name service.
            if bad.len() == asked { Finding::fail(about, text) } else { Finding::warn(about, text) }
        }
    }
}

/// Whether there is a way out, and whether the first router on it answers: only then can it tell an outage of this
/// machine's own line from one of the targets.
pub(super) fn gateway(_: &Patient) -> Finding {
    let about = "gateway";
    match default_route() {
        None => Finding::warn(
            about,
            "no default route: only what is on this machine's own networks can be reached",
        ),
        Some(Route { gateway: None, device }) => {
            Finding::ok(about, format!("none to ask, the default route is {device} itself"))
        }
        Some(Route { gateway: Some(gateway), device }) => match ask(gateway) {
            Answer::Came(rtt) => Finding::ok(about, format!("{gateway} ({device}) answers after {rtt}")),
            Answer::None => Finding::warn(
                about,
                format!(
                    "{gateway} ({device}) never answers ping: an outage of your own line cannot be told from theirs"
                ),
            ),
            Answer::Unknown(why) => {
                Finding::warn(about, format!("{gateway} ({device}) cannot be asked: {why}"))
            }
        },
    }
}

/// What came of some pings.
enum Answer {
    Came(Rtt),
    None,
    Unknown(String),
}

/// Pings an address for half a second; its quickest answer counts.
fn ask(address: IpAddr) -> Answer {
    let name = address.to_string();
    let target = LookTarget {
        target: Arc::new(Target { name: name.clone(), host: name }),
        address: SocketAddr::new(address, 0),
        echo: EchoSettings::default(),
    };
    let settings = LookSettings {
        targets: vec![target],
        count: 5,
        interval: Duration::from_millis(100),
        gap: Duration::ZERO,
        timeout: Duration::from_secs(1),
    };
    let looked = Stop::new().and_then(|stop| probe::look(&settings, &stop, &mut |_, _| {}));
    let round = match looked.as_deref() {
        Ok([looked]) => &looked.round,
        Ok(_) => return Answer::None,
        Err(error) => return Answer::Unknown(error.to_string()),
    };
    match (round.min(), round.fault()) {
        (Some(quickest), _) => Answer::Came(quickest),
        (None, Some(fault)) if round.is_unknown() => Answer::Unknown(fault.to_string()),
        (None, _) => Answer::None,
    }
}

/// The hosts of targets that have to be looked up, with the family that is asked for; the mail server is looked up when it
/// is tried.
fn names_of(config: &Config) -> BTreeMap<&'static str, (Option<Family>, BTreeSet<String>)> {
    let mut names: BTreeMap<_, (_, BTreeSet<String>)> = BTreeMap::new();
    for TargetSettings { target, family, .. } in &config.probe.targets {
        let host = &target.host;
        if host != "localhost" && host.parse::<IpAddr>().is_err() {
            let key = match family {
                None => "any",
                Some(Family::V4) => "IPv4",
                Some(Family::V6) => "IPv6",
            };
            names.entry(key).or_insert_with(|| (*family, BTreeSet::new())).1.insert(host.clone());
        }
    }
    names
}

fn name_servers() -> Vec<String> {
    let text = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let server = |line: &str| Some(line.strip_prefix("nameserver")?.split_whitespace().next()?.to_owned());
    text.lines().filter_map(server).collect()
}

/// The way out.
#[derive(Debug, PartialEq, Eq)]
struct Route {
    gateway: Option<IpAddr>,
    device: String,
}

/// IPv4's default route, or else IPv6's, whose gateways have addresses of one link only.
fn default_route() -> Option<Route> {
    let table = |name| fs::read_to_string(format!("/proc/self/net/{name}")).unwrap_or_default();
    default_route_v4(&table("route")).or_else(|| default_route_v6(&table("ipv6_route")))
}

/// `eth0  00000000  010200C0  0003  0  0  100  00000000 ..`: device, destination, gateway, flags, use, metric, mask.
fn default_route_v4(table: &str) -> Option<Route> {
    const IS_UP: u16 = 1;
    let route = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [device, "00000000", gateway, flags, _, _, metric, "00000000", ..] = words[..] else {
            return None;
        };
        // The kernel prints the address as the number that its bytes make on this machine.
        let gateway = Ipv4Addr::from(u32::from_str_radix(gateway, 16).ok()?.to_ne_bytes());
        if u16::from_str_radix(flags, 16).ok()? & IS_UP == 0 {
            return None;
        }
        let gateway = (!gateway.is_unspecified()).then_some(gateway.into());
        Some((metric.parse::<u32>().ok()?, Route { gateway, device: device.to_owned() }))
    };
    table.lines().filter_map(route).min_by_key(|(metric, _)| *metric).map(|(_, route)| route)
}

/// `0..0 00 0..0 00 fe80..01 00000400 .. eth0`: destination, its length, source, its length, gateway, metric, device last.
fn default_route_v6(table: &str) -> Option<Route> {
    let route = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [destination, "00", _, _, gateway, metric, .., device] = words[..] else { return None };
        // The table ends with a route that refuses.
        if destination.bytes().any(|digit| digit != b'0') || device == "lo" {
            return None;
        }
        let gateway = IpAddr::V6(u128::from_str_radix(gateway, 16).ok()?.into());
        let is_link_local = matches!(gateway, IpAddr::V6(v6) if v6.is_unicast_link_local());
        let gateway = (!gateway.is_unspecified() && !is_link_local).then_some(gateway);
        Some((u32::from_str_radix(metric, 16).ok()?, Route { gateway, device: device.to_owned() }))
    };
    table.lines().filter_map(route).min_by_key(|(metric, _)| *metric).map(|(_, route)| route)
}

/// How long names may take.
const PATIENCE: Duration = Duration::from_secs(5);
const MOST_NAMES: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    /// As the kernel prints it on a machine of little endian.
    #[cfg(target_endian = "little")]
    #[test]
    fn the_default_route_with_the_least_metric_is_the_way_out() {
        let table = "\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
wlan0\t00000000\t0102A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0
eth0\t00000000\t010200C0\t0003\t0\t0\t100\t00000000\t0\t0\t0
eth0\t000200C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0
";
        let gateway = Some("192.0.2.1".parse().unwrap());
        assert_eq!(default_route_v4(table), Some(Route { gateway, device: "eth0".into() }));
        let tunnel = "ppp0\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0\n";
        assert_eq!(default_route_v4(tunnel), Some(Route { gateway: None, device: "ppp0".into() }));
        assert_eq!(default_route_v4("eth0 junk\n"), None);
    }

    #[test]
    fn a_buffer_that_is_too_small_is_told_with_the_number_to_type() {
        use super::super::Verdict;
        let small = judge_buffer(ReceiveBuffer { wanted: 46_000_001, held: 425_984 });
        assert_eq!(small.verdict, Verdict::Warn);
        assert!(small.text.ends_with("sysctl -w net.core.rmem_max=23000001"), "{}", small.text);
        assert_eq!(judge_buffer(ReceiveBuffer { wanted: 6_656, held: 425_984 }).verdict, Verdict::Ok);
    }

    #[test]
    fn a_gateway_of_the_link_is_none_that_can_be_asked() {
        let zero = "0".repeat(32);
        let line = |gateway: &str, device: &str| {
            format!("{zero} 00 {zero} 00 {gateway} 00000400 00000001 00000000 00000003 {device}\n")
        };
        let refuses = line(&zero, "lo");
        assert_eq!(default_route_v6(&refuses), None);
        let of_link = refuses.clone() + &line("fe800000000000000000000000000001", "eth0");
        assert_eq!(default_route_v6(&of_link), Some(Route { gateway: None, device: "eth0".into() }));
        let global = refuses + &line("fd000000000000000000000000000001", "eth0");
        assert_eq!(default_route_v6(&global).unwrap().gateway, Some("fd00::1".parse().unwrap()));
    }
}
