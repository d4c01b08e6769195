//! An archive in another shape, with all of its history: another step, other pings of a round, other archives.
//!
//! Where the pings differ, every row of the file is first written anew with the other number of ranks, in memory; what
//! that makes is resampled into a new file beside the old one, the finest rows first, and what is unknown stays
//! unknown: an outage must not be filled in from the mean of the hours around it. The old file gets another name before
//! the new one takes its place, so that at every moment the file is there, the whole old or the whole new one.

mod error;

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::folder::{self, Lock};
use super::journal::Journal;
use super::layout::{self, Columns};
use super::{Error, Rhythm, forecast};
use crate::rrd::{self, Access, ArchiveDef, Cf, Definition, Inheritance, Manner, Overwrite, Rrd, Source};
use crate::time::{Step, UnixTime};

pub use error::ConvertError;

/// What a converted archive is to look like; what is not said stays as it is.
#[derive(Clone, Debug, Default)]
pub struct Shape {
    /// The length of a round.
    pub step: Option<Step>,
    /// The pings of a round.
    pub pings: Option<u16>,
    /// The rows it keeps.
    pub archives: Kept,
    /// Whether it is to have a forecast; where the old file has one, it begins to learn anew if anything is changed.
    pub forecast: bool,
    /// Where the median comes from in a file that is no archive of rounds.
    pub median: Option<Median>,
}

/// Which rows a converted archive keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Kept {
    /// Those of the old file: rows as long as they were, or as near as the step allows, and of a single step those that
    /// were of one; for as long a time.
    #[default]
    AsTheyAre,
    /// Those of a new archive.
    Default,
    /// These, each written as rrdtool has it: `AVERAGE:0.5:1m:10d`.
    Listed(Vec<String>),
}

/// The data source of an older script's archive that is taken for the median.
#[derive(Clone, Debug, PartialEq)]
pub struct Median {
    /// Its name.
    pub data_source: String,
    /// The seconds of its unit.
    pub unit_secs: f64,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Converted {
    /// The file has its new shape, and the old one is kept.
    Done {
        /// Where.
        before: PathBuf,
        /// The shape.
        rhythm: Rhythm,
    },
    /// The file had that shape, and was not touched.
    WasSo(Rhythm),
}

/// Pings of a round where the old file tells none.
const PINGS: u16 = 20;

/// The old file stays locked for so long after it has lost its name. Whoever opened it just before finds it locked, and
/// does not write where nobody reads.
const GRACE: Duration = Duration::from_millis(20);

/// Converts an archive. `progress` is told how many bytes of how many are written. The file is locked until its name is
/// the new one's, so that no update is lost.
pub fn convert(
    file: &Path,
    shape: &Shape,
    progress: impl FnMut(u64, u64),
) -> Result<Converted, ConvertError> {
    let failed = Error::of_file(file);
    let mut opened = rrd::File::open(file, Access::Read).map_err(failed)?;
    let keep_failed = |source| ConvertError::Keep { file: file.to_owned(), source };
    let real = fs::canonicalize(file).map_err(keep_failed)?;
    let _folder = lock_above(&real)?;
    // The file itself is replaced, not a link to it.
    let is_link = file.symlink_metadata().map_err(keep_failed)?.is_symlink();
    let place = if is_link { real.as_path() } else { file };
    let before = before(place);
    check_before(place, &before)?;
    let old = opened.view().map_err(failed)?;
    let plan = Plan::new(&old, shape, file)?;
    if plan.changes_nothing(&old) {
        return Ok(Converted::WasSo(plan.rhythm));
    }
    let other_columns = plan.other_columns(&old, file)?;
    let source = match &other_columns {
        Some(bytes) => {
            let rrd = Rrd::new_checked(&bytes[..]).map_err(|fault| failed(fault_of(file, fault)))?;
            Source { rrd, manner: Manner::RowsOnly }
        }
        None => Source { rrd: *old, manner: Manner::Faithful },
    };
    keep(place, &before)?;
    let inheritance = Inheritance { sources: &[source], ..Inheritance::default() };
    rrd::create_from(place, &plan.definition, inheritance, Overwrite::Yes, progress).map_err(|error| {
        // The old file has its own name still; a second one would only be in the way.
        if is_second_name(place, &before) {
            let _ = fs::remove_file(&before);
        }
        failed(error)
    })?;
    std::thread::sleep(GRACE);
    Ok(Converted::Done { before, rhythm: plan.rhythm })
}

/// What the new file will be, and how the columns of the old one become its own.
struct Plan {
    rhythm: Rhythm,
    definition: Definition,
    columns: Reshape,
}

/// How a row of the old file becomes one of the new.
enum Reshape {
    /// It has the same columns.
    Same,
    /// Its pings are another number.
    Ranks { uptime: Option<usize>, columns: Columns },
    /// One column is the median.
    Median { column: usize, unit_secs: f64 },
}

impl Plan {
    fn new(old: &Rrd<&[u8]>, shape: &Shape, file: &Path) -> Result<Self, ConvertError> {
        let step = shape.step.unwrap_or(old.step());
        let (columns, pings) = match &shape.median {
            Some(median) => (Reshape::median(old, median, file)?, shape.pings.unwrap_or(PINGS)),
            None => Reshape::ranks(old, shape.pings, file)?,
        };
        let rhythm = Rhythm { step, pings };
        let mut archives = match &shape.archives {
            Kept::AsTheyAre if shape.median.is_none() => as_they_are(old, step, shape.forecast, file)?,
            Kept::AsTheyAre | Kept::Default => layout::archives(step),
            Kept::Listed(texts) => listed(texts, step)?,
        };
        if shape.forecast {
            archives.extend(forecast::archives(step, archives.len()));
        }
        let start = UnixTime::from_secs(old.last_update().secs());
        let definition = Definition { step, start, data_sources: layout::data_sources(rhythm), archives };
        Ok(Self { rhythm, definition, columns })
    }

