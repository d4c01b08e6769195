//! `latmon rrd --journal FOLDER VERB ..`: updates that a crash neither loses nor tears. In the pipe mode those that wait to
//! be read make a group, which shares one sync; their answers come after it, in the order of the commands.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::OsStr;
use std::io::{self, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use latmon::archive::journal::{self, GROUP_BYTES, GROUP_FILES, Journal};
use latmon::rrd::{self, Prepared, Written};

use super::pipe::{self, Clock, Line, Next, Words};
use super::verbs::{self, TypedUpdate};
use super::{Error, dispatch};
use crate::cli::log;

/// Holds the lines of a group.
const INPUT_BUFFER: usize = 1 << 18;

/// Opens the journal, which brings the archives up to date, and runs a verb, or those that the standard input has.
pub(super) fn run(folder: &[u8], args: &[&[u8]], out: &mut impl Write) -> Result<(), Error> {
    log::start();
    let (journal, recovered) = Journal::open(Path::new(OsStr::from_bytes(folder)))?;
    recovered.tell();
    let mut session = Session {
        journal,
        group: Vec::new(),
        bytes: 0,
        places: HashMap::new(),
        answers: Vec::new(),
        clock: Clock::new(),
    };
    let done = match args {
        [b"-"] => session.serve_input(out),
        [b"-", folder] => pipe::enter(folder).and_then(|()| session.serve_input(out)),
        _ => session.run_once(args, out),
    };
    let left = session.journal.leave();
    done.and(left.map_err(Error::from))
}

struct Session {
    journal: Journal,
    /// The archives whose updates wait, each once.
    group: Vec<Prepared<'static>>,
    /// Their bytes, more or less.
    bytes: usize,
    /// Where each stands, by its device and its number there: two names may be of one file.
    places: HashMap<(u64, u64), usize>,
    answers: Vec<Answer>,
    clock: Clock,
}

/// What will be said to a command once its group is stored.
struct Answer {
    /// Its archive in the group, where it came so far.
    place: Option<usize>,
    outcome: Result<(), Error>,
}

impl Session {
    fn run_once(&mut self, args: &[&[u8]], out: &mut impl Write) -> Result<(), Error> {
        match args {
            [b"update", update @ ..] if !update.is_empty() => {
                let answer = self.update(update, &mut Vec::new())?;
                let stored = self.store();
                answer.told(&stored)
            }
            [b"updatev", update @ ..] if !update.is_empty() => self.updatev(update, out),
            _ => dispatch(args, out),
        }
    }

    fn serve_input(&mut self, out: &mut impl Write) -> Result<(), Error> {
        let input = io::stdin().as_fd().try_clone_to_owned().map_err(Error::Input)?;
        self.serve(&mut BufReader::with_capacity(INPUT_BUFFER, std::fs::File::from(input)), out)
    }

    /// Answers the commands of `input` until it ends or one says `quit`.
    fn serve(&mut self, input: &mut BufReader<impl Read>, out: &mut impl Write) -> Result<(), Error> {
        let (mut line, mut words) = (Vec::new(), Words::default());
        loop {
            let split = match pipe::read_line(input, &mut line).map_err(Error::Input)? {
                Line::End => return self.answer(out).map(drop),
                Line::TooLong => Err(Error::LongLine(pipe::LONGEST_LINE)),
                Line::Whole => words.split(pipe::trim(&line)),
            };
            let words = split.map(|()| words.list());
            match words.as_deref() {
                Ok([b"update", update @ ..]) if !update.is_empty() => {
                    let answer = self.update(update, out)?;
                    self.answers.push(answer);
                }
                _ => {
                    // What it does, or sees, comes after what was said before.
                    self.answer(out)?;
                    match words.and_then(|words| self.command(&words, out)) {
                        Ok(Next::Quit) => return Ok(()),
                        Ok(Next::Go) => out.write_all(self.clock.ok()),
                        // Nobody is there to be told.
                        Err(Error::Output(error)) => Err(error),
                        Err(error) => writeln!(out, "ERROR: {error}"),
                    }
                    .and_then(|()| out.flush())
                    .map_err(Error::Output)?;
                }
            }
            let is_full = self.answers.len() >= GROUP_FILES || self.bytes >= GROUP_BYTES;
            if is_full || !input.buffer().contains(&b'\n') {
                self.answer(out)?;
            }
        }
    }

    fn command(&mut self, words: &[&[u8]], out: &mut impl Write) -> Result<Next, Error> {
        match words {
            [b"updatev", update @ ..] if !update.is_empty() => self.updatev(update, out).map(|()| Next::Go),
            _ => pipe::command(words, out),
        }
    }

    /// Adds an update to the group. One that fills it stores what is there before it goes on; only then an answer is
    /// written, and that is all that can fail the whole.
    fn update(&mut self, args: &[&[u8]], out: &mut impl Write) -> Result<Answer, Error> {
        let refused = |place, error| Ok(Answer { place, outcome: Err(error) });
        let typed = match verbs::typed_update(args) {
            Ok(typed) => typed,
            Err(error) => return refused(None, error),
        };
        let mut rest = typed.arguments();
        loop {
            let mut found = self.place(typed.file);
            if matches!(found, Err(Error::Archive(rrd::Error::Locked { .. }))) && !self.group.is_empty() {
                // Its owner may wait for one of ours.
                self.answer(out)?;
                found = self.place(typed.file);
            }
            let place = match found {
                Ok(place) => place,
                Err(error) => return refused(None, error),
            };
            let archive = &mut self.group[place];
            let waited = archive.waiting_bytes();
            let taken = archive.update_text(&typed.options, rest);
            self.bytes += archive.waiting_bytes().saturating_sub(waited);
            match taken {
                Ok(count) => rest = &rest[count..],
                Err(error) => return refused(Some(place), error.into()),
            }
            if rest.is_empty() {
                return Ok(Answer { place: Some(place), outcome: Ok(()) });
            }
            let stored = self.answer(out)?;
            if let Some(Err(error)) = stored.get(place) {
                return refused(None, error.clone().into());
            }
        }
    }

    /// An update whose rows are told: it is stored at once.
    fn updatev(&mut self, args: &[&[u8]], out: &mut impl Write) -> Result<(), Error> {
        let typed = verbs::typed_updatev(args)?;
        let mut written = Written::default();
        let mut rest = typed.arguments();
        let outcome = loop {
            let taken = self.watched(&typed, rest, &mut written);
            let stored = self.store().into_iter().find_map(Result::err);
            match (taken, stored) {
                (Err(error), _) => break Err(error),
                (_, Some(error)) => break Err(error.into()),
                (Ok(count), None) => rest = &rest[count..],
            }
            if rest.is_empty() {
                break Ok(());
            }
        };
        verbs::tell_written(&written, outcome.is_ok(), out).map_err(Error::Output)?;
        outcome
    }

    fn watched(
        &mut self,
        typed: &TypedUpdate<'_>,
        rest: &[&[u8]],
        written: &mut Written,
    ) -> Result<usize, Error> {
        let place = self.place(typed.file)?;
        let archive = &mut self.group[place];
        archive.watch();
        let taken = archive.update_text(&typed.options, rest);
        let mut told = archive.take_written();
        written.names = told.names;
        written.rows.append(&mut told.rows);
        Ok(taken?)
    }

    /// The archive's place in the group, which it joins where it is not in there yet. Only the first one is waited for.
    fn place(&mut self, file: &[u8]) -> Result<usize, Error> {
        let path = Path::new(OsStr::from_bytes(file));
        // What cannot be asked cannot be opened either, and that is told in the original's words.
        let id = path.metadata().map(|metadata| (metadata.dev(), metadata.ino())).ok();
        match id.map(|id| self.places.entry(id)) {
            Some(Entry::Occupied(there)) => Ok(*there.get()),
            entry => {
                let place = self.group.len();
                let archive = if place == 0 { Prepared::open(path) } else { Prepared::open_at_once(path) }?;
                self.bytes += archive.waiting_bytes();
                self.group.push(archive);
                entry.map(|entry| entry.or_insert(place));
                Ok(place)
            }
        }
    }

    /// Stores the group and answers its commands.
    fn answer(&mut self, out: &mut impl Write) -> Result<Vec<Result<(), journal::Error>>, Error> {
        let stored = self.store();
        for answer in std::mem::take(&mut self.answers) {
            match answer.told(&stored) {
                Ok(()) => out.write_all(self.clock.ok()),
                Err(error) => writeln!(out, "ERROR: {error}"),
            }
            .map_err(Error::Output)?;
        }
        out.flush().map_err(Error::Output)?;
        Ok(stored)
    }

    fn store(&mut self) -> Vec<Result<(), journal::Error>> {
        self.places.clear();
        self.bytes = 0;
        self.journal.commit(self.group.drain(..))
    }
}

impl Answer {
    fn told(self, stored: &[Result<(), journal::Error>]) -> Result<(), Error> {
        self.outcome?;
        match self.place.and_then(|place| stored.get(place)) {
            Some(Err(error)) => Err(error.clone().into()),
            _ => Ok(()),
        }
    }
}
