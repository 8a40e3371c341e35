"""gateway.evidence.keys: a key is there whole, or not at all."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from gateway.errors import DataError
from gateway.evidence.keys import load_key, load_secret


class KeysTests(SynchronousTestCase):
    """load_secret."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())

    def test_made(self) -> None:
        """A key is made once, for its owner only, and nothing else is left beside it."""
        made = load_key(self.folder, lambda size: b"r" * size)
        self.assertEqual(load_key(self.folder, lambda size: b"x" * size), made)
        (path,) = self.folder.iterdir()
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)

    def test_full_disk(self) -> None:
        """Where the disk is full there is no key afterwards, not half of one that every later start
        would refuse; the next start makes it."""

        def full(_descriptor: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        patch = self.patch(os, "fsync", full)
        error = self.assertRaises(DataError, load_key, self.folder, lambda size: b"r" * size)
        self.assertIn("No space left on device", str(error))
        self.assertEqual(list(self.folder.iterdir()), [])
        patch.restore()
        self.assertEqual(load_key(self.folder, lambda size: b"r" * size), b"r" * 32)

    def test_first(self) -> None:
        """Of two processes that make one at the same time both have the one that was first."""
        path = self.folder / "secret.key"

        def meanwhile(size: int) -> bytes:
            load_secret(path, size, lambda size: b"1" * size)
            return b"2" * size

        # The other process has another number.
        numbers = iter((7, 8))
        self.patch(os, "getpid", lambda: next(numbers))
        self.assertEqual(load_secret(path, 16, meanwhile), b"1" * 16)
        self.assertEqual([one.name for one in self.folder.iterdir()], ["secret.key"])
