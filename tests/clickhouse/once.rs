//! Each row once: the same batch in two hands, windows that are too small, halves, incarnations.

use millstream::sinks::Delivery;

use crate::batches::{batch, cells, events, hand, mark, must, seen, sink, there};
use crate::between::{Between, How};
use crate::kit::Temper;
use crate::server::Real;
use crate::story::story;
use crate::wait::seed;

/// Goal: the same batch in two hands changes nothing, in no table, also without FINAL. Method: rows,
/// changes, events and a mark, three times each, by two sinks (a process and the next).
#[test]
fn the_same_batch_in_two_hands_changes_nothing() {
    let database = Real::shared().database("hands");
    let (first, second) = (sink(&database.settings("writer")), sink(&database.settings("writer")));
    let cells = cells(0..1_000, 7);
    let all = [
        events("b-1", 1, 1_000, 0..500),
        batch("b-2", true, 1, 1_000, &cells),
        batch("b-3", false, 1, 1_000, &cells),
        mark("b-4", 1, 1_000, 0, true),
    ];
    for sink in [&first, &second, &second] {
        all.iter().for_each(|it| must(sink, it));
    }
    for (table, rows) in [("events_rows", 500), ("volume_changes", 1_000), ("volume_rows", 1_000)] {
        assert_eq!(database.number(&format!("SELECT count() FROM {table}")), rows, "{table}");
    }
    assert_eq!(seen(&database, "volume"), there(&cells));
    assert_eq!(seen(&database, "volume_now"), there(&cells));
    database.each_row_is_once();
}

/// Goal: a retry that comes after more inserts than the window remembers makes no row twice.
/// Method: a window of three, ten other inserts between a batch and its retry.
#[test]
fn a_window_of_other_inserts_between_retry_and_retry() {
    let database = Real::shared().database("window");
    for table in ["volume_rows", "volume_changes", "events_rows"] {
        database.run(&format!(
            "ALTER TABLE {table} MODIFY SETTING non_replicated_deduplication_window = 3"
        ));
    }
    let sink = sink(&database.settings("writer"));
    let old = cells(0..100, 1);
    let again = [
        events("e-old", 1, 1_000, 0..100),
        batch("c-old", true, 1, 1_000, &old),
        batch("r-old", false, 1, 1_000, &old),
    ];
    again.iter().for_each(|it| must(&sink, it));
    let mut newest = old.clone();
    for n in 1..=10 {
        let other = cells(50..150, 1 + n as i64);
        newest.extend(other.clone());
        must(&sink, &batch(&format!("c-{n}"), true, 1, 1_000 + n, &other));
        must(&sink, &batch(&format!("r-{n}"), false, 1, 1_000 + n, &other));
        must(&sink, &events(&format!("e-{n}"), 1, 1_000 + n, 100 * n..100 * n + 100));
    }
    again.iter().for_each(|it| must(&sink, it));
    must(&sink, &mark("m", 1, 2_000, 0, true));
    let twice = database.number("SELECT count() FROM volume_changes");
    assert_eq!(twice, 10 * 100 + 2 * 100, "the token is forgotten: the row's identity is the net");
    assert_eq!(seen(&database, "volume"), there(&newest));
    assert_eq!(seen(&database, "volume_now"), there(&newest));
    assert_eq!(database.number("SELECT count() FROM events"), 1_100);
    database.each_row_is_once();

    // A server that forgets at once, and says of each insert that it failed.
    let database = Real::shared().database("window_told");
    for table in database.tables() {
        database.run(&format!(
            "ALTER TABLE {table} MODIFY SETTING non_replicated_deduplication_window = 1"
        ));
    }
    story(&database, database.settings("writer"), |it| {
        it.world.stage.set(Temper::FailsAfter);
        it.send(100);
        let before = it.world.stage.attempts();
        crate::kit::until("it is tried again and again", || {
            it.send(5);
            it.mended();
            it.world.stage.attempts() > before + 20
        });
        it.world.stage.set(Temper::AsItIs);
    });
}

