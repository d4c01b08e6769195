//! Names to addresses, in the background: however slow the resolver is, it delays no ping. The last good address is kept
//! while the resolver fails, and as long as it is among the answers: a name with many addresses is one series.
//!
//! What is due when is decided here, without a clock; `dns` asks. A lookup begins with a quick try, which a name server that
//! works answers. What that does not answer gets a patient one, which waits for its turn among its like: however many names
//! are dead, those that are not are found by the quick one.

use std::cmp::Reverse;
use std::collections::hash_map::Entry;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};
use tracing::{info, warn};

use super::TargetSettings;
use super::clock::Monotonic;
use super::icmp::Family;
use super::socket::SocketKinds;
use super::tally::Throttle;
use crate::round::Target;

mod dns;
pub(super) mod lookup;

/// The addresses of the targets' hosts: those of literals, and what is known of names. Each name is asked for once,
/// however many targets have it.
pub(super) struct Names {
    names: Vec<Name>,
    /// For each target the place of its name, where it has one.
    places: Vec<Option<usize>>,
    lanes: [Lane; 4],
    /// Addresses that were found and not yet taken.
    found: VecDeque<(u32, SocketAddr)>,
    /// Nobody, where there is no name.
    resolver: Option<Resolver>,
    kinds: SocketKinds,
    every: Duration,
    log: Log,
}

/// Who is asked.
struct Resolver {
    ask: Box<dyn Fn(Question) + Send>,
    answers: Receiver<Answer>,
}

/// What is to be looked up.
#[derive(Clone, Debug)]
struct Question {
    place: usize,
    host: Arc<str>,
    v4: bool,
    v6: bool,
    /// Whether nobody wants the one or the other for itself.
    is_either_enough: bool,
    /// How long each family may take.
    patience: Duration,
}

/// What was found; nothing of a family that was not asked for.
#[derive(Debug)]
struct Answer {
    place: usize,
    v4: Option<Found>,
    v6: Option<Found>,
    /// The family that the system prefers where both have an address.
    preferred: Family,
    /// Whether more patience might have found more.
    cut_short: bool,
}

/// The addresses of one family, there may be none; or why that is not known.
type Found = Result<Vec<SocketAddr>, String>;

struct Name {
    host: Arc<str>,
    users: Vec<User>,
    /// When it is to be looked up next; never, while that is being done.
    next: Monotonic,
    looked_up: Monotonic,
    failures: u32,
    /// Whether its next try is a patient one, since the quick one was cut short.
    patient: bool,
    /// The lane that its last question took a place in.
    asked_in: usize,
}

/// A target that has the name.
struct User {
    /// Its place in the settings.
    index: u32,
    target: Arc<Target>,
    family: Option<Family>,
    address: Option<SocketAddr>,
    /// What was said of the last failure, until the name resolves again.
    complaint: Option<String>,
}

/// Names that wait for their time, and how many of them are looked up at once. Those that had an address before wait for no
/// others: most of them have it still. Nor does any wait for those on a patient try: see [`Name::lane`].
struct Lane {
    /// By the time of their next lookup. An entry that is not its name's [`Name::next`] was overtaken by an earlier one.
    agenda: BinaryHeap<Reverse<(Monotonic, usize)>>,
    under_way: usize,
    most: usize,
    /// How long a try may take.
    patience: Duration,
}

impl Names {
    /// The hosts of `targets`. Names are looked up at once (many, one after the other), and again `every` so often.
    /// Starts the thread that does it and calls `wake` when there is something to take; none when every host is a literal.
    pub(super) fn new(
        targets: &[TargetSettings],
        every: Duration,
        kinds: SocketKinds,
        now: Monotonic,
        wake: impl Fn() + Clone + Send + 'static,
    ) -> io::Result<Self> {
        let mut names = Self::without_resolver(targets, every, kinds, now);
        if !names.names.is_empty() {
            // There is room for every answer that can be under way.
            let most = LANES.iter().map(|(most, _)| most).sum();
            let (sender, answers) = bounded(most);
            let questions = dns::start(most, sender, wake)?;
            names.resolver =
                Some(Resolver { ask: Box::new(move |question| questions.put(question)), answers });
        }
        Ok(names)
    }

