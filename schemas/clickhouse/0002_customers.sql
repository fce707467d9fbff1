-- The view `customers`. Generated from the catalogue (schemas/clickhouse.rs); not to be edited:
-- once released, a change of the catalogue is a migration of its own.

CREATE TABLE IF NOT EXISTS customers_rows (
    `tenant` LowCardinality(String) COMMENT 'Whose it is.',
    `key_text` String COMMENT 'The row\'s key, as in /v1/views: its parts, joined by /.',
    `customer` String COMMENT 'The customer.',
    `name` Nullable(String) COMMENT 'Full name.',
    `email` Nullable(String) COMMENT 'E-mail address, as written.',
    `phone` Nullable(String) COMMENT 'Telephone number, as written.',
    `tier` LowCardinality(Nullable(String)) COMMENT 'Service tier, such as gold.',
    `language` LowCardinality(Nullable(String)) COMMENT 'BCP 47 language tag.',
    `country` LowCardinality(Nullable(String)) COMMENT 'ISO 3166-1 alpha-2 country.',
    `time_zone` LowCardinality(Nullable(String)) COMMENT 'IANA time zone.',
    `attributes` String COMMENT 'Anything else, by name. JSON.' CODEC(ZSTD(1)),
    `first_seen_at` DateTime64(3, 'UTC') COMMENT 'Earliest event about the customer.',
    `last_seen_at` DateTime64(3, 'UTC') COMMENT 'Latest event about the customer.',
    `n_events` Int64 COMMENT 'Events that name the customer.',
    `n_orders` Int64 COMMENT 'Orders placed.',
    `spend` Map(LowCardinality(String), Int64) COMMENT 'Amounts placed, by currency; 9223372036854775807 means at least that. Minor units by currency.',
    `cancelled` Map(LowCardinality(String), Int64) COMMENT 'Amounts cancelled, by currency; 9223372036854775807 means at least that. Minor units by currency.',
    `returned` Map(LowCardinality(String), Int64) COMMENT 'Amounts returned, by currency; 9223372036854775807 means at least that. Minor units by currency.',
    `n_ratings` Int64 COMMENT 'Ratings given.',
    `rating_sum` Int64 COMMENT 'Sum of the ratings given, each 1 to 5.',
    `n_cases` Int64 COMMENT 'How often a case was opened for the customer: one opened again counts again.',
    `n_open_cases` Int64 COMMENT 'Cases of which the newest statement that names the customer is no resolution, among the 4,096 spoken of last. A resolution that names no customer is not seen here, only in the view cases.',
    `epoch` UInt64 COMMENT 'When the row last changed: milliseconds since 1970, the epoch of answers.' CODEC(Delta, LZ4),
    `incarnation` UInt64 COMMENT 'Which life of the state said it; a later one wins.' CODEC(T64, LZ4),
    `is_deleted` UInt8 COMMENT '1: there is no such row any more.',
    row_id UInt128 MATERIALIZED reinterpretAsUInt128(sipHash128(tenant, key_text)) COMMENT 'One per key.',
    row_version UInt128 MATERIALIZED bitShiftLeft(toUInt128(incarnation), 64) + epoch COMMENT 'The greatest of a key stands.'
) ENGINE = ReplacingMergeTree(row_version, is_deleted)
ORDER BY (tenant, key_text, row_id)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'Everything known of each customer: attributes, activity, money, ratings, open cases. The newest row of each key; read it through the view of the plain name.';

