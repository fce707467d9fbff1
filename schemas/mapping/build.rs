//! Events from slots, as a rule says.

use std::ops::RangeInclusive;

use crate::events::{
    ByHand, CaseAssigned, CaseOpened, CaseResolved, Customer, Data, Erased, Event, EventType,
    FeedbackSubmitted, Identified, InteractionRecorded, Line, LoadMeasured, MAX_ATTRIBUTES,
    MAX_ERASED, MAX_LINES, MAX_SKILLS, MessageAnswered, MessageMarked, MessagePlanned, OrderPlaced,
    OrderReversed, OrderStatusChanged, RecordDeleted, RecordUpserted, SystemMeasured, Text,
};
use crate::json::Scanner;
use crate::limits::{
    ATTEMPTS, BUCKET, LINE, LOAD, MEASURED, QUANTITY, RATING, SEVERITY, SOME, WORKERS, amount_of,
};
use crate::names::MAX_AMOUNT;
use crate::problem::Problem;

use super::program::{Becomes, Each, Field, Lines, Ref, Texts, When};
use super::shape::Within;
use super::slots::{Slot, with_slots};
use super::values::{Fault, Frames};

/// Most elements of a record of which each becomes an event.
pub(super) const MAX_EACH: usize = 10_000;

impl When {
    /// Whether a record meets the condition.
    pub(super) fn holds(&self, frames: &Frames<'_, '_>) -> bool {
        let scalar = |at: &Ref| frames.slot(*at).scalar();
        let one_of = |at: &Ref, texts: &[String]| {
            scalar(at).is_some_and(|found| texts.iter().any(|it| **it == *found))
        };
        self.present.iter().all(|at| frames.slot(*at).is_present())
            && self.absent.iter().all(|at| !frames.slot(*at).is_present())
            && self.equal.iter().all(|(at, texts)| one_of(at, texts))
            && self.differ.iter().all(|(a, b)| scalar(a) != scalar(b))
    }
}

impl Each {
    /// Does the work for each element; what is there must be an array.
    fn elements<'a>(
        &'a self,
        frames: &Frames<'_, 'a>,
        most: usize,
        mut work: impl FnMut(&Frames<'_, 'a>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let found = frames.slot(self.array);
        let Slot::Array(text) = found else {
            let expected = "an array".into();
            return Err(unfit(frames, self.array, "schemas/wrong-shape", expected, found.told()));
        };
        let mut place = 0;
        let elements = Scanner::over(text).array(|scanner| {
            if place == most {
                let expected = format!("an array of at most {most} elements");
                let found = "more".into();
                return Err(Stop::Found(unfit(
                    frames,
                    self.array,
                    "schemas/out-of-range",
                    expected,
                    found,
                )));
            }
            with_slots(self.element.pointers.len(), |slots| {
                self.element.fill(scanner, slots)?;
                work(&frames.inside(slots, &self.element, self.array, place)).map_err(Stop::Found)
            })?;
            place += 1;
            Ok(())
        });
        elements.map_err(|stop| match stop {
            Stop::Found(fault) => fault,
            Stop::Json(fault) => {
                let pointer = frames.pointer(self.array);
                Box::new(Problem { pointer, ..fault.problem(text.as_bytes()) })
            }
        })
    }
}

/// Why the walk over an array ended early.
enum Stop {
    /// An element is not JSON that we read: what was passed over before is now looked into.
    Json(crate::json::Fault),
    Found(Fault),
}

impl From<crate::json::Fault> for Stop {
    fn from(fault: crate::json::Fault) -> Stop {
        Stop::Json(fault)
    }
}

#[cold]
fn unfit(
    frames: &Frames<'_, '_>,
    at: Ref,
    code: &'static str,
    expected: String,
    found: String,
) -> Fault {
    Box::new(Problem { code, pointer: frames.pointer(at), expected, found })
}

impl Becomes {
    /// Hands every event of the record to `emit`, or none.
    #[inline(always)]
    pub(super) fn events<'a>(
        &'a self,
        frames: &Frames<'_, 'a>,
        emit: impl FnMut(Event<'a>),
    ) -> Result<u32, Fault> {
        let Some(each) = &self.each else {
            return self.event(frames, emit).map(|()| 1);
        };
        let mut events = Vec::new();
        each.elements(frames, MAX_EACH, |frames| self.event(frames, |event| events.push(event)))?;
        let n = events.len() as u32;
        events.into_iter().for_each(emit);
        Ok(n)
    }

