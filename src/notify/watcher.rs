//! The thread that looks at what changed, decides, and writes decisions down.
//!
//! ```text
//!  complete epochs ─▶ changes of the watched views ─▶ planner ─▶ intents ─┐ one block of own facts,
//!        ▲                                                                 ▼ fsynced
//!        └── planned up to here ◀── checkpoints wait for this ◀────── embedded log
//!                                   view of intents ─▶ what is planned ─▶ channels
//! ```
//!
//! # Invariants
//! - **No checkpoint without its intents**: what rules make of the epochs up to a checkpoint is
//!   durable before the checkpoint is. So a start looks from its checkpoint on, and misses nothing.
//! - Nothing is decided before the views include what the log held at the start: what an earlier
//!   process decided is seen.
//!
//! # When it fails
//! A log that takes nothing holds decisions, and with them checkpoints; when reading has run ahead
//! by more than they may, it is held back too. Changes that are no longer kept are told
//! (`notify/lost`): rules were not shown them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use parking_lot::Mutex;
use schemas::names::Name;
use schemas::reading::{Gone, Known, Pin, Side, ViewReader};
use schemas::rows::{Row, Value};
use schemas::scanning::Scan;

use super::group::{GROUPED, Groups};
use super::intent::{self, Answer, Intent, Terms};
use super::mail::{Item, WINDOW};
use super::planner::Planner;
use super::reload::{Fresh, Slot};
use super::rule::Rule;
use super::send::Waiting;
use super::unsaid::{TEMPLATE, Unsaid};
use super::{AppendFacts, Reject};
use crate::messages::{AppendRefused, Epoch, ReadHandle};
use crate::report::{Report, log_report};

/// Decided at once: one block of the log.
const BLOCK: usize = 256;
/// Between two looks where nothing says that an epoch is complete.
const LOOK: Duration = Duration::from_millis(2);
/// A log that takes nothing is asked again after so long.
const LOG_PAUSE: Duration = Duration::from_millis(50);
/// How long an epoch is held while the log takes nothing.
const LEASE_MS: u64 = 5_000;

/// Messages that were forgotten, counted beside what they ended as.
const FORGOTTEN: &str = "forgotten";

/// How many intents there are, by state; what `/v1/ledger` shows. Those that were forgotten stay
/// counted as what they ended as, and are counted once more by themselves.
pub type Counts = BTreeMap<String, i64>;

/// What the watcher is made of.
pub(super) struct Watcher {
    pub(super) planner: Planner,
    pub(super) read: ReadHandle,
    /// The view of intents.
    pub(super) view: Arc<dyn ViewReader>,
    pub(super) append: AppendFacts,
    pub(super) channels: HashMap<String, Arc<Waiting>>,
    /// What it is to go on with.
    pub(super) reload: Slot,
    /// Positions below are to be in the views before anything is decided.
    pub(super) needed: u64,
    /// The epoch of the state that was put back, leased; 0: there was none.
    pub(super) from: Epoch,
    pub(super) now_ms: Arc<dyn Fn() -> u64 + Send + Sync>,
    pub(super) is_building: Arc<dyn Fn(&str) -> bool + Send + Sync>,
    pub(super) planned: Arc<AtomicU64>,
    pub(super) counts: Arc<Mutex<Counts>>,
    pub(super) stop: Arc<AtomicBool>,
    /// Decided, and not shown by the view yet: from which position on it is, and whether it is sent.
    pub(super) recent: HashMap<Name, (u64, bool)>,
    /// After the instant of the newest decision: those about one subject have an order.
    pub(super) said_at: i64,
    /// Texts that could not be made.
    pub(super) unsaid: Unsaid,
    /// Keeps them.
    pub(super) reject: Reject,
    /// Windows in which many become one.
    pub(super) groups: Groups,
    /// Of the fields of the view of intents.
    pub(super) places: Places,
    /// Every message is counted as it was then; what changed since is counted as it is seen.
    pub(super) counted: Epoch,
    /// Looked at up to here, and what holds it.
    pub(super) at: Epoch,
    pub(super) held: Option<Pin>,
}

