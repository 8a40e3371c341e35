"""Segments of the address space.  Owns: which addresses have the same evidence.
Knows: the layers of geo's atlas.  Never: JSON, what the evidence is."""

from __future__ import annotations

from typing import NamedTuple

from gateway import geo
from gateway.evidence.texts import range_text
from gateway.flow.epoch import Atlas


class Segment(NamedTuple):
    """A range of addresses around one for which all sources say the same."""

    words: int
    """What they say: the same number, the same words in one atlas, prefixes aside."""
    first: bytes
    """The range's first address; b"" where the words have prefixes of their own."""
    last: bytes

    @property
    def prefix(self) -> str:
        """The range as text; "" where there is none."""
        return range_text(self.first, self.last) if self.first else ""


def segment_of(atlas: Atlas, address: bytes) -> Segment | None:
    """Give the segment that `atlas.evidence(address, widest=False)` rests on.

    Args:    address: 4 or 16 octets.
    Returns: None where it rests on more: on addresses inside the address, or on databases of the
             user's, whose networks are others; or if the atlas is of another kind.
    """
    if not isinstance(atlas, geo.Atlas):
        return None
    layers = atlas.layers
    if layers.databases or not (len(address) == 4 or layers.spellings.is_plain(address)):
        return None
    part = layers.v4 if len(address) == 4 else layers.v6
    position = part.find(int.from_bytes(address))
    words = part.numbers[position]
    if words >= layers.tuple_count:
        return Segment(words, b"", b"")
    octets = len(address)
    return Segment(
        words, part.start(position).to_bytes(octets), part.last(position).to_bytes(octets)
    )
