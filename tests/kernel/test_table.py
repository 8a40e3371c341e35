"""Tables as values, their transactions and differences."""

from __future__ import annotations

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from gateway.kernel.table import Chain, Set, Table, difference, install, removal

_HOOK = "type filter hook forward priority 0; policy accept;"
_TABLE = Table(
    "gw",
    1,
    (
        Set("denied4", "type ipv4_addr; flags interval;", 4, ((1, 2), (5, 9))),
        Set("seen", "x", is_volatile=True),
    ),
    (Chain("keep", ("drop",), _HOOK), Chain("one", ("accept",))),
)


class TableTests(SynchronousTestCase):
    """install, difference, removal."""

    def test_install(self) -> None:
        """Installing replaces what has the name, in one transaction: chains before rules."""
        lines = install(_TABLE).splitlines()
        self.assertEqual(
            lines,
            [
                "add table inet gw",
                "delete table inet gw",
                "add table inet gw",
                "add chain inet gw state",
                f"add chain inet gw keep {{ {_HOOK} }}",
                "add chain inet gw one",
                "add set inet gw denied4 { type ipv4_addr; flags interval; }",
                "add element inet gw denied4 { 0.0.0.1-0.0.0.2, 0.0.0.5-0.0.0.9 }",
                "add set inet gw seen { x }",
                f'add rule inet gw state return comment "epoch=1 digest={_TABLE.digest()}"',
                "add rule inet gw keep drop",
                "add rule inet gw one accept",
            ],
        )

    def test_nothing(self) -> None:
        """Between a table and itself there is nothing to do."""
        self.assertEqual(difference(_TABLE, _TABLE), "")

    def test_rules(self) -> None:
        """Changed chains are emptied and filled, new ones added, those gone deleted at the end."""
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

    def test_elements(self) -> None:
        """A set that differs is emptied and filled; one that does not is left alone."""
        text = difference(_TABLE, self._with(((1, 2), (100, 101))))
        assert text is not None
        flush = text.index("flush set inet gw denied4")
        added = "add element inet gw denied4 { 0.0.0.1-0.0.0.2, 0.0.0.100-0.0.0.101 }"
        self.assertLess(flush, text.index(added))
        same = difference(_TABLE, replace(_TABLE, epoch=2))
        assert same is not None
        self.assertNotIn("denied4", same)

    def test_emptied(self) -> None:
        """A set of which nothing stays is emptied."""
        text = difference(_TABLE, self._with(()))
        assert text is not None
        self.assertIn("flush set inet gw denied4", text)
        self.assertNotIn("add element", text)

    def test_other_structure(self) -> None:
        """Another name, other sets or another hook need a new table."""
        keep = _TABLE.chains[0]
        for new in (
            replace(_TABLE, name="other"),
            replace(_TABLE, sets=_TABLE.sets[:1]),
            replace(_TABLE, sets=(replace(_TABLE.sets[0], spec="y"), _TABLE.sets[1])),
            replace(_TABLE, chains=(replace(keep, hook="another"), _TABLE.chains[1])),
            replace(_TABLE, chains=_TABLE.chains[1:]),
        ):
            self.assertIsNone(difference(_TABLE, new))

    def test_digest(self) -> None:
        """Two tables have one digest only if they are one, whatever their epochs are called."""
        self.assertEqual(_TABLE.digest(), replace(_TABLE, epoch=9).digest())
        self.assertNotEqual(_TABLE.digest(), self._with(()).digest())

    def test_removal(self) -> None:
        """Removing names one table."""
        self.assertEqual(removal("gw"), "delete table inet gw\n")

    def _with(self, ranges: tuple[tuple[int, int], ...]) -> Table:
        return replace(_TABLE, sets=(replace(_TABLE.sets[0], ranges=ranges), _TABLE.sets[1]))
