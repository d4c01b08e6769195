//! New archives.

mod beginning;
mod coverage;
mod source;

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::statvfs::fstatvfs;

use crate::rrd::cdp::Cdp;
use crate::rrd::def::{ArchiveDef, Cf, DataSource, Definition, DsType, Forecast};
use crate::rrd::error::{DefinitionError, Error, Operation};
use crate::rrd::layout::{
    COOKIE, FLOAT_COOKIE, Layout, MICROSECONDS_SINCE, WORD, cdp_prep, ds_def, live_head, pdp_prep, put,
    rra_def, stat_head, u64_at,
};
use crate::rrd::number::UNKNOWN;
use crate::rrd::pdp::Pdp;

pub use source::{Inheritance, Manner, Origin, Source};

use source::Filler;

/// What happens to a file that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overwrite {
    /// It is replaced.
    Yes,
    /// It stays, and that is an error.
    No,
}

/// Makes a new archive, all of whose rows are unknown.
///
/// It grows beside `path` under another name and is renamed when it is whole, so that nobody ever sees half of it. Its
/// blocks are allocated, so that a later update of a mapped row cannot meet a full disk. Its mode is 0644; a file that it
/// replaces leaves it mode and, where the system lets it, owner, and only goes when the new one is on the disk. A file
/// that replaces none is not synced: who must not lose it to a power cut syncs its file system, as a journal does.
pub fn create(path: &Path, definition: &Definition, overwrite: Overwrite) -> Result<(), Error> {
    create_from(path, definition, Inheritance::default(), overwrite, |_, _| {})
}

/// Makes a new archive as [`create()`] does, and takes over what others hold. `progress` is told how many bytes of how
/// many are written.
pub fn create_from(
    path: &Path,
    definition: &Definition,
    inheritance: Inheritance<'_>,
    overwrite: Overwrite,
    mut progress: impl FnMut(u64, u64),
) -> Result<(), Error> {
    let new = New::of(definition, inheritance, path.as_os_str().as_bytes())?;
    write_new(path, overwrite, new.len(), |file| new.write(&mut BufWriter::new(file), &mut progress))
}

/// Makes a file of `len` bytes, which `write` writes, beside `path`, and gives it that name when it is whole.
pub(super) fn write_new(
    path: &Path,
    overwrite: Overwrite,
    len: u64,
    write: impl FnOnce(&File) -> io::Result<()>,
) -> Result<(), Error> {
    if overwrite == Overwrite::No && path.symlink_metadata().is_ok() {
        return Err(Error::Exists { path: path.to_owned() });
    }
    let there = path.metadata().ok();
    let replaces = there.is_some();
    let temporary = Temporary::beside(path)?;
    let failed = |operation| {
        move |error: io::Error| Error::System {
            operation,
            path: path.to_owned(),
            errno: error.raw_os_error().unwrap_or(0),
        }
    };
    allocate(&temporary.file, len).map_err(failed(Operation::Allocate))?;
    write(&temporary.file).map_err(failed(Operation::Write))?;
    if let Some(there) = &there {
        // Not everybody may give files away.
        let _ = fchown(&temporary.file, Some(there.uid()), Some(there.gid()));
    }
    let mode = there.map_or(MODE, |there| there.permissions().mode() & 0o7777);
    temporary.file.set_permissions(Permissions::from_mode(mode)).map_err(failed(Operation::Write))?;
    if replaces {
        temporary.file.sync_all().map_err(failed(Operation::Write))?;
    }
    temporary.persist(path, overwrite)?;
    if replaces {
        // The file has its name by now: a folder that cannot be synced is no reason to say that it was not made.
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let _ = File::open(folder).and_then(|folder| folder.sync_all());
    }
    Ok(())
}

/// The bytes of a new archive; an error when they do not fit the memory.
pub fn image(definition: &Definition) -> Result<Vec<u8>, Error> {
    image_from(definition, Inheritance::default())
}

