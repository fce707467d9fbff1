//! Which lines are known to be kept, out of answers in any order.
//!
//! # Invariants
//! Lines are sent in order, without a hole; every line below [`Acknowledged::next`] is known to be
//! kept. Memory: a bit's byte for each line that is under way.

use std::collections::VecDeque;

/// The answers so far.
#[derive(Debug)]
pub(super) struct Acknowledged {
    /// The line that the window begins with.
    next: u64,
    window: VecDeque<bool>,
    records: u64,
}

impl Acknowledged {
    /// Nothing is sent yet; this line comes first.
    pub(super) fn new(first: u64) -> Acknowledged {
        Acknowledged { next: first, window: VecDeque::new(), records: 0 }
    }

    /// This line is under way; it is the one after the last.
    pub(super) fn sent(&mut self, line: u64) {
        debug_assert_eq!(line, self.next + self.window.len() as u64, "lines are sent in order");
        self.window.push_back(false);
    }

    /// This line is kept.
    pub(super) fn kept(&mut self, line: u64) {
        self.records += 1;
        self.passed(line);
    }

    /// There is nothing to keep of this line.
    pub(super) fn passed(&mut self, line: u64) {
        let at = line.checked_sub(self.next).and_then(|it| usize::try_from(it).ok());
        if let Some(it) = at.and_then(|it| self.window.get_mut(it)) {
            *it = true;
        }
        while self.window.front() == Some(&true) {
            self.window.pop_front();
            self.next += 1;
        }
    }

    /// The first line that is not known to be kept.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Records kept, in any order.
    pub(super) fn records(&self) -> u64 {
        self.records
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: nothing before `next` is missing, whatever the order of the answers. Method: answers
    /// out of order, one of them never.
    #[test]
    fn next_is_the_first_line_without_an_answer() {
        let mut it = Acknowledged::new(7);
        (7..=12).for_each(|line| it.sent(line));
        let steps = [(9, 7), (8, 7), (7, 10), (12, 10), (11, 10)];
        for (line, next) in steps {
            it.kept(line);
            assert_eq!(it.next(), next, "after {line}");
        }
        it.passed(10);
        assert_eq!((it.next(), it.records()), (13, 5));
        it.kept(99); // never sent: changes nothing but the count
        assert_eq!(it.next(), 13);
    }
}
