//! A real SMTP server for tests: `smtp_server.py` on Debian's python3-aiosmtpd, with a certificate made for it.
//!
//! ```no_run
//! let smtp = Smtp::start(Mode::Implicit);
//! // ... run the program with SSL_CERT_FILE=smtp.ca_file against localhost:smtp.port, as USER with PASSWORD ...
//! let mails = smtp.wait_for(1, Duration::from_secs(20));
//! ```
//! It listens on 127.0.0.1, its certificate is for `localhost` and 127.0.0.1, and it ends when it is dropped. In a test
//! file: `mod support { pub mod smtp; }`.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use std::env;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

/// The user name that a server with a login knows.
pub const USER: &str = "latmon";
/// That user's password, with what an app password or a careful person may put into one.
pub const PASSWORD: &str = "s3cr$t \\with blanks";

/// How the server wants to be spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// TLS from the first byte, login required.
    Implicit,
    /// STARTTLS offered and required, login required.
    StartTls,
    /// Neither offered nor required, no login.
    Plain,
}

/// What else may be said of a server.
#[derive(Debug, Default)]
pub struct Options<'a> {
    /// The port to listen on; one that is free, where none is given.
    pub port: Option<Port>,
    /// Certificates to use instead of new ones.
    pub certificates: Option<&'a Path>,
    /// What each transaction in turn gets, with commas between: `ok`, `refuse-recipient`, `550:boss+451:noc` (the code for
    /// each recipient whose address has the word), `close-in-data` and `hang-in-data` (after 354), `close-after-data` (the mail is kept, the reply never sent), or the reply to the data, with `_` for blanks:
    /// `451_4.3.0_later`. After the last, and without any: `ok`.
    pub answers: &'a str,
    /// A mechanism of login that is not offered: `PLAIN`.
    pub without_mechanism: &'a str,
}

/// A running server.
#[derive(Debug)]
pub struct Smtp {
    /// Its port on 127.0.0.1.
    pub port: u16,
    /// The CA that signed its certificate, for SSL_CERT_FILE.
    pub ca_file: PathBuf,
    /// Where it keeps what it took; `smtp_server.py` says how.
    pub maildir: PathBuf,
    server: Child,
    _folder: tempfile::TempDir,
}

/// A mail that the server took.
#[derive(Clone, Debug)]
pub struct Received {
    /// The sender of the envelope.
    pub from: String,
    /// The recipients of the envelope.
    pub to: Vec<String>,
    /// The mail as it came.
    pub raw: Vec<u8>,
    /// Its headers in order, decoded by Python's email package, each on one line.
    pub headers: Vec<(String, String)>,
    /// The leaves of its MIME tree, decoded by Python's email package.
    pub parts: Vec<Part>,
    /// The MIME tree: `mixed(text/plain image/png)`.
    pub structure: String,
}

/// A part of a mail.
#[derive(Clone, Debug)]
pub struct Part {
    /// `text/plain`.
    pub media_type: String,
    /// Empty where the part has none.
    pub file_name: String,
    /// Empty where the part has none.
    pub content_id: String,
    /// Its content.
    pub bytes: Vec<u8>,
}

impl Smtp {
    /// Starts a server with certificates of its own on a free port.
    pub fn start(mode: Mode) -> Self {
        Self::with(mode, Options::default())
    }

