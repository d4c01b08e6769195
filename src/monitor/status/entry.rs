//! How one target stands, by its newest round and its alerts.

use std::net::IpAddr;
use std::sync::Arc;

use super::{Ignored, State, TargetStatus};
use crate::alert::{OpenAlert, TargetState, Trouble};
use crate::round::{Fault, Round, Rtt, Says, Target};
use crate::time::UnixTime;

/// One target on the board.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) target: Arc<Target>,
    state: TargetState,
    pub(super) since: Option<UnixTime>,
    newest: Option<Newest>,
    /// Who says why pings of the newest round were lost, and what.
    says: Option<Says>,
    /// The last address there was.
    pub(super) address: Option<IpAddr>,
}

/// What is kept of the newest round.
#[derive(Clone, Copy, Debug)]
struct Newest {
    end: UnixTime,
    median: Option<Rtt>,
    loss_ratio: Option<f64>,
    is_scarcely_known: bool,
    is_down: bool,
    fault: Option<Fault>,
    unknown: usize,
    pings: usize,
}

impl Entry {
    pub(super) fn new(target: &Arc<Target>) -> Self {
        Self {
            target: Arc::clone(target),
            state: TargetState::Waiting,
            since: None,
            newest: None,
            says: None,
            address: None,
        }
    }

    pub(super) fn enter(&mut self, round: &Round, state: &TargetState) {
        let newest = Newest {
            end: round.end(),
            median: round.median(),
            loss_ratio: round.loss_ratio(),
            is_scarcely_known: round.is_scarcely_known(),
            is_down: round.is_down(),
            fault: round.fault(),
            unknown: round.pings().len() - round.known(),
            pings: round.pings().len(),
        };
        let before = self.word();
        self.state.clone_from(state);
        self.newest = Some(newest);
        // Nearly always nobody says anything, or the same as before.
        if self.says.as_ref() != round.says() {
            self.says = round.says().cloned();
        }
        self.address = round.address().or(self.address);
        self.since = match state {
            TargetState::Alerting(open) => Self::worst(open).map(|worst| worst.since),
            TargetState::Unknown { since } => Some(*since),
            TargetState::Ok | TargetState::Waiting if before == self.word() => self.since,
            TargetState::Ok | TargetState::Waiting => Some(round.end()),
        };
    }

    /// The end of its newest round.
    pub(super) fn last_round(&self) -> Option<UnixTime> {
        self.newest.map(|newest| newest.end)
    }

    /// The open alert that tells most: an outage before a slow line, a slow line before a lossy one.
    fn worst(open: &[OpenAlert]) -> Option<&OpenAlert> {
        open.iter().min_by_key(|open| State::from(open.rule.judge.trouble()))
    }

    pub(super) fn word(&self) -> State {
        match &self.state {
            TargetState::Alerting(open) => {
                Self::worst(open).map_or(State::Ok, |worst| worst.rule.judge.trouble().into())
            }
            TargetState::Unknown { .. } => State::Unknown,
            TargetState::Waiting if self.newest.is_none() => State::Waiting,
            // A target that no rule watches waits for ever, as far as the alerts know.
            TargetState::Ok | TargetState::Waiting => match self.newest {
                Some(newest) if newest.is_scarcely_known => State::Unknown,
                Some(newest) if newest.is_down => State::Silent,
                _ => State::Ok,
            },
        }
    }

    pub(super) fn status(&self) -> TargetStatus {
        let alerts = match &self.state {
            TargetState::Alerting(open) => open.iter().map(|open| open.rule.name.clone()).collect(),
            _ => Vec::new(),
        };
        TargetStatus {
            target: self.target.name.clone(),
            host: self.target.host.clone(),
            address: self.address,
            state: self.word(),
            since: self.since.map(UnixTime::secs),
            last_round: self.newest.map(|newest| newest.end.secs()),
            median_us: self
                .newest
                .and_then(|newest| newest.median)
                .map(|median| median.duration().as_nanos() as f64 / 1e3),
            loss: self.newest.and_then(|newest| newest.loss_ratio),
            alerts,
            reason: self.reason(),
            muted: None,
            ignored: Ignored::default(),
        }
    }

