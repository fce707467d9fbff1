//! `data` of what identifies customers, of what was said of two of them, and of who is erased.

use super::data::{AN_IDENTIFIER, not_ours};
use super::fields::{identifier, mistyped, optional, required, text};
use super::report::{At, OUT_OF_RANGE, Stop, Tell, problem};
use crate::events::{ByHand, Erased, Identified, MAX_ERASED, Text};
use crate::json::{Kind, Scanner};

pub(super) fn identified<'a>(
    s: &mut Scanner<'a>,
    tell: &mut impl Tell,
) -> Result<Identified<'a>, Stop> {
    const FIELDS: &[&str] = &["customer", "kind", "value", "country"];
    let (mut customer, mut kind, mut value, mut country) = (None, None, None, None);
    s.object(|key, s| -> Result<(), Stop> {
        let at = At::Data(&key);
        match &*key {
            "customer" => customer = Some(identifier(s, tell, at)?),
            "kind" => kind = Some(identifier(s, tell, at)?),
            "value" => value = Some(identifier(s, tell, at)?),
            "country" => country = optional(s, |s| super::fields::country(s, tell, at))?,
            _ => not_ours(s, tell, at, &key, FIELDS)?,
        }
        Ok(())
    })?;
    Ok(Identified {
        customer: required(customer, tell, At::Data("customer"), AN_IDENTIFIER)?,
        kind: required(kind, tell, At::Data("kind"), AN_IDENTIFIER)?,
        value: required(value, tell, At::Data("value"), AN_IDENTIFIER)?,
        country,
    })
}

pub(super) fn by_hand<'a>(s: &mut Scanner<'a>, tell: &mut impl Tell) -> Result<ByHand<'a>, Stop> {
    const FIELDS: &[&str] = &["customer", "other", "agent", "reason"];
    let (mut customer, mut other, mut agent, mut reason) = (None, None, None, None);
    s.object(|key, s| -> Result<(), Stop> {
        let at = At::Data(&key);
        match &*key {
            "customer" => customer = Some(identifier(s, tell, at)?),
            "other" => other = Some(identifier(s, tell, at)?),
            "agent" => agent = optional(s, |s| identifier(s, tell, at))?,
            "reason" => reason = optional(s, |s| text(s, tell, at))?,
            _ => not_ours(s, tell, at, &key, FIELDS)?,
        }
        Ok(())
    })?;
    Ok(ByHand {
        customer: required(customer, tell, At::Data("customer"), AN_IDENTIFIER)?,
        other: required(other, tell, At::Data("other"), AN_IDENTIFIER)?,
        agent,
        reason,
    })
}

pub(super) fn erased<'a>(s: &mut Scanner<'a>, tell: &mut impl Tell) -> Result<Erased<'a>, Stop> {
    let mut all = None;
    s.object(|key, s| -> Result<(), Stop> {
        let at = At::Data(&key);
        match &*key {
            "customers" => all = Some(customers(s, tell)?),
            _ => not_ours(s, tell, at, &key, &["customers"])?,
        }
        Ok(())
    })?;
    let customers = required(all, tell, At::Data("customers"), SOME)?;
    Ok(Erased { customers })
}

const SOME: &str = "an array of 1 to 32 identifiers";

fn customers<'a>(s: &mut Scanner<'a>, tell: &mut impl Tell) -> Result<Vec<Text<'a>>, Stop> {
    let at = At::Data("customers");
    let mut out = Vec::new();
    if s.peek()? != Kind::Array {
        mistyped(s, tell, at, SOME)?;
        return Ok(out);
    }
    s.array(|s| -> Result<(), Stop> {
        out.push(identifier(s, tell, At::Element("customers", out.len()))?);
        Ok(())
    })?;
    if !(1..=MAX_ERASED).contains(&out.len()) {
        tell.tell(problem(OUT_OF_RANGE, at, "1 to 32 customers", &out.len().to_string()))?;
    }
    Ok(out)
}
