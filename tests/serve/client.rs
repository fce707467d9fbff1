//! A client that says exactly what it is told to, on a socket of its own.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// Longer than anything here takes; a test that waits so long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Client {
    pub(crate) socket: TcpStream,
    buffer: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|it| it.0.eq_ignore_ascii_case(name)).map(|it| it.1.as_str())
    }
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|why| panic!("{why}: {}", self.text()))
    }
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Client {
        Client { socket: TcpStream::connect(address).await.unwrap(), buffer: Vec::new() }
    }

    /// One whose system takes a few kilobytes ahead of it, no more.
    pub(crate) async fn with_small_window(address: SocketAddr) -> Client {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4_096).unwrap();
        Client { socket: socket.connect(address).await.unwrap(), buffer: Vec::new() }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.socket.write_all(bytes.as_ref()).await.unwrap();
    }

    /// One request with these headers and this body.
    pub(crate) async fn ask(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl AsRef<[u8]>,
    ) -> Answer {
        let body = body.as_ref();
        let mut request = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n");
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        if !body.is_empty() || method == "POST" {
            request += &format!("content-length: {}\r\n", body.len());
        }
        let mut bytes = (request + "\r\n").into_bytes();
        bytes.extend(body);
        self.send(bytes).await;
        self.answer().await.expect("an answer")
    }

    /// The header of an answer; the body is left where it is. None: the other end has closed.
    pub(crate) async fn head(&mut self) -> Option<Answer> {
        let end = loop {
            if let Some(at) = find(&self.buffer, b"\r\n\r\n") {
                break at;
            }
            if !self.more().await {
                return None;
            }
        };
        let head: Vec<u8> = self.buffer.drain(..end + 4).collect();
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines.filter_map(|it| it.split_once(": "));
        let headers = headers.map(|(name, value)| (name.to_string(), value.to_string())).collect();
        Some(Answer { status, headers, body: Vec::new() })
    }

    /// A whole answer. None: the other end has closed.
    pub(crate) async fn answer(&mut self) -> Option<Answer> {
        let mut answer = self.head().await?;
        if answer.status == 100 {
            answer = self.head().await?;
        }
        if let Some(length) = answer.header("content-length") {
            let length: usize = length.parse().unwrap();
            while self.buffer.len() < length {
                if !self.more().await {
                    return None;
                }
            }
            answer.body = self.buffer.drain(..length).collect();
        } else if answer.header("transfer-encoding").is_some() {
            while let Some(chunk) = self.chunk().await {
                answer.body.extend(chunk);
            }
        }
        Some(answer)
    }

    /// One chunk of a chunked body. None: the last, or the other end has closed.
    pub(crate) async fn chunk(&mut self) -> Option<Vec<u8>> {
        let at = loop {
            if let Some(at) = find(&self.buffer, b"\r\n") {
                break at;
            }
            if !self.more().await {
                return None;
            }
        };
        let size = std::str::from_utf8(&self.buffer[..at]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        while self.buffer.len() < at + 2 + size + 2 {
            if !self.more().await {
                return None;
            }
        }
        let chunk: Vec<u8> = self.buffer.drain(..at + 2 + size + 2).collect();
        (size > 0).then(|| chunk[at + 2..at + 2 + size].to_vec())
    }

    /// Waits until the other end closes; what it still says is thrown away.
    pub(crate) async fn closed(&mut self) {
        while self.more().await {}
    }

    async fn more(&mut self) -> bool {
        let reading = self.socket.read_buf(&mut self.buffer);
        let read = tokio::time::timeout(PATIENCE, reading).await.expect("bytes or an end");
        read.unwrap_or(0) > 0
    }
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|it| it == what)
}

/// One request on a connection of its own.
pub(crate) async fn get(address: SocketAddr, path: &str) -> Answer {
    Client::connect(address).await.ask("GET", path, &[], "").await
}

/// One request with a body on a connection of its own.
pub(crate) async fn post(
    address: SocketAddr,
    path: &str,
    kind: &str,
    body: impl AsRef<[u8]>,
) -> Answer {
    Client::connect(address).await.ask("POST", path, &[("content-type", kind)], body).await
}

/// Event streams as the HTML standard says they are read.
#[derive(Default)]
pub(crate) struct SseParser {
    line: Vec<u8>,
    after_cr: bool,
    begun: bool,
    event: String,
    data: String,
    last_id: String,
    pub(crate) retry: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SseEvent {
    pub(crate) event: String,
    pub(crate) data: String,
    pub(crate) id: String,
}

impl SseEvent {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap()
    }
}

impl SseParser {
    pub(crate) fn last_id(&self) -> &str {
        &self.last_id
    }

    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Vec<SseEvent> {
        let mut events = Vec::new();
        for byte in bytes {
            let after_cr = std::mem::replace(&mut self.after_cr, *byte == b'\r');
            match byte {
                b'\n' if after_cr => {}
                b'\r' | b'\n' => events.extend(self.end_of_line()),
                other => self.line.push(*other),
            }
        }
        events
    }

    fn end_of_line(&mut self) -> Option<SseEvent> {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line).into_owned();
        let line = match self.begun {
            false => line.strip_prefix('\u{feff}').unwrap_or(&line),
            true => &line,
        };
        self.begun = true;
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            let data = std::mem::take(&mut self.data);
            let data = data.strip_suffix('\n')?.to_string();
            let event = if event.is_empty() { "message".into() } else { event };
            return Some(SseEvent { event, data, id: self.last_id.clone() });
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => self.event = value.into(),
            "data" => {
                self.data += value;
                self.data.push('\n');
            }
            "id" if !value.contains('\0') => self.last_id = value.into(),
            "retry" if value.bytes().all(|it| it.is_ascii_digit()) => {
                self.retry = value.parse().ok().or(self.retry);
            }
            _ => {}
        }
        None
    }
}

/// A stream that is read event by event.
pub(crate) struct Stream {
    pub(crate) client: Client,
    pub(crate) parser: SseParser,
    waiting: std::collections::VecDeque<SseEvent>,
    /// Everything as it came.
    pub(crate) raw: Vec<u8>,
}

impl Stream {
    pub(crate) async fn open(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Stream {
        Stream::on(Client::connect(address).await, path, headers).await
    }

    pub(crate) async fn on(mut client: Client, path: &str, headers: &[(&str, &str)]) -> Stream {
        let mut request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n");
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        client.send(request + "\r\n").await;
        let head = client.head().await.expect("an answer");
        assert_eq!(head.status, 200);
        assert_eq!(head.header("content-type"), Some("text/event-stream"));
        Stream { client, parser: SseParser::default(), waiting: Default::default(), raw: vec![] }
    }

    /// The next event; none: the stream has ended.
    pub(crate) async fn next(&mut self) -> Option<SseEvent> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Some(event);
            }
            if !self.read().await {
                return None;
            }
        }
    }

    /// An event that was read already.
    pub(crate) fn ready(&mut self) -> Option<SseEvent> {
        self.waiting.pop_front()
    }

    /// One chunk more.
    pub(crate) async fn read(&mut self) -> bool {
        let Some(chunk) = self.client.chunk().await else { return false };
        self.waiting.extend(self.parser.feed(&chunk));
        self.raw.extend(chunk);
        true
    }
}
