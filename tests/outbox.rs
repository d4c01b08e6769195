//! The outbox against a real SMTP server on its bad days: each recipient gets each mail once, whatever the others, the
//! server, the line or the disk do. Needs root, for the disk and the network that fail.

#![allow(clippy::unwrap_used, reason = "a test ends there")]

mod support {
    pub(crate) mod chain;
    pub(crate) mod latmon;
    pub(crate) mod net;
    pub(crate) mod post;
    pub(crate) mod smtp;
}

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use latmon::mail::{
    Html, Kind, Mailer, Message, NOT_HELD_UP, Outbox, Reasons, Settings, Summary, Tls, list, send_waiting,
};
use latmon::time::UnixTime;
use nix::mount::{MsFlags, mount, umount};
use nix::sched::{CloneFlags, unshare};
use support::latmon::Desk;
use support::net::namespace::{Namespace, ip_batch};
use support::post::{LONG, Place, message, settings, settings_for, trouble};
use support::smtp::{Mode, Options, Port, Received, Smtp};

const NOC: &str = "noc@example.org";
const BOSS: &str = "boss@example.net";

#[test]
fn who_is_refused_holds_up_nobody_and_gets_it_later() {
    let smtp = answering("550:boss,550:boss");
    let place = Place::new();
    let path = place.put(&message("a", 1), None);
    let settings = settings(&smtp, Tls::None);
    let mailer = place.mailer(Some(settings.clone()));
    assert_eq!(smtp.wait_for(1, LONG)[0].to, [NOC]);
    smtp.wait_for_verb("QUIT", 1, LONG);

    let kept = fs::read_to_string(&path).unwrap();
    assert!(kept.starts_with(&format!("X-Latmon-Taken: {NOC}\r\nX-Latmon-Refused: {BOSS} ")), "{kept}");
    let [listed] = &list(&place.outbox, Some(&settings), &mailer.reasons()).unwrap()[..] else { panic!() };
    assert_eq!((&listed.to[..], &listed.taken[..]), (&[BOSS.to_owned()][..], &[NOC.to_owned()][..]));
    assert_eq!(listed.subject, "subject of a");
    assert!(
        listed.why[0].ends_with("refused the recipient boss@example.net: 550 5.1.1 no such user"),
        "{listed:?}"
    );
    drop(mailer);

    // A later run knows who has it, and why who not; it tries again, and once more at its end.
    let without_mailer = list(&place.outbox, None, &Reasons::new()).unwrap();
    assert_eq!(without_mailer[0].why, listed.why);
    let mailer = second_run(&place, &settings);
    smtp.wait_for_verb("RSET", 1, LONG);
    assert_eq!(mailer.stop(LONG), 0);
    let mails = smtp.received();
    assert_eq!(
        mails.iter().map(|mail| &mail.to[..]).collect::<Vec<_>>(),
        [&[NOC.to_owned()], &[BOSS.to_owned()]]
    );
    assert_eq!(mails[0].raw, mails[1].raw, "the same mail, which says to whom it was sent");
    assert!(!String::from_utf8_lossy(&mails[1].raw).contains("X-Latmon"));
    assert_eq!(place.files("sent").len(), 1);
}

#[test]
fn who_is_put_off_holds_up_nobody_and_gets_it_soon() {
    let smtp = answering("451:boss");
    let place = Place::new();
    place.put(&message("a", 1), None);
    place.put(&message("b", 2), None);
    let mailer = place.mailer(Some(settings(&smtp, Tls::None)));
    let mails = smtp.wait_for(3, LONG);
    let seen: Vec<_> = mails.iter().map(|mail| (mail.header("Message-ID"), mail.to.len())).collect();
    assert_eq!(seen, [("<a@mon1>", 1), ("<b@mon1>", 2), ("<a@mon1>", 1)]);
    assert_eq!((&mails[0].to[0], &mails[2].to[0]), (&NOC.to_owned(), &BOSS.to_owned()));
    assert_eq!(mailer.stop(LONG), 0);
}

