//! `tune` and `resize`: what changes an archive that is there.

use latmon::rrd::number::leading_integer;
use latmon::rrd::{self, Resize, Setting};

use super::Error;
use super::create::parse_step;
use super::options::{self, Known, Typed, value};
use super::verbs::{DAEMON, path, refuse_daemon};

/// `tune FILE ..`
pub(super) fn tune(args: &[&[u8]]) -> Result<(), Error> {
    let others = [value('t', "step"), Known { short: Some(b'D'), ..DAEMON }];
    let known: Vec<Known> = SETTINGS.iter().map(|(known, _)| *known).chain(others).collect();
    let parsed = options::parse(args, &known);
    let Some((file, arguments)) = parsed.words.split_first() else {
        return Err(Error::Usage("missing file name"));
    };
    let (mut changes, mut step) = (Vec::new(), None);
    for option in parsed.options {
        let Typed { long, value } = option?;
        match SETTINGS.iter().find(|(known, _)| known.long == long) {
            Some((_, setting)) => changes.push((*setting, value)),
            None if long == "daemon" => refuse_daemon(value)?,
            None => step = Some(parse_step(value)?),
        }
    }
    Ok(rrd::tune(path(file), &changes, arguments, step)?)
}

/// `resize FILE n GROW|SHRINK rows`; it knows no options.
pub(super) fn resize(args: &[&[u8]]) -> Result<(), Error> {
    let [file, rra, operation, rows] = args else {
        return Err(Error::Usage("wrong number of parameters"));
    };
    if *file == b"resize.rrd" {
        return Err(Error::Usage("resize.rrd is a reserved name"));
    }
    let change = match *operation {
        b"GROW" => Resize::Grow,
        b"SHRINK" => Resize::Shrink,
        _ => return Err(Error::Usage("I can only GROW or SHRINK")),
    };
    let rows = u64::try_from(leading_integer(rows).unwrap_or_default()).ok().filter(|rows| *rows > 0);
    let rows = rows.ok_or(Error::Usage("Please grow or shrink with at least 1 row"))?;
    // None has the index of a negative number.
    let rra = usize::try_from(leading_integer(rra).unwrap_or_default()).unwrap_or(usize::MAX);
    Ok(rrd::resize(path(file), rra, change(rows))?)
}

/// What one setting is called.
const SETTINGS: [(Known, Setting); 16] = [
    (value('h', "heartbeat"), Setting::Heartbeat),
    (value('i', "minimum"), Setting::Minimum),
    (value('a', "maximum"), Setting::Maximum),
    (value('d', "data-source-type"), Setting::DsType),
    (value('r', "data-source-rename"), Setting::Name),
    (value('p', "deltapos"), Setting::DeltaPos),
    (value('n', "deltaneg"), Setting::DeltaNeg),
    (value('w', "window-length"), Setting::WindowLength),
    (value('f', "failure-threshold"), Setting::FailureThreshold),
    (value('x', "alpha"), Setting::Alpha),
    (value('y', "beta"), Setting::Beta),
    (value('z', "gamma"), Setting::Gamma),
    (value('v', "gamma-deviation"), Setting::GammaDeviation),
    (value('s', "smoothing-window"), Setting::SmoothingWindow),
    (value('S', "smoothing-window-deviation"), Setting::SmoothingWindowDeviation),
    (value('b', "aberrant-reset"), Setting::AberrantReset),
];
