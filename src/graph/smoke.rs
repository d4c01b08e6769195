//! The picture: the median over the smoke of its pings, coloured by loss.

use plotters::style::text_anchor::HPos;
use plotters::style::{Color, RGBColor};
use plotters_backend::DrawingBackend;

use super::axis::{LatencyTick, TimeAxis, Zone, latency_axis, limit_in_words, spans_in_words, time_axis};
use super::canvas::{Frame, Lettering, Pen, Point, text_width};
use super::columns::{Column, Columns, outages, reach};
use super::heading::{self, Line, printable};
use super::legend::{self, Entry, LINE, SMALL};
use super::theme::{Colours, loss_class};
use super::{Error, Mark, Picture};
use crate::history::History;
use crate::time::{Lasted, UnixTime};

/// Draws `history` on `pen`.
pub(super) fn draw<DB: DrawingBackend>(
    pen: &Pen<DB>,
    history: &History,
    picture: &Picture,
    zone: Zone<'_>,
) -> Result<(), Error> {
    let scene = Scene::new(history, picture, zone);
    let colours = &scene.colours;
    let (width, height) = (f64::from(picture.width), f64::from(picture.height));
    pen.fill(Frame { left: 0.0, top: 0.0, right: width, bottom: height }, &colours.background)?;
    let place = Line { left: scene.plot.left, right: width - RIGHT_MARGIN, baseline: TITLE_HEIGHT - 10.0 };
    heading::draw(pen, &picture.title, &scene.spans, place, colours)?;
    scene.grid(pen)?;
    scene.mark_grounds(pen)?;
    scene.absences(pen)?;
    scene.smoke(pen)?;
    scene.limit_line(pen)?;
    scene.median(pen)?;
    scene.strays(pen)?;
    scene.loss_strip(pen)?;
    scene.words_on_absences(pen)?;
    scene.limit_label(pen)?;
    scene.mark_lines(pen)?;
    scene.frame(pen)?;
    for (line, index) in scene.words.iter().zip(0u8..) {
        let baseline = scene.words_top + f64::from(index) * LINE + 12.0;
        legend::draw(pen, line, (scene.plot.left, baseline), colours)?;
    }
    pen.present()
}

/// Everything that is decided before anything is drawn.
struct Scene<'a> {
    history: &'a History,
    picture: &'a Picture,
    colours: Colours,
    /// The span in words, longest form first.
    spans: [String; 3],
    plot: Frame,
    /// The strip of loss, below the plot.
    strip: Frame,
    /// The lines of words at the bottom, and where they begin.
    words: Vec<Vec<Entry>>,
    words_top: f64,
    columns: Columns,
    /// The latency at the plot's upper edge, in seconds.
    reach: f64,
    limit_secs: Option<f64>,
    latency_ticks: Vec<LatencyTick>,
    /// The finer step of latency, in seconds.
    latency_fine: f64,
    time: TimeAxis,
}

impl<'a> Scene<'a> {
    fn new(history: &'a History, picture: &'a Picture, zone: Zone<'_>) -> Self {
        let (width, height) = (f64::from(picture.width), f64::from(picture.height));
        let colours = picture.theme.colours();
        let limit_secs = picture.limit.map(|limit| limit.as_secs_f64());
        let reach = reach(history, limit_secs);
        let limit_in_sight = limit_secs.filter(|limit| *limit <= reach);

        let least_plot = (height * PLOT_SHARE).max(LEAST_PLOT);
        let lines_fit = ((height - EDGES_HEIGHT - least_plot) / LINE).floor().max(0.0) as usize;
        // The labels' width decides where the plot begins; the plot's height decides the labels. The first guess at the
        // height differs by some lines of words, which does not matter to the width.
        let label_width = latency_axis(reach, height * 0.65)
            .0
            .iter()
            .map(|tick| text_width(&tick.label, SMALL, false))
            .fold(text_width("loss", SMALL, false), f64::max);
        // Labels of absurd latencies may be cut off, but leave room for the plot.
        let left = (label_width + 16.0).min(width * 0.4).ceil();
        let right = width - RIGHT_MARGIN;
        let columns = Columns::new(history, right - left);
        let out_of_sight = picture.limit.filter(|_| limit_in_sight.is_none());
        let groups = [legend::numbers(history, &columns), legend::colours(&columns, out_of_sight, &colours)];
        let words = legend::set(groups, right - left, lines_fit);
        let words_top = height - BOTTOM_MARGIN - words.len() as f64 * LINE;
        let strip_bottom = words_top - TIME_LABELS_HEIGHT;
        let strip = Frame { left, top: strip_bottom - STRIP_HEIGHT, right, bottom: strip_bottom };
        let plot = Frame { left, top: TITLE_HEIGHT, right, bottom: strip.top - STRIP_GAP };
        let (latency_ticks, latency_fine) = latency_axis(reach, plot.height());
        let width_of = |text: &str| text_width(text, SMALL, false);
        Self {
            history,
            picture,
            colours,
            spans: spans_in_words(history.start, history.end, zone),
            plot,
            strip,
            words,
            words_top,
            columns,
            reach,
            limit_secs: limit_in_sight,
            latency_ticks,
            latency_fine,
            time: time_axis((history.start, history.end), plot.width(), zone, &width_of),
        }
    }

