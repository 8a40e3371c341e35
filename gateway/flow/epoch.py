"""Epochs.  Owns: one loaded policy with its data; joins what a payload is, whose its destination is
and what it may do.  Knows: wire, geo and policy, strangers to each other.
Never: sockets, the clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from gateway.geo import embedded
from gateway.model import Content, Evidence, Facts, FlowKey, Place, Traffic, Verdict
from gateway.model import Protocol as Spoken
from gateway.policy import Considered, Policy
from gateway.wire import recognise


class Atlas(Protocol):
    """What an epoch needs of geo."""

    revision: str

    def place(self, address: bytes) -> Place:
        """Give the place of an address."""

    def evidence(self, address: bytes) -> tuple[Evidence, ...]:
        """Give each source's word on an address."""


@dataclass(frozen=True, slots=True)
class Epoch:
    """A policy in force, with its data."""

    number: int
    policy: Policy
    atlas: Atlas

    @classmethod
    def of(cls, number: int, policy: Policy, atlas: Atlas) -> Epoch:
        """Put a policy and its data into force under a number."""
        return cls(number, policy.at_epoch(number), atlas)

    def facts(
        self,
        key: FlowKey,
        payload: bytes | None,
        names: tuple[str, ...] = (),
        traffic: Traffic | None = None,
    ) -> Facts:
        """Gather what can be known of a flow from one payload.

        Args:    payload: a datagram, or a stream's first octets; None: nothing seen yet.
                 names: what the client asked for.
                 traffic: the class, given by a person instead of a payload.
        """
        content = None
        if payload is not None:
            content = recognise(key.transport, payload, key.destination.port)
            names += tuple(name for name in content.names if name not in names)
        elif traffic is not None:
            content = Content(Spoken.UNKNOWN, traffic=traffic)
        address = key.destination.address
        inner = embedded(address) if len(address) == 16 else ()
        return Facts(key, self.atlas.place(address), content, names, inner)

    def judge(self, facts: Facts) -> Verdict:
        """Give the verdict on gathered facts."""
        return self.policy.judge(facts)

    def explain(self, facts: Facts) -> tuple[Verdict, tuple[Considered, ...]]:
        """Give the verdict, and every rule considered, by the same code path."""
        return self.policy.explain(facts)
