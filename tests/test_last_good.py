"""gateway.last_good: what is kept for the next start is what was in force, whole."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from gateway import policy
from gateway.errors import DataError
from gateway.last_good import LastGood
from gateway.policy import Policy
from tests.support.bundled import DAY

CASES = 'cases: [{flow: "udp 10.1.0.2:5000 > 192.0.2.1:4001", expect: {action: block}}]\n'


class LastGoodTests(SynchronousTestCase):
    """Files of a policy, kept."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.file = self.folder / "policy.yaml"
        self.state = self.folder / "state"
        self.kept = self.of("gateway.yaml")

    def of(self, configuration: str) -> LastGood:
        """Give what is kept of a configuration's policy."""
        return LastGood(self.state, self.folder / configuration)

    def written(self, text: str) -> Policy:
        """Write a policy, and load it."""
        self.file.write_text(text)
        return policy.load(self.file, DAY)

    def loaded(self) -> Policy:
        """Load what is kept, as the next start does."""
        path = self.of("gateway.yaml").path
        assert path is not None, "something is kept"
        return policy.load(path, DAY)

    def test_nothing(self) -> None:
        """Where nothing was kept there is nothing, and looking makes nothing."""
        self.assertIsNone(self.kept.path)
        self.assertFalse(self.state.exists())

    def test_kept(self) -> None:
        """The policy is kept with the files beside it, also when its own are gone."""
        (self.folder / "policy.cases.yaml").write_text(CASES)
        good = self.written("policy: first\n")
        self.kept.keep(self.file, good, DAY)
        self.file.unlink()
        (self.folder / "policy.cases.yaml").unlink()
        self.assertEqual(self.loaded().revision, good.revision)
        self.assertEqual(len(self.loaded().cases), 1)

    def test_full_disk(self) -> None:
        """Where a file cannot be copied to its end nothing of it stays, and what was kept before
        still counts; when there is room again the next one is kept."""
        first = self.written("policy: first\n")
        self.kept.keep(self.file, first, DAY)
        second = self.written("policy: second\n")
        there = sorted(self.state.iterdir())

        def full(source: Path, copy: Path) -> None:
            copy.write_text("half of")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        patch = self.patch(shutil, "copyfile", full)
        for _ in range(3):
            error = self.assertRaises(DataError, self.kept.keep, self.file, second, DAY)
            self.assertIn("No space left on device", str(error))
        self.assertEqual(sorted(self.state.iterdir()), there)
        self.assertEqual(self.loaded().revision, first.revision)
        patch.restore()
        self.kept.keep(self.file, second, DAY)
        self.assertEqual(self.loaded().revision, second.revision)

    def test_next(self) -> None:
        """Another good policy takes its place, and nothing of the one before stays."""
        self.kept.keep(self.file, self.written("policy: first\n"), DAY)
        self.kept.keep(self.file, self.written("policy: second\n"), DAY)
        self.assertEqual(self.loaded().name, "second")
        self.assertEqual(len(list(self.state.iterdir())), 2)  # the pointer and one generation

    def test_same(self) -> None:
        """What is kept already is not written again."""
        good = self.written("policy: first\n")
        self.kept.keep(self.file, good, DAY)
        before = self.kept.path
        self.kept.keep(self.file, good, DAY)
        self.assertEqual(self.kept.path, before)

    def test_others(self) -> None:
        """A policy is kept for one configuration: an exit's is never a gateway's, nor one of the
        same name elsewhere, though they share a folder."""
        self.kept.keep(self.file, self.written("policy: first\n"), DAY)
        self.assertIsNone(self.of("exit.yaml").path)
        self.assertIsNone(self.of("elsewhere/gateway.yaml").path)
        self.of("exit.yaml").keep(self.file, self.written("policy: second\n"), DAY)
        self.assertEqual(self.loaded().name, "first")

    def test_changed_meanwhile(self) -> None:
        """A file that was changed since the policy was loaded is not kept in its name."""
        self.kept.keep(self.file, self.written("policy: first\n"), DAY)
        second = self.written("policy: second\n")
        self.file.write_text("policy: third\n")
        error = self.assertRaises(DataError, self.kept.keep, self.file, second, DAY)
        self.assertIn("changed while it was read", str(error))
        self.assertEqual(self.loaded().name, "first")
        self.assertEqual(len(list(self.state.iterdir())), 2)

    def test_torn(self) -> None:
        """Wherever keeping is cut off, the one before counts, and the next keeping is whole."""
        self.kept.keep(self.file, self.written("policy: first\n"), DAY)
        second = self.written("policy: second\n")
        patched = self.patch(shutil, "copyfile", _full)
        self.assertRaises(DataError, self.kept.keep, self.file, second, DAY)
        patched.restore()
        self.assertEqual(self.loaded().name, "first")
        patched = self.patch(Path, "replace", _full)
        self.assertRaises(DataError, self.kept.keep, self.file, second, DAY)
        patched.restore()
        self.assertEqual(self.loaded().name, "first")
        self.kept.keep(self.file, second, DAY)
        self.assertEqual(self.loaded().name, "second")

    def test_no_folder(self) -> None:
        """A folder that cannot be made is named, with what was expected."""
        (self.folder / "taken").write_text("")
        taken = LastGood(self.folder / "taken" / "state", self.folder / "gateway.yaml")
        good = self.written("policy: first\n")
        error = self.assertRaises(DataError, taken.keep, self.file, good, DAY)
        self.assertIn("expected a folder that can be written", str(error))


def _full(*_arguments: object, **_options: object) -> None:
    raise OSError(28, "No space left on device")
