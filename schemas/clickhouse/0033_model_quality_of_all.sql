-- `model_quality` has a row for each model of whatever kind: what does not apply to one is null.

ALTER TABLE model_quality_rows ADD COLUMN IF NOT EXISTS `of` Enum8('texts' = 1, 'events' = 2, 'measured' = 3, 'paid' = 4, 'in_production' = 5, 'quality_checked' = 6, 'shipped' = 7, 'out_for_delivery' = 8) COMMENT 'What it speaks of: texts; loads, events or measured ones; when orders arrive, as said at a stage of their way.' AFTER `model`;

ALTER TABLE model_quality_rows ADD COLUMN IF NOT EXISTS `series` LowCardinality(String) COMMENT 'Which series of loads, as in load_forecast; all, of anything else.' AFTER `of`;

ALTER TABLE model_quality_rows ADD COLUMN IF NOT EXISTS `bucket_minutes` Int64 COMMENT 'How long a bucket of loads is; 0, of anything else.' AFTER `series`;

ALTER TABLE model_quality_rows MODIFY COLUMN `n_judged` Int64 COMMENT 'What it is judged by: texts that came with a rating; buckets of the last days; orders that arrived.';

ALTER TABLE model_quality_rows MODIFY COLUMN `accuracy_permille` Nullable(Int64) COMMENT 'Share of right labels.';

ALTER TABLE model_quality_rows MODIFY COLUMN `macro_f1_permille` Nullable(Int64) COMMENT 'Mean over the labels of 2 tp / (2 tp + fp + fn).';

ALTER TABLE model_quality_rows MODIFY COLUMN `calibration_error_permille` Nullable(Int64) COMMENT 'Mean distance between confidence and share of right ones, in ten bands.';

ALTER TABLE model_quality_rows ADD COLUMN IF NOT EXISTS `wape_permille` Nullable(Int64) COMMENT 'Of loads: sum of errors over sum of values.' AFTER `calibration_error_permille`;

ALTER TABLE model_quality_rows ADD COLUMN IF NOT EXISTS `mase_permille` Nullable(Int64) COMMENT 'Of loads: errors over those of saying that it will be as the day before.' AFTER `wape_permille`;

ALTER TABLE model_quality_rows ADD COLUMN IF NOT EXISTS `covered_permille` Nullable(Int64) COMMENT 'Of loads: share between p10 and p90; 800 is meant.' AFTER `mase_permille`;

ALTER TABLE model_quality_rows ADD COLUMN IF NOT EXISTS `mean_error_hours` Nullable(Int64) COMMENT 'Of orders: mean distance between eta_p50 and when they arrived.' AFTER `covered_permille`;

ALTER TABLE model_quality_rows ADD COLUMN IF NOT EXISTS `by_p90_permille` Nullable(Int64) COMMENT 'Of orders: share that arrived by eta_p90; 900 is meant.' AFTER `mean_error_hours`;

ALTER TABLE model_quality_rows ADD COLUMN IF NOT EXISTS `judged_until` Nullable(DateTime64(3, 'UTC')) COMMENT 'Of loads: the end of the newest bucket that is looked at.' AFTER `by_p90_permille`;

ALTER TABLE model_quality_rows MODIFY COMMENT 'How right each model was, against what then happened. The newest row of each key; read it through the view of the plain name.';

ALTER TABLE model_quality_changes ADD COLUMN IF NOT EXISTS `of` Enum8('texts' = 1, 'events' = 2, 'measured' = 3, 'paid' = 4, 'in_production' = 5, 'quality_checked' = 6, 'shipped' = 7, 'out_for_delivery' = 8) COMMENT 'What it speaks of: texts; loads, events or measured ones; when orders arrive, as said at a stage of their way.' AFTER `model`;

ALTER TABLE model_quality_changes ADD COLUMN IF NOT EXISTS `series` LowCardinality(String) COMMENT 'Which series of loads, as in load_forecast; all, of anything else.' AFTER `of`;

