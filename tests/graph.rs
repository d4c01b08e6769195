//! Pictures as a user gets them: the bytes of a PNG, decoded again, and of an SVG, parsed again.

#![allow(clippy::unwrap_used)]

use std::process::Command;
use std::time::Duration;

use latmon::graph::{Error, Format, Mark, Picture, Theme, smoke};
use latmon::history::{History, Row};
use latmon::round::Rtt;
use latmon::time::{Step, UnixTime};
use proptest::prelude::*;
use quick_xml::events::Event;

type Rgb = [u8; 3];

// The light theme.
const MEDIAN_WITHOUT_LOSS: Rgb = [0, 145, 95];
const LOSS_UP_TO_A_QUARTER: Rgb = [200, 80, 190];
const DOWN_BLOCK: Rgb = [248, 205, 208];
const DOWN_LINE: Rgb = [226, 110, 122];
const DOWN_STRIP: Rgb = [155, 0, 28];
const NO_DATA: Rgb = [228, 231, 235];
const LIMIT: Rgb = [190, 24, 93];
const FRAME: Rgb = [150, 158, 168];
const PLOT: Rgb = [250, 251, 252];
const MARK_LINE: Rgb = [224, 138, 0];

const MINUTE: i64 = 60;
/// Sunday, 22 November 2026, 08:00 UTC.
const EIGHT: i64 = 1_795_334_400;

#[test]
fn a_picture_has_the_size_that_was_asked_for_times_its_scale() {
    let history = steady(60, 10);
    for (scale, size) in [(1.0, (1000, 300)), (2.0, (2000, 600)), (0.5, (500, 150))] {
        let pixels = decode(&smoke(&history, &Picture { scale, ..picture() }).unwrap());
        assert_eq!((pixels.width, pixels.height), size);
    }
}

#[test]
fn sizes_out_of_bounds_are_refused_with_the_bounds() {
    let refused = |picture: Picture| smoke(&steady(60, 10), &picture).unwrap_err();
    assert_eq!(refused(Picture { width: 199, ..picture() }), Error::Width(199));
    assert_eq!(refused(Picture { width: 8001, ..picture() }), Error::Width(8001));
    assert_eq!(refused(Picture { height: 119, ..picture() }), Error::Height(119));
    assert_eq!(refused(Picture { height: 4001, ..picture() }), Error::Height(4001));
    assert_eq!(refused(Picture { scale: 0.4, ..picture() }), Error::Scale(0.4));
    assert!(matches!(refused(Picture { scale: f32::NAN, ..picture() }), Error::Scale(_)));
    let large = Picture { width: 8000, height: 4000, scale: 4.0, ..picture() };
    assert_eq!(refused(large), Error::Area { width: 32_000, height: 16_000 });
    assert_eq!(Error::Width(9999).to_string(), "a picture cannot be 9999 pixels wide: choose 200 to 8000");
    smoke(&steady(60, 10), &Picture { width: 200, height: 120, ..picture() }).unwrap();
}

#[test]
fn latency_is_to_scale() {
    let limit = Some(Rtt::new(Duration::from_millis(20)));
    let pixels = decode(&smoke(&steady(60, 10), &Picture { limit, ..picture() }).unwrap());
    let plot = pixels.plot();
    let rows = |colour| -> Vec<u32> {
        (plot.top..plot.bottom).filter(|y| pixels.count_in_row(*y, colour) > 300).collect()
    };
    let (median, limit) = (rows(MEDIAN_WITHOUT_LOSS), rows(LIMIT));
    assert!(!median.is_empty() && !limit.is_empty(), "{median:?} {limit:?}");
    let height = |rows: &[u32]| {
        let middle = rows.iter().map(|y| f64::from(*y) + 0.5).sum::<f64>() / rows.len() as f64;
        f64::from(plot.bottom) - middle
    };
    // The median of 10 ms lies half as high above zero as the limit of 20 ms.
    assert!((height(&limit) / 2.0 - height(&median)).abs() <= 1.0, "{} {}", height(&limit), height(&median));
}

