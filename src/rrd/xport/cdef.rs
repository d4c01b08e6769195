//! Expressions over series: reading and evaluating, row by row.

use chrono::{Datelike, Weekday};

use crate::rrd::error::XportError;
use crate::rrd::number::UNKNOWN;
use crate::rrd::rpn::{Operator, SeriesOperator, Stack, number_token};
use crate::rrd::xport::program::Named;
use crate::rrd::xport::series::Series;
use crate::rrd::xport::window::{Forecast, trend};
use crate::rrd::xport::{Value, Work};
use crate::time::UnixTime;

/// An expression, read.
#[derive(Debug)]
pub(super) struct Expression(Vec<Node>);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Node {
    Number(f64),
    Operator(Operator),
    Series(SeriesOperator),
    Variable(Named),
    /// What the variable was one row before.
    PreviousOf(Named),
}

impl Expression {
    pub(super) fn parse(text: &[u8], named: impl Fn(&[u8]) -> Option<Named>) -> Result<Self, XportError> {
        if text.is_empty() {
            return Err(XportError::EmptyExpression);
        }
        let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut nodes = Vec::new();
        let mut rest = text;
        // A last comma does no harm.
        while !rest.is_empty() {
            let end = rest.iter().position(|byte| *byte == b',');
            let token = &rest[..end.unwrap_or(rest.len())];
            nodes.push(match parse_token(token, end.is_some(), &named) {
                Some(node) => node,
                None => match previous_of(rest) {
                    Some((name, true)) => {
                        let variable = named(name).ok_or_else(|| XportError::UnknownVariable(lossy(name)))?;
                        Node::PreviousOf(variable)
                    }
                    Some(_) => return Err(XportError::Garbage(lossy(rest))),
                    None => return Err(XportError::Token(lossy(rest))),
                },
            });
            rest = &rest[end.map_or(rest.len(), |end| end + 1)..];
        }
        Ok(Self(nodes))
    }

    /// A row for every step that all of its series have.
    pub(super) fn evaluate(
        &self,
        values: &[Value],
        now: UnixTime,
        work: &mut Work,
    ) -> Result<Series, XportError> {
        let variables = || {
            self.0.iter().filter_map(|node| match node {
                Node::Variable(Named::Series(item)) | Node::PreviousOf(Named::Series(item)) => {
                    match &values[*item] {
                        Value::Series(series) => Some(series),
                        _ => None,
                    }
                }
                _ => None,
            })
        };
        let start = variables().map(|series| series.start).max().ok_or(XportError::Constant)?;
        let end = variables().map(|series| series.end).min().ok_or(XportError::Constant)?;
        let step = variables().map(|series| series.step).fold(0, gcd);
        let rows = (end - start) / step;
        if rows < 0 {
            return Err(XportError::Apart);
        }
        work.rows(rows.unsigned_abs())?;
        let steps: Vec<Step<'_>> = self.0.iter().map(|node| Step::new(*node, values, start)).collect();
        let mut run = Run {
            steps,
            series: Series { start, end, step, values: Vec::with_capacity(rows as usize), shift: 0 },
            now,
            stack: Stack::default(),
        };
        for row in 1..=rows {
            run.next(row, work)?;
        }
        Ok(run.series)
    }
}

fn parse_token(token: &[u8], comma_follows: bool, named: impl Fn(&[u8]) -> Option<Named>) -> Option<Node> {
    number_token(token, comma_follows)
        .map(Node::Number)
        .or_else(|| Operator::from_name(token).map(Node::Operator))
        .or_else(|| SeriesOperator::from_name(token).map(Node::Series))
        .or_else(|| {
            let is_name = !token.is_empty() && token.iter().all(is_name_byte);
            named(token).filter(|_| is_name).map(Node::Variable)
        })
}

/// The name in `PREV(name)`, and whether the word ends behind it. The parenthesis may be any byte, as in the original.
fn previous_of(rest: &[u8]) -> Option<(&[u8], bool)> {
    let inner = rest.strip_prefix(b"PREV(")?;
    let len = inner.iter().take_while(|byte| is_name_byte(byte)).count();
    let behind = inner.get(len + 1..).unwrap_or_default();
    let ends = matches!(behind.first(), None | Some(b',')) && inner.get(len) != Some(&b',');
    (len > 0).then_some((&inner[..len], ends))
}

fn is_name_byte(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

pub(super) fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

const LARGEST_STACK: usize = 1 << 16;

/// An expression at work.
struct Run<'a> {
    steps: Vec<Step<'a>>,
    series: Series,
    now: UnixTime,
    stack: Stack,
}

