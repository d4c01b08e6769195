//! The thread behind the TUN device: it reads requests, asks the hosts what to do, and sends what is due.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::fs::File;
use std::io::{ErrorKind, PipeReader, PipeWriter, Read, Write};
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};

use super::behaviour::{Behaviour, Host, Plan};
use super::log::{Entry, Reply, What};
use super::namespace;
use super::wire::{EchoRequest, Form};

/// The running far end; it stops when it is dropped, and what was still to be sent is not.
pub(super) struct FarEnd {
    shared: Arc<Shared>,
    /// Closing it is the sign to stop.
    alive: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

/// What the test and the thread of the far end share.
pub(super) struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    spin: AtomicBool,
}

#[derive(Default)]
pub(super) struct State {
    hosts: HashMap<IpAddr, Host>,
    pub log: Vec<Entry>,
}

impl FarEnd {
    pub(super) fn start(tun: File) -> Self {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            changed: Condvar::new(),
            spin: AtomicBool::new(false),
        });
        let (stop, alive) = std::io::pipe().expect("a pipe");
        let responder = Responder {
            tun,
            stop,
            shared: Arc::clone(&shared),
            schedule: Schedule::default(),
            pasts: HashMap::new(),
        };
        let ready = Arc::new(Barrier::new(2));
        let far_end = Arc::clone(&ready);
        let thread = std::thread::Builder::new().name("far end".into()).spawn(move || {
            namespace::hurry();
            far_end.wait();
            responder.run();
        });
        let thread = thread.expect("a thread");
        // On a busy machine a new thread may have to wait for its first turn, and the first request with it.
        ready.wait();
        Self { shared, alive: Some(alive), thread: Some(thread) }
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    pub(super) fn set_host(&self, address: IpAddr, behaviour: Behaviour) {
        self.shared.read().hosts.insert(address, Host::new(behaviour));
    }

    pub(super) fn set_spin(&self, spin: bool) {
        self.shared.spin.store(spin, Ordering::Relaxed);
    }
}

impl Drop for FarEnd {
    fn drop(&mut self) {
        drop(self.alive.take());
        let ended = self.thread.take().map(JoinHandle::join);
        if matches!(ended, Some(Err(_))) && !std::thread::panicking() {
            panic!("the far end of the test's network panicked: see above");
        }
    }
}

impl Shared {
    pub(super) fn read(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the log is as wanted; false when it is not within `limit`.
    pub(super) fn wait_until(&self, limit: Duration, mut wanted: impl FnMut(&[Entry]) -> bool) -> bool {
        let (_state, result) = self
            .changed
            .wait_timeout_while(self.read(), limit, |state| !wanted(&state.log))
            .unwrap_or_else(PoisonError::into_inner);
        !result.timed_out()
    }
}

struct Responder {
    tun: File,
    stop: PipeReader,
    shared: Arc<Shared>,
    schedule: Schedule,
    pasts: HashMap<IpAddr, Past>,
}

/// What a host has to remember of the request before.
#[derive(Default)]
struct Past {
    payload: Vec<u8>,
    held: Option<Held>,
}

/// What waits until the next request to the same host has its packets.
struct Held {
    entry: usize,
    packets: Vec<(Form, Vec<u8>)>,
}

/// The packets that wait for their time.
#[derive(Default)]
struct Schedule {
    waiting: BinaryHeap<Reverse<Waiting>>,
    /// How many there ever were: what is due at the same time leaves in the order of planning.
    planned: u64,
}

/// Ordered by the first two fields, of which the second is unique.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Waiting {
    due: Instant,
    number: u64,
    entry: usize,
    reply: usize,
    packet: Vec<u8>,
}

/// With spinning, how long before a packet is due the waiting turns into a busy loop.
const SPUN: Duration = Duration::from_micros(300);

