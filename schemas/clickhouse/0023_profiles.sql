-- The view `profiles`. Generated from the catalogue (schemas/clickhouse.rs); not to be edited:
-- once released, a change of the catalogue is a migration of its own.

CREATE TABLE IF NOT EXISTS profiles_rows (
    `tenant` LowCardinality(String) COMMENT 'Whose it is.',
    `key_text` String COMMENT 'The row\'s key, as in /v1/views: its parts, joined by /.',
    `person` String COMMENT 'The person: the id of the member who was seen first.',
    `name` Nullable(String) COMMENT 'Full name, as it was told last.',
    `email` Nullable(String) COMMENT 'E-mail address, as it was told last.',
    `phone` Nullable(String) COMMENT 'Telephone number, as told last.',
    `tier` LowCardinality(Nullable(String)) COMMENT 'Service tier, as it was told last.',
    `language` LowCardinality(Nullable(String)) COMMENT 'BCP 47 language tag, likewise.',
    `country` LowCardinality(Nullable(String)) COMMENT 'ISO 3166-1 country, likewise.',
    `time_zone` LowCardinality(Nullable(String)) COMMENT 'IANA time zone, likewise.',
    `attributes` String COMMENT 'Anything else, by name. JSON.' CODEC(ZSTD(1)),
    `n_members` Int64 COMMENT 'Customers who are this person.',
    `members` String COMMENT 'Their ids, all of them names of this person, the one seen first at the front. JSON.' CODEC(ZSTD(1)),
    `identifiers` String COMMENT 'Every identifier that a member carries: kind, value, and by whom, as what was given (raw) and in which events. JSON.' CODEC(ZSTD(1)),
    `by_hand` String COMMENT 'Pairs of members that were linked by hand, when, and by whom. JSON.' CODEC(ZSTD(1)),
    `first_seen_at` DateTime64(3, 'UTC') COMMENT 'Earliest event about them.',
    `last_seen_at` DateTime64(3, 'UTC') COMMENT 'Latest event about them.',
    `n_events` Int64 COMMENT 'Events, of all members.',
    `n_orders` Int64 COMMENT 'Orders placed, likewise.',
    `spend` Map(LowCardinality(String), Int64) COMMENT 'Amounts placed, by currency; 9223372036854775807 means at least that. Minor units by currency.',
    `cancelled` Map(LowCardinality(String), Int64) COMMENT 'Amounts cancelled, by currency; 9223372036854775807 means at least that. Minor units by currency.',
    `returned` Map(LowCardinality(String), Int64) COMMENT 'Amounts returned, by currency; 9223372036854775807 means at least that. Minor units by currency.',
    `n_ratings` Int64 COMMENT 'Ratings given.',
    `rating_sum` Int64 COMMENT 'Sum of the ratings, each 1 to 5.',
    `n_cases` Int64 COMMENT 'How often a case was opened.',
    `n_open_cases` Int64 COMMENT 'Cases that are open.',
    `epoch` UInt64 COMMENT 'When the row last changed: milliseconds since 1970, the epoch of answers.' CODEC(Delta, LZ4),
    `incarnation` UInt64 COMMENT 'Which life of the state said it; a later one wins.' CODEC(T64, LZ4),
    `is_deleted` UInt8 COMMENT '1: there is no such row any more.',
    row_id UInt128 MATERIALIZED reinterpretAsUInt128(sipHash128(tenant, key_text)) COMMENT 'One per key.',
    row_version UInt128 MATERIALIZED bitShiftLeft(toUInt128(incarnation), 64) + epoch COMMENT 'The greatest of a key stands.'
) ENGINE = ReplacingMergeTree(row_version, is_deleted)
ORDER BY (tenant, key_text, row_id)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'One person out of many customers: who they are, by what, and what they did. The newest row of each key; read it through the view of the plain name.';

