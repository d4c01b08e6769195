//! What a process of a run asks the system about itself, and for itself. Where a system has no word for it, it goes without.
#![allow(unsafe_code)] // For sigaction, where there is no /proc to read.

use std::fs::File;
use std::io;

#[cfg(target_os = "linux")]
use nix::sys::prctl;

/// Whether memory may be given to this process by two megabytes at a time.
#[cfg(target_os = "linux")]
pub(super) fn allow_huge_pages(allowed: bool) {
    let _ = prctl::set_thp_disable(!allowed);
}

/// Others ask for that themselves.
#[cfg(not(target_os = "linux"))]
pub(super) fn allow_huge_pages(_: bool) {}

/// Whether it is hidden from other processes of its user, as the kernel sees it, which looks at what it was before.
#[cfg(target_os = "linux")]
pub(super) fn is_hidden() -> bool {
    !prctl::get_dumpable().unwrap_or(true)
}

/// Others hide what was root before by themselves.
#[cfg(not(target_os = "linux"))]
pub(super) fn is_hidden() -> bool {
    false
}

/// Hides it from other processes of its user; where the kernel cannot, it is as readable as any program of theirs.
#[cfg(target_os = "linux")]
pub(super) fn hide() {
    let _ = prctl::set_dumpable(false);
}

/// As above.
#[cfg(not(target_os = "linux"))]
pub(super) fn hide() {}

/// Gives it its name: it was started by that of a link of the kernel's.
#[cfg(target_os = "linux")]
pub(super) fn take_name() {
    let _ = prctl::set_name(c"latmon");
}

/// Where there is no such link it has it.
#[cfg(not(target_os = "linux"))]
pub(super) fn take_name() {}

/// A file that has no name, in memory.
#[cfg(any(target_os = "linux", target_os = "freebsd"))]
pub(super) fn unnamed_file() -> io::Result<File> {
    use nix::sys::memfd::{MFdFlags, memfd_create};

    Ok(File::from(memfd_create("latmon settings", MFdFlags::MFD_CLOEXEC)?))
}

/// A file that has no name any more, and is nobody else's to open while it has one.
#[cfg(not(any(target_os = "linux", target_os = "freebsd")))]
pub(super) fn unnamed_file() -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;

    let number = getrandom::u64().map_err(|error| {
        error.raw_os_error().map_or_else(|| io::ErrorKind::Other.into(), io::Error::from_raw_os_error)
    })?;
    let path = std::env::temp_dir().join(format!("latmon-{number:016x}"));
    let file = File::options().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

/// Whether a signal is ignored by this process, by the mask that the kernel shows.
#[cfg(target_os = "linux")]
pub(super) fn ignores(signal: i32) -> bool {
    std::fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| {
            let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
            u64::from_str_radix(mask.trim(), 16).ok()
        })
        .is_some_and(|mask| mask & (1 << (signal - 1)) != 0)
}

/// The same by asking for what would be done.
#[cfg(not(target_os = "linux"))]
pub(super) fn ignores(signal: i32) -> bool {
    // SAFETY: `sigaction` is integers and a pointer, of which all zero (null) is a value.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: with a null pointer nothing is changed; the kernel writes one `sigaction`, which outlives the call.
    let failed = unsafe { libc::sigaction(signal, std::ptr::null(), &raw mut action) };
    failed == 0 && action.sa_sigaction == libc::SIG_IGN
}
