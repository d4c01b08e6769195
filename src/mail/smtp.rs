//! SMTP as a client speaks it (RFC 5321, 3207, 4954): one session, one mail after the other.

use std::fmt;
use std::io::{self, ErrorKind};
use std::mem::{Discriminant, discriminant};
use std::time::Duration;

use lettre::message::Body;
use lettre::message::header::ContentTransferEncoding;
use rustls::CertificateError;

use super::stream::Line;
use super::{Login, Server, Settings, Tls};

/// A conversation with a server that has let us in.
pub(super) struct Session {
    /// `None` once something went wrong on it: nothing that comes later can be matched with what was asked.
    line: Option<Line>,
    server: String,
    extensions: Vec<String>,
    limits: Limits,
}

/// How long each part of the conversation may take, from its first byte to its last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// A TCP connection to one address.
    pub(super) connect: Duration,
    /// A command with its reply, or the TLS handshake.
    pub(super) command: Duration,
    /// The mail itself.
    pub(super) transfer: Duration,
    /// The reply to its last dot: some servers look for viruses until then, and who hangs up too early sends it twice.
    pub(super) verdict: Duration,
}

impl Limits {
    pub(super) const USUAL: Self = Self {
        connect: Duration::from_secs(10),
        command: Duration::from_secs(30),
        transfer: Duration::from_secs(180),
        verdict: Duration::from_secs(180),
    };
}

impl Session {
    /// Connects, goes under TLS as the settings say, and logs in.
    pub(super) fn open(server: &Server, limits: Limits) -> Result<Self, SendError> {
        let name = format!("{}:{}", server.host, server.port);
        Self::establish(server, limits, name.clone()).map_err(|fault| SendError { server: name, fault })
    }

    fn establish(server: &Server, limits: Limits, name: String) -> Result<Self, Fault> {
        let mut line = Line::connect(&server.host, server.port, limits.connect)?;
        if server.tls == Tls::Implicit {
            line = line.under_tls(&server.host, limits.command)?;
        }
        line.allow(limits.command);
        let greeting = read_reply(&mut line, &Step::Greeting).map_err(|fault| match fault {
            Fault::TimedOut(_) if server.tls != Tls::Implicit => Fault::Silent,
            fault => fault,
        })?;
        greeting.expect(2, &Step::Greeting)?;
        let mut session = Self { line: Some(line), server: name, extensions: Vec::new(), limits };
        session.hello()?;
        if server.tls == Tls::StartTls {
            session.start_tls(&server.host)?;
        }
        if let Some(login) = &server.login {
            session.log_in(login, &server.host)?;
        }
        Ok(session)
    }

    /// Hands over `mail`, CRLF lines, for all recipients of `settings`; done once the server said that it has it.
    pub(super) fn send(&mut self, settings: &Settings, mail: &[u8]) -> Result<(), SendError> {
        let sent = self.transact(settings, mail);
        if let Err(fault) = &sent {
            // A refusal leaves the session whole when the server agrees to forget the transaction.
            if !fault.refuses_mail() || self.command("RSET", &Step::Reset).is_err() {
                self.line = None;
            }
        }
        sent.map_err(|fault| SendError { server: self.server.clone(), fault })
    }

    /// False when the next mail wants another session.
    pub(super) fn is_open(&self) -> bool {
        self.line.is_some()
    }

    /// Takes leave. Whatever comes of it, what was acknowledged is delivered.
    pub(super) fn quit(mut self) {
        self.limits.command = GOODBYE;
        let _ = self.command("QUIT", &Step::Reset);
    }

    fn hello(&mut self) -> Result<(), Fault> {
        // An address literal is what RFC 5321 gives those without a public name; servers that refuse bare host names
        // take it, and lettre and most mail programs greet so.
        let reply = self.command("EHLO [127.0.0.1]", &Step::Hello)?;
        self.extensions = reply.lines.iter().skip(1).map(|line| line.to_ascii_uppercase()).collect();
        Ok(())
    }

    fn start_tls(&mut self, host: &str) -> Result<(), Fault> {
        if !self.offers("STARTTLS") {
            return Err(Fault::NoStartTls);
        }
        self.command("STARTTLS", &Step::StartTls)?;
        let line = self.line.take().ok_or(Fault::Closed(Step::StartTls))?;
        self.line = Some(line.under_tls(host, self.limits.command)?);
        // What was offered in clear counts for nothing.
        self.hello()
    }

    fn log_in(&mut self, login: &Login, host: &str) -> Result<(), Fault> {
        let (user, password) = (&login.username, login.password.reveal());
        let plain = base64(format!("\0{user}\0{password}").into_bytes());
        let secrets = [plain.clone(), base64(password.as_bytes().to_vec()), password.to_owned()];
        let granted = match self.login_mechanism() {
            Some(Mechanism::Plain) => self.command(&format!("AUTH PLAIN {plain}"), &Step::Login).map(drop),
            Some(Mechanism::Login) => self.log_in_by_prompts(user, password),
            None => return Err(Fault::NoLogin),
        };
        granted.map_err(|fault| match fault {
            Fault::Refused { reply, .. } => {
                Fault::Login { reply: reply.without(&secrets), hint: login_hint(host) }
            }
            Fault::Deferred { step, reply } => Fault::Deferred { step, reply: reply.without(&secrets) },
            fault => fault,
        })
    }

