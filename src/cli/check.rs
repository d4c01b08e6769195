//! `latmon check`: the settings that hold, each with where it comes from.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::{self, Write};
use std::sync::Arc;

use latmon::alert::desk::quiet::Maintenance;
use latmon::alert::pattern::Semantics;
use latmon::alert::rule::{Judge, Rule};
use latmon::archive;
use latmon::config::{
    self, Config, EchoConfig, Origin, ProbeConfig, Setting, TargetConfig, TellingConfig, UplinkConfig,
    WayConfig,
};
use latmon::mail::Tls;
use latmon::probe::Anchors;
use latmon::time::Spelled;

use super::settings::SettingsArgs;
use super::{Exit, Failure, output};

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    settings: SettingsArgs,
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    let config = args.settings.load_named()?;
    let mut text = Vec::new();
    print(&config, &mut text).map_err(Failure::failed)?;
    Ok(output::print(&String::from_utf8_lossy(&text)))
}

/// Writes the settings for people to read: a screen for one target, a table for many.
fn print(config: &Config, out: &mut impl Write) -> io::Result<()> {
    let mut page = Page::default();
    match &config.file {
        Some(file) => page.line("file", file.display(), None),
        None => page.line("file", "none", None),
    }
    page.setting("data", config.data_dir.value.display(), &config.data_dir.origin);
    if let Some(user) = &config.user {
        page.setting("user", &user.value, &user.origin);
    }
    let table = config.targets.len() > MOST_BLOCKS;
    if table {
        page.line("archives", config.data_dir.value.join("NAME.rrd").display(), None);
    } else {
        config.targets.iter().for_each(|target| describe_target(&mut page, config, target));
    }
    describe_pace(&mut page, &config.pace);
    describe_uplink(&mut page, &config.uplink);
    describe_telling(&mut page, &config.telling);
    describe_mail(&mut page, config);
    config.ways.iter().for_each(|way| describe_way(&mut page, way));
    page.print(out)?;
    if table {
        print_table(&config.targets, out)?;
        print_rules(&config.targets, out)?;
    }
    writeln!(out)?;
    writeln!(out, "{}", sums(&config.targets))?;
    config.warnings.iter().try_for_each(|warning| writeln!(out, "warning: {warning}"))
}

fn describe_target(page: &mut Page, config: &Config, target: &TargetConfig) {
    page.gap();
    page.line("target", &target.target.name, Some(&target.origin));
    page.line("  host", &target.target.host, None);
    page.setting("  step", target.step.value, &target.step.origin);
    page.setting("  pings", target.pings.value, &target.pings.origin);
    page.setting("  timeout", Spelled(target.timeout.value), &target.timeout.origin);
    describe_echo(page, &target.echo, config.targets.len() == 1);
    if let Some(parent) = &target.parent {
        page.setting("  parent", &parent.value, &parent.origin);
    }
    if target.alerts.value.is_empty() {
        page.setting("  alerts", "none", &target.alerts.origin);
    }
    for (index, rule) in target.alerts.value.iter().enumerate() {
        page.setting(if index == 0 { "  alerts" } else { "" }, written(&rule.value), &rule.origin);
    }
    let path = config.data_dir.value.join(archive::file_name(&target.target.name));
    page.line("  archive", path.display(), None);
}

