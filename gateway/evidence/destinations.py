"""Destinations in records.  Owns: whose a destination is as JSON text, spelled once for many flows.
Knows: which part of it rests on the address, which on its network, which on its place.
Never: clients, payloads, files."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import NamedTuple

from gateway.evidence.memo import Memo
from gateway.evidence.segments import host_text, segment_of
from gateway.flow.account import evidence_account
from gateway.flow.epoch import Epoch
from gateway.model import Endpoint, Facts, FlowKey, Place, Transport

# Addresses at hand, 1 kB each.
_MAX_ADDRESSES = 8_192
# Distinct words of all sources, 1 kB each: so many cover 0.96 of the public IPv4 addresses.
_MAX_WORDS = 8_192
# Memberships at hand, 0.5 kB each.
_MAX_MEMBERSHIPS = 8_192

# A flow of nobody's: what is asked about it rests on the place, or on the destination alone.
_NOBODY = FlowKey(Transport.UDP, Endpoint(bytes(4), 0), Endpoint(bytes(4), 0))

to_json = json.JSONEncoder(separators=(",", ":")).encode
"""Gives JSON text (RFC 8259) in ASCII, without spaces and line ends."""


def to_json_array(texts: Iterable[str]) -> str:
    """Give the JSON array of texts, as to_json does, in a third of the time."""
    return f"[{','.join(map(to_json, texts))}]"


class _Address(NamedTuple):
    host: str
    """As in a flow: an IPv6 address in brackets."""
    begin: str
    """The object up to its jurisdictions."""
    evidence: str


class _Memberships(NamedTuple):
    certain: str
    doubts: str
    """What is undetermined, and the place's doubts, to the end of the object."""


class Destinations:
    """What one epoch's records say of destinations."""

    def __init__(self, epoch: Epoch) -> None:
        self._policy, self._atlas = epoch.policy, epoch.atlas
        self._addresses = Memo(self._address, _MAX_ADDRESSES)
        self._words: dict[int, list[str]] = {}
        self._of_places = Memo(self._of_place, _MAX_MEMBERSHIPS)
        self._of_destinations = Memo(self._of_destination, _MAX_MEMBERSHIPS)
        jurisdictions = self._policy.jurisdictions.values()
        self._place_decides = not any(one.networks or one.exceptions for one in jurisdictions)

    def spelled(self, facts: Facts) -> tuple[str, str]:
        """Give a flow's destination: its address as a flow has it, an IPv6 address in brackets, and
        the JSON object `to` of flow.account.facts_account."""
        address = facts.key.destination.address
        if facts.names or facts.further_places:  # this flow's own
            member = self._of_flow(facts)
        elif self._place_decides:
            member = self._of_places[facts.place]
        else:
            member = self._of_destinations[facts.place, address, facts.further]
        known = self._addresses[address]
        return known.host, f"{known.begin}{member.certain}{known.evidence}{member.doubts}"

    def _of_place(self, place: Place) -> _Memberships:
        return self._of_flow(Facts(_NOBODY, place))

    def _of_destination(self, key: tuple[Place, bytes, tuple[bytes, ...]]) -> _Memberships:
        place, address, further = key
        flow = _NOBODY._replace(destination=Endpoint(address, 0))
        return self._of_flow(Facts(flow, place, further=further))

    def _of_flow(self, facts: Facts) -> _Memberships:
        sets, doubts = self._policy.jurisdictions_of(facts), facts.place.doubts
        undetermined = to_json_array(sorted(sets.undetermined))
        return _Memberships(
            to_json_array(sorted(sets.members)),
            f',"undetermined":{undetermined},"doubts":{to_json_array(doubts)}}}',
        )

    def _address(self, address: bytes) -> _Address:
        host = host_text(address)
        return _Address(
            host if len(address) == 4 else f"[{host}]",
            f'{{"address":"{host}","jurisdictions":',
            f',"evidence":{self._evidence(address)}',
        )

    def _evidence(self, address: bytes) -> str:
        """Give the evidence; the same words about another segment differ in its prefix only."""
        segment = segment_of(self._atlas, address)
        if segment is None:
            return self._asked(address)
        # Inside a JSON text every quotation mark has a backslash before it: this is between texts.
        prefix = f'"prefix":"{segment.prefix}"'
        words = self._words.get(segment.words)
        if words is None:
            if len(self._words) >= _MAX_WORDS:
                self._words.clear()
            words = self._words[segment.words] = self._asked(address).split(prefix)
        return prefix.join(words)

    def _asked(self, address: bytes) -> str:
        evidence = self._atlas.evidence(address, widest=False)
        return to_json([evidence_account(one) for one in evidence])
