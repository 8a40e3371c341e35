"""The guard against leaks.  Owns: which datagrams of judged flows show identifiers by value, which
are probes whatever their protocol; samples for the finder of unnamed identifiers, and what it
learned.  Knows: the leak finders.  Never: verdicts, threads, the clock; a value in what it says."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice

from gateway.flow.showing import SURELY, identifiers, showing
from gateway.leaks import Certainty, Finding, Hit, Scope, SweepDetector, UnnamedFinder, Values
from gateway.model import (
    Content,
    Endpoint,
    FlowKey,
    Identifier,
    IdentifierKind,
    Protocol,
    Transport,
    unpack,
)

_MAX_DOUBTFUL = 4_096
_MAX_SAMPLES = 2_048
_MAX_SAMPLE_LEN = 512
_MAX_CLIENTS, _MAX_VALUES_EACH = 1_024, 8
# A value of fewer octets stands in ciphertext by chance.
_MIN_LEARNED_LEN = 4
# Looking for digests takes some hundred microseconds.
_DIGESTS_EACH = 64


class Found(StrEnum):
    """How a leak was found."""

    GIVEN = "given"
    """A value that the operator named."""
    LEARNED = "learned"
    """A value that the finder of unnamed identifiers learned."""
    SWEEP = "sweep"
    """Like datagrams to several addresses: probes."""


@dataclass(frozen=True, slots=True)
class Leak:
    """What was found in a flow: where, never what."""

    found: Found
    identifiers: tuple[Identifier, ...]
    """(): a sweep."""
    sentence: str


@dataclass(frozen=True, slots=True)
class Lesson:
    """Something learned, and the octets that stand for it: kept in memory, never written."""

    finding: Finding
    octets: Mapping[bytes, bytes]
    """By client."""


Sample = tuple[bytes, Endpoint, float, bytes, Protocol | None]


class LeakGuard:
    """Looks at what passes.  What it keeps is bounded; `study` alone takes long."""

    def __init__(self) -> None:
        self.learns = False
        """Whether samples are taken for the finder of unnamed identifiers."""
        self.apart: Container[Endpoint] = ()
        """The gateway's own canaries: several at once are no sweep, and nothing is learned of them.
        """
        self._sweeps = SweepDetector()
        self._learned: OrderedDict[bytes, tuple[bytes, ...]] = OrderedDict()
        # Hits that chance may explain, and their places: the second at one place it does not.
        self._doubtful: OrderedDict[tuple[object, ...], None] = OrderedDict()
        self._samples: deque[Sample] = deque(maxlen=_MAX_SAMPLES)
        self._finder = UnnamedFinder()
        self._looks = 0

    def sweep(self, key: FlowKey, payload: bytes, time_s: float) -> tuple[bytes, ...] | None:
        """Take note of a datagram of an unknown protocol; tell whether it is a probe.

        Returns: None: it is none, as far as can be told; the addresses of the sweep, where it is
                 the one that tells; () for further ones.
        """
        if key.client in self.apart:
            return None
        return self._sweeps.swept(key.client.address, key.destination, time_s, payload)

    def of_client(self, content: Content, key: FlowKey, payload: bytes) -> Content:
        """Add to a content what was learned of its client."""
        return showing(content, self._learned_in(key, payload)) if self._learned else content

    def spot(self, values: Values | None, key: FlowKey, payload: bytes) -> tuple[Identifier, ...]:
        """Look for given and learned values in a datagram of a flow that was judged before."""
        found: tuple[Identifier, ...] = ()
        if values is not None:
            self._looks += 1
            hits = values.find(payload, digests=not self._looks % _DIGESTS_EACH)
            if hits:
                found = identifiers(hit for hit in hits if self._is_no_chance(key, hit))
        return found + self._learned_in(key, payload) if self._learned else found

    def sample(self, key: FlowKey, content: Content | None, payload: bytes, time_s: float) -> None:
        """Keep a datagram for the finder; the oldest of too many are forgotten."""
        if key.transport is Transport.UDP and key.client not in self.apart:
            protocol = None if content is None else content.protocol
            # What no recogniser knows is not "unknown" to the finder: nobody told it.
            spoken = None if protocol is Protocol.UNKNOWN else protocol
            head = payload[:_MAX_SAMPLE_LEN]
            self._samples.append((key.client.address, key.destination, time_s, head, spoken))

    def take_samples(self) -> list[Sample]:
        """Give the samples, and forget them."""
        taken = list(self._samples)
        self._samples.clear()
        return taken

    def begin_anew(self) -> None:
        """Forget what the finder saw, not what was learned; not while it studies."""
        self._finder = UnnamedFinder()

    def study(self, samples: Iterable[Sample], *, tells: bool) -> list[Lesson]:
        """Show samples to the finder; may run in a thread, one at a time.

        Args:    tells: ask for findings, which takes up to two seconds.
        Returns: likely identifiers of users and rooms.
        """
        finder = self._finder
        for client, endpoint, time_s, payload, protocol in samples:
            finder.seen(client, endpoint, time_s, payload, True, protocol)
        if not tells:
            return []
        return [
            Lesson(finding, octets)
            for finding, octets in finder.learned()
            if finding.scope in (Scope.USER, Scope.ROOM)
            and finding.certainty is not Certainty.POSSIBLE
            and min(map(len, octets.values())) >= _MIN_LEARNED_LEN
        ]

    def learn(self, lesson: Lesson) -> bool:
        """Look for what was learned from now on; False: it was known."""
        is_new = False
        for client, octets in lesson.octets.items():
            known = self._learned.pop(client, ())
            if not any(one in octets for one in known):
                is_new = True
                known = (*known, octets)[-_MAX_VALUES_EACH:]
            self._learned[client] = known
            if len(self._learned) > _MAX_CLIENTS:
                self._learned.popitem(last=False)
        return is_new

    def _learned_in(self, key: FlowKey, payload: bytes) -> tuple[Identifier, ...]:
        values = self._learned.get(key.client.address, ())
        places = ((payload.find(octets), len(octets)) for octets in values)
        return tuple(Identifier(IdentifierKind.LEARNED, at, len_) for at, len_ in places if at >= 0)

    def _is_no_chance(self, key: FlowKey, hit: Hit) -> bool:
        if hit.chance <= SURELY:
            return True
        place = (key.client.address, hit.kind, hit.which, hit.encoding, hit.offset)
        is_again = place in self._doubtful
        self._doubtful[place] = None
        self._doubtful.move_to_end(place)
        if len(self._doubtful) > _MAX_DOUBTFUL:
            self._doubtful.popitem(last=False)
        return is_again


def by_value(content: Content | None) -> tuple[Identifier, ...]:
    """Give the identifiers that were found by value, by all kinds that they are told as."""
    shown = (content.plaintext if content is not None else None) or ()
    kinds = (IdentifierKind.GIVEN, IdentifierKind.LEARNED)
    places = {(one.offset, one.length) for one in shown if one.kind in kinds}
    return tuple(one for one in shown if (one.offset, one.length) in places)


def leak_of(found: tuple[Identifier, ...]) -> Leak:
    """Say what identifiers found by value are."""
    kinds = sorted({str(one.kind) for one in found})
    is_given = IdentifierKind.GIVEN in {one.kind for one in found}
    how = Found.GIVEN if is_given else Found.LEARNED
    where = ", ".join(f"{one.offset}+{one.length}" for one in islice(found, 4))
    return Leak(how, found, f"identifiers in plaintext ({', '.join(kinds)}) at octets {where}")


def leak_of_sweep(addresses: tuple[bytes, ...], payload: bytes) -> Leak:
    """Say what a sweep is."""
    listed = ", ".join(map(unpack, addresses[:4]))
    sentence = (
        f"near-identical {len(payload)}-octet datagrams of an unknown protocol to "
        f"{len(addresses)} addresses within seconds ({listed}): probes, traffic class ping"
    )
    return Leak(Found.SWEEP, (), sentence)


Turned = Callable[[FlowKey], object]
"""Told that a flow must be judged again by whoever carries it unasked."""
