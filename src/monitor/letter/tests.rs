use std::sync::Arc;

use super::*;
use crate::history::Row as Past;
use crate::monitor::status::State;
use crate::round::{Rtt, Target};
use crate::time::Step;

fn event(kind: EventKind, trouble: Trouble, median: Option<u64>) -> Event {
    Event {
        target: Arc::new(Target { name: "fra/core1".into(), host: "core1.example.net".into() }),
        address: Some([192, 0, 2, 2].into()),
        rule: "lossy".into(),
        condition: "loss >= 20%".into(),
        trouble,
        severity: Severity::Warning,
        to: Vec::new(),
        kind,
        since: UnixTime::from_secs(1_700_000_040),
        at: UnixTime::from_secs(1_700_000_340),
        rounds: 6,
        median: median.map(|ms| Rtt::new(Duration::from_millis(ms))),
        worst_median: Some(Rtt::new(Duration::from_millis(80))),
        usual: None,
        loss_ratio: 0.25,
        worst_loss_ratio: 0.5,
        says: None,
        unknown: None,
    }
}

fn others(states: &[(State, usize)]) -> Vec<Standing> {
    let target = Arc::new(Target { name: "other".into(), host: "192.0.2.9".into() });
    let standing = |state: &State| Standing { target: Arc::clone(&target), state: *state };
    states.iter().flat_map(|(state, count)| vec![standing(state); *count]).collect()
}

fn mail(event: &Event, past: Option<History>) -> Message {
    let around =
        Around { before: past.clone(), past, others: others(&[(State::Ok, 39)]), ..Around::default() };
    of_notice(&Notice::of_event(event.clone()), &[around], "mon")
}

fn story(story: Story) -> Message {
    let notice = Notice {
        also: Vec::new(),
        key: "k".into(),
        answers: None,
        at: UnixTime::from_secs(1_700_000_400),
        severity: Severity::Critical,
        to: Vec::new(),
        story,
    };
    of_notice(&notice, &[], "mon")
}

/// Rows that end a minute apart, the last one where the event above was decided.
fn past(rows: &[(f64, Option<u64>)]) -> History {
    let end = event(EventKind::Raised, Trouble::Slow, None).at;
    let step = Step::new(60).expect("not zero");
    let row = |((loss, ms), before): (&(f64, Option<u64>), u64)| Past {
        end: end.minus(Duration::from_secs(60 * before)),
        loss_ratio: Some(*loss),
        median: ms.map(|ms| Rtt::new(Duration::from_millis(ms))),
        ranks: Vec::new(),
    };
    let mut rows: Vec<Past> = rows.iter().rev().zip(0..).map(row).collect();
    rows.reverse();
    History {
        target: "fra/core1".into(),
        row: step,
        step,
        pings: 20,
        start: end.minus(step.duration() * 9),
        end,
        rows,
    }
}

#[test]
fn subjects_say_what_happened() {
    let subject = |kind, trouble, median| mail(&event(kind, trouble, median), None).subject;
    let cleared = EventKind::Cleared { lasted: Duration::from_secs(1380) };
    assert_eq!(
        [
            subject(EventKind::Raised, Trouble::Down, None),
            subject(EventKind::Raised, Trouble::Slow, Some(182)),
            subject(EventKind::Raised, Trouble::Lossy, Some(58)),
            subject(EventKind::Repeated, Trouble::Slow, None),
            subject(EventKind::Repeated, Trouble::Lossy, Some(58)),
            subject(cleared, Trouble::Lossy, Some(58)),
        ],
        [
            "[latmon] DOWN: fra/core1 (core1.example.net) does not answer",
            "[latmon] SLOW: fra/core1 (core1.example.net) is slow: median 182 ms",
            "[latmon] LOSSY: fra/core1 (core1.example.net) loses 25 % of its pings",
            "[latmon] SLOW: fra/core1 (core1.example.net) still does not answer",
            "[latmon] LOSSY: fra/core1 (core1.example.net) still loses 25 % of its pings",
            "[latmon] OK: fra/core1 (core1.example.net) no longer loses pings after 23 min",
        ]
    );
}

