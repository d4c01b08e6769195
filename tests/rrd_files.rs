//! Damaged, missing, locked and vanished files: a clear error, no panic, and nothing written.
#![allow(clippy::unwrap_used)] // A helper that fails, fails its test.

mod support {
    pub(crate) mod rrdtool;
}

use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

use latmon::rrd::{self, Access, Definition, Error, Fault, Overwrite, Rrd, UpdateOptions};
use latmon::time::{Step, UnixTime};
use nix::fcntl::{FcntlArg, fcntl};

const START: i64 = 1_700_000_000;

fn definition() -> Definition {
    Definition {
        step: Step::new(10).unwrap(),
        start: UnixTime::from_secs(START),
        data_sources: vec!["DS:a:GAUGE:120:0:U".parse().unwrap(), "DS:b:COUNTER:120:U:U".parse().unwrap()],
        archives: vec!["RRA:AVERAGE:0.5:1:5".parse().unwrap(), "RRA:MAX:0.5:6:4".parse().unwrap()],
    }
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn archive(&self) -> PathBuf {
        let path = self.path("f.rrd");
        rrd::create(&path, &definition(), Overwrite::Yes).unwrap();
        path
    }

    fn file(&self, bytes: &[u8]) -> PathBuf {
        let path = self.path("damaged.rrd");
        fs::write(&path, bytes).unwrap();
        path
    }
}

fn update(path: &Path) -> Result<(), Error> {
    let options = UpdateOptions::new(UnixTime::from_secs(START));
    rrd::update(path, &options, &[format!("{}:1:2", START + 10)])
}

/// Both ways to a file, and the view over its bytes, refuse it with the same fault, and leave it as it is.
fn refused(folder: &Folder, bytes: &[u8]) -> String {
    let path = folder.file(bytes);
    let opened = rrd::File::open(&path, Access::Write).map(drop).unwrap_err();
    assert_eq!(update(&path).unwrap_err(), opened);
    if let Error::Fault { fault, .. } = &opened {
        assert_eq!(Rrd::new_checked(bytes).map(drop).unwrap_err(), *fault);
    } else {
        assert!(bytes.is_empty(), "{opened}");
    }
    assert!(fs::read(&path).unwrap() == bytes, "{opened}: and yet it was written to");
    opened.to_string().replace(path.to_str().unwrap(), "F")
}

