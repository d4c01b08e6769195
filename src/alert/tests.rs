use proptest::prelude::*;

use super::pattern::{Pattern, PatternKind, Semantics};
use super::rule::Comparison;
use super::rule::{ComparisonError, Measure, Op, Window, WindowError};
use super::*;
use crate::round::{Fault, Ping};

const STEP: u32 = 60;

/// A round of ten pings, written as one letter. Its end is `end_secs`.
///
/// `.` 10 ms · `x` 200 ms · `X` 900 ms · `j` 10 ms and 50 ms by turns · `l` 10 ms, three lost · `L` 10 ms, nine lost ·
/// `D` all lost · `d` as far as known all lost · `s` the same, but known of two only · `?` unknown
fn round(letter: char, end_secs: i64) -> Round {
    let millis = |ms| Ping::Answered(Rtt::new(Duration::from_millis(ms)));
    let unknown = Ping::Unknown(Fault::NoSocket);
    let pings = match letter {
        '.' => vec![millis(10); 10],
        'x' => vec![millis(200); 10],
        'X' => vec![millis(900); 10],
        'j' => [millis(10), millis(50)].repeat(5),
        'l' => [vec![Ping::Lost; 3], vec![millis(10); 7]].concat(),
        'L' => [vec![Ping::Lost; 9], vec![millis(10); 1]].concat(),
        'D' => vec![Ping::Lost; 10],
        'd' => [vec![Ping::Lost; 4], vec![unknown; 6]].concat(),
        's' => [vec![Ping::Lost; 2], vec![unknown; 8]].concat(),
        '?' => vec![unknown; 10],
        other => panic!("no round is written '{other}'"),
    };
    let end = UnixTime::from_secs(end_secs);
    Round::new(target(), None, end.minus(Duration::from_secs(STEP.into())), end, pings)
}

fn target() -> Arc<Target> {
    Arc::new(Target { name: "fra/core1".into(), host: "192.0.2.1".into() })
}

fn alerts(rules: &[Rule]) -> Alerts {
    let rules = rules.iter().cloned().map(Arc::new).collect();
    let step = Step::new(STEP).unwrap();
    Alerts::new(&Settings { targets: vec![TargetRules { target: target(), step, rules }] })
}

/// A rule that is told once.
fn rule(when: &str, raise: &str, clear: &str) -> Rule {
    Rule {
        name: when.into(),
        judge: Judge::when(when).unwrap(),
        raise: raise.parse().unwrap(),
        clear: clear.parse().unwrap(),
        repeat: None,
        severity: Severity::Warning,
        to: Vec::new(),
        hours: None,
    }
}

fn pattern(kind: PatternKind, text: &str) -> Rule {
    let judge = Judge::Pattern(Pattern::parse(kind, Semantics::Manual, text).unwrap());
    Rule { name: text.into(), judge, ..rule("loss >= 20%", "3 of 5", "5 of 5") }
}

/// The events of a series of rounds, the first of which ends at 60 s.
fn events(rules: &[Rule], series: &str) -> Vec<Event> {
    events_of(rules, series, |_| Past::default())
}

/// The same where something is known of the past at each round, of which the place in the series is told.
fn events_of(rules: &[Rule], series: &str, past: impl Fn(usize) -> Past) -> Vec<Event> {
    let mut alerts = alerts(rules);
    let rounds = series.chars().zip(1..).map(|(letter, minute)| round(letter, minute * i64::from(STEP)));
    rounds.enumerate().flat_map(|(place, round)| alerts.observe(&round, past(place))).collect()
}

fn usual(ms: u64) -> Past {
    Past { usual: Some(Rtt::new(Duration::from_millis(ms))), aberrant: None }
}

/// The events of each rule, drawn beneath the series: raised, again, cleared.
fn drawn(rules: &[Rule], series: &str) -> Vec<String> {
    drawn_of(rules, series, |_| Past::default())
}

fn drawn_of(rules: &[Rule], series: &str, past: impl Fn(usize) -> Past) -> Vec<String> {
    let events = events_of(rules, series, past);
    let line = |rule: &Rule| {
        let mut line: Vec<char> = vec!['-'; series.chars().count()];
        for event in events.iter().filter(|event| event.rule == rule.name) {
            let place = usize::try_from(event.at.secs() / i64::from(STEP)).unwrap() - 1;
            assert_eq!(line[place], '-', "two events of one rule in one round");
            line[place] = match event.kind {
                EventKind::Raised => 'R',
                EventKind::Repeated => 'a',
                EventKind::Cleared { .. } => 'C',
            };
        }
        line.into_iter().collect()
    };
    rules.iter().map(line).collect()
}

#[track_caller]
fn check(rule: &Rule, series: &str, expected: &str) {
    assert_eq!(drawn(std::slice::from_ref(rule), series), [expected], "{rule:?}\nof {series}");
}

fn threshold() -> Rule {
    Rule::threshold(Rtt::new(Duration::from_millis(100)))
}

#[test]
fn the_built_in_rules_speak_at_the_first_bad_round_and_wait_for_three_good_ones() {
    check(&Rule::down(), "..D.D..DD...D", "--R--------CR");
    check(&Rule::down(), "d...", "R--C");
    check(&Rule::down(), "..xXlLj..", "---------");
    check(&threshold(), "..x.x..xX...x", "--R--------CR");
    // The limit itself is not over it.
    check(&Rule::threshold(Rtt::new(Duration::from_millis(200))), "xxxXxxx", "---R--C");
}