    fn changes_nothing(&self, old: &Rrd<&[u8]>) -> bool {
        let are_same = |old: &[ArchiveDef], new: &[ArchiveDef]| {
            // A forecast may have parameters of its own, and what it has learned is worth more than ours.
            let both = [old, new].map(|archives| archives.iter().any(|archive| archive.cf == Cf::Failures));
            let plain = |archives: &[ArchiveDef]| -> Vec<ArchiveDef> {
                archives.iter().filter(|archive| !archive.cf.is_forecast()).cloned().collect()
            };
            if both == [true, true] { plain(old) == plain(new) } else { old == new }
        };
        matches!(self.columns, Reshape::Same)
            && self.rhythm.step == old.step()
            && are_same(&Definition::like(old).archives, &self.definition.archives)
    }

    /// The old file with the columns of the new one, where they differ.
    fn other_columns(&self, old: &Rrd<&[u8]>, file: &Path) -> Result<Option<Vec<u8>>, ConvertError> {
        if matches!(self.columns, Reshape::Same) {
            return Ok(None);
        }
        let failed = Error::of_file(file);
        let like = Definition::like(old);
        let rhythm = Rhythm { step: old.step(), ..self.rhythm };
        let (kept, archives): (Vec<usize>, Vec<ArchiveDef>) =
            like.archives.into_iter().enumerate().filter(|(_, archive)| !archive.cf.is_forecast()).unzip();
        let definition = Definition { data_sources: layout::data_sources(rhythm), archives, ..like };
        let mut bytes = rrd::image(&definition).map_err(failed)?;
        let fault = |fault| failed(fault_of(file, fault));
        let mut image = Rrd::new_checked(&mut bytes[..]).map_err(fault)?;
        let mut values = vec![f64::NAN; definition.data_sources.len()];
        for (new_rra, old_rra) in kept.into_iter().enumerate() {
            let newest = |rrd: Option<rrd::Rra>| rrd.map_or(0, |rra| rra.cur_row);
            let rows = definition.archives[new_rra].rows;
            let newest = (newest(old.archives().nth(old_rra)), newest(image.archives().nth(new_rra)));
            for age in 0..rows {
                let Some(row) = old.row(old_rra, (newest.0 + rows - age) % rows) else { continue };
                let row: Vec<f64> = row.values().collect();
                self.columns.reshape(&row, &mut values);
                image.set_row(new_rra, (newest.1 + rows - age) % rows, &values);
            }
        }
        Ok(Some(bytes))
    }
}

impl Reshape {
    fn median(old: &Rrd<&[u8]>, median: &Median, file: &Path) -> Result<Self, ConvertError> {
        let column = old.data_sources().position(|ds| ds.name == median.data_source);
        let column = column.ok_or_else(|| ConvertError::NoDataSource {
            file: file.to_owned(),
            name: median.data_source.clone(),
            there: names(old),
        })?;
        Ok(Self::Median { column, unit_secs: median.unit_secs })
    }