fn word(bytes: &mut [u8], at: usize, value: u64) {
    bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

/// Offsets in a file of two sources and two archives.
const DS_DEFS: usize = 128;
const RRA_DEFS: usize = DS_DEFS + 2 * 120;
const LIVE_HEAD: usize = RRA_DEFS + 2 * 120;
const PDP_PREPS: usize = LIVE_HEAD + 16;
const CDP_PREPS: usize = PDP_PREPS + 2 * 112;
const RRA_PTRS: usize = CDP_PREPS + 4 * 80;
const ROWS: usize = RRA_PTRS + 2 * 8;

#[test]
fn a_file_cut_short_anywhere_is_refused_with_the_section_that_broke() {
    let folder = Folder::new();
    let whole = fs::read(folder.archive()).unwrap();
    assert_eq!(whole.len(), ROWS + 9 * 16);
    let sections = [
        (DS_DEFS, "stat_head"),
        (RRA_DEFS, "ds_def"),
        (LIVE_HEAD, "rra_def"),
        (PDP_PREPS, "live_head"),
        (CDP_PREPS, "pdp_prep"),
        (RRA_PTRS, "cdp_prep"),
        (ROWS, "rra_ptr"),
    ];
    for len in 1..whole.len() {
        let expected = match sections.iter().find(|(end, _)| len < *end) {
            Some((_, section)) => format!("reached EOF while loading header rrd->{section}"),
            None => format!("'F' is too small (should be {} bytes)", whole.len()),
        };
        assert_eq!(refused(&folder, &whole[..len]), expected, "{len} bytes");
    }
    assert_eq!(refused(&folder, b""), "mmaping file 'F': Invalid argument");
}

#[test]
fn a_damaged_header_is_refused() {
    let folder = Folder::new();
    let whole = fs::read(folder.archive()).unwrap();
    let damaged = |at: usize, value: u64| {
        let mut bytes = whole.clone();
        word(&mut bytes, at, value);
        refused(&folder, &bytes)
    };
    let long = 1 << 60;
    assert_eq!(damaged(0, 0), "'F' is not an RRD file");
    assert_eq!(damaged(16, 0), "This RRD was created on another architecture");
    assert_eq!(damaged(24, 3), "reached EOF while loading header rrd->cdp_prep");
    assert_eq!(
        damaged(24, long),
        "'F' is damaged: 1152921504606846976 data sources and 2 archives fit no file"
    );
    assert_eq!(
        damaged(32, long),
        "'F' is damaged: 2 data sources and 1152921504606846976 archives fit no file"
    );
    assert_eq!(
        damaged(24, u64::MAX),
        format!("'F' is damaged: {} data sources and 2 archives fit no file", u64::MAX)
    );
    assert_eq!(damaged(24, 0), "'F' is damaged: 0 data sources and 2 archives fit no file");
    assert_eq!(damaged(40, 0), "'F' is damaged: its step is 0 seconds");
    assert_eq!(damaged(40, long), format!("'F' is damaged: its step is {long} seconds"));
    let (rows, steps) = (RRA_DEFS + 120 + 24, RRA_DEFS + 120 + 32);
    assert_eq!(damaged(rows, 0), "'F' is damaged: archive 1 has 0 rows of 6 data points each");
    assert_eq!(
        damaged(rows, long),
        format!("'F' is damaged: archive 1 has {long} rows of 6 data points each")
    );
    assert_eq!(
        damaged(rows, 1 << 30),
        format!("'F' is too small (should be {} bytes)", ROWS + 5 * 16 + (16 << 30))
    );
    assert_eq!(damaged(steps, 0), "'F' is damaged: archive 1 has 4 rows of 0 data points each");
    assert_eq!(
        damaged(steps, long),
        format!("'F' is damaged: archive 1 has 4 rows of {long} data points each")
    );
    assert_eq!(
        damaged(RRA_PTRS + 8, 4),
        "'F' is damaged: the current row of archive 1 is 4, and it has 4 rows"
    );
    assert_eq!(
        damaged(RRA_PTRS, u64::MAX),
        format!("'F' is damaged: the current row of archive 0 is {}, and it has 5 rows", u64::MAX)
    );
    assert_eq!(
        damaged(LIVE_HEAD, u64::MAX),
        "'F' is damaged: its last update is -1 seconds and 0 microseconds"
    );
    assert_eq!(
        damaged(LIVE_HEAD + 8, 1_000_000),
        "'F' is damaged: its last update is 1700000000 seconds and 1000000 microseconds"
    );
}

/// A short run of what `fuzz/fuzz_targets/archive.rs` does for long: words of the header are overwritten, and what
/// still passes the check is read and updated.
#[test]
fn random_damage_is_refused_or_harmless() {
    let seed = support::rrdtool::seed();
    let mut passed = 0;
    for case in 0..support::rrdtool::cases(3_000) {
        let mut random = support::rrdtool::Random::new(seed, case);
        let mut definition = definition();
        let mut header_len = ROWS;
        if case % 2 == 0 {
            definition.add("DS:c:COMPUTE:a,b,1,2,AVG,3,SORT,IF").unwrap();
            definition.add("RRA:HWPREDICT:8:0.1:0.2:3").unwrap();
            header_len = Rrd::new_checked(rrd::image(&definition).unwrap()).unwrap().header_len();
        }
        let mut bytes = rrd::image(&definition).unwrap();
        for _ in 0..1 + random.below(3) {
            let at = 24 + 8 * random.below((header_len as u64 - 24) / 8) as usize;
            let any = random.next();
            let small = random.below(1000);
            let value = random.pick(&[any, small, 1 << 40, 1 << 60, u64::MAX, i64::MAX as u64, any >> 32]);
            word(&mut bytes, at, value);
        }
        let Ok(rrd) = Rrd::new_checked(&bytes[..]) else { continue };
        passed += 1;
        let last = rrd.last_update();
        for cf in rrd::Cf::ALL {
            let fetched = rrd.fetch(cf, UnixTime::from_secs(last.secs() / 2), last, random.next());
            let rows = fetched.iter().flat_map(|fetched| fetched.rows().take(100));
            assert!(rows.map(|(_, row)| row.values().len()).all(|len| len == definition.data_sources.len()));
        }
        rrd::dump(&rrd, rrd::Header::Dtd, &mut std::io::sink()).unwrap();
        let told: Result<(), ()> = rrd::info(&rrd, b"f", |key, value| {
            std::hint::black_box(format!("{key} {value}"));
            Ok(())
        });
        told.unwrap();
        let ahead = random.pick(&[1, 9_000_000, 1_000_000_000, 1 << 50]);
        let stamp = UnixTime::from_micros(last.micros() + ahead);
        let _ = Rrd::new_checked(&mut bytes[..]).unwrap().update(stamp, &[1.0, 2.0]);
        for step in 1..4 {
            let stamp = UnixTime::from_micros(stamp.micros() + step * 10_000_000);
            let _ = Rrd::new_checked(&mut bytes[..]).unwrap().update(stamp, &[3.0, 4.0]);
        }
        Rrd::new_checked(&bytes[..]).unwrap();
    }
    assert!(passed > 0);
}

/// An expression that has no value is found out in the middle of an update, when rows of an earlier step may be ready.
#[test]
fn an_expression_without_a_value_leaves_the_file_as_it_was() {
    let folder = Folder::new();
    let path = folder.path("f.rrd");
    let mut definition = definition();
    // Of the two steps that the second update ends, the first has 4.5, and a value; the second has 8, and none.
    definition.add("DS:c:COMPUTE:7,a,6,GT,9,1,IF,AVG").unwrap();
    rrd::create(&path, &definition, Overwrite::Yes).unwrap();
    let options = UpdateOptions::new(UnixTime::from_secs(START));
    let [first, second] = [format!("{}:1:2", START + 5), format!("{}:8:2", START + 35)];
    rrd::update(&path, &options, &[&first]).unwrap();
    let before = fs::read(&path).unwrap();
    let told = format!("{}: RPN stack underflow", path.display());
    assert_eq!(rrd::update(&path, &options, &[&second]).unwrap_err().to_string(), told);
    assert!(fs::read(&path).unwrap() == before);
    // What came before it in the same call stays.
    let between = format!("{}:1:2", START + 6);
    assert_eq!(rrd::update(&path, &options, &[&between, &second]).unwrap_err().to_string(), told);
    let mut file = rrd::File::open(&path, Access::Read).unwrap();
    assert_eq!(file.view().unwrap().last_update(), UnixTime::from_secs(START + 6));
}

#[test]
fn versions_names_and_types_that_are_not_known_are_named() {
    let folder = Folder::new();
    let whole = fs::read(folder.archive()).unwrap();
    let changed = |at: usize, text: &[u8]| {
        let mut bytes = whole.clone();
        bytes[at..at + text.len()].copy_from_slice(text);
        refused(&folder, &bytes)
    };
    assert_eq!(changed(4, b"0006"), "can't handle RRD file version 0006");
    assert_eq!(changed(4, b"00039"), "can't handle RRD file version 00039");
    assert_eq!(
        changed(DS_DEFS, &[b'x'; 20]),
        "'F' is damaged: ds_def[0] has a name that does not end or is no text"
    );
    assert_eq!(
        changed(DS_DEFS, b"\xff"),
        "'F' is damaged: ds_def[0] has a name that does not end or is no text"
    );
    assert_eq!(
        changed(RRA_DEFS, &[b'x'; 20]),
        "'F' is damaged: rra_def[0] has a name that does not end or is no text"
    );
    assert_eq!(
        changed(DS_DEFS + 120 + 20, b"GAUGER\0"),
        "'F': data source 1 has the type 'GAUGER', which latmon does not know"
    );
    // Where it had a heartbeat there is no expression.
    assert_eq!(
        changed(DS_DEFS + 120 + 20, b"COMPUTE\0"),
        "'F' is damaged: the expression of data source 1 cannot be evaluated"
    );
    assert_eq!(
        changed(RRA_DEFS, b"HWPREDICTS\0"),
        "'F': archive 0 has the consolidation function 'HWPREDICTS', which latmon does not know"
    );
    assert_eq!(
        changed(RRA_DEFS, b"HWPREDICT\0"),
        "'F' is damaged: archive 0 depends on one that is not there or of another kind"
    );
}

#[test]
fn old_versions_without_microseconds_are_read_and_updated() {
    let folder = Folder::new();
    let mut bytes = fs::read(folder.archive()).unwrap();
    bytes[4..8].copy_from_slice(b"0001");
    bytes.drain(LIVE_HEAD + 8..PDP_PREPS);
    let (ours, theirs) = (folder.path("ours.rrd"), folder.path("theirs.rrd"));
    for path in [&ours, &theirs] {
        fs::write(path, &bytes).unwrap();
    }
    let arguments = [format!("{}.75:1:2", START + 10), format!("{}.5:1:9", START + 18)];
    let options = UpdateOptions::new(UnixTime::from_secs(START));
    rrd::update(&ours, &options, &arguments).unwrap();
    let mut rrdtool = support::rrdtool::Rrdtool::start(folder.0.path());
    rrdtool.run(&["update", "theirs.rrd", &arguments[0], &arguments[1]]).unwrap();
    assert!(fs::read(&ours).unwrap() == fs::read(&theirs).unwrap());
}

#[test]
fn a_folder_a_missing_and_a_forbidden_file_are_told_apart() {
    let folder = Folder::new();
    let shown = |result: Result<(), Error>| result.unwrap_err().to_string();
    let read = |path: &Path| rrd::File::open(path, Access::Read).map(drop);
    let place = folder.0.path().to_str().unwrap();
    assert_eq!(shown(read(folder.0.path())), format!("mmaping file '{place}': No such device"));
    assert_eq!(shown(update(folder.0.path())), format!("opening '{place}': Is a directory"));
    assert_eq!(
        shown(read(&folder.path("none"))),
        format!("opening '{place}/none': No such file or directory")
    );
    let file = folder.archive();
    let before = fs::read(&file).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o444)).unwrap();
    // Root may write everything, so that the other half can only be seen by others.
    if !nix::unistd::geteuid().is_root() {
        assert_eq!(shown(update(&file)), format!("opening '{place}/f.rrd': Permission denied"));
        assert!(fs::read(&file).unwrap() == before);
    }
    let mut open = rrd::File::open(&file, Access::Read).unwrap();
    let refused = open.update(UnixTime::from_secs(START + 10), &[1.0, 2.0]);
    assert_eq!(shown(refused), format!("'{place}/f.rrd' was opened for reading only"));
    assert!(fs::read(&file).unwrap() == before);
}

