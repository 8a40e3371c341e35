"""Tests of scripts/bench router: what it makes of figures, of its generators' words, of options."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as some
from netaddr import IPSet
from rich.console import Console
from twisted.trial.unittest import SynchronousTestCase

from gateway import geo, policy
from gateway.flow.epoch import Epoch
from gateway.flow.table import FlowLimits, FlowTable
from gateway.model import Action, Endpoint, FlowKey, Transport, Verdict, pack
from gateway.policy.networks import AddressSet
from scripts.benchmarks.router import gateway as bench_gateway
from scripts.benchmarks.router import report
from scripts.benchmarks.router.__main__ import main
from scripts.benchmarks.router.figures import QUIET_CORES, Results, Trial, highest
from scripts.benchmarks.router.generators import BIN_S, Probes, Rate, Stream, client_hello
from scripts.benchmarks.router.places import Places, denied_networks
from scripts.benchmarks.router.run import chosen_measures, chosen_peers
from tests.support.bundled import DAY
from tests.support.epochs import FakeObserver
from tests.support.rows import rows

_ROOT = Path(__file__).parents[2]
_DEFAULT = _ROOT / "policies" / "default.yaml"
_CLIENT = {4: Endpoint.of("10.64.0.1", 5000), 6: Endpoint.of("2001:db8:40::1", 5000)}
# What the generators send first: RTP with a dynamic payload type (src/load.c), and TLS.
_MEDIA = bytes((0x80, 111)) + bytes(198)


def _trial(peer: str, at_s: float, value: float, noise_cores: float = 0.0) -> Trial:
    return Trial(peer, "steady", at_s, {"rate_pps": value}, noise_cores)


class FiguresTests(SynchronousTestCase):
    """Medians, ratios and the search."""

    def test_median_of_quiet_trials(self) -> None:
        """A noisy trial is in no median while there is a quiet one."""
        loud = QUIET_CORES + 0.01
        results = Results([_trial("nft", 0, 10), _trial("nft", 1, 20), _trial("nft", 2, 900, loud)])
        found = results.of("nft", "steady", "rate_pps")
        assert found is not None
        self.assertEqual((found.median, found.count, found.is_noisy), (15, 2, False))

    def test_only_noisy_trials(self) -> None:
        """Where all trials are noisy, their median is given, and called noisy."""
        found = Results([_trial("nft", 0, 10, 1.0)]).of("nft", "steady", "rate_pps")
        assert found is not None
        self.assertEqual((found.median, found.is_noisy), (10, True))

    def test_ratio_to_nearest(self) -> None:
        """A ratio is to the base's trials nearest in time: a slow hour of the machine cancels."""
        fast = [_trial("plain", 0, 1000), _trial("gateway", 1, 900), _trial("plain", 2, 1000)]
        slow = [_trial("plain", 100, 100), _trial("gateway", 101, 90), _trial("plain", 102, 100)]
        found = Results(fast + slow).ratio("gateway", "steady", "rate_pps", "plain")
        assert found is not None
        self.assertEqual((found.low, found.high), (0.9, 0.9))

    def test_no_base(self) -> None:
        """Without trials of the base, or with a base of nothing, there is no ratio."""
        alone = Results([_trial("gateway", 0, 1)])
        self.assertIsNone(alone.ratio("gateway", "steady", "rate_pps", "plain"))
        zero = Results([_trial("gateway", 0, 1), _trial("plain", 0, 0)])
        self.assertIsNone(zero.ratio("gateway", "steady", "rate_pps", "plain"))

    def test_not_a_number(self) -> None:
        """A trial that could not tell a figure counts for nothing in it."""
        results = Results([_trial("nft", 0, float("nan")), _trial("nft", 1, 7)])
        found = results.of("nft", "steady", "rate_pps")
        assert found is not None
        self.assertEqual((found.median, found.count), (7, 1))

    @settings(deadline=None, max_examples=60)
    @given(some.floats(1e3, 1e6), some.floats(1e3, 1e6))
    def test_search(self, limit: float, start: float) -> None:
        """The search finds what still passes, to 5 %, from any guess."""
        asked: list[float] = []

        def passes(value: float) -> bool:
            asked.append(value)
            return value <= limit

        found = highest(passes, start, most=40)
        self.assertLessEqual(found, limit)
        self.assertGreaterEqual(found * 1.051, limit)
        self.assertLessEqual(len(asked), 40)

    def test_search_ends(self) -> None:
        """A search in which nothing passes ends, and gives nothing."""
        self.assertEqual(highest(lambda _: False, 1000.0), 0.0)


