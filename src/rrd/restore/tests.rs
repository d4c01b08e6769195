//! Rows are read in two ways, and nobody may notice which.

use proptest::prelude::*;

use super::*;

/// A file of two data sources, of which the second has limits, and these rows.
fn xml(rows: &[u8]) -> Vec<u8> {
    let ds = |name: &str, limits: &str| {
        format!(
            "<ds><name>{name}</name><type>GAUGE</type><minimal_heartbeat>20</minimal_heartbeat>{limits}\
             <last_ds>U</last_ds><value>0</value><unknown_sec>0</unknown_sec></ds>\n"
        )
    };
    let before = format!(
        "<rrd><version>0003</version><step>10</step><lastupdate>1700000000</lastupdate>\n{}{}\
         <rra><cf>AVERAGE</cf><pdp_per_row>1</pdp_per_row><params><xff>0.5</xff></params>\n<database>\n",
        ds("a", "<min>NaN</min><max>NaN</max>"),
        ds("b", "<min>0</min><max>100</max>")
    );
    [before.as_bytes(), rows, b"</database></rra></rrd>\n"].concat()
}

/// What is read of it through a buffer of so many bytes: the first archive's rows, or the text of the error.
fn read(xml: &[u8], buffer: usize, range_check: bool) -> Result<Vec<u8>, String> {
    let dump = Source::new(BufReader::with_capacity(buffer, xml)).rrd(range_check);
    dump.map(|dump| dump.archives[0].rows.clone()).map_err(|error| error.to_string())
}

/// As `dump` writes it, and as others may; some of it is no number, no row, or no XML.
fn row() -> impl Strategy<Value = Vec<u8>> {
    const PLAIN: [&str; 6] = ["1.5000000000e+00", "NaN", "-nan", "0", "-7e3", " 12.25 "];
    const ODD: [&str; 14] = [
        "inf",
        "-INF",
        "x",
        "",
        "U",
        "1 2",
        "&#49;",
        "1&amp;",
        "<![CDATA[3]]>",
        "4<!-- -->2",
        "<b/>",
        "0x10",
        "1e999",
        "&",
    ];
    const BEFORE: [&[u8]; 14] = [
        b"\n",
        b"",
        b" \t\r\n ",
        b"<!-- 2023-11-14 22:13:20 UTC / 1700000000 --> ",
        b"<!-- --> ",
        b"<!---->",
        b"<!-- <row> -->",
        b"<!-- a -- b -->",
        b"<!-- \n\n -->\n",
        b"<!-- \xff -->",
        b"text",
        b"<?pi ?>",
        b"<!-- never ends ",
        b"<!-- -- ->-->",
    ];
    const OPEN: [(&str, &str); 8] = [
        ("<row>", "</row>"),
        ("<row>", "</row>\n"),
        ("<row a='1'>", "</row>"),
        ("<ROW>", "</ROW>"),
        ("<row >", "</row >"),
        ("<row/><row>", "</row>"),
        ("<rows>", "</rows>"),
        ("<row>", ""),
    ];
    const VALUE: [(&str, &str); 5] =
        [("<v>", "</v>"), ("<v> ", " </v>"), ("<V>", "</V>"), ("<v a=''>", "</v >"), (" <v>", "</v>\n")];
    let odd_at = |odds: u32| prop::bool::weighted(1.0 / f64::from(odds));
    let value = (odd_at(40), 0..PLAIN.len(), 0..ODD.len(), odd_at(20), 0..VALUE.len());
    let values = (odd_at(60), prop::collection::vec(value, 3)).prop_map(|(is_odd, values)| {
        let value = |(odd, plain, other, form, forms): &(bool, usize, usize, bool, usize)| {
            let (open, close) = VALUE[if *form { *forms } else { 0 }];
            format!("{open}{}{close}", if *odd { ODD[*other] } else { PLAIN[*plain] })
        };
        values.iter().skip(usize::from(!is_odd)).map(value).collect::<String>()
    });
    let frame = (odd_at(6), 0..BEFORE.len(), odd_at(20), 0..OPEN.len());
    (frame, values).prop_map(|((odd, before, framed, open), values)| {
        let (open, close) = OPEN[if framed { open } else { 0 }];
        [BEFORE[if odd { before } else { 3 }], open.as_bytes(), values.as_bytes(), close.as_bytes()].concat()
    })
}

proptest! {
    /// Through a buffer of a few bytes every row is the XML reader's.
    #[test]
    fn plain_rows_are_read_as_any_others(
        rows in prop::collection::vec(row(), 1..12),
        cut in prop::option::weighted(0.1, any::<prop::sample::Index>()),
        buffer in 1..400_usize,
        range_check in any::<bool>(),
    ) {
        let mut xml = xml(&rows.concat());
        if let Some(cut) = cut {
            xml.truncate(cut.index(xml.len()));
        }
        let in_full = read(&xml, 1, range_check);
        for buffer in [xml.len() + 1, buffer] {
            prop_assert_eq!(&read(&xml, buffer, range_check), &in_full, "{}: {}", buffer, String::from_utf8_lossy(&xml));
        }
    }
}

/// The cases above are of both kinds.
#[test]
fn a_plain_row_takes_the_short_way() {
    let rows = b"<!-- 2023-11-14 22:13:20 UTC / 1700000000 --> <row><v>1.5</v><v>NaN</v></row>\n<row><v>2</v><v>x</v></row>";
    let mut source = Source::new(&rows[..]);
    let mut values = Vec::new();
    assert_eq!(source.plain_row(&mut values, |_, value| value.to_le_bytes()), Some(2));
    assert_eq!((values.len(), &values[..8]), (16, &1.5_f64.to_le_bytes()[..]));
    assert_eq!(source.plain_row(&mut values, |_, value| value.to_le_bytes()), None);
    assert_eq!(values.len(), 16, "what is left to the XML reader leaves nothing behind");
}