#[test]
fn a_file_locked_by_another_is_refused_and_is_free_afterwards() {
    let folder = Folder::new();
    let path = folder.archive();
    let before = fs::read(&path).unwrap();
    let other = fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let set = |kind: i32| {
        let lock = libc::flock {
            l_type: kind as i16,
            l_whence: libc::SEEK_SET as i16,
            l_start: 0,
            l_len: 0,
            l_pid: 0,
        };
        fcntl(&other, FcntlArg::F_OFD_SETLK(&lock)).unwrap();
    };
    let mut open = rrd::File::open(&path, Access::Write).unwrap();
    set(libc::F_WRLCK);
    assert_eq!(update(&path).unwrap_err().to_string(), "could not lock RRD");
    assert_eq!(open.view().map(drop).unwrap_err().to_string(), "could not lock RRD");
    let stamp = UnixTime::from_secs(START + 10);
    assert_eq!(open.update(stamp, &[1.0, 2.0]).unwrap_err().to_string(), "could not lock RRD");
    assert!(fs::read(&path).unwrap() == before);
    set(libc::F_RDLCK);
    assert_eq!(update(&path).unwrap_err().to_string(), "could not lock RRD");
    assert_eq!(open.view().unwrap().last_update(), UnixTime::from_secs(START));
    set(libc::F_UNLCK);
    open.update(stamp, &[1.0, 2.0]).unwrap();
    assert_eq!(open.view().unwrap().last_update(), stamp);
}

