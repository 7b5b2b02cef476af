"""The JSON Schemas of all events, by the name that stands in an event's ``dataschema``."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response
from pydantic import BaseModel

from station.api.problems import Problem, refusals
from station.domain.schemas import SCHEMA_VERSION, catalogue, json_schema

router = APIRouter(prefix="/v1/schemas", tags=["central"])


class SchemaNames(BaseModel):
    """Names of all schemas."""

    items: list[str]


@router.get("")
async def schemas() -> SchemaNames:
    """Return the names of all events that have a schema."""
    names = sorted(type_.removeprefix("carril.") for type_ in catalogue())
    return SchemaNames(items=[f"{name}:{SCHEMA_VERSION}" for name in names])


@router.get("/{name}", responses=refusals("not-found"))
async def schema(name: str, response: Response) -> dict[str, Any]:
    """Return the JSON Schema of an event's ``data``; ``name`` as in ``urn:carril:schema:NAME``."""
    short, _, version = name.partition(":")
    found = json_schema(short) if version in ("", str(SCHEMA_VERSION)) else None
    if found is None:
        raise Problem(404, "not-found", f"There is no schema {name!r}; /v1/schemas names them all.")
    response.headers["Cache-Control"] = "private, max-age=3600"
    return found
