//! When the mailer's thread works, and when it sleeps.

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, at, never, select};

use super::Orders;
use super::pass::Pass;

pub(super) struct Worker {
    pass: Pass,
    woken: Receiver<()>,
    stopped: Receiver<Instant>,
    /// An interface that comes and goes without end does not hammer at the server.
    next_by_route: Instant,
}

enum Wakeup {
    Due,
    Stop(Instant),
    Gone,
}

impl Worker {
    pub(super) fn new(pass: Pass, woken: Receiver<()>, stopped: Receiver<Instant>) -> Self {
        Self { pass, woken, stopped, next_by_route: Instant::now() }
    }

    pub(super) fn run(mut self) {
        loop {
            self.pass.send_waiting(None);
            match self.wait() {
                Wakeup::Due => {}
                Wakeup::Stop(until) => {
                    self.pass.retry.another_chance();
                    return self.pass.send_waiting(Some(until));
                }
                Wakeup::Gone => return,
            }
        }
    }

    /// Sleeps until something is due.
    fn wait(&mut self) -> Wakeup {
        loop {
            let write_down = self.pass.is_held_in_memory().then(|| Instant::now() + WRITE_AGAIN);
            let next = self.pass.retry.next().into_iter().chain(write_down).min();
            let timer = next.map_or_else(never, at);
            select! {
                recv(self.stopped) -> until => return until.map_or(Wakeup::Gone, Wakeup::Stop),
                recv(timer) -> _ => return Wakeup::Due,
                recv(self.woken) -> woken => match woken {
                    Ok(()) => {
                        self.obey();
                        // Hundreds of alerts may come while the server is down: they do not hammer at it either.
                        if !self.pass.retry.is_pausing(Instant::now()) {
                            return Wakeup::Due;
                        }
                    }
                    // The mailer was dropped; where it was stopped first, that is still to be read.
                    Err(_) => return self.stopped.try_recv().map_or(Wakeup::Gone, Wakeup::Stop),
                },
            }
        }
    }

    fn obey(&mut self) {
        let Orders { route_is_back, retry_all, retry } = self.pass.take_orders();
        let now = Instant::now();
        if retry_all {
            self.pass.retry.another_chance();
        }
        for file in retry {
            self.pass.retry.another_chance_for(&file);
        }
        if route_is_back {
            self.pass.first_server_again();
        }
        if route_is_back && self.pass.retry.waits_for_route() {
            self.pass.retry.route_is_back();
            if now < self.next_by_route {
                self.pass.retry.resume_at(self.next_by_route);
            }
            self.next_by_route = now.max(self.next_by_route) + BETWEEN_ROUTES;
        }
    }
}

/// How often what the disk did not take is offered to it again.
const WRITE_AGAIN: Duration = Duration::from_secs(10);
const BETWEEN_ROUTES: Duration = Duration::from_secs(3);
