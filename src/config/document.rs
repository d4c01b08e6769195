//! A TOML file seen through tables whose keys are known and values whose types are checked. Every error has its line.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{Error, nearest, one_line};
use super::origin::{Origin, Setting};
use super::value;

/// A TOML file's text, and where it lies.
pub(super) struct Source {
    /// As people name it.
    pub(super) shown: Arc<Path>,
    /// The folder that relative paths in it start from.
    pub(super) folder: PathBuf,
    text: String,
    line_starts: Vec<usize>,
}

impl Source {
    pub(super) fn new(shown: &Path, folder: PathBuf, bytes: Vec<u8>) -> Result<Self, Error> {
        let shown: Arc<Path> = shown.into();
        let text = String::from_utf8(bytes).map_err(|error| {
            let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = 1 + good.iter().filter(|byte| **byte == b'\n').count();
            let at = Origin::File { path: Arc::clone(&shown), line: saturate(line) };
            Error::NotUtf8 { at, key: "" }
        })?;
        let after_breaks = text.bytes().zip(1..).filter(|(byte, _)| *byte == b'\n').map(|(_, next)| next);
        let line_starts = std::iter::once(0).chain(after_breaks).collect();
        Ok(Self { shown, folder, text, line_starts })
    }

    /// The whole file as a table.
    pub(super) fn parse(&self) -> Result<DeTable<'_>, Error> {
        let (table, errors) = DeTable::parse_recoverable(&self.text);
        let table = table.into_inner();
        match errors.first() {
            None => Ok(table),
            Some(error) => Err(self.explain(&table, error)),
        }
    }

    /// The line of the byte at `offset`.
    fn at(&self, offset: usize) -> Origin {
        let line = self.line_starts.partition_point(|start| *start <= offset);
        Origin::File { path: Arc::clone(&self.shown), line: saturate(line) }
    }

    /// The reader's own error text quotes the line, and the line may hold a password: only its message, which is made
    /// of fixed words, goes on.
    fn explain(&self, table: &DeTable<'_>, error: &toml::de::Error) -> Error {
        let span = error.span().unwrap_or(self.text.len()..self.text.len());
        let at = self.at(span.start);
        if error.message() != DUPLICATE {
            return Error::Syntax { at, message: error.message().to_owned() };
        }
        let raw = self.text.get(span.clone()).unwrap_or_default();
        let key = raw.trim_matches(['"', '\'']);
        // A table that is opened twice has taken the place of the first one, which is then not found.
        let first = last_before(table, key, span.start, 0).map(|offset| self.at(offset));
        Error::Twice { at, key: one_line(key), first }
    }
}

/// Where the last key called `key` before the byte at `end` stands.
fn last_before(table: &DeTable<'_>, key: &str, end: usize, depth: usize) -> Option<usize> {
    if depth > DEEPEST {
        return None;
    }
    let found = table.iter().filter_map(|(found, value)| {
        let here = (found.get_ref() == key && found.span().start < end).then_some(found.span().start);
        let inside = value.get_ref().as_table().and_then(|table| last_before(table, key, end, depth + 1));
        here.max(inside)
    });
    found.max()
}

/// A TOML table.
pub(super) struct Section<'s> {
    source: &'s Source,
    table: &'s DeTable<'s>,
}

impl<'s> Section<'s> {
    /// The file's outermost table, which may have the keys `known` and no others.
    pub(super) fn top(
        source: &'s Source,
        table: &'s DeTable<'s>,
        known: &[&'static str],
    ) -> Result<Self, Error> {
        Self { source, table }.knowing(known, || "at the top".to_owned())
    }

    /// What the table says of `key`.
    pub(super) fn get(&self, key: &str) -> Option<Entry<'s>> {
        self.table.get_key_value(key).map(|(key, value)| Entry::new(self.source, key, value))
    }

    /// All it says, in the order of the file.
    pub(super) fn entries(&self) -> Vec<Entry<'s>> {
        let mut pairs: Vec<_> = self.table.iter().collect();
        pairs.sort_unstable_by_key(|(key, _)| key.span().start);
        pairs.into_iter().map(|(key, value)| Entry::new(self.source, key, value)).collect()
    }

    fn knowing(self, known: &[&'static str], name: impl FnOnce() -> String) -> Result<Self, Error> {
        let stranger = self.entries().into_iter().find(|entry| !known.contains(&entry.key));
        let Some(entry) = stranger else { return Ok(self) };
        let hint = match nearest(entry.key, known.iter().copied()) {
            Some(near) => format!("did you mean '{near}'?"),
            None => format!("there are {}", known.join(", ")),
        };
        Err(Error::UnknownKey { at: entry.at, key: one_line(entry.key), section: name(), hint })
    }
}

/// A key of a TOML file and its value.
pub(super) struct Entry<'s> {
    /// The key.
    pub(super) key: &'s str,
    /// Its line.
    pub(super) at: Origin,
    source: &'s Source,
    value: &'s DeValue<'s>,
}

