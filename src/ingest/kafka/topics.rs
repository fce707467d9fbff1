//! Which topics and partitions there are, and where each begins.
//!
//! # Meaning
//! A topic that is there at our first look begins where `start` says; one that comes later, and a
//! partition that is added, at its oldest record: all of it was written after we began. A topic is
//! told by its id, not by its name: one that was deleted and made again is another one, and is not
//! read on, whatever its length, unless a person has accepted it ([`super::recorded`]). What was recorded before a start counts as read: there every
//! partition goes on where it had come to, and one that is not recorded begins at its oldest.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, OnceLock};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::Offset;
use rdkafka::types::RDKafkaErrorCode as Code;

use super::clients::{ANSWER, Ear};
use super::control::{Control, End, Known};
use super::look::{Offsets, offsets};
use super::recorded::{Place, Recorded};
use super::shared::{Begin, Lane, Order, Topic};
use super::topic_ids::{self, Described};
use super::trouble::{self, Kind};
use super::{Begins, MAX_TOPICS};
use crate::config::kafka::Start;
use crate::ingest::resets::{Reset, To};
use crate::report::{Report, log_report};

impl Control {
    /// Looks which topics and partitions there are, and takes up those that are new.
    pub(super) fn discover(&mut self, client: &BaseConsumer<Ear>) -> Result<(), End> {
        let first = !self.looked;
        self.answers = false;
        let Some(names) = self.names(client) else {
            return if first { Err(End::Again) } else { Ok(()) };
        };
        let described = match topic_ids::describe(client.client(), &names, ANSWER) {
            Ok(it) => it,
            Err(code) => {
                self.shared.heard.error(code, "topics were not described");
                return if first { Err(End::Again) } else { Ok(()) };
            }
        };
        self.answers = true;
        for it in described {
            self.described(client, it)?;
        }
        self.looked = true;
        Ok(())
    }

    /// Topics by name, and those that the pattern finds. `None`: the cluster did not answer.
    fn names(&self, client: &BaseConsumer<Ear>) -> Option<Vec<String>> {
        let mut names: BTreeSet<String> = self.plan.settings.topics.iter().cloned().collect();
        // Those that we read, also when a pattern no longer finds them: they may have been deleted.
        names.extend(self.known.keys().cloned());
        if let Some(pattern) = &self.plan.settings.pattern {
            let recorded = self.plan.recorded.keys().filter(|it| pattern.is_match(it));
            names.extend(recorded.cloned());
            let all = client.fetch_metadata(None, ANSWER).ok()?;
            let found = all.topics().iter().map(|it| it.name());
            names.extend(
                found
                    .filter(|it| !it.starts_with("__") && pattern.is_match(it))
                    .map(str::to_string),
            );
        }
        Some(names.into_iter().collect())
    }

    fn described(&mut self, client: &BaseConsumer<Ear>, it: Described) -> Result<(), End> {
        let Described { name, found } = it;
        let (id, partitions) = match found {
            Ok(found) => found,
            Err(code) => {
                return self.absent(&name, code);
            }
        };
        self.alarms.clear("ingest/kafka-no-topic", &name);
        self.alarms.clear("ingest/kafka-refused", &name);
        match self.known.get(&name) {
            Some(known) if known.left => Ok(()),
            Some(known) if known.topic.id != id => {
                let why = format!("expected the topic id {}, found {id}", known.topic.id);
                let report = trouble::another_topic(&known.topic.feed_name, why);
                self.leave(&name, report)
            }
            Some(known) if known.lanes.len() >= partitions as usize => Ok(()),
            Some(known) => {
                let (topic, from) = (Arc::clone(&known.topic), known.lanes.len());
                tracing::info!(
                    topic = name,
                    partitions,
                    "partitions were added; they are read too"
                );
                // None yet: its first look had no answer.
                let start = if from == 0 { known.start } else { Start::Earliest };
                self.take(client, &topic, from, partitions as usize, start)
            }
            None => self.new_topic(client, name, id, partitions as usize),
        }
    }

    /// Why a topic is not read.
    fn absent(&mut self, name: &str, code: Code) -> Result<(), End> {
        self.shared.heard.error(code, name);
        let feed = format!("{}/{name}", self.plan.settings.name);
        if trouble::kind(code) == Kind::Authorisation {
            let brokers = self.plan.settings.brokers.join(",");
            let told = trouble::not_connected(&feed, &brokers, Some(code), &code.to_string());
            if self.plan.until_end {
                return Err(End::Fatal(told));
            }
            self.alarms.raise(name, || told);
        } else if matches!(code, Code::UnknownTopicOrPartition | Code::UnknownTopic) {
            let told = no_topic(&feed, self.was_read(name));
            if self.plan.until_end {
                return Err(End::Fatal(told));
            }
            self.alarms.raise(name, || told);
        } else if self.plan.until_end {
            return Err(End::Again);
        }
        Ok(())
    }

