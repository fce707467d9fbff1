-- The view `load_forecast`. Generated from the catalogue (schemas/clickhouse.rs); not to be edited:
-- once released, a change of the catalogue is a migration of its own.

CREATE TABLE IF NOT EXISTS load_forecast_rows (
    `tenant` LowCardinality(String) COMMENT 'Whose it is.',
    `key_text` String COMMENT 'The row\'s key, as in /v1/views: its parts, joined by /.',
    `of` Enum8('events' = 1, 'measured' = 2) COMMENT 'events: of this tenant; measured: by load.measured.',
    `series` LowCardinality(String) COMMENT 'The type of events, or all; what was measured.',
    `bucket_minutes` Int64 COMMENT 'How long a bucket is.',
    `made_at` Nullable(DateTime64(3, 'UTC')) COMMENT 'The end of the bucket up to which it knows; null as long as there is no forecast.',
    `next_p10` Nullable(Int64) COMMENT 'In the next bucket: nine in ten exceed it.',
    `next_p50` Nullable(Int64) COMMENT 'In the next bucket, with even chance.',
    `next_p90` Nullable(Int64) COMMENT 'In the next bucket: one in ten exceeds it.',
    `peak_at` Nullable(DateTime64(3, 'UTC')) COMMENT 'The start of the fullest bucket to come.',
    `peak_p50` Nullable(Int64) COMMENT 'What comes in it, with even chance.',
    `peak_p90` Nullable(Int64) COMMENT 'One in ten such buckets exceeds it.',
    `forecast` String COMMENT 'Each bucket to come: at (its start), p10, p50, p90. JSON.' CODEC(ZSTD(1)),
    `ways` String COMMENT 'What each way of forecasting counts, in percent. JSON.' CODEC(ZSTD(1)),
    `n_judged` Int64 COMMENT 'Buckets of the last days by which the next three are judged.',
    `wape_permille` Nullable(Int64) COMMENT 'Sum of errors over sum of values.',
    `mase_permille` Nullable(Int64) COMMENT 'Errors over those of saying that it will be as the day before.',
    `covered_permille` Nullable(Int64) COMMENT 'Share between p10 and p90; 800 is meant.',
    `epoch` UInt64 COMMENT 'When the row last changed: milliseconds since 1970, the epoch of answers.' CODEC(Delta, LZ4),
    `incarnation` UInt64 COMMENT 'Which life of the state said it; a later one wins.' CODEC(T64, LZ4),
    `is_deleted` UInt8 COMMENT '1: there is no such row any more.',
    row_id UInt128 MATERIALIZED reinterpretAsUInt128(sipHash128(tenant, key_text)) COMMENT 'One per key.',
    row_version UInt128 MATERIALIZED bitShiftLeft(toUInt128(incarnation), 64) + epoch COMMENT 'The greatest of a key stands.'
) ENGINE = ReplacingMergeTree(row_version, is_deleted)
ORDER BY (tenant, key_text, row_id)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'What load comes, series by series, and how right such forecasts were. The newest row of each key; read it through the view of the plain name.';

