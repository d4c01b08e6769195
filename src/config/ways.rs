//! The ways out besides mail: `[webhook.NAME]` and `[command.NAME]`.

use std::path::PathBuf;
use std::time::Duration;

use crate::mail::{Command, CommandError, Form, How, Secret, TemplateError, Way, Webhook, WebhookError};
use crate::mail::{WebhookSettings, placeholders};
use crate::time::Spelled;

use super::TargetConfig;
use super::document::{Entry, Section};
use super::error::{Error, nearest, one_line, sentence};
use super::origin::{Origin, Setting};
use super::read::{Content, read};
use super::value;

/// A way out, and who said what of it.
#[derive(Clone, Debug)]
pub struct WayConfig {
    /// The way.
    pub way: Way,
    /// Where it is defined.
    pub origin: Origin,
    /// What was said of it, by key, without any secret.
    pub said: Vec<(&'static str, Setting<String>)>,
}

/// What the file says of a way. Files of secrets are not read yet.
pub(super) struct WaySection {
    /// `webhook:slack`.
    pub(super) name: String,
    at: Origin,
    what: What,
}

enum What {
    Webhook(WebhookSection),
    Command(CommandSection),
}

struct WebhookSection {
    url: Source,
    in_clear: bool,
    /// Everybody may read the file that this stands in.
    world_readable: bool,
    form: Form,
    /// `template` or `body`, and where.
    form_at: Setting<&'static str>,
    headers: Vec<(Setting<String>, Secret)>,
    token: Option<Source>,
}

/// A secret, or where it lies.
struct Source {
    key: &'static str,
    at: Origin,
    place: Place,
}

enum Place {
    Text(Secret),
    File(PathBuf),
}

struct CommandSection {
    words: Setting<Vec<String>>,
    limit: Setting<Duration>,
}

impl WaySection {
    /// Reads all of `[webhook]` or `[command]`, in a file that everybody may read, or not.
    pub(super) fn read_all(entry: &Entry<'_>, world_readable: bool) -> Result<Vec<Self>, Error> {
        let is_command = entry.key == COMMAND;
        let kind = if is_command { COMMAND } else { WEBHOOK };
        let ways = entry.open_table()?.entries();
        let read = |entry: Entry<'_>| {
            let title = format!("{kind}.{}", one_line(entry.key));
            let fault = |fault: &str| way_error(&entry.at, &title, fault);
            let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            if !(1..=LONGEST_NAME).contains(&entry.key.len()) || !entry.key.bytes().all(is_name) {
                return Err(fault("needs a name of 1 to 40 letters, digits, - and _"));
            }
            let keys: &[_] = if is_command { &COMMAND_KEYS } else { &WEBHOOK_KEYS };
            let section = entry.table(keys, || format!("in [{title}]"))?;
            let what = if is_command {
                What::Command(CommandSection::read(&section, fault)?)
            } else {
                What::Webhook(WebhookSection::read(&section, world_readable, fault)?)
            };
            Ok(Self { name: format!("{kind}:{}", entry.key), at: entry.at.clone(), what })
        };
        if ways.len() > MOST_WAYS {
            return Err(way_error(&entry.at, kind, "has more than 32 names"));
        }
        ways.into_iter().map(read).collect()
    }

    /// The way itself. Says also who may read its secrets, where that is everybody.
    fn resolve(&self) -> Result<(WayConfig, Vec<String>), Error> {
        let title = self.name.replacen(':', ".", 1);
        let (how, said, warnings) = match &self.what {
            What::Webhook(section) => section.resolve(&self.at, &title)?,
            What::Command(section) => section.resolve(&title)?,
        };
        let way = Way { name: self.name.clone(), how };
        Ok((WayConfig { way, origin: self.at.clone(), said }, warnings))
    }
}

/// The ways that hold, and what should be said of them.
pub(super) fn resolve(sections: &[WaySection]) -> Result<(Vec<WayConfig>, Vec<String>), Error> {
    let mut ways = Vec::new();
    let mut all_warnings = Vec::new();
    for section in sections {
        let (way, warnings) = section.resolve()?;
        ways.push(way);
        all_warnings.extend(warnings);
    }
    Ok((ways, all_warnings))
}

/// Refuses a command that would take the name of a target or a rule for an option: one may be called `-rf`.
pub(super) fn check_options(ways: &[WayConfig], targets: &[TargetConfig]) -> Result<(), Error> {
    let names = targets.iter().flat_map(|target| {
        let rules = target.alerts.value.iter().map(|rule| rule.value.name.as_str());
        rules.chain([target.target.name.as_str()])
    });
    let Some(name) = names.into_iter().find(|name| name.starts_with('-')) else { return Ok(()) };
    for way in ways {
        let How::Command(command) = &way.way.how else { continue };
        let Some(word) = command.option_like() else { continue };
        let fault = format!(
            "run: '{}' would be an option where '{}' is told: write \"--\" before it, or \"--name={}\"",
            one_line(word),
            one_line(name),
            one_line(word)
        );
        return Err(way_error(&way.origin, &way.way.name.replacen(':', ".", 1), &fault));
    }
    Ok(())
}

