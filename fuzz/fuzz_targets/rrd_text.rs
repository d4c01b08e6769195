//! Every text that people type at the archive engine: no panic, and what is understood is understood again.
#![no_main]

use latmon::rrd::number::{Own, Printf, parse_count, parse_number};
use latmon::rrd::{self, ArchiveDef, DataSource, Definition, Rrd, at};
use latmon::time::{Step, UnixTime};
use libfuzzer_sys::fuzz_target;

const NOW: UnixTime = UnixTime::from_secs(1_700_000_100);

fuzz_target!(|input: &[u8]| {
    let Some((kind, text)) = input.split_first() else { return };
    match kind % 5 {
        0 => number(text),
        1 => {
            for unit in [0, 1, 300, u64::MAX] {
                let _ = parse_count(text, unit);
            }
        }
        2 => at_time(&String::from_utf8_lossy(text)),
        3 => definition(&String::from_utf8_lossy(text)),
        _ => update(text),
    }
});

fn number(text: &[u8]) {
    let Ok(value) = parse_number(text) else { return };
    let _ = Own(value).to_string();
    let printed = Printf(value).to_string();
    // `-nan` and `inf` too are texts that it reads.
    let again = parse_number(printed.as_bytes()).map_or(f64::NAN, |again| again);
    assert!(
        again == value
            || value.is_nan()
            || (again - value).abs() <= value.abs() * 1e-9
            || value.abs() < 1e-290
            || value.abs() > 1e290,
        "{value} {printed} {again}"
    );
}

fn at_time(text: &str) {
    let Ok(time) = at::parse(text, NOW) else { return };
    let _ = time.absolute();
    for other in ["now", "start+1h", "end-1d"] {
        let other = at::parse(other, NOW).expect("it is a time");
        let _ = at::span(&time, &other);
        let _ = at::span(&other, &time);
    }
}

fn definition(text: &str) {
    let step = Step::new(60).expect("60 is not 0");
    let first: DataSource = "DS:first:GAUGE:120:0:U".parse().expect("it is a data source");
    let before = [first];
    let source =
        DataSource::parse(&format!("DS:{text}"), &before).or_else(|_| DataSource::parse(text, &before));
    let [first] = before;
    let archive = ArchiveDef::parse(&format!("RRA:{text}"), step).or_else(|_| text.parse());
    let mut whole = Definition {
        step,
        start: NOW,
        data_sources: vec![
            first,
            source.unwrap_or_else(|_| "DS:a:GAUGE:120:0:U".parse().expect("it is a data source")),
        ],
        archives: vec![archive.unwrap_or_else(|_| "RRA:LAST:0.5:1:5".parse().expect("it is an archive"))],
    };
    // A forecast brings along what it needs.
    let _ = whole.add(&format!("RRA:{text}"));
    if whole.archives.iter().any(|archive| archive.rows > 10_000) {
        return;
    }
    if let Ok(mut bytes) = rrd::image(&whole) {
        let mut rrd = Rrd::new_checked(&mut bytes[..]).expect("what is made passes the check");
        // So that what is computed is evaluated; sources before and behind it may be missing.
        for secs in [60, 120, 1000] {
            let stamp = UnixTime::from_secs(NOW.secs() + secs);
            let _ = rrd.update(stamp, &[17.5, 3.0]).or_else(|_| rrd.update(stamp, &[17.5]));
        }
        Rrd::new_checked(&bytes[..]).expect("an update keeps an archive whole");
    }
}

fn update(text: &[u8]) {
    let whole = Definition {
        step: Step::new(10).expect("10 is not 0"),
        start: UnixTime::from_secs(1_700_000_000),
        data_sources: ["GAUGE", "COUNTER", "DERIVE", "ABSOLUTE", "DCOUNTER", "DDERIVE"]
            .map(|kind| format!("DS:{kind}:{kind}:120:U:U").parse().expect("it is a data source"))
            .into(),
        archives: ["AVERAGE:0.5:1:3", "MAX:0.5:6:3"]
            .map(|archive| format!("RRA:{archive}").parse().expect("it is an archive"))
            .into(),
    };
    let mut rrd =
        Rrd::new_checked(rrd::image(&whole).expect("the definition holds")).expect("it was just made");
    for argument in text.split(|b| *b == b'\n') {
        let before = rrd.last_update();
        match rrd.update_text(argument, NOW) {
            Ok(()) => assert!(rrd.last_update() > before),
            Err(_) => assert_eq!(rrd.last_update(), before),
        }
    }
}
