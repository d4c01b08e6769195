//! `latmon run`: reads the settings, watches until it is told to stop, shows each round.

mod process;

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, OwnedFd, RawFd};
use std::os::unix::fs::{FileExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use clap::Args as ClapArgs;
use crossbeam_channel::{Receiver, Sender, bounded};
use latmon::config::{Config, Kept};
use latmon::guardian::{
    self, Charge, FromMonitor, LastWords, Lifeline, Program, Role, ToMonitor, descriptors,
};
use latmon::mail::{Courier, Outbox, Way};
use latmon::monitor::ends::{self, Death, Next, Told};
use latmon::monitor::{self, End, Life, Order};
use latmon::privileges::{self, User};
use latmon::probe::{self, OpenSockets};
use latmon::time::UnixTime;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{AccessFlags, access};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::screen::Screen;
use super::settings::SettingsArgs;
use super::{Exit, Failure, log};

#[derive(ClapArgs)]
pub(super) struct Args {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Leave a monitor that died ended; its exit mail is sent all the same
    #[arg(long)]
    no_restart: bool,
}

/// Does what needs privileges, and becomes the guardian.
pub(super) fn run(args: &Args, program: &Program) -> Result<Exit, Failure> {
    log::start();
    let (config, kept) = args.settings.load_and_keep()?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    raise_file_limit();
    let sockets = OpenSockets::open(&config.probe).map_err(Failure::failed)?;
    let spares = probe::open_spares();
    give_up_privileges(&config)?;
    let settings = keep_settings(&kept)
        .map_err(|error| Failure::failed(format!("cannot keep the settings: {error}")))?;
    let started = UnixTime::from(SystemTime::now());
    let charge = Charge {
        role: Role::Guardian,
        settings: -1,
        sockets: Vec::new(),
        spares: Vec::new(),
        lifeline: None,
        restart: !args.no_restart,
        private: process::is_hidden(),
        managed: false,
        started,
        guardian: started,
    };
    Err(become_guardian(charge, program, &settings, &sockets.into_descriptors(), &spares))
}

/// Goes on as the guardian, in this process with a fresh memory; returns only if that fails.
fn become_guardian(
    mut charge: Charge,
    program: &Program,
    settings: &OwnedFd,
    sockets: &[OwnedFd],
    spares: &[OwnedFd],
) -> Failure {
    let lent = || -> io::Result<Charge> {
        charge.settings = descriptors::lend(settings)?;
        charge.sockets = sockets.iter().map(descriptors::lend).collect::<io::Result<_>>()?;
        charge.spares = spares.iter().map(descriptors::lend).collect::<io::Result<_>>()?;
        Ok(charge)
    };
    // It is small, and stays so on a machine that gives memory away by two megabytes at a time.
    process::allow_huge_pages(false);
    let error = match lent() {
        Ok(charge) => program.again_as(&charge).exec(),
        Err(error) => error,
    };
    Failure::failed(format!("cannot start the guardian: {error}: may this user run the program?"))
}

/// The guardian: see [`latmon::guardian`].
pub(super) fn guard(charge: &Charge, program: &Program) -> Result<Exit, Failure> {
    log::start();
    give_back(charge)?;
    let code = guardian::run(charge, program, !process::ignores(SIGHUP)).map_err(Failure::failed)?;
    std::process::exit(code)
}

/// The monitor, or the last words of one.
pub(super) fn take_part(args: &Args, charge: &Charge, program: &Program) -> Result<Exit, Failure> {
    process::allow_huge_pages(true);
    give_back(charge)?;
    let handed = |error| Failure::failed(format!("cannot take over what the guardian hands over: {error}"));
    let settings = descriptors::take(charge.settings).map_err(handed)?;
    match charge.role {
        Role::LastWords => last_words(args, &settings),
        Role::Guardian | Role::Monitor => {
            let line =
                descriptors::take(charge.lifeline.unwrap_or(-1)).and_then(Lifeline::take).map_err(handed)?;
            let take = |numbers: &[RawFd]| -> Result<Vec<OwnedFd>, Failure> {
                numbers
                    .iter()
                    .map(|number| descriptors::take(*number))
                    .collect::<io::Result<_>>()
                    .map_err(handed)
            };
            let (sockets, spares) = (take(&charge.sockets)?, take(&charge.spares)?);
            Part { args, charge, program, settings, sockets, spares, line: Arc::new(line) }.watch()
        }
    }
}

/// A file's own capabilities come back with every start; whoever was root before is nobody's to look into.
fn give_back(charge: &Charge) -> Result<(), Failure> {
    process::take_name();
    if charge.private {
        process::hide();
    }
    privileges::drop_capabilities().map_err(Failure::failed)
}

/// A monitor with a guardian.
struct Part<'a> {
    args: &'a Args,
    charge: &'a Charge,
    program: &'a Program,
    settings: OwnedFd,
    /// For the next guardian; the prober has its own.
    sockets: Vec<OwnedFd>,
    /// The same for traces.
    spares: Vec<OwnedFd>,
    line: Arc<Lifeline>,
}

