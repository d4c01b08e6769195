//! The expressions of COMPUTE data sources, in reverse Polish notation: reading, printing, storing, evaluating. Pure
//! arithmetic on small values.

use std::fmt::{self, Write as _};

use crate::rrd::error::{ExpressionError, RpnError};
use crate::rrd::layout::{WORD, ds_def};
use crate::rrd::number::{UNKNOWN, number_prefix};

/// An expression over the data sources before its own; no longer than a file has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rpn {
    nodes: [Node; LONGEST],
    len: usize,
}

/// One step of an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Node {
    Number(i16),
    /// The value of a data source, by its index.
    Source(u16),
    Operator(Operator),
}

/// Steps of the longest expression; behind them there must be room for the end's mark.
const LONGEST: usize = 19;
/// A stored step: code, nothing, operand.
const NODE_LEN: usize = 4;
/// What the parameters of a data source have room for.
const ROOM: usize = 10 * WORD / NODE_LEN;

const NUMBER: u8 = 0;
const SOURCE: u8 = 1;
const END: u8 = 32;

/// Names that are operators elsewhere, in graphs, and mean nothing in a data source.
const UNSUPPORTED: [&str; 14] = [
    "TIME",
    "LTIME",
    "PREV",
    "COUNT",
    "TREND",
    "TRENDNAN",
    "PREDICT",
    "PREDICTSIGMA",
    "PREDICTPERC",
    "STEPWIDTH",
    "NEWDAY",
    "NEWWEEK",
    "NEWMONTH",
    "NEWYEAR",
];

macro_rules! operators {
    ($($code:literal $operator:ident $name:literal,)*) => {
        /// What a step does. The number is its code in files.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        enum Operator { $($operator = $code,)* }

        const OPERATORS: &[(Operator, &str)] = &[$((Operator::$operator, $name),)*];
    };
}

operators! {
    2 Inf "INF", 4 NegInf "NEGINF", 5 Unkn "UNKN", 6 Now "NOW",
    8 Add "+", 9 Mod "%", 10 Sub "-", 11 Mul "*", 12 Div "/",
    13 Sin "SIN", 14 Dup "DUP", 15 Exc "EXC", 16 Pop "POP", 17 Cos "COS", 18 Log "LOG", 19 Exp "EXP",
    20 Lt "LT", 21 Le "LE", 22 Gt "GT", 23 Ge "GE", 24 Eq "EQ", 25 If "IF", 26 Min "MIN", 27 Max "MAX",
    28 Limit "LIMIT", 29 Floor "FLOOR", 30 Ceil "CEIL", 31 Un "UN", 34 Ne "NE", 35 IsInf "ISINF",
    38 Atan "ATAN", 39 Sqrt "SQRT", 40 Sort "SORT", 41 Rev "REV", 44 Atan2 "ATAN2",
    45 Rad2Deg "RAD2DEG", 46 Deg2Rad "DEG2RAD", 49 Avg "AVG", 50 Abs "ABS",
    51 AddNan "ADDNAN", 52 MinNan "MINNAN", 53 MaxNan "MAXNAN", 54 Median "MEDIAN",
    56 Depth "DEPTH", 57 Copy "COPY", 58 Roll "ROLL", 59 Index "INDEX",
    65 SMin "SMIN", 66 SMax "SMAX", 67 Stdev "STDEV", 68 Percent "PERCENT", 69 Pow "POW",
}

