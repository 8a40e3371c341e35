"""docs/tutorial.md: its files are written, its commands run, and its output is what is printed."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from click.testing import CliRunner
from twisted.trial.unittest import SynchronousTestCase

from gateway.cli import main
from tests.support.bundled import ROOT

PAGE = ROOT / "docs" / "tutorial.md"
# The bundled data must not grow stale under the page.
DAY = ("--today", "2026-11-23")
_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NAMED = re.compile(r"`([\w.-]+)`[^`]*:\s*$")
_STATUS = "; echo $?"


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that a reader does."""

    file: str = ""
    """The file to write; "" for a command."""
    text: str = ""
    command: str = ""
    expected: tuple[str, ...] = ()


def steps(page: str) -> Iterator[Step]:
    """Give what a page tells its reader to do, in order."""
    for found in _FENCE.finditer(page):
        if found[1] == "python":
            continue
        if found[1] != "console":
            (name,) = _NAMED.findall(page[: found.start()].rstrip()[-200:])[-1:]
            yield Step(file=name, text=found[2])
            continue
        for shown in found[2].split("$ gateway ")[1:]:
            command, *expected = shown.splitlines()
            yield Step(command=command, expected=tuple(expected))


def run(command: str) -> list[str]:
    """Run a command of the page in this process."""
    told = command.removesuffix(_STATUS)
    words = shlex.split(told)
    dated = (*words, *DAY) if words[0] in ("test", "explain") else words
    result = CliRunner().invoke(main, dated)
    status = [str(result.exit_code)] if told != command else []
    return [*result.output.splitlines(), *status]


def missing(expected: tuple[str, ...], printed: list[str]) -> str | None:
    """Give the first expected line that is not printed where it should be: in order, with nothing
    between but where "…" stands.  Columns may be of another width."""
    lines = [" ".join(line.split()) for line in printed if line.strip()]
    at, may_skip = 0, False
    for line in (" ".join(one.split()) for one in expected if one.strip()):
        if line == "…":
            may_skip = True
            continue
        while at < len(lines) and may_skip and not lines[at].startswith(line):
            at += 1
        if at >= len(lines) or not lines[at].startswith(line):
            return line
        at, may_skip = at + 1, False
    return None if may_skip or at == len(lines) else f"(nothing more, not {lines[at]!r})"


class TutorialTests(SynchronousTestCase):
    """A reader who does what the page says sees what it shows."""

    def test_page(self) -> None:
        """Every file, command and output of the page, from top to bottom."""
        folder = Path(self.mktemp())
        folder.mkdir()
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(folder)
        commands = 0
        for step in steps(PAGE.read_text()):
            if step.file:
                Path(step.file).write_text(step.text)
                continue
            commands += 1
            printed = run(step.command)
            lacking = missing(step.expected, printed)
            self.assertIsNone(lacking, f"gateway {step.command}\n" + "\n".join(printed))
        self.assertEqual(commands, 9)

    def test_missing(self) -> None:
        """The comparison itself notices a line that is wrong, out of order, or too many."""
        printed = ["a", "b  1", "c"]
        for good in (("a", "b 1", "c"), ("…", "c"), ("a", "…"), ("…", "b", "…")):
            self.assertIsNone(missing(good, printed), good)
        for bad in (("a", "c"), ("…", "d"), ("c", "a"), ("a", "b 1"), ("…", "b", "a", "…")):
            self.assertIsNotNone(missing(bad, printed), bad)