    fn x(&self, at: UnixTime) -> f64 {
        let start = self.history.start.micros() as f64;
        let micros = (self.history.end.micros() as f64 - start).max(1.0);
        let x = (at.micros() as f64 - start) / micros * self.plot.width();
        self.plot.left + x.clamp(0.0, self.plot.width())
    }

    /// Where a latency is; at the upper edge, what is out of reach.
    fn y(&self, secs: f64) -> f64 {
        self.plot.bottom - (secs / self.reach).clamp(0.0, 1.0) * self.plot.height()
    }

    /// The grounds of the stretches without a latency: down, and not measured.
    fn absences<DB: DrawingBackend>(&self, pen: &Pen<DB>) -> Result<(), Error> {
        let colours = &self.colours;
        for run in self.columns.runs(|column| column.down) {
            let frame = self.over(run, self.plot);
            // A narrow one in a light tone would be overlooked.
            let narrow = frame.width() < NARROW;
            pen.fill(frame, if narrow { &colours.down_line } else { &colours.down_block })?;
        }
        for run in self.columns.runs(|column| !column.is_measured()) {
            pen.hatch(self.over(run, self.plot), &colours.no_data, &colours.hatch)?;
            pen.hatch(self.over(run, self.strip), &colours.no_data, &colours.hatch)?;
        }
        Ok(())
    }

    /// The part of `frame` that a run of columns covers.
    fn over(&self, run: &[Column], frame: Frame) -> Frame {
        Frame { left: frame.left + run[0].left, right: frame.left + run[run.len() - 1].right, ..frame }
    }

    fn grid<DB: DrawingBackend>(&self, pen: &Pen<DB>) -> Result<(), Error> {
        let Self { plot, strip, colours, .. } = self;
        pen.fill(*plot, &colours.plot)?;
        pen.fill(*strip, &colours.plot)?;
        let level = |secs: f64, colour: &RGBColor| {
            let y = self.y(secs).round().max(plot.top + 1.0) - 0.5;
            pen.line(&[(plot.left, y), (plot.right, y)], 1.0, colour)
        };
        let fine = (self.reach / self.latency_fine).floor() as u32;
        (1..=fine).try_for_each(|index| level(f64::from(index) * self.latency_fine, &colours.fine_grid))?;
        let upright = |at: UnixTime, colour: &RGBColor| {
            let x = self.x(at).round().min(plot.right - 1.0) + 0.5;
            pen.line(&[(x, plot.top), (x, strip.bottom)], 1.0, colour)
        };
        self.time.fine.iter().try_for_each(|at| upright(*at, &colours.fine_grid))?;
        self.latency_ticks.iter().try_for_each(|tick| level(tick.secs, &colours.grid))?;
        for tick in &self.time.ticks {
            upright(tick.at, if tick.strong { &colours.strong_grid } else { &colours.grid })?;
        }
        Ok(())
    }

    /// Nested translucent bands, the darkest where all lie upon each other.
    fn smoke<DB: DrawingBackend>(&self, pen: &Pen<DB>) -> Result<(), Error> {
        for run in self.columns.runs(|column| !column.bands.is_empty()) {
            let layers = run[0].bands.len();
            let alpha = (1.0 - (1.0 - DARKEST_SMOKE).powf(1.0 / layers as f64)).min(DARKEST_LAYER);
            for layer in 0..layers {
                let upper = self.outline(run, |column| column.bands[layer].1);
                let lower = self.outline(run, |column| column.bands[layer].0);
                let around: Vec<Point> = upper.into_iter().chain(lower.into_iter().rev()).collect();
                pen.polygon(&around, &self.colours.smoke.mix(alpha))?;
            }
        }
        Ok(())
    }