#[test]
fn subjects_of_other_stories_say_as_much() {
    let down = event(EventKind::Raised, Trouble::Down, None);
    let slow = event(EventKind::Raised, Trouble::Slow, Some(182));
    let over = event(EventKind::Cleared { lasted: Duration::from_secs(60) }, Trouble::Down, Some(58));
    let together = |events: &[&Event], of, behind: Option<&str>| {
        let events = events.iter().map(|event| (*event).clone()).collect();
        story(Story::Together { events, of, behind: behind.map(str::to_owned) }).subject
    };
    assert_eq!(
        together(&[&down, &down], 3, Some("gw1")),
        "[latmon] DOWN: 2 of 3 targets behind gw1 do not answer"
    );
    assert_eq!(
        together(&[&down, &slow, &slow], 40, None),
        "[latmon] DOWN: 3 of 40 targets are in trouble: 1 down, 2 slow"
    );
    assert_eq!(together(&[&slow, &slow], 40, None), "[latmon] SLOW: 2 of 40 targets are slow");
    assert_eq!(together(&[&over, &over], 40, None), "[latmon] OK: 2 of 40 targets are well again");
    assert_eq!(
        together(&[&down, &down, &down], 41, Some("fra/core1")),
        "[latmon] DOWN: fra/core1 (core1.example.net) does not answer, with 2 of 40 behind it"
    );
    let since = down.at.minus(Duration::from_secs(1200));
    let others = vec![down.clone(); 39];
    let flapping = story(Story::Flapping { event: down.clone(), others, changes: 3, since, is_new: false });
    assert_eq!(
        flapping.subject,
        "[latmon] FLAPPING: fra/core1 (core1.example.net) and 39 others are down on and off"
    );
    assert_eq!(
        story(Story::Flapping { event: down.clone(), others: Vec::new(), changes: 5, since, is_new: false })
            .subject,
        "[latmon] FLAPPING: fra/core1 (core1.example.net) is down on and off"
    );
    let new = |others| {
        story(Story::Flapping { event: down.clone(), others, changes: 3, since, is_new: true }).subject
    };
    assert_eq!(new(Vec::new()), "[latmon] DOWN: fra/core1 (core1.example.net) does not answer");
    assert_eq!(
        new(vec![down.clone(); 39]),
        "[latmon] DOWN: fra/core1 (core1.example.net) and 39 others do not answer"
    );
    assert_eq!(
        story(Story::Steady { event: over, others: Vec::new(), changes: 12, since }).subject,
        "[latmon] OK: fra/core1 (core1.example.net) is well and steady after 12 changes"
    );
    assert_eq!(
        story(Story::Steady { event: down.clone(), others: Vec::new(), changes: 12, since }).subject,
        "[latmon] DOWN: fra/core1 (core1.example.net) stays down after 12 changes"
    );
    let digest = story(Story::Digest { events: vec![down; 3], more: 4, since }).subject;
    assert!(digest.starts_with("[latmon] DIGEST: 7 more alerts since "), "{digest}");
    let offline = story(Story::Offline { since, why: "eth0 has no carrier".into() });
    assert!(offline.subject.starts_with("[latmon] OFFLINE: the monitor on mon has had no network since "));
    assert!(offline.text.contains("\nbecause  eth0 has no carrier\n"), "{}", offline.text);
    let lasted = Duration::from_secs(47 * 60);
    assert_eq!(
        story(Story::Online { since, lasted, why: String::new() }).subject,
        "[latmon] ONLINE: the monitor on mon has its network again, after 47 min"
    );
}

