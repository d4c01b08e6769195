//! Settings: what was typed, the environment, `.env`, TOML files and defaults, in this order of rank, become each room's
//! own `Settings`. Every value keeps its origin, and every error its place.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::alert::rule::Rule;
use crate::archive::Wanted;
use crate::probe::icmp::Family;
use crate::round::{Rtt, Target};
use crate::time::Step;
use crate::{alert, archive, mail as post, probe};

pub use self::echo::{EchoConfig, Families};
pub use self::error::Error;
pub use self::kept::Kept;
pub use self::origin::{Origin, Setting};
pub use self::pace::ProbeConfig;
pub use self::telling::TellingConfig;
pub use self::uplink::UplinkConfig;
pub use self::ways::WayConfig;

mod document;
mod dotenv;
mod echo;
mod error;
mod file;
mod hosts;
mod kept;
mod mail;
mod origin;
mod pace;
mod read;
mod rules;
mod said;
mod targets;
mod telling;
mod uplink;
mod value;
mod ways;

use self::file::File;
use self::kept::Question;
use self::said::{
    LATENCY_STEP, LATENCY_THRESHOLD, LATMON_CONFIG, LATMON_DATA_DIR, PING_HOST, STATE_DIRECTORY, Said,
};
use self::targets::{Candidate, Candidates, Overrides};

/// What was typed.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The words: hosts to ping instead of the targets of the file.
    pub targets: Vec<String>,
    /// `--config`
    pub config: Option<PathBuf>,
    /// `--data-dir`
    pub data_dir: Option<PathBuf>,
    /// `--step`
    pub step: Option<String>,
    /// `--pings`
    pub pings: Option<String>,
    /// `--threshold`
    pub threshold: Option<String>,
}

/// What a process finds around it. A value, so that nothing below has to ask the process; it has no `Debug`, because
/// passwords are in it.
#[derive(Clone)]
pub struct Surroundings {
    /// The environment.
    pub variables: BTreeMap<OsString, OsString>,
    /// Where `.env` and `latmon.toml` are looked for, and relative paths begin.
    pub working_dir: PathBuf,
    /// The settings of the whole system.
    pub system_file: PathBuf,
}

impl Surroundings {
    /// Those of this process.
    pub fn of_process() -> Self {
        Self {
            variables: std::env::vars_os().collect(),
            // A working folder that was deleted holds neither `.env` nor `latmon.toml`.
            working_dir: std::env::current_dir().unwrap_or_else(|_| PathBuf::from(".")),
            system_file: PathBuf::from(SYSTEM_FILE),
        }
    }
}

/// The settings that hold.
#[derive(Clone, Debug)]
pub struct Config {
    /// The TOML file that was read, as people name it.
    pub file: Option<PathBuf>,
    /// Where archives, mails and state lie.
    pub data_dir: Setting<PathBuf>,
    /// Who the monitor becomes once it has its sockets; `None` where it stays who it is.
    pub user: Option<Setting<String>>,
    /// Every target and where its settings come from; the rooms' own lists have the same order.
    pub targets: Vec<TargetConfig>,
    /// How the prober goes about them all, and who said so.
    pub pace: ProbeConfig,
    /// How our own uplink is judged, and who said so.
    pub uplink: UplinkConfig,
    /// For the prober.
    pub probe: probe::Settings,
    /// For the archives.
    pub archive: archive::Settings,
    /// For the judges.
    pub alert: alert::Settings,
    /// How notices are made of alerts, and who said so.
    pub telling: TellingConfig,
    /// For those who make them.
    pub desk: alert::desk::Settings,
    /// For the mailer; `None` where nobody is mailed.
    pub mail: Option<post::Settings>,
    /// Whether a stop that was asked for is mailed too, and not only the ends that nobody wanted.
    pub mail_every_end: Setting<bool>,
    /// Where the mail settings come from; there whenever `mail` is.
    pub mail_origins: Option<MailOrigins>,
    /// The webhooks and commands that are told, in the order of the file.
    pub ways: Vec<WayConfig>,
    /// The limits to draw as lines, of the targets that have one.
    pub limits: HashMap<Arc<Target>, Rtt>,
    /// What is no error and still should be said once, a sentence each.
    pub warnings: Vec<String>,
}

