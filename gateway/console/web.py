"""The console's routes.  Owns: how requests are answered and refused.
Knows: klein, twisted.web.  Never: deciding who may; the guard does."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from importlib.resources import files
from typing import Any

from klein import Klein
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from twisted.web.server import Request

from gateway.console.explaining import Explaining
from gateway.console.guarding import HEADERS, PAGE_POLICY, POLICY, Guard, Refusal, Scope
from gateway.console.live import Live
from gateway.console.metrics import TYPE, Metrics
from gateway.console.openapi import document
from gateway.console.status import Status
from gateway.console.telling import Telling, tiles

_log = Logger(namespace="gateway.console")

# The page's files; nothing else of the package is served.
_FILES = {
    "index.html": "text/html; charset=utf-8",
    "console.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
    **dict.fromkeys(
        ("main.js", "following.js", "drawing.js", "explaining.js"), "text/javascript; charset=utf-8"
    ),
}


@dataclass(frozen=True, slots=True)
class Answers:
    """What the console can say and do."""

    status: Callable[[], Status]
    metrics: Metrics
    reload: Callable[[], Deferred[bool]]
    telling: Telling
    explaining: Explaining
    live: Live


class Api:
    """Routes to answers."""

    app = Klein()

    def __init__(self, guard: Guard, answers: Answers) -> None:
        self._guard = guard
        self._answers = answers

    @app.route("/", methods=["GET"])
    def page(self, request: Request) -> bytes:
        """For a person."""
        return self._file(request, "index.html")

    @app.route("/page/<name>", methods=["GET"])
    def file(self, request: Request, name: str) -> bytes:
        """A file of the page."""
        return self._file(request, name)

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

    @app.route("/api/policy", methods=["GET"])
    def policy(self, request: Request) -> bytes:
        """The policy in force."""
        self._admit(request, Scope.READ)
        return _json(request, self._answers.telling.policy())

    @app.route("/api/data", methods=["GET"])
    def data(self, request: Request) -> bytes:
        """The sources of evidence."""
        self._admit(request, Scope.READ)
        return _json(request, self._answers.telling.data())

    @app.route("/api/flows", methods=["GET"])
    async def flows(self, request: Request) -> bytes:
        """What flows, added up."""
        self._admit(request, Scope.READ)
        return _json(request, await self._answers.telling.flows())

    @app.route("/api/countries", methods=["GET"])
    def countries(self, request: Request) -> bytes:
        """The map: the same for everybody."""
        self._admit_page(request)
        return _json(request, tiles())

    @app.route("/api/openapi.json", methods=["GET"])
    def openapi(self, request: Request) -> bytes:
        """This, for programs."""
        self._admit_page(request)
        return _json(request, document())

    @app.route("/api/events", methods=["GET"])
    def events(self, request: Request) -> Deferred[None]:
        """Whatever changes, as it changes."""
        self._admit(request, Scope.READ)
        return self._answers.live.follow(request)

    @app.route("/api/explain", methods=["POST"])
    def explain(self, request: Request) -> bytes:
        """As `gateway explain --json`."""
        self._admit(request, Scope.READ)
        # No form of another site's page can send this type.
        kind = (request.getHeader("content-type") or "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "the body has to be application/json")
        assert request.content is not None, "a request that is whole has a body"
        return _json(request, self._answers.explaining.answer(request.content.read()))

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
        _protect(request)
        self._guard.admit(request, scope)

    def _admit_page(self, request: Request) -> None:
        _protect(request)
        self._guard.admit_page(request)

    def _file(self, request: Request, name: str) -> bytes:
        self._admit_page(request)
        kind = _FILES.get(name)
        if kind is None:
            raise Refusal(HTTPStatus.NOT_FOUND, "the page has no such file")
        request.setHeader("Content-Security-Policy", PAGE_POLICY)
        request.setHeader("Content-Type", kind)
        return files("gateway.console").joinpath("page", name).read_bytes()


def _protect(request: Request) -> None:
    for name, value in HEADERS.items():
        request.setHeader(name, value)
    request.setHeader("Content-Security-Policy", POLICY)


def _json(request: Request, said: Mapping[str, object] | list[dict[str, Any]]) -> bytes:
    request.setHeader("Content-Type", "application/json")
    return json.dumps(said).encode()
