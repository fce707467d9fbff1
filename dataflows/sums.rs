//! Sums of money by currency.
//!
//! # Invariants
//! Amounts are never negative. A sum saturates at `i64::MAX` and never wraps; for amounts that are
//! not negative a saturating sum is the same in every order. It does so in the open: the words of
//! every field that shows such a sum say that `i64::MAX` means at least that. Currencies of
//! different sums are never added.
//!
//! # Why this way
//! Nearly every customer pays in one currency: the first is kept in place, others behind an
//! `Arc`, so that keeping an old version copies 24 bytes. A vector takes a quarter of what a map would.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemas::names::Currency;
use schemas::rows::Value;
use serde_json::{Map, Value as Json};

use crate::packed::{Checked, Writer};

/// Currency to minor units.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Sums {
    amount: i64,
    /// In the order of the currencies.
    rest: Option<Arc<Vec<(Currency, i64)>>>,
    currency: Currency,
}

impl Sums {
    /// Adds an amount.
    #[inline]
    pub(crate) fn add(&mut self, currency: Currency, amount: i64) {
        if self.currency == Currency::NONE {
            self.currency = currency;
        }
        if self.currency == currency {
            self.amount = self.amount.saturating_add(amount);
        } else {
            let rest = Arc::make_mut(self.rest.get_or_insert_default());
            let place = rest.binary_search_by_key(&currency, |it| it.0).unwrap_or_else(|place| {
                // Nothing is reserved for growth: hardly anybody pays in many.
                rest.reserve_exact(1);
                rest.insert(place, (currency, 0));
                place
            });
            let sum = &mut rest[place].1;
            *sum = sum.saturating_add(amount);
        }
    }

    /// Every currency with its sum, the first stated first.
    pub(crate) fn each(&self) -> impl Iterator<Item = (Currency, i64)> + '_ {
        let first = (self.currency != Currency::NONE).then_some((self.currency, self.amount));
        let rest = self.rest.iter().flat_map(|it| it.iter().copied());
        first.into_iter().chain(rest)
    }

    /// The sum in this currency; `None` if there was no amount in it.
    pub(crate) fn get(&self, currency: Currency) -> Option<i64> {
        if self.currency == currency {
            return (currency != Currency::NONE).then_some(self.amount);
        }
        let rest = self.rest.as_ref()?;
        let place = rest.binary_search_by_key(&currency, |it| it.0).ok()?;
        Some(rest[place].1)
    }

    /// Surely nothing was added between these two versions (cheap; may say no where nothing was).
    #[inline]
    pub(crate) fn is_same_as(&self, other: &Sums) -> bool {
        self.amount == other.amount
            && self.currency == other.currency
            && match (&self.rest, &other.rest) {
                (None, None) => true,
                (Some(a), Some(b)) => Arc::ptr_eq(a, b),
                _ => false,
            }
    }

    /// The first stated first, the others in the order of their letters.
    pub(crate) fn store(&self, into: &mut Writer<'_>) {
        into.count(self.each().count() as u64);
        for (currency, amount) in self.each() {
            into.0.extend_from_slice(currency.as_str().as_bytes());
            into.int(amount);
        }
    }

    pub(crate) fn restore(from: &mut Checked<'_>) -> Option<Sums> {
        let mut sums = Sums::default();
        let n: usize = from.count()?;
        let mut rest: Vec<(Currency, i64)> = Vec::new();
        for place in 0..n {
            let currency = Currency::parse(std::str::from_utf8(from.bytes(3)?).ok()?)?;
            let amount = from.int()?;
            if place == 0 {
                (sums.currency, sums.amount) = (currency, amount);
            } else if currency != sums.currency && rest.last().is_none_or(|it| it.0 < currency) {
                rest.reserve_exact(1);
                rest.push((currency, amount));
            } else {
                return None;
            }
        }
        sums.rest = (!rest.is_empty()).then(|| Arc::new(rest));
        Some(sums)
    }

    /// Bytes kept outside.
    pub(crate) fn heap_bytes(&self) -> usize {
        let vector = 16 + size_of::<Vec<(Currency, i64)>>();
        self.rest.as_ref().map_or(0, |it| vector + it.capacity() * size_of::<(Currency, i64)>())
    }
}

/// Sums as a row's field, `{"EUR": 1200}`, in the order of the currencies' letters.
pub(crate) fn money(sums: impl Iterator<Item = (Currency, i64)>) -> Value {
    let sorted: BTreeMap<Currency, i64> = sums.collect();
    let object = sorted.iter().map(|(c, n)| (c.as_str().to_string(), Json::from(*n)));
    Value::Json(Json::Object(object.collect::<Map<_, _>>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a sum does not depend on the order, nor wrap. Method: both orders of three amounts.
    #[test]
    fn sums_in_any_order() {
        let (eur, usd) = (Currency::parse("EUR").unwrap(), Currency::parse("USD").unwrap());
        let amounts = [(eur, 5), (usd, i64::MAX), (eur, 0), (usd, 3)];
        let (mut forth, mut back) = (Sums::default(), Sums::default());
        amounts.iter().for_each(|(c, n)| forth.add(*c, *n));
        amounts.iter().rev().for_each(|(c, n)| back.add(*c, *n));
        for it in [&forth, &back] {
            assert_eq!(it.get(eur), Some(5));
            assert_eq!(it.get(usd), Some(i64::MAX));
            assert_eq!(it.get(Currency::NONE), None);
        }
        assert_eq!(money(forth.each()), money(back.each()));
        assert!(!forth.is_same_as(&back) && forth.is_same_as(&forth.clone()));
        assert_eq!(money(Sums::default().each()), Value::Json(serde_json::json!({})));
    }
}
