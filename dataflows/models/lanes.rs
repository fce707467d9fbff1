//! How long orders took, by the lane they went: the sums that an estimate of arrival is made of.
//!
//! In: orders that entered a stage, and those that arrived. Out: [`Lanes`], sealed by
//! [`super::eta`].
//!
//! # Meaning
//! A lane has keys from wide to narrow: all orders of a tenant, where they go (each part of a place
//! written `wide/narrow` by itself), from where to where, how many days were promised, who sells.
//! Under each key, per quarter of a day in which a stage was entered: how many orders are still on
//! their way, and how many arrived after so many quarters.
//!
//! # Invariants
//! Whole numbers only, each the sum of what single orders add. Entering, arriving and taking either
//! back in any order leaves the same, and so does [`Lanes::merge`] of parts
//! (test: `eta::tests::the_order_does_not_matter`).
//!
//! # State
//! About 40 bytes for each (key, quarter entered, quarters taken) that occurs; [`Lanes::forget`]
//! drops quarters that weigh nothing any more, so that it does not grow with the years. Beside them
//! the silences of orders where they stood ([`super::silences`]), which are of one boundary only.

use std::collections::BTreeMap;

use schemas::events::Status;

use super::counts::ByHash;
use super::silences::Silences;

/// A quarter of a day, in microseconds.
pub const QUARTER: i64 = 21_600_000_000;
/// Most quarters that are told apart, eighty days: what takes longer counts as this long.
pub const QUARTERS_MAX: usize = 320;
/// Quarters taken, of an order that is still on its way.
const ON_ITS_WAY: u16 = u16::MAX;
/// Most parts of a place that are looked at.
const PARTS_MAX: usize = 4;
/// Promises are told apart by so many days.
const PROMISED_DAYS: i64 = 4;
const DAY: i64 = 86_400_000_000;

/// The stages from which an arrival is awaited, in the order of an order's way.
pub const STAGES: [Status; 5] = [
    Status::Paid,
    Status::InProduction,
    Status::QualityChecked,
    Status::Shipped,
    Status::OutForDelivery,
];

/// What is known of an order's way.
#[derive(Clone, Copy, Debug, Default)]
pub struct Way<'w> {
    /// Whose order.
    pub tenant: &'w str,
    /// Where it leaves from.
    pub from: Option<&'w str>,
    /// Where it goes; `wide/narrow`, where that is known.
    pub to: Option<&'w str>,
    /// Who sells it; who carries it, where no seller is known.
    pub seller: Option<&'w str>,
    /// From placed to promised, microseconds.
    pub promised: Option<i64>,
}

/// The keys of a lane, from wide to narrow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lane(pub(super) Vec<u64>);

/// What the orders under a key of a lane have in common, with their tenant and stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Common<'w> {
    Nothing,
    To(&'w str),
    FromTo(&'w str, &'w str),
    /// From, the wide part of to, and in how many days they were promised: so many and
    /// [`PROMISED_DAYS`] less one more.
    Promised(&'w str, &'w str, i64),
    Seller(&'w str),
}

impl std::fmt::Display for Common<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let from =
            |from: &str| if from.is_empty() { String::new() } else { format!(" from {from}") };
        match self {
            Common::Nothing => Ok(()),
            Common::To(to) => write!(f, " to {to}"),
            Common::FromTo(at, to) => write!(f, "{} to {to}", from(at)),
            Common::Promised(at, to, days) => {
                let last = days.saturating_add(PROMISED_DAYS - 1);
                write!(f, "{} to {to}, promised in {days} to {last} days,", from(at))
            }
            Common::Seller(it) => write!(f, " by {it}"),
        }
    }
}

impl<'w> Way<'w> {
    /// The keys of its lane at a stage, from wide to narrow, each with what their orders have in common.
    pub(super) fn keys(&self, stage: Status) -> Vec<(u64, Common<'w>)> {
        let stage = stage.as_str();
        let mut keys = vec![(key(&[stage, self.tenant]), Common::Nothing)];
        let from = self.from.unwrap_or("");
        if let Some(to) = self.to {
            let ends = to.match_indices('/').map(|it| it.0).chain([to.len()]).take(PARTS_MAX);
            for (n, end) in ends.enumerate() {
                let to = &to[..end];
                if n == 0 {
                    keys.push((key(&[stage, self.tenant, "to", to]), Common::To(to)));
                }
                keys.push((key(&[stage, self.tenant, "lane", from, to]), Common::FromTo(from, to)));
            }
            if let Some(promised) = self.promised {
                let wide = to.split('/').next().unwrap_or("");
                let days = promised.div_euclid(DAY).div_euclid(PROMISED_DAYS);
                let text = days.to_string();
                let common = Common::Promised(from, wide, days.saturating_mul(PROMISED_DAYS));
                keys.push((key(&[stage, self.tenant, "promised", from, wide, &text]), common));
            }
        }
        if let Some(seller) = self.seller {
            keys.push((key(&[stage, self.tenant, "seller", seller]), Common::Seller(seller)));
        }
        keys
    }
}

