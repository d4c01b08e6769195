//! Everything that a header says, as keys and values.

use std::fmt;

use crate::rrd::def::{Cf, DsType, Forecast};
use crate::rrd::file::{Rra, Rrd};
use crate::rrd::layout::{WORD, f64_at, u64_at};
use crate::rrd::number::PrintfNaN;

/// A value of [`info`]; its `Display` is rrdtool's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// A count, an index, a time.
    Count(u64),
    /// A number, NaN when there is none.
    Number(f64),
    /// A text, which may be any bytes.
    Text(&'a [u8]),
}

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Number(number) => PrintfNaN(*number).fmt(f),
            Self::Text(text) => write!(f, "\"{}\"", String::from_utf8_lossy(text)),
        }
    }
}

/// Shows every key and value of the archive's header, in rrdtool's order, to `each`; the first error ends it. The name
/// of the file, which the bytes do not know, comes first.
pub fn info<B: AsRef<[u8]>, E>(
    rrd: &Rrd<B>,
    filename: &[u8],
    mut each: impl FnMut(fmt::Arguments<'_>, Value<'_>) -> Result<(), E>,
) -> Result<(), E> {
    each(format_args!("filename"), Value::Text(filename))?;
    each(format_args!("rrd_version"), Value::Text(rrd.version_text().as_bytes()))?;
    each(format_args!("step"), Value::Count(u64::from(rrd.step().secs())))?;
    each(format_args!("last_update"), Value::Count(rrd.last_update().secs().unsigned_abs()))?;
    each(format_args!("header_size"), Value::Count(rrd.header_len() as u64))?;
    for (index, ds) in rrd.data_sources().enumerate() {
        let name = ds.name;
        each(format_args!("ds[{name}].index"), Value::Count(index as u64))?;
        each(format_args!("ds[{name}].type"), Value::Text(ds.ds_type.name().as_bytes()))?;
        if let DsType::Compute(rpn) = &ds.ds_type {
            each(format_args!("ds[{name}].cdef"), Value::Text(rrd.expression(rpn).as_bytes()))?;
        } else {
            each(format_args!("ds[{name}].minimal_heartbeat"), Value::Count(ds.heartbeat))?;
            each(format_args!("ds[{name}].min"), Value::Number(ds.min))?;
            each(format_args!("ds[{name}].max"), Value::Number(ds.max))?;
        }
        each(format_args!("ds[{name}].last_ds"), Value::Text(ds.last_ds))?;
        each(format_args!("ds[{name}].value"), Value::Number(ds.pdp.value))?;
        each(format_args!("ds[{name}].unknown_sec"), Value::Count(ds.pdp.unknown_secs))?;
    }
    for (index, rra) in rrd.archives().enumerate() {
        each(format_args!("rra[{index}].cf"), Value::Text(rra.cf.name().as_bytes()))?;
        each(format_args!("rra[{index}].rows"), Value::Count(rra.rows))?;
        each(format_args!("rra[{index}].cur_row"), Value::Count(rra.cur_row))?;
        each(format_args!("rra[{index}].pdp_per_row"), Value::Count(rra.pdp_per_row))?;
        if rra.forecast.is_some() {
            forecast(rrd, index, &rra, &mut each)?;
            continue;
        }
        each(format_args!("rra[{index}].xff"), Value::Number(rra.xff))?;
        for (ds, cdp) in (0..rrd.ds_count()).filter_map(|ds| Some((ds, rrd.cdp(index, ds)?))) {
            each(format_args!("rra[{index}].cdp_prep[{ds}].value"), Value::Number(cdp.value))?;
            each(
                format_args!("rra[{index}].cdp_prep[{ds}].unknown_datapoints"),
                Value::Count(cdp.unknown_pdps),
            )?;
        }
    }
    Ok(())
}

fn forecast<B: AsRef<[u8]>, E>(
    rrd: &Rrd<B>,
    index: usize,
    rra: &Rra,
    each: &mut impl FnMut(fmt::Arguments<'_>, Value<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let mut number = |key: &str, value| each(format_args!("rra[{index}].{key}"), Value::Number(value));
    match rra.forecast {
        Some(Forecast::Predict { alpha, beta, .. }) => {
            number("alpha", alpha)?;
            number("beta", beta)?;
        }
        Some(Forecast::Seasonal { gamma, smoothing_window, own_window, .. }) => {
            number("gamma", gamma)?;
            if own_window {
                number("smoothing_window", smoothing_window)?;
            }
        }
        Some(Forecast::Failures { delta_pos, delta_neg, window, threshold, .. }) => {
            number("delta_pos", delta_pos)?;
            number("delta_neg", delta_neg)?;
            each(format_args!("rra[{index}].failure_threshold"), Value::Count(threshold))?;
            each(format_args!("rra[{index}].window_length"), Value::Count(window))?;
        }
        _ => {}
    }
    for ds in 0..rrd.ds_count() {
        let state = rrd.forecast_state(index, ds);
        let slot = |slot: usize| f64_at(state, slot * WORD);
        let mut tell =
            |key: &str, value: Value<'_>| each(format_args!("rra[{index}].cdp_prep[{ds}].{key}"), value);
        match rra.cf {
            Cf::HwPredict | Cf::MhwPredict => {
                tell("intercept", Value::Number(slot(2)))?;
                tell("slope", Value::Number(slot(4)))?;
                tell("NaN_count", Value::Count(u64_at(state, 6 * WORD)))?;
            }
            Cf::Seasonal => tell("seasonal", Value::Number(slot(2)))?,
            Cf::DevSeasonal => tell("deviation", Value::Number(slot(2)))?,
            Cf::Failures => tell("history", Value::Text(&rra.history(state)))?,
            _ => {}
        }
    }
    Ok(())
}