#[test]
fn a_window_counts_the_bad_among_the_last_rounds() {
    let slow = |raise, clear| rule("median > 100ms", raise, clear);
    check(&slow("2 of 3", "3 of 3"), "x..x..x..", "---------");
    check(&slow("2 of 3", "3 of 3"), "..x.x......", "----R--C---");
    check(&slow("2 of 3", "3 of 3"), "xx...", "-R--C");
    check(&slow("3 of 5", "2 of 4"), "x.x.x..x....", "----R-C-----");
    check(&slow("3 of 5", "2 of 4"), "xxxxxx.xxx.xx..", "--R----------C-");
    check(&slow("3 of 3", "1 of 1"), "xx.xxx.xx.", "-----RC---");
    check(&slow("1 of 1", "1 of 1"), "x.x.", "RCRC");
}

#[test]
fn no_round_is_used_by_two_windows() {
    // The bad round before the clear is told already: after it, two new ones are needed.
    check(&rule("median > 100ms", "2 of 3", "1 of 1"), "xx.x.x", "-RC--R");
    // Nor do good rounds before the raise count for the clear.
    check(&rule("median > 100ms", "1 of 1", "2 of 3"), "..x.x.", "--R--C");
}

#[test]
fn a_span_is_as_many_rounds_as_fill_it() {
    let slow = |raise, clear| rule("median > 100ms", raise, clear);
    check(&slow("3m", "2m"), "xx.xxxx.x..x", "-----R----C-");
    check(&slow("61s", "1s"), "x.xx.", "---RC");
    check(&slow("1s", "60s"), "x.", "RC");
    // Rounds that were not measured do not fill it.
    check(&slow("3m", "2m"), "x??x?x?.??.", "-----R----C");
    // A century needs no room.
    check(&slow("100y", "1s"), &"x".repeat(5000), &"-".repeat(5000));
}

#[test]
fn unknown_rounds_neither_count_nor_break_a_run() {
    check(&Rule::down(), "?D?.?.?.?", "-R-----C-");
    check(&rule("median > 100ms", "3 of 3", "3 of 3"), "x??xx???.?..", "----R------C");
    check(&rule("median > 100ms", "2 of 3", "3 of 3"), "x.????x", "------R");
    check(&rule("loss >= 20%", "2 of 2", "2 of 2"), "?l?l?.?.?", "---R---C-");
    check(&pattern(PatternKind::Loss, ">20%,>20%"), "l?l?l?.?", "--R---C-");
}

/// Two lost pings of ten, when nothing is known of the others, are no outage, no loss and no latency.
#[test]
fn rounds_of_which_too_little_is_known_neither_count_nor_break_a_run() {
    check(&Rule::down(), "sssD.s.ss.", "---R-----C");
    check(&rule("median > 100ms", "2 of 2", "1 of 1"), "ssxsx.", "----RC");
    check(&rule("loss >= 20%", "1 of 1", "2 of 2"), "sls.s.", "-R---C");
    check(&pattern(PatternKind::Loss, ">20%,>20%"), "sslsl.", "----RC");
    check(&pattern(PatternKind::Rtt, "==S,==U"), "sD.", "-RC");
    let mut alerts = alerts(&[Rule::down()]);
    alerts.observe(&round('s', 60), Past::default());
    assert_eq!(alerts.state("fra/core1"), Some(TargetState::Unknown { since: UnixTime::from_secs(60) }));
}

#[test]
fn what_is_unknown_has_alerts_of_its_own() {
    // Six of ten are unknown in `d`, eight in `s`.
    check(&rule("unknown >= 50%", "2 of 3", "3 of 3"), ".?D?..d...", "---R-----C");
    check(&rule("unknown > 60%", "1 of 1", "1 of 1"), ".ds.?D", "--RCRC");
    check(&rule("unknown < 70%", "1 of 1", "1 of 1"), "?d?", "-RC");
    // Neither it nor the others take the other's rounds for their own.
    let rules = [Rule::down(), rule("unknown >= 100%", "1 of 1", "1 of 1"), threshold()];
    assert_eq!(drawn(&rules, "DD??..?."), ["R------C", "--R-C-RC", "--------"]);
    assert_eq!(rules[1].judge.trouble(), Trouble::Unknown);
    let told = events(&rules[1..2], "?d");
    let unknown = told[0].unknown.as_ref().unwrap();
    assert_eq!((unknown.ratio, unknown.why.as_str()), (1.0, "no socket for this address family"));
    assert_eq!(told[1].unknown.as_ref().unwrap().ratio, 0.6);
}