    /// We read it, or an earlier process did.
    fn was_read(&self, name: &str) -> bool {
        self.known.contains_key(name) || self.plan.recorded.contains_key(name)
    }

    fn new_topic(
        &mut self,
        client: &BaseConsumer<Ear>,
        name: String,
        id: String,
        partitions: usize,
    ) -> Result<(), End> {
        let feed_name = format!("{}/{name}", self.plan.settings.name);
        let cluster = self.cluster.clone().unwrap_or_default();
        let identity = Recorded::identity(&cluster, &id);
        let add = |it: &Control| (it.hooks.add_feed)(&feed_name, &identity);
        let feed = if self.known.len() < MAX_TOPICS { add(self) } else { None };
        let Some(feed) = feed else {
            self.alarms.raise(&name, || trouble::too_many(&feed_name, MAX_TOPICS));
            return Ok(());
        };
        tracing::info!(topic = name, id, partitions, feed = feed_name, "a topic is read");
        let another = OnceLock::new();
        let topic =
            Arc::new(Topic { name: name.clone(), id: id.clone(), another, feed, feed_name });
        let recorded = self.plan.recorded.get(&name);
        // Of a topic that we have read, a partition without a record was added while we were away:
        // all of it was written after we began.
        let start = match (self.plan.settings.start, self.looked || recorded.is_some()) {
            (Start::Latest, true) => Start::Earliest,
            (Start::At(_), _) if recorded.is_some() => Start::Earliest,
            (start, _) => start,
        };
        let differs = recorded.and_then(|it| it.differs(&cluster, &id));
        let accepted = recorded.is_some_and(Recorded::accepts_another);
        let known = Known {
            topic: Arc::clone(&topic),
            start,
            lanes: Vec::new(),
            identity,
            at_first: partitions,
            another: differs.is_some(),
            left: false,
        };
        self.known.insert(name.clone(), known);
        match differs {
            Some(why) if !accepted => {
                return self.leave(&name, trouble::another_topic(&topic.feed_name, why));
            }
            Some(why) => {
                tracing::warn!(
                    feed = topic.feed_name,
                    why,
                    "another topic is read: it was accepted"
                );
            }
            None => {}
        }
        self.take(client, &topic, 0, partitions, start)
    }

