//! Is it the reply to an echo of ours, and whole? What the monitor, a look and a trace ask of every packet before it may
//! count. Pure: what was asked, it is told.

use std::net::IpAddr;

use super::icmp::{Family, Kind, Malformed, Message, Secret};
use super::socket::{Origin, Packet};

/// What an echo asked, and of whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The address.
    pub to: IpAddr,
    /// Whether another one may answer.
    pub any_source: bool,
    /// How many bytes of payload are to come back.
    pub payload: u16,
}

/// What came in, and by what the echoes of the socket that heard it are known.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// Which ICMP.
    pub family: Family,
    /// The identifier in the header of our echoes.
    pub identifier: u16,
    /// The mark in their payload.
    pub mark: u32,
    /// Who sent it.
    pub from: IpAddr,
    /// The ICMP message.
    pub message: &'a [u8],
    /// Whether there was more of it than any of ours has.
    pub truncated: bool,
}

/// Why it does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// What is wrong with it.
    pub defect: Defect,
    /// The echo it answers, where its tag proves that.
    pub number: Option<u64>,
}

/// What can be wrong with a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    /// It belongs to another program.
    Foreign,
    /// It has another length than its request.
    Truncated,
    /// Checksum, sequence or payload are not what they were.
    Damaged,
    /// It looks like ours, and does not carry our secret.
    Forged,
    /// Somebody on the way rewrote its identifier.
    Identifier,
    /// Another address answered than was asked.
    WrongSource,
}

impl<'a> Evidence<'a> {
    /// What a socket heard.
    pub(super) fn new(packet: &Packet<'a>, origin: &Origin) -> Result<Self, Flaw> {
        let Packet { from, bytes, truncated, .. } = *packet;
        let message = origin.message_in(bytes)?;
        let Origin { family, identity, .. } = *origin;
        Ok(Self { family, identifier: identity.identifier, mark: identity.mark, from, message, truncated })
    }

    /// The number of the echo that this is the true reply to. `asked` tells of an echo what it was, as long as that is
    /// known.
    pub fn prove(&self, secret: &Secret, asked: impl FnOnce(u64) -> Option<Asked>) -> Result<u64, Flaw> {
        let message = Message::new(self.family, self.message)?;
        if message.identifier() != self.identifier && message.mark() != Some(self.mark) {
            return Err(Defect::Foreign.into());
        }
        if self.truncated {
            return Err(Defect::Truncated.into());
        }
        // Before anything that it says of itself is believed.
        if !message.checksum_is_right() {
            return Err(Defect::Damaged.into());
        }
        if message.kind() != Kind::EchoReply {
            return Err(Defect::Foreign.into());
        }
        let Some((number, tag)) = message.secrets() else { return Err(Defect::Truncated.into()) };
        let asked = asked(number);
        let is_proven = |to: &IpAddr| tag == secret.tag(number, *to);
        // An echo may be forgotten, or its target have another address by now: who answers late was asked once.
        let mut asked_once = asked.map(|asked| asked.to).into_iter().chain([self.from]);
        let Some(to) = asked_once.find(is_proven) else { return Err(Defect::Forged.into()) };
        let flaw = |defect| Flaw { defect, number: Some(number) };
        self.compare(&message, asked).map_err(flaw)?;
        if to != self.from && asked.is_some_and(|asked| !asked.any_source) {
            return Err(flaw(Defect::WrongSource));
        }
        Ok(number)
    }

    /// What else must agree where the tag does.
    fn compare(&self, message: &Message<'_>, asked: Option<Asked>) -> Result<(), Defect> {
        let echo = message.echo()?;
        if echo.mark != self.mark {
            return Err(Defect::Damaged);
        }
        if asked.is_some_and(|asked| asked.payload != echo.payload) {
            return Err(Defect::Truncated);
        }
        if echo.identifier != self.identifier {
            return Err(Defect::Identifier);
        }
        Ok(())
    }
}

impl From<Defect> for Flaw {
    fn from(defect: Defect) -> Self {
        Self { defect, number: None }
    }
}

impl From<Malformed> for Flaw {
    fn from(malformed: Malformed) -> Self {
        Defect::from(malformed).into()
    }
}

impl From<Malformed> for Defect {
    fn from(malformed: Malformed) -> Self {
        match malformed {
            Malformed::Length { .. } | Malformed::Header { .. } => Self::Truncated,
            Malformed::Ipv4Header | Malformed::Payload | Malformed::Sequence { .. } => Self::Damaged,
        }
    }
}

#[cfg(test)]
mod tests {
    use etherparse::checksum::Sum16BitWords;

    use super::*;
    use crate::probe::icmp::{Echo, Padding};

    const IDENTIFIER: u16 = 0x4c4d;
    const NUMBER: u64 = 3 << 32 | 0x0001_2345;

    fn them(family: Family) -> IpAddr {
        match family {
            Family::V4 => [198, 18, 0, 2].into(),
            Family::V6 => "fd00::2".parse().unwrap(),
        }
    }