/// The echoes of a target. What nobody said is shown only where `all` of it is wanted: of many targets it would hide what
/// somebody did say.
fn describe_echo(page: &mut Page, echo: &EchoConfig, all: bool) {
    let EchoConfig { payload, ttl, dscp, dont_fragment, source, interface, any_source, family } = echo;
    let or_systems = |said: Option<String>| said.unwrap_or_else(|| "the system's choice".to_owned());
    let lines = [
        ("  payload", payload.value.to_string(), &payload.origin),
        ("  ttl", or_systems(ttl.value.map(|ttl| ttl.to_string())), &ttl.origin),
        ("  dscp", code_point(dscp.value), &dscp.origin),
        ("  dont_fragment", dont_fragment.value.to_string(), &dont_fragment.origin),
        ("  source", or_systems(source.value.map(|source| source.to_string())), &source.origin),
        ("  interface", or_systems(interface.value.clone()), &interface.origin),
        ("  family", family.value.to_string(), &family.origin),
        ("  any_source", any_source.value.to_string(), &any_source.origin),
    ];
    for (label, value, origin) in lines.into_iter().filter(|(_, _, origin)| all || origin.is_outright()) {
        page.setting(label, value, origin);
    }
}

/// `46 (EF)`.
fn code_point(dscp: u8) -> String {
    match config::dscp_name(dscp) {
        Some(name) => format!("{dscp} ({name})"),
        None => dscp.to_string(),
    }
}

/// How the prober goes about all targets.
fn describe_pace(page: &mut Page, pace: &ProbeConfig) {
    page.gap();
    let ProbeConfig { collect, packets_per_sec, in_flight, resolve_every } = pace;
    page.line("probe", "how all echoes leave", None);
    page.setting("  collect", Spelled(collect.value), &collect.origin);
    page.setting("  packets_per_sec", packets_per_sec.value, &packets_per_sec.origin);
    page.setting("  in_flight", in_flight.value, &in_flight.origin);
    page.setting("  resolve_every", Spelled(resolve_every.value), &resolve_every.origin);
}

fn describe_uplink(page: &mut Page, uplink: &UplinkConfig) {
    page.gap();
    page.line("uplink", "who tells whether it is us", None);
    let Setting { value, origin } = &uplink.anchors;
    let shown = match value {
        Anchors::Gateways => "the gateways in use".to_owned(),
        Anchors::These(none) if none.is_empty() => "none: only routes and carriers tell".to_owned(),
        Anchors::These(these) => these.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    };
    page.setting("  anchor", shown, origin);
}

/// How notices are made of alerts.
fn describe_telling(page: &mut Page, telling: &TellingConfig) {
    page.gap();
    let TellingConfig { settle, max_per_hour, maintenance } = telling;
    page.line("alerts", "how they are told", None);
    page.setting("  settle", Spelled(settle.value), &settle.origin);
    page.setting("  max_per_hour", max_per_hour.value, &max_per_hour.origin);
    for (index, planned) in maintenance.iter().enumerate() {
        let Maintenance { name, when, targets, .. } = &planned.value;
        let text = format!("{name}: {when}, {}", targets.join(", "));
        page.setting(if index == 0 { "  maintenance" } else { "" }, text, &planned.origin);
    }
}

fn written(rule: &Rule) -> String {
    format!("{}: {}", rule.name, judged(rule))
}

/// `median > 100ms, for 2 of 3, clear 3 of 3, repeat 1d`: the words of the settings, and behind them what few rules say.
fn judged(rule: &Rule) -> String {
    let mut said = vec![rule.judge.to_string()];
    match &rule.judge {
        Judge::Pattern(pattern) if pattern.semantics() == Semantics::SmokePingExact => {
            said.push("smokeping-exact".to_owned());
        }
        Judge::Pattern(_) => {}
        Judge::Down | Judge::Compare(_) | Judge::Aberrant => {
            said.push(format!("for {}, clear {}", rule.raise, rule.clear));
        }
    }
    said.push(match rule.repeat {
        Some(Rule::EACH_ROUND) => "told with each round".to_owned(),
        Some(repeat) => format!("repeat {}", Spelled(repeat)),
        None => "told once".to_owned(),
    });
    if rule.severity != rule.judge.severity() {
        said.push(rule.severity.to_string());
    }
    if !rule.to.is_empty() {
        said.push(format!("to {}", rule.to.join(" ")));
    }
    if let Some(hours) = &rule.hours {
        said.push(format!("hours {hours}"));
    }
    said.join(", ")
}

