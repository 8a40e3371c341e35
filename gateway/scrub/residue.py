"""What a rewritten datagram must not hold.  Owns: the identifiers that were seen of one client, and
whether one is still in a datagram, in any encoding.  Knows: gateway.leaks' search by value.
Never: where identifiers should be."""

from __future__ import annotations

from collections import OrderedDict

from gateway.leaks.values import Given, Values, compile_values
from gateway.model import Form, IdentifierKind
from gateway.scrub.alphabets import varint

# A client has one user id, a few rooms, sessions and descriptions of its device; the others are
# those of the people that it hears.
_MAX_VALUES = 128
_MAX_HEARD = 64
_MIN_TEXT_LEN = 4
# Smaller numbers, and their encodings of four octets, stand among zeros everywhere.
_MIN_NUMBER = 1 << 20
# Of a place that chance explains nothing is said: random octets of media hold four given ones now
# and then.
_MAX_CHANCE = 1e-3


class Residue:
    """Looks for values that pseudonyms stand for."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, None] = OrderedDict()
        self._values: Values | None = None

    def learn(self, originals: tuple[tuple[bytes, Form], ...], *, heard: bool = False) -> None:
        """Take note of values that have pseudonyms; the newest are remembered.

        Args:    heard: they came from the far side, which may have any number of them: only the
                 first are remembered.
        """
        if heard and len(self._known) >= _MAX_HEARD:
            return
        texts = (_text(octets, form) for octets, form in originals)
        new = [text for text in texts if text is not None and text not in self._known]
        if not new:
            return
        self._known.update(dict.fromkeys(new))
        while len(self._known) > _MAX_VALUES:
            self._known.popitem(last=False)
        self._values = compile_values(Given(IdentifierKind.GIVEN, text) for text in self._known)

    def left_in(self, payload: bytes) -> str | None:
        """Give the encoding in which a value is still there; None: none is."""
        hits = () if self._values is None else self._values.find(payload)
        return next((hit.encoding for hit in hits if hit.chance < _MAX_CHANCE), None)


def _text(octets: bytes, form: Form) -> str | None:
    """Give a value as the search has it; None: it is too common to be looked for."""
    if form is Form.TEXT:
        return _of_text(octets) if len(octets) >= _MIN_TEXT_LEN else None
    read = {
        Form.U32: lambda: int.from_bytes(octets, "little"),
        Form.VARINT: lambda: varint(octets),
        Form.DIGITS: lambda: int(octets),
    }
    number = read[form]()
    return str(number) if number >= _MIN_NUMBER else None


def _of_text(octets: bytes) -> str:
    """Have a text that reads as a small number, or as a digest, looked for as octets."""
    is_small = octets.isdigit() and int(octets) < _MIN_NUMBER
    return f"hex:{octets.hex()}" if is_small or b":" in octets else octets.decode("ascii")
