"""Broken policies.  Owns: a table of them: what stands in the file, and what has to be said where.
Knows: nothing of the code.  Never: a sound policy.

A row: the octets, then for each fault its line, its column and some of its words."""

from __future__ import annotations

Fault = tuple[int, int, str]

HEAD = b"policy: p\ndefault: block\njurisdictions:\n  china: {location: [CN]}\nrules:\n"
"""Five lines."""


def rule(text: str) -> bytes:
    """Put one rule on line 6."""
    return HEAD + b"- " + text.encode() + b"\n"


def block(when: str) -> bytes:
    """Put a block rule on line 6; its conditions begin at column 18."""
    return rule("{id: a, when: {" + when + "}, action: block}")


def jurisdiction(text: str) -> bytes:
    """Put a jurisdiction on line 3; its keys begin at column 7."""
    return b"policy: p\njurisdictions:\n  c: {" + text.encode() + b"}\n"


def _more(n: int) -> bytes:
    """Make a list of ten of the list before."""
    return b"a%d: &a%d [%s]\n" % (n, n, b",".join([b"*a%d" % (n - 1)] * 10))


FILES: dict[str, tuple[bytes, Fault | tuple[Fault, ...]]] = {
    "an empty file": (b"", (1, 1, "is empty")),
    "only comments": (b"# nothing\n# here\n", (1, 1, "is empty")),
    "one word": (b"block", (1, 1, "is no mapping")),
    "a list": (b"- policy: p\n", (1, 1, "is no mapping")),
    "binary": (b"policy: p\n\x89PNG\r\n\x1a\n\x00\x00", (2, 1, "is not UTF-8")),
    "a null character": (b"policy: p\nowner: a\x00b\n", (2, 9, "control character U+0000")),
    "UTF-16 with its mark": ("policy: p\n".encode("utf-16"), (1, 1, "is UTF-16")),
    "UTF-16 without": ("policy: p\n".encode("utf-16-le"), (1, 2, "control character U+0000")),
    "Latin-1": (b"policy: p\nowner: J\xf6rg\n", (2, 9, "save the file as UTF-8")),
    "a mark of UTF-8 before a fault": (b"\xef\xbb\xbfpolicy: p\nmode: of\n", (2, 1, '"of" is not')),
    "lines that end as on Windows": (b"policy: p\r\nmode: on\r\n", (2, 1, "enforce, shadow")),
    "10 MB": (b"policy: p\nowner: " + b"x" * 10_000_000, (0, 0, "is longer than 8 MiB")),
    "brackets in brackets": (
        b"policy: p\nrules: " + b"[" * 3000,
        (2, 3007, "is nested too deeply"),
    ),
    "sixty levels": (b"policy: p\nrules: " + b"[" * 60 + b"]" * 60, (2, 58, "too deeply nested")),
    "aliases of aliases": (
        b"a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + b"".join(_more(n) for n in range(1, 9)),
        (1, 28, "too many"),
    ),
    "a list inside itself": (b"policy: p\nrules: &r [*r]\n", (2, 8, "too deeply nested")),
    "an alias of nothing": (b"policy: p\nmode: *m\n", (2, 7, "undefined alias")),
    "a merge key": (
        b"policy: p\njurisdictions:\n  a: &a {location: [CN]}\n  b:\n    <<: *a\n    asns: [1]\n",
        (5, 5, "merge keys"),
    ),
    "two documents": (b"policy: p\n---\npolicy: q\n", (2, 1, "holds one document")),
    "a tab for spaces": (
        b"policy: p\nrules:\n\t- {id: a, when: {}, action: block}\n",
        (3, 1, "spaces, not tabs"),
    ),
    "a tab among spaces, and another fault": (
        b"policy: p\nrules:\n- id: a\n \twhen: {}\n  action: blok\n",
        ((4, 2, "spaces, not tabs"), (5, 3, 'did you mean "block"?')),
    ),
    "a key that is a number": (b"policy: p\n1: x\n", (2, 1, 'unknown key "1"')),
    "a key that is a list": (b"policy: p\n[a, b]: x\n", (2, 1, "a key must be text")),
    "a key twice": (b"policy: p\npolicy: q\n", (2, 1, "stands twice; it is on line 1")),
    "a key without a value": (b"policy: p\nmode:\n", (2, 1, '"mode" has no value')),
    "a key without a colon": (b"policy p\nmode: shadow\n", (2, 5, "is not YAML")),
    "an open quote": (b'policy: "p\nmode: shadow\n', (1, 9, "is not YAML")),
    "a rule's key without a colon": (
        HEAD + b"- id: a\n  when {}\n  action: blok\n",
        ((7, 3, "could not find expected ':'"), (8, 3, 'did you mean "block"?')),
    ),
    "a star without quotes": (
        b"policy: p\njurisdictions: {c: {names: [*.example.cn]}}\nmode: of\n",
        ((2, 29, "has to be in quotes"), (3, 1, '"of" is not known')),
    ),
    "an open bracket, and faults behind it": (
        HEAD + b"- {id: a, when: {to: [china}, action: block}\n- {id: b, action: blok}\nmode: of\n",
        (
            (6, 28, "is not YAML"),
            (7, 3, 'key "when" is missing'),
            (7, 11, 'did you mean "block"?'),
            (8, 1, '"of" is not known'),
        ),
    ),
    "no name": (b"default: block\n", (1, 1, 'key "policy" is missing')),
    "a mode that is a number": (b"policy: 2026-11-23\nmode: 1\n", (2, 1, '"1" is not known')),
    "an unknown key": (b"policy: p\ndefualt: block\n", (2, 1, 'did you mean "default"?')),
    "a default of yes": (b"policy: p\ndefault: yes\n", (2, 1, '"yes" is no action')),
}
"""What is wrong with a file as a whole."""

