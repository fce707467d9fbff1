//! Do the tables of ClickHouse say what the catalogue says?
//!
//! `MILLSTREAM_BLESS=1` writes the views' files in `schemas/clickhouse/` anew.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use sha2::{Digest, Sha256};

use dataflows::catalogue::definitions;
use schemas::clickhouse::{self, CLOSED, FEW_WORDS, MIGRATIONS, RESERVED};

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/schemas/clickhouse"))
}

/// First files of views whose tables a later migration carries forward: they stay as they were released,
/// by the SHA-256 of their text.
const FROZEN: &[(&str, &str)] = &[
    ("0012_sentiment_by_day", "5a61e37b82c926cb9a15cc25039b0d6704453047bbbbfd4c67dfbd56075ed74c"),
    ("0013_model_quality", "40b2e2522db6a9027ebd20a17bff10f0e245308063f319f1fe06ec0798c56585"),
    ("0018_order_visibility", "391254d805eb76a174b720ca2ac6a11affa48a4afb7c07fd489849ab874786e1"),
    ("0019_order_exceptions", "35504ce76e71ff74641665f79ce9a306e35bbe3762fcdbde76f9eca68cbfc0b5"),
    ("0021_load_forecast", "ec9f9e2fbfbea6ba169810c282ccd33208e5a72728107cb015685996e56598b9"),
];

/// Goal: a view's file is what the catalogue says, or as it was released where a later one carries its
/// tables forward; each view has one, and all files are built in, in the order of their numbers. Method:
/// generate again, compare; list the folder.
#[test]
#[allow(clippy::disallowed_methods)]
fn the_files_are_generated() {
    let bless = std::env::var("MILLSTREAM_BLESS").is_ok();
    let mut named = BTreeSet::from(["access.sql".to_string()]);
    assert!(MIGRATIONS.is_sorted_by(|a, b| a.0[..4] < b.0[..4]), "numbers rise");
    let mut begun = BTreeSet::new();
    for (name, built_in) in MIGRATIONS {
        let file = folder().join(format!("{name}.sql"));
        named.insert(format!("{name}.sql"));
        let view = name.split_once('_').unwrap().1;
        let Some(def) = definitions().iter().find(|it| it.name == view) else {
            let of = |it: &&&str| view.strip_prefix(**it).is_some_and(|it| it.starts_with('_'));
            let carries = view == "base" || begun.iter().any(|it| of(&it));
            assert!(carries, "{name}: a migration of no view that was made before");
            assert_eq!(*built_in, std::fs::read_to_string(&file).unwrap());
            continue;
        };
        begun.insert(view);
        if let Some((_, digest)) = FROZEN.iter().find(|it| it.0 == *name) {
            let found: String =
                Sha256::digest(built_in).iter().map(|it| format!("{it:02x}")).collect();
            assert_eq!(found, *digest, "{name} was released: carry it forward by another");
            continue;
        }
        let text = clickhouse::of_view(def);
        if bless {
            std::fs::write(&file, &text).unwrap();
            continue;
        }
        let kept = std::fs::read_to_string(&file).unwrap();
        assert_eq!(kept, text, "{name}.sql is not what the catalogue says: MILLSTREAM_BLESS=1");
        assert_eq!(*built_in, kept);
    }
    let there: BTreeSet<String> = std::fs::read_dir(folder())
        .unwrap()
        .map(|it| it.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(there, named);
    assert_eq!(begun.len(), definitions().len(), "a view without its tables");
}

/// The tables and views that `text` makes and changes, each as the text that would make it at once: what a
/// server does with it, as far as our migrations go. (tests/clickhouse/carried.rs asks a server.)
fn carry(made: &mut BTreeMap<String, Vec<String>>, text: &str) {
    for statement in clickhouse::statements(text) {
        let about = clickhouse::about(&statement).unwrap().to_string();
        let Some(change) = statement.strip_prefix(&format!("ALTER TABLE {about} ")) else {
            let is_view = statement.starts_with("CREATE OR REPLACE VIEW ");
            let lines = statement.lines().map(str::to_string).collect();
            let before = made.insert(about, lines);
            assert!(before.is_none() || is_view, "a table that is there: {statement}");
            continue;
        };
        let lines = made.get_mut(&about).unwrap_or_else(|| panic!("no {about} to change"));
        let of = |lines: &[String], name: &str| {
            lines.iter().position(|it| it.trim_start().starts_with(name)).unwrap()
        };
        let name = |column: &str| column.split_inclusive('`').take(2).collect::<String>();
        if let Some(comment) = change.strip_prefix("MODIFY COMMENT ") {
            let at = of(lines, "COMMENT ");
            lines[at] = format!("COMMENT {comment}");
        } else if let Some(column) = change.strip_prefix("MODIFY COLUMN ") {
            let at = of(lines, &name(column));
            lines[at] = format!("    {column},");
        } else if let Some(column) = change.strip_prefix("ADD COLUMN IF NOT EXISTS ") {
            let (column, after) = column.rsplit_once(" AFTER ").unwrap();
            let at = of(lines, &name(after)) + 1;
            lines.insert(at, format!("    {column},"));
        } else {
            panic!("a change that this test cannot read: {statement}");
        }
    }
}

/// Goal: all files together make what the catalogue says, to the words of a column. Method: what each table
/// and view of a view comes to after all of them, against its generated text alone.
#[test]
fn the_files_together_make_what_the_catalogue_says() {
    let mut found = BTreeMap::new();
    for (_, text) in MIGRATIONS {
        carry(&mut found, text);
    }
    for def in definitions() {
        let mut expected = BTreeMap::new();
        carry(&mut expected, &clickhouse::of_view(def));
        assert!(expected.len() >= 5, "{}", def.name);
        for (name, text) in &expected {
            assert_eq!(&found[name], text, "{name}: a migration is lacking");
        }
    }
}

/// Goal: names of ours and of fields never meet; a hint is about a field that is there. Method:
/// the catalogue.
#[test]
fn names_do_not_meet_and_hints_are_about_something() {
    for def in definitions() {
        for field in def.fields {
            assert!(!RESERVED.contains(&field.name), "{}.{}", def.name, field.name);
        }
        assert!(!["events", "events_rows"].contains(&def.name), "the name of a table of ours");
    }
    let is_there = |view: &str, field: &str| {
        let mut of = definitions().iter().filter(|it| view == "*" || it.name == view);
        of.any(|it| it.position(field).is_some())
    };
    let closed = CLOSED.iter().map(|it| (it.0, it.1));
    for (view, field) in FEW_WORDS.iter().copied().chain(closed) {
        assert!(is_there(view, field), "no field {view}.{field}");
    }
}

/// Goal: statements are told apart where they end, and nowhere else.
#[test]
fn statements_are_told_apart() {
    let text = "-- one; two\nSELECT ';' AS a,\n  -- three\n  1;\n\nSELECT 2;\n";
    assert_eq!(clickhouse::statements(text), ["SELECT ';' AS a,\n  1", "SELECT 2"]);
    for (name, text) in MIGRATIONS {
        for it in clickhouse::statements(text) {
            assert!(clickhouse::about(&it).is_some(), "{name}: {it}");
            let adds = ["ADD COLUMN ", "ADD INDEX "];
            let again = adds.iter().all(|add| {
                it.matches(add).count() == it.matches(&format!("{add}IF NOT EXISTS")).count()
            });
            assert!(again, "{name}: a statement that cannot be run again: {it}");
        }
    }
}
