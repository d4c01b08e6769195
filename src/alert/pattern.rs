//! SmokePing's pattern language: what the newest rounds look like, in the meaning that its manual gives.
//!
//! ```text
//! pattern := element { "," element }                    blanks around commas are allowed; the last element is the newest
//! element := op value [op2 number] | "*" N "*"           N rounds or fewer, whatever they are
//! op      := == != < > <= >=      op2 := < > <= >=       value := number | "U" | "S" | "*"
//! ```
//! Numbers are percents with their sign where the pattern is of loss, milliseconds of the median where it is of round
//! trip times. `U` is a median that is unknown because no ping was answered, `S` the start of the monitor: the value
//! before the first round.

use std::fmt;

/// A way to compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `>`
    Greater,
    /// `<=`
    LessOrEqual,
    /// `>=`
    GreaterOrEqual,
}

impl Op {
    const ALL: [(&'static str, Self); 6] = [
        ("==", Self::Equal),
        ("!=", Self::NotEqual),
        // The longer ones first, or `<=` would be read as `<`.
        ("<=", Self::LessOrEqual),
        (">=", Self::GreaterOrEqual),
        ("<", Self::Less),
        (">", Self::Greater),
    ];

    /// The operator at the beginning of `text`, and what follows it.
    pub(super) fn split_from(text: &str) -> Option<(Self, &str)> {
        Self::ALL.iter().find_map(|(sign, op)| Some((*op, text.strip_prefix(sign)?)))
    }

    /// Whether `left` stands so to `right`.
    pub(super) fn holds<T: PartialOrd>(self, left: T, right: T) -> bool {
        match self {
            Self::Equal => left == right,
            Self::NotEqual => left != right,
            Self::Less => left < right,
            Self::Greater => left > right,
            Self::LessOrEqual => left <= right,
            Self::GreaterOrEqual => left >= right,
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = Self::ALL.iter().find(|(_, op)| op == self).map_or("", |(sign, _)| sign);
        f.write_str(sign)
    }
}

/// What a pattern looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatternKind {
    /// The share of lost pings, in percent: `type = "loss"`.
    Loss,
    /// The median round trip, in milliseconds: `type = "rtt"`.
    Rtt,
}

/// A pattern that was read. It is shown as it was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Pattern {
    kind: PatternKind,
    text: String,
    elements: Vec<Element>,
    /// The most values it can reach over.
    span: usize,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Element {
    /// `==*`
    Anything,
    /// `==U`, or `!=U` with `false`
    Unknown(bool),
    /// `==S`
    Start,
    /// `>45%`, or `>45%<=55%`
    Number { first: (Op, f64), second: Option<(Op, f64)> },
    /// `*12*`
    Gap(usize),
}

/// Why a text is no pattern. `position` counts the elements from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// No operator where an element begins.
    #[error(
        "element {position}, '{element}': write an operator (== != < > <= >=) and a value, or a gap as *5*"
    )]
    Form {
        /// Which element.
        position: usize,
        /// Its text.
        element: String,
    },
    /// What should be a number is none.
    #[error("element {position}, '{element}': '{number}' is no number")]
    Number {
        /// Which element.
        position: usize,
        /// Its text.
        element: String,
        /// What stands in the number's place.
        number: String,
    },
    /// Loss without its sign.
    #[error("element {position}, '{element}': loss is counted in percent: write a % behind each number")]
    NoPercentSign {
        /// Which element.
        position: usize,
        /// Its text.
        element: String,
    },
    /// Loss over 100%.
    #[error("element {position}, '{element}': loss is never over 100%")]
    OverHundred {
        /// Which element.
        position: usize,
        /// Its text.
        element: String,
    },
    /// A marker with an operator that says nothing about it.
    #[error("element {position}, '{element}': U goes with == and !=, S and * with == only")]
    Marker {
        /// Which element.
        position: usize,
        /// Its text.
        element: String,
    },
    /// Loss that is unknown.
    #[error("element {position}, '{element}': loss is never unknown; for no reply at all write ==100%")]
    LossUnknown {
        /// Which element.
        position: usize,
        /// Its text.
        element: String,
    },
    /// A gap whose length is no whole number from 1.
    #[error("element {position}, '{element}': a gap is written *N*, N from 1 to {max}", max = Pattern::MAX_SPAN)]
    Gap {
        /// Which element.
        position: usize,
        /// Its text.
        element: String,
    },
    /// Elements and gaps together reach too far back.
    #[error(
        "element {position}, '{element}': from here on the pattern is longer than {max} rounds",
        max = Pattern::MAX_SPAN
    )]
    TooLong {
        /// Which element.
        position: usize,
        /// Its text.
        element: String,
    },
    /// Nothing but gaps: it would always match.
    #[error("the pattern compares nothing: '{0}'")]
    NoComparison(String),
}