    fn without_resolver(
        targets: &[TargetSettings],
        every: Duration,
        kinds: SocketKinds,
        now: Monotonic,
    ) -> Self {
        let mut found = VecDeque::new();
        let mut names: Vec<Name> = Vec::new();
        let mut by_host: HashMap<String, usize> = HashMap::new();
        let mut places = Vec::with_capacity(targets.len());
        for (settings, index) in targets.iter().zip(0..) {
            let host = &settings.target.host;
            if let Some(address) = literal(host, settings.family, kinds) {
                found.push_back((index, address));
                places.push(None);
                continue;
            }
            let place = match by_host.entry(host.to_ascii_lowercase()) {
                Entry::Occupied(known) => *known.get(),
                Entry::Vacant(new) => {
                    names.push(Name::new(host, now.plus(spread(names.len()))));
                    *new.insert(names.len() - 1)
                }
            };
            names[place].users.push(User::new(index, settings));
            places.push(Some(place));
        }
        let mut lanes = LANES.map(|(most, patience)| Lane::new(most, patience));
        lanes[NEW].agenda = names.iter().zip(0..).map(|(name, place)| Reverse((name.next, place))).collect();
        Self { names, places, lanes, found, resolver: None, kinds, every, log: Log::default() }
    }

    /// Orders the lookups that are due, and tells when the next one is.
    pub(super) fn poll(&mut self, now: Monotonic) -> Monotonic {
        let Self { names, lanes, resolver: Some(resolver), .. } = self else { return Monotonic::NEVER };
        let mut next = Monotonic::NEVER;
        for (lane, number) in lanes.iter_mut().zip(0..) {
            while let Some(Reverse((at, place))) = lane.agenda.peek().copied() {
                let name = &mut names[place];
                if at == name.next {
                    if at > now {
                        next = next.min(at);
                        break;
                    }
                    if lane.under_way == lane.most {
                        // The answer to one of them wakes us.
                        break;
                    }
                    lane.under_way += 1;
                    name.asked_in = number;
                    name.next = Monotonic::NEVER;
                    (resolver.ask)(name.question(place, lane.patience));
                }
                lane.agenda.pop();
            }
        }
        next
    }

    /// The next target whose address was found or has changed.
    pub(super) fn take_address(&mut self, now: Monotonic) -> Option<(u32, SocketAddr)> {
        while self.found.is_empty() {
            let answer = self.resolver.as_ref()?.answers.try_recv().ok()?;
            self.learn(&answer, now);
        }
        self.found.pop_front()
    }

    fn learn(&mut self, answer: &Answer, now: Monotonic) {
        let Self { names, lanes, found, kinds, every, log, .. } = self;
        let name = &mut names[answer.place];
        lanes[name.asked_in].under_way -= 1;
        if answer.cut_short && !name.patient {
            name.patient = true;
            name.next = now;
            lanes[name.lane()].agenda.push(Reverse((now, answer.place)));
            return;
        }
        let mut failed = false;
        for user in &mut name.users {
            let chosen = choose(answer, user.family, user.address, *kinds);
            failed |= chosen.is_err();
            found.extend(user.learn(&name.host, chosen, log, now).map(|address| (user.index, address)));
        }
        name.failures = if failed { name.failures.saturating_add(1) } else { 0 };
        name.patient = false;
        name.looked_up = now;
        name.next = now.plus(name.pause(*every, answer.place));
        lanes[name.lane()].agenda.push(Reverse((name.next, answer.place)));
    }

    /// Nothing answers at the target's address any more: looks sooner whether its name has another.
    pub(super) fn doubt(&mut self, target: u32, now: Monotonic) {
        let Some(Some(place)) = self.places.get(target as usize).copied() else { return };
        let name = &mut self.names[place];
        let sooner = name.looked_up.plus(DOUBTED).max(now);
        if name.next != Monotonic::NEVER && sooner < name.next {
            name.next = sooner;
            self.lanes[name.lane()].agenda.push(Reverse((sooner, place)));
        }
    }
}

