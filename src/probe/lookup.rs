//! Names for somebody who waits: those of one look's targets, all at once, and those of the routers of a trace. None
//! is waited for longer than the caller says. The monitor's names, which nobody waits for, are in [`super::resolve`].

use std::fmt;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::LookupIpStrategy;
use hickory_resolver::net::NetError;
use hickory_resolver::proto::rr::RData;
use tokio::runtime;
use tokio::task::JoinSet;

use super::icmp::Family;

/// Why a host has no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotFound {
    /// A literal of the other family than the one that was asked for.
    #[error("is no {0} address")]
    OtherFamily(Family),
    /// There is no such interface: `fe80::1%eth7`.
    #[error("there is no interface {0}")]
    NoInterface(String),
    /// The name servers know no such name.
    #[error("no such name")]
    NoName,
    /// The name has no address, or none of the family that was asked for.
    #[error("has no {}", family_address(*.0))]
    NoAddress(Option<Family>),
    /// No name server answered in time.
    #[error("does not resolve: no name server answered within {0:?}")]
    TimedOut(Duration),
    /// The name servers cannot be asked, or could not say.
    #[error("does not resolve: {0}")]
    Failed(String),
}

fn family_address(family: Option<Family>) -> String {
    family.map_or_else(|| "address".to_owned(), |family| format!("{family} address"))
}

/// The address of each host, asked for all together and for no longer than `patience`. A name with addresses of both
/// families gets one that there is a route to, IPv6 first; `family` asks for one family only.
pub fn addresses(
    hosts: &[String],
    family: Option<Family>,
    patience: Duration,
) -> Vec<Result<SocketAddr, NotFound>> {
    let mut found: Vec<Option<Result<SocketAddr, NotFound>>> =
        hosts.iter().map(|host| literal(host, family)).collect();
    let names: Vec<(usize, String)> = hosts
        .iter()
        .enumerate()
        .filter(|(place, _)| found[*place].is_none())
        .map(|(place, host)| (place, host.clone()))
        .collect();
    let late = Err(NotFound::TimedOut(patience));
    match resolver(family) {
        _ if names.is_empty() => {}
        Err(error) => names.iter().for_each(|(place, _)| found[*place] = Some(Err(NotFound::failed(&error)))),
        Ok(resolver) => {
            let asked = names.into_iter().map(|(place, name)| {
                let resolver = resolver.clone();
                async move { (place, forward(&resolver, &name, family).await) }
            });
            for (place, address) in all_within(patience, asked) {
                found[place] = Some(address);
            }
        }
    }
    found.into_iter().map(|found| found.unwrap_or_else(|| late.clone())).collect()
}

/// The name of each address, where it has one and it was found within `patience`.
pub fn names(addresses: &[IpAddr], patience: Duration) -> Vec<Option<String>> {
    let mut names = vec![None; addresses.len()];
    // Without name servers there are no names, which are an ornament here.
    let Ok(resolver) = resolver(None) else { return names };
    let asked = addresses.iter().copied().enumerate().map(|(place, address)| {
        let resolver = resolver.clone();
        async move { (place, reverse(&resolver, address).await) }
    });
    for (place, name) in all_within(patience, asked) {
        names[place] = name;
    }
    names
}

/// What needs no name server: literals, link-local ones with their interface, and `localhost`.
fn literal(host: &str, family: Option<Family>) -> Option<Result<SocketAddr, NotFound>> {
    let (address, interface) = match host.split_once('%') {
        Some((address, interface)) => (address, Some(interface)),
        None => (host, None),
    };
    let address = match (address.parse::<IpAddr>(), family) {
        (Ok(address), _) => address.to_canonical(),
        (Err(_), Some(Family::V6)) if host == "localhost" => Ipv6Addr::LOCALHOST.into(),
        (Err(_), _) if host == "localhost" => Ipv4Addr::LOCALHOST.into(),
        (Err(_), _) => return None,
    };
    Some(match (address, interface, family) {
        (address, _, Some(family)) if family != Family::of(address) => Err(NotFound::OtherFamily(family)),
        (IpAddr::V6(v6), Some(interface), _) => {
            let scope = interface.parse().ok().or_else(|| nix::net::if_::if_nametoindex(interface).ok());
            scope
                .map(|scope| SocketAddrV6::new(v6, 0, 0, scope).into())
                .ok_or_else(|| NotFound::NoInterface(interface.to_owned()))
        }
        (address, ..) => Ok(SocketAddr::new(address, 0)),
    })
}

