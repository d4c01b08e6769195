//! What webhooks and commands are told of a notice, beside the mail about it. Pure.

use crate::alert::{Event, EventKind, Notice, Severity, Story};
use crate::history::History;
use crate::mail::{Address, Alerted, Message, NOT_HELD_UP, Posting};
use crate::round::Rtt;
use crate::time::UnixTime;

/// The postings of a notice for those of `ways` (`webhook:slack`) that it is for; their words are those of its mail.
/// `usual` knows the median that a target usually has.
pub(super) fn of_notice(
    notice: &Notice,
    mail: &Message,
    usual: impl Fn(&Event) -> Option<Rtt>,
    ways: &[String],
    monitor: &str,
) -> Vec<Posting> {
    let (state, mut alerts) = match &notice.story {
        Story::Alert(event) => (event_word(event), vec![alerted(event, &usual)]),
        Story::Together { events, .. } => {
            (events.first().map_or("raised", event_word), of_events(events, &usual))
        }
        Story::Flapping { event, .. } => ("flapping", vec![alerted(event, &usual)]),
        Story::Steady { event, .. } => ("steady", vec![alerted(event, &usual)]),
        Story::Digest { events, .. } => ("digest", of_events(events, &usual)),
        Story::Offline { since, why } => ("offline", vec![uplink(why, *since, None)]),
        Story::Online { since, lasted, why } => {
            ("online", vec![uplink(why, *since, Some(since.plus(*lasted)))])
        }
    };
    alerts.extend(of_events(&notice.also, &usual));
    let told = Told { state, severity: notice.severity, alerts };
    told.by(mail, ways.iter().filter(|way| is_for(&notice.to, way)), monitor)
}

/// The postings that say what `mail` does, which is about the monitor itself.
pub(super) fn of_mail(state: &'static str, mail: &Message, ways: &[String], monitor: &str) -> Vec<Posting> {
    Told { state, severity: Severity::Warning, alerts: Vec::new() }.by(mail, ways.iter(), monitor)
}

/// Whom the mail of a notice is for: empty for all recipients of the settings, `None` where nobody is mailed.
pub(super) fn mailed(notice: &Notice) -> Option<Vec<Address>> {
    let addresses: Vec<Address> = notice.to.iter().filter_map(|to| to.parse().ok()).collect();
    (notice.to.is_empty() || !addresses.is_empty()).then_some(addresses)
}

/// The median of the medians before `since`.
pub(super) fn usual(past: &History, since: UnixTime) -> Option<Rtt> {
    let before = past.rows.iter().filter(|row| row.end < since);
    let mut medians: Vec<Rtt> = before.filter_map(|row| row.median).collect();
    medians.sort_unstable();
    medians.get(medians.len() / 2).copied()
}

/// The words for what is told of the monitor itself: it has ended, it was not watching for a while, it was started again.
pub(super) const STOPPED: &str = "stopped";
pub(super) const GAP: &str = "gap";
pub(super) const RESTARTED: &str = "restarted";
/// The name of the alert that the monitor raises about its own line.
const UPLINK: &str = "uplink";
/// How many events of one notice are worth a look into the archive.
const MOST_LOOKS: usize = 20;

/// What is the same for every way.
struct Told {
    state: &'static str,
    severity: Severity,
    alerts: Vec<Alerted>,
}

impl Told {
    fn by<'a>(&self, mail: &Message, ways: impl Iterator<Item = &'a String>, monitor: &str) -> Vec<Posting> {
        // How late it is a way says for itself.
        let lines = mail.text.lines().filter(|line| *line != NOT_HELD_UP);
        let text: String = lines.flat_map(|line| [line, "\n"]).collect();
        let posting = |way: &String| Posting {
            key: mail.key.clone(),
            answers: mail.in_reply_to.clone(),
            way: way.clone(),
            at: mail.date,
            state: self.state.to_owned(),
            severity: severity_word(self.severity).to_owned(),
            subject: mail.subject.clone(),
            text: text.clone(),
            monitor: monitor.to_owned(),
            alerts: self.alerts.clone(),
        };
        ways.map(posting).collect()
    }
}

fn is_for(to: &[String], way: &str) -> bool {
    to.is_empty() || to.iter().any(|named| named == way)
}

fn of_events(events: &[Event], usual: &impl Fn(&Event) -> Option<Rtt>) -> Vec<Alerted> {
    let known = events.iter().take(MOST_LOOKS).map(|event| alerted(event, usual));
    known.chain(events.iter().skip(MOST_LOOKS).map(|event| alerted(event, &|_: &Event| None))).collect()
}

fn alerted(event: &Event, usual: &impl Fn(&Event) -> Option<Rtt>) -> Alerted {
    Alerted {
        rule: event.rule.clone(),
        condition: event.condition.clone(),
        target: event.target.name.clone(),
        host: event.target.host.clone(),
        severity: severity_word(event.severity).to_owned(),
        since: event.since,
        ended: matches!(event.kind, EventKind::Cleared { .. }).then_some(event.at),
        median_ms: event.median.map(Rtt::as_millis_f64),
        loss_percent: is_measured(event).then_some(event.loss_ratio * 100.0),
        usual_ms: event.usual.or_else(|| usual(event)).map(Rtt::as_millis_f64),
    }
}

