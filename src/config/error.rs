//! What can be wrong with settings, in one line each, with the place and the way out.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::origin::Origin;

/// Why there are no settings to run with. Each is shown in one line; none carries a password, nor anything else that
/// stands behind a `=` in `.env`.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing to ping.
    #[error("no target: type 'latmon run 192.0.2.1', set PING_HOST, or list targets in latmon.toml")]
    NoTargets,
    /// More targets than one monitor takes.
    #[error("{at}: more than {max} targets")]
    TooManyTargets {
        /// The first one too many.
        at: Origin,
        /// The bound.
        max: usize,
    },
    /// A file that must be there cannot be read.
    #[error("{}cannot read {}: {}", Named(.named_by), path.display(), Reason(*.reason))]
    Read {
        /// Who asks for the file; [`Origin::Default`] for one that is looked for unasked.
        named_by: Origin,
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: io::ErrorKind,
    },
    /// A file over the bound for its kind.
    #[error("{}: longer than {max} bytes", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// The bound.
        max: u64,
    },
    /// Bytes that are no text.
    #[error("{}: not UTF-8", Place(at, key))]
    NotUtf8 {
        /// Where.
        at: Origin,
        /// Which setting; empty where it is none in particular.
        key: &'static str,
    },
    /// A line of `.env` that sets nothing.
    #[error("{}:{line}: no '=' in this line: write KEY=value", path.display())]
    NoAssignment {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: u32,
    },
    /// No TOML.
    #[error("{at}: {message}")]
    Syntax {
        /// Where.
        at: Origin,
        /// What the TOML reader says; it never quotes the file.
        message: String,
    },
    /// A key that stands twice in one table.
    #[error("{at}: '{key}' is there twice{}", First(.first.as_ref()))]
    Twice {
        /// The second.
        at: Origin,
        /// The key.
        key: String,
        /// The first, where it can be told.
        first: Option<Origin>,
    },
    /// A key that means nothing where it stands.
    #[error("{at}: unknown key '{key}' {section}: {hint}")]
    UnknownKey {
        /// Where.
        at: Origin,
        /// The key.
        key: String,
        /// In which table: `in [defaults]`.
        section: String,
        /// What may have been meant.
        hint: String,
    },
    /// A key that only the main file may have.
    #[error("{at}: '{key}' belongs in the main file, not in one that it includes")]
    NotIncluded {
        /// Where.
        at: Origin,
        /// The key.
        key: &'static str,
    },
    /// A TOML value of the wrong type.
    #[error("{at}: {key}: expected {wanted}, found {found}")]
    WrongType {
        /// Where.
        at: Origin,
        /// Of which key.
        key: String,
        /// What belongs there.
        wanted: &'static str,
        /// What stands there.
        found: &'static str,
    },
    /// A value that will not do.
    #[error("{}:{} {wanted}", Place(at, key), Quoted(.text.as_deref()))]
    Value {
        /// Where.
        at: Origin,
        /// Of which key.
        key: String,
        /// The value, where it may be shown.
        text: Option<String>,
        /// What to do: `write whole seconds, ..`.
        wanted: &'static str,
    },
    /// A number out of its bounds.
    #[error("{at}: {key}: '{text}' will not do: write a whole number from {least} to {most}")]
    Range {
        /// Where.
        at: Origin,
        /// Of which key.
        key: String,
        /// The value.
        text: String,
        /// The lower bound.
        least: u32,
        /// The upper bound.
        most: u32,
    },
    /// Settings of one target that contradict each other.
    #[error("{at}: target '{name}': {what} does not fit {other} in {said}")]
    Misfit {
        /// Where the target is.
        at: Origin,
        /// Its name.
        name: Box<str>,
        /// One setting: `host 192.0.2.1`.
        what: Box<str>,
        /// The other: `family = ipv6`.
        other: Box<str>,
        /// Where the other is said.
        said: Box<Origin>,
    },
    /// A rule that cannot be read.
    #[error("{at}: {key}: {reason}")]
    Rule {
        /// Where.
        at: Origin,
        /// Of which key.
        key: &'static str,
        /// What the alert room says about it.
        reason: String,
    },
    /// An alert that lacks a key, or has one too many.
    #[error("{at}: [alert.{name}] {fault}")]
    Alert {
        /// Where it begins.
        at: Origin,
        /// Its name.
        name: String,
        /// What is wrong.
        fault: &'static str,
    },
    /// A webhook or a command that will not do.
    #[error("{at}: [{title}] {fault}")]
    Way {
        /// Where.
        at: Origin,
        /// Its table: `webhook.slack`.
        title: String,
        /// What is wrong; no secret is in it.
        fault: String,
    },
    /// A list names an alert that nobody defined.
    #[error("{at}: unknown alert '{name}': {hint}")]
    UnknownAlert {
        /// Where it is named.
        at: Origin,
        /// The name.
        name: String,
        /// What may have been meant.
        hint: String,
    },
    /// A time of work that lacks a key, or has one too many.
    #[error("{at}: [maintenance.{name}] {fault}")]
    Maintenance {
        /// Where it begins.
        at: Origin,
        /// Its name.
        name: String,
        /// What is wrong.
        fault: &'static str,
    },
    /// A name that is no target's, no group's, and no pattern of any.
    #[error("{at}: {section} names '{name}', and no target is called that")]
    UnknownTarget {
        /// Where it is named.
        at: Origin,
        /// In which table.
        section: String,
        /// The name.
        name: String,
    },
    /// A target behind one that nobody has.
    #[error("{at}: unknown parent '{name}': {hint}")]
    UnknownParent {
        /// Where it is named.
        at: Origin,
        /// The name.
        name: String,
        /// What may have been meant.
        hint: String,
    },
    /// A rule tells a webhook or a command that nobody defined.
    #[error("{at}: unknown recipient '{name}': {hint}")]
    UnknownRecipient {
        /// Where it is named.
        at: Origin,
        /// The name.
        name: String,
        /// What may have been meant.
        hint: String,
    },
    /// A target behind itself.
    #[error("{at}: parents go round in a circle: {names}")]
    ParentCircle {
        /// Where one of them is said.
        at: Origin,
        /// All of it: `a behind b behind a`.
        names: String,
    },
    /// Something defined twice: a group or an alert in two files, a target by two ways.
    #[error("{at}: {kind} '{name}' is named twice, first in {first}")]
    NamedTwice {
        /// The second.
        at: Origin,
        /// `target`, `group` or `alert`.
        kind: &'static str,
        /// Its name.
        name: String,
        /// The first.
        first: Origin,
    },
    /// Two targets whose names differ only by what a file's name cannot carry.
    #[error("{at}: target '{name}' has the same archive as '{other}' in {first}: rename one")]
    SameArchive {
        /// The second.
        at: Origin,
        /// Its name.
        name: Box<str>,
        /// The first one's name.
        other: Box<str>,
        /// The first.
        first: Origin,
    },
    /// A target's name that cannot name an archive.
    #[error("{at}: target name '{name}': {fault}")]
    Name {
        /// Where.
        at: Origin,
        /// The name.
        name: String,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// A target without a host.
    #[error("{at}: target '{name}' has neither 'host' nor 'cidr'")]
    NoHost {
        /// Where.
        at: Origin,
        /// Its name.
        name: String,
    },
    /// A target that is a host and a network.
    #[error("{at}: target '{name}' has 'host' and also 'cidr': keep one of them")]
    HostAndNetwork {
        /// Where.
        at: Origin,
        /// Its name.
        name: String,
    },
    /// A network with an address in it that is not its own.
    #[error("{at}: cidr: '{text}' will not do: did you mean {meant}?")]
    HostBits {
        /// Where.
        at: Origin,
        /// What stands there.
        text: Box<str>,
        /// The network that this address is in.
        meant: Box<str>,
    },
    /// A network that is too large to be pinged address by address.
    #[error("{at}: cidr: {network} has more than {max} addresses")]
    LargeNetwork {
        /// Where.
        at: Origin,
        /// The network.
        network: Box<str>,
        /// The bound.
        max: u32,
    },
    /// A line of a list of targets that is none.
    #[error("{at}: '{text}' will not do: write NAME HOST or HOST, and # before a comment")]
    ListLine {
        /// Where.
        at: Origin,
        /// The line.
        text: String,
    },
    /// Too many lists of targets in a folder.
    #[error("{at}: targets_file: more than {max} lists")]
    TooManyLists {
        /// Who names the folder.
        at: Origin,
        /// The bound.
        max: usize,
    },
    /// Mail settings that are half there.
    #[error("{}, but {missing} is missing", Present(at, present))]
    MailIncomplete {
        /// A mail setting that is there.
        at: Origin,
        /// Its key.
        present: &'static str,
        /// What it needs.
        missing: &'static str,
    },
    /// Two passwords from one source.
    #[error("{}, and so is {}: keep one of them", Present(at, key), Key(at, other))]
    TwoPasswords {
        /// One.
        at: Origin,
        /// Its key.
        key: &'static str,
        /// The other's key.
        other: &'static str,
    },
    /// A file or value that should hold a password and holds nothing.
    #[error("{}: the password is empty", Place(at, key))]
    EmptyPassword {
        /// Where.
        at: Origin,
        /// Its key.
        key: &'static str,
    },
    /// A pattern of `include` that cannot be read.
    #[error("{at}: include: '{pattern}' is no pattern: {reason}")]
    IncludePattern {
        /// Where.
        at: Origin,
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Files that include files without end, or too many of them.
    #[error("{at}: include: more than {max} {what}")]
    IncludeBound {
        /// Where.
        at: Origin,
        /// `files`, or `levels of files`.
        what: &'static str,
        /// The bound.
        max: usize,
    },
}

impl Error {
    /// A value that will not do. Values from `.env` are not shown, nor any mail setting from the environment, where
    /// somebody may have swapped the sender and the password.
    pub(super) fn value(at: &Origin, key: &str, text: &str, wanted: &'static str) -> Self {
        let shown = match at {
            Origin::Environment(key) => !key.starts_with("EMAIL_"),
            Origin::DotEnv { .. } => false,
            Origin::Default | Origin::Option(_) | Origin::File { .. } | Origin::FolderOf(_) => true,
        };
        let text = shown.then(|| one_line(text));
        Self::Value { at: at.clone(), key: key.to_owned(), text, wanted }
    }
}

/// The name in `known` that is nearest to `name`, where one is near enough to be meant.
pub(super) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near = |known: &'a str| {
        let edits = strsim::osa_distance(name, known);
        (edits <= known.chars().count().div_ceil(3)).then_some((edits, known))
    };
    // A name longer than any of ours is no slip of the finger, and its distance would take long to count.
    if name.len() > LONGEST_SLIP {
        return None;
    }
    known.into_iter().filter_map(near).min_by_key(|(edits, _)| *edits).map(|(_, known)| known)
}

