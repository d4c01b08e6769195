//! The mailer: a thread that sends what waits in the outbox, again and again until the server has it.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, after, at, bounded, never, select};
use tracing::{info, warn};

use super::fault::{Reason, SendError};
use super::outbox::{Kind, Outbox, Waiting};
use super::retry::{Next, Retry};
use super::smtp::{Limits, Session};
use super::stored::Stored;
use super::{Address, Error, Settings};

/// A running mailer. Dropped without [`Mailer::stop`], its thread ends by itself after the attempt that is under way.
#[derive(Debug)]
pub struct Mailer {
    outbox: Outbox,
    wake: Sender<()>,
    stop: Sender<Instant>,
    done: Receiver<()>,
    trouble: Arc<Mutex<Option<String>>>,
}

impl Mailer {
    /// Starts to send what waits in `outbox` and what is put there, in order. Without `settings` nothing is sent: the
    /// mails stay in the outbox.
    ///
    /// # Errors
    /// [`Error::Thread`] when the system gives no thread.
    pub fn start(outbox: Outbox, settings: Option<Settings>) -> Result<Self, Error> {
        let (wake, woken) = bounded(1);
        let (stop, stopped) = bounded(1);
        let (done_sender, done) = bounded(1);
        let trouble = Arc::new(Mutex::new(None));
        if let Some(settings) = settings {
            let worker = Worker {
                outbox: outbox.clone(),
                settings,
                woken,
                stopped,
                trouble: Arc::clone(&trouble),
                retry: Retry::default(),
                told: HashMap::new(),
                unusable: HashSet::new(),
                taken: HashSet::new(),
            };
            let run = move || {
                worker.run();
                let _ = done_sender.send(());
            };
            thread::Builder::new().name("mailer".into()).spawn(run).map_err(Error::Thread)?;
        }
        Ok(Self { outbox, wake, stop, done, trouble })
    }

    /// Says that there is a new mail in the outbox. While the mailer pauses after a failure, it waits for the others.
    pub fn wake(&self) {
        // A full channel says the same already.
        let _ = self.wake.try_send(());
    }

    /// Why mails wait: the last failure in one line, until a mail gets through.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Tries everything that waits once more, for at most `grace`, and returns how many mails still wait. A send that
    /// hangs is left behind: its mail stays in the outbox for the next run.
    pub fn stop(&self, grace: Duration) -> usize {
        let _ = self.stop.try_send(Instant::now() + grace);
        // With no thread, or one that is gone, the channel is closed and this returns at once.
        select! {
            recv(self.done) -> _ => {}
            recv(after(grace)) -> _ => {}
        }
        self.outbox.waiting(Kind::Mail).map_or_else(
            |error| {
                warn!("{error}");
                0
            },
            |waiting| waiting.len(),
        )
    }
}

struct Worker {
    outbox: Outbox,
    settings: Settings,
    woken: Receiver<()>,
    stopped: Receiver<Instant>,
    trouble: Arc<Mutex<Option<String>>>,
    retry: Retry,
    /// What was logged last of the server's trouble (`None`) and of each refused mail, and is not logged again.
    told: HashMap<Option<PathBuf>, Reason>,
    /// Files that are no mails: each is told once.
    unusable: HashSet<PathBuf>,
    /// Mails that the server has but whose files could not be moved: they must not go again.
    taken: HashSet<PathBuf>,
}

enum Wakeup {
    Due,
    Stop(Instant),
    Gone,
}

impl Worker {
    fn run(mut self) {
        loop {
            self.send_waiting(None);
            match self.wait() {
                Wakeup::Due => {}
                Wakeup::Stop(until) => {
                    self.retry.last_chance();
                    return self.send_waiting(Some(until));
                }
                Wakeup::Gone => return,
            }
        }
    }

    /// Sleeps until something is due.
    fn wait(&self) -> Wakeup {
        loop {
            let timer = self.retry.next().map_or_else(never, at);
            select! {
                recv(self.stopped) -> until => return until.map_or(Wakeup::Gone, Wakeup::Stop),
                recv(timer) -> _ => return Wakeup::Due,
                recv(self.woken) -> woken => match woken {
                    // Hundreds of alerts may come while the server is down: they do not hammer at it.
                    Ok(()) if self.retry.is_pausing(Instant::now()) => {}
                    Ok(()) => return Wakeup::Due,
                    // The mailer was dropped; where it was stopped first, that is still to be read.
                    Err(_) => return self.stopped.try_recv().map_or(Wakeup::Gone, Wakeup::Stop),
                },
            }
        }
    }

