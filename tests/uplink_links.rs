//! Whether it is us, by what the kernel says: who is behind a gateway, and whom we ask therefore; lost routes and lost
//! carriers, which are known at once, and no loss of the targets.

mod support {
    pub(crate) mod net;
    pub(crate) mod sockets;
    pub(crate) mod uplink;
}

use std::net::SocketAddr;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;
use std::time::SystemTime;

use latmon::probe::{Anchors, Cut, Uplink, ways_out};
use latmon::round::{Fault, Ping, Round};
use latmon::time::UnixTime;
use support::net::namespace::{self, Namespace};
use support::net::{Net, ms};
use support::sockets::{Sockets, in_both, net};
use support::uplink::{GATEWAYS, LONG, Watch, add_routes, behave, routed, targets};

const NEAR: &str = "198.18.0.7";

/// Whoever watches only itself and its own networks sends nothing to any gateway.
#[test]
fn gateways_are_left_alone_unless_a_target_is_behind_one() {
    std::thread::scope(|scope| {
        for anchors in [Anchors::Gateways, Anchors::These(Vec::new())] {
            scope.spawn(move || {
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
            });
        }
    });
}

#[test]
fn anchors_of_the_settings_are_asked_instead_of_gateways() {
    let net = routed(Sockets::Raw);
    let (hosts, anchor) = (targets(1), "198.18.0.99");
    behave(&net, &hosts, true);
    behave(&net, &[anchor.to_owned()], true);
    let these = Anchors::These(vec![anchor.parse().expect("an address")]);
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

/// The kernel tells no datagram socket of IPv6 that it drops an echo behind its routes. Who is behind a gateway has not lost
/// it; on our own network it may be the host that is dead.
#[test]
fn what_our_own_machine_drops_in_silence_is_no_loss() {
    let net = routed(Sockets::Datagram);
    let hosts = ["fd77::2", "fd77::4"].map(str::to_owned);
    behave(&net, &hosts, true);
    behave(&net, &GATEWAYS.map(str::to_owned), true);
    let mut watch = Watch::start(&hosts, &Anchors::Gateways);
    watch.until("all answer", Watch::all_answer);
    // By the last four bytes of the destination.
    net.tc("qdisc add dev far0 clsact\n\
         filter add dev far0 egress protocol all bpf da bytecode \"4,32 0 0 36,21 0 1 2,6 0 0 2,6 0 0 4294967295\"\n");
    let never_left =
        |round: &Round| round.pings().iter().all(|ping| *ping == Ping::Unknown(Fault::NeverLeft));
    watch.until("rounds of it", |watch| never_left(watch.last("fd77::2")));
    net.tc("qdisc del dev far0 clsact\n");
    watch.until("all answer", Watch::all_answer);
    watch.stop_after(1);
    assert_eq!(watch.news, [], "the gateway answers");
    for round in watch.rounds.values().flatten() {
        assert_eq!(round.lost(), 0, "{round:?}");
    }
    assert!(watch.rounds["fd77::4"].iter().all(|round| round.fault() != Some(Fault::NeverLeft)));
}

/// Where nobody is asked about the line, its targets' losses tell of a gateway that is dead, though no echo leaves any more.
#[test]
fn a_dead_gateway_that_is_no_anchor_takes_its_targets_down() {
    in_both(|sockets| {
        let net = net(sockets);
        let cable = Cable::lay(&net);
        let hosts: Vec<String> = (1..=3).map(|n| format!("198.19.128.{n}")).collect();
        let mut watch = Watch::start(&hosts, &Anchors::These(Vec::new()));
        watch.until("all answer", Watch::all_answer);
        cable.at_the_other_end("link set up1 arp off");
        net.ip("neigh flush dev up0");
        watch.until("all are lost", |watch| watch.all(|round| round.lost() == round.pings().len()));
        cable.at_the_other_end("link set up1 arp on");
        watch.until("all answer", Watch::all_answer);
        watch.stop_after(1);
        assert_eq!(watch.news, [], "{sockets:?}");
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
        // The first pings may find the cable not quite plugged in.
        watch.rounds.clear();
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
        assert!(matches!(watch.news[1], Uplink::Online { since: Some(began), .. } if began == since));
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
    let began = UnixTime::from(SystemTime::now());
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
        let address = |it: &&str| SocketAddr::new(it.parse().expect("an address"), 0);
        let addresses: Vec<SocketAddr> = addresses.iter().map(address).collect();
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
