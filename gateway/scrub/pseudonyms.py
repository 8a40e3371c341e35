"""Pseudonyms.  Owns: an identifier's value ⇄ another value of the same shape, under one key.
Knows: FF1, cycle walking (Black and Rogaway 2002).  Never: whose key, which day, where it stands.
"""

from __future__ import annotations

from collections import OrderedDict

from gateway.errors import CarryError
from gateway.model import Form, IdentifierKind
from gateway.scrub.alphabets import Shape, shape_of
from gateway.scrub.ff1 import Ff1

# A ping shows the same two values every time.  Beyond this those not asked for longest are found
# anew: forgetting changes no pseudonym.
_MAX_REMEMBERED = 16_384
_MAX_PERMUTATIONS = 1_024
# No name or account of the vendor's is longer; what is takes too long to exchange.
_MAX_TEXT_LEN = 255

_Asked = tuple[bytes, IdentifierKind, Form, bool]


class Pseudonyms:
    """A bijection for each kind and shape of values: two never share a pseudonym."""

    def __init__(self, key: bytes) -> None:
        """Begin.

        Args:    key: 32 octets.
        """
        self._key = key
        self._permutations: OrderedDict[tuple[IdentifierKind, str], Ff1] = OrderedDict()
        self._remembered: OrderedDict[_Asked, bytes] = OrderedDict()

    def instead(
        self, octets: bytes, kind: IdentifierKind, form: Form, *, back: bool = False
    ) -> bytes:
        """Give the pseudonym of a value, or what a pseudonym stands for; of the same length.

        Raises:  CarryError: there are too few values of its shape, or it has none that is known.
        """
        asked = octets, kind, form, back
        found = self._remembered.get(asked)
        if found is None:
            shape = None if len(octets) > _MAX_TEXT_LEN else shape_of(octets, form)
            if shape is None:
                what = f"a {kind} of {len(octets)} octets ({form})"
                raise CarryError("scrub", f"{what} has no pseudonym: too few values are like it")
            found = self._remembered[asked] = self._exchanged(octets, kind, shape, back)
            if len(self._remembered) > _MAX_REMEMBERED:
                self._remembered.popitem(last=False)
        else:
            self._remembered.move_to_end(asked)
        return found

    def _exchanged(self, octets: bytes, kind: IdentifierKind, shape: Shape, back: bool) -> bytes:
        permutation = self._permutation(kind, shape)
        step = permutation.decrypt if back else permutation.encrypt
        number = step(shape.number_of(octets))
        # The permutation's cycle comes back to the value itself at the latest, which is held.
        while not shape.holds(number):
            number = step(number)
        return shape.octets_of(number)

    def _permutation(self, kind: IdentifierKind, shape: Shape) -> Ff1:
        which = kind, shape.name
        found = self._permutations.get(which)
        if found is None:
            tweak = f"{kind} {shape.name}".encode()
            found = self._permutations[which] = Ff1(self._key, shape.radix, shape.length, tweak)
            if len(self._permutations) > _MAX_PERMUTATIONS:
                self._permutations.popitem(last=False)
        return found
