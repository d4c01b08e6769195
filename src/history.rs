//! What an archive kept of a target over a span of time, consolidated and ready to draw.

use crate::round::Rtt;
use crate::time::{Step, UnixTime};

/// A target's past: one row for each consolidated interval, oldest first, without gaps.
#[derive(Clone, Debug)]
pub struct History {
    /// The target's name, or the file's where only that is known.
    pub target: String,
    /// The length of one row.
    pub row: Step,
    /// The step of the rounds beneath: shorter than `row` where the archive consolidated them.
    pub step: Step,
    /// How many pings a round has.
    pub pings: usize,
    /// The span that was asked for; the rows reach a little over both ends.
    pub start: UnixTime,
    /// See `start`.
    pub end: UnixTime,
    /// The rows, oldest first.
    pub rows: Vec<Row>,
}

/// One consolidated interval. All three parts empty means: not measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The boundary that ends it; it covers one `History::row` before that.
    pub end: UnixTime,
    /// The share of lost pings, 0 to 1; `None` where nothing was measured.
    pub loss_ratio: Option<f64>,
    /// The median round trip; `None` where no ping was answered or nothing was measured.
    pub median: Option<Rtt>,
    /// The round trips by rank, shortest first; lost pings leave holes at both ends.
    pub ranks: Vec<Option<Rtt>>,
}

impl Row {
    /// True when pings were sent in it and none was answered.
    pub fn is_down(&self) -> bool {
        self.median.is_none() && self.loss_ratio.is_some()
    }
}

/// The numbers of a caption: over the rows of a history that were measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// The least median; `None`, as for the other medians, where no ping was answered at all.
    pub min: Option<Rtt>,
    /// The mean of the medians.
    pub average: Option<Rtt>,
    /// The greatest median.
    pub max: Option<Rtt>,
    /// The newest measured row's median.
    pub last: Option<Rtt>,
    /// The mean share of lost pings, 0 to 1.
    pub loss_ratio: f64,
    /// The greatest share of lost pings in one row.
    pub worst_loss_ratio: f64,
}

impl History {
    /// The caption's numbers; `None` when nothing was measured in the whole span.
    pub fn summary(&self) -> Option<Summary> {
        let measured = || self.rows.iter().filter_map(|row| Some((row.loss_ratio?, row.median)));
        let last = measured().next_back()?.1;
        let losses: Vec<f64> = measured().map(|(loss, _)| loss).collect();
        let medians: Vec<Rtt> = measured().filter_map(|(_, median)| median).collect();
        let sum: f64 = medians.iter().map(|median| median.as_secs_f64()).sum();
        Some(Summary {
            min: medians.iter().min().copied(),
            average: Rtt::from_secs_f64(sum / medians.len() as f64),
            max: medians.iter().max().copied(),
            last,
            loss_ratio: losses.iter().sum::<f64>() / losses.len() as f64,
            worst_loss_ratio: losses.iter().copied().fold(0.0, f64::max),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn history(rows: &[(Option<f64>, Option<u64>)]) -> History {
        let step = Step::new(60).unwrap();
        let rows: Vec<Row> = rows
            .iter()
            .zip(1..)
            .map(|((loss_ratio, ms), minute)| Row {
                end: UnixTime::from_secs(60 * minute),
                loss_ratio: *loss_ratio,
                median: ms.map(|ms| Rtt::new(Duration::from_millis(ms))),
                ranks: Vec::new(),
            })
            .collect();
        let end = rows.last().map_or(UnixTime::from_secs(0), |row| row.end);
        History { target: "t".into(), row: step, step, pings: 20, start: UnixTime::from_secs(0), end, rows }
    }

    #[test]
    fn the_summary_leaves_out_what_was_not_measured() {
        let summary =
            history(&[(Some(0.0), Some(10)), (None, None), (Some(0.5), Some(30)), (Some(1.0), None)])
                .summary()
                .unwrap();
        let millis = |ms| Some(Rtt::new(Duration::from_millis(ms)));
        assert_eq!((summary.min, summary.average, summary.max), (millis(10), millis(20), millis(30)));
        assert_eq!((summary.loss_ratio, summary.worst_loss_ratio), (0.5, 1.0));
        assert_eq!(summary.last, None, "the newest round was down");
    }

    #[test]
    fn nothing_measured_has_no_summary() {
        assert_eq!(history(&[(None, None)]).summary(), None);
        assert_eq!(history(&[]).summary(), None);
    }
}
