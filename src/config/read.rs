//! Files, up to a bound.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::error::Error;
use super::kept::{self, Bytes, Question};
use super::origin::Origin;

/// What a file holds, and who may see it.
pub(super) struct Content {
    pub(super) bytes: Vec<u8>,
    /// True where everybody on the machine may read it.
    pub(super) world_readable: bool,
}

/// Reads the file at `path`, which `named_by` asks for; `shown` is its name for people.
pub(super) fn read(path: &Path, shown: &Path, named_by: &Origin, max: u64) -> Result<Content, Error> {
    let failed = |reason| Error::Read { named_by: named_by.clone(), path: shown.to_owned(), reason };
    // What cannot be read is asked for again: an error is nothing to keep.
    let mut why = None;
    let content = kept::asked(Question::Content, path, || {
        let read = try_read(path, max).map_err(|error| why = Some(error.kind())).ok()?;
        Some(read.map(|content| (Bytes(content.bytes), content.world_readable)))
    });
    match content {
        Some(Some((bytes, world_readable))) => Ok(Content { bytes: bytes.0, world_readable }),
        Some(None) => Err(Error::TooLong { path: shown.to_owned(), max }),
        None => Err(failed(why.unwrap_or(io::ErrorKind::NotFound))),
    }
}

/// As [`read`], for a file that may be missing.
pub(super) fn read_if_there(path: &Path, shown: &Path, max: u64) -> Result<Option<Content>, Error> {
    match read(path, shown, &Origin::Default, max) {
        Ok(content) => Ok(Some(content)),
        // A `.env` that is a folder is a Python environment; other folders are as good as missing, too.
        Err(Error::Read {
            reason: io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory,
            ..
        }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// `None` for a file over the bound.
fn try_read(path: &Path, max: u64) -> io::Result<Option<Content>> {
    let file = File::open(path)?;
    let world_readable = file.metadata()?.permissions().mode() & 0o004 != 0;
    let mut bytes = Vec::new();
    file.take(max + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= max).then_some(Content { bytes, world_readable }))
}
