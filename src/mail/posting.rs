//! What a webhook or a command is told, as it lies in the outbox: neutral, and made into what the way wants only when it
//! is sent, so that a corrected template frees what waits.

use serde::{Deserialize, Serialize};

use super::Error;
use super::outbox::{Kept, Kind, Outbox};
use crate::time::UnixTime;

/// One message for one way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Posting {
    /// The key of the message, the same for every way it takes.
    pub key: String,
    /// The key of the message that this one answers.
    pub answers: Option<String>,
    /// The way it takes, as the settings write it: `webhook:slack`.
    pub way: String,
    /// When it was decided on.
    pub at: UnixTime,
    /// What it tells, in one word: `raised`, `repeated`, `cleared`, `offline`.
    pub state: String,
    /// How much it matters: `info`, `warning`, `critical`.
    pub severity: String,
    /// The subject, one line.
    pub subject: String,
    /// The text, its lines ended by `\n`.
    pub text: String,
    /// The name of the machine that watches.
    pub monitor: String,
    /// The alerts that it tells of; none where it is about the monitor alone.
    pub alerts: Vec<Alerted>,
}

/// An alert that a posting tells of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alerted {
    /// The name of its rule.
    pub rule: String,
    /// The rule as it was written.
    pub condition: String,
    /// Which target; empty for what the monitor says of itself.
    pub target: String,
    /// The target's host name or address.
    pub host: String,
    /// How much it matters.
    pub severity: String,
    /// When the trouble began.
    pub since: UnixTime,
    /// When it was over; `None` while it goes on.
    pub ended: Option<UnixTime>,
    /// The median round trip now, where there was a reply.
    pub median_ms: Option<f64>,
    /// The share of lost pings now, 0 to 100.
    pub loss_percent: Option<f64>,
    /// What the median usually is, where that is known.
    pub usual_ms: Option<f64>,
}

impl Posting {
    /// Puts it into the outbox, where it stays until it has arrived.
    pub fn keep(&self, outbox: &Outbox) -> Result<Kept, Error> {
        let kind = if self.way.starts_with("command:") { Kind::Command } else { Kind::Post };
        outbox.keep(kind, &self.file_key(), self.at, &self.to_bytes())
    }

    /// The key of its file in the outbox, which begins with the [`Posting::stem`] of its way.
    pub(super) fn file_key(&self) -> String {
        format!("{}{}", Self::stem(&self.way), self.key)
    }

    /// How the keys of all files begin that take the `way`. A way's name has no dot, so no stem begins another.
    pub(super) fn stem(way: &str) -> String {
        format!("{}.", way.rsplit_once(':').map_or(way, |(_, name)| name))
    }

    /// The message that begins the conversation it belongs to. What is of one conversation keeps its order.
    pub(super) fn conversation(&self) -> &str {
        self.answers.as_deref().unwrap_or(&self.key)
    }

    /// Its bytes in the outbox.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("texts and numbers are JSON")
    }

    /// Reads what lies in the outbox.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, Error> {
        serde_json::from_slice(bytes).map_err(|error| Error::NotAPosting(error.to_string()))
    }

    /// An example, with what gives trouble where it is not escaped.
    pub(super) fn trial() -> Self {
        let nasty = "\"quoted\" \\ {{text}} \r\n\t\u{0}\u{7f}\u{2028} </b> ü 🦀";
        Self {
            key: format!("key {nasty}"),
            answers: None,
            way: "webhook:trial".to_owned(),
            at: UnixTime::from_secs(1_700_000_000),
            state: "raised".to_owned(),
            severity: "critical".to_owned(),
            subject: format!("subject {nasty}"),
            text: format!("text {nasty}\n"),
            monitor: format!("monitor {nasty}"),
            alerts: vec![Alerted {
                rule: format!("rule {nasty}"),
                condition: format!("condition {nasty}"),
                target: format!("target {nasty}"),
                host: format!("host {nasty}"),
                severity: "critical".to_owned(),
                since: UnixTime::from_secs(1_700_000_000),
                ended: None,
                median_ms: Some(12.5),
                loss_percent: None,
                usual_ms: None,
            }],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_in_the_outbox_is_read_back() {
        let posting = Posting::trial();
        assert_eq!(Posting::read(&posting.to_bytes()).unwrap(), posting);
        let error = Posting::read(b"{\"key\": 1}").unwrap_err().to_string();
        assert!(error.contains("line 1"), "{error}");
    }

    #[test]
    fn no_way_has_the_files_of_another() {
        let file = |way: &str| Posting { way: way.into(), key: "a.b".into(), ..Posting::trial() }.file_key();
        assert_eq!(file("webhook:slack"), "slack.a.b");
        assert!(!file("webhook:slack2").starts_with(&Posting::stem("webhook:slack")));
    }
}
