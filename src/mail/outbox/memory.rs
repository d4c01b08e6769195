//! What the disk did not take: it is sent all the same, and written once there is room.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};

use super::Kind;

/// Files that are to lie in the outbox, and do not, or are older there.
#[derive(Debug, Default)]
pub(super) struct Memory {
    files: BTreeMap<PathBuf, Vec<u8>>,
    bytes: usize,
    /// What has arrived without ever lying in `sent/`, the newest last.
    arrived: VecDeque<(Kind, String)>,
    /// What the disk said when it began to refuse; `None` while all is well.
    pub(super) trouble: Option<String>,
}

impl Memory {
    /// Takes a file in; `false` when there is no room here either.
    #[must_use]
    pub(super) fn hold(&mut self, path: &Path, bytes: &[u8]) -> bool {
        let others = self.bytes - self.files.get(path).map_or(0, Vec::len);
        let is_new = !self.files.contains_key(path);
        if others + bytes.len() > MOST_BYTES || (is_new && self.files.len() == MOST_FILES) {
            return false;
        }
        self.bytes = others + bytes.len();
        self.files.insert(path.to_owned(), bytes.to_owned());
        true
    }

    pub(super) fn get(&self, path: &Path) -> Option<&[u8]> {
        self.files.get(path).map(Vec::as_slice)
    }

    pub(super) fn release(&mut self, path: &Path) -> Option<Vec<u8>> {
        let bytes = self.files.remove(path)?;
        self.bytes -= bytes.len();
        Some(bytes)
    }

    /// Their paths, in order.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        self.files.keys().cloned().collect()
    }

    /// Remembers what has arrived and could not be filed.
    pub(super) fn arrived(&mut self, kind: Kind, key: &str) {
        self.arrived.push_back((kind, key.to_owned()));
        if self.arrived.len() > MOST_FILES {
            self.arrived.pop_front();
        }
    }

    pub(super) fn has_arrived(&self, kind: Kind, key: &str) -> bool {
        self.arrived.iter().any(|(other, arrived)| *other == kind && arrived == key)
    }
}

const MOST_BYTES: usize = 64 << 20;
const MOST_FILES: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_bounds() {
        let mut memory = Memory::default();
        let path = Path::new("0");
        assert!(memory.hold(path, &vec![0; MOST_BYTES]) && memory.hold(path, &vec![1; MOST_BYTES]));
        assert!(!memory.hold(Path::new("1"), b"x"));
        assert_eq!(memory.get(path).unwrap()[0], 1);
        memory.release(path).unwrap();
        assert!((0..MOST_FILES).all(|number| memory.hold(Path::new(&number.to_string()), b"x")));
        assert!(!memory.hold(Path::new("one more"), b"") && memory.hold(path, b"y"));
        assert_eq!(memory.bytes, MOST_FILES);
        (0..=MOST_FILES).for_each(|number| memory.arrived(Kind::Mail, &number.to_string()));
        assert!(!memory.has_arrived(Kind::Mail, "0") && memory.has_arrived(Kind::Mail, "1"));
        assert!(!memory.has_arrived(Kind::Post, "1"));
    }
}
