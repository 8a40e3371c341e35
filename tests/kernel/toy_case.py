"""Test cases with a toy gateway.  Owns: a lab in which it runs, calls in its namespace.
Knows: the lab, RouterCase's clients.  Never: what is tested."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

from gateway.errors import CarryError
from tests.kernel.toy import Toy
from tests.lab.case import LabCase
from tests.lab.router_case import RouterCase
from tests.lab.topology import Space

Result = TypeVar("Result")
_PATIENCE_S = 10.0
FAMILIES = (0, 1)
"""IPv4 and IPv6, as indices of pairs."""


def both(last: int, port: int = 8000) -> tuple[str, str]:
    """Give an endpoint in both families; the toy judges by its last octet."""
    return f"192.0.2.{last}:{port}", f"[2001:db8:a::{last}]:{port}"


class HostCase(LabCase):
    """A lab in whose gateway functions and commands are called."""

    def inside(self, function: Callable[[], Result]) -> Result:
        """Call a function in the gateway's namespace.

        On a busy host the kernel may lack room for its answers: then it is called again.
        """
        end_s = time.monotonic() + _PATIENCE_S
        while True:
            try:
                return self.lab.call(Space.GATEWAY, function)
            except CarryError as error:
                if "buffer space" not in str(error) or time.monotonic() > end_s:
                    raise
            time.sleep(0.05)

    def gateway(self, *argv: str, text: str = "") -> str:
        """Run a command in the gateway's namespace."""
        done = self.lab.run(Space.GATEWAY, argv, text=text)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def nft(self, *words: str) -> str:
        """List something of the gateway's table: "chain" and its name, or nothing for all."""
        kind, *name = words or ("table",)
        return self.gateway("nft", "list", kind, "inet", "gateway", *name)


class ToyCase(HostCase, RouterCase):
    """A lab whose gateway is the toy."""

    OPTIONS: ClassVar[dict[str, Any]] = {}
    """Of its Router."""

    def setUp(self) -> None:
        """Start the internet and the toy, and watch the gateway's uplink."""
        LabCase.setUp(self)
        self.internet_ = self.internet()
        self.lay()
        self.uplink = self.wire(Space.GATEWAY, "uplink")
        self.toy = Toy(self.lab, **self.OPTIONS)
        self.addCleanup(self.toy.stop)

    def lay(self) -> None:
        """Change the lab before the toy starts."""

    def until(self, holds: Callable[[], bool], what: str) -> None:
        """RouterCase API."""
        end_s = time.monotonic() + _PATIENCE_S
        while not holds():
            if time.monotonic() > end_s:
                self.fail(what)
            time.sleep(0.01)

    def sentinel(self) -> None:
        """Have something new judged and answered in both families: what was sent before has met
        its end by then."""
        for six in FAMILIES:
            to = both(1)[six]
            self.assertEqual(self.ask(self.client(to), to, b"\x7fsentinel")[0], b"\x7fsentinel")

    def assert_none(self, *endpoints: str) -> None:
        """Check that nothing has passed the uplink to or from these addresses."""
        self.sentinel()
        self.assertEqual(self.uplink.missed, 0)
        self.assertEqual(self.uplink.between(*map(self.host, endpoints)), [])

    def told(self, to: str, kind: int = socket.SOCK_DGRAM) -> OSError | None:
        """Try to reach an endpoint; give the error that the client is told, None if it is told
        nothing before a sentinel is answered."""
        with self.client(to, kind) as client:
            client.setblocking(False)
            client.connect_ex((self.host(to), 8000))
            if kind == socket.SOCK_DGRAM:
                client.send(b"\x7fhello")
            self.sentinel()
            number = client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            return OSError(number, "") if number else None
