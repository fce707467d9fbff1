//! How well it stands with each customer: a score, a band, and the strongest reasons.
//!
//! In: [`Update`]. Out: rows of [`DEF`].
//!
//! # Meaning
//! One row per customer who bought something, opened a case, or wrote a text. Six components, each
//! 0 to 100 ([`judge`]): how long ago the last purchase is against the customer's own rhythm; how
//! often they buy; whether they spend more or less than before; how their texts feel; cases that
//! are open; orders that are or came late. The score is their mean, weighed by [`Terms`], over
//! those that are known; the band is that of the score. `band_before` and `band_since` say of which
//! band the customer was before, and since which day that is over, if it was within the last
//! [`LOOK_BACK`] days, by what was known of those days. A change of band is a change of the row: in
//! ClickHouse the table `health_changes` has every one of them.
//!
//! The key is `customer`. Where customers are put together as persons, the view `profile_health`
//! judges what is known of all of them ([`united`]); nothing here but the key knows whom it is about.
//!
//! # Invariants
//! Whole numbers: sums by day, and the newest statement of each kind about each order and case
//! ([`facts`]). So a row is a function of the set of events, and of the day as of which it is made.
//! Days are the customer's own: they begin at midnight UTC and so many milliseconds of the first
//! hour as a hash of the id says, so that a million customers do not move in one epoch. Time moves
//! a row at the start of such a day and at no other instant.
//!
//! Deliberately absent: what is said of an order or a case without naming the customer, or naming
//! another one. An order whose delivery names nobody counts as late from its promise on, until
//! [`facts::SPAN`] days are over; the views `orders` and `order_exceptions` see every statement.
//! Where producers name the customer, the two agree (test: `tests::late_orders_agree_with_orders`).
//! So does `customers` with cases.
//!
//! # State
//! Sixteen bytes in place and one allocation, packed: some 7 bytes for a day with purchases, 5 for
//! one with texts, 12 to 16 for a statement. Bounded by [`facts::CELLS_MAX`],
//! [`facts::TEXTS_MAX`], [`facts::STATEMENTS_MAX`]. Nothing is kept of customers who have only
//! attributes, or whose orders and cases nobody speaks of. Of one of whom something was said of who
//! they are, a bit says so: those are told to `profile_health`, and others cost nothing there.
//!
//! # Why this way
//! The score is made by who reads the row: a weight that is changed needs no state to be made anew,
//! and a worker takes in an event without judging anybody.

use std::cell::RefCell;

use compact_str::CompactString;
use schemas::events::{Data, Event, OrderReversed, Status};
use schemas::names::{Currency, Fingerprint, Kind, Name};
use schemas::rows::{FieldDef, FieldKind, Row, Shape, Value, ViewDef};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::erased::Gone;
use crate::hash_of;
use crate::packed::Writer;
use crate::served::layout;
use crate::{Epoch, Fold, Keep};

pub mod backtest; // what the bands would have told
mod facts; // what is kept of a customer
mod judge; // what it comes to
mod reference;
mod terms;
#[cfg(test)]
mod tests;
mod united; // what is known of several who are one

pub use facts::{CELLS_MAX, SPAN, STATEMENTS_MAX, TEXTS_MAX};
pub use reference::reference;
pub(crate) use reference::{of_persons, standings};
pub use terms::{Band, PARTS, Terms, set_terms, terms};
pub(crate) use united::Packed;

use facts::{Facts, Said, Statement, What};
use judge::{Judged, Known, LOOK_BACK};

