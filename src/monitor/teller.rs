//! The way from an event to a message that is safe: the desk decides what is told, the state keeps that until the
//! composer has put it into the outbox.

use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::Receiver;
use tracing::{error, info, warn};

use super::composer::Composer;
use super::hush::{self, Call, Ear};
use super::letter;
use super::state::{State, Store};
use crate::alert::{Alerts, Desk, Event, EventKind, Notice, desk};
use crate::mail::{self, Message};
use crate::probe::Uplink;
use crate::time::UnixTime;

/// Decides what is told, and remembers what is not yet safe.
pub(super) struct Teller {
    desk: Desk,
    state: State,
    store: Store,
    composer: Composer,
    /// What people wish of mutes.
    ear: Ear,
    /// The names of all targets.
    targets: Vec<String>,
    /// The state could not be written the last time, which was said.
    is_failing: bool,
    /// When the state is to be written; `None` where the file has all of it.
    save_at: Option<Instant>,
    /// It is not written before, so that the disk has most of its time for other things.
    rest_until: Instant,
    /// Nor is it for an event before that: thousands of targets that fail make a large state, and rounds wait for it.
    breath_until: Instant,
}

impl Teller {
    /// Goes on where `state` ended, and brings `alerts` there: what is pending in it is composed now.
    pub(super) fn start(
        mut state: State,
        store: Store,
        composer: Composer,
        settings: &desk::Settings,
        ear: Ear,
        alerts: &mut Alerts,
        now: UnixTime,
    ) -> Self {
        for alert in alerts.resume(std::mem::take(&mut state.alerts)) {
            warn!("{alert}: the settings have this no more: its alert is closed without a word");
        }
        for notice in &state.pending {
            // A composer that is gone has panicked, and that ends the run.
            let _ = composer.send(notice.clone());
        }
        let desk = Desk::resume(settings, std::mem::take(&mut state.desk), alerts, now);
        let rest_until = Instant::now();
        let mut teller = Self {
            desk,
            state,
            store,
            composer,
            ear,
            targets: settings.targets.iter().map(|place| place.target.name.clone()).collect(),
            is_failing: false,
            save_at: None,
            rest_until,
            breath_until: rest_until,
        };
        teller.ear.shown.set(teller.desk.quiet());
        teller.save(alerts);
        teller
    }

    /// Takes an event; what comes of it is told by [`Teller::tell_due`].
    pub(super) fn take(&mut self, event: Event, now: UnixTime) {
        announce(&event);
        self.desk.take(event, now);
        // Killed before that, the next run does not know of it, whatever the log says.
        self.rest_until = self.rest_until.min(self.breath_until);
        self.save_within(Duration::ZERO);
    }

    /// What people wish of mutes.
    pub(super) fn calls(&self) -> &Receiver<Call> {
        &self.ear.calls
    }

    /// Mutes or unmutes, for good once it is answered.
    pub(super) fn grant(&mut self, call: &Call, alerts: &mut Alerts, now: UnixTime) {
        let targets = self.targets.iter().map(String::as_str);
        let done = hush::grant(self.desk.state_mut(now), call.wish.clone(), targets, now);
        if let Ok(done) = &done {
            info!("{done}");
            self.ear.shown.set(self.desk.quiet());
            self.save(alerts);
        }
        call.answer(done);
    }

    /// Takes what was found out about our own uplink.
    pub(super) fn take_uplink(&mut self, found: &Uplink, alerts: &mut Alerts, now: UnixTime) {
        match found {
            Uplink::Offline { since, why } => {
                warn!("this monitor is offline since {}: {why}", clock(*since));
                alerts.offline(*since);
                self.desk.offline(*since, why.to_string(), now);
            }
            Uplink::Online { since, at } => {
                if let Some(since) = since {
                    info!("online again at {}, offline since {}", clock(*at), clock(*since));
                }
                alerts.online(*at);
                // An earlier run may have told that it was offline.
                self.desk.online(*at, now);
            }
            Uplink::Anchors(anchors) => self.state.anchors.clone_from(anchors),
        }
        self.save_within(Duration::ZERO);
    }

    /// Hands what is due to the composer; false when that is gone.
    #[must_use]
    pub(super) fn tell_due(&mut self, alerts: &mut Alerts, now: UnixTime) -> bool {
        let due = self.desk.due(now);
        if due.is_empty() {
            self.save_what_changed(alerts);
            return true;
        }
        self.hand_over(due, alerts)
    }

    /// How long there is nothing to do without any further event.
    pub(super) fn idle(&self, now: UnixTime) -> Option<Duration> {
        let desk = self.desk.next_due().map(|due| due.since(now).unwrap_or_default());
        let save = self.save_at.map(|at| at.max(self.rest_until).saturating_duration_since(Instant::now()));
        desk.into_iter().chain(save).min()
    }

