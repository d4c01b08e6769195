//! Many archives, kept open and mapped as far as the system allows.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::num::NonZeroUsize;
use std::path::Path;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::rrd::error::Error;
use crate::rrd::map::lock::Wait;
use crate::rrd::map::once::{UpdateOptions, update_by};
use crate::rrd::map::{Access, File};
use crate::rrd::update::Updater;

/// Archives that are updated again and again. Those used last are kept open and mapped, up to a bound; a file that was
/// replaced or cut short behind its back is opened anew.
///
/// [`Set::update`] keeps the lock of the file, so that the next update of it costs no look at the file. Nobody else can
/// read or update it meanwhile: call [`Set::release`] before anything that may take its time.
#[derive(Debug)]
pub struct Set {
    bound: NonZeroUsize,
    files: HashMap<OsString, Kept>,
    /// The names of the files whose lock is kept; some may have been closed since.
    held: Vec<OsString>,
    /// Names of files that were updated once, and not kept open for it: a map pays from the second update on.
    seen: HashSet<OsString>,
    uses: u64,
    updater: Updater,
}

#[derive(Debug)]
struct Kept {
    file: File,
    /// The larger, the later it was used.
    used: u64,
}

/// What one call of [`Set::update_many`] does to one file.
#[derive(Clone, Copy, Debug)]
pub struct FileUpdate<'a, A> {
    /// The file.
    pub path: &'a Path,
    /// What `rrdtool update` may be told besides.
    pub options: UpdateOptions<'a>,
    /// Its arguments, `TIME:value:..`.
    pub arguments: &'a [A],
}

impl Default for Set {
    fn default() -> Self {
        Self::new()
    }
}

impl Set {
    /// A set that keeps half as many files open as the process may have descriptors and maps. The limit of descriptors
    /// is raised as far as an ordinary process may.
    pub fn new() -> Self {
        Self::with_bound(system_bound())
    }

    /// A set that keeps at most so many files open.
    pub fn with_bound(bound: NonZeroUsize) -> Self {
        Self {
            bound,
            files: HashMap::new(),
            held: Vec::new(),
            seen: HashSet::new(),
            uses: 0,
            updater: Updater::default(),
        }
    }

    /// How many files are open.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether no file is open.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Updates a file as [`crate::rrd::update()`] does, and keeps its lock.
    pub fn update<A: AsRef<[u8]>>(
        &mut self,
        path: &Path,
        options: &UpdateOptions<'_>,
        arguments: &[A],
    ) -> Result<(), Error> {
        let name = path.as_os_str();
        let outcome = match self.files.get_mut(name).filter(|kept| kept.file.is_held()) {
            Some(kept) => {
                self.uses += 1;
                kept.used = self.uses;
                kept.file.update_as(options, arguments)
            }
            None => self.locking(|set, wait| {
                if set.is_first_use(name) {
                    return update_by(&mut set.updater, path, options, arguments, wait, |_| {});
                }
                set.hold(path, wait)?.update_as(options, arguments)
            }),
        };
        if matches!(outcome, Err(Error::Torn { .. })) {
            self.close(path);
        }
        outcome
    }

    /// Updates many files, and gives all locks back. What went wrong with one stops no other.
    pub fn update_many<'a, A: AsRef<[u8]> + 'a>(
        &mut self,
        updates: impl IntoIterator<Item = FileUpdate<'a, A>>,
    ) -> Vec<Result<(), Error>> {
        let outcomes = updates
            .into_iter()
            .map(|update| self.update(update.path, &update.options, update.arguments))
            .collect();
        self.release();
        outcomes
    }

    /// The file, open for updates. Its own operations take its lock and give it back; when one of them says that the file
    /// is not what was opened, [`Set::close`] it and ask again.
    pub fn file(&mut self, path: &Path) -> Result<&mut File, Error> {
        self.locking(|set, wait| set.open(path, wait))?;
        let kept = self.files.get_mut(path.as_os_str()).expect("it was opened, and nothing closed it since");
        kept.file.let_go();
        Ok(&mut kept.file)
    }

    /// Takes a file out, open for updates. Whoever took it gives it back by [`Set::put`].
    pub fn take(&mut self, path: &Path) -> Result<File, Error> {
        self.file(path)?;
        Ok(self.files.remove(path.as_os_str()).expect("it was just asked for").file)
    }