/// rrdtool's own locks are of another kind; each must still see the other's.
#[test]
fn our_lock_keeps_rrdtool_out() {
    let folder = Folder::new();
    let path = folder.archive();
    let mut rrdtool = support::rrdtool::Rrdtool::start(folder.0.path());
    let mut open = rrd::File::open(&path, Access::Write).unwrap();
    let argument = format!("{}:1:2", START + 10);
    {
        let _view = open.view().unwrap();
        assert_eq!(rrdtool.run(&["update", "f.rrd", &argument]), Err("could not lock RRD".to_owned()));
        assert!(rrdtool.run(&["last", "f.rrd"]).is_ok());
    }
    // Between operations nobody is kept out, and what rrdtool wrote is seen.
    assert_eq!(rrdtool.run(&["update", "f.rrd", &argument]), Ok(vec![]));
    assert_eq!(open.view().unwrap().last_update(), UnixTime::from_secs(START + 10));
    open.update(UnixTime::from_secs(START + 20), &[3.0, 4.0]).unwrap();
    assert_eq!(rrdtool.run(&["last", "f.rrd"]), Ok(format!("{}\n", START + 20).into_bytes()));
}

/// Touching a map behind the end of its file would kill the process.
#[test]
fn a_file_cut_short_or_replaced_behind_our_back_is_noticed() {
    let folder = Folder::new();
    let path = folder.archive();
    let stamp = UnixTime::from_secs(START + 10);
    let mut open = rrd::File::open(&path, Access::Write).unwrap();
    let len = fs::metadata(&path).unwrap().len();
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(100).unwrap();
    let resized = Error::Resized { path: path.clone(), mapped: len, now: 100 };
    assert_eq!(open.update(stamp, &[1.0, 2.0]).unwrap_err(), resized);
    assert_eq!(open.view().map(drop).unwrap_err(), resized);
    let mut open = rrd::File::open(folder.archive(), Access::Write).unwrap();
    folder.archive();
    let replaced = Error::Replaced { path: path.clone() };
    assert_eq!(open.update(stamp, &[1.0, 2.0]).unwrap_err(), replaced);
    fs::remove_file(&path).unwrap();
    assert_eq!(open.view().map(drop).unwrap_err(), replaced);
}