/// The bytes of a new archive that takes over what others hold.
pub fn image_from(definition: &Definition, inheritance: Inheritance<'_>) -> Result<Vec<u8>, Error> {
    let new = New::of(definition, inheritance, b"-")?;
    let mut bytes = Vec::new();
    let len = usize::try_from(new.len()).ok().filter(|len| bytes.try_reserve_exact(*len).is_ok());
    len.ok_or(DefinitionError::TooLarge(new.len() - new.header.len() as u64))?;
    // Writing to a Vec does not fail.
    let _ = new.write(&mut bytes, &mut |_, _| {});
    Ok(bytes)
}

/// Whatever the umask says, as in the original.
const MODE: u32 = 0o644;

/// A new archive that is about to be written.
struct New<'a> {
    definition: &'a Definition,
    header: Vec<u8>,
    layout: Layout,
    filler: Option<Filler<'a>>,
}

impl<'a> New<'a> {
    fn of(
        definition: &'a Definition,
        inheritance: Inheritance<'a>,
        name: &[u8],
    ) -> Result<Self, DefinitionError> {
        let (mut header, layout) = header(definition, inheritance.kept_archives, name)?;
        let filler = (!inheritance.sources.is_empty()).then(|| Filler::new(definition, inheritance));
        if let Some(filler) = &filler {
            filler.fill_header(&mut header, layout);
        }
        Ok(Self { definition, header, layout, filler })
    }

    fn len(&self) -> u64 {
        // The header's check has added them up without overflow.
        let rows: u64 = self.definition.archives.iter().map(|archive| archive.rows).sum();
        self.header.len() as u64 + rows * self.layout.row_len() as u64
    }

    fn write(&self, out: &mut impl Write, progress: &mut impl FnMut(u64, u64)) -> io::Result<()> {
        out.write_all(&self.header)?;
        match &self.filler {
            None => write_unknown(self.len() - self.header.len() as u64, out)?,
            Some(filler) => self.write_rows(filler, out, progress)?,
        }
        out.flush()
    }

    fn write_rows(
        &self,
        filler: &Filler<'_>,
        out: &mut impl Write,
        progress: &mut impl FnMut(u64, u64),
    ) -> io::Result<()> {
        let mut row = vec![0; self.layout.row_len()];
        let (mut written, len) = (self.header.len() as u64, self.len());
        for (rra, archive) in self.definition.archives.iter().enumerate() {
            let newest = u64_at(&self.header, self.layout.rra_ptr(rra));
            for index in 0..archive.rows {
                // The row behind the newest is the oldest.
                let age = if index <= newest { newest - index } else { newest + archive.rows - index };
                filler.fill_row(rra, age, &mut row);
                out.write_all(&row)?;
                written += row.len() as u64;
                progress(written, len);
            }
        }
        Ok(())
    }
}

/// The header of a new archive. The current rows are random, as the original's are: archives of many files that are
/// updated together then do not all reach the end of a page at once.
fn header(
    definition: &Definition,
    kept_archives: usize,
    name: &[u8],
) -> Result<(Vec<u8>, Layout), DefinitionError> {
    definition.check()?;
    let (ds_count, rra_count) = (definition.data_sources.len() as u64, definition.archives.len() as u64);
    let layout = Layout::new(ds_count, rra_count, MICROSECONDS_SINCE, isize::MAX as u64)
        .map_err(|_| DefinitionError::TooLarge(u64::MAX))?;
    check_size(definition, layout)?;
    let mut bytes = vec![0; layout.header_len()];
    bytes[..COOKIE.len()].copy_from_slice(&COOKIE);
    put_text(&mut bytes[stat_head::VERSION..], version(definition));
    put(&mut bytes, stat_head::FLOAT_COOKIE, FLOAT_COOKIE);
    put(&mut bytes, stat_head::DS_COUNT, ds_count.to_le_bytes());
    put(&mut bytes, stat_head::RRA_COUNT, rra_count.to_le_bytes());
    put(&mut bytes, stat_head::STEP, u64::from(definition.step.secs()).to_le_bytes());
    let pdp = Pdp::new(definition.start, definition.step);
    for (index, source) in definition.data_sources.iter().enumerate() {
        put_ds(&mut bytes[layout.ds_def(index)..], source);
        put_text(&mut bytes[layout.pdp_prep(index) + pdp_prep::LAST_DS..], "U");
        pdp.write(&mut bytes[layout.pdp_prep(index)..]);
    }
    let live = layout.live_head();
    put(&mut bytes, live + live_head::SECS, definition.start.secs().to_le_bytes());
    put(&mut bytes, live + live_head::MICROS, i64::from(definition.start.subsec_micros()).to_le_bytes());
    for (index, archive) in definition.archives.iter().enumerate() {
        let name = (index >= kept_archives).then_some(name);
        put_rra(&mut bytes[layout.rra_def(index)..], archive, name);
        let cdp = Cdp::new(unknown_pdps(definition, archive, &pdp));
        for ds in 0..layout.ds_count {
            let prep = &mut bytes[layout.cdp_prep(index, ds)..][..cdp_prep::LEN];
            match archive.cf {
                Cf::Failures => {}
                Cf::HwPredict | Cf::MhwPredict | Cf::Seasonal | Cf::DevSeasonal => {
                    put_state(prep, archive.cf)
                }
                _ => cdp.write(prep),
            }
        }
        put(&mut bytes, layout.rra_ptr(index), (random() % archive.rows).to_le_bytes());
    }
    Ok((bytes, layout))
}

