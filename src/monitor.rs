//! The loop of `latmon run`: a round comes in, is recorded, judged, and what it means is told.
//!
//! Threads besides this one, each behind a bounded channel, so that nothing slow (names, pictures, paths, mail servers,
//! disks) holds up a probe: the prober with its resolver and its watch over the uplink, the composer (it draws, and writes
//! mails to the outbox), who notes good paths, the mailer, and a courier for each webhook and command. One more answers on
//! the control socket, from a board that this one keeps up to date.
//!
//! ```text
//! teller     event -> desk -> notice -> state -> composer    state      state.json      ends   what a death is told as
//! composer   notice -> letter + posting -> outbox            letter/    the words       hush   mutes, asked for or typed
//! paths/     the good paths, and the one at an alert         status     the board       life   beats and orders
//! ```

mod composer;
pub mod control;
pub mod ends;
pub mod hush;
mod letter;
mod life;
mod panics;
mod paths;
mod posting;
pub mod state;
pub mod status;
mod teller;

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, after, bounded, never, select};
use tracing::{error, info, warn};

use crate::alert::{self, Alerts, Past, TargetState};
use crate::archive::journal::GROUP_FILES;
use crate::archive::{self, Archives, Known, Recorded};
use crate::mail::{self, Courier, Mailer, Outbox};
use crate::probe::{self, OpenSockets, Prober, Uplink};
use crate::round::{Round, Rtt, Target};
use crate::time::UnixTime;
use composer::Composer;
use control::outbox::Senders;
use control::{Answer, Ask, Control};
pub use letter::exit_key;
use life::Outside;
pub use life::{Exit, Life, Order};
use panics::Panics;
use state::{RunState, State, Store};
use status::Board;
use teller::Teller;

/// Everything that a run is told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The name of this machine, for the mails it sends.
    pub host: String,
    /// Where rounds are recorded.
    pub archive: archive::Settings,
    /// Who is pinged.
    pub probe: probe::Settings,
    /// What is judged.
    pub alert: alert::Settings,
    /// What is told of it.
    pub desk: alert::desk::Settings,
    /// Who is told; without it mails are written to the outbox and stay there.
    pub mail: Option<mail::Settings>,
    /// The webhooks and commands that are told beside it.
    pub ways: Vec<mail::Way>,
    /// The limit of latency that a target's picture shows, where it has one.
    pub limits: HashMap<Arc<Target>, Rtt>,
    /// What it says of its own end.
    pub exit: Exit,
}

/// Why a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It was told to, by what this names: `SIGTERM`.
    Told(String),
    /// Whoever watched over it is gone; that is not mailed yet.
    Orphaned,
    /// A part of it panicked: which, where, and with what message.
    Panicked(String),
}

