//! The obvious decoder: serde_json, one document per type, every rule written out again.

use std::collections::BTreeMap;
use std::fmt;

use schemas::events::{self, Data, Event, EventType, Field, Status};
use schemas::names::Currency;
use schemas::published as doc;
use schemas::published::{FreeText, Identifier};
use schemas::time::parse_rfc3339;
use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

/// An object's members, each once.
struct Members(BTreeMap<String, Box<RawValue>>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each;
        impl<'de> Visitor<'de> for Each {
            type Value = Members;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = BTreeMap::new();
                while let Some((key, value)) = map.next_entry::<String, Box<RawValue>>()? {
                    if members.insert(key, value).is_some() {
                        return Err(A::Error::custom("a key twice"));
                    }
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Each)
    }
}

type Why = String;

/// One structured event; in words, why not.
pub(crate) fn structured(record: &[u8]) -> Result<Event<'static>, Why> {
    let Members(mut members) = serde_json::from_slice(record).map_err(|it| it.to_string())?;
    let mut take = |name: &str| members.remove(name);
    fn text(raw: Option<Box<RawValue>>) -> Result<Option<String>, Why> {
        let Some(raw) = raw else { return Ok(None) };
        serde_json::from_str(raw.get()).map_err(|it| it.to_string())
    }
    if text(take("specversion"))?.as_deref() != Some("1.0") {
        return Err("specversion".into());
    }
    let id = identifier(text(take("id"))?.ok_or("id")?)?;
    let source = identifier(text(take("source"))?.ok_or("source")?)?;
    let kind = text(take("type"))?.ok_or("type")?;
    let kind = EventType::ALL.into_iter().find(|it| it.as_str() == kind).ok_or("type")?;
    let time = instant(&text(take("time"))?.ok_or("time")?)?;
    let tenant = identifier(text(take("tenant"))?.unwrap_or("default".into()))?;
    let subject = text(take("subject"))?.map(identifier).transpose()?;
    if let Some(schema) = text(take("dataschema"))? {
        let last = |n: usize| schema.rsplitn(n + 1, '/').take(n).collect::<Vec<_>>();
        let file = format!("{}.json", kind.as_str());
        if last(1) != [file.as_str()] && last(2) != ["1", kind.as_str()] {
            return Err("dataschema".into());
        }
        free(&FreeText(schema))?;
    }
    if let Some(content_type) = text(take("datacontenttype"))? {
        let media = content_type.split(';').next().unwrap().trim().to_lowercase();
        let named = ["application/json", "text/json"].contains(&media.as_str());
        let suffixed = media.ends_with("+json") && media.contains('/');
        if !named && !suffixed {
            return Err("datacontenttype".into());
        }
        free(&FreeText(content_type))?;
    }
    let data = take("data").ok_or("data")?;
    for (name, value) in &members {
        let plain = |c: char| c.is_ascii_digit() || c.is_ascii_lowercase();
        if name.is_empty() || !name.chars().all(plain) {
            return Err(format!("attribute {name}"));
        }
        if value.get().starts_with(['{', '[']) {
            return Err(format!("attribute {name}"));
        }
    }
    let (data, entities) = typed(kind, data.get())?;
    if let Some(subject) = subject
        && !entities.contains(&subject)
    {
        return Err("subject".into());
    }
    Ok(Event { tenant: tenant.into(), source: source.into(), id: id.into(), time, data })
}

fn identifier(text: String) -> Result<String, Why> {
    let printable = text.chars().filter(|c| c.is_control()).count() == 0;
    if text.is_empty() || text.len() > 128 || !printable {
        Err("identifier".into())
    } else {
        Ok(text)
    }
}

fn instant(text: &str) -> Result<i64, Why> {
    let time = parse_rfc3339(text).ok_or("time")?;
    let last = parse_rfc3339("9999-12-31T23:59:59.999999Z").unwrap();
    if time < 0 || time > last { Err("time".into()) } else { Ok(time) }
}

fn free(text: &FreeText) -> Result<events::Text<'static>, Why> {
    if text.0.len() > 32_768 { Err("text".into()) } else { Ok(text.0.clone().into()) }
}

fn name(it: &Identifier) -> Result<events::Text<'static>, Why> {
    Ok(identifier(it.0.clone())?.into())
}

fn names(it: &Option<Identifier>) -> Result<Option<events::Text<'static>>, Why> {
    it.as_ref().map(name).transpose()
}

fn texts(it: &Option<FreeText>) -> Result<Option<events::Text<'static>>, Why> {
    it.as_ref().map(free).transpose()
}

fn money(code: &str) -> Result<Currency, Why> {
    let upper = code.chars().all(|it| it.is_ascii_uppercase());
    if code.len() == 3 && upper {
        Ok(Currency::parse(code).unwrap())
    } else {
        Err("currency".into())
    }
}