    /// Put together where it is wanted: an event is large, and each move of it is seen.
    #[inline(always)]
    fn event<'a>(
        &'a self,
        frames: &Frames<'_, 'a>,
        emit: impl FnOnce(Event<'a>),
    ) -> Result<(), Fault> {
        let tenant = need(frames, &self.tenant, Frames::identifier)?;
        let source = need(frames, &self.source, Frames::identifier)?;
        let id = need(frames, &self.id, Frames::identifier)?;
        let time = need(frames, &self.time, Frames::time)?;
        let data = self.data(frames)?;
        emit(Event { tenant, source, id, time, data });
        Ok(())
    }

    #[inline]
    fn data<'a>(&'a self, frames: &Frames<'_, 'a>) -> Result<Data<'a>, Fault> {
        let it = Fields { fields: &self.data, frames };
        Ok(match self.event {
            EventType::CustomerRegistered => Data::CustomerRegistered(self.customer(it)?.into()),
            EventType::CustomerUpdated => Data::CustomerUpdated(self.customer(it)?.into()),
            EventType::OrderPlaced => Data::OrderPlaced(OrderPlaced {
                order: it.must(0, "order", Frames::identifier)?,
                customer: it.must(1, "customer", Frames::identifier)?,
                currency: it.must(2, "currency", Frames::currency)?,
                promised_at: it.may(3, "promised_at", Frames::time)?,
                channel: it.may(4, "channel", Frames::identifier)?,
                lines: self.lines(frames)?,
            }),
            EventType::OrderStatusChanged => Data::OrderStatusChanged(OrderStatusChanged {
                order: it.must(0, "order", Frames::identifier)?,
                status: it.must(1, "status", Frames::status)?,
                line: it.integer(2, "line", &LINE)?.map(|it| it as u16),
                customer: it.may(3, "customer", Frames::identifier)?,
            }),
            EventType::OrderCancelled => Data::OrderCancelled(reversed(it)?),
            EventType::OrderReturned => Data::OrderReturned(reversed(it)?),
            EventType::FeedbackSubmitted => Data::FeedbackSubmitted(feedback(it)?),
            EventType::CaseOpened => Data::CaseOpened(CaseOpened {
                case: it.must(0, "case", Frames::identifier)?,
                customer: it.must(1, "customer", Frames::identifier)?,
                severity: it.must_integer(2, "severity", &SEVERITY)? as u8,
                text: it.may(3, "text", Frames::text)?,
                queue: it.must(4, "queue", Frames::identifier)?,
                skills: self.texts(frames)?,
            }),
            EventType::CaseAssigned => Data::CaseAssigned(CaseAssigned {
                case: it.must(0, "case", Frames::identifier)?,
                agent: it.must(1, "agent", Frames::identifier)?,
                queue: it.may(2, "queue", Frames::identifier)?,
                customer: it.may(3, "customer", Frames::identifier)?,
                until: it.may(4, "until", Frames::time)?,
            }),
            EventType::CaseResolved => Data::CaseResolved(CaseResolved {
                case: it.must(0, "case", Frames::identifier)?,
                customer: it.may(1, "customer", Frames::identifier)?,
                resolution: it.may(2, "resolution", Frames::text)?,
            }),
            EventType::InteractionRecorded => Data::InteractionRecorded(InteractionRecorded {
                customer: it.must(0, "customer", Frames::identifier)?,
                channel: it.must(1, "channel", Frames::identifier)?,
                action: it.must(2, "action", Frames::identifier)?,
                target: it.may(3, "target", Frames::text)?,
                text: it.may(4, "text", Frames::text)?,
            }),
            EventType::RecordUpserted => Data::RecordUpserted(RecordUpserted {
                table: it.must(0, "table", Frames::identifier)?,
                key: it.must(1, "key", Frames::identifier)?,
                fields: it.must(2, "fields", Frames::object)?,
                version: it.must(3, "version", Frames::identifier)?,
            }),
            EventType::MessagePlanned => Data::MessagePlanned(Box::new(MessagePlanned {
                message: it.must(0, "message", Frames::identifier)?,
                rule: it.must(1, "rule", Frames::identifier)?,
                version: it.must(2, "version", Frames::identifier)?,
                view: it.must(3, "view", Frames::identifier)?,
                about: it.must(4, "about", Frames::text)?,
                episode: it.must(5, "episode", Frames::text)?,
                channel: it.must(6, "channel", Frames::identifier)?,
                severity: it.must(7, "severity", Frames::identifier)?,
                text: it.must(8, "text", Frames::text)?,
                reason: it.may(9, "reason", Frames::text)?,
                corrects: it.may(10, "corrects", Frames::identifier)?,
                suppressed: it.may(11, "suppressed", Frames::identifier)?,
                customer: it.may(12, "customer", Frames::identifier)?,
                due: it.may(13, "due", Frames::time)?,
                expires: it.may(14, "expires", Frames::time)?,
            })),
            EventType::MessageAnswered => Data::MessageAnswered(MessageAnswered {
                message: it.must(0, "message", Frames::identifier)?,
                outcome: it.must(1, "outcome", Frames::identifier)?,
                reason: it.may(2, "reason", Frames::text)?,
                attempts: it.integer(3, "attempts", &ATTEMPTS)?,
            }),
            EventType::MessageMarked => Data::MessageMarked(MessageMarked {
                message: it.must(0, "message", Frames::identifier)?,
                mark: it.must(1, "mark", Frames::identifier)?,
                by: it.may(2, "by", Frames::identifier)?,
                until: it.may(3, "until", Frames::time)?,
            }),
            EventType::RecordDeleted => Data::RecordDeleted(RecordDeleted {
                table: it.must(0, "table", Frames::identifier)?,
                key: it.must(1, "key", Frames::identifier)?,
                version: it.must(2, "version", Frames::identifier)?,
            }),
            EventType::LoadMeasured => Data::LoadMeasured(LoadMeasured {
                series: it.must(0, "series", Frames::identifier)?,
                bucket_minutes: it.must_integer(1, "bucket_minutes", &BUCKET)? as u16,
                value: it.must_integer(2, "value", &LOAD)?,
            }),
            EventType::SystemMeasured => Data::SystemMeasured(SystemMeasured {
                process: it.must(0, "process", Frames::identifier)?,
                seconds: it.must_integer(1, "seconds", &MEASURED)?,
                n_events: it.must_integer(2, "n_events", &SOME)?,
                busy_micros: it.must_integer(3, "busy_micros", &SOME)?,
                workers: it.must_integer(4, "workers", &WORKERS)? as u16,
                processors: it.must_integer(5, "processors", &WORKERS)? as u16,
            }),
            EventType::CustomerIdentified => Data::CustomerIdentified(identified(it)?),
            EventType::CustomerUnlinked => Data::CustomerUnlinked(identified(it)?),
            EventType::CustomerLinkedByHand => Data::CustomerLinkedByHand(by_hand(it)?),
            EventType::CustomerSeparatedByHand => Data::CustomerSeparatedByHand(by_hand(it)?),
            EventType::CustomerErased => Data::CustomerErased(self.erased(frames)?),
        })
    }

    fn customer<'a>(&'a self, it: Fields<'_, '_, 'a>) -> Result<Customer<'a>, Fault> {
        Ok(Customer {
            customer: it.must(0, "customer", Frames::identifier)?,
            name: it.clearable(1, "name", Within::Text)?,
            email: it.clearable(2, "email", Within::Text)?,
            phone: it.clearable(3, "phone", Within::Text)?,
            tier: it.clearable(4, "tier", Within::Identifier)?,
            language: it.clearable(5, "language", Within::Identifier)?,
            country: it.clearable(6, "country", Within::Country)?,
            time_zone: it.clearable(7, "time_zone", Within::Identifier)?,
            attributes: self.attributes(it.frames)?,
        })
    }

    fn attributes<'a>(
        &'a self,
        frames: &Frames<'_, 'a>,
    ) -> Result<Vec<(Text<'a>, Option<Text<'a>>)>, Fault> {
        use crate::events::Field as Said;
        debug_assert!(self.attributes.len() <= MAX_ATTRIBUTES, "checked when compiled");
        let mut attributes = Vec::new();
        for (name, field) in &self.attributes {
            let name = Text::Borrowed(name);
            match frames.clearable(field, Within::Text)? {
                Said::Absent => {}
                Said::Withdrawn => attributes.push((name, None)),
                Said::Is(text) => attributes.push((name, Some(text))),
            }
        }
        Ok(attributes)
    }

    #[inline]
    fn lines<'a>(&'a self, frames: &Frames<'_, 'a>) -> Result<Vec<Line<'a>>, Fault> {
        let lines = self.any_lines(frames)?;
        match amount_of(&lines) {
            Some(_) => Ok(lines),
            None => Err(Box::new(Problem {
                code: "schemas/out-of-range",
                pointer: match &self.lines {
                    Some(Lines::Each(each, _)) => frames.pointer(each.array),
                    _ => String::new(),
                },
                expected: format!("lines of at most {MAX_AMOUNT} minor units together"),
                found: "more".into(),
            })),
        }
    }

    #[inline]
    fn any_lines<'a>(&'a self, frames: &Frames<'_, 'a>) -> Result<Vec<Line<'a>>, Fault> {
        match &self.lines {
            Some(Lines::Fixed(fixed)) => {
                let mut lines = Vec::with_capacity(fixed.len());
                for fields in fixed {
                    lines.push(line(fields, frames)?);
                }
                Ok(lines)
            }
            Some(Lines::Each(each, fields)) => {
                let mut lines = Vec::new();
                each.elements(frames, MAX_LINES, |frames| {
                    lines.push(line(fields, frames)?);
                    Ok(())
                })?;
                if lines.is_empty() {
                    let expected = format!("an array of 1 to {MAX_LINES} lines");
                    let found = "an empty array".into();
                    return Err(unfit(frames, each.array, "schemas/out-of-range", expected, found));
                }
                Ok(lines)
            }
            None => Ok(Vec::new()),
        }
    }

    /// Skills of a case, or customers: at most as many of the one as of the other.
    fn texts<'a>(&'a self, frames: &Frames<'_, 'a>) -> Result<Vec<Text<'a>>, Fault> {
        const { assert!(MAX_SKILLS == MAX_ERASED) };
        let mut texts = Vec::new();
        match &self.texts {
            Some(Texts::Fixed(fields)) => {
                for field in fields {
                    texts.extend(frames.identifier(field)?);
                }
            }
            Some(Texts::Each(each, field)) if frames.slot(each.array).is_present() => {
                each.elements(frames, MAX_SKILLS, |frames| {
                    texts.extend(frames.identifier(field)?);
                    Ok(())
                })?;
            }
            Some(Texts::Each(..)) | None => {}
        }
        Ok(texts)
    }

    #[cold]
    fn erased<'a>(&'a self, frames: &Frames<'_, 'a>) -> Result<Erased<'a>, Fault> {
        let customers = self.texts(frames)?;
        if customers.is_empty() {
            let pointer = match &self.texts {
                Some(Texts::Each(each, _)) => frames.pointer(each.array),
                _ => String::new(),
            };
            return Err(Box::new(Problem {
                code: "schemas/out-of-range",
                pointer,
                expected: format!("1 to {MAX_ERASED} customers"),
                found: "none".into(),
            }));
        }
        Ok(Erased { customers })
    }
}

