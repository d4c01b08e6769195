//! The cap: so many notices an hour for the same readers, and a digest of the rest.

use serde::{Deserialize, Serialize};

use super::super::{Event, Notice, Severity, Story};
use super::{Desk, HOUR};
use crate::time::UnixTime;

/// What some readers were told within an hour.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Ration {
    to: Vec<String>,
    /// When the hour began.
    since: UnixTime,
    told: u32,
    /// What was over the bound, oldest first, each alert once; at most [`Story::DIGEST_EVENTS`].
    rest: Vec<Event>,
    /// How many more there were.
    more: usize,
}

impl Ration {
    fn new(to: Vec<String>, now: UnixTime) -> Self {
        Self { to, since: now, told: 0, rest: Vec::new(), more: 0 }
    }

    /// When its digest is due, where there is one.
    pub(super) fn digest_at(&self) -> Option<UnixTime> {
        (!self.rest.is_empty()).then(|| self.since.plus(HOUR))
    }

    fn is_over(&self, now: UnixTime) -> bool {
        now.since(self.since).is_none_or(|ago| ago >= HOUR)
    }

    fn key(&self) -> String {
        format!("digest-{}-{}", self.since.micros(), self.to.join(","))
    }

    fn keep(&mut self, event: Event) {
        let same = |known: &Event| known.target.name == event.target.name && known.rule == event.rule;
        if let Some(place) = self.rest.iter().position(same) {
            // What has happened to it by now is all that matters by then, but for its beginning.
            self.rest.remove(place);
        } else if self.rest.len() >= Story::DIGEST_EVENTS {
            self.more = self.more.saturating_add(1);
            let least = self.rest.iter().enumerate().min_by_key(|(place, known)| (known.severity, *place));
            match least {
                Some((place, least)) if least.severity < event.severity => drop(self.rest.remove(place)),
                _ => return,
            }
        }
        self.rest.push(event);
    }

    fn digest(&mut self, now: UnixTime) -> Option<Notice> {
        if self.rest.is_empty() {
            return None;
        }
        let (key, events) = (self.key(), std::mem::take(&mut self.rest));
        let severity = events.iter().map(|event| event.severity).max().unwrap_or(Severity::Warning);
        let story = Story::Digest { events, more: std::mem::take(&mut self.more), since: self.since };
        Some(Notice { key, answers: None, at: now, severity, to: self.to.clone(), story, also: Vec::new() })
    }
}

impl Desk {
    /// Lets those of `notices` pass that are within the bound, and the digests that are due.
    pub(super) fn ration(&mut self, notices: Vec<Notice>, now: UnixTime) -> Vec<Notice> {
        let mut passed = Vec::new();
        for ration in self.state.rations.iter_mut().filter(|ration| ration.is_over(now)) {
            if let Some(digest) = ration.digest(now) {
                // It is the first one of the next hour.
                *ration = Ration { told: 1, ..Ration::new(std::mem::take(&mut ration.to), now) };
                passed.push(digest);
            }
        }
        self.state.rations.retain(|ration| !ration.is_over(now));
        let mut withheld: Vec<(String, String)> = Vec::new();
        for notice in notices {
            let rations = &mut self.state.rations;
            let known = rations.iter().position(|ration| ration.to == notice.to);
            let place = known.unwrap_or_else(|| {
                rations.push(Ration::new(notice.to.clone(), now));
                rations.len() - 1
            });
            let ration = &mut rations[place];
            if ration.told < self.max_per_hour {
                ration.told += 1;
                passed.push(notice);
                continue;
            }
            notice.events().for_each(|event| ration.keep(event.clone()));
            withheld.push((notice.key, ration.key()));
        }
        // What was first told in a digest is answered there.
        for matter in self.state.matters.values_mut().flatten() {
            let digest = withheld.iter().find(|(key, _)| matter.thread.as_ref() == Some(key));
            if let Some((_, digest)) = digest {
                matter.thread = Some(digest.clone());
            }
        }
        passed
    }
}
