//! Sentences from a small grammar: distinct enough that nothing can be kept once for all of them.

use super::random::Random;

/// Country, language, time zone.
pub(super) const COUNTRIES: &[(&str, &str, &str)] = &[
    ("DE", "de", "Europe/Berlin"),
    ("FR", "fr", "Europe/Paris"),
    ("GB", "en-GB", "Europe/London"),
    ("US", "en-US", "America/New_York"),
    ("BR", "pt-BR", "America/Sao_Paulo"),
    ("JP", "ja", "Asia/Tokyo"),
];
pub(super) const CURRENCIES: &[&str] = &["EUR", "EUR", "EUR", "USD", "GBP"];
pub(super) const TIERS: &[&str] = &["basic", "basic", "silver", "gold"];
pub(super) const CHANNELS: &[&str] = &["web", "web", "app", "store", "phone"];
pub(super) const INTERESTS: &[&str] = &["garden", "lamps", "desks", "tools", "bikes", "tea"];
pub(super) const WAREHOUSES: &[&str] = &["W-north", "W-south", "W-port"];
pub(super) const CARRIERS: &[&str] = &["hermes", "pigeon", "barge"];
pub(super) const QUEUES: &[&str] = &["orders", "delivery", "billing"];
pub(super) const SKILLS: &[&str] = &["german", "french", "english", "repairs"];
pub(super) const CANCELLED: &[&str] = &["ordered twice", "found it cheaper", "took too long"];
pub(super) const RETURNED: &[&str] = &["broken", "too small", "not as pictured", "a gift too many"];
pub(super) const BY_HAND: &[&str] =
    &["said so on the phone", "same bill", "asked for it in writing"];
pub(super) const RESOLVED: &[&str] = &["sent again", "paid back", "explained", "repaired"];

const FIRST: &[&str] = &[
    "Ada", "Bo", "Chidi", "Dilek", "Émile", "Freya", "Goro", "Hana", "Ines", "José", "Kofi", "Lia",
];
const LAST: &[&str] =
    &["Adler", "Brandt", "Costa", "Dubois", "Egger", "Fischer", "Grün", "Haddad", "Ito", "Öztürk"];
const OPENINGS: &[&str] = &[
    "Honestly,",
    "So,",
    "After two weeks:",
    "For the second time",
    "To my surprise",
    "As always,",
];
const GOOD: &[&str] = &[
    "it works exactly as described",
    "the quality is better than I expected",
    "delivery took a day less than promised",
    "my whole family uses it now",
    "the packaging was simple and clean",
];
const FAIR: &[&str] = &[
    "it does what it should",
    "it is fine for the price",
    "the colour differs a little from the picture",
    "the manual could say more",
];
const POOR: &[&str] = &[
    "a part was missing",
    "it stopped working after three days",
    "it arrived five days late",
    "nobody answers the phone",
    "the surface was scratched",
];
const LINKS: &[&str] = &["and", "but then", "and I must say", "although"];
const ENDINGS: &[&str] = &[
    "I would buy it again.",
    "I shall think twice next time.",
    "Please pass this on to the workshop.",
    "My neighbour ordered one too.",
    "That is all.",
];
const ASKS: &[&str] = &[
    "please call me back",
    "please send it again",
    "I want my money back",
    "please tell me where it is",
    "I need an invoice with another address",
];

/// One of them.
pub(super) fn pick<T: Copy>(random: &mut Random, from: &[T]) -> T {
    from[random.index(from.len())]
}

/// Name and e-mail address.
pub(super) fn person(random: &mut Random, number: u64) -> (String, String) {
    let (first, last) = (pick(random, FIRST), pick(random, LAST));
    (format!("{first} {last}"), format!("{}.{number}@example.com", last.to_lowercase()))
}

/// What somebody says of an article.
pub(super) fn feedback(random: &mut Random, rating: u8, product: &str, order: u64) -> String {
    let clauses = match rating {
        4.. => GOOD,
        3 => FAIR,
        _ => POOR,
    };
    let (one, other) = (pick(random, clauses), pick(random, FAIR));
    let (opening, link, ending) =
        (pick(random, OPENINGS), pick(random, LINKS), pick(random, ENDINGS));
    format!("{opening} {one} ({product}, order {order}), {link} {other}. {ending}")
}

/// What somebody wants from us.
pub(super) fn complaint(random: &mut Random, case: u64) -> String {
    let (opening, what, ask) = (pick(random, OPENINGS), pick(random, POOR), pick(random, ASKS));
    format!("{opening} {what}; {ask}. My number is {}-{case}.", 100 + random.below(900))
}
