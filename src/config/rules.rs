//! The rules that `[alert.NAME]` tables describe, and who is told by them.

use crate::alert::pattern::{Pattern, PatternKind, Semantics};
use crate::alert::rule::{ComparisonError, Judge, Rule, Window};

use super::document::{Entry, Section};
use super::error::{Error, nearest, one_line, sentence};
use super::origin::Setting;
use super::value;

/// The rule that an `[alert.NAME]` describes, and who is told by it, each with their own place.
pub(super) fn rule(entry: &Entry<'_>) -> Result<(Rule, Vec<Setting<Recipient>>), Error> {
    let fault = |fault| Error::Alert { at: entry.at.clone(), name: one_line(entry.key), fault };
    match entry.key {
        Rule::DOWN => return Err(fault("is built in: choose another name")),
        Rule::THRESHOLD => return Err(fault("is what LATENCY_THRESHOLD makes: choose another name")),
        name if name.is_empty() || name.len() > LONGEST_NAME || name.chars().any(char::is_control) => {
            return Err(fault("needs a name of 1 to 60 bytes without control characters"));
        }
        _ => {}
    }
    let section = entry.table(&KEYS, || format!("in [alert.{}]", one_line(entry.key)))?;
    let has = |key| section.get(key).is_some();
    let (judge, raise, clear) = match (section.get("when"), section.get("type"), section.get("pattern")) {
        (Some(_), None, None) if has("edgetrigger") || has("semantics") => {
            return Err(fault(
                "has 'edgetrigger' or 'semantics', which belong to a 'pattern': take them out",
            ));
        }
        (Some(when), None, None) => compared(&section, &when)?,
        (None, Some(_), Some(_)) if has("for") || has("clear") => {
            return Err(fault("has a 'pattern', which tells its own length: take 'for' and 'clear' out"));
        }
        (None, Some(kind), Some(text)) => {
            (Judge::Pattern(pattern(&section, &kind, &text)?), Rule::AT_ONCE, Rule::AT_ONCE)
        }
        (Some(_), _, _) => return Err(fault("has 'when' and also 'type' or 'pattern': keep one kind")),
        (None, Some(_), None) => return Err(fault("has a 'type' but no 'pattern'")),
        (None, None, Some(_)) => return Err(fault("has a 'pattern' but no 'type': write loss or rtt")),
        (None, None, None) => return Err(fault("has neither 'when' nor 'type' and 'pattern'")),
    };
    let repeat = match (section.get("repeat"), at_edges(&section)?) {
        (None, true) => Some(Rule::DEFAULT_REPEAT),
        (Some(repeat), true) => repeat.parsed(value::repeat)?.value,
        (None, false) => Some(Rule::EACH_ROUND),
        (Some(_), false) => {
            return Err(fault("is told with each round by edgetrigger = false: take 'repeat' out"));
        }
    };
    let severity = match section.get("severity") {
        Some(severity) => severity.parsed(value::severity)?.value,
        None => judge.severity(),
    };
    let hours = section.get("hours").map(|hours| read_by(&hours, "hours", str::parse)).transpose()?;
    let recipients = match section.get("to").map(|to| to.texts()).transpose()? {
        Some(nobody) if nobody.is_empty() => {
            return Err(fault("has an empty 'to', by which nobody is told: take it out for everybody"));
        }
        Some(texts) => texts.into_iter().map(Recipient::read).collect::<Result<_, _>>()?,
        None => Vec::new(),
    };
    let to = recipients.iter().map(|recipient| recipient.value.written.clone()).collect();
    let name = entry.key.to_owned();
    Ok((Rule { name, judge, raise, clear, repeat, severity, to, hours }, recipients))
}

/// What is compared `when`, and the windows.
fn compared(section: &Section<'_>, when: &Entry<'_>) -> Result<(Judge, Window, Window), Error> {
    let window = |key, default| match section.get(key) {
        Some(entry) => read_by(&entry, key, str::parse),
        None => Ok(default),
    };
    let judge = read_by(when, "when", |text| Judge::when(text).map_err(|error| hinted(&error)))?;
    // A forecast has looked at several rounds already.
    let default_raise = if judge == Judge::Aberrant { Rule::AT_ONCE } else { Rule::DEFAULT_RAISE };
    Ok((judge, window("for", default_raise)?, window("clear", Rule::DEFAULT_CLEAR)?))
}

/// What is wrong with a condition, and what may have been meant.
fn hinted(error: &ComparisonError) -> String {
    let meant = error.unknown_word().and_then(|(word, known)| {
        let same = OTHER_WORDS.into_iter().find(|(other, _)| *other == word).map(|(_, ours)| ours);
        same.or_else(|| nearest(word, known))
    });
    match meant {
        Some(meant) => format!("{error}: did you mean '{meant}'?"),
        None => error.to_string(),
    }
}