    /// Starts a server as `options` say.
    pub fn with(mode: Mode, options: Options<'_>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let certificates = match options.certificates {
            Some(certificates) => certificates.to_owned(),
            None => {
                make_certificates(folder.path(), "DNS:localhost,IP:127.0.0.1", 2);
                folder.path().to_owned()
            }
        };
        let maildir = folder.path().join("mails");
        fs::create_dir(&maildir).expect("a folder for mails");
        let mut command = Command::new(python());
        command
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/smtp_server.py"))
            .args(["--mode", mode.name(), "--answers", options.answers])
            .args(["--without-mechanism", options.without_mechanism])
            .arg("--folder")
            .arg(&maildir)
            .arg("--certificate")
            .arg(certificates.join("server.pem"))
            .arg("--key")
            .arg(certificates.join("server.key"));
        if mode != Mode::Plain {
            command.args(["--user", USER, "--password", PASSWORD]);
        }
        // It listens on what is its standard input: nobody can take the port meanwhile.
        let port = options.port.unwrap_or_else(Port::closed);
        let mut server = command.stdin(port.socket).stdout(Stdio::piped()).spawn().expect("python3 starts");
        let mut ready = String::new();
        let output = server.stdout.take().expect("its output is a pipe");
        BufReader::new(output).read_line(&mut ready).expect("its first line");
        let port = ready.trim().strip_prefix("ready ").and_then(|port| port.parse().ok());
        let Some(port) = port else {
            let _ = server.kill();
            panic!("smtp_server.py did not get ready: {:?}", server.wait());
        };
        Self { port, ca_file: certificates.join("ca.pem"), maildir, server, _folder: folder }
    }

    /// The mails in the order they came, as soon as there are `count`.
    ///
    /// # Panics
    /// When there are fewer after `timeout`.
    pub fn wait_for(&self, count: usize, timeout: Duration) -> Vec<Received> {
        let deadline = Instant::now() + timeout;
        while self.received().len() < count {
            assert!(
                Instant::now() < deadline,
                "{} of {count} mails after {timeout:?}",
                self.received().len()
            );
            thread::sleep(Duration::from_millis(20));
        }
        self.received()
    }

    /// The mails that came so far.
    pub fn received(&self) -> Vec<Received> {
        (1..)
            .map(|number| self.maildir.join(format!("{number:04}.done")))
            .take_while(|done| done.exists())
            .map(|done| Received::read(&done))
            .collect()
    }

    /// The commands that came so far, without what came with them: `EHLO`, `AUTH`, `MAIL`.
    pub fn verbs(&self) -> Vec<String> {
        let verbs = fs::read_to_string(self.maildir.join("verbs")).unwrap_or_default();
        verbs.lines().map(ToOwned::to_owned).collect()
    }

    /// Waits until this command has come `count` times.
    ///
    /// # Panics
    /// When it has not after `timeout`.
    pub fn wait_for_verb(&self, verb: &str, count: usize, timeout: Duration) {
        let deadline = Instant::now() + timeout;
        while self.verbs().iter().filter(|seen| *seen == verb).count() < count {
            assert!(Instant::now() < deadline, "no {verb} after {timeout:?}: {:?}", self.verbs());
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Smtp {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

impl Mode {
    fn name(self) -> &'static str {
        match self {
            Self::Implicit => "implicit",
            Self::StartTls => "starttls",
            Self::Plain => "plain",
        }
    }
}

impl Received {
    /// The header called `name`, decoded; empty where there is none.
    ///
    /// # Panics
    /// When there are several.
    pub fn header(&self, name: &str) -> &str {
        let found: Vec<&str> = self
            .headers
            .iter()
            .filter(|(header, _)| header.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
            .collect();
        assert!(found.len() < 2, "{name} stands there {} times", found.len());
        found.first().copied().unwrap_or_default()
    }

    /// The text for people.
    pub fn text(&self) -> String {
        let part = self.parts.iter().find(|part| part.media_type == "text/plain").expect("a text");
        String::from_utf8(part.bytes.clone()).expect("UTF-8")
    }

    /// The same as HTML.
    pub fn html(&self) -> String {
        let part = self.parts.iter().find(|part| part.media_type == "text/html").expect("HTML");
        String::from_utf8(part.bytes.clone()).expect("UTF-8")
    }

    fn read(done: &Path) -> Self {
        let file = |ending: &str| fs::read(done.with_extension(ending)).expect("the server wrote it");
        let text = |ending: &str| String::from_utf8(file(ending)).expect("the server writes UTF-8");
        let envelope = text("envelope");
        let mut addresses = envelope.lines().map(ToOwned::to_owned);
        let headers = text("headers");
        let header =
            |line: &str| line.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned()));
        let parts = (0..)
            .map(|number| format!("part.{number}"))
            .take_while(|ending| done.with_extension(ending).exists())
            .map(|ending| {
                let kind = text(&format!("{ending}.type"));
                let told: Vec<String> = kind.split('\n').map(ToOwned::to_owned).collect();
                let [media_type, file_name, content_id] = told.try_into().expect("three lines");
                Part { media_type, file_name, content_id, bytes: file(&ending) }
            });
        Self {
            from: addresses.next().expect("a sender"),
            to: addresses.collect(),
            raw: file("raw"),
            headers: headers.lines().filter_map(header).collect(),
            parts: parts.collect(),
            structure: String::from_utf8(file("structure")).expect("UTF-8"),
        }
    }
}

/// Makes a CA (`ca.pem`) in `folder` and a certificate it signed (`server.pem`, `server.key`) for `names`, in the form
/// of OpenSSL's subjectAltName, good for so many days; with 0 it ends in the second it was made in.
pub fn make_certificates(folder: &Path, names: &str, days: u32) {
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    let openssl = |arguments: &[&str]| {
        let output = Command::new("openssl").args(arguments).current_dir(folder).output();
        let output = output.expect("openssl starts: apt-get install openssl");
        assert!(output.status.success(), "openssl: {}", String::from_utf8_lossy(&output.stderr));
    };
    let extensions = format!("subjectAltName={names}\nbasicConstraints=critical,CA:FALSE\n");
    fs::write(folder.join("extensions"), extensions).expect("a file for openssl");
    // Every CA has a name of its own, as in the world: two of one name are told apart by their signatures only.
    let issuer = format!("/CN=latmon test CA {}", folder.file_name().unwrap_or_default().to_string_lossy());
    let ca = ["req", "-x509", "-days", "2", "-subj", &issuer, "-keyout", "ca.key", "-out", "ca.pem"];
    openssl(&[&ca[..], &key].concat());
    let request = ["req", "-subj", "/CN=latmon test", "-keyout", "server.key", "-out", "server.csr"];
    openssl(&[&request[..], &key].concat());
    openssl(&[
        "x509",
        "-req",
        "-in",
        "server.csr",
        "-CA",
        "ca.pem",
        "-CAkey",
        "ca.key",
        "-CAcreateserial",
        "-days",
        &days.to_string(),
        "-extfile",
        "extensions",
        "-out",
        "server.pem",
    ]);
}

/// A port of 127.0.0.1 that refuses connections, and that nobody else gets, until a server is started on it or it is
/// dropped.
#[derive(Debug)]
pub struct Port {
    /// Its number.
    pub number: u16,
    socket: OwnedFd,
}

impl Port {
    /// One that was free.
    pub fn closed() -> Self {
        Self::closed_at(Ipv4Addr::LOCALHOST)
    }

    /// One that was free at another address of this machine, or of the thread's network.
    pub fn closed_at(address: Ipv4Addr) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::from((address, 0)).into()).expect("a free port");
        let address = socket.local_addr().ok().and_then(|address| address.as_socket_ipv4());
        Self { number: address.expect("it was bound").port(), socket: socket.into() }
    }

    /// The socket, for a server to listen on.
    pub fn into_socket(self) -> OwnedFd {
        self.socket
    }
}

