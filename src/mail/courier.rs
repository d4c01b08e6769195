//! The courier: empties the outbox of what goes by webhooks and commands. Every way has a thread of its own, so that one
//! that hangs holds up neither mail nor the other ways; within a way it is one after the other, in order.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, Sender, at, bounded, never, select};
use tracing::{info, warn};

use super::Error;
use super::outbox::{Claim, Kept, Kind, Outbox, Waiting};
use super::patience::Patience;
use super::posting::Posting;
use super::way::{Way, WayFault};
use crate::time::UnixTime;

/// A running courier. Dropped without [`Courier::stop`], its threads end by themselves after what is under way.
#[derive(Debug)]
pub struct Courier {
    outbox: Outbox,
    lines: Vec<Line>,
}

/// The thread of one way.
#[derive(Debug)]
struct Line {
    name: String,
    wake: Sender<()>,
    hurry: Sender<()>,
    stop: Sender<()>,
    done: Receiver<()>,
    /// When all must have ended, once that is known.
    until: Arc<OnceLock<Instant>>,
    trouble: Arc<Mutex<Option<String>>>,
}

impl Courier {
    /// Starts to let out what waits in `outbox` for these `ways`, and what is put there.
    ///
    /// # Errors
    /// [`Error::Thread`] when the system gives no thread.
    pub fn start(outbox: Outbox, ways: Vec<Way>) -> Result<Self, Error> {
        tell_of_strangers(&outbox, &ways);
        let claims = Arc::new(Claims { outbox: outbox.clone(), held: Mutex::default() });
        let lines =
            ways.into_iter().map(|way| Line::start(way, &outbox, &claims)).collect::<Result<_, _>>()?;
        Ok(Self { outbox, lines })
    }

    /// Keeps `posting` until it has arrived, and says so to its way. While that pauses after a failure, it waits for the
    /// others.
    pub fn put(&self, posting: &Posting) -> Result<Kept, Error> {
        let kept = posting.keep(&self.outbox)?;
        if let Some(line) = self.lines.iter().find(|line| line.name == posting.way) {
            // A full channel says the same already.
            let _ = line.wake.try_send(());
        }
        Ok(kept)
    }

    /// Tries everything at once: the route is back, or somebody asks for it.
    pub fn hurry(&self) {
        for line in &self.lines {
            let _ = line.hurry.try_send(());
        }
    }

    /// Why postings wait: each way with its last failure in one line, until one gets through.
    pub fn troubles(&self) -> Vec<(String, String)> {
        let trouble = |line: &Line| {
            Some((line.name.clone(), line.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()?))
        };
        self.lines.iter().filter_map(trouble).collect()
    }

    /// Tries everything that waits once more, for at most `grace`, and returns how many postings still wait. A way that
    /// hangs is left behind: what it has stays in the outbox for the next run.
    pub fn stop(&self, grace: Duration) -> usize {
        let until = Instant::now() + grace;
        for line in &self.lines {
            let _ = line.until.set(until);
            let _ = line.stop.try_send(());
        }
        for line in &self.lines {
            // With a thread that is gone the channel is closed and this returns at once.
            select! {
                recv(line.done) -> _ => {}
                recv(at(until)) -> _ => {}
            }
        }
        let waiting = |kind| {
            self.outbox.waiting(kind).map_or_else(
                |error| {
                    warn!("{error}");
                    0
                },
                |waiting| waiting.len(),
            )
        };
        waiting(Kind::Post) + waiting(Kind::Command)
    }
}

