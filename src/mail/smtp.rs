//! One SMTP session, one mail after the other: the dialogue is lettre's, ours are its time limits and what its errors
//! mean. Its transports send a mail in one step and end the session at a refusal; here every command is a step of its
//! own, so that a refusal is told with what was refused, and the mails behind it go on.

use std::fmt::{self, Display};
use std::io::{self, ErrorKind};
use std::mem::{Discriminant, discriminant};
use std::time::Duration;

use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, AsyncTokioStream};
use lettre::transport::smtp::commands::{Auth, Data, Mail, Rcpt, Rset, Starttls};
use lettre::transport::smtp::extension::{ClientId, Extension, MailBodyParameter, MailParameter};
use lettre::transport::smtp::response::{Response, Severity};
use tokio::runtime::{self, Runtime};
use tokio::time::timeout;
use tokio_rustls::rustls::{self, CertificateError};

use super::stream::{self, Guard};
use super::{Login, Server, Settings, Tls};

/// A conversation with a server that has let us in.
pub(super) struct Session {
    /// `None` once something went wrong on it: nothing that comes later can be matched with what was asked.
    connection: Option<AsyncSmtpConnection>,
    server: String,
    limits: Limits,
    /// What waits for the server, on the thread that calls.
    runtime: Runtime,
}

/// How long each part of the conversation may take, from its first byte to its last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// A TCP connection to one address.
    pub(super) connect: Duration,
    /// A command with its reply, the greetings, the login or the TLS handshake.
    pub(super) command: Duration,
    /// The mail itself up to the reply to its last dot: some servers look for viruses until then, and who hangs up too
    /// early sends it twice.
    pub(super) transfer: Duration,
}

impl Limits {
    pub(super) const USUAL: Self = Self {
        connect: Duration::from_secs(10),
        command: Duration::from_secs(30),
        transfer: Duration::from_secs(360),
    };
}

impl Session {
    /// Connects, goes under TLS as the settings say, and logs in.
    pub(super) fn open(server: &Server, limits: Limits) -> Result<Self, SendError> {
        let name = format!("{}:{}", server.host, server.port);
        let open = || {
            let runtime = runtime::Builder::new_current_thread().enable_io().enable_time().build();
            let runtime = runtime.map_err(|error| Fault::of_line(&Step::Connect, &error))?;
            let connection = runtime.block_on(establish(server, limits))?;
            Ok(Self { connection: Some(connection), server: name.clone(), limits, runtime })
        };
        open().map_err(|fault| SendError { server: name.clone(), fault })
    }

    /// Hands over `mail`, CRLF lines, for all recipients of `settings`; done once the server said that it has it.
    pub(super) fn send(&mut self, settings: &Settings, mail: &[u8]) -> Result<(), SendError> {
        let sent = match self.connection.take() {
            None => Err(Fault::Closed(Step::Sender)),
            Some(mut connection) => self.runtime.block_on(async {
                let sent = transact(&mut connection, self.limits, settings, mail).await;
                // A refusal leaves the session whole when the server agrees to forget the transaction.
                let is_whole = match &sent {
                    Ok(()) => true,
                    Err(fault) if fault.refuses_mail() => {
                        ask(&mut connection, self.limits, Rset, DONE, &Step::Reset).await.is_ok()
                    }
                    Err(_) => false,
                };
                self.connection = is_whole.then_some(connection);
                sent
            }),
        };
        sent.map_err(|fault| SendError { server: self.server.clone(), fault })
    }

    /// False when the next mail wants another session.
    pub(super) fn is_open(&self) -> bool {
        self.connection.is_some()
    }

    /// Takes leave. Whatever comes of it, what was acknowledged is delivered.
    pub(super) fn quit(mut self) {
        if let Some(mut connection) = self.connection.take() {
            let _ = self.runtime.block_on(async { timeout(GOODBYE, connection.quit()).await });
        }
    }
}

