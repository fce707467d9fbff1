//! Realistic events for demonstrations and benches: customers, orders of several lines walking
//! through their life, feedback with text, cases and interactions, of two tenants.
//!
//! In: a [`Shape`]. Out: structured CloudEvents, one after the other, without end.
//!
//! # Meaning
//! The same shape gives the same events, byte for byte (`src/generator.rs`, tests). Every event is
//! one of the contract. The first two of each tenant register customer `C-<base + 1>` and place
//! order `O-<base + 1>`, so that there is something to ask for at once.
//!
//! # State
//! Open orders, open cases and some delivered orders, each bounded; a customer costs nothing but
//! a count.

mod past; // what was measured before
mod persons; // who is one person
mod random; // numbers from a seed
mod words; // sentences from a grammar

use std::borrow::Cow;

use schemas::encode;
use schemas::events::{
    CaseAssigned, CaseOpened, CaseResolved, Customer, Data, Event, FeedbackSubmitted, Field,
    InteractionRecorded, Line, OrderPlaced, OrderReversed, OrderStatusChanged, Status,
};
use schemas::names::Currency;

pub use past::past;
use random::Random;

/// The tenants; events alternate between them at random, two to one.
pub const TENANTS: [&str; 2] = ["acme", "globex"];

/// Open orders of a tenant; with so many, one that is open goes on instead of a new one.
const MAX_OPEN: usize = 5_000;
/// Delivered orders that may still be returned or spoken about.
const MAX_DELIVERED: usize = 1_000;
/// Articles that are sold.
const ARTICLES: u64 = 400;

/// The life of an order that goes well.
const LIFE: [Status; 6] = [
    Status::Paid,
    Status::InProduction,
    Status::QualityChecked,
    Status::Shipped,
    Status::OutForDelivery,
    Status::Delivered,
];

/// What is generated.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// The same seed makes the same events.
    pub seed: u64,
    /// Numbers of entities and events are above it, so that a later run does not repeat an
    /// earlier one's. The position of the log at the start is such a number.
    pub base: u64,
    /// Time of the first event, milliseconds since the Unix epoch.
    pub start_ms: u64,
    /// Events a second of event time.
    pub rate: u32,
}

/// As `generate` has it unless it is told otherwise: 2026-01-01T00:00:00Z.
const START_MS: u64 = 1_767_225_600_000;
const RATE: u32 = 1_000;

impl Shape {
    /// What `millstream generate` makes of this seed.
    pub fn of(seed: u64) -> Shape {
        Shape { seed, base: 0, start_ms: START_MS, rate: RATE }
    }
}

/// The events.
pub struct Generator {
    shape: Shape,
    random: Random,
    made: u64,
    tenants: [World; 2],
}

/// What exists in a tenant.
#[derive(Default)]
struct World {
    customers: u64,
    orders: u64,
    cases: u64,
    open: Vec<Order>,
    delivered: Vec<Order>,
    waiting: Vec<Case>,
}

#[derive(Clone)]
struct Order {
    number: u64,
    customer: u64,
    amount: i64,
    currency: Currency,
    sku: u64,
    step: usize,
}

struct Case {
    number: u64,
    customer: u64,
    assigned: bool,
}

impl Generator {
    /// The events of this shape.
    pub fn new(shape: Shape) -> Generator {
        Generator { shape, random: Random::new(shape.seed), made: 0, tenants: Default::default() }
    }

    /// How many have been made.
    pub fn made(&self) -> u64 {
        self.made
    }

    /// The first customer and the first order of each tenant.
    pub fn first_keys(&self) -> (String, String) {
        (customer_id(self.shape.base + 1), order_id(self.shape.base + 1))
    }
}

impl Iterator for Generator {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let n = self.made;
        self.made += 1;
        let random = &mut self.random;
        let which = match n {
            0..4 => (n / 2) as usize,
            _ => usize::from(random.one_in(3)),
        };
        let micros = self.shape.start_ms * 1_000 + n * 1_000_000 / u64::from(self.shape.rate);
        let time = micros.cast_signed();
        let world = &mut self.tenants[which];
        let base = self.shape.base;
        let data = match n {
            0 | 2 => world.register(base, random),
            1 | 3 => world.place(base, random, time),
            _ => world.step(base, random, time),
        };
        let source =
            if matches!(data, Data::InteractionRecorded(_)) { "/demo/web" } else { "/demo/shop" };
        let id = format!("{}", base + n + 1);
        let event = Event {
            tenant: TENANTS[which].into(),
            source: source.into(),
            id: id.into(),
            time,
            data,
        };
        Some(encode::structured(&event))
    }
}

