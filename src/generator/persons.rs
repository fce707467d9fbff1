//! Who is one person: what customers of the demonstration were seen with.
//!
//! # Meaning
//! Every seventh customer is the one before, come back under another number: the two are seen with
//! one e-mail address, telephone and account. Of every thirty-fifth the account says that it is
//! somebody else after all. Tablets of the shop are seen with everybody, some type `null`, and now
//! and then somebody says by hand who is one, or who is not.

use schemas::events::Data;
use schemas::identity::{ByHand, Identified};

use super::random::Random;
use super::{customer_id, words};

/// Every so manieth customer is the one before.
const AGAIN: u64 = 7;
/// Every so manieth of them is not, as the account says.
const SOMEBODY_ELSE: u64 = 5;
/// Tablets of the shop.
const TABLETS: u64 = 3;

/// What is said of the customer with this number; the first one's is `base + 1`.
pub(super) fn said(number: u64, base: u64, random: &mut Random) -> Data<'static> {
    let again = number.is_multiple_of(AGAIN) && number > base + 1;
    let person = if again { number - 1 } else { number };
    let identified =
        |kind: &'static str, value: String, country: Option<&'static str>| Identified {
            customer: customer_id(number).into(),
            kind: kind.into(),
            value: value.into(),
            country: country.map(Into::into),
        };
    let email = format!("person.{person}@post.example");
    let it = match random.below(40) {
        0 if number > base + 1 => return Data::CustomerLinkedByHand(by_hand(number, random)),
        1 if number > base + 1 => return Data::CustomerSeparatedByHand(by_hand(number, random)),
        2 => identified("email", "null".into(), None),
        3 => return Data::CustomerUnlinked(identified("email", email, None)),
        4..8 => identified("device", format!("tablet-{}", 1 + random.below(TABLETS)), None),
        8..14 => {
            let differs = again && number.is_multiple_of(AGAIN * SOMEBODY_ELSE);
            let account = if differs { number } else { person };
            identified("account", format!("A-{account}"), None)
        }
        // The same number, with and without the country's code.
        14..18 => identified("phone", format!("+49 30 55{person:07}"), None),
        18..22 => identified("phone", format!("030 / 55{person:07}"), Some("DE")),
        // As people type it.
        22..26 => identified("email", format!(" {}", email.to_uppercase()), None),
        _ => identified("email", email, None),
    };
    Data::CustomerIdentified(it)
}

fn by_hand(number: u64, random: &mut Random) -> ByHand<'static> {
    ByHand {
        customer: customer_id(number).into(),
        other: customer_id(number - 1).into(),
        agent: Some(format!("A-{}", 1 + random.below(25)).into()),
        reason: Some(words::pick(random, words::BY_HAND).into()),
    }
}
