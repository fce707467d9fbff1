//! The lines of docs/kafka.md, typed into a shell as a newcomer would.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;

use crate::wait::{folder, seed, unique, until};

const PAGE: &str = include_str!("../../docs/kafka.md");

/// The fenced blocks of the page with this mark, in its order.
fn blocks(mark: &str) -> Vec<&'static str> {
    let fenced = PAGE.split("```").skip(1).step_by(2);
    fenced.filter_map(|it| it.split_once('\n').filter(|it| it.0 == mark).map(|it| it.1)).collect()
}

/// A shell into which lines are typed.
struct Shell {
    child: Child,
    typed: Option<ChildStdin>,
    said: BufReader<ChildStdout>,
}

impl Shell {
    /// In this folder, with these programs first on the path, and brokers in this folder.
    fn open(folder: &Path, programs: &Path, kafka: &Path) -> Shell {
        let path = std::env::var("PATH").unwrap();
        let log = std::fs::File::create(folder.join("stderr")).unwrap();
        let mut command = Command::new("bash");
        // As a terminal does: each job in a group of its own.
        command.arg("-m").current_dir(folder).stderr(log).env("MILLSTREAM_KAFKA_DIR", kafka);
        command.env("PATH", format!("{}:{path}", programs.display()));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        Shell { typed: child.stdin.take(), child, said }
    }

    /// Types these lines; what they printed, and the last one's exit code.
    fn types(&mut self, lines: &str) -> (String, i32) {
        let mark = unique("these-lines-are-done");
        let typed = self.typed.as_mut().unwrap();
        write!(typed, "{lines}\nprintf '\\n{mark} %s\\n' $?\n").unwrap();
        let (mut said, mut line) = (String::new(), String::new());
        loop {
            line.clear();
            assert!(self.said.read_line(&mut line).unwrap() > 0, "the shell ended: {said}");
            if let Some(code) = line.trim().strip_prefix(&mark) {
                return (said, code.trim().parse().unwrap());
            }
            said.push_str(&line);
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // What it has started in the background ends first; then the shell, at the end of its input.
        if let Some(mut typed) = self.typed.take() {
            writeln!(typed, "kill %1 2>/dev/null").ok();
        }
        self.child.wait().ok();
    }
}

/// Somebody with a checkout, a program on the path, and the page. Where broker and server listen
/// is this test's own, and nothing else is changed in what the page says.
struct Newcomer {
    shell: Shell,
    folder: PathBuf,
    kafka: PathBuf,
    brokers: String,
    listens: String,
}

impl Newcomer {
    fn new() -> Newcomer {
        let folder = folder("newcomer");
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        for it in ["scripts", "schemas"] {
            std::os::unix::fs::symlink(root.join(it), folder.join(it)).unwrap();
        }
        let program = Path::new(env!("CARGO_BIN_EXE_millstream"));
        let kafka = folder.join("kafka");
        // Free now, and nobody's until it listens there.
        let listens = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let shell = Shell::open(&folder, program.parent().unwrap(), &kafka);
        Newcomer { shell, folder, kafka, brokers: String::new(), listens }
    }

    /// Types a command of the page; it must succeed. What it printed.
    fn types(&mut self, command: &str) -> String {
        let own = self.with_its_own(command);
        let (said, code) = self.shell.types(&own);
        println!("$ {command}\n{said}");
        let log = || std::fs::read_to_string(self.folder.join("stderr")).unwrap();
        assert_eq!(code, 0, "{own}: {said}{}", log());
        if command.contains("scripts/kafka start") {
            let plain = said.lines().find_map(|it| it.trim().strip_prefix("plain "));
            self.brokers = plain.expect("its address").trim().to_string();
        }
        said
    }

    fn with_its_own(&self, command: &str) -> String {
        let own = |name: &str| self.kafka.join(name).display().to_string();
        let start = format!("scripts/kafka start --port auto --owner {}", std::process::id());
        let produce = format!("millstream produce --brokers {}", self.brokers);
        let (host, port) = self.brokers.rsplit_once(':').unwrap_or_default();
        let sasl_ssl = format!("{host}:{}", port.parse().map_or(0, |it: u16| it + 3));
        let mut it = command
            .replace("scripts/kafka start", &start)
            .replace("127.0.0.1:9092", &self.brokers)
            .replace("localhost:8080", &self.listens)
            .replace("millstream run", &format!("millstream run --listen {}", self.listens))
            // A cluster that asks who is there: this one does too.
            .replace("broker.example:9095", &sasl_ssl)
            .replace("ssl.ca.location=ca.pem", &format!("ssl.ca.location={}", own("tls/ca.pem")))
            .replace("sasl.username=shop", "sasl.username=scram")
            .replace("/run/secrets/kafka", &own("secrets/scram"));
        if !it.contains("--brokers") {
            it = it.replace("millstream produce", &produce);
        }
        it
    }

