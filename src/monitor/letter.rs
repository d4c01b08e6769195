//! What mails say, in the order in which a person on call wants it: what is wrong and since when; usual against now; who
//! says so and what it looks like; the path; the others; loss round by round; how to silence it. Pure: events, pasts and
//! paths in, pages out.

mod also;
mod ends;
mod html;
mod others;
mod page;
mod parts;
mod path;
mod words;

use std::collections::HashSet;
use std::time::Duration;

use super::paths::Sighting;
use super::status::Standing;
use crate::alert::desk::quiet::ALL;
use crate::alert::{Event, EventKind, Notice, Severity, Story, Trouble};
use crate::graph::Mark;
use crate::history::History;
use crate::mail::Message;
use crate::time::{Lasted, Step, UnixTime};
pub use ends::exit_key;
pub(super) use ends::{death, exit, gap};
pub(super) use others::is_alike;
use page::{Block, Page, Post};
use parts::{list, mute, picture, rounds, said_most};
use words::stamp;
use words::{
    clock, condition, count, measured, on_and_off, predicate, since, status_word, stays, usual, worst,
};
pub(super) use words::{log_line, title};

/// What is known around one event when its mail is written.
#[derive(Debug, Default)]
pub(super) struct Around {
    /// The target's last day.
    pub(super) past: Option<History>,
    /// The day before its trouble, where that has lasted for long.
    pub(super) before: Option<History>,
    /// The path to it, where that was to be looked for.
    pub(super) sighting: Option<Sighting>,
    /// The nearest router that all targets in the same trouble lie behind, and none that is well.
    pub(super) shared: Option<String>,
    /// The other targets.
    pub(super) others: Vec<Standing>,
    /// The number of the picture of its past, from 1, where the mail has one.
    pub(super) picture: Option<usize>,
}

impl Around {
    /// What is known of the time before the trouble.
    fn before(&self) -> Option<&History> {
        self.before.as_ref().or(self.past.as_ref())
    }
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
        Story::Flapping { event, others, changes, since, is_new } => {
            let mut page = flapping(event, others, *changes, *since, first, host);
            if *is_new {
                (page.word, page.headline) = new_of_many(event, others);
            }
            page
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
        (_, Trouble::Unknown) => ("unmeasured since", event.at),
    };
    Mark { from, until, label: format!("{word} {}", event.since.local().civil.format("%H:%M")) }
}

