"""What nft does with our rules.  Owns: carrying out a table's text on one packet.
Knows: nft(8), as far as our rules use it.  Never: what the rules should do.

A statement that it does not know is an error: no rule is skipped in silence."""

from __future__ import annotations

import ipaddress
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.kernel.table import Table
from gateway.model import Endpoint, pack

_NUMBERS = {"tcp": 6, "udp": 17, "icmp": 1, "ipv6-icmp": 58, "ah": 51}
_TYPES = {"echo-request": (8, 128), "destination-unreachable": (3, 1)}
"""Of ICMP and ICMPv6; others stand in no rule that is tried here by their names."""
_Statement = Callable[["Simulation", "Packet", re.Match[str]], bool]
_TERMINAL = re.compile(
    r"(?P<way>goto|jump) (?P<chain>\w+)|(?P<verdict>accept|drop|return)\b"
    r"|queue(?P<bypass> flags bypass)? to [\d-]+|reject with (?P<how>tcp reset|icmpx \S+)"
)


@dataclass
class Packet:
    """One packet of a client's flow, with what conntrack knows of it."""

    destination: str = "203.0.113.7"
    source: str = "10.1.0.2"
    protocol: int = 17
    sport: int = 5000
    dport: int = 4001
    payload: bytes = b"\x7f"
    checksum: int = 0
    flags: int = 0x10
    """Of TCP."""
    mark: int = 0
    ct: int = 0
    """The flow's mark."""
    iif: str = "eth1"
    oif: str = "up0"
    iif_number: int = 3
    oif_number: int = 4
    is_reply: bool = False
    is_own: bool = False
    """For the gateway itself."""
    is_dnat: bool = False
    is_drawn: bool = False
    """What numgen gives is 0."""
    is_invalid: bool = False
    """Not one that conntrack takes for the flow's."""
    option: str = ""
    """lsrr, ssrr, or "rt": a routing header that is not used up."""

    @property
    def is_six(self) -> bool:
        """Is it of IPv6?"""
        return ":" in self.destination

    def network_header(self) -> bytes:
        """Give what @nh begins with."""
        if self.is_six:
            return struct.pack("!B5xBx", 0x60, 43 if self.option else self.protocol) + self._ends()
        return struct.pack("!B8xBxx", 0x46 if self.option else 0x45, self.protocol) + self._ends()

    def transport_header(self) -> bytes:
        """Give what @th begins with."""
        if self.protocol == _NUMBERS["tcp"]:
            header = struct.pack("!HHIIBB6x", self.sport, self.dport, 1, 1, 5 << 4, self.flags)
            return header + self.payload
        if self.protocol in (_NUMBERS["icmp"], _NUMBERS["ipv6-icmp"]):
            return self.payload
        length = 8 + len(self.payload)
        return struct.pack("!HHHH", self.sport, self.dport, length, self.checksum) + self.payload

    @property
    def length(self) -> int:
        """Its octets, with all headers."""
        return (40 if self.is_six else 20) + len(self.transport_header())

    def _ends(self) -> bytes:
        return pack(self.source) + pack(self.destination)


