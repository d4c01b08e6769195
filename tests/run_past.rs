//! Rules that compare with a target's own past, from end to end: `latmon run` in the test network goes on with an archive
//! that the real rrdtool has filled up to now, and mails over TLS what is not as it was. Needs root, for the network,
//! rrdtool, and python3-aiosmtpd and openssl, for the mail server.

#![allow(clippy::unwrap_used, reason = "a test ends there")]

mod support {
    pub(crate) mod latmon;
    pub(crate) mod net;
    pub(crate) mod rrdtool;
    pub(crate) mod smtp;
}

use std::time::{Duration, SystemTime};

use support::latmon::{Desk, Running};
use support::net::{Net, answer, ms};
use support::rrdtool::Rrdtool;
use support::smtp::{Mode, PASSWORD, Received, Smtp, USER};

const LIMIT: Duration = Duration::from_secs(90);
const HOUR: i64 = 3600;
const WEEK: i64 = 7 * 24 * HOUR;

fn now() -> i64 {
    i64::try_from(SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap()
}

/// The data sources of SmokePing for three pings, in the words of `rrdtool create`.
fn data_sources(step: i64) -> Vec<String> {
    let source = |name| format!("DS:{name}:GAUGE:{}:0:U", 2 * step);
    ["uptime", "loss", "median", "ping1", "ping2", "ping3"].map(source).into()
}

fn create(rrdtool: &mut Rrdtool, file: &str, start: i64, step: i64, more: &[&str]) {
    let (start, step, sources) = (start.to_string(), step.to_string(), data_sources(step));
    let words = ["create", file, "--start", &start, "--step", &step];
    let sources: Vec<&str> = sources.iter().map(String::as_str).collect();
    rrdtool.run(&[&words[..], &sources, more].concat()).unwrap();
}

/// Rounds without loss, which ended at these times with these medians in milliseconds.
fn update(rrdtool: &mut Rrdtool, file: &str, rounds: impl Iterator<Item = (i64, u64)>) {
    let words: Vec<String> = rounds
        .map(|(end, ms)| [format!("{end}:U:0"), vec![format!("{ms}e-3"); 4].join(":")].join(":"))
        .collect();
    for words in words.chunks(500) {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        rrdtool.run(&[&["update", file][..], &words].concat()).unwrap();
    }
}

/// Starts `latmon run` with one rule, and mails to `smtp`.
fn start<'a>(desk: &'a Desk, smtp: &Smtp, rule: &str) -> Running<'a> {
    desk.write("password", PASSWORD);
    desk.write(
        "latmon.toml",
        &format!(
            "[defaults]\nstep = '1s'\npings = 3\nalerts = ['odd']\n[alert.odd]\n{rule}\n[alerts]\nsettle = '0s'\n[mail]\n\
             from = 'latmon@example.org'\nto = ['noc@example.org']\nserver = 'localhost'\nport = {}\nusername = \
             '{USER}'\npassword_file = 'password'\n[targets]\noffice = '198.18.0.1'\n",
            smtp.port
        ),
    );
    desk.start(desk.latmon("run").env("SSL_CERT_FILE", &smtp.ca_file))
}

/// Waits for so many rounds of its own, behind those of the history.
fn own_rounds(monitor: &mut Running<'_>, count: usize) {
    let start = now();
    let own = |desk: &Desk| desk.rows("office.rrd").iter().filter(|(end, _)| *end > start).count();
    monitor.until(LIMIT, "rounds of its own", |desk| (own(desk) >= count).then_some(()));
}