#[inline]
fn line<'a>(fields: &'a [Option<Field>], frames: &Frames<'_, 'a>) -> Result<Line<'a>, Fault> {
    let it = Fields { fields, frames };
    Ok(Line {
        sku: it.must(0, "sku", Frames::identifier)?,
        quantity: it.must_integer(1, "quantity", &QUANTITY)?,
        unit_price: it.must(2, "unit_price", Frames::amount)?,
        ship_from: it.may(3, "ship_from", Frames::identifier)?,
        ship_to: it.may(4, "ship_to", Frames::identifier)?,
        carrier: it.may(5, "carrier", Frames::identifier)?,
        seller: it.may(6, "seller", Frames::identifier)?,
    })
}

fn identified<'a>(it: Fields<'_, '_, 'a>) -> Result<Identified<'a>, Fault> {
    Ok(Identified {
        customer: it.must(0, "customer", Frames::identifier)?,
        kind: it.must(1, "kind", Frames::identifier)?,
        value: it.must(2, "value", Frames::identifier)?,
        country: it.may(3, "country", Frames::country)?,
    })
}

fn by_hand<'a>(it: Fields<'_, '_, 'a>) -> Result<ByHand<'a>, Fault> {
    Ok(ByHand {
        customer: it.must(0, "customer", Frames::identifier)?,
        other: it.must(1, "other", Frames::identifier)?,
        agent: it.may(2, "agent", Frames::identifier)?,
        reason: it.may(3, "reason", Frames::text)?,
    })
}

