//! Files that are there whole, or as they were before: after a crash at any time, a power cut, or on a full disk.
//!
//! A file grows under another name beside its own, `.NAME.tmp`, and is renamed when it is whole. One writer of a file at a
//! time: two would write into the same temporary one.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Why a file is not as it should be: what was tried, on what, and what the system said.
#[derive(Debug, thiserror::Error)]
#[error("{}: cannot {operation}: {error}", path.display())]
pub struct Error {
    /// What was tried.
    pub operation: &'static str,
    /// On what.
    pub path: PathBuf,
    /// What the system said.
    pub error: io::Error,
}

/// Puts `bytes` into the file `path`, in place of what it has, for good once this returns.
///
/// # Errors
/// The file is as it was, unless it is only its folder that cannot be synced.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    replace(path, |file| file.write_all(bytes).and_then(|()| file.sync_all()))?;
    sync_folder(folder_of(path))
}

/// The same for what a power cut may take: it waits for no disk, and the file may then be empty.
pub fn write_unsynced(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    replace(path, |file| file.write_all(bytes))
}

/// Makes what was renamed or removed in `folder` outlast a power cut.
pub fn sync_folder(folder: &Path) -> Result<(), Error> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed("write", folder))
}

/// The name of the file that a temporary one of this name was to become; `None` where it is none of ours.
pub fn is_to_be(name: &str) -> Option<&str> {
    name.strip_prefix(BEFORE).and_then(|name| name.strip_suffix(BEHIND)).filter(|name| !name.is_empty())
}

fn replace(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> Result<(), Error> {
    let temporary = temporary(path)?;
    let mut file = File::create(&temporary).map_err(failed("make", &temporary))?;
    let written = write(&mut file)
        .map_err(failed("write", &temporary))
        .and_then(|()| fs::rename(&temporary, path).map_err(failed("rename a file to", path)));
    if written.is_err() {
        // A full disk gets its room back. What stays all the same is overwritten the next time.
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// What `path` is called while it is written.
fn temporary(path: &Path) -> Result<PathBuf, Error> {
    let nameless = || failed("make", path)(io::ErrorKind::InvalidFilename.into());
    let mut name = std::ffi::OsString::from(BEFORE);
    name.push(path.file_name().ok_or_else(nameless)?);
    name.push(BEHIND);
    Ok(path.with_file_name(name))
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn failed<'a>(operation: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Error + 'a {
    move |error| Error { operation, path: path.to_owned(), error }
}

const BEFORE: &str = ".";
const BEHIND: &str = ".tmp";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temporary_names_are_known_again() {
        let temporary = temporary(Path::new("outbox/1.eml")).unwrap();
        assert_eq!(temporary, Path::new("outbox/.1.eml.tmp"));
        assert_eq!(is_to_be(".1.eml.tmp"), Some("1.eml"));
        assert_eq!([".tmp", "1.eml.tmp", ".1.eml", "..tmp"].map(is_to_be), [None; 4]);
    }
}
