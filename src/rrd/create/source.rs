//! What a new archive takes over from others, as `create --template` and `--source` do.
//!
//! A row of the new archive is put together, second by second, from the rows of the sources that lie in it: the first
//! source before the second, in a source the archive of the same function and the same resolution first, then means,
//! then the finer. A row of a source counts for those of its seconds that none before it has covered. The row is known
//! when more than its xff is covered.
//!
//! Two habits of the original are not taken over, for they lose what is there: it does not see an archive of which all
//! rows would be needed, and it miscounts pieces of one second.

use std::cmp::Reverse;

use crate::rrd::cdp::{Cdp, Due};
use crate::rrd::create::beginning::{Beginning, beginnings};
use crate::rrd::create::coverage::Coverage;
use crate::rrd::def::{ArchiveDef, Cf, DataSource, Definition};
use crate::rrd::error::DefinitionError;
use crate::rrd::file::{Ds, Rrd, rows_start};
use crate::rrd::layout::{LAST_DS_LEN, Layout, WORD, cdp_prep, f64_at, pdp_prep, put_f64};
use crate::rrd::number::UNKNOWN;
use crate::rrd::pdp::Pdp;
use crate::time::UnixTime;

/// What a new archive takes over.
#[derive(Clone, Copy, Debug, Default)]
pub struct Inheritance<'a> {
    /// So many of its archives, the first ones, are those of a template: they keep the row at which they are smoothed.
    pub kept_archives: usize,
    /// Where its rows come from, the best first.
    pub sources: &'a [Source<'a>],
    /// What each of its data sources is called there, in the order of the definition. Those that are not named here
    /// have their own names.
    pub origins: &'a [Origin],
}

/// An archive file whose history a new one takes over.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The file.
    pub rrd: Rrd<&'a [u8]>,
    /// How it is taken over.
    pub manner: Manner,
}

/// How the history of a source is taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// As the original does: what an archive does not know, a coarser one fills in; and an open data point is copied
    /// where it ends within that of the new file, of which what lies before is then lost.
    Original,
    /// What is unknown stays so: from where its history begins, an archive has the say over the coarser ones, of a row
    /// in which it begins over the later part. Open data points are copied where they are the same in both files, and
    /// summed up elsewhere.
    Faithful,
    /// The same, but all open data points are summed up: the source is made of rows.
    RowsOnly,
}

/// Where the rows of a data source come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The name of a data source in the sources.
    pub name: String,
    /// Which of the sources, counted from one; any of them for `None`.
    pub source: Option<i32>,
}

impl Origin {
    /// The mapping in the text of a data source: `DS:name=other:..`, `DS:name=other[2]:..`; without one its own name.
    pub fn parse(text: &str) -> Result<Self, DefinitionError> {
        let fields = text.strip_prefix("DS:").ok_or_else(|| DefinitionError::Argument(text.to_owned()))?;
        let field = fields.split(':').next().unwrap_or_default();
        let mapping = field.split_once('=').map_or(field, |(_, mapping)| mapping);
        let Some((name, index)) = mapping.split_once('[') else {
            return Ok(Self { name: mapping.to_owned(), source: None });
        };
        let index = index.strip_suffix(']').ok_or(DefinitionError::DsFormat)?;
        // The original's arithmetic, in which a number too large is -1, and that means any.
        let index = index.bytes().try_fold(0_i64, |sum, digit| {
            sum.checked_mul(10)?.checked_add(i64::from(digit.wrapping_sub(b'0')))
        });
        let index = index.unwrap_or(i64::MAX) as i32;
        Ok(Self { name: name.to_owned(), source: Some(index).filter(|index| *index != -1) })
    }
}

impl Definition {
    /// The definition of a file like this one, that begins where it was last updated.
    pub fn like<B: AsRef<[u8]>>(rrd: &Rrd<B>) -> Self {
        let data_sources = rrd.data_sources().map(|ds| DataSource {
            name: ds.name.to_owned(),
            ds_type: ds.ds_type,
            heartbeat: ds.heartbeat,
            min: ds.min,
            max: ds.max,
        });
        let archives = rrd.archives().map(|rra| ArchiveDef {
            cf: rra.cf,
            xff: rra.xff,
            pdp_per_row: rra.pdp_per_row,
            rows: rra.rows,
            forecast: rra.forecast,
        });
        let start = UnixTime::from_secs(rrd.last_update().secs());
        Self { step: rrd.step(), start, data_sources: data_sources.collect(), archives: archives.collect() }
    }
}

