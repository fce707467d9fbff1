//! Tables carried forward: a migration after the first of its view.

use millstream::sinks::clickhouse::{Server, Told, migrate};
use schemas::clickhouse::{MIGRATIONS, Migration};

use crate::batches::{batch, cells, must, seen, sink, there};
use crate::server::{Database, Real, block_on};
use crate::wait::{seed, until};

/// A column more in both tables of `volume`, and in the view of the plain name.
const NOTED: Migration = (
    "9001_volume_noted",
    "-- A column more.
ALTER TABLE volume_rows ADD COLUMN IF NOT EXISTS noted String DEFAULT 'nothing' COMMENT 'What was noted.' AFTER n_events;

ALTER TABLE volume_changes ADD COLUMN IF NOT EXISTS noted String DEFAULT 'nothing' COMMENT 'What was noted.' AFTER n_events;

CREATE OR REPLACE VIEW volume AS
SELECT tenant, minute, type, n_events, noted, epoch
FROM volume_rows FINAL
WHERE is_deleted = 0
COMMENT 'With a note.';
",
);

fn with(more: Migration) -> Vec<Migration> {
    MIGRATIONS.iter().copied().chain([more]).collect()
}

fn admin(database: &Database<'_>) -> Server {
    Server::connect(&database.settings("admin")).unwrap()
}

fn plan(server: &Server, all: &[Migration]) -> Result<Vec<migrate::Step>, Told> {
    block_on(migrate::plan_of(server, all))
}

fn names(plan: &[migrate::Step]) -> Vec<&'static str> {
    plan.iter().map(|it| it.name).collect()
}

fn columns(database: &Database<'_>, table: &str) -> Vec<String> {
    let sql = format!(
        "SELECT name FROM system.columns WHERE database = currentDatabase() AND table = '{table}' ORDER BY position"
    );
    let rows = database.rows(&sql);
    rows.iter().map(|it| it["name"].as_str().unwrap().to_string()).collect()
}

/// Goal: a table is carried forward with what is in it: planned without being done, interrupted between
/// two statements and taken up again, noted once; an older build refuses the database from then on; a table
/// that is dropped is made again with all that carried it forward. Method: a migration that adds a
/// column, one of whose statements cannot be done at first.
#[test]
fn a_table_is_carried_forward() {
    let database = Real::shared().database("carried");
    let server = admin(&database);
    let writer = sink(&database.settings("writer"));
    must(&writer, &batch("b-1", false, 1, 1_000, &cells(0..100, 1)));

    let all = with(NOTED);
    let lacking = plan(&server, &all).unwrap();
    assert_eq!(names(&lacking), ["9001_volume_noted"]);
    assert_eq!(lacking[0].statements.len(), 3, "what a dry run shows");
    assert!(
        !columns(&database, "volume_rows").contains(&"noted".to_string()),
        "nothing is done yet"
    );

    // Its second statement fails: what was before it is done, and it is not whole.
    database.run("RENAME TABLE volume_changes TO away");
    let told = block_on(migrate::apply(&server, &lacking, &mut |_| {})).unwrap_err();
    assert!(told.why.contains("volume_changes"), "{}", told.why);
    assert!(columns(&database, "volume_rows").contains(&"noted".to_string()));
    database.run("RENAME TABLE away TO volume_changes");
    assert_eq!(names(&plan(&server, &all).unwrap()), ["9001_volume_noted"], "it begins again");
    block_on(migrate::apply(&server, &lacking, &mut |_| {})).unwrap();
    assert_eq!(plan(&server, &all).unwrap(), []);
    for table in ["volume_rows", "volume_changes"] {
        let columns = columns(&database, table);
        let at = |name: &str| columns.iter().position(|it| it == name);
        assert_eq!(at("noted"), at("n_events").map(|it| it + 1), "{table}: {columns:?}");
    }
    let noted = "SELECT count() FROM volume WHERE noted = 'nothing'";
    assert_eq!(database.number(noted), 100, "what was there before");
    let whole =
        "SELECT count() FROM _migrations FINAL WHERE name = '9001_volume_noted' AND is_whole";
    assert_eq!(database.number(whole), 1);
    // A writer that does not know the column goes on; a build that does not know the migration refuses.
    must(&writer, &batch("b-2", false, 1, 2_000, &cells(0..100, 2)));
    assert_eq!(seen(&database, "volume"), there(&cells(0..100, 2)));
    let told = plan(&server, MIGRATIONS).unwrap_err();
    assert!(told.why.contains("of a later version"), "{}", told.why);

    database.run("DROP TABLE volume_rows");
    let lacking = plan(&server, &all).unwrap();
    assert_eq!(names(&lacking), ["0005_volume", "9001_volume_noted"]);
    block_on(migrate::apply(&server, &lacking, &mut |_| {})).unwrap();
    assert_eq!(plan(&server, &all).unwrap(), []);
    assert!(columns(&database, "volume_rows").contains(&"noted".to_string()));
    assert_eq!(database.number(noted), 0);
    database.each_row_is_once();
}

