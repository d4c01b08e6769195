//! The command line: one file per subcommand turns what was typed into what is decided.

mod arguments;
mod check;
mod convert;
mod doctor;
mod family;
mod graph;
mod log;
mod mute;
mod outbox;
mod output;
mod ping;
mod rrd;
mod run;
mod screen;
mod settings;
mod status;
mod trace;
mod unprivileged;

use std::ffi::{OsStr, OsString};
use std::io::{self, BufWriter};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use latmon::guardian::{Charge, NoCharge, Program, Role};

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done; also a monitor that was told to stop.
    Done,
    /// Something failed.
    Failed,
    /// What was typed or set makes no sense.
    Usage,
    /// All was done as asked, and what was looked at is not well.
    Unwell,
    /// There is no telling: what was to be asked does not run, or measures nothing.
    Unknown,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Failed | Exit::Unwell => 1,
            Exit::Usage => 2,
            Exit::Unknown => 3,
        })
    }
}

/// Why a subcommand could not do its work: one line, and the way the program ends.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    line: String,
}

impl Failure {
    /// Something failed: exit code 1.
    pub(crate) fn failed(error: impl std::fmt::Display) -> Self {
        Self { exit: Exit::Failed, line: error.to_string() }
    }

    /// What was to be asked does not answer: exit code 3.
    pub(crate) fn unknown(error: impl std::fmt::Display) -> Self {
        Self { exit: Exit::Unknown, line: error.to_string() }
    }

    /// What was typed or set makes no sense: exit code 2.
    pub(crate) fn usage(error: impl std::fmt::Display) -> Self {
        Self { exit: Exit::Usage, line: error.to_string() }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.line)
    }
}

#[derive(Parser)]
#[command(
    name = "latmon",
    version,
    about = "Pings targets, keeps the results in archives that rrdtool reads, draws them, and mails when a line is slow or down.",
    disable_help_subcommand = true,
    max_term_width = 100
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Ping the targets, record every round, and mail when one is slow or down
    Run(run::Args),
    /// Ask some targets now, and say how long each answer takes
    Ping(ping::Args),
    /// Show the path to a target, with loss and median per hop
    Trace(trace::Args),
    /// Show how the targets of the running monitor stand
    Status(status::Args),
    /// Show what waits to be sent, try it at once, or take it out
    Outbox(outbox::Args),
    /// Tell nothing of some targets for a while
    Mute(mute::Args),
    /// Tell of them again
    Unmute(mute::UnmuteArgs),
    /// Draw what was recorded
    Graph(graph::Args),
    /// Show the settings that hold, and where each comes from
    Check(check::Args),
    /// Try sockets, folders, names, clock and mail, and say what to do about each failure
    Doctor(doctor::Args),
    /// Give an archive another step, other pings or other rows, with all of its history
    Convert(convert::Args),
    /// Work on archives with rrdtool's verbs: latmon rrd fetch FILE AVERAGE
    #[command(disable_help_flag = true)]
    Rrd {
        /// The verb and its arguments, as rrdtool takes them
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
}

/// Does what was typed.
pub(crate) fn run() -> ExitCode {
    if let Some(words) = arguments::lent()
        && let Some(rest) = rrd_arguments(&words)
    {
        return rrd_verb(rest);
    }
    let arguments: Vec<OsString> = std::env::args_os().collect();
    if let Some(rest) = rrd_arguments(&words_of(&arguments)) {
        return rrd_verb(rest);
    }
    if let Some(rest) = fping_arguments(&arguments) {
        return ping::run_as_fping(&rest);
    }
    // Before anything else: the guardian stays small.
    if let Some((charge, program)) = charged(&arguments) {
        return report(part(charge, &program));
    }
    let command = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli.command,
        Err(error) => return explain(&error, &arguments).into(),
    };
    report(match command {
        Command::Run(args) => run::run(&args, &program_of(&arguments)),
        Command::Ping(args) => ping::run(&args),
        Command::Trace(args) => trace::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Outbox(args) => outbox::run(&args),
        Command::Mute(args) => mute::mute(&args),
        Command::Unmute(args) => mute::unmute(&args),
        Command::Graph(args) => graph::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Convert(args) => convert::run(&args),
        Command::Rrd { arguments } => return rrd_verb(&words_of(&arguments)),
    })
}

