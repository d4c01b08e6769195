//! `-4` and `-6`, for every subcommand that asks somebody by name.

use clap::Args;
use latmon::probe::icmp::Family;

#[derive(Args)]
#[group(multiple = false)]
pub(super) struct FamilyArgs {
    /// Ask IPv4 addresses only
    #[arg(short = '4', long)]
    ipv4: bool,
    /// Ask IPv6 addresses only
    #[arg(short = '6', long)]
    ipv6: bool,
}

impl FamilyArgs {
    /// The one that is wanted; `None` for either.
    pub(super) fn wanted(&self) -> Option<Family> {
        match (self.ipv4, self.ipv6) {
            (true, _) => Some(Family::V4),
            (_, true) => Some(Family::V6),
            (false, false) => None,
        }
    }
}
