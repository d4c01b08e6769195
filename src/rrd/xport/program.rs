//! The definitions of an export, read: `DEF`, `CDEF`, `VDEF`, `SHIFT`, `XPORT`.

use std::collections::HashMap;
use std::hash::Hash;

use crate::rrd::at::{self, TimeSpec};
use crate::rrd::def::Cf;
use crate::rrd::error::XportError;
use crate::rrd::number::{number_prefix, parse_number};
use crate::rrd::xport::XportOptions;
use crate::rrd::xport::cdef::Expression;
use crate::rrd::xport::vdef::Function;
use crate::rrd::xport::words::{Words, lossy};
use crate::time::UnixTime;

/// Rows that are read from an archive.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::rrd) struct Def {
    /// The archive's file, as written.
    pub file: Vec<u8>,
    pub(super) ds: Vec<u8>,
    pub(super) cf: Cf,
    /// The function that merges rows.
    pub(super) reduce: Cf,
    /// The same where it was written; in [`Def::rows_key`] it is taken for AVERAGE where it was not.
    typed_reduce: Option<Cf>,
    pub(super) start: i64,
    pub(super) end: i64,
    /// The length of row that is looked for.
    pub(super) step: i64,
    /// The length to which shorter rows are merged.
    pub(super) row_secs: i64,
}

impl Def {
    /// What rows of this step share that are read together.
    pub(super) fn rows_key(&self, step: i64) -> impl Hash + Eq + '_ {
        let reduce = self.typed_reduce.unwrap_or(Cf::Average);
        (&self.file, self.cf.name(), reduce.name(), self.start, self.end, step)
    }

    /// The rows of this data source that are read together with those of `other`.
    pub(super) fn read_with(&self, other: &Self) -> Self {
        Self { ds: self.ds.clone(), ..other.clone() }
    }
}

/// What a definition defines, in their order.
#[derive(Debug)]
pub(super) enum Item {
    Def(Def),
    Cdef(Expression),
    Vdef { source: usize, function: Function, percent: f64 },
    Shift { target: usize, offset: Offset, name: String },
}

#[derive(Debug)]
pub(super) enum Offset {
    Secs(i64),
    /// The value of a VDEF.
    Of(usize),
}

/// What is written of an item.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) item: usize,
    pub(super) legend: Vec<u8>,
}

#[derive(Debug, Default)]
pub(super) struct Program {
    pub(super) items: Vec<Item>,
    pub(super) columns: Vec<Column>,
    names: HashMap<Vec<u8>, usize>,
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named {
    Series(usize),
    Value(usize),
}

impl Program {
    /// Reads one definition; `span` is what a DEF covers that does not say it.
    pub(super) fn add(&mut self, line: &[u8], span: &XportOptions) -> Result<(), XportError> {
        let mut words = Words::new(line)?;
        let command = words.command().to_vec();
        match command.as_slice() {
            b"DEF" => self.add_def(&mut words, span)?,
            b"CDEF" => self.add_cdef(&mut words)?,
            b"VDEF" => self.add_vdef(&mut words)?,
            b"SHIFT" => self.add_shift(&mut words)?,
            b"XPORT" => self.add_column(&mut words)?,
            _ => return Err(unknown_command(&command, words.line())),
        }
        words.end()
    }

    /// What an expression means by a name.
    pub(super) fn named(&self, name: &[u8]) -> Option<Named> {
        let index = *self.names.get(name)?;
        Some(match self.items.get(index)? {
            Item::Vdef { .. } => Named::Value(index),
            _ => Named::Series(index),
        })
    }

    fn add_def(&mut self, words: &mut Words, span: &XportOptions) -> Result<(), XportError> {
        let (step, start, end) = (words.keyed("step"), words.keyed("start"), words.keyed("end"));
        let (reduce, daemon) = (words.keyed("reduce"), words.keyed("daemon"));
        let (name, file) = words.name_and_value("rrd")?;
        let cf_of = |name: &[u8]| Cf::from_name(name);
        let reduce = match reduce {
            Some(reduce) => Some(cf_of(&reduce).ok_or_else(|| XportError::Reduce(lossy(&reduce)))?),
            None => None,
        };
        let step = match step {
            Some(step) => read_step(&step).ok_or_else(|| XportError::Step(lossy(&step)))?,
            None => span.step,
        };
        let (start, end) = read_span(start.as_deref(), end.as_deref(), span)?;
        let ds = words.keyed_or_next("ds").ok_or_else(|| words.missing("DS"))?;
        let cf = words.keyed_or_next("cf").ok_or_else(|| words.missing("CF"))?;
        let cf = cf_of(&cf).ok_or_else(|| XportError::Cf(lossy(&cf)))?;
        if daemon.is_some_and(|address| !address.is_empty()) {
            return Err(XportError::Element("daemon=".to_owned()));
        }
        let def = Def {
            file,
            ds,
            cf,
            reduce: reduce.unwrap_or(cf),
            typed_reduce: reduce,
            start,
            end,
            step,
            row_secs: step.max(span.step),
        };
        // Of two of one name the first counts.
        self.push(name, Item::Def(def));
        Ok(())
    }

    fn add_cdef(&mut self, words: &mut Words) -> Result<(), XportError> {
        let (name, text) = words.name_and_value("rpn")?;
        self.check_unused(&name)?;
        let expression = Expression::parse(&text, |name| self.named(name))?;
        self.push(name, Item::Cdef(expression));
        Ok(())
    }