/// A Python that has aiosmtpd: Debian's own, or else the first in PATH.
fn python() -> &'static str {
    let has_aiosmtpd = |python: &&str| {
        let mut check = Command::new(python);
        check.args(["-c", "import aiosmtpd.smtp"]).stderr(Stdio::null());
        check.status().is_ok_and(|status| status.success())
    };
    ["/usr/bin/python3", "python3"]
        .into_iter()
        .find(has_aiosmtpd)
        .expect("no python3 has aiosmtpd: apt-get install python3-aiosmtpd")
}

/// Runs `scenario` in a process that trusts the CA of the certificates it is given, for localhost.
pub fn trusting(test: &str, scenario: impl FnOnce(&Path)) {
    trusting_one("DNS:localhost,IP:127.0.0.1", 2, test, scenario);
}

/// Runs `scenario` in a process that trusts the CA of the certificates it is given, for `names` and so many days.
pub fn trusting_one(names: &str, days: u32, test: &str, scenario: impl FnOnce(&Path)) {
    if let Some(certificates) = env::var_os("LATMON_TEST_CERTIFICATES") {
        return scenario(Path::new(&certificates));
    }
    let certificates = tempfile::tempdir().unwrap();
    make_certificates(certificates.path(), names, days);
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env("LATMON_TEST_CERTIFICATES", certificates.path())
        .env("SSL_CERT_FILE", certificates.path().join("ca.pem"))
        .env_remove("SSL_CERT_DIR")
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{stdout}\n{stderr}");
    assert!(stdout.contains("1 passed"), "'{test}' is the name of no test: {stdout}");
}