    fn other(family: Family) -> IpAddr {
        match family {
            Family::V4 => [198, 18, 0, 3].into(),
            Family::V6 => "fd00::3".parse().unwrap(),
        }
    }

    fn secret() -> Secret {
        Secret::new([7; 16])
    }

    /// The true reply to the echo.
    fn reply(family: Family) -> Vec<u8> {
        let tag = secret().tag(NUMBER, them(family));
        let mark = secret().mark();
        let echo = Echo { identifier: IDENTIFIER, number: NUMBER, tag, mark, payload: 56 };
        let padding = Padding::new(56);
        let mut reply = [&echo.request_head(family, &padding), padding.bytes()].concat();
        reply[0] = family.echo_reply();
        summed(family, reply)
    }

    /// The message with its checksum set right; that of ICMPv6 is the kernel's affair.
    fn summed(family: Family, mut message: Vec<u8>) -> Vec<u8> {
        if family == Family::V4 {
            message[2..4].fill(0);
            let sum = Sum16BitWords::new().add_slice(&message).ones_complement();
            message[2..4].copy_from_slice(&sum.to_ne_bytes());
        }
        message
    }

    fn heard(family: Family, from: IpAddr, message: &[u8], asked: Option<Asked>) -> Result<u64, Flaw> {
        let (identifier, mark, truncated) = (IDENTIFIER, secret().mark(), false);
        let evidence = Evidence { family, identifier, mark, from, message, truncated };
        evidence.prove(&secret(), |number| asked.filter(|_| number == NUMBER))
    }

    fn asked(family: Family) -> Asked {
        Asked { to: them(family), any_source: false, payload: 56 }
    }

    fn flaw(defect: Defect, is_proven: bool) -> Result<u64, Flaw> {
        Err(Flaw { defect, number: is_proven.then_some(NUMBER) })
    }

    #[test]
    fn only_the_whole_reply_proves_anything() {
        for family in [Family::V4, Family::V6] {
            let reply = reply(family);
            let hear = |message: &[u8]| heard(family, them(family), message, Some(asked(family)));
            let changed = |offset: usize| {
                let mut reply = reply.clone();
                reply[offset] ^= 1;
                summed(family, reply)
            };
            assert_eq!(hear(&reply), Ok(NUMBER));
            for (offset, defect, is_proven) in [
                (0, Defect::Foreign, false),
                (1, Defect::Foreign, false),
                (5, Defect::Identifier, true),
                (7, Defect::Damaged, true),
                (12, Defect::Forged, false),
                (20, Defect::Forged, false),
                (27, Defect::Damaged, true),
                (40, Defect::Damaged, true),
            ] {
                assert_eq!(hear(&changed(offset)), flaw(defect, is_proven), "{family}, byte {offset}");
            }
            for (length, is_proven) in [(4, false), (16, false), (60, true)] {
                let short = &reply[..length];
                let short = if length < 8 { short.to_vec() } else { summed(family, short.to_vec()) };
                assert_eq!(hear(&short), flaw(Defect::Truncated, is_proven), "{family}, {length} bytes");
            }
        }
    }

    #[test]
    fn a_wrong_checksum_comes_before_all_that_the_message_says() {
        for offset in [1, 2, 5, 7, 12, 20, 27, 40] {
            let mut reply = reply(Family::V4);
            reply[offset] ^= 1;
            let heard = heard(Family::V4, them(Family::V4), &reply, Some(asked(Family::V4)));
            assert_eq!(heard, flaw(Defect::Damaged, false), "byte {offset}");
        }
        let mut others = reply(Family::V4);
        (others[5], others[27]) = (0, 0);
        let heard = heard(Family::V4, them(Family::V4), &others, Some(asked(Family::V4)));
        assert_eq!(heard, flaw(Defect::Foreign, false), "neither identifier nor mark are ours");
    }

    #[test]
    fn who_may_answer_is_whom_we_asked_unless_anybody_may() {
        for family in [Family::V4, Family::V6] {
            let (reply, them, other) = (reply(family), them(family), other(family));
            let asked = asked(family);
            let anybody = Asked { any_source: true, ..asked };
            let elsewhere = Asked { to: other, ..asked };
            for (from, asked, wanted) in [
                (other, Some(asked), flaw(Defect::WrongSource, true)),
                (other, Some(anybody), Ok(NUMBER)),
                (them, Some(anybody), Ok(NUMBER)),
                // The target moved after it was asked, or nothing is remembered of it.
                (them, Some(elsewhere), Ok(NUMBER)),
                (them, None, Ok(NUMBER)),
                (other, None, flaw(Defect::Forged, false)),
                (them, Some(Asked { payload: 55, ..asked }), flaw(Defect::Truncated, true)),
            ] {
                assert_eq!(heard(family, from, &reply, asked), wanted, "from {from}, {asked:?}");
            }
        }
    }
}
