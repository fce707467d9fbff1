-- `order_visibility` says what its estimate leans on; its lines say what comes next and by when, and
-- when they arrive.

ALTER TABLE order_visibility_rows ADD COLUMN IF NOT EXISTS `eta_reasons` String COMMENT 'What that leans on, the orders most like it first, at most three: words, and orders (how many of them arrived, older ones counting less). JSON.' CODEC(ZSTD(1)) AFTER `eta_model`;

ALTER TABLE order_visibility_rows MODIFY COLUMN `lines` String COMMENT 'Each line: line, sku, quantity, the status in which it stands and since when, what comes next (next) and by when (next_by); eta_p50 and eta_p90, where that is known and said of the order; ship_from, ship_to, carrier, seller where stated. JSON.' CODEC(ZSTD(1));

ALTER TABLE order_visibility_changes ADD COLUMN IF NOT EXISTS `eta_reasons` String COMMENT 'What that leans on, the orders most like it first, at most three: words, and orders (how many of them arrived, older ones counting less). JSON.' CODEC(ZSTD(1)) AFTER `eta_model`;

ALTER TABLE order_visibility_changes MODIFY COLUMN `lines` String COMMENT 'Each line: line, sku, quantity, the status in which it stands and since when, what comes next (next) and by when (next_by); eta_p50 and eta_p90, where that is known and said of the order; ship_from, ship_to, carrier, seller where stated. JSON.' CODEC(ZSTD(1));

CREATE OR REPLACE VIEW order_visibility AS
SELECT tenant, `order`, `status`, `customer`, `message`, `since`, `next`, `next_by`, `stuck`, `promised_at`, `late`, `delivered_at`, `eta_p50`, `eta_p90`, `late_risk_percent`, `eta_model`, `eta_reasons`, `lines`, `timeline`, epoch
FROM order_visibility_rows FINAL
WHERE incarnation >= (SELECT max(incarnation) FROM _incarnations WHERE whole_from > 0)
  AND ((SELECT void_from FROM _voids)[incarnation] = 0 OR epoch < (SELECT void_from FROM _voids)[incarnation])
COMMENT 'Where each order is, in words that a customer understands, and what comes next.';

CREATE OR REPLACE VIEW order_visibility_at AS
SELECT tenant, `order`, `status`, `customer`, `message`, `since`, `next`, `next_by`, `stuck`, `promised_at`, `late`, `delivered_at`, `eta_p50`, `eta_p90`, `late_risk_percent`, `eta_model`, `eta_reasons`, `lines`, `timeline`, epoch
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
SELECT tenant, `order`, `status`, `customer`, `message`, `since`, `next`, `next_by`, `stuck`, `promised_at`, `late`, `delivered_at`, `eta_p50`, `eta_p90`, `late_risk_percent`, `eta_model`, `eta_reasons`, `lines`, `timeline`, epoch
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
