//! Which sockets latmon can have, in networks of a test's own.

#![allow(dead_code, unreachable_pub, reason = "each test file uses the part of it that it needs")]

use super::net::Net;

/// Which sockets the kernel lets latmon have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sockets {
    Raw,
    Datagram,
}

pub const BOTH: [Sockets; 2] = [Sockets::Raw, Sockets::Datagram];

/// A network in which there are only these.
pub fn net(sockets: Sockets) -> Net {
    let mut net = Net::new();
    match sockets {
        Sockets::Raw => net.forbid_ping_sockets(),
        Sockets::Datagram => {
            net.allow_ping_sockets();
            net.forbid_raw_sockets();
        }
    }
    net
}

/// Runs a test in two threads, once with each kind of sockets, each in a network of its own.
pub fn in_both(test: impl Fn(Sockets) + Sync) {
    let test = &test;
    std::thread::scope(|scope| {
        for sockets in BOTH {
            let thread = std::thread::Builder::new().name(format!("{sockets:?}"));
            thread.spawn_scoped(scope, move || test(sockets)).expect("a thread");
        }
    });
}
