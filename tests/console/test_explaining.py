"""gateway.console.explaining: what would happen to a flow, asked over HTTP."""

from __future__ import annotations

import json

from click.testing import CliRunner

from gateway.cli import main
from tests.support.console import TO_US, ConsoleCase
from tests.support.epochs import PING
from tests.support.rows import rows

_FLOW = "udp 10.1.0.2:5000 > 192.0.2.1:8000"


@rows(
    refused={
        "no flow": ({}, "flow: Field required"),
        "another key": ({"flow": _FLOW, "policy": "/etc/passwd"}, "policy: Extra inputs"),
        "no text": ({"flow": 5}, "flow: "),
        "a flow that is none": ({"flow": "<script>alert(1)</script>"}, "is not a flow such as"),
        "a long flow": ({"flow": _FLOW + " " * 200}, "at most 200"),
        "octets that are none": ({"flow": _FLOW, "payload": "zz"}, "payload: "),
        "half an octet": ({"flow": _FLOW, "payload": "380"}, "payload: "),
        "a long payload": ({"flow": _FLOW, "payload": "00" * 4000}, "payload: "),
        "a class that is none": ({"flow": _FLOW, "traffic": "gossip"}, "traffic: "),
        "payload and class": ({"flow": _FLOW, "payload": "00", "traffic": "ping"}, "either"),
        "many names": ({"flow": _FLOW, "names": ["a.example"] * 9}, "names: "),
        "a long name": ({"flow": _FLOW, "names": ["a" * 300]}, "names.0: "),
        "a list": ([], "the body: "),
    }
)
class ExplainingTests(ConsoleCase):
    """POST /api/explain."""

    def test_account(self) -> None:
        """The account is that of the command, by the policy in force."""
        payload = ["--payload", f"hex:{PING.hex()}"]
        asked = ["explain", str(self.folder / "policy.yaml"), str(TO_US), *payload]
        asked += ["--name", "a.example", "--config", str(self.folder / "gateway.yaml")]
        result = CliRunner().invoke(main, [*asked, "--today", "2026-11-23", "--json"])
        self.assertEqual(result.exit_code, 0, result.output)
        question = {"flow": str(TO_US), "payload": PING.hex(" "), "names": ["A.example."]}
        said = self.explain(question).said
        self.assertEqual(said["verdict"].pop("epoch"), 1)
        self.assertEqual(said["verdict"]["would"].pop("epoch"), 1)
        expected = json.loads(result.stdout)
        del expected["verdict"]["epoch"], expected["verdict"]["would"]["epoch"]
        self.assertEqual(said, expected)

    def test_leaves_nothing(self) -> None:
        """Nothing is remembered, counted or written down."""
        self.assertEqual(self.explain({"flow": str(TO_US), "payload": PING.hex()}).code, 200)
        self.assertEqual(len(self.core.table), 0)
        assert self.core.witness.log is not None
        self.assertEqual(self.core.witness.log.written, 1)  # the epoch
        self.assertEqual(self.ask("GET", "/api/flows").said["recent"], [])

    def check_refused(self, question: object, sentence: str) -> None:
        """A question that cannot be read is told where, and is not repeated."""
        got = self.explain(question)
        self.assertEqual(got.code, 400, got.body)
        self.assertIn(sentence, got.said["error"])
        self.assertEqual(got.header["content-type"], "application/json")

    def test_no_json(self) -> None:
        """What is no JSON is told so; deep nesting does no harm."""
        for body in (b"", b"\xff\xfe", b"{", b"[" * 50_000):
            got = self.ask("POST", "/api/explain", body, content_type="application/json")
            self.assertEqual(got.code, 400, body[:5])

    def test_rate(self) -> None:
        """Explaining costs milliseconds that packets wait: more than a few a second are refused."""
        codes = [self.explain({"flow": _FLOW}).code for _ in range(15)]
        self.assertEqual(codes, [200] * 10 + [429] * 5)
        self.reactor.advance(1)
        self.assertEqual(self.explain({"flow": _FLOW}).code, 200)
        self.assertEqual(self.ask("GET", "/api/status").code, 200)
