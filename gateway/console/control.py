"""The control socket.  Owns: a Unix socket on which a process's own commands reach it.
Knows: RFC 9110, twisted.web.  Never: the network; who may connect, the file's mode says.

    GET  /status   the status, as JSON
    POST /reload   loads policy and data again, and answers when it is done: the status; 200 if they
                   came into force, 409 if they were refused
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.logger import Logger
from twisted.web.http import CONFLICT
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from gateway.config import Config
from gateway.console.status import Status
from gateway.errors import CarryError

_log = Logger(namespace="gateway.console")

# sun_path of unix(7), with its end.
_MAX_PATH_LEN = 107
_TIMEOUT_S = 60.0


def path_of(config: Config) -> Path:
    """Give the socket's path: in the folder of the state, by the name of the configuration, since a
    gateway and an exit may share a folder."""
    return config.path(config.state.path) / f"{Path(config.file).stem}.sock"


class Control:
    """Answers on a Unix socket."""

    def __init__(
        self,
        reactor: Any,
        path: Path,
        status: Callable[[], Status],
        reload: Callable[[], Deferred[bool]],
    ) -> None:
        """Open nothing yet."""
        root = Resource()
        root.putChild(b"status", _Asked(status))
        root.putChild(b"reload", _Reload(status, reload))
        self._site = _Silent(root, timeout=_TIMEOUT_S, reactor=reactor)
        self._reactor = reactor
        self.path = path
        self._port: Any = None

    def start(self) -> None:
        """Listen.

        Raises:  CarryError: another process listens there, or nobody can.
        """
        path = str(self.path)
        if len(os.fsencode(path)) > _MAX_PATH_LEN:
            raise CarryError(path, f"a socket's path has at most {_MAX_PATH_LEN} octets")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            if _is_answered(path):
                raise CarryError(path, "another gateway answers there")
            self.path.unlink(missing_ok=True)
            self._port = self._reactor.listenUNIX(path, self._site, mode=0o600)
        except (OSError, CannotListenError) as error:
            raise CarryError(path, str(error)) from error

    def stop(self) -> Deferred[None] | None:
        """Listen no longer."""
        port, self._port = self._port, None
        return None if port is None else port.stopListening()


def _is_answered(path: str) -> bool:
    """Say whether a process listens: after kill -9 the file is there, and nobody behind it."""
    with socket.socket(socket.AF_UNIX) as tried:
        tried.settimeout(1.0)
        try:
            tried.connect(path)
        except TimeoutError:
            return True
        except OSError:
            return False
    return True


class _Silent(Site):
    """A site without a log of requests."""

    noisy = False

    def log(self, request: object) -> None:
        """HTTPFactory API."""


class _Asked(Resource):
    isLeaf = True

    def __init__(self, status: Callable[[], Status]) -> None:
        super().__init__()
        self._status = status

    def render_GET(self, request: Request) -> bytes:
        """Resource API."""
        return _json(request, self._status())


class _Reload(Resource):
    isLeaf = True

    def __init__(self, status: Callable[[], Status], reload: Callable[[], Deferred[bool]]) -> None:
        super().__init__()
        self._status = status
        self._reload = reload

    def render_POST(self, request: Request) -> int:
        """Resource API."""
        gone: list[object] = []
        request.notifyFinish().addErrback(gone.append)
        self._reload().addCallback(self._reloaded, request, gone)
        return NOT_DONE_YET

    def _reloaded(self, is_good: bool, request: Request, gone: list[object]) -> None:
        if gone:
            return
        if not is_good:
            request.setResponseCode(CONFLICT)
        request.write(_json(request, self._status()))
        request.finish()


def _json(request: Request, status: Status) -> bytes:
    request.setHeader(b"Content-Type", b"application/json")
    return json.dumps(status).encode()
