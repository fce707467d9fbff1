//! The tables of ClickHouse, as the catalogue says them: columns, types, statements.
//!
//! In: a [`ViewDef`]. Out: its [`Column`]s (which a sink encodes by) and the text of its migration
//! ([`of_view`]), which lies in `schemas/clickhouse/` (a test holds the two together).
//!
//! # Meaning
//! Of a view `orders` there are two tables and three views:
//!
//! ```text
//!  orders_rows     the newest row of each key      ──▶ orders              what is so now
//!  orders_changes  every row that ever was         ─┬▶ orders_at(epoch=…)  what was so then
//!                  (epoch, incarnation, diff, row)  └▶ orders_now          at the last mark
//! ```
//!
//! # Invariants
//! - Every table is a ReplacingMergeTree with `row_id` in its sorting key, so that a row that came
//!   twice is one under FINAL; and remembers the tokens of its last inserts.
//! - What a later incarnation has voided is left out by the views, not by the tables: the rule is
//!   in one place ([`STILL_COUNTS`]).
//! - A name of ours is no field's ([`RESERVED`]; a test).
//!
//! # Why this way
//! Money of several currencies is a map of minor units; an amount beside its currency is a whole
//! number of minor units, as everywhere else in Millstream: no rounding between the two, and a
//! currency's number of decimals is not a property of a column. Text that takes few values is
//! LowCardinality ([`FEW_WORDS`]), a closed list of words an Enum ([`CLOSED`]): the type of a
//! value in the catalogue does not say that.

use std::fmt::Write as _;

use crate::events::Status;
use crate::rows::{FieldDef, FieldKind, ViewDef};

/// Inserts whose tokens a table remembers: at one insert a second, a quarter of an hour.
pub const WINDOW: u32 = 1_000;

/// A migration: number and name, and its statements. Of a view `orders` the first is `NNNN_orders`; one
/// that carries its tables forward is `NNNN_orders_WHAT`.
pub type Migration = (&'static str, &'static str);

/// The migrations, in their order.
pub const MIGRATIONS: &[Migration] = &[
    ("0001_base", include_str!("clickhouse/0001_base.sql")),
    ("0002_customers", include_str!("clickhouse/0002_customers.sql")),
    ("0003_orders", include_str!("clickhouse/0003_orders.sql")),
    ("0004_cases", include_str!("clickhouse/0004_cases.sql")),
    ("0005_volume", include_str!("clickhouse/0005_volume.sql")),
    ("0006_records", include_str!("clickhouse/0006_records.sql")),
    ("0007_orders_by_status", include_str!("clickhouse/0007_orders_by_status.sql")),
    ("0008_top_customers", include_str!("clickhouse/0008_top_customers.sql")),
    ("0009_sentiment", include_str!("clickhouse/0009_sentiment.sql")),
    ("0010_sentiment_by_customer", include_str!("clickhouse/0010_sentiment_by_customer.sql")),
    ("0011_sentiment_by_product", include_str!("clickhouse/0011_sentiment_by_product.sql")),
    ("0012_sentiment_by_day", include_str!("clickhouse/0012_sentiment_by_day.sql")),
    ("0013_model_quality", include_str!("clickhouse/0013_model_quality.sql")),
    ("0014_claims", include_str!("clickhouse/0014_claims.sql")),
    ("0015_priority_queue", include_str!("clickhouse/0015_priority_queue.sql")),
    ("0016_sla", include_str!("clickhouse/0016_sla.sql")),
    ("0017_queue_load", include_str!("clickhouse/0017_queue_load.sql")),
    ("0018_order_visibility", include_str!("clickhouse/0018_order_visibility.sql")),
    ("0019_order_exceptions", include_str!("clickhouse/0019_order_exceptions.sql")),
    ("0020_notifications", include_str!("clickhouse/0020_notifications.sql")),
    ("0021_load_forecast", include_str!("clickhouse/0021_load_forecast.sql")),
    ("0022_health", include_str!("clickhouse/0022_health.sql")),
    ("0023_profiles", include_str!("clickhouse/0023_profiles.sql")),
    ("0024_identifiers", include_str!("clickhouse/0024_identifiers.sql")),
    ("0025_identity_conflicts", include_str!("clickhouse/0025_identity_conflicts.sql")),
    ("0026_erasures", include_str!("clickhouse/0026_erasures.sql")),
    ("0027_capacity", include_str!("clickhouse/0027_capacity.sql")),
    ("0028_capacity_advice", include_str!("clickhouse/0028_capacity_advice.sql")),
    ("0029_order_kpis", include_str!("clickhouse/0029_order_kpis.sql")),
    (
        "0030_order_visibility_eta_model",
        include_str!("clickhouse/0030_order_visibility_eta_model.sql"),
    ),
    ("0031_profile_health", include_str!("clickhouse/0031_profile_health.sql")),
    ("0032_load_forecast_model", include_str!("clickhouse/0032_load_forecast_model.sql")),
    ("0033_model_quality_of_all", include_str!("clickhouse/0033_model_quality_of_all.sql")),
    ("0034_order_visibility_reasons", include_str!("clickhouse/0034_order_visibility_reasons.sql")),
    ("0035_sentiment_by_day_past", include_str!("clickhouse/0035_sentiment_by_day_past.sql")),
    (
        "0036_model_quality_of_promises_and_silences",
        include_str!("clickhouse/0036_model_quality_of_promises_and_silences.sql"),
    ),
    ("0037_load_forecast_reasons", include_str!("clickhouse/0037_load_forecast_reasons.sql")),
    (
        "0038_order_visibility_next_by_model",
        include_str!("clickhouse/0038_order_visibility_next_by_model.sql"),
    ),
];

