//! The archive engine on the file of one target with 20 pings: 23 data sources, 5 archives.

use divan::{Bencher, black_box};
use latmon::archive;
use latmon::archive::journal::{GROUP_FILES, Journal};
use latmon::rrd::{self, Access, ArchiveDef, Cf, Definition, Overwrite};
use latmon::time::{Step, UnixTime};

fn main() {
    divan::main();
}

const START: i64 = 1_700_000_040;

fn definition() -> Definition {
    let step = Step::new(60).expect("60 is not 0");
    let archive = |text: &str| rrd::ArchiveDef::parse(text, step).expect("it is an archive");
    Definition {
        step,
        start: UnixTime::from_secs(START),
        data_sources: (0..23)
            .map(|index| format!("DS:ping{index}:GAUGE:120:0:U").parse().expect("it is a data source"))
            .collect(),
        archives: vec![
            archive("RRA:AVERAGE:0.5:1m:10d"),
            archive("RRA:AVERAGE:0.5:10m:90d"),
            archive("RRA:AVERAGE:0.5:2h:1095d"),
            archive("RRA:MIN:0.5:2h:1095d"),
            archive("RRA:MAX:0.5:2h:1095d"),
        ],
    }
}

/// One round into a file that is kept open.
#[divan::bench]
fn update_typed(bencher: Bencher<'_, '_>) {
    let folder = tempfile::tempdir().expect("there is a folder for temporary files");
    let path = folder.path().join("f.rrd");
    rrd::create(&path, &definition(), Overwrite::Yes).expect("the file can be made");
    let mut file = rrd::File::open(&path, Access::Write).expect("the file can be opened");
    let values = [0.0123; 23];
    let mut time = START;
    bencher.bench_local(|| {
        time += 60;
        file.update(UnixTime::from_secs(time), black_box(&values)).expect("time goes on");
    });
}

/// One round as text into a file that is opened for it.
#[divan::bench]
fn update_text_once(bencher: Bencher<'_, '_>) {
    let folder = tempfile::tempdir().expect("there is a folder for temporary files");
    let path = folder.path().join("f.rrd");
    rrd::create(&path, &definition(), Overwrite::Yes).expect("the file can be made");
    let options = rrd::UpdateOptions { template: None, skip_past: false, now: UnixTime::from_secs(START) };
    let mut time = START;
    bencher.bench_local(|| {
        time += 60;
        let argument = format!("{time}{}", ":0.0123".repeat(23));
        rrd::update(&path, &options, &[argument]).expect("time goes on");
    });
}

/// One round into each of many files, prepared, stored and closed, as the pipe mode does it; with a journal and without.
#[divan::bench(args = [false, true], sample_count = 10, sample_size = 1)]
fn batch_of_1000(bencher: Bencher<'_, '_>, journaled: bool) {
    let folder = tempfile::tempdir().expect("there is a folder for temporary files");
    let paths: Vec<_> = (0..1000).map(|number| folder.path().join(format!("{number}.rrd"))).collect();
    let archives =
        definition().archives.into_iter().map(|archive| ArchiveDef { rows: 200, ..archive }).collect();
    let definition = Definition { archives, ..definition() };
    paths.iter().for_each(|path| {
        rrd::create(path, &definition, Overwrite::Yes).expect("the file can be made");
    });
    let mut journal = Journal::open(&folder.path().join("journal")).expect("it is a new one").0;
    let options = rrd::UpdateOptions { template: None, skip_past: false, now: UnixTime::from_secs(START) };
    let mut time = START;
    bencher.bench_local(|| {
        time += 60;
        let argument = [format!("{time}{}", ":0.0123".repeat(23))];
        for group in paths.chunks(GROUP_FILES) {
            if !journaled {
                group.iter().for_each(|path| rrd::update(path, &options, &argument).expect("time goes on"));
                continue;
            }
            let prepare = |path: &std::path::PathBuf| {
                let mut archive = rrd::Prepared::open(path).expect("it was made");
                archive.update_text(&options, &argument).expect("time goes on");
                archive
            };
            let outcomes = journal.commit(group.iter().map(prepare));
            assert!(outcomes.iter().all(Result::is_ok));
        }
    });
}

/// Ten days of rounds, every value looked at.
#[divan::bench]
fn fetch_ten_days(bencher: Bencher<'_, '_>) {
    let bytes = rrd::image(&definition()).expect("the definition holds");
    let view = rrd::Rrd::new_checked(&bytes[..]).expect("it is an archive");
    let (start, end) = (UnixTime::from_secs(START - 10 * 86_400), UnixTime::from_secs(START));
    bencher.bench(|| {
        let fetched = view.fetch(Cf::Average, start, end, 60).expect("an archive covers it");
        fetched.rows().flat_map(|(_, row)| row.values()).filter(|value| value.is_nan()).count()
    });
}

#[divan::bench]
fn create(bencher: Bencher<'_, '_>) {
    let folder = tempfile::tempdir().expect("there is a folder for temporary files");
    let path = folder.path().join("f.rrd");
    let definition = definition();
    bencher.bench(|| rrd::create(&path, &definition, Overwrite::Yes).expect("the file can be made"));
}

/// What is usual at an hour, of an archive that has kept the last thirty days.
#[divan::bench]
fn usual(bencher: Bencher<'_, '_>) {
    let folder = tempfile::tempdir().expect("there is a folder for temporary files");
    let path = folder.path().join("f.rrd");
    let names = ["uptime", "loss", "median"].map(str::to_owned).into_iter();
    let names = names.chain((1..=20).map(|rank| format!("ping{rank}")));
    let data_sources =
        names.map(|name| format!("DS:{name}:GAUGE:120:0:U").parse().expect("it is a data source")).collect();
    rrd::create(&path, &Definition { data_sources, ..definition() }, Overwrite::Yes)
        .expect("the file can be made");
    let mut file = rrd::File::open(&path, Access::Write).expect("the file can be opened");
    let end = START + 30 * 86_400;
    for time in (START..end).step_by(60) {
        file.update(UnixTime::from_secs(time + 60), &[0.0123; 23]).expect("time goes on");
    }
    bencher.bench_local(|| {
        let usual = archive::usual(&path, UnixTime::from_secs(end)).expect("the file can be read");
        usual.expect("a month is enough")
    });
}