fn alert(event: &Event, around: &Around, host: &str) -> Page {
    let is_over = matches!(event.kind, EventKind::Cleared { .. });
    let mut facts = Vec::new();
    // The headline has the name and the host.
    let address = event.address.map(|address| address.to_string());
    facts.extend(address.filter(|address| *address != event.target.host).map(|address| ("address", address)));
    if let EventKind::Cleared { lasted } = event.kind {
        facts.extend([("since", stamp(event.since)), ("lasted", Lasted(lasted).to_string())]);
    } else {
        facts.push(("since", since(event.since, event.at)));
    }
    facts.push(("now", now(event)));
    facts.push(("usual", usual(event.usual, around.before(), event.since)));
    if event.kind != EventKind::Raised {
        facts.push(("worst", worst(event)));
    }
    facts.extend(event.says.clone().map(|says| ("error", says)));
    facts.extend(event.unknown.clone().map(|unknown| ("unknown", unknown.why)));
    let finding = around.sighting.as_ref().and_then(path::finding);
    let suspect = others::suspect(event.trouble, &around.others, around.shared.as_deref(), finding.as_ref());
    facts.extend(suspect.filter(|_| !is_over).map(|suspect| ("suspect", suspect)));
    facts.push(("rule", condition(event)));

    let mut blocks = vec![Block::Facts(facts)];
    blocks.extend(picture(event, around));
    blocks.extend(around.sighting.as_ref().map(|sighting| path::block(sighting, None)));
    blocks.push(Block::Facts(vec![("others", others::sentence(&around.others))]));
    blocks.extend(around.past.as_ref().and_then(|past| rounds(past, event.at)));
    if !is_over {
        blocks.push(mute(&[&event.target.name], host));
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
    let (word, did) = suffering(events, is_over);
    let parent = behind;
    let behind = behind.map(|name| format!(" behind {name}")).unwrap_or_default();
    let mut facts = Vec::new();
    if let Some(first) = events.iter().map(|event| event.since).min() {
        facts.push(("since", if is_over { stamp(first) } else { since(first, at) }));
    }
    let most = said_most(events).filter(|_| !is_over);
    facts.extend(
        most.map(|(says, times)| ("error", format!("{says} ({})", count(times, "target", "targets")))),
    );
    let findings: Vec<Option<path::Finding>> =
        around.iter().map(|around| around.sighting.as_ref().and_then(path::finding)).collect();
    let suspect = around.iter().zip(events).zip(&findings).find_map(|((around, event), finding)| {
        others::suspect(event.trouble, &around.others, around.shared.as_deref(), finding.as_ref())
    });
    facts.extend(suspect.filter(|_| !is_over).map(|suspect| ("suspect", suspect)));
    let mut blocks = vec![Block::Facts(facts)];
    blocks.extend(list("The targets", events, 0, most.map(|(says, _)| says)));
    for (number, (around, event)) in around.iter().zip(events).enumerate() {
        blocks.extend(picture(event, around));
        // What stands out in the path of one need not be shown of the next as well.
        let is_known = findings[number].is_some() && findings[..number].contains(&findings[number]);
        let sighting = around.sighting.as_ref().filter(|_| !is_known);
        blocks.extend(sighting.map(|sighting| path::block(sighting, Some(&event.target.name))));
    }
    if let Some(first) = around.first() {
        let told: HashSet<&str> = events.iter().map(|event| event.target.name.as_str()).collect();
        let rest = first.others.iter().filter(|other| !told.contains(other.target.name.as_str()));
        let rest: Vec<Standing> = rest.cloned().collect();
        blocks.push(Block::Facts(vec![("others", others::sentence(&rest))]));
    }
    if !is_over {
        let names: Vec<&str> = events.iter().map(|event| event.target.name.as_str()).collect();
        blocks.push(mute(&names, host));
    }
    let headline = match (parent, events) {
        // The parent counts for itself.
        (Some(parent), [first, rest @ ..]) if first.target.name == parent => format!(
            "{} {}, with {} of {} behind it",
            title(&first.target),
            predicate(first),
            rest.len(),
            of.saturating_sub(1)
        ),
        _ => format!("{} of {}{behind} {did}", events.len(), count(of, "target", "targets")),
    };
    Page { word, headline, blocks }
}

/// What several targets suffer from: the subject's first word, and what they do.
fn suffering(events: &[Event], is_over: bool) -> (&'static str, String) {
    let troubled = |trouble| events.iter().filter(|event| event.trouble == trouble).count();
    let [down, lossy, slow, unknown] =
        [Trouble::Down, Trouble::Lossy, Trouble::Slow, Trouble::Unknown].map(troubled);
    match (is_over, down, lossy, slow, unknown) {
        (true, ..) => ("OK", "are well again".to_owned()),
        (false, _, 0, 0, 0) => ("DOWN", "do not answer".to_owned()),
        (false, 0, _, 0, 0) => ("LOSSY", "lose pings".to_owned()),
        (false, 0, 0, _, 0) => ("SLOW", "are slow".to_owned()),
        (false, 0, 0, 0, _) => ("UNKNOWN", "are not measured".to_owned()),
        (false, ..) => {
            let parts = [(down, "down"), (lossy, "lossy"), (slow, "slow"), (unknown, "not measured")];
            let parts: Vec<String> = parts
                .iter()
                .filter(|(count, _)| *count > 0)
                .map(|(count, word)| format!("{count} {word}"))
                .collect();
            (
                if down > 0 {
                    "DOWN"
                } else if lossy > 0 {
                    "LOSSY"
                } else {
                    "SLOW"
                },
                format!("are in trouble: {}", parts.join(", ")),
            )
        }
    }
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
            "It changes so often that nothing more of it is told while it goes on like this. The next mail comes \
             when it keeps still."
                .to_owned(),
        ),
        Block::Facts(vec![
            ("since", since(began, event.at)),
            ("changes", format!("{changes} in {}", Lasted(lasted))),
            ("now", now(event)),
            ("usual", usual(event.usual, around.before(), began)),
            ("rule", condition(event)),
        ]),
    ];
    blocks.extend(picture(event, around));
    blocks.push(Block::Facts(vec![("others", others::sentence(&around.others))]));
    blocks.extend(around.past.as_ref().and_then(|past| rounds(past, event.at)));
    blocks.extend(list("Together with it", together, 0, None));
    blocks.push(mute(&names(event, together), host));
    let headline =
        format!("{} {}", and_others(event, together), on_and_off(event.trouble, !together.is_empty()));
    Page { word: "FLAPPING", headline, blocks }
}

