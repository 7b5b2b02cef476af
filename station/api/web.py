"""The officer's screen: built files, cached for ever where their name carries their hash."""

from __future__ import annotations

import asyncio
import mimetypes
from pathlib import Path

from fastapi import APIRouter, Response
from starlette.responses import FileResponse, HTMLResponse

from station.api.problems import Problem
from station.api.services import Lent

router = APIRouter(include_in_schema=False)

NOT_BUILT = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><title>Carril</title>'
    "<h1>Screen not built: run <code>make web</code></h1>"
    "<p>The lane runs and its interface serves; only this page is missing.</p></html>"
)
_HASHED = {"Cache-Control": "public, max-age=31536000, immutable"}
_CHECKED = {"Cache-Control": "no-cache"}
_NEVER = {"Cache-Control": "no-store"}
mimetypes.add_type("font/woff2", ".woff2")


@router.get("/")
async def screen(services: Lent) -> Response:
    """Return the page, or say how to build it (503: it is missing, not forbidden)."""
    found = await _file(services.web_dist, "index.html")
    if found is None:
        return HTMLResponse(NOT_BUILT, 503, headers=_NEVER)
    return FileResponse(found, headers=_NEVER, media_type="text/html")


@router.get("/assets/{name}")
async def asset(name: str, services: Lent) -> Response:
    """Return a file whose name changes with its content."""
    return await _served(services.web_dist, f"assets/{name}", _HASHED)


@router.get("/{name}")
async def other(name: str, services: Lent) -> Response:
    """Return a file beside the page, such as its icon."""
    return await _served(services.web_dist, name, _CHECKED)


async def _served(dist: Path | None, name: str, headers: dict[str, str]) -> Response:
    found = await _file(dist, name)
    if found is None:
        raise Problem(404, "not-found", f"There is nothing at /{name}.")
    return FileResponse(found, headers=headers)


async def _file(dist: Path | None, name: str) -> Path | None:
    """Return a file of the built screen; nothing outside its folder, whatever the name says."""
    if dist is None:
        return None

    def look() -> Path | None:
        try:
            path = (dist / name).resolve()
            return path if path.is_relative_to(dist.resolve()) and path.is_file() else None
        except (OSError, ValueError):  # a name that no file can have: too long, a NUL in it
            return None

    return await asyncio.to_thread(look)
