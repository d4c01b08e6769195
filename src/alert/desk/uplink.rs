//! Our own uplink, as readers know it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::{Notice, Severity, Story};
use super::{HOUR, STEADY_AFTER};
use crate::time::UnixTime;

/// How our own uplink stands, and what its readers were told.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Uplink {
    /// The newest time that it was gone.
    gone: Option<Gone>,
    /// When that ended; `None` while it lasts.
    back: Option<UnixTime>,
    /// What was told to be gone.
    told: Option<Gone>,
    untold: bool,
    /// When it went and came back, the newest last, at most [`Uplink::RECENT`].
    recent: Vec<UnixTime>,
    hurried: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Gone {
    since: UnixTime,
    why: String,
}

impl Uplink {
    /// With so many changes within an hour it is told only once it keeps still.
    const RECENT: usize = 4;

    pub(super) fn gone(&mut self, since: UnixTime, why: String, now: UnixTime) {
        if self.gone.is_some() && self.back.is_none() {
            // Found out again, as after a restart.
            return;
        }
        self.gone = Some(Gone { since, why });
        self.back = None;
        self.changed(now);
    }

    pub(super) fn back(&mut self, at: UnixTime, now: UnixTime) {
        if self.gone.is_some() && self.back.is_none() {
            self.back = Some(at);
            self.changed(now);
        }
    }

    pub(super) fn hurry(&mut self) {
        self.hurried = true;
    }

    /// When there is something to tell.
    pub(super) fn next(&self, settle: Duration) -> Option<UnixTime> {
        if !self.untold {
            return None;
        }
        let (first, last) = (self.recent.first()?, self.recent.last()?);
        let is_restless =
            self.recent.len() >= Self::RECENT && last.since(*first).is_none_or(|took| took < HOUR);
        Some(last.plus(if is_restless { STEADY_AFTER } else { settle }))
    }

    /// The difference between how it stands and what was told.
    pub(super) fn due(&mut self, settle: Duration, now: UnixTime) -> Option<Notice> {
        let next = self.next(settle)?;
        let is_due = next <= now || next > now.plus(STEADY_AFTER) || self.hurried;
        self.hurried = false;
        if !is_due {
            return None;
        }
        self.untold = false;
        let gone = self.gone.clone()?;
        let key = |gone: &Gone, what: &str| format!("uplink-{}-{what}", gone.since.micros());
        let (key, answers, severity, story) = match (self.back, self.told.take()) {
            (None, Some(told)) => {
                // As it was told, however often it came back between.
                self.told = Some(told);
                return None;
            }
            (None, None) => {
                self.told = Some(gone.clone());
                let Gone { since, why } = gone.clone();
                (key(&gone, "offline"), None, Severity::Critical, Story::Offline { since, why })
            }
            (Some(back), told) => {
                let answers = told.as_ref().map(|told| key(told, "offline"));
                let first = told.unwrap_or(gone);
                let lasted = back.since(first.since).unwrap_or_default();
                let key = key(&first, "online");
                let Gone { since, why } = first;
                (key, answers, Severity::Critical, Story::Online { since, lasted, why })
            }
        };
        Some(Notice { key, answers, at: now, severity, to: Vec::new(), story, also: Vec::new() })
    }

    fn changed(&mut self, now: UnixTime) {
        if self.recent.len() >= Self::RECENT {
            let over = self.recent.len() + 1 - Self::RECENT;
            self.recent.drain(..over);
        }
        self.recent.push(now);
        self.untold = true;
    }
}
