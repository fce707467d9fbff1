//! What is said of settings, as text tables: the file, the variables, the flags, every problem at
//! once, and the page that documents them.

use std::path::{Path, PathBuf};

use millstream::config::{self, Settings, Sources, page, table};

/// The problems of a file, one line each: `line setting: code; why (nearest)`.
fn problems(sources: &Sources) -> Vec<String> {
    let Err(problems) = config::load(sources) else { return Vec::new() };
    let tell = |it: &config::ConfigProblem| {
        let place = match &it.place {
            config::Place::File { line, .. } => line.to_string(),
            config::Place::Variable(name) => name.clone(),
            config::Place::Flag(flag) => flag.clone(),
        };
        let nearest = it.nearest.as_deref().map_or(String::new(), |it| format!(" ({it}?)"));
        let code = it.report().code;
        format!("{place} {}: {code}: {}, found {}{nearest}", it.setting, it.expected, it.found)
    };
    problems.iter().map(tell).collect()
}

fn file(text: &str) -> Sources {
    let text = text.lines().map(str::trim).collect::<Vec<_>>().join("\n");
    Sources { file: Some((PathBuf::from("etc/millstream.toml"), text)), ..Sources::default() }
}

/// Goal: every problem of a file is told, with its line and the nearest name. Method: a table; the
/// expected words are beginnings.
#[test]
fn problems_are_told_all_at_once() {
    let check = |text: &str, expected: &[&str]| {
        let told = problems(&file(text));
        let same = told.len() == expected.len()
            && told.iter().zip(expected).all(|(told, want)| told.starts_with(want));
        assert!(same, "{text}\ntold: {told:#?}\nexpected: {expected:#?}");
    };
    check("", &[]);
    check("[engine]\nworkers = 2\nviews = [\"orders\"]\n[serve]\nlisten = \"0.0.0.0:80\"", &[]);
    check(
        "[engine]\nworker = 2\n\n[log]\nretention = 30\nmax_bytes = \"64 GB!\"",
        &[
            "2 engine.worker: config/name: one of workers, views, epoch_period",
            "5 log.retention: config/value: a duration with its unit (us, ms, s, min, h, d) such \
             as \"500ms\", from 1min to 4000d, found the plain number 30",
            "6 log.max_bytes: config/value: a size with its unit (B, KiB, MiB, GiB, TiB, kB, MB, \
             ..) such as \"64 MiB\", from 16 MiB to 1024 TiB, found \"64 GB!\"",
        ],
    );
    check("[engine]\nworkers = 0", &["2 engine.workers: config/value: a whole number from 1 to"]);
    check("[engine]\nworkers = \"2\"", &["2 engine.workers: config/value: a whole number"]);
    check(
        "[engine]\nworkers = 1.5",
        &["2 engine.workers: config/value: a whole number from 1 to 256, found the fraction 1.5"],
    );
    check("[engin]\nworkers = 2", &["1 engin: config/name: one of the sections engine, log"]);
    check("workers = 2", &["1 workers: config/name: data_dir, or a setting of a section"]);
    check("engine = 3", &["1 engine: config/value: a section, found the plain number 3"]);
    check("[serve]\nlisten = \"8080\"", &["2 serve.listen: config/value: an IP address and port"]);
    check("[engine]\nworkers = ", &["2 : config/syntax: TOML"]);
    check("[engine]\nworkers = 1\nworkers = 2", &["3 : config/syntax: TOML, found duplicate key"]);
    check(
        "[log]\nsegment_bytes = \"1 GiB\"\nmax_bytes = \"512 MiB\"",
        &["2 log.segment_bytes: config/conflict: at most log.max_bytes, which is \"512 MiB\""],
    );
    check(
        "[[feed]]\nname = \"orders\"\npth = \"a\"\n[[feed]]\nname = \"log\"\npath = \"b\"\n\
         [[feed]]\nname = \"x\"",
        &[
            "3 feed.pth: config/name: one of name, path, mapping, found \"pth\" (path?)",
            "4 feed.name: config/value: a name that is not ours (log, rejects, replay)",
            "7 feed: config/value: `name` and `path`, found a feed without `path`",
        ],
    );
    check(
        "[[feed]]\nname = \"a\"\npath = \"a\"\n[[feed]]\nname = \"a\"\npath = \"b\"",
        &["4 feed.name: config/conflict: a name that no other feed has"],
    );
}

