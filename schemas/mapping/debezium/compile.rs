//! From a mapping's text to a [`Debezium`].

use crate::limits::is_identifier;
use crate::names::DEFAULT_TENANT;

use super::{AROUND, Columns, Debezium, FORMS, Others, Table, WANTED};
use crate::mapping::fields::Work;
use crate::mapping::lookup::Lookup;
use crate::mapping::notes::{Part, Place};
use crate::mapping::program::{Constant, Source};
use crate::mapping::shape;
use crate::mapping::slots::Tree;

const FILE_KEYS: [&str; 9] = [
    "about",
    "shape",
    "record",
    "tenant",
    "source",
    "key",
    "other_tables",
    "truncations",
    "tables",
];
const TABLE_KEYS: [&str; 3] = ["key", "name", "skip"];
/// Most columns of a key: databases allow 16 to 32.
const MAX_COLUMNS: usize = 32;

/// Compiles the file; what is wrong is in the notes.
pub(in crate::mapping) fn compile<'t>(work: &mut Work<'t>, file: &Place<'t>) -> Debezium {
    work.notes.only(file, &FILE_KEYS);
    if let Some(about) = file.get("about") {
        work.notes.text(&about);
    }
    let tenant = stated(work, file, 0).unwrap_or_else(|| DEFAULT_TENANT.into());
    let source = stated(work, file, 1);
    let key = file.get("key").and_then(|it| columns(work, &it));
    let mut choose = |name: &str, words: &[&'static str]| {
        file.get(name).and_then(|it| work.notes.word(&it, words))
    };
    let others = match choose("other_tables", &["take", "skip", "reject"]) {
        Some("skip") => Others::Skip,
        Some("reject") => Others::Reject,
        _ => Others::Take,
    };
    let skips_truncations = choose("truncations", &["reject", "skip"]) == Some("skip");
    let (mut names, mut tables) = (Vec::new(), Vec::new());
    if let Some(place) = file.get("tables").and_then(|it| work.notes.table(&it)) {
        for (name, part) in place.parts() {
            names.push(&**name.get_ref());
            tables.push(table(work, &part).unwrap_or_default());
        }
    }
    let envelopes =
        FORMS.iter().flat_map(|form| WANTED.iter().map(move |it| format!("{form}{it}")));
    let tree = Tree::new(envelopes.chain(AROUND.map(String::from)).collect());
    let names = Lookup::new(names);
    Debezium { tree, tenant, source, key, names, tables, others, skips_truncations }
}

fn table<'t>(work: &mut Work<'t>, part: &Part<'t>) -> Option<Table> {
    let place = work.notes.table(part)?;
    work.notes.only(&place, &TABLE_KEYS);
    let key = place.get("key").and_then(|it| columns(work, &it));
    let skip = place.get("skip").and_then(|it| work.notes.truth(&it)) == Some(true);
    let name = place.get("name").and_then(|it| {
        let text = work.notes.text(&it)?;
        if !is_identifier(text) {
            work.notes.note(&it.at, &it.span, "expected a name of 1 to 128 bytes");
        }
        Some(Box::from(text))
    });
    if skip && place.table.len() > 1 {
        work.notes.note(&place.at, &place.span, "a table that is skipped needs no other key");
    }
    Some(Table { key, name, skip })
}

fn columns<'t>(work: &mut Work<'t>, part: &Part<'t>) -> Option<Columns> {
    let parts = work.notes.list(part);
    if parts.is_empty() || parts.len() > MAX_COLUMNS {
        let why = format!("expected 1 to {MAX_COLUMNS} columns");
        work.notes.note(&part.at, &part.span, why);
        return None;
    }
    let mut columns: Vec<Box<str>> = Vec::new();
    for part in &parts {
        let column = work.notes.text(part)?;
        if columns.iter().any(|it| **it == *column) {
            work.notes.note(&part.at, &part.span, "this column is there twice");
        }
        columns.push(column.into());
    }
    Some(columns.into())
}

/// `tenant` and `source`: the same for every record, written as in other mappings.
fn stated<'t>(work: &mut Work<'t>, file: &Place<'t>, place: usize) -> Option<Box<str>> {
    let spec = &shape::ENVELOPE[place];
    let part = file.get(spec.name)?;
    match work.field(spec, &part)?.source {
        Source::Constant(Constant::Text(text)) => Some(text),
        _ => {
            let why = "in this shape it is the same for every record: { constant = \"…\" }";
            work.notes.note(&part.at, &part.span, why);
            None
        }
    }
}
