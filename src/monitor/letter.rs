//! What mails and log lines say. Pure: events and pasts in, text out.

use std::fmt::Write;
use std::net::IpAddr;
use std::time::Duration;

use super::{End, Settings};
use crate::alert::{Event, EventKind, Notice, Story, Trouble};
use crate::history::{History, Row};
use crate::mail::Message;
use crate::round::{Rtt, Target};
use crate::time::{Lasted, UnixTime};

/// How many rounds the table of a mail shows.
const TABLE_ROWS: usize = 12;

/// `fra/core1 (192.0.2.2)`; the name alone where it is the host.
pub(super) fn title(target: &Target) -> String {
    if target.name == target.host {
        target.name.clone()
    } else {
        format!("{} ({})", target.name, target.host)
    }
}

/// The line that the log gets.
pub(super) fn log_line(event: &Event) -> String {
    format!("{}: {} [{}: {}]", title(&event.target), headline(event), event.rule, event.condition)
}

/// The mail about a notice that tells one event, without its picture.
pub(super) fn alert(notice: &Notice, event: &Event, past: Option<&History>, host: &str) -> Message {
    let mut text = format!("{} {}.\n\n", asked(&event.target, event.address), headline(event));
    fact(&mut text, "since", &stamp(event.since));
    if let EventKind::Cleared { lasted } = event.kind {
        fact(&mut text, "lasted", &Lasted(lasted).to_string());
    }
    let now = match event.median {
        Some(median) => format!("median {median}, {} loss", percent(event.loss_ratio)),
        None => "no ping answered (100 % loss)".to_owned(),
    };
    fact(&mut text, "now", &format!("{now}, in the round that ended at {}", stamp(event.at)));
    if event.kind != EventKind::Raised {
        fact(&mut text, "worst", &worst(event));
    }
    fact(&mut text, "usual", &usual(past, event.since));
    fact(&mut text, "rule", &format!("{}: {}", event.rule, event.condition));
    if let Some(past) = past {
        text.push_str("\nThe last rounds (end, median, loss):\n");
        let until = past.rows.partition_point(|row| row.end <= event.at);
        let last = &past.rows[until.saturating_sub(TABLE_ROWS)..until];
        for row in last.iter().skip_while(|row| row.loss_ratio.is_none()) {
            text.push_str(&table_line(row));
        }
        text.push_str("\nThe attached picture shows the last 24 hours.\n");
    }
    sign(&mut text, host);
    Message {
        key: notice.key.clone(),
        in_reply_to: notice.answers.clone(),
        subject: format!("[latmon] {}: {} {}", status_word(event), title(&event.target), headline(event)),
        text,
        attachments: Vec::new(),
        date: event.at,
    }
}

/// The mail about a notice that tells more than one event, or of none.
pub(super) fn summary(notice: &Notice, host: &str) -> Message {
    let (headline, events) = match &notice.story {
        Story::Alert(event) => (headline(event), std::slice::from_ref(event)),
        Story::Together { events, of, behind } => {
            let behind = behind.as_ref().map(|name| format!(" behind {name}")).unwrap_or_default();
            (format!("{} of {of} targets{behind}", events.len()), &events[..])
        }
        Story::Flapping { event, changes, .. } => {
            (format!("comes and goes: {changes} changes"), std::slice::from_ref(event))
        }
        Story::Steady { event, changes, .. } => {
            (format!("is steady again after {changes} changes"), std::slice::from_ref(event))
        }
        Story::Digest { events, more, .. } => (format!("{} more alerts", events.len() + more), &events[..]),
        Story::Offline { since, why } => (format!("offline since {}: {why}", stamp(*since)), &[][..]),
        Story::Online { lasted, .. } => (format!("online again after {}", Lasted(*lasted)), &[][..]),
    };
    let mut text = format!("{headline}\n\n");
    for event in events {
        let _ = writeln!(text, "{}", log_line(event));
    }
    sign(&mut text, host);
    Message {
        key: notice.key.clone(),
        in_reply_to: notice.answers.clone(),
        subject: format!("[latmon] {headline}"),
        text,
        attachments: Vec::new(),
        date: notice.at,
    }
}