/// The exit code, after the line of a failure.
fn report(done: Result<Exit, Failure>) -> ExitCode {
    match done {
        Ok(exit) => exit,
        Err(Failure { exit, line }) => {
            output::error_line(&line);
            exit
        }
    }
    .into()
}

/// How `latmon run ..` was started.
fn program_of(arguments: &[OsString]) -> Program {
    Program {
        name: arguments.first().cloned().unwrap_or_else(|| "latmon".into()),
        words: arguments.get(2..).unwrap_or_default().to_vec(),
    }
}

/// What a process of a run was told by the one that started it, and how that was started.
fn charged(arguments: &[OsString]) -> Option<(&str, Program)> {
    let [name, verb, charge, words @ ..] = arguments else { return None };
    let charge = charge.to_str().filter(|charge| charge.starts_with(Charge::PREFIX))?;
    (verb == "run").then(|| (charge, Program { name: name.clone(), words: words.to_vec() }))
}

/// Plays one part in a run.
fn part(charge: &str, program: &Program) -> Result<Exit, Failure> {
    let charge: Charge = charge.parse().map_err(Failure::usage)?;
    if charge.role == Role::Guardian {
        return run::guard(&charge, program);
    }
    let typed = [program.name.clone(), "run".into()].into_iter().chain(program.words.iter().cloned());
    let Ok(Cli { command: Command::Run(args) }) = Cli::try_parse_from(typed) else {
        return Err(Failure::usage(NoCharge));
    };
    run::take_part(&args, &charge, program)
}

/// rrdtool's own arguments, where the program is called by that name or with the verb `rrd`: they are no business of
/// clap's, for the answers are rrdtool's to the byte.
fn rrd_arguments<'a, 'b>(words: &'b [&'a [u8]]) -> Option<&'b [&'a [u8]]> {
    let (program, rest) = words.split_first()?;
    if Path::new(OsStr::from_bytes(program)).file_name() == Some(OsStr::new("rrdtool")) {
        return Some(rest);
    }
    rest.strip_prefix(&[&b"rrd"[..]])
}

fn words_of(arguments: &[OsString]) -> Vec<&[u8]> {
    arguments.iter().map(|argument| argument.as_bytes()).collect()
}

/// fping's own arguments, where the program is called by that name or with `ping --fping`. As `fping6` it is `fping -6`.
fn fping_arguments(arguments: &[OsString]) -> Option<Vec<OsString>> {
    let (program, rest) = arguments.split_first()?;
    let name = Path::new(program).file_name();
    if name == Some(OsStr::new("fping")) {
        return Some(rest.to_vec());
    }
    if name == Some(OsStr::new("fping6")) {
        return Some(std::iter::once("-6".into()).chain(rest.iter().cloned()).collect());
    }
    match rest {
        [verb, mode, rest @ ..] if verb == "ping" && mode == "--fping" => Some(rest.to_vec()),
        _ => None,
    }
}

/// One of rrdtool's verbs.
fn rrd_verb(words: &[&[u8]]) -> ExitCode {
    let mut out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    ExitCode::from(rrd::run(words, &mut out, &mut io::stderr().lock()))
}

/// Prints help and version as clap has them, and its errors as one line.
fn explain(error: &clap::Error, arguments: &[OsString]) -> Exit {
    let text = error.render().to_string();
    if !error.use_stderr() {
        return output::print(&text);
    }
    if error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        output::error_text(&text);
        return Exit::Usage;
    }
    let told: Vec<&str> = text.lines().take_while(|line| !line.is_empty()).map(str::trim).collect();
    let told = told.join(" ");
    let told = told.strip_prefix("error: ").unwrap_or(&told);
    let subcommand = arguments.get(1).and_then(|word| word.to_str());
    let of = match subcommand.and_then(|word| Cli::command().find_subcommand(word).map(|_| word)) {
        Some(subcommand) => format!(" {subcommand}"),
        None => String::new(),
    };
    output::error_line(&format!("{told}: see latmon{of} --help"));
    Exit::Usage
}
