//! One attempt at one message by mail: handed to a server by SMTP, and what its answer means.
//!
//! # Meaning
//! Each message is one mail to all the channel's people: all of them are named to the server before
//! the text is, and where it does not take one of them nobody is written to. A mail is a function of
//! the intent alone ([`letter`]), its `Message-ID` that of the intent, so that one that comes twice is
//! known again.
//!
//! # When it fails
//! | the server | what it means |
//! |---|---|
//! | does not take the text (5xx) | refused: this message, for good |
//! | does not take us, our password, the sender or a recipient (5xx) | the channel's fault: again, and an alarm |
//! | answers 4xx, nothing in time, breaks off, cannot be reached | again |
//! | shows a certificate that is not trusted, offers no TLS where it is asked for | the channel's fault |
//! | answers what is no SMTP | again, and an alarm |
//!
//! Recipients stand in the settings, not in a message: one that is not there is no fault of the
//! message, which waits until somebody has corrected them (docs/decisions/mail-by-stages.md).
//!
//! # State
//! Connections that are kept for the next message: as many as attempts go on at once.

mod letter;

use std::time::{Duration, Instant};

use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{
    AsyncSmtpConnection, Certificate, CertificateStore, TlsParameters,
};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::ClientId;
use parking_lot::Mutex;
use serde_json::Value;

use super::receiver::{Said, again, blamed, secret_text};
use super::wire::{Connector, NotTrusted, is_untrusted};
use crate::clock;
use crate::config::Password;
use crate::config::channels::{ChannelSettings, EmailSettings, Tls};
use crate::sinks::Fault;

/// A connection is kept so long for the next message: less than any server waits.
const IDLE: Duration = Duration::from_secs(20);
/// A connection is closed with a word where that takes no longer.
const QUIT_WITHIN: Duration = Duration::from_millis(200);

/// A receiver of mail.
pub(super) struct Email {
    settings: EmailSettings,
    connector: Connector,
    starttls: TlsParameters,
    hello: ClientId,
    timeout: Duration,
    /// Kept, and since when.
    kept: Mutex<Vec<(Instant, AsyncSmtpConnection)>>,
    kept_max: usize,
}

/// Where in the conversation we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Who is who, and TLS.
    Hello,
    /// Our password.
    Login,
    /// Who it is from.
    From,
    /// Who it is to.
    To,
    /// May the text come?
    Data,
    /// The text.
    Text,
}

/// What went wrong, and where.
type Failed = (Stage, Error);

impl Email {
    /// With the certificates as they are now; in words, why not.
    pub(super) fn new(
        it: &EmailSettings,
        settings: &ChannelSettings,
        connector: Connector,
    ) -> Result<Email, String> {
        let words = |why: Error| why.to_string();
        let mut starttls = TlsParameters::builder(it.host.clone());
        if let Some(path) = &settings.ca_file {
            let read = std::fs::read(path);
            let pem = read.map_err(|why| format!("{}: {why}", path.display()))?;
            let own = Certificate::from_pem(&pem).map_err(words)?;
            starttls = starttls.certificate_store(CertificateStore::None);
            starttls = starttls.add_root_certificate(own);
        }
        if let Some((_, password)) = &it.user {
            secret_text(password)?;
        }
        Ok(Email {
            settings: it.clone(),
            connector,
            starttls: starttls.build_rustls().map_err(words)?,
            hello: ClientId::Domain(it.from.email.domain().to_string()),
            timeout: settings.timeout,
            kept: Mutex::default(),
            kept_max: settings.concurrency,
        })
    }

    /// Where the password stands.
    pub(super) fn password(&self) -> Option<&Password> {
        self.settings.user.as_ref().map(|it| &it.1)
    }

    /// From now on nothing goes over a connection that was made with the password of before.
    pub(super) fn reload(&self) -> Result<(), String> {
        if let Some(it) = self.password() {
            secret_text(it)?;
        }
        self.kept.lock().clear();
        Ok(())
    }

    /// Hands a message over, once.
    pub(super) async fn send(&self, tenant: &str, row: &Value) -> Said {
        let text = match letter::letter((&self.settings.from, &self.settings.to), tenant, row) {
            Ok(text) => text,
            Err(why) => return Said::Refused(format!("no mail can be made of it: {why}")),
        };
        match tokio::time::timeout(self.timeout, self.attempt(&text)).await {
            Err(_) => again(format!("no answer within {:?}", self.timeout)),
            Ok(said) => said,
        }
    }

