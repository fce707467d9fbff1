//! One event into the updates of every view.
//!
//! In: an [`Event`]. Out: updates addressed to the entities it speaks of, in [`Updates`].
//!
//! # Invariants
//! Every identifier is fingerprinted once per event. `volume` is counted here, before anything is
//! exchanged: a worker sends one update per cell and epoch, whatever the number of events; so it is
//! with the texts of a day.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use compact_str::CompactString;
use hashbrown::HashMap;
use schemas::events::{Data, Event, EventType};
use schemas::names::{DEFAULT_TENANT, Fingerprint, Kind, Name, Secret, key_text};

use crate::catalogue::ViewSet;
use crate::model_quality::Judged;
use crate::models::opinion::{rated, text_of};
use crate::models::published::Published;
use crate::mood::Heard;
use crate::opinions::Opinions;
use crate::sentiment::{self, Said};
use crate::sentiment_by_day::Days;
use crate::{
    Addressed, capacity, cases, claims, customers, erasures, health, load_forecast, notifications,
    orders, records, volume,
};

/// The updates of a slice of events, waiting to be sent: one vector per fold, but of `volume` and
/// `sentiment_by_day`, which are summed before.
#[derive(Default)]
pub struct Updates {
    pub(crate) customers: Vec<Addressed<customers::Update>>,
    pub(crate) orders: Vec<Addressed<orders::Update>>,
    pub(crate) cases: Vec<Addressed<cases::Update>>,
    pub(crate) volume: Counts,
    pub(crate) records: Vec<Addressed<records::Update>>,
    pub(crate) sentiment: Vec<Addressed<Said>>,
    pub(crate) sentiment_by_customer: Vec<Addressed<Heard>>,
    pub(crate) sentiment_by_product: Vec<Addressed<Heard>>,
    pub(crate) sentiment_by_day: Days,
    pub(crate) model_quality: Vec<Addressed<Judged>>,
    opinions: Opinions,
    pub(crate) claims: Vec<Addressed<claims::Update>>,
    pub(crate) notifications: Vec<Addressed<notifications::Update>>,
    pub(crate) load_forecast: Vec<Addressed<load_forecast::Update>>,
    pub(crate) health: Vec<Addressed<health::Update>>,
    pub(crate) erasures: Vec<Addressed<erasures::Update>>,
    pub(crate) capacity: Vec<Addressed<capacity::Update>>,
    /// Of [`ViewSet::COUNTED`] those for which events were counted.
    pub(crate) counted: u32,
    texts: Texts,
    scratch: Vec<u8>,
}

impl Updates {
    /// Empty. Of texts speak the models that were published.
    pub fn speaking(published: Arc<Published>) -> Updates {
        Updates { opinions: Opinions::of(published), ..Updates::default() }
    }

