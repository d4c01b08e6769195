//! The thread that knows the ways to all targets. It looks when there are new addresses and when the kernel says that
//! something has changed, and sleeps all other time; nothing here can hold up a probe.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tracing::{debug, warn};

use super::Anchors;
use super::kernel::{Asker, Changes, Links};
use super::ways::{From, Lay, Ways};
use crate::probe::{Bell, TargetSettings};

/// The thread, from the first address beyond this machine on: before, there is nothing to know.
pub(in crate::probe) struct Watch {
    /// What a thread is started with.
    plan: Option<Plan>,
    running: Option<Running>,
}

struct Plan {
    sources: Sources,
    anchors: Anchors,
    wake: Box<dyn Fn() + Send>,
}

struct Running {
    shared: Arc<Shared>,
    lays: Option<Receiver<Lay>>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread is told.
struct Shared {
    /// Addresses of targets that are new to it.
    addresses: Mutex<Vec<(u32, SocketAddr)>>,
    bell: Bell,
}

/// How the targets are to be reached: nearly all of them in the same way.
struct Sources {
    different: Vec<From>,
    places: Vec<u32>,
}

impl Watch {
    /// For `targets`; `wake` is called when there is something to take.
    pub(in crate::probe) fn new(
        targets: &[TargetSettings],
        anchors: &Anchors,
        wake: impl Fn() + Send + 'static,
    ) -> Self {
        let plan = Plan { sources: Sources::new(targets), anchors: anchors.clone(), wake: Box::new(wake) };
        Self { plan: Some(plan), running: None }
    }

    /// Notes the address of a target.
    pub(in crate::probe) fn set_address(&mut self, target: u32, address: SocketAddr) {
        if self.running.is_none() && !address.ip().is_loopback() {
            self.running = self.plan.take().and_then(|plan| {
                Running::start(plan)
                    .inspect_err(|error| {
                        warn!("our own uplink is not watched, nobody tells of routes: {error}")
                    })
                    .ok()
            });
        }
        // The kernel knows nothing of loopback that we do not, but an address may have been another before.
        if let Some(running) = &self.running {
            running.shared.addresses().push((target, address));
            running.shared.bell.ring();
        }
    }