    /// Asks until the four lines of the ledger add up to what was sent: the page says a moment later.
    fn caught_up(&mut self, ask: &str, sent: u64) {
        let ask = self.with_its_own(ask);
        until(&format!("the ledger adds up to {sent}"), || {
            let (said, _) = self.shell.types(&ask);
            let ledger: Value = serde_json::from_str(said.trim()).unwrap();
            let lines = ledger["partitions"].as_array().unwrap().iter();
            let of: Vec<&Value> = lines.filter(|it| it["feed"] == "shop/crm.events").collect();
            let read: u64 = of.iter().map(|it| it["applied"].as_u64().unwrap()).sum();
            assert!(read <= sent, "{said}");
            (of.len() == 4 && read == sent).then_some(())
        });
    }
}

/// Goal: what docs/kafka.md tells a newcomer to type does what it says, to the last line. Method:
/// typed one by one into a shell; each must succeed, and what they print is looked at. First "From
/// nothing to rows", then every other command of the page, in its order.
#[test]
fn the_page_is_typed_by_a_newcomer() {
    seed();
    let mut it = Newcomer::new();
    let mut sent = 0;
    for command in commands(blocks("sh")[0]) {
        let said = it.types(&command);
        if command.starts_with("millstream produce") {
            sent += 100_000;
            assert!(said.starts_with("100000 records acknowledged"), "{said}");
        } else if command.contains("/v1/views/orders/O-2") {
            let row: Value = serde_json::from_str(said.trim()).unwrap();
            assert_eq!(row["row"]["order"], "O-2", "{said}");
        } else if command.contains("/v1/views/orders?") {
            let rows: Value = serde_json::from_str(said.trim()).unwrap();
            assert_eq!(rows["rows"].as_array().unwrap().len(), 2, "{said}");
        } else if command.contains("/v1/ledger") {
            it.caught_up(&command, sent);
        } else if command.contains("feed list") {
            assert_eq!(said.matches("shop/crm.events").count(), 4, "{said}");
        } else if command.starts_with("kill") {
            // Before anything else is done with its folder.
            assert_eq!(it.shell.types("wait %1").1, 0, "it ends in order");
        }
    }
    assert_eq!(sent, 200_000, "does the test still look?");

    let typed = |it: &&&str| it.starts_with("./scripts/") || it.starts_with("millstream ");
    let others: Vec<String> = blocks("").iter().filter(typed).flat_map(|it| commands(it)).collect();
    assert!(others.len() > 6, "only {others:?}: does the test still look?");
    for command in others {
        let said = it.types(&command);
        if command.starts_with("millstream produce") {
            assert!(said.starts_with("100000 records acknowledged"), "{said}");
        } else if command.starts_with("millstream replay") {
            // Sent three times in part: known by their ids.
            assert!(said.contains("400000") && said.contains("200000"), "{said}");
        }
    }
    let (said, _) = it.shell.types("millstream feed list");
    assert_eq!(said.matches("begins at the next start: earliest").count(), 4, "{said}");
    let (said, _) = it.shell.types("scripts/kafka stop; scripts/kafka status");
    assert!(said.contains("stopped"), "{said}");
}

/// Commands of a block: a line each, but for those that go on in the next one.
fn commands(block: &str) -> Vec<String> {
    let (mut found, mut open): (Vec<String>, Option<&str>) = (Vec::new(), None);
    for line in block.lines().filter(|it| !it.trim().is_empty()) {
        let goes_on = found.last().is_some_and(|it| it.ends_with('\\'));
        match found.last_mut().filter(|_| open.is_some() || goes_on) {
            Some(last) => last.extend(["\n", line]),
            None => found.push(line.to_string()),
        }
        match open {
            Some(end) if line == end => open = None,
            Some(_) => {}
            None => open = line.split_once("<<'").and_then(|it| it.1.split('\'').next()),
        }
    }
    found
}

/// Goal: the page's settings are those of the example that comes with the program. Method: its lines
/// of a cluster, without the `#` before each, up to the topics.
#[test]
fn the_page_uses_the_example() {
    let example = include_str!("../../millstream.example.toml");
    let from = example.lines().skip_while(|it| *it != "#[[kafka]]");
    let settings = from.filter(|it| !it.starts_with("# ")).map(|it| it.trim_start_matches('#'));
    let settings: Vec<&str> = settings.take(4).collect();
    assert!(
        blocks("toml").contains(&format!("{}\n", settings.join("\n")).as_str()),
        "{settings:?}"
    );
}
