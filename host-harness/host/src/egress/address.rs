//! Which addresses may be dialled: public ones.
//!
//! A listed name can still resolve to this machine, its network or a cloud's metadata service. IPv4 addresses
//! inside IPv6 ones are judged as what they are. Sources: the IANA special-purpose address registries
//! (RFC 6890 and its updates).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether packets to this address leave for the public internet.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let reserved = matches!(
        (a, b, c),
        (0 | 10 | 127, _, _)           // this network, private, loopback
            | (100, 64..=127, _)       // carrier-grade NAT
            | (169, 254, _)            // link-local, metadata services
            | (172, 16..=31, _)        // private
            | (192, 0, 0)              // IETF protocol assignments
            | (192, 0, 2)              // documentation
            | (192, 88, 99)            // 6to4 relays
            | (192, 168, _)            // private
            | (198, 18..=19, _)        // benchmarking
            | (198, 51, 100)           // documentation
            | (203, 0, 113)            // documentation
            | (224..=255, _, _) // multicast, reserved, broadcast
    );
    !reserved
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    match (a, b) {
        // NAT64 and 6to4 carry an IPv4 address, which is what counts.
        (0x0064, 0xff9b) => {
            let [.., c, d] = address.segments();
            is_public_v4(Ipv4Addr::from((u32::from(c) << 16) | u32::from(d)))
        }
        (0x2002, _) => {
            let [_, c, d, ..] = address.segments();
            is_public_v4(Ipv4Addr::from((u32::from(c) << 16) | u32::from(d)))
        }
        // Teredo, benchmarking, ORCHID, documentation.
        (0x2001, 0x0000..=0x01ff | 0x0db8) | (0x3fff, 0x0000..=0x0fff) => false,
        // Global unicast is 2000::/3; the rest is loopback, unique local, link-local, multicast or unassigned.
        (0x2000..=0x3fff, _) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_pass() {
        for address in ["1.1.1.1", "52.215.16.239", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"] {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
        for address in [
            "127.0.0.1",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.100.100.200",
            "192.0.0.192",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "fe80::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "64:ff9b::7f00:1",
            "2001::1",
        ] {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
    }
}