fn country(code: &str) -> Result<events::Text<'static>, Why> {
    let upper = code.chars().all(|it| it.is_ascii_uppercase());
    if code.len() == 2 && upper { Ok(code.to_string().into()) } else { Err("country".into()) }
}

fn between(it: i64, least: i64, most: i64) -> Result<i64, Why> {
    if it < least || it > most { Err(format!("{it} is not in {least}..={most}")) } else { Ok(it) }
}

const MOST: i64 = 10_000_000_000_000;

/// `data`, and the entities that a subject may name.
fn typed(kind: EventType, data: &str) -> Result<(Data<'static>, Vec<String>), Why> {
    fn read<'a, T: Deserialize<'a>>(data: &'a str) -> Result<T, Why> {
        serde_json::from_str(data).map_err(|it| it.to_string())
    }
    // serde would also fill a struct from an array.
    if !data.starts_with('{') {
        return Err("data".into());
    }
    Ok(match kind {
        EventType::CustomerRegistered => {
            let it: doc::CustomerUpdated = read(data)?;
            read::<doc::CustomerRegistered>(data)?;
            (Data::CustomerRegistered(customer(&it, data)?.into()), vec![it.customer.0])
        }
        EventType::CustomerUpdated => {
            let it: doc::CustomerUpdated = read(data)?;
            (Data::CustomerUpdated(customer(&it, data)?.into()), vec![it.customer.0])
        }
        EventType::OrderPlaced => {
            let it: doc::OrderPlaced = read(data)?;
            let Members(members) = read(data)?;
            let raw: Vec<Box<RawValue>> = read(members["lines"].get())?;
            if raw.iter().any(|it| !it.get().starts_with('{')) {
                return Err("lines".into());
            }
            between(it.lines.len() as i64, 1, 256)?;
            let lines: Vec<_> = it.lines.iter().map(line).collect::<Result<_, _>>()?;
            let sum = lines.iter().map(|it| i128::from(it.quantity) * i128::from(it.unit_price));
            if sum.sum::<i128>() > i128::from(MOST) {
                return Err("amount".into());
            }
            let placed = events::OrderPlaced {
                order: name(&it.order)?,
                customer: name(&it.customer)?,
                currency: money(&it.currency.0)?,
                lines,
                promised_at: it.promised_at.map(|it| instant(&it.0)).transpose()?,
                channel: names(&it.channel)?,
            };
            (Data::OrderPlaced(placed), vec![it.order.0])
        }
        EventType::OrderStatusChanged => {
            let it: doc::OrderStatusChanged = read(data)?;
            let status = Status::ALL.into_iter().find(|s| s.as_str() == it.status.0);
            let line = it.line.map(|it| between(it, 1, 256)).transpose()?;
            let changed = events::OrderStatusChanged {
                order: name(&it.order)?,
                status: status.ok_or("status")?,
                line: line.map(|it| it as u16),
                customer: names(&it.customer)?,
            };
            (Data::OrderStatusChanged(changed), vec![it.order.0])
        }
        EventType::OrderCancelled => {
            let it: doc::OrderCancelled = read(data)?;
            let order = it.order.0.clone();
            let reversed = reversed(it.order, it.customer, it.amount, it.currency, it.reason)?;
            (Data::OrderCancelled(reversed), vec![order])
        }
        EventType::OrderReturned => {
            let it: doc::OrderReturned = read(data)?;
            let order = it.order.0.clone();
            let reversed = reversed(it.order, it.customer, it.amount, it.currency, it.reason)?;
            (Data::OrderReturned(reversed), vec![order])
        }
        EventType::FeedbackSubmitted => {
            let it: doc::FeedbackSubmitted = read(data)?;
            if it.customer.is_none() && it.order.is_none() {
                return Err("about nobody".into());
            }
            if it.rating.is_none() && it.text.is_none() {
                return Err("says nothing".into());
            }
            let rating = it.rating.map(|it| between(it, 1, 5)).transpose()?;
            let feedback = events::FeedbackSubmitted {
                customer: names(&it.customer)?,
                order: names(&it.order)?,
                product: names(&it.product)?,
                rating: rating.map(|it| it as u8),
                text: texts(&it.text)?,
            };
            let about = it.customer.into_iter().chain(it.order).map(|it| it.0).collect();
            (Data::FeedbackSubmitted(feedback), about)
        }
        EventType::CaseOpened => {
            let it: doc::CaseOpened = read(data)?;
            let skills = it.skills.unwrap_or_default();
            between(skills.len() as i64, 0, 32)?;
            let opened = events::CaseOpened {
                case: name(&it.case)?,
                customer: name(&it.customer)?,
                severity: between(it.severity, 1, 4)? as u8,
                text: texts(&it.text)?,
                queue: name(&it.queue)?,
                skills: skills.iter().map(name).collect::<Result<_, _>>()?,
            };
            (Data::CaseOpened(opened), vec![it.case.0])
        }
        EventType::CaseAssigned => {
            let it: doc::CaseAssigned = read(data)?;
            let assigned = events::CaseAssigned {
                case: name(&it.case)?,
                agent: name(&it.agent)?,
                queue: names(&it.queue)?,
                customer: names(&it.customer)?,
                until: it.until.map(|it| instant(&it.0)).transpose()?,
            };
            (Data::CaseAssigned(assigned), vec![it.case.0])
        }
        EventType::CaseResolved => {
            let it: doc::CaseResolved = read(data)?;
            let resolved = events::CaseResolved {
                case: name(&it.case)?,
                customer: names(&it.customer)?,
                resolution: texts(&it.resolution)?,
            };
            (Data::CaseResolved(resolved), vec![it.case.0])
        }
        EventType::LoadMeasured => {
            let it: doc::LoadMeasured = read(data)?;
            let measured = events::LoadMeasured {
                series: name(&it.series)?,
                bucket_minutes: between(it.bucket_minutes, 1, 1_440)? as u16,
                value: between(it.value, 0, MOST)?,
            };
            (Data::LoadMeasured(measured), vec![it.series.0])
        }
        EventType::SystemMeasured => {
            let it: doc::SystemMeasured = read(data)?;
            let measured = events::SystemMeasured {
                process: name(&it.process)?,
                seconds: between(it.seconds, 1, 31_622_400)?,
                n_events: between(it.n_events, 1, MOST)?,
                busy_micros: between(it.busy_micros, 1, MOST)?,
                workers: between(it.workers, 1, 65_535)? as u16,
                processors: between(it.processors, 1, 65_535)? as u16,
            };
            (Data::SystemMeasured(measured), vec![it.process.0])
        }
        EventType::CustomerIdentified => {
            let it: doc::CustomerIdentified = read(data)?;
            let said = events::Identified {
                customer: name(&it.customer)?,
                kind: name(&it.kind)?,
                value: name(&it.value)?,
                country: it.country.map(|it| country(&it.0)).transpose()?,
            };
            (Data::CustomerIdentified(said), vec![it.customer.0])
        }
        EventType::CustomerUnlinked => {
            let it: doc::CustomerUnlinked = read(data)?;
            let said = events::Identified {
                customer: name(&it.customer)?,
                kind: name(&it.kind)?,
                value: name(&it.value)?,
                country: it.country.map(|it| country(&it.0)).transpose()?,
            };
            (Data::CustomerUnlinked(said), vec![it.customer.0])
        }
        EventType::CustomerLinkedByHand => {
            let it: doc::CustomerLinkedByHand = read(data)?;
            let said = events::ByHand {
                customer: name(&it.customer)?,
                other: name(&it.other)?,
                agent: names(&it.agent)?,
                reason: texts(&it.reason)?,
            };
            (Data::CustomerLinkedByHand(said), vec![it.customer.0])
        }
        EventType::CustomerSeparatedByHand => {
            let it: doc::CustomerSeparatedByHand = read(data)?;
            let said = events::ByHand {
                customer: name(&it.customer)?,
                other: name(&it.other)?,
                agent: names(&it.agent)?,
                reason: texts(&it.reason)?,
            };
            (Data::CustomerSeparatedByHand(said), vec![it.customer.0])
        }
        EventType::CustomerErased => {
            let it: doc::CustomerErased = read(data)?;
            between(it.customers.len() as i64, 1, 32)?;
            let customers = it.customers.iter().map(name).collect::<Result<_, _>>()?;
            let all = it.customers.into_iter().map(|it| it.0).collect();
            (Data::CustomerErased(events::Erased { customers }), all)
        }
        EventType::InteractionRecorded => {
            let it: doc::InteractionRecorded = read(data)?;
            let recorded = events::InteractionRecorded {
                customer: name(&it.customer)?,
                channel: name(&it.channel)?,
                action: name(&it.action)?,
                target: texts(&it.target)?,
                text: texts(&it.text)?,
            };
            (Data::InteractionRecorded(recorded), vec![it.customer.0])
        }
        EventType::RecordUpserted => {
            let it: doc::RecordUpserted = read(data)?;
            let Members(members) = read(data)?;
            let Members(_) = read(members["fields"].get())?;
            let upserted = events::RecordUpserted {
                table: name(&it.table)?,
                key: name(&it.key)?,
                fields: members["fields"].get().to_string().into(),
                version: name(&it.version)?,
            };
            (Data::RecordUpserted(upserted), vec![it.key.0])
        }
        EventType::MessagePlanned => {
            let it: doc::MessagePlanned = read(data)?;
            let time = |it: Option<doc::Instant>| it.map(|it| instant(&it.0)).transpose();
            let planned = events::MessagePlanned {
                message: name(&it.message)?,
                rule: name(&it.rule)?,
                version: name(&it.version)?,
                view: name(&it.view)?,
                about: free(&it.about)?,
                episode: free(&it.episode)?,
                channel: name(&it.channel)?,
                severity: name(&it.severity)?,
                text: free(&it.text)?,
                reason: texts(&it.reason)?,
                corrects: names(&it.corrects)?,
                suppressed: names(&it.suppressed)?,
                customer: names(&it.customer)?,
                due: time(it.due)?,
                expires: time(it.expires)?,
            };
            (Data::MessagePlanned(planned.into()), vec![it.message.0])
        }
        EventType::MessageAnswered => {
            let it: doc::MessageAnswered = read(data)?;
            let answered = events::MessageAnswered {
                message: name(&it.message)?,
                outcome: name(&it.outcome)?,
                reason: texts(&it.reason)?,
                attempts: it.attempts.map(|it| between(it, 0, 1_000_000)).transpose()?,
            };
            (Data::MessageAnswered(answered), vec![it.message.0])
        }
        EventType::MessageMarked => {
            let it: doc::MessageMarked = read(data)?;
            let marked = events::MessageMarked {
                message: name(&it.message)?,
                mark: name(&it.mark)?,
                by: names(&it.by)?,
                until: it.until.map(|it| instant(&it.0)).transpose()?,
            };
            (Data::MessageMarked(marked), vec![it.message.0])
        }
        EventType::RecordDeleted => {
            let it: doc::RecordDeleted = read(data)?;
            let deleted = events::RecordDeleted {
                table: name(&it.table)?,
                key: name(&it.key)?,
                version: name(&it.version)?,
            };
            (Data::RecordDeleted(deleted), vec![it.key.0])
        }
    })
}

