"""Metrics.  Owns: a process's numbers in Prometheus' words, made when they are asked for.
Knows: prometheus-client, the conventions of metric names.  Never: labels that a client can choose.

A label has few values: actions, traffic, rules, exits, countries, reasons, listeners."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from gateway.console.status import Status
from gateway.counts import Counts
from gateway.flow.epoch import Epoch

TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""What `exposition` is."""


class Metrics(Collector):
    """Everything that is worth a graph or an alarm."""

    def __init__(
        self,
        status: Callable[[], Status],
        epoch: Callable[[], Epoch],
        counts: Callable[[], Counts],
        now: Callable[[], datetime.datetime],
    ) -> None:
        """Ask nothing yet."""
        self._status = status
        self._epoch = epoch
        self._counts = counts
        self._now = now
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def exposition(self) -> bytes:
        """Give all of them as Prometheus reads them."""
        return generate_latest(self._registry)

    def describe(self) -> Iterable[Metric]:
        """Collector API: nothing is asked before it has to be."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Collector API."""
        said = self._status()
        yield from self._decisions()
        yield from _policy(said)
        yield from self._data(said)
        yield from _ways(said)
        yield from _log(said)
        if said["canaries"] is not None:
            help_ = "Canaries judged, by what became of them; through and failed are alarms."
            outcomes = {
                (path, outcome): count
                for path, counts in said["canaries"]["outcomes"].items()
                for outcome, count in counts.items()
            }
            yield _pairs("gateway_canaries", help_, ("path", "outcome"), outcomes)
        if said["router"] is not None:
            yield from _workers(said)
            counters = said["router"]["counters"]
            yield _counter("gateway_router_events", "Of router mode, by kind.", "kind", counters)

    def _decisions(self) -> Iterator[Metric]:
        counts = self._counts()
        help_ = "Decisions, by action and by what the traffic is for."
        yield _pairs("gateway_decisions", help_, ("action", "traffic"), counts.decisions)
        help_ = "Decisions, by the country where the destination stands."
        yield _pairs("gateway_contacts", help_, ("country", "action"), counts.places)
        help_ = "Decisions of each rule since the policy is in force."
        hits = counts.rules(self._epoch())
        yield _counter("gateway_rule_hits", help_, "rule", hits)
        help_ = "What rules in shadow would have decided."
        yield _pairs("gateway_shadow_decisions", help_, ("action", "rule"), counts.would)
        help_ = "Verdicts that could not be carried out, and were blocks, by the way."
        yield _counter("gateway_not_carried", help_, "way", counts.uncarried)
        help_ = "Flows in which identifiers were found by value, and sweeps."
        yield _pairs("gateway_leaks", help_, ("found", "kind"), counts.leaks)
        help_ = "Names that were not resolved, since a rule bars them."
        yield CounterMetricFamily("gateway_names_barred", help_, value=counts.unresolved)

    def _data(self, said: Status) -> Iterator[Metric]:
        age = GaugeMetricFamily(
            "gateway_data_age_seconds", "Age of a source of evidence.", labels=("source", "axis")
        )
        stale = GaugeMetricFamily(
            "gateway_data_stale", "1: a source is too old to count.", labels=("source", "axis")
        )
        for one in said["data"]["sources"]:
            labels = one["name"], one["axis"]
            stale.add_metric(labels, one["stale"])
            if one["built"]:
                built = datetime.datetime.fromisoformat(one["built"]).replace(tzinfo=datetime.UTC)
                age.add_metric(labels, (self._now() - built).total_seconds())
        yield age
        yield stale


def _policy(said: Status) -> Iterator[Metric]:
    policy, last = said["policy"], said["last_load"]
    labels = {"policy": policy["name"], "revision": policy["revision"], "mode": policy["mode"]}
    yield InfoMetricFamily("gateway_policy", "The policy in force.", value=labels)
    for name, help_, value in (
        ("gateway_healthy", "1: nothing needs a person.", said["health"] == "ok"),
        ("gateway_policy_epoch", "The policy's epoch.", policy["epoch"]),
        ("gateway_policy_stands_in", "1: the last good policy stands in.", policy["stands_in"]),
        ("gateway_last_load_accepted", "1: the last load was not refused.", last["accepted"]),
        ("gateway_start_time_seconds", "When the process began.", _unix(said["started"])),
        ("gateway_last_load_time_seconds", "When it was tried.", _unix(last["at"])),
        ("gateway_flows", "Flows that are remembered.", said["flows"]),
    ):
        yield GaugeMetricFamily(name, help_, value=float(value))
    help_ = "New flows that met a bound and were blocked."
    yield _counter("gateway_flows_refused", help_, "reason", said["refusals"])