/// Where the fields stand that are looked at.
#[derive(Clone, Copy)]
pub(super) struct Places {
    state: usize,
    rule: usize,
    about: usize,
    channel: usize,
    planned_at: usize,
    due_at: usize,
    answer: usize,
    corrects: usize,
    text: usize,
}

impl Places {
    pub(super) fn of(view: &dyn ViewReader) -> Option<Places> {
        let of = |name: &str| view.def().position(name);
        Some(Places {
            state: of("state")?,
            rule: of("rule")?,
            about: of("about")?,
            channel: of("channel")?,
            planned_at: of("planned_at")?,
            due_at: of("due_at")?,
            answer: of("answer")?,
            corrects: of("corrects")?,
            text: of("text")?,
        })
    }
}

fn text(row: &Row, place: usize) -> &str {
    match &row.values[place] {
        Value::Text(it) => it,
        _ => "",
    }
}

fn time(row: &Row, place: usize) -> i64 {
    match row.values[place] {
        Value::Time(it) => it,
        _ => 0,
    }
}

fn millis(micros: i64) -> u64 {
    micros.max(0).cast_unsigned() / 1_000
}

impl Watcher {
    /// Looks until told to stop.
    pub(super) fn run(mut self) {
        if !self.begin() {
            return;
        }
        while !self.stop.load(SeqCst) {
            let fresh = self.reload.lock().take();
            if let Some(fresh) = fresh {
                self.go_on_with(fresh);
            }
            let now = self.read.instants.pin();
            if now.epoch() <= self.at {
                drop(now);
                self.refill();
                std::thread::park_timeout(LOOK);
                continue;
            }
            self.look(now);
        }
    }

    /// Waits until the views include what was decided before, and looks at what there is.
    fn begin(&mut self) -> bool {
        let pin = loop {
            if self.stop.load(SeqCst) {
                return false;
            }
            let pin = self.read.instants.pin();
            // While the view of intents is built again one may be without its answer.
            let is_whole = !(self.is_building)(self.view.def().name);
            if is_whole && (self.read.as_of)(pin.epoch()).position >= self.needed {
                break pin;
            }
            drop(pin);
            std::thread::park_timeout(LOOK);
        };
        let epoch = pin.epoch();
        // Rows are not gathered: there may be millions.
        let (mut spoke, mut homeless) = (HashMap::<(usize, Name), u64>::new(), Vec::new());
        let places = self.places;
        let (mut counts, mut groups) = (Counts::new(), Groups::default());
        let (rules, channels) = (self.planner.rules(), &self.channels);
        let of_name: HashMap<&str, (usize, &Rule)> =
            rules.iter().enumerate().map(|it| (it.1.settings.name.as_str(), it)).collect();
        let mut see = |name: &Name, known: Known| {
            let row = match known {
                Known::Row(row) => row,
                Known::Left(ended) => {
                    *counts.entry(ended.to_string()).or_default() += 1;
                    *counts.entry(FORGOTTEN.to_string()).or_default() += 1;
                    return;
                }
            };
            *counts.entry(text(&row, places.state).to_string()).or_default() += 1;
            let is_held = text(&row, places.state) == "suppressed";
            let begins = row.values[places.corrects] == Value::Null
                && (!is_held || text(&row, places.answer) == GROUPED);
            if let Some(rule) = of_name.get(text(&row, places.rule)).filter(|_| begins) {
                let until = is_held.then(|| millis(time(&row, places.due_at)));
                let at_ms = millis(time(&row, places.planned_at));
                groups.was(*rule, name.tenant(), (at_ms, until), text(&row, places.text));
            }
            let state = text(&row, places.state);
            if state == "planned" {
                match channels.get(text(&row, places.channel)) {
                    Some(waiting) => waiting.mail.lock().look(),
                    None => homeless.push(name.clone()),
                }
            }
            // That something is over is no reason to be quiet about what comes next.
            let speaks = state != "suppressed" && row.values[places.corrects] == Value::Null;
            let rule = of_name.get(text(&row, places.rule));
            if let Some((rule, it)) = rule.filter(|_| speaks)
                && !it.settings.quiet.is_zero()
            {
                let subject = Name::new(name.tenant(), text(&row, places.about));
                let newest = spoke.entry((*rule, subject)).or_default();
                *newest = millis(time(&row, places.planned_at)).max(*newest);
            }
        };
        let mut scan = Scan::default();
        while !scan.over {
            if self.view.each_known(epoch, &mut scan, &mut see).is_err() {
                self.lost(self.view.def().name, epoch, epoch);
                break;
            }
        }
        *self.counts.lock() = counts;
        self.counted = epoch;
        let is_there =
            |it: &Name| matches!(self.view.known(it.tenant(), it.key(), epoch), Ok(Some(_)));
        groups.begin(rules, is_there);
        self.groups = groups;
        self.planner.spoke(spoke);
        self.refuse(&homeless);
        self.refill();
        let fresh = self.look_at_all(epoch);
        let fresh = self.grouped(fresh, epoch);
        if self.from == 0 || self.from >= epoch {
            // Nothing was put back: all there is was looked at.
            (self.at, self.held) = (epoch, Some(pin));
            if self.decide(fresh) {
                self.planned.store(epoch, SeqCst);
            }
            return true;
        }
        self.at = self.from;
        if self.decide(fresh) {
            self.look(pin);
        }
        true
    }

