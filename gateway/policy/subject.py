"""What a rule looks at.  Owns: the facts of one flow as conditions ask for them, for each of its
addresses, with and without names.
Knows: the doctrine that names count for blocking and never for allowing.  Never: rules, actions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.model import Facts, Place, Protocol
from gateway.policy.jurisdiction import Jurisdiction
from gateway.policy.truth import Truth

# A name can hide in these: a hello without a server name, an Initial that does not open, an
# unknown protocol.
_MAY_HIDE_A_NAME = frozenset({Protocol.TLS, Protocol.QUIC, Protocol.UNKNOWN})


@dataclass(slots=True)
class Subject:
    """One flow's facts, as seen by conditions, which look at one address at a time.  Not frozen,
    since one is made for each decision and a frozen one takes three times as long to make; nobody
    changes it all the same."""

    facts: Facts
    address: bytes
    """The destination's, or one that is judged with it."""
    place: Place
    """That address's."""
    members: Mapping[str, Truth]
    """Whether the address belongs to each jurisdiction."""
    jurisdictions: Mapping[str, Jurisdiction]
    nameless_members: Mapping[str, Truth] | None
    """The same, names aside; None: this subject is looked at without names."""
    named: frozenset[str] = frozenset()
    """Jurisdictions that the address belongs to by a name only."""
    further: tuple[Subject, ...] = ()
    """Of the destination's: the same flow for each address that is judged with it."""

    @property
    def with_names(self) -> bool:
        """Whether names are evidence in this look."""
        return self.nameless_members is not None

    @property
    def is_further(self) -> bool:
        """Whether it looks at another address than the destination's."""
        return self.address != self.facts.key.destination.address

    def nameless(self) -> Subject:
        """Give the same flow and address, looked at without names."""
        members = self.members if self.nameless_members is None else self.nameless_members
        return Subject(self.facts, self.address, self.place, members, self.jurisdictions, None)

    @property
    def names_are_known(self) -> bool:
        """Whether a name that was not found is known to be absent."""
        content = self.facts.content
        if content is None:
            return False
        # A name that the client asked for does not tell which one its payload hides.
        if content.plaintext is None or content.may_show_more or content.hides_name:
            return False  # what could not be read may hold a name too
        return bool(content.names) or content.protocol not in _MAY_HIDE_A_NAME


def subject_of(
    facts: Facts,
    address: bytes,
    place: Place,
    members: Mapping[str, Truth],
    jurisdictions: Mapping[str, Jurisdiction],
) -> Subject:
    """Make the subject of a flow and one of its addresses, with names as evidence.

    Args:    members: the address's membership by jurisdiction, names aside.
    """
    if not facts.names:
        return Subject(facts, address, place, members, jurisdictions, members)
    named = frozenset(
        name
        for name, one in jurisdictions.items()
        if members[name] is not True and one.names and one.names.matching(facts.names)
    )
    with_names = {**members, **dict.fromkeys(named, True)} if named else members
    return Subject(facts, address, place, with_names, jurisdictions, members, named)
