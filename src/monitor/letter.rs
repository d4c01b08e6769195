//! What mails say, in the order in which a person on call wants it: what is wrong and since when; usual against now; who
//! says so and what it looks like; the path; the others; loss round by round; how to silence it. Pure: events, pasts and
//! paths in, pages out.

mod also;
mod html;
mod others;
mod page;
mod path;
mod words;

use std::time::Duration;

use super::paths::Sighting;
use super::status::Standing;
use super::{End, Settings};
use crate::alert::{Event, EventKind, Notice, Severity, Story, Trouble};
use crate::graph::Mark;
use crate::history::History;
use crate::mail::Message;
use crate::time::{Lasted, Step, UnixTime};
pub(super) use others::is_alike;
pub(super) use page::{Block, Page, Post, Row, Side, Table};
use words::{asked, clock, count, measured, percent, predicate, since, status_word, usual, worst};
pub(super) use words::{log_line, stamp, title};

/// What is known around one event when its mail is written.
#[derive(Debug, Default)]
pub(super) struct Around {
    /// The target's last day.
    pub(super) past: Option<History>,
    /// The path to it, where that was to be looked for.
    pub(super) sighting: Option<Sighting>,
    /// The nearest router that all targets in the same trouble lie behind, and none that is well.
    pub(super) shared: Option<String>,
    /// The other targets.
    pub(super) others: Vec<Standing>,
    /// The number of the picture of its past, from 1, where the mail has one.
    pub(super) picture: Option<usize>,
}

/// The mail about a notice, without its pictures. `around` belongs to its events, as many of them, from the first, as are
/// looked at closely.
pub(super) fn of_notice(notice: &Notice, around: &[Around], host: &str) -> Message {
    let nothing = Around::default();
    let first = around.first().unwrap_or(&nothing);
    let mut page = match &notice.story {
        Story::Alert(event) => alert(event, first, host),
        Story::Together { events, of, behind } => {
            together(events, *of, behind.as_deref(), around, notice.at, host)
        }
        Story::Flapping { event, others, changes, since } => {
            flapping(event, others, *changes, *since, first, host)
        }
        Story::Steady { event, others, changes, since } => {
            steady(event, others, *changes, *since, first, host)
        }
        Story::Digest { events, more, since } => digest(events, *more, *since, host),
        Story::Offline { since, why } => offline(*since, why, notice.at, host),
        Story::Online { since, lasted, why } => online(*since, *lasted, why, host),
    };
    also::add(&mut page.blocks, &notice.also);
    let is_news = notice.answers.is_none();
    let post = Post {
        key: notice.key.clone(),
        in_reply_to: notice.answers.clone(),
        is_urgent: is_news && notice.severity == Severity::Critical,
        date: notice.at,
    };
    page.into_message(post, host)
}

/// The span of an event in the picture of its target, whose rounds last a `step`.
pub(super) fn mark(event: &Event, step: Step) -> Mark {
    // Since is when the first bad round ended.
    let from = event.since.minus(step.duration());
    let (word, until) = match (event.kind, event.trouble) {
        (EventKind::Cleared { lasted }, _) => ("alert from", from.plus(lasted)),
        (_, Trouble::Down) => ("down since", event.at),
        (_, Trouble::Slow) => ("slow since", event.at),
        (_, Trouble::Lossy) => ("lossy since", event.at),
    };
    Mark { from, until, label: format!("{word} {}", event.since.local().civil.format("%H:%M")) }
}