ALTER TABLE model_quality_changes ADD COLUMN IF NOT EXISTS `bucket_minutes` Int64 COMMENT 'How long a bucket of loads is; 0, of anything else.' AFTER `series`;

ALTER TABLE model_quality_changes MODIFY COLUMN `n_judged` Int64 COMMENT 'What it is judged by: texts that came with a rating; buckets of the last days; orders that arrived.';

ALTER TABLE model_quality_changes MODIFY COLUMN `accuracy_permille` Nullable(Int64) COMMENT 'Share of right labels.';

ALTER TABLE model_quality_changes MODIFY COLUMN `macro_f1_permille` Nullable(Int64) COMMENT 'Mean over the labels of 2 tp / (2 tp + fp + fn).';

ALTER TABLE model_quality_changes MODIFY COLUMN `calibration_error_permille` Nullable(Int64) COMMENT 'Mean distance between confidence and share of right ones, in ten bands.';

ALTER TABLE model_quality_changes ADD COLUMN IF NOT EXISTS `wape_permille` Nullable(Int64) COMMENT 'Of loads: sum of errors over sum of values.' AFTER `calibration_error_permille`;

ALTER TABLE model_quality_changes ADD COLUMN IF NOT EXISTS `mase_permille` Nullable(Int64) COMMENT 'Of loads: errors over those of saying that it will be as the day before.' AFTER `wape_permille`;

ALTER TABLE model_quality_changes ADD COLUMN IF NOT EXISTS `covered_permille` Nullable(Int64) COMMENT 'Of loads: share between p10 and p90; 800 is meant.' AFTER `mase_permille`;

ALTER TABLE model_quality_changes ADD COLUMN IF NOT EXISTS `mean_error_hours` Nullable(Int64) COMMENT 'Of orders: mean distance between eta_p50 and when they arrived.' AFTER `covered_permille`;

ALTER TABLE model_quality_changes ADD COLUMN IF NOT EXISTS `by_p90_permille` Nullable(Int64) COMMENT 'Of orders: share that arrived by eta_p90; 900 is meant.' AFTER `mean_error_hours`;

ALTER TABLE model_quality_changes ADD COLUMN IF NOT EXISTS `judged_until` Nullable(DateTime64(3, 'UTC')) COMMENT 'Of loads: the end of the newest bucket that is looked at.' AFTER `by_p90_permille`;

ALTER TABLE model_quality_changes MODIFY COMMENT 'How right each model was, against what then happened. Every row that ever was, with the epoch from which on it was so.';

CREATE OR REPLACE VIEW model_quality AS
SELECT tenant, `model`, `of`, `series`, `bucket_minutes`, `n_judged`, `accuracy_permille`, `macro_f1_permille`, `calibration_error_permille`, `wape_permille`, `mase_permille`, `covered_permille`, `mean_error_hours`, `by_p90_permille`, `judged_until`, epoch
FROM model_quality_rows FINAL
WHERE incarnation >= (SELECT max(incarnation) FROM _incarnations WHERE whole_from > 0)
  AND ((SELECT void_from FROM _voids)[incarnation] = 0 OR epoch < (SELECT void_from FROM _voids)[incarnation])
COMMENT 'How right each model was, against what then happened.';

CREATE OR REPLACE VIEW model_quality_at AS
SELECT tenant, `model`, `of`, `series`, `bucket_minutes`, `n_judged`, `accuracy_permille`, `macro_f1_permille`, `calibration_error_permille`, `wape_permille`, `mase_permille`, `covered_permille`, `mean_error_hours`, `by_p90_permille`, `judged_until`, epoch
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
SELECT tenant, `model`, `of`, `series`, `bucket_minutes`, `n_judged`, `accuracy_permille`, `macro_f1_permille`, `calibration_error_permille`, `wape_permille`, `mase_permille`, `covered_permille`, `mean_error_hours`, `by_p90_permille`, `judged_until`, epoch
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
