//! The log: lines on standard error, with the local time unless a journal adds its own. `RUST_LOG` sets what it tells.

use std::fmt;
use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::time::SystemTime;

use latmon::guardian::{FromMonitor, Lifeline};
use latmon::time::UnixTime;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::prelude::*;

pub(crate) fn start() {
    start_with(None);
}

/// The same; the guardian hears of each line too, for the mail about our end.
pub(crate) fn start_with(guardian: Option<Arc<Lifeline>>) {
    let wanted = std::env::var("RUST_LOG").ok().and_then(|text| text.parse::<Targets>().ok());
    let filter = wanted.unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO));
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .with_timer(Stamp { shown: std::env::var_os("JOURNAL_STREAM").is_none() });
    let tail = guardian.map(|guardian| {
        tracing_subscriber::fmt::layer()
            .with_writer(move || Tail(Arc::clone(&guardian)))
            .with_ansi(false)
            .with_target(false)
            .with_timer(Stamp { shown: true })
    });
    tracing_subscriber::registry().with(lines).with(tail).with(filter).init();
}

/// Tells the guardian what is written: a line each time.
struct Tail(Arc<Lifeline>);

impl io::Write for Tail {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let line = String::from_utf8_lossy(bytes).trim_end().to_owned();
        self.0.tell(&FromMonitor::Log(line));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Stamp {
    shown: bool,
}

impl FormatTime for Stamp {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        if !self.shown {
            return Ok(());
        }
        let now = UnixTime::from(SystemTime::now()).local();
        write!(writer, "{} {}", now.civil.format("%Y-%m-%d %H:%M:%S"), now.zone)
    }
}