/// The mail that says that the monitoring itself has ended.
pub(super) fn exit(settings: &Settings, end: &End, started: UnixTime, now: UnixTime) -> Message {
    let (reason, did) = match end {
        End::Told(what) => (format!("It was told to stop: {what}."), "stopped"),
        End::Orphaned => ("Its guardian is gone.".to_owned(), "stopped"),
        End::Panicked(reason) => (format!("It ended by a fault of its own: {reason}."), "crashed"),
    };
    let targets = &settings.probe.targets;
    let ran = now.since(started).unwrap_or(Duration::ZERO);
    let watched: Vec<String> = targets.iter().take(20).map(|target| title(&target.target)).collect();
    let more = targets.len().saturating_sub(watched.len());
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let page = Page {
        word: "STOPPED",
        headline: format!("the monitor on {} has {did}, please restart it", settings.host),
        blocks: vec![
            Block::Words(format!(
                "Nothing is measured, and no alert will come, until it is started again. {reason}"
            )),
            Block::Words(format!("Please restart the monitor: {RESTART}.")),
            Block::Facts(vec![
                ("started", stamp(started)),
                ("stopped", format!("{}, after {}", stamp(now), Lasted(ran))),
                ("data", settings.archive.data_dir.display().to_string()),
                ("targets", format!("{}{more}", watched.join(", "))),
            ]),
        ],
    };
    page.into_message(Post::news(exit_key(settings.exit.run.unwrap_or(started)), now), &settings.host)
}

/// The mail that says that nobody was watching since `last`, the last sign of life of a run that could not say so itself.
pub(super) fn gap(settings: &Settings, last: UnixTime, started: UnixTime) -> Message {
    let host = &settings.host;
    let lasted = Lasted(started.since(last).unwrap_or(Duration::ZERO));
    let page = Page {
        word: "GAP",
        headline: format!("the monitor on {host} was not watching for {lasted}"),
        blocks: vec![
            Block::Words(format!(
                "It was not watching from {} to {}: it ended without a word (its machine lost power, or all of it was \
                 killed), and was started now. What happened meanwhile was not measured, and nobody was told.",
                stamp(last),
                stamp(started)
            )),
            Block::Facts(vec![
                ("from", format!("{}, the last sign of life", stamp(last))),
                ("to", format!("{}, after {lasted}", stamp(started))),
                ("data", settings.archive.data_dir.display().to_string()),
            ]),
        ],
    };
    page.into_message(Post::news(format!("monitor-gap-{}", last.micros()), started), host)
}

/// The key of the mail about the end of a run: each has one, whoever writes it.
pub fn exit_key(run: UnixTime) -> String {
    format!("monitor-exit-{}", run.micros())
}

/// What the reader of a last mail does.
pub(super) const RESTART: &str = "'systemctl start latmon' where it is a service, else 'latmon run'";

fn alert(event: &Event, around: &Around, host: &str) -> Page {
    let is_over = matches!(event.kind, EventKind::Cleared { .. });
    let mut facts = Vec::new();
    // The headline has the name and the host.
    let asked = asked(&event.target, event.address);
    if asked != title(&event.target) {
        facts.push(("target", asked));
    }
    if let EventKind::Cleared { lasted } = event.kind {
        facts.extend([("since", stamp(event.since)), ("lasted", Lasted(lasted).to_string())]);
    } else {
        facts.push(("since", since(event.since, event.at)));
    }
    facts.push(("now", format!("{}, in the round that ended at {}", measured(event), clock(event.at))));
    facts.push(("usual", usual(event.usual, around.past.as_ref(), event.since)));
    if event.kind != EventKind::Raised {
        facts.push(("worst", worst(event)));
    }
    facts.extend(event.says.clone().map(|says| ("says", says)));
    let finding = around.sighting.as_ref().and_then(path::finding);
    let suspect = others::suspect(event.trouble, &around.others, around.shared.as_deref(), finding.as_ref());
    facts.extend(suspect.filter(|_| !is_over).map(|suspect| ("suspect", suspect)));
    facts.push(("rule", format!("{}: {}", event.rule, event.condition)));

    let mut blocks = vec![Block::Facts(facts)];
    blocks.extend(picture(event, around));
    blocks.extend(around.sighting.as_ref().map(path::block));
    blocks.push(Block::Facts(vec![("others", others::sentence(&around.others))]));
    blocks.extend(around.past.as_ref().and_then(|past| rounds(past, event.at)));
    if !is_over {
        blocks.push(mute(&event.target.name, host));
    }
    Page {
        word: status_word(event),
        headline: format!("{} {}", title(&event.target), predicate(event)),
        blocks,
    }
}