/// Goal: what of a `[[kafka]]` cannot be used is told, all of it, with its line; a setting that would
/// break a promise is refused with the promise; passwords come from elsewhere and are not shown.
#[test]
fn kafka_feeds_are_checked() {
    let check = |text: &str, expected: &[&str]| {
        let mut sources = file(&format!("[[kafka]]\n{text}"));
        sources.variables = vec![("SECRET".into(), "hush".into())];
        let told = problems(&sources);
        let same = told.len() == expected.len()
            && told.iter().zip(expected).all(|(told, want)| told.starts_with(want));
        assert!(same, "{text}\ntold: {told:#?}\nexpected: {expected:#?}");
        assert!(!told.concat().contains("hush"), "{told:?}");
    };
    const GOOD: &str = "name = \"k\"\nbrokers = \"a:1,b:2\"\ntopics = [\"t\"]\n";
    let with = |more: &str| format!("{GOOD}{more}");
    check(GOOD, &[]);
    check(&with("pattern = \"^a[.]\"\nstart = \"2026-01-01T00:00:00Z\"\ngroup = \"g\""), &[]);
    check("name = \"k\"", &["1 kafka: config/value: `name`, `brokers`, and `topics` or"; 2]);
    check(&with("topic = \"t\""), &["5 kafka.topic: config/name: one of name, brokers, topics"]);
    check(&with("pattern = \"(\""), &["5 kafka.pattern: config/value: a regular expression"]);
    check(&with("start = \"soon\""), &["5 kafka.start: config/value: `earliest`, `latest` or"]);
    check(&with("start = 3"), &["5 kafka.start: config/value: text, found the plain number 3"]);
    check(&with("librdkafka = { \"client.id\" = \"me\", \"fetch.wait.max.ms\" = 100 }"), &[]);
    check(&with("librdkafka = { \"ssl.key.password\" = \"file:key.password\" }"), &[]);
    check(
        &with("librdkafka = { \"ssl.key.password\" = \"hush\" }"),
        &[
            "5 kafka.librdkafka.ssl.key.password: config/conflict: a setting that breaks no promise \
           (say `\"file:PATH\"`: secrets come from a file",
        ],
    );
    check(
        &with(
            "[kafka.librdkafka]\nenable.auto.commit = true\n\"auto.offset.reset\" = \"latest\"\n\
             \"sasl.password\" = \"hush\"\n\"group.id\" = \"g\"",
        ),
        &[
            "6 kafka.librdkafka.enable: config/value: text, a number, true or false, found a table",
            "7 kafka.librdkafka.auto.offset.reset: config/conflict: a setting that breaks no \
             promise (nothing lost, nothing doubled",
            "8 kafka.librdkafka.sasl.password: config/conflict: a setting that breaks no promise \
             (secrets come from a file or a variable",
            "9 kafka.librdkafka.group.id: config/conflict: a setting that breaks no promise (say \
             `group`",
        ],
    );
    check(
        &with("sasl = \"PLAIN\"\nusername = \"u\"\npassword_env = \"SECRET\"\ntls_ca = \"ca.pem\""),
        &[],
    );
    check(
        &with("sasl = \"SCRAM-SHA-265\""),
        &["5 kafka.sasl: config/value: one of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, found"],
    );
    check(
        &with("sasl = \"PLAIN\""),
        &["5 kafka.sasl: config/value: `password_file`", "5 kafka.sasl: config/value: `username`"],
    );
    check(
        &with("sasl = \"PLAIN\"\nusername = \"u\"\npassword_env = \"SECRT\""),
        &["7 kafka.password_env: config/value: a variable that is set, found no SECRT"],
    );
    check(&with("username = \"u\""), &["5 kafka.username: config/conflict: `sasl`"]);
    check(
        &with("[[feed]]\nname = \"k\"\npath = \"x\""),
        &["1 kafka.name: config/conflict: a name that no other feed has"],
    );
    let mut sources = file(&format!(
        "[[kafka]]\n{}",
        with("sasl = \"PLAIN\"\nusername = \"u\"\npassword_env = \"SECRET\"")
    ));
    sources.variables = vec![("SECRET".into(), "hush".into())];
    let it = config::load(&sources).unwrap();
    assert_eq!(it.kafka[0].brokers, ["a:1", "b:2"]);
    assert!(!format!("{it:?}").contains("hush"));
}