fn resolver(family: Option<Family>) -> Result<TokioResolver, NetError> {
    let mut builder = TokioResolver::builder_tokio()?;
    builder.options_mut().ip_strategy = match family {
        Some(Family::V4) => LookupIpStrategy::Ipv4Only,
        Some(Family::V6) => LookupIpStrategy::Ipv6Only,
        None => LookupIpStrategy::Ipv6AndIpv4,
    };
    builder.build()
}

async fn forward(
    resolver: &TokioResolver,
    name: &str,
    family: Option<Family>,
) -> Result<SocketAddr, NotFound> {
    let found = resolver.lookup_ip(name).await.map_err(|error| match error {
        error if error.is_nx_domain() => NotFound::NoName,
        error if error.is_no_records_found() => NotFound::NoAddress(family),
        error => NotFound::failed(&error),
    })?;
    let mut addresses = found.iter().map(|address| SocketAddr::new(address.to_canonical(), 0));
    let first = addresses.next().ok_or(NotFound::NoAddress(family))?;
    Ok(std::iter::once(first).chain(addresses).find(has_route).unwrap_or(first))
}

async fn reverse(resolver: &TokioResolver, address: IpAddr) -> Option<String> {
    let found = resolver.reverse_lookup(address).await.ok()?;
    found.answers().iter().find_map(|record| match &record.data {
        RData::PTR(name) => Some(printable(&name.to_utf8())),
        _ => None,
    })
}

/// A name as a stranger's server told it: no control characters for our terminal, and of bounded length.
fn printable(name: &str) -> String {
    let fit = |c: char| if c.is_control() { '?' } else { c };
    name.trim_end_matches('.').chars().map(fit).take(LONGEST_NAME).collect()
}

/// Whether the routing table knows a way there. A datagram socket sends nothing when it is connected.
fn has_route(address: &SocketAddr) -> bool {
    let any: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let discard = SocketAddr::new(address.ip(), 9);
    UdpSocket::bind((any, 0)).and_then(|socket| socket.connect(discard)).is_ok()
}

/// Runs them all together, and returns what those returned that ended within `patience`.
fn all_within<T: Send + 'static>(
    patience: Duration,
    futures: impl Iterator<Item = impl Future<Output = T> + Send + 'static>,
) -> Vec<T> {
    let mut done = Vec::new();
    // Fails where there are no more file descriptors; then none has ended in time.
    let Ok(runtime) = runtime::Builder::new_current_thread().enable_all().build() else { return done };
    runtime.block_on(async {
        let mut running = JoinSet::new();
        for future in futures {
            running.spawn(future);
        }
        let all = async {
            while let Some(ended) = running.join_next().await {
                done.extend(ended.ok());
            }
        };
        // Those that have not ended are dropped with the set.
        let _ = tokio::time::timeout(patience, all).await;
    });
    done
}

impl NotFound {
    fn failed(error: &impl fmt::Display) -> Self {
        Self::Failed(error.to_string())
    }
}

/// What the DNS allows.
const LONGEST_NAME: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    fn found(host: &str, family: Option<Family>) -> Result<String, NotFound> {
        let found = addresses(&[host.to_owned()], family, Duration::from_secs(5));
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
        assert_eq!(found("fe80::1%nowhere", None), Err(NotFound::NoInterface("nowhere".to_owned())));
        let scoped = addresses(&["fe80::1%7".to_owned()], None, Duration::ZERO);
        assert_eq!(scoped, [Ok("[fe80::1%7]:0".parse().unwrap())]);
    }

    #[test]
    fn errors_are_sentences_behind_the_host() {
        let shown = |error: NotFound| error.to_string();
        assert_eq!(shown(NotFound::NoAddress(Some(Family::V6))), "has no IPv6 address");
        assert_eq!(shown(NotFound::NoAddress(None)), "has no address");
        assert_eq!(shown(NotFound::OtherFamily(Family::V4)), "is no IPv4 address");
    }

    #[test]
    fn names_from_strangers_are_harmless() {
        assert_eq!(printable("core1.example.org."), "core1.example.org");
        assert_eq!(printable("a\u{1b}[2Jb"), "a?[2Jb");
        assert_eq!(printable(&"x".repeat(10_000)).len(), LONGEST_NAME);
    }
}
