//! Between the first byte and the acknowledgement: a server, or a way to it, that misbehaves.

use std::time::{Duration, Instant};

use millstream::sinks::Delivery;

use crate::batches::{batch, cells, hand, mark, must, seen, sink, there};
use crate::between::{Between, How};
use crate::kit::until;
use crate::server::Real;
use crate::story::story;
use crate::wait::seed;

/// Goal: whatever happens to an insert, it is there once in the end, and nothing is taken for
/// durable that is not. Method: each misbehaviour, for rows, changes and a mark; handed over again
/// until it is durable.
#[test]
fn whatever_happens_to_an_insert_it_is_there_once() {
    use How::*;
    let all = [
        ErrorBefore,
        ErrorAfter,
        ClosedAfter,
        CutInside,
        HangAfter,
        OkWithException,
        OkWithExceptionInDrops,
        OkWithExceptionHeader,
        NotFound,
        Unavailable,
        Drops(1),
    ];
    let database = Real::shared().database("broken");
    let between = Between::of(database.real.url());
    let mut settings = database.settings("writer");
    settings.url = between.url().into();
    settings.timeout = Duration::from_secs(4);
    let sink = sink(&settings);
    let mut expected = cells(0..0, 0);
    for (n, how) in (1..).zip(all) {
        let cells = cells(n * 10..n * 10 + 50, n as i64);
        expected.extend(cells.clone());
        let epoch = 1_000 + n as u64;
        for it in [
            batch(&format!("c-{n}"), true, 1, epoch, &cells),
            batch(&format!("r-{n}"), false, 1, epoch, &cells),
            mark(&format!("m-{n}"), 1, epoch, 0, true),
        ] {
            between.plan(&[how]);
            let before = between.inserts();
            let mut attempts: u64 = 0;
            loop {
                attempts += 1;
                let began = Instant::now();
                let came = hand(&sink, &it);
                assert!(began.elapsed() < Duration::from_secs(60), "{how:?}: not bounded");
                if came == Delivery::Durable {
                    break;
                }
                assert!(attempts < 4, "{how:?}: {came:?}");
                if let Delivery::Retry { after, .. } = &came {
                    // Who says how long is believed.
                    let said = (how == Unavailable).then_some(Duration::from_secs(1));
                    assert_eq!(*after, said, "{how:?}: {came:?}");
                }
            }
            // On a machine that is busy drops may take longer than the time-out.
            let most = attempts <= 2 && (attempts == 2 || matches!(how, Drops(_)));
            assert!(most && between.inserts() - before == attempts, "{how:?}: {attempts}");
        }
        assert_eq!(seen(&database, "volume"), there(&expected), "{how:?}");
        assert_eq!(seen(&database, "volume_now"), there(&expected), "{how:?}");
    }
    database.each_row_is_once();

    let database = Real::shared().database("broken_told");
    settings.database.clone_from(&database.name);
    story(&database, settings, |it| {
        // Two of each: two inserts may be on their way at once.
        for how in all {
            between.plan(&[how, how]);
            until(&format!("{how:?} has come"), || {
                it.send(5);
                it.mended();
                between.planned() == 0
            });
        }
    });
}

/// Goal: an answer of one byte a second is given up after the time-out, and the row is there once.
#[test]
fn one_byte_a_second() {
    let database = Real::shared().database("slow");
    let between = Between::of(database.real.url());
    let mut settings = database.settings("writer");
    settings.url = between.url().into();
    settings.timeout = Duration::from_secs(2);
    let sink = sink(&settings);
    let it = batch("b", false, 1, 1_000, &cells(0..100, 1));
    must(&sink, &batch("a", false, 1, 900, &cells(0..10, 1)));
    between.plan(&[How::Drops(1_000)]);
    let began = Instant::now();
    let came = hand(&sink, &it);
    assert!(matches!(came, Delivery::Retry { .. }), "{came:?}");
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    must(&sink, &it);
    assert_eq!(database.number("SELECT count() FROM volume_rows"), 110, "no row twice, even raw");
    database.each_row_is_once();

    let database = Real::shared().database("slow_told");
    settings.database.clone_from(&database.name);
    story(&database, settings, |it| {
        between.plan(&[How::Drops(1_000)]);
        until("it was given up", || {
            it.send(5);
            it.n_again() > 0
        });
    });
}

