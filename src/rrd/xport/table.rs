//! What was exported, and how it is written.

use std::io::{self, Write};

use crate::rrd::error::XportError;
use crate::rrd::number::Own;
use crate::rrd::xport::cdef::gcd;
use crate::rrd::xport::program::Column;
use crate::rrd::xport::series::{MOST_ROWS, Series};
use crate::rrd::xport::{Value, XportOptions};

/// What an export comes to: columns of values over common steps.
#[derive(Debug)]
pub struct Exported {
    start: i64,
    end: i64,
    step: i64,
    legends: Vec<Vec<u8>>,
    series: Vec<Series>,
    /// The series of each column: one that is exported twice is kept once.
    columns: Vec<usize>,
}

/// How an export is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Format {
    /// As JSON instead of XML.
    pub json: bool,
    /// With the time of each row.
    pub times: bool,
    /// With the number of its column in the name of each value's XML element.
    pub enumerate: bool,
}

impl Exported {
    pub(super) fn new(
        columns: &[Column],
        mut values: Vec<Value>,
        options: &XportOptions,
    ) -> Result<Self, XportError> {
        let mut places = vec![None; values.len()];
        let mut exported =
            Self { start: 0, end: 0, step: 0, legends: Vec::new(), series: Vec::new(), columns: Vec::new() };
        for column in columns {
            if let Value::Series(_) = &values[column.item]
                && let Value::Series(series) = std::mem::replace(&mut values[column.item], Value::None)
            {
                exported.step = gcd(exported.step, series.step);
                places[column.item] = Some(exported.series.len());
                exported.series.push(series);
            }
            if let Some(place) = places[column.item] {
                exported.columns.push(place);
                exported.legends.push(column.legend.clone());
            }
        }
        let step = exported.step;
        if step == 0 {
            return Err(XportError::NoColumn);
        }
        exported.start = options.start - options.start % step;
        exported.end = options.end + (step - options.end % step) % step;
        let rows = exported.rows().unsigned_abs();
        if rows.saturating_mul(exported.columns.len() as u64) > MOST_ROWS {
            return Err(XportError::Rows { rows, most: MOST_ROWS / exported.columns.len() as u64 });
        }
        Ok(exported)
    }

    /// Writes the table as `rrdtool xport` does. Legends are not escaped, as in the original.
    pub fn write(&self, format: Format, out: &mut impl Write) -> io::Result<()> {
        if format.json { self.write_json(format, out) } else { self.write_xml(format, out) }
    }

    fn rows(&self) -> i64 {
        (self.end - self.start) / self.step
    }

    fn times(&self) -> impl Iterator<Item = i64> + '_ {
        (1..=self.rows()).map(|row| self.start + row * self.step)
    }

    fn values(&self, time: i64) -> impl Iterator<Item = f64> + '_ {
        self.columns.iter().map(move |column| self.series[*column].at(time))
    }

    fn write_xml(&self, format: Format, out: &mut impl Write) -> io::Result<()> {
        write!(
            out,
            "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>\n\n\
             <xport>\n  <meta>\n\
             \x20   <start>{}</start>\n    <end>{}</end>\n    <step>{}</step>\n\
             \x20   <rows>{}</rows>\n    <columns>{}</columns>\n    <legend>\n",
            self.start + self.step,
            self.end,
            self.step,
            self.rows(),
            self.columns.len(),
        )?;
        for legend in &self.legends {
            out.write_all(&[b"      <entry>", legend.as_slice(), b"</entry>\n"].concat())?;
        }
        out.write_all(b"    </legend>\n  </meta>\n  <data>\n")?;
        let mut line = Vec::new();
        for time in self.times() {
            line.clear();
            line.extend(b"    <row>");
            if format.times {
                write!(line, "<t>{time}</t>")?;
            }
            for (column, value) in self.values(time).enumerate() {
                if format.enumerate {
                    write!(line, "<v{column}>")?;
                    put(value, &mut line);
                    write!(line, "</v{column}>")?;
                } else {
                    line.extend(b"<v>");
                    put(value, &mut line);
                    line.extend(b"</v>");
                }
            }
            line.extend(b"</row>\n");
            out.write_all(&line)?;
        }
        out.write_all(b"  </data>\n</xport>\n")
    }

    fn write_json(&self, format: Format, out: &mut impl Write) -> io::Result<()> {
        write!(
            out,
            "{{ \"about\": \"RRDtool graph JSON output\",\n  \"meta\": {{\n\
             \x20   \"start\": {},\n    \"end\": {},\n    \"step\": {},\n    \"legend\": [\n",
            self.start + self.step,
            self.end,
            self.step,
        )?;
        for (column, legend) in self.legends.iter().enumerate() {
            let end: &[u8] = if column + 1 < self.legends.len() { b"\",\n" } else { b"\"\n" };
            out.write_all(&[b"      \"", legend.as_slice(), end].concat())?;
        }
        out.write_all(b"          ]\n     },\n  \"data\": [\n")?;
        let mut line = Vec::new();
        for (row, time) in self.times().enumerate() {
            line.clear();
            line.extend(if row > 0 { &b",\n    [ "[..] } else { b"    [ " });
            if format.times {
                write!(line, "\"{time}\",")?;
            }
            for (column, value) in self.values(time).enumerate() {
                if column > 0 {
                    line.extend(b", ");
                }
                if value.is_finite() {
                    put(value, &mut line);
                } else {
                    line.extend(b"null");
                }
            }
            line.extend(b" ]");
            out.write_all(&line)?;
        }
        out.write_all(if self.rows() > 0 { b"\n  ]\n}\n" } else { b"  ]\n}\n" })
    }
}

fn put(value: f64, line: &mut Vec<u8>) {
    line.extend_from_slice(Own(value).text().as_str().as_bytes());
}