/// Why a run could not begin.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The data folder or an archive in it.
    #[error(transparent)]
    Archive(#[from] archive::Error),
    /// The outbox.
    #[error(transparent)]
    Mail(#[from] mail::Error),
    /// The sockets.
    #[error(transparent)]
    Probe(#[from] probe::Error),
    /// The system gave no thread.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
}

/// How long a run that was told to stop may still try to send its last mail; what is unsent then goes out when the next
/// run starts.
const FAREWELL: Duration = Duration::from_secs(10);

/// Watches through `sockets`, which were opened for these settings, until an order ends it, or a part of it panics; `show`
/// sees every round once it is recorded and judged, `tell` hears how the run does. Returns after the exit mail was sent, or
/// lies in the outbox.
pub fn run(
    mut settings: Settings,
    sockets: OpenSockets,
    orders: &Receiver<Order>,
    show: &mut dyn FnMut(&Round, &TargetState),
    tell: &dyn Fn(Life),
) -> Result<End, Error> {
    let started = UnixTime::from(SystemTime::now());
    let panics = Panics::watch();
    let mut archives = Archives::open(&settings.archive, started)?;
    archives.recovered().tell();
    settings.follow(&archives);
    let store = Store::new(&settings.archive.data_dir);
    let state = last_state(&store);
    settings.probe.known_anchors.clone_from(&state.anchors);
    let outbox = Outbox::open(&settings.archive.data_dir)?;
    let mailer = Arc::new(Mailer::start(outbox.clone(), settings.mail.clone())?);
    let courier = Arc::new(Courier::start(outbox.clone(), settings.ways.clone())?);
    // Two rounds of every target: what comes while the loop is busy with one of each.
    let (rounds_in, rounds) = bounded(2 * settings.probe.targets.len() + 16);
    let prober = Prober::start_on(sockets, settings.probe.clone(), rounds_in)?;
    let board = Arc::new(Board::new(&settings, &prober, started, Instant::now()));
    let (line, ear) = hush::Line::new();
    let caller = Caller {
        board: Arc::clone(&board),
        outbox: outbox.clone(),
        mail: settings.mail.clone(),
        mailer: Arc::clone(&mailer),
        courier: Arc::clone(&courier),
        line,
    };
    let control = answer_calls(&settings, caller);
    let composer =
        Composer::start(&settings, outbox, Arc::clone(&mailer), Arc::clone(&courier), Arc::clone(&board));
    let composer = composer.map_err(Error::Thread)?;
    let mut alerts = Alerts::new(&settings.alert);
    let state = begin_run(&settings, state, &composer, started);
    let mut teller = Teller::start(state, store, composer, &settings.desk, ear, &mut alerts, started);
    greet(&settings, &prober);

    let mut show = |told: Told<'_>| match told {
        Told::Round(round, state) => {
            board.enter(round, state, Instant::now());
            show(round, state);
        }
        Told::Uplink(change) => {
            board.enter_uplink(change);
            // Whatever waits for the line is tried at once.
            courier.hurry();
        }
    };
    let outside = Outside::new(&settings, orders, &prober, (&mailer, &courier), tell);
    let incoming = Incoming { rounds: &rounds, uplink: prober.uplink(), panics: &panics, outside: &outside };
    let watched = catch_unwind(AssertUnwindSafe(|| {
        watch(&mut archives, &mut alerts, &incoming, &mut teller, &mut show)
    }));
    tell(Life::Stopping);
    // Before the folder is free for another monitor, which has a socket of its own there.
    drop(control);
    // Its panic is known already; what it had finished before is still recorded.
    let _ = prober.stop();
    let rest: Vec<Round> = rounds.try_iter().collect();
    rest.chunks(GROUP_FILES).for_each(|rounds| record(&mut archives, rounds));
    if let Err(error) = archives.close() {
        // The journal has what is not known to be on the disk, and the next run stores it.
        error!("{error}");
    }
    let end = match watched {
        Ok(Some(end)) => end,
        Ok(None) | Err(_) => End::Panicked(panics.first()),
    };
    farewell(&settings, teller, &mut alerts, (&mailer, &courier), &end, started);
    Ok(end)
}

/// What the loop listens to.
struct Incoming<'a> {
    rounds: &'a Receiver<Round>,
    uplink: &'a Receiver<Uplink>,
    panics: &'a Panics,
    outside: &'a Outside<'a>,
}

/// What the loop shows.
enum Told<'a> {
    Round(&'a Round, &'a TargetState),
    Uplink(&'a Uplink),
}