impl Pattern {
    /// The most rounds that a pattern may reach over, its gaps included.
    pub const MAX_SPAN: usize = 1000;

    /// Reads `text` as a pattern of `kind`.
    pub fn parse(kind: PatternKind, text: &str) -> Result<Self, PatternError> {
        let mut elements = Vec::new();
        let mut span = 0usize;
        for (element, position) in text.split(',').map(str::trim).zip(1..) {
            let reader = Reader { kind, position, element };
            let read = reader.read()?;
            span += read.most_values();
            if span > Self::MAX_SPAN {
                return Err(PatternError::TooLong { position, element: reader.element() });
            }
            elements.push(read);
        }
        if elements.iter().all(|element| matches!(element, Element::Gap(_))) {
            return Err(PatternError::NoComparison(text.to_owned()));
        }
        Ok(Self { kind, text: text.trim().to_owned(), elements, span })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Element {
    fn most_values(self) -> usize {
        match self {
            Self::Gap(most) => most,
            Self::Anything | Self::Unknown(_) | Self::Start | Self::Number { .. } => 1,
        }
    }
}

/// One element on its way from text to meaning.
struct Reader<'a> {
    kind: PatternKind,
    position: usize,
    element: &'a str,
}

impl<'a> Reader<'a> {
    fn element(&self) -> String {
        self.element.to_owned()
    }

    fn read(&self) -> Result<Element, PatternError> {
        let (position, element) = (self.position, || self.element());
        if let Some(gap) = self.element.strip_prefix('*') {
            return self.gap(gap);
        }
        let Some((op, value)) = Op::split_from(self.element) else {
            return Err(PatternError::Form { position, element: element() });
        };
        match (value, op) {
            ("*", Op::Equal) => Ok(Element::Anything),
            ("S", Op::Equal) => Ok(Element::Start),
            ("U", Op::Equal) if self.kind == PatternKind::Loss => {
                Err(PatternError::LossUnknown { position, element: element() })
            }
            ("U", Op::Equal) => Ok(Element::Unknown(true)),
            ("U", Op::NotEqual) => Ok(Element::Unknown(false)),
            ("*" | "S" | "U", _) => Err(PatternError::Marker { position, element: element() }),
            (value, op) => self.comparison(op, value),
        }
    }

    fn gap(&self, rest: &str) -> Result<Element, PatternError> {
        let error = || PatternError::Gap { position: self.position, element: self.element() };
        let digits = rest.strip_suffix('*').ok_or_else(error)?;
        if digits.starts_with('0') || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(error());
        }
        digits.parse().ok().filter(|most| *most <= Pattern::MAX_SPAN).map(Element::Gap).ok_or_else(error)
    }

    fn comparison(&self, op: Op, rest: &str) -> Result<Element, PatternError> {
        let (value, rest) = self.number(rest)?;
        let first = (op, value);
        if rest.is_empty() {
            return Ok(Element::Number { first, second: None });
        }
        let form = || PatternError::Form { position: self.position, element: self.element() };
        let (op, rest) = match Op::split_from(rest) {
            Some((Op::Equal | Op::NotEqual, _)) | None => return Err(form()),
            Some(split) => split,
        };
        match self.number(rest)? {
            (value, "") => Ok(Element::Number { first, second: Some((op, value)) }),
            _ => Err(form()),
        }
    }

    /// The number at the beginning of `text` with the sign that belongs to it, and what follows.
    fn number<'t>(&self, text: &'t str) -> Result<(f64, &'t str), PatternError> {
        let (position, element) = (self.position, || self.element());
        let digits_end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (digits, rest) = text.split_at(digits_end);
        let Ok(value) = digits.parse() else {
            let end = text.find(['<', '>', '=', '!']).unwrap_or(text.len());
            let number = text[..end].to_owned();
            return Err(PatternError::Number { position, element: element(), number });
        };
        match (self.kind, rest.strip_prefix('%')) {
            (PatternKind::Loss, None) => Err(PatternError::NoPercentSign { position, element: element() }),
            (PatternKind::Loss, Some(_)) if value > 100.0 => {
                Err(PatternError::OverHundred { position, element: element() })
            }
            // SmokePing takes a stray percent sign behind milliseconds, so its files have some.
            (_, Some(rest)) => Ok((value, rest)),
            (PatternKind::Rtt, None) => Ok((value, rest)),
        }
    }
}