/// 451, then 550 for one of two recipients, then it hangs, then it closes mid-DATA: each is told, and each recipient gets
/// the mail once.
#[test]
fn a_server_on_its_worst_day_loses_nothing_and_doubles_nothing() {
    let smtp = answering("451_4.3.0_later,550:boss,hang-in-data,close-in-data");
    let place = Place::new();
    place.put(&message("a", 1), None);
    let mut settings = settings(&smtp, Tls::None);
    settings.limits.transfer = Duration::from_secs(1);
    let mailer = place.mailer(Some(settings));
    let said = |part: &str| {
        until(&format!("'{part}'"), || mailer.trouble().filter(|trouble| trouble.contains(part)));
        mailer.retry(None);
    };
    said("cannot take the end of the mail now: 451 4.3.0 later");
    said("refused the recipient boss@example.net: 550");
    said("timed out at the end of the mail");
    said("closed the connection at the end of the mail");
    let mails = smtp.wait_for(2, LONG);
    assert_eq!([&mails[0].to[..], &mails[1].to[..]], [[NOC], [BOSS]]);
    assert_eq!(mailer.stop(LONG), 0);
    assert_eq!(smtp.received().len(), 2);
}

/// A recovery before its alert would be read as the end of something else.
#[test]
fn a_recovery_waits_for_its_alert_and_others_pass() {
    let smtp = answering("451:boss+451:noc");
    let place = Place::new();
    place.put(&message("core1-raised", 1), None);
    place.put(&Message { in_reply_to: Some("core1-raised".into()), ..message("core1-cleared", 2) }, None);
    place.put(&message("core2-raised", 3), None);
    let mailer = place.mailer(Some(settings(&smtp, Tls::None)));
    smtp.wait_for(3, LONG);
    assert_eq!(mailer.stop(LONG), 0);
    assert_eq!(ids(&smtp.received()), ["<core2-raised@mon1>", "<core1-raised@mon1>", "<core1-cleared@mon1>"]);
}

/// An alert may be refused for ever, by whoever minds what it says: its end goes all the same, and says so.
#[test]
fn a_refused_alert_does_not_hold_up_its_recovery() {
    let smtp = answering("550:boss,550:boss");
    let place = Place::new();
    let text = format!("core1 answers again\n\n{NOT_HELD_UP}\n");
    let alert = place.put(&Message { text: text.clone(), ..message("raised", now_secs()) }, None);
    let mailer = place.mailer(Some(settings(&smtp, Tls::None)));
    smtp.wait_for_verb("QUIT", 1, LONG);
    let recovery = Message { in_reply_to: Some("raised".into()), text, ..message("cleared", now_secs()) };
    // Refused too, and the one after it is not.
    place.put(&recovery, None);
    mailer.wake();
    smtp.wait_for_verb("QUIT", 2, LONG);
    place.put(&Message { key: "again".into(), ..recovery }, None);
    mailer.wake();
    smtp.wait_for_verb("QUIT", 3, LONG);
    let seen = || -> Vec<(String, String, String)> {
        let mails = smtp.received();
        let seen = mails.iter().map(|mail| {
            let said = mail.text().lines().nth(2).unwrap().to_owned();
            (mail.header("Message-ID").to_owned(), mail.to.join(" "), said)
        });
        seen.collect()
    };
    let refused = "an earlier mail about this was refused: the mail server answered 550";
    let mail = |id: &str, to: &str, said: &str| (format!("<{id}@mon1>"), to.to_owned(), said.to_owned());
    let mut expected = vec![
        mail("raised", NOC, NOT_HELD_UP),
        mail("cleared", NOC, refused),
        mail("again", &format!("{NOC} {BOSS}"), refused),
    ];
    assert_eq!(seen(), expected);

    // What was refused stays in the list with the reason, and says what it is where it goes after all.
    let listed = list(&place.outbox, Some(&settings(&smtp, Tls::None)), &mailer.reasons()).unwrap();
    let subjects: Vec<&str> = listed.iter().map(|it| it.subject.as_str()).collect();
    assert_eq!(subjects, ["subject of raised", "subject of cleared"]);
    assert!(listed.iter().all(|it| it.why[0].contains("550 5.1.1 no such user")), "{listed:?}");
    mailer.retry(Some(&alert));
    smtp.wait_for_verb("QUIT", 4, LONG);
    expected.push(mail("raised", BOSS, "later mails about this went before it"));
    assert_eq!(seen(), expected);
    assert_eq!(mailer.stop(LONG), 0);
}

