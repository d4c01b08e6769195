//! A message into the bytes of RFC 5322, and those bytes under the addresses that hold when they are sent.

use std::fmt::Write as _;
use std::hash::Hasher as _;
use std::time::{Duration, SystemTime};

use lettre::address::Envelope;
use lettre::message::header::{ContentTransferEncoding, ContentType, HeaderName, HeaderValue};
use lettre::message::{Attachment as LettreAttachment, Body, Mailbox, MultiPart, SinglePart};
use siphasher::sip::SipHasher13;

use super::{Error, Message, Settings};
use crate::time::UnixTime;

/// The mail that `message` makes on the machine called `host`: ASCII, its lines ended by CRLF.
///
/// Without `settings` its sender is `latmon@HOST` and it has no recipients. The mailer puts in what the settings say by
/// then, so such a mail can wait for its settings, and a corrected address frees those that wait.
pub fn compose(message: &Message, settings: Option<&Settings>, host: &str) -> Result<Vec<u8>, Error> {
    let host = if host.trim().is_empty() { "localhost" } else { host };
    let domain = safe_id(&host.to_lowercase());
    let sender = local_sender(&domain);
    let envelope = Envelope::new(Some(sender.clone()), vec![sender.clone()])
        .expect("an envelope is refused only without recipients");
    let mut builder = lettre::Message::builder()
        .envelope(envelope)
        .from(Mailbox::new(Some(format!("latmon on {}", one_line(host, HOST_CHARS))), sender))
        .subject(one_line(&message.subject, SUBJECT_CHARS))
        .date(date(message.date))
        .message_id(Some(message_id(&message.key, &domain)));
    if let Some(key) = &message.in_reply_to {
        let id = message_id(key, &domain);
        builder = builder.in_reply_to(id.clone()).references(id);
    }
    builder = builder
        .raw_header(header("Auto-Submitted", "auto-generated"))
        .raw_header(header("X-Mailer", concat!("latmon/", env!("CARGO_PKG_VERSION"))));
    let text = SinglePart::plain(without_controls(&message.text));
    let mail = if message.attachments.is_empty() {
        builder.singlepart(text)
    } else {
        // lettre draws the boundary at random: a text of others cannot foresee it and close the part.
        let mut parts = MultiPart::mixed().singlepart(text);
        for attachment in &message.attachments {
            parts = parts.singlepart(part(attachment)?);
        }
        builder.multipart(parts)
    };
    let raw = mail.expect("a message is refused only without sender or envelope").formatted();
    Ok(match settings {
        Some(settings) => addressed(&raw, settings).expect("what was just composed has a header"),
        None => raw,
    })
}

/// The mail in `raw` as it goes out by `settings`: From and To are theirs whatever the file says (the sender's
/// displayed name stays), and every line ends in CRLF, also where somebody edited the file. `None` when `raw` does not
/// begin with a header and an empty line.
pub(super) fn addressed(raw: &[u8], settings: &Settings) -> Option<Vec<u8>> {
    let (fields, body) = split(raw)?;
    let name = fields.iter().find(|field| field.is("From")).and_then(|field| displayed_name(field.value()));
    let mut mail = Vec::with_capacity(raw.len() + 256);
    let recipients: Vec<String> = settings.to.iter().map(ToString::to_string).collect();
    let name = name.as_deref().unwrap_or("latmon");
    mail.extend_from_slice(format!("From: {name} <{}>\r\n", settings.from).as_bytes());
    mail.extend_from_slice(format!("To: {}\r\n", recipients.join(",\r\n ")).as_bytes());
    for field in fields.iter().filter(|field| !field.is("From") && !field.is("To")) {
        push_crlf(&mut mail, field.0);
    }
    mail.extend_from_slice(b"\r\n");
    push_crlf(&mut mail, body);
    Some(mail)
}

/// `text` in letters that a file name and the left part of a Message-ID may have, a different one for every text: what
/// they may not have becomes `%` and its bytes, and of a long text the end becomes a hash of the whole.
pub(super) fn safe_id(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for (index, byte) in text.bytes().enumerate() {
        let inner_dot =
            byte == b'.' && index > 0 && index + 1 < text.len() && text.as_bytes()[index - 1] != b'.';
        if byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_' || inner_dot {
            safe.push(char::from(byte));
        } else {
            write!(safe, "%{byte:02X}").expect("a String takes every text");
        }
    }
    if safe.len() > ID_BYTES {
        let mut hasher = SipHasher13::new_with_keys(0, 0);
        hasher.write(text.as_bytes());
        safe.truncate(ID_BYTES - 17);
        write!(safe, "%{:016x}", hasher.finish()).expect("a String takes every text");
    }
    if safe.is_empty() { "%".to_owned() } else { safe }
}

/// One field of a header with its continuation lines and line ends.
struct Field<'a>(&'a [u8]);