class GeneratorsTests(SynchronousTestCase):
    """What the generators say."""

    def test_probes(self) -> None:
        """Client's and server's counts are read alike; bins tell what was sent after a moment."""
        said: dict[str, object] = {"seconds": 1.0, "missed": 0, "next_flow": 9}
        said["classes"] = {
            "0": {"sent": 6, "answered": 5, "round_trip": {"count": 5, "p50_us": 2.0}}
        }
        said["bins"] = {"0": [1, 2, 3]}
        found = Probes.parse("ready\n" + json.dumps(said))
        self.assertEqual((found[0].count, found[0].answered, found.next_flow), (6, 5, 9))
        self.assertEqual(found[0].latency.p50_us, 2.0)
        self.assertEqual([found[0].since(at * BIN_S) for at in (0, 1, 2)], [5, 3, 0])
        self.assertEqual(found[3].count, 0)
        server = {"missed": 1, "classes": {"1": {"received": 4, "one_way": {"p99_us": 8.5}}}}
        came = Probes.parse(json.dumps(server))
        self.assertEqual((came[1].count, came.missed, came[1].latency.p99_us), (4, 1, 8.5))

    def test_rate(self) -> None:
        """A rate is of what was finished."""
        said = {"seconds": 0.5, "done": 100, "lost": 3, "next_flow": 103}
        found = Rate.parse(json.dumps(said | {"round_trip": {"count": 0}}))
        self.assertEqual((found.per_s, found.failed, found.next_flow), (200.0, 3, 103))

    def test_no_json(self) -> None:
        """A generator that failed is a fault that says what it said."""
        for text in ("", "packet socket: Operation not permitted\n", "[]"):
            error = self.assertRaises(ValueError, Probes.parse, text)
            self.assertIn("a generator said no", str(error))

    def test_stream(self) -> None:
        """A stream is written as src/load.c reads it."""
        self.assertEqual(str(Stream(1, "192.0.2.1,5300", 0, 5e4)), "1/192.0.2.1,5300/0/50000/200")


@rows(family={"IPv4": (4,), "IPv6": (6,)})
class PlacesTests(SynchronousTestCase):
    """Who is where, and what the real policy says of it."""

    def check_family(self, family: int) -> None:
        """Only what shall be denied is, and no two ranges touch"""
        places = Places.of(family)
        before = list(denied_networks(family, 1000))
        self.assertEqual(len(list(IPSet(before).iter_cidrs())), 1001)
        after = AddressSet(denied_networks(family, 1000, is_after=True))
        hosts = (places.allowed, places.newly_denied, places.denied)
        for denied, expected in (
            (AddressSet(before), [False, False, True]),
            (after, [False, True, True]),
        ):
            self.assertEqual([pack(host) in denied for host in hosts], expected)


