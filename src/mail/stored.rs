//! A mail as it lies in the outbox: what was composed, and fields of our own that never leave this machine.
//!
//! ```text
//! X-Latmon-To: noc@example.org                     one for each it is for; none: the recipients of the settings
//! X-Latmon-Taken: noc@example.org                  one for each for whom a server has taken it
//! X-Latmon-Refused: boss@example.org 550 unknown   one for each for whom the server refused it for good
//! ```

use std::fmt::Write as _;

use super::compose::NOT_HELD_UP;
use super::{Address, Settings};

mod decode;

/// The parts of a file that begins with a header and an empty line.
#[derive(Debug)]
pub struct Stored<'a> {
    fields: Vec<Field<'a>>,
    body: &'a [u8],
}

impl<'a> Stored<'a> {
    /// `None` when `raw` does not begin with a header and an empty line.
    pub fn parse(raw: &'a [u8]) -> Option<Self> {
        let mut fields: Vec<Field<'_>> = Vec::new();
        let mut at = 0;
        let mut field_start = 0;
        while let Some(length) = raw[at..].iter().position(|byte| *byte == b'\n') {
            let line = &raw[at..=at + length];
            let text = line.strip_suffix(b"\r\n").or(line.strip_suffix(b"\n")).unwrap_or(line);
            let end = at + line.len();
            if text.is_empty() {
                return (!fields.is_empty()).then_some(Self { fields, body: &raw[end..] });
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

    /// Whom it is for: those that it names, or else those of the settings; each once.
    pub fn to(&self, settings: &Settings) -> Vec<Address> {
        let named: Vec<Address> = self.own(TO).filter_map(|text| text.parse().ok()).collect();
        let all = if named.is_empty() { &settings.to } else { &named };
        let mut to: Vec<Address> = Vec::with_capacity(all.len());
        for address in all {
            if !to.iter().any(|other| is_same(other, &address.to_string())) {
                to.push(address.clone());
            }
        }
        to
    }

    /// Those that it names.
    pub fn named(&self) -> Vec<String> {
        self.own(TO).map(str::to_owned).collect()
    }

    /// Those for whom no server has taken it yet.
    pub fn left(&self, settings: &Settings) -> Vec<Address> {
        let mut left = self.to(settings);
        left.retain(|address| !self.own(TAKEN).any(|taken| is_same(address, taken)));
        left
    }

    /// Those for whom it was refused for good, and what the server said.
    pub fn refused(&self) -> Vec<(String, String)> {
        let parts = self.own(REFUSED).filter_map(|text| text.split_once(' '));
        parts.map(|(address, why)| (address.to_owned(), why.trim().to_owned())).collect()
    }

    /// Those for whom a server has taken it.
    pub fn taken(&self) -> Vec<String> {
        self.own(TAKEN).map(str::to_owned).collect()
    }

    /// The Message-ID of the first mail of its conversation, its own where it is the first; empty where it has none.
    pub fn conversation(&self) -> &'a str {
        let id =
            ["References", "In-Reply-To", "Message-ID"].into_iter().find_map(|name| self.own(name).next());
        id.and_then(|id| id.split_whitespace().next()).unwrap_or_default()
    }

    /// Its subject, as people read it.
    pub fn subject(&self) -> String {
        self.own("Subject").next().map(decode::words).unwrap_or_default()
    }

    /// The file, with those for whom a server has `taken` it, and those for whom it was `refused`, as they are now.
    pub fn noted(&self, taken: &[Address], refused: &[(Address, String)]) -> Vec<u8> {
        let mut own = String::new();
        let taken_before = self.own(TAKEN).map(str::to_owned);
        for address in taken_before.chain(taken.iter().map(ToString::to_string)) {
            let _ = writeln!(own, "{TAKEN}: {address}\r");
        }
        for (address, why) in refused {
            let why: String = why.chars().filter(|c| !c.is_control()).take(WHY_CHARS).collect();
            let _ = writeln!(own, "{REFUSED}: {address} {why}\r");
        }
        let mut file = own.into_bytes();
        for field in self.fields.iter().filter(|field| !field.is(TAKEN) && !field.is(REFUSED)) {
            file.extend_from_slice(field.0);
        }
        file.extend_from_slice(b"\r\n");
        file.extend_from_slice(self.body);
        file
    }

    /// The mail as it goes out: From is of the settings and To says whom it is for, whatever the file says (the sender's
    /// displayed name stays), our own fields are gone, and every line ends in CRLF, also where somebody edited the file.
    /// Where it was `held_up`, the line that is for it says so.
    pub fn going_out(&self, settings: &Settings, held_up: Option<&str>) -> Vec<u8> {
        let name = self.fields.iter().find(|field| field.is("From"));
        let name = name.and_then(|field| displayed_name(field.value()));
        let name = name.as_deref().unwrap_or("latmon");
        let to: Vec<String> = self.to(settings).iter().map(ToString::to_string).collect();
        let mut mail = Vec::with_capacity(self.body.len() + 2048);
        mail.extend_from_slice(format!("From: {name} <{}>\r\n", settings.from).as_bytes());
        mail.extend_from_slice(format!("To: {}\r\n", to.join(",\r\n ")).as_bytes());
        let is_kept = |field: &&Field<'_>| !field.is("From") && !field.is("To") && !field.is_own();
        for field in self.fields.iter().filter(is_kept) {
            push_crlf(&mut mail, field.0, None);
        }
        mail.extend_from_slice(b"\r\n");
        push_crlf(&mut mail, self.body, held_up);
        mail
    }

    /// Our own fields, as they stand there.
    pub(super) fn own_fields(&self) -> Vec<u8> {
        self.fields.iter().filter(|field| field.is_own()).flat_map(|field| field.0).copied().collect()
    }

    fn own(&self, name: &str) -> impl Iterator<Item = &'a str> {
        let values = self.fields.iter().filter(move |field| field.is(name)).map(Field::value);
        values.filter_map(|value| std::str::from_utf8(value).ok()).map(str::trim)
    }
}

/// One field of a header with its continuation lines and line ends.
#[derive(Clone, Copy, Debug)]
struct Field<'a>(&'a [u8]);

