//! `latmon.toml` and the files it includes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::alert::rule::Rule;
use crate::time::Step;

use super::document::{Entry, Section, Source};
use super::echo::EchoPreferences;
use super::error::{Error, nearest, one_line};
use super::hosts;
use super::kept::{self, Bytes, Question};
use super::mail::MailSection;
use super::origin::{Origin, Setting};
use super::pace::ProbeConfig;
use super::read::read;
use super::rules::{self, Recipient};
use super::targets::{Candidate, Candidates};
use super::telling::TellingConfig;
use super::uplink::UplinkConfig;
use super::value;
use super::ways::WaySection;

/// What a TOML file and those it includes say.
pub(super) struct File {
    pub(super) data_dir: Option<Setting<PathBuf>>,
    pub(super) user: Option<Setting<String>>,
    pub(super) defaults: Arc<Preferences>,
    pub(super) pace: ProbeConfig,
    pub(super) uplink: UplinkConfig,
    pub(super) telling: TellingConfig,
    pub(super) mail: Option<MailSection>,
    pub(super) ways: Vec<WaySection>,
    pub(super) alerts: BTreeMap<String, Setting<Arc<Rule>>>,
    pub(super) targets: Vec<Candidate>,
}

/// What a target, a group or `[defaults]` says about how to ping; the rest is left to the next one up.
#[derive(Clone, Default)]
pub(super) struct Preferences {
    pub(super) step: Option<Setting<Step>>,
    pub(super) pings: Option<Setting<u16>>,
    pub(super) timeout: Option<Setting<Duration>>,
    pub(super) alerts: Option<Setting<AlertNames>>,
    /// The target that it lies behind.
    pub(super) parent: Option<Setting<String>>,
    /// Shared by all targets of which the same is said: there may be a hundred thousand.
    pub(super) echo: Option<Arc<EchoPreferences>>,
}

/// The names in a list of alerts, each with its own line.
pub(super) type AlertNames = Arc<[Setting<String>]>;

impl Preferences {
    /// These, and what `lower` says where they say nothing.
    pub(super) fn over(self, lower: &Self) -> Self {
        Self {
            step: self.step.or_else(|| lower.step.clone()),
            pings: self.pings.or_else(|| lower.pings.clone()),
            timeout: self.timeout.or_else(|| lower.timeout.clone()),
            alerts: self.alerts.or_else(|| lower.alerts.clone()),
            parent: self.parent.or_else(|| lower.parent.clone()),
            echo: EchoPreferences::over(self.echo, lower.echo.as_ref()),
        }
    }
}

impl File {
    /// Reads the file at `path`, which `named_by` asks for and people know as `shown`, and all it includes.
    pub(super) fn read(
        path: &Path,
        shown: &Path,
        named_by: &Origin,
        working_dir: &Path,
    ) -> Result<Self, Error> {
        let mut reader = Reader::new(working_dir);
        reader.read(path, shown, named_by, 0)?;
        reader.file.targets = reader.targets.distinct()?;
        for name in reader.alert_lists.iter().flat_map(|list| list.iter()) {
            reader.file.check_alert(name)?;
        }
        let called =
            |prefix| reader.file.ways.iter().filter_map(move |way| way.name.strip_prefix(prefix)).collect();
        let (webhooks, commands): (Vec<&str>, Vec<&str>) = (called("webhook:"), called("command:"));
        for recipient in &reader.recipients {
            Recipient::check(recipient, &webhooks, &commands)?;
        }
        reader.file.telling.check(reader.file.targets.iter().map(Candidate::name))?;
        Ok(reader.file)
    }

    fn check_alert(&self, name: &Setting<String>) -> Result<(), Error> {
        if name.value == Rule::DOWN || self.alerts.contains_key(&name.value) {
            return Ok(());
        }
        let known = self.alerts.keys().map(String::as_str).chain([Rule::DOWN]);
        let hint = match nearest(&name.value, known) {
            Some(near) => format!("did you mean '{}'?", one_line(near)),
            None => "no [alert] of this name is there".to_owned(),
        };
        Err(Error::UnknownAlert { at: name.origin.clone(), name: one_line(&name.value), hint })
    }
}

/// Reads files one after the other into one [`File`].
struct Reader<'a> {
    working_dir: &'a Path,
    file: File,
    targets: Candidates,
    groups: BTreeMap<String, Origin>,
    alert_lists: Vec<AlertNames>,
    /// Who is told by any alert.
    recipients: Vec<Setting<Recipient>>,
    /// The files that were read, by their paths without links: one that two patterns match is read once.
    seen: BTreeSet<PathBuf>,
}

