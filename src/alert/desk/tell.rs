//! Notices out of what has settled.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

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

/// What there is to tell of one target: the gravest of its alerts speaks, and the others are told with it.
#[derive(Clone, Debug)]
struct News {
    event: Event,
    also: Vec<Event>,
}

impl Desk {
    /// Tells all that waits and is not held back.
    pub(super) fn tell(&mut self, now: UnixTime) -> Vec<Notice> {
        let mut kinds: BTreeMap<Kind, Vec<News>> = BTreeMap::new();
        for (kind, news) in self.state.matters.values().flat_map(|matters| self.news(matters, now)) {
            kinds.entry(kind).or_default().push(news);
        }
        let together = merged(kinds).into_iter().flat_map(|(kind, news)| self.apart(kind, news));
        let together: Vec<(Kind, Vec<News>)> = together.collect();
        together.into_iter().map(|(kind, news)| self.notice(kind, news, now)).collect()
    }

    /// What there is to tell of a target with these `matters`, to each of its readers.
    fn news(&self, matters: &[Matter], now: UnixTime) -> Vec<(Kind, News)> {
        let is_hidden = |matter: &Matter| {
            let is_covered = matter.is_open() && self.is_covered(&matter.event, now);
            is_covered || self.is_held(&matter.event, now)
        };
        let told = matters.iter().filter_map(|matter| Some((matter.what(now)?, matter)));
        let mut told: Vec<(What, &Matter)> = told.filter(|(_, matter)| !is_hidden(matter)).collect();
        told.sort_by_key(|(what, matter)| {
            let event = &matter.event;
            let gravity = (matter.is_open(), *what != What::Repeated, event.severity, gravity(event));
            (&event.to, Reverse(gravity))
        });
        let readers = told.chunk_by(|(_, one), (_, other)| one.event.to == other.event.to);
        readers.map(|told| news(matters, told, now)).collect()
    }

    /// What begins in different places, with different targets at their heads, is told apart where these are few.
    fn apart(&self, kind: Kind, news: Vec<News>) -> Vec<(Kind, Vec<News>)> {
        let mut heads: BTreeMap<Option<String>, Vec<News>> = BTreeMap::new();
        if kind.what == What::Raised {
            for news in &news {
                let head = self.tree.head(&news.event.target.name).map(str::to_owned);
                heads.entry(head).or_default().push(news.clone());
            }
        }
        if heads.len() < 2 || heads.len() > MOST_PLACES {
            return vec![(kind, news)];
        }
        heads.into_values().map(|news| (kind.clone(), news)).collect()
    }

    fn notice(&mut self, kind: Kind, news: Vec<News>, now: UnixTime) -> Notice {
        let (mut events, also) = taken_apart(news);
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
        if kind.what == What::Flapping {
            events.iter().for_each(|event| self.begin_flap(event, &key, now));
        }
        for (place, event) in events.iter().enumerate() {
            let Some(matter) = self.matter_of(event) else { continue };
            matter.is_told(&thread, place >= own, now);
        }
        for event in &also {
            let Some(matter) = self.matter_of(event) else { continue };
            if matter.told.is_none() {
                matter.thread = None;
            }
            matter.is_told(&thread, false, now);
        }
        let severity = severity(events.iter().chain(&also));
        let story = match kind.what {
            What::Flapping => {
                let event = events.remove(0);
                let (changes, since) = self.flap_of(&event).unwrap_or((0, now));
                let own = self.matter_of(&event).and_then(|matter| matter.flap.as_ref());
                let is_new = event.kind == EventKind::Raised && own.is_some_and(|flap| flap.changes < 2);
                Story::Flapping { event, others: events, changes, since, is_new }
            }
            _ if events.len() == 1 => Story::Alert(events.remove(0)),
            _ => self.together(events),
        };
        Notice { key, answers, at: now, severity, to: kind.to, story, also }
    }

    /// The alerts of the target of `event` come and go, all that are for its readers, as the notice `key` tells.
    fn begin_flap(&mut self, event: &Event, key: &str, now: UnixTime) {
        let Some(matters) = self.state.matters.get_mut(&event.target.name) else { return };
        let mut alike: Vec<&mut Matter> =
            matters.iter_mut().filter(|matter| matter.event.to == event.to).collect();
        let times = alike
            .iter()
            .flat_map(|matter| matter.changes_since_an_hour(now).chain(matter.told_since_an_hour(now)));
        let since = times.min().unwrap_or(now);
        for matter in &mut alike {
            let changes = u32::try_from(matter.changes_since_an_hour(now).count()).unwrap_or(u32::MAX);
            matter.flap = Some(Flap { key: key.to_owned(), since, changes });
        }
    }

