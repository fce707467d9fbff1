//! Which customers are one person, plainly: sets of sets, level by level.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use compact_str::{CompactString, format_compact};
use schemas::events::{Data, Event};
use schemas::names::{Name, key_text};
use serde_json::{Value as Json, json};

use super::level::{Conflict, Why};
use super::{BY_HAND, CUSTOMER, MAX_EVIDENCE, Rank, Terms, Who, normalised, terms};
use crate::{Epoch, customers, key_id};

/// A statement: (time, id, source), whether it says yes, as what was given or by whom.
type Statement<'e> = ((i64, &'e str, &'e str), bool, Option<&'e str>);

/// The answer, and what the rows are made of.
pub(crate) struct Plain<'e> {
    events: &'e [Event<'static>],
    terms: std::sync::Arc<Terms>,
    /// Of each customer and (kind, value), oldest first.
    said: BTreeMap<(Who, CompactString, CompactString), Vec<Statement<'e>>>,
    /// Of each pair the newest, the smaller id first.
    by_hand: BTreeMap<(Who, Who), Statement<'e>>,
    marks: BTreeMap<Name, (Rank, Vec<Who>)>,
    /// Each part.
    parts: Vec<BTreeSet<Who>>,
    first_seen: BTreeMap<Who, i64>,
    conflicts: Vec<Conflict>,
}

