//! A message into the bytes of RFC 5322, and those bytes under the addresses that hold when they are sent.

use std::fmt::Write as _;
use std::hash::Hasher as _;
use std::time::{Duration, SystemTime};

use lettre::address::Envelope;
use lettre::message::header::{ContentTransferEncoding, ContentType, HeaderName, HeaderValue};
use lettre::message::{Attachment as LettreAttachment, Body, Mailbox, MultiPart, SinglePart};
use siphasher::sip::SipHasher13;

use super::stored::{self, Stored};
use super::{Error, Html, Message, Settings};
use crate::time::UnixTime;

/// The line of a text, or of its HTML, in whose place a mail that waited for the server says how long:
/// `held up 47 min: no route to the mail server`. In HTML it stands on a line of its own, between the tags.
pub const NOT_HELD_UP: &str = "held up: no";

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
    if message.is_urgent {
        // The one that phones and Outlook know, and the one of everybody else.
        builder = builder.raw_header(header("Importance", "high")).raw_header(header("X-Priority", "1"));
    }
    let mail = match Content::of(message)? {
        Content::Single(part) => builder.singlepart(part),
        Content::Multi(parts) => builder.multipart(parts),
    };
    let raw = mail.expect("a message is refused only without sender or envelope").formatted();
    let mut mail: Vec<u8> = message.to.iter().map(stored::recipient_field).collect::<String>().into();
    mail.extend_from_slice(&raw);
    Ok(match settings {
        Some(settings) => {
            let stored = Stored::parse(&mail).expect("what was just composed has a header");
            let mut addressed = stored.own_fields();
            addressed.extend(stored.going_out(settings, None));
            addressed
        }
        None => mail,
    })
}

/// What the HTML of a message names its picture of this number by, from 1, behind `cid:`. It needs no escaping.
pub fn content_id(key: &str, number: usize) -> String {
    format!("{number}.{}@latmon", safe_id(key).replace('%', "_"))
}

/// What a mail consists of.
enum Content {
    Single(SinglePart),
    Multi(MultiPart),
}

impl Content {
    /// ```text
    /// mixed( alternative( text, related( html, its pictures ) ), attachments )
    /// ```
    /// without those levels that would hold one part only. lettre draws the boundaries at random: a text of others cannot
    /// foresee one and close the part.
    fn of(message: &Message) -> Result<Self, Error> {
        let text = SinglePart::plain(readable(without_controls(&message.text)));
        let said = match &message.html {
            None => Self::Single(text),
            Some(html) => {
                let parts = MultiPart::alternative().singlepart(text);
                Self::Multi(match Self::of_html(message, html)? {
                    Self::Single(part) => parts.singlepart(part),
                    Self::Multi(related) => parts.multipart(related),
                })
            }
        };
        if message.attachments.is_empty() {
            return Ok(said);
        }
        let mut parts = match said {
            Self::Single(part) => MultiPart::mixed().singlepart(part),
            Self::Multi(parts) => MultiPart::mixed().multipart(parts),
        };
        for attachment in &message.attachments {
            let name = one_line(&attachment.name, NAME_CHARS);
            parts = parts.singlepart(part(attachment, LettreAttachment::new(name))?);
        }
        Ok(Self::Multi(parts))
    }

    fn of_html(message: &Message, html: &Html) -> Result<Self, Error> {
        let document = SinglePart::html(readable(without_controls(&html.text)));
        if html.pictures.is_empty() {
            return Ok(Self::Single(document));
        }
        let mut parts = MultiPart::related().singlepart(document);
        for (picture, number) in html.pictures.iter().zip(1..) {
            let name = one_line(&picture.name, NAME_CHARS);
            let id = content_id(&message.key, number);
            parts = parts.singlepart(part(picture, LettreAttachment::new_inline_with_name(id, name))?);
        }
        Ok(Self::Multi(parts))
    }
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

/// `text` in an encoding that leaves ASCII as it is, so that the line [`NOT_HELD_UP`] can be found in it.
fn readable(text: String) -> Body {
    let best = Body::new(text.clone());
    match best.encoding() {
        ContentTransferEncoding::Base64 => {
            Body::new_with_encoding(text, ContentTransferEncoding::QuotedPrintable)
                .expect("quoted-printable suits all texts")
        }
        _ => best,
    }
}

fn part(attachment: &super::Attachment, placed: LettreAttachment) -> Result<SinglePart, Error> {
    let kind = ContentType::parse(attachment.mime)
        .map_err(|_| Error::MediaType { name: attachment.name.clone(), mime: attachment.mime })?;
    let body = Body::new_with_encoding(attachment.bytes.clone(), ContentTransferEncoding::Base64)
        .expect("base64 suits all bytes");
    Ok(placed.body(body, kind))
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
const SUBJECT_CHARS: usize = 250;
const HOST_CHARS: usize = 100;
const NAME_CHARS: usize = 120;
const LAST_SECOND_OF_9999: u64 = 253_402_300_799;

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_mail_without_attachments_is_plain_text() {
        let message = Message {
            key: "a".into(),
            in_reply_to: None,
            to: Vec::new(),
            subject: "s".into(),
            text: "one\ntwo\u{0}\u{1b}\n".into(),
            html: None,
            attachments: Vec::new(),
            is_urgent: false,
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
        assert_eq!(
            part(&attachment, LettreAttachment::new("a".into())).unwrap_err().to_string(),
            "attachment a: 'picture' is no media type"
        );
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
        fn no_text_makes_a_header(text in "\\PC*[\r\n\u{85}\u{2028}]{0,3}(Bcc: x@y)?.{0,300}") {
            let picture =
                || super::super::Attachment { name: text.clone(), mime: "image/png", bytes: vec![0] };
            let message = Message {
                key: text.clone(),
                in_reply_to: Some(text.clone()),
                to: Vec::new(),
                subject: text.clone(),
                text: text.clone(),
                html: Some(Html { text: text.clone(), pictures: vec![picture()] }),
                attachments: vec![picture()],
                is_urgent: true,
                date: UnixTime::from_secs(0),
            };
            let mail = compose(&message, Some(&crate::mail::stored::tests::settings()), &text).unwrap();
            prop_assert!(mail.is_ascii());
            let mut names = Stored::parse(&mail).unwrap().names();
            names.sort_unstable();
            let expected: [&[u8]; 13] = [
                b"Auto-Submitted", b"Content-Type", b"Date", b"From", b"Importance", b"In-Reply-To", b"MIME-Version",
                b"Message-ID", b"References", b"Subject", b"To", b"X-Mailer", b"X-Priority",
            ];
            prop_assert_eq!(&names[..], &expected[..]);
            for line in mail.split_inclusive(|byte| *byte == b'\n') {
                prop_assert!(line.ends_with(b"\r\n") && line.len() <= 1000, "{}", String::from_utf8_lossy(line));
                prop_assert!(!line[..line.len() - 2].contains(&b'\r'));
            }
        }
    }
}