/// The mail that says that the monitoring itself has ended.
pub(super) fn exit(settings: &Settings, end: &End, started: UnixTime, now: UnixTime) -> Message {
    let (reason, subject) = match end {
        End::Told(what) => (format!("It was told to stop: {what}."), "stopped"),
        End::Panicked(reason) => (format!("It ended by a fault of its own: {reason}."), "crashed"),
    };
    let targets = &settings.probe.targets;
    let ran = now.since(started).unwrap_or(Duration::ZERO);
    let mut text = format!(
        "latmon on {} has stopped: nothing is measured, and no alert will come, until it is started again.\n\n\
         {reason}\n\nPlease restart the monitor: 'systemctl start latmon' where it is a service, else 'latmon run'.\n\n",
        settings.host
    );
    fact(&mut text, "started", &stamp(started));
    fact(&mut text, "stopped", &format!("{}, after {}", stamp(now), Lasted(ran)));
    fact(&mut text, "data", &settings.archive.data_dir.display().to_string());
    let watched: Vec<String> = targets.iter().take(20).map(|target| title(&target.target)).collect();
    let more = targets.len().saturating_sub(watched.len());
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    fact(&mut text, "targets", &format!("{}{more}", watched.join(", ")));
    sign(&mut text, &settings.host);
    Message {
        key: format!("monitor-exit-{}", now.micros()),
        in_reply_to: None,
        subject: format!(
            "[latmon] STOPPED: the monitor on {} has {subject}, please restart it",
            settings.host
        ),
        text,
        attachments: Vec::new(),
        date: now,
    }
}

/// What happened, as the rest of a sentence that begins with the target.
fn headline(event: &Event) -> String {
    if let EventKind::Cleared { lasted } = event.kind {
        let back = match event.trouble {
            Trouble::Down => "answers again",
            Trouble::Slow => "is as fast as it should be again",
            Trouble::Lossy => "no longer loses pings",
        };
        return format!("{back} after {}", Lasted(lasted));
    }
    let still = if event.kind == EventKind::Repeated { "still " } else { "" };
    match (event.trouble, event.median) {
        (Trouble::Down, _) | (_, None) => format!("{still}does not answer"),
        (Trouble::Slow, Some(median)) => format!("is {still}slow: median {median}"),
        (Trouble::Lossy, _) => format!("{still}loses {} of its pings", percent(event.loss_ratio)),
    }
}

/// The subject's first word, by which a mailbox sorts.
fn status_word(event: &Event) -> &'static str {
    match (event.kind, event.trouble) {
        (EventKind::Cleared { .. }, _) => "OK",
        (_, Trouble::Down) => "DOWN",
        (_, Trouble::Slow) => "SLOW",
        (_, Trouble::Lossy) => "LOSSY",
    }
}

/// `core1 (fra1.example.net, 192.0.2.2)`, each part once.
fn asked(target: &Target, address: Option<IpAddr>) -> String {
    let address = address.map(|address| address.to_string()).filter(|address| *address != target.host);
    match (target.name == target.host, address) {
        (true, None) => target.name.clone(),
        (true, Some(address)) => format!("{} ({address})", target.name),
        (false, None) => format!("{} ({})", target.name, target.host),
        (false, Some(address)) => format!("{} ({}, {address})", target.name, target.host),
    }
}

fn worst(event: &Event) -> String {
    match event.worst_median {
        Some(median) => format!("median {median}, {} loss", percent(event.worst_loss_ratio)),
        None => format!("{} loss", percent(event.worst_loss_ratio)),
    }
}

/// The median of the medians before the trouble, and the mean loss.
fn usual(past: Option<&History>, since: UnixTime) -> String {
    let before: Vec<&Row> =
        past.map(|past| past.rows.iter().filter(|row| row.end < since).collect()).unwrap_or_default();
    let mut medians: Vec<Rtt> = before.iter().filter_map(|row| row.median).collect();
    medians.sort_unstable();
    let losses: Vec<f64> = before.iter().filter_map(|row| row.loss_ratio).collect();
    match medians.get(medians.len() / 2) {
        Some(median) => {
            let loss = losses.iter().sum::<f64>() / losses.len() as f64;
            format!("median {median}, {} loss (over the 24 hours before)", percent(loss))
        }
        None if losses.is_empty() => "not known: nothing was measured before".to_owned(),
        None => "no ping answered in the 24 hours before".to_owned(),
    }
}

fn table_line(row: &Row) -> String {
    let time = row.end.local().civil.format("%H:%M:%S");
    let median = row.median.map_or_else(|| "-".to_owned(), |median| median.to_string());
    let loss = row.loss_ratio.map_or_else(|| "not measured".to_owned(), percent);
    format!("  {time}  {median:>9}  {loss:>6}\n")
}

/// A share as whole percent, but never 0 or 100 for one that is neither.
pub(super) fn percent(ratio: f64) -> String {
    match ratio * 100.0 {
        share if share > 0.0 && share < 0.05 => "< 0.1 %".to_owned(),
        share if share > 0.0 && share < 1.0 => format!("{share:.1} %"),
        share if share > 99.0 && share < 100.0 => format!("{:.1} %", (share * 10.0).floor() / 10.0),
        share => format!("{share:.0} %"),
    }
}

fn stamp(time: UnixTime) -> String {
    let local = time.local();
    format!("{} {}", local.civil.format("%a %Y-%m-%d %H:%M:%S"), local.zone)
}

