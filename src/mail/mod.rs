//! Mail: composes messages, keeps them on disk until the server has them, sends them. Knows nothing of pings.
//!
//! ```text
//! Message -> compose -> Outbox (outbox/*.eml) -> Mailer -> smtp, recipient by recipient -> sent/*.eml
//! Posting -> Outbox (outbox/*.post.json, *.command.json) -> Courier -> webhook, command -> sent/*.json
//! ```
//! A mail is decided on once it lies in the outbox, which a crash does not undo, and leaves it only after the server's
//! 250 to its last dot. Where the line breaks between that dot and the reply it goes again, under the same Message-ID.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::time::UnixTime;
use crate::whole;

mod command;
mod compose;
mod courier;
mod fault;
mod listing;
mod mailer;
mod outbox;
mod patience;
mod payload;
mod posting;
mod retry;
mod smtp;
mod stored;
mod stream;
mod template;
mod way;
mod webhook;

pub use command::{Command, CommandError};
pub use compose::{NOT_HELD_UP, compose, content_id};
pub use courier::Courier;
pub use listing::{Listed, find, list};
pub use mailer::{Mailer, Reasons, Summary, send_waiting};
pub use outbox::{Claim, Kept, Kind, MAX_MAIL_BYTES, Outbox, Waiting};
pub use posting::{Alerted, Posting};
pub use template::{TemplateError, placeholders};
pub use way::{How, Way};
pub use webhook::{Form, Webhook, WebhookError, WebhookSettings};

pub use smtp::Limits;
pub use stored::Stored;

use smtp::Session;

/// What a mail says, before it is one.
#[derive(Clone, Debug)]
pub struct Message {
    /// Its stable name, unlike any other mail's: it names the file in the outbox and makes the Message-ID.
    pub key: String,
    /// The key of the mail that this one answers, so that a mail program shows them as one conversation.
    pub in_reply_to: Option<String>,
    /// Whom it is for; empty: the recipients of the settings at the time it is sent.
    pub to: Vec<Address>,
    /// The subject; line breaks and other control characters in it become blanks.
    pub subject: String,
    /// The text, its lines ended by `\n`. A line [`NOT_HELD_UP`] in it tells, when it is sent, how long it waited.
    pub text: String,
    /// The same for programs that show HTML.
    pub html: Option<Html>,
    /// What comes with it.
    pub attachments: Vec<Attachment>,
    /// Mail programs are asked to show it as important.
    pub is_urgent: bool,
    /// When it was decided on.
    pub date: UnixTime,
}

/// A text as HTML, with the pictures that stand in it.
#[derive(Clone, Debug)]
pub struct Html {
    /// The document. It names a picture as `cid:` and its [`content_id`], and may have a line [`NOT_HELD_UP`].
    pub text: String,
    /// The pictures, in the order of their numbers from 1.
    pub pictures: Vec<Attachment>,
}

/// A file that comes with a mail.
#[derive(Clone, Debug)]
pub struct Attachment {
    /// Its file name.
    pub name: String,
    /// Its media type: `image/png`.
    pub mime: &'static str,
    /// Its content.
    pub bytes: Vec<u8>,
}

/// Why a mail could not be composed or kept.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An attachment's media type is none.
    #[error("attachment {name}: '{mime}' is no media type")]
    MediaType {
        /// The attachment.
        name: String,
        /// What was given as its type.
        mime: &'static str,
    },
    /// A mail over the bound that the mailer reads again.
    #[error("{}: a mail of {bytes} bytes, over the limit of {MAX_MAIL_BYTES}", path.display())]
    TooLarge {
        /// Where it lies or would lie.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// A file in the outbox that has no header.
    #[error("{}: is no mail and is left where it is", .0.display())]
    NotAMail(PathBuf),
    /// A file in the outbox that no webhook or command can be told.
    #[error("it is no posting: {0}")]
    NotAPosting(String),
    /// The disk refused.
    #[error("{}: cannot {operation}: {error}", path.display())]
    Disk {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The server did not take it, or us.
    #[error("{0}")]
    Server(String),
    /// A webhook or a command did not take it.
    #[error("{0}")]
    Way(String),
    /// The mailer's thread could not be started.
    #[error("cannot start the mailer's thread: {0}")]
    Thread(io::Error),
}

impl From<whole::Error> for Error {
    fn from(whole::Error { operation, path, error }: whole::Error) -> Self {
        Self::Disk { operation, path, error }
    }
}

/// Opens a session with the server as the mailer does, and hands over `message` where there is one. Nothing is kept: a
/// mail that is not taken is gone. For people who want to know whether the settings are right.
pub fn try_out(settings: &Settings, message: Option<&Message>, host: &str) -> Result<(), Error> {
    let told = |error: fault::SendError| Error::Server(error.to_string());
    let mail = message.map(|message| compose(message, None, host)).transpose()?;
    let mut session = Session::open(&settings.server, settings.limits).map_err(told)?;
    let sent = mail.as_deref().and_then(Stored::parse).map_or(Ok(()), |mail| {
        let handed = session.send(&settings.from, &mail.to(settings), &mail.going_out(settings, None))?;
        handed.left.into_iter().next().map_or(Ok(()), |(_, error)| Err(error))
    });
    session.quit();
    sent.map_err(told)
}

/// From whom, to whom and through which server mail goes.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The sender's address.
    pub from: Address,
    /// Every recipient's address; at least one.
    pub to: Vec<Address>,
    /// The server that takes it.
    pub server: Server,
    /// The server that takes it while the first gives no session.
    pub fallback: Option<Server>,
    /// How long each part of a conversation with them may take.
    pub limits: Limits,
}

/// A server that takes mail.
#[derive(Clone, Debug)]
pub struct Server {
    /// Its host name, which its certificate must carry.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the line is made private.
    pub tls: Tls,
    /// Who we are to it; `None` where it asks nobody.
    pub login: Option<Login>,
}

/// How the line to the server is made private.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// TLS from the first byte (port 465).
    Implicit,
    /// STARTTLS, which must succeed (port 587).
    StartTls,
    /// Not at all: only where the settings say so.
    None,
}

/// A name and a password.
#[derive(Clone, Debug)]
pub struct Login {
    /// The name.
    pub username: String,
    /// The password.
    pub password: Secret,
}

/// A text that no log, error or mail may carry: it is shown as `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that must send it.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A mail address that was checked: `noc@example.org`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(lettre::Address);

impl std::str::FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        text.trim().parse().map(Self).map_err(|_| AddressError(text.to_owned()))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A text that is no mail address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no mail address: write name@example.org")]
pub struct AddressError(String);
