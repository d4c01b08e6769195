//! What the judges know, to be written down and read again: a restart neither raises twice nor forgets what is open.
//!
//! Kept is what the rounds so far leave open: alerts, and bad rounds that are not enough yet. Of a target that is well
//! nothing is.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::pattern::Values;
use super::tally::Stretch;
use super::{Alerts, Judge, Open, Watch};

/// How one rule stands on one target, between two rounds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeptAlert {
    /// The target's name.
    pub target: String,
    /// The rule's name.
    pub rule: String,
    /// What the rule says. Where it says something else by now, its rounds are counted anew.
    says: String,
    judged: u64,
    raise: VecDeque<Stretch>,
    clear: VecDeque<Stretch>,
    open: Option<Open>,
    values: Option<Values>,
}

impl Alerts {
    /// All that must outlast this process.
    pub fn kept(&self) -> Vec<KeptAlert> {
        let watches =
            self.targets.iter().flat_map(|(name, it)| it.watches.iter().map(move |watch| (name, watch)));
        let mut kept: Vec<KeptAlert> =
            watches.filter(|(_, watch)| !watch.is_idle()).map(|(name, watch)| watch.kept(name)).collect();
        kept.sort_unstable_by(|one, other| (&one.target, &one.rule).cmp(&(&other.target, &other.rule)));
        kept
    }

    /// Goes on where `kept` ended. What is of no target and rule of today is dropped: returns the open ones of these, as
    /// `TARGET: RULE`.
    pub fn resume(&mut self, kept: Vec<KeptAlert>) -> Vec<String> {
        let mut dropped = Vec::new();
        for alert in kept {
            let watched = self.targets.get_mut(&alert.target);
            let watch = watched
                .and_then(|watched| watched.watches.iter_mut().find(|watch| watch.rule.name == alert.rule));
            match watch {
                Some(watch) => watch.resume(alert),
                None if alert.open.is_some() => dropped.push(format!("{}: {}", alert.target, alert.rule)),
                None => {}
            }
        }
        dropped
    }

    /// Whether this rule judges this target.
    pub fn is_watched(&self, target: &str, rule: &str) -> bool {
        let watched = self.targets.get(target);
        watched.is_some_and(|watched| watched.watches.iter().any(|watch| watch.rule.name == rule))
    }

    /// Whether this alert is open.
    pub fn is_open(&self, target: &str, rule: &str) -> bool {
        let watched = self.targets.get(target);
        let mut watches = watched.iter().flat_map(|watched| &watched.watches);
        watches.any(|watch| watch.rule.name == rule && watch.open.is_some())
    }

    /// Whether something is to be kept that was not when this was last asked, or the other way round.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }
}

impl Watch {
    /// Nothing is open, and nothing counts.
    pub(super) fn is_idle(&self) -> bool {
        self.open.is_none() && self.raise.hits.is_empty()
    }

    fn kept(&self, target: &str) -> KeptAlert {
        let is_pattern = matches!(self.rule.judge, Judge::Pattern(_));
        KeptAlert {
            target: target.to_owned(),
            rule: self.rule.name.clone(),
            says: self.says(),
            judged: self.judged,
            raise: self.raise.hits.clone(),
            clear: self.clear.hits.clone(),
            open: self.open,
            values: is_pattern.then(|| self.values.clone()),
        }
    }

    fn resume(&mut self, kept: KeptAlert) {
        let open = kept.open.filter(|open| open.trouble.is_sound(kept.judged));
        let hits = |hits: &VecDeque<Stretch>| {
            let is_ordered = hits.iter().zip(hits.iter().skip(1)).all(|(one, next)| one.is_before(next));
            is_ordered && hits.iter().all(|hit| hit.is_sound(kept.judged))
        };
        let is_sound = kept.judged <= MOST_JUDGED && hits(&kept.raise) && hits(&kept.clear);
        if !is_sound || kept.says != self.says() {
            // An open alert stays open: its reader waits for its end.
            self.open = open.map(Open::anew);
            self.judged = u64::from(self.open.is_some());
            return;
        }
        self.judged = kept.judged;
        self.open = open;
        self.raise.take_back(kept.raise);
        self.clear.take_back(kept.clear);
        if let (Judge::Pattern(pattern), Some(values)) = (&self.rule.judge, kept.values)
            && values.fits(pattern)
        {
            self.values = values;
        }
    }

    fn says(&self) -> String {
        format!("{}, {}, {}, {}", self.rule.judge, self.rule.raise, self.rule.clear, self.step)
    }
}

impl Open {
    /// With the numbers of its rounds begun anew.
    fn anew(mut self) -> Self {
        self.trouble.renumber();
        self
    }
}