/// What is said of whom a row is about, whoever that is.
const JUDGED: [FieldDef; 11] = [
    FieldDef::new("score", FieldKind::Int, false, true, "From 0 (worst) to 100."),
    FieldDef::new("band", FieldKind::Text, false, true, "The band of the score."),
    FieldDef::new(
        "band_before",
        FieldKind::Text,
        true,
        true,
        "The band before that one, where it changed within the last 28 days.",
    ),
    FieldDef::new(
        "band_since",
        FieldKind::Time,
        true,
        false,
        "The start of the day on which it changed, or on which the customer came, within the \
         last 28 days.",
    ),
    FieldDef::new(
        "recency",
        FieldKind::Int,
        true,
        false,
        "0 to 100: the time since the last purchase, against the customer's own rhythm; null: \
         nothing was bought.",
    ),
    FieldDef::new(
        "frequency",
        FieldKind::Int,
        true,
        false,
        "0 to 100: days with a purchase, older ones counting less.",
    ),
    FieldDef::new(
        "trend",
        FieldKind::Int,
        true,
        false,
        "0 to 100: money spent in the last 90 days against the nine months before; 50 is as \
         before, null too new to say.",
    ),
    FieldDef::new(
        "sentiment",
        FieldKind::Int,
        true,
        false,
        "0 to 100: texts of the last 90 days; 50 is neutral, null there are none.",
    ),
    FieldDef::new(
        "cases",
        FieldKind::Int,
        false,
        false,
        "0 to 100: 20 less for each open case, 30 more if it is open for long.",
    ),
    FieldDef::new(
        "late_orders",
        FieldKind::Int,
        false,
        false,
        "0 to 100: 40 less for each order that is late, 20 for each that came late in the last \
         60 days.",
    ),
    FieldDef::new(
        "reasons",
        FieldKind::Json,
        false,
        false,
        "At most three, the strongest first: words, and points (what it does to the score).",
    ),
];

/// A row's fields: of whom, and what is said of them; room for more behind that.
pub(crate) const fn fields<const N: usize>(whom: FieldDef) -> [FieldDef; N] {
    let mut all = [whom; N];
    let mut at = 0;
    while at < JUDGED.len() {
        all[at + 1] = JUDGED[at];
        at += 1;
    }
    all
}

static FIELDS: [FieldDef; JUDGED.len() + 1] =
    fields(FieldDef::new("customer", FieldKind::Text, false, true, "The customer."));

/// The catalogue's entry.
pub static DEF: ViewDef = ViewDef {
    name: "health",
    words: "How well it stands with each customer: a score, a band, and the strongest reasons.",
    shape: Shape::Fold,
    key: &["customer"],
    fields: &FIELDS,
};

/// The place of the components among the fields.
const FIRST_PART: usize = 5;

/// The fold.
pub struct Health;

/// What an event says of a customer's health.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Update {
    /// Milliseconds after midnight UTC at which the customer's days begin.
    offset: u32,
    said: Said,
}

/// Days begin within so many milliseconds of midnight UTC.
const SPREAD_MS: u64 = 3_600_000;

/// When the days of a customer begin, milliseconds after midnight UTC.
pub(crate) fn offset_of(customer: &str) -> u32 {
    (hash_of(customer) % SPREAD_MS) as u32
}

impl Update {
    /// What a text says that feels so, ten-thousandths.
    pub(crate) fn text(customer: &str, time: i64, score: i32) -> Update {
        let offset = offset_of(customer);
        let day = facts::day_of(millis(time), offset);
        Update { offset, said: Said::Text { day, score } }
    }

    /// That something was said of who a customer is.
    pub(crate) fn identity(customer: &str) -> Update {
        Update { offset: offset_of(customer), said: Said::Identity }
    }