    /// Why it stands so.
    fn reason(&self) -> Option<String> {
        let newest = self.newest?;
        if newest.unknown == newest.pings
            && let Some(fault) = newest.fault
        {
            return Some(match (fault, self.address) {
                (Fault::NoAddress, Some(last)) => format!("{fault}, last {last}"),
                _ => fault.to_string(),
            });
        }
        let says = self.says.as_ref().map(Says::to_string);
        match (&self.state, self.word()) {
            (TargetState::Alerting(_), State::Unknown) if newest.unknown == 0 => {
                Some("is measured again, not yet for long enough".to_owned())
            }
            (_, State::Down) if !newest.is_down => Some("answers again, not yet for long enough".to_owned()),
            (TargetState::Alerting(open), State::Slow | State::Lossy) => {
                let rule = Self::worst(open).map(|worst| worst.rule.judge.to_string());
                let told: Vec<String> = rule.into_iter().chain(says).collect();
                Some(told.join("; "))
            }
            (_, State::Silent) => Some(says.unwrap_or_else(|| "and no alert watches for that".to_owned())),
            _ => {
                // The pings before the start are no trouble, as long as enough is known without them.
                let counts = |fault: &Fault| *fault != Fault::NotRunning || newest.is_scarcely_known;
                let own = newest.fault.filter(counts);
                let own = own.map(|fault| format!("{} of {} pings: {fault}", newest.unknown, newest.pings));
                let told: Vec<String> = says.into_iter().chain(own).collect();
                (!told.is_empty()).then(|| told.join("; "))
            }
        }
    }
}

impl From<Trouble> for State {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Down => Self::Down,
            Trouble::Slow => Self::Slow,
            Trouble::Lossy => Self::Lossy,
            Trouble::Unknown => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    use crate::alert::rule::{Judge, Rule};
    use crate::alert::{self, Alerts, TargetRules};
    use crate::round::Ping;
    use crate::time::Step;

    const STEP: Step = Step::new(60).unwrap();

    /// An entry, and the alerts that watch it by these rules; each round makes it a minute later.
    struct Desk {
        entry: Entry,
        alerts: Alerts,
        minute: i64,
    }

    impl Desk {
        fn new(rules: Vec<Rule>) -> Self {
            let target = Arc::new(Target { name: "t".into(), host: "t.example".into() });
            let rules = TargetRules {
                target: Arc::clone(&target),
                step: STEP,
                rules: rules.into_iter().map(Arc::new).collect(),
            };
            Self {
                entry: Entry::new(&target),
                alerts: Alerts::new(&alert::Settings { targets: vec![rules] }),
                minute: 0,
            }
        }

        fn round(&mut self, address: Option<&str>, pings: Vec<Ping>) -> TargetStatus {
            self.enter(address, pings, None)
        }

        fn said(&mut self, pings: Vec<Ping>, says: Says) -> TargetStatus {
            self.enter(Some("192.0.2.1"), pings, Some(says))
        }

        fn enter(&mut self, address: Option<&str>, pings: Vec<Ping>, says: Option<Says>) -> TargetStatus {
            let start = UnixTime::from_secs(self.minute * 60);
            self.minute += 1;
            let address = address.map(|address| address.parse().unwrap());
            let target = Arc::clone(&self.entry.target);
            let round =
                Round::new(target, address, start, start.plus(STEP.duration()), pings).with_says(says);
            self.alerts.observe(&round, alert::Past::default());
            self.entry.enter(&round, &self.alerts.state("t").unwrap());
            self.entry.status()
        }
    }

    fn millis(ms: u64) -> Ping {
        Ping::Answered(Rtt::new(Duration::from_millis(ms)))
    }

    #[test]
    fn an_outage_is_told_from_its_first_round_until_the_alert_is_over() {
        let mut desk = Desk::new(vec![Rule::threshold(Rtt::new(Duration::from_millis(50))), Rule::down()]);
        assert_eq!((desk.entry.status().state, desk.entry.status().since), (State::Waiting, None));
        let well = desk.round(Some("192.0.2.1"), vec![millis(5), millis(7)]);
        assert_eq!((well.state, well.since, well.reason), (State::Ok, Some(60), None));
        assert_eq!((well.median_us, well.loss), (Some(7000.0), Some(0.0)));
        assert_eq!(desk.round(Some("192.0.2.1"), vec![millis(5)]).since, Some(60), "well since then");

        let down = desk.round(Some("192.0.2.1"), vec![Ping::Lost, Ping::Lost]);
        assert_eq!((down.state, down.since, down.loss), (State::Down, Some(180), Some(1.0)));
        assert_eq!(down.alerts, ["down"]);
        // Unknown rounds leave it as it is, and tell why nothing is known now.
        let blind = desk.round(None, vec![Ping::Unknown(Fault::Send(libc::ENETUNREACH)); 2]);
        assert_eq!((blind.state, blind.since, blind.loss), (State::Down, Some(180), None));
        assert!(blind.reason.unwrap().contains("cannot send"));

        let slow = desk.round(Some("192.0.2.1"), vec![millis(80), Ping::Lost]);
        assert_eq!((slow.state, slow.alerts), (State::Down, vec!["threshold".to_owned(), "down".to_owned()]));
        assert_eq!(slow.reason.as_deref(), Some("answers again, not yet for long enough"));
        for _ in 0..2 {
            desk.round(Some("192.0.2.1"), vec![millis(80)]);
        }
        let slow = desk.entry.status();
        assert_eq!((slow.state, slow.reason.as_deref()), (State::Slow, Some("median > 50ms")));
    }

