//! A channel of notifications under the kit's cases: a whole engine with a rule over orders, and a
//! receiver of webhooks that fails as it is told to.
//!
//! What the receiver must hold: a message of every intent that is there, no other; and one for the
//! episode that every live order is in now. The receiver looks at each attempt: an id never with
//! another body, an episode never under two ids, messages of one row in their order.

#![allow(missing_docs, unreachable_pub, dead_code, clippy::disallowed_methods)]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use millstream::config::{Settings, Sources, load};
use millstream::run::{Plan, Resolver, Running, start};
use parking_lot::Mutex;
use serde_json::Value as Json;

use crate::contract::Driven;
use crate::kit::{Temper, is_bad, until};
use crate::receiver::{self, Came, Receiver};

/// Fields that name the episode of an order.
const EPISODE: [&str; 5] = ["status", "placed_at", "delivered_at", "cancelled_at", "returned_at"];

pub struct Told {
    dir: PathBuf,
    stage: Arc<Mutex<Stage>>,
    receiver: Receiver,
    running: Option<Running>,
    rebuild: Vec<String>,
    rebuild_all: bool,
    /// Attempts that there were when it was built again.
    before: usize,
    sent: usize,
}

/// What the test and the receiver share.
struct Stage {
    temper: Temper,
    /// Ends what hangs under the temper of now.
    over: Arc<AtomicBool>,
    bodies: HashMap<String, Vec<u8>>,
    /// By tenant, row, episode, whether it is over: its id.
    episodes: HashMap<String, String>,
    /// The newest that was kept, by tenant and row.
    newest: HashMap<String, String>,
    kept: BTreeSet<String>,
    acknowledged: BTreeSet<String>,
    n_attempts: usize,
    wrong: Vec<String>,
}

impl Stage {
    fn came(&mut self, it: &Came) -> receiver::Temper {
        self.n_attempts += 1;
        let id = it.id().to_string();
        let known = self.bodies.entry(id.clone()).or_insert_with(|| it.body.clone());
        if *known != it.body {
            self.wrong.push(format!("{id} stands for something else than before"));
        }
        let json = it.json();
        let data = &json["data"];
        let of = format!("{} {}", data["tenant"], data["about"]);
        let episode = format!("{of} {} {}", data["episode"], json["type"]);
        let known = self.episodes.entry(episode.clone()).or_insert_with(|| id.clone());
        if *known != id {
            self.wrong.push(format!("{episode} is {id} and {known}"));
        }
        let about = data["about"].as_str().unwrap_or("").to_string();
        let status = receiver::Temper::status;
        let (keeps, says) = match self.temper {
            Temper::Well | Temper::AsItIs => (true, status(204)),
            Temper::FailsBefore => (false, status(500)),
            Temper::FailsAfter => (true, status(500)),
            Temper::Hangs => (false, receiver::Temper::Until(Arc::clone(&self.over))),
            Temper::HangsAfter => (true, receiver::Temper::Until(Arc::clone(&self.over))),
            Temper::Slow(time) => (true, receiver::Temper::Late(time)),
            Temper::RefusesOneOf(n) if is_bad(&about, n) => (false, status(422)),
            Temper::RefusesOneOf(_) => (true, status(204)),
            Temper::Misconfigured => (false, status(404)),
            // Nothing comes here: its name stands for another address.
            Temper::Unknown | Temper::Unfit => (false, status(418)),
        };
        if keeps && self.kept.insert(id.clone()) {
            let at = json["timestamp"].as_str().unwrap_or("").to_string();
            let newest = self.newest.entry(of.clone()).or_default();
            if at < *newest {
                self.wrong.push(format!("of {of} {at} came after {newest}"));
            }
            *newest = at;
        }
        let is_success = match &says {
            receiver::Temper::Answers(status, _) => *status < 300,
            receiver::Temper::Late(_) => true,
            _ => false,
        };
        if is_success {
            self.acknowledged.insert(id);
        }
        says
    }
}

