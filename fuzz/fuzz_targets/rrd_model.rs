//! Definitions and updates of any bytes: the engine has the rows that a naive model has.
#![no_main]

#[path = "../../tests/support/model.rs"]
mod model;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| model::check(input));
