//! A monitor that the kernel kills for want of memory: it is put into a control group of its own that may have next to none.
//! The guardian tells what it was, by what the kernel logs or counts. Needs root, for the network and for the group.

#![allow(clippy::unwrap_used, reason = "a test ends there")]

mod support {
    pub(crate) mod latmon;
    pub(crate) mod net;
}

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use support::latmon::{Desk, Running, monitor_of};
use support::net::{Net, answer, ms, silence};

const LIMIT: Duration = Duration::from_secs(90);

/// A control group without a process and with a page of memory.
struct Starved {
    path: PathBuf,
}

impl Starved {
    /// One of version 1 or 2, whichever has the controller for memory here.
    fn new(name: &str) -> Option<Self> {
        let name = format!("latmon-test-{name}-{}", std::process::id());
        let roots = [
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            ("/sys/fs/cgroup", "memory.max"),
            ("/sys/fs/cgroup/unified", "memory.max"),
        ];
        let is_mounted = |root: &Path| root.join("cgroup.procs").exists();
        roots.into_iter().filter(|(root, _)| is_mounted(Path::new(root))).find_map(|(root, limit)| {
            let group = Self { path: Path::new(root).join(&name) };
            fs::create_dir(&group.path).ok()?;
            group.write(limit, "4096").ok()?;
            Some(group)
        })
    }

    /// Writes into a file that the kernel has put there.
    fn write(&self, file: &str, text: &str) -> io::Result<()> {
        OpenOptions::new().write(true).open(self.path.join(file))?.write_all(text.as_bytes())
    }

    fn take(&self, process: u32) {
        self.write("cgroup.procs", &process.to_string()).expect("root moves a process");
    }
}

impl Drop for Starved {
    fn drop(&mut self) {
        // It can be removed once the last process in it is gone, which is not at once.
        let deadline = Instant::now() + Duration::from_secs(10);
        while fs::remove_dir(&self.path).is_err() && self.path.exists() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Takes the monitor's memory away and has it need some; returns what the log says of its death.
fn death(net: &Net, running: &mut Running<'_>, group: &Starved) -> String {
    let (guardian, first) = (running.guardian(), running.pid());
    group.take(first);
    // A mail with its picture takes more than a page.
    net.host("198.18.0.1", silence());
    let killed =
        |desk: &Desk| desk.read("log").lines().find(|line| line.contains("SIGKILL")).map(str::to_owned);
    let line = running.until(LIMIT, "its death in the log", killed);
    let evidence = [
        format!("the kernel log says 'Memory cgroup out of memory: Killed process {first} "),
        // Where the guardian had seen the monitor in it before.
        format!("oom_kill in {}/memory.", group.path.display()),
        "the kernel killed a process of this machine".to_owned(),
    ];
    assert!(line.contains("out of memory"), "{line}");
    assert!(evidence.iter().any(|evidence| line.contains(evidence)), "{line}");
    running.until(LIMIT, "another monitor", |_| monitor_of(guardian).filter(|pid| *pid != first));
    line
}

fn network() -> Net {
    let net = Net::new();
    net.host("198.18.0.1", answer().delay(ms(5)));
    net
}

fn wait_for_rows(running: &mut Running<'_>, file: &str, rows: usize) {
    running.until(LIMIT, "rows", |desk| {
        (desk.path(file).exists() && desk.rows(file).len() >= rows).then_some(())
    });
}

/// Whoever may read the kernel's log is told what that says of the process.
#[test]
fn a_monitor_that_ran_out_of_memory_is_told_as_that() {
    let net = network();
    let Some(group) = Starved::new("root") else { return without_a_controller(&net) };
    let desk = Desk::new();
    let mut running = desk.start(&mut desk.latmon("run 198.18.0.1 --step 1s --pings 3"));
    wait_for_rows(&mut running, "198.18.0.1.rrd", 2);
    let line = death(&net, &mut running, &group);
    let told = |desk: &Desk| desk.outbox().into_iter().find(|mail| mail.contains("RESTARTED"));
    let mail = running.until(LIMIT, "its mail", told).replace("=\r\n", "");
    let mail = mail.split_whitespace().collect::<Vec<_>>().join(" ");
    let (_, reason) = line.split_once("the monitor ").unwrap();
    let (reason, _) = reason.split_once("; it starts").unwrap();
    assert!(mail.contains(reason), "'{reason}' is not in\n{mail}");
    running.stop();
}

/// A user of the monitor's own may not read it: the kernel's counters say it.
#[test]
fn a_monitor_without_privileges_that_ran_out_of_memory_is_told_as_that() {
    let net = network();
    let Some(group) = Starved::new("nobody") else { return without_a_controller(&net) };
    let desk = Desk::new();
    desk.write(
        "latmon.toml",
        "user = 'nobody'\ndata_dir = 'data'\n[defaults]\nstep = '1s'\npings = 3\n[targets]\noffice = '198.18.0.1'\n",
    );
    fs::set_permissions(desk.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    let mut running = desk.start(&mut desk.latmon("run"));
    wait_for_rows(&mut running, "data/office.rrd", 2);
    let line = death(&net, &mut running, &group);
    assert!(!line.contains("kernel log"), "{line}");
    running.stop();
}

/// What can be shown where nobody can be starved: a death that was not for memory is not said to be.
fn without_a_controller(net: &Net) {
    // The harness shows what is printed only where a test fails, and this is to be seen.
    let _ = writeln!(
        io::stderr(),
        "WARNING: no control group with memory can be made here, so no kernel kills a monitor for want of it: only that a \
         plain SIGKILL is not taken for that was tried"
    );
    let desk = Desk::new();
    let mut running = desk.start(&mut desk.latmon("run 198.18.0.1 --step 1s --pings 3"));
    net.host("198.18.0.1", answer().delay(ms(5)));
    wait_for_rows(&mut running, "198.18.0.1.rrd", 2);
    running.signal_monitor(Signal::SIGKILL);
    running.until(LIMIT, "its mail", |desk| (!desk.outbox().is_empty()).then_some(()));
    assert!(!running.log().contains("ran out of memory"), "{}", running.log());
    running.stop();
}
