"""gateway update: what is checked, what is put into use, and what a crash leaves."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from unittest import mock

from click.testing import CliRunner
from twisted.trial.unittest import SynchronousTestCase

from gateway.cli import main
from gateway.errors import DataError, InputError
from gateway.model import Axis, pack
from gateway.sources import load_atlas
from gateway.supply.column import Families, Range
from gateway.supply.fusion import disjoint
from gateway.supply.merging import as_countries, merged
from tests.supply.world import TODAY, World, csv, delegated, in_use
from tests.support.rows import rows

_CHINA = ("12.0.0.0", "12.255.255.255", "CN")
_LESS = csv(("11.0.0.0", "11.127.255.255", "US"), _CHINA)
_MOVED = csv(
    ("11.0.0.0", "11.255.255.255", "US"),
    ("12.0.0.0", "12.15.255.255", "US"),
    ("12.16.0.0", "12.255.255.255", "CN"),
)


class WorldCase(SynchronousTestCase):
    """Tests with a small world."""

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="gateway-test-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.world = World(self.folder, self.patch)

    def refused(self, check: str, says: str) -> None:
        """Assert that an update is refused by a check, and that nothing changed."""
        before = self.world.state()
        outcome = self.world.update()
        self.assertEqual(outcome.status, "refused")
        self.assertIn(says, "\n".join(f"{one.check}: {one.says}" for one in outcome.found))
        self.assertIn(check, {one.check for one in outcome.found})
        self.assertEqual(self.world.state(), before)
        self.assertEqual(len(list((self.folder / "data/versions").iterdir())), 1)


@rows(
    canary={
        "must be, and is not": ("{address: 11.0.0.1, in: CN}", "11.0.0.1 must be CN"),
        "must not be, and is": ("{address: 12.0.0.1, not_in: CN}", "12.0.0.1 must not be CN"),
        "on an axis": ("{address: 11.0.0.1, in: DE, axis: location}", "location: US"),
    }
)
class CheckTests(WorldCase):
    """Every check with a file that fails it."""

    def check_canary(self, canary: str, says: str) -> None:
        """An address whose answer is known, and is another, refuses the data, --yes or not."""
        self.world.configured(more=f"    canaries: [{canary}]\n")
        self.refused("canary", says)
        self.assertEqual(self.world.update(yes=True).status, "refused")

    def test_older(self) -> None:
        """Data older than those in use are refused, unless a person says yes."""
        self.world.configured(built="2026-10-01")
        self.refused("newer", "location: these data are of 2026-10-01, those in use of 2026-11-01")
        self.assertEqual(self.world.update(yes=True).status, "updated")

    def test_from_the_future(self) -> None:
        """Data of a day to come would never grow stale in time: refused, --yes or not."""
        self.world.configured(built="2027-10-01")
        self.refused("newer", "2027-10-01, which is to come")
        self.assertEqual(self.world.update(yes=True).status, "refused")

    def test_coverage(self) -> None:
        """Data that answer for less of announced space are refused."""
        self.world.bring(_LESS)
        self.refused("coverage", "IPv4: location answers for 75.00 % of announced space, 100.00 %")

    def test_networks(self) -> None:
        """Data that announce less are refused."""
        (self.folder / "as.csv").write_text("11.0.0.0,11.255.255.255,64496\n")
        self.world.configured(
            sources="{kind: file, path: as.csv, form: csv, axis: operator, built: 2026-11-20}"
        )
        self.refused("coverage", "IPv4: announced space is 50.00 % smaller, 0.5 % may be")

    def test_countries(self) -> None:
        """A country that shrank by more than 2 % is named, with what it was and is."""
        self.world.bring(_MOVED)
        says = "IPv4: location CN: 16,777,216 → 15,728,640 addresses (-6.2 %)"
        self.refused("countries", says)

    def test_newly_allowed(self) -> None:
        """What the policy would newly allow needs a yes above the threshold, and none below."""
        sources = ", ".join(
            f"{{kind: file, path: {name}, form: csv, axis: {axis}, built: 2026-11-20}}"
            for name, axis in (("a.csv", "location"), ("a.csv", "registration"), ("b", "operator"))
        )
        (self.folder / "a.csv").write_text(_MOVED)
        networks = (("11.0.0.0", "12.15.255.255", "64496"), ("12.16.0.0", _CHINA[1], "64497"))
        (self.folder / "b").write_text(csv(*networks))
        self.world.configured(sources=sources)
        self.refused("allowed", "newly allowed: 1,048,576 IPv4 addresses (65,536 may be)")
        wide = "{country_change_percent: 10, newly_allowed_v4: 1048576}"
        self.world.configured(sources=sources, more=f"    limits: {wide}\n")
        outcome = self.world.update()
        self.assertEqual((outcome.status, outcome.overruled), ("updated", ()))
        assert outcome.comparison is not None
        self.assertEqual(outcome.comparison.newly_allowed.extent.texts(), ["12.0.0.0/12"])

    def test_registries(self) -> None:
        """Registrations of some registries only are refused; the missing ones are named."""
        (self.folder / "apnic").write_text(delegated())
        self.world.configured(sources="{kind: file, path: apnic, form: delegated}")
        self.refused("whole", "there is no file of afrinic, arin, lacnic, ripencc")

    def test_rivals(self) -> None:
        """Two sources about one column are refused, but for registries."""
        one = "{kind: file, path: location.csv, form: csv, axis: location, built: 2026-11-20}"
        self.world.configured(sources=f"{one}, {one}")
        error = self.assertRaises(DataError, self.world.update)
        self.assertIn("all supply location", str(error))

    def test_settings(self) -> None:
        """A configuration that asks for what cannot be is refused at its line."""
        for text, says in (
            ("{kind: file, path: x, form: mmdb}", "needs axis"),
            ("{kind: file, path: x, form: delegated, axis: location}", "has no axis"),
            ("{kind: file, path: x, form: iptocc}", "iptocc is a package"),
            ('{kind: https, url: "http://x/", form: bundle}', "must be https"),
            ('{kind: https, url: "https://u:p@x/", form: bundle}', "carries no password"),
            ('{kind: https, url: "https://x/{key}", form: bundle}', "needs key_file"),
        ):
            error = self.assertRaises(InputError, self.world.configured, sources=text)
            self.assertIn(says, str(error))
            self.assertIn("gateway.yaml:7:", str(error))


class SwapTests(WorldCase):
    """Putting data into use."""

    def test_updated(self) -> None:
        """Good data are in use at once, with a manifest of where they came from; then nothing is
        new."""
        self.assertEqual(self.world.update().status, "updated")
        sources = self.world.state()["sources"]
        assert isinstance(sources, list)
        self.assertEqual([one["built"] for one in sources][:2], ["2026-11-20", "2026-11-01"])
        self.assertEqual(sources[0]["package"], str(self.folder / "location.csv"))
        atlas = load_atlas(self.world.config, TODAY)
        self.assertEqual(atlas.place(pack("12.0.0.1")).values[Axis.LOCATION], ("CN",))
        self.assertEqual(self.world.update().status, "unchanged")

    def test_check_only(self) -> None:
        """--check changes nothing."""
        before = self.world.state()
        self.assertEqual(self.world.update(check_only=True).status, "acceptable")
        self.assertEqual(self.world.state(), before)

    def test_owners_reviewed(self) -> None:
        """A person's review makes the table of owners as fresh as that day."""
        self.world.configured(more="    owners_reviewed: 2026-11-22\n")
        self.world.update()
        built = [one.built for one in load_atlas(self.world.config, TODAY).sources]
        self.assertEqual(built, ["2026-11-20", "2026-11-01", "2026-11-01", "2026-11-22"])

    def test_back(self) -> None:
        """--back returns to what was in use; what was left is not taken again without a yes."""
        before = self.world.state()
        self.world.update()
        self.world.store.back()
        self.assertEqual(self.world.state(), before)
        self.refused_again()
        self.assertEqual(self.world.update(yes=True).status, "updated")

    def refused_again(self) -> None:
        """Assert that the same files are refused."""
        outcome = self.world.update()
        self.assertEqual([one.check for one in outcome.found], ["refused"])

    def test_back_to_bundled(self) -> None:
        """Before the first update the bundled data were in use: --back returns to them."""
        self.assertEqual(self.world.store.back(), "")
        atlas = load_atlas(self.world.config, TODAY)
        self.assertIn("the bundled data are used", "\n".join(atlas.warnings))
        self.assertRaises(DataError, self.world.store.back)

    def test_two_at_once(self) -> None:
        """A second update at the same time is refused, as long as the first one runs."""
        script = (
            "import sys; from pathlib import Path; from gateway.supply.store import Store\n"
            "with Store(Path(sys.argv[1])).locked(): pass"
        )
        argv = [sys.executable, "-c", script, str(self.folder / "data")]
        with self.world.store.locked():
            done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
            self.assertIn("another update is running", done.stderr)
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_corrupt(self) -> None:
        """Data that are not what their manifest says are noticed, and not loaded."""
        (self.folder / "data/current/evidence.xz").write_bytes(b"what")
        self.assertRaises(DataError, self.world.update)
        self.assertRaises(DataError, load_atlas, self.world.config, TODAY)

    def test_crashes(self) -> None:
        """Wherever an update is cut off, the old or the new data are in use, whole, and the next
        update succeeds."""
        before, crashes = self.world.state(), 0
        for step in range(100):
            with _Crash(step) as died:
                try:
                    self.world.update()
                except _PowerCutError:
                    crashes += 1
            state = self.world.state()
            load_atlas(self.world.config, TODAY)
            if not died:
                break
            if state != before:
                self.assertEqual(self.world.update().status, "unchanged")
                self.world.store.back()
                (self.folder / "data/refused.json").unlink(missing_ok=True)
                self.assertEqual(self.world.state(), before)
        self.assertGreater(crashes, 12)
        self.assertNotEqual(self.world.state(), before)


