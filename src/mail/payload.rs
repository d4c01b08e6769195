//! What the services that latmon knows by name want to be sent, each as its own documents say.

use std::time::Duration;

use serde_json::{Value, json};

use super::posting::{Alerted, Posting};
use super::template::{Telling, rfc3339};
use crate::time::{Lasted, UnixTime};

/// The form of what a webhook is sent, where it is not one's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Service {
    /// Slack's incoming webhooks: Block Kit.
    Slack,
    /// ntfy's publishing as JSON.
    Ntfy { topic: String },
    /// The webhook of a Teams workflow: an Adaptive Card.
    Teams,
    /// `POST /api/v2/alerts` of Prometheus Alertmanager.
    Alertmanager,
    /// All that a posting says, as flat as it gets.
    Plain,
}

impl Service {
    /// The body of a request.
    pub(super) fn body(&self, telling: &Telling<'_>) -> String {
        let body = match self {
            Self::Slack => slack(telling),
            Self::Ntfy { topic } => ntfy(telling, topic),
            Self::Teams => teams(telling),
            Self::Alertmanager => alertmanager(telling),
            Self::Plain => plain(telling),
        };
        body.to_string()
    }
}

/// A header, and the text in a block where nothing of it is markup. `text` is what notifications show.
fn slack(telling: &Telling<'_>) -> Value {
    let subject = one_line(&telling.posting.subject);
    // The three characters that Slack's own markup begins with.
    let escaped =
        cut(&subject, SLACK_FALLBACK).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let text = cut(&body_text(telling), SLACK_TEXT);
    json!({
        "text": escaped,
        "blocks": [
            {"type": "header", "text": {"type": "plain_text", "text": cut(&subject, SLACK_HEADER), "emoji": false}},
            {"type": "rich_text", "elements": [
                {"type": "rich_text_preformatted", "elements": [{"type": "text", "text": text}]}
            ]},
        ]
    })
}

fn ntfy(telling: &Telling<'_>, topic: &str) -> Value {
    let posting = telling.posting;
    let (priority, tag) = match posting.severity.as_str() {
        _ if posting.is_over() => (3, "white_check_mark"),
        "critical" => (5, "rotating_light"),
        "warning" => (4, "warning"),
        _ => (3, "information_source"),
    };
    json!({
        "topic": topic,
        "title": cut(&one_line(&posting.subject), NTFY_TITLE),
        "message": cut(&body_text(telling), NTFY_MESSAGE),
        "priority": priority,
        "tags": [tag],
    })
}

/// Runs of text, because in a text block of a card some characters are markup.
fn teams(telling: &Telling<'_>) -> Value {
    let run = |text: String| json!({"type": "TextRun", "text": text});
    let mut heading = run(cut(&one_line(&telling.posting.subject), TEAMS_HEADING));
    heading["weight"] = "Bolder".into();
    heading["size"] = "Medium".into();
    heading["color"] = if telling.posting.is_over() { "Good" } else { "Attention" }.into();
    // Each line is a block: a line end within a run is not shown everywhere.
    let text = cut(&body_text(telling), TEAMS_TEXT);
    let lines = text.lines().take(TEAMS_LINES).map(|line| {
        let mut run = run(line.to_owned());
        run["fontType"] = "Monospace".into();
        json!({"type": "RichTextBlock", "spacing": "None", "inlines": [run]})
    });
    let body: Vec<Value> =
        [json!({"type": "RichTextBlock", "inlines": [heading]})].into_iter().chain(lines).collect();
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": null,
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.4",
                "msteams": {"width": "Full"},
                "body": body,
            }
        }]
    })
}

