//! The line to a server: TCP with a deadline over all that is read and written, in clear or under TLS.
//!
//! lettre's own transport was not enough here (0.11.23): its time limit holds for each read, so a server that sends a
//! byte now and then holds it for ever; a reply without a line end fills the memory; bytes behind the reply to STARTTLS
//! are taken for what came under TLS; and with the system's certificates built in it never falls back on the built-in
//! ones, and tells nobody when SSL_CERT_FILE cannot be read.

use std::env;
use std::io::{self, BufRead as _, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_native_certs::CertificateResult;

use super::smtp::{Fault, Step};

/// A connection whose reads and writes fail with `TimedOut` once its deadline has passed.
pub(super) struct Line(BufReader<Inner>);

enum Inner {
    Clear(Timed),
    Tls(Box<StreamOwned<ClientConnection, Timed>>),
}

struct Timed {
    tcp: TcpStream,
    deadline: Instant,
}

impl Line {
    /// Connects to the first address of `host` that answers, giving each of them `limit`.
    pub(super) fn connect(host: &str, port: u16, limit: Duration) -> Result<Self, Fault> {
        let addresses = (host, port).to_socket_addrs().map_err(|error| Fault::Name(error.to_string()))?;
        let mut last = None;
        for address in addresses.take(MAX_ADDRESSES) {
            match Self::connect_to(&address, limit) {
                Ok(line) => return Ok(line),
                Err(error) => last = Some(error),
            }
        }
        Err(last
            .map_or(Fault::Name("it has no address".into()), |error| Fault::of_line(&Step::Connect, error)))
    }

    fn connect_to(address: &SocketAddr, limit: Duration) -> io::Result<Self> {
        let tcp = TcpStream::connect_timeout(address, limit)?;
        // A command is one small write that waits for its reply.
        tcp.set_nodelay(true)?;
        Ok(Self(BufReader::new(Inner::Clear(Timed { tcp, deadline: Instant::now() + limit }))))
    }

    /// Puts the line under TLS with the server that proves to be `host`, within `limit`.
    pub(super) fn under_tls(self, host: &str, limit: Duration) -> Result<Self, Fault> {
        // What the server sent before TLS anybody may have sent: it must not be read as if it had come under TLS.
        if !self.0.buffer().is_empty() {
            return Err(Fault::EarlyBytes);
        }
        let Inner::Clear(mut timed) = self.0.into_inner() else {
            unreachable!("a line goes under TLS once");
        };
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| Fault::Name("it is neither a host name nor an address".into()))?;
        let mut connection = ClientConnection::new(config()?, name).map_err(Fault::of_tls)?;
        timed.deadline = Instant::now() + limit;
        while connection.is_handshaking() {
            connection.complete_io(&mut timed).map_err(|error| Fault::of_line(&Step::Handshake, error))?;
        }
        Ok(Self(BufReader::new(Inner::Tls(Box::new(StreamOwned::new(connection, timed))))))
    }

    /// Gives what is read and written from now on `limit` altogether.
    pub(super) fn allow(&mut self, limit: Duration) {
        let timed = match self.0.get_mut() {
            Inner::Clear(timed) => timed,
            Inner::Tls(stream) => &mut stream.sock,
        };
        timed.deadline = Instant::now() + limit;
    }

    /// Writes all of `bytes`.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let stream: &mut dyn Write = match self.0.get_mut() {
            Inner::Clear(timed) => timed,
            Inner::Tls(stream) => stream,
        };
        stream.write_all(bytes)?;
        stream.flush()
    }

    /// Reads one line with its line end; less only where the server closed or the line is longer than `most` bytes.
    pub(super) fn read_line(&mut self, most: u64) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        (&mut self.0).take(most).read_until(b'\n', &mut line)?;
        Ok(line)
    }
}

impl Read for Inner {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Clear(timed) => timed.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Timed {
    /// What is left until the deadline, never zero: that would mean no limit.
    fn left(&self) -> io::Result<Duration> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(left) }
    }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        within(|| {
            self.tcp.set_read_timeout(Some(self.left()?))?;
            self.tcp.read(buffer)
        })
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        within(|| {
            self.tcp.set_write_timeout(Some(self.left()?))?;
            self.tcp.write(bytes)
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.tcp.flush()
    }
}

/// Tries again after a signal, and calls the end of the time by its name: Linux says `EAGAIN`.
fn within(mut operation: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match operation() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Err(ErrorKind::TimedOut.into()),
            done => return done,
        }
    }
}

/// TLS 1.2 and 1.3 by ring, whatever other provider is compiled in. Made for each connection, so that a renewed
/// certificate store holds at once.
fn config() -> Result<Arc<ClientConfig>, Fault> {
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(Fault::of_tls)?
        .with_root_certificates(roots()?)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Whom to trust: the file or folder that SSL_CERT_FILE or SSL_CERT_DIR names, and nobody else then; else the system's
/// store; else, where there is none, Mozilla's list as it was when this program was built.
fn roots() -> Result<RootCertStore, Fault> {
    let named = ["SSL_CERT_FILE", "SSL_CERT_DIR"].into_iter().find(|name| env::var_os(name).is_some());
    choose_roots(rustls_native_certs::load_native_certs(), named)
}

/// The roots that were `found` where the variable `named`, or else the system, says they are.
fn choose_roots(found: CertificateResult, named: Option<&'static str>) -> Result<RootCertStore, Fault> {
    let mut roots = RootCertStore::empty();
    let (trusted, _) = roots.add_parsable_certificates(found.certs);
    if trusted > 0 {
        return Ok(roots);
    }
    if let Some(variable) = named {
        let why = found.errors.first().map_or("it holds no certificate".into(), ToString::to_string);
        return Err(Fault::Roots { variable, why });
    }
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    Ok(roots)
}

/// A name with more addresses than this is somebody's joke, and each may cost the time limit.
const MAX_ADDRESSES: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_roots_serve_only_where_none_were_found_and_none_were_named() {
        let built_in = choose_roots(CertificateResult::default(), None).unwrap();
        assert_eq!(built_in.len(), webpki_roots::TLS_SERVER_ROOTS.len());
        let named = choose_roots(CertificateResult::default(), Some("SSL_CERT_DIR"));
        assert!(matches!(named, Err(Fault::Roots { variable: "SSL_CERT_DIR", .. })));
    }
}
