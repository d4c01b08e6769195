//! Every letter there is, side by side: each must keep the rules that all of them share.
//!
//! To look at them: `LATMON_GALLERY=DIR cargo test --lib letter::gallery` leaves the mail, the text and the HTML of each
//! there.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path as File;
use std::sync::Arc;

use super::*;
use crate::alert::{self, Unknown};
use crate::archive;
use crate::graph::{self, Format, Picture, Theme};
use crate::history::Row as Past;
use crate::mail::{self, Attachment, content_id};
use crate::monitor::ends::{Death, Next};
use crate::monitor::paths::{GoodHop, GoodPath, Sight};
use crate::monitor::status::State;
use crate::monitor::{End, Exit, Settings};
use crate::probe::icmp::{Family, Reason};
use crate::probe::{self, Hop, HopAnswer, Path, PathEnd};
use crate::round::{Rtt, Target};

const HOST: &str = "mon1";
/// What names the folder where the letters are left, in the environment.
const FOLDER: &str = "LATMON_GALLERY";
/// When the alerts of the gallery were raised: Sunday, 22 November 2026, 13:04 UTC.
const AT: i64 = 1_795_352_640;

/// A letter, and what its reader would call it.
struct Piece {
    name: &'static str,
    message: Message,
}

fn at(minutes: i64) -> UnixTime {
    UnixTime::from_secs(AT + 60 * minutes)
}

fn ms(ms: f64) -> Rtt {
    Rtt::from_secs_f64(ms / 1000.0).expect("it is a time")
}

fn target(name: &str, host: &str) -> Arc<Target> {
    Arc::new(Target { name: name.into(), host: host.into() })
}

/// An alert of the built-in rule, three rounds old.
fn down(name: &str, host: &str) -> Event {
    Event {
        target: target(name, host),
        address: host.parse().ok().or(Some([192, 0, 2, 2].into())),
        rule: "down".into(),
        condition: "no ping answered".into(),
        trouble: Trouble::Down,
        severity: Severity::Critical,
        to: Vec::new(),
        kind: EventKind::Raised,
        since: at(-2),
        at: at(0),
        rounds: 3,
        median: None,
        worst_median: None,
        usual: None,
        loss_ratio: 1.0,
        worst_loss_ratio: 1.0,
        says: None,
        unknown: None,
    }
}

fn slow() -> Event {
    Event {
        rule: "slow".into(),
        condition: "median > 100ms".into(),
        trouble: Trouble::Slow,
        severity: Severity::Warning,
        median: Some(ms(182.4)),
        worst_median: Some(ms(231.7)),
        loss_ratio: 0.05,
        worst_loss_ratio: 0.25,
        ..down("fra/core1", "core1.example.net")
    }
}

fn lossy() -> Event {
    Event {
        rule: "lossy".into(),
        condition: "loss >= 20%".into(),
        trouble: Trouble::Lossy,
        median: Some(ms(18.21)),
        worst_median: Some(ms(19.3)),
        loss_ratio: 0.25,
        worst_loss_ratio: 0.4,
        ..slow()
    }
}

fn unmeasured(name: &str, host: &str) -> Event {
    let why = "the name does not resolve".to_owned();
    Event {
        address: None,
        rule: "blind".into(),
        condition: "unknown >= 50%".into(),
        trouble: Trouble::Unknown,
        severity: Severity::Warning,
        loss_ratio: 0.0,
        worst_loss_ratio: 0.0,
        unknown: Some(Unknown { ratio: 1.0, why }),
        ..down(name, host)
    }
}

fn cleared(event: Event, lasted_minutes: u64) -> Event {
    let lasted = Duration::from_secs(60 * lasted_minutes);
    let since = event.at.minus(lasted);
    let kind = EventKind::Cleared { lasted };
    let back = Event { kind, since, loss_ratio: 0.0, unknown: None, ..event };
    Event { median: Some(ms(18.0)), ..back }
}

