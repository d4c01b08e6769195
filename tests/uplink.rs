//! Whether it is us: what is lost while our own uplink is down is no loss of the targets, and is told once; what targets
//! lose while it is well counts in full. In networks of the tests' own, behind gateways that answer or do not.

mod support {
    pub(crate) mod net;
    pub(crate) mod sockets;
}

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::select;
use latmon::probe::{
    Anchors, Cut, EchoSettings, Pace, Prober, RESOLVE_EVERY, Settings, TargetSettings, Uplink, ways_out,
};
use latmon::round::{Fault, Ping, Round, Target};
use latmon::time::{Step, UnixTime};
use support::net::namespace::{self, Namespace};
use support::net::{Net, answer, ms, silence};
use support::sockets::{Sockets, in_both, net};

const GATEWAYS: [&str; 2] = ["198.18.0.254", "fd00::fe"];
const NEAR: &str = "198.18.0.7";

#[test]
fn when_all_are_silent_together_nobody_has_lost_anything_and_one_outage_is_told() {
    in_both(|sockets| {
        let net = routed(sockets);
        let targets = targets(50);
        behave(&net, &targets, true);
        behave(&net, &GATEWAYS.map(str::to_owned), true);
        let mut watch = Watch::start(&targets, &Anchors::Gateways);
        watch.until("all answer", Watch::all_answer);

        let cut = Instant::now();
        for hosts in [&targets, &GATEWAYS.map(str::to_owned).to_vec()] {
            behave(&net, hosts, false);
        }
        watch.until("news", |watch| watch.news.len() == 1);
        let known = cut.elapsed();
        // Whole rounds of silence: a verdict must hold for those that follow it too.
        watch.until("rounds of silence", |watch| watch.all(all_offline));
        for hosts in [&targets, &GATEWAYS.map(str::to_owned).to_vec()] {
            behave(&net, hosts, true);
        }
        watch.until("news", |watch| watch.news.len() == 2);
        watch.until("all answer", Watch::all_answer);
        watch.stop_after(2);

        let [Uplink::Offline { since, why }, Uplink::Online { since: began, at }] = &watch.news[..] else {
            panic!("{sockets:?}: one outage, one end: {:?}", watch.news);
        };
        let anchors = GATEWAYS.map(|gateway| gateway.parse().expect("an address"));
        assert!(
            matches!(why, Cut::Silence { anchors: silent } if silent.len() == 2
            && anchors.iter().all(|anchor| silent.contains(anchor))),
            "{why:?}"
        );
        assert!(since == began && since < at, "{:?}", watch.news);
        assert!(known > ms(2000), "{sockets:?}: three lost pings take more than {known:?}");
        for (host, rounds) in &watch.rounds {
            for round in rounds {
                assert_eq!(round.lost(), 0, "{sockets:?} {host}: {round:?}");
            }
            let offline = rounds.iter().flat_map(Round::pings).filter(|ping| **ping == OFFLINE).count();
            assert!(offline >= 5 * 3, "{sockets:?} {host}: only {offline} pings of some seconds are unknown");
        }
    });
}

#[test]
fn a_gateway_that_dies_alone_is_nobodys_outage() {
    in_both(|sockets| {
        let net = routed(sockets);
        let targets = targets(2);
        behave(&net, &targets, true);
        behave(&net, &GATEWAYS.map(str::to_owned), true);
        let mut watch = Watch::start(&targets, &Anchors::Gateways);
        watch.until("all answer", Watch::all_answer);
        behave(&net, &GATEWAYS.map(str::to_owned), false);
        let before = GATEWAYS.map(|gateway| net.requests(gateway).len());
        for (gateway, before) in GATEWAYS.iter().zip(before) {
            wait(|| net.requests(gateway).len() >= before + 5, "five lost pings of each gateway");
        }
        watch.stop_after(1);
        assert_eq!(watch.news, [], "{sockets:?}");
        for round in watch.rounds.values().flatten() {
            assert_eq!(round.lost(), 0, "{sockets:?}: {round:?}");
            assert!(!round.pings().contains(&OFFLINE), "{sockets:?}: {round:?}");
        }
    });
}

#[test]
fn targets_that_die_alone_lose_every_ping() {
    in_both(|sockets| {
        let net = routed(sockets);
        let targets = targets(2);
        behave(&net, &targets, true);
        behave(&net, &GATEWAYS.map(str::to_owned), true);
        let mut watch = Watch::start(&targets, &Anchors::Gateways);
        watch.until("all answer", Watch::all_answer);
        behave(&net, &targets, false);
        watch.until("all are down", |watch| watch.all(Round::is_down));
        watch.stop_after(7);
        assert_eq!(watch.news, [], "{sockets:?}");
        for (host, rounds) in &watch.rounds {
            assert!(rounds.iter().all(|round| !round.pings().contains(&OFFLINE)), "{sockets:?} {host}");
            let last = rounds.last().expect("some");
            assert_eq!((last.lost(), last.known()), (5, 5), "{sockets:?} {host}: {last:?}");
        }
    });
}

