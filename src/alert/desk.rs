//! Decides what is told of all that happens, and when: events in, notices out.
//!
//! Of every alert (a rule on a target) the desk knows how it stands, by its newest event, and what its reader was told.
//! What is told is the difference between the two at the time of telling, so that whatever came between (a settle time, a
//! mute, a restart) nothing is told twice and no end is forgotten:
//!
//! | told   | now              | the notice says                                                      |
//! |--------|------------------|----------------------------------------------------------------------|
//! | well   | open             | it began (since when, truly)                                         |
//! | open   | over             | it is over, as an answer to the notice in which it was first told     |
//! | open   | open             | it goes on, where its `repeat` has passed or a mute has ended         |
//! | well   | over again       | it was there, in one notice; nothing, where it was muted all the while |
//!
//! - **Settle.** Changes are told together when `settle` has passed since the first of them; a monitor with a single target
//!   does not wait. What has the same trouble and the same readers is one notice. Ends are gathered by the notice they
//!   answer; where they answer many, all of them are one.
//! - **Parents.** While a target is down, `down` alerts of those behind it belong to it. Those that came together with it are
//!   named in its notice; later ones (rounds that take longer) in its next repeat. When it answers again they have as long
//!   as their own rounds take; one that is still down then is told by itself. A parent that goes down after those behind
//!   it names them too. Whether a parent's alert is muted makes no difference to those behind it.
//! - **One target, one notice.** What there is to tell of a target at a time, to the same readers, is one notice: the
//!   gravest of its alerts speaks, and the others are told with it.
//! - **Flapping.** The third change of an alert within an hour is told as flapping, and so is the third notice of changes of
//!   a target's alerts, whichever these are; then the target is silent until all of them have kept still for
//!   [`STEADY_AFTER`], an hour after the first of these changes at the earliest. So a target makes three notices an hour at
//!   most, however many rules it has.
//! - **A cap.** Over `max_per_hour` for the same readers, the rest is a digest at the end of the hour, the critical first where
//!   it grows too long. What is told of our own uplink does not count.
//! - **Mutes, maintenance, hours of a rule** hold notices back; see [`quiet`]. At the end of a mute what is still open is told.
//!
//! Nothing here reads a clock: whoever asks says what time it is. All that it knows can be written down and read again.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::hours::Hours;
use super::{Alerts, Event, EventKind, Notice};
use crate::round::Target;
use crate::time::{Step, UnixTime};

mod matter;
pub mod quiet;
mod ration;
mod tell;
mod tree;
mod uplink;

use matter::{Flap, Matter};
use quiet::{Maintenance, Mute, Quiet};
use ration::Ration;
use tree::Tree;
use uplink::Uplink;

/// How long an alert that flapped must have kept still before that is told.
pub const STEADY_AFTER: Duration = Duration::from_secs(15 * 60);

/// How notices are made.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long changes are gathered before they are told.
    pub settle: Duration,
    /// The most notices in an hour for the same readers; the rest becomes a digest.
    pub max_per_hour: u32,
    /// Every target that is watched.
    pub targets: Vec<Place>,
    /// When work is planned.
    pub maintenance: Vec<Maintenance>,
    /// The hours in which a rule's alerts are told, by its name; a rule that is not here is told at any time.
    pub hours: HashMap<String, Hours>,
}

/// Where a target stands.
#[derive(Clone, Debug)]
pub struct Place {
    /// Which.
    pub target: Arc<Target>,
    /// The name of the target that it lies behind. It is there, and nobody is behind itself.
    pub parent: Option<String>,
    /// The length of its rounds.
    pub step: Step,
}

impl Settings {
    /// How long changes are gathered where nobody says otherwise.
    pub const DEFAULT_SETTLE: Duration = Duration::from_secs(10);
    /// The most notices in an hour where nobody says otherwise.
    pub const DEFAULT_MAX_PER_HOUR: u32 = 20;
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            settle: Self::DEFAULT_SETTLE,
            max_per_hour: Self::DEFAULT_MAX_PER_HOUR,
            targets: Vec::new(),
            maintenance: Vec::new(),
            hours: HashMap::new(),
        }
    }
}

/// All that a desk knows, to be written down.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// The alerts of each target of which there is something to remember.
    matters: BTreeMap<String, Vec<Matter>>,
    /// When what has settled is told; `None` where nothing waits for that.
    batch: Option<UnixTime>,
    mutes: Vec<Mute>,
    rations: Vec<Ration>,
    uplink: Uplink,
}