async fn establish(server: &Server, limits: Limits) -> Result<AsyncSmtpConnection, Fault> {
    let tcp = stream::connect(&server.host, server.port, limits.connect)?;
    let mut connection = if server.tls == Tls::Implicit {
        let stream = stream::under_tls(&tcp, &server.host, limits.command).await?;
        greet(Guard::new(stream), limits, Step::Greeting).await?
    } else {
        let greeted = greet(Guard::new(stream::in_clear(&tcp)?), limits, Step::Greeting).await;
        greeted.map_err(|fault| if matches!(fault, Fault::TimedOut(_)) { Fault::Silent } else { fault })?
    };
    if server.tls == Tls::StartTls {
        if !connection.can_starttls() {
            return Err(Fault::NoStartTls);
        }
        ask(&mut connection, limits, Starttls, DONE, &Step::StartTls).await?;
        // Under TLS all begins anew, also what lettre knows of the server: what came in clear anybody may have sent.
        drop(connection);
        let secured = stream::under_tls(&tcp, &server.host, limits.command).await;
        let not_tls = |fault| if matches!(fault, Fault::NotTls) { Fault::EarlyBytes } else { fault };
        connection = greet(Guard::greeted(secured.map_err(not_tls)?), limits, Step::StartTls).await?;
    }
    if let Some(login) = &server.login {
        log_in(&mut connection, limits, login, &server.host).await?;
    }
    Ok(connection)
}

/// Hears the greeting and says EHLO.
async fn greet(
    stream: impl AsyncTokioStream + 'static,
    limits: Limits,
    step: Step,
) -> Result<AsyncSmtpConnection, Fault> {
    // lettre's name for us is [127.0.0.1]. An address literal is what RFC 5321 gives those without a public name;
    // servers that refuse bare host names take it.
    let hello = ClientId::default();
    within(limits.command, &step, AsyncSmtpConnection::connect_with_transport(Box::new(stream), &hello)).await
}

async fn log_in(
    connection: &mut AsyncSmtpConnection,
    limits: Limits,
    login: &Login,
    host: &str,
) -> Result<(), Fault> {
    let info = connection.server_info();
    let mechanism = info.get_auth_mechanism(DEFAULT_MECHANISMS).ok_or(Fault::NoLogin)?;
    // The prompts of LOGIN have several spellings, of which lettre knows some. That the first asks for the name and the
    // second for the password is all that servers agree on.
    let answers: &[_] = match mechanism {
        Mechanism::Login => &[None, Some(NAME_PROMPT), Some(PASSWORD_PROMPT)],
        _ => &[None],
    };
    let credentials = Credentials::new(login.username.clone(), login.password.reveal().to_owned());
    let secrets = secrets(login, &credentials);
    for (number, prompt) in answers.iter().enumerate() {
        let wanted = if number + 1 == answers.len() { DONE } else { GO_ON };
        let answer = login_command(mechanism, &credentials, *prompt);
        ask(connection, limits, answer, wanted, &Step::Login).await.map_err(|fault| match fault {
            Fault::Refused { reply, .. } => {
                Fault::Login { reply: reply.without(&secrets), hint: login_hint(host) }
            }
            Fault::Deferred { step, reply } => Fault::Deferred { step, reply: reply.without(&secrets) },
            fault => fault,
        })?;
    }
    Ok(())
}

fn login_command(mechanism: Mechanism, credentials: &Credentials, prompt: Option<&str>) -> Auth {
    let command = Auth::new(mechanism, credentials.clone(), prompt.map(Into::into));
    command.expect("PLAIN has no prompt, and lettre knows those two of LOGIN")
}

