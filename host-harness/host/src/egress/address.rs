//! Which addresses may be dialled: public ones.
//!
//! A listed name can still resolve to this machine, its network or a cloud's metadata service. What is not public stands
//! in the tables below, taken from the IANA IPv4 and IPv6 Special-Purpose Address Registries
//! (<https://www.iana.org/assignments/iana-ipv4-special-registry>, <https://www.iana.org/assignments/iana-ipv6-special-registry>;
//! RFC 6890 and its updates, the last of them RFC 9637, 9602 and 9780), without what they say is globally reachable, and
//! with multicast. IPv6 addresses that carry an IPv4 address are judged as that where packets leave for it (mapped,
//! NAT64's well-known prefix), and are not public where a tunnel or a translator of the local network decides.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const NOT_PUBLIC_V4: [([u8; 4], u8, &str); 15] = [
    ([0, 0, 0, 0], 8, "this network"),
    ([10, 0, 0, 0], 8, "private use"),
    ([100, 64, 0, 0], 10, "shared by a carrier's NAT"),
    ([127, 0, 0, 0], 8, "loopback"),
    ([169, 254, 0, 0], 16, "link-local, metadata services"),
    ([172, 16, 0, 0], 12, "private use"),
    ([192, 0, 0, 0], 24, "IETF protocol assignments"),
    ([192, 0, 2, 0], 24, "documentation"),
    ([192, 88, 99, 0], 24, "6to4 relays, deprecated"),
    ([192, 168, 0, 0], 16, "private use"),
    ([198, 18, 0, 0], 15, "benchmarking"),
    ([198, 51, 100, 0], 24, "documentation"),
    ([203, 0, 113, 0], 24, "documentation"),
    ([224, 0, 0, 0], 4, "multicast"),
    ([240, 0, 0, 0], 4, "reserved, limited broadcast"),
];

/// Global unicast; whatever lies outside is loopback, local, multicast, for protocols' own use or unassigned.
const GLOBAL_V6: ([u16; 8], u8) = ([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);
/// NAT64's well-known prefix: the rest is an IPv4 address.
const NAT64: ([u16; 8], u8) = ([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96);
/// What is not public of [`GLOBAL_V6`].
const NOT_PUBLIC_V6: [([u16; 8], u8, &str); 4] = [
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 23, "IETF protocol assignments: Teredo, benchmarking, ORCHID and others"),
    ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32, "documentation"),
    ([0x2002, 0, 0, 0, 0, 0, 0, 0], 16, "6to4"),
    ([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, "documentation"),
];

/// Whether packets to this address leave for the public internet.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let begins = |network: [u8; 4], length: u8| {
        let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
        (address.to_bits() ^ Ipv4Addr::from(network).to_bits()) & mask == 0
    };
    !NOT_PUBLIC_V4.iter().any(|(network, length, _)| begins(*network, *length))
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let begins = |network: [u16; 8], length: u8| {
        let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
        (address.to_bits() ^ Ipv6Addr::from(network).to_bits()) & mask == 0
    };
    if begins(NAT64.0, NAT64.1) {
        let [.., a, b, c, d] = address.octets();
        return is_public_v4(Ipv4Addr::new(a, b, c, d));
    }
    begins(GLOBAL_V6.0, GLOBAL_V6.1)
        && !NOT_PUBLIC_V6.iter().any(|(network, length, _)| begins(*network, *length))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first and the last address of a block.
    fn ends(block: &str) -> [IpAddr; 2] {
        let (address, length) = block.split_once('/').unwrap();
        let length: u32 = length.parse().unwrap();
        match address.parse().unwrap() {
            IpAddr::V4(first) => {
                let rest = u32::MAX.checked_shr(length).unwrap_or(0);
                [first.into(), Ipv4Addr::from_bits(first.to_bits() | rest).into()]
            }
            IpAddr::V6(first) => {
                let rest = u128::MAX.checked_shr(length).unwrap_or(0);
                [first.into(), Ipv6Addr::from_bits(first.to_bits() | rest).into()]
            }
        }
    }

    #[test]
    fn no_block_of_the_registries_that_is_not_globally_reachable_passes() {
        for block in [
            // The IPv4 registry, and multicast.
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.88.99.0/24",
            "192.168.0.0/16",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/4",
            "240.0.0.0/4",
            "255.255.255.255/32",
            // The IPv6 registry.
            "::1/128",
            "::/128",
            "64:ff9b:1::/48",
            "100::/64",
            "100:0:0:1::/64",
            "2001::/32",
            "2001:2::/48",
            "2001:10::/28",
            "2001:20::/28",
            "2001::/23",
            "2001:db8::/32",
            "2002::/16",
            "3fff::/20",
            "5f00::/16",
            "fc00::/7",
            "fe80::/10",
            // Deprecated site-local, multicast, IPv4-compatible, IPv4-translated.
            "fec0::/10",
            "ff00::/8",
            "::/96",
            "::ffff:0:0:0/96",
        ] {
            for address in ends(block) {
                assert!(!is_public(address), "{address} of {block}");
            }
        }
    }

    #[test]
    fn an_ipv4_address_inside_an_ipv6_one_is_no_way_around() {
        for private in ["127.0.0.1", "10.0.0.1", "169.254.169.254", "192.168.1.1", "192.88.99.1"] {
            let v4: Ipv4Addr = private.parse().unwrap();
            let [a, b, c, d] = v4.octets().map(u16::from);
            let (high, low) = (a << 8 | b, c << 8 | d);
            for inside in [
                v4.to_ipv6_mapped(),
                v4.to_ipv6_compatible(),
                Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, high, low),
                Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
                Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, high, low),
                Ipv6Addr::new(0x64, 0xff9b, 0, 1, 0, 0, high, low),
                Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1),
                Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, !high, !low),
            ] {
                assert!(!is_public(inside.into()), "{inside} for {private}");
            }
        }
    }

    #[test]
    fn public_addresses_pass_up_to_the_edges() {
        for address in [
            "1.1.1.1",
            "52.215.16.239",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.88.98.255",
            "192.88.100.0",
            "198.17.255.255",
            "198.20.0.0",
            "203.0.112.255",
            "203.0.114.0",
            "223.255.255.255",
            // Anycast services that the registry says are reachable.
            "192.31.196.1",
            "192.52.193.1",
            "192.175.48.1",
            "2620:4f:8000::1",
            "2606:4700::1111",
            "2001:200::1",
            "2001:db9::",
            "2003::1",
            "3ffe:ffff::",
            "3fff:1000::",
            "::ffff:1.1.1.1",
            "64:ff9b::101:101",
        ] {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
    }
}
