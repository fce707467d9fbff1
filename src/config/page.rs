//! The table of settings as people read it: a page of documentation, and an example file.

use super::Settings;
use super::channels::CHANNEL_KEYS;
use super::kafka::{KAFKA_KEYS, REFUSED};
use super::named::Key;
use super::rules::RULE_KEYS;
use super::sinks::SINK_KEYS;
use super::table::{FEED_KEYS, Kind, SECTIONS, TABLE};

/// The tables of `docs/configuration.md`.
pub fn markdown() -> String {
    let defaults = Settings::default();
    let mut out = String::new();
    for (section, words) in SECTIONS {
        let heading =
            if section.is_empty() { "top level".to_string() } else { format!("`[{section}]`") };
        let rows = TABLE.iter().filter(|it| it.parts().0 == *section);
        out.push_str(&format!("\n### {heading}\n\n{words}\n\n"));
        out.push_str("| setting | default | may be | what it does |\n|---|---|---|---|\n");
        for it in rows {
            let shown = match it.name {
                "engine.workers" => "all cores but one, at least 1".to_string(),
                "engine.memory_max" => "60 % of the machine or of its group".to_string(),
                _ => format!("`{}`", it.show(&defaults)),
            };
            let may = match &it.kind {
                Kind::Time(_, low, high) | Kind::Size(_, low, high) => format!("{low} to {high}"),
                _ => it.expected().replace('"', "`"),
            };
            out.push_str(&format!("| `{}` | {shown} | {may} | {} |\n", it.name, it.words));
        }
    }
    out.push_str(
        "\n### `[[feed]]`\n\nA file or folder that is read at start; as many as there are.\n\n",
    );
    out.push_str("| key | what it is |\n|---|---|\n");
    for (key, words) in FEED_KEYS {
        out.push_str(&format!("| `{key}` | {words} |\n"));
    }
    out.push_str("\n### `[[kafka]]`\n\nTopics of a Kafka cluster; as many as there are.\n\n");
    out.push_str("| key | such as | what it is |\n|---|---|---|\n");
    for (key, example, words) in KAFKA_KEYS {
        out.push_str(&format!("| `{key}` | `{example}` | {words} |\n"));
    }
    out.push_str(
        "\nOf librdkafka's settings these are refused, each for the promise that it would break:\n\n\
         | setting | because |\n|---|---|\n",
    );
    for (name, promise) in REFUSED {
        out.push_str(&format!("| `{name}` | {promise} |\n"));
    }
    out.push_str(
        "\n### `[sinks.NAME]`\n\nWhere rows, changes and events are handed to \
         ([sinks.md](sinks.md)); as many as there are.\n\n",
    );
    of_kinds(&mut out, SINK_KEYS);
    out.push_str(
        "\n### `[channels.NAME]`\n\nWho is told of what rules say \
         ([notifications.md](notifications.md)); as many as there are.\n\n",
    );
    of_kinds(&mut out, CHANNEL_KEYS);
    out.push_str(
        "\n### `[rules.NAME]`\n\nWhat is worth telling whom; as many as there are.\n\n\
         | key | such as | what it is |\n|---|---|---|\n",
    );
    for (key, _, example, words) in RULE_KEYS {
        out.push_str(&format!("| `{key}` | `{example}` | {words} |\n"));
    }
    out
}

fn of_kinds(out: &mut String, keys: &[Key]) {
    out.push_str("| key | such as | for | what it is |\n|---|---|---|---|\n");
    for (key, kind, example, words) in keys {
        let kind = if kind.is_empty() { "every kind".to_string() } else { format!("`{kind}`") };
        out.push_str(&format!("| `{key}` | `{example}` | {kind} | {words} |\n"));
    }
}

/// A file with every setting at its default, commented out: what `millstream check --example`
/// prints.
pub fn example() -> String {
    let defaults = Settings::default();
    let mut out = String::from(
        "# Every setting of Millstream at its default. Take away the `#` before what you change.\n\
         # docs/configuration.md says what each may be; `millstream check` checks the file.\n",
    );
    for (section, words) in SECTIONS {
        if !section.is_empty() {
            out.push_str(&format!("\n# {words}\n[{section}]\n"));
        }
        for it in TABLE.iter().filter(|it| it.parts().0 == *section) {
            let shown = match it.name {
                "engine.workers" => "1".into(),
                "engine.memory_max" => "\"4 GiB\"".into(),
                _ => it.show(&defaults),
            };
            out.push_str(&format!("\n# {}\n#{} = {shown}\n", it.words, it.parts().1));
        }
    }
    out.push_str("\n# A file or folder that is read at start; as many as there are.\n#[[feed]]\n");
    for ((key, words), value) in
        FEED_KEYS.iter().zip(["orders", "orders.jsonl", "mappings/orders.toml"])
    {
        out.push_str(&format!("# {words}\n#{key} = {value:?}\n"));
    }
    out.push_str("\n# Topics of a Kafka cluster; as many as there are.\n#[[kafka]]\n");
    for (key, example, words) in KAFKA_KEYS {
        // Two ways to say the same are not said together; secrets are not there by default.
        let apart = ["tls_ca", "sasl", "username", "password_file", "password_env"].contains(key);
        let mark = if apart { "# " } else { "#" };
        out.push_str(&format!("# {words}\n{mark}{key} = {example}\n"));
    }
    out.push_str(
        "\n# Where rows, changes and events are handed to; as many as there are.\n#[sinks.files]\n",
    );
    for (key, kind, example, words) in SINK_KEYS {
        // One kind is an example of all.
        let mark = if kind.is_empty() || *kind == "jsonl" { "#" } else { "# " };
        out.push_str(&format!("# {words}\n{mark}{key} = {example}\n"));
    }
    for (title, keys) in [
        ("# Who is told of what rules say; as many as there are.\n#[channels.ops]", CHANNEL_KEYS),
        ("# What is worth telling whom; as many as there are.\n#[rules.late]", RULE_KEYS),
    ] {
        out.push_str(&format!("\n{title}\n"));
        for (key, kind, example, words) in keys {
            // Two ways to say the same are not said together; one kind is an example of all.
            let apart = ["secret_env", "ca_file"].contains(key) || *kind == "email";
            let mark = if apart { "# " } else { "#" };
            out.push_str(&format!("# {words}\n{mark}{key} = {example}\n"));
        }
    }
    out
}
