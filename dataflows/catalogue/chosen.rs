//! Which views there are to be.

use super::definitions;

/// A choice of views (the whole catalogue by default). A relation needs the folds it reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ViewSet(pub u32);

impl ViewSet {
    pub(crate) const CUSTOMERS: u32 = 1;
    pub(crate) const ORDERS: u32 = 2;
    pub(crate) const CASES: u32 = 4;
    pub(crate) const VOLUME: u32 = 8;
    pub(crate) const RECORDS: u32 = 16;
    pub(super) const ORDERS_BY_STATUS: u32 = 32;
    pub(super) const TOP_CUSTOMERS: u32 = 64;
    pub(crate) const SENTIMENT: u32 = 128;
    pub(crate) const SENTIMENT_BY_CUSTOMER: u32 = 256;
    pub(crate) const SENTIMENT_BY_PRODUCT: u32 = 512;
    pub(crate) const SENTIMENT_BY_DAY: u32 = 1_024;
    pub(crate) const MODEL_QUALITY: u32 = 2_048;
    /// Those for which texts are scored.
    pub(crate) const OF_TEXTS: u32 = ViewSet::SENTIMENT
        | ViewSet::SENTIMENT_BY_CUSTOMER
        | ViewSet::SENTIMENT_BY_PRODUCT
        | ViewSet::SENTIMENT_BY_DAY
        | ViewSet::MODEL_QUALITY
        | ViewSet::HEALTH;
    pub(crate) const CLAIMS: u32 = 4_096;
    pub(super) const PRIORITY_QUEUE: u32 = 8_192;
    pub(super) const SLA: u32 = 16_384;
    pub(super) const QUEUE_LOAD: u32 = 32_768;
    pub(super) const ORDER_VISIBILITY: u32 = 65_536;
    pub(super) const ORDER_EXCEPTIONS: u32 = 131_072;
    pub(crate) const NOTIFICATIONS: u32 = 262_144;
    pub(crate) const LOAD_FORECAST: u32 = 524_288;
    pub(crate) const HEALTH: u32 = 1_048_576;
    pub(super) const PROFILES: u32 = 2_097_152;
    pub(super) const IDENTIFIERS: u32 = 4_194_304;
    pub(super) const IDENTITY_CONFLICTS: u32 = 8_388_608;
    pub(super) const ERASURES: u32 = 16_777_216;
    pub(crate) const CAPACITY: u32 = 33_554_432;
    pub(super) const CAPACITY_ADVICE: u32 = 67_108_864;
    pub(super) const ORDER_KPIS: u32 = 134_217_728;
    pub(super) const PROFILE_HEALTH: u32 = 268_435_456;
    /// Those that show another view's states: they have no lane of their own on the clock.
    pub(super) const FACES: u32 = ViewSet::ORDER_VISIBILITY | ViewSet::CAPACITY_ADVICE;
    /// Those for which events are counted.
    pub(crate) const COUNTED: u32 = ViewSet::VOLUME | ViewSet::LOAD_FORECAST | ViewSet::CAPACITY;

    /// Relations, each with a fold whose rows it is made from; the first is the one it is about.
    pub(super) const NEEDS: [(u32, u32); 19] = [
        (ViewSet::ORDERS_BY_STATUS, ViewSet::ORDERS),
        (ViewSet::TOP_CUSTOMERS, ViewSet::CUSTOMERS),
        (ViewSet::PRIORITY_QUEUE, ViewSet::CASES),
        (ViewSet::PRIORITY_QUEUE, ViewSet::CUSTOMERS),
        (ViewSet::PRIORITY_QUEUE, ViewSet::ORDERS),
        (ViewSet::SLA, ViewSet::CASES),
        (ViewSet::SLA, ViewSet::CUSTOMERS),
        (ViewSet::SLA, ViewSet::ORDERS),
        (ViewSet::QUEUE_LOAD, ViewSet::CASES),
        (ViewSet::QUEUE_LOAD, ViewSet::CLAIMS),
        (ViewSet::ORDER_VISIBILITY, ViewSet::ORDERS),
        (ViewSet::ORDER_EXCEPTIONS, ViewSet::ORDERS),
        (ViewSet::PROFILES, ViewSet::CUSTOMERS),
        (ViewSet::IDENTIFIERS, ViewSet::CUSTOMERS),
        (ViewSet::IDENTITY_CONFLICTS, ViewSet::CUSTOMERS),
        (ViewSet::ORDER_KPIS, ViewSet::ORDERS),
        (ViewSet::CAPACITY_ADVICE, ViewSet::CAPACITY),
        (ViewSet::PROFILE_HEALTH, ViewSet::HEALTH),
        (ViewSet::PROFILE_HEALTH, ViewSet::CUSTOMERS),
    ];

    /// The fold whose rows a view is made from; itself, if it is none's.
    pub fn fold_of(view: &str) -> &str {
        let name = |bit: u32| definitions()[bit.trailing_zeros() as usize].name;
        let found = Self::NEEDS.iter().find(|it| name(it.0) == view);
        found.map_or(view, |it| name(it.1))
    }

    /// Whether rows of a view are made of the states of others than itself.
    pub fn is_made_of_others(view: &str) -> bool {
        let of_several = definitions()[Self::MODEL_QUALITY.trailing_zeros() as usize].name;
        view == of_several || Self::fold_of(view) != view
    }

    /// Every view.
    pub fn all() -> ViewSet {
        ViewSet((1 << definitions().len()) - 1)
    }

    /// These, or the name that is not a view / the fold that a relation lacks, in words.
    pub fn parse(names: &[&str]) -> Result<ViewSet, String> {
        // Who was erased is kept whatever else is: it keeps their data from coming back.
        let mut chosen = ViewSet(Self::ERASURES);
        for name in names {
            let Some(place) = definitions().iter().position(|it| it.name == *name) else {
                let known: Vec<_> = definitions().iter().map(|it| it.name).collect();
                return Err(format!(
                    "expected names of views ({}), found \"{name}\"",
                    known.join(", ")
                ));
            };
            chosen.0 |= 1 << place;
        }
        for (relation, fold) in Self::NEEDS {
            if chosen.0 & relation != 0 && chosen.0 & fold == 0 {
                let name = |bit: u32| definitions()[bit.trailing_zeros() as usize].name;
                return Err(format!(
                    "\"{}\" is made from the rows of \"{}\": choose that too",
                    name(relation),
                    name(fold)
                ));
            }
        }
        Ok(chosen)
    }

    /// Whether it is among them.
    pub fn contains(self, name: &str) -> bool {
        let place = definitions().iter().position(|it| it.name == name);
        place.is_some_and(|it| self.0 & (1 << it) != 0)
    }
}