#[test]
fn a_mail_with_recipients_of_its_own_goes_to_them() {
    let smtp = answering("");
    let place = Place::new();
    let anna = "anna@example.com";
    place.put(&Message { to: vec![anna.parse().unwrap()], ..message("a", 1) }, None);
    let _mailer = place.mailer(Some(settings(&smtp, Tls::None)));
    let mail = &smtp.wait_for(1, LONG)[0];
    assert_eq!((&mail.to[..], mail.header("To")), (&[anna.to_owned()][..], anna));
}

#[test]
fn the_fallback_serves_while_the_first_server_is_away() {
    let first = Port::closed();
    let fallback = answering("");
    let place = Place::new();
    place.put(&message("a", 1), None);
    let mut settings = settings_for("localhost", first.number, Tls::None);
    settings.fallback = Some(settings_for("localhost", fallback.port, Tls::None).server);
    let mailer = place.mailer(Some(settings));
    fallback.wait_for(1, LONG);
    fallback.wait_for_verb("QUIT", 1, LONG);
    assert_eq!(mailer.trouble(), None, "no mail waits");

    // The first one is asked again later, and at once when the route is back.
    let first = Smtp::with(Mode::Plain, Options { port: Some(first), ..Options::default() });
    place.put(&message("b", 2), None);
    mailer.wake();
    fallback.wait_for(2, LONG);
    fallback.wait_for_verb("QUIT", 2, LONG);
    mailer.route_is_back();
    place.put(&message("c", 3), None);
    assert_eq!(mailer.stop(LONG), 0);
    assert_eq!((ids(&first.received()), fallback.received().len()), (vec!["<c@mon1>".to_owned()], 2));
}

#[test]
fn a_mail_that_waited_says_how_long_and_why() {
    let now = UnixTime::from(SystemTime::now());
    let port = Port::closed();
    let place = Place::new();
    let text = format!("Gr\u{f6}\u{df}e: what is down \u{2013} since when\n\n{NOT_HELD_UP}\n-- \nlatmon\n");
    let document =
        format!("<p title=\"Gr\u{f6}\u{df}e\">{}\n{NOT_HELD_UP}\n<br>\u{2013}</p>", "x".repeat(500));
    let letter = |key: &str, minutes: u64| Message {
        text: text.clone(),
        html: Some(Html { text: document.clone(), pictures: Vec::new() }),
        date: now.minus(Duration::from_secs(60 * minutes)),
        ..message(key, 0)
    };
    place.put(&letter("old", 47), None);
    let mailer = place.mailer(Some(settings_for("localhost", port.number, Tls::None)));
    trouble(&mailer);
    place.put(&letter("new", 0), None);
    let smtp = Smtp::with(Mode::Plain, Options { port: Some(port), ..Options::default() });
    mailer.retry(None);
    let mails = smtp.wait_for(2, LONG);
    let said = |mail: &Received| mail.text().lines().nth(2).unwrap().to_owned();
    let held_up = "held up 47 min: the mail server refused connections";
    assert_eq!([said(&mails[0]), said(&mails[1])], [held_up, NOT_HELD_UP]);
    let html = mails[0].parts.iter().find(|part| part.media_type == "text/html").unwrap();
    let html = String::from_utf8(html.bytes.clone()).unwrap().replace("\r\n", "\n");
    assert_eq!(html.trim_end(), document.replace(NOT_HELD_UP, held_up));
    assert_eq!(mails[0].header("Date"), date(now.minus(Duration::from_secs(47 * 60))), "of the decision");
    assert_eq!(mails[0].header("Message-ID"), "<old@mon1>");
    mailer.stop(LONG);
    // Nobody knows what the run before had met with.
    place.put(&letter("left behind", 200), None);
    let _mailer = second_run(&place, &settings(&smtp, Tls::None));
    assert_eq!(said(&smtp.wait_for(3, LONG)[2]), "held up 3 h 20 min: sent by a later run");
}

