//! The verbs, one function each; those with more of their own have a file beside this one.

use std::ffi::OsStr;
use std::io::{self, BufWriter, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::SystemTime;

use latmon::rrd::{
    self, Access, Cf, EARLIEST, FetchError, Header, Overwrite, RestoreOptions, UpdateOptions, Written, at,
    number::{Printf, PrintfNaN, leading_integer, parse_count},
};
use latmon::time::UnixTime;

use super::options::{self, Known, Parsed, Typed, Words, flag, value};
use super::{Error, lossy};

pub(super) const DAEMON: Known = value('d', "daemon");

const UPDATE: &[Known] = &[value('t', "template"), flag('s', "skip-past-updates"), DAEMON];

/// `update FILE ..`
pub(super) fn update(args: &[&[u8]]) -> Result<(), Error> {
    let typed = typed_update(args)?;
    Ok(rrd::update(path(typed.file), &typed.options, typed.arguments())?)
}

/// `update FILE ..` of a file that stays open, and locked.
pub(super) fn update_in(files: &mut rrd::Set, args: &[&[u8]]) -> Result<(), Error> {
    let typed = typed_update(args)?;
    Ok(files.update(path(typed.file), &typed.options, typed.arguments())?)
}

/// `updatev FILE ..`
pub(super) fn updatev(args: &[&[u8]], out: &mut impl Write) -> Result<(), Error> {
    let typed = typed_updatev(args)?;
    let (written, outcome) = rrd::update_verbosely(path(typed.file), &typed.options, typed.arguments());
    tell_written(&written, outcome.is_ok(), out).map_err(Error::Output)?;
    Ok(outcome?)
}

/// Prints the rows that an update wrote.
pub(super) fn tell_written(written: &Written, succeeded: bool, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "return_value = {}", if succeeded { 0 } else { -1 })?;
    for row in &written.rows {
        for (name, value) in written.names.iter().zip(&row.values) {
            let (time, cf, pdps) = (row.time.secs(), row.cf.name(), row.pdp_per_row);
            writeln!(out, "[{time}]RRA[{cf}][{pdps}]DS[{name}] = {}", PrintfNaN(*value))?;
        }
    }
    Ok(())
}

/// What was typed behind `update` or `updatev`.
pub(super) struct TypedUpdate<'a> {
    pub(super) file: &'a [u8],
    pub(super) options: UpdateOptions<'a>,
    words: Words<'a>,
}

impl<'a> TypedUpdate<'a> {
    /// The readings: all words behind the file's name.
    pub(super) fn arguments(&self) -> &[&'a [u8]] {
        &self.words[1..]
    }
}

/// Reads what was typed behind `update`.
pub(super) fn typed_update<'a>(args: &'a [&'a [u8]]) -> Result<TypedUpdate<'a>, Error> {
    update_arguments(options::parse(args, UPDATE))
}

/// Reads what was typed behind `updatev`.
pub(super) fn typed_updatev<'a>(args: &'a [&'a [u8]]) -> Result<TypedUpdate<'a>, Error> {
    update_arguments(options::parse(args, &[value('t', "template"), flag('s', "skip-past-updates")]))
}

fn update_arguments<'a>(parsed: Parsed<'a>) -> Result<TypedUpdate<'a>, Error> {
    let mut update = UpdateOptions::new(now());
    for option in parsed.options {
        let Typed { long, value } = option?;
        match long {
            "template" => update.template = Some(value),
            "daemon" => refuse_daemon(value)?,
            _ => update.skip_past = true,
        }
    }
    let words = parsed.words;
    let [file, _, ..] = words[..] else {
        return Err(Error::Usage("Not enough arguments"));
    };
    Ok(TypedUpdate { file, options: update, words })
}

/// `fetch FILE CF ..`
pub(super) fn fetch(args: &[&[u8]], out: &mut impl Write) -> Result<(), Error> {
    let now = now();
    let mut start = parse_time("start time", b"end-24h", now)?;
    let mut end = parse_time("end time", b"now", now)?;
    let (mut resolution, mut align) = (1, false);
    let parsed = options::parse(
        args,
        &[value('s', "start"), value('e', "end"), value('r', "resolution"), flag('a', "align-start"), DAEMON],
    );
    for option in parsed.options {
        let Typed { long, value } = option?;
        match long {
            "start" => start = parse_time("start time", value, now)?,
            "end" => end = parse_time("end time", value, now)?,
            "resolution" => {
                resolution =
                    parse_count(value, 1).map_err(|error| Error::Duration { what: "resolution", error })?;
            }
            "daemon" => refuse_daemon(value)?,
            _ => align = true,
        }
    }
    let (start, end) = at::span(&start, &end).map_err(Error::Span)?;
    let (mut start, mut end) = (start.secs(), end.secs());
    if start < EARLIEST.secs() {
        return Err(FetchError::Start.into());
    }
    if align {
        let past = i64::try_from(resolution).map_or(start, |resolution| start % resolution);
        (start, end) = (start - past, end - past);
    }
    if start > end {
        return Err(FetchError::Order { start, end }.into());
    }
    let [file, cf, ..] = parsed.words[..] else {
        return Err(Error::Usage("Usage: rrdtool fetch <file> <CF> [options]"));
    };
    let cf = parse_cf(cf)?;
    let mut file = rrd::File::open(path(file), Access::Read)?;
    let view = file.view()?;
    let fetched = view.fetch(cf, UnixTime::from_secs(start), UnixTime::from_secs(end), resolution)?;
    write_rows(&fetched, out).map_err(Error::Output)?;
    Ok(view.finish()?)
}