/// More rounds than any monitor judges: a second each, for ever.
const MOST_JUDGED: u64 = 1 << 53;

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::super::pattern::{Pattern, PatternKind, Semantics};
    use super::super::rule::Rule;
    use super::super::{Event, Past, Settings, TargetRules};
    use super::*;
    use crate::round::{Fault, Ping, Round, Rtt, Target};
    use crate::time::{Step, UnixTime};

    fn rules() -> Vec<Rule> {
        let rule = |name: &str, judge, raise: &str, clear: &str| Rule {
            name: name.into(),
            judge,
            raise: raise.parse().unwrap(),
            clear: clear.parse().unwrap(),
            repeat: Some(Duration::from_secs(120)),
            ..Rule::down()
        };
        let pattern = Pattern::parse(PatternKind::Loss, Semantics::Manual, ">10%,*3*,>10%").unwrap();
        vec![
            Rule::down(),
            rule("lossy", Judge::when("loss >= 20%").unwrap(), "2 of 4", "3 of 5"),
            rule("slow", Judge::when("median > 100ms").unwrap(), "3m", "2m"),
            rule("pattern", Judge::Pattern(pattern), "1 of 1", "1 of 1"),
        ]
    }

    fn alerts(rules: Vec<Rule>) -> Alerts {
        let target = Arc::new(Target { name: "t".into(), host: "192.0.2.1".into() });
        let rules = rules.into_iter().map(Arc::new).collect();
        Alerts::new(&Settings { targets: vec![TargetRules { target, step: Step::new(60).unwrap(), rules }] })
    }

    fn observe(alerts: &mut Alerts, letter: char, minute: i64) -> Vec<Event> {
        let answered = |ms| Ping::Answered(Rtt::new(Duration::from_millis(ms)));
        let pings = match letter {
            '.' => vec![answered(10); 10],
            'x' => vec![answered(200); 10],
            'l' => [vec![Ping::Lost; 3], vec![answered(10); 7]].concat(),
            'D' => vec![Ping::Lost; 10],
            _ => vec![Ping::Unknown(Fault::NoSocket); 10],
        };
        let end = UnixTime::from_secs(minute * 60);
        let target = Arc::new(Target { name: "t".into(), host: "192.0.2.1".into() });
        alerts.observe(
            &Round::new(target, None, end.minus(Duration::from_secs(60)), end, pings),
            Past::default(),
        )
    }

    fn restarted(alerts: &Alerts, rules: Vec<Rule>) -> Alerts {
        let written = serde_json::to_string(&alerts.kept()).unwrap();
        let mut next = super::tests::alerts(rules);
        assert_eq!(next.resume(serde_json::from_str(&written).unwrap()), [""; 0]);
        next
    }

    proptest! {
        /// With restarts anywhere between, all is judged as without; but a pattern begins anew while it is not open.
        #[test]
        fn a_restart_changes_no_verdict(series in "[.xlD?]{0,60}", restarts in prop::collection::btree_set(0i64..60, 0..8)) {
            let judged = |restarts: &std::collections::BTreeSet<i64>| {
                let mut alerts = alerts(rules());
                let mut events = Vec::new();
                for (letter, minute) in series.chars().zip(1..) {
                    if restarts.contains(&minute) {
                        alerts = restarted(&alerts, rules());
                    }
                    alerts.take_changed();
                    let before = alerts.kept();
                    events.extend(observe(&mut alerts, letter, minute));
                    assert!(alerts.take_changed() || alerts.kept() == before, "a change is noticed");
                }
                events
            };
            let of_rules = |events: Vec<Event>| -> Vec<Event> {
                events.into_iter().filter(|event| event.rule != "pattern").collect()
            };
            prop_assert_eq!(of_rules(judged(&restarts)), of_rules(judged(&std::collections::BTreeSet::new())));
        }
    }

    #[test]
    fn of_a_target_that_is_well_nothing_is_kept() {
        let mut alerts = alerts(rules());
        for minute in 1..20 {
            observe(&mut alerts, '.', minute);
        }
        assert_eq!(alerts.kept(), []);
        assert!(!alerts.take_changed());
    }

    #[test]
    fn an_open_pattern_ends_when_it_would_have() {
        let mut alerts = alerts(rules());
        let events: Vec<Event> = "l..l"
            .chars()
            .zip(1..)
            .flat_map(|(letter, minute)| observe(&mut alerts, letter, minute))
            .collect();
        assert!(events.iter().any(|event| event.rule == "pattern"));
        let mut alerts = restarted(&alerts, rules());
        assert!(observe(&mut alerts, 'l', 5).iter().all(|event| event.rule != "pattern"), "it still matches");
    }

    #[test]
    fn what_the_settings_have_no_more_is_dropped_and_what_they_changed_stays_open() {
        let mut alerts = alerts(rules());
        (1..5).for_each(|minute| drop(observe(&mut alerts, 'D', minute)));
        let kept = alerts.kept();
        let mut next = super::tests::alerts(vec![rules().remove(1)]);
        assert_eq!(next.resume(kept.clone()), ["t: down", "t: pattern"]);

        let patient = Rule { clear: "6 of 6".parse().unwrap(), ..Rule::down() };
        let mut next = super::tests::alerts(vec![patient]);
        let dropped = next.resume(kept);
        assert!(!dropped.contains(&"t: down".to_owned()) && next.is_open("t", "down"));
        let events: Vec<Event> = (5..11).flat_map(|minute| observe(&mut next, '.', minute)).collect();
        let [over] = events.as_slice() else { panic!("{events:?}") };
        assert_eq!((over.since, over.at), (UnixTime::from_secs(60), UnixTime::from_secs(600)));
    }
}
