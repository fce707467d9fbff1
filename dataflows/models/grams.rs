//! A text as a set of features: words, pairs of words and pieces of words, each a 64-bit hash.
//!
//! In: a text in any language. Out: [`Grams`].
//!
//! # Meaning
//! Words are lower-cased; a mention counts as `@u`, a link as `url`, every digit as `0`; runs of
//! `!` and `?`, emoticons and emoji are words. A word within [`NEGATED`] words behind a negation is
//! another word (`not good` is not `good`). Features of a kind are a set, not a bag: saying a thing
//! twice says it once. Pieces are the runs of 3 to 5 characters of a word with its two ends.
//!
//! # Invariants
//! A hash depends on the characters alone, never on process, machine or version: counts by these
//! hashes are kept for years. A change here is a new [`VERSION`].
//!
//! # Why this way
//! Presence rather than frequency, negation by marking and pairs of words: Wang and Manning,
//! *Baselines and Bigrams* (2012); Pang, Lee, Vaithyanathan, *Thumbs up?* (2002). 64 bits are not
//! folded to fewer: sharing 2^18 places cost one point of accuracy.

use std::sync::LazyLock;

use foldhash::fast::FixedState;
use hashbrown::HashSet;

/// Which features a text has; part of every model's body.
pub const VERSION: u8 = 1;
/// So many words behind a negation are under it.
pub const NEGATED: usize = 3;
/// Pieces of a word have at least so many characters.
const PIECE_MIN: usize = 3;
/// And at most so many.
const PIECE_MAX: usize = 5;
/// Characters of a word beyond these make no pieces.
const WORD_MAX: usize = 40;

/// The features of one text. Kept and filled again ([`Grams::read`]), so that a text costs no
/// allocation.
#[derive(Default)]
pub struct Grams {
    /// Hashes of words and pairs of words, ascending, each once.
    pub words: Vec<u64>,
    /// Hashes of pieces of words, ascending, each once.
    pub pieces: Vec<u64>,
    /// The words in their order.
    pub tokens: Vec<Token>,
    /// `!` in the text.
    pub n_exclamations: u32,
    /// `?` in the text.
    pub n_questions: u32,
    /// Words of two letters or more, all of them capitals.
    pub n_shouted: u32,
    folded: Vec<char>,
}

/// A word of a text.
#[derive(Clone, Copy, Debug)]
pub struct Token {
    /// Where it stands in the text, in bytes.
    pub start: u32,
    /// Where it ends.
    pub end: u32,
    /// Hash of the word, not marked.
    pub plain: u64,
    /// Hash of the word as it counts: marked, if it is under a negation.
    pub counted: u64,
    /// Whether it is under a negation.
    pub is_negated: bool,
    /// Whether it is made of letters.
    pub is_word: bool,
    /// Whether it is written in capitals.
    pub is_shouted: bool,
}

/// What a character begins.
#[derive(Clone, Copy, PartialEq)]
enum Class {
    Space,
    Letter,
    Mark,
    Picture,
}

impl Grams {
    /// Takes a text apart.
    pub fn read(&mut self, text: &str) {
        self.scan(text, true);
        let mut before = SEED;
        for token in &self.tokens {
            self.words.push(token.counted);
            self.words.push(finish(step(step(PAIR, before), token.counted)));
            before = token.counted;
        }
        if !self.tokens.is_empty() {
            self.words.push(finish(step(step(PAIR, before), SEED)));
        }
        self.words.sort_unstable();
        self.words.dedup();
        self.pieces.sort_unstable();
        self.pieces.dedup();
    }

    /// Its words in their order and what is counted, for whoever asks for no features: there are
    /// none behind this.
    pub(crate) fn read_tokens(&mut self, text: &str) {
        self.scan(text, false);
    }