/// The share of a step that may be unknown where the new file keeps no steps of its own.
const STEP_XFF: f64 = 0.5;

/// More steps than any open row is summed up from: years of minutes. Those before are unknown.
const MOST_STEPS: i64 = 1 << 22;

/// Puts a new archive together.
#[derive(Debug)]
pub(super) struct Filler<'a> {
    definition: &'a Definition,
    inheritance: Inheritance<'a>,
    /// For each source, and in it for each archive, where its history begins.
    beginnings: Vec<Vec<Beginning>>,
    /// For each archive of the definition, and in it for each data source, what its rows can be taken from.
    candidates: Vec<Vec<Vec<Candidate<'a>>>>,
}

impl<'a> Filler<'a> {
    pub(super) fn new(definition: &'a Definition, inheritance: Inheritance<'a>) -> Self {
        let beginnings = inheritance.sources.iter().map(beginnings).collect();
        let mut filler = Self { definition, inheritance, beginnings, candidates: Vec::new() };
        let of_archive = |archive: &ArchiveDef| {
            let row_secs = row_secs(definition, archive.pdp_per_row);
            let sources = 0..definition.data_sources.len();
            sources.map(|ds| filler.find_candidates(archive.cf, row_secs, ds)).collect()
        };
        filler.candidates = definition.archives.iter().map(of_archive).collect();
        filler
    }

    /// Writes the values of one row of an archive: the one that ends so many rows before the newest.
    pub(super) fn fill_row(&self, rra: usize, age: u64, row: &mut [u8]) {
        let archive = &self.definition.archives[rra];
        let row_secs = row_secs(self.definition, archive.pdp_per_row);
        let last = self.definition.start.secs();
        // The definition's check bounds the span of all rows.
        let end = last - last % row_secs - age as i64 * row_secs;
        for (candidates, word) in self.candidates[rra].iter().zip(row.chunks_exact_mut(WORD)) {
            put_f64(word, 0, consolidate(archive.cf, archive.xff, candidates, end - row_secs, end));
        }
    }

    /// Writes the open data points into the header of the new file.
    pub(super) fn fill_header(&self, header: &mut [u8], layout: Layout) {
        let (steps_of, steps_xff) = self.steps();
        for ds in 0..self.definition.data_sources.len() {
            if let Some((pdp, last_ds)) = self.copied_pdp(ds).or_else(|| self.summed_pdp(ds)) {
                let prep = &mut header[layout.pdp_prep(ds)..][..pdp_prep::LEN];
                prep[..LAST_DS_LEN].fill(0);
                prep[..last_ds.len()].copy_from_slice(last_ds);
                pdp.write(prep);
            }
            let own_steps;
            let steps = match steps_of {
                Some(rra) => &self.candidates[rra][ds],
                None => {
                    let step = row_secs(self.definition, 1);
                    own_steps = self.find_candidates(Cf::Average, step, ds);
                    &own_steps
                }
            };
            let is_original = steps.first().is_none_or(|best| best.source.manner == Manner::Original);
            for (rra, archive) in self.definition.archives.iter().enumerate() {
                let prep = &mut header[layout.cdp_prep(rra, ds)..][..cdp_prep::LEN];
                if let Some(copied) = self.copied_cdp(rra, ds) {
                    prep.copy_from_slice(copied);
                } else if is_original || !matches!(archive.cf, Cf::Min | Cf::Max | Cf::Last) {
                    self.replay(Cf::Average, archive, steps, steps_xff, prep);
                } else {
                    // Of the parts of a step, the extremes are those of the row; the original takes their mean for both.
                    let steps = self.find_candidates(archive.cf, row_secs(self.definition, 1), ds);
                    self.replay(archive.cf, archive, &steps, steps_xff, prep);
                }
            }
        }
    }

