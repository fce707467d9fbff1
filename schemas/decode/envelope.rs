//! The attributes of CloudEvents 1.0, and what they must say of `data`.

use super::data;
use super::fields::{event_time, identifier, mistyped, optional, text};
use super::report::{At, IDENTIFIER, Stop, TIME, Tell, UNKNOWN_TYPE, UNKNOWN_VERSION, WRONG_SHAPE};
use super::report::{extra, missing, problem};
use crate::events::{Data, Event, EventType, Text};
use crate::json::{Kind, Scanner};
use crate::names::DEFAULT_TENANT;
use crate::nearest::nearest;

/// The attributes that mean something to us.
const ATTRIBUTES: &[&str] = &[
    "specversion",
    "id",
    "source",
    "type",
    "time",
    "subject",
    "tenant",
    "datacontenttype",
    "dataschema",
    "data",
];

/// What has been read of an event so far.
///
/// Filled in place and taken apart once: events are wide, and copying one costs as much as reading
/// one of its fields.
#[derive(Default)]
pub(super) struct Parts<'a> {
    specversion: bool,
    id: Option<Text<'a>>,
    source: Option<Text<'a>>,
    kind: Type,
    time: Option<i64>,
    subject: Option<Text<'a>>,
    tenant: Option<Text<'a>>,
    dataschema: Option<Text<'a>>,
    waiting: Waiting<'a>,
    data: Option<Data<'a>>,
}

#[derive(Default)]
enum Type {
    #[default]
    Missing,
    /// Told.
    Refused,
    Is(EventType),
}

/// What became of `data`, if it is not in [`Parts::data`] yet.
#[derive(Default)]
enum Waiting<'a> {
    #[default]
    Missing,
    /// Its text and where it starts: its type comes later.
    Raw(&'a str, usize),
    /// Told.
    Refused,
    /// Nothing waits.
    Read,
}

impl<'a> Parts<'a> {
    /// The event, once [`read`] and [`settle`] have found everything in order.
    #[inline(always)]
    pub(super) fn event(self) -> Option<Event<'a>> {
        Some(Event {
            tenant: self.tenant.unwrap_or(Text::Borrowed(DEFAULT_TENANT)),
            source: self.source?,
            id: self.id?,
            time: self.time?,
            data: self.data?,
        })
    }
}

/// The attributes of one structured event.
#[inline]
pub(super) fn read<'a, T: Tell>(
    s: &mut Scanner<'a>,
    tell: &mut T,
    parts: &mut Parts<'a>,
) -> Result<(), Stop> {
    if s.peek()? != Kind::Object {
        mistyped(s, tell, At::Event, "an event: a JSON object")?;
        return Err(Stop::Told);
    }
    s.object(|key, s| -> Result<(), Stop> {
        let at = At::Attribute(&key);
        match &*key {
            "specversion" => {
                specversion(s, tell)?;
                parts.specversion = true;
            }
            "id" => parts.id = Some(identifier(s, tell, at)?),
            "source" => parts.source = Some(identifier(s, tell, at)?),
            "type" => parts.kind = event_type(s, tell)?,
            "time" => parts.time = Some(event_time(s, tell)?),
            "data" => match parts.kind {
                // One who wants every problem hears those of the attributes first.
                Type::Is(kind) if T::FIRST => {
                    data::data(kind, s, tell, &mut parts.data)?;
                    parts.waiting = Waiting::Read;
                }
                _ => {
                    let raw = s.skip()?;
                    parts.waiting = Waiting::Raw(raw, s.offset() - raw.len());
                }
            },
            "subject" => parts.subject = optional(s, |s| identifier(s, tell, at))?,
            "tenant" => parts.tenant = optional(s, |s| identifier(s, tell, at))?,
            "dataschema" => parts.dataschema = optional(s, |s| text(s, tell, at))?,
            "datacontenttype" => content_type(s, tell)?,
            "data_base64" => {
                mistyped(s, tell, at, "`data` as JSON: events of the contract are not binary")?;
                parts.waiting = Waiting::Refused;
            }
            _ => extension(&key, s, tell)?,
        }
        Ok(())
    })
}