impl Rpn {
    /// Reads `a,8,*`; `source` knows the index of a data source that is defined before this one. As in the original a
    /// number is one only where a comma follows it, and a last comma does no harm.
    pub(super) fn parse(text: &str, source: impl Fn(&str) -> Option<usize>) -> Result<Self, ExpressionError> {
        let mut nodes = Vec::new();
        let mut refused = None;
        let mut rest = text;
        loop {
            let (token, behind) = match rest.split_once(',') {
                Some((token, behind)) => (token, Some(behind)),
                None => (rest, None),
            };
            // What does not read as an expression is told first, then operators of graphs, then its length.
            match parse_token(token, behind.is_some(), &source) {
                Ok(node) => nodes.push(node),
                Err(ExpressionError::Syntax) => return Err(ExpressionError::Syntax),
                Err(error) => {
                    nodes.push(Node::Number(0));
                    if refused != Some(ExpressionError::Unsupported) {
                        refused = Some(error);
                    }
                }
            }
            match behind {
                None | Some("") => break,
                Some(behind) => rest = behind,
            }
        }
        if let Some(error) = refused
            && (error == ExpressionError::Unsupported || nodes.len() <= LONGEST)
        {
            return Err(error);
        }
        let mut rpn = Self { nodes: [Node::Number(0); LONGEST], len: nodes.len() };
        let room = rpn.nodes.get_mut(..nodes.len()).ok_or(ExpressionError::Long(nodes.len()))?;
        room.copy_from_slice(&nodes);
        Ok(rpn)
    }

    /// The expression in the parameters of data source `index`; `None` where there is none that could be evaluated.
    pub(super) fn read(parameters: &[u8], index: usize) -> Option<Self> {
        let mut rpn = Self { nodes: [Node::Number(0); LONGEST], len: 0 };
        for stored in parameters.chunks_exact(NODE_LEN).take(ROOM) {
            let operand = [stored[2], stored[3]];
            let node = match stored[0] {
                END => return Some(rpn),
                NUMBER => Node::Number(i16::from_le_bytes(operand)),
                SOURCE => Some(u16::from_le_bytes(operand))
                    .filter(|source| usize::from(*source) < index)
                    .map(Node::Source)?,
                code => {
                    let known = OPERATORS.iter().find(|(operator, _)| *operator as u8 == code)?;
                    Node::Operator(known.0)
                }
            };
            *rpn.nodes.get_mut(rpn.len)? = node;
            rpn.len += 1;
        }
        None
    }

    /// Stores it in the parameters of a data source.
    pub(super) fn write(&self, parameters: &mut [u8]) {
        let end = std::iter::once((END, [0; 2]));
        let stored = self.nodes().iter().map(|node| match *node {
            Node::Number(number) => (NUMBER, number.to_le_bytes()),
            Node::Source(source) => (SOURCE, source.to_le_bytes()),
            Node::Operator(operator) => (operator as u8, [0; 2]),
        });
        let room = parameters[..ds_def::LEN - ds_def::HEARTBEAT].chunks_exact_mut(NODE_LEN);
        for (room, (code, operand)) in room.zip(stored.chain(end)) {
            room.copy_from_slice(&[code, 0, operand[0], operand[1]]);
        }
    }

    /// The expression as text; `name` knows the name of a data source.
    pub(super) fn text<'a>(&self, name: impl Fn(usize) -> &'a str) -> String {
        let mut text = String::new();
        for (index, node) in self.nodes().iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            // Writing to a String does not fail.
            let _ = write!(text, "{comma}{}", Shown(node, &name));
        }
        text
    }

    /// The same expression where the data sources have other indexes; the index of one that is gone is the error.
    pub(super) fn with_sources(mut self, moved: impl Fn(usize) -> Option<usize>) -> Result<Self, usize> {
        for node in &mut self.nodes[..self.len] {
            if let Node::Source(source) = node {
                let old = usize::from(*source);
                *source = moved(old).and_then(|new| u16::try_from(new).ok()).ok_or(old)?;
            }
        }
        Ok(self)
    }

    /// The highest index of a data source in it.
    pub(super) fn last_source(&self) -> Option<usize> {
        let source =
            |node: &Node| if let Node::Source(source) = node { Some(usize::from(*source)) } else { None };
        self.nodes().iter().filter_map(source).max()
    }

    fn nodes(&self) -> &[Node] {
        &self.nodes[..self.len]
    }
}