impl Told {
    pub fn new(dir: &Path) -> Told {
        let stage = Arc::new(Mutex::new(Stage {
            temper: Temper::Well,
            over: Arc::default(),
            bodies: HashMap::new(),
            episodes: HashMap::new(),
            newest: HashMap::new(),
            kept: BTreeSet::new(),
            acknowledged: BTreeSet::new(),
            n_attempts: 0,
            wrong: Vec::new(),
        }));
        let seen = Arc::clone(&stage);
        let receiver = Receiver::start(move |it| seen.lock().came(it));
        Told {
            dir: dir.to_path_buf(),
            stage,
            receiver,
            running: None,
            rebuild: Vec::new(),
            rebuild_all: false,
            before: 0,
            sent: 0,
        }
    }

    fn settings(&self) -> Settings {
        let address = self.receiver.address;
        let episode = EPISODE.map(|it| format!("\"{it}\"")).join(", ");
        let text = format!(
            "[channels.tested]\nkind = \"webhook\"\nurl = \"http://receiver.test:{}/in\"\n\
             secret_env = \"SECRET\"\nallow = [\"{address}\"]\ntimeout = \"10s\"\n\
             [rules.moves]\nview = \"orders\"\nwhen = \"status is not none\"\n\
             episode = [{episode}]\nchannel = \"tested\"\n\
             text = \"{{{{ order }}}} is {{{{ status }}}}\"\n\
             resolved = \"{{{{ order }}}} was not as it is\"\n",
            address.port()
        );
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_string();
        let sources = Sources {
            file: Some((self.dir.join("millstream.toml"), text)),
            variables: vec![("SECRET".into(), secret)],
            ..Sources::default()
        };
        let read = load(&sources).unwrap_or_else(|it| panic!("{it:#?}"));
        let mut settings = Settings::default_in(&self.dir.join("data"));
        settings.engine.workers = 2;
        settings.state.interval = Duration::from_millis(10);
        settings.state.max_interval = Duration::from_millis(20);
        (settings.channels, settings.rules) = (read.channels, read.rules);
        settings
    }

    fn stop(&mut self) {
        self.running.take().unwrap().stop().unwrap();
    }

    fn asking(&self) -> millstream::notify::AskingChannels {
        self.running.as_ref().unwrap().channels().unwrap()
    }

    /// Rows of a view by tenant and key.
    fn rows(&self, view: &str) -> BTreeMap<(String, String), Json> {
        let running = self.running.as_ref().unwrap();
        let pin = running.read.instants.pin();
        let mut rows = BTreeMap::new();
        let view = running.read.views.iter().find(|it| it.def().name == view).unwrap();
        view.for_each(pin.epoch(), &mut |name, row| {
            let key = (name.tenant().to_string(), name.key().to_string());
            rows.insert(key, view.def().to_json(&row));
        })
        .unwrap();
        rows
    }

    fn holds_but(&self, but: &dyn Fn(&str) -> bool) -> Result<(), String> {
        let (intents, orders) = (self.rows("notifications"), self.rows("orders"));
        let stage = self.stage.lock();
        assert_eq!(stage.wrong, [""; 0]);
        let mut said = BTreeSet::new();
        for ((tenant, id), it) in &intents {
            let about = it["about"].as_str().unwrap();
            said.insert((tenant.as_str(), about, it["episode"].as_str().unwrap()));
            let ended = it["state"] == "delivered" && stage.kept.contains(id);
            if !ended && !but(about) {
                return Err(format!("{it}\nkept: {}", stage.kept.contains(id)));
            }
        }
        let others = stage.kept.iter().find(|id| !intents.keys().any(|it| it.1 == **id));
        if let Some(id) = others {
            return Err(format!("{id} was said, and is no intent"));
        }
        for ((tenant, key), it) in &orders {
            let part = |name: &&str| match &it[*name] {
                Json::String(it) => it.clone(),
                it => it.to_string(),
            };
            let episode = EPISODE.iter().map(part).collect::<Vec<_>>().join(" ");
            let is_said = said.contains(&(tenant.as_str(), key.as_str(), episode.as_str()));
            if !it["status"].is_null() && !is_said {
                return Err(format!("{tenant} {key}: nothing was said of {episode}"));
            }
        }
        Ok(())
    }

    fn planned(&self) -> BTreeSet<String> {
        let planned =
            self.rows("notifications").into_values().filter(|it| it["state"] == "planned");
        planned.map(|it| it["about"].as_str().unwrap().to_string()).collect()
    }
}

