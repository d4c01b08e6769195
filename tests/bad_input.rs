//! What a user may get wrong, or a disk spoil: one line that says what and where, exit 1 or 2, and nothing overwritten.
//! Needs root, for the sockets, and rrdtool, which makes the archives that are then spoilt.

mod support {
    pub(crate) mod latmon;
}

use std::fs;
use std::process::Command;

use support::latmon::{Desk, told};

/// One line, exit code `code`, every one of `words` in it.
#[track_caller]
fn refused(desk: &Desk, words: &str, code: i32, said: &[&str]) {
    let (found, error) = told(&desk.done(words));
    assert_eq!(found, Some(code), "{words}: {error}");
    let lines: Vec<&str> = error.lines().filter(|line| line.starts_with("latmon: ")).collect();
    let [line] = lines[..] else { panic!("{words}: one line, not\n{error}") };
    for said in said {
        assert!(line.contains(said), "{words}: '{said}' is not in: {line}");
    }
    assert!(!error.contains("panicked"), "{words}: {error}");
}

/// An archive as `latmon run` makes it, made by rrdtool.
fn archive(desk: &Desk, name: &str) -> Vec<u8> {
    let mut create = Command::new("rrdtool");
    create.arg("create").arg(desk.path(name)).args(["--step", "60", "--start", "1700000000"]);
    create.args(["uptime", "loss", "median", "ping1", "ping2"].map(|ds| format!("DS:{ds}:GAUGE:120:0:U")));
    create.arg("RRA:AVERAGE:0.5:1:100");
    assert!(create.status().expect("rrdtool runs (apt-get install rrdtool)").success());
    fs::read(desk.path(name)).unwrap()
}

#[test]
fn a_spoilt_archive_is_told_and_not_overwritten() {
    let desk = Desk::new();
    let good = archive(&desk, "127.0.0.1.rrd");
    let file = desk.path("127.0.0.1.rrd");
    let with_count = |offset: usize, count: u64| {
        let mut bytes = good.clone();
        bytes[offset..offset + 8].copy_from_slice(&count.to_le_bytes());
        bytes
    };
    let spoilt: [(&str, Vec<u8>, &str); 6] = [
        ("cut in the values", good[..good.len() - 8].to_vec(), "is too small"),
        ("cut in the header", good[..200].to_vec(), "reached EOF"),
        ("empty", Vec::new(), "127.0.0.1.rrd"),
        ("2^60 data sources", with_count(24, 1 << 60), "127.0.0.1.rrd"),
        ("2^60 archives", with_count(32, 1 << 60), "127.0.0.1.rrd"),
        ("another file", b"Dear aunt, this is no archive. ".repeat(20), "is not an RRD file"),
    ];
    for (what, bytes, said) in &spoilt {
        fs::write(&file, bytes).unwrap();
        refused(&desk, "run 127.0.0.1", 1, &["127.0.0.1.rrd", said]);
        refused(&desk, "graph 127.0.0.1.rrd", 1, &["127.0.0.1.rrd", said]);
        assert_eq!(&fs::read(&file).unwrap(), bytes, "{what}: the file is as it was");
    }
}

#[test]
fn an_archive_of_something_else_is_told() {
    let desk = Desk::new();
    let status = Command::new("rrdtool")
        .arg("create")
        .arg(desk.path("127.0.0.1.rrd"))
        .args(["DS:in:COUNTER:600:0:U", "RRA:AVERAGE:0.5:1:10"])
        .status();
    assert!(status.expect("rrdtool runs (apt-get install rrdtool)").success());
    let said = ["127.0.0.1.rrd is no archive of rounds", "'loss'"];
    refused(&desk, "run 127.0.0.1", 1, &said);
    refused(&desk, "graph 127.0.0.1.rrd", 1, &said);
}

#[test]
fn settings_that_make_no_sense_are_told_with_their_place() {
    let desk = Desk::new();
    desk.write("latmon.toml", "[defaults]\nstepp = \"60s\"\n\n[targets]\nhere = \"127.0.0.1\"\n");
    for words in ["run", "check", "graph"] {
        refused(&desk, words, 2, &["latmon.toml:2", "stepp"]);
    }
    desk.write("latmon.toml", "[defaults]\nstep = \"sixty\"\n\n[targets]\nhere = \"127.0.0.1\"\n");
    refused(&desk, "run", 2, &["latmon.toml:2", "'sixty'"]);
    desk.write("latmon.toml", "[targets]\nhere = \"127.0.0.1\"\n[mail]\nfrom = \"a@example.org\"\n");
    refused(&desk, "run", 2, &["latmon.toml:4", "'to' is missing"]);
    desk.write("latmon.toml", "targets_file = \"hosts.txt\"\n[defaults]\nsource = \"fd00::1\"\n");
    desk.write("hosts.txt", "# of the office\n192.0.2.1\n");
    refused(&desk, "run", 2, &["hosts.txt:2", "latmon.toml:3", "192.0.2.1", "source = fd00::1"]);
    desk.write("latmon.toml", "[targets]\nlab = { cidr = \"192.0.2.0/8\" }\n");
    refused(&desk, "check", 2, &["latmon.toml:2", "192.0.0.0/8"]);
    desk.write("good.toml", "");
    refused(&desk, "run 192.0.2.0/28 --config good.toml", 2, &["TARGET", "cidr"]);
    refused(&desk, "run --config missing.toml", 2, &["missing.toml"]);
    refused(&desk, "run 127.0.0.1 --config good.toml --step 0", 2, &["--step"]);
}

#[test]
fn what_is_typed_wrong_is_one_line() {
    let desk = Desk::new();
    refused(&desk, "run 127.0.0.1 --stepp 5s", 2, &["--stepp"]);
    refused(&desk, "frobnicate", 2, &["frobnicate"]);
    archive(&desk, "a.rrd");
    refused(&desk, "graph a.rrd --since yesterday", 2, &["--since", "'yesterday'"]);
    refused(&desk, "graph a.rrd --since 1h --until 2h", 2, &["nothing lies between"]);
    refused(&desk, "graph a.rrd --width 9999999", 2, &["9999999"]);
    refused(&desk, "graph missing.rrd", 1, &["missing.rrd"]);
    refused(&desk, "graph a.rrd -o no/such/folder.png", 1, &["no/such/folder.png"]);
}

#[test]
fn a_data_folder_that_cannot_be_used_is_told() {
    let desk = Desk::new();
    desk.write("a-file", "");
    refused(&desk, "run 127.0.0.1 --data-dir a-file/data", 1, &["a-file/data"]);
    // A file system that takes no files, even from root.
    refused(&desk, "run 127.0.0.1 --data-dir /proc/latmon", 1, &["/proc/latmon"]);
}