    /// AUTH LOGIN. Its prompts have several spellings; that the first asks for the name and the second for the
    /// password is all they agree on.
    fn log_in_by_prompts(&mut self, user: &str, password: &str) -> Result<(), Fault> {
        self.ask("AUTH LOGIN", &Step::Login, 3)?;
        self.ask(&base64(user.as_bytes().to_vec()), &Step::Login, 3)?;
        self.ask(&base64(password.as_bytes().to_vec()), &Step::Login, 2).map(drop)
    }

    fn transact(&mut self, settings: &Settings, mail: &[u8]) -> Result<(), Fault> {
        let mut parameters = String::new();
        let ascii = |text: &super::Address| text.to_string().is_ascii();
        if !ascii(&settings.from) || !settings.to.iter().all(ascii) {
            if !self.offers("SMTPUTF8") {
                return Err(Fault::NoUtf8);
            }
            parameters.push_str(" SMTPUTF8");
        }
        if !mail.is_ascii() && self.offers("8BITMIME") {
            parameters.push_str(" BODY=8BITMIME");
        }
        self.command(&format!("MAIL FROM:<{}>{parameters}", settings.from), &Step::Sender)?;
        for recipient in &settings.to {
            self.command(&format!("RCPT TO:<{recipient}>"), &Step::Recipient(recipient.to_string()))?;
        }
        self.ask("DATA", &Step::Data, 3)?;
        self.within(self.limits.transfer, |line| line.write(&stuffed(mail)), &Step::Data)?;
        let line = self.line.as_mut().ok_or(Fault::Closed(Step::Verdict))?;
        line.allow(self.limits.verdict);
        read_reply(line, &Step::Verdict)?.expect(2, &Step::Verdict).map(drop)
    }

    /// Sends a command and wants a reply that it is done.
    fn command(&mut self, command: &str, step: &Step) -> Result<Reply, Fault> {
        self.ask(command, step, 2)
    }

    /// Sends a command and wants a reply of the hundred `class`.
    fn ask(&mut self, command: &str, step: &Step, class: u16) -> Result<Reply, Fault> {
        self.within(self.limits.command, |line| line.write(format!("{command}\r\n").as_bytes()), step)?;
        let line = self.line.as_mut().ok_or_else(|| Fault::Closed(step.clone()))?;
        read_reply(line, step)?.expect(class, step)
    }

    fn within(
        &mut self,
        limit: Duration,
        write: impl FnOnce(&mut Line) -> io::Result<()>,
        step: &Step,
    ) -> Result<(), Fault> {
        let line = self.line.as_mut().ok_or_else(|| Fault::Closed(step.clone()))?;
        line.allow(limit);
        write(line).map_err(|error| Fault::of_line(step, error))
    }

    fn offers(&self, extension: &str) -> bool {
        self.extensions.iter().any(|line| line.split(' ').next() == Some(extension))
    }

    fn login_mechanism(&self) -> Option<Mechanism> {
        // "AUTH=" is how servers of the last century wrote it, and some still do.
        let offered = |name| {
            self.extensions
                .iter()
                .filter_map(|line| line.strip_prefix("AUTH ").or_else(|| line.strip_prefix("AUTH=")))
                .any(|mechanisms| mechanisms.split(' ').any(|mechanism| mechanism == name))
        };
        if offered("PLAIN") { Some(Mechanism::Plain) } else { offered("LOGIN").then_some(Mechanism::Login) }
    }
}

enum Mechanism {
    Plain,
    Login,
}

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
    #[error("timed out at {0}")]
    TimedOut(Step),
    #[error(
        "sends no greeting: if it speaks TLS from the first byte, as on port 465, set tls = \"implicit\""
    )]
    Silent,
    #[error("closed the connection at {0}")]
    Closed(Step),
    #[error("{error} at {step}")]
    Network { step: Step, error: io::Error },
    #[error("what it sent at {0} is no SMTP: check the port in the mail settings")]
    Garbled(Step),
    #[error("does not speak TLS from the first byte: port 587 wants tls = \"starttls\"")]
    NotTls,
    #[error("sent more than its reply to STARTTLS: somebody on the way may be adding to it")]
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
    /// True when the server refused this one mail for good, while the session goes on.
    pub(super) fn refuses_mail(&self) -> bool {
        // A refusal at the greeting, EHLO or login is the server's trouble with us, not with the mail.
        matches!(
            self,
            Self::Refused { step: Step::Sender | Step::Recipient(_) | Step::Data | Step::Verdict, .. }
        )
    }

    /// What an error of the line means.
    pub(super) fn of_line(step: &Step, error: io::Error) -> Self {
        if let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            return Self::of_tls(tls.clone());
        }
        match error.kind() {
            ErrorKind::ConnectionRefused => Self::ConnectionRefused,
            ErrorKind::TimedOut => Self::TimedOut(step.clone()),
            ErrorKind::UnexpectedEof
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe => Self::Closed(step.clone()),
            _ => Self::Network { step: step.clone(), error },
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
    Hello,
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
            Self::Hello => "EHLO",
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

/// What a server answered.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    code: u16,
    lines: Vec<String>,
}

