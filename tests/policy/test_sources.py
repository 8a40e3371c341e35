"""gateway.policy.sources: what a policy includes, and files of networks."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from gateway.errors import InputError
from gateway.model import Action
from gateway.policy import Policy, load
from tests.support.facts import AMERICA, CHINA, TODAY, facts

POLICY = """\
policy: p
include: [lists/china.yaml]
rules:
- {id: a, when: {to: china}, action: block}
- {id: b, when: {to: {not: china}}, action: allow}
"""
CHINA_LIST = "jurisdictions:\n  china: {location: [CN]}\n"


class SourcesTests(SynchronousTestCase):
    """A policy is what its file says with all that it refers to."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        (self.folder / "lists").mkdir(parents=True)
        self.write("policy.yaml", POLICY)
        self.write("lists/china.yaml", CHINA_LIST)

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    def load(self) -> Policy:
        return load(self.folder / "policy.yaml", TODAY)

    def refused(self) -> list[tuple[str, int, int, str]]:
        error = self.assertRaises(InputError, self.load)
        return [(Path(one.file).name, one.line, one.column, one.sentence) for one in error.problems]

    def test_included(self) -> None:
        """A rule may ask for a jurisdiction of an included list."""
        loaded = self.load()
        self.assertEqual(loaded.judge(facts(CHINA)).rule, "a")
        self.assertEqual(loaded.judge(facts(AMERICA)).rule, "b")

    def test_library(self) -> None:
        """A name without a path is a list that comes with the gateway."""
        self.write("policy.yaml", POLICY.replace("lists/china.yaml", "mainland-china, russia"))
        (fault, *_) = self.refused()
        self.assertIn('jurisdiction "china" is not defined', fault[3])
        self.write(
            "policy.yaml", POLICY.replace("lists/china.yaml", "russia").replace("china", "russia")
        )
        self.assertEqual(sorted(self.load().jurisdictions), ["russia"])

    def test_fault_inside(self) -> None:
        """A fault of an included list is named in that list, with those of the policy."""
        self.write("lists/china.yaml", "jurisdictions:\n  china: {location: [CM, CB]}\n")
        self.write("policy.yaml", POLICY + "mode: of\n")
        self.assertEqual(
            [one[:3] for one in self.refused()],
            [("china.yaml", 2, 26), ("policy.yaml", 6, 1)],
        )

    def test_no_list(self) -> None:
        """A policy cannot be included: its rules would be lost."""
        self.write("lists/china.yaml", CHINA_LIST + "rules: []\n")
        self.assertEqual(self.refused()[0][:3], ("china.yaml", 3, 1))

    def test_loops(self) -> None:
        """A list that includes itself is refused, at once or by way of others."""
        self.write("lists/china.yaml", "include: [other.yaml]\n" + CHINA_LIST)
        self.write("lists/other.yaml", "include: [china.yaml]\n")
        ((name, line, column, says),) = self.refused()
        self.assertEqual((name, line, column), ("other.yaml", 1, 11))
        self.assertIn("by way of others", says)
        self.write("lists/other.yaml", "include: [other.yaml]\n")
        self.assertEqual(self.refused()[0][3], '"other.yaml" includes itself')

    def test_shared(self) -> None:
        """Two lists may include the same third."""
        self.write("lists/one.yaml", "include: [china.yaml]\n")
        self.write("policy.yaml", POLICY.replace("china.yaml", "china.yaml, lists/one.yaml"))
        self.assertEqual(sorted(self.load().jurisdictions), ["china"])

    def test_twice_defined(self) -> None:
        """A name that two files define is refused: one would silently stand for the other."""
        self.write("policy.yaml", POLICY + "jurisdictions: {china: {location: [US]}}\n")
        ((name, line, _, says),) = self.refused()
        self.assertEqual((name, line), ("policy.yaml", 6))
        self.assertIn("china.yaml:2 already", says)

    def test_revision(self) -> None:
        """What an included list or a file of networks says is part of the revision."""
        self.write("nets.txt", "192.0.2.0/24\n")
        self.write("lists/china.yaml", "jurisdictions:\n  china: {networks: {file: ../nets.txt}}\n")
        before = self.load().revision
        self.assertEqual(self.load().revision, before)
        self.write("nets.txt", "192.0.2.0/25\n")
        after = self.load().revision
        self.assertNotEqual(after, before)
        self.write("lists/china.yaml", CHINA_LIST)
        self.assertNotIn(self.load().revision, (before, after))

    def test_files(self) -> None:
        """A policy tells of every file that it was read from, so that each can be watched."""
        self.write("nets.txt", "192.0.2.0/24\n")
        self.write("ping.bin", "x")
        self.write("lists/china.yaml", "jurisdictions:\n  china: {networks: {file: ../nets.txt}}\n")
        self.write(
            "policy.cases.yaml",
            "cases:\n- {flow: 'udp 10.0.0.1:1 > 192.0.2.1:1', payload: {file: ping.bin},"
            " expect: {action: block}}\n",
        )
        names = [one.name for one in self.load().files]
        expected = ["china.yaml", "nets.txt", "ping.bin", "policy.cases.yaml", "policy.yaml"]
        self.assertEqual(sorted(names), expected)

    def test_networks(self) -> None:
        """Networks of a file count as those in the list do, for places, exceptions and clients."""
        self.write("nets.txt", "# ours\n192.0.2.0/25  # half\r\n\n2001:db8::/32\n198.51.100.7\n")
        self.write("not.txt", "192.0.2.0/30\n")
        self.write(
            "policy.yaml",
            "policy: p\njurisdictions:\n  j:\n    networks: [203.0.113.0/24, {file: nets.txt}]\n"
            "    except: {networks: {file: not.txt}}\nclients: {us: {file: nets.txt}}\n"
            "rules:\n- {id: a, when: {to: j, from: us}, action: allow}\n",
        )
        loaded = self.load()
        for client, host, expected in (
            ("192.0.2.9", "192.0.2.5", Action.ALLOW),
            ("192.0.2.9", "203.0.113.5", Action.ALLOW),
            ("192.0.2.9", "192.0.2.1", Action.BLOCK),
            ("192.0.2.200", "192.0.2.5", Action.BLOCK),
        ):
            given = facts(flow=f"udp {client}:1 > {host}:1")
            self.assertEqual(loaded.judge(given).action, expected, host)
            self.assertLess(len(str(loaded.explain(given)[1])), 400)

    def test_faults_of_networks(self) -> None:
        """A line of such a file that is no network is named at its line, all of them at once."""
        self.write("nets.txt", "192.0.2.0/24\n  192.0.2.1/24\n\nfe80::1%eth0\n")
        self.write("lists/china.yaml", "jurisdictions:\n  china: {networks: {file: ../nets.txt}}\n")
        found = self.refused()
        self.assertEqual([one[:3] for one in found], [("nets.txt", 2, 3), ("nets.txt", 4, 1)])
        self.assertIn('did you mean "192.0.2.0/24"?', found[0][3])

    def test_many_faults_of_networks(self) -> None:
        """A file that is no list of networks is not told line by line to its end."""
        self.write("nets.txt", "x\n" * 5000)
        self.write("lists/china.yaml", "jurisdictions:\n  china: {networks: {file: ../nets.txt}}\n")
        self.assertEqual(len(self.refused()), 101)


