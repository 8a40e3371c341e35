"""Tests of gateway.wire.quic_hello and quic_protection: what is read in Initials."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.model import Content, Protocol, Traffic
from gateway.wire import QUIC_IN_PART, quic, recognise_together
from gateway.wire.quic_protection import client_keys
from tests.support.rows import rows
from tests.wire import captures, initials
from tests.wire.initials import HANDSHAKE, ID, VERSION_1, VERSION_2, crypto, initial

ECH = 0xFE0D


def content(message: str, *names: str, hides_name: bool = False) -> Content:
    """Build the content of a QUIC datagram."""
    return Content(Protocol.QUIC, message, Traffic.OTHER, (), names, hides_name=hides_name)


WHOLE = content("ClientHello", "example.com")


def with_extension(kind: int, body: bytes) -> bytes:
    """Add an extension to the hello of RFC 9001."""
    extension = kind.to_bytes(2, "big") + len(body).to_bytes(2, "big") + body
    at = 4 + 2 + 32 + 1 + 2 + 4 + 2  # behind the compression methods
    length = int.from_bytes(HANDSHAKE[at : at + 2], "big") + len(extension)
    rest = HANDSHAKE[4:at] + length.to_bytes(2, "big") + HANDSHAKE[at + 2 :] + extension
    return b"\1" + len(rest).to_bytes(3, "big") + rest


class ProtectionTests(SynchronousTestCase):
    """Keys that everybody can derive."""

    def test_keys(self) -> None:
        """The keys are those of RFC 9001 appendix A.1 and of RFC 9369 appendix A.1."""
        for version, key, iv, mask in (
            (
                VERSION_1,
                "1f369613dd76d5467730efcbe3b1a22d",
                "fa044b2f42a3fd3b46fb255c",
                "9f50449e04a0e810283a1e9933adedd2",
            ),
            (
                VERSION_2,
                "8b1a0bc121284290a29e0971b5cd045d",
                "91f73e2351d8fa91660e909f",
                "45b95e15235d6f45a6b19cbcb0294ba9",
            ),
        ):
            keys = client_keys(version, ID)
            assert keys is not None
            self.assertEqual(tuple(one.hex() for one in keys), (key, iv, mask))

    def test_packet(self) -> None:
        """What the tests protect is RFC 9001's own packet (appendix A.2), as far as it is here."""
        self.assertTrue(initial(initials.RFC_CRYPTO).startswith(initials.RFC_BEGIN))

    def test_without(self) -> None:
        """Versions that are not protected, or in no known way, have no keys."""
        for version in (b"Q046", b"\xff\0\0\x16", b"\x0a\x0a\x0a\x0a"):
            self.assertIsNone(client_keys(version, ID))

    def test_altered(self) -> None:
        """A datagram with one octet changed does not open, and is an Initial all the same."""
        payload = initial(initials.RFC_CRYPTO)
        for at in (20, 600, len(payload) - 1):
            changed = payload[:at] + bytes((payload[at] ^ 1,)) + payload[at + 1 :]
            self.assertEqual(quic.recognise(changed), content("Initial"), at)


@rows(
    frames={
        "as in RFC 9001": (initials.RFC_CRYPTO, WHOLE),
        "behind a PING and padding": (b"\1\0\0\0" + initials.RFC_CRYPTO, WHOLE),
        "behind an ACK": (bytes.fromhex("0205000100 0000") + initials.RFC_CRYPTO, WHOLE),
        "in shuffled pieces": (
            crypto(100, HANDSHAKE[100:])
            + b"\1"
            + crypto(0, HANDSHAKE[:60])
            + b"\0" * 9
            # and one of them twice, in part
            + crypto(40, HANDSHAKE[40:100]),
            WHOLE,
        ),
        "a beginning that has the name": (
            crypto(0, HANDSHAKE[:90]),
            content(QUIC_IN_PART, "example.com", hides_name=True),
        ),
        "a beginning without the name": (
            crypto(0, HANDSHAKE[:40]),
            content(QUIC_IN_PART, hides_name=True),
        ),
        "an end": (crypto(100, HANDSHAKE[100:]), content(QUIC_IN_PART, hides_name=True)),
        "a gap": (
            crypto(0, HANDSHAKE[:40]) + crypto(80, HANDSHAKE[80:]),
            content(QUIC_IN_PART, hides_name=True),
        ),
        "nothing but an ACK": (bytes.fromhex("02050001000000"), content("Initial")),
        "a frame that an Initial may not have": (
            b"\x08" + initials.RFC_CRYPTO,
            content("Initial"),
        ),
        "another handshake message": (crypto(0, b"\2" + HANDSHAKE[1:]), content("Initial")),
        "an encrypted ClientHello in it": (
            crypto(0, with_extension(ECH, bytes(40))),
            content("ClientHello", "example.com", hides_name=True),
        ),
        "DNS over QUIC": (
            crypto(0, HANDSHAKE.replace(b"\5\4alpn", b"\5\3doq\0")),
            content("ClientHello doq", "example.com"),
        ),
    }
)
class FramesTests(SynchronousTestCase):
    """What an Initial carries."""

    def check_frames(self, frames: bytes, expected: Content) -> None:
        """The hello is read as far as it is there, in both versions."""
        for version in (VERSION_1, VERSION_2):
            self.assertEqual(quic.recognise(initial(frames, version=version)), expected)


