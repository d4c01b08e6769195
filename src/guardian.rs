//! The small parent that outlives the monitor.
//!
//! ```text
//! latmon run  reads the settings, opens the sockets, gives up privileges, becomes (same process, fresh memory)
//! guardian    one thread; starts the same program as
//! monitor     in a process group of its own; when that dies
//! last words  a process that writes the exit mail, sends it where no monitor is about to, and ends
//! ```
//! Whoever is started gets the sockets, and the settings as they were read at the beginning, by inherited descriptors: it
//! can open neither again. Guardian and monitor hear of each other's end by a line between them. A monitor that dies or
//! hangs is started again after a growing pause. A monitor whose guardian is gone ends itself cleanly and becomes the
//! next guardian: its pings since the last whole round are the gap.
//!
//! A stop is passed on once, over the line: a service manager may signal both processes, and a second signal ends all at
//! once.
//!
//! ```text
//! burial        what follows a death                calls         signals
//! lifeline      what the two say to each other       descriptors   what is inherited; charge: as one word
//! judge         hangs and pauses (pure)              reason        how a process ended, in words
//! manager       what systemd is told                 words         what the last words are to say
//! memory        whether the kernel killed it for want of memory
//! ```

mod burial;
mod calls;
mod charge;
pub mod descriptors;
mod judge;
mod lifeline;
mod manager;
mod memory;
mod reason;
mod words;

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT};
use tracing::error;

use self::burial::LATER;
use self::calls::Calls;
use self::judge::{Pauses, Silence};
use self::manager::Manager;
use self::memory::Memory;
use crate::time::{Lasted, UnixTime};

pub use self::charge::{Charge, NoCharge, Role};
pub use self::lifeline::{FromMonitor, Lifeline, ToMonitor};
pub use self::words::LastWords;

/// How this program was started, to start it again.
#[derive(Clone, Debug)]
pub struct Program {
    /// Its name, as it was called.
    pub name: OsString,
    /// What was typed behind `run`.
    pub words: Vec<OsString>,
}

impl Program {
    /// The same program as another process of the run. It is the file that runs now, also where another one has taken its
    /// place on the disk.
    pub fn again_as(&self, charge: &Charge) -> Command {
        // Where there is no /proc, the file that it was started from has to do, or that of its name.
        let link = Path::new("/proc/self/exe");
        let file = if cfg!(target_os = "linux") && link.exists() {
            link.into()
        } else {
            std::env::current_exe().map_or_else(|_| self.name.clone(), Into::into)
        };
        let mut command = Command::new(file);
        command.arg0(&self.name).arg("run").arg(charge.to_string()).args(&self.words);
        command
    }
}

/// Why a guardian could not do its work.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation}: {error}")]
pub struct Error {
    operation: &'static str,
    error: io::Error,
}

/// Watches over a monitor until one ends as it should, or is not to be started again; returns the exit code.
///
/// The caller is a process of one thread, which was started as `charge` says.
pub fn run(charge: &Charge, program: &Program, hangup: bool) -> Result<i32, Error> {
    let failed = |operation| move |error| Error { operation, error };
    let take = |number: &i32| descriptors::take(*number);
    let settings = take(&charge.settings).map_err(failed("take over the settings"))?;
    let sockets: io::Result<Vec<OwnedFd>> = charge.sockets.iter().map(take).collect();
    let spares: io::Result<Vec<OwnedFd>> = charge.spares.iter().map(take).collect();
    let manager = Manager::of_process();
    let mut guardian = Guardian {
        charge: Charge {
            role: Role::Monitor,
            managed: charge.managed || manager.is_there(),
            ..charge.clone()
        },
        program,
        handed: Handed {
            settings,
            sockets: sockets.map_err(failed("take over the sockets"))?,
            spares: spares.map_err(failed("take over the sockets"))?,
        },
        manager,
        signals: Calls::watch(hangup).map_err(failed("watch for signals"))?,
        pauses: Pauses::default(),
        stop: None,
        begin: Begin::First,
        tell_later: None,
        said_well: None,
    };
    guardian.watch_over().map_err(failed("start the monitor"))
}

