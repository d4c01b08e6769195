//! What follows a monitor's death: it is told, and after a pause there is another one.

use std::io::{self, Write as _};
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime};

use nix::sys::wait::WaitStatus;
use nix::unistd::Pid;
use tracing::{error, info, warn};

use super::charge::{Charge, Role};
use super::lifeline::ToMonitor;
use super::memory::Memory;
use super::reason;
use super::words::LastWords;
use super::{Guardian, MERCY, Running, reap};
use crate::monitor::{
    self,
    ends::{Death, Next},
};
use crate::time::{Lasted, UnixTime};

impl Guardian<'_> {
    /// Tells of a death, and waits until it is time to start another one; the exit code where there will be none.
    pub(super) fn bury(&mut self, running: Running, reason: String) -> Option<i32> {
        let ran = running.since.elapsed();
        let goes_on = self.charge.restart && self.stop.is_none();
        let pause = if goes_on { self.pauses.after(ran) } else { Duration::ZERO };
        let next = if goes_on { Next::Again { secs: pause.as_secs() } } else { Next::Never };
        let what = if goes_on {
            format!("the monitor {reason}; it starts again in {}", Lasted(pause))
        } else {
            format!("the monitor {reason}; it is not started again")
        };
        error!("{what}");
        self.manager.status(&what);
        let death = Death {
            key: monitor::exit_key(running.started),
            run: running.started,
            started: running.started,
            at: UnixTime::from(SystemTime::now()),
            reason,
            log: running.log.into_iter().collect(),
            next,
            is_planned: false,
        };
        let send = if goes_on { pause.saturating_sub(PAUSE_WITHOUT_SENDING) } else { FAREWELL };
        let words = self.last_words(Some(&death), send);
        if !goes_on {
            self.wait_for(words, FAREWELL + MERCY);
            return Some(1);
        }
        self.pause(pause, words)
    }

    /// Waits for so long, and for the last words; the exit code where all is told to stop meanwhile.
    pub(super) fn pause(&mut self, pause: Duration, words: Option<Pid>) -> Option<i32> {
        let pause = if pause.is_zero() { self.pauses.after(pause) } else { pause };
        let begun = Instant::now();
        let mut words = words;
        loop {
            if let Some(status) = words.and_then(reap) {
                self.heed(status);
                words = None;
            }
            let left = pause.saturating_sub(begun.elapsed());
            let waits_for_words = words.is_some() && begun.elapsed() < pause + MERCY;
            if left.is_zero() && !waits_for_words {
                return None;
            }
            let look = if words.is_some() { Duration::from_millis(200) } else { Duration::from_secs(1) };
            self.sleep(None, if left.is_zero() { look } else { look.min(left) });
            self.all_is_well();
            if let Some(stop) = &self.stop {
                let now = UnixTime::from(SystemTime::now());
                let death = Death {
                    key: monitor::exit_key(now),
                    run: now,
                    started: now,
                    at: now,
                    reason: format!("was told to stop while it waited to be started again: {}", stop.what),
                    log: Vec::new(),
                    next: Next::Never,
                    is_planned: true,
                };
                self.wait_for(words, MERCY);
                let last = self.last_words(Some(&death), FAREWELL);
                self.wait_for(last, FAREWELL + MERCY);
                return Some(0);
            }
        }
    }

    /// Starts the process that tells of a death, or of those that are not told yet, and sends for so long.
    fn last_words(&self, death: Option<&Death>, send: Duration) -> Option<Pid> {
        let charge = Charge { role: Role::LastWords, ..self.charge.clone() };
        let spawned = self.spawn(charge, None, Stdio::piped(), false).and_then(|(pid, input)| {
            let words = LastWords { death: death.cloned(), send_secs: send.as_secs() };
            let words = serde_json::to_vec(&words).map_err(io::Error::from)?;
            // It is less than a pipe takes at once.
            input.map_or(Ok(()), |mut input| input.write_all(&words))?;
            Ok(pid)
        });
        match spawned {
            Ok(pid) => Some(pid),
            Err(error) => {
                error!("the mail about that cannot be written: {error}");
                None
            }
        }
    }

    fn wait_for(&mut self, words: Option<Pid>, longest: Duration) {
        let begun = Instant::now();
        let Some(pid) = words else { return };
        loop {
            if let Some(status) = reap(pid) {
                return self.heed(status);
            }
            if begun.elapsed() >= longest || self.stop.as_ref().is_some_and(|stop| stop.is_urgent) {
                return;
            }
            self.sleep(None, Duration::from_millis(100));
            self.all_is_well();
        }
    }

    /// What came of the last words.
    fn heed(&mut self, status: WaitStatus) {
        match status {
            WaitStatus::Exited(_, 0) => {}
            WaitStatus::Exited(_, LastWords::LATER) => {
                self.tell_later.get_or_insert_with(|| Instant::now() + LATER);
            }
            status => warn!(
                "no mail tells of that: the process that was to write it {}",
                reason::of(status, &Memory::default())
            ),
        }
    }

    /// Tells what was left for later, now that this is later.
    pub(super) fn tell_due(&mut self, running: &Running) {
        if self.tell_later.is_some_and(|later| Instant::now() >= later) {
            self.tell_later = None;
            let words = self.last_words(None, Duration::ZERO);
            self.wait_for(words, MERCY);
            running.line.order(&ToMonitor::MailsWait);
        }
    }

    /// Tells what was left for later, as all ends.
    pub(super) fn tell_rest(&mut self) {
        if self.tell_later.take().is_some() {
            let words = self.last_words(None, FAREWELL);
            self.wait_for(words, FAREWELL + MERCY);
        }
        info!("all has ended");
    }
}

/// How long the last words may try to send, where nobody else will.
const FAREWELL: Duration = Duration::from_secs(10);
/// In a shorter pause the next monitor sends what waits.
const PAUSE_WITHOUT_SENDING: Duration = Duration::from_secs(20);
/// How long ends of a row are gathered after one was mailed.
pub(super) const LATER: Duration = Duration::from_secs(3600);
