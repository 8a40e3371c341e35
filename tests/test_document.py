"""gateway.document: YAML with places."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.document import Document, Section, parse, read, suggestion, validate
from gateway.errors import InputError
from tests.support.rows import rows


class Inner(Section):
    """One entry."""

    colour: str
    size: int = 0


class Outer(Section):
    """A document."""

    title: str
    entries: tuple[Inner, ...] = ()


@rows(
    value={
        "NO is Norway, as YAML 1.2 says": ("a: NO", "NO"),
        "yes is text": ("a: yes", "yes"),
        "true is true": ("a: true", True),
        "an octal number": ("a: 0o17", 15),
        "hexadecimal": ("a: 0x1F", 31),
        "a date stays text": ("a: 2026-11-23", "2026-11-23"),
        "a time is no number of base sixty": ("a: 12:30", "12:30"),
        "nothing is null": ("a:", None),
        "a float": ("a: 1.5", 1.5),
        "infinity": ("a: .inf", float("inf")),
    },
    fault={
        "a tab says what to use instead": ("a:\n\tb: 1", 2, "spaces, not tabs"),
        "a key that stands twice, with the first's line": ("a: 1\nb: 2\na: 3", 3, "on line 1"),
        "a key that is a list": ("? [x]\n: 1", 1, "a key must be text"),
        "half a character": ('a: "\\ud800"', 1, "half a character"),
        "a tag of another language": ("a: !!python/name:os.system x", 1, "not used here"),
        "an unclosed bracket": ("a: [1, 2\nb: 3", 2, "is not YAML"),
    },
)
class ParseTests(SynchronousTestCase):
    """YAML text becomes plain values, or problems with their lines."""

    def check_value(self, text: str, expected: object) -> None:
        """A scalar is read as YAML 1.2 means it."""
        value = parse(text, "f").value
        assert isinstance(value, dict)
        self.assertEqual(value["a"], expected)
        self.assertIs(type(value["a"]), type(expected))

    def check_fault(self, text: str, line: int, words: str) -> None:
        """A fault is named at its line."""
        error = self.assertRaises(InputError, parse, text, "f.yaml")
        self.assertEqual((error.problems[0].file, error.problems[0].line), ("f.yaml", line))
        self.assertIn(words, error.problems[0].sentence)

    def test_two_faults_at_once(self) -> None:
        """Two doubled keys are two problems of one run."""
        error = self.assertRaises(InputError, parse, "a: 1\na: 2\nb: {c: 1, c: 2}", "f")
        self.assertEqual([problem.line for problem in error.problems], [2, 3])

    def test_billion_laughs(self) -> None:
        """Aliases of aliases meet a bound instead of the end of memory."""
        lines = ["a0: &a0 [x,x,x,x,x,x,x,x,x,x]"]
        lines += [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
        error = self.assertRaises(InputError, parse, "\n".join(lines), "f")
        self.assertIn("too many", error.problems[0].sentence)

    def test_depth(self) -> None:
        """Brackets in brackets meet a bound instead of the end of the stack."""
        error = self.assertRaises(InputError, parse, "a: " + "[" * 90 + "]" * 90, "f")
        self.assertIn("too deeply", str(error))

    def test_great_depth(self) -> None:
        """Thousands of brackets too."""
        error = self.assertRaises(InputError, parse, "a: " + "{a: " * 3000, "f")
        self.assertEqual(len(error.problems), 1)

    def test_missing_file(self) -> None:
        """A file that is not there is a problem of that file."""
        error = self.assertRaises(InputError, read, "/nonexistent/policy.yaml")
        self.assertIn("/nonexistent/policy.yaml: cannot be read", str(error))

    def test_not_text(self) -> None:
        """A file that is not UTF-8 says so."""
        path = self.mktemp()
        with open(path, "wb") as file:
            file.write(b"policy: \xff\xfe")
        self.assertIn("not UTF-8", str(self.assertRaises(InputError, read, path)))

    @settings(deadline=None, max_examples=200)
    @given(st.text())
    def test_any_text(self, text: str) -> None:
        """Any text is a document or a problem, nothing else."""
        try:
            self.assertIsInstance(parse(text, "f"), Document)
        except InputError as error:
            self.assertTrue(error.problems)


@rows(
    fault={
        "an unknown key, with the one that was meant": (
            "title: x\nentries:\n- {colour: red, sise: 2}",
            3,
            'unknown key "sise"; did you mean "size"?',
        ),
        "one value for a list": ("title: x\nentries: red", 2, "must be a list, such as [red]"),
        "text for a mapping": ("title: x\nentries: [red]", 2, "must be a mapping"),
        "a missing key, at its parent": ("title: x\nentries:\n- size: 2", 3, '"colour" is missing'),
        "a number for text": ("title: 12", 1, '"title" must be text; write it in quotes'),
        "text for a number": (
            "title: x\nentries: [{colour: r, size: big}]",
            2,
            '"size": "big" is no whole number',
        ),
        "a list for a mapping": ("- 1", 1, "is no mapping"),
        "an empty file": ("", 1, "is empty; expected"),
    }
)
class ValidateTests(SynchronousTestCase):
    """A document is read as a section, or refused with every fault."""

    def check_fault(self, text: str, line: int, words: str) -> None:
        """A fault is named at its line."""
        error = self.assertRaises(InputError, validate, parse(text, "f"), Outer)
        self.assertEqual(error.problems[0].line, line)
        self.assertIn(words, error.problems[0].sentence)

    def test_value(self) -> None:
        """A sound document becomes the section."""
        outer = validate(parse("title: x\nentries: [{colour: red}]", "f"), Outer)
        self.assertEqual(outer, Outer(title="x", entries=(Inner(colour="red"),)))

    def test_all_at_once(self) -> None:
        """Three faults are three problems, in the file's order."""
        text = "title: 1\nentries:\n- {size: 2}\n- {colour: x, hue: 3}"
        error = self.assertRaises(InputError, validate, parse(text, "f"), Outer)
        self.assertEqual([problem.line for problem in error.problems], [1, 3, 4])


class SuggestionTests(SynchronousTestCase):
    """What may have been meant is offered."""

    def test_near(self) -> None:
        """A near word is offered in its own spelling."""
        self.assertEqual(suggestion("cn", ["CN", "US"]), '; did you mean "CN"?')

    def test_far(self) -> None:
        """Without a near word, the known ones are listed."""
        self.assertEqual(suggestion("xyz", ["one", "two"]), "; expected one of one, two")