    #[test]
    fn an_address_is_kept_when_the_name_has_none_any_more() {
        let mut desk = Desk::new(vec![Rule::down()]);
        let faults = || vec![Ping::Unknown(Fault::NoAddress); 2];
        assert_eq!(desk.round(None, faults()).reason.as_deref(), Some("the name does not resolve"));
        desk.round(Some("192.0.2.7"), vec![millis(5)]);
        let lost = desk.round(None, faults());
        assert_eq!((lost.state, lost.since), (State::Unknown, Some(180)));
        assert_eq!(lost.reason.as_deref(), Some("the name does not resolve, last 192.0.2.7"));
    }

    #[test]
    fn what_is_unknown_may_have_an_alert_of_its_own() {
        let rule = Rule {
            name: "blind".into(),
            judge: Judge::when("unknown >= 50%").unwrap(),
            clear: Rule::DEFAULT_CLEAR,
            ..Rule::down()
        };
        let mut desk = Desk::new(vec![rule]);
        let blind = desk.round(None, vec![Ping::Unknown(Fault::NoAddress); 2]);
        assert_eq!((blind.state, blind.alerts), (State::Unknown, vec!["blind".to_owned()]));
        assert_eq!(blind.reason.as_deref(), Some("the name does not resolve"));
        let back = desk.round(Some("192.0.2.1"), vec![millis(5); 2]);
        assert_eq!((back.state, back.since), (State::Unknown, Some(60)));
        assert_eq!(back.reason.as_deref(), Some("is measured again, not yet for long enough"));
        for _ in 0..2 {
            desk.round(Some("192.0.2.1"), vec![millis(5); 2]);
        }
        assert_eq!(desk.entry.status().state, State::Ok);
    }

    #[test]
    fn a_target_without_alerts_is_not_called_well_while_it_is_silent() {
        let mut desk = Desk::new(Vec::new());
        assert_eq!(desk.round(Some("192.0.2.1"), vec![millis(5)]).state, State::Ok);
        let silent = desk.round(Some("192.0.2.1"), vec![Ping::Lost]);
        assert_eq!((silent.state, silent.since), (State::Silent, Some(120)));
        assert!(!silent.state.is_alerting());
        assert_eq!(desk.round(None, vec![Ping::Unknown(Fault::HeldUp)]).state, State::Unknown);
    }

    /// The pings before the start are nobody's trouble; others that are missing are told beside what is known.
    #[test]
    fn what_our_own_side_failed_in_part_is_told() {
        let mut desk = Desk::new(vec![Rule::down()]);
        let first = desk.round(Some("192.0.2.1"), vec![Ping::Unknown(Fault::NotRunning), millis(5)]);
        assert_eq!((first.state, first.reason), (State::Ok, None));
        let partly = desk.round(Some("192.0.2.1"), vec![Ping::Unknown(Fault::Overflow), millis(5)]);
        assert_eq!(partly.reason.as_deref(), Some("1 of 2 pings: our receive buffer overflowed"));
        // Both our own side and somebody on the way may have something to say.
        let says = Says { reason: "host unreachable".into(), from: "192.0.2.254".parse().unwrap() };
        let both = desk.said(vec![Ping::Unknown(Fault::Overflow), Ping::Lost, millis(5)], says);
        assert_eq!(
            both.reason.as_deref(),
            Some("host unreachable, says 192.0.2.254; 1 of 3 pings: our receive buffer overflowed")
        );
        // One lost ping, when nothing is known of the others, is no outage.
        let late = || [vec![Ping::Unknown(Fault::NotRunning); 19], vec![Ping::Lost]].concat();
        for mut desk in [Desk::new(vec![Rule::down()]), Desk::new(Vec::new())] {
            let first = desk.round(Some("192.0.2.1"), late());
            assert_eq!(first.state, State::Unknown);
            assert_eq!(first.reason.as_deref(), Some("19 of 20 pings: the monitor was not yet running"));
        }
    }
}
