//! What may change in a published schema without a new version: optional fields may be added, and
//! words may be put better. Nothing else.
//!
//! # Why this way
//! The question "does every event of either side pass the other" has no simple answer for JSON
//! Schema at large. The rule of the contract is narrower and can be read off: take the words
//! away, take the new optional fields away, and what is left must be equal.

use serde_json::{Map, Value};

/// Keywords that say something to people only.
const WORDS: &[&str] =
    &["title", "description", "examples", "$comment", "default", "deprecated", "format"];

/// What in `new` is not compatible with `old`, in words; nothing if all of it is.
pub fn changes(old: &Value, new: &Value) -> Vec<String> {
    let mut found = Vec::new();
    compare("", old, new, &mut found);
    found
}

fn compare(at: &str, old: &Value, new: &Value, found: &mut Vec<String>) {
    let (Value::Object(old), Value::Object(new)) = (old, new) else {
        if old != new {
            found.push(format!("{at}: was {old}, is {new}"));
        }
        return;
    };
    for (keyword, was) in old {
        let at = format!("{at}/{keyword}");
        match new.get(keyword) {
            _ if WORDS.contains(&keyword.as_str()) => {}
            None => found.push(format!("{at}: was {was}, is gone")),
            Some(is) if keyword == "properties" => fields(&at, was, is, new, found),
            Some(is) if keyword == "$defs" => definitions(&at, was, is, found),
            Some(is) if keyword == "required" => {
                if set(was) != set(is) {
                    found.push(format!("{at}: was {was}, is {is}"));
                }
            }
            Some(is) => compare(&at, was, is, found),
        }
    }
    for (keyword, is) in new {
        if !old.contains_key(keyword) && !WORDS.contains(&keyword.as_str()) && keyword != "$defs" {
            found.push(format!("{at}/{keyword}: was not there, is {is}"));
        }
    }
}

/// Every old field is there as it was; a new one is optional.
fn fields(
    at: &str,
    old: &Value,
    new: &Value,
    around: &Map<String, Value>,
    found: &mut Vec<String>,
) {
    let required = around.get("required").map(set).unwrap_or_default();
    let none = Map::new();
    let (old, new) = (old.as_object().unwrap_or(&none), new.as_object().unwrap_or(&none));
    for (name, was) in old {
        match new.get(name) {
            Some(is) => compare(&format!("{at}/{name}"), was, is, found),
            None => found.push(format!("{at}/{name}: is gone")),
        }
    }
    for name in new.keys().filter(|it| !old.contains_key(*it)) {
        if required.contains(&Some(name.as_str())) {
            found.push(format!("{at}/{name}: is new, and required"));
        }
    }
}

/// Every old definition is there as it was; a new one is used by a new field or by none.
fn definitions(at: &str, old: &Value, new: &Value, found: &mut Vec<String>) {
    for (name, was) in old.as_object().into_iter().flatten() {
        match new.get(name) {
            Some(is) => compare(&format!("{at}/{name}"), was, is, found),
            None => found.push(format!("{at}/{name}: is gone")),
        }
    }
}

fn set(names: &Value) -> std::collections::BTreeSet<Option<&str>> {
    names.as_array().into_iter().flatten().map(Value::as_str).collect()
}

#[cfg(test)]
mod tests {
    use super::changes;
    use serde_json::{Value, json};

    /// Goal: what is compatible passes, what is not is told. Method: one schema, and one change
    /// to it at a time.
    #[test]
    fn one_change_at_a_time() {
        let schema = json!({
            "description": "An order.",
            "type": "object",
            "properties": {
                "order": {"type": "string", "maxLength": 128},
                "line": {"type": ["integer", "null"], "maximum": 256},
                "lines": {"type": "array", "items": {"$ref": "#/$defs/Line"}},
            },
            "additionalProperties": false,
            "required": ["order", "lines"],
            "$defs": {"Line": {"type": "object", "properties": {"sku": {"type": "string"}}, "required": ["sku"]}},
        });
        let check = |change: &dyn Fn(&mut Value), expected: &[&str]| {
            let mut new = schema.clone();
            change(&mut new);
            assert_eq!(changes(&schema, &new), expected);
        };
        check(&|_| {}, &[]);
        check(&|it| it["description"] = json!("Something was ordered."), &[]);
        check(&|it| it["properties"]["note"] = json!({"type": ["string", "null"]}), &[]);
        check(&|it| it["required"] = json!(["lines", "order"]), &[]);
        check(&|it| it["$defs"]["Line"]["properties"]["seller"] = json!({"type": "string"}), &[]);
        check(
            &|it| {
                it["properties"]["note"] = json!({"type": "string"});
                it["required"] = json!(["order", "lines", "note"]);
            },
            &[
                "/properties/note: is new, and required",
                "/required: was [\"order\",\"lines\"], is [\"order\",\"lines\",\"note\"]",
            ],
        );
        check(
            &|it| drop(it["properties"].as_object_mut().unwrap().remove("line")),
            &["/properties/line: is gone"],
        );
        check(
            &|it| it["properties"]["line"]["type"] = json!("integer"),
            &["/properties/line/type: was [\"integer\",\"null\"], is \"integer\""],
        );
        check(
            &|it| it["properties"]["order"]["maxLength"] = json!(64),
            &["/properties/order/maxLength: was 128, is 64"],
        );
        check(
            &|it| it["properties"]["order"]["pattern"] = json!("^O"),
            &["/properties/order/pattern: was not there, is \"^O\""],
        );
        check(
            &|it| it["required"] = json!(["order"]),
            &["/required: was [\"order\",\"lines\"], is [\"order\"]"],
        );
        check(
            &|it| it["$defs"]["Line"]["properties"]["sku"]["type"] = json!("integer"),
            &["/$defs/Line/properties/sku/type: was \"string\", is \"integer\""],
        );
        check(
            &|it| drop(it.as_object_mut().unwrap().remove("additionalProperties")),
            &["/additionalProperties: was false, is gone"],
        );
    }
}