/// Goal: a server killed in the middle of inserts loses nothing that was durable and doubles nothing
/// that was sent again. Method: inserts one after the other, SIGKILL at a random instant, five
/// times; each batch until it is durable.
#[test]
fn the_server_killed_in_the_middle_of_inserts() {
    let mut random = crate::wait::Rng(seed());
    let real = Real::own("killed", &[]);
    let database = real.database("killed");
    let mut settings = database.settings("writer");
    settings.timeout = Duration::from_secs(20);
    let sink = sink(&settings);
    let mut expected = cells(0..0, 0);
    let mut failed = 0;
    for round in 0..5_usize {
        let wait = Duration::from_millis(20 + random.below(400));
        std::thread::scope(|scope| {
            let killer = scope.spawn(|| {
                std::thread::park_timeout(wait);
                real.kill();
                real.start();
            });
            let mut n = 0;
            while !killer.is_finished() || n < 3 {
                n += 1;
                let (id, epoch) = (format!("{round}-{n}"), (round * 100_000 + n) as u64 + 1_000);
                let cells = cells(n % 7 * 1_000..n % 7 * 1_000 + 20_000, epoch as i64);
                let all = [
                    batch(&format!("c-{id}"), true, 1, epoch, &cells),
                    batch(&format!("r-{id}"), false, 1, epoch, &cells),
                ];
                for it in &all {
                    crate::wait::until("the batch is durable", || {
                        let came = hand(&sink, it);
                        failed += u64::from(came != Delivery::Durable);
                        (came == Delivery::Durable).then_some(())
                    });
                }
                expected.extend(cells);
            }
        });
        must(&sink, &mark(&format!("m-{round}"), 1, (round as u64 + 1) * 100_000, 0, true));
    }
    println!("{failed} attempts failed");
    assert!(failed > 0, "no insert was hit");
    assert_eq!(seen(&database, "volume"), there(&expected));
    assert_eq!(seen(&database, "volume_now"), there(&expected));
    database.each_row_is_once();
}

/// Goal: the same of a whole engine. Method: SIGKILL while events flow, five times.
#[test]
fn the_server_killed_in_the_middle_of_an_engines_inserts() {
    let real = Real::own("killed_told", &[]);
    let database = real.database("killed_told");
    let mut settings = database.settings("writer");
    settings.timeout = Duration::from_secs(20);
    story(&database, settings, |it| {
        for _ in 0..5 {
            std::thread::scope(|scope| {
                let killer = scope.spawn(|| real.kill());
                while !killer.is_finished() {
                    it.send(20);
                }
            });
            it.until_told("sinks/clickhouse-unreachable");
            real.start();
            until("it takes batches again", || {
                it.mended();
                it.world.state() == "closed"
            });
        }
        println!("{} inserts were made again", it.n_again());
        assert!(it.n_again() > 0);
    });
}

/// Goal: a server that stands still is given up after the time-out, and is found by itself once it
/// goes on. Method: SIGSTOP.
#[test]
fn a_server_that_stands_still() {
    let real = Real::own("paused", &[]);
    let database = real.database("paused");
    let mut settings = database.settings("writer");
    settings.timeout = Duration::from_secs(2);
    let sink = sink(&settings);
    must(&sink, &batch("a", false, 1, 900, &cells(0..10, 1)));
    real.pause();
    let it = batch("b", false, 1, 1_000, &cells(0..10, 2));
    let came = crate::server::block_on(millstream::sinks::Sink::deliver(&sink, &it));
    assert!(matches!(came, Delivery::Retry { .. }), "{came:?}");
    real.go_on();
    must(&sink, &it);
    assert_eq!(seen(&database, "volume"), there(&cells(0..10, 2)));
    database.each_row_is_once();

    let database = real.database("paused_told");
    settings.database.clone_from(&database.name);
    story(&database, settings, |it| {
        real.pause();
        it.until_told("sinks/no-answer|sinks/clickhouse-unreachable");
        real.go_on();
    });
}
