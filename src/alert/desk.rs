//! Decides what is told of all that happens, and when: events in, notices out.
//!
//! Nothing here reads a clock: whoever asks says what time it is.

use super::{Event, Notice};
use crate::time::UnixTime;

/// Turns events into notices.
#[derive(Clone, Debug, Default)]
pub struct Desk {
    ready: Vec<Notice>,
}

impl Desk {
    /// Takes an event.
    pub fn take(&mut self, event: Event, _now: UnixTime) {
        self.ready.push(Notice::of_event(event));
    }

    /// What is to be told by `now`, oldest first; each notice once.
    pub fn due(&mut self, _now: UnixTime) -> Vec<Notice> {
        std::mem::take(&mut self.ready)
    }

    /// When there will be something to tell, without any further event; `None` where nothing waits.
    pub fn next_due(&self) -> Option<UnixTime> {
        self.ready.first().map(|notice| notice.at)
    }
}
