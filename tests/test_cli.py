"""gateway.cli: commands, what they print, and their exit statuses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
from click.testing import CliRunner, Result
from twisted.trial.unittest import SynchronousTestCase

from gateway.cli import main
from tests.support.bundled import ROOT
from tests.support.rows import rows

DEFAULT = str(ROOT / "policies" / "default.yaml")
DAY = ("--today", "2026-11-23")
JOIN = (
    "hex:6d0000002a0057bc7e08a2010000200030313233343536373839616263646566303132333435363738396162"
    "636465660e0053454544524f4f4d2d78566239510b00696e666f2d737472696e6703000700000001003009000000"
    "0100320b0000000600474c4f42414c44332211"
)
CHINA = "udp 10.1.0.2:5000 > 118.190.148.38:8000"


def gateway(*arguments: str) -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(main, arguments)


@rows(
    usage={
        "an unknown command": (("dance",), "dance"),
        "explain without a flow": (("explain", DEFAULT), "FLOW"),
        "explain a flow that is none": (("explain", DEFAULT, "udp here > there"), "endpoint"),
        "explain a payload that is none": (
            ("explain", DEFAULT, CHINA, "--payload", "3800"),
            "hex:3800",
        ),
        "explain odd hexadecimal": (
            ("explain", DEFAULT, CHINA, "--payload", "hex:380"),
            "hexadecimal",
        ),
        "explain a missing file": (
            ("explain", DEFAULT, CHINA, "--payload", "file:/nonesuch"),
            "/nonesuch",
        ),
        "explain by a missing policy": (("explain", "nonesuch.yaml", CHINA), "nonesuch.yaml"),
        "locate a name": (("locate", "ap.agora.io"), "ap.agora.io"),
        "test a missing policy": (("test", "nonesuch.yaml"), "nonesuch.yaml"),
        "check an empty folder": (("check", str(ROOT / "tests")), "holds nothing to check"),
        "check a device": (("check", "/dev/zero"), "is no regular file"),
        "explain a device": (
            ("explain", DEFAULT, CHINA, "--payload", "file:/dev/zero"),
            "is no regular file",
        ),
        "explain the flows of a device": (
            ("explain", DEFAULT, "--flows", "/dev/zero"),
            "is no regular file",
        ),
        "explain the capture of a device": (
            ("explain", DEFAULT, "--capture", "/dev/zero"),
            "is no regular file",
        ),
        "check a missing file": (("check", "nonesuch.yaml"), "nonesuch.yaml"),
        "run without its configuration": (("run", "--config", "nonesuch.yaml"), "nonesuch.yaml"),
        "exit without its configuration": (("exit", "--config", "nonesuch.yaml"), "nonesuch.yaml"),
    }
)
class UsageTests(SynchronousTestCase):
    """What cannot be done is said in a sentence, with status 2 and no traceback."""

    def check_usage(self, arguments: tuple[str, ...], words: str) -> None:
        """Status 2, and what was wrong."""
        result = gateway(*arguments)
        self.assertEqual(result.exit_code, 2, result.output)
        self.assertIn(words, result.output)
        self.assertNotIn("Traceback", result.output)


class ExplainTests(SynchronousTestCase):
    """`gateway explain` gives the verdict and all that led to it."""

    def explain(self, flow: str, *options: str) -> dict[str, Any]:
        result = gateway("explain", DEFAULT, flow, *options, *DAY, "--json")
        self.assertEqual(result.exit_code, 0, result.output)
        account: dict[str, Any] = json.loads(result.output)
        return account

    def test_join_to_china(self) -> None:
        """The join of the vendor's client to its hard-coded address is blocked, with evidence."""
        account = self.explain(CHINA, "--payload", JOIN)
        self.assertEqual(account["flow"], CHINA)
        facts = account["facts"]
        self.assertEqual(facts["protocol"], "agora")
        self.assertEqual(facts["message"], "PCreateChannelAndGetAddrs_v5")
        self.assertEqual(facts["traffic"], "signalling")
        self.assertEqual(
            [(one["kind"], one["offset"], one["length"]) for one in facts["plaintext"]],
            [("app-id", 16, 32), ("room-id", 50, 14), ("user-id", 105, 4)],
        )
        self.assertEqual(facts["to"]["jurisdictions"], ["mainland-china"])
        self.assertEqual(
            {(one["axis"], one["value"]) for one in facts["to"]["evidence"]},
            {(axis, "CN") for axis in ("location", "registration", "operator")}
            | {("operator", "AS37963")},
        )
        verdict = account["verdict"]
        self.assertEqual((verdict["action"], verdict["rule"]), ("block", "never-ping-china"))
        self.assertEqual(account["considered"][0]["result"], True)

    def test_without_payload(self) -> None:
        """What was not seen is null, and the rules that ask for it are undetermined."""
        account = self.explain(CHINA)
        self.assertIsNone(account["facts"]["protocol"])
        self.assertEqual(account["considered"][0]["result"], "undetermined")
        self.assertEqual(account["verdict"]["action"], "block")

    def test_given_class(self) -> None:
        """A class can be given instead of a payload."""
        account = self.explain(CHINA, "--traffic", "media")
        self.assertEqual(account["verdict"]["rule"], "media-stays-out")

    def test_name(self) -> None:
        """A name of the vendor's in China blocks an American address."""
        flow = "tcp 10.1.0.2:5000 > 50.17.126.121:443"
        account = self.explain(flow, "--name", "AP.agoraio.cn.", "--traffic", "other")
        self.assertEqual(account["verdict"]["action"], "block")

    def test_for_a_person(self) -> None:
        """Without --json, the verdict and its rule are in the text."""
        result = gateway("explain", DEFAULT, CHINA, "--payload", JOIN, *DAY)
        self.assertIn("block by never-ping-china", result.output)
        self.assertIn("user-id at 105+4", result.output)

    def test_stale(self) -> None:
        """With data too old, nothing is known and everything is blocked; it says so."""
        flow = "udp 10.1.0.2:5000 > 50.17.126.121:4001"
        result = gateway("explain", DEFAULT, flow, "--today", "2028-01-01")
        self.assertIn("(stale)", result.output)
        self.assertIn("block by", result.output)
        self.assertIn("more than 120 days ago", result.stderr)


