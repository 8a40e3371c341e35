"""gateway explain and test: many flows, what is not asked, coverage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result
from twisted.trial.unittest import SynchronousTestCase

from gateway.cli import main
from tests.support.bundled import ROOT
from tests.support.rows import rows

DEFAULT = str(ROOT / "policies" / "default.yaml")
CAPTURE = str(ROOT / "tests" / "data" / "agora312-GLOBminusCN-session-token.pcap")
CHINA = "udp 10.1.0.2:5000 > 118.190.148.38:8000"
DAY = ("--today", "2026-11-23")

POLICY = """
policy: p
jurisdictions: {china: {location: [CN]}}
rules:
- {id: a, when: {traffic: [ping, media], to: china}, action: block}
- {id: b, when: {}, action: allow}
cases:
- {flow: 'udp 10.0.0.1:1 > 8.8.8.8:53', traffic: ping, to: {location: CN}, expect: {action: %s}}
"""


def gateway(*arguments: str) -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(main, arguments)


class AskingCase(SynchronousTestCase):
    """Files of a policy admin."""

    def file(self, text: str) -> str:
        """Write a file."""
        path = Path(self.mktemp()).with_suffix(".yaml")
        path.write_text(text)
        return str(path)

    def lines(self, *arguments: str) -> list[dict[str, Any]]:
        """Run a command that prints JSON lines."""
        result = gateway(*arguments, *DAY, "--json")
        self.assertEqual(result.exit_code, 0, result.output)
        return [json.loads(line) for line in result.stdout.splitlines()]


@rows(
    usage={
        "nothing to explain": ((), "one of FLOW, --flows and --capture"),
        "two things to explain": ((CHINA, "--capture", CAPTURE), "one of FLOW"),
        "a payload for many": (
            ("--capture", CAPTURE, "--payload", "hex:00"),
            "go with FLOW only",
        ),
        "a payload and its class": (
            (CHINA, "--payload", "hex:00", "--traffic", "ping"),
            "either --payload or --traffic",
        ),
        "no capture": (("--capture", DEFAULT), "expected a capture"),
    }
)
class ExplainTests(AskingCase):
    """Why, and for many flows at once."""

    def check_usage(self, arguments: tuple[str, ...], words: str) -> None:
        """What cannot be answered is status 2 and a sentence."""
        result = gateway("explain", DEFAULT, *arguments)
        self.assertEqual(result.exit_code, 2, result.output)
        self.assertIn(words, result.output)

    def test_parts(self) -> None:
        """Each rule has the conditions that decided, with source, axis, value and date; the rules
        behind are not asked."""
        result = gateway("explain", DEFAULT, CHINA, "--traffic", "media", *DAY, "--json")
        account = json.loads(result.stdout)
        first, second = account["considered"]
        self.assertEqual([part["condition"] for part in first["parts"]],
                         ["traffic: ping, signalling, telemetry"])  # fmt: skip
        self.assertEqual((first["parts"][0]["result"], first["parts"][0]["evidence"]), (False, []))
        located = second["parts"][1]["evidence"][0]
        prefix = "118.190.0.0-118.193.15.255"
        self.assertEqual(
            located,
            {"axis": "location", "value": "CN", "source": "dbip-lite", "built": "2026-09-01",
             "prefix": prefix},
        )  # fmt: skip
        self.assertEqual(
            account["not_asked"],
            ["nothing-else-to-china", "no-plaintext-identifiers", "nothing-unread", "the-rest"],
        )

    def test_stale(self) -> None:
        """Evidence that is too old decides nothing, and is behind no condition."""
        result = gateway("explain", DEFAULT, CHINA, "--today", "2028-01-01", "--json")
        parts = [part for one in json.loads(result.stdout)["considered"] for part in one["parts"]]
        self.assertTrue(parts)
        self.assertEqual([part["evidence"] for part in parts], [[]] * len(parts))

    def test_asked_for(self) -> None:
        """An address that the payload asks for is named where it decides."""
        flow = "tcp 10.1.0.2:5000 > 50.17.126.121:80"
        connect = b"CONNECT 114.114.114.114:443 HTTP/1.1\r\n\r\n".hex()
        result = gateway("explain", DEFAULT, flow, "--payload", f"hex:{connect}", *DAY)
        self.assertIn("114.114.114.114: mainland-china: location CN", result.output)

    def test_flows(self) -> None:
        """Each line of a file is explained, one JSON object a line."""
        path = self.file(f"{CHINA}\n{{flow: '{CHINA}', traffic: media, to: {{location: US}}}}\n")
        one, other = self.lines("explain", DEFAULT, "--flows", path)
        self.assertEqual(one["verdict"]["rule"], "never-ping-china")
        self.assertEqual(other["facts"]["to"]["evidence"][0]["source"], "given")
        text = gateway("explain", DEFAULT, "--flows", path, *DAY).output
        self.assertEqual(text.count("not asked:"), 2)

    def test_capture(self) -> None:
        """Each flow of a captured call is explained by what was really sent."""
        accounts = self.lines("explain", DEFAULT, "--capture", CAPTURE)
        self.assertGreater(len(accounts), 30)
        messages = {one["facts"]["message"] for one in accounts}
        self.assertIn("PCreateChannelAndGetAddrs_v5", messages)


class CoverageTests(AskingCase):
    """`gateway test --coverage` and `--complete`."""

    def test_complete(self) -> None:
        """Our own policies are tried completely; one that is not leaves with status 1."""
        result = gateway("test", str(ROOT / "policies"), "--complete", *DAY)
        self.assertEqual(result.exit_code, 0, result.output)
        path = self.file(POLICY % "block")
        self.assertEqual(gateway("test", path, "--coverage", *DAY).exit_code, 0)
        result = gateway("test", path, "--complete", *DAY)
        self.assertEqual(result.exit_code, 1, result.output)
        self.assertIn('not tried no case is decided by rule "b"', result.output)
        self.assertIn('rule "a": traffic: media is true in no case', result.output)

    def test_json(self) -> None:
        """The coverage of each policy is in the report, with its gaps; without --coverage it is
        not."""
        path = self.file(POLICY % "block")
        report = json.loads(gateway("test", path, "--coverage", *DAY, "--json").stdout)
        coverage = report["coverage"][path]
        self.assertEqual(coverage["rules"], {"a": 1, "b": 0})
        self.assertEqual(coverage["jurisdictions"]["china"]["true"], 1)
        self.assertEqual(len(coverage["gaps"]), 5)
        self.assertNotIn("coverage", json.loads(gateway("test", path, *DAY, "--json").stdout))

    def test_failure(self) -> None:
        """A case that fails shows what was expected beside what it gave."""
        path = self.file(POLICY % "allow, rule: b")
        text = gateway("test", path, *DAY).output
        for words in ("- action: allow", "+ action: block", "- rule: b", "+ rule: a", "to: china"):
            self.assertIn(words, text)
        (failure,) = json.loads(gateway("test", path, *DAY, "--json").stdout)["failures"]
        self.assertEqual(failure["expected"], {"action": "allow", "rule": "b"})
