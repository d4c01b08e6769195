//! `.env`: one `KEY=value` in a line. Values are taken as they stand, outer quotes off, and nothing in them is expanded:
//! an app password has blanks, and a password may have `$`, `\`, `#` or `=`.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::sync::Arc;

use super::error::Error;
use super::origin::{Origin, Setting};

/// What a `.env` says of the keys that were asked for. It has no `Debug`: passwords are in it.
pub(super) struct DotEnv {
    values: BTreeMap<&'static str, Setting<OsString>>,
    /// Keys that are not ours, with their lines.
    pub(super) strangers: Vec<(String, u32)>,
}

impl DotEnv {
    /// Reads the lines of `bytes`, from the file that people know as `shown`. Other keys than those in `known` belong
    /// to other programs. Where a key stands twice the last one holds, as in a shell.
    pub(super) fn parse(bytes: &[u8], shown: &Path, known: &[&'static str]) -> Result<Self, Error> {
        let path: Arc<Path> = shown.into();
        let mut found = Self::empty();
        let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
        for (line, number) in bytes.split(|byte| *byte == b'\n').zip(1..) {
            let line = line.trim_ascii();
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            let Some(equals) = line.iter().position(|byte| *byte == b'=') else {
                return Err(Error::NoAssignment { path: shown.to_owned(), line: number });
            };
            let (key, value) = (without_export(line[..equals].trim_ascii()), &line[equals + 1..]);
            match known.iter().find(|known| known.as_bytes() == key) {
                Some(key) => {
                    let origin = Origin::DotEnv { key, path: Arc::clone(&path), line: number };
                    let value = OsString::from_vec(unquoted(value.trim_ascii()).to_owned());
                    found.values.insert(key, Setting { value, origin });
                }
                None => found.strangers.push((String::from_utf8_lossy(key).into_owned(), number)),
            }
        }
        Ok(found)
    }

    /// One that says nothing.
    pub(super) const fn empty() -> Self {
        Self { values: BTreeMap::new(), strangers: Vec::new() }
    }

    /// What it says of `key`.
    pub(super) fn get(&self, key: &str) -> Option<Setting<&OsStr>> {
        let found = self.values.get(key)?;
        Some(Setting { value: &found.value, origin: found.origin.clone() })
    }
}

fn without_export(key: &[u8]) -> &[u8] {
    match key.strip_prefix(b"export") {
        Some(rest) if rest.first().is_some_and(u8::is_ascii_whitespace) => rest.trim_ascii_start(),
        _ => key,
    }
}

/// `value` without the quotes around it, where one of the same kind stands at either end.
fn unquoted(value: &[u8]) -> &[u8] {
    match value {
        [b'"', inner @ .., b'"'] | [b'\'', inner @ .., b'\''] => inner,
        _ => value,
    }
}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
