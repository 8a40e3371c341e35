"""Tables as values, their transactions and differences."""

from __future__ import annotations

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from gateway.kernel.table import (
    Chain,
    Set,
    Table,
    difference,
    install,
    loading,
    removal,
    unloading,
)

_HOOK = "type filter hook forward priority 0; policy accept;"
_TABLE = Table(
    "gw",
    1,
    (
        Set("denied4_a", "type ipv4_addr; flags interval;", 4, ((1, 2), (5, 9))),
        Set("seen", "x", is_volatile=True),
    ),
    (Chain("keep", ("drop",), _HOOK), Chain("one", ("accept",))),
    "abc",
)
_OTHER_SET = Set("denied4_b", "type ipv4_addr; flags interval;", 4, ((7, 7),))


class TableTests(SynchronousTestCase):
    """install, difference, loading, unloading, removal."""

    def test_install(self) -> None:
        """Installing replaces what has the name, in one transaction: chains before rules, sets
        with all that is in them."""
        said = f"epoch=1 digest={_TABLE.digest()} policy=abc"
        self.assertEqual(
            install(_TABLE).splitlines(),
            [
                "add table inet gw",
                "delete table inet gw",
                "add table inet gw",
                "add chain inet gw state",
                f"add chain inet gw keep {{ {_HOOK} }}",
                "add chain inet gw one",
                "add set inet gw denied4_a { type ipv4_addr; flags interval;"
                " elements = { 0.0.0.1-0.0.0.2, 0.0.0.5-0.0.0.9 } }",
                "add set inet gw seen { x }",
                f'add rule inet gw state return comment "{said}"',
                "add rule inet gw keep drop",
                "add rule inet gw one accept",
            ],
        )

    def test_nothing(self) -> None:
        """Between a table and itself there is nothing to do."""
        self.assertEqual(difference(_TABLE, _TABLE), "")
        self.assertEqual(loading(_TABLE, _TABLE), "")

    def test_rules(self) -> None:
        """Changed chains are emptied and filled, new ones added, those gone deleted at the end, and
        what rules remembered is forgotten."""
        new = replace(
            _TABLE, chains=(replace(_TABLE.chains[0], rules=("goto two",)), Chain("two", ("drop",)))
        )
        text = difference(_TABLE, new)
        assert text is not None
        lines = [line for line in text.splitlines() if " state" not in line]
        self.assertEqual(
            lines,
            [
                "add chain inet gw two",
                "flush chain inet gw one",
                "flush chain inet gw keep",
                "add rule inet gw keep goto two",
                "add rule inet gw two drop",
                "delete chain inet gw one",
                "flush set inet gw seen",
            ],
        )

    def test_state(self) -> None:
        """A table says its epoch and policy of itself, and a change says so too."""
        text = difference(_TABLE, replace(_TABLE, epoch=2, policy="def"))
        assert text is not None
        self.assertIn(f"epoch=2 digest={_TABLE.digest()} policy=def", text)
        self.assertIn("flush chain inet gw state\n", text)

    def test_sets(self) -> None:
        """Other ranges are another set: it is loaded beside the one in use, which is unloaded
        later; the change itself sends none."""
        new = replace(
            _TABLE,
            sets=(_OTHER_SET, _TABLE.sets[1]),
            chains=(replace(_TABLE.chains[0], rules=("ip daddr @denied4_b drop",)),),
        )
        self.assertEqual(loading(_TABLE, new), "add set inet gw denied4_b { type ipv4_addr; "
                         "flags interval; elements = { 0.0.0.7 } }\n")  # fmt: skip
        text = difference(_TABLE, new)
        assert text is not None
        self.assertNotIn("add set", text)
        self.assertNotIn("set inet gw denied4_a", text)
        self.assertEqual(
            unloading("gw", ["denied4_a", "x"]),
            "delete set inet gw denied4_a\ndelete set inet gw x\n",
        )
        self.assertEqual(unloading("gw", []), "")

    def test_other_structure(self) -> None:
        """Another name, another kind of set or another hook need a new table."""
        keep = _TABLE.chains[0]
        for new in (
            replace(_TABLE, name="other"),
            replace(_TABLE, sets=(replace(_TABLE.sets[0], spec="y"), _TABLE.sets[1])),
            replace(_TABLE, chains=(replace(keep, hook="another"), _TABLE.chains[1])),
            replace(_TABLE, chains=_TABLE.chains[1:]),
        ):
            self.assertIsNone(difference(_TABLE, new))

    def test_digest(self) -> None:
        """Two tables have one digest only if they are one, whatever their epochs are called."""
        self.assertEqual(_TABLE.digest(), replace(_TABLE, epoch=9).digest())
        for new in (replace(_TABLE, sets=(_OTHER_SET,)), replace(_TABLE, chains=_TABLE.chains[:1])):
            self.assertNotEqual(_TABLE.digest(), new.digest())

    def test_removal(self) -> None:
        """Removing names one table."""
        self.assertEqual(removal("gw"), "delete table inet gw\n")
