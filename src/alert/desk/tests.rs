//! What is told of an hour or a night, in no time at all.

use super::*;
use crate::alert::{EventKind, Rule, Severity, Story, Trouble};
use proptest::prelude::*;

/// A Monday, 00:00 UTC.
const START: i64 = 1_763_942_400;

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn at(after: u64) -> UnixTime {
    UnixTime::from_secs(START).plus(secs(after))
}

fn target(name: &str) -> Arc<Target> {
    Arc::new(Target { name: name.into(), host: "192.0.2.1".into() })
}

fn place(name: &str, parent: Option<&str>, step: u32) -> Place {
    Place {
        target: target(name),
        parent: parent.map(str::to_owned),
        step: Step::new(step).expect("not zero"),
    }
}

fn event(name: &str, kind: EventKind, since: u64, now: u64) -> Event {
    Event {
        target: target(name),
        address: None,
        rule: Rule::DOWN.into(),
        condition: "no ping answered".into(),
        trouble: Trouble::Down,
        severity: Severity::Critical,
        to: Vec::new(),
        kind,
        since: at(since),
        at: at(now),
        rounds: 1,
        median: None,
        worst_median: None,
        usual: None,
        loss_ratio: 1.0,
        worst_loss_ratio: 1.0,
        says: None,
        unknown: None,
    }
}

/// A desk and the time that passes over it, second by second.
struct Day {
    settings: Settings,
    desk: Desk,
    now: u64,
    told: Vec<(u64, Notice)>,
}

impl Day {
    fn new(settings: Settings) -> Self {
        Self { desk: Desk::new(&settings), settings, now: 0, told: Vec::new() }
    }

    /// So many targets that nobody is behind: `t0`, `t1`.
    fn of(targets: usize) -> Self {
        let targets = (0..targets).map(|n| place(&format!("t{n}"), None, 60)).collect();
        Self::new(Settings { targets, ..Settings::default() })
    }

    /// `gw1`, so many behind it (`gw1/0`), and as many others.
    fn behind_a_gateway(behind: usize, step: u32) -> Self {
        let mut targets = vec![place("gw1", None, 60)];
        targets.extend((0..behind).map(|n| place(&format!("gw1/{n}"), Some("gw1"), step)));
        targets.extend((0..behind).map(|n| place(&format!("other{n}"), None, 60)));
        Self::new(Settings { targets, ..Settings::default() })
    }

    /// Lets the time pass until so many seconds after the start. The desk is asked when it wanted to be, and not between.
    fn pass(&mut self, until: u64) -> &mut Self {
        loop {
            let next = self.desk.next_due().filter(|next| *next <= at(until));
            let Some(next) = next else { break };
            self.now = self.now.max(next.since(at(0)).map_or(0, |after| after.as_secs()));
            let told = self.desk.due(at(self.now));
            self.told.extend(told.into_iter().map(|notice| (self.now, notice)));
            let again = self.desk.next_due().is_some_and(|next| next <= at(self.now));
            assert!(!again, "it wants to be asked again at once: {:?}", self.desk.state());
        }
        self.now = until;
        self
    }

    fn take(&mut self, event: Event) -> &mut Self {
        self.pass(self.now);
        self.desk.take(event, at(self.now));
        self
    }

    fn down(&mut self, name: &str) -> &mut Self {
        self.take(event(name, EventKind::Raised, self.now, self.now))
    }

    /// It answers again, after it was down since `since`.
    fn up(&mut self, name: &str, since: u64) -> &mut Self {
        let lasted = secs(self.now - since + 60);
        self.take(event(name, EventKind::Cleared { lasted }, since, self.now))
    }

    /// As after a restart, with all of the state written and read again.
    fn restart(&mut self) -> &mut Self {
        let written = serde_json::to_string(self.desk.state()).unwrap();
        let state: State = serde_json::from_str(&written).unwrap();
        assert_eq!(&state, self.desk.state());
        self.desk = Desk { state, next: Some(at(self.now)), ..Desk::new(&self.settings) };
        self
    }

    fn mute(&mut self, name: &str, lasts: u64) -> &mut Self {
        let (since, until) = (at(self.now), at(self.now + lasts));
        let mute = Mute { name: name.into(), since, until, by: "anna".into(), reason: "fibre".into() };
        self.desk.state_mut(at(self.now)).mute(mute).unwrap();
        self
    }

