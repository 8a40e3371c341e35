"""The console's OpenAPI document.  Owns: what each route takes and answers, for programs.
Knows: OpenAPI 3.1, JSON Schema 2020-12.  Never: serving; a test holds it against the routes."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from gateway.console import schemas
from gateway.console.explaining import Question
from gateway.console.guarding import Scope

_REFERENCE = "#/components/schemas/{model}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """What a route takes and answers."""

    method: str
    path: str
    says: str
    scope: Scope | None = Scope.READ
    """None: nothing is asked for."""
    takes: type[BaseModel] | None = None
    gives: type[BaseModel] | None = None
    """None: no JSON object; `media` says what."""
    is_list: bool = False
    media: str = "application/json"
    refusals: tuple[int, ...] = ()
    """Besides those of every route."""


ROUTES = (
    Route(method="get", path="/", says="The page.", scope=None, media="text/html"),
    Route(
        method="get",
        path="/page/{name}",
        says="A file of the page.",
        scope=None,
        media="text/plain",
        refusals=(404,),
    ),
    Route(method="get", path="/metrics", says="For Prometheus.", media="text/plain"),
    Route(method="get", path="/api/status", says="How it is.", gives=schemas.Status),
    Route(method="get", path="/api/policy", says="The policy in force.", gives=schemas.Policy),
    Route(method="get", path="/api/data", says="The sources of evidence.", gives=schemas.Data),
    Route(method="get", path="/api/flows", says="What flows.", gives=schemas.Flows),
    Route(
        method="get",
        path="/api/countries",
        says="The map.",
        scope=None,
        gives=schemas.Country,
        is_list=True,
    ),
    Route(
        method="get",
        path="/api/events",
        says="Events flows, status, policy and data, whenever one changes, at most once a second; "
        "each event's data is what /api/NAME answers. Last-Event-ID leaves out what was seen.",
        media="text/event-stream",
        refusals=(503,),
    ),
    Route(
        method="post",
        path="/api/explain",
        says="What would happen to a flow by the policy in force. Nothing is sent or remembered.",
        takes=Question,
        gives=schemas.Account,
        refusals=(400, 415),
    ),
    Route(
        method="post",
        path="/api/reload",
        says="Load policy and data again; answers when it is done.",
        scope=Scope.RELOAD,
        gives=schemas.Reloaded,
        refusals=(409,),
    ),
    Route(method="get", path="/api/openapi.json", says="This document.", scope=None),
)

_REFUSALS: Mapping[int, str] = {
    400: "What was sent cannot be read.",
    401: "A token is needed, or the token is nobody's.",
    403: "The token has not the scope, or another site's page asks.",
    404: "There is none.",
    409: "It was refused; the answer's last_load says why.",
    415: "The body has to be application/json.",
    421: "The console has another name.",
    429: "Too many requests.",
    503: "Too many follow already.",
}


@functools.cache
def document() -> Mapping[str, Any]:
    """Give the document."""
    models = {one for route in ROUTES for one in (route.takes, route.gives) if one is not None}
    modes = [(one, "validation") for one in sorted(models | {schemas.Refused}, key=_name)]
    _, definitions = models_json_schema(modes, ref_template=_REFERENCE)  # type: ignore[arg-type]  # a Literal in a tuple
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "gateway console",
            "version": version("rtc-gateway"),
            "description": "Without tokens in gateway.yaml reading needs none.",
        },
        "paths": paths,
        "components": {
            "schemas": definitions["$defs"],
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(route: Route) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "summary": route.says,
        "responses": {"200": _answer("As asked for.", route), **_refused(route)},
    }
    if route.scope is not None:
        operation["security"] = [{"token": [str(route.scope)]}]
    if "{name}" in route.path:
        name = {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}
        operation["parameters"] = [name]
    if route.takes is not None:
        content = {"application/json": {"schema": _reference(route.takes)}}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _answer(says: str, route: Route) -> dict[str, Any]:
    if route.gives is None:
        schema = {"type": "object" if route.media == "application/json" else "string"}
    else:
        schema = _reference(route.gives)
        schema = {"type": "array", "items": schema} if route.is_list else schema  # type: ignore[dict-item]  # nested
    return {"description": says, "content": {route.media: {"schema": schema}}}


def _refused(route: Route) -> dict[str, Any]:
    codes = (*((401, 403) if route.scope is not None else (403,)), 421, 429, *route.refusals)
    said = {}
    for code in sorted(codes):
        # A refused reload tells the status too.
        model = schemas.Reloaded if code == 409 else schemas.Refused
        content = {"application/json": {"schema": _reference(model)}}
        said[str(code)] = {"description": _REFUSALS[code], "content": content}
    return said


def _reference(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": _REFERENCE.format(model=_name(model))}


def _name(model: type[BaseModel]) -> str:
    return model.__name__
