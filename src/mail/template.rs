//! Texts with `{{placeholders}}` for what a posting says: the body of a webhook, the arguments of a command.
//!
//! What a value becomes depends on where it stands. In a JSON string it is escaped; elsewhere in JSON it is a JSON value
//! of its own, so that no text of others can change the form of what is sent; in an argument it stands as it is.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::Duration;

use super::Secret;
use super::posting::{Alerted, Posting};
use crate::time::{Lasted, UnixTime};

/// A text with placeholders, which was checked.
#[derive(Clone, Debug)]
pub(super) struct Template(Vec<Part>);

#[derive(Clone, Debug)]
enum Part {
    Literal(String),
    Value(Field, Spelling),
}

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spelling {
    /// As it is.
    Plain,
    /// Inside a JSON string.
    InString,
    /// As a JSON value.
    Json,
}

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A name that means nothing.
    #[error("unknown placeholder '{{{{{name}}}}}' in line {line} of it")]
    Unknown {
        /// The name.
        name: String,
        /// Counted from 1, in the text.
        line: usize,
    },
    /// It is not closed.
    #[error("'{{{{' without '}}}}' in line {line} of it")]
    Open {
        /// Counted from 1, in the text.
        line: usize,
    },
    /// With an example filled in, it is no JSON.
    #[error("is no JSON once it is filled in: {0}")]
    NotJson(String),
}

/// What is told, and what only the moment of sending knows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Telling<'a> {
    /// What is told.
    pub(super) posting: &'a Posting,
    /// How long it waited, where that is worth saying.
    pub(super) held_up: Option<Duration>,
    /// What the way authenticates with.
    pub(super) token: Option<&'a Secret>,
}

impl Template {
    /// Reads a JSON text with placeholders, and tries it with an example.
    pub(super) fn json(text: &str) -> Result<Self, TemplateError> {
        let mut is_in_string = false;
        let template = Self::parse(text, |literal| {
            let mut chars = literal.chars();
            while let Some(c) = chars.next() {
                match c {
                    '"' => is_in_string = !is_in_string,
                    '\\' if is_in_string => drop(chars.next()),
                    _ => {}
                }
            }
            if is_in_string { Spelling::InString } else { Spelling::Json }
        })?;
        let (trial, token) = (Posting::trial(), Secret::new("\"\\"));
        let filled = template.fill(&Telling { posting: &trial, held_up: None, token: Some(&token) });
        match serde_json::from_str::<serde::de::IgnoredAny>(&filled) {
            Ok(_) => Ok(template),
            Err(error) => Err(TemplateError::NotJson(error.to_string())),
        }
    }

    /// Reads a text that is not JSON.
    pub(super) fn plain(text: &str) -> Result<Self, TemplateError> {
        Self::parse(text, |_| Spelling::Plain)
    }

    /// `spell` is shown every literal in order, and says how the value behind it is written.
    fn parse(text: &str, mut spell: impl FnMut(&str) -> Spelling) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((literal, behind)) = rest.split_once("{{") {
            let line = 1 + text[..text.len() - behind.len()].matches('\n').count();
            let (name, behind) = behind.split_once("}}").ok_or(TemplateError::Open { line })?;
            let field = Field::named(name.trim()).ok_or_else(|| TemplateError::Unknown {
                name: name.trim().chars().filter(|c| !c.is_control()).take(LONGEST_NAME).collect(),
                line,
            })?;
            parts.push(Part::Literal(literal.to_owned()));
            parts.push(Part::Value(field, spell(literal)));
            rest = behind;
        }
        parts.push(Part::Literal(rest.to_owned()));
        Ok(Self(parts))
    }

    /// The text with what `telling` says.
    pub(super) fn fill(&self, telling: &Telling<'_>) -> String {
        let mut filled = String::new();
        for part in &self.0 {
            match part {
                Part::Literal(text) => filled.push_str(text),
                Part::Value(field, spelling) => field.value(telling).spell(*spelling, &mut filled),
            }
        }
        filled
    }

    /// True where it has no placeholder.
    pub(super) fn is_literal(&self) -> bool {
        !self.0.iter().any(|part| matches!(part, Part::Value(..)))
    }

    /// True where somebody else's text may be what it begins with.
    pub(super) fn begins_with_a_value(&self) -> bool {
        let first = self.0.iter().find(|part| !matches!(part, Part::Literal(text) if text.is_empty()));
        matches!(first, Some(Part::Value(..)))
    }

    /// True where it names the token.
    pub(super) fn names_the_token(&self) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Value(Field::Token, _)))
    }
}

/// What a placeholder may stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Key,
    State,
    Severity,
    Subject,
    Text,
    Monitor,
    Target,
    Host,
    Rule,
    Condition,
    At,
    Since,
    Ended,
    MedianMs,
    LossPercent,
    UsualMs,
    HeldUp,
    Token,
}

