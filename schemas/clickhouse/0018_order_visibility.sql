-- The view `order_visibility`. Generated from the catalogue (schemas/clickhouse.rs); not to be edited:
-- once released, a change of the catalogue is a migration of its own.

CREATE TABLE IF NOT EXISTS order_visibility_rows (
    `tenant` LowCardinality(String) COMMENT 'Whose it is.',
    `key_text` String COMMENT 'The row\'s key, as in /v1/views: its parts, joined by /.',
    `order` String COMMENT 'The order.',
    `status` Nullable(Enum8('placed' = 1, 'paid' = 2, 'in_production' = 3, 'quality_checked' = 4, 'shipped' = 5, 'out_for_delivery' = 6, 'delivered' = 7, 'cancelled' = 8, 'returned' = 9, 'problem' = 10)) COMMENT 'Where it stands, as in orders.',
    `customer` Nullable(String) COMMENT 'Who placed it.',
    `message` String COMMENT 'Where it is and what comes next, in a sentence or three for the customer.',
    `since` Nullable(DateTime64(3, 'UTC')) COMMENT 'Since when it stands there: the newest statement about the whole order.',
    `next` LowCardinality(Nullable(String)) COMMENT 'The status that comes next.',
    `next_by` Nullable(DateTime64(3, 'UTC')) COMMENT 'By when that usually comes, at the latest.',
    `stuck` Bool COMMENT 'On its way, and nothing was said of it for longer than is usual.',
    `promised_at` Nullable(DateTime64(3, 'UTC')) COMMENT 'When it was promised.',
    `late` Nullable(Bool) COMMENT 'As in orders.',
    `delivered_at` Nullable(DateTime64(3, 'UTC')) COMMENT 'As in orders.',
    `eta_p50` Nullable(DateTime64(3, 'UTC')) COMMENT 'It arrives by then with even chance; null until models of lanes are published.',
    `eta_p90` Nullable(DateTime64(3, 'UTC')) COMMENT 'It arrives by then in nine cases of ten; null until models of lanes are published.',
    `late_risk_percent` Nullable(Int64) COMMENT 'How likely it breaks its promise; null until models of lanes are published.',
    `lines` String COMMENT 'Each line: line, sku, quantity, the status in which it stands and since when; ship_from, ship_to, carrier, seller where stated. JSON.' CODEC(ZSTD(1)),
    `timeline` String COMMENT 'What was said, oldest first: at, status, words, and the line if it is one line\'s. JSON.' CODEC(ZSTD(1)),
    `epoch` UInt64 COMMENT 'When the row last changed: milliseconds since 1970, the epoch of answers.' CODEC(Delta, LZ4),
    `incarnation` UInt64 COMMENT 'Which life of the state said it; a later one wins.' CODEC(T64, LZ4),
    `is_deleted` UInt8 COMMENT '1: there is no such row any more.',
    row_id UInt128 MATERIALIZED reinterpretAsUInt128(sipHash128(tenant, key_text)) COMMENT 'One per key.',
    row_version UInt128 MATERIALIZED bitShiftLeft(toUInt128(incarnation), 64) + epoch COMMENT 'The greatest of a key stands.'
) ENGINE = ReplacingMergeTree(row_version, is_deleted)
ORDER BY (tenant, key_text, row_id)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'Where each order is, in words that a customer understands, and what comes next. The newest row of each key; read it through the view of the plain name.';

