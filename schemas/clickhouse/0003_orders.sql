-- The view `orders`. Generated from the catalogue (schemas/clickhouse.rs); not to be edited:
-- once released, a change of the catalogue is a migration of its own.

CREATE TABLE IF NOT EXISTS orders_rows (
    `tenant` LowCardinality(String) COMMENT 'Whose it is.',
    `key_text` String COMMENT 'The row\'s key, as in /v1/views: its parts, joined by /.',
    `order` String COMMENT 'The order.',
    `status` Nullable(Enum8('placed' = 1, 'paid' = 2, 'in_production' = 3, 'quality_checked' = 4, 'shipped' = 5, 'out_for_delivery' = 6, 'delivered' = 7, 'cancelled' = 8, 'returned' = 9, 'problem' = 10)) COMMENT 'What was said last of the whole order, by event time; null while only lines were spoken of.',
    `customer` Nullable(String) COMMENT 'Who placed it.',
    `channel` LowCardinality(Nullable(String)) COMMENT 'Where it was placed, such as web.',
    `currency` LowCardinality(Nullable(String)) COMMENT 'ISO 4217; null until it is placed.',
    `amount` Nullable(Int64) COMMENT 'Sum of its lines, minor units of its currency; null until it is placed.',
    `n_lines` Int64 COMMENT 'Lines placed.',
    `placed_at` Nullable(DateTime64(3, 'UTC')) COMMENT 'When it was placed (last, if twice).',
    `promised_at` Nullable(DateTime64(3, 'UTC')) COMMENT 'When it was promised.',
    `late` Nullable(Bool) COMMENT 'Not delivered or cancelled by the promised instant; null without a promise.',
    `delivered_at` Nullable(DateTime64(3, 'UTC')) COMMENT 'When it was first said to be delivered.',
    `cancelled_at` Nullable(DateTime64(3, 'UTC')) COMMENT 'When it was first said to be cancelled.',
    `cancelled` Map(LowCardinality(String), Int64) COMMENT 'Amounts cancelled, by currency; 9223372036854775807 means at least that. Minor units by currency.',
    `cancel_reason` Nullable(String) COMMENT 'The newest reason for cancelling, in words.',
    `returned_at` Nullable(DateTime64(3, 'UTC')) COMMENT 'When it was first said to be returned.',
    `returned` Map(LowCardinality(String), Int64) COMMENT 'Amounts returned, by currency; 9223372036854775807 means at least that. Minor units by currency.',
    `return_reason` Nullable(String) COMMENT 'The newest reason for returning, in words.',
    `lines` String COMMENT 'Its lines: line, sku, quantity, unit_price (minor units), the newest status said of the line; ship_from, ship_to, carrier, seller where stated. JSON.' CODEC(ZSTD(1)),
    `timeline` String COMMENT 'What was said of its status, oldest first: at, status, and the line if it is one line\'s. JSON.' CODEC(ZSTD(1)),
    `epoch` UInt64 COMMENT 'When the row last changed: milliseconds since 1970, the epoch of answers.' CODEC(Delta, LZ4),
    `incarnation` UInt64 COMMENT 'Which life of the state said it; a later one wins.' CODEC(T64, LZ4),
    `is_deleted` UInt8 COMMENT '1: there is no such row any more.',
    row_id UInt128 MATERIALIZED reinterpretAsUInt128(sipHash128(tenant, key_text)) COMMENT 'One per key.',
    row_version UInt128 MATERIALIZED bitShiftLeft(toUInt128(incarnation), 64) + epoch COMMENT 'The greatest of a key stands.'
) ENGINE = ReplacingMergeTree(row_version, is_deleted)
ORDER BY (tenant, key_text, row_id)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'Each order: where it stands, how it came there, what it is, and whether it is late. The newest row of each key; read it through the view of the plain name.';

