//! The sockets, the names and the gateway.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use latmon::config::{Config, Setting};
use latmon::probe::icmp::Family;
use latmon::probe::{
    self, Anchors, EchoSettings, Gateway, LookSettings, LookTarget, ReceiveBuffer, SocketKind, SocketKinds,
    Stamps, Stop, TargetSettings,
};
use latmon::round::{Rtt, Target};

use super::{Bytes, Finding, Patient};

/// Which sockets there are, whether an echo to this machine itself comes back, and how much may wait in them.
pub(super) fn sockets(patient: &Patient) -> Vec<Finding> {
    let about = "sockets";
    match &patient.sockets {
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
        Some(SocketKind::Datagram) | None if cfg!(target_os = "linux") => "net.ipv4.ping_group_range",
        Some(SocketKind::Datagram) | None => "everybody may",
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
fn judge_buffer(buffer: ReceiveBuffer) -> Finding {
    let ReceiveBuffer { wanted, held } = buffer;
    let about = "buffer";
    let (there, needed) = (Bytes(held as u64), Bytes(wanted as u64));
    if held >= wanted {
        return Finding::ok(about, format!("{there} for replies that wait, {needed} needed"));
    }
    Finding::warn(
        about,
        format!(
            "{there} for replies that wait, {needed} needed when this machine is held up: sysctl -w {}",
            buffer.setting()
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
        let found = probe::addresses(&names, family, PATIENCE, None);
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

/// Whether there are ways out, and whether the first routers on them answer, or whoever the settings name: only then can
/// they tell an outage of this machine's own line from one of the targets.
pub(super) fn gateway(patient: &Patient) -> Finding {
    let about = "gateway";
    let (addresses, names) = hosts_of(&patient.config);
    let out = match probe::ways_out(&addresses) {
        Ok(out) => out,
        Err(error) => return Finding::warn(about, format!("cannot ask the kernel for routes: {error}")),
    };
    let Setting { value: anchors, origin } = &patient.config.uplink.anchors;
    if out.gateways.is_empty() && out.near == 0 {
        return match (out.unreachable, names) {
            (0, 0) => Finding::ok(about, "none is needed, all targets are on this machine"),
            (0, _) => Finding::warn(about, "no target has an address yet"),
            (_, _) => Finding::warn(about, "no target has a route, and no default route is there"),
        };
    }
    let asked: Vec<(IpAddr, String)> = match anchors {
        Anchors::These(none) if none.is_empty() => {
            let text = format!(
                "no anchor is asked ({origin}): only routes and carriers tell an outage of your own line"
            );
            return Finding::ok(about, text);
        }
        Anchors::These(these) => these.iter().map(|it| (*it, format!("{it} ({origin})"))).collect(),
        Anchors::Gateways if !probe::TELLS_GATEWAYS => {
            let text = "this system is not asked for its gateways: name who answers while there is a way out, [uplink] \
                        anchor = [\"192.0.2.1\"]";
            return Finding::warn(about, text);
        }
        Anchors::Gateways if out.gateways.is_empty() => {
            return Finding::ok(about, "none to ask, no target is behind one");
        }
        Anchors::Gateways => {
            let shown = |it: &Gateway| (it.address.ip(), format!("{} ({})", it.address.ip(), it.interface));
            out.gateways.iter().take(Anchors::MOST).map(shown).collect()
        }
    };
    judge_anchors(asked.into_iter().map(|(address, shown)| (shown, ask(address))).collect())
}

fn judge_anchors(asked: Vec<(String, Answer)>) -> Finding {
    let (mut well, mut said) = (true, Vec::new());
    for (shown, answer) in asked {
        well &= matches!(answer, Answer::Came(_));
        said.push(match answer {
            Answer::Came(rtt) => format!("{shown} answers after {rtt}"),
            Answer::None => format!("{shown} never answers ping: not used as anchor"),
            Answer::Unknown(why) => format!("{shown} cannot be asked: {why}"),
        });
    }
    let said = said.join(", ");
    if well {
        return Finding::ok("gateway", said);
    }
    Finding::warn("gateway", format!("{said}: name another one, [uplink] anchor = [\"192.0.2.1\"]"))
}

/// The addresses of the targets, and how many have names instead; the names that do not resolve are told elsewhere.
fn hosts_of(config: &Config) -> (Vec<SocketAddr>, usize) {
    let literal = |it: &TargetSettings| Some(SocketAddr::new(it.target.host.parse().ok()?, 0));
    let mut addresses: Vec<SocketAddr> = config.probe.targets.iter().filter_map(literal).collect();
    let mut names = 0;
    for (family, hosts) in names_of(config).into_values() {
        let hosts: Vec<String> = hosts.into_iter().take(ENOUGH_NAMES).collect();
        names += hosts.len();
        let found = probe::addresses(&hosts, family, PATIENCE, None);
        addresses.extend(found.into_iter().filter_map(Result::ok));
    }
    (addresses, names)
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

/// How long names may take.
const PATIENCE: Duration = Duration::from_secs(5);
const MOST_NAMES: usize = 1000;
/// So many show the ways out.
const ENOUGH_NAMES: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_that_is_too_small_is_told_with_the_number_to_type() {
        use super::super::Verdict;
        let small = judge_buffer(ReceiveBuffer { wanted: 46_000_001, held: 425_984 });
        assert_eq!(small.verdict, Verdict::Warn);
        assert!(small.text.ends_with("sysctl -w net.core.rmem_max=23000001"), "{}", small.text);
        assert_eq!(judge_buffer(ReceiveBuffer { wanted: 6_656, held: 425_984 }).verdict, Verdict::Ok);
    }
}
