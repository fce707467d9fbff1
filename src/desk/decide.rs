//! One request after the other, all at one instant.

use std::borrow::Cow;
use std::collections::HashMap;

use schemas::encode::structured;
use schemas::events::{CaseAssigned, CaseResolved, DESK, Data, Event};
use schemas::names::key_text;
use schemas::reading::{Pin, ViewReader};
use schemas::rows::{Row, Value};

use super::policy::{Open, Policy};
use super::recent::{Own, Recent};
use super::waiting::{self, Case};
use super::{IsBuilding, Parts};
use crate::messages::queues::{Answer, Asked, Decision, Refused, Wanted};
use crate::messages::{AsOf, ReadHandle};

/// What is decided with.
pub(super) struct Desk<'d> {
    parts: &'d Parts,
    policy: Policy,
    recent: &'d mut Recent,
    /// Holds the instant.
    pin: Pin,
    as_of: AsOf,
    /// What waits, by tenant and queue, less what was handed out since.
    queues: HashMap<(String, String), Vec<(Open, Case)>>,
}

/// What the views and our own decisions say of a case.
struct Stands {
    /// Who has it now.
    holder: Option<String>,
    status: String,
    customer: Option<String>,
    /// The newest event time of anything said of it.
    last_at: i64,
}

impl<'d> Desk<'d> {
    /// At the newest complete epoch.
    pub(super) fn at_newest(parts: &'d Parts, policy: Policy, recent: &'d mut Recent) -> Desk<'d> {
        let pin = parts.read.instants.pin();
        let as_of = (parts.read.as_of)(pin.epoch());
        recent.shown(as_of.position);
        Desk { parts, policy, recent, pin, as_of, queues: HashMap::new() }
    }

    fn view(&self, name: &'static str) -> Result<&'d dyn ViewReader, Refused> {
        let (read, is_building): (&'d ReadHandle, &'d IsBuilding) =
            (&self.parts.read, &self.parts.is_building);
        waiting::view(read, is_building, name)
    }

    /// Decides, and adds the decision's event.
    pub(super) fn decide(&mut self, asked: &Asked, events: &mut Vec<Vec<u8>>) -> Answer {
        if self.as_of.position < self.parts.needed {
            return Err(Refused::Behind { have: self.as_of.position, need: self.parts.needed });
        }
        if let Some(before) = self.before(asked)? {
            return Ok(Some(before));
        }
        if self.recent.is_full() {
            return Err(Refused::Busy);
        }
        match &asked.what {
            Wanted::Claim { skills, .. } => self.claim(asked, skills, events),
            Wanted::Release { case, .. } => self.give_back(asked, case, None, events).map(Some),
            Wanted::Complete { case, resolution, .. } => {
                self.give_back(asked, case, Some(resolution.as_deref()), events).map(Some)
            }
        }
    }

    /// What was decided under the same key.
    fn before(&self, asked: &Asked) -> Result<Option<Decision>, Refused> {
        let (found, queue, agent) = match self.recent.under(&asked.tenant, &asked.key) {
            Some(own) => {
                let queue = (own.decision.did != "completed").then(|| own.queue.clone());
                let agent = (own.decision.did != "completed").then(|| own.agent.clone());
                (Decision { again: true, ..own.decision.clone() }, queue, agent)
            }
            None => match self.kept(asked)? {
                Some(kept) => kept,
                None => return Ok(None),
            },
        };
        let same_case = match &asked.what {
            Wanted::Claim { .. } => true,
            Wanted::Release { case, .. } | Wanted::Complete { case, .. } => *case == found.case,
        };
        let same = found.did == asked.what.word()
            && queue.is_none_or(|it| it == asked.queue)
            && agent.is_none_or(|it| it == asked.what.agent());
        if same && same_case {
            return Ok(Some(found));
        }
        Err(Refused::KeyUsed { did: found.did.to_string(), case: found.case })
    }

    /// The row of `claims` under the key: decision, queue, agent.
    #[allow(clippy::type_complexity)] // a name for it would say less
    fn kept(
        &self,
        asked: &Asked,
    ) -> Result<Option<(Decision, Option<String>, Option<String>)>, Refused> {
        let view = self.view("claims")?;
        let row = view.get(&asked.tenant, &key_text(&[&asked.key]), self.pin.epoch());
        let Some(row) = row.map_err(|_| Refused::NoView("claims"))? else { return Ok(None) };
        let of = |name: &str| field(view, &row, name);
        let did = match text(of("did")).as_deref() {
            Some("claimed") => "claimed",
            Some("released") => "released",
            _ => "completed",
        };
        let until = if did == "claimed" { time(of("until")) } else { None };
        let decision = Decision {
            did,
            case: text(of("case")).unwrap_or_default(),
            at: time(of("at")).unwrap_or_default(),
            until,
            again: true,
            // It is in what was read.
            position: self.as_of.position,
        };
        Ok(Some((decision, text(of("queue")), text(of("agent")))))
    }

    fn now(&self) -> i64 {
        waiting::micros((self.parts.now_ms)()).max(waiting::micros(self.as_of.epoch))
    }

    fn claim(&mut self, asked: &Asked, skills: &[String], events: &mut Vec<Vec<u8>>) -> Answer {
        let now = self.now();
        let of_queue = (asked.tenant.as_str(), asked.queue.as_str());
        let load = self.view("queue_load")?;
        let picks = waiting::picks(load, of_queue, self.pin.epoch())?
            + self.recent.picks(&asked.tenant, &asked.queue);
        let key = (asked.tenant.clone(), asked.queue.clone());
        if !self.queues.contains_key(&key) {
            let mut found = waiting::of(self.view("priority_queue")?, of_queue, self.pin.epoch())?;
            found.retain(|it| self.recent.about(&asked.tenant, &it.0.case).is_none());
            self.queues.insert(key.clone(), found);
        }
        let all = &self.queues[&key];
        let fits = |it: &&(Open, Case)| {
            it.0.opened_at < now && it.1.skills.iter().all(|it| skills.contains(it))
        };
        let fitting = all.iter().filter(fits).map(|it| &it.0);
        let Some(next) = self.policy.next(fitting, now, picks) else { return Ok(None) };
        let name = next.case.clone();
        let Some(place) = all.iter().position(|it| it.0.case == name) else { return Ok(None) };
        let customer = all[place].1.customer.clone();
        let stands = self.stands(&asked.tenant, &name)?;
        let at = now.max(stands.map_or(0, |it| it.last_at.saturating_add(1)));
        let lease = i64::try_from(self.parts.settings.lease.as_micros()).unwrap_or(i64::MAX);
        let until = at.saturating_add(lease);
        if let Some(all) = self.queues.get_mut(&key) {
            all.swap_remove(place);
        }
        let assigned = CaseAssigned {
            case: Cow::Borrowed(&name),
            agent: Cow::Borrowed(asked.what.agent()),
            queue: Some(Cow::Borrowed(&asked.queue)),
            customer: Some(Cow::Owned(customer)),
            until: Some(until),
        };
        events.push(event(asked, at, Data::CaseAssigned(assigned)));
        Ok(Some(self.decided(asked, name, at, Some(until))))
    }

    /// A case that the agent has is given back, or (with a resolution, or that there is none) done.
    fn give_back(
        &mut self,
        asked: &Asked,
        case: &str,
        done: Option<Option<&str>>,
        events: &mut Vec<Vec<u8>>,
    ) -> Result<Decision, Refused> {
        let Some(stands) = self.stands(&asked.tenant, case)? else {
            return Err(Refused::NoCase(case.to_string()));
        };
        if stands.holder.as_deref() != Some(asked.what.agent()) {
            return Err(Refused::Held { holder: stands.holder, status: stands.status });
        }
        let at = self.now().max(stands.last_at.saturating_add(1));
        let customer = stands.customer.map(Cow::Owned);
        let case_text = Cow::Borrowed(case);
        let data = match done {
            Some(resolution) => Data::CaseResolved(CaseResolved {
                case: case_text,
                customer,
                resolution: resolution.map(Cow::Borrowed),
            }),
            None => Data::CaseAssigned(CaseAssigned {
                case: case_text,
                agent: Cow::Borrowed(asked.what.agent()),
                queue: Some(Cow::Borrowed(&asked.queue)),
                customer,
                until: Some(at),
            }),
        };
        events.push(event(asked, at, data));
        Ok(self.decided(asked, case.to_string(), at, None))
    }

    /// Remembers a decision until the views show it.
    fn decided(&mut self, asked: &Asked, case: String, at: i64, until: Option<i64>) -> Decision {
        let did = asked.what.word();
        let decision = Decision { did, case, at, until, again: false, position: 0 };
        self.recent.add(Own {
            tenant: asked.tenant.clone(),
            queue: asked.queue.clone(),
            key: asked.key.clone(),
            agent: asked.what.agent().to_string(),
            decision: decision.clone(),
        });
        decision
    }

    /// What is known of a case, our own decisions first.
    fn stands(&self, tenant: &str, case: &str) -> Result<Option<Stands>, Refused> {
        let view = self.view("cases")?;
        let row = view.get(tenant, &key_text(&[case]), self.pin.epoch());
        let Some(row) = row.map_err(|_| Refused::NoView("cases"))? else { return Ok(None) };
        let of = |name: &str| field(view, &row, name);
        let times = ["opened_at", "assigned_at", "resolved_at"].map(|it| time(of(it)));
        let last_at = times.into_iter().flatten().max().unwrap_or(0);
        let now = self.now();
        let (mut holder, mut status) = (text(of("agent")), text(of("status")).unwrap_or_default());
        if status == "assigned" && time(of("until")).is_some_and(|it| it <= now) {
            status = "open".into(); // The timer has not fired yet.
        }
        holder = holder.filter(|_| status == "assigned");
        let mut stands = Stands { holder, status, customer: text(of("customer")), last_at };
        if let Some(own) = self.recent.about(tenant, case) {
            let it = &own.decision;
            let has = it.did == "claimed" && it.until.is_none_or(|it| it > now);
            stands.holder = has.then(|| own.agent.clone());
            stands.status = match it.did {
                "completed" => "resolved".into(),
                _ if has => "assigned".into(),
                _ => "open".into(),
            };
            stands.last_at = stands.last_at.max(it.at);
        }
        Ok(Some(stands))
    }
}

fn event(asked: &Asked, at: i64, data: Data<'_>) -> Vec<u8> {
    structured(&Event {
        tenant: Cow::Borrowed(&asked.tenant),
        source: Cow::Borrowed(DESK),
        id: Cow::Borrowed(&asked.key),
        time: at,
        data,
    })
}

fn field(view: &dyn ViewReader, row: &Row, name: &str) -> Value {
    let place = view.def().position(name);
    place.and_then(|it| row.values.get(it).cloned()).unwrap_or(Value::Null)
}

fn text(it: Value) -> Option<String> {
    match it {
        Value::Text(it) => Some(it.to_string()),
        _ => None,
    }
}

fn time(it: Value) -> Option<i64> {
    match it {
        Value::Time(it) => Some(it),
        _ => None,
    }
}
