//! From slots to the values of fields, each checked against the limits of the contract.
//!
//! # When it fails
//! A [`Fault`] says where in the record the value stood, what the field wants and what was found.
//! It is boxed, so that the good way through stays in registers.

mod numbers; // integers, money, times

use std::borrow::Cow;

use crate::events::{Status, Text};
use crate::json::Scanner;
use crate::limits::{is_country, is_identifier, is_text};
use crate::names::Currency;
use crate::problem::Problem;
use crate::records::MAX_FIELDS_BYTES;

use super::program::{Constant, Field, Pick, Piece, Ref, Source, Written};
use super::shape::Within;
use super::slots::{Slot, Tree};

/// What is wrong with a record.
pub(super) type Fault = Box<Problem>;

/// Deepest `each` inside `each`: the record, an element of it, a line of that.
const LEVELS: usize = 3;

/// The slots of a record, and of the element that is being looked at inside it.
#[derive(Clone, Copy)]
pub(super) struct Frames<'f, 'a> {
    frames: [Frame<'f, 'a>; LEVELS],
    n: usize,
}

#[derive(Clone, Copy)]
struct Frame<'f, 'a> {
    slots: &'f [Slot<'a>],
    tree: &'a Tree,
    /// Which array, and the place in it, from 0.
    array: Ref,
    place: usize,
}

const AN_IDENTIFIER: &str = "an identifier: text of 1 to 128 bytes without control characters";

/// What a source gave.
enum Found<'f, 'a> {
    Nothing { null: bool },
    At(Ref, &'f Slot<'a>),
    Stated(&'a Constant),
}

impl<'f, 'a> Frames<'f, 'a> {
    #[inline]
    pub(super) fn of_record(slots: &'f [Slot<'a>], tree: &'a Tree) -> Frames<'f, 'a> {
        let frame = Frame { slots, tree, array: Ref { level: 0, slot: 0 }, place: 0 };
        Frames { frames: [frame; LEVELS], n: 1 }
    }

