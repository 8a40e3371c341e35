"""A reading position in octets.  Owns: integers and slices, each checked against the end.
Knows: network and little-endian order.  Never: what the octets mean."""

from __future__ import annotations

from gateway.errors import WireError


class Cursor:
    """Octets, and how far they were read.

    Every reading method raises WireError where the octets end too early, and moves on otherwise.
    """

    __slots__ = ("at", "data", "end")

    def __init__(self, data: bytes, at: int = 0, end: int | None = None) -> None:
        self.data = data
        self.at = at
        """The next octet's offset in `data`."""
        self.end = len(data) if end is None else min(end, len(data))

    @property
    def left(self) -> int:
        """Octets not read yet."""
        return self.end - self.at

    def skip(self, length: int) -> int:
        """Pass over octets; returns the offset of the first of them."""
        start = self.at
        if length > self.end - start:
            raise WireError("octets end", start, f"{length} more")
        self.at = start + length
        return start

    def take(self, length: int) -> bytes:
        """Read octets."""
        start = self.skip(length)
        return self.data[start : self.at]

    def u8(self) -> int:
        """Read one octet."""
        at = self.at
        if at >= self.end:
            raise WireError("octets end", at, "1 more")
        self.at = at + 1
        return self.data[at]

    def big(self, length: int) -> int:
        """Read an unsigned integer in network order."""
        at = self.at
        if length > self.end - at:
            raise WireError("octets end", at, f"{length} more")
        self.at = end = at + length
        return int.from_bytes(self.data[at:end], "big")

    def little(self, length: int) -> int:
        """Read an unsigned integer, little-endian."""
        return int.from_bytes(self.take(length), "little")

    def part(self, length: int) -> Cursor:
        """Give a cursor over the next octets, in the same coordinates, and pass over them."""
        start = self.skip(length)
        return Cursor(self.data, start, self.at)
