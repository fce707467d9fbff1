//! Facts packed into one allocation: what a row needs and the hot path does not.
//!
//! # Meaning
//! Whole numbers as LEB128 (signed ones zigzag), text as its length and its bytes; read back in
//! the order of writing.
//!
//! # Why this way
//! An order's lines as structs cost several allocations of some hundred bytes; packed they are one
//! of about fifty. They are read only when a row is made. What was packed in this process is read
//! by [`Reader`]: reading past the end is a mistake of ours and panics. What comes back from a disk
//! is read by [`Checked`], which believes nothing.

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

    /// Sixteen bytes.
    #[inline]
    pub(crate) fn id(&mut self, it: u128) {
        self.0.extend_from_slice(&it.to_le_bytes());
    }

    /// An instant, where it is asked for often: eight bytes.
    #[inline]
    pub(crate) fn instant(&mut self, it: i64) {
        self.0.extend_from_slice(&it.to_le_bytes());
    }
}

/// Reads what a [`Writer`] wrote, or says that it did not: `None`. Never panics.
pub(crate) struct Checked<'b>(pub(crate) &'b [u8]);

impl<'b> Checked<'b> {
    /// The next bytes.
    #[inline]
    pub(crate) fn bytes(&mut self, n: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(taken)
    }

    /// The next byte.
    #[inline]
    pub(crate) fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// A whole number that fits.
    #[inline]
    pub(crate) fn count<T: TryFrom<u64>>(&mut self) -> Option<T> {
        let mut it = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            // The tenth byte has room for one bit.
            if shift == 63 && bits > 1 {
                return None;
            }
            it |= bits << shift;
            if byte < 0x80 {
                return T::try_from(it).ok();
            }
        }
        None
    }

    /// A whole number.
    #[inline]
    pub(crate) fn int(&mut self) -> Option<i64> {
        let it: u64 = self.count()?;
        Some((it >> 1) as i64 ^ -((it & 1) as i64))
    }

    /// Text.
    #[inline]
    pub(crate) fn text(&mut self) -> Option<&'b str> {
        let n = self.count()?;
        std::str::from_utf8(self.bytes(n)?).ok()
    }

    /// Text or none.
    #[inline]
    pub(crate) fn maybe(&mut self) -> Option<Option<&'b str>> {
        let Some(n) = self.count::<usize>()?.checked_sub(1) else { return Some(None) };
        Some(Some(std::str::from_utf8(self.bytes(n)?).ok()?))
    }

    /// Sixteen bytes.
    #[inline]
    pub(crate) fn id(&mut self) -> Option<u128> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u128::from_le_bytes(*taken))
    }

    /// An instant.
    #[inline]
    pub(crate) fn instant(&mut self) -> Option<i64> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(i64::from_le_bytes(*taken))
    }

    /// Nothing more must follow.
    #[inline]
    pub(crate) fn end(self) -> Option<()> {
        self.0.is_empty().then_some(())
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

    /// Sixteen bytes.
    #[inline]
    pub(crate) fn id(&mut self) -> u128 {
        u128::from_le_bytes(self.bytes(16).try_into().expect("as many as were asked for"))
    }

    /// An instant.
    #[inline]
    pub(crate) fn instant(&mut self) -> i64 {
        i64::from_le_bytes(self.bytes(8).try_into().expect("as many as were asked for"))
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
        writer.id(1 << 127 | 5);
        ints.iter().for_each(|it| writer.instant(*it));

        let mut reader = Reader(&bytes);
        ints.iter().for_each(|it| assert_eq!(reader.int(), *it));
        texts.iter().for_each(|it| assert_eq!(reader.text(), *it));
        texts.iter().for_each(|it| assert_eq!(reader.maybe(), Some(*it)));
        assert_eq!(reader.maybe(), None);
        assert_eq!((reader.count(), reader.id()), (u64::MAX, 1 << 127 | 5));
        ints.iter().for_each(|it| assert_eq!(reader.instant(), *it));
        assert!(reader.0.is_empty());

        let mut checked = Checked(&bytes);
        ints.iter().for_each(|it| assert_eq!(checked.int(), Some(*it)));
        texts.iter().for_each(|it| assert_eq!(checked.text(), Some(*it)));
        texts.iter().for_each(|it| assert_eq!(checked.maybe(), Some(Some(*it))));
        assert_eq!((checked.maybe(), checked.count()), (Some(None), Some(u64::MAX)));
        assert_eq!(checked.id(), Some(1 << 127 | 5));
        ints.iter().for_each(|it| assert_eq!(checked.instant(), Some(*it)));
        assert_eq!((Checked(&[0; 7]).instant(), Checked(&[0; 15]).id()), (None, None));
        assert_eq!(checked.end(), Some(()));
    }

    /// Goal: what no writer wrote is told, not believed. Method: one case of each kind.
    #[test]
    fn doubts_what_nobody_wrote() {
        assert_eq!(Checked(&[0x80]).count::<u64>(), None);
        assert_eq!(Checked(&[0xff; 12]).count::<u64>(), None);
        assert_eq!(Checked(&[0x80, 0x02]).count::<u8>(), None);
        assert_eq!(Checked(&[3, b'a', b'b']).text(), None);
        assert_eq!(Checked(&[1, 0xff]).text(), None);
        assert_eq!(Checked(&[2, 0xff]).maybe(), None);
        assert_eq!(Checked(&[0; 15]).id(), None);
        assert_eq!(Checked(&[0]).end(), None);
        let most = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 1];
        assert_eq!(Checked(&most).text(), None);
    }
}
