//! Any bytes as a journal, and as the body of a record whose checksum holds: nothing panics, nothing is read twice, and
//! no range reaches beyond the end of all numbers.
#![no_main]

use latmon::archive::journal::{Record, read};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some(contents) = read(bytes) {
        assert!(contents.torn <= bytes.len());
        contents.records.iter().for_each(|record| check(record, bytes.len()));
    }
    if let Some(record) = Record::decode(bytes) {
        check(&record, bytes.len());
    }
});

fn check(record: &Record<'_>, len: usize) {
    let mut told = record.head.path.as_os_str().len();
    for (offset, bytes) in record.ranges() {
        assert!(offset.checked_add(bytes.len() as u64).is_some());
        told += bytes.len();
    }
    assert!(told <= len);
}
