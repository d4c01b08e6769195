//! `create FILE ..`

use std::io::Write;
use std::time::Duration;

use latmon::rrd::{
    self, Access, Definition, DefinitionError, DurationError, EARLIEST, Inheritance, Manner, Origin,
    Overwrite, Source, number::parse_count,
};
use latmon::time::{Step, UnixTime};

use super::options::{self, Typed, Words, flag, value};
use super::verbs::{DAEMON, now, parse_time, path, refuse_daemon};
use super::{Error, lossy};

/// What was typed in front of the definitions.
struct Options<'a> {
    start: Option<UnixTime>,
    step: Option<Step>,
    template: Option<&'a [u8]>,
    sources: Vec<&'a [u8]>,
    overwrite: Overwrite,
}

pub(super) fn create(args: &[&[u8]], out: &mut impl Write) -> Result<(), Error> {
    let now = now();
    let (options, words) = parse(args, now)?;
    let Some((file, definitions)) = words.split_first() else {
        return Err(Error::Usage("need name of an rrd file to create"));
    };
    // Told before anything is said about the definitions, as in the original.
    if options.overwrite == Overwrite::No && path(file).symlink_metadata().is_ok() {
        return Err(rrd::Error::Exists { path: path(file).to_owned() }.into());
    }
    let mut definition = begin(&options, now)?;
    let kept_archives = definition.archives.len();
    let origins = define(&mut definition, definitions)?;
    definition.check()?;
    let mut files = Vec::with_capacity(options.sources.len());
    for name in &options.sources {
        let opened = rrd::File::open(path(name), Access::Read);
        files.push(opened.map_err(|_| Error::Source(lossy(name)))?);
    }
    // They stay locked until the new file has its name.
    let views = files.iter_mut().map(rrd::File::view).collect::<Result<Vec<_>, _>>()?;
    let sources: Vec<Source<'_>> =
        views.iter().map(|view| Source { rrd: **view, manner: Manner::Original }).collect();
    if options.start.is_none()
        && let Some(last) = sources.iter().map(|source| source.rrd.last_update().secs()).max()
    {
        definition.start = UnixTime::from_secs(last);
    }
    let inheritance = Inheritance { kept_archives, sources: &sources, origins: &origins };
    if *file == b"-" {
        return out.write_all(&rrd::image_from(&definition, inheritance)?).map_err(Error::Output);
    }
    Ok(rrd::create_from(path(file), &definition, inheritance, options.overwrite, |_, _| {})?)
}

fn parse<'a>(args: &'a [&'a [u8]], now: UnixTime) -> Result<(Options<'a>, Words<'a>), Error> {
    let known = [
        value('b', "start"),
        value('s', "step"),
        value('t', "template"),
        value('r', "source"),
        flag('O', "no-overwrite"),
        DAEMON,
    ];
    let mut options =
        Options { start: None, step: None, template: None, sources: Vec::new(), overwrite: Overwrite::Yes };
    let parsed = options::parse(args, &known);
    for option in parsed.options {
        let Typed { long, value } = option?;
        match long {
            "start" => options.start = Some(parse_start(value, now)?),
            "step" => options.step = Some(parse_step(value)?),
            "template" if options.template.is_some() => return Err(Error::Usage("template already set")),
            "template" => options.template = Some(value),
            "source" => {
                check_source(value)?;
                options.sources.push(value);
            }
            "no-overwrite" => options.overwrite = Overwrite::No,
            _ => refuse_daemon(value)?,
        }
    }
    Ok((options, parsed.words))
}

fn parse_start(text: &[u8], now: UnixTime) -> Result<UnixTime, Error> {
    let start = parse_time("start time", text, now)?.absolute().ok_or(Error::RelativeTime)?;
    if start < EARLIEST { Err(DefinitionError::Start.into()) } else { Ok(UnixTime::from_secs(start.secs())) }
}

pub(super) fn parse_step(text: &[u8]) -> Result<Step, Error> {
    let error = |error| Error::Duration { what: "step size", error };
    let secs = parse_count(text, 1).map_err(error)?;
    u32::try_from(secs).ok().and_then(Step::new).ok_or_else(|| error(DurationError::TooLarge))
}

/// Seen when the option is read, before anything else is.
fn check_source(name: &[u8]) -> Result<(), Error> {
    match path(name).metadata() {
        Ok(metadata) if metadata.is_file() => Ok(()),
        Ok(_) => Err(Error::NotRegular(lossy(name))),
        Err(error) => Err(Error::SourceCheck { path: lossy(name), error }),
    }
}

/// The definition of the template, or an empty one.
fn begin(options: &Options<'_>, now: UnixTime) -> Result<Definition, Error> {
    const DEFAULT_STEP: Step = Step::new(300).expect("300 is not 0");
    let earlier = UnixTime::from_secs(now.minus(Duration::from_secs(10)).secs());
    let mut definition = match options.template {
        None => {
            Definition { step: DEFAULT_STEP, start: earlier, data_sources: Vec::new(), archives: Vec::new() }
        }
        Some(name) => {
            let failed = |_| Error::Template(lossy(name));
            let mut file = rrd::File::open(path(name), Access::Read).map_err(failed)?;
            Definition::like(&*file.view().map_err(failed)?)
        }
    };
    definition.start = options.start.unwrap_or(definition.start);
    definition.step = options.step.unwrap_or(definition.step);
    Ok(definition)
}

/// Adds the definitions that were typed, and returns where each data source's rows come from.
fn define(definition: &mut Definition, texts: &[&[u8]]) -> Result<Vec<Origin>, Error> {
    let own = definition.data_sources.iter().map(|ds| Origin { name: ds.name.clone(), source: None });
    let mut origins: Vec<Origin> = own.collect();
    for text in texts {
        let text = std::str::from_utf8(text).map_err(|_| DefinitionError::Argument(lossy(text)))?;
        definition.add(text)?;
        if text.starts_with("DS:") {
            origins.push(Origin::parse(text)?);
        }
    }
    Ok(origins)
}
