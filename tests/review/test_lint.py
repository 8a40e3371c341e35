"""gateway.review.lint: what is odd about a policy over the bundled data."""

from __future__ import annotations

import functools

from twisted.trial.unittest import SynchronousTestCase

from gateway.document import parse
from gateway.flow.epoch import Epoch
from gateway.policy.loading import compile_whole
from gateway.review.lint import lint
from tests.support.bundled import DAY, atlas
from tests.support.rows import rows

HEAD = """\
policy: p
jurisdictions:
  china: {location: [CN]}
  asia: {operator: [CN, JP]}
  nobody: {location: [CN], except: {networks: ["0.0.0.0/0", "::/0"]}}
  lab: {networks: [192.0.2.0/24]}
rules:
- {id: a, when: {to: [china, asia]}, action: block}
- {id: b, when: {to: [nobody, lab]}, action: block}
"""
CASE = "- {flow: 'udp 10.0.0.1:1 > 192.0.2.1:1', expect: {action: block, rule: %s}}\n"


@functools.cache
def told(text: str) -> list[tuple[str, int, int, str]]:
    """Give the remarks on a text: kind, line, column, sentence."""
    loaded = compile_whole(parse(text, "policy.yaml"), DAY)
    found = lint(Epoch(0, loaded.policy, atlas()), loaded)
    return [(o.kind, o.problem.line, o.problem.column, o.problem.sentence) for o in found]


@rows(
    remark={
        "no cases": (HEAD, "no-case", 1, 1, "has no cases"),
        "a rule that no case reaches": (
            HEAD + "cases:\n" + CASE % "b",
            "no-case",
            9,
            3,
            'no case reaches rule "b"',
        ),
        "a case that fails": (
            HEAD + "cases:\n" + CASE % "b",
            "failing-case",
            11,
            3,
            "rule is a, expected b",
        ),
        "a jurisdiction without addresses": (HEAD, "empty", 5, 3, 'jurisdiction "nobody"'),
        "sets that share addresses": (HEAD, "overlap", 4, 3, '"asia" and "china" share '),
    }
)
class DataLintTests(SynchronousTestCase):
    """What only the data tell is told with its place."""

    def check_remark(self, text: str, kind: str, line: int, column: int, words: str) -> None:
        """A remark of that kind, at that place, in those words."""
        found = [one for one in told(text) if one[0] == kind and words in one[3]]
        self.assertEqual([one[1:3] for one in found], [(line, column)], told(text))

    def test_quiet(self) -> None:
        """Sets that share nothing, and networks that no data know, are not told of."""
        kinds = [(one[0], one[1]) for one in told(HEAD)]
        self.assertEqual(kinds, [("no-case", 1), ("overlap", 4), ("empty", 5)])
