//! The stream that lettre speaks SMTP over: TCP, in clear or under TLS, with a guard on what a server may say.
//!
//! lettre's own streams are not enough (0.11.23): a reply without a line end fills the memory; bytes behind the reply
//! to STARTTLS are taken for what came under TLS; and with the system's certificates built in it never falls back on
//! the built-in ones, and tells nobody when SSL_CERT_FILE cannot be read.

use std::env;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use lettre::transport::smtp::client::AsyncTokioStream;
use rustls_native_certs::CertificateResult;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

use super::fault::{Fault, Step};

/// Connects to the first address of `host` that answers, giving each of them `limit`.
pub(super) fn connect(host: &str, port: u16, limit: Duration) -> Result<TcpStream, Fault> {
    let addresses = (host, port).to_socket_addrs().map_err(|error| Fault::Name(error.to_string()))?;
    let mut last = Fault::Name("it has no address".into());
    for address in addresses.take(MAX_ADDRESSES) {
        match TcpStream::connect_timeout(&address, limit) {
            Ok(tcp) => return Ok(tcp),
            Err(error) => last = Fault::of_line(&Step::Connect, &error),
        }
    }
    Err(last)
}

/// The line `tcp` for a runtime that waits on it. It has a handle of its own: closed, it leaves the line open.
pub(super) fn in_clear(tcp: &TcpStream) -> Result<tokio::net::TcpStream, Fault> {
    let share = || {
        // A command is one small write that waits for its reply.
        tcp.set_nodelay(true)?;
        tcp.set_nonblocking(true)?;
        tokio::net::TcpStream::from_std(tcp.try_clone()?)
    };
    share().map_err(|error| Fault::of_line(&Step::Connect, &error))
}

/// Puts the line under TLS with the server that proves to be `host`, within `limit`.
pub(super) async fn under_tls(
    tcp: &TcpStream,
    host: &str,
    limit: Duration,
) -> Result<TlsStream<tokio::net::TcpStream>, Fault> {
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| Fault::Name("it is neither a host name nor an address".into()))?;
    let handshake = TlsConnector::from(config()?).connect(name, in_clear(tcp)?);
    let done = timeout(limit, handshake).await.map_err(io::Error::from).flatten();
    done.map_err(|error| Fault::of_line(&Step::Handshake, &error))
}

/// Lets lettre read whole lines of printable ASCII and not a byte behind them, and of each reply no more than a bound.
#[derive(Debug)]
pub(super) struct Guard<S> {
    stream: S,
    /// The line that is being read or handed over.
    line: Vec<u8>,
    /// How many bytes and lines came since we last wrote.
    reply: (usize, usize),
    /// What we wrote last was EHLO.
    is_hello: bool,
}

impl<S> Guard<S> {
    /// Guards a server that greets first.
    pub(super) fn new(stream: S) -> Self {
        Self { stream, line: Vec::new(), reply: (0, 0), is_hello: false }
    }

    /// Guards a server that went under TLS: it does not greet again, which lettre waits for in each new conversation.
    pub(super) fn greeted(stream: S) -> Self {
        Self { line: b"220 \r\n".to_vec(), ..Self::new(stream) }
    }

    /// Takes one byte of a reply as lettre understands it: it wants CRLF, a blank behind the code, capital letters in
    /// what EHLO is answered, and UTF-8. RFC 5321 (2.4, 4.2) leaves servers more freedom, and they use it.
    fn take(&mut self, byte: u8) -> io::Result<()> {
        self.reply.0 += 1;
        self.reply.1 += usize::from(byte == b'\n');
        if self.reply.0 > MAX_REPLY_BYTES || self.reply.1 > MAX_REPLY_LINES {
            return Err(io::Error::new(ErrorKind::InvalidData, "a reply without end"));
        }
        match byte {
            b'\r' => {}
            b'\n' if self.line.len() == CODE_DIGITS => self.line.extend_from_slice(b" \r\n"),
            b'\n' => self.line.extend_from_slice(b"\r\n"),
            _ if self.is_hello && self.line.starts_with(b"250") => {
                self.line.push(printable(byte).to_ascii_uppercase());
            }
            _ => self.line.push(printable(byte)),
        }
        Ok(())
    }
}

/// A byte of a reply as we show it: on a terminal, in a log.
pub(super) fn printable(byte: u8) -> u8 {
    match byte {
        b' '..=b'~' => byte,
        0x80.. => b'?',
        _ => b' ',
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // Byte by byte, so that what follows the reply to STARTTLS stays in the line, where TLS finds it and fails.
        while !self.line.ends_with(b"\n") {
            let mut byte = [0];
            let mut read = ReadBuf::new(&mut byte);
            ready!(Pin::new(&mut self.stream).poll_read(context, &mut read))?;
            if read.filled().is_empty() {
                return Poll::Ready(Err(ErrorKind::UnexpectedEof.into()));
            }
            self.take(byte[0])?;
        }
        let fits = buffer.remaining().min(self.line.len());
        buffer.put_slice(&self.line[..fits]);
        self.line.drain(..fits);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guard<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        // After an EHLO that failed lettre takes leave, and before it tells of the failure it waits for the answer.
        if self.is_hello && bytes.starts_with(b"QUIT") {
            return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
        }
        self.reply = (0, 0);
        self.is_hello = bytes.starts_with(b"EHLO");
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl<S> AsyncTokioStream for Guard<S>
where
    S: AsyncRead + AsyncWrite + Send + Sync + Unpin + std::fmt::Debug,
{
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Err(ErrorKind::Unsupported.into())
    }
}

/// TLS 1.2 and 1.3 by ring, whatever other provider is compiled in. Made for each connection, so that a renewed
/// certificate store holds at once.
fn config() -> Result<Arc<ClientConfig>, Fault> {
    let config = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
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
/// RFC 5321 allows 512 bytes a line, and the answer to EHLO has a line for each extension.
const MAX_REPLY_BYTES: usize = 64 * 1024;
/// With each line lettre reads the reply from its beginning again, which takes the square of this.
const MAX_REPLY_LINES: usize = 128;
const CODE_DIGITS: usize = 3;

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