fn parse_token(
    token: &str,
    comma_follows: bool,
    source: impl Fn(&str) -> Option<usize>,
) -> Result<Node, ExpressionError> {
    if comma_follows
        && !token.starts_with(|c: char| c.is_ascii_whitespace())
        && let Some((number, [])) = number_prefix(token.as_bytes())
    {
        let whole = number as i16;
        return if f64::from(whole) == number {
            Ok(Node::Number(whole))
        } else {
            Err(ExpressionError::Constant)
        };
    }
    if let Some((operator, _)) = OPERATORS.iter().find(|(_, name)| *name == token) {
        return Ok(Node::Operator(*operator));
    }
    // The original crashes at `PREV(name)`.
    if UNSUPPORTED.contains(&token) || token.starts_with("PREV(") {
        return Err(ExpressionError::Unsupported);
    }
    let index = source(token).and_then(|index| u16::try_from(index).ok());
    index.filter(|index| *index <= i16::MAX as u16).map(Node::Source).ok_or(ExpressionError::Syntax)
}

struct Shown<'a, N>(&'a Node, N);

impl<'a, N: Fn(usize) -> &'a str> fmt::Display for Shown<'_, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Node::Number(number) => write!(f, "{number}"),
            Node::Source(source) => f.write_str((self.1)(usize::from(*source))),
            Node::Operator(operator) => {
                let name = OPERATORS.iter().find(|(known, _)| known == operator).map(|(_, name)| *name);
                f.write_str(name.unwrap_or_default())
            }
        }
    }
}

/// The values that an expression works on; kept from one evaluation to the next for its memory.
#[derive(Debug, Default)]
pub(super) struct Stack(Vec<f64>);

impl Stack {
    /// The value of the expression where the data sources have these values.
    ///
    /// A NaN has no sign here: the original's `ABS` makes the one NaN in a file that has another.
    pub(super) fn evaluate(&mut self, rpn: &Rpn, sources: &[f64], now_secs: i64) -> Result<f64, RpnError> {
        self.0.clear();
        for node in rpn.nodes() {
            match *node {
                Node::Number(number) => self.0.push(f64::from(number)),
                // The check has seen that its index is lower than that of the expression.
                Node::Source(source) => {
                    self.0.push(sources.get(usize::from(source)).copied().unwrap_or(UNKNOWN))
                }
                Node::Operator(operator) => self.operate(operator, now_secs)?,
            }
        }
        match self.0[..] {
            [value] => Ok(value),
            _ => Err(RpnError::FinalSize),
        }
    }

    fn operate(&mut self, operator: Operator, now_secs: i64) -> Result<(), RpnError> {
        use Operator as Op;
        match operator {
            Op::Inf => self.0.push(f64::INFINITY),
            Op::NegInf => self.0.push(f64::NEG_INFINITY),
            Op::Unkn => self.0.push(UNKNOWN),
            Op::Now => self.0.push(now_secs as f64),
            Op::Depth => self.0.push(self.0.len() as f64),
            Op::Pop => drop(self.pop()?),
            Op::Dup => {
                let value = self.pop()?;
                self.0.extend([value, value]);
            }
            Op::Exc => {
                let [a, b] = self.take()?;
                self.0.extend([b, a]);
            }
            Op::If => {
                let [condition, then, otherwise] = self.take()?;
                // What is unknown is false.
                self.0.push(if condition.is_nan() || condition == 0.0 { otherwise } else { then });
            }
            Op::Limit => {
                let [value, min, max] = self.take()?;
                // An unknown limit lets nothing through.
                let holds = value >= min && value <= max;
                self.0.push(if holds { value } else { UNKNOWN });
            }
            Op::Sin
            | Op::Cos
            | Op::Log
            | Op::Exp
            | Op::Floor
            | Op::Ceil
            | Op::Un
            | Op::IsInf
            | Op::Atan
            | Op::Sqrt
            | Op::Rad2Deg
            | Op::Deg2Rad
            | Op::Abs => {
                let value = self.pop()?;
                self.0.push(unary(operator, value));
            }
            Op::Sort
            | Op::Rev
            | Op::Avg
            | Op::Median
            | Op::SMin
            | Op::SMax
            | Op::Stdev
            | Op::Percent
            | Op::Copy
            | Op::Roll
            | Op::Index => self.over_many(operator)?,
            _ => {
                let [a, b] = self.take()?;
                self.0.push(binary(operator, a, b));
            }
        }
        Ok(())
    }