/// What every process of the run inherits.
struct Handed {
    settings: OwnedFd,
    sockets: Vec<OwnedFd>,
    spares: Vec<OwnedFd>,
}

struct Guardian<'a> {
    /// A monitor's, as the next one gets it.
    charge: Charge,
    program: &'a Program,
    handed: Handed,
    manager: Manager,
    signals: Calls,
    pauses: Pauses,
    stop: Option<Stop>,
    begin: Begin,
    /// When ends that no mail told yet are told.
    tell_later: Option<Instant>,
    said_well: Option<Instant>,
}

/// A stop that was asked for.
struct Stop {
    what: String,
    signal: i32,
    since: Instant,
    /// Asked for twice: all ends at once.
    is_urgent: bool,
}

/// Whether a monitor of this guardian was ever ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Begin {
    First,
    Done,
}

/// A monitor that runs.
struct Running {
    pid: Pid,
    line: Lifeline,
    started: UnixTime,
    since: Instant,
    memory: Memory,
    silence: Option<Silence>,
    log: VecDeque<String>,
    is_stopping: bool,
    panicked: Option<String>,
    /// It hangs, in words, and since when its end is under way.
    condemned: Option<(String, Instant)>,
    /// It was told to stop by us.
    is_told: bool,
}

/// How a monitor's end is to be taken.
enum Verdict {
    /// All ends, with that exit code.
    Over(i32),
    /// It died.
    Died(String),
}

