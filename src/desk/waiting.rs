//! What waits in a queue, read at one instant.

use schemas::names::key_text;
use schemas::reading::{Epoch, ViewReader};
use schemas::rows::{Row, Value};
use schemas::scanning::{Is, Scan, Test, Wanted};

use super::IsBuilding;
use super::policy::{Open, Policy};
use crate::messages::ReadHandle;
use crate::messages::queues::{Ordered, Refused};

/// Most cases of a queue that are put in order at once: some hundred milliseconds. Of more, those
/// that are looked at first are taken; nothing says which.
pub(super) const MAX: usize = 200_000;

/// A case that waits.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) skills: Vec<String>,
    pub(super) customer: String,
}

/// The view of this name, if it is kept and whole.
pub(super) fn view<'r>(
    read: &'r ReadHandle,
    is_building: &IsBuilding,
    name: &'static str,
) -> Result<&'r dyn ViewReader, Refused> {
    let found = read.views.iter().find(|it| it.def().name == name);
    match found.filter(|_| !is_building(name)) {
        Some(view) => Ok(&**view),
        None => Err(Refused::NoView(name)),
    }
}

/// The fields that are needed of a row of `priority_queue`, in this order.
const FIELDS: [&str; 7] =
    ["case", "severity", "opened_at", "due_at", "deadline", "skills", "customer"];

/// What waits in a queue: for the policy, and what else is needed of each.
pub(super) fn of(
    view: &dyn ViewReader,
    (tenant, queue): (&str, &str),
    at: Epoch,
) -> Result<Vec<(Open, Case)>, Refused> {
    let place = |name: &str| view.def().position(name).ok_or(Refused::NoView("priority_queue"));
    let fields = FIELDS.map(place).into_iter().collect::<Result<Vec<usize>, Refused>>()?;
    let is = Is::Equal(Value::Text(queue.into()));
    let wanted = Wanted { fields, tests: vec![Test { field: place("queue")?, is }] };
    let (mut scan, mut values) = (Scan::default(), Vec::new());
    while !scan.over && values.len() < MAX * FIELDS.len() {
        let more = view.scan(tenant, at, &wanted, &mut scan, &mut values);
        more.map_err(|_| Refused::NoView("priority_queue"))?;
    }
    Ok(values.chunks_exact(FIELDS.len()).filter_map(waiting).collect())
}

fn waiting(values: &[Value]) -> Option<(Open, Case)> {
    let [
        Value::Text(case),
        Value::Int(severity),
        Value::Time(opened_at),
        Value::Time(due_at),
        Value::Time(deadline),
        Value::Json(skills),
        Value::Text(customer),
    ] = values
    else {
        return None;
    };
    let skills = skills.as_array().into_iter().flatten().filter_map(|it| it.as_str());
    let open = Open {
        case: case.to_string(),
        severity: u8::try_from(*severity).unwrap_or(u8::MAX),
        opened_at: *opened_at,
        due_at: *due_at,
        deadline: *deadline,
    };
    let skills = skills.map(str::to_string).collect();
    Some((open, Case { skills, customer: customer.to_string() }))
}

/// Cases handed out from a queue, as the views have it.
pub(super) fn picks(
    view: &dyn ViewReader,
    (tenant, queue): (&str, &str),
    at: Epoch,
) -> Result<u64, Refused> {
    let gone = || Refused::NoView("queue_load");
    let row = view.get(tenant, &key_text(&[queue, "all"]), at).map_err(|_| gone())?;
    let place = view.def().position("n_claims").ok_or_else(gone)?;
    Ok(match row.as_ref().and_then(|it| it.values.get(place)) {
        Some(Value::Int(it)) => u64::try_from(*it).unwrap_or(0),
        _ => 0,
    })
}

/// What waits in a queue, in the order of the policy at the newest complete epoch.
pub(super) fn order(
    read: &ReadHandle,
    is_building: &IsBuilding,
    policy: Policy,
    of_queue: (&str, &str),
    limit: usize,
) -> Result<Ordered, Refused> {
    let cases = view(read, is_building, "priority_queue")?;
    let load = view(read, is_building, "queue_load")?;
    let pin = read.instants.pin();
    let at = pin.epoch();
    let picks = picks(load, of_queue, at)?;
    let (open, _): (Vec<Open>, Vec<Case>) = of(cases, of_queue, at)?.into_iter().unzip();
    let oldest = open.iter().map(|it| it.opened_at).min();
    let order = policy.order(&open, micros(at), picks);
    let mut rows: Vec<Row> = Vec::with_capacity(limit.min(order.len()));
    for place in order.into_iter().take(limit) {
        let key = key_text(&[&open[place].case]);
        let row = cases.get(of_queue.0, &key, at).map_err(|_| Refused::NoView("priority_queue"))?;
        rows.extend(row);
    }
    Ok(Ordered { as_of: (read.as_of)(at), picks, n_waiting: open.len(), oldest, rows })
}

/// An epoch as an instant of event time.
pub(super) fn micros(epoch: Epoch) -> i64 {
    i64::try_from(epoch).unwrap_or(i64::MAX).saturating_mul(1_000)
}
