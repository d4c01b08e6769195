//! A line for each thing that happens, while somebody watches.

use std::collections::HashSet;
use std::io::{self, Write};
use std::net::IpAddr;

use latmon::probe::{LookEvent, LookSettings, Odd};

/// The lines; none where nobody watches.
pub(super) struct Lines {
    shown: bool,
    names: Vec<Name>,
    /// The pings that an ICMP error was shown for: that nothing more came is no news.
    refused: HashSet<(usize, u32)>,
}

struct Name {
    /// What was typed, where that is not the address.
    host: Option<String>,
    address: IpAddr,
}

impl Lines {
    pub(super) fn new(settings: &LookSettings, shown: bool) -> Self {
        let name = |it: &latmon::probe::LookTarget| {
            let address = it.address.ip();
            Name { host: Some(it.target.host.clone()).filter(|host| *host != address.to_string()), address }
        };
        let names: Vec<Name> = settings.targets.iter().map(name).collect();
        Self { shown, refused: HashSet::new(), names }
    }

    /// Whether anything is shown at all.
    pub(super) fn is_shown(&self) -> bool {
        self.shown
    }

    /// Shows an event; fails where standard output does.
    pub(super) fn show(&mut self, target: usize, event: &LookEvent) -> io::Result<()> {
        if !self.shown {
            return Ok(());
        }
        let Some(line) = self.line(target, event) else { return Ok(()) };
        let mut out = io::stdout().lock();
        writeln!(out, "{line}").and_then(|()| out.flush())
    }

    fn line(&mut self, target: usize, event: &LookEvent) -> Option<String> {
        let name = &self.names[target];
        Some(match event {
            LookEvent::Answered { ping, from, rtt, ttl, bytes } => {
                self.refused.remove(&(target, *ping));
                let ttl = ttl.map_or_else(String::new, |ttl| format!(" ttl={ttl}"));
                format!("{bytes} bytes from {}: seq={}{ttl} time={rtt}", name.of(*from), ping + 1)
            }
            LookEvent::Lost { ping } if self.refused.remove(&(target, *ping)) => return None,
            LookEvent::Lost { ping } => format!("no reply from {}: seq={}", name.of(name.address), ping + 1),
            LookEvent::Unknown { ping, fault } => {
                format!("unknown for {}: seq={}: {fault}", name.of(name.address), ping + 1)
            }
            LookEvent::Refused { ping, reason, from } => {
                self.refused.insert((target, *ping));
                format!("error for {}: seq={}: {reason}, says {from}", name.of(name.address), ping + 1)
            }
            LookEvent::Odd { ping, odd, from, rtt } => {
                let seq = ping.map_or_else(String::new, |ping| format!(" seq={}", ping + 1));
                let time = rtt.map_or_else(String::new, |rtt| format!(" time={rtt}"));
                format!("does not count: {} from {}:{seq}{time}", a(*odd), name.of(*from))
            }
        })
    }
}

impl Name {
    /// `fra.example.org (192.0.2.1)`, or only the address where another one answered or none was typed.
    fn of(&self, from: IpAddr) -> String {
        match &self.host {
            Some(host) if from == self.address => format!("{host} ({from})"),
            _ => from.to_string(),
        }
    }
}

fn a(odd: Odd) -> &'static str {
    match odd {
        Odd::Duplicate => "a duplicate",
        Odd::Late => "a late reply",
        Odd::Damaged => "a damaged reply",
        Odd::WrongSource => "a reply of another host",
        Odd::Truncated => "a reply of another length",
        Odd::Forged => "a forged reply",
        Odd::Identifier => "a reply with another identifier",
    }
}
