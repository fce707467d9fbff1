-- The view `identity_conflicts`. Generated from the catalogue (schemas/clickhouse.rs); not to be edited:
-- once released, a change of the catalogue is a migration of its own.

CREATE TABLE IF NOT EXISTS identity_conflicts_rows (
    `tenant` LowCardinality(String) COMMENT 'Whose it is.',
    `key_text` String COMMENT 'The row\'s key, as in /v1/views: its parts, joined by /.',
    `kind` LowCardinality(String) COMMENT 'Such as email; by_hand: a pair of customers.',
    `value` String COMMENT 'As it is compared: normalised; of a pair the two ids, joined by a slash.',
    `reason` Enum8('too_large' = 1, 'separated' = 2, 'contradiction' = 3) COMMENT 'too_large, separated or contradiction: what speaks against all that these links join.',
    `detail` String COMMENT 'How many customers; which two were separated; which two values contradict each other.',
    `customers` String COMMENT 'Whom it would have joined. JSON.' CODEC(ZSTD(1)),
    `epoch` UInt64 COMMENT 'When the row last changed: milliseconds since 1970, the epoch of answers.' CODEC(Delta, LZ4),
    `incarnation` UInt64 COMMENT 'Which life of the state said it; a later one wins.' CODEC(T64, LZ4),
    `is_deleted` UInt8 COMMENT '1: there is no such row any more.',
    row_id UInt128 MATERIALIZED reinterpretAsUInt128(sipHash128(tenant, key_text)) COMMENT 'One per key.',
    row_version UInt128 MATERIALIZED bitShiftLeft(toUInt128(incarnation), 64) + epoch COMMENT 'The greatest of a key stands.'
) ENGINE = ReplacingMergeTree(row_version, is_deleted)
ORDER BY (tenant, key_text, row_id)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'Links between customers that do not count, and why. The newest row of each key; read it through the view of the plain name.';

CREATE TABLE IF NOT EXISTS identity_conflicts_changes (
    `tenant` LowCardinality(String) COMMENT 'Whose it is.',
    `key_text` String COMMENT 'The row\'s key, as in /v1/views: its parts, joined by /.',
    `kind` LowCardinality(String) COMMENT 'Such as email; by_hand: a pair of customers.',
    `value` String COMMENT 'As it is compared: normalised; of a pair the two ids, joined by a slash.',
    `reason` Enum8('too_large' = 1, 'separated' = 2, 'contradiction' = 3) COMMENT 'too_large, separated or contradiction: what speaks against all that these links join.',
    `detail` String COMMENT 'How many customers; which two were separated; which two values contradict each other.',
    `customers` String COMMENT 'Whom it would have joined. JSON.' CODEC(ZSTD(1)),
    `epoch` UInt64 COMMENT 'From when on it is so: milliseconds since 1970, the epoch of answers.' CODEC(Delta, LZ4),
    `incarnation` UInt64 COMMENT 'Which life of the state said it; a later one wins.' CODEC(T64, LZ4),
    `diff` Int8 COMMENT '1: the row is so from epoch on; -1: there is none from epoch on.',
    row_id UInt128 MATERIALIZED reinterpretAsUInt128(sipHash128(tenant, key_text, epoch, incarnation)) COMMENT 'One per key and epoch.'
) ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(fromUnixTimestamp64Milli(epoch, 'UTC'))
ORDER BY (tenant, key_text, incarnation, epoch, row_id)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'Links between customers that do not count, and why. Every row that ever was, with the epoch from which on it was so.';

CREATE OR REPLACE VIEW identity_conflicts AS
SELECT tenant, `kind`, `value`, `reason`, `detail`, `customers`, epoch
FROM identity_conflicts_rows FINAL
WHERE incarnation >= (SELECT max(incarnation) FROM _incarnations WHERE whole_from > 0)
  AND ((SELECT void_from FROM _voids)[incarnation] = 0 OR epoch < (SELECT void_from FROM _voids)[incarnation])
COMMENT 'Links between customers that do not count, and why.';

CREATE OR REPLACE VIEW identity_conflicts_at AS
SELECT tenant, `kind`, `value`, `reason`, `detail`, `customers`, epoch
FROM (
    SELECT *
    FROM identity_conflicts_changes
    WHERE epoch <= {epoch:UInt64}
      AND incarnation >= (SELECT max(incarnation) FROM _incarnations WHERE whole_from BETWEEN 1 AND {epoch:UInt64})
      AND ((SELECT void_from FROM _voids)[incarnation] = 0 OR epoch < (SELECT void_from FROM _voids)[incarnation])
    ORDER BY tenant DESC, key_text DESC, incarnation DESC, epoch DESC
    LIMIT 1 BY tenant, key_text
)
WHERE diff = 1
COMMENT 'Links between customers that do not count, and why. As it was at any epoch: identity_conflicts_at(epoch = 1767225600000).';

CREATE OR REPLACE VIEW identity_conflicts_now AS
SELECT tenant, `kind`, `value`, `reason`, `detail`, `customers`, epoch
FROM (
    SELECT *
    FROM identity_conflicts_changes
    WHERE epoch <= (SELECT epoch FROM _now)
      AND incarnation >= (SELECT max(incarnation) FROM _incarnations WHERE whole_from BETWEEN 1 AND (SELECT epoch FROM _now))
      AND ((SELECT void_from FROM _voids)[incarnation] = 0 OR epoch < (SELECT void_from FROM _voids)[incarnation])
    ORDER BY tenant DESC, key_text DESC, incarnation DESC, epoch DESC
    LIMIT 1 BY tenant, key_text
)
WHERE diff = 1
COMMENT 'Links between customers that do not count, and why. As of the last mark: views read so in one statement are of one instant.';
