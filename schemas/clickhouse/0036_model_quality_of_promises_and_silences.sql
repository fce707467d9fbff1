-- `model_quality` says what the risk of being late that orders were told was worth, and how often nothing
-- was said of them for no longer than was said to be usual.

ALTER TABLE model_quality_rows MODIFY COLUMN `of` Enum8('texts' = 1, 'events' = 2, 'measured' = 3, 'paid' = 4, 'in_production' = 5, 'quality_checked' = 6, 'shipped' = 7, 'out_for_delivery' = 8, 'silences' = 9) COMMENT 'What it speaks of: texts; loads, events or measured ones; when orders arrive, as said at a stage of their way; silences, of orders that stood somewhere.';

ALTER TABLE model_quality_rows MODIFY COLUMN `series` LowCardinality(String) COMMENT 'Which series of loads, as in load_forecast; of silences, where the orders stood; all, of anything else.';

ALTER TABLE model_quality_rows MODIFY COLUMN `n_judged` Int64 COMMENT 'What it is judged by: texts that came with a rating; buckets of the last days; orders that arrived; their stays.';

ALTER TABLE model_quality_rows ADD COLUMN IF NOT EXISTS `n_promised` Nullable(Int64) COMMENT 'Of orders: those of n_judged that were promised, and told late_risk_percent.' AFTER `by_p90_permille`;

ALTER TABLE model_quality_rows ADD COLUMN IF NOT EXISTS `risk_told_permille` Nullable(Int64) COMMENT 'Of orders promised: mean of the risk that they were told.' AFTER `n_promised`;

ALTER TABLE model_quality_rows ADD COLUMN IF NOT EXISTS `late_permille` Nullable(Int64) COMMENT 'Of orders promised: share that arrived after their promise.' AFTER `risk_told_permille`;

ALTER TABLE model_quality_rows ADD COLUMN IF NOT EXISTS `brier_permille` Nullable(Int64) COMMENT 'Of orders promised: mean square of risk less what happened, the Brier score; 0 is best, 250 is what always saying even chance comes to.' AFTER `late_permille`;

ALTER TABLE model_quality_rows ADD COLUMN IF NOT EXISTS `late_auc_permille` Nullable(Int64) COMMENT 'Of orders promised: how often of a late and a punctual one the late one was told the greater risk, in bands of five percent; ties count half.' AFTER `brier_permille`;

ALTER TABLE model_quality_rows ADD COLUMN IF NOT EXISTS `by_p95_permille` Nullable(Int64) COMMENT 'Of silences: share of stays without a longer one than was said to be usual; 950 is meant.' AFTER `late_auc_permille`;

ALTER TABLE model_quality_changes MODIFY COLUMN `of` Enum8('texts' = 1, 'events' = 2, 'measured' = 3, 'paid' = 4, 'in_production' = 5, 'quality_checked' = 6, 'shipped' = 7, 'out_for_delivery' = 8, 'silences' = 9) COMMENT 'What it speaks of: texts; loads, events or measured ones; when orders arrive, as said at a stage of their way; silences, of orders that stood somewhere.';

ALTER TABLE model_quality_changes MODIFY COLUMN `series` LowCardinality(String) COMMENT 'Which series of loads, as in load_forecast; of silences, where the orders stood; all, of anything else.';

ALTER TABLE model_quality_changes MODIFY COLUMN `n_judged` Int64 COMMENT 'What it is judged by: texts that came with a rating; buckets of the last days; orders that arrived; their stays.';

ALTER TABLE model_quality_changes ADD COLUMN IF NOT EXISTS `n_promised` Nullable(Int64) COMMENT 'Of orders: those of n_judged that were promised, and told late_risk_percent.' AFTER `by_p90_permille`;

ALTER TABLE model_quality_changes ADD COLUMN IF NOT EXISTS `risk_told_permille` Nullable(Int64) COMMENT 'Of orders promised: mean of the risk that they were told.' AFTER `n_promised`;

ALTER TABLE model_quality_changes ADD COLUMN IF NOT EXISTS `late_permille` Nullable(Int64) COMMENT 'Of orders promised: share that arrived after their promise.' AFTER `risk_told_permille`;

ALTER TABLE model_quality_changes ADD COLUMN IF NOT EXISTS `brier_permille` Nullable(Int64) COMMENT 'Of orders promised: mean square of risk less what happened, the Brier score; 0 is best, 250 is what always saying even chance comes to.' AFTER `late_permille`;

ALTER TABLE model_quality_changes ADD COLUMN IF NOT EXISTS `late_auc_permille` Nullable(Int64) COMMENT 'Of orders promised: how often of a late and a punctual one the late one was told the greater risk, in bands of five percent; ties count half.' AFTER `brier_permille`;

ALTER TABLE model_quality_changes ADD COLUMN IF NOT EXISTS `by_p95_permille` Nullable(Int64) COMMENT 'Of silences: share of stays without a longer one than was said to be usual; 950 is meant.' AFTER `late_auc_permille`;

CREATE OR REPLACE VIEW model_quality AS
SELECT tenant, `model`, `of`, `series`, `bucket_minutes`, `n_judged`, `accuracy_permille`, `macro_f1_permille`, `calibration_error_permille`, `wape_permille`, `mase_permille`, `covered_permille`, `mean_error_hours`, `by_p90_permille`, `n_promised`, `risk_told_permille`, `late_permille`, `brier_permille`, `late_auc_permille`, `by_p95_permille`, `judged_until`, epoch
FROM model_quality_rows FINAL
WHERE incarnation >= (SELECT max(incarnation) FROM _incarnations WHERE whole_from > 0)
  AND ((SELECT void_from FROM _voids)[incarnation] = 0 OR epoch < (SELECT void_from FROM _voids)[incarnation])
COMMENT 'How right each model was, against what then happened.';

CREATE OR REPLACE VIEW model_quality_at AS
SELECT tenant, `model`, `of`, `series`, `bucket_minutes`, `n_judged`, `accuracy_permille`, `macro_f1_permille`, `calibration_error_permille`, `wape_permille`, `mase_permille`, `covered_permille`, `mean_error_hours`, `by_p90_permille`, `n_promised`, `risk_told_permille`, `late_permille`, `brier_permille`, `late_auc_permille`, `by_p95_permille`, `judged_until`, epoch
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
COMMENT 'How right each model was, against what then happened. As it was at any epoch: model_quality_at(epoch = 1767225600000).';

CREATE OR REPLACE VIEW model_quality_now AS
SELECT tenant, `model`, `of`, `series`, `bucket_minutes`, `n_judged`, `accuracy_permille`, `macro_f1_permille`, `calibration_error_permille`, `wape_permille`, `mase_permille`, `covered_permille`, `mean_error_hours`, `by_p90_permille`, `n_promised`, `risk_told_permille`, `late_permille`, `brier_permille`, `late_auc_permille`, `by_p95_permille`, `judged_until`, epoch
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
COMMENT 'How right each model was, against what then happened. As of the last mark: views read so in one statement are of one instant.';