fn reversed<'a>(it: Fields<'_, '_, 'a>) -> Result<OrderReversed<'a>, Fault> {
    let reversed = OrderReversed {
        order: it.must(0, "order", Frames::identifier)?,
        customer: it.may(1, "customer", Frames::identifier)?,
        amount: it.may(2, "amount", Frames::amount)?,
        currency: it.may(3, "currency", Frames::currency)?,
        reason: it.may(4, "reason", Frames::text)?,
    };
    match (&reversed.amount, &reversed.currency, it.at(3, "currency")) {
        (Some(_), None, Some(field)) => Err(it.frames.missing(field)),
        _ => Ok(reversed),
    }
}

fn feedback<'a>(it: Fields<'_, '_, 'a>) -> Result<FeedbackSubmitted<'a>, Fault> {
    let feedback = FeedbackSubmitted {
        customer: it.may(0, "customer", Frames::identifier)?,
        order: it.may(1, "order", Frames::identifier)?,
        product: it.may(2, "product", Frames::identifier)?,
        rating: it.integer(3, "rating", &RATING)?.map(|it| it as u8),
        text: it.may(4, "text", Frames::text)?,
    };
    let missing = |a: usize, a_name, b: usize, b_name| {
        it.at(a, a_name).or(it.at(b, b_name)).map_or_else(never, |it_is| it.frames.missing(it_is))
    };
    if feedback.customer.is_none() && feedback.order.is_none() {
        return Err(missing(0, "customer", 1, "order"));
    }
    if feedback.rating.is_none() && feedback.text.is_none() {
        return Err(missing(3, "rating", 4, "text"));
    }
    Ok(feedback)
}

