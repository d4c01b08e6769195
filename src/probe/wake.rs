//! How a thread that polls is woken, and how it waits: what systems have different names for.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::poll::PollFd;

/// Something to poll that is readable from when it is set until it is cleared.
#[derive(Debug)]
pub(super) struct Event(event::Event);

impl Event {
    pub(super) fn new() -> io::Result<Self> {
        event::Event::new().map(Self)
    }

    pub(super) fn set(&self) {
        self.0.set();
    }

    pub(super) fn clear(&self) {
        self.0.clear();
    }
}

impl AsFd for Event {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Waits until one of them has something, or so long; how many have.
#[cfg(any(target_os = "linux", target_os = "freebsd"))]
pub(super) fn poll(fds: &mut [PollFd<'_>], timeout: Duration) -> nix::Result<libc::c_int> {
    nix::poll::ppoll(fds, Some(nix::sys::time::TimeSpec::from_duration(timeout)), None)
}

/// The same to the millisecond, and never less.
#[cfg(not(any(target_os = "linux", target_os = "freebsd")))]
pub(super) fn poll(fds: &mut [PollFd<'_>], timeout: Duration) -> nix::Result<libc::c_int> {
    let rounded_up = timeout.saturating_add(Duration::from_nanos(999_999));
    nix::poll::poll(fds, nix::poll::PollTimeout::try_from(rounded_up).unwrap_or(nix::poll::PollTimeout::MAX))
}

#[cfg(any(target_os = "linux", target_os = "freebsd"))]
mod event {
    use std::io;
    use std::os::fd::{AsFd, BorrowedFd};

    use nix::sys::eventfd::{EfdFlags, EventFd};

    #[derive(Debug)]
    pub(super) struct Event(EventFd);

    impl Event {
        pub(super) fn new() -> io::Result<Self> {
            Ok(Self(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?))
        }

        pub(super) fn set(&self) {
            // Can fail only when the counter is full, and then it is set already.
            let _ = self.0.write(1);
        }

        pub(super) fn clear(&self) {
            // Fails when it was not set, which is as good.
            let _ = self.0.read();
        }
    }

    impl AsFd for Event {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.0.as_fd()
        }
    }
}

#[cfg(not(any(target_os = "linux", target_os = "freebsd")))]
mod event {
    use std::io::{self, Read as _, Write as _};
    use std::os::fd::{AsFd, BorrowedFd};
    use std::os::unix::net::UnixStream;

    #[derive(Debug)]
    pub(super) struct Event {
        set: UnixStream,
        seen: UnixStream,
    }

    impl Event {
        pub(super) fn new() -> io::Result<Self> {
            let (set, seen) = UnixStream::pair()?;
            set.set_nonblocking(true)?;
            seen.set_nonblocking(true)?;
            Ok(Self { set, seen })
        }

        pub(super) fn set(&self) {
            // Can fail only when it is full, and then it is set already.
            let _ = (&self.set).write(&[1]);
        }

        pub(super) fn clear(&self) {
            let mut bytes = [0; 256];
            // Ends when nothing is left, and an error says no more than that.
            while (&self.seen).read(&mut bytes).is_ok_and(|count| count == bytes.len()) {}
        }
    }

    impl AsFd for Event {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.seen.as_fd()
        }
    }
}
