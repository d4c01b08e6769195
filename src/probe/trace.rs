//! The path to an address, by echoes that may take only so many hops: each router at which one ends says so.
//!
//! All hops are asked at once, several times, so that it takes little longer than the slowest answer. A router that
//! stays silent, or answers some echoes only, is no loss on the path: most limit how many errors they send. What is
//! lost at the target is.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::asker::{Addressee, Asker, Heard};
use super::clock::{self, Monotonic};
use super::icmp::Reason;
use super::{EchoSettings, Error};
use crate::round::{Fault, Rtt};

/// How a path is looked for.
#[derive(Clone, Debug)]
pub struct TraceSettings {
    /// The longest path, at most [`TraceSettings::MOST_HOPS`].
    pub hops: u8,
    /// How many echoes each hop is asked, at most [`TraceSettings::MOST_ECHOES`].
    pub echoes: u8,
    /// How long after one echo to a hop the next one leaves.
    pub spacing: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// What the echoes look like; their time to live is the trace's.
    pub echo: EchoSettings,
}

impl TraceSettings {
    /// No path in the Internet is so long.
    pub const MOST_HOPS: u8 = 64;
    /// More only meet the routers' limits.
    pub const MOST_ECHOES: u8 = 20;
}

impl Default for TraceSettings {
    /// Thirty hops, three echoes each; it is over in less than a second and a half.
    fn default() -> Self {
        Self {
            hops: 30,
            echoes: 3,
            spacing: Duration::from_millis(100),
            timeout: Duration::from_secs(1),
            echo: EchoSettings::default(),
        }
    }
}

/// The way to a target, as far as it is known.
#[derive(Clone, Debug, PartialEq)]
pub struct Path {
    /// The address that was looked for.
    pub target: IpAddr,
    /// The hops, the nearest first, up to the last one that answered.
    pub hops: Vec<Hop>,
    /// How it ends.
    pub end: PathEnd,
}

/// How a path ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathEnd {
    /// The target answered.
    Reached,
    /// The last hop says that the target cannot be reached.
    Refused(Reason),
    /// Nobody answers behind the last hop, up to this one.
    Silent(u8),
}

/// One hop of a path.
#[derive(Clone, Debug, PartialEq)]
pub struct Hop {
    /// How many hops away it is, from 1.
    pub distance: u8,
    /// How many echoes were to end here.
    pub sent: u16,
    /// What came back, the quickest first.
    pub answers: Vec<HopAnswer>,
}

/// One answer of a hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HopAnswer {
    /// Who answered: another router each time, where a path has several branches.
    pub from: IpAddr,
    /// How long it took.
    pub rtt: Rtt,
    /// What it said; `None` is the target's echo reply.
    pub says: Option<Reason>,
}

impl Hop {
    /// Everybody who answered, once, in the order of their quickest answers.
    pub fn addresses(&self) -> Vec<IpAddr> {
        let mut addresses = Vec::new();
        for answer in &self.answers {
            if !addresses.contains(&answer.from) {
                addresses.push(answer.from);
            }
        }
        addresses
    }

    /// The share of echoes that nothing came back for; `None` where none was sent. See the module for what it says.
    pub fn loss_ratio(&self) -> Option<f64> {
        let sent = f64::from(self.sent);
        (self.sent > 0).then(|| (sent - self.answers.len() as f64) / sent)
    }

    /// The upper median of the answers, as that of a round.
    pub fn median(&self) -> Option<Rtt> {
        self.answers.get(self.answers.len() / 2).map(|answer| answer.rtt)
    }

    /// How the path ends here, if it does.
    fn end(&self) -> Option<PathEnd> {
        let ends = self.answers.iter().find(|answer| !answer.says.is_some_and(|says| says.is_expired()))?;
        Some(ends.says.map_or(PathEnd::Reached, PathEnd::Refused))
    }
}

/// Looks for the path to `address`, whose port means nothing. It takes no longer than all echoes' spacing and one
/// timeout; an error is our own machine's, as when it has no route there.
pub fn trace(address: SocketAddr, settings: &TraceSettings) -> Result<Path, Error> {
    trace_all(&[(address, settings.echo.clone())], settings)?.pop().expect("one path was asked for")
}

