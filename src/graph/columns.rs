//! A history cut into the columns of a plot, and how high the plot must reach.
//!
//! Where a row is at least a pixel wide, it is a column. Where rows outnumber the pixels, the rows of a pixel make one as
//! an archive would make one row of them: medians and ranks are averaged, so that a picture of ten days looks like those
//! of ten single days. But the worst loss wins, and one row that was down is seen.

use crate::history::{History, Row};
use crate::time::UnixTime;

/// One column of the plot. All three parts empty means: not measured.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Column {
    /// Where it begins and ends, in pixels from the plot's left side: whole ones, so that neighbours meet without a seam.
    pub(super) left: f64,
    /// See `left`.
    pub(super) right: f64,
    /// The mean of its rows' medians, in seconds.
    pub(super) median: Option<f64>,
    /// The bands of the smoke, the widest first: from a rank to its counterpart at the other end, in seconds. There are as
    /// many in each column that has any.
    pub(super) bands: Vec<(f64, f64)>,
    /// The greatest share of lost pings of its rows.
    pub(super) loss: Option<f64>,
    /// A row of it had no answer at all.
    pub(super) down: bool,
}

impl Column {
    pub(super) fn is_measured(&self) -> bool {
        self.loss.is_some() || self.median.is_some()
    }
}

/// A history as a plot of some width shows it.
pub(super) struct Columns {
    pub(super) columns: Vec<Column>,
    /// The width of one row, in pixels.
    pub(super) row_pixels: f64,
}

impl Columns {
    /// Cuts `history` for a plot that is `width` pixels wide. The columns cover it without gaps, except for what is not
    /// yet known at its right end.
    pub(super) fn new(history: &History, width: f64) -> Self {
        let start = history.start.micros() as f64;
        let micros = (history.end.micros() as f64 - start).max(1.0);
        let x = |at: f64| ((at - start) / micros * width).clamp(0.0, width);
        let row_micros = f64::from(history.row.secs()) * 1e6;
        let row_pixels = row_micros / micros * width;
        let bounds = |row: &Row| {
            let end = row.end.micros() as f64;
            if row_pixels >= 1.0 {
                (x(end - row_micros).round(), x(end).round())
            } else {
                let pixel = x(end - row_micros / 2.0).floor().min(width - 1.0);
                (pixel, pixel + 1.0)
            }
        };
        let layers = (history.pings / 2).clamp(1, MOST_BANDS);
        let inside: Vec<&Row> = rows_to_show(history).collect();
        let mut columns: Vec<Column> = inside
            .chunk_by(|one, next| bounds(one) == bounds(next))
            .map(|rows| Column::new(bounds(rows[0]), rows, layers))
            .filter(|column| column.right > column.left)
            .collect();
        let first = columns.first().map_or(width, |column| column.left);
        if first > 0.0 {
            columns.insert(0, Column::new((0.0, first), &[], 0));
        }
        let last = columns.last().map_or(0.0, |column| column.right);
        if last < width && !ends_with_what_is_not_yet_known(history) {
            columns.push(Column::new((last, width), &[], 0));
        }
        Self { columns, row_pixels }
    }

    /// The stretches of joined columns for which `holds` says yes.
    pub(super) fn runs(&self, holds: impl Fn(&Column) -> bool) -> Vec<&[Column]> {
        self.columns
            .chunk_by(|one, next| one.right == next.left && holds(one) == holds(next))
            .filter(|run| holds(&run[0]))
            .collect()
    }
}

impl Column {
    fn new((left, right): (f64, f64), rows: &[&Row], layers: usize) -> Self {
        let medians: Vec<f64> =
            rows.iter().filter_map(|row| row.median).map(|rtt| rtt.as_secs_f64()).collect();
        let bands: Vec<Vec<(f64, f64)>> = rows.iter().filter_map(|row| bands(row, layers)).collect();
        let count = bands.len() as f64;
        let mean = |layer: usize| {
            let sum = bands
                .iter()
                .map(|bands| bands[layer])
                .fold((0.0, 0.0), |sum, band| (sum.0 + band.0, sum.1 + band.1));
            (sum.0 / count, sum.1 / count)
        };
        Self {
            left,
            right,
            median: (!medians.is_empty()).then(|| medians.iter().sum::<f64>() / medians.len() as f64),
            bands: if bands.is_empty() { Vec::new() } else { (0..layers).map(mean).collect() },
            loss: rows.iter().filter_map(|row| row.loss_ratio).max_by(f64::total_cmp),
            down: rows.iter().any(|row| row.is_down()),
        }
    }
}

/// The bands of one row: of its answered pings only, since a lost one has no place on the axis of latency.
fn bands(row: &Row, layers: usize) -> Option<Vec<(f64, f64)>> {
    let answered = answered(row);
    let last = answered.len().checked_sub(1)?;
    let rank = |layer: usize| layer * answered.len().div_ceil(2) / layers;
    Some((0..layers).map(|layer| (answered[rank(layer)], answered[last - rank(layer)])).collect())
}

