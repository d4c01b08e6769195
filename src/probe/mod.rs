//! Pings: ICMP echoes over raw or datagram sockets, spread over each target's step, gathered into rounds.

use std::sync::Arc;
use std::time::Duration;

use crate::round::Target;
use crate::time::Step;

/// What the prober is told: whom to ping, and how.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Every target, each with its own rhythm.
    pub targets: Vec<TargetSettings>,
}

/// How one target is pinged.
#[derive(Clone, Debug)]
pub struct TargetSettings {
    /// Who.
    pub target: Arc<Target>,
    /// The length of a round.
    pub step: Step,
    /// How many echoes a round has, spread evenly over the step.
    pub pings: u16,
    /// How long a reply may take; a later one is lost.
    pub timeout: Duration,
}