/// The loop: record, judge, show, tell. Returns what ended it; `None` after a panic.
fn watch(
    archives: &mut Archives,
    alerts: &mut Alerts,
    Incoming { rounds, uplink, panics, outside }: &Incoming<'_>,
    teller: &mut Teller,
    show: &mut dyn FnMut(Told<'_>),
) -> Option<End> {
    loop {
        let now = UnixTime::from(SystemTime::now());
        if !teller.tell_due(alerts, now) {
            return None;
        }
        let due = teller.idle(now).map_or_else(never, after);
        let round = select! {
            recv(rounds) -> round => round.ok()?,
            recv(due) -> _ => continue,
            recv(teller.kept()) -> key => {
                teller.is_kept(key.ok()?);
                continue;
            }
            recv(uplink) -> change => {
                let change = change.ok()?;
                teller.take_uplink(&change, alerts, now);
                show(Told::Uplink(&change));
                continue;
            }
            recv(teller.calls()) -> call => {
                teller.grant(&call.ok()?, alerts, now);
                continue;
            }
            recv(panics.some()) -> _ => return None,
            recv(outside.beats) -> _ => {
                outside.beat();
                teller.is_alive(now);
                continue;
            }
            recv(outside.orders) -> order => {
                match outside.follow(order.unwrap_or_else(|_| Order::Stop("its caller".to_owned()))) {
                    Some(end) => return Some(end),
                    None => continue,
                }
            }
        };
        // Those that wait already share its way to the disk.
        let group: Vec<Round> =
            std::iter::once(round).chain(rounds.try_iter().take(GROUP_FILES - 1)).collect();
        record(archives, &group);
        for round in &group {
            for event in alerts.observe(round, past(archives, round)) {
                teller.take(event, now);
            }
            if let Some(state) = alerts.state(&round.target().name) {
                show(Told::Round(round, &state));
            }
        }
    }
}

/// What is known of a target's past, for those who judge its `round`.
fn past(archives: &mut Archives, round: &Round) -> Past {
    let Known { usual, aberrant } = archives.known(round);
    Past { usual, aberrant }
}

/// Stores the rounds; a file that fails is told once, again when it recovers, and stops nothing.
fn record(archives: &mut Archives, rounds: &[Round]) {
    for (round, recorded) in rounds.iter().zip(archives.record(rounds)) {
        let target = &round.target().name;
        match recorded {
            Recorded::Stored | Recorded::StillFailing => {}
            Recorded::Recovered { missed: 0, waited } => {
                info!("{target}: recorded again, with {waited} rounds that waited");
            }
            Recorded::Recovered { missed, .. } => info!("{target}: recorded again; {missed} rounds were not"),
            Recorded::Waits(error) => warn!("{target}: not recorded yet: {error}; its rounds wait for that"),
            Recorded::Behind { last } => warn!(
                "{target}: the clock stands behind the archive's last update ({}): rounds are judged, not stored, until it is past that",
                last.local().civil.format("%Y-%m-%d %H:%M:%S")
            ),
            Recorded::Failed(error) => error!("{target}: not recorded: {error}"),
        }
    }
}

/// What the last run left. A state that cannot be read is lost, and that is no reason not to watch.
fn last_state(store: &Store) -> State {
    store.load().unwrap_or_else(|error| {
        error!("{error}");
        State::default()
    })
}

/// The state of the run that begins now. Where the last one died and nobody said so, it is said now.
fn begin_run(settings: &Settings, state: State, composer: &Composer, started: UnixTime) -> State {
    let data_dir = &settings.archive.data_dir;
    let is_known = state.run.started.is_some_and(|run| ends::is_known(data_dir, run, started));
    if let Some(last) = state.run.died().filter(|_| !is_known) {
        let message = letter::gap(settings, last, started);
        warn!("{}", message.subject);
        if let Err(error) = composer.post(posting::GAP, &message) {
            error!("the mail about that could not be written: {error}");
        }
    }
    State { run: RunState::beginning(settings.exit.run.unwrap_or(started), started), ..state }
}

impl Settings {
    /// Takes over the step and the pings of the archives: one that was there before wins over a default.
    fn follow(&mut self, archives: &Archives) {
        for target in &mut self.probe.targets {
            if let Some(rhythm) = archives.rhythm(&target.target.name) {
                target.step = rhythm.step;
                target.pings = rhythm.pings;
            }
        }
        for target in &mut self.alert.targets {
            if let Some(rhythm) = archives.rhythm(&target.target.name) {
                target.step = rhythm.step;
            }
        }
        for place in &mut self.desk.targets {
            if let Some(rhythm) = archives.rhythm(&place.target.name) {
                place.step = rhythm.step;
            }
        }
    }
}

/// Answers on the control socket. Without one the monitor measures all the same, and that is worth more.
fn answer_calls(settings: &Settings, caller: Caller) -> Option<Control> {
    Control::start(&settings.archive.data_dir, move |ask| caller.answer(ask))
        .inspect_err(|error| warn!("no control socket, `latmon status` will not work: {error}"))
        .ok()
}

/// Who answers on the control socket.
struct Caller {
    board: Arc<Board>,
    outbox: Outbox,
    mail: Option<mail::Settings>,
    mailer: Arc<Mailer>,
    courier: Arc<Courier>,
    line: hush::Line,
}

impl Caller {
    fn answer(&self, ask: Ask) -> Answer {
        let counted = |done: Result<usize, String>| done.map_or_else(Answer::Failed, Answer::Counted);
        match ask {
            Ask::Status => {
                let mut status = self.board.status(&self.outbox, &self.mailer, Instant::now());
                status.mails.add_troubles(self.courier.troubles());
                self.line.mark(&mut status, UnixTime::from(SystemTime::now()));
                Answer::Status(Box::new(status))
            }
            Ask::Wish(wish) => self.line.ask(wish).map_or_else(Answer::Failed, Answer::Done),
            Ask::Outbox => control::outbox::list(&self.outbox, self.mail.as_ref(), Some(self.senders()))
                .map_or_else(|error| Answer::Failed(error.to_string()), Answer::Outbox),
            Ask::Retry(words) => counted(control::outbox::retry(&self.outbox, self.senders(), &words)),
            Ask::Drop(words) => counted(control::outbox::discard(&self.outbox, &words, true)),
        }
    }

    fn senders(&self) -> Senders<'_> {
        Senders { mailer: &self.mailer, courier: &self.courier }
    }
}

