//! `latmon rrd VERB ..`: what `rrdtool VERB ..` takes, prints and answers, to the byte.

mod create;
mod journaled;
mod options;
mod pipe;
mod tune;
mod verbs;
mod xport;

use std::io::{self, Write};

use latmon::archive::journal;
use latmon::rrd;

/// Runs a verb, or those that the standard input has, and returns the exit code: 0, or 1 after an error that was told
/// on `err`, or 2 where the folder of the pipe mode cannot be entered.
pub(crate) fn run(args: &[&[u8]], out: &mut impl Write, err: &mut impl Write) -> u8 {
    let outcome = match *args {
        [b"--journal", b"", ..] => Err(Error::Usage("--journal needs the name of a folder")),
        [b"--journal", folder, ref rest @ ..] => journaled::run(folder, rest, out),
        [b"-"] => pipe::serve(io::stdin().lock(), out),
        [b"-", folder] => pipe::enter(folder).and_then(|()| pipe::serve(io::stdin().lock(), out)),
        _ => dispatch(args, out),
    }
    .and_then(|()| out.flush().map_err(Error::Output));
    let Err(error) = outcome else { return 0 };
    if let Error::Output(error) = &error
        && error.kind() == io::ErrorKind::BrokenPipe
    {
        // Who closed the pipe has read enough.
        return 0;
    }
    // What was printed before the error stands before it, and nobody is left to tell when this fails.
    let _ = out.flush();
    let _ = writeln!(err, "ERROR: {error}");
    if matches!(error, Error::Folder { .. }) { 2 } else { 1 }
}

fn dispatch(args: &[&[u8]], out: &mut impl Write) -> Result<(), Error> {
    let Some((verb, args)) = args.split_first() else {
        return print_usage(&USAGES, out);
    };
    match (*verb, usage_of(verb), args) {
        (b"help" | b"-h" | b"--help", ..) => return help(args, out),
        (b"version" | b"-v" | b"--version", ..) => return writeln!(out, "{VERSION}").map_err(Error::Output),
        (_, Some(usage), []) => return print_usage(&[usage], out),
        _ => {}
    }
    match *verb {
        b"create" => create::create(args, out),
        b"update" => verbs::update(args),
        b"updatev" => verbs::updatev(args, out),
        b"fetch" => verbs::fetch(args, out),
        b"info" => verbs::info(args, out),
        b"last" => minus_one(verbs::last(args, out), out),
        b"lastupdate" => verbs::lastupdate(args, out),
        b"first" => minus_one(verbs::first(args, out), out),
        b"dump" => verbs::dump(args, out),
        b"restore" => verbs::restore(args),
        b"tune" => tune::tune(args),
        b"resize" => tune::resize(args),
        b"xport" => xport::xport(args, out),
        _ if verb.starts_with(b"--journal") => Err(Error::Usage(JOURNAL_MISPLACED)),
        b"graph" | b"graphv" | b"list" | b"flushcached" => Err(Error::NotYet(lossy(verb))),
        _ => Err(Error::UnknownVerb(lossy(verb))),
    }
}

/// `last` and `first` print a time even when there is none.
fn minus_one(outcome: Result<(), Error>, out: &mut impl Write) -> Result<(), Error> {
    if outcome.is_err() {
        writeln!(out, "-1").map_err(Error::Output)?;
    }
    outcome
}

/// `help [VERB]`: how a verb, or each, is written.
fn help(args: &[&[u8]], out: &mut impl Write) -> Result<(), Error> {
    writeln!(out, "{VERSION}\n").map_err(Error::Output)?;
    match args.first().and_then(|verb| usage_of(verb)) {
        Some(usage) => print_usage(&[usage], out),
        None => print_usage(&USAGES, out),
    }
}

fn usage_of(verb: &[u8]) -> Option<&'static str> {
    USAGES.into_iter().find(|usage| usage.split(' ').next().is_some_and(|name| name.as_bytes() == verb))
}

fn print_usage(usages: &[&str], out: &mut impl Write) -> Result<(), Error> {
    const INDENT: &str = "\n                      ";
    usages
        .iter()
        .try_for_each(|usage| writeln!(out, "Usage: latmon rrd {}", usage.replace('\n', INDENT)))
        .map_err(Error::Output)
}

/// Callers look for the name and for a version, which they read as a number: 1.7 is what is answered here.
const VERSION: &str =
    concat!("RRDtool 1.7.2  as latmon ", env!("CARGO_PKG_VERSION"), " answers in its place: latmon rrd");

const JOURNAL_MISPLACED: &str =
    "--journal stands once, in front of the verb: latmon rrd --journal FOLDER VERB ..";

