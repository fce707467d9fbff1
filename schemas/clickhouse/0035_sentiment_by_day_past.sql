-- `sentiment_by_day` says how a day feels against the days before it, and which texts are its newest.

ALTER TABLE sentiment_by_day_rows ADD COLUMN IF NOT EXISTS `decayed_mean_permille` Int64 COMMENT 'Mean score of this day and the thirty before it, newer texts counting more.' AFTER `mean_permille`;

ALTER TABLE sentiment_by_day_rows ADD COLUMN IF NOT EXISTS `past_negative_permille` Nullable(Int64) COMMENT 'Share of negative ones in the thirty days before; nothing where there were none.' AFTER `negative_permille`;

ALTER TABLE sentiment_by_day_rows ADD COLUMN IF NOT EXISTS `newest` String COMMENT 'Keys of the newest texts in the view sentiment, the newest first; without those of erased customers. JSON.' CODEC(ZSTD(1)) AFTER `past_negative_permille`;

ALTER TABLE sentiment_by_day_rows ADD COLUMN IF NOT EXISTS `newest_at` DateTime64(3, 'UTC') COMMENT 'When the newest was said.' AFTER `newest`;

ALTER TABLE sentiment_by_day_changes ADD COLUMN IF NOT EXISTS `decayed_mean_permille` Int64 COMMENT 'Mean score of this day and the thirty before it, newer texts counting more.' AFTER `mean_permille`;

ALTER TABLE sentiment_by_day_changes ADD COLUMN IF NOT EXISTS `past_negative_permille` Nullable(Int64) COMMENT 'Share of negative ones in the thirty days before; nothing where there were none.' AFTER `negative_permille`;

ALTER TABLE sentiment_by_day_changes ADD COLUMN IF NOT EXISTS `newest` String COMMENT 'Keys of the newest texts in the view sentiment, the newest first; without those of erased customers. JSON.' CODEC(ZSTD(1)) AFTER `past_negative_permille`;

ALTER TABLE sentiment_by_day_changes ADD COLUMN IF NOT EXISTS `newest_at` DateTime64(3, 'UTC') COMMENT 'When the newest was said.' AFTER `newest`;

CREATE OR REPLACE VIEW sentiment_by_day AS
SELECT tenant, `day`, `n_texts`, `n_negative`, `n_neutral`, `n_positive`, `mean_permille`, `decayed_mean_permille`, `negative_permille`, `past_negative_permille`, `newest`, `newest_at`, epoch
FROM sentiment_by_day_rows FINAL
WHERE incarnation >= (SELECT max(incarnation) FROM _incarnations WHERE whole_from > 0)
  AND ((SELECT void_from FROM _voids)[incarnation] = 0 OR epoch < (SELECT void_from FROM _voids)[incarnation])
COMMENT 'How the texts of each day feel.';

CREATE OR REPLACE VIEW sentiment_by_day_at AS
SELECT tenant, `day`, `n_texts`, `n_negative`, `n_neutral`, `n_positive`, `mean_permille`, `decayed_mean_permille`, `negative_permille`, `past_negative_permille`, `newest`, `newest_at`, epoch
FROM (
    SELECT *
    FROM sentiment_by_day_changes
    WHERE epoch <= {epoch:UInt64}
      AND incarnation >= (SELECT max(incarnation) FROM _incarnations WHERE whole_from BETWEEN 1 AND {epoch:UInt64})
      AND ((SELECT void_from FROM _voids)[incarnation] = 0 OR epoch < (SELECT void_from FROM _voids)[incarnation])
    ORDER BY tenant DESC, key_text DESC, incarnation DESC, epoch DESC
    LIMIT 1 BY tenant, key_text
)
WHERE diff = 1
COMMENT 'How the texts of each day feel. As it was at any epoch: sentiment_by_day_at(epoch = 1767225600000).';

CREATE OR REPLACE VIEW sentiment_by_day_now AS
SELECT tenant, `day`, `n_texts`, `n_negative`, `n_neutral`, `n_positive`, `mean_permille`, `decayed_mean_permille`, `negative_permille`, `past_negative_permille`, `newest`, `newest_at`, epoch
FROM (
    SELECT *
    FROM sentiment_by_day_changes
    WHERE epoch <= (SELECT epoch FROM _now)
      AND incarnation >= (SELECT max(incarnation) FROM _incarnations WHERE whole_from BETWEEN 1 AND (SELECT epoch FROM _now))
      AND ((SELECT void_from FROM _voids)[incarnation] = 0 OR epoch < (SELECT void_from FROM _voids)[incarnation])
    ORDER BY tenant DESC, key_text DESC, incarnation DESC, epoch DESC
    LIMIT 1 BY tenant, key_text
)
WHERE diff = 1
COMMENT 'How the texts of each day feel. As of the last mark: views read so in one statement are of one instant.';
