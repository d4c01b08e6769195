//! `latmon graph`: reads an archive and draws a span of it.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::{Args as ClapArgs, ValueEnum};
use latmon::archive;
use latmon::config::{self, Config, Options, Surroundings};
use latmon::graph::{self, Format, Picture, Theme};
use latmon::time::{UnixTime, parse_point};

use super::{Exit, Failure, output};

#[derive(ClapArgs)]
pub(super) struct Args {
    /// Names of targets, or archive files; may be left out where there is only one
    #[arg(value_name = "TARGET|FILE.rrd")]
    what: Vec<String>,
    /// Where the span begins: a duration ago (24h, 7d), a date and time, or epoch seconds
    #[arg(long, value_name = "TIME", default_value = "24h")]
    since: String,
    /// Where the span ends
    #[arg(long, value_name = "TIME", default_value = "now")]
    until: String,
    /// The file to write, - for standard output [default: NAME_graph.png]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// What to write [default: by the ending of the file, else png]
    #[arg(long, value_enum)]
    format: Option<FormatArg>,
    /// The width of the picture in pixels
    #[arg(long, default_value_t = 1000)]
    width: u32,
    /// The height of the picture in pixels
    #[arg(long, default_value_t = 300)]
    height: u32,
    /// Pixels per pixel: 2 for screens of double density
    #[arg(long, default_value_t = 1.0)]
    scale: f32,
    /// Its colours
    #[arg(long, value_enum, default_value_t = ThemeArg::Light)]
    theme: ThemeArg,
    /// The settings file [default: ./latmon.toml, /etc/latmon/latmon.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the archives are
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum FormatArg {
    Png,
    Svg,
}

#[derive(Clone, Copy, ValueEnum)]
enum ThemeArg {
    Light,
    Dark,
}

/// One archive to draw.
struct Subject {
    /// The target's name, or the file's stem.
    name: String,
    file: PathBuf,
    picture: Picture,
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    let now = UnixTime::from(SystemTime::now());
    let since = parse_point(&args.since, now).map_err(|e| Failure::usage(format!("--since: {e}")))?;
    let until = parse_point(&args.until, now).map_err(|e| Failure::usage(format!("--until: {e}")))?;
    if since >= until {
        return Err(Failure::usage(format!(
            "--since {} is not before --until {}: nothing lies between them",
            args.since, args.until
        )));
    }
    let subjects = subjects(args)?;
    if subjects.len() > 1 && args.output.is_some() {
        return Err(Failure::usage("--output takes one picture: name one target, or leave --output out"));
    }
    for subject in &subjects {
        let history =
            archive::history(&subject.file, &subject.name, since, until).map_err(Failure::failed)?;
        let bytes = graph::smoke(&history, &subject.picture).map_err(Failure::usage)?;
        let exit = match &args.output {
            Some(path) if path.as_os_str() == "-" => to_stdout(&bytes),
            Some(path) => to_file(path, &bytes)?,
            None => to_file(&default_output(&subject.name, subject.picture.format), &bytes)?,
        };
        if exit != Exit::Done {
            return Ok(exit);
        }
    }
    Ok(Exit::Done)
}

/// The archives that were named, or the only one there is.
fn subjects(args: &Args) -> Result<Vec<Subject>, Failure> {
    // A file that is named outright needs no settings, and must be drawn even where they are broken.
    if !args.what.is_empty() && args.what.iter().all(|word| is_file(word)) {
        return Ok(args.what.iter().map(|word| of_file(args, Path::new(word))).collect());
    }
    let options =
        Options { config: args.config.clone(), data_dir: args.data_dir.clone(), ..Options::default() };
    let config = config::look(&options, &Surroundings::of_process()).map_err(Failure::usage)?;
    if args.what.is_empty() {
        return only_one(args, &config).map(|subject| vec![subject]);
    }
    Ok(args
        .what
        .iter()
        .map(
            |word| {
                if is_file(word) { of_file(args, Path::new(word)) } else { of_target(args, &config, word) }
            },
        )
        .collect())
}

fn is_file(word: &str) -> bool {
    Path::new(word).extension() == Some(OsStr::new("rrd"))
}

fn of_file(args: &Args, file: &Path) -> Subject {
    let name = file.file_stem().unwrap_or(file.as_os_str()).to_string_lossy().into_owned();
    Subject { file: file.to_owned(), picture: picture(args, name.clone()), name }
}

fn of_target(args: &Args, config: &Config, name: &str) -> Subject {
    let known = config.targets.iter().find(|known| known.target.name == name);
    let title = match known.map(|known| &known.target.host) {
        Some(host) if host != name => format!("{name} ({host})"),
        _ => name.to_owned(),
    };
    let limit = known.and_then(|known| known.limit);
    Subject {
        name: name.to_owned(),
        file: archive::path(&config.data_dir.value, name),
        picture: Picture { limit, ..picture(args, title) },
    }
}

/// The only target of the settings, or else the only archive of the data folder.
fn only_one(args: &Args, config: &Config) -> Result<Subject, Failure> {
    let names: Vec<&str> = config.targets.iter().map(|known| known.target.name.as_str()).collect();
    match names.as_slice() {
        [name] => return Ok(of_target(args, config, name)),
        [] => {}
        names => return Err(Failure::usage(format!("which target? type one or more of: {}", listed(names)))),
    }
    let data_dir = &config.data_dir.value;
    let found = archive::names(data_dir).map_err(Failure::failed)?;
    match found.as_slice() {
        [name] => Ok(of_target(args, config, name)),
        [] => Err(Failure::usage(format!(
            "nothing to draw: no target is set and {} holds no archive; name a target or a file",
            data_dir.display()
        ))),
        names => Err(Failure::usage(format!(
            "which one? {} holds: {}",
            data_dir.display(),
            listed(&names.iter().map(String::as_str).collect::<Vec<_>>())
        ))),
    }
}

fn listed(names: &[&str]) -> String {
    const SHOWN: usize = 10;
    let shown = names.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

fn picture(args: &Args, title: String) -> Picture {
    let by_ending = args.output.as_deref().and_then(Path::extension).map(OsStr::to_ascii_lowercase);
    let format = match (args.format, by_ending) {
        (Some(FormatArg::Svg), _) => Format::Svg,
        (None, Some(ending)) if ending == "svg" => Format::Svg,
        _ => Format::Png,
    };
    let theme = match args.theme {
        ThemeArg::Light => Theme::Light,
        ThemeArg::Dark => Theme::Dark,
    };
    Picture {
        title,
        width: args.width,
        height: args.height,
        scale: args.scale,
        theme,
        format,
        limit: None,
        marks: Vec::new(),
    }
}

fn default_output(name: &str, format: Format) -> PathBuf {
    let png = PathBuf::from(archive::picture_name(name));
    match format {
        Format::Png => png,
        Format::Svg => png.with_extension("svg"),
    }
}

fn to_stdout(bytes: &[u8]) -> Exit {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => Exit::Done,
        Err(error) => output::ended(&error),
    }
}

fn to_file(path: &Path, bytes: &[u8]) -> Result<Exit, Failure> {
    std::fs::write(path, bytes)
        .map_err(|error| Failure::failed(format!("cannot write {}: {error}", path.display())))?;
    Ok(output::print(&format!("{}\n", path.display())))
}
