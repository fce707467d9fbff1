-- `load_forecast` says in words what its forecast leans on.

ALTER TABLE load_forecast_rows ADD COLUMN IF NOT EXISTS `reasons` String COMMENT 'What that leans on, what counts most first, at most three: words, and percent (what it counts, for it was nearest on the last days). JSON.' CODEC(ZSTD(1)) AFTER `ways`;

ALTER TABLE load_forecast_changes ADD COLUMN IF NOT EXISTS `reasons` String COMMENT 'What that leans on, what counts most first, at most three: words, and percent (what it counts, for it was nearest on the last days). JSON.' CODEC(ZSTD(1)) AFTER `ways`;

CREATE OR REPLACE VIEW load_forecast AS
SELECT tenant, `of`, `series`, `bucket_minutes`, `model`, `made_at`, `next_p10`, `next_p50`, `next_p90`, `peak_at`, `peak_p50`, `peak_p90`, `forecast`, `ways`, `reasons`, `n_judged`, `wape_permille`, `mase_permille`, `covered_permille`, epoch
FROM load_forecast_rows FINAL
WHERE incarnation >= (SELECT max(incarnation) FROM _incarnations WHERE whole_from > 0)
  AND ((SELECT void_from FROM _voids)[incarnation] = 0 OR epoch < (SELECT void_from FROM _voids)[incarnation])
COMMENT 'What load comes, series by series, and how right such forecasts were.';

CREATE OR REPLACE VIEW load_forecast_at AS
SELECT tenant, `of`, `series`, `bucket_minutes`, `model`, `made_at`, `next_p10`, `next_p50`, `next_p90`, `peak_at`, `peak_p50`, `peak_p90`, `forecast`, `ways`, `reasons`, `n_judged`, `wape_permille`, `mase_permille`, `covered_permille`, epoch
FROM (
    SELECT *
    FROM load_forecast_changes
    WHERE epoch <= {epoch:UInt64}
      AND incarnation >= (SELECT max(incarnation) FROM _incarnations WHERE whole_from BETWEEN 1 AND {epoch:UInt64})
      AND ((SELECT void_from FROM _voids)[incarnation] = 0 OR epoch < (SELECT void_from FROM _voids)[incarnation])
    ORDER BY tenant DESC, key_text DESC, incarnation DESC, epoch DESC
    LIMIT 1 BY tenant, key_text
)
WHERE diff = 1
COMMENT 'What load comes, series by series, and how right such forecasts were. As it was at any epoch: load_forecast_at(epoch = 1767225600000).';

CREATE OR REPLACE VIEW load_forecast_now AS
SELECT tenant, `of`, `series`, `bucket_minutes`, `model`, `made_at`, `next_p10`, `next_p50`, `next_p90`, `peak_at`, `peak_p50`, `peak_p90`, `forecast`, `ways`, `reasons`, `n_judged`, `wape_permille`, `mase_permille`, `covered_permille`, epoch
FROM (
    SELECT *
    FROM load_forecast_changes
    WHERE epoch <= (SELECT epoch FROM _now)
      AND incarnation >= (SELECT max(incarnation) FROM _incarnations WHERE whole_from BETWEEN 1 AND (SELECT epoch FROM _now))
      AND ((SELECT void_from FROM _voids)[incarnation] = 0 OR epoch < (SELECT void_from FROM _voids)[incarnation])
    ORDER BY tenant DESC, key_text DESC, incarnation DESC, epoch DESC
    LIMIT 1 BY tenant, key_text
)
WHERE diff = 1
COMMENT 'What load comes, series by series, and how right such forecasts were. As of the last mark: views read so in one statement are of one instant.';
