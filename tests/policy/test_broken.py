"""Broken policies: each fault is named at its line and column, in one run, and nothing else."""

from __future__ import annotations

import contextlib
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.errors import InputError
from gateway.policy import load
from tests.policy.broken import FILES, VALUES, Fault
from tests.support.facts import TODAY
from tests.support.rows import rows

SOUND = b"""\
policy: p
include: [russia]
jurisdictions: {c: {location: [CN], networks: [10.0.0.0/8]}}
clients: {studio: [10.0.0.0/8]}
rules:
- {id: a, when: {to: c, port: "1-2", from: studio}, action: block, expires: 2026-12-31}
- {id: b, when: {to: {not: russia}}, action: allow, shadow: {percent: 5, until: 2026-12-01}}
"""

_ODD = [b"", b"\t", b"\n", b":", b"[", b"'", b"&", b"\xff", b"- "]


@rows(fault={**FILES, **VALUES})
class BrokenTests(SynchronousTestCase):
    """A broken file is refused, and its faults are named where they are."""

    def setUp(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir()
        self.path = folder / "policy.yaml"

    def check_fault(self, octets: bytes, expected: Fault | tuple[Fault, ...]) -> None:
        """Exactly these faults, at these places."""
        self.path.write_bytes(octets)
        error = self.assertRaises(InputError, load, self.path, TODAY)
        faults = (expected,) if isinstance(expected[0], int) else expected
        places = [(one.line, one.column) for one in error.problems]
        self.assertEqual(places, [fault[:2] for fault in faults], str(error))
        for problem, (_, _, words) in zip(error.problems, faults, strict=True):
            self.assertEqual(problem.file, str(self.path))
            self.assertIn(words, problem.sentence)

    @settings(deadline=None, max_examples=150)
    @given(st.data())
    def test_one_octet(self, data: st.DataObject) -> None:
        """A policy with an octet put in, taken out or changed is a policy or problems."""
        at = data.draw(st.integers(0, len(SOUND) - 1))
        instead = data.draw(st.sampled_from(_ODD))
        self.path.write_bytes(SOUND[:at] + instead + SOUND[at + data.draw(st.integers(0, 1)) :])
        with contextlib.suppress(InputError):
            load(self.path, TODAY)

    def test_sound(self) -> None:
        """The policy that is broken above is sound."""
        self.path.write_bytes(SOUND)
        self.assertEqual(len(load(self.path, TODAY).rules), 2)

    def test_odd_and_sound(self) -> None:
        """A byte-order mark, Windows' line ends and hexadecimal numbers are no faults."""
        self.path.write_bytes(
            b"\xef\xbb\xbfpolicy: p\r\nrules:\r\n- {id: a, when: {port: 0x50}, action: block}\r\n"
        )
        self.assertEqual(len(load(self.path, TODAY).rules), 1)
