//! One server and database: questions, statements, inserts.
//!
//! # Invariants
//! - Every insert has a token and the same settings, so that the server makes one block of it and
//!   knows it again ([`INSERT`]).
//! - Everything has a time-out.

use std::time::Duration;

use bytes::Bytes;
use clickhouse::{Client, Compression};
use hyper_util::client::legacy::Client as Http;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use super::coding::Layout;
use super::wire::{Connector, Ear, trusted};
use super::{faults, faults::meaning};
use crate::config::{ClickHouseSettings, Password};
use crate::sinks::Fault;

/// ClickHouse closes idle connections after some seconds (3 by default, once): we before it.
const IDLE: Duration = Duration::from_secs(2);
/// Pieces that an insert is sent in.
const PIECE_BYTES: usize = 256 << 10;

/// What every insert says. They decide how the server cuts what it is sent into blocks, and a
/// retry that was cut in another way would not be known again: they are never changed.
const INSERT: &[(&str, &str)] = &[
    ("async_insert", "0"),
    ("insert_deduplicate", "1"),
    ("deduplicate_blocks_in_dependent_materialized_views", "1"),
    ("max_insert_block_size", "1048576"),
    ("min_insert_block_size_rows", "0"),
    ("min_insert_block_size_bytes", "0"),
    ("max_partitions_per_insert_block", "1000"),
    // Rows of one key in one block stay as they are until parts are merged: reading is with FINAL, and
    // taking them together here takes as long as all the rest of an insert.
    ("optimize_on_insert", "0"),
    // Types are told: there is nothing to replace.
    ("input_format_null_as_default", "0"),
    ("wait_end_of_query", "1"),
    ("input_format_with_names_use_header", "1"),
    ("input_format_with_types_use_header", "1"),
    ("input_format_skip_unknown_fields", "0"),
];

/// Something that did not work: whose fault (none: the same later), which code, why.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// Whose fault; none: the surroundings.
    pub fault: Option<Fault>,
    /// Of the report.
    pub code: &'static str,
    /// In words.
    pub why: String,
    /// Not before, if it was said so.
    pub after: Option<Duration>,
}

impl Told {
    pub(super) fn new(fault: Option<Fault>, code: &'static str, why: String) -> Told {
        Told { fault, code, why, after: None }
    }

    /// Not as it must be.
    pub(super) fn configuration(code: &'static str, why: String) -> Told {
        Told::new(Some(Fault::Configuration), code, why)
    }
}

/// A server, a database on it, and who we are there. Cloning is cheap.
#[derive(Clone)]
pub struct Server {
    client: Client,
    database: String,
    compressed: bool,
    timeout: Duration,
    ear: Ear,
}

impl Server {
    /// Reads the password and the certificates; connects with the first question.
    pub fn connect(settings: &ClickHouseSettings) -> Result<Server, Told> {
        let refused = |why: String| Told::configuration(faults::REFUSED, why);
        let trusted = match settings.url.starts_with("https:") {
            true => Some(trusted(settings.ca_file.as_deref()).map_err(refused)?),
            false => None,
        };
        let ear = Ear::default();
        let connector = Connector::new(trusted, ear.clone()).map_err(refused)?;
        let http = Http::builder(TokioExecutor::new()).pool_idle_timeout(IDLE).build(connector);
        let mut client = Client::with_http_client(http)
            .with_url(&settings.url)
            .with_user(&settings.user)
            .with_compression(Compression::None)
            .with_product_info("millstream", env!("CARGO_PKG_VERSION"));
        if let Some(password) = &settings.password {
            client = client.with_password(read(password).map_err(refused)?);
        }
        let compressed = settings.compressed();
        let (database, timeout) = (settings.database.clone(), settings.timeout);
        Ok(Server { client, database, compressed, timeout, ear })
    }

    /// The database's name.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// A question with parameters (`{name:Type}` in it): its rows, each a JSON object.
    pub async fn rows(&self, sql: &str, params: &[(&str, &str)]) -> Result<Vec<Value>, Told> {
        let client = self.client.clone().with_database(&self.database);
        read_rows(&self.ask(&client, sql, params, "JSONEachRow").await?)
    }

