//! Binary mode into structured mode: what the log keeps is always structured.

use super::envelope::is_json;
use super::report::{At, WRONG_SHAPE, problem};
use crate::json::Scanner;
use crate::problem::Problem;

/// See [`super::binary_to_structured`].
pub(super) fn structured(
    attributes: &[(&str, &str)],
    content_type: Option<&str>,
    body: &[u8],
) -> Result<Vec<u8>, Problem> {
    let mut out = Vec::with_capacity(body.len() + 256);
    let mut seen: Vec<&str> = Vec::with_capacity(attributes.len());
    for (name, value) in attributes {
        if content_type.is_some() && *name == "datacontenttype" {
            continue; // the Content-Type header says it
        }
        check_name(name, &seen)?;
        seen.push(name);
        member(&mut out, name, quoted(value).as_bytes());
    }
    if let Some(content_type) = content_type {
        if !is_json(content_type) {
            let found = format!("{content_type:?}");
            let at = At::Attribute("datacontenttype");
            return Err(problem(WRONG_SHAPE, at, "JSON, such as application/json", &found));
        }
        member(&mut out, "datacontenttype", quoted(content_type).as_bytes());
    }
    if !body.iter().all(u8::is_ascii_whitespace) {
        member(&mut out, "data", one_value(body)?.as_bytes());
    }
    if out.is_empty() {
        out.push(b'{');
    }
    out.push(b'}');
    Ok(out)
}

/// The body must be one whole JSON value, so that nothing in it can pass for an attribute.
fn one_value(body: &[u8]) -> Result<&str, Problem> {
    let read = || {
        let mut scanner = Scanner::new(body)?;
        let value = scanner.skip()?;
        scanner.finish()?;
        Ok(value)
    };
    read().map_err(|fault: crate::json::Fault| Problem {
        pointer: At::Attribute("data").to_string(),
        ..fault.problem(body)
    })
}

fn check_name(name: &str, seen: &[&str]) -> Result<(), Problem> {
    let expected = if name.is_empty()
        || !name.bytes().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit())
    {
        "attributes named by lower-case letters and digits"
    } else if name == "data" {
        "`data` as the body"
    } else if seen.contains(&name) {
        "each attribute once"
    } else {
        return Ok(());
    };
    Err(problem(WRONG_SHAPE, At::Attribute(name), expected, &format!("{name:?}")))
}

fn member(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.push(if out.is_empty() { b'{' } else { b',' });
    out.extend_from_slice(quoted(name).as_bytes());
    out.push(b':');
    out.extend_from_slice(value);
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
