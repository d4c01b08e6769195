//! Descriptors that a process leaves to the program it starts, by their numbers. All others are closed on exec, so what
//! is open and is not to be closed is one that was handed over.
#![allow(unsafe_code)] // A number becomes a descriptor in `take`.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};

/// Takes over a descriptor that was handed over; each can be taken once. From here on it is closed on exec.
pub fn take(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: F_GETFD looks a number up, whatever it is, and touches no memory.
    let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
    if flags < 0 {
        return Err(io::Error::last_os_error());
    }
    if number <= libc::STDERR_FILENO || flags & libc::FD_CLOEXEC != 0 {
        let why = format!("descriptor {number} was not handed over");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    // SAFETY: it is open. Whatever this program opens itself is closed on exec from its first moment on, and so is what
    // was taken here before; this one is not, so nobody in this process owns it.
    let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
    keep(&descriptor)?;
    Ok(descriptor)
}

/// Hands a descriptor over to whatever program is started until it is closed on exec again; returns its number.
pub fn lend(descriptor: &impl AsFd) -> io::Result<RawFd> {
    fcntl(descriptor, FcntlArg::F_SETFD(FdFlag::empty()))?;
    Ok(descriptor.as_fd().as_raw_fd())
}

/// Hands it over no more.
pub(super) fn keep(descriptor: &impl AsFd) -> io::Result<()> {
    fcntl(descriptor, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn only_what_was_lent_is_taken_and_once() {
        let file = File::open("/dev/null").unwrap();
        let number = file.as_raw_fd();
        assert!(take(number).is_err(), "it is this program's own");
        assert_eq!(lend(&file).unwrap(), number);
        // As an exec does it, the owner is forgotten.
        std::mem::forget(file);
        let taken = take(number).unwrap();
        assert!(take(number).is_err(), "it has an owner");
        drop(taken);
        assert!(take(1).is_err() && take(-1).is_err());
    }
}