    /// The rows of a question as RowBinary, in pieces: `take` says how many bytes of what it is
    /// shown it has taken, and is shown the rest again with what comes next.
    pub(super) async fn rows_as_bytes(
        &self,
        sql: &str,
        take: &mut dyn FnMut(&[u8]) -> usize,
    ) -> Result<(), Told> {
        let client = self.client.clone().with_database(&self.database);
        let mut cursor =
            client.query_raw(sql).fetch_bytes("RowBinary").map_err(|it| meaning(&it))?;
        let mut bytes = Vec::new();
        while let Some(piece) = self.within(cursor.next()).await? {
            bytes.extend_from_slice(&piece);
            let taken = take(&bytes);
            bytes.drain(..taken);
        }
        match bytes.len() {
            0 => Ok(()),
            n => {
                let why = format!("an answer that ends in the middle of a row: {n} bytes");
                Err(Told::new(None, faults::BUSY, why))
            }
        }
    }

    /// The same without the database, which may not be there yet.
    pub(super) async fn rows_of_server(&self, sql: &str) -> Result<Vec<Value>, Told> {
        read_rows(&self.ask(&self.client, sql, &[], "JSONEachRow").await?)
    }

    async fn ask(
        &self,
        client: &Client,
        sql: &str,
        params: &[(&str, &str)],
        format: &str,
    ) -> Result<Bytes, Told> {
        // Whole numbers as numbers: JSON's own readers take them.
        let mut query = client
            .query_raw(sql)
            .with_setting("output_format_json_quote_64bit_integers", "0")
            .with_setting("wait_end_of_query", "1");
        for (name, value) in params {
            query = query.with_setting(format!("param_{name}"), *value);
        }
        let asking = async {
            let mut cursor = query.fetch_bytes(format)?;
            cursor.collect().await
        };
        self.within(asking).await
    }

    /// A statement.
    pub async fn run(&self, sql: &str) -> Result<(), Told> {
        let client = self.client.clone().with_database(&self.database);
        self.within(client.query_raw(sql).execute()).await
    }

    /// A statement that does not speak of the database as one that is there.
    pub(super) async fn run_on_server(&self, sql: &str) -> Result<(), Told> {
        self.within(self.client.query_raw(sql).execute()).await
    }

    async fn within<T>(
        &self,
        asking: impl Future<Output = clickhouse::error::Result<T>>,
    ) -> Result<T, Told> {
        match tokio::time::timeout(self.timeout, asking).await {
            Ok(done) => done.map_err(|why| Told { after: self.ear.asked(), ..meaning(&why) }),
            Err(_) => Err(meaning(&clickhouse::error::Error::TimedOut)),
        }
    }

    /// Inserts what is encoded for a table, under a token.
    pub(super) async fn insert(
        &self,
        layout: &Layout,
        token: &str,
        bytes: Vec<u8>,
    ) -> Result<(), Told> {
        let heard = self.ear.heard();
        let compression = if self.compressed { Compression::Lz4 } else { Compression::None };
        let client =
            self.client.clone().with_database(&self.database).with_compression(compression);
        let mut insert = client
            .insert_formatted_with(layout.statement())
            .with_timeouts(Some(self.timeout), Some(self.timeout))
            .with_setting("insert_deduplication_token", token);
        for (name, value) in INSERT {
            insert = insert.with_setting(*name, *value);
        }
        let mut rest = Bytes::from(bytes);
        let sending = async move {
            while !rest.is_empty() {
                insert.send(rest.split_to(PIECE_BYTES.min(rest.len()))).await?;
            }
            insert.end().await
        };
        self.within(sending).await?;
        if self.ear.heard() != heard {
            let why = "the answer was 200 and carried an exception".to_string();
            return Err(Told::new(None, faults::BUSY, why));
        }
        Ok(())
    }
}

/// A JSON object a line.
fn read_rows(bytes: &[u8]) -> Result<Vec<Value>, Told> {
    let lines = bytes.split(|it| *it == b'\n').filter(|it| !it.is_empty());
    let why = |why: serde_json::Error| {
        Told::new(Some(Fault::Unknown), faults::UNKNOWN, format!("not JSON: {why}"))
    };
    lines.map(|it| serde_json::from_slice(it).map_err(why)).collect()
}

/// A password as it is now.
fn read(password: &Password) -> Result<String, String> {
    match password {
        Password::Variable(_, it) => Ok(it.clone()),
        Password::File(path) => {
            let told = |why| format!("the password's file {}: {why}", path.display());
            let text = std::fs::read_to_string(path).map_err(told)?;
            Ok(text.trim_end_matches(['\r', '\n']).to_string())
        }
    }
}
