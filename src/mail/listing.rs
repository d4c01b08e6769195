//! The outbox as people see it: what waits, since when, for whom and why.

use super::mailer::Reasons;
use super::outbox::{Kind, Outbox, Waiting};
use super::posting::Posting;
use super::stored::Stored;
use super::{Error, Settings};
use crate::time::UnixTime;

/// Something that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its short name, by which people call it.
    pub id: String,
    /// The way it takes.
    pub kind: Kind,
    /// When it was decided on.
    pub since: UnixTime,
    /// Its subject, or its key where it has none.
    pub subject: String,
    /// Who does not have it yet, or the way it takes; empty: nobody knows without settings.
    pub to: Vec<String>,
    /// Who has it already.
    pub taken: Vec<String>,
    /// What was said against it.
    pub why: Vec<String>,
}

/// All that waits in `outbox`, in order, with the `reasons` that a mailer has or, without one, those in the files.
///
/// # Errors
/// The outbox cannot be read.
pub fn list(outbox: &Outbox, settings: Option<&Settings>, reasons: &Reasons) -> Result<Vec<Listed>, Error> {
    let listed = |file: &Waiting| {
        // A file that is gone by now was sent or taken out meanwhile.
        let raw = outbox.read(file).ok()?;
        let mail = Stored::parse(&raw).filter(|_| file.kind == Kind::Mail);
        let said = reasons.get(&file.path).map(|said| said.iter().map(|(_, why)| why.clone()).collect());
        let mut listed = Listed {
            id: file.id(),
            kind: file.kind,
            since: file.since,
            subject: file.key.clone(),
            to: Vec::new(),
            taken: Vec::new(),
            why: said.unwrap_or_default(),
        };
        match mail {
            Some(mail) => {
                listed.subject = mail.subject();
                listed.to = settings.map_or_else(
                    || mail.named(),
                    |settings| mail.left(settings).iter().map(ToString::to_string).collect(),
                );
                listed.taken = mail.taken();
                listed.to.retain(|to| !listed.taken.contains(to));
                if listed.why.is_empty() {
                    listed.why = mail.refused().into_iter().map(|(_, why)| why).collect();
                }
            }
            None if file.kind == Kind::Mail => listed.why = vec!["the file is no mail".to_owned()],
            None => match Posting::read(&raw) {
                Ok(posting) => (listed.subject, listed.to) = (posting.subject, vec![posting.way]),
                Err(error) => listed.why = vec![error.to_string()],
            },
        }
        let texts = listed.to.iter_mut().chain(&mut listed.taken).chain(&mut listed.why);
        texts.chain([&mut listed.subject]).for_each(|text| text.retain(|c| !c.is_control()));
        listed.why.dedup();
        Some(listed)
    };
    Ok(outbox.all()?.iter().filter_map(listed).collect())
}

/// What people mean by `word`: `all`, an id or the beginning of one, or a key.
///
/// # Errors
/// The outbox cannot be read.
pub fn find(outbox: &Outbox, word: &str) -> Result<Vec<Waiting>, Error> {
    let mut found = outbox.all()?;
    if word != "all" {
        found.retain(|file| file.key == word || (!word.is_empty() && file.id().starts_with(word)));
    }
    Ok(found)
}
