-- The view `sla`. Generated from the catalogue (schemas/clickhouse.rs); not to be edited:
-- once released, a change of the catalogue is a migration of its own.

CREATE TABLE IF NOT EXISTS sla_rows (
    `tenant` LowCardinality(String) COMMENT 'Whose it is.',
    `key_text` String COMMENT 'The row\'s key, as in /v1/views: its parts, joined by /.',
    `case` String COMMENT 'The case.',
    `queue` LowCardinality(String) COMMENT 'Where it waits or was taken from.',
    `state` Enum8('on_time' = 1, 'due_soon' = 2, 'breached' = 3, 'kept' = 4, 'missed' = 5) COMMENT 'While it waits: on_time, due_soon, breached; while somebody works on it: kept or missed.',
    `class` LowCardinality(String) COMMENT 'As in priority_queue.',
    `customer` String COMMENT 'Whose case.',
    `agent` LowCardinality(Nullable(String)) COMMENT 'Who works on it now.',
    `opened_at` DateTime64(3, 'UTC') COMMENT 'When it was opened (last).',
    `started_at` Nullable(DateTime64(3, 'UTC')) COMMENT 'When that began.',
    `due_at` DateTime64(3, 'UTC') COMMENT 'Promised: work begins by then.',
    `epoch` UInt64 COMMENT 'When the row last changed: milliseconds since 1970, the epoch of answers.' CODEC(Delta, LZ4),
    `incarnation` UInt64 COMMENT 'Which life of the state said it; a later one wins.' CODEC(T64, LZ4),
    `is_deleted` UInt8 COMMENT '1: there is no such row any more.',
    row_id UInt128 MATERIALIZED reinterpretAsUInt128(sipHash128(tenant, key_text)) COMMENT 'One per key.',
    row_version UInt128 MATERIALIZED bitShiftLeft(toUInt128(incarnation), 64) + epoch COMMENT 'The greatest of a key stands.'
) ENGINE = ReplacingMergeTree(row_version, is_deleted)
ORDER BY (tenant, key_text, row_id)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'What was promised to each case that is not resolved, and whether it is kept. The newest row of each key; read it through the view of the plain name.';

CREATE TABLE IF NOT EXISTS sla_changes (
    `tenant` LowCardinality(String) COMMENT 'Whose it is.',
    `key_text` String COMMENT 'The row\'s key, as in /v1/views: its parts, joined by /.',
    `case` String COMMENT 'The case.',
    `queue` LowCardinality(String) COMMENT 'Where it waits or was taken from.',
    `state` Enum8('on_time' = 1, 'due_soon' = 2, 'breached' = 3, 'kept' = 4, 'missed' = 5) COMMENT 'While it waits: on_time, due_soon, breached; while somebody works on it: kept or missed.',
    `class` LowCardinality(String) COMMENT 'As in priority_queue.',
    `customer` String COMMENT 'Whose case.',
    `agent` LowCardinality(Nullable(String)) COMMENT 'Who works on it now.',
    `opened_at` DateTime64(3, 'UTC') COMMENT 'When it was opened (last).',
    `started_at` Nullable(DateTime64(3, 'UTC')) COMMENT 'When that began.',
    `due_at` DateTime64(3, 'UTC') COMMENT 'Promised: work begins by then.',
    `epoch` UInt64 COMMENT 'From when on it is so: milliseconds since 1970, the epoch of answers.' CODEC(Delta, LZ4),
    `incarnation` UInt64 COMMENT 'Which life of the state said it; a later one wins.' CODEC(T64, LZ4),
    `diff` Int8 COMMENT '1: the row is so from epoch on; -1: there is none from epoch on.',
    row_id UInt128 MATERIALIZED reinterpretAsUInt128(sipHash128(tenant, key_text, epoch, incarnation)) COMMENT 'One per key and epoch.'
) ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(fromUnixTimestamp64Milli(epoch, 'UTC'))
ORDER BY (tenant, key_text, incarnation, epoch, row_id)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'What was promised to each case that is not resolved, and whether it is kept. Every row that ever was, with the epoch from which on it was so.';

CREATE OR REPLACE VIEW sla AS
SELECT tenant, `case`, `queue`, `state`, `class`, `customer`, `agent`, `opened_at`, `started_at`, `due_at`, epoch
FROM sla_rows FINAL
WHERE incarnation >= (SELECT max(incarnation) FROM _incarnations WHERE whole_from > 0)
  AND ((SELECT void_from FROM _voids)[incarnation] = 0 OR epoch < (SELECT void_from FROM _voids)[incarnation])
COMMENT 'What was promised to each case that is not resolved, and whether it is kept.';

CREATE OR REPLACE VIEW sla_at AS
SELECT tenant, `case`, `queue`, `state`, `class`, `customer`, `agent`, `opened_at`, `started_at`, `due_at`, epoch
FROM (
    SELECT *
    FROM sla_changes
    WHERE epoch <= {epoch:UInt64}
      AND incarnation >= (SELECT max(incarnation) FROM _incarnations WHERE whole_from BETWEEN 1 AND {epoch:UInt64})
      AND ((SELECT void_from FROM _voids)[incarnation] = 0 OR epoch < (SELECT void_from FROM _voids)[incarnation])
    ORDER BY tenant DESC, key_text DESC, incarnation DESC, epoch DESC
    LIMIT 1 BY tenant, key_text
)
WHERE diff = 1
COMMENT 'What was promised to each case that is not resolved, and whether it is kept. As it was at any epoch: sla_at(epoch = 1767225600000).';

CREATE OR REPLACE VIEW sla_now AS
SELECT tenant, `case`, `queue`, `state`, `class`, `customer`, `agent`, `opened_at`, `started_at`, `due_at`, epoch
FROM (
    SELECT *
    FROM sla_changes
    WHERE epoch <= (SELECT epoch FROM _now)
      AND incarnation >= (SELECT max(incarnation) FROM _incarnations WHERE whole_from BETWEEN 1 AND (SELECT epoch FROM _now))
      AND ((SELECT void_from FROM _voids)[incarnation] = 0 OR epoch < (SELECT void_from FROM _voids)[incarnation])
    ORDER BY tenant DESC, key_text DESC, incarnation DESC, epoch DESC
    LIMIT 1 BY tenant, key_text
)
WHERE diff = 1
COMMENT 'What was promised to each case that is not resolved, and whether it is kept. As of the last mark: views read so in one statement are of one instant.';