impl<'a> Field<'a> {
    fn is(&self, name: &str) -> bool {
        self.0.len() > name.len()
            && self.0[..name.len()].eq_ignore_ascii_case(name.as_bytes())
            && self.0[name.len()] == b':'
    }

    fn is_own(&self) -> bool {
        self.0.get(..OWN.len()).is_some_and(|start| start.eq_ignore_ascii_case(OWN))
    }

    fn value(&self) -> &'a [u8] {
        let colon = self.0.iter().position(|byte| *byte == b':').map_or(self.0.len(), |colon| colon + 1);
        &self.0[colon..]
    }
}

/// Whether both are the same mailbox, as far as anybody but its server can tell.
fn is_same(address: &Address, other: &str) -> bool {
    address.to_string().eq_ignore_ascii_case(other)
}

/// A field that says whom a mail is for.
pub(super) fn recipient_field(address: &Address) -> String {
    format!("{TO}: {address}\r\n")
}

/// The words before the address in `words <address>`, as they stand there: quoted or encoded.
fn displayed_name(value: &[u8]) -> Option<String> {
    let value = std::str::from_utf8(value).ok()?;
    let (words, _) = value.rsplit_once('<')?;
    let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
    (!words.is_empty() && words.bytes().all(|byte| matches!(byte, b' '..=b'~'))).then_some(words)
}

/// Appends `text`, each of its lines ended by CRLF and none broken by a CR alone, which SMTP forbids. Where there is
/// something to say in place of [`NOT_HELD_UP`], it is said.
fn push_crlf(mail: &mut Vec<u8>, text: &[u8], held_up: Option<&str>) {
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        match held_up {
            Some(held_up) if line.trim_ascii_end() == NOT_HELD_UP.as_bytes() => {
                mail.extend_from_slice(held_up.as_bytes());
            }
            _ => mail.extend(line.iter().filter(|byte| !matches!(byte, b'\r' | b'\n'))),
        }
        if line.ends_with(b"\n") {
            mail.extend_from_slice(b"\r\n");
        }
    }
}

const OWN: &[u8] = b"X-Latmon-";
const TO: &str = "X-Latmon-To";
const TAKEN: &str = "X-Latmon-Taken";
const REFUSED: &str = "X-Latmon-Refused";
const WHY_CHARS: usize = 400;
const MAX_FIELDS: usize = 1000;

#[cfg(test)]
pub(super) mod tests;
