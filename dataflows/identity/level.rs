//! The links of each level, and what becomes of them.
//!
//! ```text
//!  parts, links ─▶ parts per link ─▶ edges ─▶ iterate: components ─┬─▶ size, separations, vetoes
//!      └─────────────────────────────────────────────────────────  │        └─▶ refused ─▶ conflicts
//!                                                                   └─▶ the others are one part each
//! ```
//!
//! # Meaning
//! [`super`] says what a level is. The levels are the rounds of one iteration, each with an
//! iteration of its own inside: the operators are there once, whatever the number of levels, and a
//! change at one level is seen by the later ones only as far as it moved somebody. A part is named by one of its customers, the smallest by name of
//! those that were joined; the name decides nothing outside.
//!
//! # Invariants
//! A part is in `parts` only if one of its customers has a link of some level; so nothing here grows
//! with customers who are alone. What is reduced is bounded: a link has as many customers as its
//! kind allows, what is looked through for vetoes as many as one person may have.

use std::collections::BTreeSet;
use std::sync::Arc;

use compact_str::{CompactString, format_compact};
use differential_dataflow::operators::arrange::{Arranged, TraceAgent};
use differential_dataflow::operators::iterate::Variable;
use differential_dataflow::trace::implementations::{ValBuilder, ValSpine};
use differential_dataflow::{ExchangeData, Hashable, VecCollection};
use schemas::names::Name;
use serde::{Deserialize, Serialize};
use timely::order::Product;

use super::Who;
use crate::{Epoch, key_id};

/// A collection of this room.
pub(super) type Of<'s, D> = VecCollection<'s, Epoch, D, isize>;

/// Why the links of a component do not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) enum Why {
    /// Too many customers.
    TooLarge,
    /// Two of them were separated by hand.
    Separated,
    /// Two values of a kind of which one person has one.
    Contradiction,
}

impl Why {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Why::TooLarge => "too_large",
            Why::Separated => "separated",
            Why::Contradiction => "contradiction",
        }
    }
}

/// A link that does not count.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Conflict {
    /// The identifier, or the pair.
    pub(crate) link: Name,
    pub(crate) customers: Vec<Who>,
    pub(crate) why: Why,
    pub(crate) detail: CompactString,
}

/// What the levels are made from.
pub(super) struct Given<'s> {
    /// Every customer who has a link of some level, alone.
    pub(super) alone: Of<'s, (Who, Who)>,
    /// Of each link its level, and each of its customers.
    pub(super) links: Of<'s, (u64, Who, Name)>,
    /// Customers, each with the values of veto kinds.
    pub(super) vetoes: Of<'s, (Who, Name)>,
    /// Pairs separated by hand.
    pub(super) apart: Of<'s, (Who, Who)>,
}

/// A time within the levels: the epoch, and which level.
type Level = Product<Epoch, u64>;

/// A collection within the levels.
type In<'s, D> = VecCollection<'s, Level, D, isize>;

/// A time within the iteration of one level: and how often its links were followed.
type Round = Product<Level, u64>;

/// Which part each customer stands in after all levels, and the links that did not count.
pub(super) fn levels<'s>(
    given: Given<'s>,
    max_members: u32,
) -> (Of<'s, (Who, Who)>, Of<'s, Conflict>) {
    let Given { alone, links, vetoes, apart } = given;
    let outer = alone.scope();
    outer.scoped::<Level, _, _>("levels profiles", |scope| {
        let next = Product::new(Default::default(), 1);
        let (bind_parts, parts) = Variable::new_from(alone.enter(scope), next);
        let (bind_told, told) = Variable::new(scope, next);
        // A link is there at its own level only; what it joined stays.
        let begin = links.clone().enter_at(scope, |it| it.0);
        let end = links.enter_at(scope, |it| it.0 + 1);
        let links = begin.concat(end.negate()).map(|(_, who, link)| (who, link));
        // What is linked by hand may contradict: level 0.
        let vetoes = vetoes.enter_at(scope, |_| 1);
        let before = Before { parts, links, vetoes, apart: apart.enter(scope) };
        let (after, refused) = level(max_members, before);
        let told = summed_up(told.concat(refused), "refused identity_conflicts");
        bind_parts.set(after.clone());
        bind_told.set(told.clone());
        (after.leave(outer), told.leave(outer))
    })
}

