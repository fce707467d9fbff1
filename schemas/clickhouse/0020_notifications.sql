-- The view `notifications`. Generated from the catalogue (schemas/clickhouse.rs); not to be edited:
-- once released, a change of the catalogue is a migration of its own.

CREATE TABLE IF NOT EXISTS notifications_rows (
    `tenant` LowCardinality(String) COMMENT 'Whose it is.',
    `key_text` String COMMENT 'The row\'s key, as in /v1/views: its parts, joined by /.',
    `message` String COMMENT 'The intent; a webhook\'s id.',
    `state` Enum8('planned' = 1, 'delivered' = 2, 'refused' = 3, 'expired' = 4, 'suppressed' = 5) COMMENT 'planned, delivered, refused, expired or suppressed.',
    `rule` LowCardinality(String) COMMENT 'The rule that speaks.',
    `version` String COMMENT 'Which wording of the rule.',
    `view` LowCardinality(String) COMMENT 'The view whose row changed.',
    `about` String COMMENT 'Of which row: the text of its key.',
    `episode` String COMMENT 'Which episode of that row.',
    `channel` LowCardinality(String) COMMENT 'Who is told.',
    `severity` LowCardinality(String) COMMENT 'info, warning or critical.',
    `text` String COMMENT 'What is said.',
    `reason` Nullable(String) COMMENT 'Why it is said.',
    `corrects` Nullable(String) COMMENT 'The intent that this one corrects.',
    `customer` Nullable(String) COMMENT 'Whose data it is.',
    `planned_at` DateTime64(3, 'UTC') COMMENT 'When it was decided.',
    `due_at` Nullable(DateTime64(3, 'UTC')) COMMENT 'Not sent before.',
    `expires_at` Nullable(DateTime64(3, 'UTC')) COMMENT 'Not sent from then on.',
    `answered_at` Nullable(DateTime64(3, 'UTC')) COMMENT 'When the newest answer was given.',
    `answer` Nullable(String) COMMENT 'Why it ended so.',
    `attempts` Nullable(Int64) COMMENT 'Attempts up to the newest answer.',
    `acknowledged_at` Nullable(DateTime64(3, 'UTC')) COMMENT 'When somebody first said to see to it.',
    `acknowledged_by` Nullable(String) COMMENT 'Who that was, if they said so.',
    `acknowledged` Bool COMMENT 'Whether somebody said so.',
    `snoozed_until` Nullable(DateTime64(3, 'UTC')) COMMENT 'Not shown before, where someone said so.',
    `snoozed` Bool COMMENT 'Whether that instant is still to come.',
    `epoch` UInt64 COMMENT 'When the row last changed: milliseconds since 1970, the epoch of answers.' CODEC(Delta, LZ4),
    `incarnation` UInt64 COMMENT 'Which life of the state said it; a later one wins.' CODEC(T64, LZ4),
    `is_deleted` UInt8 COMMENT '1: there is no such row any more.',
    row_id UInt128 MATERIALIZED reinterpretAsUInt128(sipHash128(tenant, key_text)) COMMENT 'One per key.',
    row_version UInt128 MATERIALIZED bitShiftLeft(toUInt128(incarnation), 64) + epoch COMMENT 'The greatest of a key stands.'
) ENGINE = ReplacingMergeTree(row_version, is_deleted)
ORDER BY (tenant, key_text, row_id)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'What rules decided to say, and what became of it. The newest row of each key; read it through the view of the plain name.';

