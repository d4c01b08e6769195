//! No secret shows anywhere, whatever goes wrong: a password and the secret part of a webhook's URL that can be
//! recognised in any clothes are given to `latmon` in every way there is, everything fails that can, and then all that
//! was printed, logged, written, mailed, posted or can be seen of the processes is looked through for them.
//!
//! Needs python3, python3-aiosmtpd and openssl.

#![allow(clippy::unwrap_used, reason = "a test ends there")]

mod support {
    pub(crate) mod hook;
    pub(crate) mod latmon;
    pub(crate) mod smtp;
}

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use support::hook::Hook;
use support::latmon::{Desk, Running, send};
use support::smtp::{Mode, Options, Port, Smtp};

/// Letters and digits, so that no escaping changes it.
const MARK: &str = "Kx9MARKEDx9K";
/// With what a careful person may put into a password.
const PASSWORD: &str = "blank $1 Kx9MARKEDx9K \\ \"q\"";
const LIMIT: Duration = Duration::from_secs(90);

/// What goes wrong, by its name.
type Case = (&'static str, fn(&Scene));

/// All of it. Each has a folder of its own.
const CASES: &[Case] = &[
    ("all is well", |scene| scene.parrot("NONE 0", "mail sent")),
    ("a login refused by a real server that repeats the password", |scene| {
        let smtp = Smtp::start(Mode::Implicit);
        scene.dotenv(&format!(
            "EMAIL_SENDER=a@example.org\nEMAIL_PASSWORD=\"{PASSWORD}\"\nEMAIL_SMTP_SERVER=localhost\n\
             EMAIL_SMTP_PORT={}\n",
            smtp.port
        ));
        scene.toml("");
        scene.run("535", &[("SSL_CERT_FILE", smtp.ca_file.to_str().unwrap())]);
    }),
    ("login refused", |scene| scene.parrot("AUTH 535", "535")),
    ("login deferred", |scene| scene.parrot("AUTH 454", "454")),
    ("garbage at the login", |scene| scene.parrot("AUTH garbage", "no SMTP")),
    ("closed at the login", |scene| scene.parrot("AUTH close", "closed")),
    ("sender refused", |scene| scene.parrot("MAIL 550", "550")),
    ("recipient refused", |scene| scene.parrot("RCPT 550", "550")),
    ("recipient deferred", |scene| scene.parrot("RCPT 451", "451")),
    ("mail refused", |scene| scene.parrot("DATA 554", "554")),
    ("mail deferred", |scene| scene.parrot("DATA 451", "451")),
    ("end of the mail deferred", |scene| scene.parrot(". 451", "451")),
    ("end of the mail refused", |scene| scene.parrot(". 554", "554")),
    ("closed in the mail", |scene| scene.parrot(". close", "closed")),
    ("hangs in the mail", |scene| scene.parrot(". hang", "")),
    ("TLS with a server that has none", |scene| {
        let smtp = Smtp::with(Mode::Plain, Options::default());
        scene.mail(smtp.port, "implicit", "");
        scene.run("does not speak TLS", &[]);
    }),
    ("a certificate that is not trusted", |scene| {
        let smtp = Smtp::start(Mode::StartTls);
        scene.mail(smtp.port, "starttls", "");
        scene.run("not trusted", &[]);
    }),
    ("a closed port, and an abort", |scene| {
        let port = Port::closed();
        scene.mail(port.number, "none", "");
        let mut monitor = scene.start("connection refused", &[]);
        let heir = monitor.pid();
        monitor.signal(Signal::SIGABRT);
        monitor.ended(LIMIT);
        // It becomes the next guardian, which nobody else would end.
        let deadline = Instant::now() + LIMIT;
        while fs::exists(format!("/proc/{heir}")).unwrap() {
            assert!(Instant::now() < deadline, "it does not stop:\n{}", monitor.log());
            // What it is told while it becomes another program may be lost.
            send(heir, Signal::SIGTERM);
            thread::sleep(Duration::from_millis(500));
        }
    }),
    ("a password in the environment", |scene| {
        let port = Port::closed().number.to_string();
        scene.toml("");
        let environment = [
            ("EMAIL_SENDER", "a@example.org"),
            ("EMAIL_PASSWORD", PASSWORD),
            ("EMAIL_SMTP_SERVER", "localhost"),
            ("EMAIL_SMTP_PORT", &port),
        ];
        scene.run("mails stay", &environment);
    }),
    ("a webhook that repeats all it is sent", |scene| {
        let hook = Hook::start(None, "400-echo,403-echo,500-echo,400-echo,400-echo,400-echo");
        let url = format!("http://127.0.0.1:{}/services/{MARK}?key={MARK}", hook.port);
        scene.file("url", &url);
        scene.file("token", MARK);
        scene.toml(&format!(
            "[webhook.a]\nurl_file = 'url'\ntemplate = 'plain'\ntls = 'none'\ntoken_file = 'token'\n\
             [webhook.b]\nurl = '{url}'\nbody = '{{\"a\": {{{{token}}}}}}'\ntls = 'none'\ntoken_file = 'token'\n\
             [webhook.c]\nurl = '{url}'\ntemplate = 'slack'\ntls = 'none'\nheaders = {{ X-Key = 'k {MARK}' }}\n"
        ));
        ["a", "b", "c"].iter().for_each(|way| scene.posting(way));
        let mut monitor = scene.start("webhook:c: ", &[]);
        monitor.signal(Signal::SIGTERM);
        monitor.ended(LIMIT);
        assert!(hook.posted().len() >= 6, "each was told twice: {}", monitor.log());
        assert!(monitor.log().contains("stays in the outbox: http://127.0.0.1:"), "{}", monitor.log());
    }),
    ("webhooks that are not there", |scene| {
        let hook = Hook::start(None, "302:http://127.0.0.1/");
        let closed = Port::closed();
        scene.toml(
            &format!(
                "[webhook.a]\nurl = 'https://127.0.0.1:{}/{MARK}'\ntemplate = 'slack'\n\
             [webhook.b]\nurl = 'https://{MARK}.invalid/{MARK}'\ntemplate = 'teams'\n\
             [webhook.c]\nurl = 'http://127.0.0.1:{}/{MARK}'\ntemplate = 'ntfy'\ntls = 'none'\n",
                closed.number, hook.port
            )
            .replace(&format!("{MARK}.invalid"), "nowhere.invalid"),
        );
        ["a", "b", "c"].iter().for_each(|way| scene.posting(way));
        let mut monitor = scene.start("webhook:c: ", &[]);
        monitor.signal(Signal::SIGTERM);
        monitor.ended(LIMIT);
        assert!(monitor.log().contains("refused"), "{}", monitor.log());
    }),
    ("a command that looks around", |scene| {
        let port = Port::closed();
        let script = r#"{ env; cat /proc/$PPID/cmdline /proc/self/environ; ls -l /proc/self/fd; set; } > "$0" 2>&1; exit 1"#;
        let file = scene.desk.path("seen");
        scene.mail(
            port.number,
            "none",
            &format!(
                "[command.a]\nrun = ['/bin/sh', '-c', '''{script}''', '{}', '{{{{text}}}}']\n",
                file.display()
            ),
        );
        let mut monitor =
            scene.start("mails stay", &[("EMAIL_PASSWORD", PASSWORD), ("EMAIL_SENDER", "a@example.org")]);
        monitor.signal(Signal::SIGTERM);
        monitor.ended(LIMIT);
        assert!(fs::read_to_string(file).unwrap().contains("LATMON_STATE=stopped"), "{}", monitor.log());
    }),
    ("settings with slips beside a secret", |scene| {
        for dotenv in [
            format!("EMAIL_PASSWORD: {PASSWORD}\n"),
            format!("{PASSWORD}\n"),
            format!("EMAIL_SENDER={PASSWORD}\nEMAIL_PASSWORD=a@example.org\n"),
            format!("EMAIL_SENDER=a@example.org\nEMAIL_SMTP_PORT={PASSWORD}\n"),
            format!("EMAIL_SENDER=a@example.org\nEMAIL_RECEIVER={PASSWORD}\n"),
            format!("EMAIL_SENDER=a@example.org\nEMAIL_SMTP_SERVER={PASSWORD}\n"),
            format!("EMAIL_SENDER=a@example.org\nEMAIL_PASSWORD_FILE=/nowhere\nEMAIL_PASSWORD={PASSWORD}\n"),
            format!("EMAIL_SENDER=a@example.org\nEMAIL_PASWORD={PASSWORD}\n"),
            format!("EMAIL_PASSWORD={PASSWORD}\n"),
        ] {
            scene.dotenv(&dotenv);
            scene.toml("");
            scene.refused();
        }
        fs::remove_file(scene.desk.path(".env")).unwrap();
        let mail =
            "[mail]\nfrom = 'a@example.org'\nto = ['b@example.org']\nserver = 'localhost'\nusername = 'u'\n";
        for slip in [
            format!("{mail}password = \"{MARK}\n"),
            format!("{mail}password = '{MARK}' x\n"),
            format!("{mail}password = ['{MARK}']\n"),
            format!("{mail}pasword = '{MARK}'\n"),
            format!("{mail}password = '{MARK}'\npassword = '{MARK}'\n"),
            format!("{mail}password = '{MARK}'\npassword_file = 'x'\n"),
            format!("[webhook.a]\nurl = 'http://h/{MARK}'\ntemplate = 'slack'\n"),
            format!("[webhook.a]\nurl = 'h/{MARK}'\ntemplate = 'slack'\n"),
            format!("[webhook.a]\nurl = 'https://u:{MARK}@h/'\ntemplate = 'slack'\n"),
            format!("[webhook.a]\nurl = 'https://h/{MARK}/b'\ntemplate = 'ntfy'\n"),
            format!("[webhook.a]\nurl = ['https://h/{MARK}']\ntemplate = 'ntfy'\n"),
            format!("[webhook.a]\nurl = 'https://h/'\nbody = '{{\"{MARK}\": }}'\n"),
            format!(
                "[webhook.a]\nurl = 'https://h/'\ntemplate = 'plain'\nheaders = {{ X = \"{MARK}\\n\" }}\n"
            ),
            format!("[webhook.a]\nurl = 'https://h/'\ntemplate = 'plain'\nheaders = '{MARK}'\n"),
        ] {
            scene.toml(&slip);
            scene.refused();
        }
    }),
];

#[test]
fn no_secret_shows_whatever_goes_wrong() {
    let leaks = Mutex::new(Vec::new());
    let left = Mutex::new(CASES.iter());
    let next = || left.lock().unwrap().next();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while let Some((name, case)) = next() {
                    let scene = Scene::new(name);
                    case(&scene);
                    scene.look_through_folder(scene.desk.path("").as_path());
                    leaks.lock().unwrap().extend(scene.leaks.into_inner().unwrap());
                }
            });
        }
    });
    let leaks = leaks.into_inner().unwrap();
    assert!(leaks.is_empty(), "\n{}", leaks.join("\n"));
}

