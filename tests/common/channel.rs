//! A channel of notifications under the kit's cases: a whole engine with a rule over orders, and a
//! receiver of webhooks or a server of mail that fails as it is told to.
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
use millstream::notify::{Asked, Wanted};
use millstream::run::{Plan, Resolver, Running, start};
use parking_lot::Mutex;
use serde_json::Value as Json;

use crate::contract::Driven;
use crate::kit::{Temper, is_bad, until};
use crate::postbox::{self, Mail, Postbox, Step, Way};
use crate::receiver::{self, Came, Receiver};

/// Fields that name the episode of an order.
const EPISODE: [&str; 5] = ["status", "placed_at", "delivered_at", "cancelled_at", "returned_at"];

pub struct Told {
    dir: PathBuf,
    stage: Arc<Mutex<Stage>>,
    /// Where it listens, and its table of the settings.
    address: SocketAddr,
    channel: String,
    /// What it does not take it will never take: it is not offered again by itself.
    is_final: bool,
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
    /// When the newest that was kept was decided, by tenant and row.
    newest: HashMap<String, i64>,
    kept: BTreeSet<String>,
    acknowledged: BTreeSet<String>,
    n_attempts: usize,
    wrong: Vec<String>,
}

/// An attempt, as it came.
struct Heard {
    id: String,
    body: Vec<u8>,
    tenant: String,
    about: String,
    /// Whether it is over, too.
    episode: String,
    at: String,
}

impl Heard {
    fn webhook(it: &Came) -> Heard {
        let json = it.json();
        let data = |name: &str| json["data"][name].as_str().unwrap_or("").to_string();
        Heard {
            id: it.id().to_string(),
            body: it.body.clone(),
            tenant: data("tenant"),
            about: data("about"),
            episode: format!("{} {}", data("episode"), json["type"]),
            at: json["timestamp"].as_str().unwrap_or("").to_string(),
        }
    }

    fn mail(it: &Mail) -> Heard {
        let over = !it.headers("In-Reply-To").is_empty();
        Heard {
            id: it.header("Millstream-Message"),
            body: it.text.clone().into_bytes(),
            tenant: it.field("tenant"),
            about: it.field("about"),
            episode: format!("{} {over}", it.field("episode")),
            at: it.field("decided at"),
        }
    }
}

/// What is answered, whatever the language.
enum Says {
    Well,
    Late(Duration),
    Fails,
    Hangs(Arc<AtomicBool>),
    NotThis,
    NotUs,
    Strange,
}

impl Stage {
    /// Whether it is kept, and what is said.
    fn came(&mut self, it: Heard) -> (bool, Says) {
        self.n_attempts += 1;
        let Heard { id, about, at, .. } = it;
        let known = self.bodies.entry(id.clone()).or_insert_with(|| it.body.clone());
        if *known != it.body {
            self.wrong.push(format!("{id} stands for something else than before"));
        }
        let of = format!("{} {about}", it.tenant);
        let episode = format!("{of} {}", it.episode);
        let known = self.episodes.entry(episode.clone()).or_insert_with(|| id.clone());
        if *known != id {
            self.wrong.push(format!("{episode} is {id} and {known}"));
        }
        let hangs = || Says::Hangs(Arc::clone(&self.over));
        let (keeps, says) = match self.temper {
            Temper::Well | Temper::AsItIs => (true, Says::Well),
            Temper::FailsBefore => (false, Says::Fails),
            Temper::FailsAfter => (true, Says::Fails),
            Temper::Hangs => (false, hangs()),
            Temper::HangsAfter => (true, hangs()),
            Temper::Slow(time) => (true, Says::Late(time)),
            Temper::RefusesOneOf(n) if is_bad(&about, n) => (false, Says::NotThis),
            Temper::RefusesOneOf(_) => (true, Says::Well),
            Temper::Misconfigured => (false, Says::NotUs),
            // (Where it is unfit nothing comes here: its name stands for another address.)
            Temper::Unknown | Temper::Unfit => (false, Says::Strange),
        };
        if keeps && self.kept.insert(id.clone()) {
            // Instants, not texts: `.8Z` is before `.8001Z`.
            let at = schemas::time::parse_rfc3339(&at).unwrap();
            let newest = self.newest.entry(of.clone()).or_insert(at);
            if at < *newest {
                self.wrong.push(format!("of {of} {at} came after {newest}"));
            }
            *newest = at;
        }
        if matches!(says, Says::Well | Says::Late(_)) {
            self.acknowledged.insert(id);
        }
        (keeps, says)
    }
}

