"""The console's page in a real browser, with live traffic: what it shows, that it says nothing in
the browser's console, and that everybody can use it.  Skipped where there is no chromium."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SkipTest

from tests.support.epochs import PING, STUN
from tests.support.rows import rows
from tests.support.running import RunningCase

socks: Any = importlib.import_module("socks")  # PySocks has no types

SECRET = "correct horse"
CONSOLE = """\
console:
  address: "127.0.0.1:0"
"""
TOKENS = f"""\
  tokens: [{{name: reader, sha256: {hashlib.sha256(SECRET.encode()).hexdigest()}}}]
"""
GEO = """\
geo:
  max_age_days: 36500
  overrides:
    - {network: 127.0.1.0/24, location: US, reason: a stand-in}
    - {network: 127.0.2.0/24, location: CN, reason: a stand-in}
"""
BAD = "<img src=x onerror=document.title='robbed'>"
POLICY = f"""\
policy: promise
jurisdictions: {{china: {{location: [CN]}}}}
rules:
- {{id: never-china, when: {{to: china}}, action: block, reason: "{BAD}"}}
- {{id: never-reached, when: {{port: 9}}, action: block}}
- {{id: plain, when: {{plaintext: any, to: {{not: china}}}}, action: {{wrap: nearest}}}}
- {{id: rest, when: {{to: {{not: china}}}}, action: allow}}
"""
# axe-core, https://www.deque.com/axe; not kept here.
_AXE = "AXE_CORE"
_WAIT_MS = 15_000.0


def chromium() -> str:
    """Give the browser's path; skip without it."""
    path = shutil.which("chromium")
    if path is None:
        raise SkipTest("chromium is not installed")
    if importlib.util.find_spec("playwright") is None:
        raise SkipTest("playwright is not installed: pip install .[browser]")
    return path