/// How a statement of a migration may begin, and what the name of its table or view stands behind: each may
/// be run twice.
pub const STATEMENTS: [&str; 3] =
    ["CREATE TABLE IF NOT EXISTS ", "CREATE OR REPLACE VIEW ", "ALTER TABLE "];

/// The table or view that a statement makes or changes.
pub fn about(statement: &str) -> Option<&str> {
    let begin = STATEMENTS.iter().find(|it| statement.starts_with(**it))?;
    statement[begin.len()..].split([' ', '(', '\n']).next()
}

/// The statements of a migration, one by one: each ends with `;` at the end of a line. Lines of
/// comment are left out.
pub fn statements(text: &str) -> Vec<String> {
    let lines = text.lines().filter(|it| !it.trim_start().starts_with("--"));
    let text = lines.collect::<Vec<_>>().join("\n") + "\n";
    let each = text.split(";\n").map(str::trim).filter(|it| !it.is_empty());
    each.map(str::to_string).collect()
}

/// Columns that are ours in every table of a view; no field has such a name.
pub const RESERVED: &[&str] =
    &["tenant", "key_text", "epoch", "incarnation", "is_deleted", "diff", "row_id", "row_version"];

/// Text fields that take few values: by view (`*`: all) and name.
pub const FEW_WORDS: &[(&str, &str)] = &[
    ("*", "currency"),
    ("customers", "tier"),
    ("customers", "language"),
    ("customers", "country"),
    ("customers", "time_zone"),
    ("orders", "channel"),
    ("cases", "queue"),
    ("cases", "agent"),
    ("volume", "type"),
    ("records", "table"),
    ("orders_by_status", "status"),
    ("sentiment", "type"),
    ("sentiment", "model"),
    ("*", "class"),
    ("claims", "queue"),
    ("claims", "agent"),
    ("priority_queue", "queue"),
    ("sla", "queue"),
    ("sla", "agent"),
    ("queue_load", "queue"),
    ("order_visibility", "next"),
    ("order_visibility", "next_by_model"),
    ("order_visibility", "eta_model"),
    ("order_exceptions", "model"),
    ("notifications", "rule"),
    ("notifications", "view"),
    ("notifications", "channel"),
    ("notifications", "severity"),
    ("load_forecast", "series"),
    ("load_forecast", "model"),
    ("model_quality", "series"),
    ("health", "band"),
    ("health", "band_before"),
    ("profile_health", "band"),
    ("profile_health", "band_before"),
    ("profiles", "tier"),
    ("profiles", "language"),
    ("profiles", "country"),
    ("profiles", "time_zone"),
    ("identifiers", "kind"),
    ("identity_conflicts", "kind"),
    ("capacity", "process"),
    ("capacity_advice", "process"),
    ("order_kpis", "ship_from"),
    ("order_kpis", "ship_to"),
];