/// What came and went together with the one that the mail is about is listed.
#[test]
fn what_flaps_together_is_told_together() {
    let event = event(EventKind::Raised, Trouble::Down, None);
    let target = Arc::new(Target { name: "fra/core7".into(), host: "192.0.2.7".into() });
    let others = vec![Event { target, ..event.clone() }];
    let since = event.at.minus(Duration::from_secs(1200));
    let text = story(Story::Flapping { event, others, changes: 5, since, is_new: false }).text;
    assert!(text.contains("\nTogether with it:\n  fra/core7  "), "{text}");
    assert!(text.contains("\n  latmon mute fra 2h "), "both are of one group: {text}");
}

#[test]
fn what_other_rules_say_of_the_target_stands_before_the_command() {
    let kind = EventKind::Cleared { lasted: Duration::from_secs(600) };
    let slow = Event { rule: "slow".into(), ..event(kind, Trouble::Slow, Some(20)) };
    let lossy = event(EventKind::Raised, Trouble::Lossy, Some(20));
    let notice = Notice { also: vec![slow], ..Notice::of_event(lossy) };
    let text = of_notice(&notice, &[], "mon1").text;
    let place = |words: &str| text.find(words).unwrap_or_else(|| panic!("'{words}' is not in\n{text}"));
    assert!(place("Other rules say at the same time") < place("over after 10 min"), "{text}");
    assert!(place("  slow: ") < place("latmon mute fra/core1 2h"), "{text}");
}

/// The line that says how long a mail waited is found in its text and in its HTML.
#[test]
fn both_forms_have_the_line_that_tells_of_waiting() {
    let message = mail(&event(EventKind::Raised, Trouble::Down, None), None);
    let raw = crate::mail::compose(&message, None, "mon").unwrap();
    let lines = raw.split(|byte| *byte == b'\n').filter(|line| *line == b"held up: no\r").count();
    assert_eq!(lines, 2, "{}", String::from_utf8_lossy(&raw));
}

/// A recovery and a reminder answer the first mail, and two reminders are two mails.
#[test]
fn mails_of_one_alert_are_one_conversation() {
    let first = mail(&event(EventKind::Raised, Trouble::Slow, Some(182)), None);
    let reminder = event(EventKind::Repeated, Trouble::Slow, Some(190));
    let later = Event { at: UnixTime::from_secs(1_700_086_740), ..reminder.clone() };
    let reminders = [mail(&reminder, None), mail(&later, None)];
    assert_eq!(first.in_reply_to, None);
    assert!(reminders.iter().all(|mail| mail.in_reply_to.as_ref() == Some(&first.key)));
    assert_ne!(reminders[0].key, reminders[1].key);
}

/// Only what is new and critical wakes somebody up.
#[test]
fn only_news_that_are_critical_are_urgent() {
    let critical = |kind| Event { severity: Severity::Critical, ..event(kind, Trouble::Down, None) };
    assert!(mail(&critical(EventKind::Raised), None).is_urgent);
    assert!(!mail(&critical(EventKind::Repeated), None).is_urgent);
    assert!(!mail(&event(EventKind::Raised, Trouble::Down, None), None).is_urgent);
}

#[test]
fn the_usual_is_what_was_before_the_trouble() {
    let event = event(EventKind::Raised, Trouble::Slow, Some(182));
    // The trouble began six rounds ago.
    let rows: Vec<_> = [58, 58, 60, 182, 182, 182, 182, 182, 182].map(|ms| (0.1, Some(ms))).to_vec();
    let text = mail(&event, Some(past(&rows))).text;
    assert!(text.starts_with("fra/core1 (core1.example.net) is slow: median 182 ms.\n"), "{text}");
    assert!(text.contains("\nusual    median 58.0 ms, 10 % loss (over the 24 hours before)\n"), "{text}");
    assert!(text.contains("\nrule     lossy: loss >= 20%\n"), "{text}");
}

