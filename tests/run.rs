//! The main job from end to end: `latmon run` in the test network, its archives read by rrdtool, its pictures drawn.
//! Needs root, for the network, and rrdtool.

mod support {
    pub(crate) mod latmon;
    pub(crate) mod net;
}

use std::fs;
use std::time::Duration;

use support::latmon::{Desk, png_size, told};
use support::net::{At, Every, Net, answer, ms, silence};

const LIMIT: Duration = Duration::from_secs(90);

/// Whether `median` (in seconds) is the delay that the network says it really gave at `address`, by the median of its log,
/// and what a busy machine adds.
#[track_caller]
fn is_as_given(net: &Net, address: &str, median: f64) {
    let mut given: Vec<f64> =
        net.requests(address).iter().filter_map(|request| Some(request.delay()?.as_secs_f64())).collect();
    given.sort_by(f64::total_cmp);
    let given = given[given.len() / 2];
    assert!((-0.001..0.015).contains(&(median - given)), "{address}: {median} s recorded, {given} s given");
}

#[test]
fn one_variable_is_enough() {
    let net = Net::new();
    net.host("198.18.0.1", answer().delay(ms(10)).lose(Every(5)));
    let desk = Desk::new();

    let mut monitor = desk.start(
        desk.latmon("run").env("PING_HOST", "198.18.0.1").env("LATENCY_STEP", "1").env("TZ", "Europe/Berlin"),
    );
    // The first row may lack the pings that were due before the start, and any those of a second in which the machine
    // stood still; three others in a row must be as the network was.
    let rows = monitor.until(
        LIMIT,
        "three rows of every fifth ping lost, at both ends, and no row missing",
        |desk| {
            let rows = desk.rows("latency.rrd");
            let follow = |three: &[(i64, Vec<f64>)]| three.windows(2).all(|pair| pair[1].0 == pair[0].0 + 1);
            let is_wanted = |(_, values): &(i64, Vec<f64>)| {
                let pings = &values[3..];
                let is_shaped =
                    pings.iter().zip(0..).all(|(ping, rank)| ping.is_nan() != (2..18).contains(&rank));
                values[1] == 4.0 && pings.len() == 20 && is_shaped && pings[2..18].is_sorted()
            };
            rows.windows(3).find(|three| follow(three) && three.iter().all(is_wanted)).map(<[_]>::to_vec)
        },
    );
    monitor.stop();

    let mut medians: Vec<f64> = rows.iter().map(|(_, values)| values[2]).collect();
    medians.sort_by(f64::total_cmp);
    is_as_given(&net, "198.18.0.1", medians[medians.len() / 2]);

    let drawn = desk.done("graph --since 1h");
    assert_eq!(told(&drawn), (Some(0), String::new()));
    assert_eq!(png_size(&desk.path("latency_graph.png")), (1000, 300));
    let [exit_mail] = &desk.outbox()[..] else { panic!("the exit mail alone: {:?}", desk.outbox()) };
    assert!(exit_mail.contains("please restart it"), "{exit_mail}");
}

#[test]
fn a_dotenv_file_is_enough() {
    let net = Net::new();
    net.host("198.18.0.1", answer().delay(ms(30)));
    let desk = Desk::new();
    desk.write(".env", "# the line to the office\nPING_HOST=198.18.0.1\nLATENCY_STEP=\"1\"\n");

    let mut monitor = desk.start(&mut desk.latmon("run"));
    let rows = monitor
        .until(LIMIT, "two rows", |desk| Some(desk.rows("latency.rrd")).filter(|rows| rows.len() >= 2));
    monitor.stop();
    is_as_given(&net, "198.18.0.1", rows[1].1[2]);
}

#[test]
fn every_target_has_its_archive_in_both_families() {
    let net = Net::new();
    net.host("198.18.0.1", answer().delay(ms(10)));
    net.host("fd00::1", answer().delay(ms(40)).lose(At(vec![])));
    let desk = Desk::new();

    let mut monitor = desk.start(&mut desk.latmon("run 198.18.0.1 fd00::1 localhost --step 1s --pings 10"));
    let medians = monitor.until(LIMIT, "two rows of each", |desk| {
        ["198.18.0.1.rrd", "fd00__1.rrd", "localhost.rrd"]
            .map(|file| desk.rows(file).get(1).map(|(_, values)| values[2]))
            .into_iter()
            .collect::<Option<Vec<f64>>>()
    });
    monitor.stop();

    is_as_given(&net, "198.18.0.1", medians[0]);
    is_as_given(&net, "fd00::1", medians[1]);
    assert!(medians[2] < medians[0], "no far end is nearer than localhost: {medians:?}");
    let svg = desk.done("graph 198.18.0.1 --since 5m -o office.svg");
    assert_eq!(told(&svg), (Some(0), String::new()));
    assert!(desk.read("office.svg").starts_with("<svg"), "an SVG by its ending");
}

