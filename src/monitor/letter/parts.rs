//! The parts that letters have in common.

use super::Around;
use super::page::{Block, Row, Side, Table};
use super::words::{clock, measured, percent, reason};
use crate::alert::desk::quiet::ALL;
use crate::alert::{Event, EventKind, Trouble};
use crate::history::History;
use crate::time::{Lasted, UnixTime};

/// What most of those say who say something, and how many they are.
pub(super) fn said_most(events: &[Event]) -> Option<(&str, usize)> {
    let said = || events.iter().filter_map(reason);
    let times = |says: &str| said().filter(|other| *other == says).count();
    let most = said().max_by_key(|says| times(says))?;
    Some((most, times(most)))
}

/// The events, as many as a mail may have; `more` happened besides. What somebody says stands beside it unless that is
/// `known`. Where the same happened to many, their names stand together, else each has a line.
pub(super) fn list(title: &str, events: &[Event], more: usize, known: Option<&str>) -> Option<Block> {
    if events.is_empty() && more == 0 {
        return None;
    }
    let row = |event: &Event| {
        let state = match event.kind {
            EventKind::Cleared { lasted } => format!("well again after {}", Lasted(lasted)),
            EventKind::Raised | EventKind::Repeated => match (event.trouble, event.median) {
                (Trouble::Unknown, _) => measured(event),
                (Trouble::Down, _) | (_, None) => "no answer".to_owned(),
                (Trouble::Slow, Some(median)) => format!("median {median}"),
                (Trouble::Lossy, _) => format!("{} loss", percent(event.loss_ratio)),
            },
        };
        let is_over = matches!(event.kind, EventKind::Cleared { .. });
        let says = reason(event).filter(|says| !is_over && known != Some(*says));
        let cells = vec![event.target.name.clone(), clock(event.since), state];
        Row { cells, note: says.map(str::to_owned), is_marked: false }
    };
    let mut rows: Vec<Row> = events.iter().take(LISTED).map(row).collect();
    let left_out = events.len().saturating_sub(LISTED) + more;
    let mut sides = vec![Side::Left; 3];
    if let Some(together) = alike(&rows) {
        (rows, sides) = (together, vec![Side::Left]);
    }
    if left_out > 0 {
        rows.push(Row { cells: vec![format!("and {left_out} more")], ..Row::default() });
    }
    Some(Block::Table(Table { title: title.to_owned(), sides, rows }))
}

/// `rows` of names, times and states, with the names of those that are alike in one; `None` where few are.
fn alike(rows: &[Row]) -> Option<Vec<Row>> {
    let mut alike: Vec<(&Row, Vec<&str>)> = Vec::new();
    for row in rows {
        match alike.iter_mut().find(|(first, _)| first.cells[1..] == row.cells[1..] && first.note == row.note)
        {
            Some((_, names)) => names.push(&row.cells[0]),
            None => alike.push((row, vec![&row.cells[0]])),
        }
    }
    let together = |(first, names): &(&Row, Vec<&str>)| {
        let says = first.note.as_ref().map(|says| format!(", {says}")).unwrap_or_default();
        let cells = vec![format!("{}, {}{says}: {}", first.cells[1], first.cells[2], names.join(", "))];
        Row { cells, ..Row::default() }
    };
    (alike.len() * FEW <= rows.len()).then(|| alike.iter().map(together).collect())
}

pub(super) fn picture(event: &Event, around: &Around) -> Option<Block> {
    let shows = format!("The last 24 hours of {}: median, spread and loss", event.target.name);
    Some(Block::Picture { number: around.picture?, shows })
}

/// Loss and median of the last rounds up to `at`, as SmokePing's mails have them; `None` where nothing was measured.
pub(super) fn rounds(past: &History, at: UnixTime) -> Option<Block> {
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
    let each = Lasted(past.row.duration());
    let title = format!("Loss and median of the last rounds, {each} each, until {}", clock(at));
    Some(Block::Series { title, lines })
}

/// How the reader silences them: by their names or groups where these are few, else with all others.
pub(super) fn mute(names: &[&str], host: &str) -> Block {
    let group = |name: &str| name.rsplit_once('/').map(|(group, _)| group.to_owned());
    let called = |name: &&str| group(name).filter(|_| names.len() > 1).unwrap_or_else(|| (*name).to_owned());
    let mut called: Vec<String> = names.iter().map(called).collect();
    called.sort_unstable();
    called.dedup();
    if called.len() > COMMANDS {
        called = vec![ALL.to_owned()];
    }
    let what = match (&called[..], names) {
        ([all], _) if all == ALL => "everything",
        (_, [_]) => "it",
        _ => "them",
    };
    let command = |name: &String| format!("latmon mute {} 2h --reason 'known'", quoted(name));
    Block::Command {
        purpose: format!("To mute {what} for two hours, on {host}"),
        command: called.iter().map(command).collect::<Vec<_>>().join(" && "),
    }
}

/// A word that a shell takes as it stands.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '-' | '_' | ':');
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// How many rounds a mail shows: a line of 80 columns.
const ROUNDS: usize = 12;
/// How many commands a mail gives to be typed at once.
const COMMANDS: usize = 2;
/// How many targets a mail lists.
pub(super) const LISTED: usize = 60;
/// Names stand together where so many share a line, in the mean.
const FEW: usize = 3;
