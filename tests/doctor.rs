//! `latmon doctor` with each defect made for it, in the test network. Needs root, for the network and for mounts, and
//! python3-aiosmtpd and openssl, for the mail server.

mod support {
    pub(crate) mod hook;
    pub(crate) mod latmon;
    pub(crate) mod net;
    pub(crate) mod smtp;
}

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::{Command, Output};
use std::time::Duration;

use nix::sys::signal::Signal;
use support::hook::Hook;
use support::latmon::{Desk, told};
use support::net::{Net, ROUTER_IPV4, answer, silence};
use support::smtp::{Mode, PASSWORD, Port, Smtp, USER, make_certificates};

const LIMIT: Duration = Duration::from_secs(20);
const TARGET: &str = "[targets]\noffice = '198.18.0.1'\n";
/// One behind the default route, which the doctor asks the kernel about and sends nothing to.
const FAR_TARGET: &str = "[targets]\noffice = '192.0.2.1'\n";

/// What the doctor said: `verdict about text` of each line.
struct Report {
    lines: Vec<(String, String, String)>,
    code: Option<i32>,
}

impl Report {
    fn of(output: &Output) -> Self {
        assert_eq!(told(output).1, "", "nothing on standard error");
        let text = String::from_utf8(output.stdout.clone()).expect("text");
        assert!(!text.contains(PASSWORD), "{text}");
        let line = |line: &str| {
            let (verdict, rest) = line.split_at(6);
            let (about, text) = rest.split_at(10);
            (verdict.trim().to_owned(), about.trim().to_owned(), text.to_owned())
        };
        Self { lines: text.lines().map(line).collect(), code: output.status.code() }
    }

    /// Exactly one line about this, with this verdict and all of these words.
    #[track_caller]
    fn says(&self, verdict: &str, about: &str, words: &[&str]) {
        let lines: Vec<_> = self.lines.iter().filter(|line| line.1 == about).collect();
        let [line] = lines[..] else { panic!("one line about {about}, not {lines:?}") };
        assert_eq!(line.0, verdict, "{line:?}");
        words.iter().for_each(|word| assert!(line.2.contains(word), "'{word}' is not in {line:?}"));
        // A warning's exit code is 0, a failure's 1.
        let fails = self.lines.iter().any(|line| line.0 == "FAIL");
        assert_eq!(self.code, Some(i32::from(fails)), "{:?}", self.lines);
    }
}

fn doctor(desk: &Desk, words: &str) -> Report {
    Report::of(&desk.done(&format!("doctor {words}")))
}

fn desk(settings: &str) -> Desk {
    let desk = Desk::new();
    desk.write("latmon.toml", settings);
    desk
}

fn route_by_the_router(net: &Net) {
    net.ip(&format!("route add default via {ROUTER_IPV4}\n"));
}

fn mail_settings(smtp: &Smtp, password: &str) -> String {
    format!(
        "[mail]\nfrom = 'latmon@example.org'\nto = ['noc@example.org']\nserver = 'localhost'\nport = {}\ntls = \
         'implicit'\nusername = '{USER}'\npassword = '''{password}'''\n",
        smtp.port
    )
}

#[test]
fn where_all_is_well_nothing_fails_and_no_mail_goes_unasked() {
    let net = Net::new();
    net.host(ROUTER_IPV4, answer());
    route_by_the_router(&net);
    let smtp = Smtp::start(Mode::Implicit);
    let desk = desk(&(mail_settings(&smtp, PASSWORD) + FAR_TARGET));
    fs::set_permissions(desk.path("latmon.toml"), fs::Permissions::from_mode(0o600)).unwrap();

    let look = |words: &str| {
        let mut command = desk.latmon(&format!("doctor {words}"));
        Report::of(&command.env("SSL_CERT_FILE", &smtp.ca_file).output().expect("the binary starts"))
    };
    let report = look("");
    report.says("OK", "settings", &["latmon.toml, 1 target"]);
    report.says("OK", "sockets", &["raw, IPv4 IPv6 (you are root), kernel stamps, own floor "]);
    report.says("OK", "buffer", &["MB for replies that wait"]);
    report.says("OK", "data", &["owned by root"]);
    report.says("OK", "space", &["1 archive to be made take 12.3 MB"]);
    report.says("OK", "monitor", &["none runs yet"]);
    report.says("OK", "zone", &["UTC"]);
    report.says("OK", "names", &["none to resolve"]);
    report.says("OK", "gateway", &[ROUTER_IPV4, "answers after"]);
    report.says("OK", "mail", &["localhost:", "TLS, logged in, mails go to noc@example.org"]);
    assert_eq!(report.code, Some(0));
    assert!(smtp.received().is_empty(), "nobody asked for a mail");

    look("--send-mail").says("OK", "mail", &["a mail was sent to noc@example.org"]);
    let [mail] = &smtp.wait_for(1, LIMIT)[..] else { panic!("one mail") };
    assert!(mail.header("Subject").starts_with("[latmon] TEST: "), "{}", mail.header("Subject"));
    assert!(!desk.path("outbox").exists(), "the doctor leaves nothing behind");
    assert!(!desk.path("latmon.lock").exists());
}

