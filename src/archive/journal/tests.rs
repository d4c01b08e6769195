//! Crashes without a crash: what the journal does to the disks is recorded, cut off at every point, and what was not
//! synced by then is kept, dropped and mixed, sector by sector or page by page. Then the journal is opened on what is
//! left, by the same kernel after a kill and by another one after a loss of power.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::disk::trace::{self, Event};
use super::record::HEADER_LEN;
use super::*;
use crate::rrd::{Definition, Overwrite, UpdateOptions, create};
use crate::time::Step;

const START: i64 = 1_700_000_000;
const FIRST_BOOT: u128 = 1;
const FILES: usize = 3;
/// A kill does not end a call within a page.
const PAGE: u64 = 4096;

/// Numbers from a seed (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound
    }
}

fn number_from(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().expect("a number"))
}

/// A folder in memory, where a sync costs nothing; what is on a disk is simulated.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// An archive whose header spans pages, with rows in others; the names differ in their number so that fields of the
/// headers lie differently in their sectors.
fn make(path: &Path, data_sources: usize) {
    let step = Step::new(10).unwrap();
    let start = UnixTime::from_secs(START);
    let mut definition = Definition { step, start, data_sources: Vec::new(), archives: Vec::new() };
    for index in 0..data_sources {
        definition.add(&format!("DS:d{index}:GAUGE:120:0:U")).unwrap();
    }
    for archive in ["RRA:AVERAGE:0.5:1:50", "RRA:MAX:0.5:3:20", "RRA:LAST:0.5:2:30"] {
        definition.add(archive).unwrap();
    }
    create(path, &definition, Overwrite::No).unwrap();
}

/// What the disks were told, and what was promised when.
#[derive(Default)]
struct History {
    events: Vec<Event>,
    /// Of each file: after how many events it was acknowledged to be so. Something else than an update through the
    /// journal is `None` there.
    states: [Vec<(Option<usize>, Vec<u8>)>; FILES],
}

struct Scene {
    dir: tempfile::TempDir,
    paths: [PathBuf; FILES],
    clock: i64,
}

impl Scene {
    fn new() -> Self {
        let dir = folder();
        let paths = [0, 1, 2].map(|index| dir.path().join(format!("f{index}.rrd")));
        for (path, data_sources) in paths.iter().zip([23, 3, 4]) {
            make(path, data_sources);
        }
        Self { dir, paths, clock: START }
    }

    fn journal(&self) -> PathBuf {
        self.dir.path().join("j")
    }

    fn argument(&mut self, file: usize, random: &mut Random) -> String {
        self.clock += 1 + random.below(25).cast_signed();
        let readings: Vec<String> =
            (0..[23, 3, 4][file]).map(|_| format!("{}.5", random.below(1000))).collect();
        format!("{}.{:06}:{}", self.clock, random.below(1_000_000), readings.join(":"))
    }

    fn update(&mut self, file: usize, prepared: &mut Prepared<'_>, random: &mut Random) {
        let arguments: Vec<String> = (0..=random.below(3)).map(|_| self.argument(file, random)).collect();
        let options = UpdateOptions::new(UnixTime::from_secs(0));
        prepared.update_text(&options, &arguments).unwrap();
    }

    /// Groups of updates through the journal, with others beside it, and a journal that is often cut.
    fn play(&mut self, steps: usize, random: &mut Random) -> History {
        let mut history = History::default();
        for (file, path) in self.paths.iter().enumerate() {
            history.states[file].push((Some(0), std::fs::read(path).unwrap()));
        }
        trace::take();
        trace::set_boot(FIRST_BOOT);
        let mut journal = self.open();
        for step in 0..steps {
            if step == steps / 2 || random.below(12) == 0 {
                journal.close().unwrap();
                journal = self.open();
            } else if step == steps / 3 || random.below(8) == 0 {
                journal.leave().unwrap();
                if random.below(2) == 0 {
                    self.update_beside(random, &mut history);
                }
                journal = self.open();
            }
            if random.below(10) == 0 {
                self.update_beside(random, &mut history);
                continue;
            }
            let mut group = Vec::new();
            for file in (0..FILES).filter(|_| random.below(2) == 0).collect::<Vec<_>>() {
                let mut prepared = Prepared::open(&self.paths[file]).unwrap();
                self.update(file, &mut prepared, random);
                group.push(prepared);
            }
            assert!(journal.commit(group).iter().all(Result::is_ok));
            history.events.append(&mut trace::take());
            self.note(&mut history, Some);
        }
        drop(journal);
        history
    }