/// The lowest version that has everything in the definition.
fn version(definition: &Definition) -> &'static str {
    let fractions = |source: &DataSource| matches!(source.ds_type, DsType::DCounter | DsType::DDerive);
    let own_window = |archive: &ArchiveDef| {
        archive.cf == Cf::MhwPredict
            || matches!(archive.forecast, Some(Forecast::Seasonal { own_window: true, .. }))
    };
    if definition.data_sources.iter().any(fractions) {
        "0005"
    } else if definition.archives.iter().any(own_window) {
        "0004"
    } else {
        "0003"
    }
}

/// Whether the sum of all rows fits a file.
fn check_size(definition: &Definition, layout: Layout) -> Result<(), DefinitionError> {
    let mut len = layout.header_len() as u64;
    for archive in &definition.archives {
        len = (layout.row_len() as u64)
            .checked_mul(archive.rows)
            .and_then(|rows| len.checked_add(rows))
            .filter(|len| isize::try_from(*len).is_ok())
            .ok_or(DefinitionError::TooLarge(u64::MAX))?;
    }
    Ok(())
}

/// The data points of the open row that lie before the start.
fn unknown_pdps(definition: &Definition, archive: &ArchiveDef, pdp: &Pdp) -> u64 {
    let step = u64::from(definition.step.secs());
    let open_since = definition.start.secs().unsigned_abs() - pdp.unknown_secs;
    open_since % (step * archive.pdp_per_row) / step
}

pub(super) fn put_ds(def: &mut [u8], source: &DataSource) {
    put_text(&mut def[ds_def::NAME..], &source.name);
    put_text(&mut def[ds_def::TYPE..], source.ds_type.name());
    if let DsType::Compute(rpn) = &source.ds_type {
        rpn.write(&mut def[ds_def::HEARTBEAT..]);
        return;
    }
    put(def, ds_def::HEARTBEAT, source.heartbeat.to_le_bytes());
    // As they are: a limit that was written "nan" keeps its sign in the original too.
    put(def, ds_def::MIN, source.min.to_le_bytes());
    put(def, ds_def::MAX, source.max.to_le_bytes());
}

/// Without a name, what is smoothed keeps the row at which it is.
pub(super) fn put_rra(def: &mut [u8], archive: &ArchiveDef, name: Option<&[u8]>) {
    put_text(&mut def[rra_def::CF..], archive.cf.name());
    put(def, rra_def::ROWS, archive.rows.to_le_bytes());
    put(def, rra_def::PDP_PER_ROW, archive.pdp_per_row.to_le_bytes());
    match archive.forecast {
        None => put(def, rra_def::XFF, archive.xff.to_le_bytes()),
        Some(mut forecast) => {
            if let (Forecast::Seasonal { smooth_index, .. }, Some(name)) = (&mut forecast, name) {
                // So that many files are not all smoothed at once.
                *smooth_index = hash(name) % archive.rows;
            }
            forecast.write(&mut def[rra_def::PARAMETERS..]);
        }
    }
}

