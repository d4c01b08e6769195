//! The XML as elements and the words in them.

use std::io::BufRead;

use quick_xml::Reader;
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::Event;

use super::bounded::{Bounded, TOO_LONG};
use crate::rrd::error::RestoreError;
use crate::rrd::number::{UNKNOWN, parse_number};

/// The XML, element by element.
pub(super) struct Source<R> {
    xml: Reader<Bounded<R>>,
    buffer: Vec<u8>,
    /// How many elements are open.
    depth: usize,
    /// The name of the element that was opened last, in small letters.
    pub(super) name: String,
    text: String,
}

impl<R: BufRead> Source<R> {
    pub(super) fn new(input: R) -> Self {
        let mut xml = Reader::from_reader(Bounded { input, left: 0, line: 1 });
        // `<row/>` is `<row></row>`, and dump writes an `&` of a last reading as it is.
        xml.config_mut().expand_empty_elements = true;
        xml.config_mut().allow_dangling_amp = true;
        Self { xml, buffer: Vec::new(), depth: 0, name: String::new(), text: String::new() }
    }

    /// Goes to the next element in the open one, whose name then is in `name`; `false` where the open one ends instead.
    pub(super) fn open(&mut self) -> Result<bool, RestoreError> {
        loop {
            self.buffer.clear();
            self.xml.get_mut().left = LONGEST_EVENT;
            let line = self.xml.get_ref().line;
            match self.xml.read_event_into(&mut self.buffer).map_err(|error| fault(line, &error))? {
                Event::Start(tag) => {
                    self.name.clear();
                    self.name.push_str(tag.name().0);
                    self.name.make_ascii_lowercase();
                    self.depth += 1;
                    return Ok(true);
                }
                Event::End(_) => {
                    self.depth = self.depth.saturating_sub(1);
                    return Ok(false);
                }
                Event::Eof if self.depth > 0 => return Err(RestoreError::Ends { line }),
                Event::Eof => return Ok(false),
                Event::Text(text) if is_blank(&text) => {}
                Event::Text(text) => {
                    return Err(RestoreError::Text { line, text: text.trim().to_owned() });
                }
                Event::CData(_) | Event::GeneralRef(_) => {
                    return Err(RestoreError::Text { line, text: String::new() });
                }
                Event::Empty(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
            }
        }
    }

    /// The first word of the open element, up to whose end it reads.
    pub(super) fn word(&mut self) -> Result<&str, RestoreError> {
        self.text.clear();
        loop {
            self.buffer.clear();
            self.xml.get_mut().left = LONGEST_EVENT;
            let line = self.xml.get_ref().line;
            match self.xml.read_event_into(&mut self.buffer).map_err(|error| fault(line, &error))? {
                Event::Text(text) => self.text.push_str(&text),
                Event::CData(text) => self.text.push_str(&text),
                Event::GeneralRef(name) => match (name.resolve_char_ref(), resolve_xml_entity(&name)) {
                    (Ok(Some(character)), _) => self.text.push(character),
                    (_, Some(text)) => self.text.push_str(text),
                    _ => return Err(RestoreError::Entity { line, name: name.to_string() }),
                },
                Event::Start(tag) => {
                    return Err(RestoreError::Element { line, name: tag.name().0.to_owned() });
                }
                Event::End(_) => {
                    self.depth = self.depth.saturating_sub(1);
                    break;
                }
                Event::Eof => return Err(RestoreError::Ends { line }),
                Event::Empty(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
            }
            if self.text.len() > LONGEST_EVENT {
                return Err(RestoreError::Xml { line, text: TOO_LONG.to_owned() });
            }
        }
        Ok(self.text.split_ascii_whitespace().next().unwrap_or_default())
    }

    /// A word that fits a field of `len` bytes, its NUL included.
    pub(super) fn short_word(&mut self, len: usize) -> Result<&str, RestoreError> {
        let word = self.word()?;
        if word.len() < len && !word.contains('\0') {
            Ok(word)
        } else {
            Err(RestoreError::Long { text: word.chars().take(SHOWN).collect(), len })
        }
    }

    /// A number; `nan`, `inf` and `-inf` count wherever they stand in the word, as in the original.
    pub(super) fn number(&mut self) -> Result<f64, RestoreError> {
        let line = self.line();
        let word = self.word()?;
        if let Ok(number) = parse_number(word.as_bytes()) {
            return Ok(number);
        }
        let small = word.to_ascii_lowercase();
        if small.contains("nan") {
            Ok(UNKNOWN)
        } else if small.contains("-inf") {
            Ok(f64::NEG_INFINITY)
        } else if small.contains("inf") {
            Ok(f64::INFINITY)
        } else {
            Err(RestoreError::Number { line, text: word.chars().take(SHOWN).collect() })
        }
    }

    pub(super) fn count(&mut self) -> Result<u64, RestoreError> {
        self.whole()
    }

    pub(super) fn integer(&mut self) -> Result<i64, RestoreError> {
        self.whole()
    }

    fn whole<T: std::str::FromStr>(&mut self) -> Result<T, RestoreError> {
        let line = self.line();
        let word = self.word()?;
        word.parse().map_err(|_| RestoreError::Whole { line, text: word.chars().take(SHOWN).collect() })
    }

    pub(super) fn unknown(&self, place: &'static str) -> RestoreError {
        RestoreError::Tag { place, name: self.name.chars().take(SHOWN).collect() }
    }

    pub(super) fn line(&self) -> u64 {
        self.xml.get_ref().line
    }

    /// What is read already and not taken yet, for those who know how it is written.
    pub(super) fn buffered(&mut self) -> Option<&[u8]> {
        let input = self.xml.get_mut();
        input.left = LONGEST_EVENT;
        input.fill_buf().ok()
    }

    /// Takes so many bytes of [`Source::buffered`], which must be whole elements.
    pub(super) fn skip(&mut self, len: usize) {
        self.xml.get_mut().consume(len);
    }
}

/// An error of the XML's grammar.
fn fault(line: u64, error: &quick_xml::Error) -> RestoreError {
    RestoreError::Xml { line, text: error.to_string() }
}

fn is_blank(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_whitespace())
}

/// A tag, a text or a comment of so many bytes is refused.
const LONGEST_EVENT: usize = 1 << 20;

/// No more of what was refused is shown.
const SHOWN: usize = 60;
