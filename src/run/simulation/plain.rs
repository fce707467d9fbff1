//! A view of plain numbers, with every version of each: how often an entity was touched. Every
//! fifth touch deletes its row.

use std::collections::{BTreeMap, BTreeSet};

use parking_lot::Mutex;
use schemas::keeping::{StateKeeper, Unreadable};
use schemas::leaving::{Leaving, Spot, Touched, Version};
use schemas::names::{Fingerprint, Name};
use schemas::reading::{Epoch, Gone, Instants, Keep, MapStats, Page, Pin, ViewReader};
use schemas::rows::{FieldDef, FieldKind, Row, Shape, Value, ViewDef};
use schemas::scanning::{Scan, Wanted};

const FIELDS: &[FieldDef] = &[
    FieldDef::new("key", FieldKind::Text, false, false, "Which."),
    FieldDef::new("touches", FieldKind::Int, false, false, "How often."),
];

/// A fold: its states are kept, its rows leave from the map.
pub(super) static PLAIN: ViewDef =
    ViewDef { name: "plain", words: "Touches.", shape: Shape::Fold, key: &["key"], fields: FIELDS };

/// A relation: made anew at a start, its rows wait in the log.
pub(super) static MADE: ViewDef = ViewDef {
    name: "made",
    words: "Touches, made anew.",
    shape: Shape::Relation,
    key: &["key"],
    fields: FIELDS,
};

/// By entity.
pub(super) type Touches = BTreeMap<u64, u64>;

/// Versions of an entity by epoch: how often it was touched up to then.
type Versions = BTreeMap<Epoch, u64>;

/// The view.
pub(super) struct Plain {
    def: &'static ViewDef,
    entities: Mutex<BTreeMap<u64, Versions>>,
    dirty: Mutex<BTreeSet<u64>>,
    /// Touched, and not told to those who hand rows on.
    noted: Mutex<BTreeSet<u64>>,
    generations: Mutex<BTreeMap<u64, u32>>,
}

/// Whether there is a row after so many touches.
pub(super) fn exists(touches: u64) -> bool {
    !touches.is_multiple_of(5)
}

fn name(key: u64) -> Name {
    Name::new("t", &key.to_string())
}

fn row(key: u64, touches: u64) -> Option<Row> {
    let values = vec![Value::Text(key.to_string().into()), Value::Int(touches.cast_signed())];
    exists(touches).then_some(Row { values })
}

impl Plain {
    pub(super) fn new(def: &'static ViewDef) -> Plain {
        let (entities, dirty, noted) = (Mutex::default(), Mutex::default(), Mutex::default());
        Plain { def, entities, dirty, noted, generations: Mutex::default() }
    }

    pub(super) fn touch(&self, key: u64, epoch: Epoch) {
        let mut entities = self.entities.lock();
        let versions = entities.entry(key).or_default();
        let before = versions.last_key_value().map_or(0, |it| *it.1);
        versions.insert(epoch, before + 1);
        self.dirty.lock().insert(key);
        self.noted.lock().insert(key);
    }

    /// Made anew of these, at this instant.
    pub(super) fn make(&self, of: &Touches, at: Epoch) {
        let of = of.iter().map(|(key, touches)| (*key, BTreeMap::from([(at, *touches)])));
        *self.entities.lock() = of.collect();
        // As the workers compute it: all of it is touched at that instant.
        *self.noted.lock() = self.entities.lock().keys().copied().collect();
    }

    pub(super) fn at(&self, epoch: Epoch) -> Touches {
        let entities = self.entities.lock();
        let of = |(key, it): (&u64, &Versions)| Some((*key, newest(it, epoch)?.1));
        entities.iter().filter_map(of).collect()
    }
}

fn newest(versions: &Versions, at: Epoch) -> Option<(Epoch, u64)> {
    versions.range(..=at).next_back().map(|it| (*it.0, *it.1))
}

impl StateKeeper for Plain {
    fn view(&self) -> &'static str {
        self.def.name
    }
    fn layout(&self) -> &'static str {
        "plain 1: key, epoch, touches"
    }
    fn save(&self, at: Epoch, generation: u32, emit: &mut dyn FnMut(&[u8])) -> Result<u64, Gone> {
        let dirty = std::mem::take(&mut *self.dirty.lock());
        let mut n = 0;
        for key in dirty {
            let entities = self.entities.lock();
            let versions = &entities[&key];
            if versions.last_key_value().is_some_and(|it| *it.0 > at) {
                self.dirty.lock().insert(key);
            }
            let Some((epoch, touches)) = newest(versions, at) else { continue };
            let mut record = Vec::new();
            for number in [key, epoch, touches] {
                record.extend_from_slice(&number.to_le_bytes());
            }
            emit(&record);
            self.generations.lock().insert(key, generation);
            n += 1;
        }
        Ok(n)
    }
    fn again(&self, of: &dyn Fn(u32) -> bool) -> u64 {
        let generations = self.generations.lock();
        let again: Vec<u64> = generations.iter().filter(|it| of(*it.1)).map(|it| *it.0).collect();
        self.dirty.lock().extend(&again);
        again.len() as u64
    }
    fn restore(&self, record: &[u8], generation: u32) -> Result<bool, Unreadable> {
        let (numbers, rest) = record.as_chunks::<8>();
        let [key, epoch, touches] = numbers else {
            return Err(Unreadable { why: format!("{} bytes", record.len()) });
        };
        assert!(rest.is_empty());
        let [key, epoch, touches] = [key, epoch, touches].map(|it| u64::from_le_bytes(*it));
        let mut entities = self.entities.lock();
        if entities.contains_key(&key) {
            return Ok(false);
        }
        entities.insert(key, BTreeMap::from([(epoch, touches)]));
        self.generations.lock().insert(key, generation);
        Ok(true)
    }
}

