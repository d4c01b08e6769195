//! Full disks, read-only and vanished files, files cut short while they are in memory, files of many gigabytes: a clear
//! error each, nothing lost, and nothing dies. Needs root (it mounts small file systems of its own) and rrdtool.
#![allow(clippy::unwrap_used)] // A helper that fails, fails its test.
#![allow(unsafe_code, reason = "a map of a file, to fault in it on purpose")]

mod support {
    pub(crate) mod rrdtool;
}

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use latmon::rrd::{self, Access, Cf, Definition, Error, Overwrite, Set, UpdateOptions};
use latmon::time::{Step, UnixTime};
use nix::mount::{MsFlags, mount, umount};
use nix::sched::{CloneFlags, unshare};

use support::rrdtool::{Random, Rrdtool, cases, latmon, seed};

const START: i64 = 1_700_000_000;
const STEP: i64 = 10;
const PAGE: u64 = 4096;

/// A header of less than a page, and rows on many.
fn definition() -> Definition {
    Definition {
        step: Step::new(10).unwrap(),
        start: UnixTime::from_secs(START),
        data_sources: vec!["DS:a:GAUGE:120:0:U".parse().unwrap(), "DS:b:GAUGE:120:U:U".parse().unwrap()],
        archives: vec!["RRA:AVERAGE:0.5:1:2000".parse().unwrap(), "RRA:MAX:0.5:6:700".parse().unwrap()],
    }
}

fn archive(folder: &Path, name: &str) -> PathBuf {
    let path = folder.join(name);
    rrd::create(&path, &definition(), Overwrite::Yes).unwrap();
    path
}

fn options<'a>() -> UpdateOptions<'a> {
    UpdateOptions::new(UnixTime::from_secs(START))
}

fn argument(number: i64) -> String {
    format!("{}:{number}:{}", START + STEP * number, number * 2)
}

fn last(path: &Path) -> i64 {
    let mut file = rrd::File::open(path, Access::Read).unwrap();
    file.view().unwrap().last_update().secs()
}

fn set_len(path: &Path, len: u64) {
    OpenOptions::new().write(true).open(path).unwrap().set_len(len).unwrap();
}

/// An argument that cuts a file short when it is read: after the look at the file's length, before the storing.
struct Scissors<'a> {
    text: String,
    path: &'a Path,
    len: Option<u64>,
}

impl AsRef<[u8]> for Scissors<'_> {
    fn as_ref(&self) -> &[u8] {
        if let Some(len) = self.len {
            set_len(self.path, len);
        }
        self.text.as_bytes()
    }
}

/// So many updates that rows on several pages change, and the file is cut to `len` amid them.
fn cut_amid(path: &Path, len: u64) -> Vec<Scissors<'_>> {
    let cut = |number| (number == 700).then_some(len);
    (1..1500).map(|number| Scissors { text: argument(number), path, len: cut(number) }).collect()
}

#[test]
fn a_file_cut_short_while_it_is_read_is_an_error_and_kills_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let other = archive(folder.path(), "other.rrd");
    let mut well = rrd::File::open(&other, Access::Write).unwrap();
    for (number, left) in [0, PAGE, 5 * PAGE].into_iter().enumerate() {
        let path = archive(folder.path(), "f.rrd");
        let mut file = rrd::File::open(&path, Access::Read).unwrap();
        let view = file.view().unwrap();
        set_len(&path, left);
        let (start, end) = (UnixTime::from_secs(START - STEP * 1999), UnixTime::from_secs(START));
        // Whatever it reads, it reads to the end.
        if let Ok(fetched) = view.fetch(Cf::Average, start, end, 10) {
            assert!(fetched.rows().flat_map(|(_, row)| row.values()).count() > 1000);
        }
        let torn = Error::Torn { path: path.clone() };
        assert_eq!(view.finish().unwrap_err(), torn);
        assert_eq!(file.view().map(drop).unwrap_err(), torn);
        // Others go on, and so does this one when it is whole again.
        well.update_text(&[argument(1 + number as i64)], UnixTime::from_secs(START)).unwrap();
        archive(folder.path(), "f.rrd");
        rrd::File::open(&path, Access::Read).unwrap().view().unwrap().finish().unwrap();
    }
}