/// One alert for each that is told of. It is known by its labels, so these are the same when it is over.
///
/// Alertmanager takes an alert without `endsAt` for over after its `resolve_timeout`, five minutes as a rule, since
/// Prometheus repeats every alert once a minute. latmon says when something changes, so it names an end that is far
/// away, and the true one once there is one.
fn alertmanager(telling: &Telling<'_>) -> Value {
    let posting = telling.posting;
    let alert = |alert: &Alerted, ends: UnixTime| {
        let labels = [
            ("alertname", &alert.rule),
            ("target", &alert.target),
            ("host", &alert.host),
            ("severity", &alert.severity),
            ("monitor", &posting.monitor),
        ];
        // An empty label is the same as none.
        let labels = labels.into_iter().filter(|(_, value)| !value.is_empty());
        let labels: serde_json::Map<_, _> =
            labels.map(|(name, value)| (name.to_owned(), one_line(value).into())).collect();
        // An end before the start is refused.
        let ends = ends.max(alert.since.plus(Duration::from_secs(1)));
        json!({
            "labels": labels,
            "annotations": {
                "summary": one_line(&posting.subject),
                "description": cut(&body_text(telling), ANNOTATION),
                "condition": one_line(&alert.condition),
            },
            "startsAt": rfc3339(alert.since),
            "endsAt": rfc3339(ends),
        })
    };
    if posting.alerts.is_empty() {
        // It says something of the monitor, and nobody will say that it is over.
        let about = Alerted {
            rule: format!("latmon_{}", posting.state),
            condition: String::new(),
            target: String::new(),
            host: String::new(),
            severity: posting.severity.clone(),
            since: posting.at,
            ended: None,
            median_ms: None,
            loss_percent: None,
            usual_ms: None,
        };
        return json!([alert(&about, posting.at.plus(WITHOUT_AN_END))]);
    }
    let alerts =
        posting.alerts.iter().map(|one| alert(one, one.ended.unwrap_or(posting.at.plus(STANDS_FOR))));
    Value::Array(alerts.collect())
}

fn plain(telling: &Telling<'_>) -> Value {
    let Telling { posting, held_up, token: _ } = telling;
    let alert = |alert: &Alerted| {
        json!({
            "rule": alert.rule,
            "condition": alert.condition,
            "target": alert.target,
            "host": alert.host,
            "severity": alert.severity,
            "since": rfc3339(alert.since),
            "ended": alert.ended.map(rfc3339),
            "median_ms": alert.median_ms,
            "loss_percent": alert.loss_percent,
            "usual_ms": alert.usual_ms,
        })
    };
    json!({
        "key": posting.key,
        "answers": posting.answers,
        "at": rfc3339(posting.at),
        "held_up_secs": held_up.map(|held_up| held_up.as_secs()),
        "state": posting.state,
        "severity": posting.severity,
        "subject": posting.subject,
        "text": posting.text,
        "monitor": posting.monitor,
        "alerts": posting.alerts.iter().map(alert).collect::<Vec<_>>(),
    })
}

impl Posting {
    /// True when all that it tells of is over.
    fn is_over(&self) -> bool {
        !self.alerts.is_empty() && self.alerts.iter().all(|alert| alert.ended.is_some())
    }
}

/// The text, and before it how late it is.
fn body_text(telling: &Telling<'_>) -> String {
    let text: String = telling.posting.text.chars().filter(|c| !c.is_control() || *c == '\n').collect();
    match telling.held_up {
        Some(held_up) => {
            format!("held up {}: decided on at {}\n\n{text}", Lasted(held_up), rfc3339(telling.posting.at))
        }
        None => text,
    }
}

fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') { ' ' } else { c })
        .collect()
}

/// `text` within so many bytes, the last whole character and an ellipsis included.
fn cut(text: &str, bytes: usize) -> String {
    if text.len() <= bytes {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(bytes.saturating_sub('…'.len_utf8()));
    format!("{}…", &text[..end])
}

/// Slack: a header block has 150 characters, and more than 4000 of a text are cut.
const SLACK_HEADER: usize = 150;
const SLACK_FALLBACK: usize = 600;
const SLACK_TEXT: usize = 3900;
/// ntfy makes a file of what is over 4096 bytes.
const NTFY_TITLE: usize = 200;
const NTFY_MESSAGE: usize = 3900;
/// Teams refuses messages over 28 KB, and each line adds about a hundred bytes to its own.
const TEAMS_HEADING: usize = 300;
const TEAMS_TEXT: usize = 8 << 10;
const TEAMS_LINES: usize = 100;
const ANNOTATION: usize = 16 << 10;
/// How long an alert stands where nothing more is heard of it. It is told again once a day as a rule.
const STANDS_FOR: Duration = Duration::from_secs(7 * 86_400);
const WITHOUT_AN_END: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests;
