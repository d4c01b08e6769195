//! What a mail tells besides: other alerts of the same targets.

use super::page::{Block, Row, Side, Table};
use super::parts::LISTED;
use super::words::{clock, measured};
use crate::alert::{Event, EventKind};
use crate::time::Lasted;

/// Adds a line for each alert, as many as a mail may have, before the command that mutes all of it.
pub(super) fn add(blocks: &mut Vec<Block>, events: &[Event]) {
    if events.is_empty() {
        return;
    }
    let row = |event: &Event| {
        let state = match event.kind {
            EventKind::Cleared { lasted } => format!("over after {}", Lasted(lasted)),
            EventKind::Raised | EventKind::Repeated => measured(event),
        };
        let rule = format!("{}: {}", event.rule, event.condition);
        let cells = vec![event.target.name.clone(), clock(event.since), rule];
        Row { cells, note: Some(state), is_marked: false }
    };
    let mut rows: Vec<Row> = events.iter().take(LISTED).map(row).collect();
    let more = events.len().saturating_sub(LISTED);
    if more > 0 {
        let cells = vec![format!("and {more} more"), String::new(), String::new()];
        rows.push(Row { cells, ..Row::default() });
    }
    let title = "Other rules say at the same time".to_owned();
    let command = blocks.iter().rposition(|block| matches!(block, Block::Command { .. }));
    let place = command.unwrap_or(blocks.len());
    blocks.insert(place, Block::Table(Table { title, sides: vec![Side::Left; 3], rows }));
}
