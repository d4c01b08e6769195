//! Archives that the real rrdtool made, and the texts it printed of them: `fixtures/rrd/make.sh`. Needs no rrdtool.

use std::path::Path;
use std::process::Command;

#[test]
fn archives_made_by_rrdtool_are_told_in_its_words() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/rrd");
    let fetches = [
        ("gauge", "AVERAGE -s 1700000000 -e 1700001700"),
        ("kinds", "MAX -s 1700000000 -e 1700000150 -r 30"),
        ("fresh", "LAST -s 1699990000 -e 1700000123 -r 3600"),
    ];
    for (name, span) in fetches {
        for (verb, rest) in [("info", ""), ("dump", ""), ("fetch", span)] {
            let output = Command::new(env!("CARGO_BIN_EXE_latmon"))
                .args(["rrd", verb, &format!("{name}.rrd")])
                .args(rest.split_whitespace())
                .current_dir(&folder)
                .env("TZ", "UTC")
                .output()
                .unwrap();
            assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
            let expected = std::fs::read_to_string(folder.join(format!("{name}.{verb}"))).unwrap();
            assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{verb} {name}.rrd");
        }
    }
}