/// A start, and our own uplink, take the pings of all targets at once, and each is told by itself already.
#[test]
fn what_the_start_or_the_uplink_took_is_no_news_of_a_target() {
    let blind = || alerts(&[rule("unknown >= 10%", "1 of 1", "1 of 1")]);
    let lost_to = |fault, count, rest: Ping| {
        let pings = [vec![Ping::Unknown(fault); count], vec![rest; 10 - count]].concat();
        let ends = [0, 60].map(UnixTime::from_secs);
        Round::new(target(), None, ends[0], ends[1], pings)
    };
    let nameless = Ping::Unknown(Fault::NoAddress);
    for fault in [Fault::NotRunning, Fault::Offline] {
        for (count, rest, is_told) in [
            (10, nameless, false),
            (9, Ping::Lost, false),
            (8, nameless, false),
            (7, nameless, true),
            (7, Ping::Lost, false),
        ] {
            let told = blind().observe(&lost_to(fault, count, rest), Past::default());
            assert_eq!(told.len(), usize::from(is_told), "{count} {fault}, {rest:?}");
        }
    }
    // Whatever failed while the uplink was down: the second and the third minute.
    let mut blind = alerts(&[rule("unknown >= 10%", "1 of 1", "1 of 1"), Rule::down()]);
    blind.offline(UnixTime::from_secs(150));
    let mut told = |letter, minute: i64| blind.observe(&round(letter, 60 * minute), Past::default()).len();
    assert_eq!((told('?', 1), told('.', 2)), (1, 1), "they ended before");
    assert_eq!((told('?', 3), told('?', 4)), (0, 0));
    assert_eq!(told('D', 5), 1, "what is known counts");
    blind.online(UnixTime::from_secs(330));
    let mut told = |letter, minute: i64| blind.observe(&round(letter, 60 * minute), Past::default()).len();
    assert_eq!((told('?', 6), told('?', 7)), (0, 1));
}

#[test]
fn each_measure_is_compared_with_its_limit() {
    let at_once = |when| rule(when, "1 of 1", "1 of 1");
    check(&at_once("median >= 200ms"), ".xX.", "-R-C");
    check(&at_once("median < 200ms"), "x.Xj", "-RCR");
    check(&at_once("median <= 200ms"), "Xx.X", "-R-C");
    // Ten pings at 10 ms and 50 ms by turns: the upper median, the 95th percentile and the longest are 50 ms, and
    // neighbours differ by 40 ms.
    check(&at_once("max > 49ms"), ".j.", "-RC");
    check(&at_once("p95 > 49ms"), ".j.", "-RC");
    check(&at_once("jitter > 39ms"), ".jxX", "-RC-");
    check(&at_once("jitter > 40ms"), ".jxX", "----");
    check(&at_once("loss >= 30%"), ".lLD.", "-R--C");
    check(&at_once("loss > 30%"), ".lLD.", "--R-C");
    check(&at_once("loss < 30%"), "Dl.l", "--RC");
}

#[test]
fn a_share_of_loss_equals_its_limit_though_no_binary_fraction_does() {
    for (lost, pings) in [(7u32, 50u32), (29, 100), (57, 100), (3, 40), (1, 1000)] {
        let percent = f64::from(lost) * 100.0 / f64::from(pings);
        let mut alerts = alerts(&[rule(&format!("loss >= {percent}%"), "1 of 1", "1 of 1")]);
        let mut pings = vec![Ping::Lost; pings as usize];
        pings[lost as usize..].fill(Ping::Answered(Rtt::new(Duration::from_millis(1))));
        let round = Round::new(target(), None, UnixTime::from_secs(0), UnixTime::from_secs(60), pings);
        assert_eq!(alerts.observe(&round, Past::default()).len(), 1, "{percent}%");
    }
}

#[test]
fn too_few_answers_say_nothing_about_jitter() {
    check(&rule("jitter > 30ms", "2 of 2", "1 of 1"), "jLLj.", "---RC");
    check(&rule("jitter < 30ms", "2 of 2", "1 of 1"), "..LLj", "-R--C");
}

#[test]
fn without_a_rule_for_it_no_reply_crosses_every_upper_limit_of_latency() {
    for measure in ["median", "p95", "max", "jitter"] {
        check(&rule(&format!("{measure} > 800ms"), "2 of 2", "2 of 2"), ".DD..", "--R-C");
        check(&rule(&format!("{measure} >= 800ms"), "2 of 2", "2 of 2"), ".DD..", "--R-C");
        check(&rule(&format!("{measure} < 5ms"), "1 of 1", "1 of 1"), "jDDDj", "-----");
    }
    check(&threshold(), "..D...", "--R--C");
}

#[test]
fn one_outage_is_one_alert_where_down_is_a_rule() {
    let both = [Rule::down(), threshold()];
    assert_eq!(drawn(&both, "..DDD...."), ["--R----C-", "---------"]);
    // Slow first, then down: the open alert stays open until the line is fast again.
    assert_eq!(drawn(&both, ".xDDDD..."), ["--R-----C", "-R------C"]);
    assert_eq!(drawn(&both, ".x.D..x..."), ["---R--C---", "-R-------C"]);
    // The order of the rules makes no difference.
    assert_eq!(drawn(&[threshold(), Rule::down()], "..DDD...."), ["---------", "--R----C-"]);
    // Down, then slow: two troubles.
    assert_eq!(drawn(&both, "DDxxx..."), ["R---C---", "--R----C"]);
    // Rounds without a reply are passed over: neither do they count, nor do they break a run of slow ones.
    let slow = rule("median > 100ms", "2 of 2", "1 of 1");
    assert_eq!(drawn(&[Rule::down(), slow], "xDDDxD.."), ["-R------", "----R-C-"]);
    // A limit of loss is crossed by the same outage, and silent for the same reason.
    let lossy = rule("loss >= 20%", "2 of 3", "1 of 1");
    assert_eq!(drawn(&[Rule::down(), lossy], "DDll..."), ["R---C--", "---RC--"]);
    // A pattern says itself what it means.
    let lost = pattern(PatternKind::Rtt, "==U,==U");
    assert_eq!(drawn(&[Rule::down(), lost], "DD..."), ["R---C", "-RC--"]);
}

