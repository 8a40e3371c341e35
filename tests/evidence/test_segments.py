"""gateway.evidence.segments: who shares a segment shares evidence, and addresses have one text."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway import geo
from gateway.evidence.segments import segment_of
from gateway.evidence.texts import host_text
from gateway.model import Axis, Evidence, pack, unpack
from tests.geo import worlds
from tests.support.bundled import DAY, atlas
from tests.support.epochs import FakeAtlas
from tests.support.rows import rows

NESTED = [
    geo.Override(network="198.18.0.0/15", location="US", reason="outer"),
    geo.Override(network="198.18.64.0/18", location="CN", reason="inner"),
    geo.Override(network="198.18.96.0/24", location="US", reason="innermost"),
]
SPARSE = st.lists(st.sampled_from([0, 0, 0, 1, 0xFFFF, 0x10, 0xABC]), min_size=8, max_size=8).map(
    lambda groups: b"".join(group.to_bytes(2) for group in groups)
)


@rows(
    text={
        text: (text,)
        for text in (
            *("0.0.0.0", "192.0.2.1", "255.255.255.255", "::", "::1", "::ffff", "1::", "1::1"),
            *("::102:304", "64:ff9b::c000:201", "2001:db8::1", "1:0:0:2::3", "1:0:2:3:4:5:6:7"),
            *("::ffff:0:102:304", "0:1::", "2001:db8:0:1:1:1:1:1", "fe80::5efe:c000:201"),
        )
    },
)
class HostTextTests(SynchronousTestCase):
    """An address has the same text as everywhere else."""

    def check_text(self, text: str) -> None:
        """Text comes back as it was."""
        self.assertEqual(host_text(pack(text)), text)

    @settings(deadline=None, max_examples=500)
    @given(st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16) | SPARSE)
    def test_any_address(self, address: bytes) -> None:
        """It is the text of model.unpack."""
        self.assertEqual(host_text(address), unpack(address))


def words(evidence: tuple[Evidence, ...], prefix: str) -> list[Evidence]:
    """Give evidence with a segment's prefix left out."""
    return [replace(one, prefix="") if one.prefix == prefix else one for one in evidence]


class SegmentTests(SynchronousTestCase):
    """A segment's number and prefix are all that evidence rests on."""

    def check_alike(self, over: geo.Atlas, addresses: list[bytes]) -> None:
        """Addresses with the same number have the same evidence, prefixes aside."""
        by_number: dict[int, list[Evidence]] = {}
        for address in addresses:
            segment = segment_of(over, address)
            assert segment is not None
            said = words(over.evidence(address, widest=False), segment.prefix)
            self.assertEqual(by_number.setdefault(segment.words, said), said)
            if segment.prefix:
                self.assertEqual({one.prefix for one in said} - {""}, set())
        self.assertLess(len(by_number), len(addresses))

    def test_bundled(self) -> None:
        """So it is over the bundled data, in both families."""
        step = 0x0101_0101 * 3 // 7
        self.check_alike(
            atlas(), [(step * number % (1 << 32)).to_bytes(4) for number in range(999)]
        )
        heads = (0x2001_4860, 0x2600_1F18, 0x2408_8000, 0x2A00_1450)
        self.check_alike(
            atlas(),
            [(head << 96 | number << 76).to_bytes(16) for number in range(99) for head in heads],
        )

    def test_overrides(self) -> None:
        """So it is where overrides cut each other, and special-purpose networks, into pieces."""
        over = geo.load([geo.Bundled()], NESTED, today=DAY, max_age_days=120)
        addresses = [bytes([198, 18, octet, 1]) for octet in range(256)]
        self.check_alike(over, addresses + [bytes([10, octet, 0, 1]) for octet in range(256)])
        found = {segment_of(over, address) for address in addresses}
        self.assertEqual({segment.prefix for segment in found if segment}, {""})
        self.assertEqual(len(found), 3)

    def test_more_than_a_segment(self) -> None:
        """Where evidence rests on more, there is no segment."""
        for text in ("2002:c000:201::1", "64:ff9b::808:808", "2600:1f18::5efe:808:808", "::1"):
            self.assertIsNone(segment_of(atlas(), pack(text)))
        self.assertIsNone(segment_of(FakeAtlas(), pack("192.0.2.1")))

    def test_databases(self) -> None:
        """A database of the user's has other networks than the bundled data: no segment."""
        path = Path(self.mktemp())
        worlds.write_mmdb(path, {"8.8.8.0/30": {"country": {"iso_code": "CN"}}})
        today = datetime.now(UTC).date()
        for max_age_days in (36_500, 0):
            over = geo.load(
                [geo.Bundled(), geo.Mmdb(path, Axis.LOCATION)],
                today=today,
                max_age_days=max_age_days,
            )
            self.assertIsNone(segment_of(over, pack("8.8.8.1")))