#[test]
fn a_file_cut_short_while_it_is_updated_is_an_error_and_kills_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let other = archive(folder.path(), "other.rrd");
    let mut set = Set::new();
    for (number, left) in [0, PAGE, 5 * PAGE].into_iter().enumerate() {
        let path = archive(folder.path(), "f.rrd");
        let torn = Error::Torn { path: path.clone() };
        let mut file = rrd::File::open(&path, Access::Write).unwrap();
        assert_eq!(file.update_text(&cut_amid(&path, left), UnixTime::from_secs(START)).unwrap_err(), torn);
        let path = archive(folder.path(), "f.rrd");
        // Opened anew, and kept open.
        for _ in 0..2 {
            let none: [&[u8]; 0] = [];
            set.update(&path, &options(), &none).unwrap();
        }
        assert_eq!(set.update(&path, &options(), &cut_amid(&path, left)).unwrap_err(), torn);
        set.update(&other, &options(), &[argument(1 + number as i64)]).unwrap();
        let path = archive(folder.path(), "f.rrd");
        set.update(&path, &options(), &[argument(1)]).unwrap();
        set.release();
        assert_eq!((last(&path), last(&other)), (START + STEP, START + STEP * (1 + number as i64)));
    }
}

/// The same without a plan: a file that becomes shorter and longer all the time.
#[test]
fn a_file_that_is_cut_all_the_time_kills_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let path = archive(folder.path(), "f.rrd");
    let whole = fs::read(&path).unwrap();
    let mut random = Random::new(seed(), 0);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let file = OpenOptions::new().write(true).open(&path).unwrap();
            while !over.load(Ordering::Relaxed) {
                file.set_len(random.below(whole.len() as u64)).unwrap();
                std::thread::yield_now();
                file.write_all_at(&whole, 0).unwrap();
                std::thread::yield_now();
            }
        });
        let mut outcomes = [0, 0];
        for number in 1..=cases(2000) {
            let read = || -> Result<(), Error> {
                let mut file = rrd::File::open(&path, Access::Write)?;
                let view = file.view()?;
                let (start, end) = (UnixTime::from_secs(START - STEP * 1999), UnixTime::from_secs(START));
                if let Ok(fetched) = view.fetch(Cf::Average, start, end, 10) {
                    fetched.rows().flat_map(|(_, row)| row.values()).count();
                }
                view.finish()?;
                file.update_text(&[argument(number as i64)], end)
            };
            outcomes[usize::from(read().is_err())] += 1;
        }
        over.store(true, Ordering::Relaxed);
        println!("{outcomes:?} went well and failed");
    });
}

/// Who maps other files, and faults in them, is ended as without us.
#[test]
fn a_fault_in_a_map_of_somebody_else_still_ends_the_process() {
    const CHILD: &str = "LATMON_TEST_FAULT";
    let folder = tempfile::tempdir().unwrap();
    if std::env::var_os(CHILD).is_none() {
        let name = "a_fault_in_a_map_of_somebody_else_still_ends_the_process";
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--test-threads=1"])
            .env(CHILD, "1")
            .status()
            .unwrap();
        assert_eq!(status.signal(), Some(libc::SIGBUS), "{status}");
        return;
    }
    nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_CORE, 0, 0).unwrap();
    let path = archive(folder.path(), "f.rrd");
    let mut file = rrd::File::open(&path, Access::Read).unwrap();
    file.view().unwrap().finish().unwrap();
    let other = folder.path().join("other");
    fs::write(&other, [1; 8192]).unwrap();
    let map = OpenOptions::new().read(true).open(&other).unwrap();
    // SAFETY: nothing is relied on: touching it is to end this process.
    let map = unsafe { memmap2::Mmap::map(&map) }.unwrap();
    set_len(&other, 0);
    assert_eq!(std::hint::black_box(&map)[5000], 1, "this is not reached");
}

/// A small file system of its own, seen by this thread and its children only.
fn with_disk(size: &str, work: impl FnOnce(&Path) + Send) {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNS).unwrap_or_else(|errno| {
                panic!("cannot make a mount namespace ({errno}): run this test as root, with CAP_SYS_ADMIN")
            });
            let none: Option<&str> = None;
            mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
            let size = format!("size={size}");
            mount(Some("tmpfs"), place, Some("tmpfs"), MsFlags::empty(), Some(size.as_str())).unwrap();
            work(place);
            umount(place).unwrap();
        });
    });
}

