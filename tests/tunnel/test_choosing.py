"""gateway.tunnel.choosing: the nearest exit, without flapping."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.tunnel.choosing import Choice, State

DOWN, SILENT = State(False, False, None), State(True, True, 0.010)
_DAY_S = 86_400.0


def up(rtt_s: float | None) -> State:
    """An exit that answers."""
    return State(True, False, rtt_s)


STATES = st.sampled_from((DOWN, SILENT, up(0.01), up(0.05), up(None)))


class ChoiceTests(SynchronousTestCase):
    """One choice after another."""

    def setUp(self) -> None:
        self.choice = Choice()

    def test_none(self) -> None:
        """Where no exit is up there is none."""
        self.assertIsNone(self.choice.among({}, 0))
        self.assertIsNone(self.choice.among({"a": DOWN}, 1))

    def test_fastest(self) -> None:
        """The first choice is the fastest; before they are measured, the operator's first."""
        self.assertEqual(self.choice.among({"a": up(None), "b": up(None)}, 0), "a")
        self.assertEqual(Choice().among({"a": up(0.080), "b": up(0.020)}, 0), "b")

    def test_down(self) -> None:
        """One that goes down is left at once."""
        self.choice.among({"a": up(0.010), "b": up(0.050)}, 0)
        self.assertEqual(self.choice.among({"a": DOWN, "b": up(0.050)}, 1), "b")

    def test_silent(self) -> None:
        """One that is silent is left for one that answers, and kept where there is no other."""
        self.choice.among({"a": up(0.010), "b": up(0.050)}, 0)
        self.assertEqual(self.choice.among({"a": SILENT, "b": DOWN}, 1), "a")
        self.assertEqual(self.choice.among({"a": SILENT, "b": up(0.050)}, 2), "b")

    def test_faster(self) -> None:
        """A faster one is taken when it has been faster for a while, and clearly."""
        slow, fast = up(0.050), up(0.020)
        self.choice.among({"a": slow, "b": DOWN}, 0)
        for now_s in range(1, 31):
            self.assertEqual(self.choice.among({"a": slow, "b": fast}, now_s), "a")
        self.assertEqual(self.choice.among({"a": slow, "b": fast}, 31), "b")

    def test_not_clearly(self) -> None:
        """One that is faster by little, or now and then, is not."""
        self.choice.among({"a": up(0.050), "b": DOWN}, 0)
        for now_s in range(1, 300):
            rtt_s = 0.046 if now_s % 20 else 0.060
            self.assertEqual(self.choice.among({"a": up(0.050), "b": up(rtt_s)}, now_s), "a")
            rtt_s = 0.020 if now_s % 20 else 0.060
            self.assertEqual(self.choice.among({"a": up(0.050), "b": up(rtt_s)}, now_s), "a")

    @given(
        st.lists(st.tuples(*3 * [st.sampled_from((DOWN, SILENT, up(0.01), up(0.05), up(None)))]))
    )
    @settings(deadline=None, max_examples=200)
    def test_always_up(self, history: list[tuple[State, State, State]]) -> None:
        """Whatever happens, the chosen exit is up, answers if any does, and one is chosen if any
        is up."""
        choice = Choice()
        for now_s, states in enumerate(history):
            exits = dict(zip("abc", states, strict=True))
            chosen = choice.among(exits, now_s)
            self.assertEqual(chosen is None, not any(one.is_up for one in states))
            if chosen is not None:
                self.assertTrue(exits[chosen].is_up)
                usable = any(one.is_usable for one in states)
                self.assertEqual(exits[chosen].is_usable, usable)

    def test_a_week(self) -> None:
        """A week of jitter, of exits that fail hourly and come back within minutes: it changes when
        it must, and for speed not once an hour."""
        chance = Random(7)
        bases = {"a": 0.040, "b": 0.043, "c": 0.090}
        down_until = dict.fromkeys(bases, 0.0)
        must = changes = 0
        before: str | None = None
        for step in range(0, int(7 * _DAY_S), 5):
            now_s = float(step)
            for name in bases:
                if chance.random() < 5 / 3600:
                    down_until[name] = now_s + chance.uniform(5, 300)
            exits = {
                name: up(base * chance.uniform(0.8, 1.4)) if down_until[name] <= now_s else DOWN
                for name, base in bases.items()
            }
            chosen = self.choice.among(exits, now_s)
            if chosen != before:
                changes += 1
                must += before is None or not exits[before].is_up
                before = chosen
        self.assertLess(changes - must, 7 * 24)
        self.assertGreater(must, 100)
