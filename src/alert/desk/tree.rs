//! Who lies behind whom.

use std::collections::HashMap;

use super::super::{Event, EventKind, Trouble};
use super::matter::Matter;
use super::{Desk, Place};
use crate::time::{Step, UnixTime};

/// Targets and their parents.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    places: HashMap<String, Node>,
    /// How many targets lie behind those that have any, however far.
    behind: HashMap<String, usize>,
}

#[derive(Clone, Debug)]
struct Node {
    parent: Option<String>,
    step: Step,
}

impl Tree {
    pub(super) fn new(targets: &[Place]) -> Self {
        let node = |place: &Place| Node { parent: place.parent.clone(), step: place.step };
        let places = targets.iter().map(|place| (place.target.name.clone(), node(place))).collect();
        let mut tree = Self { places, behind: HashMap::new() };
        let mut behind: HashMap<String, usize> = HashMap::new();
        for place in targets {
            for ancestor in tree.ancestors(&place.target.name) {
                *behind.entry(ancestor.to_owned()).or_default() += 1;
            }
        }
        tree.behind = behind;
        tree
    }

    pub(super) fn targets(&self) -> usize {
        self.places.len()
    }

    /// How many targets lie behind this one.
    pub(super) fn behind(&self, target: &str) -> usize {
        self.behind.get(target).copied().unwrap_or(0)
    }

    /// The targets that this one lies behind, nearest first.
    pub(super) fn ancestors<'a>(&'a self, target: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        let parent = |target: &str| self.places.get(target).and_then(|node| node.parent.as_deref());
        // The settings have no circles; a bound costs nothing.
        std::iter::successors(parent(target), move |target| parent(target)).take(MOST_LEVELS)
    }

    pub(super) fn is_behind(&self, target: &str, ancestor: &str) -> bool {
        self.behind(ancestor) > 0 && self.ancestors(target).any(|name| name == ancestor)
    }

    /// The one at the head of those that this target is among, where it lies behind any or any behind it.
    pub(super) fn head<'a>(&'a self, target: &'a str) -> Option<&'a str> {
        self.ancestors(target).last().or_else(|| (self.behind(target) > 0).then_some(target))
    }

    /// The nearest target that all of these are or lie behind.
    pub(super) fn shared<'a>(&'a self, mut targets: impl Iterator<Item = &'a str>) -> Option<&'a str> {
        let first = targets.next()?;
        let mut shared: Vec<&str> = std::iter::once(first).chain(self.ancestors(first)).collect();
        for target in targets {
            shared.retain(|name| *name == target || self.is_behind(target, name));
            if shared.is_empty() {
                return None;
            }
        }
        shared.first().copied().filter(|name| self.behind(name) > 0)
    }

    fn step(&self, target: &str) -> Option<Step> {
        Some(self.places.get(target)?.step)
    }
}

impl Desk {
    /// Whether a parent that is down accounts for this alert, or one that was down until so short a time ago that this
    /// target cannot have found out yet.
    pub(super) fn is_covered(&self, event: &Event, now: UnixTime) -> bool {
        event.trouble == Trouble::Down
            && self.tree.ancestors(&event.target.name).any(|ancestor| {
                self.down_of(ancestor, &event.to).is_some_and(|parent| {
                    let ended = match parent.event.kind {
                        EventKind::Raised | EventKind::Repeated => return true,
                        EventKind::Cleared { .. } => parent.recent.last().copied(),
                    };
                    let patience = self.tree.step(&event.target.name).map(|step| step.duration() * ROUNDS);
                    let ago = ended.and_then(|ended| now.since(ended));
                    ago.zip(patience).is_some_and(|(ago, patience)| ago < patience + self.settle)
                })
            })
    }

    /// The newest events of what is down behind `parent`, where that is down itself: its notice names them too.
    pub(super) fn down_behind(&self, parent: &Event) -> Vec<Event> {
        let (name, to) = (&parent.target.name, &parent.to);
        if parent.trouble != Trouble::Down || self.tree.behind(name) == 0 {
            return Vec::new();
        }
        let behind = self.state.matters.iter().filter(|(target, _)| self.tree.is_behind(target, name));
        behind
            .flat_map(|(_, matters)| matters)
            .filter(|matter| {
                let event = &matter.event;
                let is_same = event.trouble == Trouble::Down && event.to == *to;
                is_same && matter.is_open() && !matter.was_muted && matter.flap.is_none()
            })
            .map(|matter| Event { kind: parent.kind, ..matter.event.clone() })
            .collect()
    }

    fn down_of(&self, target: &str, to: &[String]) -> Option<&Matter> {
        let matters = self.state.matters.get(target)?;
        matters.iter().find(|matter| matter.event.trouble == Trouble::Down && matter.event.to == to)
    }
}

/// A round in which it may have come back, and the three good ones that `down` wants.
const ROUNDS: u32 = 4;
const MOST_LEVELS: usize = 100;
