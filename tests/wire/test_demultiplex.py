"""Tests of gateway.wire.demultiplex: all recognisers together."""

from __future__ import annotations

from collections import Counter
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.model import UNKNOWN, Protocol, Transport
from gateway.wire import MAX_FIRST_BYTES_LEN, recognise, wants_more
from tests.support.rows import rows
from tests.wire import captures, examples

UDP, TCP = Transport.UDP, Transport.TCP
EXAMPLES = examples.all_of_them()


@rows(
    kind={
        "agora": (UDP, bytes.fromhex("0e0001000300dec0ad0b44332211"), Protocol.AGORA),
        "sd-rtn": (UDP, examples.hello("192-0-2-1.edge.agora.io"), Protocol.SD_RTN),
        "stun": (UDP, examples.STUN, Protocol.STUN),
        "channel data": (UDP, b"\x40\x01\x00\x04" + bytes(4), Protocol.STUN),
        "dtls": (UDP, examples.dtls_client_hello("a.example"), Protocol.DTLS),
        "quic": (UDP, examples.QUIC, Protocol.QUIC),
        "rtp": (UDP, examples.rtp(), Protocol.RTP),
        "rtcp": (UDP, examples.sender_report(), Protocol.RTCP),
        "dns": (UDP, examples.query(), Protocol.DNS),
        "dns with the id of an RTCP packet": (
            UDP,
            b"\x80\xc8" + examples.query()[2:],
            Protocol.DNS,
        ),
        "dns with the id of a channel": (UDP, b"\x40\x01" + examples.query()[2:], Protocol.DNS),
        "tls": (TCP, examples.client_hello("a.example"), Protocol.TLS),
        "tls over UDP": (UDP, examples.client_hello("a.example"), Protocol.UNKNOWN),
        "http": (TCP, examples.REQUEST, Protocol.HTTP),
        "stun over TCP": (TCP, examples.STUN, Protocol.STUN),
        "rtp over TCP": (TCP, b"\x00\xac" + examples.rtp(), Protocol.RTP),
        "dns over TCP": (TCP, b"\x00\x1e" + examples.query(), Protocol.DNS),
        "nothing": (UDP, b"", Protocol.UNKNOWN),
        "nothing over TCP": (TCP, b"", Protocol.UNKNOWN),
        "ssh": (TCP, b"SSH-2.0-OpenSSH_9.2\r\n", Protocol.UNKNOWN),
        "sip": (UDP, b"REGISTER sip:a.example SIP/2.0\r\n\r\n", Protocol.SIP),
        "sip over TCP": (TCP, examples.SIP, Protocol.SIP),
        "zeros": (UDP, bytes(100), Protocol.UNKNOWN),
        "ones": (UDP, b"\xff" * 100, Protocol.UNKNOWN),
    }
)
class RecogniseTests(SynchronousTestCase):
    """One door to all recognisers."""

    def check_kind(self, transport: Transport, payload: bytes, protocol: Protocol) -> None:
        """Each protocol is told from the others, whatever the port."""
        for port in (0, 53, 443, 8000):
            self.assertIs(recognise(transport, payload, port).protocol, protocol, port)

    def test_unknown(self) -> None:
        """What nobody knows has no traffic and may carry anything."""
        self.assertIs(recognise(UDP, b"REGISTER sip:"), UNKNOWN)
        self.assertEqual((UNKNOWN.traffic, UNKNOWN.plaintext), (None, None))


def check_content(case: SynchronousTestCase, transport: Transport, payload: bytes) -> None:
    """A content holds together, whatever the bytes."""
    content = recognise(transport, payload)
    if content.protocol is Protocol.UNKNOWN:
        case.assertIs(content, UNKNOWN)
        return
    offsets = [identifier.offset for identifier in content.plaintext or ()]
    case.assertEqual(offsets, sorted(set(offsets)))
    for identifier in content.plaintext or ():
        case.assertGreater(identifier.length, 0)
        case.assertLessEqual(identifier.offset + identifier.length, len(payload))
    for name in content.names:
        case.assertTrue(name and name == name.lower() and not name.endswith("."), name)


class AnyBytesTests(SynchronousTestCase):
    """A content for all bytes, an exception for none."""

    @settings(deadline=None, max_examples=300)
    @given(st.sampled_from(Transport), st.binary(max_size=300))
    def test_noise(self, transport: Transport, payload: bytes) -> None:
        """Noise never raises."""
        check_content(self, transport, payload)
        wants_more(payload)

    @settings(deadline=None, max_examples=600)
    @given(
        st.sampled_from(EXAMPLES),
        st.integers(0, 400),
        st.binary(max_size=6),
        st.integers(0, 1300),
    )
    def test_mutated(
        self, example: tuple[Transport, bytes], at: int, patch: bytes, end: int
    ) -> None:
        """Legal bytes with some of them changed, or cut, never raise."""
        transport, payload = example
        payload = payload[:at] + patch + payload[at + len(patch) :]
        for candidate in (payload, payload[:end]):
            check_content(self, transport, candidate)
            wants_more(candidate)

    def test_every_cut(self) -> None:
        """Legal bytes cut anywhere, or with a tail, never raise."""
        for transport, payload in EXAMPLES:
            for end in range(len(payload)):
                check_content(self, transport, payload[:end])
            check_content(self, transport, payload + b"\0" * 3)