/// The forms in which a server may have got the password and may repeat it.
fn secrets(login: &Login, credentials: &Credentials) -> [String; 3] {
    let sent = |mechanism, prompt| {
        let command = login_command(mechanism, credentials, prompt).to_string();
        command.trim().rsplit(' ').next().unwrap_or_default().to_owned()
    };
    let shown = login.password.reveal().bytes().map(|byte| char::from(stream::printable(byte))).collect();
    [sent(Mechanism::Plain, None), sent(Mechanism::Login, Some(PASSWORD_PROMPT)), shown]
}

async fn transact(
    connection: &mut AsyncSmtpConnection,
    limits: Limits,
    settings: &Settings,
    mail: &[u8],
) -> Result<(), Fault> {
    let mut parameters = Vec::new();
    if !settings.to.iter().chain([&settings.from]).all(|address| address.to_string().is_ascii()) {
        if !connection.server_info().supports_feature(Extension::SmtpUtfEight) {
            return Err(Fault::NoUtf8);
        }
        parameters.push(MailParameter::SmtpUtfEight);
    }
    if !mail.is_ascii() && connection.server_info().supports_feature(Extension::EightBitMime) {
        parameters.push(MailParameter::Body(MailBodyParameter::EightBitMime));
    }
    ask(connection, limits, Mail::new(Some(settings.from.0.clone()), parameters), DONE, &Step::Sender)
        .await?;
    for recipient in &settings.to {
        let step = Step::Recipient(recipient.to_string());
        ask(connection, limits, Rcpt::new(recipient.0.clone(), Vec::new()), DONE, &step).await?;
    }
    ask(connection, limits, Data, GO_ON, &Step::Data).await?;
    // lettre puts CRLF in front of the last dot, whatever stands there.
    let mail = mail.strip_suffix(b"\r\n").unwrap_or(mail);
    let verdict = within(limits.transfer, &Step::Verdict, connection.message(mail)).await?;
    expect(DONE, &verdict, &Step::Verdict)
}

/// Sends a command and wants a reply of the kind `wanted`: done, or go on.
async fn ask(
    connection: &mut AsyncSmtpConnection,
    limits: Limits,
    command: impl Display,
    wanted: Severity,
    step: &Step,
) -> Result<(), Fault> {
    expect(wanted, &within(limits.command, step, connection.command(command)).await?, step)
}

/// What `dialogue` comes to if that takes no longer than `limit`.
async fn within<T>(
    limit: Duration,
    step: &Step,
    dialogue: impl Future<Output = Result<T, lettre::transport::smtp::Error>>,
) -> Result<T, Fault> {
    match timeout(limit, dialogue).await {
        Ok(done) => done.map_err(|error| Fault::of_dialogue(step, &error)),
        Err(_) => Err(Fault::TimedOut(step.clone())),
    }
}

/// lettre takes every 2xx and 3xx for success. A mail that is answered by another 3xx is not delivered.
fn expect(wanted: Severity, response: &Response, step: &Step) -> Result<(), Fault> {
    if response.code().severity == wanted { Ok(()) } else { Err(Fault::Garbled(step.clone())) }
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
    /// True when the server refused this one mail for good, while the session goes on.
    pub(super) fn refuses_mail(&self) -> bool {
        // A refusal at the greeting, EHLO or login is the server's trouble with us, not with the mail.
        matches!(
            self,
            Self::Refused { step: Step::Sender | Step::Recipient(_) | Step::Data | Step::Verdict, .. }
        )
    }

    /// What an error of lettre means.
    fn of_dialogue(step: &Step, error: &lettre::transport::smtp::Error) -> Self {
        let source = std::error::Error::source(error);
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
    code: u16,
    text: String,
}

impl Reply {
    /// The reply without what a log must not carry: some servers repeat what they did not understand.
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
/// The replies that are a success of a command, and of all but the last step of one.
const DONE: Severity = Severity::PositiveCompletion;
const GO_ON: Severity = Severity::PositiveIntermediate;
const NAME_PROMPT: &str = "Username";
const PASSWORD_PROMPT: &str = "Password";
const SHOWN_CHARS: usize = 300;

#[cfg(test)]
mod tests;
