-- The view `sentiment`. Generated from the catalogue (schemas/clickhouse.rs); not to be edited:
-- once released, a change of the catalogue is a migration of its own.

CREATE TABLE IF NOT EXISTS sentiment_rows (
    `tenant` LowCardinality(String) COMMENT 'Whose it is.',
    `key_text` String COMMENT 'The row\'s key, as in /v1/views: its parts, joined by /.',
    `source` String COMMENT 'The event\'s source.',
    `id` String COMMENT 'The event\'s id within its source.',
    `said_at` DateTime64(3, 'UTC') COMMENT 'When it was said: event time.',
    `type` LowCardinality(String) COMMENT 'The event\'s type, such as feedback.submitted.',
    `customer` Nullable(String) COMMENT 'Who says it.',
    `product` Nullable(String) COMMENT 'About which product.',
    `subject` Nullable(String) COMMENT 'About which order, or which case.',
    `label` Enum8('negative' = 1, 'neutral' = 2, 'positive' = 3) COMMENT 'negative, neutral or positive.',
    `score_permille` Int64 COMMENT 'From -1000 (negative) to 1000 (positive).',
    `confidence_permille` Int64 COMMENT 'Of the label, from 0 to 1000; the lexicon\'s is not calibrated.',
    `words` String COMMENT 'The words that counted most, the weightiest first. JSON.' CODEC(ZSTD(1)),
    `model` LowCardinality(String) COMMENT 'Which model said so, with its version.',
    `epoch` UInt64 COMMENT 'When the row last changed: milliseconds since 1970, the epoch of answers.' CODEC(Delta, LZ4),
    `incarnation` UInt64 COMMENT 'Which life of the state said it; a later one wins.' CODEC(T64, LZ4),
    `is_deleted` UInt8 COMMENT '1: there is no such row any more.',
    row_id UInt128 MATERIALIZED reinterpretAsUInt128(sipHash128(tenant, key_text)) COMMENT 'One per key.',
    row_version UInt128 MATERIALIZED bitShiftLeft(toUInt128(incarnation), 64) + epoch COMMENT 'The greatest of a key stands.'
) ENGINE = ReplacingMergeTree(row_version, is_deleted)
ORDER BY (tenant, key_text, row_id)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'How each text feels: label, score, confidence, and the words that counted. The newest row of each key; read it through the view of the plain name.';

CREATE TABLE IF NOT EXISTS sentiment_changes (
    `tenant` LowCardinality(String) COMMENT 'Whose it is.',
    `key_text` String COMMENT 'The row\'s key, as in /v1/views: its parts, joined by /.',
    `source` String COMMENT 'The event\'s source.',
    `id` String COMMENT 'The event\'s id within its source.',
    `said_at` DateTime64(3, 'UTC') COMMENT 'When it was said: event time.',
    `type` LowCardinality(String) COMMENT 'The event\'s type, such as feedback.submitted.',
    `customer` Nullable(String) COMMENT 'Who says it.',
    `product` Nullable(String) COMMENT 'About which product.',
    `subject` Nullable(String) COMMENT 'About which order, or which case.',
    `label` Enum8('negative' = 1, 'neutral' = 2, 'positive' = 3) COMMENT 'negative, neutral or positive.',
    `score_permille` Int64 COMMENT 'From -1000 (negative) to 1000 (positive).',
    `confidence_permille` Int64 COMMENT 'Of the label, from 0 to 1000; the lexicon\'s is not calibrated.',
    `words` String COMMENT 'The words that counted most, the weightiest first. JSON.' CODEC(ZSTD(1)),
    `model` LowCardinality(String) COMMENT 'Which model said so, with its version.',
    `epoch` UInt64 COMMENT 'From when on it is so: milliseconds since 1970, the epoch of answers.' CODEC(Delta, LZ4),
    `incarnation` UInt64 COMMENT 'Which life of the state said it; a later one wins.' CODEC(T64, LZ4),
    `diff` Int8 COMMENT '1: the row is so from epoch on; -1: there is none from epoch on.',
    row_id UInt128 MATERIALIZED reinterpretAsUInt128(sipHash128(tenant, key_text, epoch, incarnation)) COMMENT 'One per key and epoch.'
) ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(fromUnixTimestamp64Milli(epoch, 'UTC'))
ORDER BY (tenant, key_text, incarnation, epoch, row_id)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'How each text feels: label, score, confidence, and the words that counted. Every row that ever was, with the epoch from which on it was so.';

CREATE OR REPLACE VIEW sentiment AS
SELECT tenant, `source`, `id`, `said_at`, `type`, `customer`, `product`, `subject`, `label`, `score_permille`, `confidence_permille`, `words`, `model`, epoch
FROM sentiment_rows FINAL
WHERE incarnation >= (SELECT max(incarnation) FROM _incarnations WHERE whole_from > 0)
  AND ((SELECT void_from FROM _voids)[incarnation] = 0 OR epoch < (SELECT void_from FROM _voids)[incarnation])
COMMENT 'How each text feels: label, score, confidence, and the words that counted.';

CREATE OR REPLACE VIEW sentiment_at AS
SELECT tenant, `source`, `id`, `said_at`, `type`, `customer`, `product`, `subject`, `label`, `score_permille`, `confidence_permille`, `words`, `model`, epoch
FROM (
    SELECT *
    FROM sentiment_changes
    WHERE epoch <= {epoch:UInt64}
      AND incarnation >= (SELECT max(incarnation) FROM _incarnations WHERE whole_from BETWEEN 1 AND {epoch:UInt64})
      AND ((SELECT void_from FROM _voids)[incarnation] = 0 OR epoch < (SELECT void_from FROM _voids)[incarnation])
    ORDER BY tenant DESC, key_text DESC, incarnation DESC, epoch DESC
    LIMIT 1 BY tenant, key_text
)
WHERE diff = 1
COMMENT 'How each text feels: label, score, confidence, and the words that counted. As it was at any epoch: sentiment_at(epoch = 1767225600000).';

CREATE OR REPLACE VIEW sentiment_now AS
SELECT tenant, `source`, `id`, `said_at`, `type`, `customer`, `product`, `subject`, `label`, `score_permille`, `confidence_permille`, `words`, `model`, epoch
FROM (
    SELECT *
    FROM sentiment_changes
    WHERE epoch <= (SELECT epoch FROM _now)
      AND incarnation >= (SELECT max(incarnation) FROM _incarnations WHERE whole_from BETWEEN 1 AND (SELECT epoch FROM _now))
      AND ((SELECT void_from FROM _voids)[incarnation] = 0 OR epoch < (SELECT void_from FROM _voids)[incarnation])
    ORDER BY tenant DESC, key_text DESC, incarnation DESC, epoch DESC
    LIMIT 1 BY tenant, key_text
)
WHERE diff = 1
COMMENT 'How each text feels: label, score, confidence, and the words that counted. As of the last mark: views read so in one statement are of one instant.';
