//! Mail from end to end: `latmon run` in the test network, a real SMTP server beside it. Needs root, for the network, and
//! python3-aiosmtpd and openssl, for the server.

mod support {
    pub(crate) mod latmon;
    pub(crate) mod net;
    pub(crate) mod smtp;
}

use std::process::Command;
use std::time::Duration;

use support::latmon::{Desk, told};
use support::net::{Net, answer, ms, silence};
use support::smtp::{Mode, PASSWORD, Port, Received, Smtp, USER};

const LIMIT: Duration = Duration::from_secs(90);

/// `latmon run` with the mail settings of `smtp` in `latmon.toml`.
fn settings(desk: &Desk, smtp: &Smtp, tls: &str, password: &str) -> Command {
    let login =
        if tls == "none" { "" } else { &format!("username = '{USER}'\npassword_file = 'password'\n") };
    desk.write("password", &format!("{password}\n"));
    desk.write(
        "latmon.toml",
        &format!(
            "[defaults]\nstep = '1s'\npings = 5\n\n[mail]\nfrom = 'latmon@example.org'\nto = ['noc@example.org', \
             'boss@example.org']\nserver = 'localhost'\nport = {}\ntls = '{tls}'\n{login}\n[targets]\noffice = \
             '198.18.0.1'\n",
            smtp.port
        ),
    );
    let mut run = desk.latmon("run");
    run.env("SSL_CERT_FILE", &smtp.ca_file);
    run
}

/// A line that is down from the fifteenth ping to the thirtieth.
fn outage(net: &Net) {
    net.host("198.18.0.1", answer().delay(ms(10)).after(15, silence().after(15, answer().delay(ms(10)))));
}

#[track_caller]
fn is_a_picture(mail: &Received) {
    let picture = mail.parts.iter().find(|part| part.file_name == "office_graph.png").expect("a picture");
    let mut reader = png::Decoder::new(std::io::Cursor::new(&picture.bytes)).read_info().expect("a PNG");
    let mut pixels = vec![0; reader.output_buffer_size().expect("a bounded picture")];
    let info = reader.next_frame(&mut pixels).expect("every pixel");
    assert_eq!((info.width, info.height), (1000, 300));
    // The HTML shows another one, which is drawn for the width of a mail.
    let inline = mail.parts.iter().find(|part| !part.content_id.is_empty()).expect("a picture in the text");
    assert!(inline.bytes.starts_with(b"\x89PNG"));
    assert!(mail.html().contains(&format!("src=\"cid:{}\"", inline.content_id)), "{}", inline.content_id);
    assert_eq!(mail.structure, "mixed(alternative(text/plain related(text/html image/png)) image/png)");
}

fn the_whole_story(mode: Mode, tls: &str) {
    let net = Net::new();
    outage(&net);
    let smtp = Smtp::start(mode);
    let desk = Desk::new();
    let mut monitor = desk.start(&mut settings(&desk, &smtp, tls, PASSWORD));
    let mails = smtp.wait_for(2, LIMIT);
    monitor.stop();
    let [down, up, exit] = &smtp.wait_for(3, LIMIT)[..] else { panic!("three mails after {}", mails.len()) };

    assert_eq!(down.header("Subject"), "[latmon] DOWN: office (198.18.0.1) does not answer");
    let text = down.text();
    for said in [
        "office (198.18.0.1) does not answer.",
        "no ping answered (100 % loss)",
        "rule     down: no ping answered",
        " 100%",
        "others   this monitor watches no other target",
    ] {
        assert!(text.contains(said), "'{said}' is not in\n{text}");
    }
    let usual = text.split_once("usual    median ").and_then(|(_, usual)| usual.split_once(" ms"));
    let usual: f64 = usual.and_then(|(usual, _)| usual.parse().ok()).expect("what is usual");
    // A busy machine adds to the ten milliseconds of the line.
    assert!((10.0..500.0).contains(&usual), "{text}");
    is_a_picture(down);
    assert_eq!(down.to, ["noc@example.org", "boss@example.org"]);

    assert!(up.header("Subject").starts_with("[latmon] OK: office (198.18.0.1) answers again after "));
    assert_eq!(up.header("In-Reply-To"), down.header("Message-ID"), "one conversation");
    is_a_picture(up);

    assert!(exit.header("Subject").ends_with("has stopped, please restart it"), "{}", exit.header("Subject"));
    assert!(
        exit.text().contains("SIGTERM") && exit.text().contains("Please restart the monitor"),
        "{}",
        exit.text()
    );
    assert!(desk.outbox().is_empty(), "nothing waits");
    assert_eq!(std::fs::read_dir(desk.path("sent")).unwrap().count(), 3);
    assert!(!monitor.log().contains(PASSWORD));
}