/// Looks for several paths at once, in the time of one: each with echoes of its own in place of those of `settings`. An
/// error of one says nothing of the others.
pub fn trace_all(
    asked: &[(SocketAddr, EchoSettings)],
    settings: &TraceSettings,
) -> Result<Vec<Result<Path, Error>>, Error> {
    let hops = settings.hops.clamp(1, TraceSettings::MOST_HOPS);
    let echoes = u32::from(settings.echoes.clamp(1, TraceSettings::MOST_ECHOES));
    let all = u32::from(hops) * echoes * u32::try_from(asked.len()).unwrap_or(u32::MAX);
    let mut asker = Asker::open(asked.iter().map(|(_, echo)| echo), all, settings.timeout)?;
    let mut searches: Vec<Result<(Search, Vec<Addressee>), Error>> = Vec::new();
    for ((address, echo), first) in asked.iter().zip(1..) {
        let addressees = (1..=hops)
            .map(|ttl| asker.addressee(*address, &EchoSettings { ttl: Some(ttl), ..echo.clone() }))
            .collect::<Result<_, Error>>();
        let search = Search::numbered(hops, first, asked.len() as u64);
        searches.push(addressees.map(|addressees| (search, addressees)));
    }
    let begun = clock::now().monotonic;
    let mut heard = Vec::new();
    let mut wave = 0;
    loop {
        let next_wave = if wave < echoes { begun.plus(settings.spacing * wave) } else { Monotonic::NEVER };
        if clock::now().monotonic >= next_wave {
            for (search, addressees) in searches.iter_mut().flatten() {
                for (distance, addressee) in (1..=search.length()).zip(addressees) {
                    asker.push(search.send(distance), addressee, &mut heard);
                }
            }
            asker.flush(&mut heard)?;
            wave += 1;
        } else if wave == echoes && searches.iter().flatten().all(|(search, _)| search.is_over()) {
            break;
        } else {
            let until = next_wave.min(asker.next_deadline());
            asker.wait(until, None, &mut heard)?;
        }
        for heard in heard.drain(..) {
            searches.iter_mut().flatten().for_each(|(search, _)| search.enter(heard));
        }
    }
    let closed = searches.into_iter().zip(asked).map(|(searched, (address, _))| {
        let (search, _) = searched?;
        search.close(address.ip())
    });
    Ok(closed.collect())
}

/// What is known so far.
struct Search {
    hops: Vec<Hop>,
    /// The distances of the echoes that are under way.
    under_way: HashMap<u64, u8>,
    /// The number of the next echo, and how far apart the numbers are: those between are of other searches.
    next: u64,
    stride: u64,
    fault: Option<Fault>,
}

impl Search {
    fn numbered(hops: u8, first: u64, stride: u64) -> Self {
        let hop = |distance| Hop { distance, sent: 0, answers: Vec::new() };
        let hops = (1..=hops).map(hop).collect();
        Self { hops, under_way: HashMap::new(), next: first, stride, fault: None }
    }

    /// How far it is worth asking: to the hop where the path is known to end.
    fn length(&self) -> u8 {
        let end = self.hops.iter().find(|hop| hop.end().is_some());
        end.or(self.hops.last()).map_or(0, |hop| hop.distance)
    }

    /// Notes that an echo leaves that is to end at `distance`; returns its number.
    fn send(&mut self, distance: u8) -> u64 {
        let number = self.next;
        self.next += self.stride;
        self.under_way.insert(number, distance);
        self.hop(distance).sent += 1;
        number
    }

    fn hop(&mut self, distance: u8) -> &mut Hop {
        &mut self.hops[usize::from(distance) - 1]
    }

    /// Takes in what was heard of an echo, where it is one of this search.
    fn enter(&mut self, heard: Heard) {
        match heard {
            Heard::Answered { number, from, rtt, .. } => {
                self.answer(number, HopAnswer { from, rtt, says: None });
            }
            Heard::Refused { number, reason, from, rtt: Some(rtt) } => {
                self.answer(number, HopAnswer { from, rtt, says: Some(reason) });
            }
            Heard::Overdue { number } => drop(self.under_way.remove(&number)),
            Heard::Unknown { number, fault } => {
                // It says nothing of the path, as if it had not been sent.
                if let Some(distance) = self.under_way.remove(&number) {
                    self.hop(distance).sent -= 1;
                    self.fault = Some(fault);
                }
            }
            Heard::Refused { rtt: None, .. } | Heard::Odd { .. } => {}
        }
    }

    /// The first answer to an echo counts.
    fn answer(&mut self, number: u64, answer: HopAnswer) {
        let Some(distance) = self.under_way.remove(&number) else { return };
        let answers = &mut self.hop(distance).answers;
        let place = answers.partition_point(|other| other.rtt <= answer.rtt);
        answers.insert(place, answer);
    }

    /// True when nothing more is to be heard of the hops up to the path's end.
    fn is_over(&self) -> bool {
        let length = self.length();
        self.under_way.values().all(|distance| *distance > length)
    }