fn greet(settings: &Settings, prober: &Prober) {
    let targets = settings.probe.targets.len();
    info!(
        "latmon {} watches {targets} target{}, sockets: {}, {}, data in {}",
        env!("CARGO_PKG_VERSION"),
        if targets == 1 { "" } else { "s" },
        prober.sockets(),
        prober.stamps(),
        settings.archive.data_dir.display()
    );
    match &settings.mail {
        Some(mail) => {
            let to: Vec<String> = mail.to.iter().map(ToString::to_string).collect();
            info!("alerts go to {} through {}:{}", to.join(", "), mail.server.host, mail.server.port);
        }
        None if !settings.ways.is_empty() => {}
        None => warn!(
            "no mail settings: alerts go to this log only, and their mails lie unsent in {}",
            settings.archive.data_dir.join("outbox").display()
        ),
    }
    if !settings.ways.is_empty() {
        let names: Vec<&str> = settings.ways.iter().map(|way| way.name.as_str()).collect();
        info!("alerts go to {}", names.join(", "));
    }
}

/// Writes the exit mail behind every mail that was decided on, and gives all who send a bounded time to do it.
fn farewell(
    settings: &Settings,
    teller: Teller,
    alerts: &mut Alerts,
    (mailer, courier): (&Mailer, &Courier),
    end: &End,
    started: UnixTime,
) {
    let began = Instant::now();
    match end {
        End::Told(what) => info!("stopping: {what}"),
        End::Orphaned => error!("stopping: the guardian of this monitor is gone"),
        End::Panicked(reason) => error!("stopping after a panic: {reason}"),
    }
    let is_mailed = match end {
        End::Told(_) => settings.exit.told,
        End::Orphaned => false,
        End::Panicked(_) => settings.exit.panicked,
    };
    let now = UnixTime::from(SystemTime::now());
    let message = is_mailed.then(|| letter::exit(settings, end, started, now));
    if let Err(error) = teller.finish(alerts, message.as_ref(), is_mailed || matches!(end, End::Told(_))) {
        error!("the exit mail could not be written: {error}");
    }
    // Whoever goes on at once sends what waits.
    let grace = if matches!(end, End::Told(_)) || is_mailed { FAREWELL } else { Duration::ZERO };
    let grace = grace.saturating_sub(began.elapsed());
    let (waiting, postings) = thread::scope(|scope| {
        let postings = scope.spawn(|| courier.stop(grace));
        (mailer.stop(grace), postings.join().unwrap_or_default())
    });
    if postings > 0 {
        warn!("{postings} messages to webhooks and commands wait in the outbox: the next run sends them");
    }
    if settings.mail.is_some() && waiting > 0 {
        warn!("{waiting} mails wait in the outbox: the next run sends them");
    }
}