impl Line {
    fn start(way: Way, outbox: &Outbox, claims: &Arc<Claims>) -> Result<Self, Error> {
        let name = way.name.clone();
        let (wake, woken) = bounded(1);
        let (hurry, hurried) = bounded(1);
        let (stop, stopped) = bounded(1);
        let (done_sender, done) = bounded(1);
        let (until, trouble) = (Arc::new(OnceLock::new()), Arc::new(Mutex::new(None)));
        let worker = Worker {
            stem: Posting::stem(&name),
            way,
            outbox: outbox.clone(),
            claims: Arc::clone(claims),
            woken,
            hurried,
            stopped,
            until: Arc::clone(&until),
            trouble: Arc::clone(&trouble),
            patience: Patience::default(),
            told: None,
            unusable: HashSet::new(),
            taken: HashSet::new(),
        };
        let run = move || {
            worker.run();
            let _ = done_sender.send(());
        };
        thread::Builder::new().name("courier".into()).spawn(run).map_err(Error::Thread)?;
        Ok(Self { name, wake, hurry, stop, done, until, trouble })
    }
}

/// The right to send, of each kind one for all ways of this process.
#[derive(Debug)]
struct Claims {
    outbox: Outbox,
    held: Mutex<[Weak<Claim>; 2]>,
}

impl Claims {
    /// `None` while another process has it.
    fn hold(&self, kind: Kind) -> Result<Option<Arc<Claim>>, Error> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let held = &mut held[usize::from(kind == Kind::Command)];
        if let Some(claim) = held.upgrade() {
            return Ok(Some(claim));
        }
        let claim = self.outbox.claim(kind)?.map(Arc::new);
        *held = claim.as_ref().map(Arc::downgrade).unwrap_or_default();
        Ok(claim)
    }
}

/// What one way's thread has.
struct Worker {
    way: Way,
    /// How the keys of its files begin.
    stem: String,
    outbox: Outbox,
    claims: Arc<Claims>,
    woken: Receiver<()>,
    hurried: Receiver<()>,
    stopped: Receiver<()>,
    until: Arc<OnceLock<Instant>>,
    trouble: Arc<Mutex<Option<String>>>,
    patience: Patience,
    /// The trouble that was logged last and is not logged again.
    told: Option<String>,
    /// Files that are no postings of this way: each is told once.
    unusable: HashSet<PathBuf>,
    /// Postings that have arrived but whose files could not be moved: they must not go again.
    taken: HashSet<PathBuf>,
}

enum Wakeup {
    Due,
    Hurry,
    Stop,
    Gone,
}

impl Worker {
    fn run(mut self) {
        loop {
            self.let_out_waiting();
            match self.wait() {
                Wakeup::Due => {}
                Wakeup::Hurry => self.patience.end(),
                Wakeup::Stop => {
                    self.patience.end();
                    return self.let_out_waiting();
                }
                Wakeup::Gone => return,
            }
        }
    }

    /// Sleeps until something is due.
    fn wait(&self) -> Wakeup {
        loop {
            let timer = self.patience.next().map_or_else(never, at);
            select! {
                recv(self.stopped) -> stop => return stop.map_or(Wakeup::Gone, |()| Wakeup::Stop),
                recv(self.hurried) -> hurry => if hurry.is_ok() { return Wakeup::Hurry } else { return self.gone() },
                recv(timer) -> _ => return Wakeup::Due,
                recv(self.woken) -> woken => match woken {
                    // Hundreds of alerts may come while a server is down: they do not hammer at it.
                    Ok(()) if self.patience.is_pausing(Instant::now()) => {}
                    Ok(()) => return Wakeup::Due,
                    Err(_) => return self.gone(),
                },
            }
        }
    }

    /// The courier was dropped; where it was stopped first, that is still to be read.
    fn gone(&self) -> Wakeup {
        self.stopped.try_recv().map_or(Wakeup::Gone, |()| Wakeup::Stop)
    }

