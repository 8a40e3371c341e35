"""The generators.  Owns: compiling them, once for each state of their sources.
Knows: gcc.  Never: what they are used for."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

_SOURCES = Path(__file__).with_name("src")
_FOLDER = Path(__file__).parents[3] / "build" / "bench"
_PROGRAMS = ("load", "server", "tcp")


def compiled() -> Path:
    """Compile what is not compiled yet; give the folder of the programs.

    Raises:  RuntimeError: there is no gcc, or it refuses a source; with what it said.
    """
    gcc = shutil.which("gcc")
    if gcc is None:
        raise RuntimeError("gcc is missing, which the generators need: install gcc and libc6-dev")
    sources = sorted(_SOURCES.iterdir())
    state = hashlib.sha256(b"".join(one.read_bytes() for one in sources)).hexdigest()[:16]
    folder = _FOLDER / state
    folder.mkdir(parents=True, exist_ok=True)
    for name in _PROGRAMS:
        if not (folder / name).exists():
            _compile(gcc, _SOURCES / f"{name}.c", folder / name)
    return folder


def _compile(gcc: str, source: Path, program: Path) -> None:
    fresh = program.with_suffix(".new")  # another run may be compiling too
    argv = [gcc, "-O2", "-Wall", "-pthread", "-o", str(fresh), str(source)]
    done = subprocess.run(argv, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"gcc refuses {source.name}:\n{done.stderr}")
    fresh.rename(program)