    /// What was told since this was last asked, a line each: when, what of whom, and whether it answers what.
    fn lines(&mut self) -> Vec<String> {
        std::mem::take(&mut self.told).iter().map(|(when, notice)| line(*when, notice)).collect()
    }
}

fn word(event: &Event) -> String {
    let word = match event.kind {
        EventKind::Raised => "down",
        EventKind::Repeated => "still",
        EventKind::Cleared { .. } => "up",
    };
    format!("{} {word}", event.target.name)
}

fn line(when: u64, notice: &Notice) -> String {
    let what = match &notice.story {
        Story::Alert(event) => word(event),
        Story::Together { events, of, behind } => {
            let behind = behind.as_ref().map(|name| format!(" behind {name}")).unwrap_or_default();
            format!("{}.. {} of {of}{behind}", word(&events[0]), events.len())
        }
        Story::Flapping { event, others, changes, is_new, .. } => {
            let flaps = if *is_new { "and its target flaps" } else { "flaps" };
            format!("{} {flaps}, {changes} changes, {} others", word(event), others.len())
        }
        Story::Steady { event, others, changes, .. } => {
            format!("{} steady, {changes} changes, {} others", word(event), others.len())
        }
        Story::Digest { events, more, .. } => format!("digest {} and {more}", events.len()),
        Story::Offline { .. } => "offline".into(),
        Story::Online { lasted, .. } => format!("online after {}", lasted.as_secs()),
    };
    let what = if notice.also.is_empty() { what } else { format!("{what}, also {}", rules(&notice.also)) };
    let answers = notice.answers.as_ref().map(|key| format!(", answers {key}")).unwrap_or_default();
    format!("{when}: {what}{answers}")
}

fn rules(events: &[Event]) -> String {
    events.iter().map(|event| event.rule.as_str()).collect::<Vec<_>>().join(" ")
}

/// The event of another rule.
fn of_rule(rule: &str, event: Event) -> Event {
    let trouble = match rule {
        "slow" => Trouble::Slow,
        "lossy" => Trouble::Lossy,
        _ => Trouble::Down,
    };
    Event { rule: rule.into(), trouble, severity: Severity::Warning, ..event }
}

fn key(name: &str, since: u64, what: &str) -> String {
    format!("{name}-down-{}-{what}", START + since as i64)
}

#[test]
fn a_single_target_is_told_at_once() {
    let mut day = Day::of(1);
    day.pass(60).down("t0").pass(360).up("t0", 60).pass(400);
    let raised = key("t0", 60, "raised");
    assert_eq!(day.lines(), ["60: t0 down".into(), format!("360: t0 up, answers {raised}")]);
}

#[test]
fn what_fails_together_is_told_together_and_so_is_its_end() {
    let mut day = Day::of(300);
    day.pass(60);
    for n in 0..40 {
        day.pass(60 + n / 5).down(&format!("t{n}"));
    }
    day.pass(600);
    for n in 0..40 {
        let since = 60 + n / 5;
        day.up(&format!("t{n}"), since);
    }
    day.pass(1200);
    let first = format!("{}-together", key("t0", 60, "raised"));
    assert_eq!(
        day.lines(),
        ["70: t0 down.. 40 of 300".into(), format!("610: t0 up.. 40 of 300, answers {first}")]
    );
}

#[test]
fn what_is_over_before_it_was_told_is_one_notice() {
    let mut day = Day::of(2);
    day.pass(60).down("t0").pass(65).up("t0", 60).pass(600);
    assert_eq!(day.lines(), ["70: t0 up"]);
}

#[test]
fn ends_answer_where_they_were_told_but_not_in_many_mails() {
    let mut day = Day::of(10);
    for n in 0..2 {
        day.pass(100 * (n + 1)).down(&format!("t{n}"));
    }
    day.pass(1000).up("t0", 100).up("t1", 200).pass(1100);
    let lines = day.lines();
    assert_eq!(lines.len(), 4);
    assert_eq!(lines[2], format!("1010: t0 up, answers {}", key("t0", 100, "raised")));
    assert_eq!(lines[3], format!("1010: t1 up, answers {}", key("t1", 200, "raised")));

    let mut day = Day::of(10);
    for n in 0..8 {
        day.pass(100 * (n + 1)).down(&format!("t{n}"));
    }
    day.pass(1000);
    for n in 0..8 {
        day.up(&format!("t{n}"), 100 * (n + 1));
    }
    day.pass(1100);
    let lines = day.lines();
    assert_eq!(lines.len(), 9);
    assert_eq!(lines[8], format!("1010: t0 up.. 8 of 10, answers {}", key("t0", 100, "raised")));
}

