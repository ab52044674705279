//! Whose address counts: the TCP peer's, unless that is a reverse proxy the operator trusts.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// An address range in CIDR notation; a bare address is a range of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    first: u128,
    bits: u32,
}

impl Network {
    pub fn contains(&self, address: IpAddr) -> bool {
        let differing = self.first ^ key(address);
        self.bits == 0 || differing >> (128 - self.bits) == 0
    }
}

impl FromStr for Network {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| "not an IP address")?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let bits: u32 = bits
            .map_or(Ok(width), str::parse)
            .map_err(|_| "not a prefix length")?;
        if bits > width {
            return Err("the prefix is longer than the address");
        }
        Ok(Self {
            first: key(address),
            bits: bits + 128 - width,
        })
    }
}

/// Walks `X-Forwarded-For` from the right, the end that the nearest proxy wrote, as long as each hop is trusted.
///
/// What stands further left was sent by somebody we know nothing of and counts for nothing, text or not. An entry that is no address stops the walk.
pub fn client_address<'a>(
    peer: IpAddr,
    trusted: &[Network],
    forwarded_for: impl DoubleEndedIterator<Item = &'a [u8]>,
) -> IpAddr {
    let mut address = peer.to_canonical();
    let mut entries = forwarded_for
        .rev()
        .flat_map(|line| line.rsplit(|byte| *byte == b','));
    while is_trusted(address, trusted) {
        match entries.next().and_then(entry_address) {
            Some(next) => address = next.to_canonical(),
            None => break,
        }
    }
    address
}

/// An entry as proxies write them: an address, some with brackets around IPv6, some with a port.
fn entry_address(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry).ok()?.trim();
    let bare = text.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    bare.unwrap_or(text)
        .parse()
        .or_else(|_| text.parse::<SocketAddr>().map(|it| it.ip()))
        .ok()
}

/// Whether an address is one of a proxy that the operator trusts.
pub fn is_trusted(address: IpAddr, trusted: &[Network]) -> bool {
    trusted.iter().any(|network| network.contains(address))
}

/// IPv4 addresses sit where RFC 4291 maps them.
fn key(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(peer: &str, trusted: &[&str], lines: &[&str]) -> String {
        let trusted: Vec<Network> = trusted
            .iter()
            .map(|network| network.parse().unwrap())
            .collect();
        let lines = lines.iter().map(|line| line.as_bytes());
        client_address(peer.parse().unwrap(), &trusted, lines).to_string()
    }

    #[test]
    fn nobody_is_believed_who_is_not_trusted() {
        assert_eq!(walk("198.51.100.7", &[], &["203.0.113.9"]), "198.51.100.7");
        assert_eq!(
            walk("198.51.100.7", &["10.0.0.0/8"], &["203.0.113.9"]),
            "198.51.100.7"
        );
    }

    #[test]
    fn what_the_client_itself_wrote_counts_for_nothing() {
        assert_eq!(
            walk("10.0.0.1", &["10.0.0.0/8"], &["127.0.0.1, 203.0.113.9"]),
            "203.0.113.9"
        );
        assert_eq!(
            walk("10.0.0.1", &["10.0.0.0/8"], &["127.0.0.1", "203.0.113.9"]),
            "203.0.113.9"
        );
    }

    #[test]
    fn trusted_hops_are_walked_through() {
        assert_eq!(
            walk("10.0.0.1", &["10.0.0.0/8"], &["203.0.113.9, 10.2.2.2"]),
            "203.0.113.9"
        );
        assert_eq!(
            walk("::ffff:10.0.0.1", &["10.0.0.0/8"], &["2001:db8::1"]),
            "2001:db8::1"
        );
        assert_eq!(
            walk("fd00::1", &["fd00::/8"], &["203.0.113.9"]),
            "203.0.113.9"
        );
    }

    #[test]
    fn a_broken_entry_stops_the_walk() {
        assert_eq!(
            walk("10.0.0.1", &["10.0.0.0/8"], &["203.0.113.9, unknown"]),
            "10.0.0.1"
        );
        assert_eq!(walk("10.0.0.1", &["10.0.0.0/8"], &[]), "10.0.0.1");
    }

    #[test]
    fn what_is_no_text_hides_nothing_of_what_a_proxy_wrote_behind_it() {
        let line = b"\xe9, 203.0.113.9".as_slice();
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        let address = client_address("10.0.0.1".parse().unwrap(), &trusted, [line].into_iter());
        assert_eq!(address.to_string(), "203.0.113.9");
    }

    #[test]
    fn ports_and_brackets_belong_to_no_address() {
        for (entry, address) in [
            ("203.0.113.9:4711", "203.0.113.9"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:443", "2001:db8::1"),
        ] {
            assert_eq!(walk("10.0.0.1", &["10.0.0.0/8"], &[entry]), address);
        }
    }
}