    /// With an element of `array` inside.
    pub(super) fn inside(
        &self,
        slots: &'f [Slot<'a>],
        tree: &'a Tree,
        array: Ref,
        place: usize,
    ) -> Frames<'f, 'a> {
        let mut deeper = *self;
        deeper.frames[self.n] = Frame { slots, tree, array, place };
        deeper.n += 1;
        deeper
    }

    #[inline]
    pub(super) fn slot(&self, at: Ref) -> &'f Slot<'a> {
        &self.frames[usize::from(at.level)].slots[usize::from(at.slot)]
    }

    /// The JSON pointer into the record, elements counted from 0.
    pub(super) fn pointer(&self, at: Ref) -> String {
        let frame = &self.frames[usize::from(at.level)];
        let own = &frame.tree.pointers[usize::from(at.slot)];
        if at.level == 0 {
            return own.clone();
        }
        format!("{}/{}{own}", self.pointer(frame.array), frame.place)
    }

    /// An identifier.
    #[inline(always)]
    pub(super) fn identifier(&self, field: &'a Field) -> Result<Option<Text<'a>>, Fault> {
        match self.text_of(field)? {
            Some(text) if !is_identifier(&text) => {
                Err(self.unfit("schemas/identifier", field, &text, AN_IDENTIFIER))
            }
            text => Ok(text),
        }
    }

    /// Free text.
    #[inline(always)]
    pub(super) fn text(&self, field: &'a Field) -> Result<Option<Text<'a>>, Fault> {
        match self.text_of(field)? {
            Some(text) if !is_text(&text) => {
                Err(self.unfit("schemas/too-large", field, &text, "text of at most 32 KiB"))
            }
            text => Ok(text),
        }
    }

    /// A country.
    pub(super) fn country(&self, field: &'a Field) -> Result<Option<Text<'a>>, Fault> {
        match self.text(field)? {
            Some(text) if !is_country(&text) => {
                let expected = "a country of ISO 3166-1: two upper-case letters";
                Err(self.unfit("schemas/out-of-range", field, &text, expected))
            }
            text => Ok(text),
        }
    }

    /// An attribute of a customer, or that there is none any more.
    pub(super) fn clearable(
        &self,
        field: &'a Field,
        within: Within,
    ) -> Result<crate::events::Field<'a>, Fault> {
        use crate::events::Field as Said;
        let text = match within {
            Within::Text => self.text(field)?,
            Within::Identifier => self.identifier(field)?,
            Within::Country => self.country(field)?,
        };
        if let Some(text) = text {
            return Ok(Said::Is(text));
        }
        let withdrawn =
            field.null_withdraws && matches!(self.found(field)?, Found::Nothing { null: true });
        Ok(if withdrawn { Said::Withdrawn } else { Said::Absent })
    }

    /// An object, as it is written.
    pub(super) fn object(&self, field: &'a Field) -> Result<Option<Text<'a>>, Fault> {
        match self.found(field)? {
            Found::Nothing { .. } | Found::Stated(_) => self.nothing(field),
            Found::At(at, slot @ Slot::Object(text)) => {
                let text = text.trim_start();
                // Passed over until now: what is kept must be the same to every reader.
                let read = Scanner::over(text).object(|_, it| it.skip().map(drop));
                if let Err(fault) = read {
                    let pointer = self.pointer(at);
                    return Err(Box::new(Problem { pointer, ..fault.problem(text.as_bytes()) }));
                }
                if text.len() > MAX_FIELDS_BYTES {
                    let expected = format!("an object of at most {MAX_FIELDS_BYTES} bytes");
                    return Err(self.fault("schemas/too-large", field, at, slot, expected));
                }
                Ok(Some(Cow::Borrowed(text)))
            }
            Found::At(at, slot) => {
                Err(self.fault("schemas/wrong-shape", field, at, slot, "an object".into()))
            }
        }
    }

    /// A status of an order.
    #[inline]
    pub(super) fn status(&self, field: &'a Field) -> Result<Option<Status>, Fault> {
        match self.found(field)? {
            Found::Nothing { .. } => self.nothing(field),
            Found::Stated(Constant::Status(it)) => Ok(Some(*it)),
            Found::Stated(_) => self.nothing(field),
            Found::At(at, slot) => {
                let status = slot.text().and_then(|it| Status::parse(&it));
                if status.is_none() {
                    let names: Vec<&str> = Status::ALL.iter().map(|it| it.as_str()).collect();
                    let expected = format!("one of {}", names.join(", "));
                    return Err(self.fault(unfit_text(slot), field, at, slot, expected));
                }
                Ok(status)
            }
        }
    }

    /// A currency.
    #[inline]
    pub(super) fn currency(&self, field: &'a Field) -> Result<Option<Currency>, Fault> {
        match self.found(field)? {
            Found::Nothing { .. } => self.nothing(field),
            Found::Stated(Constant::Currency(it)) => Ok(Some(*it)),
            Found::Stated(_) => self.nothing(field),
            Found::At(at, slot) => {
                let currency = slot.text().and_then(|it| Currency::parse(&it));
                if currency.is_none() {
                    let expected = "a currency of ISO 4217: three upper-case letters".into();
                    return Err(self.fault(unfit_text(slot), field, at, slot, expected));
                }
                Ok(currency)
            }
        }
    }

    /// Any text, its limits not yet looked at.
    #[inline(always)]
    fn text_of(&self, field: &'a Field) -> Result<Option<Text<'a>>, Fault> {
        // The two that nearly all fields are, first.
        match &field.source {
            Source::Slot(at) => {
                if let (Slot::Text(text), true) = (self.slot(*at), field.written != Written::Number)
                {
                    return Ok(Some(Cow::Borrowed(text)));
                }
            }
            Source::Constant(Constant::Text(text)) => return Ok(Some(Cow::Borrowed(text))),
            Source::Template(pieces) => return self.template(field, pieces),
            _ => {}
        }
        self.any_text(field)
    }

    fn any_text(&self, field: &'a Field) -> Result<Option<Text<'a>>, Fault> {
        match self.found(field)? {
            Found::Nothing { .. } => self.nothing(field),
            Found::Stated(Constant::Text(text)) => Ok(Some(Cow::Borrowed(text))),
            Found::Stated(_) => self.nothing(field),
            Found::At(at, slot) => match slot {
                Slot::Text(_) | Slot::Escaped(_) if field.written != Written::Number => {
                    Ok(slot.text())
                }
                Slot::Number(digits) if field.written != Written::Text && is_whole(digits) => {
                    Ok(Some(Cow::Borrowed(digits)))
                }
                _ => {
                    let expected = match field.written {
                        Written::Text => "a text",
                        Written::Number => "an integer",
                        Written::Either => "a text or an integer",
                    };
                    Err(self.fault("schemas/wrong-shape", field, at, slot, expected.into()))
                }
            },
        }
    }

    fn template(&self, field: &'a Field, pieces: &[Piece]) -> Result<Option<Text<'a>>, Fault> {
        let mut made = String::with_capacity(64);
        for piece in pieces {
            match piece {
                Piece::Literal(text) => made.push_str(text),
                Piece::Place => made.push_str(&(self.frames[self.n - 1].place + 1).to_string()),
                Piece::Slot(at) => match self.slot(*at) {
                    Slot::Number(digits) if !is_whole(digits) => {
                        let (slot, expected) = (self.slot(*at), "a text or an integer".into());
                        return Err(self.fault("schemas/wrong-shape", field, *at, slot, expected));
                    }
                    slot => match slot.scalar() {
                        Some(text) => made.push_str(&text),
                        None => {
                            let expected = "a text or an integer".into();
                            let code = "schemas/wrong-shape";
                            return Err(self.fault(code, field, *at, slot, expected));
                        }
                    },
                },
            }
        }
        Ok(Some(Cow::Owned(made)))
    }

    #[inline(always)]
    fn found(&self, field: &'a Field) -> Result<Found<'f, 'a>, Fault> {
        match &field.source {
            Source::Slot(at) => Ok(match self.slot(*at) {
                Slot::Absent => Found::Nothing { null: false },
                Slot::Null => Found::Nothing { null: true },
                slot => Found::At(*at, slot),
            }),
            Source::Constant(constant) => Ok(Found::Stated(constant)),
            Source::Pick(pick) => self.pick(field, pick),
            // Whoever takes a template or a sum asks for it by name.
            Source::Template(_) | Source::Sum(_) => Ok(Found::Nothing { null: false }),
        }
    }

    fn pick(&self, field: &'a Field, pick: &'a Pick) -> Result<Found<'f, 'a>, Fault> {
        let mut null = false;
        for at in &pick.first {
            let slot = self.slot(*at);
            match slot {
                Slot::Absent => {}
                Slot::Null => null = true,
                Slot::Text("") if pick.empty_is_absent => {}
                _ => return self.through_table(field, pick, *at, slot),
            }
        }
        Ok(match &pick.default {
            Some(stated) => Found::Stated(stated),
            None => Found::Nothing { null },
        })
    }

    fn through_table(
        &self,
        field: &'a Field,
        pick: &'a Pick,
        at: Ref,
        slot: &'f Slot<'a>,
    ) -> Result<Found<'f, 'a>, Fault> {
        let Some(table) = &pick.table else { return Ok(Found::At(at, slot)) };
        let place = slot.scalar().and_then(|it| table.names.find(&it));
        match (place, &table.otherwise) {
            (Some(place), _) => Ok(Found::Stated(&table.values[place])),
            (None, Some(otherwise)) => Ok(Found::Stated(otherwise)),
            (None, None) => {
                let expected = "a value that the mapping's table names".into();
                Err(self.fault("schemas/out-of-range", field, at, slot, expected))
            }
        }
    }

    #[inline(always)]
    fn nothing<T>(&self, field: &'a Field) -> Result<Option<T>, Fault> {
        if field.required { Err(self.missing(field)) } else { Ok(None) }
    }

    /// That a field which must be there is not.
    #[cold]
    pub(super) fn missing(&self, field: &'a Field) -> Fault {
        let at = match &field.source {
            Source::Slot(at) => Some(*at),
            Source::Pick(pick) => pick.first.first().copied(),
            Source::Sum(parts) => parts.first().copied(),
            Source::Constant(_) | Source::Template(_) => None,
        };
        Box::new(Problem {
            code: "schemas/wrong-shape",
            pointer: at.map_or_else(String::new, |at| self.pointer(at)),
            expected: format!("a value for {}", field.name),
            found: at.map_or_else(|| "nothing".into(), |at| self.slot(at).told()),
        })
    }

    /// That a text does not keep to its limits, wherever it came from.
    #[cold]
    fn unfit(&self, code: &'static str, field: &'a Field, text: &str, expected: &str) -> Fault {
        let at = match self.found(field) {
            Ok(Found::At(at, _)) => self.pointer(at),
            _ => String::new(),
        };
        Box::new(Problem {
            code,
            pointer: at,
            expected: format!("{expected}, for {}", field.name),
            found: crate::problem::shortened(format!("\"{text}\"").as_bytes()),
        })
    }

    #[cold]
    pub(super) fn fault(
        &self,
        code: &'static str,
        field: &'a Field,
        at: Ref,
        slot: &Slot<'_>,
        expected: String,
    ) -> Fault {
        Box::new(Problem {
            code,
            pointer: self.pointer(at),
            expected: format!("{expected}, for {}", field.name),
            found: slot.told(),
        })
    }
}

/// The code for a value that should have been one of some texts.
fn unfit_text(slot: &Slot<'_>) -> &'static str {
    match slot {
        Slot::Text(_) | Slot::Escaped(_) => "schemas/out-of-range",
        _ => "schemas/wrong-shape",
    }
}

fn is_whole(digits: &str) -> bool {
    !digits.bytes().any(|it| matches!(it, b'.' | b'e' | b'E'))
}
