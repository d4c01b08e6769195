//! The paths to the targets: one is looked for when an alert is raised, and shown beside the last one on which the target
//! answered.
//!
//! A good path is noted of each target that has been well for some rounds, and again after a day or a recovery: one at a
//! time, with pauses in between, and those of this machine's own addresses never. Those that mails wait for are looked for
//! at once and together; whoever waits need not wait for long, and may go on without.

mod look;
mod store;

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use tracing::warn;

use super::Settings;
use super::status::{Board, State};
use crate::alert::Event;
use crate::probe::{self, EchoSettings, Hop, Path, PathEnd, TraceSettings};
use crate::round::Target;
use crate::time::{Step, UnixTime};
use look::Look;
use store::Store;
pub(super) use store::{GoodHop, GoodPath};

/// The way to a target when it was looked at, and the last good one.
#[derive(Clone, Debug)]
pub(super) struct Sighting {
    pub(super) now: Sight,
    pub(super) good: Option<GoodPath>,
}

/// What was seen of a path.
#[derive(Clone, Debug)]
pub(super) enum Sight {
    /// The path, and the names of its routers as far as they are known.
    Traced { at: UnixTime, path: Path, names: HashMap<IpAddr, String> },
    /// The target is this machine.
    Near,
    /// It was not looked for.
    Untraced { why: String },
}

impl Sighting {
    /// `core1.example.org (192.0.2.1)`, or the address alone.
    pub(super) fn name(&self, address: IpAddr) -> String {
        let traced = match &self.now {
            Sight::Traced { names, .. } => names.get(&address),
            Sight::Near | Sight::Untraced { .. } => None,
        };
        let known = || {
            let hops = self.good.iter().flat_map(|good| &good.hops);
            hops.filter(|hop| hop.from.first() == Some(&address)).find_map(|hop| hop.name.as_ref())
        };
        match traced.or_else(known) {
            Some(name) => format!("{name} ({address})"),
            None => address.to_string(),
        }
    }

    /// The same of whoever answered first at a hop of the good path.
    pub(super) fn hop_name(&self, hop: &GoodHop) -> Option<String> {
        hop.from.first().map(|address| self.name(*address))
    }
}

/// What was seen of the paths that a notice asked for.
#[derive(Debug)]
pub(super) struct Seen {
    /// The notice's key.
    pub(super) key: String,
    /// By the targets' names.
    pub(super) sights: Sights,
    /// False where the names of routers may follow.
    pub(super) is_all: bool,
}

/// What was seen of paths, by the targets' names.
pub(super) type Sights = HashMap<String, Sight>;

/// The longest that anybody waits for paths. Two searches and a part of the names have their time in that: one may be under
/// way.
pub(super) const PATIENCE: Duration = Duration::from_millis(2500);

/// The paths that are known, and who looks for more.
pub(super) struct Paths {
    desk: Arc<Desk>,
    /// Dropped to end the thread.
    asked: Option<Sender<Look>>,
    thread: Option<JoinHandle<()>>,
}

struct Desk {
    watched: Vec<Watched>,
    board: Arc<Board>,
    store: Store,
    known: Mutex<Known>,
}

struct Watched {
    target: Arc<Target>,
    step: Step,
    echo: EchoSettings,
}

#[derive(Default)]
struct Known {
    good: HashMap<String, GoodPath>,
    /// When a good path of a target was last looked for.
    tried: HashMap<String, Instant>,
    /// When paths were looked for because of alerts, within the last [`look::BUDGET_TIME`].
    asked: VecDeque<Instant>,
    is_changed: bool,
}

impl Paths {
    /// Begins to note the good paths of the targets, as `board` shows them, in the data folder.
    pub(super) fn start(settings: &Settings, board: Arc<Board>) -> io::Result<Self> {
        let store = Store::new(&settings.archive.data_dir);
        let watched: Vec<Watched> = settings
            .probe
            .targets
            .iter()
            .map(|it| Watched {
                target: Arc::clone(&it.target),
                step: it.step,
                echo: EchoSettings {
                    source: it.echo.source,
                    interface: it.echo.interface.clone(),
                    dscp: it.echo.dscp,
                    ..EchoSettings::default()
                },
            })
            .collect();
        let mut good = store.load().unwrap_or_else(|error| {
            warn!("{error}: the paths of before are not known");
            HashMap::new()
        });
        good.retain(|name, _| watched.iter().any(|it| it.target.name == *name));
        let known = Mutex::new(Known { good, ..Known::default() });
        let desk = Arc::new(Desk { watched, board, store, known });
        // Unbounded: nobody asks for more than a few paths a minute.
        let (asked, looks) = unbounded();
        let worker = Arc::clone(&desk);
        let thread = thread::Builder::new().name("paths".into()).spawn(move || worker.work(&looks))?;
        Ok(Self { desk, asked: Some(asked), thread: Some(thread) })
    }

