//! The thread that looks names up: in `/etc/hosts` and with the name servers of `/etc/resolv.conf`, many at once, each with
//! a deadline. `getaddrinfo` would do neither: a call of it cannot be ended, and one that waits takes a thread with it.
//! What a static binary goes without, it goes without in either way: the name services of `nsswitch.conf`.

use std::fs::{self, File};
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use hickory_resolver::config::{NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::{Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::{Hosts, TokioResolver, system_conf};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::error::Elapsed;
use tokio::time::{sleep, timeout, timeout_at};
use tracing::warn;

use super::{Answer, Found, QUICK, Question};
use crate::probe::Stop;
use crate::probe::icmp::Family;

/// Where questions are put; the thread ends when this is dropped.
pub(super) struct Questions(mpsc::Sender<Question>);

impl Questions {
    /// Puts a question, unless as many are open as the thread was started for.
    pub(super) fn put(&self, question: Question) {
        // Fails otherwise only when the thread has panicked; the names then stay what they are.
        let _ = self.0.try_send(question);
    }
}

/// Starts the thread, for at most `open` questions at once. It gives each its answer, and calls `wake` then.
pub(super) fn start(
    open: usize,
    answers: Sender<Answer>,
    wake: impl Fn() + Clone + Send + 'static,
) -> io::Result<Questions> {
    let (sender, mut questions) = mpsc::channel::<Question>(open);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let run = async move {
        let mut system = System::default();
        while let Some(question) = questions.recv().await {
            let (sources, answers, wake) = (system.sources(), Sender::clone(&answers), wake.clone());
            tokio::spawn(async move {
                // Nobody listens any more when the prober ends.
                let _ = answers.send(answer(&sources, question).await);
                wake();
            });
        }
    };
    thread::Builder::new().name("latmon-names".to_owned()).spawn(move || runtime.block_on(run))?;
    Ok(Questions(sender))
}

/// A link-local address with a zone, whose number is to be told.
pub(super) fn zoned(host: &str, number_of: impl FnOnce(&str) -> Option<u32>) -> Option<SocketAddr> {
    let (address, zone) = host.split_once('%')?;
    Some(SocketAddrV6::new(address.parse().ok()?, 0, 0, number_of(zone)?).into())
}

/// As this machine has its interfaces now.
fn interface_number(name: &str) -> Option<u32> {
    nix::net::if_::if_nametoindex(name).ok()
}

pub(super) async fn answer(sources: &Sources, question: Question) -> Answer {
    let Question { place, host, v4, v6, is_either_enough, patience } = question;
    if host.contains('%') {
        let found = zoned(&host, interface_number)
            .map(|address| vec![address])
            .ok_or("there is no such interface".to_owned());
        return Answer { place, v4: None, v6: Some(found), preferred: Family::V6, cut_short: false };
    }
    let name = Name::from_str_relaxed(&*host).map_err(|error| error.to_string());
    let tabled = |kind| name.as_ref().map_or(Vec::new(), |name| sources.tabled(name, kind));
    let (tabled_v4, tabled_v6) = (tabled(RecordType::A), tabled(RecordType::AAAA));
    // As in the C library: of a name that is in the table no server is asked, not even for the other family, unless that
    // one alone will do.
    let is_tabled = !(tabled_v4.is_empty() && tabled_v6.is_empty());
    let ask = async |wanted: bool, kind, tabled: Vec<SocketAddr>| match &name {
        _ if !wanted => None,
        _ if !tabled.is_empty() || (is_tabled && is_either_enough) => Some(Ok(Ok(tabled))),
        Ok(name) => Some(timeout(patience, sources.ask(name, kind)).await),
        Err(error) => Some(Ok(Err(error.clone()))),
    };
    let (v4, v6) = tokio::join!(ask(v4, RecordType::A, tabled_v4), ask(v6, RecordType::AAAA, tabled_v6));
    let cut_short = [&v4, &v6].into_iter().flatten().any(Result::is_err);
    let in_time = |found: Result<Found, Elapsed>| found.unwrap_or_else(|_| Err(NO_ANSWER.to_owned()));
    let (v4, v6) = (v4.map(in_time), v6.map(in_time));
    let preferred = preferred(first(&v4), first(&v6), source_towards);
    Answer { place, v4, v6, preferred, cut_short }
}

/// Asks quickly, and where that was cut short once more, for what is left of the question's patience; what is known by
/// then is the answer.
pub(super) async fn answer_in_turn(sources: Sources, question: Question, turns: Turns) -> Answer {
    let end = Instant::now() + question.patience;
    let turn = turns.next().await;
    let quick = Question { patience: QUICK.min(question.patience), ..question.clone() };
    let quick = answer(&sources, quick).await;
    drop(turn);
    if !quick.cut_short {
        return quick;
    }
    let patient = async {
        let _turn = turns.next().await;
        answer(&sources, Question { patience: end.saturating_duration_since(Instant::now()), ..question })
            .await
    };
    timeout_at(end.into(), patient).await.unwrap_or(quick)
}

/// Who may ask at once. A name takes up to twelve sockets, both families of two servers and each of these asked three times,
/// and a process may often have no more than 1024.
#[derive(Clone)]
pub(super) struct Turns(Arc<Semaphore>);

impl Turns {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }

    /// A turn, which lasts until it is dropped.
    pub(super) async fn next(&self) -> impl Drop {
        self.0.acquire().await.expect("it is never closed")
    }
}

fn first(found: &Option<Found>) -> Option<SocketAddr> {
    found.as_ref().and_then(|found| found.as_ref().ok()?.first().copied())
}

/// Nothing answers at `0.0.0.0` but this machine itself, and IPv4 addresses have records of their own.
fn is_usable(address: IpAddr) -> bool {
    !address.is_unspecified() && address.to_canonical() == address
}

/// The family to prefer where both are left: what RFC 6724 comes to for one address of each. IPv6, unless there is no way
/// to it, or one end of that way is a private or a tunnelled address.
fn preferred(
    v4: Option<SocketAddr>,
    v6: Option<SocketAddr>,
    source_towards: impl Fn(SocketAddr) -> Option<IpAddr>,
) -> Family {
    let Some(v6) = v6 else { return Family::V4 };
    let Some(v4) = v4 else { return Family::V6 };
    match source_towards(v6) {
        Some(source) if is_native(source) && is_native(v6.ip()) => Family::V6,
        Some(_) if source_towards(v4).is_none() => Family::V6,
        Some(_) | None => Family::V4,
    }
}

/// Neither unique local nor link-local nor of 6to4 or Teredo.
fn is_native(address: IpAddr) -> bool {
    let IpAddr::V6(address) = address else { return false };
    let [first, second, ..] = address.segments();
    !address.is_unique_local()
        && !address.is_unicast_link_local()
        && first != 0x2002
        && (first, second) != (0x2001, 0)
}

/// The address that packets to `address` would leave from. Connecting a UDP socket asks the routing table, and sends
/// nothing.
fn source_towards(address: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect((address.ip(), ANY_PORT)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// Where the addresses of names come from.
#[derive(Clone)]
pub(super) struct Sources {
    hosts: Arc<Hosts>,
    servers: Result<TokioResolver, String>,
}

impl Sources {
    /// As the files are now.
    pub(super) fn read() -> Self {
        let mut hosts = Hosts::default();
        if let Ok(bytes) = read(Path::new(HOSTS))
            && let Err(error) = hosts.read_hosts_conf(bytes.as_slice())
        {
            warn!("{HOSTS}: {error}");
        }
        Self { hosts: Arc::new(hosts), servers: servers() }
    }

    /// What the table of hosts says.
    fn tabled(&self, name: &Name, kind: RecordType) -> Vec<SocketAddr> {
        let query = Query::query(name.to_lowercase(), kind);
        self.hosts.lookup_static_host(&query).map_or(Vec::new(), |lookup| addresses(&lookup))
    }

    /// The name of an address: by the table of hosts, else by the servers.
    pub(super) async fn name_of(&self, address: IpAddr) -> Option<String> {
        let name = Name::from(address);
        let tabled = self.hosts.lookup_static_host(&Query::query(name.clone(), RecordType::PTR));
        let lookup = match tabled {
            Some(lookup) => lookup,
            None => self.servers.as_ref().ok()?.lookup(name, RecordType::PTR).await.ok()?,
        };
        lookup.answers().iter().find_map(|record| match &record.data {
            RData::PTR(name) => Some(name.to_utf8()),
            _ => None,
        })
    }

    /// What the servers say.
    async fn ask(&self, name: &Name, kind: RecordType) -> Found {
        let servers = self.servers.as_ref().map_err(String::clone)?;
        found(servers.lookup(name.clone(), kind).await.map(|lookup| addresses(&lookup)))
    }
}

/// Runs all of them together, and returns what those came to that ended within `patience` and before `stop`.
pub(super) fn all_within<T: Send + 'static>(
    patience: Duration,
    stop: Option<&Stop>,
    futures: impl Iterator<Item = impl Future<Output = T> + Send + 'static>,
) -> Vec<T> {
    let mut done = Vec::new();
    // Fails where there are no more file descriptors; then none has ended in time.
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return done };
    runtime.block_on(async {
        let mut running = JoinSet::new();
        for future in futures {
            running.spawn(future);
        }
        let all = async {
            while let Some(ended) = running.join_next().await {
                done.extend(ended.ok());
            }
        };
        // Those that have not ended are dropped with the set.
        tokio::select! {
            _ = timeout(patience, all) => {}
            () = given(stop) => {}
        }
    });
    done
}

/// Ends when the stop is given, or soon after: nobody sees the difference, and a look-up does not last.
async fn given(stop: Option<&Stop>) {
    while !stop.is_some_and(|stop| stop.0.is_stopped()) {
        sleep(LOOK_FOR_STOP_EVERY).await;
    }
}

fn addresses(lookup: &Lookup) -> Vec<SocketAddr> {
    let addresses = lookup.answers().iter().filter_map(|record| record.data.ip_addr());
    addresses.filter(|address| is_usable(*address)).map(|address| SocketAddr::new(address, 0)).collect()
}

/// No records of a kind are an answer too.
fn found(result: Result<Vec<SocketAddr>, NetError>) -> Found {
    let said = |code: ResponseCode| Err(format!("the name server says: {}", code.to_str()));
    match result {
        Ok(addresses) => Ok(addresses),
        Err(error) if error.is_nx_domain() => Err("there is no such name".to_owned()),
        Err(NetError::Dns(DnsError::NoRecordsFound(none))) => match none.response_code {
            ResponseCode::NoError => Ok(Vec::new()),
            code => said(code),
        },
        Err(NetError::Dns(DnsError::ResponseCode(code))) => said(code),
        Err(NetError::Timeout) => Err(NO_ANSWER.to_owned()),
        Err(NetError::Io(error)) => Err(format!("the name server cannot be asked: {}", error.kind())),
        Err(error) => Err(error.to_string()),
    }
}

/// The sources of this system, read again when a file of theirs has changed: a machine that moves to another network gets
/// other servers.
#[derive(Default)]
struct System {
    sources: Option<Sources>,
    looked: Option<Instant>,
    stamps: [Option<Stamp>; 2],
}

/// What changes when a file does: device, inode, length, and when it was changed.
type Stamp = (u64, u64, u64, i64, i64);

impl System {
    fn sources(&mut self) -> Sources {
        if self.looked.is_none_or(|looked| looked.elapsed() >= LOOK_EVERY) {
            self.looked = Some(Instant::now());
            let stamps = [RESOLV_CONF, HOSTS].map(|path| stamp(Path::new(path)));
            if stamps != self.stamps {
                self.stamps = stamps;
                self.sources = None;
            }
        }
        self.sources.get_or_insert_with(Sources::read).clone()
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let found = fs::metadata(path).ok()?;
    Some((found.dev(), found.ino(), found.len(), found.mtime(), found.mtime_nsec()))
}

fn servers() -> Result<TokioResolver, String> {
    let (config, mut options) = match read(Path::new(RESOLV_CONF)) {
        Ok(bytes) => of_system(bytes).unwrap_or_else(|error| {
            warn!("{RESOLV_CONF}: {error}: asking the name server of this machine");
            of_this_machine()
        }),
        // As resolv.conf(5) has it.
        Err(_) => of_this_machine(),
    };
    options.timeout = options.timeout.min(LONGEST_TRY);
    options.attempts = options.attempts.min(MOST_RETRIES);
    options.use_hosts_file = ResolveHosts::Never;
    // What is asked again is to be asked again.
    options.cache_size = 0;
    options.positive_max_ttl = Some(Duration::ZERO);
    options.negative_max_ttl = Some(Duration::ZERO);
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    *builder.options_mut() = options;
    builder.build().map_err(|error| error.to_string())
}

#[cfg(not(target_vendor = "apple"))]
fn of_system(resolv_conf: Vec<u8>) -> Result<(ResolverConfig, ResolverOpts), impl std::fmt::Display> {
    system_conf::parse_resolv_conf(resolv_conf)
}

/// Apple writes the file for programs like this one, and has the truth elsewhere.
#[cfg(target_vendor = "apple")]
fn of_system(_: Vec<u8>) -> Result<(ResolverConfig, ResolverOpts), impl std::fmt::Display> {
    system_conf::read_system_conf()
}

fn of_this_machine() -> (ResolverConfig, ResolverOpts) {
    let servers = vec![NameServerConfig::udp_and_tcp(Ipv4Addr::LOCALHOST.into())];
    (ResolverConfig::from_parts(None, Vec::new(), servers), ResolverOpts::default())
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MOST_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

const RESOLV_CONF: &str = "/etc/resolv.conf";
const HOSTS: &str = "/etc/hosts";
/// How long one name may take at most, with all of the system's servers and search domains.
pub(super) const DEADLINE: Duration = Duration::from_secs(8);
const LONGEST_TRY: Duration = Duration::from_secs(2);
const MOST_RETRIES: usize = 2;
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How many names are looked up at once for somebody who waits.
const AT_ONCE: usize = 64;
const LOOK_FOR_STOP_EVERY: Duration = Duration::from_millis(20);
/// The longest tables of hosts are those that block advertisements.
const MOST_BYTES: u64 = 16 << 20;
const NO_ANSWER: &str = "no name server answers";
/// Of discard; nothing is sent there.
const ANY_PORT: u16 = 9;

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        SocketAddr::new(text.parse().unwrap(), 0)
    }

    /// RFC 6724, sections 2.1, 6 and 10.
    #[test]
    fn of_two_families_the_one_is_preferred_that_the_rfc_prefers() {
        let v4 = "192.0.2.1";
        let of = |v6: &str, source: Option<&str>, v4_source: Option<&str>| {
            preferred(Some(address(v4)), Some(address(v6)), |to| {
                let source = if to == address(v4) { v4_source } else { source };
                source.map(|text| text.parse().unwrap())
            })
        };
        let private = Some("192.168.0.2");
        assert_eq!(of("2001:db8::1", Some("2001:db8::2"), private), Family::V6);
        assert_eq!(of("2001:db8::1", None, private), Family::V4, "no way to it");
        assert_eq!(of("2001:db8::1", Some("fd00::2"), private), Family::V4, "rule 5: labels differ");
        assert_eq!(of("fd00::1", Some("fd00::2"), private), Family::V4, "rule 6: precedence 3 against 35");
        assert_eq!(of("2002:c000:201::1", Some("2001:db8::2"), private), Family::V4, "6to4");
        assert_eq!(of("2001:0:1::1", Some("2001:0:2::1"), private), Family::V4, "Teredo");
        assert_eq!(of("fd00::1", Some("fd00::2"), None), Family::V6, "rule 1: no way to the other");
        assert_eq!(of("fd00::1", None, None), Family::V4);
        assert_eq!(preferred(None, Some(address("fd00::1")), |_| None), Family::V6);
        assert_eq!(preferred(Some(address(v4)), None, |_| None), Family::V4);
    }

    /// What glibc's getaddrinfo does with AF_UNSPEC, and with AF_INET6: the second asks the servers.
    #[test]
    fn a_table_with_one_family_is_no_answer_for_the_other_one_alone() {
        let mut hosts = Hosts::default();
        hosts.read_hosts_conf(&b"192.0.2.1 four.example\n"[..]).unwrap();
        let sources = Sources { hosts: Arc::new(hosts), servers: Err("asked".to_owned()) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let found = |host: &str, is_either_enough| {
            let host = host.into();
            let question = Question { place: 0, host, v4: true, v6: true, is_either_enough, patience: QUICK };
            let Answer { v4, v6, .. } = runtime.block_on(answer(&sources, question));
            (v4.unwrap(), v6.unwrap())
        };
        let (tabled, asked) = (Ok(vec![address("192.0.2.1")]), || Err("asked".to_owned()));
        assert_eq!(found("four.example", true), (tabled.clone(), Ok(Vec::new())));
        assert_eq!(found("four.example", false), (tabled, asked()));
        assert_eq!(found("other.example", true), (asked(), asked()));
    }

    #[test]
    fn a_zone_is_the_number_of_its_interface() {
        let zone = |host: &str| match zoned(host, interface_number) {
            Some(SocketAddr::V6(address)) => Some(address.scope_id()),
            _ => None,
        };
        assert_eq!((zone("fe80::1%lo"), zone("core1%lo")), (Some(1), None));
        assert_eq!((zone("fe80::1%no-such-one"), zone("fe80::1")), (None, None));
    }
}
