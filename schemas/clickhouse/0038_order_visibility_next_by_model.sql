-- `order_visibility` and `order_exceptions` name the model that says what is usual.

ALTER TABLE order_visibility_rows ADD COLUMN IF NOT EXISTS `next_by_model` LowCardinality(Nullable(String)) COMMENT 'Which model says so, with its version; null where a fixed time holds, or nothing comes next.' AFTER `next_by`;

ALTER TABLE order_visibility_changes ADD COLUMN IF NOT EXISTS `next_by_model` LowCardinality(Nullable(String)) COMMENT 'Which model says so, with its version; null where a fixed time holds, or nothing comes next.' AFTER `next_by`;

CREATE OR REPLACE VIEW order_visibility AS
SELECT tenant, `order`, `status`, `customer`, `message`, `since`, `next`, `next_by`, `next_by_model`, `stuck`, `promised_at`, `late`, `delivered_at`, `eta_p50`, `eta_p90`, `late_risk_percent`, `eta_model`, `eta_reasons`, `lines`, `timeline`, epoch
FROM order_visibility_rows FINAL
WHERE incarnation >= (SELECT max(incarnation) FROM _incarnations WHERE whole_from > 0)
  AND ((SELECT void_from FROM _voids)[incarnation] = 0 OR epoch < (SELECT void_from FROM _voids)[incarnation])
COMMENT 'Where each order is, in words that a customer understands, and what comes next.';

CREATE OR REPLACE VIEW order_visibility_at AS
SELECT tenant, `order`, `status`, `customer`, `message`, `since`, `next`, `next_by`, `next_by_model`, `stuck`, `promised_at`, `late`, `delivered_at`, `eta_p50`, `eta_p90`, `late_risk_percent`, `eta_model`, `eta_reasons`, `lines`, `timeline`, epoch
FROM (
    SELECT *
    FROM order_visibility_changes
    WHERE epoch <= {epoch:UInt64}
      AND incarnation >= (SELECT max(incarnation) FROM _incarnations WHERE whole_from BETWEEN 1 AND {epoch:UInt64})
      AND ((SELECT void_from FROM _voids)[incarnation] = 0 OR epoch < (SELECT void_from FROM _voids)[incarnation])
    ORDER BY tenant DESC, key_text DESC, incarnation DESC, epoch DESC
    LIMIT 1 BY tenant, key_text
)
WHERE diff = 1
COMMENT 'Where each order is, in words that a customer understands, and what comes next. As it was at any epoch: order_visibility_at(epoch = 1767225600000).';

CREATE OR REPLACE VIEW order_visibility_now AS
SELECT tenant, `order`, `status`, `customer`, `message`, `since`, `next`, `next_by`, `next_by_model`, `stuck`, `promised_at`, `late`, `delivered_at`, `eta_p50`, `eta_p90`, `late_risk_percent`, `eta_model`, `eta_reasons`, `lines`, `timeline`, epoch
FROM (
    SELECT *
    FROM order_visibility_changes
    WHERE epoch <= (SELECT epoch FROM _now)
      AND incarnation >= (SELECT max(incarnation) FROM _incarnations WHERE whole_from BETWEEN 1 AND (SELECT epoch FROM _now))
      AND ((SELECT void_from FROM _voids)[incarnation] = 0 OR epoch < (SELECT void_from FROM _voids)[incarnation])
    ORDER BY tenant DESC, key_text DESC, incarnation DESC, epoch DESC
    LIMIT 1 BY tenant, key_text
)
WHERE diff = 1
COMMENT 'Where each order is, in words that a customer understands, and what comes next. As of the last mark: views read so in one statement are of one instant.';

ALTER TABLE order_exceptions_rows ADD COLUMN IF NOT EXISTS `model` LowCardinality(Nullable(String)) COMMENT 'Of stuck and not_in_production: which model says what is usual, with its version; null where a fixed time holds, and of facts.' AFTER `status`;

ALTER TABLE order_exceptions_changes ADD COLUMN IF NOT EXISTS `model` LowCardinality(Nullable(String)) COMMENT 'Of stuck and not_in_production: which model says what is usual, with its version; null where a fixed time holds, and of facts.' AFTER `status`;

CREATE OR REPLACE VIEW order_exceptions AS
SELECT tenant, `order`, `exception`, `customer`, `severity`, `since`, `status`, `model`, epoch
FROM order_exceptions_rows FINAL
WHERE incarnation >= (SELECT max(incarnation) FROM _incarnations WHERE whole_from > 0)
  AND ((SELECT void_from FROM _voids)[incarnation] = 0 OR epoch < (SELECT void_from FROM _voids)[incarnation])
COMMENT 'What is wrong with orders now: late, stuck, contradictory, split, returned.';

CREATE OR REPLACE VIEW order_exceptions_at AS
SELECT tenant, `order`, `exception`, `customer`, `severity`, `since`, `status`, `model`, epoch
FROM (
    SELECT *
    FROM order_exceptions_changes
    WHERE epoch <= {epoch:UInt64}
      AND incarnation >= (SELECT max(incarnation) FROM _incarnations WHERE whole_from BETWEEN 1 AND {epoch:UInt64})
      AND ((SELECT void_from FROM _voids)[incarnation] = 0 OR epoch < (SELECT void_from FROM _voids)[incarnation])
    ORDER BY tenant DESC, key_text DESC, incarnation DESC, epoch DESC
    LIMIT 1 BY tenant, key_text
)
WHERE diff = 1
COMMENT 'What is wrong with orders now: late, stuck, contradictory, split, returned. As it was at any epoch: order_exceptions_at(epoch = 1767225600000).';

CREATE OR REPLACE VIEW order_exceptions_now AS
SELECT tenant, `order`, `exception`, `customer`, `severity`, `since`, `status`, `model`, epoch
FROM (
    SELECT *
    FROM order_exceptions_changes
    WHERE epoch <= (SELECT epoch FROM _now)
      AND incarnation >= (SELECT max(incarnation) FROM _incarnations WHERE whole_from BETWEEN 1 AND (SELECT epoch FROM _now))
      AND ((SELECT void_from FROM _voids)[incarnation] = 0 OR epoch < (SELECT void_from FROM _voids)[incarnation])
    ORDER BY tenant DESC, key_text DESC, incarnation DESC, epoch DESC
    LIMIT 1 BY tenant, key_text
)
WHERE diff = 1
COMMENT 'What is wrong with orders now: late, stuck, contradictory, split, returned. As of the last mark: views read so in one statement are of one instant.';
