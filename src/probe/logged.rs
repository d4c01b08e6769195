//! What the log is told, for tests.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

/// Everything that `run` logs in its own thread.
pub(super) fn logged(run: impl FnOnce()) -> String {
    let log = Log::default();
    let writer = log.clone();
    let subscriber =
        tracing_subscriber::fmt().with_ansi(false).without_time().with_writer(move || writer.clone());
    tracing::subscriber::with_default(subscriber.finish(), run);
    let bytes = log.0.lock().expect("nobody panics").clone();
    String::from_utf8(bytes).expect("the log is text")
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("nobody panics").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
