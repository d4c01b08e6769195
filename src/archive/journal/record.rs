//! The bytes of a journal. Pure: nothing here touches a file.
//!
//! ```text
//! header   magic (8) | salt (8) | id of the boot (16) | checksum (8)
//! record   length of what follows the checksum (8) | checksum (8) | body
//! body     device | inode | size | layout | last update before | after (8 each, microseconds)
//!          length of the path (4) | path | ranges to the end
//! range    distance from the end of the range before, zigzag | length (both as varints) | bytes
//! closing  length and checksum as a record has | body: seconds | nanoseconds (8 each)
//! ```
//! All numbers are little-endian. A checksum is keyed with the salt, which is drawn anew whenever the journal is cut,
//! and with the checksum before it: neither what an older journal left behind the new one's end nor what a failed write
//! left there can pass for the next record. The closing stands behind the last record of a writer that stored them all.

use std::ffi::OsStr;
use std::hash::Hasher;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use siphasher::sip::SipHasher13;

use crate::time::UnixTime;

const MAGIC: [u8; 8] = *b"latmonJ1";
const CHECKED_HEADER: usize = 32;
/// Bytes of a journal's header.
pub(super) const HEADER_LEN: usize = CHECKED_HEADER + 8;
const PREFIX_LEN: usize = 16;
/// Bytes of the body of a closing; those of a record are more.
const CLOSING_LEN: usize = 16;

/// What identifies a run of the kernel; device numbers mean the same within one only.
pub(super) type BootId = [u8; 16];

/// What one group of updates made of one archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Which archive.
    pub head: Head<'a>,
    ranges: Ranges<'a>,
}

/// Which archive a record is about, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head<'a> {
    /// The archive's device.
    pub device: u64,
    /// Its number there.
    pub inode: u64,
    /// Its size in bytes.
    pub size: u64,
    /// The hash of its layout.
    pub layout: u64,
    /// Its last update before.
    pub before: UnixTime,
    /// Its last update after.
    pub after: UnixTime,
    /// Its name when it was updated.
    pub path: &'a Path,
}

impl<'a> Record<'a> {
    /// Reads the body of a record; `None` when it is none, whatever its checksum said.
    pub fn decode(body: &'a [u8]) -> Option<Self> {
        let (numbers, rest) = body.split_at_checked(48)?;
        let (path_len, rest) = rest.split_first_chunk::<4>()?;
        let (path, ranges) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*path_len)).ok()?)?;
        let number = |index: usize| u64_at(numbers, index * 8);
        let time = |index| UnixTime::from_micros(number(index).cast_signed());
        let ranges = Ranges { bytes: ranges, end: 0 };
        // Seen to be whole here, so that whoever stores them need not stop half way.
        let mut all = ranges;
        all.by_ref().for_each(drop);
        let head = Head {
            device: number(0),
            inode: number(1),
            size: number(2),
            layout: number(3),
            before: time(4),
            after: time(5),
            path: Path::new(OsStr::from_bytes(path)),
        };
        all.bytes.is_empty().then_some(Self { head, ranges })
    }

    /// The ranges that changed, and their new bytes, in the order in which they are to be stored.
    pub fn ranges(&self) -> impl Iterator<Item = (u64, &'a [u8])> + use<'a> {
        self.ranges
    }
}

/// The whole records of a journal, from its beginning up to where it was torn.
#[derive(Debug, Default)]
pub struct Contents<'a> {
    /// The id of the boot in which it was written.
    pub boot: [u8; 16],
    /// In the order in which they were written.
    pub records: Vec<Record<'a>>,
    /// When its writer had stored all of them and ended: seconds and nanoseconds of the file systems' clock.
    pub closed: Option<(i64, i64)>,
    /// Bytes behind them: a write that did not end, or what an older journal left.
    pub torn: usize,
}

/// Reads a journal; `None` when it does not begin as one.
pub fn read(bytes: &[u8]) -> Option<Contents<'_>> {
    let (header, mut rest) = bytes.split_at_checked(HEADER_LEN)?;
    let salt = u64_at(header, MAGIC.len());
    let mut chain = Chain { salt, previous: 0 };
    let (checked, checksum) = header.split_at(CHECKED_HEADER);
    if !header.starts_with(&MAGIC) || chain.next([checked]) != u64_at(checksum, 0) {
        return None;
    }
    let boot = checked[16..].try_into().ok()?;
    let mut contents = Contents { boot, ..Contents::default() };
    while contents.closed.is_none()
        && let Some((body, behind)) = next_body(rest, &mut chain)
    {
        if let Some(closed) = decode_closing(body) {
            contents.closed = Some(closed);
        } else if let Some(record) = Record::decode(body) {
            contents.records.push(record);
        } else {
            break;
        }
        rest = behind;
    }
    contents.torn = rest.len();
    Some(contents)
}