CREATE TABLE IF NOT EXISTS profiles_changes (
    `tenant` LowCardinality(String) COMMENT 'Whose it is.',
    `key_text` String COMMENT 'The row\'s key, as in /v1/views: its parts, joined by /.',
    `person` String COMMENT 'The person: the id of the member who was seen first.',
    `name` Nullable(String) COMMENT 'Full name, as it was told last.',
    `email` Nullable(String) COMMENT 'E-mail address, as it was told last.',
    `phone` Nullable(String) COMMENT 'Telephone number, as told last.',
    `tier` LowCardinality(Nullable(String)) COMMENT 'Service tier, as it was told last.',
    `language` LowCardinality(Nullable(String)) COMMENT 'BCP 47 language tag, likewise.',
    `country` LowCardinality(Nullable(String)) COMMENT 'ISO 3166-1 country, likewise.',
    `time_zone` LowCardinality(Nullable(String)) COMMENT 'IANA time zone, likewise.',
    `attributes` String COMMENT 'Anything else, by name. JSON.' CODEC(ZSTD(1)),
    `n_members` Int64 COMMENT 'Customers who are this person.',
    `members` String COMMENT 'Their ids, all of them names of this person, the one seen first at the front. JSON.' CODEC(ZSTD(1)),
    `identifiers` String COMMENT 'Every identifier that a member carries: kind, value, and by whom, as what was given (raw) and in which events. JSON.' CODEC(ZSTD(1)),
    `by_hand` String COMMENT 'Pairs of members that were linked by hand, when, and by whom. JSON.' CODEC(ZSTD(1)),
    `first_seen_at` DateTime64(3, 'UTC') COMMENT 'Earliest event about them.',
    `last_seen_at` DateTime64(3, 'UTC') COMMENT 'Latest event about them.',
    `n_events` Int64 COMMENT 'Events, of all members.',
    `n_orders` Int64 COMMENT 'Orders placed, likewise.',
    `spend` Map(LowCardinality(String), Int64) COMMENT 'Amounts placed, by currency; 9223372036854775807 means at least that. Minor units by currency.',
    `cancelled` Map(LowCardinality(String), Int64) COMMENT 'Amounts cancelled, by currency; 9223372036854775807 means at least that. Minor units by currency.',
    `returned` Map(LowCardinality(String), Int64) COMMENT 'Amounts returned, by currency; 9223372036854775807 means at least that. Minor units by currency.',
    `n_ratings` Int64 COMMENT 'Ratings given.',
    `rating_sum` Int64 COMMENT 'Sum of the ratings, each 1 to 5.',
    `n_cases` Int64 COMMENT 'How often a case was opened.',
    `n_open_cases` Int64 COMMENT 'Cases that are open.',
    `epoch` UInt64 COMMENT 'From when on it is so: milliseconds since 1970, the epoch of answers.' CODEC(Delta, LZ4),
    `incarnation` UInt64 COMMENT 'Which life of the state said it; a later one wins.' CODEC(T64, LZ4),
    `diff` Int8 COMMENT '1: the row is so from epoch on; -1: there is none from epoch on.',
    row_id UInt128 MATERIALIZED reinterpretAsUInt128(sipHash128(tenant, key_text, epoch, incarnation)) COMMENT 'One per key and epoch.'
) ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(fromUnixTimestamp64Milli(epoch, 'UTC'))
ORDER BY (tenant, key_text, incarnation, epoch, row_id)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'One person out of many customers: who they are, by what, and what they did. Every row that ever was, with the epoch from which on it was so.';

CREATE OR REPLACE VIEW profiles AS
SELECT tenant, `person`, `name`, `email`, `phone`, `tier`, `language`, `country`, `time_zone`, `attributes`, `n_members`, `members`, `identifiers`, `by_hand`, `first_seen_at`, `last_seen_at`, `n_events`, `n_orders`, `spend`, `cancelled`, `returned`, `n_ratings`, `rating_sum`, `n_cases`, `n_open_cases`, epoch
FROM profiles_rows FINAL
WHERE incarnation >= (SELECT max(incarnation) FROM _incarnations WHERE whole_from > 0)
  AND ((SELECT void_from FROM _voids)[incarnation] = 0 OR epoch < (SELECT void_from FROM _voids)[incarnation])
COMMENT 'One person out of many customers: who they are, by what, and what they did.';

CREATE OR REPLACE VIEW profiles_at AS
SELECT tenant, `person`, `name`, `email`, `phone`, `tier`, `language`, `country`, `time_zone`, `attributes`, `n_members`, `members`, `identifiers`, `by_hand`, `first_seen_at`, `last_seen_at`, `n_events`, `n_orders`, `spend`, `cancelled`, `returned`, `n_ratings`, `rating_sum`, `n_cases`, `n_open_cases`, epoch
FROM (
    SELECT *
    FROM profiles_changes
    WHERE epoch <= {epoch:UInt64}
      AND incarnation >= (SELECT max(incarnation) FROM _incarnations WHERE whole_from BETWEEN 1 AND {epoch:UInt64})
      AND ((SELECT void_from FROM _voids)[incarnation] = 0 OR epoch < (SELECT void_from FROM _voids)[incarnation])
    ORDER BY tenant DESC, key_text DESC, incarnation DESC, epoch DESC
    LIMIT 1 BY tenant, key_text
)
WHERE diff = 1
COMMENT 'One person out of many customers: who they are, by what, and what they did. As it was at any epoch: profiles_at(epoch = 1767225600000).';

CREATE OR REPLACE VIEW profiles_now AS
SELECT tenant, `person`, `name`, `email`, `phone`, `tier`, `language`, `country`, `time_zone`, `attributes`, `n_members`, `members`, `identifiers`, `by_hand`, `first_seen_at`, `last_seen_at`, `n_events`, `n_orders`, `spend`, `cancelled`, `returned`, `n_ratings`, `rating_sum`, `n_cases`, `n_open_cases`, epoch
FROM (
    SELECT *
    FROM profiles_changes
    WHERE epoch <= (SELECT epoch FROM _now)
      AND incarnation >= (SELECT max(incarnation) FROM _incarnations WHERE whole_from BETWEEN 1 AND (SELECT epoch FROM _now))
      AND ((SELECT void_from FROM _voids)[incarnation] = 0 OR epoch < (SELECT void_from FROM _voids)[incarnation])
    ORDER BY tenant DESC, key_text DESC, incarnation DESC, epoch DESC
    LIMIT 1 BY tenant, key_text
)
WHERE diff = 1
COMMENT 'One person out of many customers: who they are, by what, and what they did. As of the last mark: views read so in one statement are of one instant.';
