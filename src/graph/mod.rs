//! Pictures of latency: a history in, the bytes of a PNG or an SVG out.

use crate::round::Rtt;

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
