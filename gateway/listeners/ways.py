"""From a verdict to where its bytes go: the one place that says what each action means.
Owns: way_of, dial.  Knows: Routes.  Never: deciding; a way that is missing is never the direct one.
"""

from __future__ import annotations

from typing import assert_never, cast

from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint

from gateway.errors import CarryError
from gateway.listeners.door import Door
from gateway.listeners.interfaces import Carrier, Routes
from gateway.listeners.reactor import StreamEndpoint
from gateway.model import SCRUBBED, Action, Endpoint, FlowKey, Verdict


def way_of(verdict: Verdict, key: FlowKey, routes: Routes) -> Endpoint | Carrier:
    """Find what carries a flow: the endpoint to send to, or the exit to send through.

    Raises:  CarryError: there is no such way, or the verdict is a block; the flow is blocked.
    """
    match verdict.action:
        case Action.ALLOW:
            return routes.reach.address(key.destination)
        case Action.REROUTE:
            return _rerouted(verdict.target or "", routes)
        case Action.WRAP:
            return _wrapped(verdict.target, key, routes)
        case Action.BLOCK:
            raise CarryError("block", "a blocked flow has no way")
        case _:
            assert_never(verdict.action)


def _wrapped(target: str | None, key: FlowKey, routes: Routes) -> Carrier:
    """A wrap names an exit, or the nearest; and whether it is given pseudonyms only."""
    if target is not None and target.startswith(SCRUBBED):
        return routes.scrubbed(target.removeprefix(SCRUBBED), key.client)
    return routes.carrier(target)


def _rerouted(target: str, routes: Routes) -> Endpoint | Carrier:
    """A reroute names a relay, or else an exit."""
    try:
        return routes.relay(target)
    except CarryError:
        return routes.rerouted(target)


def dial(verdict: Verdict, key: FlowKey, door: Door) -> StreamEndpoint:
    """Find what connects a stream.

    Raises:  CarryError: there is no such way.
    """
    way = way_of(verdict, key, door.routes_of(key))
    if not isinstance(way, Endpoint):
        return cast(StreamEndpoint, way.stream_endpoint(key.destination))
    kind = TCP4ClientEndpoint if len(way.address) == 4 else TCP6ClientEndpoint
    endpoint = kind(door.reactor, way.host, way.port, timeout=door.limits.connect_timeout_s)
    return cast(StreamEndpoint, endpoint)