    /// Other rules and channels, from the epoch on up to which was looked.
    fn go_on_with(&mut self, fresh: Fresh) {
        let at = self.at;
        let old = std::mem::replace(&mut self.planner, Planner::new(fresh.rules));
        let (differs, places) = self.planner.take_over(old);
        self.groups.take_over(&places);
        let before = std::mem::replace(&mut self.channels, fresh.channels);
        let gone = |name: &str| before.contains_key(name) && !self.channels.contains_key(name);
        if before.keys().any(|it| gone(it)) {
            let (places, mut found) = (self.places, Vec::new());
            let pin = self.read.instants.pin();
            let read = self.view.for_each(pin.epoch(), &mut |name, row| {
                if text(&row, places.state) == "planned" && gone(text(&row, places.channel)) {
                    found.push(name.clone());
                }
            });
            if read.is_err() {
                self.lost(self.view.def().name, at, pin.epoch());
            }
            drop(pin);
            self.refuse(&found);
        }
        let mut intents = Vec::new();
        for view in self.planner.views() {
            let reader = Arc::clone(&self.read.views[view]);
            if !self.planner.speaks_of_what_is(view) || (self.is_building)(reader.def().name) {
                continue;
            }
            let planner = &mut self.planner;
            let read = reader.for_each(at, &mut |name, row| {
                planner.is_so(view, name, &row, at, &mut intents);
            });
            if read.is_err() {
                self.lost(reader.def().name, at, at);
            }
        }
        let intents = self.not_known(intents, at);
        let intents = self.grouped(intents, at);
        self.decide(intents);
        tracing::info!(
            from = at,
            added = ?differs.added,
            changed = ?differs.changed,
            removed = ?differs.removed,
            "other rules decide"
        );
        // Whoever asked may be gone.
        drop(fresh.told.send((at, differs)));
    }

    /// What waits to settle, and what rules speak of although it is so already.
    fn look_at_all(&mut self, now: Epoch) -> Vec<Intent> {
        let (from, anew) = if self.from == 0 { (now, true) } else { (self.from, false) };
        let mut intents = Vec::new();
        for view in self.planner.views() {
            let reader = Arc::clone(&self.read.views[view]);
            if !self.planner.looks_at_all(view, anew) || (self.is_building)(reader.def().name) {
                continue;
            }
            let planner = &mut self.planner;
            let read = reader.for_each(from, &mut |name, row| {
                planner.found(view, name, &row, (from, anew), &mut intents);
            });
            if read.is_err() {
                self.lost(reader.def().name, from, now);
            }
        }
        self.not_known(intents, now)
    }