#[test]
fn the_whole_story_arrives_over_tls_from_the_first_byte() {
    the_whole_story(Mode::Implicit, "implicit");
}

#[test]
fn the_whole_story_arrives_over_starttls() {
    the_whole_story(Mode::StartTls, "starttls");
}

/// Trouble with the server: one clear line in the log, the mails wait, the password shows nowhere, and a later run with
/// the trouble mended sends all of it.
#[track_caller]
fn kept_and_told(mode: Mode, spoil: impl FnOnce(&mut Command, &Desk, &Smtp), said: &str) {
    let net = Net::new();
    outage(&net);
    let smtp = Smtp::start(mode);
    let desk = Desk::new();
    let tls = if mode == Mode::Implicit { "implicit" } else { "starttls" };
    let mut run = settings(&desk, &smtp, tls, PASSWORD);
    spoil(&mut run, &desk, &smtp);
    let mut monitor = desk.start(&mut run);
    monitor.until(LIMIT, "both mails in the outbox", |desk| (desk.outbox().len() == 2).then_some(()));
    monitor.until(LIMIT, said, |desk| desk.read("log").contains(said).then_some(()));
    monitor.stop();
    assert_eq!(desk.outbox().len(), 3, "nothing is lost: {}", monitor.log());
    assert!(smtp.received().is_empty());
    let log = monitor.log();
    assert!(!log.contains(PASSWORD) && !log.contains("no such password"), "{log}");

    let mut monitor = desk.start(&mut settings(&desk, &smtp, tls, PASSWORD));
    let mails = smtp.wait_for(3, LIMIT);
    assert!(mails[0].header("Subject").contains("DOWN") && mails[2].header("Subject").contains("STOPPED"));
    monitor.stop();
}

#[test]
fn a_wrong_password_is_told_and_loses_nothing() {
    kept_and_told(Mode::Implicit, |_, desk, _| desk.write("password", "no such password\n"), "535");
}

#[test]
fn an_untrusted_certificate_is_told_and_loses_nothing() {
    kept_and_told(
        Mode::Implicit,
        |run, _, _| {
            run.env_remove("SSL_CERT_FILE");
        },
        "not trusted",
    );
}

#[test]
fn a_closed_port_is_told_and_loses_nothing() {
    kept_and_told(
        Mode::StartTls,
        |_, desk, smtp| {
            // Nobody else is in this network.
            let closed = Port::closed();
            let text = desk.read("latmon.toml").replace(&smtp.port.to_string(), &closed.number.to_string());
            desk.write("latmon.toml", &text);
        },
        "refused",
    );
}

#[test]
fn the_settings_are_shown_without_the_password() {
    let desk = Desk::new();
    let mut check = desk.latmon("check");
    check.envs([
        ("PING_HOST", "192.0.2.1"),
        ("EMAIL_SENDER", "me@gmail.com"),
        ("EMAIL_PASSWORD", PASSWORD),
        ("LATENCY_THRESHOLD", "100"),
    ]);
    let output = check.output().expect("the binary starts");
    assert_eq!(told(&output), (Some(0), String::new()));
    let shown = String::from_utf8(output.stdout).unwrap();
    for said in ["smtp.gmail.com", "465", "me@gmail.com", "***", "median > 100ms", "LATENCY_THRESHOLD"] {
        assert!(shown.contains(said), "'{said}' is not in\n{shown}");
    }
    assert!(!shown.contains(PASSWORD), "{shown}");
}
