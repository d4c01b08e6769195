//! `latmon rrd - [DIR]`: a command per line, the way Cacti, LibreNMS and many scripts drive rrdtool for hours.
//!
//! Each command is answered with `OK u:.. s:.. r:..` (seconds of processor time as user and as system, and of the
//! clock, since the start) or `ERROR: text`. Commands that are already in the input's buffer are taken together: the
//! files that they update stay locked from one to the next. Before more is waited for, the files are let go of and the
//! answers flushed, so that who writes a command and waits is answered at once.

use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;

use latmon::rrd;

use super::{Error, dispatch, lossy, verbs};

/// More than any caller writes: an update of a hundred thousand readings, a graph of a thousand lines.
pub(super) const LONGEST_LINE: u64 = 16 << 20;

/// Makes `folder` the one that file names start from.
pub(super) fn enter(folder: &[u8]) -> Result<(), Error> {
    let name = OsStr::from_bytes(folder);
    std::env::set_current_dir(name).map_err(|error| Error::Folder { path: lossy(folder), error })
}

/// What is remembered from one command to the next.
struct Session {
    /// The files that are updated, with their locks as long as more commands are already here.
    files: rrd::Set,
    /// What the updates are answered with, once their files are let go of.
    answers: Vec<u8>,
    clock: Clock,
}

/// Answers the commands of `input` until it ends or one says `quit`.
pub(super) fn serve(input: impl Read, out: &mut impl Write) -> Result<(), Error> {
    /// As many commands as one read can bring: all that fit into a pipe.
    const READ_AHEAD: usize = 64 << 10;
    let mut input = BufReader::with_capacity(READ_AHEAD, input);
    let mut session = Session { files: rrd::Set::new(), answers: Vec::new(), clock: Clock::new() };
    let outcome = session.serve(&mut input, out);
    session.settle(out).and(outcome)
}

impl Session {
    fn serve(&mut self, input: &mut BufReader<impl Read>, out: &mut impl Write) -> Result<(), Error> {
        /// Answers are handed over when so many wait, so that a long script does not fill the memory.
        const MANY: usize = 64 << 10;
        let (mut line, mut words) = (Vec::new(), Words::default());
        loop {
            if !input.buffer().contains(&b'\n') {
                // Reading may take its time.
                self.settle(out)?;
                out.flush().map_err(Error::Output)?;
            } else if self.answers.len() >= MANY {
                self.settle(out)?;
            }
            let next = match read_line(input, &mut line).map_err(Error::Input)? {
                Line::End => return Ok(()),
                Line::TooLong => Err(Error::LongLine(LONGEST_LINE)),
                Line::Whole => words.split(trim(&line)).and_then(|()| self.command(&words.list(), out)),
            };
            match next {
                Ok(Next::Quit) => return Ok(()),
                Ok(Next::Go) => self.answers.extend_from_slice(self.clock.ok()),
                // Nobody is there to be told.
                Err(error @ Error::Output(_)) => return Err(error),
                Err(error) => {
                    writeln!(self.answers, "ERROR: {error}").expect("memory takes every write");
                }
            }
        }
    }

    /// Lets go of all files, and then tells what became of the updates. In this order: whoever is told may want them,
    /// and a pipe that nobody reads must not keep them locked.
    fn settle(&mut self, out: &mut impl Write) -> Result<(), Error> {
        self.files.release();
        out.write_all(&self.answers).map_err(Error::Output)?;
        self.answers.clear();
        Ok(())
    }

    /// An update goes to the files that are kept; a command that exists in this mode only, or another verb, finds them
    /// let go of.
    fn command(&mut self, words: &[&[u8]], out: &mut impl Write) -> Result<Next, Error> {
        if let [b"update", args @ ..] = words
            && !args.is_empty()
        {
            return verbs::update_in(&mut self.files, args).map(|()| Next::Go);
        }
        self.settle(out)?;
        command(words, out)
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

/// The words of a line; the memory is used again for the next.
#[derive(Default)]
pub(super) struct Words {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Words {
    /// Splits at blanks, not at tabs; both kinds of quotes keep blanks, and each other, together.
    pub(super) fn split(&mut self, line: &[u8]) -> Result<(), Error> {
        self.bytes.clear();
        self.ends.clear();
        let (mut is_word, mut quote): (bool, Option<u8>) = (false, None);
        for byte in line {
            match (*byte, quote) {
                (b' ', None) => {
                    if is_word {
                        self.ends.push(self.bytes.len());
                    }
                    is_word = false;
                    continue;
                }
                (b'"' | b'\'', None) => quote = Some(*byte),
                (byte, Some(open)) if byte == open => quote = None,
                (byte, _) => self.bytes.push(byte),
            }
            is_word = true;
        }
        if is_word {
            self.ends.push(self.bytes.len());
        }
        if quote.is_some() { Err(Error::Quotes) } else { Ok(()) }
    }

    pub(super) fn list(&self) -> Vec<&[u8]> {
        let starts = std::iter::once(&0).chain(&self.ends);
        starts.zip(&self.ends).map(|(start, end)| &self.bytes[*start..*end]).collect()
    }
}

/// What comes after a command.
pub(super) enum Next {
    Go,
    Quit,
}

/// A command that exists in this mode only, or one of the verbs.
pub(super) fn command(words: &[&[u8]], out: &mut impl Write) -> Result<Next, Error> {
    match *words {
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
        _ => dispatch(words, out)?,
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

/// What stands behind `OK`: seconds of processor time and of the clock.
pub(super) struct Clock {
    began: Instant,
    /// When the times were asked for.
    asked: Option<Duration>,
    line: Vec<u8>,
}

impl Clock {
    /// The times are told in hundredths of a second: so long they stay true enough. Asking for them takes as long as an
    /// update.
    const GOOD_FOR: Duration = Duration::from_millis(1);

    pub(super) fn new() -> Self {
        Self { began: Instant::now(), asked: None, line: Vec::new() }
    }

    /// `OK u:.. s:.. r:..`
    pub(super) fn ok(&mut self) -> &[u8] {
        let real = self.began.elapsed();
        if self.asked.is_none_or(|asked| real - asked >= Self::GOOD_FOR) {
            self.asked = Some(real);
            let usage = getrusage(UsageWho::RUSAGE_SELF);
            let secs = |time: TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
            // It does not fail for the process itself.
            let (user, system) =
                usage.map_or((0.0, 0.0), |usage| (secs(usage.user_time()), secs(usage.system_time())));
            let real = real.as_secs_f64();
            self.line = format!("OK u:{user:.2} s:{system:.2} r:{real:.2}\n").into_bytes();
        }
        &self.line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(input: &[u8]) -> Vec<String> {
        let mut out = Vec::new();
        serve(input, &mut out).unwrap();
        String::from_utf8(out).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn quotes_group_and_are_dropped() {
        let words = |line: &[u8]| {
            let mut words = Words::default();
            let text = |word: &&[u8]| String::from_utf8(word.to_vec()).unwrap();
            words.split(line).ok().map(|()| words.list().iter().map(text).collect::<Vec<_>>())
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
