//! Connections to receivers: to an address that may be spoken to, with TLS where it is asked for.
//!
//! # Meaning
//! The address is decided on when the connection is made: resolve, look, connect to the very address
//! that was looked at. Whoever answers another address next time is looked at again.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use lettre::transport::smtp::client::AsyncTokioStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::{self, pki_types::ServerName};
use tower_service::Service;

use super::guard::Guard;

/// A connection that is not there after so long is not coming.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Addresses looked at for one name.
const ADDRESSES_MAX: usize = 16;

/// What a name resolves to.
pub type Resolving = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;
/// Who resolves names.
pub type Resolve = Arc<dyn Fn(String, u16) -> Resolving + Send + Sync>;

/// The system's resolver.
pub fn system() -> Resolve {
    Arc::new(|host, port| {
        Box::pin(async move {
            Ok(tokio::net::lookup_host((host, port)).await?.take(ADDRESSES_MAX).collect())
        })
    })
}

/// Makes connections.
#[derive(Clone)]
pub(super) struct Connector {
    guard: Guard,
    tls: TlsConnector,
    resolve: Resolve,
}

impl Connector {
    /// To what the guard lets.
    pub(super) fn new(guard: Guard, tls: TlsConnector, resolve: Resolve) -> Connector {
        Connector { guard, tls, resolve }
    }
}

/// No address of the host may be spoken to.
#[derive(Debug)]
pub(super) struct NotAllowed(pub(super) SocketAddr);

impl std::fmt::Display for NotAllowed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} is an address of the own network, and not allowed", self.0)
    }
}

impl std::error::Error for NotAllowed {}

/// Who answers is not who is trusted.
#[derive(Debug)]
pub(super) struct NotTrusted(pub(super) String);

impl std::fmt::Display for NotTrusted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "its certificate is not trusted: {}", self.0)
    }
}

impl std::error::Error for NotTrusted {}

impl Service<Uri> for Connector {
    type Response = TokioIo<Wire>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TokioIo<Wire>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connector = self.clone();
        let timed = async move {
            tokio::time::timeout(CONNECT_TIMEOUT, connector.connect(uri)).await.map_err(late)?
        };
        Box::pin(timed)
    }
}

fn late(_: tokio::time::error::Elapsed) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "connecting took too long")
}

/// Whether a handshake ended because of who answered.
pub(super) fn is_untrusted(why: &io::Error) -> bool {
    let inner = why.get_ref().and_then(|it| it.downcast_ref::<rustls::Error>());
    matches!(inner, Some(rustls::Error::InvalidCertificate(_)))
}

impl Connector {
    async fn connect(&self, uri: Uri) -> io::Result<TokioIo<Wire>> {
        let host = uri.host().unwrap_or("").trim_matches(['[', ']']);
        let is_tls = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        Ok(TokioIo::new(self.wire(host, port, is_tls).await?))
    }

    /// A connection, within the time that one may take.
    pub(super) async fn dial(&self, host: &str, port: u16, is_tls: bool) -> io::Result<Wire> {
        let wire = self.wire(host, port, is_tls);
        tokio::time::timeout(CONNECT_TIMEOUT, wire).await.map_err(late)?
    }

    async fn wire(&self, host: &str, port: u16, is_tls: bool) -> io::Result<Wire> {
        let found = match host.parse::<IpAddr>() {
            Ok(ip) => vec![SocketAddr::new(ip, port)],
            Err(_) => (self.resolve)(host.to_string(), port).await?,
        };
        let Some(first) = found.first().copied() else {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
        };
        let mut last = io::Error::other(NotAllowed(first));
        for address in found.into_iter().filter(|it| self.guard.lets(*it)) {
            match TcpStream::connect(address).await {
                Ok(tcp) => {
                    tcp.set_nodelay(true)?;
                    return self.shaken((tcp, address), is_tls, host).await;
                }
                Err(why) => last = why,
            }
        }
        Err(last)
    }

    async fn shaken(
        &self,
        (tcp, address): (TcpStream, SocketAddr),
        is_tls: bool,
        host: &str,
    ) -> io::Result<Wire> {
        if !is_tls {
            return Ok(Wire(Box::new(tcp), address));
        }
        let name = ServerName::try_from(host.to_string()).map_err(io::Error::other)?;
        let told = |why: io::Error| match is_untrusted(&why) {
            true => io::Error::other(NotTrusted(why.to_string())),
            false => io::Error::other(format!("tls handshake: {why}")),
        };
        Ok(Wire(Box::new(self.tls.connect(name, tcp).await.map_err(told)?), address))
    }
}

trait Both: AsyncRead + AsyncWrite + Send + Sync + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Both for T {}

/// A connection, plain or not, and to whom.
pub(super) struct Wire(Box<dyn Both>, SocketAddr);

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a connection to {}", self.1)
    }
}

impl AsyncTokioStream for Wire {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.1)
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_shutdown(cx)
    }
}

impl Connection for Wire {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}
