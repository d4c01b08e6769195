//! A chain of network namespaces, joined by veth pairs, that forward like routers: the kernel's own hops, for tests of
//! what a path looks like. The calling thread is the first host; the last one is the target.
//!
//! Link `n`, from 1, joins node `n - 1` and node `n`: 198.18.n.1 and fd00:n::1 on the near side, .2 and ::2 on the far.

#![allow(dead_code, unreachable_pub, reason = "each test file uses the part of it that it needs")]

use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use super::net::namespace::{Namespace, ip_batch, wait_for_ipv6, write_sysctl};

/// The chain; dropping it ends the routers and moves the thread back.
pub struct Chain {
    nodes: Vec<Node>,
    _home: Namespace,
}

/// A host of the chain but the first: a thread in a namespace of its own, which does what it is told there.
struct Node {
    orders: Option<Sender<Box<dyn FnOnce() + Send>>>,
    thread: Option<JoinHandle<()>>,
    path: String,
}

impl Chain {
    /// Moves the calling thread into a namespace from which so many links lead to the target, through one router less.
    pub fn new(links: usize) -> Self {
        let home = Namespace::enter();
        let own = format!("/proc/{}/task/{}/ns/net", std::process::id(), nix::unistd::gettid());
        let chain = Self { nodes: (0..links).map(|_| Node::start()).collect(), _home: home };
        let mut far_namespace_of_link = vec![own];
        far_namespace_of_link.extend(chain.nodes.iter().map(|node| node.path.clone()));
        for link in 1..=links {
            let [near, far] = [&far_namespace_of_link[link - 1], &far_namespace_of_link[link]];
            ip_batch(&format!(
                "link add near{link} netns {near} type veth peer name far{link} netns {far}\n"
            ));
        }
        for place in 0..=links {
            chain.at(place, move || set_up(place, links));
        }
        for place in 0..=links {
            chain.at(place, move || wait_for_ipv6(&own_addresses(place, links)));
        }
        chain
    }

    /// Does something in the namespace of a node; 0 is the calling thread's. Panics when it does.
    pub fn at(&self, place: usize, order: impl FnOnce() + Send + 'static) {
        let Some(node) = place.checked_sub(1).map(|node| &self.nodes[node]) else { return order() };
        let (done, ended) = channel();
        let order = Box::new(move || {
            order();
            done.send(()).expect("the test waits");
        });
        node.orders.as_ref().expect("it runs").send(order).expect("it runs");
        ended.recv().expect("the order was carried out");
    }

    /// Runs `ip` at a node.
    pub fn ip(&self, place: usize, words: &str) {
        let words = words.to_owned();
        self.at(place, move || ip_batch(&words));
    }

    /// The address of a node on its nearer side.
    pub fn ipv4(place: usize) -> String {
        format!("198.18.{place}.2")
    }

    /// The same of IPv6.
    pub fn ipv6(place: usize) -> String {
        format!("fd00:{place}::2")
    }
}

impl Node {
    fn start() -> Self {
        let (orders, to_do) = channel::<Box<dyn FnOnce() + Send>>();
        let (told, path) = channel();
        let thread = std::thread::spawn(move || {
            let _namespace = Namespace::enter();
            let (process, thread) = (std::process::id(), nix::unistd::gettid());
            told.send(format!("/proc/{process}/task/{thread}/ns/net")).expect("the chain waits");
            while let Ok(order) = to_do.recv() {
                order();
            }
        });
        let path = path.recv().expect("a namespace can be made");
        Self { orders: Some(orders), thread: Some(thread), path }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.orders.take());
        // Its panic has been shown, and failed the order.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Addresses and routes of one node. A router looks for its IPv6 neighbours from its link-local address.
fn set_up(place: usize, links: usize) {
    let mut words = "link set lo up\n".to_owned();
    for (device, side) in sides(place, links) {
        let (link, end) = side;
        words.push_str(&format!(
            "link set {device} addrgenmode none\n\
             link set {device} up\n\
             addr add 198.18.{link}.{end}/24 dev {device}\n\
             addr add fd00:{link}::{end}/64 dev {device} nodad\n\
             addr add fe80::{link}:{end}/64 dev {device} nodad\n"
        ));
    }
    for link in (1..=links).filter(|link| *link != place && *link != place + 1) {
        let (by, end) = if link < place { (place, 1) } else { (place + 1, 2) };
        words.push_str(&format!(
            "route add 198.18.{link}.0/24 via 198.18.{by}.{end}\n\
             route add fd00:{link}::/64 via fd00:{by}::{end}\n"
        ));
    }
    ip_batch(&words);
    write_sysctl("net/ipv4/ip_forward", "1");
    write_sysctl("net/ipv6/conf/all/forwarding", "1");
}

/// The devices of a node, each with its link and its end of it.
fn sides(place: usize, links: usize) -> Vec<(String, (usize, usize))> {
    let far = (place > 0).then(|| (format!("far{place}"), (place, 2)));
    let near = (place < links).then(|| (format!("near{}", place + 1), (place + 1, 1)));
    far.into_iter().chain(near).collect()
}

fn own_addresses(place: usize, links: usize) -> Vec<std::net::Ipv6Addr> {
    let address = |(_, (link, end)): (String, (usize, usize))| format!("fd00:{link}::{end}");
    sides(place, links).into_iter().map(|side| address(side).parse().expect("an address")).collect()
}