    fn add_vdef(&mut self, words: &mut Words) -> Result<(), XportError> {
        let (name, text) = words.name_and_value("rpn")?;
        self.check_unused(&name)?;
        let comma = text.iter().position(|b| *b == b',').ok_or_else(|| XportError::NoComma(lossy(&text)))?;
        let of = &text[..comma];
        let source = match self.named(of) {
            Some(Named::Series(source)) => source,
            Some(Named::Value(_)) => {
                return Err(XportError::VdefKind { name: lossy(of), line: lossy(&text) });
            }
            None => return Err(XportError::VdefName { name: lossy(of), line: lossy(&text) }),
        };
        let (function, percent) = read_function(&text[comma + 1..], &lossy(&name))?;
        self.push(name, Item::Vdef { source, function, percent });
        Ok(())
    }

    fn add_shift(&mut self, words: &mut Words) -> Result<(), XportError> {
        let target = words.keyed_or_next("vname").ok_or_else(|| words.missing("vdef/rrd"))?;
        let line = words.line().to_owned();
        let target_item = match self.named(&target) {
            Some(Named::Series(item)) => item,
            Some(Named::Value(_)) => return Err(XportError::ShiftKind { name: lossy(&target), line }),
            None => return Err(XportError::ShiftName(lossy(&target))),
        };
        let offset = words.keyed_or_next("shift").ok_or(XportError::NoOffset)?;
        let offset = match self.named(&offset) {
            Some(Named::Value(item)) => Offset::Of(item),
            Some(Named::Series(_)) => return Err(XportError::OffsetKind { offset: lossy(&offset), line }),
            None => Offset::Secs(whole_number(&offset).ok_or_else(|| XportError::Offset(lossy(&offset)))?),
        };
        self.items.push(Item::Shift { target: target_item, offset, name: lossy(&target) });
        Ok(())
    }

    fn add_column(&mut self, words: &mut Words) -> Result<(), XportError> {
        // The legend first, so that it is not taken for the name.
        let legend = words.keyed("label").or_else(|| words.keyed("legend"));
        let name = words.keyed_or_next("vname").ok_or(XportError::NoName)?;
        let legend = legend.or_else(|| words.next()).unwrap_or_default();
        match self.named(&name) {
            Some(Named::Series(item)) => self.columns.push(Column { item, legend }),
            Some(Named::Value(_)) => {
                return Err(XportError::ShiftKind { name: lossy(&name), line: words.line().to_owned() });
            }
            None if parse_number(&name).is_ok() => return Err(XportError::ColumnNumber(lossy(&name))),
            None => return Err(XportError::ColumnName(lossy(&name))),
        }
        Ok(())
    }

    fn check_unused(&self, name: &[u8]) -> Result<(), XportError> {
        if self.names.contains_key(name) { Err(XportError::Reused(lossy(name))) } else { Ok(()) }
    }

    fn push(&mut self, name: Vec<u8>, item: Item) {
        // What has no name cannot be meant.
        if !name.is_empty() {
            self.names.entry(name).or_insert(self.items.len());
        }
        self.items.push(item);
    }
}

/// Elements of graphs are told from nonsense.
fn unknown_command(command: &[u8], line: &str) -> XportError {
    const ELEMENTS: [&[u8]; 9] =
        [b"PRINT", b"GPRINT", b"COMMENT", b"HRULE", b"VRULE", b"AREA", b"STACK", b"TICK", b"TEXTALIGN"];
    if ELEMENTS.contains(&command) || command.starts_with(b"LINE") {
        return XportError::Element(lossy(command));
    }
    XportError::UnknownCommand { command: lossy(command), line: line.to_owned() }
}

/// A whole number of seconds, at least one; what is too large for any step stays so.
fn read_step(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"+").unwrap_or(text);
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let number = std::str::from_utf8(digits).ok().filter(|_| is_number)?;
    Some(number.parse().unwrap_or(i64::MAX)).filter(|step| *step > 0)
}

fn whole_number(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn read_span(
    start: Option<&[u8]>,
    end: Option<&[u8]>,
    span: &XportOptions,
) -> Result<(i64, i64), XportError> {
    let read = |what, text: Option<&[u8]>, otherwise: i64| match text {
        Some(text) => at::parse(&lossy(text), span.now).map_err(|error| XportError::Time { what, error }),
        None => Ok(TimeSpec::from(UnixTime::from_secs(otherwise))),
    };
    let (start, end) = (read("start time", start, span.start)?, read("end time", end, span.end)?);
    let (start, end) = at::span(&start, &end).map_err(XportError::Span)?;
    Ok((start.secs(), end.secs()))
}

/// Reads what stands behind the comma of a VDEF: `MAXIMUM`, `95,PERCENT`.
fn read_function(text: &[u8], name: &str) -> Result<(Function, f64), XportError> {
    const LONGEST: usize = 29;
    let capitals = |text: &[u8]| text.iter().take_while(|b| b.is_ascii_uppercase()).count().min(LONGEST);
    let (function, parameter) = match number_prefix(text) {
        Some((number, rest)) => {
            let rest = rest.strip_prefix(b",").unwrap_or_default();
            (&rest[..capitals(rest)], Some(number))
        }
        None if capitals(text) < text.len() => {
            return Err(XportError::FunctionText { function: lossy(text), name: name.to_owned() });
        }
        None => (text, None),
    };
    let function = Function::from_name(function)
        .ok_or_else(|| XportError::Function { function: lossy(function), name: name.to_owned() })?;
    match parameter {
        Some(percent) if function.takes_percentage() => {
            if (0.0..=100.0).contains(&percent) {
                return Ok((function, percent));
            }
            Err(XportError::ParameterRange { parameter: percent, name: name.to_owned() })
        }
        None if !function.takes_percentage() => Ok((function, 0.0)),
        None => Err(XportError::NoParameter { function: function.name(), name: name.to_owned() }),
        Some(_) => Err(XportError::Parameter { function: function.name(), name: name.to_owned() }),
    }
}