    /// The operators whose last operand says how many others they have.
    fn over_many(&mut self, operator: Operator) -> Result<(), RpnError> {
        use Operator as Op;
        match operator {
            Op::Percent => {
                let count = self.pop()?;
                let percent = self.pop()?;
                if !(0.0..=100.0).contains(&percent) {
                    return Err(RpnError::Percent);
                }
                let value = percentile(self.top(count)?, percent);
                self.replace(count, value)
            }
            Op::Avg | Op::Median | Op::SMin | Op::SMax | Op::Stdev => {
                let count = self.pop()?;
                // The one operator that does not crash at a negative count takes it for none.
                let count = if operator == Op::Avg && count < 0.0 { 0.0 } else { count };
                let value = summary(operator, self.top(count)?);
                self.replace(count, value)
            }
            Op::Sort => {
                let count = self.pop()?;
                sort(self.top(count)?);
                Ok(())
            }
            Op::Rev => {
                let count = self.pop()?.max(0.0);
                self.top(count)?.reverse();
                Ok(())
            }
            Op::Copy => {
                let count = self.pop()?;
                let start = self.0.len() - self.top(count)?.len();
                self.0.extend_from_within(start..);
                Ok(())
            }
            Op::Index => {
                let index = self.pop()?;
                // Number 0 is the operand itself.
                let value = self.top(index)?.first().copied().unwrap_or(index);
                self.0.push(value);
                Ok(())
            }
            _ => self.roll(),
        }
    }

    /// As the original does it: what is rolled is the topmost value, then the two operands, then what was behind them,
    /// for which we take zeros; and not the values that were meant.
    fn roll(&mut self) -> Result<(), RpnError> {
        let [count, by] = self.take()?;
        if count < 0.0 {
            return Err(RpnError::OutOfMemory(count as i64));
        }
        let len = self.top(count)?.len();
        let Some(topmost) = self.0.last().copied().filter(|_| len > 0) else { return Ok(()) };
        let mut rolled = [topmost, count, by].to_vec();
        rolled.resize(len, 0.0);
        rolled.reverse();
        rolled.rotate_right((by as i32).rem_euclid(len as i32) as usize);
        self.0.truncate(self.0.len() - len);
        self.0.extend(rolled);
        Ok(())
    }

    fn pop(&mut self) -> Result<f64, RpnError> {
        self.0.pop().ok_or(RpnError::Underflow)
    }

    /// Takes the `N` topmost values off, the topmost last.
    fn take<const N: usize>(&mut self) -> Result<[f64; N], RpnError> {
        let start = self.0.len().checked_sub(N).ok_or(RpnError::Underflow)?;
        let taken = std::array::from_fn(|index| self.0[start + index]);
        self.0.truncate(start);
        Ok(taken)
    }

    /// The topmost values. A count of less than zero, or none, makes the original crash.
    fn top(&mut self, count: f64) -> Result<&mut [f64], RpnError> {
        let count = if count > -1.0 { count as usize } else { return Err(RpnError::Underflow) };
        let start = self.0.len().checked_sub(count).ok_or(RpnError::Underflow)?;
        Ok(&mut self.0[start..])
    }

    /// Puts `value` in the place of the topmost ones.
    fn replace(&mut self, count: f64, value: f64) -> Result<(), RpnError> {
        let start = self.0.len() - self.top(count)?.len();
        self.0.truncate(start);
        self.0.push(value);
        Ok(())
    }
}

fn unary(operator: Operator, value: f64) -> f64 {
    match operator {
        Operator::Sin => value.sin(),
        Operator::Cos => value.cos(),
        Operator::Log => value.ln(),
        Operator::Exp => value.exp(),
        Operator::Floor => value.floor(),
        Operator::Ceil => value.ceil(),
        Operator::Un => truth(value.is_nan()),
        Operator::IsInf => truth(value.is_infinite()),
        Operator::Atan => value.atan(),
        Operator::Sqrt => value.sqrt(),
        // The original's constants, which are no closer.
        Operator::Rad2Deg => 57.29577951 * value,
        Operator::Deg2Rad => 0.0174532952 * value,
        _ => value.abs(),
    }
}