    /// Sends what waits, in order, until something holds up all or it is later than `until`.
    fn send_waiting(&mut self, until: Option<Instant>) {
        let waiting = match self.outbox.waiting(Kind::Mail) {
            Ok(waiting) => waiting,
            Err(error) => {
                warn!("{error}");
                return self.retry.no_session(Instant::now());
            }
        };
        self.retry.begin(&waiting, Instant::now());
        self.told.retain(|of, _| of.is_none() || waiting.iter().any(|mail| of.as_ref() == Some(&mail.path)));
        let mut session = None;
        for mail in &waiting {
            let now = Instant::now();
            if self.retry.is_aside(&mail.path, now) || !self.must_go(mail) {
                continue;
            }
            if until.is_some_and(|until| now >= until) {
                break;
            }
            let Some((to, bytes)) = self.read(mail) else { continue };
            if self.send(&mut session, mail, &to, &bytes) == Next::Pause {
                break;
            }
        }
        if let Some(session) = session {
            session.quit();
        }
    }

    /// Sends one mail in `session`, or in a new one where there is none.
    fn send(&mut self, session: &mut Option<Session>, mail: &Waiting, to: &[Address], bytes: &[u8]) -> Next {
        let mut open = match session.take() {
            Some(open) => open,
            None => match Session::open(&self.settings.server, Limits::USUAL) {
                Ok(open) => open,
                Err(error) => {
                    self.retry.no_session(Instant::now());
                    self.tell(&error, None);
                    return Next::Pause;
                }
            },
        };
        let sent = open.send(&self.settings.from, to, bytes);
        *session = open.is_open().then_some(open);
        match sent {
            Ok(()) => {
                self.retry.succeeded(&mail.path);
                self.delivered(mail);
                Next::GoOn
            }
            Err(error) => {
                let refused = error.fault.refuses_mail();
                self.tell(&error, refused.then(|| mail.path.clone()));
                if refused {
                    self.retry.refused(&mail.path, Instant::now())
                } else {
                    self.retry.failed(&mail.path, Instant::now())
                }
            }
        }
    }

    /// The mail's recipients, and its bytes as they go out; `None` when the file holds no mail.
    fn read(&mut self, mail: &Waiting) -> Option<(Vec<Address>, Vec<u8>)> {
        let read = self.outbox.read(mail).and_then(|raw| {
            let stored = Stored::parse(&raw).ok_or_else(|| Error::NotAMail(mail.path.clone()))?;
            Ok((stored.to(&self.settings), stored.going_out(&self.settings, None)))
        });
        match read {
            Ok(read) => Some(read),
            Err(error) => {
                if self.unusable.insert(mail.path.clone()) {
                    warn!("{error}");
                }
                None
            }
        }
    }

    /// False for a mail that the server has already, which is moved away if that can be done now.
    fn must_go(&mut self, mail: &Waiting) -> bool {
        if !self.taken.contains(&mail.path) {
            return true;
        }
        if self.outbox.delivered(mail).is_ok() {
            self.taken.remove(&mail.path);
        }
        false
    }

    fn delivered(&mut self, mail: &Waiting) {
        info!("mail sent: {}", name(&mail.path));
        if let Err(error) = self.outbox.delivered(mail) {
            warn!("{error}");
            self.taken.insert(mail.path.clone());
        }
        self.told.remove(&None);
        if self.retry.first_aside().is_none() {
            self.set_trouble(None);
        }
    }

    /// Logs a failure of the server, or of the `mail` it refused, unless that is known.
    fn tell(&mut self, error: &SendError, mail: Option<PathBuf>) {
        let text = error.to_string();
        let (reason, file) = (error.reason(), mail.clone());
        if self.told.insert(mail, reason.clone()).as_ref() != Some(&reason) {
            match file {
                Some(file) => warn!("{} stays in the outbox: {text}", name(&file)),
                None => warn!("mails stay in the outbox: {text}"),
            }
        }
        self.set_trouble(Some(text));
    }

    fn set_trouble(&self, trouble: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }
}

fn name(path: &Path) -> std::borrow::Cow<'_, str> {
    path.file_name().unwrap_or_default().to_string_lossy()
}
