"""Flows through the toy gateway that leave by an interface of their own."""

from __future__ import annotations

import json
from typing import ClassVar

from gateway.kernel.router import InterfaceExit
from gateway.model import Endpoint
from tests.kernel.toy_case import FAMILIES, ToyCase, both
from tests.lab.topology import Space

_OWN = ("10.9.0.1", "2001:db8:9::1")


class ExitTests(ToyCase):
    """A second link to the internet is an exit."""

    OPTIONS: ClassVar = {"exits": (InterfaceExit(2, "second"),)}

    def lay(self) -> None:
        """ToyCase API: a second link between gateway and internet."""
        ends = [self.lab.name(space) for space in (Space.GATEWAY, Space.INTERNET)]
        link = f"ip link add second netns {ends[0]} type veth peer second netns {ends[1]}"
        self.gateway(*link.split())
        for space, end in ((Space.GATEWAY, 1), (Space.INTERNET, 2)):
            for command in (f"address add 10.9.0.{end}/24", f"address add 2001:db8:9::{end}/64"):
                self.lab.run(space, ["ip", *command.split(), "dev", "second"])
            self.lab.run(space, "ip link set second up".split())
        # A point-to-point exit, which a tunnel is, needs no neighbours.
        shown = json.loads(self.lab.run(Space.INTERNET, "ip -j link show second".split()).stdout)
        for endpoint in both(7):
            neighbour = f"{self.host(endpoint)} dev second lladdr {shown[0]['address']}"
            self.gateway("ip", "neighbour", "add", *neighbour.split())

    def test_exit(self) -> None:
        """A flow leaves by it and by nothing else, masqueraded, and its answers come back; when
        the interface is down, nothing of it leaves elsewhere."""
        clients = [self.client(both(7)[six]) for six in FAMILIES]
        for six in FAMILIES:
            to = both(7)[six]
            for number in range(5):
                said = b"\x7f%d" % number
                self.assertEqual(self.ask(clients[six], to, said), (said, Endpoint.parse(to)))
            self.assertEqual(self.converse(to, b"a stream"), b"a stream")
            self.assertTrue(self.echo(to))
            self.assertEqual(self.sources(to), {_OWN[six]})
        self.assertEqual(len(self.toy.asked), 6)
        self.gateway("ip", "link", "set", "second", "down")
        for six in FAMILIES:
            self.send(clients[six], both(7)[six], b"\x7fknown")
            self.send(self.client(both(7)[six]), both(7)[six], b"\x7fnew")
        self.assert_none(*both(7))
