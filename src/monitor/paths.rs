//! The paths to the targets: one is looked for when an alert is raised, and shown beside the last one on which the target
//! answered.
//!
//! A good path is noted of each target that has been well for some rounds, and again after a day or a recovery. One path is
//! looked for at a time, with pauses in between, and those of this machine's own addresses never.

mod store;

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use tracing::warn;

use super::Settings;
use super::status::{Board, State};
use crate::probe::{self, EchoSettings, Hop, Path, PathEnd, TraceSettings};
use crate::round::Target;
use crate::time::{Step, UnixTime};
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

/// The paths that are known, and who looks for more.
pub(super) struct Paths {
    desk: Arc<Desk>,
    /// Dropped to end the thread.
    going: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

struct Desk {
    watched: Vec<Watched>,
    board: Arc<Board>,
    store: Store,
    known: Mutex<Known>,
    /// Held while a path is looked for: one at a time.
    tracing: Mutex<()>,
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
    /// When paths were looked for because of alerts, within the last [`BUDGET_TIME`].
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
        let desk = Arc::new(Desk { watched, board, store, known, tracing: Mutex::new(()) });
        let (going, stop) = bounded(0);
        let worker = Arc::clone(&desk);
        let thread = thread::Builder::new().name("paths".into()).spawn(move || worker.work(&stop))?;
        Ok(Self { desk, going: Some(going), thread: Some(thread) })
    }

    /// Looks for the path to a target, at `address`, unless too many were looked for within the last minute.
    pub(super) fn sight(&self, target: &Target, address: Option<IpAddr>) -> Sighting {
        Sighting { now: self.desk.sight(target, address), good: self.good(target) }
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
        drop(self.going.take());
        // Its panic was noted when it happened.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Desk {
    /// Looks for one good path after the other until `stop` is gone.
    fn work(&self, stop: &Receiver<()>) {
        let mut next = 0;
        let mut saved: Option<Instant> = None;
        while stop.recv_timeout(PAUSE) == Err(RecvTimeoutError::Timeout) {
            if let Some((watched, address)) = self.next_due(&mut next) {
                self.note(watched, address);
            }
            if saved.is_none_or(|saved| saved.elapsed() >= SAVE_EVERY) && self.save() {
                saved = Some(Instant::now());
            }
        }
        self.save();
    }

    /// The next target in turn whose path is to be noted, and its address.
    fn next_due(&self, next: &mut usize) -> Option<(&Watched, IpAddr)> {
        for _ in 0..self.watched.len() {
            let watched = &self.watched[*next];
            *next = (*next + 1) % self.watched.len();
            if let Some(address) = self.due(watched) {
                return Some((watched, address));
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

    /// Looks for the path to a target that is well, and keeps it where it leads there.
    fn note(&self, watched: &Watched, address: IpAddr) {
        let name = &watched.target.name;
        let traced = self.trace(watched, address);
        self.known().tried.insert(name.clone(), Instant::now());
        let Ok(path) = traced else { return };
        if path.end != PathEnd::Reached {
            return;
        }
        let names = names(&path, &[]);
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

    fn sight(&self, target: &Target, address: Option<IpAddr>) -> Sight {
        let untraced = |why: &str| Sight::Untraced { why: why.to_owned() };
        let Some(address) = address else { return untraced("the target has no address") };
        if !is_remote(address) {
            return Sight::Near;
        }
        let Some(watched) = self.watched.iter().find(|it| *it.target == *target) else {
            return untraced("the target is no longer watched");
        };
        if !self.known().may_ask(Instant::now()) {
            return untraced("too many paths were looked for within this minute");
        }
        let at = UnixTime::from(SystemTime::now());
        match self.trace(watched, address) {
            Ok(path) => {
                let known = self.known().good.get(&target.name).cloned();
                let known: Vec<IpAddr> =
                    known.iter().flat_map(|good| &good.hops).flat_map(|hop| &hop.from).copied().collect();
                let names = names(&path, &known);
                Sight::Traced { at, path, names }
            }
            Err(error) => Sight::Untraced { why: error.to_string() },
        }
    }

    fn trace(&self, watched: &Watched, address: IpAddr) -> Result<Path, probe::Error> {
        let _one_at_a_time = self.tracing.lock().unwrap_or_else(PoisonError::into_inner);
        let settings = TraceSettings { echo: watched.echo.clone(), ..TraceSettings::default() };
        probe::trace(SocketAddr::new(address, 0), &settings)
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

impl Known {
    /// Whether one more path may be looked for because of an alert; if so, it counts.
    fn may_ask(&mut self, now: Instant) -> bool {
        while self.asked.front().is_some_and(|at| now.duration_since(*at) >= BUDGET_TIME) {
            self.asked.pop_front();
        }
        let may = self.asked.len() < BUDGET;
        if may {
            self.asked.push_back(now);
        }
        may
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

/// The names of the routers on `path` but of those that are `known`.
fn names(path: &Path, known: &[IpAddr]) -> HashMap<IpAddr, String> {
    let mut addresses: Vec<IpAddr> =
        path.hops.iter().flat_map(Hop::addresses).filter(|address| !known.contains(address)).collect();
    addresses.sort_unstable();
    addresses.dedup();
    if addresses.is_empty() {
        return HashMap::new();
    }
    let names = probe::names(&addresses, NAMES_PATIENCE);
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
/// So many paths may be looked for because of alerts ..
const BUDGET: usize = 12;
/// .. within this time.
const BUDGET_TIME: Duration = Duration::from_secs(60);
/// How long the routers' names may take, which are an ornament.
const NAMES_PATIENCE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_do_not_flood_the_network_with_traces() {
        let mut known = Known::default();
        let start = Instant::now();
        let asked = (0..100).filter(|_| known.may_ask(start)).count();
        assert_eq!(asked, BUDGET);
        assert!(!known.may_ask(start + BUDGET_TIME - Duration::from_millis(1)));
        assert!(known.may_ask(start + BUDGET_TIME));
    }

    /// A mail waits for it.
    #[test]
    fn a_path_and_its_names_take_less_than_three_seconds() {
        let TraceSettings { echoes, spacing, timeout, .. } = TraceSettings::default();
        assert!(spacing * u32::from(echoes) + timeout + NAMES_PATIENCE < Duration::from_secs(3));
    }

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