    fn open(&self) -> Journal {
        let (mut journal, recovered) = Journal::open(&self.journal()).unwrap();
        assert_eq!(recovered, Recovered::default());
        journal.long_enough = 30_000;
        journal
    }

    /// As a latmon without a journal does it.
    fn update_beside(&mut self, random: &mut Random, history: &mut History) {
        history.events.append(&mut trace::take());
        self.note(history, Some);
        let file = random.below(FILES as u64) as usize;
        let path = self.paths[file].clone();
        let mut prepared = Prepared::open(&path).unwrap();
        self.update(file, &mut prepared, random);
        trace::stored(&path, |each| prepared.for_each_change(each));
        prepared.commit().unwrap();
        history.events.append(&mut trace::take());
        self.note(history, |_| None);
    }

    fn note(&self, history: &mut History, acknowledged: fn(usize) -> Option<usize>) {
        for (path, states) in self.paths.iter().zip(&mut history.states) {
            let now = std::fs::read(path).unwrap();
            if states.last().is_none_or(|(_, last)| *last != now) {
                states.push((acknowledged(history.events.len()), now));
            }
        }
    }

    /// The disks as they were in the beginning.
    fn disks(&self, history: &History) -> Disks {
        let mut disks = Disks { unit: 0, boot: FIRST_BOOT, files: BTreeMap::new() };
        disks.files.insert(None, OnDisk::new(Vec::new()));
        for (path, states) in self.paths.iter().zip(&history.states) {
            disks.files.insert(Some(path.clone()), OnDisk::new(states[0].1.clone()));
        }
        disks
    }

    /// Makes the files what a crash left, and opens the journal on them; returns what it did to the disks.
    fn recover(&self, left: &Disks) -> (Recovered, Vec<Event>) {
        for (path, file) in &left.files {
            let path = path.clone().unwrap_or_else(|| self.journal().join("journal"));
            // In its place: an archive is known by its number.
            std::fs::write(&path, &file.durable).unwrap();
            // Not written since the journal was closed.
            File::options().write(true).open(&path).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
        }
        trace::set_boot(left.boot);
        trace::take();
        let (journal, recovered) = Journal::open(&self.journal()).unwrap();
        drop(journal);
        (recovered, trace::take())
    }

    /// Checks the promise after a crash when so many events were begun.
    fn check(&self, history: &History, begun: usize, recovered: &Recovered, told: &str) {
        let mut may_skip = false;
        for (path, states) in self.paths.iter().zip(&history.states) {
            // The last state that was acknowledged by then, and what may have followed it.
            let by_then = |(at, _): &(Option<usize>, Vec<u8>)| at.is_some_and(|at| at <= begun);
            let last = states.iter().rposition(by_then).unwrap();
            let next = states.get(last + 1);
            if next.is_some_and(|(at, _)| at.is_none()) {
                // Written by another program and not by us since: nothing is promised, and it may be skipped.
                may_skip = true;
                continue;
            }
            let found = std::fs::read(path).unwrap();
            let is_whole = found == states[last].1 || next.is_some_and(|(_, next)| found == *next);
            assert!(is_whole, "{told}: {} is no state that was promised: {recovered}", path.display());
        }
        assert!(may_skip || recovered.kept.is_none(), "{told}: {recovered}");
    }
}

/// What is on the disks, and what they were told since.
#[derive(Clone)]
struct Disks {
    /// What is written as a whole: a sector or a page.
    unit: usize,
    /// How often the system was started.
    boot: u128,
    files: BTreeMap<Option<PathBuf>, OnDisk>,
}

#[derive(Clone)]
struct OnDisk {
    durable: Vec<u8>,
    current: Vec<u8>,
    /// Every content that a unit had since it was synced.
    versions: HashMap<usize, Vec<Vec<u8>>>,
    lens: Vec<usize>,
}

impl OnDisk {
    fn new(durable: Vec<u8>) -> Self {
        Self { current: durable.clone(), lens: vec![durable.len()], durable, versions: HashMap::new() }
    }

    fn sync(&mut self) {
        *self = Self::new(std::mem::take(&mut self.current));
    }

    fn write(&mut self, unit: usize, offset: usize, bytes: &[u8]) {
        let end = offset + bytes.len();
        self.current.resize(self.current.len().max(end), 0);
        self.current[offset..end].copy_from_slice(bytes);
        self.lens.push(self.current.len());
        for number in offset / unit..end.div_ceil(unit) {
            let content = unit_of(&self.current, unit, number);
            self.versions.entry(number).or_default().push(content);
        }
    }