    /// What the rows of a data source in an archive of this function and resolution can be taken from, the best first.
    fn find_candidates(&self, cf: Cf, row_secs: i64, ds: usize) -> Vec<Candidate<'a>> {
        let mut found = Vec::new();
        for (index, source) in self.inheritance.sources.iter().enumerate() {
            let Some(ds) = find(&self.inheritance, self.definition, ds, index) else { continue };
            let first = found.len();
            let beginnings = self.beginnings[index].iter().enumerate();
            let all = beginnings.filter_map(|(rra, beginning)| {
                let found = Candidate::new(source, rra, ds, beginning.history)?;
                // A row that stays as long as it is stays what it is.
                let exact = found.cf == cf && found.row_secs == row_secs;
                Some(if exact { Candidate { start: beginning.row, ..found } } else { found })
            });
            // Readings are no forecast, though the original takes them for one.
            let averages = source.manner == Manner::Original || !cf.is_forecast();
            found.extend(all.filter(|found| found.cf == cf || averages && found.cf == Cf::Average));
            found[first..].sort_by_key(|found: &Candidate<'_>| {
                let exact = found.cf == cf && found.row_secs == row_secs;
                let second = match source.manner {
                    Manner::Original => u8::from(found.cf != Cf::Average),
                    // A single step is its own mean and its own extreme; of longer rows a mean tells no extreme.
                    _ if found.is_of_steps() => 0,
                    _ => 1 + u8::from(found.cf != cf),
                };
                (!exact, second, found.row_secs, Reverse(found.rows))
            });
        }
        found
    }

    /// What stands for single steps: an archive of the new file that has enough of them for the longest row, or none,
    /// and then they are computed with an xff of their own.
    fn steps(&self) -> (Option<usize>, f64) {
        let archives = &self.definition.archives;
        let longest = archives.iter().map(|archive| archive.pdp_per_row).max().unwrap_or(1);
        let enough = |archive: &ArchiveDef| {
            (archive.cf, archive.pdp_per_row) == (Cf::Average, 1) && archive.rows >= longest.saturating_mul(2)
        };
        let kept = archives.iter().enumerate().filter(|(_, archive)| enough(archive));
        // Of those with as many rows the first.
        let kept = kept.rev().max_by_key(|(_, archive)| archive.rows).map(|(rra, _)| rra);
        (kept, kept.map_or(STEP_XFF, |rra| archives[rra].xff))
    }

    /// The open data point, and the last reading, of the first source whose open data point ends within that of the new
    /// file, and which has had a reading.
    fn copied_pdp(&self, ds: usize) -> Option<(Pdp, &'a [u8])> {
        let (last, own_step) = (self.definition.start.secs(), i64::from(self.definition.step.secs()));
        let open_since = last - last % own_step;
        let wanted = self.definition.data_sources[ds].ds_type;
        self.candidates.iter().flat_map(|archive| &archive[ds]).find_map(|candidate| {
            let (rrd, found) = (&candidate.source.rrd, &candidate.data_source);
            let (last, step) = (rrd.last_update().secs(), i64::from(rrd.step().secs()));
            let end = last - last % step + step;
            let fits = match candidate.source.manner {
                Manner::Original => open_since < end && end <= open_since + own_step,
                Manner::Faithful => step == own_step && end == open_since + own_step,
                Manner::RowsOnly => false,
            };
            let has_read = found.ds_type == wanted && found.last_ds != b"U";
            (fits && has_read).then_some((found.pdp, found.last_ds))
        })
    }

    /// The open data point as the rows of the best source, and its own open data point, make it.
    fn summed_pdp(&self, ds: usize) -> Option<(Pdp, &'a [u8])> {
        let (last, step) = (self.definition.start.secs(), i64::from(self.definition.step.secs()));
        let open_since = last - last % step;
        let steps = self.find_candidates(Cf::Average, step, ds);
        let best = steps.first().filter(|best| best.source.manner != Manner::Original)?;
        let rrd = &best.source.rrd;
        let source_step = i64::from(rrd.step().secs());
        let rows_end = last.min(rrd.last_update().secs() / source_step * source_step);
        let (mut sum, mut known) = (0.0, 0);
        if rows_end > open_since {
            let rows = Collected::new(Cf::Average, &steps, open_since, rows_end);
            known = rows.known;
            sum = rows.value * (rows_end - open_since) as f64;
        }
        let open = best.data_source.pdp;
        let open_secs = i64::try_from(open.unknown_secs).map_or(-1, |unknown| last - rows_end - unknown);
        if rrd.last_update().secs() == last
            && !open.value.is_nan()
            && open_secs >= 0
            && rows_end >= open_since
        {
            sum += open.value;
            known += open_secs;
        }
        let unknown_secs = (last - open_since - known).unsigned_abs();
        let value = if known > 0 { sum } else { UNKNOWN };
        Some((Pdp { unknown_secs, value }, best.data_source.last_ds))
    }

    /// The open consolidated data point of the best source that has just this archive and the same step open.
    fn copied_cdp(&self, rra: usize, ds: usize) -> Option<&'a [u8]> {
        let (archive, step) = (&self.definition.archives[rra], i64::from(self.definition.step.secs()));
        self.candidates[rra][ds].iter().find_map(|candidate| {
            let rrd = &candidate.source.rrd;
            let fits = candidate.source.manner != Manner::RowsOnly
                && rrd.step() == self.definition.step
                && rrd.last_update().secs() / step == self.definition.start.secs() / step
                && candidate.cf == archive.cf
                && candidate.row_secs == row_secs(self.definition, archive.pdp_per_row);
            fits.then_some(candidate.prep)
        })
    }

    /// Consolidates the steps of the row before the open one, and of the open one, as updates would have; `cf` makes a
    /// step of its parts.
    fn replay(&self, cf: Cf, archive: &ArchiveDef, steps: &[Candidate<'_>], xff: f64, prep: &mut [u8]) {
        let step = i64::from(self.definition.step.secs());
        let pdps = archive.pdp_per_row as i64;
        let end = self.definition.start.secs() / step;
        // From the end of the row before the last one that ended.
        let begin = ((end / pdps - 1) * pdps).max(0);
        let since = steps.iter().map(|candidate| candidate.start).min().unwrap_or(i64::MAX);
        let first = begin.max(end - MOST_STEPS).max((since / step).min(end));
        let mut cdp = Cdp::new(0);
        let add = |cdp: &mut Cdp, at: i64, count: i64, pdp: f64| {
            if count > 0 {
                let due = Due::new(archive, at.unsigned_abs(), count.unsigned_abs());
                *cdp = cdp.consolidate(archive, due, pdp, count.unsigned_abs());
            }
        };
        add(&mut cdp, begin, first - begin, UNKNOWN);
        for pdp in first..end {
            let value = consolidate(cf, xff, steps, pdp * step, (pdp + 1) * step);
            add(&mut cdp, pdp, 1, value);
        }
        if archive.pdp_per_row == 1 {
            // The rest is a forecast's, which knows nothing yet, or as in any new file.
            put_f64(prep, cdp_prep::PRIMARY, cdp.primary);
        } else {
            cdp.write(prep);
        }
    }
}

