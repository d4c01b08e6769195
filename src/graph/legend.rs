//! The lines of words beneath the plot: what the numbers were, and what the colours mean.

use plotters::style::text_anchor::HPos;
use plotters::style::{Color, RGBColor};
use plotters_backend::DrawingBackend;

use super::Error;
use super::axis::{latency_in_words, limit_in_words};
use super::canvas::{Frame, Lettering, Pen, text_width};
use super::columns::Columns;
use super::theme::{Colours, LOSS_CLASSES};
use crate::history::History;
use crate::round::Rtt;
use crate::time::{Lasted, Step};

/// The size of all words but the title, in pixels: DejaVu's small letters are then six pixels high, and its capitals
/// eight.
pub(super) const SMALL: f64 = 11.0;
/// The height of one line of words, in pixels.
pub(super) const LINE: f64 = 17.0;

/// One entry: a sign, a word that explains, and what it explains.
#[derive(Clone)]
pub(super) struct Entry {
    sign: Sign,
    name: String,
    value: String,
    /// It begins a group: more room is left before it.
    opens: bool,
    /// Where there is no room, the entries of the greatest rank are left out first.
    rank: u8,
}

#[derive(Clone, Copy)]
enum Sign {
    Nothing,
    Colour(RGBColor),
    Down,
    NoData,
    Limit,
    Smoke,
}

/// The numbers of a history: its medians, its loss, how it was measured.
pub(super) fn numbers(history: &History, columns: &Columns) -> Vec<Entry> {
    let entry = |name: &str, value: String, opens, rank| Entry {
        sign: Sign::Nothing,
        name: name.to_owned(),
        value,
        opens,
        rank,
    };
    let mut entries = Vec::new();
    if let Some(summary) = history.summary() {
        let latency =
            |rtt: Option<Rtt>| rtt.map_or("–".to_owned(), |rtt| latency_in_words(rtt.as_secs_f64()));
        entries.extend([
            entry("median avg", latency(summary.average), true, 1),
            entry("min", latency(summary.min), false, 4),
            entry("max", latency(summary.max), false, 1),
            // The newest row was measured: without a median it was down.
            entry("last", summary.last.map_or("down".to_owned(), |last| latency(Some(last))), false, 3),
            entry("loss avg", share_in_words(summary.loss_ratio), true, 1),
            entry("worst", share_in_words(summary.worst_loss_ratio), false, 2),
        ]);
    }
    let pings = if history.pings == 1 { "1 ping".to_owned() } else { format!("{} pings", history.pings) };
    entries.push(entry("", format!("{pings} every {}", step_in_words(history.step)), true, 5));
    if history.row != history.step {
        entries.push(entry("", format!("rows of {}", step_in_words(history.row)), false, 5));
    }
    if columns.row_pixels < 1.0 {
        let pixel = history.row.duration().div_f64(columns.row_pixels.max(1e-6));
        entries.push(entry("", format!("{} per pixel", Lasted(pixel)), false, 9));
    }
    entries
}

/// What the colours mean; what is not in the picture is left out, but for the scale of loss.
pub(super) fn colours(columns: &Columns, limit_out_of_sight: Option<Rtt>, colours: &Colours) -> Vec<Entry> {
    let entry = |sign, value: &str, opens, rank| Entry {
        sign,
        name: String::new(),
        value: value.to_owned(),
        opens,
        rank,
    };
    let has = |holds: fn(&super::columns::Column) -> bool| columns.columns.iter().any(holds);
    let mut entries = Vec::new();
    if has(|column| column.is_measured()) {
        entries.extend(LOSS_CLASSES.iter().zip(colours.loss).enumerate().map(
            |(index, ((_, name), colour))| {
                let heading = if index == 0 { "loss" } else { "" };
                Entry { name: heading.to_owned(), ..entry(Sign::Colour(colour), name, index == 0, 7) }
            },
        ));
    }
    if has(|column| column.down) {
        entries.push(entry(Sign::Down, "down", false, 6));
    }
    if has(|column| !column.is_measured()) {
        entries.push(entry(Sign::NoData, "no data", false, 6));
    }
    if has(|column| column.bands.iter().any(|(low, high)| low < high)) {
        entries.push(entry(Sign::Smoke, "spread of the pings", true, 8));
    }
    if let Some(limit) = limit_out_of_sight {
        let words = format!("limit {}, above", limit_in_words(limit.as_secs_f64()));
        entries.push(entry(Sign::Limit, &words, true, 6));
    }
    entries
}

/// Sets groups of entries into at most `most` lines of `width` pixels, each group on lines of its own; entries of the
/// greatest ranks are dropped until that works.
pub(super) fn set(groups: [Vec<Entry>; 2], width: f64, most: usize) -> Vec<Vec<Entry>> {
    let mut groups = groups;
    loop {
        let lines: Vec<Vec<Entry>> = groups.iter().flat_map(|group| wrap(group, width)).collect();
        if lines.len() <= most {
            return lines;
        }
        let Some(rank) = groups.iter().flatten().map(|entry| entry.rank).max() else { return lines };
        for group in &mut groups {
            group.retain(|entry| entry.rank != rank);
        }
    }
}

