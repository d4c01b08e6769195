//! New archives.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};

use crate::rrd::cdp::Cdp;
use crate::rrd::def::{ArchiveDef, Cf, DataSource, Definition, DsType, Forecast};
use crate::rrd::error::{DefinitionError, Error, Operation};
use crate::rrd::layout::{
    COOKIE, FLOAT_COOKIE, Layout, MICROSECONDS_SINCE, WORD, cdp_prep, ds_def, live_head, pdp_prep, put,
    rra_def, stat_head,
};
use crate::rrd::number::UNKNOWN;
use crate::rrd::pdp::Pdp;

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
/// blocks are allocated, so that a later update of a mapped row cannot meet a full disk. Its mode is 0644, or that of the
/// file it replaces.
pub fn create(path: &Path, definition: &Definition, overwrite: Overwrite) -> Result<(), Error> {
    let header = header(definition, path.as_os_str().as_bytes())?;
    write_new(path, overwrite, header.len() as u64 + rows_len(definition), |file| {
        write_image(file, &header, definition)
    })
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
    let mode = path.metadata().map_or(MODE, |there| there.permissions().mode() & 0o7777);
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
    temporary.file.set_permissions(Permissions::from_mode(mode)).map_err(failed(Operation::Write))?;
    temporary.persist(path, overwrite)
}

/// The bytes of a new archive; an error when they do not fit the memory.
pub fn image(definition: &Definition) -> Result<Vec<u8>, Error> {
    let mut bytes = header(definition, b"-")?;
    let len = rows_len(definition);
    let rows = usize::try_from(len).ok().filter(|len| bytes.try_reserve_exact(*len).is_ok());
    let rows = rows.ok_or(DefinitionError::TooLarge(len))? / WORD;
    bytes.extend(std::iter::repeat_n(UNKNOWN.to_le_bytes(), rows).flatten());
    Ok(bytes)
}

/// Whatever the umask says, as in the original.
const MODE: u32 = 0o644;

/// The header of a new archive. The current rows are random, as the original's are: archives of many files that are
/// updated together then do not all reach the end of a page at once.
fn header(definition: &Definition, name: &[u8]) -> Result<Vec<u8>, DefinitionError> {
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
    Ok(bytes)
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

/// The bytes of all rows; the header's check has added them up without overflow.
fn rows_len(definition: &Definition) -> u64 {
    let rows: u64 = definition.archives.iter().map(|archive| archive.rows).sum();
    rows * (definition.data_sources.len() * WORD) as u64
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

pub(super) fn put_rra(def: &mut [u8], archive: &ArchiveDef, name: &[u8]) {
    put_text(&mut def[rra_def::CF..], archive.cf.name());
    put(def, rra_def::ROWS, archive.rows.to_le_bytes());
    put(def, rra_def::PDP_PER_ROW, archive.pdp_per_row.to_le_bytes());
    match archive.forecast {
        None => put(def, rra_def::XFF, archive.xff.to_le_bytes()),
        Some(mut forecast) => {
            if let Forecast::Seasonal { smooth_index, .. } = &mut forecast {
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

fn allocate(file: &File, len: u64) -> io::Result<()> {
    let len = i64::try_from(len).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
    match fallocate(file, FallocateFlags::empty(), 0, len) {
        // Where the file system cannot allocate ahead, writing every byte, which comes next, does it.
        Ok(()) | Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

fn write_image(mut file: &File, header: &[u8], definition: &Definition) -> io::Result<()> {
    const WORDS: usize = 8192;
    file.write_all(header)?;
    let unknown = UNKNOWN.to_le_bytes().repeat(WORDS);
    let mut left = rows_len(definition);
    while left > 0 {
        let len = left.min(unknown.len() as u64);
        file.write_all(&unknown[..len as usize])?;
        left -= len;
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
