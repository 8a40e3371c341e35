"""What a payload shows by value.  Owns: given and learned values in a payload → its content; how
much of chance is let pass.  Knows: the leak finders' values.
Never: values in anything it gives; what was seen before."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from gateway.leaks import Hit, Values
from gateway.model import Content, Identifier, IdentifierKind

PERHAPS = 1e-3
"""Of a flow's first datagram: so many flows at the most are taken for what they are not, which a
wrap costs nothing; a ping is told by its first datagram or never."""
SURELY = 1e-9
"""Of any later datagram: a gateway sees a billion of them in hours."""


def given_in(values: Values, payload: bytes, chance: float) -> tuple[Identifier, ...]:
    """Give the given values that a payload shows, by their own kinds and as `given`.

    Args:    chance: what octets of chance would show likelier than this is left out.
    """
    return identifiers(hit for hit in values.find(payload) if hit.chance <= chance)


def identifiers(hits: Iterable[Hit]) -> tuple[Identifier, ...]:
    """Give hits as identifiers: of the kind that the operator named, and as `given`."""
    found = []
    for hit in hits:
        if hit.kind is not IdentifierKind.GIVEN:
            found.append(Identifier(hit.kind, hit.offset, hit.length))
        found.append(Identifier(IdentifierKind.GIVEN, hit.offset, hit.length))
    return tuple(found)


def showing(content: Content, found: tuple[Identifier, ...]) -> Content:
    """Give a content that shows identifiers besides its own, each place of a kind once."""
    if not found:
        return content
    own = content.plaintext or ()
    new = [one for one in found if one not in own]
    return replace(
        content,
        plaintext=tuple(sorted((*own, *new), key=lambda one: one.offset)),
        may_show_more=content.plaintext is None or content.may_show_more,
    )
