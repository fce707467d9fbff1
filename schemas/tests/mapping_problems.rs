//! Is a mistake told where it is, with what was expected and what was probably meant?
//!
//! Goal: every problem of a mapping at once, each with its line; every problem of a record with
//! its pointer, expectation and finding. Method: texts, and what is told of them.

use schemas::mapping::Mapping;

/// Compiles a mapping and compares what is told, one problem a line.
fn check(text: &str, expected: &str) {
    let problems = Mapping::compile(text).err().unwrap_or_default();
    let told: Vec<String> = problems.iter().map(|it| it.to_string()).collect();
    let expected: Vec<&str> = expected.lines().map(str::trim).filter(|it| !it.is_empty()).collect();
    assert_eq!(told, expected, "\nof the mapping\n{text}\nfound\n{}\n", told.join("\n"));
}

#[test]
fn a_good_mapping_has_no_problems() {
    check(GOOD, "");
}

const GOOD: &str = r#"
discriminator = "/t"
[event]
id = "/id"
source = { constant = "s" }
time = { from = "/at", format = "unix_s" }
[types.x]
becomes = "order.cancelled"
data = { order = "/order", amount = { from = "/sum", unit = "major", decimals = 2 }, currency = "/cur" }
[types.y]
becomes = "case.opened"
data = { case = "/case", customer = "/who", severity = { from = "/sev", values = { high = 1 } }, queue = "/q", skills = { each = "/skills" } }
[types.z]
skip = true
"#;

