"""Tests of gateway.wire.http_identifiers, through the requests that hold them."""

from __future__ import annotations

from time import perf_counter

from twisted.trial.unittest import SynchronousTestCase

from gateway.model import IdentifierKind, pack
from gateway.wire import http
from tests.support.rows import rows
from tests.wire.test_http import head

USER, ROOM, TOKEN = IdentifierKind.USER_ID, IdentifierKind.ROOM_ID, IdentifierKind.TOKEN
JSON = b'{"uid":287454020,"channelName":"SEED" , "text":"uid"}'


def post(body: bytes, *fields: str) -> bytes:
    """Build a request with a body."""
    return head("POST / HTTP/1.1", f"Content-Length: {len(body)}", *fields) + body


@rows(
    request={
        "nothing": (head("GET / HTTP/1.1", "Host: a.example"), ()),
        "a query": (head("GET /?UID=7&x=y HTTP/1.1"), ((USER, b"7"),)),
        "credentials in a URL": (
            head("GET http://u:p@b.example/ HTTP/1.1"),
            ((IdentifierKind.ACCOUNT, b"u:p"),),
        ),
        "credentials": (
            head("GET / HTTP/1.1", "Authorization: Bearer x "),
            ((TOKEN, b"Bearer x"),),
        ),
        "a field": (head("GET / HTTP/1.1", "X-Uid: 7"), ((USER, b"7"),)),
        "a cookie": (
            head("GET / HTTP/1.1", "Cookie: a=b"),
            ((IdentifierKind.SESSION_ID, b"a=b"),),
        ),
        "JSON": (post(JSON), ((USER, b"287454020"), (ROOM, b"SEED"))),
        "a form": (post(b"x=y&user_id=7&token=z"), ((USER, b"7"), (TOKEN, b"z"))),
        "a body of something else": (post(b"\xff\xfe"), None),
        "a body to come": (head("POST / HTTP/1.1", "Content-Length: 40"), None),
        "a length that is none": (head("POST / HTTP/1.1", "Content-Length: x"), None),
        "an empty body": (head("POST / HTTP/1.1", "Content-Length: 00"), ()),
        "chunks": (head("POST / HTTP/1.1", "Transfer-Encoding: chunked") + b"1\r\nx\r\n", None),
        "another protocol to come": (head("GET / HTTP/1.1", "Upgrade: websocket"), None),
        "something behind": (head("GET / HTTP/1.1") + b"uid", None),
        "nine requests": (head("GET / HTTP/1.1") * 9, None),
        "eight requests": (head("GET / HTTP/1.1") * 8, ()),
        "an answer": (b"HTTP/1.1 200 OK\r\n\r\n", None),
        "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", None),
        "userinfo before a host": (head("GET / HTTP/1.1", "Host: u7@a.example"), None),
        "a host that is none": (head("GET / HTTP/1.1", "Host: a b"), None),
    }
)
class RequestTests(SynchronousTestCase):
    """What requests tell in plaintext."""

    def check_request(
        self, payload: bytes, found: tuple[tuple[IdentifierKind, bytes], ...] | None
    ) -> None:
        """Identifiers stand where they are said to; what cannot be told is not called clear."""
        content = http.recognise(payload)
        assert content is not None
        plaintext = content.plaintext
        if plaintext is not None:
            texts = tuple((i.kind, payload[i.offset : i.offset + i.length]) for i in plaintext)
            self.assertEqual(texts, found)
        self.assertEqual(plaintext is None, found is None)


@rows(
    target={
        "CONNECT": ("CONNECT 192.0.2.1:443", "192.0.2.1"),
        "CONNECT to IPv6": ("CONNECT [2001:db8::1]:443", "2001:db8::1"),
        "a mapped address": ("CONNECT [::ffff:192.0.2.1]:443", "192.0.2.1"),
        "absolute form": ("GET http://192.0.2.1/x", "192.0.2.1"),
        "absolute form with userinfo": ("GET http://u@192.0.2.1:80?x", "192.0.2.1"),
        "a name": ("CONNECT a.example:443", None),
        "a path": ("GET /192.0.2.1", None),
    }
)
class AddressTests(SynchronousTestCase):
    """Whom a proxy is asked to reach."""

    def check_target(self, start: str, address: str | None) -> None:
        """A literal target is an address that is judged too; a Host line is none."""
        content = http.recognise(head(f"{start} HTTP/1.1", "Host: 192.0.2.9"))
        assert content is not None
        self.assertEqual(content.addresses, (pack(address),) if address else ())


class EffortTests(SynchronousTestCase):
    """Crafted heads cost no more than long ones."""

    def test_blanks(self) -> None:
        """Sixteen kilobytes of blanks are read in a few milliseconds, wherever they stand."""
        blanks = b" " * 16_000
        for payload in (
            b"GET" + blanks + b"\x00",
            b"GET / HTTP/1.1\r\nCookie:" + blanks + b"\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost:" + blanks + b"\r\n\r\n",
            b"GET / HTTP/1.1\r\n" + blanks + b"\r\n\r\n",
            b"GET /" + b"\r\n" * 8000,
            b"\r\n" * 8000 + b"\x00",
            b"POST / HTTP/1.1\r\nContent-Length: 1\r\n\r\n" + b'"uid"' + blanks,
        ):
            start_s = perf_counter()
            http.recognise(payload)
            http.incomplete(payload)
            self.assertLess(perf_counter() - start_s, 0.1)
