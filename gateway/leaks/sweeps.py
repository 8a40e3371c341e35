"""Ping sweeps.  Owns: near-identical small datagrams from one client to many addresses within
seconds: latency probes, whatever their protocol.
Knows: RFC 1035 and 6762 (ports of names), BEP 5.  Never: the clock; what a protocol says itself."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from gateway.leaks.findings import MAX_LISTED, Certainty, Finding, Scope, Seen, Span
from gateway.model import Endpoint, Protocol

_HEAD_LEN = 64
# A resolver asks several servers at once; a node of a DHT asks hundreds of strangers: neither
# measures a way.
_NAME_PORTS = frozenset({53, 137, 5353, 5355})
_DHT = b"d1:"
_MIN_LEN = 4
_MAX_SETS_EACH = 4
_MAX_ADDRESSES = 256


@dataclass(frozen=True, slots=True)
class SweepLimits:
    """What a sweep is, and bounds.

    Measured on captures: sweeps of three vendors reach 4 to 7 addresses within one second, and
    what is none (calls, QUIC, SIP, games, DTLS) never more than 2 within ten.
    """

    addresses: int = 4
    window_s: float = 5.0
    longest: int = 512
    """Octets: larger datagrams carry something."""
    alike: float = 0.5
    """The share of the first 64 octets that are the same."""
    max_sets: int = 4_096
    """Sets of like datagrams that are watched; the oldest are forgotten."""
    max_sweeps: int = 256
    holds_s: float = 600.0
    """After a sweep its like are probes, however few the addresses: clients measure ways again."""


@dataclass(slots=True)
class Alike:
    """Like datagrams of one client: whom they went to, the latest last."""

    head: int
    addresses: dict[bytes, float]
    probing_until_s: float = float("-inf")


@dataclass(slots=True)
class _Sweep:
    length: int
    first_s: float
    last_s: float
    endpoints: set[Endpoint]
    packets: int = 0
    most: int = 0


class SweepDetector:
    """Tells probes as they pass.  Bounded: a few microseconds and at most `max_sets` sets."""

    def __init__(self, limits: SweepLimits | None = None) -> None:
        self._limits = limits or SweepLimits()
        self._sets: OrderedDict[tuple[bytes, int, int], list[Alike]] = OrderedDict()

    def reached(
        self, client: bytes, endpoint: Endpoint, time_s: float, payload: bytes | memoryview
    ) -> int:
        """Take note of a datagram; give how many addresses its like went to within the window.

        Returns: 0 for what cannot be a probe: too large, a name's question, a DHT's.
        """
        alike = self.like(client, endpoint, time_s, payload)
        return 0 if alike is None else len(alike.addresses)

    def like(
        self, client: bytes, endpoint: Endpoint, time_s: float, payload: bytes | memoryview
    ) -> Alike | None:
        """Take note of a datagram; give whom its like went to, None for what cannot be a probe."""
        limits, length, (address, port) = self._limits, len(payload), endpoint
        if not _MIN_LEN <= length <= limits.longest or port in _NAME_PORTS or payload[:3] == _DHT:
            return None
        key, head = (client, length, payload[0]), int.from_bytes(payload[:_HEAD_LEN], "big")
        sets = self._sets.get(key)
        if sets is None:
            if len(self._sets) >= limits.max_sets:
                self._sets.popitem(last=False)
            sets = self._sets[key] = []
        else:
            self._sets.move_to_end(key)
        width = length if length < _HEAD_LEN else _HEAD_LEN
        least = limits.alike * width
        for alike in sets:
            if (alike.head ^ head).to_bytes(width, "big").count(0) >= least:
                alike.head = head
                break
        else:
            if len(sets) >= _MAX_SETS_EACH:
                del sets[0]
            alike = Alike(head, {address: time_s})
            sets.append(alike)
            return alike
        addresses = alike.addresses
        addresses.pop(address, None)
        addresses[address] = time_s
        while len(addresses) > 1:
            first = next(iter(addresses))
            if addresses[first] >= time_s - limits.window_s and len(addresses) <= _MAX_ADDRESSES:
                break
            del addresses[first]
        return alike

    def is_probe(
        self, client: bytes, endpoint: Endpoint, time_s: float, payload: bytes | memoryview
    ) -> bool:
        """Take note of a datagram; tell whether it is one of a sweep: traffic class ping.

        The first few of a sweep cannot be told: a sweep begins with its `addresses`-th address.
        """
        return self.swept(client, endpoint, time_s, payload) is not None

    def swept(
        self, client: bytes, endpoint: Endpoint, time_s: float, payload: bytes | memoryview
    ) -> tuple[bytes, ...] | None:
        """As `is_probe`; None: it is none.

        Returns: the addresses of the sweep from the one datagram that tells it; () from later ones.
        """
        alike = self.like(client, endpoint, time_s, payload)
        if alike is None:
            return None
        was_known = time_s < alike.probing_until_s
        if len(alike.addresses) >= self._limits.addresses:
            alike.probing_until_s = time_s + self._limits.holds_s
            return () if was_known else tuple(alike.addresses)
        return () if was_known else None


class SweepFinder:
    """Says which sweeps there were."""

    def __init__(self, limits: SweepLimits | None = None) -> None:
        self._limits = limits or SweepLimits()
        self._detector = SweepDetector(self._limits)
        self._sweeps: dict[tuple[bytes, int, int], _Sweep] = {}

    def seen(
        self,
        client: bytes,
        endpoint: Endpoint,
        time_s: float,
        payload: bytes | memoryview,
        outbound: bool,
        protocol: Protocol | None,
    ) -> None:
        """Look at one packet (Finder)."""
        self.seen_all(((client, endpoint, time_s, payload, outbound, protocol),))

    def seen_all(self, packets: Iterable[Seen]) -> None:
        """Look at packets one after another (Finder)."""
        like, least = self._detector.like, self._limits.addresses
        for client, endpoint, time_s, payload, outbound, protocol in packets:
            if outbound and protocol is not Protocol.DNS:
                alike = like(client, endpoint, time_s, payload)
                if alike is not None and len(alike.addresses) >= least:
                    self._note(client, endpoint, time_s, payload, len(alike.addresses))

    def _note(
        self,
        client: bytes,
        endpoint: Endpoint,
        time_s: float,
        payload: bytes | memoryview,
        reached: int,
    ) -> None:
        key = (client, len(payload), payload[0])
        sweep = self._sweeps.get(key)
        if sweep is None:
            if len(self._sweeps) >= self._limits.max_sweeps:
                return
            sweep = self._sweeps[key] = _Sweep(len(payload), time_s, time_s, set())
        sweep.last_s = max(sweep.last_s, time_s)
        sweep.packets += 1
        sweep.most = max(sweep.most, reached)
        if len(sweep.endpoints) < _MAX_ADDRESSES:
            sweep.endpoints.add(endpoint)

    def findings(self) -> list[Finding]:
        """Say what was found so far, the widest sweeps first (Finder)."""
        sweeps = sorted(self._sweeps.items(), key=lambda item: -item[1].most)
        return [self._finding(key[0], sweep) for key, sweep in sweeps]

    def _finding(self, client: bytes, sweep: _Sweep) -> Finding:
        window_s = self._limits.window_s
        return Finding(
            finder="sweeps",
            scope=Scope.SWEEP,
            certainty=Certainty.LIKELY,
            sentence=(
                f"near-identical {sweep.length}-octet datagrams to {sweep.most} addresses within "
                f"{window_s:g} s: latency probes, traffic class ping"
            ),
            clients=(client,),
            endpoints=tuple(sorted(sweep.endpoints)[:MAX_LISTED]),
            endpoint_count=len(sweep.endpoints),
            packets=sweep.packets,
            first_s=sweep.first_s,
            last_s=sweep.last_s,
            spans=(Span(sweep.length, sweep.length, 0, sweep.length),),
        )
