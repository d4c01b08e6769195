//! The words of a definition: `DEF:a=file.rrd:ds:AVERAGE:step=60`.
//!
//! They are looked up by key where one is known (`step=60`, the last one first), and else taken in their order.
//! Whatever was not taken in the end is an error.

use crate::rrd::error::XportError;

/// A definition, cut at its colons; `\:` is a colon that does not cut.
pub(super) struct Words {
    line: String,
    command: Vec<u8>,
    rest: Vec<Option<Vec<u8>>>,
}

impl Words {
    pub(super) fn new(line: &[u8]) -> Result<Self, XportError> {
        let mut words = split(line).into_iter();
        let line = lossy(line);
        let command = words.next().unwrap_or_default();
        if command.contains(&b'=') {
            return Err(XportError::NoCommand(line));
        }
        Ok(Self { line, command, rest: words.map(Some).collect() })
    }

    pub(super) fn command(&self) -> &[u8] {
        &self.command
    }

    pub(super) fn line(&self) -> &str {
        &self.line
    }

    /// Takes the value of a key.
    pub(super) fn keyed(&mut self, key: &str) -> Option<Vec<u8>> {
        let is_it = |word: &Option<Vec<u8>>| {
            word.as_ref().is_some_and(|word| key_and_value(word).is_some_and(|(k, _)| k == key.as_bytes()))
        };
        let word = self.rest.iter_mut().rfind(|word| is_it(word)).and_then(Option::take)?;
        key_and_value(&word).map(|(_, value)| value.to_vec())
    }

    /// Takes the next word whole.
    pub(super) fn next(&mut self) -> Option<Vec<u8>> {
        self.rest.iter_mut().find(|word| word.is_some()).and_then(Option::take)
    }

    /// Takes the value of a key, or else the next word, without a key that it may have.
    pub(super) fn keyed_or_next(&mut self, key: &str) -> Option<Vec<u8>> {
        self.keyed(key).or_else(|| {
            let word = self.next()?;
            Some(key_and_value(&word).map_or(word.as_slice(), |(_, value)| value).to_vec())
        })
    }

    /// Takes what begins most definitions: `name=value`, where the name may be given with the key `vname`, and the
    /// value with `key`. What has no `=` is a value.
    pub(super) fn name_and_value(&mut self, key: &str) -> Result<(Vec<u8>, Vec<u8>), XportError> {
        let name = self.keyed("vname");
        let value = self.keyed(key);
        if let (Some(name), Some(value)) = (&name, &value) {
            return Ok((name.clone(), value.clone()));
        }
        let Some(word) = self.next() else { return Err(self.missing("vdef/rrd")) };
        let (first, second) = key_and_value(&word).unwrap_or((b"", &word));
        Ok((name.unwrap_or_else(|| first.to_vec()), value.unwrap_or_else(|| second.to_vec())))
    }

    pub(super) fn missing(&self, what: &'static str) -> XportError {
        XportError::Missing { what, line: self.line.clone() }
    }

    /// Makes an error of what was not taken.
    pub(super) fn end(self) -> Result<(), XportError> {
        let unused: Vec<Vec<u8>> = self.rest.into_iter().flatten().collect();
        if unused.is_empty() {
            return Ok(());
        }
        Err(XportError::Unused { unused: lossy(&unused.join(&b':')), line: self.line })
    }
}

pub(super) fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn split(line: &[u8]) -> Vec<Vec<u8>> {
    let mut words = vec![Vec::new()];
    let mut bytes = line.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        let word = match byte {
            b':' => {
                words.push(Vec::new());
                continue;
            }
            b'\\' => bytes.next_if_eq(&b':').unwrap_or(byte),
            _ => byte,
        };
        words.last_mut().expect("there is one from the start on").push(word);
    }
    words
}

fn key_and_value(word: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = word.iter().position(|byte| *byte == b'=')?;
    Some((&word[..at], &word[at + 1..]))
}
