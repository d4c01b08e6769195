//! Who is mailed, and by which server: the environment, `.env` and `[mail]`, key by key.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::mail::{Address, Limits, Login, Secret, Server, Settings, Tls};

use super::MailOrigins;
use super::document::{Entry, Section};
use super::error::Error;
use super::origin::{Origin, Setting};
use super::read::{Content, read};
use super::said::{
    EMAIL_PASSWORD, EMAIL_PASSWORD_FILE, EMAIL_RECEIVER, EMAIL_SENDER, EMAIL_SMTP_PORT, EMAIL_SMTP_SERVER,
    Said, VARIABLES,
};
use super::value;

/// What `[mail]` says.
pub(super) struct MailSection {
    at: Origin,
    from: Option<Setting<Address>>,
    to: Option<Setting<Vec<Address>>>,
    server: Option<Setting<String>>,
    port: Option<Setting<u16>>,
    tls: Option<Setting<Tls>>,
    username: Option<Setting<String>>,
    password: Option<Password>,
    every_end: Option<Setting<bool>>,
    fallback: Option<FallbackSection>,
}

/// What `[mail.fallback]` says: another server, with nothing taken over from the first.
struct FallbackSection {
    at: Origin,
    server: Setting<String>,
    port: Option<Setting<u16>>,
    tls: Option<Setting<Tls>>,
    username: Option<Setting<String>>,
    password: Option<Password>,
}

/// A password, or where it lies: it is read only if nothing of higher rank takes its place.
struct Password {
    key: &'static str,
    origin: Origin,
    source: PasswordSource,
}

enum PasswordSource {
    /// It stood in the settings; true where everybody may read those.
    Text {
        secret: Secret,
        world_readable: bool,
    },
    File(PathBuf),
}

/// Mail settings that are whole.
pub(super) struct Mail {
    pub(super) settings: Settings,
    pub(super) origins: MailOrigins,
    pub(super) warnings: Vec<String>,
    /// Whether a planned stop is mailed too.
    pub(super) every_end: Setting<bool>,
}

