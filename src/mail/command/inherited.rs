//! Files that this process was started with, or that a library opened without a thought: no program of others gets them.
#![allow(unsafe_code)] // For close_range, which no crate of ours has.

/// Marks every open file but the three standard ones to be closed when a program is started. Ours are opened that way;
/// this is for what we do not know of. Kernels before 5.11 have no such call, and there it is left at that.
pub(super) fn keep_to_ourselves() {
    let first = libc::STDERR_FILENO + 1;
    // SAFETY: the call takes three numbers, and with this flag it closes nothing.
    let _ =
        unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
}
