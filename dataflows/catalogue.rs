//! Every view: its definition, its dataflow, its reader.
//!
//! # Invariants
//! Each chosen view has one lane per worker on the clock, in the catalogue's order (but those that
//! are another look at a fold's states: they are complete with it); so an epoch is
//! complete when every chosen view of every worker has applied it. A relation is fed by the fold it
//! reads, on the same worker, in the same dataflow. `model_quality` is made of the maps of several
//! folds, of those of them that are chosen beside its own.

mod chosen; // which views there are to be
mod door; // where updates go in

use std::collections::BTreeMap;
use std::sync::Arc;

use differential_dataflow::{AsCollection, VecCollection};
use schemas::events::Event;
use schemas::keeping::StateKeeper;
use schemas::leaving::Leaving;
use schemas::names::{Kind, Name, Secret};
use schemas::reading::ViewReader;
use schemas::rows::{Row, ViewDef};
use timely::dataflow::ProbeHandle;
use timely::dataflow::operators::Probe;
use timely::dataflow::operators::vec::Map;
use timely::worker::Worker;

pub use chosen::ViewSet;
use door::{Door, advance, door, door_by, give, held};

use crate::capacity::Capacity;
use crate::capacity_advice::CapacityAdvice;
use crate::cases::Cases;
use crate::claims::Claims;
use crate::customers::Customers;
use crate::erased::Erased;
use crate::erasures::Erasures;
use crate::health::{self, Health};
use crate::identifiers::Identifiers;
use crate::identity_conflicts::IdentityConflicts;
use crate::inputs::{Counts, CountsInto, Updates, fingerprint_of};
use crate::load_forecast::{LeftOut, LoadForecast, Standing, bounded};
use crate::model_quality::arrivals::{self, Arrived, OfArrivals};
use crate::model_quality::loads::{self, Loads};
use crate::model_quality::{self, ModelQuality};
use crate::mood::Heard;
use crate::notifications::Notifications;
use crate::order_exceptions::OrderExceptions;
use crate::order_kpis::{Delivered, OrderKpis};
use crate::order_visibility::OrderVisibility;
use crate::orders::Orders;
use crate::orders_by_status::{Moves, OrdersByStatus};
use crate::priority_queue::PriorityQueue;
use crate::profile_health::ProfileHealth;
use crate::profiles::Profiles;
use crate::publish::{Published, publish};
use crate::queue_load::QueueLoad;
use crate::queues::{Asked, Bands, Late, Picks, Streams, Terms, Tiers, Waits};
use crate::records::Records;
use crate::sentiment::{self, Sentiment};
use crate::sentiment_by_customer::{self, SentimentByCustomer};
use crate::sentiment_by_day::{self, Days, SentimentByDay};
use crate::sentiment_by_product::{self, SentimentByProduct};
use crate::served::{Clock, Face, KeyOf, OwnerBy, Piece, Served, Several, Slots};
use crate::sla::Slas;
use crate::top_customers::{Candidates, TopCustomers};
use crate::volume::Volume;
use crate::{Epoch, Fold, Keep};
use crate::{
    capacity, capacity_advice, cases, claims, customers, erasures, identifiers, identity,
    identity_conflicts, load_forecast, notifications, order_exceptions, order_kpis,
    order_visibility, orders, orders_by_status, priority_queue, profile_health, profiles,
    queue_load, queues, records, sla, top_customers, volume,
};

/// Every view of this build, in the order of the documentation.
pub fn definitions() -> &'static [&'static ViewDef] {
    static ALL: [&ViewDef; 29] = [
        &customers::DEF,
        &orders::DEF,
        &cases::DEF,
        &volume::DEF,
        &records::DEF,
        &orders_by_status::DEF,
        &top_customers::DEF,
        &sentiment::DEF,
        &sentiment_by_customer::DEF,
        &sentiment_by_product::DEF,
        &sentiment_by_day::DEF,
        &model_quality::DEF,
        &claims::DEF,
        &priority_queue::DEF,
        &sla::DEF,
        &queue_load::DEF,
        &order_visibility::DEF,
        &order_exceptions::DEF,
        &notifications::DEF,
        &load_forecast::DEF,
        &health::DEF,
        &profiles::DEF,
        &identifiers::DEF,
        &identity_conflicts::DEF,
        &erasures::DEF,
        &capacity::DEF,
        &capacity_advice::DEF,
        &order_kpis::DEF,
        &profile_health::DEF,
    ];
    &ALL
}

