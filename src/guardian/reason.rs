//! Why a monitor ended, in words, as far as anybody knows.

use std::fs::{self, File, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;

use nix::sys::signal::Signal;
use nix::sys::wait::WaitStatus;
use nix::unistd::Pid;

/// What can be known of the memory of a process that is killed for it.
#[derive(Debug)]
pub(super) struct Memory {
    /// How many processes of our control group were killed for want of memory.
    kills: Option<u64>,
}

impl Memory {
    /// As it stands before a monitor starts.
    pub(super) fn now() -> Self {
        Self { kills: kills() }
    }
}

/// How a process ended, in words that follow its name.
pub(super) fn of(status: WaitStatus, before: &Memory) -> String {
    match status {
        WaitStatus::Exited(_, code) => format!("ended by itself with exit code {code}"),
        WaitStatus::Signaled(pid, Signal::SIGKILL, _) => {
            let memory = kernel_says(pid).or_else(|| {
                let more = kills()? > before.kills?;
                more.then(|| "the kernel counts one more process killed for want of memory".to_owned())
            });
            match memory {
                Some(words) => format!("was killed by SIGKILL: out of memory, {words}"),
                None => "was killed by SIGKILL: by somebody, or by the kernel for want of memory".to_owned(),
            }
        }
        WaitStatus::Signaled(_, signal, dumped) => {
            let core = if dumped { ", and left a core file" } else { "" };
            format!("was ended by {signal}{core}")
        }
        other => format!("ended: {other:?}"),
    }
}

/// What the kernel's log says of a process that it killed for want of memory, where we may read that.
fn kernel_says(pid: Pid) -> Option<String> {
    let mut log = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open("/dev/kmsg").ok()?;
    let (mut record, mut found) = ([0; 8192], None);
    let wanted = format!("Killed process {pid} ");
    for _ in 0..MOST_RECORDS {
        match log.read(&mut record) {
            Ok(length @ 1..) => {
                let text = String::from_utf8_lossy(&record[..length]);
                let line = text.split_once(';').map_or("", |(_, line)| line.lines().next().unwrap_or(""));
                if line.contains(&wanted) {
                    found =
                        Some(format!("the kernel log says '{}'", line.chars().take(200).collect::<String>()));
                }
            }
            // A record that was overwritten while it was read; there are others.
            Err(error) if error.raw_os_error() == Some(libc::EPIPE) => {}
            Ok(_) | Err(_) => break,
        }
    }
    found
}

/// The counter of our control group.
fn kills() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let ours = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let mut text = String::new();
    File::open(format!("/sys/fs/cgroup{ours}/memory.events"))
        .ok()?
        .take(4096)
        .read_to_string(&mut text)
        .ok()?;
    text.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
}

/// The kernel keeps fewer.
const MOST_RECORDS: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_told_in_words() {
        let pid = Pid::from_raw(i32::MAX);
        let memory = Memory { kills: None };
        assert_eq!(of(WaitStatus::Exited(pid, 101), &memory), "ended by itself with exit code 101");
        let abort = WaitStatus::Signaled(pid, Signal::SIGABRT, true);
        assert_eq!(of(abort, &memory), "was ended by SIGABRT, and left a core file");
        let kill = of(WaitStatus::Signaled(pid, Signal::SIGKILL, false), &memory);
        assert_eq!(kill, "was killed by SIGKILL: by somebody, or by the kernel for want of memory");
    }
}