impl Lane {
    fn new(most: usize, patience: Duration) -> Self {
        Self { agenda: BinaryHeap::new(), under_way: 0, most, patience }
    }
}

impl Name {
    fn new(host: &str, next: Monotonic) -> Self {
        let (host, users) = (host.into(), Vec::new());
        Self { host, users, next, looked_up: next, failures: 0, patient: false, asked_in: NEW }
    }

    /// The place in [`LANES`] of the lane in which it waits for its next try.
    fn lane(&self) -> usize {
        let is_known = self.users.iter().any(|user| user.address.is_some());
        match (self.patient, is_known) {
            (false, true) => KNOWN,
            (false, false) => NEW,
            (true, true) => KNOWN_PATIENT,
            (true, false) => NEW_PATIENT,
        }
    }

    fn question(&self, place: usize, patience: Duration) -> Question {
        let wanted = |family| self.users.iter().any(|user| user.family.is_none_or(|it| it == family));
        let (v4, v6) = (wanted(Family::V4), wanted(Family::V6));
        let is_either_enough = self.users.iter().all(|user| user.family.is_none());
        Question { place, host: Arc::clone(&self.host), v4, v6, is_either_enough, patience }
    }

    /// How long to wait until the next lookup. What was asked for in a row drifts apart, by up to an eighth.
    fn pause(&self, every: Duration, place: usize) -> Duration {
        match self.failures {
            0 => every - every / 8 * (place % PHASES) as u32 / PHASES as u32,
            failures => RETRY.saturating_mul(1 << (failures - 1).min(8)).min(LONGEST_RETRY).min(every),
        }
    }
}

impl User {
    fn new(index: u32, settings: &TargetSettings) -> Self {
        let TargetSettings { target, family, .. } = settings;
        Self { index, target: Arc::clone(target), family: *family, address: None, complaint: None }
    }

    /// Takes what a lookup came to, says what changed, and returns the address if it did.
    fn learn(
        &mut self,
        host: &str,
        chosen: Result<SocketAddr, String>,
        log: &mut Log,
        now: Monotonic,
    ) -> Option<SocketAddr> {
        let name = &self.target.name;
        match chosen {
            Ok(address) => {
                let before = self.address.replace(address);
                let complained = self.complaint.take().is_some();
                if before == Some(address) && !complained {
                    return None;
                }
                let ip = address.ip();
                match before {
                    Some(before) if before != address => log.bad(now, || {
                        format!("{name}: the address of {host} changed from {} to {ip}", before.ip())
                    }),
                    Some(_) => log.good(now, || format!("{name}: {host} resolves again to {ip}")),
                    None => log.good(now, || format!("{name}: {host} resolves to {ip}")),
                }
                (before != Some(address)).then_some(address)
            }
            Err(why) => {
                if self.complaint.as_ref() != Some(&why) {
                    let kept =
                        self.address.map(|kept| format!("; keeping {}", kept.ip())).unwrap_or_default();
                    log.bad(now, || format!("{name}: {host} does not resolve: {why}{kept}"));
                    self.complaint = Some(why);
                }
                None
            }
        }
    }
}

/// Lines about names: a hundred thousand that fail together must not fill the log.
#[derive(Default)]
struct Log {
    good: Throttle,
    bad: Throttle,
}

impl Log {
    fn good(&mut self, now: Monotonic, line: impl FnOnce() -> String) {
        if let Some(held_back) = self.good.allows(now) {
            info!("{}{}", line(), more(held_back));
        }
    }

    fn bad(&mut self, now: Monotonic, line: impl FnOnce() -> String) {
        if let Some(held_back) = self.bad.allows(now) {
            warn!("{}{}", line(), more(held_back));
        }
    }
}

fn more(held_back: u64) -> String {
    match held_back {
        0 => String::new(),
        lines => format!(" ({lines} more lines about names were held back)"),
    }
}