    /// What changed since the last look.
    fn look(&mut self, now: Pin) {
        let (last, epoch) = (self.at, now.epoch());
        let position = (self.read.as_of)(epoch).position;
        self.recent.retain(|_, it| it.0 > position);
        for waiting in self.channels.values() {
            waiting.mail.lock().shown(position);
        }
        let mut intents = Vec::new();
        for view in self.planner.views() {
            let reader = Arc::clone(&self.read.views[view]);
            if (self.is_building)(reader.def().name) {
                continue;
            }
            let sieve = self.planner.sieve(view);
            let planner = &mut self.planner;
            let mut wants = |old: Side<'_>, new: Side<'_>| sieve.wants(old, new);
            let read = reader.changes_where(
                (last, epoch),
                (&sieve.fields, &mut wants),
                &mut |name, old, new| {
                    planner.see(view, name, (old.as_ref(), new.as_ref()), epoch, &mut intents);
                },
            );
            if let Err(Gone { .. }) = read {
                self.lost(reader.def().name, last, epoch);
            }
        }
        let readers = Arc::clone(&self.read.views);
        let row = |view: usize, name: &Name| {
            readers[view].get(name.tenant(), name.key(), epoch).ok().flatten()
        };
        self.planner.settled(epoch, &row, &mut intents);
        self.follow(last, epoch);
        let fresh = self.not_known(intents, epoch);
        let fresh = self.grouped(fresh, epoch);
        // What was held before is not needed any more; this is, until the next look.
        (self.at, self.held) = (epoch, Some(now));
        if self.decide(fresh) {
            self.planned.store(epoch, SeqCst);
        }
        self.refill();
    }

    /// The view of intents: what is planned goes to its channel, and everything is counted.
    fn follow(&mut self, last: Epoch, epoch: Epoch) {
        let places = self.places;
        // Of each channel what is new, as long as its window has room for it: rows are not gathered.
        let mut planned: HashMap<String, Vec<(i64, Item)>> = HashMap::new();
        let (mut homeless, mut left) = (Vec::new(), Vec::new());
        let channels = &self.channels;
        let counts = Arc::clone(&self.counts);
        let mut counts = counts.lock();
        // A start counts all there is, and then looks from an epoch before that on.
        let counting = last >= self.counted;
        let read = self.view.changes(last, epoch, &mut |name, old, new| {
            let state =
                |row: &Option<Row>| row.as_ref().map(|it| text(it, places.state).to_string());
            let (was, is) = (state(&old), state(&new));
            if was == is {
                return;
            }
            if is.is_none() {
                left.extend(was.filter(|_| counting).map(|was| (name.clone(), was)));
                return;
            }
            if let Some(was) = was.filter(|_| counting) {
                *counts.entry(was).or_default() -= 1;
            }
            if let (Some(is), Some(row)) = (is, new) {
                let channel = text(&row, places.channel);
                match channels.get(channel).filter(|_| is == "planned") {
                    Some(_) => {
                        let of_channel = planned.entry(channel.to_string()).or_default();
                        if of_channel.len() <= WINDOW {
                            let item = item(name, &row, places);
                            of_channel.push((time(&row, places.planned_at), item));
                        }
                    }
                    None if is == "planned" => homeless.push(name.clone()),
                    None => {}
                }
                if counting {
                    *counts.entry(is).or_default() += 1;
                }
            }
        });
        for (name, was) in left {
            // Forgotten: it ended as it ended. Or whose it was is erased: then nothing tells of it.
            match self.view.known(name.tenant(), name.key(), epoch) {
                Ok(Some(_)) => *counts.entry(FORGOTTEN.to_string()).or_default() += 1,
                _ => *counts.entry(was).or_default() -= 1,
            }
        }
        drop(counts);
        if read.is_err() {
            self.lost(self.view.def().name, last, epoch);
        }
        for (channel, mut items) in planned {
            let Some(waiting) = self.channels.get(&channel) else { continue };
            let mut mail = waiting.mail.lock();
            if items.len() > WINDOW {
                // They are not the oldest: those are looked for in the view.
                mail.look();
            } else {
                items.sort_by(|a, b| (a.0, &a.1.name).cmp(&(b.0, &b.1.name)));
                items.into_iter().for_each(|it| mail.add(it.1));
            }
            drop(mail);
            waiting.bell.notify_one();
        }
        self.refuse(&homeless);
    }

