//! An outbox in a folder of its own, mails to put there, and settings that lead to a test's server.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a helper that fails, fails its test")]

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use latmon::mail::{Limits, Login, Mailer, Message, Outbox, Secret, Server, Settings, Tls, compose};
use latmon::time::UnixTime;

use super::smtp::{PASSWORD, Smtp, USER};

/// Long enough for two pauses of the mailer, on a busy machine.
pub const LONG: Duration = Duration::from_secs(60);

/// A data folder with an outbox.
pub struct Place {
    pub data: tempfile::TempDir,
    pub outbox: Outbox,
}

impl Place {
    pub fn new() -> Self {
        let data = tempfile::tempdir().unwrap();
        let outbox = Outbox::open(data.path()).unwrap();
        Self { data, outbox }
    }

    pub fn put(&self, message: &Message, settings: Option<&Settings>) -> PathBuf {
        self.outbox.put(message, &compose(message, settings, "mon1").unwrap()).unwrap().path
    }

    pub fn mailer(&self, settings: Option<Settings>) -> Mailer {
        Mailer::start(self.outbox.clone(), settings).unwrap()
    }

    /// The mails in a folder, oldest first.
    pub fn mails_in(folder: &std::path::Path) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.retain(|file| file.extension().is_some_and(|ending| ending == "eml"));
        files.sort();
        files
    }

    /// What lies in a folder, but for locks.
    pub fn files(&self, folder: &str) -> Vec<PathBuf> {
        let files = fs::read_dir(self.data.path().join(folder)).unwrap().map(|entry| entry.unwrap().path());
        files.filter(|file| !file.file_name().unwrap().to_string_lossy().ends_with(".lock")).collect()
    }
}

pub fn message(key: &str, at: i64) -> Message {
    Message {
        key: key.into(),
        in_reply_to: None,
        to: Vec::new(),
        subject: format!("subject of {key}"),
        text: format!("text of {key}\n"),
        html: None,
        attachments: Vec::new(),
        is_urgent: false,
        date: UnixTime::from_secs(at),
    }
}

pub fn settings(smtp: &Smtp, tls: Tls) -> Settings {
    let mut settings = settings_for("localhost", smtp.port, tls);
    if tls != Tls::None {
        let login = Login { username: USER.into(), password: Secret::new(PASSWORD) };
        settings.server.login = Some(login);
    }
    settings
}

pub fn settings_for(host: &str, port: u16, tls: Tls) -> Settings {
    Settings {
        from: "latmon@example.org".parse().unwrap(),
        to: vec!["noc@example.org".parse().unwrap(), "boss@example.net".parse().unwrap()],
        server: Server { host: host.into(), port, tls, login: None },
        fallback: None,
        limits: Limits::USUAL,
    }
}

/// The mailer's trouble, as soon as it has one.
pub fn trouble(mailer: &Mailer) -> String {
    let deadline = Instant::now() + LONG;
    loop {
        if let Some(trouble) = mailer.trouble() {
            return trouble;
        }
        assert!(Instant::now() < deadline, "no trouble after {LONG:?}");
        thread::sleep(Duration::from_millis(10));
    }
}