impl<'a> Field<'a> {
    fn is(&self, name: &str) -> bool {
        self.0.len() > name.len()
            && self.0[..name.len()].eq_ignore_ascii_case(name.as_bytes())
            && self.0[name.len()] == b':'
    }

    fn value(&self) -> &'a [u8] {
        let colon = self.0.iter().position(|byte| *byte == b':').map_or(self.0.len(), |colon| colon + 1);
        &self.0[colon..]
    }
}

/// The fields of the header, and the body behind the empty line.
fn split(raw: &[u8]) -> Option<(Vec<Field<'_>>, &[u8])> {
    let mut fields: Vec<Field<'_>> = Vec::new();
    let mut at = 0;
    let mut field_start = 0;
    while let Some(length) = raw[at..].iter().position(|byte| *byte == b'\n') {
        let line = &raw[at..=at + length];
        let text = line.strip_suffix(b"\r\n").or(line.strip_suffix(b"\n")).unwrap_or(line);
        let end = at + line.len();
        if text.is_empty() {
            return (!fields.is_empty()).then_some((fields, &raw[end..]));
        }
        if matches!(text[0], b' ' | b'\t') {
            *fields.last_mut()? = Field(&raw[field_start..end]);
        } else {
            let name = text.iter().position(|byte| *byte == b':')?;
            if name == 0 || !text[..name].iter().all(u8::is_ascii_graphic) || fields.len() == MAX_FIELDS {
                return None;
            }
            field_start = at;
            fields.push(Field(&raw[at..end]));
        }
        at = end;
    }
    None
}

/// The words before the address in `words <address>`, as they stand there: quoted or encoded.
fn displayed_name(value: &[u8]) -> Option<String> {
    let value = std::str::from_utf8(value).ok()?;
    let (words, _) = value.rsplit_once('<')?;
    let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
    (!words.is_empty() && words.bytes().all(|byte| matches!(byte, b' '..=b'~'))).then_some(words)
}

/// Appends `text`, each of its lines ended by CRLF and none broken by a CR alone, which SMTP forbids.
fn push_crlf(mail: &mut Vec<u8>, text: &[u8]) {
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        mail.extend(line.iter().filter(|byte| !matches!(byte, b'\r' | b'\n')));
        if line.ends_with(b"\n") {
            mail.extend_from_slice(b"\r\n");
        }
    }
}

fn part(attachment: &super::Attachment) -> Result<SinglePart, Error> {
    let kind = ContentType::parse(attachment.mime)
        .map_err(|_| Error::MediaType { name: attachment.name.clone(), mime: attachment.mime })?;
    let body = Body::new_with_encoding(attachment.bytes.clone(), ContentTransferEncoding::Base64)
        .expect("base64 suits all bytes");
    Ok(LettreAttachment::new(one_line(&attachment.name, NAME_CHARS)).body(body, kind))
}

fn header(name: &'static str, value: &str) -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned())
}

fn message_id(key: &str, domain: &str) -> String {
    format!("<{}@{domain}>", safe_id(key))
}

/// `latmon@HOST`, or `latmon@localhost` where the machine's name is nothing that mail knows.
fn local_sender(domain: &str) -> lettre::Address {
    lettre::Address::new("latmon", domain)
        .or_else(|_| lettre::Address::new("latmon", "localhost"))
        .expect("latmon@localhost is an address")
}

/// `time` within what a Date can say: lettre's formatter panics before 1970 and after 9999.
fn date(time: UnixTime) -> SystemTime {
    let secs = u64::try_from(time.secs()).unwrap_or(0).min(LAST_SECOND_OF_9999);
    SystemTime::UNIX_EPOCH + Duration::from_secs(secs)
}

/// `text` as one line of at most `chars` characters.
fn one_line(text: &str, chars: usize) -> String {
    let clean = |c: char| if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') { ' ' } else { c };
    match text.char_indices().nth(chars) {
        None => text.chars().map(clean).collect(),
        Some(_) => text.chars().take(chars - 1).map(clean).chain(['…']).collect(),
    }
}

/// `text` without control characters other than line ends and tabs.
fn without_controls(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect()
}

