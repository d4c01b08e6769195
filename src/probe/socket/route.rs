//! How the echoes of one target are to leave, worked out once.

use std::net::IpAddr;

use nix::errno::Errno;

use super::control::{Messages, space};
use super::{Origin, SocketKind, system};
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
    /// The kernel would let it leave as if that had not been asked for, and not say so.
    #[error("the datagram sockets of {family} take no {setting} here: that needs cap_net_raw, or Linux 5.18")]
    Untold {
        /// The target's family.
        family: Family,
        /// What is wanted, as in the settings.
        setting: &'static str,
    },
}

impl NoRoute {
    /// What the kernel would say to an echo that is sent so all the same.
    pub(in crate::probe) fn errno(&self) -> i32 {
        match self {
            Self::Interface { errno, .. } => *errno as i32,
            Self::Source { .. } | Self::DatagramSource { .. } => libc::EAFNOSUPPORT,
            Self::Untold { .. } => libc::EOPNOTSUPP,
        }
    }
}

impl Route {
    /// For the socket that [`super::Sockets::of`] has for such echoes. Looks up the interface, by its name: one that is
    /// taken away and comes back has another index, so a send that fails with ENODEV asks for a new route.
    pub(in crate::probe) fn new(settings: &EchoSettings, socket: Origin) -> Result<Self, NoRoute> {
        let Origin { family, kind, .. } = socket;
        let EchoSettings { payload, dont_fragment, source, .. } = settings;
        if let (Family::V6, SocketKind::Datagram, Some(IpAddr::V6(address))) = (family, kind, *source)
            && socket.source != Some(address)
        {
            return Err(NoRoute::DatagramSource { source_address: address.into() });
        }
        let told = [
            ("ttl", settings.ttl.is_some()),
            ("dscp", settings.dscp != 0),
            ("interface", settings.interface.is_some()),
        ];
        if let Some((setting, _)) = told.into_iter().find(|(_, is_told)| *is_told && !socket.takes_control) {
            return Err(NoRoute::Untold { family, setting });
        }
        let mut control = Messages::EMPTY;
        system::push_settings(&mut control, family, settings)?;
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

/// Room for hops, traffic class and origin.
const ROUTE_LEN: usize = space(4) + space(4) + space(20);

#[cfg(test)]
mod tests {
    use super::super::Identity;
    use super::*;

    /// Before Linux 5.18 a trace over such a socket showed the target at the first hop.
    #[test]
    fn what_a_socket_cannot_be_told_is_refused() {
        let identity = Identity { identifier: 0, mark: 0 };
        let (family, kind) = (Family::V6, SocketKind::Datagram);
        let route = |settings: &EchoSettings, takes_control| {
            let origin = Origin { family, kind, dont_fragment: false, source: None, takes_control, identity };
            Route::new(settings, origin).err()
        };
        let plain = EchoSettings::default();
        let refused = [
            ("ttl", EchoSettings { ttl: Some(1), ..plain.clone() }),
            ("dscp", EchoSettings { dscp: 46, ..plain.clone() }),
            ("interface", EchoSettings { interface: Some("lo".to_owned()), ..plain.clone() }),
        ];
        for (setting, settings) in refused {
            assert_eq!(route(&settings, false), Some(NoRoute::Untold { family, setting }));
            assert_eq!(route(&settings, true), None);
        }
        assert_eq!(route(&plain, false), None);
    }
}