CREATE TABLE IF NOT EXISTS order_visibility_changes (
    `tenant` LowCardinality(String) COMMENT 'Whose it is.',
    `key_text` String COMMENT 'The row\'s key, as in /v1/views: its parts, joined by /.',
    `order` String COMMENT 'The order.',
    `status` Nullable(Enum8('placed' = 1, 'paid' = 2, 'in_production' = 3, 'quality_checked' = 4, 'shipped' = 5, 'out_for_delivery' = 6, 'delivered' = 7, 'cancelled' = 8, 'returned' = 9, 'problem' = 10)) COMMENT 'Where it stands, as in orders.',
    `customer` Nullable(String) COMMENT 'Who placed it.',
    `message` String COMMENT 'Where it is and what comes next, in a sentence or three for the customer.',
    `since` Nullable(DateTime64(3, 'UTC')) COMMENT 'Since when it stands there: the newest statement about the whole order.',
    `next` LowCardinality(Nullable(String)) COMMENT 'The status that comes next.',
    `next_by` Nullable(DateTime64(3, 'UTC')) COMMENT 'By when that usually comes, at the latest.',
    `stuck` Bool COMMENT 'On its way, and nothing was said of it for longer than is usual.',
    `promised_at` Nullable(DateTime64(3, 'UTC')) COMMENT 'When it was promised.',
    `late` Nullable(Bool) COMMENT 'As in orders.',
    `delivered_at` Nullable(DateTime64(3, 'UTC')) COMMENT 'As in orders.',
    `eta_p50` Nullable(DateTime64(3, 'UTC')) COMMENT 'It arrives by then with even chance; null until models of lanes are published.',
    `eta_p90` Nullable(DateTime64(3, 'UTC')) COMMENT 'It arrives by then in nine cases of ten; null until models of lanes are published.',
    `late_risk_percent` Nullable(Int64) COMMENT 'How likely it breaks its promise; null until models of lanes are published.',
    `lines` String COMMENT 'Each line: line, sku, quantity, the status in which it stands and since when; ship_from, ship_to, carrier, seller where stated. JSON.' CODEC(ZSTD(1)),
    `timeline` String COMMENT 'What was said, oldest first: at, status, words, and the line if it is one line\'s. JSON.' CODEC(ZSTD(1)),
    `epoch` UInt64 COMMENT 'From when on it is so: milliseconds since 1970, the epoch of answers.' CODEC(Delta, LZ4),
    `incarnation` UInt64 COMMENT 'Which life of the state said it; a later one wins.' CODEC(T64, LZ4),
    `diff` Int8 COMMENT '1: the row is so from epoch on; -1: there is none from epoch on.',
    row_id UInt128 MATERIALIZED reinterpretAsUInt128(sipHash128(tenant, key_text, epoch, incarnation)) COMMENT 'One per key and epoch.'
) ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(fromUnixTimestamp64Milli(epoch, 'UTC'))
ORDER BY (tenant, key_text, incarnation, epoch, row_id)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'Where each order is, in words that a customer understands, and what comes next. Every row that ever was, with the epoch from which on it was so.';

CREATE OR REPLACE VIEW order_visibility AS
SELECT tenant, `order`, `status`, `customer`, `message`, `since`, `next`, `next_by`, `stuck`, `promised_at`, `late`, `delivered_at`, `eta_p50`, `eta_p90`, `late_risk_percent`, `lines`, `timeline`, epoch
FROM order_visibility_rows FINAL
WHERE incarnation >= (SELECT max(incarnation) FROM _incarnations WHERE whole_from > 0)
  AND ((SELECT void_from FROM _voids)[incarnation] = 0 OR epoch < (SELECT void_from FROM _voids)[incarnation])
COMMENT 'Where each order is, in words that a customer understands, and what comes next.';

CREATE OR REPLACE VIEW order_visibility_at AS
SELECT tenant, `order`, `status`, `customer`, `message`, `since`, `next`, `next_by`, `stuck`, `promised_at`, `late`, `delivered_at`, `eta_p50`, `eta_p90`, `late_risk_percent`, `lines`, `timeline`, epoch
FROM (
    SELECT *
    FROM order_visibility_changes
    WHERE epoch <= {epoch:UInt64}
      AND incarnation >= (SELECT max(incarnation) FROM _incarnations WHERE whole_from BETWEEN 1 AND {epoch:UInt64})
      AND ((SELECT void_from FROM _voids)[incarnation] = 0 OR epoch < (SELECT void_from FROM _voids)[incarnation])
    ORDER BY tenant DESC, key_text DESC, incarnation DESC, epoch DESC
    LIMIT 1 BY tenant, key_text
)
WHERE diff = 1
COMMENT 'Where each order is, in words that a customer understands, and what comes next. As it was at any epoch: order_visibility_at(epoch = 1767225600000).';

CREATE OR REPLACE VIEW order_visibility_now AS
SELECT tenant, `order`, `status`, `customer`, `message`, `since`, `next`, `next_by`, `stuck`, `promised_at`, `late`, `delivered_at`, `eta_p50`, `eta_p90`, `late_risk_percent`, `lines`, `timeline`, epoch
FROM (
    SELECT *
    FROM order_visibility_changes
    WHERE epoch <= (SELECT epoch FROM _now)
      AND incarnation >= (SELECT max(incarnation) FROM _incarnations WHERE whole_from BETWEEN 1 AND (SELECT epoch FROM _now))
      AND ((SELECT void_from FROM _voids)[incarnation] = 0 OR epoch < (SELECT void_from FROM _voids)[incarnation])
    ORDER BY tenant DESC, key_text DESC, incarnation DESC, epoch DESC
    LIMIT 1 BY tenant, key_text
)
WHERE diff = 1
COMMENT 'Where each order is, in words that a customer understands, and what comes next. As of the last mark: views read so in one statement are of one instant.';
