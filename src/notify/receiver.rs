//! Who is told, whatever it is: one attempt at one message, and what came of it.
//!
//! # Meaning
//! Webhooks and mail are asked in the same way, and what they say means the same ([`Said`]): queue,
//! rate, schedule and breaker of a channel know no other difference. A connection is made by one
//! [`Connector`], which looks at the very address that it is about to be made to.

use std::time::Duration;

use serde_json::{Value, json};

use super::email::Email;
use super::guard::Guard;
use super::webhook::{self, Webhook};
use super::wire::{Connector, NotAllowed, NotTrusted, Resolve};
use crate::config::Password;
use crate::config::channels::{ChannelSettings, To};
use crate::sinks::Fault;
use crate::sinks::clickhouse::{client_config, trusted};

/// Longest wait that a receiver may ask for.
pub(super) const ASKED_MAX_MS: u64 = 3_600_000;

/// What one attempt came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// It is there.
    Delivered,
    /// This one is not taken, and never will be.
    Refused(String),
    /// Nobody wants it, nor any other (410).
    Gone,
    /// It did not work; the receiver may have said when to come again.
    Again {
        /// Not before.
        after: Option<Duration>,
        /// Whose fault it is; the surroundings' if nobody's.
        blame: Option<Fault>,
        /// In words.
        why: String,
    },
    /// It cannot work before somebody has set something right.
    Never(String),
}

/// Nobody's fault.
pub(super) fn again(why: String) -> Said {
    Said::Again { after: None, blame: None, why }
}

