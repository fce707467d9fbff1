//! Whose fault an answer is, by a real server: what comes back, and that it works once it is mended.

use std::time::Duration;

use millstream::config::Password;
use millstream::sinks::{Batch, Delivery, Fault};

use crate::batches::{batch, cells, def, fault, hand, mark, must, seen, sink, sink_of, there};
use crate::server::{Database, Real};

const CONFIGURATION: Option<Fault> = Some(Fault::Configuration);
const BUSY: (Option<Fault>, &str) = (None, "sinks/clickhouse-busy");
const REFUSED: (Option<Fault>, &str) = (CONFIGURATION, "sinks/clickhouse-refused");
const TABLES: (Option<Fault>, &str) = (CONFIGURATION, "sinks/clickhouse-tables");

fn some(id: &str) -> Batch {
    batch(id, false, 1, 1_000, &cells(0..100, 1))
}

/// The batch is refused while something is wrong, and goes in afterwards, once.
fn until_mended(
    database: &Database<'_>,
    expected: (Option<Fault>, &'static str),
    wrong: impl FnOnce(),
    mended: impl FnOnce(),
) {
    let sink = sink(&database.settings("writer"));
    must(&sink, &batch("first", false, 1, 900, &cells(0..10, 5)));
    wrong();
    let came = hand(&sink, &some("b"));
    assert_eq!(fault(&came), expected, "{came:?}");
    mended();
    must(&sink, &some("b"));
    must(&sink, &some("b"));
    assert_eq!(seen(database, "volume"), there(&cells(0..100, 1)));
    database.each_row_is_once();
}

/// Goal: too many parts is no fault of anybody's: later. Method: a limit that two parts reach.
#[test]
fn too_many_parts() {
    let database = Real::shared().database("parts");
    let set = |sql: &str| database.run(&format!("ALTER TABLE volume_rows {sql}"));
    let wrong = || {
        database.run("SYSTEM STOP MERGES volume_rows");
        set("MODIFY SETTING parts_to_delay_insert = 1, parts_to_throw_insert = 1");
    };
    until_mended(&database, BUSY, wrong, || {
        set("RESET SETTING parts_to_delay_insert, parts_to_throw_insert");
        database.run("SYSTEM START MERGES volume_rows");
    });
}

/// Goal: a table that would be cut into too many partitions is somebody's to set right; it has the
/// number of too many parts. Method: a table partitioned by its key.
#[test]
fn too_many_partitions() {
    let database = Real::shared().database("partitions");
    database.run("DROP TABLE volume_rows");
    let text = millstream_text("volume_rows")
        .replace("ORDER BY", "PARTITION BY cityHash64(key_text) % 4000 ORDER BY");
    database.run(&text);
    let sink = sink(&database.settings("writer"));
    let came = hand(&sink, &batch("b", false, 1, 1_000, &cells(0..3_000, 1)));
    assert_eq!(fault(&came), TABLES, "{came:?}");
}

/// The statement that makes a table.
fn millstream_text(table: &str) -> String {
    let all = schemas::clickhouse::statements(&schemas::clickhouse::of_view(def("volume")));
    all.into_iter().find(|it| it.contains(&format!("EXISTS {table} "))).unwrap()
}

/// Goal: a server that lacks memory is tried again. Method: a limit for the user that an insert
/// exceeds.
#[test]
fn memory_limit() {
    let real = Real::own("memory", &[]);
    let database = real.database("memory");
    let wrong = || database.run("ALTER USER writer SETTINGS max_memory_usage = 10000");
    until_mended(&database, BUSY, wrong, || {
        database.run("ALTER USER writer SETTINGS max_memory_usage = 0");
    });
}

/// Goal: a user who may only read is refused, and taken once he may. Method: his rights.
#[test]
fn read_only() {
    let database = Real::shared().database("readonly");
    let on = format!("{}.*", database.name);
    let wrong = || database.run(&format!("REVOKE INSERT ON {on} FROM writer"));
    until_mended(&database, REFUSED, wrong, || {
        database.run(&format!("GRANT INSERT ON {on} TO writer"));
    });
}

/// Goal: a wrong password is told as that, names no password, and is taken up again once the file is
/// right. Method: the file.
#[test]
fn a_wrong_password() {
    let database = Real::shared().database("password");
    let file = crate::wait::folder("password").join("password");
    std::fs::write(&file, "canary-4711\n").unwrap();
    let mut settings = database.settings("writer");
    settings.password = Some(Password::File(file.clone()));
    let sink = sink(&settings);
    let came = hand(&sink, &some("b"));
    assert_eq!(fault(&came), REFUSED, "{came:?}");
    let told = format!("{came:?} {settings:?}");
    assert!(!told.contains("canary"), "{told}");
    std::fs::copy(Real::shared().password("writer"), &file).unwrap();
    must(&sink, &some("b"));
    std::fs::remove_file(&file).unwrap();
    let came = hand(&sink, &some("b"));
    assert_eq!(fault(&came), REFUSED, "{came:?}");
    assert_eq!(seen(&database, "volume").len(), 100);
}

/// Goal: a database that is gone, a table that is gone, a migration that lacks: each is told, and
/// the sink goes on once it is there again. Method: dropped and made again.
#[test]
fn database_and_tables_dropped() {
    let database = Real::shared().database("dropped");
    let sink = sink(&database.settings("writer"));
    must(&sink, &some("b"));
    database.run("DROP VIEW volume");
    database.run("DROP TABLE volume_rows");
    // In the middle, without a look: the insert itself is refused.
    let came = crate::server::block_on(millstream::sinks::Sink::deliver(&sink, &some("c")));
    assert_eq!(fault(&came), TABLES, "{came:?}");
    let came = hand(&sink, &some("c"));
    assert_eq!(fault(&came), TABLES, "{came:?}");
    database.run(&format!("DROP DATABASE {} SYNC", database.name));
    let came = hand(&sink, &some("c"));
    assert_eq!(fault(&came), TABLES, "{came:?}");
    database.migrate();
    // Made anew, it is empty: what was durable is not there. It is not written on as if it were.
    let came = hand(&sink, &some("c"));
    assert_eq!(fault(&came), TABLES, "{came:?}");
    // The next process (or a rebuild) begins.
    let next = crate::batches::sink(&database.settings("writer"));
    must(&next, &some("c"));
    assert_eq!(seen(&database, "volume").len(), 100);
}

/// Goal: a table that somebody altered is told with the column, before a row goes in; what does not
/// matter (a column more) is no trouble. Method: altered under a sink that has looked already.
#[test]
fn a_table_altered_by_hand() {
    let database = Real::shared().database("altered");
    let sink = sink(&database.settings("writer"));
    must(&sink, &batch("b-1", false, 1, 900, &cells(0..10, 1)));
    database.run("ALTER TABLE volume_rows ADD COLUMN noted String DEFAULT 'by hand'");
    must(&sink, &batch("b-2", false, 1, 910, &cells(0..20, 2)));
    database.run("ALTER TABLE volume_rows MODIFY COLUMN n_events String");
    let at_once = crate::server::block_on(millstream::sinks::Sink::deliver(&sink, &some("b-3")));
    assert_eq!(fault(&at_once), TABLES, "{at_once:?}");
    let came = hand(&sink, &some("b-3"));
    assert_eq!(fault(&came), TABLES, "{came:?}");
    assert!(format!("{came:?}").contains("n_events: expected Int64, found String"), "{came:?}");
    database.run("ALTER TABLE volume_rows MODIFY COLUMN n_events Int64");
    must(&sink, &some("b-3"));
    database.run("ALTER TABLE volume_rows DROP COLUMN n_events");
    let came = hand(&sink, &some("b-4"));
    assert_eq!(fault(&came), TABLES, "{came:?}");
    database.run("ALTER TABLE volume_rows ADD COLUMN n_events Int64");
    database.run("ALTER TABLE volume_rows MODIFY SETTING non_replicated_deduplication_window = 0");
    let came = hand(&sink, &some("b-4"));
    assert_eq!(fault(&came), TABLES, "{came:?}");
    assert!(format!("{came:?}").contains("remembers no tokens"), "{came:?}");
    database.each_row_is_once();
}

/// Goal: of ten thousand rows one that the server refuses is found, and the others go in, once.
/// Method: a constraint; halved as the outbox does.
#[test]
fn one_row_of_ten_thousand_that_the_server_refuses() {
    let database = Real::shared().database("row");
    database.run("ALTER TABLE volume_rows ADD CONSTRAINT no CHECK n_events != 13");
    let sink = sink(&database.settings("writer"));
    let mut cells = cells(0..10_000, 1);
    cells.insert(7_777, Some(13));
    let mut pieces = vec![batch("b", false, 1, 1_000, &cells)];
    let (mut aside, mut attempts) = (Vec::new(), 0);
    while let Some(piece) = pieces.pop() {
        attempts += 1;
        match hand(&sink, &piece) {
            Delivery::Durable => {}
            came => {
                assert_eq!(fault(&came), (Some(Fault::Data), "sinks/clickhouse-row"), "{came:?}");
                match piece.halves() {
                    Some(halves) => pieces.extend(halves),
                    None => aside.push(piece.rows().next().unwrap().key.to_string()),
                }
            }
        }
    }
    assert_eq!(aside, ["m/kind.7777"]);
    println!("{attempts} inserts");
    cells.remove(&7_777);
    assert_eq!(seen(&database, "volume"), there(&cells));
    database.each_row_is_once();
}

/// Goal: a database has one writer: another deployment is refused from the beginning, an older
/// process of the same once a newer one came, before its next mark. Method: three sinks.
#[test]
fn two_processes_by_mistake() {
    const WRITER: (Option<Fault>, &str) = (CONFIGURATION, "sinks/clickhouse-writer");
    let database = Real::shared().database("writers");
    let settings = database.settings("writer");
    let [older, newer] = ["older", "newer"].map(|it| sink_of(&settings, "ours", it));
    must(&older, &some("b-1"));
    let foreign = sink_of(&settings, "theirs", "foreign");
    let came = hand(&foreign, &some("x"));
    assert_eq!(fault(&came), WRITER, "{came:?}");
    // A clock of milliseconds decides who came last.
    std::thread::park_timeout(Duration::from_millis(5));
    must(&newer, &some("b-1"));
    // The older one looks twice a second whether it still is the last.
    std::thread::park_timeout(Duration::from_millis(600));
    let came = crate::server::block_on(millstream::sinks::Sink::deliver(
        &older,
        &mark("m", 1, 1_000, 0, true),
    ));
    assert_eq!(fault(&came), WRITER, "{came:?}");
    let came = hand(&older, &some("b-2"));
    assert_eq!(fault(&came), WRITER, "{came:?}");
    must(&newer, &mark("m", 1, 1_000, 0, true));
    assert_eq!(seen(&database, "volume"), there(&cells(0..100, 1)));
    database.each_row_is_once();
}