class HelloTests(SynchronousTestCase):
    """Whole datagrams, of another implementation too."""

    def test_aioquic(self) -> None:
        """A client's name and HTTP/3 are read, in versions 1 and 2."""
        for version in (1, 0x6B3343CF):
            payload = initials.of_aioquic("Voice.Example", version=version)
            self.assertEqual(quic.recognise(payload), content("ClientHello h3", "voice.example"))

    def test_no_name(self) -> None:
        """A hello without a name has none: one may hide, as in TLS."""
        found = quic.recognise(initials.of_aioquic(None))
        self.assertEqual(found, content("ClientHello h3"))

    def test_no_host_name(self) -> None:
        """What stands for a name and is none is not given, and may tell anything."""
        hello = HANDSHAKE.replace(b"example.com", b"id 28745402")
        found = quic.recognise(initial(crypto(0, hello)))
        assert found is not None
        self.assertEqual((found.names, found.plaintext), ((), None))

    def test_two_initials(self) -> None:
        """Two Initials in one datagram are read as one."""
        first = initial(crypto(0, HANDSHAKE[:60]), pad_to=0)
        second = initial(crypto(60, HANDSHAKE[60:]))
        self.assertEqual(quic.recognise(first + second), WHOLE)

    def test_many_frames(self) -> None:
        """More than 128 frames are not read to their end, so a name may hide."""
        frames = b"".join(crypto(at, HANDSHAKE[at : at + 1]) for at in range(len(HANDSHAKE)))
        found = quic.recognise(initial(frames))
        self.assertEqual(found, content(QUIC_IN_PART, "example.com", hides_name=True))

    def test_together(self) -> None:
        """Two datagrams tell together what neither does, whatever id the second one has; one that
        the first one's keys do not open tells nothing."""
        first = initial(crypto(0, HANDSHAKE[:40]))
        second = initial(crypto(40, HANDSHAKE[40:]), id_=b"another", first_id=ID)
        self.assertEqual(quic.recognise(second), content("Initial"))
        self.assertEqual(recognise_together((first, second)), WHOLE)
        other = initial(crypto(40, HANDSHAKE[40:]), id_=b"another")
        self.assertIsNone(recognise_together((first, other)))
        self.assertIsNone(recognise_together((b"\x80", first)))

    @settings(deadline=None, max_examples=150)
    @given(st.binary(max_size=300), st.sampled_from([VERSION_1, VERSION_2, b"Q050", b"T051"]))
    def test_any_frames(self, frames: bytes, version: bytes) -> None:
        """Whatever frames are in it: it is an Initial, and nothing is raised."""
        found = quic.recognise(initial(frames, version=version))
        assert found is not None
        self.assertIs(found.protocol, Protocol.QUIC)

    @settings(deadline=None, max_examples=150)
    @given(st.integers(0, len(HANDSHAKE) - 1), st.binary(min_size=1, max_size=4))
    def test_any_hello(self, at: int, patch: bytes) -> None:
        """A hello with some octets changed: no name but a host name, and nothing is raised."""
        hello = HANDSHAKE[:at] + patch + HANDSHAKE[at + len(patch) :]
        found = quic.recognise(initial(crypto(0, hello)))
        assert found is not None
        for name in found.names:
            self.assertRegex(name, r"^[a-z0-9_.-]+$")


class CaptureTests(SynchronousTestCase):
    """Other people's connections, outside the project."""

    def test_names(self) -> None:
        """The name of each is read: version 2, and Google's Q046 and an early draft."""
        for capture, name in (
            ("quic-v2.pcapng", "test"),
            ("gquic.pcap", "www.gstatic.com"),
            ("quic_q46.pcap", "play.google.com"),
        ):
            packet = next(captures.packets(captures.foreign(capture)))
            found = quic.recognise(packet.payload)
            assert found is not None, capture
            self.assertEqual((found.names, found.hides_name), ((name,), False), capture)