CREATE TABLE IF NOT EXISTS orders_changes (
    `tenant` LowCardinality(String) COMMENT 'Whose it is.',
    `key_text` String COMMENT 'The row\'s key, as in /v1/views: its parts, joined by /.',
    `order` String COMMENT 'The order.',
    `status` Nullable(Enum8('placed' = 1, 'paid' = 2, 'in_production' = 3, 'quality_checked' = 4, 'shipped' = 5, 'out_for_delivery' = 6, 'delivered' = 7, 'cancelled' = 8, 'returned' = 9, 'problem' = 10)) COMMENT 'What was said last of the whole order, by event time; null while only lines were spoken of.',
    `customer` Nullable(String) COMMENT 'Who placed it.',
    `channel` LowCardinality(Nullable(String)) COMMENT 'Where it was placed, such as web.',
    `currency` LowCardinality(Nullable(String)) COMMENT 'ISO 4217; null until it is placed.',
    `amount` Nullable(Int64) COMMENT 'Sum of its lines, minor units of its currency; null until it is placed.',
    `n_lines` Int64 COMMENT 'Lines placed.',
    `placed_at` Nullable(DateTime64(3, 'UTC')) COMMENT 'When it was placed (last, if twice).',
    `promised_at` Nullable(DateTime64(3, 'UTC')) COMMENT 'When it was promised.',
    `late` Nullable(Bool) COMMENT 'Not delivered or cancelled by the promised instant; null without a promise.',
    `delivered_at` Nullable(DateTime64(3, 'UTC')) COMMENT 'When it was first said to be delivered.',
    `cancelled_at` Nullable(DateTime64(3, 'UTC')) COMMENT 'When it was first said to be cancelled.',
    `cancelled` Map(LowCardinality(String), Int64) COMMENT 'Amounts cancelled, by currency; 9223372036854775807 means at least that. Minor units by currency.',
    `cancel_reason` Nullable(String) COMMENT 'The newest reason for cancelling, in words.',
    `returned_at` Nullable(DateTime64(3, 'UTC')) COMMENT 'When it was first said to be returned.',
    `returned` Map(LowCardinality(String), Int64) COMMENT 'Amounts returned, by currency; 9223372036854775807 means at least that. Minor units by currency.',
    `return_reason` Nullable(String) COMMENT 'The newest reason for returning, in words.',
    `lines` String COMMENT 'Its lines: line, sku, quantity, unit_price (minor units), the newest status said of the line; ship_from, ship_to, carrier, seller where stated. JSON.' CODEC(ZSTD(1)),
    `timeline` String COMMENT 'What was said of its status, oldest first: at, status, and the line if it is one line\'s. JSON.' CODEC(ZSTD(1)),
    `epoch` UInt64 COMMENT 'From when on it is so: milliseconds since 1970, the epoch of answers.' CODEC(Delta, LZ4),
    `incarnation` UInt64 COMMENT 'Which life of the state said it; a later one wins.' CODEC(T64, LZ4),
    `diff` Int8 COMMENT '1: the row is so from epoch on; -1: there is none from epoch on.',
    row_id UInt128 MATERIALIZED reinterpretAsUInt128(sipHash128(tenant, key_text, epoch, incarnation)) COMMENT 'One per key and epoch.'
) ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(fromUnixTimestamp64Milli(epoch, 'UTC'))
ORDER BY (tenant, key_text, incarnation, epoch, row_id)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'Each order: where it stands, how it came there, what it is, and whether it is late. Every row that ever was, with the epoch from which on it was so.';

CREATE OR REPLACE VIEW orders AS
SELECT tenant, `order`, `status`, `customer`, `channel`, `currency`, `amount`, `n_lines`, `placed_at`, `promised_at`, `late`, `delivered_at`, `cancelled_at`, `cancelled`, `cancel_reason`, `returned_at`, `returned`, `return_reason`, `lines`, `timeline`, epoch
FROM orders_rows FINAL
WHERE incarnation >= (SELECT max(incarnation) FROM _incarnations WHERE whole_from > 0)
  AND ((SELECT void_from FROM _voids)[incarnation] = 0 OR epoch < (SELECT void_from FROM _voids)[incarnation])
COMMENT 'Each order: where it stands, how it came there, what it is, and whether it is late.';

CREATE OR REPLACE VIEW orders_at AS
SELECT tenant, `order`, `status`, `customer`, `channel`, `currency`, `amount`, `n_lines`, `placed_at`, `promised_at`, `late`, `delivered_at`, `cancelled_at`, `cancelled`, `cancel_reason`, `returned_at`, `returned`, `return_reason`, `lines`, `timeline`, epoch
FROM (
    SELECT *
    FROM orders_changes
    WHERE epoch <= {epoch:UInt64}
      AND incarnation >= (SELECT max(incarnation) FROM _incarnations WHERE whole_from BETWEEN 1 AND {epoch:UInt64})
      AND ((SELECT void_from FROM _voids)[incarnation] = 0 OR epoch < (SELECT void_from FROM _voids)[incarnation])
    ORDER BY tenant DESC, key_text DESC, incarnation DESC, epoch DESC
    LIMIT 1 BY tenant, key_text
)
WHERE diff = 1
COMMENT 'Each order: where it stands, how it came there, what it is, and whether it is late. As it was at any epoch: orders_at(epoch = 1767225600000).';

CREATE OR REPLACE VIEW orders_now AS
SELECT tenant, `order`, `status`, `customer`, `channel`, `currency`, `amount`, `n_lines`, `placed_at`, `promised_at`, `late`, `delivered_at`, `cancelled_at`, `cancelled`, `cancel_reason`, `returned_at`, `returned`, `return_reason`, `lines`, `timeline`, epoch
FROM (
    SELECT *
    FROM orders_changes
    WHERE epoch <= (SELECT epoch FROM _now)
      AND incarnation >= (SELECT max(incarnation) FROM _incarnations WHERE whole_from BETWEEN 1 AND (SELECT epoch FROM _now))
      AND ((SELECT void_from FROM _voids)[incarnation] = 0 OR epoch < (SELECT void_from FROM _voids)[incarnation])
    ORDER BY tenant DESC, key_text DESC, incarnation DESC, epoch DESC
    LIMIT 1 BY tenant, key_text
)
WHERE diff = 1
COMMENT 'Each order: where it stands, how it came there, what it is, and whether it is late. As of the last mark: views read so in one statement are of one instant.';
