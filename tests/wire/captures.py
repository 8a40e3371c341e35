"""Captures for the wire tests.  Owns: where they are, and what an independent decoder says of them.
Knows: the .expected.jsonl files.  Never: what the recognisers say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SkipTest

from gateway.evidence.capture import read_packets
from gateway.evidence.frame import Packet

_PROJECT = Path(__file__).parents[2]
DATA = _PROJECT / "tests" / "data"
SHARED = _PROJECT.parent / "shared" / "captures"

SPEAKER = "agora312-GLOB-session-speaker-audio"
TOKEN = "agora312-GLOBminusCN-session-token"
LIVE = (
    SPEAKER,
    TOKEN,
    "agora312-GLOB-lastmile-probe",
    "agora312-GLOB-session-audience-nopong",
    "agora312-area-GLOB-noreply",
    "agora312-area-GLOBminusCN-noreply",
)
"""The captures of the plaintext SDK; the first two are in the project."""
ENCRYPTED = "agora341-area-GLOB-noreply"

UID = 287454020
CID = 195936478
CHANNEL = b"SEEDROOM-xVb9Q"


@dataclass(frozen=True, slots=True)
class Line:
    """One datagram or segment, and the independent decoder's line about it."""

    packet: Packet
    expected: dict[str, Any]

    @property
    def payload(self) -> bytes:
        return self.packet.payload


def live(name: str) -> Path:
    """Give a capture of the vendor's clients; the test skips where it is absent."""
    inside = DATA / f"{name}.pcap"
    return inside if inside.exists() else _present(SHARED / "agora-live" / f"{name}.pcap")


def foreign(name: str) -> Path:
    """Give a capture of other people's traffic; the test skips where it is absent."""
    return _present(SHARED / "ndpi" / name)


def packets(path: Path) -> Iterator[Packet]:
    """Give the packets that carry something."""
    return (packet for packet in read_packets(path) if packet.payload)


def lines(name: str) -> list[Line]:
    """Give what the independent decoder understood of a capture."""
    path = live(name)
    text = path.with_name(f"{name}.expected.jsonl").read_text()
    expected = {line["n"]: line for line in map(json.loads, text.splitlines())}
    return [
        Line(packet, expected[packet.number])
        for packet in packets(path)
        if packet.number in expected
    ]


def first(message: str, name: str = SPEAKER) -> bytes:
    """Give the first payload of a message in one of the project's captures."""
    return next(line.payload for line in lines(name) if line.expected["msg"] == message)


def _present(path: Path) -> Path:
    if not path.exists():
        raise SkipTest(f"{path.name} is outside the project and not here")
    return path
