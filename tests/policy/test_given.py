"""Flows as people give them: facts, places and payloads of cases."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from gateway.document import parse
from gateway.errors import InputError
from gateway.flow.cases import facts_of, run_cases
from gateway.model import Axis, FlowKey, Protocol, pack
from gateway.policy import Given, compile_policy
from gateway.policy.reading import stored_payload
from tests.support import epochs
from tests.support.bundled import ROOT
from tests.support.facts import TODAY, policy
from tests.support.rows import rows

FRAME = FlowKey.parse("udp 10.7.0.2:7 > 198.51.100.7:8000")
LONG = ROOT / "gateway" / "geo" / "data" / "evidence.xz"
FLOW = "flow: 'udp 10.1.0.2:5 > 192.0.2.7:8000'"


_LINE = epochs.PROMISE.count("\n") + 2
"""Of the case in `text`."""


def frames(path: Path, number: int) -> tuple[FlowKey, bytes]:
    """Read a capture that has one frame."""
    assert (path.name, number) == ("call.pcap", 3)
    return FRAME, epochs.PING


def text(case: str) -> str:
    """Write a policy of one case."""
    return epochs.PROMISE + f"cases:\n- {{{case}, expect: {{action: block}}}}\n"


@rows(
    refused={
        "no flow": ("note: n", 'key "flow" is missing'),
        "no flow, and a payload that has none": ("payload: {hex: '00'}", "is missing"),
        "a payload and its class": (f"{FLOW}, payload: {{hex: '00'}}, traffic: ping", "either"),
        "a payload and its protocol": (
            f"{FLOW}, payload: {{hex: '00'}}, protocol: stun", "a payload or protocol",
        ),
        "facts of ICMP": ("flow: 'icmp 10.1.0.2 > 192.0.2.7', traffic: ping", "without ports"),
        "ICMP over UDP": (f"{FLOW}, protocol: icmp", "transport icmp"),
        "a destination that says nothing": (f"{FLOW}, to: {{}}", "to needs a location"),
        "no country": (f"{FLOW}, to: {{location: UK}}", 'did you mean "GB"'),
        "no such axis": (f"{FLOW}, to: {{operater: US}}", 'did you mean "operator"'),
        "no kind": (f"{FLOW}, plaintext: userid", 'did you mean "user-id"'),
        "a capture without a frame": ("payload: {capture: call.pcap}", "go together"),
        "a frame without a capture": (f"{FLOW}, payload: {{frame: 3}}", "either hex, file or"),
        "frame 0": ("payload: {capture: call.pcap, frame: 0}", '"frame"'),
        "two payloads": (f"{FLOW}, payload: {{hex: '00', file: x}}", "either hex, file or"),
        "a capture where none is read": (
            "payload: {capture: call.pcap, frame: 3}", "captures cannot be read here",
        ),
        "a missing file": (f"{FLOW}, payload: {{file: nonesuch}}", "No such file"),
        "an endless file": (f"{FLOW}, payload: {{file: /dev/zero}}", "no regular file"),
        "a long file": (f"{FLOW}, payload: {{file: {LONG}}}", "longer than 65535"),
        "a file that can be none": (f'{FLOW}, payload: {{file: "a\\0b"}}', "null"),
    }
)  # fmt: skip
class CaseTests(SynchronousTestCase):
    """What a case may say, and what contradicts itself."""

    def check_refused(self, case: str, words: str) -> None:
        """A case that cannot be run is a fault at its line when the policy is loaded."""
        error = self.assertRaises(InputError, policy, text(case))
        self.assertEqual({one.line for one in error.problems}, {_LINE}, str(error))
        self.assertIn(words, str(error))

    def test_frame(self) -> None:
        """A capture's frame is the payload, and the flow unless one is given."""
        payload = "payload: {capture: call.pcap, frame: 3}"
        for case, key in ((payload, str(FRAME)), (f"{FLOW}, {payload}", FLOW[7:-1])):
            loaded = compile_policy(parse(text(case), "p.yaml"), TODAY, frames=frames)
            self.assertEqual(str(loaded.cases[0].given.key), key)
            self.assertEqual(loaded.cases[0].given.payload, epochs.PING)

    def test_facts(self) -> None:
        """Facts take the place of a payload; what is not said cannot be told."""
        case = f"{FLOW}, protocol: http, plaintext: []"
        found = facts_of(epochs.epoch(), policy(text(case)).cases[0].given).content
        assert found is not None
        self.assertEqual(
            (found.protocol, found.traffic, found.plaintext), (Protocol.HTTP, None, ())
        )

    def test_place(self) -> None:
        """A place that is given takes the place of the data; an axis not said is not known."""
        case = f"{FLOW}, to: {{location: [CN, AS], asn: 64496}}"
        epoch = epochs.epoch(text(case))
        (result,) = run_cases(epoch)
        place = result.facts.place
        self.assertEqual(place.values, {Axis.LOCATION: ("CN", "AS")})
        self.assertEqual(place.asns, (64496,))
        self.assertEqual(result.verdict.rule, "never-ping")
        evidence = result.account["facts"]["to"]["evidence"]
        self.assertEqual({one["source"] for one in evidence}, {"given"})

    def test_spelled(self) -> None:
        """Where the destination's place is given, what the address spells is not looked up; what
        the payload asks for is."""
        epoch = epochs.epoch()
        (given,) = (one.given for one in policy(text(f"{FLOW}, to: {{location: US}}")).cases)
        asks = b"CONNECT 198.51.100.7:443 HTTP/1.1\r\n\r\n"
        asked = Given(FlowKey.parse("tcp 10.1.0.2:5 > 192.0.2.7:80"), asks, evidence=given.evidence)
        self.assertEqual(facts_of(epoch, asked).further, (pack("198.51.100.7"),))

    def test_half_a_section(self) -> None:
        """What is no payload's section is left to the shape's own faults."""
        for half in ({}, {"hex": "0"}, {"frame": 3}, {"capture": "call.pcap", "frame": "x"}):
            self.assertEqual(stored_payload(Path(), half, frames), (None, None))
