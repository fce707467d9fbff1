//! What people say of messages: that they see to one, or want it shown later.
//!
//! In: [`Marking`]. Out: events `message.marked`, durable before the answer.
//!
//! # Meaning
//! Each is a fact in the log, like what became of a message; none changes what is sent. Of
//! acknowledgements the first stands, of instants the last. Said again, it is answered as it stands and
//! nothing is written; two who say it at the same moment write two facts of which one stands.
//!
//! # When it fails
//! A log that takes nothing takes this neither: nothing is written, and it may be said again.

use std::sync::Arc;

use schemas::reading::ViewReader;
use schemas::rows::{Row, Value};

use super::AppendFacts;
use super::intent;
use crate::messages::marks::{Mark, MarkMessages, Marked, Marking, Marks, NotMarked};
use crate::messages::{AppendRefused, ReadHandle};

/// Writes down what is said of messages; also where no rules are.
pub struct Marker {
    /// The views.
    pub read: ReadHandle,
    /// The log.
    pub append: AppendFacts,
    /// The wall clock, milliseconds.
    pub now_ms: Arc<dyn Fn() -> u64 + Send + Sync>,
}

impl MarkMessages for Marker {
    fn mark(&self, it: Marking) -> Marks {
        let said = self.said(&it);
        Box::pin(async move {
            let (mut marked, waiting) = said?;
            if let Some(waiting) = waiting {
                let ended = waiting.await.unwrap_or(Err(AppendRefused::Busy(PAUSE)));
                marked.position = Some(ended.map_err(NotMarked::Log)?.next);
            }
            Ok(marked)
        })
    }
}

/// The log's writer is gone, and so is this process soon.
const PAUSE: std::time::Duration = std::time::Duration::from_secs(1);

type Waiting = tokio::sync::oneshot::Receiver<Result<crate::messages::Appended, AppendRefused>>;

impl Marker {
    fn said(&self, it: &Marking) -> Result<(Marked, Option<Waiting>), NotMarked> {
        let view = self.read.views.iter().find(|it| it.def().name == super::VIEW);
        let view = view.ok_or(NotMarked::NoSuch)?;
        let row = {
            let pin = self.read.instants.pin();
            view.get(&it.tenant, &it.message, pin.epoch()).ok().flatten()
        };
        let row = row.ok_or(NotMarked::NoSuch)?;
        let stands = stands(&**view, &row, it.mark);
        if stands.again {
            return Ok((stands, None));
        }
        let at = i64::try_from((self.now_ms)()).unwrap_or(i64::MAX).saturating_mul(1_000);
        let (mark, until) = match it.mark {
            Mark::Acknowledged => ("acknowledged", None),
            Mark::Snoozed(until) => ("snoozed", until),
        };
        // The message's own name, not its key's text: what is percent-encoded there is not here.
        let message = match view.def().position("message").map(|it| &row.values[it]) {
            Some(Value::Text(it)) => it.to_string(),
            _ => it.message.clone(),
        };
        let fact =
            intent::Mark { message: (&it.tenant, &message), mark, by: it.by.as_deref(), until, at };
        let waiting = (self.append)(vec![fact.event()]).map_err(NotMarked::Log)?;
        let by = it.by.clone();
        let until = if it.mark == Mark::Acknowledged { stands.until } else { until };
        let marked = Marked { at: Some(at), by, until, again: false, position: None };
        Ok((marked, Some(waiting)))
    }
}

/// How it stands; `again`: just so as it is to.
fn stands(view: &dyn ViewReader, row: &Row, mark: Mark) -> Marked {
    let value = |name: &str| view.def().position(name).map(|it| &row.values[it]);
    let time = |name: &str| match value(name) {
        Some(Value::Time(it)) => Some(*it),
        _ => None,
    };
    let by = match value("acknowledged_by") {
        Some(Value::Text(it)) => Some(it.to_string()),
        _ => None,
    };
    let (acknowledged, until) = (time("acknowledged_at"), time("snoozed_until"));
    match mark {
        Mark::Acknowledged => {
            let again = acknowledged.is_some();
            Marked { at: acknowledged, by, until, again, position: None }
        }
        Mark::Snoozed(wanted) => {
            Marked { at: None, by: None, until, again: until == wanted, position: None }
        }
    }
}
