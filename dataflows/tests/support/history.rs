//! Random histories: few entities, many collisions. Two tenants with equal ids, equal times,
//! late events, every type, several currencies, promises around the epochs.

use std::borrow::Cow;

use proptest::prelude::*;
use schemas::events::*;
use schemas::names::Currency;

/// Milliseconds since the Unix epoch at which every history begins.
pub(crate) const START_MS: u64 = 1_767_225_600_000;

/// The span of event times and promises, in milliseconds.
pub(crate) const SPAN_MS: u64 = 10_000;

type Owned = Cow<'static, str>;

fn one_of(texts: &'static [&'static str]) -> impl Strategy<Value = Owned> {
    proptest::sample::select(texts).prop_map(Cow::Borrowed)
}

fn maybe<T: std::fmt::Debug>(of: impl Strategy<Value = T>) -> impl Strategy<Value = Option<T>> {
    proptest::option::of(of)
}

/// Some need encoding in a key, some are not ASCII, some are too long to be kept inline.
fn customer() -> impl Strategy<Value = Owned> {
    one_of(&["C1", "C2", "C/3%", "Zo\u{eb}", "C5-with-an-id-longer-than-twenty-four-bytes"])
}

fn order() -> impl Strategy<Value = Owned> {
    one_of(&["O1", "O2", "O3/a", "C1"])
}

fn case() -> impl Strategy<Value = Owned> {
    one_of(&["T1", "T2", "C1"])
}

/// Few distinct instants, many of them equal, some within the same millisecond.
pub(crate) fn instant() -> impl Strategy<Value = i64> {
    let at = |ms: u64, micros: i64| (START_MS + ms) as i64 * 1_000 + micros;
    prop_oneof![
        (0..4_u64).prop_map(move |it| at(it * SPAN_MS / 4, 0)),
        (0..SPAN_MS).prop_map(move |it| at(it, 0)),
        (0..SPAN_MS, -1..=1_i64).prop_map(move |(it, micros)| at(it + 1, micros)),
        // Another minute.
        (0..3_u64).prop_map(move |it| at(it * 61_000, 7)),
    ]
}

fn currency() -> impl Strategy<Value = Currency> {
    proptest::sample::select(&["EUR", "USD", "JPY"][..])
        .prop_map(|it| Currency::parse(it).expect("three letters"))
}

fn field() -> impl Strategy<Value = Field<'static>> {
    prop_oneof![
        2 => Just(Field::Absent),
        1 => Just(Field::Withdrawn),
        2 => one_of(&["", "gold", "silver", "a value that is longer than twenty-four bytes"])
            .prop_map(Field::Is),
    ]
}

fn attributes() -> impl Strategy<Value = Vec<(Owned, Option<Owned>)>> {
    let attribute = (one_of(&["shoe", "hat", "coat"]), maybe(one_of(&["1", "2"])));
    proptest::collection::vec(attribute, 0..3).prop_map(|mut it| {
        it.sort();
        it.dedup_by(|a, b| a.0 == b.0);
        it
    })
}

fn customer_data() -> impl Strategy<Value = Customer<'static>> {
    (customer(), field(), field(), field(), field(), attributes()).prop_map(
        |(customer, name, email, tier, country, attributes)| Customer {
            customer,
            name,
            email,
            tier,
            country,
            attributes,
            ..Customer::default()
        },
    )
}

fn line() -> impl Strategy<Value = Line<'static>> {
    let place = || maybe(one_of(&["north", "south"]));
    (one_of(&["S1", "S2"]), 1..4_i64, 0..50_i64, place(), place()).prop_map(
        |(sku, quantity, unit_price, ship_from, seller)| Line {
            sku,
            quantity,
            unit_price,
            ship_from,
            ship_to: None,
            carrier: None,
            seller,
        },
    )
}

fn placed() -> impl Strategy<Value = Data<'static>> {
    let lines = proptest::collection::vec(line(), 1..4);
    (order(), customer(), currency(), lines, maybe(instant()), maybe(one_of(&["web"]))).prop_map(
        |(order, customer, currency, lines, promised_at, channel)| {
            Data::OrderPlaced(OrderPlaced {
                order,
                customer,
                currency,
                lines,
                promised_at,
                channel,
            })
        },
    )
}

fn status_changed() -> impl Strategy<Value = Data<'static>> {
    let status = proptest::sample::select(&Status::ALL[..]);
    (order(), status, maybe(1..5_u16), maybe(customer())).prop_map(
        |(order, status, line, customer)| {
            Data::OrderStatusChanged(OrderStatusChanged { order, status, line, customer })
        },
    )
}

