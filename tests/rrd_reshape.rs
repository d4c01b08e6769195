//! `latmon rrd tune` with `DS:`, `DEL:`, `RRA:`, `DELRRA:` and `RRA#`, against `rrdtool tune`: the same words on copies
//! of one file leave the same bytes, but where the original's are none that anybody could mean. What those are, each
//! test says; what is there instead: `rrd_reshape_sound.rs`.
#![allow(clippy::unwrap_used)] // A helper that fails, fails its test.

mod support {
    pub(crate) mod parsed;
    pub(crate) mod rrdtool;
}

use std::fs;

use support::parsed::{Parsed, both, differences, make};
use support::rrdtool::{Random, Rrdtool, cases, seed};

/// What the original makes of rows at the ends of an archive depends on where in the file they happen to lie: it reads
/// the newest row for the one before the oldest. So a row is compared where every archive that it could be filled from
/// either has all of it or nothing of it.
fn is_comparable(old: &Parsed, cf: &str, from: i64, to: i64) -> bool {
    old.archives.iter().enumerate().filter(|(_, archive)| archive.cf == cf || archive.cf == "AVERAGE").all(
        |(rra, archive)| {
            let (newest, rows) = (old.newest(rra), archive.rows as i64);
            let oldest = newest - rows * archive.row_secs;
            let overlapped = (to - 1).div_euclid(archive.row_secs) - from.div_euclid(archive.row_secs) + 1;
            to <= oldest || from >= newest || (from >= oldest && to <= newest && overlapped < rows)
        },
    )
}

/// Blanks what cannot be compared, in both: `sources` and `archives` are how many of the old ones are left in front.
fn blank(side: &mut Parsed, old: &Parsed, sources: usize, archives: usize, own_rows: &[usize]) {
    for ds in sources..side.ds_count {
        // Bytes of the original's stack.
        let parameters = side.ds_def(ds) + 40;
        side.bytes[parameters + 24..parameters + 80].fill(0);
    }
    for (rra, archive) in side.archives.clone().into_iter().enumerate() {
        if rra >= archives {
            for ds in 0..side.ds_count {
                let cdp = side.cdp(rra, ds);
                side.bytes[cdp..cdp + 80].fill(0);
            }
        }
        let (newest, row_len) = (side.newest(rra), 8 * side.ds_count);
        let own = own_rows.get(rra).filter(|_| rra < archives).copied().unwrap_or(0);
        for row in 0..archive.rows.saturating_sub(own) {
            let end = newest - (archive.rows - 1 - row) as i64 * archive.row_secs;
            if !is_comparable(old, &archive.cf, end - archive.row_secs, end) {
                side.bytes[archive.start + row * row_len..][..row_len].fill(0);
            }
        }
    }
}

fn random_archives(random: &mut Random, step: u64) -> String {
    let one = |random: &mut Random| {
        let cf = random.pick(&["AVERAGE", "AVERAGE", "MAX", "MIN", "LAST"]);
        let xff = random.pick(&["0", "0.5", "0.9"]);
        format!("RRA:{cf}:{xff}:{}:{}", random.pick(&[1, 1, 2, 3, 4, 6]) * step, 2 + random.below(14))
    };
    (0..1 + random.below(4)).map(|_| one(random)).collect::<Vec<_>>().join(" ")
}