/// A file name has at most 255 bytes, and the date and the ending want some.
const ID_BYTES: usize = 160;
const MAX_FIELDS: usize = 1000;
const SUBJECT_CHARS: usize = 250;
const HOST_CHARS: usize = 100;
const NAME_CHARS: usize = 120;
const LAST_SECOND_OF_9999: u64 = 253_402_300_799;

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::super::{Server, Tls};
    use super::*;

    fn settings() -> Settings {
        Settings {
            from: "latmon@example.org".parse().unwrap(),
            to: vec!["noc@example.org".parse().unwrap(), "boss@example.net".parse().unwrap()],
            server: Server { host: "localhost".into(), port: 25, tls: Tls::None, login: None },
        }
    }

    fn addressed_text(raw: &str) -> Option<String> {
        addressed(raw.as_bytes(), &settings()).map(|mail| String::from_utf8(mail).unwrap())
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
        for raw in
            ["", "\r\n", "text\r\n\r\n", " a: b\r\n\r\n", "a b: c\r\n\r\n", ": c\r\n\r\n", "a: no end\r\n"]
        {
            assert_eq!(addressed_text(raw), None, "{raw:?}");
        }
        assert_eq!(addressed(&b"a: b\n".repeat(MAX_FIELDS + 1), &settings()), None);
    }

    #[test]
    fn a_sender_that_nobody_can_read_is_latmon() {
        for from in ["From: latmon@mon1", "From: <a@b>", "From: gr\u{fc}n <a@b>", "From: >x<", "X: y"] {
            let mail = addressed_text(&format!("{from}\r\n\r\n")).unwrap();
            assert!(
                mail.starts_with("From: latmon <latmon@example.org>\r\n") || from == "From: >x<",
                "{mail}"
            );
            assert!(
                mail.starts_with("From: ") && mail.contains(" <latmon@example.org>\r\nTo: noc"),
                "{mail}"
            );
        }
    }

    #[test]
    fn a_mail_without_attachments_is_plain_text() {
        let message = Message {
            key: "a".into(),
            in_reply_to: None,
            subject: "s".into(),
            text: "one\ntwo\u{0}\u{1b}\n".into(),
            attachments: Vec::new(),
            date: UnixTime::from_secs(i64::MAX / 1_000_000),
        };
        let mail = String::from_utf8(compose(&message, None, "").unwrap()).unwrap();
        assert!(mail.contains("Content-Type: text/plain; charset=utf-8\r\n"), "{mail}");
        assert!(mail.contains("Date: Fri, 31 Dec 9999 23:59:59 +0000\r\n"), "{mail}");
        assert!(mail.contains("\r\n\r\none\r\ntwo\r\n"), "{mail}");
        assert!(mail.contains("Message-ID: <a@localhost>\r\n"), "a machine without a name: {mail}");
    }

    #[test]
    fn a_wrong_media_type_is_an_error() {
        let attachment = super::super::Attachment { name: "a".into(), mime: "picture", bytes: Vec::new() };
        assert_eq!(part(&attachment).unwrap_err().to_string(), "attachment a: 'picture' is no media type");
    }

    proptest! {
        #[test]
        fn ids_are_safe_and_differ(texts in prop::collection::vec(".{0,8}|[a./%\\-]{0,4}|[a.]{150,200}", 2..20)) {
            let mut seen: HashMap<String, String> = HashMap::new();
            for text in texts {
                let id = safe_id(&text);
                // The dot-atom of RFC 5322, and a name that hides no file and leaves no folder.
                prop_assert!(id.split('.').all(|atom| !atom.is_empty()), "{}", id);
                prop_assert!(id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.%".contains(&byte)));
                prop_assert!(id.len() <= ID_BYTES);
                let other = seen.insert(id.clone(), text.clone());
                prop_assert!(other.is_none_or(|other| other == text), "{}", id);
            }
        }

        #[test]
        fn no_bytes_make_addressing_panic(raw in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = addressed(&raw, &settings());
        }

        #[test]
        fn no_text_makes_a_header(text in "\\PC*[\r\n\u{85}\u{2028}]{0,3}(Bcc: x@y)?.{0,300}") {
            let message = Message {
                key: text.clone(),
                in_reply_to: Some(text.clone()),
                subject: text.clone(),
                text: text.clone(),
                attachments: vec![super::super::Attachment { name: text.clone(), mime: "image/png", bytes: vec![0] }],
                date: UnixTime::from_secs(0),
            };
            let mail = compose(&message, Some(&settings()), &text).unwrap();
            prop_assert!(mail.is_ascii());
            let (fields, _) = split(&mail).unwrap();
            let mut names: Vec<&[u8]> =
                fields.iter().map(|field| field.0.split(|byte| *byte == b':').next().unwrap()).collect();
            names.sort_unstable();
            let expected: [&[u8]; 11] = [
                b"Auto-Submitted", b"Content-Type", b"Date", b"From", b"In-Reply-To", b"MIME-Version", b"Message-ID",
                b"References", b"Subject", b"To", b"X-Mailer",
            ];
            prop_assert_eq!(&names[..], &expected[..]);
            for line in mail.split_inclusive(|byte| *byte == b'\n') {
                prop_assert!(line.ends_with(b"\r\n") && line.len() <= 1000, "{}", String::from_utf8_lossy(line));
                prop_assert!(!line[..line.len() - 2].contains(&b'\r'));
            }
        }
    }
}
