"""Epochs for tests.  Owns: an atlas of a few networks, and real payloads.
Knows: flow's Atlas protocol.  Never: the bundled data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise

from gateway.flow.epoch import Epoch
from gateway.flow.guard import Leak
from gateway.flow.table import Flow, Judged
from gateway.geo import SourceInfo
from gateway.model import Endpoint, Evidence, FlowKey, Place, Verdict, pack, unpack
from tests.support.facts import AMERICA, CHINA, NOBODY, policy

PING = bytes.fromhex(
    "380001009200dec0ad0b44332211000001000000020008000000000900000000020002000000000300000000"
    "069118000000000000000000"
)
"""The vendor's PPing1_v7: user 0x11223344 at 10, room 0x0BADC0DE at 6."""
AUDIO = bytes.fromhex(
    "2c0001009000dec0ad0b44332211fe9000001a9100010000001a910b017a0000000004010008f8f8f8f8f8f8"
)
STUN = bytes.fromhex("000100002112a442000102030405060708090a0b")
"""A Binding request without attributes."""
NOISE = bytes.fromhex("7f0203040506070809")
"""What no recogniser knows."""

PROMISE = """
policy: promise
jurisdictions:
  china: {location: [CN], registration: [CN], operator: [CN], names: ["*.example.cn"]}
rules:
- {id: never-ping, when: {traffic: [ping, signalling, telemetry], to: china}, action: block}
- {id: plain, when: {plaintext: any, to: {not: china}}, action: {wrap: nearest}}
- {id: rest, when: {to: {not: china}}, action: allow}
"""

_STARTS = tuple(
    (int.from_bytes(pack(host)), place)
    for host, place in (
        ("0.0.0.0", NOBODY),
        ("192.0.2.0", AMERICA),
        ("192.0.3.0", NOBODY),
        ("198.51.100.0", CHINA),
        ("198.51.101.0", NOBODY),
    )
)
"""Where each place of the fake atlas begins; IPv6 is nobody's."""


class FakeSurvey:
    """Walks through the fake atlas."""

    def classes(self, classify: Callable[[Place | None, bool], int]) -> Mapping[int, int]:
        """Survey API."""
        return {at: classify(place, False) for at, (_, place) in enumerate(_STARTS)}

    def runs(
        self, classes: Mapping[int, int], octets: int, first: int, last: int
    ) -> Iterator[tuple[int, int, int]]:
        """Survey API."""
        starts = [start for start, _ in _STARTS] if octets == 4 else [0]
        for at, (start, after) in enumerate(pairwise([*starts, 1 << 8 * octets])):
            run = max(first, start), min(last, after - 1)
            if classes[at] and run[0] <= run[1]:
                yield *run, classes[at]


class FakeAtlas:
    """192.0.2.0/24 is American, 198.51.100.0/24 Chinese, all else nobody's."""

    revision = "fake"
    warnings: tuple[str, ...] = ()
    sources: tuple[SourceInfo, ...] = ()

    def place(self, address: bytes) -> Place:
        """Atlas API."""
        return {pack("192.0.2.0")[:3]: AMERICA, pack("198.51.100.0")[:3]: CHINA}.get(
            address[:3], NOBODY
        )

    def embedded(self, address: bytes) -> tuple[bytes, ...]:
        """Atlas API."""
        return ()

    def evidence(self, address: bytes, *, widest: bool = True) -> tuple[Evidence, ...]:
        """Atlas API."""
        return tuple(
            Evidence(axis, value, "fake", "2026-11-01", f"{unpack(address)}/32")
            for axis, values in self.place(address).values.items()
            for value in values
        )

    def survey(self, asns: frozenset[int]) -> FakeSurvey:
        """Atlas API."""
        return FakeSurvey()


def epoch(text: str = PROMISE, number: int = 1) -> Epoch:
    """Put a policy into force over the fake atlas."""
    return Epoch.of(number, policy(text), FakeAtlas())


class FakeObserver:
    """Remembers what it is told; `can_write` is what it answers."""

    def __init__(self) -> None:
        self.judged: list[Judged] = []
        self.gone: list[Flow] = []
        self.refusals: list[str] = []
        self.failures: list[str] = []
        self.names: list[str] = []
        self.leaks: list[tuple[FlowKey, Leak]] = []
        self.can_write = True

    def decided(self, in_force: Epoch, judged: Judged, payload: bytes | None) -> bool:
        """Observer API."""
        self.judged.append(judged)
        return self.can_write

    def ended(self, flow: Flow) -> None:
        """Observer API."""
        self.gone.append(flow)

    def refused(self, key: FlowKey, reason: str) -> None:
        """Observer API."""
        self.refusals.append(reason)

    def not_carried(self, key: FlowKey, verdict: Verdict, reason: str) -> None:
        """Observer API."""
        self.failures.append(reason)

    def barred(self, client: Endpoint, name: str, verdict: Verdict) -> None:
        """Observer API."""
        self.names.append(name)

    def leaked(self, key: FlowKey, leak: Leak) -> None:
        """Observer API."""
        self.leaks.append((key, leak))
