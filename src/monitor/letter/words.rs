//! The words for what happened, in subjects, logs and mails.

use std::time::Duration;

use crate::alert::{Event, EventKind, Trouble, Unknown};
use crate::history::{History, Row};
use crate::round::{Rtt, Target};
use crate::time::{Lasted, UnixTime};

/// `fra/core1 (192.0.2.2)`; the name alone where it is the host.
pub(in crate::monitor) fn title(target: &Target) -> String {
    if target.name == target.host {
        target.name.clone()
    } else {
        format!("{} ({})", target.name, target.host)
    }
}

/// The line that the log gets.
pub(in crate::monitor) fn log_line(event: &Event) -> String {
    format!("{}: {} [{}: {}]", title(&event.target), predicate(event), event.rule, event.condition)
}

/// What happened, as the rest of a sentence that begins with the target.
pub(super) fn predicate(event: &Event) -> String {
    if let EventKind::Cleared { lasted } = event.kind {
        let back = match event.trouble {
            Trouble::Down => "answers again",
            Trouble::Slow => "is as fast as it should be again",
            Trouble::Lossy => "no longer loses pings",
            Trouble::Unknown => "is measured again",
        };
        return format!("{back} after {}", Lasted(lasted));
    }
    let still = if event.kind == EventKind::Repeated { "still " } else { "" };
    match (event.trouble, event.median) {
        (Trouble::Unknown, _) => unmeasured(event, still),
        (Trouble::Down, _) | (_, None) => format!("{still}does not answer"),
        (Trouble::Slow, Some(median)) => format!("is {still}slow: median {median}"),
        (Trouble::Lossy, _) => format!("{still}loses {} of its pings", percent(event.loss_ratio)),
    }
}

/// `is not measured: the name does not resolve`; where a part is, how large the rest is: `is 60 % unknown: ..`.
fn unmeasured(event: &Event, still: &str) -> String {
    match &event.unknown {
        Some(Unknown { ratio: 1.0, why }) => format!("is {still}not measured: {why}"),
        Some(Unknown { ratio, why }) => format!("is {still}{} unknown: {why}", percent(*ratio)),
        None => format!("is {still}not measured"),
    }
}

/// Why it is as it is, as far as anybody says: somebody on the way, or our own side where that fails to measure it.
pub(super) fn reason(event: &Event) -> Option<&str> {
    match (event.trouble, &event.unknown) {
        (Trouble::Unknown, Some(unknown)) => Some(&unknown.why),
        _ => event.says.as_deref(),
    }
}

/// The subject's first word, by which a mailbox sorts.
pub(super) fn status_word(event: &Event) -> &'static str {
    match (event.kind, event.trouble) {
        (EventKind::Cleared { .. }, _) => "OK",
        (_, Trouble::Down) => "DOWN",
        (_, Trouble::Slow) => "SLOW",
        (_, Trouble::Lossy) => "LOSSY",
        (_, Trouble::Unknown) => "UNKNOWN",
    }
}

/// What comes and goes, after one target or several.
pub(super) fn on_and_off(trouble: Trouble, are_several: bool) -> &'static str {
    match (trouble, are_several) {
        (Trouble::Down, false) => "is down on and off",
        (Trouble::Down, true) => "are down on and off",
        (Trouble::Slow, false) => "is slow on and off",
        (Trouble::Slow, true) => "are slow on and off",
        (Trouble::Lossy, false) => "loses pings on and off",
        (Trouble::Lossy, true) => "lose pings on and off",
        (Trouble::Unknown, false) => "is measured on and off",
        (Trouble::Unknown, true) => "are measured on and off",
    }
}

