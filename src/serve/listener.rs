//! The accept loop: caps on connections, and the end of them all.
//!
//! # Invariants
//! - Never more than `max_connections` at once, nor more than their share from one address
//!   (loopback has the whole).
//! - Who has been waiting longest without a whole header gives way to a newcomer, then who has been
//!   idle longest: half-sent headers cannot keep anybody out.
//! - After the word to end, no connection is taken; open requests end, streams are told, and after
//!   `drain_timeout` what is left is cut.

use std::collections::HashMap;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::Ports;
use super::connection::{Peer, Phase, Served, Verdict, Watch, Watched};
use super::desk::Desk;
use super::{early, router};
use crate::changes::Changes;
use crate::config;
use crate::metrics::{Metrics, OfReason};
use crate::report::Report;

/// Heads up to this size; answers wait in a buffer of this size for a client to take them.
const BUFFER_BYTES: usize = 64 * 1024;
/// What the system holds of answers for one client that does not take them (it doubles this); left
/// to itself it would hold megabytes for each.
const SEND_BUFFER_BYTES: u32 = 256 * 1024;
/// Connections that wait to be accepted: a thousand that come back at once.
const BACKLOG: u32 = 4_096;
/// Streams of one HTTP/2 connection.
const HTTP2_STREAMS: u32 = 128;
/// After a failed accept (no file descriptor left) the next try waits this long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Who was told to wait has so long to take the answer, once there is something to serve.
const HANDOVER: Duration = Duration::from_millis(100);

/// A server that has its address and serves when run.
pub struct Server {
    open: Open,
    settings: config::Serve,
    ports: Ports,
}

impl Server {
    pub(super) fn new(open: Open, settings: config::Serve, ports: Ports) -> Server {
        Server { open, settings, ports }
    }

    /// Where it listens; the port is a real one even if 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.open.address
    }

    /// Serves until `shutdown` is there, then ends within `drain_timeout`.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), Report> {
        let Server { mut open, settings, ports } = self;
        let metrics = ports.metrics.clone();
        let now_ms = Arc::clone(&ports.now_ms);
        let changes = Changes::start(ports.read.clone(), metrics.clone(), now_ms)
            .map_err(|why| cannot_start(&why))?;
        let (stop, stopping) = watch::channel(false);
        let desk = Arc::new(Desk::new(settings.clone(), ports, changes, stopping.clone()));
        let service = warp::service(router::filter(&desk));
        let drain = settings.drain_timeout;
        let crowd = Crowd::new(settings, metrics);
        let all = open.take(service, &crowd, &stopping, shutdown).await;
        drop(open);
        stop.send_replace(true);
        crowd.end(all, drain).await;
        Ok(())
    }
}

/// An address at which whoever knocks is let in: by a [`Server`], or told to wait.
pub struct Open {
    listener: TcpListener,
    address: SocketAddr,
}

impl Open {
    /// Says of every route that it is too early, of `/health/live` that all is well, until told:
    /// the same caps and deadlines hold, and the address is given back for the [`Server`].
    pub async fn starting(
        mut self,
        settings: config::Serve,
        metrics: Metrics,
        until: impl Future<Output = ()>,
    ) -> Open {
        let (stop, stopping) = watch::channel(false);
        let crowd = Crowd::new(settings, metrics);
        let all = self.take(warp::service(early::filter()), &crowd, &stopping, until).await;
        stop.send_replace(true);
        crowd.end(all, HANDOVER).await;
        self
    }

    /// Lets connections in until told; those that have not ended are given back.
    async fn take<S, B>(
        &mut self,
        service: S,
        crowd: &Arc<Crowd>,
        stopping: &watch::Receiver<bool>,
        until: impl Future<Output = ()>,
    ) -> JoinSet<()>
    where
        S: tower_service::Service<Request<Incoming>, Response = Response<B>>
            + Clone
            + Send
            + 'static,
        S::Future: Send + 'static,
        S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let mut server = Builder::new(TokioExecutor::new());
        server
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(None) // Kept by `connection`.
            .max_buf_size(BUFFER_BYTES);
        server.http2().timer(TokioTimer::new()).max_concurrent_streams(HTTP2_STREAMS);
        let server = Arc::new(server);
        let mut tasks = JoinSet::new();
        tokio::pin!(until);
        loop {
            tokio::select! {
                biased;
                () = &mut until => return tasks,
                Some(_) = tasks.join_next(), if !tasks.is_empty() => {}
                accepted = self.listener.accept() => {
                    let (socket, peer) = match accepted {
                        Ok(it) => it,
                        Err(why) => {
                            tracing::warn!(%why, "a connection could not be accepted");
                            tokio::time::sleep(ACCEPT_PAUSE).await;
                            continue;
                        }
                    };
                    let Some(place) = crowd.admit(peer) else { continue };
                    tasks.spawn(serve_one(
                        socket,
                        peer,
                        place,
                        service.clone(),
                        Arc::clone(&server),
                        stopping.clone(),
                    ));
                }
            }
        }
    }
}

