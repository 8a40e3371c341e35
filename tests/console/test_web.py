"""gateway.console.web: the console's server, over real sockets on loopback."""

from __future__ import annotations

import hashlib
import http.client
import json
import socket
from collections.abc import Mapping

from tests.support.running import RunningCase

TOKEN = "correct horse"
CONSOLE = """\
console:
  address: "127.0.0.1:0"
  tokens: [{{name: admin, sha256: "{digest}", scopes: [read, reload]}}]
"""


class WebTests(RunningCase):
    """A real process with a console."""

    def setUp(self) -> None:
        digest = hashlib.sha256(TOKEN.encode()).hexdigest()
        process = self.start("run", more=CONSOLE.format(digest=digest))
        line = self.line_with(process, "console on http://")
        self.port = int(line.rstrip().rstrip("/").rpartition(":")[2])

    def ask(
        self, method: str, path: str, *, body: bytes = b"", **fields: str
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Ask with the token; give status, header and body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        self.addCleanup(connection.close)
        headers = {"Authorization": f"Bearer {TOKEN}"} | fields
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()

    def test_status(self) -> None:
        """The status is that of the command; no browser keeps it, frames it or shares it."""
        code, header, body = self.ask("GET", "/api/status")
        self.assertEqual((code, json.loads(body)["health"]), (200, "ok"))
        self.assertEqual(header["Cache-Control"], "no-store")
        self.assertEqual(header["X-Frame-Options"], "DENY")
        self.assertIn("default-src 'none'", header["Content-Security-Policy"])
        self.assertNotIn("Access-Control-Allow-Origin", header)

    def test_metrics(self) -> None:
        """Prometheus finds what it expects."""
        code, header, body = self.ask("GET", "/metrics")
        self.assertEqual((code, header["Content-Type"][:24]), (200, "text/plain; version=0.0."))
        self.assertIn(b"\ngateway_healthy 1.0\n", body)

    def test_reload(self) -> None:
        """A reload answers when it is done; a refused one with 409 and its faults."""
        code, _, body = self.ask("POST", "/api/reload")
        self.assertEqual((code, json.loads(body)["policy"]["epoch"]), (200, 2))
        self.policy.write_text("policy: broken\ndefault: open\n")
        code, _, body = self.ask("POST", "/api/reload")
        self.assertEqual((code, json.loads(body)["accepted"]), (409, False))
        self.assertIn("policy.yaml:2", json.loads(body)["last_load"]["faults"][0])

    def test_refusals(self) -> None:
        """Who may not is told so as JSON, and nothing happens."""
        code, header, body = self.ask("POST", "/api/reload", Authorization="Bearer wrong")
        self.assertEqual((code, header["WWW-Authenticate"]), (401, "Bearer"))
        self.assertIn("nobody's", json.loads(body)["error"])
        self.assertEqual(self.ask("POST", "/api/reload", Origin="http://evil.example")[0], 403)
        self.assertEqual(self.ask("GET", "/api/reload")[0], 405)
        self.assertEqual(self.ask("GET", "/nonesuch")[0], 404)
        _, _, body = self.ask("GET", "/api/status")
        self.assertEqual(json.loads(body)["policy"]["epoch"], 1)

    def test_oversized(self) -> None:
        """A body that is too large is cut off before it comes, and the console goes on."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as client:
            client.sendall(
                b"POST /api/reload HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99999999\r\n\r\n"
            )
            self.assertEqual(client.recv(4096), b"")
        self.assertEqual(self.ask("GET", "/api/status")[0], 200)

    def test_crowd(self) -> None:
        """Whoever opens many connections and says nothing is refused more of them; those that are
        open are served."""
        crowd = []
        for _ in range(64):
            client = socket.create_connection(("127.0.0.1", self.port), timeout=20)
            self.addCleanup(client.close)
            crowd.append(client)
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as late:
            self.assertEqual(late.recv(1), b"")
        crowd[0].sendall(b"GET /api/status HTTP/1.0\r\nHost: localhost\r\n\r\n")
        self.assertIn(b"401", crowd[0].recv(4096))