#[test]
fn down_and_not_measured_and_well_are_three_different_things() {
    let mut history = steady(60, 10);
    (20..30).for_each(|index| history.rows[index] = down(&history.rows[index]));
    (40..50).for_each(|index| history.rows[index] = not_measured(&history.rows[index]));
    let pixels = decode(&smoke(&history, &picture()).unwrap());
    let plot = pixels.plot();
    let column = |minute: f64| plot.left + (f64::from(plot.right - plot.left) * minute / 60.0) as u32;
    let middle = (plot.top + plot.bottom) / 2;
    assert_eq!(pixels.at(column(22.0), middle), DOWN_BLOCK);
    assert_eq!(pixels.at(column(28.0), plot.bottom - 2), DOWN_BLOCK);
    assert_eq!(pixels.at(column(25.0), plot.bottom + TO_STRIP), DOWN_STRIP);
    let share = |from: f64, to: f64, colour| {
        let all = (column(to) - column(from)) * (plot.bottom - plot.top);
        let points = (column(from)..column(to)).flat_map(|x| (plot.top..plot.bottom).map(move |y| (x, y)));
        points.filter(|(x, y)| pixels.at(*x, *y) == colour).count() as f64 / f64::from(all)
    };
    let ground = share(40.5, 49.5, NO_DATA);
    assert!(ground > 0.5 && ground < 0.95, "{ground}: the ground is seen, and the hatching over it");
    for (from, to) in [(1.0, 19.0), (31.0, 39.0), (51.0, 59.0)] {
        assert_eq!(share(from, to, NO_DATA) + share(from, to, DOWN_BLOCK), 0.0);
        assert!(share(from, to, MEDIAN_WITHOUT_LOSS) > 0.0);
    }
    assert_eq!(share(20.5, 29.5, MEDIAN_WITHOUT_LOSS) + share(40.5, 49.5, MEDIAN_WITHOUT_LOSS), 0.0);
}

/// An alert is found at a glance: its span is shaded, and nothing that was measured is hidden by that.
#[test]
fn a_marked_span_is_shaded_behind_the_smoke_and_named() {
    let history = steady(60, 10);
    let mark = |from: i64, until: i64| Mark {
        from: UnixTime::from_secs(EIGHT + from * MINUTE),
        until: UnixTime::from_secs(EIGHT + until * MINUTE),
        label: "slow since 08:20".into(),
    };
    let with = |marks: Vec<Mark>| Picture { marks, ..picture() };
    let without = decode(&smoke(&history, &picture()).unwrap());
    let pixels = decode(&smoke(&history, &with(vec![mark(20, 30)])).unwrap());
    let plot = pixels.plot();
    let column = |minute: f64| plot.left + (f64::from(plot.right - plot.left) * minute / 60.0) as u32;
    let ground = |y| (column(21.0)..column(29.0)).filter(|x| pixels.at(*x, y) == PLOT).count();
    assert_eq!((plot.top..plot.bottom).map(ground).sum::<usize>(), 0, "all of its ground is shaded");
    assert_eq!(pixels.at(column(25.0), plot.top + 1), MARK_LINE);
    let line = column(20.0) - 1..column(20.0) + 2;
    assert!(line.clone().any(|x| pixels.at(x, (plot.top + plot.bottom) / 2) == MARK_LINE));
    // All but the line where it begins lies under the median.
    assert!(without.count(MEDIAN_WITHOUT_LOSS) - pixels.count(MEDIAN_WITHOUT_LOSS) <= 3);
    for (x, y) in (plot.left..column(19.5)).flat_map(|x| (plot.top..plot.bottom).map(move |y| (x, y))) {
        assert_eq!(pixels.at(x, y), without.at(x, y), "at {x}, {y}");
    }
    let named = |marks| texts(&svg(&history, &with(marks))).iter().any(|text| text == "slow since 08:20");
    assert!(named(vec![mark(20, 30)]), "behind its beginning");
    assert!(named(vec![mark(58, 60)]), "before it, where the picture ends");
    assert!(named(vec![mark(-500, 30)]), "what began long ago");
    for outside in [mark(-20, -10), mark(70, 80), mark(60, 90)] {
        assert_eq!(smoke(&history, &with(vec![outside])).unwrap(), smoke(&history, &picture()).unwrap());
    }
    // One round among ten days is a line, and is seen.
    let long = steady(10 * 24 * 60, 10);
    let pixels = decode(&smoke(&long, &with(vec![mark(7777, 7778)])).unwrap());
    let x = plot.left + (f64::from(plot.right - plot.left) * 7777.5 / 14_400.0) as u32;
    assert!((x - 3..x + 4).any(|x| pixels.at(x, plot.top + 1) == MARK_LINE));
}

