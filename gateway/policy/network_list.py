"""Files of networks.  Owns: one network a line → ranges, with every fault at its line.
Knows: networks.  Never: YAML; which jurisdiction they belong to."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from gateway.document import octets_of
from gateway.errors import AddressError, InputError, Problem
from gateway.policy.networks import AddressRange, address_range

# All of today's IPv4 routing table has 16 MB.
_MAX_OCTETS = 64 << 20
# Whoever has more faults than this has given the wrong file.
_MAX_PROBLEMS = 100


@dataclass(frozen=True, slots=True)
class NetworkList:
    """A file of networks, read."""

    path: Path
    ranges: tuple[AddressRange, ...]
    digest: str
    """Of its octets."""


def read_networks(path: Path) -> NetworkList:
    """Read a file of networks, addresses and ranges: one a line; behind "#" is comment.

    Raises:  InputError: unreadable, or with every line that is at fault.
    """
    octets = octets_of(path, _MAX_OCTETS)
    ranges: list[AddressRange] = []
    problems: list[Problem] = []
    # Latin-1 takes every octet; one that is not ASCII is no part of an address, or is comment.
    for number, line in enumerate(octets.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        text = line.partition(b"#")[0].strip().decode("latin-1")
        if not text:
            continue
        try:
            ranges.append(address_range(text))
        except AddressError as error:
            problems.append(Problem(str(path), number, _column(line), str(error)))
            if len(problems) == _MAX_PROBLEMS:
                problems.append(Problem(str(path), number + 1, 0, "what follows was not read"))
                break
    if problems:
        raise InputError(problems)
    return NetworkList(path, tuple(ranges), hashlib.sha256(octets).hexdigest())


def _column(line: bytes) -> int:
    return len(line) - len(line.lstrip()) + 1
