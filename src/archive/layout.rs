//! The data sources of a target's archive, as SmokePing has them, and the rows that a new one keeps.

use std::path::Path;
use std::time::Duration;

use super::{Error, Rhythm, forecast};
use crate::round::Round;
use crate::rrd::{self, ArchiveDef, Cf, DataSource, DsType};
use crate::time::{Step, UnixTime};

const DAY: u64 = 86_400;

/// What a new archive keeps: the consolidation function, the length of a row (a round for `None`) and the span.
const KEPT: [(Cf, Option<Duration>, Duration); 5] = [
    (Cf::Average, None, Duration::from_secs(10 * DAY)),
    (Cf::Average, Some(Duration::from_secs(600)), Duration::from_secs(90 * DAY)),
    (Cf::Average, Some(Duration::from_secs(7200)), Duration::from_secs(3 * 365 * DAY)),
    (Cf::Min, Some(Duration::from_secs(7200)), Duration::from_secs(3 * 365 * DAY)),
    (Cf::Max, Some(Duration::from_secs(7200)), Duration::from_secs(3 * 365 * DAY)),
];

/// The share of unknown rounds that a consolidated row may have.
const XFF: f64 = 0.5;

/// A new archive, with a forecast or without.
pub(super) fn definition(rhythm: Rhythm, forecasts: bool, start: UnixTime) -> rrd::Definition {
    let (data_sources, archives) = (data_sources(rhythm), all_archives(rhythm.step, forecasts));
    rrd::Definition { step: rhythm.step, start, data_sources, archives }
}

/// What is recorded: `uptime` (always unknown here), `loss` (lost pings, a count), `median` (seconds) and `ping1` ..
/// `pingN` (seconds), all GAUGE with a heartbeat of two steps and the minimum 0.
pub(super) fn data_sources(rhythm: Rhythm) -> Vec<DataSource> {
    let gauge = |name: &str, max: f64| DataSource {
        name: name.to_owned(),
        ds_type: DsType::Gauge,
        heartbeat: u64::from(rhythm.step.secs()) * 2,
        min: 0.0,
        max,
    };
    let mut data_sources =
        vec![gauge("uptime", f64::NAN), gauge("loss", f64::from(rhythm.pings)), gauge("median", f64::NAN)];
    data_sources.extend((1..=rhythm.pings).map(|rank| gauge(&format!("ping{rank}"), f64::NAN)));
    data_sources
}

fn all_archives(step: Step, forecasts: bool) -> Vec<ArchiveDef> {
    let mut archives = archives(step);
    if forecasts {
        archives.extend(forecast::archives(step, archives.len()));
    }
    archives
}

/// The rows that a new archive keeps, without those of a forecast.
pub(super) fn archives(step: Step) -> Vec<ArchiveDef> {
    let archive = |(cf, row, span): &(Cf, Option<Duration>, Duration)| {
        let pdp_per_row = pdps_per_row(step, *row);
        let rows = span.as_secs().div_ceil(pdp_per_row * u64::from(step.secs()));
        ArchiveDef { cf: *cf, xff: XFF, pdp_per_row, rows, forecast: None }
    };
    KEPT.iter().map(archive).collect()
}

/// How many bytes the rows of a new archive take, which is nearly all of it.
pub(super) fn row_bytes(rhythm: Rhythm, forecasts: bool) -> u64 {
    let rows: u64 = all_archives(rhythm.step, forecasts).iter().map(|archive| archive.rows).sum();
    rows * data_sources(rhythm).len() as u64 * size_of::<f64>() as u64
}

/// How many rounds a row has: the whole number whose length is nearest to `row`, one at least.
fn pdps_per_row(step: Step, row: Option<Duration>) -> u64 {
    let step = u64::from(step.secs());
    row.map_or(1, |row| (row.as_secs() + step / 2) / step).max(1)
}

/// Where the parts of a round stand among an archive's data sources.
#[derive(Clone, Debug)]
pub(super) struct Columns {
    data_sources: usize,
    pub(super) loss: usize,
    pub(super) median: usize,
    /// The columns of `ping1` .. `pingN`.
    pub(super) ranks: Vec<usize>,
}

impl Columns {
    /// Finds them by name; other data sources are left unknown.
    pub(super) fn find<B: AsRef<[u8]>>(view: &rrd::Rrd<B>, file: &Path) -> Result<Self, Error> {
        let names: Vec<&str> = view.data_sources().map(|source| source.name).collect();
        let position = |wanted: &str| names.iter().position(|name| *name == wanted);
        let need = |wanted: &str| {
            position(wanted)
                .ok_or_else(|| Error::NotOfRounds { file: file.to_owned(), missing: wanted.to_owned() })
        };
        let (loss, median, first) = (need("loss")?, need("median")?, need("ping1")?);
        let more = (2..=u16::MAX).map_while(|rank| position(&format!("ping{rank}")));
        let ranks = std::iter::once(first).chain(more).collect();
        Ok(Self { data_sources: names.len(), loss, median, ranks })
    }

    pub(super) fn data_sources(&self) -> usize {
        self.data_sources
    }

    /// How many pings a round has.
    pub(super) fn pings(&self) -> u16 {
        u16::try_from(self.ranks.len()).unwrap_or(u16::MAX)
    }

    /// Writes a round as the values of an update. Pings without a round trip leave unknowns before (half of them,
    /// rounded down) and after the sorted ones; where some pings are unknown, the loss is scaled up to a whole round; a
    /// round of which nothing is known is unknown altogether.
    pub(super) fn fill(&self, round: &Round, values: &mut [f64]) {
        values.fill(f64::NAN);
        let Some(loss_ratio) = round.loss_ratio() else { return };
        let pings = self.ranks.len();
        values[self.loss] = loss_ratio * pings as f64;
        if let Some(median) = round.median() {
            values[self.median] = median.as_secs_f64();
        }
        let before = pings.saturating_sub(round.sorted().len()) / 2;
        for (column, rtt) in self.ranks.iter().skip(before).zip(round.sorted()) {
            values[*column] = rtt.as_secs_f64();
        }
    }
}
