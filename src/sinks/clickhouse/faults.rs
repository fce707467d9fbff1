//! What an error means: whose fault it is, and whether the same may work later.
//!
//! In: an error of the crate. Out: [`Told`].
//!
//! # Why this way
//! The crate has the server's answer as text (`Code: 241. DB::Exception: …`); its number is stable
//! over versions, its words are not, but for one number that two situations share.

use clickhouse::error::Error;

use super::server::Told;
use crate::config::ClickHouseSettings;
use crate::report::Report;
use crate::sinks::Fault;

pub(super) const UNREACHABLE: &str = "sinks/clickhouse-unreachable";
pub(super) const BUSY: &str = "sinks/clickhouse-busy";
pub(super) const REFUSED: &str = "sinks/clickhouse-refused";
pub(super) const TABLES: &str = "sinks/clickhouse-tables";
pub(super) const ROW: &str = "sinks/clickhouse-row";
pub(super) const UNKNOWN: &str = "sinks/clickhouse-unknown";
pub(super) const WRITER: &str = "sinks/clickhouse-writer";
pub(super) const MIGRATE: &str = "sinks/clickhouse-migrate";

/// Longest text of the server's that is told on.
const WORDS_MAX: usize = 600;

/// The surroundings: the same later. Numbers of ClickHouse's ErrorCodes.
const RETRY: &[u32] = &[
    3,  // unexpected end of file
    23, // cannot read from istream
    24, // cannot write to ostream
    74, 75, 76, // cannot read, write, open a file
    95, 96, // cannot read, write a socket
    101, 102, // (unexpected) packet from a client
    159, // time-out
    160, // too slow
    201, // quota exceeded
    202, // too many simultaneous queries
    203, // no free connection
    209, 210, // socket time-out, network error
    236, // aborted
    241, // memory limit
    242, // table is read-only (a replica, a disk)
    243, // not enough space
    252, // too many parts; or too many partitions, see below
    285, 286, // quorum
    319, // unknown status of an insert
    364, 373, // session is locked
    394, // query was cancelled
    425, // system error
    439, // cannot schedule a task
    473, // deadlock avoided
    606, // too many parts
    735, // query was cancelled by a client
    745, // server overloaded
    999, // keeper
    1000, 1001, // Poco, STD
];

/// Ours to set right: credentials, grants, tables, settings.
const CONFIGURATION: &[u32] = &[
    8, 10, 16, 20, // columns
    36, // bad arguments
    47, // identifier
    48, // not implemented
    53, // type mismatch
    57, // table exists
    60, 81,  // table, database
    62,  // syntax
    115, // setting
    164, // read-only
    192, 193, 194, 195, // users
    218, // table is dropped
    291, // database access denied
    352, // ambiguous column
    452, // setting constraint
    497, // access denied
    511, 512, // role, (no) access storage
    516, // authentication
];

/// Something in the rows.
const DATA: &[u32] = &[
    6, 26, 27, // cannot parse
    33, // cannot read all data
    38, 41, // dates
    69, 70, 72,  // out of bounds, cannot convert, cannot parse a number
    117, // incorrect data; or another type, see below
    131, // too large a string
    321, // too large
    349, // null in an ordinary column
    395, // throwIf of a view
    407, // decimal overflow
    469, // a constraint of the table
    691, // no element of the enum
];

/// What an error of the crate means.
pub(super) fn meaning(error: &Error) -> Told {
    let text = full(error);
    let told = |fault, code| Told::new(fault, code, cut(&text));
    let certificate = ["certificate", "UnknownIssuer", "tls handshake"];
    match error {
        Error::BadResponse(_) => of_text(&text),
        Error::Network(_) if certificate.iter().any(|it| text.contains(it)) => {
            told(Some(Fault::Configuration), REFUSED)
        }
        Error::Network(_) | Error::TimedOut => told(None, UNREACHABLE),
        Error::SchemaMismatch(_) | Error::InvalidColumnsHeader(_) => {
            told(Some(Fault::Configuration), TABLES)
        }
        Error::InvalidParams(_) | Error::Unsupported(_) => {
            told(Some(Fault::Configuration), REFUSED)
        }
        _ => told(Some(Fault::Unknown), UNKNOWN),
    }
}

/// What a server said, or a proxy in front of it.
pub(super) fn of_text(text: &str) -> Told {
    let why = cut(text);
    let (fault, code) = match number(text) {
        Some(252) if text.contains("partitions for single INSERT") => {
            (Some(Fault::Configuration), TABLES)
        }
        // Our header names the columns' types: it speaks of the table, not of a row.
        Some(117) if text.contains("Type of") || text.contains("Unknown field") => {
            (Some(Fault::Configuration), TABLES)
        }
        Some(it @ (8 | 10 | 16 | 20 | 47 | 53 | 60 | 81 | 218)) if CONFIGURATION.contains(&it) => {
            (Some(Fault::Configuration), TABLES)
        }
        Some(it) if RETRY.contains(&it) => (None, BUSY),
        Some(it) if CONFIGURATION.contains(&it) => (Some(Fault::Configuration), REFUSED),
        Some(it) if DATA.contains(&it) => (Some(Fault::Data), ROW),
        Some(_) => (Some(Fault::Unknown), UNKNOWN),
        None => match text.split_whitespace().find_map(|it| it.parse::<u16>().ok()) {
            Some(401 | 403 | 404 | 407) => (Some(Fault::Configuration), REFUSED),
            Some(408 | 429 | 500..=599) => (None, BUSY),
            _ => (Some(Fault::Unknown), UNKNOWN),
        },
    };
    Told::new(fault, code, why)
}

