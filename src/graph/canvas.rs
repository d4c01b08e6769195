//! Where a picture is drawn: a plotters backend of smooth pixels, the embedded font, and a pen that draws alike on any
//! backend.
//!
//! plotters counts in whole pixels. To draw smooth lines all the same, every backend here is told to be
//! [`UNITS`] times as large as the picture, and scales down again.

use std::convert::Infallible;
use std::sync::LazyLock;

use ab_glyph::{Font, FontRef, GlyphId, OutlineCurve};
use plotters::coord::Shift;
use plotters::drawing::DrawingArea;
use plotters::element::{PathElement, Polygon, Rectangle};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontDesc, FontFamily, FontStyle, RGBAColor, TextStyle};
use plotters_backend::{
    BackendColor, BackendCoord, BackendStyle, BackendTextStyle, DrawingBackend, DrawingErrorKind,
};
use tiny_skia::{FillRule, LineCap, LineJoin, Paint, Path, PathBuilder, Pixmap, Rect, Stroke, Transform};

use super::Error;

/// How many units of a backend make a pixel.
pub(super) const UNITS: u32 = 8;

/// A plotters backend that draws anti-aliased pixels.
pub(super) struct Canvas<'a> {
    pixmap: &'a mut Pixmap,
    size: (u32, u32),
    to_pixels: Transform,
}

impl<'a> Canvas<'a> {
    /// A canvas on `pixmap`, of `scale` times the pixels that are drawn.
    pub(super) fn new(pixmap: &'a mut Pixmap, (width, height): (u32, u32), scale: f32) -> Self {
        let scale = scale / UNITS as f32;
        Self { pixmap, size: (width * UNITS, height * UNITS), to_pixels: Transform::from_scale(scale, scale) }
    }

    fn fill(&mut self, path: Option<Path>, color: BackendColor) {
        if let Some(path) = path {
            self.pixmap.fill_path(&path, &paint(color), FillRule::Winding, self.to_pixels, None);
        }
    }

    fn stroke<S: BackendStyle>(&mut self, path: Option<Path>, style: &S) {
        let width = style.stroke_width() as f32;
        let stroke =
            Stroke { width, line_cap: LineCap::Butt, line_join: LineJoin::Miter, ..Stroke::default() };
        if let Some(path) = path {
            self.pixmap.stroke_path(&path, &paint(style.color()), &stroke, self.to_pixels, None);
        }
    }
}

type Drawn = Result<(), DrawingErrorKind<Infallible>>;

impl DrawingBackend for Canvas<'_> {
    type ErrorType = Infallible;

    fn get_size(&self) -> (u32, u32) {
        self.size
    }

    fn ensure_prepared(&mut self) -> Drawn {
        Ok(())
    }

    fn present(&mut self) -> Drawn {
        Ok(())
    }

    fn draw_pixel(&mut self, (x, y): BackendCoord, color: BackendColor) -> Drawn {
        self.draw_rect((x, y), (x + 1, y + 1), &color, true)
    }

    fn draw_line<S: BackendStyle>(&mut self, from: BackendCoord, to: BackendCoord, style: &S) -> Drawn {
        self.draw_path([from, to], style)
    }

    fn draw_rect<S: BackendStyle>(
        &mut self,
        a: BackendCoord,
        b: BackendCoord,
        style: &S,
        fill: bool,
    ) -> Drawn {
        let rect = Rect::from_ltrb(a.0 as f32, a.1 as f32, b.0 as f32, b.1 as f32);
        let path = rect.map(PathBuilder::from_rect);
        if fill {
            self.fill(path, style.color())
        } else {
            self.stroke(path, style)
        }
        Ok(())
    }

    fn draw_path<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(
        &mut self,
        points: I,
        style: &S,
    ) -> Drawn {
        self.stroke(polyline(points).finish(), style);
        Ok(())
    }

    fn fill_polygon<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(
        &mut self,
        points: I,
        style: &S,
    ) -> Drawn {
        let mut path = polyline(points);
        path.close();
        self.fill(path.finish(), style.color());
        Ok(())
    }

    fn draw_circle<S: BackendStyle>(
        &mut self,
        centre: BackendCoord,
        radius: u32,
        style: &S,
        fill: bool,
    ) -> Drawn {
        let path = PathBuilder::from_circle(centre.0 as f32, centre.1 as f32, radius as f32);
        if fill {
            self.fill(path, style.color())
        } else {
            self.stroke(path, style)
        }
        Ok(())
    }

    /// Places text as plotters' SVG backend does, so that both pictures look the same; upright text only.
    fn draw_text<S: BackendTextStyle>(&mut self, text: &str, style: &S, (x, y): BackendCoord) -> Drawn {
        let em = (style.size() / SIZE_PER_EM) as f32;
        let font = font(matches!(style.style(), FontStyle::Bold));
        let left = match style.anchor().h_pos {
            HPos::Left => x as f32,
            HPos::Center => x as f32 - font.width(text, em) / 2.0,
            HPos::Right => x as f32 - font.width(text, em),
        };
        let below = match style.anchor().v_pos {
            VPos::Top => TOP_TO_BASELINE as f32,
            VPos::Center => X_HEIGHT / 2.0,
            VPos::Bottom => -X_HEIGHT / 2.0,
        };
        self.fill(font.outline(text, em, left, y as f32 + below * em), style.color());
        Ok(())
    }
}

