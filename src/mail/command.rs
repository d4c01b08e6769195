//! A program that is run for each posting: no shell, an environment of its own, a time limit for it and all it starts.
//!
//! What it is told reaches it as it is, in arguments and in `LATMON_*`. Nothing else of ours does: no other variable but
//! PATH, LANG and TZ, no open file, no terminal.

use std::env;
use std::io::{self, ErrorKind, PipeReader, Read as _};
use std::os::fd::AsFd as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{self, Child, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::{F_SETFL, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::stream::printable;
use super::template::{Field, Telling, Template, TemplateError};
use crate::time::Spelled;

mod ended;
mod inherited;

/// A command that was checked.
#[derive(Clone, Debug)]
pub struct Command {
    program: PathBuf,
    arguments: Vec<(String, Template)>,
    limit: Duration,
}

/// Why a list of words is no command.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// No program, or not by its whole path: which one is run may depend on nobody's PATH.
    #[error("begin with the whole path of the program, as \"/usr/local/bin/pager\"")]
    Program,
    /// A word that no argument can be.
    #[error("'{word}' {error}")]
    Word {
        /// The word.
        word: String,
        /// What is wrong with it.
        error: TemplateError,
    },
    /// A zero byte in a word.
    #[error("no argument may have a zero byte")]
    Zero,
}

impl Command {
    /// The command of these words, which may have placeholders from the second on; it and all it starts may take `limit`.
    pub fn new(words: &[&str], limit: Duration) -> Result<Self, CommandError> {
        if words.iter().any(|word| word.contains('\0')) {
            return Err(CommandError::Zero);
        }
        let read = |word: &&str| match Template::plain(word) {
            Ok(template) if template.names_the_token() => {
                let error = TemplateError::Unknown { name: "token".to_owned(), line: 1 };
                Err(CommandError::Word { word: (*word).to_owned(), error })
            }
            Ok(template) => Ok(((*word).to_owned(), template)),
            Err(error) => Err(CommandError::Word { word: (*word).to_owned(), error }),
        };
        let mut arguments = words.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        let is_whole_path =
            |(word, template): &(String, Template)| word.starts_with('/') && template.is_literal();
        if !arguments.first().is_some_and(is_whole_path) {
            return Err(CommandError::Program);
        }
        let (program, _) = arguments.remove(0);
        Ok(Self { program: program.into(), arguments, limit })
    }

    /// The words as the settings have them.
    pub fn words(&self) -> Vec<String> {
        let program = self.program.display().to_string();
        std::iter::once(program).chain(self.arguments.iter().map(|(word, _)| word.clone())).collect()
    }

    /// The program, by its whole path.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// How long it may take.
    pub fn limit(&self) -> Duration {
        self.limit
    }

    /// An argument that a program would take for an option where what it is told begins with `-`.
    pub fn option_like(&self) -> Option<&str> {
        let before_the_end_of_options = self.arguments.iter().take_while(|(word, _)| word != "--");
        before_the_end_of_options
            .map(|(word, template)| (word.as_str(), template))
            .find_map(|(word, template)| template.begins_with_a_value().then_some(word))
    }

    /// Runs it, and returns once it has ended well. `until` says by when that must be, and is asked again and again.
    pub(super) fn run(
        &self,
        telling: &Telling<'_>,
        until: &dyn Fn() -> Option<Instant>,
    ) -> Result<(), CommandFault> {
        let end = Instant::now() + self.limit;
        let cannot_start = |error| CommandFault::Start { program: self.program.clone(), error };
        let (mut child, output) = self.start(telling).map_err(cannot_start)?;
        let mut output = Output { pipe: Some(output), tail: Vec::new() };
        let group = Pid::from_raw(child.id().cast_signed());
        let mut is_over = false;
        while !is_over || output.pipe.is_some() {
            let left = until().map_or(end, |until| until.min(end)).saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            output.read(left.min(LOOK));
            is_over = is_over || ended::has_ended(group);
        }
        // Also what it left behind. Until the child is waited for its number is nobody else's.
        let _ = killpg(group, Signal::SIGKILL);
        let status = reap(&mut child).map_err(cannot_start)?;
        let (program, output) = (self.program.clone(), output.shown());
        match status {
            Some(status) if is_over && status.success() => Ok(()),
            Some(status) if is_over => Err(CommandFault::Failed { program, status, output }),
            _ if Instant::now() < end => Err(CommandFault::Stopped { program }),
            _ => Err(CommandFault::TimedOut { program, limit: self.limit, output }),
        }
    }

    /// Starts it in a process group of its own; both its outputs end in one pipe.
    fn start(&self, telling: &Telling<'_>) -> io::Result<(Child, PipeReader)> {
        inherited::keep_to_ourselves();
        let (reader, writer) = io::pipe()?;
        fcntl(&reader, F_SETFL(OFlag::O_NONBLOCK))?;
        let kept = KEPT_VARIABLES.into_iter().filter_map(|name| Some((name, env::var_os(name)?)));
        let told = Field::told().map(|(name, field)| {
            (format!("LATMON_{}", name.to_ascii_uppercase()), argument(field.value(telling).plain()))
        });
        let child = process::Command::new(&self.program)
            .args(self.arguments.iter().map(|(_, template)| argument(template.fill(telling))))
            .env_clear()
            .env("PATH", USUAL_PATH)
            .envs(kept)
            .envs(told)
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(writer.try_clone()?)
            .stderr(writer)
            .spawn()?;
        Ok((child, reader))
    }
}

/// Why a command did not do.
#[derive(Debug, thiserror::Error)]
pub(super) enum CommandFault {
    #[error("cannot run {}: {error}", program.display())]
    Start { program: PathBuf, error: io::Error },
    #[error("{}: {status}{output}", program.display())]
    Failed { program: PathBuf, status: ExitStatus, output: String },
    #[error("{}: not done within {}, killed with all it started{output}", program.display(), Spelled(*limit))]
    TimedOut { program: PathBuf, limit: Duration, output: String },
    #[error("{}: killed, because latmon stops", program.display())]
    Stopped { program: PathBuf },
}

impl CommandFault {
    /// What stays the same while it is in the same trouble.
    pub(super) fn reason(&self) -> String {
        match self {
            Self::Start { error, .. } => error.kind().to_string(),
            Self::Failed { status, .. } => format!("{:?} {:?}", status.code(), status.signal()),
            Self::TimedOut { .. } => "timed out".to_owned(),
            Self::Stopped { .. } => "stopped".to_owned(),
        }
    }
}

/// What a command prints: all of it is read, so that it does not wait for us, and the end is kept.
struct Output {
    /// `None` once nobody holds the other end.
    pipe: Option<PipeReader>,
    tail: Vec<u8>,
}

impl Output {
    /// Waits so long for something to be printed, and reads what there is then.
    fn read(&mut self, wait: Duration) {
        let Some(pipe) = &mut self.pipe else { return thread::sleep(wait) };
        let timeout = PollTimeout::try_from(wait).unwrap_or(PollTimeout::ZERO);
        // Interrupted or not, what is there is read.
        let _ = poll(&mut [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)], timeout);
        let mut bytes = [0; 16 << 10];
        // Somebody who prints without end must not keep us from looking at the clock.
        for _ in 0..READS_AT_ONCE {
            match pipe.read(&mut bytes) {
                Ok(0) => return self.pipe = None,
                Ok(count) => {
                    self.tail.extend_from_slice(&bytes[..count]);
                    let over = self.tail.len().saturating_sub(TAIL_BYTES);
                    self.tail.drain(..over);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => return self.pipe = None,
            }
        }
    }

    /// Its end as one line of printable ASCII, to be put behind something.
    fn shown(&self) -> String {
        let shown: String = self.tail.iter().map(|byte| char::from(printable(*byte))).collect();
        let words = shown.split_whitespace().collect::<Vec<_>>().join(" ");
        if words.is_empty() { words } else { format!(": {words}") }
    }
}

/// How the killed child ended; `None` where the kernel cannot end it, as while a disk does not answer.
fn reap(child: &mut Child) -> io::Result<Option<ExitStatus>> {
    for _ in 0..LOOKS_AT_THE_DEAD {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        thread::sleep(LOOK);
    }
    Ok(None)
}

/// `text` as an argument or a variable can be: without zero bytes, and no longer than the kernel takes one.
fn argument(mut text: String) -> String {
    text.retain(|c| c != '\0');
    text.truncate(text.floor_char_boundary(ARGUMENT_BYTES));
    text
}

/// What a program needs to find others, to speak the right language and to know what time it is.
const KEPT_VARIABLES: [&str; 3] = ["PATH", "LANG", "TZ"];
const USUAL_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The kernel's bound for one is 128 KiB, with the name of a variable.
const ARGUMENT_BYTES: usize = 96 << 10;
const TAIL_BYTES: usize = 400;
const READS_AT_ONCE: usize = 64;
/// How often somebody looks whether it has ended, while it prints nothing.
const LOOK: Duration = Duration::from_millis(20);
const LOOKS_AT_THE_DEAD: usize = 100;

#[cfg(test)]
mod tests;