class OddFilesTests(SynchronousTestCase):
    """What a policy names may be anything that a file system can hold."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()

    def refused(self, text: str) -> str:
        """Load a policy that is refused, and give all that is said."""
        (self.folder / "p.yaml").write_text(text)
        return str(self.assertRaises(InputError, load, self.folder / "p.yaml", TODAY))

    def test_pipes(self) -> None:
        """A named pipe is refused wherever a file may stand, and nobody waits for its other end."""
        os.mkfifo(self.folder / "pipe")
        says = self.refused(
            "policy: p\ninclude: [./pipe]\n"
            "jurisdictions: {j: {networks: {file: pipe}}}\n"
            "rules: [{id: a, when: {to: j}, action: block}]\n"
            'cases: [{flow: "udp 10.0.0.1:1 > 192.0.2.1:2", payload: {file: pipe},'
            " expect: {action: block}}]\n"
        )
        self.assertIn(':2:11: "./pipe" is not a file', says)
        self.assertIn('pipe" cannot be read: is no regular file', says)
        self.assertIn(":5:48: pipe: is no regular file", says)

    def test_policy_is_a_pipe(self) -> None:
        """So is a policy that is one."""
        os.mkfifo(self.folder / "p.yaml")
        error = self.assertRaises(InputError, load, self.folder / "p.yaml", TODAY)
        self.assertIn("is no regular file", str(error))

    def test_cases_are_a_link_to_nothing(self) -> None:
        """Cases that are linked to and are not there are missed, not passed over."""
        (self.folder / "p.cases.yaml").symlink_to("gone.yaml")
        says = self.refused("policy: p\nrules: []\n")
        self.assertIn("p.cases.yaml: cannot be read: No such file", says)

    def test_long_names(self) -> None:
        """Names that no file can have are names like others, and are not told at length."""
        says = self.refused(
            f"policy: p\nrules: [{{id: a, when: {{to: {'t' * 5000}}}, action: block}}]\n"
        )
        self.assertIn(':2:24: jurisdiction "ttt', says)
        self.assertLess(len(says), 1200)

    def test_escape_sequences(self) -> None:
        """What a terminal would obey, or nobody sees, is told as escapes, on one line."""
        says = self.refused(
            'policy: p\nrules: [{id: "\\e[2Ja\\nb\\u200b", when: {}, action: block}]\n'
        )
        self.assertIn(r'"\x1b[2Ja\nb\u200b" may have letters', says)
        self.assertTrue(says.isprintable(), says)
