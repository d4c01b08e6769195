//! `latmon run` whose own uplink goes down, in the test network: one mail says so and one that it is over, however many
//! targets are behind it and whatever becomes of the monitor meanwhile.

mod support {
    pub(crate) mod latmon;
    pub(crate) mod net;
}

use std::time::Duration;

use support::latmon::Desk;
use support::net::{Net, answer, ms, silence};

const GATEWAY: &str = "198.18.0.254";
const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn fifty_targets_behind_a_dead_uplink_are_two_mails_and_no_loss() {
    let net = Net::new();
    net.ip(&format!("route add 198.19.128.0/17 via {GATEWAY} dev far0"));
    let hosts: Vec<String> = (1..=50).map(|n| format!("198.19.128.{n}")).collect();
    let all = |well: bool| {
        for host in hosts.iter().map(String::as_str).chain([GATEWAY]) {
            net.host(host, if well { answer().delay(ms(5)) } else { silence() });
        }
    };
    all(true);
    let desk = Desk::new();
    let targets: String = hosts.iter().enumerate().map(|(n, host)| format!("t{n} = '{host}'\n")).collect();
    desk.write(
        "latmon.toml",
        &format!("[defaults]\nstep = 1\npings = 5\n[alerts]\nsettle = '1s'\n[targets]\n{targets}"),
    );
    let rows = |desk: &Desk| desk.rows("t7.rrd").len();
    let status = |desk: &Desk| String::from_utf8(desk.done("status").stdout).expect("a text");

    let mut monitor = desk.start(&mut desk.latmon("run"));
    monitor.until(LIMIT, "three rows", |desk| (rows(desk) >= 3).then_some(()));
    monitor.until(LIMIT, "the gateway in the state", |desk| {
        std::fs::read_to_string(desk.path("state.json")).ok().filter(|state| state.contains(GATEWAY))
    });
    assert!(!status(&desk).contains("uplink"), "{}", status(&desk));

    all(false);
    monitor.until(LIMIT, "a mail", |desk| (desk.outbox().len() == 1).then_some(()));
    let page = status(&desk);
    assert!(page.contains("uplink: down since") && page.contains("198.18.0.254 does not answer"), "{page}");
    assert!(page.contains("our own uplink was down"), "{page}");

    assert!(
        monitor.log().contains("this monitor is offline since ")
            && monitor.log().contains("198.18.0.254 does not answer"),
        "{}",
        monitor.log()
    );

    // Nobody answers the next one either, and it must neither blame the targets nor tell it again.
    monitor.kill();
    drop(monitor);
    let mut monitor = desk.start(&mut desk.latmon("run"));
    monitor.until(LIMIT, "the outage", |desk| status(desk).contains("uplink: down since").then_some(()));
    assert_eq!(desk.outbox().len(), 2, "that nobody was watching is told, and nothing else");

    all(true);
    monitor.until(LIMIT, "a third mail", |desk| (desk.outbox().len() == 3).then_some(()));
    assert!(monitor.log().contains("online again at "), "{}", monitor.log());
    let before = rows(&desk);
    monitor.until(LIMIT, "more rows", |desk| (rows(desk) >= before + 3).then_some(()));
    assert!(!status(&desk).contains("uplink"), "{}", status(&desk));
    let mails = desk.outbox();
    let subject = |mail: &String| mail.lines().find(|line| line.starts_with("Subject: ")).map(str::to_owned);
    let subjects: Vec<String> = mails.iter().filter_map(subject).collect();
    let [offline, gap, online] = &subjects[..] else { panic!("{subjects:?}") };
    assert!(
        offline.contains(" OFFLINE: ") && gap.contains(" GAP: ") && online.contains(" ONLINE: "),
        "{subjects:?}"
    );
    // Nobody locks the archives any more.
    monitor.stop();
    for n in 0..50 {
        let rows = desk.rows(&format!("t{n}.rrd"));
        assert!(rows.iter().all(|(_, values)| values[1] == 0.0), "t{n}: {rows:?}");
        let gap = rows.windows(2).map(|pair| pair[1].0 - pair[0].0).max();
        assert!(gap >= Some(3), "t{n} was well all the time: {rows:?}");
    }
}
