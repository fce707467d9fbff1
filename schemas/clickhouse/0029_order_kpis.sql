-- The view `order_kpis`. Generated from the catalogue (schemas/clickhouse.rs); not to be edited:
-- once released, a change of the catalogue is a migration of its own.

CREATE TABLE IF NOT EXISTS order_kpis_rows (
    `tenant` LowCardinality(String) COMMENT 'Whose it is.',
    `key_text` String COMMENT 'The row\'s key, as in /v1/views: its parts, joined by /.',
    `day` String COMMENT 'The day in UTC on which they were delivered, such as 2026-01-31.',
    `ship_from` LowCardinality(String) COMMENT 'From where, widely; all, or unknown.',
    `ship_to` LowCardinality(String) COMMENT 'To where, widely; all, or unknown.',
    `n_delivered` Int64 COMMENT 'Orders delivered.',
    `n_on_time` Int64 COMMENT 'Of them by the promised instant, or not promised.',
    `n_in_full` Int64 COMMENT 'Of them with every line, and nothing cancelled.',
    `n_perfect` Int64 COMMENT 'Of them on time, in full, without a problem, not returned, nothing contradictory.',
    `on_time_permille` Int64 COMMENT 'n_on_time of a thousand.',
    `in_full_permille` Int64 COMMENT 'n_in_full of a thousand.',
    `perfect_permille` Int64 COMMENT 'n_perfect of a thousand.',
    `lead_p50_hours` Nullable(Int64) COMMENT 'Half of them were delivered within so many hours of placing.',
    `lead_p95_hours` Nullable(Int64) COMMENT 'Nineteen of twenty of them were.',
    `epoch` UInt64 COMMENT 'When the row last changed: milliseconds since 1970, the epoch of answers.' CODEC(Delta, LZ4),
    `incarnation` UInt64 COMMENT 'Which life of the state said it; a later one wins.' CODEC(T64, LZ4),
    `is_deleted` UInt8 COMMENT '1: there is no such row any more.',
    row_id UInt128 MATERIALIZED reinterpretAsUInt128(sipHash128(tenant, key_text)) COMMENT 'One per key.',
    row_version UInt128 MATERIALIZED bitShiftLeft(toUInt128(incarnation), 64) + epoch COMMENT 'The greatest of a key stands.'
) ENGINE = ReplacingMergeTree(row_version, is_deleted)
ORDER BY (tenant, key_text, row_id)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'How well orders were delivered, by day and lane: on time, in full, perfect, lead time. The newest row of each key; read it through the view of the plain name.';

CREATE TABLE IF NOT EXISTS order_kpis_changes (
    `tenant` LowCardinality(String) COMMENT 'Whose it is.',
    `key_text` String COMMENT 'The row\'s key, as in /v1/views: its parts, joined by /.',
    `day` String COMMENT 'The day in UTC on which they were delivered, such as 2026-01-31.',
    `ship_from` LowCardinality(String) COMMENT 'From where, widely; all, or unknown.',
    `ship_to` LowCardinality(String) COMMENT 'To where, widely; all, or unknown.',
    `n_delivered` Int64 COMMENT 'Orders delivered.',
    `n_on_time` Int64 COMMENT 'Of them by the promised instant, or not promised.',
    `n_in_full` Int64 COMMENT 'Of them with every line, and nothing cancelled.',
    `n_perfect` Int64 COMMENT 'Of them on time, in full, without a problem, not returned, nothing contradictory.',
    `on_time_permille` Int64 COMMENT 'n_on_time of a thousand.',
    `in_full_permille` Int64 COMMENT 'n_in_full of a thousand.',
    `perfect_permille` Int64 COMMENT 'n_perfect of a thousand.',
    `lead_p50_hours` Nullable(Int64) COMMENT 'Half of them were delivered within so many hours of placing.',
    `lead_p95_hours` Nullable(Int64) COMMENT 'Nineteen of twenty of them were.',
    `epoch` UInt64 COMMENT 'From when on it is so: milliseconds since 1970, the epoch of answers.' CODEC(Delta, LZ4),
    `incarnation` UInt64 COMMENT 'Which life of the state said it; a later one wins.' CODEC(T64, LZ4),
    `diff` Int8 COMMENT '1: the row is so from epoch on; -1: there is none from epoch on.',
    row_id UInt128 MATERIALIZED reinterpretAsUInt128(sipHash128(tenant, key_text, epoch, incarnation)) COMMENT 'One per key and epoch.'
) ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(fromUnixTimestamp64Milli(epoch, 'UTC'))
ORDER BY (tenant, key_text, incarnation, epoch, row_id)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'How well orders were delivered, by day and lane: on time, in full, perfect, lead time. Every row that ever was, with the epoch from which on it was so.';

CREATE OR REPLACE VIEW order_kpis AS
SELECT tenant, `day`, `ship_from`, `ship_to`, `n_delivered`, `n_on_time`, `n_in_full`, `n_perfect`, `on_time_permille`, `in_full_permille`, `perfect_permille`, `lead_p50_hours`, `lead_p95_hours`, epoch
FROM order_kpis_rows FINAL
WHERE incarnation >= (SELECT max(incarnation) FROM _incarnations WHERE whole_from > 0)
  AND ((SELECT void_from FROM _voids)[incarnation] = 0 OR epoch < (SELECT void_from FROM _voids)[incarnation])
COMMENT 'How well orders were delivered, by day and lane: on time, in full, perfect, lead time.';

CREATE OR REPLACE VIEW order_kpis_at AS
SELECT tenant, `day`, `ship_from`, `ship_to`, `n_delivered`, `n_on_time`, `n_in_full`, `n_perfect`, `on_time_permille`, `in_full_permille`, `perfect_permille`, `lead_p50_hours`, `lead_p95_hours`, epoch
FROM (
    SELECT *
    FROM order_kpis_changes
    WHERE epoch <= {epoch:UInt64}
      AND incarnation >= (SELECT max(incarnation) FROM _incarnations WHERE whole_from BETWEEN 1 AND {epoch:UInt64})
      AND ((SELECT void_from FROM _voids)[incarnation] = 0 OR epoch < (SELECT void_from FROM _voids)[incarnation])
    ORDER BY tenant DESC, key_text DESC, incarnation DESC, epoch DESC
    LIMIT 1 BY tenant, key_text
)
WHERE diff = 1
COMMENT 'How well orders were delivered, by day and lane: on time, in full, perfect, lead time. As it was at any epoch: order_kpis_at(epoch = 1767225600000).';

CREATE OR REPLACE VIEW order_kpis_now AS
SELECT tenant, `day`, `ship_from`, `ship_to`, `n_delivered`, `n_on_time`, `n_in_full`, `n_perfect`, `on_time_permille`, `in_full_permille`, `perfect_permille`, `lead_p50_hours`, `lead_p95_hours`, epoch
FROM (
    SELECT *
    FROM order_kpis_changes
    WHERE epoch <= (SELECT epoch FROM _now)
      AND incarnation >= (SELECT max(incarnation) FROM _incarnations WHERE whole_from BETWEEN 1 AND (SELECT epoch FROM _now))
      AND ((SELECT void_from FROM _voids)[incarnation] = 0 OR epoch < (SELECT void_from FROM _voids)[incarnation])
    ORDER BY tenant DESC, key_text DESC, incarnation DESC, epoch DESC
    LIMIT 1 BY tenant, key_text
)
WHERE diff = 1
COMMENT 'How well orders were delivered, by day and lane: on time, in full, perfect, lead time. As of the last mark: views read so in one statement are of one instant.';
