use super::*;

use std::sync::Arc;
use std::time::Duration;

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