    /// Tells the keys of notices whose messages lie in the outbox.
    pub(super) fn kept(&self) -> &Receiver<String> {
        self.composer.kept()
    }

    /// The message of the notice `key` lies in the outbox, and so do those that the composer told meanwhile.
    pub(super) fn is_kept(&mut self, key: String) {
        let keys: Vec<String> = std::iter::once(key).chain(self.composer.kept().try_iter()).collect();
        self.state.pending.retain(|notice| !keys.contains(&notice.key));
        // Where this is lost, the same message is put into the outbox again.
        self.save_within(LAZY);
    }

    /// Keeps for the next run that this one was alive `now`; not more often than that one needs to know.
    pub(super) fn is_alive(&mut self, now: UnixTime) {
        let is_news = |alive: UnixTime| now.since(alive).is_none_or(|since| since >= SIGN_OF_LIFE);
        if self.state.run.alive.is_none_or(is_news) {
            self.state.run.alive = Some(now);
            self.save_within(Duration::ZERO);
        }
    }

    /// Tells all there is to tell, composes what still waits, and then `last`; without one the end is told already, or by
    /// somebody else later.
    pub(super) fn finish(
        mut self,
        alerts: &mut Alerts,
        last: Option<&Message>,
        is_told: bool,
    ) -> Result<(), mail::Error> {
        let now = UnixTime::from(SystemTime::now());
        self.desk.hurry(now);
        let due = self.desk.due(now);
        // A composer that is gone has said so already.
        let _ = self.hand_over(due, alerts);
        let kept = self.composer.kept().clone();
        let finished = self.composer.finish(last);
        let keys: Vec<String> = kept.try_iter().collect();
        self.state.pending.retain(|notice| !keys.contains(&notice.key));
        if finished.is_ok() && is_told {
            self.state.run.ended = Some(UnixTime::from(SystemTime::now()));
        }
        save(&self.store, &self.state, &mut self.is_failing);
        finished
    }

    /// Notices are on the disk before anybody else has them.
    fn hand_over(&mut self, notices: Vec<Notice>, alerts: &mut Alerts) -> bool {
        self.state.pending.extend(notices.iter().cloned());
        self.save(alerts);
        notices.into_iter().all(|notice| self.composer.send(notice))
    }

    fn save_within(&mut self, wait: Duration) {
        let at = Instant::now() + wait;
        self.save_at = Some(self.save_at.map_or(at, |sooner| sooner.min(at)));
    }

    fn save_what_changed(&mut self, alerts: &mut Alerts) {
        let has_changed = alerts.take_changed() | self.desk.take_changed();
        if has_changed && self.save_at.is_none() {
            self.save_within(LAZY);
        }
        let now = Instant::now();
        if self.save_at.is_some_and(|at| at <= now) && self.rest_until <= now {
            self.save(alerts);
        }
    }

    fn save(&mut self, alerts: &mut Alerts) {
        let began = Instant::now();
        self.state.alerts = alerts.kept();
        self.state.desk = self.desk.state().clone();
        // What both have changed so far is in there.
        let _ = (alerts.take_changed(), self.desk.take_changed());
        save(&self.store, &self.state, &mut self.is_failing);
        self.save_at = None;
        let took = began.elapsed();
        self.rest_until = began + took * (REST + 1);
        self.breath_until = began + took + took.saturating_sub(QUICK);
    }
}

/// How long numbers that a restart could do without wait for being written.
const LAZY: Duration = Duration::from_secs(5);
/// So many times as long as writing took, nothing is written that need not be.
const REST: u32 = 20;

/// Writing that takes no longer holds up nobody.
const QUICK: Duration = Duration::from_millis(50);

/// A disk that refuses is said once; the monitor goes on with what it knows.
fn save(store: &Store, state: &State, is_failing: &mut bool) {
    match store.save(state) {
        Ok(()) if std::mem::take(is_failing) => info!("the state is kept again"),
        Ok(()) => {}
        Err(error) if !std::mem::replace(is_failing, true) => {
            error!("{error}: a restart will not know which alerts were told");
        }
        Err(_) => {}
    }
}

/// How often a running monitor says in its state that it runs.
const SIGN_OF_LIFE: Duration = Duration::from_secs(60);

fn clock(at: UnixTime) -> impl std::fmt::Display {
    at.local().civil.format("%Y-%m-%d %H:%M:%S").to_string()
}

/// Tells the log.
fn announce(event: &Event) {
    let line = letter::log_line(event);
    match event.kind {
        EventKind::Raised | EventKind::Repeated => warn!("{line}"),
        EventKind::Cleared { .. } => info!("{line}"),
    }
}