#[test]
fn other_troubles_and_other_readers_are_other_notices() {
    let mut day = Day::of(10);
    let told = |rule: &str, trouble, to: &[&str], name: &str| Event {
        rule: rule.into(),
        trouble,
        to: to.iter().map(|to| (*to).to_owned()).collect(),
        ..event(name, EventKind::Raised, 60, 60)
    };
    day.pass(60);
    day.down("t0").down("t1");
    day.take(told("slow", Trouble::Slow, &[], "t2")).take(told("slow", Trouble::Slow, &[], "t3"));
    day.take(told("slow", Trouble::Slow, &["boss@example.org"], "t4"));
    day.pass(100);
    let shown: Vec<(Vec<String>, String)> =
        day.told.iter().map(|(when, notice)| (notice.to.clone(), line(*when, notice))).collect();
    assert_eq!(
        shown,
        [
            (vec![], "70: t0 down.. 2 of 10".into()),
            (vec![], "70: t2 down.. 2 of 10".into()),
            (vec!["boss@example.org".into()], "70: t4 down".into()),
        ]
    );
}

#[test]
fn a_parent_speaks_for_those_behind_it() {
    let mut day = Day::behind_a_gateway(40, 60);
    day.pass(60);
    for n in 0..37 {
        day.down(&format!("gw1/{n}"));
    }
    day.pass(61).down("gw1").down("other3").pass(600);
    day.up("gw1", 61).up("other3", 61);
    for n in 0..37 {
        day.up(&format!("gw1/{n}"), 60);
    }
    day.pass(1200);
    let first = format!("{}-together", key("gw1", 61, "raised"));
    assert_eq!(
        day.lines(),
        [
            "70: other3 down".to_owned(),
            "70: gw1 down.. 38 of 41 behind gw1".to_owned(),
            format!("610: gw1 up.. 38 of 41 behind gw1, answers {first}"),
            format!("610: other3 up, answers {}", key("other3", 61, "raised")),
        ]
    );
}

/// Ten gateways at once are no ten mails.
#[test]
fn where_everything_is_down_that_is_one_notice() {
    let targets = (0..10).flat_map(|g| {
        let behind = (0..9).map(move |n| place(&format!("{g}/{n}"), Some(&format!("gw{g}")), 60));
        std::iter::once(place(&format!("gw{g}"), None, 60)).chain(behind)
    });
    let mut day = Day::new(Settings { targets: targets.collect(), ..Settings::default() });
    day.pass(60);
    for g in 0..10 {
        (0..9).for_each(|n| _ = day.down(&format!("{g}/{n}")));
        day.down(&format!("gw{g}"));
    }
    day.pass(600);
    assert_eq!(day.lines(), ["70: gw0 down.. 100 of 100"]);
}

#[test]
fn those_behind_a_parent_that_answers_are_told_as_such() {
    let mut day = Day::behind_a_gateway(40, 60);
    day.pass(60);
    for n in 0..37 {
        day.down(&format!("gw1/{n}"));
    }
    day.pass(100);
    assert_eq!(day.lines(), ["70: gw1/0 down.. 37 of 40 behind gw1"]);
}

/// Five rounds of the gateway are one of those behind it.
#[test]
fn those_whose_rounds_take_longer_belong_to_the_parent_too() {
    let mut day = Day::behind_a_gateway(3, 300);
    day.pass(60).down("gw1").pass(300);
    (0..3).for_each(|n| _ = day.down(&format!("gw1/{n}")));
    day.pass(86_400 + 60);
    assert_eq!(day.lines(), ["70: gw1 down"]);
    day.take(event("gw1", EventKind::Repeated, 60, 86_460)).pass(90_000);
    let first = key("gw1", 60, "raised");
    assert_eq!(day.lines(), [format!("86470: gw1 still.. 4 of 4 behind gw1, answers {first}")]);

    day.up("gw1", 60).pass(90_600).up("gw1/0", 300).up("gw1/1", 300).pass(100_000);
    // They were named, so their end is told; and the one that stays down is no longer the gateway's fault.
    assert_eq!(
        day.lines(),
        [
            format!("90010: gw1 up, answers {first}"),
            format!("90610: gw1/0 up.. 2 of 3 behind gw1, answers {first}"),
            format!("91260: gw1/2 still, answers {first}"),
        ]
    );
}

