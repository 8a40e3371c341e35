"""gateway audit: captures become lines, a summary, a page and a status."""

from __future__ import annotations

import gzip
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result
from twisted.trial.unittest import SynchronousTestCase

from gateway.cli import main
from tests.audit.packets import AMERICAN, CHINESE, CLIENT, pcap, udp
from tests.support.epochs import NOISE, PING
from tests.support.rows import rows
from tests.wire import captures

UP = (5000, 8000)
POLICY = """
policy: plain
rules:
- {id: rest, when: {}, action: allow, reason: r, owner: o}
"""


class Case(SynchronousTestCase):
    """Runs the command."""

    def file(self, octets: bytes) -> str:
        path = Path(self.mktemp())
        path.write_bytes(octets)
        return str(path)

    def audit(self, *arguments: str) -> Result:
        return CliRunner().invoke(main, ["audit", "--today", "2026-11-23", *arguments])

    def json(self, *arguments: str) -> tuple[list[Any], Any]:
        """Give the flows' lines and the summary."""
        lines = [json.loads(line) for line in self.audit("--json", *arguments).stdout.splitlines()]
        return lines[:-1], lines[-1]["summary"]


@rows(live={name: (name,) for name in captures.LIVE})
class LiveTests(Case):
    """On real captures the audit finds what an independent decoder found, and nothing else."""

    def check_live(self, name: str) -> None:
        """Every message of the vendor's is counted under its name."""
        path = captures.live(name)
        expected: dict[str, int] = {}
        text = path.with_name(f"{name}.expected.jsonl").read_text()
        for line in map(json.loads, text.splitlines()):
            expected[line["msg"]] = expected.get(line["msg"], 0) + 1
        flows, summary = self.json(str(path))
        counted: dict[str, int] = {}
        for flow in flows:
            for message, count in flow["messages"].items():
                if flow["facts"]["protocol"] == "agora":
                    counted[message] = counted.get(message, 0) + count
        self.assertEqual(counted, expected)
        exposed = {row["message"]: 0 for row in summary["plaintext"]}
        for row in summary["plaintext"]:
            exposed[row["message"]] += row["messages"]
        self.assertEqual(exposed, expected)
        self.assertEqual(sum(flow["packets"] for flow in flows), summary["packets"])
        self.assertEqual(summary["unread"]["unknown_share"], 0)

    def test_encrypted(self) -> None:
        """Nothing is found in the clear on the encrypted SDK's, and where it went is."""
        _, summary = self.json(str(captures.live(captures.ENCRYPTED)))
        self.assertEqual(summary["plaintext"], [])
        places = {tuple(one["countries"]["location"]) for one in summary["contacts"]}
        self.assertIn(("CN",), places)

    def test_other_encrypted(self) -> None:
        """Nothing is found on DTLS, QUIC and encrypted calls of others."""
        for name in ("dtls2.pcap", "gquic.pcap", "quic-v2.pcapng", "quic_q46.pcap", "discord.pcap"):
            _, summary = self.json(str(captures.foreign(name)))
            self.assertEqual(summary["plaintext"], [], name)


