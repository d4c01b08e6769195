//! latmon: pings its targets, keeps the results in round robin archives that rrdtool reads and writes, draws them, and
//! mails when latency crosses a limit, when a line is down, and when the monitoring itself stops.
//!
//! # The floors
//!
//! ```text
//! 7  main.rs      prints and exits                                              (binary)
//! 6  cli/         one file per subcommand: what was typed -> what is decided     (binary)
//! 5  config       TOML + environment + .env -> each room's own Settings
//!    guardian     the small parent process that outlives the monitor
//! 4  monitor      the loop: Round in -> archive -> alert -> picture -> message
//! 3  archive/     Round -> rrd update; rrd fetch -> History; names, layout of data sources, journal, convert
//!    probe/       ICMP: schedule, sockets, wire format, names -> Round; whether our own uplink works
//!    alert/       Round -> Event -> Notice: what is told
//!    graph/       History -> PNG or SVG
//! 2  round        Target, Rtt, Ping, Round: loss, median, percentiles
//!    history      what was consolidated, ready to draw
//!    rrd/         the archive engine; knows nothing of pings
//!    mail/        compose, outbox, smtp, webhook, command; knows nothing of pings
//! 1  time         UnixTime, Step, durations; no clock in here
//!    privileges   who this process is, and how it gives up what it no longer needs
//!    whole        files that are there whole, or as they were before
//! ```
//!
//! Arrows go down only, and siblings on a floor never import each other; `tests/layers.rs` reads the sources and fails
//! where that is broken. Only `archive` knows both [`round::Round`] and [`rrd`]; only `graph` names plotters, `mail`
//! lettre, `rrd/map.rs` memmap2, `probe` socket2, etherparse and hickory_resolver, `config` toml, `cli` clap,
//! `privileges` caps.
//!
//! # The way of one result
//!
//! ```text
//! kernel -> probe::socket -> probe::icmp -> probe::schedule -> Round -> bounded channel
//! monitor:   archive.record(&rounds); for event in alerts.observe(&round) { desk.take(event) }
//!            for notice in desk.due(now) { state.json, and then composer.send(notice) }
//! composer:  notice -> archive history -> graph::smoke -> mail::Message -> outbox (on disk), and then off state.json
//! mailer:    outbox -> SMTP, again and again until the server has it
//! courier:   outbox -> webhooks and commands, each in a thread of its own
//! ```
//! A `Round` is made once, moved once, then only lent.

#![warn(clippy::unwrap_used)]

pub mod alert;
pub mod archive;
pub mod config;
pub mod graph;
pub mod guardian;
pub mod history;
pub mod mail;
pub mod monitor;
pub mod privileges;
pub mod probe;
pub mod round;
pub mod rrd;
pub mod time;
pub mod whole;