/// How each verb is written: its name first, and a line's end where a terminal is too narrow.
const USAGES: [&str; 17] = [
    "create FILE [-b START] [-s STEP] [-t TEMPLATE] [-r SOURCE].. [-O]\n\
     DS:name[=source-name[index]]:TYPE:heartbeat:min:max ..\n\
     RRA:CF:xff:steps:rows ..",
    "update FILE [-t name:name:..] [-s]\n\
     TIME|N:value[:value..] | AT-TIME@value[:value..] ..",
    "updatev FILE [-t name:name:..] [-s] TIME|N:value[:value..] ..",
    "fetch FILE CF [-s START] [-e END] [-r RESOLUTION] [-a]",
    "info FILE",
    "last FILE",
    "lastupdate FILE",
    "first FILE [--rraindex N]",
    "dump FILE [OUT.xml] [-h none|xsd|dtd] [-n]",
    "restore IN.xml|- OUT.rrd [-r] [-f]",
    "tune FILE [-h name:heartbeat] [-i name:min] [-a name:max] [-d name:TYPE]\n\
     [-r name:new-name] [-p|-n DELTA] [-w WINDOW] [-f THRESHOLD] [-x ALPHA]\n\
     [-y BETA] [-z|-v GAMMA] [-s|-S SHARE] [-b name] [-t STEP]\n\
     [DEL:name] [DS:..] [DELRRA:n] [RRA:..] [RRA#n:+|-|=ROWS] ..",
    "resize FILE n GROW|SHRINK ROWS  (makes ./resize.rrd)",
    "xport [-s START] [-e END] [-m ROWS] [--step SECONDS] [--enumds] [--json] [-t]\n\
     DEF:vname=FILE:ds:CF[:step=..][:start=..][:end=..][:reduce=CF] ..\n\
     CDEF:vname=rpn .. VDEF:vname=rpn .. SHIFT:vname:offset ..\n\
     XPORT:vname[:legend] ..",
    "help [VERB]",
    "version",
    "- [FOLDER]  (a command per line; there also quit, cd, pwd, mkdir, ls)",
    "--journal FOLDER VERB|- ..  (no crash loses or tears what update answered)",
];

/// Why a verb failed, in rrdtool's words.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("unknown function '{0}'")]
    UnknownVerb(String),
    #[error("'{0}' is not in latmon yet")]
    NotYet(String),
    #[error("option 'daemon' is not in latmon yet")]
    Daemon,
    #[error(transparent)]
    Option(#[from] options::Error),
    #[error(transparent)]
    Archive(#[from] rrd::Error),
    #[error(transparent)]
    Journal(#[from] journal::Error),
    #[error("{0}")]
    Usage(&'static str),
    #[error("{what}: {error}")]
    Time { what: &'static str, error: rrd::TimeError },
    #[error(transparent)]
    Span(rrd::TimeError),
    #[error("specifying time relative to the 'start' or 'end' makes no sense here")]
    RelativeTime,
    #[error("{what}: {error}")]
    Duration { what: &'static str, error: rrd::DurationError },
    #[error("error flushing output: {}", told(.0))]
    Output(io::Error),
    #[error("opening '{path}': {}", told(error))]
    OutputFile { path: String, error: io::Error },
    #[error("writing '{path}': {}", told(error))]
    WriteFile { path: String, error: io::Error },
    #[error("reading standard input: {}", told(.0))]
    Input(io::Error),
    #[error("the line is longer than {0} bytes")]
    LongLine(u64),
    #[error("error checking for source RRD {path}: {}", told(error))]
    SourceCheck { path: String, error: io::Error },
    #[error("Not a regular file: {0}")]
    NotRegular(String),
    #[error("Cannot open source RRD {0}")]
    Source(String),
    #[error("Cannot open template RRD {0}")]
    Template(String),
    #[error("Could not create xml reader for: {0}")]
    XmlFile(String),
    #[error("standard input has the commands: restore from a file")]
    InputTaken,
    #[error("creating arguments")]
    Quotes,
    #[error("invalid parameter count for {0}")]
    ParameterCount(String),
    #[error("chdir {path} {}", told(error))]
    Folder { path: String, error: io::Error },
    #[error("mkdir {path}: {}", told(error))]
    MakeFolder { path: String, error: io::Error },
    #[error("{what}: {}", told(error))]
    Here { what: &'static str, error: io::Error },
}

impl From<rrd::DefinitionError> for Error {
    fn from(error: rrd::DefinitionError) -> Self {
        Self::Archive(error.into())
    }
}

impl From<rrd::FetchError> for Error {
    fn from(error: rrd::FetchError) -> Self {
        Self::Archive(error.into())
    }
}

/// The system's text of an error, without the number that Rust appends.
fn told(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((text, _)) => text.to_owned(),
        None => text,
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
