"""Flows by client.  Owns: which flows of one transport each client has, the oldest first.
Never: verdicts, bounds, the clock."""

from __future__ import annotations

from collections import OrderedDict

from gateway.model import FlowKey, Transport

_Client = tuple[bytes, Transport]


class ByClient:
    """Counts each client's flows, and names its oldest.

    In a flood of new flows nearly every client has one alone, which is kept by itself: a mapping
    for each would take more memory and time than all the rest of a flow.
    """

    def __init__(self) -> None:
        self._one: dict[_Client, FlowKey] = {}
        self._several: dict[_Client, OrderedDict[FlowKey, None]] = {}

    def add(self, key: FlowKey) -> None:
        """Take note of a flow that is not there yet."""
        client = key.client.address, key.transport
        several = self._several.get(client)
        if several is not None:
            several[key] = None
        elif (one := self._one.setdefault(client, key)) is not key:
            del self._one[client]
            self._several[client] = OrderedDict.fromkeys((one, key))

    def remove(self, key: FlowKey) -> None:
        """Forget a flow that is there."""
        client = key.client.address, key.transport
        if self._one.pop(client, None) is None:
            several = self._several[client]
            del several[key]
            if not several:
                del self._several[client]

    def count(self, key: FlowKey) -> int:
        """Give how many flows of its transport a flow's client has."""
        client = key.client.address, key.transport
        several = self._several.get(client)
        return int(client in self._one) if several is None else len(several)

    def oldest(self, key: FlowKey) -> FlowKey | None:
        """Give the first of them that was added; None: there is none."""
        client = key.client.address, key.transport
        several = self._several.get(client)
        return self._one.get(client) if several is None else next(iter(several))

    def of(self, client: bytes, transport: Transport) -> tuple[FlowKey, ...]:
        """Give a client's flows of a transport, the oldest first."""
        several = self._several.get((client, transport))
        if several is not None:
            return tuple(several)
        one = self._one.get((client, transport))
        return () if one is None else (one,)
