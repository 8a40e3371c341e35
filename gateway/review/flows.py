"""Flows to ask about.  Owns: a file of flows, or a capture → flows as people give them.
Knows: YAML lines, captures.  Never: judging them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from io import TextIOWrapper
from pathlib import Path

from gateway.document import parse, validate
from gateway.errors import AddressError, DataError, InputError, Problem
from gateway.evidence.capture import read_packets
from gateway.evidence.captured import CapturedFrames
from gateway.evidence.frame import Packet
from gateway.model import FlowKey
from gateway.policy import FlowSection, Frames, Given, given_of
from gateway.regular import open_regular

# Flows of one question, from a file or a capture; what is longer is asked in parts.
_MAX_FLOWS = 100_000
# A payload of 64 KiB in hexadecimal, and its flow.
_MAX_LINE_LEN = 262_144

_SYN, _ACK = 2, 16


def flows_of_file(path: str | Path) -> list[Given]:
    """Read a file of one flow a line: "udp … > …", or a mapping with the keys of a case's flow, as
    YAML or JSON ({flow: "udp … > …", traffic: ping}).  Empty lines and lines that begin with # are
    passed over; paths of payloads start from the file's folder.

    Raises:  InputError: with every line that is no flow.
    """
    path = Path(path)
    frames = CapturedFrames().read
    flows: list[Given] = []
    problems: list[Problem] = []
    for number, line in _lines(path):
        if len(flows) + len(problems) >= _MAX_FLOWS:
            problems.append(Problem(str(path), number, 0, f"has more than {_MAX_FLOWS} flows"))
            break
        try:
            flows.append(_flow(path, line, frames))
        except InputError as error:
            problems += [replace(one, line=number) for one in error.problems]
        except (AddressError, DataError) as error:
            problems.append(Problem(str(path), number, 0, str(error)))
    if problems:
        raise InputError(problems)
    return flows


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Give the lines that say something, with their numbers."""
    try:
        with TextIOWrapper(open_regular(path), encoding="utf-8") as file:
            number = 0
            while line := file.readline(_MAX_LINE_LEN + 1):
                number += 1
                if len(line) > _MAX_LINE_LEN:
                    says = f"is longer than {_MAX_LINE_LEN} characters"
                    raise InputError([Problem(str(path), number, 0, says)])
                if line.strip() and not line.lstrip().startswith("#"):
                    yield number, line.strip()
    except OSError as error:
        says = f"cannot be read: {error.strerror or error}"
        raise InputError([Problem(str(path), 0, 0, says)]) from error
    except UnicodeDecodeError as error:
        raise InputError([Problem(str(path), 0, 0, "is not UTF-8; save it so")]) from error


def _flow(path: Path, line: str, frames: Frames) -> Given:
    if not line.startswith("{"):
        return Given(FlowKey.parse(line))
    section = validate(parse(line, str(path)), FlowSection)
    return given_of(path.parent, section, frames)


def flows_of_capture(path: str | Path) -> list[Given]:
    """Give each flow of a capture as its client sent it, with its first datagram, or its stream's
    first segment with content, as the payload.

    The client is who sent the first packet, unless that is the answer to a TCP SYN.
    Raises:  DataError: not a capture, or one of too many flows.
    """
    flows: dict[FlowKey, bytes | None] = {}
    for packet in read_packets(path):
        key, answer = _keys(packet)
        if key in flows:
            flows[key] = flows[key] or packet.payload or None
        elif answer not in flows:
            if len(flows) >= _MAX_FLOWS:
                raise DataError(str(path), "has too many flows", f"at most {_MAX_FLOWS}")
            if packet.flags & (_SYN | _ACK) == _SYN | _ACK:
                flows[answer] = None
            else:
                flows[key] = packet.payload or None
    return [Given(key, payload) for key, payload in flows.items()]


def _keys(packet: Packet) -> tuple[FlowKey, FlowKey]:
    """Give the flow if its sender is the client, and if it is the server."""
    forth = FlowKey(packet.transport, packet.source, packet.destination)
    return forth, FlowKey(packet.transport, packet.destination, packet.source)
