"""Tests of scripts/bench tunnel: what it makes of its trials, and what it says of bad options."""

from __future__ import annotations

from click.testing import CliRunner
from twisted.trial.unittest import SynchronousTestCase

from scripts.benchmarks.tunnel.__main__ import Trial, line_of, main


class LineTests(SynchronousTestCase):
    """Figures of several rounds."""

    def test_ratios(self) -> None:
        """Ratios are medians over the rounds, each to the relay of its own round."""
        plain = [Trial(10.0, 9.0, 100.0, 1.0, 0), Trial(20.0, 19.0, 90.0, 2.0, 0)]
        plain.append(Trial(10.0, 9.0, 95.0, 1.5, 1))
        tunnel = [Trial(20.0, 30.0, 50.0, 1.5, 0), Trial(60.0, 40.0, 40.0, 2.25, 2)]
        tunnel.append(Trial(25.0, 25.0, 60.0, 2.0, 0))
        line = line_of("1000/s", 100, plain, tunnel)
        self.assertEqual((line.gateway_ratio, line.exit_ratio), (2.5, 2.5))
        self.assertEqual((line.relay_us, line.gateway_us, line.exit_us), (10.0, 25.0, 30.0))
        self.assertEqual((line.added_ms, line.lost), (0.5, 3))

    def test_closed_loop(self) -> None:
        """A closed loop tells nothing of latency."""
        trial = Trial(10.0, 10.0, 100.0, 0.0, 0)
        self.assertIsNone(line_of("closed loop", 0, [trial], [trial]).added_ms)

    def test_options(self) -> None:
        """Options that cannot be are refused before anything is started."""
        for wrong in (["--idle", "many"], ["--octets", "2000"], ["--rounds", "0"]):
            self.assertEqual(CliRunner().invoke(main, wrong).exit_code, 2)
