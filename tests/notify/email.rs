//! Goal: what a rule wants said arrives as mail, once per episode, whatever the server does; nothing
//! that a stranger writes becomes a header or a tag; who is not trusted is told nothing.
//! Method: the real binary, a server of mail of ours that speaks SMTP with and without TLS.

use std::sync::atomic::AtomicUsize;

use super::channels::{channels, stands, until_stands};
use super::postbox::{Mail, Step};
use super::*;

const CA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/tls/ca.pem");
pub(super) const PASSWORD: &str = "correct horse battery staple";

fn mail_to(to: &Postbox, tls: &str, more: &str) -> String {
    let address = to.address;
    format!(
        "[channels.ops]\nkind = \"email\"\nserver = \"{address}\"\ntls = \"{tls}\"\n\
         from = \"Millstream <millstream@example.org>\"\n\
         to = [\"ops@example.org\", \"Ann <ann@example.net>\"]\nallow = [\"{address}\"]\n{more}\n"
    )
}

/// A channel of mail, by its name, with STARTTLS.
pub(super) fn to(name: &str, postbox: &Postbox, more: &str) -> String {
    mail_to(postbox, "starttls", more).replace("channels.ops", &format!("channels.{name}"))
}

pub(super) fn with_password(folder: &Folder) -> String {
    folder.file("mail.password", format!("{PASSWORD}\n"));
    format!("ca_file = \"{CA}\"\nuser = \"millstream\"\npassword_file = \"mail.password\"\n")
}

/// Goal: over TLS of either sort, with a password, to everybody that the settings name and nobody
/// else: text and HTML, a name of its own that another attempt has too, an answer that threads under
/// what it corrects; nothing of the password is shown anywhere. Method: names that would be headers,
/// tags and the end of the text; a first answer of 451.
#[test]
fn a_mail_is_what_was_said_and_nothing_else() {
    for (way, tls) in [(Way::Starttls, "starttls"), (Way::Implicit, "implicit")] {
        let folder = Folder::new("notify-mail");
        let n = AtomicUsize::new(0);
        let postbox = Postbox::start(way, move |step| match step {
            Step::Text(_) if n.fetch_add(1, SeqCst) == 0 => Mood::Says("451 4.3.0 not now"),
            _ => Mood::Takes,
        });
        let hostile = "K\r\nBcc: evil@example.com\r\n\r\n<b>&\"'\r\n.\r\nMAIL FROM:<evil@x.y>é";
        let rule = "[rules.waits]\nview = \"cases\"\nwhen = \"status == 'open'\"\n\
                    episode = [\"opened_at\"]\nchannel = \"ops\"\nseverity = \"critical\"\n\
                    text = \"case\\r\\n.\\r\\nBcc: {{ text }} waits\"\n\
                    resolved = \"case {{ case }} is looked after\"\n";
        let text = mail_to(&postbox, tls, &with_password(&folder)) + rule;
        let settings = settings(&folder, &text);
        let data = folder.0.join("data");
        let (process, address) = start(&data, &settings);
        let event = |kind: &str, data: Value| {
            let time = now();
            let event = json!({"specversion": "1.0", "id": format!("{time}"), "source": "//crm",
                               "type": kind, "time": schemas::time::rfc3339(time), "data": data});
            let (status, told) = ask(&address, "POST", "/v1/events?wait=applied", &json!([event]));
            assert_eq!(status, 202, "{told}");
        };
        event(
            "case.opened",
            json!({"case": "K-1", "customer": "C-1", "severity": 1, "queue": "q",
                                    "text": hostile}),
        );
        postbox.until("the first attempt", |it| it.len() == 1);
        until_stands(&data, "ops", "it failed", |it| it["failures"].as_u64() > Some(0));
        let (code, told) = channels(&["resume", "ops"], &data, &settings);
        assert_eq!(code, 0, "{told}");
        until(&address, "delivered", |it| states(it).get("delivered") == Some(&1));
        event("case.resolved", json!({"case": "K-1", "customer": "C-1"}));
        let all = until(&address, "both", |it| states(it).get("delivered") == Some(&2));
        let came = postbox.came();
        assert_eq!(came.len(), 3, "{came:#?}");
        let (first, again, over) = (&came[0], &came[1], &came[2]);
        assert_eq!((&first.text, first.kept, again.kept), (&again.text, false, true));
        for it in [again, over] {
            assert_eq!(it.from, "millstream@example.org");
            assert_eq!(it.to, ["ops@example.org", "ann@example.net"]);
            assert!(it.is_tls && it.user == Some(("millstream".into(), PASSWORD.into())));
            assert_eq!(it.headers("Bcc"), [""; 0], "{}", it.text);
            let message = it.header("Millstream-Message");
            assert_eq!(it.id(), format!("<{message}@example.org>"));
            assert!(all.contains_key(&message), "{message}");
        }
        let [plain, html] = again.parts();
        let said = "case\n.\nBcc: K\nBcc: evil@example.com\n\n<b>&\"'\n.\nMAIL FROM:<evil@x.y>é";
        assert!(plain.starts_with(&format!("{said} waits\n")), "{plain}");
        assert!(html.contains("&lt;b&gt;&amp;&quot;&#x27;") && !html.contains("<b>"), "{html}");
        assert_eq!(again.header("Subject"), "[critical] case");
        assert_eq!(again.header("Auto-Submitted"), "auto-generated");
        assert_eq!((again.field("about"), again.field("tenant")), ("K-1".into(), "default".into()));
        assert_eq!(over.header("Subject"), "[resolved] case K-1 is looked after");
        assert_eq!(over.header("In-Reply-To"), again.id());
        assert!(!postbox.said().iter().any(|it| it.contains("evil")), "{:?}", postbox.said());
        // One connection served all that came after the failure.
        assert_eq!(postbox.connections.load(SeqCst), 2);
        let it = stands(&data, "ops");
        assert_eq!((&it["kind"], &it["state"]), (&json!("email"), &json!("closed")));
        let (code, told) = channels(&["rotate", "ops"], &data, &settings);
        assert!(code == 1 && told.contains("mail is not signed"), "{told}");
        process.signal("-TERM");
        let (_, out, err) = process.end();
        for shown in [out, err, told, it.to_string(), plain, html] {
            assert!(!shown.contains(PASSWORD), "a password was shown: {shown}");
        }
    }
}