/// A day of rounds up to `end`, of which those since the trouble began show what the event tells.
fn day(event: &Event, end: UnixTime) -> History {
    let step = Step::new(60).expect("not zero");
    let bad_median = if event.trouble == Trouble::Down { None } else { event.worst_median };
    let row = |minute: u64| {
        let wave = (minute as f64 / 229.0).sin() * 2.0 + (minute as f64 * 7.3).sin().powi(8) * 3.0;
        let row_end = end.minus(Duration::from_secs(60 * minute));
        let is_over = matches!(event.kind, EventKind::Cleared { .. });
        let is_bad = row_end >= event.since && !(is_over && minute < 3);
        let median = if is_bad { bad_median } else { Some(ms(18.0 + wave)) };
        let loss = if is_bad { event.worst_loss_ratio.min(0.4 + event.loss_ratio) } else { 0.0 };
        let lost = (loss * 20.0) as usize;
        let rank = |rank: usize| {
            let answered = rank >= lost / 2 && rank < 20 - lost.div_ceil(2);
            median.filter(|_| answered).map(|median| {
                ms(median.as_millis_f64() * (0.93 + 0.008 * rank as f64 + 0.1 * f64::from(rank > 18)))
            })
        };
        let loss = (!is_bad || event.trouble != Trouble::Unknown).then_some(loss);
        Past { end: row_end, loss_ratio: loss, median, ranks: (0..20).map(rank).collect() }
    };
    let rows = (0..1440).rev().map(row).collect();
    let start = end.minus(Duration::from_secs(86_400));
    History { target: event.target.name.clone(), row: step, step, pings: 20, start, end, rows }
}

/// Those of the groups below, which are down, and 20 that are well.
fn members_and_others() -> Vec<Standing> {
    let member = |number| Standing { target: target(&format!("fra/core{number}"), ""), state: State::Down };
    (1..=37).map(member).chain(standings(&[(State::Ok, 20)])).collect()
}

fn standings(states: &[(State, usize)]) -> Vec<Standing> {
    let target = target("other", "192.0.2.9");
    let standing = |state: &State| Standing { target: Arc::clone(&target), state: *state };
    states.iter().flat_map(|(state, count)| vec![standing(state); *count]).collect()
}

/// A path by these routers, each of which takes so long.
fn sighting(hops: &[(&str, f64)], end: PathEnd) -> Sighting {
    const GOOD: [(&str, f64); 5] = [
        ("192.168.1.1", 0.41),
        ("198.51.100.1", 4.2),
        ("198.51.100.77", 9.3),
        ("203.0.113.9", 17.1),
        ("192.0.2.2", 18.0),
    ];
    let address = |text: &str| -> IpAddr { text.parse().expect("it is an address") };
    let says = Some(Reason { family: Family::V4, kind: 11, code: 0 });
    let hop = |((from, took), distance): (&(&str, f64), u8)| {
        let answer = HopAnswer { from: address(from), rtt: ms(*took), says };
        Hop { distance, sent: 3, answers: vec![answer] }
    };
    let good = GOOD.iter().zip(1..).map(|((from, took), distance)| GoodHop {
        distance,
        from: vec![address(from)],
        name: (distance == 3).then(|| "ae1-0.cr2.fra1.carrier.example.com".to_owned()),
        median: Some(ms(*took)),
    });
    let good = GoodPath { at: at(-372), address: address("192.0.2.2"), hops: good.collect() };
    let path = Path { target: good.address, hops: hops.iter().zip(1..).map(hop).collect(), end };
    Sighting { now: Sight::Traced { at: at(0), path, names: HashMap::new() }, good: Some(good) }
}

fn broken_path() -> Sighting {
    sighting(&[("192.168.1.1", 0.39), ("198.51.100.1", 4.4)], PathEnd::Silent(30))
}

fn slow_path() -> Sighting {
    let hops = [
        ("192.168.1.1", 0.39),
        ("198.51.100.1", 4.4),
        ("198.51.100.77", 171.0),
        ("203.0.113.9", 180.2),
        ("192.0.2.2", 182.0),
    ];
    sighting(&hops, PathEnd::Reached)
}

