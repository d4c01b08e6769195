//! Which sockets latmon can have, in networks of a test's own.

#![allow(dead_code, unreachable_pub, reason = "each test file uses the part of it that it needs")]

use super::net::Net;

/// Which sockets the kernel lets latmon have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sockets {
    Raw,
    Datagram,
}

const BOTH: [Sockets; 2] = [Sockets::Raw, Sockets::Datagram];

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

/// Runs a test with each kind of socket, each in a thread and a network of its own.
pub fn in_both(test: impl Fn(Sockets) + Copy + Send + 'static) {
    let running = BOTH.map(|sockets| std::thread::spawn(move || test(sockets)));
    for (sockets, thread) in BOTH.iter().zip(running) {
        assert!(thread.join().is_ok(), "failed with {sockets:?} sockets, see above");
    }
}
