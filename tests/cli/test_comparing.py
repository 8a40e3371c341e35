"""gateway diff: what it prints, and its exit statuses."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner, Result
from twisted.trial.unittest import SynchronousTestCase

from gateway.cli import main
from gateway.geo.bundle import encode
from gateway.review.markdown import MAX_LEN
from tests.geo import worlds
from tests.support.rows import rows

_DAY = ("--today", "2026-11-23")
_POLICY = """
policy: p
jurisdictions: {china: {location: [CN]}}
rules:
- {id: rest, when: {to: {not: china}}, action: allow}
"""


class _Case(SynchronousTestCase):
    """Two policies and two data files in a folder."""

    def setUp(self) -> None:
        """Write them; in the new data 11.0.0.0/8 is American."""
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        (self.folder / "old.yaml").write_text(_POLICY)
        (self.folder / "new.yaml").write_text(_POLICY.replace("[CN]", "[CN, US]"))
        us, china = ("US", "US", 64496), ("CN", "CN", 64497)
        for name, middle in (("old", china), ("new", us)):
            bundle = worlds.bundle(((0, us), (11 << 24, middle), (12 << 24, us)))
            (self.folder / name).mkdir()
            (self.folder / name / "evidence.xz").write_bytes(encode(bundle))
        (self.folder / "gateway.yaml").write_text(
            "policy: old.yaml\ngeo: {overrides: [{network: 11.2.0.0/16, location: US, reason: t}]}"
        )

    def diff(self, *arguments: str) -> Result:
        """Run the command; names of files are the folder's."""
        here = [
            str(self.folder / one) if (self.folder / one).exists() else one for one in arguments
        ]
        return CliRunner().invoke(main, ["diff", *here, *_DAY])


class PrintedTests(_Case):
    """What changes is said, the gravest first."""

    def test_data(self) -> None:
        """One policy over two data: newly allowed space is the first line; status 1."""
        result = self.diff("old.yaml", "--data", "old", "new/evidence.xz")
        self.assertEqual(result.exit_code, 1, result.output)
        self.assertTrue(result.output.startswith("Newly allowed: 16,777,216 IPv4 addresses"))
        self.assertIn("11.0.0.0/8", result.output)
        self.assertIn("location by dbip-lite: CN → US", result.output)
        self.assertIn("china → no jurisdiction", result.output)

    def test_json(self) -> None:
        """JSON has every range and count."""
        result = self.diff("old.yaml", "--data", "old", "new", "--json")
        account = json.loads(result.stdout)
        self.assertEqual(account["newly_allowed"]["v4_addresses"], 1 << 24)
        self.assertEqual(account["newly_allowed"]["ranges"], ["11.0.0.0/8"])
        (change,) = [one for one in account["changes"] if one["sort"] == "newly allowed"]
        self.assertEqual(change["flows"], ["every flow"])
        self.assertEqual(change["old"], {"action": "block", "target": None})
        self.assertEqual(change["causes"], {"data": {"v4_addresses": 1 << 24, "v6_addresses": 0}})

    def test_configurations(self) -> None:
        """Data are also what a configuration names, with its overrides."""
        result = self.diff("old.yaml", "--data", "gateway.yaml", "gateway.yaml")
        self.assertEqual((result.exit_code, result.stdout), (0, "Nothing changes.\n"))

    def test_policies(self) -> None:
        """Two policies over one data: the definition is why."""
        result = self.diff("old.yaml", "new.yaml", "--markdown", "--data", "old", "old")
        self.assertEqual(result.exit_code, 1, result.output)
        self.assertIn("- why: jurisdictions\n", result.output)
        self.assertIn("jurisdiction china: location: +US", result.output)
        self.assertIn("<details><summary>ranges</summary>", result.output)

    def test_bounded(self) -> None:
        """A comment is never longer than its bound, and says what was cut."""
        exit_ = "x" * 3_000
        rules = "".join(
            f"- {{id: r{at}, when: {{port: {at}, to: china}}, action: {{wrap: {exit_}{at}}}}}\n"
            for at in range(1, 40)
        )
        (self.folder / "new.yaml").write_text(_POLICY + rules)
        result = self.diff("old.yaml", "new.yaml", "--markdown", "--data", "old", "old")
        self.assertEqual(result.exit_code, 1, result.output)
        self.assertLessEqual(len(result.output.encode()), MAX_LEN)
        self.assertIn("Cut here", result.output)


@rows(
    usage={
        "no policy": ((), "Missing argument"),
        "three policies": (("old.yaml", "new.yaml", "old.yaml"), "one policy or two"),
        "one policy alone": (("old.yaml",), "--data OLD NEW"),
        "a missing policy": (("old.yaml", "nonesuch.yaml"), "nonesuch.yaml"),
        "missing data": (("old.yaml", "--data", "old", "nonesuch"), "nonesuch"),
        "data that are none": (("old.yaml", "--data", "old", "old.yaml"), "no configuration"),
        "data of another form": (("old.yaml", "--data", "old", "broken.mmdb"), "broken.mmdb"),
        "missing traffic": (("old.yaml", "new.yaml", "--traffic", "nonesuch"), "nonesuch"),
        "traffic of another form": (("old.yaml", "new.yaml", "--traffic", "old.yaml"), "a capture"),
        "two forms at once": (("old.yaml", "new.yaml", "--json", "--markdown"), "either"),
    }
)
class UsageTests(_Case):
    """What cannot be compared is said in a sentence, with status 2 and no traceback."""

    def check_usage(self, arguments: tuple[str, ...], words: str) -> None:
        """Status 2, and what was wrong."""
        (self.folder / "broken.mmdb").write_bytes(b"broken")
        result = self.diff(*arguments)
        self.assertEqual(result.exit_code, 2, result.output)
        self.assertIn(words, result.output)
        self.assertNotIn("Traceback", result.output)
