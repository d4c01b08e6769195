//! An archive as XML.

use std::io::{self, Write};

use chrono::{Datelike, Timelike};

use crate::rrd::def::{Cf, DsType, Forecast};
use crate::rrd::file::{Rra, Rrd};
use crate::rrd::layout::{WORD, cdp_prep, f64_at, u64_at};
use crate::rrd::number::Own;
use crate::time::UnixTime;

/// How the XML begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Header {
    /// With a document type.
    #[default]
    Dtd,
    /// With a schema.
    Xsd,
    /// At once.
    None,
}

/// Writes the archive as `rrdtool dump` does; times in comments are local. The microseconds of the last update are not
/// in it, as they are not in the original's.
pub fn dump<B: AsRef<[u8]>>(rrd: &Rrd<B>, header: Header, out: &mut impl Write) -> io::Result<()> {
    write_header(header, out)?;
    match rrd.version() {
        ..=3 => writeln!(out, "\t<version>0003</version>")?,
        version => writeln!(out, "\t<version>{version:04}</version>")?,
    }
    writeln!(out, "\t<step>{}</step> <!-- Seconds -->", rrd.step().secs())?;
    let last = rrd.last_update();
    let mut shown = Vec::new();
    Local(last).push_to(&mut shown);
    write!(out, "\t<lastupdate>{}</lastupdate> <!-- ", last.secs())?;
    out.write_all(&shown)?;
    out.write_all(b" -->\n\n")?;
    write_data_sources(rrd, out)?;
    writeln!(out, "\t<!-- Round Robin Archives -->")?;
    for (index, archive) in rrd.archives().enumerate() {
        write_archive(rrd, index, &archive, out)?;
    }
    writeln!(out, "</rrd>")
}

fn write_header(header: Header, out: &mut impl Write) -> io::Result<()> {
    const XML: &str = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n";
    const DUMP: &str = "<!-- Round Robin Database Dump -->\n";
    const SITE: &str = "https://oss.oetiker.ch/rrdtool";
    match header {
        Header::Dtd => write!(out, "{XML}<!DOCTYPE rrd SYSTEM \"{SITE}/rrdtool.dtd\">\n{DUMP}<rrd>\n"),
        Header::Xsd => write!(
            out,
            "{XML}{DUMP}<rrd xmlns=\"{SITE}/rrdtool-dump.xml\" \
             xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"\n\
             \txsi:schemaLocation=\"{SITE}/rrdtool-dump.xml {SITE}/rrdtool-dump.xsd\">\n"
        ),
        Header::None => writeln!(out, "{DUMP}<rrd>"),
    }
}

fn write_data_sources<B: AsRef<[u8]>>(rrd: &Rrd<B>, out: &mut impl Write) -> io::Result<()> {
    for ds in rrd.data_sources() {
        write!(out, "\t<ds>\n\t\t<name> {} </name>\n\t\t<type> {} </type>\n", ds.name, ds.ds_type.name())?;
        match &ds.ds_type {
            DsType::Compute(rpn) => writeln!(out, "\t\t<cdef> {} </cdef>", rrd.expression(rpn))?,
            _ => write!(
                out,
                "\t\t<minimal_heartbeat>{}</minimal_heartbeat>\n\
                 \t\t<min>{}</min>\n\
                 \t\t<max>{}</max>\n",
                ds.heartbeat,
                Own(ds.min),
                Own(ds.max),
            )?,
        }
        write!(out, "\n\t\t<!-- PDP Status -->\n\t\t<last_ds>")?;
        // Raw, as the original writes it: it need not be text, and `&` stays `&`.
        out.write_all(ds.last_ds)?;
        write!(
            out,
            "</last_ds>\n\
             \t\t<value>{}</value>\n\
             \t\t<unknown_sec> {} </unknown_sec>\n\
             \t</ds>\n\n",
            Own(ds.pdp.value),
            ds.pdp.unknown_secs,
        )?;
    }
    Ok(())
}

fn write_archive<B: AsRef<[u8]>>(
    rrd: &Rrd<B>,
    index: usize,
    archive: &Rra,
    out: &mut impl Write,
) -> io::Result<()> {
    let row_secs = rrd.row_secs(archive);
    write!(
        out,
        "\t<rra>\n\
         \t\t<cf>{}</cf>\n\
         \t\t<pdp_per_row>{}</pdp_per_row> <!-- {row_secs} seconds -->\n\n\
         \t\t<params>\n",
        archive.cf.name(),
        archive.pdp_per_row,
    )?;
    match &archive.forecast {
        None => writeln!(out, "\t\t<xff>{}</xff>", Xff(archive.xff))?,
        Some(forecast) => write_forecast(forecast, out)?,
    }
    writeln!(out, "\t\t</params>\n\t\t<cdp_prep>")?;
    for (ds, cdp) in (0..rrd.ds_count()).filter_map(|ds| Some((ds, rrd.cdp(index, ds)?))) {
        write!(
            out,
            "\t\t\t<ds>\n\
             \t\t\t<primary_value>{}</primary_value>\n\
             \t\t\t<secondary_value>{}</secondary_value>\n",
            Own(cdp.primary),
            Own(cdp.secondary),
        )?;
        if archive.forecast.is_some() {
            write_state(archive, rrd.forecast_state(index, ds), out)?;
        } else {
            write!(
                out,
                "\t\t\t<value>{}</value>\n\
                 \t\t\t<unknown_datapoints>{}</unknown_datapoints>\n",
                Own(cdp.value),
                cdp.unknown_pdps,
            )?;
        }
        writeln!(out, "\t\t\t</ds>")?;
    }
    writeln!(out, "\t\t</cdp_prep>\n\t\t<database>")?;
    write_rows(rrd, index, archive, out)?;
    writeln!(out, "\t\t</database>\n\t</rra>")
}