#[test]
fn those_that_were_never_named_end_without_a_word() {
    let mut day = Day::behind_a_gateway(3, 300);
    day.pass(60).down("gw1").pass(300).down("gw1/0").down("gw1/1").pass(400).up("gw1", 60);
    // The round that ended only now had begun while the gateway was down.
    day.pass(600).down("gw1/2").pass(1200).up("gw1/0", 300).up("gw1/2", 600).pass(10_000);
    let lines = day.lines();
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert_eq!(lines[1], format!("410: gw1 up, answers {}", key("gw1", 60, "raised")));
    assert_eq!(lines[2], "1620: gw1/1 down", "it does not come back, by itself");
}

#[test]
fn a_parent_that_is_found_down_later_names_those_that_were_told() {
    let mut day = Day::behind_a_gateway(3, 10);
    day.pass(20).down("gw1/0").down("gw1/1").pass(120).down("gw1").pass(500);
    let first = format!("{}-together", key("gw1/0", 20, "raised"));
    assert_eq!(
        day.lines(),
        [
            "30: gw1/0 down.. 2 of 3 behind gw1".into(),
            format!("130: gw1 down.. 3 of 4 behind gw1, answers {first}")
        ]
    );
}

#[test]
fn a_muted_parent_still_accounts_for_those_behind_it() {
    let mut day = Day::behind_a_gateway(3, 60);
    day.pass(50).mute("gw1", 3600);
    day.desk.state_mut(at(50)).unmute("gw1");
    let mute = Mute {
        name: "gw[1]".into(),
        since: at(50),
        until: at(3650),
        by: "anna".into(),
        reason: String::new(),
    };
    day.desk.state_mut(at(50)).mute(mute).unwrap();
    day.pass(60).down("gw1").down("gw1/0").down("gw1/1").pass(3600);
    assert_eq!(day.lines(), [""; 0]);
    day.pass(4000);
    assert_eq!(day.lines(), ["3650: gw1 down.. 3 of 4 behind gw1"]);
}

#[test]
fn flapping_is_said_once_and_summed_up() {
    let mut day = Day::of(1);
    for n in 0..12 {
        day.pass(60 + 300 * n).down("t0").pass(60 + 300 * n + 120).up("t0", 60 + 300 * n);
    }
    day.pass(20_000);
    let first = key("t0", 60, "raised");
    assert_eq!(
        day.lines(),
        [
            "60: t0 down".to_owned(),
            format!("180: t0 up, answers {first}"),
            format!("360: t0 down flaps, 3 changes, 0 others, answers {first}"),
            // The last change was at 3480.
            format!("4440: t0 up steady, 24 changes, 0 others, answers {first}"),
        ]
    );
    day.down("t0").pass(30_000);
    assert_eq!(day.lines(), ["20000: t0 down"], "a new day, a new conversation");
}

#[test]
fn what_flaps_together_is_told_together() {
    let mut day = Day::of(50);
    for n in 0..6 {
        day.pass(60 + 300 * n);
        (0..40).for_each(|t| _ = day.down(&format!("t{t}")));
        day.pass(60 + 300 * n + 120);
        (0..40).for_each(|t| _ = day.up(&format!("t{t}"), 60 + 300 * n));
    }
    day.pass(20_000);
    let shown: Vec<String> =
        day.lines().iter().map(|line| line.split(", answers").next().unwrap().into()).collect();
    assert_eq!(
        shown,
        [
            "70: t0 down.. 40 of 50",
            "190: t0 up.. 40 of 50",
            "370: t0 down flaps, 3 changes, 39 others",
            "3720: t0 up steady, 12 changes, 39 others"
        ]
    );
}

#[test]
fn what_there_is_to_tell_of_a_target_at_a_time_is_one_notice() {
    let mut day = Day::of(3);
    day.pass(60);
    let raised = |name: &str| event(name, EventKind::Raised, 60, 60);
    let over = |name: &str| event(name, EventKind::Cleared { lasted: secs(500) }, 60, 560);
    day.take(of_rule("slow", raised("t0"))).take(of_rule("lossy", raised("t0")));
    day.take(of_rule("slow", raised("t1"))).pass(560);
    let lossy = format!("t0-lossy-{}-raised", START + 60);
    let slow = format!("t1-slow-{}-raised", START + 60);
    assert_eq!(day.lines(), ["70: t1 down", "70: t0 down, also slow"]);
    day.take(of_rule("slow", over("t0"))).take(of_rule("lossy", over("t0")));
    day.take(of_rule("slow", over("t1"))).pass(1000);
    assert_eq!(
        day.lines(),
        [format!("570: t1 up, answers {slow}"), format!("570: t0 up, also slow, answers {lossy}")]
    );
}

