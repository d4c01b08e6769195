//! Notices out of what has settled.

use std::collections::BTreeMap;

use super::super::notice::{alert_key, event_key, repeated_key};
use super::super::{Event, EventKind, Notice, Severity, Story, Trouble};
use super::matter::{Flap, Matter, What};
use super::{Desk, HOUR};
use crate::time::UnixTime;

/// What makes events one notice.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    what: What,
    trouble: Trouble,
    to: Vec<String>,
    /// The notice that is answered, where what is told goes on with something.
    thread: Option<String>,
}

impl Desk {
    /// Tells all that waits and is not held back.
    pub(super) fn tell(&mut self, now: UnixTime) -> Vec<Notice> {
        let mut kinds: BTreeMap<Kind, Vec<Event>> = BTreeMap::new();
        for matter in self.state.matters.values().flatten() {
            let event = &matter.event;
            let Some(what) = matter.what(now) else { continue };
            if self.is_held(event, now) || (matter.is_open() && self.is_covered(event, now)) {
                continue;
            }
            let kind = match what {
                What::Raised => EventKind::Raised,
                What::Repeated => EventKind::Repeated,
                What::Cleared | What::Was | What::Flapping => event.kind,
            };
            let goes_on = matches!(what, What::Cleared | What::Repeated);
            let thread = matter.thread.clone().filter(|_| goes_on);
            let (trouble, to) = (event.trouble, event.to.clone());
            let event = Event { kind, ..event.clone() };
            kinds.entry(Kind { what, trouble, to, thread }).or_default().push(event);
        }
        let together = merged(kinds).into_iter().flat_map(|(kind, events)| self.apart(kind, events));
        let together: Vec<(Kind, Vec<Event>)> = together.collect();
        together.into_iter().map(|(kind, events)| self.notice(kind, events, now)).collect()
    }

    /// What begins in different places, with different targets at their heads, is told apart where these are few.
    fn apart(&self, kind: Kind, events: Vec<Event>) -> Vec<(Kind, Vec<Event>)> {
        let mut heads: BTreeMap<Option<String>, Vec<Event>> = BTreeMap::new();
        if kind.what == What::Raised {
            for event in &events {
                let head = self.tree.head(&event.target.name).map(str::to_owned);
                heads.entry(head).or_default().push(event.clone());
            }
        }
        if heads.len() < 2 || heads.len() > MOST_PLACES {
            return vec![(kind, events)];
        }
        heads.into_values().map(|events| (kind.clone(), events)).collect()
    }

    fn notice(&mut self, kind: Kind, mut events: Vec<Event>, now: UnixTime) -> Notice {
        let own = events.len();
        if matches!(kind.what, What::Raised | What::Repeated) {
            let behind: Vec<Event> = events.iter().flat_map(|event| self.down_behind(event)).collect();
            events.extend(behind);
        }
        let key = match kind.what {
            What::Raised | What::Cleared | What::Was => event_key(&events[0]),
            What::Repeated => repeated_key(&events[0], now),
            What::Flapping => format!("{}-flapping-{}", alert_key(&events[0]), events[0].at.secs()),
        };
        let key = if events.len() > 1 { format!("{key}-together") } else { key };
        let begins = matches!(kind.what, What::Raised | What::Was);
        let mut answers = kind.thread;
        for event in &events {
            let Some(matter) = self.matter_of(event) else { continue };
            if begins && matter.told.is_none() {
                matter.thread = None;
            }
            if answers.is_none() {
                answers.clone_from(&matter.thread);
            }
        }
        // Later notices answer the first of the conversation, whoever joined it when.
        let thread = answers.clone().unwrap_or_else(|| key.clone());
        for (place, event) in events.iter().enumerate() {
            let Some(matter) = self.matter_of(event) else { continue };
            if kind.what == What::Flapping {
                let since = matter.recent.first().copied().unwrap_or(now);
                let changes = u32::try_from(matter.recent.len()).unwrap_or(u32::MAX);
                matter.flap = Some(Flap { key: key.clone(), since, changes });
            }
            matter.is_told(&thread, place >= own);
        }
        let severity = severity(&events);
        let story = match kind.what {
            What::Flapping => {
                let event = events.remove(0);
                let flap = self.matter_of(&event).and_then(|matter| matter.flap.clone());
                let (changes, since) = flap.map_or((0, now), |flap| (flap.changes, flap.since));
                Story::Flapping { event, others: events, changes, since }
            }
            _ if events.len() == 1 => Story::Alert(events.remove(0)),
            _ => self.together(events),
        };
        Notice { key, answers, at: now, severity, to: kind.to, story }
    }

