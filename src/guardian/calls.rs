//! Signals as something to wait for, beside other things.

use std::io::{self, Read as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;

/// The signals that this process gets.
pub(super) struct Calls {
    signals: Signals,
    /// Has something to read when there was one.
    pub(super) bell: UnixStream,
}

impl Calls {
    /// From here on none of them ends this process; of a closed terminal it hears only where that is wanted.
    pub(super) fn watch(hangup: bool) -> io::Result<Self> {
        let mut watched = vec![SIGINT, SIGQUIT, SIGTERM, SIGCHLD];
        if hangup {
            watched.push(SIGHUP);
        }
        let signals = Signals::new(&watched)?;
        let (bell, clapper) = UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        // Behind those that count them, so that what rings is counted already.
        for signal in watched {
            signal_hook::low_level::pipe::register(signal, clapper.try_clone()?)?;
        }
        Ok(Self { signals, bell })
    }

    /// Whether there was one since [`Calls::take`].
    pub(super) fn is_rung(&self) -> bool {
        let mut fds = [PollFd::new(self.bell.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
    }

    /// What came since this was last asked.
    pub(super) fn take(&mut self) -> Vec<i32> {
        let mut rings = [0; 64];
        while matches!((&self.bell).read(&mut rings), Ok(1..)) {}
        self.signals.pending().collect()
    }
}