/// What there is before a level.
struct Before<'s> {
    parts: In<'s, (Who, Who)>,
    links: In<'s, (Who, Name)>,
    vetoes: In<'s, (Who, Name)>,
    apart: In<'s, (Who, Who)>,
}

/// What speaks against a component.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
enum Against {
    Separated(Who, Who),
    /// A part carries a value of a veto kind.
    Carries(Who, Name),
}

/// Which part each customer stands in after the level, and the links of it that did not count.
fn level<'s>(max_members: u32, before: Before<'s>) -> (In<'s, (Who, Who)>, In<'s, Conflict>) {
    let n = |it: &str| format!("{it} profiles");
    let Before { parts, links, vetoes, apart } = before;
    let by_who = parts.clone().arrange_by_key_named(&n("parts"));
    let links = links.arrange_by_key_named(&n("links"));
    // Each link with the parts that it joins, and its customers.
    let joined = links
        .join_core(by_who.clone(), |who, link, part| {
            Some((link.clone(), (part.clone(), who.clone())))
        })
        .reduce_named(&n("joined"), |_, all, joined| {
            if all.iter().any(|it| it.0.0 != all[0].0.0) {
                let all: Arc<[(Who, Who)]> = all.iter().map(|it| it.0.clone()).collect();
                joined.push((all, 1));
            }
        });
    let edges = joined.clone().flat_map(|(_, all)| {
        let first = all[0].0.clone();
        let mut others: Vec<Who> = all.iter().map(|it| it.0.clone()).collect();
        others.dedup();
        let both = move |it: Who| [(first.clone(), it.clone()), (it, first.clone())];
        others.into_iter().skip(1).flat_map(both)
    });
    let nodes = edges.clone().map(|(part, _)| (part.clone(), part));
    let edges = edges.arrange_by_key_named(&n("edges"));
    // Component of each part that a link of this level touches.
    let component = components(edges, nodes, &n("join"));
    let component_of = component.clone().arrange_by_key_named(&n("components"));
    let members = parts.clone().map(|(who, part)| (part, who)).arrange_by_key_named(&n("members"));
    // How many there are is in the difference: a record a component, whatever its size.
    let sizes = component_of.clone().join_core(members.clone(), |_, it, _| Some((it.clone(), ())));
    let too_large = sizes.reduce_named(&n("sizes"), move |_, size, refused| {
        if size[0].1 > max_members as isize {
            refused.push(((Why::TooLarge, format_compact!("{} customers", size[0].1)), 1_isize));
        }
    });

    // Of the few of whom anything speaks against: in which part they stand, and in which component.
    let vetoes = vetoes
        .arrange_by_key_named(&n("vetoes"))
        .join_core(by_who.clone(), |_, value, part| Some((part.clone(), value.clone())))
        .arrange_by_key_named(&n("carried by parts"))
        .join_core(component_of.clone(), |part, value, it| {
            Some((it.clone(), Against::Carries(part.clone(), value.clone())))
        });
    let against = apart
        .arrange_by_key_named(&n("apart"))
        .join_core(by_who.clone(), |a, b, part| Some((part.clone(), (a.clone(), b.clone()))))
        .arrange_by_key_named(&n("apart as parts"))
        .join_core(component_of.clone(), |_, (a, b), it| Some((b.clone(), (it.clone(), a.clone()))))
        .arrange_by_key_named(&n("apart from"))
        .join_core(by_who, |b, (it, a), part| {
            Some((part.clone(), (it.clone(), a.clone(), b.clone())))
        })
        .arrange_by_key_named(&n("apart from parts"))
        .join_core(component_of, |_, (of_a, a, b), of_b| {
            (of_a == of_b).then(|| (of_a.clone(), Against::Separated(a.clone(), b.clone())))
        })
        .concat(vetoes);
    let too_many = too_large.clone().map(|it| it.0).arrange_by_self_named(&n("not against"));
    let of_too_many = against
        .clone()
        .arrange_by_key_named(&n("against"))
        .join_core(too_many, |it, against, ()| Some((it.clone(), against.clone())));
    let against = against.concat(of_too_many.negate());
    let refused = too_large.concat(against.reduce_named(&n("refused"), |_, all, refused| {
        let all = all.iter().map(|it| it.0);
        let why = judge(all);
        refused.extend(why.map(|it| (it, 1)));
    }));

    let parts_of = component.map(|(part, it)| (it, part));
    let refused = refused.arrange_by_key_named(&n("reasons"));
    let stay = parts_of
        .clone()
        .arrange_by_key_named(&n("parts of"))
        .join_core(refused, |it, part, why| Some((part.clone(), (it.clone(), why.clone()))));
    let told = joined.map(|(link, all)| (all[0].0.clone(), (link, all)));
    let conflicts = told.arrange_by_key_named(&n("told")).join_core(
        stay.clone().arrange_by_key_named(&n("stay")),
        |_, (link, all), (_, (why, detail))| {
            let customers = all.iter().map(|it| it.1.clone()).collect();
            Some(Conflict { link: link.clone(), customers, why: *why, detail: detail.clone() })
        },
    );

    let moves = parts_of.concat(stay.map(|(part, (it, _))| (it, part)).negate());
    let moves = moves.filter(|it| it.0 != it.1);
    let moves = moves.map(|(it, part)| (part, it)).arrange_by_key_named(&n("moved"));
    let moved =
        moves.join_core(members, |part, it, who| Some((who.clone(), (part.clone(), it.clone()))));
    let from = moved.clone().map(|(who, (part, _))| (who, part));
    let to = moved.map(|(who, (_, it))| (who, it));
    // Summed up, so that what cancels does not go around for ever.
    let after = parts.concat(from.negate()).concat(to);
    (summed_up(after, &n("after")), conflicts)
}