/// The test would be worth nothing if it did not know the mark when it sees it.
#[test]
fn the_mark_is_known_in_its_clothes() {
    let forms = forms();
    let is_known = |text: &str| forms.iter().any(|form| text.contains(form));
    assert!(is_known(PASSWORD));
    // As AUTH PLAIN and AUTH LOGIN send it.
    assert!(is_known("AGxhdG1vbgBibGFuayAkMSBLeDlNQVJLRUR4OUsgXCAicSI="));
    assert!(is_known("YmxhbmsgJDEgS3g5TUFSS0VEeDlLIFwgInEi"));
    assert!(!is_known("YmxhbmsgJDEgS3g5TUFSS0VE"));
}

/// A folder in which one thing goes wrong.
struct Scene {
    name: &'static str,
    desk: Desk,
    /// The server hangs, and whoever mails waits for it: for people, six minutes are no test.
    hangs: AtomicBool,
    leaks: Mutex<Vec<String>>,
}

impl Scene {
    fn new(name: &'static str) -> Self {
        Self { name, desk: Desk::new(), hangs: AtomicBool::new(false), leaks: Mutex::default() }
    }

    /// A file that is meant to hold a secret, and is not looked through.
    fn file(&self, name: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt;
        self.desk.write(name, text);
        fs::set_permissions(self.desk.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn dotenv(&self, text: &str) {
        self.file(".env", text);
    }

    /// Settings with `more`, and a mail that waits to be sent.
    fn toml(&self, more: &str) {
        self.file(
            "latmon.toml",
            &format!("[defaults]\nstep = '1s'\npings = 2\n{more}\n[targets]\nhere = '127.0.0.1'\n"),
        );
        fs::create_dir_all(self.desk.path("outbox")).unwrap();
        let mail = "From: latmon <latmon@here>\r\nSubject: it waited\r\n\r\ntext\r\n";
        self.desk.write("outbox/1700000000.000000-waited.eml", mail);
    }

    /// A posting that waits for a webhook.
    fn posting(&self, way: &str) {
        let posting = format!(
            r#"{{"key": "k", "answers": null, "way": "webhook:{way}", "at": 1700000000000000, "state": "raised",
            "severity": "critical", "subject": "s", "text": "t", "monitor": "m", "alerts": []}}"#
        );
        self.desk.write(&format!("outbox/1700000000.000000-{way}.k.post.json"), &posting);
    }

