"""What the toy gateway blocks: where it dies, and what its client is told."""

from __future__ import annotations

import errno
import re
import socket
import struct
from functools import partial
from typing import ClassVar

from gateway.model import pack
from tests.kernel.toy_case import FAMILIES, ToyCase, both
from tests.lab.router_case import Flood
from tests.lab.topology import Space

_DENIED = ("198.51.100.7:8000", "[2001:db8:c::7]:8000")
_REFUSED = ("198.51.100.9:8000", "[2001:db8:c::9]:8000")
_TOLD = {socket.SOCK_STREAM: (errno.ECONNREFUSED,) * 2,
         socket.SOCK_DGRAM: (errno.EHOSTUNREACH, errno.EACCES)}  # fmt: skip
"""What a client is told in IPv4 and IPv6: a reset, or ICMP "administratively prohibited"."""


def _range(host: str) -> tuple[tuple[int, int], ...]:
    number = int.from_bytes(pack(host), "big")
    return ((number, number),)


class RefusalTests(ToyCase):
    """Blocks of both kinds and manners."""

    OPTIONS: ClassVar = {
        "denied4": _range("198.51.100.7"),
        "denied6": _range("2001:db8:c::7"),
        "refused4": _range("198.51.100.9"),
        "refused6": _range("2001:db8:c::9"),
        "block_s": 600,  # longer than any test takes
    }

    def test_silent(self) -> None:
        """What is denied, by place or by a rule, is met with silence; nothing reaches it by any
        protocol, and of denied places nobody is asked."""
        for kind in _TOLD:
            for pair in (_DENIED, both(3)):
                for to in pair:
                    self.assertIsNone(self.told(to, kind), to)
        for to in _DENIED:
            self.assertFalse(self.echo(to, wait_s=0.2))
        self.assert_none(*_DENIED, *both(3))
        asked = {one.octets[16:20] for one in self.toy.asked if one.octets[0] >> 4 == 4}
        self.assertEqual(asked, {pack("192.0.2.1"), pack("192.0.2.3")})

    def test_told(self) -> None:
        """What is refused, by place or by a rule, is told so, the first time and again."""
        for kind, numbers in _TOLD.items():
            for pair in (_REFUSED, both(8)):
                for six in FAMILIES:
                    for _ in range(2):
                        error = self.told(pair[six], kind)
                        self.assertEqual(error and error.errno, numbers[six], (pair, kind))
        self.assert_none(*_REFUSED, *both(8))

    def test_remembered(self) -> None:
        """A flow that the gate blocked dies in the kernel from then on: the queue sees one packet
        of it; of a place that it blocked for TCP, one of all flows to it."""
        for pair in (both(3), both(8)):
            for to in pair:
                self.toy.asked.clear()
                client = self.client(to)
                self.send(client, to, b"\x7fnoise")
                self.until(lambda: len(self.toy.asked) == 1, "it never asked")
                self.assert_none(to)
                before = len(self.toy.asked)
                for _ in range(200):
                    try:
                        self.send(client, to, b"\x7fnoise")
                    except OSError as error:  # told so, by the datagram before
                        self.assertIn(error.errno, _TOLD[socket.SOCK_DGRAM])
                self.sentinel()
                self.assertEqual(len(self.toy.asked), before + 2)
                for _ in range(3):
                    self.told(to, socket.SOCK_STREAM)
                self.assertEqual(len(self.toy.asked), before + 2 + 1 + 3 * 2)
        listing = self.nft()
        for prefix, last in (("", 3), ("refused_", 8)):
            for six in FAMILIES:
                host = self.host(both(last)[six])
                for kind, ports in (("flows", r"udp \. \d+ \. 8000"), ("places", r"tcp \. 8000")):
                    name = f"{prefix}{kind}{6 if six else 4}"
                    found = re.search(rf"set {name} {{.*?\n\t}}", listing, re.DOTALL)
                    assert found is not None
                    self.assertRegex(found[0], rf"{host} \. {ports} expires \d", name)

    def test_flood(self) -> None:
        """A flood to blocked places does not reach the queue, so that what is new is still
        judged."""
        for six in FAMILIES:
            client = self.client(both(3)[six])
            to = [_DENIED[six], both(3)[six], _REFUSED[six]]
            self.send(client, both(3)[six], b"\x7fnoise")
            self.sentinel()
            self.toy.asked.clear()
            with self.flood(client, to, b"\x7fnoise...") as flood:
                self.until(partial(self.has_sent, flood, 1_000), "no flood")
                self.sentinel()
            self.assertEqual(len(self.toy.asked), 2)  # the sentinels
        self.assert_none(*_DENIED, *both(3), *_REFUSED)

    def has_sent(self, flood: Flood, rounds: int) -> bool:
        """Say whether a flood has gone on for so long."""
        return flood.sent > rounds

    def test_place_of_known(self) -> None:
        """A flow that was let go is stopped by the epoch that denies its place: a stream is reset,
        datagrams die, and its answers stop."""
        streams = [self.connect(to) for to in both(5)]
        clients = [self.client(to) for to in both(5)]
        for six in FAMILIES:
            streams[six].sendall(b"before")
            self.assertEqual(self.hear(streams[six], 6), b"before")
            self.ask(clients[six], both(5)[six], b"\x7fa")
        denied = [_range(self.host(to)) for to in both(5)]
        self.toy.change(epoch=2, denied4=denied[0], denied6=denied[1])
        self.toy.asked.clear()
        passed = len(self.uplink.between(*map(self.host, both(5))))
        inside = self.wire(Space.GATEWAY, "clients")
        for six in FAMILIES:
            streams[six].sendall(b"after")
            self.assertRaises(ConnectionResetError, self.hear, streams[six], 1)
            self.send(clients[six], both(5)[six], b"\x7fb")
            self.answer_late(six, clients[six])
        self.sentinel()
        self.assertEqual([one for one in inside.packets() if one.payload == b"late"], [])
        late = [one for one in self.uplink.packets() if one.payload == b"late"]
        self.assertEqual(len(late), 2)
        frames = self.uplink.between(*map(self.host, both(5)))
        self.assertEqual(len(frames), passed + len(late))
        self.assertEqual(len(self.toy.asked), 2)  # the sentinels

    def answer_late(self, six: int, client: socket.socket) -> None:
        """Have an edge send a client one datagram more."""
        family = socket.AF_INET6 if six else socket.AF_INET
        with self.lab.socket(Space.INTERNET, family, socket.SOCK_DGRAM) as late:
            late.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            late.setsockopt(*((41, 75) if six else (socket.SOL_IP, 19)), 1)  # transparent
            late.bind((self.host(both(5)[six]), 8000))
            late.sendto(b"late", (self.lab.CLIENT[six], client.getsockname()[1]))


