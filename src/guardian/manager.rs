//! What the service manager is told, by the protocol of systemd's sd_notify: a datagram of lines to the socket that
//! NOTIFY_SOCKET names.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The variables that are for the guardian alone.
pub(super) const VARIABLES: [&str; 3] = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"];

/// The service manager, where one waits for word.
#[derive(Debug)]
pub(super) struct Manager {
    line: Option<(UnixDatagram, SocketAddr)>,
    /// How often it wants to hear that all is well.
    watchdog: Option<Duration>,
}

impl Manager {
    /// The one that started this process, by its environment.
    pub(super) fn of_process() -> Self {
        let variable = |name: &str| std::env::var_os(name);
        let line = variable("NOTIFY_SOCKET").and_then(|path| {
            let socket = UnixDatagram::unbound().ok()?;
            socket.set_nonblocking(true).ok()?;
            Some((socket, address(&path)?))
        });
        let own = std::process::id().to_string();
        let is_ours = variable("WATCHDOG_PID").is_none_or(|pid| pid == OsStr::new(&own));
        let watchdog =
            variable("WATCHDOG_USEC").filter(|_| is_ours).and_then(|micros| micros.to_str()?.parse().ok());
        Self { line, watchdog: watchdog.filter(|micros| *micros > 0).map(Duration::from_micros) }
    }

    /// Whether there is one.
    pub(super) fn is_there(&self) -> bool {
        self.line.is_some()
    }

    /// How often [`Manager::all_is_well`] is to be said; never where nobody asks.
    pub(super) fn word_every(&self) -> Option<Duration> {
        self.line.as_ref().and(self.watchdog).map(|watchdog| watchdog / 3)
    }

    /// All is there, and this is the process to watch.
    pub(super) fn ready(&self, what: &str) {
        self.say(&format!("READY=1\nMAINPID={}\nSTATUS={}", std::process::id(), one_line(what)));
    }

    /// It takes a while yet.
    pub(super) fn begins(&self) {
        self.say("EXTEND_TIMEOUT_USEC=30000000");
    }

    /// How it stands, in a few words.
    pub(super) fn status(&self, what: &str) {
        self.say(&format!("STATUS={}", one_line(what)));
    }

    /// Nothing hangs.
    pub(super) fn all_is_well(&self) {
        self.say("WATCHDOG=1");
    }

    /// It ends, as it was told to.
    pub(super) fn stopping(&self, what: &str) {
        self.say(&format!("STOPPING=1\nSTATUS={}", one_line(what)));
    }

    fn say(&self, lines: &str) {
        if let Some((socket, address)) = &self.line {
            // A manager that does not listen has its own ways to find that out.
            let _ = socket.send_to_addr(lines.as_bytes(), address);
        }
    }
}

/// A path, or a name in the kernel's own list behind an @.
fn address(path: &OsStr) -> Option<SocketAddr> {
    match path.as_bytes() {
        #[cfg(target_os = "linux")]
        [b'@', name @ ..] => {
            <SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(name).ok()
        }
        [b'/', ..] => SocketAddr::from_pathname(path).ok(),
        _ => None,
    }
}

fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