/// The plain computation of a view over all events at an instant: what the view must say.
pub type Reference = fn(&[Event<'static>], Epoch) -> BTreeMap<Name, Row>;

/// Of each view its plain computation, in the catalogue's order.
pub fn references() -> [Reference; 29] {
    [
        customers::reference,
        orders::reference,
        cases::reference,
        volume::reference,
        records::reference,
        orders_by_status::reference,
        top_customers::reference,
        sentiment::reference,
        sentiment_by_customer::reference,
        sentiment_by_product::reference,
        sentiment_by_day::reference,
        model_quality::reference,
        claims::reference,
        priority_queue::reference,
        sla::reference,
        queue_load::reference,
        order_visibility::reference,
        order_exceptions::reference,
        notifications::reference,
        load_forecast::reference,
        health::reference,
        profiles::reference,
        identifiers::reference,
        identity_conflicts::reference,
        erasures::reference,
        capacity::reference,
        capacity_advice::reference,
        order_kpis::reference,
        profile_health::reference,
    ]
}

/// The maps of the chosen views over all workers. Made once, before the workers start.
pub struct Views {
    clock: Arc<Clock>,
    secret: Secret,
    terms: Arc<Terms>,
    erased: Arc<Erased>,
    readers: Vec<Arc<dyn ViewReader>>,
    keepers: Vec<Arc<dyn StateKeeper>>,
    leaving: Vec<Arc<dyn Leaving>>,
    customers: Option<Arc<Served<Customers>>>,
    orders: Option<Arc<Served<Orders>>>,
    cases: Option<Arc<Served<Cases>>>,
    volume: Option<Arc<Served<Volume>>>,
    records: Option<Arc<Served<Records>>>,
    orders_by_status: Option<Arc<Published<OrdersByStatus>>>,
    top_customers: Option<Arc<Published<TopCustomers>>>,
    sentiment: Option<Arc<Served<Sentiment>>>,
    sentiment_by_customer: Option<Arc<Served<SentimentByCustomer>>>,
    sentiment_by_product: Option<Arc<Served<SentimentByProduct>>>,
    sentiment_by_day: Option<Arc<Served<SentimentByDay>>>,
    model_quality: Option<Arc<Served<ModelQuality>>>,
    claims: Option<Arc<Served<Claims>>>,
    priority_queue: Option<Arc<Published<PriorityQueue>>>,
    sla: Option<Arc<Published<Slas>>>,
    queue_load: Option<Arc<Published<QueueLoad>>>,
    order_exceptions: Option<Arc<Published<OrderExceptions>>>,
    notifications: Option<Arc<Served<Notifications>>>,
    load_forecast: Option<Arc<Served<LoadForecast>>>,
    health: Option<Arc<Served<Health>>>,
    profiles: Option<Arc<Published<Profiles>>>,
    identifiers: Option<Arc<Published<Identifiers>>>,
    identity_conflicts: Option<Arc<Published<IdentityConflicts>>>,
    erasures: Option<Arc<Served<Erasures>>>,
    capacity: Option<Arc<Served<Capacity>>>,
    order_kpis: Option<Arc<Published<OrderKpis>>>,
    profile_health: Option<Arc<Published<ProfileHealth>>>,
    /// Of `model_quality`.
    of_arrivals: Option<Arc<Published<OfArrivals>>>,
    left_out: Arc<LeftOut>,
}

impl Views {
    /// Maps and a clock for this many workers. `undo_max_bytes`: what readers who stay may hold.
    pub fn new(chosen: ViewSet, workers: usize, secret: Secret, undo_max_bytes: u64) -> Arc<Views> {
        Views::make(chosen, workers, secret, undo_max_bytes, false, Terms::default())
    }

    /// The same, with folds that the store keeps ([`Views::keepers`]).
    pub fn keeping(
        chosen: ViewSet,
        workers: usize,
        secret: Secret,
        undo_max_bytes: u64,
    ) -> Arc<Views> {
        Views::make(chosen, workers, secret, undo_max_bytes, true, Terms::default())
    }

    /// The same, kept or not, with other terms by which cases wait than the default ones.
    pub fn with_terms(
        chosen: ViewSet,
        workers: usize,
        secret: Secret,
        undo_max_bytes: u64,
        is_kept: bool,
        terms: Terms,
    ) -> Arc<Views> {
        Views::make(chosen, workers, secret, undo_max_bytes, is_kept, terms)
    }

    fn make(
        chosen: ViewSet,
        workers: usize,
        secret: Secret,
        undo_max_bytes: u64,
        is_kept: bool,
        terms: Terms,
    ) -> Arc<Views> {
        let chosen = ViewSet(chosen.0 & ViewSet::all().0);
        // The part of `model_quality` that is made of orders is a map more, behind those of views.
        let both = ViewSet::MODEL_QUALITY | ViewSet::ORDERS;
        let asks_arrivals = chosen.0 & both == both;
        let of_views = (chosen.0 & !ViewSet::FACES).count_ones() as usize * workers;
        let lanes = of_views + if asks_arrivals { workers } else { 0 };
        let clock = Clock::new(lanes, undo_max_bytes);
        let (mut readers, mut keepers) = (Vec::new(), Vec::new());
        let mut leaving = Vec::new();
        let erased = Erased::new(secret);
        let mut maker = Maker {
            erased: &erased,
            chosen,
            workers,
            secret,
            clock: &clock,
            readers: &mut readers,
            leaving: &mut leaving,
            keepers: is_kept.then_some(&mut keepers),
        };
        let customers = maker.served(ViewSet::CUSTOMERS, Kind::Customer);
        let orders = maker.served(ViewSet::ORDERS, Kind::Order);
        let cases = maker.served(ViewSet::CASES, Kind::Case);
        let volume = maker.served(ViewSet::VOLUME, Kind::Volume);
        let records = maker.served(ViewSet::RECORDS, Kind::Record);
        let orders_by_status = maker.published(ViewSet::ORDERS_BY_STATUS);
        let top_customers = maker.published(ViewSet::TOP_CUSTOMERS);
        let sentiment = maker.served(ViewSet::SENTIMENT, Kind::Text);
        let sentiment_by_customer = maker.served(ViewSet::SENTIMENT_BY_CUSTOMER, Kind::Customer);
        let sentiment_by_product = maker.served(ViewSet::SENTIMENT_BY_PRODUCT, Kind::Product);
        let sentiment_by_day = maker.served(ViewSet::SENTIMENT_BY_DAY, Kind::Day);
        let model_quality = maker.part(ViewSet::MODEL_QUALITY, Kind::Model);
        let quality_at = maker.readers.len();
        let claims = maker.served(ViewSet::CLAIMS, Kind::Claim);
        let priority_queue = maker.published(ViewSet::PRIORITY_QUEUE);
        let sla = maker.published(ViewSet::SLA);
        let queue_load = maker.published(ViewSet::QUEUE_LOAD);
        maker.face::<_, OrderVisibility>(ViewSet::ORDER_VISIBILITY, orders.as_ref());
        let order_exceptions = maker.published(ViewSet::ORDER_EXCEPTIONS);
        if let (Some(orders), Some(_)) = (&orders, &order_exceptions) {
            orders.look_on();
        }
        let notifications = maker.served(ViewSet::NOTIFICATIONS, Kind::Message);
        let load_forecast = maker.served(ViewSet::LOAD_FORECAST, Kind::Load);
        let health = maker.served(ViewSet::HEALTH, Kind::Customer);
        let profiles = maker.published(ViewSet::PROFILES);
        let identifiers = maker.published(ViewSet::IDENTIFIERS);
        let identity_conflicts = maker.published(ViewSet::IDENTITY_CONFLICTS);
        let erasures = maker.served(ViewSet::ERASURES, Kind::Customer);
        let capacity = maker.served(ViewSet::CAPACITY, Kind::Process);
        maker.face::<_, CapacityAdvice>(ViewSet::CAPACITY_ADVICE, capacity.as_ref());
        let order_kpis = maker.published(ViewSet::ORDER_KPIS);
        let profile_health = maker.published(ViewSet::PROFILE_HEALTH);
        let of_arrivals =
            asks_arrivals.then(|| Published::new(workers, clock.clone(), of_views, secret));
        if let Some(of_texts) = &model_quality {
            let mut parts = vec![Piece::of("", of_texts.clone(), of_texts.clone())];
            if let Some(loads) = &load_forecast {
                let face = Face::<LoadForecast, Loads>::of(loads);
                parts.push(Piece::of(loads::PREFIX, face.clone(), face));
            }
            if let Some(it) = &of_arrivals {
                parts.push(Piece::of("", it.reader(), it.leaving()));
            }
            let several = Several::of(&model_quality::DEF, parts);
            maker.readers.insert(quality_at, several.clone());
            maker.leaving.insert(quality_at, several);
        }
        Arc::new(Views {
            clock,
            secret,
            terms: Arc::new(terms),
            erased,
            readers,
            keepers,
            leaving,
            customers,
            orders,
            cases,
            volume,
            records,
            orders_by_status,
            top_customers,
            sentiment,
            sentiment_by_customer,
            sentiment_by_product,
            sentiment_by_day,
            model_quality,
            claims,
            priority_queue,
            sla,
            queue_load,
            order_exceptions,
            notifications,
            load_forecast,
            health,
            profiles,
            identifiers,
            identity_conflicts,
            erasures,
            capacity,
            order_kpis,
            profile_health,
            of_arrivals,
            left_out: Arc::default(),
        })
    }

    /// The clock of all of them.
    pub fn clock(&self) -> &Arc<Clock> {
        &self.clock
    }

    /// Who is erased.
    pub fn erased(&self) -> &Arc<Erased> {
        &self.erased
    }

    /// Those who were erased before the process began: from the states that were put back.
    fn recall_erased(&self) {
        let Some(map) = &self.erasures else { return };
        let mut known = Vec::new();
        map.each_key(|key, _, state| {
            if Erasures::exists(state) {
                known.push(key);
            }
        });
        if !known.is_empty() {
            self.erased.add(&known, 0);
        }
    }

    /// As readers see them, in the catalogue's order.
    pub fn readers(&self) -> &[Arc<dyn ViewReader>] {
        &self.readers
    }

    /// As the store sees them: the folds, in the catalogue's order; none unless they are kept. A
    /// relation is made anew from the rows of the fold it reads.
    pub fn keepers(&self) -> &[Arc<dyn StateKeeper>] {
        &self.keepers
    }

    /// As those see them who hand rows on, in the catalogue's order.
    pub fn leaving(&self) -> &[Arc<dyn Leaving>] {
        &self.leaving
    }

    /// Whether somebody asks which customers are one person.
    fn asks_who_is_who(&self) -> bool {
        self.profiles.is_some()
            || self.identifiers.is_some()
            || self.identity_conflicts.is_some()
            || self.profile_health.is_some()
    }

    /// What of `load.measured` is in no row, for there are too many series.
    pub fn left_out(&self) -> &LeftOut {
        &self.left_out
    }

    /// Multiplicities other than one seen by relations, over all of them.
    pub fn anomalies(&self) -> u64 {
        let by_status = self.orders_by_status.as_ref().map_or(0, |it| it.anomalies());
        let top = self.top_customers.as_ref().map_or(0, |it| it.anomalies());
        let waiting = self.priority_queue.as_ref().map_or(0, |it| it.anomalies());
        let sla = self.sla.as_ref().map_or(0, |it| it.anomalies());
        let load = self.queue_load.as_ref().map_or(0, |it| it.anomalies());
        let wrong = self.order_exceptions.as_ref().map_or(0, |it| it.anomalies());
        let people = self.profiles.as_ref().map_or(0, |it| it.anomalies())
            + self.identifiers.as_ref().map_or(0, |it| it.anomalies())
            + self.identity_conflicts.as_ref().map_or(0, |it| it.anomalies())
            + self.profile_health.as_ref().map_or(0, |it| it.anomalies());
        let delivered = self.order_kpis.as_ref().map_or(0, |it| it.anomalies());
        let arrived = self.of_arrivals.as_ref().map_or(0, |it| it.anomalies());
        by_status + top + waiting + sla + load + wrong + people + delivered + arrived
    }
}

/// Makes maps, each with the next lanes of the clock.
struct Maker<'m> {
    erased: &'m Arc<Erased>,
    chosen: ViewSet,
    workers: usize,
    secret: Secret,
    clock: &'m Arc<Clock>,
    readers: &'m mut Vec<Arc<dyn ViewReader>>,
    leaving: &'m mut Vec<Arc<dyn Leaving>>,
    keepers: Option<&'m mut Vec<Arc<dyn StateKeeper>>>,
}

impl Maker<'_> {
    /// The first lane of a view: after those of the chosen views before it.
    fn first_lane(&self, view: u32) -> Option<usize> {
        let before = (self.chosen.0 & (view - 1) & !ViewSet::FACES).count_ones() as usize;
        (self.chosen.0 & view != 0).then_some(before * self.workers)
    }

    /// A fold's map as the view that it is.
    fn served<F: Keep>(&mut self, view: u32, kind: Kind) -> Option<Arc<Served<F>>> {
        let map = self.part(view, kind)?;
        self.readers.push(map.clone());
        self.leaving.push(map.clone());
        Some(map)
    }

    /// A fold's map of which the view is made, with others.
    fn part<F: Keep>(&mut self, view: u32, kind: Kind) -> Option<Arc<Served<F>>> {
        let lane = self.first_lane(view)?;
        let secret = self.secret;
        let key_of: KeyOf = Arc::new(move |tenant, key| fingerprint_of(kind, &secret, tenant, key));
        let owner_by: OwnerBy = Arc::new(move |tenant, customer| {
            secret.fingerprint(tenant, Kind::Customer, &[customer])
        });
        let slots = if self.keepers.is_some() { Slots::Kept } else { Slots::Stay };
        let whose = (key_of, owner_by);
        let map = Served::resting(self.workers, self.clock.clone(), lane, whose, slots);
        if let Some(keepers) = &mut self.keepers {
            keepers.push(map.clone());
        }
        map.look_for(self.erased);
        Some(map)
    }

    /// Another look at a map, if it is chosen and the map is there.
    fn face<F: Fold, G: Fold<State = F::State>>(
        &mut self,
        view: u32,
        map: Option<&Arc<Served<F>>>,
    ) {
        if let Some(map) = map.filter(|_| self.chosen.0 & view != 0) {
            let face = Face::<F, G>::of(map);
            self.readers.push(face.clone());
            self.leaving.push(face);
        }
    }

    fn published<R: crate::publish::Relation>(&mut self, view: u32) -> Option<Arc<Published<R>>> {
        let lane = self.first_lane(view)?;
        let map = Published::new(self.workers, self.clock.clone(), lane, self.secret);
        self.readers.push(map.reader());
        self.leaving.push(map.leaving());
        Some(map)
    }
}