/// `Code: 241. DB::Exception: …`
pub(super) fn number(text: &str) -> Option<u32> {
    let after = text.split("Code: ").nth(1)?;
    let end = after.find(|it: char| !it.is_ascii_digit()).unwrap_or(after.len());
    after[..end].parse().ok()
}

/// An error with those that caused it: the crate says "network error", the cause what it was.
fn full(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(it) = cause {
        let words = it.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = it.source();
    }
    text
}

/// On one line, and not too long.
fn cut(text: &str) -> String {
    let mut line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.len() > WORDS_MAX {
        let end = (0..=WORDS_MAX).rev().find(|it| line.is_char_boundary(*it)).unwrap_or(0);
        line.truncate(end);
        line.push('…');
    }
    line
}

impl Told {
    /// As it is told to people.
    pub fn report(&self, settings: &ClickHouseSettings) -> Report {
        let (what, fix): (&str, &str) = match self.code {
            UNREACHABLE => (
                "could not reach ClickHouse",
                "see whether it runs and what lies between; it is tried again by itself",
            ),
            BUSY => (
                "could not insert: ClickHouse did not take it now",
                "its own words are above; it is tried again by itself",
            ),
            REFUSED => (
                "cannot insert: ClickHouse refuses us",
                "correct [clickhouse] or the user's rights (schemas/clickhouse/access.sql); it is \
                 tried again by itself",
            ),
            TABLES => (
                "cannot insert: the tables are not those of this version",
                "`millstream migrate`, or undo what was altered by hand; it is tried again by itself",
            ),
            ROW => (
                "cannot insert a row: ClickHouse refuses it",
                "the row is kept; correct the table or the row, then `millstream sinks retry`",
            ),
            WRITER => (
                "cannot write into this database: it is another's",
                "stop the other process, or name another database in [clickhouse]",
            ),
            MIGRATE => (
                "cannot migrate the database",
                "see docs/clickhouse.md; nothing is changed by hand in `_migrations`",
            ),
            _ => (
                "could not insert: ClickHouse said what is not known here",
                "see docs/errors/sinks-clickhouse-unknown.md; it is tried again by itself",
            ),
        };
        Report {
            code: self.code,
            what: what.into(),
            at: vec![("server", settings.url.clone()), ("database", settings.database.clone())],
            why: self.why.clone(),
            effect: "nothing is lost: what is not there yet waits in the outbox; views are served \
                     as before"
                .into(),
            fix: fix.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: each answer is whose fault it is. Method: the words of a real server (25.8), a table.
    #[test]
    fn each_answer_is_whose_fault_it_is() {
        let check = |text: &str, fault: Option<Fault>, code: &str| {
            let told = meaning(&Error::BadResponse(text.into()));
            assert_eq!((told.fault, told.code), (fault, code), "{text}");
        };
        let configuration = Some(Fault::Configuration);
        check("Code: 252. DB::Exception: Too many parts (300 with average size …)", None, BUSY);
        check(
            "Code: 252. DB::Exception: Too many partitions for single INSERT block (more than 100)",
            configuration,
            TABLES,
        );
        check("Code: 241. DB::Exception: (total) memory limit exceeded", None, BUSY);
        check("Code: 516. DB::Exception: writer: Authentication failed", configuration, REFUSED);
        check("Code: 60. DB::Exception: Table millstream.x does not exist", configuration, TABLES);
        check(
            "Code: 164. DB::Exception: Cannot execute query in readonly mode",
            configuration,
            REFUSED,
        );
        check("Code: 117. DB::Exception: Type of 'qty' must be Int64", configuration, TABLES);
        check("Code: 469. DB::Exception: Constraint `c` is violated", Some(Fault::Data), ROW);
        check("Code: 4711. DB::Exception: of a later version", Some(Fault::Unknown), UNKNOWN);
        check("500 Internal Server Error", None, BUSY);
        check("503 Service Unavailable", None, BUSY);
        check("403 Forbidden", configuration, REFUSED);
        check("hello", Some(Fault::Unknown), UNKNOWN);
        assert_eq!(meaning(&Error::TimedOut).fault, None);
        let mismatch = meaning(&Error::SchemaMismatch("a".into()));
        assert_eq!((mismatch.fault, mismatch.code), (configuration, TABLES));
        assert!(cut(&"ü".repeat(1_000)).len() <= WORDS_MAX + 3);
    }
}