class SourceRouteTests(ToyCase):
    """Packets that say which way they want to go."""

    def lay(self) -> None:
        """ToyCase API: the kernels themselves would take such packets."""
        for space in (Space.CLIENT, Space.GATEWAY):
            for name in (
                "ipv4.conf.all",
                "ipv4.conf.clients",
                "ipv6.conf.all",
                "ipv6.conf.clients",
            ):
                self.lab.run(space, ["sysctl", "-qw", f"net.{name}.accept_source_route=1"])

    def test_dropped(self) -> None:
        """They go nowhere, not even to where their address alone would be let go, and nobody is
        asked; our own rules drop them."""
        datagram = struct.pack("!HHHH", 5000, 8000, 14, 0) + b"\x7froute"
        ends = pack(self.lab.CLIENT[0]) + pack(self.host(both(1)[0]))
        with self.lab.socket(
            Space.CLIENT, socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW
        ) as client:
            for kind in (0x83, 0x89):  # RFC 791 section 3.1: loose, and strict
                option = bytes((kind, 7, 4)) + pack("198.51.100.7") + b"\0"
                header = struct.pack("!BBHHHBBH", 0x47, 0, 42, 1, 0, 64, 17, 0) + ends + option
                client.sendto(header + datagram, (self.host(both(1)[0]), 0))
        with self.lab.socket(Space.CLIENT, socket.AF_INET6, socket.SOCK_RAW, 43) as client:
            # RFC 8200 section 4.4: type 0, one address left; UDP follows.
            header = struct.pack("!BBBBI", 17, 2, 0, 1, 0) + pack("2001:db8:c::7")
            client.sendto(header + datagram, (self.host(both(1)[1]), 0))
        self.sentinel()
        self.assertNotIn(b"\x7froute", b"".join(one.octets for one in self.uplink.frames()))
        self.assertEqual(len(self.toy.asked), 2)  # the sentinels
        counts = re.findall(r"counter packets (\d+)", self.nft("chain", "unusual"))
        self.assertEqual(counts[-3:], ["1", "1", "1"])