impl MailSection {
    /// Reads `[mail]` of a file that everybody may read, or not.
    pub(super) fn read(entry: &Entry<'_>, world_readable: bool) -> Result<Self, Error> {
        let section = entry.table(&KEYS, || "in [mail]".to_owned())?;
        let parsed = |key, parse| section.get(key).map(|entry: Entry<'_>| entry.parsed(parse)).transpose();
        let fallback = section.get(FALLBACK).map(|entry| FallbackSection::read(&entry, world_readable));
        Ok(Self {
            at: entry.at.clone(),
            from: section.get("from").map(|entry| entry.parsed(value::address)).transpose()?,
            to: section.get("to").map(|entry| recipients(&entry)).transpose()?,
            server: parsed("server", value::server)?,
            port: port(&section)?,
            tls: section.get("tls").map(|entry| entry.parsed(value::tls)).transpose()?,
            username: parsed("username", value::not_empty)?,
            password: Password::read(&section, world_readable)?,
            fallback: fallback.transpose()?,
            every_end: section.get("exit").map(|entry| entry.parsed(value::exit)).transpose()?,
        })
    }
}

impl FallbackSection {
    fn read(entry: &Entry<'_>, world_readable: bool) -> Result<Self, Error> {
        let section = entry.table(&FALLBACK_KEYS, || "in [mail.fallback]".to_owned())?;
        let parsed = |key, parse| section.get(key).map(|entry: Entry<'_>| entry.parsed(parse)).transpose();
        let incomplete =
            |at: &Origin, present, missing| Error::MailIncomplete { at: at.clone(), present, missing };
        let server = parsed("server", value::server)?
            .ok_or_else(|| incomplete(&entry.at, "[mail.fallback]", "'server'"))?;
        let username = parsed("username", value::not_empty)?;
        let password = Password::read(&section, world_readable)?;
        match (&username, &password) {
            (Some(username), None) => {
                return Err(incomplete(&username.origin, "username", "'password_file' or 'password'"));
            }
            (None, Some(password)) => return Err(incomplete(&password.origin, password.key, "'username'")),
            _ => {}
        }
        let tls = section.get("tls").map(|entry| entry.parsed(value::tls)).transpose()?;
        Ok(Self { at: entry.at.clone(), server, port: port(&section)?, tls, username, password })
    }

    /// The server, and a warning where everybody may read its password.
    fn resolve(&self) -> Result<(Server, Option<String>), Error> {
        let (port, tls) = port_and_tls(self.port.clone(), self.tls.clone());
        let (login, warning) = login(self.username.clone(), self.password.as_ref().map(Password::copy))?;
        let host = self.server.value.clone();
        Ok((Server { host, port: port.value, tls: tls.value, login }, warning))
    }
}

/// The mail settings that hold; `None` where nobody says anything of mail.
pub(super) fn resolve(
    said: &Said<'_>,
    section: Option<&MailSection>,
    working_dir: &Path,
) -> Result<Option<Mail>, Error> {
    let Some((at, present)) = something(said, section) else { return Ok(None) };
    let Some(sender) = said
        .parsed(EMAIL_SENDER, value::address)?
        .or_else(|| section.and_then(|section| section.from.clone()))
    else {
        let missing = if section.is_some() { "'from'" } else { EMAIL_SENDER };
        return Err(Error::MailIncomplete { at, present, missing });
    };
    let incomplete = |in_environment, in_file| {
        let from_file = matches!(sender.origin, Origin::File { .. });
        let (present, missing) = if from_file { ("from", in_file) } else { (EMAIL_SENDER, in_environment) };
        Error::MailIncomplete { at: sender.origin.clone(), present, missing }
    };

    let to = match said.parsed(EMAIL_RECEIVER, value::addresses)? {
        Some(receivers) => receivers,
        None => match section.and_then(|section| section.to.clone()) {
            Some(to) => to,
            None if matches!(sender.origin, Origin::File { .. }) => return Err(incomplete("", "'to'")),
            None => Setting::default(vec![sender.value.clone()]),
        },
    };
    let server = said
        .parsed(EMAIL_SMTP_SERVER, value::server)?
        .or_else(|| section.and_then(|section| section.server.clone()))
        .or_else(|| is_gmail(&sender.value).then(|| Setting::default(GMAIL.to_owned())))
        .ok_or_else(|| incomplete(EMAIL_SMTP_SERVER, "'server'"))?;
    let (port, tls) = line(said, section)?;
    let password = match said_password(said, working_dir)? {
        Some(password) => Some(password),
        None => section.and_then(|section| section.password.as_ref()).map(Password::copy),
    };
    let username = username(section, &sender, password.as_ref())?;
    if password.is_none() && server.value.eq_ignore_ascii_case(GMAIL) {
        return Err(incomplete("EMAIL_PASSWORD or EMAIL_PASSWORD_FILE", "'username'"));
    }

    let origins = MailOrigins {
        from: sender.origin,
        to: to.origin,
        server: server.origin,
        port: port.origin,
        tls: tls.origin,
        username: username.as_ref().map(|username| username.origin.clone()),
        password: password.as_ref().map(|password| password.origin.clone()),
        fallback: section.and_then(|section| Some(section.fallback.as_ref()?.at.clone())),
    };
    let (login, warning) = login(username, password)?;
    let fallback = section.and_then(|section| section.fallback.as_ref()).map(FallbackSection::resolve);
    let (fallback, other_warning) = fallback.transpose()?.unzip();
    let warnings = [warning, other_warning.flatten()].into_iter().flatten().collect();
    let server = Server { host: server.value, port: port.value, tls: tls.value, login };
    let settings = Settings { from: sender.value, to: to.value, server, fallback, limits: Limits::USUAL };
    let every_end =
        section.and_then(|section| section.every_end.clone()).unwrap_or_else(|| Setting::default(true));
    Ok(Some(Mail { settings, origins, warnings, every_end }))
}

/// A mail setting that is there, if any is: its place and its key.
fn something(said: &Said<'_>, section: Option<&MailSection>) -> Option<(Origin, &'static str)> {
    let mut keys = VARIABLES.into_iter().filter(|key| key.starts_with("EMAIL_"));
    let found = keys.find_map(|key| Some((said.raw(key)?.origin, key)));
    found.or_else(|| section.map(|section| (section.at.clone(), "[mail]")))
}

/// The port and how the line is made private. Each follows from the other where only one is said. 465 and 587 in the
/// environment mean TLS and STARTTLS whatever a file says, so that no file's `tls = "none"` bares a password there.
fn line(said: &Said<'_>, section: Option<&MailSection>) -> Result<(Setting<u16>, Setting<Tls>), Error> {
    let from_environment = said.parsed(EMAIL_SMTP_PORT, value::port)?;
    let from_file = section.and_then(|section| section.port.clone());
    let tls = section.and_then(|section| section.tls.clone());
    let (port, tls) = port_and_tls(from_environment.or(from_file), tls);
    let fixed = [IMPLICIT_PORT, STARTTLS_PORT].contains(&port.value)
        && matches!(port.origin, Origin::Environment(_) | Origin::DotEnv { .. });
    // What the port means alone.
    let tls = if fixed { port_and_tls(Some(port.clone()), None).1 } else { tls };
    Ok((port, tls))
}

/// The port and how the line is made private, each by the other where only one is said.
fn port_and_tls(port: Option<Setting<u16>>, tls: Option<Setting<Tls>>) -> (Setting<u16>, Setting<Tls>) {
    let port = port.unwrap_or_else(|| {
        Setting::default(match tls.as_ref().map(|tls| tls.value) {
            Some(Tls::Implicit) | None => IMPLICIT_PORT,
            Some(Tls::StartTls) => STARTTLS_PORT,
            Some(Tls::None) => PLAIN_PORT,
        })
    });
    let tls = tls.unwrap_or_else(|| {
        let starts_plain = [STARTTLS_PORT, PLAIN_PORT, OTHER_STARTTLS_PORT].contains(&port.value);
        let value = if starts_plain { Tls::StartTls } else { Tls::Implicit };
        Setting { value, origin: port.origin.clone() }
    });
    (port, tls)
}

/// A login where there is a name and a password, and a warning where everybody may read that.
fn login(
    username: Option<Setting<String>>,
    password: Option<Password>,
) -> Result<(Option<Login>, Option<String>), Error> {
    let (Some(username), Some(password)) = (username, password) else { return Ok((None, None)) };
    let (password, warning) = password.reveal()?;
    Ok((Some(Login { username: username.value, password }), warning))
}

fn port(section: &Section<'_>) -> Result<Option<Setting<u16>>, Error> {
    section.get("port").map(|entry| entry.parsed_number(value::port, "a whole number")).transpose()
}

/// The name to log in with. In the environment it is the sender; a file's `username` holds unless sender and password
/// both come from the environment.
fn username(
    section: Option<&MailSection>,
    sender: &Setting<Address>,
    password: Option<&Password>,
) -> Result<Option<Setting<String>>, Error> {
    let in_file = |origin: &Origin| matches!(origin, Origin::File { .. });
    let named = section.and_then(|section| section.username.clone());
    let sender_name = || Setting { value: sender.value.to_string(), origin: sender.origin.clone() };
    match (named, password) {
        (None, None) => Ok(None),
        (Some(username), None) => Err(Error::MailIncomplete {
            at: username.origin,
            present: "username",
            missing: "'password_file' or 'password'",
        }),
        (None, Some(password)) if in_file(&password.origin) => Err(Error::MailIncomplete {
            at: password.origin.clone(),
            present: password.key,
            missing: "'username'",
        }),
        (None, Some(_)) => Ok(Some(sender_name())),
        (Some(_), Some(password)) if !in_file(&password.origin) && !in_file(&sender.origin) => {
            Ok(Some(sender_name()))
        }
        (Some(username), Some(_)) => Ok(Some(username)),
    }
}

/// The password of the environment, or else of `.env`.
fn said_password(said: &Said<'_>, working_dir: &Path) -> Result<Option<Password>, Error> {
    for (text, file) in said.each(EMAIL_PASSWORD).into_iter().zip(said.each(EMAIL_PASSWORD_FILE)) {
        let text = text.map(|Setting { value, origin }| {
            let value = value.to_str().ok_or(Error::NotUtf8 { at: origin.clone(), key: EMAIL_PASSWORD })?;
            let in_dotenv = matches!(origin, Origin::DotEnv { .. });
            let secret = Secret::new(password_text(value, &origin, EMAIL_PASSWORD)?);
            let world_readable = in_dotenv && said.dotenv_world_readable;
            let source = PasswordSource::Text { secret, world_readable };
            Ok(Password { key: EMAIL_PASSWORD, origin, source })
        });
        let file = file.map(|Setting { value, origin }: Setting<&OsStr>| {
            let source = PasswordSource::File(working_dir.join(value));
            Password { key: EMAIL_PASSWORD_FILE, origin, source }
        });
        if let Some(password) = either(text.transpose()?, file)? {
            return Ok(Some(password));
        }
    }
    Ok(None)
}

/// The one of two that is there; both are one too many.
fn either(text: Option<Password>, file: Option<Password>) -> Result<Option<Password>, Error> {
    match (text, file) {
        (Some(text), Some(file)) => {
            Err(Error::TwoPasswords { at: file.origin, key: file.key, other: text.key })
        }
        (text, file) => Ok(text.or(file)),
    }
}

impl Password {
    /// The password of a section of a file that everybody may read, or not.
    fn read(section: &Section<'_>, world_readable: bool) -> Result<Option<Self>, Error> {
        let text = section.get(PASSWORD).map(|entry| {
            let secret = Secret::new(password_text(entry.text()?, &entry.at, PASSWORD)?);
            let source = PasswordSource::Text { secret, world_readable };
            Ok(Self { key: PASSWORD, origin: entry.at, source })
        });
        let file = section.get(PASSWORD_FILE).map(|entry| {
            let path = entry.folder().join(entry.parsed(value::not_empty)?.value);
            Ok(Self { key: PASSWORD_FILE, origin: entry.at, source: PasswordSource::File(path) })
        });
        either(text.transpose()?, file.transpose()?)
    }

