//! To whom a relay may speak: the open internet, and what the operator allows.
//!
//! Whoever has a credential makes this server send packets. Without the filter they would reach what only this server reaches: itself, its
//! network, and the metadata service of its cloud (SSRF).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

use crate::proxy::Network;

/// Whether a relay may send to `address` and hear from it. `is_ours` knows the addresses of this machine, public ones too.
pub fn is_allowed(address: IpAddr, allowed: &[Network], is_ours: impl Fn(IpAddr) -> bool) -> bool {
    let leads_to_us = || match address {
        IpAddr::V6(v6) => is_ours(embedded(v6).map_or(address, IpAddr::V4)),
        IpAddr::V4(_) => is_ours(address),
    };
    allowed.iter().any(|network| network.contains(address))
        || (is_public(address) && !leads_to_us())
}

/// Whether this machine has the address: no socket can be bound to another's.
pub fn is_of_this_machine(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok() && !binds_anything(address)
}

/// Whether the system lets sockets have addresses that are not its own (Linux' `ip_nonlocal_bind`), so that binding says nothing. These are for
/// documentation (RFC 5737, RFC 3849), and nobody's.
fn binds_anything(like: IpAddr) -> bool {
    let nobodys: IpAddr = match like {
        IpAddr::V4(_) => Ipv4Addr::new(192, 0, 2, 1).into(),
        IpAddr::V6(_) => Ipv6Addr::new(0x2001, 0xDB8, 0, 0, 0, 0, 0, 1).into(),
    };
    UdpSocket::bind((nobodys, 0)).is_ok()
}

/// Whether an address is one that the whole internet can reach (the registries of RFC 6890), however it is written.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => match embedded(v6) {
            Some(v4) => is_public_v4(v4),
            None => is_public_v6(v6),
        },
    }
}

fn is_public_v4(v4: Ipv4Addr) -> bool {
    let [a, b, c, _] = v4.octets();
    let is_special = match a {
        0 | 10 | 127 => true,
        100 => (64..128).contains(&b),
        // Where clouds have their metadata, too.
        169 => b == 254,
        172 => (16..32).contains(&b),
        192 => b == 168 || (b, c) == (0, 0) || (b, c) == (0, 2) || (b, c) == (88, 99),
        198 => b == 18 || b == 19 || (b, c) == (51, 100),
        203 => (b, c) == (0, 113),
        224..=255 => true,
        _ => false,
    };
    // Azure's agent listens on a public address that is routed to the host.
    !is_special && v4 != Ipv4Addr::new(168, 63, 129, 16)
}

fn is_public_v6(v6: Ipv6Addr) -> bool {
    // Global unicast is 2000::/3; all that is special lies outside, but for these.
    let [first, second, ..] = v6.segments();
    (0x2000..0x4000).contains(&first)
        && !(first == 0x2001 && second < 0x200)
        && !(first == 0x2001 && second == 0xDB8)
        && first != 0x3FFF
}

/// The IPv4 address that an IPv6 one leads to: mapped, compatible, NAT64 or 6to4.
fn embedded(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let last = |segments: [u16; 8]| {
        Ipv4Addr::from_bits(u32::from(segments[6]) << 16 | u32::from(segments[7]))
    };
    match v6.segments() {
        [0, 0, 0, 0, 0, 0 | 0xFFFF, ..] => Some(last(v6.segments())),
        [0x64, 0xFF9B, 0, 0, 0, 0, ..] => Some(last(v6.segments())),
        [0x2002, high, low, ..] => {
            Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
        }
        _ => None,
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// One or more of each range that is not the open internet.
    pub const FORBIDDEN: [&str; 44] = [
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "10.255.255.255",
        "100.64.0.1",
        "100.127.255.255",
        "127.0.0.1",
        "127.255.0.1",
        "168.63.129.16",
        "169.254.0.1",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.8",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.251",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "::10.0.0.1",
        "64:ff9b::10.0.0.1",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:db8::1",
        "2002:7f00:1::",
        "2002:a9fe:a9fe::1",
        "3fff::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fec0::1",
        "ff02::fb",
        "5f00::1",
    ];

    #[test]
    fn no_address_but_those_of_the_open_internet_is_relayed_to() {
        for address in FORBIDDEN {
            assert!(
                !is_allowed(address.parse().unwrap(), &[], |_| false),
                "{address}"
            );
        }
        for address in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.1",
            "100.63.0.1",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.167.1.1",
            "198.17.0.1",
            "223.255.255.255",
            "2001:4860:4860::8888",
            "2a00::1",
            "64:ff9b::1.1.1.1",
            "2002:101:101::1",
            "::ffff:1.1.1.1",
        ] {
            assert!(
                is_allowed(address.parse().unwrap(), &[], |_| false),
                "{address}"
            );
        }
    }

    #[test]
    fn no_public_address_of_this_machine_is_relayed_to_however_it_is_written() {
        let ours = |address: IpAddr| address == IpAddr::from([1, 1, 1, 1]);
        for (address, may) in [
            ("1.1.1.1", false),
            ("::ffff:1.1.1.1", false),
            ("64:ff9b::1.1.1.1", false),
            ("2002:101:101::1", false),
            ("1.1.1.2", true),
            ("2a00::1", true),
        ] {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(is_allowed(address, &[], ours), may, "{address}");
        }
        // Unless the operator says so.
        let all = ["1.1.1.0/24".parse().unwrap()];
        assert!(is_allowed([1, 1, 1, 1].into(), &all, ours));
    }

    #[test]
    fn this_machine_knows_its_own_addresses() {
        assert!(is_of_this_machine(Ipv4Addr::LOCALHOST.into()));
        assert!(!is_of_this_machine([192, 0, 2, 7].into()));
    }

    #[test]
    fn the_operator_may_allow_a_network_of_its_own_and_only_that() {
        let allowed = [
            "192.168.7.0/24".parse().unwrap(),
            "fd12::/16".parse().unwrap(),
        ];
        for (address, may) in [
            ("192.168.7.9", true),
            ("192.168.8.9", false),
            ("::ffff:192.168.7.9", true),
            ("fd12::1", true),
            ("fd13::1", false),
            ("127.0.0.1", false),
        ] {
            assert_eq!(
                is_allowed(address.parse().unwrap(), &allowed, |_| false),
                may,
                "{address}"
            );
        }
    }
}