    async fn attempt(&self, text: &[u8]) -> Said {
        let mut connection = match self.connection().await {
            Ok(connection) => connection,
            Err(said) => return said,
        };
        match self.converse(&mut connection, text).await {
            Ok(()) => {
                let mut kept = self.kept.lock();
                if kept.len() < self.kept_max {
                    kept.push((clock::monotonic(), connection));
                }
                Said::Delivered
            }
            Err((stage, why)) => {
                // It is closed in any case; whether the server heard why is its own affair.
                drop(tokio::time::timeout(QUIT_WITHIN, connection.abort()).await);
                meant(stage, &why)
            }
        }
    }

    /// One that was kept and still answers, or another.
    async fn connection(&self) -> Result<AsyncSmtpConnection, Said> {
        loop {
            let Some((since, mut it)) = self.kept.lock().pop() else { break };
            if clock::since(since) < IDLE && it.test_connected().await {
                return Ok(it);
            }
        }
        let EmailSettings { host, port, tls, user, .. } = &self.settings;
        let wire = self.connector.dial(host, *port, *tls == Tls::Implicit).await;
        let wire = Box::new(wire.map_err(|why| blamed(&why))?);
        let hello = |why: Error| meant(Stage::Hello, &why);
        let made = AsyncSmtpConnection::connect_with_transport(wire, &self.hello).await;
        let mut it = made.map_err(hello)?;
        if *tls == Tls::Starttls {
            it.starttls(self.starttls.clone(), &self.hello).await.map_err(hello)?;
        }
        if let Some((user, password)) = user {
            let password = secret_text(password).map_err(Said::Never)?;
            let who = Credentials::new(user.clone(), password.trim_end().to_string());
            let login = it.auth(DEFAULT_MECHANISMS, &who).await;
            login.map_err(|why| meant(Stage::Login, &why))?;
        }
        Ok(it)
    }

    async fn converse(&self, it: &mut AsyncSmtpConnection, text: &[u8]) -> Result<(), Failed> {
        let at = |stage| move |why| (stage, why);
        let from = Some(self.settings.from.email.clone());
        it.command(Mail::new(from, vec![])).await.map_err(at(Stage::From))?;
        for to in &self.settings.to {
            let to = Rcpt::new(to.email.clone(), vec![]);
            it.command(to).await.map_err(at(Stage::To))?;
        }
        it.command(Data).await.map_err(at(Stage::Data))?;
        it.message(text).await.map_err(at(Stage::Text))?;
        Ok(())
    }
}

/// What a failure means.
fn meant(stage: Stage, why: &Error) -> Said {
    let ours = |why: String| Said::Again { after: None, blame: Some(Fault::Configuration), why };
    let mut words = String::new();
    let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(why);
    while let Some(it) = cause {
        if let Some(io) = it.downcast_ref::<std::io::Error>()
            && is_untrusted(io)
        {
            return ours(NotTrusted(io.to_string()).to_string());
        }
        words = it.to_string();
        cause = it.source();
    }
    let words = words.replace(char::is_control, " ");
    let Some(code) = why.status() else {
        return match () {
            () if why.is_client() => ours(words),
            // It was closed in the middle.
            () if why.is_response() && words != "incomplete response" => {
                let why = format!("what it answers is no SMTP: {words}");
                Said::Again { after: None, blame: Some(Fault::Unknown), why }
            }
            () => again(words),
        };
    };
    let of = match stage {
        Stage::Hello => "",
        Stage::Login => " to who we are",
        Stage::From => " to the sender",
        Stage::To => " to a recipient",
        Stage::Data | Stage::Text => " to the text",
    };
    let told = format!("answered {code}{of}: {words}");
    match () {
        () if !why.is_permanent() => again(told),
        () if stage == Stage::Text && !is_policy(&words) => Said::Refused(told),
        () => ours(told),
    }
}

/// Whether it says that it does not let us (RFC 3463, x.7.x), rather than that the text is not taken.
fn is_policy(words: &str) -> bool {
    words.starts_with("5.7.")
}
