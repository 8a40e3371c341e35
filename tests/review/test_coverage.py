"""gateway.review.coverage: what cases try of a policy, and what none does."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.flow.cases import run_cases
from gateway.review.coverage import Coverage, Seen, coverage_of
from tests.support import epochs

POLICY = """
policy: p
jurisdictions:
  china: {location: [CN], operator: [CN]}
  nowhere: {location: [FR]}
rules:
- {id: pings, when: {traffic: [ping, telemetry], to: china}, action: block}
- id: odd
  when: {any: [{port: [53, "100-200"]}, {not: {plaintext: any}}], transport: udp, asn: [1, 2]}
  action: block
- {id: total, when: {}, action: block}
cases:
- {flow: "udp 10.1.0.2:5 > 198.51.100.7:53", traffic: ping, expect: {action: block}}
- {flow: "tcp 10.1.0.2:5 > 192.0.2.7:9", traffic: media, plaintext: [], expect: {action: block}}
- {flow: "udp 10.1.0.2:5 > 203.0.113.7:150", expect: {action: block}}
"""


def covered(text: str = POLICY) -> Coverage:
    """Run a policy's cases, and see what they try."""
    epoch = epochs.epoch(text)
    return coverage_of(epoch.policy, tuple(run_cases(epoch)))


class CoverageTests(SynchronousTestCase):
    """Rules, conditions and jurisdictions are counted by cases."""

    def test_rules(self) -> None:
        """A rule is tried by the cases that it decides, a total rule too."""
        self.assertEqual(covered().rules, {"pings": 2, "odd": 0, "total": 1})

    def test_conditions(self) -> None:
        """Each value of a condition is one to try, within connectives too; undetermined is neither
        true nor false."""
        found = covered().conditions
        self.assertEqual(found["pings", "traffic: ping"], Seen(1, 1, 1))
        self.assertEqual(found["pings", "traffic: telemetry"], Seen(0, 2, 1))
        self.assertEqual(found["pings", "to: china"], Seen(1, 1, 1))
        self.assertEqual(found["odd", "port: 53"], Seen(1, 2, 0))
        self.assertEqual(found["odd", "port: 100-200"], Seen(1, 2, 0))
        self.assertEqual(found["odd", "transport: udp"], Seen(2, 1, 0))
        self.assertEqual(found["odd", "plaintext: any"], Seen(0, 1, 2))
        self.assertEqual(found["odd", "asn: 2"], Seen(0, 2, 1))
        self.assertEqual(len(found), 9)

    def test_jurisdictions(self) -> None:
        """A jurisdiction is tried by a case inside, and one outside."""
        found = covered().jurisdictions
        self.assertEqual(found, {"china": Seen(1, 1, 1), "nowhere": Seen(0, 2, 1)})

    def test_gaps(self) -> None:
        """What no case tries is said in a sentence each."""
        gaps = list(covered().gaps())
        self.assertIn('no case is decided by rule "odd"', gaps)
        self.assertIn('rule "pings": traffic: telemetry is true in no case', gaps)
        self.assertIn('no case goes inside jurisdiction "nowhere"', gaps)
        self.assertNotIn('no case goes outside jurisdiction "nowhere"', gaps)
        self.assertEqual(covered().as_json()["gaps"], gaps)

    def test_nothing(self) -> None:
        """Without cases, nothing is tried; without rules, nothing is missing."""
        self.assertEqual(len(list(covered(POLICY.split("cases:")[0]).gaps())), 3 + 2 * 9 + 2 * 2)
        self.assertEqual(list(covered("policy: p").gaps()), [])

    def test_further(self) -> None:
        """An address that a payload asks for is tried too."""
        epoch = epochs.epoch(
            POLICY.split("cases:")[0]
            + """
cases:
- flow: "tcp 10.1.0.2:5 > 192.0.2.7:80"
  payload: {hex: "434f4e4e454354203139382e35312e3130302e373a34343320485454502f312e310d0a0d0a"}
  expect: {action: block}
"""
        )
        found = coverage_of(epoch.policy, tuple(run_cases(epoch)))
        self.assertEqual(found.jurisdictions["china"], Seen(1, 1, 0))
