//! `latmon rrd restore`: what is refused and why, and what becomes of the file.
#![allow(clippy::unwrap_used)] // A helper that fails, fails its test.

mod support {
    pub(crate) mod rrdtool;
}

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use latmon::rrd::{self, Rrd};
use support::rrdtool::{Rrdtool, latmon};

const XML: &str = "<?xml version='1.0'?>
<!DOCTYPE rrd SYSTEM 'rrdtool.dtd'>
<rrd> <!-- a comment -->
<version>0003</version><step>10</step><lastupdate>1700002007</lastupdate>
<ds><name> a </name><type> GAUGE </type><minimal_heartbeat>120</minimal_heartbeat><min>0</min><max>5</max>
<last_ds>1</last_ds><value>1.0</value><unknown_sec> 6 </unknown_sec></ds>
<rra><cf>AVERAGE</cf><pdp_per_row>1</pdp_per_row><params><xff>0.5</xff></params><cdp_prep><ds>
<primary_value>1</primary_value><secondary_value>2</secondary_value><value>NaN</value>
<unknown_datapoints>0</unknown_datapoints></ds></cdp_prep>
<database><row><v>-1</v></row><row><v>2</v></row><row><v>7</v></row></database></rra>
</rrd>";

fn rows(image: &[u8]) -> Vec<f64> {
    let rrd = Rrd::new_checked(image).unwrap();
    let archive = rrd.archives().next().unwrap();
    (1..=archive.rows)
        .map(|number| (archive.cur_row + number) % archive.rows)
        .map(|row| rrd.row(0, row).unwrap().values().next().unwrap())
        .collect()
}

#[test]
fn rows_stand_in_time_order_and_a_range_check_makes_them_unknown() {
    assert_eq!(rows(&rrd::restored_image(XML.as_bytes(), false).unwrap()), [-1.0, 2.0, 7.0]);
    let checked = rows(&rrd::restored_image(XML.as_bytes(), true).unwrap());
    assert!(checked[0].is_nan() && checked[1] == 2.0 && checked[2].is_nan(), "{checked:?}");
}

/// Half a backup is no backup.
#[test]
fn xml_cut_short_anywhere_is_refused() {
    for end in 0..XML.len() {
        assert!(rrd::restored_image(&XML.as_bytes()[..end], false).is_err(), "{end} bytes");
    }
}

#[test]
fn what_makes_no_archive_is_refused_with_its_place() {
    let refused = |from: &str, to: &str| {
        assert!(XML.contains(from), "{from}");
        let changed = XML.replacen(from, to, 1);
        match rrd::restored_image(changed.as_bytes(), false) {
            Ok(_) => panic!("{from} -> {} was restored", &to[..to.len().min(60)]),
            Err(error) => error.to_string(),
        }
    };
    let long = "x".repeat(2 << 20);
    for (from, to, expected) in [
        ("<step>10</step>", "<foo>1</foo>", "parse_tag_rrd: Unknown tag: foo"),
        ("<min>", "<foo>1</foo><min>", "parse_tag_ds: Unknown tag: foo"),
        ("<value>NaN", "<foo>1</foo><value>NaN", "parse_tag_rra_cdp_prep: Unknown tag: foo"),
        ("GAUGE", "FOO", "parse_tag_ds_type: Unknown data source type: FOO"),
        ("AVERAGE", "average", "parse_tag_rra_cf: Unknown consolidation function: average"),
        ("> a <", ">abcdefghijklmnopqrst<", "'abcdefghijklmnopqrst' is longer than 20"),
        ("0003", "0006", "can't handle RRD file version 0006"),
        ("<v>2", "<v>2x", "line 10: '2x' is no number"),
        ("<v>2", "<v>", "line 10: '' is no number"),
        ("<v>2", "<v><v>2", "line 10: expected a value but found a <v> element"),
        ("<row>", "stray<row>", "line 10: expected element but found text 'stray'"),
        ("<v>2</v>", "", "line 10: expected 1 values, one per data source, but found 0"),
        ("<v>2", "<v>2</v><v>3", "line 10: expected 1 values, one per data source, but found 2"),
        ("1700002007", "soon", "line 4: 'soon' is no whole number"),
        (">120<", ">-1<", "line 5: '-1' is no whole number"),
        ("<last_ds>1", "<last_ds>&foo;", "line 6: unknown entity '&foo;'"),
        (">10<", ">0<", "what the XML makes is no archive: 'it' is damaged: its step is 0 seconds"),
        (
            "row>1<",
            "row>0<",
            "what the XML makes is no archive: 'it' is damaged: archive 0 has 3 rows of 0 data points each",
        ),
        ("AVERAGE", "HWPREDICT", "archive 0 depends on one that is not there or of another kind"),
        ("<xff>", "<hw_gamma>1</hw_gamma><xff>", "parse_tag_rra_params: Unknown tag: hw_gamma"),
        ("<xff>", "<window_len>9x</window_len><xff>", "line 7: '9x' is no whole number"),
        ("a comment", &long, "longer than a megabyte"),
        ("<step>", &format!("<{long}>"), "longer than a megabyte"),
        ("<v>2", &format!("<v>{long}"), "longer than a megabyte"),
        ("<rrd>", "<foo>", "line 3: expected <foo> element but found <rrd>"),
        ("</row>", "</rows>", "line 10: ill-formed document: expected `</row>`, but `</rows>` was found"),
    ] {
        let told = refused(from, to);
        assert!(told.ends_with(expected), "{from} -> {}: {told}", &to[..to.len().min(60)]);
    }
    assert!(refused(XML, "").contains("expected <> element"));
}

