//! Any bytes as an archive: whatever passes the check can be read by every verb without a panic.
#![no_main]

#[path = "support/archives.rs"]
mod archives;

use archives::{Input, damage, fresh, read};
use latmon::rrd::{self, Rrd};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let mut input = Input(input);
    let bytes = if input.byte() == 0 {
        input.0.to_vec()
    } else {
        let mut bytes = fresh(&mut input);
        damage(&mut bytes, &mut input);
        bytes
    };
    if let Ok(rrd) = Rrd::new_checked(&bytes[..]) {
        read(&rrd);
    } else if let Some(image) = rrd::foreign_image(&bytes) {
        // What a 32-bit machine wrote is laid out anew.
        read(&Rrd::new_checked(&image[..]).expect("only what passes the check is made"));
    }
});
