//! Which way each target is reached, and what follows from that: who is far, who is an anchor, and whether there is a way
//! out at all. Pure: it is told what the kernel says.

use std::net::{IpAddr, SocketAddr};

use super::kernel::Links;
use super::line::Reach;
use super::{Anchors, Cut};

/// Which way an address is reached.
#[cfg_attr(
    not(target_os = "linux"),
    allow(
        dead_code,
        unreachable_pub,
        reason = "only Linux is asked for routers, by messages that the fuzzer reads too"
    )
)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// This machine itself answers for it.
    Own,
    /// It is on a network of ours.
    Link {
        /// The number of the interface.
        interface: u32,
    },
    /// It is behind a router.
    Gateway {
        /// Which, with its scope where the address has one.
        gateway: SocketAddr,
        /// The number of the interface.
        interface: u32,
    },
    /// It has no route.
    Nowhere,
}

/// What the settings of a target say about how it is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::probe) struct From {
    /// The source address, where that is chosen.
    pub(in crate::probe) source: Option<IpAddr>,
    /// The name of the interface, where that is chosen.
    pub(in crate::probe) interface: Option<String>,
}

/// What follows from all ways.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::probe) struct Lay {
    /// How far each target is.
    pub(in crate::probe) reaches: Vec<Reach>,
    /// The number of the interface by which each target's echoes leave for a gateway, where they do.
    pub(in crate::probe) gateways: Vec<Option<u32>>,
    /// Whom to ping.
    pub(in crate::probe) anchors: Vec<SocketAddr>,
    /// Why there is no way out, where there is none.
    pub(in crate::probe) cut: Option<Cut>,
}

/// The ways of all targets.
pub(super) struct Ways {
    /// `None` where a target has no address yet.
    pub(super) ways: Vec<Option<Way>>,
    anchors: Anchors,
    /// Whether any target was ever reached through a gateway: an address family that never had a route out is no loss.
    was_far: bool,
}

impl Ways {
    /// Of so many targets, none of which has an address yet.
    pub(super) fn new(targets: usize, anchors: Anchors) -> Self {
        Self { ways: vec![None; targets], anchors, was_far: false }
    }

    /// What follows while the links are like that.
    pub(super) fn lay(&mut self, links: &Links) -> Lay {
        let mut reaches: Vec<Reach> = self.ways.iter().copied().map(reach).collect();
        if !reaches.contains(&Reach::Far) {
            // With nobody beyond our own networks, these are what the uplink is for.
            reaches.iter_mut().filter(|reach| **reach == Reach::Near).for_each(|reach| *reach = Reach::Far);
        }
        let gateways = self.ways.iter().copied().map(gateway).collect();
        Lay { reaches, gateways, anchors: self.anchors(), cut: self.cut(links) }
    }

    fn anchors(&self) -> Vec<SocketAddr> {
        let parties = || self.ways.iter().flatten().filter(|way| **way != Way::Own);
        match &self.anchors {
            Anchors::These(_) if parties().next().is_none() => Vec::new(),
            Anchors::These(these) => {
                these.iter().map(|it| SocketAddr::new(*it, 0)).take(Anchors::MOST).collect()
            }
            Anchors::Gateways => {
                let mut anchors = Vec::new();
                for way in parties() {
                    if let Way::Gateway { gateway, .. } = way
                        && anchors.len() < Anchors::MOST
                        && !anchors.contains(gateway)
                    {
                        anchors.push(*gateway);
                    }
                }
                anchors
            }
        }
    }

    /// Whether no target can be reached, or none any more of those behind gateways, and why.
    fn cut(&mut self, links: &Links) -> Option<Cut> {
        let (mut any_works, mut far_works, mut far_is_cut) = (false, false, false);
        let (mut any_way, mut without_carrier) = (false, None);
        for way in self.ways.iter().flatten() {
            let (interface, is_far) = match way {
                Way::Own => continue,
                Way::Nowhere => (None, true),
                Way::Link { interface } => (Some(*interface), false),
                Way::Gateway { interface, .. } => (Some(*interface), true),
            };
            any_way = true;
            let works = interface.is_some_and(|interface| links.works(interface));
            any_works |= works;
            far_works |= works && is_far;
            far_is_cut |= !works && is_far;
            if !works && let Some(interface) = interface {
                without_carrier.get_or_insert(interface);
            }
        }
        self.was_far |= far_works;
        let is_cut = any_way && (!any_works || (self.was_far && far_is_cut && !far_works));
        is_cut.then(|| match without_carrier {
            Some(interface) => Cut::Carrier { interface: links.name(interface) },
            None => Cut::Route,
        })
    }
}