type Resolved = (How, Vec<(&'static str, Setting<String>)>, Vec<String>);

impl WebhookSection {
    fn read(
        section: &Section<'_>,
        world_readable: bool,
        fault: impl Fn(&str) -> Error,
    ) -> Result<Self, Error> {
        let source = |text_key, file_key| {
            let text = section.get(text_key).map(|entry: Entry<'_>| {
                let place = Place::Text(Secret::new(entry.text()?));
                Ok(Source { key: text_key, at: entry.at, place })
            });
            let file = section.get(file_key).map(|entry: Entry<'_>| {
                let place = Place::File(entry.folder().join(entry.parsed(value::not_empty)?.value));
                Ok(Source { key: file_key, at: entry.at, place })
            });
            Ok((text.transpose()?, file.transpose()?))
        };
        let url = match source("url", "url_file")? {
            (Some(url), None) | (None, Some(url)) => url,
            (None, None) => return Err(fault("has neither 'url' nor 'url_file'")),
            (Some(_), Some(_)) => return Err(fault("has 'url' and also 'url_file': keep one of them")),
        };
        let (form, form_at) = match (section.get("template"), section.get("body")) {
            (Some(template), None) => {
                let form = template.parsed(form)?;
                (form.value, Setting { value: "template", origin: form.origin })
            }
            (None, Some(body)) => {
                (Form::Own(body.text()?.to_owned()), Setting { value: "body", origin: body.at })
            }
            (None, None) => return Err(fault("has neither 'template' nor 'body'")),
            (Some(_), Some(_)) => return Err(fault("has 'template' and also 'body': keep one of them")),
        };
        let headers = match section.get("headers") {
            None => Vec::new(),
            Some(entry) => {
                let header = |entry: Entry<'_>| {
                    let name = Setting { value: entry.key.to_owned(), origin: entry.at.clone() };
                    Ok((name, Secret::new(entry.text()?)))
                };
                entry.open_table()?.entries().into_iter().map(header).collect::<Result<_, Error>>()?
            }
        };
        let in_clear = match section.get("tls") {
            None => false,
            Some(entry) => entry.parsed(no_tls)?.value,
        };
        let token = source("", "token_file")?.1;
        Ok(Self { url, in_clear, world_readable, form, form_at, headers, token })
    }

    fn resolve(&self, at: &Origin, title: &str) -> Result<Resolved, Error> {
        let mut warnings = Vec::new();
        let url = self.url.reveal(title, &mut warnings)?;
        let token = self.token.as_ref().map(|token| token.reveal(title, &mut warnings)).transpose()?;
        let settings = WebhookSettings {
            url,
            in_clear: self.in_clear,
            form: self.form.clone(),
            headers: self.headers.iter().map(|(name, value)| (name.value.clone(), value.clone())).collect(),
            token,
        };
        let webhook = Webhook::new(&settings).map_err(|error| match error {
            WebhookError::Url(fault) => way_error(&self.url.at, title, &format!("{}: {fault}", self.url.key)),
            WebhookError::Header { ref name, .. } => {
                let header = self.headers.iter().find(|(header, _)| header.value == *name);
                let at = header.map_or(at, |(name, _)| &name.origin);
                way_error(at, title, &format!("headers: {error}"))
            }
            WebhookError::Token => {
                way_error(self.token.as_ref().map_or(at, |token| &token.at), title, &error.to_string())
            }
            WebhookError::Body(fault) => {
                way_error(&self.form_at.origin, title, &format!("body: {}", hinted(&fault)))
            }
        })?;
        let is_secret =
            matches!(self.form, Form::Slack | Form::Teams) && matches!(self.url.place, Place::Text(_));
        if let (true, true, Origin::File { path, .. }) = (is_secret, self.world_readable, &self.url.at) {
            let path = path.display();
            warnings
                .push(format!("everybody may read the URL of [{title}] in {path}: type 'chmod 600 {path}'"));
        }
        if self.in_clear {
            warnings.push(format!("{at}: [{title}] goes over http://: everybody on the way can read it"));
        }
        let setting =
            |value: &str, origin: &Origin| Setting { value: value.to_owned(), origin: origin.clone() };
        let mut said = vec![(self.url.key, setting(&webhook.shown(), &self.url.at))];
        let form = if self.form_at.value == "body" { "of its own" } else { form_name(&self.form) };
        said.push((self.form_at.value, setting(form, &self.form_at.origin)));
        for (name, _) in &self.headers {
            said.push(("headers", setting(&format!("{}: ***", one_line(&name.value)), &name.origin)));
        }
        if let Some(token) = &self.token {
            said.push((token.key, setting("***", &token.at)));
        }
        Ok((How::Webhook(Box::new(webhook)), said, warnings))
    }
}

