//! No text of others makes a header, a recipient or a second mail of its own: seen in the bytes that a real SMTP server
//! got. Needs root, for the test network, and python3-aiosmtpd and openssl, for the server.

#![allow(clippy::unwrap_used, reason = "a test ends there")]

mod support {
    pub(crate) mod latmon;
    pub(crate) mod net;
    pub(crate) mod smtp;
}

use std::time::Duration;

use latmon::mail::{Attachment, Limits, Mailer, Message, Outbox, Server, Settings, Tls, compose};
use latmon::time::UnixTime;
use support::latmon::Desk;
use support::net::{Net, answer, ms, silence};
use support::smtp::{Mode, Received, Smtp};

const LIMIT: Duration = Duration::from_secs(90);

/// What somebody may try, in a name, a rule, a host's answer.
const NASTY: &[&str] = &[
    "a\r\nBcc: x@evil.example\r\n\r\nbody",
    "a\nBcc: x@evil.example",
    "a\rBcc: x@evil.example",
    "a\r\n.\r\nMAIL FROM:<x@evil.example>\r\n",
    "a\0b",
    "a\u{2028}Bcc: x@evil.example\u{2029}Cc: y@evil.example\u{85}To: z@evil.example",
    "=?utf-8?q?a=0D=0ABcc:_x@evil.example?=",
    "=?utf-8?b?DQpCY2M6IHhAZXZpbC5leGFtcGxl?=",
    "\"quoted\" <x@evil.example>, y@evil.example",
    "ü 🦀 \u{202e}evil",
    "\u{1b}[2Ja\u{7}",
];

#[test]
fn no_text_becomes_a_header() {
    let smtp = Smtp::start(Mode::Plain);
    let folder = tempfile::tempdir().unwrap();
    let outbox = Outbox::open(folder.path()).unwrap();
    let settings = Settings {
        from: "latmon@example.org".parse().unwrap(),
        to: vec!["noc@example.org".parse().unwrap()],
        server: Server { host: "localhost".into(), port: smtp.port, tls: Tls::None, login: None },
        fallback: None,
        limits: Limits::USUAL,
    };
    let long = "Bcc: x@evil.example ".repeat(5000);
    let texts: Vec<&str> = NASTY.iter().copied().chain([long.as_str()]).collect();
    for (number, text) in texts.iter().enumerate() {
        let message = Message {
            key: format!("{number}{text}"),
            in_reply_to: Some((*text).to_owned()),
            subject: (*text).to_owned(),
            text: format!("{text}\n.\n{text}\n"),
            attachments: vec![Attachment { name: (*text).to_owned(), mime: "image/png", bytes: vec![0; 9] }],
            date: UnixTime::from_secs(1_700_000_000 + number as i64),
            ..message()
        };
        outbox.put(&message, &compose(&message, None, text).unwrap()).unwrap();
    }
    let mailer = Mailer::start(outbox, Some(settings)).unwrap();
    let mails = smtp.wait_for(texts.len(), LIMIT);
    assert_eq!(mailer.stop(LIMIT), 0);
    assert_eq!(mails.len(), texts.len(), "none became two");
    for mail in &mails {
        is_untouched(mail, &["noc@example.org"]);
    }
}

/// A target that is called so in the settings, from its first lost ping to the mail.
#[test]
fn a_target_with_a_name_of_headers_is_told_like_any_other() {
    let net = Net::new();
    net.host("198.18.0.1", answer().delay(ms(10)).after(15, silence()));
    let smtp = Smtp::start(Mode::Plain);
    let desk = Desk::new();
    let name = "\\u2028Bcc: x@evil.example =?utf-8?q?=0D=0ABcc:_x@evil.example?= <b>\\\"";
    desk.write(
        "latmon.toml",
        &format!(
            "[defaults]\nstep = '1s'\npings = 5\nalerts = [\"Bcc: x@evil.example =?utf-8?q?=0D=0A?=\"]\n\
             [alert.\"Bcc: x@evil.example =?utf-8?q?=0D=0A?=\"]\nwhen = 'loss > 1%'\nfor = '1 of 1'\n\
             [mail]\nfrom = 'latmon@example.org'\nto = ['noc@example.org']\nserver = 'localhost'\nport = {}\n\
             tls = 'none'\n[targets]\n\"{name}\" = '198.18.0.1'\n",
            smtp.port
        ),
    );
    let mut monitor = desk.start(&mut desk.latmon("run"));
    smtp.wait_for(1, LIMIT);
    monitor.stop();
    for mail in smtp.wait_for(2, LIMIT) {
        is_untouched(&mail, &["noc@example.org"]);
    }
}

fn message() -> Message {
    Message {
        key: String::new(),
        in_reply_to: None,
        to: Vec::new(),
        subject: String::new(),
        text: String::new(),
        html: None,
        attachments: Vec::new(),
        is_urgent: false,
        date: UnixTime::from_secs(0),
    }
}

/// Just our header fields, each once, our recipients, and lines that SMTP and every mailer take for what they are.
#[track_caller]
fn is_untouched(mail: &Received, to: &[&str]) {
    let shown = String::from_utf8_lossy(&mail.raw).into_owned();
    assert_eq!(mail.from, "latmon@example.org");
    assert_eq!(mail.to, to, "{shown}");
    assert!(mail.raw.is_ascii() && !mail.raw.contains(&0), "{shown}");
    for line in mail.raw.split_inclusive(|byte| *byte == b'\n') {
        assert!(line.ends_with(b"\r\n") && line.len() <= 1000, "{shown}");
        assert!(!line[..line.len() - 2].contains(&b'\r'), "{shown}");
    }
    let head = shown.split("\r\n\r\n").next().unwrap();
    let fields = head.split("\r\n").filter(|line| !line.starts_with([' ', '\t']));
    let mut names: Vec<&str> = fields.map(|field| field.split(':').next().unwrap()).collect();
    names.sort_unstable();
    let ours = [
        "Auto-Submitted",
        "Content-Transfer-Encoding",
        "Content-Type",
        "Date",
        "From",
        "In-Reply-To",
        "MIME-Version",
        "Message-ID",
        "References",
        "Subject",
        "To",
        "X-Mailer",
    ];
    assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
    assert!(names.iter().all(|name| ours.contains(name) || name.starts_with("X-Latmon")), "{names:?}");
    // Python's email package, which decodes what stands encoded in them, sees no other either.
    for forbidden in ["Bcc", "Cc"] {
        assert_eq!(mail.header(forbidden), "", "{shown}");
    }
    assert_eq!(mail.header("To"), to.join(", "));
    assert!(!mail.header("Subject").chars().any(char::is_control), "{shown}");
}
