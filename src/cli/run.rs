//! `latmon run`: reads the settings, watches until it is told to stop, shows each round.

use std::fs;
use std::io;
use std::os::unix::fs::chown;
use std::thread;

use clap::Args as ClapArgs;
use crossbeam_channel::{Receiver, Sender, bounded};
use latmon::config::Config;
use latmon::monitor::{self, End};
use latmon::privileges::{self, User};
use latmon::probe::OpenSockets;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
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
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    log::start();
    let config = args.settings.load()?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    raise_file_limit();
    // Capabilities are a thread's: they go before there is a second one, which watching for signals begins.
    let sockets = OpenSockets::open(&config.probe).map_err(Failure::failed)?;
    give_up_privileges(&config)?;
    let stop =
        stop_signals().map_err(|error| Failure::failed(format!("cannot watch for signals: {error}")))?;
    let mut screen = Screen::new(config.probe.targets.len());
    let settings = monitor::Settings {
        host: host_name(),
        archive: config.archive,
        probe: config.probe,
        alert: config.alert,
        desk: config.desk,
        mail: config.mail,
        limits: config.limits,
    };
    match monitor::run(settings, sockets, &stop, &mut |round, state| screen.show(round, state)) {
        Ok(End::Told(_)) => Ok(Exit::Done),
        Ok(End::Panicked(reason)) => Err(Failure::failed(format!("stopped after a panic: {reason}"))),
        Err(error) => Err(Failure::failed(error)),
    }
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
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        tracing::warn!("cannot raise the limit of open files: {error}");
    }
}

/// The name of this machine.
pub(super) fn host_name() -> String {
    nix::unistd::gethostname()
        .map_or_else(|_| "localhost".to_owned(), |name| name.to_string_lossy().into_owned())
}

/// A channel on which the first Ctrl-C, SIGTERM or SIGHUP is told; a second one ends the program at once. SIGHUP stays
/// ignored where it was at the start, under nohup.
pub(super) fn stop_signals() -> io::Result<Receiver<String>> {
    let mut watched = vec![SIGINT, SIGTERM];
    if !is_ignored(SIGHUP) {
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

/// Whether a signal is ignored by this process, by the mask that the kernel shows.
fn is_ignored(signal: i32) -> bool {
    std::fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| {
            let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
            u64::from_str_radix(mask.trim(), 16).ok()
        })
        .is_some_and(|mask| mask & (1 << (signal - 1)) != 0)
}
