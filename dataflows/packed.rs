//! Facts packed into one allocation: what a row needs and the hot path does not.
//!
//! # Meaning
//! Whole numbers as LEB128 (signed ones zigzag), text as its length and its bytes; read back in
//! the order of writing.
//!
//! # Why this way
//! An order's lines as structs cost several allocations of some hundred bytes; packed they are one
//! of about fifty. They are read only when a row is made. Only this crate writes what it reads, so
//! reading past the end is a mistake of ours and panics.

/// Appends to a buffer.
pub(crate) struct Writer<'b>(pub(crate) &'b mut Vec<u8>);

impl Writer<'_> {
    /// A whole number, not negative.
    #[inline]
    pub(crate) fn count(&mut self, mut it: u64) {
        while it >= 0x80 {
            self.0.push(it as u8 | 0x80);
            it >>= 7;
        }
        self.0.push(it as u8);
    }

    /// A whole number.
    #[inline]
    pub(crate) fn int(&mut self, it: i64) {
        self.count(((it << 1) ^ (it >> 63)) as u64);
    }

    /// Text.
    #[inline]
    pub(crate) fn text(&mut self, it: &str) {
        self.count(it.len() as u64);
        self.0.extend_from_slice(it.as_bytes());
    }

    /// Text or none: one more than its length, so that empty text differs from none.
    #[inline]
    pub(crate) fn maybe(&mut self, it: Option<&str>) {
        self.count(it.map_or(0, |it| it.len() as u64 + 1));
        self.0.extend_from_slice(it.unwrap_or("").as_bytes());
    }
}

/// Reads what a [`Writer`] wrote.
pub(crate) struct Reader<'b>(pub(crate) &'b [u8]);

impl<'b> Reader<'b> {
    /// The next bytes.
    #[inline]
    pub(crate) fn bytes(&mut self, n: usize) -> &'b [u8] {
        let (taken, rest) = self.0.split_at(n);
        self.0 = rest;
        taken
    }

    /// A whole number, not negative.
    #[inline]
    pub(crate) fn count(&mut self) -> u64 {
        let mut it = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.bytes(1)[0];
            it |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        it
    }

    /// A whole number.
    #[inline]
    pub(crate) fn int(&mut self) -> i64 {
        let it = self.count();
        (it >> 1) as i64 ^ -((it & 1) as i64)
    }

    /// Text.
    #[inline]
    pub(crate) fn text(&mut self) -> &'b str {
        let n = self.count() as usize;
        self.utf8(n)
    }

    /// Text or none.
    #[inline]
    pub(crate) fn maybe(&mut self) -> Option<&'b str> {
        let n = self.count() as usize;
        n.checked_sub(1).map(|n| self.utf8(n))
    }

    fn utf8(&mut self, n: usize) -> &'b str {
        std::str::from_utf8(self.bytes(n)).expect("packed from text")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: what is written is read back. Method: the edges of each kind, one after another.
    #[test]
    fn reads_what_was_written() {
        let ints = [0, 1, -1, 63, 64, -64, -65, i64::MAX, i64::MIN];
        let texts = ["", "a", "\u{1f600}\0x", &"long ".repeat(100)];
        let mut bytes = Vec::new();
        let mut writer = Writer(&mut bytes);
        ints.iter().for_each(|it| writer.int(*it));
        texts.iter().for_each(|it| writer.text(it));
        texts.iter().for_each(|it| writer.maybe(Some(it)));
        writer.maybe(None);
        writer.count(u64::MAX);

        let mut reader = Reader(&bytes);
        ints.iter().for_each(|it| assert_eq!(reader.int(), *it));
        texts.iter().for_each(|it| assert_eq!(reader.text(), *it));
        texts.iter().for_each(|it| assert_eq!(reader.maybe(), Some(*it)));
        assert_eq!(reader.maybe(), None);
        assert_eq!(reader.count(), u64::MAX);
        assert!(reader.0.is_empty());
    }
}
