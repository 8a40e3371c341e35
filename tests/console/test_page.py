"""gateway.console: the page, what it may load, and who may ask the console from a browser."""

from __future__ import annotations

import json
import re
from importlib.resources import files

from gateway.console.telling import tiles
from tests.support.console import SECRET, TO_US, TOKENS, ConsoleCase
from tests.support.epochs import PING
from tests.support.rows import rows

_QUESTION = {"flow": "udp 10.1.0.2:5000 > 192.0.2.1:8000"}


class PageTests(ConsoleCase):
    """The page comes from here alone, and tells nothing by itself."""

    def test_page(self) -> None:
        """It may load its own files and nothing else, and no text of it ever becomes markup."""
        got = self.ask("GET", "/")
        self.assertEqual((got.code, got.header["content-type"]), (200, "text/html; charset=utf-8"))
        policy = got.header["content-security-policy"]
        self.assertIn("default-src 'none'", policy)
        self.assertIn("script-src 'self';", policy)
        self.assertIn("require-trusted-types-for 'script'", policy)
        for forbidden in ("unsafe", "http:", "https:", "data:", "*"):
            self.assertNotIn(forbidden, policy)
        self.assertEqual(got.header["x-frame-options"], "DENY")

    def test_self_contained(self) -> None:
        """No file of it names another site, has a script or a style in it, or makes markup."""
        html = files("gateway.console").joinpath("page/index.html").read_text("utf-8")
        self.assertEqual(re.findall(r"\son\w+=|\sstyle=|<style|javascript:", html), [])
        self.assertEqual(re.findall(r"<script(?![^>]* src=\"/page/)", html), [])
        for name in ("main.js", "following.js", "drawing.js", "explaining.js", "console.css"):
            text = files("gateway.console").joinpath(f"page/{name}").read_text("utf-8")
            for bad in (
                "innerHTML",
                "outerHTML",
                "insertAdjacent",
                "document.write",
                "eval(",
                "//cdn",
            ):
                self.assertNotIn(bad, text, name)
            for storage in ("localStorage", "sessionStorage", "document.cookie", "indexedDB"):
                self.assertNotIn(storage, text, name)
            self.assertEqual(re.findall(r"https?://(?!www\.w3\.org/2000/svg)\S+", text), [], name)

    def test_files(self) -> None:
        """Each of its files is served with its type, and nothing else is."""
        kind = {"css": "text/css", "svg": "image/svg+xml", "js": "text/javascript"}
        names = [one.name for one in files("gateway.console").joinpath("page").iterdir()]
        self.assertGreater(len(names), 5)
        for name in set(names) - {"index.html"}:
            got = self.ask("GET", f"/page/{name}")
            self.assertEqual((got.code, got.header["x-content-type-options"]), (200, "nosniff"))
            self.assertTrue(got.header["content-type"].startswith(kind[name.rpartition(".")[2]]))
        for name in ("web.py", "..%2fweb.py", "..%252fweb.py", "%2fetc%2fpasswd", "nonesuch.js"):
            self.assertEqual(self.ask("GET", f"/page/{name}").code, 404, name)

    def test_map(self) -> None:
        """The map has every country once, no two on one tile; it is the audit's."""
        got = self.ask("GET", "/api/countries").said
        self.assertEqual(got, tiles())
        self.assertEqual(len({(one["column"], one["row"]) for one in got}), len(got))
        self.assertGreater(len(got), 240)


class TokenTests(ConsoleCase):
    """With tokens, the page is there for everybody and what it shows is not."""

    TOKENS = TOKENS

    def test_page_without(self) -> None:
        """The page loads without one, to ask for it; all that it shows needs it."""
        self.assertEqual(self.ask("GET", "/").code, 200)
        self.assertEqual(self.ask("GET", "/api/countries").code, 200)
        for path in ("status", "flows", "policy", "data", "events"):
            self.assertEqual(self.ask("GET", f"/api/{path}").code, 401, path)
        self.assertEqual(self.explain(_QUESTION).code, 401)
        self.assertEqual(self.ask("GET", "/metrics").code, 401)

    def test_with(self) -> None:
        """A reader's token opens what is read, and nothing that changes."""
        bears = {"authorization": f"Bearer {SECRET}"}
        self.assertEqual(self.ask("GET", "/api/flows", **bears).code, 200)
        self.assertEqual(self.explain(_QUESTION, **bears).code, 200)
        self.assertEqual(self.ask("POST", "/api/reload", **bears).code, 403)


