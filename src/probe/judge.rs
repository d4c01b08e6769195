//! Whose packet is it? A reply counts only if everything agrees: its kind, identifier, length, checksum, sequence, the
//! secret in its payload, and the address that was asked. All else is counted by kind, and changes nothing.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tracing::{debug, info, warn};

use super::clock::{Monotonic, Now};
use super::course::{Number, Quoted, Verdict};
use super::icmp::{Quote, Reason, Secret};
use super::proof::{Asked, Defect, Evidence, Flaw};
use super::schedule::Schedule;
use super::socket::{Origin, Packet};
use super::tally::{Counts, Ignored, Tally, Throttle};
use super::{EchoSettings, TargetSettings};
use crate::round::{Fault, Target};

/// Decides about packets, and remembers what was said about targets.
pub(super) struct Judge {
    secret: Secret,
    tally: Tally,
    targets: Vec<Arc<Target>>,
    /// What replies each target is to give.
    replies: Vec<Replies>,
    /// What went wrong with each target's pings last, until one is answered: the log hears of changes only.
    troubles: Vec<Option<Trouble>>,
    /// Whose address it is, mostly one target's, for packets that have too little of the request to say so; and the other
    /// way round.
    owners: BTreeSet<(IpAddr, u32)>,
    addresses: Vec<Option<IpAddr>>,
    stamping: Stamping,
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

/// What the settings of a target say of its replies.
#[derive(Clone, Copy)]
struct Replies {
    payload: u16,
    any_source: bool,
}

impl Replies {
    fn to(echo: &EchoSettings) -> Self {
        Self { payload: echo.payload, any_source: echo.any_source }
    }
}

/// Why a packet did not count, and whose it would have been.
struct Dismissed {
    kind: Ignored,
    target: Option<u32>,
}

/// Whether the kernel stamps what leaves, as it promised.
enum Stamping {
    /// It did not promise.
    NotExpected,
    /// Not seen yet, in so many answered pings.
    Awaited(u32),
    /// It does, or people know that it does not: what goes without is counted.
    Settled,
}

impl Judge {
    /// A judge over pings to `targets`, which `secret` proves. Where the kernel is to stamp what leaves, people are told
    /// when it does not.
    pub(super) fn new(targets: &[TargetSettings], secret: Secret, kernel_stamps: bool) -> Self {
        Self {
            secret,
            tally: Tally::new(targets.len()),
            troubles: vec![None; targets.len()],
            owners: BTreeSet::new(),
            addresses: vec![None; targets.len()],
            replies: targets.iter().map(|it| Replies::to(&it.echo)).collect(),
            targets: targets.iter().map(|it| Arc::clone(&it.target)).collect(),
            stamping: if kernel_stamps { Stamping::Awaited(0) } else { Stamping::NotExpected },
            throttle: Throttle::default(),
        }
    }

    /// What proves an echo to be ours.
    pub(super) fn tag(&self, number: Number, to: IpAddr) -> u64 {
        self.secret.tag(number.into(), to)
    }

    /// What was counted, and will be.
    pub(super) fn counts(&self) -> &Arc<Counts> {
        &self.tally.counts
    }

    /// Tells the log what it was not told of packets that did not count. To be asked now and then.
    pub(super) fn tell_rest(&mut self, now: Monotonic) {
        self.tally.tell_rest(now);
    }

    /// Notes the address of a target.
    pub(super) fn set_address(&mut self, target: u32, address: SocketAddr) {
        let Some(current) = self.addresses.get_mut(target as usize) else { return };
        if let Some(before) = current.replace(address.ip()) {
            self.owners.remove(&(before, target));
        }
        self.owners.insert((address.ip(), target));
    }

    /// The target that alone has this address.
    fn owner(&self, address: IpAddr) -> Option<u32> {
        let mut owners = owners(&self.owners, address);
        owners.next().filter(|_| owners.next().is_none())
    }

    /// Takes a packet that came in at a socket; `now` was read afterwards.
    pub(super) fn take(&mut self, packet: Packet<'_>, origin: Origin, schedule: &mut Schedule, now: Now) {
        if let Err(Dismissed { kind, target }) = self.weigh(packet, origin, schedule, now) {
            // Where nothing proves whose it is, the address it came from says so well enough.
            let owner = || self.owner(packet.from).filter(|_| kind != Ignored::Foreign);
            let target = target.or_else(owner);
            self.tally.count(target, kind, now.monotonic);
        }
    }