fn binary(operator: Operator, a: f64, b: f64) -> f64 {
    let known = !a.is_nan() && !b.is_nan();
    let compared = |holds: bool| if known { truth(holds) } else { UNKNOWN };
    match operator {
        Operator::Add => a + b,
        Operator::Sub => a - b,
        Operator::Mul => a * b,
        Operator::Div => a / b,
        Operator::Mod => a % b,
        Operator::Pow => a.powf(b),
        Operator::Atan2 => a.atan2(b),
        Operator::Lt => compared(a < b),
        Operator::Le => compared(a <= b),
        Operator::Gt => compared(a > b),
        Operator::Ge => compared(a >= b),
        Operator::Eq => compared(a == b),
        Operator::Ne => compared(a != b),
        Operator::Min | Operator::Max if !known => UNKNOWN,
        _ if a.is_nan() => b,
        _ if b.is_nan() => a,
        Operator::AddNan => a + b,
        Operator::Min | Operator::MinNan => {
            if a < b {
                a
            } else {
                b
            }
        }
        _ => {
            if a > b {
                a
            } else {
                b
            }
        }
    }
}

/// What many values come to; those that are unknown do not count.
fn summary(operator: Operator, values: &[f64]) -> f64 {
    let known = || values.iter().copied().filter(|value| !value.is_nan());
    let count = known().count() as f64;
    if count == 0.0 {
        return UNKNOWN;
    }
    match operator {
        Operator::SMin => {
            known().rev().fold(f64::INFINITY, |least, value| if value < least { value } else { least })
        }
        Operator::SMax => {
            known().rev().fold(f64::NEG_INFINITY, |most, value| if value > most { value } else { most })
        }
        Operator::Median => {
            let mut known: Vec<f64> = known().collect();
            sort(&mut known);
            let middle = known.len() / 2;
            if known.len() % 2 == 1 { known[middle] } else { (known[middle - 1] + known[middle]) / 2.0 }
        }
        Operator::Stdev => {
            // By Welford's running mean, from the top down as everywhere in the original: it shows in the last bits.
            let (mut mean, mut squares) = (0.0, 0.0);
            for (before, value) in known().rev().enumerate() {
                let delta = value - mean;
                mean += delta / (before + 1) as f64;
                squares += delta * (value - mean);
            }
            if count < 2.0 { UNKNOWN } else { (squares / (count - 1.0)).sqrt() }
        }
        _ => known().rev().fold(0.0, |sum, value| sum + value) / count,
    }
}

/// The value below which so many percent lie, unknown ones too. At 0 percent the original reads what is none of them.
fn percentile(values: &mut [f64], percent: f64) -> f64 {
    sort(values);
    let rank = (percent * values.len() as f64 / 100.0).round() as usize;
    values.get(rank.saturating_sub(1)).copied().unwrap_or(UNKNOWN)
}

fn truth(holds: bool) -> f64 {
    if holds { 1.0 } else { 0.0 }
}

/// Sorts, unknown values first. The original's comparison takes infinity for less, and minus infinity for more, than a
/// number before it, so that what comes out depends on who is compared with whom: a merge sort of halves, the first of
/// which is the shorter.
fn sort(values: &mut [f64]) {
    if values.len() < 2 {
        return;
    }
    let (first, second) = values.split_at_mut(values.len() / 2);
    sort(first);
    sort(second);
    let (first, second) = (first.to_vec(), second.to_vec());
    let (mut first, mut second) = (first.iter().peekable(), second.iter().peekable());
    for place in values {
        let next = match (first.peek(), second.peek()) {
            (Some(a), Some(b)) if is_behind(**a, **b) => second.next(),
            (Some(_), _) => first.next(),
            (None, _) => second.next(),
        };
        *place = next.copied().unwrap_or(*place);
    }
}

