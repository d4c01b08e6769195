//! A damaged archive as a file, and everything that makes something else of it: tune, resize, create from a source, xport.
//! No panic, no end that does not come; and what is made is an archive.
#![no_main]

#[path = "support/archives.rs"]
mod archives;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use archives::{Input, damage, fresh, read};
use latmon::rrd::{self, Access, Definition, Inheritance, Manner, Origin, Resize, Rrd, Setting, Source};
use latmon::rrd::{Xport, XportOptions};
use latmon::time::{Step, UnixTime};
use libfuzzer_sys::fuzz_target;

const NOW: UnixTime = UnixTime::from_secs(1_700_000_500);

/// A folder in memory, and the archive in it.
struct Place {
    folder: PathBuf,
    file: PathBuf,
}

static PLACE: LazyLock<Place> = LazyLock::new(|| {
    let folder = PathBuf::from(format!("/dev/shm/latmon-fuzz-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder in memory can be made");
    Place { file: folder.join("f.rrd"), folder }
});

fuzz_target!(|input: &[u8]| {
    let mut input = Input(input);
    let mut bytes = fresh(&mut input);
    damage(&mut bytes, &mut input);
    if Rrd::new_checked(&bytes[..]).is_err() {
        return;
    }
    fs::write(&PLACE.file, &bytes).expect("there is room");
    match input.byte() % 4 {
        0 => tune(&mut input),
        1 => resize(&mut input),
        2 => create(&bytes, &mut input),
        _ => xport(&mut input),
    }
});

fn is_whole(path: &Path) {
    let mut file = rrd::File::open(path, Access::Read).expect("what was made is an archive");
    read(&file.view().expect("nobody else changes it"));
}

/// The rest of the input as lines, without numbers that would only take time and room.
fn lines(input: &Input<'_>) -> Vec<Vec<u8>> {
    let is_short = |line: &&[u8]| line.split(|b| !b.is_ascii_digit()).all(|number| number.len() < 5);
    input.0.split(|b| *b == b'\n').filter(is_short).take(8).map(<[u8]>::to_vec).collect()
}

fn tune(input: &mut Input<'_>) {
    const WORDS: [&str; 8] = [
        "DEL:a",
        "DEL:b",
        "DELRRA:0",
        "RRA#0:+3",
        "RRA#1:-2",
        "RRA#2:=4",
        "RRA:MAX:0.5:2:5",
        "DS:n:GAUGE:60:U:U",
    ];
    const SETTINGS: [(Setting, &str); 8] = [
        (Setting::Heartbeat, "a:7"),
        (Setting::DsType, "b:COMPUTE"),
        (Setting::DsType, "a:DERIVE"),
        (Setting::Name, "a:x"),
        (Setting::WindowLength, "28"),
        (Setting::Alpha, "0.3"),
        (Setting::SmoothingWindow, "1"),
        (Setting::AberrantReset, "a"),
    ];
    let step = Step::new(u32::from(input.byte()) % 8);
    let settings: Vec<(Setting, Vec<u8>)> = (0..input.byte() % 3)
        .map(|_| input.pick(&SETTINGS))
        .map(|(setting, argument)| (setting, argument.as_bytes().to_vec()))
        .collect();
    let mut words: Vec<Vec<u8>> =
        (0..input.byte() % 4).map(|_| input.pick(&WORDS).as_bytes().to_vec()).collect();
    words.extend(lines(input));
    words.retain(|word| !word.is_empty());
    if rrd::tune(&PLACE.file, &settings, &words, step).is_ok() {
        is_whole(&PLACE.file);
    }
}

fn resize(input: &mut Input<'_>) {
    let (rra, rows) = (usize::from(input.byte() % 16), u64::from(input.byte()));
    let resize = if input.byte() & 1 == 0 { Resize::Grow(rows) } else { Resize::Shrink(rows) };
    // It writes into the working folder; the fuzzer itself needs its own.
    let working = std::env::current_dir().expect("there is one");
    std::env::set_current_dir(&PLACE.folder).expect("it was made");
    let resized = rrd::resize(&PLACE.file, rra, resize);
    std::env::set_current_dir(working).expect("it was there");
    if resized.is_ok() {
        is_whole(&PLACE.folder.join("resize.rrd"));
    }
}

fn create(bytes: &[u8], input: &mut Input<'_>) {
    let template = fresh(input);
    let template = Rrd::new_checked(&template[..]).expect("it was just made");
    let rrd = Rrd::new_checked(bytes).expect("it was checked");
    let ahead = i64::from(input.word()) - 1000;
    let start =
        UnixTime::from_secs(rrd.last_update().secs().saturating_add(ahead).clamp(400_000_000, 1 << 34));
    let definition = Definition { start, ..Definition::like(&template) };
    let manner = input.pick(&[Manner::Original, Manner::Faithful, Manner::RowsOnly]);
    let origins: Vec<Origin> = lines(input)
        .iter()
        .filter_map(|line| Origin::parse(&format!("DS:{}", String::from_utf8_lossy(line))).ok())
        .collect();
    let sources = [Source { rrd, manner }, Source { rrd: template, manner }];
    let inheritance = Inheritance {
        kept_archives: usize::from(input.byte() % 4).min(definition.archives.len()),
        sources: &sources,
        origins: if origins.len() == definition.data_sources.len() { &origins } else { &[] },
    };
    if let Ok(made) = rrd::image_from(&definition, inheritance) {
        read(&Rrd::new_checked(&made[..]).expect("what was made is an archive"));
    }
}

fn xport(input: &mut Input<'_>) {
    const DEFS: [&str; 4] =
        ["a:AVERAGE", "b:MAX:step=7", "c:LAST:start=-300:reduce=MIN", "a:MIN:end=now-100s"];
    const OTHERS: [&str; 8] = [
        "CDEF:b=a,60,TREND",
        "CDEF:b=a,300,60,2,a,PREDICT",
        "CDEF:b=a,PREV,PREV(a),COUNT,STDEV",
        "CDEF:b=a,a,2,COPY,3,1,ROLL,2,INDEX",
        "VDEF:v=a,95,PERCENT",
        "VDEF:v=a,LSLSLOPE",
        "SHIFT:a:77",
        "XPORT:a:one",
    ];
    let mut definitions = vec![format!("DEF:a={}:{}", PLACE.file.display(), input.pick(&DEFS)).into_bytes()];
    definitions.extend((0..input.byte() % 4).map(|_| input.pick(&OTHERS).as_bytes().to_vec()));
    definitions.extend(lines(input));
    definitions.push(b"XPORT:a".to_vec());
    let start = UnixTime::from_secs(NOW.secs() - i64::from(input.word()));
    let Ok(options) = XportOptions::new(start, NOW, 1, 400, NOW) else { return };
    if let Ok(exported) = Xport::parse(&definitions, options).and_then(|xport| Ok(rrd::xport(&xport))) {
        let format = rrd::Format { json: input.byte() & 1 == 0, ..rrd::Format::default() };
        let _ = exported.map(|exported| exported.write(format, &mut std::io::sink()));
    }
}