/// The body whose checksum comes next in the chain, and what is behind it.
fn next_body<'a>(bytes: &'a [u8], chain: &mut Chain) -> Option<(&'a [u8], &'a [u8])> {
    let (prefix, rest) = bytes.split_at_checked(PREFIX_LEN)?;
    let (body, rest) = rest.split_at_checked(usize::try_from(u64_at(prefix, 0)).ok()?)?;
    (chain.next([&prefix[..8], body]) == u64_at(prefix, 8)).then_some((body, rest))
}

fn decode_closing(body: &[u8]) -> Option<(i64, i64)> {
    let number = |at| u64_at(body, at).cast_signed();
    (body.len() == CLOSING_LEN).then(|| (number(0), number(8)))
}

/// Reads range after range; ends where the bytes do, or make no range.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Ranges<'a> {
    bytes: &'a [u8],
    end: u64,
}

impl<'a> Iterator for Ranges<'a> {
    type Item = (u64, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let mut rest = self.bytes;
        let zigzag = take_varint(&mut rest)?;
        let len = usize::try_from(take_varint(&mut rest)?).ok()?;
        let (found, rest) = rest.split_at_checked(len)?;
        let distance = (zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed();
        let offset = self.end.checked_add_signed(distance)?;
        self.end = offset.checked_add(len as u64)?;
        self.bytes = rest;
        Some((offset, found))
    }
}

/// Makes the bytes of a journal, the continuation of what was written before.
#[derive(Clone, Debug)]
pub(super) struct Writer {
    chain: Chain,
}

impl Writer {
    /// Begins a journal: appends its header.
    pub(super) fn begin(salt: u64, boot: BootId, out: &mut Vec<u8>) -> Self {
        let start = out.len();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&salt.to_le_bytes());
        out.extend_from_slice(&boot);
        let mut chain = Chain { salt, previous: 0 };
        let checksum = chain.next([&out[start..]]);
        out.extend_from_slice(&checksum.to_le_bytes());
        Self { chain }
    }

    /// Appends a record; `for_each_range` tells its ranges.
    pub(super) fn append(
        &mut self,
        head: &Head<'_>,
        for_each_range: impl FnOnce(&mut dyn FnMut(u64, &[u8])),
        out: &mut Vec<u8>,
    ) {
        let start = out.len();
        out.extend_from_slice(&[0; PREFIX_LEN]);
        let times = [head.before, head.after].map(|time| time.micros().cast_unsigned());
        for number in [head.device, head.inode, head.size, head.layout].into_iter().chain(times) {
            out.extend_from_slice(&number.to_le_bytes());
        }
        let path = head.path.as_os_str().as_bytes();
        // The system takes no path of more than 4096 bytes.
        out.extend_from_slice(&(path.len() as u32).to_le_bytes());
        out.extend_from_slice(path);
        let mut end = 0_u64;
        for_each_range(&mut |offset, bytes| {
            let distance = offset.wrapping_sub(end).cast_signed();
            put_varint(out, ((distance << 1) ^ (distance >> 63)).cast_unsigned());
            put_varint(out, bytes.len() as u64);
            out.extend_from_slice(bytes);
            end = offset + bytes.len() as u64;
        });
        self.seal(&mut out[start..]);
    }

    /// Appends the closing, behind which nothing follows.
    pub(super) fn close(mut self, (secs, nanos): (i64, i64), out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; PREFIX_LEN]);
        out.extend_from_slice(&secs.to_le_bytes());
        out.extend_from_slice(&nanos.to_le_bytes());
        self.seal(&mut out[start..]);
    }

    /// Fills the prefix of what has its body already.
    fn seal(&mut self, entry: &mut [u8]) {
        let (prefix, body) = entry.split_at_mut(PREFIX_LEN);
        prefix[..8].copy_from_slice(&(body.len() as u64).to_le_bytes());
        let checksum = self.chain.next([&prefix[..8], body]);
        prefix[8..].copy_from_slice(&checksum.to_le_bytes());
    }
}

/// The keys of the next checksum.
#[derive(Clone, Debug)]
struct Chain {
    salt: u64,
    previous: u64,
}