impl<'a> Reader<'a> {
    fn new(working_dir: &'a Path) -> Self {
        let file = File {
            data_dir: None,
            user: None,
            defaults: Arc::default(),
            pace: ProbeConfig::default(),
            uplink: UplinkConfig::default(),
            telling: TellingConfig::default(),
            mail: None,
            ways: Vec::new(),
            alerts: BTreeMap::new(),
            targets: Vec::new(),
        };
        let targets = Candidates::default();
        Self {
            working_dir,
            file,
            targets,
            groups: BTreeMap::new(),
            alert_lists: Vec::new(),
            recipients: Vec::new(),
            seen: BTreeSet::new(),
        }
    }

    fn read(&mut self, path: &Path, shown: &Path, named_by: &Origin, level: usize) -> Result<(), Error> {
        let canonical = kept::asked(Question::Canonical, path, || path.canonicalize().ok().map(Bytes::from));
        if !self.seen.insert(canonical.map_or_else(|| path.to_owned(), PathBuf::from)) {
            return Ok(());
        }
        if self.seen.len() > MOST_FILES {
            return Err(Error::IncludeBound { at: named_by.clone(), what: "files", max: MOST_FILES });
        }
        let content = read(path, shown, named_by, MOST_BYTES)?;
        let folder = path.parent().unwrap_or(Path::new("/")).to_owned();
        let source = Source::new(shown, folder, content.bytes)?;
        let table = source.parse()?;
        let top = Section::top(&source, &table, &TOP_KEYS)?;
        if level == 0 {
            self.main_only(&top, content.world_readable)?;
        } else if let Some((key, entry)) = MAIN_ONLY.iter().find_map(|key| Some((*key, top.get(key)?))) {
            return Err(Error::NotIncluded { at: entry.at, key });
        }
        self.alerts(&top)?;
        if let Some(entry) = top.get("maintenance") {
            for entry in entry.open_table()?.entries() {
                self.file.telling.add_maintenance(&entry)?;
            }
        }
        if let Some(entry) = top.get("targets") {
            let defaults = Arc::clone(&self.file.defaults);
            self.targets(&entry.open_table()?, "", &defaults)?;
        }
        if let Some(entry) = top.get("targets_file") {
            let defaults = Arc::clone(&self.file.defaults);
            self.lists(&entry, "", &defaults)?;
        }
        self.groups(&top)?;
        match top.get("include") {
            Some(entry) => self.include(&entry, level),
            None => Ok(()),
        }
    }

    fn main_only(&mut self, top: &Section<'_>, world_readable: bool) -> Result<(), Error> {
        if let Some(entry) = top.get("data_dir") {
            let text = entry.parsed(value::not_empty)?;
            self.file.data_dir = Some(text.map(|text| entry.folder().join(text)));
        }
        if let Some(entry) = top.get("user") {
            self.file.user = Some(entry.parsed(value::not_empty)?);
        }
        if let Some(entry) = top.get("defaults") {
            let section = entry.table(&PREFERENCES, || "in [defaults]".to_owned())?;
            self.file.defaults = Arc::new(self.preferences(&section)?);
        }
        if let Some(entry) = top.get("probe") {
            self.file.pace = ProbeConfig::read(&entry)?;
        }
        if let Some(entry) = top.get("uplink") {
            self.file.uplink = UplinkConfig::read(&entry)?;
        }
        if let Some(entry) = top.get("alerts") {
            self.file.telling.read(&entry)?;
        }
        if let Some(entry) = top.get("mail") {
            self.file.mail = Some(MailSection::read(&entry, world_readable)?);
        }
        for entry in ["webhook", "command"].into_iter().filter_map(|key| top.get(key)) {
            self.file.ways.extend(WaySection::read_all(&entry, world_readable)?);
        }
        Ok(())
    }