/// Goal: file < variables < flags, setting by setting; paths of the file are the file's. Method: a
/// value said by each.
#[test]
fn the_later_layer_wins() {
    let mut sources = file(
        "data_dir = \"state\"
         [engine]
         workers = 2
         epoch_period = \"7ms\"
         late_after = \"1 min\"
         [[feed]]
         name = \"in\"
         path = \"in.jsonl\"
         mapping = \"/maps/m.toml\"",
    );
    let pair = |a: &str, b: &str| (a.to_string(), b.to_string());
    sources.variables = vec![
        pair("MILLSTREAM_ENGINE__WORKERS", "3"),
        pair("MILLSTREAM_ENGINE__EPOCH_PERIOD", "8ms"),
        pair("MILLSTREAM_PORT", "tcp://10.0.0.1:80"),
        pair("PATH", "/bin"),
    ];
    sources.flags = vec![("--workers".into(), "engine.workers".into(), "4".into())];
    sources.feeds = vec!["more=-".into()];
    let it = config::load(&sources).unwrap();
    assert_eq!(it.engine.workers, 4);
    assert_eq!(it.engine.epoch_period.as_millis(), 8);
    assert_eq!(it.engine.late_after.as_secs(), 60);
    assert_eq!(it.data_dir, Path::new("etc/state"));
    assert_eq!(it.feeds[0].path, Path::new("etc/in.jsonl"));
    assert_eq!(it.feeds[0].mapping.as_deref(), Some(Path::new("/maps/m.toml")));
    assert_eq!((it.feeds[1].name.as_str(), it.feeds[1].path.to_str()), ("more", Some("-")));
    assert_eq!(it.log.commit_delay, Settings::default().log.commit_delay);

    sources.variables = vec![
        pair("MILLSTREAM_ENGINE__WROKERS", "3"),
        pair("MILLSTREAM_DATADIR", "x"),
        pair("MILLSTREAM_SERVE__LISTEN", "here"),
    ];
    sources.flags = vec![("--set".into(), "engine.dedup_horizon".into(), "soon".into())];
    sources.feeds = vec!["nameless".into()];
    let told = problems(&sources);
    let expected = [
        "MILLSTREAM_ENGINE__WROKERS engine.wrokers: config/name",
        "MILLSTREAM_DATADIR datadir: config/name: \"MILLSTREAM_DATA_DIR\"",
        "MILLSTREAM_SERVE__LISTEN serve.listen: config/value",
        "--set engine.dedup_horizon: config/value",
        "--feed feed: config/value: `name=path`",
    ];
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    for (told, want) in told.iter().zip(expected) {
        assert!(told.starts_with(want), "{told}\nexpected {want}");
    }
}

/// Goal: a view that there is not is told with the nearest name.
#[test]
fn views_are_checked_against_the_catalogue() {
    let mut sources = file("[engine]\nviews = [\"orders\", \"custmers\"]");
    sources.views = Some(|| vec!["customers", "orders"]);
    let told = problems(&sources);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].ends_with("found \"custmers\" (customers?)"), "{told:?}");
}

/// Goal: the table is sound. Method: every default, as it is written, is read back through its own
/// row and is the default; names, variables and words are there and unique.
#[test]
fn every_default_is_a_value_of_its_setting() {
    let defaults = Settings::default();
    let written: Vec<String> = table::SECTIONS
        .iter()
        .flat_map(|(section, _)| {
            let heading = (!section.is_empty()).then(|| format!("[{section}]"));
            let rows = table::TABLE.iter().filter(|it| it.parts().0 == *section);
            heading
                .into_iter()
                .chain(rows.map(|it| format!("{} = {}", it.parts().1, it.show(&defaults))))
        })
        .collect();
    let text = written.join("\n");
    let path = PathBuf::from("millstream.toml");
    let again = config::load(&Sources { file: Some((path, text.clone())), ..Sources::default() });
    let again = again.unwrap_or_else(|problems| panic!("{text}\n{problems:#?}"));
    assert_eq!(format!("{again:?}"), format!("{defaults:?}"));

    let mut names: Vec<_> = table::TABLE.iter().map(|it| it.variable()).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), table::TABLE.len());
    assert!(table::TABLE.iter().all(|it| it.words.len() > 10 && it.words.ends_with('.')));
}