impl Chain {
    fn next<const N: usize>(&mut self, parts: [&[u8]; N]) -> u64 {
        let mut hasher = SipHasher13::new_with_keys(self.salt, self.previous);
        parts.iter().for_each(|part| hasher.write(part));
        self.previous = hasher.finish();
        self.previous
    }
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("a range of 8 bytes makes an array of 8"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Range = (u64, Vec<u8>);

    fn written(groups: &[(u64, Vec<Range>)]) -> Vec<u8> {
        write(groups).0
    }

    fn write(groups: &[(u64, Vec<Range>)]) -> (Vec<u8>, Writer) {
        let mut out = Vec::new();
        let mut writer = Writer::begin(7, [3; 16], &mut out);
        for (number, ranges) in groups {
            let time = |more| UnixTime::from_micros(number.cast_signed().wrapping_add(more));
            let head = Head {
                device: *number,
                inode: number ^ 1,
                size: 1 << 40,
                layout: !number,
                before: time(0),
                after: time(1),
                path: Path::new("/data/fra/core1.rrd"),
            };
            let all = |each: &mut dyn FnMut(u64, &[u8])| {
                ranges.iter().for_each(|(offset, bytes)| each(*offset, bytes));
            };
            writer.append(&head, all, &mut out);
        }
        (out, writer)
    }

    fn groups() -> impl Strategy<Value = Vec<(u64, Vec<Range>)>> {
        let range = (0..u64::MAX / 2, proptest::collection::vec(any::<u8>(), 0..40));
        proptest::collection::vec((any::<u64>(), proptest::collection::vec(range, 0..6)), 0..8)
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(groups in groups()) {
            let bytes = written(&groups);
            let contents = read(&bytes).unwrap();
            prop_assert_eq!((contents.boot, contents.torn), ([3; 16], 0));
            prop_assert_eq!(contents.records.len(), groups.len());
            for (record, (number, ranges)) in contents.records.iter().zip(&groups) {
                let head = record.head;
                prop_assert_eq!((head.device, head.inode, head.layout), (*number, number ^ 1, !number));
                prop_assert_eq!(head.after.micros(), number.cast_signed().wrapping_add(1));
                let found: Vec<Range> = record.ranges().map(|(at, bytes)| (at, bytes.to_vec())).collect();
                prop_assert_eq!(&found, ranges);
            }
        }

        /// A journal that is cut anywhere, or of which a byte changed, gives whole records up to there and none behind.
        #[test]
        fn a_torn_tail_is_dropped(groups in groups(), cut in any::<prop::sample::Index>(), flip in 0..8_u8) {
            let whole = written(&groups);
            let at = cut.index(whole.len());
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << flip;
            for damaged in [&whole[..at], &flipped[..]] {
                let Some(contents) = read(damaged) else {
                    prop_assert!(at < HEADER_LEN);
                    continue;
                };
                let expected = read(&whole).unwrap().records;
                prop_assert!(contents.records.len() < expected.len() || at == whole.len());
                prop_assert_eq!(&contents.records[..], &expected[..contents.records.len()]);
            }
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            read(&bytes);
            // And behind a header that holds, with a checksum that holds.
            let mut chained = Vec::new();
            let mut writer = Writer::begin(1, [0; 16], &mut chained);
            chained.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
            let checksum = writer.chain.next([&(bytes.len() as u64).to_le_bytes()[..], &bytes]);
            chained.extend_from_slice(&checksum.to_le_bytes());
            chained.extend_from_slice(&bytes);
            for record in read(&chained).unwrap().records {
                record.ranges().for_each(drop);
            }
        }
    }

    /// The closing counts where all of it is there; a record behind it, with a checksum that holds, does not.
    #[test]
    fn a_closing_is_the_end() {
        let group = |number: u64| (number, vec![(5, vec![number as u8; 9])]);
        let (mut bytes, mut writer) = write(&[group(1), group(2)]);
        let open_len = bytes.len();
        writer.clone().close((-1, 999_999_999), &mut bytes);
        for len in open_len..bytes.len() {
            let contents = read(&bytes[..len]).unwrap();
            assert_eq!((contents.records.len(), contents.closed), (2, None));
        }
        let closed_len = bytes.len();
        writer.chain.next([&bytes[open_len..open_len + 8], &bytes[open_len + PREFIX_LEN..]]);
        let start = bytes.len();
        bytes.extend_from_slice(&[0; PREFIX_LEN]);
        bytes.extend_from_slice(&[0; 52]);
        writer.seal(&mut bytes[start..]);
        let contents = read(&bytes).unwrap();
        assert_eq!((contents.records.len(), contents.closed), (2, Some((-1, 999_999_999))));
        assert_eq!(contents.torn, bytes.len() - closed_len);
    }

    /// Behind a failed write of two records a shorter one is written: the second must not come to life behind it.
    #[test]
    fn what_a_failed_write_left_is_no_record() {
        let group = |number: u64| (number, vec![(5, vec![number as u8; 9])]);
        let failed = written(&[group(1), group(2), group(3)]);
        let again = written(&[group(1), group(4)]);
        let mut bytes = again.clone();
        bytes.extend_from_slice(&failed[again.len()..]);
        let contents = read(&bytes).unwrap();
        assert_eq!(contents.records.len(), 2);
        assert_eq!(contents.torn, failed.len() - again.len());
    }
}
