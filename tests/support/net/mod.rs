//! A network for tests: a network namespace of its own, whose only way out is a TUN device, and behind that device a
//! thread of the test that plays every host, as well or as badly as the test wants, and logs what it did when.
//!
//! ```ignore
//! mod support { pub(crate) mod net; }
//! use support::net::{Every, Net, answer, ms, silence};
//!
//! let net = Net::new();
//! net.host("198.18.0.1", answer().delay(ms(10)).jitter(ms(2)).lose(Every(5)));
//! net.host("198.18.0.2", silence());
//! net.host("fd00::1", answer().delay(ms(20)).after(40, silence()));
//! let seen = net.command("fping").args(["-c", "5", "198.18.0.1"]).output();
//! let requests = net.requests("198.18.0.1");
//! ```
//!
//! A namespace belongs to a thread: `Net::new` moves the calling thread into a new one, and the threads and processes
//! that this thread starts from then on live there too. The other tests of the same file run in other threads and
//! notice nothing. Within the namespace `lo` is up, so servers on 127.0.0.1 and ::1 work as usual. Dropping the [`Net`]
//! stops the far end and moves the thread back; the kernel removes the namespace once nothing lives in it any more.
//!
//! The networks 198.18.0.0/15 and fd00::/8 lead to the far end; there is no route to anywhere else. An address that no
//! behaviour was given to is silent, as most of the world's are.

#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    reason = "each test file includes this network, and uses the part of it that it needs"
)]

mod behaviour;
mod far_end;
mod log;
pub mod namespace;
mod wire;

use std::marker::PhantomData;
use std::net::{IpAddr, Ipv6Addr};
use std::process::Command;
use std::time::Duration;

pub use behaviour::Which::{self, All, At, Every, Share};
pub use behaviour::{Behaviour, answer, refuse, silence};
pub use log::{Entry, Reply, What};
pub use wire::{Form, Refusal, checksum};

use far_end::FarEnd;
use namespace::Namespace;

/// Our own addresses, from which requests leave the namespace.
pub const OWN_IPV4: &str = "198.19.0.1";
pub const OWN_IPV6: &str = "fd00:ffff::1:1";

/// The routers that say so when a host is unreachable.
pub const ROUTER_IPV4: &str = "198.18.255.254";
pub const ROUTER_IPV6: &str = "fd00:ffff::1";

const DEVICE: &str = "far0";

/// The network of the test that made it, in the thread that made it.
pub struct Net {
    far_end: FarEnd,
    namespace: Namespace,
    /// The namespace is the making thread's, which alone can leave it.
    _not_send: PhantomData<*const ()>,
}

impl Net {
    /// Moves the calling thread into a new network. Panics where that is not possible: it needs root (CAP_SYS_ADMIN and
    /// CAP_NET_ADMIN), `/dev/net/tun` and `ip` (Debian: iproute2).
    pub fn new() -> Self {
        let namespace = Namespace::enter();
        // A new namespace has the settings of the machine here, and a reply may come while there is no route back.
        for scope in ["all", "default"] {
            namespace::write_sysctl(&format!("net/ipv4/conf/{scope}/rp_filter"), "0");
        }
        let tun = namespace::open_tun(DEVICE);
        namespace::ip_batch(&format!(
            "link set lo up\n\
             link set {DEVICE} addrgenmode none\n\
             link set {DEVICE} up txqueuelen 10000\n\
             addr add {OWN_IPV4}/15 dev {DEVICE}\n\
             addr add {OWN_IPV6}/8 dev {DEVICE} nodad\n"
        ));
        let own = OWN_IPV6.parse().expect("an address");
        namespace::wait_for_ipv6(&[Ipv6Addr::LOCALHOST, own]);
        Self { far_end: FarEnd::start(tun), namespace, _not_send: PhantomData }
    }

    /// From now on the host at `address` behaves so; what it was asked before does not count.
    pub fn host(&self, address: &str, behaviour: Behaviour) {
        self.far_end.set_host(parse(address), behaviour);
    }

