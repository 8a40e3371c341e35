"""Destinations in records.  Owns: whose a destination is as JSON texts, spelled once
for many flows.
Knows: which part of it rests on the address, which on its network, which on its place.
Never: clients, payloads, files."""

from __future__ import annotations

from typing import NamedTuple

from gateway.evidence.memo import Memo
from gateway.evidence.segments import segment_of
from gateway.evidence.texts import PREFIX_GAP, prefix_text, to_json, to_json_array
from gateway.flow.account import evidence_account
from gateway.flow.epoch import Epoch
from gateway.model import Endpoint, Facts, FlowKey, Place, Transport

# Distinct words of all sources, 1 kB each: so many cover 0.96 of the public IPv4 addresses.
_MAX_WORDS = 8_192
# Memberships at hand, 0.5 kB each.
_MAX_MEMBERSHIPS = 8_192

# A flow of nobody's: what is asked about it rests on the place, or on the destination alone.
_NOBODY = FlowKey(Transport.UDP, Endpoint(bytes(4), 0), Endpoint(bytes(4), 0))


class Memberships(NamedTuple):
    """To what a destination belongs, as JSON text."""

    certain: str
    doubts: str
    """What is undetermined, and the place's doubts, to the end of the object."""


class Words(NamedTuple):
    """What all sources say of a destination."""

    text: str
    """JSON text; PREFIX_GAP stands for each prefix."""
    first: bytes
    """The first address of the prefix; b"": no prefix was left out."""
    last: bytes


class Destinations:
    """What one epoch's records say of destinations."""

    def __init__(self, epoch: Epoch) -> None:
        self._policy, self._atlas = epoch.policy, epoch.atlas
        self._words: dict[int, str] = {}
        self._of_places = Memo(self.of_place, _MAX_MEMBERSHIPS)
        self._of_destinations = Memo(self._of_destination, _MAX_MEMBERSHIPS)
        jurisdictions = self._policy.jurisdictions.values()
        self.place_decides = not any(one.networks or one.exceptions for one in jurisdictions)
        """Whether flows without names and further places belong to what their place does."""

    def memberships(self, facts: Facts) -> Memberships:
        """Give to what a flow's destination belongs."""
        if facts.names or facts.further_places:  # this flow's own
            return self._of_flow(facts)
        if self.place_decides:
            return self._of_places[facts.place]
        return self._of_destinations[facts.place, facts.key.destination.address, facts.further]

    def words(self, address: bytes) -> Words:
        """Give the evidence; the same words about another segment differ in its prefix only."""
        segment = segment_of(self._atlas, address)
        if segment is None:
            return Words(self._asked(address), b"", b"")
        text = self._words.get(segment.words)
        if text is None:
            if len(self._words) >= _MAX_WORDS:
                self._words.clear()
            text = self._asked(address)
            if segment.first:
                # Inside a JSON text every quotation mark has a backslash before it: this is
                # between texts.
                text = text.replace(prefix_text(segment.first, segment.last), PREFIX_GAP)
            self._words[segment.words] = text
        return Words(text, segment.first, segment.last)

    def of_place(self, place: Place) -> Memberships:
        """Give to what belongs whatever is at a place and nowhere else."""
        return self._of_flow(Facts(_NOBODY, place))

    def _of_destination(self, key: tuple[Place, bytes, tuple[bytes, ...]]) -> Memberships:
        place, address, further = key
        flow = _NOBODY._replace(destination=Endpoint(address, 0))
        return self._of_flow(Facts(flow, place, further=further))

    def _of_flow(self, facts: Facts) -> Memberships:
        sets, doubts = self._policy.jurisdictions_of(facts), facts.place.doubts
        undetermined = to_json_array(sorted(sets.undetermined))
        return Memberships(
            to_json_array(sorted(sets.members)),
            f',"undetermined":{undetermined},"doubts":{to_json_array(doubts)}}}',
        )

    def _asked(self, address: bytes) -> str:
        evidence = self._atlas.evidence(address, widest=False)
        return to_json([evidence_account(one) for one in evidence])
