"""The case that tests of relayed streams are made of.  Owns: StreamCase: client, forward, edge.
Knows: the TCP forward.  Never: anything off loopback."""

from __future__ import annotations

from gateway.listeners.forward import TcpForwardListener
from gateway.listeners.limits import Limits
from gateway.model import Endpoint, Verdict
from tests.listeners.case import ListenerCase
from tests.listeners.fakes import LOOPBACK, Judging
from tests.listeners.peers import TcpEdge, TcpPeer

EDGE = Endpoint.parse("192.0.2.1:443")


class StreamCase(ListenerCase):
    """A TCP forward to EDGE, and how to speak through it."""

    async def begin(
        self, verdict: Verdict | Judging, limits: Limits | None = None, greeting: bytes = b""
    ) -> tuple[TcpPeer, TcpEdge]:
        """Open the forward, an edge behind it, and one client."""
        edge = self.tcp_edge(str(EDGE), verdict, greeting)
        self.listener = TcpForwardListener(LOOPBACK, EDGE, self.wiring(limits))
        self.at = self.open(self.listener)
        return await self.connect(self.at), edge

    async def counted(self, name: str) -> None:
        """Wait for a counter."""
        await self.until(lambda: name in self.listener.counters)

    async def heard(self, peers: list[TcpPeer], data: bytes) -> TcpPeer:
        """Wait until the one peer heard this."""
        await self.until(lambda: peers and peers[0].heard_len >= len(data))
        self.assertEqual(peers[0].heard, data)
        return peers[0]