impl Leaving for Plain {
    fn def(&self) -> &'static ViewDef {
        self.def
    }
    fn is_kept(&self) -> bool {
        self.def.shape == Shape::Fold
    }
    fn note(&self) {}
    fn touched(
        &self,
        after: Epoch,
        at: Epoch,
        with_rows: bool,
        emit: &mut dyn FnMut(Touched<'_>),
    ) -> Result<(), Gone> {
        let noted = std::mem::take(&mut *self.noted.lock());
        let entities = self.entities.lock();
        for key in noted {
            let versions = &entities[&key];
            if versions.last_key_value().is_some_and(|it| *it.0 > at) {
                self.noted.lock().insert(key);
            }
            let Some((epoch, touches)) = newest(versions, at).filter(|it| it.0 > after) else {
                continue;
            };
            let row = row(key, touches);
            let (spot, exists) = (Spot(key), row.is_some());
            let row = row.filter(|_| with_rows);
            emit(Touched { spot, key: key.into(), name: &name(key), epoch, exists, row });
        }
        Ok(())
    }
    fn read(&self, spot: Spot, _: Fingerprint, at: Epoch) -> Result<Option<Version>, Gone> {
        let entities = self.entities.lock();
        let found = entities.get(&spot.0).and_then(|it| newest(it, at));
        Ok(found.map(|(epoch, touches)| (epoch, name(spot.0), row(spot.0, touches))))
    }
    fn since(
        &self,
        after: Epoch,
        at: Epoch,
        emit: &mut dyn FnMut(Spot, Fingerprint, Epoch),
    ) -> Result<(), Gone> {
        for (key, versions) in &*self.entities.lock() {
            if let Some((epoch, _)) = newest(versions, at).filter(|it| it.0 > after) {
                emit(Spot(*key), (*key).into(), epoch);
            }
        }
        Ok(())
    }
}

/// Of all that readers may ask, an outbox asks for all rows.
impl ViewReader for Plain {
    fn def(&self) -> &'static ViewDef {
        self.def
    }
    fn get(&self, _: &str, _: &str, _: Epoch) -> Result<Option<Row>, Gone> {
        unreachable!("nobody asks")
    }
    fn page(
        &self,
        _: &str,
        _: Option<&str>,
        _: Epoch,
        _: usize,
        _: usize,
        _: Keep<'_>,
    ) -> Result<Page, Gone> {
        unreachable!("nobody asks")
    }
    fn count(&self, _: &str, _: Epoch) -> u64 {
        unreachable!("nobody asks")
    }
    fn rows(&self) -> u64 {
        unreachable!("nobody asks")
    }
    fn changes(
        &self,
        _: Epoch,
        _: Epoch,
        _: &mut dyn FnMut(&Name, Option<Row>, Option<Row>),
    ) -> Result<(), Gone> {
        unreachable!("nobody asks")
    }
    fn for_each(&self, at: Epoch, emit: &mut dyn FnMut(&Name, Row)) -> Result<(), Gone> {
        for (key, touches) in self.at(at) {
            if let Some(row) = row(key, touches) {
                emit(&name(key), row);
            }
        }
        Ok(())
    }
    fn fields_of(
        &self,
        _: &str,
        _: &str,
        _: Epoch,
        _: &[usize],
        _: &mut Vec<Value>,
    ) -> Result<bool, Gone> {
        unreachable!("nobody asks")
    }
    fn scan(
        &self,
        _: &str,
        _: Epoch,
        _: &Wanted,
        _: &mut Scan,
        _: &mut Vec<Value>,
    ) -> Result<usize, Gone> {
        unreachable!("nobody asks")
    }
    fn stats(&self) -> MapStats {
        MapStats::default()
    }
    fn merge_index(&self) -> bool {
        false
    }
}

/// The epoch that is complete.
#[derive(Default)]
pub(super) struct Now(pub(super) Mutex<Epoch>);

impl Instants for Now {
    fn complete(&self) -> Epoch {
        *self.0.lock()
    }
    fn pin(&self) -> Pin {
        Pin::new(self.complete(), Box::new(|| {}))
    }
    fn lease(&self, _: Epoch, _: u64, _: u64) -> Result<(), Gone> {
        Ok(())
    }
    fn expire(&self, _: u64) {}
    fn undo_bytes(&self) -> u64 {
        0
    }
}