impl Guardian<'_> {
    fn watch_over(&mut self) -> io::Result<i32> {
        loop {
            let mut running = match self.start() {
                Ok(running) => running,
                Err(error) if self.begin == Begin::First => return Err(error),
                Err(error) => {
                    error!("cannot start the monitor again: {error}");
                    match self.pause(Duration::ZERO, None) {
                        Some(code) => return Ok(code),
                        None => continue,
                    }
                }
            };
            let status = self.attend(&mut running);
            match self.judge(&running, status) {
                Verdict::Over(code) => {
                    self.tell_rest();
                    return Ok(code);
                }
                Verdict::Died(reason) => {
                    if let Some(code) = self.bury(running, reason) {
                        return Ok(code);
                    }
                }
            }
        }
    }

    /// Starts a monitor.
    fn start(&mut self) -> io::Result<Running> {
        let (line, theirs) = Lifeline::pair()?;
        let started = UnixTime::from(SystemTime::now());
        let charge = Charge { role: Role::Monitor, started, ..self.charge.clone() };
        // There is nothing to read, and no /dev/null is needed to say so: a bare root folder has none.
        let (nothing, _) = io::pipe()?;
        let pid = self.spawn(charge, Some(&theirs), nothing.into(), true)?.0;
        let mut memory = Memory::default();
        memory.look(pid);
        Ok(Running {
            pid,
            line,
            started,
            since: Instant::now(),
            memory,
            silence: None,
            log: VecDeque::new(),
            is_stopping: false,
            panicked: None,
            condemned: None,
            is_told: false,
        })
    }

    /// Starts a process of this run, with what it inherits. This process has one thread, so no other program is started
    /// meanwhile.
    fn spawn(
        &self,
        mut charge: Charge,
        line: Option<&OwnedFd>,
        input: Stdio,
        with_sockets: bool,
    ) -> io::Result<(Pid, Option<std::process::ChildStdin>)> {
        let Handed { settings, sockets, spares } = &self.handed;
        let (sockets, spares) = if with_sockets { (&sockets[..], &spares[..]) } else { Default::default() };
        let handed = || [settings].into_iter().chain(sockets).chain(spares).chain(line);
        charge.settings = descriptors::lend(settings)?;
        charge.sockets = sockets.iter().map(descriptors::lend).collect::<io::Result<_>>()?;
        charge.spares = spares.iter().map(descriptors::lend).collect::<io::Result<_>>()?;
        charge.lifeline = line.map(descriptors::lend).transpose()?;
        let mut command = self.program.again_as(&charge);
        command.stdin(input).process_group(0);
        for name in manager::VARIABLES {
            command.env_remove(name);
        }
        let spawned = command.spawn();
        for descriptor in handed() {
            descriptors::keep(descriptor)?;
        }
        let mut child = spawned?;
        let pid = i32::try_from(child.id()).expect("a process id is an i32");
        Ok((Pid::from_raw(pid), child.stdin.take()))
    }

    /// Looks after a monitor until it has ended.
    fn attend(&mut self, running: &mut Running) -> WaitStatus {
        loop {
            self.sleep(Some(running), self.look_every(running));
            self.listen(running);
            self.pass_on_stop(running);
            if let Some(status) = reap(running.pid) {
                // What it said last.
                self.listen(running);
                return status;
            }
            running.memory.look(running.pid);
            self.look_at(running);
            self.tell_due(running);
        }
    }

    /// Sleeps until a signal comes, the monitor says something, or for so long.
    fn sleep(&mut self, running: Option<&Running>, longest: Duration) {
        let mut fds = vec![PollFd::new(self.signals.bell.as_fd(), PollFlags::POLLIN)];
        fds.extend(running.map(|running| PollFd::new(running.line.as_fd(), PollFlags::POLLIN)));
        // The end of the line stays to be heard until its process is reaped.
        let timeout = PollTimeout::try_from(longest + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
        let ready = poll(&mut fds, timeout);
        let hung_up =
            fds.get(1).and_then(PollFd::revents).is_some_and(|events| events.contains(PollFlags::POLLHUP));
        if ready.is_ok() && hung_up && !self.signals.is_rung() {
            std::thread::sleep(Duration::from_millis(10));
        }
        for signal in self.signals.take() {
            self.hear_signal(signal);
        }
    }

    fn look_every(&self, running: &Running) -> Duration {
        let is_ending = running.condemned.is_some() || self.stop.is_some();
        let look = match &running.silence {
            _ if is_ending => Duration::from_millis(500),
            Some(silence) => silence.look_every(),
            None => Duration::from_secs(10),
        };
        self.manager.word_every().map_or(look, |every| look.min(every))
    }

    fn hear_signal(&mut self, signal: i32) {
        let what = match signal {
            SIGCHLD => return,
            SIGINT => "Ctrl-C (SIGINT)",
            SIGHUP => "its terminal was closed (SIGHUP)",
            SIGQUIT => "Ctrl-\\ (SIGQUIT)",
            _ => "SIGTERM",
        };
        match &mut self.stop {
            None => {
                self.manager.stopping(what);
                self.stop =
                    Some(Stop { what: what.to_owned(), signal, since: Instant::now(), is_urgent: false });
            }
            Some(stop) => {
                stop.is_urgent = true;
                stop.signal = signal;
            }
        }
    }

    fn listen(&mut self, running: &mut Running) {
        while let Some(message) = running.line.heard() {
            match message {
                FromMonitor::Ready { patience, has_untold, what } => {
                    // Another guardian may have left them, which was killed too.
                    if has_untold {
                        self.tell_later.get_or_insert_with(|| Instant::now() + LATER);
                    }
                    running.silence = Some(Silence::new(patience, clock()));
                    self.begin = Begin::Done;
                    self.manager.ready(&what);
                }
                FromMonitor::Beat => {
                    if let Some(silence) = &mut running.silence {
                        silence.beat(clock());
                    }
                }
                FromMonitor::Stopping => running.is_stopping = true,
                FromMonitor::Panicked(reason) => running.panicked = Some(reason),
                FromMonitor::Log(line) => {
                    if running.log.len() == LOG_LINES {
                        running.log.pop_front();
                    }
                    running.log.push_back(line);
                }
            }
        }
    }

    /// Passes a stop on, once; a second one ends all.
    fn pass_on_stop(&self, running: &mut Running) {
        let Some(stop) = &self.stop else { return };
        if !running.is_told {
            running.is_told = true;
            running.line.order(&ToMonitor::Stop(stop.what.clone()));
        }
        if stop.is_urgent && running.condemned.is_none() {
            running.line.order(&ToMonitor::EndNow(128 + stop.signal));
            running.condemned = Some(("was told twice to stop".to_owned(), Instant::now()));
        }
    }

    /// Ends a monitor that hangs, or does not stop.
    fn look_at(&mut self, running: &mut Running) {
        if let Some((_, since)) = &running.condemned {
            if since.elapsed() >= MERCY {
                let _ = kill(running.pid, Signal::SIGKILL);
            }
            return;
        }
        if let Some(stop) = &self.stop {
            if stop.since.elapsed() >= STOP_PATIENCE {
                let why = format!("had not stopped {} after {}", Lasted(STOP_PATIENCE), stop.what);
                self.condemn(running, why);
            }
        } else if !running.is_stopping
            && let Some(silent) = running.silence.as_mut().and_then(|silence| silence.hangs(clock()))
        {
            self.condemn(running, format!("hung: it had not gone round for {}", Lasted(silent)));
        } else if running.silence.is_none() {
            self.manager.begins();
        }
        self.all_is_well();
    }

    fn condemn(&self, running: &mut Running, why: String) {
        error!("the monitor {why}; it is ended");
        self.manager.status(&format!("the monitor {why}"));
        running.condemned = Some((why, Instant::now()));
        // A stopped process takes no signal but these.
        let _ = kill(running.pid, Signal::SIGABRT);
        let _ = kill(running.pid, Signal::SIGCONT);
    }

    /// Said as long as nothing hangs that this guardian does not bring to an end itself.
    fn all_is_well(&mut self) {
        let Some(every) = self.manager.word_every() else { return };
        if self.said_well.is_none_or(|said| said.elapsed() + Duration::from_millis(50) >= every) {
            self.said_well = Some(Instant::now());
            self.manager.all_is_well();
        }
    }

    /// How the end of a monitor is to be taken.
    fn judge(&self, running: &Running, status: WaitStatus) -> Verdict {
        if let Some(Stop { is_urgent: true, signal, .. }) = self.stop {
            return Verdict::Over(128 + signal);
        }
        let hung = running.condemned.as_ref().map(|(why, _)| why);
        match (status, &running.panicked, hung) {
            (WaitStatus::Exited(_, code), None, None) if self.begin == Begin::First => Verdict::Over(code),
            // Told to stop by us, or by a signal of its own.
            (WaitStatus::Exited(_, code), None, None) if running.is_stopping => Verdict::Over(code),
            (_, Some(panic), _) => Verdict::Died(format!("ended by a fault of its own: {panic}")),
            (_, None, Some(why)) => Verdict::Died(format!("{why}, and was ended")),
            (status, None, None) => Verdict::Died(reason::of(status, &running.memory)),
        }
    }
}

