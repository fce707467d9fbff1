//! The strict JSON scanner that everything decodes through.