fn pattern(section: &Section<'_>, kind: &Entry<'_>, text: &Entry<'_>) -> Result<Pattern, Error> {
    let kind = kind.parsed(pattern_kind)?.value;
    let semantics = match section.get("semantics") {
        Some(semantics) => semantics.parsed(pattern_semantics)?.value,
        None => Semantics::Manual,
    };
    read_by(text, "pattern", |text| Pattern::parse(kind, semantics, text))
}

/// Whether a pattern is told when it begins and ends to match; else with each round that matches.
fn at_edges(section: &Section<'_>) -> Result<bool, Error> {
    section.get("edgetrigger").map_or(Ok(true), |entry| Ok(entry.flag()?.value))
}

fn read_by<T, E: ToString>(
    entry: &Entry<'_>,
    key: &'static str,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<T, Error> {
    parse(entry.text()?).map_err(|error| Error::Rule {
        at: entry.at.clone(),
        key,
        reason: sentence(&error.to_string()),
    })
}

fn pattern_kind(text: &str) -> Result<PatternKind, value::Wanted> {
    match text {
        "loss" => Ok(PatternKind::Loss),
        "rtt" => Ok(PatternKind::Rtt),
        _ => Err("write loss or rtt"),
    }
}

fn pattern_semantics(text: &str) -> Result<Semantics, value::Wanted> {
    match text {
        "manual" => Ok(Semantics::Manual),
        "smokeping-exact" => Ok(Semantics::SmokePingExact),
        _ => Err("write manual or smokeping-exact"),
    }
}

/// Somebody who is told.
#[derive(Clone, Debug)]
pub(super) struct Recipient {
    /// As the settings write it.
    written: String,
    way: Way,
}

/// How somebody is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Mail,
    Webhook,
    Command,
}

impl Recipient {
    fn read(text: Setting<&str>) -> Result<Setting<Self>, Error> {
        const NAMED: [(&str, Way); 2] = [("webhook:", Way::Webhook), ("command:", Way::Command)];
        let Setting { value: written, origin } = text;
        let named = NAMED.into_iter().find_map(|(prefix, way)| Some((way, written.strip_prefix(prefix)?)));
        let way = match named {
            Some((way, name)) if !name.trim().is_empty() => way,
            None if value::address(written).is_ok() => Way::Mail,
            Some(_) | None => {
                let wanted = "write a mail address, webhook:NAME or command:NAME";
                return Err(Error::value(&origin, "to", written, wanted));
            }
        };
        Ok(Setting { value: Self { written: written.to_owned(), way }, origin })
    }

    /// Refuses a webhook or a command that nobody defined; these are the names of those that there are.
    pub(super) fn check(this: &Setting<Self>, webhooks: &[&str], commands: &[&str]) -> Result<(), Error> {
        let Self { written, way } = &this.value;
        let (kind, known) = match way {
            Way::Mail => return Ok(()),
            Way::Webhook => ("webhook", webhooks),
            Way::Command => ("command", commands),
        };
        let name = written.split_once(':').map_or("", |(_, name)| name);
        if known.contains(&name) {
            return Ok(());
        }
        let hint = match nearest(name, known.iter().copied()) {
            Some(near) => format!("did you mean '{kind}:{}'?", one_line(near)),
            None => format!("no [{kind}] of this name is there"),
        };
        Err(Error::UnknownRecipient { at: this.origin.clone(), name: one_line(written), hint })
    }
}

const KEYS: [&str; 11] = [
    "when",
    "for",
    "clear",
    "repeat",
    "type",
    "pattern",
    "edgetrigger",
    "semantics",
    "severity",
    "to",
    "hours",
];
const LONGEST_NAME: usize = 60;
/// What others call our measures, where it looks more like another one of ours.
const OTHER_WORDS: [(&str, &str); 3] = [("mean", "average"), ("avg", "average"), ("p50", "median")];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Origin;

    #[test]
    fn a_recipient_is_one_of_those_that_are_defined() {
        let check = |written: &str| {
            let recipient = Recipient::read(Setting { value: written, origin: Origin::Default }).unwrap();
            Recipient::check(&recipient, &["slack", "teams"], &["pager"]).map_err(|error| error.to_string())
        };
        for known in ["noc@example.org", "webhook:slack", "command:pager"] {
            assert_eq!(check(known), Ok(()));
        }
        assert_eq!(
            check("webhook:slak"),
            Err("default: unknown recipient 'webhook:slak': did you mean 'webhook:slack'?".to_owned())
        );
        assert_eq!(
            check("command:slack"),
            Err("default: unknown recipient 'command:slack': no [command] of this name is there".to_owned())
        );
    }
}