    /// Whether the far end waits for the last part of each delay in a busy loop: replies then leave within some ten
    /// microseconds of their time, at the price of a processor.
    pub fn spin(&self, spin: bool) {
        self.far_end.set_spin(spin);
    }

    /// Every echo request the far end has read so far, in the order they came.
    pub fn log(&self) -> Vec<Entry> {
        self.far_end.shared().read().log.clone()
    }

    /// The echo requests to `address` so far, in the order they came.
    pub fn requests(&self, address: &str) -> Vec<Entry> {
        let address = parse(address);
        let mut log = self.log();
        log.retain(|entry| entry.destination == address);
        log
    }

    /// Waits until `count` requests to `address` have come and every reply to them that is planned has left; panics after
    /// `limit`.
    pub fn wait_for(&self, address: &str, count: usize, limit: Duration) -> Vec<Entry> {
        let wanted = parse(address);
        let settled = |log: &[Entry]| {
            let mut asked = log.iter().filter(|entry| entry.destination == wanted).take(count);
            let settled = asked.by_ref().filter(|entry| entry.is_settled()).count();
            settled == count
        };
        if !self.far_end.shared().wait_until(limit, settled) {
            let found = self.requests(address).len();
            panic!("{address} was to be asked {count} times within {limit:?}, it was {found} times");
        }
        self.requests(address)
    }

    /// Gives us one more address, which is the source of those packets only that ask for it.
    pub fn add_address(&self, address: &str) {
        match parse(address) {
            IpAddr::V4(v4) => self.ip(&format!("addr add {v4}/32 dev {DEVICE}")),
            IpAddr::V6(v6) => {
                // A route to itself as to a neighbour would pass for the one that is waited for.
                self.ip(&format!("addr add {v6}/128 dev {DEVICE} nodad noprefixroute preferred_lft 0"));
                namespace::wait_for_ipv6(&[v6]);
            }
        }
    }

    /// Takes the routes to the far end away: sending to it then fails with ENETUNREACH.
    pub fn cut(&self) {
        namespace::ip_batch(&format!(
            "route del 198.18.0.0/15 dev {DEVICE}\nroute del fd00::/8 dev {DEVICE}\n"
        ));
    }

    /// Puts the routes back that [`Net::cut`] took away.
    pub fn mend(&self) {
        namespace::ip_batch(&format!(
            "route add 198.18.0.0/15 dev {DEVICE} src {OWN_IPV4}\nroute add fd00::/8 dev {DEVICE}\n"
        ));
    }

    /// Runs `ip` in the namespace with these words; panics when it fails.
    pub fn ip(&self, words: &str) {
        namespace::ip_batch(words);
    }

    /// Runs `tc` in the namespace with one command in each line; panics when it fails.
    pub fn tc(&self, commands: &str) {
        namespace::batch("tc", commands);
    }

    /// Writes a setting of the namespace, such as `net/ipv4/icmp_echo_ignore_all`.
    pub fn sysctl(&self, name: &str, value: &str) {
        namespace::write_sysctl(name, value);
    }

    /// Lets every group open datagram ICMP sockets ("ping sockets"), of both families.
    pub fn allow_ping_sockets(&self) {
        self.sysctl("net/ipv4/ping_group_range", "0 2147483647");
    }

    /// Lets nobody open datagram ICMP sockets, not even root, as a new namespace does.
    pub fn forbid_ping_sockets(&self) {
        self.sysctl("net/ipv4/ping_group_range", "1 0");
    }

    /// Takes CAP_NET_RAW from this thread, and every capability from the programs that are started from it (a file's own
    /// capabilities, such as fping's, excepted): what is left to them are datagram sockets. Dropping the [`Net`] gives
    /// all back.
    pub fn forbid_raw_sockets(&mut self) {
        self.namespace.drop_net_raw();
    }

    /// A program to run in this network. It is [`Command::new`], called in the right thread: children inherit the
    /// namespace of the thread that starts them.
    pub fn command(&self, program: &str) -> Command {
        Command::new(program)
    }
}

/// So many milliseconds.
pub const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn parse(address: &str) -> IpAddr {
    address.parse().unwrap_or_else(|error| panic!("{address}: {error}"))
}