/// A failure without an answer.
pub(super) fn blamed(why: &(dyn std::error::Error + 'static)) -> Said {
    let mut cause = Some(why);
    let mut last = why.to_string();
    while let Some(it) = cause {
        let inner = it.downcast_ref::<std::io::Error>().and_then(|it| it.get_ref());
        if let Some(NotAllowed(address)) = inner.and_then(|it| it.downcast_ref()) {
            return Said::Never(NotAllowed(*address).to_string());
        }
        if let Some(it) = inner.and_then(|it| it.downcast_ref::<NotTrusted>()) {
            let (blame, why) = (Some(Fault::Configuration), it.to_string());
            return Said::Again { after: None, blame, why };
        }
        last = it.to_string();
        cause = it.source();
    }
    again(last)
}

/// A secret as it stands in its file, or its variable, now.
pub(super) fn secret_text(of: &Password) -> Result<String, String> {
    match of {
        Password::Variable(_, value) => Ok(value.clone()),
        Password::File(path) => {
            std::fs::read_to_string(path).map_err(|why| format!("{}: {why}", path.display()))
        }
    }
}

/// A receiver.
pub(super) enum Receiver {
    /// By http.
    Webhook(Box<Webhook>, Password),
    /// By mail.
    Email(Box<Email>),
}

impl Receiver {
    /// With secret and certificates as they are now; in words, why not.
    pub(super) fn new(settings: &ChannelSettings, resolve: Resolve) -> Result<Receiver, String> {
        let tls = trusted(settings.ca_file.as_deref()).and_then(client_config)?;
        let connector = Connector::new(Guard::new(&settings.allow), tls, resolve);
        Ok(match &settings.to {
            To::Webhook { url, secret } => {
                let webhook = Webhook::new((url, secret), settings, connector)?;
                Receiver::Webhook(Box::new(webhook), secret.clone())
            }
            To::Email(it) => Receiver::Email(Box::new(Email::new(it, settings, connector)?)),
        })
    }

    /// Tells of a message (tenant and name) once; `now`: seconds since the Unix epoch.
    pub(super) async fn tell(&self, (tenant, id): (&str, &str), row: &Value, now: i64) -> Said {
        match self {
            Receiver::Webhook(it, _) => it.post(id, webhook::body(tenant, row), now).await,
            Receiver::Email(it) => it.send(tenant, row).await,
        }
    }

    /// What is secret is from now on what stands in its file; in words, why it stays as it was.
    pub(super) fn reload(&self) -> Result<(), String> {
        match self {
            Receiver::Webhook(it, _) => it.reload(),
            Receiver::Email(it) => it.reload(),
        }
    }

    /// In a word.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Receiver::Webhook(..) => "webhook",
            Receiver::Email(_) => "email",
        }
    }

    /// Where its secret stands; never what it is.
    pub(super) fn secret(&self) -> Value {
        let secret = match self {
            Receiver::Webhook(_, it) => Some(it),
            Receiver::Email(it) => it.password(),
        };
        match secret {
            Some(Password::File(path)) => json!({"file": path.display().to_string()}),
            Some(Password::Variable(name, _)) => json!({"variable": name}),
            None => Value::Null,
        }
    }

    /// With what each message is signed.
    pub(super) fn signs(&self) -> Vec<String> {
        match self {
            Receiver::Webhook(it, _) => it.keys().kinds(),
            Receiver::Email(_) => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::channels::{EmailSettings, Tls};

    /// What hostile names resolve to in this test, whatever the network: two addresses, both of the
    /// own network, and other ones from one time to the next.
    fn hostile() -> Resolve {
        use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
        let asked = std::sync::Arc::new(AtomicU32::new(0));
        std::sync::Arc::new(move |host: String, port: u16| {
            let n = asked.fetch_add(1, SeqCst);
            Box::pin(async move {
                if host.ends_with(".test") {
                    let ip = if n.is_multiple_of(2) { [127, 0, 0, 1] } else { [10, 0, 0, 1] };
                    return Ok(vec![(ip, port).into(), ([169, 254, 169, 254], port).into()]);
                }
                // Numbers in other spellings are the system's own business.
                Ok(tokio::net::lookup_host((host, port)).await?.collect())
            })
        })
    }

    /// Goal: no connection is made to an address of the own network, however it is written. Method:
    /// sixty addresses that mean this machine or its neighbours, a listener that counts.
    #[tokio::test]
    async fn sixty_hostile_addresses_and_no_connection() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let hosts = [
            "127.0.0.1",
            "127.0.0.2",
            "127.1.2.3",
            "127.255.255.254",
            "0.0.0.0",
            "localhost",
            "LOCALHOST",
            "LocalHost.",
            "127.1",
            "127.0.1",
            "2130706433",
            "0x7f000001",
            "0x7f.1",
            "0177.0.0.1",
            "017700000001",
            "0x7f.0.0.1",
            "127.0.0.1.",
            "0",
            "10.0.0.1",
            "10.255.255.255",
            "172.16.0.1",
            "172.31.255.254",
            "192.168.0.1",
            "192.168.255.255",
            "169.254.169.254",
            "169.254.0.1",
            "100.64.0.1",
            "100.100.100.200",
            "192.0.0.192",
            "198.18.0.1",
            "224.0.0.1",
            "239.255.255.250",
            "240.0.0.1",
            "255.255.255.255",
            "[::]",
            "[::1]",
            "[0:0:0:0:0:0:0:1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[::127.0.0.1]",
            "[::ffff:10.0.0.1]",
            "[::ffff:169.254.169.254]",
            "[64:ff9b::7f00:1]",
            "[64:ff9b::a9fe:a9fe]",
            "[2002:7f00:1::]",
            "[2002:a9fe:a9fe::]",
            "[fe80::1]",
            "[fc00::1]",
            "[fd00:ec2::254]",
            "[fdff::1]",
            "[ff02::1]",
            "[2001:db8::1]",
            "[100::1]",
            "[2001:0:1::80ff:fffe]",
            "metadata.test",
            "rebind.test",
            "rebind.test",
            "intranet.test",
            "localhost.test",
            "kubernetes.default.svc.test",
        ];
        assert_eq!(hosts.len(), 60);
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let webhook = |host: &str| To::Webhook {
            url: format!("http://{host}:{port}/latest/meta-data"),
            secret: Password::Variable("S".into(), secret.into()),
        };
        let email = |host: &str| {
            To::Email(EmailSettings {
                host: host.trim_matches(['[', ']']).into(),
                port,
                tls: Tls::None,
                user: None,
                from: "a@example.org".parse().unwrap(),
                to: vec!["b@example.org".parse().unwrap()],
            })
        };
        let settings = |to: To| ChannelSettings {
            name: "hostile".into(),
            to,
            ca_file: None,
            allow: vec![],
            concurrency: 1,
            rate: 1,
            timeout: Duration::from_secs(5),
            expires: Duration::from_secs(5),
        };
        let resolve = hostile();
        for host in hosts {
            for to in [webhook(host), email(host)] {
                let receiver = Receiver::new(&settings(to), resolve.clone()).unwrap();
                let said = receiver.tell(("t", "m"), &json!({"message": "m"}), 0).await;
                // Not an address at all on some systems: then nothing is resolved, and nothing sent.
                let spelled = host.parse::<std::net::Ipv4Addr>().is_err() && !host.starts_with('[');
                let refused = matches!(&said, Said::Never(why) if why.contains("own network"));
                let unresolved = spelled && matches!(&said, Said::Again { .. });
                assert!(refused || unresolved, "{host}: {said:?}");
            }
        }
        let nothing = tokio::time::timeout(Duration::from_millis(50), listener.accept()).await;
        assert!(nothing.is_err(), "a connection was made");
    }

    /// Goal: what is allowed is an address and not a name: the name of an allowed receiver that
    /// resolves to another address of this machine, beside it or the next time, leads nowhere.
    /// Method: two listeners; the allowed one hears once and closes, the other one must not be asked.
    #[tokio::test]
    async fn a_name_that_is_bound_again() {
        use std::io::{Read, Write};
        let allowed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        other.set_nonblocking(true).unwrap();
        // Taken, so that nobody else is given it, and nobody listens there.
        let silent = tokio::net::TcpSocket::new_v4().unwrap();
        silent.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = |it: &std::net::TcpListener| it.local_addr().unwrap();
        let (first, second) = (address(&allowed), address(&other));
        let nobody = silent.local_addr().unwrap();
        // Of this name: the allowed one and the other; the other alone; one where nobody listens,
        // though it is allowed, and the other.
        let answers = [vec![first, second], vec![second], vec![nobody, second]];
        let answers = std::sync::Mutex::new(answers.into_iter());
        let resolve: Resolve = std::sync::Arc::new(move |_, _| {
            let found = answers.lock().unwrap().next().expect("asked three times");
            Box::pin(async move { Ok(found) })
        });
        let settings = ChannelSettings {
            name: "rebound".into(),
            to: To::Webhook {
                url: "http://receiver.test/hook".into(),
                secret: Password::Variable(
                    "S".into(),
                    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into(),
                ),
            },
            ca_file: None,
            allow: vec![first.to_string(), nobody.to_string()],
            concurrency: 1,
            rate: 1,
            timeout: Duration::from_secs(60),
            expires: Duration::from_secs(60),
        };
        let heard = std::thread::spawn(move || {
            let (mut stream, _) = allowed.accept().unwrap();
            let mut request = [0; 4_096];
            assert!(stream.read(&mut request).unwrap() > 0);
            stream.write_all(b"HTTP/1.1 503 So\r\nconnection: close\r\n\r\n").unwrap();
            allowed
        });
        let receiver = Receiver::new(&settings, resolve).unwrap();
        let row = json!({"message": "m"});
        let said = receiver.tell(("t", "m"), &row, 0).await;
        assert!(matches!(&said, Said::Again { why, .. } if why == "answered 503"), "{said:?}");
        let allowed = heard.join().unwrap();
        let said = receiver.tell(("t", "m"), &row, 0).await;
        assert!(matches!(&said, Said::Never(why) if why.contains("own network")), "{said:?}");
        let said = receiver.tell(("t", "m"), &row, 0).await;
        assert!(matches!(&said, Said::Again { .. }), "{said:?}");
        // Whatever was asked has been asked by now.
        allowed.set_nonblocking(true).unwrap();
        for listener in [allowed, other] {
            let why = listener.accept().expect_err("a connection too many");
            assert_eq!(why.kind(), std::io::ErrorKind::WouldBlock);
        }
    }
}