class CommandTests(WorldCase):
    """What people see."""

    def run_update(self, *more: str) -> tuple[int, str]:
        """Run the command."""
        config = str(self.folder / "gateway.yaml")
        done = CliRunner().invoke(main, ["update", "--config", config, *more])
        return done.exit_code, done.output

    def test_statuses(self) -> None:
        """0 updated or nothing new, 1 refused with the findings, 2 what cannot be used."""
        status, output = self.run_update()
        self.assertEqual(status, 0, output)
        self.assertIn("is in use; reload the gateway", output)
        status, output = self.run_update()
        self.assertEqual(status, 0)
        self.assertIn("nothing new", output)
        self.world.bring(_LESS)
        status, output = self.run_update("--yes")
        self.assertEqual(status, 1)
        self.assertIn("refused: nothing was changed", output)
        (self.folder / "location.csv").unlink()
        self.assertEqual(self.run_update()[0], 2)

    def test_json(self) -> None:
        """--json has the findings and the ranges, and asks nobody."""
        self.world.bring(_MOVED)
        config = str(self.folder / "gateway.yaml")
        done = CliRunner().invoke(main, ["update", "--config", config, "--json"])
        account = json.loads(done.stdout)
        self.assertEqual((done.exit_code, account["status"]), (1, "refused"))
        self.assertEqual(account["newly_allowed"]["v4_addresses"], 0)
        self.assertTrue(account["findings"])

    def test_owners(self) -> None:
        """--owners prints the table in use, in a form that a source can be."""
        self.assertEqual(self.run_update("--owners"), (0, "asn,country\n64498,CN\n64500,SG\n"))