impl Part<'_> {
    fn watch(&self) -> Result<Exit, Failure> {
        // On a terminal this is a process of the background, which may write there all the same.
        let mut of_terminal = SigSet::empty();
        of_terminal.add(Signal::SIGTTOU);
        let _ = of_terminal.thread_block();
        log::start_with(Some(Arc::clone(&self.line)));
        let config = self.load()?;
        let copies = |of: &[OwnedFd]| {
            let copies = of.iter().map(OwnedFd::try_clone).collect::<io::Result<Vec<OwnedFd>>>();
            copies.map_err(|error| Failure::failed(format!("cannot take over the sockets: {error}")))
        };
        probe::keep_spares(copies(&self.spares)?);
        let sockets = OpenSockets::adopt(copies(&self.sockets)?, &config.probe).map_err(Failure::failed)?;
        let orders =
            self.orders().map_err(|error| Failure::failed(format!("cannot watch for signals: {error}")))?;
        let mut screen = Screen::new(config.probe.targets.len());
        let settings = monitor::Settings {
            host: host_name(),
            archive: config.archive.clone(),
            probe: config.probe.clone(),
            alert: config.alert.clone(),
            desk: config.desk.clone(),
            mail: config.mail.clone(),
            ways: ways(&config),
            limits: config.limits.clone(),
            exit: monitor::Exit {
                run: Some(self.charge.started),
                told: config.mail_every_end.value,
                // The guardian tells, and knows what becomes of it.
                panicked: false,
            },
        };
        let tell = |life| match life {
            Life::Ready { what, patience, has_untold } => {
                self.line.tell(&FromMonitor::Ready { patience, has_untold, what });
            }
            Life::Beat => self.line.tell(&FromMonitor::Beat),
            Life::Stopping => self.line.tell(&FromMonitor::Stopping),
        };
        match monitor::run(settings, sockets, &orders, &mut |round, state| screen.show(round, state), &tell) {
            Ok(End::Told(_)) => Ok(Exit::Done),
            Ok(End::Panicked(reason)) => {
                self.line.tell(&FromMonitor::Panicked(reason.clone()));
                Err(Failure::failed(format!("stopped after a panic: {reason}")))
            }
            Ok(End::Orphaned) => self.go_on(&config, &orders),
            Err(error) => Err(Failure::failed(error)),
        }
    }

    fn load(&self) -> Result<Config, Failure> {
        load_kept(self.args, &self.settings)
    }

    /// A channel on which a stop is told, whoever wants it, and the end of the guardian.
    fn orders(&self) -> io::Result<Receiver<Order>> {
        let (told, orders) = bounded(4);
        let stop = stop_signals()?;
        let of_signals = told.clone();
        thread::Builder::new().name("stop".into()).spawn(move || {
            for what in stop {
                // Whoever is to stop holds the other end until it has ended.
                let _ = of_signals.try_send(Order::Stop(what));
            }
        })?;
        let line = Arc::clone(&self.line);
        thread::Builder::new().name("guardian".into()).spawn(move || {
            while let Some(message) = line.hear() {
                let _ = told.try_send(match message {
                    ToMonitor::Stop(what) => Order::Stop(what),
                    ToMonitor::MailsWait => Order::MailsWait,
                    ToMonitor::EndNow(code) => std::process::exit(code),
                });
            }
            let _ = told.try_send(Order::Orphaned);
        })?;
        Ok(orders)
    }

    /// Tells that the guardian is gone, and becomes the next one; not where somebody else starts all of it again, or nobody
    /// shall.
    fn go_on(&self, config: &Config, orders: &Receiver<Order>) -> Result<Exit, Failure> {
        let Charge { restart, managed, guardian, .. } = *self.charge;
        // Somebody may have wanted it to stop while it was ending anyway.
        let stop = orders.try_iter().find_map(|order| match order {
            Order::Stop(what) => Some(what),
            Order::Orphaned | Order::MailsWait => None,
        });
        let next = match (&stop, restart, managed) {
            (Some(_), ..) | (None, false, false) => Next::Never,
            (None, _, true) => Next::Managed,
            (None, true, false) => Next::Repaired,
        };
        let now = UnixTime::from(SystemTime::now());
        let lost = "lost its guardian: that process was killed";
        let death = Death {
            key: format!("guardian-exit-{}", guardian.micros()),
            run: self.charge.started,
            started: guardian,
            at: now,
            reason: stop
                .as_ref()
                .map_or(lost.to_owned(), |what| format!("{lost}, and it was told to stop: {what}")),
            log: Vec::new(),
            next: next.clone(),
            is_planned: false,
        };
        let is_left = next == Next::Never;
        let told = tell_end(config, Some(death), if is_left { FAREWELL } else { Duration::ZERO });
        if let Err(failure) = told {
            tracing::error!("no mail tells that the guardian is gone: {failure}");
        }
        if next != Next::Repaired {
            return Err(Failure::failed("ended: its guardian is gone"));
        }
        tracing::warn!("the guardian is gone: this process becomes the next one");
        let charge = Charge {
            role: Role::Guardian,
            lifeline: None,
            started: now,
            guardian: now,
            ..self.charge.clone()
        };
        Err(become_guardian(charge, self.program, &self.settings, &self.sockets, &self.spares))
    }
}

