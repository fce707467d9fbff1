//! `data` of what identifies customers, and of what was said of two of them.

use super::data::{AN_IDENTIFIER, not_ours};
use super::fields::{identifier, optional, required, text};
use super::report::{At, Stop, Tell};
use crate::events::{ByHand, Identified};
use crate::json::Scanner;

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
