//! Names to addresses, in the background: however slow the resolver is, it delays no ping. The last good address is kept
//! while the resolver fails, and as long as it is among the answers: a name with many addresses is one series.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use tracing::{info, warn};

use super::clock::Monotonic;
use super::icmp::Family;
use super::socket::SocketKinds;
use crate::round::Target;

/// Asks for the addresses of a name; may take its time.
pub(super) type Lookup = fn(&str) -> io::Result<Vec<SocketAddr>>;

/// The resolver of the C library.
pub(super) fn system(host: &str) -> io::Result<Vec<SocketAddr>> {
    Ok((host, 0).to_socket_addrs()?.collect())
}

/// The address of a host that can be told without asking: a literal, and `localhost`, which not every machine has in its
/// tables.
pub(super) fn literal(host: &str, kinds: SocketKinds) -> Option<SocketAddr> {
    let address = match host {
        "localhost" if kinds.of(Family::V4).is_some() => Ipv4Addr::LOCALHOST.into(),
        "localhost" => Ipv6Addr::LOCALHOST.into(),
        _ => host.parse::<IpAddr>().ok()?,
    };
    Some(SocketAddr::new(address.to_canonical(), 0))
}

/// The names among the targets' hosts, and what is known of each.
pub(super) struct Names {
    names: Vec<Name>,
    /// For each target the place of its name, where it has one.
    places: Vec<Option<usize>>,
    /// By the time of their next lookup. An entry that is not its name's [`Name::next`] was overtaken by an earlier one.
    agenda: BinaryHeap<Reverse<(Monotonic, usize)>>,
    orders: Sender<Order>,
    answers: Receiver<Answer>,
    kinds: SocketKinds,
}

struct Name {
    /// The target's place in the settings.
    index: u32,
    target: Arc<Target>,
    address: Option<SocketAddr>,
    /// When it is to be looked up next; never, while that is being done.
    next: Monotonic,
    looked_up: Monotonic,
    failures: u32,
    /// What was said of the last failure, until the name resolves again.
    complaint: Option<String>,
}

struct Order {
    place: usize,
    target: Arc<Target>,
}

struct Answer {
    place: usize,
    result: io::Result<Vec<SocketAddr>>,
}

impl Names {
    /// The names of `targets`, all to be looked up at once. Starts the threads that do it by `lookup`, and call `wake`
    /// for each answer; none when every host is a literal.
    pub(super) fn new(
        targets: &[Arc<Target>],
        kinds: SocketKinds,
        now: Monotonic,
        lookup: Lookup,
        wake: impl Fn() + Clone + Send + 'static,
    ) -> io::Result<Self> {
        let mut names = Vec::new();
        let mut places = Vec::with_capacity(targets.len());
        for (target, index) in targets.iter().zip(0..) {
            let named = literal(&target.host, kinds).is_none();
            places.push(named.then_some(names.len()));
            if named {
                names.push(Name::new(index, Arc::clone(target), now));
            }
        }
        // Each name is asked for once at a time, so neither channel can be full.
        let (orders, to_do) = bounded(names.len());
        let (done, answers) = bounded(names.len());
        for _ in 0..names.len().min(WORKERS) {
            let (to_do, done, wake) = (Receiver::clone(&to_do), Sender::clone(&done), wake.clone());
            thread::Builder::new()
                .name("latmon-names".to_owned())
                .spawn(move || work(&to_do, &done, lookup, wake))?;
        }
        let agenda = (0..names.len()).map(|place| Reverse((now, place))).collect();
        Ok(Self { names, places, agenda, orders, answers, kinds })
    }