    /// Who all others lie behind comes first.
    fn together(&self, mut events: Vec<Event>) -> Story {
        let behind = self.tree.shared(events.iter().map(|event| event.target.name.as_str()));
        let behind = behind.map(str::to_owned);
        let of = match &behind {
            Some(parent) => {
                events.sort_by_key(|event| event.target.name != *parent);
                self.tree.behind(parent) + usize::from(events[0].target.name == *parent)
            }
            None => self.tree.targets().max(events.len()),
        };
        Story::Together { events, of, behind }
    }

    /// Tells of what came and went and has kept still.
    pub(super) fn sum_up(&mut self, now: UnixTime) -> Vec<Notice> {
        let mut steady: BTreeMap<String, Vec<Event>> = BTreeMap::new();
        for matter in self.state.matters.values().flatten() {
            if let Some(flap) = &matter.flap
                && matter.steady_at().is_some_and(|at| at <= now || at > now.plus(2 * HOUR))
                && !self.is_held(&matter.event, now)
            {
                let event = Event { kind: still(matter), ..matter.event.clone() };
                steady.entry(flap.key.clone()).or_default().push(event);
            }
        }
        steady.into_values().map(|events| self.steady(events, now)).collect()
    }

    fn steady(&mut self, mut events: Vec<Event>, now: UnixTime) -> Notice {
        let key = format!("{}-steady-{}", alert_key(&events[0]), now.secs());
        let mut answers = None;
        let (mut changes, mut since) = (0, now);
        for event in &events {
            let Some(matter) = self.matter_of(event) else { continue };
            if let Some(flap) = matter.flap.take() {
                changes = changes.max(flap.changes);
                since = since.min(flap.since);
            }
            if answers.is_none() {
                answers.clone_from(&matter.thread);
            }
            let thread = matter.thread.clone().unwrap_or_else(|| key.clone());
            matter.is_told(&thread, false);
        }
        let severity = severity(&events);
        let event = events.remove(0);
        let to = event.to.clone();
        Notice {
            key,
            answers,
            at: now,
            severity,
            to,
            story: Story::Steady { event, others: events, changes, since },
        }
    }

    /// What is known of the alert of this event.
    pub(super) fn matter_of(&mut self, event: &Event) -> Option<&mut Matter> {
        let matters = self.state.matters.get_mut(&event.target.name)?;
        matters.iter_mut().find(|matter| matter.event.rule == event.rule)
    }
}

/// Where what is told answers many notices, it is one answer to the first.
fn merged(kinds: BTreeMap<Kind, Vec<Event>>) -> Vec<(Kind, Vec<Event>)> {
    let kinds: Vec<(Kind, Vec<Event>)> = kinds.into_iter().collect();
    let is_like = |(one, _): &(Kind, _), (other, _): &(Kind, _)| {
        one.what == other.what && one.trouble == other.trouble && one.to == other.to
    };
    let mut merged = Vec::new();
    for like in kinds.chunk_by(is_like) {
        match like {
            [(first, _), ..] if like.len() > MOST_ANSWERS => {
                let all = like.iter().flat_map(|(_, events)| events.iter().cloned()).collect();
                merged.push((first.clone(), all));
            }
            few => merged.extend(few.iter().cloned()),
        }
    }
    merged
}

/// How it stands, as an event.
fn still(matter: &Matter) -> EventKind {
    if matter.is_open() { EventKind::Raised } else { matter.event.kind }
}

fn severity(events: &[Event]) -> Severity {
    events.iter().map(|event| event.severity).max().unwrap_or(Severity::Warning)
}

/// In how many places trouble may begin and be told apart.
const MOST_PLACES: usize = 3;
/// How many notices may be answered one by one at a time.
const MOST_ANSWERS: usize = 3;
