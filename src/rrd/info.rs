//! Everything that a header says, as keys and values.

use std::fmt;

use crate::rrd::def::DsType;
use crate::rrd::file::Rrd;
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
