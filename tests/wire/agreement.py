"""Agreement with nDPI.  Owns: its labels of a capture's flows, held against what we say of them.
Knows: the text that its ndpiReader writes (the .out files beside captures, or its own run).
Never: why they differ; test_agreement and docs/recognisers.md say that.

Usage: scripts/compare-ndpi [--run] FOLDER-OR-CAPTURE…"""

from __future__ import annotations

import datetime
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gateway import geo, policy
from gateway.audit.flows import AuditedFlow
from gateway.audit.parties import Parties
from gateway.audit.reading import Audit
from gateway.errors import AddressError, GatewayError
from gateway.evidence.capture import read_blocks
from gateway.flow.epoch import Epoch
from gateway.model import Endpoint, FlowKey, Protocol, Transport

_POLICY = Path(__file__).parents[2] / "policies" / "default.yaml"
_DAY = datetime.date(2026, 11, 23)
_FLOW = re.compile(
    r"^\t\d+\t(?P<transport>TCP|UDP) (?P<one>\S+) <?->? (?P<other>\S+) .*?"
    r"\[proto: [\d.]+/(?P<label>[^\]]+)\]",
    re.MULTILINE,
)
# nDPI's words of our field, and what we would say.  A label is PROTOCOL.APPLICATION, or one alone.
_OURS = {
    "RTP": {Protocol.RTP},
    "SRTP": {Protocol.RTP},
    "RTCP": {Protocol.RTCP},
    "STUN": {Protocol.STUN},
    "DTLS": {Protocol.DTLS},
    "QUIC": {Protocol.QUIC},
    "SIP": {Protocol.SIP},
    "SD-RTN": {Protocol.SD_RTN},
    "WireGuard": {Protocol.WIREGUARD},
    "Discord": {Protocol.DISCORD},
    "Zoom": {Protocol.ZOOM},
    "Telegram": {Protocol.TELEGRAM},
    "TelegramVoip": {Protocol.TELEGRAM},
    "WhatsApp": {Protocol.WHATSAPP},
}
# Of our field too, and not recognised: whatever we say, we do not say this.
_NOT_OURS = {"Viber", "ViberVoip", "TeamSpeak", "LineCall", "Line", "Skype_Teams", "Skype"}
_FIELD = frozenset({one for ours in _OURS.values() for one in ours})

Flow = frozenset[tuple[Transport, Endpoint]]


@dataclass(frozen=True, slots=True)
class Held:
    """One flow, as both name it."""

    capture: str
    key: FlowKey
    label: str
    """nDPI's; "" where it lists no such flow."""
    told: tuple[tuple[Protocol, int], ...]
    """What we say of its packets, the most frequent first; unknown too."""

    @property
    def is_of_our_field(self) -> bool:
        """Whether either of the two says something of our field."""
        word = self.label.partition(".")[0]
        return word in _OURS or word in _NOT_OURS or any(one in _FIELD for one, _ in self.told)

    @property
    def agrees(self) -> bool:
        """Whether nDPI's protocol is among what we say of the flow; and, where it says something
        that is not of our field, whether we say nothing of our field."""
        word = self.label.partition(".")[0]
        said = {one for one, _ in self.told}
        if word in _OURS:
            return bool(_OURS[word] & said)
        return word not in _NOT_OURS and not said & _FIELD

    def __str__(self) -> str:
        said = ", ".join(f"{one} {count}" for one, count in self.told)
        return f"{self.capture}: {self.key}: nDPI {self.label or '-'}; here {said or 'no payload'}"


def held(capture: Path, text: str) -> Iterator[Held]:
    """Hold nDPI's account of a capture against ours."""
    labels = {flow: match["label"] for match in _FLOW.finditer(text) if (flow := _flow(match))}
    for one in _flows(capture):
        if one.key.transport.has_ports:
            yield Held(capture.name, one.key, labels.get(_ends(one.key), ""), _told(one))


def _flow(match: re.Match[str]) -> Flow | None:
    """Give a line's flow; None where an address is none: nDPI shortens some IPv6 ones twice."""
    transport = Transport(match["transport"].lower())
    try:
        return frozenset((transport, Endpoint.parse(match[one])) for one in ("one", "other"))
    except AddressError:
        return None


def _ends(key: FlowKey) -> Flow:
    return frozenset({(key.transport, key.client), (key.transport, key.destination)})


def _flows(capture: Path) -> list[AuditedFlow]:
    found: list[AuditedFlow] = []
    atlas = geo.load([geo.Bundled()], [], today=_DAY, max_age_days=10_000)
    audit = Audit(
        Epoch.of(1, policy.load(_POLICY, _DAY), atlas),
        found.append,
        parties=Parties(()),
        observers=(),
        file=lambda: str(capture),
    )
    audit.read(read_blocks(capture))
    audit.end()
    return found


def _told(flow: AuditedFlow) -> tuple[tuple[Protocol, int], ...]:
    counted: Counter[Protocol] = Counter()
    for side in (flow.client, flow.server):
        for tally in side.tallies.values():
            if tally.content is not None:
                counted[tally.content.protocol] += tally.packets
    return tuple(counted.most_common())


def _captures(arguments: list[str]) -> Iterator[Path]:
    for argument in map(Path, arguments):
        if argument.is_dir():
            yield from sorted(
                one for one in argument.iterdir() if one.suffix in (".pcap", ".pcapng")
            )
        else:
            yield argument


def _account(capture: Path, *, runs: bool) -> str | None:
    if runs:
        command = ["ndpiReader", "-i", str(capture), "-v", "2"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout
    beside = capture.with_name(f"{capture.name}.out")
    return beside.read_text() if beside.exists() else None


def main(arguments: list[str]) -> None:
    """Print the flows that the two name otherwise, and how many they name alike."""
    runs = "--run" in arguments
    by_label: dict[str, Counter[bool]] = {}
    for capture in _captures([one for one in arguments if one != "--run"]):
        text = _account(capture, runs=runs)
        if text is None:
            print(f"{capture.name}: no account of nDPI beside it", file=sys.stderr)
            continue
        try:
            flows = [one for one in held(capture, text) if one.is_of_our_field]
        except GatewayError as error:
            print(f"{capture.name}: {error}", file=sys.stderr)
            continue
        for one in flows:
            by_label.setdefault(one.label or "-", Counter())[one.agrees] += 1
            if not one.agrees:
                print(one)
    for label, counts in sorted(by_label.items()):
        print(f"{label:32} {counts[True]:5} of {counts.total():5} agree")
    total = sum((counts for counts in by_label.values()), Counter[bool]())
    print(f"{'all':32} {total[True]:5} of {total.total():5} agree")


if __name__ == "__main__":
    main(sys.argv[1:])