#[test]
fn a_round_is_compared_with_what_is_usual() {
    let slow = rule("median > 3 x usual", "2 of 3", "2 of 2");
    let drawn = |series: &str, past: fn(usize) -> Past| drawn_of(std::slice::from_ref(&slow), series, past);
    assert_eq!(drawn(".xx.xx..", |_| usual(60)), ["--R----C"]);
    // The limit itself is not over it.
    assert_eq!(drawn(".xx.xXX.", |_| usual(67)), ["------R-"]);
    // What is usual changes with the hour.
    assert_eq!(drawn("xxxx", |place| usual(if place < 2 { 150 } else { 10 })), ["---R"]);
    // No answer is over every limit, and beneath none.
    assert_eq!(drawn(".DD..", |_| usual(60)), ["--R-C"]);
    let fast = rule("p95 < 0.5 x usual", "1 of 1", "1 of 1");
    assert_eq!(drawn_of(&[Rule::down(), fast], "xD.D", |_| usual(60)), ["-R--", "--RC"]);
    // Where nothing is usual yet, nothing is said; the alert that is open stays so.
    assert_eq!(drawn("xXD...", |_| Past::default()), ["------"]);
    assert_eq!(drawn("xx..x...", |place| if place == 2 { Past::default() } else { usual(20) }), ["-R----C-"]);
    // Events carry it, those of other rules too.
    let events = events_of(&[Rule::down(), slow.clone()], "xxD", |place| usual(20 + place as u64));
    let told: Vec<_> = events.iter().map(|event| (event.rule.as_str(), event.usual)).collect();
    assert_eq!(told, [("median > 3 x usual", usual(21).usual), ("down", usual(22).usual)]);
}

#[test]
fn a_forecast_judges_where_it_knows() {
    let aberrant = rule("aberrant", "1 of 1", "2 of 2");
    assert_eq!(aberrant.judge.trouble(), Trouble::Slow);
    let past = |letters: &'static str| {
        move |place: usize| Past {
            usual: None,
            aberrant: match letters.as_bytes()[place] {
                b'!' => Some(true),
                b'=' => Some(false),
                _ => None,
            },
        }
    };
    assert_eq!(drawn_of(std::slice::from_ref(&aberrant), "........", past("=!==-!==")), ["-R-C-R-C"]);
    assert_eq!(drawn_of(std::slice::from_ref(&aberrant), "........", past("=!=--=--")), ["-R---C--"]);
    // An outage is told by the rule for it, and not by the forecast too.
    assert_eq!(drawn_of(&[Rule::down(), aberrant], ".DD.....", past("=!!!====")), ["-R---C--", "---R-C--"]);
}

#[test]
fn without_an_edge_a_pattern_is_told_with_each_round_that_matches() {
    let each = Rule { repeat: Some(Rule::EACH_ROUND), ..pattern(PatternKind::Loss, ">20%,>20%") };
    check(&each, ".lllll.ll?l.", "--RaaaC-R-aC");
}

#[test]
fn an_open_alert_is_told_again_with_the_first_bad_round_after_its_time() {
    let again = |repeat| Rule { repeat: Some(Duration::from_secs(repeat)), ..threshold() };
    check(&again(180), "xxxxxxxxx...xx", "R--a--a----CR-");
    check(&again(200), "xxxxxxxxx...", "R---a---a--C");
    // Nothing is told while nothing is known, nor with a good round.
    check(&again(180), "x?????x..x...", "R-----a--a--C");
    check(&Rule { repeat: None, ..threshold() }, "xxxxxxxxx", "R--------");
    // A day at a step of a minute.
    let day = [&"x".repeat(1440), "x..."].concat();
    assert_eq!(events(&[threshold()], &day)[1].at, UnixTime::from_secs(60 + 86_400));
}

#[test]
fn events_carry_the_numbers_of_the_whole_trouble() {
    let slow = rule("median > 100ms", "2 of 3", "2 of 2");
    let events = events(&[Rule { repeat: Some(Duration::from_secs(120)), ..slow }], "..x.x?XD.D..");
    let millis = |ms| Some(Rtt::new(Duration::from_millis(ms)));
    let told: Vec<_> = events.iter().map(|event| (event.kind, event.at.secs() / 60, event.rounds)).collect();
    // From the first bad round, the third of the series, to the last, the tenth; one between is unknown.
    let lasted = Duration::from_secs(8 * 60);
    assert_eq!(
        told,
        [
            (EventKind::Raised, 5, 3),
            (EventKind::Repeated, 7, 4),
            (EventKind::Repeated, 10, 7),
            (EventKind::Cleared { lasted }, 12, 7)
        ]
    );
    assert!(events.iter().all(|event| event.since == UnixTime::from_secs(180)));
    assert!(events.iter().all(|event| event.condition == "median > 100ms" && event.target == target()));
    assert_eq!(
        events.iter().map(|event| event.median).collect::<Vec<_>>(),
        [millis(200), millis(900), None, millis(10)]
    );
    assert_eq!(
        events.iter().map(|event| event.worst_median).collect::<Vec<_>>(),
        [millis(200), millis(900), millis(900), millis(900)]
    );
    assert_eq!(
        events.iter().map(|event| (event.loss_ratio, event.worst_loss_ratio)).collect::<Vec<_>>(),
        [(0.0, 0.0), (0.0, 0.0), (1.0, 1.0), (0.0, 1.0)]
    );
}

