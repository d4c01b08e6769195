//! Rows of several archives side by side, with arithmetic on them: `xport`.
//!
//! The definitions are read first ([`Xport::parse`]); then every DEF is read from its archive, and the others are
//! computed in their order ([`Xport::evaluate`]). What comes out is a table ([`Exported`]) that writes itself as XML or
//! JSON.

mod cdef;
mod program;
mod series;
mod table;
mod vdef;
mod window;
mod words;

use std::collections::HashMap;

use crate::rrd::def::EARLIEST;
use crate::rrd::error::{Error, XportError};
use crate::time::UnixTime;
pub(super) use program::Def;
use program::{Item, Offset, Program};
use series::{MOST_ROWS, Series};
pub use table::{Exported, Format};

/// The span that is exported, unless a DEF says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct XportOptions {
    /// Seconds: the first row covers the time behind this.
    pub start: i64,
    /// Seconds.
    pub end: i64,
    /// The least length of a row in seconds, unless a DEF has its own.
    pub step: i64,
    /// What `NOW` and times without a date mean.
    pub now: UnixTime,
}

impl XportOptions {
    /// Refuses a number of rows that is too small.
    pub fn check_max_rows(max_rows: i64) -> Result<(), XportError> {
        const LEAST: i64 = 10;
        if max_rows < LEAST { Err(XportError::MaxRows(LEAST)) } else { Ok(()) }
    }

    /// Rows of `step` seconds or more, and no more than `max_rows` of them.
    pub fn new(
        start: UnixTime,
        end: UnixTime,
        step: i64,
        max_rows: i64,
        now: UnixTime,
    ) -> Result<Self, XportError> {
        let (start, end) = (start.secs(), end.secs());
        if start < EARLIEST.secs() {
            return Err(XportError::Start(start));
        }
        if start > end {
            return Err(XportError::Order { start, end });
        }
        Self::check_max_rows(max_rows)?;
        Ok(Self { start, end, step: step.max((end - start) / max_rows), now })
    }
}

/// Definitions of an export, read.
#[derive(Debug)]
pub struct Xport {
    options: XportOptions,
    program: Program,
}

impl Xport {
    /// Reads definitions: `DEF`, `CDEF`, `VDEF`, `SHIFT` and `XPORT`.
    pub fn parse<A: AsRef<[u8]>>(definitions: &[A], options: XportOptions) -> Result<Self, XportError> {
        if definitions.is_empty() {
            return Err(XportError::Empty);
        }
        let mut program = Program::default();
        definitions.iter().try_for_each(|line| program.add(line.as_ref(), &options))?;
        Ok(Self { options, program })
    }

    /// Reads every DEF by `read`, and computes the rest.
    pub(super) fn evaluate(
        &self,
        mut read: impl FnMut(&Def) -> Result<Series, Error>,
    ) -> Result<Exported, Error> {
        let mut work = Work::default();
        let mut values = Vec::with_capacity(self.program.items.len());
        // As in the original, a DEF that asks for the step which another one came to, of the same file, span and
        // functions, gets rows that were read and merged as the other's were.
        let mut together: HashMap<_, &Def> = HashMap::new();
        for item in &self.program.items {
            values.push(match item {
                Item::Def(def) => {
                    let other = together.get(&def.rows_key(def.step)).copied().unwrap_or(def);
                    let series = read(&def.read_with(other))?;
                    together.insert(def.rows_key(series.step), other);
                    work.rows(series.values.len() as u64)?;
                    Value::Series(series)
                }
                _ => Value::None,
            });
        }
        for (index, item) in self.program.items.iter().enumerate() {
            self.compute(index, item, &mut values, &mut work)?;
        }
        Ok(Exported::new(&self.program.columns, values, &self.options)?)
    }

    fn compute(
        &self,
        index: usize,
        item: &Item,
        values: &mut [Value],
        work: &mut Work,
    ) -> Result<(), XportError> {
        match item {
            Item::Def(_) => {}
            Item::Cdef(expression) => {
                values[index] = Value::Series(expression.evaluate(values, self.options.now, work)?);
            }
            Item::Vdef { source, function, percent } => {
                if let Value::Series(series) = &values[*source] {
                    work.spend(series.values.len() as u64)?;
                    values[index] = Value::Number(function.of(series, *percent));
                }
            }
            Item::Shift { target, offset, name } => {
                let secs = match *offset {
                    Offset::Secs(secs) => Some(secs),
                    Offset::Of(item) => match values[item] {
                        Value::Number(secs) if secs.is_finite() => Some(secs as i64),
                        _ => None,
                    },
                };
                let secs = secs.filter(|secs| secs.unsigned_abs() <= FARTHEST_SHIFT);
                let secs = secs.ok_or_else(|| XportError::OffsetRange(name.clone()))?;
                if let Value::Series(series) = &mut values[*target] {
                    series.shift_to(secs);
                }
            }
        }
        Ok(())
    }
}

/// Farther than all times that the engine knows.
const FARTHEST_SHIFT: u64 = 1 << 48;

/// What a definition comes to.
#[derive(Debug)]
enum Value {
    Series(Series),
    Number(f64),
    None,
}

/// What an export may still cost. Expressions come from outside, and some of them would take days, or all memory.
#[derive(Debug)]
struct Work {
    left: u64,
    rows: u64,
}

impl Default for Work {
    fn default() -> Self {
        // A second or two.
        Self { left: 1 << 29, rows: 0 }
    }
}

impl Work {
    fn spend(&mut self, steps: u64) -> Result<(), XportError> {
        self.left = self.left.checked_sub(steps).ok_or(XportError::Work)?;
        Ok(())
    }

    /// Takes note of rows that are kept.
    fn rows(&mut self, rows: u64) -> Result<(), XportError> {
        self.rows = self.rows.saturating_add(rows);
        if self.rows > MOST_ROWS {
            return Err(XportError::Rows { rows: self.rows, most: MOST_ROWS });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
