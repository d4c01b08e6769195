//! Archive files and answers, compared: ours with those of the real rrdtool.
#![allow(dead_code, unreachable_pub)] // Each test file uses its part.
#![allow(clippy::unwrap_used)] // A helper that fails, fails its test.

use super::rrdtool::Answer;

/// Where the sections of a file stand.
struct Sections {
    sources: usize,
    archives: usize,
    live_head: usize,
    pdp_preps: usize,
    pointers: usize,
}

impl Sections {
    fn of(bytes: &[u8]) -> Self {
        let (sources, archives) = (word(bytes, 24), word(bytes, 32));
        let live_head = 128 + 120 * (sources + archives);
        let is_old = [b"0001", b"0002"].iter().any(|old| bytes[4..].starts_with(*old));
        let pdp_preps = live_head + if is_old { 8 } else { 16 };
        let pointers = pdp_preps + 112 * sources + 80 * archives * sources;
        Self { sources, archives, live_head, pdp_preps, pointers }
    }

    fn rows(&self) -> usize {
        self.pointers + 8 * self.archives
    }
}

fn word(bytes: &[u8], at: usize) -> usize {
    usize::try_from(u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())).unwrap()
}

/// The bytes before and behind the pointers of a fresh file, which are random.
pub fn without_pointers(bytes: &[u8]) -> (&[u8], &[u8]) {
    let sections = Sections::of(bytes);
    (&bytes[..sections.pointers], &bytes[sections.rows()..])
}

/// The same bytes, told by the words of eight that differ.
pub fn same_bytes(ours: &[u8], theirs: &[u8], told: &str) {
    assert_eq!(ours.len(), theirs.len(), "{told}");
    let differing: Vec<String> = ours
        .chunks(8)
        .zip(theirs.chunks(8))
        .enumerate()
        .filter(|(_, (ours, theirs))| ours != theirs)
        .map(|(word, (ours, theirs))| format!("{}: ours {ours:02x?} theirs {theirs:02x?}", word * 8))
        .collect();
    assert!(differing.is_empty(), "{told}\n{}", differing.join("\n"));
}

/// Blanks out the texts of the last readings: the one thing that a failing argument of the original changes.
pub fn without_last_readings(mut bytes: Vec<u8>) -> Vec<u8> {
    let sections = Sections::of(&bytes);
    for source in 0..sections.sources {
        bytes[sections.pdp_preps + 112 * source..][..30].fill(0);
    }
    bytes
}

/// The file as another version says it: what it can hold depends on the names in it, and not on this.
pub fn as_version(mut bytes: Vec<u8>, version: &str) -> Vec<u8> {
    let micros = Sections::of(&bytes).live_head + 8;
    if version.starts_with('0') {
        bytes[4..8].copy_from_slice(version.as_bytes());
    }
    if ["0000", "0001", "0002"].contains(&version) {
        bytes.drain(micros..micros + 8);
    }
    bytes
}

/// The last update, in seconds and microseconds.
pub fn last_update(bytes: &[u8]) -> (usize, usize) {
    let sections = Sections::of(bytes);
    let has_micros = sections.pdp_preps == sections.live_head + 16;
    (word(bytes, sections.live_head), if has_micros { word(bytes, sections.live_head + 8) } else { 0 })
}

/// The same text, told by the first line that differs; in pipe mode the -1 of a failing `last` is not told apart.
pub fn same_answer(ours: &Answer, theirs: &Answer, told: &str) {
    let (Ok(our_text), Ok(their_text)) = (ours, theirs) else {
        assert_eq!(ours.as_ref().map(Vec::len), theirs.as_ref().map(Vec::len), "{told}");
        return;
    };
    let (ours, theirs) = (String::from_utf8_lossy(our_text), String::from_utf8_lossy(their_text));
    for (our_line, their_line) in ours.lines().zip(theirs.lines()) {
        assert_eq!(our_line, their_line, "{told}");
    }
    assert_eq!(our_text.len(), their_text.len(), "{told}");
}

/// Turns each archive so that its newest row is the last one.
pub fn rows_in_time_order(bytes: &mut [u8]) {
    let sections = Sections::of(bytes);
    let mut start = sections.rows();
    for archive in 0..sections.archives {
        let rows = word(bytes, 128 + 120 * (sections.sources + archive) + 24);
        let pointer = sections.pointers + 8 * archive;
        let (newest, len) = (word(bytes, pointer), 8 * sections.sources);
        bytes[start..start + rows * len].rotate_left((newest + 1) * len);
        bytes[pointer..][..8].copy_from_slice(&(rows as u64 - 1).to_le_bytes());
        start += rows * len;
    }
}

/// A command about `f.rrd`.
pub fn words_of<'a>(verb: &'a str, rest: &'a [String]) -> Vec<&'a str> {
    [verb, "f.rrd"].into_iter().chain(rest.iter().map(String::as_str)).collect()
}