    /// How often the alerts of the target of `event` came or went, and since when.
    fn flap_of(&self, event: &Event) -> Option<(u32, UnixTime)> {
        let matters = self.state.matters.get(&event.target.name)?;
        let alike = matters.iter().filter(|matter| matter.event.to == event.to);
        let flaps = alike.filter_map(|matter| matter.flap.as_ref());
        flaps
            .map(|flap| (flap.changes, flap.since))
            .reduce(|(changes, since), (more, other)| (changes.saturating_add(more), since.min(other)))
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

    /// Tells of targets whose alerts came and went and have kept still.
    pub(super) fn sum_up(&mut self, now: UnixTime) -> Vec<Notice> {
        let mut steady: BTreeMap<String, Vec<News>> = BTreeMap::new();
        for matters in self.state.matters.values() {
            let mut flapping: Vec<(&Matter, &Flap)> =
                matters.iter().filter_map(|matter| Some((matter, matter.flap.as_ref()?))).collect();
            flapping.sort_by_key(|(matter, flap)| {
                let event = &matter.event;
                (&event.to, Reverse((flap.changes > 0, matter.is_open(), event.severity, gravity(event))))
            });
            for alike in flapping.chunk_by(|(one, _), (other, _)| one.event.to == other.event.to) {
                let at = alike.iter().filter_map(|(matter, _)| matter.steady_at()).max();
                if !at.is_some_and(|at| at <= now || at > now.plus(2 * HOUR)) {
                    continue;
                }
                let is_told = |(matter, _): &&(&Matter, &Flap)| !self.is_held(&matter.event, now);
                let told: Vec<&(&Matter, &Flap)> = alike.iter().filter(is_told).collect();
                let Some(((first, flap), others)) = told.split_first() else { continue };
                let event = |matter: &Matter| Event { kind: still(matter), ..matter.event.clone() };
                let others = others.iter().filter(|(_, flap)| flap.changes > 0);
                let also = others.map(|(matter, _)| event(matter)).collect();
                steady.entry(flap.key.clone()).or_default().push(News { event: event(first), also });
            }
        }
        steady.into_values().map(|news| self.steady(news, now)).collect()
    }

    fn steady(&mut self, news: Vec<News>, now: UnixTime) -> Notice {
        let (mut events, also) = taken_apart(news);
        let key = format!("{}-steady-{}", alert_key(&events[0]), now.secs());
        let mut answers = None;
        let (mut changes, mut since) = (0, now);
        for event in &events {
            if let Some((times, began)) = self.flap_of(event) {
                changes = changes.max(times);
                since = since.min(began);
            }
            self.end_flap(event);
        }
        for event in events.iter().chain(&also) {
            let Some(matter) = self.matter_of(event) else { continue };
            if answers.is_none() {
                answers.clone_from(&matter.thread);
            }
            let thread = matter.thread.clone().unwrap_or_else(|| key.clone());
            matter.is_told(&thread, false, now);
        }
        let severity = severity(events.iter().chain(&also));
        let event = events.remove(0);
        let to = event.to.clone();
        let story = Story::Steady { event, others: events, changes, since };
        Notice { key, answers, at: now, severity, to, story, also }
    }

    /// The alerts of the target of `event` have kept still, all that are for its readers.
    fn end_flap(&mut self, event: &Event) {
        let matters = self.state.matters.get_mut(&event.target.name);
        for matter in matters.into_iter().flatten().filter(|matter| matter.event.to == event.to) {
            matter.flap = None;
        }
    }

    /// What is known of the alert of this event.
    pub(super) fn matter_of(&mut self, event: &Event) -> Option<&mut Matter> {
        let matters = self.state.matters.get_mut(&event.target.name)?;
        matters.iter_mut().find(|matter| matter.event.rule == event.rule)
    }
}

/// Where what is told answers many notices, it is one answer to the first.
fn merged(kinds: BTreeMap<Kind, Vec<News>>) -> Vec<(Kind, Vec<News>)> {
    let kinds: Vec<(Kind, Vec<News>)> = kinds.into_iter().collect();
    let is_like = |(one, _): &(Kind, _), (other, _): &(Kind, _)| {
        one.what == other.what && one.trouble == other.trouble && one.to == other.to
    };
    let mut merged = Vec::new();
    for like in kinds.chunk_by(is_like) {
        match like {
            [(first, _), ..] if like.len() > MOST_ANSWERS => {
                let all = like.iter().flat_map(|(_, news)| news.iter().cloned()).collect();
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

fn severity<'a>(events: impl Iterator<Item = &'a Event>) -> Severity {
    events.map(|event| event.severity).max().unwrap_or(Severity::Warning)
}

/// What is `told` of a target with these `matters`, to the same readers, the gravest first.
fn news(matters: &[Matter], told: &[(What, &Matter)], now: UnixTime) -> (Kind, News) {
    let (first, matter) = told[0];
    let (to, trouble) = (&matter.event.to, matter.event.trouble);
    let alike = matters.iter().filter(|other| other.event.to == *to);
    let before: BTreeSet<UnixTime> = alike.flat_map(|other| other.told_since_an_hour(now)).collect();
    let is_third = before.len() + 1 >= Matter::RECENT && told.iter().any(|(what, _)| *what != What::Repeated);
    let flaps = is_third || told.iter().any(|(what, _)| *what == What::Flapping);
    let what = if flaps { What::Flapping } else { first };
    let goes_on = matches!(what, What::Cleared | What::Repeated);
    let thread = matter.thread.clone().filter(|_| goes_on);
    let mut events: Vec<Event> = told.iter().map(|(what, matter)| event(*what, matter)).collect();
    let event = events.remove(0);
    (Kind { what, trouble, to: to.clone(), thread }, News { event, also: events })
}

/// How an alert stands, with what there is to tell of it.
fn event(what: What, matter: &Matter) -> Event {
    let kind = match what {
        What::Raised => EventKind::Raised,
        What::Repeated => EventKind::Repeated,
        What::Cleared | What::Was | What::Flapping => matter.event.kind,
    };
    Event { kind, ..matter.event.clone() }
}

fn taken_apart(news: Vec<News>) -> (Vec<Event>, Vec<Event>) {
    let (events, also): (Vec<Event>, Vec<Vec<Event>>) =
        news.into_iter().map(|news| (news.event, news.also)).unzip();
    (events, also.concat())
}

/// Of the same severity, the greater speaks.
fn gravity(event: &Event) -> u8 {
    match event.trouble {
        Trouble::Unknown => 0,
        Trouble::Slow => 1,
        Trouble::Lossy => 2,
        Trouble::Down => 3,
    }
}

/// In how many places trouble may begin and be told apart.
const MOST_PLACES: usize = 3;
/// How many notices may be answered one by one at a time.
const MOST_ANSWERS: usize = 3;