    fn weigh(
        &mut self,
        packet: Packet<'_>,
        origin: Origin,
        schedule: &mut Schedule,
        now: Now,
    ) -> Result<(), Dismissed> {
        let evidence = Evidence::new(&packet, &origin)?;
        let number = evidence.prove(&self.secret, |number| self.asked(number.into(), schedule))?;
        let number = Number::from(number);
        let dismissed = |kind| Err(Dismissed { kind, target: Some(number.target) });
        match schedule.on_reply(number, packet.from, packet.stamp, now) {
            Verdict::Answered { by_kernel } => {
                if let Some(trouble) = self.troubles.get_mut(number.target as usize) {
                    *trouble = None;
                }
                self.note_stamp(by_kernel);
                Ok(())
            }
            Verdict::Duplicate => dismissed(Ignored::Duplicate),
            Verdict::Late => dismissed(Ignored::Late),
            Verdict::WrongSource => dismissed(Ignored::WrongSource),
            Verdict::Unasked => dismissed(Ignored::Forged),
            Verdict::Impossible => dismissed(Ignored::Impossible),
        }
    }

    /// What the echo of that number was. Once its round is gone, the target's address is the one that was most likely asked.
    fn asked(&self, number: Number, schedule: &Schedule) -> Option<Asked> {
        let place = number.target as usize;
        let to = schedule.asked(number).or_else(|| self.addresses.get(place).copied().flatten())?;
        let of_anchors = Replies { payload: EchoSettings::LEAST_PAYLOAD, any_source: false };
        let Replies { payload, any_source } = self.replies.get(place).copied().unwrap_or(of_anchors);
        Some(Asked { to, any_source, payload })
    }

    /// Takes an ICMP error about an echo to `to`; it changes no ping, since it may be forged or mistaken, and the timeout
    /// decides. It tells people why.
    pub(super) fn take_error(
        &mut self,
        reason: Reason,
        from: IpAddr,
        to: IpAddr,
        quote: Quote,
        schedule: &mut Schedule,
        now: Now,
    ) {
        let trouble = Trouble::Says(reason, from);
        match quote.secrets {
            Some((number, tag)) if tag == self.secret.tag(number, to) => {
                let Number { target, ping } = number.into();
                schedule.says(target, Quoted::Ping(ping), reason, from);
                self.tell(target, trouble, now.monotonic);
            }
            Some(_) => self.tally.count(self.owner(to), Ignored::Forged, now.monotonic),
            None => {
                let quoted = Quoted::Sequence(quote.sequence);
                let concerned = |target: &u32| schedule.says(*target, quoted, reason, from);
                let concerned: Vec<u32> = owners(&self.owners, to).filter(concerned).collect();
                concerned.into_iter().for_each(|target| self.tell(target, trouble, now.monotonic));
            }
        }
    }

    /// Sees to it that somebody hears of it when the kernel does not stamp what leaves, as some devices' drivers do not.
    fn note_stamp(&mut self, by_kernel: bool) {
        match &mut self.stamping {
            Stamping::NotExpected => {}
            Stamping::Awaited(_) if by_kernel => self.stamping = Stamping::Settled,
            Stamping::Awaited(answered) => {
                self.tally.counts.count_unstamped();
                *answered += 1;
                if *answered == ENOUGH_UNSTAMPED {
                    warn!(
                        "the kernel does not tell when pings leave: round trips begin before the system call"
                    );
                    self.stamping = Stamping::Settled;
                }
            }
            Stamping::Settled if by_kernel => {}
            Stamping::Settled => self.tally.counts.count_unstamped(),
        }
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
            Trouble::Send(errno) => info!("{} ({}): {}", target.name, target.host, Fault::Send(errno)),
        }
        if held_back > 0 {
            debug!("{held_back} more such lines were held back");
        }
    }
}

/// The targets of those that have this address.
fn owners(all: &BTreeSet<(IpAddr, u32)>, address: IpAddr) -> impl Iterator<Item = u32> {
    all.range((address, 0)..=(address, u32::MAX)).map(|(_, target)| *target)
}

