//! The mailer: a thread that sends what waits in the outbox, again and again until the server has it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, after, bounded, select};
use tracing::warn;

use super::outbox::{Kind, Outbox};
use super::{Address, Error, Settings};

mod line;
mod pass;
mod worker;

use line::Line;
use pass::Pass;
use worker::Worker;

/// A running mailer. Dropped without [`Mailer::stop`], its thread ends by itself after the attempt that is under way.
#[derive(Debug)]
pub struct Mailer {
    outbox: Outbox,
    wake: Sender<()>,
    stop: Sender<Instant>,
    done: Receiver<()>,
    board: Arc<Board>,
    _line: Option<Line>,
}

impl Mailer {
    /// Starts to send what waits in `outbox` and what is put there: in order, as far as mails of one conversation go.
    /// Without `settings` nothing is sent: the mails stay in the outbox.
    ///
    /// # Errors
    /// [`Error::Thread`] when the system gives no thread.
    pub fn start(outbox: Outbox, settings: Option<Settings>) -> Result<Self, Error> {
        let (wake, woken) = bounded(1);
        let (stop, stopped) = bounded(1);
        let (done_sender, done) = bounded(1);
        let board = Arc::new(Board::default());
        let watches = settings.is_some();
        let worker = Worker::new(Pass::new(outbox.clone(), settings, Arc::clone(&board)), woken, stopped);
        let run = move || {
            worker.run();
            let _ = done_sender.send(());
        };
        thread::Builder::new().name("mailer".into()).spawn(run).map_err(Error::Thread)?;
        let line = watches.then(|| {
            let (board, wake) = (Arc::clone(&board), wake.clone());
            Line::watch(move || {
                board.lock().orders.route_is_back = true;
                let _ = wake.try_send(());
            })
        });
        // Without it a mail waits for the end of a pause, as it does where the route is back and the server is not.
        let line =
            line.and_then(|line| line.inspect_err(|error| warn!("cannot watch for routes: {error}")).ok());
        Ok(Self { outbox, wake, stop, done, board, _line: line })
    }

    /// Says that there is a new mail in the outbox. While the mailer pauses after a failure, it waits for the others.
    pub fn wake(&self) {
        // A full channel says the same already.
        let _ = self.wake.try_send(());
    }

    /// Says that the way to the server may be there again: what waited for that is tried at once. The mailer hears by
    /// itself of what this machine's routes and interfaces do, and not of what happens behind them.
    pub fn route_is_back(&self) {
        self.board.lock().orders.route_is_back = true;
        self.wake();
    }

    /// Tries everything that waits at once, or only the file that is given.
    pub fn retry(&self, file: Option<&Path>) {
        let mut board = self.board.lock();
        match file {
            Some(file) if board.orders.retry.len() < MOST_ORDERS => board.orders.retry.push(file.to_owned()),
            _ => board.orders.retry_all = true,
        }
        drop(board);
        self.wake();
    }

    /// Why mails wait: the last failure in one line, until a mail gets through.
    pub fn trouble(&self) -> Option<String> {
        self.board.lock().trouble.clone()
    }

    /// Why each mail that the server did not want waits, by its file.
    pub fn reasons(&self) -> Reasons {
        self.board.lock().reasons.clone()
    }

    /// Tries everything that waits once more, for at most `grace`, and returns how many mails still wait. A send that
    /// hangs is left behind: its mail stays in the outbox for the next run.
    pub fn stop(&self, grace: Duration) -> usize {
        let _ = self.stop.try_send(Instant::now() + grace);
        // With a thread that is gone the channel is closed and this returns at once.
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

/// For each file, who does not get it yet and what the server said about that.
pub type Reasons = HashMap<PathBuf, Vec<(Address, String)>>;

/// What [`send_waiting`] came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// How many mails every recipient's server has taken.
    pub sent: usize,
    /// How many still wait.
    pub waiting: usize,
    /// Why they do, where that is known.
    pub why: Option<String>,
}

/// Sends what waits in `outbox`, without a thread, until nothing is left or it is later than `until`: for a process that
/// does nothing else. While another process sends, this one waits for its turn.
///
/// # Errors
/// The outbox cannot be read.
pub fn send_waiting(outbox: &Outbox, settings: &Settings, until: Instant) -> Result<Summary, Error> {
    let board = Arc::new(Board::default());
    let mut pass = Pass::new(outbox.clone(), Some(settings.clone()), Arc::clone(&board));
    let mut waiting;
    loop {
        pass.send_waiting(Some(until));
        waiting = outbox.waiting(Kind::Mail)?.len();
        let now = Instant::now();
        let next = pass.retry.next().unwrap_or(until).max(now + SHORTEST_WAIT);
        if waiting == 0 || next >= until {
            break;
        }
        thread::sleep(next - now);
    }
    let why = board.lock().trouble.clone().filter(|_| waiting > 0);
    Ok(Summary { sent: pass.sent, waiting, why })
}

/// What the mailer's thread and its owner tell each other.
#[derive(Debug, Default)]
struct Board(Mutex<Notes>);

#[derive(Debug, Default)]
struct Notes {
    trouble: Option<String>,
    reasons: Reasons,
    orders: Orders,
}

/// What is to be done besides the usual.
#[derive(Debug, Default)]
struct Orders {
    route_is_back: bool,
    retry_all: bool,
    retry: Vec<PathBuf>,
}

impl Board {
    fn lock(&self) -> MutexGuard<'_, Notes> {
        // Each note is whole wherever a panic may have struck.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const MOST_ORDERS: usize = 1000;
const SHORTEST_WAIT: Duration = Duration::from_millis(200);
