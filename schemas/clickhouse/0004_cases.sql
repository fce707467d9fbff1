-- The view `cases`. Generated from the catalogue (schemas/clickhouse.rs); not to be edited:
-- once released, a change of the catalogue is a migration of its own.

CREATE TABLE IF NOT EXISTS cases_rows (
    `tenant` LowCardinality(String) COMMENT 'Whose it is.',
    `key_text` String COMMENT 'The row\'s key, as in /v1/views: its parts, joined by /.',
    `case` String COMMENT 'The case.',
    `status` Enum8('open' = 1, 'assigned' = 2, 'resolved' = 3) COMMENT 'open, assigned or resolved: what was said last, by event time.',
    `severity` Nullable(Int64) COMMENT '1 (most severe) to 4.',
    `queue` LowCardinality(Nullable(String)) COMMENT 'Where it waits.',
    `agent` LowCardinality(Nullable(String)) COMMENT 'Who it was assigned to last.',
    `customer` Nullable(String) COMMENT 'Whose case.',
    `opened_at` Nullable(DateTime64(3, 'UTC')) COMMENT 'When it was opened (last, if it was opened again).',
    `assigned_at` Nullable(DateTime64(3, 'UTC')) COMMENT 'When it was assigned last.',
    `resolved_at` Nullable(DateTime64(3, 'UTC')) COMMENT 'When it was resolved last; a case opened again since then keeps it.',
    `text` Nullable(String) COMMENT 'What it is about, in the customer\'s words.',
    `skills` String COMMENT 'What it takes to solve it: a list of names. JSON.' CODEC(ZSTD(1)),
    `resolution` Nullable(String) COMMENT 'How it was resolved last, in words.',
    `until` Nullable(DateTime64(3, 'UTC')) COMMENT 'When the last assignment ends or ended: from then on the case is open again, unless it was resolved; null: it does not end by itself.',
    `epoch` UInt64 COMMENT 'When the row last changed: milliseconds since 1970, the epoch of answers.' CODEC(Delta, LZ4),
    `incarnation` UInt64 COMMENT 'Which life of the state said it; a later one wins.' CODEC(T64, LZ4),
    `is_deleted` UInt8 COMMENT '1: there is no such row any more.',
    row_id UInt128 MATERIALIZED reinterpretAsUInt128(sipHash128(tenant, key_text)) COMMENT 'One per key.',
    row_version UInt128 MATERIALIZED bitShiftLeft(toUInt128(incarnation), 64) + epoch COMMENT 'The greatest of a key stands.'
) ENGINE = ReplacingMergeTree(row_version, is_deleted)
ORDER BY (tenant, key_text, row_id)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'Where each case stands, who works on it, and what it is about. The newest row of each key; read it through the view of the plain name.';

CREATE TABLE IF NOT EXISTS cases_changes (
    `tenant` LowCardinality(String) COMMENT 'Whose it is.',
    `key_text` String COMMENT 'The row\'s key, as in /v1/views: its parts, joined by /.',
    `case` String COMMENT 'The case.',
    `status` Enum8('open' = 1, 'assigned' = 2, 'resolved' = 3) COMMENT 'open, assigned or resolved: what was said last, by event time.',
    `severity` Nullable(Int64) COMMENT '1 (most severe) to 4.',
    `queue` LowCardinality(Nullable(String)) COMMENT 'Where it waits.',
    `agent` LowCardinality(Nullable(String)) COMMENT 'Who it was assigned to last.',
    `customer` Nullable(String) COMMENT 'Whose case.',
    `opened_at` Nullable(DateTime64(3, 'UTC')) COMMENT 'When it was opened (last, if it was opened again).',
    `assigned_at` Nullable(DateTime64(3, 'UTC')) COMMENT 'When it was assigned last.',
    `resolved_at` Nullable(DateTime64(3, 'UTC')) COMMENT 'When it was resolved last; a case opened again since then keeps it.',
    `text` Nullable(String) COMMENT 'What it is about, in the customer\'s words.',
    `skills` String COMMENT 'What it takes to solve it: a list of names. JSON.' CODEC(ZSTD(1)),
    `resolution` Nullable(String) COMMENT 'How it was resolved last, in words.',
    `until` Nullable(DateTime64(3, 'UTC')) COMMENT 'When the last assignment ends or ended: from then on the case is open again, unless it was resolved; null: it does not end by itself.',
    `epoch` UInt64 COMMENT 'From when on it is so: milliseconds since 1970, the epoch of answers.' CODEC(Delta, LZ4),
    `incarnation` UInt64 COMMENT 'Which life of the state said it; a later one wins.' CODEC(T64, LZ4),
    `diff` Int8 COMMENT '1: the row is so from epoch on; -1: there is none from epoch on.',
    row_id UInt128 MATERIALIZED reinterpretAsUInt128(sipHash128(tenant, key_text, epoch, incarnation)) COMMENT 'One per key and epoch.'
) ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(fromUnixTimestamp64Milli(epoch, 'UTC'))
ORDER BY (tenant, key_text, incarnation, epoch, row_id)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'Where each case stands, who works on it, and what it is about. Every row that ever was, with the epoch from which on it was so.';

CREATE OR REPLACE VIEW cases AS
SELECT tenant, `case`, `status`, `severity`, `queue`, `agent`, `customer`, `opened_at`, `assigned_at`, `resolved_at`, `text`, `skills`, `resolution`, `until`, epoch
FROM cases_rows FINAL
WHERE incarnation >= (SELECT max(incarnation) FROM _incarnations WHERE whole_from > 0)
  AND ((SELECT void_from FROM _voids)[incarnation] = 0 OR epoch < (SELECT void_from FROM _voids)[incarnation])
COMMENT 'Where each case stands, who works on it, and what it is about.';

CREATE OR REPLACE VIEW cases_at AS
SELECT tenant, `case`, `status`, `severity`, `queue`, `agent`, `customer`, `opened_at`, `assigned_at`, `resolved_at`, `text`, `skills`, `resolution`, `until`, epoch
FROM (
    SELECT *
    FROM cases_changes
    WHERE epoch <= {epoch:UInt64}
      AND incarnation >= (SELECT max(incarnation) FROM _incarnations WHERE whole_from BETWEEN 1 AND {epoch:UInt64})
      AND ((SELECT void_from FROM _voids)[incarnation] = 0 OR epoch < (SELECT void_from FROM _voids)[incarnation])
    ORDER BY tenant DESC, key_text DESC, incarnation DESC, epoch DESC
    LIMIT 1 BY tenant, key_text
)
WHERE diff = 1
COMMENT 'Where each case stands, who works on it, and what it is about. As it was at any epoch: cases_at(epoch = 1767225600000).';

CREATE OR REPLACE VIEW cases_now AS
SELECT tenant, `case`, `status`, `severity`, `queue`, `agent`, `customer`, `opened_at`, `assigned_at`, `resolved_at`, `text`, `skills`, `resolution`, `until`, epoch
FROM (
    SELECT *
    FROM cases_changes
    WHERE epoch <= (SELECT epoch FROM _now)
      AND incarnation >= (SELECT max(incarnation) FROM _incarnations WHERE whole_from BETWEEN 1 AND (SELECT epoch FROM _now))
      AND ((SELECT void_from FROM _voids)[incarnation] = 0 OR epoch < (SELECT void_from FROM _voids)[incarnation])
    ORDER BY tenant DESC, key_text DESC, incarnation DESC, epoch DESC
    LIMIT 1 BY tenant, key_text
)
WHERE diff = 1
COMMENT 'Where each case stands, who works on it, and what it is about. As of the last mark: views read so in one statement are of one instant.';