/// Writes until the disk is full, and returns the file that fills it.
fn fill(disk: &Path) -> PathBuf {
    let path = disk.join("filler");
    let file = fs::File::create(&path).unwrap();
    let mut at = 0;
    while file.write_all_at(&[1; PAGE as usize], at).is_ok() {
        at += PAGE;
    }
    path
}

#[test]
fn a_full_disk_is_told_and_loses_nothing() {
    with_disk("256k", |disk| {
        let filler = fill(disk);
        let error = rrd::create(&disk.join("new.rrd"), &definition(), Overwrite::Yes).unwrap_err();
        assert!(error.to_string().contains("No space left on device"), "{error}");
        assert_eq!(fs::read_dir(disk).unwrap().count(), 1, "something was left beside it");
        fs::remove_file(filler).unwrap();
        for way in [update_once, update_kept, update_by_pipe] {
            // Allocated when it was made: a full disk is nothing to it.
            let (path, twin) = (archive(disk, "f.rrd"), archive(disk, "twin.rrd"));
            let filler = fill(disk);
            way(&path, 1).unwrap();
            assert_eq!(last(&path), START + STEP);
            fs::remove_file(filler).unwrap();
            // With a hole where its rows are, as a copy can have: the update fails, and is not in the file.
            update_once(&twin, 1).unwrap();
            let bytes = fs::read(&twin).unwrap();
            punch_hole(&path, PAGE, bytes.len() as u64 - PAGE);
            let filler = fill(disk);
            let mut failed = 0;
            for number in 2..300 {
                let before = last(&path);
                if let Err(text) = way(&path, number) {
                    failed += 1;
                    assert!(
                        text.contains("No space left on device") || text.contains("its disk is full"),
                        "{text}"
                    );
                    assert_eq!(last(&path), before, "the header tells of an update that failed");
                }
            }
            assert!(failed > 0);
            // Room again: the next update is in it.
            fs::remove_file(filler).unwrap();
            way(&path, 300).unwrap();
            assert_eq!(last(&path), START + STEP * 300);
        }
    });
}

fn update_once(path: &Path, number: i64) -> Result<(), String> {
    rrd::update(path, &options(), &[argument(number)]).map_err(|error| error.to_string())
}

fn update_kept(path: &Path, number: i64) -> Result<(), String> {
    let mut file = rrd::File::open(path, Access::Write).map_err(|error| error.to_string())?;
    file.update_text(&[argument(number)], UnixTime::from_secs(START)).map_err(|error| error.to_string())
}

fn update_by_pipe(path: &Path, number: i64) -> Result<(), String> {
    let (folder, name) = (path.parent().unwrap(), path.file_name().unwrap().to_str().unwrap());
    let mut pipe = Rrdtool::start_latmon(folder);
    // The second time it is kept open.
    let too_early = pipe.run(&["update", name, "1:1:2"]);
    assert!(too_early.is_err_and(|text| text.contains("illegal attempt")));
    pipe.run(&["update", name, &argument(number)]).map(drop)
}

fn punch_hole(path: &Path, offset: u64, len: u64) {
    use nix::fcntl::{FallocateFlags, fallocate};
    let file = OpenOptions::new().write(true).open(path).unwrap();
    let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    fallocate(&file, flags, offset as i64, len as i64).unwrap();
}

#[test]
fn a_disk_that_is_read_only_is_told_and_can_be_read() {
    with_disk("1m", |disk| {
        let path = archive(disk, "f.rrd");
        let none: Option<&str> = None;
        mount(none, disk, none, MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY, none).unwrap();
        let told = format!("opening '{}': Read-only file system", path.display());
        for way in [update_once, update_kept] {
            assert_eq!(way(&path, 1), Err(told.clone()));
        }
        let mut sides = [Rrdtool::start(disk), Rrdtool::start_latmon(disk)];
        for words in
            [&["update", "f.rrd", "1700000010:1:2"][..], &["tune", "f.rrd", "-h", "a:5"], &["last", "f.rrd"]]
        {
            let [theirs, ours] = sides.each_mut().map(|side| side.run(words));
            assert_eq!(ours, theirs, "{words:?}");
            // The second time it would be kept open.
            assert_eq!(sides[1].run(words), theirs, "{words:?}");
        }
    });
}

