//! Notices on their way to be composed, in which order: those whose paths are looked for wait for them, those that follow
//! one of these in its conversation, or tell of one of its targets, wait for that, and all others pass. Pure.

use std::collections::{HashSet, VecDeque};
use std::time::Instant;

use crate::alert::Notice;
use crate::monitor::paths::{Seen, Sights};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    notice: Notice,
    sights: Sights,
    /// It waits no longer for more; `None` where there is no more to come.
    until: Option<Instant>,
}

impl Queue {
    /// Takes a notice, with what is known of its paths; more may come `until` then.
    pub(super) fn push(&mut self, notice: Notice, sights: Sights, until: Option<Instant>) {
        self.waiting.push_back(Waiting { notice, sights, until });
    }

    /// Takes what was seen of the paths that a notice waits for. What comes too late is of no use any more.
    pub(super) fn see(&mut self, seen: Seen) {
        let waiting = self.waiting.iter_mut().find(|waiting| waiting.notice.key == seen.key);
        if let Some(waiting) = waiting.filter(|waiting| waiting.until.is_some()) {
            waiting.sights = seen.sights;
            waiting.until = waiting.until.filter(|_| !seen.is_all);
        }
    }

    /// The next notice that is to be composed `now`, and what was seen of its paths.
    pub(super) fn next(&mut self, now: Instant) -> Option<(Notice, Sights)> {
        let is_ready = |place: &usize| {
            let waiting = &self.waiting[*place];
            waiting.until.is_none_or(|until| until <= now) && {
                let follows = Follows::of(&waiting.notice);
                !self.waiting.iter().take(*place).any(|earlier| follows.after(&earlier.notice))
            }
        };
        let ready = (0..self.waiting.len()).find(is_ready)?;
        self.waiting.remove(ready).map(|waiting| (waiting.notice, waiting.sights))
    }

    /// When one need not wait any longer.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.waiting.iter().filter_map(|waiting| waiting.until).min()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// So many wait that more need not be taken yet.
    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= MOST
    }
}

/// What a notice has in common with those before it that it must follow.
struct Follows<'a> {
    conversation: &'a str,
    targets: HashSet<&'a str>,
}

impl<'a> Follows<'a> {
    fn of(notice: &'a Notice) -> Self {
        let targets = notice.events().map(|event| event.target.name.as_str()).collect();
        Self { conversation: conversation(notice), targets }
    }

    fn after(&self, earlier: &Notice) -> bool {
        self.conversation == conversation(earlier)
            || earlier.events().any(|event| self.targets.contains(event.target.name.as_str()))
    }
}

fn conversation(notice: &Notice) -> &str {
    notice.answers.as_ref().unwrap_or(&notice.key)
}

/// Paths are found within seconds, and few are looked for.
const MOST: usize = 64;

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::alert::{Event, EventKind, Severity, Trouble};
    use crate::monitor::paths::Sight;
    use crate::round::Target;
    use crate::time::UnixTime;

    fn notice(target: &str, is_over: bool) -> Notice {
        let kind =
            if is_over { EventKind::Cleared { lasted: Duration::from_secs(60) } } else { EventKind::Raised };
        Notice::of_event(Event {
            target: Arc::new(Target { name: target.into(), host: "192.0.2.1".into() }),
            address: None,
            rule: "down".into(),
            condition: "no ping answered".into(),
            trouble: Trouble::Down,
            severity: Severity::Critical,
            to: Vec::new(),
            kind,
            since: UnixTime::from_secs(60),
            at: UnixTime::from_secs(120),
            rounds: 1,
            median: None,
            worst_median: None,
            usual: None,
            loss_ratio: 1.0,
            worst_loss_ratio: 1.0,
            says: None,
            unknown: None,
        })
    }

    fn seen(notice: &Notice, is_all: bool) -> Seen {
        let target = notice.events().next().unwrap().target.name.clone();
        Seen { key: notice.key.clone(), sights: HashMap::from([(target, Sight::Near)]), is_all }
    }

    /// All that may be composed by then: the keys, and how many paths are known.
    fn composed(queue: &mut Queue, now: Instant) -> Vec<(String, usize)> {
        std::iter::from_fn(|| queue.next(now)).map(|(notice, sights)| (notice.key, sights.len())).collect()
    }

    #[test]
    fn who_waits_for_a_path_holds_up_its_own_conversation_only() {
        let (now, later) = (Instant::now(), Instant::now() + Duration::from_secs(2));
        let [down, up, other] = [notice("t1", false), notice("t1", true), notice("t2", false)];
        let mut queue = Queue::default();
        queue.push(down.clone(), Sights::new(), Some(later));
        queue.push(up.clone(), Sights::new(), None);
        queue.push(other.clone(), Sights::new(), None);
        assert_eq!(composed(&mut queue, now), [(other.key, 0)]);
        assert_eq!(queue.next_due(), Some(later));
        queue.see(seen(&down, true));
        assert_eq!(composed(&mut queue, now), [(down.key, 1), (up.key, 0)]);
        assert!(queue.is_empty());
    }

    #[test]
    fn the_patience_ends_and_the_path_that_is_known_by_then_serves_without_names() {
        let (now, later) = (Instant::now(), Instant::now() + Duration::from_secs(2));
        let [blind, nameless] = [notice("t1", false), notice("t2", false)];
        let mut queue = Queue::default();
        queue.push(blind.clone(), Sights::new(), Some(later));
        queue.push(nameless.clone(), Sights::new(), Some(later));
        queue.see(seen(&nameless, false));
        assert_eq!(composed(&mut queue, now), []);
        assert_eq!(composed(&mut queue, later), [(blind.key.clone(), 0), (nameless.key, 1)]);
        queue.see(seen(&blind, true));
        assert!(queue.is_empty(), "what comes too late makes no second mail");
    }

    /// Another rule's alert of the same target is another conversation, and its reader wants them in order.
    #[test]
    fn what_tells_of_the_same_target_keeps_its_order() {
        let later = Instant::now() + Duration::from_secs(2);
        let first = notice("t1", false);
        let mut second = notice("t1", false);
        second.key = "t1-slow-60-raised".into();
        let mut queue = Queue::default();
        queue.push(first.clone(), Sights::new(), Some(later));
        queue.push(second.clone(), Sights::new(), None);
        assert_eq!(composed(&mut queue, Instant::now()), []);
        assert_eq!(composed(&mut queue, later), [(first.key, 0), (second.key, 0)]);
    }
}