#[test]
fn one_bad_round_lasted_its_step() {
    let events = events(&[Rule::down()], "..D...");
    assert_eq!(events[1].kind, EventKind::Cleared { lasted: Duration::from_secs(60) });
    assert_eq!((events[0].condition.as_str(), events[0].worst_median), ("no ping answered", None));
}

#[test]
fn what_left_the_window_is_no_part_of_the_trouble() {
    let slow = rule("median > 100ms", "2 of 3", "3 of 3");
    let events = events(&[slow], "X..x.x");
    assert_eq!(events[0].since, UnixTime::from_secs(240));
    assert_eq!(events[0].worst_median, Some(Rtt::new(Duration::from_millis(200))));
    assert_eq!(events[0].rounds, 3);
}

/// Rounds whose stamps go back, as when a clock that was days ahead is corrected.
#[test]
fn a_clock_set_back_breaks_nothing() {
    let mut alerts = alerts(&[Rule { repeat: Some(Duration::from_secs(120)), ..threshold() }]);
    let stamps = [900_000, 900_060, 60, 120, 180, 240, 300, 360];
    let kinds: Vec<_> = stamps
        .iter()
        .zip("xxxxx...".chars())
        .map(|(end, letter)| {
            alerts.observe(&round(letter, *end), Past::default()).first().map(|event| event.kind)
        })
        .collect();
    let cleared = EventKind::Cleared { lasted: Duration::from_secs(60) };
    assert_eq!(
        kinds,
        [Some(EventKind::Raised), None, None, None, Some(EventKind::Repeated), None, None, Some(cleared)]
    );
}

/// The hour that no clock measured is no part of the five minutes.
#[test]
fn a_clock_set_forward_by_an_hour_raises_nothing() {
    let mut alerts = alerts(&[rule("median > 100ms", "5m", "3 of 3")]);
    let mut raised = [60, 120, 3720, 3780, 3840]
        .map(|end| alerts.observe(&round('x', end), Past::default()).first().map(|event| event.kind));
    assert_eq!(raised[4].take(), Some(EventKind::Raised));
    assert_eq!(raised, [None; 5], "five rounds make five minutes");
}

#[test]
fn the_state_names_every_open_alert() {
    let rules = [Rule::down(), threshold(), rule("loss >= 20%", "1 of 1", "1 of 1")];
    let mut alerts = alerts(&rules);
    assert_eq!(alerts.state("fra/core2"), None);
    let mut after = |letter, minute: i64| {
        alerts.observe(&round(letter, minute * 60), Past::default());
        alerts.state("fra/core1").unwrap()
    };
    let open = |rule: usize, minute: i64| OpenAlert {
        rule: Arc::new(rules[rule].clone()),
        since: UnixTime::from_secs(minute * 60),
    };
    assert_eq!(after('?', 1), TargetState::Unknown { since: UnixTime::from_secs(60) });
    assert_eq!(after('?', 2), TargetState::Unknown { since: UnixTime::from_secs(60) });
    assert_eq!(after('.', 3), TargetState::Ok);
    assert_eq!(after('?', 4), TargetState::Unknown { since: UnixTime::from_secs(240) });
    assert_eq!(after('x', 5), TargetState::Alerting(vec![open(1, 5)]));
    assert_eq!(after('D', 6), TargetState::Alerting(vec![open(0, 6), open(1, 5)]));
    assert_eq!(after('?', 7), TargetState::Alerting(vec![open(0, 6), open(1, 5)]));
    assert_eq!(after('.', 8), TargetState::Alerting(vec![open(0, 6), open(1, 5)]));
    assert_eq!(
        (after('.', 9), after('.', 10)),
        (TargetState::Alerting(vec![open(0, 6), open(1, 5)]), TargetState::Ok)
    );
}

#[test]
fn nothing_is_said_of_strangers_and_before_the_first_round() {
    let mut alerts = alerts(&[]);
    assert_eq!(alerts.state("fra/core1"), Some(TargetState::Waiting));
    let stranger = Arc::new(Target { name: "stranger".into(), host: "192.0.2.9".into() });
    let start = UnixTime::from_secs(0);
    let round = Round::new(stranger, None, start, start.plus(Duration::from_secs(60)), vec![Ping::Lost]);
    assert_eq!(alerts.observe(&round, Past::default()), []);
    assert_eq!(alerts.state("stranger"), None);
}

#[test]
fn a_patterns_alert_is_open_while_it_matches() {
    use PatternKind::{Loss, Rtt};
    check(&pattern(Loss, ">0%,*12*,>0%,*12*,>0%"), "l..l...l.....l", "-------RC----R");
    check(&pattern(Loss, "==0%,==0%,==0%,==0%,>20%,>20%,>20%"), "....llll.", "------RC-");
    check(&pattern(Loss, "==S,>0%,>0%,>0%"), "lllll", "--RC-");
    check(&pattern(Loss, "==S,>0%,>0%,>0%"), ".llll", "-----");
    check(&pattern(Loss, "==0%,==100%"), ".D.D", "-RCR");
    check(&pattern(Rtt, "<20,<20,>100,>100"), ".xxx..xx", "-------R");
    check(&pattern(Rtt, "==S,==U"), "?D.D", "-RC-");
    // Its windows are those of its text.
    check(&pattern(Loss, ">20%"), "l.l.", "RCRC");
}