    /// `is_cut`: into pieces too.
    fn scan(&mut self, text: &str, is_cut: bool) {
        self.words.clear();
        self.pieces.clear();
        self.tokens.clear();
        (self.n_exclamations, self.n_questions, self.n_shouted) = (0, 0, 0);
        let mut at = 0;
        let mut negated = 0usize;
        while let Some(c) = text[at..].chars().next() {
            let end = match class(c) {
                Class::Space => {
                    at += c.len_utf8();
                    continue;
                }
                Class::Letter => self.word(text, at, is_cut, &mut negated),
                Class::Picture => {
                    self.push(at, at + c.len_utf8(), hash_of(&[c]), (false, false), &mut negated);
                    at + c.len_utf8()
                }
                Class::Mark => self.marks(text, at, &mut negated),
            };
            at = end;
        }
    }

    /// A word, a mention, a tag or a link that begins here; says where it ends.
    fn word(&mut self, text: &str, start: usize, is_cut: bool, negated: &mut usize) -> usize {
        let rest = &text[start..];
        if rest.starts_with("http://") || rest.starts_with("https://") || rest.starts_with("www.") {
            let length = rest.find(char::is_whitespace).unwrap_or(rest.len());
            self.push(start, start + length, LINK, (false, false), negated);
            return start + length;
        }
        self.folded.clear();
        let (mut n_upper, mut n_lower) = (0u32, 0u32);
        let mut end = start;
        let mut chars = rest.char_indices().peekable();
        while let Some((at, c)) = chars.next() {
            let is_inside = match c {
                '\'' | '’' => chars.peek().is_some_and(|it| it.1.is_alphabetic()) && at > 0,
                _ => c.is_alphanumeric() || c == '_',
            };
            if !is_inside {
                break;
            }
            end = start + at + c.len_utf8();
            match c {
                '0'..='9' => self.folded.push('0'),
                'a'..='z' | '_' => {
                    n_lower += 1;
                    self.folded.push(c);
                }
                'A'..='Z' => {
                    n_upper += 1;
                    self.folded.push(c.to_ascii_lowercase());
                }
                '’' => self.folded.push('\''),
                '\'' => self.folded.push(c),
                _ => {
                    n_upper += u32::from(c.is_uppercase());
                    n_lower += u32::from(c.is_lowercase());
                    self.folded.extend(c.to_lowercase());
                }
            }
        }
        let is_shouted = n_upper >= 2 && n_lower == 0;
        self.n_shouted += u32::from(is_shouted);
        let hash = hash_of(&self.folded);
        if is_cut {
            self.cut();
        }
        let negates = negates(&self.folded, hash);
        self.push(start, end, hash, (true, is_shouted), negated);
        if negates {
            *negated = NEGATED;
        }
        end
    }

    /// A run of other characters; says where it ends.
    fn marks(&mut self, text: &str, start: usize, negated: &mut usize) -> usize {
        let rest = &text[start..];
        let mut chars = rest.chars();
        if rest.starts_with('@') && chars.nth(1).is_some_and(|it| it.is_alphanumeric() || it == '_')
        {
            let name = |c: char| !(c.is_alphanumeric() || c == '_');
            let length = rest[1..].find(name).map_or(rest.len(), |it| it + 1);
            self.push(start, start + length, MENTION, (false, false), negated);
            return start + length;
        }
        let length = rest.find(|c| class(c) != Class::Mark).unwrap_or(rest.len());
        let mut hash = SEED;
        let mut before = '\0';
        let mut n_same = 0;
        for c in rest[..length].chars() {
            self.n_exclamations += u32::from(c == '!');
            self.n_questions += u32::from(c == '?');
            n_same = if c == before { n_same + 1 } else { 0 };
            before = c;
            if n_same < 3 {
                hash = step(hash, u64::from(c));
            }
        }
        self.push(start, start + length, finish(hash), (false, false), negated);
        if rest[..length].contains(['.', '!', '?', ';']) {
            *negated = 0;
        }
        start + length
    }