#[test]
fn one_sends_at_a_time() {
    let smtp = answering("");
    let settings = settings(&smtp, Tls::None);
    let place = Place::new();
    place.put(&message("a", 1), None);
    let claim = place.outbox.claim(Kind::Mail).unwrap().unwrap();
    let soon = || Instant::now() + Duration::from_millis(500);
    let left = send_waiting(&place.outbox, &settings, soon()).unwrap();
    let why = Some("another process sends them".to_owned());
    assert_eq!(left, Summary { sent: 0, waiting: 1, why });
    let mailer = place.mailer(Some(settings.clone()));
    assert_eq!(trouble(&mailer), "another process sends them");
    assert!(smtp.verbs().is_empty());
    drop(claim);
    smtp.wait_for(1, LONG);
    assert_eq!(mailer.stop(LONG), 0);

    place.put(&message("b", 2), None);
    let sent = send_waiting(&place.outbox, &settings, Instant::now() + LONG).unwrap();
    assert_eq!(sent, Summary { sent: 1, waiting: 0, why: None });
}

/// A process that is there for this only must not hang with the server.
#[test]
fn a_single_run_ends_in_time() {
    let smtp = answering("hang-in-data,ok");
    let place = Place::new();
    place.put(&message("a", 1), None);
    let started = Instant::now();
    let until = started + Duration::from_secs(1);
    let left = send_waiting(&place.outbox, &settings(&smtp, Tls::None), until).unwrap();
    assert_eq!((left.sent, left.waiting), (0, 1));
    // The server would be waited for six minutes.
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
}

#[test]
fn on_a_full_disk_mails_are_kept_in_memory_and_sent() {
    // The thread that calls has a view of its own of what is mounted, and so have those it starts.
    unshare(CloneFlags::CLONE_NEWNS).expect("run these tests as root");
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
    let place = Place::new();
    let small = place.data.path().join("small");
    fs::create_dir(&small).unwrap();
    mount(Some("small"), &small, Some("tmpfs"), MsFlags::empty(), Some("size=256k")).unwrap();
    let outbox = Outbox::open(&small).unwrap();
    let fill = || while !append(&small.join("filler"), 4096) {};
    fill();

    let port = Port::closed();
    let mailer =
        Mailer::start(outbox.clone(), Some(settings_for("localhost", port.number, Tls::None))).unwrap();
    let text = "x".repeat(20_000) + "\n";
    for key in ["a", "b"] {
        let message = Message { text: text.clone(), ..message(key, 1) };
        let kept = outbox.put(&message, &latmon::mail::compose(&message, None, "mon1").unwrap()).unwrap();
        assert!(!kept.on_disk);
    }
    assert!(outbox.trouble().unwrap().contains("No space left on device"), "{:?}", outbox.trouble());
    assert_eq!(outbox.all().unwrap().len(), 2);
    let smtp = Smtp::with(Mode::Plain, Options { port: Some(port), ..Options::default() });
    mailer.retry(None);
    assert_eq!(ids(&smtp.wait_for(2, LONG)), ["<a@mon1>", "<b@mon1>"]);
    until("the end", || outbox.all().unwrap().is_empty().then_some(()));
    // What was sent and could not be filed is not sent again while this process lives.
    outbox.put(&message("a", 1), b"Subject: a\r\n\r\n").unwrap();
    assert!(outbox.all().unwrap().is_empty());

    // Once there is room it is as if nothing had been.
    fill();
    let message = Message { text: text.clone(), ..message("c", 2) };
    drop(smtp);
    let kept = outbox.put(&message, &latmon::mail::compose(&message, None, "mon1").unwrap()).unwrap();
    assert!(!kept.on_disk);
    fs::remove_file(small.join("filler")).unwrap();
    mailer.retry(None);
    until("the file", || kept.path.exists().then_some(()));
    until("calm", || outbox.trouble().is_none().then_some(()));
    drop((mailer, outbox));
    let _ = umount(&small);
}

/// What waits for the network does not wait for the end of a pause.
#[test]
fn a_route_that_comes_back_ends_a_pause() {
    let _network = Namespace::enter();
    ip_batch("link set lo up\n");
    // On a machine that is held up for seconds the pause may be over by itself.
    assert!((0..5).any(|_| sent_when_the_route_came()), "each time the pause of five seconds went by");
}

