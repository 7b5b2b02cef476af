"""Every refusal in one form [RFC 9457]: a type for programs, a sentence for people.

``{"type":"urn:carril:problem:epoch-changed","title":"Epoch changed","status":409,"detail":"…",…}``
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException
from starlette.responses import Response

from station.store.errors import StoreBusy, StoreError

MEDIA_TYPE = "application/problem+json"
_NAMES = {404: "not-found", 405: "method-not-allowed", 413: "too-large", 400: "bad-request"}

log = logging.getLogger("carril.api")


class Problem(Exception):
    """A refusal; ``members`` are the fields that a program needs in order to go on."""

    def __init__(
        self,
        status: int,
        name: str,
        detail: str = "",
        *,
        headers: Mapping[str, str] | None = None,
        **members: Any,
    ) -> None:
        super().__init__(detail or name)
        self.status = status
        self.name = name
        self.detail = detail
        self.headers = dict(headers or {})
        self.members = members

    def response(self) -> Response:
        """Return the problem as an HTTP response."""
        body = {
            "type": f"urn:carril:problem:{self.name}",
            "title": self.name.replace("-", " ").capitalize(),
            "status": self.status,
        }
        if self.detail:
            body["detail"] = self.detail
        content = json.dumps(body | self.members)
        headers = {"Cache-Control": "no-store"} | self.headers
        return Response(content, self.status, headers=headers, media_type=MEDIA_TYPE)


class ProblemBody(BaseModel):
    """A refusal as described by RFC 9457; further members depend on the type."""

    model_config = ConfigDict(extra="allow")
    type: str
    title: str
    status: int
    detail: str | None = None


REFUSALS: dict[int | str, dict[str, Any]] = {
    kind: {
        "description": description,
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemBody"}}},
    }
    for kind, description in (("4XX", "Refused"), ("5XX", "Nothing could be done"))
}
"""What every operation may answer besides its own responses."""


def handle_problems(app: FastAPI) -> None:
    """Give every error of the application this form, in its description too."""
    describe = app.openapi

    def openapi() -> dict[str, Any]:
        schema = describe()
        # A component that only ranges of statuses name is not found by FastAPI itself.
        schema["components"]["schemas"]["ProblemBody"] = ProblemBody.model_json_schema()
        return schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's own way to extend the description
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(StoreError, _store)
    app.add_exception_handler(Exception, _bug)


def from_store(error: StoreError) -> Problem:
    """Return the problem for a store that could not do what was asked."""
    wait_s = "1" if isinstance(error, StoreBusy) else "5"
    return Problem(503, "store-unavailable", str(error), headers={"Retry-After": wait_s})


def _problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)  # noqa: S101 - the handler of this class alone
    return error.response()


def _store(_: Request, error: Exception) -> Response:
    assert isinstance(error, StoreError)  # noqa: S101 - the handler of this class alone
    return from_store(error).response()


def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - the handler of this class alone
    errors = [_field(found) for found in error.errors()]
    in_body = any(found["field"].split(".")[0] == "body" for found in errors)
    status, name = (422, "invalid") if in_body else (400, "bad-parameter")
    detail = "; ".join(f"{found['field']}: {found['message']}" for found in errors)
    return Problem(status, name, detail, errors=errors).response()


def _field(found: Mapping[str, Any]) -> dict[str, str]:
    where: Sequence[object] = found["loc"]
    return {"field": ".".join(str(step) for step in where), "message": str(found["msg"])}


def _http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - the handler of this class alone
    name = _NAMES.get(error.status_code, "refused")
    return Problem(error.status_code, name, str(error.detail), headers=error.headers).response()


def _bug(request: Request, error: Exception) -> Response:
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    detail = "This is a fault of the station; nothing that was confirmed is lost."
    return Problem(500, "internal", detail).response()
