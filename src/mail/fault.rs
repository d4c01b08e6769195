//! What goes wrong between us and a mail server, told so that somebody can mend it.

use std::error::Error as _;
use std::fmt::{self, Display};
use std::io::{self, ErrorKind};
use std::mem::{Discriminant, discriminant};

use lettre::transport::smtp;
use lettre::transport::smtp::response::Severity;
use tokio_rustls::rustls::{self, CertificateError};

/// Why a mail did not get through to the server, told so that somebody can mend it.
#[derive(Debug, thiserror::Error)]
#[error("{server}: {fault}")]
pub(super) struct SendError {
    /// `host:port`.
    pub(super) server: String,
    /// What is wrong there.
    pub(super) fault: Fault,
}

impl SendError {
    /// What stays the same while a server is in the same trouble; the texts of its replies may count and carry names.
    pub(super) fn reason(&self) -> Reason {
        let (step, code) = match &self.fault {
            Fault::Refused { step, reply } | Fault::Deferred { step, reply } => {
                (Some(step), Some(reply.code))
            }
            Fault::Login { reply, .. } => (None, Some(reply.code)),
            Fault::TimedOut(step) | Fault::Closed(step) | Fault::Garbled(step) => (Some(step), None),
            Fault::Network { step, .. } => (Some(step), None),
            _ => (None, None),
        };
        Reason(discriminant(&self.fault), step.cloned(), code)
    }
}

/// See [`SendError::reason`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reason(Discriminant<Fault>, Option<Step>, Option<u16>);

