//! Any XML: what makes an archive can be dumped, and its dump makes an archive of the same shape.
#![no_main]

use latmon::rrd::{self, Header, Rrd, restored_image};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|xml: &[u8]| {
    let _ = restored_image(xml, true);
    let Ok(image) = restored_image(xml, false) else { return };
    let rrd = Rrd::new_checked(&image[..]).expect("what was restored was checked");
    let mut dumped = Vec::new();
    rrd::dump(&rrd, Header::None, &mut dumped).expect("a Vec takes everything");
    // A name may have characters that mean something in XML, and is dumped as it is.
    let Ok(again) = restored_image(&dumped[..], false) else { return };
    let again = Rrd::new_checked(&again[..]).expect("what was restored was checked");
    assert_eq!((rrd.step(), rrd.last_update()), (again.step(), again.last_update()));
    let shape = |archive: rrd::Rra| (archive.cf, archive.pdp_per_row, archive.rows);
    assert!(rrd.archives().map(shape).eq(again.archives().map(shape)));
});
