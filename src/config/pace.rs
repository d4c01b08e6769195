//! How the prober goes about all targets: `[probe]`.

use std::time::Duration;

use crate::probe::{Pace, RESOLVE_EVERY};

use super::document::{Entry, Section};
use super::error::Error;
use super::origin::Setting;
use super::value;

/// How the echoes of all targets leave and how often names are looked up, and who said so.
#[derive(Clone, Debug)]
pub struct ProbeConfig {
    /// Echoes that fall due within this time are sent together.
    pub collect: Setting<Duration>,
    /// No more echoes a second than this.
    pub packets_per_sec: Setting<u32>,
    /// No more echoes under way at once than this.
    pub in_flight: Setting<u32>,
    /// How long the address of a name is believed before it is looked up again.
    pub resolve_every: Setting<Duration>,
}

impl Default for ProbeConfig {
    fn default() -> Self {
        let Pace { collect, packets_per_sec, in_flight } = Pace::default();
        Self {
            collect: Setting::default(collect),
            packets_per_sec: Setting::default(packets_per_sec),
            in_flight: Setting::default(in_flight),
            resolve_every: Setting::default(RESOLVE_EVERY),
        }
    }
}

impl ProbeConfig {
    /// Reads `[probe]`.
    pub(super) fn read(entry: &Entry<'_>) -> Result<Self, Error> {
        let section: Section<'_> = entry.table(&KEYS, || "in [probe]".to_owned())?;
        let mut said = Self::default();
        if let Some(entry) = section.get("collect") {
            said.collect = entry.parsed_number(value::collect, "a duration")?;
        }
        if let Some(entry) = section.get("packets_per_sec") {
            said.packets_per_sec = entry.whole(1, MOST_PACKETS_PER_SEC)?;
        }
        if let Some(entry) = section.get("in_flight") {
            said.in_flight = entry.whole(1, MOST_IN_FLIGHT)?;
        }
        if let Some(entry) = section.get("resolve_every") {
            said.resolve_every = entry.parsed_number(value::resolve_every, "a duration")?;
        }
        Ok(said)
    }

    /// For the prober.
    pub(super) fn pace(&self) -> Pace {
        Pace {
            collect: self.collect.value,
            packets_per_sec: self.packets_per_sec.value,
            in_flight: self.in_flight.value,
        }
    }
}

const KEYS: [&str; 4] = ["collect", "packets_per_sec", "in_flight", "resolve_every"];
/// More than a core can send.
const MOST_PACKETS_PER_SEC: u32 = 1_000_000;
/// The most packets of a second, with a reply each that takes ten.
const MOST_IN_FLIGHT: u32 = 10_000_000;