def _ways(said: Status) -> Iterator[Metric]:
    up = GaugeMetricFamily("gateway_exit_up", "1: flows can be opened.", labels=("exit",))
    help_ = "Round-trip time to an exit, smoothed."
    rtt = GaugeMetricFamily("gateway_exit_rtt_seconds", help_, labels=("exit",))
    help_ = "What happened at an exit, by kind."
    events = CounterMetricFamily("gateway_exit_events", help_, labels=("exit", "kind"))
    for one in said["exits"]:
        up.add_metric((one["name"],), one["up"])
        if one["rtt_s"] is not None:
            rtt.add_metric((one["name"],), one["rtt_s"])
        for kind, count in sorted(one["counters"].items()):
            events.add_metric((one["name"], kind), count)
    yield up
    yield rtt
    yield from _nearest(said)
    yield events
    help_ = "What a listener carried and dropped, by kind."
    carried = CounterMetricFamily("gateway_listener_events", help_, labels=("listener", "kind"))
    for one in said["listeners"]:
        for kind, count in sorted(one["counters"].items()):
            carried.add_metric((f"{one['kind']} {one['at']}", kind), count)
    yield carried
    # "held" falls too.
    help_ = "Packets, streams and octets that came in, and where they went: it adds up."
    packets = GaugeMetricFamily("gateway_listener_packets", help_, labels=("listener", "kind"))
    told = [(f"{one['kind']} {one['at']}", one["packets"]) for one in said["listeners"]]
    if said["router"] is not None:
        told.append(("router", said["router"]["packets"]))
    for listener, counts in told:
        for kind, count in sorted(counts.items()):
            packets.add_metric((listener, kind), count)
    yield packets


def _nearest(said: Status) -> Iterator[Metric]:
    nearest = said["nearest"]
    if nearest is None:
        return
    help_ = "1: the exit that `nearest` means."
    chosen = GaugeMetricFamily("gateway_nearest_exit", help_, labels=("exit",))
    for one in said["exits"]:
        chosen.add_metric((one["name"],), one["name"] == nearest["exit"])
    yield chosen
    help_ = "How often another exit, or none, became the nearest."
    yield CounterMetricFamily("gateway_nearest_changes", help_, value=nearest["changes"])
    help_ = "UDP flows that were taken off a silent exit."
    yield CounterMetricFamily("gateway_nearest_flows_moved", help_, value=nearest["moved"])


def _workers(said: Status) -> Iterator[Metric]:
    up = GaugeMetricFamily("gateway_worker_up", "1: it judges its queue.", labels=("queue",))
    help_ = "Since its last report; what it counted since is in no sum."
    age = GaugeMetricFamily("gateway_worker_report_age_seconds", help_, labels=("queue",))
    help_ = "Times that it ended without being told to."
    ends = CounterMetricFamily("gateway_worker_ends", help_, labels=("queue",))
    for one in said["workers"]:
        queue = (str(one["queue"]),)
        up.add_metric(queue, one["up"])
        ends.add_metric(queue, one["ends"])
        if one["age_s"] is not None:
            age.add_metric(queue, one["age_s"])
    yield up
    yield age
    yield ends


def _log(said: Status) -> Iterator[Metric]:
    for name, help_, key in (
        ("gateway_log_records_written", "Records written down.", "written"),
        ("gateway_log_records_lost", "Records that could not be written down.", "lost"),
    ):
        yield CounterMetricFamily(name, help_, value=said["log"][key])


def _pairs(
    name: str, help_: str, labels: tuple[str, str], counts: Mapping[tuple[str, str], int]
) -> Metric:
    metric = CounterMetricFamily(name, help_, labels=labels)
    for pair, count in sorted(counts.items()):
        metric.add_metric(pair, count)
    return metric


def _counter(name: str, help_: str, label: str, counts: Mapping[str, int]) -> Metric:
    metric = CounterMetricFamily(name, help_, labels=(label,))
    for value, count in sorted(counts.items()):
        metric.add_metric((value,), count)
    return metric


def _unix(text: str) -> float:
    return datetime.datetime.fromisoformat(text).timestamp()
