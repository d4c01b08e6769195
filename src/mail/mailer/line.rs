//! Hears of routes, addresses and interfaces that come: what waits for the network need not wait for the end of a pause.

use std::io;
use std::os::unix::net::UnixStream;
use std::thread;

/// A thread that watches. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Line {
    /// Closed to end the thread.
    _hangup: UnixStream,
}

impl Line {
    /// Calls `changed` whenever there may be a way that was not there before, once for changes that come together.
    pub(super) fn watch(changed: impl Fn() + Send + 'static) -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        let mut news = netlink::News::subscribe()?;
        thread::Builder::new().name("routes".into()).spawn(move || {
            while news.wait(&theirs) {
                changed();
            }
        })?;
        Ok(Self { _hangup: ours })
    }
}

#[cfg(target_os = "linux")]
mod netlink {
    use std::collections::HashMap;
    use std::io;
    use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
    use std::os::unix::net::UnixStream;

    use nix::errno::Errno;
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use nix::sys::socket::{
        AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
    };

    /// What the kernel tells of its routes (rtnetlink(7)).
    pub(super) struct News {
        socket: OwnedFd,
        is_running: HashMap<u32, bool>,
    }

    impl News {
        pub(super) fn subscribe() -> io::Result<Self> {
            let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
            let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
            let groups = libc::RTMGRP_LINK
                | libc::RTMGRP_IPV4_IFADDR
                | libc::RTMGRP_IPV4_ROUTE
                | libc::RTMGRP_IPV6_IFADDR
                | libc::RTMGRP_IPV6_ROUTE;
            bind(socket.as_raw_fd(), &NetlinkAddr::new(0, groups.cast_unsigned()))?;
            Ok(Self { socket, is_running: HashMap::new() })
        }

        /// Waits for a way to come; false once the other end of `hangup` is closed.
        pub(super) fn wait(&mut self, hangup: &UnixStream) -> bool {
            let mut has_come = false;
            // What never ends is not waited for.
            let mut more = MOST_TOGETHER;
            while more > 0 {
                let mut fds = [
                    PollFd::new(hangup.as_fd(), PollFlags::POLLIN),
                    PollFd::new(self.socket.as_fd(), PollFlags::POLLIN),
                ];
                // An interface that comes up brings several changes, and its routes last.
                let patience = if has_come { PollTimeout::from(TOGETHER_MS) } else { PollTimeout::NONE };
                match poll(&mut fds, patience) {
                    Ok(0) => return true,
                    Err(Errno::EINTR) => continue,
                    Err(_) => return false,
                    Ok(_) if fds[0].any().unwrap_or(true) => return false,
                    Ok(_) => {}
                }
                match self.hear() {
                    Ok(news) => has_come |= news,
                    Err(_) => return false,
                }
                more -= u32::from(has_come);
            }
            true
        }

        /// Hears all that there is, and whether a way has come by it.
        fn hear(&mut self) -> nix::Result<bool> {
            let mut has_come = false;
            let mut buffer = [0; 1 << 15];
            loop {
                match recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                    Ok(length) => has_come |= self.is_good(&buffer[..length]),
                    // More came than there was room for: anything may have.
                    Err(Errno::ENOBUFS) => has_come = true,
                    Err(Errno::EINTR) => {}
                    Err(Errno::EAGAIN) => return Ok(has_come),
                    Err(errno) => return Err(errno),
                }
            }
        }

        /// Whether one of these messages says that a way has come.
        fn is_good(&mut self, mut messages: &[u8]) -> bool {
            let word = |bytes: &[u8], at: usize| {
                bytes
                    .get(at..at + 4)
                    .map(|bytes| u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
            };
            let mut is_good = false;
            while let Some(length) = word(messages, 0) {
                let length = (length as usize).clamp(HEADER_LEN, messages.len().max(HEADER_LEN));
                let kind = messages.get(4..6).map_or(0, |kind| u16::from_ne_bytes([kind[0], kind[1]]));
                is_good |= match kind {
                    libc::RTM_NEWROUTE | libc::RTM_NEWADDR => true,
                    // Interfaces tell of much besides; a wireless one of each of its scans.
                    libc::RTM_NEWLINK => {
                        match (word(messages, HEADER_LEN + 4), word(messages, HEADER_LEN + 8)) {
                            (Some(index), Some(flags)) => {
                                let is_running = flags & libc::IFF_RUNNING.cast_unsigned() != 0;
                                let ran = self.is_running.insert(index, is_running).unwrap_or(false);
                                is_running && !ran
                            }
                            _ => false,
                        }
                    }
                    libc::RTM_DELLINK => {
                        word(messages, HEADER_LEN + 4).map(|index| self.is_running.remove(&index));
                        false
                    }
                    _ => false,
                };
                messages = messages.get(length.next_multiple_of(4)..).unwrap_or_default();
            }
            is_good
        }
    }

    const HEADER_LEN: usize = 16;
    const TOGETHER_MS: u16 = 300;
    const MOST_TOGETHER: u32 = 50;
}

#[cfg(not(target_os = "linux"))]
mod netlink {
    use std::io;
    use std::os::unix::net::UnixStream;

    /// Other systems have other ways to tell it.
    pub(super) struct News;

    impl News {
        pub(super) fn subscribe() -> io::Result<Self> {
            Err(io::ErrorKind::Unsupported.into())
        }

        pub(super) fn wait(&mut self, _: &UnixStream) -> bool {
            false
        }
    }
}
