//! `latmon status`: asks the running monitor how everything stands. Exit code 0: well, 1: an alert is open, 3: there is
//! no telling, because no monitor runs, or it measures nothing, or nothing of a target.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use glob::Pattern;
use latmon::monitor::control;
use latmon::monitor::status::{Ignored, MutedStatus, Outage, State, Status, TargetStatus};
use latmon::round::Rtt;
use latmon::time::{Lasted, UnixTime};

use super::settings::PlaceArgs;
use super::{Exit, Failure, output};

#[derive(clap::Args)]
pub(super) struct Args {
    /// Only these targets, well or not: names, each with all that is known of it, or patterns as 'fra/*' [default: those
    /// that are not well]
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
    /// One JSON object, on one line
    #[arg(long, conflicts_with = "quiet")]
    json: bool,
    /// Nothing but the exit code: 0 well, 1 an alert is open, 3 no monitor runs, it measures nothing, or a target is unknown
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    place: PlaceArgs,
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    let config = args.place.look().map_err(Failure::usage)?;
    let status = control::status(&config.data_dir.value).map_err(Failure::unknown)?;
    let chosen = choose(&status.targets, &args.targets)?;
    let exit = exit_of(status.stale, &chosen);
    let text = if args.quiet {
        return Ok(exit);
    } else if args.json {
        let targets = chosen.into_iter().cloned().collect();
        let json = serde_json::to_string(&Status { targets, ..status });
        json.expect("a status has no maps with other keys than texts") + "\n"
    } else {
        page(&status, &chosen, &args.targets, UnixTime::from(SystemTime::now()))
    };
    Ok(match output::print(&text) {
        Exit::Done => exit,
        failed => failed,
    })
}

/// The targets that are called or match one of `words`; all, where there are none.
fn choose<'a>(targets: &'a [TargetStatus], words: &[String]) -> Result<Vec<&'a TargetStatus>, Failure> {
    let mut chosen = vec![words.is_empty(); targets.len()];
    for word in words {
        // A name may have what a pattern would take for its own.
        let is_name = targets.iter().any(|target| target.target == *word);
        let pattern = match Pattern::new(word) {
            _ if is_name => None,
            Ok(pattern) => Some(pattern),
            Err(error) => return Err(Failure::usage(format!("'{word}' is no pattern: {error}"))),
        };
        let mut found = false;
        for (target, chosen) in targets.iter().zip(&mut chosen) {
            let name = &target.target;
            if pattern.as_ref().map_or(name == word, |pattern| pattern.matches(name)) {
                (*chosen, found) = (true, true);
            }
        }
        if !found {
            return Err(Failure::usage(format!(
                "the running monitor has no target '{word}': latmon status '*' shows all"
            )));
        }
    }
    Ok(targets.iter().zip(chosen).filter_map(|(target, chosen)| chosen.then_some(target)).collect())
}

/// How well the chosen targets are. An alert that is open is certain, whatever is not known beside it; but to one that is
/// muted somebody sees already. A target of which
/// nothing is known is not well, but nobody was told of it either: there is no telling, as where no monitor runs.
fn exit_of(is_stale: bool, chosen: &[&TargetStatus]) -> Exit {
    if is_stale {
        Exit::Unknown
    } else if chosen.iter().any(|target| is_alerting(target) && target.muted.is_none()) {
        Exit::Unwell
    } else if chosen.iter().any(|target| target.state == State::Unknown) {
        Exit::Unknown
    } else {
        Exit::Done
    }
}

/// True where an alert is open, also one about what is unknown.
fn is_alerting(target: &TargetStatus) -> bool {
    target.state.is_alerting() || !target.alerts.is_empty()
}

