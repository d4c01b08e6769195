//! What is known of one alert: how it stands, and what its reader was told.

use serde::{Deserialize, Serialize};

use super::super::{Event, EventKind};
use super::{HOUR, STEADY_AFTER, minute_after};
use crate::time::UnixTime;

/// An alert, open or not long over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Matter {
    /// Its newest event: how it stands.
    pub(super) event: Event,
    /// What the reader believes to be open; `None` where he believes it to be well.
    pub(super) told: Option<Told>,
    /// Something happened since it was last told.
    pub(super) untold: bool,
    /// The key of the notice that later ones answer.
    pub(super) thread: Option<String>,
    /// When it was raised or over, the newest last, at most [`Matter::RECENT`].
    pub(super) recent: Vec<UnixTime>,
    /// When the reader was told of a change, the newest last, at most [`Matter::RECENT`] - 1.
    #[serde(default)]
    told_at: Vec<UnixTime>,
    /// It comes and goes, or another alert of its target does, and the reader knows.
    pub(super) flap: Option<Flap>,
    /// Its target was muted when that was last looked at.
    pub(super) was_muted: bool,
}

/// What a reader was told to be open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Told {
    /// The beginning of the trouble that was told.
    pub(super) since: UnixTime,
    /// As one of those behind a parent that is down.
    pub(super) behind: bool,
}

/// An alert that comes and goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Flap {
    /// The key of the notice that told so: those of one notice are summed up in one.
    pub(super) key: String,
    /// The first of the changes.
    pub(super) since: UnixTime,
    /// How many there were of this alert.
    pub(super) changes: u32,
}

/// What there is to tell of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum What {
    Raised,
    Flapping,
    Repeated,
    Cleared,
    /// It was open, and is over before that was told.
    Was,
}

impl Matter {
    /// So many changes of an alert within an hour are flapping, and so many notices of changes of a target's alerts.
    pub(super) const RECENT: usize = 3;

    /// Nothing is known of it before this event, which is still to be [taken](Matter::take).
    pub(super) fn new(event: Event) -> Self {
        Self {
            event,
            told: None,
            untold: false,
            thread: None,
            recent: Vec::new(),
            told_at: Vec::new(),
            flap: None,
            was_muted: false,
        }
    }

    /// Takes in what happened `now`, while it `is_hidden` or not; true where there is something to tell.
    pub(super) fn take(&mut self, event: Event, is_hidden: bool, now: UnixTime) -> bool {
        if event.kind != EventKind::Repeated {
            if self.recent.len() >= Self::RECENT {
                self.recent.remove(0);
            }
            self.recent.push(now);
            if let Some(flap) = &mut self.flap {
                flap.changes = flap.changes.saturating_add(1);
            }
        }
        self.event = event;
        self.untold = true;
        if self.told.is_none() && !self.is_open() && is_hidden {
            // Nobody heard of it, and nobody is to.
            self.untold = false;
        }
        self.waits()
    }

    pub(super) fn is_open(&self) -> bool {
        !matches!(self.event.kind, EventKind::Cleared { .. })
    }

    /// Whether there is something to tell as soon as that may be.
    pub(super) fn waits(&self) -> bool {
        self.untold && self.flap.is_none()
    }

    /// Whether it was told as one of those behind a parent.
    pub(super) fn is_behind(&self) -> bool {
        self.told.is_some_and(|told| told.behind)
    }

    /// What hides it has changed: at the end of a mute, what is open is told again, and so is what a parent no longer
    /// accounts for. True where that changed anything.
    pub(super) fn release(&mut self, is_muted: bool, is_covered: bool) -> bool {
        let mut changed = self.was_muted != is_muted;
        if self.was_muted && !is_muted && self.is_open() {
            self.untold = true;
        }
        self.was_muted = is_muted;
        if self.is_open() && !is_covered && self.is_behind() {
            changed = true;
            self.untold = true;
            self.told = self.told.map(|told| Told { behind: false, ..told });
        }
        changed
    }

    /// What there is to tell `now`: the difference between what is and what was told.
    pub(super) fn what(&self, now: UnixTime) -> Option<What> {
        if !self.waits() {
            return None;
        }
        let what = match (self.told, self.is_open()) {
            (None, true) => What::Raised,
            (None, false) => What::Was,
            (Some(told), true) if told.since == self.event.since => What::Repeated,
            (Some(_), true) => What::Raised,
            (Some(_), false) => What::Cleared,
        };
        let flaps = what != What::Repeated && self.changes_within_the_hour(now);
        Some(if flaps { What::Flapping } else { what })
    }

    /// The reader knows how it stands `now`, in a conversation that began with the notice `thread`.
    pub(super) fn is_told(&mut self, thread: &str, behind: bool, now: UnixTime) {
        let goes_on = self.is_open() && self.told.is_some_and(|told| told.since == self.event.since);
        if !goes_on {
            self.told_at.push(now);
            self.bound();
        }
        self.told = self.is_open().then_some(Told { since: self.event.since, behind });
        self.untold = false;
        self.thread.get_or_insert_with(|| thread.to_owned());
    }

    /// When it will have kept still long enough, where it flaps.
    pub(super) fn steady_at(&self) -> Option<UnixTime> {
        let flap = self.flap.as_ref()?;
        let last = self.recent.last().copied().unwrap_or(flap.since);
        Some(minute_after(last.plus(STEADY_AFTER).max(flap.since.plus(HOUR))))
    }

    /// Nothing of it may matter any more.
    pub(super) fn is_forgotten(&self, now: UnixTime) -> bool {
        let is_old = |last: &UnixTime| now.since(*last).is_none_or(|ago| ago >= HOUR);
        !self.is_open()
            && self.told.is_none()
            && !self.untold
            && self.flap.is_none()
            && self.recent.last().is_none_or(is_old)
            && self.told_at.last().is_none_or(is_old)
    }

    /// Cuts what no desk has written.
    pub(super) fn bound(&mut self) {
        for (times, most) in [(&mut self.recent, Self::RECENT), (&mut self.told_at, Self::RECENT - 1)] {
            let over = times.len().saturating_sub(most);
            times.drain(..over);
        }
    }

    /// When it was raised or over within the last hour.
    pub(super) fn changes_since_an_hour(&self, now: UnixTime) -> impl Iterator<Item = UnixTime> {
        within_the_hour(&self.recent, now)
    }

    /// When its reader was told of that within the last hour.
    pub(super) fn told_since_an_hour(&self, now: UnixTime) -> impl Iterator<Item = UnixTime> {
        within_the_hour(&self.told_at, now)
    }

    fn changes_within_the_hour(&self, now: UnixTime) -> bool {
        match self.recent.as_slice() {
            [first, .., _] if self.recent.len() == Self::RECENT => {
                now.since(*first).is_none_or(|ago| ago < HOUR)
            }
            _ => false,
        }
    }
}

fn within_the_hour(times: &[UnixTime], now: UnixTime) -> impl Iterator<Item = UnixTime> {
    times.iter().copied().filter(move |time| now.since(*time).is_none_or(|ago| ago < HOUR))
}
