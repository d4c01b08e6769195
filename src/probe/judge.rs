//! Whose packet is it? A reply counts only if everything agrees: its kind, identifier, length, checksum, sequence, the
//! secret in its payload, and the address that was asked. All else is counted by kind, and changes nothing.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tracing::{debug, info};

use super::clock::{Monotonic, Now};
use super::icmp::{self, Family, Kind, Malformed, Message, Reason, Secret};
use super::schedule::{Number, Schedule, Verdict};
use super::socket::{Origin, Packet, SocketKind};
use super::tally::{Ignored, Tally, Throttle};
use crate::round::Target;

/// Decides about packets, and remembers what was said about targets.
pub(super) struct Judge {
    secret: Secret,
    tally: Tally,
    targets: Vec<Arc<Target>>,
    /// What went wrong with each target's pings last, until one is answered: the log hears of changes only.
    troubles: Vec<Option<Trouble>>,
    /// Whose address it is, for errors that quote too little of the request to say so.
    addresses: HashMap<IpAddr, u32>,
    throttle: Throttle,
}

/// What went wrong with a target's pings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Somebody on the way says so.
    Says(Reason, IpAddr),
    /// Our kernel refuses to send, with this `errno`.
    Send(i32),
}

impl Judge {
    /// A judge over pings to `targets`, whose payloads `secret` proves.
    pub(super) fn new(targets: Vec<Arc<Target>>, secret: Secret) -> Self {
        Self {
            secret,
            tally: Tally::default(),
            troubles: vec![None; targets.len()],
            targets,
            addresses: HashMap::new(),
            throttle: Throttle::default(),
        }
    }

    /// What proves an echo to be ours.
    pub(super) fn tag(&self, number: Number, to: IpAddr) -> u64 {
        self.secret.tag(number.into(), to)
    }

    /// What was counted.
    #[cfg(test)]
    pub(super) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Notes the address of a target.
    pub(super) fn set_address(&mut self, target: u32, address: SocketAddr) {
        self.addresses.retain(|_, whose| *whose != target);
        self.addresses.insert(address.ip(), target);
    }

    /// Takes a packet that came in at a socket; `now` was read afterwards.
    pub(super) fn take(&mut self, packet: Packet<'_>, origin: Origin, schedule: &mut Schedule, now: Now) {
        if let Err(ignored) = self.weigh(packet, origin, schedule, now) {
            self.tally.count(ignored, now.monotonic);
        }
    }

    fn weigh(
        &mut self,
        packet: Packet<'_>,
        origin: Origin,
        schedule: &mut Schedule,
        now: Now,
    ) -> Result<(), Ignored> {
        let bytes = match (origin.family, origin.kind) {
            (Family::V4, SocketKind::Raw) => icmp::after_ipv4_header(packet.bytes)?,
            _ => packet.bytes,
        };
        let message = Message::new(origin.family, bytes)?;
        match message.kind() {
            Kind::EchoReply if message.identifier() == origin.identifier => {
                self.weigh_reply(&message, packet, schedule, now)
            }
            Kind::Error => self.weigh_error(&message, packet.from, origin, now),
            _ => Err(Ignored::Foreign),
        }
    }

    fn weigh_reply(
        &mut self,
        message: &Message<'_>,
        packet: Packet<'_>,
        schedule: &mut Schedule,
        now: Now,
    ) -> Result<(), Ignored> {
        if !message.checksum_is_right() {
            return Err(Ignored::Damaged);
        }
        let echo = message.echo()?;
        let number = Number::from(echo.number);
        if echo.tag != self.tag(number, packet.from) {
            let elsewhere = schedule.asked(number).is_some_and(|asked| echo.tag == self.tag(number, asked));
            return Err(if elsewhere { Ignored::WrongSource } else { Ignored::Forged });
        }
        match schedule.on_reply(number, packet.from, packet.stamp, now) {
            Verdict::Answered => {
                if let Some(trouble) = self.troubles.get_mut(number.target as usize) {
                    *trouble = None;
                }
                Ok(())
            }
            Verdict::Duplicate => Err(Ignored::Duplicate),
            Verdict::Late => Err(Ignored::Late),
            Verdict::WrongSource => Err(Ignored::WrongSource),
            Verdict::Unasked => Err(Ignored::Forged),
            Verdict::Impossible => Err(Ignored::Impossible),
        }
    }

    /// An error changes no ping: it may be forged or mistaken, and the timeout decides. It tells people why.
    fn weigh_error(
        &mut self,
        message: &Message<'_>,
        from: IpAddr,
        origin: Origin,
        now: Now,
    ) -> Result<(), Ignored> {
        let error = message.error().map_err(|_| Ignored::Foreign)?;
        if error.identifier != origin.identifier {
            return Err(Ignored::Foreign);
        }
        let target = match error.secrets {
            Some((number, tag)) if tag == self.secret.tag(number, error.to) => {
                Some(Number::from(number).target)
            }
            Some(_) => return Err(Ignored::Forged),
            None => self.addresses.get(&error.to).copied(),
        };
        self.tell(target.ok_or(Ignored::Foreign)?, Trouble::Says(error.reason, from), now.monotonic);
        Ok(())
    }

    /// Tells people of trouble with a target, once.
    pub(super) fn tell(&mut self, target: u32, trouble: Trouble, now: Monotonic) {
        let (Some(told), Some(target)) =
            (self.troubles.get_mut(target as usize), self.targets.get(target as usize))
        else {
            return;
        };
        if *told == Some(trouble) {
            return;
        }
        let Some(held_back) = self.throttle.allows(now) else { return };
        *told = Some(trouble);
        match trouble {
            Trouble::Says(reason, from) => info!("{} ({}): {reason}, says {from}", target.name, target.host),
            Trouble::Send(errno) => {
                let why = std::io::Error::from_raw_os_error(errno);
                info!("{} ({}): cannot send: {why}", target.name, target.host);
            }
        }
        if held_back > 0 {
            debug!("{held_back} more such lines were held back");
        }
    }
}

impl From<Malformed> for Ignored {
    fn from(malformed: Malformed) -> Self {
        match malformed {
            Malformed::Length { .. } | Malformed::Header { .. } => Self::Length,
            Malformed::Ipv4Header | Malformed::Payload | Malformed::Sequence { .. } => Self::Damaged,
            Malformed::Quote => Self::Foreign,
        }
    }
}
