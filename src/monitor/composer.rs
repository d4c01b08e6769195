//! The thread that turns notices into mails: it reads the archive, draws, writes and puts the mail into the outbox.
//! Thirty milliseconds a picture must not hold up a round, and a path that is looked for no mail about something else.

mod queue;

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, at, bounded, never, select, unbounded};
use tracing::{error, warn};

use super::letter::{self, Around};
use super::paths::{self, Paths, Seen, Sight, Sighting, Sights};
use super::status::{Board, State};
use super::{Settings, posting};
use crate::alert::{Event, EventKind, Notice, Story, Trouble};
use crate::archive;
use crate::graph::{self, Format, Picture, Theme};
use crate::history::History;
use crate::mail::{self, Attachment, Courier, Kept, Mailer, Message, Outbox, Posting};
use crate::round::{Rtt, Target};
use queue::Queue;

/// How far back the picture of a mail reaches.
const PICTURE_SPAN: Duration = Duration::from_secs(24 * 3600);

/// How many of the targets that a notice tells of at once are looked at closely.
const CLOSELY: usize = 3;

/// How large the pictures of one mail may be together.
const PICTURE_BYTES: usize = 1 << 20;

/// How many notices may wait to be composed; the loop waits beyond that, for a notice that was dropped is a mail lost.
const QUEUE: usize = 1024;

/// How often it is looked whether the disk has taken what it did not take at first.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// The composer's handle.
pub(super) struct Composer {
    notices: Sender<Notice>,
    kept: Receiver<String>,
    thread: JoinHandle<()>,
    desk: Desk,
}

/// Everything a mail is made with.
#[derive(Clone)]
struct Desk {
    host: String,
    data_dir: PathBuf,
    mail: Option<mail::Settings>,
    limits: HashMap<Arc<Target>, Rtt>,
    outbox: Outbox,
    mailer: Arc<Mailer>,
    courier: Arc<Courier>,
    /// The names of the webhooks and commands.
    ways: Vec<String>,
    board: Arc<Board>,
    paths: Arc<Paths>,
}

impl Composer {
    pub(super) fn start(
        settings: &Settings,
        outbox: Outbox,
        mailer: Arc<Mailer>,
        courier: Arc<Courier>,
        board: Arc<Board>,
    ) -> io::Result<Self> {
        let desk = Desk {
            host: settings.host.clone(),
            data_dir: settings.archive.data_dir.clone(),
            mail: settings.mail.clone(),
            limits: settings.limits.clone(),
            outbox,
            mailer,
            courier,
            ways: settings.ways.iter().map(|way| way.name.clone()).collect(),
            paths: Arc::new(Paths::start(settings, Arc::clone(&board))?),
            board,
        };
        let (notices, orders) = bounded(QUEUE);
        // Unbounded: the composer waits for the loop nowhere, or the two could wait for each other.
        let (keep, kept) = unbounded();
        let worker = desk.clone();
        let work = move || worker.work(&orders, &keep);
        let thread = thread::Builder::new().name("composer".into()).spawn(work)?;
        Ok(Self { notices, kept, thread, desk })
    }

    /// Takes a notice; false when the composer is gone.
    #[must_use]
    pub(super) fn send(&self, notice: Notice) -> bool {
        self.notices.send(notice).is_ok()
    }

    /// Tells the key of each notice once its message lies in the outbox.
    pub(super) fn kept(&self) -> &Receiver<String> {
        &self.kept
    }

    /// Puts a message into the outbox that needs no composing; `state` says in a word what it tells.
    pub(super) fn post(&self, state: &'static str, message: &Message) -> Result<(), mail::Error> {
        self.desk.post(state, message)
    }

    /// Composes what still waits, and then `last`, where there is one.
    pub(super) fn finish(self, last: Option<&Message>) -> Result<(), mail::Error> {
        drop(self.notices);
        if self.thread.join().is_err() {
            error!("the composer of mails panicked; its last mail may be missing");
        }
        last.map_or(Ok(()), |last| self.desk.post(posting::STOPPED, last))
    }
}

