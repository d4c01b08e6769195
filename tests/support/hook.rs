//! A real HTTPS server for tests, to which webhooks post: `hook_server.py`.
//!
//! It listens on 127.0.0.1 and ends when it is dropped. In a test file: `mod support { pub mod hook; pub mod smtp; }`.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::smtp::Port;

/// A running server.
#[derive(Debug)]
pub struct Hook {
    /// Its port on 127.0.0.1.
    pub port: u16,
    folder: tempfile::TempDir,
    server: Child,
}

/// A request that the server got.
#[derive(Clone, Debug)]
pub struct Posted {
    /// `POST /x HTTP/1.1`.
    pub request: String,
    /// Its headers, names in small letters.
    pub headers: Vec<(String, String)>,
    /// What was posted.
    pub body: serde_json::Value,
}

impl Hook {
    /// Starts a server with the `certificates` of a folder, or without TLS where there is none; it answers each request
    /// in turn as `hook_server.py` says, and then all with 200.
    pub fn start(certificates: Option<&Path>, answers: &str) -> Self {
        Self::start_on(Port::closed(), certificates, answers)
    }

    /// As [`Hook::start`], on a port that refused connections until now.
    pub fn start_on(port: Port, certificates: Option<&Path>, answers: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut command = Command::new("python3");
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/hook_server.py"));
        command.arg("--folder").arg(folder.path()).args(["--answers", answers]);
        if let Some(certificates) = certificates {
            command.arg("--certificate").arg(certificates.join("server.pem"));
            command.arg("--key").arg(certificates.join("server.key"));
        }
        let mut server =
            command.stdin(port.into_socket()).stdout(Stdio::piped()).spawn().expect("python3 starts");
        let mut ready = String::new();
        let output = server.stdout.take().expect("its output is a pipe");
        BufReader::new(output).read_line(&mut ready).expect("its first line");
        let port = ready.trim().strip_prefix("ready ").and_then(|port| port.parse().ok());
        let Some(port) = port else {
            let _ = server.kill();
            panic!("hook_server.py did not get ready: {:?}", server.wait());
        };
        Self { port, folder, server }
    }

    /// The requests in the order they came, as soon as there are `count`.
    ///
    /// # Panics
    /// When there are fewer after `timeout`.
    pub fn wait_for(&self, count: usize, timeout: Duration) -> Vec<Posted> {
        let deadline = Instant::now() + timeout;
        while self.posted().len() < count {
            assert!(Instant::now() < deadline, "{} of {count} after {timeout:?}", self.posted().len());
            thread::sleep(Duration::from_millis(20));
        }
        self.posted()
    }

    /// The requests that came so far.
    pub fn posted(&self) -> Vec<Posted> {
        (1..)
            .map(|number| self.folder.path().join(format!("{number:04}.done")))
            .take_while(|done| done.exists())
            .map(|done| {
                let head = fs::read_to_string(done.with_extension("head")).expect("the server wrote it");
                let body = fs::read(done.with_extension("body")).expect("the server wrote it");
                let field = |line: &str| {
                    let (name, value) = line.split_once(": ")?;
                    Some((name.to_ascii_lowercase(), value.to_owned()))
                };
                Posted {
                    request: head.lines().next().unwrap_or_default().to_owned(),
                    headers: head.lines().skip(1).filter_map(field).collect(),
                    body: serde_json::from_slice(&body).expect("JSON"),
                }
            })
            .collect()
    }
}

impl Drop for Hook {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

impl Posted {
    /// The header called `name`; empty where there is none.
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(header, _)| header == name);
        found.map_or("", |(_, value)| value.as_str())
    }
}