/// Goal: a server killed in the middle of a migration takes it up again, and it is there once. Method: a
/// hundred columns, SIGKILL after some of them, again and again until it is whole.
#[test]
fn killed_in_the_middle_of_a_migration() {
    seed();
    let real = Real::own("carried_killed", &[]);
    let database = real.database("carried_killed");
    let adds = (0..100).map(|n| {
        format!(
            "ALTER TABLE volume_rows ADD COLUMN IF NOT EXISTS c{n} Int64 COMMENT 'One more.';\n"
        )
    });
    let text: &'static str = adds.collect::<String>().leak();
    let all = with(("9001_volume_many", text));
    let many = |database: &Database<'_>| {
        columns(database, "volume_rows").iter().filter(|it| it.starts_with('c')).count()
    };
    let mut interrupted = 0;
    for kill_at in [20, 60] {
        let server = admin(&database);
        std::thread::scope(|scope| {
            let killer = scope.spawn(|| {
                until("some are there", || (many(&database) >= kill_at).then_some(()));
                real.kill();
            });
            let lacking = plan(&server, &all).unwrap();
            let done = block_on(migrate::apply(&server, &lacking, &mut |_| {}));
            interrupted += usize::from(done.is_err());
            killer.join().unwrap();
        });
        real.start();
    }
    println!("{interrupted} times in the middle");
    let server = admin(&database);
    until("it is whole", || {
        let lacking = plan(&server, &all).unwrap();
        if lacking.is_empty() {
            return Some(());
        }
        assert_eq!(names(&lacking), ["9001_volume_many"]);
        block_on(migrate::apply(&server, &lacking, &mut |_| {})).ok();
        None
    });
    assert_eq!(many(&database), 100);
    let whole =
        "SELECT count() FROM _migrations FINAL WHERE name = '9001_volume_many' AND is_whole";
    assert_eq!(database.number(whole), 1);
    must(&sink(&database.settings("writer")), &batch("b", false, 1, 1_000, &cells(0..10, 1)));
    database.each_row_is_once();
}

/// Goal: all migrations together make what the catalogue says. Method: the tables and views of each view
/// against those of its generated text alone, in a database beside it.
#[test]
fn all_migrations_make_what_the_catalogue_says() {
    let database = Real::shared().database("catalogue");
    let fresh = Real::shared().database("catalogue_fresh");
    for def in millstream::engine::definitions() {
        for name in [def.name.to_string(), format!("{}_at", def.name), format!("{}_now", def.name)]
        {
            fresh.run(&format!("DROP VIEW {name}"));
        }
        for name in [format!("{}_rows", def.name), format!("{}_changes", def.name)] {
            fresh.run(&format!("DROP TABLE {name} SYNC"));
        }
        for it in schemas::clickhouse::statements(&schemas::clickhouse::of_view(def)) {
            fresh.run(&it);
        }
    }
    let shown = |of: &Database<'_>| {
        let sql = "SELECT name, create_table_query AS made FROM system.tables WHERE database = currentDatabase() ORDER BY name";
        let rows = of.rows(sql);
        rows.iter().map(|it| it.to_string().replace(&of.name, "IT")).collect::<Vec<_>>()
    };
    let (found, expected) = (shown(&database), shown(&fresh));
    assert!(expected.len() > 100);
    assert_eq!(found, expected);
}