impl From<Flaw> for Dismissed {
    fn from(Flaw { defect, number }: Flaw) -> Self {
        let kind = match defect {
            Defect::Foreign => Ignored::Foreign,
            Defect::Truncated => Ignored::Truncated,
            Defect::Damaged => Ignored::Damaged,
            Defect::Forged => Ignored::Forged,
            Defect::Identifier => Ignored::Identifier,
            Defect::WrongSource => Ignored::WrongSource,
        };
        Self { kind, target: number.map(|number| Number::from(number).target) }
    }
}

/// So many answered pings without one stamp are no accident.
const ENOUGH_UNSTAMPED: u32 = 100;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::probe::Pace;
    use crate::probe::SocketKind;
    use crate::probe::clock::Wall;
    use crate::probe::icmp::Family;
    use crate::probe::icmp::{Echo, Padding};
    use crate::probe::logged::logged;
    use crate::probe::schedule::Action;
    use crate::probe::socket::Identity;
    use crate::time::Step;
    use etherparse::checksum::Sum16BitWords;
    use etherparse::{IpNumber, Ipv4Header};

    const THEM: [u8; 4] = [198, 18, 0, 2];
    const ROUTER: [u8; 4] = [198, 18, 0, 254];
    const UNREACHABLE: Reason = Reason { family: Family::V4, kind: 3, code: 1 };
    const IDENTITY: Identity = Identity { identifier: 0x4c4d, mark: 0x6d61_726b };
    const RAW: Origin = Origin {
        family: Family::V4,
        kind: SocketKind::Raw,
        dont_fragment: false,
        source: None,
        takes_control: true,
        identity: IDENTITY,
    };

    /// A judge, and the schedule of one ping that was just sent to THEM.
    struct Court {
        judge: Judge,
        schedule: Schedule,
        now: Now,
        request: Vec<u8>,
    }

    impl Court {
        fn new() -> Self {
            Self::over(&["them"], EchoSettings::default())
        }

        /// A judge over targets of these names at the same address.
        fn over(names: &[&str], echo: EchoSettings) -> Self {
            let settings = |name: &&str| TargetSettings {
                target: Arc::new(Target { name: (*name).to_owned(), host: "198.18.0.2".to_owned() }),
                step: Step::new(1).unwrap(),
                pings: 1,
                timeout: Duration::from_millis(500),
                family: None,
                echo: echo.clone(),
            };
            let mut now = Now { monotonic: Monotonic(0), wall: Wall(0), asleep: Duration::ZERO };
            let settings: Vec<TargetSettings> = names.iter().map(settings).collect();
            let mut judge = Judge::new(&settings, Secret::new([7; 16]), true);
            let mut schedule = Schedule::new(&settings, &Pace::default(), &[], now);
            let address = SocketAddr::new(THEM.into(), 0);
            for target in 0..names.len() as u32 {
                schedule.set_address(target, address);
                judge.set_address(target, address);
            }
            let number = loop {
                match schedule.poll(now.monotonic) {
                    Action::Send(request) => break request.number,
                    Action::Wait(until) => (now.monotonic, now.wall) = (until, Wall(until.0)),
                    _ => unreachable!("nothing is under way"),
                }
            };
            let Identity { identifier, mark } = IDENTITY;
            let tag = judge.tag(number, address.ip());
            let echo = Echo { identifier, number: number.into(), tag, mark, payload: 56 };
            let padding = Padding::new(56);
            let request = [&echo.request_head(Family::V4, &padding), padding.bytes()].concat();
            Self { judge, schedule, now, request }
        }

        /// Lets time pass until the round of the ping is handed over.
        fn close_the_round(&mut self) {
            while self.schedule.take_round().is_none() {
                match self.schedule.poll(self.now.monotonic) {
                    Action::Wait(until) => (self.now.monotonic, self.now.wall) = (until, Wall(until.0)),
                    Action::Listen => self.schedule.heard(self.now.monotonic),
                    _ => {}
                }
            }
        }

        /// Hands in an ICMP message as a RAW socket delivers it, and tells why it did not count.
        fn hear(&mut self, from: [u8; 4], message: &[u8]) -> Option<Ignored> {
            let packet = behind_ip(from, message);
            let packet =
                Packet { from: from.into(), bytes: &packet, truncated: false, stamp: None, ttl: Some(64) };
            let before = self.counts();
            self.judge.take(packet, RAW, &mut self.schedule, self.now);
            self.since(before)
        }

        /// Hands in an error that quotes so much of the request, and tells why it did not count.
        fn refuse(&mut self, quoted: &[u8]) -> Option<Ignored> {
            let quote = Quote::new(Family::V4, quoted).unwrap();
            let before = self.counts();
            let (from, to) = (ROUTER.into(), THEM.into());
            self.judge.take_error(UNREACHABLE, from, to, quote, &mut self.schedule, self.now);
            self.since(before)
        }

        /// How many of each kind there were, in all and of the target.
        fn counts(&self) -> [(u64, u32); Ignored::ALL.len()] {
            let counts = self.judge.counts();
            Ignored::ALL.map(|kind| (counts.total(kind), counts.of(0, kind)))
        }

        /// The kind of which there is one more; all but other programs' and those of unknown addresses are the target's.
        fn since(&self, before: [(u64, u32); Ignored::ALL.len()]) -> Option<Ignored> {
            let after = self.counts();
            let place = (0..before.len()).find(|place| after[*place].0 > before[*place].0)?;
            let kind = Ignored::ALL[place];
            assert_eq!(after[place].1 > before[place].1, kind != Ignored::Foreign, "{kind:?}");
            Some(kind)
        }

        fn reply(&self) -> Vec<u8> {
            let mut reply = self.request.to_vec();
            reply[0] = 0;
            summed(reply)
        }
    }

    fn behind_ip(from: [u8; 4], message: &[u8]) -> Vec<u8> {
        let length = message.len() as u16;
        let mut packet = Vec::new();
        Ipv4Header::new(length, 64, IpNumber::ICMP, from, [198, 18, 0, 1])
            .unwrap()
            .write(&mut packet)
            .unwrap();
        packet.extend(message);
        packet
    }

    /// The message with its checksum set right.
    fn summed(mut message: Vec<u8>) -> Vec<u8> {
        message[2..4].fill(0);
        let sum = Sum16BitWords::new().add_slice(&message).ones_complement();
        message[2..4].copy_from_slice(&sum.to_ne_bytes());
        message
    }

    #[test]
    fn a_reply_of_ours_counts_once() {
        let mut court = Court::new();
        let reply = court.reply();
        assert_eq!(court.hear(THEM, &reply), None);
        assert_eq!(court.hear(THEM, &reply), Some(Ignored::Duplicate));
    }

    #[test]
    fn a_reply_that_anything_is_wrong_with_does_not_count_and_harms_nobody() {
        let mut court = Court::new();
        let reply = court.reply();
        let changed = |offset: usize| {
            let mut reply = reply.clone();
            reply[offset] ^= 1;
            reply
        };
        assert_eq!(court.hear(ROUTER, &reply), Some(Ignored::WrongSource));
        assert_eq!(court.hear(THEM, &changed(2)), Some(Ignored::Damaged), "the checksum");
        assert_eq!(court.hear(THEM, &changed(1)), Some(Ignored::Damaged), "the code");
        assert_eq!(court.hear(THEM, &changed(40)), Some(Ignored::Damaged), "the payload");
        assert_eq!(
            court.hear(THEM, &summed(changed(40))),
            Some(Ignored::Damaged),
            "the payload, summed up anew"
        );
        assert_eq!(court.hear(THEM, &summed(changed(5))), Some(Ignored::Identifier), "the identifier");
        assert_eq!(court.hear(THEM, &summed(changed(7))), Some(Ignored::Damaged), "the sequence");
        assert_eq!(court.hear(THEM, &summed(changed(12))), Some(Ignored::Forged), "the number");
        assert_eq!(court.hear(THEM, &summed(changed(20))), Some(Ignored::Forged), "the tag");
        assert_eq!(court.hear(THEM, &summed(changed(27))), Some(Ignored::Damaged), "the mark");
        assert_eq!(
            court.hear(THEM, &summed(reply[..16].to_vec())),
            Some(Ignored::Truncated),
            "fping takes this one"
        );
        assert_eq!(
            court.hear(THEM, &summed(reply[..60].to_vec())),
            Some(Ignored::Truncated),
            "as another target's"
        );
        assert_eq!(court.hear(THEM, &reply[..4]), Some(Ignored::Truncated));
        assert_eq!(
            court.hear(THEM, &court.request.clone()),
            Some(Ignored::Foreign),
            "what loopback lets us hear"
        );
        assert_eq!(court.hear(THEM, &summed(changed(1))), Some(Ignored::Foreign), "no echo reply, and whole");
        assert_eq!(court.hear(THEM, &reply), None, "the true one still counts");
    }

    /// The target is known by its number still, and its address is most likely the one that was asked.
    #[test]
    fn a_reply_to_a_round_that_is_gone_is_known_for_what_it_is() {
        let mut court = Court::new();
        let reply = court.reply();
        court.close_the_round();
        assert_eq!(court.hear(THEM, &reply), Some(Ignored::Late));
        assert_eq!(court.hear(ROUTER, &reply), Some(Ignored::WrongSource));
        court.judge.set_address(0, SocketAddr::new(ROUTER.into(), 0));
        assert_eq!(court.hear(THEM, &reply), Some(Ignored::Late), "it was asked there before");
        let mut anycast =
            Court::over(&["them"], EchoSettings { any_source: true, ..EchoSettings::default() });
        let reply = anycast.reply();
        anycast.close_the_round();
        assert_eq!(anycast.hear(ROUTER, &reply), Some(Ignored::Late));
    }

    #[test]
    fn an_error_is_told_once_until_a_reply_comes_and_settles_nothing() {
        let mut court = Court::new();
        let told = Some(Trouble::Says(UNREACHABLE, ROUTER.into()));
        let quoted = court.request.clone();
        assert_eq!(court.refuse(&quoted), None);
        assert_eq!(court.judge.troubles, [told]);
        assert_eq!(court.hear(THEM, &court.reply()), None, "the ping was not settled");
        assert_eq!(court.judge.troubles, [None]);
        assert_eq!(court.refuse(&quoted[..8]), None);
        assert_eq!(court.judge.troubles, [None], "what is quoted was answered");
        let mut forged = quoted;
        forged[20] ^= 1;
        assert_eq!(court.refuse(&forged), Some(Ignored::Forged));
    }

    /// Many routers quote eight bytes, and two targets may have one address.
    #[test]
    fn a_short_quote_is_told_to_all_of_its_address_that_sent_such_an_echo() {
        let mut court = Court::over(&["a", "b", "c"], EchoSettings::default());
        // One of them has sent its ping already.
        let mut waiting = 2;
        while waiting > 0 {
            match court.schedule.poll(court.now.monotonic) {
                Action::Send(_) => waiting -= 1,
                Action::Wait(until) => court.now.monotonic = until,
                Action::Listen => court.schedule.heard(court.now.monotonic),
                Action::HandOver => unreachable!("the first second is not over"),
            }
        }
        let told = Some(Trouble::Says(UNREACHABLE, ROUTER.into()));
        let short = court.request[..8].to_vec();
        let mut other = short.clone();
        other[7] ^= 8;
        assert_eq!(court.refuse(&other), None);
        assert_eq!(court.judge.troubles, [None; 3], "nobody sent that");
        // One that moves away takes the errors of nobody else along.
        court.judge.set_address(2, SocketAddr::new(ROUTER.into(), 0));
        assert_eq!(court.refuse(&short), None);
        assert_eq!(court.judge.troubles, [told, told, None]);
    }

    /// Once stamps were seen, a ping without is an exception; and where none ever come, people are told, and each counts.
    #[test]
    fn pings_that_the_kernel_does_not_stamp_are_counted() {
        let mut court = Court::new();
        let unstamped = |court: &Court| court.judge.counts().unstamped();
        court.judge.note_stamp(true);
        court.judge.note_stamp(false);
        assert_eq!(unstamped(&court), 1);
        court.judge.note_stamp(true);
        assert_eq!(unstamped(&court), 1);
        let mut blind = Court::new();
        let log = logged(|| (0..150).for_each(|_| blind.judge.note_stamp(false)));
        assert_eq!(unstamped(&blind), 150);
        assert_eq!(log.matches("the kernel does not tell when pings leave").count(), 1, "{log}");
    }
}