/// Text fields whose words are a closed list.
pub const CLOSED: &[(&str, &str, &[&str])] = &[
    ("orders", "status", &STATUSES),
    ("cases", "status", &["open", "assigned", "resolved"]),
    ("sentiment", "label", &["negative", "neutral", "positive"]),
    ("claims", "did", &["claimed", "released", "completed"]),
    ("order_visibility", "status", &STATUSES),
    ("order_exceptions", "status", &STATUSES),
    (
        "order_exceptions",
        "exception",
        &["late", "not_in_production", "stuck", "problem", "contradictory", "split", "returned"],
    ),
    ("notifications", "state", &["planned", "delivered", "refused", "expired", "suppressed"]),
    ("load_forecast", "of", &["events", "measured"]),
    (
        "model_quality",
        "of",
        &[
            "texts",
            "events",
            "measured",
            "paid",
            "in_production",
            "quality_checked",
            "shipped",
            "out_for_delivery",
            "silences",
        ],
    ),
    ("identifiers", "why_not", &["blocked", "kind", "too_many"]),
    ("identity_conflicts", "reason", &["too_large", "separated", "contradiction"]),
    ("capacity", "advice", &["unknown", "enough", "more"]),
    ("capacity_advice", "advice", &["unknown", "enough", "more"]),
    ("sla", "state", &["on_time", "due_soon", "breached", "kept", "missed"]),
];

const STATUSES: [&str; Status::ALL.len()] = {
    let mut words = [""; Status::ALL.len()];
    let mut at = 0;
    while at < words.len() {
        words[at] = Status::ALL[at].as_str();
        at += 1;
    }
    words
};

/// What a column holds; see [`Column::sql_type`] for its name there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// Text.
    Text,
    /// Text that takes few values.
    Words,
    /// One of these words.
    One(&'static [&'static str]),
    /// A signed whole number, 64 bits.
    Int,
    /// An unsigned whole number, 64 bits.
    Number,
    /// An unsigned whole number, 32 bits.
    Small,
    /// 0 or 1.
    Flag,
    /// -1 or 1.
    Sign,
    /// True or false.
    Bool,
    /// An instant, in milliseconds.
    Time,
    /// Currencies and minor units.
    Money,
    /// JSON as text.
    Json,
}

/// A column that is inserted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub of: Of,
    /// May be null.
    pub nullable: bool,
    /// In words.
    pub words: String,
}

impl Column {
    fn own(name: &'static str, of: Of, words: &str) -> Column {
        Column { name, of, nullable: false, words: words.to_string() }
    }

