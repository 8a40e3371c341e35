"""gateway.policy.loading: files are taken whole or refused with every fault."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.errors import InputError
from gateway.policy import load
from tests.support.facts import TODAY, policy
from tests.support.rows import rows

HEAD = "policy: p\njurisdictions:\n  china: {location: [CN]}\nrules:\n"


def rule(text: str) -> str:
    """Put one rule on line 5 of a policy."""
    return HEAD + "- " + text + "\n"


@rows(
    fault={
        "an unknown key of the file": ("policy: p\ndefalt: block", 2, 'did you mean "default"?'),
        "an unknown key of a rule": (
            rule("{id: a, when: {}, action: block, raeson: x}"),
            5,
            'did you mean "reason"?',
        ),
        "an unknown condition": (
            rule("{id: a, when: {trafic: ping}, action: block}"),
            5,
            'did you mean "traffic"?',
        ),
        "an unknown class": (
            rule("{id: a, when: {traffic: [ping, pong]}, action: block}"),
            5,
            '"pong" is not known here; did you mean "ping"?',
        ),
        "an unknown action": (
            rule("{id: a, when: {}, action: blok}"),
            5,
            'no action; did you mean "block"?',
        ),
        "a wrap without an exit": (rule("{id: a, when: {}, action: wrap}"), 5, "needs a target"),
        "an action of two": (
            rule("{id: a, when: {}, action: {wrap: x, reroute: y}}"),
            5,
            "expected allow, block",
        ),
        "a rule without an action": (rule("{id: a, when: {}}"), 5, 'key "action" is missing'),
        "a rule without a condition": (rule("{id: a, action: allow}"), 5, 'key "when" is missing'),
        "a condition left empty": (
            HEAD + "- id: a\n  when:\n    to:\n  action: allow\n",
            7,
            '"to" has no value',
        ),
        "an unknown jurisdiction": (
            rule("{id: a, when: {to: chine}, action: block}"),
            5,
            '"chine" is not defined; did you mean "china"?',
        ),
        "an unknown jurisdiction inside not": (
            rule("{id: a, when: {not: {to: mars}}, action: block}"),
            5,
            '"mars" is not defined',
        ),
        "an unknown client group": (
            rule("{id: a, when: {from: studio}, action: block}"),
            5,
            "neither a network nor a group",
        ),
        "an unknown kind of identifier": (
            rule("{id: a, when: {plaintext: userid}, action: block}"),
            5,
            'did you mean "user-id"?',
        ),
        "a port too high": (rule("{id: a, when: {port: 70000}, action: block}"), 5, "no port"),
        "a backward port range": (
            rule('{id: a, when: {port: "9-8"}, action: block}'),
            5,
            'did you mean "8-9"?',
        ),
        "an autonomous system in text": (
            rule("{id: a, when: {asn: AS4134}, action: block}"),
            5,
            '"AS4134" is no whole number; did you mean 4134?',
        ),
        "an allow that asks for a name": (
            rule("{id: a, when: {name: '*.example.us'}, action: allow}"),
            5,
            "use name: {not: …}",
        ),
        "a wrap that asks for a name, twice negated": (
            rule("{id: a, when: {not: {name: {not: x.us}}}, action: {wrap: e}}"),
            5,
            "cannot ask for a name",
        ),
        "a rule id twice": (
            rule("{id: a, when: {}, action: block}\n- {id: a, when: {}, action: allow}"),
            6,
            "is rule 1's already",
        ),
        "a rule called default": (rule("{id: default, when: {}, action: block}"), 5, "reserved"),
        "an unknown country": (
            "policy: p\njurisdictions:\n  uk:\n    location: [UK]",
            4,
            'did you mean "GB"?',
        ),
        "a country in small letters": (
            "policy: p\njurisdictions: {c: {location: [cn]}}",
            2,
            'did you mean "CN"?',
        ),
        "a network with host bits": (
            "policy: p\njurisdictions: {c: {networks: [10.0.0.1/8]}}",
            2,
            'did you mean "10.0.0.0/8"?',
        ),
        "an empty jurisdiction": (
            "policy: p\njurisdictions: {c: {owner: me}}",
            2,
            "has no countries",
        ),
        "a name with a star inside": (
            "policy: p\njurisdictions: {c: {names: ['a*.cn']}}",
            2,
            'a name such as "ap.example.cn"',
        ),
        "a date that is none": (
            rule("{id: a, when: {}, action: block, expires: 2026-02-30}"),
            5,
            '"2026-02-30" is no date',
        ),
        "both kinds of shadow": (
            rule("{id: a, when: {}, action: block, mode: shadow, shadow: {percent: 5}}"),
            5,
            "either mode or shadow",
        ),
        "a percentage above 100": (
            rule("{id: a, when: {}, action: block, shadow: {percent: 105}}"),
            5,
            "less than or equal to 100",
        ),
        "a case of a rule that is not there": (
            "policy: p\ncases:\n- flow: udp 10.0.0.1:1 > 192.0.2.1:1\n"
            "  expect: {action: block, rule: x}",
            4,
            'rule "x" is not in the policy',
        ),
        "a case with a bad flow": (
            "policy: p\ncases:\n- flow: udp 10.0.0.1 > 192.0.2.1:1\n  expect: {action: block}",
            3,
            "endpoint such as",
        ),
        "a case with bad hex": (
            "policy: p\ncases:\n- flow: udp 10.0.0.1:1 > 192.0.2.1:1\n"
            "  payload: {hex: xyz}\n  expect: {action: block}",
            4,
            "hex: ",
        ),
        "hex without quotes": (
            "policy: p\ncases:\n- flow: udp 10.0.0.1:1 > 192.0.2.1:1\n"
            "  payload: {hex: 3800}\n  expect: {action: block}",
            4,
            "write it in quotes",
        ),
        "a case with a missing file": (
            "policy: p\ncases:\n- flow: udp 10.0.0.1:1 > 192.0.2.1:1\n"
            "  payload: {file: nonesuch.bin}\n  expect: {action: block}",
            4,
            "No such file",
        ),
    }
)
class BrokenPolicyTests(SynchronousTestCase):
    """A broken policy is refused, and each fault is named at its line."""

    def check_fault(self, text: str, line: int, words: str) -> None:
        """One fault, one problem, one line."""
        error = self.assertRaises(InputError, policy, text)
        self.assertIn(words, str(error))
        self.assertEqual([problem.line for problem in error.problems], [line], str(error))

    def test_all_at_once(self) -> None:
        """Every fault of a file is named in one run."""
        text = rule("{id: a b, when: {port: x, to: mars}, action: blok, expires: never}")
        error = self.assertRaises(InputError, policy, text + "mode: maybe\ndefault: open\n")
        self.assertEqual(
            [problem.line for problem in error.problems], [5, 5, 5, 5, 5, 6, 7], str(error)
        )

    def test_no_name(self) -> None:
        """Nothing is no jurisdiction's name, nor a group's, wherever it stands."""
        for key in ("to", "from"):
            for value in ("''", "['']", "{not: ''}"):
                text = f"policy: p\nrules:\n- {{id: a, when: {{{key}: {value}}}, action: block}}\n"
                error = self.assertRaises(InputError, policy, text)
                self.assertEqual([problem.line for problem in error.problems], [3], value)

    @settings(deadline=None, max_examples=100)
    @given(
        st.recursive(
            st.one_of(
                st.sampled_from(["any", "CN", "ping", "block", "10.0.0.0/8", "x", 8000, True, 1.5]),
                st.text(max_size=5),
            ),
            lambda inner: st.one_of(
                st.lists(inner, max_size=3),
                st.dictionaries(
                    st.sampled_from(["not", "to", "traffic", "wrap", "hex", "any", "all", "port"]),
                    inner,
                    max_size=3,
                ),
            ),
            max_leaves=8,
        ),
        st.sampled_from(["when", "action", "expires", "shadow", "id"]),
    )
    def test_any_value(self, value: object, key: str) -> None:
        """Any value anywhere in a rule gives a policy or problems, nothing else."""
        import json

        fields = {"id": "a", "when": {}, "action": "block", key: value}
        try:
            policy("policy: p\nrules: [" + json.dumps(fields) + "]")
        except InputError as error:
            self.assertTrue(all(problem.line == 2 for problem in error.problems), str(error))


class LoadTests(SynchronousTestCase):
    """A file is loaded with the cases beside it."""

    def test_cases_beside(self) -> None:
        """NAME.cases.yaml adds its cases, with its own name in their places."""
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "p.yaml").write_text("policy: p\n")
        (folder / "p.cases.yaml").write_text(
            "cases:\n- {note: n, flow: 'udp 10.0.0.1:1 > 192.0.2.1:1', expect: {action: block}}\n"
        )
        loaded = load(folder / "p.yaml", TODAY)
        self.assertEqual([case.note for case in loaded.cases], ["n"])
        self.assertTrue(loaded.cases[0].place.file.endswith("p.cases.yaml"))

    def test_payload_file(self) -> None:
        """A case's payload file is found beside the policy."""
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "ping.bin").write_bytes(b"\x38\x00")
        (folder / "p.yaml").write_text(
            "policy: p\ncases:\n- {flow: 'udp 10.0.0.1:1 > 192.0.2.1:1',"
            " payload: {file: ping.bin}, expect: {action: block}}\n"
        )
        self.assertEqual(load(folder / "p.yaml", TODAY).cases[0].given.payload, b"\x38\x00")

    def test_folder(self) -> None:
        """A folder is no policy."""
        self.assertIn("cannot be read", str(self.assertRaises(InputError, load, ".", TODAY)))

    def test_missing(self) -> None:
        """A policy that is not there is a problem, not a traceback."""
        error = self.assertRaises(InputError, load, "nonesuch.yaml", TODAY)
        self.assertIn("nonesuch.yaml: cannot be read", str(error))
