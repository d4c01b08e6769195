//! `latmon outbox`: what waits to be sent, and what people do about it. With a monitor running it is asked; without one
//! the folder is opened here.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use latmon::mail::{self, Outbox};
use latmon::monitor::control::outbox::{Item, SEND_WITHIN, discard, list};
use latmon::monitor::control::{self, Error};
use latmon::time::UnixTime;

use super::settings::PlaceArgs;
use super::{Exit, Failure, output};

#[derive(clap::Args)]
pub(super) struct Args {
    /// What to do [default: show what waits]
    #[arg(value_enum)]
    action: Option<Action>,
    /// What it is done to: ids as they are shown, or 'all', which retry takes where nothing is named
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    /// One JSON list, on one line
    #[arg(long, conflicts_with = "action")]
    json: bool,
    #[command(flatten)]
    place: PlaceArgs,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Action {
    /// Try at once to send it
    Retry,
    /// Take it out: it is not sent any more
    Drop,
    /// Send what waits without a monitor, and end
    Send,
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    let config = args.place.look().map_err(Failure::usage)?;
    let data_dir = &config.data_dir.value;
    let ids = args.ids.clone();
    match args.action {
        None => show(args, data_dir),
        Some(Action::Drop) if ids.is_empty() => {
            Err(Failure::usage("what is to be dropped? name it by its id, or 'all'"))
        }
        Some(Action::Drop) => {
            let dropped = match control::discard(data_dir, ids.clone()) {
                Err(Error::NotRunning(_)) => {
                    discard(&open(data_dir)?, &ids, false).map_err(Failure::failed)?
                }
                dropped => dropped.map_err(Failure::failed)?,
            };
            Ok(output::print(&format!("dropped: {dropped}\n")))
        }
        Some(Action::Retry) => {
            let ids = if ids.is_empty() { vec!["all".to_owned()] } else { ids };
            match control::retry(data_dir, ids) {
                Err(Error::NotRunning(_)) => send(args, data_dir),
                tried => {
                    let tried = tried.map_err(Failure::failed)?;
                    Ok(output::print(&format!("the running monitor tries at once: {tried}\n")))
                }
            }
        }
        Some(Action::Send) => send(args, data_dir),
    }
}

fn show(args: &Args, data_dir: &Path) -> Result<Exit, Failure> {
    let items = match control::outbox(data_dir) {
        Err(Error::NotRunning(_)) if !data_dir.join("outbox").is_dir() => Vec::new(),
        Err(Error::NotRunning(_)) => {
            // Who may not read the password may read the outbox; who the recipients are then stays open.
            let mail = args.place.load().ok().and_then(|config| config.mail);
            list(&open(data_dir)?, mail.as_ref(), None).map_err(Failure::failed)?
        }
        items => items.map_err(Failure::failed)?,
    };
    let text = if args.json {
        serde_json::to_string(&items).expect("a list of texts and numbers is JSON") + "\n"
    } else {
        page(&items, UnixTime::from(SystemTime::now()))
    };
    Ok(output::print(&text))
}

/// Sends what waits from here, while no monitor does.
fn send(args: &Args, data_dir: &Path) -> Result<Exit, Failure> {
    let config = args.place.load().map_err(Failure::usage)?;
    let Some(settings) = &config.mail else {
        return Err(Failure::usage("nobody is to be mailed: write [mail] in latmon.toml"));
    };
    let until = Instant::now() + SEND_WITHIN;
    let done = mail::send_waiting(&open(data_dir)?, settings, until).map_err(Failure::failed)?;
    let why = done.why.map(|why| format!(": {why}")).unwrap_or_default();
    let printed = output::print(&format!("sent: {}, still waiting: {}{why}\n", done.sent, done.waiting));
    Ok(if printed == Exit::Done && done.waiting > 0 { Exit::Failed } else { printed })
}

fn open(data_dir: &Path) -> Result<Outbox, Failure> {
    if !data_dir.is_dir() {
        return Err(Failure::failed(format!("there is no folder {}", data_dir.display())));
    }
    Outbox::open(data_dir).map_err(Failure::failed)
}

fn page(items: &[Item], now: UnixTime) -> String {
    if items.is_empty() {
        return "nothing waits to be sent\n".to_owned();
    }
    let mut text = String::new();
    for item in items {
        let since = UnixTime::from_secs(item.since);
        let waited = latmon::time::Lasted(now.since(since).unwrap_or(Duration::ZERO));
        let clock = since.local().civil.format("%Y-%m-%d %H:%M:%S");
        let to = if item.to.is_empty() { "whom the settings name".to_owned() } else { item.to.join(", ") };
        let _ = writeln!(text, "{}  {clock} ({waited})  {}", item.id, item.subject);
        if item.kind == "mail" || !item.to.is_empty() {
            let _ = writeln!(text, "        to {to}");
        }
        if !item.taken.is_empty() {
            let _ = writeln!(text, "        has arrived at {}", item.taken.join(", "));
        }
        for why in &item.why {
            let _ = writeln!(text, "        {why}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_says_what_waits_since_when_for_whom_and_why() {
        let item = Item {
            id: "a1b2c3".into(),
            kind: "mail".into(),
            since: 1_763_985_600,
            subject: "[latmon] DOWN: core1".into(),
            to: vec!["boss@example.org".into()],
            taken: vec!["noc@example.org".into()],
            why: vec!["s:25: refused the recipient boss@example.org: 550 no".into()],
        };
        let at = UnixTime::from_secs(item.since).local().civil.format("%Y-%m-%d %H:%M:%S").to_string();
        let to = vec!["webhook:slack".into()];
        let other = Item { kind: "post".into(), to, why: Vec::new(), taken: Vec::new(), ..item.clone() };
        let shown = page(&[item, other], UnixTime::from_secs(1_763_985_600 + 47 * 60));
        let expected = format!(
            "\
a1b2c3  {at} (47 min)  [latmon] DOWN: core1
        to boss@example.org
        has arrived at noc@example.org
        s:25: refused the recipient boss@example.org: 550 no
a1b2c3  {at} (47 min)  [latmon] DOWN: core1
        to webhook:slack
"
        );
        assert_eq!(shown, expected);
        assert_eq!(page(&[], UnixTime::from_secs(0)), "nothing waits to be sent\n");
    }
}
