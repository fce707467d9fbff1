//! The common workload as decoded events, and what it took.

use schemas::events::*;
use schemas::names::Currency;

/// xorshift: small, seeded.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(n)) >> 64) as u64
    }

    fn share(&mut self) -> f64 {
        self.next() as f64 / u64::MAX as f64
    }
}

pub(crate) fn workload(n: usize) -> Vec<Event<'static>> {
    let rng = &mut Rng(0x9e37_79b9_7f4a_7c15);
    let eur = Currency::parse("EUR").expect("three letters");
    let stages = [
        Status::Placed,
        Status::Paid,
        Status::InProduction,
        Status::QualityChecked,
        Status::Shipped,
        Status::Delivered,
    ];
    let customers = (n / 20).max(1_000) as f64;
    let mut open: Vec<(usize, usize, usize)> = Vec::new();
    let (mut orders, mut time) = (0, 1_767_225_600_000_000_i64);
    let mut events = Vec::with_capacity(n);
    for i in 0..n {
        time += rng.below(21) as i64 * 1_000;
        let late = if rng.below(10) == 0 { rng.below(5_000) as i64 * 1_000 } else { 0 };
        let who = (customers * rng.share().powf(2.2)) as usize;
        let name = |who: usize| Text::Owned(format!("C{who:07}"));
        let data = match rng.share() {
            r if r < 0.15 => {
                open.push((orders, who, 0));
                orders += 1;
                Data::OrderPlaced(OrderPlaced {
                    order: format!("O{:08}", orders - 1).into(),
                    customer: name(who),
                    currency: eur,
                    lines: vec![Line {
                        sku: format!("S{:04}", rng.below(2_000)).into(),
                        quantity: 1,
                        unit_price: 500 + rng.below(49_500) as i64,
                        ship_from: None,
                        ship_to: None,
                        carrier: None,
                        seller: None,
                    }],
                    promised_at: None,
                    channel: None,
                })
            }
            r if r < 0.55 && !open.is_empty() => {
                let at = rng.below(open.len() as u64) as usize;
                open[at].2 += 1;
                let (order, who, stage) = open[at];
                if stage == 5 {
                    open.swap_remove(at);
                }
                Data::OrderStatusChanged(OrderStatusChanged {
                    order: format!("O{order:08}").into(),
                    status: stages[stage],
                    line: None,
                    customer: Some(name(who)),
                })
            }
            r if r < 0.65 => Data::FeedbackSubmitted(FeedbackSubmitted {
                customer: Some(name(who)),
                order: None,
                product: None,
                rating: Some(1 + rng.below(5) as u8),
                text: Some("great service, very happy".into()),
            }),
            r if r < 0.70 => Data::CaseOpened(CaseOpened {
                case: format!("T{i:09}").into(),
                customer: name(who),
                severity: 1 + rng.below(4) as u8,
                text: Some("the machine stopped and I need help now".into()),
                queue: "support".into(),
                skills: vec![],
            }),
            _ => Data::InteractionRecorded(InteractionRecorded {
                customer: name(who),
                channel: "web".into(),
                action: "view".into(),
                target: Some("/p/1".into()),
                text: None,
            }),
        };
        events.push(Event {
            tenant: "default".into(),
            source: "workload".into(),
            id: format!("{i:012x}").into(),
            time: time - late,
            data,
        });
    }
    events
}

/// What this process has computed so far.
pub(crate) fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<_> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |n: usize| fields.get(n).and_then(|it| it.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}