fn fact(text: &mut String, name: &str, value: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{name:<9}{value}");
}

fn sign(text: &mut String, host: &str) {
    let _ = write!(text, "\n-- \nlatmon {} on {host}\n", env!("CARGO_PKG_VERSION"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::Severity;
    use crate::time::Step;
    use std::sync::Arc;

    fn event(kind: EventKind, trouble: Trouble, median: Option<u64>) -> Event {
        Event {
            target: Arc::new(Target { name: "fra/core1".into(), host: "core1.example.net".into() }),
            address: Some([192, 0, 2, 2].into()),
            rule: "lossy".into(),
            condition: "loss >= 20%".into(),
            trouble,
            severity: Severity::Warning,
            to: Vec::new(),
            kind,
            since: UnixTime::from_secs(1_700_000_040),
            at: UnixTime::from_secs(1_700_000_340),
            rounds: 6,
            median: median.map(|ms| Rtt::new(Duration::from_millis(ms))),
            worst_median: Some(Rtt::new(Duration::from_millis(80))),
            usual: None,
            loss_ratio: 0.25,
            worst_loss_ratio: 0.5,
            says: None,
        }
    }

    fn mail(event: &Event, past: Option<&History>) -> Message {
        alert(&Notice::of_event(event.clone()), event, past, "mon")
    }

    #[test]
    fn subjects_say_what_happened() {
        let subject = |kind, trouble, median| mail(&event(kind, trouble, median), None).subject;
        let cleared = EventKind::Cleared { lasted: Duration::from_secs(1380) };
        assert_eq!(
            [
                subject(EventKind::Raised, Trouble::Down, None),
                subject(EventKind::Raised, Trouble::Slow, Some(182)),
                subject(EventKind::Raised, Trouble::Lossy, Some(58)),
                subject(EventKind::Repeated, Trouble::Slow, None),
                subject(EventKind::Repeated, Trouble::Lossy, Some(58)),
                subject(cleared, Trouble::Lossy, Some(58)),
            ],
            [
                "[latmon] DOWN: fra/core1 (core1.example.net) does not answer",
                "[latmon] SLOW: fra/core1 (core1.example.net) is slow: median 182 ms",
                "[latmon] LOSSY: fra/core1 (core1.example.net) loses 25 % of its pings",
                "[latmon] SLOW: fra/core1 (core1.example.net) still does not answer",
                "[latmon] LOSSY: fra/core1 (core1.example.net) still loses 25 % of its pings",
                "[latmon] OK: fra/core1 (core1.example.net) no longer loses pings after 23 min",
            ]
        );
    }

    /// A recovery and a reminder answer the first mail, and two reminders are two mails.
    #[test]
    fn mails_of_one_alert_are_one_conversation() {
        let first = mail(&event(EventKind::Raised, Trouble::Slow, Some(182)), None);
        let reminder = event(EventKind::Repeated, Trouble::Slow, Some(190));
        let later = Event { at: UnixTime::from_secs(1_700_086_740), ..reminder.clone() };
        let reminders = [mail(&reminder, None), mail(&later, None)];
        assert_eq!(first.in_reply_to, None);
        assert!(reminders.iter().all(|mail| mail.in_reply_to.as_ref() == Some(&first.key)));
        assert_ne!(reminders[0].key, reminders[1].key);
    }

    #[test]
    fn the_usual_is_what_was_before_the_trouble() {
        let event = event(EventKind::Raised, Trouble::Slow, Some(182));
        let step = Step::new(60).expect("not zero");
        let row = |minute: i64, ms: u64| Row {
            end: UnixTime::from_secs(1_700_000_040 - 60 * minute),
            loss_ratio: Some(0.1),
            median: Some(Rtt::new(Duration::from_millis(ms))),
            ranks: Vec::new(),
        };
        let past = History {
            target: "fra/core1".into(),
            row: step,
            step,
            pings: 20,
            start: row(4, 0).end,
            end: event.at,
            rows: vec![row(3, 58), row(2, 58), row(1, 60), row(0, 182)],
        };
        let text = mail(&event, Some(&past)).text;
        assert!(
            text.starts_with("fra/core1 (core1.example.net, 192.0.2.2) is slow: median 182 ms.\n"),
            "{text}"
        );
        assert!(text.contains("\nusual    median 58.0 ms, 10 % loss (over the 24 hours before)\n"), "{text}");
        assert!(text.contains("\nrule     lossy: loss >= 20%\n"), "{text}");
    }

    #[test]
    fn some_loss_is_never_shown_as_none_and_almost_all_never_as_all() {
        assert_eq!(
            [0.0, 0.0001, 0.004, 0.05, 0.333, 0.996, 1.0].map(percent),
            ["0 %", "< 0.1 %", "0.4 %", "5 %", "33 %", "99.6 %", "100 %"]
        );
    }
}