impl State {
    /// Nothing is told of the targets that `mute` names until it ends. One of the same name takes the place of the first.
    ///
    /// # Errors
    /// When there are too many.
    pub fn mute(&mut self, mute: Mute) -> Result<(), quiet::TooMany> {
        quiet::add(&mut self.mutes, mute)
    }

    /// Takes back the mutes of this name; all, where it is [`quiet::ALL`]. Returns how many there were.
    pub fn unmute(&mut self, name: &str) -> usize {
        quiet::remove(&mut self.mutes, name)
    }

    /// What people have muted.
    pub fn mutes(&self) -> &[Mute] {
        &self.mutes
    }
}

/// Turns events into notices.
#[derive(Clone, Debug)]
pub struct Desk {
    settle: Duration,
    max_per_hour: u32,
    hours: HashMap<String, Hours>,
    tree: Tree,
    maintenance: Vec<Maintenance>,
    state: State,
    /// Nothing is to be done before; `None` where nothing waits.
    next: Option<UnixTime>,
    /// When it was last asked what is due.
    asked: Option<UnixTime>,
    changed: bool,
}

impl Desk {
    /// A desk that knows of nothing.
    pub fn new(settings: &Settings) -> Self {
        Self {
            settle: if settings.targets.len() == 1 { Duration::ZERO } else { settings.settle },
            max_per_hour: settings.max_per_hour.max(1),
            hours: settings.hours.clone(),
            tree: Tree::new(&settings.targets),
            maintenance: settings.maintenance.clone(),
            state: State::default(),
            next: None,
            asked: None,
            changed: false,
        }
    }

    /// A desk that goes on where `state` ended, beside `alerts` that go on where they did: what these do not know any more
    /// is forgotten here too.
    pub fn resume(settings: &Settings, mut state: State, alerts: &Alerts, now: UnixTime) -> Self {
        for (target, matters) in &mut state.matters {
            matters.retain_mut(|matter| {
                matter.bound();
                let Event { target: of, rule, .. } = &matter.event;
                let is_known = if matter.is_open() {
                    alerts.is_open(target, rule)
                } else {
                    alerts.is_watched(target, rule)
                };
                is_known && of.name == *target
            });
        }
        state.matters.retain(|_, matters| !matters.is_empty());
        state.mutes.truncate(Mute::MOST);
        Self { state, next: Some(now), changed: true, ..Self::new(settings) }
    }

    /// All it knows.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Whether it knows something else than when this was last asked.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// Takes an event.
    pub fn take(&mut self, event: Event, now: UnixTime) {
        let (is_held, is_covered) = (self.is_held(&event, now), self.is_covered(&event, now));
        let is_hidden = is_held || is_covered;
        let is_over = matches!(event.kind, EventKind::Cleared { .. });
        self.changed = true;
        let matters = self.state.matters.entry(event.target.name.clone()).or_default();
        // What begins while others of its target come and go belongs to these.
        let flap = matters.iter().filter(|matter| matter.event.to == event.to).find_map(|it| it.flap.clone());
        let flap = flap.map(|flap| Flap { changes: 0, ..flap });
        let known = matters.iter_mut().find(|matter| matter.event.rule == event.rule);
        let waits = match known {
            Some(matter) => {
                matter.flap = matter.flap.take().or(flap);
                matter.take(event, is_hidden, now)
            }
            None => {
                let mut matter = Matter::new(event.clone());
                matter.flap = flap;
                let waits = matter.take(event, is_hidden, now);
                matters.push(matter);
                waits
            }
        };
        // The end of what was told is told, whoever accounts for it.
        if waits && !is_held && (is_over || !is_covered) {
            let settled = *self.state.batch.get_or_insert(now.plus(self.settle));
            self.look_at(settled);
        } else {
            // Whatever hides it may end.
            self.look_at(minute_after(now));
        }
    }

    /// Our own uplink has gone: the last reply was heard at `since`.
    pub fn offline(&mut self, since: UnixTime, why: String, now: UnixTime) {
        self.state.uplink.gone(since, why, now);
        self.changed = true;
        self.look_at(now);
    }

    /// Our own uplink works again, since `at`.
    pub fn online(&mut self, at: UnixTime, now: UnixTime) {
        self.state.uplink.back(at, now);
        self.changed = true;
        self.look_at(now);
    }

