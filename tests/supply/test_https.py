"""Sources by https: against a real server on loopback, with an authority of its own."""

from __future__ import annotations

import hashlib
import http.server
import shutil
import ssl
import tempfile
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from gateway.config.updates import HttpsSource
from gateway.errors import DataError
from gateway.supply import https
from gateway.supply.cache import Cache
from gateway.supply.https import Https, Paths
from gateway.tunnel.authority import Authority, Role
from tests.support.rows import rows

_BODY = b"11.0.0.0,11.255.255.255,US\n"
_KEY = "a-Secret+key"
_MODIFIED = "Fri, 20 Nov 2026 10:00:00 GMT"
_TAG = '"v1"'


class _Answers(http.server.BaseHTTPRequestHandler):
    """What a publisher answers, by path."""

    protocol_version = "HTTP/1.1"
    asked: list[tuple[str, dict[str, str]]]
    other: str

    def do_GET(self) -> None:
        """BaseHTTPRequestHandler API."""
        self.asked.append((self.path, dict(self.headers)))
        path = self.path.partition("?")[0]
        if path.startswith("/to/"):
            where = {"plain": "http://127.0.0.1/x", "loop": self.path, "other": self.other}
            self.answer(302, b"", Location=where.get(path[4:], "/file"))
        elif path == "/sum":
            self.answer(200, hashlib.sha256(_BODY).hexdigest().encode() + b"  file\n")
        elif path == "/gone":
            self.answer(404, b"")
        elif path == "/cut":
            self.close_connection = True
            self.answer(200, _BODY[:9], **{"Content-Length": str(len(_BODY))})
        elif self.headers.get("If-None-Match") == _TAG:
            self.answer(304, b"")
        else:
            self.answer(200, _BODY, **{"ETag": _TAG, "Last-Modified": _MODIFIED})

    def answer(self, code: int, body: bytes, **headers: str) -> None:
        """Write an answer."""
        self.send_response(code)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class HttpsCase(SynchronousTestCase):
    """Tests with a publisher."""

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="gateway-test-"))
        self.addCleanup(shutil.rmtree, self.folder)
        now, day = datetime.now(UTC), timedelta(days=1)
        authority = Authority.create("a test", now=now, lifetime=day)
        (self.folder / "ca.pem").write_bytes(authority.identity.certificate)
        identity = authority.issue(Role.EXIT, ["127.0.0.1"], now=now, lifetime=day)
        pair = identity.write(self.folder, "server")
        (self.folder / "key").write_text(f"{_KEY}\n")
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.port = self.serve(pair, "/file")
        self.now_s = 0.0

    def serve(self, pair: tuple[Path, Path], other: str) -> int:
        """Listen on loopback; `other` is where /to/other leads."""
        answers = type("Answers", (_Answers,), {"asked": self.asked, "other": other})
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), answers)
        server.daemon_threads = True
        server.handle_error = lambda *_: None  # type: ignore[method-assign]  # refused handshakes
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*pair)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        self.addCleanup(server.server_close)
        self.addCleanup(thread.join)
        self.addCleanup(server.shutdown)
        return int(server.server_address[1])

    def source(self, path: str = "/file", *, trusted: bool = True, **more: object) -> Https:
        """Make a source of one path of the publisher."""
        given = {"kind": "https", "form": "csv", "axis": "location", **more}
        section = HttpsSource.model_validate(
            {**given, "url": f"https://127.0.0.1:{self.port}{path}"}
        )
        key = self.folder / "key" if section.key_file else None
        paths = Paths(key, self.folder / "ca.pem" if trusted else None)
        return Https(section, paths, Cache(self.folder / "cache"), lambda: self.now_s)


@rows(
    refused={
        "not there": ("/gone", {}, "answered 404; expected 200"),
        "cut": ("/cut", {}, "is cut after 9 octets; expected 27"),
        "redirected to plain http": ("/to/plain", {}, "redirects to something that is not https"),
        "redirected without end": ("/to/loop", {}, "answered 302"),
        "an authority that nobody trusts": ("/file", {"trusted": False}, "is not trusted"),
    }
)
class HttpsTests(HttpsCase):
    """One file of a publisher."""

    def check_refused(self, path: str, more: dict[str, bool], says: str) -> None:
        """What is no whole file by https from a server that is trusted is refused."""
        error = self.assertRaises(DataError, self.source(path, **more).fetch)
        self.assertIn(says, str(error))

    def test_fetched(self) -> None:
        """A file comes with the day of its Last-Modified, where it has none of its own."""
        (found,) = self.source().fetch()
        self.assertEqual((found.data, found.said.built), (_BODY, "2026-11-20"))

    def test_unchanged(self) -> None:
        """A file that is as it was is not sent again."""
        self.source().fetch()
        (found,) = self.source().fetch()
        self.assertEqual((found.data, found.said.built), (_BODY, "2026-11-20"))
        self.assertEqual(self.asked[-1][1]["If-None-Match"], _TAG)
        self.assertEqual(self.asked[-1][1]["If-Modified-Since"], _MODIFIED)
        for body in (self.folder / "cache").glob("*.body"):
            body.write_bytes(b"damaged")
        self.assertEqual(self.source().fetch()[0].data, _BODY)

    def test_sum(self) -> None:
        """A published SHA-256 is held against the file."""
        base = f"https://127.0.0.1:{self.port}"
        self.assertEqual(self.source(sha256_url=f"{base}/sum").fetch()[0].data, _BODY)
        error = self.assertRaises(DataError, self.source(sha256_url=f"{base}/file").fetch)
        self.assertIn("expected the one that its sha256_url gives", str(error))

    def test_keys(self) -> None:
        """The key goes into the url, a password or a bearer token, and is never shown."""
        found = self.source("/file?key={key}", key_file="key").fetch()
        self.assertEqual(self.asked[-1][0], "/file?key=a-Secret%2Bkey")
        found += self.source(key_file="key").fetch()
        self.assertEqual(self.asked[-1][1]["Authorization"], f"Bearer {_KEY}")
        found += self.source(key_file="key", user="1").fetch()
        self.assertTrue(self.asked[-1][1]["Authorization"].startswith("Basic "))
        self.assertNotIn("Secret", "".join(repr(one.said) for one in found))
        error = self.assertRaises(DataError, self.source("/gone?{key}", key_file="key").fetch)
        self.assertNotIn("Secret", str(error))

    def test_redirected(self) -> None:
        """A redirect is followed with the key on the same host, and without it to another."""
        self.source("/to/file", key_file="key").fetch()
        self.assertIn("Authorization", self.asked[-1][1])
        pair = self.folder / "server.pem", self.folder / "server.key"
        self.port = self.serve(pair, f"https://127.0.0.1:{self.port}/file")
        self.source("/to/other", key_file="key").fetch()
        self.assertIn("Authorization", self.asked[-2][1])
        self.assertNotIn("Authorization", self.asked[-1][1])

    def test_too_large(self) -> None:
        """A file above the bound is refused."""
        self.patch(https, "MAX_FETCHED_LEN", len(_BODY))
        self.source().fetch()
        shutil.rmtree(self.folder / "cache")
        self.patch(https, "MAX_FETCHED_LEN", len(_BODY) - 1)
        self.assertIn("is too large", str(self.assertRaises(DataError, self.source().fetch)))

    def test_too_slow(self) -> None:
        """A file that takes longer than timeout_s is refused."""
        source, ticks = self.source(timeout_s=5), iter((0.0, 5.1))
        source._clock = lambda: next(ticks)
        self.assertIn("took more than 5 s", str(self.assertRaises(DataError, source.fetch)))
