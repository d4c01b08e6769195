//! Why a monitor ended, in words, as far as anybody knows.

use nix::sys::signal::Signal;
use nix::sys::wait::WaitStatus;

use super::memory::{Evidence, Memory};

/// How a process ended, in words that follow its name. What stands before a comma or a colon is the short of it.
pub(super) fn of(status: WaitStatus, memory: &Memory) -> String {
    match status {
        WaitStatus::Exited(_, code) => format!("ended by itself with exit code {code}"),
        WaitStatus::Signaled(pid, Signal::SIGKILL, _) => killed(memory.evidence(pid)),
        WaitStatus::Signaled(_, signal, dumped) => {
            let core = if dumped { ", and left a core file" } else { "" };
            format!("was ended by {signal}{core}")
        }
        other => format!("ended: {other:?}"),
    }
}

fn killed(by: Evidence) -> String {
    match by {
        Evidence::Sure(words) => {
            format!("ran out of memory and was killed by the kernel (SIGKILL): {words}")
        }
        Evidence::Likely(words) => format!("was killed by SIGKILL, out of memory as it seems: {words}"),
        Evidence::Not => {
            "was killed by SIGKILL: by somebody, for the kernel killed nobody for want of memory".to_owned()
        }
        Evidence::None => {
            "was killed by SIGKILL: by somebody, or by the kernel for want of memory".to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::unistd::Pid;

    #[test]
    fn ends_are_told_in_words() {
        let pid = Pid::from_raw(i32::MAX);
        let memory = Memory::default();
        assert_eq!(of(WaitStatus::Exited(pid, 101), &memory), "ended by itself with exit code 101");
        let abort = WaitStatus::Signaled(pid, Signal::SIGABRT, true);
        assert_eq!(of(abort, &memory), "was ended by SIGABRT, and left a core file");
        let kill = of(WaitStatus::Signaled(pid, Signal::SIGKILL, false), &memory);
        assert_eq!(kill, "was killed by SIGKILL: by somebody, or by the kernel for want of memory");
        assert!(killed(Evidence::Not).starts_with("was killed by SIGKILL: by somebody, for"));
        let by_kernel = killed(Evidence::Sure("it says so".to_owned()));
        assert_eq!(by_kernel, "ran out of memory and was killed by the kernel (SIGKILL): it says so");
        assert!(killed(Evidence::Likely("it counts one".to_owned())).contains("out of memory as it seems"));
    }
}