/// `text` for quoting: without line breaks and other control characters, and cut where it grows too long to read.
pub(super) fn one_line(text: &str) -> String {
    escaped(text, LONGEST_QUOTE)
}

/// A whole sentence of somebody else's, which may quote what stands in a file.
pub(super) fn sentence(text: &str) -> String {
    escaped(text, LONGEST_SENTENCE)
}

fn escaped(text: &str, longest: usize) -> String {
    let mut shown = String::new();
    for c in text.chars().take(longest) {
        if c.is_control() { shown.extend(c.escape_debug()) } else { shown.push(c) }
    }
    if text.chars().nth(longest).is_some() {
        shown.push('…');
    }
    shown
}

const LONGEST_SLIP: usize = 200;
const LONGEST_QUOTE: usize = 120;
const LONGEST_SENTENCE: usize = 400;

/// `latmon.toml:12: step`, `.env:2: LATENCY_STEP`, and just `--step` or `LATENCY_STEP` where the origin is the key.
struct Place<'a>(&'a Origin, &'a str);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(at, key) = self;
        match at {
            Origin::Option(_) | Origin::Environment(_) => at.fmt(f),
            _ if key.is_empty() => at.fmt(f),
            Origin::Default | Origin::DotEnv { .. } | Origin::File { .. } | Origin::FolderOf(_) => {
                write!(f, "{at}: {key}")
            }
        }
    }
}

