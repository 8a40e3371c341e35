"""The console's web server.  Owns: its address, its routes, how requests are answered and refused.
Knows: klein, twisted.web.  Never: deciding who may; the guard does."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from klein import Klein
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.logger import Logger
from twisted.protocols.policies import WrappingFactory
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from twisted.web.server import Request, Site

from gateway.console.guarding import HEADERS, POLICY, Guard, Refusal, Scope
from gateway.console.metrics import TYPE, Metrics
from gateway.console.status import Status
from gateway.model import Endpoint

_log = Logger(namespace="gateway.console")

_TIMEOUT_S = 30.0
_MAX_CONNECTIONS = 64
_MAX_BODY_LEN = 65_536


@dataclass(frozen=True, slots=True)
class Answers:
    """What the console can say and do."""

    status: Callable[[], Status]
    metrics: Metrics
    reload: Callable[[], Deferred[bool]]


class Api:
    """Routes to answers."""

    app = Klein()

    def __init__(self, guard: Guard, answers: Answers) -> None:
        self._guard = guard
        self._answers = answers

    @app.route("/metrics", methods=["GET"])
    def metrics(self, request: Request) -> bytes:
        """For Prometheus."""
        self._admit(request, Scope.READ)
        request.setHeader("Content-Type", TYPE)
        return self._answers.metrics.exposition()

    @app.route("/api/status", methods=["GET"])
    def status(self, request: Request) -> bytes:
        """As `gateway status --json`."""
        self._admit(request, Scope.READ)
        return _json(request, self._answers.status())

    @app.route("/api/reload", methods=["POST"])
    async def reload(self, request: Request) -> bytes:
        """As `gateway reload --json`."""
        self._admit(request, Scope.RELOAD)
        is_good = await self._answers.reload()
        if not is_good:
            request.setResponseCode(HTTPStatus.CONFLICT)
        return _json(request, {"accepted": is_good, **self._answers.status()})

    @app.handle_errors(Refusal)
    def refused(self, request: IRequest, failure: Failure) -> bytes:
        """Say why."""
        assert isinstance(request, Request)
        assert isinstance(failure.value, Refusal)
        code = failure.value.code
        request.setResponseCode(code)
        if code == HTTPStatus.UNAUTHORIZED:
            request.setHeader("WWW-Authenticate", "Bearer")
        if code != HTTPStatus.TOO_MANY_REQUESTS:  # a flood must not become a flood of the disk
            _log.warn(
                "console: {method} {path} refused: {reason}",
                method=request.method.decode("latin-1"),
                path=request.path.decode("latin-1")[:100],
                reason=str(failure.value),
            )
        return _json(request, {"error": str(failure.value)})

    def _admit(self, request: Request, scope: Scope) -> None:
        for name, value in HEADERS.items():
            request.setHeader(name, value)
        request.setHeader("Content-Security-Policy", POLICY)
        self._guard.admit(request, scope)


class Web:
    """The console on an address."""

    def __init__(self, reactor: Any, address: Endpoint, api: Api) -> None:
        """Open nothing yet."""
        self._reactor = reactor
        self._address = address
        resource = api.app.resource()
        site = _Silent(resource, requestFactory=_Request, timeout=_TIMEOUT_S, reactor=reactor)
        self._site = _Bounded(site)
        self._port: Any = None

    def start(self) -> Endpoint:
        """Listen; give where.

        Raises:  twisted.internet.error.CannotListenError.
        """
        self._port = self._reactor.listenTCP(
            self._address.port, self._site, interface=self._address.host
        )
        host = self._port.getHost()
        return Endpoint.of(host.host, host.port)

    def stop(self) -> Deferred[None] | None:
        """Listen no longer, and cut who is connected."""
        self._site.cut()
        port, self._port = self._port, None
        return None if port is None else port.stopListening()


class _Request(Request):
    """A request whose body is small."""

    def gotLength(self, length: int | None) -> None:
        """http.Request API: called when the header is read, before the body comes."""
        if length is None or length > _MAX_BODY_LEN:
            self.channel.loseConnection()
            length = 0
        super().gotLength(length)


class _Silent(Site):
    """A site that writes nothing down of who asked what."""

    noisy = False

    def log(self, request: object) -> None:
        """HTTPFactory API."""


class _Bounded(WrappingFactory):
    """Serves a few at a time."""

    noisy = False

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """IProtocolFactory API: None refuses."""
        return super().buildProtocol(addr) if len(self.protocols) < _MAX_CONNECTIONS else None

    def cut(self) -> None:
        """End every connection."""
        for protocol in tuple(self.protocols):
            protocol.abortConnection()


def _json(request: Request, said: Mapping[str, object]) -> bytes:
    request.setHeader("Content-Type", "application/json")
    return json.dumps(said).encode()
