//! The line on top of a picture: its title, and the span that it shows.

use plotters::style::Color;
use plotters::style::text_anchor::HPos;
use plotters_backend::DrawingBackend;

use super::Error;
use super::canvas::{Lettering, Pen, text_width};
use super::legend::SMALL;
use super::theme::Colours;

/// Where it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    pub(super) left: f64,
    pub(super) right: f64,
    pub(super) baseline: f64,
}

/// Draws the title, and beside it the longest form of the span that has room, of which the last is the zone alone.
pub(super) fn draw<DB: DrawingBackend>(
    pen: &Pen<DB>,
    title: &str,
    spans: &[String; 3],
    line: Line,
    colours: &Colours,
) -> Result<(), Error> {
    let Line { left, right, baseline } = line;
    let (title, span) = set(title, spans, right - left);
    let bold = Lettering { em: TITLE, bold: true, anchor: HPos::Left };
    pen.text(&title, (left, baseline), bold, colours.text.to_rgba())?;
    if let Some(span) = span {
        let small = Lettering { em: SMALL, bold: false, anchor: HPos::Right };
        pen.text(span, (right, baseline), small, colours.muted.to_rgba())?;
    }
    Ok(())
}

/// The title and the span as they fit into `room` pixels. The zone is told at any width, and the title gives way before
/// the short form of the span does, but not by more than half.
fn set<'a>(title: &str, spans: &'a [String; 3], room: f64) -> (String, Option<&'a str>) {
    let width_of = |span: &str| text_width(span, SMALL, false) + GAP;
    let [_, short, zone] = spans;
    let beside_short = room - width_of(short);
    let title_room = if beside_short >= room * 0.5 { beside_short } else { room - width_of(zone) };
    let title = shortened(&printable(title), title_room);
    let left_over = room - text_width(&title, TITLE, true);
    (title, spans.iter().find(|span| width_of(span) <= left_over).map(String::as_str))
}

/// `title` with a mark in place of each character that nothing can show, and that no XML may hold.
pub(super) fn printable(title: &str) -> String {
    let is_printable =
        |character: char| !character.is_control() && !matches!(character, '\u{fffe}' | '\u{ffff}');
    title.chars().map(|character| if is_printable(character) { character } else { '\u{fffd}' }).collect()
}

/// `title` as far as it fits into `room` pixels, with an ellipsis where it does not.
fn shortened(title: &str, room: f64) -> String {
    if text_width(title, TITLE, true) <= room {
        return title.to_owned();
    }
    let fits = |end: usize| text_width(&format!("{}…", &title[..end]), TITLE, true) <= room;
    let end = title.char_indices().map(|(index, _)| index).take_while(|index| fits(*index)).last();
    format!("{}…", &title[..end.unwrap_or(0)])
}

/// The size of the title, in pixels.
const TITLE: f64 = 14.0;
/// The least room between title and span, in pixels.
const GAP: f64 = 16.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_title_gives_way_to_the_span_unless_that_takes_more_than_half() {
        let spans = [
            "Sat 21 Nov 2026, 13:04 – Sun 22 Nov 2026, 13:04 UTC",
            "21 Nov, 13:04 – 22 Nov, 13:04 UTC",
            "UTC",
        ]
        .map(str::to_owned);
        let long = "frankfurt/datacentre-2/rack-14/customer-access-router-7.management.example.net";
        assert_eq!(set("core1", &spans, 900.0), ("core1".to_owned(), Some(spans[0].as_str())));
        let (title, span) = set(long, &spans, 500.0);
        assert!(title.starts_with("frankfurt/datacentre-2/") && title.ends_with('…'), "{title}");
        assert_eq!(span, Some(spans[1].as_str()));
        // No form of the span but the zone has room, and the title takes what that leaves.
        let (title, span) = set(long, &spans, 335.0);
        assert!(text_width(&title, TITLE, true) > 335.0 * 0.75, "{title}");
        assert_eq!(span, Some("UTC"));
    }
}
