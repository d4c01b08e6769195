//! Targets that are names, from end to end: `latmon run` in the test network with a name server that fails, stops and
//! starts again, and without a route. Needs root, for the network and for an `/etc` of its own.

mod support {
    pub(crate) mod dns;
    pub(crate) mod latmon;
    pub(crate) mod net;
}

use std::time::Duration;

use support::dns::{Etc, NameServer, has};
use support::latmon::{Desk, Running};
use support::net::{Net, answer, ms};

const LIMIT: Duration = Duration::from_secs(90);

const SETTINGS: &str = "\
[defaults]
step = '1s'
pings = 3
timeout = '500ms'
family = 'ipv4'
alerts = ['blind']
[alert.blind]
when = 'unknown >= 50%'
for = '2 of 2'
clear = '1 of 1'
[alerts]
settle = '0s'
[probe]
resolve_every = '10s'
[targets]
web = 'web.example'
moving = 'moving.example'
";

/// Runs a test in a thread of its own, whose namespaces end with it.
fn in_a_world(test: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        if let Err(panic) = scope.spawn(test).join() {
            std::panic::resume_unwind(panic);
        }
    });
}

#[track_caller]
fn told(monitor: &mut Running<'_>, count: usize, subject: &str) -> String {
    let what = format!("mail {count}, {subject}");
    let mail = monitor.until(LIMIT, &what, |desk| desk.outbox().get(count - 1).cloned());
    // A long subject goes on in the next line.
    let unfolded = mail.replace("\r\n ", " ");
    assert!(
        unfolded.contains(&format!("Subject: [latmon] {subject}")),
        "{subject} is not the subject of\n{mail}"
    );
    mail
}

#[track_caller]
fn logged(monitor: &mut Running<'_>, line: &str) {
    monitor.until(LIMIT, line, |desk| desk.read("log").contains(line).then_some(()));
}

/// A name that is dead for a week is no outage, and without an alert of its own nobody would ever hear of it.
#[test]
fn a_name_that_does_not_resolve_is_told_and_so_is_what_becomes_of_it() {
    in_a_world(|| {
        let net = Net::new();
        for host in ["198.18.0.1", "198.18.0.2", "198.18.0.3"] {
            net.host(host, answer().delay(ms(5)));
        }
        let etc = Etc::enter();
        etc.write("resolv.conf", "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n");
        let server = NameServer::start("127.0.0.1");
        server.name("moving.example", has(&["198.18.0.2"]));
        let desk = Desk::new();
        desk.write("latmon.toml", SETTINGS);
        let mut monitor = desk.start(&mut desk.latmon("run"));
        let mail =
            told(&mut monitor, 1, "UNKNOWN: web (web.example) is not measured: the name does not resolve");
        assert!(mail.contains("blind: unknown >=3D 50%") || mail.contains("blind: unknown >= 50%"), "{mail}");
        server.name("web.example", has(&["198.18.0.1"]));
        told(&mut monitor, 2, "OK: web (web.example) is measured again after ");
        logged(&mut monitor, "web: web.example resolves to 198.18.0.1");

        // While the server is gone the last addresses are pinged on, and nobody is told.
        drop(server);
        logged(&mut monitor, "web: web.example does not resolve: ");
        logged(&mut monitor, "moving: moving.example does not resolve: ");
        for kept in ["; keeping 198.18.0.1", "; keeping 198.18.0.2"] {
            logged(&mut monitor, kept);
        }
        let server = NameServer::start("127.0.0.1");
        server.name("web.example", has(&["198.18.0.1"]));
        server.name("moving.example", has(&["198.18.0.3"]));
        logged(&mut monitor, "web: web.example resolves again to 198.18.0.1");
        logged(&mut monitor, "moving: the address of moving.example changed from 198.18.0.2 to 198.18.0.3");
        assert_eq!(desk.outbox().len(), 2, "nobody was told:\n{}", monitor.log());

        // No way to any target is our own outage: one notice tells of it, and no alert of a target.
        net.cut();
        logged(&mut monitor, "this monitor is offline since ");
        logged(&mut monitor, "web (web.example): cannot send: Network is unreachable");
        monitor.until(LIMIT, "three unknown rounds", |desk| {
            let status: serde_json::Value =
                serde_json::from_slice(&desk.done("status --json web").stdout).ok()?;
            let web = &status["targets"][0];
            let lasts = web["last_round"].as_i64()? - web["since"].as_i64()?;
            (web["state"] == "unknown" && lasts >= 2).then_some(())
        });
        net.mend();
        logged(&mut monitor, "online again at ");
        monitor.until(LIMIT, "the end of it", |desk| (desk.outbox().len() == 4).then_some(()));
        monitor.stop();
        let log = monitor.log();
        assert_eq!(log.matches("is not measured").count(), 1, "{log}");
        assert!(desk.outbox()[2].contains("OFFLINE") && desk.outbox()[3].contains("ONLINE"), "{log}");
    });
}