fn reversed() -> impl Strategy<Value = Data<'static>> {
    let reason = maybe(one_of(&["late", "broken"]));
    let amount = maybe((1..90_i64, currency()));
    (any::<bool>(), order(), maybe(customer()), amount, reason).prop_map(
        |(cancelled, order, customer, amount, reason)| {
            let (amount, currency) = (amount.map(|it| it.0), amount.map(|it| it.1));
            let reversed = OrderReversed { order, customer, amount, currency, reason };
            if cancelled { Data::OrderCancelled(reversed) } else { Data::OrderReturned(reversed) }
        },
    )
}

fn feedback() -> impl Strategy<Value = Data<'static>> {
    let product = maybe(one_of(&["P1", "P/2"]));
    (maybe(customer()), maybe(order()), product, maybe(1..6_u8), maybe(text())).prop_map(
        |(customer, order, product, rating, text)| {
            Data::FeedbackSubmitted(FeedbackSubmitted { customer, order, product, rating, text })
        },
    )
}

/// Some feel one way, some the other, some not at all; one says nothing.
fn text() -> impl Strategy<Value = Owned> {
    one_of(&[
        "it stopped",
        "  ",
        "GREAT pump, thank you :)",
        "not good at all, I hate it",
        "Ele não chegou 😡",
        "a wonderfulwonderfulwonderfulwonderfulwonderful word, and good",
    ])
}

fn case_data() -> impl Strategy<Value = Data<'static>> {
    let queue = || one_of(&["first", "second"]);
    let skills = proptest::collection::vec(one_of(&["welding", "french"]), 0..3);
    let text = maybe(text());
    prop_oneof![
        (case(), customer(), 1..5_u8, text, queue(), skills).prop_map(
            |(case, customer, severity, text, queue, skills)| {
                Data::CaseOpened(CaseOpened { case, customer, severity, text, queue, skills })
            }
        ),
        (case(), one_of(&["ann", "bob"]), maybe(queue()), maybe(customer()), maybe(instant()))
            .prop_map(|(case, agent, queue, customer, until)| {
                Data::CaseAssigned(CaseAssigned { case, agent, queue, customer, until })
            }),
        (case(), maybe(customer()), maybe(one_of(&["turned on"]))).prop_map(
            |(case, customer, resolution)| {
                Data::CaseResolved(CaseResolved { case, customer, resolution })
            }
        ),
    ]
}

/// Few tables, keys and versions, so that statements of one record meet in every order; versions of
/// other lengths and spellings, many of them equal.
fn record() -> impl Strategy<Value = Data<'static>> {
    let table = one_of(&["public.orders", "a/b", "orders"]);
    let key = one_of(&["1", "1/x", "a%2Fb", "a key that is longer than twenty-four bytes"]);
    let version = one_of(&["9/1", "10/0", "10/1", "10/1", "007/1", "binlog.000003/74/0/1"]);
    let fields = maybe(one_of(&[
        "{}",
        r#"{"id":1,"name":"x"}"#,
        r#"{"id":1.50,"list":[1,"\u0041"],"deep":{"a":null}}"#,
    ]));
    (table, key, version, fields).prop_map(|(table, key, version, fields)| match fields {
        Some(fields) => Data::RecordUpserted(RecordUpserted { table, key, fields, version }),
        None => Data::RecordDeleted(RecordDeleted { table, key, version }),
    })
}

/// Few messages, so that plans and answers of one meet in every order.
fn message() -> impl Strategy<Value = Data<'static>> {
    let message = || one_of(&["m1", "m2/x"]);
    let outcome = one_of(&[
        "planned",
        "delivered",
        "refused",
        "expired",
        "suppressed",
        "forgotten",
        "shrugged",
    ]);
    let reason = maybe(one_of(&["410 Gone", "delivered", "suppressed"]));
    let answered = (message(), outcome, reason, maybe(0..5_i64));
    let said = (one_of(&["stuck", "red"]), maybe(customer()), maybe(one_of(&["quiet"])));
    let mark = one_of(&["acknowledged", "snoozed", "snoozed", "sneezed"]);
    let marked = (message(), mark, maybe(one_of(&["zoe", "ann"])), maybe(instant()));
    prop_oneof![
        marked.prop_map(|(message, mark, by, until)| {
            Data::MessageMarked(MessageMarked { message, mark, by, until })
        }),
        answered.prop_map(|(message, outcome, reason, attempts)| {
            Data::MessageAnswered(MessageAnswered { message, outcome, reason, attempts })
        }),
        (message(), said, text(), maybe(instant()), maybe(instant())).prop_map(
            |(message, (rule, customer, suppressed), text, due, expires)| {
                let planned = MessagePlanned {
                    message,
                    rule,
                    version: "1".into(),
                    view: "orders".into(),
                    about: "O/1".into(),
                    episode: "2026".into(),
                    channel: "ops".into(),
                    severity: "info".into(),
                    text,
                    reason: suppressed.clone(),
                    corrects: customer.clone(),
                    suppressed,
                    customer,
                    due,
                    expires,
                };
                Data::MessagePlanned(planned.into())
            }
        ),
    ]
}

