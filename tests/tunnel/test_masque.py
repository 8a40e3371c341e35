"""Requests, refusals and URI templates."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.errors import AddressError
from gateway.model import Endpoint, Transport
from gateway.tunnel.masque import (
    WELL_KNOWN,
    ExitAddress,
    Refusal,
    Request,
    connect_tcp,
    connect_udp,
    read_request,
)
from tests.support.rows import rows

_EXIT = ExitAddress("us-east", "https://exit.example:4433" + WELL_KNOWN)
_UDP = [(b":method", b"CONNECT"), (b":protocol", b"connect-udp")]


@rows(
    template={
        "the default": (
            "https://a.example" + WELL_KNOWN,
            "2001:db8::42",
            b"2001%3Adb8%3A%3A42/443/",
        ),
        "simple": ("https://a.example/{target_host},{target_port}", "192.0.2.6", b"/192.0.2.6,443"),
        "a list": ("https://a.example/{target_host,target_port}", "192.0.2.6", b"/192.0.2.6,443"),
        "a query": (
            "https://a.example/masque{?target_host,target_port}",
            "192.0.2.6",
            b"/masque?target_host=192.0.2.6&target_port=443",
        ),
        "a query that goes on": (
            "https://a.example/masque?v=1{&target_host,target_port}",
            "192.0.2.6",
            b"/masque?v=1&target_host=192.0.2.6&target_port=443",
        ),
        "an unknown variable is empty": (
            "https://a.example/{x}/{target_host}/{target_port}",
            "192.0.2.6",
            b"//192.0.2.6/443",
        ),
    },
    bad_template={
        "not https": ("http://a.example" + WELL_KNOWN,),
        "no host": ("https://" + WELL_KNOWN,),
        "no target_port": ("https://a.example/{target_host}/",),
        "variables in the authority": ("https://{target_host}:{target_port}/",),
        "reserved expansion": ("https://a.example/{+target_host}/{target_port}",),
        "path expansion": ("https://a.example{/target_host,target_port}",),
        "fragment": ("https://a.example/{target_host}/{target_port}#x",),
        "a brace left open": ("https://a.example/{target_host}/{target_port}/{",),
        "a space": ("https://a.example/ {target_host}/{target_port}",),
        "a user": ("https://me@a.example/{target_host}/{target_port}",),
        "a port out of range": ("https://a.example:99999" + WELL_KNOWN,),
        "nothing": ("",),
    },
    refused={
        "GET": ([(b":method", b"GET"), (b":path", b"/")], 405),
        "another upgrade": ([(b":method", b"CONNECT"), (b":protocol", b"websocket")], 501),
        "another path": ([*_UDP, (b":path", b"/masque/192.0.2.6/443/")], 404),
        "a tail": ([*_UDP, (b":path", b"/.well-known/masque/udp/192.0.2.6/443/x")], 404),
        "a query": ([*_UDP, (b":path", b"/.well-known/masque/udp/192.0.2.6/443/?x")], 404),
        "a name": ([*_UDP, (b":path", b"/.well-known/masque/udp/exit.example/443/")], 400),
        "port 0": ([*_UDP, (b":path", b"/.well-known/masque/udp/192.0.2.6/0/")], 400),
        "port 65536": ([*_UDP, (b":path", b"/.well-known/masque/udp/192.0.2.6/65536/")], 400),
        "a zone": ([*_UDP, (b":path", b"/.well-known/masque/udp/fe80%3A%3A1%25eth0/443/")], 400),
        "not ASCII": ([*_UDP, (b":path", b"/.well-known/masque/udp/%ff/443/")], 400),
        "no path": (_UDP, 404),
        "no authority": ([(b":method", b"CONNECT")], 400),
        "a name for TCP": ([(b":method", b"CONNECT"), (b":authority", b"a.example:443")], 400),
    },
)
class RequestTests(SynchronousTestCase):
    """What is asked can be read back; all else is refused."""

    def check_template(self, url: str, host: str, end: bytes) -> None:
        """A template that RFC 9298 admits expands as RFC 6570 says."""
        path = ExitAddress("x", url).path(Endpoint.of(host, 443))
        self.assertTrue(path.endswith(end), path)

    def check_bad_template(self, url: str) -> None:
        """A template that RFC 9298 does not admit is an AddressError."""
        with self.assertRaises(AddressError) as raised:
            ExitAddress("x", url)
        self.assertIn("a URI template such as https://", str(raised.exception))

    def check_refused(self, headers: list[tuple[bytes, bytes]], status: int) -> None:
        """A request that is none of ours is refused with its status."""
        refusal = read_request(headers)
        assert isinstance(refusal, Refusal), refusal
        self.assertEqual(refusal.status, status)

    def test_parts_of_the_url(self) -> None:
        """An exit's host, port and authority are those of its URL; the port is 443 by default."""
        self.assertEqual((_EXIT.host, _EXIT.port), ("exit.example", 4433))
        self.assertEqual(_EXIT.authority, b"exit.example:4433")
        bare = ExitAddress("x", "https://[2001:db8::1]" + WELL_KNOWN)
        self.assertEqual((bare.host, bare.port), ("2001:db8::1", 443))

    def test_a_mapped_address_is_its_ipv4_address(self) -> None:
        """The policy judges ::ffff:192.0.2.6 as 192.0.2.6, and that is what is dialled."""
        headers = [*_UDP, (b":path", b"/.well-known/masque/udp/%3A%3Affff%3A192.0.2.6/443/")]
        wanted = Request(Transport.UDP, Endpoint.of("192.0.2.6", 443))
        self.assertEqual(read_request(headers), wanted)

    def test_a_refusal_is_printable(self) -> None:
        """A reason with quotes, newlines or other letters makes a legal Proxy-Status (RFC 8941)."""
        headers = dict(Refusal(403, "http_request_denied", 'a "b"\\\n\u00e9').headers("my exit"))
        self.assertEqual(headers[b":status"], b"403")
        wanted = b'my-exit; error=http_request_denied; details="a \\"b\\"\\\\??"'
        self.assertEqual(headers[b"proxy-status"], wanted)

    @settings(deadline=None, max_examples=200)
    @given(st.ip_addresses(), st.integers(1, 65535))
    def test_every_destination_comes_back(self, address: object, port: int) -> None:
        """Whatever destination is asked for, over UDP or TCP, is the one that is read."""
        destination = Endpoint.of(str(address).partition("%")[0], port)
        self.assertEqual(
            read_request(connect_udp(_EXIT, destination)), Request(Transport.UDP, destination)
        )
        self.assertEqual(
            read_request(connect_tcp(destination)), Request(Transport.TCP, destination)
        )

    @settings(deadline=None, max_examples=500)
    @given(
        st.one_of(
            st.binary(max_size=80),
            st.from_regex(rb"/\.well-known/masque/udp/[^/]*/[0-9]*/?", fullmatch=True),
        )
    )
    def test_any_octets_are_a_request_or_a_refusal(self, octets: bytes) -> None:
        """Nothing raises anything, and what is accepted has an address and a port."""
        for headers in (
            [*_UDP, (b":path", octets)],
            [(b":method", b"CONNECT"), (b":authority", octets)],
        ):
            read = read_request(headers)
            if isinstance(read, Request):
                self.assertIn(len(read.destination.address), (4, 16))
                self.assertIn(read.destination.port, range(1, 65536))
            else:
                self.assertIn(read.status, (400, 404))