class PolicyCommandTests(SynchronousTestCase):
    """`gateway check` and `gateway test` on files of a policy admin."""

    def file(self, name: str, text: str) -> str:
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / name).write_text(text)
        return str(folder / name)

    def test_sound(self) -> None:
        """The policies that come with the gateway are sound."""
        result = gateway("check", DEFAULT, str(ROOT / "policies" / "exit.yaml"))
        self.assertEqual(result.exit_code, 0, result.output)
        self.assertRegex(result.output, 'policy "promise" is sound, 6 rules, [1-9][0-9]+ cases')

    def test_faults(self) -> None:
        """Every fault of every file is named at its line, also as JSON."""
        path = self.file("p.yaml", "policy: p\ndefalt: block\nrules:\n- {id: a, when: {}}\n")
        result = gateway("check", DEFAULT, path, "--json")
        self.assertEqual(result.exit_code, 2)
        problems = json.loads(result.output)["problems"]
        self.assertEqual([(one["file"], one["line"]) for one in problems], [(path, 2), (path, 4)])

    def test_odd(self) -> None:
        """What is odd is told and is no fault, but with --strict the status is 1."""
        path = self.file("p.yaml", "policy: p\nrules:\n- {id: a, when: {}, action: block}\n")
        result = gateway("check", path)
        self.assertEqual(result.exit_code, 0, result.output)
        self.assertIn(f"{path}:1:1: warning: no default is stated", result.output)
        strict = gateway("check", path, "--strict", "--json")
        self.assertEqual(strict.exit_code, 1, strict.output)
        kinds = {one["kind"]: one["weight"] for one in json.loads(strict.stdout)["warnings"]}
        self.assertEqual(kinds, {"no-default": "warning", "no-owner": "note", "no-case": "warning"})
        self.assertEqual(gateway("check", DEFAULT, "--strict").exit_code, 0)

    def test_broken_everywhere(self) -> None:
        """Faults of the text, of values and of an included list are told in one run, status 2."""
        text = "policy: p\ninclude: [l.yaml]\nrules:\n- {id: a, when: {to: [x}\nmode: of\n"
        path = self.file("p.yaml", text)
        Path(path).with_name("l.yaml").write_text("jurisdictions: {x: {location: [UK]}}\n")
        result = gateway("check", path, "--json")
        self.assertEqual(result.exit_code, 2, result.output)
        found = [
            (Path(one["file"]).name, one["line"]) for one in json.loads(result.stdout)["problems"]
        ]
        self.assertEqual(found, [("l.yaml", 1), ("p.yaml", 4), ("p.yaml", 5)])

    def test_folder(self) -> None:
        """A folder's policies and jurisdiction lists are all checked."""
        result = gateway("check", str(ROOT / "policies"), "--strict", *DAY)
        self.assertEqual(result.exit_code, 0, result.output)
        self.assertIn("european-union.yaml: a sound list of 2 jurisdictions", result.output)
        late = gateway("check", str(ROOT / "policies" / "exit.yaml"), "--today", "2028-01-01")
        self.assertIn("the review was due on 2027-11-23, 39 days ago", late.output)

    def test_schema(self) -> None:
        """The JSON Schema of policies is printed."""
        result = gateway("check", "--schema", "policy")
        self.assertEqual(result.exit_code, 0)
        self.assertEqual(json.loads(result.output)["description"], "A policy file.")

    def test_configuration(self) -> None:
        """A configuration is checked with its policy: a wrap to an unknown exit is a fault."""
        policy = "policy: p\nrules:\n- {id: a, when: {}, action: {wrap: us-eats}}\n"
        path = self.file("policy.yaml", policy)
        config = Path(path).with_name("gateway.yaml")
        listener = '{kind: socks5, address: "127.0.0.1:0"}'
        config.write_text(f"policy: policy.yaml\nlisteners: [{listener}]\n")
        result = gateway("check", str(config))
        self.assertEqual(result.exit_code, 2, result.output)
        self.assertIn(f'{path}:3:3: rule "a": no exit is called "us-eats"', result.output)

    def test_blocked_relay(self) -> None:
        """A relay that stands where the policy lets nothing go is a fault."""
        policy = self.file("policy.yaml", (ROOT / "policies" / "default.yaml").read_text())
        config = Path(policy).with_name("gateway.yaml")
        config.write_text(
            "policy: policy.yaml\nrelays:\n- {name: r, address: '114.114.114.114:4001'}\n"
            "geo: {max_age_days: 36500}\n"
        )
        result = gateway("check", str(config))
        self.assertEqual(result.exit_code, 2, result.output)
        self.assertIn(
            'relay "r" stands, or may stand, where rule "never-ping-china"', result.output
        )

    def test_cases(self) -> None:
        """All cases of a folder run, and pass."""
        result = gateway("test", str(ROOT / "policies"), *DAY)
        self.assertEqual(result.exit_code, 0, result.output)
        self.assertRegex(result.output, "(?m)^[1-9][0-9]+ cases passed, 0 failed$")

    def test_failing_case(self) -> None:
        """A case that fails is explained, and the status is 1."""
        path = self.file(
            "p.yaml",
            "policy: p\njurisdictions: {cn: {location: [CN]}}\n"
            "rules:\n- {id: a, when: {to: cn}, action: block}\n"
            "cases:\n- {flow: 'udp 10.0.0.1:1 > 8.8.8.8:53', expect: {action: block, rule: a}}\n",
        )
        result = gateway("test", path, *DAY)
        self.assertEqual(result.exit_code, 1, result.output)
        self.assertIn("rule is default, expected a", result.output)
        self.assertIn("location US", result.output)
        report = json.loads(gateway("test", path, *DAY, "--json").output)
        self.assertEqual((report["passed"], report["failed"]), (0, 1))
        self.assertEqual(report["failures"][0]["verdict"]["rule"], "default")

    def test_unreached(self) -> None:
        """A rule without a case is named."""
        path = self.file("p.yaml", "policy: p\nrules:\n- {id: lonely, when: {}, action: block}\n")
        result = gateway("test", path, *DAY)
        self.assertEqual(result.exit_code, 0)
        self.assertIn('no case reaches rule "lonely"', result.output)