    /// Keeps a file that was taken.
    pub fn put(&mut self, file: File) {
        self.make_room();
        self.uses += 1;
        self.files.insert(file.path().as_os_str().to_owned(), Kept { file, used: self.uses });
    }

    /// Gives back every lock. The files stay open.
    pub fn release(&mut self) {
        for name in self.held.drain(..) {
            if let Some(kept) = self.files.get_mut(&name) {
                kept.file.let_go();
            }
        }
    }

    /// Closes a file.
    pub fn close(&mut self, path: &Path) {
        self.files.remove(path.as_os_str());
    }

    /// Does what needs a lock. Where that is taken, all of our own are given back before it is waited for: one of them may
    /// be what is in the way, as a file can have two names, or what its owner waits for.
    fn locking<T>(&mut self, work: impl Fn(&mut Self, Wait) -> Result<T, Error>) -> Result<T, Error> {
        if !self.held.is_empty() {
            match work(self, Wait::No) {
                Err(Error::Locked { .. }) => self.release(),
                done => return done,
            }
        }
        work(self, Wait::Moment)
    }

    fn is_first_use(&mut self, name: &OsStr) -> bool {
        if self.files.contains_key(name) || self.seen.contains(name) {
            return false;
        }
        // Who walks through more files than can be kept would close each before it comes again.
        if self.seen.len() >= self.bound.get() {
            self.seen.clear();
        }
        self.seen.insert(name.to_owned())
    }

    /// The file under its lock, which is kept.
    fn hold(&mut self, path: &Path, wait: Wait) -> Result<&mut File, Error> {
        let name = path.as_os_str();
        self.open(path, wait)?;
        let file = |set: &mut Self| -> Result<bool, Error> {
            let kept = set.files.get_mut(name).expect("it was opened");
            let is_new = !kept.file.is_held();
            kept.file.hold(wait).map(|_| is_new)
        };
        let is_new = match file(self) {
            Err(Error::Replaced { .. } | Error::Resized { .. } | Error::Torn { .. }) => {
                self.close(path);
                self.open(path, wait)?;
                file(self)?
            }
            done => done?,
        };
        if is_new {
            self.held.push(name.to_owned());
        }
        Ok(&mut self.files.get_mut(name).expect("it was opened").file)
    }

    fn open(&mut self, path: &Path, wait: Wait) -> Result<(), Error> {
        self.uses += 1;
        if let Some(kept) = self.files.get_mut(path.as_os_str()) {
            kept.used = self.uses;
            return Ok(());
        }
        self.make_room();
        let file = File::open_within(path, Access::Write, wait)?;
        self.seen.remove(path.as_os_str());
        self.files.insert(path.as_os_str().to_owned(), Kept { file, used: self.uses });
        Ok(())
    }

    /// Closes the eighth that was not used for the longest time, when no more files may be open.
    fn make_room(&mut self) {
        if self.files.len() < self.bound.get() {
            return;
        }
        let mut uses: Vec<u64> = self.files.values().map(|kept| kept.used).collect();
        let last = uses.len() / 8;
        let (_, last, _) = uses.select_nth_unstable(last);
        let last = *last;
        self.files.retain(|_, kept| kept.used > last);
    }
}

