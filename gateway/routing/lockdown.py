"""Locking and unlocking a host.  Owns: what stands in the kernel while no gateway runs.
Knows: the kernel room.  Never: a policy."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.kernel import guard, nft, routes
from gateway.kernel.lock import Lock
from gateway.kernel.net import Net

_NAME = "gateway"


def lock(clients: Sequence[str]) -> bool:
    """Let nothing pass from the clients until a gateway with a policy runs.

    The gateway takes the lock's place in one transaction.  What a gateway that has died left is a
    lock already, and is left as it is: the flows that it let go go on.

    Args:    clients: the interfaces that they are behind; () locks all forwarding.
    Returns: False if there was nothing to do.
    Raises:  CarryError: a gateway runs, or the kernel refuses; DataError: a table of our name that
             is somebody else's.
    """
    keeper = Lock(_NAME)
    keeper.take()
    try:
        table = nft.Nft(_NAME)
        if (found := table.installed()) is not None and found.epoch:
            return False
        guard.apply(clients)
        table.lock(tuple(clients))
        return True
    finally:
        keeper.release()


def unlock() -> list[str]:
    """Remove all that gateways made on this host, and nothing else's.

    Returns: what was removed, in words; [] if there was nothing.
    Raises:  CarryError: a gateway runs, or the kernel refuses; DataError: a table of our name that
             is somebody else's.
    """
    keeper = Lock(_NAME)
    keeper.take()
    try:
        removed = []
        if nft.Nft(_NAME).remove():
            removed.append(f"the nft table inet {_NAME}")
        if Net().remove():
            removed.append("the nft table that no canary leaves through")
        if routes.remove():
            removed.append("the routing rules and tables of exits and the local proxy")
        if guard.remove():
            removed.append("the routing rules that fence the clients in")
        return removed
    finally:
        keeper.release()
