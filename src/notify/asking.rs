//! Channels, for those who ask: how they stand, what failed, and what is done about them.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use serde_json::{Value, json};

use super::reload::Ways;
use super::send::Waiting;
use crate::report::Report;

/// Most messages that are listed of a channel.
pub const AGAIN_MAX: usize = 1_000;

/// All of them.
#[derive(Clone)]
pub struct Asking {
    pub(super) ways: Ways,
    pub(super) now_ms: Arc<dyn Fn() -> u64 + Send + Sync>,
}

impl Asking {
    /// An object a channel.
    pub fn list(&self) -> Value {
        self.ways.read().iter().map(|it| shown(it, (self.now_ms)())).collect()
    }

    /// Messages that failed and wait for another attempt, each with why; the first
    /// [`AGAIN_MAX`].
    pub fn again(&self, name: &str) -> Result<Value, Report> {
        let items = self.way(name)?.mail.lock().again(AGAIN_MAX);
        let told = items.iter().map(|it| {
            json!({"tenant": it.name.tenant(), "message": it.name.key(), "about": it.about,
                   "attempts": it.attempts, "next_try_ms": it.due_ms, "why": it.why})
        });
        Ok(told.collect())
    }

    /// The receiver is mended: it is tried now, and what failed is due.
    pub fn resume(&self, name: &str) -> Result<Value, Report> {
        let (way, now) = (self.way(name)?, (self.now_ms)());
        way.probe.store(true, SeqCst);
        way.mail.lock().resume(now);
        way.bell.notify_one();
        Ok(shown(&way, now))
    }

    /// What signs is read again.
    pub fn reload(&self, name: &str) -> Result<Value, Report> {
        let way = self.way(name)?;
        way.live().receiver.reload().map_err(|why| Report {
            code: "notify/channel",
            what: "cannot use what a channel is to sign with".into(),
            at: vec![("setting", format!("channels.{name}"))],
            why,
            effect: "the channel signs as before".into(),
            fix: "correct the file of the secret, then say it again".into(),
        })?;
        Ok(shown(&way, (self.now_ms)()))
    }

    /// What somebody has to see to, in words.
    pub fn alarms(&self) -> Vec<String> {
        let ways = self.ways.read();
        let alarmed = ways.iter().filter_map(|it| {
            let (live, standing) = (it.live(), it.standing.lock());
            let name = &live.settings.name;
            standing.is_alarm().then(|| format!("channel {name} is {}", standing.word()))
        });
        alarmed.collect()
    }

    fn way(&self, name: &str) -> Result<Arc<Waiting>, Report> {
        let ways = self.ways.read();
        let found = ways.iter().find(|it| it.live().settings.name == name);
        found.map(Arc::clone).ok_or_else(|| {
            let known: Vec<String> =
                ways.iter().map(|it| it.live().settings.name.clone()).collect();
            no_such(name, &known.iter().map(String::as_str).collect::<Vec<_>>())
        })
    }
}

fn shown(it: &Waiting, now_ms: u64) -> Value {
    let (waiting, more) = it.mail.lock().waits();
    let live = it.live();
    let standing = it.standing.lock();
    let kept = &standing.note.breaker;
    let tried = standing.word() == "closed";
    json!({
        "name": live.settings.name,
        "kind": live.receiver.kind(),
        "state": standing.word(),
        "failures": kept.failures,
        "since_ms": (!tried).then_some(kept.since_ms),
        "next_try_ms": (!tried).then_some(kept.until_ms.max(standing.note.asked_ms)),
        "code": (!kept.code.is_empty()).then_some(&kept.code),
        "why": (!kept.why.is_empty()).then_some(&kept.why),
        "delivered": standing.delivered,
        "last_delivery_ms": standing.last_ms,
        "waiting": waiting,
        "waiting_more": more,
        "secret": live.receiver.secret(),
        "signs": live.receiver.signs(),
        "now_ms": now_ms,
    })
}

/// There is no channel of this name.
pub fn no_such(name: &str, known: &[&str]) -> Report {
    Report {
        code: "notify/no-such-channel",
        what: "cannot find a channel".into(),
        at: vec![("channel", name.into())],
        why: match known.is_empty() {
            true => format!("there are no channels; found {name:?}"),
            false => format!("expected one of {}, found {name:?}", known.join(", ")),
        },
        effect: "nothing was changed".into(),
        fix: "name one of the settings' `[channels.NAME]` tables".into(),
    }
}
