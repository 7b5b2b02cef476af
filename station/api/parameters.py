"""No query parameter is ignored: one that a route does not know, or that stands twice, is refused.

A client that believes it filters must not be given everything instead.
"""

from __future__ import annotations

from fastapi import Request
from fastapi.routing import APIRoute
from pydantic import BaseModel

from station.api.problems import wrong


def refuse_others(request: Request) -> None:
    """Refuse what the route of this request does not know; the screen's own pages take anything."""
    route = request.scope.get("route")
    if not isinstance(route, APIRoute) or not route.include_in_schema:
        return
    given = request.query_params
    errors = []
    for name in dict.fromkeys(given):
        if name not in (known := _known(route)):
            rule = (
                f"is unknown here; known are {', '.join(known)}"
                if known
                else "is unknown: none is taken here"
            )
            errors.append({"field": f"query.{name}", "message": rule})
        elif len(given.getlist(name)) > 1:
            errors.append({"field": f"query.{name}", "message": "stands more than once"})
    if errors:
        raise wrong(400, "bad-parameter", errors, len(errors))


def _known(route: APIRoute) -> list[str]:
    names: list[str] = []
    for field in route.dependant.query_params:
        model = field.field_info.annotation
        if isinstance(model, type) and issubclass(model, BaseModel):
            names += [each.alias or name for name, each in model.model_fields.items()]
        else:
            names.append(field.alias)
    return names