/// `.env:2: EMAIL_PASSWORD is set`, `EMAIL_PASSWORD is set`, `latmon.toml:12: 'password' is set`.
struct Present<'a>(&'a Origin, &'a str);

impl fmt::Display for Present<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(at, key) = self;
        match at {
            Origin::File { .. } => write!(f, "{at}: {} is set", Key(at, key)),
            _ => write!(f, "{} is set", Place(at, key)),
        }
    }
}

/// A key in a sentence: those of TOML are common words and need quotes.
struct Key<'a>(&'a Origin, &'a str);

impl fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self(Origin::File { .. }, key) if !key.starts_with('[') => write!(f, "'{key}'"),
            Self(_, key) => f.write_str(key),
        }
    }
}

struct Named<'a>(&'a Origin);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Origin::Default => Ok(()),
            origin => write!(f, "{origin}: "),
        }
    }
}

struct Quoted<'a>(Option<&'a str>);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(text) => write!(f, " '{text}' will not do:"),
            None => Ok(()),
        }
    }
}

struct First<'a>(Option<&'a Origin>);

impl fmt::Display for First<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(first) => write!(f, ", first in {first}"),
            None => Ok(()),
        }
    }
}

struct Reason(io::ErrorKind);

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            io::ErrorKind::NotFound => f.write_str("no such file"),
            kind => kind.fmt(f),
        }
    }
}