#[test]
fn comparisons_are_read_and_shown() {
    let latency = |measure, op, ms| Comparison::Latency {
        measure,
        op,
        limit: Rtt::new(Duration::from_micros((ms * 1000.0) as u64)),
    };
    let against = |measure, op, times| Comparison::Usual { measure, op, times };
    for (text, shown, expected) in [
        ("median > 100ms", "median > 100ms", latency(Measure::Median, Op::Greater, 100.0)),
        ("average < 3ms", "average < 3ms", latency(Measure::Average, Op::Less, 3.0)),
        ("median > 3 x usual", "median > 3 x usual", against(Measure::Median, Op::Greater, 3.0)),
        ("average>=1.5×usual", "average >= 1.5 x usual", against(Measure::Average, Op::GreaterOrEqual, 1.5)),
        (" p95 < 0.25*  usual ", "p95 < 0.25 x usual", against(Measure::P95, Op::Less, 0.25)),
        ("max > 1000x usual", "max > 1000 x usual", against(Measure::Max, Op::Greater, 1000.0)),
        ("p95>=1.5s", "p95 >= 1500ms", latency(Measure::P95, Op::GreaterOrEqual, 1500.0)),
        (" max < 2s ", "max < 2s", latency(Measure::Max, Op::Less, 2000.0)),
        ("jitter<=0.25ms", "jitter <= 0.25ms", latency(Measure::Jitter, Op::LessOrEqual, 0.25)),
        ("loss >= 20%", "loss >= 20%", Comparison::Loss { op: Op::GreaterOrEqual, percent: 20.0 }),
        ("unknown>=50%", "unknown >= 50%", Comparison::Unknown { op: Op::GreaterOrEqual, percent: 50.0 }),
        ("loss>2.5 %", "loss > 2.5%", Comparison::Loss { op: Op::Greater, percent: 2.5 }),
    ] {
        assert_eq!(text.parse(), Ok(expected), "{text}");
        assert_eq!((expected.to_string().as_str(), shown.parse()), (shown, Ok(expected)));
    }
}

#[test]
fn a_wrong_comparison_says_what_to_write() {
    let error = |text: &str| text.parse::<Comparison>().unwrap_err();
    for (text, expected) in [
        ("", ComparisonError::Measure("".into())),
        ("mean > 1s", ComparisonError::Measure("mean > 1s".into())),
        ("Median > 1s", ComparisonError::Measure("Median > 1s".into())),
        ("aberrant > 3", ComparisonError::Alone("aberrant > 3".into())),
        ("median", ComparisonError::Op("median".into())),
        ("median 100ms", ComparisonError::Op("median 100ms".into())),
        ("median == 100ms", ComparisonError::Op("median == 100ms".into())),
        ("median => 100ms", ComparisonError::Op("median => 100ms".into())),
        ("median > 100", ComparisonError::NoUnit("median > 100".into())),
    ] {
        assert_eq!(error(text), expected);
    }
    for (text, said) in [
        ("loss > 20", "has no percent sign: loss is compared with a share, as loss >= 20%"),
        ("unknown > 20", "has no percent sign: unknown is compared with a share, as unknown >= 20%"),
        ("loss > 20ms", "compares loss with something else than a share of 0% to 100%"),
        ("loss > 101%", "compares loss with something else than a share of 0% to 100%"),
        ("loss > -1%", "compares loss with something else than a share of 0% to 100%"),
        ("loss > NaN%", "compares loss with something else than a share of 0% to 100%"),
        ("loss > %", "compares loss with something else than a share of 0% to 100%"),
        ("unknown > 100ms", "compares unknown with something else than a share of 0% to 100%"),
        ("loss > 100%", "is never true: for no reply at all write loss >= 100%"),
        ("unknown > 100%", "is never true: for nothing known at all write unknown >= 100%"),
    ] {
        assert_eq!(error(text).to_string(), format!("'{text}' {said}"));
    }
    for text in [
        "median > usual",
        "median > x usual",
        "median > 3 usual",
        "median > 0 x usual",
        "median > -1 x usual",
        "median > NaN x usual",
        "median > 1e2 x usual",
        "median > 1001 x usual",
        "median > 3ms x usual",
        "median > usual x 3",
        "median > 3 x usual + 10ms",
        "median > 3 x the usual one",
    ] {
        assert_eq!(error(text), ComparisonError::Times { text: text.into() });
    }
    for text in ["loss > 2 x usual", "unknown > 2 x usual", "jitter > 2 x usual"] {
        assert!(matches!(error(text), ComparisonError::NothingUsual { .. }), "{text}: {:?}", error(text));
    }
    for text in ["median > 20%", "median > ", "median > -5ms", "median > 5 parsecs", "median > 5ms or so"] {
        assert!(matches!(error(text), ComparisonError::NoTime { .. }), "{text}: {:?}", error(text));
    }
    for (text, word) in [
        ("median > 3 x usal", "usal"),
        ("median > 3*usuall", "usuall"),
        ("median > usaul", "usaul"),
        ("median > 2.5 × Usual", "Usual"),
    ] {
        assert_eq!(error(text), ComparisonError::Word { text: text.into(), word: word.into() });
    }
    assert_eq!(
        error("median > 100").to_string(),
        "'median > 100' has no unit: write ms or s behind the number"
    );
}

