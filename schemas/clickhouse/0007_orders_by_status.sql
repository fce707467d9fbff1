-- The view `orders_by_status`. Generated from the catalogue (schemas/clickhouse.rs); not to be edited:
-- once released, a change of the catalogue is a migration of its own.

CREATE TABLE IF NOT EXISTS orders_by_status_rows (
    `tenant` LowCardinality(String) COMMENT 'Whose it is.',
    `key_text` String COMMENT 'The row\'s key, as in /v1/views: its parts, joined by /.',
    `currency` LowCardinality(String) COMMENT 'ISO 4217; none: orders that are not placed yet.',
    `status` LowCardinality(String) COMMENT 'The orders\' status; none: orders of which only lines were spoken.',
    `n_orders` Int64 COMMENT 'Orders that stand there.',
    `amount` Int64 COMMENT 'Their amounts summed, minor units of the currency; 9223372036854775807 means at least that.',
    `epoch` UInt64 COMMENT 'When the row last changed: milliseconds since 1970, the epoch of answers.' CODEC(Delta, LZ4),
    `incarnation` UInt64 COMMENT 'Which life of the state said it; a later one wins.' CODEC(T64, LZ4),
    `is_deleted` UInt8 COMMENT '1: there is no such row any more.',
    row_id UInt128 MATERIALIZED reinterpretAsUInt128(sipHash128(tenant, key_text)) COMMENT 'One per key.',
    row_version UInt128 MATERIALIZED bitShiftLeft(toUInt128(incarnation), 64) + epoch COMMENT 'The greatest of a key stands.'
) ENGINE = ReplacingMergeTree(row_version, is_deleted)
ORDER BY (tenant, key_text, row_id)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'How many orders stand where, and what they are worth, by currency. The newest row of each key; read it through the view of the plain name.';

CREATE TABLE IF NOT EXISTS orders_by_status_changes (
    `tenant` LowCardinality(String) COMMENT 'Whose it is.',
    `key_text` String COMMENT 'The row\'s key, as in /v1/views: its parts, joined by /.',
    `currency` LowCardinality(String) COMMENT 'ISO 4217; none: orders that are not placed yet.',
    `status` LowCardinality(String) COMMENT 'The orders\' status; none: orders of which only lines were spoken.',
    `n_orders` Int64 COMMENT 'Orders that stand there.',
    `amount` Int64 COMMENT 'Their amounts summed, minor units of the currency; 9223372036854775807 means at least that.',
    `epoch` UInt64 COMMENT 'From when on it is so: milliseconds since 1970, the epoch of answers.' CODEC(Delta, LZ4),
    `incarnation` UInt64 COMMENT 'Which life of the state said it; a later one wins.' CODEC(T64, LZ4),
    `diff` Int8 COMMENT '1: the row is so from epoch on; -1: there is none from epoch on.',
    row_id UInt128 MATERIALIZED reinterpretAsUInt128(sipHash128(tenant, key_text, epoch, incarnation)) COMMENT 'One per key and epoch.'
) ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(fromUnixTimestamp64Milli(epoch, 'UTC'))
ORDER BY (tenant, key_text, incarnation, epoch, row_id)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'How many orders stand where, and what they are worth, by currency. Every row that ever was, with the epoch from which on it was so.';

CREATE OR REPLACE VIEW orders_by_status AS
SELECT tenant, `currency`, `status`, `n_orders`, `amount`, epoch
FROM orders_by_status_rows FINAL
WHERE incarnation >= (SELECT max(incarnation) FROM _incarnations WHERE whole_from > 0)
  AND ((SELECT void_from FROM _voids)[incarnation] = 0 OR epoch < (SELECT void_from FROM _voids)[incarnation])
COMMENT 'How many orders stand where, and what they are worth, by currency.';

CREATE OR REPLACE VIEW orders_by_status_at AS
SELECT tenant, `currency`, `status`, `n_orders`, `amount`, epoch
FROM (
    SELECT *
    FROM orders_by_status_changes
    WHERE epoch <= {epoch:UInt64}
      AND incarnation >= (SELECT max(incarnation) FROM _incarnations WHERE whole_from BETWEEN 1 AND {epoch:UInt64})
      AND ((SELECT void_from FROM _voids)[incarnation] = 0 OR epoch < (SELECT void_from FROM _voids)[incarnation])
    ORDER BY tenant DESC, key_text DESC, incarnation DESC, epoch DESC
    LIMIT 1 BY tenant, key_text
)
WHERE diff = 1
COMMENT 'How many orders stand where, and what they are worth, by currency. As it was at any epoch: orders_by_status_at(epoch = 1767225600000).';

CREATE OR REPLACE VIEW orders_by_status_now AS
SELECT tenant, `currency`, `status`, `n_orders`, `amount`, epoch
FROM (
    SELECT *
    FROM orders_by_status_changes
    WHERE epoch <= (SELECT epoch FROM _now)
      AND incarnation >= (SELECT max(incarnation) FROM _incarnations WHERE whole_from BETWEEN 1 AND (SELECT epoch FROM _now))
      AND ((SELECT void_from FROM _voids)[incarnation] = 0 OR epoch < (SELECT void_from FROM _voids)[incarnation])
    ORDER BY tenant DESC, key_text DESC, incarnation DESC, epoch DESC
    LIMIT 1 BY tenant, key_text
)
WHERE diff = 1
COMMENT 'How many orders stand where, and what they are worth, by currency. As of the last mark: views read so in one statement are of one instant.';
