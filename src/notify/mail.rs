//! What waits for one channel: in order per subject, due at an instant, bounded.
//!
//! # Meaning
//! Of one subject one message is on its way at a time, and the next waits for it, whatever becomes
//! of it in between. Of different subjects what is due first goes first.
//!
//! # Invariants
//! - Here is a window on the view of intents: [`WINDOW`] of those that are planned, the oldest
//!   first. While there are more ([`Mail::wants_more`]) nothing is added but by looking through the
//!   view again, so that no newer one overtakes an older one of its subject.
//! - One whose answer is durable is not taken up again before the view shows the answer.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

use schemas::names::Name;

/// Messages of one channel in memory; the others wait in the view.
pub(super) const WINDOW: usize = 4_096;

/// A message that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item {
    /// Its name, with its tenant.
    pub(super) name: Name,
    /// The text of its subject's key.
    pub(super) about: String,
    /// Attempts of this process.
    pub(super) attempts: u32,
    /// Not before, milliseconds.
    pub(super) due_ms: u64,
    /// Why the last of them failed, or it is held back, in short; empty: it was not tried yet.
    pub(super) why: String,
}

type Subject = (String, String);

impl Item {
    fn subject(&self) -> Subject {
        (self.name.tenant().to_string(), self.about.clone())
    }
}

/// The window.
#[derive(Debug, Default)]
pub(super) struct Mail {
    /// Subjects whose first message may go: when, in which order, whose.
    ready: BTreeSet<(u64, u64, Subject)>,
    subjects: HashMap<Subject, VecDeque<(u64, Item)>>,
    known: HashSet<Name>,
    /// Answered, and from which position on the view shows it.
    answered: HashMap<Name, u64>,
    seq: u64,
    /// There are more than the window holds.
    more: bool,
}

impl Mail {
    /// A message that was planned, newer than all before. Not kept where the window is full.
    pub(super) fn add(&mut self, item: Item) {
        if self.more || self.known.len() >= WINDOW {
            self.more = true;
            return;
        }
        self.sooner(&item);
        self.put(item);
    }

    /// One that waits for another attempt, and was put back by a person: it need not wait.
    fn sooner(&mut self, item: &Item) {
        let subject = item.subject();
        let Some((seq, first)) = self.subjects.get_mut(&subject).and_then(VecDeque::front_mut)
        else {
            return;
        };
        let waits = (first.due_ms, *seq, subject);
        if first.name == item.name && item.due_ms < first.due_ms && self.ready.remove(&waits) {
            (first.due_ms, first.attempts) = (item.due_ms, 0);
            self.ready.insert((item.due_ms, waits.1, waits.2));
        }
    }

    /// What looking through the view found: the oldest that are planned, oldest first, at most
    /// [`WINDOW`]; `all`: those are all.
    pub(super) fn refill(&mut self, found: Vec<Item>, all: bool) {
        self.more = !all;
        for item in found {
            if self.known.len() >= WINDOW {
                self.more = true;
                return;
            }
            self.put(item);
        }
    }

    /// The view has some: it is to be looked through.
    pub(super) fn look(&mut self) {
        self.more = true;
    }

    /// Whether the view should be looked through.
    pub(super) fn wants_more(&self) -> bool {
        self.more && self.known.len() <= WINDOW / 2
    }

    fn put(&mut self, item: Item) {
        if self.answered.contains_key(&item.name) || !self.known.insert(item.name.clone()) {
            return;
        }
        self.seq += 1;
        let (subject, seq) = (item.subject(), self.seq);
        let queue = self.subjects.entry(subject.clone()).or_default();
        if queue.is_empty() {
            self.ready.insert((item.due_ms, seq, subject));
        }
        queue.push_back((seq, item));
    }

    /// The next that is due; it is on its way until [`Mail::back`] or [`Mail::done`].
    pub(super) fn take(&mut self, now_ms: u64) -> Option<Item> {
        let first = self.ready.first().filter(|it| it.0 <= now_ms)?.clone();
        self.ready.remove(&first);
        self.subjects.get(&first.2)?.front().map(|it| it.1.clone())
    }

    /// When the next one is due.
    pub(super) fn next_due(&self) -> Option<u64> {
        self.ready.first().map(|it| it.0)
    }

    /// One that was taken is to go again.
    pub(super) fn back(&mut self, item: Item) {
        let subject = item.subject();
        if let Some((seq, first)) = self.subjects.get_mut(&subject).and_then(VecDeque::front_mut) {
            self.ready.insert((item.due_ms, *seq, subject));
            *first = item;
        }
    }

    /// One that was taken has ended; `position`: from which on the view shows that, if that was
    /// told to the log.
    pub(super) fn done(&mut self, item: &Item, position: Option<u64>) {
        let subject = item.subject();
        self.known.remove(&item.name);
        if let Some(position) = position {
            self.answered.insert(item.name.clone(), position);
        }
        let Some(queue) = self.subjects.get_mut(&subject) else { return };
        queue.pop_front();
        match queue.front() {
            Some((seq, next)) => drop(self.ready.insert((next.due_ms, *seq, subject))),
            None => drop(self.subjects.remove(&subject)),
        }
    }

