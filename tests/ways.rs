//! Webhooks and commands as somebody who relies on them sees them: told once, in order, in the words that each service
//! wants, and no way that hangs holds up another. Needs python3, openssl and prometheus-alertmanager.
//!
//! Whom to trust is said by SSL_CERT_FILE, as for the program itself. It holds for a whole process, so each test that
//! needs it runs again in a process of its own, which has it set ([`trusting`]).

#![allow(clippy::unwrap_used, reason = "a test ends there")]

mod support {
    pub mod hook;
    pub mod smtp;
}

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use latmon::mail::{
    Alerted, Command, Courier, Form, How, Outbox, Posting, Secret, Way, Webhook, WebhookSettings,
};
use latmon::time::UnixTime;
use serde_json::{Value, json};
use support::hook::Hook;
use support::smtp::{Port, make_certificates, trusting};

/// Long enough for a pause of the courier, on a busy machine.
const LONG: Duration = Duration::from_secs(60);

#[test]
fn every_service_is_posted_to_over_https() {
    trusting("every_service_is_posted_to_over_https", |certificates| {
        let hook = Hook::start(Some(certificates), "");
        let url = |path: &str| format!("https://localhost:{}{path}", hook.port);
        let ways = vec![
            webhook("slack", &url("/services/T0/B0/x"), Form::Slack),
            webhook("ntfy", &url("/my-topic"), Form::Ntfy),
            webhook("teams", &url("/workflows/1?sig=x"), Form::Teams),
            webhook("am", &url(""), Form::Alertmanager),
            webhook("own", &url("/own"), Form::Own(r#"{"about": {{target}}, "at": "{{since}}"}"#.into())),
        ];
        let place = Place::new();
        let courier = place.courier(ways);
        for way in ["slack", "ntfy", "teams", "am", "own"] {
            courier.put(&raised(&format!("webhook:{way}"), "core1", now())).unwrap();
        }
        let posted = hook.wait_for(5, LONG);
        assert_eq!(courier.stop(LONG), 0);
        assert_eq!(courier.troubles(), []);
        let by = |path: &str| {
            let request = format!("POST {path} HTTP/1.1");
            posted.iter().find(|posted| posted.request == request).unwrap_or_else(|| panic!("{posted:?}"))
        };
        for posted in &posted {
            assert_eq!(posted.header("content-type"), "application/json");
            assert_eq!(posted.header("host"), format!("localhost:{}", hook.port));
            assert!(posted.header("user-agent").starts_with("latmon/"));
        }
        let subject = "[latmon] DOWN: core1 does not answer";
        assert_eq!(by("/services/T0/B0/x").body["blocks"][0]["text"]["text"], subject);
        assert_eq!(by("/").body["topic"], "my-topic");
        assert_eq!(by("/workflows/1?sig=x").body["type"], "message");
        assert_eq!(by("/api/v2/alerts").body[0]["labels"]["target"], "core1");
        assert_eq!(by("/own").body["about"], "core1");
        assert_eq!(place.files("sent").len(), 5);
        assert!(place.waiting().is_empty());
    });
}

#[test]
fn a_busy_server_is_asked_again_and_no_redirect_is_followed() {
    let elsewhere = Hook::start(None, "");
    let redirect = format!("302:http://127.0.0.1:{}/", elsewhere.port);
    let hook = Hook::start(None, &format!("429:1,503,garbage,close,{redirect}"));
    let place = Place::new();
    let courier = place.courier(vec![plain("a", &hook, Form::Plain)]);
    courier.put(&raised("webhook:a", "core1", now())).unwrap();
    let shown = format!("http://127.0.0.1:{}/***: ", hook.port);
    for trouble in [
        "429 Too Many Requests: done",
        "503 Service Unavailable: done",
        "what it answered is no HTTP",
        "closed the connection without an answer",
        "302: it wants us to go elsewhere, which is not done: write the address that it moved to",
    ] {
        is_in_trouble(&courier, &format!("{shown}{trouble}"));
        courier.hurry();
    }
    hook.wait_for(6, LONG);
    assert_eq!(courier.stop(LONG), 0);
    assert!(elsewhere.posted().is_empty());
    assert_eq!(place.files("sent").len(), 1);
    assert_eq!(courier.troubles(), [], "it is over");
}

/// The server has it as soon as it says so; what it says afterwards, and for how long, is its own affair.
#[test]
fn an_answer_without_end_is_bounded() {
    let hook = Hook::start(None, "200-endless,200-drip,500-endless,500-drip");
    let place = Place::new();
    let courier = place.courier(vec![plain("a", &hook, Form::Plain)]);
    for target in ["a", "b", "c", "d"] {
        courier.put(&raised("webhook:a", target, now())).unwrap();
    }
    is_in_trouble_with(&courier, "500 Internal Server Error: xxx");
    assert_eq!(place.files("sent").len(), 2);
    courier.hurry();
    hook.wait_for(4, LONG);
    courier.hurry();
    hook.wait_for(6, LONG);
    assert_eq!(courier.stop(LONG), 0);
}

#[test]
fn a_way_that_hangs_holds_up_no_other_and_no_stop() {
    let (hanging, well) = (Hook::start(None, "hang"), Hook::start(None, ""));
    let place = Place::new();
    let marker = place.data.path().join("ran");
    let command = ["/bin/sh", "-c", "echo $LATMON_TARGET $LATMON_STATE >> \"$0\"", marker.to_str().unwrap()];
    let sleeper = ["/bin/sleep", "1000"];
    let ways = vec![
        plain("hanging", &hanging, Form::Plain),
        plain("well", &well, Form::Plain),
        Way { name: "command:hanging".into(), how: How::Command(Command::new(&sleeper, LONG).unwrap()) },
        Way { name: "command:well".into(), how: How::Command(Command::new(&command, LONG).unwrap()) },
    ];
    let courier = place.courier(ways);
    for way in ["webhook:hanging", "command:hanging", "webhook:well", "command:well"] {
        courier.put(&raised(way, "core1", now())).unwrap();
    }
    hanging.wait_for(1, LONG);
    well.wait_for(1, LONG);
    until("the command has run", || fs::read_to_string(&marker).is_ok_and(|text| text == "core1 raised\n"));
    let began = Instant::now();
    assert_eq!(courier.stop(Duration::from_secs(2)), 2, "what hangs stays for the next run");
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
}

#[test]
fn what_is_refused_holds_up_its_own_alert_only() {
    let hook = Hook::start(None, "400");
    let place = Place::new();
    let ways = vec![plain("a", &hook, Form::Plain)];
    let (first, other) = (raised("webhook:a", "core1", 1), raised("webhook:a", "core2", 2));
    let over = Posting {
        key: "core1-down-1-cleared".into(),
        answers: Some(first.key.clone()),
        state: "cleared".into(),
        ..raised("webhook:a", "core1", 3)
    };
    let courier = place.courier(Vec::new());
    for posting in [&first, &over, &other] {
        courier.put(posting).unwrap();
    }
    drop(courier);

    let courier = place.courier(ways.clone());
    let states = |hook: &Hook| -> Vec<String> {
        let said =
            |body: &Value| format!("{} {}", body["alerts"][0]["target"], body["state"]).replace('"', "");
        hook.posted().iter().map(|posted| said(&posted.body)).collect()
    };
    hook.wait_for(2, LONG);
    until("core2 is sent", || place.files("sent").len() == 1);
    assert_eq!(states(&hook), ["core1 raised", "core2 raised"], "the end waits for its beginning");
    courier.hurry();
    hook.wait_for(4, LONG);
    assert_eq!(states(&hook)[2..], ["core1 raised", "core1 cleared"]);
    assert_eq!(courier.stop(LONG), 0);

    // Sent is sent, also for the next run.
    let courier = place.courier(ways);
    courier.put(&first).unwrap();
    assert_eq!(courier.stop(LONG), 0);
    assert_eq!(hook.posted().len(), 4);
}

#[test]
fn what_waited_goes_by_the_settings_of_today_and_says_how_late_it_is() {
    let place = Place::new();
    let closed = Port::closed();
    let url = format!("http://127.0.0.1:{}/x", closed.number);
    let courier = place.courier(vec![webhook("a", &url, Form::Plain)]);
    courier.put(&raised("webhook:a", "core1", now() - 2820)).unwrap();
    is_in_trouble_with(&courier, "connection refused: check host and port of the URL");
    assert_eq!(courier.stop(LONG), 1);
    drop(courier);

    let hook = Hook::start_on(closed, None, "");
    let body = Form::Own(r#"{"text": "{{subject}} (held up {{held_up}})"}"#.into());
    let courier = place.courier(vec![webhook("a", &url, body)]);
    let posted = hook.wait_for(1, LONG);
    assert_eq!(courier.stop(LONG), 0);
    assert_eq!(posted[0].body["text"], "[latmon] DOWN: core1 does not answer (held up 47 min)");
}

#[test]
fn a_server_that_proves_nothing_gets_nothing() {
    trusting("a_server_that_proves_nothing_gets_nothing", |certificates| {
        let strangers = tempfile::tempdir().unwrap();
        make_certificates(strangers.path(), "DNS:localhost", 2);
        let stranger = Hook::start(Some(strangers.path()), "");
        let (known, clear) = (Hook::start(Some(certificates), ""), Hook::start(None, ""));
        let place = Place::new();
        let ways = vec![
            webhook("stranger", &format!("https://localhost:{}/x", stranger.port), Form::Plain),
            webhook("misnamed", &format!("https://127.0.0.2:{}/x", known.port), Form::Plain),
            webhook("clear", &format!("https://localhost:{}/x", clear.port), Form::Plain),
        ];
        let courier = place.courier(ways);
        for way in ["stranger", "misnamed", "clear"] {
            courier.put(&raised(&format!("webhook:{way}"), "core1", now())).unwrap();
        }
        until("all are in trouble", || courier.troubles().len() == 3);
        let troubles = courier.troubles();
        assert!(troubles[0].1.contains("certificate not trusted: its issuer is unknown"), "{troubles:?}");
        // Nobody listens on the other address, or the certificate is for another: both are told.
        assert!(troubles[1].1.contains("not trusted") || troubles[1].1.contains("refused"), "{troubles:?}");
        assert!(!troubles[2].1.is_empty(), "{troubles:?}");
        assert_eq!(courier.stop(Duration::ZERO), 3);
        assert!([stranger, known, clear].iter().all(|hook| hook.posted().is_empty()));
    });
}

#[test]
fn no_secret_comes_back_from_a_server_that_repeats_everything() {
    let hook = Hook::start(None, "400-echo,403-echo,500-echo");
    let place = Place::new();
    let mut settings = hook_settings(&hook, "/services/hushhush/quiet?key=silence", Form::Plain);
    settings.token = Some(Secret::new("mumsword"));
    let way = Way { name: "webhook:a".into(), how: How::Webhook(Box::new(Webhook::new(&settings).unwrap())) };
    assert!(!format!("{way:?} {settings:?}").contains("hush"));
    let courier = place.courier(vec![way]);
    courier.put(&raised("webhook:a", "core1", now())).unwrap();
    for status in ["400 Bad Request", "403 Forbidden", "500 Internal Server Error"] {
        is_in_trouble_with(&courier, status);
        let trouble = courier.troubles()[0].1.clone();
        assert!(trouble.contains("POST ***"), "{trouble}");
        for secret in ["hushhush", "silence", "mumsword"] {
            assert!(!trouble.contains(secret), "{trouble}");
        }
        courier.hurry();
    }
    hook.wait_for(4, LONG);
    assert_eq!(hook.posted()[0].header("authorization"), "Bearer mumsword");
    assert_eq!(courier.stop(LONG), 0);
}

#[test]
fn a_command_that_fails_is_run_again_and_told() {
    let place = Place::new();
    let folder = place.data.path().to_str().unwrap().to_owned();
    let script = r#"cd "$0" || exit 2; echo "$1" >> ran; test -e mended || { echo no pager >&2; exit 5; }"#;
    let words = ["/bin/sh", "-c", script, &folder, "{{state}} {{target}}"];
    let way = Way { name: "command:pager".into(), how: How::Command(Command::new(&words, LONG).unwrap()) };
    let courier = place.courier(vec![way]);
    courier.put(&raised("command:pager", "-rf *", now())).unwrap();
    is_in_trouble(&courier, "/bin/sh: exit status: 5: no pager");
    assert!(place.waiting()[0].ends_with(".command.json"), "{:?}", place.waiting());
    fs::write(place.data.path().join("mended"), "").unwrap();
    courier.hurry();
    until("it is done", || place.waiting().is_empty());
    assert_eq!(fs::read_to_string(place.data.path().join("ran")).unwrap(), "raised -rf *\nraised -rf *\n");
    assert_eq!(courier.stop(LONG), 0);
}

/// Files that somebody else put there, or edited, stop nobody.
#[test]
fn what_is_no_posting_is_left_alone() {
    let hook = Hook::start(None, "");
    let place = Place::new();
    fs::write(place.data.path().join("outbox/0000000001.000000-a.x.post.json"), b"{").unwrap();
    let foreign = serde_json::to_vec(&raised("webhook:b", "core1", 2)).unwrap();
    fs::write(place.data.path().join("outbox/0000000002.000000-a.y.post.json"), foreign).unwrap();
    let courier = place.courier(vec![plain("a", &hook, Form::Plain)]);
    courier.put(&raised("webhook:a", "core1", now())).unwrap();
    hook.wait_for(1, LONG);
    assert_eq!(courier.stop(LONG), 2);
}

/// The real Alertmanager takes an alert, holds it, and knows its end.
#[test]
fn alertmanager_has_the_alert_until_it_is_over() {
    let alertmanager = Alertmanager::start();
    let place = Place::new();
    let url = format!("http://127.0.0.1:{}", alertmanager.port);
    let courier = place.courier(vec![webhook("am", &url, Form::Alertmanager)]);
    let start = now() - 30;
    let mut first = raised("webhook:am", "fra/core\"1\"\n{a=\"b\"}", start);
    first.alerts.push(Alerted { target: "fra/core2".into(), ..first.alerts[0].clone() });
    courier.put(&first).unwrap();
    until("both alerts are there", || alertmanager.active().len() == 2);
    let alerts = alertmanager.active();
    let alert = alerts.iter().find(|alert| alert["labels"]["target"] == "fra/core\"1\" {a=\"b\"}").unwrap();
    assert_eq!(alert["labels"]["alertname"], "down");
    assert_eq!(alert["annotations"]["summary"], first.subject.replace('\n', " "));
    assert_eq!(alert["status"]["state"], "active");
    let starts = chrono::DateTime::parse_from_rfc3339(alert["startsAt"].as_str().unwrap()).unwrap();
    assert_eq!(starts.timestamp(), start);

    let mut over = Posting { key: "over".into(), answers: Some(first.key.clone()), ..first.clone() };
    over.alerts.truncate(1);
    over.alerts[0].ended = Some(UnixTime::from_secs(now() - 1));
    courier.put(&over).unwrap();
    until("one is over", || alertmanager.active().len() == 1);
    assert_eq!(alertmanager.active()[0]["labels"]["target"], "fra/core2");
    assert_eq!(courier.stop(LONG), 0);
    assert_eq!(courier.troubles(), []);
}

/// A data folder with an outbox.
struct Place {
    data: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let data = tempfile::tempdir().unwrap();
        Outbox::open(data.path()).unwrap();
        Self { data }
    }

    fn courier(&self, ways: Vec<Way>) -> Courier {
        Courier::start(Outbox::open(self.data.path()).unwrap(), ways).unwrap()
    }

    fn files(&self, folder: &str) -> Vec<PathBuf> {
        let is_ours = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "json");
        let entries = fs::read_dir(self.data.path().join(folder)).unwrap();
        entries.map(|entry| entry.unwrap().path()).filter(is_ours).collect()
    }

    fn waiting(&self) -> Vec<String> {
        self.files("outbox").iter().map(|path| path.to_string_lossy().into_owned()).collect()
    }
}

fn now() -> i64 {
    UnixTime::from(SystemTime::now()).secs()
}

fn raised(way: &str, target: &str, at: i64) -> Posting {
    Posting {
        key: format!("{target}-down-{at}-raised"),
        answers: None,
        way: way.into(),
        at: UnixTime::from_secs(at),
        state: "raised".into(),
        severity: "critical".into(),
        subject: format!("[latmon] DOWN: {target} does not answer"),
        text: format!("{target} does not answer.\n"),
        monitor: "mon1".into(),
        alerts: vec![Alerted {
            rule: "down".into(),
            condition: "no ping answered".into(),
            target: target.into(),
            host: "192.0.2.1".into(),
            severity: "critical".into(),
            since: UnixTime::from_secs(at),
            ended: None,
            median_ms: None,
            loss_percent: Some(100.0),
            usual_ms: Some(12.5),
        }],
    }
}

fn webhook(name: &str, url: &str, form: Form) -> Way {
    let settings = WebhookSettings {
        url: Secret::new(url),
        in_clear: url.starts_with("http:"),
        form,
        headers: Vec::new(),
        token: None,
    };
    let webhook = Box::new(Webhook::new(&settings).unwrap());
    Way { name: format!("webhook:{name}"), how: How::Webhook(webhook) }
}

fn plain(name: &str, hook: &Hook, form: Form) -> Way {
    webhook(name, &format!("http://127.0.0.1:{}/x", hook.port), form)
}

fn hook_settings(hook: &Hook, path: &str, form: Form) -> WebhookSettings {
    WebhookSettings {
        url: Secret::new(format!("http://127.0.0.1:{}{path}", hook.port)),
        in_clear: true,
        form,
        headers: Vec::new(),
        token: None,
    }
}

#[track_caller]
fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + LONG;
    while !is_so() {
        assert!(Instant::now() < deadline, "not within {LONG:?}: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

#[track_caller]
fn is_in_trouble(courier: &Courier, expected: &str) {
    until(expected, || courier.troubles().iter().any(|(_, trouble)| trouble == expected));
}

#[track_caller]
fn is_in_trouble_with(courier: &Courier, part: &str) {
    until(part, || courier.troubles().iter().any(|(_, trouble)| trouble.contains(part)));
}

/// Debian's prometheus-alertmanager, alone, with a receiver that tells nobody.
struct Alertmanager {
    port: u16,
    server: Child,
    _folder: tempfile::TempDir,
}

impl Alertmanager {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("alertmanager.yml");
        fs::write(&config, "route:\n  receiver: nobody\nreceivers:\n  - name: nobody\n").unwrap();
        let mut server = std::process::Command::new("prometheus-alertmanager")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.path={}", folder.path().display()))
            .args(["--cluster.listen-address=", "--web.listen-address=127.0.0.1:0"])
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts: apt-get install prometheus-alertmanager");
        let mut lines = BufReader::new(server.stderr.take().unwrap()).lines().map_while(Result::ok);
        let port = lines.find_map(|line| {
            let (_, address) = line.split_once("msg=\"Listening on\" address=127.0.0.1:")?;
            address.trim().parse().ok()
        });
        // It must not wait for somebody to read what it says.
        thread::spawn(move || lines.for_each(drop));
        let Some(port) = port else {
            let _ = server.kill();
            panic!("prometheus-alertmanager ended: {:?}", server.wait());
        };
        Self { port, server, _folder: folder }
    }

    /// The alerts that it takes for going on.
    fn active(&self) -> Vec<Value> {
        let Ok(mut line) = TcpStream::connect(("127.0.0.1", self.port)) else { return Vec::new() };
        line.write_all(b"GET /api/v2/alerts?active=true HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        line.read_to_string(&mut answer).unwrap();
        let body = answer.split_once("\r\n\r\n").map_or("[]", |(_, body)| body);
        let alerts: Value = serde_json::from_str(body).unwrap_or_else(|_| json!([]));
        alerts.as_array().cloned().unwrap_or_default()
    }
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
