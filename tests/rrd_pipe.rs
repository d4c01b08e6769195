//! The pipe mode, `latmon rrd -`, against `rrdtool -`: one script of commands, the same answers.
#![allow(clippy::unwrap_used)] // A helper that fails, fails its test.

mod support {
    pub(crate) mod rrdtool;
}

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use support::rrdtool::{Random, Rrdtool, TZ, cases, seed};

/// What each side is started with.
const SIDES: [(&str, &[&str]); 2] = [(env!("CARGO_BIN_EXE_latmon"), &["rrd"]), ("rrdtool", &[])];

fn command(side: (&str, &[&str]), folder: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(side.0);
    command.args(side.1).args(words).current_dir(folder).env("TZ", TZ).env("LC_ALL", "C.UTF-8");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn play(side: (&str, &[&str]), folder: &Path, words: &[&str], script: &[u8]) -> Output {
    let mut child = command(side, folder, words)
        .spawn()
        .expect("this test needs the real rrdtool: apt-get install rrdtool");
    let mut stdin = child.stdin.take().unwrap();
    let script = script.to_vec();
    let writer = std::thread::spawn(move || {
        // Who has read `quit` reads no more.
        let _ = stdin.write_all(&script);
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

/// The answers, without the times behind OK, and with the lists of `ls` in order.
fn answers(output: &Output) -> Vec<String> {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut lines: Vec<String> = text
        .lines()
        .map(|line| match line.strip_prefix("OK u:") {
            Some(times) => {
                let times: Vec<&str> = times.split([' ', ':']).collect();
                let [user, "s", system, "r", real] = times[..] else { panic!("{line}") };
                for time in [user, system, real] {
                    let (whole, decimals) = time.split_once('.').unwrap();
                    assert!(whole.parse::<u32>().is_ok() && decimals.len() == 2, "{line}");
                }
                "OK".to_owned()
            }
            None => line.to_owned(),
        })
        .collect();
    let is_listed = |line: &String| line.starts_with("d ") || line.starts_with("- ");
    for run in lines.chunk_by_mut(|a, b| is_listed(a) && is_listed(b)) {
        if is_listed(&run[0]) {
            run.sort();
        }
    }
    lines
}

const SCRIPT: &str = r#"
create f.rrd -b 1700000000 -s 10 DS:a:GAUGE:120:0:U DS:b:COUNTER:120:U:U RRA:AVERAGE:0.5:1:3 RRA:MAX:0.5:6:4
  last   f.rrd  
last 'f.rrd'
"last" "f".rrd
last f.rrd extra
last "a b"
last 'a"b'
last ''
last "f.rrd
last f'.rrd
last nofile
first nofile
foo f.rrd
"" f.rrd
# comment
update f.rrd 1700000010:1:2 1700000020:1.5:7
update f.rrd 1700000010:1:2
update f.rrd "1700000030:1.5:x"
update f.rrd nonsense
updatev f.rrd 1700000031:1:8
updatev f.rrd 1700000095:1.5:x
updatev f.rrd 1700000095:1.5:9 1700000096:1.5:x
updatev f.rrd 1700000095:1:2
updatev f.rrd -s 1700000095:1:2 1700000097:1.5:9
updatev f.rrd -t x 1700000195:1
updatev f.rrd -t b 1700000195:11 1700000198:11
updatev f.rrd 1700000199:1.5:11
updatev f.rrd -x
updatev f.rrd
updatev nofile 1:1
updatev -d x f.rrd 1:1
lastupdate f.rrd
fetch f.rrd AVERAGE -s 1700000000 -e 1700000040
fetch f.rrd AVERAGE --start "20231114 22:00" -e 'start+1h' -r 3600
info -x f.rrd
info nofile
dump f.rrd -h none
dump f.rrd out.xml
mkdir sub
mkdir sub
mkdir a b
mkdir no/sub
mkdir
mkdir ''
cd
cd nofolder
cd a b
cd ''
cd sub
last f.rrd
last ../f.rrd
create with-dash.rrd -b 1700000000 DS:a:GAUGE:120:0:U RRA:LAST:0.5:1:3
create 'with blank.rrd' -b 1700000000 DS:a:GAUGE:120:0:U RRA:LAST:0.5:1:3
create other.name -b 1700000000 DS:a:GAUGE:120:0:U RRA:LAST:0.5:1:3
mkdir folder.rrd
ls
ls .
cd ..
ls
pwd x
quit x
last f.rrd
"#;

#[test]
fn a_script_is_answered_as_rrdtool_answers_it() {
    let transcripts = SIDES.map(|side| {
        let folder = tempfile::tempdir().unwrap();
        // What comes after `quit` is not read.
        let script = format!("{}last f.rrd\r\n\t last f.rrd \t\nquit\nlast f.rrd", SCRIPT.trim_start());
        let whole = play(side, folder.path(), &["-"], script.as_bytes());
        let without_newline = play(side, folder.path(), &["-"], b"last f.rrd");
        assert_eq!((whole.status.code(), without_newline.status.code()), (Some(0), Some(0)), "{side:?}");
        [answers(&whole), answers(&without_newline)].concat()
    });
    let [ours, theirs] = transcripts;
    for (number, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
        assert_eq!(ours, theirs, "line {number}");
    }
    assert_eq!(ours.len(), theirs.len());
    assert!(ours.len() > 100);
}

#[test]
fn the_folder_is_entered_before_the_first_command() {
    let [ours, theirs] = SIDES.map(|side| {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().canonicalize().unwrap();
        let sub = place.join("sub");
        std::fs::create_dir(&sub).unwrap();
        let entered = play(side, folder.path(), &["-", "sub"], b"pwd\n");
        assert_eq!(answers(&entered), [sub.to_str().unwrap(), "OK"], "{side:?}");
        let failed = [&["-", "none"][..], &["-", "sub", "extra"]].map(|words| {
            let output = play(side, folder.path(), words, b"pwd\n");
            (output.status.code(), output.stdout, String::from_utf8(output.stderr).unwrap())
        });
        (entered.status.code(), failed)
    });
    assert_eq!(ours, theirs);
}

/// A line that names no command, and a verb alone, are answered with a usage text, which is our own.
#[test]
fn usage_texts_end_with_ok() {
    let folder = tempfile::tempdir().unwrap();
    for side in SIDES {
        for line in ["", "   ", "last", "update"] {
            let told = answers(&play(side, folder.path(), &["-"], format!("{line}\n").as_bytes()));
            assert!(told.len() > 1 && told.last().unwrap() == "OK", "{side:?} {line:?}: {told:?}");
        }
    }
}

/// Scripts ask for the version before they begin; Cacti, LibreNMS and SmokePing look for the name and a number.
#[test]
fn the_version_is_one_that_scripts_know() {
    let folder = tempfile::tempdir().unwrap();
    for words in [["version"], ["-v"], ["--version"]] {
        let [ours, theirs] = SIDES.map(|side| {
            let output = play(side, folder.path(), &words, b"");
            assert_eq!(output.status.code(), Some(0), "{side:?}");
            String::from_utf8(output.stdout).unwrap()
        });
        let version = |text: &str| text.split(' ').take(3).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(version(&ours), version(&theirs));
        assert!(ours.contains(concat!("latmon ", env!("CARGO_PKG_VERSION"))), "{ours}");
    }
    let help = |words: &[&str]| String::from_utf8(play(SIDES[0], folder.path(), words, b"").stdout).unwrap();
    assert!(
        help(&["help", "fetch"])
            .ends_with("Usage: latmon rrd fetch FILE CF [-s START] [-e END] [-r RESOLUTION] [-a]\n")
    );
    assert!(help(&["help"]).lines().count() > 10);
    assert_eq!(help(&["--help"]), help(&["help"]));
}

/// Who drives it waits for each answer before it writes the next command.
#[test]
fn each_answer_is_flushed() {
    let folder = tempfile::tempdir().unwrap();
    let mut ours = Rrdtool::start_latmon(folder.path());
    let create = "create f.rrd -b 1700000000 DS:a:GAUGE:120:0:U RRA:LAST:0.5:1:3";
    assert_eq!(ours.run(&create.split(' ').collect::<Vec<_>>()), Ok(vec![]));
    assert_eq!(ours.run(&["last", "f.rrd"]), Ok(b"1700000000\n".to_vec()));
    assert_eq!(ours.run(&["foo", "f.rrd"]), Err("unknown function 'foo'".to_owned()));
    drop(ours);
    let mut child = command(SIDES[0], folder.path(), &["-"]).spawn().unwrap();
    let mut answers = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    child.stdin.as_mut().unwrap().write_all(b"quit\n").unwrap();
    // Its input is still open: `quit` alone ends it.
    assert_eq!(answers.read_line(&mut line).unwrap(), 0);
    assert!(child.wait().unwrap().success());
}

/// Commands that are all there at once are taken together, with files that stay open and locked; the answers and the
/// files must be those of one command after the other. Among the files are forecasts, which smooth their seasons.
#[test]
fn many_commands_at_once_are_answered_as_rrdtool_answers_them() {
    const FILES: [&str; 3] = [
        "DS:a:GAUGE:120:0:U DS:b:COUNTER:120:U:U RRA:AVERAGE:0.5:1:9 RRA:MAX:0.5:6:5",
        "DS:a:GAUGE:120:0:U DS:b:DERIVE:120:U:U RRA:AVERAGE:0.5:1:30 RRA:HWPREDICT:20:0.1:0.0035:7",
        "DS:a:GAUGE:120:-5:9 DS:b:ABSOLUTE:120:U:U DS:c:COMPUTE:a,b,/ RRA:LAST:0:1:9 RRA:MIN:0.5:2:5",
    ];
    let seed = seed();
    let names: Vec<String> = (0..FILES.len()).map(|number| format!("f{number}.rrd")).collect();
    for case in 0..cases(12) {
        let mut random = Random::new(seed, case);
        let folders = SIDES.map(|_| tempfile::tempdir().unwrap());
        let create: String = (0..FILES.len())
            .map(|n| format!("create {} -b 1700000000 -s 10 {}\n", names[n], FILES[n]))
            .collect();
        play(SIDES[1], folders[1].path(), &["-"], create.as_bytes());
        for name in &names {
            std::fs::copy(folders[1].path().join(name), folders[0].path().join(name)).unwrap();
        }
        let script = random_script(&mut random, &names);
        let [ours, theirs] =
            [0, 1].map(|side| answers(&play(SIDES[side], folders[side].path(), &["-"], script.as_bytes())));
        for (number, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
            assert_eq!(ours, theirs, "case {case}, answer {number}\n{script}");
        }
        assert_eq!(ours.len(), theirs.len());
        for name in &names {
            let [ours, theirs] =
                folders.each_ref().map(|folder| std::fs::read(folder.path().join(name)).unwrap());
            assert!(ours == theirs, "case {case}: {name} differs\n{script}");
        }
    }
}

fn random_script(random: &mut Random, names: &[String]) -> String {
    let mut time = 1_700_000_000;
    let mut script = String::new();
    for _ in 0..400 {
        let name = &names[random.below(names.len() as u64) as usize];
        let mut line = match random.below(40) {
            0 => format!("last {name}"),
            1 => format!("tune {name} -h a:{}", 50 + random.below(100)),
            2 => format!("fetch {name} AVERAGE -s {} -e {time}", time - 100),
            3 => format!("lastupdate ./{name}"),
            4 => format!("update ./{name}"),
            5 => format!("update {name} -t b:a"),
            6 => format!("update {name} -s"),
            7 => format!("update {name} -t b:nobody"),
            8 => format!("update {name}x"),
            _ => format!("update {name}"),
        };
        if line.starts_with("update") {
            for _ in 0..=random.below(3) {
                // Rarely back in time, and rarely over a gap.
                let step = match random.below(20) {
                    0 => random.below(400) as i64,
                    1 => -3,
                    _ => random.below(15) as i64,
                };
                time += step;
                let values = ["U", "1", "12", "4000000000", "0", "7"];
                line.push_str(&format!(" {time}:{}:{}", random.pick(&values), random.pick(&values)));
                // Of an argument that fails later the original leaves traces, on purpose we do not.
                if random.one_in(60) {
                    line.push_str(":1");
                }
            }
        }
        script.push_str(&line);
        script.push('\n');
    }
    script
}
