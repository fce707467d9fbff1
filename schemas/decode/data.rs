//! `data` by its type: one reader per type of the contract.

use super::fields::{
    country, currency, identifier, integer, mistyped, optional, required, status, text, time,
};
use super::report::{At, OUT_OF_RANGE, Stop, Tell, WRONG_SHAPE, extra, missing, problem};
use super::{identity, messages, records, system};
use crate::events::{
    CaseAssigned, CaseOpened, CaseResolved, Customer, Data, EventType, FeedbackSubmitted, Field,
    InteractionRecorded, Line, LoadMeasured, MAX_ATTRIBUTES, MAX_LINES, MAX_SKILLS, OrderPlaced,
    OrderReversed, OrderStatusChanged, Text,
};
use crate::json::{Kind, Scanner};
use crate::limits::{AMOUNT, BUCKET, LINE, LOAD, QUANTITY, RATING, SEVERITY, amount_of};

pub(super) const AN_IDENTIFIER: &str = "an identifier";

/// The value of `data`, which stands next, put in its place.
#[inline]
pub(super) fn data<'a>(
    kind: EventType,
    s: &mut Scanner<'a>,
    tell: &mut impl Tell,
    out: &mut Option<Data<'a>>,
) -> Result<(), Stop> {
    if s.peek()? != Kind::Object {
        mistyped(s, tell, At::Attribute("data"), "an object")?;
        return Err(Stop::Told);
    }
    *out = Some(match kind {
        EventType::CustomerRegistered => Data::CustomerRegistered(customer(s, tell)?.into()),
        EventType::CustomerUpdated => Data::CustomerUpdated(customer(s, tell)?.into()),
        EventType::OrderPlaced => Data::OrderPlaced(order_placed(s, tell)?),
        EventType::OrderStatusChanged => Data::OrderStatusChanged(order_status_changed(s, tell)?),
        EventType::OrderCancelled => Data::OrderCancelled(order_reversed(s, tell)?),
        EventType::OrderReturned => Data::OrderReturned(order_reversed(s, tell)?),
        EventType::FeedbackSubmitted => Data::FeedbackSubmitted(feedback_submitted(s, tell)?),
        EventType::CaseOpened => Data::CaseOpened(case_opened(s, tell)?),
        EventType::CaseAssigned => Data::CaseAssigned(case_assigned(s, tell)?),
        EventType::CaseResolved => Data::CaseResolved(case_resolved(s, tell)?),
        EventType::InteractionRecorded => Data::InteractionRecorded(interaction_recorded(s, tell)?),
        EventType::RecordUpserted => Data::RecordUpserted(records::upserted(s, tell)?),
        EventType::RecordDeleted => Data::RecordDeleted(records::deleted(s, tell)?),
        EventType::MessagePlanned => Data::MessagePlanned(messages::planned(s, tell)?.into()),
        EventType::MessageAnswered => Data::MessageAnswered(messages::answered(s, tell)?),
        EventType::MessageMarked => Data::MessageMarked(messages::marked(s, tell)?),
        EventType::LoadMeasured => Data::LoadMeasured(load_measured(s, tell)?),
        EventType::SystemMeasured => Data::SystemMeasured(system::measured(s, tell)?),
        EventType::CustomerIdentified => Data::CustomerIdentified(identity::identified(s, tell)?),
        EventType::CustomerUnlinked => Data::CustomerUnlinked(identity::identified(s, tell)?),
        EventType::CustomerLinkedByHand => Data::CustomerLinkedByHand(identity::by_hand(s, tell)?),
        EventType::CustomerSeparatedByHand => {
            Data::CustomerSeparatedByHand(identity::by_hand(s, tell)?)
        }
        EventType::CustomerErased => Data::CustomerErased(identity::erased(s, tell)?),
    });
    Ok(())
}

/// A field that is not of the type: told, and read over.
#[cold]
pub(super) fn not_ours(
    s: &mut Scanner<'_>,
    tell: &mut impl Tell,
    at: At<'_>,
    name: &str,
    fields: &[&'static str],
) -> Result<(), Stop> {
    s.skip()?;
    tell.tell(extra(at, name, fields))
}

/// What an event says about one attribute of a customer.
fn field<'a>(
    s: &mut Scanner<'a>,
    read: impl FnOnce(&mut Scanner<'a>) -> Result<Text<'a>, Stop>,
) -> Result<Field<'a>, Stop> {
    Ok(optional(s, read)?.map_or(Field::Withdrawn, Field::Is))
}