/// A header that another process damages while the file is open is looked at anew before each use.
#[test]
fn damage_done_behind_our_back_is_noticed() {
    let folder = Folder::new();
    let path = folder.archive();
    let mut open = rrd::File::open(&path, Access::Write).unwrap();
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(&u64::MAX.to_le_bytes(), RRA_PTRS as u64).unwrap();
    let before = fs::read(&path).unwrap();
    let error = open.update(UnixTime::from_secs(START + 10), &[1.0, 2.0]).unwrap_err();
    assert!(matches!(error, Error::Fault { fault: Fault::CurrentRow { index: 0, .. }, .. }), "{error}");
    assert!(fs::read(&path).unwrap() == before);
}

#[test]
fn a_failing_argument_leaves_no_trace_and_those_before_it_stay() {
    let folder = Folder::new();
    let path = folder.archive();
    let (first, second) = (format!("{}:1:2", START + 10), format!("{}:5:abc", START + 20));
    let options = UpdateOptions::new(UnixTime::from_secs(START));
    rrd::update(&path, &options, &[&first]).unwrap();
    let after_first = fs::read(&path).unwrap();
    let path = folder.archive();
    let mut fresh = after_first.clone();
    fresh[RRA_PTRS..].copy_from_slice(&fs::read(&path).unwrap()[RRA_PTRS..]);
    let error = rrd::update(&path, &options, &[&first, &second, &format!("{}:1:2", START + 30)]).unwrap_err();
    assert_eq!(error.to_string(), format!("{}: not a simple unsigned integer: 'abc'", path.display()));
    assert_eq!(fs::read(&path).unwrap()[..RRA_PTRS], after_first[..RRA_PTRS]);
}

