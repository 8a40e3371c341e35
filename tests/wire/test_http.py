"""Tests of gateway.wire.http."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.model import IdentifierKind, Protocol, Traffic
from gateway.wire import http
from tests.support.rows import rows
from tests.wire import captures
from tests.wire.examples import REQUEST


def head(line: str, *fields: str) -> bytes:
    """Build a request's head."""
    return "\r\n".join((line, *fields, "", "")).encode("ascii")


@rows(
    request={
        "a host": (head("GET / HTTP/1.1", "Host: a.example"), "GET", ("a.example",)),
        "port, case and dot": (head("GET / HTTP/1.1", "HOST:A.Example.:80"), "GET", ("a.example",)),
        "blanks around": (head("GET / HTTP/1.1", "Host: \t a.example \t"), "GET", ("a.example",)),
        "no host": (head("GET / HTTP/1.0"), "GET", ()),
        "an address": (head("GET / HTTP/1.1", "Host: 192.0.2.1:8080"), "GET", ()),
        "an IPv6 address": (head("GET / HTTP/1.1", "Host: [2001:db8::1]:80"), "GET", ()),
        "two hosts": (
            head("GET / HTTP/1.1", "Host: a.example", "Host: b.example"),
            "GET",
            ("a.example", "b.example"),
        ),
        "a blank before the colon": (
            head("GET / HTTP/1.1", "Host : a.example"),
            "GET",
            ("a.example",),
        ),
        "a proxy's absolute form": (
            head("GET http://u:p@b.example:80/x?y HTTP/1.1", "Host: a.example"),
            "GET",
            ("a.example", "b.example"),
        ),
        "CONNECT": (
            head("CONNECT a.example:443 HTTP/1.1", "Host: a.example:443"),
            "CONNECT",
            ("a.example",),
        ),
        "all of a server": (
            head("OPTIONS * HTTP/1.1", "Host: a.example"),
            "OPTIONS",
            ("a.example",),
        ),
        "bare line feeds": (b"GET / HTTP/1.1\nHost: a.example\n\n", "GET", ("a.example",)),
        "a host in the body": (head("POST / HTTP/1.1") + b"\r\nHost: b.example\r\n", "POST", ()),
        "an unknown method": (head("BREW / HTTP/1.1", "Host: a.example"), "BREW", ("a.example",)),
        "a lower-case method": (head("get / HTTP/1.1", "Host: a.example"), "get", ("a.example",)),
        "empty lines in front": (
            b"\r\n\n" + head("GET / HTTP/1.1", "Host: a.example"),
            "GET",
            ("a.example",),
        ),
        "a folded host": (head("GET / HTTP/1.1", "Host:", " a.example"), "GET", ("a.example",)),
        "what is no host name": (head("GET / HTTP/1.1", "Host: uid=7 a b"), "GET", ()),
        "an octet that is no text": (b"GET / HTTP/1.1\r\nHost: \xff\r\n\r\n", "GET", ()),
        "two requests": (
            head("GET / HTTP/1.1", "Host: a.example") + head("GET / HTTP/1.1", "Host: b.example"),
            "GET",
            ("a.example", "b.example"),
        ),
        "another version": (head("GET / HTTP/2.0", "Host: a.example"), None, ()),
        "an answer": (b"HTTP/1.1 302 Found\r\n", "Response", ()),
    }
)
class RecogniseTests(SynchronousTestCase):
    """Heads."""

    def check_request(self, payload: bytes, message: str | None, names: tuple[str, ...]) -> None:
        """A request is named by its method and gives every host it may be for."""
        content = http.recognise(payload)
        if message is None:
            self.assertIsNone(content)
            return
        assert content is not None
        self.assertEqual(
            (content.protocol, content.message, content.traffic, content.names),
            (Protocol.HTTP, message, Traffic.OTHER, names),
        )

    def test_query(self) -> None:
        """The vendor's query names a user and a room in plaintext."""
        content = http.recognise(REQUEST)
        assert content is not None and content.plaintext is not None
        self.assertEqual(
            [(i.kind, REQUEST[i.offset : i.offset + i.length]) for i in content.plaintext],
            [(IdentifierKind.USER_ID, b"287454020"), (IdentifierKind.ROOM_ID, b"SEEDROOM")],
        )

    def test_cut(self) -> None:
        """Cut anywhere, a head is never called clear and more is wanted; whole, it is enough."""
        for request in (REQUEST, b"\r\n" + head("propfind / HTTP/1.1", "Host: a.example")):
            for end in range(len(request)):
                content = http.recognise(request[:end])
                if content is not None:
                    self.assertEqual((content.traffic, content.plaintext), (None, None))
                self.assertTrue(http.incomplete(request[:end]), end)
            self.assertFalse(http.incomplete(request))

    def test_something_else(self) -> None:
        """Nothing is waited for when no method begins so."""
        self.assertFalse(http.incomplete(b"GETX"))
        self.assertFalse(http.incomplete(b"SSH-2.0"))
        self.assertFalse(http.incomplete(b"EHLO a.example\r\n"))
        self.assertFalse(http.incomplete(b"REGISTER sip:a.example SIP/2.0\r\n"))
        self.assertTrue(http.incomplete(b"BREW /"))

    @settings(deadline=None, max_examples=150)
    @given(st.text(alphabet="hosHOST:/.[]@?#%\r\n a0\x00é", max_size=60))
    def test_any_head(self, text: str) -> None:
        """Whatever a head holds: a content or none, and names in lower case."""
        content = http.recognise(b"GET / HTTP/1.1\r\nHost:" + text.encode() + b"\r\n\r\n")
        for name in content.names if content else ():
            self.assertEqual(name, name.lower())


class CaptureTests(SynchronousTestCase):
    """Other people's requests, outside the project."""

    def test_connectivity_checks(self) -> None:
        """The hosts of a phone's connectivity checks are given."""
        names: set[str] = set()
        for packet in captures.packets(captures.foreign("conncheck.pcap")):
            if packet.destination.port == 80 and (content := http.recognise(packet.payload)):
                names.update(content.names)
        self.assertLessEqual({"www.google.eu", "play.googleapis.com"}, names)
