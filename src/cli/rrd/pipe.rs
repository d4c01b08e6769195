//! `latmon rrd - [DIR]`: a command per line, the way Cacti, LibreNMS and many scripts drive rrdtool for hours.
//!
//! After each command stands `OK u:.. s:.. r:..` (seconds of processor time as user and as system, and of the clock,
//! since the start) or `ERROR: text`, and the output is flushed.

use std::ffi::OsStr;
use std::io::{self, BufRead, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;

use super::{Error, dispatch, lossy};

/// More than any caller writes: an update of a hundred thousand readings, a graph of a thousand lines.
pub(super) const LONGEST_LINE: u64 = 16 << 20;

/// Makes `folder` the one that file names start from.
pub(super) fn enter(folder: &[u8]) -> Result<(), Error> {
    let name = OsStr::from_bytes(folder);
    std::env::set_current_dir(name).map_err(|error| Error::Folder { path: lossy(folder), error })
}

/// Answers the commands of `input` until it ends or one says `quit`.
pub(super) fn serve(input: &mut impl BufRead, out: &mut impl Write) -> Result<(), Error> {
    let began = Instant::now();
    let mut line = Vec::new();
    loop {
        let next = match read_line(input, &mut line).map_err(Error::Input)? {
            Line::End => return Ok(()),
            Line::TooLong => Err(Error::LongLine(LONGEST_LINE)),
            Line::Whole => split(trim(&line)).and_then(|words| command(&words, out)),
        };
        match next {
            Ok(Next::Quit) => return Ok(()),
            Ok(Next::Go) => write_ok(began.elapsed(), out),
            // Nobody is there to be told.
            Err(Error::Output(error)) => Err(error),
            Err(error) => writeln!(out, "ERROR: {error}"),
        }
        .and_then(|()| out.flush())
        .map_err(Error::Output)?;
    }
}

/// What was read.
pub(super) enum Line {
    /// It has no newline at its end only where the input ends.
    Whole,
    TooLong,
    End,
}

/// Reads a line; one that is too long is skipped to its end, so that the next command is a command.
pub(super) fn read_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<Line> {
    line.clear();
    if input.take(LONGEST_LINE).read_until(b'\n', line)? == 0 {
        return Ok(Line::End);
    }
    if line.len() as u64 == LONGEST_LINE && line.last() != Some(&b'\n') {
        *line = Vec::new();
        input.skip_until(b'\n')?;
        return Ok(Line::TooLong);
    }
    Ok(Line::Whole)
}

/// The line without the blanks and control characters at its ends. The original cuts bytes beyond ASCII too, and so
/// cannot reach a file whose name ends with one.
pub(super) fn trim(line: &[u8]) -> &[u8] {
    let is_text = |b: &u8| *b > b' ';
    let start = line.iter().position(is_text).unwrap_or(line.len());
    let end = line.iter().rposition(is_text).map_or(start, |last| last + 1);
    &line[start..end]
}

/// Splits at blanks, not at tabs; both kinds of quotes keep blanks, and each other, together.
pub(super) fn split(line: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
    let mut words = Vec::new();
    let (mut word, mut quote): (Option<Vec<u8>>, Option<u8>) = (None, None);
    for byte in line {
        match (*byte, quote) {
            (b' ', None) => words.extend(word.take()),
            (b'"' | b'\'', None) => {
                quote = Some(*byte);
                word.get_or_insert_default();
            }
            (byte, Some(open)) if byte == open => quote = None,
            (byte, _) => word.get_or_insert_default().push(byte),
        }
    }
    words.extend(word);
    if quote.is_some() { Err(Error::Quotes) } else { Ok(words) }
}

/// What comes after a command.
pub(super) enum Next {
    Go,
    Quit,
}

/// A command that exists in this mode only, or one of the verbs.
pub(super) fn command(words: &[Vec<u8>], out: &mut impl Write) -> Result<Next, Error> {
    let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
    match words[..] {
        [b"quit"] => return Ok(Next::Quit),
        [b"cd", folder] => enter(folder)?,
        [b"pwd"] => {
            let folder = std::env::current_dir().map_err(|error| Error::Here { what: "getcwd", error })?;
            out.write_all(folder.as_os_str().as_bytes())
                .and_then(|()| out.write_all(b"\n"))
                .map_err(Error::Output)?;
        }
        [b"mkdir", folder] => std::fs::create_dir(OsStr::from_bytes(folder))
            .map_err(|error| Error::MakeFolder { path: lossy(folder), error })?,
        [b"ls"] => list(out)?,
        [name @ (b"quit" | b"cd" | b"pwd" | b"mkdir" | b"ls"), ..] => {
            return Err(Error::ParameterCount(lossy(name)));
        }
        [b"restore", ref rest @ ..] if rest.contains(&&b"-"[..]) => return Err(Error::InputTaken),
        _ => dispatch(&words, out)?,
    }
    Ok(Next::Go)
}

/// The folders and the archives in the current folder; links are followed.
fn list(out: &mut impl Write) -> Result<(), Error> {
    let failed = |error| Error::Here { what: "opendir", error };
    // These two are in the original's list, and not in what the standard library reads.
    out.write_all(b"d .\nd ..\n").map_err(Error::Output)?;
    for entry in Path::new(".").read_dir().map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let Ok(metadata) = std::fs::metadata(&name) else { continue };
        let kind = if metadata.is_dir() {
            b"d "
        } else if metadata.is_file() && name.as_bytes().ends_with(b".rrd") {
            b"- "
        } else {
            continue;
        };
        out.write_all(&[kind, name.as_bytes(), b"\n"].concat()).map_err(Error::Output)?;
    }
    Ok(())
}

pub(super) fn write_ok(real: Duration, out: &mut impl Write) -> io::Result<()> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let secs = |time: TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    let (user, system) = (secs(usage.user_time()), secs(usage.system_time()));
    writeln!(out, "OK u:{user:.2} s:{system:.2} r:{:.2}", real.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(input: &[u8]) -> Vec<String> {
        let mut out = Vec::new();
        serve(&mut &input[..], &mut out).unwrap();
        String::from_utf8(out).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn quotes_group_and_are_dropped() {
        let words = |line: &[u8]| {
            split(line).ok().map(|words| {
                words.into_iter().map(|word| String::from_utf8(word).unwrap()).collect::<Vec<_>>()
            })
        };
        let expected = |expected: &[&str]| Some(expected.iter().map(|word| (*word).to_owned()).collect());
        assert_eq!(words(b"a  b\tc"), expected(&["a", "b\tc"]));
        assert_eq!(words(br#""a b" 'c "d' '' e'f'"#), expected(&["a b", "c \"d", "", "ef"]));
        assert_eq!(words(b""), expected(&[]));
        assert_eq!(words(b"a 'b"), None);
        assert_eq!(trim("\t last \u{e4}\r\n".as_bytes()), "last \u{e4}".as_bytes());
        assert_eq!(trim(b" \n"), b"");
    }

    /// A line without end must not fill the memory, and what follows it is a command again.
    #[test]
    fn a_line_too_long_is_refused_and_skipped() {
        let mut input = vec![b'x'; LONGEST_LINE as usize + 5];
        input.extend_from_slice(b"\nfoo bar");
        let expected = ["ERROR: the line is longer than 16777216 bytes", "ERROR: unknown function 'foo'"];
        assert_eq!(answers(&input), expected);
    }
}
