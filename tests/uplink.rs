//! Whether it is us, by who answers: what is lost while nobody beyond our own uplink does is no loss of the targets, and is
//! told once; what targets lose while somebody answers counts in full. In networks of the tests' own, behind gateways that
//! answer or do not.

mod support {
    pub(crate) mod net;
    pub(crate) mod sockets;
    pub(crate) mod uplink;
}

use std::time::Instant;

use latmon::probe::{Anchors, Cut, Uplink};
use latmon::round::Round;
use support::net::ms;
use support::sockets::{Sockets, in_both};
use support::uplink::{GATEWAYS, LONG, OFFLINE, Watch, all_offline, behave, routed, targets};

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
        assert!(Some(*since) == *began && since < at, "{:?}", watch.news);
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

/// The run before knew the gateway. This one begins in the middle of an outage, and hears nobody.
#[test]
fn who_starts_in_the_middle_of_it_blames_no_target() {
    let net = routed(Sockets::Raw);
    let targets = targets(4);
    behave(&net, &targets, true);
    behave(&net, &GATEWAYS.map(str::to_owned), true);
    let mut before = Watch::start(&targets, &Anchors::Gateways);
    before.until("both answer", |watch| watch.anchors.len() == 2);
    before.stop_after(0);
    for hosts in [&targets, &GATEWAYS.map(str::to_owned).to_vec()] {
        behave(&net, hosts, false);
    }
    let mut watch = Watch::start_knowing(&targets, &Anchors::Gateways, &before.anchors);
    watch.until("an outage", |watch| watch.news.len() == 1);
    watch.until("rounds of it", |watch| watch.all(all_offline));
    watch.stop_after(1);
    assert_eq!(watch.news.len(), 1, "{:?}", watch.news);
    assert!(watch.rounds.values().flatten().all(|round| round.lost() == 0), "{:?}", watch.rounds);
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
        watch.stop_after(3);
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
        watch.stop_after(3);
        assert_eq!(watch.news, [], "{sockets:?}");
        assert!(
            watch.rounds.values().flatten().all(|round| !round.pings().contains(&OFFLINE)),
            "{sockets:?}"
        );
    });
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

fn wait(done: impl Fn() -> bool, what: &str) {
    let deadline = Instant::now() + LONG;
    while !done() {
        assert!(Instant::now() < deadline, "{what}: not within {LONG:?}");
        std::thread::sleep(ms(5));
    }
}
