//! SmokePing's pattern language: what the newest rounds look like, in the meaning that its manual gives.
//!
//! ```text
//! pattern := element { "," element }                    blanks around commas are allowed; the last element is the newest
//! element := op value [op2 number] | "*" N "*"           N rounds or fewer, whatever they are
//! op      := == != < > <= >=      op2 := < > <= >=       value := number | "U" | "S" | "*"
//! ```
//! A gap means what the manual says, or what the program does: [`Semantics`]. Numbers are percents with their sign where the pattern is of loss, milliseconds of the median where it is of round
//! trip times. `U` is a median that is unknown because no ping was answered, `S` the start of the monitor: the value
//! before the first round.

mod exact;

use std::collections::VecDeque;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::round::Round;

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

/// What a gap `*N*` means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Semantics {
    /// N rounds or fewer, as SmokePing's manual has it.
    #[default]
    Manual,
    /// As SmokePing's program takes it, which misses many of these; see `exact`.
    SmokePingExact,
}

/// A pattern that was read. It is shown as it was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Pattern {
    kind: PatternKind,
    semantics: Semantics,
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

    /// What it looks at.
    pub fn kind(&self) -> PatternKind {
        self.kind
    }

    /// What its gaps mean.
    pub fn semantics(&self) -> Semantics {
        self.semantics
    }

    /// Reads `text` as a pattern of `kind`.
    pub fn parse(kind: PatternKind, semantics: Semantics, text: &str) -> Result<Self, PatternError> {
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
        Ok(Self { kind, semantics, text: text.trim().to_owned(), elements, span })
    }
}

/// The newest values of one target that a pattern needs, and the search in them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Values {
    /// Oldest first, never more than the pattern can reach over.
    values: VecDeque<Value>,
    /// See [`Values::matches`]; kept so that a round allocates nothing.
    #[serde(skip)]
    reached: Vec<usize>,
    #[serde(skip)]
    widened: Vec<usize>,
}

/// What a pattern sees of a round.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Value {
    /// The monitor started.
    Start,
    /// No ping was answered, so there is no median.
    Unknown,
    /// Percent or milliseconds.
    Number(f64),
}

impl Values {
    /// What there is to know before the first round.
    pub(super) fn new() -> Self {
        Self { values: VecDeque::from([Value::Start]), reached: Vec::new(), widened: Vec::new() }
    }

    /// Whether it can be what came before a round that `pattern` is to look at.
    pub(super) fn fits(&self, pattern: &Pattern) -> bool {
        self.values.len() <= pattern.span
    }

    /// Takes in a known `round`; true when the newest values match `pattern`, which must be the same every time.
    pub(super) fn matches_after(&mut self, pattern: &Pattern, round: &Round) -> bool {
        self.push(pattern, pattern.kind.value(round));
        match pattern.semantics {
            Semantics::Manual => self.matches(pattern),
            Semantics::SmokePingExact => exact::matches(&pattern.elements, pattern.span, &self.values),
        }
    }

    fn push(&mut self, pattern: &Pattern, value: Value) {
        if self.values.len() >= pattern.span {
            self.values.pop_front();
        }
        self.values.push_back(value);
    }

    /// Walks from the newest element and value to the oldest. `reached` holds, ascending, every count of values that
    /// the elements so far can have taken, so no choice of a gap's length is ever taken back, and the work is bounded
    /// by elements x values.
    fn matches(&mut self, pattern: &Pattern) -> bool {
        let Self { values, reached, widened } = self;
        reached.clear();
        reached.push(0);
        for element in pattern.elements.iter().rev() {
            if let Element::Gap(most) = element {
                widened.clear();
                for taken in reached.iter() {
                    let from = widened.last().map_or(*taken, |last| (last + 1).max(*taken));
                    widened.extend(from..=(taken + most).min(values.len()));
                }
                std::mem::swap(reached, widened);
            } else {
                reached.retain_mut(|taken| {
                    *taken += 1;
                    values.len().checked_sub(*taken).is_some_and(|oldest| element.holds(values[oldest]))
                });
            }
        }
        !reached.is_empty()
    }
}

