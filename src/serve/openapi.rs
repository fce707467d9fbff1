//! `/openapi.json`, made from the table of routes and the catalogue of views.

use schemas::rows::{FieldDef, FieldKind, ViewDef};
use serde_json::{Map, Value, json};

use super::routes::{Class, OF_TENANT, Parameter, Place, ROUTES, Route};
use crate::config;

/// The document.
pub(super) fn document(views: &[&'static ViewDef], settings: &config::Serve) -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for route in ROUTES.iter() {
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method.to_ascii_lowercase()] = operation(route);
    }
    let mut components = Map::new();
    components.insert("AsOf".into(), as_of());
    components.insert("Problem".into(), problem());
    for view in views {
        components.insert(format!("Row_{}", view.name), row(view));
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Millstream",
            "version": env!("CARGO_PKG_VERSION"),
            "description": format!(
                "Live rows of event streams. Every answer is read at one complete epoch and says \
                 which (as_of). Bodies up to {} bytes, events up to {} bytes.",
                settings.max_body_bytes, settings.max_event_bytes,
            ),
        },
        "paths": paths,
        "components": {"schemas": components},
    })
}

fn operation(route: &Route) -> Value {
    let of_class = if route.class == Class::Tenant { OF_TENANT } else { &[] };
    let mut parameters: Vec<Value> =
        route.parameters.iter().chain(of_class).map(parameter).collect();
    if route.filters {
        parameters.push(json!({
            "name": "filters", "in": "query", "style": "form", "explode": true,
            "description": "field=value, for filterable fields of the view: rows that equal all",
            "schema": {"type": "object", "additionalProperties": {"type": "string"}},
        }));
    }
    let answers: Map<String, Value> = route
        .answers
        .iter()
        .map(|(status, words)| {
            let (kind, schema) = match status {
                // A probe is answered, not refused, when its answer is no.
                503 if route.path.starts_with("/health") => {
                    (route.answer, json!({"type": "object"}))
                }
                400.. => {
                    ("application/problem+json", json!({"$ref": "#/components/schemas/Problem"}))
                }
                _ if route.answer == "application/json" => {
                    (route.answer, json!({"type": "object"}))
                }
                _ => (route.answer, json!({"type": "string"})),
            };
            let answer = json!({"description": words, "content": {kind: {"schema": schema}}});
            (status.to_string(), answer)
        })
        .collect();
    let mut operation = json!({
        "operationId": format!("{:?}", route.endpoint),
        "summary": route.words,
        "description": match route.class {
            Class::Tenant => "Everything in the answer is the caller's tenant's.",
            Class::Process => "About the process; holds no tenant's data.",
            Class::Loopback => "From the same machine only, and not from a web page.",
        },
        "parameters": parameters,
        "responses": answers,
    });
    if !route.body.is_empty() {
        let content: Map<String, Value> =
            route.body.iter().map(|it| (it.to_string(), json!({"schema": {}}))).collect();
        operation["requestBody"] = json!({"required": true, "content": content});
    }
    operation
}

fn parameter(it: &Parameter) -> Value {
    let place = match it.place {
        Place::Path => "path",
        Place::Query => "query",
        Place::Header => "header",
    };
    json!({
        "name": it.name, "in": place, "required": it.place == Place::Path,
        "description": it.words,
        "schema": {"type": if it.number { "integer" } else { "string" }},
    })
}

fn as_of() -> Value {
    json!({
        "type": "object",
        "description": "the instant of an answer",
        "required": ["epoch", "time", "position"],
        "properties": {
            "epoch": {"type": "integer", "description": "the complete epoch, milliseconds"},
            "time": {"type": "string", "format": "date-time", "description": "the epoch's time"},
            "position": {
                "type": "integer",
                "description": "every position of the embedded log below is included",
            },
        },
    })
}

fn problem() -> Value {
    let text = |words: &str| json!({"type": "string", "description": words});
    json!({
        "type": "object",
        "required": ["type", "title", "status", "detail", "code", "effect", "fix"],
        "properties": {
            "type": text("the page that explains the code"),
            "title": text("what"),
            "status": {"type": "integer"},
            "detail": text("why: what was expected, what was found"),
            "code": text("a stable name"),
            "effect": text("what became of the data"),
            "fix": text("what to do"),
            "as_of": {"$ref": "#/components/schemas/AsOf"},
        },
    })
}

fn row(view: &ViewDef) -> Value {
    let fields: Map<String, Value> =
        view.fields.iter().map(|it| (it.name.to_string(), field(it))).collect();
    let names: Vec<&str> = view.fields.iter().map(|it| it.name).collect();
    json!({
        "type": "object", "description": view.words, "required": names, "properties": fields,
    })
}

fn field(field: &FieldDef) -> Value {
    let (kind, format) = match field.kind {
        FieldKind::Text => ("string", None),
        FieldKind::Int => ("integer", Some("int64")),
        FieldKind::Bool => ("boolean", None),
        FieldKind::Time => ("string", Some("date-time")),
        FieldKind::Money => ("object", None),
        FieldKind::Json => return json!({"description": field.words}),
    };
    let kind = if field.nullable { json!([kind, "null"]) } else { json!(kind) };
    let mut schema = json!({"type": kind, "description": field.words});
    if let Some(format) = format {
        schema["format"] = json!(format);
    }
    if field.kind == FieldKind::Money {
        schema["additionalProperties"] = json!({"type": "integer", "format": "int64"});
    }
    schema
}

/// A kind of field as the catalogue names it.
pub(super) fn kind_name(kind: FieldKind) -> &'static str {
    match kind {
        FieldKind::Text => "text",
        FieldKind::Int => "int",
        FieldKind::Bool => "bool",
        FieldKind::Time => "time",
        FieldKind::Money => "money",
        FieldKind::Json => "json",
    }
}
