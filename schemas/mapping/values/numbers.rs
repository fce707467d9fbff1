//! From slots to integers, money and times: from their digits, never through floating point.

use std::borrow::Cow;
use std::ops::RangeInclusive;

use super::{Fault, Found, Frames};
use crate::json::{Number, Scanner};
use crate::limits::AMOUNT;
use crate::mapping::digits;
use crate::mapping::program::{Constant, Field, Ref, Source, Written};
use crate::mapping::slots::Slot;

impl<'f, 'a> Frames<'f, 'a> {
    /// A whole number within bounds.
    #[inline]
    pub(in crate::mapping) fn integer(
        &self,
        field: &'a Field,
        range: &RangeInclusive<i64>,
    ) -> Result<Option<i64>, Fault> {
        match self.found(field)? {
            Found::Nothing { .. } => self.nothing(field),
            Found::Stated(Constant::Integer(it)) => Ok(Some(*it)),
            Found::Stated(_) => self.nothing(field),
            Found::At(at, slot) => {
                let expected = || format!("an integer from {} to {}", range.start(), range.end());
                let number = self.number(field, at, slot, expected)?;
                match (Number { text: &number }).as_i64() {
                    Some(it) if range.contains(&it) => Ok(Some(it)),
                    Some(_) => Err(self.fault("schemas/out-of-range", field, at, slot, expected())),
                    None => Err(self.fault("schemas/wrong-shape", field, at, slot, expected())),
                }
            }
        }
    }

    /// Money, in minor units.
    #[inline]
    pub(in crate::mapping) fn amount(&self, field: &'a Field) -> Result<Option<i64>, Fault> {
        if let Source::Sum(parts) = &field.source {
            return self.sum(field, parts);
        }
        match self.found(field)? {
            Found::Nothing { .. } => self.nothing(field),
            Found::Stated(Constant::Integer(it)) => Ok(Some(*it)),
            Found::Stated(_) => self.nothing(field),
            Found::At(at, slot) => self.amount_at(field, at, slot).map(Some),
        }
    }

    fn sum(&self, field: &'a Field, parts: &[Ref]) -> Result<Option<i64>, Fault> {
        if !parts.iter().any(|at| self.slot(*at).is_present()) {
            return self.nothing(field);
        }
        let mut total = 0;
        for at in parts {
            let slot = self.slot(*at);
            if !slot.is_present() {
                let expected = "an amount: every part of a sum must be there".to_string();
                return Err(self.fault("schemas/wrong-shape", field, *at, slot, expected));
            }
            total += self.amount_at(field, *at, slot)?;
            if !AMOUNT.contains(&total) {
                let expected = amount_expected(field);
                return Err(self.fault("schemas/out-of-range", field, *at, slot, expected));
            }
        }
        Ok(Some(total))
    }

    #[inline]
    fn amount_at(&self, field: &'a Field, at: Ref, slot: &'f Slot<'a>) -> Result<i64, Fault> {
        let number = self.number(field, at, slot, || amount_expected(field))?;
        match digits::scaled(&number, i32::from(field.decimals)) {
            Some(it) if !it.cut && AMOUNT.contains(&it.value) => Ok(it.value),
            Some(it) if it.cut => {
                Err(self.fault("schemas/wrong-shape", field, at, slot, amount_expected(field)))
            }
            _ => Err(self.fault("schemas/out-of-range", field, at, slot, amount_expected(field))),
        }
    }

    /// A time, in microseconds.
    #[inline]
    pub(in crate::mapping) fn time(&self, field: &'a Field) -> Result<Option<i64>, Fault> {
        let Some(format) = &field.time else { return self.nothing(field) };
        match self.found(field)? {
            Found::Nothing { .. } | Found::Stated(_) => self.nothing(field),
            Found::At(at, slot) => {
                let micros = match slot {
                    Slot::Number(digits) => format.of_number(digits),
                    _ => slot.text().and_then(|it| format.of_text(&it)),
                };
                if micros.is_none() {
                    let expected = format.expected();
                    return Err(self.fault("schemas/time", field, at, slot, expected));
                }
                Ok(micros)
            }
        }
    }

    /// The digits of a number, or of a text that is one.
    #[inline(always)]
    fn number(
        &self,
        field: &'a Field,
        at: Ref,
        slot: &'f Slot<'a>,
        expected: impl Fn() -> String,
    ) -> Result<Cow<'a, str>, Fault> {
        if let (Slot::Number(digits), true) = (slot, field.written != Written::Text) {
            return Ok(Cow::Borrowed(digits));
        }
        let text = slot.text().filter(|_| field.written != Written::Number);
        let is_number = |it: &Cow<'a, str>| {
            // White space around a number is not part of one.
            Scanner::over(it).number().is_ok_and(|number| number.text.len() == it.len())
        };
        text.filter(is_number)
            .ok_or_else(|| self.fault("schemas/wrong-shape", field, at, slot, expected()))
    }
}

fn amount_expected(field: &Field) -> String {
    match field.decimals {
        0 => "an amount in whole minor units from 0 to 10^13".into(),
        n => format!("an amount with at most {n} decimals, not negative"),
    }
}