/// Goal: an older row never replaces a newer one, a key that is gone is gone, and comes back.
/// Method: batches in the wrong order.
#[test]
fn the_newest_row_stands_whatever_came_first() {
    let database = Real::shared().database("newest");
    let sink = sink(&database.settings("writer"));
    let mut gone = cells(0..10, 3);
    gone.extend((5..10).map(|it| (it, None)));
    must(&sink, &batch("r-2", false, 1, 2_000, &gone));
    must(&sink, &batch("r-1", false, 1, 1_000, &cells(0..20, 1)));
    must(&sink, &batch("c-1", true, 1, 1_000, &cells(0..20, 1)));
    must(&sink, &batch("c-2", true, 1, 2_000, &gone));
    must(&sink, &mark("m-1", 1, 2_000, 0, true));
    let mut expected = there(&cells(0..20, 1));
    expected.retain(|it, _| *it < 5 || *it >= 10);
    expected.extend((0..5).map(|it| (it, 3)));
    assert_eq!(seen(&database, "volume"), expected);
    assert_eq!(seen(&database, "volume_now"), expected);
    assert_eq!(seen(&database, "volume_at(epoch = 1999)"), there(&cells(0..20, 1)));
    must(&sink, &batch("r-3", false, 1, 3_000, &cells(5..10, 9)));
    must(&sink, &batch("c-3", true, 1, 3_000, &cells(5..10, 9)));
    must(&sink, &mark("m-2", 1, 3_000, 0, true));
    expected.extend((5..10).map(|it| (it, 9)));
    assert_eq!(seen(&database, "volume"), expected);
    assert_eq!(seen(&database, "volume_now"), expected);
    database.each_row_is_once();
}

/// Goal: what a later incarnation voids is in no view, at no epoch; what it did not void stays in
/// the past; merges change nothing. Method: a life that wrote on after the instant from which the
/// next one forked off; before and after the new one is whole; then everything merged.
#[test]
fn a_later_incarnation_voids_what_came_after_the_fork() {
    let database = Real::shared().database("voids");
    let sink = sink(&database.settings("writer"));
    let (before, after) = (cells(0..10, 1), cells(5..15, 2));
    for (epoch, cells) in [(1_000, &before), (2_000, &after)] {
        must(&sink, &batch(&format!("c-{epoch}"), true, 1, epoch, cells));
        must(&sink, &batch(&format!("r-{epoch}"), false, 1, epoch, cells));
        must(&sink, &mark(&format!("m-{epoch}"), 1, epoch, 0, true));
    }
    let mut then = there(&before);
    then.extend(there(&after));
    assert_eq!(seen(&database, "volume"), then);

    // Forked off at 1500: what was written for 2000 never was.
    must(&sink, &mark("m-2500", 2, 2_500, 1_500, false));
    let left: Vec<usize> = seen(&database, "volume").into_keys().collect();
    assert_eq!(left, (0..5).collect::<Vec<_>>(), "until they come again, rows above are away");
    assert_eq!(seen(&database, "volume_now"), there(&before));
    assert_eq!(seen(&database, "volume_at(epoch = 2400)"), there(&before));

    let now = cells(0..10, 3);
    must(&sink, &batch("c-2600", true, 2, 2_600, &now));
    must(&sink, &batch("r-2600", false, 2, 2_600, &now));
    must(&sink, &mark("m-2700", 2, 2_700, 1_500, true));
    for merged in [false, true] {
        if merged {
            database
                .tables()
                .iter()
                .for_each(|it| database.run(&format!("OPTIMIZE TABLE {it} FINAL")));
        }
        assert_eq!(seen(&database, "volume"), there(&now));
        assert_eq!(seen(&database, "volume_now"), there(&now));
        assert_eq!(seen(&database, "volume_at(epoch = 1200)"), there(&before));
        assert_eq!(seen(&database, "volume_at(epoch = 2550)"), there(&before));
        database.each_row_is_once();
    }
}

/// Goal: an event is one row by its identity alone, and those that a later life has voided are not
/// shown, merged or not; what is applied again in the later life is. Method: events of a life before
/// and after the instant that the next forked off from; some come again, one with another type, time and
/// month.
#[test]
fn events_that_a_later_life_voids_are_not_shown() {
    let database = Real::shared().database("events_void");
    let sink = sink(&database.settings("writer"));
    must(&sink, &events("e-1", 1, 1_000, 0..100));
    must(&sink, &events("e-2", 1, 2_000, 100..200));
    must(&sink, &mark("m-1", 1, 2_000, 0, true));
    let count = |sql: &str| database.number(&format!("SELECT count() FROM {sql}"));
    assert_eq!(count("events"), 200);

    must(&sink, &mark("m-2", 2, 2_500, 1_500, false));
    assert_eq!(count("events"), 100, "what came after the fork never was");
    let other = ("order.placed", "2026-03-01T00:00:00Z");
    must(&sink, &crate::batches::events_as("e-3", (2, 2_600), 150..160, other));
    must(&sink, &events("e-4", 2, 2_600, 160..170));
    must(&sink, &mark("m-3", 2, 2_600, 1_500, true));
    for merged in [false, true] {
        if merged {
            database.run("OPTIMIZE TABLE events_rows FINAL");
        }
        assert_eq!(count("events"), 120);
        assert_eq!(count("events WHERE type = 'order.placed'"), 10);
        assert_eq!(count("events WHERE time >= '2026-02-01 00:00:00'"), 10);
        assert_eq!(count("events WHERE id = 'e-155'"), 1);
        assert_eq!(count("events WHERE id = 'e-120'"), 0);
        assert_eq!(count("events_rows FINAL"), 200, "none is there under two keys");
        database.each_row_is_once();
    }
}