/// SmokePing draws lost pings as bars to the upper edge (oetiker/SmokePing#267): here nothing may rise above the
/// answered ones.
#[test]
fn lost_pings_leave_no_bars() {
    let mut history = steady(60, 10);
    for row in &mut history.rows[20..40] {
        row.loss_ratio = Some(0.2);
        row.ranks[..2].fill(None);
        row.ranks[18..].fill(None);
    }
    let without = decode(&smoke(&steady(60, 10), &picture()).unwrap());
    let with = decode(&smoke(&history, &picture()).unwrap());
    let plot = with.plot();
    for y in plot.top..plot.top + 15 {
        for x in plot.left..plot.right {
            assert_eq!(with.at(x, y), without.at(x, y), "at {x}, {y}");
        }
    }
    let more = with.count(LOSS_UP_TO_A_QUARTER) - without.count(LOSS_UP_TO_A_QUARTER);
    assert!(more > 300, "the median and the strip of loss have its colour: {more}");
}

#[test]
fn one_lost_round_among_ten_days_is_seen() {
    let mut history = steady(10 * 24 * 60, 10);
    history.rows[7777] = down(&history.rows[7777]);
    let pixels = decode(&smoke(&history, &picture()).unwrap());
    let plot = pixels.plot();
    let line = plot.left + (f64::from(plot.right - plot.left) * 7777.5 / 14_400.0) as u32;
    assert_eq!(pixels.at(line, plot.top + 5), DOWN_LINE);
    assert_eq!(pixels.at(line, plot.bottom + TO_STRIP), DOWN_STRIP);
}

#[test]
fn nothing_measured_is_a_picture_that_says_so() {
    let history = History { rows: Vec::new(), ..steady(60, 10) };
    assert!(texts(&svg(&history, &picture())).iter().any(|text| text == "no data in this span"));
    let pixels = decode(&smoke(&history, &picture()).unwrap());
    assert!(pixels.count(NO_DATA) > 50_000);
}

#[test]
fn the_smoke_has_no_seams() {
    let mut history = steady(60, 10);
    for row in &mut history.rows {
        row.ranks = (0..20).map(|rank| Rtt::from_secs_f64(0.005 + 0.0005 * f64::from(rank))).collect();
    }
    // Half a minute off, so that the rows do not meet on the grid, which shines through.
    history.start = UnixTime::from_secs(EIGHT + MINUTE / 2);
    history.end = UnixTime::from_secs(EIGHT + 59 * MINUTE + MINUTE / 2);
    for row in &mut history.rows {
        row.end = UnixTime::from_secs(row.end.secs() + MINUTE / 2);
    }
    let pixels = decode(&smoke(&history, &picture()).unwrap());
    let plot = pixels.plot();
    // All rows are alike: above the median, the smoke has one colour wherever two of them meet.
    let y = plot.bottom - (plot.bottom - plot.top) * 3 / 4;
    for minute in 1..59 {
        let x = plot.left + (plot.right - plot.left) * minute / 59;
        let around: Vec<Rgb> = (x - 3..x + 3).map(|x| pixels.at(x, y)).collect();
        assert!(around.iter().all(|colour| *colour == around[0]), "{minute}: {around:?}");
        assert!(around[0][0] < 200, "{around:?}: it is smoke");
    }
}

#[test]
fn the_same_again_is_the_same_bytes() {
    for format in [Format::Png, Format::Svg] {
        let picture = Picture { format, ..picture() };
        assert_eq!(smoke(&steady(600, 10), &picture).unwrap(), smoke(&steady(600, 10), &picture).unwrap());
    }
}

#[test]
fn any_title_makes_well_formed_svg() {
    let title = "a<b & \"c\" 'd'\u{1}\u{fffe}";
    let svg = svg(&steady(60, 10), &Picture { title: title.into(), ..picture() });
    assert!(svg.contains("a&lt;b &amp; &quot;c&quot;"));
    assert!(texts(&svg).iter().any(|text| text == "a<b & \"c\" 'd'\u{fffd}\u{fffd}"), "{:?}", texts(&svg));
    let head =
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"1000\" height=\"300\" viewBox=\"0 0 8000 2400\">";
    assert!(svg.starts_with(head));
}

