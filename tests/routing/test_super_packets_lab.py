"""Several datagrams in one piece, as a client's host may hand them over (UDP_SEGMENT)."""

from __future__ import annotations

import socket

from tests.lab.offloads import SEGMENTS, offload
from tests.lab.router_case import RouterCase
from tests.lab.topology import Lab, Space
from tests.support.epochs import PING

_TO = ("203.0.113.7:4001", "[2001:db8:a::7]:4001")
_MEDIA = bytes.fromhex("80600001000000a011223344") + bytes(160)
_MTU = 1500
_UDP_SEGMENT = 103  # linux/udp.h


class SuperPacketTests(RouterCase):
    """A ping hidden behind media."""

    def test_hidden_ping(self) -> None:
        """A plaintext ping that comes in one piece with media of an accepted flow does not leave in
        the open, whether the flow is new or known; each datagram is judged by itself, and the media
        arrives."""
        self.lab.call(Space.CLIENT, lambda: offload("gateway", *SEGMENTS))
        inside = self.wire(Space.GATEWAY, "clients")
        for six, to in enumerate(_TO):
            known, new = self.client(to), self.client(to)
            self.assertEqual(self.ask(known, to, _MEDIA)[0], _MEDIA)
            first = _MEDIA.ljust(_MTU - (48 if six else 28), b"\7")
            for client in (known, new):
                client.setsockopt(socket.IPPROTO_UDP, _UDP_SEGMENT, len(first))
                self.send(client, to, first + PING)
                said = {client.recvfrom(65_536)[0] for _ in range(2)}
                self.assertEqual(said, {first, PING})
            # What is looked for came in, in one piece with media.
            whole = [one for one in inside.frames() if first + PING in one.octets]
            self.assertEqual(len(whole), 2)
            self.assertEqual(self.arrived(to).count(first), 2)
        shown = [one for one in self.uplink.frames() if PING[10:14] in one.octets]
        self.assertEqual((self.uplink.missed, shown), (0, []))
        self.assertIn(Lab.EXIT[0], self.sources(_TO[0]))