    /// The line that a value of each column makes: level over the columns that are wide enough to be seen, else from
    /// middle to middle.
    fn outline(&self, run: &[Column], secs: impl Fn(&Column) -> f64) -> Vec<Point> {
        let at = |x: f64, column: &Column| (self.plot.left + x, self.y(secs(column)));
        if self.columns.row_pixels >= STEPS_SHOW {
            return run
                .iter()
                .flat_map(|column| [at(column.left, column), at(column.right, column)])
                .collect();
        }
        let (first, last) = (&run[0], &run[run.len() - 1]);
        let middles = run.iter().map(|column| at((column.left + column.right) / 2.0, column));
        std::iter::once(at(first.left, first)).chain(middles).chain([at(last.right, last)]).collect()
    }

    fn median<DB: DrawingBackend>(&self, pen: &Pen<DB>) -> Result<(), Error> {
        let secs = |column: &Column| column.median.unwrap_or_default();
        for run in self.columns.runs(|column| column.median.is_some()) {
            let outline = self.outline(run, secs);
            pen.line(&outline, MEDIAN_WIDTH + 2.0, &self.colours.halo)?;
            let class = |column: &Column| loss_class(column.loss.unwrap_or_default());
            let mut begin = 0;
            for same in run.chunk_by(|one, next| class(one) == class(next)) {
                let end = begin + same.len();
                let points = self.part(run, begin..end, secs);
                pen.line(&points, MEDIAN_WIDTH, &self.colours.loss[class(&same[0])])?;
                begin = end;
            }
        }
        Ok(())
    }

    /// The part of a run's outline that belongs to some of its columns: with the way up or down from the one before.
    fn part(
        &self,
        run: &[Column],
        range: std::ops::Range<usize>,
        secs: impl Fn(&Column) -> f64,
    ) -> Vec<Point> {
        let before = range.start.checked_sub(1).map(|index| &run[index]);
        let after = run.get(range.end);
        let mut points = self.outline(&run[range], &secs);
        let steps = self.columns.row_pixels >= STEPS_SHOW;
        let (first, last) = (0, points.len() - 1);
        match (before, after) {
            (Some(before), _) if steps => points.insert(0, (points[first].0, self.y(secs(before)))),
            (before, after) if !steps => {
                // Half-way between two middles is the mean of both.
                let halfway = |y: f64, column: &Column| (y + self.y(secs(column))) / 2.0;
                points[first].1 = before.map_or(points[first].1, |before| halfway(points[first].1, before));
                points[last].1 = after.map_or(points[last].1, |after| halfway(points[last].1, after));
            }
            _ => {}
        }
        points
    }

    /// A mark at the upper edge for each stretch of medians that are out of reach.
    fn strays<DB: DrawingBackend>(&self, pen: &Pen<DB>) -> Result<(), Error> {
        let Self { plot, .. } = self;
        let is_out = |column: &Column| column.median.is_some_and(|median| median > self.reach);
        for run in self.columns.runs(is_out) {
            let frame = self.over(run, *plot);
            let x = ((frame.left + frame.right) / 2.0).clamp(plot.left + 4.0, plot.right - 4.0);
            let worst = run.iter().filter_map(|column| column.loss).fold(0.0, f64::max);
            let (tip, base) = (plot.top - 6.0, plot.top - 0.5);
            pen.polygon(
                &[(x - 4.0, base), (x, tip), (x + 4.0, base)],
                &self.colours.loss[loss_class(worst)],
            )?;
        }
        Ok(())
    }

    fn loss_strip<DB: DrawingBackend>(&self, pen: &Pen<DB>) -> Result<(), Error> {
        let lossy = |column: &Column| column.loss.filter(|loss| *loss > 0.0);
        for run in self.columns.runs(|column| lossy(column).is_some()) {
            for same in run.chunk_by(|one, next| (one.loss, one.down) == (next.loss, next.down)) {
                let loss = same[0].loss.unwrap_or_default();
                let height = (loss * self.strip.height()).clamp(LEAST_BAR, self.strip.height());
                let bar = Frame { top: self.strip.bottom - height, ..self.over(same, self.strip) };
                let colours = &self.colours;
                pen.fill(bar, if same[0].down { &colours.down } else { &colours.loss[loss_class(loss)] })?;
            }
        }
        Ok(())
    }