    fn push(
        &mut self,
        start: usize,
        end: usize,
        plain: u64,
        (is_word, is_shouted): (bool, bool),
        negated: &mut usize,
    ) {
        let is_negated = *negated > 0 && is_word;
        let counted = if is_negated { finish(step(NOT, plain)) } else { plain };
        *negated = negated.saturating_sub(usize::from(is_word));
        let (start, end) = (start as u32, end as u32);
        self.tokens.push(Token { start, end, plain, counted, is_negated, is_word, is_shouted });
    }

    /// The pieces of the word just folded.
    fn cut(&mut self) {
        let word = &self.folded[..self.folded.len().min(WORD_MAX)];
        let with_ends = |at: usize| match at {
            0 => '^',
            at => word.get(at - 1).copied().unwrap_or('$'),
        };
        let length = word.len() + 2;
        for from in 0..(length + 1).saturating_sub(PIECE_MIN) {
            let mut hash = PIECE;
            for at in from..length.min(from + PIECE_MAX) {
                hash = step(hash, u64::from(with_ends(at)));
                if at + 1 - from >= PIECE_MIN {
                    self.pieces.push(finish(hash));
                }
            }
        }
    }
}

fn class(c: char) -> Class {
    match c {
        'a'..='z' | 'A'..='Z' | '0'..='9' => Class::Letter,
        ' ' | '\t' | '\n' | '\r' => Class::Space,
        '\0'..='\x7f' => Class::Mark,
        '\u{2600}'..='\u{27bf}' | '\u{1f000}'..='\u{1faff}' => Class::Picture,
        '\u{fe0f}' | '\u{200d}' => Class::Space,
        c if c.is_alphanumeric() => Class::Letter,
        c if c.is_whitespace() => Class::Space,
        _ => Class::Mark,
    }
}

/// Words that turn round what follows, in the languages that customers write most.
const NEGATIONS: &[&str] = &[
    "not", "no", "never", "none", "nor", "cannot", "without", "nothing", "hardly", "não", "nao",
    "nem", "nunca", "sem", "nicht", "kein", "keine", "keinen", "nie", "pas", "jamais", "sans",
    "ne", "nunca", "sin", "ni", "jamás", "non", "mai", "senza", "niet", "geen", "dont", "cant",
    "wont", "didnt", "doesnt", "isnt", "wasnt", "havent", "couldnt", "wouldnt",
];

/// Their hashes: a word is compared with all of them at once.
static NEGATING: LazyLock<HashSet<u64, FixedState>> = LazyLock::new(|| {
    NEGATIONS.iter().map(|it| hash_of(&it.chars().collect::<Vec<char>>())).collect()
});

/// Whether a word of this hash turns round what follows.
fn negates(word: &[char], hash: u64) -> bool {
    word.ends_with(&['n', '\'', 't']) || NEGATING.contains(&hash)
}

const SEED: u64 = 0xcbf2_9ce4_8422_2325;
const PAIR: u64 = 0x9e37_79b9_7f4a_7c15;
const PIECE: u64 = 0xc2b2_ae3d_27d4_eb4f;
const NOT: u64 = 0x1656_67b1_9e37_79f9;
const LINK: u64 = 0x6c69_6e6b_6c69_6e6b;
const MENTION: u64 = 0x4075_4075_4075_4075;

#[inline]
fn step(hash: u64, next: u64) -> u64 {
    (hash ^ next).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23)
}

/// The last mixing of a hash: all its bits depend on all that went in.
#[inline]
fn finish(hash: u64) -> u64 {
    let hash = (hash ^ (hash >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    hash ^ (hash >> 29)
}

/// Hash of a word in small letters, and otherwise as it stands: no two of them are taken for one.
pub(crate) fn exactly(word: &str) -> u64 {
    finish(match word.is_ascii() {
        true => word.bytes().fold(SEED, |hash, it| step(hash, u64::from(it.to_ascii_lowercase()))),
        false => {
            word.chars().flat_map(char::to_lowercase).fold(SEED, |hash, c| step(hash, u64::from(c)))
        }
    })
}

fn hash_of(chars: &[char]) -> u64 {
    finish(chars.iter().fold(SEED, |hash, c| step(hash, u64::from(*c))))
}
