-- The view `identifiers`. Generated from the catalogue (schemas/clickhouse.rs); not to be edited:
-- once released, a change of the catalogue is a migration of its own.

CREATE TABLE IF NOT EXISTS identifiers_rows (
    `tenant` LowCardinality(String) COMMENT 'Whose it is.',
    `key_text` String COMMENT 'The row\'s key, as in /v1/views: its parts, joined by /.',
    `kind` LowCardinality(String) COMMENT 'Such as email; customer: the id of a customer.',
    `value` String COMMENT 'As it is compared: normalised.',
    `person` Nullable(String) COMMENT 'The person whose it is, if it is one\'s and usable.',
    `usable` Bool COMMENT 'Whether it says who somebody is.',
    `why_not` Nullable(Enum8('blocked' = 1, 'kind' = 2, 'too_many' = 3)) COMMENT 'blocked: the value says nothing; kind: identity.kinds has it not; too_many: more customers carry it than its kind allows.',
    `n_customers` Int64 COMMENT 'Customers who carry it.',
    `customers` String COMMENT 'Who they are, if it is usable. JSON.' CODEC(ZSTD(1)),
    `persons` String COMMENT 'The persons whom it names, if it is usable: several, if a link was refused. JSON.' CODEC(ZSTD(1)),
    `epoch` UInt64 COMMENT 'When the row last changed: milliseconds since 1970, the epoch of answers.' CODEC(Delta, LZ4),
    `incarnation` UInt64 COMMENT 'Which life of the state said it; a later one wins.' CODEC(T64, LZ4),
    `is_deleted` UInt8 COMMENT '1: there is no such row any more.',
    row_id UInt128 MATERIALIZED reinterpretAsUInt128(sipHash128(tenant, key_text)) COMMENT 'One per key.',
    row_version UInt128 MATERIALIZED bitShiftLeft(toUInt128(incarnation), 64) + epoch COMMENT 'The greatest of a key stands.'
) ENGINE = ReplacingMergeTree(row_version, is_deleted)
ORDER BY (tenant, key_text, row_id)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'Whose an identifier is: a lookup by any of them. The newest row of each key; read it through the view of the plain name.';

CREATE TABLE IF NOT EXISTS identifiers_changes (
    `tenant` LowCardinality(String) COMMENT 'Whose it is.',
    `key_text` String COMMENT 'The row\'s key, as in /v1/views: its parts, joined by /.',
    `kind` LowCardinality(String) COMMENT 'Such as email; customer: the id of a customer.',
    `value` String COMMENT 'As it is compared: normalised.',
    `person` Nullable(String) COMMENT 'The person whose it is, if it is one\'s and usable.',
    `usable` Bool COMMENT 'Whether it says who somebody is.',
    `why_not` Nullable(Enum8('blocked' = 1, 'kind' = 2, 'too_many' = 3)) COMMENT 'blocked: the value says nothing; kind: identity.kinds has it not; too_many: more customers carry it than its kind allows.',
    `n_customers` Int64 COMMENT 'Customers who carry it.',
    `customers` String COMMENT 'Who they are, if it is usable. JSON.' CODEC(ZSTD(1)),
    `persons` String COMMENT 'The persons whom it names, if it is usable: several, if a link was refused. JSON.' CODEC(ZSTD(1)),
    `epoch` UInt64 COMMENT 'From when on it is so: milliseconds since 1970, the epoch of answers.' CODEC(Delta, LZ4),
    `incarnation` UInt64 COMMENT 'Which life of the state said it; a later one wins.' CODEC(T64, LZ4),
    `diff` Int8 COMMENT '1: the row is so from epoch on; -1: there is none from epoch on.',
    row_id UInt128 MATERIALIZED reinterpretAsUInt128(sipHash128(tenant, key_text, epoch, incarnation)) COMMENT 'One per key and epoch.'
) ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(fromUnixTimestamp64Milli(epoch, 'UTC'))
ORDER BY (tenant, key_text, incarnation, epoch, row_id)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'Whose an identifier is: a lookup by any of them. Every row that ever was, with the epoch from which on it was so.';

CREATE OR REPLACE VIEW identifiers AS
SELECT tenant, `kind`, `value`, `person`, `usable`, `why_not`, `n_customers`, `customers`, `persons`, epoch
FROM identifiers_rows FINAL
WHERE incarnation >= (SELECT max(incarnation) FROM _incarnations WHERE whole_from > 0)
  AND ((SELECT void_from FROM _voids)[incarnation] = 0 OR epoch < (SELECT void_from FROM _voids)[incarnation])
COMMENT 'Whose an identifier is: a lookup by any of them.';

CREATE OR REPLACE VIEW identifiers_at AS
SELECT tenant, `kind`, `value`, `person`, `usable`, `why_not`, `n_customers`, `customers`, `persons`, epoch
FROM (
    SELECT *
    FROM identifiers_changes
    WHERE epoch <= {epoch:UInt64}
      AND incarnation >= (SELECT max(incarnation) FROM _incarnations WHERE whole_from BETWEEN 1 AND {epoch:UInt64})
      AND ((SELECT void_from FROM _voids)[incarnation] = 0 OR epoch < (SELECT void_from FROM _voids)[incarnation])
    ORDER BY tenant DESC, key_text DESC, incarnation DESC, epoch DESC
    LIMIT 1 BY tenant, key_text
)
WHERE diff = 1
COMMENT 'Whose an identifier is: a lookup by any of them. As it was at any epoch: identifiers_at(epoch = 1767225600000).';

CREATE OR REPLACE VIEW identifiers_now AS
SELECT tenant, `kind`, `value`, `person`, `usable`, `why_not`, `n_customers`, `customers`, `persons`, epoch
FROM (
    SELECT *
    FROM identifiers_changes
    WHERE epoch <= (SELECT epoch FROM _now)
      AND incarnation >= (SELECT max(incarnation) FROM _incarnations WHERE whole_from BETWEEN 1 AND (SELECT epoch FROM _now))
      AND ((SELECT void_from FROM _voids)[incarnation] = 0 OR epoch < (SELECT void_from FROM _voids)[incarnation])
    ORDER BY tenant DESC, key_text DESC, incarnation DESC, epoch DESC
    LIMIT 1 BY tenant, key_text
)
WHERE diff = 1
COMMENT 'Whose an identifier is: a lookup by any of them. As of the last mark: views read so in one statement are of one instant.';
