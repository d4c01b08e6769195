//! One SMTP session, one mail after the other: the dialogue is lettre's, ours are its time limits and what its errors
//! mean. Its transports send a mail in one step and end the session at a refusal; here every command is a step of its
//! own, so that a refusal is told with what was refused, and the mails behind it go on.

use std::fmt::Display;
use std::net::TcpStream;
use std::time::Duration;

use lettre::transport::smtp;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, AsyncTokioStream};
use lettre::transport::smtp::commands::{Auth, Data, Mail, Rcpt, Rset, Starttls};
use lettre::transport::smtp::extension::{ClientId, Extension, MailBodyParameter, MailParameter};
use lettre::transport::smtp::response::{Response, Severity};
use tokio::runtime::{self, Runtime};
use tokio::time::timeout;

use super::fault::{Fault, SendError, Step};
use super::stream::{self, Guard};
use super::{Address, Login, Server, Tls};

/// A conversation with a server that has let us in.
pub(super) struct Session {
    /// `None` once something went wrong on it: nothing that comes later can be matched with what was asked.
    dialogue: Option<Dialogue>,
    server: String,
    /// What nothing that it says may show.
    secrets: Vec<String>,
    /// What waits for the server, on the thread that calls.
    runtime: Runtime,
}

/// What came of a mail.
#[derive(Debug, Default)]
pub(super) struct Handed {
    /// The server has it for these.
    pub(super) taken: Vec<Address>,
    /// It does not want it for these, now or ever.
    pub(super) left: Vec<(Address, SendError)>,
}

/// How long each part of the conversation may take, from its first byte to its last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A TCP connection to one address.
    pub connect: Duration,
    /// A command with its reply, the greetings, the login or the TLS handshake.
    pub command: Duration,
    /// The mail itself up to the reply to its last dot: some servers look for viruses until then, and who hangs up too
    /// early sends it twice.
    pub transfer: Duration,
}

impl Limits {
    /// What people wait for, and servers need.
    pub const USUAL: Self = Self {
        connect: Duration::from_secs(10),
        command: Duration::from_secs(30),
        transfer: Duration::from_secs(360),
    };

    /// The same, and no part longer than `rest`.
    pub(super) fn within(self, rest: Duration) -> Self {
        let Self { connect, command, transfer } = self;
        Self { connect: connect.min(rest), command: command.min(rest), transfer: transfer.min(rest) }
    }
}

impl Session {
    /// Connects, goes under TLS as the settings say, and logs in.
    pub(super) fn open(server: &Server, limits: Limits) -> Result<Self, SendError> {
        let name = format!("{}:{}", server.host, server.port);
        let secrets = server.login.as_ref().map(secrets).unwrap_or_default();
        let open = || {
            let runtime = runtime::Builder::new_current_thread().enable_io().enable_time().build();
            let runtime = runtime.map_err(|error| Fault::of_line(&Step::Connect, &error))?;
            let dialogue = runtime.block_on(Dialogue::open(server, limits))?;
            Ok(Self { dialogue: Some(dialogue), server: name.clone(), secrets: secrets.clone(), runtime })
        };
        open().map_err(|fault: Fault| SendError { server: name.clone(), fault: fault.without(&secrets) })
    }

    /// Hands over `mail`, CRLF lines, to those of `to` that the server takes. For them it is done: the server said that it
    /// has it. An error is about all of `to`.
    pub(super) fn send(&mut self, from: &Address, to: &[Address], mail: &[u8]) -> Result<Handed, SendError> {
        let sent = match self.dialogue.take() {
            None => Err(Fault::Closed(Step::Sender)),
            Some(mut dialogue) => self.runtime.block_on(async {
                let sent = dialogue.transact(from, to, mail).await;
                // Whatever was refused, the session is whole when the server agrees to forget the transaction.
                let is_whole = match &sent {
                    Ok(answers) if answers.iter().any(Result::is_ok) => true,
                    Err(fault) if !fault.is_of_mail() => false,
                    _ => dialogue.ask(Rset, DONE, &Step::Reset).await.is_ok(),
                };
                self.dialogue = is_whole.then_some(dialogue);
                sent
            }),
        };
        let error =
            |fault: Fault| SendError { server: self.server.clone(), fault: fault.without(&self.secrets) };
        let mut handed = Handed::default();
        for (address, answer) in to.iter().zip(sent.map_err(error)?) {
            match answer {
                Ok(()) => handed.taken.push(address.clone()),
                Err(fault) => handed.left.push((address.clone(), error(fault))),
            }
        }
        Ok(handed)
    }