/// Tells of an end as the guardian says it.
fn last_words(args: &Args, settings: &OwnedFd) -> Result<Exit, Failure> {
    log::start();
    let words = LastWords::hear()
        .map_err(|error| Failure::failed(format!("cannot hear whose end it is: {error}")))?;
    let config = load_kept(args, settings)?;
    let is_wanted =
        config.mail_every_end.value || !words.death.as_ref().is_some_and(|death| death.is_planned);
    let death = words.death.filter(|_| is_wanted);
    match tell_end(&config, death, Duration::from_secs(words.send_secs))? {
        Told::Now | Told::Unkept | Told::Nothing => Ok(Exit::Done),
        Told::Later => std::process::exit(LastWords::LATER),
    }
}

/// Puts the mail about an end into the outbox, and sends what waits there for so long.
fn tell_end(config: &Config, death: Option<Death>, send: Duration) -> Result<Told, Failure> {
    let data_dir = &config.archive.data_dir;
    let outbox = Outbox::open(data_dir).map_err(Failure::failed)?;
    let host = host_name();
    let ways = ways(config);
    let names: Vec<String> = ways.iter().map(|way| way.name.clone()).collect();
    let teller =
        ends::Teller { host: &host, data_dir, mail: config.mail.as_ref(), ways: &names, outbox: &outbox };
    let told = teller.tell(death, UnixTime::from(SystemTime::now())).map_err(Failure::failed)?;
    // What no disk has goes now, or with this process.
    let send = if told == Told::Unkept { FAREWELL } else { send };
    if send.is_zero() {
        return Ok(told);
    }
    let courier = Courier::start(outbox.clone(), ways).map_err(Failure::failed)?;
    let sent = thread::scope(|scope| {
        scope.spawn(|| courier.stop(send));
        let mail = config.mail.as_ref();
        mail.map(|mail| latmon::mail::send_waiting(&outbox, mail, Instant::now() + send)).transpose()
    });
    sent.map_err(Failure::failed)?;
    Ok(told)
}