#[test]
fn a_gateway_that_never_answered_excuses_nobody() {
    in_both(|sockets| {
        let net = routed(sockets);
        let targets = targets(2);
        behave(&net, &targets, true);
        let mut watch = Watch::start(&targets, &Anchors::Gateways);
        watch.until("all answer", Watch::all_answer);
        wait(|| !net.requests(GATEWAYS[0]).is_empty(), "a ping to the gateway");
        behave(&net, &targets, false);
        watch.until("all are down", |watch| watch.all(Round::is_down));
        watch.stop_after(7);
        assert_eq!(watch.news, [], "{sockets:?}");
        assert!(
            watch.rounds.values().flatten().all(|round| !round.pings().contains(&OFFLINE)),
            "{sockets:?}"
        );
    });
}

/// Whoever watches only itself and its own networks sends nothing to any gateway.
#[test]
fn gateways_are_left_alone_unless_a_target_is_behind_one() {
    for anchors in [Anchors::Gateways, Anchors::These(Vec::new())] {
        let net = routed(Sockets::Raw);
        let mut hosts = vec!["127.0.0.1".to_owned(), "::1".to_owned(), NEAR.to_owned()];
        if anchors != Anchors::Gateways {
            hosts.extend(targets(1));
        }
        behave(&net, &hosts[2..], true);
        behave(&net, &GATEWAYS.map(str::to_owned), true);
        let mut watch = Watch::start(&hosts, &anchors);
        watch.until("all answer", Watch::all_answer);
        watch.stop_after(2);
        for gateway in GATEWAYS {
            assert_eq!(net.requests(gateway).len(), 0, "{anchors:?} {gateway}");
        }
    }
}

#[test]
fn anchors_of_the_settings_are_asked_instead_of_gateways() {
    let net = routed(Sockets::Raw);
    let (hosts, anchor) = (targets(1), "198.18.0.99");
    behave(&net, &hosts, true);
    behave(&net, &[anchor.to_owned()], true);
    let these = Anchors::These(vec![SocketAddr::new(anchor.parse().expect("an address"), 0)]);
    let mut watch = Watch::start(&hosts, &these);
    watch.until("all answer", Watch::all_answer);
    net.wait_for(anchor, 2, LONG);
    behave(&net, &hosts, false);
    behave(&net, &[anchor.to_owned()], false);
    watch.until("news", |watch| watch.news.len() == 1);
    let [Uplink::Offline { why, .. }] = &watch.news[..] else { panic!("{:?}", watch.news) };
    assert_eq!(why.to_string(), "198.18.0.99 does not answer");
    watch.stop_after(1);
    assert_eq!(net.requests(GATEWAYS[0]).len(), 0);
}

/// Near targets that answer prove that they are well, and say nothing about the way out.
#[test]
fn near_targets_go_on_counting_while_the_uplink_is_down() {
    let net = routed(Sockets::Raw);
    let mut hosts = targets(2);
    hosts.extend([NEAR.to_owned(), "198.18.0.8".to_owned()]);
    behave(&net, &hosts, true);
    behave(&net, &GATEWAYS.map(str::to_owned), true);
    let mut watch = Watch::start(&hosts, &Anchors::Gateways);
    watch.until("all answer", Watch::all_answer);
    behave(&net, &hosts[..2], false);
    behave(&net, &GATEWAYS.map(str::to_owned), false);
    behave(&net, &hosts[3..], false);
    watch.until("an outage", |watch| watch.news.len() == 1);
    let (far, near) = hosts.split_at(2);
    watch.until("rounds of it", |watch| far.iter().all(|host| all_offline(watch.last(host))));
    watch.until("the dead one's rounds", |watch| watch.last(&near[1]).is_down());
    watch.stop_after(1);
    assert_eq!(watch.last(&near[0]).sorted().len(), 5);
}