    /// Lets out what waits, in order, until something holds up all or the time is over.
    fn let_out_waiting(&mut self) {
        let found = self.claims.hold(self.way.kind()).and_then(|claim| {
            // The others are left to whoever has the claim; what is left then is looked for again.
            let Some(claim) = claim else { return Ok(None) };
            Ok(Some((claim, self.outbox.waiting(self.way.kind())?)))
        });
        let (_claim, mut waiting) = match found {
            Ok(Some(found)) => found,
            Ok(None) => return self.patience.pause(Duration::ZERO, Instant::now()),
            Err(error) => {
                warn!("{error}");
                return self.patience.pause(Duration::ZERO, Instant::now());
            }
        };
        waiting.retain(|file| file.key.starts_with(&self.stem));
        let is_waiting = |path: &Path| waiting.iter().any(|file| file.path == path);
        let mut aside = self.patience.begin(is_waiting, Instant::now());
        for file in &waiting {
            if self.until.get().is_some_and(|until| Instant::now() >= *until) {
                break;
            }
            if !self.must_go(file) {
                continue;
            }
            let Some(posting) = self.read(file) else { continue };
            if aside.contains(posting.conversation()) {
                continue;
            }
            if let Err(fault) = self.way.let_out(&posting, held_up(posting.at), &|| self.until.get().copied())
            {
                self.tell(&fault, file);
                if !self.patience.failed(&file.path, posting.conversation(), fault.next(), Instant::now()) {
                    break;
                }
                aside.insert(posting.conversation().to_owned());
            } else {
                self.arrived(file);
            }
        }
    }

    /// The posting in a file; `None` where it holds none of this way.
    fn read(&mut self, file: &Waiting) -> Option<Posting> {
        let read = self.outbox.read(file).and_then(|bytes| Posting::read(&bytes));
        let why = match read {
            Ok(posting) if posting.way == self.way.name => return Some(posting),
            Ok(posting) => format!("it is for {}", posting.way.escape_debug()),
            Err(error) => error.to_string(),
        };
        if self.unusable.insert(file.path.clone()) {
            warn!("{} is left where it is: {why}", name(&file.path));
        }
        None
    }

    /// False for a posting that has arrived already, whose file is moved away if that can be done now.
    fn must_go(&mut self, file: &Waiting) -> bool {
        if !self.taken.contains(&file.path) {
            return true;
        }
        if self.outbox.delivered(file).is_ok() {
            self.taken.remove(&file.path);
        }
        false
    }

    fn arrived(&mut self, file: &Waiting) {
        info!("sent by {}: {}", self.way.name, name(&file.path));
        self.patience.succeeded(&file.path);
        if let Err(error) = self.outbox.delivered(file) {
            warn!("{error}");
            self.taken.insert(file.path.clone());
        }
        if !self.patience.has_some_aside() {
            self.told = None;
            self.set_trouble(None);
        }
    }

    /// Logs a failure, unless that is known.
    fn tell(&mut self, fault: &WayFault, file: &Waiting) {
        let reason = fault.reason();
        if self.told.as_ref() != Some(&reason) {
            warn!("{}: {} stays in the outbox: {fault}", self.way.name, name(&file.path));
            self.told = Some(reason);
        }
        self.set_trouble(Some(fault.to_string()));
    }

    fn set_trouble(&self, trouble: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }
}

/// How long something that was decided on at `at` has waited, where that is worth saying.
fn held_up(at: UnixTime) -> Option<Duration> {
    UnixTime::from(SystemTime::now()).since(at).filter(|waited| *waited >= WORTH_SAYING)
}

/// Says what waits for ways that are not in the settings any more: nobody will let it out.
fn tell_of_strangers(outbox: &Outbox, ways: &[Way]) {
    for kind in [Kind::Post, Kind::Command] {
        let stems: Vec<String> =
            ways.iter().filter(|way| way.kind() == kind).map(|way| Posting::stem(&way.name)).collect();
        let is_stranger = |file: &&Waiting| !stems.iter().any(|stem| file.key.starts_with(stem));
        let strangers = outbox.waiting(kind).map_or(0, |waiting| waiting.iter().filter(is_stranger).count());
        if strangers > 0 {
            warn!(
                "{strangers} files in the outbox ({}) are for ways that the settings do not have",
                kind.ending()
            );
        }
    }
}

fn name(path: &Path) -> std::borrow::Cow<'_, str> {
    path.file_name().unwrap_or_default().to_string_lossy()
}

/// A delay that a reader would otherwise not think of.
const WORTH_SAYING: Duration = Duration::from_secs(120);