/// What can go wrong between us and a server.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("the name does not resolve: {0}: check the server in the mail settings and this machine's DNS")]
    Name(String),
    #[error("connection refused: check host and port in the mail settings")]
    ConnectionRefused,
    #[error("no route to it from here ({0})")]
    NoRoute(String),
    #[error("timed out at {0}")]
    TimedOut(Step),
    #[error(
        "sends no greeting: if it speaks TLS from the first byte, as on port 465, set tls = \"implicit\""
    )]
    Silent,
    #[error("closed the connection at {0}")]
    Closed(Step),
    #[error("{error} at {step}")]
    Network { step: Step, error: String },
    #[error("what it sent at {0} is no SMTP: check the port in the mail settings")]
    Garbled(Step),
    #[error("does not speak TLS from the first byte: port 587 wants tls = \"starttls\"")]
    NotTls,
    #[error(
        "sent something else than TLS behind its reply to STARTTLS: somebody on the way may be adding to it"
    )]
    EarlyBytes,
    #[error("does not offer STARTTLS, and without it nothing is sent: use port 465 with tls = \"implicit\"")]
    NoStartTls,
    #[error("certificate not trusted: {0}: add its CA to the system's store or name it in SSL_CERT_FILE")]
    Untrusted(&'static str),
    #[error("certificate not trusted: {0}: use the name it is for as the server in the mail settings")]
    WrongName(String),
    #[error("certificate not trusted: {0}: check this machine's clock, then ask for its renewal")]
    NotNow(&'static str),
    #[error("certificate not trusted: {0}")]
    BadCertificate(String),
    #[error("TLS failed: {0}")]
    Tls(rustls::Error),
    #[error("no certificate to trust in {variable}: {why}")]
    Roots { variable: &'static str, why: String },
    #[error(
        "offers no login by PLAIN or LOGIN: check port and tls in the mail settings, or drop the user name"
    )]
    NoLogin,
    #[error("login refused: {reply}: {hint}")]
    Login { reply: Reply, hint: &'static str },
    #[error("takes no addresses outside ASCII, and one of the mail settings is such")]
    NoUtf8,
    #[error("refused {step}: {reply}")]
    Refused { step: Step, reply: Reply },
    #[error("cannot take {step} now: {reply}")]
    Deferred { step: Step, reply: Reply },
}

impl Fault {
    /// True when the server does not want this one mail, or not for this recipient, while the session may go on.
    pub(super) fn is_of_mail(&self) -> bool {
        if matches!(self, Self::NoUtf8) {
            return true;
        }
        // A refusal at the greeting, EHLO or login is the server's trouble with us, not with the mail, and 421 says that
        // it hangs up.
        let (Self::Refused { step, reply } | Self::Deferred { step, reply }) = self else { return false };
        let in_transaction = matches!(step, Step::Sender | Step::Recipient(_) | Step::Data | Step::Verdict);
        in_transaction && reply.code != HANGS_UP
    }

    /// True when it is not wanted later either.
    pub(super) fn is_for_good(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::NoUtf8)
    }

    /// What held a mail up, for its reader: a few words of ASCII that mean nothing to HTML or quoted-printable.
    pub(super) fn hindrance(&self) -> String {
        let words = match self {
            Self::NoRoute(_) => "no route to the mail server",
            Self::Name(_) => "the name of the mail server did not resolve",
            Self::ConnectionRefused => "the mail server refused connections",
            Self::TimedOut(_) | Self::Silent => "the mail server did not answer",
            Self::Closed(_) => "the mail server closed the connection",
            Self::Network { .. } => "the line to the mail server broke",
            Self::Login { .. } | Self::NoLogin => "the mail server refused the login",
            Self::Refused { reply, .. } | Self::Deferred { reply, .. } => {
                return format!("the mail server answered {}", reply.code);
            }
            Self::Garbled(_) | Self::NoUtf8 => "the mail server did not understand",
            _ => "no TLS with the mail server",
        };
        words.to_owned()
    }

    /// The fault without what a log must not carry: some servers repeat what they did not understand, and there is no
    /// telling when they do.
    pub(super) fn without(self, secrets: &[String]) -> Self {
        match self {
            Self::Login { reply, hint } => Self::Login { reply: reply.without(secrets), hint },
            Self::Refused { step, reply } => Self::Refused { step, reply: reply.without(secrets) },
            Self::Deferred { step, reply } => Self::Deferred { step, reply: reply.without(secrets) },
            fault => fault,
        }
    }

    /// What an error of lettre means.
    pub(super) fn of_dialogue(step: &Step, error: &smtp::Error) -> Self {
        let source = error.source();
        if let Some(code) = error.status() {
            let reply =
                Reply { code: code.into(), text: source.map(ToString::to_string).unwrap_or_default() };
            return match code.severity {
                Severity::TransientNegativeCompletion => Self::Deferred { step: step.clone(), reply },
                _ => Self::Refused { step: step.clone(), reply },
            };
        }
        match source.and_then(|source| source.downcast_ref()) {
            Some(error) => Self::of_line(step, error),
            None => Self::Garbled(step.clone()),
        }
    }

    /// What an error of the line means.
    pub(super) fn of_line(step: &Step, error: &io::Error) -> Self {
        if let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            return Self::of_tls(tls.clone());
        }
        match error.kind() {
            ErrorKind::ConnectionRefused => Self::ConnectionRefused,
            ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable | ErrorKind::NetworkDown
                if *step == Step::Connect =>
            {
                Self::NoRoute(error.to_string())
            }
            ErrorKind::TimedOut => Self::TimedOut(step.clone()),
            ErrorKind::UnexpectedEof
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe => Self::Closed(step.clone()),
            // The guard and lettre say so of what is no reply.
            ErrorKind::InvalidData => Self::Garbled(step.clone()),
            _ => Self::Network { step: step.clone(), error: error.to_string() },
        }
    }

    /// What an error of TLS means.
    pub(super) fn of_tls(error: rustls::Error) -> Self {
        let rustls::Error::InvalidCertificate(certificate) = &error else {
            let not_tls = matches!(error, rustls::Error::InvalidMessage(_));
            return if not_tls { Self::NotTls } else { Self::Tls(error) };
        };
        match certificate {
            CertificateError::UnknownIssuer => Self::Untrusted("its issuer is unknown"),
            CertificateError::BadSignature => Self::Untrusted("its signature is not by the issuer it names"),
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Self::WrongName(certificate.to_string())
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                Self::NotNow("it has expired")
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                Self::NotNow("it is not valid yet")
            }
            other => Self::BadCertificate(other.to_string()),
        }
    }
}

/// A part of the conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Connect,
    Handshake,
    Greeting,
    StartTls,
    Login,
    Sender,
    Recipient(String),
    Data,
    Verdict,
    Reset,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "the connection",
            Self::Handshake => "the TLS handshake",
            Self::Greeting => "the greeting",
            Self::StartTls => "STARTTLS",
            Self::Login => "the login",
            Self::Sender => "the sender",
            Self::Recipient(address) => return write!(f, "the recipient {address}"),
            Self::Data => "the mail",
            Self::Verdict => "the end of the mail",
            Self::Reset => "RSET",
        })
    }
}

/// What a server answered, in printable ASCII.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) code: u16,
    pub(super) text: String,
}

impl Reply {
    fn without(mut self, secrets: &[String]) -> Self {
        for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
            self.text = self.text.replace(secret.as_str(), "***");
        }
        self
    }
}

impl Display for Reply {
    /// One line of bounded length.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:.SHOWN_CHARS$}", self.code, self.text.trim())
    }
}

const SHOWN_CHARS: usize = 300;
/// The code of a server that hangs up after it, whatever was asked (RFC 5321, 3.8).
const HANGS_UP: u16 = 421;
