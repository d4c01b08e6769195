//! The data folder: whose it is, whether it can be written, whether there is room, and who records in it.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use latmon::archive;
use latmon::monitor::control;
use latmon::privileges::User;
use latmon::time::{Lasted, UnixTime};
use nix::sys::statvfs::statvfs;
use nix::unistd::{AccessFlags, access};

use super::{Bytes, Finding, Patient};

const ABOUT: &str = "data";

pub(super) fn data(patient: &Patient) -> Vec<Finding> {
    let dir = &patient.config.data_dir.value;
    let writable = match fs::metadata(dir) {
        Ok(metadata) => writable(dir, &metadata, patient),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => makeable(dir, patient),
        Err(error) => Err(Finding::fail(ABOUT, format!("{}: {error}", dir.display()))),
    };
    let mut findings = vec![writable.unwrap_or_else(|finding| finding)];
    findings.extend(room(patient));
    findings.push(monitor(patient));
    findings
}

/// A folder that is not there yet is made at the first start.
fn makeable(dir: &Path, patient: &Patient) -> Result<Finding, Finding> {
    let above = dir.ancestors().skip(1).find(|above| above.exists()).unwrap_or(Path::new("/"));
    // Root makes it for the user of the settings, before it becomes that one.
    if access(above, AccessFlags::W_OK | AccessFlags::X_OK).is_ok() {
        return Ok(Finding::ok(ABOUT, format!("{} is made at the first start", dir.display())));
    }
    let name = patient.service.as_ref().map_or("latmon", |service| &service.name);
    Err(Finding::fail(
        ABOUT,
        format!(
            "{dir} does not exist, and {} is not yours to make it in: as root, mkdir -p {dir} && chown {name} {dir}",
            above.display(),
            dir = dir.display()
        ),
    ))
}

fn writable(dir: &Path, metadata: &Metadata, patient: &Patient) -> Result<Finding, Finding> {
    let shown = dir.display();
    if !metadata.is_dir() {
        return Err(Finding::fail(ABOUT, format!("{shown} is no folder: name another one as data_dir")));
    }
    // A file system that is mounted for reading says so to root as well.
    let access = access(dir, AccessFlags::W_OK | AccessFlags::X_OK);
    if let Err(errno @ nix::errno::Errno::EROFS) = access {
        return Err(Finding::fail(ABOUT, format!("{shown}: {}: mount it for writing", errno.desc())));
    }
    let Some(service) = &patient.service else {
        return Ok(Finding::ok(ABOUT, format!("{shown}, owned by {}", owner(metadata))));
    };
    let chown = format!("chown -R {} {shown}", service.name);
    let is_refused = if patient.me == *service { access.is_err() } else { !may_write(service, metadata) };
    if is_refused {
        let text =
            format!("{shown} is owned by {}, and {} records there: {chown}", owner(metadata), service.name);
        return Err(Finding::fail(ABOUT, text));
    }
    if let Some((file, metadata)) = foreign(dir, service) {
        let text = format!(
            "{} is owned by {}, and {} records there: {chown}",
            file.display(),
            owner(&metadata),
            service.name
        );
        return Err(Finding::fail(ABOUT, text));
    }
    Ok(Finding::ok(ABOUT, format!("{shown}, owned by {}", owner(metadata))))
}

/// Whether the owner, the group and the mode let `user` make files there.
fn may_write(user: &User, metadata: &Metadata) -> bool {
    const WRITE_AND_ENTER: u32 = 0o3;
    let bits = |shift: u32| metadata.mode() >> shift & WRITE_AND_ENTER == WRITE_AND_ENTER;
    match () {
        () if user.is_root() => true,
        () if metadata.uid() == user.uid => bits(6),
        () if metadata.gid() == user.gid => bits(3),
        () => bits(0),
    }
}

/// A file of a former run that the user who records now may not write: a start as root leaves such.
fn foreign(dir: &Path, service: &User) -> Option<(PathBuf, Metadata)> {
    let entries = fs::read_dir(dir).ok()?.take(MOST_FILES);
    entries.filter_map(|entry| entry.ok()).find_map(|entry| {
        let (path, metadata) = (entry.path(), entry.metadata().ok()?);
        let is_ours = path.extension().is_some_and(|ending| ending == "rrd" || ending == "lock")
            || OUR_FOLDERS.iter().any(|ours| path.ends_with(ours));
        let can_write = service.is_root() || metadata.uid() == service.uid || metadata.mode() & 0o022 != 0;
        (is_ours && !can_write).then_some((path, metadata))
    })
}

fn owner(metadata: &Metadata) -> String {
    User::numbered(metadata.uid()).name
}

/// Whether what is still to be made fits. Blocks are taken at creation, so a folder with every archive stays as large.
fn room(patient: &Patient) -> Option<Finding> {
    let dir = &patient.config.data_dir.value;
    let there = dir.ancestors().find(|dir| dir.exists())?;
    let system = statvfs(there).ok()?;
    // The types differ from system to system.
    #[allow(clippy::unnecessary_cast)]
    let free = (system.blocks_available() as u64).saturating_mul(system.fragment_size() as u64);
    let (missing, bytes) = patient.config.archive.to_be_made();
    let noun = if missing == 1 { "archive" } else { "archives" };
    let to_make = match missing {
        0 => "no archive is to be made".to_owned(),
        _ => format!("{missing} {noun} to be made take {}", Bytes(bytes)),
    };
    let text = format!("{} free, {to_make}", Bytes(free));
    Some(match free.checked_sub(bytes) {
        None => Finding::fail("space", format!("{text}: make room, or name another data_dir")),
        Some(left) if left < LITTLE => {
            Finding::warn("space", format!("{text}: little is left for mails and the journal"))
        }
        Some(_) => Finding::ok("space", text),
    })
}

/// Who records there now.
fn monitor(patient: &Patient) -> Finding {
    let about = "monitor";
    let dir = &patient.config.data_dir.value;
    match (&patient.running, archive::holder(dir)) {
        (Ok(status), _) if status.stale => Finding::fail(
            about,
            format!("process {} runs, and has had no round for two steps: its log says why", status.pid),
        ),
        (Ok(status), _) => {
            let now = UnixTime::from(SystemTime::now());
            let ran = now.since(UnixTime::from_secs(status.started)).unwrap_or_default();
            Finding::ok(
                about,
                format!("process {} runs for {}, sockets: {}", status.pid, Lasted(ran), status.sockets),
            )
        }
        (Err(control::Error::NotRunning(_)), None) => Finding::ok(about, "none runs yet: latmon run"),
        (Err(control::Error::NotRunning(_)), Some(pid)) => Finding::warn(
            about,
            format!(
                "process {pid} holds {}/latmon.lock and has no control socket: it is just ending, or its log says why",
                dir.display()
            ),
        ),
        (Err(error @ control::Error::NotAllowed(_)), _) => Finding::warn(about, error.to_string()),
        (Err(error), _) => Finding::fail(about, error.to_string()),
    }
}

const MOST_FILES: usize = 10_000;
const OUR_FOLDERS: [&str; 3] = ["outbox", "sent", "journal"];
/// Room for some mails with pictures, and for a journal.
const LITTLE: u64 = 100_000_000;