/// What can be said once all attributes are read; `data`, if it came before its type.
#[inline]
pub(super) fn settle<'a, T: Tell>(parts: &mut Parts<'a>, tell: &mut T) -> Result<(), Stop> {
    if !parts.specversion {
        tell.tell(missing(WRONG_SHAPE, At::Attribute("specversion"), "\"1.0\""))?;
    }
    if parts.id.is_none() {
        tell.tell(missing(WRONG_SHAPE, At::Attribute("id"), "an identifier"))?;
    }
    if parts.source.is_none() {
        tell.tell(missing(WRONG_SHAPE, At::Attribute("source"), "an identifier"))?;
    }
    if parts.time.is_none() {
        tell.tell(missing(TIME, At::Attribute("time"), "the time at which it happened"))?;
    }
    let kind = match parts.kind {
        Type::Is(kind) => kind,
        Type::Refused => return Err(Stop::Told),
        Type::Missing => {
            tell.tell(missing(WRONG_SHAPE, At::Attribute("type"), "a type of the contract"))?;
            return Err(Stop::Told);
        }
    };
    if let Some(schema) = &parts.dataschema {
        version(kind, schema, tell)?;
    }
    match parts.waiting {
        Waiting::Read => {}
        Waiting::Raw(raw, start) => {
            data::data(kind, &mut Scanner::over(raw), tell, &mut parts.data)
                .map_err(|stop| moved(stop, start))?;
        }
        Waiting::Refused => return Err(Stop::Told),
        Waiting::Missing => {
            tell.tell(missing(WRONG_SHAPE, At::Attribute("data"), "an object"))?;
            return Err(Stop::Told);
        }
    }
    if let (Some(subject), Some(data)) = (&parts.subject, &parts.data) {
        about(subject, data, tell)?;
    }
    Ok(())
}

/// A fault in a part, told by its place in the whole.
#[cold]
fn moved(stop: Stop, start: usize) -> Stop {
    match stop {
        Stop::Fault(mut fault) => {
            fault.offset += start;
            Stop::Fault(fault)
        }
        other => other,
    }
}

#[inline]
fn specversion(s: &mut Scanner<'_>, tell: &mut impl Tell) -> Result<(), Stop> {
    let at = At::Attribute("specversion");
    if s.peek()? != Kind::String {
        return mistyped(s, tell, at, "\"1.0\"");
    }
    match &*s.string()? {
        "1.0" => Ok(()),
        other => tell.tell(problem(UNKNOWN_VERSION, at, "\"1.0\"", &format!("{other:?}"))),
    }
}

#[inline]
fn event_type(s: &mut Scanner<'_>, tell: &mut impl Tell) -> Result<Type, Stop> {
    let at = At::Attribute("type");
    if s.peek()? != Kind::String {
        mistyped(s, tell, at, "a type of the contract")?;
        return Ok(Type::Refused);
    }
    let name = s.string()?;
    match EventType::parse(&name) {
        Some(kind) => Ok(Type::Is(kind)),
        None => {
            tell.tell(no_such_type(&name))?;
            Ok(Type::Refused)
        }
    }
}

#[cold]
fn no_such_type(name: &str) -> crate::problem::Problem {
    let names = EventType::ALL.map(EventType::as_str);
    let expected = match nearest(name, &names) {
        Some(meant) => format!("a type of the contract, such as \"{meant}\""),
        None => format!("one of {}", names.join(", ")),
    };
    problem(UNKNOWN_TYPE, At::Attribute("type"), expected, &format!("{name:?}"))
}

/// JSON, whatever its parameters.
fn content_type(s: &mut Scanner<'_>, tell: &mut impl Tell) -> Result<(), Stop> {
    let at = At::Attribute("datacontenttype");
    let Some(value) = optional(s, |s| text(s, tell, at))? else {
        return Ok(());
    };
    if is_json(&value) {
        return Ok(());
    }
    tell.tell(problem(WRONG_SHAPE, at, "JSON, such as application/json", &format!("{value:?}")))
}

