"""Every route of the interface, by its description: what it refuses is a problem that names the field."""

from __future__ import annotations

import asyncio
import re
from typing import Any, cast

import httpx2

from station.api.directives import directives_router
from station.api.events import events_router
from station.api.lane import lane_router
from station.api.openapi import description
from station.api.problems import MEDIA_TYPE, MOST_TOLD, PROBLEMS
from station.api.scans import scans_router
from station.api.screens import Screens, ScriptedOfficer, screens_router
from station.api.stats import stats_router
from tests.support.served import Served

DESCRIBED = description()
OPERATIONS = [
    (method.upper(), path, operation)
    for path, operations in DESCRIBED["paths"].items()
    for method, operation in operations.items()
]
COMMAND = {"X-Carril": "1"}


def with_the_lane(central: Served) -> None:
    """Add the routes that the daemon adds; nothing stands behind them, since no refusal may reach it."""
    nothing = cast(Any, None)
    for router in (
        lane_router(nothing, ""),
        screens_router(nothing, Screens(), ScriptedOfficer(nothing)),
        scans_router(nothing),
        stats_router(nothing),
        events_router(nothing, asyncio.Event(), nothing, nothing, nothing),
        directives_router(nothing, nothing, {}),
    ):
        central.app.include_router(router)


def example(schema: dict[str, Any]) -> str:
    """A value that a parameter of a path takes."""
    if schema.get("type") == "integer":
        return str(schema.get("minimum", 1))
    return "0" * 64 if "64" in schema.get("pattern", "") else "x"


def filled(path: str, operation: dict[str, Any]) -> str:
    """The path with something for every parameter."""
    values = {p["name"]: example(p["schema"]) for p in operation.get("parameters", ()) if p["in"] == "path"}
    return re.sub(r"\{(\w+)\}", lambda found: values[found[1]], path)


def fields(reply: httpx2.Response, what: str) -> list[str]:
    """The fields that a refusal names; the refusal is a problem of the catalogue, in words too."""
    assert reply.headers["content-type"] == MEDIA_TYPE, what
    told = reply.json()
    name = told["type"].removeprefix("urn:carril:problem:")
    assert (told["status"], PROBLEMS[name][0]) == (reply.status_code, reply.status_code), what
    assert told["title"], what
    assert told["detail"], what
    assert "Cache-Control" in reply.headers, what
    for error in told["errors"]:
        assert error["message"], what
    return [error["field"] for error in told["errors"]]


async def test_a_parameter_that_a_route_does_not_know_is_named(central: Served) -> None:
    with_the_lane(central)
    for method, path, operation in OPERATIONS:
        if method == "HEAD":
            continue  # has no body to say it in
        url = filled(path, operation) + "?nonsense=1"
        reply = await central.client.request(method, url, headers=COMMAND, json={})
        assert reply.status_code in (400, 422), f"{method} {url}: {reply.status_code} {reply.text[:200]}"
        named = fields(reply, f"{method} {url}")
        assert named, f"{method} {url}"
        assert "query.nonsense" in named or reply.status_code == 422, f"{method} {url}: {named}"


async def test_a_body_that_a_route_does_not_know_is_named(central: Served) -> None:
    with_the_lane(central)
    tried = 0
    for method, path, operation in OPERATIONS:
        if "requestBody" not in operation:
            continue
        for body in ({"nonsense": 1}, [], "x"):
            tried += 1
            reply = await central.client.request(
                method, filled(path, operation), headers=COMMAND | {"Idempotency-Key": "k" * 16}, json=body
            )
            what = f"{method} {path} {body}: {reply.status_code} {reply.text[:300]}"
            assert reply.status_code == 422, what
            assert all(field.split(".")[0] == "body" for field in fields(reply, what)), what
    assert tried > 10


async def test_a_refusal_is_short_however_much_is_wrong(central: Served) -> None:
    with_the_lane(central)
    many = {f"m{number}": 0 for number in range(5000)}
    refused = [{"seq": 0, "reason": "", **{f"m{number}": 0 for number in range(10)}} for _ in range(400)]
    bodies = [many, {"epoch": "0" * 32, "seq": 1, "nack": refused}]
    for method, path, operation in OPERATIONS:
        for body in bodies if "requestBody" in operation else ():
            reply = await central.client.request(
                method, filled(path, operation), headers=COMMAND | {"Idempotency-Key": "k" * 16}, json=body
            )
            what = f"{method} {path}: {reply.status_code} {len(reply.content)} bytes"
            assert reply.status_code == 422, what
            assert 1 <= len(fields(reply, what)) <= MOST_TOLD, what
            assert len(reply.content) < 20_000, what
            if body is many:
                assert "5000 members; known are" in reply.text or "body.kind" in reply.text, what
    reply = await central.client.get("/v1/inspections", params=many)
    assert len(fields(reply, "query")) == MOST_TOLD
    assert reply.json()["detail"].endswith(f"and {5000 - MOST_TOLD} more errors, which are not told")


async def test_a_parameter_of_a_path_that_cannot_be_is_named(central: Served) -> None:
    with_the_lane(central)
    tried = 0
    for method, path, operation in OPERATIONS:
        for parameter in operation.get("parameters", ()):
            checked = {"pattern", "minimum"} & parameter["schema"].keys()
            if parameter["in"] != "path" or not checked or method == "HEAD":
                continue
            tried += 1
            name = parameter["name"]
            url = filled(path.replace(f"{{{name}}}", "-1"), operation)
            reply = await central.client.request(method, url, headers=COMMAND, json={})
            assert reply.status_code in (400, 422), f"{method} {url}: {reply.status_code} {reply.text[:200]}"
            assert f"path.{name}" in fields(reply, f"{method} {url}")
    assert tried > 3


async def test_a_number_or_a_name_of_a_screen_has_a_bound(central: Served) -> None:
    with_the_lane(central)
    huge, seen = 10**30, {"inspection_id": "x", "read_ms": 1, "seen_fraction": 1}
    for method, url, body, field in (
        ("GET", f"/v1/scans/{'x' * 65}/image", None, "path.scan_id"),
        ("GET", f"/v1/scans/{'x' * 65}/columns?from=0&to=1", None, "path.scan_id"),
        ("GET", f"/v1/inspections/{'x' * 65}/profile", None, "path.inspection_id"),
        ("PUT", "/v1/lane/simulated-officer", {"decides_utc_us": huge}, "body.decides_utc_us"),
        ("POST", "/v1/lane/image-reads", {**seen, "version": huge}, "body.version"),
        (
            "POST",
            "/v1/lane/decisions",
            {"inspection_id": "x", "version": huge, "verdict": "hold"},
            "body.version",
        ),
    ):
        headers = COMMAND | {"Idempotency-Key": "k" * 16}
        reply = await central.client.request(method, url, headers=headers, json=body)
        assert reply.status_code == (400 if body is None else 422), f"{method} {url}: {reply.text[:200]}"
        assert fields(reply, url) == [field]
