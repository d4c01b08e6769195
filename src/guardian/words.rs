//! What is said between the guardian and the process that tells of a death.

use std::io::{self, Read as _};

use serde::{Deserialize, Serialize};

use crate::monitor::ends::Death;

/// What the process that tells of a death is told, by its standard input.
#[derive(Debug, Serialize, Deserialize)]
pub struct LastWords {
    /// Who died; `None` to tell those that are not told yet.
    pub death: Option<Death>,
    /// How long it may try to send what waits in the outbox; nothing where somebody else will.
    pub send_secs: u64,
}

impl LastWords {
    /// The exit code where the mail is left for later.
    pub const LATER: i32 = 10;

    /// What this process is told.
    pub fn hear() -> io::Result<Self> {
        let mut text = Vec::new();
        io::stdin().lock().take(1 << 20).read_to_end(&mut text)?;
        Ok(serde_json::from_slice(&text)?)
    }
}