    fn copy(&self) -> Self {
        let source = match &self.source {
            PasswordSource::Text { secret, world_readable } => {
                PasswordSource::Text { secret: secret.clone(), world_readable: *world_readable }
            }
            PasswordSource::File(path) => PasswordSource::File(path.clone()),
        };
        Self { key: self.key, origin: self.origin.clone(), source }
    }

    /// The password itself, and a warning where everybody may read it.
    fn reveal(self) -> Result<(Secret, Option<String>), Error> {
        match self.source {
            PasswordSource::Text { secret, world_readable } => {
                let warning = world_readable.then(|| match &self.origin {
                    Origin::DotEnv { path, .. } | Origin::File { path, .. } => warning(path),
                    origin => format!("{origin}: everybody may read the mail password"),
                });
                Ok((secret, warning))
            }
            PasswordSource::File(path) => {
                let Content { bytes, world_readable } = read(&path, &path, &self.origin, MOST_BYTES)?;
                let not_utf8 = || Error::NotUtf8 { at: self.origin.clone(), key: self.key };
                let text = String::from_utf8(bytes).map_err(|_| not_utf8())?;
                let line = text.strip_suffix('\n').unwrap_or(&text);
                let line = line.strip_suffix('\r').unwrap_or(line);
                let secret = Secret::new(password_text(line, &self.origin, self.key)?);
                Ok((secret, world_readable.then(|| warning(&path))))
            }
        }
    }
}

fn password_text<'t>(text: &'t str, at: &Origin, key: &'static str) -> Result<&'t str, Error> {
    if text.trim().is_empty() { Err(Error::EmptyPassword { at: at.clone(), key }) } else { Ok(text) }
}

fn warning(path: &Path) -> String {
    format!("everybody may read the mail password in {0}: type 'chmod 600 {0}'", path.display())
}

fn recipients(entry: &Entry<'_>) -> Result<Setting<Vec<Address>>, Error> {
    let wanted = "write a list of mail addresses, as [\"noc@example.org\"]";
    let addresses = entry.texts()?.into_iter().map(|text| {
        value::address(text.value).map_err(|wanted| Error::value(&text.origin, entry.key, text.value, wanted))
    });
    let addresses: Vec<Address> = addresses.collect::<Result<_, _>>()?;
    if addresses.is_empty() {
        return Err(Error::value(&entry.at, entry.key, "[]", wanted));
    }
    Ok(Setting { value: addresses, origin: entry.at.clone() })
}

fn is_gmail(address: &Address) -> bool {
    let text = address.to_string();
    let domain = text.rsplit_once('@').map_or("", |(_, domain)| domain);
    ["gmail.com", "googlemail.com"].iter().any(|gmail| domain.eq_ignore_ascii_case(gmail))
}

const KEYS: [&str; 10] =
    ["from", "to", "server", "port", "tls", "username", PASSWORD, PASSWORD_FILE, FALLBACK, "exit"];
const FALLBACK_KEYS: [&str; 6] = ["server", "port", "tls", "username", PASSWORD, PASSWORD_FILE];
const FALLBACK: &str = "fallback";
const PASSWORD: &str = "password";
const PASSWORD_FILE: &str = "password_file";
const GMAIL: &str = "smtp.gmail.com";
const IMPLICIT_PORT: u16 = 465;
const STARTTLS_PORT: u16 = 587;
/// Where servers also offer STARTTLS.
const OTHER_STARTTLS_PORT: u16 = 2525;
const PLAIN_PORT: u16 = 25;
const MOST_BYTES: u64 = 64 << 10;