    /// The receiver is mended: what failed, or was held back, is due now. Gives how many.
    pub(super) fn resume(&mut self, now_ms: u64) -> usize {
        let later = self.ready.split_off(&(now_ms + 1, 0, Subject::default()));
        let mut n = 0;
        for (due_ms, seq, subject) in later {
            let first = self.subjects.get_mut(&subject).and_then(VecDeque::front_mut);
            let due_ms = match first.filter(|it| !it.1.why.is_empty()) {
                Some((_, item)) => {
                    n += 1;
                    item.due_ms = now_ms;
                    now_ms
                }
                None => due_ms,
            };
            self.ready.insert((due_ms, seq, subject));
        }
        n
    }

    /// What failed and waits for another attempt, the longest known first; at most so many.
    pub(super) fn again(&self, most: usize) -> Vec<Item> {
        let heads = self.subjects.values().filter_map(VecDeque::front);
        let mut failed: Vec<&(u64, Item)> = heads.filter(|it| it.1.attempts > 0).collect();
        failed.sort_by_key(|it| it.0);
        failed.into_iter().take(most).map(|it| it.1.clone()).collect()
    }

    /// How many are in the window, and whether there are more.
    pub(super) fn waits(&self) -> (usize, bool) {
        (self.known.len(), self.more)
    }

    /// The view includes the log up to here.
    pub(super) fn shown(&mut self, position: u64) {
        self.answered.retain(|_, it| *it > position);
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.waits().0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(n: usize, about: &str, due_ms: u64) -> Item {
        let name = Name::new("default", &format!("m{n}"));
        Item { name, about: about.into(), attempts: 0, due_ms, why: String::new() }
    }

    fn taken(mail: &mut Mail, now_ms: u64) -> Option<String> {
        mail.take(now_ms).map(|it| it.name.key().to_string())
    }

    /// Goal: of one subject one at a time and in order, whatever becomes of the first; others do
    /// not wait for it.
    #[test]
    fn in_order_per_subject() {
        let mut mail = Mail::default();
        for (n, about) in [(1, "a"), (2, "a"), (3, "b")] {
            mail.add(item(n, about, 0));
            mail.add(item(n, about, 0));
        }
        assert_eq!(taken(&mut mail, 0).as_deref(), Some("m1"));
        assert_eq!(taken(&mut mail, 0).as_deref(), Some("m3"));
        assert_eq!(taken(&mut mail, 0), None);
        mail.back(item(1, "a", 50));
        assert_eq!((taken(&mut mail, 49), mail.next_due()), (None, Some(50)));
        // Found again it waits as before; put back by a person it need not.
        mail.refill(vec![item(1, "a", 0)], true);
        assert_eq!(mail.next_due(), Some(50));
        mail.add(item(1, "a", 40));
        assert_eq!((mail.next_due(), mail.len()), (Some(40), 3));
        // It was not tried yet: it has its own time. What failed is due once its receiver is mended.
        assert_eq!((mail.resume(7), mail.next_due()), (0, Some(40)));
        let first = mail.take(50).unwrap();
        mail.back(Item { attempts: 1, due_ms: 90, why: "answered 500".into(), ..first });
        assert_eq!(mail.again(9).len(), 1);
        assert_eq!((mail.resume(50), mail.next_due()), (1, Some(50)));
        let again = mail.take(50).unwrap();
        mail.done(&again, Some(7));
        assert_eq!(taken(&mut mail, 50).as_deref(), Some("m2"));
        // Answered, and the view does not show it yet: it is not taken up again.
        mail.add(item(1, "a", 0));
        assert_eq!(mail.len(), 2);
        mail.shown(7);
        mail.add(item(1, "a", 0));
        assert_eq!(mail.len(), 3);
    }

    /// Goal: the window is bounded, and while there are more nothing overtakes what waits in the
    /// view.
    #[test]
    fn a_window_is_bounded() {
        let mut mail = Mail::default();
        (0..WINDOW + 10).for_each(|n| mail.add(item(n, &n.to_string(), 0)));
        assert_eq!((mail.len(), mail.wants_more()), (WINDOW, false));
        while mail.len() > WINDOW / 2 {
            let it = mail.take(0).unwrap();
            mail.done(&it, None);
        }
        mail.add(item(WINDOW + 99, "x", 0));
        assert_eq!((mail.len(), mail.wants_more()), (WINDOW / 2, true));
        mail.refill(vec![item(WINDOW + 1, "y", 0)], true);
        mail.add(item(WINDOW + 99, "x", 0));
        assert_eq!((mail.len(), mail.wants_more()), (WINDOW / 2 + 2, false));
    }
}