/// The page for people. What was chosen by `words` is shown well or not, and with all that is known of it where the word
/// is its name.
fn page(status: &Status, chosen: &[&TargetStatus], words: &[String], now: UnixTime) -> String {
    let mut text = format!("{}\n{}\n", first_line(status, now), summary(status, chosen));
    own_trouble(status, &mut text, now);
    oddities(status, &mut text);
    let is_shown =
        |target: &&TargetStatus| !words.is_empty() || target.state != State::Ok || target.muted.is_some();
    let mut shown: Vec<&TargetStatus> = chosen.iter().copied().filter(is_shown).collect();
    shown.sort_by_key(|target| (target.muted.is_some(), target.state));
    let rows: Vec<[String; 6]> = shown.iter().map(|target| row(target, now)).collect();
    let widths: [usize; 6] =
        std::array::from_fn(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0));
    for ([name, state, median, loss, since, reason], target) in rows.iter().zip(shown) {
        let [n, s, m, l, a, _] = widths;
        let line = format!("{name:n$}  {state:s$}  {median:>m$}  {loss:>l$}  {since:a$}  {reason}");
        text.push_str(line.trim_end());
        text.push('\n');
        if words.contains(&target.target) {
            details(target, &mut text);
        }
    }
    text
}

/// `running 12 d, last round 14:03 (24 s ago); 3 mails waiting since 13:40: smtp.example.org:465 timed out`
fn first_line(status: &Status, now: UnixTime) -> String {
    let mut line = format!("running {}", Ago(since(status.started, now)));
    let last = match status.last_round {
        Some(end) => format!("last round {} ({} ago)", clock(end, now), Ago(since(end, now))),
        None => "no round yet".to_owned(),
    };
    let stale = if status.stale { "STALE: " } else { "" };
    let _ = write!(line, ", {stale}{last}");
    let mails = &status.mails;
    match (mails.waiting, mails.since) {
        (0, _) | (_, None) => {}
        (1, Some(since)) => {
            let _ = write!(line, "; 1 mail waiting since {}", clock(since, now));
        }
        (count, Some(since)) => {
            let _ = write!(line, "; {count} mails waiting since {}", clock(since, now));
        }
    }
    match &mails.why {
        Some(why) if mails.waiting > 0 => line + ": " + why,
        _ => line,
    }
}

/// `300 targets: 296 ok, 2 alerting, 1 unknown`
fn summary(status: &Status, chosen: &[&TargetStatus]) -> String {
    let of =
        if chosen.len() == status.targets.len() { String::new() } else { format!("{} of ", chosen.len()) };
    let all = status.targets.len();
    let noun = if all == 1 { "target" } else { "targets" };
    let count = |wanted: &dyn Fn(&TargetStatus) -> bool| {
        chosen.iter().filter(|target| target.muted.is_none() && wanted(target)).count()
    };
    let of_state = |state| count(&|target| target.state == state && !is_alerting(target));
    let counts = [
        (of_state(State::Ok), "ok"),
        (count(&is_alerting), "alerting"),
        (of_state(State::Unknown), "unknown"),
        (of_state(State::Silent), "silent"),
        (of_state(State::Waiting), "waiting for a first round"),
        (chosen.iter().filter(|target| target.muted.is_some()).count(), "muted"),
    ];
    let words: Vec<String> = counts
        .iter()
        .enumerate()
        .filter(|(place, (count, _))| *place == 0 || *count > 0)
        .map(|(_, (count, word))| format!("{count} {word}"))
        .collect();
    format!("{of}{all} {noun}: {}", words.join(", "))
}

/// What this machine itself has lost, which no target is to be blamed for.
fn own_trouble(status: &Status, text: &mut String, now: UnixTime) {
    if let Some(Outage { since, why }) = &status.uplink {
        let _ = writeln!(text, "uplink: down since {}, {why}", clock(*since, now));
    }
    if status.rounds_dropped > 0 {
        let _ = writeln!(
            text,
            "rounds not recorded, since this machine did not keep up: {}",
            status.rounds_dropped
        );
    }
    if status.packets_dropped > 0 {
        let _ = writeln!(
            text,
            "packets without room in the receive buffer: {} (latmon doctor)",
            status.packets_dropped
        );
    }
}

/// What came in and did not count, and round trips that were not measured as they should be.
fn oddities(status: &Status, text: &mut String) {
    if status.ignored != Ignored::default() {
        let _ = writeln!(text, "replies that did not count: {}", ignored(&status.ignored));
    }
    if status.unstamped > 0 {
        let _ = writeln!(
            text,
            "sockets: {}; but {} pings left without a stamp of the kernel: their round trips are a little too long",
            status.sockets, status.unstamped
        );
    }
}