CREATE TABLE IF NOT EXISTS customers_changes (
    `tenant` LowCardinality(String) COMMENT 'Whose it is.',
    `key_text` String COMMENT 'The row\'s key, as in /v1/views: its parts, joined by /.',
    `customer` String COMMENT 'The customer.',
    `name` Nullable(String) COMMENT 'Full name.',
    `email` Nullable(String) COMMENT 'E-mail address, as written.',
    `phone` Nullable(String) COMMENT 'Telephone number, as written.',
    `tier` LowCardinality(Nullable(String)) COMMENT 'Service tier, such as gold.',
    `language` LowCardinality(Nullable(String)) COMMENT 'BCP 47 language tag.',
    `country` LowCardinality(Nullable(String)) COMMENT 'ISO 3166-1 alpha-2 country.',
    `time_zone` LowCardinality(Nullable(String)) COMMENT 'IANA time zone.',
    `attributes` String COMMENT 'Anything else, by name. JSON.' CODEC(ZSTD(1)),
    `first_seen_at` DateTime64(3, 'UTC') COMMENT 'Earliest event about the customer.',
    `last_seen_at` DateTime64(3, 'UTC') COMMENT 'Latest event about the customer.',
    `n_events` Int64 COMMENT 'Events that name the customer.',
    `n_orders` Int64 COMMENT 'Orders placed.',
    `spend` Map(LowCardinality(String), Int64) COMMENT 'Amounts placed, by currency; 9223372036854775807 means at least that. Minor units by currency.',
    `cancelled` Map(LowCardinality(String), Int64) COMMENT 'Amounts cancelled, by currency; 9223372036854775807 means at least that. Minor units by currency.',
    `returned` Map(LowCardinality(String), Int64) COMMENT 'Amounts returned, by currency; 9223372036854775807 means at least that. Minor units by currency.',
    `n_ratings` Int64 COMMENT 'Ratings given.',
    `rating_sum` Int64 COMMENT 'Sum of the ratings given, each 1 to 5.',
    `n_cases` Int64 COMMENT 'How often a case was opened for the customer: one opened again counts again.',
    `n_open_cases` Int64 COMMENT 'Cases of which the newest statement that names the customer is no resolution, among the 4,096 spoken of last. A resolution that names no customer is not seen here, only in the view cases.',
    `epoch` UInt64 COMMENT 'From when on it is so: milliseconds since 1970, the epoch of answers.' CODEC(Delta, LZ4),
    `incarnation` UInt64 COMMENT 'Which life of the state said it; a later one wins.' CODEC(T64, LZ4),
    `diff` Int8 COMMENT '1: the row is so from epoch on; -1: there is none from epoch on.',
    row_id UInt128 MATERIALIZED reinterpretAsUInt128(sipHash128(tenant, key_text, epoch, incarnation)) COMMENT 'One per key and epoch.'
) ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(fromUnixTimestamp64Milli(epoch, 'UTC'))
ORDER BY (tenant, key_text, incarnation, epoch, row_id)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'Everything known of each customer: attributes, activity, money, ratings, open cases. Every row that ever was, with the epoch from which on it was so.';

CREATE OR REPLACE VIEW customers AS
SELECT tenant, `customer`, `name`, `email`, `phone`, `tier`, `language`, `country`, `time_zone`, `attributes`, `first_seen_at`, `last_seen_at`, `n_events`, `n_orders`, `spend`, `cancelled`, `returned`, `n_ratings`, `rating_sum`, `n_cases`, `n_open_cases`, epoch
FROM customers_rows FINAL
WHERE incarnation >= (SELECT max(incarnation) FROM _incarnations WHERE whole_from > 0)
  AND ((SELECT void_from FROM _voids)[incarnation] = 0 OR epoch < (SELECT void_from FROM _voids)[incarnation])
COMMENT 'Everything known of each customer: attributes, activity, money, ratings, open cases.';

CREATE OR REPLACE VIEW customers_at AS
SELECT tenant, `customer`, `name`, `email`, `phone`, `tier`, `language`, `country`, `time_zone`, `attributes`, `first_seen_at`, `last_seen_at`, `n_events`, `n_orders`, `spend`, `cancelled`, `returned`, `n_ratings`, `rating_sum`, `n_cases`, `n_open_cases`, epoch
FROM (
    SELECT *
    FROM customers_changes
    WHERE epoch <= {epoch:UInt64}
      AND incarnation >= (SELECT max(incarnation) FROM _incarnations WHERE whole_from BETWEEN 1 AND {epoch:UInt64})
      AND ((SELECT void_from FROM _voids)[incarnation] = 0 OR epoch < (SELECT void_from FROM _voids)[incarnation])
    ORDER BY tenant DESC, key_text DESC, incarnation DESC, epoch DESC
    LIMIT 1 BY tenant, key_text
)
WHERE diff = 1
COMMENT 'Everything known of each customer: attributes, activity, money, ratings, open cases. As it was at any epoch: customers_at(epoch = 1767225600000).';

CREATE OR REPLACE VIEW customers_now AS
SELECT tenant, `customer`, `name`, `email`, `phone`, `tier`, `language`, `country`, `time_zone`, `attributes`, `first_seen_at`, `last_seen_at`, `n_events`, `n_orders`, `spend`, `cancelled`, `returned`, `n_ratings`, `rating_sum`, `n_cases`, `n_open_cases`, epoch
FROM (
    SELECT *
    FROM customers_changes
    WHERE epoch <= (SELECT epoch FROM _now)
      AND incarnation >= (SELECT max(incarnation) FROM _incarnations WHERE whole_from BETWEEN 1 AND (SELECT epoch FROM _now))
      AND ((SELECT void_from FROM _voids)[incarnation] = 0 OR epoch < (SELECT void_from FROM _voids)[incarnation])
    ORDER BY tenant DESC, key_text DESC, incarnation DESC, epoch DESC
    LIMIT 1 BY tenant, key_text
)
WHERE diff = 1
COMMENT 'Everything known of each customer: attributes, activity, money, ratings, open cases. As of the last mark: views read so in one statement are of one instant.';
