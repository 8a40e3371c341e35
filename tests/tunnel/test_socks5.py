"""Asking a SOCKS 5 proxy: octets in, octets out."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.errors import CarryError
from gateway.model import Endpoint
from gateway.tunnel.asking import Login
from gateway.tunnel.socks5 import Socks5Asking
from tests.support.rows import rows

V4, V6 = Endpoint.parse("192.0.2.1:443"), Endpoint.parse("[2001:db8::1]:443")
LOGIN = Login(b"alice", b"secret")
_YES = "050000010000000000 00"


_CONVERSATIONS = {
    "an IPv4 address": (None, V4, "0500" + _YES, "050100 05010001c000020101bb"),
    "an IPv6 address": (
        None,
        V6,
        "0500" + _YES,
        "050100 0501000420010db8000000000000000000000001 01bb",
    ),
    "a login": (
        LOGIN,
        V4,
        "0502 0100" + _YES,
        "050102 0105616c69636506736563726574 05010001c000020101bb",
    ),
    "a reply with an IPv6 address": (
        None,
        V4,
        "0500 05000004" + "00" * 18,
        "050100 05010001c000020101bb",
    ),
    "a reply with a name": (
        None,
        V4,
        "0500 05000003 03616263 0000",
        "050100 05010001c000020101bb",
    ),
    "no destination": (LOGIN, None, "0502 0100", "050102 0105616c69636506736563726574"),
}


@rows(
    conversation=_CONVERSATIONS,
    cut=_CONVERSATIONS,
    refusal={
        "another version": (None, "04", "does not speak SOCKS 5"),
        "HTTP": (None, b"HTTP/1.1 400".hex(), "does not speak SOCKS 5"),
        "a login that we have not": (None, "0502", "wants a login, and there is none"),
        "no method": (None, "05ff", "wants a login, and there is none"),
        "no login for us": (LOGIN, "0500", "takes no user name and password"),
        "a wrong password": (LOGIN, "0502 0101", "refuses our user name or password"),
        "another version of the login": (LOGIN, "0502 0500", "is none of RFC 1929"),
        "its ruleset": (None, "0500 0502", "the proxy refused: not allowed by its ruleset"),
        "a refused connection": (None, "0500 0505", "the proxy refused: connection refused"),
        "an unknown reply": (None, "0500 0563", "the proxy refused: reply 99"),
        "a reply of another version": (None, "0500 04", "reply is none of SOCKS 5"),
        "an unknown type of address": (None, "0500 0500000700", "an address of type 7"),
    },
)
class AskingTests(SynchronousTestCase):
    """RFC 1928 and RFC 1929, as a client."""

    def check_conversation(
        self, login: Login | None, destination: Endpoint | None, heard: str, said: str
    ) -> None:
        """Whole or octet by octet, it says the same, and what comes behind is the stream's."""
        octets = bytes.fromhex(heard)
        for tail in (b"", b"hello"):
            for size in (1, len(octets + tail)):
                asking = Socks5Asking("p", login, destination)
                spoken, data = asking.begin(), octets + tail
                rest = b""
                for at in range(0, len(data), size):
                    if asking.is_done:
                        rest += data[at : at + size]
                    else:
                        spoken += asking.receive(data[at : at + size])
                self.assertTrue(asking.is_done)
                self.assertEqual(spoken, bytes.fromhex(said))
                self.assertEqual(asking.rest + rest, tail)

    def check_cut(
        self, login: Login | None, destination: Endpoint | None, heard: str, said: str
    ) -> None:
        """Without its last octet the answer is not whole."""
        asking = Socks5Asking("p", login, destination)
        asking.begin()
        asking.receive(bytes.fromhex(heard)[:-1])
        self.assertFalse(asking.is_done)

    def check_refusal(self, login: Login | None, heard: str, sentence: str) -> None:
        """A no is said in words."""
        asking = Socks5Asking("p", login, V4)
        asking.begin()
        with self.assertRaises(CarryError) as raised:
            asking.receive(bytes.fromhex(heard))
        self.assertIn(sentence, str(raised.exception))
        self.assertFalse(asking.is_done)

    def test_password(self) -> None:
        """A login does not print its password."""
        self.assertNotIn("secret", repr(LOGIN))

    @settings(deadline=None, max_examples=150)
    @given(st.lists(st.binary(max_size=20), max_size=8), st.sampled_from((None, LOGIN)))
    def test_anything(self, heard: list[bytes], login: Login | None) -> None:
        """Whatever a proxy says, it is a yes, a no, or not yet enough."""
        asking = Socks5Asking("p", login, V4)
        asking.begin()
        try:
            for data in heard:
                asking.receive(data)
                if asking.is_done:
                    break
        except CarryError:
            self.assertFalse(asking.is_done)
        # What is kept while the answer is not whole is an answer's length at most.
        self.assertTrue(asking.is_done or len(asking.rest) <= 7 + 255 + 20)