#[test]
fn a_machine_without_sockets_is_told_what_to_do() {
    let mut net = Net::new();
    net.forbid_raw_sockets();
    let report = doctor(&desk(FAR_TARGET), "");
    report.says("FAIL", "sockets", &["setcap cap_net_raw+ep ", "ping_group_range", "AmbientCapabilities"]);
    report.says("WARN", "gateway", &["no default route"]);

    net.allow_ping_sockets();
    doctor(&desk(TARGET), "").says("OK", "sockets", &["datagram, IPv4 IPv6", "ping_group_range"]);
}

#[test]
fn a_gateway_that_never_answers_is_no_witness() {
    let net = Net::new();
    net.host(ROUTER_IPV4, silence());
    route_by_the_router(&net);
    let report = doctor(&desk(FAR_TARGET), "");
    report.says("WARN", "gateway", &[ROUTER_IPV4, "never answers ping: not used as anchor"]);
    let anchored = |anchor: &str| format!("[uplink]\nanchor = [{anchor}]\n{FAR_TARGET}");
    net.host("198.18.0.9", answer());
    doctor(&desk(&anchored("'198.18.0.9'")), "").says(
        "OK",
        "gateway",
        &["198.18.0.9 (latmon.toml:2) answers after"],
    );
    doctor(&desk(&anchored("")), "").says("OK", "gateway", &["no anchor is asked (latmon.toml:2)"]);
    doctor(&desk(TARGET), "").says("OK", "gateway", &["no target is behind one"]);
    doctor(&desk("[targets]\nme = '127.0.0.1'\n"), "").says("OK", "gateway", &["none is needed"]);
    report.says("WARN", "mail", &["nobody is told", "EMAIL_SENDER"]);
    assert_eq!(report.code, Some(0), "warnings are no failures");
}

#[test]
fn a_folder_that_is_not_the_users_is_told_with_its_cure() {
    let _net = Net::new();
    let settings = format!("user = 'nobody'\ndata_dir = 'data'\n{TARGET}");
    let desk = desk(&settings);
    doctor(&desk, "").says("OK", "data", &["is made at the first start"]);

    fs::create_dir(desk.path("data")).unwrap();
    let report = doctor(&desk, "");
    report.says("OK", "user", &["nobody"]);
    report.says("FAIL", "data", &["is owned by root, and nobody records there: chown -R nobody /"]);
    // The cure helps, until somebody starts it as root once.
    chown(desk.path("data"), Some(65534), Some(65534)).unwrap();
    doctor(&desk, "").says("OK", "data", &["owned by nobody"]);
    desk.write("data/office.rrd", "");
    doctor(&desk, "").says("FAIL", "data", &["data/office.rrd is owned by root", "chown -R nobody /"]);

    desk.write("latmon.toml", &settings.replace("nobody", "no-such-user"));
    doctor(&desk, "").says("FAIL", "user", &["latmon.toml:1: there is no user 'no-such-user': useradd"]);
}

/// Runs the doctor where `data` is a file system of its own, mounted with these options.
fn on_a_mount(options: &str) -> Report {
    let desk = desk(&format!("data_dir = 'data'\n{TARGET}"));
    fs::create_dir(desk.path("data")).unwrap();
    let script = "mount -t tmpfs -o \"$1\" latmon data && exec \"$2\" doctor";
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", script, "sh", options, env!("CARGO_BIN_EXE_latmon")])
        .current_dir(desk.path(""))
        .env("TZ", "UTC")
        .output();
    Report::of(&output.expect("unshare runs (util-linux), as root"))
}

