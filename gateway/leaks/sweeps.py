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
# Some 4 KiB of each of `max_sets` groups.
_MAX_KEPT = 32


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


_Key = tuple[bytes, int, int]
"""Client, length, first octet: other datagrams are not compared."""


@dataclass(slots=True)
class _Kept:
    """Datagrams that were not compared yet."""

    packets: list[tuple[Endpoint, float, bytes]]
    """To whom, when, the first octets."""
    addresses: set[bytes]


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
        self._sets: OrderedDict[_Key, list[Alike]] = OrderedDict()

    def reached(
        self, client: bytes, endpoint: Endpoint, time_s: float, payload: bytes | memoryview
    ) -> int:
        """Take note of a datagram; give how many addresses its like went to within the window.

        Returns: 0 for what cannot be a probe: too large, a name's question, a DHT's.
        """
        alike = self._noted(client, endpoint, time_s, payload)
        return 0 if alike is None else len(alike.addresses)

    def _noted(
        self, client: bytes, endpoint: Endpoint, time_s: float, payload: bytes | memoryview
    ) -> Alike | None:
        length = len(payload)
        if not _MIN_LEN <= length <= self._limits.longest or endpoint.port in _NAME_PORTS:
            return None
        if payload[:3] == _DHT:
            return None
        return self.like((client, length, payload[0]), endpoint, time_s, payload)

    def like(
        self, key: _Key, endpoint: Endpoint, time_s: float, payload: bytes | memoryview
    ) -> Alike:
        """Take note of a datagram that may be a probe; give whom its like went to.

        Args:    payload: the first 64 octets are enough.
        """
        limits, address = self._limits, endpoint.address
        head = int.from_bytes(payload[:_HEAD_LEN], "big")
        sets = self._sets.get(key)
        if sets is None:
            if len(self._sets) >= limits.max_sets:
                self._sets.popitem(last=False)
            sets = self._sets[key] = []
        else:
            self._sets.move_to_end(key)
        width = min(len(payload), _HEAD_LEN)
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
        alike = self._noted(client, endpoint, time_s, payload)
        if alike is None:
            return None
        was_known = time_s < alike.probing_until_s
        if len(alike.addresses) >= self._limits.addresses:
            alike.probing_until_s = time_s + self._limits.holds_s
            return () if was_known else tuple(alike.addresses)
        return () if was_known else None

    def forget(self, key: _Key) -> None:
        """Let datagrams go that were noted."""
        self._sets.pop(key, None)


class SweepFinder:
    """Says which sweeps there were.

    The detector compares each datagram with several before it.  Where a client's datagrams of one
    length and first octet went to fewer addresses than a sweep has, there is no need to: they are
    kept as they came, and the detector is shown them if that changes, or if they become too many.
    """

    def __init__(self, limits: SweepLimits | None = None) -> None:
        self._limits = limits or SweepLimits()
        self._detector = SweepDetector(self._limits)
        self._kept: OrderedDict[_Key, _Kept | None] = OrderedDict()
        """None: the detector is shown all of these.  As many as it has sets, in the same order."""
        self._sweeps: dict[_Key, _Sweep] = {}

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
        kept, longest, least = self._kept, self._limits.longest, self._limits.addresses
        for client, endpoint, time_s, payload, outbound, protocol in packets:
            length = len(payload)
            if not outbound or protocol is Protocol.DNS or not _MIN_LEN <= length <= longest:
                continue
            if endpoint[1] in _NAME_PORTS or payload[:3] == _DHT:
                continue
            key = (client, length, payload[0])
            if key in kept:
                kept.move_to_end(key)
                group = kept[key]
            else:
                group = kept[key] = self._begin()
            if group is not None:
                group.packets.append((endpoint, time_s, bytes(payload[:_HEAD_LEN])))
                group.addresses.add(endpoint[0])
                if len(group.addresses) < least and len(group.packets) < _MAX_KEPT:
                    continue
                kept[key] = None
            now = [(endpoint, time_s, bytes(payload[:_HEAD_LEN]))]
            for to, at_s, head in now if group is None else group.packets:
                alike = self._detector.like(key, to, at_s, head)
                if len(alike.addresses) >= least:
                    self._note(key, to, at_s, len(alike.addresses))

    def _begin(self) -> _Kept:
        if len(self._kept) >= self._limits.max_sets:
            key, group = self._kept.popitem(last=False)
            if group is None:
                self._detector.forget(key)
        return _Kept([], set())

    def _note(self, key: _Key, endpoint: Endpoint, time_s: float, reached: int) -> None:
        sweep = self._sweeps.get(key)
        if sweep is None:
            if len(self._sweeps) >= self._limits.max_sweeps:
                return
            sweep = self._sweeps[key] = _Sweep(key[1], time_s, time_s, set())
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
