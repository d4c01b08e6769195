//! What the files of the outbox are called: `SECONDS.MICROS-KEY.eml`, ten digits and six.

use std::fmt;

use super::Kind;

/// The name of a file that is ours.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Name {
    /// When it was decided on, in microseconds.
    pub(super) micros: i64,
    /// Its key, in the letters of a file name.
    pub(super) key: String,
    /// By its ending.
    pub(super) kind: Kind,
}

impl Name {
    /// The name of something decided on at `micros`, or at the end of the times that a name can say.
    pub(super) fn new(micros: i64, key: String, kind: Kind) -> Self {
        Self { micros: micros.clamp(0, LAST_MICROS), key, kind }
    }

    /// `None` for names that are not ours.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let (stem, kind) =
            Kind::ALL.into_iter().find_map(|kind| Some((name.strip_suffix(kind.ending())?, kind)))?;
        let (secs, rest) = stem.split_once('.')?;
        let (micros, key) = rest.split_once('-')?;
        let digits =
            |text: &str, count| text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(secs, 10) || !digits(micros, 6) || key.is_empty() {
            return None;
        }
        let micros = secs.parse::<i64>().ok()? * 1_000_000 + micros.parse::<i64>().ok()?;
        Some(Self { micros, key: key.to_owned(), kind })
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (secs, micros) = (self.micros / 1_000_000, self.micros % 1_000_000);
        write!(f, "{secs:010}.{micros:06}-{}{}", self.key, self.kind.ending())
    }
}

/// The last time of ten digits of seconds, in 2286.
const LAST_MICROS: i64 = 9_999_999_999_999_999;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for (name, kind) in [
            ("1700000000.000001-fra%2Fcore1-down.eml", Kind::Mail),
            ("0000000000.000000-a.b.post.json", Kind::Post),
            ("9999999999.999999-a.command.json", Kind::Command),
        ] {
            let read = Name::parse(name).unwrap();
            assert_eq!((read.kind, read.to_string().as_str()), (kind, name));
        }
        assert_eq!(Name::new(i64::MIN, "a".into(), Kind::Mail).to_string(), "0000000000.000000-a.eml");
        assert_eq!(Name::new(i64::MAX, "a".into(), Kind::Mail).micros, LAST_MICROS);
    }

    #[test]
    fn names_of_others_are_not_ours() {
        for name in [
            "a.eml",
            "1.2-a.eml",
            "0000000001.000000-.eml",
            "0000000001.000000-a",
            "0000000001.000000-a.json",
            "+000000001.000000-a.eml",
        ] {
            assert_eq!(Name::parse(name), None, "{name}");
        }
    }
}
