//! Who tells an outage of our own uplink from one of the targets: `[uplink]`.

use std::net::IpAddr;

use crate::probe::Anchors;

use super::document::{Entry, Section};
use super::error::Error;
use super::origin::Setting;
use super::value;

/// How our own uplink is judged, and who said so.
#[derive(Clone, Debug)]
pub struct UplinkConfig {
    /// By whose answers.
    pub anchors: Setting<Anchors>,
}

impl Default for UplinkConfig {
    fn default() -> Self {
        Self { anchors: Setting::default(Anchors::default()) }
    }
}

impl UplinkConfig {
    /// Reads `[uplink]`.
    pub(super) fn read(entry: &Entry<'_>) -> Result<Self, Error> {
        let section: Section<'_> = entry.table(&["anchor"], || "in [uplink]".to_owned())?;
        let Some(entry) = section.get("anchor") else { return Ok(Self::default()) };
        let mut these: Vec<IpAddr> = Vec::new();
        for said in entry.texts()? {
            let anchor = value::anchor(said.value)
                .map_err(|wanted| Error::value(&said.origin, "anchor", said.value, wanted))?;
            if these.len() == Anchors::MOST {
                let wanted = "write no more than eight addresses";
                return Err(Error::value(&said.origin, "anchor", said.value, wanted));
            }
            these.push(anchor);
        }
        Ok(Self { anchors: Setting { value: Anchors::These(these), origin: entry.at } })
    }
}