    /// It is synced before anything else is written there.
    fn truncate(&mut self, len: usize) {
        self.current.truncate(len);
        self.lens.push(len);
    }

    /// What a loss of power leaves.
    fn lose_power(&mut self, unit: usize, random: &mut Random) {
        let len = self.lens[random.below(self.lens.len() as u64) as usize];
        let mut left = self.durable.clone();
        left.resize(len.max(left.len()).div_ceil(unit) * unit, 0);
        let mut versions: Vec<_> = self.versions.iter().collect();
        versions.sort_by_key(|(number, _)| **number);
        let taste = random.below(4);
        for (number, contents) in versions {
            let at = number * unit;
            let chosen = match (taste, random.below(4)) {
                (0, 1..) | (_, 0) => None,
                (1, _) | (_, 1) => contents.last(),
                _ => Some(&contents[random.below(contents.len() as u64) as usize]),
            };
            if let Some(content) = chosen.filter(|_| at < len) {
                left[at..at + unit].copy_from_slice(content);
            }
        }
        left.truncate(len);
        *self = Self::new(left);
    }
}

fn unit_of(bytes: &[u8], unit: usize, number: usize) -> Vec<u8> {
    let start = (number * unit).min(bytes.len());
    let mut content = bytes[start..bytes.len().min(start + unit)].to_vec();
    content.resize(unit, 0);
    content
}

impl Disks {
    fn tell(&mut self, event: &Event) {
        let unit = self.unit;
        match event {
            Event::Write { offset, bytes } => {
                self.files.get_mut(&None).unwrap().write(unit, *offset as usize, bytes);
            }
            Event::Store { path, ranges } => {
                let file = self.files.get_mut(&Some(path.clone())).unwrap();
                ranges.iter().for_each(|(offset, bytes)| file.write(unit, *offset as usize, bytes));
            }
            Event::Truncate(len) => self.files.get_mut(&None).unwrap().truncate(*len as usize),
            Event::SyncJournal => self.files.get_mut(&None).unwrap().sync(),
            // The journal may lie on another one.
            Event::SyncFileSystem => {
                self.files.iter_mut().filter(|(path, _)| path.is_some()).for_each(|(_, file)| file.sync());
            }
            Event::KeepAside => *self.files.get_mut(&None).unwrap() = OnDisk::new(Vec::new()),
        }
    }

    /// After these events, the last of which came to no end.
    fn crash(&self, events: &[Event], random: &mut Random) -> Self {
        let mut disks = self.clone();
        let Some((last, whole)) = events.split_last() else { return disks };
        whole.iter().for_each(|event| disks.tell(event));
        if random.below(3) == 0 {
            // Killed, not cut off from power: what was written is there, of the last call as many pages as were done.
            match last {
                Event::Write { offset, bytes } => {
                    let bytes = some_pages(*offset, bytes, random);
                    disks.tell(&Event::Write { offset: *offset, bytes });
                }
                Event::Store { path, ranges } => {
                    let mut pages: HashMap<u64, bool> = HashMap::new();
                    let ranges = by_page(ranges)
                        .filter(|(offset, _)| {
                            *pages.entry(offset / PAGE).or_insert_with(|| random.below(2) == 0)
                        })
                        .collect();
                    let path = path.clone();
                    disks.tell(&Event::Store { path, ranges });
                }
                _ => {}
            }
            disks.files.values_mut().for_each(OnDisk::sync);
        } else {
            if matches!(last, Event::Write { .. } | Event::Store { .. } | Event::Truncate(_)) {
                disks.tell(last);
            }
            disks.boot += 1;
            let unit = disks.unit;
            disks.files.values_mut().for_each(|file| file.lose_power(unit, random));
        }
        disks
    }
}

/// The beginning of what one call writes, up to the end of a page.
fn some_pages(offset: u64, bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let first_page = offset / PAGE;
    let pages = random.below((offset + bytes.len() as u64).div_ceil(PAGE) - first_page + 1);
    let end = ((first_page + pages) * PAGE).saturating_sub(offset).min(bytes.len() as u64);
    bytes[..end as usize].to_vec()
}

/// The ranges, split where pages begin.
fn by_page(ranges: &[(u64, Vec<u8>)]) -> impl Iterator<Item = (u64, Vec<u8>)> {
    ranges.iter().flat_map(|(offset, bytes)| {
        let first = (PAGE - offset % PAGE).min(bytes.len() as u64) as usize;
        let (head, tail) = bytes.split_at(first);
        let rest = tail
            .chunks(PAGE as usize)
            .zip(0..)
            .map(move |(chunk, number): (_, u64)| (offset + first as u64 + number * PAGE, chunk.to_vec()));
        std::iter::once((*offset, head.to_vec())).chain(rest)
    })
}