fn sent_when_the_route_came() -> bool {
    let smtp = answering("");
    let place = Place::new();
    place.put(&message("a", 1), None);
    ip_batch("addr del 127.0.0.1/8 dev lo\n");
    let mailer = place.mailer(Some(settings_for("127.0.0.1", smtp.port, Tls::None)));
    assert!(trouble(&mailer).contains("no route to it from here"), "{:?}", mailer.trouble());
    let started = Instant::now();
    ip_batch("addr add 127.0.0.1/8 dev lo\n");
    smtp.wait_for(1, LONG);
    started.elapsed() < Duration::from_secs(4)
}

/// Pinged is what lies behind the line that fails, and so does the mail server.
#[test]
fn an_outage_that_cuts_off_the_mail_server_is_told_once_when_it_is_over() {
    let chain = support::chain::Chain::new(2);
    let (give, take) = std::sync::mpsc::channel();
    chain.at(2, move || {
        let port = Port::closed_at("198.18.2.2".parse().unwrap());
        give.send(Smtp::with(Mode::Plain, Options { port: Some(port), ..Options::default() })).unwrap();
    });
    let smtp = take.recv().unwrap();
    let desk = Desk::new();
    desk.write(
        "latmon.toml",
        &format!(
            "[defaults]\nstep = '1s'\npings = 5\n[mail]\nfrom = 'latmon@example.org'\nto = ['{NOC}']\nserver = \
             '198.18.2.2'\nport = {}\ntls = 'none'\n[targets]\noffice = '198.18.2.2'\n",
            smtp.port
        ),
    );
    let mut monitor = desk.start(&mut desk.latmon("run"));
    monitor.until(LONG, "a round", |desk| desk.path("office.rrd").exists().then_some(()));
    thread::sleep(Duration::from_secs(3));
    chain.ip(1, "link set near2 down\n");
    monitor.until(LONG, "the alert", |desk| (!desk.outbox().is_empty()).then_some(()));
    monitor.until(LONG, "an attempt", |desk| {
        desk.read("log").contains("mails stay in the outbox").then_some(())
    });
    assert!(smtp.received().is_empty());
    // Forty-seven minutes go by.
    let [path] = &Place::mails_in(&desk.path("outbox"))[..] else { panic!("one mail: {}", monitor.log()) };
    let name = path.file_name().unwrap().to_str().unwrap();
    let secs: u64 = name[..10].parse().unwrap();
    fs::rename(path, path.with_file_name(format!("{:010}{}", secs - 47 * 60, &name[10..]))).unwrap();
    chain.ip(1, "link set near2 up\naddr replace fd00:2::1/64 dev near2 nodad\n");
    let mails = smtp.wait_for(2, LONG);
    assert!(mails[0].header("Subject").contains("DOWN"), "{}", mails[0].header("Subject"));
    assert!(mails[1].header("Subject").contains("OK"), "{}", mails[1].header("Subject"));
    let text = mails[0].text();
    assert!(
        text.contains("\r\nheld up 47 min: no route to the mail server\r\n")
            || text.contains("\r\nheld up 47 min: the mail server did not answer\r\n"),
        "{text}"
    );
    assert!(mails[1].text().contains(&format!("\r\n{NOT_HELD_UP}\r\n")), "{}", mails[1].text());
    monitor.stop();
    assert_eq!(smtp.received().len(), 3, "and the exit mail");
    assert_eq!(smtp.received().iter().filter(|mail| mail.header("Subject").contains("DOWN")).count(), 1);
}

