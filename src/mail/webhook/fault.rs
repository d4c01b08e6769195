//! Why a post did not succeed, in words, and what that means for the next try.

use std::fmt;
use std::io;
use std::time::Duration;

use hyper::StatusCode;

use crate::mail::fault::{Fault, Step};
use crate::mail::way::Next;

/// Why a post did not succeed.
#[derive(Debug, thiserror::Error)]
pub(in crate::mail) enum PostFault {
    #[error("{}", Line(.0))]
    Line(Fault),
    #[error("what it answered is no HTTP")]
    Garbled,
    #[error("closed the connection without an answer")]
    Closed,
    #[error("{0}")]
    Network(String),
    #[error("timed out waiting for the answer")]
    TimedOut,
    #[error("{0}: it wants us to go elsewhere, which is not done: write the address that it moved to")]
    Redirect(u16),
    #[error("{} {}{text}{}", code, reason(*code), remedy(*code))]
    Status { code: u16, text: String, after: Option<Duration> },
}

impl PostFault {
    pub(super) fn of_http(error: hyper::Error) -> Self {
        let source = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<io::Error>());
        if error.is_parse() {
            Self::Garbled
        } else if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
            Self::Closed
        } else {
            match source {
                Some(source) => match Fault::of_line(&Step::Connect, source) {
                    Fault::Closed(_) => Self::Closed,
                    Fault::Network { error, .. } => Self::Network(error),
                    fault => Self::Line(fault),
                },
                None => Self::Network(error.to_string()),
            }
        }
    }

    /// What it means for the posting and those behind it.
    pub(in crate::mail) fn next(&self) -> Next {
        match self {
            Self::Status { code: 408 | 425 | 429 | 500.., after, .. } => Next::Again(*after),
            // These are about us or the address, not about what was posted.
            Self::Status { code: 401 | 402 | 403 | 404 | 405 | 407 | 410, .. } | Self::Redirect(_) => {
                Next::WayRefuses
            }
            Self::Status { .. } => Next::Refused,
            Self::Line(_) => Next::Unreached,
            Self::Garbled | Self::Closed | Self::Network(_) | Self::TimedOut => Next::Again(None),
        }
    }

    /// What stays the same while it is in the same trouble.
    pub(in crate::mail) fn reason(&self) -> String {
        match self {
            Self::Status { code, .. } | Self::Redirect(code) => code.to_string(),
            Self::Line(fault) => format!("{:?}", std::mem::discriminant(fault)),
            other => format!("{:?}", std::mem::discriminant(other)),
        }
    }
}

/// A fault of the line in words that fit a webhook; those of [`Fault`] speak of the mail settings.
struct Line<'a>(&'a Fault);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Fault::Name(why) => {
                write!(f, "the name does not resolve: {why}: check the URL and this machine's DNS")
            }
            Fault::ConnectionRefused => f.write_str("connection refused: check host and port of the URL"),
            Fault::NotTls => f.write_str("does not speak TLS: check the port of the URL"),
            Fault::WrongName(why) => {
                write!(f, "certificate not trusted: {why}: write the name it is for into the URL")
            }
            fault => fault.fmt(f),
        }
    }
}

/// The usual words for a status: a server may write others, and anything into them.
fn reason(code: u16) -> &'static str {
    StatusCode::from_u16(code)
        .ok()
        .and_then(|status| status.canonical_reason())
        .unwrap_or("(no known status)")
}

/// What to do about a status that says something of the address or of us.
fn remedy(code: u16) -> &'static str {
    match code {
        401 | 403 | 407 => ": check the URL and its token",
        404 | 405 | 410 => ": check the URL",
        _ => "",
    }
}
