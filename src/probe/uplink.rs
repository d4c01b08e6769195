//! Whether it is us: the prober watches its own uplink, and what is lost while that is down says nothing about targets.
//!
//! ```text
//! line     who answered, and what follows from that (pure)
//! ways     which way each target is reached, and what follows from that (pure)
//! watch    the thread that asks the kernel, when something has changed
//! kernel   the sockets for its messages about routes and links; netlink: these messages (pure)
//!          elsewhere: what there is in their place where that is not Linux
//! ```
//!
//! The kernel is asked which way each target is reached. Those behind a gateway are *far*, those on our own networks
//! *near*, and what this machine itself answers for (loopback) takes no part in any of this. The gateways are *anchors*:
//! they are pinged about once a second, through the prober's own sockets, while a far target is reached through them. One
//! that never answered tells nothing, and is none.
//!
//! The uplink is down when the kernel says so: no far target has a route any more, or the interface that it leads to has no
//! carrier. It is also down when nobody beyond it answers: each anchor that ever answered has lost [`line::ENOUGH`] pings
//! in a row, all of them sent after the last reply of any anchor or far target, and a far target that answered before has
//! lost one too. A reply of any of them ends it. Which anchors have answered outlasts the prober, where it is told the next
//! time: after a power cut the monitor may be there before its router. Near targets have no say: a printer that answers does not prove that there
//! is a way out.
//!
//! Pings that were lost by it become [`crate::round::Fault::Offline`]: those of far targets, and those of near ones as
//! long as none of them answers. The verdict takes some seconds, so a round with losses is not handed over before something
//! that was sent after their time was answered, or the verdict is there; this has a bound. Rounds without losses never
//! wait.

#[cfg(not(target_os = "linux"))]
#[path = "uplink/elsewhere.rs"]
mod kernel;
#[cfg(target_os = "linux")]
mod kernel;
pub(super) mod line;
#[cfg(target_os = "linux")]
pub mod netlink;
pub(super) mod watch;
pub(super) mod ways;

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use self::kernel::{Asker, Links};
use self::ways::Way;
use crate::time::UnixTime;

/// How long a round with losses may wait until it is clear whether they are our own uplink's.
pub const VERDICT: Duration = Duration::from_secs(5);

/// By whose answers the uplink is judged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Anchors {
    /// The gateways that targets are reached through.
    #[default]
    Gateways,
    /// These, as long as there are targets beyond this machine; with none, only route and carrier tell.
    These(Vec<IpAddr>),
}

impl Anchors {
    /// More than these are not asked: several routes to everywhere are possible, and more than a few are no use.
    pub const MOST: usize = 8;
}

/// What was found out about our own uplink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Uplink {
    /// It is down.
    Offline {
        /// When somebody beyond it last answered; when the prober started, where nobody has.
        since: UnixTime,
        /// How that is known.
        why: Cut,
    },
    /// It is back; or, for the first time since the prober started, it is known to be well.
    Online {
        /// When it began to be down, if it was.
        since: Option<UnixTime>,
        /// When somebody answered again.
        at: UnixTime,
    },
    /// Other anchors than before have answered: these, which the next prober should know.
    Anchors(Vec<IpAddr>),
}

/// How it is known that the uplink is down; its `Display` is for people: `192.0.2.1 does not answer`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The interface that targets are reached through has no carrier, or is switched off.
    Carrier {
        /// Which.
        interface: String,
    },
    /// No target has a route.
    Route,
    /// Nobody answers.
    Silence {
        /// The anchors that used to.
        anchors: Vec<IpAddr>,
    },
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Carrier { interface } => write!(f, "{interface} has no carrier"),
            Self::Route => f.write_str("no target beyond this machine has a route"),
            Self::Silence { anchors } => match anchors.as_slice() {
                [anchor] => write!(f, "{anchor} does not answer"),
                anchors => {
                    let all: Vec<String> = anchors.iter().map(IpAddr::to_string).collect();
                    write!(f, "{} do not answer", all.join(" and "))
                }
            },
        }
    }
}

/// The first router on the way to some target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    /// Its address, with the interface where that belongs to it.
    pub address: SocketAddr,
    /// The interface that it is reached by.
    pub interface: String,
}

/// The ways to some addresses, in sum.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WaysOut {
    /// The gateways, each once, that of most addresses first.
    pub gateways: Vec<Gateway>,
    /// How many addresses are on our own networks.
    pub near: usize,
    /// How many have no route.
    pub unreachable: usize,
}

/// Whether this system tells which gateways targets are reached through. Where it does not, whoever has a route counts as
/// near, and anchors are those that the settings name.
pub const TELLS_GATEWAYS: bool = cfg!(target_os = "linux");

/// Asks the kernel which ways lead to these addresses; those of this machine itself are left out.
pub fn ways_out(addresses: &[SocketAddr]) -> io::Result<WaysOut> {
    let mut asker = Asker::new()?;
    let mut links = Links::default();
    asker.dump_links(&mut links)?;
    let mut out = WaysOut::default();
    let mut gateways: Vec<(usize, Gateway)> = Vec::new();
    for address in addresses {
        match asker.way(*address, &ways::From::default())? {
            Way::Own => {}
            Way::Link { .. } => out.near += 1,
            Way::Nowhere => out.unreachable += 1,
            Way::Gateway { gateway, interface } => {
                match gateways.iter_mut().find(|(_, known)| known.address == gateway) {
                    Some((count, _)) => *count += 1,
                    None => {
                        let interface = links.name(interface);
                        gateways.push((1, Gateway { address: gateway, interface }));
                    }
                }
            }
        }
    }
    gateways.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
    out.gateways = gateways.into_iter().map(|(_, gateway)| gateway).collect();
    Ok(out)
}
