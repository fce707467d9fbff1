//! The ten questions, answered by plain loops over the events: no view, no SQL.

use std::collections::BTreeMap;

use schemas::events::{Data, Event, Field, Status};
use serde_json::{Value, json};

/// What is known of an order.
#[derive(Default)]
struct Order {
    placed: Option<i64>,
    promised: Option<i64>,
    channel: Option<String>,
    currency: String,
    amount: i64,
    pieces: i64,
    /// When and what, to be sorted.
    said: Vec<(i64, String, Status)>,
}

#[derive(Default)]
struct Customer {
    name: Option<String>,
    country: Option<String>,
    orders: i64,
    spend: BTreeMap<String, i64>,
    ratings: Vec<i64>,
}

#[derive(Default)]
struct Case {
    opened: Option<i64>,
    assigned: Option<i64>,
    severity: i64,
    queue: String,
    resolved: bool,
}

/// All that a tenant's events say.
pub(crate) struct Answers {
    orders: BTreeMap<String, Order>,
    customers: BTreeMap<String, Customer>,
    cases: BTreeMap<String, Case>,
    now: i64,
}

impl Answers {
    pub(crate) fn of(events: &[Event<'static>], tenant: &str, now: i64) -> Answers {
        let mut it = Answers {
            orders: BTreeMap::new(),
            customers: BTreeMap::new(),
            cases: BTreeMap::new(),
            now,
        };
        // The generator's events come in the order of their time.
        events.iter().filter(|event| event.tenant == tenant).for_each(|event| it.take(event));
        it
    }

    fn order(&mut self, id: &str) -> &mut Order {
        self.orders.entry(id.to_string()).or_default()
    }

    fn take(&mut self, event: &Event<'static>) {
        let (at, id) = (event.time, event.id.to_string());
        match &event.data {
            Data::OrderPlaced(it) => {
                let order = self.order(&it.order);
                order.placed = Some(at);
                order.promised = it.promised_at;
                order.channel = it.channel.as_deref().map(String::from);
                order.currency = it.currency.as_str().to_string();
                order.amount = it.lines.iter().map(|it| it.quantity * it.unit_price).sum();
                order.pieces = it.lines.iter().map(|it| it.quantity).sum();
                order.said.push((at, id, Status::Placed));
                let (currency, amount) = (order.currency.clone(), order.amount);
                let customer = self.customers.entry(it.customer.to_string()).or_default();
                customer.orders += 1;
                *customer.spend.entry(currency).or_default() += amount;
            }
            Data::OrderStatusChanged(it) => self.order(&it.order).said.push((at, id, it.status)),
            Data::OrderCancelled(it) => {
                self.order(&it.order).said.push((at, id, Status::Cancelled))
            }
            Data::OrderReturned(it) => self.order(&it.order).said.push((at, id, Status::Returned)),
            Data::CustomerRegistered(it) | Data::CustomerUpdated(it) => {
                let customer = self.customers.entry(it.customer.to_string()).or_default();
                for (said, kept) in
                    [(&it.name, &mut customer.name), (&it.country, &mut customer.country)]
                {
                    match said {
                        Field::Absent => {}
                        Field::Withdrawn => *kept = None,
                        Field::Is(it) => *kept = Some(it.to_string()),
                    }
                }
            }
            Data::FeedbackSubmitted(it) => {
                if let (Some(customer), Some(rating)) = (&it.customer, it.rating) {
                    let customer = self.customers.entry(customer.to_string()).or_default();
                    customer.ratings.push(rating.into());
                }
            }
            Data::CaseOpened(it) => {
                let case = self.cases.entry(it.case.to_string()).or_default();
                (case.opened, case.severity) = (Some(at), it.severity.into());
                case.queue = it.queue.to_string();
            }
            Data::CaseAssigned(it) => {
                self.cases.entry(it.case.to_string()).or_default().assigned = Some(at);
            }
            Data::CaseResolved(it) => {
                self.cases.entry(it.case.to_string()).or_default().resolved = true;
            }
            _ => {}
        }
    }

    /// The rows of question `n`, from 1.
    pub(crate) fn answer(&self, n: usize) -> Vec<Vec<Value>> {
        match n {
            1 => self.revenue(),
            2 => self.by_status(),
            3 => percentiles(self.delivered()),
            4 => self.late(),
            5 => self.top(),
            6 => self.repeat(),
            7 => self.feedback(),
            8 => self.open(),
            9 => percentiles(self.responses()),
            10 => self.baskets(),
            _ => panic!("no question {n}"),
        }
    }

    fn revenue(&self) -> Vec<Vec<Value>> {
        let mut days: BTreeMap<(String, &str), (i64, i64)> = BTreeMap::new();
        for order in self.orders.values() {
            let Some(placed) = order.placed.filter(|_| order.first(Status::Cancelled).is_none())
            else {
                continue;
            };
            let cell = days.entry((instant(placed)[..10].into(), &order.currency)).or_default();
            *cell = (cell.0 + 1, cell.1 + order.amount);
        }
        days.into_iter()
            .map(|((day, c), (n, sum))| vec![json!(day), json!(c), json!(n), json!(sum)])
            .collect()
    }

    fn by_status(&self) -> Vec<Vec<Value>> {
        let mut all: BTreeMap<&str, i64> = BTreeMap::new();
        for order in self.orders.values() {
            let newest = order.said.iter().max_by_key(|it| (it.0, &it.1)).unwrap();
            *all.entry(newest.2.as_str()).or_default() += 1;
        }
        let mut all: Vec<_> = all.into_iter().collect();
        all.sort_by_key(|(status, n)| (-n, *status));
        all.into_iter().map(|(status, n)| vec![json!(status), json!(n)]).collect()
    }

    fn delivered(&self) -> BTreeMap<String, Vec<i64>> {
        let mut weeks: BTreeMap<String, Vec<i64>> = BTreeMap::new();
        for order in self.orders.values() {
            if let (Some(placed), Some(delivered)) = (order.placed, order.first(Status::Delivered))
            {
                weeks.entry(week(placed)).or_default().push(ms(delivered) - ms(placed));
            }
        }
        weeks
    }

    fn late(&self) -> Vec<Vec<Value>> {
        let mut channels: BTreeMap<&str, (i64, i64)> = BTreeMap::new();
        for order in self.orders.values() {
            let (Some(promised), Some(channel)) = (order.promised, &order.channel) else {
                continue;
            };
            let settled = [Status::Delivered, Status::Cancelled].map(|it| order.first(it));
            let settled = settled.into_iter().flatten().min().unwrap_or(self.now);
            let cell = channels.entry(channel).or_default();
            *cell = (cell.0 + 1, cell.1 + i64::from(settled > promised));
        }
        channels
            .into_iter()
            .map(|(c, (n, late))| vec![json!(c), json!(n), json!(late), percent(late, n)])
            .collect()
    }

    fn top(&self) -> Vec<Vec<Value>> {
        let mut currencies: BTreeMap<&str, Vec<(i64, &str)>> = BTreeMap::new();
        for (id, customer) in &self.customers {
            for (currency, spend) in &customer.spend {
                currencies.entry(currency).or_default().push((-spend, id));
            }
        }
        let mut rows = Vec::new();
        for (currency, mut all) in currencies {
            all.sort_unstable();
            for (place, (spend, id)) in (1..=5).zip(all) {
                let name = &self.customers[id].name;
                rows.push(vec![
                    json!(currency),
                    json!(place),
                    json!(id),
                    json!(name),
                    json!(-spend),
                ]);
            }
        }
        rows
    }

    fn repeat(&self) -> Vec<Vec<Value>> {
        let buyers = self.customers.values().filter(|it| it.orders > 0).count() as i64;
        let again = self.customers.values().filter(|it| it.orders > 1).count() as i64;
        vec![vec![json!(buyers), json!(again), percent(again, buyers)]]
    }

    fn feedback(&self) -> Vec<Vec<Value>> {
        let mut countries: BTreeMap<Option<&str>, Vec<i64>> = BTreeMap::new();
        for customer in self.customers.values().filter(|it| !it.ratings.is_empty()) {
            countries.entry(customer.country.as_deref()).or_default().extend(&customer.ratings);
        }
        countries
            .into_iter()
            .map(|(country, all)| {
                let average = all.iter().sum::<i64>() as f64 / all.len() as f64;
                vec![json!(country), json!(all.len()), rounded(average, 3)]
            })
            .collect()
    }

    fn open(&self) -> Vec<Vec<Value>> {
        let mut severities: BTreeMap<i64, (i64, i64)> = BTreeMap::new();
        for case in self.cases.values().filter(|it| !it.resolved) {
            let Some(opened) = case.opened else { continue };
            let cell = severities.entry(case.severity).or_insert((0, i64::MAX));
            *cell = (cell.0 + 1, cell.1.min(opened));
        }
        severities
            .into_iter()
            .map(|(severity, (n, oldest))| vec![json!(severity), json!(n), json!(instant(oldest))])
            .collect()
    }

    fn responses(&self) -> BTreeMap<String, Vec<i64>> {
        let mut queues: BTreeMap<String, Vec<i64>> = BTreeMap::new();
        for case in self.cases.values() {
            if let (Some(opened), Some(assigned)) = (case.opened, case.assigned) {
                queues.entry(case.queue.clone()).or_default().push(ms(assigned) - ms(opened));
            }
        }
        queues
    }

    fn baskets(&self) -> Vec<Vec<Value>> {
        let mut currencies: BTreeMap<&str, (i64, i64, i64)> = BTreeMap::new();
        for order in self.orders.values().filter(|it| it.placed.is_some()) {
            let cell = currencies.entry(&order.currency).or_default();
            *cell = (cell.0 + 1, cell.1 + order.amount, cell.2 + order.pieces);
        }
        currencies
            .into_iter()
            .map(|(currency, (n, amount, pieces))| {
                let per = |it: i64, digits| rounded(it as f64 / n as f64, digits);
                vec![json!(currency), json!(n), per(amount, 2), per(pieces, 3)]
            })
            .collect()
    }
}

impl Order {
    fn first(&self, status: Status) -> Option<i64> {
        self.said.iter().filter(|it| it.2 == status).map(|it| it.0).min()
    }
}

/// By name: how many, and the nearest ranks.
fn percentiles(of: BTreeMap<String, Vec<i64>>) -> Vec<Vec<Value>> {
    of.into_iter()
        .map(|(name, mut all)| {
            all.sort_unstable();
            let at = |percent: usize| all[(all.len() * percent).div_ceil(100) - 1];
            vec![json!(name), json!(all.len()), json!(at(50)), json!(at(95))]
        })
        .collect()
}

fn ms(micros: i64) -> i64 {
    micros.div_euclid(1_000)
}

fn instant(micros: i64) -> String {
    schemas::time::rfc3339(ms(micros) * 1_000)
}

/// The ISO week, `2026-W05`: the year and number of the week's Thursday.
fn week(micros: i64) -> String {
    const DAY: i64 = 86_400_000_000;
    let day = micros.div_euclid(DAY);
    // 1970-01-01 was a Thursday.
    let thursday = day - (day + 3).rem_euclid(7) + 3;
    let year = schemas::time::rfc3339(thursday * DAY)[..4].to_string();
    let first = schemas::time::parse_rfc3339(&format!("{year}-01-01T00:00:00Z")).unwrap() / DAY;
    format!("{year}-W{:02}", (thursday - first) / 7 + 1)
}

fn percent(part: i64, of: i64) -> Value {
    rounded(100.0 * part as f64 / of as f64, 2)
}

fn rounded(value: f64, digits: i32) -> Value {
    let scale = 10_f64.powi(digits);
    json!((value * scale).round() / scale)
}
