//! The line as a stream, for systems that have no socket that keeps messages apart: each goes behind its length.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, SockType, getsockopt, recv, send, sockopt};

/// One end.
#[derive(Debug)]
pub(super) struct Line {
    socket: OwnedFd,
    /// The rest of a message that has gone out in part; nothing else goes before it.
    unsent: Mutex<Vec<u8>>,
    /// What came in and is no whole message yet.
    unheard: Mutex<Vec<u8>>,
}

impl Line {
    /// Both ends, of which the second is to be handed over.
    pub(super) fn pair() -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = UnixStream::pair()?;
        Ok((Self::new(ours.into()), theirs.into()))
    }

    /// The end that was handed over; `None` where that is no line.
    pub(super) fn take(descriptor: OwnedFd) -> io::Result<Option<Self>> {
        let is_line = getsockopt(&descriptor, sockopt::SockType)? == SockType::Stream;
        Ok(is_line.then(|| Self::new(descriptor)))
    }

    fn new(socket: OwnedFd) -> Self {
        Self { socket, unsent: Mutex::default(), unheard: Mutex::default() }
    }

    /// Says a message, unless there is no room for it now.
    pub(super) fn send(&self, message: &[u8]) -> nix::Result<()> {
        let mut unsent = lock(&self.unsent);
        self.send_rest(&mut unsent)?;
        let length = u16::try_from(message.len()).map_err(|_| Errno::EMSGSIZE)?;
        let mut framed = [&length.to_be_bytes(), message].concat();
        let begun = self.send_rest(&mut framed);
        match begun {
            // Begun, it has to be brought to its end, so that the next length is where it is looked for.
            Err(Errno::EAGAIN) if framed.len() < LENGTH_LEN + message.len() => {
                *unsent = framed;
                Ok(())
            }
            other => other,
        }
    }

    /// Sends from the front of `rest`, and takes out what is sent; fails unless that is all of it.
    fn send_rest(&self, rest: &mut Vec<u8>) -> nix::Result<()> {
        while !rest.is_empty() {
            match send(self.socket.as_raw_fd(), rest, MsgFlags::MSG_DONTWAIT) {
                Ok(sent) => drop(rest.drain(..sent)),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    /// Hears a message; nothing where the other end is gone.
    pub(super) fn receive(&self, buffer: &mut [u8], flags: MsgFlags) -> nix::Result<usize> {
        let mut unheard = lock(&self.unheard);
        loop {
            if let Some((length, rest)) = unheard.split_first_chunk::<LENGTH_LEN>() {
                let length = usize::from(u16::from_be_bytes(*length));
                if let Some(message) = rest.get(..length) {
                    // Nobody sends more than there is room for.
                    let fits = length.min(buffer.len());
                    buffer[..fits].copy_from_slice(&message[..fits]);
                    unheard.drain(..LENGTH_LEN + length);
                    return Ok(fits);
                }
            }
            let mut bytes = [0; 4096];
            match recv(self.socket.as_raw_fd(), &mut bytes, flags)? {
                0 => return Ok(0),
                count => unheard.extend_from_slice(&bytes[..count]),
            }
        }
    }
}

impl AsFd for Line {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Bytes are whole wherever a panic may have struck.
fn lock(bytes: &Mutex<Vec<u8>>) -> MutexGuard<'_, Vec<u8>> {
    bytes.lock().unwrap_or_else(PoisonError::into_inner)
}

const LENGTH_LEN: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    /// As nobody listens, the last message that goes out may do so in part only; what is said later must not end up in it.
    #[test]
    fn messages_stay_apart_also_where_one_had_no_room() {
        let (ours, theirs) = Line::pair().unwrap();
        let theirs = Line::take(theirs).unwrap().expect("it is a line");
        let message = |number: usize| format!("{number} {}", "x".repeat(number % 990)).into_bytes();
        let said = (0..100_000).take_while(|number| ours.send(&message(*number)).is_ok()).count();
        assert!((1..100_000).contains(&said), "{said} messages found room");
        let mut buffer = [0; 1000];
        for number in 0..said - 1 {
            let length = theirs.receive(&mut buffer, MsgFlags::MSG_DONTWAIT).unwrap();
            assert_eq!(&buffer[..length], message(number));
        }
        ours.send(b"again").unwrap();
        let rest: Vec<Vec<u8>> = (0..2)
            .map(|_| {
                theirs
                    .receive(&mut buffer, MsgFlags::MSG_DONTWAIT)
                    .map(|length| buffer[..length].to_vec())
                    .unwrap()
            })
            .collect();
        assert_eq!(rest, [message(said - 1), b"again".to_vec()]);
        assert_eq!(theirs.receive(&mut buffer, MsgFlags::MSG_DONTWAIT), Err(Errno::EAGAIN));
        drop(ours);
        assert_eq!(theirs.receive(&mut buffer, MsgFlags::empty()), Ok(0));
    }
}
