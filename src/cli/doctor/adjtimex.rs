//! The kernel's clock discipline: whether somebody keeps the wall clock right.
#![allow(unsafe_code)] // For adjtimex, which no crate of ours has.

use std::io;

/// Whether the wall clock is synchronised, as far as the kernel is told, and by how many seconds it may be off.
pub(super) struct Discipline {
    pub(super) is_synchronised: bool,
    pub(super) most_error_secs: f64,
}

/// Asks the kernel, and changes nothing.
#[cfg(target_os = "linux")]
pub(super) fn discipline() -> io::Result<Discipline> {
    // SAFETY: `timex` is integers, of which all zero is a value; with no mode set nothing is changed.
    let mut clock: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes one `timex`, which outlives the call.
    let state = unsafe { libc::adjtimex(&raw mut clock) };
    if state < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Discipline {
        is_synchronised: state != libc::TIME_ERROR && clock.status & libc::STA_UNSYNC == 0,
        most_error_secs: clock.maxerror as f64 / 1e6,
    })
}

/// Elsewhere there is no such call.
#[cfg(not(target_os = "linux"))]
pub(super) fn discipline() -> io::Result<Discipline> {
    Err(io::ErrorKind::Unsupported.into())
}