#[test]
fn the_words_tell_numbers_and_limit() {
    let limit = Some(Rtt::new(Duration::from_millis(100)));
    let mut history = steady(60, 10);
    history.rows[59] = down(&history.rows[59]);
    let words = texts(&svg(&history, &Picture { limit, ..picture() }));
    // One minute in sixty was lost: 1.67 %.
    let wanted = [
        "core1 (192.0.2.1)",
        "10.0 ms",
        "down",
        "1.7 %",
        "100 %",
        "20 pings every 60 s",
        "limit 100 ms, above",
    ];
    for wanted in wanted {
        assert!(words.iter().any(|word| word == wanted), "{wanted}: {words:?}");
    }
    let consolidated = History { row: Step::new(600).unwrap(), ..steady(60, 10) };
    assert!(texts(&svg(&consolidated, &picture())).iter().any(|word| word == "rows of 10 min"));
}

/// Prints the words of an SVG, too: `the_zone_of_the_process_is_drawn_and_named` reads them.
#[test]
fn the_zone_is_named() {
    let history = steady(60, 10);
    let words = texts(&svg(&history, &picture()));
    assert!(words.iter().any(|word| word.ends_with(&history.end.local().zone)), "{words:?}");
    println!("{words:?}");
    // The ends of the scale have local times, too.
    for end in [i64::MIN, i64::MAX] {
        smoke(&History { end: UnixTime::from_micros(end), ..steady(60, 10) }, &picture()).unwrap();
    }
}

/// The zone belongs to the whole process, so that each zone has one of its own. In this form `TZ` needs no zone files.
#[test]
fn the_zone_of_the_process_is_drawn_and_named() {
    for (zone, span, label) in [
        ("CET-1CEST,M3.5.0,M10.5.0/3", "Sun 22 Nov 2026, 09:00 – 10:00 CET", "09:05"),
        ("<+0545>-5:45", "Sun 22 Nov 2026, 13:45 – 14:45 +0545", "13:50"),
        ("EST5", "Sun 22 Nov 2026, 03:00 – 04:00 EST", "03:05"),
    ] {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "the_zone_is_named", "--nocapture"])
            .env("TZ", zone)
            .output()
            .unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{printed}");
        assert!(printed.contains(&format!("\"{span}\"")), "{span}: {printed}");
        assert!(printed.contains(&format!("\"{label}\"")), "{label}: {printed}");
    }
}

fn any_rtt() -> impl Strategy<Value = Option<Rtt>> {
    let rtt = prop_oneof![0.0..1e-3f64, 0.0..10.0f64, Just(0.0), Just(1e19)];
    prop::option::of(rtt.prop_map(|secs| Rtt::from_secs_f64(secs).unwrap()))
}

fn any_row() -> impl Strategy<Value = Row> {
    let loss_ratio = prop::option::of(prop_oneof![Just(0.0), Just(1.0), 0.0..=1.0f64]);
    (loss_ratio, any_rtt(), prop::collection::vec(any_rtt(), 0..6)).prop_map(|(loss_ratio, median, ranks)| {
        Row { end: UnixTime::from_secs(0), loss_ratio, median, ranks }
    })
}

fn any_time() -> impl Strategy<Value = i64> {
    prop_oneof![EIGHT - 100_000..EIGHT + 100_000, Just(i64::MIN), Just(i64::MAX), any::<i64>()]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// An archive may hold anything, and anyone may ask for any span of it.
    #[test]
    fn any_history_makes_a_picture(
        mut rows in prop::collection::vec(any_row(), 0..300),
        (first, start, end) in (any_time(), any_time(), any_time()),
        (row_secs, step_secs) in (prop_oneof![1..100_000u32, Just(u32::MAX)], 1..4000u32),
        pings in 0..6usize,
        (width, height) in (200..500u32, 120..300u32),
        limit in any_rtt(),
        (from, until, label) in (any_time(), any_time(), "\\PC{0,30}"),
    ) {
        for (row, index) in rows.iter_mut().zip(1..) {
            row.end = UnixTime::from_secs(first.saturating_add(i64::from(row_secs) * index));
        }
        let history = History {
            target: "t".into(),
            row: Step::new(row_secs).unwrap(),
            step: Step::new(step_secs).unwrap(),
            pings,
            start: UnixTime::from_secs(start),
            end: UnixTime::from_secs(end),
            rows,
        };
        let (from, until) = (UnixTime::from_secs(from), UnixTime::from_secs(until));
        let marks = vec![Mark { from, until, label }];
        let picture = Picture { width, height, limit, marks, ..picture() };
        let pixels = decode(&smoke(&history, &picture).unwrap());
        prop_assert_eq!((pixels.width, pixels.height), (width, height));
        texts(&svg(&history, &picture));
    }
}

