"""The last good policy.  Owns: copies of the files that the policy in force was read from, kept for
the next start.  Knows: the policy's loader, the folder's layout.  Never: which policy is in force.

    FOLDER/NAME.last-good      the name of the generation that counts
    FOLDER/NAME.last-good.N/   its files, each at its own absolute path, so that relative ones fit

A gateway and an exit may share a folder: what is kept says which configuration's policy it is, and
no other takes it.
"""

from __future__ import annotations

import datetime
import filecmp
import itertools
import os
import shutil
from pathlib import Path

from gateway.errors import DataError, InputError
from gateway.policy import Policy
from gateway.sources import load_policy

_ENTRY, _REVISION, _OWNER = "policy", "revision", "configuration"
"""In a generation: the path of the policy's own file, as it was; its revision; the path of the
configuration that named it."""


class LastGood:
    """The copies in one folder."""

    def __init__(self, folder: Path, configuration: Path) -> None:
        """Open nothing yet.

        Args:    folder: made when something is kept; configuration: the file whose policy it is.
        """
        self._folder = folder
        self._owner = str(configuration.absolute())
        self._name = f"{configuration.stem}.last-good"

    @property
    def path(self) -> Path | None:
        """The kept policy's file; None: none is kept."""
        if (generation := self._generation()) is None:
            return None
        return _inside(generation, Path((generation / _ENTRY).read_text()))

    def _generation(self) -> Path | None:
        """Give the one that counts; its files are whole, for it was pointed to after them."""
        try:
            generation = self._folder / (self._folder / self._name).read_text()
            return generation if (generation / _OWNER).read_text() == self._owner else None
        except OSError:
            return None

    def keep(self, path: Path, in_force: Policy, today: datetime.date) -> None:
        """Keep the files of a policy, instead of those kept before.

        The copy is read, and counts only if it says the same: a file may have been changed since.

        Args:    path: the policy's file, from which `in_force` was loaded; today: as it was then.
        Raises:  DataError: they cannot be kept; those kept before still count.
        """
        try:
            if self._has(in_force):
                return
            before = self._generations()
            fresh = self._new()
            try:
                self._copy(fresh, path, in_force)
                if _revision(_inside(fresh, path.absolute()), today) != in_force.revision:
                    raise DataError(str(path), "it was changed while it was read", "no change")
                self._point_to(fresh)
            except BaseException:  # a full disk: what was begun would stay for good
                shutil.rmtree(fresh, ignore_errors=True)
                raise
            for one in before:
                shutil.rmtree(one, ignore_errors=True)
        except OSError as error:
            reason = error.strerror or str(error)
            raise DataError(str(self._folder), reason, "a folder that can be written") from error

    def _has(self, in_force: Policy) -> bool:
        """Say whether the same is kept already."""
        if (generation := self._generation()) is None:
            return False
        kept = (generation / _REVISION).read_text()
        return kept == in_force.revision and all(
            filecmp.cmp(file, _inside(generation, file.absolute()), shallow=False)
            for file in in_force.files
        )

    def _copy(self, fresh: Path, path: Path, in_force: Policy) -> None:
        for file in in_force.files:
            copy = _inside(fresh, file.absolute())
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
        (fresh / _ENTRY).write_text(str(path.absolute()))
        (fresh / _REVISION).write_text(in_force.revision)
        (fresh / _OWNER).write_text(self._owner)

    def _new(self) -> Path:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for number in itertools.count(1):
            fresh = self._folder / f"{self._name}.{number}"
            try:
                fresh.mkdir(mode=0o700)
            except FileExistsError:
                continue
            return fresh
        raise AssertionError("numbers do not end")

    def _point_to(self, fresh: Path) -> None:
        """Whoever reads the pointer finds the old generation, or the new one, whole."""
        written = self._folder / f"{self._name}.new"
        with written.open("w") as file:
            file.write(fresh.name)
            file.flush()
            os.fsync(file.fileno())
        written.replace(self._folder / self._name)

    def _generations(self) -> list[Path]:
        return [one for one in self._folder.glob(f"{self._name}.*") if one.is_dir()]


def _inside(root: Path, path: Path) -> Path:
    return root / path.relative_to(path.anchor)


def _revision(path: Path, today: datetime.date) -> str | None:
    try:
        return load_policy(path, today).revision
    except InputError:
        return None