/// The known round trips of a row, in seconds, in order.
fn answered(row: &Row) -> Vec<f64> {
    let mut secs: Vec<f64> = row.ranks.iter().flatten().map(|rtt| rtt.as_secs_f64()).collect();
    secs.sort_by(f64::total_cmp);
    secs
}

/// Each unbroken stretch of rows that were down, with its beginning where that lies within the span.
pub(super) fn outages(history: &History) -> Vec<(Option<UnixTime>, UnixTime)> {
    let rows: Vec<&Row> = rows_to_show(history).collect();
    let begin = |row: &Row| row.end.minus(history.row.duration());
    rows.chunk_by(|one, next| one.is_down() == next.is_down())
        .filter(|run| run[0].is_down())
        .map(|run| (Some(begin(run[0])).filter(|begin| *begin > history.start), run[run.len() - 1].end))
        .collect()
}

/// The rows that overlap the span; without those at its end that are not yet known.
fn rows_to_show(history: &History) -> impl Iterator<Item = &Row> {
    let last = if ends_with_what_is_not_yet_known(history) { last_measured(history) } else { None };
    history.rows.iter().filter(move |row| {
        let begins = row.end.minus(history.row.duration());
        row.end > history.start && begins < history.end && last.is_none_or(|last| row.end <= last.end)
    })
}

/// The row of the present is unknown until it is complete, and the one before it until it is stored: neither is a gap
/// in the measuring.
fn ends_with_what_is_not_yet_known(history: &History) -> bool {
    let unknown = last_measured(history).map(|row| history.end.since(row.end).unwrap_or_default());
    unknown.is_some_and(|unknown| unknown < 2 * history.row.duration())
}

fn last_measured(history: &History) -> Option<&Row> {
    history.rows.iter().rfind(|row| row.loss_ratio.is_some() || row.median.is_some())
}

/// How high the plot must reach, in seconds, so that what matters is seen: every median that is not one stray among
/// hundreds, most of the smoke, and `limit_secs` where that is not far above them.
pub(super) fn reach(history: &History, limit_secs: Option<f64>) -> f64 {
    let rows = || rows_to_show(history);
    let medians: Vec<f64> = rows().filter_map(|row| row.median).map(|rtt| rtt.as_secs_f64()).collect();
    let Some(highest) = at_share(medians.clone(), 1.0) else {
        return limit_secs.map_or(NOTHING_TO_SHOW, |limit| limit * HEADROOM).max(LEAST_REACH);
    };
    let usual = at_share(medians, 1.0 - STRAY_SHARE).unwrap_or(highest);
    let median = if highest > usual * STRAY_FACTOR { usual } else { highest };
    // The second slowest of twenty pings.
    let smoke = rows().filter_map(|row| at_share(answered(row), 0.95));
    let smoke = at_share(smoke.collect(), 0.95).unwrap_or(median).min(median * MOST_SMOKE);
    let data = (median * HEADROOM).max(smoke * 1.05).max(LEAST_REACH);
    match limit_secs {
        Some(limit) if limit <= data * 2.0 => data.max(limit * 1.08),
        _ => data,
    }
}

/// The smoke has no more bands than this: more are not told apart.
const MOST_BANDS: usize = 10;
/// Above the highest median.
const HEADROOM: f64 = 1.2;
/// Medians so many times the usual ones are left out of the reach, if they are no more than this share of the rows.
const STRAY_FACTOR: f64 = 4.0;
/// See [`STRAY_FACTOR`].
const STRAY_SHARE: f64 = 0.003;
/// The smoke may raise the reach to so many times the highest median.
const MOST_SMOKE: f64 = 3.0;
/// The reach where there is no latency to show, and the least of all, in seconds.
const NOTHING_TO_SHOW: f64 = 0.1;
/// See [`NOTHING_TO_SHOW`].
const LEAST_REACH: f64 = 1e-6;

