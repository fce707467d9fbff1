//! Which addresses may be spoken to: those of the public internet, and what a channel allows.
//!
//! # Meaning
//! Decided on the address that a connection is about to be made to, after the name was resolved
//! and whatever the name was: a name that resolves to another address later gets another decision.
//! Redirects are never followed, so there is no second address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What a channel may speak to.
#[derive(Clone, Debug, Default)]
pub(super) struct Guard {
    /// Addresses of the own network that are allowed by name, with their ports.
    allow: Vec<SocketAddr>,
}

impl Guard {
    /// With what the settings allow.
    pub(super) fn new(allow: &[String]) -> Guard {
        Guard { allow: allow.iter().filter_map(|it| it.parse().ok()).collect() }
    }

    /// Whether a connection may be made to it.
    pub(super) fn lets(&self, to: SocketAddr) -> bool {
        self.allow.contains(&to) || is_public(to.ip())
    }
}

/// An address of the public internet: not loopback, link-local (there metadata services are),
/// private, shared, multicast, documentation or reserved, also inside an IPv6 address.
pub(super) fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(it) => is_public_v4(it),
        IpAddr::V6(it) => match inner(it) {
            Some(inner) => is_public_v4(inner),
            None => is_public_v6(it),
        },
    }
}

fn is_public_v4(it: Ipv4Addr) -> bool {
    let [a, b, c, _] = it.octets();
    let reserved = match (a, b, c) {
        (0 | 10 | 127, ..) | (224..=255, ..) => true,
        (100, 64..=127, _) => true, // shared between carriers (RFC 6598)
        (169, 254, _) => true,      // link-local, metadata
        (172, 16..=31, _) => true,  // private
        (192, 168, _) => true,      // private
        (192, 0, 0 | 2) => true,    // protocol assignments, documentation
        (192, 88, 99) => true,      // 6to4 relays
        (198, 18 | 19, _) => true,  // benchmarks
        (198, 51, 100) | (203, 0, 113) => true, // documentation
        _ => false,
    };
    !reserved
}

/// The IPv4 address that an IPv6 address stands for: mapped, compatible, NAT64, 6to4, Teredo.
fn inner(it: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = it.segments();
    let of = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    match (a, b) {
        (0, 0) if [c, d, e] == [0; 3] && (f == 0xffff || f == 0) && (g, h) > (0, 1) => {
            Some(of(g, h))
        }
        (0, 0) if [c, d] == [0; 2] && e == 0xffff && f == 0 => Some(of(g, h)),
        // The well-known prefix; 64:ff9b:1::/48 is for the own network's use (RFC 8215).
        (0x64, 0xff9b) if [c, d, e, f] == [0; 4] => Some(of(g, h)),
        (0x2002, _) => Some(of(b, c)),
        (0x2001, 0) => Some(of(!g, !h)),
        _ => None,
    }
}

fn is_public_v6(it: Ipv6Addr) -> bool {
    let [a, b, ..] = it.segments();
    // Global unicast is 2000::/3; of that, what is documentation or a benchmark is not.
    (a & 0xe000) == 0x2000 && (a, b) != (0x2001, 0xdb8) && (a, b) != (0x2001, 2) && a != 0x3fff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let check = |text: &str, expected: bool| {
            assert_eq!(is_public(text.parse().unwrap()), expected, "{text}");
        };
        for no in [
            "127.0.0.1",
            "127.255.255.254",
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "100.127.0.1",
            "192.0.0.1",
            "192.0.2.1",
            "192.88.99.1",
            "198.18.0.1",
            "198.19.1.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.1.1.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::127.0.0.1",
            "::ffff:0:10.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::808:808",
            "64:ff9b:1:ffff:ffff:ffff:808:808",
            "64:ff9b:0:1::808:808",
            "2002:7f00:1::",
            "2002:a00:1::1",
            "2001:0:1::80ff:fffe",
            "fe80::1",
            "febf::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "2001:db8::1",
            "3fff::1",
            "100::1",
            "5f00::1",
        ] {
            check(no, false);
        }
        for yes in [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "169.253.1.1",
            "2606:4700::1111",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
        ] {
            check(yes, true);
        }
    }

    #[test]
    fn what_is_allowed_is_allowed_by_address_and_port() {
        let guard = Guard::new(&["127.0.0.1:9000".into()]);
        assert!(guard.lets("127.0.0.1:9000".parse().unwrap()));
        assert!(!guard.lets("127.0.0.1:9001".parse().unwrap()));
        assert!(!guard.lets("127.0.0.2:9000".parse().unwrap()));
    }
}
