//! How many point reads a second does the HTTP room answer, beside a bare warp route in the same
//! run? Unit: reads/s; p50 and p99 in ms; share of the bare route's rate.
//!
//! 64 keep-alive connections on the same machine, a request under way on each. The rows lie in
//! maps made by hand (`tests/serve/world.rs`), so this is the cost of the room itself: accept
//! loop, deadlines, routing, caller, instant, row to JSON. Both servers answer the same bytes
//! from the same kind of runtime; rounds take turns, the medians are compared.
//!
//! Use: `cargo bench --bench http_reads [-- --seconds 3 --rounds 5]`

#![allow(missing_docs, dead_code, unreachable_pub, clippy::disallowed_methods)]

#[path = "../tests/serve/world.rs"]
mod world;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use warp::Filter;

const CONNECTIONS: usize = 64;
const THREADS: usize = 4;
const ROWS: usize = 10_000;

fn main() {
    let seconds = argument("--seconds").unwrap_or(3);
    let rounds = argument("--rounds").unwrap_or(5);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let names: Vec<String> = (0..ROWS).map(|n| format!("O-{n:06}")).collect();
    let (address, bare) = runtime.block_on(async {
        let running = world::start(world::settings()).await;
        let rows: Vec<_> =
            names.iter().map(|it| (it.as_str(), Some(world::order(it, "paid", 100)))).collect();
        running.world.epoch("default", &rows);
        let address = running.address;
        // Runs until the process ends.
        std::mem::forget(running);
        (address, serve_bare(names[0].clone(), address).await)
    });
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        theirs.push(round(bare, "/bare/", &names, seconds));
        ours.push(round(address, "/v1/views/orders/", &names, seconds));
    }
    let bare = told("bare warp route", &mut theirs);
    let rate = told("point reads", &mut ours);
    println!("share of the bare route: {:.2}", rate / bare);
}

/// The same answer as ours, ready-made, behind the plainest filter.
async fn serve_bare(name: String, ours: SocketAddr) -> SocketAddr {
    let asked = tokio::task::spawn_blocking(move || {
        let mut connection = Connection::open(ours);
        connection.ask(&request(&format!("/v1/views/orders/{name}")));
        connection.answer().1
    });
    let body = bytes::Bytes::from(asked.await.unwrap());
    let route = warp::get().and(warp::path!("bare" / String)).map(move |_| {
        let mut response = warp::reply::Response::new(body.clone().into());
        let json = http::HeaderValue::from_static("application/json");
        response.headers_mut().insert(http::header::CONTENT_TYPE, json);
        response
    });
    let service = warp::service(route);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            socket.set_nodelay(true).unwrap();
            let service = TowerToHyperService::new(service.clone());
            tokio::spawn(async move {
                let builder = Builder::new(TokioExecutor::new());
                // Ends when the client leaves, with or without an error.
                drop(builder.serve_connection(TokioIo::new(socket), service).await);
            });
        }
    });
    address
}

struct Round {
    rate: f64,
    p50: f64,
    p99: f64,
}

fn round(address: SocketAddr, path: &'static str, names: &[String], seconds: u64) -> Round {
    let requests: Vec<Vec<u8>> = names.iter().map(|it| request(&format!("{path}{it}"))).collect();
    let until = Instant::now() + Duration::from_secs(seconds);
    let begun = Instant::now();
    let mut times: Vec<u32> = std::thread::scope(|scope| {
        let requests = &requests;
        let threads: Vec<_> =
            (0..THREADS).map(|n| scope.spawn(move || drive(address, requests, n, until))).collect();
        threads.into_iter().flat_map(|it| it.join().unwrap()).collect()
    });
    let rate = times.len() as f64 / begun.elapsed().as_secs_f64();
    times.sort_unstable();
    let at = |share: f64| f64::from(times[(times.len() as f64 * share) as usize]) / 1_000.0;
    Round { rate, p50: at(0.5), p99: at(0.99) }
}

/// Keeps a request under way on each of this thread's connections.
fn drive(address: SocketAddr, requests: &[Vec<u8>], thread: usize, until: Instant) -> Vec<u32> {
    let mut connections: Vec<_> =
        (0..CONNECTIONS / THREADS).map(|_| Connection::open(address)).collect();
    let mut times = Vec::new();
    let mut n = thread * 7919;
    for connection in &mut connections {
        connection.ask(&requests[n % requests.len()]);
        n += 104_729;
    }
    while Instant::now() < until {
        for connection in &mut connections {
            let (status, _) = connection.answer();
            assert_eq!(status, 200);
            times.push(connection.asked.elapsed().as_micros() as u32);
            connection.ask(&requests[n % requests.len()]);
            n += 104_729;
        }
    }
    times
}

struct Connection {
    socket: TcpStream,
    buffer: Vec<u8>,
    asked: Instant,
}

impl Connection {
    fn open(address: SocketAddr) -> Connection {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_nodelay(true).unwrap();
        Connection { socket, buffer: Vec::new(), asked: Instant::now() }
    }

    fn ask(&mut self, request: &[u8]) {
        self.asked = Instant::now();
        self.socket.write_all(request).unwrap();
    }

    fn answer(&mut self) -> (u16, Vec<u8>) {
        self.buffer.clear();
        let mut chunk = [0; 4_096];
        loop {
            let n = self.socket.read(&mut chunk).unwrap();
            assert!(n > 0, "the server closed");
            self.buffer.extend(&chunk[..n]);
            let Some(end) = memchr::memmem::find(&self.buffer, b"\r\n\r\n") else { continue };
            let head = std::str::from_utf8(&self.buffer[..end]).unwrap();
            let length = head.lines().find_map(|it| it.strip_prefix("content-length: ")).unwrap();
            let whole = end + 4 + length.parse::<usize>().unwrap();
            if self.buffer.len() >= whole {
                let status = head[9..12].parse().unwrap();
                return (status, self.buffer[end + 4..whole].to_vec());
            }
        }
    }
}

fn request(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").into_bytes()
}

fn told(what: &str, rounds: &mut [Round]) -> f64 {
    rounds.sort_by(|a, b| a.rate.total_cmp(&b.rate));
    let Round { rate, p50, p99 } = rounds[rounds.len() / 2];
    println!("{what}: {rate:.0} reads/s, p50 {p50:.2} ms, p99 {p99:.2} ms");
    rate
}

fn argument(name: &str) -> Option<u64> {
    let mut arguments = std::env::args();
    arguments.find(|it| it == name)?;
    arguments.next()?.parse().ok()
}
