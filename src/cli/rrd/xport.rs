//! `xport`.

use std::io::Write;

use latmon::rrd::{self, Format, Xport, XportOptions, at, number::leading_integer};

use super::Error;
use super::options::{self, Known, Typed, flag, value};
use super::verbs::{DAEMON, now, parse_time, refuse_daemon};

/// `xport DEF:.. XPORT:..`
pub(super) fn xport(args: &[&[u8]], out: &mut impl Write) -> Result<(), Error> {
    const DEFAULT_MAX_ROWS: i64 = 400;
    const LONG_ONLY: Known = Known { short: None, long: "", takes_value: false };
    let now = now();
    let mut start = parse_time("start time", b"end-24h", now)?;
    let mut end = parse_time("end time", b"now", now)?;
    let (mut step, mut max_rows, mut format) = (0, DEFAULT_MAX_ROWS, Format::default());
    let parsed = options::parse(
        args,
        &[
            value('s', "start"),
            value('e', "end"),
            value('m', "maxrows"),
            Known { long: "step", takes_value: true, ..LONG_ONLY },
            Known { long: "enumds", ..LONG_ONLY },
            Known { long: "json", ..LONG_ONLY },
            flag('t', "showtime"),
            DAEMON,
        ],
    );
    for option in parsed.options {
        let Typed { long, value } = option?;
        match long {
            "start" => start = parse_time("start time", value, now)?,
            "end" => end = parse_time("end time", value, now)?,
            // As the original's C, which keeps the lower half.
            "step" => step = i64::from(leading_integer(value).unwrap_or_default() as i32),
            "maxrows" => {
                max_rows = leading_integer(value).unwrap_or_default();
                XportOptions::check_max_rows(max_rows).map_err(rrd::Error::from)?;
            }
            "enumds" => format.enumerate = true,
            "json" => format.json = true,
            "showtime" => format.times = true,
            _ => refuse_daemon(value)?,
        }
    }
    let (start, end) = at::span(&start, &end).map_err(Error::Span)?;
    let export = || -> Result<_, rrd::Error> {
        let options = XportOptions::new(start, end, step, max_rows, now)?;
        rrd::xport(&Xport::parse(&parsed.words, options)?)
    };
    export()?.write(format, out).map_err(Error::Output)
}
