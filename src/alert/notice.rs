//! What one message tells. A notice is a value that can be written down: what was decided on and not yet told outlasts
//! the process.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Event, EventKind, Severity};
use crate::time::UnixTime;

/// What one message tells, and to whom.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Notice {
    /// Its stable name, by target, rule, since and kind: however often it is decided on, it is the same message.
    pub key: String,
    /// The key of the notice in which the matter was first told, which this one answers.
    pub answers: Option<String>,
    /// When it was decided on.
    pub at: UnixTime,
    /// The greatest of what it tells.
    pub severity: Severity,
    /// Who is told, as the rules say it; empty for everybody.
    pub to: Vec<String>,
    /// What it tells.
    pub story: Story,
    /// What it tells besides: the newest events of other alerts of its targets.
    #[serde(default)]
    pub also: Vec<Event>,
}

/// What a notice tells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Story {
    /// One event of one target.
    Alert(Event),
    /// The same happened to several targets at once.
    Together {
        /// What happened to each of them: by name, but the target that the others lie behind comes first, where it happened
        /// to that too.
        events: Vec<Event>,
        /// Among how many targets: all, or all behind the parent, and the parent itself where its event is among them.
        of: usize,
        /// The target that they lie behind, where that is what they share.
        behind: Option<String>,
    },
    /// An alert comes and goes. Its further changes are not told until it is steady.
    Flapping {
        /// Its newest event.
        event: Event,
        /// The newest events of other alerts that come and go together with it.
        #[serde(default)]
        others: Vec<Event>,
        /// How often it was raised or over.
        changes: u32,
        /// Since when they are counted.
        since: UnixTime,
        /// It was raised for the first time within the hour: it is other alerts of its target that came and went.
        #[serde(default)]
        is_new: bool,
    },
    /// An alert that came and went has kept still.
    Steady {
        /// Its last event: how it stands now.
        event: Event,
        /// The last events of other alerts that came and went together with it.
        #[serde(default)]
        others: Vec<Event>,
        /// How often it was raised or over in all.
        changes: u32,
        /// Since when they are counted.
        since: UnixTime,
    },
    /// What was over the bound of notices per hour.
    Digest {
        /// What would have been told, oldest first; at most [`Story::DIGEST_EVENTS`].
        events: Vec<Event>,
        /// How many more there were.
        more: usize,
        /// When the bound was reached.
        since: UnixTime,
    },
    /// This monitor's own uplink is down: nothing is known of any target behind it.
    Offline {
        /// When the last reply of anybody was heard.
        since: UnixTime,
        /// How that is known: `192.0.2.1 does not answer`, `eth0 has no carrier`.
        why: String,
    },
    /// The uplink works again.
    Online {
        /// When it had gone.
        since: UnixTime,
        /// How long it was gone.
        lasted: Duration,
        /// How it had been known.
        why: String,
    },
}

impl Story {
    /// The most events that a digest lists.
    pub const DIGEST_EVENTS: usize = 200;
}

impl Notice {
    /// The notice that tells one event.
    pub fn of_event(event: Event) -> Self {
        Self {
            key: event_key(&event),
            answers: (event.kind != EventKind::Raised).then(|| raised_key(&event)),
            at: event.at,
            severity: event.severity,
            to: event.to.clone(),
            story: Story::Alert(event),
            also: Vec::new(),
        }
    }

    /// All that it tells of targets.
    pub fn events(&self) -> impl Iterator<Item = &Event> {
        let (first, rest): (Option<&Event>, &[Event]) = match &self.story {
            Story::Alert(event) => (Some(event), &[]),
            Story::Flapping { event, others, .. } | Story::Steady { event, others, .. } => {
                (Some(event), others)
            }
            Story::Together { events, .. } | Story::Digest { events, .. } => (None, events),
            Story::Offline { .. } | Story::Online { .. } => (None, &[]),
        };
        first.into_iter().chain(rest).chain(&self.also)
    }
}

/// The key of the notice that tells `event` by itself.
pub(super) fn event_key(event: &Event) -> String {
    match event.kind {
        EventKind::Raised => raised_key(event),
        EventKind::Repeated => repeated_key(event, event.at),
        EventKind::Cleared { .. } => format!("{}-cleared", alert_key(event)),
    }
}

fn raised_key(event: &Event) -> String {
    format!("{}-raised", alert_key(event))
}

/// The key of the notice that tells it again, as was decided at `at`.
pub(super) fn repeated_key(event: &Event, at: UnixTime) -> String {
    format!("{}-repeated-{}", alert_key(event), at.secs())
}

/// What the keys of all notices of one alert begin with.
pub(super) fn alert_key(event: &Event) -> String {
    format!("{}-{}-{}", event.target.name, event.rule, event.since.secs())
}