class LocateTests(SynchronousTestCase):
    """`gateway locate` shows evidence with sources and dates."""

    def test_evidence(self) -> None:
        """Each word has its axis, source, date and prefix; credits are shown."""
        result = gateway("locate", "114.114.114.114", *DAY)
        self.assertEqual(result.exit_code, 0, result.output)
        for word in ("location", "registration", "operator", "CN", "2026-09-01", "DB-IP"):
            self.assertIn(word, result.output)

    def test_round_trips(self) -> None:
        """A round trip from an exit with a position refutes a location, and is shown with what it
        bounds; one from nowhere, or that cannot be read, is bad usage."""
        path = Path(self.mktemp())
        path.write_text(
            "policy: p.yaml\nposition: [40.7, -74]\nexits:\n"
            "  - {name: eu, kind: masque, ca: a, certificate: b, key: c, position: [50.1, 8.7],"
            ' url: "https://exit.test/{target_host}/{target_port}/"}\n'
        )
        given = ("locate", "114.114.114.114", "--config", str(path), *DAY, "--json")
        (told,) = json.loads(gateway(*given, "--rtt", "eu=5", "--rtt", "gateway=90").stdout)
        self.assertIn("light comes back from CN: location refuted", told["doubts"][-1])
        self.assertEqual([one["refutes"] for one in told["round_trips"]], [["CN"], []])
        self.assertEqual(told["round_trips"][0]["within_km"], 749.5)
        shown = gateway(*given[:-1], "--rtt", "eu=5").stdout
        self.assertIn("eu: 5 ms, so within 750 km of it; not in CN", shown)
        flow = "udp 10.0.0.1:1 > 50.17.126.121:1"
        explained = gateway("explain", DEFAULT, flow, "--rtt", "eu=5", *given[2:-1])
        self.assertIn("location refuted", explained.output)
        for wrong in ("us=5", "eu=", "eu=-1", "5"):
            self.assertEqual(gateway(*given, "--rtt", wrong).exit_code, 2)

    def test_jurisdictions(self) -> None:
        """With a policy, the jurisdictions are named; each spelling of an address is the same."""
        spellings = ["114.114.114.114", "::ffff:114.114.114.114", "2002:7272:7272::1"]
        spellings.append("64:ff9b::7272:7272")
        result = gateway("locate", "--policy", DEFAULT, *spellings, *DAY, "--json")
        located = json.loads(result.output)
        self.assertEqual([one["address"] for one in located], spellings)
        self.assertEqual([one["jurisdictions"] for one in located], [["mainland-china"]] * 4)

    def test_private(self) -> None:
        """A private address is nobody's, and may be in any jurisdiction."""
        (one,) = json.loads(gateway("locate", "--policy", DEFAULT, "10.0.0.1", "--json").output)
        self.assertEqual(one["undetermined"], ["mainland-china"])
        self.assertIn("RFC 1918", one["doubts"][0])


