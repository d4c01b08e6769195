//! A name server on loopback that answers as the test wants, and an `/etc` of the test's own that names it. Both belong to
//! the namespaces of the calling thread.

#![allow(dead_code, unreachable_pub, reason = "each test file uses the part of it that it needs")]

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use std::{fs, io};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use tempfile::TempDir;

/// What the server makes of a name. A name it was told nothing of does not exist.
#[derive(Clone, Debug)]
pub enum Manner {
    /// It has these addresses.
    Has(Vec<IpAddr>),
    /// It has these addresses, and tells them so much later.
    Slow(Duration, Vec<IpAddr>),
    /// It has these addresses, which it tells by TCP alone, as where they are too many for one packet.
    Long(Vec<IpAddr>),
    /// It is the name of an address (`1.0.18.198.in-addr.arpa`), which is called so.
    Called(String),
    /// It has these addresses, and questions for this type of record alone are answered.
    Only(u16, Vec<IpAddr>),
    /// No answer ever comes.
    Silent,
    /// The server says that it failed.
    Fails,
}

/// A name that has these addresses.
pub fn has(addresses: &[&str]) -> Manner {
    Manner::Has(parse(addresses))
}

/// A name whose addresses are told so much later.
pub fn slow(delay: Duration, addresses: &[&str]) -> Manner {
    Manner::Slow(delay, parse(addresses))
}

/// A name whose addresses are told by TCP.
pub fn long(addresses: &[&str]) -> Manner {
    Manner::Long(parse(addresses))
}

/// A name whose addresses are told to those who ask for this type of record, and nothing to others.
pub fn only(kind: u16, addresses: &[&str]) -> Manner {
    Manner::Only(kind, parse(addresses))
}

/// A name of an address, which is called so.
pub fn called(name: &str) -> Manner {
    Manner::Called(name.to_owned())
}

/// A running name server.
pub struct NameServer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    names: Mutex<HashMap<String, Manner>>,
    /// Name and type of every question, in the order they came.
    questions: Mutex<Vec<(String, u16)>>,
    stopped: AtomicBool,
}

/// The types of records that are asked for.
pub const A: u16 = 1;
pub const AAAA: u16 = 28;
pub const PTR: u16 = 12;

impl NameServer {
    /// Starts one on this address and port 53.
    pub fn start(address: &str) -> Self {
        let socket = UdpSocket::bind((address, 53)).expect("port 53 of a namespace of our own is free");
        socket.set_read_timeout(Some(Duration::from_millis(2))).expect("a time is taken");
        let listener = TcpListener::bind((address, 53)).expect("port 53 of a namespace of our own is free");
        listener.set_nonblocking(true).expect("a listener need not wait");
        let shared = Arc::new(Shared::default());
        let thread = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || serve(&socket, &listener, &shared)
        });
        Self { shared, thread: Some(thread) }
    }

    /// From now on the name is treated so.
    pub fn name(&self, name: &str, manner: Manner) {
        self.shared.names.lock().expect("nobody panics").insert(name.to_owned(), manner);
    }

    /// How often the name was asked for, by this type of record.
    pub fn asked(&self, name: &str, kind: u16) -> usize {
        let questions = self.shared.questions.lock().expect("nobody panics");
        questions.iter().filter(|(asked, by)| asked == name && *by == kind).count()
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        self.thread.take().map(JoinHandle::join);
    }
}

fn serve(socket: &UdpSocket, listener: &TcpListener, shared: &Shared) {
    let mut later: Vec<(Instant, SocketAddr, Vec<u8>)> = Vec::new();
    let mut buffer = [0; 2048];
    while !shared.stopped.load(Ordering::Relaxed) {
        let now = Instant::now();
        for (_, to, reply) in later.extract_if(.., |(at, ..)| *at <= now) {
            let _ = socket.send_to(&reply, to);
        }
        if let Ok((stream, _)) = listener.accept() {
            // Whoever asks and goes away has no answer.
            let _ = serve_stream(stream, shared);
        }
        let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
        let Some((name, kind, end)) = question(&buffer[..length]) else { continue };
        shared.questions.lock().expect("nobody panics").push((name.clone(), kind));
        let manner = shared.names.lock().expect("nobody panics").get(&name).cloned();
        let query = &buffer[..end];
        match manner {
            None => drop(socket.send_to(&reply(query, NO_SUCH_NAME, &[]), from)),
            Some(Manner::Fails) => drop(socket.send_to(&reply(query, FAILURE, &[]), from)),
            Some(Manner::Silent) => {}
            Some(Manner::Only(only, _)) if only != kind => {}
            Some(Manner::Long(_)) => {
                let mut cut = reply(query, 0, &[]);
                cut[2] |= TRUNCATED;
                let _ = socket.send_to(&cut, from);
            }
            Some(Manner::Called(name)) => {
                let labels: Vec<u8> = name.split('.').flat_map(label).chain([0]).collect();
                drop(socket.send_to(&reply(query, 0, &[record(PTR, &labels)]), from));
            }
            Some(Manner::Has(addresses) | Manner::Only(_, addresses)) => {
                drop(socket.send_to(&answer(query, kind, &addresses), from))
            }
            Some(Manner::Slow(delay, addresses)) => {
                later.push((Instant::now() + delay, from, answer(query, kind, &addresses)));
            }
        }
    }
}