    /// Looks for the paths to the targets of `events`, for the notice `key`: what was seen comes by `answer` before `until`,
    /// or never. Returns it where all can be said without a look.
    pub(super) fn look<'a>(
        &self,
        key: &str,
        events: impl Iterator<Item = &'a Event>,
        until: Instant,
        answer: &Sender<Seen>,
    ) -> Option<Sights> {
        let (mut wanted, mut known) = (Vec::new(), Sights::new());
        for event in events {
            match self.desk.may_look(&event.target, event.address) {
                Ok(found) => wanted.push(found),
                Err(sight) => drop(known.insert(event.target.name.clone(), sight)),
            }
        }
        let asked = self.asked.as_ref().filter(|_| !wanted.is_empty());
        let Some(asked) = asked else { return Some(known) };
        let look = Look { key: key.to_owned(), wanted, known, until, answer: answer.clone() };
        // A thread that is gone has panicked, which is told elsewhere.
        asked.send(look).err().map(|unsent| unsent.into_inner().known)
    }

    /// The last good path to a target.
    pub(super) fn good(&self, target: &Target) -> Option<GoodPath> {
        self.desk.known().good.get(&target.name).cloned()
    }

    /// The nearest router that lies on the good paths of all of `these`, and on none of `those`.
    pub(super) fn shared(&self, these: &[&Target], those: &[&Target]) -> Option<String> {
        let known = self.desk.known();
        let routers = |target: &&Target| known.good.get(&target.name).map(GoodPath::routers);
        let mut paths: Vec<Vec<&GoodHop>> = these.iter().map(routers).collect::<Option<_>>()?;
        let first = paths.pop()?;
        let elsewhere: HashSet<IpAddr> =
            those.iter().filter_map(routers).flatten().flat_map(|hop| hop.from.iter().copied()).collect();
        let shared = first.into_iter().find(|hop| {
            let is_on = |path: &Vec<&GoodHop>| path.iter().any(|other| other.from == hop.from);
            !hop.from.is_empty()
                && paths.iter().all(is_on)
                && !hop.from.iter().any(|it| elsewhere.contains(it))
        })?;
        Some(shared.shown())
    }
}

impl Drop for Paths {
    fn drop(&mut self) {
        drop(self.asked.take());
        // Its panic was noted when it happened.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Desk {
    /// Looks for the paths that are asked for, and meanwhile for one good path after the other, until nobody can ask any
    /// more.
    fn work(&self, looks: &Receiver<Look>) {
        let mut next = 0;
        let mut saved: Option<Instant> = None;
        let mut next_note = Instant::now() + PAUSE;
        loop {
            match looks.recv_deadline(next_note) {
                Ok(look) => self.sight(look, looks),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    if let Some((place, address)) = self.next_due(&mut next) {
                        self.note(place, address, looks);
                    }
                    if saved.is_none_or(|saved| saved.elapsed() >= SAVE_EVERY) && self.save() {
                        saved = Some(Instant::now());
                    }
                    next_note = Instant::now() + PAUSE;
                }
            }
        }
        self.save();
    }

    /// The place of the next target in turn whose path is to be noted, and its address.
    fn next_due(&self, next: &mut usize) -> Option<(usize, IpAddr)> {
        for _ in 0..self.watched.len() {
            let place = *next;
            *next = (*next + 1) % self.watched.len();
            if let Some(address) = self.due(&self.watched[place]) {
                return Some((place, address));
            }
        }
        None
    }

    fn due(&self, watched: &Watched) -> Option<IpAddr> {
        let health = self.board.health(&watched.target)?;
        let long_enough = watched.step.duration() * WELL_ROUNDS;
        let address = health.address.filter(|address| is_remote(*address))?;
        if health.state != State::Ok || health.last_round.since(health.since?)? < long_enough {
            return None;
        }
        let known = self.known();
        let is_fresh = |good: &GoodPath| {
            let is_young = health.last_round.since(good.at).is_none_or(|age| age < REFRESH);
            good.address == address && is_young && health.since.is_some_and(|since| good.at >= since)
        };
        let was_tried = known.tried.get(&watched.target.name).is_some_and(|at| at.elapsed() < TRY_AGAIN);
        (!was_tried && !known.good.get(&watched.target.name).is_some_and(is_fresh)).then_some(address)
    }

