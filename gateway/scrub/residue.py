"""What a rewritten datagram must not hold.  Owns: the identifiers that were seen of one client, and
whether one is still in a datagram, in any encoding.  Knows: gateway.leaks' encodings.
Never: where identifiers should be."""

from __future__ import annotations

from collections import OrderedDict

from gateway.leaks.encodings import encodings, of_octets
from gateway.model import Form
from gateway.scrub.alphabets import varint

# A client has one user id, a few rooms, sessions and descriptions of its device; the others are
# those of the people that it hears.  Each costs some µs a datagram.
_MAX_VALUES = 48
_MAX_HEARD = 32
# Random octets of media hold a shorter one every few datagrams.
_MIN_LEN = 4
# Smaller numbers, and their encodings of four octets, stand among zeros everywhere.
_MIN_NUMBER = 1 << 20

_Value = tuple[bytes, Form]


class Residue:
    """Looks for values that pseudonyms stand for."""

    def __init__(self) -> None:
        # Plain searches, no automaton: that would be built anew for each value, and a client can
        # send a new one in every datagram.
        self._known: OrderedDict[_Value, dict[bytes, str]] = OrderedDict()

    def learn(self, originals: tuple[_Value, ...], *, heard: bool = False) -> None:
        """Take note of values that have pseudonyms; the newest are remembered.

        Args:    heard: they came from the far side, which may have any number of them: only the
                 first are remembered.
        """
        for value in originals:
            if value in self._known or (heard and len(self._known) >= _MAX_HEARD):
                continue
            written = _encodings(*value)
            self._known[value] = {
                octets: name for octets, name in written.items() if len(octets) >= _MIN_LEN
            }
            if len(self._known) > _MAX_VALUES:
                self._known.popitem(last=False)

    def left_in(self, payload: bytes) -> str | None:
        """Give the encoding in which a value is still there; None: none is."""
        for written in self._known.values():
            for octets in written:
                if octets in payload:
                    return written[octets]
        return None


def _encodings(octets: bytes, form: Form) -> dict[bytes, str]:
    """Give the ways to write a value; none if it is too common to be looked for."""
    if form is Form.TEXT:
        is_small = octets.isdigit() and int(octets) < _MIN_NUMBER
        return of_octets(octets) if is_small else encodings(octets.decode("ascii"))
    if form is Form.U32:
        number = int.from_bytes(octets, "little")
    else:
        number = varint(octets) if form is Form.VARINT else int(octets)
    return encodings(str(number)) if number >= _MIN_NUMBER else {}
