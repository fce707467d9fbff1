//! Connections to the server: without delay, with TLS where it is asked for, and heard.
//!
//! # Meaning
//! An answer "200 OK" may carry an exception: a server that had begun to answer, a proxy. The crate
//! looks for it at the end of each piece that it is handed; in an answer that comes in small pieces
//! it sees none. So every byte that comes in passes an ear here ([`Ear`]), whatever the pieces.
//! It hears `Retry-After`, too. Whoever has inserted asks it afterwards; with several answers at once it may hear another's, and
//! the same insert goes out once more: nothing is lost by that.
//!
//! # Why this way
//! The crate takes hyper's own client and no other, but that client takes any connector.

use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tower_service::Service;

/// A connection that is not there after so long is not coming.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Whether the other end is still there is asked so often.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// Counts what sounds like an exception in what comes in; and hears how long we are to wait.
#[derive(Clone, Debug, Default)]
pub(super) struct Ear {
    exceptions: Arc<AtomicU64>,
    /// In seconds; 0: nobody has said so.
    wait: Arc<AtomicU64>,
}

impl Ear {
    /// How many so far.
    pub(super) fn heard(&self) -> u64 {
        self.exceptions.load(SeqCst)
    }

    /// What was asked for since this was last looked at.
    pub(super) fn asked(&self) -> Option<Duration> {
        let seconds = self.wait.swap(0, SeqCst);
        (seconds > 0).then(|| Duration::from_secs(seconds))
    }
}

/// The seconds of `Retry-After` in the head of an answer that says "later": the crate does not hand
/// heads on. One that is cut over two pieces, or that names a date, is not heard: it is tried again at
/// the breaker's own pace.
fn retry_after(piece: &[u8]) -> Option<u64> {
    let head = piece.strip_prefix(b"HTTP/1.")?.get(2..)?;
    if !head.starts_with(b"429") && !head.starts_with(b"503") {
        return None;
    }
    let end = memchr::memmem::find(head, b"\r\n\r\n")?;
    let lines = std::str::from_utf8(&head[..end]).ok()?.split("\r\n");
    let asked = lines.filter_map(|it| it.split_once(':'));
    let mut asked = asked.filter(|it| it.0.eq_ignore_ascii_case("retry-after"));
    asked.next()?.1.trim().parse().ok()
}

/// What an exception sounds like.
const WORDS: [&[u8]; 2] = [b"DB::Exception", b"__exception__"];
/// Bytes kept from the piece before: a word less one.
const KEPT: usize = 12;

/// Makes connections.
#[derive(Clone)]
pub(super) struct Connector {
    http: HttpConnector,
    tls: Option<TlsConnector>,
    ear: Ear,
}

impl Connector {
    /// With the certificates that are trusted, if there is TLS.
    pub(super) fn new(tls: Option<RootCertStore>, ear: Ear) -> Result<Connector, String> {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        // Without it the last small piece of an insert waits 40 ms for an acknowledgement.
        http.set_nodelay(true);
        http.set_keepalive(Some(KEEPALIVE));
        http.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let tls = tls.map(client_config).transpose()?;
        Ok(Connector { http, tls, ear })
    }
}

/// TLS with these certificates trusted.
pub(crate) fn client_config(trusted: RootCertStore) -> Result<TlsConnector, String> {
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|why| why.to_string())?
        .with_root_certificates(trusted)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Those of a PEM file, or the system's if none is named.
