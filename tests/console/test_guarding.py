"""gateway.console.guarding: who may ask, and who is refused with which status."""

from __future__ import annotations

import hashlib
from http import HTTPStatus

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.server import Request
from twisted.web.test.requesthelper import DummyChannel

from gateway.console.guarding import Guard, Refusal, Scope, Token
from tests.support.rows import rows

SECRET = "correct horse"
READER = Token("reader", hashlib.sha256(SECRET.encode()).hexdigest(), frozenset({Scope.READ}))
ADMIN = Token(
    "admin", hashlib.sha256(b"battery staple").hexdigest(), frozenset({Scope.READ, Scope.RELOAD})
)


def request(**fields: str) -> Request:
    """Make a request with header fields; "_" stands for "-"."""
    made = Request(DummyChannel(), False)
    made.requestHeaders.setRawHeaders("host", [fields.pop("host", "127.0.0.1:8470")])
    for name, value in fields.items():
        made.requestHeaders.setRawHeaders(name.replace("_", "-"), [value])
    return made


def guard(*tokens: Token, clock: Clock | None = None) -> Guard:
    """Make a guard of a console on loopback."""
    seconds = (clock or Clock()).seconds
    return Guard(seconds, {"127.0.0.1", "localhost"}, tokens, reads_freely=not tokens)


def answer(tokens: tuple[Token, ...], scope: Scope, fields: dict[str, str]) -> int | None:
    """Ask once; give the status of the refusal, or None."""
    try:
        guard(*tokens).admit(request(**fields), scope)
    except Refusal as refusal:
        return refusal.code
    return None


@rows(
    admitted={
        "reading where no token is set": ((), Scope.READ, {}),
        "reading with a token": ((READER,), Scope.READ, {"authorization": f"Bearer {SECRET}"}),
        "the scheme in other letters": (
            (READER,),
            Scope.READ,
            {"authorization": f"bearer  {SECRET}"},
        ),
        "changing with the scope": (
            (READER, ADMIN),
            Scope.RELOAD,
            {"authorization": "Bearer battery staple"},
        ),
        "its own page": (
            (),
            Scope.READ,
            {"origin": "http://127.0.0.1:8470", "sec_fetch_site": "same-origin"},
        ),
        "by name": ((), Scope.READ, {"host": "LOCALHOST:8470"}),
    },
    refused={
        "changing where no token is set": (401, (), Scope.RELOAD, {}),
        "reading without a token": (401, (READER,), Scope.READ, {}),
        "nobody's token": (401, (READER,), Scope.READ, {"authorization": "Bearer correct"}),
        "an empty token": (401, (READER,), Scope.READ, {"authorization": "Bearer"}),
        "another scheme": (401, (READER,), Scope.READ, {"authorization": "Basic Y29ycmVjdA=="}),
        "nobody's token where reading is free": (
            401,
            (),
            Scope.READ,
            {"authorization": "Bearer x"},
        ),
        "changing with a reader's": (
            403,
            (READER, ADMIN),
            Scope.RELOAD,
            {"authorization": f"Bearer {SECRET}"},
        ),
        "a name that points here": (421, (), Scope.READ, {"host": "evil.example:8470"}),
        "another site's form": (403, (), Scope.READ, {"origin": "http://evil.example"}),
        "a page without an origin": (403, (), Scope.READ, {"origin": "null"}),
        "another port's page": (403, (), Scope.READ, {"origin": "http://127.0.0.1:9999"}),
        "another site's image": (403, (), Scope.READ, {"sec_fetch_site": "cross-site"}),
    },
)
class GuardTests(SynchronousTestCase):
    """One request each."""

    def check_admitted(
        self, tokens: tuple[Token, ...], scope: Scope, fields: dict[str, str]
    ) -> None:
        """It is let through."""
        self.assertIsNone(answer(tokens, scope, fields))

    def check_refused(
        self, code: int, tokens: tuple[Token, ...], scope: Scope, fields: dict[str, str]
    ) -> None:
        """It is refused, with this status."""
        self.assertEqual(answer(tokens, scope, fields), code)


class RateTests(SynchronousTestCase):
    """Many requests."""

    def test_flood(self) -> None:
        """A burst is let through and then refused; a second later there is room again."""
        clock = Clock()
        one = guard(clock=clock)
        for _ in range(200):
            one.admit(request(), Scope.READ)
        refusal = self.assertRaises(Refusal, one.admit, request(), Scope.READ)
        self.assertEqual(refusal.code, HTTPStatus.TOO_MANY_REQUESTS)
        clock.advance(1)
        for _ in range(50):
            one.admit(request(), Scope.READ)
        self.assertRaises(Refusal, one.admit, request(), Scope.READ)
