//! The control socket, `DATA_DIR/control.sock`: how other commands talk with the running monitor.
//!
//! The client sends one line of JSON and gets one back: `{"latmon":1,"ask":"status"}`, and `{"latmon":1,"status":{..}}` or
//! `{"latmon":1,"error":".."}`; words stand with what is asked where there are any: `{"latmon":1,"ask":{"drop":["all"]}}`. The number is the protocol's; a monitor that speaks another one says so. Whoever may write
//! to the socket, its owner, may ask.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, UnixAddr, setsockopt, sockopt};
use nix::sys::time::TimeVal;
use serde::{Deserialize, Serialize};

use super::hush::Wish;
use super::status::Status;

pub mod outbox;
mod server;

pub(super) use server::Control;

/// What a client may want.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ask {
    /// How everything stands.
    Status,
    /// That something be muted, or no longer.
    Wish(Wish),
    /// What waits in the outbox.
    Outbox,
    /// That some of it is tried at once: `all`, ids or keys.
    Retry(Vec<String>),
    /// That some of it is taken out.
    Drop(Vec<String>),
}

/// What the monitor answers.
#[derive(Debug)]
pub(super) enum Answer {
    Status(Box<Status>),
    Outbox(Vec<outbox::Item>),
    /// So many were meant.
    Counted(usize),
    /// What was done.
    Done(String),
    /// It was not, because of this.
    Failed(String),
}