#[test]
fn a_disk_that_cannot_be_written_is_told() {
    let _net = Net::new();
    on_a_mount("ro").says("FAIL", "data", &["ead-only file system", "mount it for writing"]);
    let report = on_a_mount("size=4m");
    report.says("OK", "data", &[]);
    report.says("FAIL", "space", &["4.2 MB free, 1 archive to be made take 12.3 MB: make room"]);
    on_a_mount("size=40m").says("WARN", "space", &["little is left"]);
}

#[test]
fn a_mail_server_that_refuses_is_told_and_the_password_is_not() {
    let _net = Net::new();
    let smtp = Smtp::start(Mode::Implicit);
    let look = |desk: &Desk, trusted: bool| {
        let mut command = desk.latmon("doctor --send-mail");
        if trusted {
            command.env("SSL_CERT_FILE", &smtp.ca_file);
        }
        Report::of(&command.output().expect("the binary starts"))
    };
    let wrong = desk(&(mail_settings(&smtp, "no such word") + TARGET));
    fs::set_permissions(wrong.path("latmon.toml"), fs::Permissions::from_mode(0o600)).unwrap();
    let report = look(&wrong, true);
    report.says("FAIL", "mail", &["localhost:", "535", "check user name and password"]);
    assert!(!report.lines.iter().any(|line| line.2.contains("no such word")), "{:?}", report.lines);
    look(&wrong, false).says("FAIL", "mail", &["not trusted", "SSL_CERT_FILE"]);

    let closed = Port::closed();
    let port = closed.number.to_string();
    wrong.write("latmon.toml", &wrong.read("latmon.toml").replace(&smtp.port.to_string(), &port));
    look(&wrong, true).says("FAIL", "mail", &["connection refused", "check host and port"]);
    assert!(smtp.received().is_empty());
}

#[test]
fn webhooks_and_commands_are_tried_and_told_nothing_unasked() {
    let _net = Net::new();
    let desk = Desk::new();
    make_certificates(&desk.path(""), "DNS:localhost", 2);
    let hook = Hook::start(Some(&desk.path("")), "200,404");
    let folder = desk.path("").display().to_string();
    desk.write(
        "pager",
        "#!/bin/sh\nprintf '%s\\n' \"$LATMON_STATE: $LATMON_SUBJECT\" >> \"${0%/*}/paged\"\n",
    );
    let mode =
        |name: &str, mode| fs::set_permissions(desk.path(name), fs::Permissions::from_mode(mode)).unwrap();
    mode("pager", 0o755);
    desk.write(
        "latmon.toml",
        &format!(
            "[webhook.duty]\nurl = 'https://localhost:{}/hush-hush'\ntemplate = 'plain'\n[command.pager]\nrun = \
             ['{folder}/pager']\n{TARGET}",
            hook.port
        ),
    );
    mode("latmon.toml", 0o600);
    let look = |words: &str, trusted: bool| {
        let mut command = desk.latmon(&format!("doctor {words}"));
        if trusted {
            command.env("SSL_CERT_FILE", desk.path("ca.pem"));
        }
        let report = Report::of(&command.output().expect("the binary starts"));
        assert!(!report.lines.iter().any(|line| line.2.contains("hush")), "{:?}", report.lines);
        report
    };
    let shown = format!("duty: https://localhost:{}/***", hook.port);
    let report = look("", true);
    report.says("OK", "webhook", &[&shown, "reached, nothing was posted"]);
    report.says("OK", "command", &[&format!("pager: {folder}/pager, may be run")]);
    report.says("WARN", "mail", &["only webhook:duty and command:pager are told"]);
    assert!(hook.posted().is_empty() && !desk.path("paged").exists(), "nobody asked for it");

    let report = look("--send-mail", true);
    report.says("OK", "webhook", &[&shown, "a test was posted"]);
    report.says("OK", "command", &["was told a test as root"]);
    let [posted] = &hook.posted()[..] else { panic!("one posting") };
    assert_eq!((&posted.body["state"], &posted.body["severity"]), (&"test".into(), &"info".into()));
    let subject = posted.body["subject"].as_str().expect("a subject");
    assert!(subject.starts_with("[latmon] TEST: "), "{subject}");
    assert_eq!(desk.read("paged"), format!("test: {subject}\n"));
    assert!(!desk.path("outbox").exists(), "the doctor leaves nothing behind");

    look("--send-mail", true).says("FAIL", "webhook", &[&shown, "404 Not Found", "check the URL"]);
    look("", false).says("FAIL", "webhook", &[&shown, "not trusted", "SSL_CERT_FILE"]);
    let closed = Port::closed();
    let settings = desk.read("latmon.toml");
    let elsewhere = settings.replace(&hook.port.to_string(), &closed.number.to_string());
    desk.write("latmon.toml", &elsewhere);
    look("", true).says("FAIL", "webhook", &["connection refused", "check host and port of the URL"]);
}