impl Reply {
    /// The reply if it is of the hundred `class`, else what it means at `step`.
    fn expect(self, class: u16, step: &Step) -> Result<Self, Fault> {
        match self.code / 100 {
            found if found == class => Ok(self),
            4 => Err(Fault::Deferred { step: step.clone(), reply: self }),
            5 => Err(Fault::Refused { step: step.clone(), reply: self }),
            _ => Err(Fault::Garbled(step.clone())),
        }
    }

    /// The reply without what a log must not carry: some servers repeat what they did not understand.
    fn without(mut self, secrets: &[String]) -> Self {
        for line in &mut self.lines {
            for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
                *line = line.replace(secret.as_str(), "***");
            }
        }
        self
    }
}

impl fmt::Display for Reply {
    /// One line of bounded length without control characters: it goes into a log and onto a terminal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.lines.join(" ");
        let clean = text.chars().map(|c| if c.is_control() { ' ' } else { c });
        let shown: String = clean.take(SHOWN_CHARS).collect();
        write!(f, "{} {}", self.code, shown.trim())
    }
}

fn read_reply(line: &mut Line, step: &Step) -> Result<Reply, Fault> {
    let mut reply: Option<Reply> = None;
    for _ in 0..MAX_REPLY_LINES {
        let bytes = line.read_line(MAX_REPLY_LINE).map_err(|error| Fault::of_line(step, error))?;
        if !bytes.ends_with(b"\n") {
            let closed = (bytes.len() as u64) < MAX_REPLY_LINE;
            return Err(if closed { Fault::Closed(step.clone()) } else { Fault::Garbled(step.clone()) });
        }
        let (code, last, text) = reply_line(&bytes).ok_or_else(|| Fault::Garbled(step.clone()))?;
        let reply = reply.get_or_insert_with(|| Reply { code, lines: Vec::new() });
        if reply.code != code {
            return Err(Fault::Garbled(step.clone()));
        }
        reply.lines.push(text);
        if last {
            return Ok(reply.clone());
        }
    }
    Err(Fault::Garbled(step.clone()))
}

/// One line of a reply: its code, whether it is the last, its text. RFC 5321 wants a bare code taken, too.
fn reply_line(bytes: &[u8]) -> Option<(u16, bool, String)> {
    let line = String::from_utf8_lossy(bytes);
    let line = line.trim_end_matches(['\r', '\n']);
    let code = line.get(..3).filter(|code| code.bytes().all(|byte| byte.is_ascii_digit()))?.parse().ok()?;
    let rest = &line[3..];
    match rest.chars().next() {
        None => Some((code, true, String::new())),
        Some(' ') => Some((code, true, rest[1..].to_owned())),
        Some('-') => Some((code, false, rest[1..].to_owned())),
        Some(_) => None,
    }
}

/// The mail as it goes over the line: dots that begin a line doubled, and the dot that ends it.
fn stuffed(mail: &[u8]) -> Vec<u8> {
    let mut stuffed = Vec::with_capacity(mail.len() + mail.len() / 64 + 8);
    for line in mail.split_inclusive(|byte| *byte == b'\n') {
        if line.starts_with(b".") {
            stuffed.push(b'.');
        }
        stuffed.extend_from_slice(line);
    }
    if !mail.ends_with(b"\r\n") {
        stuffed.extend_from_slice(b"\r\n");
    }
    stuffed.extend_from_slice(b".\r\n");
    stuffed
}

fn base64(bytes: Vec<u8>) -> String {
    let body =
        Body::new_with_encoding(bytes, ContentTransferEncoding::Base64).expect("base64 suits all bytes");
    let mut text = String::from_utf8(body.into_vec()).expect("base64 is ASCII");
    text.retain(|c| !c.is_ascii_whitespace());
    text
}

fn login_hint(host: &str) -> &'static str {
    let host = host.to_ascii_lowercase();
    if ["gmail.com", "googlemail.com", "google.com"].iter().any(|google| host.ends_with(google)) {
        "it needs an app password, myaccount.google.com/apppasswords"
    } else {
        "check user name and password in the mail settings"
    }
}

/// How long to wait for the reply to QUIT.
const GOODBYE: Duration = Duration::from_secs(2);
/// RFC 5321 allows 512 bytes a line.
const MAX_REPLY_LINE: u64 = 4096;
const MAX_REPLY_LINES: usize = 128;
const SHOWN_CHARS: usize = 300;

#[cfg(test)]
mod tests;