/// Over these events.
pub(crate) fn plain<'e>(events: &'e [Event<'static>], now: Epoch) -> Plain<'e> {
    let mut it = Plain {
        events,
        terms: terms(),
        said: BTreeMap::new(),
        by_hand: BTreeMap::new(),
        marks: BTreeMap::new(),
        parts: Vec::new(),
        first_seen: BTreeMap::new(),
        conflicts: Vec::new(),
    };
    it.listen();
    let seen = customers::DEF.position("first_seen_at").expect("a field of customers");
    for (name, row) in customers::reference(events, now) {
        if let schemas::rows::Value::Time(at) = row.values[seen] {
            it.first_seen.insert(name, at);
        }
    }
    let everybody: BTreeSet<Who> = it
        .said
        .keys()
        .map(|it| it.0.clone())
        .chain(it.by_hand.keys().flat_map(|it| [it.0.clone(), it.1.clone()]))
        .collect();
    it.parts = everybody.into_iter().map(|it| BTreeSet::from([it])).collect();
    it.find_marks();
    it.join();
    it
}

impl<'e> Plain<'e> {
    fn listen(&mut self) {
        let mut sorted: Vec<&'e Event<'static>> = self.events.iter().collect();
        sorted.sort_by_key(|it| (it.time, &it.id, &it.source));
        let gone = crate::erased::Plain::of(self.events);
        for event in sorted.into_iter().filter(|it| !gone.names(it)) {
            let stamp = (event.time, &*event.id, &*event.source);
            let who = |id: &str| Name::new(&event.tenant, &key_text(&[id]));
            match &event.data {
                Data::CustomerIdentified(it) | Data::CustomerUnlinked(it) => {
                    let value = normalised(&it.kind, &it.value, it.country.as_deref());
                    let yes = matches!(event.data, Data::CustomerIdentified(_));
                    let key = (who(&it.customer), (&*it.kind).into(), value);
                    self.said.entry(key).or_default().push((stamp, yes, Some(&it.value)));
                }
                Data::CustomerLinkedByHand(it) | Data::CustomerSeparatedByHand(it) => {
                    let yes = matches!(event.data, Data::CustomerLinkedByHand(_));
                    let (a, b) = (
                        it.customer.clone().min(it.other.clone()),
                        it.customer.clone().max(it.other.clone()),
                    );
                    self.by_hand.insert((who(&a), who(&b)), (stamp, yes, it.agent.as_deref()));
                }
                _ => {}
            }
        }
    }

    fn find_marks(&mut self) {
        for ((who, kind, value), said) in &self.said {
            let is_ours = kind == CUSTOMER || kind == BY_HAND;
            if said.last().is_some_and(|it| it.1) && !is_ours {
                let name = Name::new(who.tenant(), &key_text(&[kind, value]));
                let rank = self.terms.judge(kind, value);
                self.marks.entry(name).or_insert((rank, Vec::new())).1.push(who.clone());
            }
        }
    }

    fn join(&mut self) {
        let pairs = self.by_hand.iter().filter(|it| it.1.1 && it.0.0 != it.0.1);
        let links =
            pairs.map(|((a, b), _)| (super::relate::pair_name(a, b), vec![a.clone(), b.clone()]));
        let links = links.collect();
        self.level(links, false);
        for place in 0..self.terms.kinds.len() as u8 {
            let of_level = |it: &(&Name, &(Rank, Vec<Who>))| {
                it.1.0 == Rank::Of(place) && it.1.1.len() <= self.limit(it.1.0)
            };
            let links = self.marks.iter().filter(of_level).map(|it| (it.0.clone(), it.1.1.clone()));
            let links = links.collect();
            self.level(links, true);
        }
    }

    fn part(&self, who: &Who) -> usize {
        self.parts.iter().position(|it| it.contains(who)).expect("everybody stands somewhere")
    }

    fn level(&mut self, links: Vec<(Name, Vec<Who>)>, vetoes: bool) {
        let before: Vec<BTreeSet<Who>> = self.parts.clone();
        // Sets of parts, grown by each link until no more touch.
        let mut components: Vec<BTreeSet<usize>> =
            (0..before.len()).map(|it| [it].into()).collect();
        let parts_of =
            |all: &[Who]| -> BTreeSet<usize> { all.iter().map(|it| self.part(it)).collect() };
        for (_, all) in &links {
            let mut joined = parts_of(all);
            components.retain(|it| {
                let touches = !it.is_disjoint(&parts_of(all)) || !it.is_disjoint(&joined);
                if touches {
                    joined.extend(it);
                }
                !touches
            });
            components.push(joined);
        }
        let mut after = Vec::new();
        let mut conflicts = Vec::new();
        for component in components {
            let whole: BTreeSet<Who> =
                component.iter().flat_map(|it| before[*it].clone()).collect();
            let against = match component.len() {
                1 => None,
                _ => self.against(&component, &before, &whole, vetoes),
            };
            let Some((why, detail)) = against else {
                after.push(whole);
                continue;
            };
            after.extend(component.iter().map(|it| before[*it].clone()));
            for (link, all) in &links {
                if parts_of(all).len() > 1 && parts_of(all).is_subset(&component) {
                    let (link, customers) = (link.clone(), all.clone());
                    conflicts.push(Conflict { link, customers, why, detail: detail.clone() });
                }
            }
        }
        self.parts = after;
        self.conflicts.extend(conflicts);
    }

    fn against(
        &self,
        component: &BTreeSet<usize>,
        parts: &[BTreeSet<Who>],
        whole: &BTreeSet<Who>,
        vetoes: bool,
    ) -> Option<(Why, CompactString)> {
        if whole.len() > self.terms.max_members as usize {
            return Some((Why::TooLarge, format_compact!("{} customers", whole.len())));
        }
        for ((a, b), said) in &self.by_hand {
            if !said.1 && a != b && whole.contains(a) && whole.contains(b) {
                return Some((Why::Separated, format_compact!("{}, {}", key_id(a), key_id(b))));
            }
        }
        // Values of veto kinds, each with the parts that carry it.
        let mut values: BTreeMap<&Name, BTreeSet<usize>> = BTreeMap::new();
        for (name, (rank, carriers)) in self.marks.iter().filter(|_| vetoes) {
            if self.terms.is_veto(*rank) && carriers.len() <= self.limit(*rank) {
                let carry = component
                    .iter()
                    .filter(|it| carriers.iter().any(|who| parts[**it].contains(who)));
                let carry: BTreeSet<usize> = carry.copied().collect();
                if !carry.is_empty() {
                    values.insert(name, carry);
                }
            }
        }
        let split = |it: &Name| {
            let (kind, value) = it.key().split_once('/').expect("a kind and a value");
            (crate::decoded(kind), crate::decoded(value))
        };
        for (a, of_a) in &values {
            for (b, of_b) in values.iter().filter(|it| it.0 > a) {
                let ((kind, a), (other, b)) = (split(a), split(b));
                if kind == other && of_a.is_disjoint(of_b) {
                    return Some((Why::Contradiction, format_compact!("{kind}: {a}, {b}")));
                }
            }
        }
        None
    }

    /// Every identifier that somebody carries: what it is worth, and its carriers.
    pub(crate) fn marks(&self) -> impl Iterator<Item = (&Name, &(Rank, Vec<Who>))> {
        self.marks.iter()
    }

    pub(crate) fn limit(&self, rank: Rank) -> usize {
        self.terms.limit(rank) as usize
    }

    pub(crate) fn into_conflicts(self) -> Vec<Conflict> {
        self.conflicts
    }

    /// Each person with their members, the one seen first at the front.
    pub(crate) fn persons(&self) -> impl Iterator<Item = (Who, Vec<Who>)> {
        self.parts.iter().map(|it| {
            let mut all: Vec<Who> = it.iter().cloned().collect();
            all.sort_by_key(|it| (self.first_seen[it], key_id(it)));
            (all[0].clone(), all)
        })
    }

    /// The person whom a customer is.
    pub(crate) fn person(&self, who: &Who) -> Who {
        let found = self.persons().find(|it| it.1.contains(who));
        found.expect("everybody is somebody").0
    }

    /// What customers told of themselves, as if every person were one customer.
    pub(crate) fn as_one(&self) -> Vec<Event<'static>> {
        let whose: BTreeMap<Who, Who> = self
            .persons()
            .flat_map(|it| it.1.into_iter().map(move |who| (who, it.0.clone())))
            .collect();
        let told = self.events.iter().filter_map(|event| {
            let mut event = event.clone();
            let (Data::CustomerRegistered(it) | Data::CustomerUpdated(it)) = &mut event.data else {
                return None;
            };
            let person = whose.get(&Name::new(&event.tenant, &key_text(&[&it.customer])))?;
            it.customer = Cow::Owned(key_id(person).into());
            Some(event)
        });
        told.collect()
    }

    pub(crate) fn identifiers_of(&self, members: &[Who]) -> Json {
        let mut all: BTreeMap<(&str, &str), Vec<Json>> = BTreeMap::new();
        for member in members {
            for ((who, kind, value), said) in &self.said {
                let newest = said.iter().rev().take(MAX_EVIDENCE).take_while(|it| it.1);
                let events: Vec<Json> = newest.clone().map(|it| event_of(it)).collect();
                if who == member
                    && let Some(raw) = newest.clone().next()
                {
                    let by = json!({ "customer": key_id(who), "raw": raw.2, "events": events });
                    all.entry((kind, value)).or_default().push(by);
                }
            }
        }
        let each = all.into_iter();
        each.map(|((kind, value), by)| json!({ "kind": kind, "value": value, "by": by })).collect()
    }

    pub(crate) fn by_hand_of(&self, members: &[Who]) -> Json {
        let within = |it: &(&(Who, Who), &Statement<'_>)| {
            it.1.1 && it.0.0 != it.0.1 && members.contains(&it.0.0) && members.contains(&it.0.1)
        };
        let mut pairs: Vec<_> = self.by_hand.iter().filter(within).collect();
        pairs.sort_by_key(|it| (key_id(&it.0.0), key_id(&it.0.1)));
        let each = pairs.into_iter().map(|((a, b), it)| {
            json!({ "customers": [key_id(a), key_id(b)], "agent": it.2, "event": event_of(it) })
        });
        each.collect()
    }
}

fn event_of(((at, id, source), ..): &Statement<'_>) -> Json {
    json!({ "at": schemas::time::rfc3339(*at), "source": source, "id": id })
}
