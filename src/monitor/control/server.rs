//! The monitor's end of the control socket: one thread for all clients. Everything that a client can do is bounded: how
//! many there are, what they may say, and how long they may take for it. One who says nothing holds nobody up.

use std::fs::{self, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{self, Backlog, SockFlag};
use tracing::warn;

use super::{Answer, Ask, Reply, Request, SOCKET, Spoken, VERSION, at, new_socket};

/// The socket in the data folder, and the thread that answers there. Both are gone when it is dropped.
#[derive(Debug)]
pub(crate) struct Control {
    path: PathBuf,
    /// Closed to end the thread.
    line: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

impl Control {
    /// Answers in `data_dir`, whose lock the caller holds: a socket that is there is a dead monitor's, and is replaced.
    pub(crate) fn start(data_dir: &Path, does: impl Fn(Ask) -> Answer + Send + 'static) -> io::Result<Self> {
        let path = data_dir.join(SOCKET);
        let listener = listen(&path)?;
        let (line, hangup) = UnixStream::pair()?;
        let answer = move |line: &[u8]| answer(line, &does);
        let thread = thread::Builder::new()
            .name("control".into())
            .spawn(move || Server::new(listener, hangup).serve(&answer))?;
        Ok(Self { path, line: Some(line), thread: Some(thread) })
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
        drop(self.line.take());
        if let Some(thread) = self.thread.take() {
            // Who hears of panics has heard of its.
            let _ = thread.join();
        }
    }
}

/// A socket at `path` for nobody but its owner: it appears there with its mode, in place of one that was left behind.
fn listen(path: &Path) -> io::Result<UnixListener> {
    let new = path.with_extension("new");
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let socket = new_socket(SockFlag::empty())?;
    at(&new, |address| socket::bind(socket.as_raw_fd(), address))?;
    fs::set_permissions(&new, Permissions::from_mode(0o600))?;
    socket::listen(&socket, Backlog::new(BACKLOG)?)?;
    fs::rename(&new, path)?;
    let listener = UnixListener::from(socket);
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// The reply to a line.
fn answer(line: &[u8], does: &impl Fn(Ask) -> Answer) -> Reply {
    let refused = |error: String| Reply { latmon: VERSION, error: Some(error), ..Reply::default() };
    match serde_json::from_slice(line) {
        Ok(Spoken { latmon: VERSION }) => {}
        Ok(Spoken { latmon }) => {
            return refused(format!(
                "latmon {} speaks version {VERSION} of this protocol, not {latmon}",
                env!("CARGO_PKG_VERSION")
            ));
        }
        Err(error) => return refused(format!("this is no request: {error}")),
    }
    match serde_json::from_slice(line) {
        Ok(Request { ask, .. }) => {
            let reply = Reply { latmon: VERSION, ..Reply::default() };
            match does(ask) {
                Answer::Status(status) => Reply { status: Some(*status), ..reply },
                Answer::Outbox(items) => Reply { outbox: Some(items), ..reply },
                Answer::Counted(count) => Reply { count: Some(count), ..reply },
                Answer::Done(done) => Reply { done: Some(done), ..reply },
                Answer::Failed(why) => Reply { failed: Some(why), ..reply },
            }
        }
        Err(error) => refused(format!("latmon {} cannot do that: {error}", env!("CARGO_PKG_VERSION"))),
    }
}

struct Server {
    listener: UnixListener,
    /// Its other end is closed when all is over.
    hangup: UnixStream,
    clients: Vec<Client>,
    /// No client is taken before this: the system had no descriptor left for one.
    deaf_until: Option<Instant>,
}

struct Client {
    stream: UnixStream,
    /// When it is shown out.
    until: Instant,
    said: Vec<u8>,
    reply: Option<Unsent>,
}

/// What is still to be written.
struct Unsent {
    bytes: Vec<u8>,
    written: usize,
}

/// Whether a client stays.
#[derive(PartialEq, Eq)]
enum Next {
    Stay,
    Leave,
}

impl Server {
    fn new(listener: UnixListener, hangup: UnixStream) -> Self {
        Self { listener, hangup, clients: Vec::new(), deaf_until: None }
    }

    fn serve(mut self, answer: &impl Fn(&[u8]) -> Reply) {
        loop {
            let Some((has_caller, ready)) = self.wait() else { return };
            let now = Instant::now();
            let mut ready = ready.into_iter();
            self.clients.retain_mut(|client| {
                let is_ready = ready.next().unwrap_or(false);
                now < client.until && (!is_ready || client.go_on(answer, now) == Next::Stay)
            });
            if has_caller {
                self.take_caller(now);
            }
        }
    }

    /// Waits for something to do: whether somebody calls, and which clients may go on. `None` when all is over.
    fn wait(&mut self) -> Option<(bool, Vec<bool>)> {
        let now = Instant::now();
        self.deaf_until = self.deaf_until.filter(|until| now < *until);
        let called = if self.deaf_until.is_some() { PollFlags::empty() } else { PollFlags::POLLIN };
        let mut fds = vec![
            PollFd::new(self.hangup.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.listener.as_fd(), called),
        ];
        fds.extend(self.clients.iter().map(|client| PollFd::new(client.stream.as_fd(), client.wanted())));
        let next = self.clients.iter().map(|client| client.until).chain(self.deaf_until).min();
        let timeout = next.map_or(PollTimeout::NONE, |next| {
            // Rounded up, so that it is past when the wait is over.
            let wait = next.saturating_duration_since(now) + Duration::from_millis(1);
            PollTimeout::try_from(wait).unwrap_or(PollTimeout::MAX)
        });
        // An interrupted wait has nothing ready, and is begun again.
        let interrupted = poll(&mut fds, timeout).is_err();
        let is_ready = |fd: &PollFd<'_>| !interrupted && fd.any().unwrap_or(false);
        (!is_ready(&fds[0])).then(|| (is_ready(&fds[1]), fds[2..].iter().map(is_ready).collect()))
    }

    /// Takes a client; where there are too many, the one who has been here longest has to go for it.
    fn take_caller(&mut self, now: Instant) {
        match self.listener.accept() {
            Ok((stream, _)) => {
                if stream.set_nonblocking(true).is_err() {
                    return;
                }
                if self.clients.len() == MOST_CLIENTS {
                    self.clients.remove(0);
                }
                let until = now + TIME_TO_ASK;
                self.clients.push(Client { stream, until, said: Vec::new(), reply: None });
            }
            Err(error) if is_transient(&error) => {}
            Err(error) => {
                warn!("the control socket takes no calls for a while: {error}");
                self.deaf_until = Some(now + DEAF);
            }
        }
    }
}

impl Client {
    fn wanted(&self) -> PollFlags {
        if self.reply.is_some() { PollFlags::POLLOUT } else { PollFlags::POLLIN }
    }

    /// Hears or tells as much as can be at once.
    fn go_on(&mut self, answer: &impl Fn(&[u8]) -> Reply, now: Instant) -> Next {
        if self.reply.is_none() {
            match self.hear() {
                Ok(true) => {}
                Ok(false) => return Next::Stay,
                Err(Gone) => return Next::Leave,
            }
            let reply = match self.said.split(|byte| *byte == b'\n').next() {
                Some(line) if line.len() <= LONGEST_REQUEST => answer(line),
                _ => Reply {
                    latmon: VERSION,
                    error: Some("too long a request".to_owned()),
                    ..Reply::default()
                },
            };
            let mut bytes =
                serde_json::to_vec(&reply).expect("a reply has no maps with other keys than texts");
            bytes.push(b'\n');
            self.reply = Some(Unsent { bytes, written: 0 });
            self.until = now + TIME_TO_HEAR;
        }
        self.tell()
    }

    /// Reads what is there; true once a line is whole, or longer than any may be.
    fn hear(&mut self) -> Result<bool, Gone> {
        let mut piece = [0; LONGEST_REQUEST];
        loop {
            match self.stream.read(&mut piece) {
                Ok(0) => return Err(Gone),
                Ok(count) => self.said.extend_from_slice(&piece[..count]),
                Err(error) if is_transient(&error) => return Ok(false),
                Err(_) => return Err(Gone),
            }
            if self.said.contains(&b'\n') || self.said.len() > LONGEST_REQUEST {
                return Ok(true);
            }
        }
    }

    fn tell(&mut self) -> Next {
        let Some(reply) = &mut self.reply else { return Next::Stay };
        while reply.written < reply.bytes.len() {
            match self.stream.write(&reply.bytes[reply.written..]) {
                Ok(0) => return Next::Leave,
                Ok(count) => reply.written += count,
                Err(error) if is_transient(&error) => return Next::Stay,
                Err(_) => return Next::Leave,
            }
        }
        Next::Leave
    }
}

/// The client is.
struct Gone;

fn is_transient(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted
    )
}

const MOST_CLIENTS: usize = 8;
const BACKLOG: i32 = 16;
const LONGEST_REQUEST: usize = 4096;
/// How long a client may take to say what it wants, and then to take the reply.
const TIME_TO_ASK: Duration = Duration::from_secs(5);
const TIME_TO_HEAR: Duration = Duration::from_secs(10);
const DEAF: Duration = Duration::from_secs(1);