enum Step<'a> {
    Number(f64),
    Operator(Operator),
    Series(SeriesOperator),
    Variable(Cursor<'a>),
    PreviousOf(Cursor<'a>),
}

/// A series and the row that comes next. One of longer steps stays at a row until it has ended.
#[derive(Clone, Copy)]
pub(super) struct Cursor<'a> {
    pub(super) series: &'a Series,
    pub(super) next: i64,
}

impl Cursor<'_> {
    fn pass(&mut self, time: i64) {
        if time % self.series.step == 0 {
            self.next += 1;
        }
    }
}

impl<'a> Step<'a> {
    fn new(node: Node, values: &'a [Value], start: i64) -> Self {
        let resolve = |named: Named| match (named, values) {
            (Named::Series(item) | Named::Value(item), values) => &values[item],
        };
        match node {
            Node::Number(number) => Self::Number(number),
            Node::Operator(operator) => Self::Operator(operator),
            Node::Series(operator) => Self::Series(operator),
            Node::Variable(named) | Node::PreviousOf(named) => match resolve(named) {
                Value::Series(series) => {
                    let cursor = Cursor { series, next: (start - series.start) / series.step };
                    if matches!(node, Node::Variable(_)) {
                        Self::Variable(cursor)
                    } else {
                        Self::PreviousOf(cursor)
                    }
                }
                Value::Number(number) => Self::Number(*number),
                Value::None => Self::Number(UNKNOWN),
            },
        }
    }
}

impl Run<'_> {
    /// Evaluates a row, the first of which is number 1.
    fn next(&mut self, row: i64, work: &mut Work) -> Result<(), XportError> {
        let time = self.series.start + row * self.series.step;
        self.stack.clear();
        work.spend(self.steps.len() as u64)?;
        for index in 0..self.steps.len() {
            match &mut self.steps[index] {
                Step::Number(number) => self.stack.push(*number),
                Step::Variable(cursor) => {
                    self.stack.push(cursor.series.row(cursor.next));
                    cursor.pass(time);
                }
                Step::PreviousOf(cursor) => {
                    self.stack.push(if row > 1 { cursor.series.row(cursor.next - 1) } else { UNKNOWN });
                    cursor.pass(time);
                }
                Step::Operator(operator) => {
                    let operator = *operator;
                    // COPY doubles what is there.
                    if self.stack.len() > LARGEST_STACK {
                        return Err(XportError::Work);
                    }
                    work.spend(self.stack.cost(operator))?;
                    self.stack.operate(operator, self.now.secs())?;
                }
                Step::Series(operator) => {
                    let operator = *operator;
                    self.operate(operator, index, row, time, work)?;
                }
            }
        }
        self.series.values.push(self.stack.result()?);
        Ok(())
    }

    fn operate(
        &mut self,
        operator: SeriesOperator,
        index: usize,
        row: i64,
        time: i64,
        work: &mut Work,
    ) -> Result<(), XportError> {
        use SeriesOperator as Op;
        let step = self.series.step;
        let value = match operator {
            Op::Time => time as f64,
            Op::LocalTime => (time + i64::from(local(time).offset().local_minus_utc())) as f64,
            Op::Previous => self.series.values.last().copied().unwrap_or(UNKNOWN),
            Op::Count => row as f64,
            Op::StepWidth => step as f64,
            Op::NewDay | Op::NewWeek | Op::NewMonth | Op::NewYear => {
                f64::from(u8::from(begins(operator, time, step)))
            }
            Op::Trend | Op::TrendNan => {
                let [_, window] = self.stack.take()?;
                let cursor = match index.checked_sub(2).map(|index| &self.steps[index]) {
                    Some(Step::Variable(cursor)) => *cursor,
                    _ => return Err(XportError::Trend),
                };
                trend(cursor, window, row, operator == Op::TrendNan, work)?
            }
            Op::Predict | Op::PredictSigma | Op::PredictPerc => {
                let cursor = match index.checked_sub(1).map(|index| &self.steps[index]) {
                    Some(Step::Variable(cursor) | Step::PreviousOf(cursor)) => Some(*cursor),
                    _ => None,
                };
                Forecast::take(operator, &mut self.stack)?.value(cursor, row, work)?
            }
        };
        self.stack.push(value);
        Ok(())
    }
}

fn local(time: i64) -> chrono::DateTime<chrono::FixedOffset> {
    UnixTime::from_secs(time).local().civil
}

/// Whether a day, week, month or year begins in the step that ends at `time`. Days and months are compared by their
/// number alone, as in the original: a month of the same name a year later is not new.
fn begins(operator: SeriesOperator, time: i64, step: i64) -> bool {
    let (now, before) = (local(time), local(time - step));
    match operator {
        SeriesOperator::NewDay => now.day() != before.day(),
        SeriesOperator::NewWeek => now.weekday() == Weekday::Sun && before.weekday() != Weekday::Sun,
        SeriesOperator::NewMonth => now.month() != before.month(),
        _ => now.year() != before.year(),
    }
}