/// Each of the three rules by itself would be told three times in the hour.
#[test]
fn a_target_that_flaps_by_several_rules_is_told_once_and_summed_up() {
    let mut day = Day::of(2);
    for n in 0..6 {
        for (place, rule) in ["slow", "lossy", "down"].into_iter().enumerate() {
            let since = 60 + 540 * n + 180 * place as u64;
            day.pass(since).take(of_rule(rule, event("t0", EventKind::Raised, since, since)));
            let cleared = EventKind::Cleared { lasted: secs(90) };
            day.pass(since + 90).take(of_rule(rule, event("t0", cleared, since, since + 90)));
        }
    }
    day.pass(3600);
    let slow = format!("t0-slow-{}-raised", START + 60);
    assert_eq!(
        day.lines(),
        [
            "70: t0 down".to_owned(),
            format!("160: t0 up, answers {slow}"),
            "250: t0 down and its target flaps, 3 changes, 0 others".to_owned(),
        ]
    );
    // The last of them kept still from 3210 on.
    day.pass(20_000);
    assert_eq!(
        day.lines(),
        [format!(
            "4140: t0 up steady, 36 changes, 0 others, also lossy slow, answers t0-lossy-{}-flapping-{}",
            START + 240,
            START + 240
        )]
    );
}

/// Slow, then lossy, then down, and never well between: the third mail is the last for a while, and no less true.
#[test]
fn what_gets_worse_and_worse_did_not_come_and_go() {
    let mut day = Day::of(1);
    for (since, rule) in [(60, "slow"), (1260, "lossy"), (2460, "down")] {
        day.pass(since).take(of_rule(rule, event("t0", EventKind::Raised, since, since)));
    }
    day.pass(20_000);
    let lines = day.lines();
    assert_eq!(lines[2], "2460: t0 down and its target flaps, 3 changes, 0 others");
    assert!(lines[3].starts_with("3720: t0 down steady, 3 changes, 0 others"), "{lines:?}");
    assert_eq!(lines.len(), 4);
}

#[test]
fn a_flap_that_ends_down_says_so_and_its_end_is_told() {
    let mut day = Day::of(1);
    day.pass(60).down("t0").pass(200).up("t0", 60).pass(400).down("t0").pass(5000);
    day.up("t0", 400).pass(5100);
    let first = key("t0", 60, "raised");
    let lines = day.lines();
    assert_eq!(lines[3], format!("3720: t0 down steady, 3 changes, 0 others, answers {first}"));
    assert_eq!(lines[4], format!("5000: t0 up, answers {first}"));
}

#[test]
fn over_the_cap_there_is_a_digest_with_all_that_is_critical() {
    let targets = (0..400).map(|n| place(&format!("t{n}"), None, 60)).collect();
    let mut day = Day::new(Settings { targets, max_per_hour: 5, ..Settings::default() });
    for n in 0..300 {
        let severity = if n % 10 == 9 { Severity::Critical } else { Severity::Warning };
        day.pass(60 + 11 * n);
        day.take(Event { severity, ..event(&format!("t{n}"), EventKind::Raised, day.now, day.now) });
    }
    day.pass(3600 + 100);
    let told = std::mem::take(&mut day.told);
    assert_eq!(told.len(), 6);
    let (when, digest) = &told[5];
    assert_eq!(*when, 3670);
    let Story::Digest { events, more, since } = &digest.story else { panic!("{digest:?}") };
    assert_eq!((events.len(), *more, *since), (200, 95, at(70)));
    assert_eq!(events.iter().filter(|event| event.severity == Severity::Critical).count(), 30);
    assert_eq!(digest.severity, Severity::Critical);

    // What was told there is answered there.
    day.up("t299", 60 + 11 * 299).pass(4000);
    assert_eq!(day.lines(), [format!("3710: t299 up, answers {}", digest.key)]);
}

