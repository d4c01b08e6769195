//! Whether the kernel killed a monitor for want of memory. Its log says so by name, where we may read that; what it counts
//! anybody may read, for a control group of either version and for the whole machine.

use std::fs::{self, File, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::unistd::Pid;

/// What the kernel counted while a monitor lived. Between two looks there is a time, so that a kill that is counted before
/// its process has ended is not taken for an earlier one.
#[derive(Debug, Default)]
pub(super) struct Memory {
    older: Counts,
    newer: Counts,
    looked: Option<Instant>,
}

/// What is known of the end of a process that was killed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Evidence {
    /// It was for want of memory, by these words.
    Sure(String),
    /// Somebody was killed for that just then, by these words.
    Likely(String),
    /// Nobody was.
    Not,
    /// The kernel does not tell.
    None,
}

impl Memory {
    /// Looks at what is counted, at most once a second. A monitor may be put into another control group at any time.
    pub(super) fn look(&mut self, monitor: Pid) {
        if self.looked.is_none_or(|looked| looked.elapsed() >= LOOK_EVERY) {
            self.older = std::mem::replace(&mut self.newer, Counts::of(monitor));
            self.looked = Some(Instant::now());
        }
    }

    /// Whether `monitor`, which was killed since the last look, was killed for want of memory.
    pub(super) fn evidence(&self, monitor: Pid) -> Evidence {
        let looks = [&self.older, &self.newer];
        let machine: Vec<bool> =
            looks.iter().filter_map(|look| Some(kills_in(Path::new(MACHINE))? > look.machine?)).collect();
        if machine.contains(&false) && !machine.contains(&true) {
            return Evidence::Not;
        }
        if let Some(line) = logged(monitor) {
            return Evidence::Sure(format!("the kernel log says '{line}'"));
        }
        let group = looks.iter().filter_map(|look| look.group.as_ref()).find_map(|(file, before)| {
            let now = kills_in(file).filter(|now| now > before)?;
            Some(format!("oom_kill in {} went from {before} to {now}", file.display()))
        });
        match group {
            Some(words) => Evidence::Sure(words),
            None if machine.contains(&true) => {
                Evidence::Likely("the kernel killed a process of this machine for that just then".to_owned())
            }
            None => Evidence::None,
        }
    }
}

/// How many processes the kernel has killed for want of memory.
#[derive(Debug, Default)]
struct Counts {
    /// Those of a control group, and the file that counts them.
    group: Option<(PathBuf, u64)>,
    /// Those of the machine.
    machine: Option<u64>,
}

impl Counts {
    fn of(process: Pid) -> Self {
        let groups = fs::read_to_string(format!("/proc/{process}/cgroup")).unwrap_or_default();
        let group = files(&groups).into_iter().find_map(|file| {
            let kills = kills_in(&file)?;
            Some((file, kills))
        });
        Self { group, machine: kills_in(Path::new(MACHINE)) }
    }
}

/// The files that may count for a process of these groups, the likeliest first. A group of version 2 that has no such file
/// is counted by those above it.
fn files(groups: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        let path = Path::new(path.trim_start_matches('/'));
        if controllers.split(',').any(|controller| controller == "memory") {
            files.push(Path::new(GROUPS).join("memory").join(path).join("memory.oom_control"));
        } else if controllers.is_empty() {
            for root in [Path::new(GROUPS).to_owned(), Path::new(GROUPS).join("unified")] {
                files
                    .extend(path.ancestors().take(DEEPEST).map(|path| root.join(path).join("memory.events")));
            }
        }
    }
    files
}

/// The number behind `oom_kill`, which is written the same way wherever it stands.
fn kills_in(file: &Path) -> Option<u64> {
    let mut text = String::new();
    File::open(file).ok()?.take(MOST_BYTES).read_to_string(&mut text).ok()?;
    text.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
}

/// What the kernel's log says of a process that it killed for want of memory, where we may read that.
fn logged(process: Pid) -> Option<String> {
    let mut log = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open("/dev/kmsg").ok()?;
    let (mut record, mut found) = ([0; 8192], None);
    let wanted = format!("Killed process {process} ");
    for _ in 0..MOST_RECORDS {
        match log.read(&mut record) {
            Ok(length @ 1..) => {
                let text = String::from_utf8_lossy(&record[..length]);
                let line = text.split_once(';').map_or("", |(_, line)| line.lines().next().unwrap_or(""));
                if line.contains(&wanted) {
                    found = Some(line.chars().take(200).collect());
                }
            }
            // A record that was overwritten while it was read; there are others.
            Err(error) if error.raw_os_error() == Some(libc::EPIPE) => {}
            Ok(_) | Err(_) => break,
        }
    }
    found
}

const LOOK_EVERY: Duration = Duration::from_secs(1);
const GROUPS: &str = "/sys/fs/cgroup";
const MACHINE: &str = "/proc/vmstat";
const MOST_BYTES: u64 = 64 << 10;
/// Groups within groups: more than anybody has.
const DEEPEST: usize = 32;
/// The kernel keeps fewer.
const MOST_RECORDS: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_is_found_in_either_version() {
        let first = |groups: &str| files(groups).first().map(|file| file.display().to_string());
        assert_eq!(
            first("9:name=systemd:/\n4:memory:/a/b\n1:cpu,cpuacct:/\n0::/\n").as_deref(),
            Some("/sys/fs/cgroup/memory/a/b/memory.oom_control")
        );
        let service = files("0::/system.slice/latmon.service\n");
        let service: Vec<String> = service.iter().map(|file| file.display().to_string()).collect();
        assert_eq!(service[0], "/sys/fs/cgroup/system.slice/latmon.service/memory.events");
        assert!(service.contains(&"/sys/fs/cgroup/system.slice/memory.events".to_owned()), "{service:?}");
        assert!(files("garbage\n::\n").len() < 5);
        assert_eq!(first(""), None);
    }

    #[test]
    fn the_number_is_read_from_every_file_that_has_one() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        for (text, expected) in [
            ("oom_kill_disable 0\nunder_oom 0\noom_kill 1\n", Some(1)),
            ("low 0\nhigh 0\nmax 7\noom 3\noom_kill 2\noom_group_kill 9\n", Some(2)),
            ("nr_free_pages 1\noom_kill 18446744073709551615\n", Some(u64::MAX)),
            ("oom_kill many\n", None),
            ("", None),
        ] {
            fs::write(&file, text).unwrap();
            assert_eq!(kills_in(&file), expected, "{text}");
        }
        assert_eq!(kills_in(&dir.path().join("none")), None);
    }

    /// Somebody's SIGKILL is not blamed on the kernel, also where an earlier process of that number was killed by it.
    #[test]
    fn where_nobody_was_killed_for_memory_it_is_not_said() {
        let here = Pid::this();
        let mut memory = Memory::default();
        assert!(!matches!(memory.evidence(here), Evidence::Likely(_) | Evidence::Not), "nothing was counted");
        memory.look(here);
        let counted = memory.newer.machine;
        match memory.evidence(here) {
            Evidence::Not => assert!(counted.is_some()),
            // Another test may be about just that.
            Evidence::Likely(_) | Evidence::Sure(_) => assert!(kills_in(Path::new(MACHINE)) > counted),
            Evidence::None => assert_eq!(counted, None),
        }
    }
}
