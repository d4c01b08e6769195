//! `latmon mute` and `latmon unmute`: nothing is told of some targets for a while. With no monitor running the next one
//! finds the mute in the state of the last.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use latmon::monitor::control;
use latmon::monitor::hush::{self, Wish};
use latmon::privileges::{self, User};
use latmon::time::{UnixTime, parse_duration};

use super::settings::PlaceArgs;
use super::{Exit, Failure, output};

#[derive(clap::Args)]
pub(super) struct Args {
    /// Of whom nothing is told: a target, a group, a pattern as 'fra/*', or all
    #[arg(value_name = "TARGET|all")]
    name: String,
    /// For how long; what is still wrong then is told then
    #[arg(value_name = "DURATION", default_value = "2h")]
    lasts: String,
    /// What for, for whoever looks at the status
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    #[command(flatten)]
    place: PlaceArgs,
}

#[derive(clap::Args)]
pub(super) struct UnmuteArgs {
    /// The name that it was muted by, or all
    #[arg(value_name = "TARGET|all")]
    name: String,
    #[command(flatten)]
    place: PlaceArgs,
}

pub(super) fn mute(args: &Args) -> Result<Exit, Failure> {
    let lasts = parse_duration(&args.lasts, None).map_err(Failure::usage)?;
    if lasts < Duration::from_secs(1) {
        return Err(Failure::usage(format!("'{}' is over at once: write 2h, or 30m", args.lasts)));
    }
    let wish = Wish::Mute {
        name: named(&args.name)?,
        secs: lasts.as_secs(),
        by: who(),
        reason: text(&args.reason, "--reason")?,
    };
    grant(wish, &args.place)
}

pub(super) fn unmute(args: &UnmuteArgs) -> Result<Exit, Failure> {
    grant(Wish::Unmute { name: named(&args.name)? }, &args.place)
}

/// The running monitor does it; where none runs, its state is changed for the next.
fn grant(wish: Wish, place: &PlaceArgs) -> Result<Exit, Failure> {
    let config = place.look().map_err(Failure::usage)?;
    let dir = &config.data_dir.value;
    let done = match control::wish(dir, wish.clone()) {
        Ok(done) => done,
        Err(control::Error::NotRunning(_)) => {
            if !dir.is_dir() {
                return Err(Failure::failed(format!("the data folder {} is not there", dir.display())));
            }
            become_owner(dir)?;
            let targets = config.targets.iter().map(|target| target.target.name.as_str());
            let now = UnixTime::from(SystemTime::now());
            let done = hush::grant_in(dir, wish, targets, now).map_err(|error| match error {
                hush::Error::Refused(why) => Failure::usage(why),
                error => Failure::failed(error),
            })?;
            format!("{done}; no monitor is running in {}: it holds when one does", dir.display())
        }
        Err(control::Error::Refused(why)) => return Err(Failure::usage(why)),
        Err(error) => return Err(Failure::unknown(error)),
    };
    Ok(output::print(&format!("{done}\n")))
}

/// What root would write there, the monitor's own user could not replace.
fn become_owner(dir: &Path) -> Result<(), Failure> {
    let owner = std::fs::metadata(dir).map_err(Failure::failed)?.uid();
    if User::current().is_root() && owner != 0 {
        privileges::become_user(&User::numbered(owner)).map_err(Failure::failed)?;
    }
    Ok(())
}

/// Who asks: behind sudo the person who called it.
fn who() -> String {
    let person = std::env::var("SUDO_USER").ok().filter(|name| !name.is_empty());
    person.unwrap_or_else(|| User::current().name)
}

fn named(name: &str) -> Result<String, Failure> {
    let name = text(name, "the name")?;
    match glob::Pattern::new(&name) {
        Err(error) if name.contains(['*', '?']) => {
            Err(Failure::usage(format!("'{name}' is no pattern: {error}")))
        }
        _ => Ok(name),
    }
}

fn text(text: &str, what: &str) -> Result<String, Failure> {
    if text.chars().count() > LONGEST || text.chars().any(char::is_control) {
        return Err(Failure::usage(format!(
            "{what} is longer than {LONGEST} letters, or has control characters"
        )));
    }
    Ok(text.to_owned())
}

const LONGEST: usize = 200;
