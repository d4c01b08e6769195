//! Any bytes as `latmon.toml`, as a file that it includes, as a list of targets and as `.env`: settings or an error of one line, and the
//! password that follows in `.env` never comes to light.
#![no_main]

use std::cell::LazyCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use latmon::config::{Config, Options, Surroundings, load};
use latmon::probe::EchoSettings;
use latmon::probe::icmp::Family;
use libfuzzer_sys::fuzz_target;

thread_local! {
    static FOLDER: LazyCell<PathBuf> = const { LazyCell::new(|| {
        // Memory, where there is some: each run writes four files.
        let memory = PathBuf::from("/dev/shm");
        let base = if memory.is_dir() { memory } else { std::env::temp_dir() };
        let folder = base.join(format!("latmon-fuzz-settings-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder for the files");
        folder
    }) };
}

fuzz_target!(|data: &[u8]| {
    // A line of its own divides the files, so that a corpus can be read.
    let mut files = split(data, b"\n-----\n").into_iter();
    let mut next = || files.next().unwrap_or_default();
    let (toml, dotenv, included, list) = (next(), next(), next(), next());
    // Devices and pipes are not what is tested, and reading one may take for ever.
    if toml.windows(4).chain(included.windows(4)).any(|bytes| bytes == b"/dev" || bytes == b"/pro") {
        return;
    }
    // The fuzzer learns the secret from the comparisons below. A key of that name is told, and rightly.
    if data.windows(SECRET.len()).any(|bytes| bytes == SECRET.as_bytes()) {
        return;
    }
    FOLDER.with(|folder| {
        let write =
            |name: &str, bytes: &[u8]| std::fs::write(folder.join(name), bytes).expect("room for a file");
        write("latmon.toml", toml);
        write("included.toml", included);
        write("hosts.txt", list);
        write(
            ".env",
            &[dotenv, b"\nLATMON_CONFIG=latmon.toml\nEMAIL_PASSWORD=", SECRET.as_bytes(), b"\n"].concat(),
        );
        let surroundings = Surroundings {
            variables: BTreeMap::new(),
            working_dir: folder.to_path_buf(),
            system_file: folder.join("none.toml"),
        };
        let options = Options::default();
        match load(&options, &surroundings) {
            Ok(config) => check(&config),
            Err(error) => {
                let text = error.to_string();
                assert!(!text.chars().any(char::is_control), "more than one line: {text:?}");
                assert!(!text.contains(SECRET) && !format!("{error:?}").contains(SECRET), "{text}");
            }
        }
    });
});

fn check(config: &Config) {
    assert!(!format!("{config:?}").contains(SECRET));
    let count = config.targets.len();
    assert!(count > 0);
    assert_eq!(
        (config.probe.targets.len(), config.archive.targets.len(), config.alert.targets.len()),
        (count, count, count)
    );
    let files: BTreeSet<_> =
        config.targets.iter().map(|target| latmon::archive::file_name(&target.target.name)).collect();
    assert_eq!(files.len(), count, "two targets, one archive");
    for file in files {
        let inside = file.components().all(|part| matches!(part, std::path::Component::Normal(_)));
        assert!(inside, "{} leaves the data folder", file.display());
    }
    for target in &config.probe.targets {
        assert!((1..=86_400).contains(&target.step.secs()) && (1..=1000).contains(&target.pings));
        let echo = &target.echo;
        assert!((EchoSettings::LEAST_PAYLOAD..=EchoSettings::MOST_PAYLOAD).contains(&echo.payload));
        assert!(echo.ttl != Some(0) && echo.dscp < 64);
        assert!(echo.source.is_none_or(|source| Some(Family::of(source)) == target.family));
    }
}

fn split<'a>(data: &'a [u8], divider: &[u8]) -> Vec<&'a [u8]> {
    let mut parts = Vec::new();
    let mut rest = data;
    while let Some(at) = rest.windows(divider.len()).position(|window| window == divider) {
        parts.push(&rest[..at]);
        rest = &rest[at + divider.len()..];
    }
    parts.push(rest);
    parts
}

const SECRET: &str = "hush-hush-4711";