/// What a server says at one command, in full, and what becomes of the channel and its message.
#[test]
fn every_sort_of_no() {
    let check = |at: &'static str, says: &'static str, state: &str, message: &str, why: &str| {
        let folder = Folder::new("notify-mail-no");
        let postbox = Postbox::start(Way::Starttls, move |step| {
            let is_here = match step {
                Step::Greeting => at == "greeting",
                Step::Command(line) => line.starts_with(at),
                Step::Text(_) => at == "text",
            };
            if is_here { Mood::Says(says) } else { Mood::Takes }
        });
        let text = mail_to(&postbox, "starttls", &with_password(&folder));
        let settings = settings(&folder, &(text + &rule("waits", "ops", "")));
        let data = folder.0.join("data");
        let (_process, address) = start(&data, &settings);
        tell(&address, "case.opened", &names("K", 1));
        let told = match message {
            "refused" => {
                let all = until(&address, says, |it| states(it).get("refused") == Some(&1));
                all.values().next().unwrap()["answer"].as_str().unwrap().to_string()
            }
            _ => {
                let is = |it: &Value| it["failures"].as_u64() > Some(0) && it["state"] == state;
                until_stands(&data, "ops", says, is)["why"].as_str().unwrap().to_string()
            }
        };
        assert!(told.contains(why), "{at}: {says}: {told}");
        let all = intents(&address);
        assert_eq!(states(&all).get(message), Some(&1), "{at}: {says}: {all:#?}");
        assert_eq!(stands(&data, "ops")["state"], state, "{at}: {says}");
        assert!(!told.contains(PASSWORD));
        // Who we are is said to nobody before it is encrypted.
        let said = postbox.said();
        let tls = said.iter().position(|it| it == "STARTTLS");
        let login = said.iter().position(|it| it.starts_with("AUTH"));
        assert!(login.is_none_or(|login| tls.is_some_and(|tls| tls < login)), "{said:?}");
    };
    let (ours, well) = ("misconfigured", "closed");
    check("text", "554 5.6.0 not such a text", well, "refused", "answered 554 to the text: 5.6.0");
    check("text", "552 too much of it", well, "refused", "answered 552 to the text");
    check("text", "550 5.7.1 not from you", ours, "planned", "5.7.1 not from you");
    check("RCPT", "550 5.1.1 nobody here", ours, "planned", "answered 550 to a recipient: 5.1.1");
    check("MAIL", "553 5.1.8 not you", ours, "planned", "answered 553 to the sender");
    check("AUTH", "535 5.7.8 who?", ours, "planned", "answered 535 to who we are");
    check("EHLO", "250 no more than that", ours, "planned", "STARTTLS is not supported");
    check("STARTTLS", "501 no", ours, "planned", "answered 501");
    check("text", "451 4.3.0 not now", well, "planned", "answered 451 to the text");
    check("RCPT", "450 4.2.0 later", well, "planned", "answered 450 to a recipient");
    check("greeting", "421 too many of you", well, "planned", "answered 421");
    check("text", "what?", "paused", "planned", "no SMTP");
}