/// Goal: the page has every setting as it is in the code. Method: the part below the mark is what
/// `millstream check --settings` prints.
#[test]
fn the_page_of_settings_is_the_table() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/configuration.md")).unwrap();
    let below = page.split("<!-- written by `millstream check --settings` -->\n").nth(1).unwrap();
    assert!(
        below == page::markdown(),
        "docs/configuration.md is out of date: replace what is below its mark with the output of \
         `millstream check --settings`:\n{}",
        page::markdown()
    );
}

/// Goal: what of a `[sinks.NAME]` cannot be used is told, all of it, with its line.
#[test]
fn sinks_are_checked() {
    let check = |text: &str, expected: &[&str]| {
        let mut sources = file(&format!("[sinks.files]\n{text}"));
        sources.views = Some(|| vec!["orders", "customers"]);
        let told = problems(&sources);
        let same = told.len() == expected.len()
            && told.iter().zip(expected).all(|(told, want)| told.starts_with(want));
        assert!(same, "{text}\ntold: {told:#?}\nexpected: {expected:#?}");
    };
    const GOOD: &str = "kind = \"jsonl\"\npath = \"out\"\n";
    let with = |more: &str| format!("{GOOD}{more}");
    check(GOOD, &[]);
    check(&with("take = [\"events\"]\nviews = [\"orders\"]\nbatch_rows = 10"), &[]);
    check("", &["1 sinks.files: config/value: `kind`, found a sink without `kind`"]);
    check("kind = \"csv\"", &["2 sinks.files.kind: config/value: one of"]);
    check("kind = \"jsonl\"", &["1 sinks.files: config/value: `path`, found a sink without"]);
    check(&with("pth = \"x\""), &["4 sinks.files.pth: config/name: one of kind, path"]);
    check(&with("take = [\"row\"]"), &["4 sinks.files.take: config/value: of rows, changes, ev"]);
    check(&with("batch_rows = 0"), &["4 sinks.files.batch_rows: config/value: a whole number"]);
    check(&with("max_bytes = \"1 KiB\""), &["4 sinks.files.max_bytes: config/value: a size"]);
    check(&with("timeout = 3"), &["4 sinks.files.timeout: config/value: text, found the plain"]);
    check(
        &with("views = [\"ordrs\"]"),
        &["1 sinks.files.views: config/value: of the views that are kept: orders, customers"],
    );
    let told = problems(&file("sinks = 3"));
    assert!(told[0].starts_with("1 sinks: config/value: tables `[sinks.NAME]`"), "{told:?}");
    let told = problems(&file("[sinks.\"a b\"]\nkind = \"jsonl\"\npath = \"x\""));
    assert!(told[0].contains("a name of letters"), "{told:?}");
}