#[test]
fn loss_and_median_of_the_last_rounds_stand_in_a_line_each() {
    let event = event(EventKind::Raised, Trouble::Lossy, Some(58));
    let rows = [(0.0, Some(58)), (0.2, Some(182)), (0.4, Some(9)), (1.0, None)];
    let mail = mail(&event, Some(past(&rows)));
    let wanted = "\nloss     0%  20%  40% 100%\nms     58.0  182 9.00    -\n";
    assert!(mail.text.contains(wanted), "{}", mail.text);
    assert!(mail.html.expect("it has HTML").text.contains(">0%, 20%, 40%, 100%<"));
}

#[test]
fn a_text_fits_into_eighty_columns_in_the_order_in_which_it_is_wanted() {
    let mut event = event(EventKind::Raised, Trouble::Down, None);
    event.says = Some("host unreachable, says 192.0.2.254".into());
    let rows: Vec<_> = (0..40).map(|row| if row < 34 { (0.0, Some(58)) } else { (1.0, None) }).collect();
    let mail = mail(&event, Some(past(&rows)));
    assert!(mail.text.lines().all(|line| line.chars().count() < 80), "{}", mail.text);
    let order = [
        "does not answer.\n",
        "\nsince    ",
        "\nnow      no ping answered (100 % loss)",
        "\nusual    median 58.0 ms, 0 % loss",
        "\nerror    host unreachable, says 192.0.2.254\n",
        "\nothers   the 39 others answer as usual\n",
        "\nloss     0%   0%",
        "\n  latmon mute fra/core1 2h --reason 'known'\n",
        "\nheld up: no\n",
        "\n-- \nlatmon ",
    ];
    let places: Vec<Option<usize>> = order.iter().map(|words| mail.text.find(words)).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?}\n{}", mail.text);
}

#[test]
fn a_list_is_bounded() {
    let events: Vec<Event> = (0..100)
        .map(|number| {
            let target = Arc::new(Target { name: format!("t{number}"), host: "192.0.2.1".into() });
            Event { target, ..event(EventKind::Raised, Trouble::Down, None) }
        })
        .collect();
    let text = story(Story::Together { events, of: 300, behind: None }).text;
    assert!(text.contains(" t59\n") && !text.contains(" t60"), "{text}");
    assert!(text.contains("  and 40 more\n"), "{text}");
}

/// A long list is short where the same happened to all.
#[test]
fn names_stand_together_where_the_same_happened_to_them() {
    let named = |name: &str, event: Event| {
        let target = Arc::new(Target { name: name.into(), host: "192.0.2.1".into() });
        Event { target, ..event }
    };
    let down = |name: &str| named(name, event(EventKind::Raised, Trouble::Down, None));
    let at = clock(down("a").since);
    let mut events: Vec<Event> = ["a", "b", "c", "d", "e"].map(down).into();
    events.push(named("f", event(EventKind::Raised, Trouble::Slow, Some(182))));
    let told =
        |events: &[Event]| story(Story::Together { events: events.to_vec(), of: 9, behind: None }).text;
    let text = told(&events);
    assert!(
        text.contains(&format!("\n  {at}, no answer: a, b, c, d, e\n  {at}, median 182 ms: f\n")),
        "{text}"
    );
    let text = told(&events[4..]);
    assert!(text.contains(&format!("\n  e  {at}  no answer\n  f  {at}  median 182 ms\n")), "{text}");
}

#[test]
fn a_command_can_be_typed_as_it_stands() {
    let command = |name| match mute(&[name], "mon") {
        Block::Command { command, .. } => command,
        other => panic!("{other:?}"),
    };
    assert_eq!(command("fra/core1"), "latmon mute fra/core1 2h --reason 'known'");
    let two = mute(&["gw", "fra/a", "fra/b"], "mon");
    let Block::Command { command: two, .. } = two else { panic!("{two:?}") };
    assert_eq!(two, "latmon mute fra 2h --reason 'known' && latmon mute gw 2h --reason 'known'");
    assert_eq!(command("a b; rm 'x'"), r"latmon mute 'a b; rm '\''x'\''' 2h --reason 'known'");
}