impl Desk {
    fn work(&self, orders: &Receiver<Notice>, kept: &Sender<String>) {
        let mut queue = Queue::default();
        let (see, seen) = unbounded();
        // What the disk did not take: it is sent, but a crash would lose it, so the state keeps its notice.
        let mut held: Vec<(String, Vec<PathBuf>)> = Vec::new();
        let (mut orders, nothing) = (Some(orders), never());
        while orders.is_some() || !queue.is_empty() {
            let look_again = (!held.is_empty()).then(|| Instant::now() + LOOK_AGAIN);
            let timer = queue.next_due().into_iter().chain(look_again).min().map_or_else(never, at);
            select! {
                recv(orders.filter(|_| !queue.is_full()).unwrap_or(&nothing)) -> notice => match notice {
                    Ok(notice) => self.begin(notice, &mut queue, &see),
                    Err(_) => orders = None,
                },
                recv(seen) -> seen => seen.into_iter().for_each(|seen| queue.see(seen)),
                recv(timer) -> _ => {}
            }
            held.retain(|(key, paths)| {
                let is_safe = paths.iter().all(|path| self.outbox.is_safe(path));
                // The loop may be gone already, which ends all.
                let _ = is_safe && kept.send(key.clone()).is_ok();
                !is_safe
            });
            loop {
                // What came while another was composed is not too late.
                seen.try_iter().for_each(|seen| queue.see(seen));
                let Some((notice, sights)) = queue.next(Instant::now()) else { break };
                match self.tell(&notice, sights) {
                    Ok(unsafe_yet) if unsafe_yet.is_empty() => _ = kept.send(notice.key),
                    Ok(unsafe_yet) => held.push((notice.key, unsafe_yet)),
                    Err(error) => error!("the message '{}' could not be written: {error}", notice.key),
                }
            }
        }
    }

    /// Puts a notice with those that wait to be composed, and asks for the paths that it shows.
    fn begin(&self, notice: Notice, queue: &mut Queue, see: &Sender<Seen>) {
        if matches!(notice.story, Story::Online { .. }) {
            self.mailer.route_is_back();
            self.courier.hurry();
        }
        let until = Instant::now() + paths::PATIENCE;
        let shown = closely(&notice).iter().filter(|event| shows_path(&notice, event));
        let known = self.paths.look(&notice.key, shown, until, see);
        let until = known.is_none().then_some(until);
        queue.push(notice, known.unwrap_or_default(), until);
    }

    /// Composes what tells a notice and puts it into the outbox; returns the files that the disk did not take yet.
    fn tell(&self, notice: &Notice, sights: Sights) -> Result<Vec<PathBuf>, mail::Error> {
        let mut message = self.compose(notice, sights);
        let usual = |event: &Event| {
            self.before(event)
                .or_else(|| self.past(event).ok())
                .and_then(|past| posting::usual(&past, event.since))
        };
        let postings = posting::of_notice(notice, &message, usual, &self.ways, &self.host);
        let mailed = posting::mailed(notice);
        message.to = mailed.clone().unwrap_or_default();
        self.keep(mailed.map(|_| &message), &postings)
    }

    /// The mail about a notice. A picture or a path that cannot be had leaves the mail without it.
    fn compose(&self, notice: &Notice, mut sights: Sights) -> Message {
        let events = closely(notice);
        let mut around: Vec<Around> = events
            .iter()
            .map(|event| {
                let sight = || {
                    let late = || Sight::Untraced { why: "it was not found in time".to_owned() };
                    sights.remove(&event.target.name).unwrap_or_else(late)
                };
                self.look_around(event, shows_path(notice, event).then(sight))
            })
            .collect();
        let mut inline: Vec<Attachment> = Vec::new();
        let mut attached = Vec::new();
        for (event, around) in events.iter().zip(&mut around) {
            let pictures = around.past.as_ref().and_then(|past| self.draw(event, past));
            let bytes = |pictures: &[Attachment]| pictures.iter().map(|it| it.bytes.len()).sum::<usize>();
            let room = PICTURE_BYTES.saturating_sub(bytes(&inline) + bytes(&attached));
            let Some(pictures) = pictures.filter(|pictures| bytes(pictures) <= room) else { continue };
            let [small, large] = pictures;
            inline.push(small);
            around.picture = Some(inline.len());
            attached.push(large);
        }
        let mut message = letter::of_notice(notice, &around, &self.host);
        if let Some(html) = &mut message.html {
            html.pictures = inline;
        }
        message.attachments = attached;
        message
    }

    /// What the archive knows of the target, up to the event.
    fn past(&self, event: &Event) -> Result<History, archive::Error> {
        let target = &event.target.name;
        let path = archive::path(&self.data_dir, target);
        archive::history(&path, target, event.at.minus(PICTURE_SPAN), event.at)
    }

