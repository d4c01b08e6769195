//! An archive as XML.

use std::io::{self, Write};

use crate::rrd::def::DsType;
use crate::rrd::file::{Rra, Rrd};
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
    writeln!(out, "\t<lastupdate>{}</lastupdate> <!-- {} -->\n", last.secs(), Local(last))?;
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
         \t\t<params>\n\
         \t\t<xff>{}</xff>\n\
         \t\t</params>\n\
         \t\t<cdp_prep>\n",
        archive.cf.name(),
        archive.pdp_per_row,
        Xff(archive.xff),
    )?;
    for cdp in (0..rrd.ds_count()).filter_map(|ds| rrd.cdp(index, ds)) {
        write!(
            out,
            "\t\t\t<ds>\n\
             \t\t\t<primary_value>{}</primary_value>\n\
             \t\t\t<secondary_value>{}</secondary_value>\n\
             \t\t\t<value>{}</value>\n\
             \t\t\t<unknown_datapoints>{}</unknown_datapoints>\n\
             \t\t\t</ds>\n",
            Own(cdp.primary),
            Own(cdp.secondary),
            Own(cdp.value),
            cdp.unknown_pdps,
        )?;
    }
    writeln!(out, "\t\t</cdp_prep>\n\t\t<database>")?;
    let oldest = rrd.newest_row_end(archive) - (archive.rows - 1) as i64 * row_secs;
    for number in 0..archive.rows {
        let secs = oldest + number as i64 * row_secs;
        let row = (archive.cur_row + 1 + number) % archive.rows;
        write!(out, "\t\t\t<!-- {} / {secs} --> <row>", Local(UnixTime::from_secs(secs)))?;
        for value in rrd.row(index, row).into_iter().flat_map(|row| row.values()) {
            write!(out, "<v>{}</v>", Own(value))?;
        }
        writeln!(out, "</row>")?;
    }
    writeln!(out, "\t\t</database>\n\t</rra>")
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

impl std::fmt::Display for Local {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let local = self.0.local();
        write!(f, "{} {}", local.civil.format("%Y-%m-%d %H:%M:%S"), local.zone)
    }
}
