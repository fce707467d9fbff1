-- The view `priority_queue`. Generated from the catalogue (schemas/clickhouse.rs); not to be edited:
-- once released, a change of the catalogue is a migration of its own.

CREATE TABLE IF NOT EXISTS priority_queue_rows (
    `tenant` LowCardinality(String) COMMENT 'Whose it is.',
    `key_text` String COMMENT 'The row\'s key, as in /v1/views: its parts, joined by /.',
    `case` String COMMENT 'The case.',
    `queue` LowCardinality(String) COMMENT 'Where it waits.',
    `severity` Int64 COMMENT '1 (most severe) to 4.',
    `class` LowCardinality(String) COMMENT 'Severity, and the customer\'s tier and band of health, as far as known: P2/gold.',
    `customer` String COMMENT 'Whose case.',
    `opened_at` DateTime64(3, 'UTC') COMMENT 'When it was opened (last).',
    `due_at` DateTime64(3, 'UTC') COMMENT 'The promise: work begins by then. opened_at and the time of its class.',
    `deadline` DateTime64(3, 'UTC') COMMENT 'What the queue is ordered by: the promise, brought forward by what is known of the customer now.',
    `reasons` String COMMENT 'Why the deadline is earlier than the promise: a list of words. JSON.' CODEC(ZSTD(1)),
    `skills` String COMMENT 'What it takes to solve it: a list of names. JSON.' CODEC(ZSTD(1)),
    `epoch` UInt64 COMMENT 'When the row last changed: milliseconds since 1970, the epoch of answers.' CODEC(Delta, LZ4),
    `incarnation` UInt64 COMMENT 'Which life of the state said it; a later one wins.' CODEC(T64, LZ4),
    `is_deleted` UInt8 COMMENT '1: there is no such row any more.',
    row_id UInt128 MATERIALIZED reinterpretAsUInt128(sipHash128(tenant, key_text)) COMMENT 'One per key.',
    row_version UInt128 MATERIALIZED bitShiftLeft(toUInt128(incarnation), 64) + epoch COMMENT 'The greatest of a key stands.'
) ENGINE = ReplacingMergeTree(row_version, is_deleted)
ORDER BY (tenant, key_text, row_id)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'Which cases wait, and what makes each of them urgent. The newest row of each key; read it through the view of the plain name.';

CREATE TABLE IF NOT EXISTS priority_queue_changes (
    `tenant` LowCardinality(String) COMMENT 'Whose it is.',
    `key_text` String COMMENT 'The row\'s key, as in /v1/views: its parts, joined by /.',
    `case` String COMMENT 'The case.',
    `queue` LowCardinality(String) COMMENT 'Where it waits.',
    `severity` Int64 COMMENT '1 (most severe) to 4.',
    `class` LowCardinality(String) COMMENT 'Severity, and the customer\'s tier and band of health, as far as known: P2/gold.',
    `customer` String COMMENT 'Whose case.',
    `opened_at` DateTime64(3, 'UTC') COMMENT 'When it was opened (last).',
    `due_at` DateTime64(3, 'UTC') COMMENT 'The promise: work begins by then. opened_at and the time of its class.',
    `deadline` DateTime64(3, 'UTC') COMMENT 'What the queue is ordered by: the promise, brought forward by what is known of the customer now.',
    `reasons` String COMMENT 'Why the deadline is earlier than the promise: a list of words. JSON.' CODEC(ZSTD(1)),
    `skills` String COMMENT 'What it takes to solve it: a list of names. JSON.' CODEC(ZSTD(1)),
    `epoch` UInt64 COMMENT 'From when on it is so: milliseconds since 1970, the epoch of answers.' CODEC(Delta, LZ4),
    `incarnation` UInt64 COMMENT 'Which life of the state said it; a later one wins.' CODEC(T64, LZ4),
    `diff` Int8 COMMENT '1: the row is so from epoch on; -1: there is none from epoch on.',
    row_id UInt128 MATERIALIZED reinterpretAsUInt128(sipHash128(tenant, key_text, epoch, incarnation)) COMMENT 'One per key and epoch.'
) ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(fromUnixTimestamp64Milli(epoch, 'UTC'))
ORDER BY (tenant, key_text, incarnation, epoch, row_id)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'Which cases wait, and what makes each of them urgent. Every row that ever was, with the epoch from which on it was so.';

CREATE OR REPLACE VIEW priority_queue AS
SELECT tenant, `case`, `queue`, `severity`, `class`, `customer`, `opened_at`, `due_at`, `deadline`, `reasons`, `skills`, epoch
FROM priority_queue_rows FINAL
WHERE incarnation >= (SELECT max(incarnation) FROM _incarnations WHERE whole_from > 0)
  AND ((SELECT void_from FROM _voids)[incarnation] = 0 OR epoch < (SELECT void_from FROM _voids)[incarnation])
COMMENT 'Which cases wait, and what makes each of them urgent.';

CREATE OR REPLACE VIEW priority_queue_at AS
SELECT tenant, `case`, `queue`, `severity`, `class`, `customer`, `opened_at`, `due_at`, `deadline`, `reasons`, `skills`, epoch
FROM (
    SELECT *
    FROM priority_queue_changes
    WHERE epoch <= {epoch:UInt64}
      AND incarnation >= (SELECT max(incarnation) FROM _incarnations WHERE whole_from BETWEEN 1 AND {epoch:UInt64})
      AND ((SELECT void_from FROM _voids)[incarnation] = 0 OR epoch < (SELECT void_from FROM _voids)[incarnation])
    ORDER BY tenant DESC, key_text DESC, incarnation DESC, epoch DESC
    LIMIT 1 BY tenant, key_text
)
WHERE diff = 1
COMMENT 'Which cases wait, and what makes each of them urgent. As it was at any epoch: priority_queue_at(epoch = 1767225600000).';

CREATE OR REPLACE VIEW priority_queue_now AS
SELECT tenant, `case`, `queue`, `severity`, `class`, `customer`, `opened_at`, `due_at`, `deadline`, `reasons`, `skills`, epoch
FROM (
    SELECT *
    FROM priority_queue_changes
    WHERE epoch <= (SELECT epoch FROM _now)
      AND incarnation >= (SELECT max(incarnation) FROM _incarnations WHERE whole_from BETWEEN 1 AND (SELECT epoch FROM _now))
      AND ((SELECT void_from FROM _voids)[incarnation] = 0 OR epoch < (SELECT void_from FROM _voids)[incarnation])
    ORDER BY tenant DESC, key_text DESC, incarnation DESC, epoch DESC
    LIMIT 1 BY tenant, key_text
)
WHERE diff = 1
COMMENT 'Which cases wait, and what makes each of them urgent. As of the last mark: views read so in one statement are of one instant.';
