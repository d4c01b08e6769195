//! Forecasting archives against the real rrdtool: whatever is done to a file with some of them, ours and theirs say the
//! same and leave the same bytes.
//!
//! `LATMON_TEST_SEED` repeats a run, `LATMON_TEST_CASES` says how long it is.
#![allow(clippy::unwrap_used)] // A helper that fails, fails its test.

mod support {
    pub(crate) mod files;
    pub(crate) mod pair;
    pub(crate) mod rrdtool;
}

use support::files::{as_version, words_of};
use support::pair::Pair;
use support::rrdtool::{Random, cases, seed};

/// What a case is made of.
struct Case {
    random: Random,
    step: u64,
    types: Vec<&'static str>,
    counters: Vec<u64>,
    last: f64,
    /// How often something is unusual: once in so many times.
    calm: u64,
    /// Around what the readings swing.
    level: f64,
    /// Whether readings can be so large that differences of infinities appear.
    wild: bool,
}

impl Case {
    fn new(seed: u64, number: u64) -> Self {
        let mut random = Random::new(seed, number);
        let sources = 1 + random.below(3) as usize;
        let any = ["GAUGE", "GAUGE", "COUNTER", "DERIVE", "ABSOLUTE", "DCOUNTER", "DDERIVE"];
        let kinds: &[&'static str] = if random.one_in(3) { &any } else { &any[..1] };
        let mut types: Vec<&str> = (0..sources).map(|_| random.pick(kinds)).collect();
        if random.one_in(6) {
            types.push("COMPUTE");
        }
        Self {
            step: random.pick(&[1, 10, 10, 10, 60, 300]),
            counters: types.iter().map(|_| random.below(1 << 40)).collect(),
            last: (1_700_000_000 + random.below(100_000)) as f64,
            calm: random.pick(&[6, 30, 200]),
            level: random.pick(&[20.0, 20.0, 0.0, -20.0, 1e6]),
            wild: random.one_in(5),
            types,
            random,
        }
    }

    /// The definition, without the word `create` and the file's name.
    fn definition(&mut self) -> Vec<String> {
        let mut words = vec!["-s".to_owned(), self.step.to_string(), "-b".to_owned(), self.last.to_string()];
        for (index, ds_type) in self.types.iter().enumerate() {
            words.push(if *ds_type == "COMPUTE" {
                format!("DS:ds_{index}:COMPUTE:ds_0,2,*")
            } else {
                let heartbeat = self.random.pick(&[2, 2, 10, 1000]) * self.step;
                let limits = self.random.pick(&["U:U", "U:U", "U:U", "0:U", "-20:60"]);
                format!("DS:ds_{index}:{ds_type}:{heartbeat}:{limits}")
            });
        }
        words.extend(archives(&mut self.random));
        words
    }

    /// A word of an update: mostly a whole number of steps on, and a reading that has a season.
    fn argument(&mut self, template: &[usize]) -> String {
        let random = &mut self.random;
        let step = self.step as f64;
        let next = (self.last / step).floor() * step;
        let time = match random.below(self.calm) {
            0 => next + step * random.pick(&[2.0, 2.0, 3.0, 4.0, 5.0, 9.0, 30.0, 200.0]),
            1 => self.last + step / 2.0,
            2 => self.last + step * random.below(3_000_000) as f64 / 1e6,
            3 => self.last + random.below(3) as f64 - 1.0,
            4 => next + 2.0 * step + random.below(self.step) as f64,
            _ if random.one_in(8) => next + 2.0 * step,
            _ => next + step,
        };
        let mut argument = match random.below(16) {
            0 => format!("{}@", time.floor()),
            1 => format!("{}-{}@", time.floor() + 100.0, 100),
            2 => format!("{time:.6}:"),
            3 => format!("{time:.1}:"),
            _ => format!("{}:", time.floor()),
        };
        let typed = argument.trim_end_matches([':', '@']).split('-').next().unwrap().parse::<f64>().unwrap();
        let typed = if argument.contains('-') { time.floor() } else { typed };
        self.last = self.last.max(typed);
        for (place, source) in template.iter().enumerate() {
            if place > 0 {
                argument.push(':');
            }
            argument += &self.reading(*source);
        }
        argument
    }

    fn reading(&mut self, source: usize) -> String {
        let random = &mut self.random;
        let season = self.level + 10.0 * (self.last / (8 * self.step) as f64).sin();
        let unusual = match random.below(self.calm) {
            0 | 1 => Some("U"),
            2 => Some("-5"),
            3 if self.wild => Some(random.pick(&["inf", "-inf", "1e300"])),
            3 => Some(random.pick(&["0", "-0", "nan", "1e-300", "", "x"])),
            4 => Some(random.pick(&["-1234.5", "500", "77", "3", "0.001"])),
            _ => None,
        };
        match (self.types[source], unusual) {
            ("COUNTER" | "DERIVE", None | Some("x")) => {
                self.counters[source] += season as u64 * self.step + random.below(50);
                self.counters[source].to_string()
            }
            ("DCOUNTER" | "DDERIVE", None) => {
                self.counters[source] += season as u64 * self.step;
                format!("{}.{}", self.counters[source], random.below(1000))
            }
            (_, Some(text)) => text.to_owned(),
            _ => format!("{:.3}", season + random.below(1000) as f64 / 500.0),
        }
    }

    /// Which values an update names, and the words that say so.
    fn template(&mut self) -> (Vec<usize>, Vec<String>) {
        let inputs = self.inputs();
        if !self.random.one_in(6) {
            return (inputs, Vec::new());
        }
        let named: Vec<usize> = (0..=self.random.below(inputs.len() as u64))
            .map(|_| self.random.pick(&inputs))
            .take(self.types.len())
            .collect();
        let names: Vec<String> = named.iter().map(|index| format!("ds_{index}")).collect();
        (named, vec!["-t".to_owned(), names.join(":")])
    }

    /// A change of the file, words behind the file's name.
    fn change(&mut self) -> (&'static str, Vec<String>) {
        if self.random.one_in(25) {
            return ("tune", self.tuning());
        }
        let verb = self.random.pick(&["update", "update", "updatev"]);
        let (template, mut words) = self.template();
        if self.random.one_in(10) {
            words.push("-s".to_owned());
        }
        for _ in 0..1 + self.random.below(12) {
            words.push(self.argument(&template));
        }
        (verb, words)
    }

    fn tuning(&mut self) -> Vec<String> {
        // Ours refuses to tune what is computed.
        let source = self.random.pick(&self.inputs());
        let (option, setting) = match self.random.below(4) {
            0 => ("-h", (self.random.pick(&[2, 3, 50]) * self.step).to_string()),
            1 => ("-i", self.random.pick(&["U", "-20", "0"]).to_owned()),
            2 => ("-a", self.random.pick(&["U", "100", "1e6"]).to_owned()),
            _ => {
                let any = ["GAUGE", "GAUGE", "DERIVE", "ABSOLUTE", "COUNTER", "DDERIVE"];
                self.types[source] = self.random.pick(&any);
                ("-d", self.types[source].to_owned())
            }
        };
        vec![option.to_owned(), format!("ds_{source}:{setting}")]
    }

    /// The sources that take readings.
    fn inputs(&self) -> Vec<usize> {
        (0..self.types.len()).filter(|index| self.types[*index] != "COMPUTE").collect()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Plain,
    /// A forecast with the four that it implies.
    Whole,
    Predict,
    Seasonal,
    DevSeasonal,
    DevPredict,
    Failures,
}

/// An archive to be, and its number: counted from 1, those that are implied too.
#[derive(Clone, Copy, Debug)]
struct Plan {
    kind: Kind,
    group: usize,
    number: u64,
}

/// Some forecasts in one file, implied and spelled out, in every order; those that are spelled out may work with the
/// archives of another group.
fn archives(random: &mut Random) -> Vec<String> {
    let plans = plans(random);
    let strangers = random.one_in(4);
    // A gap in a season of one row ends the original.
    let periods: Vec<u64> = plans.iter().map(|_| random.pick(&[2, 3, 5, 8, 13, 45, 60])).collect();
    let text = |plan: &Plan| {
        // A season of another length than its forecast's is odd, and works.
        let period = periods[plan.group] + if strangers { random.below(3) } else { 0 };
        plan.text(random, period, |random, wanted| {
            let is_near = |other: &&Plan| other.group == plan.group || strangers && random.one_in(2);
            let near: Vec<&Plan> =
                plans.iter().filter(|other| other.kind == wanted).filter(is_near).collect();
            random.pick(&near).number
        })
    };
    plans.iter().map(text).collect()
}

fn plans(random: &mut Random) -> Vec<Plan> {
    let mut kinds = vec![(Kind::Plain, 0)];
    let groups = random.below(3) as usize;
    for group in 0..groups {
        kinds.push((Kind::Predict, group));
        for kind in [Kind::Seasonal, Kind::DevSeasonal, Kind::DevPredict, Kind::Failures] {
            // A season is what others rely on; of the rest there may be none, or two.
            let least = u64::from(matches!(kind, Kind::Seasonal | Kind::DevSeasonal));
            let count = random.pick(&[0, 1, 1, 1, 1, 2]).max(least);
            kinds.extend((0..count).map(|_| (kind, group)));
        }
    }
    let whole = random.below(2) as usize + usize::from(groups == 0);
    kinds.extend((0..whole).map(|more| (Kind::Whole, groups + more)));
    kinds.extend((0..random.below(3)).map(|_| (Kind::Plain, 0)));
    for place in (1..kinds.len()).rev() {
        kinds.swap(place, random.below(place as u64 + 1) as usize);
    }
    let mut next = 1;
    let numbered = kinds.into_iter().map(|(kind, group)| {
        let number = next;
        next += if kind == Kind::Whole { 5 } else { 1 };
        Plan { kind, group, number }
    });
    numbered.collect()
}

impl Plan {
    /// The definition; `number_of` chooses an archive of a kind to work with.
    fn text(&self, random: &mut Random, period: u64, number_of: impl Fn(&mut Random, Kind) -> u64) -> String {
        let (alpha, beta) = (random.pick(&["0.1", "0.5", "0.9"]), random.pick(&["0", "0.0035", "0.3", "1"]));
        let name = random.pick(&["HWPREDICT", "MHWPREDICT"]);
        let rows = period + random.below(10);
        let share = random.pick(&["", "0.5", "0.1", "1", "0"]);
        let window = if share.is_empty() { String::new() } else { format!(":smoothing-window={share}") };
        let mut number = |kind| number_of(random, kind);
        match self.kind {
            Kind::Plain => {
                let cf = random.pick(&["AVERAGE", "MIN", "MAX", "LAST"]);
                format!("RRA:{cf}:0.5:{}:{}", random.pick(&[1, 1, 2, 3, 7]), random.pick(&[1, 3, 5, 20]))
            }
            Kind::Whole => format!("RRA:{name}:{rows}:{alpha}:{beta}:{period}"),
            Kind::Predict => format!("RRA:{name}:{rows}:{alpha}:{beta}:{period}:{}", number(Kind::Seasonal)),
            Kind::Seasonal => format!("RRA:SEASONAL:{period}:0.2:{}{window}", number(Kind::Predict)),
            Kind::DevSeasonal => format!("RRA:DEVSEASONAL:{period}:0.3:{}{window}", number(Kind::Predict)),
            Kind::DevPredict => format!("RRA:DEVPREDICT:{rows}:{}", number(Kind::DevSeasonal)),
            Kind::Failures => {
                let (deviation, threshold) = (number(Kind::DevSeasonal), 1 + random.below(4));
                format!("RRA:FAILURES:{rows}:{threshold}:{}:{deviation}", threshold + random.below(25))
            }
        }
    }
}

/// Updates of every form, retyped sources in between, through so many steps that seasons are smoothed, in every
/// version; then every verb that reads; then a dump, restored, and a few updates more.
#[test]
fn forecasts_are_those_of_rrdtool() {
    let (seed, mut pair) = (seed(), Pair::start());
    pair.any_nan = true;
    for number in 0..cases(60) {
        let mut case = Case::new(seed, number);
        let definition = case.definition();
        let told = format!("LATMON_TEST_SEED={seed} case {number}: create f.rrd {}", definition.join(" "));
        let [_, theirs] = pair.create(&definition, &told);
        let version = case.random.pick(&["as it is", "as it is", "0001", "0002", "0003", "0004", "0005"]);
        let mut told = format!("{told}\nas version {version}");
        pair.write("f.rrd", &as_version(theirs, version));
        let rounds = case.random.pick(&[2, 8, 8, 20]);
        change_often(&mut pair, &mut case, rounds, &told);
        pair.same_texts(&mut case.random, case.last, case.step, &told);
        let header = case.random.pick(&["dtd", "xsd", "none"]);
        pair.restore(header, &[], &told).expect(&told);
        told += "\nrestored";
        change_often(&mut pair, &mut case, rounds / 4, &told);
    }
}

fn change_often(pair: &mut Pair, case: &mut Case, rounds: u64, told: &str) {
    for _ in 0..rounds {
        let (verb, words) = case.change();
        let _ = pair.change(&words_of(verb, &words), told);
    }
}