    /// What is known now, where that is new.
    pub(in crate::probe) fn take(&self) -> Option<Lay> {
        self.running.as_ref()?.lays.as_ref()?.try_recv().ok()
    }
}

impl Running {
    fn start(Plan { sources, anchors, wake }: Plan) -> io::Result<Self> {
        let shared = Arc::new(Shared { addresses: Mutex::default(), bell: Bell::new()? });
        let (sender, lays) = bounded(1);
        let ways = Ways::new(sources.places.len(), anchors);
        let mut watcher = Watcher {
            shared: Arc::clone(&shared),
            // First, so that no change after the first look is missed.
            changes: Changes::new()?,
            asker: Asker::new()?,
            links: Links::default(),
            known: HashMap::new(),
            sources,
            ways,
            told: None,
            lays: sender,
            wake,
        };
        let thread = thread::Builder::new().name("latmon-uplink".to_owned()).spawn(move || watcher.run())?;
        Ok(Self { shared, lays: Some(lays), thread: Some(thread) })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shared.bell.stop();
        // It may just be handing something over.
        drop(self.lays.take());
        if let Some(thread) = self.thread.take() {
            // It has said what it panicked with, and nobody else needs it.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn addresses(&self) -> MutexGuard<'_, Vec<(u32, SocketAddr)>> {
        // A list of pairs is whole wherever a panic may have struck.
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sources {
    fn new(targets: &[TargetSettings]) -> Self {
        let mut different: Vec<From> = Vec::new();
        let mut known: HashMap<(Option<_>, Option<&str>), u32> = HashMap::new();
        let places = targets.iter().map(|TargetSettings { echo, .. }| {
            *known.entry((echo.source, echo.interface.as_deref())).or_insert_with(|| {
                different.push(From { source: echo.source, interface: echo.interface.clone() });
                different.len() as u32 - 1
            })
        });
        let places = places.collect();
        Self { different, places }
    }

    fn of(&self, target: u32) -> Option<&From> {
        self.different.get(*self.places.get(target as usize)? as usize)
    }
}

/// What the thread owns.
struct Watcher {
    shared: Arc<Shared>,
    changes: Changes,
    asker: Asker,
    links: Links,
    /// The addresses of targets, those that have one.
    known: HashMap<u32, SocketAddr>,
    sources: Sources,
    ways: Ways,
    told: Option<Lay>,
    lays: Sender<Lay>,
    wake: Box<dyn Fn() + Send>,
}

/// What has to be looked at.
#[derive(Clone, Copy, Default)]
struct Stale {
    links: bool,
    /// All routes, not those to new addresses alone.
    routes: bool,
}

impl Watcher {
    fn run(&mut self) {
        let mut stale = Stale { links: true, routes: false };
        let mut rested = Instant::now();
        while !self.shared.bell.is_stopped() {
            let begun = Instant::now();
            let all = stale.routes && begun >= rested;
            if let Err(error) = self.look(stale.links, all) {
                // What was known stays; the next change brings the next try.
                debug!("cannot ask for routes and links: {error}");
            }
            if !self.tell() {
                return;
            }
            stale = Stale { links: false, routes: stale.routes && !all };
            if all {
                // A router whose routes change all the time must not spend its time here.
                rested = Instant::now() + (begun.elapsed() * SHARE).max(LEAST_REST);
            }
            let timeout = stale.routes.then(|| rested.saturating_duration_since(Instant::now()));
            self.wait(timeout);
            match self.changes.take(&mut self.links) {
                // A link that goes down takes its IPv4 routes along without a word of them.
                Ok(some) => stale.routes |= some,
                Err(error) => {
                    debug!("some changes of routes and links are gone: {error}");
                    stale = Stale { links: true, routes: true };
                }
            }
        }
    }

    /// Sleeps until there is something to do, or so long.
    fn wait(&self, timeout: Option<Duration>) {
        let mut fds = [
            PollFd::new(self.shared.bell.event.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.changes.as_fd(), PollFlags::POLLIN),
        ];
        // A millisecond more: a wait that ends too early would be one for nothing.
        let timeout = timeout.map_or(PollTimeout::NONE, |it| {
            PollTimeout::try_from(it + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX)
        });
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => self.shared.bell.hush(),
            Err(errno) => panic!("poll on our own descriptors failed: {errno}"),
        }
    }

    fn look(&mut self, links: bool, all: bool) -> io::Result<()> {
        if links {
            self.asker.dump_links(&mut self.links)?;
        }
        let new = std::mem::take(&mut *self.shared.addresses());
        self.known.extend(new.iter().copied());
        let wanted = if all { self.known.iter().map(|(target, it)| (*target, *it)).collect() } else { new };
        wanted.into_iter().try_for_each(|(target, address)| self.ask(target, address))
    }

    fn ask(&mut self, target: u32, address: SocketAddr) -> io::Result<()> {
        let Some(from) = self.sources.of(target) else { return Ok(()) };
        let way = self.asker.way(address, from)?;
        if let Some(known) = self.ways.ways.get_mut(target as usize) {
            *known = Some(way);
        }
        Ok(())
    }

    /// Hands over what follows, if that is new; false when nobody takes it any more.
    fn tell(&mut self) -> bool {
        let lay = self.ways.lay(&self.links);
        if self.told.as_ref() == Some(&lay) {
            return true;
        }
        self.told = Some(lay.clone());
        let taken = self.lays.send(lay).is_ok();
        (self.wake)();
        taken
    }
}

/// So many times as long as a look at all routes took, none follows.
const SHARE: u32 = 100;
const LEAST_REST: Duration = Duration::from_millis(100);
