//! A running prober behind gateways, and what it says of rounds and of its own uplink.

#![allow(dead_code, unreachable_pub, reason = "each test file uses the part of it that it needs")]

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::select;
use latmon::probe::{Anchors, EchoSettings, Pace, Prober, RESOLVE_EVERY, Settings, TargetSettings, Uplink};
use latmon::round::{Fault, Ping, Round, Target};
use latmon::time::Step;

use super::net::{Net, answer, ms, silence};
use super::sockets::{Sockets, net};

pub const GATEWAYS: [&str; 2] = ["198.18.0.254", "fd00::fe"];

/// A network in which the targets are behind a gateway of each family.
pub fn routed(sockets: Sockets) -> Net {
    let net = net(sockets);
    add_routes(&net);
    net
}

pub fn add_routes(net: &Net) {
    let [v4, v6] = GATEWAYS;
    net.ip(&format!("route add 198.19.128.0/17 via {v4} dev far0\nroute add fd77::/16 via {v6} dev far0"));
}

/// So many addresses behind the gateways, of both families in turn.
pub fn targets(count: usize) -> Vec<String> {
    let target = |n| if n % 2 == 1 { format!("198.19.128.{n}") } else { format!("fd77::{n}") };
    (1..=count).map(target).collect()
}

pub fn behave(net: &Net, hosts: &[String], well: bool) {
    for host in hosts {
        net.host(host, if well { answer().delay(ms(5)) } else { silence() });
    }
}

pub fn all_offline(round: &Round) -> bool {
    round.pings().iter().all(|ping| *ping == OFFLINE)
}

/// A running prober, and all it has said so far.
pub struct Watch {
    prober: Option<Prober>,
    incoming: crossbeam_channel::Receiver<Round>,
    hosts: Vec<String>,
    pub rounds: BTreeMap<String, Vec<Round>>,
    /// Outages and their ends.
    pub news: Vec<Uplink>,
    /// Those that have answered.
    pub anchors: Vec<IpAddr>,
}

impl Watch {
    pub fn start(hosts: &[String], anchors: &Anchors) -> Self {
        Self::start_knowing(hosts, anchors, &[])
    }

    /// The same, with anchors that answered an earlier run.
    pub fn start_knowing(hosts: &[String], anchors: &Anchors, known: &[IpAddr]) -> Self {
        let target = |host: &String| TargetSettings {
            target: Arc::new(Target { name: host.replace(':', "_"), host: host.clone() }),
            step: Step::new(1).expect("not zero"),
            pings: 5,
            timeout: ms(2000),
            family: None,
            echo: EchoSettings::default(),
        };
        let (sender, incoming) = crossbeam_channel::bounded(10_000);
        let settings = Settings {
            targets: hosts.iter().map(target).collect(),
            pace: Pace::default(),
            resolve_every: RESOLVE_EVERY,
            anchors: anchors.clone(),
            known_anchors: known.to_vec(),
        };
        let prober = Prober::start(settings, sender).expect("the prober starts");
        let (rounds, news) = (BTreeMap::new(), Vec::new());
        Self { prober: Some(prober), incoming, hosts: hosts.to_vec(), rounds, news, anchors: Vec::new() }
    }

    /// Takes the next round or news.
    fn next(&mut self) {
        let uplink = self.prober.as_ref().expect("until it is stopped").uplink();
        select! {
            recv(self.incoming) -> round => {
                let round = round.expect("the prober runs");
                self.rounds.entry(round.target().host.clone()).or_default().push(round);
            }
            recv(uplink) -> news => match news.expect("the prober runs") {
                Uplink::Anchors(anchors) => self.anchors = anchors,
                Uplink::Online { since: None, .. } => {}
                news => self.news.push(news),
            },
            default(LONG) => panic!("neither rounds nor news for {LONG:?}"),
        }
    }

    pub fn until(&mut self, what: &str, wanted: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + LONG;
        while !(self.hosts.iter().all(|host| self.rounds.contains_key(host)) && wanted(self)) {
            let lasts: Vec<_> = self.rounds.values().filter_map(|rounds| rounds.last()).take(3).collect();
            assert!(Instant::now() < deadline, "not {what} within {LONG:?}: {:?} {lasts:?}", self.news);
            self.next();
        }
    }

    /// So many more rounds of each target, and no more.
    pub fn stop_after(&mut self, rounds: usize) {
        let count = |watch: &Self, host: &String| watch.rounds.get(host).map_or(0, Vec::len);
        let wanted: Vec<usize> = self.hosts.iter().map(|host| count(self, host) + rounds).collect();
        let hosts = self.hosts.clone();
        self.until("more rounds", |watch| {
            hosts.iter().zip(&wanted).all(|(host, wanted)| count(watch, host) >= *wanted)
        });
        self.prober.take().expect("it runs").stop().expect("the prober's thread does not panic");
    }

    pub fn last(&self, host: &str) -> &Round {
        self.rounds[host].last().expect("each list has one")
    }

    pub fn all(&self, wanted: impl Fn(&Round) -> bool) -> bool {
        self.hosts.iter().all(|host| wanted(self.last(host)))
    }

    pub fn all_answer(&self) -> bool {
        self.all(|round| round.sorted().len() == 5)
    }
}

pub const OFFLINE: Ping = Ping::Unknown(Fault::Offline);
/// Longer than any machine takes for what surely comes.
pub const LONG: Duration = ms(60_000);
