//! Encoded words (RFC 2047) in UTF-8, which is all that our own mails have: `=?utf-8?b?R3LDtsOfZQ==?=`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The text of a field as people read it, on one line. What is encoded in another way stays as it stands.
pub(super) fn words(text: &str) -> String {
    let mut decoded = Vec::with_capacity(text.len());
    let mut was_encoded = false;
    for word in text.split_ascii_whitespace() {
        let bytes = encoded(word);
        // A blank between two encoded words is there for their encoding only.
        let is_continued = was_encoded && bytes.is_some();
        if !decoded.is_empty() && !is_continued {
            decoded.push(b' ');
        }
        was_encoded = bytes.is_some();
        decoded.extend(bytes.unwrap_or_else(|| word.into()));
    }
    let text = String::from_utf8_lossy(&decoded);
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn encoded(word: &str) -> Option<Vec<u8>> {
    let word = word.strip_prefix("=?")?.strip_suffix("?=")?;
    let mut parts = word.split('?');
    let (charset, encoding, text) = (parts.next()?, parts.next()?, parts.next()?);
    if !charset.eq_ignore_ascii_case("utf-8") || parts.next().is_some() {
        return None;
    }
    match encoding {
        "b" | "B" => STANDARD.decode(text).ok(),
        "q" | "Q" => Some(quoted(text)),
        _ => None,
    }
}

fn quoted(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let hex = after.get(..2).filter(|_| *first == b'=').and_then(|hex| std::str::from_utf8(hex).ok());
        let byte = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        rest = if byte.is_some() { &after[2..] } else { after };
        bytes.push(byte.unwrap_or(if *first == b'_' { b' ' } else { *first }));
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoded_words_are_read() {
        for (text, expected) in [
            ("plain =words stay", "plain =words stay"),
            ("=?utf-8?b?R3LDtsOfZQ==?= of =?UTF-8?Q?a_=3D?= =?utf-8?q?b?=", "Gr\u{f6}\u{df}e of a =b"),
            ("=?iso-8859-1?q?a?= =?utf-8?b?!?=", "=?iso-8859-1?q?a?= =?utf-8?b?!?="),
            ("=?utf-8?q?=0A=ff=f?=", " \u{fffd}=f"),
        ] {
            assert_eq!(words(text), expected);
        }
    }
}