/// One worker's end of the dataflow: where updates go in, and how far it has come.
pub struct Sources {
    secret: Secret,
    erased: Arc<Erased>,
    /// That is open.
    epoch: Epoch,
    probe: ProbeHandle<Epoch>,
    customers: Option<Door<customers::Update>>,
    orders: Option<Door<orders::Update>>,
    cases: Option<Door<cases::Update>>,
    volume: Option<Door<volume::Count>>,
    records: Option<Door<records::Update>>,
    sentiment: Option<Door<sentiment::Said>>,
    sentiment_by_customer: Option<Door<Heard>>,
    sentiment_by_product: Option<Door<Heard>>,
    sentiment_by_day: Option<Door<sentiment_by_day::Update>>,
    model_quality: Option<Door<model_quality::Judged>>,
    claims: Option<Door<claims::Update>>,
    notifications: Option<Door<notifications::Update>>,
    load_forecast: Option<Door<load_forecast::Update>>,
    health: Option<Door<health::Update>>,
    erasures: Option<Door<erasures::Update>>,
    capacity: Option<Door<capacity::Update>>,
    /// Of the open epoch, by the views that they are for: what is read once more is for those alone
    /// that are built again.
    counts: Vec<(u32, Counts)>,
    /// Of the open epoch.
    days: Days,
}

