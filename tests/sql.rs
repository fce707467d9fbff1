//! Goal: live SQL says what the views say, of one tenant, at one instant, and does nothing but
//! read. Method: a running engine over generated events, asked over HTTP; each answer beside a
//! computation of its own.

#![allow(missing_docs, clippy::disallowed_methods)]

#[path = "sql/answers.rs"]
mod answers;
#[path = "sql/asking.rs"]
mod asking;
#[path = "sql/attempts.rs"]
mod attempts;
#[path = "sql/documents.rs"]
mod documents;
#[path = "../benches/common/mod.rs"]
mod http;
#[path = "sql/questions.rs"]
mod questions;
#[path = "sql/rows.rs"]
mod rows;
#[path = "support/temp_dir.rs"]
mod temp_dir;