fn write_rows<B: AsRef<[u8]>>(fetched: &rrd::Fetched<'_, B>, out: &mut impl Write) -> io::Result<()> {
    write!(out, "{:11}", "")?;
    for ds in fetched.data_sources() {
        write!(out, "{:>20}", ds.name)?;
    }
    write!(out, "\n\n")?;
    let mut line = Vec::new();
    for (time, row) in fetched.rows() {
        line.clear();
        push_time(&mut line, time.secs());
        line.push(b':');
        for value in row.values() {
            line.push(b' ');
            line.extend_from_slice(Printf(value).text().as_bytes());
        }
        line.push(b'\n');
        out.write_all(&line)?;
    }
    Ok(())
}

/// Seconds in ten places, without the machinery of formatting: a fetch has a hundred thousand of them.
fn push_time(line: &mut Vec<u8>, secs: i64) {
    let mut places = [b' '; 10];
    let mut rest = secs.unsigned_abs();
    if secs < 0 || rest >= 10_u64.pow(places.len() as u32) {
        return line.extend_from_slice(format!("{secs:>10}").as_bytes());
    }
    for place in places.iter_mut().rev() {
        *place = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    line.extend_from_slice(&places);
}

fn parse_cf(name: &[u8]) -> Result<Cf, Error> {
    Cf::from_name(name).ok_or_else(|| FetchError::Cf(lossy(name)).into())
}

/// `info FILE`
pub(super) fn info(args: &[&[u8]], out: &mut impl Write) -> Result<(), Error> {
    const USAGE: &str = "Usage: rrdtool info [--daemon |-d <addr> [--noflush|-F]] <file>";
    let parsed = options::parse(args, &[DAEMON, flag('F', "noflush")]);
    let name = only_file(parsed, USAGE)?;
    let mut file = rrd::File::open(path(name), Access::Read)?;
    let view = file.view()?;
    rrd::info(&view, name, |key, value| match value {
        // Raw, so that bytes that are no text come out as they are.
        rrd::Value::Text(text) => {
            write!(out, "{key} = \"").and_then(|()| out.write_all(text)).and_then(|()| out.write_all(b"\"\n"))
        }
        value => writeln!(out, "{key} = {value}"),
    })
    .map_err(Error::Output)?;
    Ok(view.finish()?)
}

/// `last FILE`
pub(super) fn last(args: &[&[u8]], out: &mut impl Write) -> Result<(), Error> {
    let parsed = options::parse(args, &[DAEMON]);
    let name = only_file(parsed, "Usage: rrdtool last [--daemon|-d <addr>] <file>")?;
    let mut file = rrd::File::open(path(name), Access::Read)?;
    let view = file.view()?;
    let last = view.last_update();
    view.finish()?;
    writeln!(out, "{}", last.secs()).map_err(Error::Output)
}

/// `lastupdate FILE`
pub(super) fn lastupdate(args: &[&[u8]], out: &mut impl Write) -> Result<(), Error> {
    let parsed = options::parse(args, &[DAEMON]);
    let name = only_file(parsed, "Usage: rrdtool lastupdate [--daemon|-d <addr>] <file>")?;
    let mut file = rrd::File::open(path(name), Access::Read)?;
    let view = file.view()?;
    let mut write = || {
        for ds in view.data_sources() {
            write!(out, " {}", ds.name)?;
        }
        write!(out, "\n\n{:>10}:", view.last_update().secs())?;
        for ds in view.data_sources() {
            out.write_all(b" ")?;
            out.write_all(ds.last_ds)?;
        }
        writeln!(out)
    };
    write().map_err(Error::Output)?;
    Ok(view.finish()?)
}

/// `first FILE [--rraindex N]`
pub(super) fn first(args: &[&[u8]], out: &mut impl Write) -> Result<(), Error> {
    const INDEX: Known = Known { short: None, long: "rraindex", takes_value: true };
    let mut index = 0;
    let parsed = options::parse(args, &[INDEX, DAEMON]);
    for option in parsed.options {
        let Typed { long, value } = option?;
        match long {
            "rraindex" => index = leading_integer(value).unwrap_or_default(),
            _ => refuse_daemon(value)?,
        }
    }
    let Some(name) = parsed.words.first() else {
        return Err(Error::Usage("usage rrdtool first [--rraindex number] [--daemon|-d <addr>] file.rrd"));
    };
    let mut file = rrd::File::open(path(name), Access::Read)?;
    let view = file.view()?;
    let first = usize::try_from(index).map_err(|_| FetchError::Index).and_then(|index| view.first(index))?;
    view.finish()?;
    writeln!(out, "{}", first.secs()).map_err(Error::Output)
}

/// `dump FILE [OUT.xml]`
pub(super) fn dump(args: &[&[u8]], out: &mut impl Write) -> Result<(), Error> {
    const USAGE: &str = "usage rrdtool dump [--header|-h {none,xsd,dtd}]\n[--no-header|-n]\n\
                         [--daemon|-d address]\nfile.rrd [file.xml]";
    let mut header = Header::Dtd;
    let parsed = options::parse(args, &[value('h', "header"), flag('n', "no-header"), DAEMON]);
    for option in parsed.options {
        let Typed { long, value } = option.map_err(|_| Error::Usage(USAGE))?;
        header = match (long, value) {
            ("daemon", value) => {
                refuse_daemon(value)?;
                continue;
            }
            ("no-header", _) | (_, b"none") => Header::None,
            (_, b"xsd") => Header::Xsd,
            (_, b"dtd") => Header::Dtd,
            // What is no header changes nothing.
            _ => continue,
        };
    }
    let (name, target) = match parsed.words[..] {
        [name] => (name, None),
        [name, target] => (name, Some(path(target))),
        _ => return Err(Error::Usage(USAGE)),
    };
    let mut file = rrd::File::open(path(name), Access::Read)?;
    let view = file.view()?;
    let Some(target) = target else {
        rrd::dump(&view, header, out).map_err(Error::Output)?;
        return Ok(view.finish()?);
    };
    // The original says nothing when this file cannot be made, and ends well.
    let failed = |error| Error::OutputFile { path: target.display().to_string(), error };
    let mut xml = BufWriter::new(std::fs::File::create(target).map_err(failed)?);
    rrd::dump(&view, header, &mut xml)
        .and_then(|()| xml.flush())
        .map_err(|error| Error::WriteFile { path: target.display().to_string(), error })?;
    Ok(view.finish()?)
}

/// `restore IN.xml|- OUT.rrd`
pub(super) fn restore(args: &[&[u8]]) -> Result<(), Error> {
    const USAGE: &str = "usage rrdtool restore [--range-check|-r] [--force-overwrite|-f] file.xml file.rrd";
    let mut options = RestoreOptions { range_check: false, overwrite: Overwrite::No };
    let parsed = options::parse(args, &[flag('r', "range-check"), flag('f', "force-overwrite")]);
    for option in parsed.options {
        match option?.long {
            "range-check" => options.range_check = true,
            _ => options.overwrite = Overwrite::Yes,
        }
    }
    let [xml, file] = parsed.words[..] else { return Err(Error::Usage(USAGE)) };
    if xml == b"-" {
        return Ok(rrd::restore(io::stdin().lock(), path(file), options)?);
    }
    let xml = std::fs::File::open(path(xml)).map_err(|_| Error::XmlFile(lossy(xml)))?;
    Ok(rrd::restore(xml, path(file), options)?)
}

/// The one word of a verb that takes nothing but a file.
fn only_file<'a>(parsed: Parsed<'a>, usage: &'static str) -> Result<&'a [u8], Error> {
    for option in parsed.options {
        let Typed { long, value } = option?;
        if long == "daemon" {
            refuse_daemon(value)?;
        }
    }
    match parsed.words[..] {
        [name] => Ok(name),
        _ => Err(Error::Usage(usage)),
    }
}

/// An empty address means none, as in the original.
pub(super) fn refuse_daemon(address: &[u8]) -> Result<(), Error> {
    if address.is_empty() { Ok(()) } else { Err(Error::Daemon) }
}

pub(super) fn parse_time(what: &'static str, text: &[u8], now: UnixTime) -> Result<at::TimeSpec, Error> {
    at::parse(&lossy(text), now).map_err(|error| Error::Time { what, error })
}

pub(super) fn path(name: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(name))
}

pub(super) fn now() -> UnixTime {
    SystemTime::now().into()
}