    /// Of messages whose channel the settings do not have.
    fn refuse(&mut self, names: &[Name]) {
        for block in names.chunks(BLOCK) {
            let at = micros((self.now_ms)());
            let events = block.iter().map(|name| {
                let answer = Answer {
                    message: (name.tenant(), name.key()),
                    outcome: "refused",
                    reason: Some("the settings have no such channel"),
                    attempts: 0,
                    at,
                };
                answer.event()
            });
            let events = events.collect();
            if self.write(events).is_none() {
                return;
            }
        }
    }

    /// A window that has room is filled from the view: the oldest first.
    fn refill(&mut self) {
        let wants: Vec<(String, Arc<Waiting>)> = (self.channels.iter())
            .filter(|(_, it)| it.mail.lock().wants_more())
            .map(|(name, it)| (name.clone(), Arc::clone(it)))
            .collect();
        if wants.is_empty() {
            return;
        }
        let pin = self.read.instants.pin();
        let places = self.places;
        let mut found: HashMap<String, BTreeMap<(i64, Name), Item>> = HashMap::new();
        let mut cut: HashMap<String, bool> = HashMap::new();
        let read = self.view.for_each(pin.epoch(), &mut |name, row| {
            let channel = text(&row, places.channel);
            let wanted = wants.iter().any(|it| it.0 == channel);
            if text(&row, places.state) != "planned" || !wanted {
                return;
            }
            let oldest = found.entry(channel.to_string()).or_default();
            oldest.insert((time(&row, places.planned_at), name.clone()), item(name, &row, places));
            if oldest.len() > WINDOW {
                oldest.pop_last();
                cut.insert(channel.to_string(), true);
            }
        });
        drop(pin);
        if read.is_err() {
            return;
        }
        for (name, waiting) in wants {
            let oldest = found.remove(&name).unwrap_or_default();
            let all = !cut.contains_key(&name);
            waiting.mail.lock().refill(oldest.into_values().collect(), all);
            waiting.bell.notify_one();
        }
    }

    /// Those that neither the view has nor we decided before; corrections of what was never said
    /// are none.
    fn not_known(&self, intents: Vec<Intent>, epoch: Epoch) -> Vec<Intent> {
        let (view, state) = (&self.view, self.places.state);
        // Whether it is there, and sent.
        let known = |tenant: &str, id: &str, these: &[Intent]| {
            let name = Name::new(tenant, id);
            if let Some((_, sent)) = self.recent.get(&name) {
                return Some(*sent);
            }
            if let Some(it) = these.iter().find(|it| it.id == id && it.subject.tenant() == tenant) {
                return Some(it.suppressed.is_none());
            }
            match view.known(tenant, name.key(), epoch).ok().flatten()? {
                Known::Row(row) => Some(text(&row, state) != "suppressed"),
                Known::Left(ended) => Some(ended != "suppressed"),
            }
        };
        let mut fresh: Vec<Intent> = Vec::with_capacity(intents.len());
        for it in intents {
            let tenant = it.subject.tenant();
            // Looked for among those of this look only where it can be there.
            let these = if it.corrects.is_some() { &fresh[..] } else { &[] };
            let said = it.corrects.as_ref().is_none_or(|id| known(tenant, id, these) == Some(true));
            if said && known(tenant, &it.id, &[]).is_none() {
                fresh.push(it);
            }
        }
        fresh
    }