class FalseClaimTests(SynchronousTestCase):
    """Ciphertext of unknown protocols stays unknown: a policy would trust the claim."""

    def test_datagrams(self) -> None:
        """Of random datagrams less than 0.5 % are claimed, none but as RTP or RTCP.

        RTP has no magic number: 2 of 256 first octets, and 56 of 128 payload types behind them,
        make 0.34 %.  RTCP proves itself by about 15 bits, ChannelData by 20, all others by more.
        """
        chance, claims = Random(2021), Counter[Protocol]()
        count = 20_000
        for _ in range(count):
            payload = chance.randbytes(chance.randint(20, 1200))
            claims[recognise(UDP, payload).protocol] += 1
        self.assertLess(count - claims[Protocol.UNKNOWN], count * 0.005)
        self.assertLessEqual(set(claims), {Protocol.UNKNOWN, Protocol.RTP, Protocol.RTCP})

    def test_other_first_octets(self) -> None:
        """Random datagrams that do not begin like RTP are never claimed."""
        chance = Random(2022)
        for _ in range(20_000):
            payload = bytes((chance.choice((0, 1, 22, 64, 100, 192, 255)),)) + chance.randbytes(200)
            self.assertIs(recognise(UDP, payload), UNKNOWN, payload.hex())

    def test_recognisers_of_apps(self) -> None:
        """Of random datagrams that begin as an app's do, and are as long as its may be, less than
        one in 1,000 is claimed: with the first octet that is less than one in 100,000 of all."""
        chance, claimed = Random(2024), 0
        kinds = ((1, 148), (2, 92), (4, 160), (5, 200), (0x13, 8), (0, 74))
        for _ in range(20_000):
            first, length = chance.choice(kinds)
            payload = bytes((first,)) + chance.randbytes(length - 1)
            claimed += recognise(UDP, payload) is not UNKNOWN
        self.assertLess(claimed, 20)

    def test_streams(self) -> None:
        """Of random streams less than 0.1 % are claimed, and none is waited for."""
        chance, claimed = Random(2023), 0
        for _ in range(10_000):
            payload = chance.randbytes(chance.randint(20, 1200))
            claimed += recognise(TCP, payload) is not UNKNOWN
            self.assertFalse(wants_more(payload), payload.hex())
        self.assertLess(claimed, 10)


class WantsMoreTests(SynchronousTestCase):
    """When to wait for more of a stream."""

    def test_legal_beginnings(self) -> None:
        """More is wanted at every cut of a legal beginning, and never of a whole one."""
        for transport, payload in EXAMPLES:
            if transport is TCP:
                for end in range(len(payload)):
                    self.assertTrue(wants_more(payload[:end]), payload[:end].hex())
                self.assertFalse(wants_more(payload), payload.hex())

    def test_bound(self) -> None:
        """Nobody waits from 16 KiB on."""
        head = b"GET / HTTP/1.1\r\nX: "
        almost = head + b"a" * (MAX_FIRST_BYTES_LEN - 1 - len(head))
        self.assertTrue(wants_more(almost))
        self.assertFalse(wants_more(almost + b"a"))

    def test_something_else(self) -> None:
        """Nothing is waited for in a stream of another protocol."""
        for payload in (b"SSH-2.0-x\r\n", b"\xff" * 8, b"EHLO a.example\r\n"):
            self.assertFalse(wants_more(payload), payload)


@rows(
    capture={
        name: (name, protocols)
        for name, protocols in {
            "agora-sd-rtn.pcap": {Protocol.SD_RTN},
            "dtls2.pcap": {Protocol.DTLS},
            "skype-conference-call.pcap": {Protocol.STUN, Protocol.RTP, Protocol.RTCP},
            "stun.pcap": {Protocol.STUN, Protocol.DTLS, Protocol.RTP, Protocol.RTCP},
            "stun_signal.pcapng": {Protocol.STUN, Protocol.RTP, Protocol.RTCP},
            "quic-v2.pcapng": {Protocol.QUIC},
            "quic_q46.pcap": {Protocol.QUIC},
            "gquic.pcap": {Protocol.QUIC},
            "teamspeak3.pcap": set[Protocol](),
            "discord.pcap": {Protocol.DISCORD, Protocol.RTP, Protocol.RTCP, Protocol.TLS},
            "sip_hello.pcapng": {Protocol.SIP},
            "sip.pcap": {Protocol.SIP, Protocol.RTP, Protocol.RTCP},
        }.items()
    }
)
class ForeignCaptureTests(SynchronousTestCase):
    """Other people's traffic, outside the project: no protocol is seen that is not there."""

    def check_capture(self, name: str, protocols: set[Protocol]) -> None:
        """Each capture shows its own protocols, and nothing else is claimed but look-ups."""
        seen = {
            recognise(packet.transport, packet.payload, packet.destination.port).protocol
            for packet in captures.packets(captures.foreign(name))
        }
        self.assertEqual(seen - {Protocol.UNKNOWN, Protocol.DNS}, protocols)


class EncryptedSdkTests(SynchronousTestCase):
    """The SDK after the disclosure, outside the project."""

    def test_of_3_4_1(self) -> None:
        """Everything it sends is recognised, and no identifier is found in it."""
        seen: Counter[Protocol] = Counter()
        for packet in captures.packets(captures.live(captures.ENCRYPTED)):
            content = recognise(packet.transport, packet.payload, packet.destination.port)
            self.assertEqual(content.plaintext, (), packet)
            seen[content.protocol] += 1
        self.assertEqual(set(seen), {Protocol.SD_RTN, Protocol.TLS, Protocol.DNS})
        self.assertEqual(seen[Protocol.SD_RTN], 867)