fn together(
    events: &[Event],
    of: usize,
    behind: Option<&str>,
    around: &[Around],
    at: UnixTime,
    host: &str,
) -> Page {
    let is_over = events.iter().all(|event| matches!(event.kind, EventKind::Cleared { .. }));
    let troubled = |trouble| events.iter().filter(|event| event.trouble == trouble).count();
    let [down, lossy, slow] = [Trouble::Down, Trouble::Lossy, Trouble::Slow].map(troubled);
    let (word, did) = match (is_over, down, lossy, slow) {
        (true, ..) => ("OK", "are well again".to_owned()),
        (false, _, 0, 0) => ("DOWN", "do not answer".to_owned()),
        (false, 0, _, 0) => ("LOSSY", "lose pings".to_owned()),
        (false, 0, 0, _) => ("SLOW", "are slow".to_owned()),
        (false, ..) => {
            let parts = [(down, "down"), (lossy, "lossy"), (slow, "slow")];
            let parts: Vec<String> = parts
                .iter()
                .filter(|(count, _)| *count > 0)
                .map(|(count, word)| format!("{count} {word}"))
                .collect();
            (if down > 0 { "DOWN" } else { "LOSSY" }, format!("are in trouble: {}", parts.join(", ")))
        }
    };
    let parent = behind;
    let behind = behind.map(|name| format!(" behind {name}")).unwrap_or_default();
    let mut facts = Vec::new();
    if let Some(first) = events.iter().map(|event| event.since).min() {
        facts.push(("since", if is_over { stamp(first) } else { since(first, at) }));
    }
    let most = said_most(events);
    facts.extend(
        most.map(|(says, times)| ("says", format!("{says} (of {})", count(times, "target", "targets")))),
    );
    let findings: Vec<Option<path::Finding>> =
        around.iter().map(|around| around.sighting.as_ref().and_then(path::finding)).collect();
    let suspect = around.iter().zip(events).zip(&findings).find_map(|((around, event), finding)| {
        others::suspect(event.trouble, &around.others, around.shared.as_deref(), finding.as_ref())
    });
    facts.extend(suspect.filter(|_| !is_over).map(|suspect| ("suspect", suspect)));
    facts.extend(around.first().map(|first| ("others", others::sentence(&first.others))));
    let mut blocks = vec![Block::Facts(facts), list("The targets", events, 0, most.map(|(says, _)| says))];
    for (number, (around, event)) in around.iter().zip(events).enumerate() {
        // What stands out in the path of one need not be shown of the next as well.
        let is_known = findings[number].is_some() && findings[..number].contains(&findings[number]);
        let path = around.sighting.as_ref().filter(|_| !is_known).map(path::block);
        let shown: Vec<Block> = picture(event, around).into_iter().chain(path).collect();
        if !shown.is_empty() {
            blocks.push(Block::Words(format!("{}:", asked(&event.target, event.address))));
            blocks.extend(shown);
        }
    }
    if !is_over {
        blocks.push(mute("all", host));
    }
    let headline = match (parent, events) {
        // The parent counts for itself.
        (Some(parent), [first, rest @ ..]) if first.target.name == parent => format!(
            "{} {}, with {} of {} behind it",
            title(&first.target),
            predicate(first),
            rest.len(),
            count(of.saturating_sub(1), "target", "targets")
        ),
        _ => format!("{} of {}{behind} {did}", events.len(), count(of, "target", "targets")),
    };
    Page { word, headline, blocks }
}