pub(crate) fn trusted(ca_file: Option<&Path>) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    let mut add = |it: CertificateDer<'static>| store.add(it).map_err(|why| why.to_string());
    let place = ca_file.map_or_else(|| "the system".into(), |it| it.display().to_string());
    let told = |why: &dyn std::fmt::Display| format!("{place}: {why}");
    match ca_file {
        None => {
            // One of the system's that cannot be read is no reason not to trust the others.
            for it in rustls_native_certs::load_native_certs().certs {
                if let Err(why) = add(it) {
                    tracing::debug!(why, "a certificate of the system's is not one");
                }
            }
        }
        Some(path) => {
            for it in CertificateDer::pem_file_iter(path).map_err(|why| told(&why))? {
                add(it.map_err(|why| told(&why))?).map_err(|why| told(&why))?;
            }
        }
    }
    if store.is_empty() {
        return Err(told(&"no certificate to trust"));
    }
    Ok(store)
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Heard>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TokioIo<Heard>>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.http.poll_ready(cx).map_err(io::Error::other)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let host = uri.host().unwrap_or("").trim_matches(['[', ']']).to_string();
        let connecting = self.http.call(uri);
        let (tls, ear) = (self.tls.clone(), self.ear.clone());
        Box::pin(async move {
            let tcp = connecting.await.map_err(io::Error::other)?.into_inner();
            let io = match tls {
                None => Io::Plain(tcp),
                Some(tls) => {
                    let name = ServerName::try_from(host).map_err(io::Error::other)?;
                    let shaking = tokio::time::timeout(CONNECT_TIMEOUT, tls.connect(name, tcp));
                    let late = |_| io::Error::new(io::ErrorKind::TimedOut, "TLS took too long");
                    let shaken = shaking.await.map_err(late)?;
                    let told = |why: io::Error| io::Error::other(format!("tls handshake: {why}"));
                    Io::Tls(Box::new(shaken.map_err(told)?))
                }
            };
            Ok(TokioIo::new(Heard { io, ear, last: [0; KEPT] }))
        })
    }
}

enum Io {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A connection, heard.
pub(super) struct Heard {
    io: Io,
    ear: Ear,
    /// The last bytes of the piece before.
    last: [u8; KEPT],
}

impl Heard {
    fn hear(&mut self, piece: &[u8]) {
        if piece.is_empty() {
            return;
        }
        let said = |text: &[u8]| WORDS.iter().any(|it| memchr::memmem::find(text, it).is_some());
        // A word over the seam, and the words inside.
        let mut seam = [0; 2 * KEPT];
        let n = piece.len().min(KEPT);
        seam[..KEPT].copy_from_slice(&self.last);
        seam[KEPT..KEPT + n].copy_from_slice(&piece[..n]);
        if said(&seam[..KEPT + n]) || said(piece) {
            self.ear.exceptions.fetch_add(1, SeqCst);
        }
        if let Some(seconds) = retry_after(piece) {
            self.ear.wait.store(seconds, SeqCst);
        }
        self.last.copy_from_slice(&match piece.last_chunk::<KEPT>() {
            Some(it) => *it,
            None => *seam[n..].first_chunk().unwrap_or(&[0; KEPT]),
        });
    }
}

impl AsyncRead for Heard {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = match &mut self.io {
            Io::Plain(it) => Pin::new(it).poll_read(cx, buf),
            Io::Tls(it) => Pin::new(it).poll_read(cx, buf),
        };
        if matches!(read, Poll::Ready(Ok(()))) {
            self.hear(&buf.filled()[before..]);
        }
        read
    }
}

impl AsyncWrite for Heard {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Io::Plain(it) => Pin::new(it).poll_write(cx, buf),
            Io::Tls(it) => Pin::new(it).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Io::Plain(it) => Pin::new(it).poll_write_vectored(cx, bufs),
            Io::Tls(it) => Pin::new(it).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.io {
            Io::Plain(it) => it.is_write_vectored(),
            Io::Tls(it) => it.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Plain(it) => Pin::new(it).poll_flush(cx),
            Io::Tls(it) => Pin::new(it).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Plain(it) => Pin::new(it).poll_shutdown(cx),
            Io::Tls(it) => Pin::new(it).poll_shutdown(cx),
        }
    }
}

impl Connection for Heard {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: how long we are to wait is heard of an answer that says "later", and of no other.
    #[test]
    fn how_long_to_wait_is_heard() {
        let check =
            |head: &str, expected| assert_eq!(retry_after(head.as_bytes()), expected, "{head}");
        check(
            "HTTP/1.1 503 Unavailable\r\nServer: x\r\nretry-after: 7\r\n\r\nRetry-After: 9",
            Some(7),
        );
        check("HTTP/1.1 429 Many\r\nRetry-After:12\r\n\r\n", Some(12));
        check("HTTP/1.1 200 OK\r\nRetry-After: 7\r\n\r\n", None);
        check("HTTP/1.1 503 Unavailable\r\n\r\nRetry-After: 9\r\n\r\n", None);
        check("HTTP/1.1 503 So\r\nRetry-After: Wed, 21 Oct 2015 07:28:00 GMT\r\n\r\n", None);
        check("HTTP/1.1 503 cut of\r\nRetry-Af", None);
        check("HTTP/1.", None);
    }
}