fn by_http((_, says): (bool, Says)) -> receiver::Temper {
    let status = receiver::Temper::status;
    match says {
        Says::Well => status(204),
        Says::Late(time) => receiver::Temper::Late(time),
        Says::Fails => status(500),
        Says::Hangs(over) => receiver::Temper::Until(over),
        Says::NotThis => status(422),
        Says::NotUs => status(404),
        Says::Strange => status(418),
    }
}

fn by_mail((keeps, says): (bool, Says)) -> postbox::Temper {
    use postbox::Temper::{KeepsBut, KeepsUntil, Says as Answers, Takes, Until};
    match says {
        Says::Well => Takes,
        Says::Late(time) => postbox::Temper::Late(time),
        Says::Fails if keeps => KeepsBut("451 4.3.0 it failed"),
        Says::Fails => Answers("451 4.3.0 it failed"),
        Says::Hangs(over) if keeps => KeepsUntil(over),
        Says::Hangs(over) => Until(over),
        Says::NotThis => Answers("554 5.6.0 not this one"),
        Says::NotUs => Answers("554 5.7.1 not from you"),
        Says::Strange => Answers("what?"),
    }
}

fn stage() -> Arc<Mutex<Stage>> {
    Arc::new(Mutex::new(Stage {
        temper: Temper::Well,
        over: Arc::default(),
        bodies: HashMap::new(),
        episodes: HashMap::new(),
        newest: HashMap::new(),
        kept: BTreeSet::new(),
        acknowledged: BTreeSet::new(),
        n_attempts: 0,
        wrong: Vec::new(),
    }))
}

impl Told {
    /// With a receiver of webhooks.
    pub fn webhook(dir: &Path) -> Told {
        let stage = stage();
        let seen = Arc::clone(&stage);
        let receiver = Receiver::start(move |it| by_http(seen.lock().came(Heard::webhook(it))));
        let address = receiver.address;
        let channel = format!(
            "kind = \"webhook\"\nurl = \"http://receiver.test:{}/in\"\nsecret_env = \"SECRET\"\n",
            address.port()
        );
        Told::new(dir, (stage, address), channel, false)
    }

    /// With a server of mail, by STARTTLS.
    pub fn email(dir: &Path) -> Told {
        let stage = stage();
        let seen = Arc::clone(&stage);
        let postbox = Postbox::start(Way::Starttls, move |step| match step {
            Step::Text(it) => by_mail(seen.lock().came(Heard::mail(it))),
            _ => postbox::Temper::Takes,
        });
        let (address, root) = (postbox.address, env!("CARGO_MANIFEST_DIR"));
        // (Its certificate is for this name; who resolves it is the test.)
        let channel = format!(
            "kind = \"email\"\nserver = \"localhost:{}\"\ntls = \"starttls\"\n\
             ca_file = \"{root}/tests/common/tls/ca.pem\"\nuser = \"kit\"\n\
             password_env = \"SECRET\"\nfrom = \"a@example.org\"\nto = [\"b@example.org\"]\n",
            address.port()
        );
        Told::new(dir, (stage, address), channel, true)
    }

    fn new(
        dir: &Path,
        (stage, address): (Arc<Mutex<Stage>>, SocketAddr),
        channel: String,
        is_final: bool,
    ) -> Told {
        Told {
            dir: dir.to_path_buf(),
            stage,
            address,
            channel,
            is_final,
            running: None,
            rebuild: Vec::new(),
            rebuild_all: false,
            before: 0,
            sent: 0,
        }
    }

    fn settings(&self) -> Settings {
        let (address, channel) = (self.address, &self.channel);
        let episode = EPISODE.map(|it| format!("\"{it}\"")).join(", ");
        let text = format!(
            "[channels.tested]\n{channel}allow = [\"{address}\"]\ntimeout = \"10s\"\n\
             [rules.moves]\nview = \"orders\"\nwhen = \"status is not none\"\n\
             episode = [{episode}]\nchannel = \"tested\"\n\
             text = \"{{{{ order }}}} is {{{{ status }}}}\"\n\
             resolved = \"{{{{ order }}}} was not as it is\"\n"
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
        let (stage, address) = (Arc::clone(&self.stage), self.address);
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
        if self.is_final {
            until("all has an answer", || self.planned().is_empty());
            let rows = self.rows("notifications").into_values();
            for it in rows.filter(|it| it["state"] == "refused") {
                let why = it["answer"].as_str().unwrap();
                assert_eq!(why, "answered 554 to the text: 5.6.0 not this one");
                keys.push(it["about"].as_str().unwrap().to_string());
            }
            keys.sort();
            keys.dedup();
            return keys;
        }
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
        if self.is_final {
            let asking = self.running.as_ref().unwrap().notifications().unwrap();
            let told = asking.act(Wanted::Retry, &Asked::default()).unwrap();
            assert!(told["n"].as_u64().unwrap() > 0 && told["more"] == false, "{told}");
        }
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