fn flapping(
    event: &Event,
    together: &[Event],
    changes: u32,
    began: UnixTime,
    around: &Around,
    host: &str,
) -> Page {
    let lasted = event.at.since(began).unwrap_or_default();
    let mut blocks = vec![
        Block::Words(
            "Nothing more of it is told while it goes on like this. The next mail comes when it keeps still."
                .to_owned(),
        ),
        Block::Facts(vec![
            ("since", since(began, event.at)),
            ("now", format!("{} ({})", predicate(event), measured(event))),
            ("usual", usual(event.usual, around.past.as_ref(), began)),
            ("rule", format!("{}: {}", event.rule, event.condition)),
        ]),
    ];
    blocks.extend(picture(event, around));
    blocks.push(Block::Facts(vec![("others", others::sentence(&around.others))]));
    blocks.extend(around.past.as_ref().and_then(|past| rounds(past, event.at)));
    if !together.is_empty() {
        blocks.push(list("Together with it", together, 0, None));
    }
    blocks.push(mute(&event.target.name, host));
    let changed = count(changes as usize, "change", "changes");
    let comes = if together.is_empty() { "comes and goes" } else { "come and go" };
    let headline = format!("{} {comes}: {changed} in {}", and_others(event, together), Lasted(lasted));
    Page { word: "FLAPPING", headline, blocks }
}

fn steady(
    event: &Event,
    together: &[Event],
    changes: u32,
    began: UnixTime,
    around: &Around,
    host: &str,
) -> Page {
    let is_over = matches!(event.kind, EventKind::Cleared { .. });
    let how = match (is_over, event.trouble) {
        (true, _) => "is steady again, and well".to_owned(),
        (false, Trouble::Down) => "no longer comes and goes: it does not answer".to_owned(),
        (false, Trouble::Slow) => "no longer comes and goes: it stays slow".to_owned(),
        (false, Trouble::Lossy) => "no longer comes and goes: it keeps losing pings".to_owned(),
    };
    let mut blocks = vec![Block::Facts(vec![
        ("began", stamp(began)),
        ("changes", changes.to_string()),
        ("last", format!("{}: {}", stamp(event.at), measured(event))),
        ("worst", worst(event)),
        ("usual", usual(event.usual, around.past.as_ref(), began)),
        ("rule", format!("{}: {}", event.rule, event.condition)),
    ])];
    blocks.extend(picture(event, around));
    blocks.extend(around.past.as_ref().and_then(|past| rounds(past, event.at)));
    if !together.is_empty() {
        blocks.push(list("Together with it", together, 0, None));
    }
    if !is_over {
        blocks.push(mute(&event.target.name, host));
    }
    let changed = count(changes as usize, "change", "changes");
    let with = match together.len() {
        0 => String::new(),
        others => format!(" (with {})", count(others, "other", "others")),
    };
    let headline = format!("{} {how}, after {changed}{with}", title(&event.target));
    Page { word: status_word(event), headline, blocks }
}

/// `fra/core1 (192.0.2.2) and 39 others`.
fn and_others(event: &Event, together: &[Event]) -> String {
    match together.len() {
        0 => title(&event.target),
        others => format!("{} and {}", title(&event.target), count(others, "other", "others")),
    }
}

fn digest(events: &[Event], more: usize, began: UnixTime, host: &str) -> Page {
    let all = events.len() + more;
    Page {
        word: "DIGEST",
        headline: format!("{} since {}", count(all, "more alert", "more alerts"), clock(began)),
        blocks: vec![
            Block::Words(format!(
                "There were more mails than {host} may send in an hour. These are the rest, oldest first."
            )),
            list("What happened", events, more, None),
            mute("all", host),
        ],
    }
}

fn offline(began: UnixTime, why: &str, at: UnixTime, host: &str) -> Page {
    Page {
        word: "OFFLINE",
        headline: format!("the monitor on {host} has no network since {}", clock(began)),
        blocks: vec![
            Block::Words(
                "Its own uplink is down. Its targets are unknown meanwhile, not down, and no alert of theirs comes of \
                 it. This mail could not be sent before the uplink was back."
                    .to_owned(),
            ),
            Block::Facts(vec![("since", since(began, at)), ("because", why.to_owned())]),
        ],
    }
}

fn online(began: UnixTime, lasted: Duration, why: &str, host: &str) -> Page {
    Page {
        word: "ONLINE",
        headline: format!("the monitor on {host} has its network again, after {}", Lasted(lasted)),
        blocks: vec![
            Block::Words(
                "Nothing is known of its targets for that time; their archives say unknown.".to_owned(),
            ),
            Block::Facts(vec![
                ("gone", stamp(began)),
                ("back", stamp(began.plus(lasted))),
                ("because", why.to_owned()),
            ]),
        ],
    }
}