/// An archive of a source that may hold what a row needs of a data source.
#[derive(Clone, Debug)]
struct Candidate<'a> {
    source: Source<'a>,
    data_source: Ds<'a>,
    cf: Cf,
    /// The open consolidated data point.
    prep: &'a [u8],
    /// The file's bytes.
    bytes: &'a [u8],
    /// Where the data source's value in the first row stands.
    at: usize,
    row_len: usize,
    rows: i64,
    cur_row: i64,
    row_secs: i64,
    /// When the oldest row begins, and since when the archive has a say.
    oldest: i64,
    start: i64,
    /// When the newest row ends.
    end: i64,
}

impl<'a> Candidate<'a> {
    fn new(source: &Source<'a>, rra: usize, ds: (usize, Ds<'a>), start: i64) -> Option<Self> {
        let (ds, data_source) = ds;
        let rrd = &source.rrd;
        let archive = rrd.archives().nth(rra)?;
        let (bytes, layout) = (rrd.borrowed(), rrd.layout());
        let (row_secs, end) = (rrd.row_secs(&archive), rrd.newest_row_end(&archive));
        let rows = archive.rows as i64;
        Some(Self {
            source: *source,
            data_source,
            cf: archive.cf,
            prep: &bytes[layout.cdp_prep(rra, ds)..][..cdp_prep::LEN],
            bytes,
            at: rows_start(bytes, layout, rra) + ds * WORD,
            row_len: layout.row_len(),
            rows,
            cur_row: archive.cur_row as i64,
            row_secs,
            oldest: end - rows * row_secs,
            start,
            end,
        })
    }

    /// Whether its rows are single steps.
    fn is_of_steps(&self) -> bool {
        self.row_secs == i64::from(self.source.rrd.step().secs())
    }

    /// The part of a span that it has a say in; in the original's manner all of it or nothing.
    fn part(&self, start: i64, end: i64) -> Option<(i64, i64)> {
        let part = (start.max(self.start), end.min(self.end));
        let is_whole = part == (start, end);
        let has_say = if self.source.manner == Manner::Original { is_whole } else { part.0 < part.1 };
        has_say.then_some(part)
    }

    /// The value of a row, the oldest being number 0.
    fn value(&self, row: i64) -> f64 {
        let index = (self.cur_row + 1 + row) % self.rows;
        f64_at(self.bytes, self.at + index as usize * self.row_len)
    }
}