    /// Of many like ones one with a count.
    fn grouped(&mut self, mut fresh: Vec<Intent>, epoch: Epoch) -> Vec<Intent> {
        let mut counted = Vec::new();
        self.groups.over(self.planner.rules(), epoch, &mut counted);
        self.groups.hold(self.planner.rules(), epoch, &mut fresh);
        fresh.extend(self.not_known(counted, epoch));
        fresh
    }

    /// Writes decisions down; false: the end came first.
    fn decide(&mut self, intents: Vec<Intent>) -> bool {
        for block in intents.chunks(BLOCK) {
            // An instant for each: what is sent first is what was decided first.
            let since = micros((self.now_ms)()).max(self.said_at);
            self.said_at = since.saturating_add(block.len() as i64);
            let events = (since..).zip(block).map(|(at, it)| {
                let rule = &self.planner.rules()[it.rule];
                let expires = (self.channels.get(&rule.settings.channel))
                    .map_or(Duration::ZERO, |it| it.live().settings.expires);
                let expires = i64::try_from(expires.as_micros()).unwrap_or(i64::MAX);
                let terms = Terms {
                    rule: &rule.settings.name,
                    version: &rule.version,
                    view: rule.def.name,
                    channel: &rule.settings.channel,
                    severity: rule.settings.severity,
                    expires: at.saturating_add(expires),
                };
                intent::planned(it, &terms, at)
            });
            let events: Vec<_> = events.collect();
            let unsaid = |n: &usize| block[*n].suppressed == Some(TEMPLATE);
            let unsaid: HashMap<usize, Vec<u8>> =
                (0..block.len()).filter(unsaid).map(|n| (n, events[n].clone())).collect();
            let Some(position) = self.write(events) else { return false };
            let first = position - block.len() as u64;
            for (n, it) in block.iter().enumerate() {
                let name = Name::new(it.subject.tenant(), &it.id);
                self.recent.insert(name, (position, it.suppressed.is_none()));
                let problem = self.unsaid.tell(&self.planner.rules()[it.rule], it);
                if let (Some(problem), Some(event)) = (problem, unsaid.get(&n)) {
                    (self.reject)(first + n as u64, problem, event.clone());
                }
            }
        }
        true
    }

    /// Offers own facts to the log until it has them; none: the end came first.
    fn write(&mut self, events: Vec<Vec<u8>>) -> Option<u64> {
        let mut told = false;
        loop {
            let why: Option<Report> = match (self.append)(events.clone()) {
                Ok(answer) => match answer.blocking_recv() {
                    Ok(Ok(appended)) => return Some(appended.next),
                    Ok(Err(AppendRefused::Failed(report))) => Some(report),
                    Ok(Err(AppendRefused::Busy(_))) | Err(_) => None,
                },
                Err(AppendRefused::Failed(report)) => Some(report),
                Err(AppendRefused::Busy(_)) => None,
            };
            if self.stop.load(SeqCst) {
                return None;
            }
            if let Some(report) = why
                && !std::mem::replace(&mut told, true)
            {
                log_report!(error, report, "what rules decided waits for the log");
            }
            // A pin is for milliseconds: from here on a lease holds the epoch, which gives way
            // where it would hold too much.
            if self.read.instants.lease(self.at, (self.now_ms)(), LEASE_MS).is_ok() {
                self.held = None;
            }
            std::thread::park_timeout(LOG_PAUSE);
        }
    }

    fn lost(&self, view: &str, last: Epoch, now: Epoch) {
        tracing::error!(
            code = "notify/lost",
            view,
            last,
            now,
            "changes are no longer kept: rules were not shown them"
        );
    }
}

fn micros(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(1_000)
}

fn item(name: &Name, row: &Row, places: Places) -> Item {
    Item {
        name: name.clone(),
        about: text(row, places.about).to_string(),
        attempts: 0,
        due_ms: millis(time(row, places.due_at)),
        why: String::new(),
    }
}
