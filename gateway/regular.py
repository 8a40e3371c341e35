"""Opening files.  Owns: only what ends when it is read is opened.  Knows: POSIX file types.
Never: what is in a file."""

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
