//! Numbers of rounds and their limits: `median > 100ms`, as the settings write it.

use std::fmt;
use std::str::FromStr;

use super::super::Past;
use super::super::pattern::{Op, loss_percent};
use super::ABERRANT;
use crate::round::{Fault, Ping, Round, Rtt};
use crate::time::{DurationError, Spelled, parse_duration};

/// A number of a round, and the limit beyond which the round is bad: `median > 100ms`, `loss >= 20%`, `median > 3 x
/// usual`.
///
/// ```
/// use latmon::alert::rule::Comparison;
/// let slow: Comparison = "median > 100ms".parse()?;
/// assert_eq!(slow.to_string(), "median > 100ms");
/// assert!("median > 100".parse::<Comparison>().is_err(), "100 of what?");
/// # Ok::<(), latmon::alert::rule::ComparisonError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Comparison {
    /// Of round trip times.
    Latency {
        /// Which of the round's.
        measure: Measure,
        /// How it is compared.
        op: Op,
        /// With what.
        limit: Rtt,
    },
    /// Of the share of lost pings among the known ones.
    Loss {
        /// How it is compared.
        op: Op,
        /// With what: 0 to 100.
        percent: f64,
    },
    /// Of the share of pings that tell nothing about the network.
    Unknown {
        /// How it is compared.
        op: Op,
        /// With what: 0 to 100.
        percent: f64,
    },
    /// Of round trip times with the target's own past.
    Usual {
        /// Which of the round's: all but the jitter.
        measure: Measure,
        /// How it is compared.
        op: Op,
        /// With how many times [`Past::usual`]: over 0, to [`Comparison::MOST_TIMES`].
        times: f64,
    },
}

/// A number that sums up the round trip times of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// The median.
    Median,
    /// The mean.
    Average,
    /// The 95th percentile.
    P95,
    /// The longest.
    Max,
    /// The mean difference between neighbours.
    Jitter,
}

impl Measure {
    /// The number for `round`; `None` where too few of its pings were answered.
    pub fn of(self, round: &Round) -> Option<Rtt> {
        match self {
            Self::Median => round.median(),
            Self::Average => round.mean(),
            Self::P95 => round.percentile(95.0),
            Self::Max => round.max(),
            Self::Jitter => round.jitter(),
        }
    }

    const ALL: [Self; 5] = [Self::Median, Self::Average, Self::P95, Self::Max, Self::Jitter];

    const fn name(self) -> &'static str {
        match self {
            Self::Median => "median",
            Self::Average => "average",
            Self::P95 => "p95",
            Self::Max => "max",
            Self::Jitter => "jitter",
        }
    }
}

impl Comparison {
    /// The most times the usual that a number is compared with.
    pub const MOST_TIMES: f64 = 1000.0;

    /// Whether a `round` is a bad one, of which enough is known unless what is unknown is compared. `None` when its pings do
    /// not tell, as the jitter of a single answer, or nothing is usual yet; but no answer at all crosses every upper limit
    /// of latency.
    pub(in crate::alert) fn is_bad(&self, round: &Round, past: Past) -> Option<bool> {
        let (measure, op, limit) = match *self {
            Self::Loss { op, percent } => return Some(op.holds(loss_percent(round), percent)),
            Self::Unknown { op, percent } => return Some(op.holds(unknown_percent(round)?, percent)),
            Self::Latency { measure, op, limit } => (measure, op, limit.as_secs_f64()),
            Self::Usual { measure, op, times } => (measure, op, past.usual?.as_secs_f64() * times),
        };
        match measure.of(round) {
            Some(measured) => Some(op.holds(measured.as_secs_f64(), limit)),
            None => round.is_down().then_some(matches!(op, Op::Greater | Op::GreaterOrEqual)),
        }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latency { measure, op, limit } => {
                write!(f, "{} {op} {}", measure.name(), Spelled(limit.duration()))
            }
            Self::Loss { op, percent } => write!(f, "{LOSS} {op} {percent}%"),
            Self::Unknown { op, percent } => write!(f, "{UNKNOWN} {op} {percent}%"),
            Self::Usual { measure, op, times } => write!(f, "{} {op} {times} x {USUAL}", measure.name()),
        }
    }
}

