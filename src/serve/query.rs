//! Query strings and keys, decoded once; what nobody asked for is told, not ignored.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use schemas::names::key_text;

use super::refusal::Refusal;

/// The parameters of a request that nobody has taken yet.
pub(super) struct Query<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Query<'a> {
    /// Of a query string without its `?`.
    pub(super) fn parse(text: &'a str) -> Query<'a> {
        if text.is_empty() {
            return Query(Vec::new());
        }
        Query(form_urlencoded::parse(text.as_bytes()).collect())
    }

    /// Takes a parameter out; refuses one that stands twice.
    pub(super) fn take(&mut self, name: &str) -> Result<Option<Cow<'a, str>>, Refusal> {
        let Some(at) = self.0.iter().position(|(it, _)| it == name) else { return Ok(None) };
        let (_, value) = self.0.swap_remove(at);
        if self.0.iter().any(|(it, _)| it == name) {
            return Err(Refusal::parameter(name, "stands more than once"));
        }
        Ok(Some(value))
    }

    /// As if the client had said so, too.
    pub(super) fn put(&mut self, name: &'a str, value: Cow<'a, str>) {
        self.0.push((Cow::Borrowed(name), value));
    }

    /// Takes a whole number within these bounds out.
    pub(super) fn number(
        &mut self,
        name: &str,
        from: u64,
        to: u64,
    ) -> Result<Option<u64>, Refusal> {
        let Some(text) = self.take(name)? else { return Ok(None) };
        match text.parse() {
            Ok(number) if (from..=to).contains(&number) => Ok(Some(number)),
            _ => Err(Refusal::parameter(
                name,
                format_args!("expected a whole number from {from} to {to}, found {text:?}"),
            )),
        }
    }

    /// What is left.
    pub(super) fn rest(self) -> Vec<(Cow<'a, str>, Cow<'a, str>)> {
        self.0
    }

    /// Refuses what is left.
    pub(super) fn end(self) -> Result<(), Refusal> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => Err(Refusal::parameter(name, "this route has no such parameter")),
        }
    }
}

/// The key's text, as views know it, from a key as clients write it: parts percent-encoded in any
/// way, joined by `/`.
pub(super) fn key_of(written: &str) -> Result<String, Refusal> {
    if !written.contains(['%', '/']) && written.bytes().all(|it| (0x20..0x7f).contains(&it)) {
        return Ok(written.to_string());
    }
    let parts: Result<Vec<Cow<'_, str>>, _> =
        written.split('/').map(|it| percent_decode_str(it).decode_utf8()).collect();
    let parts = parts.map_err(|_| Refusal::parameter("key", "is not UTF-8 once decoded"))?;
    let parts: Vec<&str> = parts.iter().map(AsRef::as_ref).collect();
    Ok(key_text(&parts).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_however_they_are_encoded() {
        let check = |written: &str, expected: Option<&str>| {
            assert_eq!(key_of(written).ok().as_deref(), expected, "{written}");
        };
        check("O-1", Some("O-1"));
        check("a%2Fb", Some("a%2Fb"));
        check("a%2fb/c", Some("a%2Fb/c"));
        check("M%C3%BCller%201", Some("Müller 1"));
        check("50%25", Some("50%25"));
        check("%41", Some("A"));
        check("%FF", None);
    }

    #[test]
    fn what_is_asked_twice_or_not_known_is_told() {
        let mut query = Query::parse("limit=5&a=1&a=2&b=x+y%20z");
        assert_eq!(query.number("limit", 1, 10).ok().flatten(), Some(5));
        assert!(query.take("a").is_err());
        let mut query = Query::parse("b=x+y%20z");
        assert_eq!(query.take("b").ok().flatten().as_deref(), Some("x y z"));
        assert!(query.end().is_ok());
        assert!(Query::parse("limit=11").number("limit", 1, 10).is_err());
        assert!(Query::parse("nobody=1").end().is_err());
    }
}