/// Goal: nothing is said to one whose certificate is not trusted, whichever sort of TLS it is; nor to
/// an address of the own network that is not allowed, to which no connection is made.
#[test]
fn who_is_not_trusted_is_told_nothing() {
    let other = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/tls/other.pem");
    let check = |way: Way, tls: &str, allowed: bool, why: &str, n: usize| {
        let folder = Folder::new("notify-mail-trust");
        let postbox = Postbox::start(way, |_| Mood::Takes);
        let mut text = mail_to(&postbox, tls, &format!("ca_file = \"{other}\""));
        if !allowed {
            text = text.replace("allow = ", "allow = [\"127.0.0.1:1\"] # ");
        }
        let settings = settings(&folder, &(text + &rule("waits", "ops", "")));
        let data = folder.0.join("data");
        let (_process, address) = start(&data, &settings);
        tell(&address, "case.opened", &names("K", 1));
        let is = |it: &Value| it["state"] == "misconfigured";
        let it = until_stands(&data, "ops", "it is told", is);
        assert!(it["why"].as_str().unwrap().contains(why), "{it}");
        assert_eq!(postbox.came().len(), 0);
        assert_eq!(postbox.connections.load(SeqCst), n);
    };
    check(Way::Starttls, "starttls", true, "certificate is not trusted", 1);
    check(Way::Implicit, "implicit", true, "certificate is not trusted", 1);
    check(Way::Plain, "none", false, "own network", 0);
}

/// Goal: killed between the server's 250 and our mark of it, the same mail comes again under its
/// name, and none is missing.
#[test]
fn killed_before_it_is_marked() {
    let folder = Folder::new("notify-mail-killed");
    let postbox = Postbox::start(Way::Plain, |_| Mood::Takes);
    let text = mail_to(&postbox, "none", "") + &rule("waits", "ops", "");
    let settings = settings(&folder, &text);
    let data = folder.0.join("data");
    let (mut process, address) = start(&data, &settings);
    const CASES: usize = 20;
    tell(&address, "case.opened", &names("K", CASES));
    postbox.until("some are there", |it| it.len() >= 3);
    process.child.kill().unwrap();
    process.child.wait().unwrap();
    drop(process);
    let (_process, address) = start(&data, &settings);
    let all = until(&address, "all", |it| states(it).get("delivered") == Some(&CASES));
    let mut bodies: BTreeMap<String, String> = BTreeMap::new();
    for it in postbox.came() {
        let known = bodies.entry(it.header("Millstream-Message")).or_insert(it.text.clone());
        assert_eq!(*known, it.text, "the same each time");
    }
    assert!(bodies.keys().eq(all.keys()));
    let is = |it: &Mail| it.headers("In-Reply-To").is_empty();
    assert!(postbox.came().iter().all(is));
}
