//! What a whole series comes to: the functions of VDEF.

use crate::rrd::number::UNKNOWN;
use crate::rrd::rpn::sort;
use crate::rrd::xport::series::Series;

macro_rules! functions {
    ($($function:ident $name:literal,)*) => {
        /// A function of a whole series.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Function { $($function,)* }

        const FUNCTIONS: &[(Function, &str)] = &[$((Function::$function, $name),)*];
    };
}

functions! {
    Maximum "MAXIMUM", Minimum "MINIMUM", Average "AVERAGE", Stdev "STDEV", Last "LAST", First "FIRST",
    Total "TOTAL", Percent "PERCENT", PercentNan "PERCENTNAN", Slope "LSLSLOPE", Intercept "LSLINT",
    Correlation "LSLCORREL",
}

impl Function {
    pub(super) fn from_name(name: &[u8]) -> Option<Self> {
        FUNCTIONS.iter().find(|(_, known)| known.as_bytes() == name).map(|(function, _)| *function)
    }

    pub(super) fn name(self) -> &'static str {
        FUNCTIONS.iter().find(|(function, _)| *function == self).map(|(_, name)| *name).unwrap_or_default()
    }

    pub(super) fn takes_percentage(self) -> bool {
        matches!(self, Self::Percent | Self::PercentNan)
    }

    /// The function's value for a series; `percent` counts only where it takes one.
    pub(super) fn of(self, series: &Series, percent: f64) -> f64 {
        let values = series.values.as_slice();
        let known = || values.iter().copied().filter(|value| !value.is_nan());
        let finite = || values.iter().copied().filter(|value| value.is_finite());
        match self {
            // What is infinite counts where it comes first.
            Self::Maximum => {
                known().reduce(|most, value| if value > most && value.is_finite() { value } else { most })
            }
            Self::Minimum => {
                known().reduce(|least, value| if value < least && value.is_finite() { value } else { least })
            }
            Self::First => known().next(),
            Self::Last => known().next_back(),
            Self::Average => mean(finite()),
            Self::Total => mean(finite()).map(|_| finite().sum::<f64>() * series.step as f64),
            Self::Stdev => mean(finite()).map(|mean| {
                let squares = finite().map(|value| (value - mean) * (value - mean));
                (squares.sum::<f64>() / finite().count() as f64).sqrt()
            }),
            Self::Percent => percentile(values.to_vec(), percent),
            Self::PercentNan => percentile(known().collect(), percent),
            Self::Slope | Self::Intercept | Self::Correlation => line(self, values),
        }
        .unwrap_or(UNKNOWN)
    }
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (count, sum) = values.fold((0.0, 0.0), |(count, sum), value| (count + 1.0, sum + value));
    (count > 0.0).then(|| sum / count)
}

fn percentile(mut values: Vec<f64>, percent: f64) -> Option<f64> {
    sort(&mut values);
    let last = values.len().checked_sub(1)?;
    let rank = (percent * last as f64 / 100.0).round() as usize;
    values.get(rank.min(last)).copied()
}

/// The line with the least squares of distances, over the number of a row.
fn line(function: Function, values: &[f64]) -> Option<f64> {
    let (mut count, mut x_sum, mut y_sum, mut xy_sum, mut xx_sum, mut yy_sum) =
        (0.0, 0.0, 0.0, 0.0, 0.0, 0.0);
    for (row, y) in values.iter().copied().enumerate().filter(|(_, value)| value.is_finite()) {
        let x = row as f64;
        count += 1.0;
        x_sum += x;
        xx_sum += x * x;
        xy_sum += x * y;
        y_sum += y;
        yy_sum += y * y;
    }
    if count == 0.0 {
        return None;
    }
    let slope = (count * xy_sum - x_sum * y_sum) / (count * xx_sum - x_sum * x_sum);
    Some(match function {
        Function::Slope => slope,
        Function::Intercept => (y_sum - slope * x_sum) / count,
        _ => {
            (xy_sum - x_sum * y_sum / count)
                / ((xx_sum - x_sum * x_sum / count) * (yy_sum - y_sum * y_sum / count)).sqrt()
        }
    })
}