/// What most of those say who say something, and how many they are.
fn said_most(events: &[Event]) -> Option<(&str, usize)> {
    let said = || events.iter().filter_map(|event| event.says.as_deref());
    let times = |says: &str| said().filter(|other| *other == says).count();
    let most = said().max_by_key(|says| times(says))?;
    Some((most, times(most)))
}

/// One line for each event, as many as a mail may have; `more` happened besides. What somebody says stands beside it unless
/// that is `known`.
fn list(title: &str, events: &[Event], more: usize, known: Option<&str>) -> Block {
    let row = |event: &Event| {
        let state = match event.kind {
            EventKind::Cleared { lasted } => format!("well again after {}", Lasted(lasted)),
            EventKind::Raised | EventKind::Repeated => match (event.trouble, event.median) {
                (Trouble::Down, _) | (_, None) => "no answer".to_owned(),
                (Trouble::Slow, Some(median)) => format!("median {median}"),
                (Trouble::Lossy, _) => format!("{} loss", percent(event.loss_ratio)),
            },
        };
        let says = event.says.as_deref().filter(|says| known != Some(*says));
        let cells = vec![event.target.name.clone(), clock(event.since), state];
        Row { cells, note: says.map(str::to_owned), is_marked: false }
    };
    let mut rows: Vec<Row> = events.iter().take(LISTED).map(row).collect();
    let left_out = events.len().saturating_sub(LISTED) + more;
    if left_out > 0 {
        let cells = vec![format!("and {left_out} more"), String::new(), String::new()];
        rows.push(Row { cells, ..Row::default() });
    }
    Block::Table(Table { title: title.to_owned(), sides: vec![Side::Left; 3], rows })
}

fn picture(event: &Event, around: &Around) -> Option<Block> {
    let shows = format!("The last 24 hours of {}: median, spread and loss", event.target.name);
    Some(Block::Picture { number: around.picture?, shows })
}

/// Loss and median of the last rounds up to `at`, as SmokePing's mails have them; `None` where nothing was measured.
fn rounds(past: &History, at: UnixTime) -> Option<Block> {
    let until = past.rows.partition_point(|row| row.end <= at);
    let last = &past.rows[until.saturating_sub(ROUNDS)..until];
    let last = &last[last.iter().position(|row| row.loss_ratio.is_some())?..];
    let loss =
        last.iter().map(|row| row.loss_ratio.map_or("?".to_owned(), |loss| percent(loss).replace(" ", "")));
    let median = last.iter().map(|row| match (row.median, row.loss_ratio) {
        (Some(median), _) => {
            let ms = median.as_millis_f64();
            let decimals = match ms {
                ms if ms < 0.0995 => 3,
                ms if ms < 9.995 => 2,
                ms if ms < 99.95 => 1,
                _ => 0,
            };
            format!("{ms:.decimals$}")
        }
        (None, Some(_)) => "-".to_owned(),
        (None, None) => "?".to_owned(),
    });
    let lines = vec![("loss", loss.collect()), ("ms", median.collect())];
    let every = Lasted(past.row.duration());
    let title = format!("Loss and median of the last rounds, one every {every}, until {}", clock(at));
    Some(Block::Series { title, lines })
}

/// How the reader silences it.
fn mute(name: &str, host: &str) -> Block {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '-' | '_' | ':');
    let name = if !name.is_empty() && name.chars().all(is_plain) {
        name.to_owned()
    } else {
        format!("'{}'", name.replace('\'', r"'\''"))
    };
    Block::Command {
        purpose: format!("To mute it for two hours, on {host}"),
        command: format!("latmon mute {name} 2h --reason 'known'"),
    }
}

/// How many rounds a mail shows: a line of 80 columns.
const ROUNDS: usize = 12;
/// How many targets a mail lists.
const LISTED: usize = 60;

#[cfg(test)]
mod tests;