/// One target, how it is pinged and judged, and who said so.
#[derive(Clone, Debug)]
pub struct TargetConfig {
    /// Who.
    pub target: Arc<Target>,
    /// Where it is named.
    pub origin: Origin,
    /// The length of a round.
    pub step: Setting<Step>,
    /// The echoes of a round.
    pub pings: Setting<u16>,
    /// How long a reply may take.
    pub timeout: Setting<Duration>,
    /// The family of the address that is asked; `None` where that is left to the resolver.
    pub family: Option<Family>,
    /// What its echoes look like: targets of which the same is said share it.
    pub echo: Arc<EchoConfig>,
    /// The name of the target that it lies behind.
    pub parent: Option<Setting<String>>,
    /// The rules that judge its rounds: who chose them, and where each is written.
    pub alerts: Setting<Vec<Setting<Arc<Rule>>>>,
    /// The limit to draw as a line: of the threshold, or of the first rule that watches for a median above one.
    pub limit: Option<Rtt>,
}

/// Where the mail settings come from.
#[derive(Clone, Debug)]
pub struct MailOrigins {
    /// The sender.
    pub from: Origin,
    /// The recipients.
    pub to: Origin,
    /// The server's name.
    pub server: Origin,
    /// Its port.
    pub port: Origin,
    /// How the line is made private.
    pub tls: Origin,
    /// The name to log in with.
    pub username: Option<Origin>,
    /// The password, or the file it is in.
    pub password: Option<Origin>,
    /// The fallback server.
    pub fallback: Option<Origin>,
}

/// Finds out which settings hold.
pub fn load(options: &Options, surroundings: &Surroundings) -> Result<Config, Error> {
    let loader = Loader::new(options, surroundings)?;
    let mail = loader.mail()?;
    let (ways, warnings) = loader.ways()?;
    let mut config = loader.config(mail)?;
    ways::check_options(&ways, &config.targets)?;
    config.ways = ways;
    config.warnings.extend(warnings);
    if config.targets.is_empty() { Err(Error::NoTargets) } else { Ok(config) }
}

/// As [`load`], with all that was read to get there.
pub fn load_and_keep(options: &Options, surroundings: &Surroundings) -> (Result<Config, Error>, Kept) {
    Kept::keeping(|| load(options, surroundings))
}

/// As [`load`], from what was read by [`load_and_keep`] in another process, with the same options and surroundings.
pub fn load_kept(options: &Options, surroundings: &Surroundings, kept: Kept) -> Result<Config, Error> {
    kept.answering(|| load(options, surroundings))
}

/// As [`load`], for commands that only look: there may be no target at all, and the settings of mail, webhooks and
/// commands are left out, because a password file may be readable for the monitor alone.
pub fn look(options: &Options, surroundings: &Surroundings) -> Result<Config, Error> {
    Loader::new(options, surroundings)?.config(None)
}

/// The name of a differentiated services code point, where it has one.
pub fn dscp_name(number: u8) -> Option<String> {
    value::dscp_names().find(|(_, known)| *known == number).map(|(name, _)| name)
}

/// Everything that was read.
struct Loader<'a> {
    options: &'a Options,
    surroundings: &'a Surroundings,
    said: Said<'a>,
    file: Option<Found>,
}

/// A TOML file, and where it was found.
struct Found {
    path: PathBuf,
    shown: PathBuf,
    content: File,
}

impl<'a> Loader<'a> {
    fn new(options: &'a Options, surroundings: &'a Surroundings) -> Result<Self, Error> {
        let said = Said::read(surroundings)?;
        let file = find_file(options, surroundings, &said)?;
        Ok(Self { options, surroundings, said, file })
    }

    fn content(&self) -> Option<&File> {
        self.file.as_ref().map(|found| &found.content)
    }

    fn mail(&self) -> Result<Option<mail::Mail>, Error> {
        let section = self.content().and_then(|file| file.mail.as_ref());
        mail::resolve(&self.said, section, &self.surroundings.working_dir)
    }

    fn ways(&self) -> Result<(Vec<WayConfig>, Vec<String>), Error> {
        ways::resolve(self.content().map_or(&[][..], |file| &file.ways))
    }

