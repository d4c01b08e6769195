//! Who outranks whom, pair by pair.

use super::*;

/// A source of a setting: how to say its value, and how its origin is shown.
struct Layer {
    say: fn(World) -> World,
    origin: &'static str,
}

const fn layer(origin: &'static str, say: fn(World) -> World) -> Layer {
    Layer { say, origin }
}

/// Every layer must win over each one after it, alone and with all of them there.
#[track_caller]
fn ranked(base: fn() -> World, layers: &[Layer], origin: fn(&Config) -> String) {
    let check = |said: &[&Layer]| {
        let world = said.iter().fold(base(), |world, layer| (layer.say)(world));
        assert_eq!(
            origin(&world.config()),
            said[0].origin,
            "{:?}",
            said.iter().map(|l| l.origin).collect::<Vec<_>>()
        );
    };
    for (rank, higher) in layers.iter().enumerate() {
        check(&[higher]);
        let below = &layers[rank + 1..];
        below.iter().for_each(|lower| check(&[higher, lower]));
        check(&std::iter::once(higher).chain(below).collect::<Vec<_>>());
    }
}

/// Writes one line of a file and leaves the others as they are, so that several layers can share it.
fn line(world: World, path: &str, number: usize, text: &str) -> World {
    let old = std::fs::read_to_string(world.surroundings.working_dir.join(path)).unwrap_or_default();
    let mut lines: Vec<&str> = old.lines().collect();
    lines.resize(lines.len().max(number), "");
    lines[number - 1] = text;
    world.file(path, lines.join("\n"))
}

fn dotenv(world: World, text: &str) -> World {
    line(world, ".env", 2, text)
}

fn toml(world: World, number: usize, text: &str) -> World {
    line(world, "latmon.toml", number, text)
}

fn grouped() -> World {
    World::toml("\n[defaults]\n\n[group.g]\n\n[group.g.targets.t]\nhost = \"192.0.2.1\"\n")
}

/// Each layer says a value of its own, so that a value from one place and an origin from another would be seen.
fn shown<T: std::fmt::Display>(setting: &Setting<T>) -> String {
    format!("{} {}", setting.value, setting.origin)
}

#[test]
fn step() {
    ranked(
        grouped,
        &[
            layer("10s --step", |world| world.typed(|typed| typed.step = Some("10s".into()))),
            layer("11s LATENCY_STEP", |world| world.env("LATENCY_STEP", "11")),
            layer("12s .env:2", |world| dotenv(world, "LATENCY_STEP=12s")),
            layer("13s latmon.toml:8", |world| toml(world, 8, "step = 13")),
            layer("14s latmon.toml:5", |world| toml(world, 5, "step = \"14s\"")),
            layer("15s latmon.toml:3", |world| toml(world, 3, "step = 15.0")),
            layer("60s default", |world| world),
        ],
        |config| shown(&config.first().step),
    );
}

#[test]
fn pings() {
    ranked(
        grouped,
        &[
            layer("10 --pings", |world| world.typed(|typed| typed.pings = Some("10".into()))),
            layer("13 latmon.toml:8", |world| toml(world, 8, "pings = 13")),
            layer("14 latmon.toml:5", |world| toml(world, 5, "pings = 14")),
            layer("15 latmon.toml:3", |world| toml(world, 3, "pings = 15")),
            layer("20 default", |world| world),
        ],
        |config| shown(&config.first().pings),
    );
}

#[test]
fn timeout() {
    ranked(
        grouped,
        &[
            layer("1.3s latmon.toml:8", |world| toml(world, 8, "timeout = 1.3")),
            layer("1.4s latmon.toml:5", |world| toml(world, 5, "timeout = \"1400ms\"")),
            layer("2s latmon.toml:3", |world| toml(world, 3, "timeout = 2")),
            layer("1.5s default", |world| world),
        ],
        |config| {
            let Setting { value, origin } = &config.first().timeout;
            format!("{value:?} {origin}")
        },
    );
}

#[test]
fn threshold() {
    ranked(
        World::pinging,
        &[
            layer("median > 10ms --threshold", |world| {
                world.typed(|typed| typed.threshold = Some("10".into()))
            }),
            layer("median > 11ms LATENCY_THRESHOLD", |world| world.env("LATENCY_THRESHOLD", "11")),
            layer("median > 12s .env:2", |world| dotenv(world, "LATENCY_THRESHOLD=12s")),
        ],
        |config| {
            let rule = &config.first().alerts.value[1];
            format!("{} {}", rule.value.judge, rule.origin)
        },
    );
}

#[test]
fn targets() {
    ranked(
        || World::toml("\n[targets]\nfiled = \"192.0.2.4\"\n"),
        &[
            layer("192.0.2.1 TARGET", |world| world.words(&["192.0.2.1"])),
            layer("192.0.2.2 PING_HOST", |world| world.env("PING_HOST", "192.0.2.2")),
            layer("192.0.2.3 .env:2", |world| dotenv(world, "PING_HOST=192.0.2.3")),
            layer("192.0.2.4 latmon.toml:3", |world| world),
        ],
        |config| format!("{} {}", config.first().target.host, config.first().origin),
    );
}

