"""curl through the SOCKS 5 and the HTTP CONNECT front doors to a web server on loopback."""

from __future__ import annotations

import shutil
from typing import cast
from unittest import skipIf

from twisted.internet.interfaces import IReactorProcess
from twisted.internet.utils import getProcessOutputAndValue
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from gateway.listeners.http_connect import HttpConnectListener
from gateway.listeners.socks5 import Socks5Listener
from gateway.model import Endpoint, pack
from tests.listeners.case import ListenerCase
from tests.listeners.fakes import ALLOW, BLOCK, LOOPBACK
from tests.listeners.peers import REAL

CURL = shutil.which("curl")
PAGE = b"through the gateway\n" * 5000
EDGE = Endpoint.parse("192.0.2.1:80")


class _Page(Resource):
    isLeaf = True

    def render_GET(self, request: Request) -> bytes:
        """Give the page."""
        return PAGE

    def render_POST(self, request: Request) -> bytes:
        """Give back what was sent."""
        assert request.content is not None
        return cast(bytes, request.content.read())


@skipIf(CURL is None, "curl is not installed")
class CurlTests(ListenerCase):
    """Another client than ours."""

    def setUp(self) -> None:
        """Have a web server that is known as www.example.org."""
        super().setUp()
        self.web = REAL.listenTCP(0, Site(_Page()), interface="127.0.0.1")
        self.addCleanup(self.web.stopListening)
        at = self.web.getHost()
        self.routes.fake_reach.to[EDGE] = Endpoint.of(at.host, at.port)
        self.gate.on[EDGE] = ALLOW
        self.resolver.names["www.example.org"] = (pack("192.0.2.1"),)

    async def curl(self, *arguments: str) -> tuple[bytes, bytes, int]:
        """Run curl; give what it wrote, what it complained, and its exit status."""
        assert CURL is not None
        run = getProcessOutputAndValue(
            CURL,
            ("-sS", "--max-time", "10", *arguments),
            env={},
            reactor=cast(IReactorProcess, REAL),
        )
        return cast("tuple[bytes, bytes, int]", await run)

    async def test_socks5_hostname(self) -> None:
        """`curl --socks5-hostname` gets the whole page, the name resolved at the gateway."""
        at = self.open(Socks5Listener(LOOPBACK, self.wiring()))
        page, complaint, status = await self.curl(
            "--socks5-hostname", str(at), "http://www.example.org/"
        )
        self.assertEqual((status, complaint, page), (0, b"", PAGE))
        self.assertEqual(self.gate.judged[0][2], ("www.example.org",))

    async def test_socks5_login(self) -> None:
        """curl comes in with the right password, and not with a wrong one."""
        at = self.open(Socks5Listener(LOOPBACK, self.wiring(), users={"alice": "secret"}))
        for login, expected in (("alice:secret", 0), ("alice:wrong", 97)):
            page, _complaint, status = await self.curl(
                "-x", f"socks5h://{login}@{at}", "http://www.example.org/"
            )
            self.assertEqual((status, page), (expected, b"" if expected else PAGE))

    async def test_socks5_blocked(self) -> None:
        """curl is told that the ruleset forbids it."""
        self.gate.on[EDGE] = BLOCK
        at = self.open(Socks5Listener(LOOPBACK, self.wiring()))
        _page, complaint, status = await self.curl(
            "--socks5", str(at), f"http://{EDGE.host}/", "--verbose"
        )
        self.assertEqual(status, 97)
        self.assertIn(b"(2)", complaint)

    async def test_http_connect(self) -> None:
        """`curl -x --proxytunnel` gets the whole page."""
        at = self.open(HttpConnectListener(LOOPBACK, self.wiring()))
        page, complaint, status = await self.curl(
            "-x", f"http://{at}", "--proxytunnel", "http://www.example.org/"
        )
        self.assertEqual((status, complaint, page), (0, b"", PAGE))

    async def test_http_connect_post(self) -> None:
        """A body that curl sends arrives whole."""
        at = self.open(HttpConnectListener(LOOPBACK, self.wiring()))
        body, _complaint, status = await self.curl(
            "-x",
            f"http://{at}",
            "--proxytunnel",
            "-d",
            "a=" + "b" * 50000,
            "http://www.example.org/",
        )
        self.assertEqual((status, body), (0, b"a=" + b"b" * 50000))

    async def test_http_connect_blocked(self) -> None:
        """curl is told 403."""
        self.gate.on[EDGE] = BLOCK
        at = self.open(HttpConnectListener(LOOPBACK, self.wiring()))
        _page, complaint, status = await self.curl(
            "-x", f"http://{at}", "--proxytunnel", f"http://{EDGE.host}/"
        )
        self.assertEqual(status, 56)
        self.assertIn(b"403", complaint)
