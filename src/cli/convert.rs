//! `latmon convert`: gives an archive another shape, and keeps the original.

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Args as ClapArgs, ValueEnum};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use latmon::archive::{self, ConvertError, Converted, Kept, Median, Shape};
use latmon::time::{Step, Unit, parse_duration};

use super::{Exit, Failure, log, output};

#[derive(ClapArgs)]
pub(super) struct Args {
    /// The archive; the old one is kept as FILE.before
    file: PathBuf,
    /// The length of a round [default: as it is]
    #[arg(long, value_name = "DURATION", value_parser = step)]
    step: Option<Step>,
    /// The pings of a round [default: as they are]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pings: Option<u16>,
    /// The rows it keeps: default, or a list as rrdtool has it, as AVERAGE:0.5:1m:10d,MAX:0.5:1h:1y [default: as they
    /// are]
    #[arg(long, value_name = "LIST")]
    archives: Option<String>,
    /// Give it the forecast that a rule with when = "aberrant" asks for
    #[arg(long)]
    forecast: bool,
    /// Take this data source of an older script's archive as the median
    #[arg(long, value_name = "DATA-SOURCE")]
    from: Option<String>,
    /// The unit of that data source
    #[arg(long, value_enum, requires = "from", default_value_t = UnitArg::S)]
    unit: UnitArg,
}

#[derive(Clone, Copy, ValueEnum)]
enum UnitArg {
    /// Seconds
    S,
    /// Milliseconds
    Ms,
    /// Microseconds
    Us,
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    let archives = match args.archives.as_deref().map(str::trim) {
        None => Kept::AsTheyAre,
        Some("default") => Kept::Default,
        Some(list) => Kept::Listed(list.split(',').map(str::to_owned).collect()),
    };
    let unit_secs = match args.unit {
        UnitArg::S => 1.0,
        UnitArg::Ms => 1e-3,
        UnitArg::Us => 1e-6,
    };
    let median = args.from.clone().map(|data_source| Median { data_source, unit_secs });
    let shape = Shape { step: args.step, pings: args.pings, archives, forecast: args.forecast, median };
    log::start();
    let mut bar = Bar::new();
    let converted = archive::convert(&args.file, &shape, |done, of| bar.show(done, of));
    bar.clear();
    let file = args.file.display();
    let line = match converted.map_err(failure)? {
        Converted::WasSo(rhythm) => {
            format!("{file}: nothing to do, its step is {} with {} pings\n", rhythm.step, rhythm.pings)
        }
        Converted::Done { before, rhythm } => format!(
            "{file}: now a step of {} with {} pings; as it was: {}\n",
            rhythm.step,
            rhythm.pings,
            before.display()
        ),
    };
    Ok(output::print(&line))
}

fn failure(error: ConvertError) -> Failure {
    match error {
        ConvertError::NotListed { .. }
        | ConvertError::Listed { .. }
        | ConvertError::NoDataSource { .. }
        | ConvertError::NeedsMedian { .. } => Failure::usage(error),
        error => Failure::failed(error),
    }
}

fn step(text: &str) -> Result<Step, &'static str> {
    const LONGEST: Duration = Duration::from_secs(86_400);
    parse_duration(text, Some(Unit::Secs))
        .ok()
        .filter(|duration| *duration <= LONGEST)
        .and_then(Step::from_duration)
        .ok_or("write whole seconds from 1s to 1d, as 60s or 5m")
}

/// How far it is, on a terminal, where it takes long.
struct Bar {
    began: Instant,
    bar: Option<ProgressBar>,
}

impl Bar {
    /// What is done before is not worth a bar.
    const PATIENCE: Duration = Duration::from_millis(400);

    fn new() -> Self {
        Self { began: Instant::now(), bar: None }
    }

    fn show(&mut self, done: u64, of: u64) {
        if self.bar.is_none() && self.began.elapsed() > Self::PATIENCE {
            let target = if io::stderr().is_terminal() {
                ProgressDrawTarget::stderr()
            } else {
                ProgressDrawTarget::hidden()
            };
            let style = ProgressStyle::with_template("{wide_bar} {percent:>3} %  {eta} left")
                .expect("the template holds");
            self.bar = Some(ProgressBar::with_draw_target(Some(of), target).with_style(style));
        }
        if let Some(bar) = &self.bar {
            bar.set_position(done);
        }
    }

    fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