    fn mail(&self, port: u16, tls: &str, more: &str) {
        self.file("password", &format!("{PASSWORD}\n"));
        self.toml(&format!(
            "[mail]\nfrom = 'a@example.org'\nto = ['b@example.org', 'c@example.org']\nserver = 'localhost'\nport = {port}\n\
             tls = '{tls}'\n{}{more}\n",
            "username = 'latmon'\npassword_file = 'password'\n"
        ));
    }

    /// A server that repeats the login in all it says, and fails at one step.
    fn parrot(&self, fails: &str, said: &str) {
        let verbs = self.desk.path("verbs");
        let (verb, manner) = fails.split_once(' ').unwrap();
        self.hangs.store(manner == "hang", Ordering::Relaxed);
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/parrot.py");
        let mut server = Command::new("python3")
            .args([script, verb, manner, verbs.to_str().unwrap()])
            .stdin(Port::closed().into_socket())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        let server = Server(server);
        self.mail(ready.trim().rsplit_once(' ').unwrap().1.parse().unwrap(), "none", "");
        let mut monitor = self.start(said, &[]);
        monitor.until(LIMIT, "the step that fails", |desk| {
            let verbs = fs::read_to_string(desk.path("verbs")).unwrap_or_default();
            (verb == "NONE" || verbs.lines().any(|heard| heard == verb)).then_some(())
        });
        monitor.signal(Signal::SIGTERM);
        monitor.ended(LIMIT);
        drop(server);
    }