/// Why a running monitor could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is none.
    #[error("no monitor is running in {}: start one with `latmon run`, or name its folder with --data-dir", .0.display())]
    NotRunning(PathBuf),
    /// Its socket is for others.
    #[error("the monitor in {} answers its own user and root only", .0.display())]
    NotAllowed(PathBuf),
    /// It has not answered in time.
    #[error("the monitor in {} does not answer: is it stopped, or is its machine out of breath?", .0.display())]
    Silent(PathBuf),
    /// It understood, and will not or cannot.
    #[error("{0}")]
    Refused(String),
    /// It answered what we do not understand.
    #[error("the monitor in {} does not speak as this version does ({why}): restart it", dir.display())]
    Garbled {
        /// The data folder.
        dir: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The system refused.
    #[error("{}: {error}", path.display())]
    System {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

#[derive(Debug, Serialize, Deserialize)]
struct Request {
    latmon: u32,
    ask: Ask,
}

/// The part of a request that every version has.
#[derive(Debug, Deserialize)]
struct Spoken {
    latmon: u32,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Reply {
    latmon: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status: Option<Status>,
    /// What was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    done: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    outbox: Option<Vec<outbox::Item>>,
    /// How many were meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    count: Option<usize>,
    /// Why what was asked cannot be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    failed: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Asks the monitor that records in `data_dir` how everything stands.
pub fn status(data_dir: &Path) -> Result<Status, Error> {
    reply(data_dir, Ask::Status, |reply| reply.status)
}

/// Asks it what waits in its outbox.
pub fn outbox(data_dir: &Path) -> Result<Vec<outbox::Item>, Error> {
    reply(data_dir, Ask::Outbox, |reply| reply.outbox)
}

/// Has it try at once what people call by `words`, and tells how many that are.
pub fn retry(data_dir: &Path, words: Vec<String>) -> Result<usize, Error> {
    reply(data_dir, Ask::Retry(words), |reply| reply.count)
}

/// Has it take out what people call by `words`, and tells how many that were.
pub fn discard(data_dir: &Path, words: Vec<String>) -> Result<usize, Error> {
    reply(data_dir, Ask::Drop(words), |reply| reply.count)
}

/// Has the monitor that records in `data_dir` do what is wished. Returns what it did.
pub fn wish(data_dir: &Path, wish: Wish) -> Result<String, Error> {
    reply(data_dir, Ask::Wish(wish), |reply| reply.done)
}

/// The part of its reply that is wanted.
fn reply<T>(data_dir: &Path, wanted: Ask, part: impl FnOnce(Reply) -> Option<T>) -> Result<T, Error> {
    let garbled = |why| Error::Garbled { dir: data_dir.to_owned(), why };
    match ask(data_dir, wanted)? {
        Reply { error: Some(error), .. } => Err(garbled(error)),
        Reply { failed: Some(failed), .. } => Err(Error::Refused(failed)),
        reply => part(reply).ok_or_else(|| garbled("neither what was asked nor an error".to_owned())),
    }
}

fn ask(data_dir: &Path, ask: Ask) -> Result<Reply, Error> {
    let path = data_dir.join(SOCKET);
    let until = Instant::now() + PATIENCE;
    let told = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Error::NotRunning(data_dir.to_owned()),
        io::ErrorKind::PermissionDenied => Error::NotAllowed(data_dir.to_owned()),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Error::Silent(data_dir.to_owned()),
        _ => Error::System { path: path.clone(), error },
    };
    let garbled = |why: String| Error::Garbled { dir: data_dir.to_owned(), why };
    let mut stream = connect(&path).map_err(told)?;
    let mut line = serde_json::to_vec(&Request { latmon: VERSION, ask })
        .expect("a request is numbers and words, which JSON has");
    line.push(b'\n');
    stream.write_all(&line).map_err(told)?;
    let reply = read_line(&mut stream, until).map_err(told)?;
    match reply.strip_suffix(b"\n") {
        Some(reply) => serde_json::from_slice(reply).map_err(|error| garbled(error.to_string())),
        None if reply.len() as u64 > LONGEST_REPLY => {
            Err(garbled(format!("a line of more than {LONGEST_REPLY} bytes")))
        }
        // It ended while it answered.
        None => Err(Error::NotRunning(data_dir.to_owned())),
    }
}

/// A connection whose reads and writes give up after [`PATIENCE`].
fn connect(path: &Path) -> io::Result<UnixStream> {
    let socket = new_socket(SockFlag::empty())?;
    let patience = TimeVal::new(PATIENCE.as_secs().cast_signed(), 0);
    // Also connecting waits so long at most, where the monitor takes nobody.
    setsockopt(&socket, sockopt::SendTimeout, &patience)?;
    setsockopt(&socket, sockopt::ReceiveTimeout, &patience)?;
    at(path, |address| socket::connect(socket.as_raw_fd(), address))?;
    Ok(UnixStream::from(socket))
}

/// Reads up to the end of the line, or until the stream ends, the line is too long, or it is later than `until`.
fn read_line(stream: &mut UnixStream, until: Instant) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    let mut piece = vec![0; 1 << 16];
    while line.last() != Some(&b'\n') && line.len() as u64 <= LONGEST_REPLY {
        if Instant::now() > until {
            return Err(io::ErrorKind::TimedOut.into());
        }
        match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => line.extend_from_slice(&piece[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(line)
}

fn new_socket(flags: SockFlag) -> nix::Result<OwnedFd> {
    // Closed on exec by a second call where the first cannot say so, as on Apple's.
    let socket = socket::socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    nix::fcntl::fcntl(&socket, nix::fcntl::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC))?;
    Ok(socket)
}

/// Calls `of_address` with the address of a socket at `path`. The kernel takes 107 bytes; a longer path goes through its
/// open folder, where the system has a name for that.
fn at<T>(path: &Path, of_address: impl Fn(&UnixAddr) -> nix::Result<T>) -> io::Result<T> {
    match UnixAddr::new(path) {
        Ok(address) => Ok(of_address(&address)?),
        Err(Errno::ENAMETOOLONG) => {
            let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
                return Err(Errno::ENAMETOOLONG.into());
            };
            let folder = File::open(folder)?;
            let short = Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(name);
            Ok(of_address(&UnixAddr::new(&short)?)?)
        }
        Err(errno) => Err(errno.into()),
    }
}

const SOCKET: &str = "control.sock";
const VERSION: u32 = 1;
/// How long a client waits for the monitor.
const PATIENCE: Duration = Duration::from_secs(5);
/// A hundred thousand targets fit.
const LONGEST_REPLY: u64 = 256 << 20;