    /// Takes one event apart. `views`: those that are kept; nothing is made for others.
    #[inline]
    pub fn route(&mut self, event: &Event<'_>, secret: &Secret, views: ViewSet) {
        let tenant: &str = &event.tenant;
        self.counted = views.0 & ViewSet::COUNTED;
        if self.counted != 0 {
            self.volume.count(event);
        }
        if views.0 & ViewSet::CAPACITY != 0
            && let Some((process, update)) = capacity::Update::of(event)
        {
            self.capacity.push(to_process(process, update, secret));
        }
        if views.0 & ViewSet::LOAD_FORECAST != 0
            && let Some((series, update)) = load_forecast::Update::of(event)
        {
            self.load_forecast.push(to_series(
                tenant,
                (load_forecast::MEASURED, series),
                update,
                secret,
            ));
        }
        if let Data::CustomerErased(it) = &event.data {
            return self.route_erased(event, &it.customers, secret);
        }
        let amount = match &event.data {
            Data::OrderPlaced(it) => orders::amount_of(it),
            _ => 0,
        };
        // Of the customer, and of the order or the case.
        let (mut owner, mut about) = (0, None);
        // The owner of an order or a case is the customer that is named, so the customer's
        // fingerprint is needed for any of the three.
        if let Some((customer, update)) = customers::Update::of(event, amount) {
            owner = secret.fingerprint(tenant, Kind::Customer, &[customer]);
            if views.0 & ViewSet::CUSTOMERS != 0 {
                self.customers.push(Addressed {
                    key: owner,
                    name: self.texts.name(tenant, customer),
                    update,
                });
            }
        }
        // The other side of a statement by hand: a customer too, and a person's health has them.
        if views.0 & (ViewSet::CUSTOMERS | ViewSet::HEALTH) != 0
            && let Some((other, update)) = customers::Update::of_other(event)
        {
            let key = secret.fingerprint(tenant, Kind::Customer, &[other]);
            let name = self.texts.name(tenant, other);
            if views.0 & ViewSet::HEALTH != 0 {
                let update = health::Update::identity(other);
                self.health.push(Addressed { key, name: name.clone(), update });
            }
            if views.0 & ViewSet::CUSTOMERS != 0 {
                self.customers.push(Addressed { key, name, update });
            }
        }
        if views.0 & ViewSet::ORDERS != 0 {
            let said = orders::Update::of(event, owner, amount, &mut self.scratch);
            if let Some((order, update)) = said {
                let key = secret.fingerprint(tenant, Kind::Order, &[order]);
                about = Some(key);
                self.orders.push(Addressed { key, name: self.texts.name(tenant, order), update });
            }
        }
        if views.0 & ViewSet::CASES != 0
            && let Some((case, update)) = cases::Update::of(event, owner)
        {
            let key = secret.fingerprint(tenant, Kind::Case, &[case]);
            about = Some(key);
            self.cases.push(Addressed { key, name: self.texts.name(tenant, case), update });
        }
        if views.0 & ViewSet::CLAIMS != 0
            && let Some((claim, update)) = claims::Update::of(event, owner)
        {
            let key = secret.fingerprint(tenant, Kind::Claim, &[claim]);
            self.claims.push(Addressed { key, name: self.texts.name(tenant, claim), update });
        }
        if views.0 & ViewSet::NOTIFICATIONS != 0 {
            let owner_of = |it: &str| secret.fingerprint(tenant, Kind::Customer, &[it]);
            if let Some((message, update)) = notifications::Update::of(event, owner_of) {
                let key = secret.fingerprint(tenant, Kind::Message, &[message]);
                let name = self.texts.name(tenant, message);
                self.notifications.push(Addressed { key, name, update });
            }
        }
        if views.0 & ViewSet::RECORDS != 0
            && let Some((parts, update)) = records::Update::of(event)
        {
            let key = secret.fingerprint(tenant, Kind::Record, &parts);
            self.records.push(Addressed {
                key,
                name: Name::new(tenant, &key_text(&parts)),
                update,
            });
        }
        if views.0 & ViewSet::HEALTH != 0 {
            let id_of =
                |kind, id: &str| about.unwrap_or_else(|| secret.fingerprint(tenant, kind, &[id]));
            let (health, texts) = (&mut self.health, &mut self.texts);
            health::Update::each(event, amount, id_of, |customer, update| {
                health.push(Addressed { key: owner, name: texts.name(tenant, customer), update });
            });
        }
        if views.0 & ViewSet::OF_TEXTS != 0
            && let Some(text) = text_of(event)
        {
            self.route_text(event, text, owner, secret, views);
        }
    }

    /// Who is erased, to whoever has to know: whatever views are kept.
    #[cold]
    fn route_erased(&mut self, event: &Event<'_>, customers: &[Cow<'_, str>], secret: &Secret) {
        for customer in customers {
            let key = secret.fingerprint(&event.tenant, Kind::Customer, &[customer]);
            let name = self.texts.name(&event.tenant, customer);
            self.erasures.push(Addressed { key, name, update: erasures::Update::of(event) });
        }
    }

    /// What is said of a text, to every view that wants it.
    fn route_text(
        &mut self,
        event: &Event<'_>,
        text: &str,
        owner: Fingerprint,
        secret: &Secret,
        views: ViewSet,
    ) {
        let tenant: &str = &event.tenant;
        let wants = |view: u32| views.0 & view != 0;
        let (said, model) = self.opinions.say(tenant, event.time, text);
        let (customer, product, _) = sentiment::about(event);
        let parts = [&*event.source, &*event.id];
        let text_key = key_text(&parts);
        let heard = Heard::new(event.time, &said, &text_key, owner);
        if wants(ViewSet::SENTIMENT_BY_CUSTOMER)
            && let Some(it) = customer
        {
            let key = secret.fingerprint(tenant, Kind::Customer, &[it]);
            let name = self.texts.name(tenant, it);
            self.sentiment_by_customer.push(Addressed { key, name, update: heard.clone() });
        }
        if wants(ViewSet::HEALTH)
            && let Some(it) = customer
        {
            let update = health::Update::text(it, event.time, said.score);
            let name = self.texts.name(tenant, it);
            self.health.push(Addressed { key: owner, name, update });
        }
        if wants(ViewSet::SENTIMENT_BY_PRODUCT)
            && let Some(it) = product
        {
            let key = secret.fingerprint(tenant, Kind::Product, &[it]);
            let name = self.texts.name(tenant, it);
            self.sentiment_by_product.push(Addressed { key, name, update: heard.clone() });
        }
        if wants(ViewSet::MODEL_QUALITY)
            && let Some((_, given)) = rated(event)
        {
            let key = secret.fingerprint(tenant, Kind::Model, &[&model]);
            let name = self.texts.name(tenant, &model);
            let update = Judged { given, said: said.label, confidence: said.confidence };
            self.model_quality.push(Addressed { key, name, update });
        }
        if wants(ViewSet::SENTIMENT) {
            let key = secret.fingerprint(tenant, Kind::Text, &parts);
            let name = Name::new(tenant, &text_key);
            let update = Said::of(event, &said, &model, owner);
            self.sentiment.push(Addressed { key, name, update });
        }
        if wants(ViewSet::SENTIMENT_BY_DAY) {
            self.sentiment_by_day.hear(tenant, heard);
        }
    }
}

