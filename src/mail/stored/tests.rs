use proptest::prelude::*;

use super::super::{Limits, Server, Tls};
use super::*;

impl<'a> Stored<'a> {
    /// What its fields are called, sorted.
    pub(in crate::mail) fn names(&self) -> Vec<&'a [u8]> {
        let mut names: Vec<&[u8]> =
            self.fields.iter().map(|field| field.0.split(|byte| *byte == b':').next().unwrap()).collect();
        names.sort_unstable();
        names
    }
}

pub(in crate::mail) fn settings() -> Settings {
    Settings {
        from: "latmon@example.org".parse().unwrap(),
        to: vec!["noc@example.org".parse().unwrap(), "boss@example.net".parse().unwrap()],
        server: Server { host: "localhost".into(), port: 25, tls: Tls::None, login: None },
        fallback: None,
        limits: Limits::USUAL,
    }
}

fn addressed_text(raw: &str) -> Option<String> {
    Some(String::from_utf8(Stored::parse(raw.as_bytes())?.going_out(&settings(), None)).unwrap())
}

const HEAD: &str = "From: latmon <latmon@example.org>\r\nTo: noc@example.org,\r\n boss@example.net\r\n";

#[test]
fn a_mail_that_waited_gets_the_addresses_of_today() {
    let raw = "Subject: a\r\n folded\r\nfrom: \"latmon on\r\n mon1\" <latmon@mon1>\r\nTO: old@example.org,\r\n older@example.org\r\nX: y\r\n\r\nTo: body\r\n";
    let named = HEAD.replace("latmon <", "\"latmon on mon1\" <");
    let expected = format!("{named}Subject: a\r\n folded\r\nX: y\r\n\r\nTo: body\r\n");
    assert_eq!(addressed_text(raw), Some(expected));
}

#[test]
fn an_edited_mail_has_its_line_ends_mended() {
    assert_eq!(
        addressed_text("Subject: a\nX: y\r\n\nbo\rdy\n\r\n"),
        Some(format!("{HEAD}Subject: a\r\nX: y\r\n\r\nbody\r\n\r\n"))
    );
}

#[test]
fn what_has_no_header_is_no_mail() {
    for raw in ["", "\r\n", "text\r\n\r\n", " a: b\r\n\r\n", "a b: c\r\n\r\n", ": c\r\n\r\n", "a: no end\r\n"]
    {
        assert_eq!(addressed_text(raw), None, "{raw:?}");
    }
    assert!(Stored::parse(&b"a: b\n".repeat(MAX_FIELDS + 1)).is_none());
}

#[test]
fn a_sender_that_nobody_can_read_is_latmon() {
    for from in ["From: latmon@mon1", "From: <a@b>", "From: gr\u{fc}n <a@b>", "From: >x<", "X: y"] {
        let mail = addressed_text(&format!("{from}\r\n\r\n")).unwrap();
        assert!(mail.starts_with("From: latmon <latmon@example.org>\r\n") || from == "From: >x<", "{mail}");
        assert!(mail.starts_with("From: ") && mail.contains(" <latmon@example.org>\r\nTo: noc"), "{mail}");
    }
}

#[test]
fn a_mail_that_names_its_recipients_goes_to_them() {
    let raw = "X-Latmon-To: anna@example.org\r\nx-latmon-to: größe@example.org \r\nSubject: a\r\n\r\n";
    let to = Stored::parse(raw.as_bytes()).unwrap().to(&settings());
    assert_eq!(
        to.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["anna@example.org", "größe@example.org"]
    );
    let head = "From: latmon <latmon@example.org>\r\nTo: anna@example.org,\r\n größe@example.org\r\n";
    assert_eq!(addressed_text(raw), Some(format!("{head}Subject: a\r\n\r\n")));
}

#[test]
fn the_line_that_is_for_it_says_how_long_a_mail_was_held_up() {
    let raw = "A: held up: no\r\n\r\nheld up: no\r\nnot held up: no\r\nheld up: no=20\r\nheld up: no\n<p>\nheld up: no";
    let mail = Stored::parse(raw.as_bytes()).unwrap().going_out(&settings(), Some("held up 3 min: x"));
    let expected = "A: held up: no\r\n\r\nheld up 3 min: x\r\nnot held up: no\r\nheld up: no=20\r\nheld up 3 min: x\r\n<p>\r\nheld up 3 min: x";
    assert_eq!(String::from_utf8(mail).unwrap(), format!("{HEAD}{expected}"));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(raw in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Some(stored) = Stored::parse(&raw) {
            stored.going_out(&settings(), Some("held up"));
        }
    }
}