fn reach(way: Option<Way>) -> Reach {
    match way {
        None | Some(Way::Own) => Reach::Own,
        Some(Way::Link { .. }) => Reach::Near,
        Some(Way::Gateway { .. } | Way::Nowhere) => Reach::Far,
    }
}

/// The interface by which a gateway is reached.
fn gateway(way: Option<Way>) -> Option<u32> {
    match way {
        Some(Way::Gateway { interface, .. }) => Some(interface),
        None | Some(Way::Own | Way::Link { .. } | Way::Nowhere) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GATEWAY: &str = "192.0.2.1:0";

    fn links(with_carrier: &[u32], without: &[u32]) -> Links {
        let mut links = Links::default();
        for (numbers, works) in [(with_carrier, true), (without, false)] {
            numbers.iter().for_each(|number| links.set(*number, format!("eth{number}"), works));
        }
        links
    }

    fn far(gateway: &str, interface: u32) -> Way {
        Way::Gateway { gateway: gateway.parse().unwrap(), interface }
    }

    fn ways(ways: &[Way]) -> Ways {
        Ways { ways: ways.iter().copied().map(Some).collect(), ..Ways::new(0, Anchors::Gateways) }
    }

    #[test]
    fn who_is_behind_a_gateway_is_far_and_the_gateway_an_anchor() {
        let mut all = ways(&[Way::Own, Way::Link { interface: 1 }, far(GATEWAY, 1), far(GATEWAY, 1)]);
        all.ways.push(None);
        let lay = all.lay(&links(&[1], &[]));
        assert_eq!(lay.reaches, [Reach::Own, Reach::Near, Reach::Far, Reach::Far, Reach::Own]);
        assert_eq!(lay.gateways, [None, None, Some(1), Some(1), None]);
        assert_eq!((lay.anchors, lay.cut), (vec![GATEWAY.parse().unwrap()], None));
    }

    #[test]
    fn loopback_alone_has_no_anchor_and_no_uplink() {
        let these = Anchors::These(vec!["192.0.2.1".parse().unwrap()]);
        for anchors in [Anchors::Gateways, these.clone()] {
            let mut own = Ways { anchors, ..ways(&[Way::Own, Way::Own]) };
            let lay = own.lay(&links(&[], &[1]));
            let (reaches, gateways) = (vec![Reach::Own; 2], vec![None; 2]);
            assert_eq!(lay, Lay { reaches, gateways, anchors: Vec::new(), cut: None });
        }
        let mut near = Ways { anchors: these, ..ways(&[Way::Own, Way::Link { interface: 1 }]) };
        let lay = near.lay(&links(&[1], &[]));
        assert_eq!(lay.anchors, [GATEWAY.parse().unwrap()]);
        assert_eq!(lay.reaches, [Reach::Own, Reach::Far], "nobody is farther");
        assert_eq!(lay.gateways, [None, None], "and it is no gateway's doing whether an echo leaves for it");
    }

    #[test]
    fn a_lost_route_and_a_lost_carrier_cut_us_off() {
        let mut all = ways(&[far(GATEWAY, 1), Way::Link { interface: 2 }]);
        assert_eq!(all.lay(&links(&[1, 2], &[])).cut, None);
        let carrier = Cut::Carrier { interface: "eth1".into() };
        assert_eq!(all.lay(&links(&[2], &[1])).cut, Some(carrier), "whoever is near");
        all.ways[0] = Some(Way::Nowhere);
        let lay = all.lay(&links(&[1, 2], &[]));
        assert_eq!((lay.cut, &lay.reaches[..]), (Some(Cut::Route), &[Reach::Far, Reach::Near][..]));
        assert_eq!(lay.anchors, []);
    }

    /// IPv6 targets on a machine without IPv6 are a mistake, and no outage.
    #[test]
    fn what_never_had_a_route_cuts_nobody_off() {
        let mut all = ways(&[Way::Nowhere, Way::Link { interface: 1 }]);
        assert_eq!(all.lay(&links(&[1], &[])).cut, None);
        let mut all = ways(&[Way::Nowhere, far(GATEWAY, 1)]);
        assert_eq!(all.lay(&links(&[1], &[])).cut, None);
        let mut none = ways(&[Way::Nowhere, Way::Own]);
        assert_eq!(none.lay(&links(&[1], &[])).cut, Some(Cut::Route), "there is no other way at all");
    }
}
