//! What the processes of a run hand over to each other: one word on the command line, which `ps` shows.

use std::fmt;
use std::os::fd::RawFd;
use std::str::FromStr;

use crate::time::UnixTime;

/// What a process of a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The small parent.
    Guardian,
    /// Who watches.
    Monitor,
    /// Who tells of an end, and ends.
    LastWords,
}

/// What it is given to begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge {
    /// What it is.
    pub role: Role,
    /// The descriptor with the settings as they were read at the beginning.
    pub settings: RawFd,
    /// Those of the sockets.
    pub sockets: Vec<RawFd>,
    /// Those of the sockets that lie ready for traces.
    pub spares: Vec<RawFd>,
    /// That of the line to the guardian.
    pub lifeline: Option<RawFd>,
    /// Whether a monitor that died is started again.
    pub restart: bool,
    /// Whether nobody but root may look into the process: it was started with more privileges than it has.
    pub private: bool,
    /// Whether a service manager waits for word.
    pub managed: bool,
    /// When the process was started, which names it.
    pub started: UnixTime,
    /// When its guardian was.
    pub guardian: UnixTime,
}

impl Charge {
    /// The word as it stands on the command line, up to what it says.
    pub const PREFIX: &str = "--as=";
}

impl fmt::Display for Charge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let role = ROLES.iter().find(|(role, _)| *role == self.role).map_or("", |(_, word)| word);
        write!(f, "{}{role}:settings={}", Self::PREFIX, self.settings)?;
        for socket in &self.sockets {
            write!(f, ",socket={socket}")?;
        }
        for spare in &self.spares {
            write!(f, ",spare={spare}")?;
        }
        if let Some(lifeline) = self.lifeline {
            write!(f, ",lifeline={lifeline}")?;
        }
        for (is_so, word) in [(self.restart, "restart"), (self.private, "private"), (self.managed, "managed")]
        {
            if is_so {
                write!(f, ",{word}")?;
            }
        }
        write!(f, ",started={},guardian={}", self.started.micros(), self.guardian.micros())
    }
}

/// A word that no process of a run wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'latmon run' says --as=.. to itself: leave it out")]
pub struct NoCharge;

impl FromStr for Charge {
    type Err = NoCharge;

    fn from_str(word: &str) -> Result<Self, NoCharge> {
        let (role, said) =
            word.strip_prefix(Self::PREFIX).and_then(|word| word.split_once(':')).ok_or(NoCharge)?;
        let role = ROLES.iter().find(|(_, word)| *word == role).ok_or(NoCharge)?.0;
        let nothing = UnixTime::from_secs(0);
        let mut charge = Self {
            role,
            settings: -1,
            sockets: Vec::new(),
            spares: Vec::new(),
            lifeline: None,
            restart: false,
            private: false,
            managed: false,
            started: nothing,
            guardian: nothing,
        };
        for said in said.split(',').take(MOST_WORDS) {
            let (key, value) = said.split_once('=').unwrap_or((said, ""));
            let descriptor = || value.parse::<RawFd>().map_err(|_| NoCharge);
            let time = || value.parse().map(UnixTime::from_micros).map_err(|_| NoCharge);
            match key {
                "settings" => charge.settings = descriptor()?,
                "socket" => charge.sockets.push(descriptor()?),
                "spare" => charge.spares.push(descriptor()?),
                "lifeline" => charge.lifeline = Some(descriptor()?),
                "restart" => charge.restart = true,
                "private" => charge.private = true,
                "managed" => charge.managed = true,
                "started" => charge.started = time()?,
                "guardian" => charge.guardian = time()?,
                _ => return Err(NoCharge),
            }
        }
        Ok(charge)
    }
}

const ROLES: [(Role, &str); 3] =
    [(Role::Guardian, "guardian"), (Role::Monitor, "monitor"), (Role::LastWords, "last-words")];
const MOST_WORDS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_charge_is_read_as_it_was_written() {
        let charge = Charge {
            role: Role::Monitor,
            settings: 3,
            sockets: vec![4, 5],
            spares: vec![9],
            lifeline: Some(6),
            restart: true,
            private: false,
            managed: true,
            started: UnixTime::from_micros(1_700_000_000_123_456),
            guardian: UnixTime::from_micros(7),
        };
        assert_eq!(charge.to_string().parse(), Ok(charge));
        for word in ["--as=", "--as=nobody:settings=3", "--as=monitor:settings=x", "--as=monitor:a=1", "run"]
        {
            assert_eq!(word.parse::<Charge>(), Err(NoCharge), "{word}");
        }
    }
}