/// Whether anything is known of the round that decided it.
fn is_measured(event: &Event) -> bool {
    event.unknown.as_ref().is_none_or(|unknown| unknown.ratio < 1.0)
}

fn uplink(why: &str, since: UnixTime, ended: Option<UnixTime>) -> Alerted {
    Alerted {
        rule: UPLINK.to_owned(),
        condition: why.to_owned(),
        target: String::new(),
        host: String::new(),
        severity: severity_word(Severity::Critical).to_owned(),
        since,
        ended,
        median_ms: None,
        loss_percent: None,
        usual_ms: None,
    }
}

fn event_word(event: &Event) -> &'static str {
    match event.kind {
        EventKind::Raised => "raised",
        EventKind::Repeated => "repeated",
        EventKind::Cleared { .. } => "cleared",
    }
}

fn severity_word(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Warning => "warning",
        Severity::Critical => "critical",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::alert::Trouble;
    use crate::round::Target;

    const WAYS: [&str; 3] = ["webhook:slack", "webhook:am", "command:pager"];

    fn event(kind: EventKind) -> Event {
        Event {
            target: Arc::new(Target { name: "fra/core1".into(), host: "192.0.2.1".into() }),
            address: None,
            rule: "slow".into(),
            condition: "median > 100ms".into(),
            trouble: Trouble::Slow,
            severity: Severity::Warning,
            to: Vec::new(),
            kind,
            since: UnixTime::from_secs(1_700_000_000),
            at: UnixTime::from_secs(1_700_000_600),
            rounds: 10,
            median: Some(Rtt::new(Duration::from_millis(182))),
            worst_median: None,
            loss_ratio: 0.05,
            worst_loss_ratio: 0.05,
            says: None,
            unknown: None,
            usual: None,
        }
    }

    fn postings(notice: &Notice) -> Vec<Posting> {
        let mail = Message {
            key: notice.key.clone(),
            in_reply_to: notice.answers.clone(),
            to: Vec::new(),
            subject: "SLOW".into(),
            text: format!("one\n{NOT_HELD_UP}\ntwo\n"),
            html: None,
            attachments: Vec::new(),
            is_urgent: false,
            date: notice.at,
        };
        let usual = |_: &Event| Some(Rtt::new(Duration::from_micros(12_500)));
        of_notice(notice, &mail, usual, &WAYS.map(str::to_owned), "mon1")
    }

    #[test]
    fn a_posting_says_what_the_mail_does_and_the_numbers() {
        let lasted = Duration::from_secs(600);
        let told = postings(&Notice::of_event(event(EventKind::Cleared { lasted })));
        assert_eq!(told.iter().map(|posting| posting.way.as_str()).collect::<Vec<_>>(), WAYS);
        let posting = &told[0];
        assert_eq!(posting.key, "fra/core1-slow-1700000000-cleared");
        assert_eq!(posting.answers.as_deref(), Some("fra/core1-slow-1700000000-raised"));
        assert_eq!((posting.state.as_str(), posting.severity.as_str()), ("cleared", "warning"));
        assert_eq!((posting.subject.as_str(), posting.text.as_str()), ("SLOW", "one\ntwo\n"));
        let alert = &posting.alerts[0];
        assert_eq!(alert.ended, Some(UnixTime::from_secs(1_700_000_600)));
        assert_eq!(
            (alert.median_ms, alert.loss_percent, alert.usual_ms),
            (Some(182.0), Some(5.0), Some(12.5))
        );
    }

    #[test]
    fn a_rule_may_choose_whom_it_tells() {
        let to = |to: &[&str]| {
            let to = to.iter().map(|to| (*to).to_owned()).collect();
            let notice = Notice::of_event(Event { to, ..event(EventKind::Raised) });
            (postings(&notice).len(), mailed(&notice).map(|addresses| addresses.len()))
        };
        assert_eq!(to(&[]), (3, Some(0)), "everybody");
        assert_eq!(to(&["noc@example.org"]), (0, Some(1)));
        assert_eq!(to(&["webhook:am"]), (1, None), "no mail");
        assert_eq!(to(&["command:pager", "a@example.org", "b@example.org"]), (1, Some(2)));
    }

    #[test]
    fn of_many_all_are_told_and_of_the_uplink_there_is_one_alert() {
        let notice = Notice::of_event(event(EventKind::Raised));
        let events = vec![event(EventKind::Raised); 40];
        let together = Notice { story: Story::Together { events, of: 40, behind: None }, ..notice.clone() };
        let alerts = &postings(&together)[0].alerts;
        assert_eq!(alerts.len(), 40);
        assert_eq!(alerts.iter().filter(|alert| alert.usual_ms.is_some()).count(), MOST_LOOKS);
        let since = UnixTime::from_secs(1_700_000_000);
        let lasted = Duration::from_secs(60);
        let online = Story::Online { since, lasted, why: "eth0 has no carrier".into() };
        let alert = &postings(&Notice { story: online, ..notice })[0].alerts[0];
        assert_eq!((alert.rule.as_str(), alert.ended), (UPLINK, Some(since.plus(lasted))));
    }
}