/// Without what cancels. Holds nothing: nobody looks into what is arranged for it.
fn summed_up<'s, D: ExchangeData + Hashable>(all: In<'s, D>, name: &str) -> In<'s, D> {
    all.arrange_by_self_named(name).as_collection(|it, ()| it.clone())
}

/// The component of each node: the smallest of those that edges lead to, over and over.
///
/// As differential's own `propagate`, of which no operator can be given a name.
fn components<'s>(
    edges: Arranged<'s, TraceAgent<ValSpine<Name, Name, Level, isize>>>,
    nodes: In<'s, (Name, Name)>,
    name: &str,
) -> In<'s, (Name, Name)> {
    let outer = nodes.scope();
    outer.scoped::<Round, _, _>(name, |scope| {
        let edges = edges.enter(scope);
        let (bind, proposals) = Variable::new(scope, Product::new(Default::default(), 1));
        let labels = proposals
            .concat(nodes.enter(scope))
            .reduce_abelian::<_, ValBuilder<_, _, _, _>, ValSpine<_, _, _, _>>(
                &format!("labels of {name}"),
                |_, offered, label| label.push((offered[0].0.clone(), 1_isize)),
            );
        let offered = labels
            .clone()
            .join_core(edges, |_, label: &Name, to: &Name| Some((to.clone(), label.clone())));
        bind.set(offered);
        labels.as_collection(|node, label| (node.clone(), label.clone())).leave(outer)
    })
}

/// Why a component is refused, of what speaks against it, in order.
fn judge<'a>(against: impl Iterator<Item = &'a Against>) -> Option<(Why, CompactString)> {
    let mut carried: Vec<(&Who, &Name)> = Vec::new();
    for it in against {
        match it {
            Against::Separated(a, b) => {
                return Some((Why::Separated, format_compact!("{}, {}", key_id(a), key_id(b))));
            }
            Against::Carries(part, value) => carried.push((part, value)),
        }
    }
    contradiction(&carried).map(|(a, b)| {
        let shown = |it: &Name| crate::decoded(it.key().split_once('/').map_or("", |it| it.1));
        let kind = crate::decoded(a.key().split_once('/').map_or("", |it| it.0));
        (Why::Contradiction, format_compact!("{kind}: {}, {}", shown(a), shown(b)))
    })
}

/// The first two values of one kind, by name, that no part carries together.
pub(super) fn contradiction<'a>(carried: &[(&'a Who, &'a Name)]) -> Option<(&'a Name, &'a Name)> {
    let kind = |it: &Name| it.key().split_once('/').map_or(0, |it| it.0.len());
    let all: BTreeSet<&(&Who, &Name)> = carried.iter().collect();
    let values: BTreeSet<&Name> = carried.iter().map(|it| it.1).collect();
    for a in &values {
        for b in values.iter().filter(|it| *it > a) {
            if a.key()[..kind(a)] != b.key()[..kind(b)] {
                continue;
            }
            let together = carried.iter().any(|it| it.1 == *a && all.contains(&(it.0, *b)));
            if !together {
                return Some((a, b));
            }
        }
    }
    None
}