/// Addressed to a series.
fn to_series(
    tenant: &str,
    (of, series): (&str, &str),
    update: load_forecast::Update,
    secret: &Secret,
) -> Addressed<load_forecast::Update> {
    let minutes = update.minutes.to_string();
    let key = secret.fingerprint(tenant, Kind::Load, &[of, series, &minutes]);
    let name = Name::new(tenant, &load_forecast::key_of(of, series, update.minutes));
    Addressed { key, name, update }
}

/// Addressed to a process: of whichever tenant the events are, its row is one of [`DEFAULT_TENANT`].
fn to_process(
    process: &str,
    update: capacity::Update,
    secret: &Secret,
) -> Addressed<capacity::Update> {
    let key = secret.fingerprint(DEFAULT_TENANT, Kind::Process, &[process]);
    Addressed { key, name: Name::new(DEFAULT_TENANT, &key_text(&[process])), update }
}

/// Where names are put together: the tenant of the one before, NUL, and the id.
#[derive(Default)]
struct Texts {
    text: String,
    tenant: usize,
}

impl Texts {
    /// The name of an entity with a key of one part.
    #[inline]
    fn name(&mut self, tenant: &str, id: &str) -> Name {
        let plain = |byte: u8| byte != b'%' && byte != b'/' && byte >= 0x20 && byte != 0x7f;
        if !id.bytes().all(plain) {
            return Name::new(tenant, &key_text(&[id]));
        }
        if self.text.get(..self.tenant) != Some(tenant) || self.text.is_empty() {
            self.text.clear();
            self.text.push_str(tenant);
            self.tenant = tenant.len();
            self.text.push('\0');
        }
        self.text.truncate(self.tenant + 1);
        self.text.push_str(id);
        Name::from_text(&self.text)
    }
}

/// The fingerprint of an entity by its key's text, as readers ask for it; `None` for a text that
/// is no key of this view.
pub(crate) fn fingerprint_of(
    kind: Kind,
    secret: &Secret,
    tenant: &str,
    key: &str,
) -> Option<Fingerprint> {
    match kind {
        Kind::Volume | Kind::Record | Kind::Text | Kind::Load => {
            let n_parts = if matches!(kind, Kind::Load) { 3 } else { 2 };
            let parts: Vec<CompactString> = key.split('/').map(crate::decoded).collect();
            let parts: Vec<&str> = parts.iter().map(|it| it.as_str()).collect();
            // Another spelling of the same parts is not the key of the row.
            (parts.len() == n_parts && key_text(&parts) == key)
                .then(|| secret.fingerprint(tenant, kind, &parts))
        }
        _ => {
            let id: Cow<'_, str> = match key.contains('%') {
                true => Cow::Owned(crate::decoded(key).into()),
                false => Cow::Borrowed(key),
            };
            // Another spelling of the same id is not the key of the row.
            (key_text(&[&id]) == key).then(|| secret.fingerprint(tenant, kind, &[&id]))
        }
    }
}

/// Where counts go: to the views that are wanted.
#[derive(Default)]
pub(crate) struct CountsInto<'i> {
    pub(crate) volume: Option<&'i mut Vec<Addressed<volume::Count>>>,
    pub(crate) load_forecast: Option<&'i mut Vec<Addressed<load_forecast::Update>>>,
    pub(crate) capacity: Option<&'i mut Vec<Addressed<capacity::Update>>>,
}

/// Events counted by tenant, minute and type. Most events lie in the minute of the one before.
#[derive(Default)]
pub(crate) struct Counts {
    tenant: CompactString,
    minute: i64,
    by_type: [u64; EventType::ALL.len()],
    others: HashMap<(CompactString, i64), [u64; EventType::ALL.len()], foldhash::fast::FixedState>,
}

