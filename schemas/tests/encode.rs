//! Goal: what is encoded is read back as it was. Method: every kind of event with everything said,
//! and with as little as may be said.

use schemas::decode::structured;
use schemas::encode;
use schemas::events::*;
use schemas::names::Currency;

fn events() -> Vec<Data<'static>> {
    let is = |it: &'static str| Field::Is(it.into());
    let some = |it: &'static str| Some(it.into());
    let eur = Currency::parse("EUR").unwrap();
    let whole = Customer {
        customer: "C-1".into(),
        name: is("Ada \"A\" Öztürk"),
        email: Field::Withdrawn,
        phone: is("+49 30 1"),
        tier: is("gold"),
        language: is("de"),
        country: is("DE"),
        time_zone: is("Europe/Berlin"),
        attributes: vec![("shoe size".into(), some("38")), ("old".into(), None)],
    };
    let plain = Customer { customer: "C-1".into(), ..Customer::default() };
    let line = Line {
        sku: "S-1".into(),
        quantity: 3,
        unit_price: 1999,
        ship_from: some("W1"),
        ship_to: some("X"),
        carrier: some("slow"),
        seller: some("S"),
    };
    let short =
        Line { ship_from: None, ship_to: None, carrier: None, seller: None, ..line.clone() };
    let reversed = OrderReversed {
        order: "O-1".into(),
        customer: some("C-1"),
        amount: Some(5),
        currency: Some(eur),
        reason: some("too\tlate"),
    };
    let case = CaseOpened {
        case: "K-1".into(),
        customer: "C-1".into(),
        severity: 2,
        text: some("no"),
        queue: "q".into(),
        skills: vec!["german".into()],
    };
    let planned = MessagePlanned {
        message: "m-1".into(),
        rule: "stuck".into(),
        version: "1f".into(),
        view: "orders".into(),
        about: "O-1".into(),
        episode: "2026-01-01T00:00:00Z".into(),
        channel: "ops".into(),
        severity: "warning".into(),
        text: "order \"O-1\" is stuck".into(),
        reason: some("is_late, was false"),
        corrects: some("m-0"),
        suppressed: some("quiet"),
        customer: some("C-1"),
        due: Some(1_767_225_600_123_456),
        expires: Some(1_767_225_700_123_456),
    };
    vec![
        Data::CustomerRegistered(whole.clone().into()),
        Data::CustomerUpdated(whole.into()),
        Data::CustomerRegistered(plain.clone().into()),
        Data::CustomerUpdated(plain.into()),
        Data::OrderPlaced(OrderPlaced {
            order: "O-1".into(),
            customer: "C-1".into(),
            currency: eur,
            lines: vec![line, short],
            promised_at: Some(1_767_225_600_123_456),
            channel: some("web"),
        }),
        Data::OrderStatusChanged(OrderStatusChanged {
            order: "O-1".into(),
            status: Status::OutForDelivery,
            line: Some(2),
            customer: some("C-1"),
        }),
        Data::OrderStatusChanged(OrderStatusChanged {
            order: "O-1".into(),
            status: Status::Placed,
            line: None,
            customer: None,
        }),
        Data::OrderCancelled(reversed.clone()),
        Data::OrderReturned(reversed),
        Data::OrderCancelled(OrderReversed {
            order: "O-1".into(),
            customer: None,
            amount: None,
            currency: None,
            reason: None,
        }),
        Data::FeedbackSubmitted(FeedbackSubmitted {
            customer: some("C-1"),
            order: some("O-1"),
            product: some("S-1"),
            rating: Some(5),
            text: some("\u{1F600} fine"),
        }),
        Data::CaseOpened(case.clone()),
        Data::CaseOpened(CaseOpened { text: None, skills: vec![], ..case }),
        Data::CaseAssigned(CaseAssigned {
            case: "K-1".into(),
            agent: "A-1".into(),
            queue: some("q"),
            customer: some("C-1"),
            until: Some(1_767_225_600_123_456),
        }),
        Data::CaseResolved(CaseResolved {
            case: "K-1".into(),
            customer: some("C-1"),
            resolution: some("done"),
        }),
        Data::InteractionRecorded(InteractionRecorded {
            customer: "C-1".into(),
            channel: "web".into(),
            action: "view".into(),
            target: some("/a"),
            text: some("hm"),
        }),
        Data::MessagePlanned(Box::new(planned.clone())),
        Data::MessagePlanned(Box::new(MessagePlanned {
            reason: None,
            corrects: None,
            suppressed: None,
            customer: None,
            due: None,
            expires: None,
            ..planned
        })),
        Data::MessageAnswered(MessageAnswered {
            message: "m-1".into(),
            outcome: "refused".into(),
            reason: some("410 Gone"),
            attempts: Some(3),
        }),
        Data::MessageMarked(MessageMarked {
            message: "m-1".into(),
            mark: "snoozed".into(),
            by: some("zoe"),
            until: Some(1_772_357_400_000_000),
        }),
        Data::RecordUpserted(RecordUpserted {
            table: "public.orders".into(),
            key: "7/a%2Fb".into(),
            fields: r#"{"id":7,"name":"Ö\"","price":1.5,"tags":["x"],"gone":null}"#.into(),
            version: "66756335160/1".into(),
        }),
        Data::CustomerIdentified(Identified {
            customer: "C-1".into(),
            kind: "email".into(),
            value: " Ann@Example.org".into(),
            country: some("DE"),
        }),
        Data::CustomerUnlinked(Identified {
            customer: "C-1".into(),
            kind: "loyalty_card".into(),
            value: "7".into(),
            country: None,
        }),
        Data::CustomerLinkedByHand(ByHand {
            customer: "C-1".into(),
            other: "C-2".into(),
            agent: some("ann"),
            reason: some("the same face"),
        }),
        Data::CustomerErased(Erased { customers: vec!["C-1".into(), "C-2".into()] }),
        Data::CustomerSeparatedByHand(ByHand {
            customer: "C-1".into(),
            other: "C-2".into(),
            agent: None,
            reason: None,
        }),
        Data::LoadMeasured(LoadMeasured {
            series: "calls/north".into(),
            bucket_minutes: 30,
            value: 10_000_000_000_000,
        }),
        Data::SystemMeasured(SystemMeasured {
            process: "main".into(),
            seconds: 3_600,
            n_events: 10_000_000_000_000,
            busy_micros: 7,
            workers: 65_535,
            processors: 2,
        }),
        Data::RecordDeleted(RecordDeleted {
            table: "public.orders".into(),
            key: "7".into(),
            version: "1/2/0/1".into(),
        }),
    ]
}

#[test]
fn what_is_encoded_is_read_back() {
    for tenant in ["default", "acme"] {
        for data in events() {
            let event = Event {
                tenant: tenant.into(),
                source: "/shop".into(),
                id: "1".into(),
                time: 1_767_225_600_000_001,
                data,
            };
            let text = encode::structured(&event);
            let shown = String::from_utf8_lossy(&text);
            let back = structured(&text).unwrap_or_else(|why| panic!("{why}\n{shown}"));
            assert_eq!(back, event, "{shown}");
        }
    }
}