fn paint(color: BackendColor) -> Paint<'static> {
    let (red, green, blue) = color.rgb;
    let mut paint = Paint::default();
    paint.set_color_rgba8(red, green, blue, (color.alpha * 255.0).round() as u8);
    paint
}

fn polyline(points: impl IntoIterator<Item = BackendCoord>) -> PathBuilder {
    let mut path = PathBuilder::new();
    for (x, y) in points {
        if path.is_empty() { path.move_to(x as f32, y as f32) } else { path.line_to(x as f32, y as f32) }
    }
    path
}

/// The width of a text, in the unit of `em`.
pub(super) fn text_width(text: &str, em: f64, bold: bool) -> f64 {
    f64::from(font(bold).width(text, em as f32))
}

/// DejaVu Sans. plotters' own fonts are passed by: they know no position between two pixels.
struct Typeface {
    font: FontRef<'static>,
    units_per_em: f32,
}

impl Typeface {
    fn new(bytes: &'static [u8]) -> Self {
        let font = FontRef::try_from_slice(bytes).expect("the embedded font is whole");
        let units_per_em = font.units_per_em().expect("the embedded font says its units");
        Self { font, units_per_em }
    }

    /// Each character's glyph and where it begins, and where the last one ends.
    fn place(&self, text: &str, em: f32) -> (Vec<(GlyphId, f32)>, f32) {
        let scale = em / self.units_per_em;
        let mut end = 0.0;
        let mut previous = None;
        let place = |character| {
            let glyph = self.font.glyph_id(character);
            let begin =
                end + previous.map_or(0.0, |previous| self.font.kern_unscaled(previous, glyph) * scale);
            previous = Some(glyph);
            end = begin + self.font.h_advance_unscaled(glyph) * scale;
            (glyph, begin)
        };
        let glyphs = text.chars().map(place).collect();
        (glyphs, end)
    }

    fn width(&self, text: &str, em: f32) -> f32 {
        self.place(text, em).1
    }

    fn outline(&self, text: &str, em: f32, left: f32, baseline: f32) -> Option<Path> {
        let scale = em / self.units_per_em;
        let mut path = PathBuilder::new();
        for (glyph, at) in self.place(text, em).0 {
            let Some(outline) = self.font.outline(glyph) else { continue };
            let point = |p: ab_glyph::Point| (left + at + p.x * scale, baseline - p.y * scale);
            let mut last = None;
            for curve in outline.curves {
                let (OutlineCurve::Line(from, to)
                | OutlineCurve::Quad(from, _, to)
                | OutlineCurve::Cubic(from, _, _, to)) = curve;
                if last != Some(from) {
                    // A new contour: the one before ended where it began.
                    path.move_to(point(from).0, point(from).1);
                }
                last = Some(to);
                let (x, y) = point(to);
                match curve {
                    OutlineCurve::Line(..) => path.line_to(x, y),
                    OutlineCurve::Quad(_, control, _) => {
                        path.quad_to(point(control).0, point(control).1, x, y)
                    }
                    OutlineCurve::Cubic(_, one, two, _) => {
                        path.cubic_to(point(one).0, point(one).1, point(two).0, point(two).1, x, y);
                    }
                }
            }
        }
        path.finish()
    }
}

fn font(bold: bool) -> &'static Typeface {
    static REGULAR: LazyLock<Typeface> = LazyLock::new(|| Typeface::new(dejavu::sans::regular()));
    static BOLD: LazyLock<Typeface> = LazyLock::new(|| Typeface::new(dejavu::sans::bold()));
    if bold { &BOLD } else { &REGULAR }
}

/// A place in the picture, in pixels at scale 1 from its upper left corner.
pub(super) type Point = (f64, f64);

/// A rectangle in the picture, in pixels at scale 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Frame {
    pub(super) left: f64,
    pub(super) top: f64,
    pub(super) right: f64,
    pub(super) bottom: f64,
}

impl Frame {
    pub(super) fn width(self) -> f64 {
        self.right - self.left
    }

    pub(super) fn height(self) -> f64 {
        self.bottom - self.top
    }
}