/// How a child of ours ended, if it has. Others that are left to us (we may be the first process of a container) go on the
/// way.
fn reap(pid: Pid) -> Option<WaitStatus> {
    match waitpid(pid, Some(WaitPidFlag::WNOHANG)) {
        Ok(WaitStatus::StillAlive) | Err(Errno::EINTR) => None,
        Ok(status @ (WaitStatus::Exited(..) | WaitStatus::Signaled(..))) => Some(status),
        Ok(_) => None,
        Err(_) => Some(WaitStatus::Exited(pid, -1)),
    }
}

/// A clock that stands still while the machine sleeps.
fn clock() -> Duration {
    #[cfg(not(target_vendor = "apple"))]
    const CLOCK: ClockId = ClockId::CLOCK_MONOTONIC;
    #[cfg(target_vendor = "apple")]
    const CLOCK: ClockId = ClockId::from_raw(libc::CLOCK_UPTIME_RAW);
    Duration::from(clock_gettime(CLOCK).expect("every system that this compiles for has this clock"))
}

/// How many lines of the monitor's log are kept.
const LOG_LINES: usize = 20;
/// How long a process may take from a signal that ends it to its end.
const MERCY: Duration = Duration::from_secs(5);
/// How long a monitor that was told to stop may take; its farewell takes ten seconds of it.
const STOP_PATIENCE: Duration = Duration::from_secs(30);
