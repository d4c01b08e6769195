//! Whether a child has ended, without an end to it: its number stays its own until it is waited for.
#![allow(unsafe_code)] // For waitid, which nix does not have everywhere.

use nix::unistd::Pid;

/// Whether the process has ended; it is not waited for by this.
#[cfg(any(target_os = "linux", target_os = "freebsd"))]
pub(super) fn has_ended(process: Pid) -> bool {
    use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};

    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT | WaitPidFlag::WNOHANG;
    !matches!(waitid(Id::Pid(process), flags), Ok(WaitStatus::StillAlive))
}

/// The same by the C library.
#[cfg(not(any(target_os = "linux", target_os = "freebsd")))]
pub(super) fn has_ended(process: Pid) -> bool {
    let number = libc::id_t::from(process.as_raw().cast_unsigned());
    let flags = libc::WEXITED | libc::WNOWAIT | libc::WNOHANG;
    // SAFETY: `siginfo_t` is integers and pointers, of which all zero (null) is a value.
    let mut told: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes one `siginfo_t`, which outlives the call.
    let failed = unsafe { libc::waitid(libc::P_PID, number, &raw mut told, flags) };
    // Nothing is written of one that still runs.
    // SAFETY: what was asked for is an end, which has a number, and all zero is none.
    failed != 0 || unsafe { told.si_pid() } != 0
}