fn customer<'a>(s: &mut Scanner<'a>, tell: &mut impl Tell) -> Result<Customer<'a>, Stop> {
    const FIELDS: &[&str] = &[
        "customer",
        "name",
        "email",
        "phone",
        "tier",
        "language",
        "country",
        "time_zone",
        "attributes",
    ];
    let mut customer = None;
    let mut out = Customer::default();
    s.object(|key, s| -> Result<(), Stop> {
        let at = At::Data(&key);
        match &*key {
            "customer" => customer = Some(identifier(s, tell, at)?),
            "name" => out.name = field(s, |s| text(s, tell, at))?,
            "email" => out.email = field(s, |s| text(s, tell, at))?,
            "phone" => out.phone = field(s, |s| text(s, tell, at))?,
            "tier" => out.tier = field(s, |s| identifier(s, tell, at))?,
            "language" => out.language = field(s, |s| identifier(s, tell, at))?,
            "country" => out.country = field(s, |s| country(s, tell, at))?,
            "time_zone" => out.time_zone = field(s, |s| identifier(s, tell, at))?,
            "attributes" => {
                out.attributes = optional(s, |s| attributes(s, tell))?.unwrap_or_default();
            }
            _ => not_ours(s, tell, at, &key, FIELDS)?,
        }
        Ok(())
    })?;
    out.customer = required(customer, tell, At::Data("customer"), AN_IDENTIFIER)?;
    Ok(out)
}

type Attributes<'a> = Vec<(Text<'a>, Option<Text<'a>>)>;

fn attributes<'a>(s: &mut Scanner<'a>, tell: &mut impl Tell) -> Result<Attributes<'a>, Stop> {
    let mut out = Vec::new();
    let at = At::Data("attributes");
    if s.peek()? != Kind::Object {
        mistyped(s, tell, at, "an object of texts")?;
        return Ok(out);
    }
    s.object(|key, s| -> Result<(), Stop> {
        if !crate::limits::is_identifier(&key) {
            let expected = "names of 1 to 128 bytes without control characters";
            tell.tell(problem(super::report::IDENTIFIER, at, expected, &key))?;
        }
        let value = optional(s, |s| text(s, tell, At::Named(&key)))?;
        out.push((key, value));
        Ok(())
    })?;
    if out.len() > MAX_ATTRIBUTES {
        tell.tell(too_many(at, MAX_ATTRIBUTES, "attributes", out.len()))?;
    }
    Ok(out)
}

#[cold]
fn too_many(at: At<'_>, most: usize, what: &str, n: usize) -> crate::problem::Problem {
    problem(OUT_OF_RANGE, at, format!("at most {most} {what}"), &n.to_string())
}

fn order_placed<'a>(s: &mut Scanner<'a>, tell: &mut impl Tell) -> Result<OrderPlaced<'a>, Stop> {
    const FIELDS: &[&str] = &["order", "customer", "currency", "lines", "promised_at", "channel"];
    let (mut order, mut customer, mut money, mut items) = (None, None, None, None);
    let (mut promised_at, mut channel) = (None, None);
    s.object(|key, s| -> Result<(), Stop> {
        let at = At::Data(&key);
        match &*key {
            "order" => order = Some(identifier(s, tell, at)?),
            "customer" => customer = Some(identifier(s, tell, at)?),
            "currency" => money = Some(currency(s, tell, at)?),
            "lines" => items = Some(lines(s, tell)?),
            "promised_at" => promised_at = optional(s, |s| time(s, tell, at))?,
            "channel" => channel = optional(s, |s| identifier(s, tell, at))?,
            _ => not_ours(s, tell, at, &key, FIELDS)?,
        }
        Ok(())
    })?;
    Ok(OrderPlaced {
        order: required(order, tell, At::Data("order"), AN_IDENTIFIER)?,
        customer: required(customer, tell, At::Data("customer"), AN_IDENTIFIER)?,
        currency: required(money, tell, At::Data("currency"), "a currency")?,
        lines: required(items, tell, At::Data("lines"), "an array of 1 to 256 lines")?,
        promised_at,
        channel,
    })
}