    /// What the archive knows of the day before a trouble that has lasted so long that its last day tells too little of
    /// that: reading costs its time, and the archive is locked meanwhile.
    fn before(&self, event: &Event) -> Option<History> {
        event.at.since(event.since).filter(|lasted| *lasted > PICTURE_SPAN / 2)?;
        let target = &event.target.name;
        let path = archive::path(&self.data_dir, target);
        archive::history(&path, target, event.since.minus(PICTURE_SPAN), event.since).ok()
    }

    /// What is known around an event, and what was seen of the path.
    fn look_around(&self, event: &Event, sight: Option<Sight>) -> Around {
        let target = &event.target;
        let past =
            self.past(event).inspect_err(|error| warn!("{}: no picture for the mail: {error}", target.name));
        let is_open = !matches!(event.kind, EventKind::Cleared { .. });
        let sighting = sight.map(|now| Sighting { now, good: self.paths.good(target) });
        let mut others = self.board.standings();
        others.retain(|standing| standing.target != *target);
        let these =
            others.iter().filter(|it| letter::is_alike(event.trouble, it.state)).map(|it| &*it.target);
        let these: Vec<&Target> = these.chain([&**target]).collect();
        let those: Vec<&Target> =
            others.iter().filter(|it| it.state == State::Ok).map(|it| &*it.target).collect();
        let shared = if these.len() > 1 && is_open { self.paths.shared(&these, &those) } else { None };
        Around { past: past.ok(), before: self.before(event), sighting, shared, others, picture: None }
    }

    /// The picture as the mail shows it, and a larger one to keep.
    fn draw(&self, event: &Event, past: &History) -> Option<[Attachment; 2]> {
        let target = &event.target;
        let large = Picture {
            title: letter::title(target),
            width: 1000,
            height: 300,
            scale: 1.0,
            theme: Theme::Light,
            format: Format::Png,
            limit: self.limits.get(target).copied(),
            marks: vec![letter::mark(event, past.step)],
        };
        // Words stay readable where it is shrunk to the width of a mail, or of a telephone. The mail says the host.
        let small =
            Picture { title: target.name.clone(), width: 480, height: 240, scale: 2.0, ..large.clone() };
        let name = archive::picture_name(&target.name);
        let drawn = |picture: &Picture, name: String| {
            let bytes = graph::smoke(past, picture)?;
            Ok(Attachment { name, mime: "image/png", bytes })
        };
        let both = drawn(&small, format!("inline_{name}"))
            .and_then(|small| Ok::<_, graph::Error>([small, drawn(&large, name)?]));
        both.inspect_err(|error| warn!("{}: no picture for the mail: {error}", target.name)).ok()
    }

    /// Puts a message about the monitor itself into the outbox, for everybody.
    fn post(&self, state: &'static str, message: &Message) -> Result<(), mail::Error> {
        let postings = posting::of_mail(state, message, &self.ways, &self.host);
        self.keep(Some(message), &postings).map(drop)
    }

    /// Puts the message into the outbox for all that it is for. Where mail is not set up and other ways are, nobody waits
    /// for mails.
    /// Returns the files of those that the disk did not take yet.
    fn keep(&self, mail: Option<&Message>, postings: &[Posting]) -> Result<Vec<PathBuf>, mail::Error> {
        let mut kept = Vec::new();
        if let Some(message) = mail.filter(|_| self.mail.is_some() || self.ways.is_empty()) {
            let bytes = mail::compose(message, self.mail.as_ref(), &self.host)?;
            kept.push(self.outbox.put(message, &bytes)?);
            self.mailer.wake();
        }
        for posting in postings {
            kept.push(self.courier.put(posting)?);
        }
        Ok(kept.into_iter().filter(|kept| !kept.on_disk).map(|Kept { path, .. }| path).collect())
    }
}

/// The events of a notice that are looked at closely.
fn closely(notice: &Notice) -> &[Event] {
    match &notice.story {
        Story::Alert(event) | Story::Flapping { event, .. } | Story::Steady { event, .. } => {
            std::slice::from_ref(event)
        }
        Story::Together { events, .. } => &events[..events.len().min(CLOSELY)],
        Story::Digest { .. } | Story::Offline { .. } | Story::Online { .. } => &[],
    }
}

/// Whether the mail about `notice` shows the path to the target of `event`, one of its events: while the trouble is there,
/// and lies on it.
fn shows_path(notice: &Notice, event: &Event) -> bool {
    let is_alert = matches!(notice.story, Story::Alert(_) | Story::Together { .. });
    is_alert && !matches!(event.kind, EventKind::Cleared { .. }) && event.trouble != Trouble::Unknown
}