impl World {
    /// What happens next, by weights under which the number of open orders stays level.
    fn step(&mut self, base: u64, random: &mut Random, time: i64) -> Data<'static> {
        match random.below(1_000) {
            0..30 => self.register(base, random),
            30..55 => self.update(base, random),
            55..130 if self.open.len() < MAX_OPEN => self.place(base, random, time),
            55..640 if !self.open.is_empty() => self.go_on(random),
            640..690 if !self.delivered.is_empty() => self.feedback(random),
            690..705 if !self.delivered.is_empty() => self.give_back(random),
            705..730 => self.open_case(base, random),
            730..780 if !self.waiting.is_empty() => self.work_on_case(random),
            780..820 => persons::said(self.someone(base, random), base, random),
            _ => self.interact(base, random),
        }
    }

    /// Some have much more to do with us than others.
    fn someone(&self, base: u64, random: &mut Random) -> u64 {
        base + 1 + random.below(self.customers).min(random.below(self.customers))
    }

    fn register(&mut self, base: u64, random: &mut Random) -> Data<'static> {
        self.customers += 1;
        let number = base + self.customers;
        let (name, email) = words::person(random, number);
        let country = words::pick(random, words::COUNTRIES);
        Data::CustomerRegistered(Box::new(Customer {
            customer: customer_id(number).into(),
            name: Field::Is(name.into()),
            email: Field::Is(email.into()),
            phone: Field::Absent,
            tier: Field::Is(words::pick(random, words::TIERS).into()),
            language: Field::Is(country.1.into()),
            country: Field::Is(country.0.into()),
            time_zone: Field::Is(country.2.into()),
            attributes: vec![],
        }))
    }

    fn update(&mut self, base: u64, random: &mut Random) -> Data<'static> {
        let number = self.someone(base, random);
        let mut it = Customer { customer: customer_id(number).into(), ..Customer::default() };
        match random.below(4) {
            0 => it.tier = Field::Is(words::pick(random, words::TIERS).into()),
            1 => it.phone = Field::Is(format!("+49 30 {:07}", random.below(10_000_000)).into()),
            2 => it.phone = Field::Withdrawn,
            _ => {
                let kept = words::pick(random, words::INTERESTS);
                it.attributes = vec![("interest".into(), Some(kept.into()))];
            }
        }
        Data::CustomerUpdated(it.into())
    }

    fn place(&mut self, base: u64, random: &mut Random, time: i64) -> Data<'static> {
        self.orders += 1;
        let (number, customer) = (base + self.orders, self.someone(base, random));
        let n_lines = 1 + random.below(4).min(random.below(6));
        let lines: Vec<Line<'static>> = (0..n_lines).map(|_| line(random)).collect();
        let amount = lines.iter().map(|it| it.quantity * it.unit_price).sum();
        let currency = Currency::parse(words::pick(random, words::CURRENCIES)).unwrap_or_default();
        let sku = random.below(ARTICLES);
        self.open.push(Order { number, customer, amount, currency, sku, step: 0 });
        // Minutes, where a shop has days: a demonstration is to see some of them late.
        let promised = time + (20 + random.below(160)).cast_signed() * 1_000_000;
        Data::OrderPlaced(OrderPlaced {
            order: order_id(number).into(),
            customer: customer_id(customer).into(),
            currency,
            lines,
            promised_at: Some(promised),
            channel: Some(words::pick(random, words::CHANNELS).into()),
        })
    }

    /// An open order takes its next step, or leaves the way.
    fn go_on(&mut self, random: &mut Random) -> Data<'static> {
        let at = random.index(self.open.len());
        let order = &mut self.open[at];
        let before_shipping = order.step < 3;
        if before_shipping && random.one_in(60) {
            let order = self.open.swap_remove(at);
            let reason = words::pick(random, words::CANCELLED);
            return Data::OrderCancelled(reversed(&order, reason));
        }
        let status = if random.one_in(40) {
            Status::Problem
        } else {
            order.step += 1;
            LIFE[order.step - 1]
        };
        let changed = OrderStatusChanged {
            order: order_id(order.number).into(),
            status,
            line: None,
            customer: Some(customer_id(order.customer).into()),
        };
        if order.step == LIFE.len() {
            let order = self.open.swap_remove(at);
            if self.delivered.len() < MAX_DELIVERED {
                self.delivered.push(order);
            } else {
                let at = random.index(MAX_DELIVERED);
                self.delivered[at] = order;
            }
        }
        Data::OrderStatusChanged(changed)
    }

    fn give_back(&mut self, random: &mut Random) -> Data<'static> {
        let at = random.index(self.delivered.len());
        let order = self.delivered.swap_remove(at);
        let reason = words::pick(random, words::RETURNED);
        Data::OrderReturned(reversed(&order, reason))
    }

    fn feedback(&mut self, random: &mut Random) -> Data<'static> {
        let order = &self.delivered[random.index(self.delivered.len())];
        let rating = 5 - random.below(5).min(random.below(5)).min(random.below(6)) as u8;
        let product = article(order.sku);
        let text = words::feedback(random, rating, &product, order.number);
        Data::FeedbackSubmitted(FeedbackSubmitted {
            customer: Some(customer_id(order.customer).into()),
            order: Some(order_id(order.number).into()),
            product: Some(product.into()),
            rating: Some(rating),
            text: (!random.one_in(4)).then_some(text.into()),
        })
    }

    fn open_case(&mut self, base: u64, random: &mut Random) -> Data<'static> {
        self.cases += 1;
        let (number, customer) = (base + self.cases, self.someone(base, random));
        // A queue that nobody works on would grow without end: the oldest is let go.
        if self.waiting.len() >= MAX_OPEN {
            self.waiting.swap_remove(0);
        }
        self.waiting.push(Case { number, customer, assigned: false });
        let queue = words::pick(random, words::QUEUES);
        Data::CaseOpened(CaseOpened {
            case: case_id(number).into(),
            customer: customer_id(customer).into(),
            severity: 4 - random.below(4).min(random.below(4)) as u8,
            text: Some(words::complaint(random, number).into()),
            queue: queue.into(),
            skills: vec![words::pick(random, words::SKILLS).into()],
        })
    }

    fn work_on_case(&mut self, random: &mut Random) -> Data<'static> {
        let at = random.index(self.waiting.len());
        let case = &mut self.waiting[at];
        let id: Cow<'static, str> = case_id(case.number).into();
        let customer = Some(customer_id(case.customer).into());
        if case.assigned {
            self.waiting.swap_remove(at);
            let resolution = Some(words::pick(random, words::RESOLVED).into());
            return Data::CaseResolved(CaseResolved { case: id, customer, resolution });
        }
        case.assigned = true;
        let agent = format!("A-{}", 1 + random.below(25)).into();
        Data::CaseAssigned(CaseAssigned { case: id, agent, queue: None, customer, until: None })
    }

    fn interact(&mut self, base: u64, random: &mut Random) -> Data<'static> {
        let customer = self.someone(base, random);
        let (action, target) = match random.below(3) {
            0 => ("search", format!("/search?q={}", words::pick(random, words::INTERESTS))),
            _ => ("view", format!("/articles/{}", article(random.below(ARTICLES)))),
        };
        Data::InteractionRecorded(InteractionRecorded {
            customer: customer_id(customer).into(),
            channel: words::pick(random, words::CHANNELS).into(),
            action: action.into(),
            target: Some(target.into()),
            text: None,
        })
    }
}

fn line(random: &mut Random) -> Line<'static> {
    let sku = random.below(ARTICLES);
    Line {
        sku: article(sku).into(),
        quantity: 1 + random.below(3).min(random.below(5)).cast_signed(),
        // An article has one price.
        unit_price: 199 + ((sku * 7_919) % 150).cast_signed() * 100,
        ship_from: Some(words::pick(random, words::WAREHOUSES).into()),
        ship_to: None,
        carrier: Some(words::pick(random, words::CARRIERS).into()),
        seller: None,
    }
}

fn reversed(order: &Order, reason: &'static str) -> OrderReversed<'static> {
    OrderReversed {
        order: order_id(order.number).into(),
        customer: Some(customer_id(order.customer).into()),
        amount: Some(order.amount),
        currency: Some(order.currency),
        reason: Some(reason.into()),
    }
}

fn customer_id(number: u64) -> String {
    format!("C-{number}")
}

fn order_id(number: u64) -> String {
    format!("O-{number}")
}

fn case_id(number: u64) -> String {
    format!("K-{number}")
}

fn article(number: u64) -> String {
    format!("SKU-{number:03}")
}

#[cfg(test)]
mod tests;
