//! The value at a JSON pointer (RFC 6901), without building the rest.
//!
//! # Why this way
//! A tree of the whole line costs several times what reading past it does.

use std::fmt;

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::value::RawValue;

/// A pointer, in its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointer(Vec<String>);

impl Pointer {
    /// `/data/order`; nothing if it is none.
    pub fn parse(text: &str) -> Option<Pointer> {
        let rest = text.strip_prefix('/')?;
        let part = |it: &str| {
            let wild = it.replace("~0", "").replace("~1", "");
            (!wild.contains('~')).then(|| it.replace("~1", "/").replace("~0", "~"))
        };
        rest.split('/').map(part).collect::<Option<Vec<_>>>().map(Pointer)
    }

    /// The raw JSON there; `None` where nothing is, and in what is not JSON.
    pub(super) fn find<'a>(&self, json: &'a [u8]) -> Option<&'a RawValue> {
        let mut reader = serde_json::Deserializer::from_slice(json);
        Find(&self.0).deserialize(&mut reader).ok().flatten()
    }
}

struct Find<'p>(&'p [String]);

impl<'de> DeserializeSeed<'de> for Find<'_> {
    type Value = Option<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        if self.0.is_empty() {
            return <&RawValue>::deserialize(from).map(Some);
        }
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Find<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let mut found = None;
        while let Some(here) = map.next_key_seed(Is(&self.0[0]))? {
            if here {
                found = map.next_value_seed(Find(&self.0[1..]))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut seq: S) -> Result<Self::Value, S::Error> {
        let wanted: Option<usize> = self.0[0].parse().ok();
        let (mut found, mut at) = (None, 0);
        loop {
            if wanted == Some(at) {
                match seq.next_element_seed(Find(&self.0[1..]))? {
                    Some(it) => found = it,
                    None => return Ok(found),
                }
            } else if seq.next_element::<IgnoredAny>()?.is_none() {
                return Ok(found);
            }
            at += 1;
        }
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

/// Whether a key is this one, without keeping it.
struct Is<'p>(&'p str);

impl<'de> DeserializeSeed<'de> for Is<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<bool, D::Error> {
        from.deserialize_str(self)
    }
}

impl Visitor<'_> for Is<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, text: &str) -> Result<bool, E> {
        Ok(text == self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: as RFC 6901 says. Method: a table.
    #[test]
    fn finds_what_the_pointer_names() {
        let json = br#"{"a":{"b":[1,{"c":"x"}],"n":null},"a/b":2,"m~n":3,"":4,"e":"\u0041"}"#;
        let check = |pointer: &str, expected: Option<&str>| {
            let found = Pointer::parse(pointer).unwrap().find(json).map(RawValue::get);
            assert_eq!(found, expected, "{pointer}");
        };
        check("/a/b/0", Some("1"));
        check("/a/b/1/c", Some("\"x\""));
        check("/a/b/2", None);
        check("/a/b/x", None);
        check("/a/n", Some("null"));
        check("/a/n/x", None);
        check("/a/b", Some(r#"[1,{"c":"x"}]"#));
        check("/a~1b", Some("2"));
        check("/m~0n", Some("3"));
        check("/", Some("4"));
        check("/e", Some(r#""\u0041""#));
        check("/e/0", None);
        assert!(Pointer::parse("/a").unwrap().find(b"no").is_none());
        assert_eq!(
            (Pointer::parse("a"), Pointer::parse("/~2"), Pointer::parse("")),
            (None, None, None)
        );
    }
}
