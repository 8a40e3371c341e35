"""gateway.console.openapi: the document says what the console does."""

from __future__ import annotations

import json
import re
from typing import Any

import jsonschema
from jsonschema import Draft202012Validator

from gateway.console.openapi import ROUTES, document
from gateway.console.web import Api
from tests.support.console import SECRET, TO_NOBODY, TO_US, TOKENS, ConsoleCase
from tests.support.epochs import PING


class OpenApiTests(ConsoleCase):
    """/api/openapi.json."""

    TOKENS = TOKENS

    def setUp(self) -> None:
        super().setUp()
        self.document = self.ask("GET", "/api/openapi.json").said
        self.bears = {"authorization": f"Bearer {SECRET}"}

    def schema(self, path: str, method: str, code: int) -> dict[str, Any]:
        """Give the schema of an answer."""
        answer = self.document["paths"][path][method]["responses"][str(code)]
        (media,) = answer["content"].values()
        return {**media["schema"], "components": self.document["components"]}

    def check_answer(self, path: str, method: str, code: int, said: Any) -> None:
        """Hold an answer against the document."""
        Draft202012Validator(self.schema(path, method, code)).validate(said)

    def test_document(self) -> None:
        """It is OpenAPI 3.1, each schema is one, and every reference leads somewhere."""
        self.assertEqual(self.document, json.loads(json.dumps(document())))
        self.assertEqual(self.document["openapi"], "3.1.0")
        schemas = self.document["components"]["schemas"]
        for schema in schemas.values():
            Draft202012Validator.check_schema(schema)
        found = re.findall(r'"#/components/schemas/(\w+)"', json.dumps(self.document))
        self.assertGreater(len(found), 20)
        self.assertEqual(set(found) - set(schemas), set())

    def test_routes(self) -> None:
        """It has the console's routes, and no others."""
        rules = {
            (re.sub(r"<(\w+)>", r"{\1}", rule.rule), method.lower())
            for rule in Api.app.url_map.iter_rules()
            for method in rule.methods or ()
            if method not in ("HEAD", "OPTIONS")
        }
        told = {(path, method) for path, one in self.document["paths"].items() for method in one}
        self.assertEqual(told, rules)

    def test_answers(self) -> None:
        """What is answered is what it says, with flows and without."""
        for _ in range(2):
            for path in ("status", "flows", "policy", "data", "countries"):
                got = self.ask("GET", f"/api/{path}", **self.bears)
                self.assertEqual(got.code, 200)
                self.check_answer(f"/api/{path}", "get", 200, got.said)
            self.core.table.judge(TO_US, PING)
            self.core.table.judge(TO_NOBODY, None)
            self.core.table.not_carried(TO_US, "its exit is down")
            self.reactor.advance(1)
        got = self.explain({"flow": str(TO_US)}, **self.bears)
        self.check_answer("/api/explain", "post", 200, got.said)

    def test_bites(self) -> None:
        """An answer with a key more, or one less, is not what it says."""
        said = self.ask("GET", "/api/flows", **self.bears).said
        invalid = jsonschema.ValidationError
        self.assertRaises(invalid, self.check_answer, "/api/flows", "get", 200, {**said, "x": 1})
        del said["recent"]
        self.assertRaises(invalid, self.check_answer, "/api/flows", "get", 200, said)

    def test_refusals(self) -> None:
        """Refusals are told with the codes that they have, and with why."""
        tried = [
            ("get", "/api/flows", 401, self.ask("GET", "/api/flows")),
            ("post", "/api/reload", 403, self.ask("POST", "/api/reload", **self.bears)),
            ("get", "/", 421, self.ask("GET", "/", host="evil.example")),
            ("post", "/api/explain", 400, self.explain({}, **self.bears)),
            ("post", "/api/explain", 415, self.ask("POST", "/api/explain", **self.bears)),
            ("get", "/page/{name}", 404, self.ask("GET", "/page/nonesuch")),
        ]
        for method, path, code, got in tried:
            self.assertEqual(got.code, code, path)
            self.check_answer(path, method, code, got.said)

    def test_scopes(self) -> None:
        """What it says needs no token is answered without one; all else asks for it."""
        for route in ROUTES:
            path = route.path.replace("{name}", "main.js")
            got = self.ask(route.method.upper(), path)
            self.assertEqual(got.code, 200 if route.scope is None else 401, route.path)

    def test_question(self) -> None:
        """Its schema of a question takes what is taken."""
        body = self.document["paths"]["/api/explain"]["post"]["requestBody"]
        schema = body["content"]["application/json"]["schema"]
        components = {"components": self.document["components"]}
        question = {"flow": str(TO_US), "payload": "3800", "names": ["a.example"]}
        validator = Draft202012Validator({**schema, **components})
        validator.validate(question)
        self.assertFalse(validator.is_valid({**question, "more": 1}))
