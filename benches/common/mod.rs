//! What the benches over HTTP share: a blocking keep-alive client, percentiles, a running engine.

#![allow(missing_docs, unreachable_pub, dead_code, clippy::disallowed_methods)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

/// One keep-alive connection.
pub struct Client {
    stream: BufReader<TcpStream>,
    body: Vec<u8>,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_nodelay(true).expect("a socket option");
        Client { stream: BufReader::with_capacity(64 * 1024, stream), body: Vec::new() }
    }

    /// Sends a whole request; gives the status and the body.
    pub fn send(&mut self, request: &[u8]) -> (u16, &[u8]) {
        self.ask(request);
        self.answer()
    }

    /// Sends a whole request; its answer is to be taken before the next.
    pub fn ask(&mut self, request: &[u8]) {
        self.stream.get_mut().write_all(request).expect("the server reads");
    }

    /// The status and the body of what was asked.
    pub fn answer(&mut self) -> (u16, &[u8]) {
        let mut line = String::new();
        self.stream.read_line(&mut line).expect("the server answers");
        let status = line.split(' ').nth(1).and_then(|it| it.parse().ok()).expect("a status");
        let mut length = 0;
        loop {
            line.clear();
            self.stream.read_line(&mut line).expect("a header");
            let header = line.trim_end();
            if header.is_empty() {
                break;
            }
            if let Some((name, value)) = header.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().expect("a length");
            }
        }
        self.body.resize(length, 0);
        self.stream.read_exact(&mut self.body).expect("a body");
        (status, &self.body)
    }
}

pub fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").into_bytes()
}

pub fn post(path: &str, content_type: &str, body: &[u8]) -> Vec<u8> {
    let mut request = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(body);
    request
}

/// The number after a flag of the command line.
pub fn argument(flag: &str) -> Option<f64> {
    let mut words = std::env::args().skip_while(|it| it != flag);
    words.nth(1).map(|it| it.parse().expect("a number"))
}

/// The value below which this share of the sorted values lies.
pub fn percentile(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * share) as usize).copied().unwrap_or(0.0)
}