fn describe_mail(page: &mut Page, config: &Config) {
    page.gap();
    let (Some(mail), Some(origins)) = (&config.mail, &config.mail_origins) else {
        page.line("mail", "nobody is told: set EMAIL_SENDER, or write [mail]", None);
        return;
    };
    page.setting("mail from", &mail.from, &origins.from);
    for (index, address) in mail.to.iter().enumerate() {
        page.setting(if index == 0 { "  to" } else { "" }, address, &origins.to);
    }
    page.setting("  server", &mail.server.host, &origins.server);
    page.setting("  port", mail.server.port, &origins.port);
    page.setting("  tls", tls(mail.server.tls), &origins.tls);
    match (&mail.server.login, &origins.username, &origins.password) {
        (Some(login), Some(username), Some(password)) => {
            page.setting("  username", &login.username, username);
            page.setting("  password", "***", password);
        }
        _ => page.line("  username", "none: the server is not logged in to", None),
    }
    if let (Some(server), Some(origin)) = (&mail.fallback, &origins.fallback) {
        let login = server.login.as_ref().map(|login| format!(", as {}", login.username)).unwrap_or_default();
        let place = format!("{}:{}, tls {}{login}", server.host, server.port, tls(server.tls));
        page.setting("  fallback", place, origin);
    }
    let every_end = &config.mail_every_end;
    page.setting("  exit", if every_end.value { "always" } else { "unplanned" }, &every_end.origin);
}

fn tls(tls: Tls) -> &'static str {
    match tls {
        Tls::Implicit => "implicit",
        Tls::StartTls => "starttls",
        Tls::None => "none: everybody on the way can read the mails",
    }
}

fn describe_way(page: &mut Page, way: &WayConfig) {
    page.gap();
    let (kind, name) = way.way.name.split_once(':').unwrap_or(("", &way.way.name));
    page.setting(kind.to_owned(), name, &way.origin);
    for (key, said) in &way.said {
        page.setting(format!("  {key}"), &said.value, &said.origin);
    }
}