impl Sources {
    /// Builds the dataflow of the chosen views on this worker.
    pub fn build(worker: &mut Worker, views: &Arc<Views>) -> Sources {
        let index = worker.index();
        views.recall_erased();
        worker.dataflow_named("views", |scope| {
            let probe = ProbeHandle::new();
            // Whether somebody asks for cases with their people.
            let asks = views.priority_queue.is_some() || views.sla.is_some();
            let (mut customers, mut tiers, mut whose) = (None, None, None);
            if let Some(map) = &views.customers {
                let top = views.top_customers.as_ref().map(|_| Candidates::default());
                let terms = identity::terms();
                let told = views.asks_who_is_who().then(|| identity::Told(terms.clone()));
                let all = (top, (asks.then_some(Tiers), told));
                let (its_door, said) = door(scope, map, index, all, &probe);
                let (candidates, (said, told)) = said;
                if views.asks_who_is_who() {
                    let who = identity::relate(told, terms);
                    if let Some(map) = &views.profiles {
                        publish(who.profiles, map.clone(), index).probe_with(&probe);
                    }
                    if let Some(map) = &views.identifiers {
                        publish(who.identifiers, map.clone(), index).probe_with(&probe);
                    }
                    if let Some(map) = &views.identity_conflicts {
                        publish(who.conflicts, map.clone(), index).probe_with(&probe);
                    }
                    whose = Some(who.whose);
                }
                if let Some(top) = &views.top_customers {
                    let ranked = top_customers::relate(candidates);
                    publish(ranked, top.clone(), index).probe_with(&probe);
                }
                (customers, tiers) = (Some(its_door), Some(said));
            }
            let (mut orders, mut late) = (None, None);
            if let Some(map) = &views.orders {
                let moves = views.orders_by_status.as_ref().map(|_| Moves::default());
                let wrong = views.order_exceptions.as_ref().map(|_| OrderExceptions);
                let delivered = views.order_kpis.as_ref().map(|_| Delivered::default());
                let arrived = views.of_arrivals.as_ref().map(|_| Arrived::default());
                let all = (moves, (asks.then_some(Late), (wrong, (delivered, arrived))));
                let (its_door, said) = door(scope, map, index, all, &probe);
                let (moves, (said, (wrong, (delivered, arrived)))) = said;
                if let Some(map) = &views.of_arrivals {
                    let judged = arrivals::relate(arrived);
                    publish(judged, map.clone(), index).probe_with(&probe);
                }
                if let Some(kpis) = &views.order_kpis {
                    let summed = order_kpis::relate(delivered);
                    publish(summed, kpis.clone(), index).probe_with(&probe);
                }
                if let Some(exceptions) = &views.order_exceptions {
                    publish(wrong, exceptions.clone(), index).probe_with(&probe);
                }
                if let Some(by_status) = &views.orders_by_status {
                    let totals = orders_by_status::relate(moves);
                    publish(totals, by_status.clone(), index).probe_with(&probe);
                }
                (orders, late) = (Some(its_door), Some(said));
            }
            let (mut cases, mut waits) = (None, None);
            if let Some(map) = &views.cases {
                let anybody = asks || views.queue_load.is_some();
                let (its_door, said) = door(scope, map, index, anybody.then_some(Asked), &probe);
                (cases, waits) = (Some(its_door), Some(said));
            }
            let (mut claims, mut picks) = (None, None);
            if let Some(map) = &views.claims {
                let asked = views.queue_load.as_ref().map(|_| Picks);
                let (its_door, said) = door(scope, map, index, asked, &probe);
                (claims, picks) = (Some(its_door), Some(said));
            }
            let (mut health, mut bands) = (None, None);
            if let Some(map) = &views.health {
                let told = views.profile_health.as_ref().map(|_| profile_health::Told);
                let all = (asks.then_some(Bands), told);
                let (its_door, (said, told)) = door(scope, map, index, all, &probe);
                if let (Some(map), Some(whose)) = (&views.profile_health, whose) {
                    let united = profile_health::relate(told, whose);
                    publish(united, map.clone(), index).probe_with(&probe);
                }
                (health, bands) = (Some(its_door), Some(said));
            }
            let waits = waits.map(Waiting::of);
            if let (Some(map), Some(waits), Some(picks)) = (&views.queue_load, &waits, picks) {
                let loads = queue_load::relate(waits.loads.clone().concat(picks));
                publish(loads, map.clone(), index).probe_with(&probe);
            }
            if let (true, Some(Waiting { open, days, .. }), Some(tiers), Some(late)) =
                (asks, waits, tiers, late)
            {
                let streams = Streams { open, days, tiers, late, bands };
                let pressed = queues::relate(streams, views.terms.clone());
                if let Some(map) = &views.priority_queue {
                    let waiting = priority_queue::relate(pressed.clone());
                    publish(waiting, map.clone(), index).probe_with(&probe);
                }
                if let Some(map) = &views.sla {
                    publish(pressed, map.clone(), index).probe_with(&probe);
                }
            }
            let volume = views.volume.as_ref().map(|map| door(scope, map, index, (), &probe).0);
            let records = views.records.as_ref().map(|map| door(scope, map, index, (), &probe).0);
            let sentiment =
                views.sentiment.as_ref().map(|map| door(scope, map, index, (), &probe).0);
            let sentiment_by_customer = views
                .sentiment_by_customer
                .as_ref()
                .map(|map| door(scope, map, index, (), &probe).0);
            let sentiment_by_product = views
                .sentiment_by_product
                .as_ref()
                .map(|map| door(scope, map, index, (), &probe).0);
            let sentiment_by_day =
                views.sentiment_by_day.as_ref().map(|map| door(scope, map, index, (), &probe).0);
            let model_quality =
                views.model_quality.as_ref().map(|map| door(scope, map, index, (), &probe).0);
            let notifications =
                views.notifications.as_ref().map(|map| door(scope, map, index, (), &probe).0);
            let load_forecast = views.load_forecast.as_ref().map(|map| {
                let standing = Standing::recalled(map, (index, scope.peers()));
                let left_out = views.left_out.clone();
                let by = |updates| bounded(updates, standing, left_out);
                door_by(scope, map, index, (), &probe, by).0
            });
            let erasures = views.erasures.as_ref().map(|map| door(scope, map, index, (), &probe).0);
            let capacity = views.capacity.as_ref().map(|map| door(scope, map, index, (), &probe).0);
            Sources {
                secret: views.secret,
                erased: views.erased.clone(),
                epoch: 0,
                probe,
                customers,
                orders,
                cases,
                volume,
                records,
                sentiment,
                sentiment_by_customer,
                sentiment_by_product,
                sentiment_by_day,
                model_quality,
                claims,
                notifications,
                load_forecast,
                health,
                erasures,
                capacity,
                counts: Vec::new(),
                days: Days::default(),
            }
        })
    }