#[test]
fn a_mute_outlives_a_restart_and_what_is_still_open_is_told_at_its_end() {
    let mut day = Day::of(5);
    day.pass(60).mute("all", 7200).pass(100).down("t0").down("t1").pass(300).up("t1", 100);
    day.restart().pass(600).down("t2").pass(7000);
    assert_eq!(day.lines(), [""; 0]);
    day.pass(8000);
    assert_eq!(day.lines(), ["7260: t0 down.. 2 of 5"], "what came and went is not told");
    day.up("t0", 100).pass(9000);
    let first = format!("{}-together", key("t0", 100, "raised"));
    assert_eq!(day.lines(), [format!("8010: t0 up, answers {first}")]);
}

#[test]
fn what_was_told_before_a_mute_is_told_again_after_it_or_its_end_is() {
    let mut day = Day::of(5);
    day.pass(60).down("t0").down("t1").pass(100).mute("t*", 600).pass(300).up("t1", 60).pass(699);
    assert_eq!(day.lines().len(), 1);
    day.pass(2000);
    let first = format!("{}-together", key("t0", 60, "raised"));
    assert_eq!(
        day.lines(),
        [format!("700: t0 still, answers {first}"), format!("700: t1 up, answers {first}")]
    );
}

#[test]
fn unmute_tells_at_once() {
    let mut day = Day::of(5);
    day.pass(60).mute("t0", 7200).down("t0").pass(300);
    assert_eq!(day.desk.state_mut(at(300)).unmute("t1"), 0);
    assert_eq!(day.desk.state_mut(at(300)).unmute("t0"), 1);
    day.pass(400);
    assert_eq!(day.lines(), ["300: t0 down"]);
}

#[test]
fn planned_work_is_quiet_and_told_when_it_is_over() {
    let when = quiet::When::Once { from: at(600), until: at(1200) };
    let planned =
        Maintenance { name: "fibre".into(), when, targets: vec!["fra".into()], reason: "new fibre".into() };
    let targets = vec![place("fra/core1", None, 60), place("frankfurt", None, 60)];
    let mut day = Day::new(Settings { targets, maintenance: vec![planned], ..Settings::default() });
    day.pass(700).down("fra/core1").down("frankfurt").pass(2000);
    assert_eq!(day.lines(), ["710: frankfurt down", "1200: fra/core1 down"]);
    let muted = day.desk.quiet().of("fra/core1", at(700)).unwrap();
    assert_eq!(
        muted,
        quiet::Muted { until: Some(at(1200)), by: "maintenance fibre".into(), reason: "new fibre".into() }
    );
    assert_eq!(day.desk.quiet().of("frankfurt", at(700)), None);
}

/// Hours are local; whatever the zone of this machine is, an hour is not told in and then is.
#[test]
fn outside_its_hours_a_rule_waits_and_tells_only_what_is_still_open() {
    let local = |after: u64| at(after).local().civil.format("%H:%M").to_string();
    let hours: Hours = format!("{}-{}", local(7200), local(10_800)).parse().unwrap();
    let settings = Day::of(3).settings;
    let hours = HashMap::from([(Rule::DOWN.to_owned(), hours)]);
    let mut day = Day::new(Settings { hours, ..settings });
    day.pass(600).down("t0").down("t1").pass(900).up("t1", 600).pass(7199);
    assert_eq!(day.lines(), [""; 0]);
    day.pass(20_000);
    assert_eq!(day.lines(), ["7200: t0 down"]);
}

#[test]
fn our_own_uplink_is_told_by_itself() {
    let mut day = Day::of(5);
    day.pass(60);
    day.desk.offline(at(58), "192.0.2.1 does not answer".into(), at(60));
    day.pass(1000);
    day.desk.online(at(999), at(1000));
    day.pass(2000);
    let told = &day.told;
    assert_eq!(told[1].1.answers.as_ref(), Some(&told[0].1.key));
    assert_eq!(
        day.lines().iter().map(|line| line.split(", ").next().unwrap()).collect::<Vec<_>>(),
        ["70: offline", "1010: online after 941"]
    );
    day.pass(9000);
    day.desk.offline(at(9000), "eth0 has no carrier".into(), at(9000));
    day.pass(9003);
    day.desk.online(at(9003), at(9003));
    day.pass(9100);
    assert_eq!(day.lines(), ["9013: online after 3"], "it was gone, in one notice");

    // Gone for half of every minute, for an hour.
    for n in 0..60 {
        day.pass(20_000 + 60 * n);
        day.desk.offline(at(day.now), "eth0 has no carrier".into(), at(day.now));
        day.pass(20_030 + 60 * n);
        day.desk.online(at(day.now), at(day.now));
    }
    day.pass(30_000);
    let lines = day.lines();
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert!(lines[3].starts_with("24470: online after "), "{lines:?}");
}

