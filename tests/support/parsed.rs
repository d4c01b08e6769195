//! Archives as the table of their format has them, and files with random readings.
#![allow(dead_code, unreachable_pub)] // Each test file uses its part.
#![allow(clippy::unwrap_used)] // A helper that fails, fails its test.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::rrdtool::{Random, Rrdtool};

pub const START: i64 = 1_700_000_000;
pub const STEP: i64 = 10;

/// An archive file's parts, by the table of its format.
#[derive(Debug)]
pub struct Parsed {
    pub bytes: Vec<u8>,
    pub ds_count: usize,
    pub step: i64,
    pub last: i64,
    pub archives: Vec<Archive>,
}

#[derive(Clone, Debug)]
pub struct Archive {
    pub cf: String,
    pub rows: usize,
    pub row_secs: i64,
    pub cur_row: usize,
    pub start: usize,
}

impl Parsed {
    pub fn new(bytes: Vec<u8>) -> Self {
        let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
        let (ds_count, rra_count, step) = (word(24), word(32), word(40) as i64);
        let defs = 128 + 120 * ds_count;
        let live = defs + 120 * rra_count;
        let pointers = live + 16 + 112 * ds_count + 80 * ds_count * rra_count;
        let mut start = pointers + 8 * rra_count;
        let archives = (0..rra_count)
            .map(|rra| {
                let def = defs + 120 * rra;
                let cf = bytes[def..def + 20].split(|b| *b == 0).next().unwrap();
                let archive = Archive {
                    cf: String::from_utf8(cf.to_owned()).unwrap(),
                    rows: word(def + 24),
                    row_secs: word(def + 32) as i64 * step,
                    cur_row: word(pointers + 8 * rra),
                    start,
                };
                start += 8 * ds_count * archive.rows;
                archive
            })
            .collect();
        assert_eq!(start, bytes.len());
        Self { last: word(live) as i64, bytes, ds_count, step, archives }
    }

    pub fn ds_def(&self, ds: usize) -> usize {
        128 + 120 * ds
    }

    pub fn pdp(&self, ds: usize) -> usize {
        128 + 120 * (self.ds_count + self.archives.len()) + 16 + 112 * ds
    }

    pub fn cdp(&self, rra: usize, ds: usize) -> usize {
        self.pdp(self.ds_count) + 80 * (rra * self.ds_count + ds)
    }

    pub fn newest(&self, rra: usize) -> i64 {
        self.last - self.last % self.archives[rra].row_secs
    }

    /// The rows from the oldest to the newest.
    pub fn rows(&self, rra: usize) -> Vec<Vec<f64>> {
        let archive = &self.archives[rra];
        let value = |at: usize| f64::from_le_bytes(self.bytes[at..at + 8].try_into().unwrap());
        let row = |row: usize| {
            let at = archive.start + row * 8 * self.ds_count;
            (0..self.ds_count).map(|ds| value(at + 8 * ds)).collect()
        };
        (1..=archive.rows).map(|age| row((archive.cur_row + age) % archive.rows)).collect()
    }
}

/// Makes `made.rrd` and updates it, once per step and sometimes with unknowns, and perhaps once more within a step.
pub fn make(rrdtool: &mut Rrdtool, random: &mut Random, sources: &str, archives: &str) {
    let create = format!("create made.rrd -b {START} -s {STEP} {sources} {archives}");
    rrdtool.run(&create.split_whitespace().collect::<Vec<_>>()).unwrap();
    let inputs = sources.split_whitespace().filter(|source| !source.contains(":COMPUTE:")).count();
    let mut readings = |at: i64| {
        let mut text = at.to_string();
        for _ in 0..inputs {
            let number = random.below(1_000_000);
            match random.below(9) {
                0 => text.push_str(":U"),
                _ => write!(text, ":{}", number as f64 / 64.0).unwrap(),
            }
        }
        text
    };
    let mut arguments = Vec::new();
    let count = 3 + i64::try_from(readings(0).len() % 7).unwrap() * 6;
    for step in 1..=count {
        arguments.push(readings(START + STEP * step));
    }
    arguments.push(readings(START + STEP * count + count % 7 + 1));
    let mut words = vec!["update", "made.rrd"];
    words.extend(arguments.iter().map(String::as_str));
    rrdtool.run(&words).unwrap();
}

/// Runs `tune f.rrd WORDS` on a copy for each.
pub fn both(
    folder: &Path,
    rrdtool: &mut Rrdtool,
    latmon: &mut Rrdtool,
    words: &str,
) -> [(Result<(), String>, Vec<u8>); 2] {
    [rrdtool, latmon].map(|side| {
        fs::copy(folder.join("made.rrd"), folder.join("f.rrd")).unwrap();
        let answer = side.run(&["tune", "f.rrd", words]).map(|text| assert_eq!(text, b"", "{words}"));
        (answer, fs::read(folder.join("f.rrd")).unwrap())
    })
}

/// Where the words of two files differ.
pub fn differences(ours: &[u8], theirs: &[u8]) -> Vec<usize> {
    let pairs = ours.chunks(8).zip(theirs.chunks(8)).enumerate();
    pairs.filter(|(_, (ours, theirs))| ours != theirs).map(|(word, _)| 8 * word).take(20).collect()
}
