//! What the environment and `.env` say, the environment first. A variable that is empty or blank counts as not set.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::Surroundings;
use super::dotenv::DotEnv;
use super::error::Error;
use super::origin::{Origin, Setting};
use super::read::read_if_there;

pub(super) const PING_HOST: &str = "PING_HOST";
pub(super) const LATENCY_STEP: &str = "LATENCY_STEP";
pub(super) const LATENCY_THRESHOLD: &str = "LATENCY_THRESHOLD";
pub(super) const EMAIL_SENDER: &str = "EMAIL_SENDER";
pub(super) const EMAIL_PASSWORD: &str = "EMAIL_PASSWORD";
pub(super) const EMAIL_PASSWORD_FILE: &str = "EMAIL_PASSWORD_FILE";
pub(super) const EMAIL_RECEIVER: &str = "EMAIL_RECEIVER";
pub(super) const EMAIL_SMTP_SERVER: &str = "EMAIL_SMTP_SERVER";
pub(super) const EMAIL_SMTP_PORT: &str = "EMAIL_SMTP_PORT";
pub(super) const LATMON_CONFIG: &str = "LATMON_CONFIG";
pub(super) const LATMON_DATA_DIR: &str = "LATMON_DATA_DIR";
/// Set by systemd for a unit with `StateDirectory=`.
pub(super) const STATE_DIRECTORY: &str = "STATE_DIRECTORY";

/// The variables people set.
pub(super) const VARIABLES: [&str; 11] = [
    PING_HOST,
    LATENCY_STEP,
    LATENCY_THRESHOLD,
    EMAIL_SENDER,
    EMAIL_PASSWORD,
    EMAIL_PASSWORD_FILE,
    EMAIL_RECEIVER,
    EMAIL_SMTP_SERVER,
    EMAIL_SMTP_PORT,
    LATMON_CONFIG,
    LATMON_DATA_DIR,
];

/// The environment over `.env`.
pub(super) struct Said<'a> {
    surroundings: &'a Surroundings,
    dotenv: DotEnv,
    /// True where everybody may read the `.env`.
    pub(super) dotenv_world_readable: bool,
}

impl<'a> Said<'a> {
    /// Reads the working folder's `.env`, where there is one.
    pub(super) fn read(surroundings: &'a Surroundings) -> Result<Self, Error> {
        let shown = Path::new(".env");
        let content = read_if_there(&surroundings.working_dir.join(shown), shown, MOST_BYTES)?;
        let (dotenv, dotenv_world_readable) = match content {
            Some(content) => (DotEnv::parse(&content.bytes, shown, &VARIABLES)?, content.world_readable),
            None => (DotEnv::empty(), false),
        };
        Ok(Self { surroundings, dotenv, dotenv_world_readable })
    }

    /// What is said of `key`.
    pub(super) fn raw(&self, key: &'static str) -> Option<Setting<&OsStr>> {
        let [environment, dotenv] = self.each(key);
        environment.or(dotenv)
    }

    /// What the environment says of `key`, and what `.env` does.
    pub(super) fn each(&self, key: &'static str) -> [Option<Setting<&OsStr>>; 2] {
        [self.environment(key), self.dotenv.get(key).filter(|found| !is_blank(found.value))]
    }

    /// What the environment alone says of `key`.
    pub(super) fn environment(&self, key: &'static str) -> Option<Setting<&OsStr>> {
        let value = self.surroundings.variables.get(OsStr::new(key))?.as_os_str();
        (!is_blank(value)).then_some(Setting { value, origin: Origin::Environment(key) })
    }

    /// What is said of `key`, as a text.
    pub(super) fn text(&self, key: &'static str) -> Result<Option<Setting<&str>>, Error> {
        let Some(Setting { value, origin }) = self.raw(key) else { return Ok(None) };
        match value.to_str() {
            Some(value) => Ok(Some(Setting { value, origin })),
            None => Err(Error::NotUtf8 { at: origin, key }),
        }
    }

    /// What is said of `key`, read by `parse`.
    pub(super) fn parsed<T>(
        &self,
        key: &'static str,
        parse: fn(&str) -> Result<T, &'static str>,
    ) -> Result<Option<Setting<T>>, Error> {
        let Some(Setting { value: text, origin }) = self.text(key)? else { return Ok(None) };
        match parse(text) {
            Ok(value) => Ok(Some(Setting { value, origin })),
            Err(wanted) => Err(Error::value(&origin, key, text, wanted)),
        }
    }

    /// What is said of `key`, as a path.
    pub(super) fn path(&self, key: &'static str) -> Option<Setting<PathBuf>> {
        self.raw(key).map(|found| found.map(PathBuf::from))
    }

    /// A sentence for each variable that is one slip away from one of ours: it would be ignored in silence.
    pub(super) fn slips(&self) -> Vec<String> {
        let in_file =
            self.dotenv.strangers.iter().map(|(key, line)| (format!(".env:{line}: "), key.as_str()));
        let environment = self.surroundings.variables.keys().filter_map(|key| key.to_str());
        let strangers = environment.filter(|key| !VARIABLES.contains(key)).map(|key| (String::new(), key));
        let slip = |(place, key): (String, &str)| {
            let near = VARIABLES.iter().find(|ours| is_one_slip(key, ours))?;
            Some(format!("{place}{key} is no setting of latmon: did you mean {near}?"))
        };
        in_file.chain(strangers).filter_map(slip).collect()
    }
}

fn is_one_slip(key: &str, ours: &str) -> bool {
    key.len().abs_diff(ours.len()) <= 1 && strsim::osa_distance(key, ours) == 1
}

fn is_blank(value: &OsStr) -> bool {
    value.as_bytes().trim_ascii().is_empty()
}

const MOST_BYTES: u64 = 1 << 20;
