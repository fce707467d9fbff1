//! `data` of `record.upserted` and `record.deleted`.

use super::data::{AN_IDENTIFIER, not_ours};
use super::fields::{identifier, mistyped, required};
use super::report::{At, Stop, TOO_LARGE, Tell, problem};
use crate::events::Text;
use crate::json::{Kind, Scanner};
use crate::records::{MAX_FIELDS_BYTES, RecordDeleted, RecordUpserted};

pub(super) fn upserted<'a>(
    s: &mut Scanner<'a>,
    tell: &mut impl Tell,
) -> Result<RecordUpserted<'a>, Stop> {
    const FIELDS: &[&str] = &["table", "key", "fields", "version"];
    let (mut table, mut record, mut fields, mut version) = (None, None, None, None);
    s.object(|key, s| -> Result<(), Stop> {
        let at = At::Data(&key);
        match &*key {
            "table" => table = Some(identifier(s, tell, at)?),
            "key" => record = Some(identifier(s, tell, at)?),
            "fields" => fields = Some(object(s, tell, at)?),
            "version" => version = Some(identifier(s, tell, at)?),
            _ => not_ours(s, tell, at, &key, FIELDS)?,
        }
        Ok(())
    })?;
    Ok(RecordUpserted {
        table: required(table, tell, At::Data("table"), AN_IDENTIFIER)?,
        key: required(record, tell, At::Data("key"), AN_IDENTIFIER)?,
        fields: required(fields, tell, At::Data("fields"), "an object")?,
        version: required(version, tell, At::Data("version"), AN_IDENTIFIER)?,
    })
}

pub(super) fn deleted<'a>(
    s: &mut Scanner<'a>,
    tell: &mut impl Tell,
) -> Result<RecordDeleted<'a>, Stop> {
    const FIELDS: &[&str] = &["table", "key", "version"];
    let (mut table, mut record, mut version) = (None, None, None);
    s.object(|key, s| -> Result<(), Stop> {
        let at = At::Data(&key);
        match &*key {
            "table" => table = Some(identifier(s, tell, at)?),
            "key" => record = Some(identifier(s, tell, at)?),
            "version" => version = Some(identifier(s, tell, at)?),
            _ => not_ours(s, tell, at, &key, FIELDS)?,
        }
        Ok(())
    })?;
    Ok(RecordDeleted {
        table: required(table, tell, At::Data("table"), AN_IDENTIFIER)?,
        key: required(record, tell, At::Data("key"), AN_IDENTIFIER)?,
        version: required(version, tell, At::Data("version"), AN_IDENTIFIER)?,
    })
}

/// The text of an object whose keys are all different.
fn object<'a>(s: &mut Scanner<'a>, tell: &mut impl Tell, at: At<'_>) -> Result<Text<'a>, Stop> {
    if s.peek()? != Kind::Object {
        mistyped(s, tell, at, "an object")?;
        return Ok(Text::Borrowed("{}"));
    }
    let start = s.offset();
    s.object(|_, s| -> Result<(), Stop> {
        s.skip()?;
        Ok(())
    })?;
    let text = s.text()[start..s.offset()].trim_start();
    if text.len() > MAX_FIELDS_BYTES {
        let expected = format!("an object of at most {MAX_FIELDS_BYTES} bytes");
        tell.tell(problem(TOO_LARGE, at, expected, &format!("{} bytes", text.len())))?;
    }
    Ok(Text::Borrowed(text))
}
