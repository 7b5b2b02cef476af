"""Writes the description of the whole interface (OpenAPI 3.1): ``python -m station.api.openapi``."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any, cast

from station.api.app import create_app
from station.api.directives import directives_router
from station.api.events import events_router
from station.api.lane import lane_router
from station.api.scans import scans_router
from station.api.screens import Screens, ScriptedOfficer, screens_router
from station.api.services import Services
from station.api.stats import stats_router


def description() -> dict[str, Any]:
    """Return the description of all routes; nothing is opened, since no route is called."""
    nothing = cast(Any, None)
    app = create_app(cast(Services, nothing))
    app.include_router(lane_router(nothing, ""))
    app.include_router(screens_router(nothing, Screens(), ScriptedOfficer(nothing)))
    app.include_router(scans_router(nothing))
    app.include_router(stats_router(nothing))
    app.include_router(events_router(nothing, asyncio.Event(), nothing, nothing, nothing))
    app.include_router(directives_router(nothing, nothing, {}))
    return app.openapi()


def text() -> str:
    """Return the description as it is committed."""
    return json.dumps(description(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(text())