    /// What else an event says, and of whom: to `emit`. `amount`: the order's whole amount, for
    /// `order.placed`; `id_of`: what stands
    /// for the order or the case that it is about.
    pub(crate) fn each<'e>(
        event: &'e Event<'_>,
        amount: i64,
        id_of: impl Fn(Kind, &str) -> u128,
        mut emit: impl FnMut(&'e str, Update),
    ) {
        let at = millis(event.time);
        let money = |customer: &str, n, currency, amount: i64| {
            let day = facts::day_of(at, offset_of(customer));
            let amount = amount.clamp(-facts::AMOUNT_MAX, facts::AMOUNT_MAX);
            Said::Bought { day, currency, n, amount }
        };
        let statement = |what, promised, id: u128| {
            Said::Statement(Statement { at, promised, what, id: id as u64 & Statement::ID })
        };
        let mut tell = |customer: &'e str, said| {
            emit(customer, Update { offset: offset_of(customer), said });
        };
        match &event.data {
            Data::OrderPlaced(it) => {
                let customer: &str = &it.customer;
                tell(customer, money(customer, 1, it.currency, amount));
                let promised = it.promised_at.map(millis);
                let near = |it: &i64| (it - at).abs() <= SPAN * facts::DAY_MS;
                if let Some(promised) = promised.filter(near) {
                    tell(
                        customer,
                        statement(What::Promised, promised, id_of(Kind::Order, &it.order)),
                    );
                }
            }
            Data::OrderStatusChanged(it) if it.line.is_none() => {
                let what = match it.status {
                    Status::Delivered => What::Delivered,
                    Status::Cancelled => What::Cancelled,
                    _ => return,
                };
                if let Some(customer) = &it.customer {
                    tell(customer, statement(what, 0, id_of(Kind::Order, &it.order)));
                }
            }
            Data::OrderCancelled(it) => {
                let Some(customer) = it.customer.as_deref() else { return };
                if let Some((currency, amount)) = given_back(it) {
                    tell(customer, money(customer, 0, currency, -amount));
                }
                tell(customer, statement(What::Cancelled, 0, id_of(Kind::Order, &it.order)));
            }
            Data::OrderReturned(it) => {
                let Some(customer) = it.customer.as_deref() else { return };
                if let Some((currency, amount)) = given_back(it) {
                    tell(customer, money(customer, 0, currency, -amount));
                }
            }
            Data::CaseOpened(it) => {
                tell(&it.customer, statement(What::Opened, 0, id_of(Kind::Case, &it.case)));
            }
            Data::CaseResolved(it) => {
                if let Some(customer) = &it.customer {
                    tell(customer, statement(What::Resolved, 0, id_of(Kind::Case, &it.case)));
                }
            }
            // Of the other one of two: [`Update::identity`].
            Data::CustomerIdentified(it) | Data::CustomerUnlinked(it) => {
                tell(&it.customer, Said::Identity);
            }
            Data::CustomerLinkedByHand(it) | Data::CustomerSeparatedByHand(it) => {
                tell(&it.customer, Said::Identity);
            }
            _ => {}
        }
    }
}

fn given_back(it: &OrderReversed<'_>) -> Option<(Currency, i64)> {
    it.currency.zip(it.amount)
}

/// Microseconds as milliseconds.
fn millis(time: i64) -> i64 {
    time.div_euclid(1_000)
}

/// What is known of a customer: [`Facts`], packed.
#[derive(Clone, Debug, Default)]
pub struct State(Option<Packed>);

thread_local! {
    /// Where facts are taken apart and put together again.
    static SCRATCH: RefCell<(Facts, Vec<u8>)> = RefCell::default();
}

impl State {
    fn facts(&self) -> Facts {
        let mut facts = Facts::default();
        if let Some(it) = &self.0 {
            it.unpack(&mut facts);
        }
        facts
    }

    /// What is known, of one of whom something was said of who they are.
    pub(crate) fn told(&self) -> Option<&Packed> {
        self.0.as_ref().filter(|it| it.head().is_told_of)
    }

    /// Takes an update in.
    pub(crate) fn take(&mut self, update: &Update) {
        SCRATCH.with_borrow_mut(|(facts, bytes)| {
            facts.clear();
            if let Some(it) = &self.0 {
                it.unpack(facts);
            }
            facts.offset = update.offset;
            facts.take(&update.said);
            self.0 = Some(Packed::of(facts, bytes));
        });
    }

    /// Of a customer who opened a case: the band at an instant, and the better one of which they
    /// were one to four weeks before. Nobody else has cases that would wait for it.
    pub(crate) fn standing(&self, now: Epoch) -> Option<(CompactString, Option<CompactString>)> {
        if !self.0.as_ref()?.head().has_cases {
            return None;
        }
        let facts = self.facts();
        standing(&facts, facts.day_at(now))
    }

    /// Score and place of the band at an instant; none where there is nothing to say.
    pub(crate) fn judged(&self, now: Epoch, terms: &Terms) -> Option<(u8, usize)> {
        let facts = self.facts();
        let judged = judge::judge(&Known::of(&facts), facts.day_at(now), i64::MAX, terms)?;
        Some((judged.score, judged.band))
    }
}

impl Fold for Health {
    type Update = Update;
    type State = State;
    const DEF: &'static ViewDef = &DEF;