impl PatternKind {
    fn value(self, round: &Round) -> Value {
        match self {
            Self::Loss => Value::Number(loss_percent(round)),
            Self::Rtt => {
                round.median().map_or(Value::Unknown, |median| Value::Number(median.as_millis_f64()))
            }
        }
    }
}

/// The share of lost pings among the known ones, in percent. One division, so that it equals a limit of the settings
/// wherever it should: 7 of 50 are 14, but 0.14 x 100 is a little more.
pub(super) fn loss_percent(round: &Round) -> f64 {
    round.lost() as f64 * 100.0 / round.known() as f64
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Element {
    /// The length of a gap; `None` for a comparison.
    fn gap(self) -> Option<usize> {
        if let Self::Gap(most) = self { Some(most) } else { None }
    }

    fn most_values(self) -> usize {
        match self {
            Self::Gap(most) => most,
            Self::Anything | Self::Unknown(_) | Self::Start | Self::Number { .. } => 1,
        }
    }

    /// Whether one value is what this element says. A gap says nothing of single values.
    fn holds(self, value: Value) -> bool {
        match (self, value) {
            (Self::Anything | Self::Gap(_), _) => true,
            (Self::Unknown(wanted), value) => (value == Value::Unknown) == wanted,
            (Self::Start, value) => value == Value::Start,
            (Self::Number { first, second }, Value::Number(number)) => {
                let holds = |(op, limit): (Op, f64)| op.holds(number, limit);
                holds(first) && second.is_none_or(holds)
            }
            (Self::Number { .. }, Value::Start | Value::Unknown) => false,
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(kind: PatternKind, text: &str) -> Pattern {
        Pattern::parse(kind, Semantics::Manual, text).unwrap()
    }

    /// `S`, `U` and numbers, oldest first, between blanks.
    fn values(series: &str) -> Vec<Value> {
        let value = |word| match word {
            "S" => Value::Start,
            "U" => Value::Unknown,
            number => Value::Number(number.parse().unwrap()),
        };
        series.split_whitespace().map(value).collect()
    }

    fn matches(pattern: &Pattern, values: &[Value]) -> bool {
        let mut past = Values { values: VecDeque::new(), ..Values::new() };
        for value in values {
            past.push(pattern, *value);
            assert!(past.values.len() <= pattern.span);
        }
        let matches = past.matches(pattern);
        assert!(past.reached.len() <= past.values.len() + 1, "each count once, or gaps multiply the work");
        matches
    }

    /// A series of `gap` rounds without loss between two with.
    fn two_losses(gap: usize) -> Vec<Value> {
        let zeros = vec![Value::Number(0.0); gap];
        [values("S 20"), zeros, values("20")].concat()
    }

    #[test]
    fn elements_are_compared_from_the_newest_value_back() {
        for (text, series, expected) in [
            (">10%,>20%", "15 25", true),
            (">10%,>20%", "25 15", false),
            (">10%,>20%", "0 0 15 25", true),
            (">10%,>20%", "15 25 0", false),
            (">10%,>20%", "25", false),
            ("==0%, ==0% ,>20%", "0 0 21", true),
            ("==0%,==0%,>20%", "0 0 20", false),
            (">45%<=55%", "55", true),
            (">45%<=55%", "45", false),
            ("!=0%", "0", false),
            ("!=0%", "5", true),
            (">=12.5%", "12.5", true),
            ("==S,>0%", "S 5", true),
            ("==S,>0%", "S 0", false),
            ("==S,>0%", "5 5", false),
            ("==*,>0%", "S 5", true),
            ("==*,>0%", "5", false),
            ("!=U,>0%", "S 5", true),
            ("<10%", "S", false),
            ("!=10%", "S", false),
        ] {
            assert_eq!(
                matches(&read(PatternKind::Loss, text), &values(series)),
                expected,
                "{text} on {series}"
            );
        }
    }

    #[test]
    fn a_median_is_compared_in_milliseconds_and_unknown_without_an_answer() {
        for (text, series, expected) in [
            ("<10,<10,<10,<10,<10,<100,>100,>100,>100", "9 9 9 9 9 50 101 300 101", true),
            ("<10,<10,<10,<10,<10,<100,>100,>100,>100", "9 9 9 9 9 50 101 U 101", false),
            ("==S,==U", "S U", true),
            ("==U,==U", "U 5", false),
            ("!=U", "U", false),
            ("!=U", "0.3", true),
            (">0", "U", false),
            ("!=5", "U", false),
            (">0.25%", "0.3", true),
        ] {
            assert_eq!(
                matches(&read(PatternKind::Rtt, text), &values(series)),
                expected,
                "{text} on {series}"
            );
        }
    }

    /// SmokePing's manual says that up to N values may lie between. Its program allows fewer (5, 6 and 2 of these
    /// three), and none where the past is as short as the comparisons; users who trust the manual miss alerts by that.
    #[test]
    fn a_gap_is_as_long_as_the_manual_says() {
        for (text, most) in [(">10%,*10*,>10%", 10), (">10%,*12*,>10%", 12), (">10%,*3*,>10%", 3)] {
            let pattern = read(PatternKind::Loss, text);
            for gap in 0..=most {
                assert!(matches(&pattern, &two_losses(gap)), "{text} with {gap} between");
            }
            assert!(!matches(&pattern, &two_losses(most + 1)), "{text} with {} between", most + 1);
            assert!(matches(&pattern, &values("20 20")), "{text} on two values alone");
        }
        let twice = read(PatternKind::Loss, ">0%,*12*,>0%,*12*,>0%");
        for (older, newer, expected) in
            [(12, 12, true), (0, 12, true), (12, 0, true), (13, 0, false), (0, 13, false)]
        {
            let series = [two_losses(older), two_losses(newer).split_off(2)].concat();
            assert_eq!(matches(&twice, &series), expected, "{older} and {newer} between");
        }
    }

    #[test]
    fn the_length_of_a_gap_is_taken_back_where_another_one_fits() {
        // The nearest 30 leads nowhere; the one before it does.
        let pattern = read(PatternKind::Loss, "==20%,>20%,*3*,==5%");
        assert!(matches(&pattern, &values("20 30 30 0 5")), "20, 30, two between, 5");
        assert!(!matches(&pattern, &values("20 0 30 30 5")));
    }

    #[test]
    fn the_past_is_no_longer_than_the_pattern() {
        assert_eq!(read(PatternKind::Loss, ">0%,*12*,>0%,*12*,>0%").span, 27);
        assert_eq!(
            read(PatternKind::Loss, &format!("*{}*,>0%", Pattern::MAX_SPAN - 1)).span,
            Pattern::MAX_SPAN
        );
    }

    #[test]
    fn a_wrong_pattern_names_the_element() {
        let error = |kind, text: &str| Pattern::parse(kind, Semantics::Manual, text).unwrap_err().to_string();
        let loss = |text| error(PatternKind::Loss, text);
        let rtt = |text| error(PatternKind::Rtt, text);
        let form = "write an operator (== != < > <= >=) and a value, or a gap as *5*";
        for (found, expected) in [
            (loss(">10%,>20"), "element 2, '>20': loss is counted in percent: write a % behind each number"),
            (
                loss(">10%<20"),
                "element 1, '>10%<20': loss is counted in percent: write a % behind each number",
            ),
            (loss(">10%,,>5%"), &format!("element 2, '': {form}")),
            (loss(""), &format!("element 1, '': {form}")),
            (loss(">10%,10%"), &format!("element 2, '10%': {form}")),
            (loss(">10%=20%"), &format!("element 1, '>10%=20%': {form}")),
            (loss(">10%<20%<30%"), &format!("element 1, '>10%<20%<30%': {form}")),
            (loss(">10% or so"), &format!("element 1, '>10% or so': {form}")),
            (loss(">ten%"), "element 1, '>ten%': 'ten%' is no number"),
            (loss(">1.2.3%"), "element 1, '>1.2.3%': '1.2.3%' is no number"),
            (loss("> 5%"), "element 1, '> 5%': ' 5%' is no number"),
            (loss(">10%<"), "element 1, '>10%<': '' is no number"),
            (loss(">101%"), "element 1, '>101%': loss is never over 100%"),
            (loss("==0%,==U"), "element 2, '==U': loss is never unknown; for no reply at all write ==100%"),
            (loss(">S"), "element 1, '>S': U goes with == and !=, S and * with == only"),
            (loss("!=S"), "element 1, '!=S': U goes with == and !=, S and * with == only"),
            (rtt("<U"), "element 1, '<U': U goes with == and !=, S and * with == only"),
            (rtt("!=*"), "element 1, '!=*': U goes with == and !=, S and * with == only"),
            (rtt(">5,*0*,>5"), "element 2, '*0*': a gap is written *N*, N from 1 to 1000"),
            (rtt(">5,*03*,>5"), "element 2, '*03*': a gap is written *N*, N from 1 to 1000"),
            (rtt(">5,**,>5"), "element 2, '**': a gap is written *N*, N from 1 to 1000"),
            (rtt(">5,*3,>5"), "element 2, '*3': a gap is written *N*, N from 1 to 1000"),
            (
                rtt("*99999999999999999999*,>5"),
                "element 1, '*99999999999999999999*': a gap is written *N*, N from 1 to 1000",
            ),
            (
                rtt("*600*,>5,*400*"),
                "element 3, '*400*': from here on the pattern is longer than 1000 rounds",
            ),
            (rtt("*5*,*6*"), "the pattern compares nothing: '*5*,*6*'"),
        ] {
            assert_eq!(found, expected);
        }
    }

    /// The definition, tried choice by choice.
    fn naive(elements: &[Element], values: &[Value]) -> bool {
        match elements.split_last() {
            None => true,
            Some((Element::Gap(most), older)) => {
                (0..=*most.min(&values.len())).any(|skipped| naive(older, &values[..values.len() - skipped]))
            }
            Some((element, older)) => values
                .split_last()
                .is_some_and(|(newest, before)| element.holds(*newest) && naive(older, before)),
        }
    }

    fn elements() -> impl Strategy<Value = String> {
        let one = prop_oneof![
            3 => (prop::sample::select(vec!["==", "!=", "<", ">", "<=", ">="]), 0..4u8)
                .prop_map(|(op, value)| format!("{op}{value}")),
            2 => (1..5u8).prop_map(|most| format!("*{most}*")),
            1 => prop::sample::select(vec!["==U", "!=U", "==S", "==*", ">0<3"]).prop_map(str::to_owned),
        ];
        prop::collection::vec(one, 1..7).prop_map(|elements| elements.join(","))
    }

    fn series() -> impl Strategy<Value = Vec<Value>> {
        let value = prop_oneof![
            5 => (0..4u8).prop_map(|number| Value::Number(number.into())),
            1 => Just(Value::Unknown),
        ];
        prop::collection::vec(value, 0..25).prop_map(|values| [vec![Value::Start], values].concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn the_search_agrees_with_the_definition(text in elements(), values in series()) {
            // Nothing but gaps is refused.
            if let Ok(pattern) = Pattern::parse(PatternKind::Rtt, Semantics::Manual, &text) {
                prop_assert_eq!(matches(&pattern, &values), naive(&pattern.elements, &values));
            }
        }

        #[test]
        fn any_text_is_read_or_refused(text in r"([=!<>]{0,2}[0-9.US*%]{0,6}[=!<>]{0,2}[0-9%*]{0,4},? ?|\PC){0,8}") {
            for kind in [PatternKind::Loss, PatternKind::Rtt] {
                if let Ok(pattern) = Pattern::parse(kind, Semantics::Manual, &text) {
                    let shown = pattern.to_string();
                    prop_assert_eq!(Pattern::parse(kind, Semantics::Manual, &shown), Ok(pattern));
                }
            }
        }
    }
}
