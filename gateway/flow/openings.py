"""Hellos over several datagrams.  Owns: the first datagrams of QUIC connections, for as long as
their ClientHello is told by several only; how many are kept.
Knows: wire's recognisers.  Never: verdicts, the clock."""

from __future__ import annotations

from collections import OrderedDict

from gateway.model import Content, FlowKey, Protocol
from gateway.wire import QUIC_IN_PART, recognise_together

# A hello with post-quantum key shares takes two datagrams; a few come twice.
_MAX_KEPT = 3
# Connections that open at one time; the oldest is forgotten, and told by each datagram alone.
_MAX_FLOWS = 512
# Initials are 1200 octets and a little more; nothing longer is kept: 3 MiB in all.
_MAX_LEN = 2048


class Openings:
    """Tells what a datagram is by those before it in its flow, if it needs them."""

    def __init__(self) -> None:
        self._kept: OrderedDict[FlowKey, tuple[bytes, ...]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def content(self, key: FlowKey, payload: bytes, alone: Content) -> Content:
        """Give what a datagram is.

        What was kept stays, so that the last part says the whole name however often it is sent.

        Args:    alone: what it is by itself; given back where no others help.
        """
        if alone.protocol is not Protocol.QUIC or len(payload) > _MAX_LEN:
            return alone
        kept = self._kept.get(key, ())
        if kept and alone.message in ("Initial", QUIC_IN_PART):
            together = recognise_together((*kept, payload))
            if together is not None:
                if together.message == QUIC_IN_PART and len(kept) < _MAX_KEPT:
                    self._kept[key] = (*kept, payload)
                return together
        if alone.message == QUIC_IN_PART:
            self._keep(key, payload)
        return alone

    def _keep(self, key: FlowKey, payload: bytes) -> None:
        self._kept.pop(key, None)  # of an earlier connection between the same ends
        if len(self._kept) >= _MAX_FLOWS:
            self._kept.popitem(last=False)
        self._kept[key] = (payload,)

    def forget(self, key: FlowKey) -> None:
        """Let a flow's datagrams go."""
        self._kept.pop(key, None)
