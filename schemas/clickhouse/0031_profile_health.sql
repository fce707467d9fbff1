-- The view `profile_health`. Generated from the catalogue (schemas/clickhouse.rs); not to be edited:
-- once released, a change of the catalogue is a migration of its own.

CREATE TABLE IF NOT EXISTS profile_health_rows (
    `tenant` LowCardinality(String) COMMENT 'Whose it is.',
    `key_text` String COMMENT 'The row\'s key, as in /v1/views: its parts, joined by /.',
    `person` String COMMENT 'The person: the id of the member who was seen first.',
    `score` Int64 COMMENT 'From 0 (worst) to 100.',
    `band` LowCardinality(String) COMMENT 'The band of the score.',
    `band_before` LowCardinality(Nullable(String)) COMMENT 'The band before that one, where it changed within the last 28 days.',
    `band_since` Nullable(DateTime64(3, 'UTC')) COMMENT 'The start of the day on which it changed, or on which the customer came, within the last 28 days.',
    `recency` Nullable(Int64) COMMENT '0 to 100: the time since the last purchase, against the customer\'s own rhythm; null: nothing was bought.',
    `frequency` Nullable(Int64) COMMENT '0 to 100: days with a purchase, older ones counting less.',
    `trend` Nullable(Int64) COMMENT '0 to 100: money spent in the last 90 days against the nine months before; 50 is as before, null too new to say.',
    `sentiment` Nullable(Int64) COMMENT '0 to 100: texts of the last 90 days; 50 is neutral, null there are none.',
    `cases` Int64 COMMENT '0 to 100: 20 less for each open case, 30 more if it is open for long.',
    `late_orders` Int64 COMMENT '0 to 100: 40 less for each order that is late, 20 for each that came late in the last 60 days.',
    `reasons` String COMMENT 'At most three, the strongest first: words, and points (what it does to the score). JSON.' CODEC(ZSTD(1)),
    `n_customers` Int64 COMMENT 'Customers who are this person.',
    `customers` String COMMENT 'Their ids, in order. JSON.' CODEC(ZSTD(1)),
    `epoch` UInt64 COMMENT 'When the row last changed: milliseconds since 1970, the epoch of answers.' CODEC(Delta, LZ4),
    `incarnation` UInt64 COMMENT 'Which life of the state said it; a later one wins.' CODEC(T64, LZ4),
    `is_deleted` UInt8 COMMENT '1: there is no such row any more.',
    row_id UInt128 MATERIALIZED reinterpretAsUInt128(sipHash128(tenant, key_text)) COMMENT 'One per key.',
    row_version UInt128 MATERIALIZED bitShiftLeft(toUInt128(incarnation), 64) + epoch COMMENT 'The greatest of a key stands.'
) ENGINE = ReplacingMergeTree(row_version, is_deleted)
ORDER BY (tenant, key_text, row_id)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'How well it stands with each person, all the customers who they are together: a score, a band, and the strongest reasons. The newest row of each key; read it through the view of the plain name.';