#[test]
fn a_lost_route_is_told_at_once() {
    in_both(|sockets| {
        let net = routed(sockets);
        let targets = targets(4);
        behave(&net, &targets, true);
        behave(&net, &GATEWAYS.map(str::to_owned), true);
        let mut watch = Watch::start(&targets, &Anchors::Gateways);
        watch.until("all answer", Watch::all_answer);
        net.ip("route del 198.19.128.0/17\nroute del fd77::/16");
        net.cut();
        watch.until("an outage", |watch| watch.news.len() == 1);
        assert!(matches!(&watch.news[0], Uplink::Offline { why: Cut::Route, .. }), "{:?}", watch.news);
        watch.until("rounds of it", |watch| watch.all(Round::is_unknown));
        net.mend();
        add_routes(&net);
        watch.until("an end", |watch| watch.news.len() == 2);
        watch.until("all answer", Watch::all_answer);
        watch.stop_after(1);
        assert_eq!(watch.news.len(), 2, "{:?}", watch.news);
        assert!(watch.rounds.values().flatten().all(|round| round.lost() == 0), "{sockets:?}");
    });
}

/// A real cable, with a real machine at its other end: its interface goes down, and ours loses its carrier.
#[test]
fn a_lost_carrier_is_told_at_once() {
    in_both(|sockets| {
        let net = net(sockets);
        let cable = Cable::lay(&net);
        let hosts: Vec<String> = (1..=50).map(|n| format!("198.19.128.{n}")).collect();
        let mut watch = Watch::start(&hosts, &Anchors::Gateways);
        watch.until("all answer", Watch::all_answer);
        cable.at_the_other_end("link set up1 down");
        watch.until("an outage", |watch| watch.news.len() == 1);
        let Uplink::Offline { since, why } = &watch.news[0] else { panic!("{:?}", watch.news) };
        assert_eq!(why.to_string(), "up0 has no carrier", "{sockets:?}");
        let since = *since;
        watch.until("rounds of it", |watch| watch.all(Round::is_unknown));
        cable.at_the_other_end("link set up1 up");
        watch.until("an end", |watch| watch.news.len() == 2);
        watch.until("all answer", Watch::all_answer);
        watch.stop_after(1);
        assert!(matches!(watch.news[1], Uplink::Online { since: began, .. } if began == since));
        for round in watch.rounds.values().flatten() {
            assert_eq!(round.lost(), 0, "{sockets:?}: {:?} {round:?}", watch.news);
        }
    });
}

/// It starts while the carrier is missing, and nobody has ever answered it.
#[test]
fn who_starts_offline_blames_no_target() {
    let net = net(Sockets::Raw);
    let cable = Cable::lay(&net);
    cable.at_the_other_end("link set up1 down");
    let began = UnixTime::from(std::time::SystemTime::now());
    let mut watch = Watch::start(&["198.19.128.1".to_owned()], &Anchors::Gateways);
    watch.until("an outage", |watch| watch.news.len() == 1);
    assert!(
        matches!(&watch.news[0], Uplink::Offline { why: Cut::Carrier { .. }, since } if *since >= began.minus(ms(1000)))
    );
    watch.stop_after(4);
    assert!(watch.rounds.values().flatten().all(|round| round.lost() == 0), "{:?}", watch.rounds);
}

#[test]
fn the_ways_out_are_those_of_the_kernel() {
    let net = routed(Sockets::Raw);
    let ask = |addresses: &[&str]| {
        let addresses: Vec<_> = addresses.iter().map(|it| it.parse().expect("an address")).collect();
        ways_out(&addresses).expect("netlink is there")
    };
    let out =
        ask(&["127.0.0.1", "::1", "198.19.0.1", "198.18.3.4", "198.19.128.1", "198.19.129.1", "fd77::1"]);
    let gateways: Vec<String> =
        out.gateways.iter().map(|it| format!("{} {}", it.address.ip(), it.interface)).collect();
    assert_eq!(gateways, ["198.18.0.254 far0", "fd00::fe far0"]);
    assert_eq!((out.near, out.unreachable), (1, 0));
    net.ip("route add 198.19.200.0/24 via inet6 fe80::1 dev far0");
    let via = ask(&["198.19.200.1", "192.0.2.1"]);
    assert_eq!((via.unreachable, via.gateways[0].address.ip().to_string()), (1, "fe80::1".to_owned()));
}

/// A network in which the targets are behind a gateway of each family.
fn routed(sockets: Sockets) -> Net {
    let net = net(sockets);
    add_routes(&net);
    net
}

fn add_routes(net: &Net) {
    let [v4, v6] = GATEWAYS;
    net.ip(&format!("route add 198.19.128.0/17 via {v4} dev far0\nroute add fd77::/16 via {v6} dev far0"));
}

/// So many addresses behind the gateways, of both families in turn.
fn targets(count: usize) -> Vec<String> {
    let target = |n| if n % 2 == 1 { format!("198.19.128.{n}") } else { format!("fd77::{n}") };
    (1..=count).map(target).collect()
}

fn behave(net: &Net, hosts: &[String], well: bool) {
    for host in hosts {
        net.host(host, if well { answer().delay(ms(5)) } else { silence() });
    }
}

