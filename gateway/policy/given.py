"""Flows as people give them.  Owns: one flow of a case or a question, with what is known of it.
Knows: nothing but the words.  Never: looking anything up; files."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.model import Axis, Content, Evidence, FlowKey, Place


@dataclass(frozen=True, slots=True)
class Given:
    """A flow, and what its payload and its destination are."""

    key: FlowKey
    payload: bytes | None = None
    """None: not seen, or described by `content`."""
    content: Content | None = None
    """What the payload is, given instead of it; None: the payload says, if there is one."""
    names: tuple[str, ...] = ()
    """Names that the client asked for: lower case, no final dot."""
    evidence: tuple[Evidence, ...] | None = None
    """Whose the destination is; None: the data of the day say.  What is not here is not known."""

    @property
    def place(self) -> Place | None:
        """The destination's place; None: the data say."""
        if self.evidence is None:
            return None
        asns = [int(one.value[2:]) for one in self.evidence if len(one.value) > 2]
        countries = [one for one in self.evidence if len(one.value) == 2]
        axes = dict.fromkeys(axis for axis in Axis if any(one.axis is axis for one in countries))
        values = {axis: tuple(one.value for one in countries if one.axis is axis) for axis in axes}
        return Place(values, tuple(asns))
