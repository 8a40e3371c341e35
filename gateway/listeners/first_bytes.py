"""A client's first bytes in one stream.  Owns: holding them, how often they are looked at, keeping
those that were sent on.  Knows: nothing of protocols.  Never: judging them, timers."""

from __future__ import annotations

from collections.abc import Callable

# A look costs time for each octet held, and whoever sends octet by octet asks for one each time.
# So the octets that may be looked at are bounded by those that came: this many without asking
# (a head of 350 octets may come octet by octet), and so many for each octet (a head of any length
# may come in packets).  Beyond that looks wait, each for twice as long as the one before.
_FREE_LEN = 64 * 1024
_LOOKS_PER_OCTET = 8
_FIRST_WAIT_S = 0.1


class FirstBytes:
    """Held until they are judged and their server is there; kept for the policies to come."""

    def __init__(self, limit: int, wants_more: Callable[[bytes], bool]) -> None:
        """Begin without any.

        Args:    limit: octets that are enough whatever they are, and that are kept.
        """
        self._limit = limit
        self._wants_more = wants_more
        self._held = bytearray()
        self._kept = bytearray()
        self._looked_len = 0
        self._wait_s = _FIRST_WAIT_S

    def __len__(self) -> int:
        """Octets that are held."""
        return len(self._held)

    def hold(self, data: bytes) -> None:
        """Hold what the client said."""
        self._held += data

    @property
    def may_be_looked_at(self) -> bool:
        """Whether a look is due now; else after wait_s()."""
        length = len(self._held)
        bound = _FREE_LEN + _LOOKS_PER_OCTET * length
        return length >= self._limit or self._looked_len + length <= bound

    def wait_s(self) -> float:
        """Seconds until the next look, if it is not due now."""
        wait_s, self._wait_s = self._wait_s, self._wait_s * 2
        return wait_s

    def are_enough(self) -> bool:
        """Look at them: can they be judged, or could more make them clearer?"""
        if len(self._held) >= self._limit:
            return True
        self._looked_len += len(self._held)
        return not self._wants_more(bytes(self._held))

    @property
    def judged(self) -> bytes:
        """What a stream is judged by: its first bytes, sent on or held; at most the limit."""
        return bytes(self._kept) or bytes(self._held[: self._limit])

    def release(self) -> bytes:
        """Give what was held, to be sent on."""
        held, self._held = bytes(self._held), bytearray()
        return held

    def keep(self, data: bytes) -> None:
        """Keep what is sent on, as long as it belongs to the first bytes."""
        room = self._limit - len(self._kept)
        if room > 0:
            self._kept += data[:room]
