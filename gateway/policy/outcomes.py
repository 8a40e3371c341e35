"""What a rule does, as it is written.  Owns: actions and their targets, in rules and in cases.
Knows: pydantic.  Never: carrying them out."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

from gateway.document import Section, suggestion
from gateway.model import SCRUBBED, Action

DROP, REFUSE = BLOCKS = ("drop", "refuse")


class Outcome(Section):
    """An action with its target."""

    action: Action
    target: str | None = None
    """As in model.Verdict."""


def _outcome(value: object) -> object:
    if isinstance(value, str):
        if value in ("reroute", "wrap"):
            raise ValueError(f'"{value}" needs a target, such as {{{value}: us-east}}')
        return {"action": _action(value)}
    if isinstance(value, dict) and "scrub" in value:
        return _scrubbing(value)
    if isinstance(value, dict) and len(value) == 1:
        action, target = next(iter(value.items()))
        if action == "block":
            return {"action": action, "target": told(target)}
        if action in ("reroute", "wrap") and isinstance(target, str) and target:
            return {"action": action, "target": _exit(target)}
    raise ValueError(
        "expected allow, block, {block: refuse}, {reroute: RELAY-OR-EXIT}, {wrap: EXIT | nearest} "
        "or {wrap: EXIT | nearest, scrub: true}"
    )


def _scrubbing(value: dict[str, object]) -> object:
    """Read {wrap: EXIT, scrub: true}."""
    target, is_scrubbed = value.get("wrap"), value["scrub"]
    if value.keys() != {"wrap", "scrub"} or not isinstance(target, str) or not target:
        raise ValueError("scrub is an option of a wrap, such as {wrap: nearest, scrub: true}")
    if not isinstance(is_scrubbed, bool):
        raise ValueError(f'"{is_scrubbed}" is neither true nor false: scrub')
    return {"action": "wrap", "target": (SCRUBBED if is_scrubbed else "") + _exit(target)}


def _exit(name: str) -> str:
    """Refuse what would read as another exit's option."""
    if name.startswith(SCRUBBED):
        plain = name.removeprefix(SCRUBBED)
        raise ValueError(
            f'no exit is called "{name}"; did you mean {{wrap: {plain}, scrub: true}}?'
        )
    return name


def _action(text: str) -> str:
    words = [str(action) for action in Action]
    if text in BLOCKS:
        raise ValueError(f'"{text}" is a way to block; did you mean {{block: {text}}}?')
    if text not in words:
        raise ValueError(f'"{text}" is no action{suggestion(text, words)}')
    return text


def told(how: object) -> str | None:
    """Read how a client learns of a block: what stands for it in a verdict.

    Raises:  ValueError: there is no such way.
    """
    if how not in BLOCKS:
        raise ValueError(f'"{how}" is no way to block{suggestion(str(how), BLOCKS)}')
    return None if how == DROP else REFUSE


def _expected(value: object) -> object:
    """Read the action of a case: by its name alone, or with what it was given in a rule."""
    if isinstance(value, str):
        return {"action": _action(value)}
    read = _outcome(value)
    if isinstance(read, dict) and read["action"] == "block":
        return {"action": "block", "target": read["target"] or DROP}
    return read


_TARGET = {
    "type": "string",
    "minLength": 1,
    "description": "A relay's or an exit's name; of wrap also nearest.",
}

_SCRUB = {
    "type": "boolean",
    "description": "Replace identifiers by pseudonyms of the day.  Omitted: false.",
}


def _schema(*alone: str) -> WithJsonSchema:
    """Describe an action as it is written; `alone`: the actions that need no target."""
    targeted: dict[str, dict[str, Any]] = {
        "block": {"block": {"enum": list(BLOCKS)}},
        "reroute": {"reroute": _TARGET},
        "wrap": {"wrap": _TARGET, "scrub": _SCRUB},
    }
    forms: list[dict[str, Any]] = [{"enum": list(alone)}]
    for action, keys in targeted.items():
        form = {"type": "object", "properties": keys, "required": [action]}
        forms.append({**form, "additionalProperties": False})
    return WithJsonSchema({"anyOf": forms})


Act = Annotated[Outcome, BeforeValidator(_outcome), _schema("allow", "block")]
ExpectedAct = Annotated[
    Outcome, BeforeValidator(_expected), _schema(*(str(action) for action in Action))
]
