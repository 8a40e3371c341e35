"""What a rule looks at.  Owns: the facts of one flow as conditions ask for them, with and without
names.  Knows: the doctrine that names count for blocking and never for allowing.
Never: rules, actions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.model import Facts, Protocol
from gateway.policy.jurisdiction import Jurisdiction
from gateway.policy.truth import Truth

# A name can hide in these: encrypted client hello, an Initial we did not open, an unknown protocol.
_MAY_HIDE_A_NAME = frozenset({Protocol.TLS, Protocol.QUIC, Protocol.UNKNOWN})


@dataclass(slots=True)
class Subject:
    """One flow's facts, as seen by conditions."""

    facts: Facts
    truths: Mapping[str, Truth]
    """Membership by jurisdiction, names aside."""
    jurisdictions: Mapping[str, Jurisdiction]
    with_names: bool = True
    """Whether names are evidence in this look; see Policy."""

    def member(self, jurisdiction: str) -> Truth:
        """Say whether the destination belongs to a jurisdiction."""
        truth = self.truths[jurisdiction]
        if truth is not True and self.with_names and self.facts.names:
            names = self.jurisdictions[jurisdiction].names
            if names and names.matching(self.facts.names):
                return True
        return truth

    @property
    def names_are_known(self) -> bool:
        """Whether a name that was not found is known to be absent."""
        content = self.facts.content
        return bool(self.facts.names) or (
            content is not None and content.protocol not in _MAY_HIDE_A_NAME
        )