fn moved_path() -> Sighting {
    let hops = [("192.168.1.1", 0.39), ("198.51.100.1", 4.4), ("198.51.100.93", 80.3), ("192.0.2.2", 182.0)];
    sighting(&hops, PathEnd::Reached)
}

/// The picture of a day as the composer draws it.
fn drawn(event: &Event) -> Attachment {
    let past = day(event, event.at);
    let picture = Picture {
        title: event.target.name.clone(),
        width: 480,
        height: 240,
        scale: 2.0,
        theme: Theme::Light,
        format: Format::Png,
        limit: (event.trouble == Trouble::Slow).then(|| ms(100.0)),
        marks: vec![mark(event, past.step)],
    };
    // It takes its time, and only people look at it.
    let bytes = match std::env::var_os(FOLDER) {
        Some(_) => graph::smoke(&past, &picture).expect("its size is allowed"),
        None => Vec::new(),
    };
    Attachment { name: "picture.png".into(), mime: "image/png", bytes }
}

fn of_story(story: Story, mut around: Vec<Around>) -> Message {
    let events: Vec<&Event> = match &story {
        Story::Alert(event) | Story::Flapping { event, .. } | Story::Steady { event, .. } => vec![event],
        Story::Together { events, .. } => events.iter().collect(),
        _ => Vec::new(),
    };
    let mut pictures = Vec::new();
    for (around, event) in around.iter_mut().zip(&events) {
        around.past = Some(day(event, event.at));
        around.before = Some(day(event, event.since));
        pictures.push(drawn(event));
        around.picture = Some(pictures.len());
    }
    let (key, severity) = ("gallery".to_owned(), Severity::Critical);
    let notice = Notice { key, answers: None, at: at(1), severity, to: Vec::new(), story, also: Vec::new() };
    let mut message = of_notice(&notice, &around, HOST);
    if let Some(html) = &mut message.html {
        html.pictures = pictures;
    }
    message
}

fn of_alert(event: Event, sighting: Option<Sighting>, states: &[(State, usize)]) -> Message {
    of_story(Story::Alert(event), vec![Around { sighting, others: standings(states), ..Around::default() }])
}

const OTHERS: &[(State, usize)] = &[(State::Ok, 39)];

fn alerts() -> Vec<Piece> {
    let core1 = || down("fra/core1", "core1.example.net");
    let refused = Event { says: Some("host unreachable, says 198.51.100.1".into()), ..core1() };
    let long_name = "frankfurt/datacentre-2/rack-14/customer-access-router-7.management";
    let long_host = "customer-access-router-7.mgmt.rack-14.dc2.frankfurt.infrastructure.example.net";
    let usual = Event {
        rule: "unusual".into(),
        condition: "median > 3 x usual".into(),
        usual: Some(ms(21.4)),
        ..slow()
    };
    let aberrant = Event { rule: "strange".into(), condition: "aberrant".into(), ..slow() };
    let repeated = Event { kind: EventKind::Repeated, since: at(-1440), rounds: 1441, ..slow() };
    let still_down = Event { kind: EventKind::Repeated, since: at(-125), rounds: 126, ..core1() };
    let web = || unmeasured("par/web", "web.example.net");
    let refused_here = Unknown { ratio: 0.6, why: "a firewall of this machine refuses".into() };
    let (median, address) = (Some(ms(18.2)), Some([192, 0, 2, 7].into()));
    let partly = Event { unknown: Some(refused_here), median, worst_median: median, address, ..web() };
    let mixed = &[(State::Ok, 26), (State::Down, 10), (State::Slow, 2), (State::Unknown, 1)];
    let piece = |name, message| Piece { name, message };
    vec![
        piece("alert-down", of_alert(core1(), Some(broken_path()), OTHERS)),
        piece("alert-down-says", of_alert(refused, Some(broken_path()), mixed)),
        piece("alert-down-alone", of_alert(down("8.8.8.8", "8.8.8.8"), None, &[])),
        piece("alert-down-long", of_alert(down(long_name, long_host), Some(broken_path()), OTHERS)),
        piece("alert-down-ipv6", of_alert(down("2001:db8::2", "2001:db8::2"), None, &[(State::Down, 3)])),
        piece("alert-slow", of_alert(slow(), Some(slow_path()), OTHERS)),
        piece("alert-slow-moved", of_alert(slow(), Some(moved_path()), OTHERS)),
        piece("alert-lossy", of_alert(lossy(), Some(slow_path()), mixed)),
        piece("alert-usual", of_alert(usual, Some(slow_path()), OTHERS)),
        piece("alert-aberrant", of_alert(aberrant, None, OTHERS)),
        piece("alert-unknown", of_alert(web(), None, OTHERS)),
        piece("alert-unknown-partly", of_alert(partly, None, OTHERS)),
        piece(
            "repeat-unknown",
            of_alert(Event { kind: EventKind::Repeated, since: at(-1440), ..web() }, None, mixed),
        ),
        piece("recovery-unknown", of_alert(cleared(web(), 10_000), None, OTHERS)),
        piece("repeat-slow", of_alert(repeated, Some(slow_path()), OTHERS)),
        piece("repeat-down", of_alert(still_down, Some(broken_path()), mixed)),
        piece("recovery-down", of_alert(cleared(core1(), 23), None, OTHERS)),
        piece("recovery-slow", of_alert(cleared(slow(), 1500), None, OTHERS)),
        piece("recovery-lossy", of_alert(cleared(lossy(), 7), None, mixed)),
    ]
}