@rows(verdict={"IPv4": (4,), "IPv6": (6,)})
class PolicyTests(SynchronousTestCase):
    """The bench's policy: the default one, and what the bench denies."""

    def check_verdict(self, family: int) -> None:
        """The default policy's own rules decide on what the bench sends, on streams by what they
        say; what it denies is blocked by address"""
        places = Places.of(family)
        judge = self._judge(family)
        hello = client_hello()
        for host, transport, payload, action, rule, is_settled in (
            (places.allowed, Transport.UDP, _MEDIA, Action.ALLOW, "the-rest", True),
            (places.newly_denied, Transport.UDP, _MEDIA, Action.ALLOW, "the-rest", True),
            (places.allowed, Transport.TCP, None, None, None, False),
            (places.allowed, Transport.TCP, hello, Action.ALLOW, "the-rest", True),
            (places.denied, Transport.UDP, None, Action.BLOCK, "bench-denied", True),
            (places.denied, Transport.TCP, None, Action.BLOCK, "bench-denied", True),
        ):
            verdict = judge(FlowKey(transport, _CLIENT[family], Endpoint.of(host, 5400)), payload)
            self.assertEqual(verdict.settled, is_settled, host)
            if action is not None:
                self.assertEqual((verdict.action, verdict.rule), (action, rule), host)

    def _judge(self, family: int) -> Callable[[FlowKey, bytes | None], Verdict]:
        text = bench_gateway.policy(_DEFAULT.read_text(), denied_networks(family, 10))
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "policy.yaml").write_text(text)
        (folder / "gateway.yaml").write_text(bench_gateway.configuration())
        stand_ins = [
            geo.Override(network=one, location="US", operator="US", reason="the bench")
            for one in bench_gateway.STAND_INS
        ]
        atlas = geo.load([geo.Bundled()], stand_ins, today=DAY, max_age_days=120)
        epoch = Epoch.of(1, policy.load(folder / "policy.yaml", DAY), atlas)
        return FlowTable(epoch, lambda: 0.0, FlowLimits(), FakeObserver()).judge

    def test_another_default(self) -> None:
        """A default policy of another shape is refused, and not measured without the ranges."""
        error = self.assertRaises(ValueError, bench_gateway.policy, "policy: x", [])
        self.assertIn("no single jurisdictions and rules", str(error))


class ReportTests(SynchronousTestCase):
    """What a reader gets."""

    def test_leak(self) -> None:
        """One leak in one trial of many is named, in the report and in JSON."""
        trials = [
            Trial("gateway", "kill", at, {"leaked": at // 4, "goes_on_share": 1.0})
            for at in range(5)
        ]
        results = Results(trials)
        self.assertEqual(report.leaks(results), ["LEAK: gateway, kill: 1 packets (leaked)"])
        self.assertEqual(report.as_json(results, [])["leaks"], report.leaks(results))
        console = Console(width=140, record=True, file=io.StringIO())
        report.show(results, ["a remark"], console)
        said = console.export_text()
        self.assertIn("LEAK: gateway", said)
        self.assertIn("a remark", said)

    def test_noisy_machine(self) -> None:
        """A machine on which plain forwarding itself is unsteady is called noisy."""
        steady = Results(_trial("plain", at, 100 + at % 2) for at in range(8))
        self.assertEqual(list(report.noise(steady)), [])
        unsteady = Results(_trial("plain", at, 100 + 60 * (at % 2)) for at in range(8))
        self.assertIn("noisy", "".join(report.noise(unsteady)))

    def test_no_trial(self) -> None:
        """A run in which nothing could be measured still says why."""
        console = Console(width=140, record=True, file=io.StringIO())
        report.show(Results(), ["gateway is left out: no root"], console)
        self.assertIn("gateway is left out", console.export_text())


class OptionsTests(SynchronousTestCase):
    """What the command understands."""

    def test_unknown_names(self) -> None:
        """A peer or a measure that is none is refused with those there are."""
        for choose, name in ((_peers, "apache"), (chosen_measures, "speed")):
            error = self.assertRaises(ValueError, choose, name)
            self.assertIn(f'"{name}" is none of', str(error))

    def test_quick(self) -> None:
        """A quick run leaves the others' gateways out, unless they are asked for."""
        self.assertEqual(chosen_peers(None, is_quick=True), ("plain", "nft", "gateway", "fast"))
        self.assertEqual(chosen_peers("envoy,plain", is_quick=True), ("plain", "envoy"))

    def test_command(self) -> None:
        """The command has every option that docs/benchmarks.md tells of."""
        options = {word for one in main.params for word in one.opts}
        told = re.findall(r"`(--[a-z]+)", (_ROOT / "docs" / "benchmarks.md").read_text())
        self.assertEqual(set(told) - options, set())
        self.assertIn("--family", told)


def _peers(text: str) -> object:
    return chosen_peers(text, is_quick=False)
