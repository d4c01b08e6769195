//! Any bytes as `state.json`: a state or an error of one line; judges and desk go on from whatever it says, never panic, and
//! never ask to be asked again at once.
#![no_main]

use std::sync::Arc;
use std::time::Duration;

use latmon::alert::desk::{self, Desk, Place};
use latmon::alert::pattern::{Pattern, PatternKind, Semantics};
use latmon::alert::rule::{Judge, Rule};
use latmon::alert::{Alerts, Past, Settings, TargetRules};
use latmon::monitor::state::{State, parse};
use latmon::round::{Ping, Round, Rtt, Target};
use latmon::time::{Step, UnixTime};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let state = match parse(bytes) {
        Ok(state) => state,
        Err(error) => {
            assert!(!error.contains('\n'), "{error:?}");
            return;
        }
    };
    let targets = ["gw", "a"].map(|name| Arc::new(Target { name: name.into(), host: "192.0.2.1".into() }));
    let step = Step::new(60).expect("not zero");
    let rules: Vec<Arc<Rule>> = rules().into_iter().map(Arc::new).collect();
    let of = |target: &Arc<Target>| TargetRules { target: Arc::clone(target), step, rules: rules.clone() };
    let mut alerts = Alerts::new(&Settings { targets: targets.iter().map(of).collect() });
    alerts.resume(state.alerts);
    let place = |target: &Arc<Target>| {
        let parent = (target.name == "a").then(|| "gw".to_owned());
        Place { target: Arc::clone(target), parent, step }
    };
    let settings =
        desk::Settings { targets: targets.iter().map(place).collect(), ..desk::Settings::default() };
    let mut now = UnixTime::from_secs(1_763_942_400);
    let mut desk = Desk::resume(&settings, state.desk, &alerts, now);
    for round in 0..12 {
        let end = now.plus(step.duration());
        let ping =
            if round % 8 < 4 { Ping::Lost } else { Ping::Answered(Rtt::new(Duration::from_millis(5))) };
        for target in &targets {
            let round = Round::new(Arc::clone(target), None, now, end, vec![ping; 3]);
            for event in alerts.observe(&round, Past::default()) {
                desk.take(event, end);
            }
        }
        desk.due(end);
        assert!(desk.next_due().is_none_or(|next| next > end), "it wants to be asked again at once");
        now = end;
    }
    for _ in 0..100 {
        let Some(next) = desk.next_due() else { break };
        now = now.max(next);
        desk.due(now);
        let quiet = desk.quiet();
        let _ = quiet.of("a", now);
    }
    let state = State { alerts: alerts.kept(), desk: desk.state().clone(), ..State::default() };
    let written = serde_json::to_vec(&state).expect("a state can be written");
    parse(&written).expect("what was written can be read");
});

fn rules() -> Vec<Rule> {
    let rule = |name: &str, judge| Rule { name: name.into(), judge, ..Rule::down() };
    let pattern = Pattern::parse(PatternKind::Loss, Semantics::SmokePingExact, ">10%,*3*,>10%");
    vec![
        Rule::down(),
        Rule {
            raise: "2 of 4".parse().expect("a window"),
            ..rule("lossy", Judge::when("loss >= 20%").expect("a condition"))
        },
        rule("pattern", Judge::Pattern(pattern.expect("a pattern"))),
    ]
}