fn groups() -> Vec<Piece> {
    let member = |number: usize| {
        let says = (!number.is_multiple_of(5)).then(|| "host unreachable, says 198.51.100.1".to_owned());
        Event { says, ..down(&format!("fra/core{number}"), &format!("192.0.2.{number}")) }
    };
    let members: Vec<Event> = (1..=37).map(member).collect();
    let with_parent: Vec<Event> =
        std::iter::once(down("gw1", "198.51.100.1")).chain(members.iter().cloned()).collect();
    let around = |count: usize, path: bool| -> Vec<Around> {
        let one = || Around {
            sighting: path.then(broken_path),
            shared: Some("198.51.100.1".into()),
            others: members_and_others(),
            ..Around::default()
        };
        (0..count).map(|_| one()).collect()
    };
    let over: Vec<Event> = members.iter().map(|event| cleared(event.clone(), 23)).collect();
    let mut mixed: Vec<Event> = members[..4].to_vec();
    mixed.extend([slow(), lossy()]);
    let unmeasured: Vec<Event> = (1..=3)
        .map(|number| unmeasured(&format!("par/web{number}"), &format!("web{number}.example.net")))
        .collect();
    let together = |events: &[Event], of, behind: Option<&str>, closely| {
        let story = Story::Together { events: events.to_vec(), of, behind: behind.map(str::to_owned) };
        let is_over = events.iter().all(|event| matches!(event.kind, EventKind::Cleared { .. }));
        let shows_path = !is_over && events[0].trouble != Trouble::Unknown;
        of_story(story, around(closely, shows_path))
    };
    let piece = |name, message| Piece { name, message };
    vec![
        piece("group-behind", together(&members, 40, Some("gw1"), 3)),
        piece("group-parent", together(&with_parent, 41, Some("gw1"), 3)),
        piece("group-mixed", together(&mixed, 57, None, 3)),
        piece("group-two", together(&members[..2], 57, None, 2)),
        piece("group-unknown", together(&unmeasured, 57, None, 3)),
        piece("group-over", together(&over, 40, Some("gw1"), 3)),
    ]
}

