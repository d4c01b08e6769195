//! The log: lines on standard error, with the local time unless a journal adds its own. `RUST_LOG` sets what it tells.

use std::fmt;
use std::io::IsTerminal;
use std::time::SystemTime;

use latmon::time::UnixTime;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::prelude::*;

pub(crate) fn start() {
    let wanted = std::env::var("RUST_LOG").ok().and_then(|text| text.parse::<Targets>().ok());
    let filter = wanted.unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO));
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .with_timer(Stamp { shown: std::env::var_os("JOURNAL_STREAM").is_none() });
    tracing_subscriber::registry().with(lines).with(filter).init();
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
