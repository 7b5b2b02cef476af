"""The catalogue of events, and the JSON Schema of each."""

from __future__ import annotations

from functools import cache
from typing import Any

from station.domain import closures as closures  # so that the catalogue has them
from station.domain import day_events as day_events
from station.domain import device_events as device_events
from station.domain import directive_events as directive_events
from station.domain import radiation_events as radiation_events
from station.domain import store_events as store_events
from station.domain.events import Event

SCHEMA_VERSION = 1


def _leaves(cls: type[Event]) -> list[type[Event]]:
    children = cls.__subclasses__()
    return [leaf for child in children for leaf in _leaves(child)] or [cls]


@cache
def catalogue() -> dict[str, type[Event]]:
    """Return every event class by its wire type, by module whatever was imported first."""
    home = Event.__module__
    ordered = sorted(_leaves(Event), key=lambda event: (event.__module__ != home, event.__module__))
    return {event.type_name(): event for event in ordered}


def json_schema(name: str) -> dict[str, Any] | None:
    """Return the JSON Schema of the event called ``name`` (without ``carril.``), or ``None``."""
    event = catalogue().get("carril." + name)
    if event is None:
        return None
    schema = event.model_json_schema(mode="serialization")
    schema["$id"] = f"urn:carril:schema:{name}:{SCHEMA_VERSION}"
    return schema