CROSS = {"origin": "http://evil.example", "sec_fetch_site": "cross-site", "sec_fetch_mode": "cors"}


@rows(
    refused={
        "another site's script": ("GET", "/api/flows", CROSS, 403),
        "another site's events": ("GET", "/api/events", CROSS, 403),
        "another site's question": ("POST", "/api/explain", CROSS, 403),
        "a page of another port": ("GET", "/api/flows", {"sec_fetch_site": "same-site"}, 403),
        "another site's image of a file": (
            "GET",
            "/page/icon.svg",
            {"sec_fetch_site": "cross-site", "sec_fetch_mode": "no-cors"},
            403,
        ),
        "another site's frame": (
            "GET",
            "/",
            {
                "sec_fetch_site": "cross-site",
                "sec_fetch_mode": "navigate",
                "sec_fetch_dest": "iframe",
            },
            403,
        ),
        "a name that was let point here": ("GET", "/api/flows", {"host": "evil.example:8470"}, 421),
        "the page by such a name": ("GET", "/", {"host": "evil.example"}, 421),
        "events by such a name": ("GET", "/api/events", {"host": "evil.example"}, 421),
        "a form of another site": (
            "POST",
            "/api/explain",
            {"content_type": "application/x-www-form-urlencoded"},
            415,
        ),
        "plain text with JSON in it": ("POST", "/api/explain", {"content_type": "text/plain"}, 415),
    }
)
class AttackTests(ConsoleCase):
    """A browser cannot be used against the console, nor can patience or size."""

    def check_refused(self, method: str, path: str, fields: dict[str, str], code: int) -> None:
        """Refused, and no other site may read why."""
        got = self.ask(method, path, json.dumps(_QUESTION).encode() * (method == "POST"), **fields)
        self.assertEqual(got.code, code)
        self.assertNotIn("access-control-allow-origin", got.header)
        self.flushLoggedErrors()

    def test_link(self) -> None:
        """A link on another site's page leads to the page, which tells nothing by itself."""
        fields = {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate"}
        self.assertEqual(self.ask("GET", "/", sec_fetch_dest="document", **fields).code, 200)
        self.assertEqual(
            self.ask("GET", "/api/flows", sec_fetch_dest="document", **fields).code, 403
        )

    def test_trickle(self) -> None:
        """A request that trickles in is cut after half a minute, whatever it still sends."""
        transport = self.connect()
        for _ in range(29):
            transport.protocol.dataReceived(b"G")
            self.reactor.advance(1)
            self.assertTrue(transport.connected)
        self.reactor.advance(1.5)
        self.assertFalse(transport.connected)

    def test_trickling_body(self) -> None:
        """So is a body that trickles in."""
        transport = self.send("POST", "/api/explain", content_length="1000")
        for _ in range(29):
            transport.protocol.dataReceived(b"{")
            self.reactor.advance(1)
        self.reactor.advance(1.5)
        self.assertFalse(transport.connected)
        self.assertNotIn(b"200 OK", transport.value())

    def test_markup(self) -> None:
        """Markup in a policy's reasons goes out as data of a type that no browser takes for a
        page."""
        self.core.table.judge(TO_US, PING)
        got = self.ask("GET", "/api/flows")
        self.assertEqual(got.header["content-type"], "application/json")
        self.assertEqual(got.header["x-content-type-options"], "nosniff")
        self.assertEqual(got.said["recent"][0]["reason"], "<b>bold</b>")
