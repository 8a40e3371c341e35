"""Files from outside.  Owns: opening only what ends when it is read; seeing that one has changed.
Knows: POSIX file types.  Never: what is in a file."""

from __future__ import annotations

import errno
import stat
from io import BufferedReader
from pathlib import Path


def open_regular(path: str | Path) -> BufferedReader:
    """Open a file for reading; a pipe or a device is refused.

    Opening a named pipe waits until somebody writes into it, and reading /dev/zero never ends: a
    running gateway that loads its policy again may wait for neither.

    Raises:  OSError: it cannot be opened, or is no regular file.  ValueError: a path that holds a
             null character.
    """
    mode = Path(path).stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # (of a folder, opening says so itself)
        raise OSError(errno.EINVAL, "is no regular file", str(path))
    return Path(path).open("rb")


def status_of(path: str | Path) -> tuple[int, int, int] | None:
    """Give what changes when a file does: its number on the device, size, time of its last change
    (ns); None: it is not there."""
    try:
        status = Path(path).stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