@dataclass
class Simulation:
    """A table, and what its rules have put into its sets."""

    table: Table
    seen: dict[str, set[object]] = field(default_factory=dict)

    def hooked(self, hook: str, packet: Packet, *, after: int = -1_000) -> str:
        """Send a packet through the chains of a hook whose priority is above `after`; give accept,
        drop, queue, sample (a queue that it may bypass), reset or prohibited."""
        chains = []
        for chain in self.table.chains:
            found = re.search(rf"hook {hook} priority (-?\d+)", chain.hook)
            if found and int(found[1]) > after:
                chains.append((int(found[1]), chain.name))
        for _, name in sorted(chains):
            verdict = self.run(name, packet) or "accept"
            if verdict != "accept":
                return verdict
        return "accept"

    def onward(self, packet: Packet) -> str:
        """Send a packet on that prerouting has let pass: to the gateway itself, or elsewhere."""
        return self.hooked("input" if packet.is_own else "forward", packet)

    def run(self, name: str, packet: Packet) -> str | None:
        """Send a packet through one chain; None: it returns."""
        (chain,) = (one for one in self.table.chains if one.name == name)
        for rule in chain.rules:
            found = self._carried_out(rule, packet)
            if found is None:
                continue
            if found["way"] == "goto":
                return self.run(found["chain"], packet)
            if found["way"] == "jump":
                verdict = self.run(found["chain"], packet)
                if verdict is not None:
                    return verdict
            elif found["verdict"]:
                return None if found["verdict"] == "return" else found["verdict"]
            elif found["how"]:
                return "reset" if found["how"] == "tcp reset" else "prohibited"
            else:
                return "sample" if found["bypass"] else "queue"
        return None

    def _carried_out(self, rule: str, packet: Packet) -> re.Match[str] | None:
        """Carry out a rule's statements; give the one that ends it, None if it does not fit."""
        at = 0
        while at < len(rule):
            if found := _TERMINAL.match(rule, at):
                return found
            found, statement = self._statement(rule, at)
            if not statement(self, packet, found):
                return None
            at = found.end()
        return None

    def _statement(self, rule: str, at: int) -> tuple[re.Match[str], _Statement]:
        for pattern, statement in _STATEMENTS:
            if found := pattern.match(rule, at):
                return found, statement
        raise AssertionError(f"what nft does with this is unknown: {rule[at:]}")

    def has(self, name: str, key: object) -> bool:
        """Say whether something is in a set."""
        (one,) = (one for one in self.table.sets if one.name == name)
        if isinstance(key, int):
            return any(first <= key <= last for first, last in one.ranges)
        return key in self.seen.get(name, ())


def _compare(_: Simulation, packet: Packet, found: re.Match[str]) -> bool:
    value = packet.mark if found[1] == "meta" else packet.ct
    return (value & int(found[2], 16) == int(found[4], 16)) == (found[3] == "==")


def _set_mark(_: Simulation, packet: Packet, found: re.Match[str]) -> bool:
    name = "mark" if found[1] == "meta" else "ct"
    value, number = getattr(packet, name), int(found[3], 16)
    value = value & number | int(found[4] or "0", 16) if found[2] == "and" else value | number
    setattr(packet, name, value)
    return True