fn lines<'a>(s: &mut Scanner<'a>, tell: &mut impl Tell) -> Result<Vec<Line<'a>>, Stop> {
    let at = At::Data("lines");
    let mut out = Vec::new();
    if s.peek()? != Kind::Array {
        mistyped(s, tell, at, "an array of 1 to 256 lines")?;
        return Ok(out);
    }
    let mut n = 0;
    s.array(|s| -> Result<(), Stop> {
        if n < MAX_LINES {
            out.push(line(n, s, tell)?);
        } else {
            s.skip()?;
        }
        n += 1;
        Ok(())
    })?;
    if !(1..=MAX_LINES).contains(&n) {
        tell.tell(problem(OUT_OF_RANGE, at, "1 to 256 lines", &n.to_string()))?;
    }
    if amount_of(&out).is_none() {
        let expected = "amounts that come to at most 10000000000000 minor units";
        tell.tell(problem(OUT_OF_RANGE, at, expected, "more"))?;
    }
    Ok(out)
}

fn line<'a>(n: usize, s: &mut Scanner<'a>, tell: &mut impl Tell) -> Result<Line<'a>, Stop> {
    const FIELDS: &[&str] =
        &["sku", "quantity", "unit_price", "ship_from", "ship_to", "carrier", "seller"];
    let (mut sku, mut quantity, mut unit_price) = (None, None, None);
    let (mut ship_from, mut ship_to, mut carrier, mut seller) = (None, None, None, None);
    if s.peek()? != Kind::Object {
        mistyped(s, tell, At::Line(n), "an object")?;
        (sku, quantity, unit_price) = (Some(Text::default()), Some(1), Some(0));
    } else {
        s.object(|key, s| -> Result<(), Stop> {
            let at = At::InLine(n, &key);
            match &*key {
                "sku" => sku = Some(identifier(s, tell, at)?),
                "quantity" => quantity = Some(integer(s, tell, at, &QUANTITY)?),
                "unit_price" => unit_price = Some(integer(s, tell, at, &AMOUNT)?),
                "ship_from" => ship_from = optional(s, |s| identifier(s, tell, at))?,
                "ship_to" => ship_to = optional(s, |s| identifier(s, tell, at))?,
                "carrier" => carrier = optional(s, |s| identifier(s, tell, at))?,
                "seller" => seller = optional(s, |s| identifier(s, tell, at))?,
                _ => not_ours(s, tell, at, &key, FIELDS)?,
            }
            Ok(())
        })?;
    }
    Ok(Line {
        sku: required(sku, tell, At::InLine(n, "sku"), AN_IDENTIFIER)?,
        quantity: required(quantity, tell, At::InLine(n, "quantity"), "an integer")?,
        unit_price: required(unit_price, tell, At::InLine(n, "unit_price"), "minor units")?,
        ship_from,
        ship_to,
        carrier,
        seller,
    })
}

fn order_status_changed<'a>(
    s: &mut Scanner<'a>,
    tell: &mut impl Tell,
) -> Result<OrderStatusChanged<'a>, Stop> {
    const FIELDS: &[&str] = &["order", "status", "line", "customer"];
    let (mut order, mut now, mut line, mut customer) = (None, None, None, None);
    s.object(|key, s| -> Result<(), Stop> {
        let at = At::Data(&key);
        match &*key {
            "order" => order = Some(identifier(s, tell, at)?),
            "status" => now = Some(status(s, tell, at)?),
            "line" => line = optional(s, |s| integer(s, tell, at, &LINE))?,
            "customer" => customer = optional(s, |s| identifier(s, tell, at))?,
            _ => not_ours(s, tell, at, &key, FIELDS)?,
        }
        Ok(())
    })?;
    Ok(OrderStatusChanged {
        order: required(order, tell, At::Data("order"), AN_IDENTIFIER)?,
        status: match now {
            Some(status) => status,
            None => {
                tell.tell(missing(WRONG_SHAPE, At::Data("status"), "a status"))?;
                crate::events::Status::Placed
            }
        },
        line: line.and_then(|it| u16::try_from(it).ok()),
        customer,
    })
}

