//! What is learnt from events, and what is said with it: pure functions, like everything here.
//!
//! ```text
//!  texts with ratings ─▶ counts (integer sums) ─▶ sentiment::Model ─▶ body (bytes, by digest)
//!  a text ─▶ grams ─┬─▶ the model's table ─┐
//!                   └─▶ lexicon (English) ─┴─▶ layer ─▶ Opinion
//! ```
//!
//! # Invariants
//! A model is integer sums over events (+1 in, -1 out) and a small layer that is fitted anew as a
//! pure function of those sums and of a sample chosen by hash: the order of events does not matter,
//! and merging the sums of parts in any order gives the same model, bit for bit
//! (test: `sentiment::tests`). Nothing here reads a clock or a file.

pub mod grams; // a text as a set of hashed words, pairs of words and pieces
pub mod counts; // how often each was seen in texts of each class
pub mod layer; // the small logistic layer
pub mod lexicon; // English words and rules, needing no training
pub mod opinion; // what is said of a text
pub mod sentiment; // counts and lexicon under the layer
pub mod measure; // how good opinions are
pub mod published; // which model speaks of which text
mod body; // a model as bytes and back
pub mod lanes; // how long orders took, by the lane they went
pub mod silences; // how long nothing is usually said of an order where it stands
pub mod eta; // when an order arrives
mod fitted; // what was sealed of that, as bytes and back
pub mod journeys; // what a row of `orders` says of an order's way
pub mod arrivals; // which sealed model speaks of which order
pub mod load; // what load comes
pub mod repeat; // who buys again