    /// Its type, as ClickHouse writes it.
    pub fn sql_type(&self) -> String {
        let plain = match self.of {
            Of::Text | Of::Json => "String".to_string(),
            Of::Words if self.nullable => return "LowCardinality(Nullable(String))".to_string(),
            Of::Words => return "LowCardinality(String)".to_string(),
            Of::One(words) => {
                let each =
                    words.iter().zip(1..).map(|(word, n): (_, i8)| format!("'{word}' = {n}"));
                format!("Enum8({})", each.collect::<Vec<_>>().join(", "))
            }
            Of::Int => "Int64".to_string(),
            Of::Number => "UInt64".to_string(),
            Of::Small => "UInt32".to_string(),
            Of::Flag => "UInt8".to_string(),
            Of::Sign => "Int8".to_string(),
            Of::Bool => "Bool".to_string(),
            Of::Time => "DateTime64(3, 'UTC')".to_string(),
            Of::Money => return "Map(LowCardinality(String), Int64)".to_string(),
        };
        if self.nullable { format!("Nullable({plain})") } else { plain }
    }

    fn codec(&self) -> &'static str {
        match (self.of, self.name) {
            (Of::Json, _) => " CODEC(ZSTD(1))",
            (Of::Number, "epoch") => " CODEC(Delta, LZ4)",
            (Of::Number, "incarnation") => " CODEC(T64, LZ4)",
            _ => "",
        }
    }
}

/// The column of a field.
fn of_field(view: &ViewDef, field: &FieldDef) -> Column {
    let is = |it: &(&str, &str)| (it.0 == view.name || it.0 == "*") && it.1 == field.name;
    let closed = CLOSED.iter().find(|it| (it.0, it.1) == (view.name, field.name));
    let of = match field.kind {
        FieldKind::Text => match closed {
            Some((_, _, words)) => Of::One(words),
            None if FEW_WORDS.iter().any(is) => Of::Words,
            None => Of::Text,
        },
        FieldKind::Int => Of::Int,
        FieldKind::Bool => Of::Bool,
        FieldKind::Time => Of::Time,
        FieldKind::Money => Of::Money,
        FieldKind::Json => Of::Json,
    };
    let more = match of {
        Of::Money => " Minor units by currency.",
        Of::Json => " JSON.",
        _ => "",
    };
    // A map and a document say "nothing" by being empty.
    let nullable = field.nullable && !matches!(of, Of::Money | Of::Json);
    Column { name: field.name, of, nullable, words: format!("{}{more}", field.words) }
}

/// Which of a view's two tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// Current rows.
    Rows,
    /// Changes.
    Changes,
}

impl Table {
    /// Its name.
    pub fn name(self, view: &str) -> String {
        match self {
            Table::Rows => format!("{view}_rows"),
            Table::Changes => format!("{view}_changes"),
        }
    }
}

/// The columns of a view's table that are inserted, in the order of an insert: tenant and key, the
/// fields, then what is ours.
pub fn columns(view: &ViewDef, table: Table) -> Vec<Column> {
    let mut all = vec![
        Column::own("tenant", Of::Words, "Whose it is."),
        Column::own(
            "key_text",
            Of::Text,
            "The row's key, as in /v1/views: its parts, joined by /.",
        ),
    ];
    all.extend(view.fields.iter().map(|it| of_field(view, it)));
    all.push(Column::own(
        "epoch",
        Of::Number,
        match table {
            Table::Rows => {
                "When the row last changed: milliseconds since 1970, the epoch of answers."
            }
            Table::Changes => {
                "From when on it is so: milliseconds since 1970, the epoch of answers."
            }
        },
    ));
    all.push(Column::own(
        "incarnation",
        Of::Number,
        "Which life of the state said it; a later one wins.",
    ));
    all.push(match table {
        Table::Rows => Column::own("is_deleted", Of::Flag, "1: there is no such row any more."),
        Table::Changes => Column::own(
            "diff",
            Of::Sign,
            "1: the row is so from epoch on; -1: there is none from epoch on.",
        ),
    });
    all
}

