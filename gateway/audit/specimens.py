"""Packets in question.  Owns: one example of each kind of message that showed identifiers, with
their octets masked.  Never: an identifier."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass

from gateway.audit.flows import Side, name_of
from gateway.model import Content

# A page's worth; the kinds of message of all protocols that are known are fewer.
_MAX_SPECIMENS = 64
_MAX_OCTETS = 512
# Shorter values stand by chance in other places.
_MIN_VALUE_LEN = 3


@dataclass(frozen=True, slots=True)
class Specimen:
    """One packet that showed identifiers."""

    file: str
    """"" where there is one only."""
    frame: int
    """Its number in its file, from 1."""
    time_s: float
    flow: str
    is_from_client: bool
    protocol: str
    message: str
    found: tuple[tuple[str, int, int], ...]
    """Kind, offset, length."""
    octets: tuple[int | None, ...]
    """The payload's first; None: masked."""
    length: int
    """The whole payload's."""


class Specimens:
    """Examples, the first one met of each kind."""

    def __init__(self, file: Callable[[], str]) -> None:
        """Begin.

        Args:    file: gives the name of the file that is read now.
        """
        self.file = file
        self._known: dict[Hashable, Specimen] = {}

    def take(self, frame: int, time_s: float, side: Side, content: Content, payload: bytes) -> None:
        """Keep a packet if it is the first of its kind and there is room."""
        found = content.plaintext or ()
        kind = (content.protocol, content.message, tuple(one.kind for one in found[:16]))
        if kind in self._known or len(self._known) >= _MAX_SPECIMENS:
            return
        self._known[kind] = Specimen(
            self.file(),
            frame,
            time_s,
            str(side.flow.key),
            side.is_client,
            str(content.protocol),
            name_of(content),
            tuple((str(one.kind), one.offset, one.length) for one in found),
            masked(payload, content)[:_MAX_OCTETS],
            len(payload),
        )

    def all(self) -> list[Specimen]:
        """Give the examples, in the order they were met."""
        return list(self._known.values())


def masked(payload: bytes, content: Content) -> tuple[int | None, ...]:
    """Give a payload's octets, None for those of an identifier, also where its value stands once
    more."""
    octets: list[int | None] = list(payload)
    spans = {(one.offset, one.offset + one.length) for one in content.plaintext or ()}
    values = {payload[start:end] for start, end in spans if end - start >= _MIN_VALUE_LEN}
    for value in values:
        at = payload.find(value)
        while at >= 0:
            spans.add((at, at + len(value)))
            at = payload.find(value, at + 1)
    for start, end in spans:
        octets[start:end] = [None] * (min(end, len(payload)) - start)
    return tuple(octets)