/// The fields of one event or line, asked for by place; the name says which it is.
#[derive(Clone, Copy)]
struct Fields<'r, 'f, 'a> {
    fields: &'a [Option<Field>],
    frames: &'r Frames<'f, 'a>,
}

impl<'f, 'a> Fields<'_, 'f, 'a> {
    #[inline]
    fn at(&self, place: usize, name: &'static str) -> Option<&'a Field> {
        let field = self.fields[place].as_ref();
        debug_assert!(field.is_none_or(|it| it.name == name), "{name} is not at {place}");
        field
    }

    #[inline]
    fn may<T>(
        &self,
        place: usize,
        name: &'static str,
        read: impl Fn(&Frames<'f, 'a>, &'a Field) -> Result<Option<T>, Fault>,
    ) -> Result<Option<T>, Fault> {
        self.at(place, name).map_or(Ok(None), |field| read(self.frames, field))
    }

    #[inline]
    fn must<T>(
        &self,
        place: usize,
        name: &'static str,
        read: impl Fn(&Frames<'f, 'a>, &'a Field) -> Result<Option<T>, Fault>,
    ) -> Result<T, Fault> {
        self.at(place, name).map_or_else(|| Err(never()), |field| need(self.frames, field, read))
    }

    #[inline]
    fn integer(
        &self,
        place: usize,
        name: &'static str,
        range: &RangeInclusive<i64>,
    ) -> Result<Option<i64>, Fault> {
        self.may(place, name, |frames, field| frames.integer(field, range))
    }

    #[inline]
    fn must_integer(
        &self,
        place: usize,
        name: &'static str,
        range: &RangeInclusive<i64>,
    ) -> Result<i64, Fault> {
        match (self.integer(place, name, range)?, self.at(place, name)) {
            (Some(it), _) => Ok(it),
            (None, Some(field)) => Err(self.frames.missing(field)),
            (None, None) => Err(never()),
        }
    }

    fn clearable(
        &self,
        place: usize,
        name: &'static str,
        within: Within,
    ) -> Result<crate::events::Field<'a>, Fault> {
        match self.at(place, name) {
            Some(field) => self.frames.clearable(field, within),
            None => Ok(crate::events::Field::Absent),
        }
    }
}

#[inline]
fn need<'f, 'a, T>(
    frames: &Frames<'f, 'a>,
    field: &'a Field,
    read: impl Fn(&Frames<'f, 'a>, &'a Field) -> Result<Option<T>, Fault>,
) -> Result<T, Fault> {
    match read(frames, field)? {
        Some(it) => Ok(it),
        None => Err(frames.missing(field)),
    }
}

/// A required field without a source: compiling refuses such a mapping.
#[cold]
fn never() -> Fault {
    Box::new(Problem {
        code: "schemas/wrong-shape",
        pointer: String::new(),
        expected: "a mapping that names every required field".into(),
        found: "one that was not checked".into(),
    })
}
