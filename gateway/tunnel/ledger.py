"""The ledger of routes.  Owns: how far endpoints are behind each exit, which route is the fastest,
what it costs that not every route is allowed.  Knows: RFC 6298 (smoothing).
Never: tunnels, clocks, probing; it is told what clients' own pings took."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from gateway.model import Endpoint

DIRECT = "(direct)"
"""The route without an exit: what the gateway let go that way shows how long it takes.  No exit can
have this name."""
MAX_ENDPOINTS = 4_096
"""Endpoints that are remembered: those that were pinged last."""
_MAX_TRIES = 3
"""Flows that are sent by an exit nobody answered through, before it is left out."""
_ALPHA = 1 / 8
_UNKNOWN_FAR_S, _UNKNOWN_NEAR_S = 1e6, 1e3
# As in the choice of the nearest exit: routes of equal length must not take turns.
_SHARE, _MARGIN_S = 0.15, 0.005


@dataclass(frozen=True, slots=True)
class Far:
    """From an exit to an endpoint and back."""

    least_s: float
    smoothed_s: float
    samples: int

    def with_sample(self, far_s: float) -> Far:
        """Give the same with one more."""
        smoothed_s = self.smoothed_s + _ALPHA * (far_s - self.smoothed_s)
        return Far(min(self.least_s, far_s), smoothed_s, self.samples + 1)


@dataclass(slots=True)
class _Route:
    far: Far | None = None
    tries: int = 0


@dataclass(frozen=True, slots=True)
class Route:
    """One way to an endpoint, as long as it takes now."""

    exit: str
    total_s: float
    """What a client's ping by it takes, from the gateway on."""
    far: Far
    is_allowed: bool


@dataclass(frozen=True, slots=True)
class Account:
    """What is known of the ways to one endpoint."""

    endpoint: Endpoint
    routes: tuple[Route, ...]
    """Measured ones, the fastest first."""

    @property
    def fastest(self) -> Route | None:
        """The fastest of all."""
        return next(iter(self.routes), None)

    @property
    def fastest_allowed(self) -> Route | None:
        """The fastest of those that may be taken."""
        return next((one for one in self.routes if one.is_allowed), None)

    @property
    def cost_s(self) -> float | None:
        """What the fence costs a round trip; None: no allowed route was measured."""
        best, allowed = self.fastest, self.fastest_allowed
        return None if best is None or allowed is None else allowed.total_s - best.total_s


class Ledger:
    """Remembers what pings took, by endpoint and exit."""

    def __init__(self) -> None:
        self._routes: OrderedDict[Endpoint, dict[str, _Route]] = OrderedDict()

    def __len__(self) -> int:
        """Count the endpoints."""
        return len(self._routes)

    def answered(self, exit_: str, endpoint: Endpoint, total_s: float, near_s: float) -> None:
        """Take note of a ping's answer.

        Args:    total_s: between its leaving the gateway and its answer's coming; near_s: to the
                 exit and back at that time.
        """
        route = self._route(exit_, endpoint)
        far_s = max(total_s - near_s, 0.0)  # the exit's own time jitters too
        route.tries = 0
        route.far = Far(far_s, far_s, 1) if route.far is None else route.far.with_sample(far_s)

    def choose(self, endpoint: Endpoint, near: Mapping[str, float | None]) -> str | None:
        """Choose the exit of a new flow so that pings through it take what they would take without
        a tunnel, as nearly as can be; and take note that it was chosen.

        No route by an exit is shorter than the direct one, so the shortest is the nearest to it.
        Until all were measured, new flows try the others in turn.

        Args:    near: round trips to the usable exits, s; None: not measured.
        Returns: None: there is no exit.
        """
        if not near:
            return None
        routes = {name: self._route(name, endpoint) for name in near}
        untried = [name for name, one in routes.items() if not one.far and one.tries < _MAX_TRIES]
        if untried:
            chosen = min(untried, key=lambda name: routes[name].tries)
        else:
            totals = {name: _total_s(one, near[name]) for name, one in routes.items()}
            chosen = min(totals, key=lambda name: totals[name])
        routes[chosen].tries += routes[chosen].far is None
        return chosen

    def gave_up(self, exit_: str, endpoint: Endpoint) -> None:
        """Take note that nothing answers by an exit: it is not tried again."""
        route = self._route(exit_, endpoint)
        if route.far is None:
            route.tries = _MAX_TRIES

    def keeps(self, exit_: str, endpoint: Endpoint, near: Mapping[str, float | None]) -> bool:
        """Say whether a flow should stay on its exit, by what is known now: not where another was
        not tried yet, or is faster by more than chance."""
        routes = {name: self._route(name, endpoint) for name in near}
        if any(one.far is None and one.tries < _MAX_TRIES for one in routes.values()):
            own = routes.get(exit_)
            return own is not None and own.far is None and own.tries < _MAX_TRIES
        totals = {name: _total_s(one, near[name]) for name, one in routes.items()}
        if exit_ not in totals:
            return not totals
        gain_s = totals[exit_] - min(totals.values())
        return gain_s <= max(_MARGIN_S, _SHARE * totals[exit_])

    def account(
        self, endpoint: Endpoint, near: Mapping[str, float | None], allowed: Collection[str]
    ) -> Account:
        """Say how long each measured route to an endpoint takes.

        Args:    near: round trips to exits, s; an exit whose is not known is left out;
                 allowed: exits that may be taken.
        """
        routes = [
            Route(name, near_s + one.far.smoothed_s, one.far, name in allowed)
            for name, one in self._routes.get(endpoint, {}).items()
            if one.far is not None and (near_s := near.get(name)) is not None
        ]
        return Account(endpoint, tuple(sorted(routes, key=lambda one: one.total_s)))

    def accounts(
        self, near: Mapping[str, float | None], allowed: Collection[str], most: int
    ) -> tuple[Account, ...]:
        """Give the accounts of the endpoints that were used last, as far as one was measured."""
        newest = (self.account(one, near, allowed) for one in reversed(self._routes))
        told = (one for one in newest if one.routes)
        return tuple(one for one, _ in zip(told, range(most), strict=False))

    def _route(self, exit_: str, endpoint: Endpoint) -> _Route:
        routes = self._routes.setdefault(endpoint, {})
        self._routes.move_to_end(endpoint)
        if len(self._routes) > MAX_ENDPOINTS:
            self._routes.popitem(last=False)
        return routes.setdefault(exit_, _Route())


def _total_s(route: _Route, near_s: float | None) -> float:
    """Give what a ping takes by a route; of a part that is not known: longer than any that is."""
    far_s = _UNKNOWN_FAR_S if route.far is None else route.far.smoothed_s
    return far_s + (_UNKNOWN_NEAR_S if near_s is None else near_s)