VALUES: dict[str, tuple[bytes, Fault | tuple[Fault, ...]]] = {
    "Norway in small letters": (jurisdiction("location: [no]"), (3, 18, 'did you mean "NO"?')),
    "a truth for Norway": (jurisdiction("location: [false]"), (3, 18, "quotes")),
    "the United Kingdom as UK": (jurisdiction("operator: [UK]"), (3, 18, 'did you mean "GB"?')),
    "English for England": (jurisdiction("operator: [EN]"), (3, 18, 'did you mean "GB"?')),
    "one country, not in a list": (jurisdiction("location: CN"), (3, 7, "such as [CN]")),
    "a country in words": (jurisdiction("location: [China]"), (3, 18, "ISO 3166-1")),
    "a country in three letters": (jurisdiction("location: [CHN]"), (3, 18, "ISO 3166-1")),
    "countries twice": (jurisdiction("location: [CN], countries: [CN]"), (3, 3, "give either")),
    "host bits": (jurisdiction("networks: [10.0.0.1/8]"), (3, 18, 'did you mean "10.0.0.0/8"?')),
    "a prefix too long": (jurisdiction("networks: [10.0.0.0/33]"), (3, 18, "0..32")),
    "a range backwards": (
        jurisdiction("networks: [10.0.0.9-10.0.0.1]"),
        (3, 18, 'did you mean "10.0.0.1-10.0.0.9"?'),
    ),
    "a range of two families": (jurisdiction('networks: ["10.0.0.1-::1"]'), (3, 18, "one family")),
    "a zone": (jurisdiction('networks: ["fe80::%eth0/64"]'), (3, 18, 'leave out "%eth0"')),
    "leading noughts": (
        jurisdiction("networks: [010.1.2.0/24]"),
        (3, 18, 'did you mean "10.1.2.0"?'),
    ),
    "a network that is a number": (jurisdiction("networks: [10.1]"), (3, 18, "write it in quotes")),
    "a file of networks that is not there": (
        jurisdiction("networks: {file: nonesuch.txt}"),
        (3, 18, "No such file"),
    ),
    "a file of networks without its key": (
        jurisdiction("networks: {path: x.txt}"),
        ((3, 7, '"file" is missing'), (3, 18, 'unknown key "path"')),
    ),
    "an autonomous system as text": (jurisdiction("asns: [AS4134]"), (3, 14, "did you mean 4134?")),
    "a negative one": (jurisdiction("asns: [-1]"), (3, 14, "greater than or equal to 0")),
    "agreement on": (jurisdiction("location: [CN], agreement: on"), (3, 23, "any, all")),
    "a review in a wrong month": (
        jurisdiction("location: [CN], review_by: 2026-13-01"),
        (3, 23, "no date"),
    ),
    "a port that looks octal": (block("port: 0080"), (6, 24, "write 80")),
    "a port below nought": (block("port: -1"), (6, 18, "no port")),
    "a port in sixteens in quotes": (block('port: "0x50"'), (6, 18, "no port")),
    "a port that is a fraction": (block("port: [80.5]"), (6, 25, "no port")),
    "a port that is a truth": (block("port: true"), (6, 18, "no port")),
    "ports backwards": (block('port: "90-80"'), (6, 18, 'did you mean "80-90"?')),
    "a jurisdiction that is not there": (block("to: chine"), (6, 18, 'did you mean "china"?')),
    "one of the library that is not included": (block("to: russia"), (6, 18, "include: [russia]")),
    "a condition misspelt": (block("trafic: ping"), (6, 18, 'did you mean "traffic"?')),
    "a class misspelt": (block("traffic: [ping, signaling]"), (6, 34, 'mean "signalling"?')),
    "a condition without a value": (block("to: "), (6, 18, '"to" has no value')),
    "an empty list of conditions": (block("any: []"), (6, 18, '"any" is empty')),
    "a date in words": (
        rule("{id: a, when: {}, action: allow, expires: tomorrow}"),
        (6, 36, '"tomorrow" is no date'),
    ),
    "a roll-out that ends before it begins": (
        rule("{id: a, when: {}, action: block, shadow: {from: 2026-11-26, until: 2026-11-23}}"),
        (6, 36, "must be after"),
    ),
    "a roll-out without end": (
        rule("{id: a, when: {}, action: block, shadow: {from: 2026-11-26}}"),
        (6, 36, "needs until"),
    ),
    "a list that is not there": (
        b"policy: p\ninclude: [mainland-chnia]\n",
        (2, 11, 'did you mean "mainland-china"?'),
    ),
    "a list by a path that leads nowhere": (
        b"policy: p\ninclude: [lists/russia.yaml]\n",
        (2, 11, 'did you mean "russia"'),
    ),
    "a list twice": (b"policy: p\ninclude: [russia, russia]\n", (2, 19, "included twice")),
    "a name that a list has too": (
        b"policy: p\ninclude: [russia]\njurisdictions:\n  russia: {location: [RU]}\n",
        (4, 3, "is defined in"),
    ),
}
"""What is wrong with a value."""