#[test]
fn windows_are_read_and_shown() {
    let rounds = |bad, of| Window::Rounds { bad, of };
    for (text, shown, expected) in [
        ("2 of 3", "2 of 3", rounds(2, 3)),
        (" 1of1 ", "1 of 1", rounds(1, 1)),
        ("1000 of 1000", "1000 of 1000", rounds(1000, 1000)),
        ("5m", "5m", Window::Span(Duration::from_secs(300))),
        ("90s", "90s", Window::Span(Duration::from_secs(90))),
    ] {
        assert_eq!(text.parse(), Ok(expected), "{text}");
        assert_eq!(expected.to_string(), shown);
    }
    let error = |text: &str| text.parse::<Window>().unwrap_err();
    for text in ["", "3", "of", "2 of", "of 3", "2 of x", "+2 of 3", "2 of 3 of 4", "two of three", "soon"] {
        assert_eq!(error(text), WindowError::Form(text.into()));
    }
    for text in ["0 of 3", "4 of 3", "0 of 0", "1 of 1001", "1 of 99999999999999999999"] {
        assert_eq!(error(text), WindowError::Bounds(text.into()));
    }
    assert_eq!(error("0s"), WindowError::Zero("0s".into()));
    assert!(matches!(error("5 parsecs"), WindowError::Duration(_)));
}

/// A window whose numbers no settings can hold must still not panic: its fields are public.
#[test]
fn an_impossible_window_is_the_nearest_possible_one() {
    let window =
        |bad, of| Rule { raise: Window::Rounds { bad, of }, ..rule("loss > 1%", "1 of 1", "1 of 1") };
    check(&window(0, 0), ".l.", "-RC");
    check(&window(5, 2), "l.ll.", "---RC");
    check(&Rule { raise: Window::Span(Duration::ZERO), ..window(1, 1) }, ".l.", "-RC");
}

#[test]
fn what_is_asked_of_the_past_is_told_by_the_rule() {
    let asks = |when| {
        let rule = rule(when, "1 of 1", "1 of 1");
        (rule.asks_for_the_usual(), rule.asks_for_a_forecast())
    };
    assert_eq!(asks("median > 3 x usual"), (true, false));
    assert_eq!(asks(" aberrant "), (false, true));
    assert_eq!(asks("median > 3s"), (false, false));
    assert!(Judge::when("Aberrant").is_err());
}

/// Events of a comparison with windows, recounted from the whole past at every round.
fn recounted(series: &str, raise: (usize, usize), clear: (usize, usize)) -> Vec<(bool, i64, i64, u32)> {
    let known: Vec<(char, i64)> = series.chars().zip(1..).filter(|(letter, _)| *letter != '?').collect();
    let mut told = Vec::new();
    let (mut changed, mut first_bad) = (0, None);
    for now in 0..known.len() {
        let is_open = first_bad.is_some();
        let (need, of) = if is_open { clear } else { raise };
        let window = &known[changed.max((now + 1).saturating_sub(of))..=now];
        let mut hits = window.iter().filter(|(letter, _)| (*letter == 'x') != is_open);
        if hits.clone().count() < need {
            continue;
        }
        let first = *first_bad.get_or_insert_with(|| hits.next().unwrap().1);
        let last = known[..=now].iter().rev().find(|(letter, _)| *letter == 'x').unwrap().1;
        let judged = known.iter().filter(|(_, minute)| (first..=last).contains(minute)).count();
        told.push((!is_open, known[now].1, first, u32::try_from(judged).unwrap()));
        changed = now + 1;
        if is_open {
            first_bad = None;
        }
    }
    told
}

fn window() -> impl Strategy<Value = (usize, usize)> {
    (1usize..7).prop_flat_map(|of| (1..=of, Just(of)))
}

fn letter() -> impl Strategy<Value = char> {
    prop::sample::select(".xXjlLDd?".chars().collect::<Vec<_>>())
}

fn past() -> impl Strategy<Value = Past> {
    let usual = prop::option::of((1u64..1000).prop_map(|ms| Rtt::new(Duration::from_millis(ms))));
    (usual, prop::option::of(any::<bool>())).prop_map(|(usual, aberrant)| Past { usual, aberrant })
}

/// Rules of every kind, told once or with each round, so that what they say hangs on no time.
fn timeless_rules() -> Vec<Rule> {
    vec![
        Rule { repeat: None, ..Rule::down() },
        rule("median > 100ms", "2 of 3", "3 of 3"),
        rule("loss >= 30%", "3m", "2m"),
        rule("jitter > 20ms", "3 of 5", "2 of 4"),
        rule("p95 > 1.5 x usual", "2 of 2", "2 of 3"),
        rule("aberrant", "1 of 1", "2 of 2"),
        pattern(PatternKind::Rtt, "<50,*3*,>100<=900,!=U"),
        pattern(PatternKind::Loss, "==S,*2*,>20%,*12*,>20%"),
        Rule { repeat: Some(Rule::EACH_ROUND), ..pattern(PatternKind::Loss, ">0%,>0%") },
    ]
}