/// Labels, values and origins in three columns.
#[derive(Default)]
struct Page(Vec<(Cow<'static, str>, String, String)>);

impl Page {
    fn line(&mut self, label: impl Into<Cow<'static, str>>, value: impl Display, origin: Option<&Origin>) {
        self.0.push((label.into(), value.to_string(), origin.map(Origin::to_string).unwrap_or_default()));
    }

    fn setting(&mut self, label: impl Into<Cow<'static, str>>, value: impl Display, origin: &Origin) {
        self.line(label, value, Some(origin));
    }

    fn gap(&mut self) {
        self.line("", "", None);
    }

    fn print(&self, out: &mut impl Write) -> io::Result<()> {
        // One value of great length must not push all origins off the screen.
        let with_origin = self.0.iter().filter(|(_, _, origin)| !origin.is_empty());
        let width =
            with_origin.map(|(_, value, _)| value.chars().count()).max().unwrap_or(0).min(WIDEST_VALUE);
        for (label, value, origin) in &self.0 {
            let line = format!("{label:LABEL$}{value:width$}  {origin}");
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

fn print_table(targets: &[TargetConfig], out: &mut impl Write) -> io::Result<()> {
    let head = ["target", "host", "step", "pings", "timeout", "alerts", "from"].map(str::to_owned);
    let body = targets.iter().map(|target| {
        let names: Vec<&str> = target.alerts.value.iter().map(|rule| rule.value.name.as_str()).collect();
        [
            target.target.name.clone(),
            target.target.host.clone(),
            target.step.value.to_string(),
            target.pings.value.to_string(),
            Spelled(target.timeout.value).to_string(),
            if names.is_empty() { "none".to_owned() } else { names.join(" ") },
            target.origin.to_string(),
        ]
    });
    print_columns(std::iter::once(head).chain(body).collect(), out)
}

/// Every rule that some target has, once.
fn print_rules(targets: &[TargetConfig], out: &mut impl Write) -> io::Result<()> {
    let rules: BTreeMap<&str, &Setting<Arc<Rule>>> = targets
        .iter()
        .flat_map(|target| &target.alerts.value)
        .map(|rule| (rule.value.name.as_str(), rule))
        .collect();
    let head = ["alert", "when", "from"].map(str::to_owned);
    let body =
        rules.iter().map(|(name, rule)| [(*name).to_owned(), judged(&rule.value), rule.origin.to_string()]);
    print_columns(std::iter::once(head).chain(body).collect(), out)
}

fn print_columns<const N: usize>(rows: Vec<[String; N]>, out: &mut impl Write) -> io::Result<()> {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    writeln!(out)?;
    for row in &rows {
        let cells: Vec<String> =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        writeln!(out, "{}", cells.join("  ").trim_end())?;
    }
    Ok(())
}

fn sums(targets: &[TargetConfig]) -> String {
    let packets: f64 = targets.iter().map(TargetConfig::packets_per_sec).sum();
    let noun = if targets.len() == 1 { "target" } else { "targets" };
    format!("{} {noun}, {packets:.2} packets/s", targets.len())
}

const MOST_BLOCKS: usize = 20;
const LABEL: usize = 19;
const WIDEST_VALUE: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    use std::collections::BTreeMap;

    use latmon::config::{Options, Surroundings, load};

    fn printed(variables: &[(&str, &str)], toml: Option<&str>) -> String {
        let folder = tempfile::tempdir().unwrap();
        if let Some(toml) = toml {
            std::fs::write(folder.path().join("latmon.toml"), toml).unwrap();
        }
        let mut environment: BTreeMap<_, _> =
            variables.iter().map(|(key, value)| (key.into(), value.into())).collect();
        environment.insert("LATMON_DATA_DIR".into(), "/data".into());
        let surroundings = Surroundings {
            variables: environment,
            working_dir: folder.path().to_owned(),
            system_file: folder.path().join("none.toml"),
        };
        let config = load(&Options::default(), &surroundings).unwrap();
        let mut page = Vec::new();
        print(&config, &mut page).unwrap();
        String::from_utf8(page).unwrap()
    }

    #[test]
    fn one_target_is_one_screen_without_the_password() {
        let variables = [
            ("PING_HOST", "2001:db8::1"),
            ("LATENCY_THRESHOLD", "100"),
            ("EMAIL_SENDER", "me@gmail.com"),
            ("EMAIL_PASSWORD", "hush-hush"),
        ];
        let expected = "\
file               none
data               /data                                                           LATMON_DATA_DIR

target             2001:db8::1                                                     PING_HOST
  host             2001:db8::1
  step             60s                                                             default
  pings            20                                                              default
  timeout          1500ms                                                          default
  payload          56                                                              default
  ttl              the system's choice                                             default
  dscp             0 (CS0)                                                         default
  dont_fragment    false                                                           default
  source           the system's choice                                             default
  interface        the system's choice                                             default
  family           any                                                             default
  any_source       false                                                           default
  alerts           down: no ping answered, for 1 of 1, clear 3 of 3, repeat 1d     default
                   threshold: median > 100ms, for 1 of 1, clear 3 of 3, repeat 1d  LATENCY_THRESHOLD
  archive          /data/2001_db8__1.rrd

probe              how all echoes leave
  collect          10ms                                                            default
  packets_per_sec  100000                                                          default
  in_flight        1000000                                                         default
  resolve_every    5m                                                              default

uplink             who tells whether it is us
  anchor           the gateways in use                                             default

alerts             how they are told
  settle           10s                                                             default
  max_per_hour     20                                                              default

mail from          me@gmail.com                                                    EMAIL_SENDER
  to               me@gmail.com                                                    default
  server           smtp.gmail.com                                                  default
  port             465                                                             default
  tls              implicit                                                        default
  username         me@gmail.com                                                    EMAIL_SENDER
  password         ***                                                             EMAIL_PASSWORD
  exit             always                                                          default

1 target, 0.33 packets/s
";
        assert_eq!(printed(&variables, None), expected);
    }

    #[test]
    fn many_targets_are_a_table_and_each_rule_stands_once() {
        let targets: String = (1..=21).map(|n| format!("t{n} = \"192.0.2.{n}\"\n")).collect();
        let toml = format!(
            "[defaults]\nalerts = [\"slow\"]\n[alert.slow]\nwhen = \"p95 > 1s\"\n[targets]\n{targets}"
        );
        let page = printed(&[], Some(&toml));
        let lines: Vec<&str> = page.lines().collect();
        assert!(lines.contains(&"archives           /data/NAME.rrd"), "{page}");
        assert!(lines.contains(&"target  host        step  pings  timeout  alerts     from"), "{page}");
        assert!(
            lines.contains(&"t21     192.0.2.21  60s   20     1500ms   down slow  latmon.toml:26"),
            "{page}"
        );
        assert_eq!(lines.iter().filter(|line| line.starts_with("slow ")).count(), 1, "{page}");
        assert_eq!(lines.last(), Some(&"21 targets, 7.00 packets/s"));
    }

    #[test]
    fn of_several_targets_only_what_somebody_said_of_their_echoes_is_shown() {
        let page = printed(
            &[],
            Some("[defaults]\ndscp = \"EF\"\n[targets]\na = { host = \"::1\", ttl = 9 }\nb = \"::1\"\n"),
        );
        let dscp =
            |line: &&str| line.starts_with("  dscp             46 (EF) ") && line.ends_with(" latmon.toml:2");
        assert_eq!(page.lines().filter(dscp).count(), 2, "{page}");
        assert_eq!(page.matches("  ttl ").count(), 1, "{page}");
        assert!(!page.contains("payload"), "{page}");
    }

    #[test]
    fn a_rule_is_shown_with_all_that_is_said_of_it() {
        let page = printed(
            &[],
            Some(
                "[targets]\na = { host = \"::1\", alerts = [\"far\", \"odd\", \"old\", \"new\"] }\n\
                 [alert.far]\nwhen = \"average > 2.5x usual\"\nseverity = \"critical\"\nhours = \"Mon-Fri 8:00-18:00\"\n\
                 to = [\"a@example.org\", \"b@example.org\"]\n[alert.odd]\nwhen = \"aberrant\"\nrepeat = \"never\"\n\
                 [alert.old]\ntype = \"loss\"\npattern = \">1%,*3*,>1%\"\nsemantics = \"smokeping-exact\"\n\
                 edgetrigger = false\n[alert.new]\ntype = \"rtt\"\npattern = \">1\"\nseverity = \"info\"\n",
            ),
        );
        for line in [
            "far: average > 2.5 x usual, for 2 of 3, clear 3 of 3, repeat 1d, critical, to a@example.org b@example.org, \
             hours mon-fri 08:00-18:00  latmon.toml:3",
            "odd: aberrant, for 1 of 1, clear 3 of 3, told once ",
            "old: >1%,*3*,>1%, smokeping-exact, told with each round ",
            "new: >1, repeat 1d, info ",
        ] {
            assert!(page.contains(line), "{line}\nin {page}");
        }
    }

    #[test]
    fn what_is_absent_is_said() {
        let page = printed(&[], Some("[targets]\na = { host = \"::1\", alerts = [] }\n"));
        assert!(page.contains("\n  alerts           none                 latmon.toml:2\n"), "{page}");
        assert!(
            page.contains("\nmail               nobody is told: set EMAIL_SENDER, or write [mail]\n"),
            "{page}"
        );
    }
}