fn is_behind(a: f64, b: f64) -> bool {
    if a.is_nan() || b.is_nan() {
        return !a.is_nan();
    }
    if a.is_infinite() || b.is_finite() { a > b || a == f64::INFINITY } else { b > 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rpn(text: &str) -> Result<Rpn, ExpressionError> {
        Rpn::parse(text, |name| ["a", "b"].iter().position(|known| *known == name))
    }

    fn value(text: &str) -> Result<f64, RpnError> {
        Stack::default().evaluate(&rpn(text).unwrap(), &[3.5, UNKNOWN], 1_700_000_000)
    }

    /// What rrdtool 1.7.2 stored for these, with a = 3.5 and b unknown.
    #[test]
    fn values_are_those_of_rrdtool() {
        let known = [
            ("a,2,*", 7.0),
            ("a,2,%", 1.5),
            ("-5,3,%", -2.0),
            ("b,1,2,IF", 2.0),
            ("INF,1,2,IF", 1.0),
            ("a,b,ADDNAN", 3.5),
            ("b,a,MAXNAN", 3.5),
            ("b,UN", 1.0),
            ("b,ISINF", 0.0),
            ("INF,1,INF,LIMIT", f64::INFINITY),
            ("1,2,b,3,AVG", 1.5),
            ("2,9,b,1,4,MEDIAN", 2.0),
            ("2,9,4,1,4,MEDIAN", 3.0),
            ("1,2,b,3,SMAX", 2.0),
            ("1,2,b,4,50,4,PERCENT", 1.0),
            ("1,2,3,4,37,4,PERCENT", 1.0),
            ("1,2,3,4,38,4,PERCENT", 2.0),
            ("1,2,2,COPY,+,+,+", 6.0),
            ("1,2,1,INDEX,+,+", 5.0),
            ("1,2,0,INDEX,+,+", 3.0),
            ("1,2,DEPTH,+,+", 5.0),
            ("7,NEGINF,5,3,SORT,POP,POP", 7.0),
            ("7,5,NEGINF,3,MEDIAN", 7.0),
            ("NEGINF,7,5,3,MEDIAN", 5.0),
            ("10,200,3000,3,1,ROLL,POP,POP", 3000.0),
            ("10,200,3000,3,-1,ROLL,EXC,POP,EXC,POP", -1.0),
            ("3000,7,2,1,ROLL,-", 5.0),
            ("NOW", 1_700_000_000.0),
        ];
        for (text, wanted) in known {
            assert_eq!(value(text), Ok(wanted), "{text}");
        }
        for text in ["b,b,EQ", "a,b,MIN", "a,4,1,LIMIT", "b,b,2,AVG", "1,1,STDEV", "-1,LOG", "0,AVG"] {
            assert!(value(text).unwrap().is_nan(), "{text}");
        }
    }

    #[test]
    fn a_stack_that_is_too_small_or_too_large_is_an_error() {
        for text in ["a,+", "POP", "1,a,SORT", "1,2,b,COPY", "1,INF,AVG", "5,-1,SORT", "b,INDEX"] {
            assert_eq!(value(text), Err(RpnError::Underflow), "{text}");
        }
        assert_eq!(value("a,DUP"), Err(RpnError::FinalSize));
        assert_eq!(value("a,POP"), Err(RpnError::FinalSize));
        assert_eq!(value("5,0,MEDIAN"), Err(RpnError::FinalSize));
        assert_eq!(value("1,2,101,2,PERCENT"), Err(RpnError::Percent));
        assert_eq!(value("5,-1,1,ROLL"), Err(RpnError::OutOfMemory(-1)));
    }

    #[test]
    fn what_is_stored_is_read_back_and_printed() {
        let expression = rpn("1e3,+5,a,b,-32768,UNKN,STDEV,").unwrap();
        let mut parameters = [0; 10 * WORD];
        expression.write(&mut parameters);
        assert_eq!(Rpn::read(&parameters, 2), Some(expression));
        assert_eq!(expression.text(|index| ["a", "b"][index]), "1000,5,a,b,-32768,UNKN,STDEV");
        assert_eq!(expression.last_source(), Some(1));
        // An expression on itself, one without an end, one with an operator of graphs.
        assert_eq!(Rpn::read(&parameters, 1), None);
        assert_eq!(Rpn::read(&[0; 10 * WORD], 1), None);
        assert_eq!(Rpn::read(&[7, 0, 0, 0, 32, 0, 0, 0], 1), None);
    }
}
