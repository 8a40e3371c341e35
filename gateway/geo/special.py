"""Special-purpose addresses: in nobody's jurisdiction, whatever a data source says.
Owns: the table and its sentences.  Knows: the IANA IPv4 and IPv6 special-purpose address
registries (RFC 6890), RFC 4291, RFC 5771.
Never: `ipaddress.is_global`, which says yes to fec0::, 3fff::, 5f00:: and multicast."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Special:
    """One entry of the table."""

    network: Network
    name: str
    rfc: str
    is_spelling: bool = False
    """Its addresses only spell others: they have no place of their own, and no doubt either."""

    @property
    def doubt(self) -> str:
        """Why such an address has no evidence."""
        return f"{self.name} ({self.rfc}, {self.network}): in nobody's jurisdiction"


def table() -> tuple[Special, ...]:
    """Give all entries; where they nest, the most specific one holds."""
    return tuple(
        Special(ipaddress.ip_network(network), name, rfc, is_spelling)
        for rows, is_spelling in ((_IPV4, False), (_IPV6, False), (_SPELLINGS, True))
        for network, name, rfc in rows
    )


_IPV4 = (
    ("0.0.0.0/8", "this network", "RFC 791"),
    ("10.0.0.0/8", "a private address", "RFC 1918"),
    ("100.64.0.0/10", "shared address space behind a carrier's NAT", "RFC 6598"),
    ("127.0.0.0/8", "loopback", "RFC 1122"),
    ("169.254.0.0/16", "link-local", "RFC 3927"),
    ("172.16.0.0/12", "a private address", "RFC 1918"),
    ("192.0.0.0/24", "IETF protocol assignments", "RFC 6890"),
    ("192.0.0.0/29", "IPv4 service continuity", "RFC 7335"),
    ("192.0.0.8/32", "the dummy address", "RFC 7600"),
    ("192.0.0.9/32", "Port Control Protocol anycast", "RFC 7723"),
    ("192.0.0.10/32", "TURN anycast", "RFC 8155"),
    ("192.0.0.170/31", "NAT64 discovery", "RFC 8880"),
    ("192.0.2.0/24", "documentation", "RFC 5737"),
    ("192.31.196.0/24", "AS112 anycast", "RFC 7535"),
    ("192.52.193.0/24", "automatic multicast tunnelling anycast", "RFC 7450"),
    ("192.88.99.0/24", "6to4 relay anycast, deprecated", "RFC 7526"),
    ("192.168.0.0/16", "a private address", "RFC 1918"),
    ("192.175.48.0/24", "AS112 anycast", "RFC 7534"),
    ("198.18.0.0/15", "benchmarking", "RFC 2544"),
    ("198.51.100.0/24", "documentation", "RFC 5737"),
    ("203.0.113.0/24", "documentation", "RFC 5737"),
    ("224.0.0.0/4", "multicast", "RFC 5771"),
    ("240.0.0.0/4", "reserved", "RFC 1112"),
    ("255.255.255.255/32", "limited broadcast", "RFC 919"),
)

_IPV6 = (
    # Only 2000::/3 is global unicast so far.  The three networks are the rest.
    ("::/3", "reserved by the IETF", "RFC 4291"),
    ("4000::/2", "reserved by the IETF", "RFC 4291"),
    ("8000::/1", "reserved by the IETF", "RFC 4291"),
    ("::/128", "the unspecified address", "RFC 4291"),
    ("::1/128", "loopback", "RFC 4291"),
    ("64:ff9b:1::/48", "local-use IPv4/IPv6 translation", "RFC 8215"),
    ("100::/64", "discard-only", "RFC 6666"),
    ("100:0:0:1::/64", "the dummy prefix", "RFC 9780"),
    ("2001::/23", "IETF protocol assignments", "RFC 2928"),
    ("2001:1::1/128", "Port Control Protocol anycast", "RFC 7723"),
    ("2001:1::2/128", "TURN anycast", "RFC 8155"),
    ("2001:1::3/128", "DNS-SD registration anycast", "RFC 9665"),
    ("2001:2::/48", "benchmarking", "RFC 5180"),
    ("2001:3::/32", "automatic multicast tunnelling anycast", "RFC 7450"),
    ("2001:4:112::/48", "AS112 anycast", "RFC 7535"),
    ("2001:10::/28", "ORCHID, deprecated", "RFC 4843"),
    ("2001:20::/28", "ORCHIDv2", "RFC 7343"),
    ("2001:30::/28", "drone remote identification", "RFC 9374"),
    ("2001:db8::/32", "documentation", "RFC 3849"),
    ("2620:4f:8000::/48", "AS112 anycast", "RFC 7534"),
    ("3fff::/20", "documentation", "RFC 9637"),
    ("5f00::/16", "segment routing identifiers", "RFC 9602"),
    ("fc00::/7", "unique-local", "RFC 4193"),
    ("fe80::/10", "link-local", "RFC 4291"),
    ("fec0::/10", "site-local, deprecated", "RFC 3879"),
    ("ff00::/8", "multicast", "RFC 4291"),
)

# What spellings.py takes apart.
_SPELLINGS = (
    ("::/96", "IPv4-compatible, deprecated", "RFC 4291"),
    ("::ffff:0:0/96", "IPv4-mapped", "RFC 4291"),
    ("::ffff:0:0:0/96", "IPv4-translated", "RFC 2765"),
    ("64:ff9b::/96", "NAT64", "RFC 6052"),
    ("2001::/32", "Teredo", "RFC 4380"),
    ("2002::/16", "6to4", "RFC 3056"),
)
