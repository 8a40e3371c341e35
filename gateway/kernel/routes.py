"""Rules and routes for marks.  Owns: which marks are looked up in which routing tables, and those.
Knows: ip-rule(8), pyroute2.  Never: nft.  Its calls block: they belong in a thread."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pyroute2 import IPRoute  # type: ignore[import-untyped]  # pyroute2 ships no types
from pyroute2.netlink.exceptions import (  # type: ignore[import-untyped]  # likewise
    NetlinkError,
)

from gateway.errors import CarryError
from gateway.kernel.marks import TARGET_MASK, mark
from gateway.kernel.router import Router

FIRST_TABLE = 870_000
"""Our routing tables' numbers begin here; a target's is this and its number."""
PRIORITY = 8_700
"""Of our rules: before main (32766), after local (0); whatever else has it is not ours."""
_PROTOCOL = 187
# Of the route that a table ends with: what an exit's interface does not take goes nowhere.
_LAST_METRIC = 4_278_198_272
_FAMILIES = (socket.AF_INET, socket.AF_INET6)


@dataclass(frozen=True, slots=True, order=True)
class Way:
    """Where packets of one target are looked up."""

    target: int
    interface: str
    """Their way out."""

    @property
    def table(self) -> int:
        """The routing table."""
        return FIRST_TABLE + self.target


def desired(router: Router) -> tuple[Way, ...]:
    """Give the ways that a desired state needs."""
    return tuple(Way(one.target, one.interface) for one in router.exits)


def apply(ways: Iterable[Way]) -> None:
    """Lay these ways for both families, and take away ours that are not among them.

    Raises:  CarryError: an interface is not there (all else is laid, and what should leave by it
             goes nowhere), or the kernel refuses.
    """
    wanted = tuple(ways)
    absent = set()
    with _opened() as ipr:
        try:
            tables = {way.table for way in wanted}
            for family in _FAMILIES:
                for table in _tables(ipr, family) - tables:
                    _remove(ipr, family, table)
                absent |= {way.interface for way in wanted if not _lay(ipr, family, way)}
        except NetlinkError as error:
            raise CarryError("routes", str(error)) from error
    if absent:
        raise CarryError(", ".join(sorted(absent)), "there is no such interface")


def remove() -> bool:
    """Take away all ways of ours; False if there were none.

    Raises:  CarryError: the kernel refuses.
    """
    found = False
    with _opened() as ipr:
        try:
            for family in _FAMILIES:
                for table in _tables(ipr, family):
                    _remove(ipr, family, table)
                    found = True
        except NetlinkError as error:
            raise CarryError("routes", str(error)) from error
    return found


def listed() -> dict[int, frozenset[int]]:
    """Give the targets that have a rule of ours, by family."""
    with _opened() as ipr:
        return {
            family: frozenset(table - FIRST_TABLE for table, _ in _ruled(ipr, family))
            for family in _FAMILIES
        }


def _opened() -> Any:
    return IPRoute()


def _lay(ipr: Any, family: int, way: Way) -> bool:
    """Lay a way; False if its interface is not there."""
    common = {"family": family, "table": way.table, "proto": _PROTOCOL, "dst": "default"}
    # The last resort first: at no moment does a packet find the table empty and go on to main.
    ipr.route("replace", **common, type="unreachable", priority=_LAST_METRIC)
    found = ipr.link_lookup(ifname=way.interface)
    if found:
        ipr.route("replace", **common, oif=found[0], priority=1)
    there = _ruled(ipr, family)
    for bound in _bounds(way):
        if (way.table, bound) not in there:
            ipr.rule("add", **_rule(family, way.table, bound))
    return bool(found)


def _remove(ipr: Any, family: int, table: int) -> None:
    for ruled, bound in _ruled(ipr, family):
        if ruled == table:
            ipr.rule("del", **_rule(family, table, bound))
    ipr.flush_routes(family=family, table=table)


def _bounds(way: Way) -> tuple[str, ...]:
    """Give what leads to a way's table: the mark (""), and for sockets of our own that are bound to
    its interface, which bear none, that interface."""
    return "", way.interface


def _rule(family: int, table: int, bound: str) -> dict[str, object]:
    rule = {"family": family, "priority": PRIORITY, "table": table}
    if bound:
        return {**rule, "oifname": bound}
    return {**rule, "fwmark": mark(0, table - FIRST_TABLE), "fwmask": TARGET_MASK}


def _tables(ipr: Any, family: int) -> set[int]:
    """Give the tables of ours that there is anything in, or a rule for."""
    routed = {
        table
        for route in ipr.get_routes(family=family)
        if (table := route.get_attr("RTA_TABLE")) is not None and _is_ours(table)
    }
    return routed | {table for table, _ in _ruled(ipr, family)}


def _ruled(ipr: Any, family: int) -> set[tuple[int, str]]:
    """Give the tables that our rules lead to, and by what."""
    return {
        (table, str(rule.get_attr("FRA_OIFNAME") or ""))
        for rule in ipr.get_rules(family=family)
        if (table := rule.get_attr("FRA_TABLE")) is not None
        and _is_ours(table)
        and rule.get_attr("FRA_PRIORITY") == PRIORITY
    }


def _is_ours(table: int) -> bool:
    return FIRST_TABLE < table <= FIRST_TABLE + 255