/// The typed way gives the file that the text of the same values gives.
#[test]
fn typed_updates_leave_the_bytes_that_texts_leave() {
    let folder = Folder::new();
    let path = folder.archive();
    let copy = folder.path("copy.rrd");
    fs::copy(&path, &copy).unwrap();
    let (mut typed, mut texts) =
        (rrd::File::open(&path, Access::Write).unwrap(), rrd::File::open(&copy, Access::Write).unwrap());
    let values = [(0.5, 7.0), (f64::NAN, 20.0), (1e20, f64::NAN), (2.0, 1e15), (f64::INFINITY, 1e15)];
    for (number, (gauge, counter)) in values.into_iter().enumerate() {
        let stamp = UnixTime::from_micros((START + 7 * (number as i64 + 1)) * 1_000_000 + 250_000);
        typed.update(stamp, &[gauge, counter]).unwrap();
        let text = |value: f64| if value.is_nan() { "U".to_owned() } else { value.to_string() };
        let argument = format!("{}.25:{}:{}", stamp.secs(), text(gauge), text(counter));
        texts.update_text(&[argument], stamp).unwrap();
    }
    assert!(fs::read(&path).unwrap() == fs::read(&copy).unwrap());
    // What has no short plain text has a short one with an exponent.
    typed.update(UnixTime::from_secs(START + 50), &[1.5e-300, 1e15]).unwrap();
    assert_eq!(typed.view().unwrap().data_sources().next().unwrap().last_ds, b"1.5e-300");
    let wrong = typed.update(UnixTime::from_secs(START + 99), &[1.0]).unwrap_err().to_string();
    assert!(wrong.ends_with("expected 2 data source readings (got 1) from 1700000099"), "{wrong}");
    let wrong = typed.update(UnixTime::from_secs(START + 99), &[1.0, 2.5]).unwrap_err().to_string();
    assert!(wrong.ends_with("not a simple unsigned integer: '2.5'"), "{wrong}");
}

#[test]
fn create_replaces_or_refuses_and_leaves_nothing_beside_it() {
    let folder = Folder::new();
    let path = folder.path("f.rrd");
    fs::write(&path, "precious").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let refused = rrd::create(&path, &definition(), Overwrite::No).unwrap_err();
    assert_eq!(refused.to_string(), format!("creating '{}': File exists", path.display()));
    assert_eq!(fs::read(&path).unwrap(), b"precious");
    rrd::create(&path, &definition(), Overwrite::Yes).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o640);
    rrd::create(&folder.path("new.rrd"), &definition(), Overwrite::No).unwrap();
    assert_eq!(fs::metadata(folder.path("new.rrd")).unwrap().permissions().mode() & 0o7777, 0o644);
    let refused = rrd::create(&folder.path("none/f.rrd"), &definition(), Overwrite::Yes).unwrap_err();
    assert_eq!(refused.to_string(), "Cannot create temporary file");
    fs::create_dir(folder.path("folder")).unwrap();
    let refused = rrd::create(&folder.path("folder"), &definition(), Overwrite::Yes).unwrap_err();
    assert_eq!(refused.to_string(), "Cannot rename temporary file to final file!");
    let mut names: Vec<_> =
        fs::read_dir(folder.0.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["f.rrd", "folder", "new.rrd"]);
}