/// The columns of `events_rows` that are inserted.
pub fn event_columns() -> Vec<Column> {
    vec![
        Column::own("tenant", Of::Words, "Whose it is."),
        Column::own("source", Of::Words, "CloudEvents source: who stated it."),
        Column::own("id", Of::Text, "CloudEvents id; unique with tenant and source."),
        Column::own("type", Of::Words, "What happened, such as order.placed."),
        Column::own("subject", Of::Text, "The entity it is about; empty if none was named."),
        Column::own("time", Of::Time, "When it happened."),
        Column::own("appended_at", Of::Time, "When its log took it."),
        Column::own("feed", Of::Words, "Where it was read."),
        Column::own("partition", Of::Small, "Its partition there."),
        Column::own("offset", Of::Number, "Its offset there."),
        Column::own("event", Of::Json, "The whole event: structured CloudEvents JSON."),
        Column::own(
            "epoch",
            Of::Number,
            "The epoch in which it was applied: milliseconds since 1970.",
        ),
        Column::own("incarnation", Of::Number, "Which life of the state applied it."),
    ]
}

/// The columns of `_progress` that are inserted.
pub fn progress_columns() -> Vec<Column> {
    vec![
        Column::own("incarnation", Of::Number, "Which life of the state."),
        Column::own(
            "mark",
            Of::One(&["latest", "whole"]),
            "latest: all up to epoch is here; whole: from this epoch on everything of this life is here.",
        ),
        Column::own("epoch", Of::Number, "Milliseconds since 1970."),
        Column::own(
            "forked_at",
            Of::Number,
            "The newest epoch of the life before that still counts.",
        ),
        Column::own("row_version", Of::Number, "Which of two rows stands."),
    ]
}

/// Whether a row of an earlier incarnation still counts: not, from where a later one forked off.
///
/// A scalar subquery: computed once per statement, over a row or two per incarnation; a life that
/// none came after is not in the map, which says 0 then.
pub const STILL_COUNTS: &str = "((SELECT void_from FROM _voids)[incarnation] = 0 \
    OR epoch < (SELECT void_from FROM _voids)[incarnation])";

fn quoted(text: &str) -> String {
    let one_line: Vec<&str> = text.split_whitespace().collect();
    format!("'{}'", one_line.join(" ").replace('\\', "\\\\").replace('\'', "\\'"))
}

fn column_lines(columns: &[Column]) -> String {
    let mut text = String::new();
    for it in columns {
        let (kind, codec) = (it.sql_type(), it.codec());
        let words = quoted(&it.words);
        // Infallible: into a String.
        writeln!(text, "    `{}` {kind} COMMENT {words}{codec},", it.name).unwrap_or_default();
    }
    text
}

/// The rows of a view as of an epoch: of each key the newest change that counts, unless that says
/// that there is none. (A change that came twice is one here, too.)
pub fn as_of(name: &str, fields: &str, epoch: &str) -> String {
    format!(
        "SELECT {fields}, epoch
FROM (
    SELECT *
    FROM {name}_changes
    WHERE epoch <= {epoch}
      AND incarnation >= (SELECT max(incarnation) FROM _incarnations WHERE whole_from BETWEEN 1 AND {epoch})
      AND {STILL_COUNTS}
    ORDER BY tenant DESC, key_text DESC, incarnation DESC, epoch DESC
    LIMIT 1 BY tenant, key_text
)
WHERE diff = 1"
    )
}

