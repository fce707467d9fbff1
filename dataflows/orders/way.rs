//! What a line says of its way (ship_from, ship_to, carrier, seller), packed.
//!
//! # Meaning
//! A byte, then the texts that are new: of each of the four a bit that there is one, and four bits
//! further one that it is the same as of the line before. Most lines of an order go one way.

use crate::packed::{Checked, Reader, Writer};

/// Ship_from, ship_to, carrier, seller.
pub(super) type Way<'w> = [Option<&'w str>; 4];

/// Says it to one who knows that of the line before.
pub(super) fn write(writer: &mut Writer<'_>, way: Way<'_>, before: Way<'_>) {
    let is_same = |at: usize| way[at].is_some() && way[at] == before[at];
    let bits = (0..way.len()).map(|at| match way[at] {
        Some(_) if is_same(at) => 0x10 << at,
        Some(_) => 1 << at,
        None => 0,
    });
    writer.0.push(bits.sum());
    let new = (0..way.len()).filter(|at| !is_same(*at)).filter_map(|at| way[at]);
    new.for_each(|it| writer.text(it));
}

/// What was written.
pub(super) fn read<'w>(reader: &mut Reader<'w>, before: Way<'w>) -> Way<'w> {
    let bits = reader.bytes(1)[0];
    std::array::from_fn(|at| match (bits >> at) & 0x11 {
        0 => None,
        1 => Some(reader.text()),
        _ => before[at],
    })
}

/// What was written, if it was.
pub(super) fn check<'w>(bytes: &mut Checked<'w>, before: Way<'w>) -> Option<Way<'w>> {
    let bits = bytes.byte()?;
    let mut way = Way::default();
    for (at, it) in way.iter_mut().enumerate() {
        *it = match (bits >> at) & 0x11 {
            0 => None,
            1 => Some(bytes.text()?),
            0x10 => Some(before[at]?),
            _ => return None,
        };
    }
    Some(way)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: what is written is read, and believed by who doubts it; nothing that is the same is
    /// written again. Method: every line of two of three texts after every other.
    #[test]
    fn a_way_is_told_by_the_one_before() {
        let texts = [None, Some("HAM"), Some("LYS")];
        let every =
            || (0..81_usize).map(|n| [n % 3, n / 3 % 3, n / 9 % 3, n / 27].map(|it| texts[it]));
        for (before, way) in every().flat_map(|a| every().map(move |b| (a, b))) {
            let mut bytes = Vec::new();
            write(&mut Writer(&mut bytes), way, before);
            let new = way.iter().zip(before).filter(|it| it.0.is_some() && *it.0 != it.1).count();
            assert_eq!(bytes.len(), 1 + 4 * new);
            assert_eq!(read(&mut Reader(&bytes), before), way);
            assert_eq!(check(&mut Checked(&bytes), before), Some(way));
        }
        assert_eq!(check(&mut Checked(&[0x10]), Way::default()), None);
        assert_eq!(check(&mut Checked(&[0x11]), [Some("HAM"); 4]), None);
        assert_eq!(check(&mut Checked(&[1, 2, b'H']), Way::default()), None);
    }
}