    fn config(mut self, mail: Option<mail::Mail>) -> Result<Config, Error> {
        let data_dir = self.data_dir();
        let overrides = self.overrides()?;
        let candidates = match self.named(&data_dir)? {
            Some(named) => named,
            None => {
                self.file.as_mut().map(|file| std::mem::take(&mut file.content.targets)).unwrap_or_default()
            }
        };
        let mut targets = targets::resolve(candidates, &overrides, self.content());
        telling::resolve_parents(&mut targets)?;
        let telling = self.content().map(|file| file.telling.clone()).unwrap_or_default();
        let pace = self.content().map(|file| file.pace.clone()).unwrap_or_default();
        let uplink = self.content().map(|file| file.uplink.clone()).unwrap_or_default();
        let mut warnings = self.said.slips();
        warnings.extend(too_fast(&targets, &pace));
        let mail_every_end =
            mail.as_ref().map_or_else(|| Setting::default(true), |mail| mail.every_end.clone());
        let (mail, mail_origins) = match mail {
            Some(mail) => {
                warnings.extend(mail.warnings);
                (Some(mail.settings), Some(mail.origins))
            }
            None => (None, None),
        };
        Ok(Config {
            file: self.file.as_ref().map(|found| found.shown.clone()),
            probe: probe::Settings {
                targets: targets.iter().map(TargetConfig::probe).collect(),
                pace: pace.pace(),
                resolve_every: pace.resolve_every.value,
                anchors: uplink.anchors.value.clone(),
                known_anchors: Vec::new(),
            },
            pace,
            uplink,
            archive: archive::Settings {
                data_dir: data_dir.value.clone(),
                targets: targets.iter().map(TargetConfig::archive).collect(),
            },
            alert: alert::Settings { targets: targets.iter().map(TargetConfig::alert).collect() },
            desk: telling.desk(&targets),
            telling,
            limits: targets.iter().filter_map(|t| Some((Arc::clone(&t.target), t.limit?))).collect(),
            data_dir,
            user: self.content().and_then(|file| file.user.clone()),
            targets,
            mail,
            mail_every_end,
            mail_origins,
            ways: Vec::new(),
            warnings,
        })
    }

    fn data_dir(&self) -> Setting<PathBuf> {
        let working_dir = &self.surroundings.working_dir;
        let option = self
            .options
            .data_dir
            .as_ref()
            .map(|path| Setting { value: working_dir.join(path), origin: Origin::Option("--data-dir") });
        let said = || self.said.path(LATMON_DATA_DIR).map(|path| path.map(|path| working_dir.join(path)));
        let unit = || {
            self.said
                .environment(STATE_DIRECTORY)
                .map(|folders| folders.map(|folders| working_dir.join(first_folder(folders))))
        };
        let file = || self.content().and_then(|file| file.data_dir.clone());
        option.or_else(said).or_else(unit).or_else(file).unwrap_or_else(|| self.default_data_dir())
    }

    fn default_data_dir(&self) -> Setting<PathBuf> {
        let working_dir = &self.surroundings.working_dir;
        match &self.file {
            Some(found) if found.path == working_dir.join(LOCAL_FILE) => {
                Setting { value: working_dir.clone(), origin: Origin::FolderOf(found.shown.as_path().into()) }
            }
            Some(_) => Setting::default(PathBuf::from(SYSTEM_DATA_DIR)),
            None => Setting::default(working_dir.clone()),
        }
    }

    fn overrides(&self) -> Result<Overrides, Error> {
        let (typed, said) = (self.options, &self.said);
        // What is outranked is not even read: first one wins.
        let step = match option("--step", typed.step.as_deref(), value::step)? {
            Some(step) => Some(step),
            None => said.parsed(LATENCY_STEP, value::step)?,
        };
        let threshold = match option("--threshold", typed.threshold.as_deref(), value::threshold)? {
            Some(threshold) => Some(threshold),
            None => said.parsed(LATENCY_THRESHOLD, value::threshold)?,
        };
        let pings = option("--pings", typed.pings.as_deref(), value::pings)?;
        Ok(Overrides { step, pings, threshold })
    }

    /// What the words name, or else PING_HOST: it takes the place of the file's targets.
    fn named(&self, data_dir: &Setting<PathBuf>) -> Result<Option<Vec<Candidate>>, Error> {
        let named = if !self.options.targets.is_empty() {
            let at = Origin::Option("TARGET");
            let host =
                |word: &String| value::host(word).map_err(|wanted| Error::value(&at, "", word, wanted));
            let value = self.options.targets.iter().map(host).collect::<Result<Vec<_>, _>>()?;
            Setting { value, origin: at }
        } else if let Some(hosts) = self.said.parsed(PING_HOST, value::hosts)? {
            hosts
        } else {
            return Ok(None);
        };
        let from_words = matches!(named.origin, Origin::Option(_));
        // One host in the environment and nothing else: what the programs before this one wrote to `latency.rrd`.
        let as_script = !from_words && self.file.is_none() && data_dir.origin == Origin::Default;
        let defaults = self.content().map(|file| Arc::clone(&file.defaults)).unwrap_or_default();
        let mut targets = Candidates::default();
        for host in &named.value {
            let name = if as_script && named.value.len() == 1 { SCRIPT_TARGET } else { host };
            targets.add(name, host, &named.origin, &defaults)?;
        }
        targets.distinct().map(Some)
    }
}