    /// Orders the lookups that are due, and tells when the next one is.
    pub(super) fn poll(&mut self, now: Monotonic) -> Monotonic {
        while let Some(Reverse((at, place))) = self.agenda.peek().copied() {
            let name = &mut self.names[place];
            if at == name.next {
                if at > now {
                    return at;
                }
                name.next = Monotonic::NEVER;
                let order = Order { place, target: Arc::clone(&name.target) };
                // Fails only when every worker has panicked; their names then stay what they are.
                let _ = self.orders.try_send(order);
            }
            self.agenda.pop();
        }
        Monotonic::NEVER
    }

    /// The next target whose address was found or has changed.
    pub(super) fn take_address(&mut self, now: Monotonic) -> Option<(u32, SocketAddr)> {
        while let Ok(Answer { place, result }) = self.answers.try_recv() {
            let name = &mut self.names[place];
            let changed = name.learn(result, self.kinds);
            name.looked_up = now;
            name.next = now.plus(name.pause());
            self.agenda.push(Reverse((name.next, place)));
            if let Some(address) = changed {
                return Some((name.index, address));
            }
        }
        None
    }

    /// Nothing answers at the target's address any more: looks sooner whether its name has another.
    pub(super) fn doubt(&mut self, target: u32, now: Monotonic) {
        let Some(Some(place)) = self.places.get(target as usize).copied() else { return };
        let name = &mut self.names[place];
        let sooner = name.looked_up.plus(DOUBTED).max(now);
        if name.next != Monotonic::NEVER && sooner < name.next {
            name.next = sooner;
            self.agenda.push(Reverse((sooner, place)));
        }
    }
}

impl Name {
    fn new(index: u32, target: Arc<Target>, now: Monotonic) -> Self {
        Self { index, target, address: None, next: now, looked_up: now, failures: 0, complaint: None }
    }

    /// Takes what a lookup found, says what changed, and returns the address if it did.
    fn learn(&mut self, result: io::Result<Vec<SocketAddr>>, kinds: SocketKinds) -> Option<SocketAddr> {
        let found = result.map_err(|error| plain(&error)).and_then(|addresses| {
            choose(&addresses, self.address, kinds).ok_or_else(|| "it has no address".to_owned())
        });
        let Target { name, host } = &*self.target;
        match found {
            Ok(address) => {
                self.failures = 0;
                let before = self.address.replace(address);
                let complained = self.complaint.take().is_some();
                match before {
                    Some(before) if before != address => {
                        warn!(
                            "{name}: the address of {host} changed from {} to {}",
                            before.ip(),
                            address.ip()
                        );
                    }
                    Some(_) if complained => info!("{name}: {host} resolves again to {}", address.ip()),
                    Some(_) => {}
                    None => info!("{name}: {host} resolves to {}", address.ip()),
                }
                (before != Some(address)).then_some(address)
            }
            Err(why) => {
                self.failures = self.failures.saturating_add(1);
                if self.complaint.as_ref() != Some(&why) {
                    match self.address {
                        Some(kept) => warn!("{name}: {host} does not resolve: {why}; keeping {}", kept.ip()),
                        None => warn!("{name}: {host} does not resolve: {why}"),
                    }
                    self.complaint = Some(why);
                }
                None
            }
        }
    }

    /// How long to wait until the next lookup.
    fn pause(&self) -> Duration {
        match self.failures {
            0 => FRESH,
            failures => RETRY.saturating_mul(1 << (failures - 1).min(8)).min(LONGEST_RETRY),
        }
    }
}

/// What a worker thread does until the orders end.
fn work(to_do: &Receiver<Order>, done: &Sender<Answer>, lookup: Lookup, wake: impl Fn()) {
    while let Ok(Order { place, target }) = to_do.recv() {
        if done.send(Answer { place, result: lookup(&target.host) }).is_err() {
            return;
        }
        wake();
    }
}