fn wrap(entries: &[Entry], width: f64) -> Vec<Vec<Entry>> {
    let mut lines: Vec<Vec<Entry>> = Vec::new();
    let mut right = f64::INFINITY;
    for entry in entries {
        if right + entry.gap() + entry.width() > width {
            lines.push(Vec::new());
            right = -entry.gap();
        }
        right += entry.gap() + entry.width();
        if let Some(line) = lines.last_mut() {
            line.push(entry.clone());
        }
    }
    lines
}

/// Draws a line of entries.
pub(super) fn draw<DB: DrawingBackend>(
    pen: &Pen<DB>,
    line: &[Entry],
    (left, baseline): (f64, f64),
    colours: &Colours,
) -> Result<(), Error> {
    let lettering = Lettering { em: SMALL, bold: false, anchor: HPos::Left };
    let mut x = left;
    for (index, entry) in line.iter().enumerate() {
        x += if index == 0 { 0.0 } else { entry.gap() };
        pen.text(&entry.name, (x, baseline), lettering, colours.muted.to_rgba())?;
        x += entry.name_width();
        entry.sign.draw(pen, (x, baseline), colours)?;
        x += entry.sign.width();
        pen.text(&entry.value, (x, baseline), lettering, colours.text.to_rgba())?;
        x += text_width(&entry.value, SMALL, false);
    }
    Ok(())
}

impl Entry {
    fn gap(&self) -> f64 {
        if self.opens { 24.0 } else { 11.0 }
    }

    fn width(&self) -> f64 {
        self.name_width() + self.sign.width() + text_width(&self.value, SMALL, false)
    }

    fn name_width(&self) -> f64 {
        if self.name.is_empty() { 0.0 } else { text_width(&self.name, SMALL, false) + 5.0 }
    }
}

impl Sign {
    fn width(self) -> f64 {
        match self {
            Self::Nothing => 0.0,
            Self::Colour(_) => 14.0,
            Self::Down | Self::NoData | Self::Smoke => 18.0,
            Self::Limit => 24.0,
        }
    }

    fn draw<DB: DrawingBackend>(
        self,
        pen: &Pen<DB>,
        (x, baseline): (f64, f64),
        colours: &Colours,
    ) -> Result<(), Error> {
        let frame =
            |width: f64| Frame { left: x, top: baseline - 9.0, right: x + width, bottom: baseline + 1.0 };
        match self {
            Self::Nothing => Ok(()),
            Self::Colour(colour) => pen.fill(frame(10.0), &colour),
            Self::Down => {
                pen.fill(frame(14.0), &colours.down_block)?;
                pen.fill(Frame { top: baseline - 2.0, ..frame(14.0) }, &colours.down)
            }
            Self::NoData => pen.hatch(frame(14.0), &colours.no_data, &colours.hatch),
            Self::Limit => pen.dashes((x, x + 20.0), baseline - 3.5, &colours.limit),
            Self::Smoke => {
                [(0.0, 0.2), (2.0, 0.35), (4.0, 0.5)].into_iter().try_for_each(|(inset, alpha)| {
                    let frame = frame(14.0);
                    let inner = Frame { top: frame.top + inset, bottom: frame.bottom - inset, ..frame };
                    pen.fill(inner, &colours.smoke.mix(alpha))
                })
            }
        }
    }
}

fn share_in_words(ratio: f64) -> String {
    let percent = ratio * 100.0;
    match percent {
        0.0 => "0 %".to_owned(),
        percent if percent < 0.01 => "<0.01 %".to_owned(),
        percent if percent < 0.995 => format!("{percent:.2} %"),
        percent if percent < 99.95 => format!("{percent:.1} %").replace(".0 %", " %"),
        percent if percent < 100.0 => ">99.9 %".to_owned(),
        _ => "100 %".to_owned(),
    }
}

fn step_in_words(step: Step) -> String {
    if step.secs() < 120 { format!("{} s", step.secs()) } else { Lasted(step.duration()).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_never_rounds_to_none_or_all() {
        assert_eq!(
            [0.0, 1e-6, 0.0042, 0.05, 0.1248, 0.9999, 1.0].map(share_in_words),
            ["0 %", "<0.01 %", "0.42 %", "5 %", "12.5 %", ">99.9 %", "100 %"]
        );
    }

    #[test]
    fn steps_are_told_as_people_say_them() {
        assert_eq!(
            [10, 60, 300, 7200].map(|secs| step_in_words(Step::new(secs).unwrap())),
            ["10 s", "60 s", "5 min", "2 h"]
        );
    }

    #[test]
    fn what_has_no_room_is_dropped_by_rank() {
        let entry = |value: &str, rank| Entry {
            sign: Sign::Nothing,
            name: String::new(),
            value: value.to_owned(),
            opens: false,
            rank,
        };
        let group = || vec![entry("first words", 1), entry("some more words", 3), entry("the last words", 2)];
        let values = |lines: Vec<Vec<Entry>>| -> Vec<Vec<String>> {
            lines.into_iter().map(|line| line.into_iter().map(|entry| entry.value).collect()).collect()
        };
        assert_eq!(values(set([group(), Vec::new()], 1000.0, 1))[0].len(), 3);
        assert_eq!(values(set([group(), Vec::new()], 190.0, 1)), [["first words", "the last words"]]);
        assert_eq!(values(set([group(), Vec::new()], 190.0, 2)).len(), 2);
        assert!(set([group(), group()], 190.0, 0).is_empty());
    }
}
