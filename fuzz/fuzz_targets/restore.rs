//! Any XML, and dumps with something changed in them: what makes an archive can be dumped, and its dump makes an archive of
//! the same shape.
#![no_main]

#[path = "support/archives.rs"]
mod archives;

use archives::{Input, fresh, read};
use latmon::rrd::{self, Header, Rrd, restored_image};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((kind, rest)) = input.split_first() else { return };
    let changed;
    let xml = if kind & 1 == 0 {
        rest
    } else {
        changed = changed_dump(rest);
        &changed
    };
    let _ = restored_image(xml, true);
    let Ok(image) = restored_image(xml, false) else { return };
    let rrd = Rrd::new_checked(&image[..]).expect("what was restored was checked");
    read(&rrd);
    let mut dumped = Vec::new();
    rrd::dump(&rrd, Header::None, &mut dumped).expect("a Vec takes everything");
    // A name may have characters that mean something in XML, and is dumped as it is.
    let Ok(again) = restored_image(&dumped[..], false) else { return };
    let again = Rrd::new_checked(&again[..]).expect("what was restored was checked");
    assert_eq!((rrd.step(), rrd.last_update()), (again.step(), again.last_update()));
    let shape = |archive: rrd::Rra| (archive.cf, archive.pdp_per_row, archive.rows);
    assert!(rrd.archives().map(shape).eq(again.archives().map(shape)));
});

/// The dump of a fresh archive, in which some bytes are replaced by others, of any number.
fn changed_dump(input: &[u8]) -> Vec<u8> {
    let mut input = Input(input);
    let image = fresh(&mut input);
    let rrd = Rrd::new_checked(&image[..]).expect("it was just made");
    let mut xml = Vec::new();
    rrd::dump(&rrd, Header::None, &mut xml).expect("a Vec takes everything");
    while !input.0.is_empty() {
        let at = usize::from(input.word()) % xml.len();
        let end = (at + usize::from(input.byte() % 16)).min(xml.len());
        let len = usize::from(input.byte() % 16).min(input.0.len());
        let (new, rest) = input.0.split_at(len);
        input.0 = rest;
        xml.splice(at..end, new.iter().copied());
        if xml.is_empty() {
            break;
        }
    }
    xml
}