/// Few identifiers, some that say nothing, some of which one person has one; each in several
/// spellings. Of pairs everything is said, also of a customer and themselves.
fn identity() -> impl Strategy<Value = Data<'static>> {
    let kind = one_of(&["email", "email", "phone", "account", "device", "customer", "badge/x"]);
    let value = one_of(&["a@x.org", " A@X.ORG", "null", "0", "b", "b ", "+49 30 1234567"]);
    let said = (any::<bool>(), any::<bool>(), customer(), kind, value, maybe(one_of(&["DE"])));
    prop_oneof![
        3 => said.prop_map(|(no, never, customer, kind, value, country)| {
            let it = Identified { customer, kind, value, country };
            match no && never {
                true => Data::CustomerUnlinked(it),
                false => Data::CustomerIdentified(it),
            }
        }),
        1 => (any::<bool>(), customer(), customer(), maybe(one_of(&["ann"]))).prop_map(
            |(linked, customer, other, agent)| {
                let it = ByHand { customer, other, agent, reason: None };
                match linked {
                    true => Data::CustomerLinkedByHand(it),
                    false => Data::CustomerSeparatedByHand(it),
                }
            }
        ),
    ]
}

/// Some are erased, one of them nobody else speaks of.
fn erased() -> impl Strategy<Value = Data<'static>> {
    let who = one_of(&["C1", "C/3%", "Zo\u{eb}", "C9"]);
    proptest::collection::vec(who, 1..3)
        .prop_map(|customers| Data::CustomerErased(Erased { customers }))
}

fn data() -> impl Strategy<Value = Data<'static>> {
    prop_oneof![
        1 => erased(),
        1 => customer_data().prop_map(|it| Data::CustomerRegistered(it.into())),
        3 => customer_data().prop_map(|it| Data::CustomerUpdated(it.into())),
        5 => placed(),
        6 => status_changed(),
        2 => reversed(),
        2 => feedback(),
        3 => case_data(),
        4 => record(),
        2 => message(),
        6 => identity(),
        1 => (one_of(&["calls", "a/b"]), proptest::sample::select(&[1_u16, 60, 7][..]), 0..9_i64)
            .prop_map(|(series, bucket_minutes, value)| {
                Data::LoadMeasured(LoadMeasured { series, bucket_minutes, value })
            }),
        1 => (1..9_i64, 1..9_i64, 1..5_u16, 1..5_u16).prop_map(
            |(n_events, busy_micros, workers, processors)| {
                let process = "main".into();
                // So slow that a few events are too many, or not.
                let (seconds, busy_micros) = (3_600, busy_micros * 400_000_000);
                Data::SystemMeasured(SystemMeasured {
                    process, seconds, n_events, busy_micros, workers, processors,
                })
            },
        ),
        1 => (customer(), maybe(text())).prop_map(|(customer, text)| {
            let (channel, action) = ("web".into(), "view".into());
            let target = None;
            Data::InteractionRecorded(InteractionRecorded { customer, channel, action, target, text })
        }),
    ]
}

/// Up to this many events, in no order, each once. Ids are unique within tenant and source, and
/// in no relation to time.
pub(crate) fn history(most: usize) -> impl Strategy<Value = Vec<Event<'static>>> {
    let tenant = one_of(&["default", "acme"]);
    let source = one_of(&["//shop", "//desk", DESK, NOTIFY]);
    let event = (tenant, source, any::<u8>(), instant(), data());
    // In two of three nobody is erased: there is more to see.
    let events = (0..3_u8, proptest::collection::vec(event, 1..most));
    events.prop_map(|(luck, events)| {
        let stays = |it: &Data<'_>| luck == 0 || !matches!(it, Data::CustomerErased(_));
        let numbered = events.into_iter().filter(|it| stays(&it.4)).enumerate();
        numbered
            .map(|(n, (tenant, source, scatter, time, data))| {
                // Equal ids in different sources and tenants, as long as identities differ.
                let id = Cow::Owned(format!("{:x}.{:x}", scatter % 4, n / 2));
                let source = if n % 2 == 0 { source } else { Cow::Owned(format!("{source}/2")) };
                Event { tenant, source, id, time, data }
            })
            .collect()
    })
}