/// The migration of a view: its two tables and its three views.
pub fn of_view(view: &ViewDef) -> String {
    let name = view.name;
    let rows = column_lines(&columns(view, Table::Rows));
    let changes = column_lines(&columns(view, Table::Changes));
    let fields: Vec<String> = view.fields.iter().map(|it| format!("`{}`", it.name)).collect();
    let fields = fields.join(", ");
    let words = quoted(view.words);
    let [at, now] = ["{epoch:UInt64}", "(SELECT epoch FROM _now)"]
        .map(|it| as_of(name, &format!("tenant, {fields}"), it));
    let said = |more: &str| quoted(&format!("{} {more}", view.words));
    format!(
        "-- The view `{name}`. Generated from the catalogue (schemas/clickhouse.rs); not to be edited:
-- once released, a change of the catalogue is a migration of its own.

CREATE TABLE IF NOT EXISTS {name}_rows (
{rows}    row_id UInt128 MATERIALIZED reinterpretAsUInt128(sipHash128(tenant, key_text)) COMMENT 'One per key.',
    row_version UInt128 MATERIALIZED bitShiftLeft(toUInt128(incarnation), 64) + epoch COMMENT 'The greatest of a key stands.'
) ENGINE = ReplacingMergeTree(row_version, is_deleted)
ORDER BY (tenant, key_text, row_id)
SETTINGS non_replicated_deduplication_window = {WINDOW}
COMMENT {current};

CREATE TABLE IF NOT EXISTS {name}_changes (
{changes}    row_id UInt128 MATERIALIZED reinterpretAsUInt128(sipHash128(tenant, key_text, epoch, incarnation)) COMMENT 'One per key and epoch.'
) ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(fromUnixTimestamp64Milli(epoch, 'UTC'))
ORDER BY (tenant, key_text, incarnation, epoch, row_id)
SETTINGS non_replicated_deduplication_window = {WINDOW}
COMMENT {history};

CREATE OR REPLACE VIEW {name} AS
SELECT tenant, {fields}, epoch
FROM {name}_rows FINAL
WHERE incarnation >= (SELECT max(incarnation) FROM _incarnations WHERE whole_from > 0)
  AND {STILL_COUNTS}
COMMENT {words};

CREATE OR REPLACE VIEW {name}_at AS
{at}
COMMENT {at_words};

CREATE OR REPLACE VIEW {name}_now AS
{now}
COMMENT {now_words};
",
        current = said("The newest row of each key; read it through the view of the plain name."),
        history = said("Every row that ever was, with the epoch from which on it was so."),
        at_words = said("As it was at any epoch: orders_at(epoch = 1767225600000).".replace("orders", name).as_str()),
        now_words = said("As of the last mark: views read so in one statement are of one instant."),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the tables that are no view's have the columns that a sink writes. Method: their
    /// lines in the file.
    #[test]
    fn the_base_has_the_columns_that_are_written() {
        let base = MIGRATIONS[0].1;
        for columns in [event_columns(), progress_columns()] {
            let lines = column_lines(&columns);
            assert!(base.contains(&lines), "schemas/clickhouse/0001_base.sql lacks:\n{lines}");
        }
        assert!(base.contains(STILL_COUNTS), "events that were voided are shown");
    }

    /// Goal: types are what an analyst expects. Method: a field of each kind, by its type.
    #[test]
    fn types_are_what_an_analyst_expects() {
        let check = |view: &'static str, name: &'static str, kind, nullable, expected: &str| {
            let def = ViewDef {
                name: view,
                words: "",
                shape: crate::rows::Shape::Fold,
                key: &[],
                fields: &[],
            };
            let field = FieldDef::new(name, kind, nullable, false, "It's so.");
            assert_eq!(of_field(&def, &field).sql_type(), expected);
        };
        check("orders", "customer", FieldKind::Text, true, "Nullable(String)");
        check("orders", "currency", FieldKind::Text, true, "LowCardinality(Nullable(String))");
        check("volume", "type", FieldKind::Text, false, "LowCardinality(String)");
        check("orders", "amount", FieldKind::Int, true, "Nullable(Int64)");
        check("orders", "placed_at", FieldKind::Time, false, "DateTime64(3, 'UTC')");
        check("orders", "late", FieldKind::Bool, true, "Nullable(Bool)");
        check("orders", "spend", FieldKind::Money, false, "Map(LowCardinality(String), Int64)");
        check("orders", "lines", FieldKind::Json, false, "String");
        let status = "Enum8('open' = 1, 'assigned' = 2, 'resolved' = 3)";
        check("cases", "status", FieldKind::Text, false, status);
        assert_eq!(quoted("it's\n  so"), "'it\\'s so'");
    }
}