fn order_reversed<'a>(
    s: &mut Scanner<'a>,
    tell: &mut impl Tell,
) -> Result<OrderReversed<'a>, Stop> {
    const FIELDS: &[&str] = &["order", "customer", "amount", "currency", "reason"];
    let (mut order, mut customer, mut amount, mut money, mut reason) =
        (None, None, None, None, None);
    s.object(|key, s| -> Result<(), Stop> {
        let at = At::Data(&key);
        match &*key {
            "order" => order = Some(identifier(s, tell, at)?),
            "customer" => customer = optional(s, |s| identifier(s, tell, at))?,
            "amount" => amount = optional(s, |s| integer(s, tell, at, &AMOUNT))?,
            "currency" => money = optional(s, |s| currency(s, tell, at))?,
            "reason" => reason = optional(s, |s| text(s, tell, at))?,
            _ => not_ours(s, tell, at, &key, FIELDS)?,
        }
        Ok(())
    })?;
    if amount.is_some() && money.is_none() {
        let expected = "a currency, because there is an amount";
        tell.tell(missing(WRONG_SHAPE, At::Data("currency"), expected))?;
    }
    Ok(OrderReversed {
        order: required(order, tell, At::Data("order"), AN_IDENTIFIER)?,
        customer,
        amount,
        currency: money,
        reason,
    })
}

fn feedback_submitted<'a>(
    s: &mut Scanner<'a>,
    tell: &mut impl Tell,
) -> Result<FeedbackSubmitted<'a>, Stop> {
    const FIELDS: &[&str] = &["customer", "order", "product", "rating", "text"];
    let (mut customer, mut order, mut product) = (None, None, None);
    let (mut rating, mut words) = (None, None);
    s.object(|key, s| -> Result<(), Stop> {
        let at = At::Data(&key);
        match &*key {
            "customer" => customer = optional(s, |s| identifier(s, tell, at))?,
            "order" => order = optional(s, |s| identifier(s, tell, at))?,
            "product" => product = optional(s, |s| identifier(s, tell, at))?,
            "rating" => rating = optional(s, |s| integer(s, tell, at, &RATING))?,
            "text" => words = optional(s, |s| text(s, tell, at))?,
            _ => not_ours(s, tell, at, &key, FIELDS)?,
        }
        Ok(())
    })?;
    if customer.is_none() && order.is_none() {
        tell.tell(missing(WRONG_SHAPE, At::Attribute("data"), "a customer or an order"))?;
    }
    if rating.is_none() && words.is_none() {
        tell.tell(missing(WRONG_SHAPE, At::Attribute("data"), "a rating or a text"))?;
    }
    let rating = rating.and_then(|it| u8::try_from(it).ok());
    Ok(FeedbackSubmitted { customer, order, product, rating, text: words })
}

fn case_opened<'a>(s: &mut Scanner<'a>, tell: &mut impl Tell) -> Result<CaseOpened<'a>, Stop> {
    const FIELDS: &[&str] = &["case", "customer", "severity", "text", "queue", "skills"];
    let (mut case, mut customer, mut severity) = (None, None, None);
    let (mut words, mut queue, mut needs) = (None, None, None);
    s.object(|key, s| -> Result<(), Stop> {
        let at = At::Data(&key);
        match &*key {
            "case" => case = Some(identifier(s, tell, at)?),
            "customer" => customer = Some(identifier(s, tell, at)?),
            "severity" => severity = Some(integer(s, tell, at, &SEVERITY)?),
            "text" => words = optional(s, |s| text(s, tell, at))?,
            "queue" => queue = Some(identifier(s, tell, at)?),
            "skills" => needs = optional(s, |s| skills(s, tell))?,
            _ => not_ours(s, tell, at, &key, FIELDS)?,
        }
        Ok(())
    })?;
    let severity = required(severity, tell, At::Data("severity"), "an integer from 1 to 4")?;
    Ok(CaseOpened {
        case: required(case, tell, At::Data("case"), AN_IDENTIFIER)?,
        customer: required(customer, tell, At::Data("customer"), AN_IDENTIFIER)?,
        severity: u8::try_from(severity).unwrap_or(u8::MAX),
        text: words,
        queue: required(queue, tell, At::Data("queue"), AN_IDENTIFIER)?,
        skills: needs.unwrap_or_default(),
    })
}

fn skills<'a>(s: &mut Scanner<'a>, tell: &mut impl Tell) -> Result<Vec<Text<'a>>, Stop> {
    let at = At::Data("skills");
    let mut out = Vec::new();
    if s.peek()? != Kind::Array {
        mistyped(s, tell, at, "an array of at most 32 identifiers")?;
        return Ok(out);
    }
    s.array(|s| -> Result<(), Stop> {
        out.push(identifier(s, tell, At::Element("skills", out.len()))?);
        Ok(())
    })?;
    if out.len() > MAX_SKILLS {
        tell.tell(too_many(at, MAX_SKILLS, "skills", out.len()))?;
    }
    Ok(out)
}