def _raw(_: Simulation, packet: Packet, found: re.Match[str]) -> bool:
    base, first, bits, mask, sign, wanted = found.groups()
    header = packet.network_header() if base == "nh" else packet.transport_header()
    octets = header[int(first) // 8 :][: int(bits) // 8]
    if len(octets) < int(bits) // 8:
        return False  # nft breaks off, whatever the sign
    value = int.from_bytes(octets, "big") & int(mask or "f" * 32, 16)
    if sign == ">":
        return value > int(wanted, 16)
    is_one = value in [int(one, 16) for one in wanted.strip("{ }").split(", ")]
    return is_one == (sign != "!=")


def _key(packet: Packet, text: str) -> tuple[object, ...]:
    ports = (packet.sport,) * ("sport" in text) + (packet.dport,) * ("dport" in text)
    return packet.source, packet.destination, packet.protocol, *ports


def _in_seen(simulation: Simulation, packet: Packet, found: re.Match[str]) -> bool:
    is_family = packet.is_six == (found[1] == "ip6")
    return is_family and simulation.has(found[3], _key(packet, found[2]))


def _update(simulation: Simulation, packet: Packet, found: re.Match[str]) -> bool:
    if packet.is_six != (found[2] == "ip6"):
        return False
    simulation.seen.setdefault(found[1], set()).add(_key(packet, found[3]))
    return True


def _destination(simulation: Simulation, packet: Packet, found: re.Match[str]) -> bool:
    if packet.is_six != (found[1] == "ip6"):
        return False
    if found[2].startswith("@"):
        return simulation.has(found[2][1:], int(ipaddress.ip_address(packet.destination)))
    return found[2] == packet.destination


def _dnat(_: Simulation, packet: Packet, found: re.Match[str]) -> bool:
    if packet.is_six == (found[1] == "ip6"):
        to = Endpoint.parse(found[2])
        packet.destination, packet.dport, packet.is_dnat = to.host, to.port, True
    return True


def _redirect(_: Simulation, packet: Packet, found: re.Match[str]) -> bool:
    packet.dport, packet.is_own, packet.is_dnat = int(found[1]), True, True
    return True


def _among(value: object, sign: str | None, wanted: str) -> bool:
    return (str(value) in re.findall(r"[\w.-]+", wanted)) == (not sign)


def _protocol(_: Simulation, packet: Packet, found: re.Match[str]) -> bool:
    named = {number: name for name, number in _NUMBERS.items()}.get(packet.protocol, "other")
    return _among(named, found[1], found[2])


def _icmp(_: Simulation, packet: Packet, found: re.Match[str]) -> bool:
    is_six = bool(found[1])
    wanted = [
        _TYPES[word][is_six] if word in _TYPES else int(word) if word.isdigit() else -1
        for word in re.findall(r"[\w-]+", found[2])
    ]
    is_icmp = packet.protocol == _NUMBERS["ipv6-icmp" if is_six else "icmp"]
    return is_icmp and packet.payload[:1] in [bytes((one,)) for one in wanted if one >= 0]


def _interface(_: Simulation, packet: Packet, found: re.Match[str]) -> bool:
    return _among(packet.iif if found[1] == "iifname" else packet.oif, found[2], found[3])


_STATEMENTS: list[tuple[re.Pattern[str], _Statement]] = [
    (re.compile(rf"(?:{pattern}) ?"), statement)
    for pattern, statement in (
        (r"(meta|ct) mark and (\w+) (==|!=) (\w+)", _compare),
        (r"(meta|ct) mark set \1 mark (and|or) (\w+)(?: or (\w+))?", _set_mark),
        (r"@(nh|th),(\d+),(\d+)(?: and (\w+))?(?: (==|!=|>))? (0x\w+|\{[^}]*\})", _raw),
        (r"(ip6?) saddr (\. [^@]*) @(\w+)", _in_seen),
        (r"update @(\w+) \{ (ip6?) ([^}]*) \}", _update),
        (r"(ip6?) daddr (\S+)", _destination),
        (r"meta l4proto (!= )?(\{[^}]*\}|[\w-]+)", _protocol),
        (r"(iifname|oifname) (!= )?(\{[^}]*\}|\"[^\"]*\")", _interface),
        (r"(iif|oif) (\d+)", lambda _, p, f: getattr(p, f"{f[1]}_number") == int(f[2])),
        (r"dnat (ip6?) to (\S+)", _dnat),
        (r"numgen random mod \d+( !=)? 0", lambda _, p, f: p.is_drawn == (not f[1])),
        (r"fib daddr type != unicast", lambda _, p, f: p.is_own),
        (r"ct direction reply", lambda _, p, f: p.is_reply),
        (r"ct status dnat", lambda _, p, f: p.is_dnat),
        (r"ct state invalid", lambda _, p, f: p.is_invalid),
        (r"ct state established,related", lambda _, p, f: p.is_reply),
        (r"ip6 nexthdr udp", lambda _, p, f: p.is_six and not p.option and p.protocol == 17),
        (r"rt seg-left > 0", lambda _, p, f: p.option == "rt"),
        (r"ip option (\w+) exists", lambda _, p, f: p.option == f[1]),
        (r"ip6 nexthdr tcp", lambda _, p, f: p.is_six and not p.option and p.protocol == 6),
        (r"meta length > (\d+)", lambda _, p, f: p.length > int(f[1])),
        (r"meta length (\d+)", lambda _, p, f: p.length == int(f[1])),
        (r"tcp doff (\d+)", lambda _, p, f: p.protocol == 6 and f[1] == "5"),
        (r"tcp flags & \(fin \| syn \| rst\) == 0", lambda _, p, f: not p.flags & 7),
        (r"icmp(v6)? type (\{[^}]*\}|\S+)", _icmp),
        (r"icmp code != frag-needed", lambda _, p, f: p.payload[1:2] != b"\4"),
        (r"(tcp|udp) dport (\d+)", lambda _, p, f: (p.protocol, p.dport)
         == (_NUMBERS[f[1]], int(f[2]))),
        (r"redirect to :(\d+)", _redirect),
        (r"masquerade|notrack|counter|limit rate \S+", lambda _, p, f: True),
    )
]  # fmt: skip
