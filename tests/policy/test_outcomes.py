"""gateway.policy.outcomes: what a rule does, and what a case expects."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.errors import InputError
from gateway.model import Action
from tests.support.facts import AMERICA, CHINA, NOBODY, facts, policy
from tests.support.rows import rows

BASE = """
policy: p
default: %s
jurisdictions: {china: {location: [CN], names: ["*.example.cn"]}}
rules:
- {id: r, when: {to: china}, action: %s}
"""
CASE = (
    BASE % ("block", "{block: refuse}")
    + """
cases: [{flow: "udp 10.1.0.2:5 > 192.0.2.1:8000", expect: %s}]
"""
)
SYN = "tcp 10.1.0.2:5000 > 192.0.2.1:443"


@rows(
    block={
        "by its name": ("block", None),
        "in silence": ("{block: drop}", None),
        "told": ("{block: refuse}", "refuse"),
    },
    wrap={
        "plainly": ("{wrap: nearest}", "nearest"),
        "in words": ("{wrap: nearest, scrub: false}", "nearest"),
        "with pseudonyms": ("{wrap: nearest, scrub: true}", "scrub:nearest"),
        "with pseudonyms, to an exit": ("{scrub: true, wrap: us-east}", "scrub:us-east"),
    },
    fault={
        "a way misspelled": ("{block: refuze}", 'did you mean "refuse"?'),
        "a way that is none": ("{block: 3}", "expected one of drop, refuse"),
        "a way without its action": ("refuse", "did you mean {block: refuse}?"),
        "no way": ("{block: }", '"block" has no value'),
        "scrub alone": ("{scrub: true}", "scrub is an option of a wrap"),
        "scrub without a wrap": ("{reroute: us, scrub: true}", "scrub is an option of a wrap"),
        "scrub without an exit": ("{wrap: '', scrub: true}", "scrub is an option of a wrap"),
        "scrub that is no word": ("{wrap: us, scrub: yes}", "neither true nor false"),
        "scrub in the exit's name": ("{wrap: 'scrub:us'}", "{wrap: us, scrub: true}"),
        "a way for allow": ("{allow: refuse}", "expected allow, block, {block: refuse}"),
    },
    expect={
        "any block": ("{action: block}", None),
        "one that is told": ("{action: {block: refuse}}", None),
        "one that is told, by its target": ("{action: block, target: refuse}", None),
        "a silent one": ("{action: {block: drop}}", "target is refuse, expected drop"),
        "a silent one, by its target": (
            "{action: block, target: drop}",
            "target is refuse, expected drop",
        ),
        "a wrap by any exit": ("{action: wrap}", "action is block, expected wrap"),
        "a wrap": (
            "{action: {wrap: nearest}}",
            "action is block, expected wrap; target is refuse, expected nearest",
        ),
    },
    expect_fault={
        "two targets": ("{action: {block: drop}, target: drop}", "give the target either"),
        "a way that is none": ("{action: block, target: exit}", '"exit" is no way to block'),
        "an action that is none": ("{action: blok}", 'did you mean "block"?'),
    },
)
class OutcomeTests(SynchronousTestCase):
    """A block is silent, or told to the client; to all else they are one."""

    def check_block(self, text: str, target: str | None) -> None:
        """How a block is done is its verdict's target, in a rule and as the default."""
        compiled = policy(BASE % (text, text))
        for place in (CHINA, AMERICA):
            verdict = compiled.judge(facts(place))
            self.assertEqual((verdict.action, verdict.target), (Action.BLOCK, target))

    def check_wrap(self, text: str, target: str) -> None:
        """A wrap with pseudonyms is another way than one without, in a rule and in a case."""
        compiled = policy(BASE % ("block", text))
        verdict = compiled.judge(facts(CHINA))
        self.assertEqual((verdict.action, verdict.target), (Action.WRAP, target))
        case = policy(CASE % f"{{action: {text}}}").cases[0]
        self.assertIsNone(case.failure(verdict.__class__(Action.WRAP, "r", "", target)))
        self.assertIsNotNone(case.failure(verdict.__class__(Action.WRAP, "r", "", "other")))

    def check_fault(self, text: str, says: str) -> None:
        """A block that cannot be done is refused, with what may be meant."""
        error = self.assertRaises(InputError, policy, BASE % ("block", text))
        self.assertIn(says, str(error))

    def check_expect(self, expected: str, failure: str | None) -> None:
        """A case compares how a block is done only where it says so."""
        compiled = policy(CASE % expected)
        self.assertEqual(compiled.cases[0].failure(compiled.judge(facts(CHINA))), failure)

    def check_expect_fault(self, expected: str, says: str) -> None:
        """A case that cannot come true is refused."""
        error = self.assertRaises(InputError, policy, CASE % expected)
        self.assertIn(says, str(error))

    def test_targets(self) -> None:
        """A block needs no relay and no exit, however it is done."""
        text = BASE % ("{block: refuse}", "{block: refuse}")
        self.assertEqual(list(policy(text).targets()), [])
        text += "- {id: w, when: {}, action: {wrap: nearest}}\n"
        self.assertEqual([one.rule for one, _ in policy(text).targets()], ["w"])

    def test_settled(self) -> None:
        """A stream that is blocked whatever it says is blocked at once, though it may differ how
        that is told."""
        text = BASE % ("{block: refuse}", "block")
        for place in (CHINA, NOBODY, AMERICA):
            verdict = policy(text).judge(facts(place, seen=False, flow=SYN))
            self.assertEqual((verdict.action, verdict.settled), (Action.BLOCK, True))

    def test_doubt(self) -> None:
        """A refusal matches on doubt as every block does, and may ask for a name."""
        text = BASE % ("allow", "{block: refuse}")
        verdict = policy(text).judge(facts(NOBODY))
        self.assertEqual((verdict.rule, verdict.target), ("r", "refuse"))
        named = BASE.replace("{to: china}", "{name: ap.example.cn}") % ("allow", "{block: refuse}")
        verdict = policy(named).judge(facts(AMERICA, names=("ap.example.cn",)))
        self.assertEqual((verdict.rule, verdict.target), ("r", "refuse"))

    def test_certain_in_doubt(self) -> None:
        """A stream that a block meets in doubt, whatever it says, is blocked at once."""
        text = BASE % ("block", "block") + "- {id: rest, when: {transport: tcp}, action: allow}\n"
        verdict = policy(text).judge(facts(NOBODY, seen=False, flow=SYN))
        self.assertEqual((verdict.rule, verdict.settled), ("r", True))

    def test_over(self) -> None:
        """An exception that has ended keeps no stream waiting."""
        ended = "- {id: e, when: {traffic: media}, action: allow, expires: 2026-01-01%s}\n"
        for more in ("", ", mode: shadow"):
            compiled = policy(BASE % ("block", "block") + ended % more)
            verdict = compiled.judge(facts(AMERICA, seen=False, flow=SYN))
            self.assertEqual((verdict.rule, verdict.settled), ("default", True))