    /// Sends (and empties) the updates at the open epoch. Volume counts, and texts by day, stay until
    /// the epoch is sealed by `advance_to`, so that they are summed once per epoch.
    pub fn send(&mut self, updates: &mut Updates) {
        if !updates.erasures.is_empty() {
            // Before anything of the epoch is complete, every fold is to know.
            let who: Vec<_> = updates.erasures.iter().map(|it| it.key).collect();
            self.erased.add(&who, self.epoch);
        }
        give(&mut self.customers, &mut updates.customers);
        give(&mut self.orders, &mut updates.orders);
        give(&mut self.cases, &mut updates.cases);
        give(&mut self.records, &mut updates.records);
        give(&mut self.sentiment, &mut updates.sentiment);
        give(&mut self.sentiment_by_customer, &mut updates.sentiment_by_customer);
        give(&mut self.sentiment_by_product, &mut updates.sentiment_by_product);
        give(&mut self.model_quality, &mut updates.model_quality);
        give(&mut self.claims, &mut updates.claims);
        give(&mut self.notifications, &mut updates.notifications);
        give(&mut self.load_forecast, &mut updates.load_forecast);
        give(&mut self.health, &mut updates.health);
        give(&mut self.erasures, &mut updates.erasures);
        give(&mut self.capacity, &mut updates.capacity);
        self.days.take(&mut updates.sentiment_by_day);
        match self.counts.iter_mut().find(|it| it.0 == updates.counted) {
            Some((_, counts)) => counts.take(&mut updates.volume),
            None => self.counts.push((updates.counted, std::mem::take(&mut updates.volume))),
        }
    }

