"""Who may ask the console what.  Owns: hosts, tokens and their scopes, the rate of requests, the
headers that keep a browser from being used against it.
Knows: RFC 9110, RFC 6750, the Fetch standard's Origin.  Never: what is answered."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus

from twisted.web.server import Request

from gateway.errors import GatewayError

_RATE_PER_S, _BURST = 50.0, 200.0
"""A page that follows live asks a few times a second."""

HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
POLICY = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
"""The Content-Security-Policy of what is no page."""
PAGE_POLICY = (
    f"{POLICY}; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
"""Of the page: its own files, and no text ever becomes markup or script."""


class Scope(StrEnum):
    """What a token is good for."""

    READ = "read"
    RELOAD = "reload"


@dataclass(frozen=True, slots=True)
class Token:
    """Somebody's right to ask."""

    name: str
    sha256: str
    """Of the token, hexadecimal: who reads the configuration has no token."""
    scopes: frozenset[Scope]


class Refusal(GatewayError):
    """A request that is refused, with its status code (RFC 9110 section 15)."""

    def __init__(self, code: int, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


class Rate:
    """A bound on how often something is asked for: a token bucket."""

    def __init__(self, seconds: Callable[[], float], per_s: float, burst: float) -> None:
        """Begin with a full bucket; `seconds` is a clock that never goes back."""
        self._seconds = seconds
        self._per_s, self._burst = per_s, burst
        self._left, self._at_s = burst, seconds()

    def take(self) -> None:
        """Let one request through.

        Raises:  Refusal: there were too many.
        """
        now_s = self._seconds()
        self._left = min(self._burst, self._left + (now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        if self._left < 1:
            raise Refusal(HTTPStatus.TOO_MANY_REQUESTS, "too many requests; ask again in a second")
        self._left -= 1


class Guard:
    """Lets a request through, or says why not."""

    def __init__(
        self,
        seconds: Callable[[], float],
        hosts: Collection[str],
        tokens: Sequence[Token],
        *,
        reads_freely: bool,
    ) -> None:
        """Begin.

        Args:    seconds: a clock that never goes back; hosts: what the Host field may say, lower
                 case, without a port; reads_freely: reading needs no token.
        """
        self._rate = Rate(seconds, _RATE_PER_S, _BURST)
        self._hosts = frozenset(hosts)
        self._tokens = tuple(tokens)
        self._reads_freely = reads_freely

    def admit(self, request: Request, scope: Scope) -> None:
        """Let a request through.

        Raises:  Refusal.
        """
        self._rate.take()
        self._is_addressed(request)
        _is_own(request)
        token = self._token(request)
        if scope is Scope.READ and self._reads_freely:
            return
        if token is None:
            raise Refusal(HTTPStatus.UNAUTHORIZED, f'a token with the scope "{scope}" is needed')
        if scope not in token.scopes:
            raise Refusal(HTTPStatus.FORBIDDEN, f'the token "{token.name}" has no scope "{scope}"')

    def _is_addressed(self, request: Request) -> None:
        """A page of somebody else's may send its visitor's browser here, also by a name of its own
        that it lets point here (DNS rebinding): the browser then says so."""
        host = request.getRequestHostname().decode("latin-1").lower()
        if host not in self._hosts:
            raise Refusal(HTTPStatus.MISDIRECTED_REQUEST, "not the console of this name")

    def admit_page(self, request: Request) -> None:
        """Let a request for the page or a file of its through: they are the same for everybody and
        tell nothing, so that they need no token, and a link on another site's page may lead here.

        Raises:  Refusal.
        """
        self._rate.take()
        self._is_addressed(request)
        if request.getHeader("sec-fetch-mode") != "navigate" or _is_framed(request):
            _is_own(request)

    def _token(self, request: Request) -> Token | None:
        """Find whose token a request bears; None: it bears none.

        Raises:  Refusal: nobody's.
        """
        given = request.getHeader("authorization")
        if given is None:
            return None
        kind, _, secret = given.partition(" ")
        if kind.lower() == "bearer":
            digest = hashlib.sha256(secret.strip().encode("latin-1", "replace")).hexdigest()
            # All are compared, each in the same time: how long it takes tells nothing.
            found = [one for one in self._tokens if hmac.compare_digest(one.sha256, digest)]
            if found:
                return found[0]
        raise Refusal(HTTPStatus.UNAUTHORIZED, "the token is nobody's")


def _is_own(request: Request) -> None:
    """Raises Refusal where a browser says that another site's page asks."""
    if (request.getHeader("sec-fetch-site") or "none") not in ("none", "same-origin"):
        raise Refusal(HTTPStatus.FORBIDDEN, "another site's page may not ask here")
    origin = request.getHeader("origin")
    if origin is not None and not _same(origin, request):
        raise Refusal(HTTPStatus.FORBIDDEN, "another site's page may not ask here")


def _is_framed(request: Request) -> bool:
    return (request.getHeader("sec-fetch-dest") or "document") != "document"


def _same(origin: str, request: Request) -> bool:
    host = request.getHeader("host") or ""
    return origin.lower() in (f"http://{host.lower()}", f"https://{host.lower()}")