/// With a monitor and with none: what waits is listed, tried, taken out.
#[test]
fn people_see_and_change_what_waits() {
    let smtp = answering("550:boss,550:boss");
    let desk = Desk::new();
    desk.write(
        "latmon.toml",
        &format!(
            "[defaults]\nstep = '1s'\npings = 1\n[mail]\nfrom = 'latmon@example.org'\nto = ['{NOC}', '{BOSS}']\nserver = \
             '127.0.0.1'\nport = {}\ntls = 'none'\n[targets]\nlo = {{ host = '127.0.0.1', alerts = [] }}\n",
            smtp.port
        ),
    );
    let latmon = |words: &str| {
        let output = desk.done(words);
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        (output.status.code(), text)
    };
    assert_eq!(latmon("outbox"), (Some(0), "nothing waits to be sent\n".to_owned()));
    let outbox = Outbox::open(&desk.path(".")).unwrap();
    let put = |key: &str, at: i64| {
        let message = message(key, at);
        outbox.put(&message, &latmon::mail::compose(&message, None, "mon1").unwrap()).unwrap();
    };
    put("a", 1);
    let (code, sent) = latmon("outbox send");
    assert_eq!(code, Some(1), "{sent}");
    let refused = format!("127.0.0.1:{}: refused the recipient {BOSS}: 550 5.1.1 no such user", smtp.port);
    assert_eq!(sent, format!("sent: 0, still waiting: 1: {refused}\n"));

    let mut monitor = desk.start(&mut desk.latmon("run"));
    smtp.wait_for_verb("RSET", 1, LONG);
    put("b", 2);
    put("c", 3);
    let shown = monitor.until(LONG, "a list", |_| {
        let (code, shown) = latmon("outbox");
        (code == Some(0) && shown.contains("subject of a\n")).then_some(shown)
    });
    let expected =
        format!("  subject of a\n        to {BOSS}\n        has arrived at {NOC}\n        {refused}\n");
    assert!(shown.contains(&expected), "{shown}");
    let id = |key: &str| {
        let json: serde_json::Value = serde_json::from_str(&latmon("outbox --json").1).unwrap();
        let items = json.as_array().unwrap().iter();
        let mut found = items.filter(|item| item["subject"] == format!("subject of {key}"));
        found.next().map(|item| item["id"].as_str().unwrap().to_owned())
    };
    let (code, failed) = latmon("outbox drop nobody");
    assert_eq!(
        (code, failed.contains("nothing in the outbox is called 'nobody'")),
        (Some(1), true),
        "{failed}"
    );
    assert_eq!(latmon("outbox drop").0, Some(2));
    let b = id("b").unwrap();
    assert_eq!(latmon(&format!("outbox drop {b}")), (Some(0), "dropped: 1\n".to_owned()));
    assert_eq!(id("b"), None);
    // The server has changed its mind.
    assert_eq!(latmon("outbox retry").0, Some(0));
    let mails = smtp.wait_for(3, LONG);
    assert_eq!(ids(&mails), ["<a@mon1>", "<a@mon1>", "<c@mon1>"]);
    monitor.stop();

    put("d", 4);
    assert_eq!(latmon("outbox drop all"), (Some(0), "dropped: 1\n".to_owned()));
    put("e", 5);
    assert_eq!(latmon("outbox retry"), (Some(0), "sent: 1, still waiting: 0\n".to_owned()));
}

fn answering(answers: &str) -> Smtp {
    Smtp::with(Mode::Plain, Options { answers, ..Options::default() })
}

/// A mailer on the same folder, as the next process has it.
fn second_run(place: &Place, settings: &Settings) -> Mailer {
    // The one before has ended when its claim is free.
    until("the end of the first run", || place.outbox.claim(Kind::Mail).unwrap());
    Mailer::start(Outbox::open(place.data.path()).unwrap(), Some(settings.clone())).unwrap()
}

fn ids(mails: &[Received]) -> Vec<String> {
    mails.iter().map(|mail| mail.header("Message-ID").to_owned()).collect()
}

/// As Date has it.
fn now_secs() -> i64 {
    UnixTime::from(SystemTime::now()).secs()
}

fn date(time: UnixTime) -> String {
    chrono::DateTime::from_timestamp(time.secs(), 0)
        .unwrap()
        .format("%a, %d %b %Y %H:%M:%S +0000")
        .to_string()
}

/// Adds so many bytes to a file; true once the disk is full.
fn append(file: &Path, bytes: usize) -> bool {
    use std::io::Write as _;
    let mut file = fs::OpenOptions::new().create(true).append(true).open(file).unwrap();
    file.write_all(&vec![0; bytes]).is_err()
}

#[track_caller]
fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + LONG;
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(Instant::now() < deadline, "no {what} within {LONG:?}");
        thread::sleep(Duration::from_millis(10));
    }
}
