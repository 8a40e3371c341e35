"""HTTP/3 between our two roles: what is dropped, what is counted, what one flow does to another."""

from __future__ import annotations

from gateway.model import Endpoint
from gateway.tunnel.client import Tunnel
from gateway.tunnel.exit import Exit
from gateway.tunnel.http3 import Session
from gateway.tunnel.masque import Headers
from gateway.tunnel.udpflow import UdpFlow
from tests.tunnel.world import UdpEcho, World, ignore, until


class SessionTests(World):
    """Frames that are legal, and not ours."""

    async def _flow(self) -> tuple[Exit, Tunnel, UdpFlow, list[bytes]]:
        """Open a flow to an echo, and wait for its first answer."""
        exit_, at = self.exit()
        tunnel, _ = self.tunnel(at)
        await until(lambda: tunnel.up, "up")
        got: list[bytes] = []
        flow = tunnel.open_udp(self.udp(UdpEcho()), got.append, ignore)
        flow.send(b"first")
        await until(lambda: got, "the first echo")
        return exit_, tunnel, flow, got

    async def test_other_contexts_are_dropped_and_counted(self) -> None:
        """A datagram of an unregistered context is not UDP payload (RFC 9298 section 4)."""
        exit_, _, flow, got = await self._flow()
        session, stream_id = flow._session, flow._stream_id
        for octets in (b"\x02chaff", b"\x7f\xffchaff", b"", b"\x80"):
            session.http.send_datagram(stream_id, octets)
        session.http.send_datagram(stream_id, b"\x40\x00long zero")
        flow.send(b"second")
        await until(lambda: len(got) == 3, "the echoes")
        self.assertEqual(sorted(got[1:]), [b"long zero", b"second"])
        self.assertEqual(exit_.counters["datagrams_of_other_context"], 4)

    async def test_datagrams_without_a_flow_are_counted(self) -> None:
        """A datagram for a stream that nobody opened goes nowhere."""
        exit_, _, flow, got = await self._flow()
        flow._session.http.send_datagram(400, b"\0lost")
        flow.send(b"second")
        await until(lambda: len(got) == 2, "the echo")
        self.assertEqual(exit_.counters["datagrams_without_flow"], 1)

    async def test_capsules_are_skipped(self) -> None:
        """Octets on the stream of a UDP flow are capsules, none of which is needed."""
        exit_, _, flow, got = await self._flow()
        flow._session.send_data(flow._stream_id, b"\x17\x03abc")
        flow.send(b"second")
        await until(lambda: len(got) == 2, "the echo")
        await until(lambda: exit_.counters.get("capsule_octets_ignored") == 5, "the capsule")

    async def test_a_request_that_is_none_is_refused_alone(self) -> None:
        """GET, a name, an unknown upgrade: each is refused, and the connection goes on."""
        exit_, _, flow, got = await self._flow()
        session = flow._session
        answers = [_Answer(session, headers) for headers in _NOT_SERVED]
        await until(lambda: all(answer.status for answer in answers), "the answers")
        self.assertEqual([answer.status for answer in answers], [b"405", b"400", b"501"])
        flow.send(b"second")
        await until(lambda: len(got) == 2, "the echo")
        self.assertEqual(exit_.counters["requests_refused"], 3)

    async def test_a_defect_of_one_flow_ends_that_flow(self) -> None:
        """A callback that raises is logged and ends its flow; the others do not notice."""
        _, tunnel, flow, got = await self._flow()

        def defect(payload: bytes) -> None:
            raise RuntimeError("a defect")

        ends: list[str] = []
        bad = tunnel.open_udp(self.udp(UdpEcho()), defect, ends.append)
        bad.send(b"x")
        await until(lambda: ends, "the end")
        self.assertEqual(ends, ["a defect of ours"])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        flow.send(b"second")
        await until(lambda: len(got) == 2, "the echo")

    async def test_closed_flows_leave_nothing_behind(self) -> None:
        """After many flows neither side holds any state of them."""
        exit_, tunnel, flow, _ = await self._flow()
        session = flow._session
        target = Endpoint.of("127.0.0.1", 9)
        for _ in range(20):
            flows = [tunnel.open_udp(target, ignore, ignore) for _ in range(10)]
            await until(lambda: exit_.counters["sockets"] == 11, "ten sockets more")
            for one in flows:
                one.close()
            await until(lambda: exit_.counters["sockets"] == 1, "none of them")
        await until(lambda: len(session.connection._streams) < 12, "QUIC's streams freed")
        await until(lambda: len(session.http._stream) < 12, "HTTP's streams freed")
        self.assertEqual(len(session.streams), 1)
        (served,) = exit_._cids
        self.assertEqual(len(served.session.streams), 1)
        await until(lambda: len(served.session.http._stream) < 12, "the exit's streams freed")


_NOT_SERVED: list[Headers] = [
    [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"x"), (b":path", b"/")],
    [(b":method", b"CONNECT"), (b":authority", b"exit.example:443")],
    [
        (b":method", b"CONNECT"),
        (b":protocol", b"websocket"),
        (b":scheme", b"https"),
        (b":authority", b"x"),
        (b":path", b"/"),
    ],
]


class _Answer:
    """A stream that only remembers its answer."""

    def __init__(self, session: Session, headers: Headers) -> None:
        self.status = b""
        session.request(headers, self)

    def headers_received(self, headers: Headers) -> None:
        self.status = dict(headers)[b":status"]

    def data_received(self, data: bytes, ended: bool) -> None:
        pass

    def datagram_received(self, payload: bytes) -> None:
        pass

    def stop_requested(self) -> None:
        pass

    def drained(self) -> None:
        pass

    def closed(self, reason: str) -> None:
        pass
