"""The finders on real traffic, the recognisers off: what is there is found, and nothing else."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.leaks import Certainty, Finding, Scope, SweepFinder, UnnamedFinder
from tests.leaks.clients import ALICE, BOB, CAROL, Rewrite, another, datagrams, replay
from tests.support.rows import rows
from tests.wire import captures

NOPONG = "agora312-GLOB-session-audience-nopong"
NOREPLY = "agora312-area-GLOB-noreply"
BOBS = another(bytes.fromhex("9a7b5c3d"))
NEXT = another(bytes.fromhex("45332211"), text=b"287454021")
CAROLS = another(bytes.fromhex("01e35261"), bytes.fromhex("7733a10c"), b"1632756481")


def found(*sides: tuple[bytes, str, Rewrite | None]) -> list[Finding]:
    """Replay captures as clients, and give what is found of users and rooms."""
    finder = UnnamedFinder()
    rewrite = {client: how for client, _, how in sides if how is not None}
    replay(
        finder,
        *((client, datagrams(captures.live(name))) for client, name, _ in sides),
        rewrite=rewrite,
    )
    return [one for one in finder.findings() if one.scope is not Scope.FLOW]


def places(name: str, kind: str) -> set[tuple[int, int]]:
    """Give (length, offset) of the user's or room's number, as the independent decoder says."""
    octets = {"uid": bytes.fromhex("44332211"), "cid": bytes.fromhex("dec0ad0b")}[kind]
    return {
        (len(line.payload), line.payload.find(octets))
        for line in captures.lines(name)
        if octets in line.payload
    }


@rows(
    together={
        "a speaker and another": (captures.SPEAKER, captures.SPEAKER, BOBS),
        "the next number": (captures.SPEAKER, captures.SPEAKER, NEXT),
        "two captures": (captures.SPEAKER, captures.TOKEN, BOBS),
        "a speaker and an audience": (captures.SPEAKER, NOPONG, BOBS),
        "the next number, two captures": (captures.TOKEN, NOPONG, NEXT),
        "two who ping three edges": (NOPONG, NOPONG, BOBS),
    },
    encrypted={
        "the encrypted successor": ((captures.ENCRYPTED,), ()),
        "two of it, different clients": ((captures.ENCRYPTED,), ("agora-sd-rtn.pcap",)),
        "DTLS": ((), ("dtls2.pcap", "stun.pcap")),
        "QUIC": ((), ("quic-v2.pcapng", "quic_q46.pcap", "gquic.pcap")),
        "calls": ((), ("wa_voice.pcap", "discord.pcap", "skype-conference-call.pcap")),
        "games and SIP": ((), ("teamspeak3.pcap", "sip.pcap", "rtp.pcapng", "stun_signal.pcapng")),
    },
    sweep={
        "joins": (captures.SPEAKER, 309),
        "another area": (captures.TOKEN, 309),
        "hellos of the encrypted successor": (captures.ENCRYPTED, 186),
    },
    no_sweep={
        "DTLS": ("dtls2.pcap",),
        "QUIC": ("quic-v2.pcapng",),
        "SIP": ("sip.pcap",),
        "games": ("teamspeak3.pcap",),
        "STUN": ("stun.pcap",),
        "a call": ("skype-conference-call.pcap",),
    },
)
class CaptureTests(SynchronousTestCase):
    """The researchers' finding, without the protocol."""

    def check_together(self, one: str, other: str, rewrite: Rewrite) -> None:
        """Two users in one room: both ids and the room are found where they are."""
        findings = found((ALICE, one, None), (BOB, other, rewrite))
        self._points_at(findings, Scope.USER, places(one, "uid"))
        self._points_at(findings, Scope.ROOM, places(one, "cid"))

    def test_join(self) -> None:
        """Unanswered joins give the user away."""
        findings = found((ALICE, NOREPLY, None), (BOB, NOREPLY, BOBS))
        self.assertEqual([one.scope for one in findings], [Scope.USER])
        self._points_at(findings, Scope.USER, places(NOREPLY, "uid"))

    def test_another_room(self) -> None:
        """A third client in another room makes the room likely, and is not in it."""
        findings = found((ALICE, NOPONG, None), (BOB, NOPONG, BOBS), (CAROL, NOPONG, CAROLS))
        rooms = [one for one in findings if one.scope is Scope.ROOM]
        self.assertEqual({one.clients for one in rooms}, {(ALICE, BOB)})
        self.assertEqual({one.certainty for one in rooms}, {Certainty.LIKELY})
        self._points_at(findings, Scope.USER, places(NOPONG, "uid"))

    def test_three_captures(self) -> None:
        """Of different calls, what is told as a room is a part of the room's number or name."""
        findings = found(
            (ALICE, captures.SPEAKER, None), (BOB, captures.TOKEN, BOBS), (CAROL, NOPONG, CAROLS)
        )
        rooms = [one for one in findings if one.scope is Scope.ROOM]
        self.assertTrue(rooms)
        payloads = [line.payload for line in captures.lines(captures.SPEAKER)]
        for span in (span for one in rooms for span in one.spans):
            octets = {
                payload[span.offset : span.offset + span.length]
                for payload in payloads
                if len(payload) == span.shortest
            }
            known = (captures.CHANNEL, captures.CID.to_bytes(4, "little"))
            self.assertTrue(
                not octets or any(one in whole for one in octets for whole in known), span
            )

    def test_same_user(self) -> None:
        """One user's number in two captures is not told as two users'."""
        for one in found((ALICE, captures.SPEAKER, None), (BOB, captures.SPEAKER, None)):
            self.assertNotIn(one.scope, (Scope.USER, Scope.ROOM))

    def test_alone(self) -> None:
        """One client: constants are told as what they are."""
        findings = found((ALICE, captures.SPEAKER, None))
        self.assertEqual([one.scope for one in findings], [Scope.UNTOLD])

    def check_encrypted(self, ours: tuple[str, ...], theirs: tuple[str, ...]) -> None:
        """Encrypted traffic, each capture as another client and all together: no user, no room."""
        finder = UnnamedFinder()
        files = [captures.live(name) for name in ours] + [captures.foreign(name) for name in theirs]
        sides = [
            (bytes([10, 9, 0, number]), datagrams(path, client))
            for number, path in enumerate(files)
            for client in ("10.", "192.168.")
        ]
        self.assertTrue(any(is_sent for _, of in sides for *_, is_sent in of))
        replay(finder, *sides, rewrite={})
        told = [one for one in finder.findings() if one.scope not in (Scope.FLOW, Scope.UNTOLD)]
        self.assertEqual(told, [])

    def check_sweep(self, name: str, length: int) -> None:
        """The vendor's sweeps are told."""
        finder = SweepFinder()
        replay(finder, (ALICE, datagrams(captures.live(name))), rewrite={})
        self.assertIn(length, {one.spans[0].longest for one in finder.findings()})

    def check_no_sweep(self, name: str) -> None:
        """What is no sweep is not told as one."""
        finder = SweepFinder()
        replay(finder, (ALICE, datagrams(captures.foreign(name), "")), rewrite={})
        self.assertEqual(finder.findings(), [])

    def _points_at(
        self, findings: list[Finding], scope: Scope, known: set[tuple[int, int]]
    ) -> None:
        """Ask that a finding of this scope names a place that the independent decoder knows."""
        spans = [span for one in findings if one.scope is scope for span in one.spans]
        self.assertTrue(
            any(
                span.offset <= offset < span.offset + span.length
                and span.length >= 4
                and span.shortest <= length <= span.longest
                for span in spans
                for length, offset in known
            ),
            f"{scope}: {spans}",
        )