/// Writes the rows of an archive, the oldest first: nearly all of an XML. So they do without the machinery of `fmt`.
fn write_rows<B: AsRef<[u8]>>(
    rrd: &Rrd<B>,
    index: usize,
    archive: &Rra,
    out: &mut impl Write,
) -> io::Result<()> {
    let row_secs = rrd.row_secs(archive);
    let oldest = rrd.newest_row_end(archive) - (archive.rows - 1) as i64 * row_secs;
    let in_file = rrd.rows(index);
    let newest = archive.cur_row as usize;
    let in_time = in_file.clone().skip(newest + 1).chain(in_file.take(newest + 1));
    let mut line = Vec::new();
    for (number, row) in (0..).zip(in_time) {
        let secs = oldest + number * row_secs;
        line.clear();
        line.extend_from_slice(b"\t\t\t<!-- ");
        Local(UnixTime::from_secs(secs)).push_to(&mut line);
        write!(line, " / {secs} --> <row>")?;
        for value in row.values() {
            if value.is_nan() {
                // Most of many files.
                line.extend_from_slice(b"<v>NaN</v>");
                continue;
            }
            line.extend_from_slice(b"<v>");
            line.extend_from_slice(Own(value).text().as_bytes());
            line.extend_from_slice(b"</v>");
        }
        line.extend_from_slice(b"</row>\n");
        out.write_all(&line)?;
    }
    Ok(())
}

fn write_forecast(forecast: &Forecast, out: &mut impl Write) -> io::Result<()> {
    match *forecast {
        Forecast::Predict { alpha, beta, .. } => {
            write!(out, "\t\t<hw_alpha>{}</hw_alpha>\n\t\t<hw_beta>{}</hw_beta>\n", Own(alpha), Own(beta))?;
        }
        Forecast::Seasonal { gamma, smoothing_window, own_window, smooth_index, .. } => {
            write!(
                out,
                "\t\t<seasonal_gamma>{}</seasonal_gamma>\n\
                 \t\t<seasonal_smooth_idx>{smooth_index}</seasonal_smooth_idx>\n",
                Own(gamma)
            )?;
            if own_window {
                writeln!(out, "\t\t<smoothing_window>{}</smoothing_window>", Own(smoothing_window))?;
            }
        }
        Forecast::Failures { delta_pos, delta_neg, window, threshold, .. } => write!(
            out,
            "\t\t<delta_pos>{}</delta_pos>\n\
             \t\t<delta_neg>{}</delta_neg>\n\
             \t\t<window_len>{window}</window_len>\n\
             \t\t<failure_threshold>{threshold}</failure_threshold>\n",
            Own(delta_pos),
            Own(delta_neg),
        )?,
        Forecast::DevPredict { .. } => {}
    }
    writeln!(out, "\t\t<dependent_rra_idx>{}</dependent_rra_idx>", forecast.dependency())
}

fn write_state(archive: &Rra, state: &[u8], out: &mut impl Write) -> io::Result<()> {
    let numbers: &[&str] = match archive.cf {
        Cf::HwPredict | Cf::MhwPredict => &["intercept", "last_intercept", "slope", "last_slope"],
        Cf::Seasonal | Cf::DevSeasonal => &["seasonal", "last_seasonal"],
        _ => &[],
    };
    let counts: &[&str] = match archive.cf {
        Cf::HwPredict | Cf::MhwPredict => &["nan_count", "last_nan_count"],
        Cf::Seasonal | Cf::DevSeasonal => &["init_flag"],
        _ => &[],
    };
    for (name, word) in numbers.iter().zip(state[cdp_prep::FORECAST..].chunks_exact(WORD)) {
        writeln!(out, "\t\t\t<{name}>{}</{name}>", Own(f64_at(word, 0)))?;
    }
    for (name, word) in counts.iter().zip(state[cdp_prep::FORECAST + 4 * WORD..].chunks_exact(WORD)) {
        writeln!(out, "\t\t\t<{name}>{}</{name}>", u64_at(word, 0))?;
    }
    if archive.cf == Cf::Failures {
        out.write_all(b"\t\t\t<history>")?;
        out.write_all(&archive.history(state))?;
        out.write_all(b"</history>\n")?;
    }
    Ok(())
}

/// An xff, the one number whose NaN is shown in small letters, whatever its sign.
struct Xff(f64);

impl std::fmt::Display for Xff {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_nan() { f.write_str("nan") } else { Own(self.0).fmt(f) }
    }
}

/// A time as the comments show it.
struct Local(UnixTime);

impl Local {
    fn push_to(&self, text: &mut Vec<u8>) {
        let local = self.0.local();
        let (date, time) = (local.civil.date_naive(), local.civil.time());
        // Writing to a Vec does not fail.
        let _ = match u32::try_from(date.year()) {
            Ok(year @ ..=9999) => {
                push_two(text, year / 100);
                push_two(text, year % 100);
                Ok(())
            }
            _ => write!(text, "{:04}", date.year()),
        };
        let rest = [
            (b'-', date.month()),
            (b'-', date.day()),
            (b' ', time.hour()),
            (b':', time.minute()),
            (b':', time.second()),
        ];
        for (separator, number) in rest {
            text.push(separator);
            push_two(text, number);
        }
        text.push(b' ');
        text.extend_from_slice(local.zone.as_bytes());
    }
}

/// Appends a number below 100 as two digits.
fn push_two(text: &mut Vec<u8>, number: u32) {
    text.extend_from_slice(&[b'0' + (number / 10) as u8, b'0' + (number % 10) as u8]);
}
