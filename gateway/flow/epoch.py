"""Epochs.  Owns: one loaded policy with its data; joins what a payload is, whose its destination is
and what it may do.  Knows: wire, geo and policy, strangers to each other.
Never: sockets, the clock."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from gateway.flow.discs import Discs
from gateway.flow.showing import PERHAPS, given_in, showing
from gateway.leaks import Values
from gateway.model import (
    Action,
    Axis,
    Content,
    Evidence,
    Facts,
    FlowKey,
    Mode,
    Place,
    Traffic,
    Verdict,
)
from gateway.model import Protocol as Spoken
from gateway.policy import Considered, Policy
from gateway.wire import recognise

APART = Place({}, doubts=("its own place is not told apart from those that it spells",))
"""The place of an address of which the atlas knows only what it says of several together."""


class Survey(Protocol):
    """A walk through all addresses, by the class of each one's place."""

    def classes(self, classify: Callable[[Place | None, bool], int]) -> Mapping[int, int]:
        """Have every place classed, 0..255: by its evidence, or by None where addresses only spell
        others; and by whether more may be said of an address than its place says."""

    def runs(
        self, classes: Mapping[int, int], octets: int, first: int, last: int
    ) -> Iterable[tuple[int, int, int]]:
        """Give (first, last, class), ascending, of addresses of a length between two, ends
        included; those of class 0 are left out."""


class Source(Protocol):
    """One source of evidence."""

    @property
    def name(self) -> str:
        """Its own."""

    @property
    def axis(self) -> Axis:
        """What it speaks of."""

    @property
    def built(self) -> str:
        """ISO date of its data; "" if it does not say."""

    @property
    def licence(self) -> str:
        """Of its data; "" if unknown."""

    @property
    def credit(self) -> str:
        """The sentence that its licence asks for wherever results are shown; "" for none."""

    @property
    def stale(self) -> bool:
        """Whether it is too old to count."""


class Atlas(Protocol):
    """What an epoch needs of geo."""

    revision: str
    warnings: tuple[str, ...]

    @property
    def sources(self) -> Sequence[Source]:
        """What was loaded."""

    def place(self, address: bytes) -> Place:
        """Give the place of an address."""

    def embedded(self, address: bytes) -> tuple[bytes, ...]:
        """Give the addresses that an address spells (6to4, NAT64)."""

    def evidence(self, address: bytes, *, widest: bool = True) -> tuple[Evidence, ...]:
        """Give each source's word on an address; not `widest`: quickly, with narrower prefixes."""

    def survey(self, asns: frozenset[int]) -> Survey:
        """Begin a walk through all addresses.

        Args:    asns: the AS numbers that matter; of others only whether there is one.
        """


@dataclass(frozen=True, slots=True)
class Epoch:
    """A policy in force, with its data."""

    number: int
    policy: Policy
    atlas: Atlas
    values: Values | None = None
    """Identifiers that the operator named; None: none."""
    discs: Discs | None = None
    """What round trips refute; None: nobody measures."""

    @classmethod
    def of(cls, number: int, policy: Policy, atlas: Atlas, values: Values | None = None) -> Epoch:
        """Put a policy and its data into force under a number."""
        return cls(number, policy.at_epoch(number), atlas, values)

    def content(self, key: FlowKey, payload: bytes) -> Content:
        """Recognise a datagram, or a stream's first octets, and find given values in them."""
        return self.with_given(self.recognised(key, payload), payload)

    def with_given(self, content: Content, payload: bytes) -> Content:
        """Add the given values that a payload shows to what it is."""
        if self.values is None:
            return content
        return showing(content, given_in(self.values, payload, PERHAPS))

    def recognised(self, key: FlowKey, payload: bytes) -> Content:
        """As `content`, without given values."""
        return recognise(key.transport, payload, key.destination.port)

    def facts(self, key: FlowKey, content: Content | None, names: tuple[str, ...] = ()) -> Facts:
        """Gather what can be known of a flow.

        Args:    content: what a payload of it is; None: nothing seen yet, and what has no ports is
                 known without.
                 names: what the client asked for; what the content names is added.
        """
        if content is None:
            content = None if key.transport.has_ports else self.content(key, b"")
        elif content.names:
            names += tuple(name for name in content.names if name not in names)
        address = key.destination.address
        asked = content.addresses if content is not None else ()
        if not asked and len(address) == 4:
            return self._doubted(Facts(key, self.atlas.place(address), content, names))
        places = self._places((address, *asked))
        place = places.pop(address)
        further = tuple(places), tuple(places.values())
        return self._doubted(Facts(key, place, content, names, *further))

    def _doubted(self, facts: Facts) -> Facts:
        """Take the destination's location away if round trips refute it."""
        if self.discs is None:
            return facts
        doubted = self.discs.doubted(facts.key.destination.address, facts.place)
        return facts if doubted is None else facts._replace(place=doubted, claimed=facts.place)

    def _places(self, addresses: Iterable[bytes]) -> dict[bytes, Place]:
        """Give the place of each address, and of each that one of them spells, alone.

        What the atlas says of an address that spells others is said of them all.  Unless all lie
        at the same place, it cannot be told from that where the address itself lies.
        """
        places: dict[bytes, Place] = {}
        for address in addresses:
            spelled = {one: self.atlas.place(one) for one in self.atlas.embedded(address)}
            place = self.atlas.place(address)
            is_alone = not spelled or any(place is one for one in spelled.values())
            places[address] = place if is_alone else APART
            places |= spelled
        return places

    def seen(
        self,
        key: FlowKey,
        payload: bytes | None,
        names: tuple[str, ...] = (),
        traffic: Traffic | None = None,
    ) -> Facts:
        """Gather facts as a person gives them: a payload, or instead of it a class of traffic."""
        content = None
        if payload is not None:
            content = self.content(key, payload)
        elif traffic is not None:
            content = Content(Spoken.UNKNOWN, traffic=traffic)
        return self.facts(key, content, names)

    def judge(self, facts: Facts) -> Verdict:
        """Give the verdict on gathered facts."""
        verdict = self.policy.judge(facts)
        if facts.claimed is None or _enforced(verdict).action is Action.BLOCK:
            return verdict
        return _stricter(verdict, self.policy.judge(_as_claimed(facts)))

    def explain(self, facts: Facts) -> tuple[Verdict, tuple[Considered, ...]]:
        """Give the verdict, and every rule considered, by the same code path."""
        told = self.policy.explain(facts)
        if facts.claimed is None:
            return told
        verdict = self.judge(facts)
        if _enforced(told[0]).rule == _enforced(verdict).rule:
            return verdict, told[1]
        return verdict, self.policy.explain(_as_claimed(facts))[1]


def _as_claimed(facts: Facts) -> Facts:
    assert facts.claimed is not None, "asked only then"
    return facts._replace(place=facts.claimed, claimed=None)


def _enforced(verdict: Verdict) -> Verdict:
    """Give what a verdict would be if its policy did not only watch."""
    is_watching = verdict.mode is Mode.SHADOW and verdict.would is not None
    return verdict.would if is_watching and verdict.would is not None else verdict


def _stricter(doubted: Verdict, claimed: Verdict) -> Verdict:
    """Choose between what is decided where a location is refuted, and where it is believed.

    Round trips may turn an allow into something else, and nothing into an allow: what the claim
    blocks, wraps or reroutes stays as it is.
    """
    chosen = doubted if _enforced(claimed).action is Action.ALLOW else claimed
    is_settled = doubted.settled and claimed.settled
    return chosen if chosen.settled == is_settled else replace(chosen, settled=is_settled)
