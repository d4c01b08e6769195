//! Ours and the real rrdtool, side by side: the same commands on copies of one file print the same texts and leave the
//! same bytes.
#![allow(dead_code, unreachable_pub)] // Each test file uses its part.
#![allow(clippy::unwrap_used)] // A helper that fails, fails its test.

use std::path::PathBuf;

use super::files::{
    rows_in_time_order, same_answer, same_bytes, without_last_readings, without_pointers, words_of,
};
use super::rrdtool::{Answer, Random, Rrdtool};

/// Both programs, each in a folder of its own, so that the names in commands and texts are the same.
pub struct Pair {
    folder: tempfile::TempDir,
    pub ours: Rrdtool,
    pub theirs: Rrdtool,
    /// How far a difference of infinities is off is, in the original's forecasts, a NaN of the other sign than all
    /// others; ours knows one NaN.
    pub any_nan: bool,
}

impl Pair {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let [ours, theirs] = ["ours", "theirs"].map(|name| {
            let folder = folder.path().join(name);
            std::fs::create_dir(&folder).unwrap();
            folder
        });
        Self { ours: Rrdtool::start_latmon(&ours), theirs: Rrdtool::start(&theirs), folder, any_nan: false }
    }

    pub fn path(&self, whose: &str, file: &str) -> PathBuf {
        self.folder.path().join(whose).join(file)
    }

    pub fn read(&self, file: &str) -> [Vec<u8>; 2] {
        ["ours", "theirs"].map(|whose| std::fs::read(self.path(whose, file)).unwrap())
    }

    pub fn write(&self, file: &str, bytes: &[u8]) {
        for whose in ["ours", "theirs"] {
            std::fs::write(self.path(whose, file), bytes).unwrap();
        }
    }

    /// Makes `f.rrd` on both sides, the same but for the random rows they begin at, and returns their bytes.
    pub fn create(&mut self, definition: &[String], told: &str) -> [Vec<u8>; 2] {
        self.ask(&words_of("create", definition), told).expect(told);
        let [ours, theirs] = self.read("f.rrd");
        assert!(without_pointers(&ours) == without_pointers(&theirs), "{told}: fresh files differ");
        [ours, theirs]
    }

    /// Both answers to a command, which must be the same.
    pub fn ask(&mut self, words: &[&str], told: &str) -> Answer {
        let told = Told(format!("{told}\n{}", words.join(" ")));
        let (ours, theirs) = (self.ours.run(words), self.theirs.run(words));
        same_answer(&ours, &theirs, &told.0);
        theirs
    }

    /// Does the same to both files, which then have the same bytes. But a failing argument of the original leaves its
    /// trace in the last readings, and one whose expression fails in all that was computed before; ours leaves none.
    pub fn change(&mut self, words: &[&str], told: &str) -> Answer {
        let answer = self.ask(words, told);
        let [ours, theirs] = self.read("f.rrd");
        if ours != theirs {
            let told = format!("{told}\n{}", words.join(" "));
            let theirs = if self.any_nan { with_our_nans(&ours, theirs) } else { theirs };
            match &answer {
                Ok(_) => same_bytes(&ours, &theirs, &told),
                Err(text) if text.contains("RPN") || text.contains("percentile") => {}
                Err(_) => {
                    let [ours, theirs] = [ours.clone(), theirs].map(without_last_readings);
                    same_bytes(&ours, &theirs, &told);
                }
            }
            std::fs::write(self.path("theirs", "f.rrd"), ours).unwrap();
        }
        answer
    }

    /// Every verb that reads says the same about `f.rrd`, whose last update is about `last`.
    pub fn same_texts(&mut self, random: &mut Random, last: f64, step: u64, told: &str) {
        for verb in ["info", "last", "lastupdate", "first", "dump", "first --rraindex 1"] {
            let (verb, option) = verb.split_once(' ').unwrap_or((verb, ""));
            let words = [verb, "f.rrd"].into_iter().chain(option.split_whitespace());
            let _ = self.ask(&words.collect::<Vec<_>>(), told);
        }
        for cf in latmon::rrd::Cf::ALL.map(latmon::rrd::Cf::name) {
            let end = last as u64 + random.below(2000);
            let start = end - random.below(200) * step * random.pick(&[1, 1, 12]);
            let resolution = random.pick(&["1", "5", "60", "1h", "7", "1d"]);
            let align = random.pick(&["", " -a"]);
            let line = format!("fetch f.rrd {cf} -s {start} -e {end} -r {resolution}{align}");
            let _ = self.ask(&line.split(' ').collect::<Vec<_>>(), told);
        }
    }

    /// Restores the original's dump of `f.rrd` on both sides: the rows begin anywhere, all else is the same. Both go on
    /// with theirs.
    pub fn restore(&mut self, header: &str, flags: &[&str], told: &str) -> Answer {
        self.theirs.run(&["dump", "-h", header, "f.rrd", "f.xml"]).expect(told);
        std::fs::copy(self.path("theirs", "f.xml"), self.path("ours", "f.xml")).unwrap();
        let told = format!("{told}\nrestored {header} {flags:?}");
        let answer = self.ask(&[&["restore", "f.xml", "g.rrd"], flags].concat(), &told);
        if answer.is_ok() {
            let [mut ours, mut theirs] = self.read("g.rrd");
            self.write("f.rrd", &theirs);
            rows_in_time_order(&mut ours);
            rows_in_time_order(&mut theirs);
            same_bytes(&ours, &theirs, &told);
            // The original would write into what is there, and leave its tail.
            for whose in ["ours", "theirs"] {
                std::fs::remove_file(self.path(whose, "g.rrd")).unwrap();
            }
        }
        answer
    }
}

/// What was done, told where one of the programs ends in the middle of it.
struct Told(String);

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}", self.0);
        }
    }
}

/// Theirs, with our NaN where they have the one of the other sign.
fn with_our_nans(ours: &[u8], mut theirs: Vec<u8>) -> Vec<u8> {
    let unknown = latmon::rrd::number::UNKNOWN.to_le_bytes();
    for (ours, theirs) in ours.chunks_exact(8).zip(theirs.chunks_exact_mut(8)) {
        if *ours == unknown && *theirs == f64::NAN.to_le_bytes() {
            theirs.copy_from_slice(&unknown);
        }
    }
    theirs
}
