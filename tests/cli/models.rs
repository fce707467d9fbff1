//! `millstream model`, as a person uses it: learn from a file, say something of another.

use serde_json::Value;

use crate::examples::reviews;
use crate::process::{Folder, run};

/// Goal: training is a function of the set of texts and never silently replaces a better model;
/// what cannot be done is told. Method: the same file in two orders; then one with turned ratings.
#[test]
fn models_are_learnt_and_kept() {
    let folder = Folder::new("models");
    let path = |name: &str| folder.0.join(name).display().to_string();
    folder.file("reviews.jsonl", reviews());
    let turned: String = reviews().lines().rev().map(|it| format!("{it}\n")).collect();
    folder.file("turned.jsonl", turned);
    let train = |input: &str, out: &str, more: &[&str]| {
        let (input, out) = (path(input), path(out));
        run(&[&["model", "train", "sentiment", "--input", &input, "--out", &out, "--json"], more]
            .concat())
    };
    let (code, out, err) = train("reviews.jsonl", "one", &[]);
    assert_eq!(code, 0, "{err}");
    let told: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(told["texts"]["positive"], 20);
    assert!(told["held_out"]["n_texts"].as_u64().unwrap() > 0, "{told}");
    assert_eq!(train("turned.jsonl", "two", &[]).0, 0);
    let body = |name: &str| std::fs::read(path(name)).unwrap();
    assert_eq!(body("one"), body("two"));

    let score =
        |model: &str| run(&["model", "score", model, "--input", &path("reviews.jsonl"), "--json"]);
    let (code, out, err) = score(&path("one"));
    assert_eq!(code, 0, "{err}");
    let lines: Vec<Value> = out.lines().map(|it| serde_json::from_str(it).unwrap()).collect();
    assert_eq!(lines.len(), 41);
    assert_eq!((&lines[0]["label"], &lines[1]["label"]), (&"positive".into(), &"negative".into()));
    assert!(lines[0]["words"].as_array().is_some_and(|it| !it.is_empty()), "{}", lines[0]);
    assert_eq!(lines[40]["model"], told["model"]);
    assert_eq!(lines[40]["measured"]["accuracy"], 1.0);
    assert!(score("lexicon").1.contains("lexicon-en"));

    // Ratings that contradict the texts make a worse model: it does not replace the other.
    let mut n = 0;
    let worse: String = reviews()
        .lines()
        .map(|it| {
            n += 1;
            let stars = if n % 3 == 0 { r#""rating":1"# } else { r#""rating":5"# };
            let at = it.find(r#""rating":"#).unwrap();
            format!("{}{stars}{}\n", &it[..at], &it[at + 10..])
        })
        .collect();
    folder.file("worse.jsonl", worse);
    std::fs::copy(path("one"), path("kept")).unwrap();
    let (code, _, err) = train("worse.jsonl", "kept", &[]);
    if code == 1 {
        assert!(err.contains("error[models/no-better]"), "{err}");
        assert_eq!(body("kept"), body("one"));
    }
    assert_eq!(train("worse.jsonl", "kept", &["--anyway"]).0, 0);
    assert_ne!(body("kept"), body("one"));

    folder.file("few.jsonl", reviews().lines().next().unwrap().to_string() + "\n");
    let (code, _, err) = train("few.jsonl", "three", &[]);
    assert!(code == 1 && err.contains("error[models/too-few]"), "{err}");
    let (code, _, err) = score(&path("reviews.jsonl"));
    assert!(code == 1 && err.contains("error[models/not-readable]"), "{err}");
    let (code, _, err) = train("reviews.jsonl", "no/such/folder", &[]);
    assert!(code == 1 && err.contains("error[models/not-written]"), "{err}");
}
