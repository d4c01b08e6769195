//! Options as rrdtool reads them: they may stand between words, `--` ends them, long ones take `=value` or the next
//! word, short ones can be joined.

use std::borrow::Cow;

use super::lossy;

/// An option that a verb knows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub(super) short: Option<u8>,
    pub(super) long: &'static str,
    pub(super) takes_value: bool,
}

/// An option without a value.
pub(super) const fn flag(short: char, long: &'static str) -> Known {
    Known { short: Some(short as u8), long, takes_value: false }
}

/// An option with a value.
pub(super) const fn value(short: char, long: &'static str) -> Known {
    Known { short: Some(short as u8), long, takes_value: true }
}

/// An option that was typed: its long name and its value, which is empty for a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Typed<'a> {
    pub(super) long: &'static str,
    pub(super) value: &'a [u8],
}

/// Words in their order: a call can have a hundred thousand, which are not copied where there is nothing else among them.
pub(super) type Words<'a> = Cow<'a, [&'a [u8]]>;

/// What was typed behind a verb.
#[derive(Debug)]
pub(super) struct Parsed<'a> {
    /// The options in their order; the last one may be an error, and then nothing behind it was looked at.
    pub(super) options: Vec<Result<Typed<'a>, Error>>,
    /// Everything else, in its order.
    pub(super) words: Words<'a>,
}

/// Why an option was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    /// No such option.
    #[error("{}", cut("invalid option", .0))]
    Invalid(String),
    /// A short option that stands last.
    #[error("{}", cut("option requires an argument", .0))]
    ShortValueMissing(String),
    /// A long option that stands last.
    #[error("{}", cut("option requires argument", .0))]
    LongValueMissing(String),
    /// `--flag=value`.
    #[error("{}", cut("option takes no arguments", .0))]
    NoValue(String),
}

/// The original keeps no more of these texts.
fn cut(problem: &str, option: &str) -> String {
    const LONGEST: usize = 47;
    let mut text = format!("{problem} -- '{option}'");
    let end = (0..=LONGEST.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.truncate(end);
    text
}

/// Sorts the arguments of a verb into options and words.
pub(super) fn parse<'a>(args: &'a [&'a [u8]], known: &[Known]) -> Parsed<'a> {
    if !args.iter().any(|arg| arg.len() > 1 && arg[0] == b'-') {
        return Parsed { options: Vec::new(), words: Cow::Borrowed(args) };
    }
    let (mut options, mut words) = (Vec::new(), Vec::with_capacity(args.len()));
    let mut rest = args.iter().copied();
    while let Some(arg) = rest.next() {
        if arg == b"--" {
            words.extend(rest);
            break;
        }
        let failed = if let Some(long) = arg.strip_prefix(b"--") {
            long_option(long, &mut rest, known, &mut options)
        } else if arg.len() > 1 && arg[0] == b'-' {
            short_options(&arg[1..], &mut rest, known, &mut options)
        } else {
            words.push(arg);
            Ok(())
        };
        if let Err(error) = failed {
            options.push(Err(error));
            break;
        }
    }
    Parsed { options, words: Cow::Owned(words) }
}

fn long_option<'a>(
    text: &'a [u8],
    rest: &mut impl Iterator<Item = &'a [u8]>,
    known: &[Known],
    options: &mut Vec<Result<Typed<'a>, Error>>,
) -> Result<(), Error> {
    let (name, inline) = match text.iter().position(|b| *b == b'=') {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    let option = known
        .iter()
        .find(|option| option.long.as_bytes() == name)
        .ok_or_else(|| Error::Invalid(lossy(text)))?;
    let long = option.long;
    let value = match (option.takes_value, inline) {
        (false, None) => &[][..],
        (false, Some(_)) => return Err(Error::NoValue(long.to_owned())),
        (true, Some(value)) => value,
        (true, None) => rest.next().ok_or_else(|| Error::LongValueMissing(long.to_owned()))?,
    };
    options.push(Ok(Typed { long, value }));
    Ok(())
}

fn short_options<'a>(
    letters: &'a [u8],
    rest: &mut impl Iterator<Item = &'a [u8]>,
    known: &[Known],
    options: &mut Vec<Result<Typed<'a>, Error>>,
) -> Result<(), Error> {
    for (index, letter) in letters.iter().enumerate() {
        let shown = || lossy(&letters[index..=index]);
        let option = known
            .iter()
            .find(|option| option.short == Some(*letter))
            .ok_or_else(|| Error::Invalid(shown()))?;
        let long = option.long;
        if !option.takes_value {
            options.push(Ok(Typed { long, value: &[] }));
            continue;
        }
        let value = match &letters[index + 1..] {
            [] => rest.next().ok_or_else(|| Error::ShortValueMissing(shown()))?,
            joined => joined,
        };
        options.push(Ok(Typed { long, value }));
        break;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_and_words_may_mix() {
        let known = [value('b', "start"), flag('O', "no-overwrite")];
        let args: Vec<&[u8]> =
            [&b"f"[..], b"-Ob5", b"--start=6", b"w", b"--start", b"-7", b"--", b"-b"].into();
        let parsed = parse(&args, &known);
        let options: Vec<_> = parsed.options.into_iter().map(|option| option.unwrap()).collect();
        let typed = |long, value: &'static [u8]| Typed { long, value };
        assert_eq!(
            options,
            [typed("no-overwrite", b""), typed("start", b"5"), typed("start", b"6"), typed("start", b"-7")]
        );
        assert_eq!(*parsed.words, [&b"f"[..], b"w", b"-b"]);
    }
}
