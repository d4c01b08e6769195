//! What is judged, and for how long: the rules that the settings write.

mod comparison;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::comparison::{Comparison, ComparisonError, Measure};
use super::hours::Hours;
pub use super::pattern::Op;
use super::pattern::{Pattern, PatternKind};
use crate::round::Rtt;
use crate::time::{DurationError, Spelled, parse_duration};

/// When an alert is raised, when it is over, and how often it is told again meanwhile.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Its name, which the mails carry: [`Rule::DOWN`], [`Rule::THRESHOLD`], or one of the settings.
    pub name: String,
    /// What makes a round a bad one.
    pub judge: Judge,
    /// How much must be bad before it is raised. Of no meaning for a pattern, which tells its own length.
    pub raise: Window,
    /// How much must be good again before it is over. Of no meaning for a pattern.
    pub clear: Window,
    /// While it goes on it is told again this often, with every bad round for [`Rule::EACH_ROUND`]; `None` for once.
    pub repeat: Option<Duration>,
    /// How much it matters.
    pub severity: Severity,
    /// Who is told, as the settings write it; empty for everybody.
    pub to: Vec<String>,
    /// When it may be told; `None` for at any time. It is judged always: what is still open when the hours begin is told
    /// then.
    pub hours: Option<Hours>,
}

/// How much an alert matters, least first. It is shown as the settings write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good to know.
    Info,
    /// To be looked at.
    Warning,
    /// To be looked at now.
    Critical,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        })
    }
}

impl Rule {
    /// The name of the built-in rule for lines that are down.
    pub const DOWN: &'static str = "down";
    /// The name of the rule that one threshold of latency makes.
    pub const THRESHOLD: &'static str = "threshold";
    /// Raised at the first bad round: the window of the two built-in rules.
    pub const AT_ONCE: Window = Window::Rounds { bad: 1, of: 1 };
    /// The window in which a rule of the settings is raised, where it names none.
    pub const DEFAULT_RAISE: Window = Window::Rounds { bad: 2, of: 3 };
    /// The window after which a rule is over, where it names none.
    pub const DEFAULT_CLEAR: Window = Window::Rounds { bad: 3, of: 3 };
    /// How often a rule that names nothing else is told again.
    pub const DEFAULT_REPEAT: Duration = Duration::from_secs(24 * 3600);
    /// The `repeat` of a rule that is told again with every bad round.
    pub const EACH_ROUND: Duration = Duration::ZERO;

    /// The built-in rule: no ping of a round was answered.
    pub fn down() -> Self {
        Self::built_in(Self::DOWN, Judge::Down)
    }

    /// The rule that one number makes: a round's median is over `limit`.
    pub fn threshold(limit: Rtt) -> Self {
        let measure = Measure::Median;
        Self::built_in(
            Self::THRESHOLD,
            Judge::Compare(Comparison::Latency { measure, op: Op::Greater, limit }),
        )
    }

    fn built_in(name: &str, judge: Judge) -> Self {
        Self {
            name: name.to_owned(),
            severity: judge.severity(),
            judge,
            raise: Self::AT_ONCE,
            clear: Self::DEFAULT_CLEAR,
            repeat: Some(Self::DEFAULT_REPEAT),
            to: Vec::new(),
            hours: None,
        }
    }

    /// Whether it needs [`crate::alert::Past::usual`].
    pub fn asks_for_the_usual(&self) -> bool {
        matches!(self.judge, Judge::Compare(Comparison::Usual { .. }))
    }

    /// Whether it judges what is unknown of a round, instead of what is known.
    pub fn is_about_the_unknown(&self) -> bool {
        matches!(self.judge, Judge::Compare(Comparison::Unknown { .. }))
    }

    /// Whether it needs [`crate::alert::Past::aberrant`].
    pub fn asks_for_a_forecast(&self) -> bool {
        self.judge == Judge::Aberrant
    }
}

/// What makes a round a bad one. It is shown as the settings write it.
#[derive(Clone, Debug, PartialEq)]
pub enum Judge {
    /// No ping of it was answered, and at least one was lost.
    Down,
    /// A number of it lies beyond a limit.
    Compare(Comparison),
    /// The archive's own forecast says that the medians are too far off too often: [`crate::alert::Past::aberrant`].
    Aberrant,
    /// It and the rounds before it look like this, in SmokePing's language.
    Pattern(Pattern),
}