#[test]
fn a_clock_that_is_set_back_holds_nothing_up() {
    let mut day = Day::of(5);
    day.pass(90_000).down("t0");
    let told = day.desk.due(at(90_001));
    assert!(told.is_empty());
    assert!(day.desk.due(at(1000)).is_empty());
    assert_eq!(day.desk.next_due(), Some(at(1010)));
    assert_eq!(day.desk.due(at(1010)).len(), 1);
}

#[test]
fn a_clock_that_is_set_by_an_hour_holds_up_no_digest() {
    for (now, name) in [(13_800, "forward"), (6600, "back")] {
        let targets = (0..20).map(|n| place(&format!("t{n}"), None, 60)).collect();
        let mut day = Day::new(Settings { targets, max_per_hour: 5, ..Settings::default() });
        for n in 0..10 {
            day.pass(10_060 + 11 * n).down(&format!("t{n}"));
        }
        day.pass(10_200);
        assert_eq!(day.lines().len(), 5);
        let told = day.desk.due(at(now));
        let [Notice { story: Story::Digest { events, .. }, .. }] = &told[..] else {
            panic!("{name}: {told:?}")
        };
        assert_eq!(events.len(), 5, "{name}");
        // The hour begins anew, and not in an hour.
        day.desk.take(event("t10", EventKind::Raised, now, now), at(now));
        assert_eq!(day.desk.due(at(now + 10)).len(), 1, "{name}");
    }
}

#[test]
fn what_is_over_and_told_is_forgotten() {
    let mut day = Day::of(5);
    day.pass(60).down("t0").pass(600).up("t0", 60).pass(700).down("t1").pass(800).up("t1", 700);
    day.pass(5000).down("t2").pass(5100).up("t2", 5000).pass(20_000);
    // It looks when something happens, and need not for this.
    day.down("t3").pass(20_100);
    assert_eq!(day.desk.state().matters.keys().collect::<Vec<_>>(), ["t3"]);
}

/// One alert that is raised and over at any times.
fn changes() -> impl Strategy<Value = Vec<u64>> {
    prop::collection::btree_set(1u64..3600, 0..60).prop_map(|times| times.into_iter().collect())
}

/// Lets `t0` go down and come back at these times, restarting wherever `restarts` says.
fn flap(day: &mut Day, times: &[u64], restarts: &[u64]) {
    let mut since = 0;
    for (number, time) in times.iter().enumerate() {
        if restarts.contains(&(number as u64)) {
            day.restart();
        }
        day.pass(*time);
        if number % 2 == 0 {
            since = *time;
            day.down("t0");
        } else {
            day.up("t0", since);
        }
    }
}

/// One of three rules changes on one of two targets.
fn change() -> impl Strategy<Value = (u64, usize, usize)> {
    (1u64..120, 0usize..2, 0usize..3)
}