/// Whether a media type is JSON: `application/json`, `text/json`, or anything `+json`.
pub(super) fn is_json(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let structured = essence.ends_with("+json") && essence.contains('/');
    structured || essence == "application/json" || essence == "text/json"
}

/// There is one version of each type so far. It is named by the published schema's file,
/// `…/order.placed.json`, or as `…/order.placed/1`.
#[cold]
fn version(kind: EventType, schema: &str, tell: &mut impl Tell) -> Result<(), Stop> {
    let name = kind.as_str();
    let named = schema.strip_suffix("/1").or_else(|| schema.strip_suffix(".json"));
    let prefix = named.and_then(|it| it.strip_suffix(name));
    if prefix.is_some_and(|it| it.is_empty() || it.ends_with('/')) {
        return Ok(());
    }
    let expected = format!("version 1 of the type: a name that ends in \"{name}/1\"");
    let at = At::Attribute("dataschema");
    tell.tell(problem(UNKNOWN_VERSION, at, expected, &format!("{schema:?}")))
}

/// Any other attribute: CloudEvents allows extensions, whose names are lower-case letters and
/// digits and whose values are no objects. A name of another form is a misspelt one of ours.
#[cold]
fn extension(key: &str, s: &mut Scanner<'_>, tell: &mut impl Tell) -> Result<(), Stop> {
    let at = At::Attribute(key);
    let kind = s.peek()?;
    if key.is_empty() || !key.bytes().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit()) {
        s.skip()?;
        let mut told = extra(at, key, ATTRIBUTES);
        told.expected.push_str(" (extensions have names of lower-case letters and digits)");
        return tell.tell(told);
    }
    if matches!(kind, Kind::Object | Kind::Array) {
        return mistyped(s, tell, at, "text, a number, true, false or null, as for any attribute");
    }
    s.skip()?;
    Ok(())
}

/// A subject, where there is one, names the entity that the event is about.
#[inline]
fn about(subject: &str, data: &Data<'_>, tell: &mut impl Tell) -> Result<(), Stop> {
    let (name, id) = match data {
        Data::CustomerRegistered(it) | Data::CustomerUpdated(it) => ("customer", &it.customer),
        Data::OrderPlaced(it) => ("order", &it.order),
        Data::OrderStatusChanged(it) => ("order", &it.order),
        Data::OrderCancelled(it) | Data::OrderReturned(it) => ("order", &it.order),
        Data::FeedbackSubmitted(it) => match (&it.order, &it.customer) {
            // Feedback may be filed under either.
            (Some(order), _) if order == subject => return Ok(()),
            (_, Some(customer)) => ("customer", customer),
            (Some(order), None) => ("order", order),
            (None, None) => return Ok(()), // told already
        },
        Data::CaseOpened(it) => ("case", &it.case),
        Data::CaseAssigned(it) => ("case", &it.case),
        Data::CaseResolved(it) => ("case", &it.case),
        Data::InteractionRecorded(it) => ("customer", &it.customer),
        Data::RecordUpserted(it) => ("key", &it.key),
        Data::RecordDeleted(it) => ("key", &it.key),
        Data::MessagePlanned(it) => ("message", &it.message),
        Data::MessageAnswered(it) => ("message", &it.message),
        Data::MessageMarked(it) => ("message", &it.message),
        Data::LoadMeasured(it) => ("series", &it.series),
        Data::SystemMeasured(it) => ("process", &it.process),
        Data::CustomerIdentified(it) | Data::CustomerUnlinked(it) => ("customer", &it.customer),
        Data::CustomerLinkedByHand(it) | Data::CustomerSeparatedByHand(it) => {
            ("customer", &it.customer)
        }
        Data::CustomerErased(it) => match it.customers.first() {
            Some(_) if it.customers.iter().any(|it| it == subject) => return Ok(()),
            Some(first) => ("customer", first),
            None => return Ok(()), // told already
        },
    };
    if id == subject || id.is_empty() {
        return Ok(());
    }
    let expected = format!("the event's {name}, {id:?}");
    tell.tell(problem(IDENTIFIER, At::Attribute("subject"), expected, &format!("{subject:?}")))
}