    /// False when the next mail wants another session.
    pub(super) fn is_open(&self) -> bool {
        self.dialogue.is_some()
    }

    /// Takes leave. Whatever comes of it, what was acknowledged is delivered.
    pub(super) fn quit(mut self) {
        if let Some(mut dialogue) = self.dialogue.take() {
            let _ = self.runtime.block_on(async { timeout(GOODBYE, dialogue.lettre.quit()).await });
        }
    }
}

/// lettre's side of a conversation, with the time it may take.
struct Dialogue {
    lettre: AsyncSmtpConnection,
    limits: Limits,
}

impl Dialogue {
    async fn open(server: &Server, limits: Limits) -> Result<Self, Fault> {
        let tcp = stream::connect(&server.host, server.port, limits.connect)?;
        let under_tls = stream::under_tls(&tcp, &server.host, limits.command);
        let mut dialogue = match server.tls {
            Tls::Implicit => Self::greet(Guard::new(under_tls.await?), limits, Step::Greeting).await?,
            Tls::None => Self::greet_in_clear(&tcp, limits).await?,
            Tls::StartTls => {
                let mut clear = Self::greet_in_clear(&tcp, limits).await?;
                if !clear.lettre.can_starttls() {
                    return Err(Fault::NoStartTls);
                }
                clear.ask(Starttls, DONE, &Step::StartTls).await?;
                // All begins anew, also what lettre knows of the server: what came in clear anybody may have sent.
                drop(clear);
                let not_tls = |fault| if matches!(fault, Fault::NotTls) { Fault::EarlyBytes } else { fault };
                let secured = under_tls.await.map_err(not_tls)?;
                Self::greet(Guard::greeted(secured), limits, Step::StartTls).await?
            }
        };
        if let Some(login) = &server.login {
            dialogue.log_in(login, &server.host).await?;
        }
        Ok(dialogue)
    }

    async fn greet_in_clear(tcp: &TcpStream, limits: Limits) -> Result<Self, Fault> {
        let greeted = Self::greet(Guard::new(stream::in_clear(tcp)?), limits, Step::Greeting).await;
        greeted.map_err(|fault| if matches!(fault, Fault::TimedOut(_)) { Fault::Silent } else { fault })
    }

    /// Hears the greeting and says EHLO.
    async fn greet(
        stream: impl AsyncTokioStream + 'static,
        limits: Limits,
        step: Step,
    ) -> Result<Self, Fault> {
        // lettre's name for us is [127.0.0.1]. An address literal is what RFC 5321 gives those without a public name;
        // servers that refuse bare host names take it.
        let hello = ClientId::default();
        let greeted = AsyncSmtpConnection::connect_with_transport(Box::new(stream), &hello);
        Ok(Self { lettre: within(limits.command, &step, greeted).await?, limits })
    }

    async fn log_in(&mut self, login: &Login, host: &str) -> Result<(), Fault> {
        let info = self.lettre.server_info();
        let mechanism = info.get_auth_mechanism(DEFAULT_MECHANISMS).ok_or(Fault::NoLogin)?;
        // The prompts of LOGIN have several spellings, of which lettre knows some. That the first asks for the name and
        // the second for the password is all that servers agree on.
        let answers: &[_] = match mechanism {
            Mechanism::Login => &[None, Some(NAME_PROMPT), Some(PASSWORD_PROMPT)],
            _ => &[None],
        };
        let credentials = Credentials::new(login.username.clone(), login.password.reveal().to_owned());
        for (number, prompt) in answers.iter().enumerate() {
            let wanted = if number + 1 == answers.len() { DONE } else { GO_ON };
            let answer = login_command(mechanism, &credentials, *prompt);
            self.ask(answer, wanted, &Step::Login).await.map_err(|fault| match fault {
                Fault::Refused { reply, .. } => Fault::Login { reply, hint: login_hint(host) },
                fault => fault,
            })?;
        }
        Ok(())
    }

