//! SIGKILL at random moments, to the monitor, to the guardian and to both, while a line goes down and comes back: every
//! outage and every end is told, each under one Message-ID. Needs root, for the network, and python3-aiosmtpd, for the mail
//! server.
//!
//! `LATMON_TEST_CASES` says how often each of them is killed (100 takes half an hour), `LATMON_TEST_SEED` repeats the moments
//! as far as time can be repeated.

mod support {
    pub(crate) mod latmon;
    pub(crate) mod net;
    pub(crate) mod smtp;
}

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::sys::signal::Signal;
use support::latmon::{Desk, kill_and_wait, monitor_of, send};
use support::net::{Net, answer, ms, silence};
use support::smtp::{Mode, Smtp};

const LIMIT: Duration = Duration::from_secs(120);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Monitor,
    Guardian,
    Both,
}

/// A run, by the process that is its guardian now.
struct Storm<'a> {
    desk: &'a Desk,
    child: Child,
    guardian: u32,
}

impl<'a> Storm<'a> {
    fn start(desk: &'a Desk) -> Self {
        let log = File::options().append(true).create(true).open(desk.path("log")).unwrap();
        let mut run = desk.latmon("run");
        let child = run.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let guardian = child.id();
        Self { desk, child, guardian }
    }

    fn greetings(&self) -> usize {
        self.desk.read("log").matches(" targets, sockets: ").count()
    }

