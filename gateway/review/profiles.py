"""Flow profiles: one flow for each kind that two policies' rules can tell apart.  Owns: making
them, finding the one that a flow is like.  Knows: what conditions ask (atoms).
Never: destinations' addresses, verdicts."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise, product
from typing import NamedTuple, TypeVar

from gateway.model import (
    Content,
    Endpoint,
    Facts,
    FlowKey,
    Identifier,
    IdentifierKind,
    Place,
    Protocol,
    Traffic,
    Transport,
)
from gateway.review.atoms import Atoms
from gateway.wire import recognise

# All combinations up to so many; above it, so many of them: see `is_complete`.  A policy of 400
# rules takes 0.2 ms for each of them and each kind of address.
_MAX_PROFILES = 2_000
# Ways in which identifiers of several kinds can meet the kinds that rules ask for.
_MAX_PLAINTEXT = 16
# Clients looked at to find one that each staged rule watches, or does not.
_MAX_CLIENTS_TRIED = 2_048
_MAX_CLIENTS = 32

_OTHER_NAME = "name.invalid"
_CLIENT = bytes((10, 0, 0, 1))
_CLIENT_PORT = 50_000
# As in policy.subject: where a name may hide.
_MAY_HIDE_A_NAME = frozenset({Protocol.TLS, Protocol.QUIC, Protocol.UNKNOWN})

Value = TypeVar("Value")


class Named(NamedTuple):
    """The names of a flow."""

    asked: tuple[str, ...] = ()
    """By the client, before any payload."""
    carried: tuple[str, ...] = ()
    """In the payload."""


@dataclass(frozen=True, slots=True)
class Profile:
    """One flow, its destination's address aside."""

    transport: Transport
    content: Content | None
    names: tuple[str, ...]
    port: int
    client: bytes

    def facts(self, address: bytes, place: Place) -> Facts:
        """Give the facts of this flow to an address, and to no other address judged with it."""
        return Facts(self.key(address), place, self.content, self.names)

    def key(self, address: bytes) -> FlowKey:
        """Give this flow to an address."""
        client = Endpoint(self.client, _CLIENT_PORT if self.transport.has_ports else 0)
        return FlowKey(self.transport, client, Endpoint(address, self.port))