#[test]
fn the_file() {
    check(
        "discriminator = ",
        "line 1: not TOML: string values must be quoted, expected literal string",
    );
    check(
        "a = 1\na = 2\nb",
        "line 2: not TOML: duplicate key
         line 3: not TOML: key with no value, expected `=`",
    );
    check("{\"a\": 1}\n{\"a\": 2}\n{\"a\": 3}\n{\"a\": 4}\n", "line 1: not TOML: invalid key-value pair, expected key (it looks like JSON: are these the records?)
         line 2: not TOML: invalid key-value pair, expected key
         line 3: not TOML: invalid key-value pair, expected key; and 1 more");
    check("", "line 1: expected `discriminator` with `types`, or `always` alone");
    check(
        "discriminator = \"/t\"\nother_type = \"skip\"\n[types]",
        "line 2: other_type: there is no key \"other_type\" here: perhaps \"other_types\" was meant",
    );
    check(
        "discriminator = \"t.kind\"\nother_types = \"skipp\"\n[types]",
        "line 1: discriminator: expected a JSON pointer, found \"t.kind\": perhaps \"/t/kind\" was meant
         line 2: other_types: there is no word \"skipp\" here: perhaps \"skip\" was meant",
    );
}

#[test]
fn every_problem_at_once() {
    let text = r#"
discriminator = "/t"
[event]
id = "id"
source = { constant = "" }
time = "/at"
[types.a]
becomes = "order.place"
[types.b]
becomes = "order.placed"
[types.b.data]
order = { from = "/order", constant = "x" }
custmer = "/who"
currency = { constant = "euro" }
promised_at = { from = "/due", format = "%Y-%m-%d", zone = "America/Sao_Paolo", day = "end" }
lines = [{ sku = "/sku", quantity = { constant = 0 }, unit_price = "/price" }]
[types.c]
data = {}
"#;
    check(
        text,
        r#"line 4: event.id: expected a JSON pointer, found "id": perhaps "/id" was meant
           line 5: event.source.constant: expected an identifier of 1 to 128 bytes without control characters, found ""
           line 6: event.time: state how the time is written: { from = …, format = "rfc3339" | "unix_s" | "unix_ms" | "unix_us" | "unix_ns" | a strptime format }
           line 8: types.a.becomes: there is no event type "order.place" here: perhaps "order.placed" was meant
           line 11: types.b.data: order.placed needs `customer`
           line 12: types.b.data.order: expected exactly one of `from`, `constant`, `template`, `sum`, found from and constant
           line 13: types.b.data.custmer: there is no key "custmer" here: perhaps "customer" was meant
           line 14: types.b.data.currency.constant: expected a currency of ISO 4217, such as "EUR", found "euro"
           line 15: types.b.data.promised_at.zone: there is no time zone "America/Sao_Paolo": perhaps "America/Sao_Paulo" was meant
           line 16: types.b.data.lines[0].quantity.constant: expected an integer from 1 to 1000000, found 0
           line 16: types.b.data.lines[0].unit_price: state how the money is written: { from = …, unit = "minor" } or { from = …, unit = "major", decimals = 2 }
           line 17: types.c: state what it becomes (`becomes = "order.placed"`), or skip = true"#,
    );
}

/// One field of a good rule, replaced; what is told of it.
fn field(data: &str, expected: &str) {
    let text = format!(
        "[always]\nbecomes = \"order.cancelled\"\nid = \"/id\"\nsource = \"/s\"\ntime = {{ from = \"/t\", format = \"rfc3339\" }}\n[always.data]\norder = \"/order\"\n{data}\n"
    );
    check(&text, expected);
}

#[test]
fn fields() {
    field("reason = \"/why\"", "");
    field(
        "reason = 7",
        "line 8: always.data.reason: expected a pointer in quotes or a table with `from`, `constant`, `template` or `sum`, found integer",
    );
    field("reason = { frm = \"/why\" }", "line 8: always.data.reason.frm: there is no key \"frm\" here: perhaps \"from\" was meant
        line 8: always.data.reason: expected exactly one of `from`, `constant`, `template`, `sum`, found none");
    field(
        "reason = { from = [] }",
        "line 8: always.data.reason.from: expected a pointer, found an empty list",
    );
    field(
        "reason = { from = \"^/why\" }",
        "line 8: always.data.reason.from: \"^/why\" leads out of the record: 0 `each` around it",
    );
    field(
        "reason = { from = \"\" }",
        "line 8: always.data.reason.from: expected a pointer to a field, found the whole record",
    );
    field(
        "reason = { template = \"{/a\" }",
        "line 8: always.data.reason.template: a bracket is open: fields are written {/pointer}, brackets themselves {{ and }}",
    );
    field(
        "reason = { template = \"{a} {#}\" }",
        "line 8: always.data.reason.template: expected a JSON pointer, found \"a\": perhaps \"/a\" was meant",
    );
    field(
        "reason = { template = \"{#}\" }",
        "line 8: always.data.reason.template: {#} is the place of an element: there is no `each` here",
    );
    field(
        "reason = { constant = \"x\", default = \"y\" }",
        "line 8: always.data.reason.default: `default` goes with `from` only",
    );
    field(
        "reason = { from = \"/a\", otherwise = \"y\" }",
        "line 8: always.data.reason.otherwise: `otherwise` goes with `values` only",
    );
    field(
        "reason = { from = \"/a\", null = \"withdraws\" }",
        "line 8: always.data.reason.null: only attributes of a customer can be withdrawn",
    );
    field(
        "reason = { from = \"/a\", unit = \"minor\" }",
        "line 8: always.data.reason.unit: `reason` is no money",
    );
    field(
        "reason = { from = \"/a\", format = \"rfc3339\" }",
        "line 8: always.data.reason.format: `reason` is no time",
    );
    field(
        "reason = { sum = [\"/a\", \"/b\"] }",
        "line 8: always.data.reason.sum: only money can be added, and `reason` is none",
    );
    field(
        "amount = { from = \"/a\", unit = \"minor\" }",
        "line 6: always.data: `amount` needs `currency`",
    );
    let money = |amount: &str, expected: &str| {
        field(&format!("currency = {{ constant = \"EUR\" }}\namount = {amount}"), expected);
    };
    money("{ sum = [\"/a\", \"/b\"], unit = \"minor\" }", "");
    money("{ constant = 700 }", "");
    money(
        "{ constant = 7.5 }",
        "line 9: always.data.amount.constant: expected an integer, found float",
    );
    money(
        "{ from = \"/a\" }",
        "line 9: always.data.amount: state how the money is written: unit = \"minor\", or unit = \"major\" with decimals",
    );
    money(
        "{ from = \"/a\", unit = \"major\" }",
        "line 9: always.data.amount.unit: unit = \"major\" needs `decimals`: how many digits after the point are minor units",
    );
    money(
        "{ from = \"/a\", unit = \"major\", decimals = 9 }",
        "line 9: always.data.amount.decimals: expected 0 to 6 decimals, found 9",
    );
    money(
        "{ from = \"/a\", unit = \"minor\", decimals = 2 }",
        "line 9: always.data.amount.decimals: `decimals` goes with unit = \"major\" only",
    );
    money(
        "{ template = \"{/a}\", unit = \"minor\" }",
        "line 9: always.data.amount.template: a template makes text, which this field does not hold",
    );
}

/// The time of a good rule, replaced; what is told of it.
fn time(time: &str, expected: &str) {
    check(
        &format!(
            "[always]\nbecomes = \"order.cancelled\"\nid = \"/id\"\nsource = \"/s\"\ntime = {{ from = \"/t\", {time} }}\ndata = {{ order = \"/order\" }}\n"
        ),
        expected,
    );
}

#[test]
fn times() {
    for good in [
        "format = \"unix_ns\"",
        "format = \"%s\"",
        "format = \"%d.%m.%Y %H:%M\", zone = \"Europe/Berlin\"",
        "format = \"%d.%m.%Y %H:%M %z\"",
        "format = \"%d.%m.%Y\", zone = \"UTC\", day = \"start\"",
    ] {
        time(good, "");
    }
    time("zone = \"UTC\"", "line 5: always.time: state how the time is written: `format`");
    time(
        "format = \"unix\"",
        "line 5: always.time.format: there is no time format \"unix\" here: expected one of rfc3339, unix_s, unix_ms, unix_us, unix_ns",
    );
    time(
        "format = \"unix_sm\"",
        "line 5: always.time.format: there is no time format \"unix_sm\" here: perhaps \"unix_s\" was meant",
    );
    time(
        "format = \"unix_ms\", zone = \"UTC\"",
        "line 5: always.time.zone: \"unix_ms\" needs none",
    );
    time(
        "format = \"%d.%m.%Y %H:%M\"",
        "line 5: always.time.format: the format has no offset: state `zone`, such as \"Europe/Berlin\", \"UTC\" or \"-03:00\"",
    );
    time(
        "format = \"%H:%M\", zone = \"UTC\"",
        "line 5: always.time.format: \"%H:%M\" cannot be read as a time: it does not give year, month and day",
    );
    time(
        "format = \"%d.%m.%Y\", zone = \"UTC\"",
        "line 5: always.time.format: the format has no time of day: state day = \"start\" or day = \"end\"",
    );
    time(
        "format = \"%F %T\", zone = \"UTC\", day = \"end\"",
        "line 5: always.time.day: the format has a time of day",
    );
    time(
        "format = \"%F %T %z\", zone = \"UTC\"",
        "line 5: always.time.zone: the format has an offset of its own, so there is no zone to state",
    );
    time(
        "format = \"rfc3339\", written_as = \"number\"",
        "line 5: always.time.written_as: `time` has one way to be written",
    );
}

#[test]
fn rules() {
    let envelope =
        "[event]\nid = \"/id\"\nsource = \"/s\"\ntime = { from = \"/t\", format = \"rfc3339\" }\n";
    let rule = |rules: &str, expected: &str| check(&format!("{envelope}{rules}"), expected);
    rule(
        "[[always]]\nskip = true\n[[always]]\nskip = true\n",
        "line 7: always[1]: never reached: the rule before it has no `when`",
    );
    rule(
        "[always]\nskip = true\nbecomes = \"order.placed\"\n",
        "line 7: always.becomes: a record that is skipped does not become an event",
    );
    rule(
        "[always]\nbecomes = \"feedback.submitted\"\ndata = {}\n",
        "line 7: always.data: feedback.submitted needs `customer` or `order`
         line 7: always.data: feedback.submitted needs `rating` or `text`",
    );
    rule("[always]\nbecomes = \"order.cancelled\"\n", "line 5: always: `data` is missing");
    rule(
        "[always]\nbecomes = \"order.cancelled\"\neach = \"/all\"\ndata = { order = \"/o\" }\n",
        "line 7: always.each: every element needs an `id` of its own in this rule: one that reads from the element, or {#}",
    );
    rule(
        "[always]\nbecomes = \"order.cancelled\"\neach = \"/all\"\nid = { template = \"{^/id}-{#}\" }\ndata = { order = \"/o\" }\n",
        "",
    );
    rule(
        "[always]\nwhen = { presnt = \"/a\", differ = [\"/a\"] }\nskip = true\n",
        "line 6: always.when.presnt: there is no key \"presnt\" here: perhaps \"present\" was meant
         line 6: always.when.differ: expected two pointers",
    );
    rule(
        "[always]\nbecomes = \"case.opened\"\ndata = { case = \"/c\", customer = \"/w\", severity = { from = \"/s\", values = { a = 9 } }, queue = \"/q\", skills = {} }\n",
        "line 7: always.data.severity.values.a: expected an integer from 1 to 4, found 9
         line 7: always.data.skills: expected a list of sources, or a table with `each`",
    );
    check(
        "[always]\nbecomes = \"order.cancelled\"\ndata = { order = \"/o\" }\n",
        "line 1: always: `source` is missing: state it here, or for all rules under [event]
         line 1: always: `id` is missing: state it here, or for all rules under [event]
         line 1: always: `time` is missing: state it here, or for all rules under [event]",
    );
}

const RECORDS: &str = r#"
discriminator = "/type"
[event]
id = "/id"
source = { constant = "s" }
time = { from = "/at", format = "unix_ms" }
[types.order]
becomes = "order.placed"
[types.order.data]
order = { template = "o-{/id}-{/n}" }
customer = { from = ["/meta/who", "/who"] }
currency = { from = "/cur", values = { euro = "EUR" } }
[types.order.data.lines]
each = "/items"
sku = "/sku"
quantity = "/n"
unit_price = { sum = ["/price", "/freight"], unit = "major", decimals = 2 }
[[types.status]]
when = { present = "/status" }
becomes = "order.status_changed"
data = { order = "/id", status = "/status" }
[types.said]
becomes = "feedback.submitted"
data = { customer = "/who", rating = "/rating", text = "/text" }
"#;

/// Decodes a record and compares what is told of it.
fn told(record: &str, expected: &str) {
    let mapping = Mapping::compile(RECORDS).unwrap();
    let mut events = 0;
    let found = mapping.decode(record.as_bytes(), |_| events += 1);
    let problem = found.expect_err(record);
    assert_eq!(format!("{}: {problem}", problem.code), expected, "{record}");
    assert_eq!(events, 0, "nothing of a refused record may be taken");
}

#[test]
fn records() {
    told("", "schemas/not-json: expected a value, found the end, after 0 bytes");
    told("{\"id\":1} x", "schemas/not-json: expected nothing after the value, found x at byte 9");
    told(
        "{\"id\":1,\"id\":2}",
        "schemas/not-json: expected each key once in an object, found \"id\":2} at byte 8",
    );
    told(
        "{\"type\":\"order\",\"z\":{\"a\":\"\\ud800\"}}",
        "schemas/not-json: expected surrogates in pairs, found \\ud800\"}} at byte 26",
    );
    told(
        "[]",
        "schemas/unmapped-type: field \"/type\": expected a type that the mapping names, found nothing",
    );
    told(
        "{\"type\":\"odrer\"}",
        "schemas/unmapped-type: field \"/type\": expected a type that the mapping names, found \"odrer\"",
    );
    told(
        "{\"type\":\"status\"}",
        "schemas/unmapped-type: field \"/type\": expected a record that meets the `when` of one of its type's rules, found \"status\"",
    );
    let status =
        |fields: &str, expected: &str| told(&format!("{{\"type\":\"status\",{fields}}}"), expected);
    status(
        "\"status\":\"paid\"",
        "schemas/wrong-shape: field \"/id\": expected a value for id, found nothing",
    );
    status(
        "\"status\":\"paid\",\"id\":7",
        "schemas/wrong-shape: field \"/id\": expected a text, for id, found 7",
    );
    status(
        "\"status\":\"paid\",\"id\":\"\"",
        "schemas/identifier: field \"/id\": expected an identifier: text of 1 to 128 bytes without control characters, for id, found \"\"",
    );
    status(
        "\"status\":\"paid\",\"id\":\"a\\u0000\"",
        "schemas/identifier: field \"/id\": expected an identifier: text of 1 to 128 bytes without control characters, for id, found \"a\\u{0}\"",
    );
    status(
        "\"status\":\"paid\",\"id\":\"a\",\"at\":-1",
        "schemas/time: field \"/at\": expected milliseconds since 1970, up to the year 9999, for time, found -1",
    );
    status(
        "\"status\":\"paid\",\"id\":\"a\",\"at\":\"soon\"",
        "schemas/time: field \"/at\": expected milliseconds since 1970, up to the year 9999, for time, found \"soon\"",
    );
    status(
        "\"status\":\"payed\",\"id\":\"a\",\"at\":1",
        "schemas/out-of-range: field \"/status\": expected one of placed, paid, in_production, quality_checked, shipped, out_for_delivery, delivered, cancelled, returned, problem, for status, found \"payed\"",
    );
    let order = |fields: &str, expected: &str| {
        told(
            &format!(
                "{{\"type\":\"order\",\"id\":\"a\",\"at\":1,\"n\":1,\"who\":\"w\",\"cur\":\"euro\",{fields}}}"
            ),
            expected,
        )
    };
    order(
        "\"items\":[]",
        "schemas/out-of-range: field \"/items\": expected an array of 1 to 256 lines, found an empty array",
    );
    order(
        "\"items\":{}",
        "schemas/wrong-shape: field \"/items\": expected an array, found an object: {}",
    );
    order("\"item\":[]", "schemas/wrong-shape: field \"/items\": expected an array, found nothing");
    order(
        "\"items\":[{\"sku\":\"s\",\"n\":1,\"price\":\"12,00\",\"freight\":1}]",
        "schemas/wrong-shape: field \"/items/0/price\": expected an amount with at most 2 decimals, not negative, for unit_price, found \"12,00\"",
    );
    order(
        "\"items\":[{\"sku\":\"s\",\"n\":1,\"price\":1.005,\"freight\":1}]",
        "schemas/wrong-shape: field \"/items/0/price\": expected an amount with at most 2 decimals, not negative, for unit_price, found 1.005",
    );
    order(
        "\"items\":[{\"sku\":\"s\",\"n\":1,\"price\":1.00}]",
        "schemas/wrong-shape: field \"/items/0/freight\": expected an amount: every part of a sum must be there, for unit_price, found nothing",
    );
    order(
        "\"items\":[{\"sku\":\"s\",\"n\":0,\"price\":1,\"freight\":1}]",
        "schemas/out-of-range: field \"/items/0/n\": expected an integer from 1 to 1000000, for quantity, found 0",
    );
    order(
        "\"items\":[{\"sku\":\"s\",\"n\":1.0,\"price\":1,\"freight\":1}]",
        "schemas/wrong-shape: field \"/items/0/n\": expected an integer from 1 to 1000000, for quantity, found 1.0",
    );
    order(
        "\"items\":[{\"sku\":\"s\",\"n\":1,\"price\":1,\"freight\":1},{\"sku\":\"s\",\"sku\":\"t\"}]",
        "schemas/not-json: field \"/items\": expected each key once in an object, found \"sku\":\"t\"}] at byte 52",
    );
    order(
        "\"items\":[{\"sku\":\"s\",\"n\":1000000,\"price\":99999999,\"freight\":1}]",
        "schemas/out-of-range: field \"/items\": expected lines of at most 10000000000000 minor units together, found more",
    );
    told(
        "{\"type\":\"order\",\"id\":\"a\",\"at\":1,\"n\":1,\"who\":\"w\",\"cur\":\"pound\"}",
        "schemas/out-of-range: field \"/cur\": expected a value that the mapping's table names, for currency, found \"pound\"",
    );
    told(
        "{\"type\":\"order\",\"id\":\"a\",\"at\":1,\"n\":1.5}",
        "schemas/wrong-shape: field \"/n\": expected a text or an integer, for order, found 1.5",
    );
    told(
        "{\"type\":\"order\",\"id\":\"a\",\"at\":1,\"n\":1,\"meta\":7}",
        "schemas/wrong-shape: field \"/meta/who\": expected a value for customer, found nothing",
    );
    told(
        "{\"type\":\"said\",\"id\":\"a\",\"at\":1,\"who\":null,\"text\":\"x\"}",
        "schemas/wrong-shape: field \"/who\": expected a value for customer, found null",
    );
    told(
        "{\"type\":\"said\",\"id\":\"a\",\"at\":1,\"who\":\"w\",\"rating\":6}",
        "schemas/out-of-range: field \"/rating\": expected an integer from 1 to 5, for rating, found 6",
    );
    told(
        "{\"type\":\"said\",\"id\":\"a\",\"at\":1,\"who\":\"w\"}",
        "schemas/wrong-shape: field \"/rating\": expected a value for rating, found nothing",
    );
    let long = format!(
        "{{\"type\":\"said\",\"id\":\"a\",\"at\":1,\"who\":\"w\",\"text\":\"{}\"}}",
        "x".repeat(32 * 1024 + 1)
    );
    told(
        &long,
        "schemas/too-large: field \"/text\": expected text of at most 32 KiB, for text, found \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…",
    );
}

/// Goal: the example in the documentation works. Method: its first TOML block, its JSON block.
#[test]
fn the_documented_example() {
    let page = include_str!("../../docs/mappings.md");
    let block = |language: &str| {
        let (_, rest) = page.split_once(&format!("```{language}\n")).unwrap();
        rest.split_once("\n```").unwrap().0
    };
    let mapping = Mapping::compile(block("toml")).unwrap_or_else(|it| panic!("{it:#?}"));
    let mut told = Vec::new();
    let record = block("json");
    mapping.decode(record.as_bytes(), |event| told.push(format!("{event:?}"))).unwrap();
    let [event] = &told[..] else { panic!("one event: {told:?}") };
    for part in ["\"17:ordered\"", "order: \"17\"", "EUR", "unit_price: 1250", "Some(\"DHL\")"] {
        assert!(event.contains(part), "{part} is not in {event}");
    }
}