    fn until<T>(&mut self, what: &str, mut found: impl FnMut(&Self) -> Option<T>) -> T {
        let deadline = Instant::now() + LIMIT;
        loop {
            if let Some(found) = found(self) {
                return found;
            }
            assert!(Instant::now() < deadline, "no {what} within {LIMIT:?}:\n{}", self.desk.read("log"));
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn kill(&mut self, victim: Victim) {
        let guardian = self.guardian;
        let monitor = self.until("monitor", |_| monitor_of(guardian));
        match victim {
            Victim::Monitor => send(monitor, Signal::SIGKILL),
            Victim::Guardian => {
                send(guardian, Signal::SIGKILL);
                self.guardian = monitor;
            }
            Victim::Both => {
                send(monitor, Signal::SIGKILL);
                kill_and_wait(guardian);
                let _ = self.child.wait();
                kill_and_wait(monitor);
                // What another process was just told to write is written, or killed too.
                *self = Self::start(self.desk);
            }
        }
    }
}

impl Drop for Storm<'_> {
    fn drop(&mut self) {
        send(self.guardian, Signal::SIGSTOP);
        monitor_of(self.guardian).into_iter().for_each(kill_and_wait);
        send(self.guardian, Signal::SIGKILL);
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn no_end_and_no_outage_goes_untold() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let cases = number("LATMON_TEST_CASES").unwrap_or(2).min(1000);
    let mut state = number("LATMON_TEST_SEED").unwrap_or_else(|| now().to_bits()) | 1;
    println!("LATMON_TEST_SEED={state} LATMON_TEST_CASES={cases}");
    let mut random = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let mut victims: Vec<Victim> = [Victim::Monitor, Victim::Guardian, Victim::Both]
        .into_iter()
        .flat_map(|it| vec![it; cases as usize])
        .collect();
    for place in (1..victims.len()).rev() {
        victims.swap(place, random(place as u64 + 1) as usize);
    }

    let net = Net::new();
    // Each goes down once: none of them flaps.
    let hosts: Vec<String> = (1..=2 + cases).map(|n| format!("198.18.{}.{}", n / 250, 1 + n % 250)).collect();
    let mut targets = String::new();
    for (host, number) in hosts.iter().zip(1..) {
        net.host(host, answer().delay(ms(5)));
        targets += &format!("t{number} = '{host}'\n");
    }
    let smtp = Smtp::start(Mode::Plain);
    let desk = Desk::new();
    desk.write(
        "latmon.toml",
        &format!(
            "[defaults]\nstep = '1s'\npings = 3\ntimeout = '500ms'\n[alerts]\nsettle = '1s'\nmax_per_hour = 1000\n[mail]\nfrom = \
             'latmon@example.org'\nto = ['noc@example.org']\nserver = '127.0.0.1'\nport = {}\ntls = 'none'\n[targets]\n{targets}",
            smtp.port
        ),
    );
    let mut storm = Storm::start(&desk);
    storm.until("first monitor", |storm| (storm.greetings() > 0).then_some(()));
    let mut outages = (1_usize..).zip(&hosts).peekable();
    let mut is_down = false;
    let mut killed: BTreeMap<&str, usize> = BTreeMap::new();
    // An outage ends once its mail is safe: of one that is shorter than that, nobody may know who was killed.
    let is_told = |number: usize| {
        let folders = ["outbox", "sent"].map(|folder| fs::read_dir(desk.path(folder)).unwrap());
        let key = format!("-t{number}-down-");
        folders.into_iter().flatten().any(|file| file.unwrap().file_name().to_string_lossy().contains(&key))
    };
    for victim in victims {
        match outages.peek() {
            Some((number, host)) if is_down && is_told(*number) && random(2) == 0 => {
                net.host(host, answer().delay(ms(5)));
                is_down = false;
                outages.next();
            }
            Some((_, host)) if !is_down && random(3) < 2 => {
                net.host(host, silence());
                is_down = true;
            }
            _ => {}
        }
        std::thread::sleep(ms(random(3000)));
        let before = storm.greetings();
        storm.kill(victim);
        *killed
            .entry(match victim {
                Victim::Monitor => "monitor",
                Victim::Guardian => "guardian",
                Victim::Both => "both",
            })
            .or_default() += 1;
        storm.until("monitor after it", |storm| (storm.greetings() > before).then_some(()));
    }
    // The last outage ends, and then all does.
    if is_down && let Some((number, host)) = outages.next() {
        storm.until("word of the last outage", |_| is_told(number).then_some(()));
        net.host(host, answer().delay(ms(5)));
    }
    let all_well = format!("{0} targets: {0} ok", hosts.len());
    storm.until("its end", |storm| {
        let output = storm.desk.done("status");
        String::from_utf8_lossy(&output.stdout).contains(&all_well).then_some(())
    });
    let guardian = storm.guardian;
    send(guardian, Signal::SIGTERM);
    storm.until("end of all", |storm| {
        let _ = storm.child_has_ended();
        let status = fs::read_to_string(format!("/proc/{guardian}/status")).unwrap_or_default();
        (status.is_empty() || status.contains("\nState:\tZ")).then_some(())
    });
    assert!(desk.outbox().is_empty(), "all was sent: {:?}", desk.outbox().len());

    let mails = smtp.received();
    let told = Told::of(&mails);
    println!(
        "killed {killed:?}; {} mails, {} of them once more under the same Message-ID; {told:?}",
        mails.len(),
        mails.len() - told.ids.len(),
    );
    let log = desk.read("log");
    let kills: usize = killed.values().sum();
    assert!(told.ends >= kills, "{} ends are told, {kills} were made:\n{}", told.ends, tail(&log));
    assert!(told.guardians + told.unlisted + told.gaps >= killed["guardian"], "{told:?}");
    assert!(told.gaps + told.unlisted + told.deaths >= killed["both"] + killed["monitor"], "{told:?}");
    assert_eq!(told.opened, told.closed, "every outage that was told has one end that answers it");
    for name in (1..=hosts.len()).map(|number| format!("t{number} ")) {
        let is_announced = log.lines().any(|line| line.contains(&format!("WARN {name}")));
        assert!(
            !is_announced || mails.iter().any(|mail| mail.header("Subject").contains(&name)),
            "the outage of {name} is told to nobody:\n{}",
            log.lines().filter(|line| line.contains(&name)).collect::<Vec<_>>().join("\n")
        );
    }
    assert!(!log.contains("panicked"), "{}", tail(&log));
}

impl Storm<'_> {
    /// Takes the child away that may have ended, so that it is no zombie.
    fn child_has_ended(&self) -> bool {
        nix::sys::wait::waitpid(
            nix::unistd::Pid::from_raw(self.child.id() as i32),
            Some(nix::sys::wait::WaitPidFlag::WNOHANG),
        )
        .is_ok()
    }
}

/// What the mails say.
#[derive(Debug, Default)]
struct Told {
    ids: BTreeSet<String>,
    /// Ends of all kinds.
    ends: usize,
    deaths: usize,
    guardians: usize,
    gaps: usize,
    /// Ends of which no mail says the kind any more.
    unlisted: usize,
    /// The Message-IDs of outages, and those that recoveries answer.
    opened: BTreeSet<String>,
    closed: BTreeSet<String>,
}

impl Told {
    fn of(mails: &[support::smtp::Received]) -> Self {
        let mut told = Self::default();
        for mail in mails {
            let id = mail.header("Message-ID").to_owned();
            if !told.ids.insert(id.clone()) {
                continue;
            }
            let (subject, text) = (mail.header("Subject"), mail.text());
            if subject.contains("DOWN") {
                told.opened.insert(id);
            } else if subject.contains(" OK") {
                told.closed.insert(mail.header("In-Reply-To").to_owned());
            } else if subject.contains("GAP") {
                told.gaps += 1;
            } else if subject.contains("RESTARTED") || text.contains("Before that it ended") {
                told.restarted(&text);
            }
        }
        told.ends = told.deaths + told.guardians + told.gaps + told.unlisted;
        told
    }

    /// The end that a mail is about, and those it lists.
    fn restarted(&mut self, text: &str) {
        let listed = text.lines().filter(|line| line.starts_with("  ") && line.contains("  it "));
        let unlisted: usize = text
            .lines()
            .find_map(|line| line.trim().strip_suffix(" times, which are not listed, and")?.parse().ok())
            .unwrap_or(0);
        for line in listed.chain(text.lines().next()) {
            if line.contains("lost its guardian") { self.guardians += 1 } else { self.deaths += 1 }
        }
        self.unlisted += unlisted;
    }
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(80)..].join("\n")
}