/// How a text is set; its colour apart.
#[derive(Clone, Copy)]
pub(super) struct Lettering {
    /// The font's size, in pixels.
    pub(super) em: f64,
    pub(super) bold: bool,
    /// Which point of the text is meant by its place; vertically that is always the baseline.
    pub(super) anchor: HPos,
}

/// Draws on a backend, in pixels.
pub(super) struct Pen<DB: DrawingBackend> {
    area: DrawingArea<DB, Shift>,
}

impl<DB: DrawingBackend> Pen<DB> {
    pub(super) fn new(backend: DB) -> Self {
        Self { area: backend.into() }
    }

    /// Ends the drawing.
    pub(super) fn present(&self) -> Result<(), Error> {
        self.area.present().map_err(drawing)
    }

    pub(super) fn fill(&self, frame: Frame, color: &impl Color) -> Result<(), Error> {
        let corners = [units((frame.left, frame.top)), units((frame.right, frame.bottom))];
        self.area.draw(&Rectangle::new(corners, color.filled())).map_err(drawing)
    }

    pub(super) fn polygon(&self, points: &[Point], color: &impl Color) -> Result<(), Error> {
        let points: Vec<BackendCoord> = points.iter().copied().map(units).collect();
        self.area.draw(&Polygon::new(points, color.filled())).map_err(drawing)
    }

    /// A line through `points`, of `width` pixels.
    pub(super) fn line(&self, points: &[Point], width: f64, color: &impl Color) -> Result<(), Error> {
        let points: Vec<BackendCoord> = points.iter().copied().map(units).collect();
        let style = color.stroke_width((width * f64::from(UNITS)).round() as u32);
        self.area.draw(&PathElement::new(points, style)).map_err(drawing)
    }

    /// A level dashed line from `left` to `right`.
    pub(super) fn dashes(&self, (left, right): (f64, f64), y: f64, color: &impl Color) -> Result<(), Error> {
        let (dash, space, width) = (6.0, 3.0, 1.25);
        let mut x = left;
        while x < right {
            self.line(&[(x, y), ((x + dash).min(right), y)], width, color)?;
            x += dash + space;
        }
        Ok(())
    }

    /// Fills `frame` with `ground` and slanting lines; a narrow one with `ground` alone.
    pub(super) fn hatch(&self, frame: Frame, ground: &impl Color, lines: &impl Color) -> Result<(), Error> {
        self.fill(frame, ground)?;
        if frame.width() < NARROW {
            return Ok(());
        }
        // Each line is a place where x + y is a multiple of the distance: they meet across neighbouring frames.
        let mut sum = ((frame.left + frame.top) / HATCH).ceil() * HATCH;
        while sum < frame.right + frame.bottom {
            let from = (frame.left.max(sum - frame.bottom), frame.bottom.min(sum - frame.left));
            let to = (frame.right.min(sum - frame.top), frame.top.max(sum - frame.right));
            self.line(&[from, to], 1.0, lines)?;
            sum += HATCH;
        }
        Ok(())
    }

    pub(super) fn text(
        &self,
        text: &str,
        (x, baseline): Point,
        lettering: Lettering,
        color: RGBAColor,
    ) -> Result<(), Error> {
        let style = if lettering.bold { FontStyle::Bold } else { FontStyle::Normal };
        let size = lettering.em * f64::from(UNITS) * SIZE_PER_EM;
        let font = FontDesc::new(FontFamily::Name(FAMILIES), size, style);
        let style = TextStyle::from(font).color(&color).pos(Pos::new(lettering.anchor, VPos::Top));
        let top = baseline - TOP_TO_BASELINE * lettering.em;
        self.area.draw_text(text, &style, units((x, top))).map_err(drawing)
    }
}

fn units((x, y): Point) -> BackendCoord {
    let units = f64::from(UNITS);
    ((x * units).round() as i32, (y * units).round() as i32)
}

fn drawing(error: impl std::fmt::Display) -> Error {
    Error::Drawing { reason: error.to_string() }
}

/// The distance of the lines of a hatching along an edge, and the width below which there are none, in pixels.
const HATCH: f64 = 7.0;
/// See [`HATCH`].
const NARROW: f64 = 4.0;
/// The families an SVG asks for: the embedded font, then those of nearly the same widths.
const FAMILIES: &str = "DejaVu Sans, Verdana, sans-serif";
/// plotters' font size for a font of one pixel.
const SIZE_PER_EM: f64 = 1.24;
/// From the top of a text to its baseline, in em, as plotters' SVG backend has it.
const TOP_TO_BASELINE: f64 = 0.76;
/// The height of an x in DejaVu Sans, in em: SVG's `ex`.
const X_HEIGHT: f32 = 0.547;
