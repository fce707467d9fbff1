-- The view `capacity`. Generated from the catalogue (schemas/clickhouse.rs); not to be edited:
-- once released, a change of the catalogue is a migration of its own.

CREATE TABLE IF NOT EXISTS capacity_rows (
    `tenant` LowCardinality(String) COMMENT 'Whose it is.',
    `key_text` String COMMENT 'The row\'s key, as in /v1/views: its parts, joined by /.',
    `process` LowCardinality(String) COMMENT 'Which process.',
    `measured_at` DateTime64(3, 'UTC') COMMENT 'The end of the newest measurement.',
    `n_measurements` Int64 COMMENT 'Measurements that the rate is made of: the newest 24 at the most.',
    `n_events` Int64 COMMENT 'Events that were applied in them.',
    `busy_nanos_per_event` Int64 COMMENT 'How long a worker was busy with one of them.',
    `workers` Int64 COMMENT 'Workers, by the newest.',
    `processors` Int64 COMMENT 'Processors that they may use, by the newest.',
    `rate_per_second` Int64 COMMENT 'Events that this process can apply in a second.',
    `rate_per_hour` Int64 COMMENT 'Events that this process can apply in an hour.',
    `made_at` Nullable(DateTime64(3, 'UTC')) COMMENT 'The end of the five minutes up to which the forecast knows; null: there is none yet.',
    `peak_at` Nullable(DateTime64(3, 'UTC')) COMMENT 'The start of the fullest bucket to come.',
    `peak_seconds` Nullable(Int64) COMMENT 'How long that bucket is: five minutes, or an hour.',
    `peak_per_hour` Nullable(Int64) COMMENT 'Its p90, as if it went on like this for an hour.',
    `headroom_permille` Nullable(Int64) COMMENT 'The share of the rate that the peak leaves; below nothing: it is above the rate.',
    `full_permille` Int64 COMMENT 'The share of the rate above which more workers are advised.',
    `scale_at` Nullable(DateTime64(3, 'UTC')) COMMENT 'The start of the first bucket whose p90 is above that share: have more workers by then.',
    `workers_wanted` Nullable(Int64) COMMENT 'Workers, each with a processor, of whom the peak takes no more than that share.',
    `advice` Enum8('unknown' = 1, 'enough' = 2, 'more' = 3) COMMENT 'unknown, enough, or more.',
    `reason` String COMMENT 'Why, with the figures.',
    `epoch` UInt64 COMMENT 'When the row last changed: milliseconds since 1970, the epoch of answers.' CODEC(Delta, LZ4),
    `incarnation` UInt64 COMMENT 'Which life of the state said it; a later one wins.' CODEC(T64, LZ4),
    `is_deleted` UInt8 COMMENT '1: there is no such row any more.',
    row_id UInt128 MATERIALIZED reinterpretAsUInt128(sipHash128(tenant, key_text)) COMMENT 'One per key.',
    row_version UInt128 MATERIALIZED bitShiftLeft(toUInt128(incarnation), 64) + epoch COMMENT 'The greatest of a key stands.'
) ENGINE = ReplacingMergeTree(row_version, is_deleted)
ORDER BY (tenant, key_text, row_id)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'What this process can do, against what comes: headroom, and when to have more workers. The newest row of each key; read it through the view of the plain name.';

