//! Webhooks and commands.

use std::fs::{self, File, Metadata};
use std::io::{ErrorKind, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use latmon::config::WayConfig;
use latmon::mail::{How, Posting};
use latmon::privileges::User;
use nix::unistd::{AccessFlags, access};

use super::{Finding, Patient, post};

/// Looks whether a way leads somewhere, without telling anybody anything; lets a test out by it where that is asked for.
pub(super) fn way(config: &WayConfig, patient: &Patient, send: bool) -> Finding {
    let name = config.way.name.split_once(':').map_or("", |(_, name)| name);
    let (about, found) = match &config.way.how {
        How::Webhook(webhook) if send => ("webhook", format!("{}, a test was posted", webhook.shown())),
        How::Webhook(webhook) => ("webhook", format!("{}, reached, nothing was posted", webhook.shown())),
        How::Command(command) => {
            let program = command.program();
            if let Err(why) = executable(program, patient) {
                let text = format!("{name}: {why}, or mend 'run' in {}", config.origin);
                return Finding::fail("command", text);
            }
            let did =
                if send { format!("was told a test as {}", patient.me.name) } else { "may be run".into() };
            ("command", format!("{}, {did}", program.display()))
        }
    };
    let tried = if send { config.way.try_out(&test(&config.way.name)) } else { config.way.reach() };
    match tried {
        Ok(()) => Finding::ok(about, format!("{name}: {found}")),
        Err(error) => Finding::fail(about, format!("{name}: {error}")),
    }
}

/// A posting that says that nothing is wrong.
fn test(way: &str) -> Posting {
    let host = super::super::run::host_name();
    let mail = post::test_mail(&host);
    Posting {
        key: mail.key,
        answers: None,
        way: way.to_owned(),
        at: mail.date,
        state: "test".to_owned(),
        severity: "info".to_owned(),
        subject: mail.subject,
        text: mail.text,
        monitor: host,
        alerts: Vec::new(),
    }
}

/// Whether the user who records may run this program; else why not, and what to do.
fn executable(program: &Path, patient: &Patient) -> Result<(), String> {
    let shown = program.display();
    let metadata = fs::metadata(program).map_err(|error| match error.kind() {
        ErrorKind::NotFound => format!("{shown} is not there: install it"),
        _ => format!("{shown}: {error}: make a way to it"),
    })?;
    if !metadata.is_file() {
        return Err(format!("{shown} is no program: name one"));
    }
    if let Some(interpreter) = interpreter(program).filter(|interpreter| !interpreter.exists()) {
        return Err(format!("{shown} wants {}, which is not there: install it", interpreter.display()));
    }
    let user = patient.service.as_ref().unwrap_or(&patient.me);
    let is_refused = access(program, AccessFlags::X_OK).is_err();
    if patient.me == *user && !is_refused {
        return Ok(());
    }
    match closed_to(user, program, &metadata) {
        Some(path) => Err(format!("{} may not run {shown}: chmod a+x {}", user.name, path.display())),
        // To root too a file system may be one from which nothing is run.
        None if is_refused && (patient.me.is_root() || patient.me == *user) => {
            Err(format!("{shown} may not be run from where it lies: put it elsewhere"))
        }
        None => Ok(()),
    }
}

/// The program, or the folder above it, that the owner, the group and the mode keep `user` from.
fn closed_to<'a>(user: &User, program: &'a Path, metadata: &Metadata) -> Option<&'a Path> {
    let may = |metadata: &Metadata| {
        let has = |bits: u32| metadata.mode() & bits != 0;
        match () {
            // Root enters every folder, and runs what anybody may run.
            () if user.is_root() => metadata.is_dir() || has(0o111),
            () if metadata.uid() == user.uid => has(0o100),
            () if metadata.gid() == user.gid => has(0o010),
            () => has(0o001),
        }
    };
    let closed = |folder: &&Path| fs::metadata(folder).is_ok_and(|metadata| !may(&metadata));
    program.ancestors().skip(1).find(closed).or_else(|| (!may(metadata)).then_some(program))
}

/// Who runs a script, by its first line. One that may not be read is not looked into.
fn interpreter(program: &Path) -> Option<PathBuf> {
    let mut head = Vec::new();
    File::open(program).ok()?.take(FIRST_LINE_BYTES).read_to_end(&mut head).ok()?;
    let line = head.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let word =
        line.trim_ascii().split(u8::is_ascii_whitespace).next().filter(|word| word.starts_with(b"/"))?;
    Some(std::ffi::OsStr::from_bytes(word).into())
}

/// As much as the kernel reads of it.
const FIRST_LINE_BYTES: u64 = 256;
