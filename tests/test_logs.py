"""gateway.logs: one line an event, as text or JSON."""

from __future__ import annotations

import json
import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

SCRIPT = """
import sys
from twisted.logger import Logger
from twisted.python import log as legacy
from gateway import logs
logs.begin(sys.stderr, {form!r}, {level!r})
log = Logger(namespace="gateway.test")
log.debug("a detail")
log.info("hello {{name}}", name="wörld")
legacy.msg("a client came from 10.1.0.2")
try:
    1 / 0
except ZeroDivisionError:
    log.failure("a fault")
"""


def said(form: str, level: str = "info") -> list[str]:
    """Log in a process of its own, since logging begins once; give the lines."""
    script = SCRIPT.format(form=form, level=level)
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return done.stderr.splitlines()


class LogTests(SynchronousTestCase):
    """Operators get each event on a line, and Twisted's chatter about clients not at all."""

    def test_text(self) -> None:
        """A line of text has time, level, namespace and message."""
        first, *rest = said("text")
        self.assertRegex(first, r"^\d{4}-\d\d-\d\dT[\d:.]+Z info  gateway.test: hello wörld$")
        self.assertIn("ZeroDivisionError", "".join(rest))
        self.assertNotIn("10.1.0.2", "".join(rest))

    def test_json(self) -> None:
        """Each line is one JSON object; a traceback is inside its message."""
        records = [json.loads(line) for line in said("json")]
        self.assertEqual([one["level"] for one in records], ["info", "critical"])
        self.assertEqual(records[0]["message"], "hello wörld")
        self.assertIn("ZeroDivisionError", records[1]["message"])

    def test_level(self) -> None:
        """Below the level nothing is said."""
        self.assertIn("a detail", "".join(said("text", "debug")))
        self.assertNotIn("hello", "".join(said("text", "error")))
