//! Mail: composes messages, keeps them on disk until the server has them, sends them. Knows nothing of pings.

use std::fmt;

/// From whom, to whom and through which server mail goes.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The sender's address.
    pub from: Address,
    /// Every recipient's address; at least one.
    pub to: Vec<Address>,
    /// The server that takes it.
    pub server: Server,
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
#[derive(Clone, Debug, PartialEq, Eq)]
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