    fn ranks(old: &Rrd<&[u8]>, pings: Option<u16>, file: &Path) -> Result<(Self, u16), ConvertError> {
        let columns = Columns::find(old, file).map_err(|error| match error {
            Error::NotOfRounds { file, .. } => ConvertError::NeedsMedian { file, there: names(old) },
            other => other.into(),
        })?;
        let found = columns.pings();
        let wanted = pings.unwrap_or(found);
        let expected = layout::data_sources(Rhythm { step: old.step(), pings: found });
        let is_known = |name: &str| expected.iter().any(|known| known.name == name);
        if let Some(extra) = old.data_sources().find(|ds| !is_known(ds.name)) {
            return Err(ConvertError::ExtraDataSource { file: file.to_owned(), name: extra.name.to_owned() });
        }
        if found == wanted {
            return Ok((Self::Same, found));
        }
        let uptime = old.data_sources().position(|ds| ds.name == "uptime");
        Ok((Self::Ranks { uptime, columns }, wanted))
    }

    /// Writes a row of the new columns.
    fn reshape(&self, row: &[f64], values: &mut [f64]) {
        const UPTIME: usize = 0;
        const LOSS: usize = 1;
        const MEDIAN: usize = 2;
        const RANKS: usize = 3;
        values.fill(f64::NAN);
        match self {
            Self::Same => values.copy_from_slice(row),
            Self::Median { column, unit_secs } => values[MEDIAN] = row[*column] * unit_secs,
            Self::Ranks { uptime, columns } => {
                let pings = values.len() - RANKS;
                values[UPTIME] = uptime.map_or(f64::NAN, |column| row[column]);
                values[LOSS] = row[columns.loss] / columns.ranks.len() as f64 * pings as f64;
                values[MEDIAN] = row[columns.median];
                let known = columns.ranks.iter().map(|column| row[*column]).filter(|rtt| !rtt.is_nan());
                map_ranks(known.collect(), columns.ranks.len(), &mut values[RANKS..]);
            }
        }
    }
}

/// Spreads the known round trips of `pings` over other ranks: so many of them are known that the share of the lost ones
/// is as near as can be, each is the nearest rank of the old ones, and the lost ones lie at both ends.
fn map_ranks(mut known: Vec<f64>, pings: usize, ranks: &mut [f64]) {
    if known.is_empty() {
        return;
    }
    known.sort_unstable_by(f64::total_cmp);
    let count = (known.len() * ranks.len() + pings / 2) / pings;
    let count = count.clamp(1, ranks.len());
    let before = (ranks.len() - count) / 2;
    for (index, rank) in ranks[before..before + count].iter_mut().enumerate() {
        *rank = known[(2 * index + 1) * known.len() / (2 * count)];
    }
}

fn names(rrd: &Rrd<&[u8]>) -> String {
    const SHOWN: usize = 5;
    let names: Vec<&str> = rrd.data_sources().map(|ds| ds.name).take(SHOWN).collect();
    let more = if rrd.ds_count() > SHOWN { ", .." } else { "" };
    names.join(", ") + more
}

/// The archives of the old file for another step; without those of a forecast where a new one is wanted.
fn as_they_are(
    old: &Rrd<&[u8]>,
    step: Step,
    new_forecast: bool,
    file: &Path,
) -> Result<Vec<ArchiveDef>, ConvertError> {
    let (old_step, new_step) = (u64::from(old.step().secs()), u64::from(step.secs()));
    let archives = old.archives().filter(|rra| !(new_forecast && rra.cf.is_forecast())).map(|rra| {
        if rra.cf.is_forecast() {
            return Err(ConvertError::Forecasts { file: file.to_owned(), cf: rra.cf.name() });
        }
        let row_secs = rra.pdp_per_row * old_step;
        let pdp_per_row =
            if rra.pdp_per_row == 1 { 1 } else { ((row_secs + new_step / 2) / new_step).max(1) };
        let rows = (rra.rows * row_secs).div_ceil(pdp_per_row * new_step);
        Ok(ArchiveDef { cf: rra.cf, xff: rra.xff, pdp_per_row, rows, forecast: None })
    });
    archives.collect()
}

fn listed(texts: &[String], step: Step) -> Result<Vec<ArchiveDef>, ConvertError> {
    /// Function, xff, steps, rows; those of forecasts, which are not made here, are others.
    const FIELDS: usize = 4;
    let parse = |text: &String| {
        let text = text.trim();
        let fields = text.strip_prefix("RRA:").unwrap_or(text).split(':').count();
        if fields != FIELDS {
            return Err(ConvertError::NotListed { text: text.to_owned() });
        }
        let whole = if text.starts_with("RRA:") { text.to_owned() } else { format!("RRA:{text}") };
        let archive = ArchiveDef::parse(&whole, step).map_err(|source| ConvertError::Listed {
            text: text.to_owned(),
            step,
            source,
        })?;
        if archive.cf.is_forecast() {
            let source = rrd::DefinitionError::Cf(archive.cf.name().to_owned());
            return Err(ConvertError::Listed { text: text.to_owned(), step, source });
        }
        Ok(archive)
    };
    texts.iter().map(parse).collect()
}

fn fault_of(file: &Path, fault: rrd::Fault) -> rrd::Error {
    rrd::Error::Fault { path: file.to_owned(), fault }
}

/// The lock on the data folder that the file lies in, in whatever depth; none where there has never been a monitor.
/// What a monitor that crashed left in its journal is brought into the archives first: it would not know the new file.
fn lock_above(file: &Path) -> Result<Option<Lock>, ConvertError> {
    let Some(dir) = file.ancestors().skip(1).find(|dir| Lock::is_in(dir)) else { return Ok(None) };
    let lock = Lock::take(dir).map_err(|error| match error {
        Error::Taken { dir, pid } => ConvertError::Recording { dir, pid },
        other => other.into(),
    })?;
    let (_, recovered) = Journal::open(&folder::journal(dir)).map_err(Error::from)?;
    recovered.tell();
    Ok(Some(lock))
}

/// Where the old file is kept: `latency.rrd.before`.
fn before(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".before");
    name.into()
}

