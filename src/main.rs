//! The binary: prints and exits. What was typed is read in `cli`, everything else is the library's.

#![warn(clippy::unwrap_used)]

mod cli;

use std::process::ExitCode;

/// musl's own allocator takes half the time of a picture.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // They serve until the end: to give a hundred thousand of them back one by one takes a while.
    let arguments: &[std::ffi::OsString] = std::env::args_os().collect::<Vec<_>>().leak();
    cli::run(arguments)
}
