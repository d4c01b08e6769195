//! What the echoes of a target look like and where they leave: said of the target, its group or all; and which of the
//! two families it is asked by.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use crate::probe::EchoSettings;
use crate::probe::icmp::Family;

use super::document::{Entry, Section};
use super::error::{Error, one_line};
use super::origin::{Origin, Setting};
use super::value;

/// What a target's echoes look like, by which family it is asked, and who said so.
#[derive(Clone, Debug)]
pub struct EchoConfig {
    /// Bytes of payload.
    pub payload: Setting<u16>,
    /// Time to live, or hop limit; `None` is the system's.
    pub ttl: Setting<Option<u8>>,
    /// The differentiated services code point.
    pub dscp: Setting<u8>,
    /// Whether routers may not fragment it.
    pub dont_fragment: Setting<bool>,
    /// The address it leaves from; `None` is the system's choice.
    pub source: Setting<Option<IpAddr>>,
    /// The interface it leaves by; `None` is the routing table's choice.
    pub interface: Setting<Option<String>>,
    /// Whether another address than the one that was asked may answer.
    pub any_source: Setting<bool>,
    /// Which of a name's addresses are asked.
    pub family: Setting<Families>,
}

/// Which of a name's addresses are asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Families {
    /// Whichever the resolver prefers.
    #[default]
    Any,
    /// The IPv4 one.
    V4,
    /// The IPv6 one.
    V6,
    /// Both, as two targets.
    Both,
}

impl fmt::Display for Families {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Any => "any",
            Self::V4 => "ipv4",
            Self::V6 => "ipv6",
            Self::Both => "both",
        })
    }
}

impl EchoConfig {
    /// What nobody says anything about.
    pub(super) fn said_by_nobody() -> Arc<Self> {
        Arc::new(Self::new(&EchoPreferences::default(), None))
    }

    /// What is said, and the defaults for the rest; of the families what holds.
    pub(super) fn new(said: &EchoPreferences, family: Option<&Setting<Families>>) -> Self {
        let EchoSettings { payload, ttl, dscp, dont_fragment, source, interface, any_source } =
            EchoSettings::default();
        Self {
            payload: or(&said.payload, payload),
            ttl: some_or(&said.ttl, ttl),
            dscp: or(&said.dscp, dscp),
            dont_fragment: or(&said.dont_fragment, dont_fragment),
            source: some_or(&said.source, source),
            interface: some_or(&said.interface, interface),
            any_source: or(&said.any_source, any_source),
            family: family.cloned().unwrap_or(Setting::default(Families::Any)),
        }
    }

    /// For the prober.
    pub(super) fn settings(&self) -> EchoSettings {
        EchoSettings {
            payload: self.payload.value,
            ttl: self.ttl.value,
            dscp: self.dscp.value,
            dont_fragment: self.dont_fragment.value,
            source: self.source.value,
            interface: self.interface.value.clone(),
            any_source: self.any_source.value,
        }
    }
}

fn or<T: Clone>(said: &Option<Setting<T>>, default: T) -> Setting<T> {
    said.clone().unwrap_or(Setting::default(default))
}

fn some_or<T: Clone>(said: &Option<Setting<T>>, default: Option<T>) -> Setting<Option<T>> {
    said.clone().map_or(Setting::default(default), |said| said.map(Some))
}

/// What a target, a group or `[defaults]` says about echoes; the rest is left to the next one up.
#[derive(Clone, Default)]
pub(super) struct EchoPreferences {
    payload: Option<Setting<u16>>,
    ttl: Option<Setting<u8>>,
    dscp: Option<Setting<u8>>,
    dont_fragment: Option<Setting<bool>>,
    source: Option<Setting<IpAddr>>,
    interface: Option<Setting<String>>,
    any_source: Option<Setting<bool>>,
    family: Option<Setting<Families>>,
    /// Whether the family is said of one target: for others it is meant where there is a choice.
    insists: bool,
}

impl EchoPreferences {
    /// The keys of this file.
    pub(super) const KEYS: [&str; 8] =
        ["payload", "ttl", "dscp", "dont_fragment", "source", "interface", "family", "any_source"];

    /// What the table says; `None` where that is nothing.
    pub(super) fn read(section: &Section<'_>) -> Result<Option<Arc<Self>>, Error> {
        if !Self::KEYS.iter().any(|key| section.get(key).is_some()) {
            return Ok(None);
        }
        let flag = |key| section.get(key).map(|entry| entry.flag()).transpose();
        let payload = |entry: Entry<'_>| entry.whole(EchoSettings::LEAST_PAYLOAD, EchoSettings::MOST_PAYLOAD);
        let dscp = |entry: Entry<'_>| entry.parsed_number(value::dscp, "a number or a name in quotes");
        Ok(Some(Arc::new(Self {
            payload: section.get("payload").map(payload).transpose()?,
            ttl: section.get("ttl").map(|entry| entry.whole(1, u8::MAX)).transpose()?,
            dscp: section.get("dscp").map(dscp).transpose()?,
            dont_fragment: flag("dont_fragment")?,
            source: section.get("source").map(|entry| entry.parsed(value::source)).transpose()?,
            interface: section.get("interface").map(|entry| entry.parsed(value::interface)).transpose()?,
            any_source: flag("any_source")?,
            family: section.get("family").map(|entry| entry.parsed(value::family)).transpose()?,
            insists: false,
        })))
    }