class JoiningTests(SynchronousTestCase):
    """Columns joined."""

    def test_disjoint(self) -> None:
        """Of ranges that overlap, each address has one answer."""
        ranges = [Range(0, 9, "US"), Range(5, 14, "CN"), Range(6, 8, "DE")]
        self.assertEqual(disjoint(ranges), [Range(0, 9, "US"), Range(10, 14, "CN")])

    def test_as_countries(self) -> None:
        """An AS number's country by address is that of most of its space."""
        countries = Families([Range(0, 9, "US"), Range(10, 99, "CN")], [])
        networks = Families([Range(0, 4, 64497), Range(5, 50, 64496)], [])
        self.assertEqual(as_countries(countries, networks), {64496: "CN", 64497: "US"})

    def test_remade(self) -> None:
        """A fused file taken apart and joined again is the same."""
        again = merged([], [in_use()], None)
        self.assertEqual(again.v4.high, in_use().v4.high)
        self.assertEqual(again.origins, in_use().origins)


class _PowerCutError(BaseException):
    """The machine went off."""


class _Crash:
    """Cuts an update off before one of its writes to the disk."""

    def __init__(self, step: int) -> None:
        self.left = step
        self.died: list[int] = []

    def __enter__(self) -> list[int]:
        def cut(real: Callable[..., object]) -> Callable[..., object]:
            def wrapped(*args: object, **kwargs: object) -> object:
                self.left -= 1
                if self.left < 0:
                    self.died.append(1)
                    raise _PowerCutError
                return real(*args, **kwargs)

            return wrapped

        self.patches = [
            mock.patch.object(os, "fsync", cut(os.fsync)),
            mock.patch.object(Path, "replace", cut(Path.replace)),
            mock.patch.object(Path, "rename", cut(Path.rename)),
            mock.patch.object(Path, "symlink_to", cut(Path.symlink_to)),
            mock.patch.object(Path, "unlink", cut(Path.unlink)),
            mock.patch.object(shutil, "rmtree", cut(shutil.rmtree)),
        ]
        for one in self.patches:
            one.start()
        return self.died

    def __exit__(self, *_: object) -> None:
        for one in self.patches:
            one.stop()