    /// Seals the open epoch and opens `epoch` on every input.
    pub fn advance_to(&mut self, epoch: Epoch) {
        for (views, counts) in &mut self.counts {
            let into = CountsInto {
                volume: held(&mut self.volume, *views & ViewSet::VOLUME),
                load_forecast: held(&mut self.load_forecast, *views & ViewSet::LOAD_FORECAST),
                capacity: held(&mut self.capacity, *views & ViewSet::CAPACITY),
            };
            counts.drain(&self.secret, into);
        }
        let by_day = held(&mut self.sentiment_by_day, ViewSet::SENTIMENT_BY_DAY);
        self.days.drain(&self.secret, by_day);
        advance(&mut self.customers, epoch);
        advance(&mut self.orders, epoch);
        advance(&mut self.cases, epoch);
        advance(&mut self.volume, epoch);
        advance(&mut self.records, epoch);
        advance(&mut self.sentiment, epoch);
        advance(&mut self.sentiment_by_customer, epoch);
        advance(&mut self.sentiment_by_product, epoch);
        advance(&mut self.sentiment_by_day, epoch);
        advance(&mut self.model_quality, epoch);
        advance(&mut self.claims, epoch);
        advance(&mut self.notifications, epoch);
        advance(&mut self.load_forecast, epoch);
        advance(&mut self.health, epoch);
        advance(&mut self.erasures, epoch);
        advance(&mut self.capacity, epoch);
        self.epoch = epoch;
    }

