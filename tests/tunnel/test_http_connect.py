"""Asking an HTTP proxy: octets in, octets out."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.errors import CarryError
from gateway.model import Endpoint
from gateway.tunnel.asking import Login
from gateway.tunnel.http_connect import ConnectAsking
from tests.support.rows import rows

V4, V6 = Endpoint.parse("192.0.2.1:443"), Endpoint.parse("[2001:db8::1]:443")


@rows(
    yes={
        "as usual": (b"HTTP/1.1 200 Connection established\r\n\r\n",),
        "with fields, which mean nothing": (
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nVia: x\r\n\r\n",
        ),
        "HTTP/1.0": (b"HTTP/1.0 200 OK\r\n\r\n",),
        "another success": (b"HTTP/1.1 204 No Content\r\n\r\n",),
        "behind an interim response": (b"HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",),
    },
    no={
        "a login": (b"HTTP/1.1 407 Who are you\r\n\r\n", "the proxy refused with 407 Who are you"),
        "a rule": (b"HTTP/1.1 403 Forbidden\r\n\r\n", "the proxy refused with 403 Forbidden"),
        "a redirection": (b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", "refused with 302 Found"),
        "no reason": (b"HTTP/1.1 503 \r\n\r\n", "the proxy refused with 503"),
        "another protocol": (b"\x05\x00\r\n\r\n", "is no HTTP/1.1"),
        "HTTP/2": (b"HTTP/2 200\r\n\r\n", "is no HTTP/1.1"),
        "an upgrade": (b"HTTP/1.1 101 Switching\r\n\r\n", "is no HTTP/1.1"),
        "an endless head": (b"HTTP/1.1 200 OK\r\nA: " + b"a" * 20_000, "is no HTTP/1.1"),
        "waiting for ever": (b"HTTP/1.1 103 Early\r\n\r\n" * 9, "does not come to its answer"),
    },
)
class AskingTests(SynchronousTestCase):
    """RFC 9110 section 9.3.6, as a client."""

    def test_request(self) -> None:
        """The address that was asked for is sent, and no name."""
        asked = ConnectAsking("p", None, V4).begin()
        self.assertEqual(asked, b"CONNECT 192.0.2.1:443 HTTP/1.1\r\nHost: 192.0.2.1:443\r\n\r\n")
        asked = ConnectAsking("p", None, V6).begin()
        self.assertTrue(asked.startswith(b"CONNECT [2001:db8::1]:443 HTTP/1.1\r\n"), asked)

    def test_login(self) -> None:
        """A login is RFC 7617's example."""
        asked = ConnectAsking("p", Login(b"Aladdin", b"open sesame"), V4).begin()
        self.assertIn(b"Proxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n", asked)

    def check_yes(self, heard: bytes) -> None:
        """Whole or octet by octet it is a yes, and what comes behind is the stream's."""
        for size in (1, len(heard) + 5):
            asking, rest, data = ConnectAsking("p", None, V4), b"", heard + b"hello"
            asking.begin()
            for at in range(0, len(data), size):
                if asking.is_done:
                    rest += data[at : at + size]
                else:
                    self.assertEqual(asking.receive(data[at : at + size]), b"")
            self.assertTrue(asking.is_done)
            self.assertEqual(asking.rest + rest, b"hello")

    def check_no(self, heard: bytes, sentence: str) -> None:
        """A no is said in words."""
        asking = ConnectAsking("p", None, V4)
        asking.begin()
        with self.assertRaises(CarryError) as raised:
            asking.receive(heard)
        self.assertIn(sentence, str(raised.exception))
        self.assertFalse(asking.is_done)

    def test_long_words(self) -> None:
        """Of a proxy's own words only the first are passed on to logs."""
        for heard in (b"HTTP/1.1 403 " + b"a" * 9_000 + b"\r\n\r\n", b"b" * 9_000 + b"\r\n\r\n"):
            asking = ConnectAsking("p", None, V4)
            asking.begin()
            with self.assertRaises(CarryError) as raised:
                asking.receive(heard)
            self.assertLess(len(str(raised.exception)), 200)

    @settings(deadline=None, max_examples=150)
    @given(
        st.lists(
            st.one_of(
                st.binary(max_size=20),
                st.sampled_from((b"HTTP/1.1 ", b"200 ", b"100 ", b"\r\n", b"a: b\r\n", b"407 x")),
            ),
            max_size=10,
        )
    )
    def test_anything(self, heard: list[bytes]) -> None:
        """Whatever a proxy says, it is a yes, a no, or not yet enough."""
        asking = ConnectAsking("p", None, V4)
        asking.begin()
        try:
            for data in heard:
                if data and not asking.is_done:
                    asking.receive(data)
        except CarryError:
            self.assertFalse(asking.is_done)
