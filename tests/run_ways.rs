//! A webhook and a command from end to end: `latmon run` in the test network tells both of an outage, of its end and of its
//! own stop, each once and in order, although both fail at first. Needs root, for the network, python3 and openssl.

#![allow(clippy::unwrap_used, reason = "a test ends there")]

mod support {
    pub(crate) mod hook;
    pub(crate) mod latmon;
    pub(crate) mod net;
    pub(crate) mod smtp;
}

use std::fs;
use std::time::Duration;

use serde_json::Value;
use support::hook::{Hook, Posted};
use support::latmon::Desk;
use support::net::{Net, answer, ms, silence};
use support::smtp::make_certificates;

const LIMIT: Duration = Duration::from_secs(90);
const TOKEN: &str = "a-token-for-the-hook";

/// Leaves its arguments and its variables in a file for each time it runs, and fails the first time.
const PAGER: &str = r#"#!/bin/sh
number=$(ls "${0%/*}" | wc -l)
{ printf '[%s]\n' "$@"; echo; tr '\0' '\n' < /proc/$$/environ; } > "${0%/*}/call.$number"
test "$number" != 1 || { echo 'no line yet' >&2; exit 3; }
"#;

/// What a call of the pager was told: its arguments, and its variables in the order of their names.
struct Call {
    arguments: Vec<String>,
    variables: Vec<String>,
}

fn calls(desk: &Desk) -> Vec<Call> {
    let read = |number| fs::read_to_string(desk.path(&format!("pager/call.{number}"))).ok();
    let texts = (1..).map_while(read);
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let call = |text: String| {
        let (arguments, variables) = text.split_once("\n\n").unwrap_or((&text, ""));
        let mut variables = lines(variables);
        variables.sort();
        Call { arguments: lines(arguments), variables }
    };
    texts.map(call).collect()
}

#[test]
fn an_outage_is_told_once_and_in_order_by_a_webhook_and_by_a_command() {
    let net = Net::new();
    net.host("198.18.0.1", answer().delay(ms(5)));
    let desk = Desk::new();
    make_certificates(&desk.path(""), "DNS:localhost", 2);
    let hook = Hook::start(Some(&desk.path("")), "500,200");
    fs::create_dir(desk.path("pager")).unwrap();
    desk.write("pager/run", PAGER);
    desk.write("token", TOKEN);
    let pager = desk.path("pager/run").display().to_string();
    desk.write(
        "latmon.toml",
        &format!(
            "[defaults]\nstep = '1s'\npings = 4\n[alerts]\nsettle = '0s'\n[webhook.duty]\nurl = \
             'https://localhost:{}/hooks/duty'\ntemplate = 'plain'\ntoken_file = 'token'\n[command.pager]\nrun = ['/bin/sh', \
             '{pager}', '{{{{state}}}} {{{{target}}}}', '--', '{{{{loss_percent}}}}']\n[targets]\n'of fice' = \
             '198.18.0.1'\n",
            hook.port
        ),
    );
    let mut run = desk.latmon("run");
    run.env("SSL_CERT_FILE", desk.path("ca.pem")).env("NOT_FOR_OTHERS", "hush");
    let mut monitor = desk.start(&mut run);
    monitor.until(LIMIT, "rows", |desk| (desk.rows("of fice.rrd").len() >= 2).then_some(()));

    net.host("198.18.0.1", silence());
    // Twice of each: the first attempt fails.
    hook.wait_for(2, LIMIT);
    monitor.until(LIMIT, "the second call", |desk| (calls(desk).len() == 2).then_some(()));
    net.host("198.18.0.1", answer().delay(ms(5)));
    hook.wait_for(3, LIMIT);
    monitor.until(LIMIT, "the third call", |desk| (calls(desk).len() == 3).then_some(()));
    monitor.stop();

    let posted = hook.posted();
    let states: Vec<&str> = posted.iter().filter_map(|posted| posted.body["state"].as_str()).collect();
    assert_eq!(states, ["raised", "raised", "cleared", "stopped"], "{}", monitor.log());
    let [refused, raised, cleared, _] = &posted[..] else { panic!("four: {posted:?}") };
    assert_eq!(refused.body, raised.body, "nothing of it has changed meanwhile");
    is_the_outage(raised, cleared);
    is_paged(&calls(&desk));
    let waits: Vec<_> = fs::read_dir(desk.path("outbox"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".json"))
        .collect();
    assert!(waits.is_empty(), "{waits:?}");
    let log = monitor.log();
    assert!(log.contains("500 Internal Server Error") && log.contains("no line yet"), "{log}");
    assert!(!log.contains(TOKEN) && !log.contains("/hooks/duty"), "{log}");
}