/// The state of a forecast that knows nothing yet.
pub(super) fn put_state(prep: &mut [u8], cf: Cf) {
    let predicts = matches!(cf, Cf::HwPredict | Cf::MhwPredict);
    let (numbers, counts) = if predicts { (2..6, 6..8) } else { (2..4, 6..7) };
    numbers.for_each(|slot| put(prep, slot * WORD, UNKNOWN.to_le_bytes()));
    counts.for_each(|slot| put(prep, slot * WORD, 1_u64.to_le_bytes()));
}

/// As FNV, which has 32 bits, in 64.
fn hash(name: &[u8]) -> u64 {
    name.iter().fold(0x811c_9dc5, |hash: u64, byte| hash.wrapping_mul(0x0100_0193) ^ u64::from(*byte))
}

pub(super) fn put_text(field: &mut [u8], text: &str) {
    field[..text.len()].copy_from_slice(text.as_bytes());
}

/// The standard library seeds every map with fresh random bits; hashing nothing yields them.
pub(super) fn random() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(())
}

#[allow(clippy::unnecessary_cast)] // The types of statvfs depend on the system.
fn allocate(file: &File, len: u64) -> io::Result<()> {
    // Asked for more than there is, a file system can take all that is left before it says so, and for that moment
    // nobody else has any.
    if let Ok(free) = fstatvfs(file)
        && len > (free.blocks_free() as u64).saturating_mul(free.fragment_size() as u64)
    {
        return Err(Errno::ENOSPC.into());
    }
    match allocate_ahead(file, len) {
        // Where the file system cannot, writing every byte, which comes next, does it.
        Ok(()) | Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(target_os = "linux")]
fn allocate_ahead(file: &File, len: u64) -> nix::Result<()> {
    use nix::fcntl::{FallocateFlags, fallocate};
    let len = i64::try_from(len).map_err(|_| Errno::EFBIG)?;
    fallocate(file, FallocateFlags::empty(), 0, len)
}

#[cfg(not(target_os = "linux"))]
fn allocate_ahead(_: &File, _: u64) -> nix::Result<()> {
    Err(Errno::ENOSYS)
}

fn write_unknown(mut len: u64, out: &mut impl Write) -> io::Result<()> {
    const WORDS: usize = 8192;
    let unknown = UNKNOWN.to_le_bytes().repeat(WORDS);
    while len > 0 {
        let part = len.min(unknown.len() as u64);
        out.write_all(&unknown[..part as usize])?;
        len -= part;
    }
    Ok(())
}

/// A file that is removed again unless it gets its final name.
struct Temporary {
    file: File,
    path: Option<PathBuf>,
}

impl Temporary {
    /// A new file in the folder of `path`, named like it with six more characters.
    fn beside(path: &Path) -> Result<Self, Error> {
        const TRIES: u32 = 100;
        let mut last = io::Error::from(Errno::EEXIST);
        for _ in 0..TRIES {
            let mut name = path.as_os_str().to_owned();
            name.push(format!("{:06x}", random() & 0xff_ffff));
            match OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&name) {
                Ok(file) => return Ok(Self { file, path: Some(name.into()) }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => last = error,
                Err(error) => {
                    last = error;
                    break;
                }
            }
        }
        Err(Error::Temporary { path: path.to_owned(), errno: last.raw_os_error().unwrap_or(0) })
    }

    fn persist(mut self, path: &Path, overwrite: Overwrite) -> Result<(), Error> {
        let Some(made) = self.path.as_deref() else { return Ok(()) };
        let done = match overwrite {
            Overwrite::Yes => std::fs::rename(made, path),
            // A link, unlike a rename, never replaces what is there.
            Overwrite::No => std::fs::hard_link(made, path),
        };
        match done {
            Ok(()) => {
                if overwrite == Overwrite::Yes {
                    self.path = None;
                }
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && overwrite == Overwrite::No => {
                Err(Error::Exists { path: path.to_owned() })
            }
            Err(error) => {
                Err(Error::Rename { path: path.to_owned(), errno: error.raw_os_error().unwrap_or(0) })
            }
        }
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // Nobody is left to tell about a failure.
            let _ = std::fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests;