    fn preferences(&mut self, section: &Section<'_>) -> Result<Preferences, Error> {
        let step = section.get("step").map(|entry| entry.parsed_number(value::step, A_DURATION));
        let pings = section.get("pings").map(|entry| entry.parsed_number(value::pings, "a whole number"));
        let timeout = section.get("timeout").map(|entry| entry.parsed_number(value::timeout, A_DURATION));
        let alerts = section.get("alerts").map(|entry| {
            let names = entry.texts()?.into_iter().map(|name| name.map(str::to_owned)).collect();
            Ok(Setting { value: names, origin: entry.at })
        });
        let alerts: Option<Setting<AlertNames>> = alerts.transpose()?;
        self.alert_lists.extend(alerts.iter().map(|list| Arc::clone(&list.value)));
        Ok(Preferences {
            step: step.transpose()?,
            pings: pings.transpose()?,
            timeout: timeout.transpose()?,
            alerts,
            parent: section.get("parent").map(|entry| entry.parsed(value::not_empty)).transpose()?,
            echo: EchoPreferences::read(section)?,
        })
    }

    /// The targets of a table, which say more than `shared`; their names begin with `prefix`.
    fn targets(&mut self, table: &Section<'_>, prefix: &str, shared: &Arc<Preferences>) -> Result<(), Error> {
        for entry in table.entries() {
            let name = format!("{prefix}{}", entry.key);
            if let Some(fault) = value::name_fault(&name) {
                return Err(Error::Name { at: entry.at, name: one_line(&name), fault });
            }
            if entry.is_table() {
                self.target(&entry, &name, shared)?;
            } else if entry.text().is_ok() {
                self.targets.add(&name, &entry.parsed(value::host)?.value, &entry.at, shared)?;
            } else {
                return Err(entry.wrong_type("a host in quotes, or a table with 'host' or 'cidr'"));
            }
        }
        Ok(())
    }

    /// A target that is a table: a host, or all hosts of a network.
    fn target(&mut self, entry: &Entry<'_>, name: &str, shared: &Arc<Preferences>) -> Result<(), Error> {
        let section = entry.table(&TARGET_KEYS, || format!("in target '{}'", one_line(name)))?;
        let mut said = self.preferences(&section)?;
        said.echo = said.echo.map(EchoPreferences::of_one_target);
        if let Some(parent) = said.parent.as_ref().filter(|parent| parent.value == name) {
            let names = format!("{name} behind {name}", name = one_line(name));
            return Err(Error::ParentCircle { at: parent.origin.clone(), names });
        }
        let said = Arc::new(said.over(shared));
        let (at, shown) = (entry.at.clone(), || one_line(name));
        match (section.get("host"), section.get("cidr")) {
            (Some(host), None) => self.targets.add(name, &host.parsed(value::host)?.value, &at, &said),
            (None, Some(cidr)) => {
                for address in hosts::network(cidr.text()?, &cidr.at)? {
                    self.targets.add(&format!("{name}/{address}"), &address.to_string(), &at, &said)?;
                }
                Ok(())
            }
            (None, None) => Err(Error::NoHost { at, name: shown() }),
            (Some(_), Some(_)) => Err(Error::HostAndNetwork { at, name: shown() }),
        }
    }

    /// The targets of the lists that an entry names.
    fn lists(&mut self, entry: &Entry<'_>, prefix: &str, said: &Arc<Preferences>) -> Result<(), Error> {
        let named = entry.parsed(value::not_empty)?;
        for path in hosts::lists(entry.folder(), &named)? {
            let shown = path.strip_prefix(self.working_dir).unwrap_or(&path);
            hosts::add_list(&mut self.targets, &path, shown, &named.origin, prefix, said)?;
        }
        Ok(())
    }

    fn groups(&mut self, top: &Section<'_>) -> Result<(), Error> {
        let Some(entry) = top.get("group") else { return Ok(()) };
        for entry in entry.open_table()?.entries() {
            let name = entry.key.to_owned();
            if let Some(first) = self.groups.insert(name.clone(), entry.at.clone()) {
                return Err(Error::NamedTwice { at: entry.at, kind: "group", name: one_line(&name), first });
            }
            let section = entry.table(&GROUP_KEYS, || format!("in [group.{}]", one_line(&name)))?;
            let preferences = Arc::new(self.preferences(&section)?.over(&self.file.defaults));
            if let Some(targets) = section.get("targets") {
                self.targets(&targets.open_table()?, &format!("{name}/"), &preferences)?;
            }
            if let Some(entry) = section.get("targets_file") {
                self.lists(&entry, &format!("{name}/"), &preferences)?;
            }
        }
        Ok(())
    }

