"""Every refusal in one form [RFC 9457]: a type for programs, a sentence for people.

``{"type":"urn:carril:problem:epoch-changed","title":"Epoch changed","status":409,"detail":"…",…}``
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException
from starlette.responses import Response

from station.store.errors import StoreBusy, StoreError

MEDIA_TYPE = "application/problem+json"

PROBLEMS = {
    "bad-request": (400, "no HTTP request"),
    "bad-parameter": (400, "`errors` names each parameter that is wrong, unknown or given twice"),
    "forbidden": (403, "another computer, a page from elsewhere, or a command without `X-Carril: 1`"),
    "not-found": (404, "nothing has this name"),
    "method-not-allowed": (405, "`Allow` names the methods"),
    "request-timeout": (408, "the body did not come in time"),
    "epoch-changed": (409, "go on in `epoch` at `first_seq` − 1; `previous…` say where the old one ended"),
    "beyond-head": (409, "above `head`: client or station has lost data"),
    "version-conflict": (409, "the vehicle changed: `version` is the one that stands; nothing was done"),
    "release-locked": (409, "`locks` say why; nothing was done"),
    "other-length": (409, "the blob has `bytes` bytes: fetch it again; nothing was kept"),
    "key-reused": (409, "the idempotency key stands for another request"),
    "refused": (409, "not possible now; nothing was done"),
    "trimmed": (410, "removed after it was received; a feed goes on at `oldest` − 1"),
    "damaged": (410, "not what was written; never served"),
    "too-large": (413, "the body is longer than `limit`"),
    "range": (416, "outside the `size` bytes"),
    "invalid": (422, "`errors` names each field that is wrong, unknown or missing"),
    "too-many": (429, "repeat after `Retry-After`"),
    "internal": (500, "a fault of the station"),
    "silent": (503, "journal or lane gives no sign of life"),
    "store-unavailable": (503, "nothing can be kept now; repeat after `Retry-After`"),
    "too-many-screens": (503, "close one, or repeat after `Retry-After`"),
}
"""Every problem there is: its status, and what a program makes of it."""
_NAMES = {404: "not-found", 405: "method-not-allowed", 413: "too-large"}

MOST_TOLD = 50
"""Errors of one request that are told: enough to mend it, and no answer is larger than its question."""

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

    def body(self) -> dict[str, Any]:
        """Return the problem as a document."""
        body = {
            "type": f"urn:carril:problem:{self.name}",
            "title": self.name.replace("-", " ").capitalize(),
            "status": self.status,
        }
        if self.detail:
            body["detail"] = self.detail
        return body | self.members

    def response(self) -> Response:
        """Return the problem as an HTTP response."""
        content = json.dumps(self.body())
        headers = {"Cache-Control": "no-store"} | self.headers
        return Response(content, self.status, headers=headers, media_type=MEDIA_TYPE)


class ProblemBody(BaseModel):
    """A refusal as described by RFC 9457; further members depend on the type."""

    model_config = ConfigDict(extra="allow")
    type: str
    title: str
    status: int
    detail: str | None = None


def _described(description: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/ProblemBody"}
    return {"description": description, "content": {MEDIA_TYPE: {"schema": schema}}}


REFUSALS: dict[int | str, dict[str, Any]] = {
    "4XX": _described("Refused: `forbidden`, `bad-parameter`, `invalid` and the like, by `type`"),
    "5XX": _described("Nothing could be done: `store-unavailable`, `internal`"),
}
"""What every operation may answer besides its own responses."""


def refusals(*names: str) -> dict[int | str, dict[str, Any]]:
    """Describe the problems that are an operation's own, by status."""
    statuses: dict[int | str, list[str]] = {}
    for name in names:
        status, meaning = PROBLEMS[name]
        statuses.setdefault(status, []).append(f"`{name}`: {meaning}")
    return {status: _described("; ".join(lines)) for status, lines in statuses.items()}


def _parameters(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for operations in schema["paths"].values():
        for operation in operations.values():
            yield from operation.get("parameters", ())


def handle_problems(app: FastAPI) -> None:
    """Give every error of the application this form, in its description too."""
    describe = app.openapi

    def openapi() -> dict[str, Any]:
        schema = describe()
        # A component that only ranges of statuses name is not found by FastAPI itself.
        schema["components"]["schemas"]["ProblemBody"] = ProblemBody.model_json_schema()
        for parameter in _parameters(schema):
            match parameter["schema"]:
                case {
                    "anyOf": [something, {"type": "null"}],
                    **rest,
                }:  # no text of a query means null
                    parameter["schema"] = rest | something
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


def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - the handler of this class alone
    return invalid(error, request.headers.get("content-type", "")).response()


def invalid(error: RequestValidationError, sent: str = "application/json") -> Problem:
    """Return the problem of a request, ``sent`` as this media type, that names each field in its words."""
    all_found = error.errors()
    errors = [_field(found, sent, error.body) for found in all_found[:MOST_TOLD]]
    in_body = any(found["loc"][0] == "body" for found in all_found)
    status, name = (422, "invalid") if in_body else (400, "bad-parameter")
    return wrong(status, name, errors, len(all_found))


def wrong(status: int, name: str, errors: Sequence[Mapping[str, str]], count: int) -> Problem:
    """Return the problem of a request with ``count`` errors, of which the first ``MOST_TOLD`` are told."""
    told = errors[:MOST_TOLD]
    lines = [f"{found['field']}: {found['message']}" for found in told]
    if count > len(told):
        lines.append(f"and {count - len(told)} more errors, which are not told")
    return Problem(status, name, "; ".join(lines), errors=told)


def _path(where: Sequence[object], body: Any) -> tuple[object, ...]:
    """Return the path in what was sent, without the name of the kind that was chosen by a member of it."""
    kind = body.get("kind") if isinstance(body, dict) else None
    tagged = len(where) > 1 and where[0] == "body" and where[1] == kind and kind not in body
    return (where[0], *where[2:]) if tagged else tuple(where)


def _field(found: Mapping[str, Any], sent: str, body: Any) -> dict[str, str]:
    """Say which field is wrong, and how, for the person who wrote the client."""
    where: Sequence[object] = _path(found["loc"], body)
    kind, message = found["type"], str(found["msg"])
    if kind == "json_invalid":
        where, message = where[:1], f"is not JSON at character {where[-1]}: {found['ctx']['error']}"
    elif kind in ("union_tag_invalid", "union_tag_not_found"):
        where = (*where, found["ctx"]["discriminator"].strip("'"))
        message = f"must be one of {tags}" if (tags := found["ctx"].get("expected_tags")) else "is missing"
    elif kind == "extra_forbidden":
        message = "is unknown here"
    elif list(where) == ["body"] and "json" not in sent:
        message = f"must be JSON, with Content-Type: application/json and not {sent!r}"
    return {"field": ".".join(str(step) for step in where), "message": message}


def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - the handler of this class alone
    path, status = request.url.path, error.status_code
    if status == 400:  # FastAPI's word for a body that Python cannot read at all
        errors = [{"field": "body", "message": "cannot be read as JSON"}]
        return Problem(422, "invalid", "body: cannot be read as JSON", errors=errors).response()
    details = {404: f"There is nothing at {path}.", 405: f"{request.method} is no method of {path}."}
    detail = details.get(status, str(error.detail))
    return Problem(status, _NAMES.get(status, "refused"), detail, headers=error.headers).response()


def _bug(request: Request, error: Exception) -> Response:
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    detail = "This is a fault of the station; nothing that was confirmed is lost."
    return Problem(500, "internal", detail).response()
