//! `millstream schema`: what events may say, as JSON Schema.

use schemas::events::EventType;
use schemas::nearest::nearest;

use super::out::Out;
use super::typed::Schema;
use crate::report::Report;

/// Lists the types, or prints one schema.
pub fn main(what: &Schema) -> Result<(), Report> {
    let mut out = Out::default();
    match what {
        Schema::List { json: true } => {
            let names: Vec<&str> = EventType::ALL.iter().map(|it| it.as_str()).collect();
            out.line(serde_json::json!(names).to_string())?;
        }
        Schema::List { json: false } => {
            for (name, text) in schemas::published::all() {
                let words = serde_json::from_str::<serde_json::Value>(text).ok();
                let words = words.as_ref().and_then(|it| it.get("description")?.as_str());
                // One entry, one line, however its words are broken.
                let words: Vec<&str> = words.unwrap_or("").split_whitespace().collect();
                out.line(format!("{name:<24} {}", words.join(" ")).trim_end())?;
            }
        }
        Schema::Show { event_type } => {
            let all = schemas::published::all();
            let Some((_, text)) = all.iter().find(|it| it.0 == event_type) else {
                return Err(no_such_type(event_type));
            };
            out.text(text)?;
        }
    }
    out.end()
}

fn no_such_type(found: &str) -> Report {
    let names: Vec<&str> = EventType::ALL.iter().map(|it| it.as_str()).collect();
    let fix = match nearest(found, &names) {
        Some(name) => format!("perhaps `{name}` was meant; `millstream schema list` has them all"),
        None => "`millstream schema list` has them all".to_string(),
    };
    Report {
        code: "commands/no-such-type",
        what: "cannot find a type of event of this name".into(),
        at: vec![("type", found.into())],
        why: format!("expected one of {}, found {found:?}", names.join(", ")),
        effect: "nothing was read or changed".into(),
        fix,
    }
}
