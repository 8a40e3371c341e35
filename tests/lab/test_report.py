"""Tests of the report: what is counted on the uplink, in IPv4 and IPv6 alike."""

from __future__ import annotations

import struct

from twisted.trial.unittest import SynchronousTestCase

from gateway.evidence.frame import Frame
from gateway.model import Endpoint
from tests.lab.report import Row, handshakes_of, of_blocked
from tests.lab.topology import Lab, Space
from tests.lab.wire import Wire
from tests.support.rows import rows

_CLIENTS = ("10.1.0.2:5000", "[2001:db8:1::2]:5000")
_PLACES = ("198.51.100.7", "2001:db8:a::7")
_OTHERS = ("198.51.100.8:80", "[2001:db8:a::8]:80")
_FAMILIES = {"IPv4": (0,), "IPv6": (1,)}


def frame(number: int, source: str, to: str, payload: bytes, *, protocol: int = 17) -> Frame:
    """Build an Ethernet frame with a UDP datagram, or a TCP segment (6), or with the payload alone
    behind the IP header; no checksums."""
    ends = Endpoint.parse(source), Endpoint.parse(to)
    ports = struct.pack(">HH", ends[0].port, ends[1].port)
    head = {
        17: ports + struct.pack(">HH", 8 + len(payload), 0),
        6: ports + bytes(8) + b"\x50\x10" + bytes(6),
    }
    body = head.get(protocol, b"") + payload
    addresses = ends[0].address + ends[1].address
    if len(addresses) == 8:
        fixed = struct.pack(">BBHIBBH", 0x45, 0, 20 + len(body), 0, 64, protocol, 0)
        network = b"\x08\x00" + fixed + addresses
    else:
        network = b"\x86\xdd" + struct.pack(">IHBB", 6 << 28, len(body), protocol, 64) + addresses
    return Frame(number, float(number), 1, bytes(12) + network + body)


class _Kept(Wire):
    """A wire by which certain frames passed."""

    def __init__(self, frames: list[Frame]) -> None:
        super().__init__(Lab(), Space.GATEWAY, "uplink")
        self._kept = frames

    def frames(self) -> list[Frame]:
        """Wire API."""
        return self._kept


def _row(destination: str, verdict: str, *, is_awaited: bool = False) -> Row:
    return Row(destination, 1, 0, 0, (verdict,) if verdict else (), is_awaited)


@rows(host=_FAMILIES, endpoint=_FAMILIES, handshake=_FAMILIES)
class CountingTests(SynchronousTestCase):
    """What must not be on the uplink is found there."""

    def at(self, six: int, port: int) -> str:
        """Give an endpoint of the place."""
        return f"[{_PLACES[1]}]:{port}" if six else f"{_PLACES[0]}:{port}"

    def check_host(self, six: int) -> None:
        """Of an address of which everything was blocked, each frame counts, whatever its protocol,
        to it and from it; whether Python blocked it or the kernel by itself."""
        client, place = _CLIENTS[six], self.at(six, 80)
        wire = _Kept(
            [
                frame(1, client, place, b"ping"),
                frame(2, place, client, b"", protocol=6),
                frame(3, client, place, bytes(8), protocol=132),
                frame(4, client, _OTHERS[six], b"ping"),
            ]
        )
        for verdict in ("block never", ""):
            blocked = [_row(f"udp {place}", verdict), _row(f"udp {_OTHERS[six]}", "allow rest")]
            self.assertEqual(of_blocked(blocked, wire), {1, 2, 3})

    def check_endpoint(self, six: int) -> None:
        """Of an address of which only something was blocked, that counts."""
        client = _CLIENTS[six]
        wire = _Kept(
            [
                frame(1, client, self.at(six, 80), b"ping"),
                frame(2, self.at(six, 81), client, b"pong"),
                frame(3, client, self.at(six, 81), b"ping", protocol=6),
            ]
        )
        both = [_row(f"udp {self.at(six, 80)}", "allow rest"), _row(f"udp {self.at(six, 81)}", "")]
        self.assertEqual(of_blocked(both, wire), {2})

    def check_handshake(self, six: int) -> None:
        """Segments without an octet are told apart where the stream's content was awaited, and
        nowhere else."""
        client, place = _CLIENTS[six], self.at(six, 443)
        wire = _Kept([frame(n, client, place, b"x" * (n - 1), protocol=6) for n in (1, 2)])
        for is_awaited, expected in ((True, {1}), (False, set[int]())):
            row = _row(f"tcp {place}", "block never", is_awaited=is_awaited)
            self.assertEqual(handshakes_of([row], wire), expected)
            self.assertEqual(of_blocked([row], wire), {1, 2})
