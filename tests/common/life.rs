//! All that is known of somebody, as events.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use serde_json::{Value, json};

/// What is known of a customer, in every way that a person's data comes in: statements that name
/// them, statements about their order and case that name nobody.
pub fn life(who: &str, secret: &str) -> Vec<Value> {
    let said = [
        (
            "customer.registered",
            json!({"customer": who, "name": secret, "email": format!("{secret}@example.org"), "attributes": {"note": secret}}),
        ),
        (
            "customer.identified",
            json!({"customer": who, "kind": "email", "value": format!("{secret}@example.org")}),
        ),
        (
            "customer.linked_by_hand",
            json!({"customer": "D-2", "other": who, "agent": secret, "reason": secret}),
        ),
        (
            "order.placed",
            json!({"order": format!("O-{who}"), "customer": who, "currency": "EUR", "channel": secret,
            "lines": [{"sku": secret, "quantity": 1, "unit_price": 100}]}),
        ),
        ("order.status_changed", json!({"order": format!("O-{who}"), "status": "problem"})),
        ("order.cancelled", json!({"order": format!("O-{who}"), "reason": secret})),
        ("feedback.submitted", json!({"customer": who, "text": format!("not good, {secret}")})),
        (
            "case.opened",
            json!({"case": format!("T-{who}"), "customer": who, "severity": 2, "queue": "q", "text": secret}),
        ),
        ("case.resolved", json!({"case": format!("T-{who}"), "resolution": secret})),
        (
            "interaction.recorded",
            json!({"customer": who, "channel": "web", "action": secret, "text": secret}),
        ),
    ];
    static N: AtomicU64 = AtomicU64::new(0);
    let event = |(kind, data): (&str, Value)| {
        let id = format!("of-a-life-{}", N.fetch_add(1, SeqCst));
        json!({
            "specversion": "1.0", "type": kind, "source": "s", "id": id,
            "tenant": "default", "time": "2026-01-02T00:00:00Z", "data": data,
        })
    };
    said.into_iter().map(event).collect()
}