CREATE TABLE IF NOT EXISTS profile_health_changes (
    `tenant` LowCardinality(String) COMMENT 'Whose it is.',
    `key_text` String COMMENT 'The row\'s key, as in /v1/views: its parts, joined by /.',
    `person` String COMMENT 'The person: the id of the member who was seen first.',
    `score` Int64 COMMENT 'From 0 (worst) to 100.',
    `band` LowCardinality(String) COMMENT 'The band of the score.',
    `band_before` LowCardinality(Nullable(String)) COMMENT 'The band before that one, where it changed within the last 28 days.',
    `band_since` Nullable(DateTime64(3, 'UTC')) COMMENT 'The start of the day on which it changed, or on which the customer came, within the last 28 days.',
    `recency` Nullable(Int64) COMMENT '0 to 100: the time since the last purchase, against the customer\'s own rhythm; null: nothing was bought.',
    `frequency` Nullable(Int64) COMMENT '0 to 100: days with a purchase, older ones counting less.',
    `trend` Nullable(Int64) COMMENT '0 to 100: money spent in the last 90 days against the nine months before; 50 is as before, null too new to say.',
    `sentiment` Nullable(Int64) COMMENT '0 to 100: texts of the last 90 days; 50 is neutral, null there are none.',
    `cases` Int64 COMMENT '0 to 100: 20 less for each open case, 30 more if it is open for long.',
    `late_orders` Int64 COMMENT '0 to 100: 40 less for each order that is late, 20 for each that came late in the last 60 days.',
    `reasons` String COMMENT 'At most three, the strongest first: words, and points (what it does to the score). JSON.' CODEC(ZSTD(1)),
    `n_customers` Int64 COMMENT 'Customers who are this person.',
    `customers` String COMMENT 'Their ids, in order. JSON.' CODEC(ZSTD(1)),
    `epoch` UInt64 COMMENT 'From when on it is so: milliseconds since 1970, the epoch of answers.' CODEC(Delta, LZ4),
    `incarnation` UInt64 COMMENT 'Which life of the state said it; a later one wins.' CODEC(T64, LZ4),
    `diff` Int8 COMMENT '1: the row is so from epoch on; -1: there is none from epoch on.',
    row_id UInt128 MATERIALIZED reinterpretAsUInt128(sipHash128(tenant, key_text, epoch, incarnation)) COMMENT 'One per key and epoch.'
) ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(fromUnixTimestamp64Milli(epoch, 'UTC'))
ORDER BY (tenant, key_text, incarnation, epoch, row_id)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'How well it stands with each person, all the customers who they are together: a score, a band, and the strongest reasons. Every row that ever was, with the epoch from which on it was so.';

CREATE OR REPLACE VIEW profile_health AS
SELECT tenant, `person`, `score`, `band`, `band_before`, `band_since`, `recency`, `frequency`, `trend`, `sentiment`, `cases`, `late_orders`, `reasons`, `n_customers`, `customers`, epoch
FROM profile_health_rows FINAL
WHERE incarnation >= (SELECT max(incarnation) FROM _incarnations WHERE whole_from > 0)
  AND ((SELECT void_from FROM _voids)[incarnation] = 0 OR epoch < (SELECT void_from FROM _voids)[incarnation])
COMMENT 'How well it stands with each person, all the customers who they are together: a score, a band, and the strongest reasons.';

CREATE OR REPLACE VIEW profile_health_at AS
SELECT tenant, `person`, `score`, `band`, `band_before`, `band_since`, `recency`, `frequency`, `trend`, `sentiment`, `cases`, `late_orders`, `reasons`, `n_customers`, `customers`, epoch
FROM (
    SELECT *
    FROM profile_health_changes
    WHERE epoch <= {epoch:UInt64}
      AND incarnation >= (SELECT max(incarnation) FROM _incarnations WHERE whole_from BETWEEN 1 AND {epoch:UInt64})
      AND ((SELECT void_from FROM _voids)[incarnation] = 0 OR epoch < (SELECT void_from FROM _voids)[incarnation])
    ORDER BY tenant DESC, key_text DESC, incarnation DESC, epoch DESC
    LIMIT 1 BY tenant, key_text
)
WHERE diff = 1
COMMENT 'How well it stands with each person, all the customers who they are together: a score, a band, and the strongest reasons. As it was at any epoch: profile_health_at(epoch = 1767225600000).';

CREATE OR REPLACE VIEW profile_health_now AS
SELECT tenant, `person`, `score`, `band`, `band_before`, `band_since`, `recency`, `frequency`, `trend`, `sentiment`, `cases`, `late_orders`, `reasons`, `n_customers`, `customers`, epoch
FROM (
    SELECT *
    FROM profile_health_changes
    WHERE epoch <= (SELECT epoch FROM _now)
      AND incarnation >= (SELECT max(incarnation) FROM _incarnations WHERE whole_from BETWEEN 1 AND (SELECT epoch FROM _now))
      AND ((SELECT void_from FROM _voids)[incarnation] = 0 OR epoch < (SELECT void_from FROM _voids)[incarnation])
    ORDER BY tenant DESC, key_text DESC, incarnation DESC, epoch DESC
    LIMIT 1 BY tenant, key_text
)
WHERE diff = 1
COMMENT 'How well it stands with each person, all the customers who they are together: a score, a band, and the strongest reasons. As of the last mark: views read so in one statement are of one instant.';