fn flaps() -> Vec<Piece> {
    let core1 = || down("fra/core1", "core1.example.net");
    let others: Vec<Event> =
        (2..=4).map(|number| down(&format!("fra/core{number}"), &format!("192.0.2.{number}"))).collect();
    let flapping = |event, others: &[Event]| {
        let story =
            Story::Flapping { event, others: others.to_vec(), changes: 3, since: at(-24), is_new: false };
        of_story(story, vec![Around { others: standings(OTHERS), ..Around::default() }])
    };
    let steady = |event, others: &[Event]| {
        let story = Story::Steady { event, others: others.to_vec(), changes: 17, since: at(-157) };
        of_story(story, vec![Around { others: standings(OTHERS), ..Around::default() }])
    };
    let mut events: Vec<Event> = others.clone();
    events.extend([slow(), lossy(), cleared(core1(), 4)]);
    let piece = |name, message| Piece { name, message };
    vec![
        piece("flapping", flapping(core1(), &[])),
        piece("flapping-together", flapping(slow(), &others)),
        piece("steady-well", steady(cleared(core1(), 4), &[])),
        piece("steady-down", steady(core1(), &others)),
        piece("digest", of_story(Story::Digest { events, more: 12, since: at(-40) }, Vec::new())),
    ]
}

fn uplink() -> Vec<Piece> {
    let why = || "192.168.1.1, the gateway, does not answer".to_owned();
    let offline = Story::Offline { since: at(-3), why: why() };
    let online = Story::Online { since: at(-50), lasted: Duration::from_secs(47 * 60), why: why() };
    let piece = |name, message| Piece { name, message };
    vec![piece("offline", of_story(offline, Vec::new())), piece("online", of_story(online, Vec::new()))]
}

fn settings(names: &[(&str, &str)]) -> Settings {
    let step = Step::new(60).expect("not zero");
    let watched = |(name, host): &(&str, &str)| probe::TargetSettings {
        target: target(name, host),
        step,
        pings: 20,
        timeout: Duration::from_secs(1),
        family: None,
        echo: probe::EchoSettings::default(),
    };
    Settings {
        host: HOST.into(),
        archive: archive::Settings { data_dir: "/var/lib/latmon".into(), targets: Vec::new() },
        probe: probe::Settings {
            targets: names.iter().map(watched).collect(),
            pace: probe::Pace::default(),
            resolve_every: probe::RESOLVE_EVERY,
            anchors: probe::Anchors::default(),
            known_anchors: Vec::new(),
        },
        alert: alert::Settings { targets: Vec::new() },
        desk: alert::desk::Settings::default(),
        mail: None,
        ways: Vec::new(),
        limits: HashMap::new(),
        exit: Exit::default(),
    }
}

fn own_ends() -> Vec<Piece> {
    let few = settings(&[("google-dns", "8.8.8.8"), ("gateway", "192.168.1.1")]);
    let names: Vec<(String, String)> =
        (1..=300).map(|number| (format!("fra/core{number}"), format!("192.0.2.{number}"))).collect();
    let names: Vec<(&str, &str)> = names.iter().map(|(name, host)| (name.as_str(), host.as_str())).collect();
    let many = settings(&names);
    let log: Vec<String> = [
        "13:01:00.114 WARN  fra/core1 (core1.example.net): does not answer [down: no ping answered]",
        "13:02:00.207 INFO  sent '[latmon] DOWN: fra/core1 (core1.example.net) does not answer' to noc@example.org",
    ]
    .map(str::to_owned)
    .into();
    let of_death = |number: i64, reason: &str, next| Death {
        key: format!("monitor-exit-{number}"),
        run: at(-9000),
        started: at(-9000),
        at: at(number),
        reason: reason.into(),
        log: log.clone(),
        next,
        is_planned: false,
    };
    let killed = "was killed by SIGKILL: by somebody, or by the kernel for want of memory";
    let hung = "hung: it had not gone round for 3 min, and was ended";
    let fault = "ended by a fault of its own: thread 'prober' at src/probe/mod.rs:12:5: index out of bounds";
    let again = || Next::Again { secs: 4 };
    let before =
        [of_death(-30, killed, again()), of_death(-20, hung, again()), of_death(-10, fault, again())];
    let told = |newest: &Death, before: &[Death], more| {
        death(newest, before, more, File::new("/var/lib/latmon"), HOST)
    };
    let told_to_stop = End::Told("SIGTERM".into());
    let panicked = End::Panicked("thread 'prober' at src/probe/mod.rs:12:5: index out of bounds".into());
    let piece = |name, message| Piece { name, message };
    vec![
        piece("exit-planned", exit(&few, &told_to_stop, at(-9000), at(0))),
        piece("exit-planned-many", exit(&many, &told_to_stop, at(-9000), at(0))),
        piece("exit-panic", exit(&few, &panicked, at(-9000), at(0))),
        piece("death-killed", told(&of_death(0, killed, again()), &[], 0)),
        piece("death-hung", told(&of_death(0, hung, Next::Managed), &[], 0)),
        piece("death-row", told(&of_death(0, fault, again()), &before, 17)),
        piece("death-last", told(&of_death(0, killed, Next::Never), &before[..1], 0)),
        piece("death-guardian", told(&of_death(0, "lost its guardian", Next::Repaired), &[], 0)),
        piece("gap", gap(&few, at(-400), at(0))),
    ]
}