    /// The same, said of one target.
    pub(super) fn of_one_target(said: Arc<Self>) -> Arc<Self> {
        Arc::new(Self { insists: true, ..Arc::unwrap_or_clone(said) })
    }

    /// What `upper` says, and what `lower` says where that says nothing.
    pub(super) fn over(upper: Option<Arc<Self>>, lower: Option<&Arc<Self>>) -> Option<Arc<Self>> {
        let (Some(upper), Some(lower)) = (&upper, lower) else { return upper.or_else(|| lower.cloned()) };
        fn either<T: Clone>(upper: &Option<T>, lower: &Option<T>) -> Option<T> {
            upper.as_ref().or(lower.as_ref()).cloned()
        }
        Some(Arc::new(Self {
            payload: either(&upper.payload, &lower.payload),
            ttl: either(&upper.ttl, &lower.ttl),
            dscp: either(&upper.dscp, &lower.dscp),
            dont_fragment: either(&upper.dont_fragment, &lower.dont_fragment),
            source: either(&upper.source, &lower.source),
            interface: either(&upper.interface, &lower.interface),
            any_source: either(&upper.any_source, &lower.any_source),
            family: either(&upper.family, &lower.family),
            insists: if upper.family.is_some() { upper.insists } else { lower.insists },
        }))
    }

    /// What holds for this host: a choice of families that is made for many yields to an address.
    pub(super) fn holding_for(&self, host: &str) -> Option<&Setting<Families>> {
        let yields = |family: Families| !self.insists && literal(host).is_some_and(|it| !family.fits(it));
        self.family.as_ref().filter(|family| !yields(family.value))
    }

    /// The targets that one named target is: what is added to its name, and the family that is asked. A host, a source, an
    /// interface and a choice of families that contradict each other are an error of the target called `name`.
    pub(super) fn targets_of(
        &self,
        host: &str,
        name: &str,
        at: &Origin,
    ) -> Result<&'static [(&'static str, Option<Family>)], Error> {
        let misfit = |what: String, other: String, said: &Origin| Error::Misfit {
            at: at.clone(),
            name: one_line(name).into(),
            what: what.into(),
            other: other.into(),
            said: Box::new(said.clone()),
        };
        let said = self.holding_for(host);
        let choice = said.map_or(Families::Any, |family| family.value);
        let address = literal(host);
        if let (Some(family), Some(address)) = (said, address)
            && !choice.fits(address)
        {
            return Err(misfit(format!("host {host}"), format!("family = {choice}"), &family.origin));
        }
        if let Some(source) = &self.source {
            let named = || format!("source = {}", source.value);
            if let Some(address) = address.filter(|address| Family::of(*address) != Family::of(source.value))
            {
                return Err(misfit(format!("host {address}"), named(), &source.origin));
            }
            if let Some(family) = said.filter(|_| !choice.fits(source.value)) {
                return Err(misfit(named(), format!("family = {choice}"), &family.origin));
            }
        }
        if let (Some(interface), Some((_, zone))) = (&self.interface, host.split_once('%'))
            && interface.value != zone
        {
            let named = format!("interface = {}", interface.value);
            return Err(misfit(format!("host {host}"), named, &interface.origin));
        }
        let implied = self.source.as_ref().map(|source| Family::of(source.value));
        Ok(match (choice, implied) {
            (Families::V4, _) | (Families::Any, Some(Family::V4)) => &[("", Some(Family::V4))],
            (Families::V6, _) | (Families::Any, Some(Family::V6)) => &[("", Some(Family::V6))],
            (Families::Any, None) => &[("", None)],
            (Families::Both, _) => &[("-v4", Some(Family::V4)), ("-v6", Some(Family::V6))],
        })
    }
}

impl Families {
    /// Whether `address`, and no other, can be asked, or asked from.
    fn fits(self, address: IpAddr) -> bool {
        match self {
            Self::Any => true,
            Self::V4 => address.is_ipv4(),
            Self::V6 => address.is_ipv6(),
            Self::Both => false,
        }
    }
}

/// The address that a host is, where it is no name; IPv4 in IPv6's clothes is IPv4, as it is for the prober.
fn literal(host: &str) -> Option<IpAddr> {
    let (address, zone) = host.split_once('%').map_or((host, false), |(address, _)| (address, true));
    if zone {
        return address.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    }
    address.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}