    fn close(mut self, target: IpAddr) -> Result<Path, Error> {
        if let Some(fault) = self.fault
            && self.hops.iter().all(|hop| hop.sent == 0)
        {
            return Err(Error::NotSent { to: target, fault });
        }
        let length = self.length();
        let end = self.hop(length).end().unwrap_or(PathEnd::Silent(length));
        let answered = self.hops.iter().rposition(|hop| !hop.answers.is_empty() && hop.distance <= length);
        self.hops.truncate(answered.map_or(0, |last| last + 1));
        Ok(Path { target, hops: self.hops, end })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::icmp::Family;

    fn router(number: u8) -> IpAddr {
        IpAddr::from([198, 18, number, 1])
    }

    fn target() -> IpAddr {
        router(99)
    }

    fn rtt(millis: u64) -> Rtt {
        Rtt::new(Duration::from_millis(millis))
    }

    fn says(kind: u8, code: u8) -> Reason {
        Reason { family: Family::V4, kind, code }
    }

    /// A search that has asked `hops` hops once; the number of each echo is its distance.
    fn search(hops: u8) -> Search {
        let mut search = Search::numbered(hops, 1, 1);
        for distance in 1..=hops {
            assert_eq!(search.send(distance), u64::from(distance));
        }
        search
    }

    fn expired(number: u64, from: IpAddr, millis: u64) -> Heard {
        Heard::Refused { number, reason: says(11, 0), from, rtt: Some(rtt(millis)) }
    }

    fn answered(number: u64, millis: u64) -> Heard {
        Heard::Answered { number, from: target(), rtt: rtt(millis), ttl: None, bytes: 64 }
    }

    #[test]
    fn a_path_ends_at_the_target_whoever_answers_first() {
        let mut search = search(5);
        search.enter(answered(5, 3));
        assert_eq!(search.length(), 5);
        search.enter(answered(3, 4));
        assert_eq!(search.length(), 3, "the echoes with more hops to live reach it too");
        assert!(!search.is_over());
        search.enter(expired(1, router(1), 1));
        search.enter(Heard::Overdue { number: 2 });
        assert!(search.is_over(), "what is under way behind the target is of no interest");
        let path = search.close(target()).unwrap();
        assert_eq!(path.end, PathEnd::Reached);
        let shown: Vec<_> =
            path.hops.iter().map(|hop| (hop.distance, hop.addresses(), hop.median())).collect();
        assert_eq!(
            shown,
            [(1, vec![router(1)], Some(rtt(1))), (2, vec![], None), (3, vec![target()], Some(rtt(4)))]
        );
        assert_eq!(
            path.hops.iter().map(Hop::loss_ratio).collect::<Vec<_>>(),
            [Some(0.0), Some(1.0), Some(0.0)]
        );
    }

    #[test]
    fn a_router_that_refuses_ends_the_path() {
        let mut search = search(4);
        search.enter(expired(1, router(1), 1));
        for number in 2..=4 {
            let unreachable = says(3, 1);
            search.enter(Heard::Refused { number, reason: unreachable, from: router(1), rtt: Some(rtt(9)) });
        }
        let path = search.close(target()).unwrap();
        assert_eq!((path.hops.len(), path.end), (2, PathEnd::Refused(says(3, 1))));
    }

    #[test]
    fn silence_has_a_length() {
        let mut search = search(9);
        search.enter(expired(2, router(2), 1));
        let path = search.close(target()).unwrap();
        assert_eq!((path.hops.len(), path.end), (2, PathEnd::Silent(9)));
        assert_eq!(Search::numbered(9, 1, 1).close(target()).unwrap().hops, []);
    }

    #[test]
    fn branches_are_told_and_a_second_answer_to_one_echo_is_not() {
        let mut search = Search::numbered(1, 1, 1);
        let numbers = [search.send(1), search.send(1), search.send(1)];
        search.enter(expired(numbers[0], router(7), 20));
        search.enter(expired(numbers[0], router(8), 21));
        search.enter(expired(numbers[1], router(9), 10));
        search.enter(expired(numbers[2], router(7), 30));
        let hop = &search.close(target()).unwrap().hops[0];
        assert_eq!(hop.addresses(), [router(9), router(7)], "the quickest first");
        assert_eq!((hop.answers.len(), hop.median(), hop.loss_ratio()), (3, Some(rtt(20)), Some(0.0)));
    }

    #[test]
    fn searches_that_go_on_together_hear_of_their_own_echoes_only() {
        let [mut one, mut other] = [1, 2].map(|first| Search::numbered(3, first, 2));
        let numbers: Vec<u64> =
            (1..=3).flat_map(|distance| [one.send(distance), other.send(distance)]).collect();
        assert_eq!(numbers, [1, 2, 3, 4, 5, 6]);
        for heard in [answered(1, 5), expired(2, router(1), 1), answered(6, 7)] {
            one.enter(heard);
            other.enter(heard);
        }
        let [one, other] = [one, other].map(|search| search.close(target()).unwrap());
        assert_eq!((one.hops.len(), one.end), (1, PathEnd::Reached));
        assert_eq!((other.hops.len(), other.hops[0].addresses()), (3, vec![router(1)]));
    }

    #[test]
    fn what_our_own_side_failed_is_no_path() {
        let mut some = search(2);
        some.enter(Heard::Unknown { number: 1, fault: Fault::Send(libc::ENOBUFS) });
        some.enter(answered(2, 1));
        let path = some.close(target()).unwrap();
        assert_eq!((path.hops[0].sent, path.hops[0].loss_ratio()), (0, None));
        let mut none = search(1);
        none.enter(Heard::Unknown { number: 1, fault: Fault::Send(libc::ENETUNREACH) });
        let error = none.close(target()).unwrap_err().to_string();
        assert_eq!(error, "cannot ask 198.18.99.1: cannot send: Network is unreachable");
    }
}