#[allow(clippy::unnecessary_cast)] // The type of limits depends on the system.
fn system_bound() -> NonZeroUsize {
    /// What the kernel allows unless somebody set something else.
    const MAPS: u64 = 65_530;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((1024, 1024));
    // Apple's hard limit may be none, and its kernel takes no more than this.
    let most = if cfg!(target_vendor = "apple") { hard.min(10_240) } else { hard };
    let descriptors = match setrlimit(Resource::RLIMIT_NOFILE, most, hard) {
        Ok(()) => most,
        Err(_) => soft,
    };
    let maps = std::fs::read_to_string("/proc/sys/vm/max_map_count")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(MAPS);
    let half = usize::try_from((descriptors as u64).min(maps) / 2).unwrap_or(usize::MAX);
    NonZeroUsize::new(half).unwrap_or(NonZeroUsize::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rrd::{Definition, Overwrite, create};
    use crate::time::{Step, UnixTime};

    const START: i64 = 1_700_000_040;

    fn make(path: &Path) {
        let definition = Definition {
            step: Step::new(60).unwrap(),
            start: UnixTime::from_secs(START),
            data_sources: vec!["DS:a:GAUGE:120:0:U".parse().unwrap()],
            archives: vec!["RRA:LAST:0.5:1:10".parse().unwrap()],
        };
        create(path, &definition, Overwrite::Yes).unwrap();
    }

    fn update(set: &mut Set, path: &Path, minute: i64) -> Result<(), Error> {
        let options = UpdateOptions { template: None, skip_past: false, now: UnixTime::from_secs(START) };
        set.update(path, &options, &[format!("{}:{minute}", START + 60 * minute)])
    }

    #[test]
    fn the_files_used_last_stay_open() {
        let folder = tempfile::tempdir().unwrap();
        let paths: Vec<_> = (0..20).map(|number| folder.path().join(format!("{number}.rrd"))).collect();
        let mut set = Set::with_bound(NonZeroUsize::new(8).unwrap());
        for path in &paths {
            make(path);
            for minute in 1..4 {
                // A map pays from the second time on.
                update(&mut set, path, minute).unwrap();
                assert_eq!(set.files.contains_key(path.as_os_str()), minute > 1);
            }
            update(&mut set, &paths[0], 1).unwrap_err();
            assert!(set.len() <= 8);
            assert!(set.files.contains_key(paths[0].as_os_str()), "{path:?}");
        }
        set.release();
        for path in &paths {
            let mut file = File::open(path, Access::Read).unwrap();
            assert_eq!(file.view().unwrap().last_update().secs(), START + 180);
        }
    }

    /// A walk through more files than may be open must not open and close a map for each.
    #[test]
    fn a_walk_through_too_many_files_keeps_none() {
        let folder = tempfile::tempdir().unwrap();
        let paths: Vec<_> = (0..9).map(|number| folder.path().join(format!("{number}.rrd"))).collect();
        paths.iter().for_each(|path| make(path));
        let mut set = Set::with_bound(NonZeroUsize::new(4).unwrap());
        for minute in 1..5 {
            for path in &paths {
                update(&mut set, path, minute).unwrap();
            }
        }
        assert!(set.is_empty());
    }

    #[test]
    fn a_file_that_was_replaced_or_cut_short_is_opened_anew() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("f.rrd"), folder.path().join("other.rrd"));
        make(&path);
        let mut set = Set::new();
        for minute in 1..4 {
            update(&mut set, &path, minute).unwrap();
        }
        set.release();
        make(&other);
        std::fs::rename(&other, &path).unwrap();
        update(&mut set, &path, 1).unwrap();
        set.release();
        std::fs::File::options().write(true).open(&path).unwrap().set_len(600).unwrap();
        let error = update(&mut set, &path, 2).unwrap_err();
        assert!(matches!(error, Error::Fault { .. }), "{error}");
        std::fs::remove_file(&path).unwrap();
        let error = update(&mut set, &path, 2).unwrap_err();
        assert!(error.to_string().ends_with("No such file or directory"), "{error}");
        make(&path);
        update(&mut set, &path, 1).unwrap();
    }

    /// A write to a map alone is noted only now and then.
    #[test]
    fn every_update_is_seen_in_the_time_of_the_last_change() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f.rrd");
        make(&path);
        let mut set = Set::new();
        for minute in 1..6 {
            let long_ago = std::time::UNIX_EPOCH;
            std::fs::File::options().write(true).open(&path).unwrap().set_modified(long_ago).unwrap();
            update(&mut set, &path, minute).unwrap();
            set.release();
            assert!(path.metadata().unwrap().modified().unwrap() > long_ago, "{minute}");
        }
    }

    /// A second name is another open file, which our own lock would keep out.
    #[test]
    fn a_file_of_two_names_waits_for_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("f.rrd"), folder.path().join("link.rrd"));
        make(&path);
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let mut set = Set::new();
        for minute in 0..10 {
            let name = if minute % 3 == 0 { &link } else { &path };
            update(&mut set, name, 2 * minute + 1).unwrap();
            update(&mut set, &path, 2 * minute + 2).unwrap();
        }
        assert_eq!(set.len(), 2);
        set.release();
        assert_eq!(set.file(&link).unwrap().view().unwrap().last_update().secs(), START + 20 * 60);
    }
}