CREATE TABLE IF NOT EXISTS notifications_changes (
    `tenant` LowCardinality(String) COMMENT 'Whose it is.',
    `key_text` String COMMENT 'The row\'s key, as in /v1/views: its parts, joined by /.',
    `message` String COMMENT 'The intent; a webhook\'s id.',
    `state` Enum8('planned' = 1, 'delivered' = 2, 'refused' = 3, 'expired' = 4, 'suppressed' = 5) COMMENT 'planned, delivered, refused, expired or suppressed.',
    `rule` LowCardinality(String) COMMENT 'The rule that speaks.',
    `version` String COMMENT 'Which wording of the rule.',
    `view` LowCardinality(String) COMMENT 'The view whose row changed.',
    `about` String COMMENT 'Of which row: the text of its key.',
    `episode` String COMMENT 'Which episode of that row.',
    `channel` LowCardinality(String) COMMENT 'Who is told.',
    `severity` LowCardinality(String) COMMENT 'info, warning or critical.',
    `text` String COMMENT 'What is said.',
    `reason` Nullable(String) COMMENT 'Why it is said.',
    `corrects` Nullable(String) COMMENT 'The intent that this one corrects.',
    `customer` Nullable(String) COMMENT 'Whose data it is.',
    `planned_at` DateTime64(3, 'UTC') COMMENT 'When it was decided.',
    `due_at` Nullable(DateTime64(3, 'UTC')) COMMENT 'Not sent before.',
    `expires_at` Nullable(DateTime64(3, 'UTC')) COMMENT 'Not sent from then on.',
    `answered_at` Nullable(DateTime64(3, 'UTC')) COMMENT 'When the newest answer was given.',
    `answer` Nullable(String) COMMENT 'Why it ended so.',
    `attempts` Nullable(Int64) COMMENT 'Attempts up to the newest answer.',
    `acknowledged_at` Nullable(DateTime64(3, 'UTC')) COMMENT 'When somebody first said to see to it.',
    `acknowledged_by` Nullable(String) COMMENT 'Who that was, if they said so.',
    `acknowledged` Bool COMMENT 'Whether somebody said so.',
    `snoozed_until` Nullable(DateTime64(3, 'UTC')) COMMENT 'Not shown before, where someone said so.',
    `snoozed` Bool COMMENT 'Whether that instant is still to come.',
    `epoch` UInt64 COMMENT 'From when on it is so: milliseconds since 1970, the epoch of answers.' CODEC(Delta, LZ4),
    `incarnation` UInt64 COMMENT 'Which life of the state said it; a later one wins.' CODEC(T64, LZ4),
    `diff` Int8 COMMENT '1: the row is so from epoch on; -1: there is none from epoch on.',
    row_id UInt128 MATERIALIZED reinterpretAsUInt128(sipHash128(tenant, key_text, epoch, incarnation)) COMMENT 'One per key and epoch.'
) ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(fromUnixTimestamp64Milli(epoch, 'UTC'))
ORDER BY (tenant, key_text, incarnation, epoch, row_id)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'What rules decided to say, and what became of it. Every row that ever was, with the epoch from which on it was so.';

CREATE OR REPLACE VIEW notifications AS
SELECT tenant, `message`, `state`, `rule`, `version`, `view`, `about`, `episode`, `channel`, `severity`, `text`, `reason`, `corrects`, `customer`, `planned_at`, `due_at`, `expires_at`, `answered_at`, `answer`, `attempts`, `acknowledged_at`, `acknowledged_by`, `acknowledged`, `snoozed_until`, `snoozed`, epoch
FROM notifications_rows FINAL
WHERE incarnation >= (SELECT max(incarnation) FROM _incarnations WHERE whole_from > 0)
  AND ((SELECT void_from FROM _voids)[incarnation] = 0 OR epoch < (SELECT void_from FROM _voids)[incarnation])
COMMENT 'What rules decided to say, and what became of it.';

CREATE OR REPLACE VIEW notifications_at AS
SELECT tenant, `message`, `state`, `rule`, `version`, `view`, `about`, `episode`, `channel`, `severity`, `text`, `reason`, `corrects`, `customer`, `planned_at`, `due_at`, `expires_at`, `answered_at`, `answer`, `attempts`, `acknowledged_at`, `acknowledged_by`, `acknowledged`, `snoozed_until`, `snoozed`, epoch
FROM (
    SELECT *
    FROM notifications_changes
    WHERE epoch <= {epoch:UInt64}
      AND incarnation >= (SELECT max(incarnation) FROM _incarnations WHERE whole_from BETWEEN 1 AND {epoch:UInt64})
      AND ((SELECT void_from FROM _voids)[incarnation] = 0 OR epoch < (SELECT void_from FROM _voids)[incarnation])
    ORDER BY tenant DESC, key_text DESC, incarnation DESC, epoch DESC
    LIMIT 1 BY tenant, key_text
)
WHERE diff = 1
COMMENT 'What rules decided to say, and what became of it. As it was at any epoch: notifications_at(epoch = 1767225600000).';

CREATE OR REPLACE VIEW notifications_now AS
SELECT tenant, `message`, `state`, `rule`, `version`, `view`, `about`, `episode`, `channel`, `severity`, `text`, `reason`, `corrects`, `customer`, `planned_at`, `due_at`, `expires_at`, `answered_at`, `answer`, `attempts`, `acknowledged_at`, `acknowledged_by`, `acknowledged`, `snoozed_until`, `snoozed`, epoch
FROM (
    SELECT *
    FROM notifications_changes
    WHERE epoch <= (SELECT epoch FROM _now)
      AND incarnation >= (SELECT max(incarnation) FROM _incarnations WHERE whole_from BETWEEN 1 AND (SELECT epoch FROM _now))
      AND ((SELECT void_from FROM _voids)[incarnation] = 0 OR epoch < (SELECT void_from FROM _voids)[incarnation])
    ORDER BY tenant DESC, key_text DESC, incarnation DESC, epoch DESC
    LIMIT 1 BY tenant, key_text
)
WHERE diff = 1
COMMENT 'What rules decided to say, and what became of it. As of the last mark: views read so in one statement are of one instant.';