/// What is told of rounds, each event with the number of the known round that decided it. After so many known rounds the
/// series has so many unknown ones.
fn told_of(
    rounds: &[(char, Past)],
    unknown_after: &[(usize, usize)],
) -> Vec<(usize, String, u32, Option<Rtt>)> {
    let mut alerts = alerts(&timeless_rules());
    let mut minute = 0;
    let mut tell = |letter, past| {
        minute += 1;
        alerts.observe(&round(letter, minute * i64::from(STEP)), past)
    };
    let mut told = Vec::new();
    for (number, (letter, past)) in rounds.iter().enumerate() {
        for (_, count) in unknown_after.iter().filter(|(after, _)| *after == number) {
            (0..*count).for_each(|_| assert_eq!(tell('?', *past), []));
        }
        for event in tell(*letter, *past) {
            let kind = match event.kind {
                EventKind::Cleared { .. } => "cleared",
                EventKind::Raised => "raised",
                EventKind::Repeated => "repeated",
            };
            told.push((number, format!("{} {kind}", event.rule), event.rounds, event.worst_median));
        }
    }
    told
}

proptest! {
    /// Rounds that our own side failed, wherever and however many they are, change nothing of what is told of the
    /// others.
    #[test]
    fn unknown_rounds_change_no_verdict(
        rounds in prop::collection::vec((letter().prop_filter("known", |letter| *letter != '?'), past()), 0..80),
        unknown in prop::collection::vec((0usize..80, 1usize..30), 0..6),
    ) {
        prop_assert_eq!(told_of(&rounds, &unknown), told_of(&rounds, &[]));
    }

    #[test]
    fn windows_agree_with_a_recount(series in "[.x?]{0,60}", raise in window(), clear in window()) {
        let written = |(bad, of): (usize, usize)| format!("{bad} of {of}");
        let slow = rule("median > 100ms", &written(raise), &written(clear));
        let told: Vec<_> = events(&[slow], &series)
            .iter()
            .map(|event| (
                event.kind == EventKind::Raised,
                event.at.secs() / 60,
                event.since.secs() / 60,
                event.rounds,
            ))
            .collect();
        prop_assert_eq!(told, recounted(&series, raise, clear));
    }

    #[test]
    fn a_span_is_a_run_of_its_rounds(series in "[.x?]{0,60}", raise in 1u32..8, clear in 1u32..8) {
        let run = |count: u32| format!("{count} of {count}");
        let by_rounds = rule("median > 100ms", &run(raise), &run(clear));
        let by_time = rule("median > 100ms", &format!("{raise}m"), &format!("{clear}m"));
        prop_assert_eq!(drawn(&[by_rounds], &series), drawn(&[by_time], &series));
    }

    /// Each rule's alerts begin, go on and end in this order, whatever the rounds and the clock are.
    #[test]
    fn every_alert_is_raised_before_it_is_cleared(
        rounds in prop::collection::vec((letter(), any::<i64>(), past()), 0..60),
    ) {
        let rules = [
            Rule::down(),
            threshold(),
            Rule { repeat: Some(Duration::from_secs(60)), ..rule("loss >= 30%", "2 of 3", "5m") },
            rule("unknown > 60%", "2 of 3", "2 of 2"),
            rule("jitter > 20ms", "3 of 5", "2 of 4"),
            rule("average > 2 x usual", "2 of 2", "1 of 1"),
            rule("aberrant", "1 of 1", "2 of 2"),
            pattern(PatternKind::Rtt, "<50,*3*,>100<=900,!=U"),
            Rule { repeat: Some(Rule::EACH_ROUND), ..pattern(PatternKind::Loss, ">0%") },
        ];
        let mut alerts = alerts(&rules);
        let mut open = Vec::new();
        for (letter, end, past) in rounds {
            for event in alerts.observe(&round(letter, end), past) {
                let is_open = open.contains(&event.rule);
                prop_assert_eq!(is_open, event.kind != EventKind::Raised);
                prop_assert!(event.rounds >= 1 && event.worst_loss_ratio <= 1.0);
                match event.kind {
                    EventKind::Raised => open.push(event.rule),
                    EventKind::Repeated => {}
                    EventKind::Cleared { .. } => open.retain(|rule| *rule != event.rule),
                }
            }
        }
        let state = alerts.state("fra/core1").unwrap();
        let shown = match state {
            TargetState::Alerting(open) => open.len(),
            TargetState::Waiting | TargetState::Unknown { .. } | TargetState::Ok => 0,
        };
        prop_assert_eq!(shown, open.len());
    }

    #[test]
    fn any_text_is_read_or_refused(text in r"(median|p95|loss|max|\PC){0,2} ?(>|<|>=|==|\PC)? ?[0-9.]{0,22}(ms|s|%| ?[x*] ?usual| of [0-9]{0,12}|\PC{0,3})") {
        if let Ok(comparison) = text.parse::<Comparison>() {
            prop_assert_eq!(comparison.to_string().parse(), Ok(comparison));
        }
        if let Ok(window) = text.parse::<Window>() {
            prop_assert_eq!(window.to_string().parse(), Ok(window));
        }
    }
}