fn case_assigned<'a>(s: &mut Scanner<'a>, tell: &mut impl Tell) -> Result<CaseAssigned<'a>, Stop> {
    const FIELDS: &[&str] = &["case", "agent", "queue", "customer", "until"];
    let (mut case, mut agent, mut queue, mut customer) = (None, None, None, None);
    let mut until = None;
    s.object(|key, s| -> Result<(), Stop> {
        let at = At::Data(&key);
        match &*key {
            "case" => case = Some(identifier(s, tell, at)?),
            "agent" => agent = Some(identifier(s, tell, at)?),
            "queue" => queue = optional(s, |s| identifier(s, tell, at))?,
            "customer" => customer = optional(s, |s| identifier(s, tell, at))?,
            "until" => until = optional(s, |s| time(s, tell, at))?,
            _ => not_ours(s, tell, at, &key, FIELDS)?,
        }
        Ok(())
    })?;
    Ok(CaseAssigned {
        case: required(case, tell, At::Data("case"), AN_IDENTIFIER)?,
        agent: required(agent, tell, At::Data("agent"), AN_IDENTIFIER)?,
        queue,
        customer,
        until,
    })
}

fn case_resolved<'a>(s: &mut Scanner<'a>, tell: &mut impl Tell) -> Result<CaseResolved<'a>, Stop> {
    const FIELDS: &[&str] = &["case", "customer", "resolution"];
    let (mut case, mut customer, mut resolution) = (None, None, None);
    s.object(|key, s| -> Result<(), Stop> {
        let at = At::Data(&key);
        match &*key {
            "case" => case = Some(identifier(s, tell, at)?),
            "customer" => customer = optional(s, |s| identifier(s, tell, at))?,
            "resolution" => resolution = optional(s, |s| text(s, tell, at))?,
            _ => not_ours(s, tell, at, &key, FIELDS)?,
        }
        Ok(())
    })?;
    let case = required(case, tell, At::Data("case"), AN_IDENTIFIER)?;
    Ok(CaseResolved { case, customer, resolution })
}

fn interaction_recorded<'a>(
    s: &mut Scanner<'a>,
    tell: &mut impl Tell,
) -> Result<InteractionRecorded<'a>, Stop> {
    const FIELDS: &[&str] = &["customer", "channel", "action", "target", "text"];
    let (mut customer, mut channel, mut action) = (None, None, None);
    let (mut target, mut words) = (None, None);
    s.object(|key, s| -> Result<(), Stop> {
        let at = At::Data(&key);
        match &*key {
            "customer" => customer = Some(identifier(s, tell, at)?),
            "channel" => channel = Some(identifier(s, tell, at)?),
            "action" => action = Some(identifier(s, tell, at)?),
            "target" => target = optional(s, |s| text(s, tell, at))?,
            "text" => words = optional(s, |s| text(s, tell, at))?,
            _ => not_ours(s, tell, at, &key, FIELDS)?,
        }
        Ok(())
    })?;
    Ok(InteractionRecorded {
        customer: required(customer, tell, At::Data("customer"), AN_IDENTIFIER)?,
        channel: required(channel, tell, At::Data("channel"), AN_IDENTIFIER)?,
        action: required(action, tell, At::Data("action"), AN_IDENTIFIER)?,
        target,
        text: words,
    })
}

fn load_measured<'a>(s: &mut Scanner<'a>, tell: &mut impl Tell) -> Result<LoadMeasured<'a>, Stop> {
    const FIELDS: &[&str] = &["series", "bucket_minutes", "value"];
    let (mut series, mut bucket, mut value) = (None, None, None);
    s.object(|key, s| -> Result<(), Stop> {
        let at = At::Data(&key);
        match &*key {
            "series" => series = Some(identifier(s, tell, at)?),
            "bucket_minutes" => bucket = Some(integer(s, tell, at, &BUCKET)?),
            "value" => value = Some(integer(s, tell, at, &LOAD)?),
            _ => not_ours(s, tell, at, &key, FIELDS)?,
        }
        Ok(())
    })?;
    let expected = "an integer from 1 to 1440";
    let bucket = required(bucket, tell, At::Data("bucket_minutes"), expected)?;
    Ok(LoadMeasured {
        series: required(series, tell, At::Data("series"), AN_IDENTIFIER)?,
        bucket_minutes: u16::try_from(bucket).unwrap_or(u16::MAX),
        value: required(value, tell, At::Data("value"), "an integer")?,
    })
}