proptest! {
    /// At most three notices of a target within an hour, however many rules it has; and in the end the reader knows how it
    /// stands.
    #[test]
    fn an_hour_of_flapping_makes_three_notices_of_each_target_at_most(
        changes in prop::collection::vec(change(), 0..90),
        restarts in prop::collection::vec(0usize..90, 0..4),
    ) {
        let rules = ["slow", "lossy", Rule::DOWN];
        let mut day = Day::of(5);
        let mut open: HashMap<(usize, usize), u64> = HashMap::new();
        for (number, (wait, target, rule)) in changes.into_iter().enumerate() {
            if day.now + wait >= 3600 {
                break;
            }
            if restarts.contains(&number) {
                day.restart();
            }
            day.pass(day.now + wait);
            let (since, now) = (open.remove(&(target, rule)), day.now);
            let kind = match since {
                Some(since) => EventKind::Cleared { lasted: secs(now - since) },
                None => EventKind::Raised,
            };
            if since.is_none() {
                open.insert((target, rule), now);
            }
            day.take(of_rule(rules[rule], event(&format!("t{target}"), kind, since.unwrap_or(now), now)));
        }
        let names = ["t0", "t1"];
        let told = |day: &Day, name: &str| {
            day.told.iter().filter(|(_, notice)| notice.events().any(|event| event.target.name == name)).count()
        };
        day.pass(3600);
        for name in names {
            prop_assert!(told(&day, name) <= 3, "{:?}", day.lines());
        }
        day.pass(86_400);
        for (target, name) in names.into_iter().enumerate() {
            prop_assert!(told(&day, name) <= 4, "{:?}", day.lines());
            let none = Vec::new();
            let matters = day.desk.state().matters.get(name).unwrap_or(&none);
            prop_assert!(matters.iter().all(|matter| matter.flap.is_none()), "{:?}", matters);
            let believed: Vec<&str> =
                matters.iter().filter(|it| it.told.is_some()).map(|it| it.event.rule.as_str()).collect();
            let is_open = |rule: &usize| open.contains_key(&(target, *rule));
            let open: Vec<&str> = (0..rules.len()).filter(is_open).map(|rule| rules[rule]).collect();
            prop_assert!(open.len() == believed.len() && open.iter().all(|rule| believed.contains(rule)), "{:?}", matters);
        }
        let keys: std::collections::HashSet<&String> = day.told.iter().map(|(_, notice)| &notice.key).collect();
        prop_assert_eq!(keys.len(), day.told.len(), "each has a key of its own");
    }

    /// At most three notices of whatever happens within an hour, and in the end the reader knows how it stands.
    #[test]
    fn an_hour_of_flapping_makes_three_notices_at_most(
        times in changes(),
        targets in 1usize..3,
        restarts in prop::collection::vec(0u64..60, 0..4),
    ) {
        let mut day = Day::of(targets);
        flap(&mut day, &times, &restarts);
        day.pass(3600);
        prop_assert!(day.told.len() <= 3, "{:?}", day.lines());
        day.pass(86_400);
        prop_assert!(day.told.len() <= 4, "{:?}", day.lines());
        prop_assert_eq!(day.told.is_empty(), times.is_empty());
        let keys: std::collections::HashSet<&String> = day.told.iter().map(|(_, notice)| &notice.key).collect();
        prop_assert_eq!(keys.len(), day.told.len(), "each has a key of its own");
        let is_down = times.len() % 2 == 1;
        if let Some((_, last)) = day.told.last() {
            let (Story::Alert(event) | Story::Flapping { event, .. } | Story::Steady { event, .. }) = &last.story
            else { panic!("{last:?}") };
            prop_assert_eq!(matches!(event.kind, EventKind::Raised), is_down, "{:?}", day.lines());
        }
    }

    /// Whatever happens, what answers something answers what was told before, no key comes twice, and in the end the desk
    /// believes of its readers what is so.
    #[test]
    fn nothing_is_told_twice_and_no_end_is_forgotten(
        steps in prop::collection::vec((0u64..400, 0usize..6, 0u8..12), 0..120),
    ) {
        let mut day = Day::behind_a_gateway(3, 120);
        let names = ["gw1", "gw1/0", "gw1/1", "gw1/2", "other0", "other1"];
        let mut open: HashMap<&str, u64> = HashMap::new();
        for (wait, who, what) in steps {
            day.pass(day.now + wait);
            let name = names[who];
            match what {
                0 => _ = day.mute(name, 700),
                1 => _ = day.desk.state_mut(at(day.now)).unmute(name),
                2 => _ = day.restart(),
                3 if open.contains_key(name) => {
                    _ = day.take(event(name, EventKind::Repeated, open[name], day.now));
                }
                _ => match open.remove(name) {
                    Some(since) => _ = day.up(name, since),
                    None => {
                        open.insert(name, day.now);
                        day.down(name);
                    }
                },
            }
        }
        day.pass(day.now + 90_000);
        let mut keys = std::collections::HashSet::new();
        for (_, notice) in &day.told {
            if let Some(answers) = &notice.answers {
                prop_assert!(keys.contains(answers), "{:?}", notice);
            }
            prop_assert!(keys.insert(notice.key.clone()), "twice: {}", notice.key);
        }
        for name in names {
            let matters = day.desk.state().matters.get(name);
            let told = matters.is_some_and(|matters| matters[0].told.is_some());
            let hidden = name.starts_with("gw1/") && open.contains_key("gw1");
            prop_assert!(told == open.contains_key(name) || hidden, "{name}: {:?}", matters);
            prop_assert!(matters.is_none_or(|matters| matters[0].flap.is_none()), "{:?}", matters);
        }
    }
}