#[test]
fn a_folder_in_its_place_is_told_as_rrdtool_tells_it() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("f.rrd")).unwrap();
    let mut sides = [Rrdtool::start(folder.path()), Rrdtool::start_latmon(folder.path())];
    for words in [&["update", "f.rrd", "1700000010:1:2"][..], &["last", "f.rrd"], &["info", "f.rrd"]] {
        let theirs = sides[0].run(words);
        assert!(theirs.is_err());
        for _ in 0..2 {
            assert_eq!(sides[1].run(words), theirs, "{words:?}");
        }
    }
}

/// Between the lines of a pipe another program may do what it likes with the file.
#[test]
fn a_file_replaced_or_cut_between_the_lines_of_a_pipe_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let path = archive(folder.path(), "f.rrd");
    let mut ours = Rrdtool::start_latmon(folder.path());
    let mut update = |number| ours.run(&["update", "f.rrd", &argument(number)]).map(drop);
    for number in 1..4 {
        update(number).unwrap();
    }
    let whole = fs::read(&path).unwrap();
    let other = archive(folder.path(), "other.rrd");
    fs::rename(&other, &path).unwrap();
    update(1).unwrap();
    assert_eq!(last(&path), START + STEP);
    set_len(&path, 2 * PAGE);
    let error = update(5).unwrap_err();
    assert!(error.contains("f.rrd"), "{error}");
    fs::remove_file(&path).unwrap();
    assert_eq!(update(5), Err("opening 'f.rrd': No such file or directory".to_owned()));
    fs::write(&path, &whole).unwrap();
    update(5).unwrap();
    assert_eq!(last(&path), START + STEP * 5);
    // Written over in its place, in the same size.
    fs::write(&path, &whole).unwrap();
    update(4).unwrap();
    assert_eq!(last(&path), START + STEP * 4);
}

/// Only what is touched is read into memory.
#[test]
fn a_file_of_ten_gigabytes_takes_little_memory() {
    ten_gigabytes_under(&[]);
    ten_gigabytes_under(&["--journal", "journal"]);
}

fn ten_gigabytes_under(words: &[&str]) {
    const LEN: u64 = 10 << 30;
    const RRA_DEF: u64 = 128 + 2 * 120;
    let folder = tempfile::tempdir().unwrap();
    let small = Definition { archives: vec!["RRA:AVERAGE:0.5:1:1".parse().unwrap()], ..definition() };
    let mut bytes = rrd::image(&small).unwrap();
    let header = bytes.len() as u64 - 16;
    let rows = (LEN - header) / 16;
    bytes[RRA_DEF as usize + 24..][..8].copy_from_slice(&rows.to_le_bytes());
    let path = folder.path().join("f.rrd");
    fs::write(&path, &bytes).unwrap();
    set_len(&path, header + rows * 16);
    let script: Vec<String> = (1..50)
        .map(|number| format!("update f.rrd {}", argument(number)))
        .chain(["last f.rrd".into(), "info f.rrd".into()])
        .chain([format!("fetch f.rrd AVERAGE -s {START} -e {}", START + STEP * 48)])
        .collect();
    let mut ours = Rrdtool::start_latmon_with(folder.path(), words);
    let mut answers = Vec::new();
    for line in &script {
        answers.push(ours.run(&line.split(' ').collect::<Vec<_>>()).unwrap());
    }
    let status = fs::read_to_string(format!("/proc/{}/status", ours.id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak < 64 << 10, "{words:?}: {peak} kB");
    assert_eq!(answers[49], format!("{}\n", START + STEP * 49).into_bytes());
    let fetched = String::from_utf8(answers.pop().unwrap()).unwrap();
    assert!(fetched.contains("1700000200: 2.0000000000e+01 4.0000000000e+01\n"), "{fetched}");
    // What is stored is what the original would store, and it takes a few pages of the disk.
    let ours = latmon(folder.path(), &["lastupdate", "f.rrd"]);
    assert_eq!(ours, Rrdtool::start(folder.path()).run(&["lastupdate", "f.rrd"]));
    // How many they are depends on the file system; none of it has ten megabytes of them.
    assert!(fs::metadata(&path).unwrap().blocks() < 20_000);
}