/// An address that is taken; nobody is let in yet, who knocks is refused.
pub struct Door(TcpSocket, SocketAddr);

impl Door {
    /// Takes the address, unless another listens there.
    pub fn reserve(address: SocketAddr) -> Result<Door, Report> {
        let socket = socket(address).map_err(|why| cannot_listen(address, &why))?;
        Ok(Door(socket, address))
    }

    /// Lets clients in. On a runtime.
    pub fn open(self) -> Result<Open, Report> {
        // Two may reserve an address; one of them gets to listen.
        let told = |why: std::io::Error| cannot_listen(self.1, &why);
        let listener = self.0.listen(BACKLOG).map_err(told)?;
        let address = listener.local_addr().map_err(told)?;
        Ok(Open { listener, address })
    }
}

fn socket(address: SocketAddr) -> std::io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // Or a restart would wait for the connections of the last run to be forgotten.
    socket.set_reuseaddr(true)?;
    // Every connection inherits it.
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    socket.bind(address)?;
    Ok(socket)
}

async fn serve_one<S, B>(
    socket: TcpStream,
    peer: SocketAddr,
    place: PlaceTaken,
    service: S,
    server: Arc<Builder<TokioExecutor>>,
    mut stopping: watch::Receiver<bool>,
) where
    S: tower_service::Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if let Err(why) = socket.set_nodelay(true) {
        tracing::debug!(%why, "a connection was gone before it was served");
        return;
    }
    let watch = Arc::clone(&place.watch);
    let settings = &place.crowd.settings;
    let io = TokioIo::new(Watched::new(socket, Arc::clone(&watch)));
    let service = Served { inner: service, watch: Arc::clone(&watch), peer: Peer(peer) };
    let connection = server.serve_connection(io, service);
    let timer = tokio::time::sleep(Duration::ZERO);
    tokio::pin!(connection, timer);
    let mut ending = false;
    let cut = loop {
        tokio::select! {
            biased;
            ended = &mut connection => {
                if let Err(why) = ended {
                    tracing::debug!(%why, "a connection ended in the middle");
                }
                break None;
            }
            () = &mut timer => match watch.verdict(settings) {
                Verdict::Later(left) => timer.as_mut().reset(tokio::time::Instant::now() + left),
                Verdict::Cut(reason) => break Some(reason),
            },
            () = watch.evicted.notified() => break Some("crowded"),
            _ = stopping.wait_for(|it| *it), if !ending => {
                ending = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    };
    if let Some(reason) = cut {
        place.crowd.metrics.cut.get_or_create(&OfReason { reason }).one();
    }
}

/// Everybody who is connected.
struct Crowd {
    settings: config::Serve,
    metrics: Metrics,
    /// Touched when a connection comes or goes, never for a request.
    inside: Mutex<Inside>,
}

#[derive(Default)]
struct Inside {
    next: u64,
    connections: HashMap<u64, Arc<Watch>>,
    by_address: HashMap<IpAddr, usize>,
}

/// One connection's place; given back when dropped.
struct PlaceTaken {
    crowd: Arc<Crowd>,
    number: u64,
    address: IpAddr,
    watch: Arc<Watch>,
}

impl Crowd {
    fn new(settings: config::Serve, metrics: Metrics) -> Arc<Crowd> {
        Arc::new(Crowd { settings, metrics, inside: Mutex::default() })
    }

    /// Waits for those who were told to end, then cuts them.
    async fn end(&self, mut all: JoinSet<()>, within: Duration) {
        let drained = async { while all.join_next().await.is_some() {} };
        if tokio::time::timeout(within, drained).await.is_err() {
            let reason = OfReason { reason: "drain-timeout" };
            self.metrics.cut.get_or_create(&reason).add(all.len() as u64);
            tracing::warn!(connections = all.len(), "connections were cut at the end");
            all.shutdown().await;
        }
    }

    /// A place for a connection from there, if there may be one more.
    fn admit(self: &Arc<Self>, peer: SocketAddr) -> Option<PlaceTaken> {
        let address = peer.ip().to_canonical();
        let refuse = |reason| {
            self.metrics.cut.get_or_create(&OfReason { reason }).one();
            None
        };
        let mut inside = self.inside.lock();
        let here = inside.by_address.get(&address).copied().unwrap_or(0);
        if here >= self.settings.max_connections_per_address && !address.is_loopback() {
            return refuse("address-cap");
        }
        if inside.connections.len() >= self.settings.max_connections {
            let Some(victim) = inside.longest_waiting() else { return refuse("cap") };
            // Its own drop finds it gone; the place is taken over now.
            if let Some(watch) = inside.connections.remove(&victim) {
                watch.evicted.notify_one();
            }
        }
        let watch = Watch::new();
        let number = inside.next;
        inside.next += 1;
        inside.connections.insert(number, Arc::clone(&watch));
        *inside.by_address.entry(address).or_insert(0) += 1;
        self.metrics.accepted.one();
        self.metrics.connections.inc();
        Some(PlaceTaken { crowd: Arc::clone(self), number, address, watch })
    }
}

impl Inside {
    /// Who gives way: the longest without a whole header, else the longest idle.
    fn longest_waiting(&self) -> Option<u64> {
        let waiting = self.connections.iter().filter_map(|(number, watch)| {
            let (phase, lasted) = watch.phase();
            (phase != Phase::Busy).then_some((phase != Phase::Idle, lasted, *number))
        });
        waiting.max().map(|(_, _, number)| number)
    }
}

impl Drop for PlaceTaken {
    fn drop(&mut self) {
        self.crowd.metrics.connections.dec();
        let mut inside = self.crowd.inside.lock();
        inside.connections.remove(&self.number);
        if let Some(n) = inside.by_address.get_mut(&self.address) {
            *n -= 1;
            if *n == 0 {
                inside.by_address.remove(&self.address);
            }
        }
    }
}

fn cannot_listen(address: SocketAddr, why: &std::io::Error) -> Report {
    let in_use = why.kind() == std::io::ErrorKind::AddrInUse;
    Report {
        code: if in_use { "serve/port-in-use" } else { "serve/cannot-listen" },
        what: "cannot listen for HTTP".into(),
        at: vec![("address", address.to_string()), ("setting", "serve.listen".into())],
        why: if in_use { "another process listens there".into() } else { why.to_string() },
        effect: "nothing was started; no data was touched".into(),
        fix: match in_use {
            true => format!(
                "end the other process (`ss -ltnp 'sport = :{}'` names it), or set serve.listen to \
                 another port",
                address.port()
            ),
            false => "set serve.listen to an address of this machine".into(),
        },
    }
}

fn cannot_start(why: &std::io::Error) -> Report {
    Report {
        code: "serve/thread",
        what: "could not start a thread".into(),
        at: vec![("thread", "changes".into())],
        why: why.to_string(),
        effect: "nothing is served; no data was touched".into(),
        fix: "raise the limit on threads (`ulimit -u`), then start again".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crowd(max_connections: usize, max_connections_per_address: usize) -> Arc<Crowd> {
        let defaults = config::Settings::default().serve;
        let settings = config::Serve { max_connections, max_connections_per_address, ..defaults };
        Crowd::new(settings, Metrics::default())
    }

    fn refused(crowd: &Crowd, reason: &'static str) -> u64 {
        crowd.metrics.cut.get_or_create(&OfReason { reason }).get()
    }

    /// Goal: one address gets its share and no more, another is not in its way, a place that is
    /// given back can be had again; by whichever family of addresses it comes; loopback has no
    /// share. Method: peers by hand, for a test has one address and that is loopback.
    #[test]
    fn one_address_has_its_share() {
        let crowd = crowd(100, 2);
        let admit = |peer: &str| crowd.admit(peer.parse().unwrap());
        let first = admit("203.0.113.7:1001").expect("one");
        let _second = admit("203.0.113.7:1002").expect("two");
        assert!(admit("203.0.113.7:1003").is_none(), "a third");
        assert!(admit("[::ffff:203.0.113.7]:1004").is_none(), "it is the same machine");
        assert_eq!(refused(&crowd, "address-cap"), 2);
        assert!(admit("203.0.113.8:1001").is_some(), "another address");
        assert!(admit("[2001:db8::7]:1001").is_some(), "another family");
        drop(first);
        let _third = admit("[::ffff:203.0.113.7]:1005").expect("the place that was given back");
        assert!(admit("203.0.113.7:1006").is_none());
        assert_eq!(refused(&crowd, "address-cap"), 3);
        let loopback =
            ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3", "[::1]:1", "[::1]:2", "[::1]:3"];
        let places: Vec<_> = loopback.iter().map(|it| admit(it).expect("loopback")).collect();
        assert_eq!(crowd.inside.lock().connections.len(), 8);
        drop(places);
        let inside = crowd.inside.lock();
        assert_eq!(inside.connections.len(), 2);
        assert_eq!(inside.by_address.len(), 1, "nobody is remembered who has gone");
    }

    /// Goal: an address above its share is refused although others' connections could give way for
    /// it, so that nobody pushes others out by coming often.
    #[test]
    fn a_full_share_pushes_nobody_out() {
        let crowd = crowd(2, 1);
        let admit = |peer: &str| crowd.admit(peer.parse().unwrap());
        let _other = admit("203.0.113.8:1").expect("there is room");
        let _first = admit("203.0.113.7:1").expect("there is room");
        assert!(admit("203.0.113.7:2").is_none());
        assert_eq!((refused(&crowd, "address-cap"), refused(&crowd, "cap")), (1, 0));
        assert_eq!(crowd.inside.lock().connections.len(), 2);
        // A newcomer within its share takes the place of who has waited longest.
        assert!(admit("203.0.113.9:1").is_some());
    }
}