/// From the last row of the plot to the middle of the strip of loss.
const TO_STRIP: u32 = 10;

fn picture() -> Picture {
    Picture {
        title: "core1 (192.0.2.1)".into(),
        width: 1000,
        height: 300,
        scale: 1.0,
        theme: Theme::Light,
        format: Format::Png,
        limit: None,
        marks: Vec::new(),
    }
}

/// From eight o'clock on, a row a minute, each ping of which took `ms`.
fn steady(minutes: i64, ms: u64) -> History {
    let rtt = Some(Rtt::new(Duration::from_millis(ms)));
    let row = |minute| Row {
        end: UnixTime::from_secs(EIGHT + MINUTE * minute),
        loss_ratio: Some(0.0),
        median: rtt,
        ranks: vec![rtt; 20],
    };
    let step = Step::new(60).unwrap();
    History {
        target: "core1".into(),
        row: step,
        step,
        pings: 20,
        start: UnixTime::from_secs(EIGHT),
        end: UnixTime::from_secs(EIGHT + MINUTE * minutes),
        rows: (1..=minutes).map(row).collect(),
    }
}

fn down(row: &Row) -> Row {
    Row { loss_ratio: Some(1.0), median: None, ranks: vec![None; 20], ..row.clone() }
}

fn not_measured(row: &Row) -> Row {
    Row { loss_ratio: None, median: None, ranks: vec![None; 20], ..row.clone() }
}

struct Pixels {
    width: u32,
    height: u32,
    rgba: Vec<u8>,
}

/// The first row and column of the plot's inside, and those after the last.
struct Plot {
    left: u32,
    top: u32,
    right: u32,
    bottom: u32,
}

fn decode(bytes: &[u8]) -> Pixels {
    let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
    let mut rgba = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut rgba).unwrap();
    assert_eq!((info.color_type, info.bit_depth), (png::ColorType::Rgba, png::BitDepth::Eight));
    Pixels { width: info.width, height: info.height, rgba }
}

impl Pixels {
    fn at(&self, x: u32, y: u32) -> Rgb {
        let index = 4 * (y * self.width + x) as usize;
        [self.rgba[index], self.rgba[index + 1], self.rgba[index + 2]]
    }

    fn count_in_row(&self, y: u32, colour: Rgb) -> usize {
        (0..self.width).filter(|x| self.at(*x, y) == colour).count()
    }

    fn count(&self, colour: Rgb) -> usize {
        (0..self.height).map(|y| self.count_in_row(y, colour)).sum()
    }

    /// What lies within the first frame from above.
    fn plot(&self) -> Plot {
        let rows: Vec<u32> = (0..self.height).filter(|y| self.count_in_row(*y, FRAME) > 800).collect();
        let count = |x: u32| (0..self.height).filter(|y| self.at(x, *y) == FRAME).count();
        let columns: Vec<u32> = (0..self.width).filter(|x| count(*x) > 150).collect();
        Plot { left: columns[0] + 1, top: rows[0] + 1, right: columns[columns.len() - 1], bottom: rows[1] }
    }
}

fn svg(history: &History, picture: &Picture) -> String {
    String::from_utf8(smoke(history, &Picture { format: Format::Svg, ..picture.clone() }).unwrap()).unwrap()
}

/// The texts of an SVG, which is read to its end: it must be well-formed.
fn texts(svg: &str) -> Vec<String> {
    let mut reader = quick_xml::Reader::from_str(svg);
    let (mut texts, mut depth) = (Vec::new(), 0);
    loop {
        match reader.read_event().unwrap() {
            Event::Start(start) => {
                depth += 1;
                assert!(start.attributes().all(|attribute| attribute.is_ok()));
                if start.name().as_ref() == "text" {
                    texts.push(String::new());
                }
            }
            Event::End(_) => depth -= 1,
            Event::Text(text) => {
                if let Some(last) = texts.last_mut() {
                    last.push_str(&text);
                }
            }
            Event::GeneralRef(reference) => texts.last_mut().unwrap().push(match reference.as_ref() {
                "lt" => '<',
                "gt" => '>',
                "amp" => '&',
                "quot" => '"',
                "apos" => '\'',
                other => panic!("{other:?} is not defined in XML"),
            }),
            Event::Eof => break,
            _ => {}
        }
    }
    assert_eq!(depth, 0, "every element is closed");
    texts.into_iter().map(|text| text.trim().to_owned()).collect()
}
