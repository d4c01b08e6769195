//! The ways out besides mail, each with the name that the settings know it by.

use std::time::{Duration, Instant};

use super::Error;
use super::command::{Command, CommandFault};
use super::outbox::Kind;
use super::posting::Posting;
use super::template::Telling;
use super::webhook::{Limits, PostFault, Webhook};

/// A way out, and its name.
#[derive(Clone, Debug)]
pub struct Way {
    /// As rules name it: `webhook:slack`, `command:pager`.
    pub name: String,
    /// What it is.
    pub how: How,
}

/// What a way is.
#[derive(Clone, Debug)]
pub enum How {
    /// A webhook.
    Webhook(Box<Webhook>),
    /// A command.
    Command(Command),
}

/// What a failure means for the posting and those behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nobody was reached: all wait.
    Unreached,
    /// It failed, and may succeed later: all wait, and so long where that was asked for. A posting that fails again and
    /// again lets the others pass.
    Again(Option<Duration>),
    /// This posting is refused, and another may be taken.
    Refused,
    /// Whatever is posted would be refused, until somebody mends a setting.
    WayRefuses,
}

/// Why a posting did not arrive.
#[derive(Debug, thiserror::Error)]
pub(super) enum WayFault {
    #[error("{shown}: {fault}")]
    Post { shown: String, fault: PostFault },
    #[error("{0}")]
    Command(CommandFault),
}

impl Way {
    /// The kind of its files in the outbox.
    pub(super) fn kind(&self) -> Kind {
        match self.how {
            How::Webhook(_) => Kind::Post,
            How::Command(_) => Kind::Command,
        }
    }

    /// Whether it can be reached: opens the line of a webhook, which is asked nothing. A command is not run by this. For
    /// people who want to know whether the settings are right.
    pub fn reach(&self) -> Result<(), Error> {
        let How::Webhook(webhook) = &self.how else { return Ok(()) };
        let told = |fault| WayFault::Post { shown: webhook.shown(), fault };
        webhook.reach(Limits::USUAL).map_err(|fault| Error::Way(told(fault).to_string()))
    }

    /// Lets `posting` out once, as the courier does. Nothing is kept: one that does not arrive is gone.
    pub fn try_out(&self, posting: &Posting) -> Result<(), Error> {
        self.let_out(posting, None, &|| None).map_err(|fault| Error::Way(fault.to_string()))
    }

    /// Lets `posting` out, and returns once it has arrived. `until` says by when that must have ended, and is asked again
    /// and again.
    pub(super) fn let_out(
        &self,
        posting: &Posting,
        held_up: Option<Duration>,
        until: &dyn Fn() -> Option<Instant>,
    ) -> Result<(), WayFault> {
        let telling = Telling { posting, held_up, token: None };
        match &self.how {
            How::Webhook(webhook) => webhook
                .post(&telling, Limits::USUAL)
                .map_err(|fault| WayFault::Post { shown: webhook.shown(), fault }),
            How::Command(command) => command.run(&telling, until).map_err(WayFault::Command),
        }
    }
}

impl WayFault {
    pub(super) fn next(&self) -> Next {
        match self {
            Self::Post { fault, .. } => fault.next(),
            // It may be repaired at any time, and a program has no way to say that it never will do.
            Self::Command(_) => Next::Again(None),
        }
    }

    /// What stays the same while a way is in the same trouble.
    pub(super) fn reason(&self) -> String {
        match self {
            Self::Post { fault, .. } => fault.reason(),
            Self::Command(fault) => fault.reason(),
        }
    }
}