/// The names of all placeholders.
pub fn placeholders() -> impl Iterator<Item = &'static str> {
    FIELDS.iter().map(|(name, _)| *name)
}

impl Field {
    /// All that a posting says, with their names; the token is none of them.
    pub(super) fn told() -> impl Iterator<Item = (&'static str, Self)> {
        FIELDS.iter().copied().filter(|(_, field)| *field != Self::Token)
    }

    fn named(name: &str) -> Option<Self> {
        FIELDS.iter().find(|(known, _)| *known == name).map(|(_, field)| *field)
    }

    pub(super) fn value<'a>(self, telling: &Telling<'a>) -> Value<'a> {
        let posting = telling.posting;
        let alerts = &posting.alerts[..];
        // Of several alerts there is no one number; what is the same of all of them can be said.
        let only = match alerts {
            [alert] => Some(alert),
            _ => None,
        };
        let number = |number: fn(&Alerted) -> Option<f64>| {
            only.and_then(number).filter(|number| number.is_finite()).map_or(Value::Nothing, Value::Number)
        };
        let time = |time: Option<UnixTime>| {
            time.map_or(Value::Nothing, |time| Value::Text(Cow::Owned(rfc3339(time))))
        };
        match self {
            Self::Key => text(&posting.key),
            Self::State => text(&posting.state),
            Self::Severity => text(&posting.severity),
            Self::Subject => text(&posting.subject),
            Self::Text => text(&posting.text),
            Self::Monitor => text(&posting.monitor),
            Self::Target => joined(alerts, |alert| &alert.target),
            Self::Host => joined(alerts, |alert| &alert.host),
            Self::Rule => joined(alerts, |alert| &alert.rule),
            Self::Condition => joined(alerts, |alert| &alert.condition),
            Self::At => time(Some(posting.at)),
            Self::Since => time(alerts.iter().map(|alert| alert.since).min()),
            Self::Ended => time(only.and_then(|alert| alert.ended)),
            Self::MedianMs => number(|alert| alert.median_ms),
            Self::LossPercent => number(|alert| alert.loss_percent),
            Self::UsualMs => number(|alert| alert.usual_ms),
            Self::HeldUp => telling
                .held_up
                .map_or(Value::Nothing, |held_up| Value::Text(Cow::Owned(Lasted(held_up).to_string()))),
            Self::Token => telling.token.map_or(Value::Nothing, |token| text(token.reveal())),
        }
    }
}

/// What a placeholder stands for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value<'a> {
    Text(Cow<'a, str>),
    Number(f64),
    Nothing,
}

impl Value<'_> {
    /// As it is, and nothing for nothing.
    pub(super) fn plain(&self) -> String {
        let mut spelled = String::new();
        self.spell(Spelling::Plain, &mut spelled);
        spelled
    }

    fn spell(&self, spelling: Spelling, to: &mut String) {
        // Writing to a String cannot fail.
        let _ = match (self, spelling) {
            (Value::Text(text), Spelling::Plain) => to.write_str(text),
            (Value::Text(text), Spelling::Json) => to.write_str(&json_string(text)),
            (Value::Text(text), Spelling::InString) => {
                let quoted = json_string(text);
                to.write_str(&quoted[1..quoted.len() - 1])
            }
            // Thousandths are more than a round trip in milliseconds is worth.
            (Value::Number(number), _) => write!(to, "{}", (number * 1000.0).round() / 1000.0),
            (Value::Nothing, Spelling::Json) => to.write_str("null"),
            (Value::Nothing, Spelling::Plain | Spelling::InString) => Ok(()),
        };
    }
}

fn json_string(text: &str) -> String {
    serde_json::to_string(text).expect("every text is JSON")
}

fn text(text: &str) -> Value<'_> {
    Value::Text(Cow::Borrowed(text))
}

/// What the alerts say, each text once; of many the first, and how many more there are.
fn joined(alerts: &[Alerted], said: impl Fn(&Alerted) -> &String) -> Value<'_> {
    if let [alert] = alerts {
        // Written out, since what is borrowed must outlive the closure.
        return Value::Text(Cow::Owned(said(alert).clone()));
    }
    let mut texts: Vec<&str> = Vec::new();
    for alert in alerts {
        let one = said(alert).as_str();
        if !one.is_empty() && !texts.contains(&one) && texts.len() <= MOST_JOINED {
            texts.push(one);
        }
    }
    if texts.is_empty() {
        return Value::Nothing;
    }
    let more = if texts.len() > MOST_JOINED { ", ..." } else { "" };
    texts.truncate(MOST_JOINED);
    Value::Text(Cow::Owned(format!("{}{more}", texts.join(", "))))
}

/// `2026-11-22T14:30:00Z`.
pub(super) fn rfc3339(time: UnixTime) -> String {
    chrono::DateTime::from_timestamp(time.secs(), 0)
        .unwrap_or_default()
        .to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}

