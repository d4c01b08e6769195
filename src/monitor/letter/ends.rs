//! What is said of the monitor itself: that it stopped, died, or was not watching.

use std::path::Path;
use std::time::Duration;

use super::page::{Block, Page, Post, Row, Side, Table};
use super::words::{stamp, title};
use crate::mail::Message;
use crate::monitor::ends::{Death, Next};
use crate::monitor::{End, Settings};
use crate::time::{Lasted, UnixTime};

/// The mail that says that the monitoring itself has ended.
pub(in crate::monitor) fn exit(settings: &Settings, end: &End, started: UnixTime, now: UnixTime) -> Message {
    let (did, reason) = match end {
        End::Told(what) => ("stopped", format!("It was told to stop: {what}.")),
        End::Orphaned => ("stopped", "Its guardian is gone.".to_owned()),
        End::Panicked(reason) => ("crashed", format!("It ended by a fault of its own: {reason}.")),
    };
    let targets = &settings.probe.targets;
    let ran = now.since(started).unwrap_or(Duration::ZERO);
    let watched: Vec<String> = targets.iter().take(NAMED).map(|target| title(&target.target)).collect();
    let more = targets.len().saturating_sub(watched.len());
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let page = Page {
        word: "STOPPED",
        headline: format!("the monitor on {} has {did}, please restart it", settings.host),
        blocks: vec![
            Block::Words(format!("{reason} {NOTHING_IS_MEASURED}")),
            restart(&settings.host),
            Block::Facts(vec![
                ("stopped", stamp(now)),
                ("ran", format!("{}, since {}", Lasted(ran), stamp(started))),
                ("data", settings.archive.data_dir.display().to_string()),
                ("targets", format!("{}{more}", watched.join(", "))),
            ]),
        ],
    };
    page.into_message(Post::news(exit_key(settings.exit.run.unwrap_or(started)), now), &settings.host)
}

/// The mail that says that nobody was watching since `last`, the last sign of life of a run that could not say so itself.
pub(in crate::monitor) fn gap(settings: &Settings, last: UnixTime, started: UnixTime) -> Message {
    let host = &settings.host;
    let lasted = Lasted(started.since(last).unwrap_or(Duration::ZERO));
    let page = Page {
        word: "GAP",
        headline: format!("the monitor on {host} was not watching for {lasted}"),
        blocks: vec![
            Block::Words(
                "It watches again. It had ended without a word: its machine lost power, or all of it was killed. What \
                 happened meanwhile was not measured, and nobody was told."
                    .to_owned(),
            ),
            Block::Facts(vec![
                ("from", format!("{}, the last sign of life", stamp(last))),
                ("to", format!("{}, after {lasted}", stamp(started))),
                ("data", settings.archive.data_dir.display().to_string()),
            ]),
        ],
    };
    page.into_message(Post::news(format!("monitor-gap-{}", last.micros()), started), host)
}

/// The mail about `newest`, a death on the machine called `host`; no mail told those `before` it, nor `more` besides.
pub(in crate::monitor) fn death(
    newest: &Death,
    before: &[Death],
    more: u64,
    data_dir: &Path,
    host: &str,
) -> Message {
    let Death { reason, at, started, next, .. } = newest;
    let (word, what, now) = match next {
        Next::Again { secs } => (
            "RESTARTED",
            "starts again",
            format!(
                "It starts again {} later; what fell due meanwhile was not measured.",
                Lasted(Duration::from_secs(*secs))
            ),
        ),
        Next::Never => ("STOPPED", "please restart it", NOTHING_IS_MEASURED.to_owned()),
        Next::Repaired => (
            "RESTARTED",
            "goes on",
            "It goes on with a new guardian. Of the rounds that were running, the pings before that count as unknown."
                .to_owned(),
        ),
        Next::Managed => {
            ("RESTARTED", "starts again", "The service manager starts all of it again.".to_owned())
        }
    };
    let mut blocks = vec![Block::Words(format!("The monitor on {host} {reason}. {now}"))];
    if *next == Next::Never {
        blocks.push(restart(host));
    }
    let ran = at.since(*started).unwrap_or_default();
    blocks.push(Block::Facts(vec![
        ("ended", stamp(*at)),
        ("ran", format!("{}, since {}", Lasted(ran), stamp(*started))),
        ("data", data_dir.display().to_string()),
    ]));
    if !before.is_empty() {
        let title = match before.len() as u64 + more {
            1 => "Before that it ended once more, which no mail told".to_owned(),
            count => format!("Before that it ended {count} more times, which no mail told"),
        };
        let unlisted = format!("{more} times, which are not listed, and");
        let listed = before.iter().map(|death| format!("{}  it {}", stamp(death.at), death.reason));
        blocks.push(lines(title, (more > 0).then_some(unlisted).into_iter().chain(listed)));
    }
    if !newest.log.is_empty() {
        blocks.push(lines("The last lines of its log".to_owned(), newest.log.iter().cloned()));
    }
    let short = reason.split([':', ',']).next().unwrap_or(reason);
    let page = Page { word, headline: format!("the monitor on {host} {short}, {what}"), blocks };
    page.into_message(Post::news(newest.key.clone(), *at), host)
}

/// The key of the mail about the end of a run: each has one, whoever writes it.
pub fn exit_key(run: UnixTime) -> String {
    format!("monitor-exit-{}", run.micros())
}

/// What the reader of a last mail does.
fn restart(host: &str) -> Block {
    Block::Command {
        purpose: format!("Please restart the monitor on {host} (where it is no service, by 'latmon run')"),
        command: "systemctl start latmon".to_owned(),
    }
}

fn lines(title: String, lines: impl Iterator<Item = String>) -> Block {
    let row = |line| Row { cells: vec![line], ..Row::default() };
    Block::Table(Table { title, sides: vec![Side::Left], rows: lines.map(row).collect() })
}

const NOTHING_IS_MEASURED: &str = "Nothing is measured, and no alert will come, until it is started again.";
/// How many targets a mail about the monitor itself names.
const NAMED: usize = 20;