/// Name, state, median, loss, since, reason.
fn row(target: &TargetStatus, now: UnixTime) -> [String; 6] {
    let (state, begun, reason) = match &target.muted {
        Some(muted) => ("muted", String::new(), why_muted(target, muted, now)),
        None => {
            let begun = target.since.map(|at| Ago(since(at, now)).to_string());
            let reason = target.reason.clone().unwrap_or_default();
            (word(target.state), begun.unwrap_or_else(|| "-".to_owned()), reason)
        }
    };
    let median = target.median_us.and_then(|median| Rtt::from_secs_f64(median / 1e6));
    [
        target.target.clone(),
        state.to_owned(),
        median.map_or_else(|| "-".to_owned(), |median| median.to_string()),
        target.loss.map_or_else(|| "-".to_owned(), percent),
        begun,
        reason,
    ]
}

/// `1 h left, anna: "fibre work"`, and how it stands where that is not well.
fn why_muted(target: &TargetStatus, muted: &MutedStatus, now: UnixTime) -> String {
    let left = muted.until.map(|until| UnixTime::from_secs(until).since(now).unwrap_or_default());
    let left = left.map_or_else(String::new, |left| format!("{} left, ", Lasted(left)));
    let reason = if muted.reason.is_empty() { String::new() } else { format!(": \"{}\"", muted.reason) };
    let state = if target.state == State::Ok { String::new() } else { format!("{}, ", word(target.state)) };
    format!("{state}{left}{}{reason}", muted.by)
}

/// What a line has no room for.
fn details(target: &TargetStatus, text: &mut String) {
    let address = target.address.map(|address| address.to_string());
    let host = match address {
        Some(address) if address != target.host => format!("{}, {address}", target.host),
        _ => target.host.clone(),
    };
    let _ = writeln!(text, "  host    {host}");
    if !target.alerts.is_empty() {
        let _ = writeln!(text, "  alerts  {}", target.alerts.join(", "));
    }
    let _ = writeln!(text, "  ignored {}", ignored(&target.ignored));
}

/// `3 duplicate, 1 late`
fn ignored(ignored: &Ignored) -> String {
    let kinds = [
        (ignored.duplicates, "duplicate"),
        (ignored.late, "late"),
        (ignored.damaged, "damaged"),
        (ignored.wrong_source, "from another address"),
        (ignored.wrong_identifier, "with another identifier"),
        (ignored.truncated, "truncated"),
        (ignored.forged, "forged"),
        (ignored.impossible, "with impossible stamps"),
    ];
    let told: Vec<String> =
        kinds.iter().filter(|(count, _)| *count > 0).map(|(count, kind)| format!("{count} {kind}")).collect();
    if told.is_empty() { "none".to_owned() } else { told.join(", ") }
}

/// What asks for somebody stands in capitals.
fn word(state: State) -> &'static str {
    match state {
        State::Down => "DOWN",
        State::Slow => "SLOW",
        State::Lossy => "LOSSY",
        State::Unknown => "UNKNOWN",
        State::Silent => "silent",
        State::Waiting => "waiting",
        State::Ok => "ok",
    }
}

/// A share in whole percent, but never 0 or 100 for one that is neither.
fn percent(share: f64) -> String {
    match share * 100.0 {
        percent if percent > 0.0 && percent < 1.0 => "<1%".to_owned(),
        percent if percent > 99.0 && percent < 100.0 => ">99%".to_owned(),
        percent => format!("{percent:.0}%"),
    }
}

fn since(at: i64, now: UnixTime) -> Duration {
    // A clock that was set back has no past yet.
    now.since(UnixTime::from_secs(at)).unwrap_or_default()
}

/// `14:03` today, `2026-11-20 14:03` on other days.
fn clock(at: i64, now: UnixTime) -> String {
    let at = UnixTime::from_secs(at).local().civil;
    let is_today = at.date_naive() == now.local().civil.date_naive();
    at.format(if is_today { "%H:%M" } else { "%Y-%m-%d %H:%M" }).to_string()
}

/// How long something has lasted, in the largest unit that fits: `24 s`, `5 m`, `4 h`, `12 d`.
struct Ago(Duration);