impl Lane {
    /// Its keys.
    pub(super) fn keys(&self) -> &[u64] {
        &self.0
    }

    /// The lane of an order at a stage.
    pub fn of(way: &Way<'_>, stage: Status) -> Lane {
        Lane(way.keys(stage).into_iter().map(|it| it.0).collect())
    }
}

/// FNV-1a of the parts, each with its end: the same wherever it is computed.
fn key(parts: &[&str]) -> u64 {
    let bytes = parts.iter().flat_map(|it| it.bytes().chain([0xff]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The quarter of a day in which an instant lies.
pub(super) fn quarter(at: i64) -> i32 {
    i32::try_from(at.div_euclid(QUARTER)).unwrap_or(i32::MAX)
}

/// By quarter entered and quarters taken, how many orders.
type Sums = BTreeMap<(i32, u16), i64>;

/// What is known under a key.
#[derive(Clone, Debug, PartialEq)]
struct Known {
    /// The widest key of the lanes that have it.
    widest: u64,
    sums: Sums,
}

/// The sums.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lanes {
    of: ByHash<Known>,
    /// How long nothing was said of orders where they stood: of the boundary at which this is to be
    /// sealed.
    pub silences: Silences,
}

/// Orders of a key: entered in a quarter, `n` of them arrived after so many quarters, or have
/// not arrived (`None`).
pub(super) struct Seen {
    pub(super) entered: i32,
    pub(super) taken: Option<usize>,
    pub(super) n: i64,
}

impl Lanes {
    /// `n` more orders (less, if negative) entered the stage at an instant.
    pub fn entered(&mut self, lane: &Lane, at: i64, n: i64) {
        self.add(lane, (quarter(at), ON_ITS_WAY), n);
    }

    /// Of those that entered, `n` (less, if negative) arrived.
    pub fn arrived(&mut self, lane: &Lane, entered: i64, arrived: i64, n: i64) {
        let taken = (quarter(arrived) - quarter(entered)).clamp(0, QUARTERS_MAX as i32 - 1);
        self.add(lane, (quarter(entered), ON_ITS_WAY), -n);
        self.add(lane, (quarter(entered), taken as u16), n);
    }

    fn add(&mut self, lane: &Lane, cell: (i32, u16), n: i64) {
        for key in &lane.0 {
            self.add_to(*key, lane.0[0], cell, n);
        }
    }

    fn add_to(&mut self, key: u64, widest: u64, cell: (i32, u16), n: i64) {
        let known = self.of.entry(key).or_insert_with(|| Known { widest, sums: Sums::default() });
        let sum = known.sums.entry(cell).or_insert(0);
        *sum = sum.saturating_add(n);
        if *sum == 0 {
            known.sums.remove(&cell);
        }
        if known.sums.is_empty() {
            self.of.remove(&key);
        }
    }

    /// Takes in what was summed elsewhere.
    pub fn merge(&mut self, other: &Lanes) {
        self.add_all(other, 1);
    }

    /// Takes back what was summed elsewhere, and taken in.
    pub fn take_back(&mut self, other: &Lanes) {
        self.add_all(other, -1);
    }

    fn add_all(&mut self, other: &Lanes, times: i64) {
        for (key, known) in &other.of {
            for (cell, n) in &known.sums {
                self.add_to(*key, known.widest, *cell, n.saturating_mul(times));
            }
        }
        self.silences.add_all(&other.silences, times);
    }

    /// Drops what was entered before an instant.
    pub fn forget(&mut self, before: i64) {
        let first = (quarter(before), 0);
        self.of.retain(|_, known| {
            known.sums = known.sums.split_off(&first);
            !known.sums.is_empty()
        });
    }

    /// Every key, and the widest key of its lanes, in no order.
    pub(super) fn keys(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.of.iter().map(|(key, known)| (*key, known.widest))
    }

    /// What is known under a key, of orders that entered from `first` on and before `end`.
    pub(super) fn under(&self, key: u64, first: i32, end: i32) -> impl Iterator<Item = Seen> + '_ {
        let known = self.of.get(&key).into_iter();
        let cells = known.flat_map(move |it| it.sums.range((first, 0)..(end, 0)));
        cells.map(|((entered, taken), n)| Seen {
            entered: *entered,
            taken: (*taken != ON_ITS_WAY).then_some(usize::from(*taken)),
            n: *n,
        })
    }
}