impl<'s> Entry<'s> {
    fn new(source: &'s Source, key: &'s Spanned<Cow<'s, str>>, value: &'s Spanned<DeValue<'s>>) -> Self {
        Self { key: key.get_ref(), at: source.at(key.span().start), source, value: value.get_ref() }
    }

    /// The folder that a relative path in the value starts from.
    pub(super) fn folder(&self) -> &'s Path {
        &self.source.folder
    }

    /// The value read by `parse`, which says how it must be written.
    pub(super) fn parsed<T>(&self, parse: fn(&str) -> Result<T, &'static str>) -> Result<Setting<T>, Error> {
        let text = self.text()?;
        let value = parse(text).map_err(|wanted| Error::value(&self.at, self.key, text, wanted))?;
        Ok(Setting { value, origin: self.at.clone() })
    }

    /// As [`Entry::parsed`], for values that may also stand as bare numbers.
    pub(super) fn parsed_number<T>(
        &self,
        parse: fn(&str) -> Result<T, &'static str>,
        wanted: &'static str,
    ) -> Result<Setting<T>, Error> {
        let text = match self.value {
            DeValue::String(text) => text.as_ref(),
            DeValue::Integer(number) if number.radix() == 10 => number.as_str(),
            DeValue::Float(number) => number.as_str(),
            _ => return Err(self.wrong_type(wanted)),
        };
        let value = parse(text).map_err(|wanted| Error::value(&self.at, self.key, text, wanted))?;
        Ok(Setting { value, origin: self.at.clone() })
    }

    /// The value, a whole number from `least` to `most`.
    pub(super) fn whole<T: Copy + Into<u32> + TryFrom<u32>>(
        &self,
        least: T,
        most: T,
    ) -> Result<Setting<T>, Error> {
        let text = match self.value {
            DeValue::String(text) => text.as_ref(),
            DeValue::Integer(number) if number.radix() == 10 => number.as_str(),
            _ => return Err(self.wrong_type("a whole number")),
        };
        let (least, most) = (least.into(), most.into());
        let number = value::whole_number(text)
            .and_then(|number| u32::try_from(number).ok())
            .filter(|number| (least..=most).contains(number));
        match number.and_then(|number| T::try_from(number).ok()) {
            Some(value) => Ok(Setting { value, origin: self.at.clone() }),
            None => {
                let (at, key, text) = (self.at.clone(), one_line(self.key), one_line(text));
                Err(Error::Range { at, key, text, least, most })
            }
        }
    }

    /// The value, true or false.
    pub(super) fn flag(&self) -> Result<Setting<bool>, Error> {
        let value = self.value.as_bool().ok_or_else(|| self.wrong_type("true or false"))?;
        Ok(Setting { value, origin: self.at.clone() })
    }

    /// The value, a text.
    pub(super) fn text(&self) -> Result<&'s str, Error> {
        self.value.as_str().ok_or_else(|| self.wrong_type("a text in quotes"))
    }

    /// The value, a text, or a date and time without quotes.
    pub(super) fn text_or_time(&self) -> Result<Cow<'s, str>, Error> {
        match self.value {
            DeValue::Datetime(time) => Ok(time.to_string().into()),
            _ => self.text().map(Cow::Borrowed),
        }
    }

    /// The value, a list of texts, each with its own line.
    pub(super) fn texts(&self) -> Result<Vec<Setting<&'s str>>, Error> {
        let list = self.value.as_array().ok_or_else(|| self.wrong_type(LIST))?;
        list.iter()
            .map(|item| {
                let value = item.get_ref().as_str().ok_or_else(|| self.wrong_type(LIST))?;
                Ok(Setting { value, origin: self.source.at(item.span().start) })
            })
            .collect()
    }

    /// The value, a table that may have the keys `known` and no others; `name` says which: `in [defaults]`.
    pub(super) fn table(
        &self,
        known: &[&'static str],
        name: impl FnOnce() -> String,
    ) -> Result<Section<'s>, Error> {
        self.open_table()?.knowing(known, name)
    }

    /// The value, a table whose keys are names.
    pub(super) fn open_table(&self) -> Result<Section<'s>, Error> {
        let table = self.value.as_table().ok_or_else(|| self.wrong_type("a table"))?;
        Ok(Section { source: self.source, table })
    }

    /// True where the value is a table.
    pub(super) fn is_table(&self) -> bool {
        self.value.is_table()
    }

    pub(super) fn wrong_type(&self, wanted: &'static str) -> Error {
        let found = match self.value {
            DeValue::String(_) => "a text",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a number",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Array(list) if list.iter().all(|item| item.get_ref().is_str()) => "a list of texts",
            DeValue::Array(_) => "a list of something else",
            DeValue::Table(_) => "a table",
        };
        Error::WrongType { at: self.at.clone(), key: one_line(self.key), wanted, found }
    }
}

fn saturate(line: usize) -> u32 {
    u32::try_from(line).unwrap_or(u32::MAX)
}

/// The words of the TOML reader for a key that stands twice.
const DUPLICATE: &str = "duplicate key";
const LIST: &str = "a list of texts";
/// Deeper than any table of ours, and than any the TOML reader lets pass.
const DEEPEST: usize = 100;
