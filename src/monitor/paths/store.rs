//! `DATA_DIR/paths.json`: the good paths, so that a monitor that starts during an outage knows them. They are an ornament
//! of mails: losing the last ones costs nothing, so nothing is synced.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::round::Rtt;
use crate::time::UnixTime;
use crate::whole::{self, Error};

/// A path on which its target answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::monitor) struct GoodPath {
    /// When.
    pub(in crate::monitor) at: UnixTime,
    /// The target's address.
    pub(in crate::monitor) address: IpAddr,
    /// The hops, the nearest first, without gaps; the last is the target's.
    pub(in crate::monitor) hops: Vec<GoodHop>,
}

/// One hop of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::monitor) struct GoodHop {
    /// How many hops away it is, from 1.
    pub(in crate::monitor) distance: u8,
    /// Who answered, the quickest first; nobody at a shy router.
    pub(in crate::monitor) from: Vec<IpAddr>,
    /// The name of the first of them, where it has one.
    pub(in crate::monitor) name: Option<String>,
    /// The upper median of their answers.
    pub(in crate::monitor) median: Option<Rtt>,
}

/// The file.
pub(super) struct Store(PathBuf);

impl Store {
    pub(super) fn new(data_dir: &Path) -> Self {
        Self(data_dir.join("paths.json"))
    }

    /// The good paths by their targets' names; none where there is no file.
    pub(super) fn load(&self) -> Result<HashMap<String, GoodPath>, Error> {
        let failed = |error| Error { operation: "read", path: self.0.clone(), error };
        let file = match File::open(&self.0) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(HashMap::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut text = Vec::new();
        file.take(MOST_BYTES).read_to_end(&mut text).map_err(failed)?;
        let mut paths: HashMap<String, GoodPath> =
            serde_json::from_slice(&text).map_err(|error| failed(error.into()))?;
        paths.retain(|_, path| path.is_sound());
        Ok(paths)
    }

    /// Replaces the file as a whole.
    pub(super) fn save(&self, paths: &HashMap<String, GoodPath>) -> Result<(), Error> {
        let text = serde_json::to_vec(paths).expect("addresses and words have a form in JSON");
        whole::write_unsynced(&self.0, &text)
    }
}

impl GoodPath {
    /// The hops are counted from 1 without gaps, as the comparison with another path takes for granted, and bounded.
    fn is_sound(&self) -> bool {
        self.hops.len() <= MOST_HOPS
            && self.hops.iter().zip(1..).all(|(hop, distance)| {
                hop.distance == distance
                    && hop.from.len() <= MOST_ANSWERS
                    && hop.name.as_ref().is_none_or(|name| name.len() <= MOST_NAME)
            })
    }
}

/// Ten thousand paths of thirty hops, with names.
const MOST_BYTES: u64 = 64 << 20;
const MOST_HOPS: usize = 64;
const MOST_ANSWERS: usize = 20;
/// A host name has at most 253 characters.
const MOST_NAME: usize = 255;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_is_saved_is_loaded_and_nothing_unsound() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        assert!(store.load().unwrap().is_empty());
        let hop = |distance| GoodHop {
            distance,
            from: vec![[192, 0, 2, distance].into()],
            name: Some(format!("r{distance}.example")),
            median: Rtt::from_secs_f64(0.001),
        };
        let path = |distances: &[u8]| GoodPath {
            at: UnixTime::from_secs(1_700_000_000),
            address: [192, 0, 2, 2].into(),
            hops: distances.iter().map(|distance| hop(*distance)).collect(),
        };
        let sound = HashMap::from([("a".to_owned(), path(&[1, 2]))]);
        store.save(&sound).unwrap();
        assert_eq!(store.load().unwrap(), sound);
        let mut with_gap = sound.clone();
        with_gap.insert("b".into(), path(&[1, 3]));
        store.save(&with_gap).unwrap();
        assert_eq!(store.load().unwrap(), sound);
        for text in ["", "{", "[]", "{\"a\": 1}", "\u{0}"] {
            fs::write(dir.path().join("paths.json"), text).unwrap();
            let error = store.load().unwrap_err().to_string();
            assert!(error.contains("paths.json: cannot read: "), "{error}");
        }
    }
}
