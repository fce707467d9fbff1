//! A real server, by `scripts/clickhouse`: shared by the suite, or of a test's own.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use millstream::config::{ClickHouseSettings, Password};
use millstream::sinks::clickhouse::{Server, migrate};
use serde_json::Value;

use crate::wait;

/// A server that runs. One of a test's own ends with it; the shared one with the process, by its
/// `--owner`.
pub struct Real {
    folder: PathBuf,
    status: Value,
    shared: bool,
}

impl Real {
    /// The suite's server: not to be killed, paused or reset.
    pub fn shared() -> &'static Real {
        static SHARED: OnceLock<Real> = OnceLock::new();
        SHARED.get_or_init(|| Real::new("shared", &[], true))
    }

    /// A server of the test's own, with these settings (`name=value`).
    pub fn own(name: &str, settings: &[&str]) -> Real {
        Real::new(name, settings, false)
    }

    fn new(name: &str, settings: &[&str], shared: bool) -> Real {
        let folder = wait::suite_folder().join(format!("clickhouse-{name}"));
        let mut it = Real { folder, status: Value::Null, shared };
        let mut words = vec!["--port", "auto"];
        for one in settings {
            words.extend(["--setting", one]);
        }
        let owner = std::process::id().to_string();
        words.extend(["--owner", &owner]);
        // Another suite may take the ports between looking and listening: once more then.
        if !it.script("start", &words).status.success() {
            it.must("kill", &[]);
            std::fs::remove_dir_all(&it.folder).unwrap();
            it.must("start", &words);
        }
        it.status = it.status();
        it
    }

    fn script(&self, command: &str, more: &[&str]) -> Output {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut it = Command::new(root.join("scripts/clickhouse"));
        it.arg(command).arg("--dir").arg(&self.folder).args(more).stdin(Stdio::null());
        it.output().unwrap()
    }

    fn must(&self, command: &str, more: &[&str]) -> String {
        let done = self.script(command, more);
        let said = String::from_utf8_lossy(&done.stderr);
        let out = String::from_utf8_lossy(&done.stdout);
        assert!(done.status.success(), "scripts/clickhouse {command}: {said}{out}");
        out.into_owned()
    }

    /// What `status --json` says, whether it runs or not.
    pub fn status(&self) -> Value {
        let done = self.script("status", &["--json"]);
        serde_json::from_slice(&done.stdout)
            .unwrap_or_else(|why| panic!("{why}: {}", String::from_utf8_lossy(&done.stderr)))
    }

    /// By SIGKILL: as a crash. Its data stay.
    pub fn kill(&self) {
        self.not_shared();
        self.must("kill", &[]);
    }

    /// SIGSTOP: connections stay open and nothing answers.
    pub fn pause(&self) {
        self.not_shared();
        self.must("pause", &[]);
    }

    /// SIGCONT.
    pub fn go_on(&self) {
        self.must("continue", &[]);
    }

    /// In order.
    pub fn stop(&self) {
        self.not_shared();
        self.must("stop", &[]);
    }

    /// Again, with the same data and ports; returns when it answers.
    pub fn start(&self) {
        self.must("start", &["--owner", &std::process::id().to_string()]);
    }

    fn not_shared(&self) {
        assert!(!self.shared, "other tests use the shared server: start one of your own");
    }

    /// Its address.
    pub fn url(&self) -> &str {
        self.status["url"].as_str().unwrap()
    }

    /// By TLS, and the certificate that is to be trusted.
    pub fn https(&self) -> (&str, PathBuf) {
        (self.status["https"].as_str().unwrap(), self.status["ca"].as_str().unwrap().into())
    }

    /// The file with a user's password.
    pub fn password(&self, user: &str) -> PathBuf {
        self.status[format!("{user}_password_file")].as_str().unwrap().into()
    }

    /// A database of a test's own, with its tables; the writer may write there, the analyst read.
    pub fn database(&self, name: &str) -> Database<'_> {
        let database = Database { real: self, name: wait::unique(name).replace('-', "_") };
        database.migrate();
        for role in ["SELECT, INSERT, ALTER DELETE ON {} TO writer", "SELECT ON {} TO analyst"] {
            let on = format!("{}.*", database.name);
            database.run(&format!("GRANT {}", role.replace("{}", &on)));
        }
        database
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        self.script("kill", &[]);
        if std::thread::panicking() {
            println!("the server's log: {}", self.folder.join("errors.log").display());
        } else {
            std::fs::remove_dir_all(&self.folder).ok();
        }
    }
}

/// A database with its tables.
pub struct Database<'r> {
    pub real: &'r Real,
    pub name: String,
}

impl Drop for Database<'_> {
    /// The server is shared, and every table takes memory. (One of a test that failed is left to be
    /// looked at; a server that is gone takes its own with it.)
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let sql = format!("DROP DATABASE IF EXISTS {} SYNC", self.name);
        let dropped = Server::connect(&self.settings("admin")).map(|it| block_on(it.run(&sql)));
        if !matches!(dropped, Ok(Ok(_))) {
            println!("{} is left behind", self.name);
        }
    }
}

/// What waits for an answer.
pub fn block_on<T>(it: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().unwrap().block_on(it)
}

impl Database<'_> {
    /// As a user, as Millstream's settings say it.
    pub fn settings(&self, user: &str) -> ClickHouseSettings {
        ClickHouseSettings {
            url: self.real.url().into(),
            database: self.name.clone(),
            user: user.into(),
            password: Some(Password::File(self.real.password(user))),
            ..ClickHouseSettings::default()
        }
    }

    /// Its tables are made.
    pub fn migrate(&self) {
        let server = Server::connect(&self.settings("admin")).unwrap();
        block_on(async {
            let plan = migrate::plan(&server).await.unwrap();
            migrate::apply(&server, &plan, &mut |_| {}).await.unwrap();
        });
    }

    /// A statement of the administrator's.
    pub fn run(&self, sql: &str) {
        let server = Server::connect(&self.settings("admin")).unwrap();
        block_on(server.run(sql)).unwrap_or_else(|why| panic!("{sql}: {why:?}"));
    }

    /// The rows of a question, as a user.
    pub fn rows_as(&self, user: &str, sql: &str) -> Result<Vec<Value>, String> {
        let server = Server::connect(&self.settings(user)).unwrap();
        block_on(server.rows(sql, &[])).map_err(|it| it.why)
    }

    /// The rows of a question, as the administrator.
    pub fn rows(&self, sql: &str) -> Vec<Value> {
        self.rows_as("admin", sql).unwrap_or_else(|why| panic!("{sql}: {why}"))
    }

    /// The one value of a question's one row.
    pub fn number(&self, sql: &str) -> u64 {
        let rows = self.rows(sql);
        let row = rows.first().and_then(Value::as_object).unwrap_or_else(|| panic!("{sql}: none"));
        row.values().next().and_then(Value::as_u64).unwrap_or_else(|| panic!("{sql}: {row:?}"))
    }

    /// The tables that hold rows.
    pub fn tables(&self) -> Vec<String> {
        let sql = "SELECT name FROM system.tables WHERE database = currentDatabase() AND engine LIKE '%MergeTree' ORDER BY name";
        self.rows(sql).iter().map(|it| it["name"].as_str().unwrap().to_string()).collect()
    }

    /// Under FINAL each row is there once, in every table.
    pub fn each_row_is_once(&self) {
        for table in self.tables() {
            let sql = format!("SELECT count() - uniqExact(row_id) FROM {table} FINAL");
            assert_eq!(self.number(&sql), 0, "{table}: rows that are there twice");
        }
    }
}
