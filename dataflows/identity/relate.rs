//! From what customers carry to who is one person, and what is told of it.

use std::sync::Arc;

use differential_dataflow::operators::CountTotal;
use differential_dataflow::{AsCollection, VecCollection};
use timely::dataflow::operators::vec::Map;

use super::level::{Conflict, Given, Of, levels};
use super::{BY_HAND, Mark, Member, Rank, Tells, Terms, Who};
use crate::Epoch;
use crate::attached::attached;
use crate::grouped::{grouped, records};
use crate::identifiers::{Identifier, Stands};
use crate::key_id;
use crate::profiles::Person;
use schemas::names::{Name, key_text};

/// The person whom each customer is.
pub(crate) type Whose<'s> = Of<'s, (Who, Who)>;

/// What the three views show.
pub(crate) struct Streams<'s> {
    pub(crate) profiles: Of<'s, Arc<Person>>,
    pub(crate) identifiers: Of<'s, Arc<Identifier>>,
    pub(crate) conflicts: Of<'s, Conflict>,
    pub(crate) whose: Whose<'s>,
}

/// The name of a link by hand.
pub(super) fn pair_name(a: &Who, b: &Who) -> Name {
    let pair = key_text(&[&key_id(a), &key_id(b)]);
    Name::new(a.tenant(), &key_text(&[BY_HAND, &pair]))
}

/// All of it.
pub(crate) fn relate<'s>(
    told: VecCollection<'s, Epoch, Tells, isize>,
    terms: Arc<Terms>,
) -> Streams<'s> {
    let members = told.clone().flat_map(|it| match it {
        Tells::Member(who, member) => Some((who, member)),
        _ => None,
    });
    let carries = told.clone().flat_map(|it| match it {
        Tells::Carries(mark, who) => Some((mark, who)),
        _ => None,
    });
    let said = |is_one: bool| {
        told.clone().flat_map(move |it| match it {
            Tells::ByHand(a, b, it) if it == is_one => Some((a, b)),
            _ => None,
        })
    };
    let (pairs, apart) = (said(true), said(false));

    // How many carry each; of a usable one, who.
    let counts = carries
        .clone()
        .map(|it| it.0)
        .arrange_by_self_named("marks profiles")
        .count_total_core::<isize>();
    let limits = terms.clone();
    let is_usable = move |rank: Rank, n: isize| n <= limits.limit(rank) as isize;
    let (usable, others) = (is_usable.clone(), is_usable);
    let usable = counts.clone().filter(move |it| usable(it.0.0, it.1));
    let usable = usable.map(|(mark, n)| (mark, n > 1)).arrange_by_key_named("usable profiles");
    let carried: Of<'s, (Mark, (Who, bool))> = carries
        .arrange_by_key_named("carried profiles")
        .join_core(usable, |mark, who, joins| Some((mark.clone(), (who.clone(), *joins))));
    let links = carried
        .clone()
        .flat_map(|((rank, mark), (who, joins))| joins.then_some((who, (rank, mark))));
    let vetoes = terms.clone();
    let vetoes = carried
        .clone()
        .flat_map(move |((rank, mark), (who, _))| vetoes.is_veto(rank).then_some((who, mark)));

    let both = |pairs: Of<'s, (Who, Who)>| {
        pairs.flat_map(|(a, b)| {
            let pair = pair_name(&a, &b);
            [(a, pair.clone()), (b, pair)]
        })
    };
    let by_hand = both(pairs);
    let linked = links.clone().map(|it| it.0).concat(by_hand.clone().map(|it| it.0));
    let linked = linked.threshold_named("linked profiles", |_, _| 1_isize);
    let alone = linked.map(|it| (it.clone(), it));

    let of_level = |(rank, mark): Mark, who: Who| match rank {
        Rank::Of(place) => Some((u64::from(place) + 1, who, mark)),
        Rank::Blocked | Rank::Unknown => None,
    };
    let links = links.flat_map(move |(who, mark)| of_level(mark, who));
    let links = links.concat(by_hand.map(|(who, pair)| (0, who, pair)));
    let given = Given { alone, links, vetoes, apart };
    let (parts, conflicts) = levels(given, terms.max_members);

    // Everybody of whom something is known stands in a part; who has no link, in their own.
    let members = attached(members, parts, "standing profiles", |who: &Who, member, part| {
        Some((part.unwrap_or(who).clone(), (who.clone(), Member::clone(member))))
    });
    let persons = grouped(members, "persons profiles", |_, all| {
        Some(Arc::new(Person::of(all.iter().map(|it| &it.0))))
    });
    let people = records(persons.clone());
    // A person's purchases change at every event of a member, who is one of them hardly ever.
    let whose = persons.flat_map(|((before, after), epoch)| {
        let both = before.as_ref().zip(after.as_ref());
        let are_others = !both.is_some_and(|(before, after)| before.ids().eq(after.ids()));
        let each = |it: Option<Arc<Person>>, n: isize| {
            let it = it.filter(|_| are_others);
            it.into_iter().flat_map(|it| it.whose()).map(move |it| (it, epoch, n))
        };
        each(before, -1).chain(each(after, 1))
    });
    let whose = whose.as_collection();
    let own = whose.clone().map(|(who, person)| Arc::new(Identifier::customer(&who, person)));
    // Everybody is somebody, at the complete epoch in which an identifier is first said of them.
    let carriers = attached(
        carried.map(|(mark, (who, _))| (who, mark)),
        whose.clone(),
        "carriers identifiers",
        |who: &Who, mark, person| Some((Mark::clone(mark), (who.clone(), Who::clone(person?)))),
    );
    // As many as the limit of the kind at the most.
    let stand = records(grouped(carriers, "stand identifiers", |mark: &Mark, all| {
        let stands = Stands::Usable(all.iter().map(|it| it.0.clone()).collect());
        Some(Arc::new(Identifier::of(mark.clone(), stands)))
    }));
    let unusable = counts.filter(move |it| !others(it.0.0, it.1));
    let unusable =
        unusable.map(|(mark, n)| Arc::new(Identifier::of(mark, Stands::Unusable(n as i64))));
    let identifiers = stand.concat(unusable).concat(own);
    Streams { profiles: people, identifiers, conflicts, whose }
}