impl Source {
    fn reveal(&self, title: &str, warnings: &mut Vec<String>) -> Result<Secret, Error> {
        let path = match &self.place {
            Place::Text(secret) => return Ok(secret.clone()),
            Place::File(path) => path,
        };
        let Content { bytes, world_readable } = read(path, path, &self.at, MOST_BYTES)?;
        let text =
            String::from_utf8(bytes).map_err(|_| Error::NotUtf8 { at: self.at.clone(), key: self.key })?;
        if text.trim().is_empty() {
            let fault = format!("{}: there is nothing in {}", self.key, path.display());
            return Err(way_error(&self.at, title, &fault));
        }
        if world_readable {
            let what = if self.key == "url_file" { "URL" } else { "token" };
            let path = path.display();
            warnings.push(format!(
                "everybody may read the {what} of [{title}] in {path}: type 'chmod 600 {path}'"
            ));
        }
        Ok(Secret::new(text.trim()))
    }
}

impl CommandSection {
    fn read(section: &Section<'_>, fault: impl Fn(&str) -> Error) -> Result<Self, Error> {
        let run = section
            .get("run")
            .ok_or_else(|| fault("has no 'run', as [\"/usr/local/bin/pager\", \"{{target}}\"]"))?;
        let words = run.texts()?.into_iter().map(|word| word.value.to_owned()).collect();
        let limit = match section.get("timeout") {
            Some(entry) => entry.parsed_number(value::command_timeout, "a duration")?,
            None => Setting::default(DEFAULT_LIMIT),
        };
        Ok(Self { words: Setting { value: words, origin: run.at }, limit })
    }

    fn resolve(&self, title: &str) -> Result<Resolved, Error> {
        let words: Vec<&str> = self.words.value.iter().map(String::as_str).collect();
        let command = Command::new(&words, self.limit.value).map_err(|error| {
            let fault = match &error {
                CommandError::Word { word, error } => format!("'{}' {}", one_line(word), hinted(error)),
                _ => error.to_string(),
            };
            way_error(&self.words.origin, title, &format!("run: {fault}"))
        })?;
        let run = Setting { value: one_line(&command.words().join(" ")), origin: self.words.origin.clone() };
        let limit =
            Setting { value: Spelled(self.limit.value).to_string(), origin: self.limit.origin.clone() };
        Ok((How::Command(command), vec![("run", run), ("timeout", limit)], Vec::new()))
    }
}

/// What is wrong with a template, and what may have been meant.
fn hinted(error: &TemplateError) -> String {
    let TemplateError::Unknown { name, .. } = error else { return error.to_string() };
    match nearest(name, placeholders()) {
        Some(near) => format!("{error}: did you mean '{{{{{near}}}}}'?"),
        None => format!("{error}: there are {}", placeholders().collect::<Vec<_>>().join(", ")),
    }
}

fn way_error(at: &Origin, title: &str, fault: &str) -> Error {
    Error::Way { at: at.clone(), title: title.to_owned(), fault: sentence(fault) }
}

fn form(text: &str) -> Result<Form, value::Wanted> {
    FORMS
        .iter()
        .find(|(name, _)| *name == text)
        .map(|(_, form)| form.clone())
        .ok_or("write slack, ntfy, teams, alertmanager or plain, or a 'body' of your own")
}

fn form_name(form: &Form) -> &'static str {
    FORMS.iter().find(|(_, known)| known == form).map_or("of its own", |(name, _)| name)
}

fn no_tls(text: &str) -> Result<bool, value::Wanted> {
    if text == "none" { Ok(true) } else { Err("write none, or leave it out: https:// has it") }
}

const WEBHOOK: &str = "webhook";
const COMMAND: &str = "command";
const WEBHOOK_KEYS: [&str; 7] = ["url", "url_file", "template", "body", "headers", "token_file", "tls"];
const COMMAND_KEYS: [&str; 2] = ["run", "timeout"];
const FORMS: [(&str, Form); 5] = [
    ("slack", Form::Slack),
    ("ntfy", Form::Ntfy),
    ("teams", Form::Teams),
    ("alertmanager", Form::Alertmanager),
    ("plain", Form::Plain),
];
const DEFAULT_LIMIT: Duration = Duration::from_secs(30);
const LONGEST_NAME: usize = 40;
/// Each has a thread.
const MOST_WAYS: usize = 32;
const MOST_BYTES: u64 = 64 << 10;