/// The address to ask: the one asked so far if it still stands, else the first that there is a socket for, in the order
/// the resolver prefers; else the first of all, so that the missing socket is what people are told.
fn choose(found: &[SocketAddr], current: Option<SocketAddr>, kinds: SocketKinds) -> Option<SocketAddr> {
    let plain = |address: &SocketAddr| match address {
        SocketAddr::V6(v6) if v6.ip().to_ipv4_mapped().is_none() => *address,
        _ => SocketAddr::new(address.ip().to_canonical(), 0),
    };
    let found = || found.iter().map(plain);
    found()
        .find(|address| Some(*address) == current)
        .or_else(|| found().find(|address| kinds.of(Family::of(address.ip())).is_some()))
        .or_else(|| found().next())
}

/// The resolver's own words, without the standard library's.
fn plain(error: &io::Error) -> String {
    let words = error.to_string();
    words.strip_prefix("failed to lookup address information: ").unwrap_or(&words).to_owned()
}

/// How long an address is believed.
const FRESH: Duration = Duration::from_secs(300);
/// How long, at least, an address is believed that nothing answers at.
const DOUBTED: Duration = Duration::from_secs(60);
/// The first pause after a failure; each further one doubles it.
const RETRY: Duration = Duration::from_secs(15);
const LONGEST_RETRY: Duration = Duration::from_secs(60);
/// How many names are looked up at once: one dead server among the names' must not stop all others.
const WORKERS: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::socket::SocketKind;
    use std::sync::Mutex;

    const BOTH: SocketKinds = SocketKinds { v4: Some(SocketKind::Raw), v6: Some(SocketKind::Raw) };
    const ONLY_V4: SocketKinds = SocketKinds { v4: Some(SocketKind::Raw), v6: None };
    const ONLY_V6: SocketKinds = SocketKinds { v4: None, v6: Some(SocketKind::Raw) };

    fn address(text: &str) -> SocketAddr {
        SocketAddr::new(text.parse().unwrap(), 0)
    }

    fn targets(hosts: &[&str]) -> Vec<Arc<Target>> {
        let target = |host: &&str| Arc::new(Target { name: format!("t/{host}"), host: (*host).to_owned() });
        hosts.iter().map(target).collect()
    }

    fn at(secs: u64) -> Monotonic {
        Monotonic(0).plus(Duration::from_secs(secs))
    }

    /// Names that are looked up by `lookup`, and where it says that an answer is there.
    fn names(hosts: &[&str], lookup: Lookup) -> (Names, Receiver<()>) {
        let (rang, bell) = crossbeam_channel::unbounded();
        let wake = move || rang.send(()).unwrap();
        (Names::new(&targets(hosts), BOTH, at(0), lookup, wake).unwrap(), bell)
    }

    /// Waits for one answer.
    fn ring(bell: &Receiver<()>) {
        bell.recv_timeout(Duration::from_secs(60)).expect("no answer came");
    }

    #[test]
    fn literals_and_localhost_need_no_resolver() {
        assert_eq!(literal("192.0.2.1", BOTH), Some(address("192.0.2.1")));
        assert_eq!(literal("2001:db8::1", BOTH), Some(address("2001:db8::1")));
        assert_eq!(literal("::ffff:192.0.2.1", BOTH), Some(address("192.0.2.1")), "IPv4 in IPv6's clothes");
        assert_eq!(literal("localhost", BOTH), Some(address("127.0.0.1")));
        assert_eq!(literal("localhost", ONLY_V6), Some(address("::1")));
        assert_eq!(literal("core1.example.org", BOTH), None);
        let (mut names, _) = names(&["192.0.2.1", "localhost"], |_| unreachable!("nobody is to be asked"));
        assert_eq!(names.poll(at(0)), Monotonic::NEVER);
    }

    #[test]
    fn the_address_asked_so_far_stays_while_it_is_among_the_answers() {
        let found = ["2001:db8::1", "192.0.2.1", "192.0.2.2"].map(address);
        assert_eq!(choose(&found, None, BOTH), Some(found[0]));
        assert_eq!(choose(&found, Some(found[2]), BOTH), Some(found[2]));
        assert_eq!(choose(&found, Some(address("192.0.2.9")), BOTH), Some(found[0]));
        assert_eq!(choose(&found, None, ONLY_V4), Some(found[1]), "there is no socket for the first");
        assert_eq!(choose(&found[..1], None, ONLY_V4), Some(found[0]), "and no other address");
        assert_eq!(choose(&[], None, BOTH), None);
        let scoped: SocketAddr = "[fe80::1%2]:0".parse().unwrap();
        assert_eq!(choose(&[scoped], None, BOTH), Some(scoped), "a link-local address keeps its link");
    }

    #[test]
    fn a_found_address_is_told_once_and_looked_up_again_after_five_minutes() {
        let (mut names, bell) = names(&["192.0.2.9", "name.example"], |_| Ok(vec![address("192.0.2.1")]));
        names.poll(at(0));
        ring(&bell);
        assert_eq!(names.take_address(at(1)), Some((1, address("192.0.2.1"))));
        assert_eq!(names.poll(at(1)), at(301));
        assert_eq!(names.poll(at(301)), Monotonic::NEVER, "it is being looked up");
        ring(&bell);
        assert_eq!(names.take_address(at(302)), None, "it is the same");
        assert_eq!(names.poll(at(302)), at(602));
    }

    #[test]
    fn an_address_that_nothing_answers_at_is_looked_up_sooner_but_not_all_the_time() {
        let (mut names, bell) = names(&["name.example"], |_| Ok(vec![address("192.0.2.1")]));
        names.poll(at(0));
        names.doubt(0, at(0));
        ring(&bell);
        names.take_address(at(0));
        assert_eq!(names.poll(at(1)), at(300));
        names.doubt(0, at(2));
        assert_eq!(names.poll(at(2)), at(60));
        names.doubt(0, at(3));
        assert_eq!(names.poll(at(3)), at(60));
        assert_eq!(names.poll(at(60)), Monotonic::NEVER);
        ring(&bell);
        names.take_address(at(61));
        assert_eq!(names.poll(at(61)), at(361), "one answer, one entry on the agenda");
    }

    #[test]
    fn the_last_good_address_outlives_a_dead_resolver_which_is_asked_ever_more_rarely() {
        static ANSWERS: Mutex<Vec<Option<&str>>> = Mutex::new(Vec::new());
        *ANSWERS.lock().unwrap() = vec![Some("192.0.2.2"), None, None, None, None, Some("192.0.2.1")];
        let (mut names, bell) = names(&["name.example"], |_| {
            let answer = ANSWERS.lock().unwrap().pop().expect("asked too often");
            answer.map(|text| vec![address(text)]).ok_or_else(|| io::Error::other("no server answers"))
        });
        let mut told = Vec::new();
        let mut next = at(0);
        let mut pauses = Vec::new();
        for _ in 0..6 {
            let now = next;
            names.poll(now);
            ring(&bell);
            told.extend(names.take_address(now));
            next = names.poll(now);
            pauses.push(next.since(now).as_secs());
        }
        assert_eq!(pauses, [300, 15, 30, 60, 60, 300]);
        assert_eq!(told, [(0, address("192.0.2.1")), (0, address("192.0.2.2"))], "failures told no address");
    }

    #[test]
    fn one_slow_name_does_not_hold_up_the_others() {
        static SLOW: Mutex<()> = Mutex::new(());
        let held = SLOW.lock().unwrap();
        let (mut names, bell) = names(&["slow.example", "quick.example"], |host| {
            let _wait = host.starts_with("slow").then(|| SLOW.lock().unwrap());
            Ok(vec![address("192.0.2.1")])
        });
        names.poll(at(0));
        ring(&bell);
        assert_eq!(names.take_address(at(0)), Some((1, address("192.0.2.1"))));
        drop(held);
        ring(&bell);
        assert_eq!(names.take_address(at(0)), Some((0, address("192.0.2.1"))));
    }
}
