"""The tree of a MaxMind DB file.  Owns: the walk through all its networks.
Knows: MaxMind DB File Format 2.0, "Binary Search Tree Section".  Never: records, look-ups."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from typing import NamedTuple

# Parts of a tree may stand under several prefixes; damaged ones, under 2^100.
_MAX_VISITS_PER_NODE = 8


class Leaf(NamedTuple):
    """A network with a record."""

    first: int
    last: int
    pointer: int
    """The same for the same record."""


class Tree:
    """The tree, as it lies in the file."""

    def __init__(self, octets: mmap.mmap, *, node_count: int, record_size: int) -> None:
        """Take a file.

        Args:    record_size: in bits.
        Raises:  ValueError: the file is too short for its nodes, or of an unknown form.
        """
        if record_size not in (24, 28, 32) or node_count * record_size // 4 > len(octets):
            raise ValueError("no such tree fits into the file")
        self._octets, self._node_count, self._record_size = octets, node_count, record_size

    def leaves(self, bits: int, *, has_ipv6: bool) -> Iterator[Leaf]:
        """Give the networks of a family that have a record, ascending.

        Args:    bits: 32 or 128.
                 has_ipv6: the tree is of 128 bits; that of IPv4 hangs at ::/96 then, and wherever
                 else it hangs it is passed over.
        Raises:  ValueError: it is no tree, or deeper than an address.
        """
        ipv4 = self._below(96) if has_ipv6 else 0
        if bits == 32:
            yield from self._walk(ipv4, bits, None)
        elif has_ipv6:
            yield from self._walk(0, bits, ipv4)

    def _below(self, depth: int) -> int:
        node = 0
        for _ in range(depth):
            if node >= self._node_count:
                break
            node = self._children(node)[0]
        return node

    def _walk(self, root: int, bits: int, without: int | None) -> Iterator[Leaf]:
        left = (self._node_count + 1) * _MAX_VISITS_PER_NODE
        to_visit = [(root, 0, bits)]
        while to_visit:
            node, first, below = to_visit.pop()
            left -= 1
            if left < 0 or below < 0:
                raise ValueError("its tree has more, or deeper, branches than it has nodes")
            if node > self._node_count:
                yield Leaf(first, first + (1 << below) - 1, node)
            elif node < self._node_count and node != without:
                one, other = self._children(node)
                below -= 1
                to_visit.append((other, first + (1 << below if below >= 0 else 0), below))
                to_visit.append((one, first, below))

    def _children(self, node: int) -> tuple[int, int]:
        length = self._record_size // 4
        octets = self._octets[node * length : (node + 1) * length]
        if self._record_size != 28:
            half = length // 2
            return int.from_bytes(octets[:half]), int.from_bytes(octets[half:])
        middle = octets[3]
        one = (middle & 0xF0) << 20 | int.from_bytes(octets[:3])
        return one, (middle & 0x0F) << 24 | int.from_bytes(octets[4:])
