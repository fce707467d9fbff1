//! What a customer is told.

use schemas::events::Status;

/// Where an order is that stands there.
pub(super) fn now_words(status: Status) -> &'static str {
    match status {
        Status::Placed => "We have your order.",
        Status::Paid => "Your payment has arrived.",
        Status::InProduction => "Your order is being made.",
        Status::QualityChecked => "Your order is made and checked.",
        Status::Shipped => "Your order has been shipped.",
        Status::OutForDelivery => "Your order is out for delivery.",
        Status::Delivered => "Your order has been delivered.",
        Status::Cancelled => "Your order has been cancelled.",
        Status::Returned => "Your order has come back to us.",
        Status::Problem => "There is a problem with your order; we are looking into it.",
    }
}

/// What happens to it next.
fn next_words(status: Status) -> &'static str {
    match status {
        Status::Paid => "we wait for your payment",
        Status::InProduction => "we start to make it",
        Status::QualityChecked => "we check it",
        Status::Shipped => "we ship it",
        Status::OutForDelivery => "it goes out for delivery",
        Status::Delivered => "it arrives",
        Status::Placed | Status::Cancelled | Status::Returned | Status::Problem => "we tell you",
    }
}

/// The date of an instant.
fn day(at: i64) -> String {
    schemas::time::rfc3339(at).chars().take(10).collect()
}

/// Where it is, what comes next and by when (and whether that was learnt), and what became of the
/// promise.
pub(super) fn message(
    (status, since): (Option<Status>, Option<i64>),
    next: Option<Status>,
    due: Option<(i64, bool)>,
    is_stuck: bool,
    promised: Option<i64>,
    is_late: bool,
) -> String {
    let Some(status) = status else { return "We have heard of your order.".into() };
    let mut told = now_words(status).to_string();
    if let Some(since) = since {
        told.pop();
        told = format!("{told} ({}).", day(since));
    }
    match next.zip(due) {
        Some((_, (_, is_learnt))) if is_stuck => {
            let than = if is_learnt { "with 19 of 20 such orders" } else { "usual" };
            told += &format!(" It takes longer than {than}; we are looking into it.");
        }
        Some((next, (by, is_learnt))) => {
            let so = if is_learnt { " (as with 19 of 20 such orders)" } else { "" };
            told += &format!(" Next: {}, by {}{so}.", next_words(next), day(by));
        }
        None => {}
    }
    let is_on_its_way = next.is_some() || status == Status::Problem;
    match promised.filter(|_| is_on_its_way) {
        Some(at) if is_late => told += &format!(" It was promised for {}: it is late.", day(at)),
        Some(at) => told += &format!(" It is promised for {}.", day(at)),
        None => {}
    }
    told
}