/// The milliseconds that stand behind `words`.
#[track_caller]
fn millis(text: &str, words: &str) -> f64 {
    let number = text.split_once(words).and_then(|(_, rest)| rest.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no '{words} N' in\n{text}"))
}

/// The alert, its end and the exit mail.
#[track_caller]
fn story(smtp: &Smtp, monitor: &mut Running<'_>) -> [Received; 3] {
    let mails = smtp.wait_for(2, LIMIT);
    assert_eq!(mails.len(), 2, "{}", monitor.log());
    monitor.stop();
    let mails: [Received; 3] = smtp.wait_for(3, LIMIT).try_into().expect("three mails");
    let [slow, well, exit] = &mails;
    assert!(
        slow.header("Subject").starts_with("[latmon] SLOW: office (198.18.0.1) is slow: median "),
        "{}",
        slow.header("Subject")
    );
    assert!(
        well.header("Subject")
            .starts_with("[latmon] OK: office (198.18.0.1) is as fast as it should be again after "),
        "{}",
        well.header("Subject")
    );
    assert_eq!(well.header("In-Reply-To"), slow.header("Message-ID"));
    assert!(exit.header("Subject").contains("STOPPED"), "{}", exit.header("Subject"));
    mails
}

/// Four weeks in which this hour of this weekday is slower than any other, and a line that is then slower by far.
#[test]
fn a_line_that_is_slower_than_usual_is_told_with_what_is_usual() {
    let net = Net::new();
    let smtp = Smtp::start(Mode::Implicit);
    let desk = Desk::new();
    let mut rrdtool = Rrdtool::start(&desk.path(""));
    let end = now() / 300 * 300;
    let begin = end - 4 * WEEK;
    create(&mut rrdtool, "weeks.rrd", begin, 300, &["RRA:AVERAGE:0.5:1:8064"]);
    // The hour may change while the test runs.
    let is_this_hour = |ago: i64| (ago + 2 * HOUR) % WEEK < 3 * HOUR;
    let rounds = (1..=8064).map(|number| begin + 300 * number);
    update(&mut rrdtool, "weeks.rrd", rounds.map(|at| (at, if is_this_hour(end - at) { 40 } else { 10 })));
    let kept = ["--source", "weeks.rrd", "RRA:AVERAGE:0.5:1:3600", "RRA:AVERAGE:0.5:600:4464"];
    create(&mut rrdtool, "office.rrd", end, 1, &kept);

    // Six times what is usual at any other hour is well.
    net.host("198.18.0.1", answer().delay(ms(60)));
    let mut monitor = start(&desk, &smtp, "when = 'median > 3 x usual'\nfor = '2 of 2'\nclear = '2 of 2'");
    own_rounds(&mut monitor, 3);
    net.host("198.18.0.1", answer().delay(ms(200)));
    let slow = &smtp.wait_for(1, LIMIT)[0];
    let text = slow.text();
    assert!(text.contains("rule     odd: median > 3 x usual"), "{text}");
    assert!(text.contains("usual    median 40.0 ms at this hour of the week; median "), "{text}");
    assert!(millis(&text, "now      median ") >= 200.0, "{text}");

    net.host("198.18.0.1", answer().delay(ms(60)));
    let [_, well, _] = story(&smtp, &mut monitor);
    let text = well.text();
    assert!(text.contains("usual    median 40.0 ms at this hour of the week"), "{text}");
    assert!((60.0..120.0).contains(&millis(&text, "now      median ")), "{text}");
    assert!(millis(&text, "worst    median ") >= 200.0, "{text}");
}

/// Somebody's own forecast, with a season of a minute, which twenty minutes have taught that the line takes 40 to 80 ms.
#[test]
fn a_line_that_its_forecast_did_not_foresee_is_told() {
    let net = Net::new();
    let smtp = Smtp::start(Mode::Implicit);
    let desk = Desk::new();
    let mut rrdtool = Rrdtool::start(&desk.path(""));
    let end = now();
    let begin = end - 1200;
    let kept = [
        "RRA:AVERAGE:0.5:1:3600",
        "RRA:HWPREDICT:1200:0.002:0:60:3",
        "RRA:SEASONAL:60:0.1:2",
        "RRA:DEVSEASONAL:60:0.1:2",
        "RRA:DEVPREDICT:1200:4",
        "RRA:FAILURES:1200:7:9:4",
    ];
    create(&mut rrdtool, "office.rrd", begin, 1, &kept);
    rrdtool.run(&["tune", "office.rrd", "--deltapos", "3", "--deltaneg", "3"]).unwrap();
    update(
        &mut rrdtool,
        "office.rrd",
        (1..=1200).map(|number: i64| (begin + number, 40 + number.cast_unsigned() * 7919 % 41)),
    );

    net.host("198.18.0.1", answer().delay(ms(60)));
    let mut monitor = start(&desk, &smtp, "when = 'aberrant'");
    own_rounds(&mut monitor, 3);
    net.host("198.18.0.1", answer().delay(ms(300)));
    let slow = &smtp.wait_for(1, LIMIT)[0];
    let text = slow.text();
    assert!(text.contains("rule     odd: aberrant"), "{text}");
    assert!(millis(&text, "now      median ") >= 300.0, "{text}");
    assert!((40.0..=80.0).contains(&millis(&text, "usual    median ")), "{text}");

    net.host("198.18.0.1", answer().delay(ms(60)));
    let [_, well, _] = story(&smtp, &mut monitor);
    assert!((60.0..120.0).contains(&millis(&well.text(), "now      median ")), "{}", well.text());

    // The forecast in the file says the same to rrdtool: it failed, and then no more.
    let (from, to) = (end.to_string(), now().to_string());
    let failures = rrdtool.run(&["fetch", "office.rrd", "FAILURES", "-s", &from, "-e", &to]).unwrap();
    let failures = String::from_utf8(failures).unwrap();
    let medians: Vec<&str> = failures.lines().filter_map(|line| line.split_whitespace().nth(3)).collect();
    let first = medians.iter().position(|failed| failed.starts_with("1.0")).expect("it failed");
    assert!(medians[first..].iter().any(|failed| failed.starts_with("0.0")), "{medians:?}");
}