#[track_caller]
fn is_the_outage(raised: &Posted, cleared: &Posted) {
    for posted in [raised, cleared] {
        assert_eq!(posted.request, "POST /hooks/duty HTTP/1.1");
        assert_eq!(posted.header("authorization"), format!("Bearer {TOKEN}"));
        let [alert] = &posted.body["alerts"].as_array().unwrap()[..] else { panic!("one alert: {posted:?}") };
        for (key, value) in [
            ("rule", "down"),
            ("condition", "no ping answered"),
            ("target", "of fice"),
            ("host", "198.18.0.1"),
            ("severity", "critical"),
        ] {
            assert_eq!(alert[key], value, "{alert}");
        }
        assert_eq!(posted.body["held_up_secs"], Value::Null);
    }
    let alert = |posted: &Posted| posted.body["alerts"][0].clone();
    assert_eq!(raised.body["subject"], "[latmon] DOWN: of fice (198.18.0.1) does not answer");
    assert_eq!(raised.body["answers"], Value::Null);
    let (down, over) = (alert(raised), alert(cleared));
    assert_eq!((&down["ended"], &down["median_ms"]), (&Value::Null, &Value::Null));
    assert_eq!(down["loss_percent"], 100.0);
    assert!(down["usual_ms"].as_f64().is_some_and(|usual| (5.0..200.0).contains(&usual)), "{down}");
    assert!(raised.body["text"].as_str().unwrap().contains("no ping answered (100 % loss)"));

    let subject = cleared.body["subject"].as_str().unwrap();
    assert!(subject.starts_with("[latmon] OK: of fice (198.18.0.1) answers again after "), "{subject}");
    assert_eq!(cleared.body["answers"], raised.body["key"]);
    assert_eq!(over["since"], down["since"]);
    let time = |value: &Value| chrono::DateTime::parse_from_rfc3339(value.as_str().unwrap()).unwrap();
    assert!(time(&over["ended"]) > time(&over["since"]), "{over}");
    assert_eq!(over["loss_percent"], 0.0);
}

#[track_caller]
fn is_paged(calls: &[Call]) {
    let arguments: Vec<Vec<&str>> =
        calls.iter().map(|call| call.arguments.iter().map(String::as_str).collect()).collect();
    assert_eq!(
        arguments,
        [
            ["[raised of fice]", "[--]", "[100]"],
            ["[raised of fice]", "[--]", "[100]"],
            ["[cleared of fice]", "[--]", "[0]"],
            ["[stopped ]", "[--]", "[]"]
        ]
    );
    let [failed, raised, cleared, _] = calls else { panic!("four calls") };
    assert_eq!(failed.variables, raised.variables);
    let value = |call: &Call, name: &str| {
        let found = call.variables.iter().find_map(|line| line.strip_prefix(&format!("{name}=")));
        found.unwrap_or_else(|| panic!("no {name} in {:?}", call.variables)).to_owned()
    };
    for (name, told) in [
        ("LATMON_TARGET", "of fice"),
        ("LATMON_HOST", "198.18.0.1"),
        ("LATMON_RULE", "down"),
        ("LATMON_SEVERITY", "critical"),
        ("LATMON_LOSS_PERCENT", "100"),
        ("LATMON_SUBJECT", "[latmon] DOWN: of fice (198.18.0.1) does not answer"),
        ("LATMON_ENDED", ""),
        ("TZ", "UTC"),
    ] {
        assert_eq!(value(raised, name), told);
    }
    assert_eq!(value(cleared, "LATMON_STATE"), "cleared");
    assert_ne!(value(cleared, "LATMON_ENDED"), "");
    assert!(!raised.variables.iter().any(|line| line.contains("hush") || line.contains("SSL_CERT_FILE")));
}