/// How it is that came and went, after one target or several.
pub(super) fn stays(event: &Event, are_several: bool) -> &'static str {
    let is_over = matches!(event.kind, EventKind::Cleared { .. });
    match (is_over, event.trouble, are_several) {
        (true, _, false) => "is well and steady",
        (true, _, true) => "are well and steady",
        (false, Trouble::Down, false) => "stays down",
        (false, Trouble::Down, true) => "stay down",
        (false, Trouble::Slow, false) => "stays slow",
        (false, Trouble::Slow, true) => "stay slow",
        (false, Trouble::Lossy, false) => "keeps losing pings",
        (false, Trouble::Lossy, true) => "keep losing pings",
        (false, Trouble::Unknown, false) => "stays unmeasured",
        (false, Trouble::Unknown, true) => "stay unmeasured",
    }
}

/// The rule that speaks: `slow: median > 100ms`.
pub(super) fn condition(event: &Event) -> String {
    let means = if event.condition == "aberrant" { " (far from what the archive forecasts)" } else { "" };
    format!("{}: {}{means}", event.rule, event.condition)
}

/// The numbers of the round that decided it: `median 182 ms, 25 % loss, 60 % unknown`.
pub(super) fn measured(event: &Event) -> String {
    let unknown = match &event.unknown {
        Some(Unknown { ratio: 1.0, .. }) => return "no ping tells anything".to_owned(),
        Some(unknown) => format!(", {} unknown", percent(unknown.ratio)),
        None => String::new(),
    };
    match event.median {
        Some(median) => format!("median {median}, {} loss{unknown}", percent(event.loss_ratio)),
        None => format!("no ping answered (100 % loss{unknown})"),
    }
}

pub(super) fn worst(event: &Event) -> String {
    match event.worst_median {
        None if event.trouble == Trouble::Unknown => "no ping told anything".to_owned(),
        Some(median) => format!("median {median}, {} loss", percent(event.worst_loss_ratio)),
        None => format!("{} loss", percent(event.worst_loss_ratio)),
    }
}

/// What is usual at this hour, where that is known; and the median of the medians of the day before the trouble, and its
/// mean loss.
pub(super) fn usual(at_this_hour: Option<Rtt>, past: Option<&History>, since: UnixTime) -> String {
    let day = day_before(past, since);
    match at_this_hour {
        Some(median) => format!("median {median} at this hour of the week; {day}"),
        None => day,
    }
}

fn day_before(past: Option<&History>, since: UnixTime) -> String {
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

/// A share as whole percent, but never 0 or 100 for one that is neither.
pub(super) fn percent(ratio: f64) -> String {
    match ratio * 100.0 {
        share if share > 0.0 && share < 0.05 => "< 0.1 %".to_owned(),
        share if share > 0.0 && share < 1.0 => format!("{share:.1} %"),
        share if share > 99.0 && share < 100.0 => format!("{:.1} %", (share * 10.0).floor() / 10.0),
        share => format!("{share:.0} %"),
    }
}

/// `Sun 2026-11-22 14:03:00 CET`.
pub(in crate::monitor) fn stamp(time: UnixTime) -> String {
    let local = time.local();
    format!("{} {}", local.civil.format("%a %Y-%m-%d %H:%M:%S"), local.zone)
}

/// `14:03:00`, for a time that stands beside a full one of the same day.
pub(super) fn clock(time: UnixTime) -> String {
    time.local().civil.format("%H:%M:%S").to_string()
}

/// Since when, and how long that is by `now`.
pub(super) fn since(since: UnixTime, now: UnixTime) -> String {
    match now.since(since).filter(|lasted| *lasted >= Duration::from_secs(1)) {
        Some(lasted) => format!("{}, {} ago", stamp(since), Lasted(lasted)),
        None => stamp(since),
    }
}

/// `1 target`, `2 targets`.
pub(super) fn count(number: usize, singular: &str, plural: &str) -> String {
    format!("{number} {}", if number == 1 { singular } else { plural })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_loss_is_never_shown_as_none_and_almost_all_never_as_all() {
        assert_eq!(
            [0.0, 0.0001, 0.004, 0.05, 0.333, 0.996, 1.0].map(percent),
            ["0 %", "< 0.1 %", "0.4 %", "5 %", "33 %", "99.6 %", "100 %"]
        );
    }
}
