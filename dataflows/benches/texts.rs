//! How many distinct texts a second does one core score: by the lexicon, and by a model with words,
//! pieces and the lexicon, which is the one whose quality `scripts/eval` measures?
//!
//! Unit: texts/s, the median of five passes over 20,000 texts that differ, 20 words each on the
//! mean, by a model learnt from 20,000 others; reasons included.

#![allow(clippy::disallowed_methods)]

use std::hint::black_box;
use std::time::Instant;

use dataflows::models::lexicon::Lexicon;
use dataflows::models::opinion::{Label, Scorer};
use dataflows::models::sentiment::{English, Trainer};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const TEXTS: usize = 20_000;
const PASSES: usize = 5;

/// A stream of numbers from a seed: xorshift.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }
}

const PLAIN: &[&str] = &[
    "the", "and", "to", "my", "flight", "parcel", "order", "with", "was", "for", "you", "have",
    "on", "this", "customer", "service", "hour", "bag", "from", "by", "phone", "they", "website",
];
const SAID: [&[&str]; 3] = [
    &["late", "broken", "rude", "terrible", "never", "not", "worst", "cancelled", "lost"],
    &["when", "does", "change", "gate", "question", "how", "seat", "number"],
    &["great", "thanks", "love", "amazing", "good", "best", "friendly", "quick"],
];

/// About as long as an e-mail's first lines: common words, made-up ones, and some that tell.
fn text(numbers: &mut Numbers, label: usize) -> String {
    let mut text = String::from("@shop");
    for _ in 0..10 + numbers.below(18) {
        text.push(' ');
        match numbers.below(8) {
            0 => text.push_str(SAID[label][numbers.below(SAID[label].len())]),
            1 | 2 => {
                // A tail of rare words, as every language has.
                let rank = 1 + numbers.below(300) * numbers.below(300);
                for at in 0..2 + rank % 4 {
                    text.push_str(["ka", "lo", "ren", "ti", "mus", "der", "sa"][(rank >> at) % 7]);
                }
            }
            _ => text.push_str(PLAIN[numbers.below(PLAIN.len())]),
        }
    }
    text.push_str(["", ".", "!", "?!", " :("][numbers.below(5)]);
    text
}

fn main() {
    let mut numbers = Numbers(0x5eed);
    let mut trainer = Trainer::default();
    for _ in 0..TEXTS {
        let label = numbers.below(3);
        trainer.add(&text(&mut numbers, label), Label::ALL[label]);
    }
    let texts: Vec<String> = (0..TEXTS).map(|at| text(&mut numbers, at % 3)).collect();
    let began = Instant::now();
    let (model, quality) = trainer.fit(English::Yes).expect("enough texts");
    println!("fit: {:.2} s for {TEXTS} texts, twice; {quality:?}", began.elapsed().as_secs_f64());
    measure("lexicon", &mut Lexicon::default(), &texts);
    measure("words, pieces and lexicon", &mut { model }, &texts);
}

fn measure(name: &str, scorer: &mut dyn Scorer, texts: &[String]) {
    let mut rates: Vec<f64> = (0..PASSES)
        .map(|_| {
            let began = Instant::now();
            for it in texts {
                black_box(scorer.opinion(black_box(it)));
            }
            texts.len() as f64 / began.elapsed().as_secs_f64()
        })
        .collect();
    rates.sort_by(f64::total_cmp);
    println!("{name}: {:.0} texts/s", rates[PASSES / 2]);
}
