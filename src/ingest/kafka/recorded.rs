//! Where a topic goes on, as the last checkpoint has it and a person has decided since: pure.
//!
//! # Meaning
//! A partition goes on where it had come to. A reset moves it: forward over what is then lost, or
//! anywhere else with a line of the ledger that begins anew, so that next - first = read + lost +
//! absent holds either way. A reset of the whole topic also accepts another topic under its name.

use std::collections::BTreeMap;

use crate::ingest::resets::Reset;

/// Where a topic goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// Its cluster's id; `None` if it was not kept then.
    pub cluster: Option<String>,
    /// Its id: another topic under its name is not read on.
    pub id: String,
    /// Of each partition the next offset, and the number of the last reset that placed it.
    pub next: BTreeMap<u32, (u64, u64)>,
    /// What was decided about it.
    pub resets: Vec<Reset>,
}

/// Where a partition begins, before it is known what the log still has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// By the settings: it was not read before.
    Start,
    /// The ledger's line goes on; from `first` to `next` is lost.
    On { first: u64, next: u64 },
    /// The ledger's line begins anew here.
    Anew(u64),
}

impl Recorded {
    /// What is kept as a feed's identity.
    pub(super) fn identity(cluster: &str, topic: &str) -> String {
        format!("{cluster}/{topic}")
    }

    /// Cluster and topic of an [identity](Recorded::identity).
    pub fn of_identity(identity: &str) -> (Option<String>, String) {
        match identity.split_once('/') {
            Some((cluster, id)) => (Some(cluster.to_string()), id.to_string()),
            None => (None, identity.to_string()),
        }
    }

    /// Why the topic found is another one.
    pub(super) fn differs(&self, cluster: &str, id: &str) -> Option<String> {
        match &self.cluster {
            Some(was) if was != cluster => {
                Some(format!("expected a topic of the cluster {was}, found one of {cluster}"))
            }
            _ if self.id != id => Some(format!("expected the topic id {}, found {id}", self.id)),
            _ => None,
        }
    }

    /// Whether another topic is accepted.
    pub(super) fn accepts_another(&self) -> bool {
        let whole = self.resets.iter().filter(|it| it.partition.is_none());
        let newest = whole.map(|it| it.number).max().unwrap_or(0);
        self.next.values().any(|it| it.1 < newest)
    }

    /// What a partition's line carries from now on.
    pub(super) fn number(&self, partition: u32) -> u64 {
        let done = self.next.get(&partition).map_or(0, |it| it.1);
        self.resets.iter().map(|it| it.number).max().unwrap_or(0).max(done)
    }

    /// What places a partition, if it is not done yet: the latest decision.
    pub(super) fn decided(&self, partition: u32) -> Option<&Reset> {
        let done = self.next.get(&partition).map_or(0, |it| it.1);
        let decided = self.resets.iter().filter(|it| it.names(partition) && it.number > done);
        decided.max_by_key(|it| it.number)
    }

    /// Where a partition begins. `another`: of a topic that was accepted as another one.
    /// `decided`: the offset that [was decided](Recorded::decided).
    pub(super) fn place(&self, partition: u32, another: bool, decided: Option<u64>) -> Place {
        match (self.next.get(&partition), decided) {
            (_, decided) if another => Place::Anew(decided.unwrap_or(0)),
            (None, _) => Place::Start,
            (Some(&(first, _)), None) => Place::On { first, next: first },
            (Some(&(first, _)), Some(next)) if next >= first => Place::On { first, next },
            (Some(_), Some(next)) => Place::Anew(next),
        }
    }
}

/// The cluster whose topics were read, if it is another one than was found, and not accepted.
pub(super) fn other_cluster<'a>(
    read: impl Iterator<Item = &'a Recorded>,
    found: &str,
) -> Option<String> {
    let mut kept = read.filter(|it| !it.accepts_another()).filter_map(|it| it.cluster.clone());
    kept.find(|it| it != found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::resets::To;

    fn recorded(resets: &[(u64, Option<u32>, To)]) -> Recorded {
        let reset = |(number, partition, to): &(u64, Option<u32>, To)| Reset {
            number: *number,
            feed: "k/t".into(),
            partition: *partition,
            to: to.clone(),
            placed: BTreeMap::new(),
        };
        Recorded {
            cluster: Some("c".into()),
            id: "t".into(),
            next: BTreeMap::from([(0, (100, 4)), (1, (50, 6))]),
            resets: resets.iter().map(reset).collect(),
        }
    }

    /// Goal: a partition is placed once, forward with a loss, back with a new line, and not at all
    /// by what was done already. Method: a table.
    #[test]
    fn places() {
        let at = |to: &To| match to {
            To::Offset(it) => Some(*it),
            To::Latest => Some(200),
            _ => Some(7),
        };
        let check = |resets: &[(u64, Option<u32>, To)], partition, another, expected| {
            let it = recorded(resets);
            let decided = it.decided(partition).and_then(|it| at(&it.to));
            assert_eq!(it.place(partition, another, decided), expected, "{resets:?}");
        };
        check(&[], 0, false, Place::On { first: 100, next: 100 });
        check(&[(5, None, To::Latest)], 0, false, Place::On { first: 100, next: 200 });
        check(&[(5, None, To::Earliest)], 0, false, Place::Anew(7));
        check(&[(5, None, To::Latest)], 1, false, Place::On { first: 50, next: 50 });
        check(&[(7, Some(1), To::Latest)], 0, false, Place::On { first: 100, next: 100 });
        check(&[(7, Some(1), To::Offset(3))], 1, false, Place::Anew(3));
        let both = [(7, None, To::Latest), (8, Some(1), To::Offset(60))];
        check(&both, 1, false, Place::On { first: 50, next: 60 });
        check(&[(7, None, To::Latest)], 2, false, Place::Start);
        check(&[(7, None, To::Offset(300))], 0, true, Place::Anew(300));
        check(&[(7, None, To::Latest)], 2, true, Place::Anew(200));
        assert_eq!(recorded(&[(7, None, To::Latest)]).number(1), 7);
        assert_eq!(recorded(&[(5, None, To::Latest)]).number(1), 6);
    }

    /// Goal: another topic, or another cluster, also one with a topic of the same id, is told, and
    /// read only when a person has accepted it, once. Method: a table.
    #[test]
    fn another_topic_or_cluster() {
        let it = recorded(&[]);
        assert_eq!(it.differs("c", "t"), None);
        assert!(it.differs("c", "u").is_some() && it.differs("d", "t").is_some());
        let before = Recorded { cluster: None, ..it.clone() };
        assert_eq!(before.differs("d", "t"), None);
        assert_eq!(Recorded::of_identity("c/t"), (Some("c".into()), "t".into()));
        assert_eq!(Recorded::of_identity("t"), (None, "t".into()));

        assert_eq!(other_cluster([&it].into_iter(), "c"), None);
        assert_eq!(other_cluster([&it].into_iter(), "d"), Some("c".into()));
        assert_eq!(other_cluster([&before].into_iter(), "d"), None);
        let accepted = recorded(&[(7, None, To::Earliest)]);
        assert_eq!(other_cluster([&accepted].into_iter(), "d"), None);
        assert_eq!(other_cluster([&accepted, &it].into_iter(), "d"), Some("c".into()));
        // Of one partition, or done already.
        let done = recorded(&[(4, None, To::Latest), (9, Some(0), To::Latest)]);
        assert!(!done.accepts_another());
    }
}