/// The webhooks and commands of the settings.
fn ways(config: &Config) -> Vec<Way> {
    config.ways.iter().map(|way| way.way.clone()).collect()
}

/// Keeps what was read of the settings, for the processes that may not read it any more.
fn keep_settings(kept: &Kept) -> io::Result<OwnedFd> {
    let mut file = process::unnamed_file()?;
    file.write_all(&kept.bytes())?;
    Ok(file.into())
}

fn load_kept(args: &Args, settings: &OwnedFd) -> Result<Config, Failure> {
    let cannot = |error: io::Error| Failure::failed(format!("cannot read the settings again: {error}"));
    let file = File::from(settings.as_fd().try_clone_to_owned().map_err(cannot)?);
    let length = file.metadata().map_err(cannot)?.len();
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
    // The place in the file is shared with every other process that has it.
    file.read_exact_at(&mut bytes, 0).map_err(cannot)?;
    let kept =
        Kept::read(&bytes).ok_or_else(|| Failure::failed("the settings that were handed over are none"))?;
    args.settings.load_kept(kept)
}

/// Becomes the user of the settings, who gets a data folder where there is none yet; without one, whoever is not root
/// gives up capabilities. What the run makes is made after this, and so belongs to that user.
fn give_up_privileges(config: &Config) -> Result<(), Failure> {
    let Some(user) = &config.user else { return privileges::drop_capabilities().map_err(Failure::failed) };
    let in_settings = |error: privileges::Error| Failure::usage(format!("{}: {error}", user.origin));
    let found = User::named(&user.value).map_err(in_settings)?;
    let dir = &config.data_dir.value;
    let of_folder = |error| Failure::failed(format!("the data folder {}: {error}", dir.display()));
    if !dir.exists() {
        fs::create_dir_all(dir).map_err(of_folder)?;
        chown(dir, Some(found.uid), Some(found.gid)).map_err(of_folder)?;
    }
    privileges::become_user(&found).map_err(in_settings)?;
    if access(dir, AccessFlags::W_OK | AccessFlags::X_OK).is_err() {
        return Err(Failure::failed(format!(
            "the user {} may not write in the data folder {dir}: chown -R {} {dir}",
            found.name,
            found.name,
            dir = dir.display()
        )));
    }
    Ok(())
}

/// Every archive is kept open. The usual soft limit of 1024 files is there for programs that call select(2).
fn raise_file_limit() {
    // Apple's hard limit may be none, and its kernel takes no more than this.
    let most = if cfg!(target_vendor = "apple") { 10_240 } else { libc::rlim_t::MAX };
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard.min(most), hard));
    if let Err(error) = raised {
        tracing::warn!("cannot raise the limit of open files: {error}");
    }
}

/// How long a monitor that is left alone may try to send its last mail.
const FAREWELL: Duration = Duration::from_secs(10);

/// The name of this machine.
pub(super) fn host_name() -> String {
    nix::unistd::gethostname()
        .map_or_else(|_| "localhost".to_owned(), |name| name.to_string_lossy().into_owned())
}

/// A channel on which the first Ctrl-C, SIGTERM or SIGHUP is told; a second one ends the program at once. SIGHUP stays
/// ignored where it was at the start, under nohup.
pub(super) fn stop_signals() -> io::Result<Receiver<String>> {
    let mut watched = vec![SIGINT, SIGTERM];
    if !process::ignores(SIGHUP) {
        watched.push(SIGHUP);
    }
    let mut signals = Signals::new(watched)?;
    let (told, stop): (Sender<String>, _) = bounded(1);
    thread::Builder::new().name("signals".into()).spawn(move || {
        for (count, signal) in signals.forever().enumerate() {
            if count > 0 {
                std::process::exit(128 + signal);
            }
            let name = match signal {
                SIGINT => "Ctrl-C (SIGINT)",
                SIGHUP => "its terminal was closed (SIGHUP)",
                _ => "SIGTERM",
            };
            // Whoever is to stop holds the other end until it has ended.
            let _ = told.send(name.to_owned());
        }
    })?;
    Ok(stop)
}