class InitTests(SynchronousTestCase):
    """`gateway init` makes a starter that works, and overwrites nothing."""

    def test_starter(self) -> None:
        """What init writes is sound, and its keys are their owner's."""
        folder = Path(self.mktemp())
        result = gateway("init", str(folder), "--exit-host", "192.0.2.7", "--json")
        self.assertEqual(result.exit_code, 0, result.output)
        self.assertEqual(len(json.loads(result.output)["files"]), 11)
        config = folder / "gateway.yaml"
        # Sound on any day: the age of the data is another matter.
        config.write_text(config.read_text().replace("max_age_days: 120", "max_age_days: 36500"))
        checked = gateway("check", *(str(folder / f"{name}.yaml") for name in ("gateway", "exit")))
        self.assertEqual(checked.exit_code, 0, checked.output)
        for name in ("ca.key", "exit.key", "gateway.key"):
            self.assertEqual((folder / name).stat().st_mode & 0o777, 0o600)

    def test_envoy(self) -> None:
        """With --envoy there is a configuration of stock Envoy besides; it is what deploy/ has."""
        folder = Path(self.mktemp())
        result = gateway("init", str(folder), "--envoy", "--json")
        self.assertEqual(result.exit_code, 0, result.output)
        self.assertIn(str(folder / "envoy.yml"), json.loads(result.output)["files"])
        written = (folder / "envoy.yml").read_text()
        copy = Path(__file__).parents[1] / "deploy" / "envoy" / "envoy.yml"
        self.assertEqual(written, copy.read_text(), "made by: gateway init --envoy")
        self.assertIn("exact: gateway-1}", written)
        tested = gateway("test", str(folder), *DAY)  # it is taken for no policy
        self.assertEqual(tested.exit_code, 0, tested.output)

    def test_odd_host(self) -> None:
        """What is no host, and would be no YAML, is refused."""
        folder = Path(self.mktemp())
        result = gateway("init", str(folder), "--exit-host", 'bad host"')
        self.assertEqual(result.exit_code, 2)
        self.assertIn("neither a host name nor an address", result.output)
        self.assertEqual(gateway("init", str(folder), "--exit-port", "99999").exit_code, 2)
        self.assertFalse(folder.exists())

    def test_tested(self) -> None:
        """The cases of a starter's policies pass; its configurations are no policies."""
        folder = Path(self.mktemp())
        gateway("init", str(folder))
        result = gateway("test", str(folder), *DAY)
        self.assertEqual(result.exit_code, 0, result.output)
        self.assertRegex(result.output, "(?m)^[1-9][0-9]+ cases passed, 0 failed$")

    def test_missing_key(self) -> None:
        """A configuration whose certificate or key cannot be used is not sound."""
        folder = Path(self.mktemp())
        gateway("init", str(folder))
        (folder / "gateway.key").write_bytes((folder / "exit.key").read_bytes())
        result = gateway("check", str(folder / "gateway.yaml"))
        self.assertEqual(result.exit_code, 2)
        self.assertIn("gateway.key: is not the key of", result.output)

    def test_twice(self) -> None:
        """A second init changes nothing and says what is there."""
        folder = Path(self.mktemp())
        gateway("init", str(folder))
        before = (folder / "ca.key").read_bytes()
        result = gateway("init", str(folder))
        self.assertEqual(result.exit_code, 2)
        self.assertIn("gateway.yaml: is there already", result.output)
        self.assertEqual((folder / "ca.key").read_bytes(), before)


class StartTests(SynchronousTestCase):
    """Commands start with what they need, so that a hundred cases do not wait for a tunnel."""

    def test_imports(self) -> None:
        """Neither `gateway test` nor the check of a policy takes in tunnels and web servers."""
        says = (
            "import sys, gateway.cli.asking, gateway.cli.checking;"
            "print([one for one in ('gateway.service', 'gateway.routing', 'gateway.tunnel.quic',"
            " 'klein', 'aioquic', 'pyroute2', 'twisted.internet.reactor') if one in sys.modules])"
        )
        done = subprocess.run(
            [sys.executable, "-c", says], capture_output=True, text=True, check=True
        )
        self.assertEqual(done.stdout.strip(), "[]")

    def test_all_there(self) -> None:
        """Every command that `gateway --help` lists is there under its name."""
        listed = gateway("--help")
        self.assertEqual(listed.exit_code, 0)
        group = click.Context(main)
        for name in main.list_commands(group):
            command = main.get_command(group, name)
            assert command is not None, name
            self.assertEqual(command.name, name)
            self.assertEqual(f"  {name} " in listed.output, not command.hidden)
