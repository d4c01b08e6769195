//! The options that say where the settings are, shared by the subcommands that read them.

use std::path::PathBuf;

use clap::Args;
use latmon::config::{self, Config, Options, Surroundings};

use super::Failure;

#[derive(Args)]
pub(super) struct SettingsArgs {
    /// Whom to ping: host names or addresses, in place of PING_HOST and the file's targets
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
    /// The settings file [default: ./latmon.toml, /etc/latmon/latmon.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where archives, mails and the state are kept
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The length of a round [default: 60s]
    #[arg(long, value_name = "DURATION")]
    step: Option<String>,
    /// Pings in a round [default: 20]
    #[arg(long, value_name = "COUNT")]
    pings: Option<String>,
    /// Mail when a round's median is above this: 100ms
    #[arg(long, value_name = "DURATION")]
    threshold: Option<String>,
}

impl SettingsArgs {
    /// The settings that hold.
    pub(super) fn load(&self) -> Result<Config, Failure> {
        self.load_with(&self.targets)
    }

    /// The settings that hold for the targets of the file that are named here (a group, or what both families or a network
    /// made several of, by its one name); words that are no names of targets are hosts, as for [`SettingsArgs::load`].
    pub(super) fn load_named(&self) -> Result<Config, Failure> {
        let known = config::look(&self.options(&[]), &Surroundings::of_process()).map_err(Failure::usage)?;
        let is_known = |word: &String| known.targets.iter().any(|target| target.is_called(word));
        if self.targets.is_empty() || !self.targets.iter().all(is_known) {
            return self.load();
        }
        let mut config = self.load_with(&[])?;
        config.targets.retain(|target| self.targets.iter().any(|word| target.is_called(word)));
        Ok(config)
    }

    fn load_with(&self, targets: &[String]) -> Result<Config, Failure> {
        config::load(&self.options(targets), &Surroundings::of_process()).map_err(Failure::usage)
    }

    fn options(&self, targets: &[String]) -> Options {
        Options {
            targets: targets.to_vec(),
            config: self.config.clone(),
            data_dir: self.data_dir.clone(),
            step: self.step.clone(),
            pings: self.pings.clone(),
            threshold: self.threshold.clone(),
        }
    }
}