/// Why a text is no comparison.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ComparisonError {
    /// It does not begin with a measure.
    #[error(
        "'{0}' is no condition: it begins with none of median, average, p95, max, jitter, loss, unknown, aberrant"
    )]
    Measure(String),
    /// The forecast is compared with something.
    #[error("'{0}' compares aberrant, which stands alone: write aberrant and nothing else")]
    Alone(String),
    /// No operator follows the measure.
    #[error("'{0}' is no condition: write one of > >= < <= behind the measure")]
    Op(String),
    /// A latency is compared with a bare number.
    #[error("'{0}' has no unit: write ms or s behind the number")]
    NoUnit(String),
    /// A latency is compared with something else than a time.
    #[error("'{text}' compares a time with something else: {error}")]
    NoTime {
        /// The whole text.
        text: String,
        /// What is wrong with the time.
        error: DurationError,
    },
    /// A latency is compared with a word that means nothing.
    #[error(
        "'{text}' compares with '{word}': write a time, as 100ms, or how many times the usual, as 3 x usual"
    )]
    Word {
        /// The whole text.
        text: String,
        /// The word.
        word: String,
    },
    /// A share is compared with a bare number.
    #[error("'{text}' has no percent sign: {measure} is compared with a share, as {measure} >= 20%")]
    NoPercentSign {
        /// The whole text.
        text: String,
        /// Of what: `loss`.
        measure: &'static str,
    },
    /// A share is compared with something else.
    #[error("'{text}' compares {measure} with something else than a share of 0% to 100%")]
    NoShare {
        /// The whole text.
        text: String,
        /// Of what: `loss`.
        measure: &'static str,
    },
    /// A share over 100%.
    #[error("'{text}' is never true: for {all} write {measure} >= 100%")]
    Never {
        /// The whole text.
        text: String,
        /// Of what: `loss`.
        measure: &'static str,
        /// What may have been meant: `no reply at all`.
        all: &'static str,
    },
    /// A comparison with the past that is not written as one.
    #[error("'{text}' compares with the past in another way: write how many times, up to {max}, as median > 3 x usual", max = Comparison::MOST_TIMES)]
    Times {
        /// The whole text.
        text: String,
    },
    /// A comparison with the past of what is mostly nothing, or not kept.
    #[error("'{text}' compares {what}: only median, average, p95 and max are compared with the usual median")]
    NothingUsual {
        /// The whole text.
        text: String,
        /// What with what.
        what: &'static str,
    },
}

impl ComparisonError {
    /// The word that means nothing where it stands, and those that would: somebody may have meant one of them.
    pub fn unknown_word(&self) -> Option<(&str, Vec<&'static str>)> {
        match self {
            Self::Measure(text) => {
                let words = Measure::ALL.into_iter().map(Measure::name).chain([LOSS, UNKNOWN, ABERRANT]);
                Some((split_name(text).0, words.collect()))
            }
            Self::Word { word, .. } => Some((word, vec![USUAL])),
            Self::NoTime { error: DurationError::UnknownUnit { unit, .. }, .. } => Some((unit, vec![USUAL])),
            _ => None,
        }
    }
}

/// What is compared.
enum Compared {
    Times(Measure),
    /// The share of pings of this kind: `loss`.
    Share(&'static str),
}

impl FromStr for Comparison {
    type Err = ComparisonError;

