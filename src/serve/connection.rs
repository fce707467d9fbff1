//! One connection: hyper on a watched socket, and the deadlines that hyper does not keep.
//!
//! ```text
//!  accepted ──first byte──▶ head ──header whole──▶ busy ──answered──▶ idle ──byte──▶ head
//!     └── header_timeout ─────┘         body_timeout (body.rs)          └─ idle_timeout
//! ```
//!
//! # Invariants
//! - In every phase but *busy* there is a deadline; in *busy* the body has one (`body`), waits of a
//!   handler have theirs, and a client that takes no bytes of an answer for `body_timeout` is cut.
//! - Watching costs a request two stores and two looks at the clock: no timer is armed per request.
//!
//! # Why this way
//! hyper's `header_read_timeout` begins at the first connection phase it knows, arms a timer per
//! request, and is one figure for idle and half-sent alike.

use std::future::Future;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::SeqCst};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::{Request, Response, Version};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::service::Service;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::clock;
use crate::config;

/// The other end, as the socket says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) SocketAddr);

/// Where a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Accepted,
    Head,
    Busy,
    Idle,
}

/// What is watched of a connection.
#[derive(Debug)]
pub(super) struct Watch {
    born: Instant,
    /// Phase and since when (milliseconds after `born`), in one word.
    phase: AtomicU64,
    in_flight: AtomicU32,
    /// Bytes say nothing about heads there.
    http2: AtomicBool,
    /// Since when the client takes no bytes, plus one; 0: it does.
    stalled: AtomicU64,
    /// Someone else needs the place.
    pub(super) evicted: Notify,
}

/// What a look at the deadlines says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing is due before this long.
    Later(Duration),
    /// To be cut, for this reason.
    Cut(&'static str),
}

impl Watch {
    pub(super) fn new() -> Arc<Watch> {
        Arc::new(Watch {
            born: clock::monotonic(),
            phase: AtomicU64::new(Phase::Accepted as u64),
            in_flight: AtomicU32::new(0),
            http2: AtomicBool::new(false),
            stalled: AtomicU64::new(0),
            evicted: Notify::new(),
        })
    }

    fn now(&self) -> u64 {
        u64::try_from(clock::since(self.born).as_millis()).unwrap_or(u64::MAX >> 2)
    }

    fn enter(&self, phase: Phase) {
        self.phase.store(self.now() << 2 | phase as u64, SeqCst);
    }

    /// The phase, and for how long it has lasted.
    pub(super) fn phase(&self) -> (Phase, Duration) {
        let word = self.phase.load(SeqCst);
        let phase = match word & 3 {
            0 => Phase::Accepted,
            1 => Phase::Head,
            2 => Phase::Busy,
            _ => Phase::Idle,
        };
        (phase, Duration::from_millis(self.now().saturating_sub(word >> 2)))
    }

    /// What is due.
    pub(super) fn verdict(&self, settings: &config::Serve) -> Verdict {
        let (phase, lasted) = self.phase();
        let (limit, reason) = match phase {
            Phase::Accepted | Phase::Head => (settings.header_timeout, "header-timeout"),
            Phase::Idle => (settings.idle_timeout, "idle"),
            Phase::Busy => (Duration::MAX, ""),
        };
        if lasted >= limit {
            return Verdict::Cut(reason);
        }
        let mut left = limit - lasted;
        let stalled = self.stalled.load(SeqCst);
        if stalled > 0 {
            let lasted = Duration::from_millis(self.now().saturating_sub(stalled - 1));
            if lasted >= settings.body_timeout {
                return Verdict::Cut("not-reading");
            }
            left = left.min(settings.body_timeout - lasted);
        }
        // A phase that begins meanwhile must not be missed.
        let shortest =
            settings.header_timeout.min(settings.idle_timeout).min(settings.body_timeout);
        Verdict::Later(left.min(shortest))
    }

    fn read_some(&self) {
        if self.phase.load(SeqCst) & 3 == Phase::Idle as u64 && !self.http2.load(SeqCst) {
            self.enter(Phase::Head);
        }
    }

    fn wrote(&self, moved: bool) {
        let stalled = self.stalled.load(SeqCst) > 0;
        if moved && stalled {
            self.stalled.store(0, SeqCst);
        } else if !moved && !stalled {
            self.stalled.store(self.now() + 1, SeqCst);
        }
    }
}

/// A request between its header and the last byte of its answer.
#[derive(Debug)]
struct InFlight(Arc<Watch>);

impl InFlight {
    fn begin(watch: &Arc<Watch>, version: Version) -> InFlight {
        if version == Version::HTTP_2 {
            watch.http2.store(true, SeqCst);
        }
        if watch.in_flight.fetch_add(1, SeqCst) == 0 {
            watch.enter(Phase::Busy);
        }
        InFlight(Arc::clone(watch))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if self.0.in_flight.fetch_sub(1, SeqCst) == 1 {
            self.0.enter(Phase::Idle);
        }
    }
}

/// The socket; what passes is noted.
#[derive(Debug)]
pub(super) struct Watched {
    socket: TcpStream,
    watch: Arc<Watch>,
}

impl Watched {
    pub(super) fn new(socket: TcpStream, watch: Arc<Watch>) -> Watched {
        Watched { socket, watch }
    }

    fn noted<T>(&self, poll: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.watch.wrote(poll.is_ready());
        poll
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let poll = Pin::new(&mut self.socket).poll_read(cx, buf);
        if poll.is_ready() && buf.filled().len() > before {
            self.watch.read_some();
        }
        poll
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.socket).poll_write(cx, bytes);
        self.noted(poll)
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.socket).poll_write_vectored(cx, bytes);
        self.noted(poll)
    }
    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

/// warp's service, told who asks, watched from header to last byte.
#[derive(Clone)]
pub(super) struct Served<S> {
    pub(super) inner: S,
    pub(super) watch: Arc<Watch>,
    pub(super) peer: Peer,
}

impl<S, B> Service<Request<Incoming>> for Served<S>
where
    S: tower_service::Service<Request<Incoming>, Response = Response<B>> + Clone,
{
    type Response = Response<Answering<B>>;
    type Error = S::Error;
    type Future = Answer<S::Future>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let flight = InFlight::begin(&self.watch, request.version());
        request.extensions_mut().insert(self.peer);
        Answer { inner: self.inner.clone().call(request), flight: Some(flight) }
    }
}

pin_project_lite::pin_project! {
    /// An answer on its way.
    pub(super) struct Answer<F> {
        #[pin]
        inner: F,
        flight: Option<InFlight>,
    }
}

impl<F, B, E> Future for Answer<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<Answering<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        this.inner.poll(cx).map(|answer| {
            let flight = this.flight.take();
            answer.map(|response| response.map(|inner| Answering { inner, flight }))
        })
    }
}

pin_project_lite::pin_project! {
    /// A body on its way; dropped with its last byte.
    pub(super) struct Answering<B> {
        #[pin]
        inner: B,
        flight: Option<InFlight>,
    }
}

impl<B: Body> Body for Answering<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        self.project().inner.poll_frame(cx)
    }
    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }
    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