    /// What is to be told by `now`; each notice once.
    pub fn due(&mut self, now: UnixTime) -> Vec<Notice> {
        let was_set_back = self.asked.replace(now).is_some_and(|asked| now < asked);
        if self.next.is_none_or(|next| next > now) && !was_set_back {
            return Vec::new();
        }
        // Where the clock was set back, what waits must not wait so much longer.
        self.state.batch = self.state.batch.map(|settled| settled.min(now.plus(self.settle)));
        let mutes = self.state.mutes.len();
        self.state.mutes.retain(|mute| mute.until > now);
        self.changed |= mutes != self.state.mutes.len();
        self.release(now);
        let mut notices: Vec<Notice> = Vec::new();
        if self.state.batch.is_some_and(|settled| settled <= now) {
            self.state.batch = None;
            notices.extend(self.tell(now));
        }
        notices.extend(self.sum_up(now));
        let mut passed: Vec<Notice> = self.state.uplink.due(self.settle, now).into_iter().collect();
        passed.extend(self.ration(notices, now));
        self.forget(now);
        self.changed |= !passed.is_empty();
        self.next = self.next_look(now);
        passed
    }

    /// What has not settled yet is told by the next [`Desk::due`].
    pub fn hurry(&mut self, now: UnixTime) {
        if self.state.batch.is_some() {
            self.state.batch = Some(now);
        }
        self.state.uplink.hurry();
        self.look_at(now);
    }

    /// When there may be something to tell, without any further event; `None` where nothing waits.
    pub fn next_due(&self) -> Option<UnixTime> {
        self.next
    }

    /// Its state, for changes of mutes; they hold from `now` on.
    pub fn state_mut(&mut self, now: UnixTime) -> &mut State {
        self.changed = true;
        self.look_at(now);
        &mut self.state
    }

    /// What holds notices back.
    pub fn quiet(&self) -> Quiet {
        Quiet { mutes: self.state.mutes.clone(), maintenance: self.maintenance.clone() }
    }

    fn look_at(&mut self, time: UnixTime) {
        self.next = Some(self.next.map_or(time, |next| next.min(time)));
    }

    /// Whether nothing may be told of this alert, by what people have said.
    fn is_held(&self, event: &Event, now: UnixTime) -> bool {
        self.is_muted(&event.target.name, now)
            || self.hours.get(&event.rule).is_some_and(|hours| !hours.contains(now))
    }

    fn is_muted(&self, target: &str, now: UnixTime) -> bool {
        self.state.mutes.iter().any(|mute| mute.holds(target, now))
            || self.maintenance.iter().any(|planned| planned.holds(target, now))
    }

    /// Lets go what was held back or covered and is no longer.
    fn release(&mut self, now: UnixTime) {
        let mut changes = Vec::new();
        for (target, matters) in &self.state.matters {
            let is_muted = self.is_muted(target, now);
            for (place, matter) in matters.iter().enumerate() {
                let event = &matter.event;
                let is_covered = matter.is_open() && self.is_covered(event, now);
                let is_hidden = is_covered || self.is_held(event, now);
                changes.push((target.clone(), place, is_muted, is_covered, is_hidden));
            }
        }
        let mut waits = false;
        for (target, place, is_muted, is_covered, is_hidden) in changes {
            let Some(matter) = self.state.matters.get_mut(&target).and_then(|matters| matters.get_mut(place))
            else {
                continue;
            };
            self.changed |= matter.release(is_muted, is_covered);
            waits |= matter.waits() && !is_hidden;
        }
        if waits {
            self.state.batch.get_or_insert(now);
        }
    }

    fn forget(&mut self, now: UnixTime) {
        for matters in self.state.matters.values_mut() {
            matters.retain(|matter| !matter.is_forgotten(now));
        }
        self.state.matters.retain(|_, matters| !matters.is_empty());
    }

    /// When to look again, as things are `now`.
    fn next_look(&self, now: UnixTime) -> Option<UnixTime> {
        let matters = || self.state.matters.values().flatten();
        let hidden = matters().any(|matter| matter.waits() || matter.was_muted || matter.is_behind());
        let still = matters().filter_map(Matter::steady_at).map(|at| at.max(minute_after(now))).min();
        let ends = self.state.rations.iter().filter_map(Ration::digest_at).min();
        let mutes = self.state.mutes.iter().map(|mute| mute.until).min();
        let looks = [
            self.state.batch,
            hidden.then(|| minute_after(now)),
            still,
            ends,
            mutes,
            self.state.uplink.next(self.settle),
        ];
        looks.into_iter().flatten().min()
    }
}

/// The full minute after `now`: mutes, windows and hours end at one, and what keeps still together is told together.
fn minute_after(now: UnixTime) -> UnixTime {
    MINUTE.boundary_after(now)
}

const MINUTE: Step = match Step::new(60) {
    Some(step) => step,
    None => unreachable!(),
};
const HOUR: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests;