/// Answers one question by TCP, of a name that has many addresses.
fn serve_stream(mut stream: TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut query)?;
    let Some((name, kind, end)) = question(&query) else { return Ok(()) };
    let Some(Manner::Long(addresses)) = shared.names.lock().expect("nobody panics").get(&name).cloned()
    else {
        return Ok(());
    };
    let answer = answer(&query[..end], kind, &addresses);
    let length = u16::try_from(answer.len()).expect("a short answer").to_be_bytes();
    stream.write_all(&[&length, answer.as_slice()].concat())
}

/// Name and type of the one question (RFC 1035, section 4.1.2), and where it ends.
fn question(query: &[u8]) -> Option<(String, u16, usize)> {
    let mut labels = Vec::new();
    let mut at = HEADER;
    loop {
        let length = usize::from(*query.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(query.get(at..at + length)?).to_ascii_lowercase());
        at += length;
    }
    let kind = u16::from_be_bytes([*query.get(at)?, *query.get(at + 1)?]);
    Some((labels.join("."), kind, at + 4))
}

fn answer(query: &[u8], kind: u16, addresses: &[IpAddr]) -> Vec<u8> {
    let wanted =
        |address: &&IpAddr| if kind == A { address.is_ipv4() } else { kind == AAAA && address.is_ipv6() };
    let record = |address: &IpAddr| match address {
        IpAddr::V4(address) => record(A, &address.octets()),
        IpAddr::V6(address) => record(AAAA, &address.octets()),
    };
    let records: Vec<Vec<u8>> = addresses.iter().filter(wanted).map(record).collect();
    reply(query, 0, &records)
}

fn label(text: &str) -> Vec<u8> {
    [&[text.len() as u8], text.as_bytes()].concat()
}

/// A record of the name in the question, which is believed for a day.
fn record(kind: u16, data: &[u8]) -> Vec<u8> {
    let mut record = vec![0xc0, HEADER as u8];
    record.extend(kind.to_be_bytes());
    record.extend([0, 1]);
    record.extend(86_400_u32.to_be_bytes());
    record.extend([0, data.len() as u8]);
    record.extend(data);
    record
}

fn reply(query: &[u8], code: u8, records: &[Vec<u8>]) -> Vec<u8> {
    let mut reply = query.to_vec();
    // A response of a recursive server to a query that asked for recursion; one question, these answers.
    (reply[2], reply[3]) = (0x81, 0x80 | code);
    reply[4..HEADER].copy_from_slice(&[0, 1, 0, records.len() as u8, 0, 0, 0, 0]);
    reply.extend(records.concat());
    reply
}

/// An `/etc` of the calling thread, and of the threads and processes that it starts from then on: empty but for what the
/// test writes. It lasts as long as the thread.
pub struct Etc(TempDir);

impl Etc {
    /// Lays it over the machine's. The calling thread must be one that ends with the test.
    pub fn enter() -> Self {
        let folder = TempDir::new().expect("a temporary folder can be made");
        unshare(CloneFlags::CLONE_NEWNS).expect("root may make a mount namespace: run these tests as root");
        let none = None::<&str>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).expect("mounts can be private");
        mount(Some(folder.path()), "/etc", none, MsFlags::MS_BIND, none).expect("/etc can be laid over");
        Self(folder)
    }

    /// Writes a file of it at once, as programs that manage such files do.
    pub fn write(&self, name: &str, text: &str) {
        let (new, file) = (self.0.path().join("new"), self.0.path().join(name));
        fs::write(&new, text)
            .and_then(|()| fs::rename(&new, &file))
            .expect("a temporary folder can be written");
    }
}

fn parse(addresses: &[&str]) -> Vec<IpAddr> {
    let parse = |text: &&str| {
        let v4 = text.parse::<Ipv4Addr>().map(IpAddr::V4).ok();
        v4.or_else(|| text.parse::<Ipv6Addr>().map(IpAddr::V6).ok()).expect("an address")
    };
    addresses.iter().map(parse).collect()
}

const HEADER: usize = 12;
const TRUNCATED: u8 = 2;
const FAILURE: u8 = 2;
const NO_SUCH_NAME: u8 = 3;