/// Goal: several views in one statement are of one instant, while marks move on. Method: two views
/// that change together, joined again and again while a writer marks instants.
#[test]
fn several_views_in_one_statement_are_of_one_instant() {
    seed();
    let database = Real::shared().database("instant");
    let sink = sink(&database.settings("writer"));
    let both = |epoch: u64, n: i64| {
        must(&sink, &batch(&format!("c-{epoch}"), true, 1, epoch, &cells(0..2, n)));
        must(&sink, &mark(&format!("m-{epoch}"), 1, epoch, 0, true));
    };
    both(1_000, 0);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| (1..=40).for_each(|n| both(1_000 + n as u64, n)));
        let mut seen = 0;
        let mut looks = 0;
        while !writer.is_finished() || looks < 5 {
            let sql = "SELECT a.n_events AS a, b.n_events AS b FROM volume_now AS a CROSS JOIN volume_now AS b \
                       WHERE a.type = 'kind.0' AND b.type = 'kind.1'";
            let rows = database.rows(sql);
            let [a, b] = ["a", "b"].map(|it| rows[0][it].as_i64().unwrap());
            assert_eq!(a, b, "two instants in one statement");
            assert!(a >= seen, "marks only move on");
            (seen, looks) = (a, looks + 1);
        }
        assert!(looks > 5);
    });
}

/// Goal: a materialized view on our tables counts an insert that is repeated once, or is told before the
/// first insert; views on views, too. Method: a sum with a table of its own and without a window, one with,
/// one on that, each beside an insert whose answer is lost.
#[test]
fn materialized_views_count_a_repeated_insert_once() {
    let database = Real::shared().database("materialized");
    let sum = "(type String, n Int64) ENGINE = SummingMergeTree ORDER BY type";
    let of = |from: &str| format!("AS SELECT type, toInt64(1) AS n FROM {from}");
    let refused = |words: &str| {
        let came = hand(&sink(&database.settings("writer")), &mark("m-0", 1, 1, 0, false));
        let told = format!("{came:?}");
        assert!(told.contains("clickhouse-tables") && told.contains(words), "{told}");
    };
    database.run(&format!(
        "CREATE MATERIALIZED VIEW own ENGINE = SummingMergeTree ORDER BY type {}",
        of("volume_rows")
    ));
    refused("inner");
    database.run("DROP TABLE own SYNC");

    database.run(&format!("CREATE TABLE counted {sum}"));
    database.run(&format!("CREATE TABLE again {sum}"));
    database
        .run(&format!("CREATE MATERIALIZED VIEW into_counted TO counted {}", of("volume_changes")));
    refused("`counted`");
    let set = |table: &str| {
        database.run(&format!(
            "ALTER TABLE {table} MODIFY SETTING non_replicated_deduplication_window = 1000"
        ));
    };
    set("counted");
    database.run(&format!("CREATE MATERIALIZED VIEW into_again TO again {}", of("counted")));
    refused("`again`");
    set("again");

    let between = Between::of(database.real.url());
    let mut settings = database.settings("writer");
    settings.url = between.url().into();
    let sink = sink(&settings);
    between.plan(&[How::ErrorAfter, How::ErrorAfter]);
    let it = batch("c-1", true, 1, 1_000, &cells(0..10, 1));
    for _ in 0..2 {
        let came = hand(&sink, &it);
        assert_ne!(came, Delivery::Durable);
    }
    must(&sink, &it);
    must(&sink, &it);
    for table in ["counted", "again"] {
        assert_eq!(database.number(&format!("SELECT sum(n) FROM {table}")), 10, "{table}");
    }
}

/// Goal: the password comes from a variable as well, and TLS is checked. Method: https with the
/// right certificate, with the system's, with none.
#[test]
fn tls_with_a_certificate_that_is_trusted() {
    let database = Real::shared().database("tls");
    let (url, ca) = Real::shared().https();
    let mut settings = database.settings("writer");
    let text = std::fs::read_to_string(Real::shared().password("writer")).unwrap();
    settings.password =
        Some(millstream::config::Password::Variable("P".into(), text.trim().into()));
    settings.url = url.into();
    settings.compress = "lz4".into();
    let it = batch("b", false, 1, 1, &cells(0..50_000, 1));
    let refused = hand(&sink(&settings), &it);
    let (fault, code) = crate::batches::fault(&refused);
    assert_eq!(code, "sinks/clickhouse-refused", "{refused:?}");
    assert_eq!(fault, Some(millstream::sinks::Fault::Configuration));
    settings.ca_file = Some(ca);
    assert_eq!(hand(&sink(&settings), &it), Delivery::Durable);
    assert_eq!(seen(&database, "volume").len(), 50_000);
}
