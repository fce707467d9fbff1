//! `docs/sql.md`: its questions, and its tables, which are the catalogue's.

use std::fmt::Write;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/sql.md");
const BEGIN: &str =
    "<!-- written from the catalogue: MILLSTREAM_WRITE_DOCS=1 cargo test --test sql -->\n";
const END: &str = "<!-- end -->";

/// The questions in their order: title and statement.
pub(crate) fn questions() -> Vec<(String, String)> {
    let page = std::fs::read_to_string(PAGE).unwrap();
    let (_, page) = page.split_once("\n## Ten questions").unwrap();
    let questions = page.split("\n### ").skip(1).map(|it| {
        let (title, rest) = it.split_once('\n').unwrap();
        let sql = rest.split("```sql\n").nth(1).unwrap().split("```").next().unwrap();
        (title.to_string(), sql.to_string())
    });
    questions.collect()
}

/// Goal: whoever reads the page reads of the tables that there are. Method: what is made of the
/// catalogue, beside what stands in the page.
#[test]
fn the_page_has_the_catalogues_tables() {
    let mut tables = String::new();
    for view in millstream::engine::definitions() {
        let key: Vec<String> = view.key.iter().map(|it| format!("`{it}`")).collect();
        writeln!(tables, "\n### `{}`\n\n{} Key: {}.\n", view.name, view.words, key.join(", "))
            .unwrap();
        writeln!(tables, "| column | kind | null | |\n|---|---|---|---|").unwrap();
        for field in view.fields {
            let kind = match field.kind {
                schemas::rows::FieldKind::Text => "text",
                schemas::rows::FieldKind::Int => "integer",
                schemas::rows::FieldKind::Bool => "boolean",
                schemas::rows::FieldKind::Time => "time",
                schemas::rows::FieldKind::Money => "money",
                schemas::rows::FieldKind::Json => "json",
            };
            let null = if field.nullable { "yes" } else { "" };
            writeln!(tables, "| `{}` | {kind} | {null} | {} |", field.name, field.words).unwrap();
        }
    }
    tables.push('\n');
    let page = std::fs::read_to_string(PAGE).unwrap();
    let (before, rest) = page.split_once(BEGIN).expect("the mark before the tables");
    let (found, after) = rest.split_once(END).expect("the mark behind the tables");
    if std::env::var_os("MILLSTREAM_WRITE_DOCS").is_some() {
        std::fs::write(PAGE, format!("{before}{BEGIN}{tables}{END}{after}")).unwrap();
        return;
    }
    assert!(
        found == tables,
        "docs/sql.md has other tables than the catalogue; write them anew with\n\
         MILLSTREAM_WRITE_DOCS=1 cargo test --test sql"
    );
}
