"""Shapes of what the console answers.  Owns: the schemas in its OpenAPI document.
Knows: pydantic.  Never: checking answers as they go out; a test holds them against these."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

ByAction = dict[str, dict[str, int]]
"""What → action → how many."""


class Open(BaseModel):
    """May have more keys than these."""

    model_config = ConfigDict(extra="allow")


class Closed(BaseModel):
    """Has these keys and no others."""

    model_config = ConfigDict(extra="forbid")


class Status(Open):
    """As `gateway status --json`."""

    health: Literal["ok", "trouble"]
    troubles: list[str]
    version: str
    pid: int
    started: str
    policy: dict[str, Any]
    last_load: dict[str, Any]
    data: dict[str, Any]
    listeners: list[dict[str, Any]]
    exits: list[dict[str, Any]]
    flows: int
    refusals: dict[str, int]
    log: dict[str, Any]
    router: dict[str, Any] | None


class Reloaded(Status):
    """As `gateway reload --json`."""

    accepted: bool


class Default(Closed):
    """What happens where no rule matches."""

    action: str
    hits: int


class Rule(Closed):
    """One rule of the policy in force."""

    id: str
    action: str
    target: str | None
    reason: str
    owner: str
    expires: str | None
    """The last day, ISO."""
    is_over: bool
    """It has expired, and matches no longer."""
    shadow_percent: float
    line: int
    hits: int
    """How often it has decided since the policy is in force."""
    would: int
    """How often it would have, in shadow, since the process began."""


class Policy(Closed):
    """The policy in force."""

    name: str
    revision: str
    mode: str
    epoch: int
    since: str
    default: Default
    rules: list[Rule]
    jurisdictions: list[str]


class Source(Closed):
    """One source of evidence."""

    name: str
    axis: str
    built: str
    """ISO date; "" if it does not say."""
    age_days: int | None
    stale: bool
    licence: str
    credit: str
    """What its licence asks for wherever results are shown."""


class Data(Closed):
    """The data in force."""

    revision: str
    sources: list[Source]
    warnings: list[str]


class FlowsNow(Closed):
    """The flows that are remembered now."""

    total: int
    countries: ByAction
    """By where the destination stands; "none": no source places it."""
    jurisdictions: ByAction
    """"none": in none of the policy's; "NAME?": it cannot be told."""
    traffic: ByAction


class Decided(Closed):
    """Decisions since the process began."""

    countries: ByAction
    traffic: ByAction


class Decision(Closed):
    """One of the latest decisions."""

    number: int
    time: str
    client: str
    """A pseudonym, the decision log's."""
    transport: str | None
    protocol: str | None
    message: str | None
    traffic: str | None
    plaintext: list[str] | None
    """Kinds of identifier; null: not looked at, or it cannot be told."""
    country: str | None
    """"none": no source places it; null: not told."""
    action: str
    target: str | None
    rule: str
    reason: str
    would: str | None
    but: str | None
    """What became of it otherwise: not carried, not resolved."""


class Cost(Closed):
    """What the process has used since it began."""

    cpu_s: float
    most_memory: int
    """Octets."""
    cpus: int


class Flows(Closed):
    """What flows, added up, and the latest decisions."""

    now: FlowsNow
    decided: Decided
    refused: dict[str, int]
    not_carried: dict[str, int]
    names_barred: int
    recent: list[Decision]
    cost: Cost
    shares: int
    """How many processes share the flows (router mode's workers).  `now` and `recent` are the first
    one's; all other numbers are sums."""
    flows: int
    """That all of them remember now."""
    silent: list[int]
    """Queues of those that are not there: their numbers are as they were."""


class Country(Closed):
    """One tile of the map."""

    code: str
    name: str
    column: int
    row: int


class Account(Open):
    """As `gateway explain --json`."""

    flow: str
    facts: dict[str, Any]
    verdict: dict[str, Any]
    considered: list[dict[str, Any]]
    not_asked: list[str]


class Refused(Closed):
    """Why not."""

    error: str