#[test]
fn random_shapes_have_the_bytes_that_rrdtools_have() {
    let (seed, folder) = (seed(), tempfile::tempdir().unwrap());
    let folder = folder.path();
    let (mut rrdtool, mut latmon) = (Rrdtool::start(folder), Rrdtool::start_latmon(folder));
    for case in 0..cases(150) {
        let mut random = Random::new(seed, case);
        let count = 1 + random.below(3) as usize;
        let name = |ds: usize| ["a", "b-long_name", "c"][ds];
        let sources: Vec<_> = (0..count).map(|ds| format!("DS:{}:GAUGE:120:U:U", name(ds))).collect();
        let archives = random_archives(&mut random, 1);
        make(&mut rrdtool, &mut random, &sources.join(" "), &archives);
        let old = Parsed::new(fs::read(folder.join("made.rrd")).unwrap());

        let mut words = Vec::new();
        let mut own_rows: Vec<usize> = old.archives.iter().map(|archive| archive.rows).collect();
        let mut kept = count;
        if count > 1 && random.one_in(3) {
            words.push(format!("DEL:{}", name(random.below(count as u64) as usize)));
            kept -= 1;
        }
        if random.one_in(3) {
            let kind = random.pick(&["GAUGE", "COUNTER", "DERIVE", "ABSOLUTE", "DCOUNTER"]);
            words.push(format!("DS:new:{kind}:{}:0:5", 1 + random.below(1000)));
        }
        for (rra, rows) in own_rows.iter().enumerate() {
            match random.below(5) {
                0 => words.push(format!("RRA#{rra}:+{}", random.below(9))),
                1 => words.push(format!("RRA#{rra}:-{}", random.below(*rows as u64))),
                2 => words.push(format!("RRA#{rra}:={}", 1 + random.below(20))),
                _ => {}
            }
        }
        // Of an archive before others it leaves the rows where they were, and the others get them.
        if own_rows.len() > 1 && random.one_in(4) {
            own_rows.pop();
            words.insert(0, format!("DELRRA:{}", own_rows.len()));
        }
        let step = if random.one_in(6) { 5 } else { 10 };
        if random.one_in(2) {
            words.push(random_archives(&mut random, 10 / step));
        }
        if step != 10 {
            words.push(format!("--step {step} RRA#0:+0"));
        }
        let words = if words.is_empty() { "RRA#0:+0".to_owned() } else { words.join(" ") };

        let [theirs, ours] = both(folder, &mut rrdtool, &mut latmon, &words);
        let told = format!("LATMON_TEST_SEED={seed}, case {case}: {archives}: tune {words}");
        assert_eq!((&ours.0, &theirs.0), (&Ok(()), &Ok(())), "{told}");
        let [mut theirs, mut ours] = [theirs.1, ours.1].map(Parsed::new);
        for side in [&mut theirs, &mut ours] {
            blank(side, &old, kept, own_rows.len(), &own_rows);
            if step != 10 {
                // It leaves what is open as it was counted in the old step.
                let open = side.pdp(0)..side.cdp(side.archives.len(), 0);
                side.bytes[open].fill(0);
            }
        }
        for rra in 0..ours.archives.len() {
            let [ours, theirs] = [&ours, &theirs].map(|side| format!("{:?}", side.rows(rra)));
            assert_eq!(ours, theirs, "{told}: rows of archive {rra}");
        }
        assert!(
            ours.bytes == theirs.bytes,
            "{told}: the files differ at {:?}",
            differences(&ours.bytes, &theirs.bytes)
        );
    }
}

/// Forecasts: their rows are never filled, and a new data source has their state as in a new file.
#[test]
fn forecasts_keep_what_they_learnt() {
    let (seed, folder) = (seed(), tempfile::tempdir().unwrap());
    let folder = folder.path();
    let (mut rrdtool, mut latmon) = (Rrdtool::start(folder), Rrdtool::start_latmon(folder));
    for case in 0..cases(40) {
        let mut random = Random::new(seed, case);
        let kind = random.pick(&["HWPREDICT", "MHWPREDICT"]);
        let archives = format!("RRA:AVERAGE:0.5:1:9 RRA:{kind}:12:0.1:0.01:{}", 2 + random.below(8));
        make(&mut rrdtool, &mut random, "DS:a:GAUGE:120:U:U DS:b:GAUGE:120:U:U", &archives);
        let old = Parsed::new(fs::read(folder.join("made.rrd")).unwrap());
        let (rra, rows) = (random.below(6), 1 + random.below(9));
        let words = match random.below(5) {
            0 => format!("RRA#{rra}:+{rows}"),
            1 => format!("RRA#{rra}:-1"),
            2 => "DEL:a DS:new:GAUGE:5:0:1".to_owned(),
            3 => "DELRRA:5".to_owned(),
            _ => format!("RRA:HWPREDICT:9:0.2:0.02:4 RRA:MAX:0.5:2:{rows}"),
        };
        let [theirs, ours] = both(folder, &mut rrdtool, &mut latmon, &words);
        let told = format!("LATMON_TEST_SEED={seed}, case {case}: {archives}: tune {words}");
        assert_eq!((&ours.0, &theirs.0), (&Ok(()), &Ok(())), "{told}");
        let [mut theirs, mut ours] = [theirs.1, ours.1].map(Parsed::new);
        // A new forecast that knows nothing is all zero there, which is an intercept and a trend, and not right ones.
        let archives = old.archives.len().min(ours.archives.len());
        let own_rows: Vec<_> = old.archives.iter().map(|archive| archive.rows).collect();
        let kept = if words.contains("DEL:") { 1 } else { 2 };
        for side in [&mut theirs, &mut ours] {
            blank(side, &old, kept, archives, &own_rows);
        }
        assert!(ours.bytes == theirs.bytes, "{told}: {:?}", differences(&ours.bytes, &theirs.bytes));
    }
}

