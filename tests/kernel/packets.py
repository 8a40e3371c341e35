"""Packets of every kind, for the simulation.  Owns: drawing them, their like in IPv6.
Knows: hypothesis, marks.  Never: what becomes of them."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from gateway.kernel import ruleset
from gateway.kernel.marks import BLOCK, BLOCK_PLACE, OTHERS_MASK, REFUSE, REFUSE_PLACE, mark
from tests.kernel.simulation import Packet
from tests.kernel.test_ruleset import ROUTER

TABLE = ruleset.render(replace(ROUTER, spot_check=100))
NOW = ROUTER.epoch
TARGETS = {0, *ROUTER.targets}
_PAIRS = {
    "203.0.113.7": "2001:db8:a::7",
    "198.51.100.7": "2001:db8::8",
    "10.1.0.2": "2001:db8:1::2",
}
"""Places with and without a denial, and the client, in both families."""

_ICMP = {3: 1, 4: 3, 5: 137, 8: 128, 11: 3, 12: 4}
"""Types of ICMP and their like of ICMPv6 (source quench has none); "too big" is a code of 3."""

EPOCHS = st.sampled_from([0, NOW - 1, NOW, NOW + 1, 255])
NUMBERS = st.sampled_from([*TARGETS, 200, REFUSE_PLACE, REFUSE, 253, BLOCK_PLACE, BLOCK])
_MARKS = st.builds(
    lambda epoch, target, others, flags: mark(epoch, target, flags) | others << 8,
    EPOCHS,
    NUMBERS,
    st.integers(0, 255),
    st.integers(0, 255),
)
PACKETS = st.builds(
    Packet,
    destination=st.sampled_from(["203.0.113.7", "198.51.100.7"]),
    protocol=st.sampled_from([17, 17, 6, 1, 132]),
    sport=st.integers(1, 9),
    flags=st.sampled_from([0x02, 0x10, 0x11, 0x18]),
    payload=st.binary(max_size=30)
    | st.sampled_from([b"\3\1error", b"\3\4too big", b"\x0b\0late", b"\x08\0echo"])
    | st.binary(max_size=30).map(lambda octets: b"\x80" + octets),
    checksum=st.sampled_from([0, 0x15]),
    mark=_MARKS,
    ct=_MARKS,
    oif=st.sampled_from(["up0", "wg1", "wg0"]),
    is_drawn=st.booleans(),
    is_dnat=st.booleans(),
    option=st.sampled_from(["", "", "", "lsrr"]),
)


def six(packet: Packet) -> Packet:
    """Give the same packet in IPv6."""
    ends = _PAIRS[packet.destination], _PAIRS[packet.source]
    other = replace(packet, destination=ends[0], source=ends[1])
    other.option = "rt" if packet.option else ""
    if packet.protocol == 1:
        kind = _ICMP.get(packet.payload[0], 200) if packet.payload else 0
        other.protocol = 58
        other.payload = bytes((2 if packet.payload[:2] == b"\3\4" else kind,)) + packet.payload[1:]
    return other


def others(packet: Packet) -> tuple[int, int]:
    """Give what belongs to other software."""
    return packet.mark & OTHERS_MASK, packet.ct & OTHERS_MASK
