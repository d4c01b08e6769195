//! The data folder: what its files are called, and that one monitor at a time records in it.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::Error;
use super::lock::{Held, NotHeld, hold};

/// Where the archive of the target called `name` lies below the data folder: its `/` make folders, as SmokePing's do.
pub fn file_name(name: &str) -> PathBuf {
    // rrdtool takes a colon in a file's name for the end of it.
    PathBuf::from(format!("{}.rrd", name.replace(':', "_")))
}

/// Where a monitor of the data folder keeps its journal.
pub(super) fn journal(data_dir: &Path) -> PathBuf {
    data_dir.join("journal")
}

/// The archive of the target called `name`.
pub fn path(data_dir: &Path, name: &str) -> PathBuf {
    data_dir.join(file_name(name))
}

/// The name of the file that a target's picture is written to: `fra_core1_graph.png`.
pub fn picture_name(name: &str) -> String {
    format!("{}_graph.png", name.replace(['/', ':'], "_"))
}

/// The names of the archives that lie in the folder itself, sorted; as many as a person may choose from.
pub fn names(data_dir: &Path) -> Result<Vec<String>, Error> {
    const MOST: usize = 10_000;
    let failed = |source| Error::Folder { dir: data_dir.to_owned(), source };
    let mut found = Vec::new();
    for entry in fs::read_dir(data_dir).map_err(failed)?.take(MOST) {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|ending| ending == "rrd")
            && let Some(stem) = path.file_stem()
        {
            found.push(stem.to_string_lossy().into_owned());
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// The process whose monitor holds the data folder, as far as the system tells; nothing is locked to find out, for that
/// could turn away a monitor that is just starting.
pub fn holder(data_dir: &Path) -> Option<u32> {
    let inode = fs::metadata(data_dir.join(Lock::NAME)).ok()?.ino();
    // `3: FLOCK  ADVISORY  WRITE 1234 08:01:5678 0 EOF`
    let locks = fs::read_to_string("/proc/locks").ok()?;
    locks.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, "FLOCK", _, "WRITE", pid, place, ..] = words[..] else { return None };
        (place.rsplit(':').next()?.parse() == Ok(inode)).then(|| pid.parse().ok()).flatten()
    })
}

/// Makes the folders above an archive.
pub(super) fn make_parent(file: &Path) -> Result<(), Error> {
    let Some(dir) = file.parent().filter(|dir| !dir.as_os_str().is_empty()) else {
        return Ok(());
    };
    fs::create_dir_all(dir).map_err(|source| Error::Folder { dir: dir.to_owned(), source })
}

/// The lock on a data folder: `latmon.lock`, which holds the process id of whoever has it. It ends with the process,
/// however that ends.
#[derive(Debug)]
pub struct Lock {
    _file: Held,
}

impl Lock {
    const NAME: &str = "latmon.lock";

    /// Whether a monitor has ever recorded in the folder.
    pub(super) fn is_in(dir: &Path) -> bool {
        dir.join(Self::NAME).is_file()
    }

    /// Locks the folder, which is made where it is missing.
    pub fn take(dir: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Folder { dir: dir.to_owned(), source };
        fs::create_dir_all(dir).map_err(failed)?;
        let file = hold(&dir.join(Self::NAME)).map_err(|error| match error {
            NotHeld::Taken(pid) => Error::Taken { dir: dir.to_owned(), pid },
            NotHeld::System(source) => failed(source),
        })?;
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_paths() {
        let dir = Path::new("/data");
        assert_eq!(path(dir, "fra/core1"), Path::new("/data/fra/core1.rrd"));
        assert_eq!(path(dir, "2001:db8::1"), Path::new("/data/2001_db8__1.rrd"));
        assert_eq!(picture_name("latency"), "latency_graph.png");
        assert_eq!(picture_name("fra/core1"), "fra_core1_graph.png");
    }

    #[test]
    fn a_folder_has_one_monitor_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let first = Lock::take(dir.path()).unwrap();
        assert_eq!(holder(dir.path()), Some(std::process::id()));
        let error = Lock::take(dir.path()).expect_err("taken").to_string();
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
        drop(first);
        assert_eq!(holder(dir.path()), None);
        Lock::take(dir.path()).expect("free again");
    }
}