/// Goal: what of a `[channels.NAME]` cannot be used is told, all of it, with its line; mail is written
/// to what is one address and nothing else, and a password travels over TLS only.
#[test]
fn channels_are_checked() {
    let check = |text: &str, expected: &[&str]| {
        let mut sources = file(&format!("[channels.ops]\n{text}"));
        sources.variables.push(("SECRET".into(), "whsec_x".into()));
        let told = problems(&sources);
        let same = told.len() == expected.len()
            && told.iter().zip(expected).all(|(told, want)| told.starts_with(want));
        assert!(same, "{text}\ntold: {told:#?}\nexpected: {expected:#?}");
    };
    const HOOK: &str =
        "kind = \"webhook\"\nurl = \"http://a.example/b\"\nsecret_env = \"SECRET\"\n";
    const MAIL: &str = "kind = \"email\"\nserver = \"mail.example\"\nfrom = \"a@b.example\"\n";
    let mail = |more: &str| format!("{MAIL}to = [\"c@d.example\"]\n{more}");
    check(HOOK, &[]);
    check(&mail(""), &[]);
    check(&mail("tls = \"starttls\"\nuser = \"u\"\npassword_env = \"SECRET\""), &[]);
    check(&mail("tls = \"none\""), &[]);
    check("kind = \"sms\"", &["2 channels.ops.kind: config/value: one of webhook, email"]);
    check(
        &format!("{HOOK}server = \"x\""),
        &["5 channels.ops.server: config/conflict: it with `kind = \"email\"` only"],
    );
    check(&mail("url = \"http://x\""), &["6 channels.ops.url: config/conflict: it with `kind"]);
    check(
        "kind = \"email\"",
        &[
            "1 channels.ops: config/value: `server`",
            "1 channels.ops: config/value: `from`",
            "1 channels.ops: config/value: `to`",
        ],
    );
    check(&mail("tls = \"ssl\""), &["6 channels.ops.tls: config/value: one of implicit, starttls"]);
    check(&mail("user = \"u\""), &["1 channels.ops: config/conflict: `user` and `password_file`"]);
    check(
        &mail("tls = \"none\"\nuser = \"u\"\npassword_env = \"SECRET\""),
        &["1 channels.ops.tls: config/conflict: `tls = \"implicit\"`"],
    );
    for server in ["", "a b", "mail.example:", "mail.example:x", "me@mail.example", "http://m/"] {
        let text = mail("").replace("mail.example", server);
        check(&text, &["3 channels.ops"]);
    }
    for address in [
        "ann",
        "@example.org",
        "ann@",
        "a@b.example, c@d.example",
        "A <a@b.example>, C <c@d.example>",
        "a@b.example\\r\\nBcc: c@d.example",
        "A\\nBcc: c@d.example <a@b.example>",
        "a@b.example> RCPT TO:<c@d.example",
        "ä@b.example",
    ] {
        let to = format!("{MAIL}to = [\"c@d.example\", \"{address}\"]");
        check(&to, &["5 channels.ops.to: config/value: an address in ASCII"]);
        let from = mail("").replace("a@b.example", address);
        check(&from, &["4 channels.ops.from: config/value: an address in ASCII"]);
    }
    let many: Vec<String> = (0..101).map(|n| format!("\"a{n}@b.example\"")).collect();
    let many = format!("{MAIL}to = [{}]", many.join(", "));
    check(&many, &["5 channels.ops.to: config/value: at most 100 addresses"]);
}

/// Goal: the example file is right and says what is the case without it.
#[test]
fn the_example_file_says_the_defaults() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("millstream.example.toml")).unwrap();
    // Settings are commented out with `#`, explanations with `# `.
    let said: String = text
        .lines()
        .map(|it| it.strip_prefix('#').filter(|it| !it.starts_with([' ', '#'])).unwrap_or(it))
        .map(|it| format!("{it}\n"))
        .collect();
    let sources =
        Sources { file: Some((PathBuf::from("x.toml"), said.clone())), ..Sources::default() };
    let mut it = config::load(&sources).unwrap_or_else(|problems| panic!("{said}\n{problems:#?}"));
    assert_eq!(it.feeds.len(), 1, "the example shows one feed");
    it.feeds.clear();
    assert_eq!(it.kafka.len(), 1, "and one Kafka feed");
    it.kafka.clear();
    assert_eq!(it.sinks.len(), 1, "and one sink");
    it.sinks.clear();
    assert_eq!((it.channels.len(), it.rules.len()), (1, 1), "a channel and a rule");
    let compiled = millstream::run::compiled_rules(&it);
    assert!(compiled.is_ok_and(|it| it.all.len() == 1), "a rule that can be used");
    (it.channels, it.rules) = (Vec::new(), Vec::new());
    // These two are the machine's.
    it.engine.workers = Settings::default().engine.workers;
    it.engine.memory_max = Settings::default().engine.memory_max;
    assert_eq!(format!("{it:?}"), format!("{:?}", Settings::default()));
    assert!(
        text == page::example(),
        "millstream.example.toml is out of date: write what `millstream check --example` prints"
    );
}