/// A file that is kept there already is not replaced; a second name of the file itself is what a killed conversion
/// left.
fn check_before(file: &Path, before: &Path) -> Result<(), ConvertError> {
    if before.symlink_metadata().is_err() || is_second_name(file, before) {
        return Ok(());
    }
    Err(ConvertError::BeforeExists { before: before.to_owned() })
}

fn is_second_name(file: &Path, before: &Path) -> bool {
    let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    match (file.metadata(), before.symlink_metadata()) {
        (Ok(file), Ok(before)) => identity(file) == identity(before),
        _ => false,
    }
}

/// Gives the old file its second name; where the file system has no links, a copy.
fn keep(file: &Path, before: &Path) -> Result<(), ConvertError> {
    let failed = |source| ConvertError::Keep { file: file.to_owned(), source };
    match fs::hard_link(file, before) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => check_before(file, before),
        Err(error) if is_without_links(&error) => {
            let mut copy = fs::File::create_new(before).map_err(failed)?;
            let copied = fs::File::open(file).and_then(|mut old| io::copy(&mut old, &mut copy));
            copied.and_then(|_| copy.sync_all()).map_err(failed)
        }
        Err(error) => Err(failed(error)),
    }
}

fn is_without_links(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EPERM | libc::EOPNOTSUPP | libc::EMLINK | libc::ENOSYS))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapped(known: &[f64], pings: usize, ranks: usize) -> Vec<f64> {
        let mut new = vec![f64::NAN; ranks];
        map_ranks(known.to_vec(), pings, &mut new);
        new
    }

    /// What is known of ten pings: its shape as ranks, dashes for the unknown.
    fn told(values: &[f64]) -> String {
        let one = |value: &f64| if value.is_nan() { "-".to_owned() } else { value.to_string() };
        values.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn ranks_are_spread_evenly_and_keep_the_share_of_the_lost() {
        assert_eq!(told(&mapped(&[1.0, 2.0, 3.0, 4.0], 4, 4)), "1 2 3 4");
        assert_eq!(told(&mapped(&[1.0, 2.0, 3.0, 4.0], 4, 2)), "2 4");
        assert_eq!(told(&mapped(&[1.0, 2.0], 2, 4)), "1 1 2 2");
        assert_eq!(told(&mapped(&[1.0, 2.0], 4, 4)), "- 1 2 -");
        assert_eq!(told(&mapped(&[1.0, 2.0], 4, 8)), "- - 1 1 2 2 - -");
        // One answer of twenty stays one.
        assert_eq!(told(&mapped(&[7.0], 20, 3)), "- 7 -");
        assert_eq!(told(&mapped(&[], 20, 3)), "- - -");
        // There and back it is the same.
        let ten: Vec<f64> = (1..=10).map(f64::from).collect();
        assert_eq!(mapped(&mapped(&ten, 10, 20), 20, 10), ten);
    }
}
