//! The options that say where the settings are, shared by the subcommands that read them.

use std::path::PathBuf;

use clap::Args;
use latmon::config::{self, Config, Kept, Options, Surroundings};

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

/// Where the settings are, for commands that ask or look.
#[derive(Args)]
pub(super) struct PlaceArgs {
    /// The settings file [default: ./latmon.toml, /etc/latmon/latmon.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The data folder of the monitor
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

impl PlaceArgs {
    /// The settings, all of them.
    pub(super) fn load(&self) -> Result<Config, config::Error> {
        config::load(&self.options(), &Surroundings::of_process())
    }

    /// The settings, without those of mail, which only the monitor may be able to read.
    pub(super) fn look(&self) -> Result<Config, config::Error> {
        config::look(&self.options(), &Surroundings::of_process())
    }

    fn options(&self) -> Options {
        Options { config: self.config.clone(), data_dir: self.data_dir.clone(), ..Options::default() }
    }
}

impl SettingsArgs {
    /// The settings that hold.
    pub(super) fn load(&self) -> Result<Config, Failure> {
        self.load_with(&self.targets)
    }

    /// The settings that hold, with all that was read to get there.
    pub(super) fn load_and_keep(&self) -> Result<(Config, Kept), Failure> {
        let (config, kept) = config::load_and_keep(&self.options(&self.targets), &Surroundings::of_process());
        Ok((config.map_err(Failure::usage)?, kept))
    }

    /// The settings that held when another process of the same run read them.
    pub(super) fn load_kept(&self, kept: Kept) -> Result<Config, Failure> {
        config::load_kept(&self.options(&self.targets), &Surroundings::of_process(), kept)
            .map_err(Failure::usage)
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
