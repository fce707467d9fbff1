//! Who asks. Made here and nowhere else; everything read for a request is read through it.

use std::net::SocketAddr;

use http::{HeaderMap, StatusCode, header};
use schemas::names::{DEFAULT_TENANT, MAX_IDENTIFIER_BYTES};

use super::query::Query;
use super::refusal::Refusal;

/// What a caller may do. For now everybody may do everything within the tenant named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Reads and appends.
    Full,
}

/// Who asks.
#[derive(Clone, Debug)]
pub struct Caller {
    tenant: String,
    /// What the caller may do.
    pub role: Role,
    /// Names of fields that are not shown to the caller. Empty for now: there are no roles yet.
    pub masks: Vec<String>,
}

impl Caller {
    /// From the parameter `tenant`, or the header `Millstream-Tenant`.
    pub(super) fn of(query: &mut Query<'_>, header: Option<&str>) -> Result<Caller, Refusal> {
        let parameter = query.take("tenant")?;
        if let (Some(parameter), Some(header)) = (&parameter, header)
            && parameter != header
        {
            return Err(Refusal::parameter("tenant", "the header names another tenant"));
        }
        let tenant = parameter.as_deref().or(header).unwrap_or(DEFAULT_TENANT);
        let fits = !tenant.is_empty() && tenant.len() <= MAX_IDENTIFIER_BYTES;
        if !fits || tenant.chars().any(char::is_control) {
            return Err(Refusal::parameter(
                "tenant",
                "expected an identifier of 1 to 128 bytes without control characters",
            ));
        }
        Ok(Caller { tenant: tenant.to_string(), role: Role::Full, masks: Vec::new() })
    }

    /// Whose data.
    pub fn tenant(&self) -> &str {
        &self.tenant
    }

    /// Records that belong to no tenant that could be told are shown to the default one only.
    pub fn sees_unattributed(&self) -> bool {
        self.tenant == DEFAULT_TENANT
    }
}

/// Only programs of this machine: the socket is loopback's, and the request was not made by a page
/// in a browser (whose `Host` may be any name that resolves here, and which says its `Origin`).
pub(super) fn only_loopback(peer: SocketAddr, headers: &HeaderMap) -> Result<(), Refusal> {
    let refuse = |why: String| {
        Err(Refusal::new(
            StatusCode::FORBIDDEN,
            "serve/loopback-only",
            "only from this machine",
            why,
            "ask with the command line, or curl, on the machine where it runs",
        ))
    };
    if !peer.ip().to_canonical().is_loopback() {
        return refuse("the connection comes from another machine".into());
    }
    if headers.contains_key(header::ORIGIN) || headers.contains_key("sec-fetch-site") {
        return refuse("the request was made by a web page".into());
    }
    let host = headers.get(header::HOST).map(|it| it.to_str().unwrap_or("?"));
    if host.is_some_and(|it| !names_loopback(it)) {
        return refuse("the header Host names another machine".into());
    }
    Ok(())
}

fn names_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(""),
        None => host.split(':').next().unwrap_or(""),
    };
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<std::net::IpAddr>().is_ok_and(|it| it.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tenant_is_named_once_and_well() {
        let check = |query: &str, header: Option<&str>, expected: Option<&str>| {
            let caller = Caller::of(&mut Query::parse(query), header);
            assert_eq!(caller.ok().as_ref().map(Caller::tenant), expected, "{query} {header:?}");
        };
        check("", None, Some("default"));
        check("tenant=acme", None, Some("acme"));
        check("", Some("acme"), Some("acme"));
        check("tenant=acme", Some("acme"), Some("acme"));
        check("tenant=acme", Some("other"), None);
        check("tenant=", None, None);
        check("tenant=a%00b", None, None);
        check(&format!("tenant={}", "x".repeat(129)), None, None);
    }

    /// Goal: no page in a browser and no other machine reaches the admin routes. Method: a table.
    #[test]
    fn admin_is_for_this_machine() {
        let check = |peer: &str, headers: &[(&'static str, &str)], expected: bool| {
            let map = headers
                .iter()
                .map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()));
            let allowed = only_loopback(peer.parse().unwrap(), &map.collect()).is_ok();
            assert_eq!(allowed, expected, "{peer} {headers:?}");
        };
        check("127.0.0.1:5", &[("host", "127.0.0.1:8080")], true);
        check("127.0.0.1:5", &[("host", "localhost")], true);
        check("[::1]:5", &[("host", "[::1]:8080")], true);
        check("[::ffff:127.0.0.1]:5", &[], true);
        check("10.0.0.1:5", &[("host", "localhost")], false);
        check("127.0.0.1:5", &[("host", "evil.example:8080")], false);
        check("127.0.0.1:5", &[("host", "localhost.evil.example")], false);
        check("127.0.0.1:5", &[("host", "localhost"), ("origin", "http://localhost")], false);
        check("127.0.0.1:5", &[("sec-fetch-site", "same-origin")], false);
    }
}