/// A name that does not resolve stops nothing: its rounds are unknown, in the archive too, and no loss.
#[test]
fn an_unresolvable_name_is_unknown_and_stops_nothing() {
    let net = Net::new();
    net.host("198.18.0.1", answer().delay(ms(10)));
    let desk = Desk::new();

    let mut monitor = desk.start(&mut desk.latmon("run no-such-host.invalid 198.18.0.1 --step 1s --pings 4"));
    monitor
        .until(LIMIT, "rows of the good one", |desk| (desk.rows("198.18.0.1.rrd").len() >= 3).then_some(()));
    monitor.until(LIMIT, "its line in the log", |desk| {
        desk.read("log").lines().any(|line| line.contains("no-such-host.invalid")).then_some(())
    });
    monitor.stop();

    assert!(desk.path("no-such-host.invalid.rrd").exists());
    assert!(desk.rows("no-such-host.invalid.rrd").is_empty(), "unknown is not loss");
    assert!(!desk.outbox().iter().any(|mail| mail.contains("does not answer")), "and no alert");
}

/// No route is our own trouble: unknown, not loss, and told as such.
#[test]
fn a_missing_route_is_our_own_trouble_and_no_alert_of_the_target() {
    let net = Net::new();
    net.host("198.18.0.1", answer().delay(ms(5)));
    let desk = Desk::new();
    let mut monitor = desk.start(&mut desk.latmon("run 198.18.0.1 --step 1s --pings 2"));
    monitor.until(LIMIT, "two rows", |desk| (desk.rows("198.18.0.1.rrd").len() >= 2).then_some(()));
    // Right after a reply: the next ping is half a second away.
    let asked = net.requests("198.18.0.1").len();
    net.wait_for("198.18.0.1", asked + 1, LIMIT);
    net.cut();
    monitor.until(LIMIT, "two unknown rows", |desk| {
        let rows = desk.rows("198.18.0.1.rrd");
        let last = fetch_end(desk, "198.18.0.1.rrd");
        (last >= rows.last()?.0 + 2).then_some(())
    });
    net.mend();
    let again = monitor.until(LIMIT, "a row after it", |desk| {
        let rows = desk.rows("198.18.0.1.rrd");
        let gap = rows.windows(2).position(|pair| pair[1].0 > pair[0].0 + 1)?;
        rows.get(gap + 2).map(|_| rows.clone())
    });
    monitor.stop();

    // The pings of a row that were sent are all answered; the others are unknown.
    assert!(again.iter().all(|(_, values)| values[1] == 0.0), "{again:?}");
    let told = desk.outbox();
    let told: Vec<&str> =
        told.iter().flat_map(|mail| mail.lines().find(|line| line.starts_with("Subject: "))).collect();
    let [offline, online, exit] = told[..] else { panic!("{told:#?}") };
    assert!(offline.contains(" OFFLINE: ") && online.contains(" ONLINE: "), "{told:#?}");
    assert!(exit.contains(" STOPPED: "), "{told:#?}");
}

/// The archive's last update by rrdtool.
fn fetch_end(desk: &Desk, file: &str) -> i64 {
    let output =
        std::process::Command::new("rrdtool").arg("last").arg(desk.path(file)).output().expect("rrdtool");
    String::from_utf8_lossy(&output.stdout).trim().parse().unwrap_or(0)
}

/// Down, and well again: without mail settings the mails lie in the outbox, each with its picture.
#[test]
fn an_outage_is_told_from_its_first_round_to_its_end() {
    let net = Net::new();
    net.host("198.18.0.1", answer().delay(ms(10)).after(15, silence().after(15, answer().delay(ms(10)))));
    let desk = Desk::new();
    let mut monitor = desk.start(
        desk.latmon("run --step 1s --pings 5").env("PING_HOST", "198.18.0.1").env("LATENCY_THRESHOLD", "900"),
    );
    monitor.until(LIMIT, "two mails", |desk| (desk.outbox().len() >= 2).then_some(()));
    let log = monitor.log();
    monitor.stop();

    let mails = desk.outbox();
    assert_eq!(mails.len(), 3, "raised, cleared, exit: {log}");
    assert!(mails[0].contains("DOWN") && mails[0].contains("does not answer"), "{}", mails[0]);
    assert!(mails[0].contains("image/png") && mails[0].contains("198.18.0.1"), "{}", mails[0]);
    assert!(mails[1].contains("answers again"), "{}", mails[1]);
    let id = header(&mails[0], "Message-ID").expect("a Message-ID");
    assert_eq!(header(&mails[1], "In-Reply-To"), Some(id), "the recovery answers the alert");
    assert!(log.contains("no mail settings"), "{log}");
}