    /// The frontier of everything: `less_than(&e)` while some epoch below `e` is not complete.
    pub fn probe(&self) -> &ProbeHandle<Epoch> {
        &self.probe
    }
}

/// What cases tell, by whom it is for.
struct Waiting<'s> {
    open: VecCollection<'s, Epoch, (queues::Key, Arc<queues::Open>), isize>,
    days: VecCollection<'s, Epoch, (queues::Key, i64), isize>,
    loads: VecCollection<'s, Epoch, queues::Period, queues::Load>,
}

impl<'s> Waiting<'s> {
    fn of(waits: VecCollection<'s, Epoch, Waits, queues::Load>) -> Waiting<'s> {
        let records = waits.inner;
        let open = records.clone().flat_map(|(said, epoch, load)| match said {
            Waits::Open(key, open) => Some(((key, open), epoch, load.n as isize)),
            _ => None,
        });
        let days = records.clone().flat_map(|(said, epoch, load)| match said {
            Waits::Day(key, day) => Some(((key, day), epoch, load.n as isize)),
            _ => None,
        });
        let loads = records.flat_map(|(said, epoch, load)| match said {
            Waits::Load(period) => Some((period, epoch, load)),
            _ => None,
        });
        Waiting {
            open: open.as_collection(),
            days: days.as_collection(),
            loads: loads.as_collection(),
        }
    }
}

#[cfg(test)]
mod tests;
