"""gateway.testing: the cases of a policy as a class of tests."""

from __future__ import annotations

import io
import unittest
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from gateway.testing import cases_of
from tests.support.bundled import DAY, atlas

POLICY = """
policy: p
jurisdictions: {china: {location: [CN]}}
rules:
- {id: a, when: {to: china}, action: block}
- {id: b, when: {to: {not: china}}, action: allow}
cases:
- {note: to China!, flow: 'udp 10.0.0.1:1 > 8.8.8.8:53', to: {location: CN},
   expect: {action: block}}
- {flow: 'udp 10.0.0.1:1 > 8.8.8.8:53', to: {location: CN}, expect: {action: allow, rule: b}}
"""


class CasesOfTests(SynchronousTestCase):
    """One test a case, and one for the rules."""

    def run_cases(self, text: str) -> tuple[list[str], dict[str, str]]:
        """Make the class of a policy, run it, and give the tests' names and the failures."""
        path = Path(self.mktemp()).with_suffix(".yaml")
        path.write_text(text)
        made = cases_of(path, today=DAY, atlas=atlas())
        suite = unittest.defaultTestLoader.loadTestsFromTestCase(made)
        names = [
            test.id().rpartition(".")[2] for test in suite if isinstance(test, unittest.TestCase)
        ]
        tests = [test for test in suite if isinstance(test, unittest.TestCase)]
        result = unittest.TextTestRunner(io.StringIO()).run(suite)
        self.assertEqual(result.errors, [])
        names = [test.id().rpartition(".")[2] for test in tests]
        return names, {test.id().rpartition(".")[2]: text for test, text in result.failures}

    def test_names(self) -> None:
        """Tests are called by the notes of their cases, or by the flows."""
        names, failures = self.run_cases(POLICY)
        self.assertEqual(
            names,
            [
                "test_001_to_China",
                "test_002_udp_10_0_0_1_1_8_8_8_8_53",
                "test_each_rule_has_a_case",
            ],
        )
        self.assertEqual(list(failures), names[1:])

    def test_failure(self) -> None:
        """A failure shows the place, what differs, and the whole explanation."""
        failure = self.run_cases(POLICY)[1]["test_002_udp_10_0_0_1_1_8_8_8_8_53"]
        for words in (".yaml:10:3", "- rule: b", "+ rule: a", "to: china", "given", "not asked: b"):
            self.assertIn(words, failure)

    def test_unreached(self) -> None:
        """A rule without a case is named."""
        failure = self.run_cases(POLICY)[1]["test_each_rule_has_a_case"]
        self.assertIn("no case reaches b", failure)

    def test_faults(self) -> None:
        """A policy that cannot be loaded is one failing test with every fault."""
        names, failures = self.run_cases("policy: p\nrulez: []\ndefault: maybe\n")
        self.assertEqual(names, ["test_it_can_be_loaded"])
        self.assertIn(":2:1", failures[names[0]])
        self.assertIn(":3:", failures[names[0]])
