//! Archives to damage, and every verb that reads one. A fuzzer does not find the cookies, names and sizes of a header by
//! itself, so a fresh archive is what it damages.

#![allow(dead_code)] // Each target uses its part.

use latmon::rrd::{self, Cf, Definition, Header, Rrd};
use latmon::time::{Step, UnixTime};

/// The verbs that read an archive, whatever it holds. A new one is a line here.
const VERBS: [fn(&Rrd<&[u8]>); 6] = [sources, rows, first, fetch, info, dump];

/// A hostile header can ask for more rows than a fuzzer should wait for.
const ROWS: usize = 64;

/// Runs every verb that reads.
pub fn read(rrd: &Rrd<&[u8]>) {
    VERBS.iter().for_each(|verb| verb(rrd));
}

fn sources(rrd: &Rrd<&[u8]>) {
    for ds in rrd.data_sources() {
        std::hint::black_box(format!("{ds:?}"));
        if let rrd::DsType::Compute(rpn) = &ds.ds_type {
            std::hint::black_box(rrd.expression(rpn));
        }
    }
    std::hint::black_box((rrd.version(), rrd.version_text(), rrd.header_len(), rrd.step()));
}

fn rows(rrd: &Rrd<&[u8]>) {
    for (index, archive) in rrd.archives().enumerate() {
        for row in [0, archive.cur_row, archive.rows - 1, archive.rows, u64::MAX] {
            let values = rrd.row(index, row).map(|row| row.values().filter(|value| value.is_nan()).count());
            assert_eq!(values.is_some(), row < archive.rows);
        }
        for ds in 0..=rrd.ds_count() {
            assert_eq!(rrd.cdp(index, ds).is_some(), ds < rrd.ds_count());
        }
    }
}

fn first(rrd: &Rrd<&[u8]>) {
    for index in 0..=rrd.rra_count() {
        let _ = rrd.first(index);
    }
}

fn fetch(rrd: &Rrd<&[u8]>) {
    for cf in Cf::ALL {
        for (ago, resolution) in [(0, 1), (100_000, 300), (i64::MAX, u64::MAX)] {
            let end = rrd.last_update();
            let start = UnixTime::from_secs((end.secs() - ago).max(0));
            let Ok(fetched) = rrd.fetch(cf, start, end, resolution) else { continue };
            let values = fetched.rows().take(ROWS).flat_map(|(_, row)| row.values());
            std::hint::black_box(values.filter(|value| value.is_nan()).count());
        }
    }
}

fn info(rrd: &Rrd<&[u8]>) {
    let told: Result<(), std::fmt::Error> = rrd::info(rrd, b"f.rrd", |key, value| {
        std::hint::black_box(format!("{key} = {value}"));
        Ok(())
    });
    told.expect("nothing refuses it");
}

fn dump(rrd: &Rrd<&[u8]>) {
    if rrd.archives().map(|archive| archive.rows).sum::<u64>() < ROWS as u64 {
        rrd::dump(rrd, Header::Dtd, &mut std::io::sink()).expect("a sink takes everything");
    }
}

/// The fuzzer's bytes, taken one by one; zeros when there are none left.
pub struct Input<'a>(pub &'a [u8]);

impl Input<'_> {
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        let taken = self.0.len().min(N);
        let (first, rest) = self.0.split_at(taken);
        bytes[..taken].copy_from_slice(first);
        self.0 = rest;
        bytes
    }

    pub fn byte(&mut self) -> u8 {
        self.bytes::<1>()[0]
    }

    pub fn word(&mut self) -> u16 {
        u16::from_le_bytes(self.bytes())
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::from(self.byte()) % from.len()]
    }
}

const TYPES: [&str; 6] = ["GAUGE", "COUNTER", "DERIVE", "ABSOLUTE", "DCOUNTER", "DDERIVE"];
const EXPRESSIONS: [&str; 4] =
    ["1,2,3,2,AVG,3,SORT,IF", "a,b,+,2,/", "a,b,a,3,REV,3,1,ROLL,LIMIT", "NOW,a,DUP,*,50,2,PERCENT"];
const CFS: [&str; 4] = ["AVERAGE", "MIN", "MAX", "LAST"];

/// Forecasts that imply what they need, spell it out, in every order, and two that share.
const FORECASTS: [&[&str]; 6] = [
    &[],
    &["HWPREDICT:8:0.1:0.2:6"],
    &["MHWPREDICT:5:0.5:0.2:3"],
    &[
        "FAILURES:4:2:28:4",
        "DEVPREDICT:5:4",
        "SEASONAL:3:0.5:5:smoothing-window=1",
        "DEVSEASONAL:3:0.5:5:smoothing-window=0.7",
        "HWPREDICT:6:0.3:0.1:3:3",
    ],
    &["SEASONAL:2:0.5:2", "MHWPREDICT:2:0.3:1:2:1", "DEVSEASONAL:4:0.1:2", "FAILURES:3:1:1:3"],
    &[
        "HWPREDICT:4:0.3:1:2:3",
        "MHWPREDICT:3:0.3:0:2:3",
        "SEASONAL:2:0.9:2:smoothing-window=1",
        "DEVSEASONAL:5:0.1:1",
        "DEVSEASONAL:1:0.1:2",
        "DEVPREDICT:2:4",
        "FAILURES:2:2:9:5",
    ],
];

/// A fresh archive, as the input says.
pub fn fresh(input: &mut Input<'_>) -> Vec<u8> {
    let mut definition = Definition {
        step: Step::new(u32::from(input.byte()) + 1).expect("it is at least 1"),
        start: UnixTime::from_secs(1_700_000_000),
        data_sources: Vec::new(),
        archives: Vec::new(),
    };
    let mut texts: Vec<String> = input.pick(&FORECASTS).iter().map(|text| format!("RRA:{text}")).collect();
    texts.push(format!("DS:a:{}:120:U:U", input.pick(&TYPES)));
    texts.push(format!("DS:b:{}:1:0:9", input.pick(&TYPES)));
    texts.push(format!("DS:c:COMPUTE:{}", input.pick(&EXPRESSIONS)));
    texts.push(format!("RRA:{}:0.5:1:5", input.pick(&CFS)));
    texts.push(format!("RRA:{}:0.2:3:4", input.pick(&CFS)));
    for text in &texts {
        definition.add(text).expect("it is a definition");
    }
    let mut bytes = rrd::image(&definition).expect("the definition holds");
    bytes[7] = input.pick(b"3345");
    bytes
}

/// Overwrites some of the bytes: with what the input says, or with a number that often breaks something.
pub fn damage(bytes: &mut [u8], input: &mut Input<'_>) {
    const NUMBERS: [u64; 10] = [
        0,
        1,
        u64::MAX,
        i64::MAX as u64,
        1 << 63,
        1 << 32,
        1 << 42,
        f64::NAN.to_bits(),
        f64::INFINITY.to_bits(),
        (-1e300_f64).to_bits(),
    ];
    for _ in 0..input.byte() % 6 {
        let at = usize::from(input.word()) % (bytes.len() - 8);
        match input.byte() % 4 {
            0 => bytes[at] = input.byte(),
            1 => bytes[at..at + 8].copy_from_slice(&input.bytes::<8>()),
            2 => bytes[at / 8 * 8..][..8].copy_from_slice(&u64::from(input.byte()).to_le_bytes()),
            _ => bytes[at / 8 * 8..][..8].copy_from_slice(&input.pick(&NUMBERS).to_le_bytes()),
        }
    }
}