    /// Takes up partitions `from..to` of a topic. What the cluster does not answer for is asked
    /// for again at the next look.
    fn take(
        &mut self,
        client: &BaseConsumer<Ear>,
        topic: &Arc<Topic>,
        from: usize,
        to: usize,
        start: Start,
    ) -> Result<(), End> {
        let asked: Vec<Lane> =
            (from..to).map(|n| Lane::new(Arc::clone(topic), n as i32, 0)).collect();
        let asked: Vec<&Lane> = asked.iter().collect();
        let ask = |of: Offset| offsets(client, &asked, of);
        let answers = || {
            let at = match start {
                Start::At(ms) => Offset::Offset(ms.cast_signed()),
                Start::Latest => Offset::End,
                Start::Earliest => Offset::Beginning,
            };
            Ok((ask(Offset::Beginning)?, ask(Offset::End)?, ask(at)?))
        };
        let (lows, ends, starts) = match answers() {
            Ok(it) => it,
            Err(why) => {
                let why: String = why;
                tracing::warn!(topic = topic.name, why, "where its partitions begin is not known");
                return if self.plan.until_end { Err(End::Again) } else { Ok(()) };
            }
        };
        let recorded = self.plan.recorded.get(&topic.name);
        let known = self.known.get(&topic.name);
        let (at_first, another) = known.map_or((0, false), |it| (it.at_first, it.another));
        let times = match recorded.map(|it| times(it, ask)).transpose() {
            Ok(it) => it.unwrap_or_default(),
            Err(why) => {
                tracing::warn!(topic = topic.name, why, "where its partitions begin is not known");
                return if self.plan.until_end { Err(End::Again) } else { Ok(()) };
            }
        };
        let identity = known.map(|it| it.identity.clone()).unwrap_or_default();
        let (mut found, mut placed) = (Vec::new(), BTreeMap::new());
        // Where it is always the same, it need not be kept.
        let keeps = start != Start::Earliest && self.hooks.durable.is_some();
        for lane in &asked {
            let key = (topic.feed, lane.number);
            let of = |it: &Offsets| it.get(&key).copied();
            let (Some(Some(low)), Some(Some(end)), Some(at)) = (of(&lows), of(&ends), of(&starts))
            else {
                // Partitions are numbered from 0: the rest waits with it.
                break;
            };
            let end = end.max(low);
            let number = lane.number.unsigned_abs();
            let offset = |reset: &Reset| {
                let before = reset.placed.get(&identity).and_then(|it| it.get(&number));
                before.copied().or_else(|| match &reset.to {
                    To::Earliest => Some(low),
                    To::Latest => Some(end),
                    To::At(ms) => times.get(ms)?.get(&key).map(|it| it.unwrap_or(end)),
                    To::Offset(it) => Some(*it),
                    To::Offsets(all) => all.get(&number).copied(),
                })
            };
            // One that was added while we read was never placed, whatever its number once held.
            let kept = recorded.filter(|_| (number as usize) < at_first);
            let reset = kept.and_then(|it| it.decided(number));
            let decided = reset.and_then(offset);
            if let (Some(reset), Some(decided)) = (reset, decided) {
                let of: &mut BTreeMap<u32, u64> = placed.entry(reset.number).or_default();
                of.insert(number, decided);
            }
            // No record of this time or later: what comes next is.
            let start = at.unwrap_or(end);
            let place = kept.map(|it| it.place(number, another, decided));
            let (first, next, anew) = match place {
                None | Some(Place::Start) => (start, start, false),
                Some(Place::On { first, next }) => (first, next, false),
                Some(Place::Anew(next)) => (next.max(low), next.max(low), true),
            };
            if next < low {
                let report = trouble::lost(&topic.feed_name, lane.number, next, low);
                log_report!(error, report, "offsets of a topic are gone");
            }
            if first < next || anew {
                let (feed, partition) = (&topic.feed_name, number);
                tracing::warn!(feed, partition, first, next, anew, "a partition was placed anew");
            }
            let lane = Arc::new(Lane::new(Arc::clone(topic), lane.number, next.max(low)));
            lane.end.store(end, SeqCst);
            let chosen = keeps && matches!(place, None | Some(Place::Start));
            lane.held.store(chosen, SeqCst);
            let reset = recorded.map_or(0, |it| it.number(number));
            let until = self.plan.until_end.then_some(end);
            found.push((Begin { lane, first, until }, Begins { first, anew, reset }));
        }
        for (number, offsets) in &placed {
            if let Err(report) = (self.hooks.placed)(*number, &identity, offsets) {
                self.alarms.raise(&topic.name, || report);
                return Ok(());
            }
        }
        self.alarms.clear("ingest/feeds-file", &topic.name);
        for (begin, it) in &found {
            (self.hooks.begins)(begin.lane.partition(), *it);
        }
        let begins: Vec<Begin> = found.into_iter().map(|it| it.0).collect();
        let Some(known) = self.known.get_mut(&topic.name) else { return Ok(()) };
        known.lanes.extend(begins.iter().map(|it| Arc::clone(&it.lane)));
        let whole = known.lanes.len() >= to;
        if whole && another && to == at_first {
            (self.hooks.accepted)(&topic.feed_name, u32::try_from(to).unwrap_or(u32::MAX));
        }
        if !begins.is_empty() {
            self.order(Order::Take(begins))?;
        }
        if self.plan.until_end && !whole { Err(End::Again) } else { Ok(()) }
    }
}

/// Offsets of the times that are among the decisions.
fn times(
    recorded: &Recorded,
    ask: impl Fn(Offset) -> Result<Offsets, String>,
) -> Result<BTreeMap<u64, Offsets>, String> {
    let mut times = BTreeMap::new();
    for it in &recorded.resets {
        if let To::At(ms) = it.to {
            times.insert(ms, ask(Offset::Offset(ms.cast_signed()))?);
        }
    }
    Ok(times)
}

fn no_topic(feed: &str, known: bool) -> Report {
    Report {
        code: "ingest/kafka-no-topic",
        what: "could not find a topic".into(),
        at: vec![("feed", feed.to_string())],
        why: match known {
            true => "it was there, and was deleted".into(),
            false => "no topic has this name, or we may not see it".into(),
        },
        effect: "nothing of it is read; nothing is lost; other topics go on".into(),
        fix: "make the topic, or correct its name; it is read once it is there".into(),
    }
}