impl Responder {
    fn run(mut self) {
        let mut buffer = vec![0; 65536];
        loop {
            self.send_due();
            match self.tun.read(&mut buffer) {
                Ok(length) => self.take(&buffer[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if !self.wait() {
                        return;
                    }
                }
                Err(error) => panic!("reading from the TUN device: {error}"),
            }
        }
    }

    /// Waits for a request or until a packet is due; false when it is time to stop.
    fn wait(&self) -> bool {
        let spun = if self.shared.spin.load(Ordering::Relaxed) { SPUN } else { Duration::ZERO };
        let left = self.schedule.next().map(|due| {
            let left = due.saturating_duration_since(Instant::now());
            left.saturating_sub(spun).into()
        });
        let mut files = [
            PollFd::new(self.tun.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.stop.as_fd(), PollFlags::POLLIN),
        ];
        match ppoll(&mut files, left, None) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => panic!("ppoll: {errno}"),
        }
        files[1].revents().is_none_or(|events| events.is_empty())
    }

    /// Sends what is due. The device refuses packets while it is down; those are never marked as sent.
    fn send_due(&mut self) {
        while let Some(due) = self.schedule.take_due(Instant::now()) {
            // Whoever has the packet and looks into the log then finds it there.
            let mut state = self.shared.read();
            let now = Instant::now();
            let sent = self.tun.write(&due.packet).is_ok();
            let entry = &mut state.log[due.entry];
            let after = now.saturating_duration_since(entry.at);
            entry.replies[due.reply].sent = sent.then_some(after);
            self.shared.changed.notify_all();
        }
    }

    /// Logs a request, and plans what it gets.
    fn take(&mut self, packet: &[u8]) {
        let (at, wall) = (Instant::now(), SystemTime::now());
        let Some(request) = EchoRequest::parse(packet) else { return };
        let mut state = self.shared.read();
        let plan = match state.hosts.get_mut(&request.destination) {
            _ if !request.checksum_fits => Plan::nothing(What::Malformed),
            None => Plan::nothing(What::Nobody),
            Some(host) => host.plan(request.ttl),
        };
        let entry = state.log.len();
        state.log.push(logged(&request, plan.what, at, wall));

        let past = self.pasts.entry(request.destination).or_default();
        let packets =
            plan.replies.iter().map(|(form, _)| (*form, request.reply(*form, &past.payload))).collect();
        past.payload = request.payload;
        if plan.held {
            past.held = Some(Held { entry, packets });
            return self.shared.changed.notify_all();
        }
        let dues = plan.replies.iter().map(|(_, delay)| at + *delay);
        let last = dues.clone().max().unwrap_or(at);
        for ((form, packet), due) in packets.into_iter().zip(dues) {
            self.schedule.push(&mut state.log, entry, form, packet, due);
        }
        if let Some(Held { entry, packets }) = past.held.take() {
            for (form, packet) in packets {
                self.schedule.push(&mut state.log, entry, form, packet, last);
            }
        }
        self.shared.changed.notify_all();
    }
}

fn logged(request: &EchoRequest, what: What, at: Instant, wall: SystemTime) -> Entry {
    Entry {
        at,
        wall,
        source: request.source,
        destination: request.destination,
        identifier: request.identifier,
        sequence: request.sequence,
        ttl: request.ttl,
        traffic_class: request.traffic_class,
        dont_fragment: request.dont_fragment,
        payload: request.payload.clone(),
        what,
        replies: Vec::new(),
    }
}

impl Schedule {
    fn push(&mut self, log: &mut [Entry], entry: usize, form: Form, packet: Vec<u8>, due: Instant) {
        let Entry { at, replies, .. } = &mut log[entry];
        let reply = replies.len();
        replies.push(Reply { form, due: due.saturating_duration_since(*at), sent: None });
        self.waiting.push(Reverse(Waiting { due, number: self.planned, entry, reply, packet }));
        self.planned += 1;
    }

    /// When the next packet is due.
    fn next(&self) -> Option<Instant> {
        self.waiting.peek().map(|Reverse(next)| next.due)
    }

    fn take_due(&mut self, now: Instant) -> Option<Waiting> {
        self.next().filter(|due| *due <= now)?;
        self.waiting.pop().map(|Reverse(next)| next)
    }
}
