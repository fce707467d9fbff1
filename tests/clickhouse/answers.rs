//! Whose fault an answer is, by a real server: what comes back, and that it works once it is mended.

use std::time::Duration;

use millstream::config::Password;
use millstream::sinks::{Batch, Delivery, Fault};

use crate::batches::{batch, cells, def, fault, hand, mark, must, seen, sink, sink_of, there};
use crate::kit::Temper;
use crate::server::{Database, Real};
use crate::story::story;

const CONFIGURATION: Option<Fault> = Some(Fault::Configuration);
const BUSY: (Option<Fault>, &str) = (None, "sinks/clickhouse-busy");
const REFUSED: (Option<Fault>, &str) = (CONFIGURATION, "sinks/clickhouse-refused");
const TABLES: (Option<Fault>, &str) = (CONFIGURATION, "sinks/clickhouse-tables");

fn some(id: &str) -> Batch {
    batch(id, false, 1, 1_000, &cells(0..100, 1))
}

/// What comes is refused while something is wrong, and is there afterwards, once.
fn until_mended(
    database: &Database<'_>,
    (expected, code): (Option<Fault>, &'static str),
    wrong: impl FnOnce(),
    mended: impl FnOnce(),
) {
    story(database, database.settings("writer"), |it| {
        wrong();
        it.until_told(code);
        if expected == CONFIGURATION {
            crate::kit::until("an alarm", || it.world.state() == "misconfigured");
        }
        mended();
    });
}

/// Goal: too many parts is no fault of anybody's: later. Method: a limit that two parts reach.
#[test]
fn too_many_parts() {
    let database = Real::shared().database("parts");
    let set = |sql: &str| database.run(&format!("ALTER TABLE orders_rows {sql}"));
    let wrong = || {
        database.run("SYSTEM STOP MERGES orders_rows");
        set("MODIFY SETTING parts_to_delay_insert = 1, parts_to_throw_insert = 1");
    };
    until_mended(&database, BUSY, wrong, || {
        set("RESET SETTING parts_to_delay_insert, parts_to_throw_insert");
        database.run("SYSTEM START MERGES orders_rows");
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

    let database = Real::shared().database("password_told");
    let (right, wrong) = (std::fs::read(Real::shared().password("writer")).unwrap(), "canary-4712");
    std::fs::write(&file, &right).unwrap();
    settings.database.clone_from(&database.name);
    story(&database, settings, |it| {
        std::fs::write(&file, wrong).unwrap();
        // A connection that stands is not asked for it again.
        it.world.restart();
        it.until_told("sinks/clickhouse-refused");
        assert!(!it.world.told("tested").to_string().contains("canary"));
        std::fs::write(&file, &right).unwrap();
    });
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

    // As the page says: made anew, started again, delivered anew.
    let database = Real::shared().database("dropped_told");
    story(&database, database.settings("writer"), |it| {
        database.run(&format!("DROP DATABASE {} SYNC", database.name));
        it.until_told("sinks/clickhouse-tables");
        database.migrate();
        it.send(100);
        it.mended();
        it.until_told("sinks/clickhouse-tables");
        it.world.restart();
        it.world.stage.seen.lock().again = true;
        it.world.running.as_ref().unwrap().sinks().unwrap().anew("tested").unwrap();
    });
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

    let database = Real::shared().database("altered_told");
    story(&database, database.settings("writer"), |it| {
        database.run("ALTER TABLE volume_changes MODIFY COLUMN n_events String");
        it.until_told("sinks/clickhouse-tables");
        database.run("ALTER TABLE volume_changes MODIFY COLUMN n_events Int64");
    });
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

/// Goal: the same of a whole engine: of a batch of ten thousand orders one is put aside with its report
/// and the others are there; once the table is mended that one is, too. Method: a receiver that fails
/// until all of them wait, and a constraint.
#[test]
fn one_row_of_ten_thousand_is_put_aside() {
    let database = Real::shared().database("aside_of_many");
    database.run("ALTER TABLE orders_rows ADD CONSTRAINT no CHECK key_text != 'N-7777'");
    let dir = crate::temp_dir::TempDir::new();
    let mut world = crate::kit::World::new(&dir.0, &database);
    world.streams = crate::kit::row_streams;
    (world.limits.rows, world.limits.bytes) = (100_000, 8 << 20);
    world.stage.set(Temper::FailsBefore);
    world.start();
    let order = |n: usize| {
        format!(
            r#"{{"specversion":"1.0","id":"n-{n}","source":"/test","type":"order.status_changed","time":"2026-01-01T00:00:00Z","tenant":"acme","data":{{"order":"N-{n}","customer":"C-1","status":"paid"}}}}"#
        )
    };
    // While a first batch is open nothing more is fixed: all the others wait, and are one.
    world.send_all(&[order(0)]);
    crate::kit::until("a batch is open", || world.stage.attempts() > 0);
    world.send_all(&(1..10_001).map(order).collect::<Vec<_>>());
    world.stage.set(Temper::AsItIs);
    let sinks = world.running.as_ref().unwrap().sinks().unwrap();
    sinks.resume("tested").unwrap();
    crate::kit::until("one stands aside", || world.told("tested")["aside"] == 1);
    world.equal(|key| key == "N-7777");
    let aside = sinks.aside("tested").unwrap();
    assert_eq!(
        (&aside[0]["row"]["key"], &aside[0]["report"]["code"]),
        (&"N-7777".into(), &"sinks/clickhouse-row".into())
    );
    let most = world.stage.seen.lock().attempts.iter().map(|it| it.items).max();
    println!("of a batch of {most:?} rows");
    assert!(most >= Some(10_000), "{most:?}");
    database.run("ALTER TABLE orders_rows DROP CONSTRAINT no");
    sinks.retry("tested").unwrap();
    world.equal(|_| false);
    crate::cases::settled(&world);
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
    // Who came last is told by turns, not by a clock: the server's has been set back by a year since.
    database.run(
        "ALTER TABLE _writers UPDATE claimed_at = claimed_at + INTERVAL 1 YEAR WHERE 1 SETTINGS mutations_sync = 1",
    );
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
    let last = "SELECT count() FROM _writers WHERE writer = 'newer' AND claimed_at < (SELECT max(claimed_at) FROM _writers)";
    assert_eq!(database.number(last), 1, "the clock says otherwise");
    database.each_row_is_once();
}