#[test]
fn data_dir() {
    fn shown(config: &Config) -> String {
        let Setting { value, origin } = &config.data_dir;
        let name = value.file_name().unwrap().to_str().unwrap();
        format!("{name} {origin}")
    }
    let mut layers = vec![
        layer("a --data-dir", |world| world.typed(|typed| typed.data_dir = Some("a".into()))),
        layer("b LATMON_DATA_DIR", |world| world.env("LATMON_DATA_DIR", "b")),
        layer("c .env:2", |world| dotenv(world, "LATMON_DATA_DIR=/x/c")),
        layer("d STATE_DIRECTORY", |world| world.env("STATE_DIRECTORY", "/var/lib/d:/var/lib/other")),
        layer("e latmon.toml:1", |world| toml(world, 1, "data_dir = \"e\"")),
        layer("work folder of latmon.toml", |world| toml(world, 2, "")),
        layer("work default", |world| world),
    ];
    ranked(World::pinging, &layers, shown);
    // A file that lies elsewhere says nothing about the folder.
    layers.truncate(4);
    layers.push(layer("latmon default", |world| world));
    ranked(|| World::pinging().file("etc.toml", "").env("LATMON_CONFIG", "etc.toml"), &layers, shown);
}

#[test]
fn relative_folders_begin_where_they_are_named() {
    let folder = |world: World| {
        let config = world.config();
        config.data_dir.value.strip_prefix(&world.surroundings.working_dir).unwrap().display().to_string()
    };
    assert_eq!(folder(World::pinging().env("LATMON_DATA_DIR", "d")), "d");
    let file = || World::pinging().file("etc/my.toml", "data_dir = \"d\"");
    assert_eq!(folder(file().typed(|typed| typed.config = Some("etc/my.toml".into()))), "etc/d");
    // The working folder's own file may also be named.
    let local = || World::pinging().file("latmon.toml", "");
    assert_eq!(folder(local().typed(|typed| typed.config = Some("./latmon.toml".into()))), "");
}

#[test]
fn the_file() {
    fn with(world: World, path: &str) -> World {
        world.file(path, "[targets]\nt = \"192.0.2.1\"")
    }
    ranked(
        World::new,
        &[
            layer("a.toml", |world| {
                with(world, "a.toml").typed(|typed| typed.config = Some("a.toml".into()))
            }),
            layer("b.toml", |world| with(world, "b.toml").env("LATMON_CONFIG", "b.toml")),
            layer("c.toml", |world| dotenv(with(world, "c.toml"), "LATMON_CONFIG=c.toml")),
            layer("latmon.toml", |world| with(world, "latmon.toml")),
            layer("../etc/latmon.toml", |world| with(world, "../etc/latmon.toml")),
        ],
        |config| {
            let file = config.file.as_ref().unwrap();
            if file.is_absolute() { "../etc/latmon.toml".to_owned() } else { file.display().to_string() }
        },
    );
}

#[test]
fn mail_key_by_key() {
    fn mailing() -> World {
        // The lines 3 to 9 are the keys'.
        let mail = "\n[mail]\nfrom = \"f@example.org\"\nto = [\"t@example.org\"]\nserver = \"f.example.org\"\n\
                    port = 2465\ntls = \"starttls\"\nusername = \"f\"\npassword = \"f-secret\"\n";
        World::pinging().file("latmon.toml", mail)
    }
    macro_rules! key {
        ($key:literal, $line:literal, $shown:expr, [$env:literal, $dotenv:literal, $toml:literal]) => {
            ranked(
                mailing,
                &[
                    layer(concat!($env, " ", $key), |world| world.env($key, $env)),
                    layer(concat!($dotenv, " .env:2"), |world| dotenv(world, concat!($key, "=", $dotenv))),
                    layer(concat!($toml, " latmon.toml:", $line), |world| world),
                ],
                $shown,
            );
        };
    }
    key!(
        "EMAIL_SENDER",
        3,
        |config| {
            format!("{} {}", config.mail.as_ref().unwrap().from, config.mail_origins.as_ref().unwrap().from)
        },
        ["e@example.org", "d@example.org", "f@example.org"]
    );
    key!(
        "EMAIL_RECEIVER",
        4,
        |config| {
            format!("{} {}", config.mail.as_ref().unwrap().to[0], config.mail_origins.as_ref().unwrap().to)
        },
        ["e@example.org", "d@example.org", "t@example.org"]
    );
    key!(
        "EMAIL_SMTP_SERVER",
        5,
        |config| {
            format!(
                "{} {}",
                config.mail.as_ref().unwrap().server.host,
                config.mail_origins.as_ref().unwrap().server
            )
        },
        ["e.example.org", "d.example.org", "f.example.org"]
    );
    key!(
        "EMAIL_SMTP_PORT",
        6,
        |config| {
            format!(
                "{} {}",
                config.mail.as_ref().unwrap().server.port,
                config.mail_origins.as_ref().unwrap().port
            )
        },
        ["1465", "3465", "2465"]
    );
    key!(
        "EMAIL_PASSWORD",
        9,
        |config| {
            let login = config.mail.as_ref().unwrap().server.login.as_ref().unwrap();
            let origin = config.mail_origins.as_ref().unwrap().password.as_ref().unwrap();
            format!("{} {origin}", login.password.reveal())
        },
        ["e-secret", "d-secret", "f-secret"]
    );
}

#[test]
fn what_is_outranked_is_not_read() {
    let world = World::pinging().env("LATENCY_STEP", "soon").file(".env", "PING_HOST=a b");
    let config = world.typed(|typed| typed.step = Some("10".into())).config();
    assert_eq!(shown(&config.first().step), "10s --step");
}

#[test]
fn what_is_empty_or_blank_is_not_set() {
    let world = World::pinging().env("LATENCY_STEP", " ").env("EMAIL_SENDER", "").env("LATMON_CONFIG", "");
    let config = world.file(".env", "LATENCY_STEP=12\nPING_HOST=\nEMAIL_PASSWORD=\"\"\n").config();
    assert_eq!((shown(&config.first().step), config.mail.is_none()), ("12s .env:1".to_owned(), true));
    assert_eq!(World::dotenv("PING_HOST=''").error(), Error::NoTargets.to_string());
}