const FIELDS: [(&str, Field); 18] = [
    ("key", Field::Key),
    ("state", Field::State),
    ("severity", Field::Severity),
    ("subject", Field::Subject),
    ("text", Field::Text),
    ("monitor", Field::Monitor),
    ("target", Field::Target),
    ("host", Field::Host),
    ("rule", Field::Rule),
    ("condition", Field::Condition),
    ("at", Field::At),
    ("since", Field::Since),
    ("ended", Field::Ended),
    ("median_ms", Field::MedianMs),
    ("loss_percent", Field::LossPercent),
    ("usual_ms", Field::UsualMs),
    ("held_up", Field::HeldUp),
    ("token", Field::Token),
];
const LONGEST_NAME: usize = 40;
/// How many targets of one posting are named where there is one place for all.
const MOST_JOINED: usize = 10;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn telling(posting: &Posting) -> Telling<'_> {
        Telling { posting, held_up: Some(Duration::from_secs(2820)), token: None }
    }

    #[test]
    fn a_value_is_written_as_its_place_wants_it() {
        let mut posting = Posting::trial();
        posting.subject = "a \"b\"\n".into();
        let filled = |text| Template::json(text).unwrap().fill(&telling(&posting));
        assert_eq!(filled(r#"{"t": "<{{subject}}>"}"#), r#"{"t": "<a \"b\"\n>"}"#);
        assert_eq!(filled(r#"{"t": {{ subject }}}"#), r#"{"t": "a \"b\"\n"}"#);
        assert_eq!(filled(r#"["\"{{median_ms}}", {{median_ms}}]"#), r#"["\"12.5", 12.5]"#);
        assert_eq!(filled(r#"["{{usual_ms}}", {{usual_ms}}]"#), r#"["", null]"#);
        assert_eq!(filled(r#"["{{since}}", "{{held_up}}"]"#), r#"["2023-11-14T22:13:20Z", "47 min"]"#);
        let plain = Template::plain("-x {{subject}}|{{usual_ms}}|{{median_ms}}").unwrap();
        assert_eq!(plain.fill(&telling(&posting)), "-x a \"b\"\n||12.5");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let error = |text| Template::json(text).unwrap_err().to_string();
        assert_eq!(error("{\n\"a\": \"{{sujet}}\"}"), "unknown placeholder '{{sujet}}' in line 2 of it");
        assert_eq!(error("{\n\n\"a\": \"{{subject\"}"), "'{{' without '}}' in line 3 of it");
        assert!(error("{\"a\": \"{{subject}}\"").starts_with("is no JSON once it is filled in: EOF"));
        assert!(error("{\"a\": {{subject}} {{text}}}").contains("line 1"));
    }

    #[test]
    fn of_several_alerts_the_targets_are_joined() {
        let mut posting = Posting::trial();
        let alert = posting.alerts[0].clone();
        posting.alerts = (0..40)
            .map(|n| Alerted { target: format!("t{n}"), rule: "down".into(), ..alert.clone() })
            .collect();
        let filled = |text| Template::plain(text).unwrap().fill(&telling(&posting));
        assert_eq!(filled("{{target}}"), "t0, t1, t2, t3, t4, t5, t6, t7, t8, t9, ...");
        assert_eq!(filled("{{rule}} {{median_ms}}"), "down ", "one rule, and no number of its own");
        posting.alerts.clear();
        assert_eq!(Template::plain("{{target}}").unwrap().fill(&telling(&posting)), "");
    }

    proptest! {
        /// Whatever a target, a host or an ICMP error is called, the receiver reads just that text.
        #[test]
        fn no_text_leaves_its_place_in_json(said in "\\PC*[\"\\\\\u{0}-\u{1f}\u{2028}\u{85}]{0,4}.{0,40}") {
            let mut posting = Posting::trial();
            posting.alerts[0].target = said.clone();
            posting.subject = said.clone();
            let template = Template::json(r#"{"a": "{{target}}", "b": {{subject}}, "c": "x\"{{subject}}\\"}"#).unwrap();
            let filled = template.fill(&telling(&posting));
            let read: serde_json::Value = serde_json::from_str(&filled).unwrap();
            prop_assert_eq!(read["a"].as_str(), Some(&said[..]));
            prop_assert_eq!(read["b"].as_str(), Some(&said[..]));
            let wrapped = format!("x\"{said}\\");
            prop_assert_eq!(read["c"].as_str(), Some(&wrapped[..]));
            prop_assert_eq!(read.as_object().unwrap().len(), 3);
        }

        #[test]
        fn no_text_makes_reading_panic(text in "([{}\"\\\\a]|\\{\\{|\\}\\}|subject|.){0,30}") {
            let _ = Template::json(&text);
            let _ = Template::plain(&text);
        }
    }
}
