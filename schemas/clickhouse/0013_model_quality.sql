-- The view `model_quality`. Generated from the catalogue (schemas/clickhouse.rs); not to be edited:
-- once released, a change of the catalogue is a migration of its own.

CREATE TABLE IF NOT EXISTS model_quality_rows (
    `tenant` LowCardinality(String) COMMENT 'Whose it is.',
    `key_text` String COMMENT 'The row\'s key, as in /v1/views: its parts, joined by /.',
    `model` String COMMENT 'The model, with its version.',
    `n_judged` Int64 COMMENT 'Texts that came with a rating.',
    `accuracy_permille` Int64 COMMENT 'Share of right labels.',
    `macro_f1_permille` Int64 COMMENT 'Mean over the labels of 2 tp / (2 tp + fp + fn).',
    `calibration_error_permille` Int64 COMMENT 'Mean distance between confidence and share of right ones, in ten bands.',
    `epoch` UInt64 COMMENT 'When the row last changed: milliseconds since 1970, the epoch of answers.' CODEC(Delta, LZ4),
    `incarnation` UInt64 COMMENT 'Which life of the state said it; a later one wins.' CODEC(T64, LZ4),
    `is_deleted` UInt8 COMMENT '1: there is no such row any more.',
    row_id UInt128 MATERIALIZED reinterpretAsUInt128(sipHash128(tenant, key_text)) COMMENT 'One per key.',
    row_version UInt128 MATERIALIZED bitShiftLeft(toUInt128(incarnation), 64) + epoch COMMENT 'The greatest of a key stands.'
) ENGINE = ReplacingMergeTree(row_version, is_deleted)
ORDER BY (tenant, key_text, row_id)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'How right each model was, against what people said with stars. The newest row of each key; read it through the view of the plain name.';

CREATE TABLE IF NOT EXISTS model_quality_changes (
    `tenant` LowCardinality(String) COMMENT 'Whose it is.',
    `key_text` String COMMENT 'The row\'s key, as in /v1/views: its parts, joined by /.',
    `model` String COMMENT 'The model, with its version.',
    `n_judged` Int64 COMMENT 'Texts that came with a rating.',
    `accuracy_permille` Int64 COMMENT 'Share of right labels.',
    `macro_f1_permille` Int64 COMMENT 'Mean over the labels of 2 tp / (2 tp + fp + fn).',
    `calibration_error_permille` Int64 COMMENT 'Mean distance between confidence and share of right ones, in ten bands.',
    `epoch` UInt64 COMMENT 'From when on it is so: milliseconds since 1970, the epoch of answers.' CODEC(Delta, LZ4),
    `incarnation` UInt64 COMMENT 'Which life of the state said it; a later one wins.' CODEC(T64, LZ4),
    `diff` Int8 COMMENT '1: the row is so from epoch on; -1: there is none from epoch on.',
    row_id UInt128 MATERIALIZED reinterpretAsUInt128(sipHash128(tenant, key_text, epoch, incarnation)) COMMENT 'One per key and epoch.'
) ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(fromUnixTimestamp64Milli(epoch, 'UTC'))
ORDER BY (tenant, key_text, incarnation, epoch, row_id)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'How right each model was, against what people said with stars. Every row that ever was, with the epoch from which on it was so.';

CREATE OR REPLACE VIEW model_quality AS
SELECT tenant, `model`, `n_judged`, `accuracy_permille`, `macro_f1_permille`, `calibration_error_permille`, epoch
FROM model_quality_rows FINAL
WHERE incarnation >= (SELECT max(incarnation) FROM _incarnations WHERE whole_from > 0)
  AND ((SELECT void_from FROM _voids)[incarnation] = 0 OR epoch < (SELECT void_from FROM _voids)[incarnation])
COMMENT 'How right each model was, against what people said with stars.';

CREATE OR REPLACE VIEW model_quality_at AS
SELECT tenant, `model`, `n_judged`, `accuracy_permille`, `macro_f1_permille`, `calibration_error_permille`, epoch
FROM (
    SELECT *
    FROM model_quality_changes
    WHERE epoch <= {epoch:UInt64}
      AND incarnation >= (SELECT max(incarnation) FROM _incarnations WHERE whole_from BETWEEN 1 AND {epoch:UInt64})
      AND ((SELECT void_from FROM _voids)[incarnation] = 0 OR epoch < (SELECT void_from FROM _voids)[incarnation])
    ORDER BY tenant DESC, key_text DESC, incarnation DESC, epoch DESC
    LIMIT 1 BY tenant, key_text
)
WHERE diff = 1
COMMENT 'How right each model was, against what people said with stars. As it was at any epoch: model_quality_at(epoch = 1767225600000).';

CREATE OR REPLACE VIEW model_quality_now AS
SELECT tenant, `model`, `n_judged`, `accuracy_permille`, `macro_f1_permille`, `calibration_error_permille`, epoch
FROM (
    SELECT *
    FROM model_quality_changes
    WHERE epoch <= (SELECT epoch FROM _now)
      AND incarnation >= (SELECT max(incarnation) FROM _incarnations WHERE whole_from BETWEEN 1 AND (SELECT epoch FROM _now))
      AND ((SELECT void_from FROM _voids)[incarnation] = 0 OR epoch < (SELECT void_from FROM _voids)[incarnation])
    ORDER BY tenant DESC, key_text DESC, incarnation DESC, epoch DESC
    LIMIT 1 BY tenant, key_text
)
WHERE diff = 1
COMMENT 'How right each model was, against what people said with stars. As of the last mark: views read so in one statement are of one instant.';