    /// Looks for the path to a target that is well, and keeps it where it leads there, unless somebody cannot wait.
    fn note(&self, place: usize, address: IpAddr, looks: &Receiver<Look>) {
        let name = &self.watched[place].target.name;
        let traced = self.trace(&[(place, address)]).pop();
        self.known().tried.insert(name.clone(), Instant::now());
        let Some(Ok(path)) = traced else { return };
        if path.end != PathEnd::Reached || !looks.is_empty() {
            return;
        }
        let names = names(path.hops.iter().flat_map(Hop::addresses).collect(), NAMES_PATIENCE);
        let hops = path.hops.iter().map(|hop| GoodHop {
            distance: hop.distance,
            name: hop.addresses().first().and_then(|address| names.get(address)).cloned(),
            from: hop.addresses(),
            median: hop.median(),
        });
        let good = GoodPath { at: UnixTime::from(SystemTime::now()), address, hops: hops.collect() };
        let mut known = self.known();
        known.good.insert(name.clone(), good);
        known.is_changed = true;
    }

    /// Looks for the paths to these targets, all at once.
    fn trace(&self, wanted: &[(usize, IpAddr)]) -> Vec<Result<Path, String>> {
        let asked: Vec<(SocketAddr, EchoSettings)> = wanted
            .iter()
            .map(|(place, address)| (SocketAddr::new(*address, 0), self.watched[*place].echo.clone()))
            .collect();
        match probe::trace_all(&asked, &TraceSettings::default()) {
            Ok(paths) => paths.into_iter().map(|path| path.map_err(|error| error.to_string())).collect(),
            Err(error) => vec![Err(error.to_string()); wanted.len()],
        }
    }

    /// Writes what has changed; false where nothing has.
    fn save(&self) -> bool {
        let good = {
            let mut known = self.known();
            if !std::mem::take(&mut known.is_changed) {
                return false;
            }
            known.good.clone()
        };
        if let Err(error) = self.store.save(&good) {
            warn!("{error}: the next run will not know the paths");
        }
        true
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Every change to it is one insertion.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// False for this machine's own addresses that have no path, and for those that say nothing without a zone.
fn is_remote(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            !v4.is_loopback() && !v4.is_multicast() && !v4.is_broadcast() && !v4.is_unspecified()
        }
        IpAddr::V6(v6) => {
            !v6.is_loopback() && !v6.is_multicast() && !v6.is_unicast_link_local() && !v6.is_unspecified()
        }
    }
}

/// The names of these routers.
fn names(mut addresses: Vec<IpAddr>, patience: Duration) -> HashMap<IpAddr, String> {
    addresses.sort_unstable();
    addresses.dedup();
    if addresses.is_empty() {
        return HashMap::new();
    }
    let names = probe::names(&addresses, patience);
    addresses.into_iter().zip(names).filter_map(|(address, name)| Some((address, name?))).collect()
}

impl GoodPath {
    /// The hops before the target.
    fn routers(&self) -> Vec<&GoodHop> {
        self.hops.iter().filter(|hop| !hop.from.contains(&self.address)).collect()
    }
}

impl GoodHop {
    fn shown(&self) -> String {
        let from: Vec<String> = self.from.iter().map(ToString::to_string).collect();
        match &self.name {
            Some(name) => format!("{name} ({})", from.join(" or ")),
            None => from.join(" or "),
        }
    }
}

/// Between two good paths that are looked for, at least: some sixty small packets each.
const PAUSE: Duration = Duration::from_secs(5);
/// A target that was well for so many rounds is taken to be.
const WELL_ROUNDS: u32 = 5;
/// A good path is looked for again after this long.
const REFRESH: Duration = Duration::from_secs(24 * 3600);
/// One that was not found, or has changed again, not before this long.
const TRY_AGAIN: Duration = Duration::from_secs(600);
/// How often what has changed is written.
const SAVE_EVERY: Duration = Duration::from_secs(600);
/// How long the routers' names may take.
const NAMES_PATIENCE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_other_machines_have_a_path() {
        let remote = |text: &str| is_remote(text.parse().unwrap());
        assert!(["192.0.2.1", "10.0.0.1", "2001:db8::1", "fd00::1"].map(remote).iter().all(|it| *it));
        for near in
            ["127.0.0.1", "::1", "::ffff:127.0.0.1", "0.0.0.0", "::", "fe80::1", "224.0.0.1", "ff02::1"]
        {
            assert!(!remote(near), "{near}");
        }
    }
}
