"""The second fence.  Owns: routing rules by which nothing of the clients passes without a verdict's
mark, even when every rule of netfilter is gone.  Knows: ip-rule(8), pyroute2.
Never: nft.  Its calls block: they belong in a thread.

Other software may flush netfilter's rules, all at once and ours with them: then packets bear no
mark, and routing finds them no way."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import Any

from pyroute2 import IPRoute  # type: ignore[import-untyped]  # pyroute2 ships no types
from pyroute2.netlink.exceptions import (  # type: ignore[import-untyped]  # likewise
    NetlinkError,
)

from gateway.errors import CarryError
from gateway.kernel.marks import EPOCH_MASK

PRIORITY = 8_690
"""Of our rules: behind local (0), so that what is for the gateway itself arrives, and before all
others; whatever else has it is not ours."""
_FAMILIES = (socket.AF_INET, socket.AF_INET6)
_PROHIBIT = 8  # FR_ACT_PROHIBIT, linux/fib_rules.h


def apply(interfaces: Iterable[str]) -> None:
    """Fence these interfaces in, and no others.

    Raises:  CarryError: the kernel refuses.
    """
    wanted = set(interfaces)
    try:
        with IPRoute() as ipr:
            for family in _FAMILIES:
                there = set(_fenced(ipr, family))
                for name in wanted - there:
                    ipr.rule("add", **_rule(family, name))
                for name in there - wanted:
                    ipr.rule("del", **_rule(family, name))
    except NetlinkError as error:
        raise CarryError("routing rules", str(error)) from error


def remove() -> bool:
    """Take every fence away; False if there was none.

    Raises:  CarryError: the kernel refuses.
    """
    found = bool(fenced())
    apply(())
    return found


def fenced() -> frozenset[str]:
    """Give the interfaces that are fenced in, for both families.

    Raises:  CarryError: the kernel does not say.
    """
    try:
        with IPRoute() as ipr:
            return frozenset(name for family in _FAMILIES for name in _fenced(ipr, family))
    except NetlinkError as error:
        raise CarryError("routing rules", str(error)) from error


def _rule(family: int, interface: str) -> dict[str, object]:
    return {
        "family": family,
        "priority": PRIORITY,
        "iifname": interface,
        "fwmark": 0,
        "fwmask": EPOCH_MASK,
        "action": _PROHIBIT,
    }


def _fenced(ipr: Any, family: int) -> Iterable[str]:
    for rule in ipr.get_rules(family=family):
        if rule.get_attr("FRA_PRIORITY") == PRIORITY:
            name = rule.get_attr("FRA_IIFNAME")
            if name:
                yield str(name)
