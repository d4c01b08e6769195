//! The line as a socket that keeps messages apart.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, getsockopt, recv, send, socketpair, sockopt,
};

/// One end.
#[derive(Debug)]
pub(super) struct Line(OwnedFd);

impl Line {
    /// Both ends, of which the second is to be handed over.
    pub(super) fn pair() -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
        Ok((Self(ours), theirs))
    }

    /// The end that was handed over; `None` where that is no line.
    pub(super) fn take(descriptor: OwnedFd) -> io::Result<Option<Self>> {
        let is_line = getsockopt(&descriptor, sockopt::SockType)? == SockType::SeqPacket;
        Ok(is_line.then_some(Self(descriptor)))
    }

    /// Says a message, unless there is no room for it now.
    pub(super) fn send(&self, message: &[u8]) -> nix::Result<()> {
        send(self.0.as_raw_fd(), message, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL).map(drop)
    }

    /// Hears a message; nothing where the other end is gone.
    pub(super) fn receive(&self, buffer: &mut [u8], flags: MsgFlags) -> nix::Result<usize> {
        recv(self.0.as_raw_fd(), buffer, flags)
    }
}

impl AsFd for Line {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