/// The data source of a source that is taken over into data source `ds` of the new file.
fn find<'a>(
    inheritance: &Inheritance<'a>,
    definition: &Definition,
    ds: usize,
    source: usize,
) -> Option<(usize, Ds<'a>)> {
    let (name, only) = match inheritance.origins.get(ds) {
        Some(origin) => (origin.name.as_str(), origin.source),
        None => (definition.data_sources[ds].name.as_str(), None),
    };
    if only.is_some_and(|only| i64::from(only) != source as i64 + 1) {
        return None;
    }
    let rrd: &'a Rrd<&'a [u8]> = &inheritance.sources[source].rrd;
    rrd.data_sources().enumerate().find(|(_, found)| found.name == name)
}

/// The value of the row from `start` to `end`; unknown where no more than the share `xff` of it is covered.
fn consolidate(cf: Cf, xff: f64, candidates: &[Candidate<'_>], start: i64, end: i64) -> f64 {
    let Collected { value, known } = Collected::new(cf, candidates, start, end);
    let secs = (end - start) as f64;
    let too_little = known == 0 || known as f64 <= xff * secs;
    match cf {
        _ if too_little => UNKNOWN,
        Cf::Average => value / known as f64 * secs,
        // Forecasts, too: what of them is unknown counts as zero, as in the original.
        _ => value,
    }
}

/// What the rows of candidates make of a span.
struct Collected {
    /// The smallest, largest or last value, or the sum of values, each times its share of the span.
    value: f64,
    /// Seconds of the span that are known.
    known: i64,
}

impl Collected {
    fn new(cf: Cf, candidates: &[Candidate<'_>], start: i64, end: i64) -> Self {
        let (secs, mut covered, mut known) = (end - start, Coverage::default(), 0);
        let (mut sum, mut pick) = (0.0, UNKNOWN);
        for candidate in candidates {
            if covered.secs() == secs {
                break;
            }
            let Some(part) = candidate.part(start, end) else { continue };
            let row_at = |time: i64| (time - candidate.oldest) / candidate.row_secs;
            for row in row_at(part.0)..=row_at(part.1 - 1) {
                let value = candidate.value(row);
                let row_start = candidate.oldest + row * candidate.row_secs;
                let piece = (row_start.max(part.0), (row_start + candidate.row_secs).min(part.1));
                if value.is_nan() && candidate.source.manner == Manner::Original {
                    continue;
                }
                let new = covered.add(piece.0, piece.1);
                if new == 0 || value.is_nan() {
                    continue;
                }
                known += new;
                sum += value / secs as f64 * new as f64;
                pick = match cf {
                    Cf::Min if pick <= value => pick,
                    Cf::Max if pick >= value => pick,
                    _ => value,
                };
            }
        }
        let value = if matches!(cf, Cf::Min | Cf::Max | Cf::Last) { pick } else { sum };
        Self { value, known }
    }
}

fn row_secs(definition: &Definition, pdp_per_row: u64) -> i64 {
    // The definition's check bounds the span of all rows.
    (u64::from(definition.step.secs()) * pdp_per_row) as i64
}
