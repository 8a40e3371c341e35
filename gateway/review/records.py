"""Recorded traffic → flows that can be judged again.  Owns: reading captures as a gateway would see
them, and decision logs as facts.  Knows: pcap, pcapng, the log's JSON (flow.account).
Never: judging."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from gateway.errors import AddressError, DataError
from gateway.evidence.capture import read_packets
from gateway.evidence.frame import Packet
from gateway.model import (
    Content,
    Endpoint,
    FlowKey,
    Identifier,
    IdentifierKind,
    Protocol,
    Traffic,
    Transport,
)
from gateway.regular import open_regular
from gateway.wire import MAX_FIRST_BYTES_LEN, wants_more

# Flows of one capture that are told apart; a longer one is cut in parts by whoever has it.
_MAX_FLOWS = 1_000_000
# A record is 2 kB; a line without end stops here.
_MAX_LINE_LEN = 1 << 20
_SYN, _ACK = 2, 16


class Sent(NamedTuple):
    """What a client sent, as a gateway judges it."""

    key: FlowKey
    payload: bytes | None
    """A datagram, or a stream's first octets; None: a stream begins."""
    place: str
    """file:frame."""


class Recorded(NamedTuple):
    """One decision of a log."""

    key: FlowKey
    """Its client's address is 0.0.0.0: the log has a pseudonym."""
    client: str
    content: Content | None
    names: tuple[str, ...]
    """All but the last two labels of a name are a digest."""
    place: str
    """file:line."""

    @property
    def flow(self) -> str:
        """The flow as the log has it."""
        ports = self.key.transport.has_ports
        to = str(self.key.destination) if ports else self.key.destination.host
        return f"{self.key.transport} {self.client} > {to}"


def is_log(path: Path) -> bool:
    """Say whether a file is meant to be a decision log; else it is meant to be a capture.

    Raises:  DataError: it cannot be read.
    """
    try:
        with open_regular(path) as file:
            return path.suffix in (".jsonl", ".json") or file.read(1) == b"{"
    except OSError as error:
        raise DataError(str(path), error.strerror or str(error), "a readable file") from error


def sent(path: Path) -> Iterator[Sent]:
    """Give what the clients of a capture sent, in its order.

    Who has the private address of the two is the client; if both or none have, who spoke first.
    Raises:  DataError: not a capture, cut off, or with too many flows.
    """
    clients: dict[tuple[Transport, frozenset[Endpoint]], Endpoint] = {}
    streams: dict[FlowKey, bytes] = {}
    for packet in read_packets(path):
        pair = packet.transport, frozenset((packet.source, packet.destination))
        client = clients.setdefault(pair, _client(packet))
        if len(clients) > _MAX_FLOWS:
            raise DataError(str(path), "has too many flows", f"at most {_MAX_FLOWS:,}")
        if packet.source != client:
            continue
        key = FlowKey(packet.transport, packet.source, packet.destination)
        place = f"{path}:{packet.number}"
        if packet.transport is Transport.UDP:
            yield Sent(key, packet.payload, place)
        else:
            yield from _of_stream(key, packet, streams, place)


def _client(packet: Packet) -> Endpoint:
    if packet.flags & _SYN:
        return packet.destination if packet.flags & _ACK else packet.source
    ends = (packet.source, packet.destination)
    inside = [one for one in ends if ipaddress.ip_address(one.address).is_private]
    return inside[0] if len(inside) == 1 else packet.source


def _of_stream(
    key: FlowKey, packet: Packet, streams: dict[FlowKey, bytes], place: str
) -> Iterator[Sent]:
    """Give a stream's beginning, and its first octets as they grow."""
    if packet.flags & _SYN or key not in streams:
        streams[key] = b""
        yield Sent(key, None, place)
    known = streams[key]
    if packet.payload and (not known or wants_more(known)):
        streams[key] = (known + packet.payload)[:MAX_FIRST_BYTES_LEN]
        yield Sent(key, streams[key], place)


def recorded(path: Path) -> Iterator[Recorded]:
    """Give the decisions of a log, in its order; records of other things are passed over.

    A last line without its end, as a full disk leaves it, is passed over too.
    Raises:  DataError: unreadable, or a line that is no record, with its number.
    """
    try:
        with open_regular(path) as file:
            number = 0
            while line := file.readline(_MAX_LINE_LEN):
                number += 1
                if not line.endswith(b"\n"):
                    if len(line) == _MAX_LINE_LEN:
                        raise DataError(f"{path}:{number}", "has no end", "a line of 1 MiB at most")
                    return
                one = _record(line, f"{path}:{number}")
                if one is not None:
                    yield one
    except OSError as error:
        raise DataError(str(path), error.strerror or str(error), "a readable file") from error


def _record(line: bytes, place: str) -> Recorded | None:
    try:
        record = json.loads(line)
        facts = record.get("facts", {})
        if "to" not in facts:
            return None  # a name that was refused, or a verdict that was not carried out
        transport, client, _, to = record["flow"].split(" ")
        nobody = "0.0.0.0:0" if Transport(transport).has_ports else "0.0.0.0"
        key = FlowKey.parse(f"{transport} {nobody} > {to}")
        names = tuple(str(name) for name in facts["names"])
        return Recorded(key, str(client), _content(facts, names), names, place)
    except (
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        AddressError,
        RecursionError,
    ) as exc:
        what = f"is no record of a decision ({type(exc).__name__}: {exc})"
        raise DataError(place, what, "a line of decisions.jsonl") from exc


def _content(facts: dict[str, Any], names: tuple[str, ...]) -> Content | None:
    if facts["protocol"] is None:
        return None
    found = facts["plaintext"]
    return Content(
        Protocol(facts["protocol"]),
        str(facts["message"] or ""),
        None if facts["traffic"] is None else Traffic(facts["traffic"]),
        None
        if found is None
        else tuple(
            Identifier(IdentifierKind(one["kind"]), int(one["offset"]), int(one["length"]))
            for one in found
        ),
        names,
    )
