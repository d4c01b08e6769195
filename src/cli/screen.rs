//! What `latmon run` shows on a terminal: a line per round, above twenty targets a table of the worst.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use latmon::alert::{TargetState, Trouble};
use latmon::round::Round;
use latmon::time::UnixTime;

/// Up to so many targets have a line per round.
const LINES: usize = 20;

/// A table is drawn again after this, or as soon as every target has told its newest round.
const REDRAW: Duration = Duration::from_millis(250);

/// The terminal; elsewhere (a journal, nohup) nothing is shown, for the log tells what changes.
pub(super) enum Screen {
    Absent,
    Lines { width: usize },
    Table(Table),
}

impl Screen {
    pub(super) fn new(targets: usize) -> Self {
        match io::stdout().is_terminal() {
            false => Self::Absent,
            true if targets <= LINES => Self::Lines { width: 12 },
            true => Self::Table(Table { targets, newest: BTreeMap::new(), fresh: 0, drawn: None }),
        }
    }

    pub(super) fn show(&mut self, round: &Round, state: &TargetState) {
        let text = match self {
            Self::Absent => return,
            Self::Lines { width } => {
                // Names are as wide as the widest so far: the columns settle within the first step.
                *width = (*width).max(round.target().name.chars().count());
                let time = round.end().local().civil.format("%H:%M:%S");
                format!("{time}  {}\n", Line::new(round, state).text(*width))
            }
            Self::Table(table) => match table.enter(round, state) {
                Some(text) => text,
                None => return,
            },
        };
        // A terminal that is gone sends SIGHUP; what it did not show is nobody's loss.
        let mut out = io::stdout().lock();
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }
}

/// One target's newest round, as it is shown.
struct Line {
    end: UnixTime,
    rank: Rank,
    name: String,
    median: String,
    loss: String,
    state: String,
}

/// What a table shows first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Down,
    Alerting,
    Unknown,
    Well,
}

impl Line {
    fn new(round: &Round, state: &TargetState) -> Self {
        let (rank, word) = match state {
            _ if round.is_scarcely_known() => (Rank::Unknown, "UNKNOWN"),
            _ if round.is_down() => (Rank::Down, "DOWN"),
            TargetState::Alerting(open) => {
                (Rank::Alerting, open.first().map_or("ALERT", |open| word(open.rule.judge.trouble())))
            }
            TargetState::Ok | TargetState::Waiting | TargetState::Unknown { .. } => (Rank::Well, "ok"),
        };
        let fault = match (round.fault(), round.pings().len() - round.known()) {
            (None, _) => String::new(),
            (Some(fault), _) if round.is_unknown() => format!("  ({fault})"),
            (Some(fault), unknown) => format!("  ({unknown} of {} pings: {fault})", round.pings().len()),
        };
        Self {
            end: round.end(),
            rank,
            name: round.target().name.clone(),
            median: round.median().map_or_else(|| "-".to_owned(), |median| median.to_string()),
            loss: round
                .loss_ratio()
                .map_or_else(|| "-".to_owned(), |ratio| format!("{:.0} %", ratio * 100.0)),
            state: format!("{word}{fault}"),
        }
    }

    /// `google-dns    58.3 ms    0 %  ok`
    fn text(&self, width: usize) -> String {
        let Self { name, median, loss, state, .. } = self;
        format!("{name:<width$}  {median:>9}  {loss:>5}  {state}")
    }
}

/// An open alert in a word; one that was down, or unknown, is not over before some rounds were well.
fn word(trouble: Trouble) -> &'static str {
    match trouble {
        Trouble::Down => "was DOWN",
        Trouble::Slow => "SLOW",
        Trouble::Lossy => "LOSSY",
        Trouble::Unknown => "was UNKNOWN",
    }
}

/// Every target's newest round, drawn over the whole terminal.
pub(super) struct Table {
    targets: usize,
    newest: BTreeMap<String, Line>,
    /// Rounds since it was last drawn.
    fresh: usize,
    drawn: Option<Instant>,
}

impl Table {
    /// Takes a round; returns what to write where it is time to draw.
    fn enter(&mut self, round: &Round, state: &TargetState) -> Option<String> {
        let line = Line::new(round, state);
        let end = line.end;
        self.newest.insert(line.name.clone(), line);
        self.fresh += 1;
        if self.fresh < self.targets && self.drawn.is_some_and(|drawn| drawn.elapsed() < REDRAW) {
            return None;
        }
        self.fresh = 0;
        self.drawn = Some(Instant::now());
        let rows = terminal_size::terminal_size().map_or(24, |(_, height)| usize::from(height.0));
        Some(self.text(end, rows))
    }

    /// A heading and as many targets as fit below it, the troubled ones first.
    fn text(&self, end: UnixTime, rows: usize) -> String {
        let count = |rank| self.newest.values().filter(|line| line.rank == rank).count();
        let mut text = format!(
            "\x1b[H\x1b[J{}  {} targets: {} ok, {} down, {} alerting, {} unknown\n\n",
            end.local().civil.format("%H:%M:%S"),
            self.targets,
            count(Rank::Well),
            count(Rank::Down),
            count(Rank::Alerting),
            count(Rank::Unknown),
        );
        let width = self.newest.keys().map(|name| name.chars().count()).max().unwrap_or(0);
        let mut lines: Vec<&Line> = self.newest.values().collect();
        lines.sort_by_key(|line| line.rank);
        for line in lines.into_iter().take(rows.saturating_sub(3)) {
            text.push_str(&line.text(width));
            text.push('\n');
        }
        text
    }
}
