//! A broker behind a relay of ours that can keep fetches to itself (and how far partitions reach): everything else goes through, so
//! that the broker is there for every question and yet no record comes.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use crate::broker::Broker;

/// The first two bytes of a request that asks for records.
const FETCH: [u8; 2] = 1_i16.to_be_bytes();
/// Of one that asks how far partitions reach.
const LIST_OFFSETS: [u8; 2] = 2_i16.to_be_bytes();

/// What the connections know.
#[derive(Debug, Default)]
struct State {
    /// How many connections there have been.
    opened: AtomicU64,
    /// Of connections below this number no fetch is let through.
    deaf_below: AtomicU64,
    /// Nor is it told how far partitions reach.
    is_mute: AtomicBool,
    /// Fetches kept.
    kept: AtomicU64,
}

/// A broker that clients reach only through us.
pub struct Relayed {
    /// Ends with us.
    _broker: Broker,
    /// Where clients find it, and what it says of itself.
    pub address: String,
    state: Arc<State>,
}

impl Relayed {
    pub fn start(name: &str) -> Relayed {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let advertised = format!("advertised.listeners=PLAINTEXT://{address}");
        let broker = Broker::own(name, &[&advertised]);
        let (state, behind) = (Arc::new(State::default()), broker.brokers().to_string());
        let of = Arc::clone(&state);
        // Ends with the process of the tests.
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let number = of.opened.fetch_add(1, SeqCst);
                let (state, behind) = (Arc::clone(&of), behind.clone());
                std::thread::spawn(move || carry(client.unwrap(), &behind, number, &state));
            }
        });
        Relayed { _broker: broker, address, state }
    }

    /// No fetch of the connections that are open now is let through; of later ones each is.
    pub fn keep_those_open(&self) {
        self.state.deaf_below.store(self.state.opened.load(SeqCst), SeqCst);
    }

    /// No fetch at all is let through.
    pub fn keep_all(&self) {
        self.state.deaf_below.store(u64::MAX, SeqCst);
    }

    /// No fetch at all is let through, and no question how far partitions reach.
    pub fn keep_ends_too(&self) {
        self.state.is_mute.store(true, SeqCst);
        self.keep_all();
    }

    /// Each is let through, of connections that are made from now on.
    pub fn let_through(&self) {
        self.state.is_mute.store(false, SeqCst);
        self.keep_those_open();
    }

    /// How many fetches were kept.
    pub fn kept(&self) -> u64 {
        self.state.kept.load(SeqCst)
    }
}

/// One connection, both ways, until one side ends it.
fn carry(client: TcpStream, behind: &str, number: u64, state: &State) {
    // A broker that is not there is a connection that ends.
    let Ok(broker) = TcpStream::connect(behind) else { return };
    for it in [&client, &broker] {
        it.set_nodelay(true).unwrap();
    }
    let (mut answers, mut to_client) = (broker.try_clone().unwrap(), client.try_clone().unwrap());
    std::thread::spawn(move || {
        // Either side may end it at any time.
        std::io::copy(&mut answers, &mut to_client).ok();
        to_client.shutdown(std::net::Shutdown::Both).ok();
    });
    questions(client, &broker, number, state).ok();
    broker.shutdown(std::net::Shutdown::Both).ok();
}

/// Requests, one by one: four bytes of length, then what is asked for.
fn questions(
    mut client: TcpStream,
    mut broker: &TcpStream,
    number: u64,
    state: &State,
) -> std::io::Result<()> {
    loop {
        let mut length = [0; 4];
        client.read_exact(&mut length)?;
        let mut request = vec![0; u32::from_be_bytes(length) as usize];
        client.read_exact(&mut request)?;
        if request.starts_with(&FETCH) && number < state.deaf_below.load(SeqCst) {
            state.kept.fetch_add(1, SeqCst);
            continue;
        }
        if request.starts_with(&LIST_OFFSETS) && state.is_mute.load(SeqCst) {
            continue;
        }
        broker.write_all(&[&length[..], &request].concat())?;
    }
}