fn all_offline(round: &Round) -> bool {
    round.pings().iter().all(|ping| *ping == OFFLINE)
}

/// A cable to a machine with many addresses, in a network namespace and a thread of its own. It goes with this.
struct Cable {
    orders: Option<Sender<&'static str>>,
    done: Receiver<()>,
    thread: Option<JoinHandle<()>>,
}

impl Cable {
    fn lay(net: &Net) -> Self {
        let (orders, ordered) = mpsc::channel::<&'static str>();
        let (finish, done) = mpsc::channel();
        let (tell, told) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let _there = Namespace::enter();
            tell.send(nix::unistd::gettid()).expect("the test waits for it");
            for order in ordered {
                namespace::ip_batch(order);
                finish.send(()).expect("the test waits for it");
            }
        });
        let there = told.recv().expect("the thread tells its number");
        net.ip(&format!(
            "link add up0 type veth peer name up1\n\
             link set up1 netns {there}\n\
             addr add 198.19.127.1/30 dev up0\n\
             link set up0 up\n\
             route add 198.19.128.0/17 via 198.19.127.2 dev up0"
        ));
        let cable = Self { orders: Some(orders), done, thread: Some(thread) };
        cable.at_the_other_end(
            "link set lo up\naddr add 198.19.127.2/30 dev up1\naddr add local 198.19.128.0/17 dev lo\n\
             link set up1 up\nroute add default via 198.19.127.1",
        );
        cable
    }

    fn at_the_other_end(&self, order: &'static str) {
        self.orders.as_ref().expect("until it is dropped").send(order).expect("the thread runs");
        self.done.recv().expect("the thread runs");
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        drop(self.orders.take());
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(std::thread::panicking() || matches!(ended, Some(Ok(()))), "see above");
    }
}

/// A running prober, and all it has said so far.
struct Watch {
    prober: Option<Prober>,
    incoming: crossbeam_channel::Receiver<Round>,
    hosts: Vec<String>,
    rounds: BTreeMap<String, Vec<Round>>,
    news: Vec<Uplink>,
}

impl Watch {
    fn start(hosts: &[String], anchors: &Anchors) -> Self {
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
        };
        let prober = Prober::start(settings, sender).expect("the prober starts");
        let (rounds, news) = (BTreeMap::new(), Vec::new());
        Self { prober: Some(prober), incoming, hosts: hosts.to_vec(), rounds, news }
    }

    /// Takes the next round or news.
    fn next(&mut self) {
        let uplink = self.prober.as_ref().expect("until it is stopped").uplink();
        select! {
            recv(self.incoming) -> round => {
                let round = round.expect("the prober runs");
                self.rounds.entry(round.target().host.clone()).or_default().push(round);
            }
            recv(uplink) -> news => self.news.push(news.expect("the prober runs")),
            default(LONG) => panic!("neither rounds nor news for {LONG:?}"),
        }
    }

    fn until(&mut self, what: &str, wanted: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + LONG;
        while !(self.hosts.iter().all(|host| self.rounds.contains_key(host)) && wanted(self)) {
            let lasts: Vec<_> = self.rounds.values().filter_map(|rounds| rounds.last()).take(3).collect();
            assert!(Instant::now() < deadline, "not {what} within {LONG:?}: {:?} {lasts:?}", self.news);
            self.next();
        }
    }

    /// So many more rounds of each target, and no more.
    fn stop_after(&mut self, rounds: usize) {
        let count = |watch: &Self, host: &String| watch.rounds.get(host).map_or(0, Vec::len);
        let wanted: Vec<usize> = self.hosts.iter().map(|host| count(self, host) + rounds).collect();
        let hosts = self.hosts.clone();
        self.until("more rounds", |watch| {
            hosts.iter().zip(&wanted).all(|(host, wanted)| count(watch, host) >= *wanted)
        });
        self.prober.take().expect("it runs").stop().expect("the prober's thread does not panic");
    }

    fn last(&self, host: &str) -> &Round {
        self.rounds[host].last().expect("each list has one")
    }

    fn all(&self, wanted: impl Fn(&Round) -> bool) -> bool {
        self.hosts.iter().all(|host| wanted(self.last(host)))
    }

    fn all_answer(&self) -> bool {
        self.all(|round| round.sorted().len() == 5)
    }
}

fn wait(done: impl Fn() -> bool, what: &str) {
    let deadline = Instant::now() + LONG;
    while !done() {
        assert!(Instant::now() < deadline, "{what}: not within {LONG:?}");
        std::thread::sleep(ms(5));
    }
}

const OFFLINE: Ping = Ping::Unknown(Fault::Offline);
/// Longer than any machine takes for what surely comes.
const LONG: Duration = ms(60_000);