class FaceTests(Case):
    """What others rely on."""

    def test_flow_line(self) -> None:
        """A flow's line is explain's object with counts."""
        (flow,), summary = self.json(self.file(pcap([udp(PING, CLIENT, "118.190.148.38", UP)] * 3)))
        self.assertEqual(flow["flow"], "udp 10.1.0.2:5000 > 118.190.148.38:8000")
        self.assertEqual(flow["facts"]["traffic"], "ping")
        self.assertEqual(flow["facts"]["to"]["jurisdictions"], ["mainland-china"])
        self.assertEqual(flow["verdict"]["rule"], "never-ping-china")
        self.assertTrue(flow["considered"])
        self.assertEqual((flow["packets"], flow["messages"]), (3, {"PPing1_v7": 3}))
        self.assertEqual(flow["identifiers"], {"room-id": 3, "user-id": 3})
        self.assertEqual(flow["first"], "1970-01-01T00:16:40Z")
        self.assertEqual(summary["verdicts"]["block"]["packets"], 3)
        (contact,) = summary["contacts"]
        self.assertEqual(contact["countries"]["registration"], ["CN"])
        self.assertTrue(all(one["built"] for one in contact["evidence"]))
        self.assertEqual({one["kind"] for one in summary["findings"]}, {"plaintext", "blocked"})

    def test_status(self) -> None:
        """0 without findings, 1 with some or a broken capture, 2 where nothing can be read."""
        policy = self.file(POLICY.encode())
        quiet = self.file(pcap([udp(NOISE, CLIENT, AMERICAN, UP)]))
        talking = self.file(pcap([udp(PING, CLIENT, AMERICAN, UP)]))
        barred = self.file(pcap([udp(NOISE, CLIENT, CHINESE, UP)]))
        cut = self.file(Path(quiet).read_bytes() + b"\0")
        by = ("--policy", policy)
        self.assertEqual(self.audit(*by, quiet).exit_code, 0)
        self.assertEqual(self.audit(*by, talking).exit_code, 1)
        self.assertEqual(self.audit(barred).exit_code, 1)
        self.assertEqual(self.audit(*by, cut).exit_code, 1)
        self.assertEqual(self.audit(*by, self.file(b"no capture")).exit_code, 2)
        self.assertEqual(self.audit(*by, self.file(pcap([]))).exit_code, 2)
        self.assertEqual(self.audit(*by, "/nonexistent").exit_code, 2)
        self.assertEqual(self.audit(quiet, "--client", "nobody").exit_code, 2)
        self.assertEqual(self.audit().exit_code, 2)

    def test_broken(self) -> None:
        """A broken capture is named with the octet, and what is before is told."""
        whole = pcap([udp(PING, CLIENT, AMERICAN, UP)] * 2)
        result = self.audit(self.file(whole[:-10]))
        self.assertRegex(result.stdout, r"cut off in frame 2 at octet \d+")
        self.assertIn("PPing1_v7 1", result.stdout)

    def test_several(self) -> None:
        """Several files are read in the order of time, packed ones too."""
        early = pcap([udp(PING, CLIENT, AMERICAN, UP)], 100.0)
        late = pcap([udp(PING, AMERICAN, CLIENT, UP[::-1])], 200.0)
        flows, summary = self.json(self.file(late), self.file(gzip.compress(early)))
        self.assertEqual(len(flows), 1)
        self.assertEqual((flows[0]["first"][14:19], flows[0]["last"][14:19]), ("01:40", "03:20"))
        self.assertEqual([one["frames"] for one in summary["captures"]], [1, 1])

    def test_text(self) -> None:
        """The text says what a manager asks."""
        result = self.audit(self.file(pcap([udp(PING, CLIENT, "118.190.148.38", UP)])))
        for words in ("Who was contacted", "AS37963", "What was in plaintext", "never-ping-china"):
            self.assertIn(words, result.stdout)
        self.assertNotIn("11223344", result.stdout)


class Tags(HTMLParser):
    """Reads a page's tags."""

    def __init__(self) -> None:
        super().__init__()
        self.attributes: list[tuple[str, str | None]] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """HTMLParser API."""
        self.attributes += attributes
        self.ids.append(tag)


class PageTests(Case):
    """The report is one page that asks nobody for anything and names nobody."""

    def page(self, *packets: bytes) -> str:
        path = self.mktemp()
        self.audit(self.file(pcap(packets)), "--html", path)
        return Path(path).read_text()

    def test_self_contained(self) -> None:
        """No tag of the page fetches anything, and there is no script."""
        page = self.page(udp(PING, CLIENT, "118.190.148.38", UP))
        tags = Tags()
        tags.feed(page)
        self.assertNotIn("script", tags.ids)
        self.assertEqual([one for one in tags.attributes if one[0] in ("src", "href")], [])
        # The credits of the data name where they are from, as text.
        shown = page.partition("<footer")[0]
        self.assertIsNone(re.search(r"https?://|url\(|@import", shown))
        for tag in ("svg", "table", "main", "h1"):
            self.assertIn(tag, tags.ids)

    def test_map(self) -> None:
        """A country that identifiers were shown to stands out, in words too."""
        page = self.page(udp(PING, CLIENT, "118.190.148.38", UP))
        self.assertIn('<li class="exposed"', page)
        self.assertIn("China: 1 packets sent, 2 identifiers in plaintext, 1 packets blocked", page)

    def test_masked(self) -> None:
        """The packets in question have their identifiers masked."""
        page = self.page(udp(PING, CLIENT, AMERICAN, UP))
        self.assertIn("38 00 01 00 92 00 ██ ██ ██ ██ ██ ██ ██ ██ 00 00", page)
        self.assertNotIn("44 33 22 11", page)

    def test_escaped(self) -> None:
        """What a capture says is text, whatever it says."""
        request = b"SUBSCRIBE sip:<b>@x SIP/2.0\r\nFrom: sip:<script>@x\r\n\r\n"
        page = self.page(udp(request, CLIENT, AMERICAN, UP))
        self.assertNotIn("<script", page)
        self.assertNotIn("<b>", page)
