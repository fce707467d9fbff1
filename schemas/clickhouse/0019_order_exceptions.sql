-- The view `order_exceptions`. Generated from the catalogue (schemas/clickhouse.rs); not to be edited:
-- once released, a change of the catalogue is a migration of its own.

CREATE TABLE IF NOT EXISTS order_exceptions_rows (
    `tenant` LowCardinality(String) COMMENT 'Whose it is.',
    `key_text` String COMMENT 'The row\'s key, as in /v1/views: its parts, joined by /.',
    `order` String COMMENT 'The order.',
    `exception` Enum8('late' = 1, 'not_in_production' = 2, 'stuck' = 3, 'problem' = 4, 'contradictory' = 5, 'split' = 6, 'returned' = 7) COMMENT 'late, not_in_production, stuck, problem, contradictory, split or returned.',
    `customer` Nullable(String) COMMENT 'Whose order, if that is known.',
    `severity` Int64 COMMENT '1 (most severe) to 4.',
    `since` DateTime64(3, 'UTC') COMMENT 'Since when it is so.',
    `status` Nullable(Enum8('placed' = 1, 'paid' = 2, 'in_production' = 3, 'quality_checked' = 4, 'shipped' = 5, 'out_for_delivery' = 6, 'delivered' = 7, 'cancelled' = 8, 'returned' = 9, 'problem' = 10)) COMMENT 'Where the order stands.',
    `epoch` UInt64 COMMENT 'When the row last changed: milliseconds since 1970, the epoch of answers.' CODEC(Delta, LZ4),
    `incarnation` UInt64 COMMENT 'Which life of the state said it; a later one wins.' CODEC(T64, LZ4),
    `is_deleted` UInt8 COMMENT '1: there is no such row any more.',
    row_id UInt128 MATERIALIZED reinterpretAsUInt128(sipHash128(tenant, key_text)) COMMENT 'One per key.',
    row_version UInt128 MATERIALIZED bitShiftLeft(toUInt128(incarnation), 64) + epoch COMMENT 'The greatest of a key stands.'
) ENGINE = ReplacingMergeTree(row_version, is_deleted)
ORDER BY (tenant, key_text, row_id)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'What is wrong with orders now: late, stuck, contradictory, split, returned. The newest row of each key; read it through the view of the plain name.';

CREATE TABLE IF NOT EXISTS order_exceptions_changes (
    `tenant` LowCardinality(String) COMMENT 'Whose it is.',
    `key_text` String COMMENT 'The row\'s key, as in /v1/views: its parts, joined by /.',
    `order` String COMMENT 'The order.',
    `exception` Enum8('late' = 1, 'not_in_production' = 2, 'stuck' = 3, 'problem' = 4, 'contradictory' = 5, 'split' = 6, 'returned' = 7) COMMENT 'late, not_in_production, stuck, problem, contradictory, split or returned.',
    `customer` Nullable(String) COMMENT 'Whose order, if that is known.',
    `severity` Int64 COMMENT '1 (most severe) to 4.',
    `since` DateTime64(3, 'UTC') COMMENT 'Since when it is so.',
    `status` Nullable(Enum8('placed' = 1, 'paid' = 2, 'in_production' = 3, 'quality_checked' = 4, 'shipped' = 5, 'out_for_delivery' = 6, 'delivered' = 7, 'cancelled' = 8, 'returned' = 9, 'problem' = 10)) COMMENT 'Where the order stands.',
    `epoch` UInt64 COMMENT 'From when on it is so: milliseconds since 1970, the epoch of answers.' CODEC(Delta, LZ4),
    `incarnation` UInt64 COMMENT 'Which life of the state said it; a later one wins.' CODEC(T64, LZ4),
    `diff` Int8 COMMENT '1: the row is so from epoch on; -1: there is none from epoch on.',
    row_id UInt128 MATERIALIZED reinterpretAsUInt128(sipHash128(tenant, key_text, epoch, incarnation)) COMMENT 'One per key and epoch.'
) ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(fromUnixTimestamp64Milli(epoch, 'UTC'))
ORDER BY (tenant, key_text, incarnation, epoch, row_id)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'What is wrong with orders now: late, stuck, contradictory, split, returned. Every row that ever was, with the epoch from which on it was so.';

CREATE OR REPLACE VIEW order_exceptions AS
SELECT tenant, `order`, `exception`, `customer`, `severity`, `since`, `status`, epoch
FROM order_exceptions_rows FINAL
WHERE incarnation >= (SELECT max(incarnation) FROM _incarnations WHERE whole_from > 0)
  AND ((SELECT void_from FROM _voids)[incarnation] = 0 OR epoch < (SELECT void_from FROM _voids)[incarnation])
COMMENT 'What is wrong with orders now: late, stuck, contradictory, split, returned.';

CREATE OR REPLACE VIEW order_exceptions_at AS
SELECT tenant, `order`, `exception`, `customer`, `severity`, `since`, `status`, epoch
FROM (
    SELECT *
    FROM order_exceptions_changes
    WHERE epoch <= {epoch:UInt64}
      AND incarnation >= (SELECT max(incarnation) FROM _incarnations WHERE whole_from BETWEEN 1 AND {epoch:UInt64})
      AND ((SELECT void_from FROM _voids)[incarnation] = 0 OR epoch < (SELECT void_from FROM _voids)[incarnation])
    ORDER BY tenant DESC, key_text DESC, incarnation DESC, epoch DESC
    LIMIT 1 BY tenant, key_text
)
WHERE diff = 1
COMMENT 'What is wrong with orders now: late, stuck, contradictory, split, returned. As it was at any epoch: order_exceptions_at(epoch = 1767225600000).';

CREATE OR REPLACE VIEW order_exceptions_now AS
SELECT tenant, `order`, `exception`, `customer`, `severity`, `since`, `status`, epoch
FROM (
    SELECT *
    FROM order_exceptions_changes
    WHERE epoch <= (SELECT epoch FROM _now)
      AND incarnation >= (SELECT max(incarnation) FROM _incarnations WHERE whole_from BETWEEN 1 AND (SELECT epoch FROM _now))
      AND ((SELECT void_from FROM _voids)[incarnation] = 0 OR epoch < (SELECT void_from FROM _voids)[incarnation])
    ORDER BY tenant DESC, key_text DESC, incarnation DESC, epoch DESC
    LIMIT 1 BY tenant, key_text
)
WHERE diff = 1
COMMENT 'What is wrong with orders now: late, stuck, contradictory, split, returned. As of the last mark: views read so in one statement are of one instant.';