/// The address of a host that can be told without asking: a literal, and `localhost`, which not every machine has in its
/// tables. The name of a zone is one: an interface that comes back has another number.
fn literal(host: &str, family: Option<Family>, kinds: SocketKinds) -> Option<SocketAddr> {
    if host.strip_suffix('.').unwrap_or(host).eq_ignore_ascii_case("localhost") {
        let family = family.unwrap_or(if kinds.of(Family::V4).is_some() { Family::V4 } else { Family::V6 });
        let address: IpAddr = match family {
            Family::V4 => Ipv4Addr::LOCALHOST.into(),
            Family::V6 => Ipv6Addr::LOCALHOST.into(),
        };
        return Some(SocketAddr::new(address, 0));
    }
    match host.parse::<IpAddr>() {
        Ok(address) => Some(SocketAddr::new(address.to_canonical(), 0)),
        Err(_) => dns::zoned(host, |zone| zone.parse().ok()),
    }
}

/// The address to ask: the one asked so far if it still stands, or if there is no telling; else the first that there is a
/// socket for, of the family that the system prefers; else the first of all, so that the missing socket is what people are
/// told.
fn choose(
    answer: &Answer,
    family: Option<Family>,
    current: Option<SocketAddr>,
    kinds: SocketKinds,
) -> Result<SocketAddr, String> {
    let preferred = family.unwrap_or(answer.preferred);
    let families =
        [Family::V4, Family::V6].into_iter().filter(|it| family.is_none_or(|family| family == *it));
    let mut families: Vec<Family> = families.collect();
    families.sort_by_key(|it| *it != preferred);
    let of = |family: &Family| match family {
        Family::V4 => answer.v4.as_ref(),
        Family::V6 => answer.v6.as_ref(),
    };
    let found: Vec<SocketAddr> =
        families.iter().filter_map(|family| of(family)?.as_ref().ok()).flatten().copied().collect();
    if let (Some(current), false) = (current, found.is_empty())
        && (found.contains(&current) || of(&Family::of(current.ip())).is_some_and(Result::is_err))
    {
        return Ok(current);
    }
    let with_socket = found.iter().find(|address| kinds.of(Family::of(address.ip())).is_some());
    with_socket.or(found.first()).copied().ok_or_else(|| {
        let why = families.iter().find_map(|family| of(family)?.as_ref().err().cloned());
        why.unwrap_or_else(|| match family {
            Some(family) => format!("it has no {family} address"),
            None => "it has no address".to_owned(),
        })
    })
}

/// How long the name at this place waits for its first lookup: a hundred thousand must not be asked for at once.
fn spread(place: usize) -> Duration {
    TOGETHER_EVERY.saturating_mul(u32::try_from(place / TOGETHER).unwrap_or(u32::MAX))
}

/// How long, at least, an address is believed that nothing answers at.
const DOUBTED: Duration = Duration::from_secs(60);
/// The first pause after a failure; each further one doubles it.
const RETRY: Duration = Duration::from_secs(5);
const LONGEST_RETRY: Duration = Duration::from_secs(60);
/// The places of the lanes.
const KNOWN: usize = 0;
const NEW: usize = 1;
const KNOWN_PATIENT: usize = 2;
const NEW_PATIENT: usize = 3;
/// How many names of each lane are looked up at once, and how long that may take. A name takes up to twelve sockets: both
/// families, of two servers, each asked up to three times.
const LANES: [(usize, Duration); 4] = [(64, QUICK), (64, QUICK), (16, dns::DEADLINE), (32, dns::DEADLINE)];
/// Most answers come sooner, and of those that do not a name server has begun to find out.
const QUICK: Duration = Duration::from_millis(500);
/// So many names begin together, the next ones a little later: a thousand in a second.
const TOGETHER: usize = 20;
const TOGETHER_EVERY: Duration = Duration::from_millis(20);
/// Into how many parts the drift of lookups is divided.
const PHASES: usize = 64;

#[cfg(test)]
mod tests;