    /// How long the line was down, and where nothing is known, in the places that have room for it.
    fn words_on_absences<DB: DrawingBackend>(&self, pen: &Pen<DB>) -> Result<(), Error> {
        let colours = &self.colours;
        let middle = |frame: Frame| (frame.left + frame.right) / 2.0;
        let fits = |words: &str, frame: Frame| text_width(words, SMALL, false) + 6.0 <= frame.width();
        for (begin, end) in outages(self.history) {
            let (left, right) = (self.x(begin.unwrap_or(self.history.start)), self.x(end));
            let frame = Frame { left, right, ..self.plot };
            let tag = Tag {
                words: "down",
                colour: colours.down_text,
                ground: colours.down_block,
                anchor: HPos::Center,
            };
            let top = (middle(frame), self.plot.top + 14.0);
            let lasted = begin
                .and_then(|begin| end.since(begin))
                .map_or(String::new(), |lasted| Lasted(lasted).to_string());
            let both = format!("down {lasted}");
            if !lasted.is_empty() && fits(&both, frame) {
                tag.saying(&both).draw(pen, top)?;
            } else if fits(tag.words, frame) {
                tag.draw(pen, top)?;
                if !lasted.is_empty() && fits(&lasted, frame) {
                    tag.saying(&lasted).draw(pen, (top.0, top.1 + 14.0))?;
                }
            }
        }
        for run in self.columns.runs(|column| !column.is_measured()) {
            let frame = self.over(run, self.plot);
            let is_all = run.len() == self.columns.columns.len();
            let words = if is_all { "no data in this span" } else { "no data" };
            let tag = Tag { words, colour: colours.muted, ground: colours.no_data, anchor: HPos::Center };
            if fits(words, frame) {
                tag.draw(pen, (middle(frame), ((self.plot.top + self.plot.bottom) / 2.0 + 4.0).round()))?;
            }
        }
        Ok(())
    }

    /// The marked spans as far as they lie in the picture, each with its mark; at least so wide that it is seen.
    fn marked(&self) -> impl Iterator<Item = (Frame, &Mark)> {
        let History { start, end, .. } = *self.history;
        self.picture.marks.iter().filter(move |mark| mark.from < end && mark.until > start).map(|mark| {
            let (left, right) = (self.x(mark.from), self.x(mark.until.max(mark.from)));
            let right = right.max(left + NARROW).min(self.plot.right);
            (Frame { left: left.min(right - NARROW), right, ..self.plot }, mark)
        })
    }

    fn mark_grounds<DB: DrawingBackend>(&self, pen: &Pen<DB>) -> Result<(), Error> {
        self.marked().try_for_each(|(frame, _)| pen.fill(frame, &self.colours.mark))
    }

    /// Over whatever else is drawn: where a marked span begins, how far it reaches, and its label near zero, where
    /// latency leaves room.
    fn mark_lines<DB: DrawingBackend>(&self, pen: &Pen<DB>) -> Result<(), Error> {
        let Self { plot, colours, .. } = self;
        for (frame, mark) in self.marked() {
            pen.fill(Frame { bottom: plot.top + MARK_BAR, ..frame }, &colours.mark_line)?;
            if mark.from > self.history.start {
                let x = frame.left.floor() + 0.5;
                pen.line(&[(x, plot.top), (x, plot.bottom)], 1.0, &colours.mark_line)?;
            }
            let label = printable(&mark.label);
            let width = text_width(&label, SMALL, false) + 10.0;
            // Behind its beginning, or before it at the right end of the picture.
            let (x, anchor) = if plot.right - frame.left >= width {
                (frame.left + 6.0, HPos::Left)
            } else {
                (frame.left - 5.0, HPos::Right)
            };
            if matches!(anchor, HPos::Left) || x - width > plot.left {
                let (colour, ground) = (colours.mark_text, colours.plot);
                Tag { words: &label, colour, ground, anchor }.draw(pen, (x, plot.bottom - 7.0))?;
            }
        }
        Ok(())
    }

    fn limit_line<DB: DrawingBackend>(&self, pen: &Pen<DB>) -> Result<(), Error> {
        let Some(limit) = self.limit_secs else { return Ok(()) };
        pen.dashes((self.plot.left, self.plot.right), self.limit_y(limit), &self.colours.limit)
    }

    fn limit_y(&self, limit: f64) -> f64 {
        self.y(limit).round() - 0.5
    }

    fn limit_label<DB: DrawingBackend>(&self, pen: &Pen<DB>) -> Result<(), Error> {
        let Some(limit) = self.limit_secs else { return Ok(()) };
        let words = format!("limit {}", limit_in_words(limit));
        if text_width(&words, SMALL, false) * 3.0 > self.plot.width() {
            return Ok(());
        }
        let line = self.limit_y(limit);
        // Above the line, or below it where there is no room above.
        let baseline = if line - self.plot.top > 16.0 { line - 4.5 } else { line + 12.5 };
        let (colour, ground) = (self.colours.limit, self.colours.plot);
        Tag { words: &words, colour, ground, anchor: HPos::Right }
            .draw(pen, (self.plot.right - 5.0, baseline))
    }

