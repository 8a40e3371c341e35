"""What would happen to a flow.  Owns: a question as JSON → the account of `gateway explain
--json`, by the policy in force.
Knows: pydantic, an epoch.  Never: judging a live flow; nothing is remembered or carried."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from gateway.console.guarding import Rate, Refusal
from gateway.errors import AddressError
from gateway.flow.account import Account, account_of
from gateway.flow.cases import facts_of
from gateway.flow.epoch import Epoch
from gateway.model import Content, FlowKey, Protocol, Traffic
from gateway.policy import Given

# Explaining takes the reactor some milliseconds, which packets wait.
_RATE_PER_S, _BURST = 5.0, 10.0
# More than any datagram on the way of an internet path; larger ones are for the command.
_MAX_PAYLOAD_LEN = 2_048
_MAX_NAMES = 8


def _hexadecimal(text: str) -> str:
    bytes.fromhex(text)
    return text


class Question(BaseModel):
    """A flow, with what is known of it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    flow: Annotated[str, Field(max_length=200)]
    """Such as "udp 10.1.0.2:5000 > 192.0.2.1:8000"."""
    payload: (
        Annotated[str, Field(max_length=3 * _MAX_PAYLOAD_LEN), AfterValidator(_hexadecimal)] | None
    ) = None
    """Hexadecimal; spaces are allowed between octets.  Omitted: not seen yet."""
    traffic: Annotated[Traffic, Field(strict=False)] | None = None
    """The class, instead of a payload."""
    names: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=253)]], Field(max_length=_MAX_NAMES)
    ] = []
    """What the client asked for."""


class Explaining:
    """Answers questions."""

    def __init__(self, seconds: Callable[[], float], epoch: Callable[[], Epoch]) -> None:
        """Begin; `seconds` is a clock that never goes back."""
        self._epoch = epoch
        self._rate = Rate(seconds, _RATE_PER_S, _BURST)

    def answer(self, body: bytes) -> Account:
        """Explain.

        Raises:  Refusal: too often, or a question that cannot be read.
        """
        self._rate.take()
        given = _given(_question(body))
        epoch = self._epoch()
        return account_of(epoch, facts_of(epoch, given))


def _question(body: bytes) -> Question:
    try:
        question = Question.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"])) or "the body"
        raise Refusal(HTTPStatus.BAD_REQUEST, f"{where}: {first['msg']}") from error
    if question.payload is not None and question.traffic is not None:
        sentence = "give either payload or traffic: a payload says its class"
        raise Refusal(HTTPStatus.BAD_REQUEST, sentence)
    return question


def _given(question: Question) -> Given:
    try:
        key = FlowKey.parse(question.flow)
    except AddressError as error:
        raise Refusal(HTTPStatus.BAD_REQUEST, f"flow: {error}") from error
    traffic = question.traffic
    return Given(
        key=key,
        payload=None if question.payload is None else bytes.fromhex(question.payload),
        content=None if traffic is None else Content(Protocol.UNKNOWN, traffic=traffic),
        names=tuple(name.lower().rstrip(".") for name in question.names),
    )