#[test]
fn a_command_that_cannot_be_run_is_told_with_its_cure() {
    let _net = Net::new();
    let settings = |program: &str| format!("user = 'nobody'\n[command.pager]\nrun = ['{program}']\n{TARGET}");
    let desk = desk("");
    let mode =
        |name: &str, mode| fs::set_permissions(desk.path(name), fs::Permissions::from_mode(mode)).unwrap();
    mode("", 0o755);
    desk.write("pager", "#!/bin/sh\n");
    let pager = desk.path("pager").display().to_string();
    let look = |program: &str| {
        desk.write("latmon.toml", &settings(program));
        doctor(&desk, "")
    };
    look("/no/such/pager").says(
        "FAIL",
        "command",
        &["/no/such/pager is not there", "'run' in latmon.toml:2"],
    );
    look("/usr").says("FAIL", "command", &["/usr is no program"]);
    mode("pager", 0o700);
    look(&pager).says("FAIL", "command", &["nobody may not run", &format!("chmod a+x {pager},")]);
    mode("pager", 0o755);
    look(&pager).says("OK", "command", &["may be run"]);
    mode("", 0o700);
    let folder = pager.trim_end_matches("/pager").to_owned();
    look(&pager).says("FAIL", "command", &["nobody may not run", &format!("chmod a+x {folder},")]);
    mode("", 0o755);
    desk.write("pager", "#!/no/such/shell -e\n");
    look(&pager).says("FAIL", "command", &["wants /no/such/shell, which is not there"]);
}

#[test]
fn names_that_do_not_resolve_are_told() {
    let _net = Net::new();
    let report = doctor(&desk("[targets]\na = 'no-such-host.invalid'\nb = '198.18.0.1'\n"), "");
    report.says("FAIL", "names", &["no-such-host.invalid does not resolve: "]);
    let missing = doctor(&desk("[targets]\na = 'a.invalid'\nb = 'b.invalid'\nc = 'c.invalid'\n"), "");
    missing.says("FAIL", "names", &["a.invalid does not resolve: ", "and 2 more of 3"]);
}

#[test]
fn settings_that_are_wrong_stop_no_other_look() {
    let _net = Net::new();
    let half = desk(&format!("[mail]\nfrom = 'latmon@example.org'\n{TARGET}"));
    let report = doctor(&half, "");
    report.says("FAIL", "settings", &["latmon.toml:2: "]);
    report.says("OK", "sockets", &[]);
    report.says("OK", "data", &[]);
    let broken = doctor(&desk("[targets\n"), "");
    broken.says("FAIL", "settings", &["latmon.toml:1"]);

    let desk = desk(TARGET);
    let output = desk.latmon("doctor").env("TZ", "Mars/Olympus").output().expect("the binary starts");
    Report::of(&output).says("WARN", "zone", &["TZ=Mars/Olympus", "tzdata"]);
}

#[test]
fn the_running_monitor_is_looked_at_too() {
    let net = Net::new();
    net.host("198.18.0.1", answer());
    let desk =
        desk(&format!("user = 'nobody'\ndata_dir = 'data'\n[defaults]\nstep = '1s'\npings = 2\n{TARGET}"));
    fs::set_permissions(desk.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    let mut monitor = desk.start(&mut desk.latmon("run"));
    monitor.until(LIMIT, "a row", |desk| (!desk.rows("data/office.rrd").is_empty()).then_some(()));
    let process = format!("process {} ", monitor.pid());
    let report = doctor(&desk, "");
    report.says("OK", "monitor", &[&process, "sockets: raw"]);
    report.says("OK", "data", &["owned by nobody"]);
    report.says("OK", "space", &["no archive is to be made"]);

    monitor.freeze();
    let report = doctor(&desk, "");
    monitor.signal_monitor(Signal::SIGCONT);
    report.says("FAIL", "monitor", &["does not answer"]);

    // Its socket is taken away under it: who holds the folder can still be told.
    fs::remove_file(desk.path("data/control.sock")).unwrap();
    doctor(&desk, "").says("WARN", "monitor", &[&process, "latmon.lock"]);
    monitor.stop();
    doctor(&desk, "").says("OK", "monitor", &["none runs yet"]);
}
