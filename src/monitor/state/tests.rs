use super::*;

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use crate::alert::rule::Rule;
use crate::alert::{Alerts, Desk, Past, Settings, TargetRules};
use crate::round::{Ping, Round, Target};
use crate::time::Step;

/// So many targets that are all down, with the desk that has told so.
fn everything_down(targets: usize) -> State {
    let targets: Vec<Arc<Target>> = (0..targets)
        .map(|n| Arc::new(Target { name: format!("group/t{n}"), host: "192.0.2.1".into() }))
        .collect();
    let step = Step::new(60).unwrap();
    let rules = |target: &Arc<Target>| TargetRules {
        target: Arc::clone(target),
        step,
        rules: vec![Arc::new(Rule::down())],
    };
    let mut alerts = Alerts::new(&Settings { targets: targets.iter().map(rules).collect() });
    let mut desk = Desk::new(&desk::Settings::default());
    let (start, end) = (UnixTime::from_secs(0), UnixTime::from_secs(60));
    for target in &targets {
        let round = Round::new(Arc::clone(target), None, start, end, vec![Ping::Lost; 20]);
        alerts.observe(&round, Past::default()).into_iter().for_each(|event| desk.take(event, end));
    }
    let pending = desk.due(end.plus(Duration::from_secs(10)));
    assert_eq!(pending.len(), 1);
    State { alerts: alerts.kept(), desk: desk.state().clone(), pending, ..State::default() }
}

#[test]
fn what_was_kept_is_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::new(dir.path());
    assert_eq!(store.load().unwrap(), State::default());
    let state = everything_down(40);
    store.save(&state).unwrap();
    assert_eq!(store.load().unwrap(), state);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left");
}

#[test]
fn a_file_that_is_no_state_is_kept_aside() {
    let whole = serde_json::to_vec(&everything_down(2)).unwrap();
    let wrong: Vec<Vec<u8>> = vec![
        Vec::new(),
        b"\0\0\0\0".to_vec(),
        b"[]".to_vec(),
        whole[..whole.len() / 2].to_vec(),
        b"{\"latmon\":2,\"pending\":\"another form\"}".to_vec(),
        vec![b'['; 100_000],
    ];
    for bytes in wrong {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        fs::write(dir.path().join("state.json"), &bytes).unwrap();
        let error = store.load().unwrap_err().to_string();
        assert!(error.contains("state.json.damaged") && !error.contains('\n'), "{error}");
        assert_eq!(fs::read(dir.path().join("state.json.damaged")).unwrap(), bytes);
        assert_eq!(store.load().unwrap(), State::default());
    }
}

/// How much is written, and how long that takes, with ten thousand targets: all well, and all down.
#[test]
#[ignore = "a measurement: cargo test --release --lib state -- --ignored --nocapture"]
fn ten_thousand_targets() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::new(dir.path());
    for (what, state) in [("well", everything_down(1)), ("down", everything_down(10_000))] {
        let began = std::time::Instant::now();
        let copy = State { desk: state.desk.clone(), ..state.clone() };
        let cloned = began.elapsed();
        store.save(&copy).unwrap();
        let saved = began.elapsed();
        let read = std::time::Instant::now();
        store.load().unwrap();
        let bytes = fs::metadata(dir.path().join("state.json")).unwrap().len();
        println!("{what}: {bytes} bytes, copied {cloned:?}, written {saved:?}, read {:?}", read.elapsed());
    }
}

/// Where the leaves of a document are.
fn leaves(value: &mut serde_json::Value) -> Vec<&mut serde_json::Value> {
    match value {
        serde_json::Value::Array(items) => items.iter_mut().flat_map(leaves).collect(),
        serde_json::Value::Object(fields) => fields.values_mut().flat_map(leaves).collect(),
        leaf => vec![leaf],
    }
}

/// A rich state: alerts open, told, flapping, rationed, muted, and the uplink gone.
fn rich() -> State {
    let mut state = everything_down(3);
    let settings = desk::Settings { max_per_hour: 1, settle: Duration::ZERO, ..desk::Settings::default() };
    let mut desk = Desk::new(&settings);
    let events: Vec<_> = state
        .pending
        .iter()
        .flat_map(|notice| match &notice.story {
            crate::alert::Story::Together { events, .. } => events.clone(),
            other => panic!("{other:?}"),
        })
        .collect();
    for (number, event) in events.iter().cycle().take(12).enumerate() {
        let now = UnixTime::from_secs(60 * (1 + number as i64));
        let kind = match number / 3 % 2 {
            0 => crate::alert::EventKind::Raised,
            _ => crate::alert::EventKind::Cleared { lasted: Duration::from_secs(60) },
        };
        desk.take(crate::alert::Event { kind, at: now, ..event.clone() }, now);
        desk.due(now);
    }
    let now = UnixTime::from_secs(900);
    desk.offline(now, "eth0 has no carrier".into(), now);
    let mute = desk::quiet::Mute {
        name: "group/t1".into(),
        since: now,
        until: UnixTime::from_secs(9000),
        by: "anna".into(),
        reason: "fibre".into(),
    };
    desk.state_mut(now).mute(mute).unwrap();
    state.desk = desk.state().clone();
    state
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    /// Whatever somebody wrote into the file, judges and desk go on, and none asks to be asked again at once.
    #[test]
    fn a_state_that_was_tampered_with_breaks_nothing(
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0usize..9), 1..6),
    ) {
        let mut document = serde_json::to_value(rich()).unwrap();
        for (place, other) in changes {
            let others = serde_json::json!([0, -1, i64::MIN, i64::MAX, u64::MAX, 1e308, "x", null, []]);
            let mut leaves = leaves(&mut document);
            let place = place.index(leaves.len());
            *leaves[place] = others[other].clone();
        }
        let Ok(state) = parse(&serde_json::to_vec(&document).unwrap()) else { return Ok(()) };
        let targets = [0, 1, 2].map(|n| Target { name: format!("group/t{n}"), host: "192.0.2.1".into() }).map(Arc::new);
        let step = Step::new(60).unwrap();
        let rules = |target: &Arc<Target>| TargetRules {
            target: Arc::clone(target),
            step,
            rules: vec![Arc::new(Rule::down())],
        };
        let mut alerts = Alerts::new(&Settings { targets: targets.iter().map(rules).collect() });
        alerts.resume(state.alerts);
        let mut now = UnixTime::from_secs(960);
        let mut desk = Desk::resume(&desk::Settings::default(), state.desk, &alerts, now);
        for minute in 0..12 {
            let end = now.plus(step.duration());
            let ping = if minute % 8 < 4 { Ping::Lost } else { Ping::Answered(crate::round::Rtt::new(Duration::from_millis(5))) };
            for target in &targets {
                let round = Round::new(Arc::clone(target), None, now, end, vec![ping; 3]);
                alerts.observe(&round, Past::default()).into_iter().for_each(|event| desk.take(event, end));
            }
            desk.due(end);
            prop_assert!(desk.next_due().is_none_or(|next| next > end), "{:?}", desk.state());
            now = end;
        }
        let state = State { alerts: alerts.kept(), desk: desk.state().clone(), ..State::default() };
        prop_assert!(parse(&serde_json::to_vec(&state).unwrap()).is_ok());
    }
}
