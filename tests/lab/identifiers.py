"""Identifiers on the wire.  Owns: what a capture's clients say of persons, looked for in frames.
Knows: the recognisers.  Never: whether it may be there."""

from __future__ import annotations

from collections.abc import Iterable

from gateway.demo.conversation import Conversation
from gateway.demo.tap import spellings
from gateway.evidence.frame import Frame
from gateway.wire import recognise

# Forms as short as this show up by chance in what is encrypted: six of them in half a megabyte once
# in 1,400 captures.
_SHORT_LEN = 4


class Identifiers:
    """The values of all identifiers that a capture's clients sent in plaintext."""

    def __init__(self, conversations: Iterable[Conversation]) -> None:
        self.values = frozenset(
            said.payload[one.offset : one.offset + one.length]
            for talk in conversations
            for said in talk.of_client()
            for one in recognise(
                talk.key.transport, said.payload, talk.key.destination.port
            ).plaintext
            or ()
        )
        forms = {form for value in self.values for form in spellings(value)}
        self._long = sorted(form for form in forms if len(form) > _SHORT_LEN)
        self._short = sorted(form for form in forms if len(form) == _SHORT_LEN)

    def shown(self, frames: Iterable[Frame]) -> list[Frame]:
        """Give the frames in which any of them can be read, in any spelling."""
        return _showing(frames, self._long + self._short)

    def leaked(self, frames: Iterable[Frame], encrypted: Iterable[Frame]) -> list[Frame]:
        """Give the frames in which any of them can be read, chance aside.

        Args:    encrypted: those of the frames that are said to be; a single one of them that shows
                 nothing but a short form is chance, two are not.
        """
        sealed = {frame.number for frame in encrypted}
        found = self.shown(frames)
        by_chance = [frame for frame in found if frame.number in sealed]
        if len(by_chance) == 1 and not _showing(by_chance, self._long):
            found.remove(by_chance[0])
        return found


def _showing(frames: Iterable[Frame], forms: list[bytes]) -> list[Frame]:
    return [frame for frame in frames if any(form in frame.octets for form in forms)]