impl std::fmt::Display for Ago {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (count, unit) = match self.0.as_secs() {
            secs if secs < 60 => (secs, "s"),
            secs if secs < 3600 => (secs / 60, "m"),
            secs if secs < 2 * 86_400 => (secs / 3600, "h"),
            secs => (secs / 86_400, "d"),
        };
        f.pad(&format!("{count} {unit}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use latmon::monitor::status::Mails;

    const NOON: i64 = 1_763_985_600; // 2025-11-24 12:00 UTC

    fn target(name: &str, state: State, ms: Option<f64>, loss: Option<f64>, since_secs: i64) -> TargetStatus {
        TargetStatus {
            target: name.into(),
            host: "192.0.2.1".into(),
            address: Some("192.0.2.1".parse().unwrap()),
            state,
            since: Some(NOON - since_secs),
            last_round: Some(NOON - 24),
            median_us: ms.map(|ms| ms * 1000.0),
            loss,
            alerts: Vec::new(),
            reason: None,
            muted: None,
            ignored: Ignored::default(),
        }
    }

    fn status(targets: Vec<TargetStatus>) -> Status {
        Status {
            version: "0.1.0".into(),
            pid: 1,
            started: NOON - 12 * 86_400,
            last_round: Some(NOON - 24),
            stale: false,
            sockets: "raw, IPv4 IPv6, kernel stamps".into(),
            rounds_dropped: 0,
            packets_dropped: 0,
            unstamped: 0,
            ignored: Ignored::default(),
            uplink: None,
            mails: Mails::default(),
            targets,
        }
    }

    fn shown(status: &Status, words: &[&str]) -> String {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let chosen = choose(&status.targets, &words).unwrap();
        page(status, &chosen, &words, UnixTime::from_secs(NOON))
    }

    /// The page that the design draws, as far as it goes without mutes and the usual.
    #[test]
    fn the_page_is_what_the_design_draws() {
        let mut targets: Vec<TargetStatus> =
            (0..296).map(|n| target(&format!("t{n}"), State::Ok, Some(20.0), Some(0.0), 86_400)).collect();
        targets.push(target("par/web", State::Unknown, None, None, 4 * 3600));
        targets.push(target("ams/edge1", State::Slow, Some(182.0), Some(0.0), 23 * 60));
        targets.push(target("fra/core2", State::Down, None, Some(1.0), 5 * 60));
        targets[296].reason = Some("the name does not resolve, last 198.51.100.7".into());
        targets[297].reason = Some("median > 100ms".into());
        let mut status = status(targets);
        status.mails = Mails {
            waiting: 3,
            since: Some(NOON - 1200),
            why: Some("smtp.example.org:465: timed out at the connection".into()),
        };
        let zone = UnixTime::from_secs(NOON).local().civil;
        let clock = |ago| (zone - chrono::TimeDelta::seconds(ago)).format("%H:%M").to_string();
        let expected = format!(
            "\
running 12 d, last round {} (24 s ago); 3 mails waiting since {}: smtp.example.org:465: timed out at the connection
299 targets: 296 ok, 2 alerting, 1 unknown
fra/core2  DOWN          -  100%  5 m
ams/edge1  SLOW     182 ms    0%  23 m  median > 100ms
par/web    UNKNOWN       -     -  4 h   the name does not resolve, last 198.51.100.7
",
            clock(24),
            clock(1200)
        );
        assert_eq!(shown(&status, &[]), expected);
    }

    #[test]
    fn who_is_muted_is_shown_last_with_who_wants_it_and_alerts_nobody() {
        let mut targets = ["a", "b", "lon/lab", "lon/x"]
            .map(|name| target(name, State::Ok, Some(31.0), Some(0.0), 60))
            .to_vec();
        let muted = |until: Option<i64>, by: &str, reason: &str| {
            Some(MutedStatus { until, by: by.into(), reason: reason.into() })
        };
        targets[2].muted = muted(Some(NOON + 4000), "anna", "fibre work");
        targets[3].muted = muted(None, "maintenance fibre", "");
        (targets[3].state, targets[1].state) = (State::Down, State::Slow);
        let text = shown(&status(targets), &[]);
        let lines: Vec<&str> = text.lines().skip(1).collect();
        assert_eq!(
            lines,
            [
                "4 targets: 1 ok, 1 alerting, 2 muted",
                "b        SLOW   31.0 ms  0%  1 m",
                "lon/x    muted  31.0 ms  0%       DOWN, maintenance fibre",
                "lon/lab  muted  31.0 ms  0%       1 h 6 min left, anna: \"fibre work\"",
            ]
        );
    }

    #[test]
    fn what_is_named_is_shown_well_or_not_with_all_that_is_known() {
        let names = ["fra/core1", "fra/core2", "ams/[1]", "ams/x"];
        let mut status = status(names.map(|name| target(name, State::Ok, Some(0.41), Some(0.05), 30)).into());
        status.targets[0].ignored = Ignored { duplicates: 3, forged: 1, ..Ignored::default() };
        let lines = |words| shown(&status, words).lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(
            lines(&["fra/*"]),
            ["2 of 4 targets: 2 ok", "fra/core1  ok  0.41 ms  5%  30 s", "fra/core2  ok  0.41 ms  5%  30 s"]
        );
        assert_eq!(
            lines(&["fra/core1", "fra/core2"]),
            [
                "2 of 4 targets: 2 ok",
                "fra/core1  ok  0.41 ms  5%  30 s",
                "  host    192.0.2.1",
                "  ignored 3 duplicate, 1 forged",
                "fra/core2  ok  0.41 ms  5%  30 s",
                "  host    192.0.2.1",
                "  ignored none",
            ]
        );
        assert_eq!(lines(&["ams/[1]"])[1], "ams/[1]  ok  0.41 ms  5%  30 s", "a name before a pattern");
        assert_eq!(lines(&["*"]).len(), 5);
        assert_eq!(choose(&status.targets, &["ber".into()]).unwrap_err().exit, Exit::Usage);
        assert_eq!(choose(&status.targets, &["[".into()]).unwrap_err().exit, Exit::Usage);
    }

    #[test]
    fn what_did_not_count_is_one_line_where_there_is_any() {
        let mut status = status(vec![target("a", State::Ok, Some(0.41), Some(0.0), 30)]);
        assert_eq!(shown(&status, &[]).lines().count(), 2);
        status.ignored = Ignored { duplicates: 3, late: 1, forged: 7, ..Ignored::default() };
        status.unstamped = 12;
        let text = shown(&status, &[]);
        assert_eq!(
            text.lines().skip(2).collect::<Vec<_>>(),
            [
                "replies that did not count: 3 duplicate, 1 late, 7 forged",
                "sockets: raw, IPv4 IPv6, kernel stamps; but 12 pings left without a stamp of the kernel: their round trips \
                 are a little too long",
            ]
        );
    }

    #[test]
    fn zero_means_that_all_is_known_to_be_well() {
        let exit = |states: &[State], is_stale| {
            let targets: Vec<_> = states.iter().map(|state| target("t", *state, None, None, 30)).collect();
            exit_of(is_stale, &targets.iter().collect::<Vec<_>>())
        };
        assert_eq!(exit(&[State::Ok, State::Silent, State::Waiting], false), Exit::Done);
        assert_eq!(exit(&[State::Ok, State::Unknown], false), Exit::Unknown);
        assert_eq!(exit(&[State::Unknown, State::Lossy], false), Exit::Unwell, "an open alert is certain");
        assert_eq!(exit(&[State::Down], true), Exit::Unknown, "that was known once");
        let told =
            TargetStatus { alerts: vec!["blind".into()], ..target("t", State::Unknown, None, None, 30) };
        assert_eq!(exit_of(false, &[&told]), Exit::Unwell, "somebody was told of what is unknown");
        assert!(shown(&status(vec![told]), &[]).contains("1 target: 0 ok, 1 alerting\nt  UNKNOWN"));
    }

    #[test]
    fn the_first_line_says_what_is_not_as_it_should_be() {
        let mut status = status(Vec::new());
        status.stale = true;
        let line = first_line(&status, UnixTime::from_secs(NOON + 300));
        assert!(line.contains(", STALE: last round ") && line.ends_with(" (5 m ago)"), "{line}");
        (status.stale, status.last_round, status.started) = (false, None, NOON - 3);
        assert_eq!(first_line(&status, UnixTime::from_secs(NOON)), "running 3 s, no round yet");
    }

    #[test]
    fn a_loss_that_is_neither_none_nor_all_is_not_rounded_to_it() {
        assert_eq!([0.0, 0.004, 0.05, 0.996, 1.0].map(percent), ["0%", "<1%", "5%", ">99%", "100%"]);
    }
}