@rows(
    looks={
        "a desk, light": (1280, 800, "light"),
        "a phone": (360, 740, "dark"),
        "a wall": (1920, 1080, "dark"),
    }
)
class BrowserTests(RunningCase):
    """A person at the console of a gateway with traffic."""

    def setUp(self) -> None:
        self.browser_path = chromium()

    def open(self, more: str = "") -> None:
        """Start a gateway, and send traffic through it."""
        process = self.start("run", more=CONSOLE + more + GEO)
        self.policy.write_text(POLICY)
        process.kill()
        process.wait()
        process = self.again(process)
        door = self.line_with(process, "socks5 on").split()[-1]
        self.url = self.line_with(process, "console on http://").split()[-1]
        self.traffic(int(door.rpartition(":")[2]))

    def traffic(self, port: int) -> None:
        """Send a ping in plaintext and one without, to three places."""
        sink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(sink.close)
        sink.bind(("0.0.0.0", 0))
        client = socks.socksocket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(client.close)
        client.set_proxy(socks.SOCKS5, "127.0.0.1", port)
        for host in ("127.0.1.1", "127.0.1.2", "127.0.2.1", "127.0.9.1"):
            for payload in (STUN, PING):
                client.sendto(payload, (host, sink.getsockname()[1]))

    @contextlib.contextmanager
    def page(self, width: int = 1280, height: int = 800, scheme: Any = "light") -> Iterator[Any]:
        """Open the page; afterwards nothing was said in the browser's console, and nobody but the
        gateway was asked for anything."""
        from playwright.sync_api import sync_playwright

        with sync_playwright() as playwright:
            # Chromium's own sandbox wants rights that a container has not.
            browser = playwright.chromium.launch(
                executable_path=self.browser_path, args=["--no-sandbox"]
            )
            page = browser.new_page(
                viewport={"width": width, "height": height}, color_scheme=scheme
            )
            page.set_default_timeout(_WAIT_MS)
            said: list[str] = []
            asked: list[str] = []
            page.on("console", lambda message: said.append(message.text))
            page.on("pageerror", lambda error: said.append(str(error)))
            page.on("request", lambda request: asked.append(request.url))
            page.goto(self.url)
            yield page
            browser.close()
        self.assertEqual(self.expected(said), [])
        self.assertEqual([url for url in asked if not url.startswith(self.url)], [])

    def expected(self, said: list[str]) -> list[str]:
        """Leave out what the browser says of answers that a test asks for."""
        return [line for line in said if "401 (Unauthorized)" not in line]

    def check_looks(self, width: int, height: int, scheme: str) -> None:
        """Every view is filled, nothing is wider than the screen, and axe-core finds no fault."""
        self.open()
        with self.page(width, height, scheme) as page:
            page.locator("#link", has_text="live").wait_for()
            page.locator("#recent tr").nth(5).wait_for()
            for view in ("rules", "jurisdictions", "sources", "credits", "figures", "cost"):
                self.assertGreater(page.locator(f"#{view} > *").count(), 1, view)
            self.assertIn("ping", page.locator("#traffic").inner_text())
            self.assertIn("No exits are configured", page.locator("#exits").inner_text())
            self.assertIn("none so far", page.locator("#canaries").inner_text())
            self.assertIn("db-ip.com", page.locator("#credits").inner_text())
            self.assertEqual(page.locator("#map li[data-state=block]").inner_text(), "CN")
            self.assertLessEqual(page.evaluate("() => document.documentElement.scrollWidth"), width)
            self.assertLess(page.evaluate("() => document.querySelectorAll('*').length"), 2_000)
            shots = os.environ.get("SCREENSHOTS")
            if shots:
                page.screenshot(path=Path(shots) / f"{width}-{scheme}.png", full_page=True)
            self.axe(page)

    def axe(self, page: Any) -> None:
        """Have axe-core look, where it is."""
        path = os.environ.get(_AXE)
        if not path:
            return
        found = page.evaluate(f"{Path(path).read_text()}; axe.run()")
        self.assertGreater(len(found["passes"]), 30)
        faults = [(one["id"], one["nodes"][0]["target"]) for one in found["violations"]]
        self.assertEqual(faults, [])

    def test_live(self) -> None:
        """What flows shows by itself; markup in a policy is shown as text; a rule that was never
        hit says so."""
        self.open()
        with self.page() as page:
            rule = page.locator("#rules tr", has_text="never-china")
            rule.wait_for()
            self.assertIn(BAD, rule.inner_text())
            self.assertEqual(page.locator("main img").count(), 0)
            self.assertEqual(page.title(), "Gateway console")
            never = page.locator("#rules tr", has_text="never-reached")
            self.assertIn("never hit", never.inner_text())
            self.assertNotIn("127.0.1", page.locator("#recent").inner_text())
            hits = rule.locator("td").nth(2)
            before = int(hits.inner_text())
            at = page.locator("#listeners th").inner_text()
            self.traffic(int(at.rpartition(":")[2]))
            # Two pings to China, and two to where nobody knows.
            page.get_by_role("cell", name=str(before + 4), exact=True).first.wait_for()

    def test_explain(self) -> None:
        """By keyboard alone: a question is asked, and its answer is the rule that decides; a
        fault is told where a screen reader hears it."""
        self.open()
        with self.page() as page:
            page.locator("#flow").focus()
            page.keyboard.type("udp 10.1.0.2:5000 > 127.0.2.1:8000")
            page.keyboard.press("Enter")
            page.locator("#answer .verdict", has_text="never-china").wait_for()
            self.assertIn("CN", page.locator("#answer").inner_text())
            self.assertEqual(page.locator("#answer img").count(), 0)
            self.assertEqual(page.locator("#answer").get_attribute("aria-live"), "polite")

    def test_token(self) -> None:
        """With tokens the page asks for one, says so if it is nobody's, and keeps it in memory
        only: after a reload it asks again."""
        self.open(TOKENS)
        with self.page() as page:
            page.locator("#token-form").wait_for()
            page.locator("#token").fill("wrong")
            page.keyboard.press("Enter")
            page.locator("#token-fault", has_text="nobody's").wait_for()
            page.locator("#token").fill(SECRET)
            page.keyboard.press("Enter")
            page.locator("#link", has_text="live").wait_for()
            self.assertTrue(page.locator("#token-form").is_hidden())
            stored = "() => localStorage.length + sessionStorage.length + document.cookie.length"
            self.assertEqual(page.evaluate(stored), 0)
            page.reload()
            page.locator("#token-form").wait_for()
