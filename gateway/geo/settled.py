"""Networks whose place is settled before any source is asked: special-purpose ranges, configured
NAT64 prefixes, overrides.  Owns: their places and evidence, and who wins over whom.
Never: looking addresses up, files, today."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gateway.errors import DataError
from gateway.geo.partition import Partition, Piece, flattened
from gateway.geo.places import Places, Words, joined, of_axis
from gateway.geo.sources import Override
from gateway.geo.special import Network, Special
from gateway.model import Axis, Evidence, Place

_COUNTRY = re.compile(r"[A-Z]{2}")
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")


@dataclass(frozen=True, slots=True)
class Settled:
    """One network and all that there is to say of it."""

    network: Network
    place: Place
    evidence: tuple[Evidence, ...] = ()
    is_spelling: bool = False
    """Only the addresses inside its addresses are judged."""


def of_special(entry: Special, places: Places) -> Settled:
    """Settle one special-purpose range: no value, and a doubt that says why."""
    doubts = () if entry.is_spelling else (entry.doubt,)
    place = places.make(Words(doubts=doubts))
    return Settled(entry.network, place, is_spelling=entry.is_spelling)


def of_nat64(
    prefixes: Iterable[ipaddress.IPv6Network], table: Iterable[Special], places: Places
) -> list[Settled]:
    """Settle the configured NAT64 prefixes that lie in special-purpose ranges (RFC 8215, ULA).

    One in global unicast space keeps its own evidence: it stands in a network that has a place.
    """
    networks = [entry.network for entry in table if entry.network.version == 6]
    return [
        Settled(prefix, places.make(Words()), is_spelling=True)
        for prefix in prefixes
        if any(prefix.subnet_of(network) for network in networks if network.version == 6)
    ]


def of_overrides(overrides: Sequence[Override], places: Places) -> list[Settled]:
    """Settle the operator's own words.

    Raises:  DataError: not a network, not a country, no axis, or two about one network.
    """
    settled = [_of_override(override, places) for override in overrides]
    networks = [each.network for each in settled]
    for network in networks:
        if networks.count(network) > 1:
            raise _fault(str(network), "has two overrides", "one")
    return settled


def _of_override(override: Override, places: Places) -> Settled:
    network = _network(override.network)
    said = {
        Axis.LOCATION: override.location,
        Axis.REGISTRATION: override.registration or override.location,
        Axis.OPERATOR: override.operator or override.location,
    }
    values = {axis: value for axis, value in said.items() if value}
    for value in values.values():
        if not _COUNTRY.fullmatch(value):
            raise _fault(override.network, f"{value!r}", "two capital letters, such as US")
    if not values:
        raise _fault(override.network, "says nothing", "location, registration or operator")
    source = f"override: {override.reason}"
    evidence = (Evidence(axis, value, source, "", str(network)) for axis, value in values.items())
    words = joined([of_axis(axis, value) for axis, value in values.items()])
    return Settled(network, places.make(words), tuple(evidence))


def _network(text: str) -> Network:
    try:
        network = ipaddress.ip_network(text)
    except ValueError as exc:
        raise _fault(text, str(exc), "a network such as 203.0.113.0/24") from exc
    if isinstance(network, ipaddress.IPv6Network) and network.subnet_of(_MAPPED):
        # Addresses are judged in canonical form, so a mapped network means its IPv4 network.
        octets = network.network_address.packed[12:]
        return ipaddress.IPv4Network((octets, network.prefixlen - 96))
    return network


def _fault(network: str, what: str, expected: str) -> DataError:
    return DataError(f"override of {network}", what, expected)


def laid_over(
    partition: Partition, layers: Sequence[Sequence[Settled]], first_number: int
) -> Partition:
    """Lay settled networks over a partition; a later layer wins over an earlier one.

    Args:    first_number: the number of the first network of the first layer; they count upwards.
    """
    number = first_number
    for layer in layers:
        pieces = [
            Piece(int(each.network.network_address), int(each.network.broadcast_address), at)
            for at, each in enumerate(layer, number)
            if each.network.max_prefixlen == partition.bits
        ]
        partition = partition.overlaid(flattened(pieces))
        number += len(layer)
    return partition