impl Counts {
    #[inline]
    fn count(&mut self, event: &Event<'_>) {
        let past = event.time.wrapping_sub(self.minute);
        if !(0..volume::MINUTE).contains(&past) || self.tenant != *event.tenant {
            self.turn_to(&event.tenant, volume::minute_of(event.time));
        }
        self.by_type[event.data.event_type() as usize] += 1;
    }

    #[cold]
    fn turn_to(&mut self, tenant: &str, minute: i64) {
        self.put_aside();
        self.tenant = tenant.into();
        self.minute = minute;
    }

    fn put_aside(&mut self) {
        if self.by_type.iter().any(|it| *it > 0) {
            let counts = std::mem::take(&mut self.by_type);
            let cell = self.others.entry((self.tenant.clone(), self.minute)).or_default();
            cell.iter_mut().zip(counts).for_each(|(sum, n)| *sum += n);
        }
    }

    /// Takes over all counts of another.
    pub(crate) fn take(&mut self, other: &mut Counts) {
        other.put_aside();
        for (cell, counts) in other.others.drain() {
            let sums = self.others.entry(cell).or_default();
            sums.iter_mut().zip(counts).for_each(|(sum, n)| *sum += n);
        }
    }

    /// Empties into updates of the views that are wanted.
    pub(crate) fn drain(&mut self, secret: &Secret, into: CountsInto<'_>) {
        self.put_aside();
        if let Some(loads) = into.load_forecast {
            self.load(secret, loads);
        }
        if let Some(capacity) = into.capacity {
            self.total(secret, capacity);
        }
        let Some(volume) = into.volume else { return self.others.clear() };
        for ((tenant, minute), counts) in self.others.drain() {
            let text = schemas::time::rfc3339(minute);
            for (kind, n) in EventType::ALL.into_iter().zip(counts).filter(|it| it.1 > 0) {
                let parts = [&*text, kind.as_str()];
                let key = secret.fingerprint(&tenant, Kind::Volume, &parts);
                let name = Name::new(&tenant, &volume::key_of(&text, kind));
                let update = volume::Count { minute, n, kind: kind as u8 };
                volume.push(Addressed { key, name, update });
            }
        }
    }

    /// How many there were of all tenants, by five minutes and by the hour.
    fn total(&self, secret: &Secret, into: &mut Vec<Addressed<capacity::Update>>) {
        use load_forecast::{Counted, Update, bucket_of};
        let mut sums: BTreeMap<(u16, i64), u64> = BTreeMap::new();
        for ((_, minute), counts) in &self.others {
            let all: u64 = counts.iter().sum();
            for minutes in capacity::MINUTES {
                *sums.entry((minutes, bucket_of(*minute, minutes))).or_insert(0) += all;
            }
        }
        for ((minutes, bucket), n) in sums {
            let n = i64::try_from(n).unwrap_or(i64::MAX);
            let update = Update { minutes, bucket, n, counted: Counted::All };
            into.push(to_process(capacity::MAIN, capacity::Update::Came(update), secret));
        }
    }

    /// How many there were of every type and of all, by five minutes and by the hour.
    fn load(&self, secret: &Secret, into: &mut Vec<Addressed<load_forecast::Update>>) {
        use load_forecast::{ALL, COUNTED_BY, Counted, EVENTS, Update, bucket_of};
        let mut sums: BTreeMap<(&str, &str, u16, i64), u64> = BTreeMap::new();
        for ((tenant, minute), counts) in &self.others {
            let mut add = |series, minutes, n| {
                let sum = sums.entry((tenant, series, minutes, bucket_of(*minute, minutes)));
                *sum.or_insert(0) += n;
            };
            let all: u64 = counts.iter().sum();
            let kinds = EventType::ALL.into_iter().zip(counts.iter().copied());
            let kinds = kinds.map(|(kind, n)| (kind.as_str(), n)).chain([(ALL, all)]);
            for (series, n) in kinds.filter(|it| it.1 > 0) {
                COUNTED_BY.into_iter().for_each(|minutes| add(series, minutes, n));
            }
        }
        for ((tenant, series, minutes, bucket), n) in sums {
            let n = i64::try_from(n).unwrap_or(i64::MAX);
            let counted = if series == ALL { Counted::All } else { Counted::OneType };
            let update = Update { minutes, bucket, n, counted };
            into.push(to_series(tenant, (EVENTS, series), update, secret));
        }
    }
}
