//! What a mail shows, before it is text or HTML: both say the same, in the same order.

use std::fmt::Write;

use super::html;
use crate::mail::{Html, Message, NOT_HELD_UP, content_id};
use crate::time::UnixTime;

/// One mail's content.
#[derive(Clone, Debug)]
pub(in crate::monitor) struct Page {
    /// The subject's first word, by which a mailbox sorts: `DOWN`.
    pub(in crate::monitor) word: &'static str,
    /// What happened, without a full stop: the rest of the subject, and the first line.
    pub(in crate::monitor) headline: String,
    /// Everything else.
    pub(in crate::monitor) blocks: Vec<Block>,
}

/// A part of a page.
#[derive(Clone, Debug)]
pub(in crate::monitor) enum Block {
    /// Names and values, a line each.
    Facts(Vec<(&'static str, String)>),
    /// One or more sentences.
    Words(String),
    /// What there is to type, and what for.
    Command {
        /// `Silence it for two hours, on mon1`.
        purpose: String,
        /// `latmon mute fra/core1 2h`.
        command: String,
    },
    /// Lines of cells; where each has but one, that is broken where it is too long.
    Table(Table),
    /// Values of several rounds, one line for each name.
    Series {
        /// What they are of.
        title: String,
        /// As many values in each.
        lines: Vec<(&'static str, Vec<String>)>,
    },
    /// A picture of the mail, by its number from 1. In text it has no place: it is attached.
    Picture {
        /// Which.
        number: usize,
        /// What it shows, for those who do not see it.
        shows: String,
    },
}

/// See [`Block::Table`].
#[derive(Clone, Debug)]
pub(in crate::monitor) struct Table {
    pub(in crate::monitor) title: String,
    pub(in crate::monitor) sides: Vec<Side>,
    pub(in crate::monitor) rows: Vec<Row>,
}

/// To which side the cells of a column stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::monitor) enum Side {
    Left,
    Right,
}

/// One line of a table.
#[derive(Clone, Debug, Default)]
pub(in crate::monitor) struct Row {
    pub(in crate::monitor) cells: Vec<String>,
    /// What is to be said about it.
    pub(in crate::monitor) note: Option<String>,
    /// It is what the reader looks for.
    pub(in crate::monitor) is_marked: bool,
}

/// By what a mail is known, and when it was decided on.
#[derive(Clone, Debug)]
pub(in crate::monitor) struct Post {
    pub(in crate::monitor) key: String,
    pub(in crate::monitor) in_reply_to: Option<String>,
    pub(in crate::monitor) is_urgent: bool,
    pub(in crate::monitor) date: UnixTime,
}

impl Post {
    /// A mail that answers none.
    pub(in crate::monitor) fn news(key: String, date: UnixTime) -> Self {
        Self { key, in_reply_to: None, is_urgent: false, date }
    }
}

impl Page {
    /// The message, sent by the machine called `host`, without its pictures.
    pub(in crate::monitor) fn into_message(self, post: Post, host: &str) -> Message {
        let text = html::document(&self, host, &|number| content_id(&post.key, number));
        Message {
            subject: format!("[latmon] {}: {}", self.word, self.headline),
            text: self.text(host),
            html: Some(Html { text, pictures: Vec::new() }),
            key: post.key,
            in_reply_to: post.in_reply_to,
            to: Vec::new(),
            attachments: Vec::new(),
            is_urgent: post.is_urgent,
            date: post.date,
        }
    }

    /// The headline where it stands by itself. A name is written as its owner writes it.
    pub(super) fn title(&self) -> String {
        match self.headline.strip_prefix("the ") {
            Some(rest) => format!("The {rest}"),
            None => self.headline.clone(),
        }
    }

    /// The page for a terminal of 80 columns.
    fn text(&self, host: &str) -> String {
        let mut text = String::new();
        wrap(&mut text, "", &format!("{}.", self.title()));
        for block in &self.blocks {
            let before = text.len();
            text.push('\n');
            block.write(&mut text);
            if text.len() == before + 1 {
                text.pop();
            }
        }
        // Writing to a String cannot fail.
        let _ = write!(text, "\n{NOT_HELD_UP}\n\n-- \n{}\n", signature(host));
        text
    }
}

/// Who sends it.
pub(super) fn signature(host: &str) -> String {
    format!("latmon {} on {host}", env!("CARGO_PKG_VERSION"))
}

impl Block {
    fn write(&self, text: &mut String) {
        match self {
            Self::Facts(facts) => {
                facts.iter().for_each(|(name, value)| wrap(text, &format!("{name:<FACT_NAME$}"), value));
            }
            Self::Words(words) => wrap(text, "", words),
            Self::Command { purpose, command } => {
                wrap(text, "", &format!("{purpose}:"));
                let _ = writeln!(text, "  {command}");
            }
            Self::Table(table) => {
                wrap(text, "", &format!("{}:", table.title));
                table.write(text);
            }
            Self::Series { title, lines } => {
                wrap(text, "", &format!("{title}:"));
                let width = lines.iter().flat_map(|(_, values)| values).map(|value| columns(value)).max();
                for (name, values) in lines {
                    let _ = write!(text, "{name:<SERIES_NAME$}");
                    values.iter().for_each(|value| pad(text, value, Side::Right, width.unwrap_or(0) + 1));
                    text.push('\n');
                }
            }
            Self::Picture { .. } => {}
        }
    }
}

impl Table {
    fn write(&self, text: &mut String) {
        if let [_] = self.sides[..] {
            let cells = self.rows.iter().flat_map(|row| &row.cells);
            return cells.for_each(|cell| wrap_under(text, "  ", 4, cell));
        }
        let width = |column: usize| {
            self.rows.iter().filter_map(|row| row.cells.get(column)).map(|cell| columns(cell)).max()
        };
        let widths: Vec<usize> = (0..self.sides.len()).map(|column| width(column).unwrap_or(0)).collect();
        for row in &self.rows {
            let mut line = if row.is_marked { "> ".to_owned() } else { "  ".to_owned() };
            for ((cell, side), width) in row.cells.iter().zip(&self.sides).zip(&widths) {
                pad(&mut line, cell, *side, *width);
                line.push_str("  ");
            }
            if let Some(note) = &row.note {
                if columns(&line) + columns(note) <= WIDTH {
                    line.push_str(note);
                } else {
                    line.truncate(line.trim_end().len());
                    line.push('\n');
                    // Under the second cell.
                    let inset = 4 + widths.first().copied().unwrap_or(0);
                    wrap(&mut line, &" ".repeat(inset), note);
                }
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
    }
}

/// Appends `cell`, filled up to `width` columns.
fn pad(line: &mut String, cell: &str, side: Side, width: usize) {
    let blanks = " ".repeat(width.saturating_sub(columns(cell)));
    match side {
        Side::Left => line.extend([cell, &blanks]),
        Side::Right => line.extend([&blanks, cell]),
    }
}

/// Appends `words`, broken at blanks, behind `begin`, under which further lines are set in.
fn wrap(text: &mut String, begin: &str, words: &str) {
    wrap_under(text, begin, columns(begin), words);
}

/// The same, with further lines set in by so many columns.
fn wrap_under(text: &mut String, begin: &str, inset: usize, words: &str) {
    let mut column = columns(begin);
    text.push_str(begin);
    let mut is_first = true;
    for word in words.split(' ') {
        if !is_first && column + 1 + columns(word) > WIDTH {
            text.push('\n');
            text.push_str(&" ".repeat(inset));
            column = inset;
        } else if !is_first {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += columns(word);
        is_first = false;
    }
    text.push('\n');
}

fn columns(text: &str) -> usize {
    text.chars().count()
}

/// Quoted once, a line still fits into 80 columns.
const WIDTH: usize = 78;
const FACT_NAME: usize = 9;
const SERIES_NAME: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_broken_at_blanks_and_set_in() {
        let mut text = String::new();
        wrap(&mut text, "since    ", &["seventeen letters"; 6].join(" "));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(
            lines[0].starts_with("since    seventeen") && lines[1].starts_with("         letters"),
            "{text}"
        );
        assert!(lines.iter().all(|line| line.len() <= WIDTH));
    }

    #[test]
    fn a_note_stands_beside_its_row_or_under_it() {
        let row = |note: &str| Row {
            cells: vec!["3".into(), "192.0.2.1".into()],
            note: Some(note.into()),
            is_marked: true,
        };
        let table = |note: String| {
            let table =
                Table { title: String::new(), sides: vec![Side::Right, Side::Left], rows: vec![row(&note)] };
            let mut text = String::new();
            table.write(&mut text);
            text
        };
        assert_eq!(table("was x".into()), "> 3  192.0.2.1  was x\n");
        assert_eq!(table("x".repeat(70)), format!("> 3  192.0.2.1\n     {}\n", "x".repeat(70)));
    }
}