fn line(it: &doc::OrderLine) -> Result<events::Line<'static>, Why> {
    Ok(events::Line {
        sku: name(&it.sku)?,
        quantity: between(it.quantity, 1, 1_000_000)?,
        unit_price: between(it.unit_price.0, 0, MOST)?,
        ship_from: names(&it.ship_from)?,
        ship_to: names(&it.ship_to)?,
        carrier: names(&it.carrier)?,
        seller: names(&it.seller)?,
    })
}

fn reversed(
    order: Identifier,
    customer: Option<Identifier>,
    amount: Option<doc::MinorUnits>,
    currency: Option<doc::CurrencyCode>,
    reason: Option<FreeText>,
) -> Result<events::OrderReversed<'static>, Why> {
    if amount.is_some() && currency.is_none() {
        return Err("currency".into());
    }
    Ok(events::OrderReversed {
        order: name(&order)?,
        customer: names(&customer)?,
        amount: amount.map(|it| between(it.0, 0, MOST)).transpose()?,
        currency: currency.map(|it| money(&it.0)).transpose()?,
        reason: texts(&reason)?,
    })
}

fn customer(it: &doc::CustomerUpdated, data: &str) -> Result<events::Customer<'static>, Why> {
    let Members(members) = serde_json::from_str(data).map_err(|it| it.to_string())?;
    // serde does not tell `null` from nothing; the text does.
    let field = |name: &str, value: Option<events::Text<'static>>| match (value, members.get(name))
    {
        (Some(value), _) => Field::Is(value),
        (None, Some(_)) => Field::Withdrawn,
        (None, None) => Field::Absent,
    };
    let mut attributes = Vec::new();
    if let Some(doc::Attributes(given)) = &it.attributes {
        between(given.len() as i64, 0, 64)?;
        for (key, value) in given {
            attributes.push((name(key)?, texts(value)?));
        }
    }
    if let Some(doc::CountryCode(country)) = &it.country
        && !(country.len() == 2 && country.chars().all(|it| it.is_ascii_uppercase()))
    {
        return Err("country".into());
    }
    Ok(events::Customer {
        customer: name(&it.customer)?,
        name: field("name", texts(&it.name)?),
        email: field("email", texts(&it.email)?),
        phone: field("phone", texts(&it.phone)?),
        tier: field("tier", names(&it.tier)?),
        language: field("language", names(&it.language)?),
        country: field("country", it.country.as_ref().map(|it| it.0.clone().into())),
        time_zone: field("time_zone", names(&it.time_zone)?),
        attributes,
    })
}
