//! The line between guardian and monitor: each hears by its end that the other is gone, and nobody else holds an end of
//! it. What the monitor says is never waited for: a guardian that is stopped must not hold up a round.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::MsgFlags;

#[cfg(not(target_vendor = "apple"))]
use self::packets::Line;
#[cfg(target_vendor = "apple")]
use self::stream::Line;

#[cfg(not(target_vendor = "apple"))]
mod packets;
#[cfg(any(target_vendor = "apple", test))]
mod stream;

/// One end.
#[derive(Debug)]
pub struct Lifeline(Line);

/// What a monitor tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromMonitor {
    /// It watches.
    Ready {
        /// It hangs when it shows no beat for so long.
        patience: Duration,
        /// There are ends that are to be told later.
        has_untold: bool,
        /// What it does, in a few words.
        what: String,
    },
    /// It goes round.
    Beat,
    /// It was told to stop, and does.
    Stopping,
    /// A part of it panicked.
    Panicked(String),
    /// A line of its log.
    Log(String),
}

/// What a monitor is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToMonitor {
    /// To stop, and by what.
    Stop(String),
    /// To end this moment, with that exit code.
    EndNow(i32),
    /// Another process put mails into the outbox.
    MailsWait,
}

impl Lifeline {
    /// The guardian's end, and the monitor's.
    pub(super) fn pair() -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = Line::pair()?;
        Ok((Self(ours), theirs))
    }

    /// The end that was handed over.
    pub fn take(descriptor: OwnedFd) -> io::Result<Self> {
        let no_line = || io::Error::new(io::ErrorKind::InvalidInput, "a descriptor is no line to a guardian");
        Line::take(descriptor)?.map(Self).ok_or_else(no_line)
    }

    /// Tells the guardian; what it has no room for is lost.
    pub fn tell(&self, message: &FromMonitor) {
        // One that is gone is heard of by the end of the line.
        let _ = self.send(&message.bytes());
    }

    /// Waits for what the guardian says; `None` once it is gone.
    pub fn hear(&self) -> Option<ToMonitor> {
        let mut buffer = [0; LONGEST];
        loop {
            match self.0.receive(&mut buffer, MsgFlags::empty()) {
                Ok(length @ 1..) => {
                    if let Some(message) = ToMonitor::new(&buffer[..length]) {
                        return Some(message);
                    }
                }
                Err(Errno::EINTR) => {}
                Ok(0) | Err(_) => return None,
            }
        }
    }

    /// Tells the monitor.
    pub(super) fn order(&self, message: &ToMonitor) {
        let _ = self.send(&message.bytes());
    }

    /// What the monitor has said and nobody has heard yet; `None` when there is nothing now, or nothing more.
    pub(super) fn heard(&self) -> Option<FromMonitor> {
        let mut buffer = [0; LONGEST];
        let mut resets = 0;
        loop {
            match self.0.receive(&mut buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(length @ 1..) => {
                    if let Some(message) = FromMonitor::new(&buffer[..length]) {
                        return Some(message);
                    }
                }
                // It died with something unheard of ours; what it said before is still there.
                Err(Errno::ECONNRESET) if resets == 0 => resets += 1,
                Err(Errno::EINTR) => {}
                Ok(0) | Err(_) => return None,
            }
        }
    }

    fn send(&self, bytes: &[u8]) -> nix::Result<()> {
        self.0.send(&bytes[..bytes.len().min(LONGEST)])
    }
}

impl AsFd for Lifeline {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl FromMonitor {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Ready { patience, has_untold, what } => {
                format!("r{} {} {what}", patience.as_millis(), u8::from(*has_untold))
            }
            Self::Beat => "b".to_owned(),
            Self::Stopping => "s".to_owned(),
            Self::Panicked(reason) => format!("p{reason}"),
            Self::Log(line) => format!("l{line}"),
        }
        .into_bytes()
    }

    fn new(bytes: &[u8]) -> Option<Self> {
        let (kind, text) = parts(bytes)?;
        Some(match kind {
            b'r' => {
                let (patience, text) = text.split_once(' ')?;
                let (has_untold, what) = text.split_once(' ')?;
                let patience = Duration::from_millis(patience.parse().ok()?);
                Self::Ready { patience, has_untold: has_untold == "1", what: what.to_owned() }
            }
            b'b' => Self::Beat,
            b's' => Self::Stopping,
            b'p' => Self::Panicked(text),
            b'l' => Self::Log(text),
            _ => return None,
        })
    }
}

impl ToMonitor {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Stop(what) => format!("s{what}"),
            Self::EndNow(code) => format!("e{code}"),
            Self::MailsWait => "m".to_owned(),
        }
        .into_bytes()
    }

    fn new(bytes: &[u8]) -> Option<Self> {
        let (kind, text) = parts(bytes)?;
        Some(match kind {
            b's' => Self::Stop(text),
            b'e' => Self::EndNow(text.parse().ok()?),
            b'm' => Self::MailsWait,
            _ => return None,
        })
    }
}

/// The letter that says what it is, and the text behind it, which may have been cut within a character.
fn parts(bytes: &[u8]) -> Option<(u8, String)> {
    let (kind, text) = bytes.split_first()?;
    Some((*kind, String::from_utf8_lossy(text).into_owned()))
}

/// A longer line is cut.
const LONGEST: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_hear_what_was_said_and_that_the_other_is_gone() {
        let (guardian, end) = Lifeline::pair().unwrap();
        let monitor = Lifeline::take(end).unwrap();
        assert_eq!(guardian.heard(), None);
        let said = [
            FromMonitor::Ready {
                patience: Duration::from_secs(10),
                has_untold: true,
                what: "watches 3 targets".into(),
            },
            FromMonitor::Beat,
            FromMonitor::Stopping,
            FromMonitor::Panicked("thread 'x': boom".into()),
        ];
        said.iter().for_each(|message| monitor.tell(message));
        monitor.tell(&FromMonitor::Log("ä".repeat(LONGEST)));
        for order in [ToMonitor::Stop("SIGTERM".into()), ToMonitor::EndNow(143), ToMonitor::MailsWait] {
            guardian.order(&order);
            assert_eq!(monitor.hear(), Some(order));
        }
        // It dies with an order unheard.
        guardian.order(&ToMonitor::MailsWait);
        drop(monitor);
        for message in said {
            assert_eq!(guardian.heard(), Some(message));
        }
        let Some(FromMonitor::Log(line)) = guardian.heard() else { panic!("a line") };
        assert!(line.starts_with("ää") && line.len() <= LONGEST + 3);
        assert_eq!(guardian.heard(), None);

        let (guardian, end) = Lifeline::pair().unwrap();
        let monitor = Lifeline::take(end).unwrap();
        drop(guardian);
        assert_eq!(monitor.hear(), None);
        monitor.tell(&FromMonitor::Beat);
    }

    #[test]
    fn nobody_waits_for_a_guardian_that_does_not_listen() {
        let (guardian, end) = Lifeline::pair().unwrap();
        let monitor = Lifeline::take(end).unwrap();
        for _ in 0..100_000 {
            monitor.tell(&FromMonitor::Beat);
        }
        assert_eq!(guardian.heard(), Some(FromMonitor::Beat));
    }
}
