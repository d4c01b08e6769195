//! Pictures of latency: a history in, the bytes of a PNG or an SVG out.
//!
//! plotters draws, on its own SVG backend or on one over tiny-skia; the font is embedded, so that a machine without
//! fonts makes the same picture.

mod axis;
mod canvas;
mod columns;
mod heading;
mod legend;
mod smoke;
mod theme;

use std::ops::RangeInclusive;

use plotters::backend::SVGBackend;
use tiny_skia::Pixmap;

use crate::history::History;
use crate::round::Rtt;
use crate::time::UnixTime;
use canvas::{Canvas, Pen, UNITS};

/// Draws the median over the smoke of its pings, with the loss, in the local zone. The same history, zone and picture
/// make the same bytes.
///
/// # Errors
/// A width, height or scale out of bounds.
///
/// ```
/// use latmon::graph::{Format, Picture, Theme, smoke};
/// use latmon::history::History;
/// use latmon::time::{Step, UnixTime};
///
/// let step = Step::new(60).unwrap();
/// let (start, end) = (UnixTime::from_secs(0), UnixTime::from_secs(3600));
/// let history = History { target: "core1".into(), row: step, step, pings: 20, start, end, rows: Vec::new() };
/// let picture = Picture {
///     title: "core1 (192.0.2.1)".into(),
///     width: 1000,
///     height: 300,
///     scale: 1.0,
///     theme: Theme::Light,
///     format: Format::Png,
///     limit: None,
///     marks: Vec::new(),
/// };
/// assert!(smoke(&history, &picture).unwrap().starts_with(b"\x89PNG"));
/// ```
pub fn smoke(history: &History, picture: &Picture) -> Result<Vec<u8>, Error> {
    picture.check()?;
    let size = (picture.width, picture.height);
    match picture.format {
        Format::Png => {
            let pixels = |length: u32| (length as f32 * picture.scale).round() as u32;
            let (width, height) = (pixels(picture.width), pixels(picture.height));
            let mut pixmap = Pixmap::new(width, height).ok_or(Error::Area { width, height })?;
            let pen = Pen::new(Canvas::new(&mut pixmap, size, picture.scale));
            smoke::draw(&pen, history, picture, &|at| at.local())?;
            drop(pen);
            pixmap.encode_png().map_err(|error| Error::Drawing { reason: error.to_string() })
        }
        Format::Svg => {
            let mut svg = String::new();
            let pen = Pen::new(SVGBackend::with_string(&mut svg, (size.0 * UNITS, size.1 * UNITS)));
            smoke::draw(&pen, history, picture, &|at| at.local())?;
            drop(pen);
            Ok(in_pixels(&svg, size).into_bytes())
        }
    }
}

/// How a picture is made.
#[derive(Clone, Debug)]
pub struct Picture {
    /// The heading; the target's name, usually.
    pub title: String,
    /// The width of the whole picture, in pixels at scale 1.
    pub width: u32,
    /// The height of the whole picture, in pixels at scale 1.
    pub height: u32,
    /// How many pixels a pixel has: 2 for a screen of double density. Of no meaning for SVG.
    pub scale: f32,
    /// Its colours.
    pub theme: Theme,
    /// What it is written as.
    pub format: Format,
    /// A limit of latency to draw as a line.
    pub limit: Option<Rtt>,
    /// Spans of time that are to be found at a glance.
    pub marks: Vec<Mark>,
}

/// A span of time that a picture points at: shaded behind the smoke, and named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Where it begins; what lies before the picture is left out.
    pub from: UnixTime,
    /// Where it ends; a span too short to be seen is drawn as a line.
    pub until: UnixTime,
    /// A few words: `slow since 14:02`. They are left out where they have no room.
    pub label: String,
}

/// What a picture is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Pixels.
    Png,
    /// Vectors, with its text as text.
    Svg,
}

/// The colours of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Theme {
    /// Dark on light.
    Light,
    /// Light on dark.
    Dark,
}

/// Why no picture was made.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    /// The width is out of bounds.
    #[error("a picture cannot be {0} pixels wide: choose {min} to {max}", min = WIDTHS.start(), max = WIDTHS.end())]
    Width(u32),
    /// The height is out of bounds.
    #[error("a picture cannot be {0} pixels high: choose {min} to {max}", min = HEIGHTS.start(), max = HEIGHTS.end())]
    Height(u32),
    /// The scale is out of bounds.
    #[error("a picture cannot be scaled by {0}: choose {min} to {max}", min = SCALES.start(), max = SCALES.end())]
    Scale(f32),
    /// Width, height and scale are within bounds, but not all three together.
    #[error("a picture of {width} x {height} pixels is too large: choose a smaller size or scale")]
    Area {
        /// The width, in pixels after scaling.
        width: u32,
        /// The height, in pixels after scaling.
        height: u32,
    },
    /// The drawing library failed.
    #[error("cannot draw the picture: {reason}")]
    Drawing {
        /// What it said.
        reason: String,
    },
}

const WIDTHS: RangeInclusive<u32> = 200..=8000;
const HEIGHTS: RangeInclusive<u32> = 120..=4000;
const SCALES: RangeInclusive<f32> = 0.5..=4.0;
/// 128 MB of pixels.
const MOST_PIXELS: f64 = 32e6;

impl Picture {
    fn check(&self) -> Result<(), Error> {
        if !WIDTHS.contains(&self.width) {
            return Err(Error::Width(self.width));
        }
        if !HEIGHTS.contains(&self.height) {
            return Err(Error::Height(self.height));
        }
        if !SCALES.contains(&self.scale) {
            return Err(Error::Scale(self.scale));
        }
        let scaled = |length: u32| f64::from(length) * f64::from(self.scale);
        if self.format == Format::Png && scaled(self.width) * scaled(self.height) > MOST_PIXELS {
            return Err(Error::Area { width: scaled(self.width) as u32, height: scaled(self.height) as u32 });
        }
        Ok(())
    }
}

/// An SVG that was drawn in units, with a head that says its size in pixels.
fn in_pixels(svg: &str, (width, height): (u32, u32)) -> String {
    // plotters writes the opening tag as the first line.
    let body = svg.split_once('\n').map_or("", |(_, body)| body);
    let (across, down) = (width * UNITS, height * UNITS);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {across} {down}\">\n{body}"
    )
}