    /// The answers for each of `to`, after the server has taken the mail for all that it answered well.
    async fn transact(
        &mut self,
        from: &Address,
        to: &[Address],
        mail: &[u8],
    ) -> Result<Vec<Result<(), Fault>>, Fault> {
        let mut parameters = Vec::new();
        let is_ascii = |address: &Address| address.to_string().is_ascii();
        let takes_utf8 = self.lettre.server_info().supports_feature(Extension::SmtpUtfEight);
        if !takes_utf8 && !is_ascii(from) {
            return Err(Fault::NoUtf8);
        }
        if takes_utf8 && !to.iter().chain([from]).all(is_ascii) {
            parameters.push(MailParameter::SmtpUtfEight);
        }
        if !mail.is_ascii() && self.lettre.server_info().supports_feature(Extension::EightBitMime) {
            parameters.push(MailParameter::Body(MailBodyParameter::EightBitMime));
        }
        self.ask(Mail::new(Some(from.0.clone()), parameters), DONE, &Step::Sender).await?;
        let mut answers = Vec::with_capacity(to.len());
        for recipient in to {
            if !takes_utf8 && !is_ascii(recipient) {
                answers.push(Err(Fault::NoUtf8));
                continue;
            }
            let step = Step::Recipient(recipient.to_string());
            let answer = self.ask(Rcpt::new(recipient.0.clone(), Vec::new()), DONE, &step).await;
            match answer {
                Err(fault) if !fault.is_of_mail() => return Err(fault),
                answer => answers.push(answer),
            }
        }
        if answers.iter().all(Result::is_err) {
            return Ok(answers);
        }
        self.ask(Data, GO_ON, &Step::Data).await?;
        // lettre puts CRLF in front of the last dot, whatever stands there.
        let mail = mail.strip_suffix(b"\r\n").unwrap_or(mail);
        let verdict = within(self.limits.transfer, &Step::Verdict, self.lettre.message(mail)).await?;
        expect(DONE, &verdict, &Step::Verdict).map(|()| answers)
    }

    /// Sends a command and wants a reply of the kind `wanted`: done, or go on.
    async fn ask(&mut self, command: impl Display, wanted: Severity, step: &Step) -> Result<(), Fault> {
        let reply = within(self.limits.command, step, self.lettre.command(command)).await?;
        expect(wanted, &reply, step)
    }
}

/// What `dialogue` comes to if that takes no longer than `limit`.
async fn within<T>(
    limit: Duration,
    step: &Step,
    dialogue: impl Future<Output = Result<T, smtp::Error>>,
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

fn login_command(mechanism: Mechanism, credentials: &Credentials, prompt: Option<&str>) -> Auth {
    let command = Auth::new(mechanism, credentials.clone(), prompt.map(Into::into));
    command.expect("PLAIN has no prompt, and lettre knows those two of LOGIN")
}

/// The forms in which a server may have got the password and may repeat it.
fn secrets(login: &Login) -> Vec<String> {
    let credentials = Credentials::new(login.username.clone(), login.password.reveal().to_owned());
    let sent = |mechanism, prompt| {
        let command = login_command(mechanism, &credentials, prompt).to_string();
        command.trim().rsplit(' ').next().unwrap_or_default().to_owned()
    };
    let shown = login.password.reveal().bytes().map(|byte| char::from(stream::printable(byte))).collect();
    vec![sent(Mechanism::Plain, None), sent(Mechanism::Login, Some(PASSWORD_PROMPT)), shown]
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

#[cfg(test)]
mod tests;