#[test]
fn no_cut_and_no_order_of_writes_breaks_the_promise() {
    let seed = number_from("LATMON_TEST_SEED", 0x6a6f_7572);
    let rounds = number_from("LATMON_TEST_CASES", 4);
    println!("LATMON_TEST_SEED={seed}");
    let (mut crashes, mut closed) = (0, 0);
    for round in 0..rounds {
        let mut random = Random(seed.wrapping_add(round << 32));
        let mut scene = Scene::new();
        let history = scene.play(30, &mut random);
        let is_cut =
            |event: &&Event| matches!(event, Event::Write { offset: 0, bytes } if **bytes == [0; HEADER_LEN]);
        let cuts = history.events.iter().filter(is_cut).count();
        assert!(cuts > 1, "a journal that is written over an older one is part of it");
        for cut in 0..=history.events.len() {
            let mut disks = scene.disks(&history);
            disks.unit = [512, 4096][random.below(2) as usize];
            let left = disks.crash(&history.events[..cut], &mut random);
            let told = format!("seed {seed}, round {round}, cut {cut} of {}", history.events.len());
            let (recovered, events) = scene.recover(&left);
            // The last event came to no end.
            scene.check(&history, cut.saturating_sub(1), &recovered, &told);
            // The recovery can be cut off too.
            let again = random.below(events.len() as u64 + 1) as usize;
            let left = left.crash(&events[..again], &mut random);
            let (recovered, _) = scene.recover(&left);
            scene.check(&history, cut.saturating_sub(1), &recovered, &format!("{told}, then {again}"));
            closed += u64::from(recovered.was_closed && recovered.files > 0);
            crashes += 2;
        }
    }
    println!("{rounds} histories, {crashes} crashes, {closed} with a closed journal to store again");
    assert!(closed > 0);
}

/// A journal is left for the next process; what happens to the archives in between is not its business.
#[test]
fn what_others_made_of_an_archive_after_the_journal_was_left_stays() {
    let mut random = Random(5);
    let mut scene = Scene::new();
    let modify = |file: &File, at: SystemTime| file.set_modified(at).unwrap();
    // The last row is another, and nothing in the header tells so.
    let edit = |path: &Path| {
        let file = File::options().write(true).open(path).unwrap();
        file.write_all_at(&7.5_f64.to_le_bytes(), file.metadata().unwrap().len() - 8).unwrap();
        modify(&file, SystemTime::now() + Duration::from_secs(1));
        std::fs::read(path).unwrap()
    };
    let commit = |scene: &mut Scene, random: &mut Random| {
        let (mut journal, recovered) = Journal::open(&scene.journal()).unwrap();
        let group: Vec<_> = (0..FILES)
            .map(|file| {
                let mut prepared = Prepared::open(&scene.paths[file]).unwrap();
                scene.update(file, &mut prepared, random);
                prepared
            })
            .collect();
        assert!(journal.commit(group).iter().all(Result::is_ok));
        journal.leave().unwrap();
        recovered
    };
    trace::set_boot(FIRST_BOOT);
    commit(&mut scene, &mut random);
    let edited = edit(&scene.paths[0]);
    let behind = std::fs::read(&scene.paths[1]).unwrap();
    let (_, recovered) = Journal::open(&scene.journal()).unwrap();
    assert_eq!(recovered, Recovered::default(), "under the same kernel nothing is stored again");
    assert!(std::fs::read(&scene.paths[0]).unwrap() == edited);

    assert_eq!(commit(&mut scene, &mut random), Recovered::default());
    let edited = edit(&scene.paths[0]);
    let expected = std::fs::read(&scene.paths[1]).unwrap();
    std::fs::write(&scene.paths[1], behind).unwrap();
    modify(&File::options().write(true).open(&scene.paths[1]).unwrap(), SystemTime::UNIX_EPOCH);
    trace::set_boot(FIRST_BOOT + 1);
    let (_, recovered) = Journal::open(&scene.journal()).unwrap();
    assert!(std::fs::read(&scene.paths[0]).unwrap() == edited, "who wrote it last has the last word");
    assert!(std::fs::read(&scene.paths[1]).unwrap() == expected, "what the power took is there again");
    assert_eq!((recovered.files, recovered.was_closed, recovered.kept), (2, true, None));
}