    fn apply(state: &mut State, update: &Update) {
        state.take(update);
    }

    fn row(name: &Name, state: &State, now: Epoch) -> Option<Row> {
        Some(Row { values: state.0.as_ref()?.judged(name, now)? })
    }

    const OWNED: bool = true;

    /// The key is the customer's own.
    fn settle(key: Fingerprint, _: &Name, state: &State, gone: &Gone) -> Option<State> {
        (state.0.is_some() && gone.has(key)).then(State::default)
    }

    fn exists(state: &State) -> bool {
        state.0.as_ref().is_some_and(|it| it.head().is_said)
    }

    fn fields(name: &Name, state: &State, now: Epoch, fields: &[usize], into: &mut Vec<Value>) {
        let facts = state.facts();
        let made = values(name, &facts, facts.day_at(now), fields);
        into.extend(made.unwrap_or_else(|| vec![Value::Null; fields.len()]));
    }

    /// At the start of each of the customer's days, as long as it can change something.
    fn next_due(state: &State, after: Epoch) -> Option<Epoch> {
        state.0.as_ref()?.head().next_day(after)
    }

    fn heap_bytes(state: &State) -> usize {
        state.0.as_ref().map_or(0, Packed::heap_bytes)
    }
}

/// Some fields of the row as of a day; none where there is nothing to say.
fn values(name: &Name, facts: &Facts, day: i64, fields: &[usize]) -> Option<Vec<Value>> {
    let (terms, known) = (terms(), Known::of(facts));
    let judged = judge::judge(&known, day, i64::MAX, &terms)?;
    let band = |it: usize| Value::Text(terms.bands[it].name.clone());
    let mut changed = None;
    let mut values = Vec::with_capacity(fields.len());
    for field in fields {
        values.push(match field {
            0 => Value::Text(crate::key_id(name)),
            1 => Value::Int(judged.score.into()),
            2 => band(judged.band),
            3 | 4 => {
                let (before, since) =
                    *changed.get_or_insert_with(|| judge::changed(&known, day, &judged, &terms));
                match field {
                    3 => before.map_or(Value::Null, band),
                    _ => since.map_or(Value::Null, |it| {
                        Value::Time(facts::start_of(it, facts.offset) * 1_000)
                    }),
                }
            }
            11 => reasons(&judged, &terms),
            part => judged.parts[part - FIRST_PART]
                .as_ref()
                .map_or(Value::Null, |it| Value::Int(it.value)),
        });
    }
    Some(values)
}

/// The band as of a day, and the better one of the weeks before, if there was one.
fn standing(facts: &Facts, day: i64) -> Option<(CompactString, Option<CompactString>)> {
    let (terms, known) = (terms(), Known::of(facts));
    let judged = judge::judge(&known, day, i64::MAX, &terms)?;
    let before = judge::fell_from(&known, day, &judged, &terms);
    let name = |it: usize| terms.bands[it].name.clone();
    Some((name(judged.band), before.map(name)))
}

fn reasons(judged: &Judged, terms: &Terms) -> Value {
    let reasons = judge::reasons(judged, terms);
    let each = reasons.iter().map(|(points, words)| json!({"points": points, "words": words}));
    Value::Json(each.collect())
}

impl Keep for Health {
    const LAYOUT: &'static str = layout!(
        "health 2: 0, or 1 and when days begin with whether there is a row, a case and something of who it \
         is, the first and the last day, days with purchases by currency, days with texts, statements by time"
    );

    fn store(state: &State, into: &mut Vec<u8>) {
        into.push(u8::from(state.0.is_some()));
        into.extend_from_slice(state.0.as_ref().map_or(&[], Packed::bytes));
    }

    fn restore(bytes: &[u8]) -> Option<State> {
        let (has, rest) = bytes.split_first()?;
        match has {
            0 => rest.is_empty().then(State::default),
            1 => {
                let mut facts = Facts::default();
                facts.unpack(rest)?;
                if !facts.is_whole() {
                    return None;
                }
                // There is one way to write them.
                let mut again = Vec::with_capacity(rest.len());
                facts.pack(&mut Writer(&mut again));
                (again == rest).then(|| State(Some(Packed::from_bytes(rest))))
            }
            _ => None,
        }
    }
}
