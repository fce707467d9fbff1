//! Identifiers as they are compared.
//!
//! # Meaning
//! Blanks around a value are no matter. An `email` is in small letters. A `phone` is as E.164 writes
//! it, if it can be read as a number of some country: its own (`+49 …`, `0049 …`) or the one that
//! the statement names; else its digits as they stand. Every other kind is as it was given: a card's
//! number may tell letters apart.
//!
//! # Why this way
//! Where a number is read is said by the event, not by a setting: what is compared is the same on
//! every replay, and a state does not depend on the configuration.

use compact_str::CompactString;

/// A value as it is compared. `country`: ISO 3166-1 alpha-2, of a telephone number without its own.
pub fn normalised(kind: &str, value: &str, country: Option<&str>) -> CompactString {
    let value = value.trim();
    match kind {
        "email" => value.to_lowercase().into(),
        "phone" => phone(value, country),
        _ => value.into(),
    }
}

/// Signs between the digits of a number, as people write them.
const BETWEEN: &str = " \u{a0}-–./()";

fn phone(value: &str, country: Option<&str>) -> CompactString {
    let (is_international, rest) = match value.strip_prefix('+') {
        Some(rest) => (true, rest),
        None => match value.strip_prefix("00") {
            Some(rest) => (true, rest),
            None => (false, value),
        },
    };
    // Anything else is no number that we could read: a word, an extension, another alphabet.
    if !rest.chars().all(|it| it.is_ascii_digit() || BETWEEN.contains(it)) {
        return value.to_lowercase().into();
    }
    let country = country.filter(|_| !is_international).and_then(|it| it.parse().ok());
    if is_international || country.is_some() {
        let text = if is_international { format!("+{rest}") } else { value.to_string() };
        if let Ok(number) = phonenumber::parse(country, &text) {
            return number.format().mode(phonenumber::Mode::E164).to_string().into();
        }
    }
    value.chars().filter(|it| it.is_ascii_digit() || *it == '+').collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Goal: ways of writing one identifier are one; two identifiers are two.
    #[test]
    fn one_identifier_is_one_however_it_is_written() {
        let berlin = "+49301234567";
        for (said, country) in [
            ("+49 30 1234567", None),
            ("0049 30 1234567", None),
            ("+49 (0)30 123 45 67", None),
            ("030/1234567", Some("DE")),
            (" +49-30-1234567 ", Some("FR")),
        ] {
            assert_eq!(normalised("phone", said, country), berlin, "{said}");
        }
        assert_eq!(normalised("phone", "030 1234567", None), "0301234567");
        assert_eq!(normalised("phone", "Ask Ann", Some("DE")), "ask ann");
        assert_eq!(normalised("phone", "030 1234567", Some("XX")), "0301234567");
        assert_eq!(normalised("email", " Ann@Example.ORG\t", None), "ann@example.org");
        assert_eq!(normalised("loyalty_card", " aB7 ", None), "aB7");
    }

    proptest! {
        /// Goal: whatever is typed into a form does no harm, and a number that was read is read the
        /// same again. Method: texts of the signs that numbers are written with.
        #[test]
        fn whatever_is_typed(
            value in "[+0-9 ()./-]{0,40}|\\PC{0,20}",
            country in proptest::option::of("DE|US|GB|IT|AR|XX"),
        ) {
            let once = normalised("phone", &value, country.as_deref());
            if once.starts_with('+') {
                prop_assert_eq!(normalised("phone", &once, None), once.clone(), "{}", value);
            }
        }
    }
}