    /// A run until it has `said` something, with every look that can be had at it meanwhile.
    fn run(&self, said: &str, environment: &[(&str, &str)]) {
        let mut monitor = self.start(said, environment);
        monitor.signal(Signal::SIGTERM);
        monitor.ended(LIMIT);
    }

    fn start(&self, said: &str, environment: &[(&str, &str)]) -> Running<'_> {
        let mut run = self.desk.latmon("run");
        run.envs(environment.iter().copied());
        let mut monitor = self.desk.start(&mut run);
        monitor.until(LIMIT, said, |desk| desk.read("log").contains(said).then_some(()));
        let is_given = environment.iter().any(|(_, value)| value.contains(MARK));
        self.look_at_processes(monitor.pid(), is_given);
        self.every_command(environment);
        monitor
    }

    /// Settings that are refused, by all that read them.
    fn refused(&self) {
        for words in ["run", "check", "doctor", "status", "graph here -o -"] {
            let output = self.desk.latmon(words).stdin(Stdio::null()).output().unwrap();
            assert!(!output.status.success(), "{}: {words}", self.name);
            self.look_through(words, &[output.stdout, output.stderr].concat());
        }
    }

    /// Every command that reads the settings or what a monitor left.
    fn every_command(&self, environment: &[(&str, &str)]) {
        for words in [
            "check",
            "check nobody",
            "doctor",
            "doctor --send-mail",
            "status",
            "status --json",
            "status nobody",
            "graph nobody -o -",
            "graph here -o /nowhere/x.png",
            "outbox",
            "outbox retry nobody",
            "ping --nonsense",
        ] {
            if words == "doctor --send-mail" && self.hangs.load(Ordering::Relaxed) {
                continue;
            }
            let output = self.desk.latmon(words).envs(environment.iter().copied()).output().unwrap();
            self.look_through(words, &[output.stdout, output.stderr].concat());
        }
    }

    /// What everybody on the machine may see of a process and its children, and what the same user may.
    fn look_at_processes(&self, pid: u32, is_given: bool) {
        for pid in [vec![pid], children(pid)].concat() {
            for file in ["cmdline", "comm", "status", "environ"] {
                // Its own environment is what it was given; its children's is up to it.
                if file == "environ" && is_given {
                    continue;
                }
                let content = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
                self.look_through(&format!("/proc/{pid}/{file}"), &content);
            }
        }
    }

    /// Everything below `folder` but what is meant to hold secrets.
    fn look_through_folder(&self, folder: &Path) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            self.look_through("the name of a file", name.as_bytes());
            if path.is_dir() {
                self.look_through_folder(&path);
            } else if !["latmon.toml", ".env", "password", "url", "token"].contains(&name.as_str()) {
                self.look_through(&path.display().to_string(), &fs::read(&path).unwrap_or_default());
            }
        }
    }

    fn look_through(&self, place: &str, content: &[u8]) {
        let text = String::from_utf8_lossy(content);
        for form in forms() {
            if let Some(at) = text.find(&form) {
                let from = text.floor_char_boundary(at.saturating_sub(60));
                let till = text.ceil_char_boundary((at + 40).min(text.len()));
                let leak = format!("{}: {place}: ..{}..", self.name, text[from..till].escape_debug());
                self.leaks.lock().unwrap().push(leak);
            }
        }
    }
}

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The processes that `pid` started, and those that these did.
fn children(pid: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    let direct: Vec<u32> =
        lists.flat_map(|list| list.split_whitespace().flat_map(str::parse).collect::<Vec<u32>>()).collect();
    direct.iter().flat_map(|child| [vec![*child], children(*child)].concat()).collect()
}

/// The mark as it is, and as base64 has it wherever in a text it stands.
fn forms() -> Vec<String> {
    let encoded = (0..3).map(|before| {
        let text = [&vec![0; before][..], MARK.as_bytes(), &[0; 3]].concat();
        // What the neighbours have no part in.
        let (from, till) = ((before * 8).div_ceil(6), (before + MARK.len()) * 8 / 6);
        base64(&text)[from..till].to_owned()
    });
    [MARK.to_owned()].into_iter().chain(encoded).collect()
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits = |chunk: &[u8]| {
        chunk.iter().fold(0, |bits: u32, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()))
    };
    let letter = |bits: u32, place: u32| char::from(LETTERS[(bits >> (18 - 6 * place) & 63) as usize]);
    bytes.chunks(3).flat_map(|chunk| (0..4).map(move |place| letter(bits(chunk), place))).collect()
}
