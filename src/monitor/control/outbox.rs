//! The outbox as `latmon outbox` shows and changes it, by a monitor that runs or without one.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::mail::{self, Courier, Kind, Listed, Mailer, Outbox, Reasons};

/// Something that waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Its short name, by which people call it.
    pub id: String,
    /// `mail`, `post` or `command`.
    pub kind: String,
    /// When it was decided on, in seconds since 1970.
    pub since: i64,
    /// Its subject, or its key where it has none.
    pub subject: String,
    /// Who does not have it yet; empty: whoever the settings name when it is sent.
    pub to: Vec<String>,
    /// Who has it already.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub taken: Vec<String>,
    /// Why it waits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub why: Vec<String>,
}

/// Who sends, while a monitor runs.
#[derive(Clone, Copy, Debug)]
pub struct Senders<'a> {
    /// Mails.
    pub mailer: &'a Mailer,
    /// All else.
    pub courier: &'a Courier,
}

/// All that waits, in the order it was decided on, with the reasons that the `senders` know or, without any, the files.
///
/// # Errors
/// The outbox cannot be read.
pub fn list(
    outbox: &Outbox,
    settings: Option<&mail::Settings>,
    senders: Option<Senders<'_>>,
) -> Result<Vec<Item>, mail::Error> {
    let reasons = senders.map_or_else(Reasons::new, |senders| senders.mailer.reasons());
    let trouble = senders.and_then(|senders| senders.mailer.trouble());
    let troubles = senders.map_or_else(Vec::new, |senders| senders.courier.troubles());
    let item = |listed: Listed| {
        let Listed { id, kind, since, subject, to, taken, mut why } = listed;
        if why.is_empty() {
            let of_way = |(way, trouble): &(String, String)| to.contains(way).then(|| trouble.clone());
            why.extend(match kind {
                Kind::Mail => trouble.clone(),
                Kind::Post | Kind::Command => troubles.iter().find_map(of_way),
            });
        }
        let kind = match kind {
            Kind::Mail => "mail",
            Kind::Post => "post",
            Kind::Command => "command",
        };
        Item { id, kind: kind.to_owned(), since: since.secs(), subject, to, taken, why }
    };
    Ok(mail::list(outbox, settings, &reasons)?.into_iter().map(item).collect())
}

/// Takes out what people call by `words`, and returns how many that were. What another process may be sending at this
/// moment is claimed first, unless this one `is_sender`.
///
/// # Errors
/// A word means nothing that waits, another process sends, or the disk refuses.
pub fn discard(outbox: &Outbox, words: &[String], is_sender: bool) -> Result<usize, String> {
    let mut found = Vec::new();
    for word in words {
        found.extend(meant(outbox, word)?);
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    found.dedup();
    let mut claims = Vec::new();
    for kind in Kind::ALL.into_iter().filter(|_| !is_sender) {
        let claim = outbox.claim(kind).map_err(|error| error.to_string())?;
        claims.push(claim.ok_or("another process is sending: try again when it has ended")?);
    }
    for file in &found {
        outbox.discard(file).map_err(|error| error.to_string())?;
    }
    Ok(found.len())
}

/// Has the `senders` try at once what people call by `words`, and returns how many that are.
///
/// # Errors
/// A word means nothing that waits.
pub(crate) fn retry(outbox: &Outbox, senders: Senders<'_>, words: &[String]) -> Result<usize, String> {
    let mut count = 0;
    for word in words {
        let found = meant(outbox, word)?;
        count += found.len();
        if word == ALL {
            senders.mailer.retry(None);
        }
        for file in &found {
            match file.kind {
                Kind::Mail => senders.mailer.retry(Some(&file.path)),
                // What a way refuses holds up no other of its own: all of it is tried.
                Kind::Post | Kind::Command => senders.courier.hurry(),
            }
        }
    }
    Ok(count)
}

fn meant(outbox: &Outbox, word: &str) -> Result<Vec<mail::Waiting>, String> {
    let found = mail::find(outbox, word).map_err(|error| error.to_string())?;
    match found.len() {
        0 if word != ALL => {
            Err(format!("nothing in the outbox is called '{word}': latmon outbox shows what waits"))
        }
        count if count > 1 && word != ALL => {
            Err(format!("'{word}' is the beginning of {count} names: write more of it"))
        }
        _ => Ok(found),
    }
}

/// The word for everything.
const ALL: &str = "all";
/// How long a command without a monitor may try to send.
pub const SEND_WITHIN: Duration = Duration::from_secs(60);
