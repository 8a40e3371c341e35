"""Tests of gateway.wire.names."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.wire.names import host_name
from tests.support.rows import rows

LONG = b"a" * 63


@rows(
    name={
        "a name": (b"Voice.Example.", "voice.example"),
        "a single label": (b"localhost", "localhost"),
        "underscores": (b"_sip._udp.a.example", "_sip._udp.a.example"),
        "a punycode top label": (b"a.xn--fiqs8s", "a.xn--fiqs8s"),
        "a label of 63": (LONG + b".io", LONG.decode() + ".io"),
        "a label of 64": (b"a" + LONG + b".io", None),
        "a top label of 63": (b"a." + LONG, "a." + LONG.decode()),
        "253 octets": (
            b".".join([LONG] * 3) + b"." + b"b" * 61,
            ".".join(["a" * 63] * 3 + ["b" * 61]),
        ),
        "254 octets": (b".".join([LONG] * 3) + b"." + b"b" * 62, None),
        "60,000 octets": (b"SECRETSNI " * 6000, None),
        "an address": (b"192.0.2.1", None),
        "an address of two parts": (b"127.1", None),
        "a hexadecimal address": (b"0x7f000201", None),
        "digits before letters": (b"1.2.3.4.in-addr.arpa", "1.2.3.4.in-addr.arpa"),
        "an IPv6 address": (b"2001:db8::1", None),
        "a blank": (b"uid 7.example", None),
        "a hyphen in front": (b"-a.example", None),
        "a hyphen behind": (b"a-.example", None),
        "a hyphen in front of the top label": (b"a.-b", None),
        "a hyphen behind the top label": (b"a.b-", None),
        "an empty label": (b"a..example", None),
        "two final dots": (b"a.example..", None),
        "high octets": ("bücher.example".encode(), None),
        "a line": (b"a.example\n", None),
        "nothing": (b"", None),
    }
)
class HostNameTests(SynchronousTestCase):
    """Only what has the form of a host name is one."""

    def check_name(self, octets: bytes, name: str | None) -> None:
        """A host name is given in lower case, and nothing else."""
        self.assertEqual(host_name(octets), name)

    @settings(deadline=None, max_examples=200)
    @given(st.one_of(st.binary(max_size=80), st.text("aZ0.-_\n", max_size=80).map(str.encode)))
    def test_any_octets(self, octets: bytes) -> None:
        """Whatever the octets: a name of few letters, or none."""
        name = host_name(octets)
        if name is not None:
            self.assertLessEqual(set(name), set("abcdefghijklmnopqrstuvwxyz0123456789.-_"))
