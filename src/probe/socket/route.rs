//! How the echoes of one target are to leave, worked out once.

use std::net::IpAddr;

use nix::errno::Errno;
use nix::net::if_::if_nametoindex;

use super::control::{Messages, space};
use super::{Origin, SocketKind};
use crate::probe::EchoSettings;
use crate::probe::icmp::{Family, Padding};

/// [`EchoSettings`] for one socket, as the kernel wants to hear it with each echo.
#[derive(Clone, Debug)]
pub(in crate::probe) struct Route {
    pub(super) payload: u16,
    pub(super) padding: Padding,
    pub(super) control: Messages<ROUTE_LEN>,
    dont_fragment: bool,
    source: Option<IpAddr>,
}

/// Why echoes cannot leave as the settings want it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::probe) enum NoRoute {
    /// There is no such interface, at least not now.
    #[error("no interface {interface}: {errno}")]
    Interface {
        /// Its name.
        interface: String,
        /// What the kernel said.
        errno: Errno,
    },
    /// The addresses are of different families.
    #[error("{source_address} cannot be the source of {family} packets")]
    Source {
        /// The source that is wanted.
        source_address: IpAddr,
        /// The target's family.
        family: Family,
    },
    /// The kernel would choose another source, and not say so: that of the address which the socket is bound to, if any.
    #[error("no datagram socket of IPv6 is bound to the source {source_address}: that needs cap_net_raw")]
    DatagramSource {
        /// The source that is wanted.
        source_address: IpAddr,
    },
}

impl Route {
    /// For the socket that [`super::Sockets::of`] has for such echoes. Looks up the interface, by its name: one that is
    /// taken away and comes back has another index, so a send that fails with ENODEV asks for a new route.
    pub(in crate::probe) fn new(settings: &EchoSettings, socket: Origin) -> Result<Self, NoRoute> {
        let Origin { family, kind, .. } = socket;
        let EchoSettings { payload, ttl, dscp, dont_fragment, source, interface, any_source: _ } = settings;
        if let (Family::V6, SocketKind::Datagram, Some(IpAddr::V6(address))) = (family, kind, *source)
            && socket.source != Some(address)
        {
            return Err(NoRoute::DatagramSource { source_address: address.into() });
        }
        let mut control = Messages::EMPTY;
        let mut number = |[v4, v6]: [libc::c_int; 2], value: u8| match family {
            Family::V4 => control.push(libc::SOL_IP, v4, &libc::c_int::from(value).to_ne_bytes()),
            Family::V6 => control.push(libc::SOL_IPV6, v6, &libc::c_int::from(value).to_ne_bytes()),
        };
        if let Some(ttl) = ttl {
            number([libc::IP_TTL, libc::IPV6_HOPLIMIT], *ttl);
        }
        if *dscp != 0 {
            // The two bits below are for congestion notification.
            number([libc::IP_TOS, libc::IPV6_TCLASS], dscp << 2);
        }
        if source.is_some() || interface.is_some() {
            let index = match interface {
                Some(name) => if_nametoindex(name.as_str())
                    .map_err(|errno| NoRoute::Interface { interface: name.clone(), errno })?,
                None => 0,
            };
            push_origin(&mut control, family, *source, index)?;
        }
        Ok(Self {
            payload: *payload,
            padding: Padding::new(*payload),
            control,
            dont_fragment: *dont_fragment,
            source: *source,
        })
    }

    /// Whether its echoes want the socket that forbids fragments.
    pub(in crate::probe) fn dont_fragment(&self) -> bool {
        self.dont_fragment
    }

    /// The address that its echoes want to leave from.
    pub(in crate::probe) fn source(&self) -> Option<IpAddr> {
        self.source
    }
}

/// Where a packet is to leave: `struct in_pktinfo` or `struct in6_pktinfo`; an index of 0 leaves the interface open, as
/// an address of zeros does the source.
pub(super) fn push_origin<const N: usize>(
    control: &mut Messages<N>,
    family: Family,
    source: Option<IpAddr>,
    index: u32,
) -> Result<(), NoRoute> {
    match (family, source) {
        (Family::V4, None | Some(IpAddr::V4(_))) => {
            let source = match source {
                Some(IpAddr::V4(source)) => source.octets(),
                _ => [0; 4],
            };
            let [a, b, c, d] = index.to_ne_bytes();
            let [e, f, g, h] = source;
            control.push(libc::SOL_IP, libc::IP_PKTINFO, &[a, b, c, d, e, f, g, h, 0, 0, 0, 0]);
        }
        (Family::V6, None | Some(IpAddr::V6(_))) => {
            let mut info = [0; 20];
            if let Some(IpAddr::V6(source)) = source {
                info[..16].copy_from_slice(&source.octets());
            }
            info[16..].copy_from_slice(&index.to_ne_bytes());
            control.push(libc::SOL_IPV6, libc::IPV6_PKTINFO, &info);
        }
        (_, Some(source_address)) => return Err(NoRoute::Source { source_address, family }),
    }
    Ok(())
}

/// Room for hops, traffic class and origin.
const ROUTE_LEN: usize = space(4) + space(4) + space(20);