/// Counts beyond what a disk, the memory or time can hold are refused, and nothing is left behind.
#[test]
fn archives_too_large_for_anything_are_refused() {
    let folder = Folder::new();
    let of = |archive: &str| Definition { archives: vec![archive.parse().unwrap()], ..definition() };
    for (archive, expected) in [
        ("RRA:LAST:0.5:1:18446744073709551615", "the archives are too long"),
        ("RRA:LAST:0.5:18446744073709551615:1", "the archives are too long"),
        ("RRA:LAST:0.5:1:400000000000", "allocating the blocks of"),
    ] {
        let error = rrd::create(&folder.path("f.rrd"), &of(archive), Overwrite::Yes).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{archive}: {error}");
    }
    let mut wide = of("RRA:LAST:0.5:1:400000000000");
    wide.archives = vec![wide.archives[0]; 1000];
    let error = rrd::image(&wide).unwrap_err().to_string();
    assert_eq!(error, "the archives are too large: 6400000000000000 bytes or more");
    assert_eq!(fs::read_dir(folder.0.path()).unwrap().count(), 0);
}

/// A hole in a mapped file on a full disk would kill the process at some later update.
#[test]
fn the_blocks_of_a_new_file_are_allocated() {
    use std::os::unix::fs::MetadataExt;
    let folder = Folder::new();
    let path = folder.path("f.rrd");
    let archives = vec!["RRA:AVERAGE:0.5:1:100000".parse().unwrap()];
    rrd::create(&path, &Definition { archives, ..definition() }, Overwrite::Yes).unwrap();
    let metadata = fs::metadata(&path).unwrap();
    assert!(metadata.blocks() * 512 >= metadata.len(), "{metadata:?}");
}

#[test]
fn verbs_that_are_not_there_are_named() {
    let folder = Folder::new();
    let shown = |words: &[&str]| support::rrdtool::latmon(folder.0.path(), words).unwrap_err();
    assert_eq!(shown(&["foo"]), "unknown function 'foo'");
    for verb in ["graph", "graphv", "list", "flushcached"] {
        assert_eq!(shown(&[verb, "x"]), format!("'{verb}' is not in latmon yet"));
    }
    let misplaced = "--journal stands once, in front of the verb: latmon rrd --journal FOLDER VERB ..";
    assert_eq!(shown(&["--journal", "j", "--journal", "k", "info", "x"]), misplaced);
    assert_eq!(shown(&["--journal", "", "info", "x"]), "--journal needs the name of a folder");
    fs::write(folder.path("file"), "").unwrap();
    let no_folder = "the journal fails: making the folder file: Not a directory";
    assert_eq!(shown(&["--journal", "file", "info", "x"]), no_folder);
    let usage = support::rrdtool::latmon(folder.0.path(), &["fetch"]).unwrap();
    assert!(usage.starts_with(b"Usage: latmon rrd fetch FILE CF"));
}

/// `create -` writes the archive to standard output.
#[test]
fn an_archive_goes_to_standard_output() {
    let folder = Folder::new();
    let words = ["create", "-", "-b", "1700000000", "DS:a:GAUGE:120:0:U", "RRA:AVERAGE:0.5:1:3"];
    let bytes = support::rrdtool::latmon(folder.0.path(), &words).unwrap();
    assert_eq!(Rrd::new_checked(bytes).unwrap().last_update(), UnixTime::from_secs(START));
    assert_eq!(fs::read_dir(folder.0.path()).unwrap().count(), 0);
}

/// `latmon rrd dump f | head -1` must not complain.
#[test]
fn a_closed_pipe_ends_it_quietly() {
    use std::process::{Command, Stdio};
    let folder = Folder::new();
    let path = folder.path("f.rrd");
    let archives = vec!["RRA:AVERAGE:0.5:1:20000".parse().unwrap()];
    rrd::create(&path, &Definition { archives, ..definition() }, Overwrite::Yes).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_latmon"))
        .args(["rrd", "dump"])
        .arg(&path)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr), (Some(0), vec![]));
}
