-- The view `capacity_advice`. Generated from the catalogue (schemas/clickhouse.rs); not to be edited:
-- once released, a change of the catalogue is a migration of its own.

CREATE TABLE IF NOT EXISTS capacity_advice_rows (
    `tenant` LowCardinality(String) COMMENT 'Whose it is.',
    `key_text` String COMMENT 'The row\'s key, as in /v1/views: its parts, joined by /.',
    `process` LowCardinality(String) COMMENT 'Which process.',
    `advice` Enum8('unknown' = 1, 'enough' = 2, 'more' = 3) COMMENT 'unknown, enough, or more.',
    `workers` Int64 COMMENT 'Workers that there are.',
    `workers_wanted` Nullable(Int64) COMMENT 'Where more are advised: workers, each with a processor, that would do.',
    `reason` String COMMENT 'Why, in words.',
    `epoch` UInt64 COMMENT 'When the row last changed: milliseconds since 1970, the epoch of answers.' CODEC(Delta, LZ4),
    `incarnation` UInt64 COMMENT 'Which life of the state said it; a later one wins.' CODEC(T64, LZ4),
    `is_deleted` UInt8 COMMENT '1: there is no such row any more.',
    row_id UInt128 MATERIALIZED reinterpretAsUInt128(sipHash128(tenant, key_text)) COMMENT 'One per key.',
    row_version UInt128 MATERIALIZED bitShiftLeft(toUInt128(incarnation), 64) + epoch COMMENT 'The greatest of a key stands.'
) ENGINE = ReplacingMergeTree(row_version, is_deleted)
ORDER BY (tenant, key_text, row_id)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'Whether there are workers enough for what comes: changes only when the answer does. The newest row of each key; read it through the view of the plain name.';

CREATE TABLE IF NOT EXISTS capacity_advice_changes (
    `tenant` LowCardinality(String) COMMENT 'Whose it is.',
    `key_text` String COMMENT 'The row\'s key, as in /v1/views: its parts, joined by /.',
    `process` LowCardinality(String) COMMENT 'Which process.',
    `advice` Enum8('unknown' = 1, 'enough' = 2, 'more' = 3) COMMENT 'unknown, enough, or more.',
    `workers` Int64 COMMENT 'Workers that there are.',
    `workers_wanted` Nullable(Int64) COMMENT 'Where more are advised: workers, each with a processor, that would do.',
    `reason` String COMMENT 'Why, in words.',
    `epoch` UInt64 COMMENT 'From when on it is so: milliseconds since 1970, the epoch of answers.' CODEC(Delta, LZ4),
    `incarnation` UInt64 COMMENT 'Which life of the state said it; a later one wins.' CODEC(T64, LZ4),
    `diff` Int8 COMMENT '1: the row is so from epoch on; -1: there is none from epoch on.',
    row_id UInt128 MATERIALIZED reinterpretAsUInt128(sipHash128(tenant, key_text, epoch, incarnation)) COMMENT 'One per key and epoch.'
) ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(fromUnixTimestamp64Milli(epoch, 'UTC'))
ORDER BY (tenant, key_text, incarnation, epoch, row_id)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'Whether there are workers enough for what comes: changes only when the answer does. Every row that ever was, with the epoch from which on it was so.';

CREATE OR REPLACE VIEW capacity_advice AS
SELECT tenant, `process`, `advice`, `workers`, `workers_wanted`, `reason`, epoch
FROM capacity_advice_rows FINAL
WHERE incarnation >= (SELECT max(incarnation) FROM _incarnations WHERE whole_from > 0)
  AND ((SELECT void_from FROM _voids)[incarnation] = 0 OR epoch < (SELECT void_from FROM _voids)[incarnation])
COMMENT 'Whether there are workers enough for what comes: changes only when the answer does.';

CREATE OR REPLACE VIEW capacity_advice_at AS
SELECT tenant, `process`, `advice`, `workers`, `workers_wanted`, `reason`, epoch
FROM (
    SELECT *
    FROM capacity_advice_changes
    WHERE epoch <= {epoch:UInt64}
      AND incarnation >= (SELECT max(incarnation) FROM _incarnations WHERE whole_from BETWEEN 1 AND {epoch:UInt64})
      AND ((SELECT void_from FROM _voids)[incarnation] = 0 OR epoch < (SELECT void_from FROM _voids)[incarnation])
    ORDER BY tenant DESC, key_text DESC, incarnation DESC, epoch DESC
    LIMIT 1 BY tenant, key_text
)
WHERE diff = 1
COMMENT 'Whether there are workers enough for what comes: changes only when the answer does. As it was at any epoch: capacity_advice_at(epoch = 1767225600000).';

CREATE OR REPLACE VIEW capacity_advice_now AS
SELECT tenant, `process`, `advice`, `workers`, `workers_wanted`, `reason`, epoch
FROM (
    SELECT *
    FROM capacity_advice_changes
    WHERE epoch <= (SELECT epoch FROM _now)
      AND incarnation >= (SELECT max(incarnation) FROM _incarnations WHERE whole_from BETWEEN 1 AND (SELECT epoch FROM _now))
      AND ((SELECT void_from FROM _voids)[incarnation] = 0 OR epoch < (SELECT void_from FROM _voids)[incarnation])
    ORDER BY tenant DESC, key_text DESC, incarnation DESC, epoch DESC
    LIMIT 1 BY tenant, key_text
)
WHERE diff = 1
COMMENT 'Whether there are workers enough for what comes: changes only when the answer does. As of the last mark: views read so in one statement are of one instant.';