/// Leaves a letter where somebody can look at it.
fn leave(folder: &File, Piece { name, message }: &Piece) {
    let write = |ending: &str, bytes: &[u8]| {
        std::fs::write(folder.join(format!("{name}.{ending}")), bytes).expect("the folder takes it");
    };
    write("eml", &mail::compose(message, None, HOST).expect("its attachments have types"));
    write("txt", format!("{}\n\n{}", message.subject, message.text).as_bytes());
    let html = message.html.as_ref().expect("every letter has it");
    let mut shown = html.text.clone();
    for (picture, number) in html.pictures.iter().zip(1..) {
        let file = format!("{name}.{number}.png");
        shown = shown.replace(&format!("cid:{}", content_id(&message.key, number)), &file);
        write(&format!("{number}.png"), &picture.bytes);
    }
    write("html", shown.as_bytes());
}

#[test]
fn every_letter_keeps_the_rules_of_all() {
    let pieces: Vec<Piece> =
        [alerts(), groups(), flaps(), uplink(), own_ends()].into_iter().flatten().collect();
    if let Some(folder) = std::env::var_os(FOLDER) {
        pieces.iter().for_each(|piece| leave(File::new(&folder), piece));
    }
    for Piece { name, message } in &pieces {
        let text = &message.text;
        // Names apart, which are as long as they are.
        let names = [
            "fra/core1 (core1.example.net)",
            "par/web (web.example.net)",
            "gw1 (198.51.100.1)",
            "the monitor on mon1",
        ];
        let most = if name.ends_with("-long") { 180 } else { 70 };
        let subject = names.iter().fold(message.subject.clone(), |subject, name| subject.replace(name, ""));
        assert!(subject.chars().count() <= most, "{name}: {}", message.subject);
        for line in text.lines() {
            // A name is not broken, nor is a command.
            let fits = line.chars().count() <= 78 || !line.trim_start().contains(' ');
            assert!(fits || line.starts_with("  latmon "), "{name}: {line}");
            assert!(!line.ends_with(' ') || line == "-- ", "{name}: '{line}'");
        }
        assert!(!text.contains("\n\n\n") && !text.contains(".."), "{name}: {text}");
        // Both forms say the same.
        let html = &message.html.as_ref().expect("every letter has it").text;
        let plain = plain(html);
        for word in text.split_whitespace().filter(|word| !matches!(*word, "--" | ">")) {
            let word = word.trim_end_matches(['.', ':']);
            assert!(plain.contains(word), "{name}: '{word}' is not in its HTML");
        }
    }
}

/// The words of a document.
fn plain(html: &str) -> String {
    let mut words = String::new();
    for part in html.split('<') {
        words.push_str(part.split_once('>').map_or(part, |(_, said)| said));
        words.push(' ');
    }
    [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&amp;", "&")]
        .iter()
        .fold(words, |words, (escaped, said)| words.replace(escaped, said))
}
