//! Hears of every panic in this process, whichever thread it is in: a monitor without its prober, its composer or its
//! mailer must not go on in silence.

use std::panic::{self, PanicHookInfo};
use std::sync::Arc;
use std::thread;

use crossbeam_channel::{Receiver, bounded};

type Hook = dyn Fn(&PanicHookInfo<'_>) + Send + Sync;

/// Hears of panics as long as it lives; what else hears of them (the standard message on standard error) still does.
pub(super) struct Panics {
    some: Receiver<()>,
    first: Receiver<String>,
    before: Arc<Hook>,
}

impl Panics {
    pub(super) fn watch() -> Self {
        // The first panic is the one that matters; the others follow from it.
        let (tell_some, some) = bounded(1);
        let (tell_first, first) = bounded(1);
        let before: Arc<Hook> = Arc::from(panic::take_hook());
        let usual = Arc::clone(&before);
        panic::set_hook(Box::new(move |info| {
            usual(info);
            let _ = tell_first.try_send(text(info));
            let _ = tell_some.try_send(());
        }));
        Self { some, first, before }
    }

    /// Receives once there was a panic.
    pub(super) fn some(&self) -> &Receiver<()> {
        &self.some
    }

    /// The first panic: the thread, the place and the message.
    pub(super) fn first(&self) -> String {
        self.first.try_recv().unwrap_or_else(|_| "a part of it ended by itself".to_owned())
    }
}

impl Drop for Panics {
    fn drop(&mut self) {
        if thread::panicking() {
            // A hook cannot be changed now, and the process is about to end.
            return;
        }
        let before = Arc::clone(&self.before);
        panic::set_hook(Box::new(move |info| before(info)));
    }
}

/// `thread 'composer' at src/graph/mod.rs:12: index out of bounds`
fn text(info: &PanicHookInfo<'_>) -> String {
    let thread = thread::current();
    let place = info.location().map(|at| format!(" at {}:{}", at.file(), at.line())).unwrap_or_default();
    let message = info.payload_as_str().unwrap_or("a panic without a message");
    format!("thread '{}'{place}: {message}", thread.name().unwrap_or("unnamed"))
}
