"""Clients that are none: the gateway's own canaries.  Owns: who they are, and what is seen of each:
the verdict that it met, the ways out that were asked for.  Knows: flows.
Never: sending them; carrying them: their ways out lead nowhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from gateway.model import Endpoint, FlowKey, Verdict

WRAP = "wrap"
"""The one way that a canary may take."""


@dataclass(slots=True)
class Watch:
    """What was seen of one canary since it is watched."""

    keys: list[FlowKey] = field(default_factory=list)
    """The flows that were judged, in order."""
    verdict: Verdict | None = None
    """The last one; None: it was not judged, or it was remembered."""
    ways: list[str] = field(default_factory=list)
    """By which ways it was about to leave: "allow", "reroute", "wrap"."""
    on_seen: Callable[[], None] = lambda: None
    """Called whenever something was seen."""

    @property
    def way(self) -> str | None:
        """The way that tells most: any but a wrap; None: it was not about to leave."""
        others = (way for way in self.ways if way != WRAP)
        return next(others, WRAP if self.ways else None)


class Apart:
    """The canaries of one process.  Nobody is told of what they do but who watches them."""

    def __init__(self, addresses: Iterable[bytes] = ()) -> None:
        """Begin.

        Args:    addresses: that only canaries have, whatever their port.
        """
        self._addresses = frozenset(addresses)
        self._watched: dict[Endpoint, Watch] = {}
        self.on_stray: Callable[[FlowKey, str], None] = lambda key, way: None
        """Told of a canary that was about to leave, and that nobody here watches."""

    def __contains__(self, client: object) -> bool:
        if client in self._watched:
            return True
        return isinstance(client, Endpoint) and client.address in self._addresses

    def watch(self, client: Endpoint) -> Watch:
        """Take a client for a canary from here on."""
        watch = self._watched[client] = Watch()
        return watch

    def leave(self, client: Endpoint) -> None:
        """Watch it no more; nothing, if nobody does."""
        self._watched.pop(client, None)

    def judged(self, key: FlowKey, verdict: Verdict) -> None:
        """Learn of a canary's verdict."""
        if (watch := self._watched.get(key.client)) is not None:
            watch.keys.append(key)
            watch.verdict = verdict
            watch.on_seen()

    def took(self, key: FlowKey, way: str) -> None:
        """Learn that a canary was about to leave."""
        if (watch := self._watched.get(key.client)) is not None:
            watch.ways.append(way)
            watch.on_seen()
        elif way != WRAP:
            self.on_stray(key, way)