    fn alerts(&mut self, top: &Section<'_>) -> Result<(), Error> {
        let Some(entry) = top.get("alert") else { return Ok(()) };
        for entry in entry.open_table()?.entries() {
            let (rule, recipients) = rules::rule(&entry)?;
            self.recipients.extend(recipients);
            let rule = Setting { value: Arc::new(rule), origin: entry.at };
            let at = rule.origin.clone();
            if let Some(first) = self.file.alerts.insert(entry.key.to_owned(), rule) {
                let name = one_line(entry.key);
                return Err(Error::NamedTwice { at, kind: "alert", name, first: first.origin });
            }
        }
        Ok(())
    }

    fn include(&mut self, entry: &Entry<'_>, level: usize) -> Result<(), Error> {
        for pattern in entry.texts()? {
            if level == MOST_LEVELS {
                let what = "levels of files";
                return Err(Error::IncludeBound { at: pattern.origin, what, max: MOST_LEVELS });
            }
            for path in matches(entry.folder(), &pattern)? {
                let shown = path.strip_prefix(self.working_dir).unwrap_or(&path);
                self.read(&path, shown, &pattern.origin, level + 1)?;
            }
        }
        Ok(())
    }
}

/// The files that a pattern of `include` means, in the order of their names. One without a wildcard names a file that
/// must be there.
fn matches(folder: &Path, pattern: &Setting<&str>) -> Result<Vec<PathBuf>, Error> {
    if !pattern.value.contains(['*', '?', '[']) {
        return Ok(vec![folder.join(pattern.value)]);
    }
    let bad = |reason| Error::IncludePattern {
        at: pattern.origin.clone(),
        pattern: one_line(pattern.value),
        reason,
    };
    // It would walk through whatever lies below, without a bound.
    if pattern.value.contains("**") {
        return Err(bad("write each folder, ** is not understood"));
    }
    let whole = if Path::new(pattern.value).is_absolute() {
        pattern.value.to_owned()
    } else {
        format!("{}/{}", glob::Pattern::escape(&folder.to_string_lossy()), pattern.value)
    };
    kept::listed(Path::new(&whole), || found(&whole, pattern))
}

fn found(whole: &str, pattern: &Setting<&str>) -> Result<Vec<PathBuf>, Error> {
    let bad = |reason| Error::IncludePattern {
        at: pattern.origin.clone(),
        pattern: one_line(pattern.value),
        reason,
    };
    let options = glob::MatchOptions { require_literal_leading_dot: true, ..glob::MatchOptions::new() };
    let found = glob::glob_with(whole, options).map_err(|error| bad(error.msg))?;
    let mut files = Vec::new();
    for path in found {
        let path = path.map_err(|error| Error::Read {
            named_by: pattern.origin.clone(),
            path: error.path().to_owned(),
            reason: error.error().kind(),
        })?;
        if path.is_dir() {
            continue;
        }
        if files.len() == MOST_FILES {
            let at = pattern.origin.clone();
            return Err(Error::IncludeBound { at, what: "files", max: MOST_FILES });
        }
        files.push(path);
    }
    Ok(files)
}

const TOP_KEYS: [&str; 15] = [
    "data_dir",
    "user",
    "include",
    "defaults",
    "probe",
    "uplink",
    "mail",
    "webhook",
    "command",
    "alerts",
    "alert",
    "maintenance",
    "targets",
    "targets_file",
    "group",
];
const MAIN_ONLY: [&str; 9] =
    ["data_dir", "user", "defaults", "probe", "uplink", "mail", "webhook", "command", "alerts"];
const PREFERENCES: [&str; 12] = with_preferences([]);
const TARGET_KEYS: [&str; 15] = with_preferences(["host", "cidr", "parent"]);
const GROUP_KEYS: [&str; 15] = with_preferences(["targets", "targets_file", "parent"]);
/// `own`, and behind them the keys that targets, groups and `[defaults]` share.
const fn with_preferences<const OWN: usize, const ALL: usize>(
    own: [&'static str; OWN],
) -> [&'static str; ALL] {
    let mut all = [""; ALL];
    let (rounds, echoes) = (["step", "pings", "timeout", "alerts"], EchoPreferences::KEYS);
    let mut n = 0;
    while n < ALL {
        all[n] = if n < OWN {
            own[n]
        } else if n < OWN + rounds.len() {
            rounds[n - OWN]
        } else {
            echoes[n - OWN - rounds.len()]
        };
        n += 1;
    }
    all
}

const A_DURATION: &str = "a duration";

/// A hundred thousand targets with settings of their own fit.
const MOST_BYTES: u64 = 32 << 20;
const MOST_FILES: usize = 10_000;
const MOST_LEVELS: usize = 8;
