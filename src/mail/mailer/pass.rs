//! One attempt on all that waits: who gets which mail, and what comes of it.

use std::collections::{HashMap, HashSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tracing::{info, warn};

use super::super::fault::{Reason, SendError};
use super::super::outbox::{Claim, Kind, Outbox, Waiting};
use super::super::retry::{Answer, Next, Retry};
use super::super::smtp::{Handed, Session};
use super::super::stored::Stored;
use super::super::{Address, Error, Settings};
use super::{Board, Orders};
use crate::time::{Lasted, UnixTime};

/// The sender of mails, with all that it remembers from one attempt to the next.
pub(super) struct Pass {
    outbox: Outbox,
    settings: Option<Settings>,
    board: Arc<Board>,
    pub(super) retry: Retry,
    /// Nobody else sends mails while this is held.
    claim: Option<Claim>,
    /// It could not be had, which was told.
    is_unclaimed: bool,
    /// How many mails are through.
    pub(super) sent: usize,
    /// What was logged last of each trouble, and is not logged again.
    told: HashMap<About, Reason>,
    /// Files that are no mails: each is told once.
    unusable: HashSet<PathBuf>,
    /// Mails that the server has but whose files could not be moved: they must not go again.
    taken: HashSet<PathBuf>,
    /// What is known of mails that wait aside, without reading them again.
    known: HashMap<PathBuf, Known>,
    /// Refused mails whose conversation has gone on without them.
    overtaken: HashSet<PathBuf>,
    /// Mails of an earlier run: `None` before the first attempt.
    inherited: Option<HashSet<PathBuf>>,
    /// What held up all, for their readers.
    hindrance: Option<String>,
    /// Until then the fallback server is asked first.
    fallback_until: Option<Instant>,
    /// How many mails in a row the server did not want now, in this attempt.
    deferred: u32,
}

/// What a trouble is about.
#[derive(Clone, PartialEq, Eq, Hash)]
enum About {
    Server,
    Fallback,
    Mail(PathBuf, Option<Address>),
}

/// What orders the mails of one conversation.
#[derive(Clone)]
struct Known {
    conversation: String,
    left: Vec<Address>,
}

/// The conversations of the mails that were passed, and what became of them.
type Passed = HashMap<String, Conversation>;

/// What goes before the next mail of a conversation.
#[derive(Default)]
struct Conversation {
    /// Those who still wait for an earlier mail.
    waiting: Vec<Address>,
    /// Those to whom an earlier one was refused for good, that mail, and the answer as its readers are told it. It holds up
    /// nothing: what was refused may never go, and an alert that has no end is worse than an end without its beginning.
    refused: Vec<(Address, PathBuf, String)>,
}

impl Pass {
    pub(super) fn new(outbox: Outbox, settings: Option<Settings>, board: Arc<Board>) -> Self {
        Self {
            outbox,
            settings,
            board,
            retry: Retry::default(),
            claim: None,
            is_unclaimed: false,
            sent: 0,
            told: HashMap::new(),
            unusable: HashSet::new(),
            taken: HashSet::new(),
            known: HashMap::new(),
            overtaken: HashSet::new(),
            inherited: None,
            hindrance: None,
            fallback_until: None,
            deferred: 0,
        }
    }

    pub(super) fn take_orders(&self) -> Orders {
        std::mem::take(&mut self.board.lock().orders)
    }

    pub(super) fn is_held_in_memory(&self) -> bool {
        self.outbox.trouble().is_some()
    }

    /// Forgets that the first server gave no session.
    pub(super) fn first_server_again(&mut self) {
        self.fallback_until = None;
    }

    /// Sends what waits, in order, until something holds up all or it is later than `until`.
    pub(super) fn send_waiting(&mut self, until: Option<Instant>) {
        if self.is_held_in_memory() {
            self.outbox.write_down();
        }
        let Some(settings) = self.settings.clone() else { return };
        let waiting = match self.outbox.waiting(Kind::Mail) {
            Ok(waiting) => waiting,
            Err(error) => {
                warn!("{error}");
                return self.retry.no_session(Instant::now());
            }
        };
        if waiting.is_empty() || !self.may_send() {
            return;
        }
        let is_there = |path: &PathBuf| waiting.iter().any(|mail| mail.path == *path);
        self.retry.begin(&waiting, Instant::now());
        self.told.retain(|about, _| if let About::Mail(path, _) = about { is_there(path) } else { true });
        self.known.retain(|path, _| is_there(path));
        self.overtaken.retain(is_there);
        self.unusable.retain(is_there);
        self.taken.retain(is_there);
        self.deferred = 0;
        self.inherited.get_or_insert_with(|| waiting.iter().map(|mail| mail.path.clone()).collect());
        let mut session = None;
        if self.go_through(&waiting, &settings, &mut session, until) == Next::GoOn {
            self.hindrance = None;
        }
        if let Some(session) = session {
            session.quit();
        }
        self.board.lock().reasons = self.retry.reasons();
    }

    fn go_through(
        &mut self,
        waiting: &[Waiting],
        settings: &Settings,
        session: &mut Option<Session>,
        until: Option<Instant>,
    ) -> Next {
        let mut passed = Passed::new();
        let mut settings = settings.clone();
        for mail in waiting {
            let now = Instant::now();
            if !self.must_go(mail) {
                continue;
            }
            if let Some(until) = until {
                if now >= until {
                    return Next::Pause;
                }
                settings.limits = settings.limits.within(until - now);
            }
            let is_aside = |to: &Address| self.retry.is_aside(&mail.path, to, now);
            if let Some(known) = self.known.get(&mail.path).filter(|known| known.left.iter().all(is_aside)) {
                self.pass_by(passed.entry(known.conversation.clone()).or_default(), mail, &known.left);
                continue;
            }
            let Some(raw) = self.read(mail) else { continue };
            let Some(stored) = Stored::parse(&raw) else { continue };
            let conversation = stored.conversation().to_owned();
            let mut left = stored.left(&settings);
            // Mails without one have nothing to do with each other.
            let before = passed.entry(conversation.clone()).or_default();
            if conversation.is_empty() {
                *before = Conversation::default();
            }
            let is_aside = |to: &Address| self.retry.is_aside(&mail.path, to, now);
            let is_due = |to: &&Address| !is_aside(to) && !before.waiting.contains(to);
            let due: Vec<Address> = left.iter().filter(is_due).cloned().collect();
            let next = if due.is_empty() {
                Next::GoOn
            } else {
                let remark = self.remark(mail, &due, before);
                let (next, taken) = self.send(session, &settings, (mail, remark), &stored, &due);
                let overtaken = before.refused.iter().filter(|(to, ..)| taken.contains(to));
                self.overtaken.extend(overtaken.map(|(_, mail, _)| mail.clone()));
                left.retain(|to| !taken.contains(to));
                next
            };
            if left.is_empty() {
                self.delivered(mail);
            } else {
                self.pass_by(before, mail, &left);
                self.known.insert(mail.path.clone(), Known { conversation, left });
            }
            if next == Next::Pause {
                return next;
            }
        }
        Next::GoOn
    }

    /// Notes for the rest of its conversation who is `left` of a mail.
    fn pass_by(&self, conversation: &mut Conversation, mail: &Waiting, left: &[Address]) {
        for to in left {
            match self.retry.of(&mail.path, to).filter(|aside| aside.is_for_good) {
                Some(aside) => {
                    conversation.refused.push((to.clone(), mail.path.clone(), aside.hindrance.clone()));
                }
                None => conversation.waiting.push(to.clone()),
            }
        }
    }

    /// Sends one mail with a `remark` in `session`, or in a new one where there is none, and says who has it now.
    fn send(
        &mut self,
        session: &mut Option<Session>,
        settings: &Settings,
        (mail, remark): (&Waiting, Option<String>),
        stored: &Stored<'_>,
        due: &[Address],
    ) -> (Next, Vec<Address>) {
        let left = stored.left(settings);
        let mut open = match session.take().map_or_else(|| self.open_session(settings), Some) {
            Some(open) => open,
            None => return (Next::Pause, Vec::new()),
        };
        let sent = open.send(&settings.from, due, &stored.going_out(settings, remark.as_deref()));
        *session = open.is_open().then_some(open);
        match sent {
            Ok(handed) => {
                self.deferred = 0;
                (Next::GoOn, self.handed((mail, stored, &left), handed))
            }
            Err(error) if error.fault.is_of_mail() => {
                self.tell(&error, About::Mail(mail.path.clone(), None));
                due.iter().for_each(|to| self.step_aside(mail, to, &error));
                if error.fault.is_for_good() {
                    self.note(mail, stored, &[]);
                    return (Next::GoOn, Vec::new());
                }
                // A second one in a row: it is not the mail.
                self.deferred += 1;
                if self.deferred < 2 {
                    return (Next::GoOn, Vec::new());
                }
                self.retry.no_session(Instant::now());
                (Next::Pause, Vec::new())
            }
            Err(error) => {
                self.tell(&error, About::Server);
                self.hindrance = Some(error.fault.hindrance());
                let next = self.retry.broke(&mail.path, Instant::now());
                if next == Next::GoOn {
                    due.iter().for_each(|to| self.step_aside(mail, to, &error));
                }
                (next, Vec::new())
            }
        }
    }

    /// Remembers who has the mail and who may not have it, first of all in its file.
    fn handed(
        &mut self,
        (mail, stored, left_before): (&Waiting, &Stored<'_>, &[Address]),
        handed: Handed,
    ) -> Vec<Address> {
        let Handed { taken, left } = handed;
        self.retry.is_well();
        taken.iter().for_each(|to| self.retry.taken(&mail.path, to));
        for (to, error) in &left {
            self.step_aside(mail, to, error);
            self.tell(error, About::Mail(mail.path.clone(), Some(to.clone())));
        }
        let is_through = left_before.iter().all(|to| taken.contains(to));
        if !is_through {
            self.note(mail, stored, &taken);
        }
        taken
    }

    /// Writes into the mail's file who has it and who may not have it. Until that is done, a crash makes it go again to
    /// those who have it, under the same Message-ID.
    fn note(&mut self, mail: &Waiting, stored: &Stored<'_>, taken: &[Address]) {
        let mut refused = self.retry.refused(&mail.path);
        refused.sort();
        let is_known = taken.is_empty() && {
            let before = stored.refused();
            refused.len() == before.len()
                && refused.iter().zip(&before).all(|((to, _), (other, _))| to.to_string() == *other)
        };
        if is_known {
            return;
        }
        if let Err(error) = self.outbox.rewrite(mail, &stored.noted(taken, &refused)) {
            warn!("{error}");
        }
    }

    fn step_aside(&mut self, mail: &Waiting, to: &Address, error: &SendError) {
        let answer = match &error.fault {
            fault if fault.is_for_good() => Answer::ForGood,
            fault if fault.is_of_mail() => Answer::ForNow,
            _ => Answer::Broken,
        };
        let said = (error.to_string(), error.fault.hindrance());
        self.retry.step_aside((&mail.path, to), answer, said, Instant::now());
    }

    /// A session with the first server, or else with the fallback; `None` where there is none to be had.
    fn open_session(&mut self, settings: &Settings) -> Option<Session> {
        let now = Instant::now();
        let both = [(About::Server, Some(&settings.server)), (About::Fallback, settings.fallback.as_ref())];
        let mut servers: Vec<_> =
            both.into_iter().filter_map(|(about, server)| Some((about, server?))).collect();
        if self.fallback_until.is_some_and(|until| now < until) {
            servers.reverse();
        }
        for (about, server) in servers {
            match Session::open(server, settings.limits) {
                Ok(session) => {
                    if about == About::Server {
                        self.fallback_until = None;
                    }
                    return Some(session);
                }
                Err(error) => {
                    if about == About::Server {
                        self.hindrance = Some(error.fault.hindrance());
                        self.fallback_until = now.checked_add(FIRST_SERVER_AGAIN);
                    }
                    self.tell(&error, about);
                }
            }
        }
        self.retry.no_session(Instant::now());
        None
    }

    /// What a mail says of its way, where that was not as it should be.
    fn remark(&self, mail: &Waiting, due: &[Address], before: &Conversation) -> Option<String> {
        let mut remarks: Vec<String> = self.held_up(mail, due).into_iter().collect();
        if self.overtaken.contains(&mail.path) {
            remarks.push("later mails about this went before it".to_owned());
        }
        let lost = before.refused.iter().find(|(to, ..)| due.contains(to));
        remarks.extend(lost.map(|(_, _, why)| format!("an earlier mail about this was refused: {why}")));
        (!remarks.is_empty()).then(|| remarks.join("; "))
    }

    /// What a mail says that was decided on long ago.
    fn held_up(&self, mail: &Waiting, due: &[Address]) -> Option<String> {
        let waited = UnixTime::from(SystemTime::now()).since(mail.since)?;
        if waited < HELD_UP {
            return None;
        }
        let of_mail = due.iter().find_map(|to| self.retry.of(&mail.path, to));
        let hindrance = of_mail.map(|aside| aside.hindrance.as_str()).or(self.hindrance.as_deref());
        let is_inherited = self.inherited.as_ref().is_some_and(|inherited| inherited.contains(&mail.path));
        let why = hindrance.unwrap_or(if is_inherited { "sent by a later run" } else { "waited its turn" });
        Some(format!("held up {}: {why}", Lasted(waited)))
    }

    /// The bytes of the mail's file; `None` when it holds no mail.
    fn read(&mut self, mail: &Waiting) -> Option<Vec<u8>> {
        let read = self.outbox.read(mail).and_then(|raw| {
            if Stored::parse(&raw).is_some() { Ok(raw) } else { Err(Error::NotAMail(mail.path.clone())) }
        });
        match read {
            Ok(raw) => Some(raw),
            // Somebody took it out meanwhile.
            Err(Error::Disk { error, .. }) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => {
                if self.unusable.insert(mail.path.clone()) {
                    warn!("{error}");
                }
                None
            }
        }
    }

    /// Whether this process is the one that sends.
    fn may_send(&mut self) -> bool {
        if self.claim.is_some() {
            return true;
        }
        match self.outbox.claim(Kind::Mail) {
            Ok(Some(claim)) => {
                self.claim = Some(claim);
                true
            }
            Ok(None) => {
                self.retry.look_again(Instant::now());
                self.set_trouble(Some("another process sends them".to_owned()));
                false
            }
            // A disk that takes no file may keep others away as well, and mails arrive once or twice, not never.
            Err(error) => {
                if !std::mem::replace(&mut self.is_unclaimed, true) {
                    warn!("{error}");
                }
                true
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
        self.sent += 1;
        if let Err(error) = self.outbox.delivered(mail) {
            warn!("{error}");
            self.taken.insert(mail.path.clone());
        }
        self.told.remove(&About::Server);
        self.told.remove(&About::Fallback);
        if self.retry.first_aside().is_none() {
            self.set_trouble(None);
        }
    }

    /// Logs a failure, unless that is known.
    fn tell(&mut self, error: &SendError, about: About) {
        let (text, reason) = (error.to_string(), error.reason());
        if self.told.get(&about) != Some(&reason) {
            match &about {
                About::Mail(file, _) => warn!("{} stays in the outbox: {text}", name(file)),
                _ => warn!("mails stay in the outbox: {text}"),
            }
            self.told.insert(about, reason);
        }
        self.set_trouble(Some(text));
    }

    fn set_trouble(&self, trouble: Option<String>) {
        self.board.lock().trouble = trouble;
    }
}

fn name(path: &Path) -> std::borrow::Cow<'_, str> {
    path.file_name().unwrap_or_default().to_string_lossy()
}

/// How old a mail is that says so.
const HELD_UP: Duration = Duration::from_secs(120);
/// How long after it gave no session the first server is left alone, where there is a fallback.
const FIRST_SERVER_AGAIN: Duration = Duration::from_secs(300);