class Profiles:
    """The profiles of two policies."""

    def __init__(self, atoms: Atoms) -> None:
        """Make them."""
        self.atoms = atoms
        self._names = tuple(_named(atoms))
        self._ports = _firsts(_port_candidates(atoms), self._port_key)
        self._clients = tuple(self._all_clients())
        contents = tuple(_contents(atoms))
        self.is_complete = (
            len(contents) * 2 * len(self._names) * len(self._ports) * len(self._clients)
            <= _MAX_PROFILES
            and len(_plaintexts(atoms)) < _MAX_PLAINTEXT + 2
        )
        """False: ports, clients and names are varied one at a time, and not with every payload: a
        change that needs a rare combination may not be seen."""
        found = (one for one in self._all(contents))
        by_key = {self.key(one.facts(bytes(4), _NO_PLACE)): one for one in found}
        self.all = tuple(by_key.values())
        self._at = {key: at for at, key in enumerate(by_key)}

    @property
    def clients(self) -> tuple[bytes, ...]:
        """A client of each kind that the rules tell apart."""
        return self._clients

    def find(self, facts: Facts) -> int | None:
        """Give the index of the profile that no rule can tell from a flow, destinations aside.

        Returns: None: the flow is like none of them (see `is_complete`), or it asks its destination
                 for others.
        """
        return self._at.get(self.key(facts))

    def key(self, facts: Facts) -> Hashable:
        """Give all that rules can tell of a flow, its destination's address aside."""
        key = facts.key
        return (
            key.transport,
            self._content_key(facts.content),
            tuple(bool(one.matching(facts.names)) for one in self.atoms.names),
            self._port_key(key.destination.port),
            self._client_key(key.client.address),
        )

    def _content_key(self, content: Content | None) -> Hashable:
        if content is None:
            return None
        atoms = self.atoms
        return (
            _of(atoms.traffic, content.traffic),
            None
            if content.protocol is Protocol.UNKNOWN
            else _of(atoms.protocols, content.protocol),
            None if content.plaintext is None else _met(atoms, content.plaintext),
            atoms.asks_names and _names_are_known(content),
            content.addresses,
        )

    def _port_key(self, port: int) -> Hashable:
        return tuple(
            any(first <= port <= last for first, last in ranges) for ranges in self.atoms.ports
        )

    def _client_key(self, client: bytes) -> Hashable:
        endpoint = Endpoint(client, 0)
        return (
            tuple(client in one for one in self.atoms.clients),
            tuple(rule.watches(endpoint) for rule in self.atoms.staged),
        )

    def _all_clients(self) -> Iterator[bytes]:
        """Give a client of each kind that the rules tell apart, as far as one is found."""
        found: dict[Hashable, bytes] = {}
        tries = _MAX_CLIENTS_TRIED if self.atoms.staged else 1
        for octets, first, after in _client_ranges(self.atoms):
            for number in range(first, min(after, first + tries)):
                client = number.to_bytes(octets)
                found.setdefault(self._client_key(client), client)
                if len(found) == _MAX_CLIENTS:
                    break
        yield from found.values()

    def _all(self, contents: tuple[Content, ...]) -> Iterator[Profile]:
        for transport in Transport:
            settings = tuple(self._settings(transport))
            step = 1 if self.is_complete else -(-len(settings) * len(contents) * 2 // _MAX_PROFILES)
            for at, (named, port, client) in enumerate(settings):
                if not transport.has_ports:
                    yield Profile(transport, recognise(transport, b"", 0), (), 0, client)
                    continue
                if transport is Transport.TCP and not named.carried:
                    yield Profile(transport, None, named.asked, port, client)
                for content in contents[at % step :: step] if at else contents:
                    seen = replace(content, names=named.carried) if named.carried else content
                    yield Profile(transport, seen, named.asked + named.carried, port, client)

    def _settings(self, transport: Transport) -> Iterator[tuple[Named, int, bytes]]:
        names, ports, clients = self._names, self._ports, self._clients
        if not transport.has_ports:
            names, ports = names[:1], (0,)
        if self.is_complete:
            yield from product(names, ports, clients)
            return
        yield from ((one, ports[0], clients[0]) for one in names)
        yield from ((names[0], one, clients[0]) for one in ports)
        yield from ((names[0], ports[0], one) for one in clients)


_NO_PLACE = Place({})


def _of(wanted: Iterable[frozenset[Value]], value: Value | None) -> Hashable:
    return None if value is None else tuple(value in one for one in wanted)


def _met(atoms: Atoms, plaintext: tuple[Identifier, ...]) -> tuple[bool, ...]:
    kinds = {one.kind for one in plaintext}
    return tuple(not one.isdisjoint(kinds) for one in atoms.plaintext)


def _names_are_known(content: Content) -> bool:
    if content.plaintext is None or content.hides_name:
        return False
    return bool(content.names) or content.protocol not in _MAY_HIDE_A_NAME


def _firsts(values: Iterable[Value], key: Callable[[Value], Hashable]) -> tuple[Value, ...]:
    """Give the first value of each key."""
    found: dict[Hashable, Value] = {}
    for value in values:
        found.setdefault(key(value), value)
    return tuple(found.values())


def _contents(atoms: Atoms) -> Iterator[Content]:
    """Give one payload of each kind that the rules tell apart."""
    traffic = _firsts(Traffic, lambda one: _of(atoms.traffic, one))
    known = [one for one in Protocol if one not in (Protocol.UNKNOWN, Protocol.ICMP)]
    protocols = _firsts(
        known,
        lambda one: (_of(atoms.protocols, one), atoms.asks_names and one in _MAY_HIDE_A_NAME),
    )
    for one in (*traffic, None):
        yield Content(Protocol.UNKNOWN, traffic=one)
        for protocol, plaintext in product(protocols, _plaintexts(atoms)):
            yield Content(protocol, traffic=one, plaintext=plaintext)


def _plaintexts(atoms: Atoms) -> tuple[tuple[Identifier, ...] | None, ...]:
    """Give payloads' identifiers: none told, none there, and each way to meet what is asked."""
    found: dict[tuple[bool, ...], tuple[Identifier, ...]] = {_met(atoms, ()): ()}
    for kind in IdentifierKind:
        more = {_met(atoms, both): both for both in _with(found.values(), kind)}
        found = {**more, **found}
    fewest = sorted(found.values(), key=len)
    return (None, *fewest[: _MAX_PLAINTEXT + 1])


def _with(
    found: Iterable[tuple[Identifier, ...]], kind: IdentifierKind
) -> Iterator[tuple[Identifier, ...]]:
    for one in found:
        yield (*one, Identifier(kind, 4 * len(one), 4))


def _named(atoms: Atoms) -> Iterator[Named]:
    """Give no name, one that nobody asks about, and for each set one of its names."""
    yield Named()
    if atoms.asks_names:
        yield Named(carried=(_OTHER_NAME,))
    examples = [name for one in atoms.names for name in one.examples()]
    for name in _firsts(
        examples, lambda name: tuple(bool(s.matching((name,))) for s in atoms.names)
    ):
        yield Named(asked=(name,))
        if atoms.asks_names:
            yield Named(carried=(name,))


def _port_candidates(atoms: Atoms) -> Iterator[int]:
    edges = {edge for ranges in atoms.ports for first, last in ranges for edge in (first, last + 1)}
    # Ports of nobody's rule first, then each part between two edges.
    yield from (port for port in (8000, 443) if not edges)
    yield from (port for port in (*_outside(atoms), 0, *sorted(edges)) if port <= 65535)


def _outside(atoms: Atoms) -> Iterator[int]:
    """Give the first port that no rule asks for, if there is one."""
    wanted = [part for ranges in atoms.ports for part in ranges]
    for port in range(1, 65536):
        if not any(first <= port <= last for first, last in wanted):
            yield port
            return


def _client_ranges(atoms: Atoms) -> Iterator[tuple[int, int, int]]:
    """Give (octets, first, after) of clients that no rule's networks tell apart."""
    yield 4, int.from_bytes(_CLIENT), int.from_bytes(_CLIENT) + (1 << 20)
    for octets in (4, 16):
        edges = sorted({0, 1 << 8 * octets}.union(*(one.edges(octets) for one in atoms.clients)))
        if len(edges) > 2:
            yield from ((octets, *pair) for pair in pairwise(edges))