/// The value that `share` of all values do not exceed.
fn at_share(mut values: Vec<f64>, share: f64) -> Option<f64> {
    let index = (values.len() as f64 * share).ceil() as usize;
    let index = index.clamp(1, values.len().max(1)) - 1;
    if index >= values.len() {
        return None;
    }
    Some(*values.select_nth_unstable_by(index, f64::total_cmp).1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::round::Rtt;
    use crate::time::{Step, UnixTime};
    use std::time::Duration;

    /// One row a minute: `Some(ms)` answered, `None` not measured.
    fn history(medians: &[Option<f64>]) -> History {
        let step = Step::new(60).unwrap();
        let row = |(ms, minute): (&Option<f64>, i64)| {
            let rtt = ms.and_then(|ms| Rtt::from_secs_f64(ms / 1e3));
            Row {
                end: UnixTime::from_secs(60 * minute),
                loss_ratio: rtt.map(|_| 0.0),
                median: rtt,
                ranks: vec![rtt; 3],
            }
        };
        let rows: Vec<Row> = medians.iter().zip(1..).map(row).collect();
        let (start, end) = (UnixTime::from_secs(0), UnixTime::from_secs(60 * medians.len() as i64));
        History { target: "t".into(), row: step, step, pings: 3, start, end, rows }
    }

    #[test]
    fn rows_that_outnumber_the_pixels_are_pooled_and_nothing_bad_is_averaged_away() {
        let mut history = history(&[Some(10.0); 1000]);
        history.rows[503].loss_ratio = Some(0.4);
        history.rows[503].ranks[2] = Rtt::from_secs_f64(0.5);
        history.rows[504] =
            Row { loss_ratio: Some(1.0), median: None, ranks: vec![None; 3], ..history.rows[504].clone() };
        let cut = Columns::new(&history, 100.0);
        assert_eq!(cut.columns.len(), 100);
        let bad = &cut.columns[50];
        assert_eq!((bad.left, bad.right, bad.down, bad.loss), (50.0, 51.0, true, Some(1.0)));
        let (low, high) = bad.bands[0];
        // Nine rows have answers; eight of them have 10 ms as their greatest, one has 500 ms.
        assert!((low - 0.010).abs() < 1e-12 && (high - (8.0 * 0.010 + 0.5) / 9.0).abs() < 1e-12);
        assert!((bad.median.unwrap() - 0.010).abs() < 1e-12);
        assert!(cut.columns.iter().filter(|column| column.down).count() == 1);
    }

    #[test]
    fn bands_are_of_the_answered_pings_alone() {
        let ms = |ms: u64| Some(Rtt::new(Duration::from_millis(ms)));
        let mut row = history(&[Some(3.0)]).rows.remove(0);
        row.ranks = vec![None, ms(1), ms(2), ms(3), ms(4), ms(5), None, None];
        assert_eq!(bands(&row, 2), Some(vec![(0.001, 0.005), (0.002, 0.004)]));
        row.ranks = vec![None, ms(7), None];
        assert_eq!(bands(&row, 2), Some(vec![(0.007, 0.007); 2]));
        row.ranks = vec![None; 8];
        assert_eq!(bands(&row, 2), None);
    }

    #[test]
    fn an_outage_lasts_from_its_first_row_to_its_last() {
        let mut history = history(&[Some(10.0); 9]);
        for index in [0, 4, 5] {
            history.rows[index].median = None;
        }
        let found = outages(&history);
        assert_eq!(
            found,
            [(None, UnixTime::from_secs(60)), (Some(UnixTime::from_secs(240)), UnixTime::from_secs(360))]
        );
    }

    #[test]
    fn columns_join_and_cover_the_plot_at_any_width() {
        for (rows, width) in [(40, 900.0), (899, 900.0), (900, 900.0), (901, 900.0), (7, 3.0), (1, 17.0)] {
            let cut = Columns::new(&history(&vec![Some(10.0); rows]), width);
            assert_eq!((cut.columns[0].left, cut.columns.last().unwrap().right), (0.0, width));
            assert!(
                cut.columns.windows(2).all(|pair| pair[0].right == pair[1].left),
                "{rows} rows in {width}"
            );
        }
    }

    #[test]
    fn what_no_row_covers_is_not_measured() {
        let mut history = history(&[Some(10.0); 10]);
        history.rows.drain(..4);
        let cut = Columns::new(&history, 100.0);
        assert!(!cut.columns[0].is_measured());
        assert_eq!((cut.columns[0].left, cut.columns[0].right), (0.0, 40.0));
        history.rows.clear();
        let cut = Columns::new(&history, 100.0);
        assert_eq!(cut.columns, [Column::new((0.0, 100.0), &[], 0)]);
    }

    #[test]
    fn the_round_that_is_under_way_is_no_gap_but_three_missing_ones_are() {
        let present = Columns::new(&history(&[Some(10.0), Some(10.0), Some(10.0), None]), 100.0);
        assert!(present.columns.iter().all(Column::is_measured));
        assert_eq!(present.columns.last().unwrap().right, 75.0);
        let stopped = Columns::new(&history(&[Some(10.0), None, None, None]), 100.0);
        assert_eq!(stopped.runs(|column| !column.is_measured()).len(), 1);
        assert_eq!(stopped.columns.last().unwrap().right, 100.0);
    }

    #[test]
    fn one_stray_median_does_not_flatten_the_rest_but_an_event_is_seen_whole() {
        let mut rows = vec![Some(10.0); 1440];
        rows[700] = Some(2000.0);
        assert!((reach(&history(&rows), None) - 0.012).abs() < 1e-9);
        rows[690..710].fill(Some(2000.0));
        assert!((reach(&history(&rows), None) - 2.4).abs() < 1e-9);
    }

    #[test]
    fn a_limit_is_within_reach_unless_it_is_far_above() {
        let rows = [Some(10.0); 60];
        assert!((reach(&history(&rows), Some(0.020)) - 0.0216).abs() < 1e-9);
        assert!((reach(&history(&rows), Some(0.100)) - 0.012).abs() < 1e-9);
        assert!(reach(&history(&[None; 60]), Some(0.100)) > 0.100);
    }

    #[test]
    fn smoke_raises_the_reach_where_most_rows_have_it() {
        let mut smoky = history(&[Some(10.0); 100]);
        for row in &mut smoky.rows {
            row.ranks[2] = Some(Rtt::new(Duration::from_millis(25)));
        }
        assert!(reach(&smoky, None) > 0.025);
    }
}
