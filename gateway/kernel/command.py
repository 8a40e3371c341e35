"""Commands of the host.  Owns: running one to its end, its failure as a sentence.
Knows: nft reports on standard error.  Never: what they are told."""

from __future__ import annotations

import os
import subprocess

from gateway.errors import CarryError

# Services often run without the folders that hold nft.
_PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
# Replacing a table of 300,000 ranges takes eleven seconds; what takes far longer hangs.
_TIMEOUT_S = 120.0


def run(*argv: str, text: str = "") -> str:
    """Run a command; give its standard output.

    Args:    text: its standard input.
    Raises:  CarryError: it is not there, failed or hangs; with its own sentence.
    """
    environment = {**os.environ, "PATH": _PATH, "LC_ALL": "C"}
    try:
        done = subprocess.run(
            argv, input=text, capture_output=True, text=True, timeout=_TIMEOUT_S, env=environment
        )
    except FileNotFoundError:
        raise CarryError(argv[0], "the command is not installed") from None
    except subprocess.TimeoutExpired:
        raise CarryError(argv[0], f"gave no answer in {_TIMEOUT_S:.0f} s") from None
    except OSError as error:
        raise CarryError(argv[0], f"cannot be run: {error.strerror}") from error
    if done.returncode:
        raise CarryError(argv[0], _first_line(done.stderr) or f"exit status {done.returncode}")
    return done.stdout


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")