CREATE TABLE IF NOT EXISTS capacity_changes (
    `tenant` LowCardinality(String) COMMENT 'Whose it is.',
    `key_text` String COMMENT 'The row\'s key, as in /v1/views: its parts, joined by /.',
    `process` LowCardinality(String) COMMENT 'Which process.',
    `measured_at` DateTime64(3, 'UTC') COMMENT 'The end of the newest measurement.',
    `n_measurements` Int64 COMMENT 'Measurements that the rate is made of: the newest 24 at the most.',
    `n_events` Int64 COMMENT 'Events that were applied in them.',
    `busy_nanos_per_event` Int64 COMMENT 'How long a worker was busy with one of them.',
    `workers` Int64 COMMENT 'Workers, by the newest.',
    `processors` Int64 COMMENT 'Processors that they may use, by the newest.',
    `rate_per_second` Int64 COMMENT 'Events that this process can apply in a second.',
    `rate_per_hour` Int64 COMMENT 'Events that this process can apply in an hour.',
    `made_at` Nullable(DateTime64(3, 'UTC')) COMMENT 'The end of the five minutes up to which the forecast knows; null: there is none yet.',
    `peak_at` Nullable(DateTime64(3, 'UTC')) COMMENT 'The start of the fullest bucket to come.',
    `peak_seconds` Nullable(Int64) COMMENT 'How long that bucket is: five minutes, or an hour.',
    `peak_per_hour` Nullable(Int64) COMMENT 'Its p90, as if it went on like this for an hour.',
    `headroom_permille` Nullable(Int64) COMMENT 'The share of the rate that the peak leaves; below nothing: it is above the rate.',
    `full_permille` Int64 COMMENT 'The share of the rate above which more workers are advised.',
    `scale_at` Nullable(DateTime64(3, 'UTC')) COMMENT 'The start of the first bucket whose p90 is above that share: have more workers by then.',
    `workers_wanted` Nullable(Int64) COMMENT 'Workers, each with a processor, of whom the peak takes no more than that share.',
    `advice` Enum8('unknown' = 1, 'enough' = 2, 'more' = 3) COMMENT 'unknown, enough, or more.',
    `reason` String COMMENT 'Why, with the figures.',
    `epoch` UInt64 COMMENT 'From when on it is so: milliseconds since 1970, the epoch of answers.' CODEC(Delta, LZ4),
    `incarnation` UInt64 COMMENT 'Which life of the state said it; a later one wins.' CODEC(T64, LZ4),
    `diff` Int8 COMMENT '1: the row is so from epoch on; -1: there is none from epoch on.',
    row_id UInt128 MATERIALIZED reinterpretAsUInt128(sipHash128(tenant, key_text, epoch, incarnation)) COMMENT 'One per key and epoch.'
) ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(fromUnixTimestamp64Milli(epoch, 'UTC'))
ORDER BY (tenant, key_text, incarnation, epoch, row_id)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'What this process can do, against what comes: headroom, and when to have more workers. Every row that ever was, with the epoch from which on it was so.';

CREATE OR REPLACE VIEW capacity AS
SELECT tenant, `process`, `measured_at`, `n_measurements`, `n_events`, `busy_nanos_per_event`, `workers`, `processors`, `rate_per_second`, `rate_per_hour`, `made_at`, `peak_at`, `peak_seconds`, `peak_per_hour`, `headroom_permille`, `full_permille`, `scale_at`, `workers_wanted`, `advice`, `reason`, epoch
FROM capacity_rows FINAL
WHERE incarnation >= (SELECT max(incarnation) FROM _incarnations WHERE whole_from > 0)
  AND ((SELECT void_from FROM _voids)[incarnation] = 0 OR epoch < (SELECT void_from FROM _voids)[incarnation])
COMMENT 'What this process can do, against what comes: headroom, and when to have more workers.';

CREATE OR REPLACE VIEW capacity_at AS
SELECT tenant, `process`, `measured_at`, `n_measurements`, `n_events`, `busy_nanos_per_event`, `workers`, `processors`, `rate_per_second`, `rate_per_hour`, `made_at`, `peak_at`, `peak_seconds`, `peak_per_hour`, `headroom_permille`, `full_permille`, `scale_at`, `workers_wanted`, `advice`, `reason`, epoch
FROM (
    SELECT *
    FROM capacity_changes
    WHERE epoch <= {epoch:UInt64}
      AND incarnation >= (SELECT max(incarnation) FROM _incarnations WHERE whole_from BETWEEN 1 AND {epoch:UInt64})
      AND ((SELECT void_from FROM _voids)[incarnation] = 0 OR epoch < (SELECT void_from FROM _voids)[incarnation])
    ORDER BY tenant DESC, key_text DESC, incarnation DESC, epoch DESC
    LIMIT 1 BY tenant, key_text
)
WHERE diff = 1
COMMENT 'What this process can do, against what comes: headroom, and when to have more workers. As it was at any epoch: capacity_at(epoch = 1767225600000).';

CREATE OR REPLACE VIEW capacity_now AS
SELECT tenant, `process`, `measured_at`, `n_measurements`, `n_events`, `busy_nanos_per_event`, `workers`, `processors`, `rate_per_second`, `rate_per_hour`, `made_at`, `peak_at`, `peak_seconds`, `peak_per_hour`, `headroom_permille`, `full_permille`, `scale_at`, `workers_wanted`, `advice`, `reason`, epoch
FROM (
    SELECT *
    FROM capacity_changes
    WHERE epoch <= (SELECT epoch FROM _now)
      AND incarnation >= (SELECT max(incarnation) FROM _incarnations WHERE whole_from BETWEEN 1 AND (SELECT epoch FROM _now))
      AND ((SELECT void_from FROM _voids)[incarnation] = 0 OR epoch < (SELECT void_from FROM _voids)[incarnation])
    ORDER BY tenant DESC, key_text DESC, incarnation DESC, epoch DESC
    LIMIT 1 BY tenant, key_text
)
WHERE diff = 1
COMMENT 'What this process can do, against what comes: headroom, and when to have more workers. As of the last mark: views read so in one statement are of one instant.';