const COMMANDS: &str = r#"
DEL:x
DEL:
DEL
DEL:b
DEL:b DEL:b
DS:a:GAUGE:60:0:U
DS:a:FOO:60:0:U
DS:z:GAUGE:60
DS:z:FOO:60:0:U
DS:
DS
DS:z:GAUGE:60:0:U DS:z:GAUGE:60:0:U
DS:z=a:GAUGE:60:0:U
DS:z:COMPUTE:a,b,+
DS:z:COMPUTE:q,2,*
DEL:b DS:b:DERIVE:60:0:U
DS:b:DERIVE:60:0:U DEL:b
DELRRA:2
DELRRA:3
DELRRA:-1
DELRRA:
DELRRA:+2
DELRRA:0 DELRRA:1 DELRRA:2
DELRRA:2 DELRRA:2
RRA#2:+
RRA#2:5
RRA#2:=5
RRA#2:=0
RRA#2:-3
RRA#2:-4
RRA#2:-5
RRA#9:+1
RRA#x:+1
RRA#2
RRA#
RRA#2:
RRA#2:+x
RRA#2:+0
RRA#2:*2
RRA#:+1
RRA#2:=
"RRA# 2:+1"
"RRA#2:+ 1"
RRA#99999999999:+1
RRA#2:+1 RRA#2:+2
RRA#2:-1 DELRRA:2
DELRRA:2 RRA#2:-1
RRA#3:+1 RRA:MAX:0.5:2:2
RRA:FOO:0.5:1:5
RRA:MAX:0.5:1h:1d
RRA:MAX:2:1:5
RRA:MAX
RRA:
del:a
foo
-h a:77 foo
-x 0.5 foo
DEL:a foo
foo DS:a:FOO
RRA:FOO DS:a:GAUGE:60:0:U
DELRRA:-1 RRA#2
-t 5 RRA#2:+0
-t 5
-t 3
-t 3 RRA#2:+0
-t 10 RRA#2:+0
-t 20 RRA#2:+0
-t 3 DS:a:GAUGE:60:0:U
-h a:77 -r b:q DEL:q
"#;

#[test]
fn words_are_told_about_as_rrdtool_tells_about_them() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (mut rrdtool, mut latmon) = (Rrdtool::start(folder), Rrdtool::start_latmon(folder));
    let archives = "RRA:AVERAGE:0.5:1:6 RRA:AVERAGE:0.5:3:4 RRA:MAX:0.5:3:4";
    make(&mut rrdtool, &mut Random::new(1, 1), "DS:a:GAUGE:120:U:U DS:b:GAUGE:120:U:U", archives);
    let made = fs::read(folder.join("made.rrd")).unwrap();
    for words in COMMANDS.lines().filter(|line| !line.is_empty()) {
        let [theirs, ours] = both(folder, &mut rrdtool, &mut latmon, words);
        assert_eq!(ours.0, theirs.0, "{words}");
        // There the file is rewritten before the definition of a data source is found to be none.
        assert!(ours.0.is_ok() || ours.1 == made, "{words}: refused, and yet changed");
        assert!(ours.0.is_err() || ours.1.len() == theirs.1.len(), "{words}");
    }
}