    /// The lines around the plot, and the labels of both axes.
    fn frame<DB: DrawingBackend>(&self, pen: &Pen<DB>) -> Result<(), Error> {
        let Self { plot, strip, colours, .. } = self;
        for frame in [plot, strip] {
            let (left, top, right, bottom) =
                (frame.left - 0.5, frame.top - 0.5, frame.right + 0.5, frame.bottom + 0.5);
            let around = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top - 0.5)];
            pen.line(&around, 1.0, &colours.frame)?;
        }
        let at_right = Lettering { em: SMALL, bold: false, anchor: HPos::Right };
        for tick in &self.latency_ticks {
            let baseline = (self.y(tick.secs) + 4.0).round();
            pen.text(&tick.label, (plot.left - 6.0, baseline), at_right, colours.muted.to_rgba())?;
        }
        pen.text("loss", (plot.left - 6.0, strip.bottom - 3.0), at_right, colours.muted.to_rgba())?;
        let mut free_from = 2.0;
        // Where every mark begins a day, none stands out.
        let all_strong = self.time.ticks.iter().all(|tick| tick.strong);
        for tick in &self.time.ticks {
            let bold = tick.strong && !all_strong;
            let lettering = Lettering { em: SMALL, bold, anchor: HPos::Center };
            let half = text_width(&tick.label, SMALL, bold) / 2.0;
            let x = self.x(tick.at);
            if x - half < free_from || x + half > f64::from(self.picture.width) - 2.0 {
                continue;
            }
            free_from = x + half + 4.0;
            let colour = if bold { colours.text } else { colours.muted };
            pen.text(&tick.label, (x, strip.bottom + 13.0), lettering, colour.to_rgba())?;
        }
        Ok(())
    }
}

/// Words on a ground of their own, over whatever is drawn there.
#[derive(Clone, Copy)]
struct Tag<'a> {
    words: &'a str,
    colour: RGBColor,
    ground: RGBColor,
    /// Where the words lie from their place.
    anchor: HPos,
}

impl<'a> Tag<'a> {
    fn saying(self, words: &'a str) -> Self {
        Self { words, ..self }
    }

    fn draw<DB: DrawingBackend>(self, pen: &Pen<DB>, (x, baseline): Point) -> Result<(), Error> {
        let width = text_width(self.words, SMALL, false);
        let left = match self.anchor {
            HPos::Left => x,
            HPos::Center => x - width / 2.0,
            HPos::Right => x - width,
        };
        let (top, bottom) = (baseline - 10.0, baseline + 3.0);
        pen.fill(Frame { left: left - 3.0, top, right: left + width + 3.0, bottom }, &self.ground.mix(0.85))?;
        let lettering = Lettering { em: SMALL, bold: false, anchor: self.anchor };
        pen.text(self.words, (x, baseline), lettering, self.colour.to_rgba())
    }
}

/// All heights and widths are in pixels at scale 1.
const TITLE_HEIGHT: f64 = 32.0;
const STRIP_GAP: f64 = 3.0;
const STRIP_HEIGHT: f64 = 14.0;
const TIME_LABELS_HEIGHT: f64 = 19.0;
const BOTTOM_MARGIN: f64 = 6.0;
const RIGHT_MARGIN: f64 = 14.0;
/// What is neither plot nor words.
const EDGES_HEIGHT: f64 = TITLE_HEIGHT + STRIP_GAP + STRIP_HEIGHT + TIME_LABELS_HEIGHT + BOTTOM_MARGIN;
/// The share of the height that words may not take from the plot, and its least height.
const PLOT_SHARE: f64 = 0.36;
/// See [`PLOT_SHARE`].
const LEAST_PLOT: f64 = 48.0;
/// Rows are drawn as steps from this width on; narrower ones are joined by straight lines.
const STEPS_SHOW: f64 = 3.0;
/// A stretch that was down is drawn in a strong tone below this width.
const NARROW: f64 = 4.0;
const MEDIAN_WIDTH: f64 = 1.75;
/// The height of the bar along the upper edge of a marked span.
const MARK_BAR: f64 = 3.0;
/// The least height of a bar in the strip of loss: one lost ping of many is seen, too.
const LEAST_BAR: f64 = 3.0;
/// How dark all bands of smoke are together, and how dark one is at most.
const DARKEST_SMOKE: f64 = 0.7;
/// See [`DARKEST_SMOKE`].
const DARKEST_LAYER: f64 = 0.3;