/// The first word of the subject, and the headline, where what flaps is the target and not the alert that speaks.
fn new_of_many(event: &Event, together: &[Event]) -> (&'static str, String) {
    if together.is_empty() {
        return (status_word(event), format!("{} {}", title(&event.target), predicate(event)));
    }
    let all: Vec<Event> = std::iter::once(event).chain(together).cloned().collect();
    let (word, did) = suffering(&all, false);
    (word, format!("{} {did}", and_others(event, together)))
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
    let mut blocks = vec![Block::Facts(vec![
        ("began", stamp(began)),
        ("changes", changes.to_string()),
        ("last", format!("{}: {}", stamp(event.at), measured(event))),
        ("worst", worst(event)),
        ("usual", usual(event.usual, around.before(), began)),
        ("rule", condition(event)),
    ])];
    blocks.extend(picture(event, around));
    blocks.extend(around.past.as_ref().and_then(|past| rounds(past, event.at)));
    blocks.extend(list("Together with it", together, 0, None));
    if !is_over {
        blocks.push(mute(&names(event, together), host));
    }
    let changed = count(changes as usize, "change", "changes");
    let is_alike = |other: &Event| {
        matches!(other.kind, EventKind::Cleared { .. }) == is_over && other.trouble == event.trouble
    };
    let headline = if together.iter().all(is_alike) {
        let stays = stays(event, !together.is_empty());
        format!("{} {stays} after {changed}", and_others(event, together))
    } else {
        let with = count(together.len(), "other", "others");
        format!("{} {} after {changed} (with {with})", title(&event.target), stays(event, false))
    };
    Page { word: status_word(event), headline, blocks }
}

/// The targets that a mail tells of.
fn names<'a>(event: &'a Event, together: &'a [Event]) -> Vec<&'a str> {
    std::iter::once(event).chain(together).map(|event| event.target.name.as_str()).collect()
}

/// How it stands in the round that decided it.
fn now(event: &Event) -> String {
    format!("{}, in the round that ended at {}", measured(event), clock(event.at))
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
    let mut blocks = vec![Block::Words(format!(
        "There were more mails than {host} may send in an hour. These are the rest, oldest first."
    ))];
    blocks.extend(list("What happened", events, more, None));
    blocks.push(mute(&[ALL], host));
    Page {
        word: "DIGEST",
        headline: format!("{} since {}", count(all, "more alert", "more alerts"), clock(began)),
        blocks,
    }
}

fn offline(began: UnixTime, why: &str, at: UnixTime, host: &str) -> Page {
    Page {
        word: "OFFLINE",
        headline: format!("the monitor on {host} has had no network since {}", clock(began)),
        blocks: vec![
            Block::Words(
                "Its own uplink is down. Nothing is known of the targets behind it meanwhile: none of them counts as \
                 down, and none of their alerts comes of it."
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
                "Nothing is known of the targets behind its uplink for that time: their archives say unknown."
                    .to_owned(),
            ),
            Block::Facts(vec![
                ("gone", stamp(began)),
                ("back", stamp(began.plus(lasted))),
                ("because", why.to_owned()),
            ]),
        ],
    }
}

#[cfg(test)]
mod gallery;
#[cfg(test)]
mod tests;
