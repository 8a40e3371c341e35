"""What a rule does, as it is written.  Owns: actions and their targets, in rules and in cases.
Knows: pydantic.  Never: carrying them out."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

from gateway.document import Section, suggestion
from gateway.model import Action

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
    if isinstance(value, dict) and len(value) == 1:
        action, target = next(iter(value.items()))
        if action == "block":
            return {"action": action, "target": told(target)}
        if action in ("reroute", "wrap") and isinstance(target, str) and target:
            return {"action": action, "target": target}
    raise ValueError(
        "expected allow, block, {block: refuse}, {reroute: RELAY-OR-EXIT} or {wrap: EXIT | nearest}"
    )


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


def _schema(*alone: str) -> WithJsonSchema:
    """Describe an action as it is written; `alone`: the actions that need no target."""
    targeted = {"block": {"enum": list(BLOCKS)}, "reroute": _TARGET, "wrap": _TARGET}
    forms: list[dict[str, Any]] = [{"enum": list(alone)}]
    for action, target in targeted.items():
        form = {"type": "object", "properties": {action: target}, "required": [action]}
        forms.append({**form, "additionalProperties": False})
    return WithJsonSchema({"anyOf": forms})


Act = Annotated[Outcome, BeforeValidator(_outcome), _schema("allow", "block")]
ExpectedAct = Annotated[
    Outcome, BeforeValidator(_expected), _schema(*(str(action) for action in Action))
]
