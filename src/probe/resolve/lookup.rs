//! Names for somebody who waits: those of one look's targets, all at once, and those of the routers of a trace. They are
//! looked up where the monitor's are, so many at once and no more, and none is waited for longer than the caller says. As
//! there, each has a quick try first, and what that leaves open a patient one behind all the others.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::dns::{self, Sources, Turns};
use super::{Question, choose, literal};
use crate::probe::Stop;
use crate::probe::icmp::Family;
use crate::probe::socket::{SocketKind, SocketKinds};

/// Why a host has no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotFound {
    /// A literal of the other family than the one that was asked for.
    #[error("is no {0} address")]
    OtherFamily(Family),
    /// What the resolver says.
    #[error("does not resolve: {0}")]
    Failed(String),
    /// No name server answered in time.
    #[error("does not resolve: no name server answers")]
    TimedOut,
    /// The caller had it stopped before.
    #[error("was not looked up to the end: stopped")]
    Stopped,
}

/// The address of each host, asked for all together and for no longer than `patience`, or until `stop`; `family` asks for
/// one family only.
pub fn addresses(
    hosts: &[String],
    family: Option<Family>,
    patience: Duration,
    stop: Option<&Stop>,
) -> Vec<Result<SocketAddr, NotFound>> {
    let mut found: Vec<Option<Result<SocketAddr, NotFound>>> =
        hosts.iter().map(|host| known(host, family)).collect();
    let names: Vec<usize> = (0..hosts.len()).filter(|place| found[*place].is_none()).collect();
    if !names.is_empty() {
        let (sources, turns) = (Sources::read(), Turns::new());
        // What was answered by half counts too, and is to be told before the rest is given up.
        let patience_of_each = patience - patience / 8;
        let [v4, v6] = [Family::V4, Family::V6].map(|it| family.is_none_or(|family| family == it));
        let asked = names.iter().map(|place| {
            let host = hosts[*place].as_str().into();
            let is_either_enough = family.is_none();
            let question =
                Question { place: *place, host, v4, v6, is_either_enough, patience: patience_of_each };
            dns::answer_in_turn(sources.clone(), question, turns.clone())
        });
        for answer in dns::all_within(patience, stop, asked) {
            let address = choose(&answer, family, None, ANY_SOCKET).map_err(NotFound::Failed);
            found[answer.place] = Some(address);
        }
    }
    let missing =
        if stop.is_some_and(|stop| stop.0.is_stopped()) { NotFound::Stopped } else { NotFound::TimedOut };
    found.into_iter().map(|found| found.unwrap_or_else(|| Err(missing.clone()))).collect()
}

/// The name of each address, where it has one and that was found within `patience`.
pub fn names(addresses: &[IpAddr], patience: Duration) -> Vec<Option<String>> {
    let mut names = vec![None; addresses.len()];
    let (sources, turns) = (Sources::read(), Turns::new());
    let asked = addresses.iter().copied().enumerate().map(|(place, address)| {
        let (sources, turns) = (sources.clone(), turns.clone());
        async move {
            let _turn = turns.next().await;
            (place, sources.name_of(address).await)
        }
    });
    for (place, name) in dns::all_within(patience, None, asked) {
        names[place] = name.map(|name| printable(&name));
    }
    names
}

/// What needs no name server.
fn known(host: &str, family: Option<Family>) -> Option<Result<SocketAddr, NotFound>> {
    let address = literal(host, family, ANY_SOCKET)?;
    Some(match family {
        Some(family) if family != Family::of(address.ip()) => Err(NotFound::OtherFamily(family)),
        _ => Ok(address),
    })
}

/// A name as a stranger's server told it: no control characters for our terminal, and of bounded length.
fn printable(name: &str) -> String {
    let fit = |c: char| if c.is_control() { '?' } else { c };
    name.trim_end_matches('.').chars().map(fit).take(LONGEST_NAME).collect()
}

/// Whether there is a socket for an address is found out when it is asked.
const ANY_SOCKET: SocketKinds = SocketKinds { v4: Some(SocketKind::Raw), v6: Some(SocketKind::Raw) };

/// What the DNS allows.
const LONGEST_NAME: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    fn found(host: &str, family: Option<Family>) -> Result<String, NotFound> {
        let found = addresses(&[host.to_owned()], family, Duration::from_secs(5), None);
        found[0].clone().map(|address| address.ip().to_string())
    }

    #[test]
    fn literals_need_no_name_server() {
        assert_eq!(found("192.0.2.1", None), Ok("192.0.2.1".to_owned()));
        assert_eq!(found("2001:db8::1", Some(Family::V6)), Ok("2001:db8::1".to_owned()));
        assert_eq!(found("::ffff:192.0.2.1", Some(Family::V4)), Ok("192.0.2.1".to_owned()));
        assert_eq!(found("localhost", None), Ok("127.0.0.1".to_owned()));
        assert_eq!(found("localhost", Some(Family::V6)), Ok("::1".to_owned()));
        assert_eq!(found("192.0.2.1", Some(Family::V6)), Err(NotFound::OtherFamily(Family::V6)));
        let unzoned = found("fe80::1%nowhere", None).unwrap_err().to_string();
        assert_eq!(unzoned, "does not resolve: there is no such interface");
        let scoped = addresses(&["fe80::1%7".to_owned()], None, Duration::ZERO, None);
        assert_eq!(scoped, [Ok("[fe80::1%7]:0".parse().unwrap())]);
    }

    #[test]
    fn names_from_strangers_are_harmless() {
        assert_eq!(printable("core1.example.org."), "core1.example.org");
        assert_eq!(printable("a\u{1b}[2Jb"), "a?[2Jb");
        assert_eq!(printable(&"x".repeat(10_000)).len(), LONGEST_NAME);
    }
}