/// The TOML file that holds: a named one must be there, the two others may be.
fn find_file(
    options: &Options,
    surroundings: &Surroundings,
    said: &Said<'_>,
) -> Result<Option<Found>, Error> {
    let working_dir = &surroundings.working_dir;
    let option = options.config.clone().map(|value| Setting { value, origin: Origin::Option("--config") });
    let read = |shown: &Path, named_by: &Origin| {
        let path = working_dir.join(shown);
        let content = File::read(&path, shown, named_by, working_dir)?;
        Ok(Some(Found { path, shown: shown.to_owned(), content }))
    };
    if let Some(named) = option.or_else(|| said.path(LATMON_CONFIG)) {
        return read(&named.value, &named.origin);
    }
    for shown in [Path::new(LOCAL_FILE), &surroundings.system_file] {
        // A file that cannot be looked at is there: reading it tells why.
        let path = working_dir.join(shown);
        let is_there =
            kept::asked(Question::IsThere, &path, || path.try_exists().unwrap_or(true) && !path.is_dir());
        if is_there {
            return read(shown, &Origin::Default);
        }
    }
    Ok(None)
}

fn option<T>(
    name: &'static str,
    typed: Option<&str>,
    parse: fn(&str) -> Result<T, value::Wanted>,
) -> Result<Option<Setting<T>>, Error> {
    let Some(text) = typed else { return Ok(None) };
    let origin = Origin::Option(name);
    match parse(text) {
        Ok(value) => Ok(Some(Setting { value, origin })),
        Err(wanted) => Err(Error::value(&origin, name, text, wanted)),
    }
}

/// systemd lists all folders of a unit with colons between them.
fn first_folder(folders: &OsStr) -> PathBuf {
    let first = folders.as_bytes().split(|byte| *byte == b':').next().unwrap_or_default();
    PathBuf::from(OsStr::from_bytes(first))
}

/// A sentence where the targets ask for more than the prober may send: what is too much would be unknown.
fn too_fast(targets: &[TargetConfig], pace: &ProbeConfig) -> Option<String> {
    let asked: f64 = targets.iter().map(TargetConfig::packets_per_sec).sum();
    let Setting { value: most, origin } = &pace.packets_per_sec;
    (asked > f64::from(*most)).then(|| {
        format!(
            "the targets ask for {asked:.0} packets/s, and packets_per_sec = {most} ({origin}) allows fewer"
        )
    })
}

impl TargetConfig {
    /// How many echoes a second it asks for.
    pub fn packets_per_sec(&self) -> f64 {
        f64::from(self.pings.value) / f64::from(self.step.value.secs())
    }

    /// Whether people mean it by `word`: its name, that of a group or a network it is of, or the one it has for both of its
    /// families.
    pub fn is_called(&self, word: &str) -> bool {
        let of_both = |rest: &str| self.echo.family.value == Families::Both && matches!(rest, "-v4" | "-v6");
        let rest = self.target.name.strip_prefix(word);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || of_both(rest))
    }

    fn probe(&self) -> probe::TargetSettings {
        probe::TargetSettings {
            target: Arc::clone(&self.target),
            step: self.step.value,
            pings: self.pings.value,
            timeout: self.timeout.value,
            family: self.family,
            echo: self.echo.settings(),
        }
    }

    fn archive(&self) -> archive::TargetSettings {
        archive::TargetSettings {
            target: Arc::clone(&self.target),
            step: wanted(&self.step),
            pings: wanted(&self.pings),
            asked: archive::Asked {
                usual: self.alerts.value.iter().any(|rule| rule.value.asks_for_the_usual()),
                forecast: self.alerts.value.iter().any(|rule| rule.value.asks_for_a_forecast()),
            },
        }
    }

    fn place(&self) -> alert::desk::Place {
        alert::desk::Place {
            target: Arc::clone(&self.target),
            parent: self.parent.as_ref().map(|parent| parent.value.clone()),
            step: self.step.value,
        }
    }

    fn alert(&self) -> alert::TargetRules {
        alert::TargetRules {
            target: Arc::clone(&self.target),
            step: self.step.value,
            rules: self.alerts.value.iter().map(|rule| Arc::clone(&rule.value)).collect(),
        }
    }
}

fn wanted<T: Copy>(setting: &Setting<T>) -> Wanted<T> {
    if setting.origin.is_outright() {
        Wanted::Outright(setting.value)
    } else {
        Wanted::Default(setting.value)
    }
}

const LOCAL_FILE: &str = "latmon.toml";
const SYSTEM_FILE: &str = "/etc/latmon/latmon.toml";
const SYSTEM_DATA_DIR: &str = "/var/lib/latmon";
const SCRIPT_TARGET: &str = "latency";

#[cfg(test)]
mod tests;
