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
        let options = Options {
            targets: self.targets.clone(),
            config: self.config.clone(),
            data_dir: self.data_dir.clone(),
            step: self.step.clone(),
            pings: self.pings.clone(),
            threshold: self.threshold.clone(),
        };
        config::load(&options, &Surroundings::of_process()).map_err(Failure::usage)
    }
}