fn header<'a>(mail: &'a str, name: &str) -> Option<&'a str> {
    mail.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

#[test]
fn a_threshold_that_is_crossed_is_told() {
    let net = Net::new();
    net.host("198.18.0.1", answer().delay(ms(10)).after(10, answer().delay(ms(80))));
    let desk = Desk::new();
    let mut monitor = desk.start(
        desk.latmon("run --step 1s --pings 5").env("PING_HOST", "198.18.0.1").env("LATENCY_THRESHOLD", "50"),
    );
    let mail = monitor.until(LIMIT, "a mail", |desk| desk.outbox().into_iter().next());
    monitor.stop();
    assert!(mail.contains("SLOW") && mail.contains("median > 50ms"), "{mail}");
}

/// The second monitor is refused, and the first goes on.
#[test]
fn a_folder_has_one_monitor() {
    let net = Net::new();
    net.host("198.18.0.1", answer());
    let desk = Desk::new();
    let mut monitor = desk.start(&mut desk.latmon("run 198.18.0.1 --step 1s --pings 2"));
    monitor.until(LIMIT, "a row", |desk| (!desk.rows("198.18.0.1.rrd").is_empty()).then_some(()));

    let (code, error) = told(&desk.done("run 198.18.0.1 --step 1s --pings 2"));
    assert_eq!(code, Some(1));
    assert!(error.contains(&format!("another latmon (process {})", monitor.pid())), "{error}");
    monitor.stop();
}

/// An archive that is there is used as it is: its step wins over the default, and what it holds stays.
#[test]
fn an_archive_that_is_there_is_continued() {
    let net = Net::new();
    net.host("198.18.0.1", answer().delay(ms(10)));
    let desk = Desk::new();
    let start = |words: &str| {
        let mut monitor = desk.start(&mut desk.latmon(words));
        let rows = desk.rows("198.18.0.1.rrd").len();
        monitor.until(LIMIT, "two more rows", |desk| {
            (desk.rows("198.18.0.1.rrd").len() >= rows + 2).then_some(())
        });
        monitor.stop();
        desk.rows("198.18.0.1.rrd")
    };
    let before = start("run 198.18.0.1 --step 1s --pings 3");
    let after = start("run 198.18.0.1");
    // As text, for NaN is not equal to itself.
    let kept = &after[..before.len()];
    assert_eq!(format!("{kept:?}"), format!("{before:?}"), "nothing is lost");
    assert!(after.iter().all(|(_, values)| values.len() == 6), "still three pings a round");

    let bytes = fs::read(desk.path("198.18.0.1.rrd")).unwrap();
    let (code, error) = told(&desk.done("run 198.18.0.1 --step 5s"));
    assert_eq!(code, Some(1));
    assert!(error.contains("198.18.0.1.rrd has a step of 1s, the settings say 5s"), "{error}");
    assert_eq!(fs::read(desk.path("198.18.0.1.rrd")).unwrap(), bytes, "and is not touched");
}

/// As after a start with a clock that is not set yet: what is in the archive is not written over, and the log says so once.
#[test]
fn a_clock_behind_the_archive_is_told() {
    let net = Net::new();
    net.host("198.18.0.1", answer().delay(ms(10)));
    let desk = Desk::new();
    let since_1970 = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("after 1970");
    let sources = ["uptime", "loss", "median", "ping1", "ping2"].map(|name| format!("DS:{name}:GAUGE:2:0:U"));
    let create = format!(
        "rrd create 198.18.0.1.rrd --step 1 --start {} {} RRA:AVERAGE:0.5:1:600",
        since_1970.as_secs() + 3600,
        sources.join(" ")
    );
    assert_eq!(told(&desk.done(&create)), (Some(0), String::new()));
    let mut monitor = desk.start(&mut desk.latmon("run 198.18.0.1"));
    let line = "198.18.0.1: the clock stands behind the archive's last update (";
    monitor.until(LIMIT, line, |desk| desk.read("log").contains(line).then_some(()));
    monitor.until(LIMIT, "two more rounds", |_| (net.requests("198.18.0.1").len() >= 8).then_some(()));
    monitor.stop();
    assert_eq!(monitor.log().matches(line).count(), 1, "{}", monitor.log());
}

#[test]
fn without_a_target_it_says_what_to_type() {
    let desk = Desk::new();
    let (code, error) = told(&desk.done("run"));
    assert_eq!(code, Some(2));
    assert!(error.starts_with("latmon: ") && error.contains("latmon run "), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
}