/// The text of a last reading need not be well-formed: dump writes an ampersand as it is.
#[test]
fn entities_and_ampersands_are_text() {
    for (text, expected) in [("a&amp;b&#65;", "a&bA"), ("a&b", "a&b"), ("<![CDATA[<]]>", "<"), (" 1 2 ", "1")]
    {
        let xml = XML.replacen("<last_ds>1", &format!("<last_ds>{text}"), 1);
        let image = rrd::restored_image(xml.as_bytes(), false).unwrap();
        let last = Rrd::new_checked(image).unwrap().data_sources().next().unwrap().last_ds.to_vec();
        assert_eq!(String::from_utf8(last).unwrap(), expected);
    }
}

#[test]
fn the_command_is_refused_with_rrdtools_texts() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut rrdtool = Rrdtool::start(folder);
    fs::write(folder.join("in.xml"), XML).unwrap();
    fs::write(folder.join("there.rrd"), "precious").unwrap();
    fs::write(folder.join("bad.xml"), XML.replacen("GAUGE", "FOO", 1)).unwrap();
    for line in [
        "restore in.xml",
        "restore in.xml a b",
        "restore -x in.xml a",
        "restore in.xml there.rrd",
        "restore nofile out.rrd",
        "restore in.xml nofolder/out.rrd",
        "restore bad.xml out.rrd",
        "restore --range-check=1 in.xml out.rrd",
        "restore -f",
    ] {
        let command: Vec<&str> = line.split(' ').collect();
        let ours = latmon(folder, &command);
        assert!(ours.is_err(), "{line}");
        assert_eq!(ours, rrdtool.run(&command), "{line}");
    }
    assert_eq!(fs::read(folder.join("there.rrd")).unwrap(), b"precious");
    assert_eq!(fs::read_dir(folder).unwrap().count(), 3);
}

/// A longer file is replaced, not written into: the original leaves its tail there.
#[test]
fn a_file_is_replaced_as_a_whole() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let whole = rrd::restored_image(XML.as_bytes(), false).unwrap();
    fs::write(folder.join("in.xml"), XML).unwrap();
    fs::write(folder.join("f.rrd"), vec![b'x'; 5000]).unwrap();
    let before = fs::File::open(folder.join("f.rrd")).unwrap();
    assert_eq!(latmon(folder, &["restore", "in.xml", "f.rrd", "-f"]), Ok(vec![]));
    assert_eq!(fs::metadata(folder.join("f.rrd")).unwrap().len(), whole.len() as u64);
    // Who has the old file open, keeps it.
    assert_eq!(before.metadata().unwrap().len(), 5000);
    let failed = latmon(folder, &["restore", "-f", "f.rrd", "f.rrd"]).unwrap_err();
    assert!(failed.starts_with("line 1: "), "{failed}");
    assert_eq!(fs::metadata(folder.join("f.rrd")).unwrap().len(), whole.len() as u64);
}

#[test]
fn xml_comes_from_standard_input() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut child = Command::new(env!("CARGO_BIN_EXE_latmon"))
        .args(["rrd", "restore", "-", "f.rrd"])
        .current_dir(folder)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(XML.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(rows(&fs::read(folder.join("f.rrd")).unwrap()), [-1.0, 2.0, 7.0]);
    // There the commands come from it.
    let mut latmon = Rrdtool::start_latmon(folder);
    let refused = latmon.run(&["restore", "-", "g.rrd"]).unwrap_err();
    assert_eq!(refused, "standard input has the commands: restore from a file");
}
