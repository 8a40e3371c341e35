"""What is renewed while a tunnel runs: certificates, and keys."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from unittest import mock

from aioquic.quic.connection import QuicConnection

from gateway.model import Endpoint
from gateway.tunnel import quic, serving
from gateway.tunnel.client import Tunnel
from gateway.tunnel.credentials import Credentials, Transfer
from gateway.tunnel.exit import Exit
from gateway.tunnel.ports import Direct
from tests.tunnel.world import LOOPBACK, ScriptedGate, UdpEcho, World, ignore, pki, reactor, until


class RenewalTests(World):
    """An exit whose files are its own, so that they can be changed."""

    def renewable(self, stem: str) -> tuple[Exit, Endpoint]:
        """Start an exit with copies of a certificate's files."""
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.put(stem)
        at = Credentials(*(self.folder / name for name in ("ca.pem", "exit.pem", "exit.key")))
        exit_ = Exit(reactor, LOOPBACK, at, ScriptedGate(), Direct())
        endpoint = exit_.listen()
        self.addCleanup(exit_.stop)
        return exit_, endpoint

    def put(self, stem: str) -> None:
        """Put another certificate and key into their place, each at once."""
        shutil.copyfile(pki() / "ca.pem", self.folder / "ca.pem")
        for suffix in (".pem", ".key"):
            fresh = self.folder / "fresh"
            shutil.copyfile(pki() / f"{stem}{suffix}", fresh)
            os.replace(fresh, self.folder / f"exit{suffix}")

    async def up(self, tunnel: Tunnel) -> None:
        """Wait for a tunnel."""
        await until(lambda: tunnel.up, "up")

    async def test_another_certificate(self) -> None:
        """A certificate that is put into the place of one that expired is used from the next
        connection on, without a restart."""
        exit_, at = self.renewable("exit-expired")
        tunnel, said = self.tunnel(at)
        await until(lambda: said, "the refusal")
        self.assertIn("Certificate is no longer valid", said[0][1])
        self.put("exit")
        await self.up(tunnel)
        self.assertGreater(exit_.counters["connections_begun"], 1)

    async def test_a_broken_certificate(self) -> None:
        """One that cannot be used changes nothing: the one before goes on being used."""
        exit_, at = self.renewable("exit")
        (self.folder / "exit.pem").write_text("no certificate")
        tunnel, _ = self.tunnel(at)
        await self.up(tunnel)
        self.assertEqual(exit_.counters["gateways_accepted"], 1)

    async def test_shown_again(self) -> None:
        """A gateway has to show its certificate again from time to time, and does."""
        self.patch(serving, "_MAX_AGE_S", 0.2)
        exit_, at = self.exit()
        tunnel, _ = self.tunnel(at)
        await until(lambda: exit_.counters.get("gateways_accepted", 0) >= 2, "a second time")
        self.assertGreaterEqual(exit_.counters["gateways_too_old"], 1)
        await self.up(tunnel)

    async def test_keys(self) -> None:
        """Keys are changed after a number of packets, and the flow goes on; of what is under way
        to us just then, under the old ones, the library reads no more."""
        self.patch(quic, "_KEY_PACKETS", 20)
        with mock.patch.object(
            quic.Connection, "request_key_update", autospec=True,
            side_effect=QuicConnection.request_key_update,
        ) as updated:  # fmt: skip
            transfer = Transfer(idle_timeout_s=0.6)
            _, at = self.exit(transfer=transfer)
            tunnel, _ = self.tunnel(at, transfer=transfer)
            await self.up(tunnel)
            got: list[bytes] = []
            flow = tunnel.open_udp(self.udp(UdpEcho()), got.append, ignore)
            while updated.call_count < 3:
                await self.echo(flow.send, got)
        self.assertTrue(tunnel.up)
        self.assertEqual(tunnel.counters["attempts"], 1)
        self.assertGreaterEqual(tunnel.counters["keys_changed"], 3)

    async def echo(self, send: Callable[[bytes], bool], got: list[bytes]) -> None:
        """Send datagrams until one comes back."""
        count = len(got)
        await until(lambda: send(b"%d" % count) and len(got) > count, "an echo")
