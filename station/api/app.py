"""The station's one HTTP application: checks outside, routes inside, problems everywhere."""

from __future__ import annotations

from fastapi import Depends, FastAPI
from fastapi.routing import APIRoute

from station import __version__
from station.api import (
    blobs,
    checkpoints,
    clear,
    consumers,
    devices,
    feed,
    health,
    inspections,
    records,
    schemas,
    wait_times,
    web,
)
from station.api.auth import LocalOnly
from station.api.limits import BodyLimit
from station.api.parameters import refuse_others
from station.api.problems import REFUSALS, handle_problems
from station.api.services import Services

_ROUTERS = (
    health.router,
    devices.router,
    feed.router,
    checkpoints.router,
    consumers.router,
    clear.router,
    records.router,
    inspections.router,
    blobs.router,
    wait_times.router,
    schemas.router,
    web.router,
)


def create_app(services: Services) -> FastAPI:
    """Return the application of one station; the lane's own routers are added by the daemon."""
    app = FastAPI(
        title="Carril station",
        version=health.API_VERSION,
        summary=f"Feed, inspections and lane of one border inspection lane (Carril {__version__})",
        openapi_url="/v1/openapi.json",
        docs_url=None,  # their pages load from elsewhere, which our content policy forbids
        redoc_url=None,
        redirect_slashes=False,
        responses=REFUSALS,
        dependencies=[Depends(refuse_others)],
        generate_unique_id_function=_operation_id,
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.services = services
    handle_problems(app)
    app.add_middleware(BodyLimit)
    app.add_middleware(LocalOnly)  # added last, hence outermost
    for router in _ROUTERS:
        app.include_router(router)
    return app


def _operation_id(route: APIRoute) -> str:
    return route.name
