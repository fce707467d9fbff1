-- What is no view's: how far everything has come, who writes here, and the events themselves.

-- Two rows per incarnation at most (under FINAL): the newest mark, and the first from which on
-- everything of that life of the state is here.
CREATE TABLE IF NOT EXISTS _progress (
    `incarnation` UInt64 COMMENT 'Which life of the state.' CODEC(T64, LZ4),
    `mark` Enum8('latest' = 1, 'whole' = 2) COMMENT 'latest: all up to epoch is here; whole: from this epoch on everything of this life is here.',
    `epoch` UInt64 COMMENT 'Milliseconds since 1970.' CODEC(Delta, LZ4),
    `forked_at` UInt64 COMMENT 'The newest epoch of the life before that still counts.',
    `row_version` UInt64 COMMENT 'Which of two rows stands.',
    row_id UInt128 MATERIALIZED reinterpretAsUInt128(sipHash128(incarnation, mark)) COMMENT 'One per incarnation and mark.',
    at DateTime64(3, 'UTC') MATERIALIZED now64(3) COMMENT 'When it was written.'
) ENGINE = ReplacingMergeTree(row_version)
ORDER BY (incarnation, mark, row_id)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'How far everything has come.';

CREATE OR REPLACE VIEW _incarnations AS
SELECT incarnation,
    maxIf(epoch, mark = 'latest') AS upto,
    max(forked_at) AS forked_at,
    minIf(epoch, mark = 'whole') AS whole_from
FROM _progress AS marks FINAL
GROUP BY incarnation
COMMENT 'Lives of the state: up to which epoch each has come, and from which on everything of it is here.';

-- Of each life that a later one came after: the first epoch that no longer counts.
CREATE OR REPLACE VIEW _voids AS
SELECT CAST((groupArray(incarnation), groupArray(first)), 'Map(UInt64, UInt64)') AS void_from
FROM (
    SELECT earlier.incarnation AS incarnation, min(later.forked_at) + 1 AS first
    FROM _incarnations AS earlier CROSS JOIN _incarnations AS later
    WHERE earlier.incarnation < later.incarnation
    GROUP BY earlier.incarnation
) AS each
COMMENT 'What later lives of the state have voided: by incarnation, from which epoch on.';

CREATE OR REPLACE VIEW _now AS
SELECT argMax(upto, incarnation) AS epoch, fromUnixTimestamp64Milli(epoch, 'UTC') AS at
FROM _incarnations AS lives
COMMENT 'The last epoch up to which everything is here.';

-- Who writes here: one deployment, and of its processes the one that came last.
CREATE TABLE IF NOT EXISTS _writers (
    deployment String COMMENT 'Which deployment: a name made from its secret, not the secret.',
    writer String COMMENT 'Which process.',
    turn UInt64 COMMENT 'Rises by one with each that comes: the greatest is the last. No clock decides.',
    claimed_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When it began to write here, by the server; for people.',
    row_id UInt128 MATERIALIZED reinterpretAsUInt128(sipHash128(deployment, writer)) COMMENT 'One per process.'
) ENGINE = ReplacingMergeTree(turn)
ORDER BY (deployment, writer, row_id)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'Who writes here.';

-- An event is one row, whatever its content: the identity alone sorts. Kept for two years;
-- ALTER TABLE events_rows MODIFY TTL … for another time.
CREATE TABLE IF NOT EXISTS events_rows (
    `tenant` LowCardinality(String) COMMENT 'Whose it is.',
    `source` LowCardinality(String) COMMENT 'CloudEvents source: who stated it.',
    `id` String COMMENT 'CloudEvents id; unique with tenant and source.',
    `type` LowCardinality(String) COMMENT 'What happened, such as order.placed.',
    `subject` String COMMENT 'The entity it is about; empty if none was named.',
    `time` DateTime64(3, 'UTC') COMMENT 'When it happened.',
    `appended_at` DateTime64(3, 'UTC') COMMENT 'When its log took it.',
    `feed` LowCardinality(String) COMMENT 'Where it was read.',
    `partition` UInt32 COMMENT 'Its partition there.',
    `offset` UInt64 COMMENT 'Its offset there.',
    `event` String COMMENT 'The whole event: structured CloudEvents JSON.' CODEC(ZSTD(1)),
    `epoch` UInt64 COMMENT 'The epoch in which it was applied: milliseconds since 1970.' CODEC(Delta, LZ4),
    `incarnation` UInt64 COMMENT 'Which life of the state applied it.' CODEC(T64, LZ4),
    row_id UInt128 MATERIALIZED reinterpretAsUInt128(sipHash128(tenant, source, id)) COMMENT 'One per event: tenant, source, id.',
    row_version UInt128 MATERIALIZED bitShiftLeft(toUInt128(incarnation), 64) + epoch COMMENT 'The greatest stands.',
    data String ALIAS JSONExtractRaw(event, 'data') COMMENT 'What happened, by its type: JSON.',
    INDEX by_type type TYPE set(64) GRANULARITY 1,
    INDEX by_time time TYPE minmax GRANULARITY 1
) ENGINE = ReplacingMergeTree(row_version)
PARTITION BY toYYYYMM(appended_at)
ORDER BY (tenant, source, id, row_id)
TTL toDateTime(appended_at) + INTERVAL 2 YEAR
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'Every event that was applied, as it came; read it through the view of the plain name.';

CREATE OR REPLACE VIEW events AS
SELECT tenant, source, id, type, subject, time, appended_at, feed, partition, offset, event, data, epoch
FROM events_rows FINAL
WHERE ((SELECT void_from FROM _voids)[incarnation] = 0 OR epoch < (SELECT void_from FROM _voids)[incarnation])
COMMENT 'Every event that was applied, once; what a later life of the state has voided is left out.';
