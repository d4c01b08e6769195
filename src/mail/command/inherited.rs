//! Files that this process was started with, or that a library opened without a thought: no program of others gets them.
#![allow(unsafe_code)] // For close_range, which no crate of ours has, and descriptors by their numbers.

/// Marks every open file but the three standard ones to be closed when a program is started. Ours are opened that way;
/// this is for what we do not know of. Kernels before 5.11 have no such call, and there it is left at that.
#[cfg(target_os = "linux")]
pub(super) fn keep_to_ourselves() {
    let first = libc::STDERR_FILENO + 1;
    // SAFETY: the call takes three numbers, and with this flag it closes nothing.
    let _ =
        unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
}

/// Where there is no such call, one after the other, as far as this process could have opened them.
#[cfg(not(target_os = "linux"))]
pub(super) fn keep_to_ourselves() {
    use nix::sys::resource::{Resource, getrlimit};

    const MOST: libc::rlim_t = 1 << 16;
    let (limit, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((MOST, MOST));
    for number in libc::STDERR_FILENO + 1..limit.min(MOST) as libc::c_int {
        // SAFETY: the call takes numbers, touches no memory and closes nothing; it fails for a number that is not open.
        let _ = unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
}
