-- The view `claims`. Generated from the catalogue (schemas/clickhouse.rs); not to be edited:
-- once released, a change of the catalogue is a migration of its own.

CREATE TABLE IF NOT EXISTS claims_rows (
    `tenant` LowCardinality(String) COMMENT 'Whose it is.',
    `key_text` String COMMENT 'The row\'s key, as in /v1/views: its parts, joined by /.',
    `claim` String COMMENT 'The request\'s Idempotency-Key.',
    `did` Enum8('claimed' = 1, 'released' = 2, 'completed' = 3) COMMENT 'claimed, released or completed.',
    `case` String COMMENT 'The case.',
    `agent` LowCardinality(Nullable(String)) COMMENT 'Who asked; of a completion, null.',
    `queue` LowCardinality(Nullable(String)) COMMENT 'Which queue; of a completion, null.',
    `at` DateTime64(3, 'UTC') COMMENT 'When it was decided.',
    `until` Nullable(DateTime64(3, 'UTC')) COMMENT 'When the lease ends; of a release, when it was given back; of a completion, null.',
    `epoch` UInt64 COMMENT 'When the row last changed: milliseconds since 1970, the epoch of answers.' CODEC(Delta, LZ4),
    `incarnation` UInt64 COMMENT 'Which life of the state said it; a later one wins.' CODEC(T64, LZ4),
    `is_deleted` UInt8 COMMENT '1: there is no such row any more.',
    row_id UInt128 MATERIALIZED reinterpretAsUInt128(sipHash128(tenant, key_text)) COMMENT 'One per key.',
    row_version UInt128 MATERIALIZED bitShiftLeft(toUInt128(incarnation), 64) + epoch COMMENT 'The greatest of a key stands.'
) ENGINE = ReplacingMergeTree(row_version, is_deleted)
ORDER BY (tenant, key_text, row_id)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'What the desk decided, by the key of the request that it was asked with. The newest row of each key; read it through the view of the plain name.';

CREATE TABLE IF NOT EXISTS claims_changes (
    `tenant` LowCardinality(String) COMMENT 'Whose it is.',
    `key_text` String COMMENT 'The row\'s key, as in /v1/views: its parts, joined by /.',
    `claim` String COMMENT 'The request\'s Idempotency-Key.',
    `did` Enum8('claimed' = 1, 'released' = 2, 'completed' = 3) COMMENT 'claimed, released or completed.',
    `case` String COMMENT 'The case.',
    `agent` LowCardinality(Nullable(String)) COMMENT 'Who asked; of a completion, null.',
    `queue` LowCardinality(Nullable(String)) COMMENT 'Which queue; of a completion, null.',
    `at` DateTime64(3, 'UTC') COMMENT 'When it was decided.',
    `until` Nullable(DateTime64(3, 'UTC')) COMMENT 'When the lease ends; of a release, when it was given back; of a completion, null.',
    `epoch` UInt64 COMMENT 'From when on it is so: milliseconds since 1970, the epoch of answers.' CODEC(Delta, LZ4),
    `incarnation` UInt64 COMMENT 'Which life of the state said it; a later one wins.' CODEC(T64, LZ4),
    `diff` Int8 COMMENT '1: the row is so from epoch on; -1: there is none from epoch on.',
    row_id UInt128 MATERIALIZED reinterpretAsUInt128(sipHash128(tenant, key_text, epoch, incarnation)) COMMENT 'One per key and epoch.'
) ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(fromUnixTimestamp64Milli(epoch, 'UTC'))
ORDER BY (tenant, key_text, incarnation, epoch, row_id)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'What the desk decided, by the key of the request that it was asked with. Every row that ever was, with the epoch from which on it was so.';

CREATE OR REPLACE VIEW claims AS
SELECT tenant, `claim`, `did`, `case`, `agent`, `queue`, `at`, `until`, epoch
FROM claims_rows FINAL
WHERE incarnation >= (SELECT max(incarnation) FROM _incarnations WHERE whole_from > 0)
  AND ((SELECT void_from FROM _voids)[incarnation] = 0 OR epoch < (SELECT void_from FROM _voids)[incarnation])
COMMENT 'What the desk decided, by the key of the request that it was asked with.';

CREATE OR REPLACE VIEW claims_at AS
SELECT tenant, `claim`, `did`, `case`, `agent`, `queue`, `at`, `until`, epoch
FROM (
    SELECT *
    FROM claims_changes
    WHERE epoch <= {epoch:UInt64}
      AND incarnation >= (SELECT max(incarnation) FROM _incarnations WHERE whole_from BETWEEN 1 AND {epoch:UInt64})
      AND ((SELECT void_from FROM _voids)[incarnation] = 0 OR epoch < (SELECT void_from FROM _voids)[incarnation])
    ORDER BY tenant DESC, key_text DESC, incarnation DESC, epoch DESC
    LIMIT 1 BY tenant, key_text
)
WHERE diff = 1
COMMENT 'What the desk decided, by the key of the request that it was asked with. As it was at any epoch: claims_at(epoch = 1767225600000).';

CREATE OR REPLACE VIEW claims_now AS
SELECT tenant, `claim`, `did`, `case`, `agent`, `queue`, `at`, `until`, epoch
FROM (
    SELECT *
    FROM claims_changes
    WHERE epoch <= (SELECT epoch FROM _now)
      AND incarnation >= (SELECT max(incarnation) FROM _incarnations WHERE whole_from BETWEEN 1 AND (SELECT epoch FROM _now))
      AND ((SELECT void_from FROM _voids)[incarnation] = 0 OR epoch < (SELECT void_from FROM _voids)[incarnation])
    ORDER BY tenant DESC, key_text DESC, incarnation DESC, epoch DESC
    LIMIT 1 BY tenant, key_text
)
WHERE diff = 1
COMMENT 'What the desk decided, by the key of the request that it was asked with. As of the last mark: views read so in one statement are of one instant.';