impl Judge {
    /// Reads what the settings say `when`: `aberrant`, or a [`Comparison`].
    pub fn when(text: &str) -> Result<Self, ComparisonError> {
        if text.trim() == ABERRANT { Ok(Self::Aberrant) } else { text.parse().map(Self::Compare) }
    }

    /// How much an alert matters of which nobody says it.
    pub fn severity(&self) -> Severity {
        if *self == Self::Down { Severity::Critical } else { Severity::Warning }
    }

    /// What a round that it finds bad suffers from.
    pub fn trouble(&self) -> Trouble {
        match self {
            Self::Down => Trouble::Down,
            Self::Compare(Comparison::Latency { .. } | Comparison::Usual { .. }) | Self::Aberrant => {
                Trouble::Slow
            }
            Self::Compare(Comparison::Loss { .. }) => Trouble::Lossy,
            Self::Compare(Comparison::Unknown { .. }) => Trouble::Unknown,
            Self::Pattern(pattern) => match pattern.kind() {
                PatternKind::Loss => Trouble::Lossy,
                PatternKind::Rtt => Trouble::Slow,
            },
        }
    }
}

/// What a line may suffer from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Trouble {
    /// It does not answer.
    Down,
    /// Its latency is not as it should be.
    Slow,
    /// It loses too much.
    Lossy,
    /// Nobody knows, since our own side fails to measure it.
    Unknown,
}

impl fmt::Display for Judge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Down => f.write_str("no ping answered"),
            Self::Compare(comparison) => comparison.fmt(f),
            Self::Aberrant => f.write_str(ABERRANT),
            Self::Pattern(pattern) => pattern.fmt(f),
        }
    }
}

/// How much must be bad before an alert is raised, and how much good before it is over: `2 of 3` rounds, or a time.
///
/// Only rounds count that tell the rule something; see [`super::Alerts`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// So many of the last so many rounds; 1 <= `bad` <= `of` <= [`Window::MAX_ROUNDS`]. As a `clear` window `bad`
    /// counts the good ones.
    Rounds {
        /// How many must be.
        bad: u32,
        /// Among how many.
        of: u32,
    },
    /// As many rounds in succession as fill this time: five at a step of 60 s and `5m`. The monitor's own gaps
    /// therefore lengthen it.
    Span(Duration),
}

impl Window {
    /// The most rounds that a window may look back on.
    pub const MAX_ROUNDS: u32 = 1000;
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rounds { bad, of } => write!(f, "{bad} of {of}"),
            Self::Span(duration) => Spelled(*duration).fmt(f),
        }
    }
}

/// Why a text is no window.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    /// Neither rounds nor a duration.
    #[error("'{0}' is neither rounds nor a time: write 2 of 3, or 5m")]
    Form(String),
    /// The counts are out of bounds.
    #[error("'{0}' cannot be: write N of M with N from 1 to M, and M up to {max}", max = Window::MAX_ROUNDS)]
    Bounds(String),
    /// A time of zero.
    #[error("'{0}' is no time to wait: write 1 of 1 for at once")]
    Zero(String),
    /// A time that cannot be read.
    #[error(transparent)]
    Duration(DurationError),
}

impl FromStr for Window {
    type Err = WindowError;

    fn from_str(text: &str) -> Result<Self, WindowError> {
        if let Some((bad, of)) = text.split_once("of") {
            let count = |text: &str| {
                let digits = text.trim();
                let whole = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
                // More digits than fit are out of bounds, as is every number that large.
                whole.then(|| digits.parse().unwrap_or(u32::MAX))
            };
            let form = || WindowError::Form(text.to_owned());
            let (bad, of) = (count(bad).ok_or_else(form)?, count(of).ok_or_else(form)?);
            if bad < 1 || bad > of || of > Self::MAX_ROUNDS {
                return Err(WindowError::Bounds(text.to_owned()));
            }
            return Ok(Self::Rounds { bad, of });
        }
        match parse_duration(text, None) {
            Ok(Duration::ZERO) => Err(WindowError::Zero(text.to_owned())),
            Ok(span) => Ok(Self::Span(span)),
            Err(DurationError::NoUnit(_) | DurationError::NoNumber(_)) => {
                Err(WindowError::Form(text.to_owned()))
            }
            Err(error) => Err(WindowError::Duration(error)),
        }
    }
}

const ABERRANT: &str = "aberrant";