    fn from_str(text: &str) -> Result<Self, ComparisonError> {
        let (name, rest) = split_name(text);
        let compared = match Measure::ALL.into_iter().find(|measure| measure.name() == name) {
            None if name == ABERRANT => return Err(ComparisonError::Alone(text.to_owned())),
            None => match [LOSS, UNKNOWN].into_iter().find(|share| *share == name) {
                Some(share) => Compared::Share(share),
                None => return Err(ComparisonError::Measure(text.to_owned())),
            },
            Some(measure) => Compared::Times(measure),
        };
        let (op, limit) = match Op::split_from(rest.trim_start()) {
            Some((op @ (Op::Greater | Op::GreaterOrEqual | Op::Less | Op::LessOrEqual), limit)) => {
                (op, limit.trim())
            }
            Some((Op::Equal | Op::NotEqual, _)) | None => return Err(ComparisonError::Op(text.to_owned())),
        };
        if let Some(times) = limit.strip_suffix(USUAL) {
            return against_the_usual(text, compared, op, times);
        }
        match compared {
            Compared::Times(measure) => {
                let limit = parse_duration(limit, None).map_err(|error| match error {
                    DurationError::NoUnit(_) => ComparisonError::NoUnit(text.to_owned()),
                    error => match word_of_the_past(limit) {
                        Some(word) => ComparisonError::Word { text: text.to_owned(), word: word.to_owned() },
                        None if limit.contains(USUAL) => ComparisonError::Times { text: text.to_owned() },
                        None => ComparisonError::NoTime { text: text.to_owned(), error },
                    },
                })?;
                Ok(Self::Latency { measure, op, limit: Rtt::new(limit) })
            }
            Compared::Share(share) => {
                let percent = parse_share(text, share, op, limit)?;
                Ok(if share == LOSS { Self::Loss { op, percent } } else { Self::Unknown { op, percent } })
            }
        }
    }
}

/// The word that a condition begins with, and what is behind it.
fn split_name(text: &str) -> (&str, &str) {
    let trimmed = text.trim();
    trimmed.split_at(trimmed.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(trimmed.len()))
}

/// The word that stands where the word for the usual may: alone, or behind a number and a sign for times.
fn word_of_the_past(limit: &str) -> Option<&str> {
    let behind = limit.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let word = if behind.len() == limit.len() {
        limit
    } else {
        behind.trim_start().strip_prefix(TIMES)?.trim_start()
    };
    (!word.is_empty() && word.chars().all(char::is_alphabetic)).then_some(word)
}

/// Reads what stands before the word for the usual: `3 x `.
fn against_the_usual(
    text: &str,
    compared: Compared,
    op: Op,
    times: &str,
) -> Result<Comparison, ComparisonError> {
    let nothing = |what| ComparisonError::NothingUsual { text: text.to_owned(), what };
    let measure = match compared {
        Compared::Times(Measure::Jitter) => return Err(nothing("jitter with a latency")),
        Compared::Share(LOSS) => return Err(nothing("loss with a latency")),
        Compared::Share(_) => return Err(nothing("a share of pings with a latency")),
        Compared::Times(measure) => measure,
    };
    let wrong = || ComparisonError::Times { text: text.to_owned() };
    let number = times.trim_end().strip_suffix(TIMES).ok_or_else(wrong)?.trim();
    let is_plain = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    match number.parse::<f64>() {
        Ok(times) if is_plain && times > 0.0 && times <= Comparison::MOST_TIMES => {
            Ok(Comparison::Usual { measure, op, times })
        }
        Ok(_) | Err(_) => Err(wrong()),
    }
}

fn parse_share(text: &str, measure: &'static str, op: Op, limit: &str) -> Result<f64, ComparisonError> {
    let text = || text.to_owned();
    let no_share = || ComparisonError::NoShare { text: text(), measure };
    let Some(number) = limit.strip_suffix('%') else {
        let is_bare = limit.parse::<f64>().is_ok();
        return Err(if is_bare {
            ComparisonError::NoPercentSign { text: text(), measure }
        } else {
            no_share()
        });
    };
    match number.trim_end().parse() {
        Ok(100.0) if op == Op::Greater => {
            let all = if measure == LOSS { "no reply at all" } else { "nothing known at all" };
            Err(ComparisonError::Never { text: text(), measure, all })
        }
        Ok(percent @ 0.0..=100.0) => Ok(percent),
        Ok(_) | Err(_) => Err(no_share()),
    }
}

/// The share of unknown pings, in percent, among those that our own side should have measured. Those before the start of
/// the monitor, and those that our own uplink took, have words of their own; where these leave less than a quarter, the
/// round does not tell.
fn unknown_percent(round: &Round) -> Option<f64> {
    let is_told = |ping: &&Ping| matches!(ping, Ping::Unknown(Fault::NotRunning | Fault::Offline));
    let pings = round.pings().len();
    let judged = pings - round.pings().iter().filter(is_told).count();
    let unknown = judged - round.known();
    (judged > 0 && judged * 4 >= pings).then(|| unknown as f64 * 100.0 / judged as f64)
}

const LOSS: &str = "loss";
const UNKNOWN: &str = "unknown";
const USUAL: &str = "usual";
/// The signs for how many times the usual.
const TIMES: [char; 3] = ['x', '×', '*'];
