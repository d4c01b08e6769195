//! `latmon doctor`: tries everything that the monitor will need, and says of each what is wrong and what to do about it.
//! Exit code 1 when something fails; a warning alone is none.

mod adjtimex;
mod folder;
mod machine;
mod network;
mod post;
mod ways;

use std::fmt;

use latmon::config::Config;
use latmon::monitor::control;
use latmon::monitor::status::Status;
use latmon::privileges::{self, User};
use latmon::probe::{self, OpenSockets};

use super::settings::PlaceArgs;
use super::{Exit, Failure, output};

#[derive(clap::Args)]
pub(super) struct Args {
    /// Also send a test by every way of the settings: mail, webhooks and commands
    #[arg(long)]
    send_mail: bool,
    #[command(flatten)]
    place: PlaceArgs,
}

/// What one look found.
struct Finding {
    verdict: Verdict,
    /// What was looked at, in a word.
    about: &'static str,
    /// What was found, and what to do about it.
    text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Ok,
    /// It works, and something will be missed.
    Warn,
    /// It does not work.
    Fail,
}

impl Finding {
    fn ok(about: &'static str, text: impl Into<String>) -> Self {
        Self { verdict: Verdict::Ok, about, text: text.into() }
    }

    fn warn(about: &'static str, text: impl Into<String>) -> Self {
        Self { verdict: Verdict::Warn, about, text: text.into() }
    }

    fn fail(about: &'static str, text: impl Into<String>) -> Self {
        Self { verdict: Verdict::Fail, about, text: text.into() }
    }
}

impl fmt::Display for Finding {
    /// `WARN  gateway   192.0.2.1 never answers ping`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict {
            Verdict::Ok => "OK",
            Verdict::Warn => "WARN",
            Verdict::Fail => "FAIL",
        };
        // A text from outside may have lines.
        let text: Vec<&str> = self.text.split_whitespace().collect();
        write!(f, "{verdict:<4}  {:<8}  {}", self.about, text.join(" "))
    }
}

/// What is known before anything is tried.
struct Patient {
    config: Config,
    /// As the monitor would have them.
    sockets: Result<OpenSockets, probe::Error>,
    /// The monitor that runs in the data folder, if it answers.
    running: Result<Status, control::Error>,
    /// Who this process is.
    me: User,
    /// Who records, as far as can be told; `None` for a user who does not exist.
    service: Option<User>,
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    let mut report = Report { failed: false, ended: None };
    if let Some(patient) = admit(args, &mut report) {
        for look in LOOKS {
            look(&patient).iter().for_each(|finding| report.tell(finding));
        }
        report.tell(&post::mail(&patient.config, args.send_mail));
        post::fallback(&patient.config).iter().for_each(|finding| report.tell(finding));
        for way in &patient.config.ways {
            report.tell(&ways::way(way, &patient, args.send_mail));
        }
    }
    Ok(match report.ended {
        Some(exit) => exit,
        None if report.failed => Exit::Unwell,
        None => Exit::Done,
    })
}

/// Each takes its time; what it found is shown at once.
const LOOKS: [fn(&Patient) -> Vec<Finding>; 7] = [
    |patient| vec![machine::user(patient)],
    network::sockets,
    folder::data,
    |_| vec![machine::clock()],
    |_| vec![machine::zone()],
    |patient| vec![network::names(patient)],
    |patient| vec![network::gateway(patient)],
];

struct Report {
    failed: bool,
    /// Standard output is gone, and the rest for nobody.
    ended: Option<Exit>,
}

impl Report {
    fn tell(&mut self, finding: &Finding) {
        self.failed |= finding.verdict == Verdict::Fail;
        if self.ended.is_none() && output::print(&format!("{finding}\n")) != Exit::Done {
            self.ended = Some(Exit::Failed);
        }
    }
}

/// Reads the settings; without those of mail where these are what is wrong.
fn admit(args: &Args, report: &mut Report) -> Option<Patient> {
    let config = match args.place.load() {
        Ok(config) => {
            let file =
                config.file.as_ref().map_or_else(|| "no file".to_owned(), |file| file.display().to_string());
            let targets = config.targets.len();
            let noun = if targets == 1 { "target" } else { "targets" };
            report.tell(&Finding::ok("settings", format!("{file}, {targets} {noun}")));
            config.warnings.iter().for_each(|warning| report.tell(&Finding::warn("settings", warning)));
            config
        }
        Err(error) => {
            report.tell(&Finding::fail("settings", error.to_string()));
            args.place.look().ok()?
        }
    };
    let sockets = OpenSockets::open(&config.probe);
    // For those that are asked later on, when names and packets of strangers were read.
    probe::keep_spares(probe::open_spares());
    if let Err(error) = privileges::drop_capabilities() {
        report.tell(&Finding::fail("sockets", error.to_string()));
    }
    let running = control::status(&config.data_dir.value);
    let me = User::current();
    let service = match &config.user {
        Some(user) => User::named(&user.value).ok(),
        None => match &running {
            Ok(status) => machine::owner_of(status.pid).or_else(|| Some(me.clone())),
            Err(_) => Some(me.clone()),
        },
    };
    Some(Patient { config, sockets, running, me, service })
}

/// `12.3 MB`, in thousands of thousands, as disks are sold.
struct Bytes(u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 as f64 {
            bytes if bytes < 1e9 => write!(f, "{:.1} MB", bytes / 1e6),
            bytes if bytes < 1e12 => write!(f, "{:.1} GB", bytes / 1e9),
            bytes => write!(f, "{:.1} TB", bytes / 1e12),
        }
    }
}