impl Driven for Told {
    fn start(&mut self) {
        let settings = self.settings();
        let mut plan = Plan::of(&settings);
        plan.serve = false;
        plan.rebuild.all = self.rebuild_all;
        plan.rebuild.views = self.rebuild.clone();
        let (stage, address) = (Arc::clone(&self.stage), self.receiver.address);
        plan.resolver = Resolver(Arc::new(move |_, port| {
            let is_fit = stage.lock().temper != Temper::Unfit;
            let elsewhere = SocketAddr::from(([10, 0, 0, 1], port));
            Box::pin(async move { Ok(vec![if is_fit { address } else { elsewhere }]) })
        }));
        self.running = Some(start(settings, plan).unwrap_or_else(|it| panic!("{it}")));
    }

    fn restart(&mut self) {
        self.stop();
        self.start();
    }

    fn rebuild(&mut self, views: &[&str]) {
        let orders = self.rows("orders");
        self.before = self.attempts();
        self.stop();
        self.rebuild = views.iter().map(|it| it.to_string()).collect();
        self.rebuild_all = views.is_empty();
        self.start();
        (self.rebuild_all, self.rebuild) = (false, Vec::new());
        until("it is built", || self.rows("orders") == orders);
        assert_eq!(self.attempts(), self.before, "what was said is not said again");
    }

    fn lived_again(&self) {
        let stage = self.stage.lock();
        assert_eq!(stage.n_attempts, stage.kept.len(), "each once, over all lives");
    }

    fn send(&mut self, lines: &[String], n: usize) {
        let some = &lines[self.sent..(self.sent + n).min(lines.len())];
        self.sent += some.len();
        let running = self.running.as_ref().unwrap();
        for block in some.chunks(40) {
            let block = block.iter().map(|it| it.clone().into_bytes()).collect();
            let append = running.append.as_ref().unwrap();
            append.append(block).unwrap().blocking_recv().unwrap().unwrap();
        }
        until("what was sent is read", || running.ledger().partitions[0].lag == 0);
    }

    fn set(&self, temper: Temper) {
        let mut stage = self.stage.lock();
        stage.over.store(true, SeqCst);
        (stage.temper, stage.over) = (temper, Arc::default());
    }

    fn attempts(&self) -> usize {
        self.stage.lock().n_attempts
    }

    fn open_ids(&self) -> BTreeSet<String> {
        let stage = self.stage.lock();
        stage.bodies.keys().filter(|it| !stage.acknowledged.contains(*it)).cloned().collect()
    }

    fn state(&self) -> String {
        self.asking().list()[0]["state"].as_str().unwrap().into()
    }

    fn alarms(&self) -> Vec<String> {
        self.asking().alarms()
    }

    fn resume(&self) {
        self.asking().resume("tested").unwrap();
    }

    fn equal(&self, but: &dyn Fn(&str) -> bool) {
        let began = Instant::now();
        while let Err(why) = self.holds_but(but) {
            let late = began.elapsed() > Duration::from_secs(300);
            assert!(!late, "the receiver never held what it must: {}\n{why}", self.asking().list());
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    fn holds(&self) -> Result<(), String> {
        self.holds_but(&|_| false)
    }

    fn acknowledged(&self) {
        until("nothing waits", || {
            self.planned().is_empty() && self.asking().list()[0]["waiting"] == 0
        });
    }

    fn aside(&self) -> Vec<String> {
        let mut keys = Vec::new();
        // Of each row the first message has been tried, and failed.
        until("all has been tried", || {
            let again = self.asking().again("tested").unwrap();
            let again = again.as_array().unwrap();
            assert!(again.iter().all(|it| it["why"] == "answered 422"), "{again:?}");
            keys = again.iter().map(|it| it["about"].as_str().unwrap().to_string()).collect();
            keys.iter().cloned().collect::<BTreeSet<_>>() == self.planned()
        });
        keys.sort();
        keys
    }

    fn retry(&self) {
        self.resume();
    }

    fn arrived(&self, _events: usize) {
        // (Of events nothing is said.) Each message once, while all is well.
        let intents = self.rows("notifications").len();
        let stage = self.stage.lock();
        assert!(intents > 100, "only {intents}");
        assert_eq!((stage.n_attempts, stage.kept.len()), (intents, intents));
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        self.set(Temper::Well);
        if let Some(running) = self.running.take() {
            // A test that has failed has said why.
            running.stop().ok();
        }
    }
}