CREATE TABLE IF NOT EXISTS load_forecast_changes (
    `tenant` LowCardinality(String) COMMENT 'Whose it is.',
    `key_text` String COMMENT 'The row\'s key, as in /v1/views: its parts, joined by /.',
    `of` Enum8('events' = 1, 'measured' = 2) COMMENT 'events: of this tenant; measured: by load.measured.',
    `series` LowCardinality(String) COMMENT 'The type of events, or all; what was measured.',
    `bucket_minutes` Int64 COMMENT 'How long a bucket is.',
    `made_at` Nullable(DateTime64(3, 'UTC')) COMMENT 'The end of the bucket up to which it knows; null as long as there is no forecast.',
    `next_p10` Nullable(Int64) COMMENT 'In the next bucket: nine in ten exceed it.',
    `next_p50` Nullable(Int64) COMMENT 'In the next bucket, with even chance.',
    `next_p90` Nullable(Int64) COMMENT 'In the next bucket: one in ten exceeds it.',
    `peak_at` Nullable(DateTime64(3, 'UTC')) COMMENT 'The start of the fullest bucket to come.',
    `peak_p50` Nullable(Int64) COMMENT 'What comes in it, with even chance.',
    `peak_p90` Nullable(Int64) COMMENT 'One in ten such buckets exceeds it.',
    `forecast` String COMMENT 'Each bucket to come: at (its start), p10, p50, p90. JSON.' CODEC(ZSTD(1)),
    `ways` String COMMENT 'What each way of forecasting counts, in percent. JSON.' CODEC(ZSTD(1)),
    `n_judged` Int64 COMMENT 'Buckets of the last days by which the next three are judged.',
    `wape_permille` Nullable(Int64) COMMENT 'Sum of errors over sum of values.',
    `mase_permille` Nullable(Int64) COMMENT 'Errors over those of saying that it will be as the day before.',
    `covered_permille` Nullable(Int64) COMMENT 'Share between p10 and p90; 800 is meant.',
    `epoch` UInt64 COMMENT 'From when on it is so: milliseconds since 1970, the epoch of answers.' CODEC(Delta, LZ4),
    `incarnation` UInt64 COMMENT 'Which life of the state said it; a later one wins.' CODEC(T64, LZ4),
    `diff` Int8 COMMENT '1: the row is so from epoch on; -1: there is none from epoch on.',
    row_id UInt128 MATERIALIZED reinterpretAsUInt128(sipHash128(tenant, key_text, epoch, incarnation)) COMMENT 'One per key and epoch.'
) ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(fromUnixTimestamp64Milli(epoch, 'UTC'))
ORDER BY (tenant, key_text, incarnation, epoch, row_id)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'What load comes, series by series, and how right such forecasts were. Every row that ever was, with the epoch from which on it was so.';

CREATE OR REPLACE VIEW load_forecast AS
SELECT tenant, `of`, `series`, `bucket_minutes`, `made_at`, `next_p10`, `next_p50`, `next_p90`, `peak_at`, `peak_p50`, `peak_p90`, `forecast`, `ways`, `n_judged`, `wape_permille`, `mase_permille`, `covered_permille`, epoch
FROM load_forecast_rows FINAL
WHERE incarnation >= (SELECT max(incarnation) FROM _incarnations WHERE whole_from > 0)
  AND ((SELECT void_from FROM _voids)[incarnation] = 0 OR epoch < (SELECT void_from FROM _voids)[incarnation])
COMMENT 'What load comes, series by series, and how right such forecasts were.';

CREATE OR REPLACE VIEW load_forecast_at AS
SELECT tenant, `of`, `series`, `bucket_minutes`, `made_at`, `next_p10`, `next_p50`, `next_p90`, `peak_at`, `peak_p50`, `peak_p90`, `forecast`, `ways`, `n_judged`, `wape_permille`, `mase_permille`, `covered_permille`, epoch
FROM (
    SELECT *
    FROM load_forecast_changes
    WHERE epoch <= {epoch:UInt64}
      AND incarnation >= (SELECT max(incarnation) FROM _incarnations WHERE whole_from BETWEEN 1 AND {epoch:UInt64})
      AND ((SELECT void_from FROM _voids)[incarnation] = 0 OR epoch < (SELECT void_from FROM _voids)[incarnation])
    ORDER BY tenant DESC, key_text DESC, incarnation DESC, epoch DESC
    LIMIT 1 BY tenant, key_text
)
WHERE diff = 1
COMMENT 'What load comes, series by series, and how right such forecasts were. As it was at any epoch: load_forecast_at(epoch = 1767225600000).';

CREATE OR REPLACE VIEW load_forecast_now AS
SELECT tenant, `of`, `series`, `bucket_minutes`, `made_at`, `next_p10`, `next_p50`, `next_p90`, `peak_at`, `peak_p50`, `peak_p90`, `forecast`, `ways`, `n_judged`, `wape_permille`, `mase_permille`, `covered_permille`, epoch
FROM (
    SELECT *
    FROM load_forecast_changes
    WHERE epoch <= (SELECT epoch FROM _now)
      AND incarnation >= (SELECT max(incarnation) FROM _incarnations WHERE whole_from BETWEEN 1 AND (SELECT epoch FROM _now))
      AND ((SELECT void_from FROM _voids)[incarnation] = 0 OR epoch < (SELECT void_from FROM _voids)[incarnation])
    ORDER BY tenant DESC, key_text DESC, incarnation DESC, epoch DESC
    LIMIT 1 BY tenant, key_text
)
WHERE diff = 1
COMMENT 'What load comes, series by series, and how right such forecasts were. As of the last mark: views read so in one statement are of one instant.';
